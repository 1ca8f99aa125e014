"""TensorFlow 2: one `tf.function` a workload, with XLA in the variant of that name.

The forward code is the TF1 program's, called with `tensorflow.compat.v1` names that exist in both.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import data
from benchmarks.peers import Prepared
from benchmarks.workloads import Workload

tf.config.threading.set_inter_op_parallelism_threads(2)
tf.config.threading.set_intra_op_parallelism_threads(2)


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"tensorflow": tf.__version__}


def _dense(w: Any, x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for i in range(1, layers + 1):
        x = tf.matmul(x, w[f"w{i}"]) + w[f"b{i}"]
        if i < layers:
            x = activation(x)
    return x


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))


def _logits(w: Any, x: Any) -> Any:
    for kernel, bias in (("k1", "c1"), ("k2", "c2")):
        x = tf.nn.relu(tf.nn.conv2d(x, w[kernel], 1, "SAME") + w[bias])
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
    return _dense(w, tf.reshape(x, [-1, 7 * 7 * 64]), 2, tf.nn.relu)


def _lstm(w: Any, v: Any) -> Any:
    h = c = tf.zeros([v["x"].shape[1], data.HIDDEN])
    for x_t in tf.unstack(v["x"]):
        i, j, f, o = tf.split(tf.matmul(tf.concat([x_t, h], 1), w["w"]) + w["b"], 4, 1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(j)
        h = tf.sigmoid(o) * tf.tanh(c)
    return _cross_entropy(_dense(w, h, 1, tf.nn.relu), v["t"])


def _ebm(w: Any, v: Any) -> Any:
    energy = tf.square(v["y1"] - w["w1"] * v["cos"]) + tf.square(v["y2"] - w["w2"] * v["sin"])
    return -tf.reduce_mean(tf.reduce_logsumexp(-energy, 1))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mlp": lambda w, v: _cross_entropy(_dense(w, v["x"], 3, tf.nn.relu), v["t"]),
    "lecture": lambda w, v: tf.reduce_mean(tf.square(tf.sigmoid(_dense(w, v["x"], 3, tf.sigmoid)) - v["t"])),
    "cnn": lambda w, v: _cross_entropy(_logits(w, v["x"]), v["t"]),
    "lstm": _lstm,
    "ebm": _ebm,
}


def _chain(w: Any, v: Any) -> Any:
    y = v["x"]
    for _ in range(data.CHAIN):
        y = y + v["b"]
    return y


def _branches(w: Any, v: Any) -> Any:
    ends = []
    for i in range(data.BRANCHES):
        y = v["x"]
        for j in range(data.DEPTH):
            y = tf.tanh(tf.matmul(y, w[f"w{i}_{j}"]))
        ends.append(y)
    return tf.add_n(ends)


def _elementwise(w: Any, v: Any) -> Any:
    a, b, c, d = v["a"], v["b"], v["c"], v["d"]
    return tf.reduce_mean(tf.tanh(a * b + c) * tf.sigmoid(d) - 0.5 * tf.square(a) + tf.exp(-tf.square(c)))


FORWARD: dict[str, Callable[[Any, Any], Any]] = {
    "noop": lambda w, v: v["x"] + 1.0, "chain": _chain, "wide": _branches, "cnn": lambda w, v: _logits(w, v["x"]),
    "small": lambda w, v: tf.add_n([tf.matmul(v["x"], w[f"w{i}"]) for i in range(data.SMALL)]),
    **{f"elementwise_{size}": _elementwise for size in data.ELEMENTS},
}  # fmt: skip
FED_SMALL = {"noop": ("x",), "chain": ("x", "b"), "small": ("x",)}


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload under `tf.function`."""
    xla = True if variant == "xla" else None
    names = data.WEIGHTS.get(workload.family) or tuple(n for n in arrays if n.startswith("w"))
    weights = {name: tf.Variable(arrays[name]) for name in names}
    fed = {name: value for name, value in arrays.items() if name not in names}
    given = {n: value if n in FED_SMALL.get(workload.family, ()) else tf.constant(value) for n, value in fed.items()}
    if workload.trains:
        return _training(workload, arrays, weights, given, xla)
    function = FORWARD[workload.family]
    if workload.options.get("gradient"):

        @tf.function(jit_compile=xla)
        def both(v: Any) -> Any:
            with tf.GradientTape() as tape:
                inputs = [v[name] for name in "abcd"]
                tape.watch(inputs)
                loss = function(weights, v)
            return [loss, *tape.gradient(loss, inputs)]

        return Prepared(lambda: [t.numpy() for t in both(given)])
    compiled = tf.function(lambda v: function(weights, v), jit_compile=xla)
    if workload.family in FED_SMALL:
        return Prepared(lambda: (compiled({n: tf.constant(value) for n, value in given.items()}).numpy(),))
    return Prepared(lambda: (compiled(given).numpy(),))


def _training(workload: Workload, arrays: data.Arrays, weights: Any, given: Any, xla: Any) -> Prepared:
    loss_of, rate = LOSSES[workload.family], data.RATES[workload.name]
    moments = {n: (tf.Variable(tf.zeros_like(w)), tf.Variable(tf.zeros_like(w))) for n, w in weights.items()}
    count = tf.Variable(0.0)

    @tf.function(jit_compile=xla)
    def sgd(v: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(weights, v)
        for w, g in zip(weights.values(), tape.gradient(loss, list(weights.values())), strict=True):
            w.assign_sub(rate * g)
        return loss

    @tf.function(jit_compile=xla)
    def adam(v: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(weights, v)
        step = count.assign_add(1.0)
        scaled = rate * tf.sqrt(1 - data.BETA2**step) / (1 - data.BETA1**step)
        for (n, w), g in zip(weights.items(), tape.gradient(loss, list(weights.values())), strict=True):
            m = moments[n][0].assign(data.BETA1 * moments[n][0] + (1 - data.BETA1) * g)
            s = moments[n][1].assign(data.BETA2 * moments[n][1] + (1 - data.BETA2) * g * g)
            w.assign_sub(scaled * m / (tf.sqrt(s) + data.EPSILON))
        return loss

    compiled = adam if workload.options.get("optimizer") == "adam" else sgd

    def reset() -> None:
        count.assign(0.0)
        for name, w in weights.items():
            w.assign(arrays[name])
            for moment in moments[name]:
                moment.assign(tf.zeros_like(moment))

    def step() -> Sequence[Any]:
        return (compiled(given).numpy(),)

    return Prepared(step, reset, lambda: [np.array(w.numpy()) for w in weights.values()])
