"""Elementary functions of float32 as straight-line OpenCL C of vectors: a reduction of the range and one polynomial.

Policy: right for NaN, infinities, overflow and denormal results, without branches, each element by itself, the same
text for every width.  The coefficients and the reductions are those of `graphflow.numerics`.  Contraction stays off;
where the device multiplies and adds in one step, that step is asked for by name.  `ULP` bounds the errors; the tests
hold them.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.numerics.polynomials import ERF_BORDER, ERF_LARGE, ERF_SMALL, FORMATS
from graphflow_opencl import library
from graphflow_opencl.registers import INLINE, MASKS, WIDTHS, vector

FORMAT = FORMATS["float"]
MAGIC_BITS = (FORMAT.bias + FORMAT.mantissa) << FORMAT.mantissa | 1 << (FORMAT.mantissa - 1)

# Bounds of the errors in units in the last place.
ULP = {
    "exp": 1.5,
    "expm1": 2.5,
    "log": 1.5,
    "log1p": 2.0,
    "tanh": 3.0,
    "sigmoid": 3.0,
    "erf": 2.5,
    "softplus": 2.5,
}


def number(value: float) -> str:
    """A float literal."""
    return f"{float(value).hex()}f"


def horner(coefficients: Sequence[float], x: str) -> str:
    """The polynomial with these coefficients, highest power first."""
    text = f"(@F)({number(coefficients[0])})"
    for c in coefficients[1:]:
        text = mad(text, x, f"(@F)({number(c)})")
    return text


def mad(a: str, b: str, c: str) -> str:
    """a * b + c, rounded once where the device does that as quickly."""
    return f"gf_mad_@F({a}, {b}, {c})"


def near(x: str) -> str:
    """Statements for the nearest multiple of log(2): its number `n`, plus a magic one `t`, and the rest `r`."""
    return f"""@F t = {mad(x, f"(@F)({number(1.4426950408889634)})", f"(@F)({number(FORMAT.magic)})")};
    @F n = t - {number(FORMAT.magic)};
    @F r = {mad("n", f"(@F)({number(-FORMAT.log2_high)})", x)};
    r = {mad("n", f"(@F)({number(-FORMAT.log2_low)})", "r")};
    @F q = {mad("(r * r)", horner(FORMAT.exp, "r"), "r")};"""


# `@F` and `@I` are the vectors of floats and of ints.
TEMPLATES: dict[str, str] = {}

TEMPLATES["mad"] = """
@F gf_mad_@F(@F a, @F b, @F c) {
#if defined(__FMA__) || defined(FP_FAST_FMAF)
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}"""

TEMPLATES["exp_core"] = f"""
@F gf_exp_core_@F(@F x) {{
    {near("x")}
    @I e = as_@I(t) - {MAGIC_BITS};
    @I h = e >> 1;
    return (q + 1.0f) * as_@F((h + 127) << 23) * as_@F((e - h + 127) << 23);
}}"""

TEMPLATES["exp"] = f"""
@F gf_exp_@F(@F x) {{
    @F y = (x > {number(FORMAT.exp_high)}) ? (@F)({number(FORMAT.exp_high)}) : x;
    return gf_exp_core_@F((y < {number(FORMAT.exp_low)}) ? (@F)({number(FORMAT.exp_low)}) : y);
}}"""

TEMPLATES["expm1"] = f"""
@F gf_expm1_@F(@F x) {{
    @F y = (x > {number(FORMAT.exp_high)}) ? (@F)({number(FORMAT.exp_high)}) : x;
    y = (y < {number(FORMAT.expm1_low)}) ? (@F)({number(FORMAT.expm1_low)}) : y;
    {near("y")}
    @F part = as_@F((as_@U(t) << 23) + (126u << 23));
    @F found = {mad("part", "q", "(part - 0.5f)")};
    return copysign(found + found, x);
}}"""

TEMPLATES["tanh"] = f"""
@F gf_tanh_@F(@F x) {{
    @F a = fabs(x);
    a = (a > {number(FORMAT.tanh_high)}) ? (@F)({number(FORMAT.tanh_high)}) : a;
    a = a + a;
    {near("a")}
    @F power = as_@F((as_@U(t) << 23) + (127u << 23));
    @F found = {mad("power", "q", "(power - 1.0f)")};
    return copysign(found / (found + 2.0f), x);
}}"""

TEMPLATES["sigmoid"] = f"""
@F gf_sigmoid_@F(@F x) {{
    @F a = -fabs(x);
    @F small = gf_exp_core_@F((a < {number(FORMAT.exp_low)}) ? (@F)({number(FORMAT.exp_low)}) : a);
    return ((x < 0.0f) ? small : (@F)(1.0f)) / (1.0f + small);
}}"""

TEMPLATES["log_core"] = f"""
@F gf_log_core_@F(@F f, @F k) {{
    @F rest = {mad("f", horner(FORMAT.log, "f"), "(@F)(-0.5f)")};
    rest = {mad("(f * f)", "rest", f"k * {number(FORMAT.log2_low)}")};
    return {mad("k", f"(@F)({number(FORMAT.log2_high)})", "(f + rest)")};
}}"""

TEMPLATES["log_ends"] = """
@F gf_log_ends_@F(@F found, @F x, @F zero) {
    @F inside = (x == INFINITY) ? x : found;
    @F outside = (x == zero) ? (@F)(-INFINITY) : (@F)(as_float(0x7fc00000));
    return (x > zero) ? inside : outside;
}"""

TEMPLATES["log"] = f"""
@F gf_log_@F(@F x) {{
    @I tiny = x < {number(FORMAT.smallest)};
    @I offset = as_@I(as_@U(tiny ? x * 8388608.0f : x) - {FORMAT.root}u);
    @I k = (offset >> 23) - (tiny ? (@I)(23) : (@I)(0));
    @F f = as_@F((offset & 0x7fffff) + {FORMAT.root}) - 1.0f;
    return gf_log_ends_@F(gf_log_core_@F(f, convert_@F(k)), x, (@F)(0.0f));
}}"""

TEMPLATES["log1p"] = f"""
@F gf_log1p_@F(@F x) {{
    @I k = as_@I(as_@U(x + 1.0f) - {FORMAT.root}u) >> 23;
    @I h = -k >> 1;
    @F first = as_@F((h + 127) << 23);
    @F second = as_@F((127 - k - h) << 23);
    @F f = x * first * second + (first * second - 1.0f);
    return copysign(gf_log_ends_@F(gf_log_core_@F(f, convert_@F(k)), x, (@F)(-1.0f)), x);
}}"""

TEMPLATES["softplus"] = """
@F gf_softplus_@F(@F x) {
    @F y = gf_log1p_@F(gf_exp_@F(-fabs(x)));
    return y + ((x < 0.0f) ? (@F)(0.0f) : x);
}"""

TEMPLATES["erf"] = f"""
@F gf_erf_@F(@F x) {{
    @F a = fabs(x);
    a = (a > 4.1f) ? (@F)(4.1f) : a;
    @F near = {mad("a", horner(ERF_SMALL, "(a * a)"), "a")};
    @F far = 1.0f - gf_exp_core_@F({horner(ERF_LARGE, "a")});
    return copysign((a > {number(ERF_BORDER)}) ? far : near, x);
}}"""

# -- rounding to 16 bits, half to even -------------------------------------------------------------------------------

TEMPLATES["bfloat16_bits"] = """
@H gf_bfloat16_bits_@F(@F x) {
    @U bits = as_@U(x);
    @U rounded = (bits + ((bits >> 16) & 1) + 0x7fff) >> 16;
    return convert_@H((x != x) ? (@U)(0x7fc0) : rounded);
}"""

TEMPLATES["round_bfloat16"] = """
@F gf_round_bfloat16_@F(@F x) {
    return as_@F(convert_@U(gf_bfloat16_bits_@F(x)) << 16);
}"""

# Denormal numbers of float16 are multiples of 2 ** -24, which is the last place of 0.75.
TEMPLATES["round_float16"] = """
@F gf_round_float16_@F(@F x) {
    @U bits = as_@U(x);
    @F y = as_@F((bits + ((bits >> 13) & 1) + 0xfff) & 0xffffe000);
    @F size = fabs(x);
    y = (size < 0x1p-14f) ? copysign((size + 0.75f) - 0.75f, x) : y;
    y = (size >= 65520.0f) ? copysign((@F)(INFINITY), x) : y;
    return (x != x) ? x : y;
}"""


def _register() -> None:
    for name, text in TEMPLATES.items():
        for width in WIDTHS:
            source = text.replace("@F", vector("float", width)).replace("@I", vector(MASKS[4], width))
            source = source.replace("@U", vector("uint", width)).replace("@H", vector("ushort", width))
            library.function(f"gf_{name}_{vector('float', width)}", INLINE + source.strip())


_register()
