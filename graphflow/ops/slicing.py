"""Slices by position: `x[1:, ..., 0]`, `slice` and `strided_slice`.

Policy: NumPy's rules, in a run as on paper: bounds of a slice may lie outside, a single index may not, negative ones
count from the end.  What is known of an index while the graph is built is an attribute (`key`), one entry for each
part of the index; a tensor in it is an input.

    3            one element, the dimension goes         (1, None, 2)   a slice; None where nothing is written
    "t"          one element, at the next input          (0, "t", 1)    a slice with a bound from the next input
    None         a new dimension of size 1               "..."          all dimensions not mentioned

State: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphflow import spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array, index
from graphflow.ops.arguments import (
    as_tensor,
    check_index,
    check_scalar,
    check_vector,
    integers_or_none,
    is_integer,
    is_symbolic,
    shape_vector,
    useful_hint,
    vector_hint,
)
from graphflow.ops.inference import hinted_dims
from graphflow.spec import TensorSpec

Key: TypeAlias = tuple[Any, ...]

# -- what an index makes of a shape ----------------------------------------------------------------------------------


def _with_hints(key: Key, bounds: Sequence[Any]) -> Key:
    """The key with what is known of its tensors in their places, and "?" where nothing is."""
    values = iter(bounds)

    def value() -> Any:
        x = next(values)
        check_index(x, "indices")
        check_scalar(x, "an index")
        return "?" if x.hint is None else x.hint

    out: list[Any] = []
    for part in key:
        if isinstance(part, tuple):
            out.append(tuple([value() if p == "t" else p for p in part]))
        else:
            out.append(value() if part == "t" else part)
    return tuple(out)


def _spread(key: Key, rank: int) -> Key:
    """The key with one entry for each dimension (and for each new one)."""
    used = sum(1 for part in key if part is not None and part != "...")
    if used > rank:
        raise ShapeError("an index has too many parts", expected=f"at most {rank}, the rank", got=str(used))
    at = key.index("...") if "..." in key else len(key)
    return (*key[:at], *((None, None, None),) * (rank - used), *key[at + 1 :])


def _length(size: int | None, part: tuple[Any, ...]) -> int | None:
    """The length of a slice of a dimension, where it can be known."""
    start, stop, step = part
    if step == 0:
        raise InvalidArgumentError("the step of a slice cannot be 0")
    if "?" in part or size is None:
        return size if start is None and stop is None and step in (None, 1, -1) else None
    return len(range(*slice(start, stop, step).indices(size)))


def _sliced_dims(dims: tuple[int | None, ...], key: Key) -> Iterator[int | None]:
    left = iter(enumerate(dims))
    for part in _spread(key, len(dims)):
        if part is None:
            yield 1
            continue
        axis, size = next(left)
        if isinstance(part, tuple):
            yield _length(size, part)
        elif part != "?" and size is not None and not -size <= part < size:
            raise InvalidArgumentError(
                f"index {part} is out of range for axis {axis}", expected=f"-{size} <= index < {size}",
                got=f"a tensor of shape {spec.describe(dims)}",
            )  # fmt: skip


def _sliced_hint(hint: Any, key: Key) -> Any:
    """The hint of a part of a small vector."""
    parts = [p for p in key if p != "..."]
    if not isinstance(hint, tuple) or len(parts) != 1 or parts[0] in (None, "?"):
        return None
    part = parts[0]
    if not isinstance(part, tuple):
        return hint[part]
    return None if "?" in part else useful_hint(hint[slice(*part)])


def _sliced(x: Any, *bounds: Any, key: Key) -> TensorSpec:
    known = _with_hints(key, bounds) if bounds else key
    if x.dims is None:
        return TensorSpec(x.dtype, None)
    dims = tuple(_sliced_dims(x.dims, known))
    return TensorSpec(x.dtype, dims, _sliced_hint(x.hint, known) if x.hint is not None else None)


@op("StridedSlice", infer=_sliced, same_dtype=None, weight=0)
def _strided_slice(x: Any, bounds: Sequence[Any], key: Key, name: str | None = None) -> Any:
    return call((x, *bounds), name, key=key)


def _unsliced(dy: Any, shape: Any, *bounds: Any, key: Key) -> TensorSpec:
    return TensorSpec(dy.dtype, hinted_dims(shape))


@op("StridedSliceGrad", infer=_unsliced, same_dtype=None)
def _strided_slice_grad(dy: Any, shape: Any, bounds: Sequence[Any], key: Key, name: str | None = None) -> Any:
    return call((dy, shape, *bounds), name, key=key)


_strided_slice.vjp(
    lambda op, dy: _strided_slice_grad(dy, array.shape(op.inputs[0]), op.inputs[1:], op.attrs["key"]), None
)
_strided_slice_grad.vjp(lambda op, dy: _strided_slice(dy, op.inputs[2:], op.attrs["key"]), None)

# -- Python's brackets -----------------------------------------------------------------------------------------------


def getitem(x: Any, key: Any, name: str | None = "strided_slice") -> Any:
    """`x[key]`: integers, slices, `...`, `tf.newaxis`, scalar tensors, or one boolean mask."""
    x = as_tensor(x)
    if _is_mask(key):
        return index.boolean_mask(x, key)
    bounds: list[Any] = []
    parts = tuple([_part(item, bounds) for item in (key if isinstance(key, tuple) else (key,))])
    if parts.count("...") > 1:
        raise InvalidArgumentError("an index can only have a single ellipsis ('...')")
    return _strided_slice(x, bounds, parts, name=name)


def _is_mask(item: Any) -> bool:
    if is_symbolic(item):
        return as_tensor(item).dtype.is_bool
    if isinstance(item, list):
        return len(item) > 0 and all(isinstance(v, (bool, np.bool_)) or _is_mask(v) for v in item)
    return isinstance(item, np.ndarray) and item.dtype == bool and item.ndim > 0


def _part(item: Any, bounds: list[Any]) -> Any:
    """One entry of the key; tensors go to `bounds`."""
    if type(item) is int or item is None:
        return item
    if isinstance(item, slice):
        return (_bound(item.start, bounds), _bound(item.stop, bounds), _bound(item.step, bounds))
    if item is Ellipsis:
        return "..."
    if isinstance(item, (bool, np.bool_)) or _is_mask(item):
        hint = "tf.boolean_mask(x, mask, axis=1)"
        raise DTypeError("a mask stands alone in an index", got=repr(item)[:80], hint=hint)
    return _bound(item, bounds)


def _bound(item: Any, bounds: list[Any]) -> Any:
    if item is None or type(item) is int:
        return item
    if is_symbolic(item):
        tensor = as_tensor(item)
        check_index(tensor, "indices")
        if tensor.dims:
            got = f"{tensor.name}, shape {spec.describe(tensor.dims)}"
            raise DTypeError("an index is a scalar", got=got, hint="tf.gather(x, indices)")
        bounds.append(tensor)
        return "t"
    if is_integer(item):
        return int(item)
    several = isinstance(item, (list, np.ndarray))
    raise DTypeError(
        "an index is an integer, a slice, `...`, tf.newaxis or a scalar tensor",
        got=repr(item)[:80],
        hint="tf.gather(x, indices)" if several else "tf.cast(i, tf.int32)" if isinstance(item, float) else None,
    )


# -- the same by function --------------------------------------------------------------------------------------------


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Any:
    """`x[begin[0]:end[0]:strides[0], ...]`; bit i of a mask changes what part i means."""
    if var is not None:
        raise InvalidArgumentError("strided_slice of a variable cannot be assigned to", hint="tf.scatter_nd_update")
    starts, stops = _entries(begin, "begin"), _entries(end, "end")
    steps = [1] * len(starts) if strides is None else _entries(strides, "strides")
    if not len(starts) == len(stops) == len(steps):
        got = f"{len(starts)}, {len(stops)} and {len(steps)}"
        raise ShapeError("begin, end and strides have one entry for each part", expected="equal lengths", got=got)
    bounds: list[Any] = []
    key: list[Any] = []
    for i, (start, stop, step) in enumerate(zip(starts, stops, steps, strict=True)):
        bit = 1 << i
        if ellipsis_mask & bit:
            key.append("...")
        elif new_axis_mask & bit:
            key.append(None)
        elif shrink_axis_mask & bit:
            key.append(_bound(start, bounds))
        else:
            ends = (None if begin_mask & bit else start, None if end_mask & bit else stop, step)
            key.append(tuple(_bound(e, bounds) for e in ends))
    if key.count("...") > 1:
        raise InvalidArgumentError("ellipsis_mask can only have a single bit", got=bin(ellipsis_mask))
    return _strided_slice(input_, bounds, tuple(key), name=name)


def _entries(vector: Any, what: str) -> list[Any]:
    """The entries of a vector: integers where they are known, tensors elsewhere."""
    found = integers_or_none(vector, what)
    if isinstance(found, tuple):
        return list(found)
    if found is None and isinstance(vector, (list, tuple)):
        return list(vector)
    tensor = as_tensor(vector)
    if found is not None or not tensor.dims or len(tensor.dims) != 1 or tensor.dims[0] is None:
        raise ShapeError(f"{what} is a vector of known length", got=spec.describe(tensor.dims))
    return list(array.unstack(tensor))


def _extent(d: int | None, start: int | None, size: int | None, axis: int) -> int | None:
    """The size of a slice along one axis; -1 means up to the end."""
    if start is not None and (start < 0 or d is not None and start > d):
        wanted = f"0 <= begin <= {'size' if d is None else d}"
        raise InvalidArgumentError(f"a slice begins outside of axis {axis}", expected=wanted, got=str(start))
    if size == -1:
        return None if d is None or start is None else d - start
    if size is not None and (size < 0 or d is not None and (start or 0) + size > d):
        got = f"begin {'?' if start is None else start}, size {size}"
        wanted = f"size >= 0 (or -1), begin + size <= {'?' if d is None else d}"
        raise InvalidArgumentError(f"a slice ends outside of axis {axis}", expected=wanted, got=got)
    return size


def _cut(x: Any, begin: Any, size: Any) -> TensorSpec:
    for v, what in ((begin, "begin"), (size, "size")):
        check_index(v, f"begin and size: {what}")
        check_vector(v, what)
    starts, sizes = vector_hint(begin), vector_hint(size)
    rank = next((len(v) for v in (x.dims, starts, sizes) if v is not None), None)
    if rank is None:
        return TensorSpec(x.dtype, None)
    if any(v is not None and len(v) != rank for v in (x.dims, starts, sizes)):
        raise ShapeError("a slice needs one begin and one size for each axis", expected=f"{rank} entries",
                         got=f"begin {spec.describe(begin.dims)}, size {spec.describe(size.dims)}")  # fmt: skip
    unknown = (None,) * rank
    parts = zip(x.dims or unknown, starts or unknown, sizes or unknown, strict=True)
    dims = tuple(_extent(d, a, n, i) for i, (d, a, n) in enumerate(parts))
    hint = None
    if rank == 1 and isinstance(x.hint, tuple) and starts and starts[0] is not None and dims[0] is not None:
        hint = useful_hint(x.hint[starts[0] : starts[0] + dims[0]])
    return TensorSpec(x.dtype, dims, hint)


@op("Slice", infer=_cut, same_dtype=None)
def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Any:
    """The part of a tensor that begins at `begin` and has the shape `size`, where -1 means up to the end."""
    return call((input_, shape_vector(begin, "begin"), shape_vector(size, "size")), name)


def _uncut(dy: Any, begin: Any, shape: Any) -> TensorSpec:
    return TensorSpec(dy.dtype, hinted_dims(shape))


@op("SliceGrad", infer=_uncut, same_dtype=None)
def _slice_grad(dy: Any, begin: Any, shape: Any, name: str | None = None) -> Any:
    return call((dy, begin, shape), name)


slice_.vjp(lambda op, dy: _slice_grad(dy, op.inputs[1], array.shape(op.inputs[0])), None, None)
_slice_grad.vjp(lambda op, dy: slice_(dy, op.inputs[1], array.shape(op.inputs[0])), None, None)
