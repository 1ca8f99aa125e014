"""`compare`: the same Python function computed in every way there is, and the figures side by side.

Policy: every way computes the same results and the same gradients; if not all agree, the report says so in its table
and in `agrees`.  Nothing of what was measured is left out.

State: none.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from graphflow.compare import measure
from graphflow.compare.calls import Call, counts_of
from graphflow.compare.figures import Row, break_even
from graphflow.compare.report import Report
from graphflow.compare.ways import EAGERLY, LEVELS, Eager, Lazy, Subject, settings
from graphflow.errors import InvalidArgumentError, shown
from graphflow.runtime.workers import usable_cores

Way: TypeAlias = "Eager | Lazy"


def compare(
    function: Any,
    *args: Any,
    grad: bool = True,
    steps: int | None = None,
    rounds: int = measure.ROUNDS,
    warm: float = measure.WARM_SECONDS,
    levels: Sequence[int] = LEVELS,
    devices: Sequence[str] | None = None,
) -> Report:
    """Run a function of tensors eagerly and traced, at each level, with one and several workers, on each backend.

    report = gf.compare(loss, x, y)
    print(report)
    report.render("loss.html")

    grad     differentiate the sum of the results by what requires gradients: arguments, parameters of modules; if
             nothing does, by all floating-point arguments
    steps    runs of each way in one round; by default as many as take some milliseconds
    rounds   in which the ways take turns
    warm     seconds that each way runs before times are taken
    devices  backends to use; default: all that are here
    """
    for value, least, word in ((steps, 1, "steps"), (rounds, 1, "rounds")):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise InvalidArgumentError(f"{word} is {least} or more", got=shown(value))
    subject = Subject(function, args, grad)
    chosen, missing = settings(levels, devices)
    ways: list[Way] = [Eager(subject), *[Lazy(subject, setting) for setting in chosen]]
    first, results = [], []
    for way in ways:
        way.prepare(time.perf_counter)
        spent, result = measure.first_run(way.step)
        first.append(spent)
        results.append(result)
    executed = {way.setting.name: tuple(way.calls()) for way in ways}
    judged = [_judged(way, results[0], result, subject.draws) for way, result in zip(ways, results, strict=True)]
    del results
    paces = [measure.warm_up(way.step, warm) for way in ways]
    times = measure.in_turn([way.step for way in ways], paces, rounds, steps)
    rows: list[Row] = []
    for way, spent, t, verdict in zip(ways, first, times, judged, strict=True):
        peak = _peak(way, subject)
        rows.append(_row(way, spent, t, rows[0] if rows else None, executed[way.setting.name], peak, verdict))
    return Report(subject.name, tuple(rows), _conditions(subject, rounds, warm), tuple(missing), executed)


def _judged(way: Way, wanted: Any, found: Any, draws: bool) -> tuple[bool, float, bool | None]:
    """Whether the results have the same bits, how far they are apart, and whether that is within the bounds."""
    if draws:
        return False, 0.0, None
    exactly = way.setting.device == EAGERLY.device and (way.setting.level or 0) < 2
    verdict = measure.agreement(wanted, found, exactly)
    return verdict.same_bits, verdict.largest, verdict.within


def _row(
    way: Way,
    first: float,
    times: measure.Times,
    eager: Row | None,
    calls: Sequence[Call],
    peak: int | None,
    verdict: tuple[bool, float, bool | None],
) -> Row:
    s, counts = way.setting, counts_of(calls)
    even = None
    if eager is not None:
        even = break_even(way.build + way.compiling, first, times.median, eager.first, eager.steady)
    return Row(
        s.name, s.device, s.level, s.workers, way.build, way.compiling, first, times.median, times.spread, times.runs,
        counts.ops, counts.calls, counts.buffers, peak, even, *verdict,
    )  # fmt: skip


def _peak(way: Way, subject: Subject) -> int | None:
    """Bytes at the peak of a run; of a traced way a fresh one, whose first run makes its arena."""
    if way.setting.device != EAGERLY.device:
        return None
    if isinstance(way, Eager):
        return measure.peak_bytes(way.step)
    fresh = Lazy(subject, way.setting)
    fresh.prepare(time.perf_counter)
    return measure.peak_bytes(fresh.step)


def _conditions(subject: Subject, rounds: int, warm: float) -> dict[str, Any]:
    return {
        "grad": subject.grad,
        "sources": len(subject.sources),
        "draws": subject.draws,
        "rounds": rounds,
        "warm_runs": measure.LEAST_WARM,
        "warm_seconds": warm,
        "collector": "off while times were taken",
        "bounds": ", ".join(f"{bound:g} for {8 * size} bits" for size, bound in measure.BOUNDS.items()),
        "machine": platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
