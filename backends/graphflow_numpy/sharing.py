"""Pieces of one kernel or group, side by side on several threads.

Policy: how work is cut into pieces depends on shapes alone, and each piece writes what no other one does, so results
do not depend on the number of threads.  The caller works through the pieces; idle threads of the pool help.  Who
calls knows whether the work is worth waking another thread (some 50 us): see `WORTH`.

State: how many threads one op may use, and whether BLAS has threads, set for each context in which a program runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from graphflow.runtime import workers

THREADS: ContextVar[int] = ContextVar("threads", default=1)
WHOLE: ContextVar[bool] = ContextVar("whole", default=False)  # whether BLAS itself has several threads in this run
WORTH = 150e-6  # seconds of work below which it stays in one thread


def share(count: int, function: Callable[[int], Any]) -> None:
    """Call `function(i)` for all i below `count`, on as many threads as this run grants one op."""
    workers.share(count, function, THREADS.get())


def share_range(count: int, function: Callable[[int, int], Any], threads: int) -> None:
    """Call `function(begin, end)` for parts of range(count): one for each thread."""
    edges = [count * i // threads for i in range(threads + 1)]
    workers.share(threads, lambda i: function(edges[i], edges[i + 1]), threads)


def whole_products() -> bool:
    """Whether a matrix product is left to BLAS as it is, whose threads then round as they like (O2 alone)."""
    return WHOLE.get()
