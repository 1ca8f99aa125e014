"""What a run found, for people: the table, the verdicts, and the chart.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import bars, floors
from benchmarks.peers import OURS

BEST = "best peer"


def duration(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return "-"
    scale, unit = next((row for row in ((1.0, "s"), (1e-3, "ms")) if seconds >= row[0]), (1e-6, "us"))
    return f"{seconds / scale:.3g} {unit}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under each other, the first to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def times(results: dict[str, Any]) -> list[str]:
    """Medians: the best peer, NumPy by hand, what the machine allows, and graphflow."""
    rows = [["median of a run", BEST, "", "numpy", "floor", *OURS, "default/best", "fast/best", "others"]]
    for name, found in results.get("workloads", {}).items():
        best = bars.best_peer(results, name)
        ours = [bars.median(results, name, peer) for peer in OURS]
        default = min((t for t in ours[:2] if t is not None), default=None)
        ratios = ["-" if t is None or best is None else f"{t / best[1]:.2f}" for t in (default, ours[2])]
        rows.append([
            name, best[0] if best else "-", duration(best[1] if best else None),
            duration(found["peers"].get("numpy", {}).get("median")),
            duration(floors.seconds_at_least(name, results.get("floors", {}))),
            *map(duration, ours), *ratios, _others(found),
        ])  # fmt: skip
    return aligned(rows)


def _others(found: dict[str, Any]) -> str:
    """Cores that other processes kept busy meanwhile."""
    return "-" if found.get("others") is None else f"{found['others']:.1f}"


def everybody(results: dict[str, Any]) -> list[str]:
    """Medians of all peers."""
    names = [n for n in results.get("versions", {}) if n not in OURS]
    rows = [["all peers", *names]]
    for workload in results.get("workloads", {}):
        rows.append([workload, *(duration(bars.median(results, workload, name)) for name in names)])
    return aligned(rows) if len(rows) > 1 and names else []


def compiling(results: dict[str, Any]) -> list[str]:
    """The large graph."""
    found = results.get("compile", {}).get("peers", {})
    if not found:
        return []
    keys = ("build", "gradients", "first run", "steady run", "total")
    rows = [["large graph, us an op", "ops", *keys, "KB an op"]]
    for name, row in found.items():
        figures = [f"{row[k]:.1f}" for k in keys]
        rows.append([name, f"{row['ops']:,}", *figures, f"{row['bytes'] / 1e3:.1f}"])
    return aligned(rows)


def importing(results: dict[str, Any]) -> list[str]:
    """Import time, memory, size."""
    found = results.get("import", {})
    if not found:
        return []
    rows = [["import", "median", "least", "resident MB", "own files MB"]]
    for name, row in found.items():
        sizes = [f"{row[k] / 1e6:.1f}" for k in ("resident", "bytes")]
        rows.append([name, duration(row["median"]), duration(row["min"]), *sizes])
    return aligned(rows)


def judged(found: Sequence[bars.Verdict]) -> list[str]:
    """Every bar, and whether it is met."""
    if not found:
        return []
    rows = [["bar", "path", "measured", "limit", "verdict", "of"]]
    for v in found:
        sign = ">=" if bars_at_least(v.bar) else "<="
        value = f"{v.value:.3g}{v.unit}"
        rows.append([v.bar, v.path, value, f"{sign} {v.limit:g}", "met" if v.met else "MISSED", v.measured])
    met = sum(v.met for v in found)
    return [*aligned(rows), f"{met} of {len(found)} bars met"]


def bars_at_least(name: str) -> bool:
    """Whether a bar is a lower limit."""
    return next(bar.at_least for bar in bars.BARS if bar.name == name)


def text(results: dict[str, Any]) -> str:
    """The whole report."""
    blocks = [times(results), everybody(results), compiling(results), importing(results)]
    blocks.append(judged(bars.verdicts(results)))
    left = [f"{w}: {p}: {why}" for w, row in results.get("workloads", {}).items() for p, why in row["left_out"].items()]
    left += [f"compile: {p}: {why}" for p, why in results.get("compile", {}).get("left_out", {}).items()]
    left += [f"{peer}: {why}" for peer, why in results.get("absent", {}).items()]
    if left:
        blocks.append(["left out:", *(f"  {line}" for line in left)])
    return "\n\n".join("\n".join(block) for block in blocks if len(block) > 1)


def chart(results: dict[str, Any], file: str) -> None:
    """Bars of graphflow and of NumPy by hand, as ratios to the best peer, with the limits, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [n for n, *_ in bars.AGAINST_PEERS if bars.best_peer(results, n) is not None]
    limits = {(v.bar, v.path): v.limit for v in bars.verdicts(results)}
    shown = {"numpy": "#b0b0b0", OURS[0]: "#9ecae1", OURS[1]: "#3182bd", OURS[2]: "#e6550d"}
    figure, axes = pyplot.subplots(figsize=(9, 0.62 * len(names) + 2))
    try:
        for k, (peer, colour) in enumerate(shown.items()):
            ratios = {n: (bars.median(results, n, peer), bars.best_peer(results, n)) for n in names}
            drawn = [(i, t / b[1]) for i, n in enumerate(names) for t, b in [ratios[n]] if t is not None and b]
            if drawn:
                label = "NumPy by hand" if peer == "numpy" else peer
                places = [i + (k - 1.5) * 0.2 for i, _ in drawn]
                axes.barh(places, [r for _, r in drawn], 0.2, color=colour, label=label)
        for path, low, colour in (("default", -0.2, "#08306b"), ("fast", 0.2, "#7f2704")):
            ticks = [(i, limits[n, path]) for i, n in enumerate(names) if (n, path) in limits]
            if ticks:
                axes.vlines(
                    [x for _, x in ticks], [i + low - 0.2 for i, _ in ticks], [i + low + 0.2 for i, _ in ticks],
                    color=colour, linewidth=2, label=f"bar, {path}",
                )  # fmt: skip
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        labels = [f"{n}  ({best[0]} {duration(best[1])})" for n in names if (best := bars.best_peer(results, n))]
        axes.set_yticks(range(len(names)), labels)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("time / time of the best peer, which is named at the left (shorter is better)")
        axes.legend(loc="best", fontsize=8)
        figure.tight_layout()
        figure.savefig(file, dpi=120)
    finally:
        pyplot.close(figure)
