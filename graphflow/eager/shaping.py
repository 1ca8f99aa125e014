"""Shapes in PyTorch's spelling: views, transposes, joins and cuts.

Policy: sizes come one by one or as one list; what can be a view shares memory with its input, and counts changes in
place with it.

State: none.
"""

from __future__ import annotations

import itertools
import math as scalar
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager import pointwise
from graphflow.eager.mode import placed
from graphflow.eager.preferences import preferred
from graphflow.eager.promotion import as_dtype_of, common_dtype, promotes
from graphflow.eager.reductions import axis_of, known_size, size_at
from graphflow.eager.tensor import EagerTensor, Size
from graphflow.eager.traced import shown_part
from graphflow.errors import DTypeError, InvalidArgumentError, OutOfRangeError, ShapeError, shown
from graphflow.ops import arrange, array, blocks, casts, core, index
from graphflow.tensor import Tensor


def sizes_of(sizes: Sequence[Any]) -> list[int]:
    """Sizes given one by one or as one list."""
    out = []
    for size in _one_by_one(sizes):
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise DTypeError("a size is an integer", got=shown(size), hint="x.view(n // 2), not n / 2")
        out.append(int(size))
    return out


def _one_by_one(sizes: Sequence[Any]) -> Sequence[Any]:
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (list, tuple)) else sizes


def _later(size: Any) -> bool:
    """Whether a size is a tensor of a graph, as `x.size(0)` is where it comes with the values."""
    return isinstance(size, Tensor) and not isinstance(size, EagerTensor)


def _sizes(x: Any) -> list[Any]:
    """The shape, with tensors for the sizes that come with the values."""
    return list(x.dims) if None not in x.dims else [size_at(x, axis) for axis in range(len(x.dims))]


@placed
def reshape(input: Any, *shape: Any) -> Any:
    """The elements in another shape, of which one size may be -1."""
    dims = input.dims
    if dims is None or None in dims:  # a graph's, whose sizes come with the values
        return array.reshape(input, list(_one_by_one(shape)))
    sizes = sizes_of(shape)
    if dims:
        _check_count(dims, sizes)
    elif type(input) is EagerTensor:
        input.shareable()
    return array.reshape(input, sizes)


def _check_count(dims: tuple[int, ...], sizes: list[int]) -> None:
    have, known = scalar.prod(dims), scalar.prod(s for s in sizes if s != -1)
    if sizes.count(-1) > 1 or (known != have if -1 not in sizes else known == 0 or have % known):
        raise ShapeError(
            "the elements do not fill the shape",
            expected=f"{have} elements, as in shape {list(dims)}",
            got=f"shape {sizes}",
        )


@placed
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from `start_dim` to `end_dim` as one."""
    if input.dims is None:
        raise ShapeError("flatten needs to know how many dimensions there are", got="unknown rank", hint="x.set_shape")
    first, last = axis_of(input, start_dim), axis_of(input, end_dim)
    if not input.dims:
        return array.reshape(input, [1])
    if first > last:
        raise InvalidArgumentError("flatten goes from start_dim to end_dim", got=f"{start_dim} and {end_dim}")
    dims = input.dims
    middle = dims[first : last + 1]
    sizes = [*dims[:first], None if None in middle else scalar.prod(middle), *dims[last + 1 :]]
    if sizes.count(None) > 1:  # -1 can stand for one of them, best for the one that would have to be multiplied out
        every = _sizes(input)
        sizes = [*every[:first], None if None in middle else sizes[first], *every[last + 1 :]]
    return array.reshape(input, [-1 if size is None else size for size in sizes])


@placed
def squeeze(input: Any, dim: Any = None) -> Any:
    """Without its dimensions of size 1, or without those of them that `dim` names."""
    if dim is None:
        return array.squeeze(input)
    axes = [axis_of(input, d) for d in (dim if isinstance(dim, (tuple, list)) else [dim])]
    gone = [axis for axis in axes if input.dims and input.dims[axis] == 1]
    return array.squeeze(input, gone) if gone else input


@placed
def unsqueeze(input: Any, dim: int) -> Any:
    """With one more dimension of size 1."""
    rank = len(input.dims)
    if not -rank - 1 <= dim <= rank:
        raise OutOfRangeError("no place for a dimension", expected=f"{-rank - 1} to {rank}", got=str(dim))
    if not rank and type(input) is EagerTensor:
        input.shareable()
    return array.expand_dims(input, dim)


@placed
def permute(input: Any, *dims: Any) -> Any:
    """The dimensions in another order."""
    order = [axis_of(input, d) for d in sizes_of(dims)]
    if sorted(order) != list(range(len(input.dims))):
        raise ShapeError("permute names every dimension once", expected=f"{len(input.dims)} dimensions", got=str(order))
    return arrange.transpose(input, order)


@placed
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged."""
    first, second = axis_of(input, dim0), axis_of(input, dim1)
    order = list(range(len(input.dims)))
    if not order:
        return input
    order[first], order[second] = second, first
    return arrange.transpose(input, order)


@placed
def t(input: Any) -> Any:
    """The transpose of a matrix; vectors and scalars as they are."""
    if len(input.dims) > 2:
        raise ShapeError("t() transposes matrices", got=f"shape {list(input.dims)}", hint="x.transpose(0, 1)")
    return arrange.transpose(input) if len(input.dims) == 2 else input


@placed
def expand(input: Any, *sizes: Any) -> Any:
    """Dimensions of size 1 repeated, without copies; -1 leaves a size as it is."""
    wanted = [size if _later(size) else sizes_of([size])[0] for size in _one_by_one(sizes)]
    extra = len(wanted) - len(input.dims)
    kept = [i for i, size in enumerate(wanted) if not _later(size) and size == -1]
    if extra < 0 or kept and kept[0] < extra:
        raise ShapeError("expand adds dimensions in front", got=f"sizes {wanted} for shape {list(input.dims)}")
    for i in kept:
        wanted[i] = size_at(input, i - extra)
    return array.broadcast_to(input, wanted)


@placed
def expand_as(input: Any, other: Any) -> Any:
    """Expanded to the shape of another tensor."""
    return array.broadcast_to(input, _sizes(other))


@placed
def repeat(input: Any, *repeats: Any) -> Any:
    """The whole tensor, so many times along each dimension."""
    times = sizes_of(repeats)
    extra = len(times) - len(input.dims)
    if extra < 0:
        raise ShapeError("repeat needs a number for each dimension", expected=str(len(input.dims)), got=str(times))
    return arrange.tile(array.reshape(input, [1] * extra + _sizes(input)) if extra else input, times)


def _of_one_dtype(tensors: Any, what: str) -> list[Any]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, (list, tuple)):
        raise DTypeError(f"{what} takes a list of tensors", got=shown(tensors), hint=f"torch.{what}([x, y])")
    if not tensors:
        raise InvalidArgumentError(f"{what} takes at least one tensor", hint=f"torch.{what}([x])")
    if all(map(promotes, tensors)):
        wanted = tensors[0].dtype
        for x in tensors[1:]:
            wanted = common_dtype(wanted, x.dtype)
        return [as_dtype_of(x, wanted) for x in tensors]
    return list(tensors)


@placed
def cat(tensors: Any, dim: int = 0) -> Any:
    """Tensors one after the other along a dimension."""
    parts = _of_one_dtype(tensors, "cat")
    if any(x.dims == (0,) for x in parts):  # such as an empty list begins with; it goes with any shape
        parts = [x for x in parts if x.dims != (0,)] or parts
    return array.concat(parts, axis_of(parts[0], dim))


@placed
def stack(tensors: Any, dim: int = 0) -> Any:
    """Tensors of one shape along a new dimension."""
    return array.stack(_of_one_dtype(tensors, "stack"), dim)


@placed
def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Pieces of that size along a dimension (the last may be smaller), or of those sizes."""
    axis = axis_of(tensor, dim)
    if not tensor.dims:
        raise ShapeError("a scalar cannot be split", got="shape []", hint="x[None] has a dimension")
    size, total = split_size_or_sections, known_size(tensor, axis, "split")
    if isinstance(size, int):
        if size <= 0:
            raise InvalidArgumentError("a piece has a size above 0", got=str(size), hint="x.split(2)")
        size = [min(size, total - at) for at in range(0, total, size)] or [0]
    whole = (slice(None),) * axis
    parts = array.split(tensor, list(size), axis)
    starts = [0, *itertools.accumulate(size)]
    return tuple([
        shown_part(tensor, (*whole, slice(at, at + long)), part)
        for at, long, part in zip(starts, size, parts, strict=False)
    ])  # fmt: skip


@placed
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most so many pieces of one size along a dimension."""
    total = known_size(input, axis_of(input, dim), "chunk")
    found: tuple[Any, ...] = split(input, max(1, -(-total // chunks)), dim)
    return found


@placed
def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices along a dimension."""
    if isinstance(input, EagerTensor) and len(input.dims) == 1:  # each one a view
        return tuple([input[i] for i in range(axis_of(input, dim), input.dims[0])])
    axis = axis_of(input, dim)
    if input.dims:
        known_size(input, axis, "unbind")
    whole, parts = (slice(None),) * axis, array.unstack(input, axis=axis)
    return tuple([shown_part(input, (*whole, i), part) for i, part in enumerate(parts)])


@placed
def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """A part of so many elements along a dimension, all of them within it."""
    axis = axis_of(input, dim)
    total = input.dims[axis]
    first = operator.index(start)
    if total is None:  # a graph's, whose sizes come with the values
        return input[(slice(None),) * axis + (slice(first, first + length or None),)]
    first += total if first < 0 else 0
    if not 0 <= first <= first + length <= total:
        raise OutOfRangeError(
            "narrow takes a part that is there", expected=f"start and start + length from 0 to {total}",
            got=f"start {int(start)}, length {length}",
        )  # fmt: skip
    return input[(slice(None),) * axis + (slice(first, first + length),)]


@placed
def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """The elements moved along dimensions, round the ends."""
    if dims is None:
        return array.reshape(arrange.roll(array.reshape(input, [-1]), shifts, 0), _sizes(input))
    return arrange.roll(input, shifts, dims)


@placed
def tril(input: Any, diagonal: int = 0) -> Any:
    """Zeros above a diagonal."""
    return index.where(_below(input, diagonal), input, array.zeros_like(input))


@placed
def triu(input: Any, diagonal: int = 0) -> Any:
    """Zeros below a diagonal."""
    return index.where(_below(input, diagonal - 1), array.zeros_like(input), input)


def _below(x: Any, diagonal: int) -> Any:
    if len(x.dims) < 2:
        raise ShapeError("only matrices have triangles", got=f"shape {list(x.dims)}", hint="torch.diag(x)")
    rows, columns = array.range_(x.dims[-2]), array.range_(x.dims[-1])
    held = array.expand_dims(rows, 1) >= array.expand_dims(columns, 0) - diagonal
    return held if len(x.dims) == 2 else array.broadcast_to(held, array.shape(x))


@placed
def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """A value where the mask holds."""
    return pointwise.where(mask, pointwise.as_scalar(value, input) if not hasattr(value, "graph") else value, input)


@placed
def masked_select(input: Any, mask: Any) -> Any:
    """The elements where the mask holds, as a vector."""
    return index.boolean_mask(*_broadcast(input, mask))


def _broadcast(x: Any, mask: Any) -> tuple[Any, Any]:
    return (x, mask) if x.dims == mask.dims else (array.broadcast_to(x, list(mask.dims)), mask)


@placed
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The slices along a dimension that a vector of indices names."""
    return input[(slice(None),) * axis_of(input, dim) + (index,)]


@placed
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of what is not zero, one row for each element; or a tuple of one tensor for each dimension."""
    held = input if input.dtype.is_bool else casts.cast(input, dtypes.bool_)
    return pointwise.where(held) if as_tuple else index.where(held)


@placed
def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Ones on the diagonal of a matrix of zeros."""
    made: Any = blocks.eye(n, m, dtype=preferred.floats if dtype is None else dtype)
    return made.requires_grad_() if requires_grad else made


@placed
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """The coordinates of a grid, one tensor for each dimension."""
    several = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if any(len(x.dims) > 1 for x in several):
        raise ShapeError("meshgrid takes vectors", got=str([list(x.dims) for x in several]))
    return tuple(arrange.meshgrid(*several, indexing=indexing))


def size(input: Any, dim: int | None = None) -> Any:
    """The shape, or one of its sizes."""
    return Size(input.dims) if dim is None else input.dims[axis_of(input, dim)]


def numel(input: Any) -> Any:
    """How many elements; a tensor where that comes with the values."""
    return scalar.prod(input.dims) if input.dims is not None and None not in input.dims else array.size(input)


@placed
def contiguous(input: Any) -> Any:
    """The tensor, or a copy of it whose elements lie one after the other."""
    if type(input) is EagerTensor and type(input.value) is np.ndarray and not input.value.flags.c_contiguous:
        found: Any = core.identity(input)
        found.owns(np.ascontiguousarray(input.value))
        return found
    return input


@placed
def view(input: Any, *shape: Any) -> Any:
    """The elements in another shape, or read as another dtype of the same width; always the same memory."""
    if len(shape) == 1 and isinstance(shape[0], dtypes.DType):
        return casts.bitcast(input, shape[0])
    if type(input) is EagerTensor and type(input.value) is np.ndarray and not input.value.flags.c_contiguous:
        return _viewed(input, shape)
    return reshape(input, *shape)


def _viewed(x: EagerTensor, shape: Sequence[Any]) -> Any:
    """A view of memory with gaps, or in another order: there is one, or none."""
    if x.memory is None:  # nobody shares this memory, which is as some kernel made it
        x.value = np.ascontiguousarray(x.value)
    found = reshape(x, *shape)
    if found is not x and x.memory is not None and found.memory is not x.memory and x.shape.numel():
        raise ShapeError(
            "view() shows the same memory, and in this order of the elements it cannot",
            expected="elements one after the other",
            got=f"shape {list(x.dims)}, as a transpose or a slice left it",
            hint="x.reshape(...) copies where it must; x.contiguous().view(...)",
        )
    return found


@placed
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """The tensors, all expanded to one shape."""
    shape: list[int] = []
    for x in tensors:
        shape = [int(d or 0) for d in arrange.broadcast_static_shape(shape, list(x.dims)).as_list()]
    return tuple(array.broadcast_to(x, shape) for x in tensors)


@placed
def swap_all(input: Any) -> Any:
    """The dimensions in reverse order: `x.T`."""
    return arrange.transpose(input)


@placed
def last_two(input: Any) -> Any:
    """The last two dimensions exchanged: `x.mT`."""
    return transpose(input, -2, -1)


METHODS: dict[str, Callable[..., Any]] = {
    "reshape": reshape, "view": view, "flatten": flatten, "squeeze": squeeze, "unsqueeze": unsqueeze,
    "permute": permute, "transpose": transpose, "swapaxes": transpose, "t": t, "expand": expand,
    "expand_as": expand_as, "broadcast_to": expand, "repeat": repeat, "split": split, "chunk": chunk,
    "unbind": unbind, "narrow": narrow, "roll": roll, "tril": tril, "triu": triu, "masked_fill": masked_fill,
    "masked_select": masked_select, "index_select": index_select, "nonzero": nonzero, "contiguous": contiguous,
    "numel": numel,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **METHODS, "cat": cat, "concat": cat, "concatenate": cat, "stack": stack, "meshgrid": meshgrid, "eye": eye,
    "broadcast_tensors": broadcast_tensors,
}  # fmt: skip
del FUNCTIONS["view"], FUNCTIONS["contiguous"], FUNCTIONS["expand"], FUNCTIONS["repeat"], FUNCTIONS["expand_as"]
