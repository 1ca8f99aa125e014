"""Threads that help: one pool for the process, and the crews that work on one thing together.

Policy.  Who calls always works; the pool's threads *help*, and no one ever waits for help to come.  So there can be
more runs than threads, runs inside runs and threads that are stuck in a kernel, and all goes on, if slower.

A crew is the caller and those who came.  To ask for help it puts itself into one queue; a thread that takes it out
enters the crew, unless that is closed by then, and leaves when it finds nothing to do.  A crew is closed before its
caller goes on, and the caller waits until all have left: nothing of a run is touched after it.  The queue is C code
whose `put` is one step, so a KeyboardInterrupt, which can come between any two steps of the main thread, loses no
thread; and every wait of a caller is cut into pieces, between which signals are seen wherever they were delivered.

Threads are started when they are first asked for, are daemons, and are joined at exit within a deadline.  A process
that was forked begins with an empty pool; a run that was under way when it was forked cannot be finished there, and
says so.  Kernels run with NumPy's floating-point warnings off, in the pool's threads for good.

State: the pool, how often this process was forked from another, and whether a thread asked to be left alone.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from graphflow.errors import InternalError

PATIENCE = 0.05  # seconds between two looks at whether a signal has come
EXIT_DEADLINE = 1.0  # seconds that threads get at interpreter exit
MAX_THREADS = 256


class _Pool:
    """Threads that serve one queue of crews."""

    def __init__(self) -> None:
        self.tickets: SimpleQueue[Crew | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()
        self.open = True

    def invite(self, crew: Crew, helpers: int) -> bool:
        """Ask one thread to help, having at least `helpers` of them; False if all are busy and many are asked for."""
        threads = self.threads
        if len(threads) < helpers:
            self._grow(min(helpers, MAX_THREADS))
        if not self.open or (self.tickets.qsize() >= len(threads) and self._purged() >= len(threads)):
            return False
        self.tickets.put(crew)
        return True

    def _purged(self) -> int:
        """How many tickets there are without those of crews that are closed: runs may be faster than a wake-up."""
        for _ in range(self.tickets.qsize()):
            try:
                crew = self.tickets.get_nowait()
            except Empty:
                break
            if crew is None or not crew.closed:
                self.tickets.put(crew)
        return self.tickets.qsize()

    def _grow(self, count: int) -> None:
        with self.lock:
            while self.open and len(self.threads) < count:
                name = f"graphflow-worker-{len(self.threads) + 1}"
                thread = threading.Thread(target=_serve, args=(self.tickets,), name=name, daemon=True)
                try:
                    self.threads.append(thread)
                    thread.start()
                except BaseException as error:  # interrupted in the middle, it may have been started all the same
                    until = time.monotonic() + PATIENCE
                    while thread.ident is None and not isinstance(error, RuntimeError) and time.monotonic() < until:
                        time.sleep(1e-4)
                    if thread.ident is None:
                        self.threads.remove(thread)
                    if isinstance(error, RuntimeError):  # no more threads, or the interpreter is about to exit
                        return
                    raise

    def stop(self, deadline: float) -> None:
        """No more help: the threads end when they are idle."""
        with self.lock:
            self.open = False
        for _ in self.threads:
            self.tickets.put(None)
        end = time.monotonic() + deadline
        for thread in self.threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))


class _Alone(threading.local):
    """Whether this thread wants no help."""

    depth = 0


_pool = _Pool()
_forks = 0
_alone = _Alone()


def _serve(tickets: SimpleQueue[Crew | None]) -> None:
    """The life of a thread of the pool."""
    np.seterr(all="ignore")
    while True:
        crew = tickets.get()
        if crew is None:
            return
        crew.help()
        crew = None  # an idle thread keeps no run alive


class Crew:
    """The caller, and the threads that help it with one thing; `work` is what all of them do."""

    __slots__ = ("__weakref__", "closed", "door", "forks", "inside", "invited", "lock", "size", "waiting")

    def __init__(self, size: int) -> None:
        self.size = 1 if _alone.depth else size
        self.lock = _thread.allocate_lock()
        self.door = _thread.allocate_lock()  # where the caller sleeps; locked but for a wake-up that is on its way
        self.door.acquire()
        self.closed = False
        self.waiting = False  # the caller sleeps, or is about to
        self.inside = 0  # helpers
        self.invited = 0  # helpers that may come yet
        self.forks = _forks

    def work(self, helper: bool) -> None:
        """Work until there is nothing to do for this thread; errors are kept, not raised, by a helper."""
        raise NotImplementedError

    def failed(self, error: BaseException) -> None:
        """Keep an error of the bookkeeping itself."""
        raise NotImplementedError

    def help(self) -> None:
        """What a thread of the pool does with a ticket."""
        with self.lock:
            self.invited -= 1
            if self.closed:
                return
            self.inside += 1
        try:
            self.work(helper=True)
        except BaseException as error:
            self.closed = True
            self.failed(error)
        finally:
            with self.lock:
                self.inside -= 1
                if not self.inside:
                    self.wake()

    def invite(self, count: int) -> int:
        """Ask for so many helpers, as far as there is room; how many may come.  The lock is held."""
        count = min(count, self.size - 1 - self.inside - self.invited)
        for asked in range(count):
            if not _pool.invite(self, self.size - 1):
                return asked
            self.invited += 1
        return max(count, 0)

    def wake(self) -> None:
        """Wake the caller if it sleeps.  The lock is held."""
        if self.waiting:
            self.waiting = False
            if self.door.locked():
                self.door.release()

    def sleep(self) -> None:
        """Wait for `wake`, or a while; who calls looks at the state again."""
        self.door.acquire(True, PATIENCE)

    def check_process(self) -> None:
        """Raise if this is a forked copy of the process that began the work: the helpers are not here."""
        if self.forks != _forks:
            raise InternalError(
                "the process was forked inside a run, which cannot go on in the copy",
                hint="fork outside of run, or leave the copy with os._exit",
            )

    def close(self) -> BaseException | None:
        """Let no one in, and wait until all have left, whatever signals come; the last of these."""
        interrupt: BaseException | None = None
        while True:
            try:
                self.closed = True
                while self.forks == _forks:
                    with self.lock:
                        if not self.inside:
                            return interrupt
                        self.waiting = True
                    self.sleep()
                return interrupt
            except BaseException as error:  # a second Ctrl-C: helpers still use what the run owns
                interrupt = error


class _Share(Crew):
    """Numbers to be worked through by whoever is free."""

    __slots__ = ("count", "errors", "function", "next")

    def __init__(self, count: int, function: Callable[[int], Any], size: int) -> None:
        super().__init__(min(size, count))
        self.count = count
        self.function = function
        self.next = 0
        self.errors: dict[int, BaseException] = {}

    def work(self, helper: bool) -> None:
        function, count, lock = self.function, self.count, self.lock
        while not self.closed:
            with lock:
                number = self.next
                self.next = number + 1
            if number >= count:
                return
            try:
                function(number)
            except BaseException as error:
                self.errors[number] = error
                self.closed = True

    def failed(self, error: BaseException) -> None:
        self.errors[-1] = error


def share(count: int, function: Callable[[int], Any], workers: int) -> None:
    """Call function(0) ... function(count - 1), on this thread and on up to `workers` - 1 idle ones.

    Numbers are begun in their order.  After an error no further one is begun; of several errors the one of the lowest
    number is raised, which is the one that a plain loop would have met.
    """
    if workers < 2 or count < 2 or _alone.depth:
        for number in range(count):
            function(number)
        return
    crew = _Share(count, function, workers)
    interrupt: BaseException | None = None
    try:
        with crew.lock:
            crew.invite(crew.size - 1)
        crew.work(helper=False)
    except BaseException as error:
        interrupt = error
    interrupt = crew.close() or interrupt
    crew.check_process()
    raise_first(crew.errors, interrupt)


def raise_first(errors: dict[int, BaseException], interrupt: BaseException | None) -> None:
    """Raise what interrupted the caller, or else the error of the lowest number; keep none of them."""
    if interrupt is None and errors:
        signals = [n for n, e in errors.items() if not isinstance(e, Exception)]
        interrupt = errors[min(signals or errors)]
    errors.clear()
    if interrupt is not None:
        try:
            raise interrupt
        finally:
            del interrupt  # no cycle through the traceback


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, this thread asks for no help: what it runs may hold locks that only this thread may pass."""
    _alone.depth += 1
    try:
        yield
    finally:
        _alone.depth -= 1


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def stop(deadline: float = EXIT_DEADLINE) -> None:
    """End the pool's threads; the next run that wants help starts new ones."""
    global _pool
    old, _pool = _pool, _Pool()
    old.stop(deadline)


def _at_exit() -> None:
    _pool.stop(EXIT_DEADLINE)


def _after_fork() -> None:
    global _pool, _forks
    _forks += 1
    _pool = _Pool()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
