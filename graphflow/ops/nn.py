"""Losses of independent logits, biases, and dropout.

Policy: every loss is stable for logits of any size.  What can be composed of ops is composed.

State: none.
"""

from __future__ import annotations

import numbers
from typing import Any

from graphflow import dtypes, spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array, casts, compare, core, linalg, math, random, reduce
from graphflow.ops.activations import relu, softplus
from graphflow.ops.inference import check_kind
from graphflow.ops.softmax import check_named
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

# -- losses that are sums of others ----------------------------------------------------------------------------------


def _logistic(labels: Any, logits: Any, function: str) -> tuple[Tensor, Tensor]:
    """Logits and labels as tensors of one dtype and one shape."""
    x = core.convert_to_tensor(logits)
    z = core.convert_to_tensor(labels, preferred_dtype=x.dtype)
    if not spec.compatible(x.dims, z.dims):
        raise ShapeError(
            f"{function}: logits and labels must have the same shape",
            expected=f"labels {spec.describe(x.dims)}, as the logits",
            got=spec.describe(z.dims),
            hint="tf.reshape or tf.expand_dims makes them agree",
        )
    return x, z


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None, targets: Any = None
) -> Any:
    """-labels * log(sigmoid(logits)) - (1 - labels) * log(1 - sigmoid(logits)), elementwise and stable."""
    labels = targets if labels is None else labels
    with core.name_scope(name, "logistic_loss") as scope:
        check_named(_sentinel, labels, logits, "sigmoid_cross_entropy_with_logits")
        x, z = _logistic(labels, logits, "sigmoid_cross_entropy_with_logits")
        # Each softplus is small where its label is right: saturated logits and their gradients keep all digits.
        return math.add(z * softplus(-x), (1 - z) * softplus(x), name=scope)


def weighted_cross_entropy_with_logits(
    targets: Any = None, logits: Any = None, pos_weight: Any = None, name: str | None = None, labels: Any = None
) -> Any:
    """`sigmoid_cross_entropy_with_logits` with the term of the positive labels times `pos_weight`."""
    targets = labels if targets is None else targets
    with core.name_scope(name, "logistic_loss") as scope:
        check_named(None, targets, logits, "weighted_cross_entropy_with_logits", "targets")
        if pos_weight is None:
            raise InvalidArgumentError("weighted_cross_entropy_with_logits needs pos_weight")
        x, z = _logistic(targets, logits, "weighted_cross_entropy_with_logits")
        return math.add(z * pos_weight * softplus(-x), (1 - z) * softplus(x), name=scope)


def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None) -> Any:
    """exp(log_input) - log_input * targets, for counts; the full loss adds Stirling's estimate of log(targets!)."""
    with core.name_scope(name, "log_poisson_loss") as scope:
        x, z = _logistic(targets, log_input, "log_poisson_loss")
        loss = math.exp(x) - x * z
        if compute_full_loss:
            large = math.maximum(z, 1)  # counts of 0 and 1 add nothing, and no logarithm of 0
            rest = large * math.log(large) - large + 0.5 * math.log(6.283185307179586 * large)
            loss = loss + casts.cast(compare.greater(z, 1), x.dtype) * rest
        return core.identity(loss, name=scope)


def _half_square(t: Any) -> TensorSpec:
    check_kind(t, "float")
    return TensorSpec(t.dtype, ())


@op("L2Loss", infer=_half_square)
def l2_loss(t: Any, name: str | None = None) -> Any:
    """sum(t ** 2) / 2."""
    return call((t,), name)


l2_loss.vjp(lambda op, dy: op.inputs[0] * dy)


# -- biases ----------------------------------------------------------------------------------------------------------


def _channel_axis(data_format: Any) -> str:
    if data_format in (None, "NHWC", "NWC", "NDHWC", "N...C"):
        return "last"
    if data_format in ("NCHW", "NCW", "NCDHW", "NC..."):
        return "second"
    raise InvalidArgumentError("unknown data_format", expected="'NHWC' or 'NCHW'", got=repr(data_format))


def _biased(value: Any, bias: Any, *, channels: str) -> TensorSpec:
    check_kind(value, "number")
    if value.dims is not None and len(value.dims) < 2:
        raise ShapeError(
            "bias_add takes a batch", expected="rank 2 or more", got=spec.describe(value.dims), hint="value + bias"
        )
    if bias.dims is not None and len(bias.dims) != 1:
        raise ShapeError("a bias is a vector", expected="one number for each channel", got=spec.describe(bias.dims))
    if value.dims is None or bias.dims is None:
        return TensorSpec(value.dtype, value.dims)
    at = len(value.dims) - 1 if channels == "last" else 1
    size = bias.dims[0]
    if size is not None and value.dims[at] is not None and size != value.dims[at]:
        raise ShapeError(
            "the bias does not fit the channels of the value",
            expected=f"{value.dims[at]} biases for the value {spec.describe(value.dims)}, channels {channels}",
            got=f"{size}",
        )
    known = value.dims[at] if size is None else size
    return TensorSpec(value.dtype, (*value.dims[:at], known, *value.dims[at + 1 :]))


@op("BiasAdd", infer=_biased)
def bias_add(value: Any, bias: Any, data_format: Any = None, name: str | None = None) -> Any:
    """value + bias, one bias for each channel: the last axis, or the second one for NCHW."""
    return call((value, bias), name, channels=_channel_axis(data_format))


def _bias_gradient(dy: Any, *, channels: str) -> TensorSpec:
    check_kind(dy, "number")
    if dy.dims is None:
        return TensorSpec(dy.dtype, (None,))
    if len(dy.dims) < 2:
        raise ShapeError("a gradient of biases comes in a batch", expected="rank 2 or more", got=spec.describe(dy.dims))
    return TensorSpec(dy.dtype, (dy.dims[-1 if channels == "last" else 1],))


@op("BiasAddGrad", infer=_bias_gradient)
def bias_add_grad(out_backprop: Any, data_format: Any = None, name: str | None = None) -> Any:
    """The sum of a gradient over everything but the channels."""
    return call((out_backprop,), name, channels=_channel_axis(data_format))


def _format(op: Any) -> str:
    return "NHWC" if op.attrs["channels"] == "last" else "NCHW"


bias_add.vjp(lambda op, dy: dy, lambda op, dy: bias_add_grad(dy, _format(op)))
bias_add_grad.vjp(lambda op, d: bias_add(array.zeros_like(op.inputs[0]), d, _format(op)))


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """matmul(x, weights) + biases."""
    with core.name_scope(name, "xw_plus_b") as scope:
        return bias_add(linalg.matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """relu(matmul(x, weights) + biases)."""
    with core.name_scope(name, "relu_layer") as scope:
        return relu(bias_add(linalg.matmul(x, weights), biases), name=scope)


# -- dropout ---------------------------------------------------------------------------------------------------------


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: Any = None,
    name: str | None = None,
    rate: Any = None,
) -> Any:
    """Each element is kept with probability `keep_prob` (= 1 - rate) and divided by it, or becomes 0.

    Along the axes in which `noise_shape` is 1, all elements share one fate.
    """
    with core.name_scope(name, "dropout") as scope:
        x = core.convert_to_tensor(x)
        if not x.dtype.is_floating:
            raise DTypeError("dropout divides what it keeps", expected="a floating-point tensor", got=x.dtype.name)
        keep = _keep_probability(keep_prob, rate)
        if isinstance(keep, float) and keep == 1.0:
            return x
        kept = casts.cast(random.bernoulli(_noise_shape(x, noise_shape), keep, seed), x.dtype)
        if isinstance(keep, float):
            return math.multiply(x, kept * (1.0 / keep), name=scope)
        return math.multiply(x, kept / casts.cast(keep, x.dtype), name=scope)


def _keep_probability(keep_prob: Any, rate: Any) -> Any:
    """A float in (0, 1], or a float32 scalar."""
    if (keep_prob is None) == (rate is None):
        problem = "dropout needs keep_prob or rate" if rate is None else "keep_prob and rate say the same thing"
        raise InvalidArgumentError(problem, expected="one of them: rate = 1 - keep_prob")
    given = rate if keep_prob is None else keep_prob
    if isinstance(given, numbers.Real):
        keep = float(given) if rate is None else 1.0 - float(given)
        if not 0.0 < keep <= 1.0:
            raise InvalidArgumentError(
                "keep_prob is a probability" if rate is None else "rate is a probability",
                expected="0 < keep_prob <= 1" if rate is None else "0 <= rate < 1",
                got=repr(given),
            )
        return keep
    known = core.convert_to_tensor(given)
    if known.dims not in (None, ()):
        raise ShapeError("a probability is a scalar", expected="[]", got=spec.describe(known.dims))
    keep = casts.cast(known, dtypes.float32)
    return keep if rate is None else 1.0 - keep


def _noise_shape(x: Tensor, given: Any) -> Any:
    """The shape of the noise; None in it stands for the size of `x`."""
    if given is None:
        return x.dims if spec.is_concrete(x.dims) else array.shape(x)
    sizes = given.as_list() if hasattr(given, "as_list") else given
    if isinstance(sizes, (list, tuple)) and any(d is None for d in sizes):
        known = x.dims or (None,) * len(sizes)
        if len(known) != len(sizes):
            raise ShapeError("noise_shape has another rank than x", expected=spec.describe(x.dims), got=str(sizes))
        whole = array.shape(x)
        return [(whole[i] if known[i] is None else known[i]) if d is None else d for i, d in enumerate(sizes)]
    return sizes


def zero_fraction(value: Any, name: str | None = None) -> Any:
    """How large a part of the elements is 0, as float32."""
    with core.name_scope(name, "zero_fraction") as scope:
        x = core.convert_to_tensor(value)
        return reduce.reduce_mean(casts.cast(compare.equal(x, x.dtype.type(0)), dtypes.float32), name=scope)
