"""Drivers: three ways of taking the tasks of a schedule through their states.

Policy.  A driver calls `run_task(number)` once for every task, none before all that it waits for; that is all it knows.

    run_in_order   one after the other in program order, in the caller's thread
    run_chosen     one after the other in an order that `choose` picks, invariants checked at each step: for tests
    run_tasks      on the caller's thread and the pool's, the most urgent ready task first

What happens when a task fails is the same in all three: every task that stands *before* it in program order still
runs, as it would have in order; none that stands behind it is begun any more, those that run are waited for.  Of
several failed tasks, the error of the first in program order is raised.  So the error is the one that `run_in_order`
meets, whatever the schedule.  (A task behind the failed one may have run, and may have written its variables.)

An interrupt (KeyboardInterrupt, or anything else in the caller that is no `Exception`), or `cancelled()` becoming
true, begins nothing any more: what runs is waited for, then the interrupt, or `CancelledError`, is raised.  An error
comes before a cancellation, an interrupt before both.  A run whose last task is done is not cancelled.

Tasks in `mine` run in the caller's thread: those which call functions of the user's, who may look at what belongs to
the thread (the default session, a lock it holds) or block for ever (there Ctrl-C still reaches them).

State: none in the module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from graphflow.errors import CancelledError, InternalError
from graphflow.runtime import states, workers
from graphflow.runtime.states import Choose, State, TaskGraph

RunTask = Callable[[int], object]
Cancelled = Callable[[], bool]
NOTHING = -1


def run_in_order(count: int, run_task: RunTask, cancelled: Cancelled | None = None) -> None:
    """Run tasks 0 ... count - 1."""
    for number in range(count):
        if cancelled is not None and cancelled():
            raise _cancelled()
        run_task(number)


def run_chosen(graph: TaskGraph, run_task: RunTask, choose: Choose, cancelled: Cancelled | None = None) -> None:
    """Run the tasks in the order that `choose(ready)` picks, in this thread, and check the state at each step."""
    state = states.start_state(graph)
    errors: dict[int, BaseException] = {}
    while True:
        states.check_invariants(state)
        startable = [n for n in state.ready if not errors or n < min(errors)]
        if not startable or (cancelled is not None and cancelled()):
            break
        chosen = choose(startable)
        task = states.take(state, lambda ready: chosen)  # noqa: B023 - called at once
        states.check_invariants(state)
        try:
            run_task(task)
        except Exception as error:
            errors[task] = error
            states.fail(state, task)
        else:
            states.finish(state, task)
    workers.raise_first(errors, None)
    if not states.is_over(state):
        raise _cancelled()


def run_tasks(
    graph: TaskGraph,
    run_task: RunTask,
    count: int,
    mine: Collection[int] = (),
    cancelled: Cancelled | None = None,
) -> None:
    """Run the tasks on at most `count` threads: this one, and idle ones of the pool."""
    run = _Run(graph, run_task, count, mine, cancelled)
    interrupt: BaseException | None = None
    try:
        run.lead()
    except BaseException as error:
        interrupt = error
    interrupt = run.close() or interrupt
    run.check_process()
    workers.raise_first(run.errors, interrupt or run.interrupt)
    if not states.is_over(run.state):
        raise (
            _cancelled() if run.cancelled_now else InternalError("a run ended before its tasks did", got=str(run.state))
        )


def _cancelled() -> CancelledError:
    return CancelledError("the run was cancelled", hint="its session was closed while it ran")


class _Run(workers.Crew):
    """The state machine of one run, shared between the threads that work on it."""

    __slots__ = (
        "cancelled", "cancelled_now", "errors", "first_failed", "interrupt", "mine", "over", "run_task", "state",
    )  # fmt: skip

    def __init__(
        self, graph: TaskGraph, run_task: RunTask, count: int, mine: Collection[int], cancelled: Cancelled | None
    ) -> None:
        super().__init__(min(count, len(graph.counts)))
        self.state: State = states.start_state(graph)
        self.run_task = run_task
        self.mine = mine
        self.cancelled = cancelled
        self.cancelled_now = False
        self.errors: dict[int, BaseException] = {}
        self.first_failed = len(graph.counts)
        self.interrupt: BaseException | None = None  # what stopped the caller inside a task
        self.over = False  # for the caller: nothing is left to do or to wait for

    def lead(self) -> None:
        """What the caller does: work, and sleep while others have work and there is none for it."""
        self.work(helper=False)
        while not self.over:
            self.sleep()
            self.work(helper=False)

    def work(self, helper: bool) -> None:
        """Take tasks and run them, until there is none for this thread."""
        run_task, lock = self.run_task, self.lock
        done = NOTHING
        error: BaseException | None = None
        while True:
            with lock:
                task = self._exchange(done, error, helper)
            done, error = task, None  # an error kept here would keep this frame alive
            if task == NOTHING:
                return
            try:
                run_task(task)
            except BaseException as caught:
                error = caught
            if not helper:
                self.check_process()

    def failed(self, error: BaseException) -> None:
        """An error of the bookkeeping, after those of all tasks."""
        self.errors.setdefault(len(self.state.graph.counts), error)

    def _exchange(self, done: int, error: BaseException | None, helper: bool) -> int:
        """Hand a task in, get another one, and see to it that others get the rest.  The lock is held."""
        state = self.state
        if not helper:
            self.waiting = False
        if error is not None:
            self._hand_in_failed(done, error, helper)
        elif done != NOTHING:
            states.finish(state, done)
        if self.cancelled is not None and state.ready and not self.closed and self.cancelled():
            self.cancelled_now = self.closed = True
        task = NOTHING if self.closed or not state.ready else self._pick(helper)
        if state.ready and not self.closed:
            self._call_others()
        if task == NOTHING and not helper:
            self.over = self.closed or not state.running
            self.waiting = not self.over
        return task

    def _hand_in_failed(self, task: int, error: BaseException, helper: bool) -> None:
        states.fail(self.state, task)
        if helper or isinstance(error, Exception):
            self.errors[task] = error
            self.first_failed = min(self.first_failed, task)
        else:
            self.interrupt = error
            self.closed = True

    def _pick(self, helper: bool) -> int:
        """The most urgent task that this thread may begin; the caller begins with what only it may run."""
        state = self.state
        if not (self.mine or self.errors):
            return states.take(state)
        able = self._startable(helper)
        if not helper:
            able = [n for n in able if n in self.mine] or able
        return states.take(state, lambda ready: able[-1]) if able else NOTHING

    def _startable(self, helper: bool) -> list[int]:
        first, mine = self.first_failed, self.mine
        return [n for n in self.state.ready if n < first and not (helper and n in mine)]

    def _call_others(self) -> None:
        """Wake the caller, and ask for help, if there is more than this thread has taken."""
        simple = not (self.mine or self.errors)
        if self.waiting and (simple or self._startable(helper=False)):
            self.wake()
            for_helpers = len(self.state.ready) - 1 if simple else len(self._startable(helper=True))
        else:
            for_helpers = len(self.state.ready) if simple else len(self._startable(helper=True))
        if for_helpers:
            self.invite(for_helpers)
