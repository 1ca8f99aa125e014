"""Kernels of slices, gathers, scatters and choices.

Policy: an index out of range is an error that names it and where it stands; nothing is clamped.  Rows are added at
repeated indices by one unbuffered pass over a flat view, in the order in which they come.

State: a cache of compiled index expressions, bounded, by their keys.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.spec import is_concrete
from graphflow_numpy.arrays import boxed
from graphflow_numpy.table import Fitted, fit, into, kernel, rows

# -- slices ----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _index(key: tuple[Any, ...]) -> Callable[..., Any]:
    """The function from the bounds that are tensors to a NumPy index."""
    fixed = tuple([slice(*p) if isinstance(p, tuple) else Ellipsis if p == "..." else p for p in key])
    if "t" not in key and not any(isinstance(p, tuple) and "t" in p for p in key):
        return lambda: fixed
    if key == ("t",):
        return int

    def filled(*bounds: Any) -> tuple[Any, ...]:
        values = iter(bounds)
        out: list[Any] = []
        for part, plain in zip(key, fixed, strict=True):
            if part == "t":
                out.append(int(next(values)))
            elif isinstance(part, tuple) and "t" in part:
                out.append(slice(*[int(next(values)) if p == "t" else p for p in part]))
            else:
                out.append(plain)
        return tuple(out)

    return filled


@kernel("MaskPlaces")
def _mask_places(mask: Any, size: Any) -> Any:
    if mask.shape[0] != size:
        raise ShapeError("the mask does not fit the tensor", expected=f"{size} elements", got=str(mask.shape[0]))
    return np.flatnonzero(mask)


@kernel("StridedSlice", view=True)
def _strided_slice(x: Any, *bounds: Any, key: tuple[Any, ...]) -> Any:
    try:
        found = boxed(x[_index(key)(*bounds)])
    except IndexError as error:
        raise _outside(error, x) from None
    return found.copy() if any(stride < 0 for stride in found.strides) else found  # as for Reverse


@kernel("StridedSliceGrad")
def _strided_slice_grad(dy: Any, shape: Any, *bounds: Any, key: tuple[Any, ...]) -> Any:
    out = np.zeros(shape.tolist(), dy.dtype)
    out[_index(key)(*bounds)] = dy
    return out


@into("StridedSliceGrad")
def _strided_slice_grad_into(dy: Any, shape: Any, *rest: Any, key: tuple[Any, ...]) -> None:
    out = rest[-1]
    out.fill(0)
    out[_index(key)(*rest[:-1])] = dy


def _outside(error: IndexError, x: Any) -> InvalidArgumentError:
    return InvalidArgumentError(str(error), got=f"a tensor of shape {list(np.shape(x))}")


def _extent(x: Any, begin: Any, size: Any) -> tuple[slice, ...]:
    starts, sizes, shape = begin.tolist(), size.tolist(), np.shape(x)
    if not len(starts) == len(sizes) == len(shape):
        got = f"{len(starts)} and {len(sizes)}"
        raise ShapeError("a slice needs one begin and one size for each axis", expected=str(len(shape)), got=got)
    out = []
    for axis, (a, n, d) in enumerate(zip(starts, sizes, shape, strict=True)):
        stop = d if n == -1 else a + n
        if not 0 <= a <= stop <= d:
            raise InvalidArgumentError(
                f"a slice leaves axis {axis}", expected=f"0 <= begin, begin + size <= {d}", got=f"begin {a}, size {n}"
            )
        out.append(slice(a, stop))
    return tuple(out)


rows({"Slice": lambda x, begin, size: x[_extent(x, begin, size)]}, view=True)


@kernel("SliceGrad")
def _slice_grad(dy: Any, begin: Any, shape: Any) -> Any:
    out = np.zeros(shape.tolist(), dy.dtype)
    out[tuple([slice(a, a + n) for a, n in zip(begin.tolist(), np.shape(dy), strict=True)])] = dy
    return out


@into("SliceGrad")
def _slice_grad_into(dy: Any, begin: Any, shape: Any, out: Any) -> None:
    out.fill(0)
    out[tuple([slice(a, a + n) for a, n in zip(begin.tolist(), np.shape(dy), strict=True)])] = dy


# -- gather and scatter ----------------------------------------------------------------------------------------------


def check_range(indices: Any, bound: int) -> None:
    """Raise unless 0 <= every index < bound."""
    if np.size(indices) and (int(indices.min()) < 0 or int(indices.max()) >= bound):
        place = np.argwhere((np.asarray(indices) < 0) | (np.asarray(indices) >= bound))[0].tolist()
        value = np.asarray(indices)[tuple(place)]
        where = f"indices{place} = " if place else "index "
        raise InvalidArgumentError(f"{where}{value} is out of range", expected=f"0 <= index < {bound}")


def add_rows(out: Any, indices: Any, values: Any) -> None:
    """out[indices[i]] += values[i] for every i in turn; `out` and `values` are contiguous, no index leaves `out`."""
    width = out[:1].size
    flat = indices if width == 1 else (indices.astype(np.intp)[:, None] * width + np.arange(width)).ravel()
    np.add.at(out.reshape(-1), flat, values.reshape(-1))


@kernel("Gather")
def _gather(params: Any, indices: Any, *, axis: int) -> Any:
    if np.size(indices) and indices.min() < 0:
        check_range(indices, params.shape[axis])
    try:
        return boxed(np.take(params, indices, axis))
    except IndexError:
        check_range(indices, params.shape[axis])
        raise


@into("Gather")
def _gather_into(params: Any, indices: Any, out: Any, *, axis: int) -> None:
    check_range(indices, params.shape[axis])
    if out.size:
        np.take(params, indices, axis, out, "clip")  # any other mode would copy the result twice


@kernel("GatherGrad")
def _gather_grad(dy: Any, indices: Any, shape: Any, *, axis: int) -> Any:
    out = np.empty(shape.tolist(), dy.dtype)
    _gather_grad_into(dy, indices, shape, out, axis=axis)
    return out


@into("GatherGrad")
def _gather_grad_into(dy: Any, indices: Any, shape: Any, out: Any, *, axis: int) -> None:
    sizes = out.shape
    axis = axis + len(sizes) if axis < 0 else axis
    check_range(indices, sizes[axis])
    out.fill(0)
    if not out.size or not np.size(dy):
        return
    outer = int(np.prod(sizes[:axis], dtype=np.intp))
    places = (np.arange(outer)[:, None] * sizes[axis] + np.ravel(indices)).ravel()
    add_rows(out.reshape(outer * sizes[axis], -1), places, np.ascontiguousarray(dy).reshape(places.size, -1))


def flat_places(indices: Any, shape: tuple[int, ...]) -> tuple[Any, int]:
    """For coordinates along the last axis of `indices`: the number of each addressed slice, and how many slices."""
    depth = indices.shape[-1]
    if depth > len(shape):
        raise ShapeError(f"an index has {depth} coordinates", expected=f"at most {len(shape)}", got=str(list(shape)))
    places: Any = np.zeros(indices.shape[:-1], np.intp)
    for i, bound in enumerate(shape[:depth]):
        column = indices[..., i]
        if column.size and (int(column.min()) < 0 or int(column.max()) >= bound):
            bad = np.argwhere((column < 0) | (column >= bound))[0].tolist()
            where = f"indices{bad} = {indices[tuple(bad)].tolist()}"
            raise InvalidArgumentError(f"{where} is out of range", expected=f"coordinates in {list(shape)}")
        places = places * bound + column
    return places, int(np.prod(shape[:depth], dtype=np.intp))


@kernel("GatherNd")
def _gather_nd(params: Any, indices: Any) -> Any:
    places, count = flat_places(indices, np.shape(params))
    rest = np.shape(params)[indices.shape[-1] :]
    if not np.size(params):
        return np.zeros((*places.shape, *rest), params.dtype)
    return boxed(np.take(np.reshape(params, (count, *rest)), places, 0, None, "clip"))


@kernel("ScatterNd")
def _scatter_nd(indices: Any, updates: Any, shape: Any) -> Any:
    out = np.empty(shape.tolist(), updates.dtype)
    _scatter_nd_into(indices, updates, shape, out)
    return out


@into("ScatterNd")
def _scatter_nd_into(indices: Any, updates: Any, shape: Any, out: Any) -> None:
    out.fill(0)
    places, count = flat_places(indices, out.shape)
    _check_updates(updates, (*places.shape, *out.shape[indices.shape[-1] :]))
    if out.size and np.size(updates):
        add_rows(out.reshape(count, -1), places.ravel(), np.ascontiguousarray(updates))


def _check_updates(updates: Any, shape: tuple[int, ...]) -> None:
    if np.shape(updates) != shape:
        got = str(list(np.shape(updates)))
        raise ShapeError("updates do not fit their indices", expected=str(list(shape)), got=got)


@kernel("TensorScatterUpdate")
def _tensor_scatter_update(tensor: Any, indices: Any, updates: Any) -> Any:
    out = np.array(tensor, order="C")
    places, count = flat_places(indices, out.shape)
    rest = out.shape[indices.shape[-1] :]
    _check_updates(updates, (*places.shape, *rest))
    if out.size:
        out.reshape(count, *rest)[places] = updates
    return out


# -- choices ---------------------------------------------------------------------------------------------------------


def _by_rows(condition: Any, rank: int) -> Any:
    """A vector of bools chooses rows."""
    return condition.reshape(-1, *(1,) * (rank - 1)) if np.ndim(condition) == 1 and rank > 1 else condition


_MANY = 4096  # elements from which on three passes over bit patterns cost less than one np.where


_FEW = 64  # elements up to which a masked copy costs less than a cast of the mask
_WORDS = (1, 2, 4, 8)  # bytes of the elements that have an integer of their width


def _bits(x: Any) -> Any:
    return x.view(f"i{x.dtype.itemsize}")


def _select(condition: Any, x: Any, y: Any) -> Any:
    return np.where(_by_rows(condition, max(np.ndim(x), np.ndim(y))), x, y)


rows({"Select": _select}, scalar=lambda condition, x, y: x if condition else y)


@into("Select")
def _select_into(condition: Any, x: Any, y: Any, out: Any) -> None:
    mask = _by_rows(condition, max(np.ndim(x), np.ndim(y)))
    if out.size < _MANY or out.dtype.itemsize not in _WORDS:
        out[...] = np.where(mask, x, y)
        return
    bits = _bits(out)  # times 0 or 1: an exact selection, of infinities and NaN too
    np.multiply(_bits(x), mask, bits)
    np.bitwise_or(bits, np.multiply(_bits(y), np.logical_not(mask)), bits)


@kernel("ZeroUnless")
def _zero_unless(condition: Any, x: Any, *, holds: bool) -> Any:
    zero = x.dtype.type(0)
    mask = _by_rows(condition, np.ndim(x))
    return np.where(mask, x, zero) if holds else np.where(mask, zero, x)


@into("ZeroUnless", inplace=(1,))
def _zero_unless_into(condition: Any, x: Any, out: Any, *, holds: bool) -> None:
    mask = _by_rows(condition, np.ndim(x))
    if out.dtype.itemsize not in _WORDS:
        out[...] = x
        np.copyto(out, 0, where=~mask if holds else mask)
    else:
        np.multiply(_bits(x), mask if holds else np.logical_not(mask), _bits(out))


@fit("ZeroUnless")
def _fit_zero_unless(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    """A mask of the shape of the result, or of its rank: a view of each array is all that it takes."""
    (_, mask, _), (dtype, dims, _) = inputs
    if not attrs["holds"] or dtype.size not in _WORDS or not mask or not dims or len(mask) != len(dims):
        return None
    function = functools.partial(_zero_unless, holds=True)
    if is_concrete(dims) and prod(dims) <= _FEW:

        def choose(condition: Any, x: Any, out: Any) -> None:
            out.fill(0)
            np.copyto(out, x, where=condition)

        return Fitted(function, choose)
    word = np.dtype(f"i{dtype.size}")

    def write(condition: Any, x: Any, out: Any) -> None:
        np.multiply(x.view(word), condition, out.view(word))

    return Fitted(function, write, (1,))


rows({"Where": np.argwhere})


@kernel("OneHot")
def _one_hot(indices: Any, depth: Any, on_value: Any, off_value: Any, *, axis: int) -> Any:
    if depth < 0:
        raise InvalidArgumentError("depth cannot be negative", got=str(depth))
    count, size = np.size(indices), int(depth)
    flat = np.ravel(indices)
    out = np.zeros(count * size, on_value.dtype) if off_value == 0 else np.full(count * size, off_value)
    places = np.arange(count) * size + flat
    if count and (int(flat.min()) < 0 or int(flat.max()) >= size):
        places = places[(flat >= 0) & (flat < size)]
    out[places] = on_value
    out = out.reshape(*np.shape(indices), size)
    return out if axis in (-1, np.ndim(indices)) else np.moveaxis(out, -1, axis)
