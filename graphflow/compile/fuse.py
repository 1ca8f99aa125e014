"""Fusion: pointwise instructions over one index space become groups, which a backend evaluates in one pass.

Policy: grouping changes no value, only which instructions stand together.  Each instruction gets a level: as late as
its latest input, one later if that edge cannot be fused (the producer is not pointwise, has other dims, or belongs to
another atomic region).  Between instructions of one level there are only fusable edges, so any two of them that are
joined by such edges, or read one large value, may share a group: no path leaves a group and comes back.  Instructions
that may fail, that write a variable or that run code of the user's keep their order: so a run that fails fails as it
did, and leaves the same variables behind.  From O2 on a reduction of a group's value ends in it; what reads the
reduction is one level later.

State: none.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.opdef import OPS
from graphflow.program import Group, Instruction, PassRecord, Program
from graphflow.spec import TensorSpec, is_concrete

KINDS = frozenset({"float", "int", "uint", "bool"})
SMALLEST = 2  # members
SOURCE = -2  # the level of what needs nothing computed, a variable's handle; its value, read, is there at level 0


def fuse(program: Program, level: int) -> Program:
    """Groups of pointwise instructions, standing together."""
    spaces = _spaces(program, level)
    sets = _joined(program, spaces, _levels(program, spaces)) if len(spaces) >= SMALLEST else {}
    order = ordered(program, sets) if sets else None
    if order is None:
        return program.with_record(PassRecord("fuse"))
    found = _groups(program, order, sets, {program.instructions[p].key for p in spaces if spaces[p].reduces})
    names = tuple(tuple(order[i].op.name for i in range(g.begin, g.end)) for g in found)
    return program.with_record(PassRecord("fuse", fused=names), instructions=tuple(order), groups=tuple(found))


class _Space(NamedTuple):
    """Where an instruction stands that can be in a group."""

    dims: tuple[int, ...]
    region: int | None  # the atomic region
    reduces: bool


def _space(known: TensorSpec, smallest: int) -> tuple[int, ...] | None:
    """The index space of a value, if it is one to fuse over."""
    dims = known.dims
    if not is_concrete(dims) or len(dims) < smallest or known.dtype.kind not in KINDS:
        return None
    return None if 0 in dims else dims


def _fits(known: TensorSpec, space: tuple[int, ...]) -> bool:
    """Whether an input has a place in the index space by NumPy's broadcasting; a vector of bools may choose rows."""
    if known.dims is None or known.dtype.kind not in KINDS:
        return False
    return known.dims == space or not (known.dtype.is_bool and len(known.dims) == 1 < len(space))


def _spaces(program: Program, level: int) -> dict[int, _Space]:
    """position -> where it stands, for each instruction that can be in a group."""
    smallest = 0 if level >= 2 else 1  # rank 0 stays with Python's operators unless there is a native path
    out: dict[int, _Space] = {}
    values = program.values
    for position, ins in enumerate(program.instructions):
        definition = OPS[ins.type]
        if (
            not (definition.pointwise or definition.reduces and level >= 2)
            or ins.after
            or len(ins.outputs) != 1
            or ins.outputs[0] < 0
        ):
            continue
        reduces = definition.reduces
        space = _space(values[ins.inputs[0] if reduces else ins.outputs[0]], smallest)
        if space is None or not all(_fits(values[v], space) for v in ins.inputs):
            continue
        if reduces and (not space or not values[ins.inputs[0]].dtype.is_floating):
            continue
        if definition.can_fail and values[ins.inputs[0]].dtype.is_integer:
            continue
        out[position] = _Space(space, ins.op.region and ins.op.region.id, reduces)
    return out


def _levels(program: Program, spaces: Mapping[int, _Space]) -> list[int]:
    """How late each instruction is: see the module's policy."""
    levels: list[int] = []
    producer: dict[int, int] = {}
    by_key: dict[int, int] = {}
    acted = 0  # the level after the last instruction that acts
    for position, ins in enumerate(program.instructions):
        mine = spaces.get(position)
        late = 0 if mine is not None or ins.after or acts(program, ins) else SOURCE
        for v in ins.inputs:
            before = producer.get(v)
            if before is not None:
                its = spaces.get(before)
                fusable = mine is not None and its is not None and its[:2] == mine[:2] and not its[2]
                late = max(late, levels[before] + (not fusable))
        for key in ins.after:
            before = by_key.get(key)
            if before is not None:
                late = max(late, levels[before] + 1)
        if acts(program, ins):
            late = max(late, acted)
            acted = late + 1
        levels.append(late)
        by_key[ins.key] = position
        for v in ins.outputs:
            producer[v] = position
    return levels


def _joined(program: Program, spaces: Mapping[int, _Space], levels: Sequence[int]) -> dict[int, int]:
    """key -> number of its set, a negative one, for the instructions of sets of two or more (union-find)."""
    parent = {position: position for position in spaces}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[Any, int] = {}  # (value, level, space) -> a member that reads or makes it
    for position in spaces:
        ins = program.instructions[position]
        dims, region, reduces = spaces[position]
        for v in ins.inputs if reduces else (*ins.inputs, *ins.outputs):
            if program.values[v].dims == dims:
                other = seen.setdefault((v, levels[position], dims, region), position)
                if other != position:
                    parent[root(position)] = root(other)
    sizes: dict[int, int] = {}
    for position in spaces:
        r = root(position)
        sizes[r] = sizes.get(r, 0) + 1
    roots = {position: root(position) for position in spaces}
    return {program.instructions[p].key: -1 - r for p, r in roots.items() if sizes[r] >= SMALLEST}


def acts(program: Program, ins: Instruction) -> bool:
    """Whether an instruction may fail or change something, so that its place among others of this kind matters."""
    definition = OPS[ins.type]
    if definition.effect == "write" or definition.control_flow:
        return True
    return bool(definition.can_fail) and definition.may_refuse(
        any(program.values[v].dtype.is_integer for v in ins.inputs)
    )


def ordered(program: Program, sets: Mapping[int, int]) -> list[Instruction] | None:
    """The instructions with those of a set (key -> its number), and those of an atomic region, standing together.

    None if that cannot be: an instruction outside waits for one inside, and is waited for by another one inside.
    """
    instructions = program.instructions
    acting = [ins.key for ins in instructions if acts(program, ins)]
    earlier = dict(zip(acting[1:], acting, strict=False))  # of two that act, which comes first
    units: dict[int, Any] = dict(sets)
    regions: dict[Any, list[Instruction]] = {}
    for ins in instructions:
        if ins.op.region is not None:
            unit = ("region", ins.op.region.id)
            units[ins.key] = unit
            regions.setdefault(unit, []).append(ins)
    out = _ordered_units(instructions, units, earlier)
    if out is None or not regions:
        return out
    first: dict[Any, int] = {}  # where each unit begins
    for position, ins in enumerate(out):
        first.setdefault(units.get(ins.key), position)
    for unit, members in regions.items():
        inner = _ordered_units(members, sets, earlier)
        if inner is None:
            return None
        out[first[unit] : first[unit] + len(members)] = inner
    return out


def _ordered_units(
    instructions: Sequence[Instruction], units: Mapping[int, Any], earlier: Mapping[int, int]
) -> list[Instruction] | None:
    """The instructions unit by unit; a unit comes as early as its first member did, if nothing it needs is later."""
    unit = [units.get(ins.key, ins.key) for ins in instructions]
    members: dict[Any, list[int]] = {}
    for position, u in enumerate(unit):
        members.setdefault(u, []).append(position)
    producer = {v: u for ins, u in zip(instructions, unit, strict=True) for v in ins.outputs if v >= 0}
    by_key = {ins.key: u for ins, u in zip(instructions, unit, strict=True)}
    waiting: dict[Any, int] = {}
    followers: dict[Any, list[Any]] = {u: [] for u in members}
    for u, positions in members.items():
        before = {producer.get(v, u) for p in positions for v in instructions[p].inputs}
        before.update([by_key.get(k, u) for p in positions for k in instructions[p].after])
        before.update([by_key.get(earlier[k], u) for p in positions if (k := instructions[p].key) in earlier])
        before.discard(u)
        waiting[u] = len(before)
        for b in before:
            followers[b].append(u)
    ready = [positions[0] for u, positions in members.items() if not waiting[u]]
    heapq.heapify(ready)
    out: list[Instruction] = []
    while ready:
        u = unit[heapq.heappop(ready)]
        out += [instructions[p] for p in members[u]]
        for f in followers[u]:
            waiting[f] -= 1
            if not waiting[f]:
                heapq.heappush(ready, members[f][0])
    return out if len(out) == len(instructions) else None


def _groups(
    program: Program, order: list[Instruction], sets: Mapping[int, int], reductions: Collection[int]
) -> list[Group]:
    """The groups in the new order; reductions are moved to the end of theirs."""
    readers = Counter(v for ins in order for v in ins.inputs)
    readers.update(program.fetches)
    found: list[Group] = []
    begin = 0
    while begin < len(order):
        number = sets.get(order[begin].key)
        end = begin + 1
        if number is not None:
            while end < len(order) and sets.get(order[end].key) == number:
                end += 1
            members = sorted(order[begin:end], key=lambda ins: ins.key in reductions)
            order[begin:end] = members
            inside = Counter(v for ins in members for v in ins.inputs)
            outputs = tuple(v for ins in members for v in ins.outputs if inside[v] < readers[v] or not readers[v])
            space = program.values[members[0].outputs[0]].dims
            last = sum(ins.key in reductions for ins in members)
            found.append(Group(begin, end, space, outputs, last))  # type: ignore[arg-type]
        begin = end
    return found
