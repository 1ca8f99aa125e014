"""Graphs that the tests of pictures draw."""

from __future__ import annotations

from typing import Any

import graphflow as tf


def model() -> Any:
    """A small trained model in the default graph, with a scope inside a scope; returns its training op."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    with tf.name_scope("outer"), tf.name_scope("inner"):
        w = tf.Variable(tf.zeros([2, 3]), name="w")
        y = tf.matmul(x, w, name="product")
    with tf.name_scope("loss"):
        loss = tf.reduce_mean(tf.square(y))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    tf.global_variables_initializer()
    return train


def worked_example() -> tuple[tf.Graph, Any]:
    """J = (y - (w x + b))^2 with its gradient and one step of descent, and the op that initialises w = 3, b = 4."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [], name="x")
        y = tf.placeholder(tf.float32, [], name="y")
        w = tf.Variable(3.0, name="w")
        b = tf.Variable(4.0, name="b")
        q = tf.multiply(w, x, name="q")
        p = tf.add(q, b, name="yhat")
        z = tf.subtract(y, p, name="z")
        cost = tf.square(z, name="J")
        slopes = tf.gradients(cost, [z, p, b, q, w, x])
        tf.train.GradientDescentOptimizer(0.1).apply_gradients([(slopes[4], w), (slopes[2], b)])
        return graph, tf.global_variables_initializer()


def _normalised(x: Any, channels: int) -> Any:
    with tf.variable_scope("norm"):
        scale = tf.get_variable("scale", [channels], initializer=tf.ones_initializer())
        offset = tf.get_variable("offset", [channels], initializer=tf.zeros_initializer())
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        return tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-5)


def _convolution(x: Any, channels: int, size: int, name: str, stride: int = 1) -> Any:
    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [size, size, int(x.shape[-1]), channels])
        return _normalised(tf.nn.conv2d(x, kernel, strides=[1, stride, stride, 1], padding="SAME"), channels)


def _block(x: Any, channels: int, name: str, stride: int) -> Any:
    with tf.variable_scope(name):
        y = tf.nn.relu(_convolution(x, channels // 4, 1, "conv1", stride))
        y = tf.nn.relu(_convolution(y, channels // 4, 3, "conv2"))
        y = _convolution(y, channels, 1, "conv3")
        if stride != 1 or int(x.shape[-1]) != channels:
            x = _convolution(x, channels, 1, "shortcut", stride)
        return tf.nn.relu(tf.add(y, x, name="add"))


def residual_network(depths: tuple[int, ...] = (3, 4, 6, 3)) -> tf.Graph:
    """A convolutional network of residual blocks, 50 layers deep as given, with its Adam step."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, 224, 224, 3], name="images")
        labels = tf.placeholder(tf.int64, [None], name="labels")
        with tf.variable_scope("stem"):
            y = tf.nn.relu(_convolution(x, 64, 7, "conv", 2))
            y = tf.nn.max_pool(y, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME")
        for i, depth in enumerate(depths):
            with tf.variable_scope(f"stage_{i + 1}"):
                for j in range(depth):
                    y = _block(y, 256 * 2**i, f"block_{j + 1}", 2 if i and not j else 1)
        with tf.variable_scope("head"):
            y = tf.reduce_mean(y, [1, 2], name="pool")
            w = tf.get_variable("w", [int(y.shape[-1]), 1000])
            logits = tf.add(tf.matmul(y, w), tf.get_variable("b", [1000]), name="logits")
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        tf.train.AdamOptimizer(1e-3).minimize(loss)
        tf.global_variables_initializer()
    return graph


def chain(length: int) -> tf.Graph:
    """So many ops in a row, without scopes."""
    graph = tf.Graph()
    with graph.as_default():
        y = tf.placeholder(tf.float32, [8], name="x")
        for _ in range(length):
            y = tf.tanh(y)
    return graph


def loop() -> Any:
    """A while loop in the default graph; returns its result."""
    x = tf.placeholder(tf.float32, [4], name="x")

    def body(i: Any, total: Any) -> Any:
        with tf.name_scope("step"):
            return i + 1, tf.tanh(total + x)

    return tf.while_loop(lambda i, total: i < 3, body, [tf.constant(0), tf.zeros([4])], name="loop")[1]
