"""Updates of variables that are computed and written by one kernel: which instructions may be put together.

Policy: what computes the new value, a fusion group or one pointwise instruction, waits for the last of the updates
that it feeds, and all are done as one; so does what computes on with the result of an update.  That is allowed if
nothing in between reads what they make, touches the variables that they write, or writes a variable that they read.
So an optimiser's step for one variable, its moments included, reads and writes each element once.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from graphflow.program import Instruction, Program
from graphflow.spec import Dims, TensorSpec
from graphflow_opencl.facts import VIEWS, WRITES

UPDATES = frozenset({"Assign", "AssignAdd", "AssignSub"})
FARTHEST = 4096  # instructions between the first and the last of a set
Piece = tuple[int, int]  # what computes: instructions[begin:end]


class WriteSet(NamedTuple):
    """Instructions that are done as one, at the place of the last."""

    positions: tuple[int, ...]  # in order
    updates: frozenset[int]  # those of them that write variables


def write_sets(
    program: Program,
    values: Sequence[TensorSpec],
    variables: frozenset[int],
    pointwise: Callable[[Instruction], bool],
) -> list[WriteSet]:
    """All sets of the program, none with an instruction of another."""
    makers = _makers(program, pointwise)
    grower = _Grower(program, values, variables, makers)
    sources = _sources(program)
    found: list[WriteSet] = []
    used: set[int] = set()
    for piece in dict.fromkeys(makers.values()):
        for far in (True, False):
            chosen = grower.grown(piece, far)
            free = bool(chosen.updates) and used.isdisjoint(chosen.positions)
            if free and _may_wait(program, chosen, sources, variables):
                found.append(chosen)
                used.update(chosen.positions)
                break
    return found


class _Grower:
    """What may join an instruction that computes a variable's new value."""

    def __init__(
        self,
        program: Program,
        values: Sequence[TensorSpec],
        variables: frozenset[int],
        makers: Mapping[int, Piece],
    ) -> None:
        self._instructions = program.instructions
        self._values = values
        self._variables = variables
        self._piece_at = {p: piece for piece in set(makers.values()) for p in range(*piece)}
        self._readers: dict[int, list[int]] = {}
        for position, ins in enumerate(program.instructions):
            for v in ins.inputs:
                self._readers.setdefault(v, []).append(position)

    def grown(self, first: Piece, far: bool) -> WriteSet:
        """The updates that a piece feeds and, if `far`, what computes on with their results, and so on."""
        dims = self._dims(first[0])
        members, updates, written = set(range(*first)), set[int](), set[int]()
        waiting = [v for p in members for v in self._instructions[p].outputs]
        while waiting:
            v = waiting.pop()
            for position in self._readers.get(v, ()):
                ins = self._instructions[position]
                if position in members:
                    continue
                if self._updates(ins, v, dims) and ins.inputs[0] not in written:
                    written.add(ins.inputs[0])
                    updates.add(position)
                    new = [position]
                elif far and self._after_update(v, updates) and self._dims(position) == dims:
                    new = list(range(*self._piece_at[position]))
                else:
                    continue
                members.update(new)
                waiting += [x for p in new for x in self._instructions[p].outputs if x >= 0]
        return WriteSet(tuple(sorted(members)), frozenset(updates))

    def _updates(self, ins: Instruction, v: int, dims: Dims) -> bool:
        if ins.type not in UPDATES or ins.inputs[0] not in self._variables or ins.inputs[1] != v:
            return False
        return self._values[ins.inputs[0]].dims == dims == self._values[v].dims

    def _after_update(self, v: int, updates: Collection[int]) -> bool:
        return any(v in self._instructions[p].outputs for p in updates)

    def _dims(self, position: int) -> Dims:
        """The index space of the piece there; None if there is none."""
        piece = self._piece_at.get(position)
        return None if piece is None else self._values[self._instructions[piece[1] - 1].outputs[0]].dims


def _makers(program: Program, pointwise: Callable[[Instruction], bool]) -> dict[int, Piece]:
    """value -> the instructions that could compute and write it."""
    out: dict[int, Piece] = {}
    grouped: set[int] = set()
    for group in program.groups:
        grouped.update(range(group.begin, group.end))
        if not group.reductions and all(map(pointwise, program.instructions[group.begin : group.end])):
            for v in group.outputs:
                out[v] = group.begin, group.end
    for position, ins in enumerate(program.instructions):
        if position not in grouped and len(ins.outputs) == 1 and ins.outputs[0] >= 0 and pointwise(ins):
            out[ins.outputs[0]] = position, position + 1
    return out


def _sources(program: Program) -> dict[int, int]:
    """value -> the handle of the variable whose memory it may be: what was read, the result of an update, a view."""
    found: dict[int, int] = {}
    for ins in program.instructions:
        if ins.type == "ReadVariable" or ins.type in WRITES:
            found.update((v, ins.inputs[0]) for v in ins.outputs)
        elif ins.type in VIEWS:
            found.update((v, found[x]) for v, x in zip(ins.outputs, ins.inputs, strict=False) if x in found)
    return found


def _may_wait(program: Program, chosen: WriteSet, sources: Mapping[int, int], variables: frozenset[int]) -> bool:
    """Whether nothing between the first and the last instruction of the set minds that they are done at the end."""
    instructions = program.instructions
    first, last = chosen.positions[0], chosen.positions[-1]
    if last - first > FARTHEST:
        return False
    own = set(chosen.positions)
    keys = {instructions[p].key for p in own}
    made = {v for p in own for v in instructions[p].outputs}
    written = {instructions[p].inputs[0] for p in chosen.updates}
    read = {sources.get(v, v) for p in own for v in instructions[p].inputs} & variables
    for position in range(first, last):
        ins = instructions[position]
        if position in own or ins.type == "VariableHandle":
            continue
        if not made.isdisjoint(ins.inputs) or not keys.isdisjoint(ins.after):
            return False
        if not written.isdisjoint(sources.get(v, v) for v in ins.inputs):
            return False
        if not read.isdisjoint(ins.inputs) and ins.type != "ReadVariable":
            return False
    return True
