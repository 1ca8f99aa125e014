"""Measuring: each way warmed up, then all of them in turn, so that a busy moment of the machine hits them alike.

Policy: a run is timed from the call to the result as tensors.  Ways take turns, and their order is turned round from
round to round; the figure is the median over rounds, the spread the middle half of the rounds over the median.  The
garbage collector is off while times are taken.  Memory is measured in a run of its own, since that slows a run down.

State: none.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow import nest
from graphflow.eager.storage import plain_array

LEAST_WARM = 3  # runs of each way before times are taken
WARM_SECONDS = 0.25  # and at least so long: native code is made in the background meanwhile
ROUND_SECONDS = 0.004  # a round of one way is as many runs as take about so long
ROUNDS = 15
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


def peak_bytes(step: Callable[[], Any]) -> int:
    """Bytes that Python and NumPy hold at the peak of a run beyond what they held before, the results included."""
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    enabled = gc.isenabled()
    gc.disable()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = step()
        peak = tracemalloc.get_traced_memory()[1] - before
        del result
        return max(0, peak)
    finally:
        if enabled:
            gc.enable()
        if not running:
            tracemalloc.stop()


class Agreement(NamedTuple):
    """How far results are from those of the eager way."""

    same_bits: bool
    largest: float  # difference, in units of the largest value of its tensor
    within: bool


def agreement(wanted: Any, found: Any, exactly: bool) -> Agreement:
    """Compare two nests of results; `exactly` demands the same bits."""
    same, largest, within = True, 0.0, True
    for a, b in zip(nest.flatten(wanted), nest.flatten(found), strict=True):
        if not hasattr(a, "value"):
            continue
        x, y = plain_array(a), plain_array(b)
        if x.shape != y.shape or x.dtype != y.dtype:
            return Agreement(False, float("inf"), False)
        if x.tobytes() == y.tobytes():
            continue
        same = False
        distance = _distance(x, y)
        largest = max(largest, distance)
        within = within and distance <= BOUNDS.get(x.dtype.itemsize, 1e-9) * (x.dtype.kind in "fc")
    return Agreement(same, largest, same if exactly else within)


def _distance(x: Any, y: Any) -> float:
    """The largest difference over the largest value; NaN and infinities must stand in the same places."""
    if x.dtype.kind not in "fc":
        return float("inf")
    finite = np.isfinite(x)
    if not np.array_equal(finite, np.isfinite(y)) or not np.array_equal(np.isnan(x), np.isnan(y)):
        return float("inf")
    if not np.array_equal(x[~finite & ~np.isnan(x)], y[~finite & ~np.isnan(x)]):
        return float("inf")
    if not finite.any():
        return 0.0
    with np.errstate(all="ignore"):
        wide = np.abs(x[finite].astype(np.complex128) - y[finite].astype(np.complex128)).max()
        scale = np.abs(x[finite].astype(np.complex128)).max()
    return float(wide / scale) if scale else float(wide)
