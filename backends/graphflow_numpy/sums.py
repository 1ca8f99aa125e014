"""Sums whose bits depend on values and shape alone, wherever the values lie in memory and whoever asks.

Policy: NumPy adds in the order in which it walks through memory, so what is not C-ordered is copied first.  A short sum
over the first axes, or over all, is a product with ones: BLAS takes a fifth of what `np.add.reduce` does, and below
the sizes for which it uses threads its result is always the same.  A long sum over the first axes walks along rows
that are folded to a width that is worth a vector loop.

State: bounded caches of ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

Axis = Any  # a tuple of ints, or None for all axes
_reduce: Any = np.add.reduce

SHORT_MATRIX = 9216  # elements up to which no BLAS uses threads for a vector times a matrix
SHORT_VECTOR = 2048  # elements up to which the accumulators of a dot product are as exact as NumPy's pairwise sum
NARROW = 128  # elements of a row up to which rows are folded
WIDE = 1024  # elements of a folded row, worth a vector loop


@functools.lru_cache(512)
def ones(count: int, dtype: Any) -> Any:
    """Many ones, read-only."""
    found = np.ones(count, dtype)
    found.flags.writeable = False
    return found


def ordered(x: Any) -> Any:
    """The array in C order."""
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)


def first_axes(axis: Axis, rank: int) -> int:
    """How many axes are summed over if those are the first ones, and not all; 0 otherwise."""
    count = 0 if axis is None else len(axis)
    return count if 0 < count < rank and tuple(axis) == tuple(range(count)) else 0


def all_axes(axis: Axis, rank: int) -> bool:
    """Whether nothing remains."""
    return axis is None or len(axis) == rank


def column_sums(matrix: Any, out: Any) -> None:
    """The sum of the rows of a C-ordered matrix of float32 or float64."""
    count, width = matrix.shape
    if matrix.size <= SHORT_MATRIX:
        ones(count, matrix.dtype).dot(matrix, out)
        return
    fold = WIDE // width if width <= NARROW else 0
    rows = count // fold if fold else 0
    if rows < 4:
        _reduce(matrix, 0, matrix.dtype, out)
        return
    whole = rows * fold
    folded = _reduce(matrix[:whole].reshape(rows, fold * width), 0).reshape(fold, width)
    _reduce(folded, 0, None, out)
    if whole < count:
        np.add(out, _reduce(matrix[whole:], 0), out)


def total(x: Any, axis: Axis, keepdims: bool) -> Any:
    """The sum over the axes, in the dtype of `x`, which is not of half precision."""
    x = ordered(x)
    if x.dtype.char not in "fd":
        return _reduce(x, axis, x.dtype, None, keepdims)
    if all_axes(axis, x.ndim) and x.size <= SHORT_VECTOR:
        found = ones(x.size, x.dtype).dot(x.reshape(-1))
        return np.full((1,) * x.ndim, found) if keepdims and x.ndim else found
    count = first_axes(axis, x.ndim)
    if not count:
        return _reduce(x, axis, x.dtype, None, keepdims)
    out = np.empty((*(1,) * (count * keepdims), *x.shape[count:]), x.dtype)
    column_sums(x.reshape(prod(x.shape[:count]), prod(x.shape[count:])), out.reshape(-1))
    return out


def total_into(x: Any, axis: Axis, keepdims: bool, out: Any) -> None:
    """The same into given memory."""
    count = first_axes(axis, x.ndim)
    if x.dtype.char not in "fd" or not count and not (all_axes(axis, x.ndim) and x.size <= SHORT_VECTOR):
        _reduce(ordered(x), axis, x.dtype, out, keepdims)
    elif count:
        column_sums(ordered(x).reshape(prod(x.shape[:count]), prod(x.shape[count:])), out.reshape(-1))
    else:
        out[...] = total(x, axis, False)


def fitted_total(
    shape: tuple[int, ...], axis: Axis, dtype: Any
) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """For a short sum over the first axes or over all: the sum of an array as a vector or number, and into a vector."""
    if dtype.char not in "fd" or not shape:
        return None
    if all_axes(axis, len(shape)):
        size = prod(shape)
        if size > SHORT_VECTOR:
            return None
        number = ones(size, dtype).dot
        return lambda x: number(x.ravel()), lambda x, out: out.fill(number(x.ravel()))  # in C order, copied if need be
    first = first_axes(axis, len(shape))
    form = prod(shape[:first]), prod(shape[first:])
    if not first or prod(shape) > SHORT_MATRIX:
        return None
    dot = ones(form[0], dtype).dot
    if form == shape:
        return (
            lambda x: dot(x if x.flags.c_contiguous else np.ascontiguousarray(x)),
            lambda x, out: dot(x if x.flags.c_contiguous else np.ascontiguousarray(x), out),
        )
    return lambda x: dot(ordered(x).reshape(form)), lambda x, out: dot(ordered(x).reshape(form), out)
