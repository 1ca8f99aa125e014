"""Groups in tiles: the same bits as op by op, for every layout of the inputs and any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphflow_numpy import tiles

import graphflow as tf

SHAPES = [
    ((1000,), (1,)), ((100, 37), (37,)), ((100, 37), (100, 1)), ((50, 3, 20), (3, 1)), ((300, 5), (1, 5)),
    ((4000,), ()), ((7, 1000), (7, 1)), ((64, 64), (64, 64)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SMALLEST", 64)
    monkeypatch.setattr(tiles, "LARGEST", 256)
    monkeypatch.setattr(tiles, "SHARED", 0)
    monkeypatch.setattr(tiles, "WORTH", 0)


def session_of(level: int, threads: int) -> tf.Session:
    return tf.Session(optimization_level=level, config=tf.ConfigProto(intra_op_parallelism_threads=threads))


def tiled_steps(session: tf.Session, fetches: Any, feeds: Any) -> int:
    executable: Any = next(iter(session._prepare(fetches, feeds).plans.values()))
    return sum(
        isinstance(getattr(step.function, "__self__", None), tiles._Layout) for step in executable._made[1].steps
    )


def same_bits(x: Any, y: Any) -> bool:
    return np.array_equal(np.atleast_1d(x).view(np.uint8), np.atleast_1d(y).view(np.uint8))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("shape", "other"), SHAPES, ids=str)
def test_the_same_bits_as_op_by_op(shape: Any, other: Any, threads: int, rng: np.random.Generator) -> None:
    a, b, c = tf.placeholder(tf.float32, shape), tf.placeholder(tf.float32, other), tf.placeholder(tf.float32, shape)
    u = tf.exp(tf.tanh(a * b + c) - b) * tf.cast(tf.cast(a > c, tf.int32), tf.float32)
    w = tf.where(a > u, u, c * c) + tf.sigmoid(b) + tf.erf(a)
    loss = tf.reduce_sum(w * u) + tf.reduce_mean(u) + tf.reduce_max(w)
    fetches = [w, u, loss, *tf.gradients(loss, [a, b, c])]
    feeds = {t: rng.standard_normal(t.shape.as_list()).astype(np.float32) for t in (a, b, c)}
    feeds[a][..., :1] = np.nan
    plain = session_of(0, 1).run(fetches, feeds)
    session = session_of(1, threads)
    for _ in range(3):
        found = session.run(fetches, feeds)
        assert all(same_bits(x, y) for x, y in zip(plain, found, strict=True))
    assert tiled_steps(session, fetches, feeds)


def test_strided_and_read_only_inputs(rng: np.random.Generator) -> None:
    x = tf.placeholder(tf.float32, [90, 40])
    y = tf.exp(x) * tf.tanh(x)
    base = rng.standard_normal((180, 80)).astype(np.float32)
    base.flags.writeable = False
    for view in (base[::2, ::2], base.T[:40, :90].T, base[:90, :40]):
        found = session_of(1, 2).run([y, y + 1.0], {x: view})
        plain = session_of(0, 1).run([y, y + 1.0], {x: view})
        assert all(same_bits(p, f) for p, f in zip(plain, found, strict=True))


def test_sums_at_level_2_do_not_depend_on_the_threads(rng: np.random.Generator) -> None:
    x = tf.placeholder(tf.float32, [5000])
    y = tf.reduce_mean(tf.exp(x) * 2.0)
    data = {x: rng.standard_normal(5000).astype(np.float32)}
    found = [session_of(2, threads).run(y, data) for threads in (1, 2, 4)]
    assert len(set(map(float, found))) == 1
    assert np.isclose(found[0], np.mean(np.exp(data[x].astype(np.float64)) * 2.0), rtol=1e-6)


def test_an_error_in_a_tile_names_the_op(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tf.placeholder(tf.float32, [5000])
    y = tf.exp(x * 2.0, name="culprit") * 2.0
    session = session_of(1, 2)

    def fail(*arguments: Any) -> None:
        raise ValueError("a kernel that fails")

    monkeypatch.setitem(tiles.TABLE, "Exp", tiles.TABLE["Exp"]._replace(into=fail))
    with pytest.raises(tf.errors.InvalidArgumentError, match="a kernel that fails") as caught:
        session.run(y, {x: np.ones(5000)})
    assert caught.value.op_name == "culprit" and "test_tiles.py" in str(caught.value)


def test_what_was_fetched_is_never_written_again(rng: np.random.Generator) -> None:
    x = tf.placeholder(tf.float32, [100_000])
    y = tf.exp(x) * 2.0
    session = session_of(1, 1)
    kept = []
    for _ in range(6):
        data = rng.standard_normal(100_000).astype(np.float32)
        found = session.run(y, {x: data})
        kept.append((found, found[10:20], data))
    for found, part, data in kept:
        assert np.array_equal(found, np.exp(data) * 2) and np.array_equal(part, found[10:20])
    views = [found[::2] for found, _, _ in kept]
    copies = [view.copy() for view in views]
    del kept, found, part
    for _ in range(4):
        session.run(y, {x: np.zeros(100_000)})
    assert all(np.array_equal(view, copy) for view, copy in zip(views, copies, strict=True))


def test_an_operand_that_comes_twice_is_not_overwritten() -> None:
    x, y = tf.placeholder(tf.float32, [3000]), tf.placeholder(tf.float32, [3000])
    square = tf.square(x)
    total = tf.squared_difference(tf.add_n((square, y, x, square)), y)
    found = [session_of(level, 1).run(total, {x: np.ones(3000), y: np.ones(3000)}) for level in (0, 1, 2)]
    assert all(np.array_equal(f, np.full(3000, 9.0)) for f in found)
