"""Convolutions of any spatial rank on NumPy arrays: forward, and both gradients.

Policy: one lowering serves every rank, stride, dilation and padding. Patches of the input are laid out as
matrix rows and multiplied with the filter by BLAS. Where it pays, only the other spatial axes are unrolled:
along the last one neighbouring patches overlap in memory, and a strided view takes the place of a copy. The
work goes through a scratch buffer of bounded size, a block of images at a time. The gradient with respect to
the input is itself made of convolutions of stride one, so it reuses the forward kernel.

Kernels work channels last, compute float16 and bfloat16 in float32, never write to an argument and return fresh arrays.
This module owns no state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[Any]
Padding = str | Sequence[Sequence[int]]
Index = tuple[slice, ...]

# Scratch that stays in the shared cache while BLAS reads it; larger blocks only cost page faults.
_BLOCK_BYTES = 4 << 20
# With fewer rows per matrix product, one product over copied patches beats many small ones.
_MIN_ROWS = 96


class AxisWindow(NamedTuple):
    """A window along one spatial axis: output ``o``, tap ``j`` reads ``o*stride + j*dilation - before``."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    out: int

    def tap(self, j: int) -> tuple[slice, slice]:
        """The outputs for which tap ``j`` falls inside the input, and the inputs that it reads there."""
        offset = j * self.dilation - self.before
        first = max(0, -(offset // self.stride))
        last = min(self.out, (self.size - 1 - offset) // self.stride + 1)
        count = max(0, last - first)
        if not count:
            return slice(0, 0), slice(0, 0)
        start = first * self.stride + offset
        return slice(first, last), slice(start, start + (count - 1) * self.stride + 1, self.stride)


def window_axes(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: Padding
) -> tuple[AxisWindow, ...]:
    """The window of every spatial axis, with TensorFlow's rules for ``SAME`` and ``VALID``."""
    if isinstance(padding, str) and padding not in ("SAME", "VALID"):
        raise ValueError(f"padding must be 'SAME', 'VALID' or pairs of integers, got {padding!r}")
    axes = []
    for axis, (size, taps, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        extent = (taps - 1) * dilation + 1
        if padding == "SAME":
            out = -(-size // stride)
            before = max((out - 1) * stride + extent - size, 0) // 2
        else:
            before, after = (0, 0) if isinstance(padding, str) else padding[axis]
            padded = size + before + after
            if padded < extent:
                raise ValueError(
                    f"computed output size would be negative: spatial axis {axis} has {padded} elements with "
                    f"its padding, the window spans {extent}"
                )
            out = (padded - extent) // stride + 1
        axes.append(AxisWindow(size, taps, stride, dilation, before, out))
    return tuple(axes)


def window_taps(axes: Sequence[AxisWindow], leading: int = 1) -> Iterator[tuple[tuple[int, ...], Index, Index]]:
    """Each window position in order, the index of the outputs it reaches and that of the inputs it reads.

    ``leading`` axes come before the spatial ones. Positions that only ever see padding are left out.
    """
    per_axis = [[axis.tap(j) for j in range(axis.kernel)] for axis in axes]
    whole = (slice(None),) * leading
    for position in product(*(range(axis.kernel) for axis in axes)):
        pairs = [per_axis[axis][j] for axis, j in enumerate(position)]
        if all(target.stop for target, _ in pairs):
            yield position, whole + tuple(pair[0] for pair in pairs), whole + tuple(pair[1] for pair in pairs)


def is_channels_first(data_format: str) -> bool:
    """Whether the format names the channels right after the batch, as NCHW does."""
    return data_format[1] == "C"


def working(x: Array) -> Array:
    """The array in the precision that kernels compute in."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x  # bfloat16 is a V


def image_blocks(batch: int, bytes_per_image: int) -> Iterator[slice]:
    """Slices of the batch whose scratch stays within the block size; all but the last are equally long."""
    step = max(1, _BLOCK_BYTES // max(1, bytes_per_image))
    for start in range(0, batch, step):
        yield slice(start, min(batch, start + step))


def _channels_last(x: Array, data_format: str) -> Array:
    x = working(x)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if is_channels_first(data_format) else x


def _restored(y: Array, data_format: str, dtype: np.dtype[Any]) -> Array:
    y = np.moveaxis(y, -1, 1) if is_channels_first(data_format) else y
    return np.ascontiguousarray(y, dtype=dtype)


def _channels_last_sizes(sizes: Sequence[int] | Array, data_format: str) -> tuple[int, ...]:
    batch, *rest = (int(size) for size in sizes)
    return (batch, *rest[1:], rest[0]) if is_channels_first(data_format) else (batch, *rest)


def _require(actual: tuple[int, ...], expected: tuple[int, ...], what: str) -> None:
    if actual != expected:
        raise ValueError(f"{what} must be {expected}, counted channels last, got {actual}")


# --- patches as matrix rows ---


def _lowered(x: Array, axes: Sequence[AxisWindow]) -> Iterator[tuple[slice, Array]]:
    """Blocks of images as arrays (image, *outputs, taps * channels), all of them in the same buffer."""
    if all(axis == AxisWindow(axis.size, 1, 1, 1, 0, axis.size) for axis in axes):
        yield slice(0, len(x)), np.ascontiguousarray(x)
        return
    outs, kernel = [axis.out for axis in axes], [axis.kernel for axis in axes]
    row = prod(kernel) * x.shape[-1]
    buffer: Array | None = None
    for block in image_blocks(len(x), prod(outs) * row * x.itemsize):
        images = x[block]
        if buffer is None:  # zero once: no tap ever writes where the window lies over padding
            buffer = np.zeros((len(images), *outs, *kernel, x.shape[-1]), x.dtype)
        part = buffer[: len(images)]
        for position, target, source in window_taps(axes):
            place: tuple[slice | int, ...] = (*target, *position)
            part[place] = images[source]
        yield block, part.reshape(len(images), *outs, row)


def _slides(batch: int, axes: Sequence[AxisWindow], image_bytes: int, min_rows: int) -> bool:
    """Whether patches along the last axis shall be overlapping views (many rows each) rather than copies."""
    *others, last = axes
    if last.kernel == 1 or last.dilation > 1:
        return False
    images = min(batch, max(1, _BLOCK_BYTES // max(1, image_bytes * prod(axis.kernel for axis in others))))
    return images * prod(axis.out for axis in others) >= min_rows


def _patches(x: Array, axes: Sequence[AxisWindow], sliding: bool) -> Iterator[tuple[slice, Array]]:
    """Blocks of images as matrices (group, row, taps * channels), one group per column when sliding."""
    if not sliding:
        for block, low in _lowered(x, axes):
            yield block, low.reshape(1, prod(low.shape[:-1]), low.shape[-1])
        return
    *others, last = axes
    span = (last.out - 1) * last.stride + last.kernel
    for block, low in _lowered(x, (*others, AxisWindow(last.size, 1, 1, 1, last.before, span))):
        width, item = low.shape[-1], low.itemsize
        shape = (last.out, prod(low.shape[:-2]), last.kernel * width)
        steps = (last.stride * width * item, span * width * item, item)
        yield block, as_strided(low, shape, steps, writeable=False)


def _grouped(y: Array, groups: int) -> Array:
    """A view of contiguous outputs (image, *outputs, filters) that matches the matrices of `_patches`."""
    return y.reshape(prod(y.shape[:-1]) // groups, groups, y.shape[-1]).swapaxes(0, 1)


def _correlate(x: Array, w: Array, axes: Sequence[AxisWindow]) -> Array:
    out = np.empty((len(x), *(axis.out for axis in axes), w.shape[-1]), np.result_type(x, w))
    if not (x.size and w.size and out.size):
        out[...] = 0
        return out
    sliding = _slides(len(x), axes, x[0].nbytes, _MIN_ROWS)
    matrix = (np.moveaxis(w, -3, 0) if sliding else w).reshape(-1, w.shape[-1])
    for block, patches in _patches(x, axes, sliding):
        np.matmul(patches, matrix, out=_grouped(out[block], len(patches)))
    return out


def _correlate_filter(x: Array, dy: Array, axes: Sequence[AxisWindow]) -> Array:
    kernel, channels, filters = [axis.kernel for axis in axes], x.shape[-1], dy.shape[-1]
    dw = np.zeros((prod(kernel) * channels, filters), np.result_type(x, dy))
    if not (x.size and dy.size):
        return dw.reshape(*kernel, channels, filters)
    # A sliding product makes one partial filter per column: not worth it with fewer rows than filters.
    sliding = _slides(len(x), axes, x[0].nbytes, max(_MIN_ROWS, filters))
    dy = np.ascontiguousarray(dy)
    for block, patches in _patches(x, axes, sliding):
        dw += np.matmul(patches.swapaxes(1, 2), _grouped(dy[block], len(patches))).sum(axis=0)
    if sliding:
        return np.moveaxis(dw.reshape(kernel[-1], *kernel[:-1], channels, filters), 0, -3)
    return dw.reshape(*kernel, channels, filters)


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


def _correlate_input(shape: tuple[int, ...], w: Array, dy: Array, axes: Sequence[AxisWindow]) -> Array:
    spatial = tuple(range(len(axes)))
    dx: Array | None = None
    for combination in product(*map(_phases, axes)):
        taps = w[tuple(phase.taps for phase in combination)]
        mirrored = np.flip(taps, spatial).swapaxes(-1, -2)
        part = _correlate(dy, mirrored, [phase.window for phase in combination])
        if part.shape == shape:
            return part
        if dx is None:
            dx = np.zeros(shape, part.dtype)
        dx[(slice(None), *(phase.target for phase in combination))] = part
    return np.zeros(shape, np.result_type(w, dy)) if dx is None else dx


# --- the kernels ---


def conv(
    x: Array, w: Array, *, strides: Sequence[int], padding: Padding, data_format: str, dilations: Sequence[int]
) -> Array:
    """Cross-correlate ``x`` with ``w`` (*kernel, channels, filters); the spatial rank is that of ``w``."""
    images = _channels_last(x, data_format)
    _require((images.ndim, images.shape[-1]), (w.ndim, w.shape[-2]), "rank and channels of the input")
    axes = window_axes(images.shape[1:-1], w.shape[:-2], strides, dilations, padding)
    return _restored(_correlate(images, working(w), axes), data_format, np.result_type(x, w))


def conv_backprop_input(
    input_sizes: Sequence[int] | Array,
    w: Array,
    dy: Array,
    *,
    strides: Sequence[int],
    padding: Padding,
    data_format: str,
    dilations: Sequence[int],
) -> Array:
    """Gradient of `conv` with respect to its input, whose full shape is ``input_sizes``."""
    shape = _channels_last_sizes(input_sizes, data_format)
    grads = _channels_last(dy, data_format)
    _require((len(shape), shape[-1]), (w.ndim, w.shape[-2]), "rank and channels of the input")
    axes = window_axes(shape[1:-1], w.shape[:-2], strides, dilations, padding)
    _require(grads.shape, (shape[0], *(axis.out for axis in axes), w.shape[-1]), "shape of the output gradient")
    return _restored(_correlate_input(shape, working(w), grads, axes), data_format, np.result_type(w, dy))


def conv_backprop_filter(
    x: Array,
    filter_sizes: Sequence[int] | Array,
    dy: Array,
    *,
    strides: Sequence[int],
    padding: Padding,
    data_format: str,
    dilations: Sequence[int],
) -> Array:
    """Gradient of `conv` with respect to its filter, whose full shape is ``filter_sizes``."""
    *kernel, channels, filters = (int(size) for size in filter_sizes)
    images, grads = _channels_last(x, data_format), _channels_last(dy, data_format)
    _require((images.ndim, images.shape[-1]), (len(kernel) + 2, channels), "rank and channels of the input")
    axes = window_axes(images.shape[1:-1], kernel, strides, dilations, padding)
    _require(grads.shape, (len(images), *(axis.out for axis in axes), filters), "shape of the output gradient")
    return np.ascontiguousarray(_correlate_filter(images, grads, axes), dtype=np.result_type(x, dy))


conv2d = conv3d = conv
conv2d_backprop_input = conv3d_backprop_input = conv_backprop_input
conv2d_backprop_filter = conv3d_backprop_filter = conv_backprop_filter


# --- depthwise: every channel has filters of its own ---
# There is no channel sum for BLAS, so these run one multiply-add over all outputs per tap, on image blocks
# that stay in cache. A channel with several filters counts as that many equal channels with one filter each.


def _repeated_channels(x: Array, multiplier: int) -> Array:
    return np.repeat(x, multiplier, axis=-1) if multiplier > 1 else x


def depthwise_conv2d_native(
    x: Array, w: Array, *, strides: Sequence[int], padding: Padding, data_format: str, dilations: Sequence[int]
) -> Array:
    """Convolve each channel with its own filters, ``w`` (*kernel, channels, multiplier)."""
    images, (*kernel, channels, multiplier) = _channels_last(x, data_format), w.shape
    _require((images.ndim, images.shape[-1]), (w.ndim, channels), "rank and channels of the input")
    axes = window_axes(images.shape[1:-1], kernel, strides, dilations, padding)
    taps = working(w).reshape(*kernel, channels * multiplier)
    shape = (len(images), *(axis.out for axis in axes), taps.shape[-1])
    out = np.zeros(shape, np.result_type(images, taps))
    for block in image_blocks(len(images), out[:1].nbytes * 3):
        part, target = _repeated_channels(images[block], multiplier), out[block]
        scratch = np.empty_like(target)
        for position, outputs, inputs in window_taps(axes):
            target[outputs] += np.multiply(part[inputs], taps[position], out=scratch[outputs])
    return _restored(out, data_format, np.result_type(x, w))


def depthwise_conv2d_native_backprop_input(
    input_sizes: Sequence[int] | Array,
    w: Array,
    dy: Array,
    *,
    strides: Sequence[int],
    padding: Padding,
    data_format: str,
    dilations: Sequence[int],
) -> Array:
    """Gradient of `depthwise_conv2d_native` with respect to its input of full shape ``input_sizes``."""
    shape, grads = _channels_last_sizes(input_sizes, data_format), _channels_last(dy, data_format)
    *kernel, channels, multiplier = w.shape
    _require((len(shape), shape[-1]), (w.ndim, channels), "rank and channels of the input")
    axes = window_axes(shape[1:-1], kernel, strides, dilations, padding)
    taps = working(w).reshape(*kernel, channels * multiplier)
    _require(grads.shape, (shape[0], *(axis.out for axis in axes), taps.shape[-1]), "shape of the output gradient")
    dx = np.empty(shape, np.result_type(grads, taps))
    for block in image_blocks(shape[0], prod(shape[1:]) * multiplier * grads.itemsize * 3):
        part = grads[block]
        wide = np.zeros((len(part), *shape[1:-1], taps.shape[-1]), dx.dtype)
        scratch = np.empty(part.shape, dx.dtype)
        for position, outputs, inputs in window_taps(axes):
            wide[inputs] += np.multiply(part[outputs], taps[position], out=scratch[outputs])
        dx[block] = wide.reshape(len(part), *shape[1:], multiplier).sum(axis=-1) if multiplier > 1 else wide
    return _restored(dx, data_format, np.result_type(w, dy))


def depthwise_conv2d_native_backprop_filter(
    x: Array,
    filter_sizes: Sequence[int] | Array,
    dy: Array,
    *,
    strides: Sequence[int],
    padding: Padding,
    data_format: str,
    dilations: Sequence[int],
) -> Array:
    """Gradient of `depthwise_conv2d_native` with respect to its filter of full shape ``filter_sizes``."""
    *kernel, channels, multiplier = (int(size) for size in filter_sizes)
    images, grads = _channels_last(x, data_format), _channels_last(dy, data_format)
    _require((images.ndim, images.shape[-1]), (len(kernel) + 2, channels), "rank and channels of the input")
    axes = window_axes(images.shape[1:-1], kernel, strides, dilations, padding)
    shape = (len(images), *(axis.out for axis in axes), channels * multiplier)
    _require(grads.shape, shape, "shape of the output gradient")
    dw = np.zeros((*kernel, channels * multiplier), np.result_type(images, grads))
    summed = tuple(range(len(kernel) + 1))
    for block in image_blocks(len(images), grads[:1].nbytes * 3):
        part, factor = _repeated_channels(images[block], multiplier), grads[block]
        scratch = np.empty(factor.shape, dw.dtype)
        for position, outputs, inputs in window_taps(axes):
            dw[position] += np.multiply(part[inputs], factor[outputs], out=scratch[outputs]).sum(axis=summed)
    return dw.reshape(*kernel, channels, multiplier).astype(np.result_type(x, dy), copy=False)
