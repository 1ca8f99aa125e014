"""Counter-based random draws: pure functions of (key, counter, shape), the same on every backend.

Policy. Words come from Philox4x64-10 (Salmon et al., SC 2011), from NumPy's C implementation; an OpenCL
kernel gets the same words from 64-bit multiplies and `mul_hi`. Distributions are our own functions of those
words, not NumPy's `Generator`, whose stream may change. Element i of a result depends on (key, counter, i)
and the parameters of element i alone: not on the shape, on threads or on earlier calls. Words, `uniform`,
`uniform_int`, `bernoulli_mask` and `shuffle_permutation` agree bit for bit on every machine and backend.
What goes through log, sin, cos or exp is bit-stable on one NumPy build and kind of CPU; elsewhere these may
differ in the last place, which shows as a few ulp or, rarely, as the other side of a comparison (a count, a
class, an accepted attempt).

Layout. key = (graph seed, op seed), each folded to 64 bits: an int in [-2**63, 2**64) is taken modulo
2**64, a wider one is hashed. counter = (run index, *loop iterations), outermost loop first. The 256-bit
counter of block b is

    word 0   b + 1        (b < 2**62: never carries into word 1)
    word 1   run index    (in [0, 2**64), else ValueError)
    word 2   loop path    (d iterations in 64 // d bits each, innermost lowest; hashed if one doesn't fit)
    word 3   attempt | d << 32 | hashed << 63

so two draws under one key share a block only if run, depth, path and attempt are all equal (a hashed path:
or if two 64-bit hashes within one run collide). Attempt 0 is one flat stream: word j is lane j % 4 of block
j // 4, half-word j is half j % 2 (low half first) of word j // 2. Attempts 1, 2, ... serve rejection: their
block i belongs to element i. Two distributions under one key would share words, so an op draws from only
one.

A draw of shape () returns what `array[()]` gives, a NumPy scalar. A parameter outside its domain is a
ValueError, a dtype that a distribution can't fill a TypeError.

State owned: `_POOL`, idle bit generators. A call takes one out, sets its whole state and puts it back, so
nothing of a stream survives a call, and threads, signal handlers and forks never share one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Philox

from graphflow.numerics.streams import MASK, NDTRI, TWO_SIGMA, counter_words, folded

Key = tuple[int, int]
Counter = tuple[int, ...]
Shape = tuple[int, ...]
Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Proposal = tuple[Floats, npt.NDArray[np.bool_]]  # a value for each element, and whether it is accepted
Propose = Callable[[npt.NDArray[np.intp], Words], Proposal]

_CHUNK = 1 << 14  # elements a pass, so that temporaries stay in cache and small; never changes a bit
_MAX_ATTEMPTS = 256  # acceptance is above 0.7 everywhere, so 1 in 10**130 elements gets the fallback value
_POOL: list[Philox] = []


def _draw(key: Key, counter: Counter, attempt: int, n: int, block: int = 0) -> Words:
    """n words of one attempt's stream from the given block on, at C speed."""
    words_1_to_3 = counter_words(counter, attempt)
    # NumPy increments the counter before each block, so block b is drawn from b and has b + 1 in word 0.
    state: Any = {
        "bit_generator": "Philox",
        "state": {"counter": (block, *words_1_to_3), "key": (folded(key[0]), folded(key[1]))},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }
    try:
        generator = _POOL.pop()
    except IndexError:
        generator = Philox(key=0, counter=0)
    generator.state = state
    words: Words = generator.random_raw(n)
    _POOL.append(generator)
    return words


def _mul_hi_lo(a: Words, factor: int) -> tuple[Words, Words]:
    low, high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    a_low, a_high = a & 0xFFFFFFFF, a >> 32
    middle = a_high * low + (a_low * low >> 32)
    cross = a_low * high + (middle & 0xFFFFFFFF)
    return a_high * high + (middle >> 32) + (cross >> 32), a * np.uint64(factor)


def philox_blocks(key: Key, c0: Words, c1: int, c2: int, c3: int) -> Words:
    """Philox4x64-10 of counters (c0[j], c1, c2, c3), 4 words a row: the reference, and scattered draws."""
    k0, k1 = key
    x0, x1, x2, x3 = (np.array(np.broadcast_to(np.uint64(c), c0.shape)) for c in (c0, c1, c2, c3))
    for _ in range(10):
        high0, low0 = _mul_hi_lo(x0, 0xD2E7470EE14C6C93)
        high1, low1 = _mul_hi_lo(x2, 0xCA5A826395121157)
        x0, x1, x2, x3 = high1 ^ x1 ^ np.uint64(k0), low1, high0 ^ x3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return np.stack([x0, x1, x2, x3], axis=-1)


def _element_blocks(key: Key, counter: Counter, attempt: int, rows: npt.NDArray[np.intp]) -> Words:
    """Block i of an attempt for each i in rows (ascending), by whichever of two equal ways is cheaper."""
    first, span = int(rows[0]), int(rows[-1] - rows[0]) + 1
    if span <= 8192 or rows.size > span // 20:
        words = _draw(key, counter, attempt, 4 * span, block=first).reshape(span, 4)
        return words if rows.size == span else words[rows - first]
    first_words = rows.astype(np.uint64) + np.uint64(1)
    return philox_blocks((folded(key[0]), folded(key[1])), first_words, *counter_words(counter, attempt))


def _redraw(key: Key, counter: Counter, out: Floats, rows: npt.NDArray[np.intp], propose: Propose) -> None:
    """Fill out[rows] by rejection: attempt after attempt, each for the elements still without a value."""
    for start in range(0, rows.size, 4 * _CHUNK):
        left = rows[start : start + 4 * _CHUNK]
        for attempt in range(1, _MAX_ATTEMPTS):
            if not left.size:
                break
            values, fits = propose(left, _element_blocks(key, counter, attempt, left))
            out[left[fits]] = values[fits]
            left = left[~fits]


def raw_words(key: Key, counter: Counter, n: int) -> Words:
    """The first n words of the stream; a longer draw starts with the shorter one."""
    return _draw(key, counter, 0, n)


def _half_words(key: Key, counter: Counter, n: int) -> npt.NDArray[np.uint32]:
    words = _draw(key, counter, 0, (n + 1) // 2)
    return words.astype("<u8", copy=False).view("<u4")[:n].astype(np.uint32, copy=False)


def _open(words: Words) -> Floats:
    """Uniform in the open interval (0, 1): odd multiples of 2**-53, all exact."""
    unit = (words >> 12).astype(np.float64)
    unit += 0.5
    unit *= 2.0**-52
    return unit


def _open_unit(key: Key, counter: Counter, n: int, dtype: np.dtype[Any]) -> Floats:
    """n uniforms in (0, 1), as fine as the dtype needs: a word each for float64, else half a word."""
    if dtype.itemsize == 8:
        return _open(_draw(key, counter, 0, n))
    unit = _half_words(key, counter, n).astype(np.float64)
    unit += 0.5
    unit *= 2.0**-32
    return unit


def _float_dtype(dtype: npt.DTypeLike, what: str) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind != "f" or found.itemsize > 8:
        raise TypeError(f"{what} draws float16, float32 or float64, not {found}")
    return found


def _shaped(flat: npt.NDArray[Any], shape: Shape, dtype: np.dtype[Any]) -> Any:
    if dtype.kind != "f":
        flat = flat.astype(dtype, copy=False)
    elif flat.dtype != dtype:
        with np.errstate(over="ignore", under="ignore"):
            flat = flat.astype(dtype)
    return flat.reshape(shape) if shape else flat[0]


def _parameter(value: Any, shape: Shape, what: str, allow_zero: bool) -> Floats:
    """A distribution parameter, one finite float64 for each element drawn."""
    values = np.broadcast_to(np.asarray(value, dtype=np.float64), shape).ravel()
    if not (np.isfinite(values).all() and (values >= 0 if allow_zero else values > 0).all()):
        raise ValueError(f"{what} must be finite and {'not negative' if allow_zero else 'positive'}")
    return values


def uniform(key: Key, counter: Counter, shape: Shape, dtype: npt.DTypeLike) -> Any:
    """[0, 1): k * 2**-53 from word i for float64, k * 2**-24 (float16: k * 2**-11) from half-word i."""
    dtype = _float_dtype(dtype, "uniform")
    n = math.prod(shape)
    if dtype.itemsize == 8:
        unit: npt.NDArray[Any] = (_draw(key, counter, 0, n) >> 11).astype(dtype)
        unit *= 2.0**-53
        return _shaped(unit, shape, dtype)
    bits = 24 if dtype.itemsize == 4 else 11
    unit = (_half_words(key, counter, n) >> (32 - bits)).astype(np.float32)
    unit *= np.float32(2.0**-bits)
    return _shaped(unit, shape, dtype)


def uniform_int(key: Key, counter: Counter, shape: Shape, dtype: npt.DTypeLike, low: Any, high: Any) -> Any:
    """Integers in [low, high): low + word i modulo (high - low).

    A value's probability is off by less than 2**-64, so the bias relative to 1 / (high - low) is below
    (high - low) / 2**64. low and high may be arrays that broadcast to `shape`.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        raise TypeError(f"uniform_int draws integers, not {dtype}")
    words = _draw(key, counter, 0, math.prod(shape))
    if np.ndim(low) == 0 and np.ndim(high) == 0:
        first, end = operator.index(low), operator.index(high)
        _check_range(dtype, first, end, empty=first >= end)
        drawn = words if end - first > MASK else words % np.uint64(end - first)
        drawn += np.uint64(first & MASK)
        return _shaped(drawn, shape, dtype)
    lows, highs = np.asarray(low), np.asarray(high)
    if lows.dtype.kind not in "iu" or highs.dtype.kind not in "iu":
        raise TypeError(f"low and high must be integers, got {lows.dtype} and {highs.dtype}")
    if words.size:
        _check_range(dtype, int(lows.min()), int(highs.max()), empty=bool((lows >= highs).any()))
    origin = lows.astype(np.uint64)
    spans = highs.astype(np.uint64) - origin  # modulo 2**64, so 0 stands for 2**64
    grid = words.reshape(shape)
    offsets = np.where(spans == 0, grid, grid % np.maximum(spans, np.uint64(1)))
    return _shaped((offsets + origin).ravel(), shape, dtype)


def _check_range(dtype: np.dtype[Any], least: int, end: int, empty: bool) -> None:
    limits = np.iinfo(dtype)
    if empty:
        raise ValueError(f"low must be below high everywhere; least low {least}, greatest high {end}")
    if least < limits.min or end > int(limits.max) + 1:
        raise ValueError(f"the range [{least}, {end}) doesn't fit in {dtype}")


def normal(key: Key, counter: Counter, shape: Shape, dtype: npt.DTypeLike) -> Any:
    """Standard normal by Box-Muller: elements 2p and 2p + 1 are r cos t and r sin t.

    r and t come from words 2p and 2p + 1 for float64 (|x| < 8.6), else from the two halves of word p in
    float32 (|x| < 6.8).
    """
    dtype = _float_dtype(dtype, "normal")
    n = math.prod(shape)
    pairs = (n + 1) // 2
    if dtype.itemsize == 8:
        unit: npt.NDArray[Any] = _open(_draw(key, counter, 0, 2 * pairs))
    else:
        unit = _half_words(key, counter, 2 * pairs).astype(np.float32)
        unit *= np.float32(2.0**-32)
        unit += np.float32(2.0**-33)
    radius, angle = unit[0::2].copy(), unit[1::2].copy()
    np.log(radius, out=radius)
    radius *= -2
    np.sqrt(radius, out=radius)
    angle *= 2 * math.pi
    np.multiply(radius, np.cos(angle), out=unit[0::2])
    np.multiply(radius, np.sin(angle), out=unit[1::2])
    return _shaped(unit[:n], shape, dtype)


def truncated_normal(key: Key, counter: Counter, shape: Shape, dtype: npt.DTypeLike) -> Any:
    """Standard normal restricted to [-2, 2], by inverting its distribution function.

    One word (float64) or half-word an element and no rejection: the cost is fixed, and element i needs only
    its own word on any device.
    """
    dtype = _float_dtype(dtype, "truncated_normal")
    flat = np.empty(math.prod(shape))
    unit = _open_unit(key, counter, flat.size, dtype)
    for start in range(0, flat.size, _CHUNK):
        x = (unit[start : start + _CHUNK] * 2 - 1) * TWO_SIGMA
        depth = -np.log(1 - x * x)
        ratio = np.full_like(x, NDTRI[-1])
        for coefficient in NDTRI[-2::-1]:
            ratio *= depth
            ratio += coefficient
        flat[start : start + _CHUNK] = np.maximum(np.minimum(x * ratio, 2.0), -2.0)
    return _shaped(flat, shape, dtype)


def exponential(key: Key, counter: Counter, shape: Shape, dtype: npt.DTypeLike) -> Any:
    """Exponential of rate 1: -log of a uniform in (0, 1)."""
    dtype = _float_dtype(dtype, "exponential")
    unit = _open_unit(key, counter, math.prod(shape), dtype)
    np.log(unit, out=unit)
    np.negative(unit, out=unit)
    return _shaped(unit, shape, dtype)


def gamma(key: Key, counter: Counter, shape: Shape, alpha: Any, dtype: npt.DTypeLike) -> Any:
    """Gamma of shape alpha (broadcast to `shape`) and rate 1, by Marsaglia and Tsang's method.

    Attempt a of element i uses lanes 0 to 2 of its block, until one is accepted (at least 95 % are).
    alpha < 1 draws at alpha + 1 and multiplies by u ** (1 / alpha), with u from word i of attempt 0.
    """
    dtype = _float_dtype(dtype, "gamma")
    alphas = _parameter(alpha, shape, "alpha", allow_zero=False)
    small = alphas < 1
    d = np.where(small, alphas + 1, alphas) - 1 / 3
    flat = d.copy()
    _redraw(key, counter, flat, np.arange(flat.size), lambda rows, words: _propose_gamma(d[rows], words))
    if small.any():
        boost = _open(_draw(key, counter, 0, flat.size)[small])
        flat[small] *= boost ** (1 / alphas[small])
    return _shaped(flat, shape, dtype)


def _propose_gamma(d: Floats, words: Words) -> Proposal:
    x = np.sqrt(-2 * np.log(_open(words[:, 0]))) * np.cos(2 * math.pi * _open(words[:, 1]))
    v = (1 + x / np.sqrt(9 * d)) ** 3
    log_v = np.log(np.where(v > 0, v, 1.0))
    return d * v, (v > 0) & (np.log(_open(words[:, 2])) < x * x / 2 + d * (1 - v + log_v))


def poisson(key: Key, counter: Counter, shape: Shape, rate: Any, dtype: npt.DTypeLike) -> Any:
    """Poisson counts of the given rate (broadcast to `shape`), as integers (saturating) or floats.

    A rate under 10 inverts the distribution function at word i of attempt 0; a higher one is drawn by
    Hörmann's transformed rejection (PTRS), attempt a of element i using lanes 0 and 1 of its block.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        _float_dtype(dtype, "poisson")
    rates = _parameter(rate, shape, "rate", allow_zero=True)
    flat = np.floor(rates)
    low = np.flatnonzero(rates < 10)
    if low.size:
        flat[low] = _poisson_inverse(rates[low], _open(_draw(key, counter, 0, int(low[-1]) + 1)[low]))
    high = np.flatnonzero(rates >= 10)
    _redraw(key, counter, flat, high, lambda rows, words: _propose_poisson(rates[rows], words))
    if dtype.kind in "iu":  # the largest float64 that doesn't overflow
        np.minimum(flat, math.nextafter(float(int(np.iinfo(dtype).max) + 1), 0.0), out=flat)
    return _shaped(flat, shape, dtype)


def _poisson_inverse(rates: Floats, unit: Floats) -> Floats:
    counts = np.zeros_like(rates)
    mass = np.exp(-rates)
    unit = unit - mass
    rows = np.flatnonzero(unit >= 0)
    rates, mass, unit = rates[rows], mass[rows], unit[rows]
    for count in range(1, 64):  # P(count >= 64) < 1e-30 at rate 10
        if not rows.size:
            break
        counts[rows] = count
        mass *= rates / count
        unit -= mass
        more = unit >= 0
        rows, rates, mass, unit = rows[more], rates[more], mass[more], unit[more]
    return counts


def _propose_poisson(rates: Floats, words: Words) -> Proposal:
    u, v = _open(words[:, 0]) - 0.5, _open(words[:, 1])
    b = 0.931 + 2.53 * np.sqrt(rates)
    a = 0.02483 * b - 0.059
    us = 0.5 - np.abs(u)
    counts = np.floor((2 * a / us + b) * u + rates + 0.43)
    surely = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    never = (counts < 0) | ((us < 0.013) & (v > us))
    density = v * (1.1239 + 1.1328 / (b - 3.4)) / (a / us**2 + b)
    return counts, ~never & (surely | (np.log(density) <= _poisson_log_mass(counts, rates)))


def _poisson_log_mass(counts: Floats, rates: Floats) -> Floats:
    """k log(rate) - rate - log(k!) by Stirling's series; z = rate / k - 1 cancels the big terms by hand."""
    k = np.maximum(counts, 1)
    z = (rates - k) / k
    inverse = 1 / k
    series = inverse * (1 / 12 - inverse**2 * (1 / 360 - inverse**2 * (1 / 1260 - inverse**2 / 1680)))
    return np.where(counts < 1, -rates, k * (np.log1p(z) - z) - np.log(2 * math.pi * k) / 2 - series)


def shuffle_permutation(key: Key, counter: Counter, n: int) -> npt.NDArray[np.int64]:
    """A permutation of range(n): the order of the first n words, equal words by position."""
    words = _draw(key, counter, 0, n)
    order = np.argsort(words)
    ranked = words[order]
    if (ranked[1:] == ranked[:-1]).any():
        order = np.argsort(words, kind="stable")
    return order.astype(np.int64, copy=False)


def multinomial(key: Key, counter: Counter, logits: Any, num_samples: int, dtype: npt.DTypeLike) -> Any:
    """[batch, num_samples] class indices from logits [batch, classes], by inverse CDF on one word each.

    A class of logit -inf is never drawn. A row with NaN, +inf or nothing but -inf is a ValueError.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "iu":
        raise TypeError(f"multinomial draws integers, not {dtype}")
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] == 0 or num_samples < 0:
        raise ValueError(f"need logits [batch, classes], num_samples >= 0; got {scores.shape}, {num_samples}")
    batch, classes = scores.shape
    if classes - 1 > np.iinfo(dtype).max:
        raise ValueError(f"{classes} classes don't fit in {dtype}")
    top = scores.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("each row of logits needs a finite entry and no NaN or +inf")
    cumulative = np.exp(scores - top).cumsum(axis=1)
    unit = _open(_draw(key, counter, 0, batch * num_samples))
    # below the total even after rounding, as unit <= 1 - 2**-53: the class found always has a positive step
    target = unit.reshape(batch, num_samples) * cumulative[:, -1:]
    if classes <= 64 and num_samples <= 64:
        return (cumulative[:, None, :] <= target[:, :, None]).sum(axis=-1).astype(dtype)
    found = np.empty((batch, num_samples), dtype)
    for row in range(batch):
        found[row] = cumulative[row].searchsorted(target[row], side="right")
    return found


def bernoulli_mask(key: Key, counter: Counter, shape: Shape, keep_prob: Any) -> Any:
    """True with probability keep_prob (a number or an array broadcast to `shape`), in steps of 2**-32."""
    keep = np.asarray(keep_prob, dtype=np.float64)
    if not ((keep >= 0) & (keep <= 1)).all():
        raise ValueError(f"keep_prob must be in [0, 1], got {keep_prob}")
    halves = _half_words(key, counter, math.prod(shape))
    if keep.ndim:
        return halves.reshape(shape) < np.broadcast_to(keep * 2.0**32, shape)
    threshold = math.ceil(float(keep) * 2.0**32)
    mask = halves < np.uint32(threshold) if threshold < 2**32 else np.ones(halves.shape, np.bool_)
    return _shaped(mask, shape, np.dtype(np.bool_))
