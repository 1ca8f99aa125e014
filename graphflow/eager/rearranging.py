"""Joins, cuts and turns in PyTorch's spelling, made of what `shaping` has.

Policy: each is a composition of the library's own ops, so derivatives and traces follow by themselves.  Indices that
depend on sizes alone are worked out beforehand.

State: none.
"""

from __future__ import annotations

import itertools
import math as scalar
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager import shaping
from graphflow.eager.calling import checked
from graphflow.eager.mode import placed
from graphflow.eager.reductions import axis_of, flip
from graphflow.eager.storage import apart
from graphflow.eager.tensor import EagerTensor, Size
from graphflow.errors import DTypeError, InvalidArgumentError, OutOfRangeError, ShapeError, SymbolicUseError, shown
from graphflow.ops import arithmetic, arrange, array, casts, index, ordering, scans
from graphflow.tensor import Tensor

Function = Callable[..., Any]


def size_of(x: Any, axis: int) -> int:
    """A size that has to be known."""
    if axis >= len(x.dims):
        raise ShapeError("a scalar has no dimensions", got=f"shape {list(x.dims)}", hint="x[None] has one")
    size = x.dims[axis]
    if size is None:
        raise SymbolicUseError(
            f"the size of dimension {axis} is not known in this trace", op=x.op, hint="name it in input_signature"
        )
    return int(size)


def several(tensors: tuple[Any, ...]) -> list[Any]:
    """Tensors given one by one or as one list."""
    return list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)


# -- joins -----------------------------------------------------------------------------------------------------------


def _of_rank(rank: int) -> Function:
    def lifted(x: Any) -> Any:
        missing = rank - len(x.dims)
        if missing <= 0:
            return x
        before = 1 if missing == 2 and rank == 3 or rank < 3 and missing else 0
        front = [1] * (missing if rank < 3 else before)
        return array.reshape(x, [*front, *x.dims, *[1] * (missing - len(front))])

    def function(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], Tensor):
            return lifted(tensors[0])
        return tuple([lifted(x) for x in several(tensors)])

    function.__name__ = function.__qualname__ = f"atleast_{rank}d"
    function.__doc__ = f"The tensor, or each of several, with {rank} dimension{'s' if rank > 1 else ''} or more."
    return placed(function)


atleast_1d, atleast_2d, atleast_3d = _of_rank(1), _of_rank(2), _of_rank(3)


def _listed(tensors: Any, what: str) -> list[Any]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, (list, tuple)) or not tensors:
        raise DTypeError(f"{what} takes a list of tensors", got=shown(tensors), hint=f"torch.{what}([x, y])")
    return list(tensors)


@placed
def vstack(tensors: Any) -> Any:
    """Tensors one below the other; vectors are rows."""
    return shaping.cat([atleast_2d(x) for x in _listed(tensors, "vstack")], 0)


@placed
def hstack(tensors: Any) -> Any:
    """Tensors side by side; vectors one after the other."""
    parts = [atleast_1d(x) for x in _listed(tensors, "hstack")]
    return shaping.cat(parts, 0 if len(parts[0].dims) == 1 else 1)


@placed
def dstack(tensors: Any) -> Any:
    """Tensors one behind the other, along the third dimension."""
    return shaping.cat([atleast_3d(x) for x in _listed(tensors, "dstack")], 2)


@placed
def column_stack(tensors: Any) -> Any:
    """Vectors as the columns of a matrix; matrices side by side."""
    parts = [array.reshape(x, [-1, 1]) if len(x.dims) < 2 else x for x in _listed(tensors, "column_stack")]
    return shaping.cat(parts, 1)


@placed
def block_diag(*tensors: Any) -> Any:
    """A matrix with the matrices along its diagonal, zeros elsewhere."""
    parts = [atleast_2d(x) for x in tensors]
    if any(len(x.dims) > 2 for x in parts):
        raise ShapeError("block_diag takes matrices", got=str([list(x.dims) for x in parts]))
    widths = [size_of(x, 1) for x in parts]
    total, at = sum(widths), 0
    rows = []
    for x, width in zip(parts, widths, strict=True):
        rows.append(arrange.pad(x, [[0, 0], [at, total - at - width]]))
        at += width
    return shaping.cat(rows, 0)


@placed
def cartesian_prod(*tensors: Any) -> Any:
    """Every choice of one element of each vector, one a row."""
    if any(len(x.dims) != 1 for x in tensors):
        raise ShapeError("cartesian_prod takes vectors", got=str([list(x.dims) for x in tensors]))
    if len(tensors) == 1:
        return tensors[0]
    return array.reshape(shaping.stack(shaping.meshgrid(*tensors, indexing="ij"), -1), [-1, len(tensors)])


@placed
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """Every choice of r elements of a vector in their order, one a row."""
    if len(input.dims) != 1:
        raise ShapeError("combinations takes a vector", got=f"shape {list(input.dims)}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(size_of(input, 0)), r)), np.int64).reshape(-1, r)
    return index.gather(input, rows)


# -- cuts ------------------------------------------------------------------------------------------------------------


def _bounds(total: int, cuts: Any) -> list[tuple[int, int]]:
    cuts = cuts.tolist() if hasattr(cuts, "tolist") else cuts
    if isinstance(cuts, int):
        if cuts <= 0:
            raise InvalidArgumentError("there is one section or more", got=str(cuts))
        small, larger = divmod(total, cuts)
        sizes = [small + (i < larger) for i in range(cuts)]
        ends = list(itertools.accumulate(sizes))
        return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    at = [slice(c).indices(total)[1] for c in cuts]
    return [(first, max(first, last)) for first, last in itertools.pairwise([0, *at, total])]


@placed
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """So many pieces of nearly one size along a dimension, or the pieces between the indices."""
    axis = axis_of(input, dim)
    before = (slice(None),) * axis
    return tuple([input[(*before, slice(*b))] for b in _bounds(size_of(input, axis), indices_or_sections)])


def _split_along(name: str, axis: int, least: int) -> Function:
    def function(input: Any, indices_or_sections: Any) -> tuple[Any, ...]:
        rank = len(input.dims)
        at = 0 if least == rank == 1 else axis
        if rank < least:
            raise ShapeError(f"{name} needs {least} dimensions or more", got=f"shape {list(input.dims)}")
        if isinstance(indices_or_sections, int) and size_of(input, at) % indices_or_sections:
            raise ShapeError(
                f"{name} makes pieces of one size", expected=f"a divisor of {input.dims[at]}",
                got=str(indices_or_sections), hint="torch.tensor_split",
            )  # fmt: skip
        found: tuple[Any, ...] = tensor_split(input, indices_or_sections, at)
        return found

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Pieces along dimension {axis}: so many of one size, or those between the indices."
    return placed(function)


@placed
def select(input: Any, dim: int, index: int) -> Any:
    """One slice along a dimension."""
    return input[(slice(None),) * axis_of(input, dim) + (index,)]


@placed
def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """The windows of that size along a dimension, each `step` further, along a new last dimension.

    Windows that overlap are a copy, and nothing can be written into it.
    """
    axis = axis_of(input, dimension)
    total = size_of(input, axis)
    if not 0 <= size <= total or step <= 0:
        raise OutOfRangeError("no such window", expected=f"size up to {total}, step above 0", got=f"{size}, {step}")
    starts = np.arange(0, total - size + 1, step, dtype=np.int64)
    count = len(starts)
    if size <= step and count * step <= total:  # no element is in two windows: a view
        before = (slice(None),) * axis
        sizes = [*input.dims[:axis], count, step, *input.dims[axis + 1 :]]
        wide = array.reshape(input[(*before, slice(count * step))], sizes)
        return movedim(wide[(*before, slice(None), slice(size))], axis + 1, -1)
    found = movedim(index.gather(input, starts[:, None] + np.arange(size), axis=axis), axis + 1, -1)
    return _unwritable(found, input)


def _unwritable(found: Any, input: Any) -> Any:
    """A copy that stands for a view: what is written into it would not be seen where PyTorch shows it."""
    if isinstance(found, EagerTensor):
        if type(found.value) is np.ndarray:
            found.value.flags.writeable = False
        else:
            found.is_apart_from(input)
    return found


# -- other shapes ----------------------------------------------------------------------------------------------------


@placed
def ravel(input: Any) -> Any:
    """The elements as a vector."""
    return array.reshape(input, [-1])


@placed
def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """One dimension as several, of which one size may be -1."""
    axis = axis_of(input, dim)
    wanted = shaping.sizes_of([sizes] if isinstance(sizes, (list, tuple)) else sizes)
    known = scalar.prod(s for s in wanted if s != -1)
    total = size_of(input, axis)
    if wanted.count(-1) > 1 or (known == 0 or total % known if -1 in wanted else known != total):
        raise ShapeError("the sizes do not fill the dimension", expected=f"{total} elements", got=str(wanted))
    wanted = [total // known if s == -1 else s for s in wanted]
    return array.reshape(input, [*input.dims[:axis], *wanted, *input.dims[axis + 1 :]])


@placed
def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Dimensions moved to other places; the others keep their order."""
    first = [axis_of(input, d) for d in (source if isinstance(source, (list, tuple)) else [source])]
    last = [axis_of(input, d) for d in (destination if isinstance(destination, (list, tuple)) else [destination])]
    if len(first) != len(last) or len(set(first)) != len(first) or len(set(last)) != len(last):
        raise InvalidArgumentError("movedim names as many places as dimensions", got=f"{source} and {destination}")
    rest = iter([d for d in range(len(input.dims)) if d not in first])
    to = dict(zip(last, first, strict=True))
    order = [to[d] if d in to else next(rest) for d in range(len(input.dims))]
    return arrange.transpose(input, order) if order else input


@placed
def tile(input: Any, *dims: Any) -> Any:
    """The whole tensor, so many times along each of its last dimensions."""
    times = shaping.sizes_of(dims)
    return shaping.repeat(input, [1] * (len(input.dims) - len(times)) + times)


@placed
def repeat_interleave(input: Any, repeats: Any = None, dim: Any = None, *, output_size: Any = None) -> Any:
    """Each element (or slice along a dimension) so many times, one number for all or one for each."""
    if repeats is None:
        return _repeated_numbers(input)
    x, axis = (ravel(input), 0) if dim is None else (input, axis_of(input, dim))
    if isinstance(repeats, Tensor) and (repeats.dims or (1,)) == (1,):
        repeats = array.broadcast_to(repeats, [size_of(x, axis)])
    if not isinstance(repeats, int):
        return index.gather(x, _repeated_numbers(repeats), axis=axis)
    if repeats < 0:
        raise InvalidArgumentError("nothing is repeated fewer than 0 times", got=str(repeats))
    wide = array.expand_dims(x, axis + 1)
    sizes = [size_of(x, d) for d in range(len(x.dims))]
    wide = array.broadcast_to(wide, [*sizes[: axis + 1], repeats, *sizes[axis + 1 :]])
    return apart(array.reshape(wide, [*sizes[:axis], sizes[axis] * repeats, *sizes[axis + 1 :]]), input)


def _repeated_numbers(repeats: Any) -> Any:
    """0 as often as the first number says, 1 as often as the second, ..."""
    ends = scans.cumsum(casts.cast(repeats, dtypes.int64), 0)
    if ends.dims == (0,):
        return ends
    return ordering.searchsorted(ends, array.range_(ends[-1]), side="right", out_type=dtypes.int64)


@placed
def fliplr(input: Any) -> Any:
    """The columns in reverse."""
    return flip(input, 1)


@placed
def flipud(input: Any) -> Any:
    """The rows in reverse."""
    return flip(input, 0)


@placed
def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Turned k times by 90 degrees, from the first of two dimensions towards the second."""
    first, second = (axis_of(input, d) for d in dims)
    if first == second:
        raise InvalidArgumentError("rot90 turns two different dimensions", got=str(list(dims)))
    if k % 4 == 1:
        return shaping.transpose(flip(input, second), first, second)
    if k % 4 == 3:
        return flip(shaping.transpose(input, first, second), second)
    return flip(input, first, second) if k % 4 else apart(input, input)


@placed
def adjoint(input: Any) -> Any:
    """The last two dimensions exchanged, complex numbers conjugated."""
    return arithmetic.conj(shaping.last_two(input) if input.dims else input)


@checked
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which all of these broadcast."""
    try:
        return Size(np.broadcast_shapes(*[(s,) if isinstance(s, int) else tuple(s) for s in shapes]))
    except ValueError:
        raise ShapeError("the shapes do not broadcast", got=", ".join(str(list(s)) for s in shapes)) from None


METHODS: dict[str, Function] = {
    "tensor_split": tensor_split, "hsplit": _split_along("hsplit", 1, 1), "vsplit": _split_along("vsplit", 0, 2),
    "dsplit": _split_along("dsplit", 2, 3), "select": select, "ravel": ravel, "unflatten": unflatten,
    "movedim": movedim,
    "moveaxis": movedim, "tile": tile, "repeat_interleave": repeat_interleave, "fliplr": fliplr, "flipud": flipud,
    "rot90": rot90, "adjoint": adjoint, "swapdims": shaping.transpose,
}  # fmt: skip
ONLY_METHODS: dict[str, Function] = {"unfold": unfold, "split_with_sizes": shaping.split}
FUNCTIONS: dict[str, Function] = {
    **METHODS, "atleast_1d": atleast_1d, "atleast_2d": atleast_2d, "atleast_3d": atleast_3d, "vstack": vstack,
    "row_stack": vstack, "hstack": hstack, "dstack": dstack, "column_stack": column_stack, "block_diag": block_diag,
    "cartesian_prod": cartesian_prod, "combinations": combinations, "broadcast_shapes": broadcast_shapes,
}  # fmt: skip
