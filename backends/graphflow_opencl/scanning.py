"""Kernels that walk along one axis in its order: running sums and products, and where the largest element is.

Policy: the axis splits an array into `outer` places, the axis itself, and `inner` neighbours; one item walks one line.
On a CPU an item walks several neighbouring lines at once, row after row, so that memory is read in runs.  A few long
lines are walked in blocks: the totals of all blocks come first, and each block then begins with what is before it.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from graphflow.dtypes import DType, float32
from graphflow_opencl.expressions import expression, literal, load, register_type, storage_type, store
from graphflow_opencl.folds import REDUCTIONS
from graphflow_opencl.registers import held
from graphflow_opencl.table import Launch, Rule, Scratch, Site, rule

CHUNK = 64  # neighbouring lines of an item on a CPU
BLOCK = 4096  # elements of a block of a long line
ENOUGH = 8  # lines for each unit of the device, from which lines are not cut
RUNNING = {"Cumsum": "Sum", "Cumprod": "Prod"}  # the reduction that each is the course of
SOUGHT = {"ArgMax": ">", "ArgMin": "<"}  # how the element that each looks for compares with the others


class Lines(NamedTuple):
    """An array as lines along one axis."""

    outer: int
    length: int
    inner: int

    @property
    def number(self) -> str:
        """The C type of positions."""
        return "int" if self.outer * self.length * self.inner < 2**31 - 2**16 else "long"


def _lines(dims: Sequence[int], axis: int) -> Lines:
    axis %= len(dims)
    return Lines(prod(dims[:axis]), dims[axis], prod(dims[axis + 1 :]))


def _along_lines(make: Callable[[Site, Lines, DType, DType], Sequence[Launch]]) -> Rule:
    """A rule from a function that is asked only about arrays with elements that kernels compute with, and lines."""

    def made(site: Site) -> Sequence[Launch] | None:
        known, output = site.inputs[0].dtype, site.outputs[0]
        doubles = site.traits.doubles or known.name != "float64"
        dims = site.dims_in()
        if output is None or not held(known) or not doubles or not dims:
            return None
        return [] if 0 in dims else make(site, _lines(dims, site.attrs["axis"]), known, output.dtype)

    return made


def _items(site: Site, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    group = 1 if site.traits.schedule == "cpu" else site.traits.group
    return (-(-count // group) * group,), (group,)


# -- running sums and products ---------------------------------------------------------------------------------------

WALK = """__kernel void KERNEL(__global const @S *x, __global @R *y@CARRIES) {
    const @N unit = get_global_id(0);
    if (unit >= @UNITS) return;
    const @N block = unit % @BLOCKS, line = unit / @BLOCKS;
    const @N lane = line % @STRIPES * @CHUNK, outer = line / @STRIPES;
    const int lanes = min((@N)@CHUNK, @INNER - lane);
    const @N base = outer * (@N)@SPAN + lane;
    const int first = block * @BLOCK, last = min(first + @BLOCK, @LENGTH);
    @T sum[@CHUNK];
    for (int l = 0; l < lanes; ++l) { sum[l] = @BEGIN; }
    for (int k = first; k < last; ++k) {
        const @N at = base + (@N)(@PLACE) * @INNER;
        for (int l = 0; l < lanes; ++l) {
            @BODY
        }
    }
    @END
}
"""


def _filled(text: str, **marks: Any) -> str:
    for mark in sorted(marks, key=len, reverse=True):
        text = text.replace(f"@{mark}", str(marks[mark]))
    return text


class _Walk(NamedTuple):
    """What the launches of one running sum share."""

    site: Site
    lines: Lines
    wide: DType
    combine: str
    chunk: int
    block: int

    @property
    def blocks(self) -> int:
        return -(-self.lines.length // self.block)

    def combined(self, a: str, b: str) -> str:
        text = expression(self.combine, {}, (a, b), (self.wide, self.wide), self.wide, 1)
        assert text is not None
        return text

    def launch(self, begin: str, body: str, end: str, arguments: tuple[Any, ...], title: str) -> Launch:
        lines, site = self.lines, self.site
        known, output = site.inputs[0].dtype, site.outputs[0]
        assert output is not None
        stripes = -(-lines.inner // self.chunk)
        units = lines.outer * stripes * self.blocks
        place = f"{lines.length - 1} - k" if site.attrs["reverse"] else "k"
        carries = f", __global {storage_type(self.wide)} *carries" if len(arguments) > 2 else ""
        result = storage_type(self.wide) if isinstance(arguments[1], Scratch) else storage_type(output.dtype)
        source = _filled(
            WALK, S=storage_type(known), R=result, CARRIES=carries, N=lines.number, UNITS=units,
            BLOCKS=self.blocks, STRIPES=stripes, CHUNK=self.chunk, INNER=lines.inner, SPAN=lines.length * lines.inner,
            BLOCK=self.block, LENGTH=lines.length, T=register_type(self.wide, 1), BEGIN=begin, PLACE=place,
            BODY=body, END=end,
        )  # fmt: skip
        writes = tuple(v for v in arguments[1:2] if isinstance(v, int))
        return Launch(source, *_items(site, units), arguments, writes, title)


@rule(*RUNNING)
@_along_lines
def _running(site: Site, lines: Lines, known: DType, made: DType) -> Sequence[Launch]:
    cpu = site.traits.schedule == "cpu"
    many = lines.outer * lines.inner >= ENOUGH * site.traits.units or lines.length <= BLOCK
    wide = float32 if known.is_floating and known.size == 2 else known
    reduction = REDUCTIONS[RUNNING[site.ins.type]]
    running = _Walk(
        site, lines, wide, reduction.combine, min(CHUNK, lines.inner) if cpu else 1, lines.length if many else BLOCK
    )
    neutral = literal(wide, reduction.neutral(wide))
    taken = load(known, 1, "x", "at + l")
    put = store(made, 1, "y", "at + l", "sum[l]")
    add = f"sum[l] = {running.combined('sum[l]', 'next')};"
    element = f"const {register_type(wide, 1)} next = {taken}; "
    walk = element + (f"{put} {add}" if site.attrs["exclusive"] else f"{add} {put}")
    x, y = site.ins.inputs[0], site.ins.outputs[0]
    if many:
        return [running.launch(neutral, walk, "", (x, y), site.ins.type)]
    carries = Scratch(0, running.blocks * lines.outer * lines.inner * wide.size)
    spot = f"(outer * {lines.inner} + lane + l) * {running.blocks}"
    total = f"for (int l = 0; l < lanes; ++l) {store(wide, 1, 'y', f'{spot} + block', 'sum[l]')}"
    one = load(wide, 1, "carries", f"{spot} + b")
    before = f"{neutral}; for (int b = 0; b < block; ++b) sum[l] = {running.combined('sum[l]', one)}"
    return [
        running.launch(neutral, element + add, total, (x, carries), f"{site.ins.type} of blocks"),
        running.launch(before, walk, "", (x, y, carries), site.ins.type),
    ]


# -- where the largest element is ------------------------------------------------------------------------------------

SEARCH = """__kernel void KERNEL(__global const @S *x, __global @R *y) {
    const @N unit = get_global_id(0);
    if (unit >= @UNITS) return;
    const @N lane = unit % @STRIPES * @CHUNK, outer = unit / @STRIPES;
    const int lanes = min((@N)@CHUNK, @INNER - lane);
    const @N base = outer * (@N)@SPAN + lane;
    @T best[@CHUNK];
    @R place[@CHUNK];
    for (int l = 0; l < lanes; ++l) { best[l] = @FIRST; place[l] = 0; }
    for (int k = 1; k < @LENGTH; ++k) {
        const @N at = base + (@N)k * @INNER;
        for (int l = 0; l < lanes; ++l) {
            const @T next = @NEXT;
            const int better = @BETTER;
            best[l] = better ? next : best[l];
            place[l] = better ? k : place[l];
        }
    }
    for (int l = 0; l < lanes; ++l) y[outer * (@N)@INNER + lane + l] = place[l];
}
"""
# A line without neighbours: each lane of a vector keeps its own best, and the first of the best ones wins.
ALONE = """__kernel void KERNEL(__global const @S *x, __global @R *y) {
    const @N unit = get_global_id(0);
    if (unit >= @UNITS) return;
    const @N base = unit * (@N)@LENGTH;
    @T t[@W];
    int p[@W];
    for (int l = 0; l < @W; ++l) p[l] = l;
    @V best = @START;
    @I place = vload@W(0, p), places = place;
    for (int k = @W; k + @W <= @LENGTH; k += @W) {
        places += @W;
        const @V next = @VNEXT;
        const @I better = convert_@I(@VBETTER);
        best = as_@V(better ? as_@B(next) : as_@B(best));
        place = better ? places : place;
    }
    vstore@W(best, 0, t);
    vstore@W(place, 0, p);
    @T top = t[0];
    int found = p[0];
    for (int l = 1; l < @W; ++l) {
        const @T next = t[l];
        if (@SBETTER || (@SAME && p[l] < found)) { top = next; found = p[l]; }
    }
    for (int k = @REST; k < @LENGTH; ++k) {
        const @T next = @NEXT;
        if (@SBETTER) { top = next; found = k; }
    }
    y[unit] = found;
}
"""


def _better(dtype: DType, sign: str, best: str) -> str:
    """Whether `next` beats what was before; the first NaN beats all."""
    if not dtype.is_floating:
        return f"next {sign} {best}"
    return f"((next {sign} {best}) | (next != next)) & ({best} == {best})"


@rule(*SOUGHT)
@_along_lines
def _largest(site: Site, lines: Lines, known: DType, made: DType) -> Sequence[Launch]:
    sign = SOUGHT[site.ins.type]
    width, cpu = site.traits.width, site.traits.schedule == "cpu"
    common: dict[str, Any] = {
        "S": storage_type(known), "R": storage_type(made), "N": lines.number,
        "T": register_type(known, 1), "LENGTH": lines.length,
    }  # fmt: skip
    arguments = site.ins.inputs[0], site.ins.outputs[0]
    if cpu and lines.inner == 1 and lines.length >= 2 * width and known.name == "float32":
        source = _alone(known, lines, sign, width, common)
        return [Launch(source, *_items(site, lines.outer), arguments, arguments[1:], site.ins.type)]
    chunk = min(CHUNK, lines.inner) if cpu else 1
    stripes = -(-lines.inner // chunk)
    source = _filled(
        SEARCH, **common, UNITS=lines.outer * stripes, STRIPES=stripes, CHUNK=chunk, INNER=lines.inner,
        SPAN=lines.length * lines.inner, FIRST=load(known, 1, "x", "base + l"),
        NEXT=load(known, 1, "x", "at + l"), BETTER=_better(known, sign, "best[l]"),
    )  # fmt: skip
    return [Launch(source, *_items(site, lines.outer * stripes), arguments, arguments[1:], site.ins.type)]


def _alone(dtype: DType, lines: Lines, sign: str, width: int, common: dict[str, Any]) -> str:
    return _filled(
        ALONE, **common, UNITS=lines.outer, W=width, V=f"float{width}", I=f"int{width}", B=f"int{width}",
        START=load(dtype, width, "x", "base"), VNEXT=load(dtype, width, "x", "base + k"),
        VBETTER=_better(dtype, sign, "best"), SBETTER=f"({_better(dtype, sign, 'top')})",
        SAME="(next == top || (next != next && top != top))", REST=lines.length // width * width,
        NEXT=load(dtype, 1, "x", "base + k"),
    )  # fmt: skip
