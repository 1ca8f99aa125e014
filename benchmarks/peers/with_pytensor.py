"""PyTensor with its numba linker: one compiled function a workload, weights as shared variables.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt

from benchmarks import data
from benchmarks.peers import LeftOut, Prepared
from benchmarks.workloads import Workload

pytensor.config.floatX = "float32"


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"pytensor": pytensor.__version__, "mode": str(pytensor.config.mode), "linker": str(pytensor.config.linker)}


def _inputs(arrays: data.Arrays, names: Sequence[str]) -> dict[str, Any]:
    return {n: pt.tensor(n, dtype="float32", shape=arrays[n].shape) for n in names}


def _dense(w: Any, x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for i in range(1, layers + 1):
        x = pt.dot(x, w[f"w{i}"]) + w[f"b{i}"]
        if i < layers:
            x = activation(x)
    return x


def _relu(x: Any) -> Any:
    return pt.maximum(x, np.float32(0))


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return -pt.mean(pt.sum(labels * pt.special.log_softmax(logits, axis=1), axis=1))


def _lstm(w: Any, v: Any) -> Any:
    size = data.HIDDEN
    h = c = pt.zeros((128, size), dtype="float32")
    for k in range(data.STEPS):
        z = pt.dot(pt.concatenate([v["x"][k], h], axis=1), w["w"]) + w["b"]
        i, j, f, o = (z[:, n * size : (n + 1) * size] for n in range(4))
        c = pt.sigmoid(f) * c + pt.sigmoid(i) * pt.tanh(j)
        h = pt.sigmoid(o) * pt.tanh(c)
    return _cross_entropy(_dense(w, h, 1, _relu), v["t"])


def _ebm(w: Any, v: Any) -> Any:
    energy = pt.sqr(v["y1"] - w["w1"] * v["cos"]) + pt.sqr(v["y2"] - w["w2"] * v["sin"])
    return -pt.mean(pt.logsumexp(-energy, axis=1))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mlp": lambda w, v: _cross_entropy(_dense(w, v["x"], 3, _relu), v["t"]),
    "lecture": lambda w, v: pt.mean(pt.sqr(pt.sigmoid(_dense(w, v["x"], 3, pt.sigmoid)) - v["t"])),
    "lstm": _lstm,
    "ebm": _ebm,
}


def _chain(v: Any, w: Any) -> Any:
    y = v["x"]
    for _ in range(data.CHAIN):
        y = y + v["b"]
    return y


def _wide(v: Any, w: Any) -> Any:
    total = None
    for i in range(data.BRANCHES):
        y = v["x"]
        for j in range(data.DEPTH):
            y = pt.tanh(pt.dot(y, w[f"w{i}_{j}"]))
        total = y if total is None else total + y
    return total


def _elementwise(v: Any, w: Any) -> Any:
    a, b, c, d = v["a"], v["b"], v["c"], v["d"]
    return pt.mean(pt.tanh(a * b + c) * pt.sigmoid(d) - np.float32(0.5) * a * a + pt.exp(-c * c))


FORWARD: dict[str, Callable[[Any, Any], Any]] = {
    "noop": lambda v, w: v["x"] + np.float32(1), "chain": _chain, "wide": _wide,
    **{f"elementwise_{size}": _elementwise for size in data.ELEMENTS},
}  # fmt: skip


def _call(function: Any, values: list[np.ndarray]) -> Callable[[], Any]:
    function.trust_input = True  # inputs are arrays of the right type: PyTensor's fastest way to be called
    return lambda: function(*values)


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload as a compiled function."""
    names = data.WEIGHTS.get(workload.family) or tuple(n for n in arrays if n.startswith("w"))
    weights = {n: pytensor.shared(arrays[n].copy(), name=n, borrow=True) for n in names}
    fed = [n for n in arrays if n not in names]
    v = _inputs(arrays, fed)
    values = [arrays[n] for n in fed]
    if workload.trains:
        return _training(workload, arrays, v, weights, values)
    if workload.family not in FORWARD:
        raise LeftOut("is not written for this workload")
    out = [FORWARD[workload.family](v, weights)]
    if workload.options.get("gradient"):
        out += pytensor.grad(out[0], list(v.values()))
    mode = None
    if workload.family == "chain":  # rewrites would make it one multiplication
        mode = pytensor.compile.mode.Mode(linker=pytensor.config.linker, optimizer=None)
    return Prepared(_call(pytensor.function(list(v.values()), out, mode=mode), values))


def _training(workload: Workload, arrays: data.Arrays, v: Any, weights: Any, values: Any) -> Prepared:
    loss = LOSSES[workload.family](weights, v)
    gradients = pytensor.grad(loss, list(weights.values()))
    rate = np.float32(data.RATES[workload.name])
    extra: list[Any] = []
    updates: list[tuple[Any, Any]] = []
    if workload.options.get("optimizer") == "adam":
        b1, b2, one = np.float32(data.BETA1), np.float32(data.BETA2), np.float32(1)
        count = pytensor.shared(np.float32(0))
        scaled = rate * pt.sqrt(one - b2 ** (count + one)) / (one - b1 ** (count + one))
        updates.append((count, count + one))
        extra.append(count)
        for w, g in zip(weights.values(), gradients, strict=True):
            m, s = (pytensor.shared(np.zeros_like(w.get_value())) for _ in range(2))
            new_m, new_s = b1 * m + (one - b1) * g, b2 * s + (one - b2) * g * g
            updates += [(m, new_m), (s, new_s), (w, w - scaled * new_m / (pt.sqrt(new_s) + np.float32(data.EPSILON)))]
            extra += [m, s]
    else:
        updates = [(w, w - rate * g) for w, g in zip(weights.values(), gradients, strict=True)]

    def reset() -> None:
        for name, w in weights.items():
            w.set_value(arrays[name])
        for state in extra:
            state.set_value(np.zeros_like(state.get_value()))

    function = pytensor.function(list(v.values()), [loss], updates=updates)
    return Prepared(_call(function, values), reset, lambda: [w.get_value() for w in weights.values()])
