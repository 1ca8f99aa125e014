"""Softmax, its logarithm, and the cross-entropies of both kinds of labels.

Policy: stable for logits of any size.  A cross-entropy is an op with two outputs, the loss and its derivative, because
one pass over the logits computes both (docs/decisions/0010).  Ops work on the last axis; another one is moved there.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import arrange, array, casts, core, math, reduce
from graphflow.ops.arguments import known_integer
from graphflow.ops.inference import check_kind
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

# -- softmax ---------------------------------------------------------------------------------------------------------


def _normalised(x: Any) -> TensorSpec:
    check_kind(x, "float")
    if x.dims == ():
        raise ShapeError("a softmax needs an axis", expected="rank 1 or more", got="a scalar")
    return TensorSpec(x.dtype, x.dims)


@op("Softmax", infer=_normalised, functions=1)
def _softmax(logits: Any, name: str | None = None) -> Any:
    return call((logits,), name)


@op("LogSoftmax", infer=_normalised, functions=1)
def _log_softmax(logits: Any, name: str | None = None) -> Any:
    return call((logits,), name)


def _softmax_gradient(op: Any, dy: Any) -> Any:
    y = op.outputs[0]
    return (dy - reduce.reduce_sum(dy * y, -1, keepdims=True)) * y


_softmax.vjp(_softmax_gradient)
_log_softmax.vjp(lambda op, dy: dy - reduce.reduce_sum(dy, -1, keepdims=True) * math.exp(op.outputs[0]))


def _axis_last(x: Tensor, axis: int) -> tuple[Any, Any]:
    """Permutations that bring an axis to the end, and back; None where it is there."""
    if axis == -1 or x.dims == ():
        return None, None
    if x.dims is not None:
        rank = len(x.dims)
        axis = spec.normal_axis(axis, rank)
        if axis == rank - 1:
            return None, None
        before, after = list(range(axis)), list(range(axis, rank - 1))
        return [*before, *[i + 1 for i in after], axis], [*before, rank - 1, *after]
    count = array.rank(x)
    place = count + axis if axis < 0 else core.constant(axis)
    before, after = array.range_(place), array.range_(place, count - 1)
    return (
        array.concat([before, after + 1, array.expand_dims(place, 0)], 0),
        array.concat([before, array.expand_dims(count - 1, 0), after], 0),
    )


def one_axis(axis: Any, dim: Any, default: int = -1) -> int:
    """`axis`, or `dim` as TensorFlow once called it."""
    if axis is not None and dim not in (None, default):
        raise InvalidArgumentError("axis and dim are the same parameter", expected="one of them")
    given = dim if axis is None else axis
    return default if given is None else known_integer(given)


def _along(function: Any, logits: Any, axis: Any, dim: Any, name: str | None) -> Any:
    """A function of the last axis, along another one."""
    if axis in (None, -1) and dim in (None, -1):
        return function(logits, name=name)
    with core.name_scope(name, function.definition.type) as scope:
        x = core.convert_to_tensor(logits)
        to_end, back = _axis_last(x, one_axis(axis, dim))
        if to_end is None:
            return function(x, name=scope)
        return arrange.transpose(function(arrange.transpose(x, to_end)), back, name=scope)


def softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Any:
    """exp(logits) / sum(exp(logits)) along an axis, without overflow."""
    return _along(_softmax, logits, axis, dim, name)


def log_softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Any:
    """log(softmax(logits)) along an axis, without underflow."""
    return _along(_log_softmax, logits, axis, dim, name)


# -- softmax cross-entropy -------------------------------------------------------------------------------------------


def check_named(sentinel: Any, labels: Any, logits: Any, function: str, other: str = "labels") -> None:
    """TensorFlow 0.x took (logits, labels); by name alone there is no mistaking them."""
    if sentinel is not None:
        raise InvalidArgumentError(
            f"{function} takes its arguments by name",
            expected=f"{function}({other}=..., logits=...)",
            got="arguments by position",
        )
    if labels is None or logits is None:
        missing = other if labels is None else "logits"
        raise InvalidArgumentError(f"{function} needs {missing}", expected=f"{function}({other}=..., logits=...)")


def _cross_entropy(logits: Any, labels: Any) -> tuple[TensorSpec, TensorSpec]:
    found = _normalised(logits)
    if not spec.compatible(logits.dims, labels.dims):
        fewer = labels.dims is not None and logits.dims is not None and len(labels.dims) < len(logits.dims)
        raise ShapeError(
            "logits and labels must have the same shape",
            expected=f"labels {spec.describe(logits.dims)}, as the logits",
            got=spec.describe(labels.dims),
            hint="labels that are class numbers go to tf.nn.sparse_softmax_cross_entropy_with_logits"
            if fewer
            else "tf.broadcast_to(labels, tf.shape(logits)) repeats labels, where that is meant",
        )
    dims = spec.merge(found.dims, labels.dims)
    return TensorSpec(found.dtype, None if dims is None else dims[:-1]), TensorSpec(found.dtype, dims)


@op("SoftmaxCrossEntropyWithLogits", infer=_cross_entropy, functions=1)
def _softmax_cross_entropy(features: Any, labels: Any, name: str | None = None) -> Any:
    return call((features, labels), name)


def _sum(parts: list[Any]) -> Any:
    """What is there of two gradients."""
    found = [part for part in parts if part is not None]
    return None if not found else found[0] if len(found) == 1 else math.add(*found)


@RegisterGradient("SoftmaxCrossEntropyWithLogits", unused_as_none=True)
def _softmax_cross_entropy_gradient(op: Any, dloss: Any, dback: Any) -> list[Any]:
    logits, labels = op.inputs
    wanted = labels.op.type != "StopGradient"
    dlogits: list[Any] = []
    dlabels: list[Any] = []
    if dloss is not None:
        column = array.expand_dims(dloss, -1)
        dlogits.append(column * op.outputs[1])
        if wanted:
            dlabels.append(-(column * _log_softmax(logits)))
    if dback is not None:  # the second output, softmax(logits) * sum(labels) - labels, has derivatives too
        share = _softmax(logits)
        mean = reduce.reduce_sum(dback * share, -1, keepdims=True)
        dlogits.append(reduce.reduce_sum(labels, -1, keepdims=True) * share * (dback - mean))
        if wanted:
            dlabels.append(mean - dback)
    return [_sum(dlogits), _sum(dlabels)]


def softmax_cross_entropy_with_logits_v2(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: Any = -1,
    name: str | None = None,
    axis: Any = None,
) -> Any:
    """-sum(labels * log_softmax(logits)) along an axis; the gradient goes to logits and labels."""
    with core.name_scope(name, "softmax_cross_entropy_with_logits") as scope:
        check_named(_sentinel, labels, logits, "softmax_cross_entropy_with_logits_v2")
        return _loss_along(logits, labels, one_axis(axis, dim), scope)


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: Any = -1,
    name: str | None = None,
    axis: Any = None,
) -> Any:
    """-sum(labels * log_softmax(logits)) along an axis; the gradient goes to the logits alone."""
    with core.name_scope(name, "softmax_cross_entropy_with_logits_sg") as scope:
        check_named(_sentinel, labels, logits, "softmax_cross_entropy_with_logits")
        return _loss_along(logits, core.stop_gradient(labels), one_axis(axis, dim), scope)


def _loss_along(logits: Any, labels: Any, axis: int, scope: str) -> Any:
    logits = core.convert_to_tensor(logits)
    labels = core.convert_to_tensor(labels, preferred_dtype=logits.dtype)
    if labels.dtype is not logits.dtype and logits.dtype.is_floating:
        labels = casts.cast(labels, logits.dtype)
    to_end, _ = _axis_last(logits, axis)
    if to_end is not None:
        logits, labels = arrange.transpose(logits, to_end), arrange.transpose(labels, to_end)
    return _softmax_cross_entropy(logits, labels, name=scope)[0]


def _sparse_cross_entropy(logits: Any, labels: Any) -> tuple[TensorSpec, TensorSpec]:
    found = _normalised(logits)
    if not labels.dtype.is_integer:
        raise DTypeError(
            "labels are class numbers",
            expected="int32 or int64",
            got=labels.dtype.name,
            hint="labels with a probability for each class go to tf.nn.softmax_cross_entropy_with_logits",
        )
    dims = None if logits.dims is None else logits.dims[:-1]
    if not spec.compatible(dims, labels.dims):
        same_rank = dims is not None and labels.dims is not None and len(labels.dims) == len(dims) + 1
        raise ShapeError(
            "labels must have the shape of the logits without the last axis",
            expected=f"{spec.describe(dims)} for logits {spec.describe(logits.dims)}",
            got=spec.describe(labels.dims),
            hint="tf.squeeze(labels, [-1]) drops a last axis of size 1; one-hot labels go to "
            "tf.nn.softmax_cross_entropy_with_logits"
            if same_rank
            else None,
        )
    dims = spec.merge(dims, labels.dims)
    classes = None if logits.dims is None else logits.dims[-1]
    return TensorSpec(found.dtype, dims), TensorSpec(found.dtype, None if dims is None else (*dims, classes))


@op("SparseSoftmaxCrossEntropyWithLogits", can_fail="always", infer=_sparse_cross_entropy, same_dtype=None, functions=1)
def _sparse_softmax_cross_entropy(features: Any, labels: Any, name: str | None = None) -> Any:
    return call((features, labels), name)


@RegisterGradient("SparseSoftmaxCrossEntropyWithLogits", unused_as_none=True)
def _sparse_softmax_cross_entropy_gradient(op: Any, dloss: Any, dback: Any) -> list[Any]:
    dlogits: list[Any] = []
    if dloss is not None:
        dlogits.append(array.expand_dims(dloss, -1) * op.outputs[1])
    if dback is not None:
        share = _softmax(op.inputs[0])
        dlogits.append(share * (dback - reduce.reduce_sum(dback * share, -1, keepdims=True)))
    return [_sum(dlogits), None]


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Any:
    """-log_softmax(logits) at the class that `labels` names; a label that is no class is an error."""
    with core.name_scope(name, "SparseSoftmaxCrossEntropyWithLogits") as scope:
        check_named(_sentinel, labels, logits, "sparse_softmax_cross_entropy_with_logits")
        return _sparse_softmax_cross_entropy(logits, labels, name=scope)[0]
