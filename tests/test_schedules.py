"""Schedules, moving averages and the global step, against plain Python and NumPy.

Owns no state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.graph import get_default_graph
from graphflow.keys import GraphKeys
from graphflow.ops import arithmetic
from graphflow.variables import Variable, global_variables_initializer

train = tf.train
RATE = 0.5
ROWS = [0, 1, 2, 5, 9, 10, 11, 19, 20, 35, 100]


def polynomial(t: int, steps: float, end: float, power: float, cycle: bool) -> float:
    if cycle:
        steps = steps * max(1, math.ceil(t / steps))
    p = t / steps if cycle else min(t, steps) / steps
    return (RATE - end) * (1 - p) ** power + end


def restarts(t: int, first: float, t_mul: float, m_mul: float, alpha: float) -> float:
    start, length, height = 0.0, first, 1.0
    while t >= start + length:
        start, length, height = start + length, length * t_mul, height * m_mul
    cosine = 0.5 * (1 + math.cos(math.pi * (t - start) / length))
    return RATE * ((1 - alpha) * height * cosine + alpha)


def linear_cosine(t: int, steps: float, periods: float, alpha: float, beta: float) -> float:
    p = min(t, steps) / steps
    return RATE * ((alpha + 1 - p) * 0.5 * (1 + math.cos(2 * math.pi * periods * p)) + beta)


Schedule = tuple[Callable[[Any], Any], Callable[[int], float]]
SCHEDULES: dict[str, Schedule] = {
    "exponential": (lambda s: train.exponential_decay(RATE, s, 10, 0.9), lambda t: RATE * 0.9 ** (t / 10)),
    "exponential staircase": (
        lambda s: train.exponential_decay(RATE, s, 10, 0.9, staircase=True), lambda t: RATE * 0.9 ** (t // 10),
    ),
    "natural": (lambda s: train.natural_exp_decay(RATE, s, 10, 0.9), lambda t: RATE * math.exp(-0.9 * t / 10)),
    "natural staircase": (
        lambda s: train.natural_exp_decay(RATE, s, 10, 0.9, True), lambda t: RATE * math.exp(-0.9 * (t // 10)),
    ),
    "inverse": (lambda s: train.inverse_time_decay(RATE, s, 10, 0.9), lambda t: RATE / (1 + 0.9 * t / 10)),
    "inverse staircase": (
        lambda s: train.inverse_time_decay(RATE, s, 10, 0.9, True), lambda t: RATE / (1 + 0.9 * (t // 10)),
    ),
    "polynomial": (lambda s: train.polynomial_decay(RATE, s, 10), lambda t: polynomial(t, 10, 1e-4, 1, False)),
    "polynomial cycle": (
        lambda s: train.polynomial_decay(RATE, s, 10, 0.01, 0.5, cycle=True),
        lambda t: polynomial(t, 10, 0.01, 0.5, True),
    ),
    "piecewise": (
        lambda s: train.piecewise_constant(s, [5, 10], [1.0, 0.5, 0.25]),
        lambda t: 1.0 if t <= 5 else 0.5 if t <= 10 else 0.25,
    ),
    "piecewise of one": (lambda s: train.piecewise_constant(s, [], [0.25]), lambda t: 0.25),
    "cosine": (
        lambda s: train.cosine_decay(RATE, s, 10, 0.1),
        lambda t: RATE * (0.9 * 0.5 * (1 + math.cos(math.pi * min(t, 10) / 10)) + 0.1),
    ),
    "restarts": (lambda s: train.cosine_decay_restarts(RATE, s, 10), lambda t: restarts(t, 10, 2, 1, 0)),
    "restarts lower": (
        lambda s: train.cosine_decay_restarts(RATE, s, 9, 1.5, 0.8, 0.1), lambda t: restarts(t, 9, 1.5, 0.8, 0.1),
    ),
    "restarts equal": (
        lambda s: train.cosine_decay_restarts(RATE, s, 7, t_mul=1.0, m_mul=0.5), lambda t: restarts(t, 7, 1, 0.5, 0),
    ),
    "restarts symbolic": (
        lambda s: train.cosine_decay_restarts(RATE, s, 9, tf.constant(1.5)), lambda t: restarts(t, 9, 1.5, 1, 0),
    ),
    "restarts symbolic equal": (
        lambda s: train.cosine_decay_restarts(RATE, s, 7, tf.constant(1.0)), lambda t: restarts(t, 7, 1, 1, 0),
    ),
    "linear cosine": (
        lambda s: train.linear_cosine_decay(RATE, s, 20, 0.75, 0.1, 0.01),
        lambda t: linear_cosine(t, 20, 0.75, 0.1, 0.01),
    ),
    "noisy without noise": (
        lambda s: train.noisy_linear_cosine_decay(RATE, s, 20, initial_variance=0.0),
        lambda t: linear_cosine(t, 20, 0.5, 0.0, 0.001),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_schedules(name: str, dtype: str) -> None:
    build, formula = SCHEDULES[name]
    step = tf.placeholder(dtype, [])
    rate = build(step)
    assert rate.dtype is tf.float32 and rate.shape == ()
    with tf.Session() as sess:
        for t in ROWS:
            assert sess.run(rate, {step: t}) == pytest.approx(formula(t), rel=2e-6, abs=2e-7), t


def test_a_schedule_has_the_dtype_of_its_rate_and_takes_tensors() -> None:
    step = tf.placeholder(tf.int64, [])
    rate = train.exponential_decay(tf.constant(RATE, tf.float64), step, tf.constant(10), tf.constant(0.5), name="rate")
    assert rate.dtype is tf.float64 and rate.name == "rate:0"
    with tf.Session() as sess:
        assert sess.run(rate, {step: 20}) == RATE * 0.25


def test_noise_changes_from_run_to_run() -> None:
    rate = train.noisy_linear_cosine_decay(RATE, tf.constant(1), 20)
    with tf.Session() as sess:
        assert len({float(sess.run(rate)) for _ in range(5)}) == 5


def test_a_schedule_follows_the_global_step() -> None:
    count = train.create_global_step()
    w = Variable(np.array([0.0]), name="w")
    rate = train.piecewise_constant(count, [1], [1.0, 0.125])
    step = train.GradientDescentOptimizer(rate).minimize(w * -1.0, global_step=count)
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        for expected in (1.0, 2.0, 2.125, 2.25):
            sess.run(step)
            assert sess.run(w) == expected


SCHEDULE_MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no step": (lambda: train.exponential_decay(0.1, None, 10, 0.5), ValueError, "global_step is required"),
    "no step, cosine": (lambda: train.cosine_decay(0.1, None, 10), ValueError, "global_step is required"),
    "integer rate": (lambda: train.cosine_decay(tf.constant(1), tf.constant(1), 10), TypeError, "floating"),
    "too many values": (
        lambda: train.piecewise_constant(tf.constant(1), [5], [1.0]), ValueError, "1 less than the length of values",
    ),
    "dtype of boundaries": (
        lambda: train.piecewise_constant(tf.constant(1), [tf.constant(5.0)], [1.0, 2.0]), TypeError, "dtype of x",
    ),
    "lists": (lambda: train.piecewise_constant(tf.constant(1), 5, [1.0, 2.0]), TypeError, "lists"),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULE_MISTAKES)
def test_mistakes_with_schedules(name: str) -> None:
    build, error, text = SCHEDULE_MISTAKES[name]
    with pytest.raises(error, match=text):
        build()


# -- moving averages -------------------------------------------------------------------------------------------------


def test_the_average_of_a_variable_starts_at_its_initial_value() -> None:
    w = Variable(np.array([10.0]), name="w")
    average = train.ExponentialMovingAverage(0.9)
    update = average.apply([w])
    change = w.assign_add([1.0])
    assert average.average(w).op.name == average.average_name(w) == "w/ExponentialMovingAverage"
    assert get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES) == [w]
    assert average.average(w) not in get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES)
    expected, value = 10.0, 10.0
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        for _ in range(4):
            sess.run(change)
            assert sess.run(update) is None
            value += 1.0
            expected -= (1 - 0.9) * (expected - value)
            assert sess.run(average.average(w))[0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("debias", [False, True])
def test_the_average_of_a_tensor_starts_at_zero(debias: bool) -> None:
    x = tf.placeholder(tf.float64, [2])
    average = train.ExponentialMovingAverage(tf.constant(0.75, tf.float64), zero_debias=debias)
    update = average.apply([x])
    biased = np.zeros(2)
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        for t in range(1, 5):
            value = np.array([t, 2.0])
            sess.run(update, {x: value})
            biased -= 0.25 * (biased - value)
            expected = biased / (1 - 0.75**t) if debias else biased
            np.testing.assert_allclose(sess.run(average.average(x)), expected, rtol=1e-12)


def test_a_young_average_follows_faster() -> None:
    w = Variable(np.array(0.0), name="w")
    count = Variable(0, name="count", trainable=False)
    average = train.ExponentialMovingAverage(0.9, num_updates=count)
    update = average.apply()
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        w.load(1.0, sess)
        sess.run(update)
        assert sess.run(average.average(w)) == pytest.approx(0.9)  # decay (1 + 0) / (10 + 0)


def test_averages_after_a_step_see_the_new_values() -> None:
    w = Variable(np.array([1.0]), name="w")
    step = train.GradientDescentOptimizer(0.5).minimize(arithmetic.square(w))
    average = train.ExponentialMovingAverage(0.0)
    with tf.control_dependencies([step]):
        both = average.apply([w])
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(both)
        assert sess.run([w, average.average(w)]) == [0.0, 0.0]


def test_variables_to_restore() -> None:
    w, b = Variable(np.ones(1), name="w"), Variable(np.ones(1), name="b", trainable=False)
    average = train.ExponentialMovingAverage(0.9)
    average.apply([w])
    names = average.variables_to_restore()
    assert names["w/ExponentialMovingAverage"] is w and names["b"] is b and "w" not in names


def test_mistakes_with_averages() -> None:
    average = train.ExponentialMovingAverage(0.9)
    with pytest.raises(TypeError, match="floating-point"):
        average.apply([Variable(1, name="i")])
    with pytest.raises(TypeError, match="variables and tensors"):
        average.apply([1.0])
    assert average.average(Variable(1.0)) is None


# -- the global step -------------------------------------------------------------------------------------------------


def test_there_is_one_global_step() -> None:
    assert train.get_global_step() is None
    count = train.create_global_step()
    assert (count.op.name, count.dtype, count.trainable) == ("global_step", tf.int64, False)
    assert train.get_global_step() is count and train.get_or_create_global_step() is count
    with pytest.raises(ValueError, match="already exists"):
        train.create_global_step()


def test_a_variable_of_that_name_is_the_global_step() -> None:
    count = Variable(0, trainable=False, name="global_step")
    assert train.get_global_step() is count
    with tf.name_scope("inner"):
        assert train.get_or_create_global_step() is count


def test_what_cannot_be_a_global_step() -> None:
    for wrong, text in ((1, "variable or a tensor"), (tf.constant(1.0), "counts"), (tf.constant([1]), "scalar")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=text):
            train.assert_global_step(wrong)
    get_default_graph().add_to_collection(GraphKeys.GLOBAL_STEP, Variable(0, name="a"))
    get_default_graph().add_to_collection(GraphKeys.GLOBAL_STEP, Variable(0, name="b"))
    with pytest.raises(ValueError, match="several"):
        train.get_global_step()
