"""Normalisations on OpenCL: one kernel for all that is done with the lines of an array, against NumPy's results."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_opencl.devices import open_device

import graphflow as tf
from graphflow.dtypes import as_dtype

FIRST_LINE = re.compile(r": (\d+) kernel launches, (\d+) tasks of the host$")
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "float16": 4e-3}
SHAPES = (5, 3), (2, 7, 130), (3, 1000)


@pytest.fixture(params=["cpu", "gpu"], autouse=True)
def schedule(request: Any, monkeypatch: Any) -> Any:
    found = open_device()
    monkeypatch.setattr(found, "traits", found.traits._replace(schedule=request.param, units=2, group=64))
    return request.param


def fed(*dims: int, dtype: str = "float32") -> Any:
    return tf.placeholder(as_dtype(dtype), dims)


def layer_norm(x: Any, *parts: Any, axes: Any = (-1,)) -> Any:
    mean, variance = tf.nn.moments(x, list(axes), keep_dims=True)
    scale, offset = parts or (None, None)
    return tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-5)


def batch_norm(x: Any, scale: Any, offset: Any) -> list[Any]:
    mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
    return [tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-3), mean, variance]


def gradients(y: Any, *xs: Any) -> list[Any]:
    dy = tf.placeholder(y.dtype, y.shape.as_list())
    return list(tf.gradients(y, list(xs), [dy]))


def drawn(x: Any) -> Any:
    """Numbers that depend on the placeholder's name and shape alone."""
    dims = x.shape.as_list()
    random = np.random.default_rng([len(x.op.name), *map(ord, x.op.name[-2:]), *dims])
    return random.normal(0.5, 1.5, dims).astype(x.dtype.np)


def launches(fetches: Any) -> int:
    """The launches of one run on the device, whose results are NumPy's."""
    nodes = tf.get_default_graph().get_operations()
    feeds = {op.outputs[0]: drawn(op.outputs[0]) for op in nodes if op.type == "Placeholder"}
    with tf.Session() as plain, tf.Session(device="opencl") as session:
        for got, want in zip(session.run(fetches, feeds), plain.run(fetches, feeds), strict=True):
            bar = TOLERANCE[want.dtype.name]
            np.testing.assert_allclose(got, want, rtol=bar, atol=bar * max(1.0, float(np.abs(want).max())))
        found = FIRST_LINE.search(session.explain(fetches, feeds).code.splitlines()[0])
    assert found is not None
    assert found[2] == "0"
    return int(found[1])


@pytest.mark.parametrize("dims", SHAPES)
def test_layer_normalisation(dims: tuple[int, ...]) -> None:
    x, scale, offset = fed(*dims), fed(dims[-1]), fed(dims[-1])
    y = layer_norm(x, scale, offset)
    assert launches(gradients(y, x)) == 1
    assert launches([y]) == 1
    assert launches([y, *gradients(y, x, scale, offset)]) <= 3  # those of scale and offset are sums over columns


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_dtypes(dtype: str) -> None:
    x, scale, offset = fed(9, 70, dtype=dtype), fed(70, dtype=dtype), fed(70, dtype=dtype)
    y = layer_norm(x, scale, offset)
    assert launches([y]) == 1
    if dtype == "float64":
        assert launches([y, *gradients(y, x)]) == 1


def test_over_several_axes() -> None:
    x = fed(6, 4, 5, 3)
    assert launches([layer_norm(x, axes=(1, 2, 3))]) == 1
    assert launches([layer_norm(x, axes=(2, 3))]) == 1


@pytest.mark.parametrize("dims", SHAPES)
def test_unit_vectors(dims: tuple[int, ...]) -> None:
    x = fed(*dims)
    y = tf.nn.l2_normalize(x, -1)
    assert launches([y, *gradients(y, x)]) == 1


def test_softmax() -> None:
    x = fed(37, 65)
    for function in (tf.nn.softmax, tf.nn.log_softmax):
        y = function(x)
        assert launches([y, *gradients(y, x)]) == 2  # the op's own kernel, and one for the gradient


@pytest.mark.parametrize("dims", [(40, 3), (6, 5, 4, 33), (300, 16)])
def test_batch_normalisation(dims: tuple[int, ...]) -> None:
    x, scale, offset = fed(*dims), fed(dims[-1]), fed(dims[-1])
    y, *moments = batch_norm(x, scale, offset)
    assert launches(moments) == 1
    assert launches([y, *moments, *gradients(y, x, scale, offset)]) == 1


def test_batch_normalisation_in_use() -> None:
    x, mean, variance, scale, offset = fed(8, 4, 4, 10), *(fed(10) for _ in range(4))
    y = tf.nn.batch_normalization(x, mean, tf.square(variance), offset, scale, 1e-3)
    assert launches([y]) == 2  # what is made of the channels alone, and the use


def test_softmax_by_hand() -> None:
    """What is computed before and after, and what takes many steps and is kept from one pass to the next."""
    x, w = fed(21, 37), fed(21, 37)
    z = tf.tanh(x * w) + tf.sigmoid(x - w)
    e = tf.exp(z - tf.stop_gradient(tf.reduce_max(z, -1, keepdims=True)))
    y = e / tf.reduce_sum(e, -1, keepdims=True)
    entropy = -tf.reduce_sum(y * tf.log(y), -1)
    assert launches([y, entropy]) == 1
    assert launches([entropy]) == 1
    assert launches(gradients(entropy, x)) <= 2


def test_sets_that_wait_for_each_other() -> None:
    """What comes between a normalisation and its gradient stays between them."""
    x = fed(12, 20)
    y = layer_norm(tf.cumsum(layer_norm(x), 1))
    assert launches([y]) == 3
    loss = tf.reduce_sum(tf.square(tf.cumsum(y, 1)))
    assert launches([loss, *tf.gradients(loss, [x])]) <= 11


def test_rows_and_columns_of_one_array() -> None:
    x = fed(24, 24)
    y = x - tf.reduce_mean(x, 1, keepdims=True)
    z = y - tf.reduce_mean(y, 0, keepdims=True)
    assert launches([z, tf.reduce_mean(tf.square(z), 1)]) <= 4


def test_a_variable_keeps_a_moving_average() -> None:
    x = fed(30, 6)
    mean, variance = tf.nn.moments(x, [0])
    with tf.variable_scope("moving", reuse=tf.AUTO_REUSE):
        moving = tf.get_variable("mean", (6,), initializer=tf.zeros_initializer())
    update = tf.assign_sub(moving, (moving - mean) * 0.1)
    y = tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3)
    feeds = {x: drawn(x)}
    found = []
    for device in (None, "opencl"):
        with tf.Session(device=device) if device else tf.Session() as session:
            session.run(moving.initializer)
            for _ in range(3):
                session.run([y, update], feeds)
            found.append(session.run(moving))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_few_long_lines_are_shared_out() -> None:
    """One line is not done by one item alone, if it is long."""
    x = fed(2, 200_000)
    assert launches([x - tf.reduce_mean(x, 1, keepdims=True)]) > 1


@pytest.mark.parametrize("dims", [(24, 24), (3, 4, 3, 4)])
def test_numbers_of_rows_that_are_spread_over_columns(dims: tuple[int, ...]) -> None:
    """In a square, what has no axis left of the rows broadcasts as if it were numbers of columns."""
    x, axes = fed(*dims), list(range(len(dims) // 2, len(dims)))
    mean = tf.reduce_mean(x, axes)
    assert launches([x - mean, tf.square(x + tf.reduce_max(x, axes, keepdims=True) * tf.tanh(mean))]) <= 4
