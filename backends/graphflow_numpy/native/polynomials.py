"""Elementary functions as straight-line code of vectors: a reduction of the range and one polynomial, no branches.

Policy: every function is right for NaN, infinities, overflow and denormal results, keeps the sign of zero where the
function has it, and depends on its own element alone.  `ULP` bounds the error of each, in units in the last place of
the result, as the tests measure it; the polynomials are those of `graphflow.numerics`.
Without fused multiply-add (which every x86-64 since 2013 and every AArch64 has) add half a unit.

State: none.
"""

from __future__ import annotations

from graphflow.numerics.polynomials import ERF_BORDER, ERF_LARGE, ERF_SMALL, FORMATS, Format
from graphflow_numpy.native.emission import Emitter, V

# Bounds of the error in units in the last place, by function (of `trigonometry`, too) and element type.
ULP = {
    ("exp", "float"): 1.1,
    ("exp", "double"): 1.1,
    ("expm1", "float"): 1.6,
    ("expm1", "double"): 2.0,
    ("log", "float"): 1.0,
    ("log", "double"): 1.1,
    ("log1p", "float"): 1.5,
    ("log1p", "double"): 1.5,
    ("tanh", "float"): 2.5,
    ("tanh", "double"): 2.6,
    ("sigmoid", "float"): 2.5,
    ("sigmoid", "double"): 2.6,
    ("erf", "float"): 1.5,
    ("sin", "float"): 2.0,
    ("cos", "float"): 2.0,
}


def copy_sign(e: Emitter, x: V, sign: V) -> V:
    """The value with another one's sign."""
    return e.intrinsic("copysign", x, sign)


def absolute(e: Emitter, x: V) -> V:
    """|x|."""
    return e.intrinsic("fabs", x)


# -- exponentials ----------------------------------------------------------------------------------------------------


def _reduced(e: Emitter, f: Format, x: V) -> tuple[V, V]:
    """(t, q): x = n log(2) + r with the integer n in the last bits of `t`, and q = exp(r) - 1."""
    t = e.fma(x, e.like(1.4426950408889634, x), e.like(f.magic, x))
    n = e.sub(t, e.like(f.magic, x))
    r = e.fma(n, e.like(-f.log2_low, x), e.fma(n, e.like(-f.log2_high, x), x))
    return t, e.fma(e.mul(r, r), e.horner(f.exp, r), r)


def _power(e: Emitter, f: Format, n: V, offset: int = 0) -> V:
    """2 ** (n + offset) for a normal result; `n` may have anything in the bits that the shift drops."""
    shift = e.like(f.mantissa, n)
    return e.floating(e.add(e.bitwise("shl", n, shift), e.like((f.bias + offset) << f.mantissa, n)))


def _scaled(e: Emitter, f: Format, y: V, n: V) -> V:
    """y * 2 ** n in two steps, for results beyond the normal numbers."""
    half = e.bitwise("ashr", n, e.like(1, n))
    return e.mul(e.mul(y, _power(e, f, half)), _power(e, f, e.sub(n, half)))


def _magic_bits(f: Format) -> int:
    """The bits of the magic number: its exponent, and the highest bit of its mantissa."""
    return (f.bias + f.mantissa) << f.mantissa | 1 << (f.mantissa - 1)


def _exp_within(e: Emitter, f: Format, x: V) -> V:
    """exp of what is between the ends of the range, or NaN."""
    t, q = _reduced(e, f, x)
    bits = e.bits(t)
    return _scaled(e, f, e.add(q, e.like(1.0, x)), e.sub(bits, e.like(_magic_bits(f), bits)))


def exp(e: Emitter, x: V) -> V:
    """The exponential; denormal results are not flushed."""
    f = FORMATS[x.elem]
    return _exp_within(e, f, e.clamp_below(e.clamp_above(x, f.exp_high), f.exp_low))


def expm1(e: Emitter, x: V) -> V:
    """exp(x) - 1, accurate near 0."""
    f = FORMATS[x.elem]
    t, q = _reduced(e, f, e.clamp_below(e.clamp_above(x, f.exp_high), f.expm1_low))
    half = _power(e, f, e.bits(t), -1)  # half the power: the largest results overflow in the last step alone
    found = e.fma(half, q, e.sub(half, e.like(0.5, x)))
    return copy_sign(e, e.add(found, found), x)


def tanh(e: Emitter, x: V) -> V:
    """expm1(2 |x|) / (expm1(2 |x|) + 2), with the sign of x."""
    f = FORMATS[x.elem]
    a = e.clamp_above(absolute(e, x), f.tanh_high)
    t, q = _reduced(e, f, e.add(a, a))
    power = _power(e, f, e.bits(t))
    found = e.fma(power, q, e.sub(power, e.like(1.0, x)))
    return copy_sign(e, e.div(found, e.add(found, e.like(2.0, x))), x)


def sigmoid(e: Emitter, x: V) -> V:
    """1 / (1 + exp(-x)) by exponentials of what is negative, which keep the small results."""
    f = FORMATS[x.elem]
    one = e.like(1.0, x)
    small = _exp_within(e, f, e.clamp_below(e.neg(absolute(e, x)), f.exp_low))
    return e.div(e.select(e.compare("lt", x, e.like(0.0, x)), small, one), e.add(one, small))


# -- logarithms ------------------------------------------------------------------------------------------------------


def _log_of_sum(e: Emitter, f: Format, fraction: V, k: V) -> V:
    """log(1 + fraction) + k log(2) for sqrt(1/2) - 1 <= fraction <= sqrt(2) - 1."""
    low = e.like(f.log2_low, k)
    if fraction.elem == "float":
        inner = e.fma(fraction, e.horner(f.log, fraction), e.like(-0.5, k))
        rest = e.fma(e.mul(fraction, fraction), inner, e.mul(k, low))
        return e.fma(k, e.like(f.log2_high, k), e.add(fraction, rest))
    s = e.div(fraction, e.add(fraction, e.like(2.0, k)))
    square = e.mul(s, s)
    half = e.mul(e.mul(fraction, fraction), e.like(0.5, k))
    inner = e.fma(s, e.add(half, e.mul(square, e.horner(f.log, square))), e.mul(k, low))
    return e.sub(e.mul(k, e.like(f.log2_high, k)), e.sub(e.sub(half, inner), fraction))


def _exponent(e: Emitter, f: Format, x: V) -> tuple[V, V]:
    """(k, bits): x = 2 ** k m with sqrt(1/2) <= m < sqrt(2), and the bits of m; x is positive and normal."""
    bits = e.bits(x)
    root = e.like(f.root, bits)
    offset = e.sub(bits, root)
    k = e.bitwise("ashr", offset, e.like(f.mantissa, bits))
    return k, e.add(e.bitwise("and", offset, e.like((1 << f.mantissa) - 1, bits)), root)


def _ends(e: Emitter, found: V, x: V, zero: float) -> V:
    """The logarithm where x > zero, -inf at that end, NaN beyond and for NaN; inf for inf."""
    inside = e.select(e.compare("eq", x, e.like(float("inf"), x)), x, found)
    end = e.like(zero, x)
    outside = e.select(e.compare("eq", x, end), e.like(float("-inf"), x), e.like(float("nan"), x))
    return e.select(e.compare("gt", x, end), inside, outside)


def log(e: Emitter, x: V) -> V:
    """The natural logarithm."""
    f = FORMATS[x.elem]
    tiny = e.compare("lt", x, e.like(f.smallest, x))
    normal = e.select(tiny, e.mul(x, e.like(2.0**f.lift, x)), x)
    k, bits = _exponent(e, f, normal)
    lifted = e.select(tiny, e.sub(k, e.like(f.lift, k)), k)
    fraction = e.sub(e.floating(bits), e.like(1.0, x))
    return _ends(e, _log_of_sum(e, f, fraction, e.convert("sitofp", lifted, x.elem)), x, 0.0)


def log1p(e: Emitter, x: V) -> V:
    """log(1 + x): the exponent is that of the rounded sum, the fraction is computed from x itself."""
    f = FORMATS[x.elem]
    one = e.like(1.0, x)
    k, _ = _exponent(e, f, e.add(x, one))
    minus = e.neg(k)
    half = e.bitwise("ashr", minus, e.like(1, k))  # 2 ** -k may be no normal number: two factors
    first, second = _power(e, f, half), _power(e, f, e.sub(minus, half))
    fraction = e.fma(e.mul(x, first), second, e.sub(e.mul(first, second), one))
    found = _log_of_sum(e, f, fraction, e.convert("sitofp", k, x.elem))
    return copy_sign(e, _ends(e, found, x, -1.0), x)


# -- the error function ----------------------------------------------------------------------------------------------


def erf(e: Emitter, x: V) -> V:
    """The error function of float32."""
    f = FORMATS[x.elem]
    a = e.clamp_above(absolute(e, x), 4.1)
    near = e.fma(a, e.horner(ERF_SMALL, e.mul(a, a)), a)
    t, q = _reduced(e, f, e.horner(ERF_LARGE, a))
    power = _power(e, f, e.bits(t))
    far = e.sub(e.like(1.0, x), e.fma(power, q, power))
    return copy_sign(e, e.select(e.compare("gt", a, e.like(ERF_BORDER, x)), far, near), x)
