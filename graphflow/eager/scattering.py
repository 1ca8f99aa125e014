"""Elements put at places, and taken from them, in PyTorch's spelling: scatter, index_add, masked_scatter, take.

Policy: a place is a row of coordinates, whose range the library's ops check.  Where several values meet in one place,
the last stays, unless they are summed or reduced.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager import indexing, pointwise, shaping
from graphflow.eager.mode import placed
from graphflow.eager.promotion import as_dtype_of
from graphflow.eager.rearranging import movedim, ravel, size_of
from graphflow.eager.reductions import axis_of, gather
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, shown
from graphflow.ops import arithmetic, array, casts, compare, core, index, scans, segment
from graphflow.tensor import Tensor

Function = Callable[..., Any]

# -- one place for each element --------------------------------------------------------------------------------------


def _coordinates(places: Any, axis: int) -> Any:
    """A row of coordinates for each element of `places`, which holds the one along the axis."""
    dims = tuple([size_of(places, d) for d in range(len(places.dims))])
    if not dims:
        return array.reshape(casts.cast(places, dtypes.int64), [1])
    grid = np.indices(dims, dtype=np.int64)
    return array.stack([casts.cast(places, dtypes.int64) if d == axis else grid[d] for d in range(len(dims))], -1)


def _are_integers(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_integer


def _updates(input: Any, axis: int, places: Any, src: Any) -> Any:
    """The values that go to the places, in the dtype of the input."""
    if not _are_integers(places):
        raise DTypeError("places are a tensor of integers", got=shown(places), hint="index.long()")
    if len(places.dims) != len(input.dims):
        raise ShapeError("index has as many dimensions as the tensor", expected=f"{len(input.dims)}",
                         got=f"shape {list(places.dims)}")  # fmt: skip
    beyond = any(d != axis and n > m for d, (n, m) in enumerate(zip(places.dims, input.dims, strict=True)))
    if not hasattr(src, "dims"):
        src = array.fill(list(places.dims), pointwise.as_scalar(src, input))
    elif src.dims != places.dims:
        beyond = beyond or len(src.dims) != len(places.dims) or any(map(int.__gt__, places.dims, src.dims))
        src = src[tuple([slice(0, n) for n in places.dims])] if not beyond else src
    if beyond:
        raise ShapeError("index does not fit between the values and the tensor", expected="no larger size",
                         got=f"{list(places.dims)}, {list(src.dims)} and {list(input.dims)}")  # fmt: skip
    if src.dtype is not input.dtype:
        raise DTypeError("the values have the dtype of the tensor", expected=input.dtype.name, got=src.dtype.name)
    return src


@placed
def scatter(input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Any:
    """The tensor with the values of `src` at the places along a dimension that `index` names."""
    if reduce is not None:
        known = {"add": "sum", "multiply": "prod"}.get(reduce)
        if known is None:
            raise InvalidArgumentError("no such reduce", expected="None, 'add' or 'multiply'", got=repr(reduce)[:80])
        axis = axis_of(input, dim)
        return scatter_reduce(input, dim, index, _updates(input, axis, index, src if value is None else value), known)
    axis = axis_of(input, dim)
    updates = _updates(input, axis, index, src if value is None else value)
    return _changed(_put, input, index, axis, updates)


def _put(x: Any, coordinates: Any, updates: Any) -> Any:
    return index.tensor_scatter_update(x, coordinates, updates)


def _added(x: Any, coordinates: Any, updates: Any) -> Any:
    return index.tensor_scatter_add(x, coordinates, updates)


def _changed(op: Function, x: Any, places: Any, axis: int, updates: Any) -> Any:
    if x.dims:
        return op(x, _coordinates(places, axis), updates)
    found = op(array.reshape(x, [1]), _coordinates(array.reshape(places, [1]), 0), array.reshape(updates, [1]))
    return array.reshape(found, [])


@placed
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """The tensor plus the values of `src` at the places along a dimension that `index` names."""
    axis = axis_of(input, dim)
    return _changed(_added, input, index, axis, _updates(input, axis, index, src))


_GROUPS: dict[str, Function] = {
    "sum": segment.unsorted_segment_sum, "prod": segment.unsorted_segment_prod, "mean": segment.unsorted_segment_sum,
    "amax": segment.unsorted_segment_max, "amin": segment.unsorted_segment_min,
}  # fmt: skip


@placed
def scatter_reduce(input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Any:
    """The sum, product, mean, maximum or minimum of what meets in each place, the tensor's own element among it."""
    if reduce not in _GROUPS:
        raise InvalidArgumentError("no such reduce", expected=", ".join(map(repr, _GROUPS)), got=repr(reduce)[:80])
    axis = axis_of(input, dim)
    updates = _updates(input, axis, index, src)
    return _reduced(input, _coordinates(index, axis), updates, reduce, include_self)


def _reduced(x: Any, coordinates: Any, updates: Any, reduce: str, include_self: bool) -> Any:
    sizes = [size_of(x, d) for d in range(len(x.dims))]
    total = int(np.prod(sizes))
    counts = index.scatter_nd(coordinates, array.ones_like(updates, dtypes.int64), np.array(sizes, np.int64))
    steps = np.array([int(np.prod(sizes[d + 1 :])) for d in range(len(sizes))], np.int64)
    groups = ravel((coordinates * steps).sum(-1))
    values = ravel(updates)
    if include_self:
        groups = array.concat([np.arange(total, dtype=np.int64), groups], 0)
        values = array.concat([ravel(x), values], 0)
        counts = counts + 1
    found = array.reshape(_GROUPS[reduce](values, groups, total), sizes)
    if reduce == "mean":
        divide = arithmetic.floordiv if x.dtype.is_integer else arithmetic.truediv
        found = divide(found, casts.cast(arithmetic.maximum(counts, 1), x.dtype))
    return found if include_self else index.where(counts > 0, found, x)


# -- whole slices ----------------------------------------------------------------------------------------------------


def _along(op: Function, input: Any, dim: int, places: Any, values: Any) -> Any:
    """The op on slices: the dimension is brought to the front and back."""
    axis = axis_of(input, dim)
    if not _are_integers(places) or len(places.dims) > 1:
        raise DTypeError("slices are named by a vector of integers", got=shown(places), hint="torch.tensor([0, 2])")
    rows = array.reshape(casts.cast(places, dtypes.int64), [-1, 1])
    changed = op(movedim(input, axis, 0), rows, movedim(values, axis, 0))
    return movedim(changed, 0, axis)


@placed
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """The tensor plus the slices of `source` at the places along a dimension that `index` names."""
    return _along(_added, input, dim, index, source if alpha == 1 else source * alpha)


@placed
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """The tensor with the slices of `source` at the places along a dimension that `index` names."""
    return _along(_put, input, dim, index, source)


@placed
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """The tensor with one value in the slices along a dimension that `index` names."""
    filler = as_dtype_of(value, input.dtype) if hasattr(value, "dims") else pointwise.as_scalar(value, input)
    axis = axis_of(input, dim)
    places = array.reshape(index, [-1])
    sizes = [size_of(places, 0) if d == axis else size_of(input, d) for d in range(len(input.dims))]
    return _along(_put, input, dim, places, array.broadcast_to(filler, sizes))


@placed
def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """The tensor with values at the places x[indices]; added to what is there, if they accumulate."""
    key = tuple(indices)
    if not accumulate:
        return indexing.with_elements(input, key, values)
    numbers = np.arange(int(np.prod(input.dims)), dtype=np.int64).reshape(input.dims)
    at = indexing.getitem(core.convert_to_tensor(numbers), key)
    spread = array.broadcast_to(values, list(at.dims))
    changed = index.tensor_scatter_add(ravel(input), array.reshape(at, [-1, 1]), ravel(spread))
    return array.reshape(changed, list(input.dims))


@placed
def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """The tensor with `src` as one of its slices along a dimension."""
    axis = axis_of(input, dim)
    return _along(_put, input, axis, array.reshape(array.range_(index, index + 1), [1]), array.expand_dims(src, axis))


@placed
def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """The tensor with `src` in the place of a slice along a dimension."""
    axis = axis_of(input, dim)
    places = np.arange(size_of(input, axis), dtype=np.int64)[start:end:step]
    return _along(_put, input, axis, core.convert_to_tensor(places), src)


# -- masks and taking ------------------------------------------------------------------------------------------------


@placed
def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """The tensor with the elements of `source`, one after the other, where the mask holds."""
    shape = [max(a, b) for a, b in zip(_wide(input, mask), _wide(mask, input), strict=True)]
    x, held = array.broadcast_to(input, shape), array.broadcast_to(mask, shape)
    numbers = scans.cumsum(casts.cast(ravel(held), dtypes.int64), 0, exclusive=True)
    numbers = index.where(ravel(held), numbers, array.zeros_like(numbers))
    taken = index.gather(ravel(source), numbers)
    return index.where(held, array.reshape(taken, shape), x)


def _wide(x: Any, other: Any) -> list[int]:
    """The sizes with ones in front, up to the rank of the other."""
    return [1] * (len(other.dims) - len(x.dims)) + [size_of(x, d) for d in range(len(x.dims))]


@placed
def take(input: Any, index: Any) -> Any:
    """The elements that `index` names, as if the tensor were a vector."""
    return ravel(input)[index]


@placed
def take_along_dim(input: Any, indices: Any, dim: Any = None) -> Any:
    """The elements along a dimension that `indices` names; both broadcast in the other dimensions."""
    if dim is None:
        return gather(ravel(input), 0, ravel(indices))
    axis = axis_of(input, dim)
    sizes = [
        (n, m) if d == axis else (max(n, m), max(n, m))
        for d, (n, m) in enumerate(zip(input.dims, indices.dims, strict=True))
    ]
    return gather(
        array.broadcast_to(input, [n for n, _ in sizes]), axis, array.broadcast_to(indices, [m for _, m in sizes])
    )


@placed
def argwhere(input: Any) -> Any:
    """The indices of what is not zero, one row for each element."""
    return shaping.nonzero(input)


@placed
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element is among others."""
    x = elements if isinstance(elements, Tensor) else core.convert_to_tensor(elements)
    others = test_elements if isinstance(test_elements, Tensor) else core.convert_to_tensor(test_elements, x.dtype)
    met = pointwise.FUNCTIONS["eq"](array.expand_dims(x, -1), ravel(others)).any(-1)
    return compare.logical_not(met) if invert else met


METHODS: dict[str, Function] = {
    "scatter": scatter, "scatter_add": scatter_add, "scatter_reduce": scatter_reduce, "index_add": index_add,
    "index_copy": index_copy, "index_fill": index_fill, "index_put": index_put, "select_scatter": select_scatter,
    "slice_scatter": slice_scatter, "masked_scatter": masked_scatter, "take": take, "take_along_dim": take_along_dim,
    "argwhere": argwhere,
}  # fmt: skip
FUNCTIONS: dict[str, Function] = {**METHODS, "isin": isin}
# Those that change a tensor in place under their name with a line below it.
IN_PLACE: dict[str, Function] = {
    **{name: METHODS[name] for name in ("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy",
                                        "index_fill", "index_put", "masked_scatter")},
    "masked_fill": shaping.masked_fill, "tril": shaping.tril, "triu": shaping.triu,
}  # fmt: skip
