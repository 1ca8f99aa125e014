"""Arithmetic, comparisons and functions of each element, in PyTorch's spelling.

Policy: operands are promoted as PyTorch does, then the library's own op does the work; where PyTorch's derivative is
another than TensorFlow's, `conventions` has the rule.  One function serves as `torch.exp(x)` and as `x.exp()`; the
tables at the end say which ones there are.  NaN stays NaN, and a number that a dtype cannot hold is an error.

State: none.
"""

from __future__ import annotations

import math as scalar
from collections.abc import Callable
from typing import Any

from graphflow import dtypes
from graphflow.eager import logic
from graphflow.eager.conventions import ANGLES, POWERS, TIES, by_rules
from graphflow.eager.logic import are_bools, is_integer, named
from graphflow.eager.mode import placed
from graphflow.eager.promotion import inexact, numbers_together, pair
from graphflow.eager.storage import apart
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import made_here
from graphflow.errors import DTypeError, InvalidArgumentError, shown
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
from graphflow.tensor import Tensor

Function = Callable[..., Any]
_maximum, _minimum = by_rules(arithmetic.maximum, TIES), by_rules(arithmetic.minimum, TIES)
_power, _angle_of = by_rules(math.pow, POWERS), by_rules(trigonometry.atan2, ANGLES)


def binary(name: str, op: Function, bools: Function | None = None) -> Function:
    """`name(x, y)`: the op of promoted operands; of bools another one, where `bools` says which."""

    def function(input: Any, other: Any) -> Any:
        x, y = pair(input, other)
        return op(x, y) if bools is None or not are_bools(x, y) else bools(x, y)

    return named(function, name, op)


def _atan2(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), in all four quadrants."""
    return _angle_of(inexact(y), inexact(x))


def _counted(op: Function) -> Function:
    """The op of bools as the numbers 0 and 1."""
    return lambda x, y: op(casts.cast(x, dtypes.uint8), casts.cast(y, dtypes.uint8))


def _unless_whole(op: Function) -> Function:
    """The op; integers as they are."""

    def function(x: Any) -> Any:
        return apart(x, x) if is_integer(x) else op(x)

    function.__doc__ = op.__doc__
    return function


def _of_either_part(op: Function, both: Function) -> Function:
    """The question, asked of both parts of complex numbers."""

    def function(x: Any) -> Any:
        return both(op(arithmetic.real(x)), op(arithmetic.imag(x))) if x.dtype.is_complex else op(x)

    function.__doc__ = op.__doc__
    return function


def unary(name: str, op: Function, fractions: bool = False) -> Function:
    """`name(x)`: the op of each element, of integers as floats where values are fractions."""

    def plain(input: Any) -> Any:
        return op(input)

    def converted(input: Any) -> Any:
        return op(inexact(input))

    return named(converted if fractions else plain, name, op)


def _scaled(op: Function, input: Any, other: Any, alpha: Any) -> Any:
    x, y = pair(input, other)
    if alpha == 1:
        return compare.logical_or(x, y) if op is arithmetic.add and are_bools(x, y) else op(x, y)
    return op(*pair(x, arithmetic.multiply(*pair(y, alpha)) if isinstance(y, EagerTensor) else y * alpha))


@placed
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """input + alpha * other; of bools `or`."""
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
    "trunc": lambda x, y: arithmetic.truncatediv(*pair(x, y)),
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
    x, y = pair(input, exponent)
    steady = not isinstance(y, Tensor) or not y.dtype.is_floating  # a number has the same derivative in both worlds
    return (math.pow if steady or not isinstance(x, Tensor) and x > 0 else _power)(x, y)


@placed
def trunc(input: Any) -> Any:
    """Each element without its fraction."""
    return apart(input, input) if is_integer(input) else arithmetic.truncatediv(input, 1)


@placed
def angle(input: Any) -> Any:
    """The argument of complex numbers; of real ones 0, or pi where they are negative."""
    x = inexact(input)
    if x.dtype.is_complex:
        return arithmetic.angle(x)
    return index.where(compare.is_nan(x), x, index.where(compare.less(x, 0.0), scalar.pi, array.zeros_like(x)))


@placed
def imag(input: Any) -> Any:
    """The imaginary part of complex numbers."""
    if not input.dtype.is_complex:
        raise DTypeError("only complex numbers have an imaginary part", got=input.dtype.name)
    return arithmetic.imag(input)


@placed
def round_(input: Any, *, decimals: int = 0) -> Any:
    """The nearest whole number, of two the even one; or the nearest with so many decimals."""
    if decimals == 0:
        return apart(arithmetic.round(input), input)
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
    x, y = numbers_together(*pair(input, other))
    return index.where(_broadcasting(condition, x, y), x, y)


def _broadcasting(condition: Any, x: Any, y: Any) -> Any:
    """The condition in as many dimensions as there are: as a vector it would choose rows, as in TensorFlow 1."""
    rank = max([len(v.dims or ()) for v in (x, y) if isinstance(v, Tensor)], default=0)
    if rank < 2 or not isinstance(condition, Tensor) or condition.dims is None or len(condition.dims) != 1:
        return condition
    return array.reshape(condition, [1] * (rank - 1) + [-1])


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


def _log_to(base: float) -> Function:
    def function(input: Any) -> Any:
        return arithmetic.multiply(math.log(inexact(input)), 1.0 / scalar.log(base))

    function.__name__ = function.__qualname__ = f"log{base:g}"
    function.__doc__ = f"The logarithm to base {base:g}."
    return placed(function)


log2, log10 = _log_to(2.0), _log_to(10.0)


@placed
def lerp(input: Any, end: Any, weight: Any) -> Any:
    """input + weight * (end - input)."""
    x, y = pair(input, end)
    return arithmetic.add(*pair(x, arithmetic.multiply(*pair(arithmetic.subtract(y, x), weight))))


@placed
def isclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |input - other| <= atol + rtol * |other|, for each element."""
    x, y = pair(input, as_scalar(other, input) if isinstance(other, (bool, int, float)) else other)
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
    if not (input.dtype.is_floating or input.dtype.is_complex):
        return apart(input, input)
    high = input.dtype.max if posinf is None else posinf
    low = input.dtype.min if neginf is None else neginf
    filled = index.where(compare.is_nan(input), array.fill(array.shape(input), as_scalar(nan, input)), input)
    return clamp(filled, low, high)


def as_scalar(value: Any, like: Any) -> Any:
    """A number as a scalar of the dtype of a tensor."""
    try:
        return made_here(EagerTensor(like.dtype.type(value), like.dtype))
    except (TypeError, ValueError, OverflowError):
        raise DTypeError("a number that the dtype cannot hold", expected=like.dtype.name, got=shown(value)) from None


_FRACTIONS: dict[str, Function] = {
    "exp": math.exp, "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "sqrt": math.sqrt,
    "rsqrt": math.rsqrt, "sin": trigonometry.sin, "cos": trigonometry.cos, "tan": trigonometry.tan,
    "asin": trigonometry.asin, "acos": trigonometry.acos, "atan": trigonometry.atan, "sinh": trigonometry.sinh,
    "cosh": trigonometry.cosh, "tanh": math.tanh, "asinh": trigonometry.asinh, "acosh": trigonometry.acosh,
    "atanh": trigonometry.atanh, "sigmoid": math.sigmoid, "erf": special.erf, "erfc": special.erfc,
    "lgamma": special.lgamma, "digamma": special.digamma, "reciprocal": arithmetic.reciprocal,
    "isnan": _of_either_part(compare.is_nan, compare.logical_or),
    "isinf": _of_either_part(compare.is_inf, compare.logical_or),
    "isfinite": _of_either_part(compare.is_finite, compare.logical_and),
}  # fmt: skip
_PLAIN: dict[str, Function] = {
    "neg": arithmetic.negative, "abs": arithmetic.abs, "sign": arithmetic.sign,
    "floor": _unless_whole(arithmetic.floor), "ceil": _unless_whole(arithmetic.ceil),
    "square": arithmetic.square, "relu": activations.relu,
    "conj": arithmetic.conj, "real": arithmetic.real,
}  # fmt: skip
_BINARY: dict[str, Function] = {
    "mul": arithmetic.multiply, "maximum": _maximum, "minimum": _minimum,
    "floor_divide": arithmetic.floordiv, "remainder": arithmetic.floormod, "fmod": arithmetic.truncatemod,
    "eq": compare.equal, "ne": compare.not_equal, "lt": compare.less, "le": compare.less_equal,
    "gt": compare.greater, "ge": compare.greater_equal,
    "atan2": _atan2,
}  # fmt: skip
_OF_BOOLS: dict[str, Function] = {
    "mul": compare.logical_and, "maximum": compare.logical_or, "minimum": compare.logical_and,
    "lt": _counted(compare.less), "le": _counted(compare.less_equal), "gt": _counted(compare.greater),
    "ge": _counted(compare.greater_equal),
}  # fmt: skip
_OTHER_NAMES = {
    "absolute": "abs", "negative": "neg", "multiply": "mul", "subtract": "sub", "divide": "div",
    "true_divide": "div", "clip": "clamp", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "not_equal": "ne", "arctan": "atan", "arctan2": "atan2",
}  # fmt: skip

FUNCTIONS: dict[str, Function] = {
    **{name: unary(name, op, fractions=True) for name, op in _FRACTIONS.items()},
    **{name: unary(name, op) for name, op in _PLAIN.items()},
    **{name: binary(name, op, _OF_BOOLS.get(name)) for name, op in _BINARY.items()},
    **logic.FUNCTIONS,
    "add": add, "sub": sub, "div": div, "pow": pow_, "trunc": trunc, "round": round_, "clamp": clamp,
    "softmax": softmax, "log_softmax": log_softmax, "log2": log2, "log10": log10, "lerp": lerp,
    "isclose": isclose, "allclose": allclose, "equal": equal, "nan_to_num": nan_to_num, "angle": angle,
    "imag": imag,
}  # fmt: skip
FUNCTIONS.update({other: FUNCTIONS[name] for other, name in _OTHER_NAMES.items()})
