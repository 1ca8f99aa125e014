"""Kernels of the reductions, and of their gradients.

Policy: the ufuncs' own `reduce`, which costs half of what the functions around it do; sums are those of `sums`.  The
dtype stays that of the input; half precision is summed in float32 and rounded once.  What is not C-ordered is copied
first: NumPy would reduce it in another order.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError
from graphflow.spec import is_concrete
from graphflow_numpy.elementwise import is_half
from graphflow_numpy.sums import Axis, all_axes, first_axes, fitted_total, ordered, total, total_into
from graphflow_numpy.table import Fitted, fit, into, kernel

_add: Any = np.add.reduce
_multiply: Any = np.multiply.reduce
_maximum: Any = np.maximum.reduce
_minimum: Any = np.minimum.reduce
_and: Any = np.logical_and.reduce
_or: Any = np.logical_or.reduce


def count_along(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements are reduced to one."""
    found = 1
    for n in shape if axis is None else [shape[i] for i in axis]:
        found *= n
    return found


def kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape after a reduction that keeps its axes."""
    if axis is None:
        return (1,) * len(shape)
    out = list(shape)
    for i in axis:
        out[i] = 1
    return tuple(out)


def _wide_total(x: Any, axis: Axis, keepdims: bool) -> Any:
    if is_half(x):
        return total(x.astype(np.float32, order="C"), axis, keepdims).astype(x.dtype)
    return total(x, axis, keepdims)


@kernel("Sum")
def _sum(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    return _wide_total(x, axis, keepdims)


@into("Sum")
def _sum_into(x: Any, out: Any, *, axis: Axis, keepdims: bool) -> None:
    if is_half(x):
        out[...] = _wide_total(x, axis, keepdims)
    else:
        total_into(x, axis, keepdims, out)


@fit("Sum")
def _fit_sum(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    axis, keepdims = attrs["axis"], attrs["keepdims"]
    found = _fitted(inputs[0], axis)
    if found is None:
        dtype, dims, _ = inputs[0]
        if dims is None or dtype.np.char not in "fd" or all_axes(axis, len(dims)) or first_axes(axis, len(dims)):
            return None
        return Fitted(
            lambda x: _add(x if x.flags.c_contiguous else np.ascontiguousarray(x), axis, None, None, keepdims),
            lambda x, out: _add(x if x.flags.c_contiguous else np.ascontiguousarray(x), axis, None, out, keepdims),
        )
    function, write = found
    rank = len(inputs[0].dims)
    summed = set(range(rank)) if axis is None else {i % rank for i in axis}
    remains = [d for i, d in enumerate(inputs[0].dims) if i not in summed]
    shape = kept(inputs[0].dims, axis) if keepdims else tuple(remains)
    if len(shape) < 2 and not keepdims:
        return Fitted(function, write)
    return Fitted(lambda x: np.reshape(function(x), shape), lambda x, out: write(x, out.reshape(-1)))


def _fitted(known: Any, axis: Axis) -> Any:
    """A quick sum, if the shape is known and it is a short one."""
    if known.dims is None or None in known.dims:
        return None
    return fitted_total(known.dims, axis, known.dtype.np)


@kernel("Mean")
def _mean(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    count = count_along(x.shape, axis)
    if x.dtype.kind in "iu":
        return _integer_mean(x, axis, keepdims, count)
    if is_half(x):
        return (total(x.astype(np.float32, order="C"), axis, keepdims) / np.float32(count)).astype(x.dtype)
    found = total(x, axis, keepdims)
    divisor = x.dtype.type(count)
    return np.true_divide(found, divisor, found) if type(found) is np.ndarray else found / divisor


@into("Mean")
def _mean_into(x: Any, out: Any, *, axis: Axis, keepdims: bool) -> None:
    if x.dtype.kind in "iu" or is_half(x):
        out[...] = _mean(x, axis=axis, keepdims=keepdims)
    else:
        total_into(x, axis, keepdims, out)
        np.true_divide(out, x.dtype.type(count_along(x.shape, axis)), out)


@fit("Mean")
def _fit_mean(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    """The mean of few numbers, as losses are."""
    found = None if attrs["keepdims"] else _fitted(inputs[0], attrs["axis"])
    if found is None or not all_axes(attrs["axis"], len(inputs[0].dims)):
        return None
    function, divisor = found[0], inputs[0].dtype.np.type(count_along(inputs[0].dims, None))
    return Fitted(lambda x: function(x) / divisor)


def _integer_mean(x: Any, axis: Axis, keepdims: bool, count: int) -> Any:
    if not count:
        raise InvalidArgumentError("the mean of no integers", hint="tf.cast them to tf.float32 for a NaN")
    wide = _add(x, axis, np.uint64 if x.dtype.kind == "u" else np.int64, None, keepdims)
    # Rounded towards zero, and not down.
    return (np.sign(wide) * (np.abs(wide) // wide.dtype.type(count))).astype(x.dtype)


@kernel("Prod")
def _prod(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    if is_half(x):
        return _multiply(ordered(x).astype(np.float32), axis, None, None, keepdims).astype(x.dtype)
    return _multiply(ordered(x), axis, x.dtype, None, keepdims)


@into("Prod")
def _prod_into(x: Any, out: Any, *, axis: Axis, keepdims: bool) -> None:
    if is_half(x):
        out[...] = _prod(x, axis=axis, keepdims=keepdims)
    else:
        _multiply(ordered(x), axis, x.dtype, out, keepdims)


def _limit(dtype: Any, largest: bool) -> Any:
    """Where a search for the largest (or smallest) element ends that began with none."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return dtype.type(info.max if largest else info.min)
    return dtype.type(np.inf if largest else -np.inf)


@kernel("Max")
def _max(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    if not x.size:
        return _maximum(x, axis, None, None, keepdims, _limit(x.dtype, False))
    return _maximum(ordered(x), axis, None, None, keepdims)


@kernel("Min")
def _min(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    if not x.size:
        return _minimum(x, axis, None, None, keepdims, _limit(x.dtype, True))
    return _minimum(ordered(x), axis, None, None, keepdims)


def _extremum_into(plain: Any, reduce: Any) -> Any:
    def write(x: Any, out: Any, *, axis: Axis, keepdims: bool) -> None:
        if x.size:
            reduce(ordered(x), axis, None, out, keepdims)
        else:
            out[...] = plain(x, axis=axis, keepdims=keepdims)

    return write


into("Max")(_extremum_into(_max, _maximum))
into("Min")(_extremum_into(_min, _minimum))


def _fit_extremum(reduce: Any) -> Any:
    """Nothing to look for where there is an element."""

    def fitted(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
        axis, keepdims, dims = attrs["axis"], attrs["keepdims"], inputs[0].dims
        if not is_concrete(dims) or not dims or 0 in dims:
            return None
        return Fitted(
            lambda x: reduce(x if x.flags.c_contiguous else np.ascontiguousarray(x), axis, None, None, keepdims),
            lambda x, out: reduce(x if x.flags.c_contiguous else np.ascontiguousarray(x), axis, None, out, keepdims),
        )

    return fitted


fit("Max")(_fit_extremum(_maximum))
fit("Min")(_fit_extremum(_minimum))


@kernel("ExtremumGrad")
def _extremum_grad(x: Any, y: Any, dy: Any, *, axis: Axis, keepdims: bool) -> Any:
    shape = kept(x.shape, axis)
    chosen = x == y.reshape(shape)
    counter = np.dtype(np.float32) if is_half(dy) else dy.dtype
    count = _add(chosen, axis, counter, None, True)
    share = (dy.reshape(shape) / count).astype(dy.dtype, copy=False)
    return np.where(chosen, share, dy.dtype.type(0))


@into("ExtremumGrad")
def _extremum_grad_into(x: Any, y: Any, dy: Any, out: Any, *, axis: Axis, keepdims: bool) -> None:
    shape = kept(x.shape, axis)
    chosen = np.equal(x, y.reshape(shape))
    count = _add(chosen, axis, np.dtype(np.float32) if is_half(dy) else dy.dtype, None, True)
    share = (dy.reshape(shape) / count).astype(dy.dtype, copy=False)
    bits = f"i{out.itemsize}"  # times 0 or 1: an exact selection, of infinities and NaN too
    np.multiply(share.view(bits), chosen, out.view(bits))


@kernel("ArgMax")
def _argmax(x: Any, *, axis: int, output_type: Any) -> Any:
    return x.argmax(axis).astype(output_type.np, copy=False)


@kernel("ArgMin")
def _argmin(x: Any, *, axis: int, output_type: Any) -> Any:
    return x.argmin(axis).astype(output_type.np, copy=False)


@into("ArgMax")
def _argmax_into(x: Any, out: Any, *, axis: int, output_type: Any) -> None:
    out[...] = x.argmax(axis)


@into("ArgMin")
def _argmin_into(x: Any, out: Any, *, axis: int, output_type: Any) -> None:
    out[...] = x.argmin(axis)


@kernel("All")
def _all(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    return _and(x, axis, None, None, keepdims)


@kernel("Any")
def _any(x: Any, *, axis: Axis, keepdims: bool) -> Any:
    return _or(x, axis, None, None, keepdims)


@into("All")
def _all_into(x: Any, out: Any, *, axis: Axis, keepdims: bool) -> None:
    _and(x, axis, None, out, keepdims)


@into("Any")
def _any_into(x: Any, out: Any, *, axis: Axis, keepdims: bool) -> None:
    _or(x, axis, None, out, keepdims)


# -- gradients of broadcasting and of sums ---------------------------------------------------------------------------


def _summed_axes(own: tuple[int, ...], sizes: tuple[int, ...]) -> list[int]:
    """The axes along which `sizes` was broadcast to `own`."""
    lead = len(own) - len(sizes)
    axes = [*range(lead), *[lead + i for i, d in enumerate(sizes) if d != own[lead + i]]]
    if any(sizes[i - lead] != 1 for i in axes[lead:]):
        raise InvalidArgumentError("a shape that was not broadcast to this", got=f"{list(sizes)} and {list(own)}")
    return axes


@kernel("SumTo")
def _sum_to(x: Any, shape: Any) -> Any:
    sizes = tuple(shape.tolist())
    own = x.shape
    lead = len(own) - len(sizes)
    if own[lead:] == sizes:
        return _wide_total(x, tuple(range(lead)), False) if lead else np.array(x)[()]
    return _wide_total(x, tuple(_summed_axes(own, sizes)), False).reshape(sizes)


@into("SumTo")
def _sum_to_into(x: Any, shape: Any, out: Any) -> None:
    own, sizes = x.shape, out.shape
    if own == sizes:
        out[...] = x
    elif is_half(x):
        out[...] = _sum_to(x, shape)
    else:
        axes = _summed_axes(own, sizes)
        total_into(x, tuple(axes), False, out.reshape([d for i, d in enumerate(own) if i not in axes]))


@fit("SumTo")
def _fit_sum_to(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    own, sizes = inputs[0].dims, outputs[0].dims
    if own is None or sizes is None or None in own or None in sizes:
        return None
    if own == sizes:
        return None
    axes = tuple(_summed_axes(own, sizes))
    found = _fitted(inputs[0], axes)
    if found is None or all_axes(axes, len(own)):
        return None
    function, write = found
    if len(sizes) == 1:
        return Fitted(lambda x, shape: function(x), lambda x, shape, out: write(x, out))
    return Fitted(lambda x, shape: function(x).reshape(sizes), lambda x, shape, out: write(x, out.reshape(-1)))


def repeated(x: Any, shape: tuple[int, ...]) -> Any:
    """`x`, of the same rank, repeated to `shape` without a copy; a tenth of the cost of `np.broadcast_to`."""
    if x.dtype.kind == "V" or not x.flags.c_contiguous or 0 in shape:
        return np.broadcast_to(x, shape)
    out: Any = np.ndarray(shape, x.dtype, x, 0, [0 if n == 1 else s for n, s in zip(x.shape, x.strides, strict=True)])
    out.flags.writeable = False
    return out


@kernel("Spread", view=True)
def _spread(x: Any, shape: Any, *, axis: Axis, keepdims: bool, mean: bool) -> Any:
    sizes = tuple(shape.tolist())
    if mean:
        count = count_along(sizes, axis)
        x = (x.astype(np.float32, order="C") / count).astype(x.dtype) if is_half(x) else x / x.dtype.type(count)
    return repeated(x if keepdims else x.reshape(kept(sizes, axis)), sizes)


@fit("Spread")
def _fit_spread(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    """The gradient of a sum or a mean over everything: one number, seen many times."""
    sizes, dtype = outputs[0].dims, inputs[0].dtype.np
    if inputs[0].dims != () or not sizes or None in sizes or dtype.char not in "fd":
        return None
    divisor = dtype.type(count_along(sizes, None)) if attrs["mean"] else dtype.type(1)
    strides = (0,) * len(sizes)

    def spread(x: Any, shape: Any) -> Any:
        out: Any = np.ndarray(sizes, dtype, np.array(x / divisor), 0, strides)
        out.flags.writeable = False
        return out

    return Fitted(spread)
