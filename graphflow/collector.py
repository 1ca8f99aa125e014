"""Python's cyclic garbage collector, paused while many objects are made that all stay.

Policy: differentiating and compiling make hundreds of thousands of objects and no garbage; each full collection
meanwhile would look at all of them.  The collector is paused for such a phase and left as it was found.  Two threads
at once are fine: only the one that paused it starts it again.

State: none of ours; the interpreter's own switch.
"""

from __future__ import annotations

import gc
from types import TracebackType


class CollectorPaused:
    """A context in which the garbage collector does not run."""

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        if self._was_on:
            gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._was_on:
            gc.enable()
