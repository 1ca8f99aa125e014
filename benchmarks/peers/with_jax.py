"""JAX: one `jax.jit` function a workload; inputs are on its device already, except scalars and small matrices.

State: none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import data
from benchmarks.peers import Prepared
from benchmarks.workloads import Workload


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"jax": jax.__version__}


def _dense(w: Any, x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for i in range(1, layers + 1):
        x = x @ w[f"w{i}"] + w[f"b{i}"]
        if i < layers:
            x = activation(x)
    return x


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(logits), 1))


def _logits(w: Any, x: Any) -> Any:
    for kernel, bias in (("k1", "c1"), ("k2", "c2")):
        x = jax.lax.conv_general_dilated(x, w[kernel], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.lax.reduce_window(jax.nn.relu(x + w[bias]), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return _dense(w, x.reshape(x.shape[0], -1), 2, jax.nn.relu)


def _lstm(w: Any, v: Any) -> Any:
    h = c = jnp.zeros((v["x"].shape[1], data.HIDDEN))
    for x_t in v["x"]:
        i, j, f, o = jnp.split(jnp.concatenate((x_t, h), 1) @ w["w"] + w["b"], 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(j)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return _cross_entropy(_dense(w, h, 1, jax.nn.relu), v["t"])


def _ebm(w: Any, v: Any) -> Any:
    energy = (v["y1"] - w["w1"] * v["cos"]) ** 2 + (v["y2"] - w["w2"] * v["sin"]) ** 2
    return -jnp.mean(jax.nn.logsumexp(-energy, 1))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mlp": lambda w, v: _cross_entropy(_dense(w, v["x"], 3, jax.nn.relu), v["t"]),
    "lecture": lambda w, v: jnp.mean((jax.nn.sigmoid(_dense(w, v["x"], 3, jax.nn.sigmoid)) - v["t"]) ** 2),
    "cnn": lambda w, v: _cross_entropy(_logits(w, v["x"]), v["t"]),
    "lstm": _lstm,
    "ebm": _ebm,
}


def _chain(v: Any) -> Any:
    y = v["x"]
    for _ in range(data.CHAIN):
        y = y + v["b"]
    return y


def _branches(v: Any) -> Any:
    ends = []
    for i in range(data.BRANCHES):
        y = v["x"]
        for j in range(data.DEPTH):
            y = jnp.tanh(y @ v[f"w{i}_{j}"])
        ends.append(y)
    return sum(ends)


def _elementwise(v: Any) -> Any:
    a, b, c, d = v["a"], v["b"], v["c"], v["d"]
    return jnp.mean(jnp.tanh(a * b + c) * jax.nn.sigmoid(d) - 0.5 * a * a + jnp.exp(-c * c))


FORWARD: dict[str, Callable[[Any], Any]] = {
    "noop": lambda v: v["x"] + 1.0, "chain": _chain, "wide": _branches, "cnn": lambda v: _logits(v, v["x"]),
    "small": lambda v: sum(v["x"] @ v[f"w{i}"] for i in range(data.SMALL)),
    **{f"elementwise_{size}": _elementwise for size in data.ELEMENTS},
}  # fmt: skip
FED_SMALL = {"noop": ("x",), "chain": ("x", "b"), "small": ("x",)}


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload under `jax.jit`."""
    if workload.trains:
        return _training(workload, arrays)
    small = FED_SMALL.get(workload.family, ())
    values = {name: value if name in small else jnp.asarray(value) for name, value in arrays.items()}
    function = FORWARD[workload.family]
    if workload.options.get("gradient"):
        both = jax.jit(jax.value_and_grad(function))

        def step() -> Sequence[Any]:
            loss, gradients = jax.block_until_ready(both(values))
            return (loss, *(gradients[name] for name in "abcd"))

        return Prepared(step)
    compiled = jax.jit(function)
    return Prepared(lambda: (np.asarray(compiled(values)),))


def _training(workload: Workload, arrays: data.Arrays) -> Prepared:
    names = data.WEIGHTS[workload.family]
    values = {name: jnp.asarray(value) for name, value in arrays.items() if name not in names}
    both = jax.value_and_grad(LOSSES[workload.family])
    rate = data.RATES[workload.name]

    def sgd(state: Any, given: Any) -> Any:
        loss, gradients = both(state, given)
        return {name: state[name] - rate * gradients[name] for name in state}, loss

    def adam(state: Any, given: Any) -> Any:
        w, m, v, step = state
        loss, g = both(w, given)
        step = step + 1
        m = {n: data.BETA1 * m[n] + (1 - data.BETA1) * g[n] for n in w}
        v = {n: data.BETA2 * v[n] + (1 - data.BETA2) * g[n] * g[n] for n in w}
        scaled = rate * jnp.sqrt(1 - data.BETA2**step) / (1 - data.BETA1**step)
        return ({n: w[n] - scaled * m[n] / (jnp.sqrt(v[n]) + data.EPSILON) for n in w}, m, v, step), loss

    is_adam = workload.options.get("optimizer") == "adam"
    compiled = jax.jit(adam if is_adam else sgd, donate_argnums=0)

    def fresh() -> Any:
        weights = {name: jnp.array(arrays[name]) for name in names}
        if not is_adam:
            return weights
        zeros = [{name: jnp.zeros_like(w) for name, w in weights.items()} for _ in range(2)]
        return (weights, *zeros, jnp.zeros(()))

    kept = {"state": fresh()}

    def reset() -> None:
        kept["state"] = fresh()

    def step() -> Sequence[Any]:
        kept["state"], loss = compiled(kept["state"], values)
        jax.block_until_ready(kept["state"])
        return (float(loss),)

    def read() -> Sequence[Any]:
        weights = kept["state"][0] if is_adam else kept["state"]
        return [np.asarray(weights[name]) for name in names]

    return Prepared(step, reset, read)


def ladder(count: int, variant: str) -> dict[str, float]:
    """Tracing is what building is elsewhere, and it includes the gradient; the first run compiles."""

    def function(x: Any) -> Any:
        a, b = x, x * 0.5
        for _ in range(count // 4):
            t = jnp.tanh(a + b)
            a = t * a
            b = t - a
        return a + b

    x = np.float32(0.5)
    marks = [time.perf_counter()]
    lowered = jax.jit(jax.value_and_grad(function)).lower(x)
    marks.append(time.perf_counter())
    compiled = lowered.compile()
    value, slope = (float(v) for v in compiled(x))
    marks.append(time.perf_counter())
    for _ in range(4):
        jax.block_until_ready(compiled(x))
    marks.append(time.perf_counter())
    return {
        "build": 0.0, "gradients": marks[1] - marks[0], "first run": marks[2] - marks[1],
        "steady run": (marks[3] - marks[2]) / 4, "value": value, "slope": slope,
    }  # fmt: skip
