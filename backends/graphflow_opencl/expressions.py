"""The table of pointwise ops: what each computes on registers, as one OpenCL C expression.

Policy: one row an op type, with the semantics of the NumPy kernels: NaN, zeros of both signs, wrapping integers, casts.
Arithmetic, comparisons and choices give NumPy's bits in float32 and wider; half precision is computed in float32 and
rounded where it is stored or cast.  A row that has nothing for its dtypes (complex numbers, text) gives None.  What an
op refuses stands in `FAILS`; the expression itself is defined, whatever it gives, for refused elements too.

State: the tables, filled on import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from graphflow.dtypes import DType
from graphflow.errors import InvalidArgumentError
from graphflow_opencl import integers, polynomials, special
from graphflow_opencl.registers import (
    REGISTERS,
    Register,
    broadcast_scalar,
    constant,
    held,
    literal,
    load,
    mask,
    register_type,
    storage_type,
    store,
    truth,
    vector,
)

__all__ = [
    "EXPRESSIONS", "FAILS", "Register", "broadcast_scalar", "constant", "expression", "literal", "load", "mask",
    "register_type", "storage_type", "store", "truth",
]  # fmt: skip

FUNCTIONS = integers, polynomials, special  # their functions in C are in the library once they are imported


class Place(NamedTuple):
    """What a row may know beside its arguments."""

    inputs: Sequence[DType]
    output: DType
    width: int
    attrs: Mapping[str, Any]
    known: Sequence[Any]  # for each argument its value, if it is one constant; else None

    @property
    def dtype(self) -> DType:
        """The dtype of the last input: of the operands, where a condition comes first."""
        return self.inputs[-1]

    @property
    def register(self) -> str:
        """The C type of that."""
        return register_type(self.dtype, self.width)

    @property
    def unsigned(self) -> str:
        """The unsigned C type of the same size, in which integers wrap around."""
        scalar = REGISTERS[self.dtype.name].scalar
        return vector(scalar if scalar.startswith("u") else f"u{scalar}", self.width)

    def constant(self, value: Any) -> str:
        """A number of that dtype in every element."""
        return constant(self.dtype, self.width, value)

    def choice(self, comparison: str, x: str, y: str) -> str:
        """One of two registers by a comparison between registers of that dtype."""
        return f"(({comparison}) ? {x} : {y})"


Builder = Callable[..., "str | None"]  # (place, *arguments) -> an expression
B = TypeVar("B", bound=Builder)

EXPRESSIONS: dict[str, Builder] = {}
KINDS = {
    "float": ("float",),
    "number": ("float", "int", "uint"),
    "any": ("float", "int", "uint", "bool"),
    "integer": ("int", "uint"),
    "bool": ("bool",),
}


def expression(
    ins_type: str,
    attrs: Mapping[str, Any],
    arguments: Sequence[str],
    inputs: Sequence[DType],
    output: DType,
    width: int,
    known: Sequence[Any] | None = None,
) -> str | None:
    """C text computing the op on the registers that the arguments name; None if there is none for those dtypes.

    An argument is a name, or a literal of `registers`; `known` may tell the values of constants among them.
    """
    builder = EXPRESSIONS.get(ins_type)
    if builder is None or not all(held(d) for d in (*inputs, output)):
        return None
    return builder(Place(inputs, output, width, attrs, known or (None,) * len(inputs)), *arguments)


def row(kind: str, *types: str) -> Callable[[B], B]:
    """Decorator: add rows of these op types, for operands of that kind."""

    def add(builder: B) -> B:
        for name in types:
            if name in EXPRESSIONS:
                raise KeyError(f"two expressions for {name}")
            EXPRESSIONS[name] = lambda p, *a: builder(p, *a) if p.dtype.kind in KINDS[kind] else None
        return builder

    return add


def rows(kind: str, builders: Mapping[str, Builder]) -> None:
    """Add several rows."""
    for name, builder in builders.items():
        row(kind, name)(builder)


# -- arithmetic ------------------------------------------------------------------------------------------------------


def _operator(sign: str) -> Callable[..., str]:
    """Sums and products of any number of operands; those of integers are computed without sign, and wrap around."""

    def build(p: Place, *arguments: str) -> str:
        if not p.dtype.is_integer:
            text = arguments[0]
            for y in arguments[1:]:
                text = f"({text} {sign} {y})"
            return text
        promoted = "1u * " if p.width == 1 and p.dtype.size < 4 else ""  # see `integers`
        text = f"as_{p.unsigned}({arguments[0]})"
        for y in arguments[1:]:
            text = f"({promoted}{text} {sign} as_{p.unsigned}({y}))"
        return f"as_{p.register}(({p.unsigned}){text})"

    return build


_add, _subtract, _multiply = _operator("+"), _operator("-"), _operator("*")


def _negative(p: Place, x: str) -> str:
    return _subtract(p, p.constant(0), x) if p.dtype.is_integer else f"(-{x})"


def _absolute(p: Place, x: str) -> str:
    if p.dtype.is_floating:
        return f"fabs({x})"
    return x if p.dtype.is_unsigned else p.choice(f"{x} < {p.constant(0)}", _negative(p, x), x)


def _sign(p: Place, x: str) -> str:
    zero, one = p.constant(0), p.constant(1)
    if p.dtype.is_unsigned:
        return p.choice(f"{x} > {zero}", one, zero)
    rest = p.choice(f"{x} == {zero}", zero, x) if p.dtype.is_floating else zero  # NaN is its own sign
    return p.choice(f"{x} > {zero}", one, p.choice(f"{x} < {zero}", p.constant(-1), rest))


rows("number", {
    "Add": _add, "AddN": _add, "BiasAdd": _add, "Sub": _subtract, "Mul": _multiply, "Neg": _negative,
    "Square": lambda p, x: _multiply(p, x, x),
    "Abs": _absolute, "Sign": _sign,
})  # fmt: skip


@row("number", "SquaredDifference")
def _squared_difference(p: Place, x: str, y: str) -> str:
    difference = _subtract(p, x, y)
    return _multiply(p, difference, difference)


def maximum(p: Place, x: str, y: str) -> str:
    """The larger; NaN if either is: the inner choice, one instruction on a CPU, is `y` if so."""
    if not p.dtype.is_floating:
        return p.choice(f"{x} > {y}", x, y)
    return p.choice(f"{x} != {x}", x, p.choice(f"{x} > {y}", x, y))


def minimum(p: Place, x: str, y: str) -> str:
    """The smaller; NaN if either is, as for `maximum`."""
    if not p.dtype.is_floating:
        return p.choice(f"{x} < {y}", x, y)
    return p.choice(f"{x} != {x}", x, p.choice(f"{x} < {y}", x, y))


rows("number", {
    "Maximum": maximum,
    "Minimum": minimum,
    "ClipByValue": lambda p, x, low, high: maximum(p, minimum(p, x, high), low),
})  # fmt: skip

rows("float", {
    "RealDiv": lambda p, x, y: f"({x} / {y})",
    "DivNoNan": lambda p, x, y: p.choice(f"{y} == {p.constant(0)}", p.constant(0), f"({x} / {y})"),
    "Reciprocal": lambda p, x: f"({p.constant(1)} / {x})",
    "Sqrt": lambda p, x: f"sqrt({x})",
    "Rsqrt": lambda p, x: f"({p.constant(1)} / sqrt({x}))",
    "Floor": lambda p, x: f"floor({x})",
    "Ceil": lambda p, x: f"ceil({x})",
    "Rint": lambda p, x: f"rint({x})",
})  # fmt: skip
row("number", "Round")(lambda p, x: f"rint({x})" if p.dtype.is_floating else x)
row("any", "Identity", "StopGradient", "PreventGradient", "GuaranteeConst", "Conj", "Real")(lambda p, x: x)
row("any", "ZerosLike")(lambda p, x: p.constant(0))
row("any", "OnesLike")(lambda p, x: p.constant(1))

# -- division and powers ---------------------------------------------------------------------------------------------


def _whole(of_signed: str, of_unsigned: str, of_floats: Callable[[Place, str, str], str]) -> Builder:
    """Division: functions of `integers` for whole numbers."""

    def build(p: Place, x: str, y: str) -> str:
        if p.dtype.is_floating:
            return of_floats(p, x, y)
        return f"gf_{of_unsigned if p.dtype.is_unsigned else of_signed}_{p.register}({x}, {y})"

    return build


def _power(p: Place, x: str, y: str) -> str:
    if p.dtype.is_integer:
        return f"gf_power_{p.register}({x}, {y})"
    exponent = p.known[1]
    if exponent is not None and float(exponent) in (1.0, 2.0):
        return x if float(exponent) == 1.0 else f"({x} * {x})"
    return f"gf_pow_{p.register}({x}, {y})"


rows("number", {
    "FloorDiv": _whole("floor_quotient", "quotient", lambda p, x, y: f"gf_floor_divide_{p.register}({x}, {y})"),
    "FloorMod": _whole("floor_remainder", "remainder", lambda p, x, y: f"gf_floor_modulo_{p.register}({x}, {y})"),
    "TruncateDiv": _whole("quotient", "quotient", lambda p, x, y: f"trunc({x} / {y})"),
    "TruncateMod": _whole("remainder", "remainder", lambda p, x, y: f"gf_fmod_{p.register}({x}, {y})"),
    "Pow": _power,
})  # fmt: skip


class Refusal(NamedTuple):
    """What an op refuses: a bool register that marks it, and the error."""

    condition: Callable[..., str | None]  # (arguments, inputs, width) -> an expression; None if nothing is refused
    explain: Callable[[], Exception]


def _zero_divisor(arguments: Sequence[str], inputs: Sequence[DType], width: int) -> str | None:
    if not inputs[1].is_integer:
        return None
    return truth(inputs[1], f"{arguments[1]} == {constant(inputs[1], width, 0)}", width)


def _negative_exponent(arguments: Sequence[str], inputs: Sequence[DType], width: int) -> str | None:
    if inputs[1].kind != "int":
        return None
    return truth(inputs[1], f"{arguments[1]} < {constant(inputs[1], width, 0)}", width)


_DIVISION = Refusal(
    _zero_divisor,
    lambda: InvalidArgumentError("integer division by zero", hint="tf.truediv divides integers as numbers"),
)
FAILS: dict[str, Refusal] = {
    **dict.fromkeys(("FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod"), _DIVISION),
    "Pow": Refusal(
        _negative_exponent,
        lambda: InvalidArgumentError("integers have no negative powers", hint="tf.cast the base to a float dtype"),
    ),
}

# -- comparisons, logic, choices, casts ------------------------------------------------------------------------------


def _comparison(sign: str) -> Builder:
    return lambda p, x, y: truth(p.dtype, f"{x} {sign} {y}", p.width)


rows("any", {"Equal": _comparison("=="), "NotEqual": _comparison("!=")})
rows("number", {
    "Less": _comparison("<"),
    "LessEqual": _comparison("<="),
    "Greater": _comparison(">"),
    "GreaterEqual": _comparison(">="),
})  # fmt: skip
rows("bool", {
    "LogicalAnd": lambda p, x, y: f"({x} & {y})",
    "LogicalOr": lambda p, x, y: f"({x} | {y})",
    "LogicalXor": lambda p, x, y: f"({x} ^ {y})",
    "LogicalNot": lambda p, x: f"({x} ^ 1)",
})  # fmt: skip


def _of_bits(sign: str) -> Builder:
    return lambda p, x, y: f"(({p.register})({x} {sign} {y}))"


def _within(p: Place, places: str) -> str:
    """Whether bits stay when they are moved so far: a negative number of places is a large one without its sign."""
    return f"as_{p.unsigned}({places}) < ({p.unsigned})({8 * p.dtype.size})"


def _left_shift(p: Place, x: str, y: str) -> str:
    inside = f"(as_{p.unsigned}({y}) & ({p.unsigned})({8 * p.dtype.size - 1}))"
    return p.choice(_within(p, y), f"as_{p.register}(({p.unsigned})(as_{p.unsigned}({x}) << {inside}))", p.constant(0))


def _right_shift(p: Place, x: str, y: str) -> str:
    found = f"(({p.register})({x} >> {p.choice(_within(p, y), y, p.constant(8 * p.dtype.size - 1))}))"
    return found if p.dtype.kind == "int" else p.choice(_within(p, y), found, p.constant(0))


rows("integer", {
    "BitwiseAnd": _of_bits("&"),
    "BitwiseOr": _of_bits("|"),
    "BitwiseXor": _of_bits("^"),
    "Invert": lambda p, x: f"(({p.register})(~{x}))",
    "LeftShift": _left_shift,
    "RightShift": _right_shift,
})  # fmt: skip


def _infinity(p: Place) -> str:
    return p.constant(float("inf"))


rows("float", {
    "IsNan": lambda p, x: truth(p.dtype, f"{x} != {x}", p.width),
    "IsInf": lambda p, x: truth(p.dtype, f"fabs({x}) == {_infinity(p)}", p.width),
    "IsFinite": lambda p, x: truth(p.dtype, f"fabs({x}) < {_infinity(p)}", p.width),
})  # fmt: skip


@row("any", "Select")
def _select(p: Place, condition: str, x: str, y: str) -> str:
    return f"({mask(p.dtype, condition, p.width)} ? {x} : {y})"


@row("any", "ZeroUnless")
def _zero_unless(p: Place, condition: str, x: str) -> str:
    return _select(p, condition, *((x, p.constant(0)) if p.attrs["holds"] else (p.constant(0), x)))


@row("any", "Cast")
def _cast(p: Place, x: str) -> str:
    source, target = p.dtype, p.output
    held_as, wanted = p.register, register_type(target, p.width)
    if target.is_bool:
        return x if source.is_bool else truth(source, f"{x} != {p.constant(0)}", p.width)
    if target.is_integer and source.is_floating:
        return f"gf_saturated_{wanted}_{held_as}({x})"
    text = x if held_as == wanted else f"convert_{wanted}({x})"
    if target.size == 2 and target.is_floating and target is not source:
        return f"gf_round_{target.name}_{wanted}({text})"
    return text


# -- functions -------------------------------------------------------------------------------------------------------


def _function(name: str, of_float: bool = True, of_double: bool = False) -> Builder:
    """A function of the library for the floats that it is there for, else OpenCL's own."""

    def build(p: Place, *arguments: str) -> str:
        own = of_double if p.dtype.name == "float64" else of_float
        called = f"gf_{name}_{p.register}" if own else name
        return f"{called}({', '.join(arguments)})"

    return build


rows("float", {
    name.capitalize(): _function(name) for name in ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "tan")
})  # fmt: skip
rows("float", {
    name.capitalize(): _function(name, False)
    for name in ("asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh")
})  # fmt: skip
rows("float", {
    name.capitalize(): _function(name, True, True)
    for name in ("sigmoid", "softplus", "erf", "erfc", "lgamma", "digamma")
})  # fmt: skip


@row("float", "Polygamma")
def _polygamma(p: Place, x: str) -> str | None:
    order = p.attrs["order"]
    return special.polygamma(order, x, p.register)


# -- activations and gradients ---------------------------------------------------------------------------------------

SELU_SCALE = 1.0507009873554804934193349852946
SELU_SCALE_ALPHA = SELU_SCALE * 1.6732632423543772848170429916717


def _above(p: Place, x: str) -> str:
    return maximum(p, x, p.constant(0))


def _below(p: Place, x: str) -> str:
    return minimum(p, x, p.constant(0))


def _expm1_below(p: Place, x: str) -> str | None:
    return EXPRESSIONS["Expm1"](p, _below(p, x))


def _if_positive(p: Place, x: str, then: str, otherwise: str) -> str:
    return p.choice(f"{x} > {p.constant(0)}", then, otherwise)


rows("number", {
    "Relu": _above,
    "Relu6": lambda p, x: minimum(p, _above(p, x), p.constant(6)),
    "ReluGrad": lambda p, dy, x: _if_positive(p, x, dy, p.constant(0)),
    "Relu6Grad": lambda p, dy, x: p.choice(f"({x} > {p.constant(0)}) & ({x} < {p.constant(6)})", dy, p.constant(0)),
})  # fmt: skip
rows("float", {
    "SigmoidGrad": lambda p, y, dy: f"(({p.constant(1)} - {y}) * {y} * {dy})",
    "TanhGrad": lambda p, y, dy: f"(({p.constant(1)} - {y} * {y}) * {dy})",
    "LeakyRelu": lambda p, x: f"({_below(p, x)} * {p.constant(p.attrs['alpha'])} + {_above(p, x)})",
    "LeakyReluGrad": lambda p, dy, x: _if_positive(p, x, dy, f"({dy} * {p.constant(p.attrs['alpha'])})"),
    "Elu": lambda p, x: f"({_above(p, x)} + {_expm1_below(p, x)})",
    "EluGrad": lambda p, dy, y: f"({dy} * ({_below(p, y)} + {p.constant(1)}))",
    "Selu": lambda p, x: (
        f"({p.constant(SELU_SCALE)} * {_above(p, x)} + {p.constant(SELU_SCALE_ALPHA)} * {_expm1_below(p, x)})"
    ),
    "SeluGrad": lambda p, dy, y: (
        f"({dy} * (({y} < {p.constant(0)}) ? {y} + {p.constant(SELU_SCALE_ALPHA)} : {p.constant(SELU_SCALE)}))"
    ),
    "SoftplusGrad": lambda p, dy, x: f"({dy} / ({EXPRESSIONS['Exp'](p, f'(-{x})')} + {p.constant(1)}))",
    "Softsign": lambda p, x: f"({x} / (fabs({x}) + {p.constant(1)}))",
    "SoftsignGrad": lambda p, dy, x: (
        f"({dy} / ((fabs({x}) + {p.constant(1)}) * (fabs({x}) + {p.constant(1)})))"
    ),
})  # fmt: skip
