"""Sums, means, extremes and orders of tensors, in PyTorch's spelling.

Policy: `dim` and `keepdim`, integers are summed as int64, variances divide by n - 1, `max(dim)` returns values and
indices, nothing has no extreme, and lengths and deviations of 0 have the derivative 0; the work is done by the
library's own ops.

State: none.
"""

from __future__ import annotations

import math as scalar
from collections.abc import Callable
from typing import Any, NamedTuple

from graphflow import dtypes
from graphflow.eager import matrices, pointwise
from graphflow.eager.conventions import LENGTHS, by_rules, differentiated
from graphflow.eager.mode import placed
from graphflow.eager.promotion import countable, inexact, truth
from graphflow.eager.storage import apart
from graphflow.errors import DTypeError, OutOfRangeError, ShapeError, shown
from graphflow.ops import (
    arithmetic,
    arrange,
    array,
    casts,
    compare,
    index,
    linalg,
    math,
    ordering,
    reduce,
    scans,
)
from graphflow.tensor import Tensor


class Found(NamedTuple):
    """Values along a dimension, and where they were."""

    values: Any
    indices: Any


def axis_of(x: Any, dim: Any) -> int:
    """A dimension of a tensor, counted from the front."""
    rank = len(x.dims)
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise DTypeError("a dimension is an integer", got=shown(dim), hint="dim=0, or dim=(0, 1)")
    number = int(dim)
    if not -max(rank, 1) <= number < max(rank, 1):
        raise OutOfRangeError(
            f"the tensor has no dimension {number}",
            expected=f"{-max(rank, 1)} to {max(rank, 1) - 1}",
            got=f"a tensor of shape {list(x.dims)}",
        )
    return number % rank if rank else 0


def axes_of(x: Any, dim: Any) -> Any:
    """Several dimensions; None means all."""
    if dim is None or isinstance(dim, (tuple, list)) and not dim:
        return None
    if not x.dims:
        for d in dim if isinstance(dim, (tuple, list)) else [dim]:
            axis_of(x, d)
        return None
    return [axis_of(x, d) for d in dim] if isinstance(dim, (tuple, list)) else axis_of(x, dim)


def size_at(x: Any, axis: int) -> Any:
    """A size; a tensor where it comes with the values."""
    return array.shape(x)[axis] if x.dims[axis] is None else x.dims[axis]


def known_size(x: Any, axis: int, what: str) -> int:
    """A size that decides what a graph looks like."""
    found: int | None = x.dims[axis]
    if found is None:
        raise ShapeError(
            f"{what} must know the size of dimension {axis}, which comes with the values here",
            expected="a known size",
            got=f"shape {list(x.dims)}",
            hint="another dimension, or a placeholder or an input signature with this size",
        )
    return found


def _in(x: Any, dtype: Any) -> Any:
    return countable(x) if dtype is None else casts.cast(x, dtype)


@placed
def sum_(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum over dimensions; of integers and bools it is an int64."""
    return reduce.reduce_sum(_in(input, dtype), axes_of(input, dim), keepdim)


@placed
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean over dimensions."""
    x = input if dtype is None else casts.cast(input, dtype)
    if not (x.dtype.is_floating or x.dtype.is_complex):
        raise DTypeError("the mean of integers is no integer", got=x.dtype.name, hint="x.float().mean()")
    return reduce.reduce_mean(x, axes_of(input, dim), keepdim)


@placed
def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The product over a dimension, or of all elements."""
    return reduce.reduce_prod(_in(input, dtype), axes_of(input, dim), keepdim)


def _count(x: Any, axes: Any) -> Any:
    """How many elements there are along dimensions; a tensor where that comes with the values."""
    several = range(len(x.dims)) if axes is None else axes if isinstance(axes, list) else [axes]
    return scalar.prod([size_at(x, axis) for axis in several])


@placed
def var(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """The variance over dimensions, with n - 1 in the denominator unless `correction` (or `unbiased`) says else."""
    if isinstance(dim, bool):  # x.var(False), as PyTorch reads it
        dim, unbiased = None, dim
    less = (1 if unbiased else 0) if correction is None else correction
    if not isinstance(less, (int, float)):
        raise DTypeError("correction is a number", got=shown(less), hint="correction=1")
    axes = axes_of(input, dim)
    found = reduce.reduce_variance(input, axes, keepdim)
    count = _count(input, axes)
    if less == 0:
        return found
    if not isinstance(count, int):
        count = casts.cast(count, found.dtype)
        return found * (count / arithmetic.maximum(count - float(less), 0.0))
    return arithmetic.multiply(found, count / (count - less) if count > less else float("inf"))


_root = by_rules(math.sqrt, LENGTHS)


@placed
def std(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """The square root of the variance."""
    return _root(var(input, dim, unbiased, keepdim, correction=correction))


@placed
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """log(sum(exp(input))) over dimensions, without overflow."""
    return reduce.reduce_logsumexp(inexact(input), axes_of(input, dim), keepdim)


@placed
def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    """The p-norm over dimensions, or of all elements."""
    axes = axes_of(input, dim)
    if p == 0:
        return casts.cast(reduce.count_nonzero(input, axes, keepdim), input.dtype.real_dtype)
    if p == -scalar.inf:
        return reduce.reduce_min(arithmetic.abs(input), axes, keepdim)
    order = "euclidean" if p in (2, 2.0, "fro", None) else p
    with differentiated(LENGTHS):
        if isinstance(p, (int, float)) and p < 0:
            powers = reduce.reduce_sum(math.pow(arithmetic.abs(input), float(p)), axes, keepdim)
            return math.pow(powers, 1.0 / p)
        return linalg.norm(input, order, [axes] if isinstance(axes, int) else axes, keepdim)


@placed
def any_(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether an element over the dimensions is true."""
    return reduce.reduce_any(truth(input), axes_of(input, dim), keepdim)


@placed
def all_(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether all elements over the dimensions are true."""
    return reduce.reduce_all(truth(input), axes_of(input, dim), keepdim)


# -- extremes --------------------------------------------------------------------------------------------------------


def _place(op: Callable[..., Any], input: Any, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        found = op(array.reshape(input, [-1]), 0)
        return array.reshape(found, [1] * len(input.dims)) if keepdim else found
    axis = axis_of(input, dim)
    if not input.dims:
        return casts.cast(array.zeros_like(input), dtypes.int64)
    found = op(input, axis)
    return array.expand_dims(found, axis) if keepdim else found


@placed
def argmax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Where along a dimension (in the flattened tensor, if none is given) the largest element is."""
    return _place(reduce.argmax, input, dim, keepdim)


@placed
def argmin(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Where along a dimension (in the flattened tensor, if none is given) the smallest element is."""
    return _place(reduce.argmin, input, dim, keepdim)


def _over(op: Callable[..., Any], input: Any, axes: Any, keepdim: bool = False) -> Any:
    """The extreme over dimensions, of bools as well; of nothing there is none."""
    if input.dims is not None and 0 in input.dims and None not in input.dims and _count(input, axes) == 0:
        raise ShapeError(
            "nothing has no largest or smallest element",
            got=f"shape {list(input.dims)}",
            hint="x.numel() tells whether there are elements",
        )
    if input.dtype.is_bool:
        return casts.cast(op(casts.cast(input, dtypes.uint8), axes, keepdim), dtypes.bool_)
    return op(input, axes, keepdim)


def _extreme(total: Any, place: Any, elementwise: str, input: Any, dim: Any, keepdim: bool) -> Any:
    if isinstance(dim, Tensor):
        return pointwise.FUNCTIONS[elementwise](input, dim)
    if dim is None:
        return _over(total, input, None)
    axis = axis_of(input, dim)
    indices = _place(place, input, axis, keepdim=True)
    values = gather(input, axis, indices) if input.dims else input
    if not keepdim and input.dims:
        values, indices = array.squeeze(values, [axis]), array.squeeze(indices, [axis])
    return Found(values, indices)


@placed
def max_(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; along a dimension the values and their indices; of two tensors the larger elements."""
    return _extreme(reduce.reduce_max, reduce.argmax, "maximum", input, dim if other is None else other, keepdim)


@placed
def min_(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; along a dimension the values and their indices; of two tensors the smaller elements."""
    return _extreme(reduce.reduce_min, reduce.argmin, "minimum", input, dim if other is None else other, keepdim)


@placed
def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element over dimensions."""
    return _over(reduce.reduce_max, input, axes_of(input, dim), keepdim)


@placed
def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element over dimensions."""
    return _over(reduce.reduce_min, input, axes_of(input, dim), keepdim)


@placed
def gather(input: Any, dim: Any, index: Any) -> Any:
    """The elements along a dimension that `index`, of the same rank, names."""
    return ordering._take_along(input, index, axis_of(input, dim))


# -- order -----------------------------------------------------------------------------------------------------------


@placed
def sort(input: Any, dim: Any = -1, descending: bool = False, stable: bool = True) -> Found:
    """The elements in order along a dimension, and where they were."""
    axis = axis_of(input, dim)
    if not input.dims:
        return Found(apart(input, input), array.zeros([], dtypes.int64))
    if input.dtype.is_bool:
        values, indices = ordering._sort(casts.cast(input, dtypes.uint8), axis, bool(descending))
        return Found(casts.cast(values, dtypes.bool_), casts.cast(indices, dtypes.int64))
    values, indices = ordering._sort(input, axis, bool(descending))
    return Found(values, casts.cast(indices, dtypes.int64))


@placed
def argsort(input: Any, dim: Any = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that put the elements in order along a dimension."""
    return sort(input, dim, descending).indices


@placed
def topk(input: Any, k: int, dim: Any = -1, largest: bool = True, sorted: bool = True) -> Found:
    """The k largest elements along a dimension, largest first, and where they were; or the smallest."""
    axis = axis_of(input, dim)
    if not hasattr(k, "__index__"):
        raise DTypeError("topk finds a whole number of elements", got=shown(k))
    if input.dims and input.dims[axis] is not None and not 0 <= k <= input.dims[axis]:
        raise OutOfRangeError("topk finds as many as there are", expected=f"at most {input.dims[axis]}", got=str(k))
    if axis == len(input.dims) - 1 and largest:
        values, indices = ordering.top_k(input, k)
        return Found(values, casts.cast(indices, dtypes.int64))
    values, indices = sort(input, dim, descending=largest)
    kept = (slice(None),) * axis + (slice(0, k),)
    return Found(values[kept], indices[kept])


def _middle(input: Any, axis: int) -> Found:
    """The middle element along a dimension, which is kept, and its index; NaN where there is one."""
    size = known_size(input, axis, "median")
    if not size:
        raise ShapeError("nothing has no middle element", got=f"shape {list(input.dims)}")
    values, indices = sort(input, axis)
    at = (slice(None),) * axis + (slice((size - 1) // 2, (size + 1) // 2),)
    values, indices = values[at], indices[at]
    if not input.dtype.is_floating:
        return Found(values, indices)
    missing = compare.is_nan(input)
    any_missing = reduce.reduce_any(missing, axis, True)
    first = _place(reduce.argmax, missing, axis, keepdim=True)
    indices = index.where(any_missing, first, indices)
    return Found(gather(input, axis, indices), indices)


@placed
def median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The middle element, the lower one of two; along a dimension the values and their indices."""
    if dim is None:
        flat = array.reshape(input, [-1])
        found = _middle(flat, 0).values
        if not input.dtype.is_floating:
            return array.reshape(found, [])
        same = compare.logical_or(compare.equal(flat, found), compare.logical_and(*map(compare.is_nan, (flat, found))))
        return reduce.reduce_max(index.where(same, flat, -scalar.inf))  # where several are it, they share the gradient
    axis = axis_of(input, dim)
    if not input.dims:
        return Found(apart(input, input), array.zeros([], dtypes.int64))
    values, indices = _middle(input, axis)
    return Found(values, indices) if keepdim else Found(array.squeeze(values, [axis]), array.squeeze(indices, [axis]))


def _along(op: Callable[..., Any], input: Any, dim: Any) -> Any:
    """What runs along a dimension; a scalar is a vector of one element."""
    axis = axis_of(input, dim)
    return op(input, axis) if input.dims else array.reshape(op(array.reshape(input, [1]), axis), [])


@placed
def cumsum(input: Any, dim: Any, *, dtype: Any = None) -> Any:
    """The sums of the first elements along a dimension."""
    return _along(scans.cumsum, _in(input, dtype), dim)


@placed
def cumprod(input: Any, dim: Any, *, dtype: Any = None) -> Any:
    """The products of the first elements along a dimension."""
    return _along(scans.cumprod, _in(input, dtype), dim)


@placed
def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements over dimensions are not zero."""
    return reduce.count_nonzero(input, axes_of(input, dim))


@placed
def flip(input: Any, *dims: Any) -> Any:
    """The elements in reverse along dimensions."""
    several = dims[0] if len(dims) == 1 and isinstance(dims[0], (list, tuple)) else dims
    return arrange.reverse(input, [axis_of(input, d) for d in several])


METHODS: dict[str, Callable[..., Any]] = {
    "sum": sum_, "mean": mean, "prod": prod, "var": var, "std": std, "logsumexp": logsumexp, "norm": norm, "any": any_,
    "all": all_, "argmax": argmax, "argmin": argmin, "max": max_, "min": min_, "amax": amax, "amin": amin,
    "gather": gather, "sort": sort, "argsort": argsort, "topk": topk, "median": median, "cumsum": cumsum,
    "cumprod": cumprod, "count_nonzero": count_nonzero, "flip": flip, **matrices.METHODS,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {**METHODS, **matrices.FUNCTIONS}
