"""Lectures, C2: gradients accumulated over several runs, then one step along their negative sum."""

from __future__ import annotations

import numpy as np

import graphflow as tf


def test_two_backward_passes_and_one_step_equal_a_step_along_the_summed_gradient() -> None:
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(8, 3)), rng.normal(size=(8, 1))) for _ in range(2)]
    start = rng.normal(size=(3, 1))
    x, y = tf.placeholder(tf.float64, [None, 3]), tf.placeholder(tf.float64, [None, 1])
    w = tf.Variable(start)
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w) - y))
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    pairs = optimizer.compute_gradients(loss)
    sums = [tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False) for _, v in pairs]
    zero = [s.initializer for s in sums]
    accumulate = [s.assign_add(g) for s, (g, _) in zip(sums, pairs, strict=True)]
    step = optimizer.apply_gradients([(s, v) for s, (_, v) in zip(sums, pairs, strict=True)])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(2):  # twice, so that forgetting to zero would show
            before = sess.run(w)
            single = [sess.run(pairs[0][0], {x: a, y: b}) for a, b in batches]
            sess.run(zero)
            for a, b in batches:
                sess.run(accumulate, {x: a, y: b})
            np.testing.assert_array_equal(sess.run(w), before)
            sess.run(step)
            np.testing.assert_array_equal(sess.run(w), before - 0.1 * (single[0] + single[1]))
