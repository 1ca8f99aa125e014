"""Programs that train, on an OpenCL device against NumPy: the losses of some steps, and the weights after them.

Both schedules, all levels, one lane and four; no probe decides where products run.  Steps are few and rates small, so
that differences of rounding stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_opencl import building

import graphflow as tf

STEPS = 4
BAR = 2e-4  # of the largest element; after several steps, each of sums over a batch
WAYS = [("cpu", 2, "1"), ("cpu", 1, "4"), ("cpu", 0, "1"), ("gpu", 2, "4"), ("gpu", 1, "1"), ("gpu", 0, "4")]


class Task(NamedTuple):
    """What to feed, the loss, and the op that makes a step."""

    feeds: dict[Any, Any]
    loss: Any
    step: Any


def _drawn(*dims: int, seed: int = 0, scale: float = 1.0) -> Any:
    return (np.random.default_rng([seed, *dims]).standard_normal(dims) * scale).astype(np.float32)


def _weight(*dims: int) -> Any:
    return tf.Variable(_drawn(*dims, seed=9, scale=1 / np.sqrt(np.prod(dims[:-1]) or 1)))


def _labels(rows: int, classes: int) -> Any:
    return np.eye(classes, dtype=np.float32)[np.arange(rows) * 7 % classes]


def _dense(x: Any, columns: int) -> Any:
    return tf.matmul(x, _weight(int(x.shape[1]), columns)) + tf.Variable(tf.zeros([columns]))


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))


def perceptron() -> Task:
    """Layers with a normalisation between them, and momentum."""
    x, t = tf.placeholder(tf.float32, [12, 9]), tf.placeholder(tf.float32, [12, 5])
    h = tf.matmul(x, _weight(9, 17))  # the normalisation would take a bias away
    mean, variance = tf.nn.moments(h, [0])
    h = tf.nn.relu(tf.nn.batch_normalization(h, mean, variance, tf.Variable(tf.zeros([17])), None, 1e-3))
    loss = _cross_entropy(t, _dense(h, 5))
    return Task({x: _drawn(12, 9), t: _labels(12, 5)}, loss, tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss))


def images() -> Task:
    """Two convolutions with pooling, and Adam."""
    x, t = tf.placeholder(tf.float32, [4, 10, 9, 2]), tf.placeholder(tf.float32, [4, 3])
    y = tf.nn.relu(tf.nn.conv2d(x, _weight(3, 3, 2, 5), [1, 1, 1, 1], "SAME") + _drawn(5, scale=0.1))
    y = tf.nn.max_pool(y, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    y = tf.nn.relu(tf.nn.conv2d(y, _weight(2, 3, 5, 4), [1, 1, 2, 1], "VALID"))
    y = tf.nn.avg_pool(y, [1, 2, 2, 1], [1, 1, 1, 1], "VALID")
    loss = _cross_entropy(t, _dense(tf.reshape(y, [4, int(np.prod(y.shape.as_list()[1:]))]), 3))
    step = tf.train.AdamOptimizer(0.01, epsilon=1e-3).minimize(loss)
    return Task({x: _drawn(4, 10, 9, 2), t: _labels(4, 3)}, loss, step)


def sequences() -> Task:
    """A cell with gates in a loop, with its gradient, and gradients clipped together."""
    x, t = tf.placeholder(tf.float32, [6, 4, 3]), tf.placeholder(tf.float32, [4, 2])
    w, b = _weight(3 + 5, 4 * 5), tf.Variable(tf.zeros([4 * 5]))

    def body(i: Any, c: Any, h: Any) -> tuple[Any, Any, Any]:
        gates = tf.matmul(tf.concat([tf.gather(x, i), h], 1), w) + b
        a, j, f, o = tf.split(gates, 4, 1)
        c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(a) * tf.tanh(j)
        return i + 1, c, tf.sigmoid(o) * tf.tanh(c)

    start = tf.constant(0), tf.zeros([4, 5]), tf.zeros([4, 5])
    _, _, h = tf.while_loop(lambda i, c, h: i < 6, body, start)
    loss = _cross_entropy(t, _dense(h, 2))
    variables = tf.trainable_variables()
    slopes, _ = tf.clip_by_global_norm(tf.gradients(loss, variables), 0.5)
    step = tf.train.GradientDescentOptimizer(0.2).apply_gradients(zip(slopes, variables, strict=True))
    return Task({x: _drawn(6, 4, 3), t: _labels(4, 2)}, loss, step)


def words() -> Task:
    """Rows of a table, some of them twice, whose gradients are added up, and weights that decay."""
    ids, t = tf.placeholder(tf.int32, [5, 3]), tf.placeholder(tf.int64, [5])
    table = _weight(11, 6)
    bag = tf.reduce_mean(tf.nn.embedding_lookup(table, ids), 1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=t, logits=_dense(bag, 4))
    loss = tf.reduce_mean(losses) + 0.01 * tf.nn.l2_loss(table)
    feeds = {ids: (np.arange(15) * 4 % 11).reshape(5, 3), t: np.arange(5) % 4}
    return Task(feeds, loss, tf.train.RMSPropOptimizer(0.01, epsilon=1e-2).minimize(loss))


def trained(build: Callable[[], Task], **options: Any) -> list[Any]:
    """The losses, and the variables in the end."""
    with tf.Graph().as_default():
        task = build()
        with tf.Session(**options) as session:
            session.run(tf.global_variables_initializer())
            losses = [session.run([task.loss, task.step], task.feeds)[0] for _ in range(STEPS)]
            return [np.array(losses), *session.run(tf.global_variables())]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0]} schedule, level {way[1]}, {way[2]} lanes")
@pytest.mark.parametrize("build", [perceptron, images, sequences, words], ids=lambda build: build.__name__)
def test_training(build: Callable[[], Task], way: tuple[str, int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    schedule, level, lanes = way
    monkeypatch.setenv("GRAPHFLOW_OCL_SCHEDULE", schedule)
    monkeypatch.setenv("GRAPHFLOW_OCL_LANES", lanes)
    monkeypatch.setenv("GRAPHFLOW_OCL_PRODUCTS", "device")
    monkeypatch.setattr(building, "_kept", {})  # for one context, and each schedule has its own
    wanted = trained(build, device="cpu", optimization_level=0)
    found = trained(build, device="opencl", optimization_level=level)
    assert wanted[0][-1] < wanted[0][0], "the program learns"
    for number, (got, want) in enumerate(zip(found, wanted, strict=True)):
        error = np.max(np.abs(got - want)) / np.max(np.abs(want))
        assert error <= BAR, f"value {number} is off by {error:.2g}\n{got}\n{want}"
