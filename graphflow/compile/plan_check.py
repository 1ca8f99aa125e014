"""A second opinion on a memory plan: every pair of results that share bytes is looked at, one after the other.

Policy: written from the definition and without the planner's own notions of time, so that the two can disagree; for
tests and for debugging, as pairs may be many.  What is wrong is an `InternalError` that names both ops.

State: none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from graphflow.compile.arena import ALIGNMENT
from graphflow.compile.memory import IsWhole, StorageOf, as_a_whole, size_of
from graphflow.errors import InternalError
from graphflow.program import Group, Memory, Program, Storage


def check_plan(program: Program, storage: StorageOf, is_whole: IsWhole = as_a_whole) -> None:
    """Raise an `InternalError` if a value could be overwritten while it is needed."""
    memory = program.memory
    if memory is None or not memory.offsets:
        return
    kinds = [storage(ins) for ins in program.instructions]
    whole = [group for group in program.groups if is_whole(group)]
    _check_values(program, memory, kinds, whole)
    users, viewed = _users(program, memory, kinds)
    order = _Order(program, whole)
    for a, b in _pairs(program, memory):
        first, second = (a, b) if users[a][0] <= users[b][0] else (b, a)
        maker = users[second][0]
        if all(order.is_before(p, maker) for p in users[first]):
            continue
        free = all(order.is_before(p, maker) for p in users[first] if p not in order.together(maker))
        if not free or not _takes_over(program, memory, kinds[maker], order, first, second, maker, viewed[first]):
            names = [program.instructions[users[v][0]].op.name for v in (first, second)]
            raise InternalError(
                f"the memory of {names[0]!r} is given to {names[1]!r} while it is needed",
                got=f"v{first} at {memory.offsets[first]}, v{second} at {memory.offsets[second]}",
            )


def _check_values(program: Program, memory: Memory, kinds: Sequence[Storage], whole: Sequence[Group]) -> None:
    """What is planned may be planned, and lies within the arena."""
    planned = memory.offsets
    made: set[int] = set()
    for ins, kind in zip(program.instructions, kinds, strict=True):
        found = [v for v in ins.outputs if v in planned]
        made.update(found)
        if found and (not kind.buffer or kind.views or len(found) < len(ins.outputs)):
            raise InternalError("a result is planned that its kernel does not write into given memory", op=ins.op)
    barred = {*program.feeds, *program.fetches, *program.constants}
    for group in whole:
        inside = {v for ins in program.instructions[group.begin : group.end] for v in ins.outputs}
        barred |= inside.difference(group.outputs)
    wrong = barred.intersection(planned) or set(planned).difference(made)
    if wrong:
        raise InternalError("values are planned that must not be", got=str(sorted(wrong)))
    for v, offset in planned.items():
        size = size_of(program.values[v])
        if not size or offset < 0 or offset % ALIGNMENT or offset + size > memory.size:
            raise InternalError(f"v{v} is no aligned place in the arena", got=f"{size} bytes at {offset}")


def _users(
    program: Program, memory: Memory, kinds: Sequence[Storage]
) -> tuple[dict[int, list[int]], dict[int, set[int]]]:
    """Of planned values the positions where they are made, and where they or views of them are read; the views apart.

    What is handed to the caller is read at the end, one behind the last position.
    """
    bases: dict[int, set[int]] = {}  # value -> planned values whose memory it may be
    users: dict[int, list[int]] = {}
    viewed: dict[int, set[int]] = {}
    for position, (ins, kind) in enumerate(zip(program.instructions, kinds, strict=True)):
        read: set[int] = set()
        for v in ins.inputs:
            read |= bases.get(v, set())
            for base in bases.get(v, set()) - {v}:
                viewed[base].add(position)
        for base in read:
            users[base].append(position)
        if kind.keeps and read:
            raise InternalError("what is in the arena may be held after the run", op=ins.op, got=str(sorted(read)))
        for v in ins.outputs:
            if v in memory.offsets:
                bases[v], users[v], viewed[v] = {v}, [position], set()
            elif kind.views and v >= 0:
                bases[v] = read
    for v in program.fetches:
        for base in bases.get(v, ()):
            users[base].append(len(program.instructions))
    return users, viewed


def _pairs(program: Program, memory: Memory) -> Iterator[tuple[int, int]]:
    """Pairs of values that share a byte."""
    spans = sorted((offset, offset + size_of(program.values[v]), v) for v, offset in memory.offsets.items())
    for number, (_, end, v) in enumerate(spans):
        for other_begin, _, other in spans[number + 1 :]:
            if other_begin >= end:
                break
            yield v, other


class _Order:
    """What is surely done before what, whichever way the tasks are run."""

    def __init__(self, program: Program, whole: Sequence[Group]) -> None:
        self.end = len(program.instructions)
        self.group_of = {position: group for group in whole for position in range(group.begin, group.end)}
        schedule = program.schedule
        tasks = schedule.tasks if schedule is not None and schedule.workers > 1 else ()
        self._task_of = {p: number for number, task in enumerate(tasks) for p in range(task.begin, task.end)}
        self._before = [_all_before([task.before for task in tasks], number) for number in range(len(tasks))]

    def is_before(self, p: int, q: int) -> bool:
        """Whether the instruction at `p` is over when that at `q` begins."""
        if p == self.end or p in self.together(q):
            return False
        if self._task_of and self._task_of[p] != self._task_of[q]:
            return self._task_of[p] in self._before[self._task_of[q]]
        return p < q

    def together(self, p: int) -> Collection[int]:
        """The positions that are evaluated in one pass with `p`."""
        group = self.group_of.get(p)
        return (p,) if group is None else range(group.begin, group.end)


def _all_before(before: Sequence[Sequence[int]], number: int) -> set[int]:
    found: set[int] = set()
    todo = list(before[number])
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo += before[other]
    return found


def _takes_over(
    program: Program,
    memory: Memory,
    kind: Storage,
    order: _Order,
    old: int,
    new: int,
    maker: int,
    viewed: set[int],
) -> bool:
    """Whether the maker of `new` may write over its own input `old`, which is needed by nothing outside its moment."""
    ins, values = program.instructions[maker], program.values
    group, together = order.group_of.get(maker), order.together(maker)
    readers = [p for p in together if old in program.instructions[p].inputs]
    return (
        ins.outputs[0] == new
        and maker in readers
        and maker == max(readers)
        and not any(old in program.instructions[p].outputs for p in together)
        and all(i in kind.inplace for i, v in enumerate(ins.inputs) if v == old)
        and memory.offsets[old] == memory.offsets[new]
        and values[old][:2] == values[new][:2]
        and viewed.isdisjoint(together)
        and (group is None or values[old].dims == group.dims)
    )
