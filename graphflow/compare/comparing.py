"""`compare`: the same Python function computed in every way there is, and the figures side by side.

Policy: every way computes the same results and the same gradients; if not all agree, the report says so in its table
and in `agrees`.  Nothing of what was measured is left out.  Each way begins where the first began, and
afterwards everything is as it was.  Comparisons in several threads take turns, since memory and calls are counted for
the whole process, and a time that is taken beside another says little.

State: the lock under which a comparison runs.
"""

from __future__ import annotations

import math
import platform
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphflow.compare import measure
from graphflow.compare.calls import Call, counts_of
from graphflow.compare.figures import Row, break_even
from graphflow.compare.measure import Agreement
from graphflow.compare.report import Report
from graphflow.compare.subject import Subject
from graphflow.compare.ways import EAGERLY, LEVELS, Eager, Lazy, Setting, settings
from graphflow.errors import Error, FailedPreconditionError, InvalidArgumentError, shown
from graphflow.runtime.workers import usable_cores

Way: TypeAlias = "Eager | Lazy"
_turn = threading.RLock()  # a compared function may itself compare


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
    levels   optimization levels on NumPy
    devices  backends to use; default: all that are here

    Arguments, parameters, running statistics, gradients, optimizers and random seeds are afterwards as before, and so
    are containers and attributes that the function can reach; attributes of classes and NumPy arrays are not put back.
    """
    _check_numbers(steps, rounds, warm)
    with _turn:
        chosen, missing = settings(levels, devices)
        return _measured(Subject(function, args, bool(grad)), chosen, missing, steps, rounds, warm)


def _measured(
    subject: Subject, chosen: Sequence[Setting], missing: list[str], steps: int | None, rounds: int, warm: float
) -> Report:
    """Every way in turn; afterwards all is put back."""
    try:
        ways, judged = _built(subject, chosen, missing)
        executed = {b.way.setting.name: tuple(b.calls) for b in ways}
        paces = [measure.warm_up(b.way.step, warm) for b in ways]
        times = measure.in_turn([b.way.step for b in ways], paces, rounds, steps)
        peaks = [_peak(b.way, subject, warm) for b in ways]
    finally:
        subject.kept.restore()
    rows: list[Row] = []
    for b, t, peak, verdict in zip(ways, times, peaks, judged, strict=True):
        rows.append(_row(b, t, rows[0] if rows else None, peak, verdict))
    return Report(subject.name, tuple(rows), _conditions(subject, rounds, warm), tuple(missing), executed)


def _check_numbers(steps: Any, rounds: Any, warm: Any) -> None:
    """Raise unless these can be counted and waited for."""
    for value, word in ((steps, "steps"), (rounds, "rounds")):
        if value is None and word == "steps":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidArgumentError(f"{word} is 1 or more", got=shown(value))
    if isinstance(warm, bool) or not isinstance(warm, (int, float)) or not 0 <= warm < math.inf:
        raise InvalidArgumentError("warm is a number of seconds, 0 or more", got=shown(warm))


class _Built(NamedTuple):
    """A way that is ready, and what its first run took and did."""

    way: Way
    first: float
    calls: list[Call]


def _built(subject: Subject, chosen: Sequence[Setting], missing: list[str]) -> tuple[list[_Built], list[Agreement]]:
    """Every way after its first run, each from the same beginning, and how its results agree with the eager ones."""
    found: list[_Built] = []
    judged: list[Agreement] = []
    wanted: Any = None
    every: list[Way] = [Eager(subject), *[Lazy(subject, setting) for setting in chosen]]
    for way in every:
        subject.restart()
        try:
            way.prepare(time.perf_counter)
            spent, result = measure.first_run(way.step)
        except Error as error:
            if way.setting.device == EAGERLY.device:
                raise
            missing.append(f"{way.setting.device}: {error}".replace("\n", "; "))
            continue
        if not found:
            wanted = result
            subject.check_arguments()
        subject.restart()
        found.append(_Built(way, spent, way.calls()))
        judged.append(_judged(way, wanted, result, subject))
    if len(found) == 1:
        raise FailedPreconditionError("there is nothing to compare eager with", got="; ".join(missing))
    return found, judged


def _judged(way: Way, wanted: Any, found: Any, subject: Subject) -> Agreement:
    """Whether the results have the same bits, how far they are apart, and whether that is within the bounds."""
    if subject.draws or subject.frozen:
        return Agreement(False, 0.0, None, "")
    exactly = way.setting.device == EAGERLY.device and (way.setting.level or 0) < 2
    least = measure.floors(wanted[0], wanted[1], subject.sources) if subject.grad else []
    return measure.agreement(wanted, found, exactly, subject.labels(wanted), least)


def _row(built: _Built, times: measure.Times, eager: Row | None, peak: int | None, verdict: Agreement) -> Row:
    way, counts = built.way, counts_of(built.calls)
    s, even = way.setting, None
    if eager is not None:
        even = break_even(way.build + way.compiling, built.first, times.median, eager.first, eager.steady)
    return Row(
        s.name, s.device, s.level, s.workers, way.build, way.compiling, built.first, times.median, times.spread,
        times.runs, counts.ops, counts.calls, counts.buffers, peak, even, *verdict,
    )  # fmt: skip


def _peak(way: Way, subject: Subject, warm: float) -> int | None:
    """Bytes at the peak of a run beyond what was held before the way was made: of a traced way, its arena too."""
    if way.setting.device != EAGERLY.device:
        return None
    if isinstance(way, Eager):
        return measure.peak_bytes(way.step)
    fresh = Lazy(subject, way.setting)
    fresh.prepare(time.perf_counter)
    return measure.held_bytes(fresh.step, warm / 2) + measure.peak_bytes(fresh.step)


def _conditions(subject: Subject, rounds: int, warm: float) -> dict[str, Any]:
    return {
        "grad": subject.grad,
        "sources": len(subject.sources),
        "draws": subject.draws or subject.frozen,
        "frozen": subject.frozen,
        "rounds": rounds,
        "warm_runs": measure.LEAST_WARM,
        "warm_seconds": warm,
        "collector": "off while times were taken",
        "bounds": ", ".join(f"{bound:g} for {8 * size} bits" for size, bound in measure.BOUNDS.items()),
        "small": measure.SMALL,
        "machine": platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
