"""How many kernel launches a step takes: what bounds small graphs on a GPU, and can be counted without one.

The bars are those of the workloads of `benchmarks`.  With products as host tasks, where a probe on a CPU puts them,
they are what was promised; with own products they are what is reached, so that it does not get worse unseen.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("pyopencl")

import graphflow as tf
from benchmarks import data, graphs

OPTIONS: dict[str, Any] = {"mlp": {"optimizer": "sgd"}, "cnn": {"train": True}, "wide": {}}
FIRST_LINE = re.compile(r": (\d+) kernel launches, (\d+) tasks of the host$")
# workload, schedule: the most launches with products on the host, and with own ones
BARS = {
    ("mlp", "cpu"): (15, 21), ("mlp", "gpu"): (15, 20), ("cnn", "cpu"): (28, 39), ("cnn", "gpu"): (28, 34),
}  # fmt: skip


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


@pytest.mark.parametrize(("name", "schedule"), BARS, ids=lambda part: part)
def test_steps_of_training(name: str, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_host, alone = BARS[name, schedule]
    launches, _ = counted(name, schedule, "host", monkeypatch)
    assert launches <= with_host
    launches, tasks = counted(name, schedule, "device", monkeypatch)
    assert launches <= alone
    assert not tasks


@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
def test_branches_go_together(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 branches of 6 products: those of a rank are one task, and what follows them is one launch."""
    launches, tasks = counted("wide", schedule, "host", monkeypatch)
    assert launches <= 7
    assert tasks <= 7
