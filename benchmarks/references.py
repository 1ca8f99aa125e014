"""What the workloads compute, plainly, in float64: what every peer is compared with before it is timed.

Policy: written to be read, with none of the tricks that the timed NumPy version uses.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.workloads import Workload

Values = dict[str, np.ndarray]


def results(workload: Workload) -> list[np.ndarray]:
    """The outputs after `workload.steps` runs; for training, the loss of the last and the changes of the weights."""
    arrays = {name: value.astype(np.float64) for name, value in data.arrays(workload.family).items()}
    if not workload.trains:
        return FORWARD[workload.family.partition("_")[0]](arrays, workload.options)
    names = data.WEIGHTS[workload.family]
    start = {name: arrays[name].copy() for name in names}
    moments = {name: (np.zeros_like(start[name]), np.zeros_like(start[name])) for name in names}
    loss = np.zeros(())
    for step in range(1, workload.steps + 1):
        loss, gradients = TRAINING[workload.family](arrays)
        for name in names:
            if workload.options.get("optimizer") == "adam":
                arrays[name] = arrays[name] - _adam(moments, name, gradients[name], step)
            else:
                arrays[name] = arrays[name] - data.RATES[workload.name] * gradients[name]
    return [np.asarray(loss), *(arrays[name] - start[name] for name in names)]


def _adam(moments: dict[str, tuple[np.ndarray, np.ndarray]], name: str, g: np.ndarray, step: int) -> np.ndarray:
    m, v = moments[name]
    m, v = data.BETA1 * m + (1 - data.BETA1) * g, data.BETA2 * v + (1 - data.BETA2) * g * g
    moments[name] = m, v
    rate = data.RATES["mlp_adam"] * np.sqrt(1 - data.BETA2**step) / (1 - data.BETA1**step)
    return np.asarray(rate * m / (np.sqrt(v) + data.EPSILON))


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


# -- forward -------------------------------------------------------------------------------------------------------


def _elementwise(v: Values, options: dict[str, Any]) -> list[np.ndarray]:
    a, b, c, d = v["a"], v["b"], v["c"], v["d"]
    t, s, e = np.tanh(a * b + c), _sigmoid(d), np.exp(-c * c)
    out = [np.mean(t * s - 0.5 * a * a + e)]
    if options["gradient"]:
        u = s * (1 - t * t)
        out += [g / a.size for g in (u * b - a, u * a, u - 2 * c * e, t * s * (1 - s))]
    return out


def _wide(v: Values, options: dict[str, Any]) -> list[np.ndarray]:
    total = np.zeros_like(v["x"])
    for i in range(data.BRANCHES):
        y = v["x"]
        for j in range(data.DEPTH):
            y = np.tanh(y @ v[f"w{i}_{j}"])
        total = total + y
    return [total]


def _line(v: Values, options: dict[str, Any]) -> list[np.ndarray]:
    y = v["x"]
    for i in range(data.LINE):
        y = np.tanh(y @ v[f"w{i}"])
    return [y]


def _infer(v: Values, options: dict[str, Any]) -> list[np.ndarray]:
    return [_convolved(v)[-1][-1]]


# -- training ------------------------------------------------------------------------------------------------------


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shifted = logits - logits.max(1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(1, keepdims=True))
    return np.mean(-(labels * (shifted - log_sum)).sum(1)), (np.exp(shifted - log_sum) - labels) / len(labels)


def _dense(v: Values, x: np.ndarray, layers: int, act: Callable[[Any], Any]) -> list[np.ndarray]:
    """The input of every layer, and the output of the last."""
    seen = [x]
    for i in range(1, layers + 1):
        x = x @ v[f"w{i}"] + v[f"b{i}"]
        x = act(x) if i < layers else x
        seen.append(x)
    return seen


def _dense_back(v: Values, seen: list[np.ndarray], delta: np.ndarray, slope: Callable[[Any], Any]) -> Values:
    """Gradients of the weights, and of the input as "x"."""
    out: Values = {}
    for i in range(len(seen) - 1, 0, -1):
        out[f"w{i}"], out[f"b{i}"] = seen[i - 1].T @ delta, delta.sum(0)
        delta = delta @ v[f"w{i}"].T
        if i > 1:
            delta = delta * slope(seen[i - 1])
    out["x"] = delta
    return out


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _mlp(v: Values) -> tuple[np.ndarray, Values]:
    seen = _dense(v, v["x"], 3, _relu)
    loss, delta = _cross_entropy(seen[-1], v["t"])
    return loss, _dense_back(v, seen, delta, lambda y: y > 0)


def _lecture(v: Values) -> tuple[np.ndarray, Values]:
    seen = _dense(v, v["x"], 3, _sigmoid)
    y = _sigmoid(seen[-1])
    delta = 2 * (y - v["t"]) / y.size * y * (1 - y)
    return np.mean((y - v["t"]) ** 2), _dense_back(v, seen, delta, lambda y: y * (1 - y))


def _patches(x: np.ndarray) -> np.ndarray:
    """All 5 x 5 windows of a padded picture: [batch, height, width, 5, 5, channels]."""
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)


def _convolved(v: Values) -> tuple[Any, ...]:
    """What the backward pass needs of each convolution, and the layers after them."""
    x, kept = v["x"], []
    for kernel, bias in (("k1", "c1"), ("k2", "c2")):
        p = _patches(x)
        y = _relu(np.tensordot(p, v[kernel], 3) + v[bias])
        n, h, w, c = y.shape
        blocks = y.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)
        kept.append((p, blocks, x.shape))
        x = blocks.max(-1)
    return kept, _dense(v, x.reshape(len(x), -1), 2, _relu)


def _cnn(v: Values) -> tuple[np.ndarray, Values]:
    kept, seen = _convolved(v)
    loss, delta = _cross_entropy(seen[-1], v["t"])
    out = _dense_back(v, seen, delta, lambda y: y > 0)
    d = out["x"]
    for kernel, bias, (p, blocks, dims) in (("k2", "c2", kept[1]), ("k1", "c1", kept[0])):
        n, h, w, c, _ = blocks.shape
        first = np.eye(4)[blocks.argmax(-1)] * (blocks.max(-1, keepdims=True) > 0)
        spread = (first * d.reshape(n, h, w, c, 1)).reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3)
        dy = spread.reshape(n, 2 * h, 2 * w, c)
        out[kernel], out[bias] = np.tensordot(p, dy, ((0, 1, 2), (0, 1, 2))), dy.sum((0, 1, 2))
        flipped = v[kernel][::-1, ::-1].transpose(0, 1, 3, 2)
        d = np.tensordot(_patches(dy), flipped, 3) if dims[-1] > 1 else d
    return loss, out


def _lstm(v: Values) -> tuple[np.ndarray, Values]:
    size = data.HIDDEN
    h = c = np.zeros((v["x"].shape[1], size))
    kept = []
    for x_t in v["x"]:
        joined = np.concatenate([x_t, h], 1)
        z = joined @ v["w"] + v["b"]
        i, j, f, o = (g(z[:, k * size : (k + 1) * size]) for k, g in enumerate((_sigmoid, np.tanh, _sigmoid, _sigmoid)))
        before, c = c, f * c + i * j
        h = o * np.tanh(c)
        kept.append((joined, i, j, f, o, before, np.tanh(c)))
    seen = _dense(v, h, 1, _relu)
    loss, delta = _cross_entropy(seen[-1], v["t"])
    out = _dense_back(v, seen, delta, _relu)
    dh, dc = out["x"], np.zeros_like(c)
    out["w"], out["b"] = np.zeros_like(v["w"]), np.zeros_like(v["b"])
    for joined, i, j, f, o, before, tanh_c in reversed(kept):
        dc = dc + dh * o * (1 - tanh_c**2)
        gates = (dc * j * i * (1 - i), dc * i * (1 - j * j), dc * before * f * (1 - f), dh * tanh_c * o * (1 - o))
        dz = np.concatenate(gates, 1)
        out["w"] += joined.T @ dz
        out["b"] += dz.sum(0)
        dh, dc = (dz @ v["w"].T)[:, 28:], dc * f
    return loss, out


def _ebm(v: Values) -> tuple[np.ndarray, Values]:
    r1, r2 = v["y1"] - v["w1"] * v["cos"], v["y2"] - v["w2"] * v["sin"]
    energy = r1 * r1 + r2 * r2
    weight = np.exp(-energy)
    total = weight.sum(1, keepdims=True)
    p = weight / total / len(weight)
    return -np.mean(np.log(total)), {"w1": np.sum(p * -2 * r1 * v["cos"]), "w2": np.sum(p * -2 * r2 * v["sin"])}


FORWARD: dict[str, Callable[[Values, dict[str, Any]], list[np.ndarray]]] = {
    "noop": lambda v, o: [v["x"] + 1],
    "chain": lambda v, o: [v["x"] + data.CHAIN * v["b"]],
    "small": lambda v, o: [sum(v["x"] @ v[f"w{i}"] for i in range(data.SMALL))],
    "elementwise": _elementwise, "wide": _wide, "line": _line, "cnn": _infer,
}  # fmt: skip
TRAINING: dict[str, Callable[[Values], tuple[np.ndarray, Values]]] = {
    "mlp": _mlp, "lecture": _lecture, "cnn": _cnn, "lstm": _lstm, "ebm": _ebm,
}  # fmt: skip
