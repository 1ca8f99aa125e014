"""NumPy by hand: what a careful programmer writes without a framework, with `out=` buffers and cache-sized tiles.

Policy: BLAS on two threads (the process is started that way), elementwise loops on two threads from 64k elements on.

State: buffers belong to each prepared workload; one pool of two threads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.peers import Prepared, numpy_networks, numpy_steps
from benchmarks.workloads import Workload

TILE = 16_384  # floats: seven buffers of this size stay in the second-level cache
SHARED = 65_536  # from here on two threads pay
POOL = ThreadPoolExecutor(2)

Step = Callable[[], Sequence[Any]]


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"numpy": np.__version__}


def prepare(workload: Workload, arrays: data.Arrays, variant: str) -> Prepared:
    """The workload as plain NumPy."""
    if workload.trains:
        return _training(workload, arrays)
    return Prepared(FORWARD[workload.family.partition("_")[0]](arrays, workload.options))


def _training(workload: Workload, arrays: data.Arrays) -> Prepared:
    make = {**numpy_steps.STEPS, **numpy_networks.STEPS}[workload.family]
    weights = {name: arrays[name].copy() for name in data.WEIGHTS[workload.family]}
    inner = make(arrays, weights)
    state = numpy_steps.optimizer(workload, weights)

    def reset() -> None:
        for name, w in weights.items():
            w[...] = arrays[name]
        state.reset()

    def step() -> Sequence[Any]:
        loss, gradients = inner()
        state.update(gradients)
        return (loss,)

    return Prepared(step, reset, lambda: [w.copy() for w in weights.values()])


# -- forward -------------------------------------------------------------------------------------------------------


def _noop(arrays: data.Arrays, options: dict[str, Any]) -> Step:
    x, one = np.float32(arrays["x"]), np.float32(1)
    return lambda: (x + one,)


def _chain(arrays: data.Arrays, options: dict[str, Any]) -> Step:
    x, b = np.float32(arrays["x"]), np.float32(arrays["b"])

    def step() -> Sequence[Any]:
        y = x
        for _ in range(data.CHAIN):
            y = y + b
        return (y,)

    return step


def _small(arrays: data.Arrays, options: dict[str, Any]) -> Step:
    x, side = arrays["x"], np.concatenate([arrays[f"w{i}"] for i in range(data.SMALL)], axis=1)
    products = np.empty((16, data.SMALL * 16), np.float32)
    blocks = products.reshape(16, data.SMALL, 16)

    def step() -> Sequence[Any]:
        x.dot(side, products)
        return (np.add.reduce(blocks, 1),)

    return step


def _one_tile(arrays: data.Arrays, gradients: Sequence[np.ndarray], begin: int, end: int) -> Callable[[], float]:
    a, b, c, d = (arrays[name][begin:end] for name in "abcd")
    t, s, u, v = (np.empty(end - begin, np.float32) for _ in range(4))
    one, two = np.float32(1), np.float32(2)
    outs = [g[begin:end] for g in gradients]
    scale = np.float32(1 / len(arrays["a"]))

    def tile() -> float:
        np.multiply(a, b, t)
        np.add(t, c, t)
        np.tanh(t, t)
        np.negative(d, s)
        np.exp(s, s)
        np.add(s, one, s)
        np.divide(one, s, s)
        np.multiply(c, c, u)
        np.negative(u, u)
        np.exp(u, u)
        np.multiply(t, s, v)
        total = float(np.add.reduce(v)) + float(np.add.reduce(u)) - 0.5 * float(np.dot(a, a))
        if outs:
            ga, gb, gc, gd = outs
            np.subtract(one, s, gd)
            np.multiply(gd, v, gd)
            np.multiply(gd, scale, gd)
            np.multiply(t, t, t)
            np.subtract(one, t, t)
            np.multiply(t, s, t)
            np.multiply(t, scale, t)
            np.multiply(t, a, gb)
            np.multiply(a, scale, v)
            np.multiply(t, b, ga)
            np.subtract(ga, v, ga)
            np.multiply(u, c, u)
            np.multiply(u, two * scale, u)
            np.subtract(t, u, gc)
        return total

    return tile


def _elementwise(arrays: data.Arrays, options: dict[str, Any]) -> Step:
    count = len(arrays["a"])
    gradients = [np.empty(count, np.float32) for _ in range(4 if options["gradient"] else 0)]
    tiles = [_one_tile(arrays, gradients, i, min(i + TILE, count)) for i in range(0, count, TILE)]

    def part(which: int) -> float:
        return sum(tile() for tile in tiles[which::2])

    def alone() -> Sequence[Any]:
        return (np.float32(sum(tile() for tile in tiles) / count), *gradients)

    def together() -> Sequence[Any]:
        other = POOL.submit(part, 1)
        return (np.float32((part(0) + other.result()) / count), *gradients)

    return together if count >= SHARED else alone


def _blas_limit(options: dict[str, Any]) -> Callable[[], Any]:
    """A context in which BLAS has as many threads as the options say."""
    if "blas" not in options:
        return contextlib.nullcontext
    import threadpoolctl

    controller = threadpoolctl.ThreadpoolController()
    return lambda: controller.limit(limits=options["blas"], user_api="blas")


def _wide(arrays: data.Arrays, options: dict[str, Any]) -> Step:
    x = arrays["x"]
    shape = (data.WIDTH, data.WIDTH)
    ends = [np.empty(shape, np.float32) for _ in range(data.BRANCHES)]
    spare = [np.empty(shape, np.float32) for _ in range(data.BRANCHES)]
    total = np.empty(shape, np.float32)

    def branch(i: int) -> None:
        y, z = ends[i], spare[i]
        x.dot(arrays[f"w{i}_0"], y)
        np.tanh(y, y)
        for j in range(1, data.DEPTH):
            y.dot(arrays[f"w{i}_{j}"], z)
            np.tanh(z, y)

    parallel, limit = options.get("workers") == 2, _blas_limit(options)

    def step() -> Sequence[Any]:
        with limit():
            if parallel:
                list(POOL.map(branch, range(data.BRANCHES)))
            else:
                for i in range(data.BRANCHES):
                    branch(i)
        np.add(ends[0], ends[1], total)
        for y in ends[2:]:
            np.add(total, y, total)
        return (total,)

    return step


def _line(arrays: data.Arrays, options: dict[str, Any]) -> Step:
    y, z = (np.empty((data.WIDTH, data.WIDTH), np.float32) for _ in range(2))
    limit = _blas_limit(options)

    def step() -> Sequence[Any]:
        with limit():
            x = arrays["x"]
            for i in range(data.LINE):
                x.dot(arrays[f"w{i}"], z)
                x = np.tanh(z, y)
        return (y,)

    return step


FORWARD: dict[str, Callable[[data.Arrays, dict[str, Any]], Step]] = {
    "noop": _noop, "chain": _chain, "small": _small, "elementwise": _elementwise, "wide": _wide, "line": _line,
    "cnn": numpy_networks.inference,
}  # fmt: skip
