"""The convolutional and the recurrent network in NumPy by hand.

Policy: a convolution is one matmul over copied patches; the weight gradient of the unrolled network is one matmul over
the stacked gates of all steps.

State: every step owns its buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.peers.numpy_steps import ONE, ZERO, Gradients, Layers, Step, sigmoid, softmax_loss


class Convolution:
    """5 x 5, padded, relu, then the maximum of 2 x 2; channels last."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, rows: int, size: int) -> None:
        self.kernel, self.bias, (_, _, self.inside, self.outside) = kernel, bias, kernel.shape
        self.rows, self.size = rows, size
        self.padded = np.zeros((rows, size + 4, size + 4, self.inside), np.float32)
        self.patches = np.empty((rows, size, size, 5, 5, self.inside), np.float32)
        self.y = np.empty((rows, size, size, self.outside), np.float32)
        self.pooled = np.empty((rows, size // 2, size // 2, self.outside), np.float32)
        self.half = np.empty((rows, size, size // 2, self.outside), np.float32)
        self.windows = np.lib.stride_tricks.sliding_window_view(self.padded, (5, 5), (1, 2)).transpose(0, 1, 2, 4, 5, 3)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The pooled output."""
        self.padded[:, 2:-2, 2:-2] = x
        self.patches[...] = self.windows
        flat = self.y.reshape(-1, self.outside)
        np.dot(self.patches.reshape(len(flat), -1), self.kernel.reshape(-1, self.outside), flat)
        np.maximum(self.y[:, :, 0::2], self.y[:, :, 1::2], out=self.half)
        np.maximum(self.half[:, 0::2], self.half[:, 1::2], out=self.pooled)
        np.add(self.pooled, self.bias, self.pooled)  # after the maximum: a quarter of the work, the same result
        return np.maximum(self.pooled, ZERO, out=self.pooled)

    def prepare_backward(self) -> None:
        """Buffers that only training needs."""
        self.dy = np.empty_like(self.y)
        self.mask = np.empty(self.pooled.shape, bool)
        self.left = np.empty_like(self.mask)
        self.d_kernel, self.d_bias = np.empty_like(self.kernel), np.empty_like(self.bias)
        self.d_padded = np.empty_like(self.padded)
        self.d_patches = np.empty_like(self.patches) if self.inside > 1 else None

    def backward(self, d: np.ndarray) -> np.ndarray | None:
        """Gradients of kernel and bias; the gradient of the input, except for the first convolution."""
        np.multiply(d, np.greater(self.pooled, ZERO, self.mask), d)
        np.add.reduce(d.reshape(-1, self.outside), 0, None, self.d_bias)
        np.maximum(self.half[:, 0::2], self.half[:, 1::2], out=self.pooled)
        self.left[...] = True
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):  # the first of equal maxima takes it all
            np.equal(self.y[:, i::2, j::2], self.pooled, self.mask)
            np.logical_and(self.mask, self.left, self.mask)
            np.logical_xor(self.left, self.mask, self.left)
            np.multiply(d, self.mask, self.dy[:, i::2, j::2])
        flat = self.dy.reshape(-1, self.outside)
        patches = self.patches.reshape(len(flat), -1)
        np.dot(patches.T, flat, self.d_kernel.reshape(-1, self.outside))
        if self.d_patches is None:
            return None
        np.dot(flat, self.kernel.reshape(-1, self.outside).T, self.d_patches.reshape(len(flat), -1))
        self.d_padded[...] = 0
        for i in range(5):
            for j in range(5):
                target = self.d_padded[:, i : i + self.size, j : j + self.size]
                np.add(target, self.d_patches[:, :, :, i, j], target)
        return self.d_padded[:, 2:-2, 2:-2]


def _convolutions(weights: Gradients) -> tuple[Convolution, Convolution, Layers]:
    first = Convolution(weights["k1"], weights["c1"], 64, 28)
    second = Convolution(weights["k2"], weights["c2"], 64, 14)
    return first, second, Layers(weights, (7 * 7 * 64, 256, 10), 64, False, True)


def inference(arrays: data.Arrays, options: dict[str, Any]) -> Callable[[], Sequence[Any]]:
    """The logits."""
    first, second, layers = _convolutions(arrays)
    return lambda: (layers.forward(second.forward(first.forward(arrays["x"])).reshape(64, -1)),)


def _cnn(arrays: data.Arrays, weights: Gradients) -> Step:
    first, second, layers = _convolutions(weights)
    first.prepare_backward()
    second.prepare_backward()
    loss = softmax_loss(layers.y[-1], arrays["t"])

    def step() -> tuple[Any, Gradients]:
        features = second.forward(first.forward(arrays["x"])).reshape(64, -1)
        logits = layers.forward(features)
        value = loss()
        gradients = layers.backward(features, logits)
        middle = second.backward(layers.delta[0].reshape(second.pooled.shape))
        assert middle is not None
        first.backward(middle)
        gradients |= {"k1": first.d_kernel, "c1": first.d_bias, "k2": second.d_kernel, "c2": second.d_bias}
        return value, gradients

    return step


def _lstm(arrays: data.Arrays, weights: Gradients) -> Step:
    x, (steps, rows, inside), size = arrays["x"], arrays["x"].shape, data.HIDDEN
    layers = Layers(weights, (size, 10), rows, False, True)
    loss = softmax_loss(layers.y[-1], arrays["t"])
    gates = np.empty((steps, rows, 4 * size), np.float32)
    joined = np.zeros((steps + 1, rows, inside + size), np.float32)
    joined[:-1, :, :inside] = x
    cells = np.zeros((steps + 1, rows, size), np.float32)
    tanhs = np.empty((steps, rows, size), np.float32)
    dz = np.empty_like(gates)
    scratch, slope, dc, dx = (np.empty((rows, n), np.float32) for n in (size, size, size, inside + size))
    own = {"w": np.empty_like(weights["w"]), "b": np.empty_like(weights["b"])}
    parts = [slice(k * size, (k + 1) * size) for k in range(4)]

    def forward() -> None:
        for t in range(steps):
            z = gates[t]
            joined[t].dot(weights["w"], z)
            np.add(z, weights["b"], z)
            np.tanh(z[:, parts[1]], z[:, parts[1]])
            sigmoid(z[:, parts[0]])
            sigmoid(z[:, 2 * size :])
            np.multiply(z[:, parts[2]], cells[t], cells[t + 1])
            np.multiply(z[:, parts[0]], z[:, parts[1]], scratch)
            np.add(cells[t + 1], scratch, cells[t + 1])
            np.tanh(cells[t + 1], tanhs[t])
            np.multiply(z[:, parts[3]], tanhs[t], joined[t + 1][:, inside:])

    def through_sigmoid(y: np.ndarray, into: np.ndarray) -> None:
        np.subtract(ONE, y, slope)
        np.multiply(slope, y, slope)
        np.multiply(into, slope, into)

    def backward(dh: np.ndarray) -> None:
        dc[...] = 0
        for t in range(steps - 1, -1, -1):
            i, j, f, o = (gates[t][:, p] for p in parts)
            di, dj, df, do = (dz[t][:, p] for p in parts)
            np.multiply(dh, tanhs[t], do)
            through_sigmoid(o, do)
            np.multiply(tanhs[t], tanhs[t], scratch)
            np.subtract(ONE, scratch, scratch)
            np.multiply(scratch, o, scratch)
            np.multiply(scratch, dh, scratch)
            np.add(dc, scratch, dc)
            np.multiply(dc, j, di)
            through_sigmoid(i, di)
            np.multiply(dc, i, dj)
            np.multiply(j, j, scratch)
            np.subtract(ONE, scratch, scratch)
            np.multiply(dj, scratch, dj)
            np.multiply(dc, cells[t], df)
            through_sigmoid(f, df)
            np.multiply(dc, f, dc)
            if t:
                np.dot(dz[t], weights["w"].T, dx)
                dh = dx[:, inside:]

    def step() -> tuple[Any, Gradients]:
        forward()
        last = joined[-1][:, inside:]
        logits = layers.forward(last)
        value = loss()
        gradients = layers.backward(last, logits)
        backward(layers.delta[0])
        flat = dz.reshape(-1, 4 * size)
        np.dot(joined[:-1].reshape(len(flat), -1).T, flat, own["w"])
        np.add.reduce(flat, 0, None, own["b"])
        return value, gradients | own

    return step


STEPS: dict[str, Callable[[data.Arrays, Gradients], Step]] = {"cnn": _cnn, "lstm": _lstm}
