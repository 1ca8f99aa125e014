"""Training steps in NumPy by hand: dense layers, the free energy, and the updates.

State: every step owns its buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.workloads import Workload

Gradients = dict[str, np.ndarray]
Step = Callable[[], tuple[Any, Gradients]]
ZERO, ONE = np.float32(0), np.float32(1)


class Sgd:
    """w -= rate * g."""

    def __init__(self, rate: float, weights: Gradients) -> None:
        self.rate, self.weights = np.float32(rate), weights

    def reset(self) -> None:
        """Nothing is kept."""

    def update(self, gradients: Gradients) -> None:
        """One step; the gradients are overwritten."""
        for name, w in self.weights.items():
            g = gradients[name]
            np.multiply(g, self.rate, g)
            np.subtract(w, g, w)


class Adam:
    """Ten passes over each weight, in place."""

    def __init__(self, rate: float, weights: Gradients) -> None:
        self.rate, self.weights, self.step = rate, weights, 0
        self.kept = {n: tuple(np.zeros_like(w) for _ in range(3)) for n, w in weights.items()}

    def reset(self) -> None:
        """Forget the moments."""
        self.step = 0
        for m, v, _ in self.kept.values():
            m[...] = v[...] = 0

    def update(self, gradients: Gradients) -> None:
        """One step; the gradients are overwritten."""
        self.step += 1
        rate = np.float32(self.rate * np.sqrt(1 - data.BETA2**self.step) / (1 - data.BETA1**self.step))
        b1, b2 = np.float32(data.BETA1), np.float32(data.BETA2)
        for name, w in self.weights.items():
            g, (m, v, t) = gradients[name], self.kept[name]
            np.multiply(g, g, t)
            np.multiply(t, ONE - b2, t)
            np.multiply(v, b2, v)
            np.add(v, t, v)
            np.multiply(g, ONE - b1, g)
            np.multiply(m, b1, m)
            np.add(m, g, m)
            np.sqrt(v, t)
            np.add(t, np.float32(data.EPSILON), t)
            np.divide(m, t, t)
            np.multiply(t, rate, t)
            np.subtract(w, t, w)


def optimizer(workload: Workload, weights: Gradients) -> Any:
    """The updates of a workload."""
    kind = Adam if workload.options.get("optimizer") == "adam" else Sgd
    return kind(data.RATES[workload.name], weights)


def softmax_loss(logits: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """Mean cross-entropy of the logits, which become its gradient."""
    rows = len(logits)
    exps, column = np.empty_like(logits), np.empty((rows, 1), np.float32)
    scale = np.float32(1 / rows)

    def loss() -> Any:
        np.maximum.reduce(logits, 1, None, column, True)
        np.subtract(logits, column, logits)
        np.exp(logits, exps)
        np.add.reduce(exps, 1, None, column, True)
        value = np.add.reduce(np.log(column), None) - np.vdot(labels, logits)
        np.divide(exps, column, logits)
        np.subtract(logits, labels, logits)
        np.multiply(logits, scale, logits)
        return value * scale

    return loss


class Layers:
    """Dense layers over preallocated buffers, forward and backward."""

    def __init__(self, weights: Gradients, sizes: tuple[int, ...], rows: int, sigmoid: bool, wide: bool) -> None:
        self.w = [weights[f"w{i}"] for i in range(1, len(sizes))]
        self.b = [weights[f"b{i}"] for i in range(1, len(sizes))]
        self.y = [np.empty((rows, n), np.float32) for n in sizes[1:]]
        self.delta = [np.empty((rows, n), np.float32) for n in sizes]
        self.gradients: Gradients = {}
        for i, (w, b) in enumerate(zip(self.w, self.b, strict=True), 1):
            self.gradients[f"w{i}"], self.gradients[f"b{i}"] = np.empty_like(w), np.empty_like(b)
        self.sigmoid, self.to_input = sigmoid, wide
        self.slope = [np.empty((rows, n), np.float32 if sigmoid else bool) for n in sizes[1:]]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Logits."""
        last = len(self.w) - 1
        for i, (w, b, y) in enumerate(zip(self.w, self.b, self.y, strict=True)):
            x.dot(w, y)
            np.add(y, b, y)
            if i < last and self.sigmoid:
                sigmoid(y)
            elif i < last:
                np.maximum(y, ZERO, out=y)
            x = y
        return x

    def backward(self, x: np.ndarray, delta: np.ndarray) -> Gradients:
        """Gradients of the weights for the gradient of the logits."""
        for i in range(len(self.w), 0, -1):
            below = self.y[i - 2] if i > 1 else x
            np.dot(below.T, delta, self.gradients[f"w{i}"])
            np.add.reduce(delta, 0, None, self.gradients[f"b{i}"])
            if i == 1 and not self.to_input:
                break
            np.dot(delta, self.w[i - 1].T, self.delta[i - 1])
            delta = self.delta[i - 1]
            if i > 1 and self.sigmoid:
                slope = self.slope[i - 2]
                np.subtract(ONE, below, slope)
                np.multiply(slope, below, slope)
                np.multiply(delta, slope, delta)
            elif i > 1:
                np.multiply(delta, np.greater(below, ZERO, self.slope[i - 2]), delta)
        return self.gradients


def sigmoid(y: np.ndarray) -> None:
    """In place."""
    np.negative(y, y)
    np.exp(y, y)
    np.add(y, ONE, y)
    np.divide(ONE, y, y)


def _mlp(arrays: data.Arrays, weights: Gradients) -> Step:
    layers = Layers(weights, (784, 256, 256, 10), 128, False, False)
    x, loss = arrays["x"], softmax_loss(layers.y[-1], arrays["t"])

    def step() -> tuple[Any, Gradients]:
        logits = layers.forward(x)
        value = loss()
        return value, layers.backward(x, logits)

    return step


def _lecture(arrays: data.Arrays, weights: Gradients) -> Step:
    layers = Layers(weights, (2, 20, 20, 1), 32, True, False)
    x, t = arrays["x"], arrays["t"]
    difference, slope = np.empty_like(t), np.empty_like(t)
    scale = np.float32(2 / t.size)

    def step() -> tuple[Any, Gradients]:
        y = layers.forward(x)
        sigmoid(y)
        np.subtract(y, t, difference)
        value = np.vdot(difference, difference) * (scale * np.float32(0.5))
        np.subtract(ONE, y, slope)
        np.multiply(slope, y, slope)
        np.multiply(difference, slope, y)
        np.multiply(y, scale, y)
        return value, layers.backward(x, y)

    return step


def _ebm(arrays: data.Arrays, weights: Gradients) -> Step:
    y1, y2, cos, sin = (arrays[name] for name in ("y1", "y2", "cos", "sin"))
    w1, w2 = weights["w1"], weights["w2"]
    r1, r2, e = (np.empty((data.SAMPLES, data.LATENTS), np.float32) for _ in range(3))
    least, total = (np.empty((data.SAMPLES, 1), np.float32) for _ in range(2))
    gradients = {"w1": np.empty((), np.float32), "w2": np.empty((), np.float32)}
    scale = np.float32(1 / data.SAMPLES)

    def step() -> tuple[Any, Gradients]:
        np.subtract(y1, w1 * cos, r1)
        np.subtract(y2, w2 * sin, r2)
        np.multiply(r1, r1, e)
        np.add(e, r2 * r2, e)
        np.minimum.reduce(e, 1, None, least, True)
        np.subtract(least, e, e)
        np.exp(e, e)
        np.add.reduce(e, 1, None, total, True)
        value = (np.add.reduce(least, None) - np.add.reduce(np.log(total), None)) * scale
        np.divide(e, total, e)
        np.multiply(r1, e, r1)
        np.multiply(r2, e, r2)
        gradients["w1"][...] = np.float32(-2) * scale * np.dot(np.add.reduce(r1, 0), cos[0])
        gradients["w2"][...] = np.float32(-2) * scale * np.dot(np.add.reduce(r2, 0), sin[0])
        return value, gradients

    return step


STEPS: dict[str, Callable[[data.Arrays, Gradients], Step]] = {"mlp": _mlp, "lecture": _lecture, "ebm": _ebm}
