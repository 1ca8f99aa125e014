"""The elementwise vocabulary: powers, exponentials and logarithms here, arithmetic from `arithmetic`.

Policy: as in `arithmetic`.  The functions of angles are in `trigonometry`, erf and the gamma function in `special`.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.opdef import call, op
from graphflow.ops import compare
from graphflow.ops.arithmetic import (
    abs,
    accumulate_n,
    add,
    add_n,
    angle,
    ceil,
    complex,
    conj,
    div,
    div_no_nan,
    divide,
    floor,
    floor_div,
    floordiv,
    floormod,
    imag,
    maximum,
    minimum,
    mod,
    multiply,
    negative,
    real,
    realdiv,
    reciprocal,
    rint,
    round,
    scalar_mul,
    sign,
    square,
    squared_difference,
    subtract,
    sum_to,
    sum_to_like,
    truediv,
    truncatediv,
    truncatemod,
)
from graphflow.ops.core import name_scope
from graphflow.ops.index import where
from graphflow.ops.inference import elementwise

__all__ = [
    "abs", "accumulate_n", "add", "add_n", "angle", "approximate_equal", "ceil", "complex", "conj", "div",
    "div_no_nan", "divide", "exp", "expm1", "floor", "floor_div", "floordiv", "floormod", "imag", "log", "log1p",
    "maximum", "minimum", "mod", "multiply", "negative", "pow", "real", "realdiv", "reciprocal", "rint", "round",
    "rsqrt", "scalar_mul", "sigmoid", "sigmoid_grad", "sign", "sqrt", "square", "squared_difference", "subtract",
    "sum_to", "sum_to_like", "tanh", "tanh_grad", "truediv", "truncatediv", "truncatemod",
]  # fmt: skip

# -- powers, exponentials, logarithms --------------------------------------------------------------------------------


@op("Pow", can_fail="integers", infer=elementwise(), broadcasts=True, functions=2)
def pow(x: Any, y: Any, name: str | None = None) -> Any:
    """x ** y, elementwise."""
    return call((x, y), name)


def _constant(x: Any) -> Any:
    """The value of a scalar constant, or None."""
    return x.op.attrs["value"] if x.dims == () and x.op.type == "Const" else None


def _base_gradient(op: Any, dy: Any) -> Any:
    x, y = conj(op.inputs[0]), conj(op.inputs[1])
    exponent = _constant(op.inputs[1])
    if exponent is None:
        return multiply(dy, multiply(y, pow(x, subtract(y, 1))))
    exponent = np.conj(exponent)
    if exponent == 2:
        return multiply(dy, add(x, x))
    # x ** 0 is 1 everywhere, so its derivative is 0 at 0 too.
    lower = exponent - exponent.dtype.type(1) if exponent != 0 else exponent
    return multiply(dy, multiply(exponent, pow(x, lower)))


def _exponent_gradient(op: Any, dy: Any) -> Any:
    x, z = op.inputs[0], conj(op.outputs[0])
    base = _constant(x)
    if base is not None:
        # TensorFlow's rule for x ** y in the direction of y: 0 where x has no real logarithm.
        known = base != 0 if x.dtype.kind == "complex" else base > 0
        return multiply(dy, multiply(z, np.conj(np.log(base)) if known else base.dtype.type(0)))
    positive = compare.not_equal(x, 0.0) if x.dtype.kind == "complex" else compare.greater(x, 0.0)
    return multiply(dy, multiply(z, conj(log(where(positive, x, 1.0)))))


pow.vjp(_base_gradient, _exponent_gradient)


@op("Sqrt", infer=elementwise("inexact"))
def sqrt(x: Any, name: str | None = None) -> Any:
    """The square root, elementwise."""
    return call((x,), name)


def _sqrt_gradient(op: Any, dy: Any) -> Any:
    y = conj(op.outputs[0])
    return realdiv(dy, add(y, y))


sqrt.vjp(_sqrt_gradient)


@op("Rsqrt", infer=elementwise("inexact"))
def rsqrt(x: Any, name: str | None = None) -> Any:
    """1 / sqrt(x), elementwise."""
    return call((x,), name)


def _rsqrt_gradient(op: Any, dy: Any) -> Any:
    x = conj(op.inputs[0])
    return negative(multiply(dy, realdiv(conj(op.outputs[0]), add(x, x))))


rsqrt.vjp(_rsqrt_gradient)


@op("Exp", infer=elementwise("inexact"), functions=1)
def exp(x: Any, name: str | None = None) -> Any:
    """e to the power x, elementwise."""
    return call((x,), name)


exp.vjp(lambda op, dy: multiply(dy, conj(op.outputs[0])))


@op("Expm1", infer=elementwise("inexact"), functions=1)
def expm1(x: Any, name: str | None = None) -> Any:
    """exp(x) - 1, accurate near 0."""
    return call((x,), name)


expm1.vjp(lambda op, dy: multiply(dy, exp(conj(op.inputs[0]))))


@op("Log", infer=elementwise("inexact"), functions=1)
def log(x: Any, name: str | None = None) -> Any:
    """The natural logarithm, elementwise."""
    return call((x,), name)


log.vjp(lambda op, dy: realdiv(dy, conj(op.inputs[0])))


@op("Log1p", infer=elementwise("inexact"), functions=1)
def log1p(x: Any, name: str | None = None) -> Any:
    """log(1 + x), accurate near 0."""
    return call((x,), name)


log1p.vjp(lambda op, dy: realdiv(dy, add(conj(op.inputs[0]), 1)))


@op("Tanh", infer=elementwise("inexact"), functions=1)
def tanh(x: Any, name: str | None = None) -> Any:
    """The hyperbolic tangent, elementwise."""
    return call((x,), name)


@op("TanhGrad", infer=elementwise("inexact"))
def tanh_grad(y: Any, dy: Any, name: str | None = None) -> Any:
    """dy * (1 - y * y): the gradient of `tanh`, from its output."""
    return call((y, dy), name)


def _tanh_grad_gradient(op: Any, d: Any) -> Any:
    product = multiply(d, conj(multiply(*op.inputs)))
    return negative(add(product, product))


tanh.vjp(lambda op, dy: tanh_grad(conj(op.outputs[0]), dy))
tanh_grad.vjp(_tanh_grad_gradient, lambda op, d: tanh_grad(conj(op.inputs[0]), d))


@op("Sigmoid", infer=elementwise("inexact"), functions=1)
def sigmoid(x: Any, name: str | None = None) -> Any:
    """1 / (1 + exp(-x)), elementwise."""
    return call((x,), name)


@op("SigmoidGrad", infer=elementwise("inexact"))
def sigmoid_grad(y: Any, dy: Any, name: str | None = None) -> Any:
    """dy * y * (1 - y): the gradient of `sigmoid`, from its output."""
    return call((y, dy), name)


def _sigmoid_grad_gradient(op: Any, d: Any) -> Any:
    y, dy = conj(op.inputs[0]), conj(op.inputs[1])
    return multiply(multiply(d, dy), subtract(1, add(y, y)))


sigmoid.vjp(lambda op, dy: sigmoid_grad(conj(op.outputs[0]), dy))
sigmoid_grad.vjp(_sigmoid_grad_gradient, lambda op, d: sigmoid_grad(conj(op.inputs[0]), d))


def approximate_equal(x: Any, y: Any, tolerance: float = 1e-5, name: str | None = None) -> Any:
    """Where |x - y| < tolerance, elementwise."""
    with name_scope(name, "ApproximateEqual"):
        return compare.less(abs(subtract(x, y)), tolerance)
