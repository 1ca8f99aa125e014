"""Elementwise arithmetic, elementary and special functions, comparisons, clipping."""

from __future__ import annotations

import math as scalar
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import errors
from graphflow.gradients import gradients
from graphflow.indexed_slices import IndexedSlices
from graphflow.ops import arithmetic, array, clip, compare, core, math, special, trigonometry
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase

FLOATS = ("float16", "bfloat16", "float32")
NUMBERS = (*FLOATS, "int32", "int64", "uint8", "complex128")
REALS = (*FLOATS, "int32", "int64", "uint8")
_SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan])
_PAIRS = tuple(np.array(v) for v in zip(*[(a, b) for a in _SPECIAL for b in _SPECIAL], strict=True))


def _int(*values: Any, dtype: Any = np.int32) -> Any:
    return np.array(values, dtype)


def _each(function: Callable[..., float]) -> Callable[..., Any]:
    """A function of Python floats, one number at a time."""
    return np.vectorize(function, otypes=[np.float64])


def _binary(op: str, build: Any, reference: Any, low: float = -2.0, high: float = 2.0, **more: Any) -> list[OpCase]:
    """The usual situations of an op with two inputs that broadcast."""
    dtypes_ = more.pop("dtypes", NUMBERS)
    shapes = {
        "matrix": ((2, 3), (2, 3)), "scalars": ((), ()), "column and row": ((3, 1), (4,)),
        "matrix and scalar": ((2, 3), ()),
        "ranks": ((3,), (2, 1, 3)),
    }  # fmt: skip
    rows = []
    for id, (a, b) in shapes.items():
        whole = id == "matrix"
        zero = (((0, 3), (0, 3)), ((2, 0), (1, 1)), ((0,), ())) if whole else ()
        rows.append(OpCase(op, id, build, (Arg(a, low, high), Arg(b, low, high)), reference, zero=zero,
                           dtypes=dtypes_ if whole else ("float32",), **more))  # fmt: skip
    return rows


def _unary(op: str, build: Any, reference: Any, low: float = -2.0, high: float = 2.0, **more: Any) -> list[OpCase]:
    """The usual situations of an elementwise function."""
    dtypes_ = more.pop("dtypes", FLOATS)
    return [
        OpCase(op, "matrix", build, (Arg((2, 3), low, high),), reference, zero=(((0, 3),),), dtypes=dtypes_, **more),
        OpCase(op, "scalar", build, (Arg((), low, high),), reference, **more),
    ]


def _complex(op: str, build: Any, reference: Any, **more: Any) -> OpCase:
    return OpCase(op, "complex", build, (Arg((2, 3), dtype="complex128"),), reference, **more)


def _digamma(x: float) -> float:
    if x <= 0:
        return _digamma(1 - x) - scalar.pi / scalar.tan(scalar.pi * x)
    far = x + 1000
    return scalar.log(far) - 1 / (2 * far) - 1 / (12 * far * far) - scalar.fsum(1 / (x + k) for k in range(1000))


def _polygamma(order: int) -> Callable[[float], float]:
    def value(x: float) -> float:
        far = x + 2000
        rest = far**-order / order + far ** -(order + 1) / 2 + (order + 1) * far ** -(order + 2) / 12
        total = scalar.fsum((x + k) ** -(order + 1) for k in range(2000)) + rest
        return (-1) ** (order + 1) * scalar.factorial(order) * total

    return value


def _truncated(x: Any, y: Any) -> Any:
    return np.vectorize(lambda a, b: abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1), otypes=[x.dtype])(
        x, y
    )


def _slope(function: Any) -> Callable[..., Any]:
    """The gradients of the sum of a function's values, as what a row builds."""
    return lambda *xs: gradients(function(*xs), list(xs))


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


ARITHMETIC: list[OpCase] = [
    *_binary("Add", math.add, lambda x, y: x + y),
    *_binary("Sub", math.subtract, lambda x, y: x - y, dtypes=(*FLOATS, "int32", "complex128")),
    *_binary("Mul", math.multiply, lambda x, y: x * y),
    *_binary("RealDiv", math.realdiv, lambda x, y: x / y, 0.5, 2.0, dtypes=(*FLOATS, "complex128")),
    *_binary("SquaredDifference", math.squared_difference, lambda x, y: (x - y) ** 2, dtypes=(*FLOATS, "int32")),
    *_binary("DivNoNan", math.div_no_nan, lambda x, y: x / y, 0.5, 2.0, dtypes=FLOATS, analytic=False),
    *_binary("Maximum", math.maximum, np.maximum, analytic=False, dtypes=REALS),
    *_binary("Minimum", math.minimum, np.minimum, analytic=False, dtypes=REALS),
    *_binary("FloorDiv", math.floor_div, lambda x, y: np.floor(x / y), 0.5, 9.5, dtypes=("float32",), wrt=()),
    *_binary("FloorMod", math.floormod, lambda x, y: x - y * np.floor(x / y), 1.5, 9.5, dtypes=("float32",),
    analytic=False),
    *_binary("TruncateDiv", math.truncatediv, lambda x, y: np.trunc(x / y), 0.5, 9.5, dtypes=("float32",), wrt=()),
    *_binary("TruncateMod", math.truncatemod, lambda x, y: x - y * np.trunc(x / y), 1.5, 9.5, dtypes=("float32",),
    analytic=False),
    *_binary("Pow", math.pow, lambda x, y: x**y, 0.5, 2.0, dtypes=FLOATS),
    *_binary("Atan2", trigonometry.atan2, _each(scalar.atan2), 0.3, 2.0, dtypes=("float16", "float32"), analytic=False),
    *_binary("Complex", math.complex, lambda x, y: x + 1j * y, dtypes=("float32",), analytic=False),
    OpCase("Add", "special values", math.add, _PAIRS, lambda x, y: x + y, wrt=()),
    OpCase("Mul", "special values", math.multiply, _PAIRS, lambda x, y: x * y, wrt=()),
    OpCase("Mul", "with itself", lambda x: x * x, (Arg((2, 3)),), lambda x: x * x),
    OpCase("Mul", "complex", math.multiply, (Arg((2, 3), dtype="complex128"), Arg((3,), dtype="complex128")),
           lambda x, y: x * y),
    OpCase("RealDiv", "complex", math.realdiv, (Arg((2, 3), dtype="complex128"), Arg((3,), 1.0, 2.0, "complex128")),
           lambda x, y: x / y),
    OpCase("RealDiv", "special values", math.realdiv, _PAIRS, lambda x, y: x / y, wrt=()),
    OpCase("Maximum", "special values", math.maximum, _PAIRS, np.maximum, wrt=()),
    OpCase("Minimum", "special values", math.minimum, _PAIRS, np.minimum, wrt=()),
    OpCase("Maximum", "a tie goes to the first", _slope(math.maximum),
           (np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])),
           lambda x, y: [np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])], wrt=()),
    OpCase("Minimum", "a tie goes to the first", _slope(math.minimum),
           (np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])),
           lambda x, y: [np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])], wrt=()),
    OpCase("DivNoNan", "by zero", math.div_no_nan, _PAIRS,
           lambda x, y: np.where(y == 0, 0.0, x / np.where(y == 0, 1.0, y)), wrt=()),
    OpCase("FloorDiv", "integers", math.floordiv, (_int(7, -7, 7, -7, 0), _int(2, 2, -2, -2, 3)),
           lambda x, y: _int(3, -4, -4, 3, 0)),
    OpCase("FloorDiv", "integer scalars", math.floordiv, (np.int64(-7), np.int64(2)), lambda x, y: np.int64(-4)),
    OpCase("FloorMod", "integers", math.mod, (_int(7, -7, 7, -7, 0), _int(2, 2, -2, -2, 3)),
           lambda x, y: _int(1, 1, -1, -1, 0)),
    OpCase("FloorMod", "integer scalars", math.mod, (np.int32(-7), np.int32(4)), lambda x, y: np.int32(1)),
    OpCase("FloorMod", "negative", math.mod, (np.array([-3.5, 3.5, -3.5]), np.array([2.0, -2.0, -2.0])),
           lambda x, y: np.array([0.5, -0.5, -1.5]), wrt=()),
    OpCase("TruncateDiv", "integers", math.truncatediv, (_int(7, -7, 7, -7, 0, -(2**31)), _int(2, 2, -2, -2, 3, 3)),
           _truncated),
    OpCase("TruncateMod", "integers", math.truncatemod, (_int(7, -7, 7, -7), _int(2, 2, -2, -2)),
           lambda x, y: _int(1, -1, 1, -1)),
    OpCase("FloorDiv", "tf.div of integers", math.div, (_int(-7, 7), _int(2, 2)), lambda x, y: _int(-4, 3)),
    OpCase("RealDiv", "tf.div of floats", math.div, (Arg((3,)), Arg((3,), 1.0)), lambda x, y: x / y),
    OpCase("RealDiv", "integers", math.truediv, (_int(-7, 7), _int(2, 2)), lambda x, y: np.array([-3.5, 3.5])),
    OpCase("RealDiv", "short integers", math.divide, (_int(-7, 7, dtype=np.int8), _int(2, 4, dtype=np.int8)),
           lambda x, y: np.array([-3.5, 1.75], np.float32)),
    OpCase("RealDiv", "one by a tensor", lambda x: 1 / x, (Arg((3,), 1.0),), lambda x: 1 / x),
    OpCase("AddN", "three", lambda *xs: math.add_n(xs), (Arg((2, 3)), Arg((2, 3)), Arg((2, 3))),
           lambda *xs: xs[0] + xs[1] + xs[2],
           dtypes=NUMBERS, zero=(((0, 3),) * 3,)),
    OpCase("AddN", "one", lambda x: math.add_n([x]), (Arg((2, 3)),), lambda x: x),
    OpCase("AddN", "scalars", lambda *xs: math.accumulate_n(list(xs)), (Arg(()), Arg(()), Arg(())),
           lambda *xs: sum(xs)),
    OpCase("SumTo", "rows", lambda x: math.sum_to(x, [3]), (Arg((2, 3)),), lambda x: x.sum(0), dtypes=FLOATS,
           zero=(((0, 3),),)),
    OpCase("SumTo", "columns", lambda x: math.sum_to(x, [2, 1]), (Arg((4, 2, 3)),), lambda x: x.sum(0).sum(1)[:, None]),
    OpCase("SumTo", "scalar", lambda x: math.sum_to(x, np.zeros(0, np.int32)), (Arg((2, 3)),), lambda x: x.sum()),
    OpCase("SumTo", "nothing to do", lambda x: math.sum_to(x, [2, 3]), (Arg((2, 3)),), lambda x: x),
    OpCase("tf.scalar_mul", "matrix", lambda x: math.scalar_mul(3.0, x), (Arg((2, 3)),), lambda x: 3 * x),
    OpCase("tf.approximate_equal", "vector", lambda x, y: math.approximate_equal(x, y, 0.1),
           (np.array([1.0, 2.0]), np.array([1.05, 2.2])), lambda x, y: np.array([True, False]), wrt=()),
]  # fmt: skip

UNARY: list[OpCase] = [
    *_unary("Neg", math.negative, lambda x: -x, dtypes=NUMBERS),
    *_unary("Square", math.square, lambda x: x * x, dtypes=NUMBERS),
    *_unary("Abs", math.abs, np.abs, analytic=False, dtypes=REALS),
    *_unary("Sign", math.sign, np.sign, analytic=False, dtypes=REALS),
    *_unary("Reciprocal", math.reciprocal, lambda x: 1 / x, 0.5),
    *_unary("Floor", math.floor, np.floor, -9.0, 9.0, wrt=()),
    *_unary("Ceil", math.ceil, np.ceil, -9.0, 9.0, wrt=()),
    *_unary("Rint", math.rint, np.round, -9.0, 9.0, wrt=()),
    *_unary("Round", math.round, np.round, -9.0, 9.0, wrt=()),
    *_unary("Sqrt", math.sqrt, lambda x: x**0.5, 0.1),
    *_unary("Rsqrt", math.rsqrt, lambda x: x**-0.5, 0.1),
    *_unary("Exp", math.exp, np.exp),
    *_unary("Expm1", math.expm1, np.expm1),
    *_unary("Log", math.log, np.log, 0.1),
    *_unary("Log1p", math.log1p, np.log1p, -0.9),
    *_unary("Tanh", math.tanh, np.tanh),
    *_unary("Sigmoid", math.sigmoid, _sigmoid, -5.0, 5.0),
    *_unary("Sin", trigonometry.sin, np.sin),
    *_unary("Cos", trigonometry.cos, np.cos),
    *_unary("Tan", trigonometry.tan, np.tan, -1.0, 1.0),
    *_unary("Asin", trigonometry.asin, np.arcsin, -0.9, 0.9),
    *_unary("Acos", trigonometry.acos, np.arccos, -0.9, 0.9),
    *_unary("Atan", trigonometry.atan, np.arctan),
    *_unary("Sinh", trigonometry.sinh, np.sinh),
    *_unary("Cosh", trigonometry.cosh, np.cosh),
    *_unary("Asinh", trigonometry.asinh, np.arcsinh),
    *_unary("Acosh", trigonometry.acosh, np.arccosh, 1.2, 3.0),
    *_unary("Atanh", trigonometry.atanh, np.arctanh, -0.9, 0.9),
    *_unary("Erf", special.erf, _each(scalar.erf), -3.0, 3.0, analytic=False),
    *_unary("Erfc", special.erfc, _each(scalar.erfc), -3.0, 3.0, analytic=False),
    *_unary("Lgamma", special.lgamma, _each(scalar.lgamma), 0.2, 9.0, analytic=False),
    *_unary("Digamma", special.digamma, _each(_digamma), 0.2, 9.0, analytic=False),
    *_unary("Polygamma", lambda x: special.polygamma(1, x), _each(_polygamma(1)), 0.2, 9.0, analytic=False),
    OpCase("Polygamma", "order 3", lambda x: special.polygamma(3, x), (Arg((4,), 0.5, 20.0),), _each(_polygamma(3)),
           analytic=False),
    OpCase("Abs", "special values", math.abs, (_SPECIAL,), np.abs, wrt=()),
    OpCase("Abs", "complex", math.abs, (Arg((2, 3), 0.5, dtype="complex128"),), np.abs, analytic=False,
           zero=(((0, 3),),)),
    OpCase("Sign", "special values", math.sign, (_SPECIAL,), lambda x: np.array([0.0, 0, 1, -1, 1, -1, np.nan]),
           wrt=()),
    OpCase("Sign", "complex", math.sign, (Arg((2, 3), 0.5, dtype="complex128"),), lambda x: x / np.abs(x),
           analytic=False),
    OpCase("Round", "halves go to the even side", math.round, (np.array([0.5, 1.5, 2.5, -0.5, -1.5]),),
           lambda x: np.array([0.0, 2.0, 2.0, -0.0, -2.0]), wrt=()),
    OpCase("tf.round", "integers", math.round, (_int(3, -4),), lambda x: x),
    OpCase("Pow", "integers", math.pow, (_int(2, -3, 5), _int(3, 2, 0)), lambda x, y: _int(8, 9, 1)),
    OpCase("Pow", "squared", lambda x: x**2, (Arg((2, 3)),), lambda x: x * x),
    OpCase("Pow", "constant exponent", lambda x: x**3.5, (Arg((2, 3), 0.2),), lambda x: x**3.5),
    OpCase("Pow", "negative base, whole exponent", lambda x: math.pow(x, 3.0), (Arg((2, 3), -2.0, -0.5),),
           lambda x: x * x * x),
    OpCase("Pow", "constant base", lambda x: 2.0**x, (Arg((2, 3)),), lambda x: 2.0**x),
    OpCase("Pow", "gradient at 0", lambda x: _slope(lambda v: v**0.0)(x) + _slope(lambda v: v**2.0)(x),
           (np.array([0.0, 1.0]),),
           lambda x: [np.zeros(2), 2 * x], wrt=()),
    OpCase("Pow", "no logarithm below 0", _slope(math.pow), (np.array([-2.0, 0.0, 2.0]), np.array([2.0, 2.0, 2.0])),
           lambda x, y: [2 * x, np.array([0.0, 0.0, 4 * np.log(2.0)])], wrt=()),
    OpCase("Pow", "complex", math.pow, (Arg((3,), 0.5, 2.0, "complex128"), Arg((3,), dtype="complex128")),
           lambda x, y: x**y),
    OpCase("Sigmoid", "far out", math.sigmoid,
           (np.array([-1000.0, -700.0, -40.0, 40.0, 1000.0, np.inf, -np.inf, np.nan]),),
           _sigmoid, wrt=()),
    OpCase("Log", "special values", math.log, (_SPECIAL,), np.log, wrt=()),
    OpCase("Sqrt", "special values", math.sqrt, (_SPECIAL,), np.sqrt, wrt=()),
    OpCase("Rsqrt", "special values", math.rsqrt, (_SPECIAL,), lambda x: 1 / np.sqrt(x), wrt=()),
    OpCase("SigmoidGrad", "matrix", math.sigmoid_grad, (Arg((2, 3), 0.1, 0.9), Arg((2, 3))),
           lambda y, d: d * y * (1 - y),
           dtypes=FLOATS, zero=(((0, 3), (0, 3)),)),
    OpCase("SigmoidGrad", "scalar", math.sigmoid_grad, (Arg(()), Arg(())), lambda y, d: d * y * (1 - y)),
    OpCase("TanhGrad", "matrix", math.tanh_grad, (Arg((2, 3)), Arg((2, 3))), lambda y, d: d * (1 - y * y),
           dtypes=FLOATS, zero=(((0, 3), (0, 3)),)),
    OpCase("TanhGrad", "scalar", math.tanh_grad, (Arg(()), Arg(())), lambda y, d: d * (1 - y * y)),
    OpCase("Erf", "all over", special.erf,
           (np.concatenate([np.linspace(-7.0, 7.0, 57), _SPECIAL, [1e-300, 1.0, -1.0]]),),
           _each(scalar.erf), wrt=()),
    OpCase("Erfc", "small values too", lambda x: math.log(special.erfc(x)), (np.linspace(-7.0, 26.0, 67),),
           _each(lambda x: scalar.log(scalar.erfc(x))), wrt=(), dtypes=()),
    OpCase("Lgamma", "all over", special.lgamma,
           (np.array([1e-300, 1e-9, 0.5, 1.0, 1 + 1e-9, 2.0, 2 - 1e-9, 7.99, 8.0, 33.3, 1e10, -0.5, -1.5, -7.3,
           np.inf]),),
           _each(scalar.lgamma), wrt=(), dtypes=()),
    OpCase("Lgamma", "poles", special.lgamma, (np.array([0.0, -0.0, -1.0, -7.0, -np.inf, np.nan]),),
           lambda x: np.array([np.inf] * 5 + [np.nan]), wrt=()),
    OpCase("Lgamma", "negative", special.lgamma, (np.array([-0.3, -1.6, -5.2]),), _each(scalar.lgamma), analytic=False),
    OpCase("Digamma", "negative", special.digamma, (np.array([-0.3, -1.6, -5.2]),), _each(_digamma), analytic=False),
    OpCase("Digamma", "poles", special.digamma, (np.array([0.0, -0.0, -1.0, np.inf, np.nan]),),
           lambda x: np.array([-np.inf, np.inf, np.nan, np.inf, np.nan]), wrt=()),
    OpCase("tf.lbeta", "rows", special.lbeta, (Arg((2, 3), 0.5, 4.0),),
           lambda x: np.array([sum(scalar.lgamma(v) for v in row) - scalar.lgamma(sum(row)) for row in x]),
           analytic=False),
]  # fmt: skip

COMPLEX: list[OpCase] = [
    *[_complex(op, build, reference) for op, build, reference in [
        ("Square", math.square, lambda x: x * x), ("Reciprocal", math.reciprocal, lambda x: 1 / x),
        ("Sqrt", math.sqrt, np.sqrt), ("Rsqrt", math.rsqrt, lambda x: 1 / np.sqrt(x)), ("Exp", math.exp, np.exp),
        ("Expm1", math.expm1, np.expm1), ("Log", math.log, np.log), ("Log1p", math.log1p, np.log1p),
        ("Tanh", math.tanh, np.tanh), ("Sigmoid", math.sigmoid, _sigmoid), ("Sin", trigonometry.sin, np.sin),
        ("Cos", trigonometry.cos, np.cos), ("Tan", trigonometry.tan, np.tan), ("Sinh", trigonometry.sinh, np.sinh),
        ("Cosh", trigonometry.cosh, np.cosh), ("Asinh", trigonometry.asinh, np.arcsinh),
        ("Asin", trigonometry.asin, np.arcsin),
        ("Atan", trigonometry.atan, np.arctan), ("Acos", trigonometry.acos, np.arccos),
        ("Atanh", trigonometry.atanh, np.arctanh),
        ("Acosh", trigonometry.acosh, np.arccosh),
    ]],
    OpCase("Conj", "matrix", math.conj, (Arg((2, 3), dtype="complex128"),), lambda x: x.real - 1j * x.imag,
           zero=(((0, 3),),)),
    OpCase("tf.conj", "real", math.conj, (Arg((2, 3)),), lambda x: x),
    OpCase("Real", "matrix", math.real, (Arg((2, 3), dtype="complex128"),), lambda x: x.real, zero=(((0, 3),),)),
    OpCase("Imag", "matrix", math.imag, (Arg((2, 3), dtype="complex128"),), lambda x: x.imag, zero=(((0, 3),),)),
    OpCase("Real", "scalar", math.real, (Arg((), dtype="complex128"),), lambda x: x.real),
    OpCase("tf.imag", "real", math.imag, (Arg((2, 3)),), np.zeros_like, wrt=()),
    OpCase("Angle", "matrix", math.angle, (Arg((2, 3), 0.3, dtype="complex128"),), lambda x: np.arctan2(x.imag, x.real),
           zero=(((0, 3),),)),
]  # fmt: skip


def _compared(op: str, build: Any, symbol: Any) -> list[OpCase]:
    one_by_one = np.vectorize(symbol, otypes=[bool])
    return [
        OpCase(
            op, "special values", build, _PAIRS, one_by_one, wrt=(), dtypes=FLOATS, zero=(((0,), (0,)), ((0, 3), (1,)))
        ),
        OpCase(op, "integers", build, (_int(1, 2, 3), _int(3, 2, 1)), one_by_one),
        OpCase(op, "scalars", build, (Arg(()), Arg(())), one_by_one, wrt=(), dtypes=(*FLOATS, "int32")),
        OpCase(op, "broadcast", build, (_int(1, 2, 3), np.array([[2], [3]], np.int32)), one_by_one),
    ]


def _logic(op: str, build: Any, table: Any) -> list[OpCase]:
    t, f = np.True_, np.False_
    return [
        OpCase(op, "table", build, (np.array([t, t, f, f]), np.array([t, f, t, f])),
               lambda x, y: np.array(table)[: len(x)],
               zero=(((0,), (0,)),)),
        OpCase(op, "scalars", build, (t, f), lambda x, y: np.bool_(table[1])),
        OpCase(op, "broadcast", build, (np.array([[t], [f]]), np.array([t, f])),
               lambda x, y: np.array(table).reshape(2, 2)),
    ]  # fmt: skip


COMPARISONS: list[OpCase] = [
    *_compared("Equal", compare.equal, lambda a, b: a == b),
    *_compared("NotEqual", compare.not_equal, lambda a, b: a != b),
    *_compared("Less", compare.less, lambda a, b: a < b),
    *_compared("LessEqual", compare.less_equal, lambda a, b: a <= b),
    *_compared("Greater", compare.greater, lambda a, b: a > b),
    *_compared("GreaterEqual", compare.greater_equal, lambda a, b: a >= b),
    OpCase("Equal", "text", compare.equal, (np.array([b"a", b"b"], object), np.array([b"a", b"c"], object)),
           lambda x, y: np.array([True, False])),
    OpCase("Equal", "booleans", compare.equal, (np.array([True, False]), np.array([True, True])),
           lambda x, y: np.array([True, False])),
    OpCase("NotEqual", "text and a literal", lambda x: compare.not_equal(x, "a"), (np.array([b"a", b"b"], object),),
           lambda x: np.array([False, True])),
    *_logic("LogicalAnd", compare.logical_and, [True, False, False, False]),
    *_logic("LogicalOr", compare.logical_or, [True, True, True, False]),
    *_logic("LogicalXor", compare.logical_xor, [False, True, True, False]),
    OpCase("LogicalNot", "vector", compare.logical_not, (np.array([True, False]),), lambda x: ~x, zero=(((0,),),)),
    OpCase("LogicalNot", "operator", lambda x: ~x, (np.True_,), lambda x: np.False_),
    OpCase("IsNan", "vector", compare.is_nan, (_SPECIAL,), lambda x: x != x, wrt=(), dtypes=FLOATS, zero=(((0,),),)),
    OpCase("IsInf", "vector", compare.is_inf, (_SPECIAL,), lambda x: np.abs(x) == np.inf, wrt=(), dtypes=FLOATS,
           zero=(((0,),),)),
    OpCase("IsFinite", "vector", compare.is_finite, (_SPECIAL,), lambda x: np.abs(x) < np.inf, wrt=(), dtypes=FLOATS,
           zero=(((0,),),)),
]  # fmt: skip


def _by_norm(x: Any, limit: float, axes: Any = None) -> Any:
    norm = np.sqrt((x * x).sum(axis=axes, keepdims=True))
    return np.where(norm > limit, x * limit / np.where(norm > 0, norm, 1.0), x)


def _by_global_norm(limit: float) -> Callable[..., Any]:
    def reference(*xs: Any) -> list[Any]:
        norm = np.sqrt(sum((x * x).sum() for x in xs))
        return [*[x * (limit / max(norm, limit)) for x in xs], norm]

    return reference


def _rows(values: Any) -> IndexedSlices:
    return IndexedSlices(values, core.constant([0, 2]), core.constant([4, 3]))


CLIPPING: list[OpCase] = [
    OpCase("ClipByValue", "numbers", lambda x: clip.clip_by_value(x, -0.5, 1.0), (Arg((3, 4)),),
           lambda x: np.minimum(np.maximum(x, -0.5), 1.0), analytic=False, dtypes=REALS[:3], zero=(((0, 4),),)),
    OpCase("ClipByValue", "integers", lambda x: clip.clip_by_value(x, 0, 3), (_int(-1, 2, 9),),
           lambda x: _int(0, 2, 3)),
    OpCase("ClipByValue", "tensors", clip.clip_by_value, (Arg((3, 4)), Arg((4,), -1.0, 0.0), Arg((3, 1), 0.5, 1.0)),
           lambda x, a, b: np.minimum(np.maximum(x, a), b), analytic=False),
    OpCase("ClipByValue", "scalar", lambda x: clip.clip_by_value(x, -0.1, 0.1), (Arg(()),),
           lambda x: np.clip(x, -0.1, 0.1),
           analytic=False),
    OpCase("ClipByValue", "special values", lambda x: clip.clip_by_value(x, -1.0, 2.0), (_SPECIAL,),
           lambda x: np.array([0.0, -0.0, 1.5, -1.0, 2.0, -1.0, np.nan]), wrt=()),
    OpCase("ClipByValue", "the bounds are inside", _slope(lambda x: clip.clip_by_value(x, -1.0, 1.0)),
           (np.array([-2.0, -1.0, 0.0, 1.0, 2.0]),), lambda x: np.array([0.0, 1, 1, 1, 0]), wrt=()),
    OpCase("ClipByValue", "rows", lambda x: clip.clip_by_value(_rows(x), -1.0, 1.0).values, (Arg((2, 3)),),
           lambda x: np.clip(x, -1, 1), analytic=False),
    OpCase("tf.clip_by_norm", "clips", lambda x: clip.clip_by_norm(x, 0.5), (Arg((3, 4)),), lambda x: _by_norm(x, 0.5),
           analytic=False, zero=(((0, 4),),)),
    OpCase("tf.clip_by_norm", "leaves", lambda x: clip.clip_by_norm(x, 50.0), (Arg((3, 4)),), lambda x: x,
           analytic=False),
    OpCase("tf.clip_by_norm", "rows", lambda x: clip.clip_by_norm(x, 1.5, [1]), (Arg((3, 4)),),
           lambda x: _by_norm(x, 1.5, 1),
           analytic=False),
    OpCase("tf.clip_by_norm", "zeros", lambda x: [clip.clip_by_norm(x, 1.0), *gradients(clip.clip_by_norm(x, 1.0), x)],
           (np.zeros((2, 2)),), lambda x: [x, np.ones((2, 2))], wrt=()),
    OpCase("tf.clip_by_norm", "of slices", lambda x: clip.clip_by_norm(_rows(x), 0.5).values, (Arg((2, 3)),),
           lambda x: _by_norm(x, 0.5), analytic=False),
    OpCase("tf.clip_by_average_norm", "clips", lambda x: clip.clip_by_average_norm(x, 0.01), (Arg((3, 4)),),
           lambda x: x * 0.01 * min(x.size / np.sqrt((x * x).sum()), 100.0), analytic=False),
    OpCase("tf.global_norm", "two", lambda x, y: clip.global_norm([x, None, y]), (Arg((3, 4)), Arg((2,))),
           lambda x, y: np.sqrt((x * x).sum() + (y * y).sum()), analytic=False),
    OpCase("tf.global_norm", "one", lambda x: clip.global_norm([x]), (Arg((3,)),), lambda x: np.sqrt((x * x).sum())),
    OpCase("tf.clip_by_global_norm", "clips", lambda x, y: list(clip.clip_by_global_norm([x, y], 0.5)),
           (Arg((3, 4)), Arg((2,))),
           _by_global_norm(0.5), analytic=False),
    OpCase("tf.clip_by_global_norm", "leaves", lambda x, y: list(clip.clip_by_global_norm([x, y], 50.0)),
           (Arg((3, 4)), Arg((2,))),
           _by_global_norm(50.0), analytic=False),
    OpCase("tf.clip_by_global_norm", "an infinite norm is seen", lambda x: list(clip.clip_by_global_norm([x], 1.0)),
           (np.array([1.0, np.inf]),), lambda x: [np.full(2, np.nan), np.inf], wrt=()),
    OpCase("tf.clip_by_global_norm", "slices and a given norm",
           lambda x: clip.clip_by_global_norm([_rows(x)], 1.0, use_norm=2.0)[0][0].values, (Arg((2, 3)),),
           lambda x: x / 2,
           dtypes=("float32",), wrt=()),
]  # fmt: skip

CASES: list[OpCase] = [*ARITHMETIC, *UNARY, *COMPLEX, *COMPARISONS, *CLIPPING]


def _vector(*values: Any, dtype: Any = None) -> Any:
    return core.constant(list(values), dtype)


def _run(build: Any) -> Any:
    """Build and run: what is wrong can be seen only then."""
    return lambda: Session().run(build(core.placeholder_with_default(_vector(1, 0), [None])))


ERRORS: list[ErrorCase] = [
    ErrorCase("Add", "shapes", lambda: math.add(array.zeros([2]), array.zeros([3])), errors.ShapeError,
              r"broadcast.*\n.*\n.*\[2\] and \[3\]"),
    ErrorCase("Add", "dtypes", lambda: _vector(1) + _vector(1.0), errors.DTypeError, "promotes nothing"),
    ErrorCase("Add", "a fraction and an int32 tensor", lambda: _vector(1) + 1.5, errors.DTypeError, "int32"),
    ErrorCase("Add", "bools", lambda: _vector(True) + _vector(False), errors.DTypeError, "number"),
    ErrorCase("Mul", "text", lambda: _vector("a") * _vector("b"), errors.DTypeError, "number"),
    ErrorCase("Sub", "None", lambda: _vector(1) - None, errors.DTypeError, "None"),
    ErrorCase("SumTo", "floats for a shape", lambda: math.sum_to(_vector(1.0), _vector(1.0)), errors.DTypeError,
              "integers"),
    ErrorCase("AddN", "nothing", lambda: math.add_n([]), errors.InvalidArgumentError, "at least one"),
    ErrorCase("AddN", "shapes", lambda: math.add_n([array.zeros([2]), array.zeros([1])]), errors.ShapeError,
              "one shape"),
    ErrorCase("AddN", "another dtype", lambda: math.accumulate_n([_vector(1.0)], tensor_dtype="int32"),
              errors.DTypeError, "int32"),
    ErrorCase("Mul", "not a scalar", lambda: math.scalar_mul(_vector(1.0, 2.0), _vector(1.0)), errors.ShapeError,
              "scalar"),
    ErrorCase("RealDiv", "integers", lambda: math.realdiv(_vector(1), _vector(1)), errors.DTypeError, "inexact"),
    ErrorCase("RealDiv", "an integer by a float", lambda: _vector(1) / _vector(1.0), errors.DTypeError, "float"),
    ErrorCase("FloorDiv", "by zero", _run(lambda x: 7 // x), errors.InvalidArgumentError, "division by zero"),
    ErrorCase("FloorMod", "by zero", _run(lambda x: 7 % x), errors.InvalidArgumentError, "division by zero"),
    ErrorCase("FloorMod", "scalar by zero",
              lambda: Session().run(core.constant(7) % core.placeholder_with_default(0, [])),
              errors.InvalidArgumentError, "division by zero"),
    ErrorCase("TruncateDiv", "by zero", _run(lambda x: math.truncatediv(x, x)), errors.InvalidArgumentError,
              "division by zero"),
    ErrorCase("Maximum", "complex", lambda: math.maximum(_vector(1j), _vector(1j)), errors.DTypeError, "real"),
    ErrorCase("Abs", "bool", lambda: math.abs(_vector(True)), errors.DTypeError, "number"),
    ErrorCase("Floor", "integers", lambda: math.floor(_vector(1)), errors.DTypeError, "float"),
    ErrorCase("Complex", "half", lambda: math.complex(_vector(1.0, dtype="float16"), _vector(1.0, dtype="float16")),
              errors.DTypeError, "float32 or float64"),
    ErrorCase("Real", "text", lambda: arithmetic._real(_vector("a")), errors.DTypeError, "complex"),
    ErrorCase("Pow", "negative integer power", _run(lambda x: x ** (x - 2)), errors.InvalidArgumentError,
              "negative integer power"),
    ErrorCase("Pow", "dtypes", lambda: _vector(1.0) ** _vector(2), errors.DTypeError, "float32"),
    ErrorCase("Exp", "integers", lambda: math.exp(_vector(1)), errors.DTypeError, "tf.cast"),
    ErrorCase("Tanh", "bool", lambda: math.tanh(_vector(True)), errors.DTypeError, "inexact"),
    ErrorCase("Sin", "integers", lambda: trigonometry.sin(_vector(1)), errors.DTypeError, "inexact"),
    ErrorCase("Atan2", "complex", lambda: trigonometry.atan2(_vector(1j), _vector(1j)), errors.DTypeError, "float"),
    ErrorCase("Atan2", "shapes", lambda: trigonometry.atan2(array.zeros([2]), array.zeros([3])), errors.ShapeError,
              "broadcast"),
    ErrorCase("Erf", "integers", lambda: special.erf(_vector(1)), errors.DTypeError, "float"),
    ErrorCase("Lgamma", "complex", lambda: special.lgamma(_vector(1j)), errors.DTypeError, "float"),
    ErrorCase("Polygamma", "order", lambda: special.polygamma(-1, _vector(1.0)), errors.InvalidArgumentError,
              "integer >= 0"),
    ErrorCase("Polygamma", "fractional order", lambda: special.polygamma(0.5, _vector(1.0)),
              errors.InvalidArgumentError, "integer"),
    ErrorCase("Equal", "dtypes", lambda: compare.equal(_vector(1), _vector(1.0)), errors.DTypeError,
              "promotes nothing"),
    ErrorCase("Equal", "shapes", lambda: compare.equal(array.zeros([2]), array.zeros([3])), errors.ShapeError,
              "broadcast"),
    ErrorCase("Less", "bools", lambda: compare.less(_vector(True), _vector(False)), errors.DTypeError, "real"),
    ErrorCase("Less", "text", lambda: _vector("a") < _vector("b"), errors.DTypeError, "real"),
    ErrorCase("LogicalAnd", "integers", lambda: _vector(1) & _vector(2), errors.DTypeError, "bool"),
    ErrorCase("LogicalNot", "integers", lambda: ~_vector(1), errors.DTypeError, "bool"),
    ErrorCase("IsNan", "integers", lambda: compare.is_nan(_vector(1)), errors.DTypeError, "float"),
    ErrorCase("ClipByValue", "larger limits", lambda: clip.clip_by_value(array.zeros([3]), array.zeros([2, 3]), 1.0),
              errors.ShapeError, "more dimensions"),
    ErrorCase("ClipByValue", "shapes", lambda: clip.clip_by_value(array.zeros([3]), array.zeros([2]), 1.0),
              errors.ShapeError, "broadcast"),
    ErrorCase("ClipByValue", "text", lambda: clip.clip_by_value(_vector("a"), "a", "b"), errors.DTypeError, "real"),
    ErrorCase("tf.clip_by_global_norm", "a tensor", lambda: clip.clip_by_global_norm(_vector(1.0), 1.0),
              errors.DTypeError, "list"),
    ErrorCase("tf.global_norm", "nothing", lambda: clip.global_norm([None]), errors.InvalidArgumentError,
              "at least one"),
    ErrorCase("tf.clip_by_norm", "grows", lambda: clip.clip_by_norm(array.zeros([1]), array.ones([4])),
              errors.ShapeError, "shape"),
]  # fmt: skip
