"""Arithmetic, comparisons and functions of each element, in PyTorch's spelling.

Policy: operands are promoted as PyTorch does, then the library's own op does the work.  One function serves as
`torch.exp(x)` and as `x.exp()`; the tables at the end say which ones there are.

State: none.
"""

from __future__ import annotations

import functools
import math as scalar
from collections.abc import Callable
from typing import Any

from graphflow import dtypes
from graphflow.eager.mode import placed
from graphflow.eager.promotion import as_dtype_of, inexact, pair
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError
from graphflow.ops import (
    activations,
    arithmetic,
    array,
    casts,
    compare,
    index,
    math,
    special,
    trigonometry,
)
from graphflow.ops import (
    softmax as softmaxes,
)

Function = Callable[..., Any]


def binary(name: str, op: Function) -> Function:
    """`name(x, y)`: the op of promoted operands."""

    def function(input: Any, other: Any) -> Any:
        return op(*pair(input, other))

    return _named(function, name, op)


def unary(name: str, op: Function, fractions: bool = False) -> Function:
    """`name(x)`: the op of each element, of integers as floats where values are fractions."""

    def plain(input: Any) -> Any:
        return op(input)

    def converted(input: Any) -> Any:
        return op(inexact(input))

    return _named(converted if fractions else plain, name, op)


def _named(function: Function, name: str, op: Function) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    return placed(function)


def _scaled(op: Function, input: Any, other: Any, alpha: Any) -> Any:
    x, y = pair(input, other)
    if alpha == 1:
        return op(x, y)
    return op(*pair(x, arithmetic.multiply(*pair(y, alpha)) if isinstance(y, EagerTensor) else y * alpha))


@placed
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input + alpha * other."""
    return _scaled(arithmetic.add, input, other, alpha)


@placed
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input - alpha * other."""
    return _scaled(arithmetic.subtract, input, other, alpha)


def _quotient(x: Any, y: Any) -> Any:
    x, y = pair(x, y)
    return arithmetic.truediv(*pair(inexact(x), inexact(y)))


_ROUNDED: dict[Any, Function] = {
    None: _quotient,
    "floor": lambda x, y: arithmetic.floordiv(*pair(x, y)),
    "trunc": lambda x, y: _truncated(_quotient(x, y)),
}


@placed
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """The quotient; of integers it is a float, unless `rounding_mode` is "floor" or "trunc"."""
    if rounding_mode not in _ROUNDED:
        raise InvalidArgumentError(
            "no such rounding_mode", expected='None, "floor" or "trunc"', got=repr(rounding_mode)[:80]
        )
    return _ROUNDED[rounding_mode](input, other)


@placed
def pow_(input: Any, exponent: Any) -> Any:
    """input ** exponent."""
    return math.pow(*pair(input, exponent))


def _truncated(x: Any) -> Any:
    return arithmetic.multiply(arithmetic.sign(x), arithmetic.floor(arithmetic.abs(x)))


@placed
def trunc(input: Any) -> Any:
    """Each element without its fraction."""
    return _truncated(input)


@placed
def round_(input: Any, *, decimals: int = 0) -> Any:
    """The nearest whole number, of two the even one; or the nearest with so many decimals."""
    if decimals == 0:
        return arithmetic.round(input)
    return arithmetic.truediv(arithmetic.round(arithmetic.multiply(input, 10.0**decimals)), 10.0**decimals)


@placed
def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """The elements, none below `min` and none above `max`."""
    if min is None and max is None:
        raise InvalidArgumentError("clamp takes min, max or both", hint="x.clamp(min=0.0)")
    if min is not None:
        input = arithmetic.maximum(*pair(input, min))
    if max is not None:
        input = arithmetic.minimum(*pair(input, max))
    return input


@placed
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where the condition holds, `other` elsewhere; or its places, one tensor for each axis."""
    if input is None and other is None:
        return tuple(array.unstack(index.where(condition), axis=1))
    if not isinstance(input, EagerTensor) and not isinstance(other, EagerTensor):
        input = array.fill([], input) if not hasattr(input, "graph") else input
    return index.where(condition, *pair(input, other))


@placed
def softmax(input: Any, dim: Any = -1, dtype: Any = None) -> Any:
    """exp(input) / sum(exp(input)) along a dimension."""
    return softmaxes.softmax(_in(input, dtype), axis=dim)


@placed
def log_softmax(input: Any, dim: Any = -1, dtype: Any = None) -> Any:
    """The logarithm of the softmax along a dimension."""
    return softmaxes.log_softmax(_in(input, dtype), axis=dim)


def _in(x: Any, dtype: Any) -> Any:
    return x if dtype is None else casts.cast(x, dtype)


@placed
def log_to_base(input: Any, base: float) -> Any:
    """The logarithm to a base."""
    return arithmetic.multiply(math.log(inexact(input)), 1.0 / scalar.log(base))


log2 = functools.partial(log_to_base, base=2.0)
log10 = functools.partial(log_to_base, base=10.0)


@placed
def lerp(input: Any, end: Any, weight: Any) -> Any:
    """input + weight * (end - input)."""
    x, y = pair(input, end)
    return arithmetic.add(*pair(x, arithmetic.multiply(*pair(arithmetic.subtract(y, x), weight))))


@placed
def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |input - other| <= atol + rtol * |other|, for each element."""
    x, y = pair(input, other)
    if not (x.dtype.is_floating or x.dtype.is_complex):
        x, y = casts.cast(x, dtypes.float64), casts.cast(y, dtypes.float64)
    bound = arithmetic.add(arithmetic.multiply(arithmetic.abs(y), rtol), atol)
    near = compare.less_equal(arithmetic.abs(arithmetic.subtract(x, y)), bound)
    near = compare.logical_or(near, compare.equal(x, y))
    if equal_nan:
        near = compare.logical_or(near, compare.logical_and(compare.is_nan(x), compare.is_nan(y)))
    return near


@placed
def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._array().all())


@placed
def equal(input: Any, other: Any) -> bool:
    """Whether two tensors have the same shape and the same elements."""
    if input.dims != other.dims:
        return False
    return bool(compare.equal(*pair(input, other))._array().all())


@placed
def nan_to_num(input: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """The tensor with numbers in place of NaN and of the infinities."""
    high = input.dtype.max if posinf is None else posinf
    low = input.dtype.min if neginf is None else neginf
    filled = index.where(compare.is_nan(input), array.fill(array.shape(input), as_scalar(nan, input)), input)
    return clamp(filled, low, high)


def as_scalar(value: Any, like: Any) -> Any:
    """A number as a scalar of the dtype of a tensor."""
    return as_dtype_of(EagerTensor(like.dtype.type(value), like.dtype), like.dtype)


_FRACTIONS: dict[str, Function] = {
    "exp": math.exp, "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "sqrt": math.sqrt,
    "rsqrt": math.rsqrt, "sin": trigonometry.sin, "cos": trigonometry.cos, "tan": trigonometry.tan,
    "asin": trigonometry.asin, "acos": trigonometry.acos, "atan": trigonometry.atan, "sinh": trigonometry.sinh,
    "cosh": trigonometry.cosh, "tanh": math.tanh, "asinh": trigonometry.asinh, "acosh": trigonometry.acosh,
    "atanh": trigonometry.atanh, "sigmoid": math.sigmoid, "erf": special.erf, "erfc": special.erfc,
    "lgamma": special.lgamma, "digamma": special.digamma, "reciprocal": arithmetic.reciprocal,
    "isnan": compare.is_nan, "isinf": compare.is_inf, "isfinite": compare.is_finite,
}  # fmt: skip
_PLAIN: dict[str, Function] = {
    "neg": arithmetic.negative, "abs": arithmetic.abs, "sign": arithmetic.sign, "floor": arithmetic.floor,
    "ceil": arithmetic.ceil, "square": arithmetic.square, "relu": activations.relu,
    "logical_not": compare.logical_not, "conj": arithmetic.conj, "real": arithmetic.real, "imag": arithmetic.imag,
    "angle": arithmetic.angle,
}  # fmt: skip
_BINARY: dict[str, Function] = {
    "mul": arithmetic.multiply, "maximum": arithmetic.maximum, "minimum": arithmetic.minimum,
    "floor_divide": arithmetic.floordiv, "remainder": arithmetic.floormod, "fmod": arithmetic.truncatemod,
    "atan2": trigonometry.atan2, "eq": compare.equal, "ne": compare.not_equal, "lt": compare.less,
    "le": compare.less_equal, "gt": compare.greater, "ge": compare.greater_equal,
    "logical_and": compare.logical_and, "logical_or": compare.logical_or, "logical_xor": compare.logical_xor,
}  # fmt: skip
_OTHER_NAMES = {
    "absolute": "abs", "negative": "neg", "multiply": "mul", "subtract": "sub", "divide": "div",
    "true_divide": "div", "clip": "clamp", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "not_equal": "ne", "arctan": "atan", "arctan2": "atan2",
}  # fmt: skip

FUNCTIONS: dict[str, Function] = {
    **{name: unary(name, op, fractions=True) for name, op in _FRACTIONS.items()},
    **{name: unary(name, op) for name, op in _PLAIN.items()},
    **{name: binary(name, op) for name, op in _BINARY.items()},
    "add": add, "sub": sub, "div": div, "pow": pow_, "trunc": trunc, "round": round_, "clamp": clamp,
    "softmax": softmax, "log_softmax": log_softmax, "log2": log2, "log10": log10, "lerp": lerp,
    "isclose": isclose, "allclose": allclose, "equal": equal, "nan_to_num": nan_to_num,
}  # fmt: skip
FUNCTIONS.update({other: FUNCTIONS[name] for other, name in _OTHER_NAMES.items()})
