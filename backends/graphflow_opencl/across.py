"""Passes across rows: reductions that keep the innermost dim, such as the gradient of a bias.

Policy: a unit of work is a block of columns at one outer place, for all rows or for a part of them; it walks down its
rows with an accumulator for each column, so memory is read in runs.  A second launch adds up the parts in their order.
On a GPU a unit is one column, and neighbours read neighbours.  Sums are made of as many runs of rows as a run has rows,
which keeps their error small.

State: none.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt, prod
from typing import Any

from graphflow_opencl.bodies import Body, Parameters, Placing, Read, Work
from graphflow_opencl.expressions import register_type, store
from graphflow_opencl.folds import Fold
from graphflow_opencl.index_space import Space, collapsed, index_type, offset, permuted
from graphflow_opencl.sizing import across_columns, width_for
from graphflow_opencl.table import Launch, Scratch, Traits
from graphflow_opencl.tails import store_tail
from graphflow_opencl.text import block, launch_of

SHORT = 64  # rows that need not be added up in runs
TOGETHER = 4  # rows that are taken at once, where a row costs less than the way to its accumulators and back
LIGHT = 2  # steps up to which that is so


def keeps_innermost(work: Work) -> bool:
    """Whether the reductions of a pass keep the innermost dim."""
    space, reduced = _space(work)
    return bool(space.dims) and not reduced[-1]


def _space(work: Work) -> tuple[Space, list[bool]]:
    reads = [read.dims for read in work.reads.values() if read.argument is not None]
    space = collapsed(work.dims, [*reads, *(f.kept for f in work.folds)])
    return space, [not s for s in space.strides[-1]]


def across(
    work: Work, traits: Traits, scratch: Iterator[int], checks: bool = True, whole: bool = False
) -> list[Launch]:
    """The launches of a pass that only reduces; `whole` forbids parts of the rows."""
    writer = _Writer(work, traits, whole)
    if writer.blocks.parts == 1:
        return [writer.launch(checks)]
    outer, _, columns = writer.shape
    count, size = writer.blocks.parts, outer * columns
    parts = tuple(f.unfinished(Scratch(next(scratch), count * size * f.wide.size)) for f in work.folds)
    writer.work = work._replace(folds=parts)
    reads = {-1 - i: Read(part.argument, part.wide, (count, size)) for i, part in enumerate(parts)}
    folds = tuple(f.of_parts(-1 - i, (1, size)) for i, f in enumerate(work.folds))
    dtypes = {v: read.dtype for v, read in reads.items()}
    rest = Work((count, size), reads, (), dtypes, (), folds, f"the rest of {work.title}")
    return [writer.launch(checks), *across(rest, traits, scratch, False, True)]


class _Writer:
    """The text of one launch."""

    def __init__(self, work: Work, traits: Traits, whole: bool) -> None:
        self.work, self.traits = work, traits
        space, reduced = _space(work)
        rank = len(space.dims)
        space = permuted(space, [*sorted(range(rank - 1), key=lambda i: reduced[i]), rank - 1])
        gone = sum(reduced)
        self.outer, columns = space.dims[:-1], space.dims[-1]
        rows = prod(self.outer[rank - 1 - gone :])
        self.shape = prod(self.outer) // rows if rows else 1, rows, columns
        keys = [v for v, read in work.reads.items() if read.argument is not None]
        self.strides = dict(zip(keys, space.strides, strict=False))
        self.width = width_for(work, traits, columns) if traits.schedule == "cpu" else 1
        self.blocks = across_columns(work, traits, self.shape, self.width, whole)
        self.number = index_type(prod(work.dims), *(prod(r.dims) for r in work.reads.values()))
        self.parameters = Parameters()
        self._offsets: dict[str, str] = {}

    def launch(self, checks: bool) -> Launch:
        """The launch."""
        levels = {}
        for v, read in self.work.reads.items():
            levels[v] = 0
            if read.argument is not None:
                levels[v] = 2 if self.strides[v][-1] else 1 if any(self.strides[v]) else 0
        self.body = Body(self.work, Placing(levels, self._index, {}), self.width, self.parameters, checks)
        rows = self._rows()
        statements = [*self.body.statements(0), *self._unit(), *rows, *self._finish()]
        return launch_of(self.work, self.parameters, statements, self.blocks.units, self.traits)

    def _index(self, key: Any) -> str:
        own = self.strides[key]
        text = offset("line", self.outer, own[:-1])
        if text == "0":
            return "j" if own[-1] else "0"
        name = self._offsets.setdefault(text, f"o{len(self._offsets)}")
        return f"{name} + j" if own[-1] else name

    def _unit(self) -> list[str]:
        """Which columns, which outer place and which rows."""
        outer, rows, columns = self.shape
        count = -(-columns // self.blocks.columns)
        run = [f"const {self.number} first = 0, last = {columns};"]
        if count > 1:
            run = [
                f"const {self.number} first = (unit % {count}) * ({self.number}){self.blocks.columns};",
                f"const {self.number} last = min(first + {self.blocks.columns}, ({self.number}){columns});",
            ]
        out = [
            *run,
            f"const {self.number} outer = unit / {count} % {outer}, part = unit / {count * outer};",
            f"const int above = part * {self.blocks.rows}, below = min(above + {self.blocks.rows}, {rows});",
        ]
        for i, f in enumerate(self.work.folds):
            out += self._cleared(f"a{i}", f)
        return out

    @property
    def _vectors(self) -> int:
        return self.blocks.columns // self.width

    def _cleared(self, name: str, f: Fold) -> list[str]:
        register = register_type(f.wide, self.width)
        clear = f"for (int u = 0; u < {self._vectors}; ++u) {name}[u] = ({register})({f.neutral});"
        return [f"{register} {name}[{self._vectors}];", clear]

    def _columns(self, statements: list[str]) -> list[str]:
        """A loop over the vectors of the block."""
        head = f"for ({self.number} u = 0, j = first; j < last; ++u, j += {self.width})"
        if self._tail:
            statements = [f"const int whole = last - j >= {self.width};", *statements]
        return block(head, statements)

    @property
    def _tail(self) -> int:
        return self.shape[2] % self.width

    def _rows(self) -> list[str]:
        """The walk down the rows."""
        length = max(SHORT, isqrt(self.blocks.rows))
        if self.blocks.rows <= SHORT:
            return ["int row = above;", *self._run("a", "below")]
        cleared = [s for i, f in enumerate(self.work.folds) for s in self._cleared(f"b{i}", f)]
        joined = [
            f"for (int u = 0; u < {self._vectors}; ++u) a{i}[u] = {f.combined(f'a{i}[u]', f'b{i}[u]', self.width)};"
            for i, f in enumerate(self.work.folds)
        ]
        stop = f"const int stop = min(top + {length}, below);"
        run = [stop, "int row = top;", *cleared, *self._run("b", "stop"), *joined]
        return block(f"for (int top = above; top < below; top += {length})", run)

    def _run(self, name: str, stop: str) -> list[str]:
        """Rows that go into the accumulators of a name; several at once, where the steps between them are few."""
        place = self.body.statements(2, self._tail)
        level_one = self.body.statements(1)
        offsets = [f"const {self.number} {name} = {text};" for text, name in self._offsets.items()]
        line = f"const {self.number} line = outer * ({self.number}){self.shape[1]} + row"
        folds = list(enumerate(self.work.folds))
        values = [f.widened(self.body.vector(f.value), self.body.dtype(f.value), self.width) for _, f in folds]
        out = []
        if len(self.work.steps) <= LIGHT and self.width > 1:
            together = []
            for r in range(TOGETHER):
                inner = [f"{line} + {r};", *offsets, *level_one, *place]
                inner += [f"y{i}_{r} = {value};" for (i, _), value in zip(folds, values, strict=True)]
                together += [f"{register_type(f.wide, self.width)} y{i}_{r};" for i, f in folds]
                together += ["{", *(f"    {s}" for s in inner), "}"]
            for i, f in folds:
                halves = [f.combined(f"y{i}_{r}", f"y{i}_{r + 1}", self.width) for r in range(0, TOGETHER, 2)]
                own = f"{name}{i}[u]"
                together.append(f"{own} = {f.combined(own, f.combined(halves[0], halves[1], self.width), self.width)};")
            out += block(f"for (; row + {TOGETHER} <= {stop}; row += {TOGETHER})", self._columns(together))
        for (i, f), value in zip(folds, values, strict=True):
            place.append(f"{name}{i}[u] = {f.combined(f'{name}{i}[u]', value, self.width)};")
        rest = [f"{line};", *offsets, *level_one, *self._columns(place)]
        return [*out, *block(f"for (; row < {stop}; ++row)", rest)]

    def _finish(self) -> list[str]:
        """The accumulators as results."""
        out = []
        outer, _, columns = self.shape
        for i, f in enumerate(self.work.folds):
            pointer = self.parameters.name(f.argument, f.dtype)
            self.parameters.written.add(f.argument)
            value = f.finished(f"a{i}[u]", self.width)
            text = store(f.dtype, self.width, pointer, "to + j", value)
            if self._tail:
                text = f"if (whole) {{ {text} }} else {{ {store_tail(f.dtype, self._tail, pointer, 'to + j', value)} }}"
            out.append(text)
        return [f"const {self.number} to = (part * {outer} + outer) * ({self.number}){columns};", *self._columns(out)]
