"""The workloads as TensorFlow 1 programs: the same function builds them for graphflow and for TF1.

Policy: `tf` is a parameter, and nothing here knows which of the two it is.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import data


class Model(NamedTuple):
    """What a session needs: values for placeholders, what to fetch, what to run for its effect, the variables."""

    feeds: dict[Any, Any]
    outputs: list[Any]
    update: Any = None
    weights: tuple[Any, ...] = ()


def _fed(tf: Any, arrays: data.Arrays, *names: str) -> tuple[dict[Any, Any], list[Any]]:
    placeholders = [tf.placeholder(tf.float32, arrays[n].shape, name=n) for n in names]
    return {p: arrays[n] for p, n in zip(placeholders, names, strict=True)}, placeholders


def _variables(tf: Any, arrays: data.Arrays, family: str) -> dict[str, Any]:
    return {n: tf.Variable(arrays[n], name=n) for n in data.WEIGHTS[family]}


def _noop(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (x,) = _fed(tf, arrays, "x")
    return Model(feeds, [x + 1.0])


def _chain(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (x, b) = _fed(tf, arrays, "x", "b")
    y = x
    for _ in range(data.CHAIN):
        y = y + b
    return Model(feeds, [y])


def _small(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (x,) = _fed(tf, arrays, "x")
    weights = [tf.Variable(arrays[f"w{i}"], name=f"w{i}") for i in range(data.SMALL)]
    return Model(feeds, [tf.add_n([tf.matmul(x, w) for w in weights])])


def _elementwise(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (a, b, c, d) = _fed(tf, arrays, "a", "b", "c", "d")
    loss = tf.reduce_mean(tf.tanh(a * b + c) * tf.sigmoid(d) - 0.5 * tf.square(a) + tf.exp(-tf.square(c)))
    return Model(feeds, [loss, *(tf.gradients(loss, [a, b, c, d]) if options["gradient"] else ())])


def _dense(tf: Any, v: dict[str, Any], x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for i in range(1, layers + 1):
        x = tf.matmul(x, v[f"w{i}"]) + v[f"b{i}"]
        if i < layers:
            x = activation(x)
    return x


def _cross_entropy(tf: Any, labels: Any, logits: Any) -> Any:
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits))


def _sgd(tf: Any, name: str) -> Any:
    return tf.train.GradientDescentOptimizer(data.RATES[name])


def _mlp(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (x, t) = _fed(tf, arrays, "x", "t")
    v = _variables(tf, arrays, "mlp")
    loss = _cross_entropy(tf, t, _dense(tf, v, x, 3, tf.nn.relu))
    adam = options["optimizer"] == "adam"
    optimizer = tf.train.AdamOptimizer(data.RATES["mlp_adam"], epsilon=data.EPSILON) if adam else _sgd(tf, "mlp_sgd")
    return Model(feeds, [loss], optimizer.minimize(loss), tuple(v.values()))


def _lecture(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (x, t) = _fed(tf, arrays, "x", "t")
    v = _variables(tf, arrays, "lecture")
    loss = tf.reduce_mean(tf.square(tf.sigmoid(_dense(tf, v, x, 3, tf.sigmoid)) - t))
    return Model(feeds, [loss], _sgd(tf, "lecture").minimize(loss), tuple(v.values()))


def _cnn(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    train = options["train"]
    feeds, placeholders = _fed(tf, arrays, *(("x", "t") if train else ("x",)))
    v = _variables(tf, arrays, "cnn")
    y = placeholders[0]
    for kernel, bias in (("k1", "c1"), ("k2", "c2")):
        y = tf.nn.relu(tf.nn.conv2d(y, v[kernel], strides=[1, 1, 1, 1], padding="SAME") + v[bias])
        y = tf.nn.max_pool(y, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    logits = _dense(tf, v, tf.reshape(y, [-1, 7 * 7 * 64]), 2, tf.nn.relu)
    if not train:
        return Model(feeds, [logits])
    loss = _cross_entropy(tf, placeholders[1], logits)
    return Model(feeds, [loss], _sgd(tf, "cnn_train").minimize(loss), tuple(v.values()))


def _wide(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (x,) = _fed(tf, arrays, "x")
    ends = []
    for i in range(data.BRANCHES):
        y = x
        for j in range(data.DEPTH):
            y = tf.tanh(tf.matmul(y, tf.Variable(arrays[f"w{i}_{j}"], name=f"w{i}_{j}")))
        ends.append(y)
    return Model(feeds, [tf.add_n(ends)])


def _line(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (y,) = _fed(tf, arrays, "x")
    for i in range(data.LINE):
        y = tf.tanh(tf.matmul(y, tf.Variable(arrays[f"w{i}"], name=f"w{i}")))
    return Model(feeds, [y])


def _lstm(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (x, t) = _fed(tf, arrays, "x", "t")
    v = _variables(tf, arrays, "lstm")
    h = c = tf.zeros([x.shape[1], data.HIDDEN])
    for x_t in tf.unstack(x):
        z = tf.matmul(tf.concat([x_t, h], axis=1), v["w"]) + v["b"]
        i, j, f, o = tf.split(z, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(j)
        h = tf.sigmoid(o) * tf.tanh(c)
    loss = _cross_entropy(tf, t, _dense(tf, v, h, 1, tf.nn.relu))
    return Model(feeds, [loss], _sgd(tf, "lstm").minimize(loss), tuple(v.values()))


def _ebm(tf: Any, arrays: data.Arrays, options: dict[str, Any]) -> Model:
    feeds, (y1, y2, cos, sin) = _fed(tf, arrays, "y1", "y2", "cos", "sin")
    v = _variables(tf, arrays, "ebm")
    energy = tf.square(y1 - v["w1"] * cos) + tf.square(y2 - v["w2"] * sin)
    loss = -tf.reduce_mean(tf.reduce_logsumexp(-energy, axis=1))
    return Model(feeds, [loss], _sgd(tf, "ebm").minimize(loss), tuple(v.values()))


BUILDERS: dict[str, Callable[[Any, data.Arrays, dict[str, Any]], Model]] = {
    "noop": _noop, "chain": _chain, "small": _small, "mlp": _mlp, "lecture": _lecture, "cnn": _cnn, "wide": _wide,
    "line": _line, "lstm": _lstm, "ebm": _ebm, **{f"elementwise_{size}": _elementwise for size in data.ELEMENTS},
}  # fmt: skip


def ladder(tf: Any, rungs: int) -> tuple[Any, Any]:
    """Four ops a rung, each value used by one or two others: the input and the end."""
    x = tf.placeholder(tf.float32, [], name="x")
    a, b = x, tf.multiply(x, 0.5)
    for _ in range(rungs):
        t = tf.tanh(tf.add(a, b))
        a = tf.multiply(t, a)
        b = tf.subtract(t, a)
    return x, tf.add(a, b)
