"""The inputs of the workloads: the same float32 arrays in every process.

Policy: drawn from a fixed seed, so that no array has to travel between processes; weights are scaled so that
activations neither vanish nor explode, and no input is zero or one, which a compiler might exploit.

State: none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]

SEED = 20
CHAIN = 1_000  # additions
SMALL = 200  # matmuls of 16 x 16
BRANCHES, DEPTH, WIDTH = 16, 6, 256  # the wide workload
LINE = 48  # layers of the workload without parallelism
STEPS, HIDDEN = 28, 128  # the LSTM
SAMPLES, LATENTS = 24, 48  # observations and latents of the free energy
RATES = {"mlp_sgd": 0.01, "mlp_adam": 0.001, "lecture": 0.1, "cnn_train": 0.01, "lstm": 0.05, "ebm": 0.05}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-10  # Adam; libraries differ in what they add epsilon to, so it is tiny
ELEMENTS = {"4m": 4_000_000, "64k": 65_536, "1k": 1_024}


def _normal(rng: np.random.Generator, *dims: int, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal(dims, dtype=np.float32) * np.float32(scale)).astype(np.float32)


def _labels(rng: np.random.Generator, rows: int, classes: int = 10) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[rng.integers(0, classes, rows)]


def _dense(rng: np.random.Generator, arrays: Arrays, sizes: tuple[int, ...], gain: float = 2.0) -> None:
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), 1):
        arrays[f"w{i}"] = _normal(rng, fan_in, fan_out, scale=math.sqrt(gain / fan_in))
        arrays[f"b{i}"] = _normal(rng, fan_out, scale=0.01)


def _noop(rng: np.random.Generator) -> Arrays:
    return {"x": np.array(1.25, np.float32)}


def _chain(rng: np.random.Generator) -> Arrays:
    return {"x": np.array(1.25, np.float32), "b": np.array(0.001, np.float32)}


def _small(rng: np.random.Generator) -> Arrays:
    arrays = {"x": _normal(rng, 16, 16)}
    arrays.update((f"w{i}", _normal(rng, 16, 16, scale=0.25)) for i in range(SMALL))
    return arrays


def _elementwise(count: int) -> Callable[[np.random.Generator], Arrays]:
    return lambda rng: {name: _normal(rng, count) for name in "abcd"}


def _mlp(rng: np.random.Generator) -> Arrays:
    arrays = {"x": rng.random((128, 784), dtype=np.float32), "t": _labels(rng, 128)}
    _dense(rng, arrays, (784, 256, 256, 10))
    return arrays


def _lecture(rng: np.random.Generator) -> Arrays:
    arrays = {"x": _normal(rng, 32, 2), "t": rng.integers(0, 2, (32, 1)).astype(np.float32)}
    _dense(rng, arrays, (2, 20, 20, 1), gain=1.0)
    return arrays


def _cnn(rng: np.random.Generator) -> Arrays:
    arrays = {"x": rng.random((64, 28, 28, 1), dtype=np.float32), "t": _labels(rng, 64)}
    arrays["k1"] = _normal(rng, 5, 5, 1, 32, scale=math.sqrt(2 / 25))
    arrays["c1"] = _normal(rng, 32, scale=0.01)
    arrays["k2"] = _normal(rng, 5, 5, 32, 64, scale=math.sqrt(2 / 800))
    arrays["c2"] = _normal(rng, 64, scale=0.01)
    _dense(rng, arrays, (7 * 7 * 64, 256, 10))
    return arrays


def _wide(rng: np.random.Generator) -> Arrays:
    arrays = {"x": _normal(rng, WIDTH, WIDTH)}
    for i in range(BRANCHES):
        for j in range(DEPTH):
            arrays[f"w{i}_{j}"] = _normal(rng, WIDTH, WIDTH, scale=1 / math.sqrt(WIDTH))
    return arrays


def _line(rng: np.random.Generator) -> Arrays:
    arrays = {"x": _normal(rng, WIDTH, WIDTH)}
    arrays.update((f"w{i}", _normal(rng, WIDTH, WIDTH, scale=1 / math.sqrt(WIDTH))) for i in range(LINE))
    return arrays


def _lstm(rng: np.random.Generator) -> Arrays:
    arrays = {"x": rng.random((STEPS, 128, 28), dtype=np.float32), "t": _labels(rng, 128)}
    arrays["w"] = _normal(rng, 28 + HIDDEN, 4 * HIDDEN, scale=1 / math.sqrt(28 + HIDDEN))
    arrays["b"] = _normal(rng, 4 * HIDDEN, scale=0.1)
    _dense(rng, arrays, (HIDDEN, 10))
    return arrays


def _ebm(rng: np.random.Generator) -> Arrays:
    angle = rng.random(SAMPLES) * 2 * np.pi
    seen = np.stack([1.5 * np.cos(angle), 2.0 * np.sin(angle)]) + rng.standard_normal((2, SAMPLES)) / 20
    z = np.arange(LATENTS) * (2 * np.pi / LATENTS)
    return {
        "y1": seen[0].reshape(-1, 1).astype(np.float32),
        "y2": seen[1].reshape(-1, 1).astype(np.float32),
        "cos": np.cos(z).reshape(1, -1).astype(np.float32),
        "sin": np.sin(z).reshape(1, -1).astype(np.float32),
        "w1": np.array(1.0, np.float32),
        "w2": np.array(1.1, np.float32),
    }


FAMILIES: dict[str, Callable[[np.random.Generator], Arrays]] = {
    "noop": _noop, "chain": _chain, "small": _small, "mlp": _mlp, "lecture": _lecture, "cnn": _cnn, "wide": _wide,
    "line": _line, "lstm": _lstm, "ebm": _ebm,
    **{f"elementwise_{size}": _elementwise(count) for size, count in ELEMENTS.items()},
}  # fmt: skip

# What a training step changes, in the order in which it is compared.
WEIGHTS = {
    "mlp": ("w1", "b1", "w2", "b2", "w3", "b3"),
    "lecture": ("w1", "b1", "w2", "b2", "w3", "b3"),
    "cnn": ("k1", "c1", "k2", "c2", "w1", "b1", "w2", "b2"),
    "lstm": ("w", "b", "w1", "b1"),
    "ebm": ("w1", "w2"),
}


def arrays(family: str) -> Arrays:
    """The inputs and weights of a family of workloads."""
    return FAMILIES[family](np.random.default_rng([SEED, len(family)]))
