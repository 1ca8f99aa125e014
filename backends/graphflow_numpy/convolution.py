"""Convolutions of any spatial rank on NumPy arrays: forward, and both gradients.

Policy: one lowering serves every rank, stride, dilation and padding. Patches of the input are laid out as
matrix rows and multiplied with the filter by BLAS. Where it pays, only the other spatial axes are unrolled:
along the last one neighbouring patches overlap in memory, a strided view takes the place of a copy, and taps that
lie beside the image are left out of the product.  The work goes through a scratch buffer of bounded size, a part of
the result at a time; groups of parts may be computed side by side.  The gradient with respect to the input is itself
made of convolutions of stride one, so it reuses the forward kernel.

Kernels work channels last, compute float16 and bfloat16 in float32 and never write to an argument.  Each comes as a
function that returns a fresh array, and as `*_into`, which writes into memory that is given.  How the work is cut
depends on shapes alone; partial sums are added in a fixed order.

State: a bounded cache of geometry.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import product
from math import gcd, prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from graphflow.numerics.windows import AxisWindow, Padding, channels_last_sizes, own_sizes, taps_of, window_axes
from graphflow_numpy.sharing import share
from graphflow_numpy.windows import Array, Part, Scratch, channels_last, parts, pieces, require, restore, working

if TYPE_CHECKING:
    from typing_extensions import Unpack

# With fewer rows per matrix product, one product over copied patches beats many small ones.
MIN_ROWS = 96
# With fewer columns in a product, patches over padding are multiplied like any others.
FEW_TAPS = 64
# What the sums of all pieces for a filter's gradient may take, and the products that are added to one of them.
PARTIAL_BYTES = 32 << 20
PRODUCTS_BYTES = 1 << 16
# Scratch that is rather cleared as a whole than strip by strip.
SMALL_BYTES = 1 << 19
FLOPS = 4e10  # of one core in a second, about


class Sliding(TypedDict):
    """The attributes that all convolutions have: how their windows slide over the input."""

    strides: Sequence[int]
    padding: Padding
    data_format: str
    dilations: Sequence[int]


# --- patches as matrix rows ---


def _slides(axes: Sequence[AxisWindow], part: Part, min_rows: int) -> bool:
    """Whether patches along the last axis shall be overlapping views (many rows each) rather than copies."""
    *others, last = axes
    if last.kernel == 1 or last.dilation > 1:
        return False
    return _images(part) * _rows(part) * prod(axis.out for axis in others[1:]) >= min_rows


def _images(part: Part) -> int:
    return int(part.images.stop - part.images.start)


def _rows(part: Part) -> int:
    return int(part.rows.stop - part.rows.start)


def _restricted(axes: Sequence[AxisWindow], rows: slice) -> Sequence[AxisWindow]:
    """The windows of some outputs of the first axis only."""
    first, *rest = axes
    before = first.before - rows.start * first.stride
    return (first._replace(before=before, out=rows.stop - rows.start), *rest)


def _unrolled(x: Array, axes: Sequence[AxisWindow], scratch: Scratch) -> Array:
    """The images as (image, *outputs, *taps, channels)."""
    if all(axis == AxisWindow(axis.size, 1, 1, 1, 0, axis.size) for axis in axes):
        return np.ascontiguousarray(x).reshape(*x.shape[:-1], *(1,) * len(axes), x.shape[-1])
    outs, kernel = [axis.out for axis in axes], [axis.kernel for axis in axes]
    low = scratch.array((len(x), *outs, *kernel, x.shape[-1]), x.dtype)
    clean = low.nbytes <= SMALL_BYTES
    if clean:
        low.fill(0)
    # All channels of a pixel as one element: NumPy then copies them by one call of memcpy.
    pixel = f"V{x.shape[-1] * x.itemsize}" if x.flags.c_contiguous else None
    pixels, pixels_low = (x, low) if pixel is None else (x.view(pixel)[..., 0], low.view(pixel)[..., 0])
    everything = (slice(None),) * (1 + len(axes))
    for position in product(*map(range, kernel)):
        place: Any = (*everything, *position)
        slot = low[place]
        pairs = [taps_of(axis)[j] for axis, j in zip(axes, position, strict=True)]
        if all(target.stop for target, _ in pairs):
            reached, read = (slice(None), *(p[0] for p in pairs)), (slice(None), *(p[1] for p in pairs))
            pixels_low[place][reached] = pixels[read]
        elif not clean:
            slot[...] = 0
            continue
        for axis, (target, _) in enumerate(() if clean else pairs):  # where the window lies over padding
            if target.start:
                slot[(*everything[: axis + 1], slice(0, target.start))] = 0
            if target.stop < outs[axis]:
                slot[(*everything[: axis + 1], slice(target.stop, None))] = 0
    return low


class _Product(NamedTuple):
    """Patches as matrices (group, row, column), and with what they make which columns of the result.

    Without sliding a single group makes all columns.
    """

    patches: Array
    filter: slice  # rows of the filter's matrix
    outputs: slice


def _products(x: Array, axes: Sequence[AxisWindow], sliding: bool, scratch: Scratch) -> list[_Product]:
    """The matrix products that make the result of some images."""
    if not sliding:
        low = _unrolled(x, axes, scratch)
        columns = prod(low.shape[1 + len(axes) :])
        return [_Product(low.reshape(1, -1, columns), slice(0, columns), slice(0, 1))]
    *others, last = axes
    if prod(axis.kernel for axis in axes) * x.shape[-1] <= FEW_TAPS:  # leaving some out costs more than it saves
        last = last._replace(size=(last.out - 1) * last.stride + last.kernel, before=0)
    low = _unrolled(x, (*others, AxisWindow(axes[-1].size, 1, 1, 1, axes[-1].before - last.before, last.size)), scratch)
    width, item = prod(low.shape[1 + len(axes) :]), low.itemsize  # of one column of the image
    rows, row = low.size // (last.size * width), last.size * width * item
    found = []
    for first, stop, begin, end in _columns(last):
        start = (begin * last.stride - last.before + first) * width * item if first < stop else 0
        shape = (end - begin, rows, (stop - first) * width)
        patches: Array = np.ndarray(shape, low.dtype, low, start, (last.stride * width * item, row, item))
        found.append(_Product(patches, slice(first * width, stop * width), slice(begin, end)))
    return found


@functools.lru_cache(1024)
def _columns(axis: AxisWindow) -> Sequence[tuple[int, int, int, int]]:
    """Runs of outputs whose windows have the same taps inside the image: first tap, last, first output, last."""
    found: list[tuple[int, int, int, int]] = []
    for o in range(axis.out):
        start = o * axis.stride - axis.before
        first = max(0, -start)
        stop = max(first, min(axis.kernel, axis.size - start))
        if found and found[-1][:2] == (first, stop):
            found[-1] = (*found[-1][:3], o + 1)
        else:
            found.append((first, stop, o, o + 1))
    return found


def _seconds(axes: Sequence[AxisWindow], batch: int, channels: int, filters: int) -> float:
    """What the products of a convolution take on one core, about."""
    return 2 * batch * channels * filters * prod(axis.out * axis.kernel for axis in axes) / FLOPS


def _parts(x: Array, axes: Sequence[AxisWindow], seconds: float, min_rows: int) -> tuple[list[Part], bool]:
    """The parts of the result, and whether patches slide."""
    *others, last = axes
    pixel = x.shape[-1] * x.itemsize
    if others:
        column = pixel * last.size * prod(axis.out for axis in others[1:]) * prod(axis.kernel for axis in others)
        found = parts(len(x), axes[0].out, column, seconds)
    else:
        found = [Part(p.images, slice(0, 1)) for p in parts(len(x), 1, pixel * last.size, seconds)]
    if found and _slides(axes, found[0], min_rows):
        return (found, True) if others else ([Part(p.images, slice(0, last.out)) for p in found], True)
    row = pixel * prod(axis.out for axis in axes[1:]) * prod(axis.kernel for axis in axes)
    return parts(len(x), axes[0].out, row, seconds), False


def _matrix(w: Array, sliding: bool) -> Array:
    """The filter as a matrix whose rows come in the order of the patches' columns."""
    return (np.moveaxis(w, -3, 0) if sliding else w).reshape(-1, w.shape[-1])


def _grouped(y: Array, part: Part, groups: int) -> Array:
    """A view (group, row, filter) of contiguous outputs that matches the patches' matrices."""
    found = y[part.images, part.rows]
    return found.reshape(-1, groups, y.shape[-1]).swapaxes(0, 1)


def _correlate(x: Array, w: Array, axes: Sequence[AxisWindow], out: Array) -> None:
    if not (x.size and w.size and out.size):
        out[...] = 0
        return
    seconds = _seconds(axes, len(x), *w.shape[-2:])
    found, sliding = _parts(x, axes, seconds, MIN_ROWS)
    matrix = (np.moveaxis(w, -3, 0) if sliding else w).reshape(-1, w.shape[-1])
    groups = pieces(found, seconds)

    def work(number: int) -> None:
        with Scratch("patches") as scratch:
            for part in groups[number]:
                target = _grouped(out, part, axes[-1].out if sliding else 1)
                for patches, rows, outputs in _products(x[part.images], _restricted(axes, part.rows), sliding, scratch):
                    if rows.start < rows.stop:
                        np.matmul(patches, matrix[rows], target[outputs])
                    else:  # windows that lie beside the image
                        target[outputs] = 0

    share(len(groups), work)


def _correlate_filter(x: Array, dy: Array, axes: Sequence[AxisWindow], out: Array) -> None:
    if not (x.size and dy.size):
        out[...] = 0
        return
    kernel, channels, filters = [axis.kernel for axis in axes], x.shape[-1], dy.shape[-1]
    seconds = _seconds(axes, len(x), channels, filters)
    # A sliding product makes one partial filter per column: not worth it with fewer rows than filters.
    found, sliding = _parts(x, axes, seconds, max(MIN_ROWS, filters))
    groups = pieces(found, seconds, PARTIAL_BYTES // max(1, out.nbytes))
    dy = np.ascontiguousarray(dy)
    sums = np.zeros((len(groups), out.size // filters, filters), out.dtype)

    def work(number: int) -> None:
        total = sums[number]
        with Scratch("patches") as scratch, Scratch("partial filters") as beside:
            for part in groups[number]:
                grads = _grouped(dy, part, axes[-1].out if sliding else 1)
                for patches, rows, outputs in _products(x[part.images], _restricted(axes, part.rows), sliding, scratch):
                    if rows.start < rows.stop:
                        _add_products(patches.swapaxes(1, 2), grads[outputs], total[rows], beside)

    share(len(groups), work)
    for partial in sums[1:]:
        np.add(sums[0], partial, sums[0])
    if sliding:
        out[...] = np.moveaxis(sums[0].reshape(kernel[-1], *kernel[:-1], channels, filters), 0, -3)
    else:
        out[...] = sums[0].reshape(out.shape)


def _add_products(a: Array, b: Array, total: Array, scratch: Scratch) -> None:
    """total += a[0] @ b[0] + a[1] @ b[1] + ..., a few of them at a time."""
    step = max(1, PRODUCTS_BYTES // total.nbytes)
    for i in range(0, len(a), step):
        some = scratch.array((len(a[i : i + step]), *total.shape), total.dtype)
        np.matmul(a[i : i + step], b[i : i + step], some)
        np.add(total, some[0] if len(some) == 1 else np.add.reduce(some, 0), total)


# --- gradient with respect to the input ---


class _Phase(NamedTuple):
    """The inputs of one axis that the same taps reach, and the stride-one window that computes them."""

    taps: slice
    target: slice
    window: AxisWindow


def _phases(axis: AxisWindow) -> list[_Phase]:
    """Taps ``period`` apart reach the same residue of the stride: each residue is its own convolution."""
    common = gcd(axis.dilation, axis.stride)
    period, dilation = axis.stride // common, axis.dilation // common
    phases = []
    for tap in range(min(period, axis.kernel)):
        count = len(range(tap, axis.kernel, period))
        offset = tap * axis.dilation - axis.before
        first = -(offset // axis.stride)
        last = (axis.size - 1 - offset) // axis.stride
        if last >= first:
            before = (count - 1) * dilation - first
            window = AxisWindow(axis.out, count, 1, dilation, before, last - first + 1)
            start = first * axis.stride + offset
            phases.append(_Phase(slice(tap, None, period), slice(start, None, axis.stride), window))
    return phases


def _correlate_input(w: Array, dy: Array, axes: Sequence[AxisWindow], out: Array) -> None:
    spatial = tuple(range(len(axes)))
    combinations = list(product(*map(_phases, axes)))
    whole = len(combinations) == 1 and all(
        phase.window.out == size for phase, size in zip(combinations[0], out.shape[1:-1], strict=True)
    )
    if not whole:
        out[...] = 0
    for combination in combinations:
        taps = w[tuple(phase.taps for phase in combination)]
        mirrored = np.flip(taps, spatial).swapaxes(-1, -2)
        windows = [phase.window for phase in combination]
        if whole:
            _correlate(dy, mirrored, windows, out)
        else:
            piece = np.empty((len(dy), *(window.out for window in windows), w.shape[-2]), out.dtype)
            _correlate(dy, mirrored, windows, piece)
            out[(slice(None), *(phase.target for phase in combination))] = piece


# --- the kernels ---


class _Conv(NamedTuple):
    """The geometry of one convolution: the shapes of input and output, channels last, and the windows between them."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    axes: tuple[AxisWindow, ...]


def _conv(
    shape: Sequence[int] | Array,
    filter_shape: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    data_format: str,
    dilations: Sequence[int],
) -> _Conv:
    inputs = channels_last_sizes(shape, data_format)
    *kernel, channels, filters = filter_shape
    require((len(inputs), inputs[-1]), (len(kernel) + 2, channels), "rank and channels of the input")
    axes = window_axes(inputs[1:-1], kernel, strides, dilations, padding)
    return _Conv(inputs, (inputs[0], *(axis.out for axis in axes), filters), axes)


def _direct(out: Array, data_format: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The memory to compute in, channels last: the result's own where it is like that."""
    return out if out.dtype == dtype and out.shape == shape and data_format[1] != "C" else np.empty(shape, dtype)


def conv_into(x: Array, w: Array, out: Array, **at: Unpack[Sliding]) -> None:
    """`conv` into given memory."""
    data_format = at["data_format"]
    geometry = _conv(x.shape, w.shape, **at)
    target = _direct(out, data_format, geometry.outputs, np.result_type(working(x[:0]), working(w[:0])))
    _correlate(channels_last(x, data_format), working(w), geometry.axes, target)
    if target is not out:
        restore(target, data_format, out)


def conv(x: Array, w: Array, **at: Unpack[Sliding]) -> Array:
    """Cross-correlate ``x`` with ``w`` (*kernel, channels, filters); the spatial rank is that of ``w``."""
    out = np.empty(own_sizes(_conv(x.shape, w.shape, **at).outputs, at["data_format"]), np.result_type(x, w))
    conv_into(x, w, out, **at)
    return out


def conv_backprop_input_into(
    input_sizes: Sequence[int] | Array, w: Array, dy: Array, out: Array, **at: Unpack[Sliding]
) -> None:
    """`conv_backprop_input` into given memory."""
    data_format = at["data_format"]
    geometry = _conv(input_sizes, w.shape, **at)
    grads = channels_last(dy, data_format)
    require(grads.shape, geometry.outputs, "shape of the output gradient")
    target = _direct(out, data_format, geometry.inputs, np.result_type(working(w[:0]), grads))
    _correlate_input(working(w), grads, geometry.axes, target)
    if target is not out:
        restore(target, data_format, out)


def conv_backprop_input(input_sizes: Sequence[int] | Array, w: Array, dy: Array, **at: Unpack[Sliding]) -> Array:
    """Gradient of `conv` with respect to its input, whose full shape is ``input_sizes``."""
    out = np.empty([int(size) for size in input_sizes], np.result_type(w, dy))
    conv_backprop_input_into(input_sizes, w, dy, out, **at)
    return out


def conv_backprop_filter_into(
    x: Array, filter_sizes: Sequence[int] | Array, dy: Array, out: Array, **at: Unpack[Sliding]
) -> None:
    """`conv_backprop_filter` into given memory."""
    data_format = at["data_format"]
    geometry = _conv(x.shape, [int(size) for size in filter_sizes], **at)
    images, grads = channels_last(x, data_format), channels_last(dy, data_format)
    require(grads.shape, geometry.outputs, "shape of the output gradient")
    wide = np.result_type(images, grads)
    target = out if out.dtype == wide else np.empty(out.shape, wide)
    _correlate_filter(images, grads, geometry.axes, target)
    if target is not out:
        out[...] = target


def conv_backprop_filter(x: Array, filter_sizes: Sequence[int] | Array, dy: Array, **at: Unpack[Sliding]) -> Array:
    """Gradient of `conv` with respect to its filter, whose full shape is ``filter_sizes``."""
    out = np.empty([int(size) for size in filter_sizes], np.result_type(x, dy))
    conv_backprop_filter_into(x, filter_sizes, dy, out, **at)
    return out
