"""Sums, spreads and differences along dimensions that go beyond `reductions`, in PyTorch's spelling.

Policy: compositions of what `reductions` and `pointwise` have.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphflow.dtypes import as_dtype
from graphflow.eager import pointwise, reductions
from graphflow.eager.diagonals import diagonal
from graphflow.eager.mode import placed
from graphflow.eager.promotion import inexact
from graphflow.eager.rearranging import movedim, size_of
from graphflow.eager.reductions import axis_of
from graphflow.eager.storage import apart
from graphflow.errors import ShapeError
from graphflow.ops import arithmetic, array, casts, compare, linalg, math, reduce

Function = Callable[..., Any]


class Extremes(NamedTuple):
    """The smallest and the largest."""

    min: Any
    max: Any


@placed
def aminmax(input: Any, *, dim: Any = None, keepdim: bool = False) -> Extremes:
    """The smallest and the largest element, of all or along a dimension."""
    return Extremes(reductions.amin(input, dim, keepdim), reductions.amax(input, dim, keepdim))


@placed
def nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum over dimensions, NaN aside."""
    x = pointwise.where(compare.is_nan(input), array.zeros_like(input), input) if input.dtype.is_floating else input
    return reductions.sum_(x, dim, keepdim, dtype=dtype)


@placed
def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean over dimensions, NaN aside."""
    x = input if dtype is None else casts.cast(input, as_dtype(dtype))
    held = casts.cast(compare.logical_not(compare.is_nan(x)), x.dtype)
    return nansum(x, dim, keepdim) / reductions.sum_(held, dim, keepdim)


def _with_mean(spread: Function, name: str) -> Function:
    def function(
        input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> Any:
        mean_over = None if isinstance(dim, bool) else dim
        found = spread(input, dim, unbiased, keepdim, correction=correction)
        return found, reductions.mean(input, mean_over, keepdim)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The {'variance' if name[0] == 'v' else 'standard deviation'} and the mean."
    return placed(function)


@placed
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """What each element along a dimension adds to the one before it, n times over."""
    axis = axis_of(input, dim)
    if not input.dims:
        raise ShapeError("a scalar has no differences", got="shape []")
    parts = [x for x in (prepend, input, append) if x is not None]
    x = array.concat(parts, axis) if len(parts) > 1 else input
    before = (slice(None),) * axis
    for _ in range(n):
        later, earlier = x[(*before, slice(1, None))], x[(*before, slice(None, -1))]
        x = compare.logical_xor(later, earlier) if x.dtype.is_bool else later - earlier
    return apart(x, input)


def _areas(y: Any, x: Any, dx: Any, dim: int) -> Any:
    axis = axis_of(y, dim)
    before = (slice(None),) * axis
    heights = (y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]) / 2.0
    if x is None:
        return heights * dx
    if len(x.dims) == 1 and len(y.dims) > 1:
        x = array.reshape(x, [-1 if d == axis else 1 for d in range(len(y.dims))])
    if not x.dims or x.dims[dim] != y.dims[axis]:
        raise ShapeError("each point needs its place", expected=f"{y.dims[axis]} numbers", got=f"shape {list(x.dims)}")
    return heights * diff(x, dim=dim)


@placed
def trapezoid(y: Any, x: Any = None, *, dx: Any = 1.0, dim: int = -1) -> Any:
    """The area below straight lines between points."""
    return reduce.reduce_sum(_areas(y, x, dx, dim), axis_of(y, dim))


@placed
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = 1.0, dim: int = -1) -> Any:
    """The areas below straight lines, up to each point."""
    return reductions.cumsum(_areas(y, x, dx, dim), dim)


@placed
def cov(input: Any, *, correction: int = 1) -> Any:
    """The covariances of the rows, each of which is a variable."""
    if len(input.dims) > 2:
        raise ShapeError("cov takes a matrix or a vector", got=f"shape {list(input.dims)}")
    x = inexact(input if len(input.dims) == 2 else array.reshape(input, [1, -1]))
    centred = x - reduce.reduce_mean(x, 1, True)
    found = linalg.matmul(centred, arithmetic.conj(centred), transpose_b=True) / float(size_of(x, 1) - correction)
    return found if len(input.dims) == 2 else array.reshape(found, [])


@placed
def corrcoef(input: Any) -> Any:
    """The correlations of the rows."""
    found = cov(input)
    if not found.dims:
        return found / found
    spread = math.sqrt(diagonal(found))
    return pointwise.clamp(found / array.expand_dims(spread, 1) / array.expand_dims(spread, 0), -1.0, 1.0)


@placed
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of the elements of a vector, one row for each."""
    count = size_of(x, 0) if N is None else N
    powers = np.arange(count) if increasing else np.arange(count)[::-1]
    return array.stack([pointwise.pow_(x, int(p)) for p in powers], 1)


@placed
def renorm(input: Any, p: Any, dim: int, maxnorm: float) -> Any:
    """The slices along a dimension, those of a larger norm scaled to that one."""
    axis = axis_of(input, dim)
    if len(input.dims) < 2:
        raise ShapeError("renorm takes two dimensions or more", got=f"shape {list(input.dims)}")
    rows = movedim(input, axis, 0)
    sizes = reductions.norm(array.reshape(rows, [size_of(rows, 0), -1]), p, 1)
    scale = pointwise.where(compare.greater(sizes, maxnorm), maxnorm / (sizes + 1e-7), array.ones_like(sizes))
    return input * array.reshape(scale, [-1 if d == axis else 1 for d in range(len(input.dims))])


METHODS: dict[str, Function] = {
    "aminmax": aminmax, "nansum": nansum, "nanmean": nanmean, "diff": diff, "cov": cov, "corrcoef": corrcoef,
    "renorm": renorm,
}  # fmt: skip
FUNCTIONS: dict[str, Function] = {
    **METHODS, "var_mean": _with_mean(reductions.var, "var_mean"), "std_mean": _with_mean(reductions.std, "std_mean"),
    "trapezoid": trapezoid, "trapz": trapezoid, "cumulative_trapezoid": cumulative_trapezoid, "vander": vander,
}  # fmt: skip
IN_PLACE: dict[str, Function] = {"renorm": renorm}
