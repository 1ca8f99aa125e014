"""Clipping: by value, and by several kinds of norm.

Policy: what is not above its limit passes unchanged, and so does its gradient; rows of an `IndexedSlices` stay rows.
A norm that is infinite or NaN makes everything NaN in `clip_by_global_norm`, so that it is seen.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import call, op
from graphflow.ops import array, compare, core, math, reduce
from graphflow.ops.arguments import as_tensor
from graphflow.ops.casts import cast
from graphflow.ops.index import where
from graphflow.ops.inference import elementwise
from graphflow.spec import TensorSpec, compatible, describe
from graphflow.tensor import Tensor

_broadcast = elementwise("real")


def _clipped(x: Any, low: Any, high: Any) -> TensorSpec:
    known = _broadcast(x, low, high)
    if x.dims is not None and known.dims is not None and len(known.dims) > len(x.dims):
        raise ShapeError("the limits have more dimensions than what they limit", expected=describe(x.dims),
                         got=f"{describe(low.dims)} and {describe(high.dims)}")  # fmt: skip
    return known


@op("ClipByValue", infer=_clipped, broadcasts=True, pointwise=True)
def _clip(x: Any, low: Any, high: Any, name: str | None = None) -> Any:
    return call((x, low, high), name)


_clip.vjp(
    lambda op, dy: where(compare.equal(op.inputs[0], op.outputs[0]), dy, 0.0),
    lambda op, dy: where(compare.less(op.inputs[0], op.inputs[1]), dy, 0.0),
    lambda op, dy: where(compare.greater(op.inputs[0], op.inputs[2]), dy, 0.0),
)


def _like(x: Any, values: Tensor) -> Any:
    """The result in the form of the argument."""
    return IndexedSlices(values, x.indices, x.dense_shape) if isinstance(x, IndexedSlices) else values


def _values(x: Any) -> Tensor:
    return x.values if isinstance(x, IndexedSlices) else as_tensor(x)


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """`t` with what is below the minimum raised to it and what is above the maximum lowered to it."""
    return _like(t, _clip(_values(t), clip_value_min, clip_value_max, name=name or "clip_by_value"))


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """`t` scaled down so that its Euclidean norm (over `axes`) is at most `clip_norm`."""
    with core.name_scope(name, "clip_by_norm"):
        x = _values(t)
        squares = reduce.reduce_sum(math.multiply(x, x), axes, True)
        positive = compare.greater(squares, 0.0)
        # The square root has no derivative at 0, so it is taken of something else there.
        norm = where(positive, math.sqrt(where(positive, squares, 1.0)), squares)
        clipped = math.realdiv(math.multiply(x, clip_norm), math.maximum(norm, clip_norm))
        if not compatible(clipped.dims, x.dims):
            wanted, found = describe(x.dims), describe(clipped.dims)
            raise ShapeError("clip_norm changes the shape", op=x.op, expected=wanted, got=found)
        return _like(t, clipped)


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Any:
    """`t` scaled down so that its Euclidean norm divided by the number of its elements is at most `clip_norm`."""
    with core.name_scope(name, "clip_by_average_norm"):
        x = as_tensor(t)
        count = cast(array.size(x), x.dtype)
        inverse = math.multiply(math.rsqrt(reduce.reduce_sum(math.multiply(x, x))), count)
        limit = core.convert_to_tensor(clip_norm, preferred_dtype=x.dtype)
        return math.multiply(math.multiply(x, limit), math.minimum(inverse, math.reciprocal(limit)))


def _listed(t_list: Any) -> list[Any]:
    if isinstance(t_list, (Tensor, str)) or not isinstance(t_list, Sequence):
        raise DTypeError("a list of tensors is wanted", got=repr(t_list)[:80], hint="[x] is a list of one")
    return list(t_list)


def global_norm(t_list: Any, name: str | None = None) -> Any:
    """The Euclidean norm of all the elements of a list of tensors; None in the list counts as nothing."""
    items = [_values(t) for t in _listed(t_list) if t is not None]
    if not items:
        raise InvalidArgumentError("global_norm needs at least one tensor that is not None")
    with core.name_scope(name, "global_norm"):
        squares = [reduce.reduce_sum(math.square(x)) for x in items]
        return math.sqrt(squares[0] if len(squares) == 1 else math.add_n(squares))


def _norm_like(norm: Any, items: list[Any]) -> Any:
    first = next(t for t in items if t is not None)
    return core.convert_to_tensor(norm, preferred_dtype=_values(first).dtype)


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Any]:
    """The tensors, all scaled by one factor so that their `global_norm` is at most `clip_norm`; and that norm."""
    items = _listed(t_list)
    if not any(t is not None for t in items):
        return items, global_norm(items) if use_norm is None else use_norm
    with core.name_scope(name, "clip_by_global_norm"):
        norm = global_norm(items) if use_norm is None else _norm_like(use_norm, items)
        limit = core.convert_to_tensor(clip_norm, preferred_dtype=norm.dtype)
        scale = math.multiply(limit, math.minimum(math.reciprocal(norm), math.reciprocal(limit)))
        scale = where(compare.is_finite(norm), scale, float("nan"))
        return [None if t is None else _like(t, math.multiply(_values(t), scale)) for t in items], norm
