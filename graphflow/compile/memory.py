"""The memory plan: which results share one arena, and where in it each of them is.

Policy: no two results that are needed at one time share a byte, in any order that the schedule allows; the one
exception is a result that takes over the very bytes of an input that is needed no longer, where the kernel says that
it can.  Planned are arrays of known size that a kernel can write into given memory.  Not planned are feeds, constants,
and what is fetched, for it belongs to the caller (of a fetched *view* of a planned value the backend hands out a copy
at the end, and until then the value lives); what a kernel may hold on to after the run; and what stays inside a group
that is evaluated as a whole.  Assignments copy, so what is assigned is planned like all else.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from graphflow.compile import arena
from graphflow.compile.arena import Block
from graphflow.compile.lifetimes import Lifetimes, Overlap, lifetimes, overlap
from graphflow.program import Group, Instruction, Memory, PassRecord, Program, Storage
from graphflow.spec import TensorSpec, nbytes

StorageOf = Callable[[Instruction], Storage]
IsWhole = Callable[[Group], bool]
OWN = Storage()


def as_a_whole(group: Group) -> bool:
    """The default: every group is evaluated in one pass."""
    return True


def plan_memory(
    program: Program, storage: StorageOf, is_whole: IsWhole = as_a_whole, smallest: int = 0, smallest_taken: int = 0
) -> Program:
    """The program with its arena.

    `is_whole` tells which groups the backend evaluates in one pass, with scratch for what stays inside; the members of
    the others are instructions like all else.  Results of fewer bytes than `smallest` keep memory of their own, and
    what has fewer than `smallest_taken` is not taken over in place.
    """
    facts = facts_of(program, storage, is_whole)
    if facts is None:
        return program.with_record(PassRecord("memory"))
    planned = _planned(facts, smallest)
    takes = _taken_over(facts, {v for v in planned if facts.sizes[v] >= smallest_taken})
    block_of, blocks = _blocks(facts, planned, takes)
    offsets, size = _place(facts, blocks)
    found = {v: offsets[number] for v, number in block_of.items()}
    before, outside = _peaks(facts, found)
    names = {v: ins.op.name for ins in program.instructions for v in ins.outputs} if takes else {}
    notes = tuple([(names[v], f"in the memory of {names[x]}") for v, x in takes.items()])
    return program.with_record(
        PassRecord("memory", rewritten=notes), memory=Memory(size, found, before, size + outside)
    )


class Facts(NamedTuple):
    """What is known of a program before memory is given out."""

    program: Program
    sizes: list[int]  # bytes of each value; 0 for what is no array of known size
    kinds: list[Storage]  # of each instruction
    whole: list[Group]  # that are evaluated in one pass
    hidden: set[int]  # values that never leave one of these
    lives: Lifetimes
    tasks: Overlap | None


def facts_of(program: Program, storage: StorageOf, is_whole: IsWhole = as_a_whole) -> Facts | None:
    """What is known; None if there is not one array."""
    sizes = [size_of(known) for known in program.values]
    if not any(sizes):
        return None
    whole = [group for group in program.groups if is_whole(group)]
    inside = {v for g in whole for ins in program.instructions[g.begin : g.end] for v in ins.outputs}
    hidden = inside.difference(*[g.outputs for g in whole]) if whole else inside
    kinds = _kinds(program, sizes, storage)
    lives = lifetimes(program, kinds, whole)
    return Facts(program, sizes, kinds, whole, hidden, lives, overlap(program, kinds))


def size_of(known: TensorSpec) -> int:
    """Bytes of an array that could be planned; 0 for all else."""
    return (nbytes(known) or 0) if known.dims else 0


def _kinds(program: Program, sizes: Sequence[int], storage: StorageOf) -> list[Storage]:
    """The storage of each instruction; the backend is not asked about those that touch no array, nor a view of one."""
    arrays = [size > 0 for size in sizes]
    arrays.append(False)  # -1: nobody reads that output
    out: list[Storage] = []
    for ins in program.instructions:
        for v in ins.inputs + ins.outputs:
            if arrays[v]:
                kind = storage(ins)
                break
        else:
            kind = OWN
        if kind.views:
            for v in ins.outputs:
                arrays[v] = v >= 0
        out.append(kind)
    return out


def _planned(facts: Facts, smallest: int) -> set[int]:
    """The values that live in the arena: all results of an instruction, or none."""
    program, sizes = facts.program, facts.sizes
    barred = facts.hidden.union(program.fetches, program.feeds, program.constants)
    death, kept = facts.lives.death, facts.lives.kept
    out: set[int] = set()
    for ins, kind in zip(program.instructions, facts.kinds, strict=True):
        if not kind.buffer or not ins.outputs:
            continue
        total = 0
        for v in ins.outputs:
            if v < 0 or not sizes[v] or v in barred or death[v] >= kept:
                break
            total += sizes[v]
        else:
            if total >= smallest:
                out.update(ins.outputs)
    return out


# -- in place --------------------------------------------------------------------------------------------------------


def _taken_over(facts: Facts, planned: set[int]) -> dict[int, int]:
    """value -> the value whose bytes it takes over.

    Only what all readers are done with, those of views included, is taken, so it is taken once.  Inside a group that
    is evaluated as a whole an input is taken by the last member that reads it, if it has the dims of the group: then
    each element is read before it is written.
    """
    barred: set[tuple[int, int]] | None = None
    takes: dict[int, int] = {}
    for position, kind in enumerate(facts.kinds):
        if not kind.inplace:
            continue
        ins = facts.program.instructions[position]
        if not ins.outputs or ins.outputs[0] not in planned:
            continue
        for place in kind.inplace:
            x = ins.inputs[place]
            if x not in planned or not _is_free(facts, x, position, kind.inplace):
                continue
            if barred is None:
                barred = _not_last(facts)
            if (position, x) not in barred:
                takes[ins.outputs[0]] = x
                break
    return takes


def _is_free(facts: Facts, x: int, position: int, inplace: Sequence[int]) -> bool:
    """Whether an input, of the size and the type of the result, is needed by nobody else at that moment or later."""
    lives, tasks, values = facts.lives, facts.tasks, facts.program.values
    begin = lives.begins[position]
    ins = facts.program.instructions[position]
    result = values[ins.outputs[0]]
    return (
        lives.death[x] == lives.ends[position]
        and lives.viewed[x] < begin
        and lives.birth[x] < begin
        and values[x].dims == result.dims
        and values[x].dtype == result.dtype
        and (ins.inputs.count(x) == 1 or all(v != x or i in inplace for i, v in enumerate(ins.inputs)))
        and (tasks is None or tasks.is_over(x, lives.birth[x], position))
    )


def _not_last(facts: Facts) -> set[tuple[int, int]]:
    """(position, value) of each reading inside a group that is not the last one there, or not of its dims."""
    out: set[tuple[int, int]] = set()
    for group in facts.whole:
        read: set[int] = set()
        for position in range(group.end - 1, group.begin - 1, -1):
            inputs = set(facts.program.instructions[position].inputs)
            out.update([(position, v) for v in inputs if v in read or facts.program.values[v].dims != group.dims])
            read |= inputs
    return out


# -- places ----------------------------------------------------------------------------------------------------------


def _blocks(facts: Facts, planned: set[int], takes: Mapping[int, int]) -> tuple[dict[int, int], list[Block]]:
    """The block of each planned value, one for all that follow each other in place."""
    birth, death, sizes = facts.lives.birth, facts.lives.death, facts.sizes
    tasks = facts.tasks
    users = tasks.users if tasks is not None and tasks.exact else ()
    block_of: dict[int, int] = {}
    blocks: list[Block] = []
    for position, ins in enumerate(facts.program.instructions):
        for v in ins.outputs:
            if v not in planned:
                continue
            mine = users[v] if users else 0
            if v in takes:
                number = block_of[v] = block_of[takes[v]]
                size, begin, _, task, _ = blocks[number]
                blocks[number] = Block(size, begin, death[v], task, mine)
                continue
            block_of[v] = len(blocks)
            task = 0 if tasks is None else tasks.task_of[position]
            blocks.append(Block(arena.aligned(sizes[v]), birth[v], death[v], task, mine))
    return block_of, blocks


def _place(facts: Facts, blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Where the blocks go, as the order of the program asks."""
    tasks = facts.tasks
    if tasks is None:
        return arena.place(blocks)
    if tasks.exact and len(blocks) <= arena.MOST_SCANNED:
        return arena.place_in_tasks(blocks, tasks.before)
    last = facts.lives.end_of_run
    task_of = [*tasks.task_of, -1]
    return arena.place_apart(blocks, [b.task if task_of[min(b.death, last)] == b.task else -1 for b in blocks])


def _peaks(facts: Facts, planned: Mapping[int, int]) -> tuple[int, int]:
    """Bytes of all results, and those at the peak outside the arena; see `Memory`."""
    sizes, lives = facts.sizes, facts.lives
    total = 0
    changes: dict[int, int] = {}
    for ins, kind in zip(facts.program.instructions, facts.kinds, strict=True):
        if kind.views:
            continue
        for v in ins.outputs:
            if v < 0 or not sizes[v]:
                continue
            total += arena.aligned(sizes[v]) if v in planned else sizes[v]  # as the arena counts them
            if v not in planned and v not in facts.hidden:
                changes[lives.birth[v]] = changes.get(lives.birth[v], 0) + sizes[v]
                changes[lives.death[v] + 1] = changes.get(lives.death[v] + 1, 0) - sizes[v]
    now = most = 0
    for position in sorted(changes):
        now += changes[position]
        most = max(most, now)
    return total, most


# -- for debugging ---------------------------------------------------------------------------------------------------


def freed_after(
    program: Program, storage: StorageOf, is_whole: IsWhole = as_a_whole
) -> dict[int, list[tuple[int, int]]]:
    """position -> stretches of the arena, (offset, size), that hold nothing any more once that instruction is done.

    For instructions that are run in their order: what is read from there later was not planned.
    """
    facts = facts_of(program, storage, is_whole)
    offsets = program.memory.offsets if program.memory is not None else {}
    if facts is None or not offsets:
        return {}
    lives = facts.lives
    born: dict[int, set[int]] = {}
    for v, offset in offsets.items():
        born.setdefault(lives.birth[v], set()).add(offset)
    out: dict[int, list[tuple[int, int]]] = {}
    for v, offset in offsets.items():
        death = lives.death[v]
        if death >= lives.end_of_run:
            continue
        begin = lives.begins[death]
        if lives.birth[v] == begin or offset not in born.get(begin, ()):  # else it is taken over
            out.setdefault(death, []).append((offset, facts.sizes[v]))
    return {position: sorted(out[position]) for position in sorted(out)}
