"""What a kernel over lines does pass by pass: which pass computes, reduces, stores and keeps what.

Policy: a number of a line that comes of a reduction is known from the next pass on.  In each pass the elements that it
needs are computed anew if that takes a step, and else read again: where they are stored, or from memory that the first
pass which has them keeps them in.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphflow.dtypes import DType
from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec, is_concrete
from graphflow_opencl.facts import VIEWS
from graphflow_opencl.folds import REDUCTIONS, Fold, fold_of
from graphflow_opencl.fused import is_pointwise
from graphflow_opencl.line_sets import ALONG, FOLDING, FULL, LINE, ONE, LineSet, Split, operands

NAMED = 4  # ops of a set that its title names
CHEAP = 1  # steps that are sooner done again than remembered


class Operand(NamedTuple):
    """Where a value comes from that the kernel does not compute."""

    argument: int
    dtype: DType
    place: str  # how it lies in the array
    known: Any = None  # the value of a single number that is known


class Step(NamedTuple):
    """A value that is computed."""

    ins: Instruction
    inputs: tuple[int, ...]
    dtype: DType
    phase: int  # the first pass that can compute it
    along: bool  # whether it differs from element to element of a line
    lines: bool  # whether it differs from line to line


class Pass(NamedTuple):
    """One walk along the lines."""

    steps: tuple[int, ...]  # values along the lines that are computed
    reads: tuple[int, ...]  # operands along the lines
    again: tuple[int, ...]  # values that an earlier pass left in memory
    folds: tuple[Fold, ...]
    stores: tuple[int, ...]
    keeps: tuple[int, ...]


def work_of(
    found: LineSet,
    program: Program,
    readers: Mapping[int, set[int]],
    values: Sequence[TensorSpec],
    constants: Mapping[int, Any],
) -> LineWork:
    """What the kernel of a set does."""
    instructions = program.instructions[found.begin : found.end]
    inside = set(range(found.begin, found.end))
    made = [v for ins in instructions for v in ins.outputs]
    outputs = [v for v in made if v in program.fetches or not readers.get(v, set()) <= inside]
    return LineWork(found.split, instructions, outputs, values, constants)


class LineWork:
    """The values of one set, by their numbers."""

    def __init__(
        self,
        split: Split,
        instructions: Sequence[Instruction],
        outputs: Sequence[int],
        values: Sequence[TensorSpec],
        constants: Mapping[int, Any],
    ) -> None:
        self.split, self.outputs, self._values = split, outputs, values
        self.operands: dict[int, Operand] = {}
        self.steps: dict[int, Step] = {}
        self.folds: dict[int, tuple[Fold, int]] = {}  # its result -> the reduction, and the pass that does it
        self.same: dict[int, int] = {}  # a view -> what it is a view of
        self.divided: dict[int, int] = {}  # value -> by how much it is divided
        for ins in instructions:
            self._add(ins, constants)
        types = [ins.type for ins in instructions if ins.type not in VIEWS]
        more = f" and {len(types) - NAMED} more" if len(types) > NAMED else ""
        self.title = f"{'rows' if split.rows else 'columns'}: {' '.join(types[:NAMED])}{more}"
        self.full = {v for v in outputs if is_concrete(d := values[v].dims) and prod(d) == prod(split.dims)}
        self.passes = self._passes()

    def _add(self, ins: Instruction, constants: Mapping[int, Any]) -> None:
        (v,) = ins.outputs
        read = operands(ins, self._values)
        assert read is not None
        for x, own in read:
            if x not in self.steps and x not in self.folds and x not in self.operands:
                self._add_operand(x, own, ins, constants)
        inputs = tuple([x for x, _ in read])
        dtype = self._values[v].dtype
        if ins.type in FOLDING:
            type = ins.type if ins.type in REDUCTIONS else "Sum"
            split = self.split
            axis = range(split.cut, len(split.dims)) if split.rows else range(split.cut)
            fold = fold_of(type, inputs[0], self._values[inputs[0]].dtype, split.dims, axis, v, dtype)
            assert fold is not None
            self.folds[v] = fold, self.phase(inputs[0])
            return
        if ins.type == "Spread" and ins.attrs["mean"]:
            self.divided[v] = self.split.length
        phase = max(map(self.phase, inputs))
        along, lines = any(map(self.along, inputs)), any(map(self.lines, inputs))
        self.steps[v] = Step(ins, inputs, dtype, phase, along, lines)

    def _add_operand(self, x: int, own: tuple[int, ...], ins: Instruction, constants: Mapping[int, Any]) -> None:
        spec = self._values[x]
        made = self._values[ins.outputs[0]].dims
        if prod(own) == 1:
            known = constants.get(x)
            self.operands[x] = Operand(x, spec.dtype, ONE, None if known is None else np.asarray(known).reshape(-1)[0])
            return
        of_lines = ins.type == "Spread" or made in self.split.of_lines() and ins.type not in FOLDING
        place = LINE if of_lines else self.split.place(own)
        assert place is not None
        self.operands[x] = Operand(x, spec.dtype, place)

    # -- what is known of a value ----------------------------------------------------------------------------------

    def phase(self, v: int) -> int:
        """The first pass in which a value is there."""
        if v in self.steps:
            return self.steps[v].phase
        return self.folds[v][1] + 1 if v in self.folds else 0

    def along(self, v: int) -> bool:
        """Whether a value differs from element to element of a line."""
        if v in self.steps:
            return self.steps[v].along
        return v in self.operands and self.operands[v].place in (FULL, ALONG)

    def lines(self, v: int) -> bool:
        """Whether a value differs from line to line."""
        if v in self.steps:
            return self.steps[v].lines
        return v in self.folds or self.operands[v].place in (FULL, LINE)

    def dtype(self, v: int) -> DType:
        """The dtype of a value."""
        return self._values[v].dtype

    # -- passes ----------------------------------------------------------------------------------------------------

    def _passes(self) -> list[Pass]:
        """Every pass that reduces or stores, from the last to the first, which may have to keep something."""
        count = 1 + max(
            [0, *(p for _, p in self.folds.values()), *(self.phase(v) for v in self.full)],
        )
        kept: dict[int, set[int]] = {p: set() for p in range(count)}
        out: list[Pass] = []
        for number in range(count - 1, -1, -1):
            folds = tuple(f for f, p in self.folds.values() if p == number)
            stores = tuple(v for v in self.outputs if v in self.full and self.phase(v) == number)
            keeps = tuple(sorted(kept[number]))
            steps, reads, again = self._needed([*(f.value for f in folds), *stores, *keeps], number)
            for v in again:
                if v not in self.full or self.dtype(v).size < 4:
                    kept[self.phase(v)].add(v)
            out.append(Pass(steps, reads, again, folds, stores, keeps))
        return out[::-1]

    def _needed(self, wanted: Sequence[int], number: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """What is computed along the lines in a pass, which operands it reads, and what it reads again."""
        steps, reads, again = set[int](), set[int](), set[int]()
        waiting = [v for v in wanted if self.along(v)]
        while waiting:
            v = waiting.pop()
            if v in self.operands:
                reads.add(v)
            elif v not in steps and v not in again:
                if self.steps[v].phase < number and not self._is_cheap(v):
                    again.add(v)
                else:
                    steps.add(v)
                    waiting += [x for x in self.steps[v].inputs if self.along(x)]
        order = [v for v in self.steps if v in steps]
        return tuple(order), tuple(v for v in self.operands if v in reads), tuple(sorted(again))

    def _is_cheap(self, v: int) -> bool:
        """Whether a value along the lines takes few steps from what is read."""
        count, waiting, seen = 0, [v], set[int]()
        while waiting and count <= CHEAP:
            x = waiting.pop()
            if x in self.steps and x not in seen and self.along(x):
                seen.add(x)
                count += not self.is_copy(x)
                waiting += self.steps[x].inputs
        return count <= CHEAP

    def is_copy(self, v: int) -> bool:
        """Whether a step only hands on its input."""
        ins = self.steps[v].ins
        return ins.type == "Spread" or ins.type in VIEWS or not is_pointwise(ins.type)
