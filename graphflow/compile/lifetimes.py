"""From where to where in a program each value is needed, and by which tasks.

Policy: conservative.  An output that may be a view keeps alive every input that it may be a view of, and so does a
view of that.  A value that a kernel may hold on to after the run, or a view of such a value, is `KEPT`.  The members
of a group that is evaluated in one pass stand for one moment: its inputs are needed until its end, and its outputs
are there from its beginning.

State: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from graphflow.program import Group, Program, Schedule, Storage

NONE = -1  # before the first position
MOST_TASKS = 2000  # whose order is looked at


class Lifetimes(NamedTuple):
    """By number of the value; positions are those of instructions."""

    birth: list[int]  # where it is made, `NONE` if it is not
    death: list[int]  # the last place where it or a view of it is needed; see `end_of_run` and `kept`
    viewed: list[int]  # the last place where a view of it is needed, other than itself; `NONE` if there is no view
    begins: Sequence[int]  # of each position: where what is evaluated with it begins,
    ends: Sequence[int]  # and its last position
    end_of_run: int  # `death` of what is needed until the results are handed over
    kept: int  # `death` of what may be needed after that


def lifetimes(program: Program, kinds: Sequence[Storage], whole: Iterable[Group]) -> Lifetimes:
    """When each value is needed, given the storage of each instruction and the groups that are evaluated as a whole."""
    count, total = len(program.instructions), len(program.values)
    begins, ends = _moments(count, whole)
    kept = count + 1
    birth, death, viewed = [NONE] * total, [NONE] * total, [NONE] * total
    for v in program.fetches:
        death[v] = count
    for position in range(count - 1, -1, -1):
        ins, kind, last = program.instructions[position], kinds[position], ends[position]
        far = last
        for v in ins.outputs:
            if v >= 0:
                birth[v] = begins[position]
                if death[v] < last:
                    death[v] = last
                elif kind.views and death[v] > far:
                    far = death[v]
        if kind.keeps:
            far = kept
        for v in ins.inputs:
            if death[v] < far:
                death[v] = far
            if kind.views and viewed[v] < far:
                viewed[v] = far
    return Lifetimes(birth, death, viewed, begins, ends, count, kept)


def _moments(count: int, whole: Iterable[Group]) -> tuple[Sequence[int], Sequence[int]]:
    """Where what each position is evaluated with begins and ends."""
    found = list(whole)
    if not found:
        return range(count), range(count)
    begins, ends = list(range(count)), list(range(count))
    for group in found:
        size = group.end - group.begin
        begins[group.begin : group.end] = [group.begin] * size
        ends[group.begin : group.end] = [group.end - 1] * size
    return begins, ends


class Overlap:
    """What is surely over when a task begins, where several workers run them."""

    def __init__(self, program: Program, schedule: Schedule, kinds: Sequence[Storage]) -> None:
        self.task_of = _task_numbers(schedule, len(program.instructions))
        self.exact = len(schedule.tasks) <= MOST_TASKS  # else nothing of another task is ever taken to be over
        self.before = _finished_before(schedule) if self.exact else []  # of each task, as the bits of a number
        self.users = _users(program, kinds, self.task_of) if self.exact else []  # of each value, in the same way

    def is_over(self, v: int, born: int, position: int) -> bool:
        """Whether a value is not used in tasks that may run beside the one of `position`, or after it."""
        task = self.task_of[position]
        if self.exact:
            return not self.users[v] & ~(self.before[task] | 1 << task)
        return self.task_of[born] == task


def overlap(program: Program, kinds: Sequence[Storage]) -> Overlap | None:
    """How the tasks of a program overlap; None if the instructions are run in their order."""
    schedule = program.schedule
    return None if schedule is None or schedule.workers < 2 else Overlap(program, schedule, kinds)


def _task_numbers(schedule: Schedule, count: int) -> list[int]:
    """The task of each instruction."""
    out = [0] * count
    for number, task in enumerate(schedule.tasks):
        out[task.begin : task.end] = [number] * (task.end - task.begin)
    return out


def _finished_before(schedule: Schedule) -> list[int]:
    """Of each task the set of those that are surely over when it begins, as the bits of a number."""
    out: list[int] = []
    for number, task in enumerate(schedule.tasks):
        mine = 0
        for other in task.before:
            if other < number:
                mine |= out[other] | 1 << other
        out.append(mine)
    return out


def _users(program: Program, kinds: Sequence[Storage], task_of: Sequence[int]) -> list[int]:
    """Of each value the set of tasks that make it, read it, or read a view of it, as the bits of a number."""
    out = [0] * len(program.values)
    for position in range(len(program.instructions) - 1, -1, -1):
        ins = program.instructions[position]
        bits = 1 << task_of[position]
        far = bits
        for v in ins.outputs:
            if v >= 0:
                out[v] |= bits
                if kinds[position].views:
                    far |= out[v]
        for v in ins.inputs:
            out[v] |= far
    return out
