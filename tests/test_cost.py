"""What instructions cost, and the figures of the machine that this rests on."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

import graphflow as tf
from graphflow.compile import calibration, cost
from graphflow.compile.cost import DEFAULT, Machine

# -- costs -----------------------------------------------------------------------------------------------------------


def cost_of(y: tf.Tensor, feed: dict, type: str, machine: Machine = DEFAULT) -> cost.Cost:
    program = tf.Session(optimization_level=0).program(y, feed)
    found = cost.costs(program, machine)
    return next(c for c, ins in zip(found, program.instructions, strict=True) if ins.type == type)


def placeholder(*dims: int | None) -> tuple[tf.Tensor, dict]:
    x = tf.placeholder(tf.float32, dims)
    return x, {x: np.ones([d or 1 for d in dims], np.float32)}


@pytest.mark.parametrize(
    ("build", "dims", "type", "flops"),
    [
        (lambda x: tf.matmul(x, x), (256, 256), "MatMul", 2 * 256**3),
        (lambda x: tf.matmul(x, x, transpose_a=True), (64, 512), "MatMul", 2 * 512 * 512 * 64),
        (lambda x: tf.matmul(x, x, transpose_b=True), (64, 512), "MatMul", 2 * 64 * 64 * 512),
        (lambda x: tf.matmul(x, x), (8, 128, 128), "MatMul", 2 * 8 * 128**3),
        (lambda x: tf.einsum("ij,kj->ik", x, x), (128, 256), "Einsum", 2 * 128 * 128 * 256),
        (
            lambda x: tf.nn.conv2d(x, tf.ones([5, 5, 8, 16]), [1, 1, 1, 1], "SAME"),
            (4, 28, 28, 8), "Conv2D", 2 * 4 * 28 * 28 * 16 * 5 * 5 * 8,
        ),
        (
            lambda x: tf.gradients(tf.nn.conv2d(x, tf.ones([5, 5, 8, 16]), [1, 1, 1, 1], "SAME"), x),
            (4, 28, 28, 8), "Conv2DBackpropInput", 2 * 4 * 28 * 28 * 16 * 5 * 5 * 8,
        ),
    ],
)  # fmt: skip
def test_products_cost_their_operations(build, dims, type, flops):
    x, feed = placeholder(*dims)
    y = build(x)
    found = cost_of(y, feed, type, DEFAULT._replace(bandwidth=1e30))
    assert found.splits
    assert found.free == pytest.approx(flops / DEFAULT.flops, rel=1e-6)


def test_elements_functions_bytes_and_views():
    x, feed = placeholder(1000, 1000)
    free = {
        t: cost_of(y, feed, t).free for t, y in (("Add", x + x), ("Tanh", tf.tanh(x)), ("Reshape", tf.reshape(x, [-1])))
    }
    assert free["Reshape"] == 0
    assert free["Tanh"] > 2 * free["Add"] > 0
    assert free["Add"] == pytest.approx(1e6 * DEFAULT.element + 12e6 / DEFAULT.bandwidth)
    double = tf.placeholder(tf.float64, [1000, 1000])
    assert cost_of(double + double, {double: np.ones((1000, 1000))}, "Add").free == pytest.approx(2 * free["Add"])


def test_small_arrays_keep_pythons_lock():
    x, feed = placeholder(20, 20)
    assert cost_of(tf.tanh(x), feed, "Tanh").free == 0


def test_unknown_shapes_cost_a_call():
    x = tf.placeholder(tf.float32, [None, None])
    session = tf.Session()
    for n in range(1, 20):
        session.run(tf.matmul(x, x), {x: np.ones((n, n))})
    y = tf.matmul(x, x)
    for n in range(1, 20):
        session.run(y, {x: np.ones((n, n))})
    program = session.program(y, {x: np.ones((50, 50))})
    assert any(k.dims is None or None in k.dims for k in program.values)
    assert all(c.free < 1e-6 for c in cost.costs(program))


def test_every_op_has_a_cost():
    from graphflow.opdef import OPS

    for type, definition in OPS.items():
        assert definition.weight >= 0 and definition.functions >= 0, type
    assert OPS["MatMul"].flops is not None
    assert OPS["Exp"].functions > 0
    assert OPS["Reshape"].weight == 0


# -- calibration -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "_machine", None)
    return calibration.cache_file()


def test_the_machine_is_measured_once_and_kept(cache, monkeypatch):
    calls = []
    measure = calibration.measure
    monkeypatch.setattr(calibration, "measure", lambda: calls.append(1) or measure())
    first = calibration.machine()
    assert calibration.machine() is first
    assert cache.exists() and [p.name for p in cache.parent.iterdir()] == [cache.name]
    monkeypatch.setattr(calibration, "_machine", None)
    assert calibration.machine() == first
    assert calls == [1]


GOOD = json.dumps(DEFAULT._asdict())


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "3", "{}", GOOD[:-9], GOOD.replace(":", ": -", 1), GOOD.replace("1e-10", "NaN"),
        GOOD.replace("1e-10", "Infinity"), GOOD.replace("1e-10", '"fast"'), GOOD.replace("1e-10", "null"),
        GOOD.replace("1e-10", "1e9"), "[" * 100_000, "\x00\xff",
    ],
)  # fmt: skip
def test_a_broken_file_is_measured_again(cache, text):
    cache.parent.mkdir(parents=True)
    assert calibration.read(cache) is None
    cache.write_text(GOOD)
    assert calibration.read(cache) == DEFAULT
    cache.write_text(text)
    assert calibration.read(cache) is None
    found = calibration.machine()
    assert calibration.read(cache) == found


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(calibration, "_machine", None)
    assert calibration.machine() is not None
    assert blocked.read_text() == "not a folder"
    if os.name == "posix" and os.geteuid() != 0:
        folder = tmp_path / "closed"
        folder.mkdir()
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        calibration.write(folder / "x.json", DEFAULT)
        assert list(folder.iterdir()) == []


def test_measuring_takes_little_time():
    """Processor time: ten times what it takes."""
    spent = []
    for _ in range(9):
        started = time.process_time()
        calibration.measure()
        spent.append(time.process_time() - started)
    assert min(spent) < 0.05
