"""Functions of angles, circular and hyperbolic, and their inverses.

Policy: as in `arithmetic`; outside its domain a function is NaN.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.opdef import call, op
from graphflow.ops.inference import elementwise
from graphflow.ops.math import add, conj, multiply, negative, realdiv, rsqrt, square, subtract


@op("Sin", infer=elementwise("inexact"), functions=1)
def sin(x: Any, name: str | None = None) -> Any:
    """The sine, elementwise."""
    return call((x,), name)


@op("Cos", infer=elementwise("inexact"), functions=1)
def cos(x: Any, name: str | None = None) -> Any:
    """The cosine, elementwise."""
    return call((x,), name)


@op("Tan", infer=elementwise("inexact"), functions=1)
def tan(x: Any, name: str | None = None) -> Any:
    """The tangent, elementwise."""
    return call((x,), name)


sin.vjp(lambda op, dy: multiply(dy, cos(conj(op.inputs[0]))))
cos.vjp(lambda op, dy: negative(multiply(dy, sin(conj(op.inputs[0])))))
tan.vjp(lambda op, dy: realdiv(dy, square(cos(conj(op.inputs[0])))))


@op("Asin", infer=elementwise("inexact"), functions=1)
def asin(x: Any, name: str | None = None) -> Any:
    """The angle in [-pi/2, pi/2] whose sine is x."""
    return call((x,), name)


@op("Acos", infer=elementwise("inexact"), functions=1)
def acos(x: Any, name: str | None = None) -> Any:
    """The angle in [0, pi] whose cosine is x."""
    return call((x,), name)


@op("Atan", infer=elementwise("inexact"), functions=1)
def atan(x: Any, name: str | None = None) -> Any:
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    return call((x,), name)


def _one_minus_square(op: Any) -> Any:
    return subtract(1, square(conj(op.inputs[0])))


asin.vjp(lambda op, dy: multiply(dy, rsqrt(_one_minus_square(op))))
acos.vjp(lambda op, dy: negative(multiply(dy, rsqrt(_one_minus_square(op)))))
atan.vjp(lambda op, dy: realdiv(dy, add(square(conj(op.inputs[0])), 1)))


@op("Atan2", infer=elementwise("float"), broadcasts=True, functions=2)
def atan2(y: Any, x: Any, name: str | None = None) -> Any:
    """The angle in [-pi, pi] of the point (x, y)."""
    return call((y, x), name)


def _turn(op: Any, dy: Any) -> Any:
    y, x = op.inputs
    return realdiv(dy, add(square(x), square(y)))


atan2.vjp(
    lambda op, dy: multiply(op.inputs[1], _turn(op, dy)),
    lambda op, dy: negative(multiply(op.inputs[0], _turn(op, dy))),
)


@op("Sinh", infer=elementwise("inexact"), functions=1)
def sinh(x: Any, name: str | None = None) -> Any:
    """The hyperbolic sine, elementwise."""
    return call((x,), name)


@op("Cosh", infer=elementwise("inexact"), functions=1)
def cosh(x: Any, name: str | None = None) -> Any:
    """The hyperbolic cosine, elementwise."""
    return call((x,), name)


sinh.vjp(lambda op, dy: multiply(dy, cosh(conj(op.inputs[0]))))
cosh.vjp(lambda op, dy: multiply(dy, sinh(conj(op.inputs[0]))))


@op("Asinh", infer=elementwise("inexact"), functions=1)
def asinh(x: Any, name: str | None = None) -> Any:
    """The inverse of `sinh`."""
    return call((x,), name)


@op("Acosh", infer=elementwise("inexact"), functions=1)
def acosh(x: Any, name: str | None = None) -> Any:
    """The inverse of `cosh`, for x >= 1."""
    return call((x,), name)


@op("Atanh", infer=elementwise("inexact"), functions=1)
def atanh(x: Any, name: str | None = None) -> Any:
    """The inverse of `tanh`, for -1 <= x <= 1."""
    return call((x,), name)


asinh.vjp(lambda op, dy: realdiv(dy, cosh(conj(op.outputs[0]))))
acosh.vjp(lambda op, dy: realdiv(dy, sinh(conj(op.outputs[0]))))
atanh.vjp(lambda op, dy: realdiv(dy, _one_minus_square(op)))
