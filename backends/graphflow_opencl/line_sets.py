"""Normalisations: which instructions read the lines of an array again and again, so that one kernel had better do all.

A *line* is what one reduction makes one number of: a row, or a column.  Of the instructions that reduce lines, that
compute with the numbers of lines, and that are pointwise over the whole array, those make a set that hang together.

Policy: an instruction's level is one higher than that of another which it needs and which does not belong to the same
array, so that no path leaves a set and comes back; what has no need to be early waits for the set that reads it.  A set
must have a line read again after it was reduced, and enough lines to keep the device busy.  The instructions of a set
stand together afterwards; what is left of fusion groups stays together where that can be.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec, is_concrete
from graphflow_opencl import regrouping
from graphflow_opencl.expressions import FAILS
from graphflow_opencl.facts import VIEWS
from graphflow_opencl.folds import REDUCTIONS
from graphflow_opencl.fused import is_pointwise, operand_dims

Dims = tuple[int, ...]
FOLDING = frozenset({*REDUCTIONS, "SumTo"})  # ops that make one number of each line
FULL, LINE, ALONG, ONE = "full", "line", "along", "one"  # how an operand lies in the array


class Split(NamedTuple):
    """An array as lines: `dims` cut in two; `rows` says that lines are what comes after the cut, not what is before."""

    dims: Dims
    cut: int
    rows: bool

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return prod(self.dims[: self.cut] if self.rows else self.dims[self.cut :])

    @property
    def length(self) -> int:
        """Elements of a line."""
        return prod(self.dims[self.cut :] if self.rows else self.dims[: self.cut])

    def of_lines(self) -> tuple[Dims, Dims]:
        """The dims of one number for each line: as many as the array has, and without those that are gone."""
        above, below = self.dims[: self.cut], self.dims[self.cut :]
        if self.rows:
            return (*above, *(1,) * len(below)), above
        return (*(1,) * len(above), *below), below

    def place(self, dims: Dims) -> str | None:
        """How an operand of these dims broadcasts to the array."""
        if prod(dims) == 1:
            return ONE
        if len(dims) > len(self.dims):
            return None
        padded = (*(1,) * (len(self.dims) - len(dims)), *dims)
        if padded == self.dims:
            return FULL
        if padded == self.of_lines()[0]:
            return LINE
        other = self._replace(rows=not self.rows)
        return ALONG if padded == other.of_lines()[0] else None


class LineSet(NamedTuple):
    """`instructions[begin:end]` of a program, over the lines of one array."""

    begin: int
    end: int
    split: Split


def reduced_axes(ins: Instruction, values: Sequence[TensorSpec]) -> tuple[Dims, frozenset[int]] | None:
    """The array that an instruction reduces, or that it spreads numbers of lines over, and the axes of the lines."""
    given, made = values[ins.inputs[0]].dims, values[ins.outputs[0]].dims
    if not is_concrete(given) or not is_concrete(made):
        return None
    dims = made if ins.type == "Spread" else given
    if ins.type == "SumTo":
        lead = len(dims) - len(made)
        return dims, frozenset(i for i in range(len(dims)) if i < lead or dims[i] != made[i - lead])
    if ins.type in REDUCTIONS or ins.type == "Spread":
        axis = ins.attrs["axis"]
        return dims, frozenset(range(len(dims)) if axis is None else [a % len(dims) for a in axis])
    return None


def operands(ins: Instruction, values: Sequence[TensorSpec]) -> list[tuple[int, Dims]] | None:
    """The values that a member reads, with dims that broadcast; what only tells a shape is none of them.

    None where the dims of one are not known: such an instruction is no member.
    """
    if not is_pointwise(ins.type) or ins.type in VIEWS:
        dims = values[ins.inputs[0]].dims
        return [(ins.inputs[0], dims)] if is_concrete(dims) else None
    placed = operand_dims(ins, values)
    return None if placed is None else list(zip(ins.inputs, placed, strict=True))


def gathered(
    program: Program,
    values: Sequence[TensorSpec],
    takes: Callable[[Instruction], bool],
    enough: Callable[[Split], bool],
) -> tuple[Program, list[LineSet]]:
    """The program with the instructions of each set standing together, and the sets.

    `takes` says which instructions kernels can do, `enough` whether an array has lines enough.
    """
    chosen: dict[int, int] = {}  # position -> the number of its set
    splits: dict[int, Split] = {}
    for rows in (True, False):
        found = _splits(program, values, rows, takes, enough)
        if found:
            free = [p not in chosen for p in range(len(program.instructions))]
            for split, positions in _Finder(program, values, found, takes, free).sets():
                splits[len(splits)] = split
                chosen.update(dict.fromkeys(positions, len(splits) - 1))
    if not chosen:
        return program, []
    found_order = regrouping.together(program, chosen)
    if found_order is None:
        return program, []
    program, spans = found_order
    sets = [LineSet(begin, end, splits[number]) for number, (begin, end) in spans.items()]
    return program, sorted(sets, key=lambda found: found.begin)


def _splits(
    program: Program,
    values: Sequence[TensorSpec],
    rows: bool,
    takes: Callable[[Instruction], bool],
    enough: Callable[[Split], bool],
) -> dict[Dims, Split]:
    """How each array is cut into lines: as its first reduction does."""
    out: dict[Dims, Split] = {}
    for ins in program.instructions:
        if ins.type not in FOLDING or not takes(ins):
            continue
        split = _split(ins, values)
        if split is not None and split.rows == rows and split.dims not in out and enough(split):
            out[split.dims] = split
    return out


def _split(ins: Instruction, values: Sequence[TensorSpec]) -> Split | None:
    found = reduced_axes(ins, values)
    if found is None or not values[ins.inputs[0]].dtype.is_floating:
        return None
    dims, axes = found
    rank, many = len(dims), len(axes)
    rows = axes == frozenset(range(rank - many, rank))
    if not rows and axes != frozenset(range(many)):
        return None
    split = Split(dims, rank - many if rows else many, rows)
    return split if split.lines > 1 and split.length > 1 else None


class _Finder:
    """The sets over lines of one kind."""

    def __init__(
        self,
        program: Program,
        values: Sequence[TensorSpec],
        splits: Mapping[Dims, Split],
        takes: Callable[[Instruction], bool],
        free: Sequence[bool],
    ) -> None:
        self._program, self._values, self._splits, self._takes = program, values, splits, takes
        self._lines: dict[int, Split] = {}  # numbers of lines that members make
        self._member = [
            self._joins(ins) if here else None for ins, here in zip(program.instructions, free, strict=True)
        ]
        self._producer = {v: p for p, ins in enumerate(program.instructions) for v in ins.outputs if v >= 0}
        self._readers: dict[int, list[int]] = {}
        for position, ins in enumerate(program.instructions):
            for v in ins.inputs:
                self._readers.setdefault(v, []).append(position)
        self._levels = self._found_levels()

    def _joins(self, ins: Instruction) -> Split | None:
        """The array that an instruction belongs to."""
        if not ins.inputs or len(ins.outputs) != 1 or ins.outputs[0] < 0 or ins.after or ins.op.region is not None:
            return None
        if ins.type in FAILS and self._values[ins.inputs[0]].dtype.is_integer or not self._takes(ins):
            return None
        if ins.type in FOLDING or ins.type == "Spread":
            split = _split(ins, self._values)
            split = split if split is not None and self._splits.get(split.dims) == split else None
            made = split if ins.type != "Spread" else None
        elif ins.type in VIEWS or is_pointwise(ins.type):
            split, made = self._pointwise(ins)
        else:
            return None
        if made is not None:
            self._lines[ins.outputs[0]] = made
        return split

    def _pointwise(self, ins: Instruction) -> tuple[Split | None, Split | None]:
        """The array, and the same again if the result is numbers of its lines."""
        dims = self._values[ins.outputs[0]].dims
        read = operands(ins, self._values)
        if read is None or not is_concrete(dims):
            return None, None
        for v, _ in read:
            split = self._lines.get(v)
            if split is not None and dims in split.of_lines():
                if ins.type in VIEWS or all(self._beside(own, dims) for _, own in read):
                    return split, split
                return None, None
        split = self._splits.get(dims)
        if split is None or ins.type in VIEWS or not all(self._fits(v, split.place(own)) for v, own in read):
            return None, None
        return split, None

    def _fits(self, v: int, place: str | None) -> bool:
        """Whether an operand lies in the array as lines do: in a square, numbers of rows may be spread over columns."""
        return place is not None and (place == LINE or v not in self._lines)

    @staticmethod
    def _beside(own: Dims, dims: Dims) -> bool:
        return prod(own) == 1 or (*(1,) * (len(dims) - len(own)), *own) == dims

    def _needs(self, ins: Instruction, by_key: Mapping[int, int]) -> set[int]:
        before = {self._producer[v] for v in ins.inputs if v in self._producer}
        return before | {by_key[key] for key in ins.after if key in by_key}

    def _found_levels(self) -> list[int]:
        levels: list[int] = []
        by_key: dict[int, int] = {}
        for position, ins in enumerate(self._program.instructions):
            own = self._member[position]
            level = 0
            for b in self._needs(ins, by_key):
                leaves = self._member[b] is not None and self._member[b] != own
                level = max(level, levels[b] + leaves)
            levels.append(level)
            by_key[ins.key] = position
        self._sink(levels)
        return levels

    def _sink(self, levels: list[int]) -> None:
        """Whole arrays that only a later set reads are made by that set."""
        fetched = set(self._program.fetches)
        for position in range(len(levels) - 1, -1, -1):
            own, ins = self._member[position], self._program.instructions[position]
            if own is None or ins.outputs[0] in self._lines or ins.outputs[0] in fetched:
                continue
            at = self._readers.get(ins.outputs[0], ())
            later = {(self._member[p], levels[p]) for p in at}
            if len(later) == 1 and later != {(own, levels[position])}:
                ((split, level),) = later
                if split == own and level > levels[position]:
                    levels[position] = level

    def sets(self) -> list[tuple[Split, list[int]]]:
        """The positions of each set."""
        parent = {p: p for p, split in enumerate(self._member) if split is not None}

        def root(p: int) -> int:
            while parent[p] != p:
                parent[p] = parent[parent[p]]
                p = parent[p]
            return p

        for position in parent:
            for v in self._program.instructions[position].inputs:
                b = self._producer.get(v)
                if b in parent and self._array(b) == self._array(position):
                    parent[root(position)] = root(b)
        found: dict[int, list[int]] = {}
        for position in parent:
            found.setdefault(root(position), []).append(position)
        return [
            (split, positions)
            for r, positions in found.items()
            if (split := self._member[r]) is not None and self._reads_again(positions)
        ]

    def _array(self, position: int) -> tuple[Split | None, int]:
        """What an instruction must have in common with those of its set."""
        return self._member[position], self._levels[position]

    def _reads_again(self, positions: Sequence[int]) -> bool:
        """Whether lines are read once more with what they were reduced to."""
        known: set[int] = set()
        for position in positions:
            ins = self._program.instructions[position]
            later = not known.isdisjoint(ins.inputs)
            reduces = ins.type in FOLDING
            if later and (reduces or ins.outputs[0] not in self._lines):
                return True
            if reduces or later:
                known.add(ins.outputs[0])
        return False
