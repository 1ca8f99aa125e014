"""Sessions on an OpenCL device: values, variables, control flow, memory, errors; held against NumPy's."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as tf

pytest.importorskip("pyopencl")


@pytest.fixture(params=["1", "4"], ids=["one lane", "four lanes"])
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GRAPHFLOW_OCL_LANES", request.param)
    yield request.param


def both(build: Callable[[], tuple[Any, dict[Any, Any]]], runs: int = 1, **options: Any) -> tuple[Any, Any]:
    """What some runs give on OpenCL and on NumPy."""
    found = []
    for device in ("opencl", "cpu"):
        with tf.Graph().as_default():
            tf.set_random_seed(3)
            fetches, feeds = build()
            with tf.Session(device=device, **options) as session:
                session.run(tf.global_variables_initializer())
                found.append([session.run(fetches, feeds) for _ in range(runs)])
    return found[0], found[1]


def close(a: Any, b: Any) -> None:
    flat_a, flat_b = _flat(a), _flat(b)
    assert len(flat_a) == len(flat_b)
    for x, y in zip(flat_a, flat_b, strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)


def _flat(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [leaf for item in x for leaf in _flat(item)]
    return [] if x is None else [np.asarray(x)]


def network(optimizer: Callable[[], Any]) -> Callable[[], tuple[Any, dict[Any, Any]]]:
    def build() -> tuple[Any, dict[Any, Any]]:
        rng = np.random.default_rng(0)
        x, y = tf.placeholder(tf.float32, [16, 12]), tf.placeholder(tf.float32, [16, 4])
        h = x
        for rows, columns in ((12, 24), (24, 4)):
            w = tf.Variable(rng.standard_normal((rows, columns)).astype(np.float32) * 0.3)
            b = tf.Variable(np.zeros(columns, np.float32))
            h = tf.matmul(h, w) + b
            h = tf.nn.relu(h) if columns != 4 else h
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=h))
        step = optimizer().minimize(loss)
        feeds = {x: rng.standard_normal((16, 12)).astype(np.float32), y: np.eye(4, dtype=np.float32)[np.arange(16) % 4]}
        return [loss, step], feeds

    return build


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: tf.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "adam": lambda: tf.train.AdamOptimizer(0.01),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.01),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training(optimizer: Callable[[], Any], lanes: str) -> None:
    ours, theirs = both(network(optimizer), runs=8)
    close(ours, theirs)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels(level: int) -> None:
    ours, theirs = both(network(OPTIMIZERS["adam"]), runs=3, optimization_level=level)
    close(ours, theirs)


def test_lane_counts_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for count in ("1", "2", "4"):
        monkeypatch.setenv("GRAPHFLOW_OCL_LANES", count)
        found.append(both(network(OPTIMIZERS["adam"]), runs=4)[0])
    for other in found[1:]:
        assert [x.tobytes() for x in _flat(other)] == [x.tobytes() for x in _flat(found[0])]


class TestVariables:
    def test_a_read_before_an_update_stays_what_it_was(self, lanes: str) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            v = tf.Variable(np.arange(6, dtype=np.float32))
            before = v.read_value()
            with tf.control_dependencies([before]):
                update = tf.assign_add(v, np.ones(6, np.float32))
            with tf.control_dependencies([update]):
                after = v.read_value()
                again = tf.assign(v, after * 3.0)
            return [before, before + 1.0, update, after, again, tf.reshape(before, [2, 3])], {}

        close(*both(build, runs=3))

    def test_swap(self, lanes: str) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            a, b = tf.Variable(np.float32([1, 2])), tf.Variable(np.float32([3, 4]))
            old_a, old_b = tf.identity(a), tf.identity(b)
            with tf.control_dependencies([old_a, old_b]):
                return [tf.assign(a, old_b), tf.assign(b, old_a), a + b], {}

        close(*both(build, runs=3))

    def test_updates_of_many_threads_are_all_done(self) -> None:
        v = tf.Variable(np.zeros(1000, np.float32))
        update = tf.assign_add(v, np.ones(1000, np.float32)).op
        with tf.Session(device="opencl") as session:
            session.run(v.initializer)
            session.run(update)
            threads = [threading.Thread(target=lambda: [session.run(update) for _ in range(50)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert session.run(v).tolist() == [201.0] * 1000

    def test_reading_without_a_value_names_all_variables(self) -> None:
        first, second = tf.Variable(1.0, name="first"), tf.Variable(2.0, name="second")
        with tf.Session(device="opencl") as session, pytest.raises(tf.errors.FailedPreconditionError) as caught:
            session.run(first + second)
        assert "'first', 'second'" in str(caught.value)
        assert "test_opencl_session.py" in str(caught.value)

    def test_questions_about_values(self) -> None:
        v = tf.Variable(np.float32([1, 2]))
        with tf.Session(device="opencl") as session:
            assert not session.run(tf.is_variable_initialized(v))
            assert session.run(tf.report_uninitialized_variables()).tolist() == [b"Variable"]
            session.run(v.initializer)
            assert session.run(tf.is_variable_initialized(v))

    def test_odd_variables_live_with_the_host(self) -> None:
        text = tf.Variable("a", dtype=tf.string)
        wide = tf.Variable(np.array([1 + 2j]), dtype=tf.complex128)
        grown = tf.Variable(np.float32([1]), validate_shape=False)
        with tf.Session(device="opencl") as session:
            session.run(tf.global_variables_initializer())
            assert session.run(tf.assign(text, "b")) == b"b"
            assert session.run(tf.assign_add(wide, [1j])).tolist() == [1 + 3j]
            session.run(tf.assign(grown, np.float32([1, 2, 3]), validate_shape=False))
            assert session.run(grown * 2.0).tolist() == [2, 4, 6]

    def test_scatter(self, lanes: str) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            v = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))
            i = tf.placeholder(tf.int32, [3])
            updated = tf.scatter_add(v, i, np.ones((3, 3), np.float32))
            return [updated, updated * 2.0], {i: [1, 3, 1]}

        close(*both(build, runs=2))

    def test_a_refused_index_leaves_the_variable_alone(self) -> None:
        v = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))
        i = tf.placeholder(tf.int32, [2])
        rows = tf.gather(v, i)
        update = tf.assign_add(v, tf.ones([4, 3]) * tf.reduce_sum(rows))
        with tf.Session(device="opencl") as session:
            session.run(v.initializer)
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"out of range|not in"):
                session.run(update, {i: [1, 4]})
            assert session.run(v).tolist() == np.arange(12.0).reshape(4, 3).tolist()

    def test_saver(self, tmp_path: Any) -> None:
        v = tf.Variable(np.float32([1, 2, 3]))
        saver = tf.train.Saver()
        with tf.Session(device="opencl") as session:
            session.run(v.initializer)
            path = saver.save(session, str(tmp_path / "model"))
            session.run(tf.assign(v, [7, 8, 9]))
            saver.restore(session, path)
            assert session.run(v).tolist() == [1, 2, 3]


class TestControlFlow:
    def test_branches_and_loops(self, lanes: str) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            x = tf.placeholder(tf.float32, [5, 7])
            i, last = tf.while_loop(lambda i, a: i < 5, lambda i, a: (i + 1, tf.tanh(a * 1.5 + x)), [0, x * 2.0])
            chosen = tf.cond(tf.reduce_sum(x) > 0, lambda: last * 2.0, lambda: last - 1.0)
            feeds = {x: np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)}
            return [i, last, chosen, tf.gradients(chosen, x)], feeds

        close(*both(build, runs=3))

    def test_a_loop_that_updates_a_variable(self) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            v = tf.Variable(np.float32([1, 1]))

            def body(i: Any) -> Any:
                with tf.control_dependencies([tf.assign_add(v, [1.0, 2.0])]):
                    return i + 1

            i = tf.while_loop(lambda i: i < 4, body, [0])
            with tf.control_dependencies([i]):
                return [i, v.read_value()], {}

        close(*both(build, runs=2))

    def test_shapes_that_change(self) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            x = tf.placeholder(tf.float32, [None, 2])
            grown = tf.while_loop(
                lambda a: tf.shape(a)[0] < 9,
                lambda a: tf.concat([a, a * 2.0], 0),
                [x],
                shape_invariants=[tf.TensorShape([None, 2])],
            )
            return [grown, tf.boolean_mask(grown, tf.reduce_sum(grown, 1) > 3.0)], {x: np.float32([[1, 2], [3, 4]])}

        close(*both(build))

    def test_map_and_scan(self) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            x = tf.placeholder(tf.float32, [6, 3])
            y = tf.map_fn(lambda row: tf.cumsum(row) * 2.0, x)
            z = tf.scan(lambda a, row: a + row, x)
            return [y, z, tf.gradients([y, z], x)], {x: np.arange(18, dtype=np.float32).reshape(6, 3)}

        close(*both(build))


class TestTheHost:
    def test_functions_of_the_user(self) -> None:
        x = tf.placeholder(tf.float32, [3])
        with tf.Session(device="opencl") as session:
            inner = tf.reduce_sum(x * 2.0)

            def function(a: Any) -> Any:
                out: list[Any] = []
                thread = threading.Thread(target=lambda: out.append(session.run(inner, {x: a})))
                thread.start()
                thread.join(60)
                return np.float32(out[0])

            y = tf.py_func(function, [x * 1.0], tf.float32) + 1.0
            assert session.run(y, {x: [1, 2, 3]}) == 13.0

    def test_strings_and_decompositions(self) -> None:
        x = tf.placeholder(tf.float32, [2, 2])
        y = tf.matrix_inverse(x * 2.0) + 1.0
        with tf.Session(device="opencl") as session:
            value = np.float32([[2, 1], [1, 3]])
            np.testing.assert_allclose(session.run(y, {x: value}), np.linalg.inv(value * 2) + 1, rtol=1e-5)
            code = session.explain(y, {x: value}).code
            assert "MatrixInverse" in code and "host" in code

    def test_placement_by_name(self) -> None:
        x = tf.placeholder(tf.float32, [8])
        with tf.device("/cpu:0"):
            y = tf.tanh(x)
        z = tf.exp(y)
        with tf.Session(device="opencl") as session:
            code = session.explain(z, {x: np.zeros(8)}).code
            assert "it was placed on the CPU" in code
            np.testing.assert_allclose(session.run(z, {x: np.ones(8)}), np.exp(np.tanh(np.ones(8))), rtol=1e-6)

    def test_a_session_goes_where_ops_ask_to_be(self) -> None:
        v = tf.Variable(np.float32([1, 2]))
        with tf.Session() as session:
            session.run(v.initializer)
            with tf.device("/opencl:0"):
                y = v * 3.0
            assert session.run(y).tolist() == [3, 6]
            assert "/device:OPENCL:0" in session.list_devices()
            assert session.run(v).tolist() == [1, 2]


class TestArraysOfTheDevice:
    def test_fetched_and_fed(self) -> None:
        x = tf.placeholder(tf.float32, [4, 5])
        y = tf.tanh(x) * 2.0
        value = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
        with tf.Session(device="opencl") as session:
            first = session.run(y, {x: value}, device_arrays=True)
            kept = first.numpy()
            second = session.run(y, {x: first}, device_arrays=True)
            assert (first.numpy() == kept).all()
            np.testing.assert_allclose(second.numpy(), np.tanh(np.tanh(value) * 2) * 2, rtol=2e-6)
            assert first.shape == (4, 5) and first.dtype == np.float32

    def test_of_another_shape_or_dtype(self) -> None:
        x, z = tf.placeholder(tf.float32, [4, 5]), tf.placeholder(tf.float64, [4, 5])
        with tf.Session(device="opencl") as session:
            array = session.run(x + 1.0, {x: np.zeros((4, 5))}, device_arrays=True)
            assert session.run(z * 2, {z: array}).tolist() == [[2.0] * 5] * 4
            y = tf.placeholder(tf.float32, [5, 4])
            with pytest.raises(tf.errors.InvalidArgumentError, match="Cannot feed"):
                session.run(y * 2, {y: array})

    def test_a_session_of_the_cpu_returns_its_own(self) -> None:
        with tf.Session() as session:
            assert session.run(tf.constant([1.0, 2.0]) * 2.0, device_arrays=True).tolist() == [2, 4]


class TestMemory:
    def test_fetched_values_belong_to_the_caller(self) -> None:
        x = tf.placeholder(tf.float32, [300, 300])
        y = x * 2.0
        with tf.Session(device="opencl") as session:
            first = session.run([y, x], {x: np.ones((300, 300), np.float32)})
            first[0][:] = 7
            second = session.run([y, x], {x: np.full((300, 300), 2, np.float32)})
            assert (first[0] == 7).all() and (first[1] == 1).all()
            assert (second[0] == 4).all()

    def test_feeds_are_read_where_they_lie_and_left_alone(self) -> None:
        x = tf.placeholder(tf.float32, [400, 400])
        value = np.arange(160_000, dtype=np.float32).reshape(400, 400)
        value.flags.writeable = False
        with tf.Session(device="opencl") as session:
            for view in (value, value.T, value[::-1]):
                assert (session.run(x + 1.0, {x: view}) == view + 1).all()

    def test_nothing_is_as_good_as_something(self) -> None:
        x = tf.placeholder(tf.float32, [None, 3])
        fetches = [tf.tanh(x), tf.reduce_sum(x), tf.reduce_sum(x, 1), tf.concat([x, x], 0)]
        with tf.Session(device="opencl") as session:
            empty = session.run(fetches, {x: np.zeros((0, 3))})
            assert [np.shape(e) for e in empty] == [(0, 3), (), (0,), (0, 3)]
            assert empty[1] == 0

    def test_too_much_is_refused_and_the_session_goes_on(self) -> None:
        n = tf.placeholder(tf.int32, [])
        x = tf.placeholder(tf.float32, [1, 4])
        huge = tf.reduce_sum(tf.tile(x, [1 << 28, 4]) * 2.0)
        with tf.Session(device="opencl") as session:
            with pytest.raises(tf.errors.ResourceExhaustedError):
                session.run(huge, {x: np.ones((1, 4)), n: 1})
            assert session.run(x * 2.0, {x: np.ones((1, 4))}).tolist() == [[2.0] * 4]

    def test_an_arena_is_used_again(self) -> None:
        y = x = tf.placeholder(tf.float32, [64, 64])
        for _ in range(10):
            y = tf.reverse(tf.tanh(y), [0])
        with tf.Session(device="opencl") as session:
            explanation = session.explain(y, {x: np.zeros((64, 64))})
            assert explanation.peak_after < explanation.peak_before / 3


def test_explain_shows_kernels_with_ops_and_lines() -> None:
    x = tf.placeholder(tf.float32, [64])
    y = tf.tanh(x, name="activation")
    with tf.Session(device="opencl") as session:
        explanation = session.explain(y, {x: np.zeros(64)})
    assert "activation" in explanation.code and "test_opencl_session.py" in explanation.code
    assert "__kernel" in explanation.native and "activation" in explanation.native


def _forked(queue: Any) -> None:
    try:
        with tf.Session(device="opencl") as session:
            session.run(tf.constant([1.0]) * tf.placeholder_with_default(np.float32([2.0]), [1]))
        queue.put("no error")
    except tf.errors.FailedPreconditionError as error:
        queue.put(str(error))


def test_a_forked_child_is_told_what_to_do() -> None:
    with tf.Session(device="opencl") as session:
        session.run(tf.placeholder_with_default(np.float32([2.0]), [1]) * 2.0)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_forked, args=(queue,))
    child.start()
    message = queue.get(timeout=60)
    child.join()
    assert "fork" in message and "spawn" in message


def _driver_error(kind: Any, code: int, routine: str = "clStaged") -> Exception:
    """What pyopencl raises for a status code."""
    from pyopencl import _cl

    error: Exception = kind(_cl._ErrorRecord(routine, code, "staged"))
    return error


@pytest.fixture
def inline() -> Any:
    """The queue that does launches in the calling thread; where there is none there is nothing to test."""
    from graphflow_opencl.execution import backend

    if backend.device.inline is None:
        pytest.skip("this device has no queue for short programs")
    return backend.device.inline


@pytest.mark.usefixtures("inline")
class TestShortPrograms:
    """Programs that the calling thread computes by itself."""

    @staticmethod
    def told(session: tf.Session, fetches: Any, feeds: Any) -> bool:
        return "in the thread that runs the session" in session.explain(fetches, feeds).code

    def test_short_ones_alone_stay_in_the_calling_thread(self) -> None:
        x = tf.placeholder(tf.float32, [None])
        square = tf.placeholder(tf.float32, [None, None])
        y, product = tf.reduce_mean(tf.tanh(x) * 2.0), tf.matmul(square, square)
        with tf.Session(device="opencl") as session:
            assert self.told(session, y, {x: np.zeros(1000)})
            assert not self.told(session, y, {x: np.zeros(10_000_000)})
            assert self.told(session, product, {square: np.zeros((16, 16))})
            assert not self.told(session, product, {square: np.zeros((300, 300))})

    @pytest.mark.parametrize("optimizer", ["sgd", "adam"])
    def test_where_it_is_computed_changes_no_bit(self, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
        found = []
        for setting in ("0", "1"):
            monkeypatch.setenv("GRAPHFLOW_OCL_INLINE", setting)
            found.append(both(network(OPTIMIZERS[optimizer]), runs=5))
            close(*found[-1])
        assert [x.tobytes() for x in _flat(found[0][0])] == [x.tobytes() for x in _flat(found[1][0])]

    @pytest.mark.parametrize("schedule", ["cpu", "gpu"])
    def test_large_programs_can_be_sent_there(self, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            x = tf.placeholder(tf.float32, [300, 301])
            y = tf.nn.softmax(x * 2.0)
            return [tf.matmul(y, x, transpose_b=True), tf.sort(x), tf.gradients(y * x, x)[0]], {x: value}

        value = np.random.default_rng(0).standard_normal((300, 301)).astype(np.float32)
        monkeypatch.setenv("GRAPHFLOW_OCL_SCHEDULE", schedule)
        monkeypatch.setenv("GRAPHFLOW_OCL_INLINE", "1")
        close(*both(build))

    def test_they_share_variables_with_long_ones(self) -> None:
        v = tf.Variable(np.zeros(200_000, np.float32))
        x = tf.placeholder(tf.float32, [200_000])
        heavy = tf.assign(v, tf.tanh(tf.sin(tf.exp(v * 0.5) * x) * tf.cos(v)) + x)
        light = tf.scatter_update(v, [3], [7.0])
        end = tf.reduce_sum(v[:4])
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal(200_000).astype(np.float32) for _ in range(20)]
        results = []
        for device in ("opencl", "cpu"):
            with tf.Session(device=device) as session:
                session.run(v.initializer)
                found = []
                for array in arrays:
                    session.run(heavy.op, {x: array})
                    session.run(light.op)
                    found.append(session.run([end, v]))
                results.append(found)
                if device == "opencl":
                    assert not self.told(session, heavy.op, {x: arrays[0]}) and self.told(session, end, {})
        close(*results)

    def test_they_share_arrays_of_the_device_with_long_ones(self) -> None:
        x = tf.placeholder(tf.float32, [None])
        y = tf.tanh(x) * 0.5 + tf.sin(x)
        small = tf.placeholder(tf.float32, [None])
        part = small[:10] * 3.0
        value = np.random.default_rng(0).standard_normal(3_000_000).astype(np.float32)
        with tf.Session(device="opencl") as session:
            for _ in range(5):
                large = session.run(y, {x: value}, device_arrays=True)
                few = session.run(part, {small: large}, device_arrays=True)
                again = session.run(y, {x: few})
                wanted = 3 * (np.tanh(value[:10]) * np.float32(0.5) + np.sin(value[:10]))
                close(few.numpy(), wanted)
                close(again, np.tanh(wanted) * np.float32(0.5) + np.sin(wanted))

    @pytest.mark.parametrize("body", [40, 400_000])
    @pytest.mark.parametrize("around", [40, 400_000])
    def test_loops_around_and_in_long_ones(self, body: int, around: int) -> None:
        def build() -> tuple[Any, dict[Any, Any]]:
            x, z = tf.placeholder(tf.float32, [body]), tf.placeholder(tf.float32, [around])
            start = tf.reduce_mean(tf.sin(z * 2.0))
            ends = tf.while_loop(
                lambda i, y: i < 6.0 + start * 0.0,
                lambda i, y: (i + 1.0, tf.tanh(y * 1.1 + i) + tf.cond(i > 3.0, lambda: y * 0.5, lambda: -y)),
                [tf.constant(0.0), x * start],
            )
            return [ends[0], ends[1], tf.exp(z * 0.1) * ends[1][0], tf.reduce_sum(ends[1]) + start], {
                x: np.linspace(-1, 1, body, dtype=np.float32),
                z: np.linspace(-3, 2, around, dtype=np.float32),
            }

        ours, theirs = both(build, runs=3)
        for a, b in zip(_flat(ours), _flat(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


class TestTheCallingThreadsDevice:
    """How PoCL is asked for the device behind it."""

    def test_the_user_decides_which_devices_there_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from graphflow_opencl import callers

        for name, value in (("POCL_DEVICES", "pthread"), ("GRAPHFLOW_OCL_INLINE", "0"), ("OCL_ICD_VENDORS", "/x")):
            with monkeypatch.context() as patch:
                patch.setattr(callers, "_asked", False)
                patch.setenv(name, value)
                before = os.environ.get("POCL_DEVICES")
                with callers.offered():
                    assert os.environ.get("POCL_DEVICES") == before
                assert not callers._asked

    def test_another_pocl_is_not_asked(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        from graphflow_opencl import callers

        monkeypatch.setattr(callers, "_asked", False)
        monkeypatch.delenv("POCL_DEVICES", raising=False)
        monkeypatch.setattr(callers, "VENDORS", tmp_path)
        monkeypatch.setattr(callers.metadata, "version", lambda name: "3.0")
        (tmp_path / "nvidia.icd").write_text("libnvidia-opencl.so.1\n")
        with callers.offered():
            assert os.environ["POCL_DEVICES"] == "pthread basic"
        assert callers._asked and "POCL_DEVICES" not in os.environ  # children do not see it
        (tmp_path / "other.icd").write_text("libpocl.so.2\n")
        with callers.offered():
            assert "POCL_DEVICES" not in os.environ
        (tmp_path / "other.icd").unlink()
        monkeypatch.setattr(callers.metadata, "version", lambda name: "5.0")
        with callers.offered():
            assert "POCL_DEVICES" not in os.environ

    def test_it_is_hidden(self, inline: Any) -> None:
        from graphflow_opencl.devices import candidates

        names = [device.name for _, device in candidates()]
        assert inline.cl.name not in names and not any(name.startswith("basic") for name in names)


def test_addresses_are_those_of_numpy() -> None:
    from graphflow_opencl.devices import address

    frozen = np.zeros(5)
    frozen.flags.writeable = False
    for array in (np.zeros((3, 4), np.float32), np.zeros(8)[3:], np.zeros((2, 2), np.float16), frozen):
        assert address(array) == array.ctypes.data
    if (bfloat16 := tf.bfloat16.np) is not None:
        array = np.zeros(4, bfloat16)
        assert address(array) == array.ctypes.data


class TestTheDriver:
    def test_a_refused_launch_names_its_op(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyopencl as cl
        from graphflow_opencl import frames

        def refuse(*arguments: Any, **more: Any) -> None:
            raise _driver_error(cl.LogicError, cl.status_code.INVALID_KERNEL_ARGS)

        x = tf.placeholder(tf.float32, [7])
        y = tf.tanh(x, name="the_op")
        with tf.Session(device="opencl") as session:
            with monkeypatch.context() as patch:
                patch.setattr(frames.cl, "enqueue_nd_range_kernel", refuse)
                with pytest.raises(tf.errors.InternalError) as caught:
                    session.run(y, {x: np.zeros(7)})
            assert "the_op" in str(caught.value) and "test_opencl_session.py" in str(caught.value)

    def test_a_lost_device_says_so_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyopencl as cl
        from graphflow_opencl.driver_errors import explained
        from graphflow_opencl.execution import backend

        device = backend.device
        monkeypatch.setattr(device, "lost", "")
        with pytest.raises(tf.errors.UnavailableError, match="was lost"), explained(device):
            raise _driver_error(cl.RuntimeError, cl.status_code.DEVICE_NOT_AVAILABLE)
        with tf.Session(device="opencl") as session, pytest.raises(tf.errors.UnavailableError, match="checkpoint"):
            session.run(tf.placeholder_with_default(np.float32([1]), [1]) * 2.0)

    @pytest.mark.parametrize(
        ("routine", "kind", "words"),
        [
            ("clCreateBuffer", tf.errors.ResourceExhaustedError, "not enough memory"),
            ("clEnqueueNDRangeKernel", tf.errors.InternalError, "cannot launch this kernel"),
            ("clFinish", tf.errors.UnavailableError, "a kernel crashed"),
            ("clEnqueueReadBuffer", tf.errors.UnavailableError, "a kernel crashed"),
        ],
    )
    def test_no_resources_may_mean_many_things(
        self, routine: str, kind: Any, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import pyopencl as cl
        from graphflow_opencl.driver_errors import explained
        from graphflow_opencl.execution import backend

        device = backend.device
        monkeypatch.setattr(device, "lost", "")
        with pytest.raises(kind, match=words), explained(device):
            raise _driver_error(cl.RuntimeError, cl.status_code.OUT_OF_RESOURCES, routine)
        assert bool(device.lost) is (kind is tf.errors.UnavailableError)

    def test_a_wait_after_each_kernel_names_the_op_that_crashed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyopencl as cl
        from graphflow_opencl import clblast, observing
        from graphflow_opencl.execution import backend

        class Crashing:
            """A queue on which the first kernel crashes."""

            def __init__(self, queue: Any) -> None:
                self.int_ptr = queue.int_ptr

            def finish(self) -> None:
                raise _driver_error(cl.RuntimeError, cl.status_code.OUT_OF_RESOURCES, "clFinish")

        def frame(*arguments: Any) -> Any:
            made = real(*arguments)
            made.queue, queue = Crashing(made.queue), made.queue
            monkeypatch.setattr(clblast, "enqueuer", lambda queue, kernel, launch: lambda waits=None: None)
            made._steps = made._bound(arguments[4])
            made.queue = queue
            return made

        real = observing.Frame
        monkeypatch.setattr(observing, "Frame", frame)
        monkeypatch.setattr(backend.device, "lost", "")
        monkeypatch.setenv("GRAPHFLOW_SYNC", "1")  # read when a plan is bound, not when the module is
        x = tf.placeholder(tf.float32, [7])
        y = tf.tanh(x, name="the_culprit")
        with tf.Session(device="opencl") as session, pytest.raises(tf.errors.UnavailableError, match="the_culprit"):
            session.run(y, {x: np.zeros(7)})

    def test_memory_is_asked_for_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyopencl as cl
        from graphflow_opencl import observing

        calls = []
        real = observing.Frame

        def refusing(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) <= refusals:
                raise _driver_error(cl.MemoryError, cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE)
            return real(*arguments)

        monkeypatch.setattr(observing, "Frame", refusing)
        x = tf.placeholder(tf.float32, [7])
        y = tf.tanh(x, name="large_one")
        with tf.Session(device="opencl") as session:
            refusals = 1
            session.run(y, {x: np.zeros(7)})
            refusals = 9
            with pytest.raises(tf.errors.ResourceExhaustedError, match="large_one"):
                session.run(y * 2.0, {x: np.zeros(7)})
            refusals = 0
            session.run(y, {x: np.zeros(7)})


def test_both_ways_of_writing_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_OCL_SCHEDULE", "gpu")
    for optimizer in ("sgd", "adam"):
        close(*both(network(OPTIMIZERS[optimizer]), runs=3))


def test_runs_leave_nothing_behind() -> None:
    x = tf.placeholder(tf.float32, [50])
    y = tf.tanh(x) * 2.0
    with tf.Session(device="opencl") as session:
        feeds = {x: np.zeros(50, np.float32)}
        for _ in range(200):
            session.run(y, feeds)
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(2000):
            session.run(y, feeds)
        gc.collect()
        assert sys.getallocatedblocks() - before < 500


def test_there_is_no_gpu_here() -> None:
    from graphflow_opencl.devices import candidates

    if any("gpu" in device.name.lower() for _, device in candidates()):
        pytest.skip("there is one")
    with pytest.raises(tf.errors.NotFoundError, match="no GPU"):
        tf.Session(device="gpu")


def test_a_variable_without_elements_has_a_value() -> None:
    empty = tf.Variable(np.zeros((3, 0), np.float32))
    with tf.control_dependencies([empty.initializer]):
        added = empty.assign_add(tf.zeros((3, 0)))
    with tf.Session(device="opencl") as session:
        assert session.run([added, empty.initializer])[0].shape == (3, 0)
        assert session.run(empty).shape == (3, 0)
        with pytest.raises(tf.errors.InvalidArgumentError, match="out of range"):
            session.run(tf.scatter_add(empty, [7], tf.zeros((1, 0))))


@pytest.mark.parametrize("rows", ["fed", "variable", "computed"])
def test_an_index_out_of_range_is_told_with_its_value(rows: str) -> None:
    x = tf.placeholder(tf.float32, [3])
    source = {"fed": x, "variable": tf.Variable([1.0, 2.0, 3.0]), "computed": tf.exp(x)}[rows]
    indices = tf.placeholder(tf.int32, [2])
    with tf.Session(device="opencl") as sess:
        sess.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[1\] = 5 is out of range"):
            sess.run(tf.gather(source, indices), {x: [1.0, 2.0, 3.0], indices: [0, 5]})


def test_memory_that_could_not_be_made_goes_quietly() -> None:
    from graphflow_opencl.memory import Piece

    Piece.__new__(Piece).__del__()


def test_a_task_of_the_host_reads_a_view_of_what_another_made() -> None:
    """The sum reads the places through a reshape: as one task with the addition it would read them too early."""
    x, rows = tf.placeholder(tf.float32, [2, 2]), tf.placeholder(tf.int64, [])
    places = tf.reshape(tf.range(rows) * 3, tf.stack([rows, 1])) + tf.constant([[2, 0], [1, 2]], tf.int64)
    summed = tf.unsorted_segment_sum(tf.reshape(x, [-1]), tf.reshape(places, [-1]), rows * 3)
    for level in (0, 1, 2):
        with tf.Session(device="opencl", optimization_level=level) as session:
            found = session.run(summed, {x: [[0.0, 1.0], [3.0, 4.0]], rows: 2})
        assert found.tolist() == [1.0, 0.0, 0.0, 0.0, 3.0, 4.0], level
