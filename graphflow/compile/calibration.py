"""What this machine's cores do: measured once, in some milliseconds, and kept.

Policy: measured when the first program is large enough to be scheduled, so never in a small one.  The figures are kept
in the user's cache folder, one small JSON file for each machine; whatever is wrong with that file, or with writing it,
is no error: it is measured again.  Figures outside a factor of 20 around the defaults are not believed.

State: the figures of this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from graphflow.compile.cost import DEFAULT, Machine

VERSION = 1
ROUNDS = 12
PRODUCT = 64  # rows of the product that is measured: BLAS still uses one thread
BELIEVED = 20.0

_machine: Machine | None = None


def machine() -> Machine:
    """The figures of this machine."""
    global _machine
    if _machine is None:
        path = cache_file()
        _machine = read(path)
        if _machine is None:
            _machine = measure()
            write(path, _machine)
    return _machine


def cache_file() -> Path:
    """Where the figures of this machine are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    told = f"machine-{VERSION}-{platform.node()}-{platform.machine()}-{os.cpu_count()}-numpy-{np.__version__}"
    return Path(base) / "graphflow" / f"{''.join(c if c.isalnum() else '-' for c in told)}.json"


def read(path: Path) -> Machine | None:
    """The figures in that file, if they are there and can be believed."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return _believed(Machine(**{name: float(found[name]) for name in Machine._fields}))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write(path: Path, figures: Machine) -> None:
    """Keep the figures; a reader sees the old file or the new one, whole."""
    temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(figures._asdict()), "utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def measure() -> Machine:
    """Measure; what cannot be believed keeps its default."""
    a, b = np.ones((2, PRODUCT, PRODUCT), np.float32)
    product, vector, tiny = np.empty_like(a), np.full(8192, 0.5, np.float32), np.ones(4, np.float32)
    large = np.ones(1 << 20, np.float32)
    out, small_out, large_out = np.empty_like(vector), np.empty_like(tiny), np.empty_like(large)
    call = _best(lambda: np.add(tiny, tiny, small_out))
    dot = _best(lambda: a.dot(b, product)) - call
    figures = Machine(
        flops=2.0 * PRODUCT**3 / max(dot, 1e-9),
        bandwidth=3.0 * large.nbytes / max(_best(lambda: np.add(large, large, large_out)), 1e-9),
        element=max(_best(lambda: np.add(vector, vector, out)) - call, 1e-9) / vector.size,
        function=max(_best(lambda: np.tanh(vector, out)) - call, 1e-9) / vector.size,
        dispatch=2.0 * call,  # the kernel's call, and the executor's part
        wake=DEFAULT.wake,
    )
    believed = _believed(figures)
    return DEFAULT if believed is None else believed


def _best(work: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def _believed(figures: Machine) -> Machine | None:
    """The figures, if each is within a factor of its default."""
    pairs = zip(figures, DEFAULT, strict=True)
    return figures if all(usual / BELIEVED <= found <= usual * BELIEVED for found, usual in pairs) else None
