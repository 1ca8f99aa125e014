"""The error function and the gamma function, with their derivatives.

Policy: real arguments only; accurate to a few units in the last place of each dtype, except that `lgamma` and
`digamma` have only absolute accuracy beside their zeros on the negative axis (`digamma` beside its positive one too).

State: none.
"""

from __future__ import annotations

import math as scalar
from typing import Any

from graphflow.errors import InvalidArgumentError
from graphflow.opdef import call, op
from graphflow.ops import reduce
from graphflow.ops.arguments import as_tensor
from graphflow.ops.core import name_scope
from graphflow.ops.inference import elementwise
from graphflow.ops.math import exp, multiply, negative, square, subtract

TWO_BY_ROOT_PI = 2.0 / scalar.sqrt(scalar.pi)


@op("Erf", infer=elementwise("float"), functions=8)
def erf(x: Any, name: str | None = None) -> Any:
    """The error function: 2/sqrt(pi) times the integral of exp(-t * t) from 0 to x."""
    return call((x,), name)


@op("Erfc", infer=elementwise("float"), functions=8)
def erfc(x: Any, name: str | None = None) -> Any:
    """1 - erf(x), accurate also where that is tiny."""
    return call((x,), name)


def _erf_gradient(op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    return multiply(dy, multiply(exp(negative(square(x))), TWO_BY_ROOT_PI))


erf.vjp(_erf_gradient)
erfc.vjp(lambda op, dy: negative(_erf_gradient(op, dy)))


@op("Lgamma", infer=elementwise("float"), functions=20)
def lgamma(x: Any, name: str | None = None) -> Any:
    """The logarithm of the absolute value of the gamma function."""
    return call((x,), name)


@op("Digamma", infer=elementwise("float"), functions=20)
def digamma(x: Any, name: str | None = None) -> Any:
    """The derivative of `lgamma`."""
    return call((x,), name)


@op("Polygamma", infer=elementwise("float"), functions=20)
def _polygamma(x: Any, order: int, name: str | None = None) -> Any:
    return call((x,), name, order=order)


lgamma.vjp(lambda op, dy: multiply(dy, digamma(op.inputs[0])))
digamma.vjp(lambda op, dy: multiply(dy, _polygamma(op.inputs[0], 1)))
_polygamma.vjp(lambda op, dy: multiply(dy, _polygamma(op.inputs[0], op.attrs["order"] + 1)))


def polygamma(a: Any, x: Any, name: str | None = None) -> Any:
    """The derivative of `digamma` of order `a`, a Python integer."""
    if isinstance(a, bool) or not hasattr(a, "__index__") and not (isinstance(a, float) and a.is_integer()) or a < 0:
        raise InvalidArgumentError("the order of a polygamma function is a Python integer >= 0", got=repr(a)[:80])
    return _polygamma(x, int(a), name=name) if a else digamma(x, name=name)


def lbeta(x: Any, name: str | None = None) -> Any:
    """The logarithm of the absolute value of the beta function of the numbers along the last axis."""
    with name_scope(name, "lbeta"):
        x = as_tensor(x)
        return subtract(reduce.reduce_sum(lgamma(x), -1), lgamma(reduce.reduce_sum(x, -1)))
