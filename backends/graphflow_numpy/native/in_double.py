"""Rarer functions of float32, computed in float64 and rounded once: powers, erfc, hyperbolic functions, the tangent.

Policy: as for `polynomials`; the error is little more than the half unit of rounding.  float64 is left to NumPy.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable

from graphflow.numerics.special import ERF_NARROW, ERFC_NARROW
from graphflow_numpy.native import polynomials, trigonometry
from graphflow_numpy.native.emission import Emitter, V

# Sine and cosine as in `trigonometry`, for one rounding.
SINE = (2.71831157515967e-06, -0.00019839334842423483, 0.008333329385898869, -0.16666666641626454)
COSINE = (-2.7210236726630035e-07, 2.4799519993053588e-05, -0.0013888883753334419, 0.041666666622826906)


def _wide(e: Emitter, x: V) -> V:
    return e.convert("fpext", x, "double")


def _rounded(e: Emitter, x: V) -> V:
    return e.convert("fptrunc", x, "float")


# -- powers ----------------------------------------------------------------------------------------------------------


def power(e: Emitter, x: V, y: V) -> V:
    """x ** y: exp(y log |x|), with the sign of an odd power, and C's rules for zeros, ones and infinities."""
    zero, one = e.like(0.0, x), e.like(1.0, x)
    size = polynomials.absolute(e, x)
    exponent = e.mul(_wide(e, y), polynomials.log(e, _wide(e, size)))
    found = _rounded(e, polynomials.exp(e, exponent))
    whole = e.compare("eq", e.intrinsic("floor", y), y)
    half = e.mul(y, e.like(0.5, y))
    odd = e.bitwise("and", whole, e.compare("ne", e.intrinsic("floor", half), half))
    found = e.select(odd, polynomials.copy_sign(e, found, x), found)
    # No number is a power of a finite negative one with a broken exponent.
    finite = e.bitwise("and", e.compare("lt", x, zero), e.compare("gt", x, e.like(float("-inf"), x)))
    broken = e.bitwise("and", finite, e.compare("lt", e.intrinsic("floor", y), y))
    found = e.select(broken, e.like(float("nan"), x), found)
    endless = e.compare("eq", polynomials.absolute(e, y), e.like(float("inf"), y))
    unit = e.bitwise("and", e.compare("eq", size, one), endless)
    always = e.bitwise("or", e.compare("eq", x, one), e.compare("eq", y, zero))
    return e.select(e.bitwise("or", unit, always), one, found)


# -- the complementary error function --------------------------------------------------------------------------------


def _erfc(e: Emitter, x: V) -> V:
    size = e.clamp_above(polynomials.absolute(e, x), 28.0)
    near = e.mul(x, e.horner(ERF_NARROW[::-1], e.mul(x, x)))
    far = e.clamp_below(size, 0.5)
    four = e.like(4.0, x)
    tail = e.horner(ERFC_NARROW[::-1], e.div(e.sub(far, four), e.add(far, four)))
    tail = e.div(tail, e.fma(e.like(2.0, x), far, e.like(1.0, x)))
    tail = e.mul(polynomials.exp(e, e.neg(e.mul(far, far))), tail)
    found = e.select(e.compare("ge", x, e.like(0.5, x)), tail, e.sub(e.like(1.0, x), near))
    found = e.select(e.compare("le", x, e.like(-1.0, x)), e.sub(e.like(2.0, x), tail), found)
    return e.select(e.is_nan(x), x, found)


# -- hyperbolic and trigonometric functions --------------------------------------------------------------------------


def _sinh(e: Emitter, x: V) -> V:
    grown = polynomials.expm1(e, polynomials.absolute(e, x))
    both = e.add(grown, e.div(grown, e.add(grown, e.like(1.0, x))))
    infinite = e.compare("eq", grown, e.like(float("inf"), x))
    return polynomials.copy_sign(e, e.select(infinite, grown, e.mul(both, e.like(0.5, x))), x)


def _cosh(e: Emitter, x: V) -> V:
    size = polynomials.absolute(e, x)
    half = e.like(0.5, x)
    return e.mul(e.add(polynomials.exp(e, size), polynomials.exp(e, e.neg(size))), half)


def _tan(e: Emitter, x: V) -> V:
    quarters, r = trigonometry.reduced(e, x)
    square = e.mul(r, r)
    sine = e.fma(e.mul(r, square), e.horner(SINE, square), r)
    cosine = e.fma(e.mul(square, square), e.horner(COSINE, square), e.fma(square, e.like(-0.5, r), e.like(1.0, r)))
    odd = e.compare("ne", e.bitwise("and", quarters, e.like(1, quarters)), e.like(0, quarters))
    return e.div(e.select(odd, e.neg(cosine), sine), e.select(odd, sine, cosine))


def tan(e: Emitter, x: V) -> V:
    """The tangent."""
    return e.select(e.compare("eq", x, e.like(0.0, x)), x, _rounded(e, _tan(e, x)))  # -0 stays


def _in_double(function: Callable[[Emitter, V], V]) -> Callable[[Emitter, V], V]:
    return lambda e, x: _rounded(e, function(e, _wide(e, x)))


erfc, sinh, cosh = _in_double(_erfc), _in_double(_sinh), _in_double(_cosh)
