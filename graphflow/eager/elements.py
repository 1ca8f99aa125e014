"""Functions of each element that go beyond `pointwise`, in PyTorch's spelling.

Policy: compositions of what it has, with its rules of promotion.

State: none.
"""

from __future__ import annotations

import math as scalar
from collections.abc import Callable
from typing import Any

from graphflow import dtypes
from graphflow.eager import pointwise
from graphflow.eager.calling import checked
from graphflow.eager.mode import placed
from graphflow.eager.promotion import inexact, pair
from graphflow.eager.rearranging import broadcast_shapes
from graphflow.errors import InvalidArgumentError
from graphflow.ops import arithmetic, array, casts, compare, core, index, math, reduce, special
from graphflow.tensor import Tensor

Function = Callable[..., Any]

# -- of one tensor ---------------------------------------------------------------------------------------------------


def _times(factor: float, name: str, doc: str) -> Function:
    def function(input: Any) -> Any:
        return arithmetic.multiply(inexact(input), factor)

    return _named(function, name, doc)


def _named(function: Function, name: str, doc: str) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return placed(function)


@placed
def exp2(input: Any) -> Any:
    """2 to the power of each element."""
    return math.exp(arithmetic.multiply(inexact(input), scalar.log(2.0)))


@placed
def frac(input: Any) -> Any:
    """The fraction of each element, with its sign."""
    return arithmetic.subtract(input, pointwise.trunc(input))


@placed
def logit(input: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)); `eps` keeps x away from 0 and 1."""
    x = inexact(input)
    x = x if eps is None else pointwise.clamp(x, eps, 1.0 - eps)
    return math.log(arithmetic.truediv(x, arithmetic.subtract(1.0, x)))


@placed
def sinc(input: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = arithmetic.multiply(inexact(input), scalar.pi)
    zero = compare.equal(x, 0.0)
    safe = index.where(zero, array.ones_like(x), x)
    return index.where(zero, array.ones_like(x), pointwise.FUNCTIONS["sin"](safe) / safe)


@placed
def signbit(input: Any) -> Any:
    """Whether the sign is a minus, that of -0.0 too."""
    if not input.dtype.is_floating:
        return compare.less(input, array.zeros_like(input))
    width = {2: dtypes.int16, 4: dtypes.int32, 8: dtypes.int64}[input.dtype.size]
    return compare.less(casts.bitcast(input, width), 0)


@placed
def sgn(input: Any) -> Any:
    """The sign; of a complex number the number of size 1 in its direction."""
    return arithmetic.sign(input)


def _infinite(name: str, value: float) -> Function:
    def function(input: Any) -> Any:
        if not input.dtype.is_floating:
            return compare.not_equal(input, input)
        return compare.equal(input, value)

    return _named(function, name, f"Whether each element is {value}.")


@placed
def isreal(input: Any) -> Any:
    """Whether each element has no imaginary part."""
    return (
        compare.equal(arithmetic.imag(input), 0.0) if input.dtype.is_complex else array.ones_like(input, dtypes.bool_)
    )


@placed
def polygamma(n: int, input: Any) -> Any:
    """The n-th derivative of digamma."""
    return special.polygamma(pointwise.as_scalar(float(n), inexact(input)), inexact(input))


@placed
def clamp_min(input: Any, min: Any) -> Any:
    """The elements, none below `min`."""
    return pointwise.clamp(input, min=min)


@placed
def clamp_max(input: Any, max: Any) -> Any:
    """The elements, none above `max`."""
    return pointwise.clamp(input, max=max)


# -- of several tensors ----------------------------------------------------------------------------------------------


@placed
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value * tensor1 * tensor2."""
    return pointwise.add(input, pointwise.FUNCTIONS["mul"](tensor1, tensor2), alpha=value)


@placed
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """input + value * tensor1 / tensor2."""
    return pointwise.add(input, pointwise.div(tensor1, tensor2), alpha=value)


@placed
def heaviside(input: Any, values: Any) -> Any:
    """0 below zero, 1 above, and at zero what `values` says."""
    x, at_zero = pair(input, values)
    step = casts.cast(compare.greater(x, array.zeros_like(x)), x.dtype)
    return pointwise.where(compare.equal(x, array.zeros_like(x)), at_zero, step)


@placed
def hypot(input: Any, other: Any) -> Any:
    """The length of the hypotenuse."""
    x, y = pair(input, other)
    return math.sqrt(arithmetic.add(arithmetic.square(x), arithmetic.square(y)))


@placed
def copysign(input: Any, other: Any) -> Any:
    """The size of one with the sign of the other."""
    x, y = pair(inexact(input), inexact(other))
    y = y if isinstance(y, Tensor) else pointwise.as_scalar(y, x)
    minus = signbit(inexact(y))
    turned = compare.not_equal(*pair(minus, signbit(x)))
    return pointwise.where(turned, arithmetic.negative(x), x)


@placed
def float_power(input: Any, exponent: Any) -> Any:
    """input ** exponent in float64, or complex128."""
    wide = any(isinstance(v, complex) or getattr(getattr(v, "dtype", None), "is_complex", False)
               for v in (input, exponent))  # fmt: skip
    found = dtypes.complex128 if wide else dtypes.float64
    x, y = (casts.cast(v, found) if isinstance(v, Tensor) else found.type(v).item() for v in (input, exponent))
    return math.pow(x, y)


@placed
def logaddexp(input: Any, other: Any) -> Any:
    """log(exp(input) + exp(other)), without overflow."""
    x, y = pair(input, other)
    shape = list(broadcast_shapes(x.dims, y.dims))
    return reduce.reduce_logsumexp(array.stack([array.broadcast_to(x, shape), array.broadcast_to(y, shape)]), 0)


@placed
def logaddexp2(input: Any, other: Any) -> Any:
    """log2(2 ** input + 2 ** other), without overflow."""
    base = scalar.log(2.0)
    return logaddexp(input * base, other * base) * (1.0 / base)


@placed
def xlogy(input: Any, other: Any) -> Any:
    """input * log(other), and 0 where input is 0."""
    x, y = pair(inexact(input), inexact(other))
    x, y = (v if isinstance(v, Tensor) else core.convert_to_tensor(v, k.dtype) for v, k in ((x, y), (y, x)))
    none = compare.logical_and(compare.equal(x, array.zeros_like(x)), compare.logical_not(compare.is_nan(y)))
    safe = pointwise.where(none, array.ones_like(y), y)
    return arithmetic.multiply(x, math.log(safe))


def _without_nan(op: Function, name: str) -> Function:
    def function(input: Any, other: Any) -> Any:
        x, y = pair(input, other)
        if not x.dtype.is_floating:
            return op(x, y)
        found = pointwise.where(compare.is_nan(x), y, op(x, y))
        return pointwise.where(compare.is_nan(y), x, found)

    return _named(
        function, name, f"The {'larger' if name == 'fmax' else 'smaller'} element, and the number beside NaN."
    )


@placed
def complex_of(real: Any, imag: Any) -> Any:
    """Complex numbers of their parts."""
    return arithmetic.complex(real, imag)


@placed
def polar(abs: Any, angle: Any) -> Any:
    """Complex numbers of their size and their direction."""
    return arithmetic.complex(abs * pointwise.FUNCTIONS["cos"](angle), abs * pointwise.FUNCTIONS["sin"](angle))


@placed
def view_as_real(input: Any) -> Any:
    """The real and the imaginary parts, along a new last dimension."""
    return array.stack([arithmetic.real(input), arithmetic.imag(input)], -1)


@placed
def view_as_complex(input: Any) -> Any:
    """Complex numbers of the two elements along the last dimension."""
    return arithmetic.complex(input[..., 0], input[..., 1])


# -- questions --------------------------------------------------------------------------------------------------------


@checked
def is_complex(input: Any) -> bool:
    """Whether the elements are complex numbers."""
    return bool(input.dtype.is_complex)


def is_signed(input: Any) -> bool:
    """Whether the dtype has negative numbers."""
    return not input.dtype.is_bool and input.dtype.kind != "uint"


@checked
def is_nonzero(input: Any) -> bool:
    """Whether the one element is not zero."""
    if input.shape.numel() != 1:
        raise InvalidArgumentError("is_nonzero takes a tensor of one element", got=f"shape {list(input.dims)}")
    return bool(input)


METHODS: dict[str, Function] = {
    "exp2": exp2, "frac": frac, "logit": logit, "sinc": sinc, "signbit": signbit, "sgn": sgn, "isreal": isreal,
    "isposinf": _infinite("isposinf", float("inf")), "isneginf": _infinite("isneginf", float("-inf")),
    "deg2rad": _times(scalar.pi / 180.0, "deg2rad", "Degrees as radians."),
    "rad2deg": _times(180.0 / scalar.pi, "rad2deg", "Radians as degrees."),
    "clamp_min": clamp_min, "clamp_max": clamp_max, "addcmul": addcmul, "addcdiv": addcdiv, "heaviside": heaviside,
    "hypot": hypot, "copysign": copysign, "float_power": float_power, "logaddexp": logaddexp,
    "logaddexp2": logaddexp2, "xlogy": xlogy, "fmax": _without_nan(arithmetic.maximum, "fmax"),
    "fmin": _without_nan(arithmetic.minimum, "fmin"), "is_complex": is_complex,
    "fix": pointwise.trunc, "arcsin": pointwise.FUNCTIONS["asin"], "arccos": pointwise.FUNCTIONS["acos"],
    "arcsinh": pointwise.FUNCTIONS["asinh"], "arccosh": pointwise.FUNCTIONS["acosh"],
    "arctanh": pointwise.FUNCTIONS["atanh"],
}  # fmt: skip
ONLY_METHODS: dict[str, Function] = {"is_signed": is_signed}
FUNCTIONS: dict[str, Function] = {
    **METHODS, "polygamma": polygamma, "complex": complex_of, "polar": polar, "view_as_real": view_as_real,
    "view_as_complex": view_as_complex,
    "is_nonzero": is_nonzero,
}  # fmt: skip
IN_PLACE: dict[str, Function] = {
    name: METHODS[name] for name in ("addcmul", "addcdiv", "clamp_min", "clamp_max", "frac", "xlogy")
}
