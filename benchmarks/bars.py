"""The bars: what graphflow must reach, as data, and the verdicts on a run.

Policy: `default` is pure NumPy, at the better of O1 and O2; `fast` is O2 with the compiled path.  A bar is an upper
limit of a ratio or of an absolute cost, unless it says `at_least`.  What was not measured has no verdict.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.peers import OURS, PEERS

DEFAULT, FAST = OURS[:2], OURS[2]
Results = dict[str, Any]


class Bar(NamedTuple):
    """One row: the limits for the two paths, and how the value is found."""

    name: str
    default: float | None
    fast: float | None
    value: Callable[[Results, str], float | None]
    at_least: bool = False
    unit: str = "x"


class Verdict(NamedTuple):
    """One checked limit."""

    bar: str
    path: str  # "default" or "fast"
    measured: str  # which of graphflow's levels the value is of
    value: float
    limit: float
    met: bool
    unit: str


def median(results: Results, workload: str, peer: str) -> float | None:
    """Seconds a run."""
    row = results.get("workloads", {}).get(workload, {}).get("peers", {}).get(peer)
    return None if row is None else row["median"]


def best_peer(results: Results, workload: str) -> tuple[str, float] | None:
    """The fastest library other than graphflow; NumPy by hand only where there is no other."""
    rows = results.get("workloads", {}).get(workload, {}).get("peers", {})
    times = [(PEERS[p].floor, row["median"], p) for p, row in rows.items() if p not in OURS]
    if not times:
        return None
    _, seconds, peer = min(times)
    return peer, seconds


def _to_peer(workload: str, against: str = "") -> Callable[[Results, str], float | None]:
    def value(results: Results, ours: str) -> float | None:
        mine, best = median(results, workload, ours), best_peer(results, against or workload)
        return None if mine is None or best is None else mine / best[1]

    return value


def _to_own(workload: str, other: str) -> Callable[[Results, str], float | None]:
    def value(results: Results, ours: str) -> float | None:
        mine, base = median(results, workload, ours), median(results, other, ours)
        return None if mine is None or base is None else mine / base

    return value


def _first(workload: str) -> Callable[[Results, str], float | None]:
    def value(results: Results, ours: str) -> float | None:
        row = results.get("workloads", {}).get(workload, {}).get("peers", {}).get(ours)
        return None if row is None else row["first"]

    return value


def _ladder(key: str, scale: float) -> Callable[[Results, str], float | None]:
    def value(results: Results, ours: str) -> float | None:
        row = results.get("compile", {}).get("peers", {}).get(ours)
        return None if row is None else row[key] * scale

    return value


def _no_delay(results: Results, ours: str) -> float | None:
    rows = results.get("compile", {}).get("peers", {})
    return rows[ours]["total"] / rows[DEFAULT[1]]["total"] if ours in rows and DEFAULT[1] in rows else None


def _import(key: str, scale: float, above: str = "") -> Callable[[Results, str], float | None]:
    def value(results: Results, ours: str) -> float | None:
        rows = results.get("import", {})
        if "graphflow" not in rows:
            return None
        return (rows["graphflow"][key] - (rows[above][key] if above else 0)) * scale

    return value


# name, default at most, fast at most
AGAINST_PEERS = (
    ("noop", 1.6, 1.0), ("chain", 1.4, 0.8), ("small", 0.5, 0.25),
    ("elementwise_4m_fwd", 4.2, 0.65), ("elementwise_4m_grad", 1.4, 0.2),
    ("elementwise_64k_fwd", 2.5, 0.4), ("elementwise_64k_grad", 1.5, 0.25),
    ("elementwise_1k_fwd", 0.95, 0.3), ("elementwise_1k_grad", 1.2, 0.3),
    ("mlp_sgd", 0.9, 0.77), ("mlp_adam", 1.0, 0.85), ("lecture", 1.8, 0.8),
    ("cnn_train", 1.25, 0.85), ("cnn_infer", 1.3, 1.1), ("wide", 1.15, 0.87), ("lstm", 1.15, 0.7), ("ebm", 1.5, 0.9),
)  # fmt: skip

BARS = (
    *(Bar(name, default, fast, _to_peer(name)) for name, default, fast in AGAINST_PEERS),
    Bar("noop_callable", 0.65, 0.65, _to_peer("noop_callable", "noop")),
    Bar("lstm, first result", 0.3, None, _first("lstm"), unit=" s"),
    Bar("wide: 1 worker / 2 workers", 1.8, 1.8, _to_own("wide_1", "wide_2"), at_least=True),
    Bar("wide: one core taken / alone", 2.2, 2.2, _to_own("wide_2_hogged", "wide_2")),
    Bar("no parallelism: 2 workers / 1", 1.03, 1.03, _to_own("line_2", "line_1")),
    Bar("compile, us an op", 40, None, _ladder("total", 1), unit=" us"),
    Bar("compile, KB an op", 8, None, _ladder("bytes", 1e-3), unit=" KB"),
    Bar("compile: fast / O2, no delay", None, 1.1, _no_delay),
    Bar("import, ms above NumPy", 40, None, _import("median", 1e3, "numpy"), unit=" ms"),
    Bar("own files, MB", 2, None, _import("bytes", 1e-6), unit=" MB"),
)


def verdicts(results: Results) -> list[Verdict]:
    """Every limit for which there is a measurement."""
    out = []
    for bar in BARS:
        for path, limit, levels in (("default", bar.default, DEFAULT), ("fast", bar.fast, (FAST,))):
            values = [(value, level) for level in levels if (value := bar.value(results, level)) is not None]
            if limit is not None and values:
                value, level = max(values) if bar.at_least else min(values)
                met = value >= limit if bar.at_least else value <= limit
                out.append(Verdict(bar.name, path, level, value, limit, met, bar.unit))
    return out
