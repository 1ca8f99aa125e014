"""The table of ops: what each computes on one element, as LLVM IR.

Policy: one row an op, with the semantics of the NumPy kernels; arithmetic, comparisons and choices give their bits,
the functions of `polynomials` stay within its bounds.  A row returns None for what it does not do (a dtype, a
power of float64), and the group is left to NumPy.

State: the table, filled on import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from graphflow_numpy.native import in_double, polynomials, trigonometry
from graphflow_numpy.native.emission import BITS, FLOATS, Emitter, V

Emit = Callable[..., "V | None"]  # (emitter, *inputs, **attrs) -> result
F = TypeVar("F", bound=Emit)

TABLE: dict[str, Emit] = {}

# How far a result may be from the exact one, in units in the last place, for ops that do not give NumPy's very bits.
ULP: dict[str, float] = {
    **{name.capitalize(): bound for (name, _), bound in sorted(polynomials.ULP.items(), key=lambda row: row[1])},
    **dict.fromkeys(("Tan", "Sinh", "Cosh"), 0.51),
    "Erfc": 0.75,
    "Pow": 2.0,  # 0.51 for float32 and exponents that no multiplication makes
    "Elu": 2.0,
    "Selu": 3.5,
    "Softplus": 2.5,
    "SoftplusGrad": 2.5,  # 0 where exp(-x) overflows, as NumPy has it
}

# graphflow's dtypes as element types: in registers, and in memory.
ELEMENTS: Mapping[str, tuple[str, str, bool]] = {
    "float32": ("float", "float", False),
    "float64": ("double", "double", False),
    "int8": ("i8", "i8", False),
    "int16": ("i16", "i16", False),
    "int32": ("i32", "i32", False),
    "int64": ("i64", "i64", False),
    "uint8": ("i8", "i8", True),
    "uint16": ("i16", "i16", True),
    "uint32": ("i32", "i32", True),
    "uint64": ("i64", "i64", True),
    "bool": ("i1", "i8", False),
}


def row(name: str, only: frozenset[str] | None = None) -> Callable[[F], F]:
    """Decorator: add one row, for these element types of its first input."""

    def add(function: F) -> F:
        TABLE[name] = function if only is None else _restricted(function, only)
        return function

    return add


def rows(functions: Mapping[str, Emit], only: frozenset[str] | None = None) -> None:
    """Add several rows."""
    for name, function in functions.items():
        row(name, only)(function)


def _restricted(function: Emit, only: frozenset[str]) -> Emit:
    def emit(e: Emitter, x: V, *rest: V, **attrs: Any) -> V | None:
        return function(e, x, *rest, **attrs) if x.elem in only else None

    return emit


NUMBERS = frozenset(BITS) - {"i1"}
FLOAT32 = frozenset({"float"})

# -- arithmetic ------------------------------------------------------------------------------------------------------

rows({"Add": Emitter.add, "Sub": Emitter.sub, "Mul": Emitter.mul, "Neg": Emitter.neg}, NUMBERS)
rows({"Square": lambda e, x: e.mul(x, x)}, NUMBERS)
rows(
    {
        "RealDiv": Emitter.div,
        "Sqrt": lambda e, x: e.intrinsic("sqrt", x),
        "Reciprocal": lambda e, x: e.div(e.like(1.0, x), x),
        "Rsqrt": lambda e, x: e.div(e.like(1.0, x), e.intrinsic("sqrt", x)),
        "Floor": lambda e, x: e.intrinsic("floor", x),
        "Ceil": lambda e, x: e.intrinsic("ceil", x),
        "Rint": lambda e, x: e.intrinsic("roundeven", x),
        "Round": lambda e, x: e.intrinsic("roundeven", x),
        "IsNan": Emitter.is_nan,
        "IsInf": lambda e, x: e.compare("eq", polynomials.absolute(e, x), e.like(float("inf"), x)),
        "IsFinite": lambda e, x: e.compare("lt", polynomials.absolute(e, x), e.like(float("inf"), x)),
    },
    FLOATS,
)


@row("SquaredDifference", NUMBERS)
def _squared_difference(e: Emitter, x: V, y: V) -> V:
    d = e.sub(x, y)
    return e.mul(d, d)


@row("DivNoNan", FLOATS)
def _div_no_nan(e: Emitter, x: V, y: V) -> V:
    zero = e.like(0.0, x)
    return e.select(e.compare("eq", y, zero), zero, e.div(x, y))


@row("AddN", NUMBERS)
def _add_n(e: Emitter, x: V, *rest: V) -> V:
    for y in rest:
        x = e.add(x, y)
    return x


@row("Abs", NUMBERS)
def _abs(e: Emitter, x: V) -> V:
    if x.elem in FLOATS:
        return polynomials.absolute(e, x)
    return x if x.unsigned else e.select(e.compare("lt", x, e.like(0, x)), e.neg(x), x)


@row("Sign", NUMBERS)
def _sign(e: Emitter, x: V) -> V:
    zero, one = e.like(0, x), e.like(1, x)
    negative = zero if x.unsigned else e.select(e.compare("lt", x, zero), e.like(-1, x), zero)
    found = e.select(e.compare("gt", x, zero), one, negative)
    return e.select(e.is_nan(x), x, found) if x.elem in FLOATS else found


def _first_if_nan(e: Emitter, x: V, found: V) -> V:
    """NaN of the first input counts, too; that of the second is chosen by any comparison."""
    return e.select(e.is_nan(x), x, found) if x.elem in FLOATS else found


@row("Maximum", NUMBERS)
def maximum(e: Emitter, x: V, y: V) -> V:
    """The larger; NaN if either is."""
    return _first_if_nan(e, x, e.select(e.compare("gt", x, y), x, y))


@row("Minimum", NUMBERS)
def minimum(e: Emitter, x: V, y: V) -> V:
    """The smaller; NaN if either is."""
    return _first_if_nan(e, x, e.select(e.compare("lt", x, y), x, y))


@row("ClipByValue", NUMBERS)
def _clip(e: Emitter, x: V, low: V, high: V) -> V:
    return maximum(e, minimum(e, x, high), low)


# -- powers ----------------------------------------------------------------------------------------------------------


def _repeated(e: Emitter, x: V, exponent: int) -> V:
    """A positive power by squaring."""
    found = None
    while exponent:
        if exponent & 1:
            found = x if found is None else e.mul(found, x)
        x = e.mul(x, x)
        exponent >>= 1
    assert found is not None
    return found


@row("Pow", FLOATS)
def _pow(e: Emitter, x: V, y: V) -> V | None:
    exponent = y.known
    one = e.like(1.0, x)
    if exponent in (1.0, 2.0, 3.0, 4.0):
        return _repeated(e, x, int(exponent))
    if exponent in (-1.0, -2.0):
        return e.div(one, _repeated(e, x, -int(exponent)))
    if exponent == 0.5:
        return e.intrinsic("sqrt", x)  # as NumPy has it
    if exponent == -0.5:
        # Unlike a root's, the power of -0 is infinite, and that of -inf is 0.
        infinite = e.compare("eq", x, e.like(float("-inf"), x))
        return e.div(one, e.select(infinite, e.like(float("inf"), x), e.intrinsic("sqrt", e.add(x, e.like(0.0, x)))))
    return in_double.power(e, x, y) if x.elem == "float" else None


# -- comparisons, logic, choices -------------------------------------------------------------------------------------

rows({
    "Equal": lambda e, x, y: e.compare("eq", x, y),
    "NotEqual": lambda e, x, y: e.compare("ne", x, y),
    "Less": lambda e, x, y: e.compare("lt", x, y),
    "LessEqual": lambda e, x, y: e.compare("le", x, y),
    "Greater": lambda e, x, y: e.compare("gt", x, y),
    "GreaterEqual": lambda e, x, y: e.compare("ge", x, y),
    "Select": Emitter.select,
})  # fmt: skip
rows(
    {
        "LogicalAnd": lambda e, x, y: e.bitwise("and", x, y),
        "LogicalOr": lambda e, x, y: e.bitwise("or", x, y),
        "LogicalXor": lambda e, x, y: e.bitwise("xor", x, y),
        "LogicalNot": lambda e, x: e.bitwise("xor", x, e.like(True, x)),
    },
    frozenset({"i1"}),
)


@row("ZeroUnless")
def _zero_unless(e: Emitter, condition: V, x: V, *, holds: bool) -> V:
    zero = e.like(0, x)
    return e.select(condition, x, zero) if holds else e.select(condition, zero, x)


@row("Cast")
def _cast(e: Emitter, x: V, *, dtype: Any) -> V | None:
    found = ELEMENTS.get(dtype.name)
    return None if found is None else cast(e, x, found[0], found[2])


def cast(e: Emitter, x: V, to: str, unsigned: bool = False) -> V:
    """The value in another element type; floats go to integers towards zero and stop at the limits."""
    if to == "i1":
        return e.compare("ne", x, e.like(0, x))
    if to == x.elem:
        return x._replace(unsigned=unsigned)
    if x.elem in FLOATS:
        if to in FLOATS:
            return e.convert("fpext" if to == "double" else "fptrunc", x, to)
        return e.saturated(x, to, unsigned)
    if to in FLOATS:
        return e.convert("uitofp" if x.unsigned or x.elem == "i1" else "sitofp", x, to)
    if BITS[to] < BITS[x.elem]:
        return e.convert("trunc", x, to, unsigned)
    return e.convert("zext" if x.unsigned or x.elem == "i1" else "sext", x, to, unsigned)


# -- functions -------------------------------------------------------------------------------------------------------

rows(
    {
        "Exp": polynomials.exp,
        "Expm1": polynomials.expm1,
        "Log": polynomials.log,
        "Log1p": polynomials.log1p,
        "Tanh": polynomials.tanh,
        "Sigmoid": polynomials.sigmoid,
    },
    FLOATS,
)
rows(
    {
        "Erf": polynomials.erf,
        "Erfc": in_double.erfc,
        "Sin": trigonometry.sin,
        "Cos": trigonometry.cos,
        "Tan": in_double.tan,
        "Sinh": in_double.sinh,
        "Cosh": in_double.cosh,
    },
    FLOAT32,
)


@row("SigmoidGrad", FLOATS)
def _sigmoid_grad(e: Emitter, y: V, dy: V) -> V:
    return e.mul(e.mul(e.sub(e.like(1.0, y), y), y), dy)


@row("TanhGrad", FLOATS)
def _tanh_grad(e: Emitter, y: V, dy: V) -> V:
    return e.mul(e.sub(e.like(1.0, y), e.mul(y, y)), dy)


# -- activations -----------------------------------------------------------------------------------------------------

SELU_SCALE = 1.0507009873554804934193349852946
SELU_SCALE_ALPHA = SELU_SCALE * 1.6732632423543772848170429916717


def _positive(e: Emitter, x: V) -> V:
    return maximum(e, x, e.like(0, x))


def _negative(e: Emitter, x: V) -> V:
    return minimum(e, x, e.like(0, x))


rows({"Relu": _positive}, NUMBERS)
rows({"Relu6": lambda e, x: minimum(e, _positive(e, x), e.like(6, x))}, NUMBERS)


@row("ReluGrad", FLOATS)
def _relu_grad(e: Emitter, dy: V, x: V) -> V:
    zero = e.like(0.0, x)
    return e.select(e.compare("gt", x, zero), dy, zero)


@row("Relu6Grad", FLOATS)
def _relu6_grad(e: Emitter, dy: V, x: V) -> V:
    zero = e.like(0.0, x)
    inside = e.bitwise("and", e.compare("gt", x, zero), e.compare("lt", x, e.like(6.0, x)))
    return e.select(inside, dy, zero)


@row("LeakyRelu", FLOATS)
def _leaky_relu(e: Emitter, x: V, *, alpha: float) -> V:
    return e.add(e.mul(_negative(e, x), e.like(alpha, x)), _positive(e, x))


@row("LeakyReluGrad", FLOATS)
def _leaky_relu_grad(e: Emitter, dy: V, x: V, *, alpha: float) -> V:
    return e.select(e.compare("gt", x, e.like(0.0, x)), dy, e.mul(dy, e.like(alpha, x)))


@row("Elu", FLOATS)
def _elu(e: Emitter, x: V) -> V:
    return e.add(_positive(e, x), polynomials.expm1(e, _negative(e, x)))


@row("EluGrad", FLOATS)
def _elu_grad(e: Emitter, dy: V, y: V) -> V:
    return e.mul(dy, e.add(_negative(e, y), e.like(1.0, y)))


@row("Selu", FLOATS)
def _selu(e: Emitter, x: V) -> V:
    below = e.mul(e.like(SELU_SCALE_ALPHA, x), polynomials.expm1(e, _negative(e, x)))
    return e.add(e.mul(e.like(SELU_SCALE, x), _positive(e, x)), below)


@row("SeluGrad", FLOATS)
def _selu_grad(e: Emitter, dy: V, y: V) -> V:
    scale = e.like(SELU_SCALE, y)
    below = e.add(y, e.like(SELU_SCALE_ALPHA, y))
    return e.mul(dy, e.select(e.compare("lt", y, e.like(0.0, y)), below, scale))


@row("Softplus", FLOATS)
def _softplus(e: Emitter, x: V) -> V:
    small = polynomials.exp(e, e.neg(polynomials.absolute(e, x)))
    return e.add(polynomials.log1p(e, small), _positive(e, x))


@row("SoftplusGrad", FLOATS)
def _softplus_grad(e: Emitter, dy: V, x: V) -> V:
    return e.div(dy, e.add(polynomials.exp(e, e.neg(x)), e.like(1.0, x)))


@row("Softsign", FLOATS)
def _softsign(e: Emitter, x: V) -> V:
    return e.div(x, e.add(polynomials.absolute(e, x), e.like(1.0, x)))


@row("SoftsignGrad", FLOATS)
def _softsign_grad(e: Emitter, dy: V, x: V) -> V:
    t = e.add(polynomials.absolute(e, x), e.like(1.0, x))
    return e.div(dy, e.mul(t, t))
