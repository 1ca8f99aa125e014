"""Exact rewritings: each rule is applied where it should be, and the results have the bits that they had without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphflow as tf
from graphflow.compile.simplify import lossless
from graphflow.program import Program

HARD = [0.0, -0.0, 1.0, -1.0, 2.0, -3.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -3e38, 1e-30, 7.25, -0.1]
FLOATS = np.array(HARD, np.float32).reshape(4, 4)
COMPLEX = np.stack([FLOATS, FLOATS[::-1]], -1).view(np.complex64)[..., 0]
INTEGERS = np.array([[0, 1, -1, 2], [127, -128, 2**31 - 1, -(2**31)], [5, -7, 100, 12345]], np.int32)
SMALL = np.array([[0, 1, -1, 2], [127, -128, 64, -3]], np.int8)
BOOLS = np.array([[True, False], [False, True]])
rng = np.random.default_rng(11)
NOISE = rng.standard_normal((24, 40)).astype(np.float32)


class Ran(NamedTuple):
    values: list[Any]
    program: Program

    @property
    def types(self) -> list[str]:
        return [ins.type for ins in self.program.instructions]

    def rewritten(self, name: str) -> list[str]:
        return [words for r in self.program.record if r.name == name for _, words in r.rewritten]


def run(build: Callable[..., Any], *arrays: Any, level: int = 1, disabled: tuple[str, ...] = ()) -> Ran:
    graph = tf.Graph()
    with graph.as_default():
        xs = [tf.placeholder(tf.as_dtype(a.dtype), a.shape) for a in arrays]
        out = build(*xs)
        fetches = list(out) if isinstance(out, (list, tuple)) else [out]
        feeds = dict(zip(xs, arrays, strict=True))
        with tf.Session(graph=graph, optimization_level=level, disabled_passes=disabled) as session:
            session.run(tf.global_variables_initializer())
            return Ran(session.run(fetches, feeds), session.program(fetches, feeds))


def bits(value: Any) -> tuple[Any, Any, bytes]:
    return value.dtype, value.shape, value.tobytes()


def same(build: Callable[..., Any], *arrays: Any, disabled: tuple[str, ...] = ()) -> Ran:
    """The run at O1, which gives the very bits of O0."""
    wanted = run(build, *arrays, level=0)
    got = run(build, *arrays, disabled=disabled)
    for a, b in zip(wanted.values, got.values, strict=True):
        assert bits(a) == bits(b)
    return got


GONE: dict[str, tuple[Callable[..., Any], Any]] = {
    "x * 1": (lambda x: x * 1.0, FLOATS),
    "1 * x": (lambda x: 1.0 * x, FLOATS),
    "x * ones": (lambda x: x * np.ones((4, 4), np.float32), FLOATS),
    "x / 1": (lambda x: x / 1.0, FLOATS),
    "x - 0": (lambda x: x - 0.0, FLOATS),
    "x + -0": (lambda x: x + np.float32(-0.0), FLOATS),
    "int x + 0": (lambda x: x + 0, INTEGERS),
    "int x * 1": (lambda x: 1 * x, INTEGERS),
    "int x // 1": (lambda x: x // 1, INTEGERS),
    "int truncated x / 1": (lambda x: tf.truncatediv(x, 1), INTEGERS),
    "--x": (lambda x: tf.negative(-x), FLOATS),
    "int --x": (lambda x: tf.negative(-x), INTEGERS),
    "not not x": (lambda x: tf.logical_not(tf.logical_not(x)), BOOLS),
    "max(x, x)": (lambda x: tf.maximum(x, x), FLOATS),
    "x and x": (lambda x: tf.logical_and(x, x), BOOLS),
    "where(True, x, y)": (lambda x: tf.where(tf.constant(True), x, -x), FLOATS),
    "where(all True, x, y)": (lambda x: tf.where(np.ones((4, 4), bool), x, tf.exp(x)), FLOATS),
    "float32 as float64 and back": (lambda x: tf.cast(tf.cast(x, tf.float64), tf.float32), FLOATS),
    "int8 as float32 and back": (lambda x: tf.cast(tf.cast(x, tf.float32), tf.int8), SMALL),
    "bool as int32 and back": (lambda x: tf.cast(tf.cast(x, tf.int32), tf.bool), BOOLS),
    "transposed twice": (lambda x: tf.transpose(tf.transpose(x)), NOISE),
    "transposed not at all": (lambda x: tf.transpose(x, [0, 1]), NOISE),
    "reshaped and back": (lambda x: tf.reshape(tf.reshape(x, [-1]), [24, 40]), NOISE),
    "expanded and squeezed": (lambda x: tf.squeeze(tf.expand_dims(x, 1), [1]), NOISE),
    "all of a slice": (lambda x: tf.slice(x, [0, 0], [-1, 40]), NOISE),
    "all of a strided slice": (lambda x: x[:, 0:40:1], NOISE),
    "tiled once": (lambda x: tf.tile(x, [1, 1]), NOISE),
    "padded by nothing": (lambda x: tf.pad(x, [[0, 0], [0, 0]]), NOISE),
    "concat of one": (lambda x: tf.concat([x], 1), NOISE),
    "sum of one": (lambda x: tf.add_n([x]), FLOATS),
}


@pytest.mark.parametrize("name", GONE)
def test_what_changes_nothing_is_removed(name: str) -> None:
    build, array = GONE[name]
    ran = same(lambda x: build(tf.identity(x)), array)
    assert ran.types == [] and ran.rewritten("simplify")
    assert ran.program.fetches == ran.program.feeds


def _bias_gradient(x: Any) -> Any:
    bias = tf.exp(x[0])
    return tf.gradients(tf.exp(tf.nn.bias_add(x, bias)), [bias])[0]


def _row_gradient(x: Any) -> Any:
    row = x[:1]
    return tf.gradients(tf.exp(x + row), [row])[0]


BECAME: dict[str, tuple[Callable[..., Any], Any, list[str]]] = {
    "int x * 0": (lambda x: x * 0, INTEGERS, []),
    "||x||": (lambda x: tf.abs(tf.abs(x)), FLOATS, ["Abs"]),
    "|-x|": (lambda x: tf.abs(-x), FLOATS, ["Abs"]),
    "int |-x|": (lambda x: tf.abs(-x), INTEGERS, ["Abs"]),
    "floor of floor": (lambda x: tf.floor(tf.floor(x)), FLOATS, ["Floor"]),
    "x ** 2": (lambda x: x**2, FLOATS, ["Square"]),
    "int x ** 2": (lambda x: x**2, INTEGERS, ["Square"]),
    "int32 to float64 to float32": (lambda x: tf.cast(tf.cast(x, tf.float64), tf.float32), INTEGERS, ["Cast"]),
    "int8 to int32 to uint8": (lambda x: tf.cast(tf.cast(x, tf.int32), tf.uint8), SMALL, ["Cast"]),
    "two permutations": (
        lambda x: tf.transpose(tf.transpose(tf.reshape(x, [4, 6, 40]), [2, 0, 1]), [0, -1, 1]),
        NOISE,
        ["Reshape", "Transpose"],
    ),
    "reshape of reshape": (lambda x: tf.expand_dims(tf.reshape(x, [40, 24]), 0), NOISE, ["Reshape"]),
    **{
        f"x / {c}": (lambda x, c=c: x / np.float32(c), FLOATS, ["Mul"])
        for c in (2.0, -4.0, 0.5, -0.25, 2.0**60, 2.0**-100, 2.0**126, 2.0**-126)
    },
    "x or 0": (lambda x: tf.where(np.eye(4, dtype=bool), x, 0.0), FLOATS, ["ZeroUnless"]),
    "0 or x": (lambda x: tf.where([True, False, True, False], tf.zeros([4, 4]), x), FLOATS, ["ZeroUnless"]),
    "gradient of a maximum": (
        lambda x: tf.gradients(tf.maximum(x, 0.0), [x], [tf.exp(x)])[0],
        FLOATS,
        ["Exp", "GreaterEqual", "ZeroUnless"],
    ),
    "stack of one": (lambda x: tf.stack([x], 1), NOISE, ["ExpandDims"]),
    "sum of two": (lambda x: tf.add_n([x, tf.exp(x)]), FLOATS, ["Exp", "Add"]),
    "bias": (lambda x: tf.nn.bias_add(x, tf.exp(x[0])), NOISE, ["StridedSlice", "Exp", "Add"]),
    "gradient of a bias": (_bias_gradient, NOISE, ["StridedSlice", "Exp", "Add", "Exp", "Sum"]),
    "gradient of a broadcast row": (
        _row_gradient,
        NOISE,
        ["StridedSlice", "Add", "Exp", "Sum"],
    ),
}


@pytest.mark.parametrize("name", BECAME)
def test_what_less_does_as_well_is_replaced(name: str) -> None:
    build, array, types = BECAME[name]
    ran = same(build, array)
    assert ran.types == types


STAYS: dict[str, tuple[Callable[..., Any], Any, list[str]]] = {
    "x + 0 turns -0 into 0": (lambda x: x + 0.0, FLOATS, ["Add"]),
    "x - -0 does, too": (lambda x: x - np.float32(-0.0), FLOATS, ["Sub"]),
    "0 - x": (lambda x: 0.0 - x, FLOATS, ["Sub"]),
    **{
        f"x / {c}": (lambda x, c=c: x / np.float32(c), FLOATS, ["RealDiv"])
        for c in (0.0, 3.0, np.inf, np.nan, 2.0**127, 2.0**-127, 2.0**-149)
    },
    "1 / x": (lambda x: 1.0 / x, FLOATS, ["RealDiv"]),
    "x * 0 of infinity": (lambda x: x * 0.0, FLOATS, ["Mul"]),
    "complex x * 1": (lambda x: x * 1.0, COMPLEX, ["Mul"]),
    "a broadcast": (lambda x: x * np.ones((2, 4, 4), np.float32), FLOATS, ["Mul"]),
    "float32 as float16 and back": (lambda x: tf.cast(tf.cast(x, tf.float16), tf.float32), FLOATS, ["Cast"] * 2),
    "int32 as float32 and back": (lambda x: tf.cast(tf.cast(x, tf.float32), tf.int32), INTEGERS, ["Cast"] * 2),
    "int64 as float64 and back": (
        lambda x: tf.cast(tf.cast(x, tf.float64), tf.int64),
        np.array([2**53 + 1, -(2**62) - 1]),
        ["Cast"] * 2,
    ),
    "x ** 3": (lambda x: x**3, FLOATS, ["Pow"]),
    "a choice of -0": (lambda x: tf.where(np.eye(4, dtype=bool), x, np.float32(-0.0)), FLOATS, ["Select"]),
    "a mixed choice": (lambda x: tf.where(np.eye(4, dtype=bool), x, -x), FLOATS, ["Neg", "Select"]),
    "a part": (lambda x: x[1:], FLOATS, ["StridedSlice"]),
    "backwards": (lambda x: x[::-1], FLOATS, ["StridedSlice"]),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_division_by_a_power_of_two_in_other_precisions(dtype: Any) -> None:
    x = FLOATS.astype(np.float64).clip(-6e4, 6e4).astype(dtype)
    divisors = [dtype(2.0) ** dtype(k) for k in (-14, -3, -1, 1, 5, 14)]
    assert same(lambda v: [v / d for d in divisors], x).types == ["Mul"] * 6


@pytest.mark.parametrize("name", STAYS)
def test_what_is_not_exact_stays(name: str) -> None:
    build, array, types = STAYS[name]
    assert same(build, array).types == types


def test_a_copy_of_a_view_stays_as_sums_depend_on_the_order_in_memory() -> None:
    def build(x: Any) -> list[Any]:
        parts = [tf.transpose(x), x[:, ::2], x[:, 3:30], tf.split(x, 2, 1)[1]]
        copies = [p * 1.0 for p in parts] + [tf.reshape(tf.reshape(p, [-1]), p.shape) for p in parts]
        return [f(c) for c in copies for f in (tf.reduce_sum, lambda v: tf.reduce_sum(v, 1), lambda v: v)]

    big = rng.standard_normal((300, 200)).astype(np.float32)
    assert same(build, big).types.count("Mul") == 4


def test_who_waits_goes_on_waiting() -> None:
    def build(x: Any) -> Any:
        v = tf.Variable(1.0, name="v")
        with tf.control_dependencies([v.assign(5.0)]):
            first = -x
        y = -first
        with tf.control_dependencies([y]):
            return v.read_value() + tf.reduce_sum(y) * 0

    ran = same(build, np.ones((2, 2), np.float32))
    assert ran.values[0] == 5.0 and ran.types.count("Neg") == 2


def test_a_check_is_not_lost() -> None:
    x = tf.placeholder(tf.float32, [2])
    begin = tf.placeholder(tf.int32, [1])
    y = tf.slice(x, begin, [2])
    with tf.Session() as session, pytest.raises(tf.errors.InvalidArgumentError):
        session.run(y, {x: np.ones(2), begin: [-1]})


def test_without_the_pass_nothing_is_simplified() -> None:
    ran = same(lambda x: tf.negative(-x), FLOATS, disabled=("simplify",))
    assert ran.types == ["Neg", "Neg"]


def test_casts_that_lose_nothing() -> None:
    names = ["bool", "int8", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]
    for source in names:
        for target in names:
            a, b = tf.as_dtype(source), tf.as_dtype(target)
            if not lossless(a, b):
                continue
            if a.is_integer:
                info = np.iinfo(a.np)
                hard = np.array([info.min, info.max, 0, 1, info.max - 1, info.max // 2 + 1], a.np)
            else:
                with np.errstate(all="ignore"):
                    hard = np.array([0, 1]).astype(a.np) if a.is_bool else FLOATS.astype(a.np)
            with np.errstate(all="ignore"):
                assert bits(hard.astype(b.np).astype(a.np)) == bits(hard), (source, target)
    assert lossless(tf.int32, tf.float64) and not lossless(tf.int32, tf.float32) and not lossless(tf.int64, tf.float64)


@pytest.mark.parametrize("shape", [(32, 20), (3, 1), (1, 7), (64, 144), (65, 144), (300, 130), (40, 2000), (7, 5, 11)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_of_broadcasts_are_plain_sums(shape: tuple[int, ...], dtype: Any) -> None:
    def build(x: Any) -> list[Any]:
        dims = [shape[-1:], (), (1, *shape[1:]), (*shape[:-1], 1), (1,) * len(shape)]
        small = [tf.zeros(d, x.dtype) for d in dims]
        biased = tf.nn.bias_add(x, small[0])
        return [*tf.gradients([x * s for s in small], small, [x] * len(small)), *tf.gradients(biased, small[:1], [x])]

    array = rng.standard_normal(shape).astype(dtype)
    ran = same(build, array)
    assert "BiasAddGrad" not in ran.types and ran.types.count("Sum") >= 3


# -- transpositions in products --------------------------------------------------------------------------------------

A = rng.standard_normal((17, 33)).astype(np.float32)
B = rng.standard_normal((33, 9)).astype(np.float32)
BATCH = rng.standard_normal((3, 17, 33)).astype(np.float32)


@pytest.mark.parametrize("half", [False, True])
def test_transpositions_become_flags(half: bool) -> None:
    def build(a: Any, b: Any, c: Any) -> list[Any]:
        at, bt, ct = tf.transpose(a), tf.transpose(b), tf.transpose(c, [0, 2, 1])
        return [
            tf.matmul(at, a),
            tf.matmul(bt, at),
            tf.matmul(at, bt, transpose_a=True, transpose_b=True),
            tf.matmul(ct, c),
            tf.matmul(c, ct),
        ]

    arrays = [x.astype(np.float16) if half else x for x in (A, B, BATCH)]
    ran = same(build, *arrays)
    assert ran.types == ["MatMul"] * 5 and len(ran.rewritten("fold_transposes")) == 5


def test_other_permutations_stay() -> None:
    ran = same(lambda c: tf.matmul(tf.transpose(c, [1, 0, 2]), tf.transpose(c, [1, 2, 0])), BATCH)
    assert ran.types == ["Transpose", "Transpose", "MatMul"]
