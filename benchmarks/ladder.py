"""Building, differentiating, compiling and running a graph of 10,000 ops, each peer in fresh processes.

Policy: the graph shares values between its rungs, so that neither a tree walk nor a chain of single readers will do;
value and slope are compared with dual numbers in float64.  A peer that needs minutes gets a smaller graph.

State: none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers import OURS
from benchmarks.processes import Gone, Process

COUNT = 10_000
FEWER = {"tf1_inline": 0, "tffn": 0, "tfxla": 0, "torchc": 0, "pytensor": 0, "tinygrad": 0, "ort": 0, "numpy": 0,
         "jax": 1_000}  # fmt: skip
QUICK = {"tf1": 1_000, "jax": 0}
TOLERANCE = 1e-3
PHASES = ("build", "gradients", "first run", "steady run")


def expected(count: int, x: float = 0.5) -> tuple[float, float]:
    """Value and slope at the end of the ladder."""
    a, da, b, db = x, 1.0, 0.5 * x, 0.5
    for _ in range(count // 4):
        t = math.tanh(a + b)
        dt = (1 - t * t) * (da + db)
        a, da = t * a, dt * a + t * da
        b, db = t - a, dt - da
    return a + b, da + db


def measure(
    names: Sequence[str], python: str, quick: bool, say: Callable[[str], None], log: Any = None
) -> dict[str, Any]:
    """Microseconds an op for each phase, in total, and bytes an op."""
    out: dict[str, Any] = {"peers": {}, "left_out": {}}
    for name in names:
        count = (QUICK if quick else {}).get(name, FEWER.get(name, COUNT))
        if not count:
            continue
        runs = []
        for _ in range(3 if name in OURS else 1):
            answer = _once(name, python, count, log)
            if answer["ok"]:
                runs.append(answer)
            else:
                out["left_out"][name] = answer.get("left_out") or answer.get("failed")
        if runs and name not in out["left_out"]:
            out["peers"][name] = _summary(runs, count)
            row = out["peers"][name]
            say(f"  compile: {name}, {count:,} ops: {row['total']:.1f} us and {row['bytes'] / 1e3:.1f} kB an op")
        else:
            say(f"  compile: {name} left out: {out['left_out'].get(name)}")
    return out


def _once(name: str, python: str, count: int, log: Any) -> dict[str, Any]:
    try:
        process = Process(name, python, log)
        try:
            hello = process.answer(120)
            answer = process.ask("ladder", 300, count=count) if hello["ok"] else hello
        finally:
            process.end()
    except Gone as reason:
        return {"ok": False, "failed": str(reason)}
    if answer["ok"]:
        value, slope = expected(count)
        got = answer["phases"]
        if not (math.isclose(got["value"], value, rel_tol=TOLERANCE, abs_tol=1e-6)
                and math.isclose(got["slope"], slope, rel_tol=TOLERANCE, abs_tol=1e-6)):  # fmt: skip
            return {"ok": False, "failed": f"its result is wrong: {got}, expected {value}, {slope}"}
    return answer


def _summary(runs: Sequence[dict[str, Any]], count: int) -> dict[str, Any]:
    us = {p: statistics.median(r["phases"][p] for r in runs) / count * 1e6 for p in PHASES}
    total = statistics.median(sum(r["phases"][p] for p in PHASES[:3]) for r in runs) / count * 1e6
    return {"ops": count, **us, "total": total, "bytes": statistics.median(r["bytes"] for r in runs) / count}
