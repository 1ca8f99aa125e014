"""Broadcasts that never happen: pointwise ops read the small operand, and every bit is as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from tests.test_simplify import FLOATS, INTEGERS, Ran, run, same

PASS = "forward_broadcasts"
rng = np.random.default_rng(12)
X = rng.standard_normal((24, 48)).astype(np.float32)
LARGE = rng.standard_normal((300, 200)).astype(np.float32)
MADE = {"Fill", "BroadcastTo", "Spread", "OnesLike", "ZerosLike"}


def mean_gradient(x: Any) -> Any:
    return tf.gradients(tf.reduce_mean(tf.exp(x)), [x])[0]


def row_mean_gradient(x: Any) -> Any:
    return tf.gradients(tf.reduce_sum(tf.square(tf.reduce_mean(tf.exp(x), 1))), [x])[0]


def kept_sum_gradient(x: Any) -> Any:
    return tf.gradients(tf.reduce_sum(tf.exp(tf.reduce_sum(tf.sin(x), 0, keepdims=True))), [x])[0]


def logsumexp_gradient(x: Any) -> Any:
    return tf.gradients(tf.reduce_mean(tf.reduce_logsumexp(-tf.square(x), axis=1)), [x])[0]


def softmax_by_hand(x: Any) -> Any:
    e = tf.exp(x - tf.reduce_max(x, 1, keepdims=True))
    loss = -tf.reduce_mean(tf.log(e / tf.reduce_sum(e, 1, keepdims=True)) * tf.sigmoid(x))
    return [loss, *tf.gradients(loss, [x])]


FORWARDED: dict[str, Callable[..., Any]] = {
    "fill": lambda x: x * tf.fill([24, 48], 0.3) + tf.fill([24, 48], -0.0),
    "broadcast number": lambda x: x / tf.broadcast_to(tf.exp(x[0, 0]), [24, 48]),
    "broadcast row": lambda x: x - tf.broadcast_to(tf.exp(x[:1]), [24, 48]),
    "zeros and ones": lambda x: tf.maximum(tf.exp(x), tf.zeros_like(x)) + tf.ones_like(x),
    "large constant": lambda x: x * np.full((24, 48), 0.7, np.float32),
    "chain of fills": lambda x: x * tf.negative(tf.square(tf.fill([24, 48], 3.0) - tf.fill([24, 48], 1.5))),
    "gradient of a mean": mean_gradient,
    "gradient of means of rows": row_mean_gradient,
    "gradient of kept sums": kept_sum_gradient,
    "gradient of logsumexp": logsumexp_gradient,
    "softmax cross-entropy by hand": softmax_by_hand,
}


@pytest.mark.parametrize("name", FORWARDED)
def test_the_small_operand_is_read(name: str) -> None:
    ran = same(FORWARDED[name], X)
    assert ran.rewritten(PASS) and MADE.isdisjoint(ran.types)


@pytest.mark.parametrize("op", [tf.add, tf.subtract, tf.multiply, tf.divide, tf.maximum, tf.minimum])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_pair_of_hard_values(op: Callable[..., Any], dtype: Any) -> None:
    hard = FLOATS.astype(np.float64).clip(-6e4, 6e4).astype(dtype)
    numbers = [n for n in hard.reshape(-1) if not np.isnan(n)]  # of two NaNs, one or the other may come out

    def build(x: Any) -> list[Any]:
        filled = [tf.fill([4, 4], tf.constant(n)) for n in numbers]
        return [op(x, f) for f in filled] + [op(f, x) for f in filled]

    ran = same(build, hard)
    assert len(ran.rewritten(PASS)) == 2 * len(numbers)


def test_integers_and_comparisons() -> None:
    def build(x: Any) -> list[Any]:
        seven = tf.fill([3, 4], -7)
        return [x * seven, seven - x, tf.maximum(x, seven), x // seven, x % seven, tf.less(x, seven), tf.equal(x, 5)]

    assert same(build, INTEGERS).rewritten(PASS)


def test_a_division_of_nothing_by_zero_is_no_error() -> None:
    ran = same(lambda x: x // tf.fill([0, 4], 0), np.zeros((0, 4), np.int32))
    assert ran.values[0].shape == (0, 4)


def test_a_division_by_zero_stays_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="division by zero"):
        run(lambda x: x // tf.fill([3, 4], 0), INTEGERS)


STAYS: dict[str, Callable[..., Any]] = {
    "a power has other loops for one exponent": lambda x: tf.pow(tf.exp(x), tf.fill([24, 48], -1.0)),
    "a mean in half precision": lambda x: mean_gradient(tf.cast(x, tf.float16)),
    "the result has to be as large": lambda x: x[:1] * tf.fill([24, 48], 2.0),
    "what is fetched is made": lambda x: tf.fill([24, 48], 2.0) * 3.0 + tf.fill([24, 1], x[0, 0]),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_is_not_exact_or_needed_stays(name: str) -> None:
    assert not MADE.isdisjoint(same(STAYS[name], X).types)


def test_sums_of_what_was_broadcast_have_their_order() -> None:
    def build(x: Any) -> list[Any]:
        rows = tf.gradients(tf.reduce_sum(tf.sin(tf.reduce_mean(x, 1))), [x])[0]
        spread = tf.negative(rows) * 0.37
        turned = tf.transpose(x) * tf.fill([200, 300], 0.37) + tf.transpose(spread)
        found = [spread, x * spread, turned, tf.transpose(x) * tf.broadcast_to(tf.exp(x[:, 0]), [200, 300])]
        return [
            f(v) for v in found for f in (tf.reduce_sum, lambda v: tf.reduce_sum(v, 0), lambda v: tf.matmul(v, v, True))
        ]

    same(build, LARGE)


def test_a_network_trains_to_the_same_bits() -> None:
    def build(x: Any) -> Any:
        w = tf.Variable(np.linspace(-1, 1, 48 * 7).reshape(48, 7).astype(np.float32))
        b = tf.Variable(np.zeros(7, np.float32))
        loss = tf.reduce_mean(tf.nn.softplus(tf.nn.bias_add(tf.matmul(x, w), b)) * tf.ones([24, 7]))
        update = tf.train.AdamOptimizer(0.1).minimize(loss)
        with tf.control_dependencies([update]):
            return [loss, w.read_value(), b.read_value()]

    ran: Ran = same(build, X)
    assert "Spread" not in ran.types and "SumTo" not in ran.types and "BiasAddGrad" not in ran.types
