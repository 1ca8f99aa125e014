"""Order and counts in PyTorch's spelling: unique values, histograms, quantiles, running extremes.

Policy: each is a composition of the library's own ops.  A running extreme is found in as many steps as the length has
binary digits, each of which looks twice as far back.  Of equal elements the later one counts in a running extreme and
in `mode`, as in PyTorch.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphflow import dtypes
from graphflow.eager import pointwise, shaping
from graphflow.eager.mode import placed
from graphflow.eager.promotion import inexact, pair
from graphflow.eager.rearranging import movedim, ravel, size_of
from graphflow.eager.reductions import Found, axis_of, gather, sort
from graphflow.eager.storage import apart
from graphflow.errors import DTypeError, InvalidArgumentError, OutOfRangeError, ShapeError
from graphflow.ops import arithmetic, array, casts, compare, core, index, ordering, reduce, scans, segment
from graphflow.tensor import Tensor

Function = Callable[..., Any]


class Histogram(NamedTuple):
    """Counts, and the ends of the intervals."""

    hist: Any
    bin_edges: Any


# -- equal values ----------------------------------------------------------------------------------------------------


def _chosen(found: tuple[Any, Any, Any], return_inverse: bool, return_counts: bool) -> Any:
    """The values, and what else was asked for."""
    values, inverse, counts = found
    if not return_inverse and not return_counts:
        return values
    return (values, *([inverse] if return_inverse else []), *([counts] if return_counts else []))


def _distinct(x: Any) -> tuple[Any, Any, Any]:
    """The different elements of a vector in order, each element's number, and the counts."""
    values, numbers, counts = ordering._unique(x, dtypes.int64, True)
    order = ordering._sort(_sortable(values), -1, False)[1]
    ordered = index.gather(values, order)
    places = array.reshape(order, [-1, 1])
    ranks = index.scatter_nd(places, array.range_(array.size(values)), array.shape(values))
    return ordered, casts.cast(index.gather(ranks, numbers), dtypes.int64), index.gather(counts, order)


def _sortable(x: Any) -> Any:
    """Bools as numbers."""
    return casts.cast(x, dtypes.uint8) if x.dtype.is_bool else x


def _is_nan(x: Any) -> Any:
    return compare.is_nan(x) if x.dtype.is_floating else array.zeros_like(x, dtypes.bool_)


@placed
def unique(
    input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    """The different elements in order (or the different slices along a dimension), their numbers, their counts."""
    if dim is None:
        values, inverse, counts = _distinct(ravel(input))
        return _chosen((values, array.reshape(inverse, array.shape(input)), counts), return_inverse, return_counts)
    axis = axis_of(input, dim)
    rows = movedim(input, axis, 0)
    length = size_of(rows, 0)
    flat = array.reshape(rows, [length, -1])
    numbers = array.zeros([length], dtypes.int64)
    for column in range(size_of(flat, 1)):  # by the first element, among equals by the second, and so on
        other = _distinct(flat[:, column])[1]
        numbers = _distinct(numbers * length + other)[1]
    counts = segment.bincount(numbers, dtype=dtypes.int64)
    first = segment.unsorted_segment_min(array.range_(length, dtype=dtypes.int64), numbers, array.size(counts))
    return _chosen((movedim(index.gather(rows, first), 0, axis), numbers, counts), return_inverse, return_counts)


@placed
def unique_consecutive(input: Any, return_inverse: bool = False, return_counts: bool = False, dim: Any = None) -> Any:
    """The first of each run of equal elements (or slices along a dimension), their numbers, the lengths of the runs."""
    axis = 0 if dim is None else axis_of(input, dim)
    rows = ravel(input) if dim is None else movedim(input, axis, 0)
    changed = compare.not_equal(rows[1:], rows[:-1])
    if len(rows.dims) > 1:
        changed = reduce.reduce_any(changed, list(range(1, len(rows.dims))))
    begins = array.concat([np.ones(min(size_of(rows, 0), 1), np.bool_), changed], 0)
    places = array.reshape(index.where(begins), [-1])
    ends = array.concat([places[1:], [size_of(rows, 0)]], 0)[: size_of(rows, 0)]
    numbers = scans.cumsum(casts.cast(begins, dtypes.int64), 0) - 1
    inverse = array.reshape(numbers, array.shape(input)) if dim is None else numbers
    return _chosen(
        (movedim(index.gather(rows, places), 0, axis), inverse, ends - places), return_inverse, return_counts
    )


@placed
def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along a dimension, the smallest of several, and its last place."""
    axis = axis_of(input, dim)
    if not input.dims:
        return Found(input, array.zeros_like(input, dtypes.int64))
    x = movedim(input, axis, -1)
    values = gather(x, -1, ordering._sort(_sortable(x), -1, False)[1])
    equal = compare.equal(array.expand_dims(values, -1), array.expand_dims(values, -2))
    at = array.expand_dims(reduce.argmax(reduce.count_nonzero(equal, -1), -1), -1)
    found = core.stop_gradient(gather(values, -1, at))
    numbers = array.range_(size_of(x, -1), dtype=dtypes.int64)
    places = reduce.reduce_max(index.where(compare.equal(x, found), array.broadcast_to(numbers, x.dims), -1), -1, True)
    return _kept(input, axis, movedim(places, -1, axis), keepdim)


def _kept(x: Any, axis: int, places: Any, keepdim: bool) -> Any:
    """The elements at places along a dimension, and the places."""
    values = gather(x, axis, places)
    return Found(values, places) if keepdim else Found(array.squeeze(values, [axis]), array.squeeze(places, [axis]))


# -- counts ----------------------------------------------------------------------------------------------------------


@placed
def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each of 0, 1, 2, ... occurs, or the sum of the weights where it does."""
    if len(input.dims) != 1 or not input.dtype.is_integer:
        raise DTypeError("bincount counts a vector of integers", got=f"{input.dtype.name}{list(input.dims)}")
    if weights is not None and weights.dtype is not dtypes.float32:
        weights = casts.cast(weights, dtypes.float64)
    return segment.bincount(input, weights, minlength=minlength, dtype=dtypes.int64)


@placed
def histc(input: Any, bins: int = 100, min: Any = 0, max: Any = 0) -> Any:
    """How many elements lie in each of so many equal intervals between two numbers, or between the extremes."""
    if not input.dtype.is_floating:
        raise DTypeError("histc counts floating-point numbers", got=input.dtype.name, hint="x.float()")
    x = core.stop_gradient(ravel(input))
    low, high = pointwise.as_scalar(min, x), pointwise.as_scalar(max, x)
    if min == max:
        low, high = reduce.reduce_min(x), reduce.reduce_max(x)
        alike = compare.equal(low, high)
        low, high = index.where(alike, low - 1, low), index.where(alike, high + 1, high)
    inside = compare.logical_and(compare.greater_equal(x, low), compare.less_equal(x, high))
    places = casts.cast(arithmetic.floor((x - low) / (high - low) * bins), dtypes.int64)
    places = arithmetic.minimum(places, bins - 1)
    weights = casts.cast(inside, x.dtype)
    return segment.unsorted_segment_sum(weights, index.where(inside, places, array.zeros_like(places)), bins)


@placed
def histogram(input: Any, bins: int, *, range: Any = None, density: bool = False) -> Any:
    """How many elements lie in each of so many equal intervals, and where these begin and end."""
    x = ravel(input)
    low, high = (reduce.reduce_min(x), reduce.reduce_max(x)) if range is None else range
    counts = histc(x, bins, *((0, 0) if range is None else range))
    edges = casts.cast(np.linspace(0.0, 1.0, bins + 1), x.dtype) * (high - low) + low
    if density:
        counts = counts / reduce.reduce_sum(counts) / (edges[1:] - edges[:-1])
    return Histogram(counts, edges)


@placed
def searchsorted(
    sorted_sequence: Any, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Any = None,
) -> Any:  # fmt: skip
    """Where each element would stand in the sorted vector (or in its row): before equal ones, or after them."""
    if side not in (None, "left", "right") or right and side == "left":
        raise InvalidArgumentError("no such side", expected="'left' or 'right'", got=repr(side)[:80])
    values = input if isinstance(input, Tensor) else core.convert_to_tensor(input, sorted_sequence.dtype)
    rows = sorted_sequence if sorter is None else gather(sorted_sequence, -1, sorter)
    flat = ravel(values) if len(rows.dims) == 1 else values
    rows, flat = pair(rows, flat)
    kind = dtypes.int32 if out_int32 else dtypes.int64
    found = ordering.searchsorted(rows, flat, "right" if right or side == "right" else "left", kind)
    return found if len(rows.dims) > 1 else array.reshape(found, array.shape(values))


@placed
def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """The number of the interval between boundaries in which each element lies."""
    if len(boundaries.dims) != 1:
        raise ShapeError("boundaries are a vector", got=f"shape {list(boundaries.dims)}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


# -- order -----------------------------------------------------------------------------------------------------------


@placed
def msort(input: Any) -> Any:
    """The elements in order along the first dimension."""
    return sort(input, 0).values


@placed
def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along a dimension, and where it was."""
    axis = axis_of(input, dim)
    if not input.dims:
        return Found(apart(input, input), array.zeros_like(input, dtypes.int64))
    if not 1 <= k <= size_of(input, axis):
        raise OutOfRangeError("there is no such element", expected=f"1 to {input.dims[axis]}", got=str(k))
    order = sort(input, axis).indices
    return _kept(input, axis, shaping.narrow(order, axis, k - 1, 1), keepdim)


_BETWEEN: dict[str, Function] = {
    "linear": lambda low, high, part: low + (high - low) * part,
    "lower": lambda low, high, part: low,
    "higher": lambda low, high, part: high,
    "midpoint": lambda low, high, part: (low + high) * 0.5,
    "nearest": lambda low, high, part: index.where(compare.greater(part + array.zeros_like(low), 0.5), high, low),
}


def _quantile(skip_nan: bool, name: str) -> Function:
    def function(input: Any, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear") -> Any:
        if interpolation not in _BETWEEN:
            raise InvalidArgumentError("no such interpolation", expected=", ".join(map(repr, _BETWEEN)),
                                       got=repr(interpolation)[:80])  # fmt: skip
        if not input.dtype.is_floating:
            raise DTypeError(f"{name} takes floating-point numbers", got=input.dtype.name, hint="x.float()")
        wanted = q if isinstance(q, Tensor) else core.convert_to_tensor(q, input.dtype)
        axis = None if dim is None else axis_of(input, dim)
        x = ravel(input) if axis is None else movedim(input, axis, -1)
        found = _ranked(x, ravel(wanted), interpolation, skip_nan)
        if keepdim:
            ones = [1] * len(input.dims) if axis is None else [1 if d == axis else n for d, n in enumerate(input.dims)]
            found = array.reshape(found, [-1, *ones])
        return found if wanted.dims else found[0]

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "The elements below which these parts of all lie" + (", NaN aside." if skip_nan else ".")
    return placed(function)


def _ranked(x: Any, wanted: Any, interpolation: str, skip_nan: bool) -> Any:
    """The quantiles of the last dimension, along a new first one."""
    ordered = ordering._sort(x, -1, False)[0]  # NaN stands last
    nan = compare.is_nan(ordered)
    last = casts.cast(reduce.reduce_sum(casts.cast(compare.logical_not(nan), dtypes.int64), -1, True), x.dtype) - 1.0
    ranks = arithmetic.multiply(last if skip_nan else array.ones_like(last) * (size_of(x, -1) - 1.0), wanted)
    ranks = arithmetic.maximum(ranks, 0.0)
    low = arithmetic.floor(ranks)
    values = [gather(ordered, -1, casts.cast(at, dtypes.int64)) for at in (low, arithmetic.ceil(ranks))]
    found = _BETWEEN[interpolation](*values, ranks - low)
    if not skip_nan:
        none = array.broadcast_to(reduce.reduce_any(nan, -1, True), found.dims)
        found = index.where(none, array.fill(list(found.dims), pointwise.as_scalar(float("nan"), x)), found)
    return movedim(found, -1, 0)


@placed
def nanmedian(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The middle element, NaN aside, the lower one of two; along a dimension the values and their places."""
    x, axis = (ravel(input), 0) if dim is None else (input, axis_of(input, dim))
    order = sort(x, axis).indices
    count = reduce.reduce_sum(casts.cast(compare.logical_not(_is_nan(x)), dtypes.int64), axis, True)
    places = gather(order, axis, arithmetic.maximum((count - 1) // 2, 0))
    found = _kept(x, axis, places, keepdim)
    return array.reshape(gather(x, 0, places), []) if dim is None else found


# -- running extremes ------------------------------------------------------------------------------------------------


def _running(reaches: Function, name: str) -> Function:
    def function(input: Any, dim: int) -> Any:
        axis = axis_of(input, dim)
        if not input.dims:
            return Found(input, array.zeros_like(input, dtypes.int64))
        x = core.stop_gradient(_sortable(movedim(input, axis, -1)))
        length, step = size_of(x, -1), 1
        at = array.broadcast_to(array.range_(length, dtype=dtypes.int64), x.dims)
        while step < length:
            before, here = x[..., :-step], x[..., step:]
            stays = compare.logical_not(reaches(here, before))  # as it is beside NaN
            if x.dtype.is_floating:
                stays = compare.logical_and(stays, compare.logical_not(compare.is_nan(here)))
            moved = index.where(stays, at[..., :-step], at[..., step:])
            at = array.concat([at[..., :step], moved], -1)
            x = array.concat([x[..., :step], index.where(stays, before, here)], -1)
            step *= 2
        return _kept(input, axis, movedim(at, -1, axis), True)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {'largest' if name == 'cummax' else 'smallest'} element so far, and its last place."
    return placed(function)


cummax, cummin = _running(compare.greater_equal, "cummax"), _running(compare.less_equal, "cummin")


@placed
def logcumsumexp(input: Any, dim: int) -> Any:
    """The logarithms of the running sums of exponentials, without overflow."""
    axis = axis_of(input, dim)
    x = inexact(input)
    if not x.dims:
        return apart(x, input)
    x, step = movedim(x, axis, -1), 1
    length = size_of(x, -1)
    while step < length:
        x = array.concat([x[..., :step], _together(x[..., step:], x[..., :-step])], -1)
        step *= 2
    return apart(movedim(x, -1, axis), input)


def _together(x: Any, y: Any) -> Any:
    return reduce.reduce_logsumexp(array.stack([x, y]), 0)


METHODS: dict[str, Function] = {
    "unique": unique, "unique_consecutive": unique_consecutive, "mode": mode, "bincount": bincount, "histc": histc,
    "histogram": histogram,
    "msort": msort, "kthvalue": kthvalue, "quantile": _quantile(False, "quantile"),
    "nanquantile": _quantile(True, "nanquantile"), "nanmedian": nanmedian, "cummax": cummax, "cummin": cummin,
    "logcumsumexp": logcumsumexp,
}  # fmt: skip
FUNCTIONS: dict[str, Function] = {**METHODS, "searchsorted": searchsorted, "bucketize": bucketize}
