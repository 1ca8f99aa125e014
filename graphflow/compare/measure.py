"""Measuring: each way warmed up, then all of them in turn, so that a busy moment of the machine hits them alike.

Policy: a run is timed from the call to the result as tensors.  Ways take turns, and their order is turned round from
round to round; the figure is the median over rounds, the spread the middle half of the rounds over the median.  The
garbage collector is off while times are taken.  Memory is measured in runs of their own, since that slows a run down,
and by what Python and NumPy ask for: the arena that a compiled program keeps counts fully, what else a first run
imports or compiles does not.

State: none.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from graphflow import nest
from graphflow.eager.storage import plain_array

LEAST_WARM = 3  # runs of each way before times are taken
WARM_SECONDS = 0.25  # and at least so long: native code is made in the background meanwhile
ROUND_SECONDS = 0.004  # a round of one way is as many runs as take about so long
ROUNDS = 15
SMALL = 1e-2  # what rounding leaves of 0 is far smaller, beside what was cancelled
_ARRAYS = np.lib.tracemalloc_domain  # under which NumPy tells of its memory
BOUNDS = {2: 2e-2, 4: 2e-4, 8: 1e-9}  # by bytes of a number: largest difference, in units of the largest value


class Times(NamedTuple):
    """Seconds of one run of one way."""

    median: float
    spread: float  # the middle half of the rounds, over the median
    runs: int  # in a round


def first_run(step: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the first run, and its results."""
    started = time.perf_counter()
    result = step()
    return time.perf_counter() - started, result


def warm_up(step: Callable[[], Any], seconds: float = WARM_SECONDS) -> float:
    """Run for a while; the pace at the end, in seconds."""
    until = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < LEAST_WARM or time.perf_counter() < until:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times[len(times) // 2 :])


def in_turn(steps: Sequence[Callable[[], Any]], paces: Sequence[float], rounds: int, runs: int | None) -> list[Times]:
    """The times of all ways, in rounds in which each has its turn."""
    counts = [runs or max(1, min(1000, round(ROUND_SECONDS / max(pace, 1e-9)))) for pace in paces]
    found: list[list[float]] = [[] for _ in steps]
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            order = list(range(len(steps)))
            turn = number % len(order)
            for i in order[turn:] + order[:turn]:
                step, count = steps[i], range(counts[i])
                started = time.perf_counter()
                for _ in count:
                    step()
                found[i].append((time.perf_counter() - started) / counts[i])
            gc.collect()
    finally:
        if enabled:
            gc.enable()
    return [_times(seconds, count) for seconds, count in zip(found, counts, strict=True)]


def _times(seconds: list[float], runs: int) -> Times:
    median = statistics.median(seconds)
    if len(seconds) < 4:
        return Times(median, (max(seconds) - min(seconds)) / max(median, 1e-9), runs)
    low, _, high = statistics.quantiles(seconds, n=4)
    return Times(median, (high - low) / max(median, 1e-9), runs)


@contextmanager
def _traced_memory() -> Iterator[None]:
    """Every piece of memory that Python and NumPy ask for is counted, and the collector is off."""
    running, enabled = tracemalloc.is_tracing(), gc.isenabled()
    if not running:
        tracemalloc.start()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        if not running:
            tracemalloc.stop()


def peak_bytes(step: Callable[[], Any]) -> int:
    """Bytes that Python and NumPy hold at the peak of a run beyond what they held before, the results included."""
    with _traced_memory():
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = step()
        peak = tracemalloc.get_traced_memory()[1] - before
        del result
    return max(0, peak)


def held_bytes(step: Callable[[], Any], warm: float) -> int:
    """Bytes of arrays that a new way keeps when it is warm: its arena, values of variables.  Not its results."""
    with _traced_memory():
        before = _array_bytes()
        warm_up(step, warm)
        return max(0, _array_bytes() - before)


def _array_bytes() -> int:
    found = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, _ARRAYS)])
    return sum(trace.size for trace in found.traces)


class Agreement(NamedTuple):
    """How far results are from those of the eager way."""

    same_bits: bool
    largest: float  # difference, in units of the largest value of its tensor
    within: bool | None  # None: not compared
    worst: str  # which result or gradient differs most; "" for none


def floors(results: Any, gradients: Sequence[Any], sources: Sequence[Any]) -> list[float]:
    """How large each gradient is taken to be at least: one that is 0 but for rounding is what others have cancelled to.

    What is cancelled is about as large as the other gradients, or as the results over what they are differentiated by.
    """
    most = max([_largest(plain_array(x)) for x in gradients], default=0.0)
    result = max([_largest(plain_array(x)) for x in nest.flatten(results) if hasattr(x, "value")], default=0.0)
    return [SMALL * max(most, result / (_largest(plain_array(x)) or 1.0)) for x in sources]


def agreement(wanted: Any, found: Any, exactly: bool, labels: Sequence[str], least: Sequence[float] = ()) -> Agreement:
    """Compare two nests of results; `exactly` demands the same bits, `labels` say what the leaves are.

    The last leaves count as at least so large as `least` says.
    """
    ours, theirs = nest.flatten(wanted), nest.flatten(found)
    if len(ours) != len(theirs):
        return Agreement(False, math.inf, False, f"{len(theirs)} results where eager has {len(ours)}")
    scales = [0.0] * (len(ours) - len(least)) + list(least)
    largest, within, worst = 0.0, True, ""
    for a, b, label, scale in zip(ours, theirs, labels, scales, strict=True):
        if not hasattr(a, "value"):
            continue
        x, y = plain_array(a), plain_array(b)
        if x.shape != y.shape or x.dtype != y.dtype:
            told = f"{label} is {y.dtype}{list(y.shape)} where eager has {x.dtype}{list(x.shape)}"
            return Agreement(False, math.inf, False, told)
        if x.tobytes() == y.tobytes():
            continue
        distance = _distance(x, y, scale)
        if not worst or distance > largest:
            largest, worst = distance, label
        within = within and distance <= BOUNDS.get(x.dtype.itemsize, 1e-9) * (x.dtype.kind in "fc")
    return Agreement(not worst, largest, not worst if exactly else within, worst)


def _distance(x: Any, y: Any, floor: float) -> float:
    """The largest difference over the largest value; NaN and infinities must stand in the same places."""
    if x.dtype.kind not in "fc":
        return math.inf
    finite = np.isfinite(x)
    if not np.array_equal(finite, np.isfinite(y)) or not np.array_equal(np.isnan(x), np.isnan(y)):
        return math.inf
    if not np.array_equal(x[~finite & ~np.isnan(x)], y[~finite & ~np.isnan(x)]):
        return math.inf
    if not finite.any():
        return 0.0
    with np.errstate(all="ignore"):
        wide = float(np.abs(x[finite].astype(np.complex128) - y[finite].astype(np.complex128)).max())
    scale = max(_largest(x), floor)
    return wide / scale if scale else wide


def _largest(x: Any) -> float:
    """The largest finite magnitude; 0 for what is no floating-point number, which nothing is differentiated by."""
    if x.dtype.kind not in "fc":
        return 0.0
    found = x[np.isfinite(x)]
    return float(np.abs(found.astype(np.complex128)).max()) if found.size else 0.0
