"""tinygrad on the CPU: one `TinyJit` function a workload; it needs clang on the path.

State: gradients are on for the process (`Tensor.training`).
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tinygrad import Tensor, TinyJit

from benchmarks import data
from benchmarks.peers import LeftOut, Prepared
from benchmarks.workloads import Workload

if shutil.which("clang") is None:
    raise ImportError("tinygrad compiles for the CPU with clang, which is not on the path")
Tensor.training = True


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"tinygrad": importlib.metadata.version("tinygrad")}


def _dense(w: Any, x: Any, layers: int, activation: Callable[[Any], Any]) -> Any:
    for i in range(1, layers + 1):
        x = x @ w[f"w{i}"] + w[f"b{i}"]
        if i < layers:
            x = activation(x)
    return x


def _cross_entropy(logits: Any, labels: Any) -> Any:
    return -(labels * logits.log_softmax(1)).sum(1).mean()


def _logits(w: Any, x: Any) -> Any:
    for kernel, bias in (("k1", "c1"), ("k2", "c2")):
        x = x.conv2d(w[kernel], w[bias], padding=2).relu().max_pool2d((2, 2))
    return _dense(w, x.flatten(1), 2, Tensor.relu)


def _ebm(w: Any, v: Any) -> Any:
    energy = (v["y1"] - w["w1"] * v["cos"]).square() + (v["y2"] - w["w2"] * v["sin"]).square()
    return -(-energy).logsumexp(1).mean()


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mlp": lambda w, v: _cross_entropy(_dense(w, v["x"], 3, Tensor.relu), v["t"]),
    "lecture": lambda w, v: (_dense(w, v["x"], 3, Tensor.sigmoid).sigmoid() - v["t"]).square().mean(),
    "ebm": _ebm,
}


def _chain(v: Any) -> Any:
    y = v["x"]
    for _ in range(data.CHAIN):
        y = y + v["b"]
    return y


def _wide(v: Any) -> Any:
    ends = []
    for i in range(data.BRANCHES):
        y = v["x"]
        for j in range(data.DEPTH):
            y = (y @ v[f"w{i}_{j}"]).tanh()
        ends.append(y)
    return sum(ends[1:], ends[0])


def _small(v: Any) -> Any:
    return sum((v["x"] @ v[f"w{i}"] for i in range(1, data.SMALL)), v["x"] @ v["w0"])


def _elementwise(v: Any) -> Any:
    a, b, c, d = v["a"], v["b"], v["c"], v["d"]
    return ((a * b + c).tanh() * d.sigmoid() - 0.5 * a * a + (-(c * c)).exp()).mean()


FORWARD: dict[str, Callable[[Any], Any]] = {
    "noop": lambda v: v["x"] + 1.0, "small": _small, "wide": _wide, "cnn": lambda v: _logits(v, v["x"]),
    **{f"elementwise_{size}": _elementwise for size in data.ELEMENTS},
}  # fmt: skip


def _own_layout(arrays: data.Arrays) -> dict[str, np.ndarray]:
    # A scalar becomes a vector of one: tinygrad takes a number for a constant.
    out = {name: np.array(value, ndmin=1) for name, value in arrays.items()}
    if "k1" in arrays:
        out["x"] = arrays["x"].transpose(0, 3, 1, 2).copy()
        out["k1"], out["k2"] = (arrays[k].transpose(3, 2, 0, 1).copy() for k in ("k1", "k2"))
        out["w1"] = arrays["w1"].reshape(7, 7, 64, -1).transpose(2, 0, 1, 3).reshape(7 * 7 * 64, -1).copy()
    return out


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload under `TinyJit`, run until it replays what it recorded."""
    own = _own_layout(arrays)
    if workload.trains:
        prepared = _training(workload, own)
    elif workload.family not in FORWARD:
        raise LeftOut("is not written for this workload")
    else:
        prepared = Prepared(_forward(workload, own))
    for _ in range(3):  # the first run looks, the second records
        prepared.step()
    return prepared


def _forward(workload: Workload, own: dict[str, np.ndarray]) -> Callable[[], Sequence[Any]]:
    function = FORWARD[workload.family]
    gradient = bool(workload.options.get("gradient"))
    values = {name: Tensor(value).realize() for name, value in own.items()}
    fed = "x" if workload.family in ("noop", "small") else ""

    @TinyJit
    def compiled(x: Any) -> Any:
        given = {**values, fed: x} if fed else values
        loss = function(given)
        if not gradient:
            return (loss.realize(),)
        outputs = (loss, *loss.gradient(*(values[name] for name in "abcd")))
        Tensor.realize(*outputs)
        return outputs

    def step() -> Sequence[Any]:
        x = Tensor(own[fed]).realize() if fed else Tensor(np.zeros(1, np.float32)).realize()
        return [t.numpy() for t in compiled(x)]

    return step


def _training(workload: Workload, own: dict[str, np.ndarray]) -> Prepared:
    names = data.WEIGHTS[workload.family]
    if workload.family not in LOSSES:
        raise LeftOut("is not written for this workload")
    weights = {name: Tensor(own[name]).realize() for name in names}
    values = {name: Tensor(value).realize() for name, value in own.items() if name not in names}
    moments = {n: [Tensor(np.zeros_like(own[n])).realize() for _ in range(2)] for n in names}
    count = Tensor(np.zeros(1, np.float32)).realize()
    rate, adam = data.RATES[workload.name], workload.options.get("optimizer") == "adam"

    @TinyJit
    def compiled() -> Any:
        loss = LOSSES[workload.family](weights, values)
        changed = []
        if adam:
            count.assign(count + 1)
            scaled = rate * (1 - data.BETA2**count).sqrt() / (1 - data.BETA1**count)
            changed.append(count)
        for name, g in zip(names, loss.gradient(*weights.values()), strict=True):
            w, (m, s) = weights[name], moments[name]
            if adam:
                m.assign(data.BETA1 * m + (1 - data.BETA1) * g)
                s.assign(data.BETA2 * s + (1 - data.BETA2) * g * g)
                g = scaled * m / (s.sqrt() + data.EPSILON)
                changed += [m, s]
            w.assign(w - (g if adam else rate * g))
            changed.append(w)
        Tensor.realize(loss, *changed)
        return loss

    def reset() -> None:
        for name, w in weights.items():
            w.assign(Tensor(own[name])).realize()
            for moment in moments[name]:
                moment.assign(Tensor(np.zeros_like(own[name]))).realize()
        count.assign(Tensor(np.zeros(1, np.float32))).realize()

    return Prepared(lambda: (compiled().item(),), reset, lambda: [w.numpy() for w in weights.values()])
