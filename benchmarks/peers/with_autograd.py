"""HIPS autograd: a tape in pure Python over NumPy; only workloads with a gradient.

State: none.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import logsumexp

from benchmarks import data
from benchmarks.peers import LeftOut, Prepared
from benchmarks.workloads import Workload


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"autograd": importlib.metadata.version("autograd")}


def _relu(x: Any) -> Any:
    return anp.maximum(x, np.float32(0))


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + anp.exp(-x))


def _dense(w: Any, x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for i in range(1, layers + 1):
        x = anp.dot(x, w[f"w{i}"]) + w[f"b{i}"]
        if i < layers:
            x = activation(x)
    return x


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return -anp.mean(anp.sum(labels * (logits - logsumexp(logits, axis=1, keepdims=True)), 1))


def _lstm(w: Any, v: Any) -> Any:
    size = data.HIDDEN
    h = c = np.zeros((v["x"].shape[1], size), np.float32)
    for x_t in v["x"]:
        z = anp.dot(anp.concatenate((x_t, h), 1), w["w"]) + w["b"]
        i, j, f, o = (z[:, k * size : (k + 1) * size] for k in range(4))
        c = _sigmoid(f) * c + _sigmoid(i) * anp.tanh(j)
        h = _sigmoid(o) * anp.tanh(c)
    return _cross_entropy(_dense(w, h, 1, _relu), v["t"])


def _ebm(w: Any, v: Any) -> Any:
    energy = (v["y1"] - w["w1"] * v["cos"]) ** 2 + (v["y2"] - w["w2"] * v["sin"]) ** 2
    return -anp.mean(logsumexp(-energy, axis=1))


def _elementwise(v: Any, _: Any) -> Any:
    a, b, c, d = v["a"], v["b"], v["c"], v["d"]
    return anp.mean(anp.tanh(a * b + c) * _sigmoid(d) - np.float32(0.5) * a * a + anp.exp(-c * c))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mlp": lambda w, v: _cross_entropy(_dense(w, v["x"], 3, _relu), v["t"]),
    "lecture": lambda w, v: anp.mean((_sigmoid(_dense(w, v["x"], 3, _sigmoid)) - v["t"]) ** 2),
    "lstm": _lstm,
    "ebm": _ebm,
}


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload as a function that autograd differentiates anew in every run."""
    if workload.options.get("gradient"):
        both = autograd.value_and_grad(_elementwise)

        def forward() -> Sequence[Any]:
            loss, gradients = both(arrays, None)
            return (loss, *(gradients[name] for name in "abcd"))

        return Prepared(forward)
    if not workload.trains:
        raise LeftOut("is for gradients")
    names = data.WEIGHTS[workload.family]
    both = autograd.value_and_grad(LOSSES[workload.family])
    rate = np.float32(data.RATES[workload.name])
    weights: dict[str, Any] = {}
    moments: dict[str, Any] = {}
    kept = {"step": 0}

    def reset() -> None:
        kept["step"] = 0
        weights.update({name: arrays[name].copy() for name in names})
        moments.update({name: (np.zeros_like(arrays[name]), np.zeros_like(arrays[name])) for name in names})

    def sgd() -> Sequence[Any]:
        loss, gradients = both(weights, arrays)
        for name in names:
            weights[name] = weights[name] - rate * gradients[name]
        return (loss,)

    def adam() -> Sequence[Any]:
        loss, gradients = both(weights, arrays)
        kept["step"] += 1
        scaled = rate * np.float32(np.sqrt(1 - data.BETA2 ** kept["step"]) / (1 - data.BETA1 ** kept["step"]))
        for name, g in gradients.items():
            m, v = moments[name]
            m, v = data.BETA1 * m + (1 - data.BETA1) * g, data.BETA2 * v + (1 - data.BETA2) * g * g
            moments[name] = m, v
            weights[name] = weights[name] - scaled * m / (np.sqrt(v) + data.EPSILON)
        return (loss,)

    reset()
    step = adam if workload.options.get("optimizer") == "adam" else sgd
    return Prepared(step, reset, lambda: [weights[name].copy() for name in names])


def ladder(count: int, variant: str) -> dict[str, float]:
    """The tape is recorded and run backwards in every run; there is nothing to build before."""

    def function(x: Any) -> Any:
        a, b = x, x * 0.5
        for _ in range(count // 4):
            t = anp.tanh(a + b)
            a = t * a
            b = t - a
        return a + b

    both = autograd.value_and_grad(function)
    marks = [time.perf_counter()]
    value, slope = both(0.5)
    marks.append(time.perf_counter())
    for _ in range(2):
        both(0.5)
    marks.append(time.perf_counter())
    return {
        "build": 0.0, "gradients": 0.0, "first run": marks[1] - marks[0], "steady run": (marks[2] - marks[1]) / 2,
        "value": float(value), "slope": float(slope),
    }  # fmt: skip
