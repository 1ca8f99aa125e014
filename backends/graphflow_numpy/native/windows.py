"""Native convolutions over images and both of their gradients, as tiles over the images themselves.

Policy: the input is padded once with zeros, if it has to be; nothing is unrolled.  Along a row of the image the
elements under one row of the window lie side by side, so each output is a short nest of sums (see `tiles`).  The
gradient with respect to the input is a convolution of the padded output gradient with the turned filter; that with
respect to the filter sums over all pixels, image after image, each thread for some rows of the filter.  Channels come
last; strided convolutions leave the gradient with respect to the input to NumPy.

State: none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphflow.numerics.windows import AxisWindow, window_axes
from graphflow.program import Instruction
from graphflow_numpy.native import tiles
from graphflow_numpy.native.calls import CALL, ELEMENT, Call, Scope, maker
from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder
from graphflow_numpy.native.matmul import OWN_FLOPS
from graphflow_numpy.native.nests import BYTES, LLVM, Body, Index
from graphflow_numpy.native.tiles import Columns, Inner, Operands
from graphflow_numpy.native.turning import Matrices, turn_call

FEW_ROWS = 6  # filter rows side by side, below which a tile takes rows from several places
PIXELS = 512  # pixels that are summed before their sum is added to the gradient of the filter


class Axis(NamedTuple):
    """One spatial axis of a padded image: elements before it, of it and in all; the window's steps."""

    before: int
    size: int
    padded: int
    stride: int
    taps: int
    dilation: int
    out: int


class Conv(NamedTuple):
    """All that the code of a convolution depends on."""

    dtype: str
    images: int
    rows: Axis
    columns: Axis
    channels: int
    filters: int

    @property
    def image(self) -> int:
        """Elements of a padded image."""
        return self.rows.padded * self.line

    @property
    def line(self) -> int:
        """Elements of a row of a padded image."""
        return self.columns.padded * self.channels

    @property
    def pads(self) -> bool:
        """Whether the padded image is another one than the image."""
        return any(a.before or a.padded != a.size for a in (self.rows, self.columns))

    @property
    def seconds(self) -> float:
        """Estimated, on one core."""
        out = self.images * self.rows.out * self.columns.out * self.filters
        return CALL + 2 * OWN_FLOPS * out * self.rows.taps * self.columns.taps * self.channels


def _axis(w: AxisWindow) -> Axis:
    reach = (w.out - 1) * w.stride + (w.kernel - 1) * w.dilation + 1
    padded = w.size if not w.before and reach <= w.size else max(reach, w.before + w.size)
    return Axis(w.before, w.size, padded, w.stride, w.kernel, w.dilation, w.out)


def _windows(scope: Scope, ins: Instruction, x: Sequence[int], kernel: Sequence[int]) -> list[AxisWindow] | None:
    """The windows of both axes, where the native code covers them."""
    attrs = ins.attrs
    if attrs["data_format"] != "NHWC" or len(x) != 4:
        return None
    found = window_axes(x[1:3], kernel, attrs["strides"], attrs["dilations"], attrs["padding"])
    return list(found) if all(w.out > 0 for w in found) else None


def _padding(scope: Scope, c: Conv, x: int) -> tuple[list[Call], int]:
    """What makes the padded image, and its value."""
    if not c.pads:
        return [], x
    known = scope.values[x]
    padded = scope.temporary(known.dtype, (c.images, c.rows.padded, c.columns.padded, c.channels))
    key = ("pad", c.dtype, c.images, c.rows[:3], c.columns[:3], c.channels)
    return [Call(key, _pad(c), (x,), (padded,), CALL + 2 * c.images * c.image * ELEMENT)], padded


def _pad(c: Conv) -> Build:
    """Images with zeros around them."""
    of = LLVM[c.dtype]

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        source, target = body.pointer(0), body.pointer(1)
        size = BYTES[of]
        width, line = c.columns.size * c.channels, c.line
        left = c.columns.before * c.channels

        def image(n: Index) -> None:
            out = body.at(target, of, body.mul(n, c.image))
            here = body.at(source, of, body.mul(n, c.rows.size * width))
            body.clear(out, (c.rows.before * line + left) * size)
            between = (line - width) * size

            def row(y: Index) -> None:
                place = body.at(out, of, body.add(body.mul(body.add(y, c.rows.before), line), left))
                body.copy(place, body.at(here, of, body.mul(y, width)), width * size)
                if between:
                    body.clear(body.at(place, of, width), between)

            body.loop(0, c.rows.size, 1, row)
            done = (c.rows.before + c.rows.size) * line + left
            if done < c.image:
                body.clear(body.at(out, of, done), (c.image - done) * size)

        body.loop("%begin", "%end", 1, image)
        symbol = module.symbol("pad")
        body.finish(symbol)
        return Entry(symbol, c.images)

    return build


# -- forward, and the gradient with respect to the input -------------------------------------------------------------


@maker("Conv2D")
def _forward(scope: Scope, ins: Instruction) -> list[Call] | None:
    x, w = ins.inputs
    kernel = scope.dims(w)
    found = _windows(scope, ins, scope.dims(x), kernel[:2])
    if found is None or scope.dtype(x) not in ("float32", "float64"):
        return None
    n, _, _, channels = scope.dims(x)
    if kernel[2] != channels:
        return None
    c = Conv(scope.dtype(x), n, _axis(found[0]), _axis(found[1]), channels, kernel[3])
    before, padded = _padding(scope, c, x)
    nest = (
        Inner(c.rows.taps, c.rows.dilation * c.line, c.columns.taps * channels * c.filters),
        Inner(c.columns.taps, c.columns.dilation * channels, channels * c.filters),
        Inner(channels, 1, c.filters),
    )
    return [*before, Call(("conv", c), _correlate(c, nest, 0), (padded, w), ins.outputs, c.seconds)]


@maker("Conv2DBackpropInput")
def _input_gradient(scope: Scope, ins: Instruction) -> list[Call] | None:
    _, w, dy = ins.inputs
    dx = ins.outputs[0]
    height, width, channels, filters = scope.dims(w)
    found = _windows(scope, ins, scope.dims(dx), (height, width))
    if found is None or scope.dtype(dy) not in ("float32", "float64") or any(a.stride != 1 for a in found):
        return None
    axes = []
    for a in found:
        margin = (a.kernel - 1) * a.dilation - a.before
        if margin < 0:
            return None
        reach = a.size + (a.kernel - 1) * a.dilation
        axes.append(Axis(margin, a.out, max(reach, margin + a.out), 1, a.kernel, a.dilation, a.size))
    c = Conv(scope.dtype(dy), scope.dims(dy)[0], axes[0], axes[1], filters, channels)
    before, padded = _padding(scope, c, dy)
    turned = scope.temporary(scope.values[w].dtype, (height, width, filters, channels))
    turning = turn_call(w, turned, Matrices(c.dtype, height * width, channels, filters))
    size = channels * filters
    nest = (
        Inner(height, c.rows.dilation * c.line, -width * size),
        Inner(width, c.columns.dilation * filters, -size),
        Inner(filters, 1, channels),
    )
    build = _correlate(c, nest, (height * width - 1) * size)
    return [*before, turning, Call(("conv input", c), build, (padded, turned), ins.outputs, c.seconds)]


def _correlate(c: Conv, nest: Sequence[Inner], first: int) -> Build:
    """A row of outputs a unit; the filter's element for the first window position is at `first`."""
    of = LLVM[c.dtype]

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        x, w, out = (body.pointer(k) for k in range(3))
        w = body.at(w, of, first)
        step = c.columns.stride * c.channels

        def row(u: Index) -> None:
            n, y = body.divmod(u, c.rows.out)
            left = body.at(x, of, body.add(body.mul(n, c.image), body.mul(y, c.rows.stride * c.line)))
            here = body.at(out, of, body.mul(u, c.columns.out * c.filters))
            for start, columns in tiles.column_blocks(c.filters, of, tiles.VECTORS):
                blocks = tiles.even_blocks(c.columns.out, tiles.registers() // columns.vectors)
                size = blocks[0][1]
                whole = sum(1 for _, count in blocks if count == size) * size

                def pixels(at: Index, count: int = size, start: int = start, columns: Columns = columns) -> None:
                    place = Operands(
                        of,
                        body.at(left, of, body.mul(at, step)),
                        body.at(w, of, start),
                        body.at(here, of, body.add(body.mul(at, c.filters), start)),
                        tuple([p * step for p in range(count)]),
                        tuple([p * c.filters for p in range(count)]),
                        columns,
                    )
                    tiles.tile(body, place, nest)

                body.loop(0, whole, size, pixels)
                if whole < c.columns.out:
                    pixels(whole, c.columns.out - whole)

        body.loop("%begin", "%end", 1, row)
        symbol = module.symbol("conv")
        body.finish(symbol)
        return Entry(symbol, c.images * c.rows.out)

    return build


# -- the gradient with respect to the filter -------------------------------------------------------------------------


@maker("Conv2DBackpropFilter")
def _filter_gradient(scope: Scope, ins: Instruction) -> list[Call] | None:
    x, _, dy = ins.inputs
    height, width, channels, filters = scope.dims(ins.outputs[0])
    found = _windows(scope, ins, scope.dims(x), (height, width))
    if found is None or scope.dtype(x) not in ("float32", "float64"):
        return None
    c = Conv(scope.dtype(x), scope.dims(x)[0], _axis(found[0]), _axis(found[1]), channels, filters)
    before, padded = _padding(scope, c, x)
    return [*before, Call(("conv filter", c), _filter(c), (padded, dy), ins.outputs, c.seconds)]


def _filter_rows(c: Conv) -> tuple[list[int], int]:
    """Where each row of the filter reads in the image, and how many of them read side by side."""
    offsets = [
        i * c.rows.dilation * c.line + j * c.columns.dilation * c.channels + k
        for i in range(c.rows.taps)
        for j in range(c.columns.taps)
        for k in range(c.channels)
    ]
    return offsets, c.channels * (c.columns.taps if c.columns.dilation == 1 else 1)


def _filter(c: Conv) -> Build:
    of = LLVM[c.dtype]
    offsets, run = _filter_rows(c)
    blocks = tiles.column_blocks(c.filters, of, tiles.VECTORS)
    most = tiles.registers() // blocks[0][1].vectors
    if run < FEW_ROWS:
        cuts = tiles.even_blocks(len(offsets), most)
    else:
        cuts = [
            (first + at, count) for first in range(0, len(offsets), run) for at, count in tiles.even_blocks(run, most)
        ]
    at_once = max(
        d for d in range(1, c.images + 1) if c.images % d == 0 and (d == 1 or d * c.rows.out * c.columns.out <= PIXELS)
    )
    pixels = c.rows.out * c.columns.out * c.filters
    nest = (
        Inner(at_once, c.image, pixels),
        Inner(c.rows.out, c.rows.stride * c.line, c.columns.out * c.filters),
        Inner(c.columns.out, c.columns.stride * c.channels, c.filters),
    )

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        x, dy, out = (body.pointer(k) for k in range(3))

        def images(n: Index) -> None:
            left = body.at(x, of, body.mul(n, at_once * c.image))
            right = body.at(dy, of, body.mul(n, at_once * pixels))
            add: bool | str = c.images > at_once and body.let(f"icmp ne i64 {n}, 0")

            def rows(first: Index, reads: Index, shape: tuple[int, ...]) -> None:
                for start, columns in blocks:
                    place = Operands(
                        of,
                        body.at(left, of, reads),
                        body.at(right, of, start),
                        body.at(out, of, body.add(body.mul(first, c.filters), start)),
                        shape,
                        tuple([k * c.filters for k in range(len(shape))]),
                        columns,
                    )
                    tiles.tile(body, place, nest, add)

            if run < FEW_ROWS:
                body.loop("%begin", "%end", 1, lambda u: _static_rows(body, u, cuts, offsets, rows))
            else:
                body.loop("%begin", "%end", 1, lambda u: _rows_side_by_side(body, u, c, run, most, rows))

        body.loop(0, c.images // at_once, 1, images)
        symbol = module.symbol("conv_filter")
        body.finish(symbol)
        return Entry(symbol, len(cuts))

    return build


Rows = Callable[[Index, Index, tuple[int, ...]], None]  # first row, where it reads, and the others relative to that


def _static_rows(body: Body, u: Index, cuts: Sequence[tuple[int, int]], offsets: Sequence[int], rows: Rows) -> None:
    """One unit of few: each has code of its own."""
    for number, (first, count) in enumerate(cuts):
        mine = tuple([o - offsets[first] for o in offsets[first : first + count]])
        body.when(body.let(f"icmp eq i64 {u}, {number}"), functools.partial(rows, first, offsets[first], mine))


def _rows_side_by_side(body: Body, u: Index, c: Conv, run: int, most: int, rows: Rows) -> None:
    """One unit of many, all with the same code but for the last of each run."""
    cuts = tiles.even_blocks(run, most)
    size, rest = cuts[0][1], cuts[-1][1]
    group, block = body.divmod(u, len(cuts))
    at = body.mul(block, size)
    if c.columns.dilation == 1:
        reads = body.mul(group, c.rows.dilation * c.line)
    else:
        i, j = body.divmod(group, c.columns.taps)
        reads = body.add(body.mul(i, c.rows.dilation * c.line), body.mul(j, c.columns.dilation * c.channels))
    first, reads = body.add(body.mul(group, run), at), body.add(reads, at)
    if rest == size:
        rows(first, reads, tuple(range(size)))
        return
    last = len(cuts) - 1
    body.when(body.let(f"icmp slt i64 {block}, {last}"), lambda: rows(first, reads, tuple(range(size))))
    body.when(body.let(f"icmp eq i64 {block}, {last}"), lambda: rows(first, reads, tuple(range(rest))))
