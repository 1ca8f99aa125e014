"""Kernels of the error function and the gamma function.

Policy: NumPy has none of these.  Each is a few polynomials, one for each part of the line, evaluated by Horner's rule
on pieces that fit in the cache; float64 is accurate to a few units in the last place.  Narrower dtypes are computed in
float64 with shorter polynomials and rounded once.  The polynomials were fitted by Chebyshev interpolation in 50 digits.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.numerics.special import (
    BERNOULLI,
    ERF,
    ERF_NARROW,
    ERFC,
    ERFC_NARROW,
    FAR,
    HALF_LOG_TWO_PI,
    LGAMMA,
    STIRLING,
)
from graphflow_numpy.table import kernel

PIECE = 8192  # elements: 64 KB of float64, a few of which fit in the second cache


def by_pieces(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel from a function of flat float64 arrays."""

    def whole(x: Any, **attrs: Any) -> Any:
        flat = np.ravel(x)
        out = np.empty(flat.size, x.dtype)
        narrow = x.dtype != np.float64
        for start in range(0, flat.size, PIECE):
            piece = flat[start : start + PIECE].astype(np.float64)
            out[start : start + PIECE] = function(piece, narrow, **attrs)
        return out.reshape(np.shape(x))

    return whole


def horner(coefficients: Sequence[float], x: Any) -> Any:
    """The polynomial with these coefficients, lowest first."""
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        np.multiply(total, x, total)
        np.add(total, c, total)
    return total


# -- the error function ----------------------------------------------------------------------------------------------


def _erf_small(x: Any, narrow: bool) -> Any:
    return x * horner(ERF_NARROW if narrow else ERF, x * x)


def _erfc_large(x: Any, narrow: bool) -> Any:
    """erfc for x >= 1/2."""
    x = np.minimum(x, 28.0)  # erfc(28) is 0 in float64
    tail = horner(ERFC_NARROW if narrow else ERFC, (x - 4.0) / (x + 4.0)) / (1.0 + 2.0 * x)
    if narrow:
        return np.exp(-x * x) * tail
    # exp(-x * x) with the rounding error of x * x taken into account.
    head = x.astype(np.float32).astype(np.float64)
    return np.exp(-head * head) * np.exp((head - x) * (head + x)) * tail


@kernel("Erf")
@by_pieces
def _erf(x: Any, narrow: bool) -> Any:
    size = np.abs(x)
    out = _erf_small(np.minimum(size, 1.0), narrow)
    large = size >= 1.0
    if large.any():
        out[large] = 1.0 - _erfc_large(size[large], narrow)
    return np.copysign(out, x, out)


@kernel("Erfc")
@by_pieces
def _erfc(x: Any, narrow: bool) -> Any:
    out = 1.0 - _erf_small(np.clip(x, -1.0, 0.5), narrow)
    large = x >= 0.5
    if large.any():
        out[large] = _erfc_large(x[large], narrow)
    large = x <= -1.0
    if large.any():
        out[large] = 2.0 - _erfc_large(-x[large], narrow)
    return out


# -- the gamma function ----------------------------------------------------------------------------------------------


def _lgamma_positive(x: Any) -> Any:
    """log(gamma(x)) for x > 0."""
    # gamma(x) = gamma(2 + u) times or divided by the whole steps between x and 2 + u.
    steps = np.clip(np.rint(x), 0.0, 9.0) - 2.0
    u = x - np.rint(x)
    out = u * horner(LGAMMA, u)
    factor = np.ones_like(x)
    for k in range(2):
        factor = np.where(steps < -k, factor * (u + (1 - k)), factor)
    np.log(factor, factor)
    np.subtract(out, factor, out)
    factor.fill(1.0)
    for k in range(7):
        factor = np.where(steps > k, factor * (u + (2 + k)), factor)
    np.add(out, np.log(factor, factor), out)
    far = x >= 8.0
    if far.any():
        y = x[far]
        series = horner(STIRLING, 1.0 / (y * y)) / y
        out[far] = (y - 0.5) * (np.log(y) - 1.0) + (HALF_LOG_TWO_PI - 0.5) + series
    return out


@kernel("Lgamma")
@by_pieces
def _lgamma(x: Any, narrow: bool) -> Any:
    negative = x <= 0.0
    out = _lgamma_positive(np.where(negative, 1.0 - x, x))
    if negative.any():
        y = x[negative]
        sine = np.abs(np.sin(np.pi * (y - np.rint(y))))
        out[negative] = np.where(np.isinf(y), np.inf, np.log(np.pi / sine) - out[negative])
    return out


def _digamma_positive(x: Any) -> Any:
    out = np.zeros_like(x)
    y = x.copy()
    near = y < FAR
    while near.any():
        np.subtract(out, 1.0 / y, out, where=near)
        np.add(y, 1.0, y, where=near)
        near = y < FAR
    square = 1.0 / (y * y)
    series = horner([b / (2 * k) for k, b in enumerate(BERNOULLI, 1)], square) * square
    return out + np.log(y) - 0.5 / y - series


@kernel("Digamma")
@by_pieces
def _digamma(x: Any, narrow: bool) -> Any:
    negative = x <= 0.0
    out = _digamma_positive(np.where(negative, 1.0 - x, x))
    if negative.any():
        y = x[negative]
        r = y - np.rint(y)
        pole = np.where(y == 0, np.copysign(np.inf, -y), np.nan)
        out[negative] = np.where(r == 0, pole, out[negative] - np.pi / np.tan(np.pi * r))
    return out


def _polygamma_positive(x: Any, order: int) -> Any:
    """(-1) ** (order + 1) times the polygamma function: order! times the sum over k of (x + k) ** -(order + 1)."""
    out = np.zeros_like(x)
    y = x.copy()
    limit = FAR + order
    near = y < limit
    while near.any():
        np.add(out, y ** -(order + 1.0), out, where=near)
        np.add(y, 1.0, y, where=near)
        near = y < limit
    # Euler and Maclaurin's formula for the rest of the sum.
    inverse = 1.0 / y
    rest = inverse**order / order + 0.5 * inverse ** (order + 1)
    term = inverse ** (order + 2) * (order + 1) / 2.0
    for k, b in enumerate(BERNOULLI, 1):
        rest += b * term
        term = term * ((order + 2 * k) * (order + 2 * k + 1) / ((2 * k + 1) * (2 * k + 2))) * inverse * inverse
    return out + rest


def _cotangent_derivative(c: Any, order: int) -> Any:
    """The derivative of cot(pi x) of that order, from c = cot(pi x)."""
    polynomial = np.polynomial.Polynomial([0.0, 1.0])
    step = np.polynomial.Polynomial([-np.pi, 0.0, -np.pi])  # cot' = -pi (1 + cot * cot)
    for _ in range(order):
        polynomial = polynomial.deriv() * step
    return polynomial(c)


@kernel("Polygamma")
@by_pieces
def _polygamma(x: Any, narrow: bool, *, order: int) -> Any:
    sign = -1.0 if order % 2 == 0 else 1.0
    factorial = float(np.prod(np.arange(1.0, order + 1)))
    negative = x <= 0.0
    out = sign * factorial * _polygamma_positive(np.where(negative, 1.0 - x, x), order)
    if negative.any():
        y = x[negative]
        r = y - np.rint(y)
        turned = _cotangent_derivative(1.0 / np.tan(np.pi * r), order) * np.pi
        found = (1.0 if order % 2 == 0 else -1.0) * out[negative] - turned
        out[negative] = np.where(r == 0, np.inf if order % 2 else np.nan, found)
    return out
