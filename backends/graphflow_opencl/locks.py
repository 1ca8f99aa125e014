"""The lock of a device: one run at a time, which the same thread may nest, and which user code is run without.

Policy: a thread that holds the lock may take it again.  `let_go` gives it up whatever the depth, and takes it back
after the block: so a function of the user's may wait for another thread that runs a session.

State: each lock knows its owner and how often it was taken.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any


class RunLock:
    """A re-entrant lock that can be given up for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._depth = 0

    def acquire(self) -> bool:
        """Wait for the lock."""
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return True
        self._lock.acquire()
        self._owner, self._depth = me, 1
        return True

    def release(self) -> None:
        """Give it back."""
        if self._owner != threading.get_ident():
            raise RuntimeError("the lock is not held by this thread")
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._lock.release()

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.release()

    @contextlib.contextmanager
    def let_go(self) -> Iterator[None]:
        """A block in which this thread does not hold the lock."""
        depth, self._depth, self._owner = self._depth, 0, 0
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._owner, self._depth = threading.get_ident(), depth
