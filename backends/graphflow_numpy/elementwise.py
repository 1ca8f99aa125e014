"""Kernels of the elementwise ops: nearly all of them are NumPy's own ufuncs.

Policy: what takes several passes works in place on its own first result.  Where NumPy would raise the dtype of half
precision, or round it at every step, a kernel computes in float32 and rounds once.

State: none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError
from graphflow.spec import nbytes
from graphflow_numpy.table import Fitted, fit, into, kernel, rows

_add, _subtract, _multiply, _divide = np.add, np.subtract, np.multiply, np.divide
_negative, _square, _exp = np.negative, np.square, np.exp

rows({"Add": np.add}, scalar=operator.add)
rows({"Sub": np.subtract}, scalar=operator.sub)
rows({"Mul": np.multiply}, scalar=operator.mul)
rows({"RealDiv": np.true_divide}, scalar=operator.truediv)
rows({"Neg": np.negative}, scalar=operator.neg)
rows({"Abs": np.absolute}, scalar=operator.abs)

rows({"Equal": np.equal}, scalar=operator.eq)
rows({"NotEqual": np.not_equal}, scalar=operator.ne)
rows({"Less": np.less}, scalar=operator.lt)
rows({"LessEqual": np.less_equal}, scalar=operator.le)
rows({"Greater": np.greater}, scalar=operator.gt)
rows({"GreaterEqual": np.greater_equal}, scalar=operator.ge)
rows({"LogicalAnd": np.logical_and}, scalar=operator.and_)
rows({"LogicalOr": np.logical_or}, scalar=operator.or_)
rows({"LogicalXor": np.logical_xor}, scalar=operator.xor)
rows({"LogicalNot": np.logical_not}, scalar=operator.invert)
rows({"BitwiseAnd": np.bitwise_and}, scalar=operator.and_)
rows({"BitwiseOr": np.bitwise_or}, scalar=operator.or_)
rows({"BitwiseXor": np.bitwise_xor}, scalar=operator.xor)
rows({"Invert": np.invert}, scalar=operator.invert)
rows({"LeftShift": np.left_shift}, scalar=operator.lshift)  # NumPy shifts endlessly far, as these ops promise
rows({"RightShift": np.right_shift}, scalar=operator.rshift)

rows({
    "IsNan": np.isnan,
    "IsInf": np.isinf,
    "IsFinite": np.isfinite,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Square": np.square,
    "Sign": np.sign,
    "Reciprocal": np.reciprocal,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Rint": np.rint,
    "Round": np.rint,
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Expm1": np.expm1,
    "Log": np.log,
    "Log1p": np.log1p,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tan": np.tan,
    "Asin": np.arcsin,
    "Acos": np.arccos,
    "Atan": np.arctan,
    "Atan2": np.arctan2,
    "Sinh": np.sinh,
    "Cosh": np.cosh,
    "Tanh": np.tanh,
    "Asinh": np.arcsinh,
    "Acosh": np.arccosh,
    "Atanh": np.arctanh,
    "Conj": np.conjugate,
    "Angle": np.angle,
})  # fmt: skip


@into("Maximum", inplace=(0, 1))
def _maximum_into(x: Any, y: Any, out: Any) -> None:
    np.maximum(x, y, out=out)  # NumPy discourages a third position here, and only here


@into("Minimum", inplace=(0, 1))
def _minimum_into(x: Any, y: Any, out: Any) -> None:
    np.minimum(x, y, out=out)


def is_half(x: Any) -> bool:
    """Whether an array has one of the 16-bit floating-point dtypes."""
    return bool(x.dtype.itemsize == 2 and x.dtype.kind not in "iu")


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same kernel, with half precision computed in float32."""

    def widened(x: Any, *rest: Any) -> Any:
        if is_half(x):
            return function(x.astype(np.float32), *[r.astype(np.float32) for r in rest]).astype(x.dtype)
        return function(x, *rest)

    return widened


def in_float32_into(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a kernel that writes into given memory."""

    def widened(*arrays: Any) -> None:
        if is_half(arrays[-1]):
            wide = [x.astype(np.float32) for x in arrays]
            function(*wide)
            arrays[-1][...] = wide[-1]
        else:
            function(*arrays)

    return widened


# -- division and powers ---------------------------------------------------------------------------------------------


def _integer_division(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, refusing to divide integers by zero; memory for its result may follow."""

    def divide(x: Any, y: Any, *out: Any) -> Any:
        if y.dtype.kind in "iu" and not np.all(y):
            raise InvalidArgumentError("integer division by zero", hint="tf.truediv divides integers as numbers")
        return function(x, y, *out)

    return divide


def _scalar_division(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same on NumPy scalars."""

    def divide(x: Any, y: Any) -> Any:
        if y == 0 and y.dtype.kind in "iu":
            raise InvalidArgumentError("integer division by zero", hint="tf.truediv divides integers as numbers")
        return function(x, y)

    return divide


def _truncated(x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu":
        return (x - np.fmod(x, y)) // y
    return np.trunc(np.true_divide(x, y))


rows({"FloorDiv": _integer_division(np.floor_divide)}, scalar=_scalar_division(operator.floordiv))
rows({"FloorMod": _integer_division(np.remainder)}, scalar=_scalar_division(operator.mod))
rows({"TruncateDiv": _integer_division(_truncated), "TruncateMod": _integer_division(np.fmod)})
into("FloorDiv", inplace=(0, 1))(_integer_division(np.floor_divide))
into("FloorMod", inplace=(0, 1))(_integer_division(np.remainder))
into("TruncateMod", inplace=(0, 1))(_integer_division(np.fmod))


def _fit_division(ufunc: Any) -> Any:
    """No zero to look for among numbers that are not integers."""
    found = Fitted(ufunc, ufunc, (0, 1))
    return lambda attrs, inputs, outputs: None if inputs[0].dtype.is_integer else found


fit("FloorDiv")(_fit_division(np.floor_divide))
fit("FloorMod")(_fit_division(np.remainder))


@kernel("DivNoNan")
def _div_no_nan(x: Any, y: Any) -> Any:
    return np.where(y == 0, x.dtype.type(0), np.true_divide(x, y))


@into("DivNoNan", inplace=(0, 1))
def _div_no_nan_into(x: Any, y: Any, out: Any) -> None:
    nothing = np.equal(y, 0)
    np.true_divide(x, y, out)
    np.copyto(out, 0, where=nothing)


@kernel("Pow")
def _pow(x: Any, y: Any) -> Any:
    # One exponent for all: a multiplication where NumPy would compute a logarithm and an exponential.
    if np.ndim(y) == 0 and y.dtype.kind != "c" and y == 2:
        return np.square(x)
    return np.power(x, y)


@into("Pow", inplace=(0, 1))
def _pow_into(x: Any, y: Any, out: Any) -> None:
    if np.ndim(y) == 0 and y.dtype.kind != "c" and y == 2:
        np.square(x, out)
    else:
        np.power(x, y, out)


@kernel("SquaredDifference")
def _squared_difference(x: Any, y: Any) -> Any:
    d = np.subtract(x, y)
    return np.square(d, d) if type(d) is np.ndarray else np.square(d)


@into("SquaredDifference", inplace=(0, 1))
def _squared_difference_into(x: Any, y: Any, out: Any) -> None:
    np.subtract(x, y, out)
    np.square(out, out)


@kernel("Rsqrt")
@in_float32
def _rsqrt(x: Any) -> Any:
    root = np.sqrt(x)
    return np.reciprocal(root, root) if type(root) is np.ndarray else np.reciprocal(root)


@into("Rsqrt", inplace=(0,))
@in_float32_into
def _rsqrt_into(x: Any, out: Any) -> None:
    np.sqrt(x, out)
    np.reciprocal(out, out)


# -- sigmoid and the gradients that are ops of their own -------------------------------------------------------------


@kernel("Sigmoid")
@in_float32
def _sigmoid(x: Any) -> Any:
    # Below -88 (in float32) exp overflows and the result is 0; the exact one is below the normal numbers.
    if type(x) is not np.ndarray:
        one = x.dtype.type(1)
        return one / (one + np.exp(-x))
    y = np.negative(x)
    if not y.ndim:
        return np.reciprocal(np.exp(y) + 1)
    np.exp(y, y)
    np.add(y, 1, y)
    return np.reciprocal(y, y)


def _sigmoid_into(x: Any, out: Any) -> None:
    np.negative(x, out)
    np.exp(out, out)
    np.add(out, 1, out)
    np.reciprocal(out, out)


into("Sigmoid", inplace=(0,))(in_float32_into(_sigmoid_into))


SHORT = 1 << 15  # bytes up to which another array costs less than NumPy's look at whether its operands overlap


def fit_floats(name: str, bind: Callable[[Any, bool], Fitted]) -> None:
    """Fit a row to float32 and float64, given a one of rank 0 and whether the arrays are short.

    NumPy takes such a one in half the time of a Python number.
    """

    def fitted(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
        dtype = inputs[0].dtype.np
        if dtype.char not in "fd" or not all(x.dims for x in inputs):
            return None
        return bind(np.ones((), dtype), (nbytes(outputs[0] or inputs[0]) or SHORT) < SHORT)

    fit(name)(fitted)


def _bound_sigmoid(one: Any, short: bool) -> Fitted:
    def write(x: Any, out: Any) -> Any:
        _negative(x, out)
        _exp(out, out)
        _add(out, one, out)
        return _divide(one, out, out)

    def write_short(x: Any, out: Any) -> Any:
        t = _negative(x)
        _exp(t, out)
        _add(out, one, t)
        return _divide(one, t, out)

    found = write_short if short else write
    return Fitted(lambda x: found(x, np.empty(x.shape, one.dtype)), found, (0,))


fit_floats("Sigmoid", _bound_sigmoid)


def _alike(own: Any, other: Any) -> bool:
    """Whether a product of the two can be written into the first."""
    return type(own) is np.ndarray and own.shape == np.shape(other) and own.dtype is other.dtype


@kernel("SigmoidGrad")
@in_float32
def _sigmoid_grad(y: Any, dy: Any) -> Any:
    t = np.subtract(1, y)
    if not _alike(t, dy):
        return t * y * dy
    np.multiply(t, y, t)
    return np.multiply(t, dy, t)


@into("SigmoidGrad")
@in_float32_into
def _sigmoid_grad_into(y: Any, dy: Any, out: Any) -> None:
    np.subtract(1, y, out)
    np.multiply(out, y, out)
    np.multiply(out, dy, out)


@kernel("TanhGrad")
@in_float32
def _tanh_grad(y: Any, dy: Any) -> Any:
    t = np.square(y)
    if not _alike(t, dy):
        return (1 - t) * dy
    np.subtract(1, t, t)
    return np.multiply(t, dy, t)


@into("TanhGrad", inplace=(0,))
@in_float32_into
def _tanh_grad_into(y: Any, dy: Any, out: Any) -> None:
    np.square(y, out)
    np.subtract(1, out, out)
    np.multiply(out, dy, out)


def _bound_sigmoid_grad(one: Any, short: bool) -> Fitted:
    def write(y: Any, dy: Any, out: Any) -> None:
        _subtract(one, y, out)
        _multiply(out, y, out)
        _multiply(out, dy, out)

    def write_short(y: Any, dy: Any, out: Any) -> None:
        _subtract(one, y, out)
        _multiply(_multiply(out, y), dy, out)

    return Fitted(_sigmoid_grad, write_short if short else write)


def _bound_tanh_grad(one: Any, short: bool) -> Fitted:
    def write(y: Any, dy: Any, out: Any) -> None:
        _square(y, out)
        _subtract(one, out, out)
        _multiply(out, dy, out)

    def write_short(y: Any, dy: Any, out: Any) -> None:
        _square(y, out)
        _multiply(_subtract(one, out), dy, out)

    return Fitted(_tanh_grad, write_short if short else write, (0,))


fit_floats("SigmoidGrad", _bound_sigmoid_grad)
fit_floats("TanhGrad", _bound_tanh_grad)


@kernel("ClipByValue")
def _clip(x: Any, low: Any, high: Any) -> Any:
    y = np.minimum(x, high)
    return np.maximum(y, low, out=y) if type(y) is np.ndarray and np.ndim(low) == 0 else np.maximum(y, low)


@into("ClipByValue", inplace=(0,))
def _clip_into(x: Any, low: Any, high: Any, out: Any) -> None:
    np.minimum(x, high, out=out)
    np.maximum(out, low, out=out)


# -- complex numbers -------------------------------------------------------------------------------------------------


@kernel("Real", view=True)
def _real(x: Any) -> Any:
    return x.real


@kernel("Imag", view=True)
def _imag(x: Any) -> Any:
    return x.imag


@kernel("Complex")
def _complex(real: Any, imag: Any) -> Any:
    kind = np.complex64 if real.dtype == np.float32 else np.complex128
    out = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imag)), kind)
    out.real = real
    out.imag = imag
    return out


@into("Complex")
def _complex_into(real: Any, imag: Any, out: Any) -> None:
    out.real = real
    out.imag = imag


# -- sums of many ----------------------------------------------------------------------------------------------------


@kernel("AddN")
def _add_n(*inputs: Any) -> Any:
    if len(inputs) == 1:
        return np.array(inputs[0])
    total = inputs[0] + inputs[1]
    for x in inputs[2:]:
        if _alike(total, x):
            np.add(total, x, total)
        else:
            total = total + x
    return total


@into("AddN", inplace=(0, 1))
def _add_n_into(*inputs: Any) -> None:
    out = inputs[-1]
    if len(inputs) == 2:
        out[...] = inputs[0]
        return
    np.add(inputs[0], inputs[1], out)
    for x in inputs[2:-1]:
        np.add(out, x, out)
