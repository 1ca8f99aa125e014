"""How many kernel launches a step takes: what bounds small graphs on a GPU, and can be counted without one.

The bars are those of the workloads of `benchmarks`, with products as host tasks and with own ones, in both schedules.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyopencl")

from graphflow_opencl import merging
from graphflow_opencl.arranging import arranged
from graphflow_opencl.plan import KERNELS, Node
from graphflow_opencl.table import Launch, Scratch

import graphflow as tf
from benchmarks import data, graphs
from graphflow.program import Instruction

OPTIONS: dict[str, Any] = {"mlp": {"optimizer": "sgd"}, "cnn": {"train": True}, "wide": {}}
FIRST_LINE = re.compile(r": (\d+) kernel launches, (\d+) tasks of the host$")
BARS = {"mlp": 15, "cnn": 28}  # launches of a training step
TILED = {"mlp": 17, "cnn": 28}  # with tiles in local memory: different products with barriers are not joined


def counted(name: str, schedule: str, products: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """The launches and the tasks of the host in one step."""
    monkeypatch.setenv("GRAPHFLOW_OCL_SCHEDULE", schedule)
    monkeypatch.setenv("GRAPHFLOW_OCL_PRODUCTS", products)
    with tf.Graph().as_default():
        model = graphs.BUILDERS[name](tf, data.arrays(name), OPTIONS[name])
        fetches = [*model.outputs, *([model.update] if model.update is not None else [])]
        with tf.Session(device="opencl") as session:
            found = FIRST_LINE.search(session.explain(fetches, model.feeds).code.splitlines()[0])
    assert found is not None
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("name", BARS)
def test_steps_of_training(name: str, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launches, _ = counted(name, schedule, "host", monkeypatch)
    assert launches <= BARS[name]
    launches, tasks = counted(name, schedule, "device", monkeypatch)
    assert launches <= (TILED if schedule == "gpu" else BARS)[name]
    assert not tasks


@pytest.mark.parametrize("products", ["host", "device"])
@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_branches_go_together(schedule: str, products: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 branches of 6 products: those of a rank are one task or one launch, and what follows them is one launch."""
    launches, tasks = counted("wide", schedule, products, monkeypatch)
    assert launches <= 7
    assert tasks <= (7 if products == "host" else 0)


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_products_that_go_together_are_right(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of equal sizes and of others, some with a bias, in one launch, on three paddings of two images."""
    monkeypatch.setenv("GRAPHFLOW_OCL_SCHEDULE", schedule)
    monkeypatch.setenv("GRAPHFLOW_OCL_PRODUCTS", "device")
    rng = np.random.default_rng(0)
    x, w, bias = (rng.standard_normal(dims).astype(np.float32) for dims in ((5, 9, 7), (5, 7, 21), (21,)))
    images, taps = (rng.standard_normal(dims).astype(np.float32) for dims in ((2, 2, 6, 5, 3), (3, 3, 3, 4)))
    results = {}
    for device in ("cpu", "opencl"):
        with tf.Graph().as_default(), tf.Session(device=device) as session:
            p, q = tf.placeholder(tf.float32, images.shape), tf.placeholder(tf.float32, x.shape)
            ends = [tf.matmul(q[i, : 9 - i % 2], tf.constant(w[i])) for i in range(5)]
            ends = [tf.nn.relu(y + bias) if i > 2 else y for i, y in enumerate(ends)]
            ends += [tf.nn.conv2d(p[i], taps * (1 + i), [1, 1, 1, 1], "SAME") for i in (0, 1)]
            ends.append(tf.nn.conv2d(p[0], -taps, [1, 1, 1, 1], "SAME"))
            feeds = {p: images, q: x}
            results[device] = session.run(ends, feeds)
            if device == "opencl":
                code = session.explain(ends, feeds).code
    for got, wanted in zip(results["opencl"], results["cpu"], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    first, products = code.splitlines()[0], [line for line in code.splitlines() if "product 9 x 7 x 21" in line]
    assert "0 tasks" in first and len(products) <= (1 if schedule == "cpu" else 2), code  # with a bias or without


def test_scratch_is_made_once() -> None:
    """What makes the same scratch from the same values is left out, unless a value changes in between."""
    make = "__kernel void KERNEL(__global const float *x, __global float *y) {}"
    use = "__kernel void KERNEL(__global const float *x, __global float *y) { y[0] = x[0]; }"

    def node(key: int, source: int, result: int) -> Node:
        pieces = Scratch(0, 8)
        launches = (
            Launch(make, (1,), (1,), (source, pieces), (), "makes"),
            Launch(use, (1,), (1,), (pieces, result), (result,), "uses"),
        )
        step = Instruction(key, "Identity", (source,), (result,), {}, (), None)  # type: ignore[arg-type]
        return Node(KERNELS, (step,), (source,), (result,), launches)

    def titles(nodes: list[Node]) -> list[str]:
        found = arranged(nodes, lambda v: v, lambda _: False, list, merging.scratch_written)
        return [launch.title for n in found for launch in n.launches]

    first, again, other = node(0, 1, 2), node(1, 1, 3), node(2, 5, 6)
    assert sorted(titles([first, again])) == ["makes", "uses", "uses"]
    assert sorted(titles([first, other])) == ["makes", "makes", "uses", "uses"]
    change = node(3, 5, 1)  # of the value that both read
    assert sorted(titles([first, change, again])) == ["makes"] * 3 + ["uses"] * 3
