"""Activations: elementwise functions that networks put between their layers.

Policy: NaN stays NaN; the gradient of `relu` at 0 is 0.  The gradients are ops of their own where that saves work, and
each of them has a gradient too.  What is a product of others is composed.

State: none.
"""

from __future__ import annotations

import math as scalar
import numbers
from typing import Any

from graphflow import dtypes
from graphflow.errors import DTypeError
from graphflow.opdef import call, op
from graphflow.ops import array, casts, core, math, special
from graphflow.ops.inference import elementwise

# Klambauer et al., 2017: with these, activations of mean 0 and variance 1 keep both.
SELU_SCALE = 1.0507009873554804934193349852946
SELU_SCALE_ALPHA = SELU_SCALE * 1.6732632423543772848170429916717


@op("Relu", infer=elementwise("real"))
def relu(features: Any, name: str | None = None) -> Any:
    """max(features, 0)."""
    return call((features,), name)


@op("ReluGrad", infer=elementwise("real"))
def relu_grad(gradients: Any, features: Any, name: str | None = None) -> Any:
    """`gradients` where `features` (or the output of `relu`) is positive, 0 elsewhere."""
    return call((gradients, features), name)


relu.vjp(lambda op, dy: relu_grad(dy, op.outputs[0]))
relu_grad.vjp(lambda op, d: relu_grad(d, op.inputs[1]), None)


@op("Relu6", infer=elementwise("real"))
def relu6(features: Any, name: str | None = None) -> Any:
    """min(max(features, 0), 6)."""
    return call((features,), name)


@op("Relu6Grad", infer=elementwise("real"))
def relu6_grad(gradients: Any, features: Any, name: str | None = None) -> Any:
    """`gradients` where `features` (or the output of `relu6`) is between 0 and 6, 0 elsewhere."""
    return call((gradients, features), name)


relu6.vjp(lambda op, dy: relu6_grad(dy, op.outputs[0]))
relu6_grad.vjp(lambda op, d: relu6_grad(d, op.inputs[1]), None)


@op("LeakyRelu", infer=elementwise("float"))
def _leaky_relu(features: Any, alpha: float, name: str | None = None) -> Any:
    return call((features,), name, alpha=alpha)


@op("LeakyReluGrad", infer=elementwise("float"))
def leaky_relu_grad(gradients: Any, features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    """`gradients` where `features` is positive, alpha * gradients elsewhere."""
    return call((gradients, features), name, alpha=alpha)


_leaky_relu.vjp(lambda op, dy: leaky_relu_grad(dy, op.inputs[0], **op.attrs))
leaky_relu_grad.vjp(lambda op, d: leaky_relu_grad(d, op.inputs[1], **op.attrs), None)


def leaky_relu(features: Any, alpha: Any = 0.2, name: str | None = None) -> Any:
    """`features` where positive, alpha * features elsewhere; integers become float32."""
    with core.name_scope(name, "LeakyRelu") as scope:
        x = core.convert_to_tensor(features)
        if x.dtype.is_integer:
            x = casts.cast(x, dtypes.float32)
        if hasattr(alpha, "dtype") and hasattr(alpha, "op"):
            return math.subtract(relu(x), alpha * relu(-x), name=scope)
        if not isinstance(alpha, numbers.Real) and not (hasattr(alpha, "item") and getattr(alpha, "size", 0) == 1):
            raise DTypeError("alpha is a number", got=repr(alpha))
        return _leaky_relu(x, float(alpha), name=scope)


@op("Elu", infer=elementwise("float"), functions=1)
def elu(features: Any, name: str | None = None) -> Any:
    """`features` where positive, exp(features) - 1 elsewhere."""
    return call((features,), name)


@op("EluGrad", infer=elementwise("float"), functions=1)
def elu_grad(gradients: Any, outputs: Any, name: str | None = None) -> Any:
    """The gradient of `elu`, from its outputs."""
    return call((gradients, outputs), name)


elu.vjp(lambda op, dy: elu_grad(dy, op.outputs[0]))
elu_grad.vjp(
    lambda op, d: elu_grad(d, op.inputs[1]),
    lambda op, d: relu_grad(d * op.inputs[0], -op.inputs[1]),
)


@op("Selu", infer=elementwise("float"), functions=1)
def selu(features: Any, name: str | None = None) -> Any:
    """The scaled `elu` that keeps mean 0 and variance 1."""
    return call((features,), name)


@op("SeluGrad", infer=elementwise("float"), functions=1)
def selu_grad(gradients: Any, outputs: Any, name: str | None = None) -> Any:
    """The gradient of `selu`, from its outputs."""
    return call((gradients, outputs), name)


selu.vjp(lambda op, dy: selu_grad(dy, op.outputs[0]))
selu_grad.vjp(
    lambda op, d: selu_grad(d, op.inputs[1]),
    lambda op, d: relu_grad(d * op.inputs[0], -op.inputs[1]),
)


@op("Softplus", infer=elementwise("float"), functions=2)
def softplus(features: Any, name: str | None = None) -> Any:
    """log(exp(features) + 1), without overflow."""
    return call((features,), name)


@op("SoftplusGrad", infer=elementwise("float"))
def softplus_grad(gradients: Any, features: Any, name: str | None = None) -> Any:
    """gradients / (exp(-features) + 1)."""
    return call((gradients, features), name)


def _softplus_grad_features(op: Any, d: Any) -> Any:
    dy, x = op.inputs
    return softplus_grad(softplus_grad(d * dy, x), -x)


softplus.vjp(lambda op, dy: softplus_grad(dy, op.inputs[0]))
softplus_grad.vjp(lambda op, d: softplus_grad(d, op.inputs[1]), _softplus_grad_features)


@op("Softsign", infer=elementwise("float"), weight=6)
def softsign(features: Any, name: str | None = None) -> Any:
    """features / (abs(features) + 1)."""
    return call((features,), name)


@op("SoftsignGrad", infer=elementwise("float"))
def softsign_grad(gradients: Any, features: Any, name: str | None = None) -> Any:
    """gradients / (abs(features) + 1) ** 2."""
    return call((gradients, features), name)


def _softsign_grad_features(op: Any, d: Any) -> Any:
    dy, x = op.inputs
    return softsign_grad(d * dy, x) * (-2.0 * math.sign(x)) / (math.abs(x) + 1.0)


softsign.vjp(lambda op, dy: softsign_grad(dy, op.inputs[0]))
softsign_grad.vjp(lambda op, d: softsign_grad(d, op.inputs[1]), _softsign_grad_features)


# -- made of others --------------------------------------------------------------------------------------------------


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Any:
    """`relu` of the features and of their negatives, side by side along `axis`."""
    with core.name_scope(name, "CRelu") as scope:
        x = core.convert_to_tensor(features)
        return relu(array.concat([x, -x], axis), name=scope)


def swish(features: Any, name: str | None = None) -> Any:
    """features * sigmoid(features)."""
    with core.name_scope(name, "swish") as scope:
        x = core.convert_to_tensor(features)
        return math.multiply(x, math.sigmoid(x), name=scope)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    """features * P(X <= features) for a standard normal X; `approximate` takes a tanh for it."""
    with core.name_scope(name, "Gelu") as scope:
        x = core.convert_to_tensor(features)
        if approximate:
            inner = (x + 0.044715 * (x * x * x)) * scalar.sqrt(2.0 / scalar.pi)
            share = 1.0 + math.tanh(inner)
        else:
            share = 1.0 + special.erf(x * scalar.sqrt(0.5))
        return math.multiply(0.5 * x, share, name=scope)


def log_sigmoid(x: Any, name: str | None = None) -> Any:
    """log(sigmoid(x)), without underflow."""
    with core.name_scope(name, "LogSigmoid") as scope:
        return math.negative(softplus(-core.convert_to_tensor(x)), name=scope)
