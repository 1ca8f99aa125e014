"""A program whose tasks run side by side, on the caller's thread and on idle ones of the pool.

Policy: tasks share the slots of one run; what one makes, another reads only after it is finished, and the memory plan
knew which tasks overlap.  A task that fails lets go of the
locks that it holds, in its own thread; which error the caller sees is the driver's promise (`runtime.drivers`).
Tasks that call functions of the user's stay in the caller's thread.

State: none after construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphflow.backend import Run
from graphflow.program import Instruction, Schedule
from graphflow.runtime import drivers, states
from graphflow_numpy.binding import Bound, Step, let_go, row_of
from graphflow_numpy.sharing import THREADS
from graphflow_numpy.steploop import StepLoop

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
        if run is not None:
            slots[first:-1] = [Run(run.index, run.seed, run.path) for _ in self._steps]

        def run_task(number: int) -> None:
            THREADS.set(threads)
            try:
                self._loop.execute(slots, self._steps[number])
            except BaseException:
                own = slots[first + number]
                if own is not None:
                    let_go(own.held)
                raise
            for v in self._shared[number]:
                if v in left:
                    left[v] -= 1  # two threads at once may count one for two: then it is dropped with the run
                    if not left[v]:
                        slots[v] = None

        drivers.run_tasks(self._graph, run_task, self._workers, self._mine, self._cancelled)

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
