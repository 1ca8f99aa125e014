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


class Recurrent:
    """An LSTM and a dense layer after its last step, over preallocated buffers."""

    def __init__(self, x: np.ndarray, weights: Gradients) -> None:
        (steps, rows, inside), size = x.shape, data.HIDDEN
        self.weights, self.steps, self.inside = weights, steps, inside
        self.layers = Layers(weights, (size, 10), rows, False, True)
        self.gates = np.empty((steps, rows, 4 * size), np.float32)
        self.joined = np.zeros((steps + 1, rows, inside + size), np.float32)
        self.joined[:-1, :, :inside] = x
        self.cells = np.zeros((steps + 1, rows, size), np.float32)
        self.tanhs = np.empty((steps, rows, size), np.float32)
        self.dz = np.empty_like(self.gates)
        self.scratch, self.slope, self.dc = (np.empty((rows, size), np.float32) for _ in range(3))
        self.dx = np.empty((rows, inside + size), np.float32)
        self.own = {"w": np.empty_like(weights["w"]), "b": np.empty_like(weights["b"])}
        self.parts = [slice(k * size, (k + 1) * size) for k in range(4)]

    def forward(self) -> np.ndarray:
        """The last hidden state."""
        i, j, f, o = self.parts
        for t in range(self.steps):
            z, c = self.gates[t], self.cells[t + 1]
            self.joined[t].dot(self.weights["w"], z)
            np.add(z, self.weights["b"], z)
            np.tanh(z[:, j], z[:, j])
            sigmoid(z[:, i])
            sigmoid(z[:, f.start :])
            np.multiply(z[:, f], self.cells[t], c)
            np.multiply(z[:, i], z[:, j], self.scratch)
            np.add(c, self.scratch, c)
            np.tanh(c, self.tanhs[t])
            np.multiply(z[:, o], self.tanhs[t], self.joined[t + 1][:, self.inside :])
        return self.joined[-1][:, self.inside :]

    def _through_sigmoid(self, y: np.ndarray, into: np.ndarray) -> None:
        np.subtract(ONE, y, self.slope)
        np.multiply(self.slope, y, self.slope)
        np.multiply(into, self.slope, into)

    def _back(self, t: int, dh: np.ndarray) -> None:
        """The gradients of the gates of one step."""
        i, j, f, o = (self.gates[t][:, p] for p in self.parts)
        di, dj, df, do = (self.dz[t][:, p] for p in self.parts)
        scratch, dc, tanh = self.scratch, self.dc, self.tanhs[t]
        np.multiply(dh, tanh, do)
        self._through_sigmoid(o, do)
        np.multiply(tanh, tanh, scratch)
        np.subtract(ONE, scratch, scratch)
        np.multiply(scratch, o, scratch)
        np.multiply(scratch, dh, scratch)
        np.add(dc, scratch, dc)
        np.multiply(dc, j, di)
        self._through_sigmoid(i, di)
        np.multiply(dc, i, dj)
        np.multiply(j, j, scratch)
        np.subtract(ONE, scratch, scratch)
        np.multiply(dj, scratch, dj)
        np.multiply(dc, self.cells[t], df)
        self._through_sigmoid(f, df)
        np.multiply(dc, f, dc)

    def backward(self, dh: np.ndarray) -> Gradients:
        """The gradients of the recurrent weights: one product over all steps."""
        self.dc[...] = 0
        for t in range(self.steps - 1, -1, -1):
            self._back(t, dh)
            if t:
                np.dot(self.dz[t], self.weights["w"].T, self.dx)
                dh = self.dx[:, self.inside :]
        flat = self.dz.reshape(-1, self.dz.shape[-1])
        np.dot(self.joined[:-1].reshape(len(flat), -1).T, flat, self.own["w"])
        np.add.reduce(flat, 0, None, self.own["b"])
        return self.own


def _lstm(arrays: data.Arrays, weights: Gradients) -> Step:
    net = Recurrent(arrays["x"], weights)
    loss = softmax_loss(net.layers.y[-1], arrays["t"])

    def step() -> tuple[Any, Gradients]:
        last = net.forward()
        logits = net.layers.forward(last)
        value = loss()
        gradients = net.layers.backward(last, logits)
        return value, gradients | net.backward(net.layers.delta[0])

    return step


STEPS: dict[str, Callable[[data.Arrays, Gradients], Step]] = {"cnn": _cnn, "lstm": _lstm}
