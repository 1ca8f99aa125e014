"""Feeds and fetches through page-locked memory, on a device that is taken for one with memory of its own."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

cl = pytest.importorskip("pyopencl")

from graphflow_opencl import staging  # noqa: E402
from graphflow_opencl.devices import Device, open_device  # noqa: E402
from graphflow_opencl.execution import backend  # noqa: E402
from graphflow_opencl.memory import Store  # noqa: E402

import graphflow as tf  # noqa: E402

BLOCK = 1 << 16  # bytes: small, so that small arrays take many


class Copy(NamedTuple):
    """One transfer that was asked of the driver."""

    nbytes: int
    to_device: bool
    waited: bool
    staged: bool  # the host's side lies in the ring


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """The device, as if the host could not see its memory; with a ring of small blocks, made anew."""
    device = open_device()
    monkeypatch.setattr(device, "traits", device.traits._replace(shares_memory=False))
    monkeypatch.setitem(backend._stores, device, Store(device))  # the host may see what other tests have left there
    monkeypatch.setattr(device, "inline", None, raising=False)  # only a device that shares memory has one beside it
    monkeypatch.setattr(staging, "BLOCK", BLOCK)
    before = staging._rings.pop(device, None)
    yield device
    device.finish()
    staging._rings.pop(device, None)
    if before is not None:
        staging._rings[device] = before


@pytest.fixture
def copies(apart: Device, monkeypatch: pytest.MonkeyPatch) -> list[Copy]:
    """The transfers between host and device from now on."""
    seen: list[Copy] = []
    enqueue = cl.enqueue_copy

    def counted(queue: Any, to: Any, source: Any, **options: Any) -> Any:
        arrays = [x for x in (to, source) if isinstance(x, np.ndarray)]
        if arrays:
            ring = staging._rings.get(apart)
            staged = ring is not None and any(np.may_share_memory(arrays[0], block.bytes) for block in ring._blocks)
            waited = options.get("is_blocking", True)
            seen.append(Copy(arrays[0].nbytes, arrays[0] is source, waited, staged))
        return enqueue(queue, to, source, **options)

    monkeypatch.setattr(cl, "enqueue_copy", counted)
    return seen


def numbers(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def doubled(count: int) -> tuple[Any, Any, Any]:
    """A session that doubles what it is fed, with what it is fed and what it fetches."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [count])
        return tf.Session(device="opencl"), x, x * 2.0


# -- which arrays --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [BLOCK // 4, BLOCK // 4 + 1, 3 * BLOCK // 4 - 1, 9 * BLOCK // 4 + 5])
def test_large_arrays_go_in_blocks_and_nobody_waits_for_a_feed(count: int, copies: list[Copy]) -> None:
    session, x, y = doubled(count)
    given = numbers(count)
    with session:
        np.testing.assert_array_equal(session.run(y, {x: given}), given * 2)
    blocks = -(-4 * count // BLOCK)
    for to_device in (True, False):
        found = [c for c in copies if c.to_device == to_device]
        assert len(found) == blocks and sum(c.nbytes for c in found) == 4 * count
        assert all(c.staged and not c.waited for c in found)


def test_small_arrays_go_directly(copies: list[Copy], apart: Device) -> None:
    count = staging.LEAST // 4 - 1
    session, x, y = doubled(count)
    with session:
        np.testing.assert_array_equal(session.run(y, {x: numbers(count)}), numbers(count) * 2)
    assert copies == [Copy(4 * count, True, True, False), Copy(4 * count, False, True, False)]
    assert apart not in staging._rings  # nothing was made that nobody needs


@pytest.mark.usefixtures("apart")
def test_a_device_that_shares_memory_needs_none_of_it(
    copies: list[Copy], apart: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "traits", apart.traits._replace(shares_memory=True))
    session, x, y = doubled(BLOCK)
    with session:
        np.testing.assert_array_equal(session.run(y, {x: numbers(BLOCK)}), numbers(BLOCK) * 2)
    assert not copies and apart not in staging._rings


# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("apart")
def test_a_feed_may_change_as_soon_as_the_run_is_over() -> None:
    session, x, y = doubled(2 * BLOCK)
    given = numbers(2 * BLOCK)
    with session:
        for _ in range(5):  # more blocks than the ring has
            wanted = given * 2
            found = session.run(y, {x: given})
            given += 1
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.usefixtures("apart")
def test_arrays_that_are_not_in_one_piece_and_other_dtypes() -> None:
    rows = 300
    given = {
        "strided": numbers(rows * 256).reshape(rows, 256)[::-1, ::2],
        "turned": numbers(rows * 128).reshape(128, rows).T,
        "bool": numbers(rows * 1024).reshape(rows, 1024) > 0,
        "half": numbers(rows * 256).reshape(rows, 256).astype(np.float16),
        "int64": np.arange(rows * 128).reshape(rows, 128),
    }
    with tf.Graph().as_default(), tf.Session(device="opencl") as session:
        xs = {name: tf.placeholder(array.dtype, array.shape) for name, array in given.items()}
        ys = {name: tf.reverse(x, [0]) for name, x in xs.items()}
        for _ in range(2):
            found = session.run(ys, {xs[name]: array for name, array in given.items()})
            for name, array in given.items():
                np.testing.assert_array_equal(found[name], array[::-1])


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("lanes", ["1", "3"])
def test_several_feeds_reach_every_lane(lanes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_OCL_LANES", lanes)
    given = [numbers(BLOCK + i, seed=i) for i in range(4)]
    with tf.Graph().as_default(), tf.Session(device="opencl") as session:
        xs = [tf.placeholder(tf.float32, array.shape) for array in given]
        ys = [tf.sort(x) for x in xs]
        for _ in range(3):
            for found, array in zip(session.run(ys, dict(zip(xs, given, strict=True))), given, strict=True):
                np.testing.assert_array_equal(found, np.sort(array))


@pytest.mark.usefixtures("apart")
def test_tasks_of_the_host_and_variables_see_whole_values() -> None:
    given = numbers(BLOCK)
    with tf.Graph().as_default(), tf.Session(device="opencl") as session:
        x = tf.placeholder(tf.float32, given.shape)
        v = tf.Variable(given)
        there = tf.py_func(lambda a: a + 1, [x * 2.0], tf.float32)
        there.set_shape(given.shape)
        added = v.assign_add(there * 0.5)
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(v), given)
        wanted = given + (given * np.float32(2) + np.float32(1)) * np.float32(0.5)
        np.testing.assert_array_equal(session.run(added, {x: given}), wanted)
        v.load(given[::-1].copy(), session)
        np.testing.assert_array_equal(session.run(v), given[::-1])


def test_arrays_that_stay_on_the_device_are_read_in_blocks(copies: list[Copy]) -> None:
    session, x, y = doubled(BLOCK)
    with session:
        kept = session.run(y, {x: numbers(BLOCK)}, device_arrays=True)
        copies.clear()
        np.testing.assert_array_equal(kept.numpy(), numbers(BLOCK) * 2)
        assert len(copies) == 4 and all(c.staged and not c.waited for c in copies)


# -- what it costs -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("apart")
def test_one_ring_serves_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = staging._Block.__init__

    def counted(self: Any, device: Device) -> None:
        made.append(1)
        make(self, device)

    monkeypatch.setattr(staging._Block, "__init__", counted)
    for count in (BLOCK, BLOCK + 1, 5 * BLOCK):
        session, x, y = doubled(count)
        with session:
            for _ in range(3):
                session.run(y, {x: numbers(count)})
    assert len(made) == staging.BLOCKS


@pytest.mark.usefixtures("apart")
def test_nothing_holds_a_feed_beyond_its_run() -> None:
    session, x, y = doubled(5 * BLOCK)
    given = numbers(5 * BLOCK)
    watched = weakref.ref(given)
    with session:
        session.run(y, {x: given})
        del given
        gc.collect()
        assert watched() is None


def test_without_page_locked_memory_all_goes_directly(copies: list[Copy], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Any, device: Device) -> None:
        raise cl.MemoryError(cl._cl._ErrorRecord(msg="", code=-4, routine="clCreateBuffer"))

    monkeypatch.setattr(staging._Block, "__init__", refused)
    session, x, y = doubled(BLOCK)
    with session:
        np.testing.assert_array_equal(session.run(y, {x: numbers(BLOCK)}), numbers(BLOCK) * 2)
    assert copies == [Copy(4 * BLOCK, True, True, False), Copy(4 * BLOCK, False, True, False)]
