"""The team: one who leads a run of native kernels, and threads that help with it without the GIL.

Policy: there is one board for the process, on which the leader puts the frame of its run; helpers look at the board
and work on what the frame shares (see `driver`).  A helper that has nothing to do lingers for a while, so that in a
loop of runs it is there from the beginning of the next one, and then goes back to the pool of `runtime.workers`.  No
one waits for help to come.  Who finds the board taken by another run goes on alone.  A leader takes its frame off the
board and waits until the helpers have left it: nothing of a run is touched after it.

A helper writes down that it is inside before it looks for the second time whether there still is a frame, and a leader
takes the frame away before it looks whether anyone is inside; all of that in one order for everybody (seq_cst), so
one of the two sees the other.

State: the board, who leads, and the crew of those who linger; all new in a forked copy of the process.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from graphflow.runtime.workers import Crew
from graphflow_numpy.native import driver, engine

LINGER = 20_000  # pauses that a helper waits for the next run: less than a millisecond
CLOSING = 20_000  # pauses that a leader waits for helpers to leave before it sleeps in between
NAP = 5e-5  # seconds of such a sleep
LINE = 8  # words between those that different threads write

_SOURCE = """

; opens the frame to helpers and runs these entries together with them; without entries, closes it
define void @{name}_lead(ptr %frame, i64 %begin, i64 %end) nounwind {{
entry:
  %p7 = getelementptr i64, ptr %frame, i64 7
  %state = load ptr, ptr %p7, align 8
  %p8 = getelementptr i64, ptr %frame, i64 8
  %board = load ptr, ptr %p8, align 8
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %work, label %close
work:
  store atomic ptr %frame, ptr %board seq_cst, align 8
  call void @{name}_resume(ptr %frame, i64 %begin, i64 %end)
  ret void
close:
  store atomic i64 {over}, ptr %state release, align 8
  %taken = atomicrmw xchg ptr %board, ptr null seq_cst
  %inside.at = getelementptr i64, ptr %board, i64 {line}
  br label %wait
wait:
  %idle = phi i64 [ 0, %close ], [ %longer, %pausing ]
  %inside = load atomic i64, ptr %inside.at seq_cst, align 8
  %empty = icmp eq i64 %inside, 0
  %enough = icmp sgt i64 %idle, {closing}
  %on = or i1 %empty, %enough
  br i1 %on, label %done, label %pausing
pausing:
  {pause}
  %longer = add i64 %idle, 1
  br label %wait
done:
  ret void
}}
; helps with whatever frame is on the board, until none has been there for a while
define void @{name}_linger(ptr %board, i64 %patience, i64 %unused) nounwind {{
entry:
  %inside.at = getelementptr i64, ptr %board, i64 {line}
  br label %look
look:
  %idle = phi i64 [ 0, %entry ], [ %longer, %pausing ], [ 0, %helped ]
  %first = load atomic ptr, ptr %board acquire, align 8
  %none = icmp eq ptr %first, null
  br i1 %none, label %pausing, label %enter
enter:
  %already = atomicrmw add ptr %inside.at, i64 1 seq_cst
  %frame = load atomic ptr, ptr %board seq_cst, align 8
  %gone = icmp eq ptr %frame, null
  br i1 %gone, label %leave, label %open
open:
  %p9 = getelementptr i64, ptr %frame, i64 9
  %wanted = load i64, ptr %p9, align 8
  %room = icmp slt i64 %already, %wanted
  br i1 %room, label %help, label %leave
leave:
  %left = atomicrmw sub ptr %inside.at, i64 1 seq_cst
  br label %pausing
help:
  %over = call i1 @{name}_assist(ptr %frame, i64 %patience)
  %through = atomicrmw sub ptr %inside.at, i64 1 seq_cst
  br i1 %over, label %helped, label %done
helped:
  {pause}
  br label %look
pausing:
  {pause}
  %longer = add i64 %idle, 1
  %enough = icmp sgt i64 %longer, %patience
  br i1 %enough, label %done, label %look
done:
  ret void
}}
"""


class Calls(NamedTuple):
    """The functions of a team as Python calls them."""

    lead: Any  # (frame, begin, end): the entries in that range together with helpers; (frame, 0, 0) at the end
    linger: Any  # (board, patience, 0)


def _build(module: engine.ModuleBuilder) -> engine.Entry:
    name, pause = driver.add_functions(module)
    module.add(_SOURCE.format(name=name, pause=pause, over=driver.OVER, line=LINE, closing=CLOSING))
    return engine.Entry(f"{name}_lead", 1, finish=f"{name}_linger")


@functools.cache
def calls() -> Calls:
    """The functions, compiled by the first who asks."""
    kernel = engine.get_kernel(("team",), _build)
    return Calls(engine.SIGNATURE(kernel.address), engine.SIGNATURE(kernel.finish))


class _Lingering(Crew):
    """Threads of the pool that look at the board."""

    def work(self, helper: bool) -> None:
        """Linger."""
        calls().linger(_team.board, LINGER, 0)

    def failed(self, error: BaseException) -> None:
        """Without helpers, all goes on."""


class Team:
    """The board, the one place to lead from, and those who linger."""

    def __init__(self) -> None:
        self._words = np.zeros(4 * LINE, np.int64)
        first = -self._words.ctypes.data % 64 // 8
        self.board: int = self._words[first:].ctypes.data  # the frame that is open; a line further, who is inside
        self._inside = ctypes.c_int64.from_address(self.board + 8 * LINE)
        self._leader: dict[str, int] = {}  # at most one: the thread that leads
        self._crew = _Lingering(1)

    def begin(self, helpers: int) -> bool:
        """Ask for help; False where another thread has it."""
        me = threading.get_ident()
        if self._leader.setdefault("thread", me) != me:  # one step; what an interrupt left behind is one's own
            return False
        crew = self._crew
        if crew.inside + crew.invited < helpers:
            crew.size = max(crew.size, helpers + 1)
            with crew.lock:
                crew.invite(helpers)
        return True

    def end(self) -> None:
        """Wait until all have left the run, which was closed, whatever signals come."""
        interrupt: BaseException | None = None
        while True:
            try:
                while self._inside.value:
                    time.sleep(NAP)
                break
            except BaseException as error:  # helpers still use what the run owns
                interrupt = error
        self._leader.clear()
        if interrupt is not None:
            raise interrupt

    def _forked(self) -> None:
        """In the copy no one helps, and no one is inside."""
        self._words[:] = 0
        self._leader.clear()
        self._crew = _Lingering(1)


_team = Team()


def team() -> Team:
    """The team of this process."""
    return _team


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_team._forked)
