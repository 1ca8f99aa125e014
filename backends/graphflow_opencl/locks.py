"""The lock of a device: one run at a time, which the same thread may nest, and which user code is run without.

Policy: the lock is Python's own re-entrant one, which an interrupt cannot leave half taken.  `let_go` gives it up
whatever the depth and takes it back after the block, also if Ctrl-C comes meanwhile: so a function of the user's may
wait for another thread that runs a session.

State: none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def let_go(lock: Any) -> Iterator[None]:
    """A block in which this thread does not hold the lock."""
    state = None
    try:
        state = lock._release_save()  # what `threading.Condition` uses to give up a lock that was taken several times
        yield
    finally:
        interrupt: KeyboardInterrupt | None = None
        while state is not None:
            try:
                lock._acquire_restore(state)
                break
            except KeyboardInterrupt as error:  # whoever holds the lock outside would release what is not held
                interrupt = error
        if interrupt is not None:
            raise interrupt
