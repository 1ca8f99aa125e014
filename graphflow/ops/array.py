"""Shapes, fills, and joining and splitting: the ops that everything else is made with.

Policy: what is known of a shape is carried through these ops (as dims, and as the hints of the integer vectors that
shape arithmetic is done with), so that `reshape(x, [tf.shape(x)[0], 10])` has the shape [?, 10].  Axes are known while
the graph is built; shapes need not be.

State: none; tells `graphflow.constants` once, on import, how a list of tensors becomes one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow import constants, dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops.arguments import (
    as_tensor,
    check_scalar,
    check_vector,
    integers_or_none,
    is_integer,
    is_symbolic,
    known_integer,
    known_integers,
    one_of,
    reshaped_hint,
    shape_vector,
    useful_hint,
    vector_hint,
    zero_of,
)
from graphflow.ops.casts import cast
from graphflow.ops.inference import hinted_dims
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

FOLDED_BYTES = 1024  # constants up to this size are made while compiling

# -- what shape a tensor has -----------------------------------------------------------------------------------------


def _shape(x: Any, *, out_type: dtypes.DType) -> TensorSpec:
    if x.dims is None:
        return TensorSpec(out_type, (None,))
    return TensorSpec(out_type, (len(x.dims),), x.dims)


def _known_shape(x: Any, *, out_type: dtypes.DType) -> Any:
    return np.array(x.dims, out_type.np) if spec.is_concrete(x.dims) else None


@op("Shape", infer=_shape, known_value=_known_shape, differentiable=False, weight=0)
def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Any:
    """The shape of a tensor, as a vector of integers."""
    return call((input,), name, out_type=as_dtype(out_type))


def sizes_of_input(x: Any) -> Any:
    """The shape of a tensor as an input of another op; where ops are computed at once it is there without an op."""
    return x.graph.sizes(x.dims) if x.graph.computes else shape(x)


def shape_n(input: Any, out_type: Any = dtypes.int32, name: str | None = None) -> list[Tensor]:
    """The shapes of several tensors."""
    return [shape(x, name=name, out_type=out_type) for x in input]


def _size(x: Any, *, out_type: dtypes.DType) -> TensorSpec:
    return TensorSpec(out_type, (), spec.numel(x.dims) if spec.is_concrete(x.dims) else None)


def _known_size(x: Any, *, out_type: dtypes.DType) -> Any:
    return out_type.type(spec.numel(x.dims)) if spec.is_concrete(x.dims) else None


@op("Size", infer=_size, known_value=_known_size, differentiable=False, weight=0)
def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Any:
    """How many elements a tensor has."""
    return call((input,), name, out_type=as_dtype(out_type))


def _rank(x: Any) -> TensorSpec:
    return TensorSpec(dtypes.int32, (), None if x.dims is None else len(x.dims))


@op(
    "Rank",
    infer=_rank,
    known_value=lambda x: None if x.dims is None else np.int32(len(x.dims)),
    differentiable=False,
    weight=0,
)
def rank(input: Any, name: str | None = None) -> Any:
    """How many dimensions a tensor has."""
    return call((input,), name)


# -- the same elements in another shape ------------------------------------------------------------------------------


def _reshape(x: Any, target: Any) -> TensorSpec:
    dims = spec.reshaped(x.dims, hinted_dims(target))
    return TensorSpec(x.dtype, dims, reshaped_hint(x, dims))


@op("Reshape", infer=_reshape, same_dtype=None, noop=True, weight=0)
def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """The same elements in another shape; one size may be -1."""
    return call((tensor, shape_vector(shape)), name)


reshape.vjp(lambda op, dy: reshape(dy, sizes_of_input(op.inputs[0])), None)


def _expand_dims(x: Any, *, axis: int) -> TensorSpec:
    if x.dims is None:
        return TensorSpec(x.dtype, None)
    at = spec.normal_axis(axis, len(x.dims) + 1)
    dims = (*x.dims[:at], 1, *x.dims[at:])
    return TensorSpec(x.dtype, dims, reshaped_hint(x, dims))


@op("ExpandDims", infer=_expand_dims, weight=0)
def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Any:
    """The tensor with one more dimension, of size 1, before `axis` (-1 puts it last)."""
    return call((input,), name, axis=known_integer(dim if axis is None else axis))


expand_dims.vjp(lambda op, dy: reshape(dy, sizes_of_input(op.inputs[0])))


def _squeeze(x: Any, *, axis: tuple[int, ...] | None) -> TensorSpec:
    if x.dims is None:
        return TensorSpec(x.dtype, None)
    if axis is None:
        if None in x.dims:
            return TensorSpec(x.dtype, None)
        gone = {i for i, d in enumerate(x.dims) if d == 1}
    else:
        gone = set(spec.normal_axes(axis, len(x.dims)))
    for i in gone:
        if x.dims[i] not in (1, None):
            raise ShapeError(f"cannot squeeze axis {i}", expected="size 1", got=spec.describe(x.dims))
    dims = tuple(d for i, d in enumerate(x.dims) if i not in gone)
    return TensorSpec(x.dtype, dims, reshaped_hint(x, dims))


@op("Squeeze", infer=_squeeze, noop=True, weight=0)
def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Any:
    """The tensor without its dimensions of size 1, or without those listed in `axis`."""
    axis = squeeze_dims if axis is None else axis
    given = None if axis is None or isinstance(axis, (list, tuple)) and not axis else known_integers(axis)
    return call((input,), name, axis=given)


squeeze.vjp(lambda op, dy: reshape(dy, sizes_of_input(op.inputs[0])))


# -- tensors made of nothing but a shape -----------------------------------------------------------------------------


def sizes_of(shape: Any) -> spec.Dims:
    """The dims that an integer vector stands for, none of them negative."""
    dims = hinted_dims(shape)
    if dims is not None and any(d is not None and d < 0 for d in dims):
        raise ShapeError("a size cannot be negative", expected="sizes >= 0", got=str(list(dims)))
    return dims


def _filled(shape: Any, value: Any) -> TensorSpec:
    check_scalar(value, "the value to fill with")
    dims = sizes_of(shape)
    hint = value.hint if dims == () else None
    if dims is not None and len(dims) == 1 and dims[0] is not None and dims[0] <= constants.MAX_HINT:
        hint = useful_hint((value.hint,) * dims[0])
    return TensorSpec(value.dtype, dims, hint)


@op("Fill", infer=_filled, same_dtype=None)
def fill(dims: Any, value: Any, name: str | None = None) -> Any:
    """A tensor of that shape with the scalar `value` everywhere."""
    return call((shape_vector(dims), value), name)


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = "zeros") -> Any:
    """Zeros in that shape (False for bool, the empty text for strings)."""
    return fill(shape, zero_of(as_dtype(dtype)), name=name)


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = "ones") -> Any:
    """Ones in that shape."""
    return fill(shape, one_of(as_dtype(dtype)), name=name)


def _like(x: Any, *, dtype: dtypes.DType) -> TensorSpec:
    return TensorSpec(dtype, x.dims)


def _known_like(x: Any, dtype: dtypes.DType, value: Any) -> Any:
    """The value itself, where it is small enough to be kept as a constant."""
    if not spec.is_concrete(x.dims) or dtype is dtypes.string or spec.numel(x.dims) * dtype.size > FOLDED_BYTES:
        return None
    return np.full(x.dims, value)[()]


@op("ZerosLike", infer=_like, known_value=lambda x, dtype: _known_like(x, dtype, zero_of(dtype)), differentiable=False)
def _zeros_like(x: Any, dtype: Any, name: str | None = None) -> Any:
    return call((x,), name, dtype=dtype)


@op("OnesLike", infer=_like, known_value=lambda x, dtype: _known_like(x, dtype, one_of(dtype)), differentiable=False)
def _ones_like(x: Any, dtype: Any, name: str | None = None) -> Any:
    one_of(dtype)
    return call((x,), name, dtype=dtype)


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Any:
    """Zeros in the shape of a tensor."""
    tensor = as_tensor(tensor)
    return _zeros_like(tensor, tensor.dtype if dtype is None else as_dtype(dtype), name=name)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Any:
    """Ones in the shape of a tensor."""
    tensor = as_tensor(tensor)
    return _ones_like(tensor, tensor.dtype if dtype is None else as_dtype(dtype), name=name)


def _broadcast(x: Any, target: Any) -> TensorSpec:
    dims = sizes_of(target)
    if x.dims is not None and dims is not None:
        pairs = list(zip(reversed(x.dims), reversed(dims), strict=False))
        if len(x.dims) > len(dims) or any(a not in (1, None) and b is not None and a != b for a, b in pairs):
            got = f"{spec.describe(x.dims)} to {spec.describe(dims)}"
            raise ShapeError("a tensor cannot be broadcast to that shape", expected="sizes equal or 1", got=got)
    spread = x.hint is not None and not isinstance(x.hint, tuple) and dims is not None and len(dims) == 1
    hint = (x.hint,) * dims[0] if spread and dims and dims[0] is not None and dims[0] <= constants.MAX_HINT else None
    return TensorSpec(x.dtype, dims, hint)


@op("BroadcastTo", infer=_broadcast, same_dtype=None, noop=True)
def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Any:
    """The tensor repeated to that shape by NumPy's broadcasting."""
    return call((input, shape_vector(shape)), name)


def _steps(start: Any, limit: Any, delta: Any) -> int:
    """How many numbers a range has."""
    if delta == 0:
        raise InvalidArgumentError("a range needs a step other than 0")
    if (limit > start) != (delta > 0) and limit != start:
        raise InvalidArgumentError(
            "a range never reaches its limit", expected="limit >= start, or a negative delta with limit <= start",
            got=f"start {start}, limit {limit}, delta {delta}",
        )  # fmt: skip
    if isinstance(delta, int):
        return -int((start - limit) // delta)
    return int(np.ceil((limit - start) / delta))


def _ranged(start: Any, limit: Any, delta: Any) -> TensorSpec:
    for x, what in ((start, "start"), (limit, "limit"), (delta, "delta")):
        check_scalar(x, what)
        if x.dtype.kind not in ("int", "uint", "float"):
            raise DTypeError("a range is made of integers or floating-point numbers", got=x.dtype.name)
    hints = (start.hint, limit.hint, delta.hint)
    if None in hints or not start.dtype.is_integer:
        return TensorSpec(start.dtype, (None,))
    count = _steps(*hints)
    return TensorSpec(start.dtype, (count,), tuple(range(*hints)) if count <= constants.MAX_HINT else None)


@op("Range", infer=_ranged, differentiable=False)
def _range(start: Any, limit: Any, delta: Any, name: str | None = None) -> Any:
    return call((start, limit, delta), name)


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = "range") -> Any:
    """The numbers start, start + delta, ... below limit; one argument alone is the limit."""
    if limit is None:
        start, limit = 0, start
    given = [start, limit, delta]
    if dtype is not None:
        target = as_dtype(dtype)
    else:
        order = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)
        found = [dtypes.int32 if type(v) is int and abs(v) < 2**31 else as_tensor(v).dtype for v in given]
        target = max(found, key=order.index) if all(d in order for d in found) else found[0]
    literal = not any(is_symbolic(v) for v in given)
    values = [cast(v, target) if is_symbolic(v) else constants.convert_to_tensor(v, target) for v in given]
    out = _range(values[0], values[1], values[2], name=name)
    if literal and target.is_floating and out.dims == (None,):
        out.set_shape((_steps(*[v.op.attrs["value"] for v in values]),))
    return out


# -- joining and splitting -------------------------------------------------------------------------------------------


def _concatenated(*xs: Any, axis: int) -> TensorSpec:
    dims = spec.concatenated([x.dims for x in xs], axis)
    hint = None
    if dims is not None and len(dims) == 1 and xs[0].dtype.is_integer:
        parts = [vector_hint(x) for x in xs]
        hint = None if None in parts else useful_hint(tuple(e for p in parts if p is not None for e in p))
    return TensorSpec(xs[0].dtype, dims, hint)


@op("Concat", infer=_concatenated)
def _concat(values: tuple[Any, ...] | list[Any], axis: int, name: str | None = None) -> Any:
    return call(values, name, axis=axis)


def concat(values: Any, axis: Any = None, name: str | None = "concat", concat_dim: Any = None) -> Any:
    """Join tensors along an axis; TensorFlow 0.x's order of the arguments (first the axis) is understood as well."""
    axis = concat_dim if axis is None else axis
    if is_integer(values) or isinstance(axis, (list, tuple)) and not isinstance(values, (list, tuple)):
        values, axis = axis, values
    at = known_integer(axis)
    items = list(values) if isinstance(values, (list, tuple)) else [values]
    if not items:
        raise InvalidArgumentError("concat needs at least one tensor")
    return _concat(items, at, name=name)


@RegisterGradient("Concat")
def _concat_grad(op: Any, dy: Any) -> list[Any]:
    axis, inputs = op.attrs["axis"], op.inputs
    if len(inputs) == 1:
        return [dy]
    sizes: list[Any] = [None if x.dims is None else x.dims[axis] for x in inputs]
    if None in sizes:
        return list(_pieces_like(dy, [shape(x) for x in inputs], axis))
    return list(_split(dy, None, axis, len(sizes), tuple(sizes)))


def _like_shapes(dy: Any, *shapes: Any, axis: int) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(dy.dtype, hinted_dims(s)) for s in shapes)


@op("ConcatGrad", infer=_like_shapes, same_dtype=None, result=lambda *pieces: list(pieces))
def _pieces_like(dy: Any, shapes: Sequence[Any], axis: int, name: str | None = None) -> Any:
    return call((dy, *shapes), name, axis=axis)


@RegisterGradient("ConcatGrad")
def _pieces_grad(op: Any, *dys: Any) -> list[Any]:
    return [_concat(dys, op.attrs["axis"])] + [None] * len(dys)


def _packed(*xs: Any, axis: int) -> TensorSpec:
    dims: spec.Dims = None
    for x in xs:
        dims = spec.merge(dims, x.dims)
    if dims is None:
        return TensorSpec(xs[0].dtype, None)
    at = spec.normal_axis(axis, len(dims) + 1)
    hint = None if dims or not xs[0].dtype.is_integer else useful_hint(tuple(x.hint for x in xs))
    return TensorSpec(xs[0].dtype, (*dims[:at], len(xs), *dims[at:]), hint)


@op("Pack", infer=_packed)
def _pack(values: tuple[Any, ...] | list[Any], axis: int, name: str | None = None) -> Any:
    return call(values, name, axis=axis)


def stack(values: Any, axis: Any = 0, name: str | None = "stack") -> Any:
    """Tensors of one shape along a new axis."""
    at = known_integer(axis)
    items = list(values) if isinstance(values, (list, tuple)) else unstack(values)
    if not items:
        raise InvalidArgumentError("stack needs at least one tensor")
    return _pack(items, at, name=name)


def parallel_stack(values: Any, name: str | None = "parallel_stack") -> Any:
    """Tensors of one shape along a new first axis."""
    return stack(values, 0, name)


constants.bind_pack(stack)


@RegisterGradient("Pack")
def _pack_grad(op: Any, dy: Any) -> list[Any]:
    return list(unstack(dy, len(op.inputs), op.attrs["axis"]))


def _unpacked(x: Any, *, num: int, axis: int) -> tuple[TensorSpec, ...]:
    if x.dims is None:
        return (TensorSpec(x.dtype, None),) * num
    at = spec.normal_axis(axis, len(x.dims))
    if x.dims[at] not in (None, num):
        wanted = f"size {num} along axis {at}"
        raise ShapeError(f"cannot unstack into {num} tensors", expected=wanted, got=spec.describe(x.dims))
    hints = x.hint if len(x.dims) == 1 and isinstance(x.hint, tuple) else (None,) * num
    return tuple(TensorSpec(x.dtype, x.dims[:at] + x.dims[at + 1 :], h) for h in hints)


@op("Unpack", infer=_unpacked, result=lambda *pieces: list(pieces), weight=0)
def _unpack(value: Any, num: int, axis: int, name: str | None = None) -> Any:
    return call((value,), name, num=num, axis=axis)


def unstack(value: Any, num: int | None = None, axis: Any = 0, name: str | None = "unstack") -> list[Tensor]:
    """The tensors that `stack` would join to `value`; their number must be known."""
    value = as_tensor(value)
    at = known_integer(axis)
    if num is None:
        num = None if value.dims is None else value.dims[spec.normal_axis(at, len(value.dims))]
        if num is None:
            raise InvalidArgumentError(
                f"cannot tell how many tensors to unstack {value.name!r} into",
                expected=f"a known size along axis {at}, or num=", got=spec.describe(value.dims),
            )  # fmt: skip
    return list(_unpack(value, known_integer(num, "num"), at, name=name))


@RegisterGradient("Unpack")
def _unpack_grad(op: Any, *dys: Any) -> list[Any]:
    return [_pack(dys, op.attrs["axis"])]


def _split_sizes(total: int | None, num: int, sizes: Any) -> list[int | None]:
    """The sizes of the pieces along the axis, as far as they are known; one of them may be -1."""
    if sizes is None:
        if total is not None and total % num:
            raise ShapeError(f"cannot split into {num} equal pieces", expected=f"a multiple of {num}", got=str(total))
        return [None if total is None else total // num] * num
    rest = [s for s in sizes if s != -1]
    if len(rest) < len(sizes) - 1 or any(s is not None and s < 0 for s in rest):
        raise ShapeError("the sizes of a split are not negative, save for one -1", got=str(list(sizes)))
    if total is None or None in rest:
        return [None if s == -1 else s for s in sizes]
    left = total - sum(s for s in rest if s is not None)
    if left < 0 or left and len(rest) == len(sizes):
        raise ShapeError("the sizes of a split must add up", expected=str(total), got=str(list(sizes)))
    return [left if s == -1 else s for s in sizes]


def _pieces(x: Any, at: Any = None, *, axis: int, num: int, sizes: tuple[int, ...] | None) -> tuple[TensorSpec, ...]:
    known: Any = sizes if at is None else vector_hint(at) or (None,) * num
    if x.dims is None:
        return (TensorSpec(x.dtype, None),) * num
    axis = spec.normal_axis(axis, len(x.dims))
    found: list[Any] = _split_sizes(x.dims[axis], num, known)
    out, start = [], 0
    for s in found:
        hint = x.hint[start : start + s] if isinstance(x.hint, tuple) and None not in found else None
        out.append(TensorSpec(x.dtype, (*x.dims[:axis], s, *x.dims[axis + 1 :]), hint))
        start += s or 0
    return tuple(out)


@op("Split", infer=_pieces, same_dtype=None, result=lambda *pieces: list(pieces), weight=0)
def _split(value: Any, at: Any, axis: int, num: int, sizes: tuple[int, ...] | None, name: str | None = None) -> Any:
    return call((value,) if at is None else (value, at), name, axis=axis, num=num, sizes=sizes)


@RegisterGradient("Split")
def _split_grad(op: Any, *dys: Any) -> list[Any]:
    return [_concat(dys, op.attrs["axis"])] + [None] * (len(op.inputs) - 1)


def split(
    value: Any,
    num_or_size_splits: Any = None,
    axis: Any = None,
    num: int | None = None,
    name: str | None = "split",
    *,
    split_dim: Any = None,
    num_split: Any = None,
) -> list[Tensor]:
    """The tensor cut along an axis, into equal pieces or pieces of given sizes.

    TensorFlow 0.x's order split(axis, num, value) is understood as well.
    """
    if is_integer(value) and axis is not None and not is_integer(axis):
        value, axis = axis, value
    at = known_integer(axis if axis is not None else 0 if split_dim is None else split_dim)
    wanted = num_split if num_or_size_splits is None else num_or_size_splits
    found = integers_or_none(wanted, "num_or_size_splits")
    if isinstance(found, int):
        if found < 1:
            raise InvalidArgumentError("a split makes one piece or more", got=str(found))
        return list(_split(value, None, at, found, None, name=name))
    if found is not None:
        return list(_split(value, None, at, len(found), found, name=name)) if found else []
    sizes = as_tensor(wanted)
    check_vector(sizes, "the sizes of a split")
    count = num if sizes.dims is None or sizes.dims[0] is None else sizes.dims[0]
    if count is None:
        raise InvalidArgumentError("cannot tell how many pieces a split makes", got=repr(sizes), hint="num= says it")
    return list(_split(value, sizes, at, count, None, name=name))
