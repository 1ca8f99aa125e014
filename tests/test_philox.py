"""The random streams: known words, the counter layout, purity of every draw, and the distributions.

Policy: fixed keys throughout, so a statistical bound holds always or never; the bounds are those of a one in
a thousand test. Owns no state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from graphflow_numpy import philox
from graphflow_numpy.philox import (
    bernoulli_mask,
    exponential,
    gamma,
    multinomial,
    normal,
    philox_blocks,
    poisson,
    raw_words,
    shuffle_permutation,
    truncated_normal,
    uniform,
    uniform_int,
)

KEY = (87654321, 17)
RUN = (5,)
ONES = 2**64 - 1

# Random123's kat_vectors for philox4x64, 10 rounds: counter, key, words
PUBLISHED = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (ONES, ONES, ONES, ONES),
        (ONES, ONES),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]

Draw = Callable[[tuple[int, int], tuple[int, ...], tuple[int, ...]], Any]
DRAWS: dict[str, Draw] = {
    "uniform16": lambda k, c, s: uniform(k, c, s, np.float16),
    "uniform32": lambda k, c, s: uniform(k, c, s, np.float32),
    "uniform64": lambda k, c, s: uniform(k, c, s, np.float64),
    "uniform_int": lambda k, c, s: uniform_int(k, c, s, np.int32, -5, 1000),
    "normal16": lambda k, c, s: normal(k, c, s, np.float16),
    "normal32": lambda k, c, s: normal(k, c, s, np.float32),
    "normal64": lambda k, c, s: normal(k, c, s, np.float64),
    "truncated32": lambda k, c, s: truncated_normal(k, c, s, np.float32),
    "truncated64": lambda k, c, s: truncated_normal(k, c, s, np.float64),
    "exponential32": lambda k, c, s: exponential(k, c, s, np.float32),
    "exponential64": lambda k, c, s: exponential(k, c, s, np.float64),
    "gamma": lambda k, c, s: gamma(k, c, s, 2.5, np.float32),
    "gamma_small": lambda k, c, s: gamma(k, c, s, 0.3, np.float64),
    "poisson_low": lambda k, c, s: poisson(k, c, s, 3.0, np.float32),
    "poisson_high": lambda k, c, s: poisson(k, c, s, 40.0, np.int64),
    "bernoulli": lambda k, c, s: bernoulli_mask(k, c, s, 0.4),
}


@pytest.fixture(params=DRAWS, name="draw")
def _draw(request: pytest.FixtureRequest) -> Draw:
    return DRAWS[request.param]


def ks(sample: Any, cdf: Callable[[Any], Any]) -> float:
    """The Kolmogorov-Smirnov distance times sqrt(n): above 1.95 once in a thousand samples."""
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    n = values.size
    expected = cdf(values)
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))


def chi_square_z(counts: Any, expected: Any) -> float:
    """Pearson's statistic of bins that expect 10 or more, the rest pooled, in standard deviations."""
    big = expected >= 10
    observed = np.append(counts[big], counts[~big].sum())
    wanted = np.append(expected[big], expected[~big].sum() + 1e-9)
    if wanted[-1] < 1:
        assert observed[-1] < 12
        observed, wanted = observed[:-1], wanted[:-1]
    freedom = wanted.size - 1
    return float((((observed - wanted) ** 2 / wanted).sum() - freedom) / math.sqrt(2 * freedom))


erf = np.vectorize(math.erf)


def normal_cdf(x: Any) -> Any:
    return (1 + erf(np.asarray(x) / math.sqrt(2))) / 2


# words and counters


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_published_vectors(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    ours = philox_blocks(key, np.array(counter[:1], np.uint64), *counter[1:])
    assert tuple(int(w) for w in ours[0]) == words
    value = sum(word << 64 * i for i, word in enumerate(counter))
    numpys = np.random.Philox(key=key[0] | key[1] << 64, counter=(value - 1) % 2**256)
    assert tuple(int(w) for w in numpys.random_raw(4)) == words


@pytest.mark.parametrize(
    ("counter", "words_1_to_3"),
    [
        ((0,), (0, 0, 0)),
        ((2**64 - 1,), (2**64 - 1, 0, 0)),
        ((9, 0), (9, 0, 1 << 32)),
        ((9, 2**64 - 1), (9, 2**64 - 1, 1 << 32)),
        ((9, 3, 4), (9, 3 << 32 | 4, 2 << 32)),
        ((9, 1, 2, 3), (9, 1 << 42 | 2 << 21 | 3, 3 << 32)),
    ],
)
def test_counter_layout(counter: tuple[int, ...], words_1_to_3: tuple[int, int, int]) -> None:
    blocks = philox_blocks((3, ONES), np.arange(1, 6, dtype=np.uint64), *words_1_to_3)
    np.testing.assert_array_equal(raw_words((3, -1), counter, 18), blocks.ravel()[:18])


def test_golden_words() -> None:
    """A seed in a user's file means these words forever."""
    for key, counter, word in (
        ((1, 2), (3,), 0x23278960BBD21E3D),
        ((1, 2), (3, 2**40, 5), 0x69BAE3658A271180),
        ((10**30, -(2**70)), (0,), 0xD3B5BAF71D06F698),
    ):
        assert int(raw_words(key, counter, 1)[0]) == word


def test_golden_draws() -> None:
    scaled = uniform((1, 2), (3,), (3,), np.float32) * 2**24
    assert scaled.tolist() == [12309022, 2303881, 9595791]
    assert uniform_int((1, 2), (3,), (8,), np.int8, -50, 50).tolist() == [15, -20, -24, -7, 0, -31, 5, 30]
    assert np.flatnonzero(bernoulli_mask((1, 2), (3,), (8,), 0.5)).tolist() == [1, 3, 5, 6]
    assert shuffle_permutation((1, 2), (3,), 8).tolist() == [5, 0, 1, 2, 7, 6, 4, 3]
    assert poisson((1, 2), (3,), (12,), 4.0, np.int32).tolist() == [2, 2, 3, 6, 5, 2, 4, 3, 4, 6, 7, 5]
    assert poisson((1, 2), (3,), (8,), 100.0, np.int32).tolist() == [103, 91, 97, 93, 113, 79, 111, 95]
    classes = multinomial((1, 2), (3,), [[0.0, 1.0, 2.0, 3.0]], 12, np.int32)
    assert classes.tolist() == [[2, 2, 2, 3, 3, 2, 3, 2, 3, 3, 3, 3]]
    floats = [f((1, 2), (3,), (), np.float64) for f in (normal, truncated_normal, exponential)]
    floats += [gamma((1, 2), (3,), (), alpha, np.float64) for alpha in (0.5, 2.0)]
    expected = [0.3089132597220374, -1.0201697765024016, 1.9854265192674339]
    expected += [0.01007734848879615, 0.8801176388950877]
    assert floats == pytest.approx(expected, rel=1e-12)


def test_streams_are_disjoint() -> None:
    keys = [KEY, (KEY[0], KEY[1] + 1), (KEY[0] + 1, KEY[1]), (KEY[1], KEY[0]), (-KEY[0], KEY[1])]
    keys += [(2**64 + KEY[0], KEY[1]), (-(2**64) - KEY[0], KEY[1])]
    counters = [(0,), (1,), (2**63,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0)]
    counters += [(0, 2**40, 1), (0, 1, 2**40)]
    streams = [raw_words(key, counter, 2000) for key in keys for counter in counters]
    assert np.unique(np.concatenate(streams)).size == 2000 * len(streams)


def test_words_depend_on_nothing_else() -> None:
    first = raw_words(KEY, RUN, 1001)
    for n in (0, 1, 2, 3, 4, 5, 1000):
        words = raw_words(KEY, RUN, n)
        assert words.dtype == np.uint64
        np.testing.assert_array_equal(words, first[:n])
    numpy_ints = raw_words((np.int64(KEY[0]), np.int32(KEY[1])), (np.int64(5),), 3)  # type: ignore[arg-type]
    np.testing.assert_array_equal(numpy_ints, first[:3])


@pytest.mark.parametrize("counter", [(), (-1,), (2**64,), (0, -1)])
def test_bad_counters(counter: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"run index|iterations"):
        raw_words(KEY, counter, 1)
    with pytest.raises(TypeError):
        raw_words(KEY, (0.5,), 1)  # type: ignore[arg-type]


def test_scattered_blocks_equal_contiguous_ones() -> None:
    rows = np.array([3, 5, 9000, 40000])
    dense = np.arange(40001)
    scattered = philox._element_blocks(KEY, (4, 1), 2, rows)
    np.testing.assert_array_equal(scattered, philox._element_blocks(KEY, (4, 1), 2, dense)[rows])
    np.testing.assert_array_equal(scattered[:2], philox._element_blocks(KEY, (4, 1), 2, rows[:2]))


# what holds for every draw


def test_prefix_and_shape(draw: Draw) -> None:
    long = draw(KEY, RUN, (70001,))
    for n in (1, 2, 7, 130, 16385, 66001):
        np.testing.assert_array_equal(draw(KEY, RUN, (n,)), long[:n])
    np.testing.assert_array_equal(draw(KEY, RUN, (3, 5, 2)), long[:30].reshape(3, 5, 2))
    scalar = draw(KEY, RUN, ())
    assert isinstance(scalar, np.generic)
    assert scalar.dtype == long.dtype
    assert scalar == long[0]


def test_empty_shapes(draw: Draw) -> None:
    for shape in ((0,), (3, 0), (0, 0, 2)):
        assert draw(KEY, RUN, shape).shape == shape


def test_threads_agree(draw: Draw) -> None:
    runs = [(run,) for run in range(12)]
    alone = [draw(KEY, run, (3001,)) for run in runs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda run: draw(KEY, run, (3001,)), runs))
    for left, right in zip(alone, together, strict=True):
        np.testing.assert_array_equal(left, right)
    assert (alone[0] != alone[1]).any()


# distributions


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_uniform(dtype: Any) -> None:
    values = uniform(KEY, RUN, (200_000,), dtype)
    assert values.dtype == dtype
    assert values.min() >= 0
    assert values.max() < 1
    steps = 2.0 ** {2: 11, 4: 24, 8: 53}[values.itemsize]
    scaled = values.astype(np.float64) * steps
    np.testing.assert_array_equal(scaled, np.floor(scaled))
    ideal = (lambda x: (np.floor(x * steps) + 1) / steps) if dtype is np.float16 else (lambda x: x)
    assert ks(values[:: 40 if dtype is np.float16 else 1], ideal) < 1.95
    assert abs(np.corrcoef(values[1:].astype(float), values[:-1].astype(float))[0, 1]) < 3.3 / math.sqrt(200_000)


def test_uniform_takes_documented_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(philox, "_draw", lambda *_: np.array([ONES, 0xFFFFFF00_00000100, 0, 0], np.uint64))
    top = 1 - 2.0**-24
    assert uniform(KEY, RUN, (5,), np.float32).tolist() == [top, top, 2.0**-24, top, 0.0]
    assert uniform(KEY, RUN, (1,), np.float16).tolist() == [1 - 2.0**-11]
    assert uniform(KEY, RUN, (4,), np.float64)[[0, 2]].tolist() == [1 - 2.0**-53, 0.0]
    for dtype, n in ((np.float32, 8), (np.float64, 4)):
        assert np.isfinite(normal(KEY, RUN, (n,), dtype)).all()
        assert np.isfinite(exponential(KEY, RUN, (n,), dtype)).all()
        assert abs(truncated_normal(KEY, RUN, (n,), dtype)).max() <= 2


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.int32, -3, 4),
        (np.uint8, 0, 256),
        (np.int8, -128, 128),
        (np.int64, 2**40, 2**40 + 10),
        (np.uint64, 2**64 - 5, 2**64),
        (np.int16, 7, 8),
    ],
)
def test_uniform_int(dtype: Any, low: int, high: int) -> None:
    values = uniform_int(KEY, RUN, (100_000,), dtype, low, high)
    assert values.dtype == dtype
    counts = np.bincount((values - np.array(low, dtype)).astype(np.uint8), minlength=high - low)
    assert counts.size == high - low
    if high - low > 1:
        assert abs(chi_square_z(counts, np.full(high - low, 100_000 / (high - low)))) < 4


def test_uniform_int_wide_and_by_element() -> None:
    words = raw_words(KEY, RUN, 6)
    full = uniform_int(KEY, RUN, (6,), np.int64, -(2**63), 2**63)
    np.testing.assert_array_equal(full.astype(np.uint64) + np.uint64(2**63), words)
    np.testing.assert_array_equal(uniform_int(KEY, RUN, (6,), np.uint64, 0, 2**64), words)
    low, high = np.array([[0], [100]]), np.array([1, 102, 2**31])
    low[1, 0] = 0
    values = uniform_int(KEY, RUN, (2, 3), np.int32, low, high)
    np.testing.assert_array_equal(values, (words.reshape(2, 3) % high.astype(np.uint64)).astype(np.int32))
    mixed = uniform_int(KEY, RUN, (6,), np.int64, np.int64(-(2**63)), np.full(6, 2**63, np.uint64))
    np.testing.assert_array_equal(mixed, full)
    assert uniform_int(KEY, RUN, (0, 3), np.int32, low[:0], high).shape == (0, 3)


def test_uniform_int_refuses() -> None:
    for low, high in ((3, 3), (4, 3), (np.array([0, 5]), 5)):
        with pytest.raises(ValueError, match="below high"):
            uniform_int(KEY, RUN, (2,), np.int32, low, high)
    for low, high in ((-1, 5), (0, 257), (np.array([0, -1]), 5)):
        with pytest.raises(ValueError, match="fit in uint8"):
            uniform_int(KEY, RUN, (2,), np.uint8, low, high)
    for arguments in ((np.float32, 0, 5), (np.int32, 0, 5.5), (np.int32, np.array([0.5]), 5)):
        with pytest.raises(TypeError):
            uniform_int(KEY, RUN, (2,), *arguments)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal(dtype: Any) -> None:
    values = normal(KEY, RUN, (100_000,), dtype)
    assert values.dtype == dtype
    assert ks(values, normal_cdf) < 1.95
    wide = values.astype(np.float64)
    n = values.size
    assert abs(wide.mean()) < 3.3 / math.sqrt(n)
    assert abs(wide.var() - 1) < 3.3 * math.sqrt(2 / n)
    assert abs((wide**3).mean()) < 3.3 * math.sqrt(15 / n)
    assert abs((wide**4).mean() - 3) < 3.3 * math.sqrt(96 / n)
    assert abs((wide[0::2] * wide[1::2]).mean()) < 3.3 / math.sqrt(n / 2)
    assert 3.7 < abs(wide).max() < 6.8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_truncated_normal(dtype: Any) -> None:
    values = truncated_normal(KEY, RUN, (100_000,), dtype)
    assert values.dtype == dtype
    assert abs(values).max() <= 2
    mass = math.erf(math.sqrt(2))
    assert ks(values, lambda x: (normal_cdf(x) - normal_cdf(-2)) / mass) < 1.95
    variance = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / mass
    assert abs(values.astype(np.float64).var() - variance) < 0.01


def test_truncated_normal_inverts_to_float64_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (np.arange(1, 4096, dtype=np.uint64) << np.uint64(52)) + np.uint64(2**30)
    monkeypatch.setattr(philox, "_draw", lambda *_: words)
    values = truncated_normal(KEY, RUN, (words.size,), np.float64)
    unit = philox._open(words)
    error = erf(values / math.sqrt(2)) - (2 * unit - 1) * philox.TWO_SIGMA
    assert abs(error).max() < 1e-15
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponential(dtype: Any) -> None:
    values = exponential(KEY, RUN, (100_000,), dtype)
    assert values.dtype == dtype
    assert values.min() > 0
    assert ks(values, lambda x: -np.expm1(-x)) < 1.95


def erlang_cdf(shape: int) -> Callable[[Any], Any]:
    return lambda x: 1 - np.exp(-x) * sum(x**k / math.factorial(k) for k in range(shape))


@pytest.mark.parametrize(
    ("alpha", "cdf"),
    [(0.5, lambda x: erf(np.sqrt(x))), (1.0, erlang_cdf(1)), (2.0, erlang_cdf(2)), (15.0, erlang_cdf(15))],
)
def test_gamma(alpha: float, cdf: Callable[[Any], Any]) -> None:
    assert ks(gamma(KEY, RUN, (50_000,), alpha, np.float64), cdf) < 1.95


@pytest.mark.parametrize("alpha", [0.01, 0.7, 3.3, 1e4, 1e12])
def test_gamma_moments(alpha: float) -> None:
    values = gamma(KEY, RUN, (50_000,), alpha, np.float64)
    assert abs(values.mean() - alpha) < 3.3 * math.sqrt(alpha / values.size)
    assert abs(values.var() / alpha - 1) < 3.3 * math.sqrt((2 + 6 / alpha) / values.size)


@pytest.mark.parametrize("rate", [0.02, 1.0, 9.9, 10.0, 33.3, 400.0])
def test_poisson(rate: float) -> None:
    values = poisson(KEY, RUN, (50_000,), rate, np.int32)
    assert values.dtype == np.int32
    counts = np.bincount(values, minlength=8)
    k = np.arange(counts.size)
    logs = k * math.log(rate) - rate - np.array([math.lgamma(i + 1) for i in k])
    assert abs(chi_square_z(counts, np.exp(logs) * values.size)) < 4


def test_poisson_log_mass() -> None:
    for rate in (10.0, 37.5, 1000.0):
        k = np.arange(0.0, 3 * rate)
        exact = k * math.log(rate) - rate - np.array([math.lgamma(i + 1) for i in k])
        error = abs(philox._poisson_log_mass(k, np.full_like(k, rate)) - exact)
        assert error.max() < 4e-4
        assert error[10:].max() < 1e-11


def test_poisson_large_rates_and_saturation() -> None:
    for rate in (1e6, 1e12):
        values = poisson(KEY, RUN, (50_000,), rate, np.float64)
        assert abs(values.mean() - rate) < 3.3 * math.sqrt(rate / values.size)
        assert abs(values.var() / rate - 1) < 3.3 * math.sqrt(2 / values.size)
    assert (poisson(KEY, RUN, (9,), 0.0, np.int64) == 0).all()
    assert (poisson(KEY, RUN, (9,), 1e10, np.int32) == 2**31 - 1).all()
    assert (poisson(KEY, RUN, (9,), 1e10, np.uint8) == 255).all()
    assert np.isinf(poisson(KEY, RUN, (9,), 1e10, np.float16)).all()


def test_parameters_by_element() -> None:
    rates = np.where(np.arange(30_000) % 7_000 == 3, 50.0, 2.0)
    mixed = poisson(KEY, RUN, rates.shape, rates, np.float64)
    low, high = (poisson(KEY, RUN, rates.shape, rate, np.float64) for rate in (2.0, 50.0))
    np.testing.assert_array_equal(mixed, np.where(rates < 10, low, high))
    alphas = np.array([[0.2], [5.0]])
    values = gamma(KEY, RUN, (2, 4), alphas, np.float64)
    np.testing.assert_array_equal(values[0], gamma(KEY, RUN, (8,), 0.2, np.float64)[:4])
    np.testing.assert_array_equal(values[1], gamma(KEY, RUN, (8,), 5.0, np.float64)[4:])


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, np.array([1.0, -2.0])])
def test_bad_parameters(bad: Any) -> None:
    with pytest.raises(ValueError, match="rate must be"):
        poisson(KEY, RUN, (2,), bad, np.int32)
    with pytest.raises(ValueError, match="alpha must be"):
        gamma(KEY, RUN, (2,), bad, np.float32)
    with pytest.raises(ValueError, match="alpha must be"):
        gamma(KEY, RUN, (2,), 0.0, np.float32)
    with pytest.raises(ValueError, match="keep_prob"):
        bernoulli_mask(KEY, RUN, (2,), bad)


@pytest.mark.parametrize("draw_floats", [uniform, normal, truncated_normal, exponential])
@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.complex64, np.dtype(object)])
def test_bad_dtypes(draw_floats: Any, dtype: Any) -> None:
    with pytest.raises(TypeError, match="float16, float32 or float64"):
        draw_floats(KEY, RUN, (2,), dtype)
    with pytest.raises(TypeError, match="float16, float32 or float64"):
        gamma(KEY, RUN, (2,), 1.0, dtype)


def test_shuffle_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (0, 1, 2, 1000):
        order = shuffle_permutation(KEY, RUN, n)
        assert order.dtype == np.int64
        assert sorted(order.tolist()) == list(range(n))
    orders = [tuple(shuffle_permutation(KEY, (run,), 4).tolist()) for run in range(6000)]
    counts = np.array([orders.count(order) for order in sorted(set(orders))])
    assert counts.size == 24
    assert abs(chi_square_z(counts, np.full(24, 250.0))) < 4
    monkeypatch.setattr(philox, "_draw", lambda *_: np.array([7, 3] * 50, np.uint64))
    assert shuffle_permutation(KEY, RUN, 100).tolist() == [*range(1, 100, 2), *range(0, 100, 2)]


@pytest.mark.parametrize("num_samples", [1, 50, 40_000])
def test_multinomial(num_samples: int) -> None:
    with np.errstate(divide="ignore"):
        logits = np.log(np.array([[0, 1, 2, 0, 5, 0], [3, 0, 1, 1, 1, 1e-300]])) + 1000.0
    values = multinomial(KEY, RUN, logits, num_samples, np.int32)
    assert values.shape == (2, num_samples)
    assert values.dtype == np.int32
    assert np.isfinite(np.take_along_axis(logits, values.astype(np.int64), axis=1)).all()
    if num_samples == 40_000:
        counts = np.bincount(values[0], minlength=6)
        assert abs(chi_square_z(counts[[1, 2, 4]], np.array([1, 2, 5]) * 5000.0)) < 4
        few = multinomial(KEY, RUN, logits[:1], 50, np.int64)
        np.testing.assert_array_equal(few[0], values[0, :50])


def test_multinomial_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    assert multinomial(KEY, RUN, np.zeros((0, 3)), 4, np.int64).shape == (0, 4)
    assert multinomial(KEY, RUN, np.zeros((2, 3)), 0, np.int64).shape == (2, 0)
    wide = np.full((2, 300), -np.inf)
    wide[:, [5, 299]] = 0.0, -1.0
    assert set(multinomial(KEY, RUN, wide, 500, np.int64).ravel().tolist()) == {5, 299}
    for bad in ([[math.nan, 0.0]], [[math.inf, 0.0]], [[-math.inf, -math.inf]]):
        with pytest.raises(ValueError, match="finite"):
            multinomial(KEY, RUN, bad, 1, np.int64)
    with pytest.raises(ValueError, match="need logits"):
        multinomial(KEY, RUN, np.zeros(3), 1, np.int64)
    with pytest.raises(ValueError, match="fit in int8"):
        multinomial(KEY, RUN, np.zeros((1, 129)), 1, np.int8)
    with pytest.raises(TypeError, match="integers"):
        multinomial(KEY, RUN, np.zeros((1, 3)), 1, np.float32)
    monkeypatch.setattr(philox, "_draw", lambda *_: np.array([0, ONES], np.uint64))
    edge = np.array([[-math.inf, 0.1, 0.3, 0.7, -math.inf]])
    assert multinomial(KEY, RUN, edge, 2, np.int64).tolist() == [[1, 3]]


def test_bernoulli_mask() -> None:
    for keep in (0.0, 0.1, np.float32(0.5), 0.9, 1 - 2.0**-33, 1.0):
        mask = bernoulli_mask(KEY, RUN, (100_000,), keep)
        assert mask.dtype == np.bool_
        assert abs(mask.mean() - keep) <= 3.3 * math.sqrt(keep * (1 - keep) / mask.size)
    by_element = bernoulli_mask(KEY, RUN, (2, 1000), np.array([[0.1], [0.9]]))
    np.testing.assert_array_equal(by_element[0], bernoulli_mask(KEY, RUN, (1000,), 0.1))
    np.testing.assert_array_equal(by_element[1], bernoulli_mask(KEY, RUN, (2000,), 0.9)[1000:])
