"""The error function, the gamma function and division with a floor, in OpenCL C of vectors.

Policy: the formulas and the polynomials are those of `graphflow.numerics`, computed in double; float32 is rounded
once.  Without doubles on the device float32 takes OpenCL's own functions where it has them, and the same formulas in
float where it has none, with their errors.  Division with a floor is NumPy's, of either type.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.numerics.special import BERNOULLI, ERF, ERFC, FAR, HALF_LOG_TWO_PI, LGAMMA, STIRLING
from graphflow_opencl import library
from graphflow_opencl.registers import MASKS, WIDTHS, vector

MOST_ORDER = 30  # of the polygamma functions here


def horner(coefficients: Sequence[float], x: str) -> str:
    """The polynomial with these coefficients, lowest power first."""
    text = f"({float(coefficients[-1]).hex()})"
    for c in coefficients[-2::-1]:
        text = f"({text} * {x} + ({float(c).hex()}))"
    return text


# `@F` is the vector of floats or of doubles, `@M` that of masks; constants without a suffix are made to fit.
EITHER: dict[str, str] = {}

# OpenCL's own functions of two numbers; those of vectors of doubles go by elements, since in PoCL 3.0 `fmod` of such
# does not always end, and `pow` of such is wrong where another element is large or small.
PLAIN = """
@F gf_{name}_@F(@F x, @F y) {{
    return {name}(x, y);
}}"""
BY_ELEMENTS = """
@F gf_{name}_@F(@F x, @F y) {{
    double a[@N], b[@N];
    vstore@N(x, 0, a);
    vstore@N(y, 0, b);
    for (int i = 0; i < @N; i++)
        a[i] = {name}(a[i], b[i]);
    return vload@N(0, a);
}}"""

EITHER["floor_divide"] = """
@F gf_floor_divide_@F(@F x, @F y) {
    @F rest = gf_fmod_@F(x, y);
    @F quotient = (x - rest) / y;
    quotient = ((rest != 0) & ((y < 0) != (rest < 0))) ? quotient - 1 : quotient;
    @F whole = floor(quotient);
    whole = (quotient - whole > (@F)(0.5f)) ? whole + 1 : whole;
    whole = (quotient == 0) ? copysign((@F)(0), x / y) : whole;
    return (y == 0) ? x / y : whole;
}"""

EITHER["floor_modulo"] = """
@F gf_floor_modulo_@F(@F x, @F y) {
    @F rest = gf_fmod_@F(x, y);
    @F turned = ((y < 0) != (rest < 0)) ? rest + y : rest;
    turned = (rest == 0) ? copysign((@F)(0), y) : turned;
    return (y == 0) ? rest : turned;
}"""

# Functions of doubles; `@E` is an element, `@PI` is pi.
WIDE: dict[str, str] = {}

WIDE["sigmoid"] = """
@F gf_sigmoid_@F(@F x) {
    @F small = exp(-fabs(x));
    return ((x < 0) ? small : (@F)(1)) / (1 + small);
}"""

WIDE["softplus"] = """
@F gf_softplus_@F(@F x) {
    return log1p(exp(-fabs(x))) + ((x < 0) ? (@F)(0) : x);
}"""

WIDE["erfc_large"] = f"""
@F gf_erfc_large_@F(@F given) {{
    @F x = (given > 28) ? (@F)(28) : given;
    x = (x < 0.5) ? (@F)(0.5) : x;
    @F z = (x - 4) / (x + 4);
    @F tail = {horner(ERFC, "z")} / (1 + 2 * x);
    @F head = convert_@F(convert_@S(x));
    return exp(-head * head) * exp((head - x) * (head + x)) * tail;
}}"""

WIDE["erf_small"] = f"""
@F gf_erf_small_@F(@F x) {{
    @F z = x * x;
    return x * {horner(ERF, "z")};
}}"""

WIDE["erf"] = """
@F gf_erf_@F(@F x) {
    @F size = fabs(x);
    @F found = (size < 1) ? gf_erf_small_@F(size) : 1 - gf_erfc_large_@F(size);
    return (x != x) ? x : copysign(found, x);
}"""

WIDE["erfc"] = """
@F gf_erfc_@F(@F x) {
    @F tail = gf_erfc_large_@F(fabs(x));
    @F found = (x >= 0.5) ? tail : 1 - gf_erf_small_@F(x);
    found = (x <= -1) ? 2 - tail : found;
    return (x != x) ? x : found;
}"""

WIDE["lgamma_positive"] = f"""
@F gf_lgamma_positive_@F(@F x) {{
    @F whole = rint(x);
    @F u = x - whole;
    @F steps = ((whole > 9) ? (@F)(9) : whole) - 2;
    @F below = 1, above = 1;
    for (int k = 0; k < 2; k++)
        below = (steps < -k) ? below * (u + (1 - k)) : below;
    for (int k = 0; k < 7; k++)
        above = (steps > k) ? above * (u + (2 + k)) : above;
    @F near = (u * {horner(LGAMMA, "u")} - log(below)) + log(above);
    @F z = 1 / (x * x);
    @F far = (x - 0.5) * (log(x) - 1) + {HALF_LOG_TWO_PI - 0.5} + {horner(STIRLING, "z")} / x;
    return (x >= 8) ? far : near;
}}"""

WIDE["lgamma"] = """
@F gf_lgamma_@F(@F x) {
    @F found = gf_lgamma_positive_@F((x <= 0) ? 1 - x : x);
    @F sine = fabs(sin(@PI * (x - rint(x))));
    @F turned = (x == -INFINITY) ? (@F)(INFINITY) : log(@PI / sine) - found;
    return (x <= 0) ? turned : found;
}"""

WIDE["digamma"] = f"""
@F gf_digamma_@F(@F x) {{
    @F y = (x <= 0) ? 1 - x : x;
    @F found = 0;
    for (int k = 0; k < {int(FAR)}; k++) {{
        @M near = y < {int(FAR)};
        found = near ? found - 1 / y : found;
        y = near ? y + 1 : y;
    }}
    @F z = 1 / (y * y);
    found = found + log(y) - 0.5 / y - {horner([b / (2 * k) for k, b in enumerate(BERNOULLI, 1)], "z")} * z;
    @F r = x - rint(x);
    @F pole = (x == 0) ? copysign((@F)(INFINITY), -x) : (@F)(NAN);
    @F turned = (r == 0) ? pole : found - @PI / tan(@PI * r);
    return (x <= 0) ? turned : found;
}}"""

# The sum of (x + k) ** -(order + 1) with Euler and Maclaurin's formula for its rest, times order!.
WIDE["polygamma_positive"] = f"""
@F gf_polygamma_positive_@F(@F x, int order) {{
    @F total = 0, y = x;
    for (int k = 0; k < {int(FAR)} + order; k++) {{
        @M near = y < {int(FAR)} + order;
        @F term = 1 / y;
        for (int n = 0; n < order; n++)
            term /= y;
        total = near ? total + term : total;
        y = near ? y + 1 : y;
    }}
    @F inverse = 1 / y, power = inverse;
    for (int n = 1; n < order; n++)
        power *= inverse;
    @F rest = power / order + 0.5 * power * inverse;
    @F term = power * inverse * inverse * (order + 1) / 2;
    const @E numbers[] = {{{", ".join(float(b).hex() for b in BERNOULLI)}}};
    for (int k = 1; k <= {len(BERNOULLI)}; k++) {{
        rest += numbers[k - 1] * term;
        term *= (@E)((order + 2 * k) * (order + 2 * k + 1)) / ((2 * k + 1) * (2 * k + 2)) * inverse * inverse;
    }}
    return total + rest;
}}"""

# Below 0 by reflection: the derivatives of cot(pi x) are polynomials in it, since cot' = -pi (1 + cot * cot).
WIDE["polygamma"] = f"""
@F gf_polygamma_@F(@F x, int order) {{
    @E factorial = 1, p[{MOST_ORDER + 3}], q[{MOST_ORDER + 3}];
    for (int k = 0; k < {MOST_ORDER + 3}; k++)
        p[k] = k == 1;
    for (int n = 1; n <= order; n++) {{
        factorial *= n;
        for (int k = 0; k < {MOST_ORDER + 2}; k++)
            q[k] = -@PI * ((k + 1) * p[k + 1] + (k > 1 ? (k - 1) * p[k - 1] : 0));
        for (int k = 0; k < {MOST_ORDER + 2}; k++)
            p[k] = q[k];
    }}
    @E sign = order % 2 == 0 ? -1 : 1;
    @F found = sign * factorial * gf_polygamma_positive_@F((x <= 0) ? 1 - x : x, order);
    @F r = x - rint(x), c = 1 / tan(@PI * r), value = 0;
    for (int k = order + 1; k >= 0; k--)
        value = value * c + p[k];
    @F turned = (r == 0) ? (@F)(order % 2 ? INFINITY : NAN) : -sign * found - value * @PI;
    return (x <= 0) ? turned : found;
}}"""

# Functions of floats that OpenCL has itself.
PLAIN_OF_ONE = """
@F gf_{name}_@F(@F x) {{
    return {name}(x);
}}"""

# Functions of floats by those of doubles; `@D` is the vector of doubles.  OpenCL's own sine, cosine and tangent of
# vectors of floats are wrong in PoCL 3.0 where another element of the vector is large; those of doubles are right.
THROUGH_DOUBLE = """
@F gf_{name}_@F(@F x{more}) {{
    return convert_@F({wide}(convert_@D(x){passed}));
}}"""
NARROWED = (
    # name, the function of doubles, another parameter
    ("sin", "sin", ""),
    ("cos", "cos", ""),
    ("tan", "tan", ""),
    ("erfc", "gf_erfc_@D", ""),
    ("lgamma", "gf_lgamma_@D", ""),
    ("digamma", "gf_digamma_@D", ""),
    ("polygamma", "gf_polygamma_@D", "order"),
)
OWN = ("sin", "cos", "tan", "erfc", "lgamma")  # that OpenCL has itself, which devices without doubles take
IN_FLOATS = ("polygamma_positive",)  # formulas that are computed in floats only there, by those of `NARROWED`


def polygamma(order: int, x: str, register: str) -> str | None:
    """The polygamma function of that order, of a register; None for orders beyond the formulas here."""
    return f"gf_polygamma_{register}({x}, {order})" if 0 < order <= MOST_ORDER else None


def _filled(text: str, scalar: str, width: int) -> str:
    fillings = {"@F": scalar, "@M": MASKS[4 if scalar == "float" else 8], "@S": "float", "@D": "double"}
    for mark, filling in fillings.items():
        text = text.replace(mark, vector(filling, width))
    pi = "M_PI_F" if scalar == "float" else "M_PI"
    return text.replace("@N", str(width)).replace("@E", scalar).replace("@PI", pi).strip()


def _register() -> None:
    for width in WIDTHS:
        for name, text in EITHER.items():
            for scalar in ("float", "double"):
                library.function(f"gf_{name}_{vector(scalar, width)}", _filled(text, scalar, width))
        for name, text in WIDE.items():
            library.function(f"gf_{name}_{vector('double', width)}", _filled(text, "double", width))
        for name, wide, more in NARROWED:
            text = THROUGH_DOUBLE.format(
                name=name, wide=wide, more=more and f", int {more}", passed=more and f", {more}"
            )
            narrow = PLAIN_OF_ONE.format(name=name) if name in OWN else WIDE[name]
            library.function(
                f"gf_{name}_{vector('float', width)}", _filled(text, "float", width), _filled(narrow, "float", width)
            )
        for name in IN_FLOATS:
            library.function(f"gf_{name}_{vector('float', width)}", _filled(WIDE[name], "float", width))
        for name in ("fmod", "pow"):
            for scalar in ("float", "double"):
                text = BY_ELEMENTS if scalar == "double" and width > 1 else PLAIN
                library.function(f"gf_{name}_{vector(scalar, width)}", _filled(text.format(name=name), scalar, width))


_register()
