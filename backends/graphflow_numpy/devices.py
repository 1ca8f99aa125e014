"""What NumPy computes on, for `python -m graphflow devices`.

Policy: the record has the fields that every backend's devices have; speeds are measured only when asked for.

State: none.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PROBE_SECONDS = 0.1  # for each of latency, stream and matrix product
STREAM_FLOATS = 1 << 22
SIDE = 512  # of the square matrices


def examine(doctor: bool) -> dict[str, Any]:
    """The host's CPU, and with `doctor` how fast NumPy is on it."""
    units = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    record: dict[str, Any] = {
        "name": "numpy",
        "backend": "numpy",
        "type": "cpu",
        "device": _cpu_name(),
        "platform": "NumPy",
        "driver": np.__version__,
        "version": f"NumPy {np.__version__}",
        "units": units,
        "memory": _memory(),
        "largest_buffer": _memory(),
        "align": 64,
        "out_of_order": True,
        "fission": False,
        "float16": True,
        "float64": True,
        "subgroups": False,
        "chosen": True,
    }
    checks = []
    if doctor:
        speed = _speed()
        record |= speed
        text = (
            f"call {speed['latency_us']:g} us, stream {speed['stream_gb_s']:g} GB/s, "
            f"matmul {speed['gemm_gflops']:g} GFLOP/s"
        )
        checks.append({"step": "speed", "subject": "numpy", "state": "ok", "text": text, "advice": None})
    return {"backend": "numpy", "devices": [record], "checks": checks}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _speed() -> dict[str, float]:
    tiny, large, a = np.ones(64, np.float32), np.ones(STREAM_FLOATS, np.float32), np.ones((SIDE, SIDE), np.float32)
    little, other, out, product = tiny.copy(), large.copy(), large.copy(), a.copy()
    call = _best(lambda: np.add(tiny, tiny, little))
    stream = _best(lambda: np.add(large, other, out))
    matmul = _best(lambda: np.matmul(a, a, product))
    return {
        "latency_us": _short(1e6 * call),
        "stream_gb_s": _short(12e-9 * STREAM_FLOATS / stream),
        "gemm_gflops": _short(2e-9 * SIDE**3 / matmul),
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _best(work: Callable[[], Any]) -> float:
    best, begun, calls = float("inf"), time.perf_counter(), 0
    while calls < 2 or time.perf_counter() - begun < PROBE_SECONDS:
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
        calls += 1
    return max(best, 1e-9)
