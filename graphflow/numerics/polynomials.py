"""Polynomials for elementary functions: numbers alone, which every backend computes with in its own way.

Policy: they were fitted for this project by Chebyshev interpolation and Lawson's iteration, over a reduced range each.
Who computes with them states the error that comes out.

State: none.
"""

from __future__ import annotations

from typing import NamedTuple

Coefficients = tuple[float, ...]


class Format(NamedTuple):
    """What a floating-point format needs: its layout, the ends of its range, its polynomials (highest power first)."""

    integer: str
    mantissa: int  # bits
    bias: int
    magic: float  # a sum with it has the nearest integer in its last bits
    log2_high: float  # log(2), with enough zeros at its end that products with exponents are exact
    log2_low: float
    exp_low: float  # below, exp is 0
    exp_high: float  # above, exp is infinite
    expm1_low: float  # below, expm1 is -1
    tanh_high: float  # above, tanh is 1
    smallest: float  # normal number
    lift: int  # a power of two that makes denormal numbers normal
    root: int  # the bits of sqrt(1/2)
    exp: Coefficients  # (exp(r) - 1 - r) / r ** 2 for |r| <= log(2) / 2
    log: Coefficients


FORMATS = {
    "float": Format(
        "i32", 23, 127, 12582912.0, 0.693145751953125, 1.428606765330187e-06, -104.0, 89.0, -18.0, 9.1,
        1.1754943508222875e-38, 23, 0x3F3504F3,
        (0.0013946667375860395, 0.008366710794927247, 0.04166627911693007, 0.16666542046827781, 0.500000006264117),
        # (log(1 + f) - f + f ** 2 / 2) / f ** 3
        (0.06915165520475, -0.11789705021124158, 0.1187301292735164, -0.12384368459547412, 0.14218655651899484,
         -0.1666924957670139, 0.20002226696224373, -0.24999986623514012, 0.3333331043855722),
    ),
    "double": Format(
        "i64", 52, 1023, 6755399441055744.0, 0.6931471803691238, 1.9082149292705877e-10, -746.0, 710.0, -38.0, 20.0,
        2.2250738585072014e-308, 54, 0x3FE6A09E667F3BCD,
        (2.092117360377657e-09, 2.510938765515279e-08, 2.755725334421793e-07, 2.755724321193273e-06,
         2.480158734836726e-05, 0.00019841269887113818, 0.0013888888888872741, 0.008333333333321237,
         0.04166666666666669, 0.16666666666666677, 0.5),
        # (log(1 + f) - 2 s) / s ** 3 for s = f / (2 + f), in powers of s ** 2
        (0.15296644713001514, 0.1302459163508768, 0.1539703135772626, 0.18181552755540004, 0.2222222531922169,
         0.28571428552690614, 0.4000000000005029, 0.6666666666666663),
    ),
}  # fmt: skip

# erf(x) / x - 1 in powers of x ** 2, for |x| <= ERF_BORDER; log(1 - erf(x)) beyond.
ERF_BORDER = 0.92
ERF_SMALL = (
    8.215423705498592e-05, -0.0008105965118209835, 0.005197797166980009, -0.026858104288500353, 0.11283672545557434,
    -0.3761263228567825, 0.12837916649478398,
)  # fmt: skip
ERF_LARGE = (
    -2.0828616943143082e-05, 0.0004313935502045092, -0.004156254847921568, 0.02508061633402405, -0.10822038382837246,
    -0.6334008510305396, -1.129488406355184, 0.000169205113116263,
)  # fmt: skip

# (sin(r) / r - 1) / r ** 2 and (cos(r) - 1 + r ** 2 / 2) / r ** 4 in powers of r ** 2, for |r| <= pi / 4.
SINE = (-0.00019517297896589692, 0.00833217813620371, -0.1666665494349001)
COSINE = (2.4438449678670184e-05, -0.0013887367496677268, 0.04166664686598513)
