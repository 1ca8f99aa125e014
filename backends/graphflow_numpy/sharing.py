"""Pieces of one kernel or group, side by side on several threads.

Policy: how work is cut into pieces depends on shapes alone, and each piece writes what no other one does, so results
do not depend on the number of threads.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

THREADS: ContextVar[int] = ContextVar("threads", default=1)  # how many one op may use in this run


def share(count: int, function: Callable[[int], Any]) -> None:
    """Call `function(i)` for all i below `count`."""
    for i in range(count):
        function(i)
