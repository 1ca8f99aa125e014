"""When native code is made: in a thread beside the runs, so that the first result never waits for it.

Policy: `GRAPHFLOW_FAST` says what is wanted: `0` never, `1` in the background (so it is by default where llvmlite is
installed), `wait` at once, for tests and benchmarks.  One thread takes the programs in their order; a program whose
executable is gone, or whose session is closed, is passed over; one that cannot be compiled stays with NumPy, and the
reason is kept.  The thread is waited for when the interpreter ends, for the length of one compilation, and a fork
waits for it likewise.

State: the thread, its queue, and the last failure.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from graphflow.backend import Context
from graphflow.program import Program
from graphflow_numpy.native import engine

if TYPE_CHECKING:
    from graphflow_numpy.native.segment import Segment, Share

VARIABLE = "GRAPHFLOW_FAST"
LIMIT = 5000  # instructions: larger programs run too seldom to be worth the planning
PATIENCE = 10.0  # seconds that the end of the interpreter waits at most

_log = logging.getLogger("graphflow.fast")
_jobs: queue.SimpleQueue[_Job | threading.Event | None] = queue.SimpleQueue()
_thread: threading.Thread | None = None
_start = threading.Lock()
_ending = False
failures: list[str] = []

Install = Callable[[Any, "list[Segment]"], None]


class _Job(NamedTuple):
    program: Program
    context: Context
    owner: weakref.ref[Any]
    install: Install
    share: Share | None
    workers: int


def wanted() -> str:
    """One of "0", "1", "wait"."""
    found = os.environ.get(VARIABLE, "1")
    return found if found != "0" and engine.available() else "0"


def state() -> str:
    """Why a program of level 2 runs without native code."""
    if os.environ.get(VARIABLE, "1") == "0":
        return f"native code: switched off by {VARIABLE}=0"
    if not engine.available():
        return "native code: needs llvmlite"
    return "native code: not yet, or there is nothing in the program that it would make faster"


def prepare(
    program: Program, context: Context, owner: Any, install: Install, share: Share | None = None, workers: int = 1
) -> None:
    """See to it that `install(owner, segments)` is called: now, later in another thread, or never."""
    mode = wanted()
    if mode == "0" or len(program.instructions) > LIMIT:
        return
    job = _Job(program, context, weakref.ref(owner), install, share, workers)
    if mode == "wait":
        _do(job)
        return
    _jobs.put(job)
    _ensure_thread()


def _do(job: _Job) -> None:
    owner = job.owner()
    if owner is None or job.context.is_closed():
        return
    planning = importlib.import_module("graphflow_numpy.native.segments")  # some 20 ms that few programs need
    found = planning.plan(job.program, job.context, job.share, job.workers)
    if found:
        job.install(owner, found)


def without_arena(program: Program, found: Sequence[Segment]) -> Program:
    """The program with no place in its arena for what segments hand out, which is memory of their own."""
    memory = program.memory
    if memory is None:
        return program
    own = {v for s in found for ins in s.plan.instructions for v in ins.outputs}
    offsets = {v: at for v, at in memory.offsets.items() if v not in own}
    return replace(program, memory=memory._replace(offsets=offsets))


def _ensure_thread() -> None:
    global _thread
    with _start:
        if _thread is None and not _ending:
            _thread = threading.Thread(target=_work, name="graphflow-fast", daemon=True)
            _thread.start()


def _work() -> None:
    while not _ending:
        job = _jobs.get()
        if job is None:
            return
        if isinstance(job, threading.Event):
            job.set()
            continue
        try:
            _do(job)
        except Exception as error:  # a fault of ours: the program runs on NumPy as before
            failures.append(f"{type(error).__name__}: {error}")
            del failures[:-10]
            _log.warning("native code could not be made, NumPy goes on: %s", failures[-1])
        del job


def wait() -> None:
    """Wait until everything asked for so far is done; for tests."""
    done = threading.Event()
    if _thread is not None:
        _jobs.put(done)
        done.wait()


def _end() -> None:
    global _ending
    _ending = True
    _jobs.put(None)
    if _thread is not None:
        _thread.join(PATIENCE)


def _after_fork() -> None:
    global _thread, _jobs, _start
    _thread, _jobs, _start = None, queue.SimpleQueue(), threading.Lock()
    engine._lock.release()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=engine._lock.acquire, after_in_parent=engine._lock.release, after_in_child=_after_fork)
