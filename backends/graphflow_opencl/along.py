"""Passes along the innermost dim: whatever is pointwise, and reductions of which the innermost dim is a part.

Policy: a *line* is one run of the innermost dim; the outer dims that are kept come before those that are reduced, so
that a *segment*, consecutive lines, gives one result.  A unit of work is some whole segments, or a part of one, whose
result a second launch makes of the parts, in their order.  A work-item does one unit; on a GPU several items, its
lanes, do one that reduces, and meet in a tree.  Sums are made of short runs, so that their error stays small.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any, NamedTuple

from graphflow_opencl.bodies import Body, Parameters, Placing, Read, Work
from graphflow_opencl.expressions import register_type, store
from graphflow_opencl.folds import Fold
from graphflow_opencl.index_space import collapsed, index_type, offset, permuted
from graphflow_opencl.sizing import along_lines, width_for
from graphflow_opencl.table import Launch, Scratch, Traits
from graphflow_opencl.tails import only_first
from graphflow_opencl.text import block, launch_of

RUN = 32  # vectors of a lane that are added up before they join the rest
LIGHT, MIDDLING = 2, 24  # steps: of a pass that waits for each addition, and of the longest that has registers to spare
# How many vectors are done at once in passes of up to so many steps, and the fewest turns for which that is worth it.
UNROLLED = (LIGHT, 4, 2), (MIDDLING, 2, 8)
FEW = 2  # vectors of a line, below which lines are not worth a loop of their own


class Lines(NamedTuple):
    """The space of a pass, as lines."""

    outer: tuple[int, ...]
    length: int
    strides: dict[Any, tuple[int, ...]]  # of the outer dims, by value or by where a store goes
    inner: dict[Any, int]  # the innermost stride
    segments: int
    per_segment: int  # lines
    gathered: dict[Any, Callable[[str], str]]  # values whose neighbours are elsewhere: their place by an element's


def lines_of(work: Work, width: int) -> Lines:
    """The lines of a pass."""
    operands: dict[Any, tuple[int, ...]] = {v: read.dims for v, read in work.reads.items() if read.argument is not None}
    operands.update((("store", v, a), work.dims) for v, a in work.stores)
    space = collapsed(work.dims, [*operands.values(), *(f.kept for f in work.folds)])
    if not space.dims:
        space = collapsed((2,), [(1,)] * len(space.strides))._replace(dims=(1,))
    reduced = [bool(work.folds) and not s for s in (space.strides[-1] if work.folds else space.dims)]
    rank = len(space.dims)
    keys = list(operands)
    if rank > 1 and space.dims[-1] < FEW * width and (not work.folds or all(reduced)):
        return _as_one_line(keys, space.dims, space.strides)
    space = permuted(space, [*sorted(range(rank - 1), key=lambda i: reduced[i]), rank - 1])
    reduced[:-1] = sorted(reduced[:-1])
    outer = space.dims[:-1]
    per_segment = prod(d for d, gone in zip(outer, reduced, strict=False) if gone)
    return Lines(
        outer,
        space.dims[-1],
        {k: s[:-1] for k, s in zip(keys, space.strides, strict=False)},
        {k: s[-1] for k, s in zip(keys, space.strides, strict=False)},
        prod(outer) // per_segment if per_segment else 1,
        per_segment,
        {},
    )


def _as_one_line(keys: list[Any], dims: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> Lines:
    """All of the space as one line; what broadcasts is picked up element by element."""
    full = tuple(prod(dims[i + 1 :]) for i in range(len(dims)))
    gathered: dict[Any, Callable[[str], str]] = {}
    inner = {}
    for key, own in zip(keys, strides, strict=False):
        inner[key] = 1 if any(own) else 0
        if any(own) and own != full:
            gathered[key] = partial(offset, dims=dims, strides=own)
    return Lines((), prod(dims), dict.fromkeys(keys, ()), inner, 1, 1, gathered)


def along(work: Work, traits: Traits, scratch: Iterator[int], checks: bool = True, whole: bool = False) -> list[Launch]:
    """The launches of a pass; `whole` forbids parts of segments."""
    lines = lines_of(work, width_for(work, traits, prod(work.dims)))
    writer = _Writer(work, traits, lines, whole)
    if writer.sizing.parts == 1 or not work.folds:
        return [writer.launch(checks)]
    parts = tuple(f.unfinished(Scratch(next(scratch), writer.sizing.units * f.wide.size)) for f in work.folds)
    writer.work = work._replace(folds=parts)
    return [writer.launch(checks), *along(_rest(work, parts, writer), traits, scratch, False, True)]


def _rest(work: Work, parts: tuple[Fold, ...], writer: _Writer) -> Work:
    """The pass that makes the results of the parts."""
    dims = writer.lines.segments, writer.sizing.parts
    reads = {-1 - i: Read(part.argument, part.wide, dims) for i, part in enumerate(parts)}
    folds = tuple(f.of_parts(-1 - i, (dims[0], 1)) for i, f in enumerate(work.folds))
    dtypes = {v: read.dtype for v, read in reads.items()}
    return Work(dims, reads, (), dtypes, (), folds, f"the rest of {work.title}")


class _Writer:
    """The text of one launch."""

    def __init__(self, work: Work, traits: Traits, lines: Lines, whole: bool) -> None:
        self.work, self.traits, self.lines = work, traits, lines
        self.width = width_for(work, traits, lines.length)
        shape = lines.segments, lines.per_segment, lines.length
        self.sizing = along_lines(work, traits, shape, self.width, whole)
        self.step = self.width * self.sizing.lanes
        self.number = index_type(prod(work.dims), *(prod(r.dims) for r in work.reads.values()))
        self.parameters = Parameters()
        self._offsets: dict[str, str] = {}  # text -> the variable's name

    def launch(self, checks: bool) -> Launch:
        """The launch."""
        self.body = Body(self.work, self._placing(), self.width, self.parameters, checks)
        line = self._line()
        statements = [*self.body.statements(0), *self._segments(line)]
        trees = [
            f"__local {register_type(f.wide, 1)} tree{i}[{self.traits.group}];"
            for i, f in enumerate(self.work.folds)
            if self.sizing.lanes > 1
        ]
        return launch_of(
            self.work, self.parameters, statements, self.sizing.units, self.traits, self.sizing.lanes, trees
        )

    # -- where elements stand --------------------------------------------------------------------------------------

    def _placing(self) -> Placing:
        levels = {}
        for v, read in self.work.reads.items():
            levels[v] = 0
            if read.argument is not None:
                levels[v] = 2 if self.lines.inner[v] else 1 if any(self.lines.strides[v]) else 0
        return Placing(levels, self._index, self.lines.gathered)

    def _index(self, key: Any) -> str:
        text = offset("line", self.lines.outer, self.lines.strides[key])
        if text == "0":
            return "j" if self.lines.inner[key] else "0"
        name = self._offsets.setdefault(text, f"o{len(self._offsets)}")
        return f"{name} + j" if self.lines.inner[key] else name

    # -- loops -----------------------------------------------------------------------------------------------------

    def _line(self) -> list[str]:
        """What is done with one line, from `from` to `to`."""
        sizing = self.sizing
        if not self.work.folds:
            head = f"for ({self.number} j = first; j < last; j += {self.width})"
            return block(head, self._place(0, "last - j"))
        unrolled = self._unrolled()
        run = RUN * self.step * unrolled
        out = [self._accumulator(f"b{i}_{u}", f) for i, f in enumerate(self.work.folds) for u in range(unrolled)]
        lane = f" + lane * {self.width}" if sizing.lanes > 1 else ""
        head = f"{self.number} i = start{lane};"
        out.append(head)
        if unrolled > 1:
            copies = []
            for u in range(unrolled):
                copies += ["{", f"    const {self.number} j = i + {u * self.width};"]
                copies += [f"    {s}" for s in self._place(u)] + ["}"]
            out += block(f"for (; i + {unrolled * self.step} <= stop; i += {unrolled * self.step})", copies)
        if unrolled == 1 or sizing.run % (unrolled * self.step) or self.lines.length % (unrolled * self.step):
            rest = [f"const {self.number} j = i;", *self._place(0, "stop - j")]
            out += block(f"for (; i < stop; i += {self.step})", rest)
        for i, f in enumerate(self.work.folds):
            for u in range(unrolled):
                out.append(f"a{i} = {f.combined(f'a{i}', f'b{i}_{u}', self.width)};")
        if sizing.run <= run:
            return [f"const {self.number} start = first, stop = last;", *out]
        head = f"for ({self.number} start = first; start < last; start += {run})"
        return block(head, [f"const {self.number} stop = min(start + {run}, last);", *out])

    def _unrolled(self) -> int:
        """How many vectors are done at once: more of them hide how long each takes, if it is worth the text."""
        steps, sizing = len(self.work.steps), self.sizing
        if sizing.lanes > 1 or self.traits.schedule != "cpu" and steps > LIGHT:
            return 1
        for most, wanted, turns in UNROLLED:
            if steps <= most:
                return wanted if sizing.run >= turns * wanted * self.step else 1
        return 1

    def _place(self, unrolled: int, left: str = "") -> list[str]:
        """What is done at one place; `left` is how many elements there are, if they may be less than a vector."""
        tail = self.lines.length % self.width if left else 0
        out = [f"const int whole = {left} >= {self.width};"] if tail else []
        out += self.body.statements(2, tail)
        for i, f in enumerate(self.work.folds):
            value = f.widened(self.body.vector(f.value), self.body.dtype(f.value), self.width)
            register = register_type(f.wide, self.width)
            out.append(f"{register} x{i} = {value};")
            if tail:
                out.append(f"if (!whole) x{i} = {only_first(f.wide, self.width, tail, f'x{i}', f.neutral)};")
            name = f"b{i}_{unrolled}"
            out.append(f"{name} = {f.combined(name, f'x{i}', self.width)};")
        return out

    def _accumulator(self, name: str, f: Fold) -> str:
        register = register_type(f.wide, self.width)
        return f"{register} {name} = ({register})({f.neutral});"

    def _segments(self, line: list[str]) -> list[str]:
        """The loops over segments and lines around what is done with one line."""
        sizing, lines = self.sizing, self.lines
        level_one = self.body.statements(1)  # asks for offsets, so it comes before them
        inner = [f"const {self.number} {name} = {text};" for text, name in self._offsets.items()]
        inner += [*level_one, *line]
        run = [f"const {self.number} first = 0, last = {lines.length};"]
        if sizing.run < lines.length:
            run = [
                f"const {self.number} first = part * ({self.number}){sizing.run};",
                f"const {self.number} last = min(first + {sizing.run}, ({self.number}){lines.length});",
            ]
        inner = [*run, *inner]
        if lines.per_segment > 1:
            begin, end = "0", str(lines.per_segment)
            if sizing.lines < lines.per_segment:
                begin, end = f"part * {sizing.lines}", f"min(part * {sizing.lines} + {sizing.lines}, {end})"
            inner = [f"const {self.number} line = segment * ({self.number}){lines.per_segment} + row;", *inner]
            inner = block(f"for (int row = {begin}; row < {end}; ++row)", inner)
        else:
            inner = [f"const {self.number} line = segment;", *inner]
        finish = self._finish()
        inner = [*(self._accumulator(f"a{i}", f) for i, f in enumerate(self.work.folds)), *inner]
        return self._units([*inner, *finish[0]], finish[1])

    def _units(self, inner: list[str], after: list[str]) -> list[str]:
        sizing, lines = self.sizing, self.lines
        if sizing.parts > 1:
            head = [f"const int segment = unit / {sizing.parts}, part = unit % {sizing.parts};"]
            return self._guarded([*head, *inner], after)
        if sizing.segments == 1:
            return self._guarded(["const int segment = unit;", *inner], after)
        end = f"min((int)(unit * {sizing.segments} + {sizing.segments}), {lines.segments})"
        return block(f"for (int segment = unit * {sizing.segments}; segment < {end}; ++segment)", [*inner, *after])

    def _guarded(self, inner: list[str], after: list[str]) -> list[str]:
        """Lanes without a unit of their own only take part in the barriers."""
        if self.sizing.lanes == 1:
            return [*inner, *after]
        return [*block(f"if (unit < {self.sizing.units})", inner), *after]

    # -- results ---------------------------------------------------------------------------------------------------

    def _finish(self) -> tuple[list[str], list[str]]:
        """How accumulators become results: what is done for each segment, and what after it by all lanes."""
        out: list[str] = []
        for i, f in enumerate(self.work.folds):
            name, width = f"a{i}", self.width
            while width > 1:
                width //= 2
                half = f"h{i}_{width}"
                out.append(f"{register_type(f.wide, width)} {half} = {f.combined(f'{name}.lo', f'{name}.hi', width)};")
                name = half
            if self.sizing.lanes == 1:
                out.append(self._result(f, name))
            else:
                out.append(f"tree{i}[item] = {name};")
        if self.sizing.lanes == 1 or not self.work.folds:
            return out, []
        joined = [
            f"tree{i}[item] = {f.combined(f'tree{i}[item]', f'tree{i}[item + n]', 1)};"
            for i, f in enumerate(self.work.folds)
        ]
        tree = block(
            f"for (int n = {self.sizing.lanes // 2}; n > 0; n /= 2)",
            ["barrier(CLK_LOCAL_MEM_FENCE);", *block(f"if (lane < n && unit < {self.sizing.units})", joined)],
        )
        results = [self._result(f, f"tree{i}[item]") for i, f in enumerate(self.work.folds)]
        return out, [*tree, *block(f"if (lane == 0 && unit < {self.sizing.units})", results)]

    def _result(self, f: Fold, name: str) -> str:
        pointer = self.parameters.name(f.argument, f.dtype)
        self.parameters.written.add(f.argument)
        index = "unit" if self.sizing.lanes > 1 or self.sizing.parts > 1 else "segment"
        return store(f.dtype, 1, pointer, index, f.finished(name, 1))
