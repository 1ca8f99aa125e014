"""Picking elements by their numbers, and putting them back: gather, scatter, where.

Policy: an index out of range, and a negative one, is an error that names it; nothing is clamped.  The gradient of a
gather of rows is `IndexedSlices`, so that an embedding is trained in time proportional to the batch; the gradients of
the others add up at repeated indices.  A condition is a mask of the same shape, a scalar, or one bool for each row.

State: none; tells `graphflow.indexed_slices` once, on import, how rows become a dense tensor.
"""

from __future__ import annotations

from typing import Any

from graphflow import dtypes, spec
from graphflow.constants import convert_to_tensor
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, UnimplementedError
from graphflow.indexed_slices import IndexedSlices, bind_densify
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import array
from graphflow.ops.arguments import (
    as_tensor,
    check_index,
    check_scalar,
    is_symbolic,
    known_integer,
    shape_vector,
    useful_hint,
)
from graphflow.ops.core import name_scope
from graphflow.ops.inference import hinted_dims
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

# -- whole slices along an axis --------------------------------------------------------------------------------------


def _gathered(params: Any, indices: Any, *, axis: int) -> TensorSpec:
    check_index(indices, "indices")
    if params.dims is None:
        return TensorSpec(params.dtype, None)
    at = spec.normal_axis(axis, len(params.dims))
    hints = indices.hint if isinstance(indices.hint, tuple) else (indices.hint,)
    bound = params.dims[at]
    for i in hints:
        if i is not None and (i < 0 or bound is not None and i >= bound):
            raise InvalidArgumentError(
                f"index {i} is out of range", expected=f"0 <= index < {'?' if bound is None else bound}, the size of "
                f"axis {at}", got=spec.describe(params.dims),
            )  # fmt: skip
    if indices.dims is None:
        return TensorSpec(params.dtype, None)
    dims = (*params.dims[:at], *indices.dims, *params.dims[at + 1 :])
    known = None
    if isinstance(params.hint, tuple) and indices.hint is not None and None not in hints:
        picked = tuple(params.hint[i] for i in hints)
        known = useful_hint(picked) if isinstance(indices.hint, tuple) else picked[0]
    return TensorSpec(params.dtype, dims, known)


@op("Gather", can_fail="always", infer=_gathered, same_dtype=None, weight=6)
def _gather(params: Any, indices: Any, axis: int, name: str | None = None) -> Any:
    return call((params, indices), name, axis=axis)


def gather(
    params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: Any = 0, batch_dims: Any = 0
) -> Any:
    """The slices of `params` at `indices` along an axis; an index out of range is always an error."""
    if known_integer(batch_dims, "batch_dims") != 0:
        raise UnimplementedError("gather has no batch_dims", hint="tf.gather_nd picks by batch and index")
    return _gather(params, indices, known_integer(0 if axis is None else axis), name=name)


def _rows_shape(params: Any, indices: Any) -> Any:
    """The shape of one row for each index."""
    count = spec.numel(indices.dims) if spec.is_concrete(indices.dims) else None
    if params.dims is not None and None not in params.dims[1:]:
        if count is None and 0 not in params.dims[1:]:
            count = -1
        return [array.size(indices) if count is None else count, *params.dims[1:]]
    head = array.reshape(array.size(indices), [1]) if count is None else [count]
    return array.concat([head, array.shape(params)[1:]], 0)


@RegisterGradient("Gather")
def _gather_grad(op: Any, dy: Any) -> list[Any]:
    params, indices = op.inputs
    axis = op.attrs["axis"]
    if axis != 0 and (params.dims is None or axis + len(params.dims) != 0):
        return [_gather_back(dy, indices, array.shape(params), axis), None]
    if indices.dims is None or len(indices.dims) != 1:
        dy = array.reshape(dy, _rows_shape(params, indices))
        indices = array.reshape(indices, [-1])
    return [IndexedSlices(as_tensor(dy), indices, array.shape(params)), None]


def _ungathered(dy: Any, indices: Any, shape: Any, *, axis: int) -> TensorSpec:
    check_index(indices, "indices")
    return TensorSpec(dy.dtype, hinted_dims(shape))


@op("GatherGrad", infer=_ungathered, same_dtype=None, weight=30)
def _gather_back(dy: Any, indices: Any, shape: Any, axis: int, name: str | None = None) -> Any:
    return call((dy, indices, shape), name, axis=axis)


_gather_back.vjp(lambda op, dy: _gather(dy, op.inputs[1], op.attrs["axis"]), None, None)


def _dense(rows: IndexedSlices) -> Tensor:
    found: Tensor = _gather_back(rows.values, rows.indices, shape_vector(rows.dense_shape), 0)
    return found


bind_densify(_dense)

# -- single elements or slices, by coordinates -----------------------------------------------------------------------


def _gathered_nd(params: Any, indices: Any) -> TensorSpec:
    check_index(indices, "indices")
    if indices.dims is None:
        return TensorSpec(params.dtype, None)
    depth = _depth(indices, params.dims)
    if depth is None or params.dims is None:
        return TensorSpec(params.dtype, None)
    return TensorSpec(params.dtype, (*indices.dims[:-1], *params.dims[depth:]))


def _depth(indices: Any, dims: spec.Dims) -> int | None:
    """How many coordinates an index has."""
    if not indices.dims:
        raise ShapeError("indices hold coordinates along their last axis", expected="rank 1 or more", got="[]")
    depth: int | None = indices.dims[-1]
    if depth is not None and dims is not None and depth > len(dims):
        raise ShapeError(
            f"an index has {depth} coordinates", expected=f"at most {len(dims)}, the rank of {spec.describe(dims)}",
            got=spec.describe(indices.dims),
        )  # fmt: skip
    return depth


@op("GatherNd", can_fail="always", infer=_gathered_nd, same_dtype=None, weight=6)
def gather_nd(params: Any, indices: Any, name: str | None = None) -> Any:
    """The elements (or slices) of `params` whose coordinates stand along the last axis of `indices`."""
    return call((params, indices), name)


@RegisterGradient("GatherNd")
def _gather_nd_grad(op: Any, dy: Any) -> list[Any]:
    params, indices = op.inputs
    if indices.dims is not None and len(indices.dims) == 2 and indices.dims[1] == 1:
        return [IndexedSlices(as_tensor(dy), array.squeeze(indices, [1]), array.shape(params)), None]
    return [scatter_nd(indices, dy, array.shape(params)), None]


def _scattered(indices: Any, updates: Any, shape: Any) -> TensorSpec:
    dims = array.sizes_of(shape)
    _check_updates(indices, updates, dims)
    return TensorSpec(updates.dtype, dims)


def _check_updates(indices: Any, updates: Any, dims: spec.Dims) -> None:
    check_index(indices, "indices")
    if indices.dims is None:
        return
    depth = _depth(indices, dims)
    if depth is None or dims is None or updates.dims is None:
        return
    wanted = (*indices.dims[:-1], *dims[depth:])
    if not spec.compatible(wanted, updates.dims):
        got = spec.describe(updates.dims)
        raise ShapeError("updates do not fit their indices", expected=spec.describe(wanted), got=got)


@op("ScatterNd", can_fail="always", infer=_scattered, same_dtype=None, weight=30)
def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Any:
    """Zeros of that shape, to which `updates` are added at the coordinates along the last axis of `indices`."""
    return call((indices, updates, shape_vector(shape)), name)


scatter_nd.vjp(None, lambda op, dy: gather_nd(dy, op.inputs[0]), None)


def _replaced(tensor: Any, indices: Any, updates: Any) -> TensorSpec:
    _check_updates(indices, updates, tensor.dims)
    return TensorSpec(tensor.dtype, tensor.dims)


@op("TensorScatterUpdate", infer=_replaced, same_dtype=(0, 2))
def tensor_scatter_update(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """The tensor with `updates` in place of what stands at `indices`, which should be distinct."""
    return call((tensor, indices, updates), name)


@RegisterGradient("TensorScatterUpdate")
def _replace_grad(op: Any, dy: Any) -> list[Any]:
    _, indices, updates = op.inputs
    dy = as_tensor(dy)
    return [tensor_scatter_update(dy, indices, array.zeros_like(updates)), None, gather_nd(dy, indices)]


def tensor_scatter_add(tensor: Any, indices: Any, updates: Any, name: str | None = "TensorScatterAdd") -> Tensor:
    """The tensor with `updates` added at `indices`."""
    with name_scope(name, "TensorScatterAdd"):
        tensor = as_tensor(tensor)
        found: Tensor = tensor + scatter_nd(indices, updates, array.shape(tensor))
        return found


def tensor_scatter_sub(tensor: Any, indices: Any, updates: Any, name: str | None = "TensorScatterSub") -> Tensor:
    """The tensor with `updates` subtracted at `indices`."""
    with name_scope(name, "TensorScatterSub"):
        tensor = as_tensor(tensor)
        found: Tensor = tensor - scatter_nd(indices, updates, array.shape(tensor))
        return found


# -- by condition ----------------------------------------------------------------------------------------------------


def _check_condition(x: Any) -> None:
    if not x.dtype.is_bool:
        raise DTypeError("a condition is a bool tensor", expected="bool", got=x.dtype.name, hint="tf.not_equal(x, 0)")


def _selected(condition: Any, x: Any, y: Any) -> TensorSpec:
    _check_condition(condition)
    dims = spec.broadcast(x.dims, y.dims)
    mask = condition.dims
    if mask is None or dims is None:
        return TensorSpec(x.dtype, dims if mask == () else None)
    if len(mask) == 1 and len(dims) > 1:
        mask = (*mask, *(1,) * (len(dims) - 1))
    return TensorSpec(x.dtype, spec.broadcast(mask, dims))


def _kept(condition: Any, x: Any, *, holds: bool) -> TensorSpec:
    return _selected(condition, x, x)


@op("ZeroUnless", infer=_kept, same_dtype=None, broadcasts=True, pointwise=True)
def zero_unless(condition: Any, x: Any, holds: bool = True, name: str | None = None) -> Any:
    """`x` where the condition holds (or, with `holds=False`, where it does not), 0 elsewhere, even where `x` is NaN."""
    return call((condition, x), name, holds=holds)


zero_unless.vjp(None, lambda op, dy: zero_unless(op.inputs[0], dy, op.attrs["holds"]))


@op("Select", infer=_selected, same_dtype=(1, 2), broadcasts=True, pointwise=True, weight=6)
def _select(condition: Any, x: Any, y: Any, name: str | None = None) -> Any:
    return call((condition, x, y), name)


_select.vjp(None, lambda op, dy: zero_unless(op.inputs[0], dy), lambda op, dy: zero_unless(op.inputs[0], dy, False))


def _places(condition: Any) -> TensorSpec:
    if condition.dtype.kind == "string":
        raise DTypeError("a condition is a bool tensor", expected="bool", got="string")
    return TensorSpec(dtypes.int64, (None, None if condition.dims is None else len(condition.dims)))


@op("Where", infer=_places, differentiable=False, weight=6)
def _where(condition: Any, name: str | None = None) -> Any:
    return call((condition,), name)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """`x` where the condition holds and `y` elsewhere; without these the coordinates at which it holds, one a row.

    A vector as the condition chooses rows of `x` and `y`, as in TensorFlow 1.
    """
    if (x is None) != (y is None):
        raise InvalidArgumentError("where takes both x and y, or neither", got="x" if y is None else "y")
    if x is None:
        return _where(condition, name=name)
    return _select(condition, x, y, name=name)


def _masked(mask: Any, size: Any) -> TensorSpec:
    return TensorSpec(dtypes.int64, (None,))


@op("MaskPlaces", can_fail="always", infer=_masked, same_dtype=None, differentiable=False)
def _mask_places(mask: Any, size: Any, name: str | None = None) -> Any:
    """Where a vector of bools holds; it must have `size` elements."""
    return call((mask, size), name)


def boolean_mask(tensor: Any, mask: Any, name: str | None = "boolean_mask", axis: Any = None) -> Tensor:
    """The elements (or slices) of `tensor` where `mask`, which fits the dimensions from `axis` on, holds."""
    with name_scope(name, "boolean_mask"):
        tensor, mask = as_tensor(tensor), as_tensor(mask)
        _check_condition(mask)
        if not mask.dims:
            raise ShapeError("a mask has a known rank, 1 or more", got=spec.describe(mask.dims), hint="set_shape()")
        at, width = known_integer(0 if axis is None else axis), len(mask.dims)
        if tensor.dims is not None:
            at = spec.normal_axis(at, len(tensor.dims))
            if not spec.compatible(tensor.dims[at : at + width], mask.dims):
                wanted = f"{spec.describe(tensor.dims[at:])}, or the first of these sizes"
                raise ShapeError("the mask does not fit the tensor", expected=wanted, got=spec.describe(mask.dims))
        if width > 1:
            sizes = array.shape(tensor)
            whole = array.concat([sizes[:at], [array.size(mask)], sizes[at + width :]], 0)
            tensor, mask = array.reshape(tensor, whole), array.reshape(mask, [-1])
        places = _mask_places(mask, array.shape(tensor)[at])
        found: Tensor = gather(tensor, places, axis=at)
        return found


# -- numbers as unit vectors -----------------------------------------------------------------------------------------


def _one_hot(indices: Any, depth: Any, on_value: Any, off_value: Any, *, axis: int) -> TensorSpec:
    check_index(indices, "the numbers of classes")
    check_index(depth, "depths")
    for x, what in ((depth, "depth"), (on_value, "on_value"), (off_value, "off_value")):
        check_scalar(x, what)
    if depth.hint is not None and depth.hint < 0:
        raise InvalidArgumentError("depth cannot be negative", got=str(depth.hint))
    if indices.dims is None:
        return TensorSpec(on_value.dtype, None)
    at = spec.normal_axis(axis, len(indices.dims) + 1)
    return TensorSpec(on_value.dtype, (*indices.dims[:at], depth.hint, *indices.dims[at:]))


@op("OneHot", infer=_one_hot, same_dtype=(2, 3), differentiable=False)
def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
    name: str | None = None,
) -> Any:
    """For each number a vector along a new axis: `on_value` at its place, `off_value` elsewhere.

    A number outside 0 ... depth - 1 gives a vector of `off_value`.
    """
    given = next((v.dtype for v in (on_value, off_value) if hasattr(v, "dtype")), None)
    if dtype is not None:
        given = as_dtype(dtype)
    elif given is None and on_value is None and off_value is None:
        given = dtypes.float32
    target = None if given is None else as_dtype(given)
    on = (1 if target is None else target.type(1)) if on_value is None else on_value
    off = (0 if target is None else target.type(0)) if off_value is None else off_value
    if target is not None:
        on, off = (v if is_symbolic(v) else convert_to_tensor(v, target) for v in (on, off))
    return call((indices, depth, on, off), name, axis=known_integer(-1 if axis is None else axis))
