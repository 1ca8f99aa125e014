"""`x[...]` of eager tensors: integers, slices, None, an ellipsis, masks and tensors of indices, in any mixture.

Policy: what is basic is one strided slice, a view; indices that are tensors, lists or arrays gather, and where there
are several they broadcast.  Negative indices count from the end; one out of range is an IndexError.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager.mode import placed
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, OutOfRangeError, ShapeError, shown
from graphflow.ops import arrange, array, index, slicing

_BASIC = (int, slice, type(None), type(Ellipsis))


@placed
def getitem(x: Any, key: Any) -> Any:
    """x[key]."""
    if type(key) in _BASIC:
        if type(key) is int:
            _check_range(key, x.dims, 0)
        return slicing.getitem(x, key)
    parts = [_part(k) for k in key] if isinstance(key, tuple) else [_part(key)]
    if not any(isinstance(k, np.ndarray) for k in parts):
        return slicing.getitem(x, _checked(tuple(parts), x.dims))
    if len(parts) == 1 and parts[0].dtype == bool and parts[0].shape == x.dims:
        return index.boolean_mask(x, key if isinstance(key, EagerTensor) else parts[0])
    return _advanced(x, _spread(parts, x.dims))


def _part(item: Any) -> Any:
    """One entry of a key: tensors and lists as arrays, scalars of integers as ints."""
    if isinstance(item, slice):
        return slice(*[int(b) if isinstance(b, EagerTensor) else b for b in (item.start, item.stop, item.step)])
    if isinstance(item, _BASIC) and not isinstance(item, bool):
        return item
    if isinstance(item, (list, range)):
        item = np.asarray(item) if len(item) else np.zeros(0, np.int64)
    found = np.asarray(item.value if isinstance(item, EagerTensor) else item)
    if found.dtype.kind not in "iub":
        raise DTypeError(
            "no index", expected="an integer, a slice, None, ..., or a tensor of integers or bools", got=shown(item)
        )
    return int(found) if found.ndim == 0 and found.dtype.kind != "b" else found


def _check_range(number: int, dims: tuple[int, ...], axis: int) -> None:
    if not dims:
        raise OutOfRangeError("a scalar has no elements to choose", got=f"index {number}", hint="x.item()")
    if not -dims[axis] <= number < dims[axis]:
        raise OutOfRangeError(
            f"index {number} is out of range for dimension {axis}",
            expected=f"{-dims[axis]} to {dims[axis] - 1}" if dims[axis] else "no index at all",
            got=f"a tensor of shape {list(dims)}",
        )


def _consumed(part: Any) -> int:
    """How many dimensions an entry stands for."""
    if isinstance(part, np.ndarray) and part.dtype == bool:
        return part.ndim
    return 0 if part is None or part is Ellipsis else 1


def _spread(parts: list[Any], dims: tuple[int, ...]) -> list[Any]:
    """The entries with a slice for each dimension that none of them names."""
    used = sum(map(_consumed, parts))
    if used > len(dims):
        raise OutOfRangeError(
            "an index has too many parts", expected=f"at most {len(dims)}", got=f"{used} for shape {list(dims)}"
        )
    at = next((i for i, k in enumerate(parts) if k is Ellipsis), len(parts))
    return [*parts[:at], *[slice(None)] * (len(dims) - used), *[k for k in parts[at + 1 :] if k is not Ellipsis]]


def _checked(parts: tuple[Any, ...], dims: tuple[int, ...]) -> tuple[Any, ...]:
    """The entries of a basic key, whose integers are in range."""
    if sum(k is Ellipsis for k in parts) < 2:
        axis = 0
        for k in _spread(list(parts), dims):
            if isinstance(k, int):
                _check_range(k, dims, axis)
            axis += _consumed(k)
    return parts


def _advanced(x: Any, parts: list[Any]) -> Any:
    """Slice first, then gather along the dimensions that arrays stand for."""
    basic: list[Any] = []
    arrays: dict[int, np.ndarray[Any, Any]] = {}  # by the dimension of what the basic part leaves
    axis = left = 0
    for part in parts:
        if not isinstance(part, np.ndarray):
            basic.append(part)
            if isinstance(part, int):
                _check_range(part, x.dims, axis)
            left += not isinstance(part, int)
            axis += _consumed(part)
            continue
        for found in _indices(part, x.dims, axis):
            basic.append(slice(None))
            arrays[left] = found
            left += 1
        axis += _consumed(part)
    plain = all(isinstance(k, slice) and k == slice(None) for k in basic)
    return _gathered(x if plain else slicing.getitem(x, tuple(basic)), arrays)


def _indices(part: np.ndarray[Any, Any], dims: tuple[int, ...], axis: int) -> list[np.ndarray[Any, Any]]:
    """The indices that an array stands for, counted from the front."""
    if part.dtype == bool:
        if part.shape != dims[axis : axis + part.ndim]:
            raise ShapeError(
                "a mask has the shape of what it masks",
                expected=str(list(dims[axis : axis + part.ndim])),
                got=str(list(part.shape)),
            )
        return list(part.nonzero())
    size = dims[axis]
    if part.size and not (-size <= int(part.min()) and int(part.max()) < size):
        wrong = int(part.min()) if int(part.min()) < -size else int(part.max())
        _check_range(wrong, dims, axis)
    part = part.astype(np.int64)
    return [np.where(part < 0, part + size, part)]


def _gathered(x: Any, arrays: dict[int, np.ndarray[Any, Any]]) -> Any:
    axes = list(arrays)
    if len(axes) == 1:
        return index.gather(x, _tensor(arrays[axes[0]]), axis=axes[0])
    try:
        together = np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = ", ".join(str(list(a.shape)) for a in arrays.values())
        raise ShapeError(
            "tensors of indices do not fit together", expected="shapes that broadcast", got=shapes
        ) from None
    rank, width = len(x.dims), together[0].ndim
    others = [axis for axis in range(rank) if axis not in arrays]
    found = index.gather_nd(
        x if axes == list(range(len(axes))) else arrange.transpose(x, [*axes, *others]),
        _tensor(np.stack(together, -1)),
    )
    if axes != list(range(axes[0], axes[0] + len(axes))) or axes[0] == 0:
        return found  # indices apart from each other: their dimensions come first
    front = list(range(width, width + axes[0]))
    return arrange.transpose(found, [*front, *range(width), *range(width + axes[0], width + len(others))])


def _tensor(values: np.ndarray[Any, Any]) -> EagerTensor:
    return EagerTensor(values if values.ndim else values[()], dtypes.int64)


def places(x: EagerTensor, key: Any) -> np.ndarray[Any, Any]:
    """For each element of x[key] its number in x."""
    numbers = np.arange(x.shape.numel(), dtype=np.int64).reshape(x.dims)
    found: Any = getitem(EagerTensor(numbers, dtypes.int64), key)
    return np.asarray(found.value)


@placed
def with_elements(x: EagerTensor, key: Any, values: Any) -> Any:
    """x with x[key] replaced, as a new tensor; for those who need a derivative."""
    at = places(x, key)
    spread = array.broadcast_to(values, list(at.shape))
    flat = array.reshape(x, [-1])
    changed = index.tensor_scatter_update(flat, _tensor(at.reshape(-1, 1)), array.reshape(spread, [-1]))
    return array.reshape(changed, list(x.dims))
