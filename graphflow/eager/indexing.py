"""`x[...]` of eager tensors: integers, slices, None, an ellipsis, masks and tensors of indices, in any mixture.

Policy: what is basic is one strided slice, a view; indices that are tensors, lists or arrays gather, and where there
are several they broadcast.  Negative indices count from the end; one out of range is an IndexError.  What has no value
yet, or another one at each call of a traced function, is an index as well.

State: none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager.mode import placed
from graphflow.eager.placement import move
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import made_here, shown_part, trace_here
from graphflow.errors import DTypeError, OutOfRangeError, ShapeError, SymbolicUseError, shown
from graphflow.graph import get_default_graph
from graphflow.ops import arrange, array, casts, core, index, slicing
from graphflow.tensor import Tensor

_BASIC = (int, slice, type(None), type(Ellipsis))


@placed
def getitem(x: Any, key: Any) -> Any:
    """x[key]."""
    if type(key) in _BASIC:
        if type(key) is int:
            _check_range(key, x.dims, 0)
        return shown_part(x, key, _one(x, key, slicing.getitem(x, key)))
    parts = [_part(k) for k in key] if isinstance(key, tuple) else [_part(key)]
    if not any(map(_is_several, parts)):
        basic = _checked(tuple(parts), x.dims)
        return shown_part(x, basic, _one(x, basic, slicing.getitem(x, basic)))
    masks = [k for k in parts if isinstance(k, Tensor) and k.dtype.is_bool]
    if masks:
        return _masked(x, parts, masks)
    if len(parts) == 1 and parts[0].dtype == bool and parts[0].shape == x.dims != ():
        return index.boolean_mask(x, key if isinstance(key, EagerTensor) else parts[0])
    return _advanced(x, _spread(parts, x.dims))


@placed
def getitem_of_graph(x: Any, key: Any) -> Any:
    """x[key] in a graph, where sizes may come with the values."""
    entries = key if isinstance(key, tuple) else (key,)
    if x.dims is None or not any(map(_stands_for_several, entries)):
        return slicing.getitem(x, key)
    parts = [_part(k) for k in entries]
    masks = [k for k in parts if isinstance(k, Tensor) and k.dtype.is_bool]
    return _masked(x, parts, masks) if masks else _advanced(x, _spread(parts, x.dims))


def _stands_for_several(entry: Any) -> bool:
    """Whether an entry of a key, as it is written, stands for more than one index."""
    if isinstance(entry, Tensor):
        return entry.dims != ()
    return isinstance(entry, (list, range)) or isinstance(entry, np.ndarray) and entry.ndim > 0


def _one(x: Any, key: Any, found: Any) -> Any:
    """One element is a view as well, where the kernel gives its value."""
    if type(found) is EagerTensor and isinstance(found.value, np.generic) and type(x.value) is np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        found.value = x.value[key if any(k is Ellipsis for k in key) else (*key, ...)]
        x.shown_by(found)
    return found


def _part(item: Any) -> Any:
    """One entry of a key: tensors and lists as arrays, scalars of integers as ints."""
    if isinstance(item, slice):
        return slice(*[int(b) if isinstance(b, EagerTensor) else b for b in (item.start, item.stop, item.step)])
    if isinstance(item, _BASIC) and not isinstance(item, bool):
        return item
    if isinstance(item, Tensor) and not _is_known(item):
        return _later(item)
    if isinstance(item, (list, range)):
        item = np.asarray(item) if len(item) else np.zeros(0, np.int64)
    found = np.asarray(item.value if isinstance(item, EagerTensor) else item)
    if found.dtype.kind not in "iub":
        raise DTypeError(
            "no index", expected="an integer, a slice, None, ..., or a tensor of integers or bools", got=shown(item)
        )
    return int(found) if found.ndim == 0 and found.dtype.kind != "b" else found


def _is_known(x: Tensor) -> bool:
    """Whether the value is there, and is the same whenever this code is done again."""
    graph = trace_here()
    return isinstance(x, EagerTensor) and (graph is None or graph.is_constant((x,)))


def _later(item: Tensor) -> Any:
    """An entry that has its value in a run: a scalar, or indices from -size to size - 1, or a mask."""
    found: Any = get_default_graph().capture(item)
    if found.dims is None or not (found.dtype.is_integer or found.dtype.is_bool and found.dims):
        raise DTypeError(
            "no index in a graph", expected="integers, or a mask, of known rank", got=f"{item.dtype.name} {item.dims}"
        )
    return found if not found.dims or found.dtype.is_bool else casts.cast(found, dtypes.int64)


def _is_several(part: Any) -> bool:
    """Whether an entry stands for more than one index."""
    return isinstance(part, np.ndarray) or isinstance(part, Tensor) and part.dims != ()


def _masked(x: Any, parts: list[Any], masks: list[Any]) -> Any:
    """What a mask chooses whose value is not known yet."""
    parts = _spread(parts, x.dims)
    if len(masks) > 1 or any(k is not masks[0] and k != slice(None) for k in parts if not isinstance(k, Tensor)):
        raise SymbolicUseError(
            "a mask without a value stands beside other indices",
            op=masks[0].op,
            hint="x[mask] and x[:, mask] work; torch.where(mask, x, y) keeps the shape",
        )
    return index.boolean_mask(x, masks[0], axis=[isinstance(k, Tensor) for k in parts].index(True))


def _check_range(number: int, dims: tuple[int, ...], axis: int) -> None:
    if not dims:
        raise OutOfRangeError("a scalar has no elements to choose", got=f"index {number}", hint="x.item()")
    if dims[axis] is None:
        return
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
    if isinstance(part, Tensor) and part.dtype.is_bool:
        return len(part.dims or ())
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
    arrays: dict[int, Any] = {}  # by the dimension of what the basic part leaves
    axis = left = 0
    for part in parts:
        if not _is_several(part):
            basic.append(part)
            if isinstance(part, int):
                _check_range(part, x.dims, axis)
            left += not isinstance(part, (int, Tensor))
            axis += _consumed(part)
            continue
        if part.dtype == bool and part.shape == ():  # a dimension of one element, or of none
            basic.append(None)
            arrays[left] = np.zeros(int(part), np.int64)
            left += 1
            continue
        for found in _indices(part, x, axis):
            basic.append(slice(None))
            arrays[left] = found
            left += 1
        axis += _consumed(part)
    plain = all(isinstance(k, slice) and k == slice(None) for k in basic)
    return _gathered(x if plain else slicing.getitem(x, tuple(basic)), arrays)


def _indices(part: Any, x: Any, axis: int) -> list[Any]:
    """The indices that an array stands for, counted from the front."""
    dims = x.dims
    if isinstance(part, Tensor):
        return [index.where(part < 0, part + _size(x, axis), part)]
    if part.dtype == bool:
        if part.shape != dims[axis : axis + part.ndim]:
            raise ShapeError(
                "a mask has the shape of what it masks",
                expected=str(list(dims[axis : axis + part.ndim])),
                got=str(list(part.shape)),
            )
        return list(part.nonzero())
    size = dims[axis]
    if size is None:
        part = part.astype(np.int64)
        return [part if (part >= 0).all() else _tensor((part < 0).astype(np.int64)) * _size(x, axis) + _tensor(part)]
    if part.size and not (-size <= int(part.min()) and int(part.max()) < size):
        wrong = int(part.min()) if int(part.min()) < -size else int(part.max())
        _check_range(wrong, dims, axis)
    part = part.astype(np.int64)
    return [np.where(part < 0, part + size, part)]


def _size(x: Any, axis: int) -> Any:
    """A size to compute indices with; a tensor where it comes with the values."""
    size = x.dims[axis]
    return casts.cast(array.shape(x)[axis], dtypes.int64) if size is None else size


def _gathered(x: Any, arrays: dict[int, Any]) -> Any:
    axes = list(arrays)
    if len(axes) == 1:
        return index.gather(x, _tensor(arrays[axes[0]]), axis=axes[0])
    shapes: list[Any] = [a.dims if isinstance(a, Tensor) else a.shape for a in arrays.values()]
    try:
        shape = np.broadcast_shapes(*shapes)
    except (ValueError, TypeError):
        raise ShapeError(
            "tensors of indices do not fit together",
            expected="known shapes that broadcast",
            got=str([list(s) for s in shapes]),
        ) from None
    rank, width = len(x.dims), len(shape)
    others = [axis for axis in range(rank) if axis not in arrays]
    found = index.gather_nd(
        x if axes == list(range(len(axes))) else arrange.transpose(x, [*axes, *others]),
        _together(list(arrays.values()), shape),
    )
    if axes != list(range(axes[0], axes[0] + len(axes))) or axes[0] == 0:
        return found  # indices apart from each other: their dimensions come first
    front = list(range(width, width + axes[0]))
    return arrange.transpose(found, [*front, *range(width), *range(width + axes[0], width + len(others))])


def _together(several: list[Any], shape: tuple[int, ...]) -> Any:
    """Indices of several dimensions as one tensor, with those of one element along its last axis."""
    if any(isinstance(a, Tensor) for a in several):
        return array.stack([array.broadcast_to(_tensor(a), list(shape)) for a in several], -1)
    return _tensor(np.stack(np.broadcast_arrays(*several), -1))


def _tensor(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values
    return made_here(EagerTensor(values if values.ndim else values[()], dtypes.int64))


@placed
def with_elements(x: Any, key: Any, values: Any) -> Any:
    """x with x[key] replaced, as a new tensor; for those who need a derivative."""
    numbers = np.arange(math.prod(x.dims), dtype=np.int64).reshape(x.dims)
    at = getitem(_tensor(numbers), key)  # for each element of x[key] its number in x
    given = core.convert_to_tensor(values, preferred_dtype=x.dtype)
    spread = array.broadcast_to(given if given.dtype is x.dtype else casts.cast(given, x.dtype), array.shape(at))
    if isinstance(x, EagerTensor) and isinstance(spread, EagerTensor):
        spread = move(spread, x.device)
    flat = array.reshape(x, [-1])
    changed = index.tensor_scatter_update(flat, array.reshape(at, [-1, 1]), array.reshape(spread, [-1]))
    return array.reshape(changed, list(x.dims))
