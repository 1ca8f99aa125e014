"""A program whose tasks run side by side, on the caller's thread and on idle ones of the pool.

Policy: tasks share the slots of one run; what one makes, another reads only after it is finished, and the memory plan
knew which tasks overlap.  A task that fails lets go of the locks that it holds, in its own thread; of several errors
the caller sees that of `first_failure`.  Tasks that call functions of the user's stay in the caller's thread.

State: none after construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphflow.backend import Run
from graphflow.program import Instruction, Schedule
from graphflow.runtime import drivers, states
from graphflow_numpy.binding import Bound, MemberFailed, row_of
from graphflow_numpy.first_failure import Failure, first_failure
from graphflow_numpy.regions import let_go
from graphflow_numpy.sharing import THREADS
from graphflow_numpy.steploop import StepLoop
from graphflow_numpy.steps import Step

Cancelled = Callable[[], bool]


class Parallel:
    """The tasks of one program."""

    source: str | None = None

    def __init__(self, bound: Bound, schedule: Schedule, workers: int, threads: int, cancelled: Cancelled) -> None:
        self._schedule = schedule
        self._workers = workers
        self._threads = threads
        self._cancelled = cancelled
        self._graph = states.task_graph(schedule.tasks)
        self._first_run = bound.slots + 1  # slots of the tasks' own Runs
        self._loop = _WithRuns(bound, schedule, self._first_run)
        self._steps = [self._loop.steps_of(task.begin, task.end) for task in schedule.tasks]
        readers = _readers_of_shared(bound.program.instructions, schedule)
        self._shared: list[list[int]] = [[] for _ in schedule.tasks]  # what each task reads and others read, too
        for v, tasks in readers.items():
            for number in tasks:
                self._shared[number].append(v)
        kept = {*bound.fixed, *bound.feeds, *[slot for slot, _ in bound.fetches]}
        self._counts = {v: len(tasks) for v, tasks in readers.items() if v not in kept}
        self._mine = frozenset(
            number
            for number, task in enumerate(schedule.tasks)
            if any(row_of(ins).user for ins in bound.program.instructions[task.begin : task.end])
        )

    def frame(self, buffers: Mapping[int, Any]) -> tuple[Callable[..., list[Any]], Callable[..., list[Any]]]:
        """The function over one set of buffers, twice: no program that runs inside another one has tasks."""
        template = [*self._loop.template(buffers), *[None] * len(self._steps), None]  # the last takes what nobody reads

        def outer(run: Run | None, *feeds: Any) -> list[Any]:
            slots = self._loop.filled(template, run, feeds)
            self._run(slots, run)
            return self._loop.results(slots)

        return outer, outer

    def _run(self, slots: list[Any], run: Run | None) -> None:
        first, threads, left = self._first_run, self._threads, self._counts.copy()
        done: list[int] = []
        failures: list[Failure] = []
        if run is not None:
            slots[first:-1] = [Run(run.index, run.seed, run.path) for _ in self._steps]

        def run_task(number: int) -> None:
            THREADS.set(threads)
            try:
                self._loop.execute(slots, self._steps[number])
            except BaseException as error:
                own = slots[first + number]
                if own is not None:
                    let_go(own.held)
                if isinstance(error, Exception):
                    failures.append(Failure(error, self._done_by(number, error)))
                raise
            for v in self._shared[number]:
                if v in left:
                    left[v] -= 1  # two threads at once may count one for two: then it is dropped with the run
                    if not left[v]:
                        slots[v] = None
            done.append(number)

        try:
            drivers.run_tasks(self._graph, run_task, self._workers, self._mine, self._cancelled)
            return
        except Exception as error:
            first_error = self._first_failure(slots, done, failures) if failures else error
        try:
            raise first_error
        finally:
            failures.clear()  # no cycle through the traceback
            del first_error

    def _done_by(self, number: int, error: Exception) -> range:
        """The steps of a task that were done before its error."""
        begin = self._loop.first_step[self._schedule.tasks[number].begin]
        return range(begin, begin + self._loop.done(error, self._steps[number]))

    def _first_failure(self, slots: list[Any], done: Sequence[int], failures: Sequence[Failure]) -> Exception:
        """The error to raise, after what else has to be run; all tasks have come to rest."""
        loop, tasks = self._loop, self._schedule.tasks
        own = [run for run in slots[self._first_run : -1] if run is not None]

        def run_steps(begin: int, end: int) -> None:
            loop.execute(slots, loop.keeping(begin, end))

        def let_all_go() -> None:
            for run in own:
                let_go(run.held)

        THREADS.set(self._threads)
        over = [range(loop.first_step[tasks[n].begin], loop.first_step[tasks[n].end]) for n in done]
        return first_failure(loop.bound, over, failures, self._instruction_of, run_steps, let_all_go, self._cancelled)

    def _instruction_of(self, error: BaseException) -> Instruction | None:
        return error.instruction if isinstance(error, MemberFailed) else self._loop.where(error)[0]

    def listing(self) -> str:
        """The steps in program order; `explain` shows the tasks."""
        return self._loop.listing()

    def where(self, error: BaseException) -> tuple[Instruction | None, list[Any]]:
        """The instruction that failed, if it was one, and its inputs."""
        return self._loop.where(error)


class _WithRuns(StepLoop):
    """The steps, those of each task with a Run of its own."""

    def __init__(self, bound: Bound, schedule: Schedule, first_run: int) -> None:
        steps = list(bound.steps)
        shared = _readers_of_shared(bound.program.instructions, schedule).keys()
        for number, task in enumerate(schedule.tasks):
            for i in range(bound.first_step[task.begin], bound.first_step[task.end]):
                steps[i] = _with_run(steps[i], bound.run_slot, first_run + number)
                if not shared.isdisjoint(steps[i].drops):
                    steps[i] = steps[i]._replace(drops=tuple(v for v in steps[i].drops if v not in shared))
        super().__init__(bound, steps)
        self.bound, self.first_step = bound, bound.first_step

    def keeping(self, begin: int, end: int) -> list[Any]:
        """steps[begin:end], dropping nothing."""
        return [(*step[:-2], (), step[-1]) for step in self._steps[begin:end]]


def _readers_of_shared(instructions: Sequence[Instruction], schedule: Schedule) -> dict[int, set[int]]:
    """Values that several tasks read, and which: the last of them in program order may not be the last in time."""
    readers: dict[int, set[int]] = {}
    for number, task in enumerate(schedule.tasks):
        for ins in instructions[task.begin : task.end]:
            for v in ins.inputs:
                readers.setdefault(v, set()).add(number)
    return {v: tasks for v, tasks in readers.items() if len(tasks) > 1}


def _with_run(step: Step, shared: int, own: int) -> Step:
    if shared not in step.inputs:
        return step
    return step._replace(inputs=tuple(own if slot == shared else slot for slot in step.inputs))
