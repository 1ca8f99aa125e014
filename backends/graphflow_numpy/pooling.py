"""Kernels over moving windows that need no filter: pooling of any spatial rank, image patches, and lrn.

Policy: one vectorised operation per window position, on slices of the arrays themselves; padding is never
materialised, so a padded cell can neither be a maximum nor count in a mean. Where several elements of a
window are the maximum, the first one in window order gets the gradient. A NaN in a window is its maximum.

Blocks of images stay in cache and may be computed side by side; how they are cut depends on shapes alone.

Kernels compute float16 and bfloat16 in float32 and never write to an argument.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

import numpy as np

from graphflow.numerics.windows import AxisWindow, Index, Padding, is_channels_first, window_axes, window_taps
from graphflow_numpy.sharing import share
from graphflow_numpy.windows import Array, Scratch, parts, pieces, working

_SECONDS = 0.4e-9  # for one element of the input and one pass over it, about


class _Pool:
    """Where the windows of one pooling lie, and the shapes of its input and output."""

    def __init__(
        self,
        shape: Sequence[int],
        ksize: Sequence[int],
        strides: Sequence[int],
        padding: Padding,
        data_format: str,
    ) -> None:
        if len(shape) != len(ksize) + 2:
            raise ValueError(f"pooling over {len(ksize)} axes takes {len(ksize) + 2} dimensions, got {tuple(shape)}")
        self.leading = 2 if is_channels_first(data_format) else 1
        spatial = slice(self.leading, self.leading + len(ksize))
        self.input_shape = tuple(int(size) for size in shape)
        self.axes = window_axes(self.input_shape[spatial], ksize, strides, (1,) * len(ksize), padding)
        outs = tuple(axis.out for axis in self.axes)
        self.output_shape = self.input_shape[: self.leading] + outs + self.input_shape[spatial.stop :]
        self.overlapping = any(axis.stride < axis.kernel for axis in self.axes)

    def tiles(self) -> bool:
        """Whether the windows lie side by side and cover the image."""
        return all(a.stride == a.kernel and not a.before and a.out * a.stride == a.size for a in self.axes)

    def taps(self) -> Iterator[tuple[Index, Index]]:
        for _, outputs, inputs in window_taps(self.axes, self.leading):
            yield outputs, inputs

    def require_output(self, y: Array, what: str) -> None:
        if y.shape != self.output_shape:
            raise ValueError(f"{what} must have shape {self.output_shape}, got {y.shape}")

    def require_input(self, x: Array, what: str) -> None:
        if x.shape != self.input_shape:
            raise ValueError(f"{what} must have shape {self.input_shape}, got {x.shape}")

    def counts(self, dtype: np.dtype[Any]) -> Array:
        """How many real cells each window holds, shaped to broadcast against the output."""
        total = np.ones((1,) * len(self.output_shape), dtype)
        for place, axis in enumerate(self.axes, self.leading):
            count = np.zeros(axis.out, dtype)
            for j in range(axis.kernel):
                count[axis.tap(j)[0]] += 1
            total = total * count.reshape([-1 if d == place else 1 for d in range(total.ndim)])
        return np.maximum(total, 1)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _bits(x: Array) -> Array:
    return x.view(f"i{x.itemsize}")


def max_pool(x: Array, *, ksize: Sequence[int], strides: Sequence[int], padding: Padding, data_format: str) -> Array:
    """The maximum of each window; ``ksize`` and ``strides`` have one number per spatial axis."""
    at: dict[str, Any] = {"ksize": ksize, "strides": strides, "padding": padding, "data_format": data_format}
    out = np.empty(_Pool(x.shape, **at).output_shape, x.dtype)
    max_pool_into(x, out, **at)
    return out


def max_pool_into(x: Array, out: Array, **at: Any) -> None:
    """`max_pool` into given memory."""
    pool = _Pool(x.shape, **at)
    source = working(x)
    target = out if source is x else np.empty(out.shape, source.dtype)
    if pool.leading == 1 and pool.tiles():
        _in_pieces(pool, x.size * _SECONDS, x.itemsize, lambda images: _maxima(pool, source[images], target[images]))
    else:
        target.fill(_lowest(source.dtype))
        for outputs, inputs in pool.taps():
            np.maximum(target[outputs], source[inputs], out=target[outputs])
    if target is not out:
        out[...] = target


def _in_pieces(pool: _Pool, seconds: float, itemsize: int, work: Callable[[slice], None]) -> None:
    """Call `work` for blocks of images, side by side where that is worth it."""
    found = parts(pool.input_shape[0], 1, prod(pool.input_shape[1:]) * itemsize, seconds)
    groups = pieces(found, seconds)

    def piece(number: int) -> None:
        for part in groups[number]:
            work(part.images)

    share(len(groups), piece)


def _maxima(pool: _Pool, x: Array, out: Array) -> None:
    """Axis after axis: rows that lie whole in memory first."""
    with ExitStack() as stack:
        axes = [(place, axis.kernel) for place, axis in enumerate(pool.axes, 1) if axis.kernel > 1]
        for place, kernel in axes:
            last = (place, kernel) == axes[-1]
            shape = [n // kernel if i == place else n for i, n in enumerate(x.shape)]
            found = out if last else stack.enter_context(Scratch(f"maxima {place}")).array(shape, x.dtype)
            before = (slice(None),) * place
            for j in range(1, kernel):
                left = found if j > 1 else x[(*before, slice(0, None, kernel))]
                np.maximum(left, x[(*before, slice(j, None, kernel))], out=found)
            x = found
        if not axes:
            out[...] = x


def _first_maxima(x: Array, y: Array, pool: _Pool) -> Iterator[tuple[Array, Index, Index]]:
    """For each window position, a mask of the windows whose first maximum is there; each mask is good for one step."""
    pending, room = np.ones(y.shape, np.bool_), np.empty(y.shape, np.bool_)
    has_nan = y.dtype.kind in "fV" and bool(np.isnan(y).any())
    for outputs, inputs in pool.taps():
        found, waiting = room[outputs], pending[outputs]
        np.equal(x[inputs], y[outputs], found)
        if has_nan:  # a window with a NaN holds nothing equal to its maximum
            np.logical_or(found, np.isnan(x[inputs]), found)
        np.logical_and(found, waiting, found)
        np.greater(waiting, found, out=waiting)
        yield found, outputs, inputs


def max_pool_grad(
    x: Array, y: Array, dy: Array, *, ksize: Sequence[int], strides: Sequence[int], padding: Padding, data_format: str
) -> Array:
    """Gradient of `max_pool` at ``x`` and output ``y``: each ``dy`` goes to its window's first maximum."""
    dx = np.empty(x.shape, dy.dtype)
    max_pool_grad_into(x, y, dy, dx, ksize=ksize, strides=strides, padding=padding, data_format=data_format)
    return dx


def max_pool_grad_into(x: Array, y: Array, dy: Array, out: Array, **at: Any) -> None:
    """`max_pool_grad` into given memory."""
    pool = _Pool(x.shape, **at)
    pool.require_output(y, "the pooled output")
    pool.require_output(dy, "the output gradient")
    grads = working(dy)
    dx = out if grads is dy else np.empty(out.shape, grads.dtype)
    _in_pieces(pool, x.size * 2 * _SECONDS, x.itemsize, lambda i: _to_first(pool, x[i], y[i], grads[i], dx[i]))
    if dx is not out:
        out[...] = dx


def _to_first(pool: _Pool, x: Array, y: Array, dy: Array, dx: Array) -> None:
    if not pool.tiles():
        dx.fill(0)
    # Bit patterns times 0 or 1: an exact selection, of infinities and NaN too, and faster than np.where.
    for found, outputs, inputs in _first_maxima(x, y, pool):
        if pool.overlapping:
            dx[inputs] += np.multiply(_bits(dy[outputs]), found).view(dx.dtype)
        else:
            np.multiply(_bits(dy[outputs]), found, out=_bits(dx[inputs]))


def max_pool_grad_grad(
    x: Array, y: Array, ddx: Array, *, ksize: Sequence[int], strides: Sequence[int], padding: Padding, data_format: str
) -> Array:
    """Gradient of `max_pool_grad` with respect to ``dy``: the ``ddx`` at each window's first maximum."""
    pool = _Pool(x.shape, ksize, strides, padding, data_format)
    pool.require_input(ddx, "the gradient of the input gradient")
    pool.require_output(y, "the pooled output")
    out = np.zeros(pool.output_shape, ddx.dtype)
    for found, outputs, inputs in _first_maxima(x, y, pool):
        _bits(out)[outputs] |= np.multiply(_bits(ddx[inputs]), found)
    return out


def avg_pool(x: Array, *, ksize: Sequence[int], strides: Sequence[int], padding: Padding, data_format: str) -> Array:
    """The mean of the real cells of each window."""
    pool = _Pool(x.shape, ksize, strides, padding, data_format)
    source = working(x)
    out = np.zeros(pool.output_shape, source.dtype)
    for outputs, inputs in pool.taps():
        out[outputs] += source[inputs]
    out /= pool.counts(out.dtype)
    return out.astype(x.dtype, copy=False)


def avg_pool_grad(
    input_sizes: Sequence[int] | Array,
    dy: Array,
    *,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
    data_format: str,
) -> Array:
    """Gradient of `avg_pool`, whose input had the full shape ``input_sizes``."""
    pool = _Pool(tuple(int(size) for size in input_sizes), ksize, strides, padding, data_format)
    pool.require_output(dy, "the output gradient")
    grads = working(dy)
    share = grads / pool.counts(grads.dtype)
    dx = np.zeros(pool.input_shape, grads.dtype)
    for outputs, inputs in pool.taps():
        dx[inputs] += share[outputs]
    return dx.astype(dy.dtype, copy=False)


# --- image patches ---


def _patch_axes(
    shape: Sequence[int], ksizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], padding: Padding
) -> tuple[tuple[AxisWindow, ...], tuple[int, ...]]:
    """The window axes, and the shape of the patches before window and channels are merged into depth."""
    batch, *sizes, channels = shape
    axes = window_axes(sizes, ksizes, strides, rates, padding)
    return axes, (batch, *(axis.out for axis in axes), *ksizes, channels)


def extract_image_patches(
    x: Array, *, ksizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], padding: Padding
) -> Array:
    """The windows of NHWC images as depth, ordered row, column, channel; attributes are (height, width)."""
    axes, shape = _patch_axes(x.shape, ksizes, strides, rates, padding)
    out = np.zeros(shape, x.dtype)
    for position, outputs, inputs in window_taps(axes):
        place: tuple[slice | int, ...] = (*outputs, *position)
        out[place] = x[inputs]
    return out.reshape(*shape[:3], shape[3] * shape[4] * shape[5])


def extract_image_patches_grad(
    input_sizes: Sequence[int] | Array,
    dy: Array,
    *,
    ksizes: Sequence[int],
    strides: Sequence[int],
    rates: Sequence[int],
    padding: Padding,
) -> Array:
    """Gradient of `extract_image_patches`, whose input had the full shape ``input_sizes``."""
    sizes = tuple(int(size) for size in input_sizes)
    axes, shape = _patch_axes(sizes, ksizes, strides, rates, padding)
    expected = (*shape[:3], shape[3] * shape[4] * shape[5])
    if dy.shape != expected:
        raise ValueError(f"the output gradient must have shape {expected}, got {dy.shape}")
    grads = working(dy).reshape(shape)
    dx = np.zeros(sizes, grads.dtype)
    for position, outputs, inputs in window_taps(axes):
        place: tuple[slice | int, ...] = (*outputs, *position)
        dx[inputs] += grads[place]
    return dx.astype(dy.dtype, copy=False)


# --- local response normalisation ---


def _neighbour_sum(x: Array, radius: int) -> Array:
    """Sum over the channels within ``radius``; a running sum would lose digits and spread a NaN."""
    channels = x.shape[-1]
    radius = min(radius, max(channels - 1, 0))
    total = np.zeros_like(x)
    window = AxisWindow(channels, 2 * radius + 1, 1, 1, radius, channels)
    for _, outputs, inputs in window_taps((window,), leading=x.ndim - 1):
        total[outputs] += x[inputs]
    return total


def lrn(x: Array, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Array:
    """``x / (bias + alpha * s) ** beta``, s the sum of squares of the channels within ``depth_radius``."""
    source = working(x)
    norm = bias + alpha * _neighbour_sum(np.square(source), depth_radius)
    return np.asarray(source * norm**-beta).astype(x.dtype, copy=False)


def lrn_grad(dy: Array, x: Array, y: Array, *, depth_radius: int, bias: float, alpha: float, beta: float) -> Array:
    """Gradient of `lrn` at input ``x`` and output ``y``."""
    grads, source, result = working(dy), working(x), working(y)
    norm = bias + alpha * _neighbour_sum(np.square(source), depth_radius)
    shared = _neighbour_sum(grads * result / norm, depth_radius)
    found = np.asarray(grads * norm**-beta - 2 * alpha * beta * source * shared)
    return found.astype(np.result_type(dy, x, y), copy=False)
