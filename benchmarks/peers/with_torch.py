"""PyTorch: eager, and `torch.compile`.

State: PyTorch's thread count is set for the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import data
from benchmarks.peers import LeftOut, Prepared
from benchmarks.workloads import Workload

torch.set_num_threads(2)


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"torch": torch.__version__}


def _dense(w: dict[str, Any], x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for i in range(1, layers + 1):
        x = torch.addmm(w[f"b{i}"], x, w[f"w{i}"])
        if i < layers:
            x = activation(x)
    return x


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return F.cross_entropy(logits, labels)  # labels as probabilities


def _logits(w: dict[str, Any], x: Any) -> Any:
    for kernel, bias in (("k1", "c1"), ("k2", "c2")):
        x = F.max_pool2d(F.relu(F.conv2d(x, w[kernel], w[bias], padding=2)), 2)
    return _dense(w, x.flatten(1), 2, F.relu)


def _lstm(w: dict[str, Any], v: dict[str, Any]) -> Any:
    h = c = torch.zeros(v["x"].shape[1], data.HIDDEN)
    for x_t in v["x"].unbind(0):
        z = torch.addmm(w["b"], torch.cat((x_t, h), 1), w["w"])
        i, j, f, o = z.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(j)
        h = torch.sigmoid(o) * torch.tanh(c)
    return _cross_entropy(_dense(w, h, 1, F.relu), v["t"])


def _ebm(w: dict[str, Any], v: dict[str, Any]) -> Any:
    energy = (v["y1"] - w["w1"] * v["cos"]) ** 2 + (v["y2"] - w["w2"] * v["sin"]) ** 2
    return -torch.logsumexp(-energy, 1).mean()


LOSSES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "mlp": lambda w, v: _cross_entropy(_dense(w, v["x"], 3, F.relu), v["t"]),
    "lecture": lambda w, v: F.mse_loss(torch.sigmoid(_dense(w, v["x"], 3, torch.sigmoid)), v["t"]),
    "cnn": lambda w, v: _cross_entropy(_logits(w, v["x"]), v["t"]),
    "lstm": _lstm,
    "ebm": _ebm,
}


def _chain(v: dict[str, Any]) -> Any:
    y = v["x"]
    for _ in range(data.CHAIN):
        y = y + v["b"]
    return y


def _small(v: dict[str, Any]) -> Any:
    total = v["x"] @ v["w0"]
    for i in range(1, data.SMALL):
        total = total + v["x"] @ v[f"w{i}"]
    return total


def _branches(v: dict[str, Any]) -> Any:
    total = None
    for i in range(data.BRANCHES):
        y = v["x"]
        for j in range(data.DEPTH):
            y = torch.tanh(y @ v[f"w{i}_{j}"])
        total = y if total is None else total + y
    return total


def _elementwise(v: dict[str, Any]) -> Any:
    a, b, c, d = v["a"], v["b"], v["c"], v["d"]
    return (torch.tanh(a * b + c) * torch.sigmoid(d) - 0.5 * a * a + torch.exp(-c * c)).mean()


FORWARD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "noop": lambda v: v["x"] + 1.0, "chain": _chain, "small": _small, "wide": _branches,
    "cnn": lambda v: _logits(v, v["x"]), **{f"elementwise_{size}": _elementwise for size in data.ELEMENTS},
}  # fmt: skip
FED_SMALL = {"noop": ("x",), "chain": ("x", "b"), "small": ("x",)}


def _own_layout(arrays: data.Arrays) -> dict[str, np.ndarray]:
    """Kernels, pictures and the layer after them as PyTorch lays them out."""
    out = dict(arrays)
    if "k1" in arrays:
        out["x"] = arrays["x"].transpose(0, 3, 1, 2).copy()
        out["k1"], out["k2"] = (arrays[k].transpose(3, 2, 0, 1).copy() for k in ("k1", "k2"))
        out["w1"] = arrays["w1"].reshape(7, 7, 64, -1).transpose(2, 0, 1, 3).reshape(7 * 7 * 64, -1).copy()
    return out


def _common_layout(name: str, value: np.ndarray, convolutional: bool) -> np.ndarray:
    if convolutional and name in ("k1", "k2"):
        return value.transpose(2, 3, 1, 0)
    if convolutional and name == "w1":
        return value.reshape(64, 7, 7, -1).transpose(1, 2, 0, 3).reshape(7 * 7 * 64, -1)
    return value


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload as PyTorch users write it."""
    own = _own_layout(arrays)
    values = {name: torch.from_numpy(np.array(value)) for name, value in own.items()}
    if workload.trains:
        return _training(workload, own, values, variant)
    return Prepared(_forward(workload, own, values, variant))


def _forward(workload: Workload, arrays: data.Arrays, values: dict[str, Any], variant: str) -> Callable[[], Any]:
    function = FORWARD[workload.family]
    if workload.options.get("gradient"):
        return _gradient(function, values, variant)
    compiled = torch.compile(function) if variant == "compile" else function
    fed = FED_SMALL.get(workload.family, ())

    def step() -> Sequence[Any]:
        with torch.inference_mode():
            for name in fed:  # small values come as NumPy's, large ones as tensors that are there already
                values[name] = torch.as_tensor(arrays[name])
            return (compiled(values).numpy(),)

    return step


def _gradient(function: Callable[[Any], Any], values: dict[str, Any], variant: str) -> Callable[[], Any]:
    for value in values.values():
        value.requires_grad_()
    inputs = list(values.values())
    compiled = torch.compile(function) if variant == "compile" else function

    def step() -> Sequence[Any]:
        loss = compiled(values)
        return (loss.detach().numpy(), *(g.numpy() for g in torch.autograd.grad(loss, inputs)))

    return step


def _training(workload: Workload, arrays: data.Arrays, values: dict[str, Any], variant: str) -> Prepared:
    names = data.WEIGHTS[workload.family]
    weights = {name: torch.nn.Parameter(values[name].clone()) for name in names}
    loss_of = LOSSES[workload.family]
    compiled = torch.compile(loss_of) if variant == "compile" else loss_of
    rate = data.RATES[workload.name]
    adam = workload.options.get("optimizer") == "adam"

    def fresh() -> Any:
        if adam:
            return torch.optim.Adam(weights.values(), rate, (data.BETA1, data.BETA2), data.EPSILON, fused=True)
        return torch.optim.SGD(weights.values(), rate, fused=True)

    kept = {"optimizer": fresh()}

    def reset() -> None:
        with torch.no_grad():
            for name in names:
                weights[name].copy_(torch.from_numpy(arrays[name]))
        kept["optimizer"] = fresh()

    def step() -> Sequence[Any]:
        optimizer = kept["optimizer"]
        optimizer.zero_grad(set_to_none=True)
        loss = compiled(weights, values)
        loss.backward()
        optimizer.step()
        return (loss.item(),)

    def read() -> Sequence[Any]:
        return [_common_layout(n, weights[n].detach().numpy().copy(), workload.family == "cnn") for n in names]

    return Prepared(step, reset, read)


def ladder(count: int, variant: str) -> dict[str, float]:
    """Eager: a tape is recorded and run backwards; there is nothing to build before."""
    if variant != "eager":
        raise LeftOut("compiles for minutes at this size")

    def once() -> tuple[float, float]:
        x = torch.tensor(0.5, requires_grad=True)
        a, b = x, x * 0.5
        for _ in range(count // 4):
            t = torch.tanh(a + b)
            a = t * a
            b = t - a
        y = a + b
        (dy,) = torch.autograd.grad(y, x)
        return y.item(), dy.item()

    marks = [time.perf_counter()]
    value, slope = once()
    marks.append(time.perf_counter())
    for _ in range(4):
        once()
    marks.append(time.perf_counter())
    return {
        "build": 0.0, "gradients": 0.0, "first run": marks[1] - marks[0], "steady run": (marks[2] - marks[1]) / 4,
        "value": value, "slope": slope,
    }  # fmt: skip
