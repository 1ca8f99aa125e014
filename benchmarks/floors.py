"""What the machine can do: the rate of SGEMM and the bandwidth of memory, and what they imply for each workload.

Policy: measured in fresh processes at both ends of the same run, `python -m benchmarks.floors SECONDS`; the best of
many is the floor.

State: none.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks import data

SIZES = (256, 512, 1024)
STREAM = 16_000_000  # floats an array: far beyond the caches


def _best(function: Callable[[], Any], seconds: float) -> float:
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def measure(seconds: float) -> dict[str, Any]:
    """GFLOP/s by size of the matrices, and GB/s of copying and of adding, on two threads."""
    rates = {}
    for n in SIZES:
        a, b, c = (np.full((n, n), 0.5, np.float32) for _ in range(3))
        rates[str(n)] = 2 * n**3 / _best(lambda a=a, b=b, c=c: a.dot(b, c), seconds) / 1e9  # type: ignore[misc]
    x, y, z = (np.full(STREAM, 0.5, np.float32) for _ in range(3))
    halves = (slice(None, STREAM // 2), slice(STREAM // 2, None))
    with ThreadPoolExecutor(2) as pool:
        copied = _best(lambda: list(pool.map(lambda h: np.copyto(z[h], x[h]), halves)), seconds)
        added = _best(lambda: list(pool.map(lambda h: np.add(x[h], y[h], z[h]), halves)), seconds)
    return {"sgemm": rates, "copy": 2 * x.nbytes / copied / 1e9, "add": 3 * x.nbytes / added / 1e9}


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The best of two measurements: a floor is what the machine can do, not what others left of it."""
    rates = {n: max(rate, other["sgemm"][n]) for n, rate in one["sgemm"].items()}
    return {"sgemm": rates, **{key: max(one[key], other[key]) for key in ("copy", "add")}}


def _products(*sizes: tuple[int, int, int]) -> int:
    return sum(2 * m * k * n for m, k, n in sizes)


_MLP = ((128, 784, 256), (128, 256, 256), (128, 256, 10))
_CNN = ((64 * 784, 25, 32), (64 * 196, 800, 64), (64, 3136, 256), (64, 256, 10))
_LSTM = ((28 * 128, 28 + 128, 512), (128, 128, 10))
_SIDE = data.WIDTH
_MLP_WEIGHTS = 784 * 256 + 256 * 256 + 256 * 10

# name: (floating-point operations of its matrix products, bytes that must be read or written)
WORK: dict[str, tuple[float, float]] = {
    "small": (_products((16, 16, 16)) * data.SMALL, 0),
    **{f"elementwise_{s}_fwd": (0, 16.0 * n) for s, n in data.ELEMENTS.items()},
    **{f"elementwise_{s}_grad": (0, 32.0 * n) for s, n in data.ELEMENTS.items()},
    "mlp_sgd": (3 * _products(*_MLP) - _products(_MLP[0]), 12.0 * _MLP_WEIGHTS),
    "mlp_adam": (3 * _products(*_MLP) - _products(_MLP[0]), 28.0 * _MLP_WEIGHTS),
    "cnn_train": (3 * _products(*_CNN) - _products(_CNN[0]), 0),
    "cnn_infer": (_products(*_CNN), 0),
    "wide": (_products((_SIDE, _SIDE, _SIDE)) * data.BRANCHES * data.DEPTH, 0),
    "lstm": (3 * _products(*_LSTM), 0),
}


def seconds_at_least(workload: str, floors: dict[str, Any]) -> float | None:
    """The time that the products and the memory traffic of a workload take by themselves."""
    if workload not in WORK or not floors:
        return None
    operations, moved = WORK[workload]
    return operations / (max(floors["sgemm"].values()) * 1e9) + moved / (max(floors["copy"], floors["add"]) * 1e9)


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]))))
