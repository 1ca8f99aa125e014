"""Native segments against NumPy: whole steps, variables, memory, threads, and when they come into play."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from graphflow_numpy import execution
from graphflow_numpy.native import background, driver, engine, frames, segments

import graphflow as tf

pytestmark = pytest.mark.skipif(not engine.available(), reason="llvmlite is not installed")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: Any) -> None:
    monkeypatch.setenv("GRAPHFLOW_FAST", "wait")


def plans(monkeypatch: Any) -> list[Any]:
    """The segments that are made from now on."""
    found: list[Any] = []
    plan = segments.plan
    monkeypatch.setattr(segments, "plan", lambda *a: found.extend(made := plan(*a)) or made)
    return found


def network(optimizer: Any) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(3)
    x, y = tf.placeholder(tf.float32, [32, 6]), tf.placeholder(tf.float32, [32, 3])
    h = x
    for n, m in ((6, 20), (20, 3)):
        w = tf.Variable(rng.normal(size=(n, m)).astype(np.float32))
        h = tf.sigmoid(tf.matmul(h, w) + tf.Variable(np.zeros(m, np.float32)))
    loss = tf.reduce_mean(tf.square(h - y))
    return x, y, loss, optimizer.minimize(loss)


OPTIMIZERS = [
    lambda: tf.train.GradientDescentOptimizer(0.5),
    lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    lambda: tf.train.AdamOptimizer(0.01),
    lambda: tf.train.RMSPropOptimizer(0.01),
    lambda: tf.train.AdagradOptimizer(0.1),
]


def trained(monkeypatch: Any, mode: str, make: Any, steps: int = 5) -> tuple[list[float], list[Any], list[Any]]:
    monkeypatch.setenv("GRAPHFLOW_FAST", mode)
    with tf.Graph().as_default():
        x, y, loss, step = network(make())
        rng = np.random.default_rng(4)
        feeds = {x: rng.normal(size=(32, 6)), y: rng.random((32, 3))}
        with tf.Session(optimization_level=2) as sess:
            sess.run(tf.global_variables_initializer())
            found = plans(monkeypatch)
            losses = [sess.run([loss, step], feeds)[0] for _ in range(steps)]
            return losses, sess.run(tf.global_variables()), found


@pytest.mark.parametrize("make", OPTIMIZERS, ids=["sgd", "momentum", "adam", "rmsprop", "adagrad"])
def test_training_steps_are_one_call_and_agree(monkeypatch: Any, make: Any) -> None:
    wanted_losses, wanted, _ = trained(monkeypatch, "0", make)
    losses, found, made = trained(monkeypatch, "wait", make)
    assert len(made) == 1
    np.testing.assert_allclose(losses, wanted_losses, rtol=2e-6)
    for w, f in zip(wanted, found, strict=True):
        assert (w.shape, w.dtype) == (f.shape, f.dtype)
        np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-6)


def test_a_long_step_runs_in_two_phases_and_agrees(monkeypatch: Any) -> None:
    results = []
    for mode in ("0", "wait"):
        monkeypatch.setenv("GRAPHFLOW_FAST", mode)
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [256, 300])
            w = tf.Variable(np.linspace(-0.1, 0.1, 300 * 280, dtype=np.float32).reshape(300, 280))
            y = tf.nn.relu(tf.matmul(x, w))
            step = tf.train.GradientDescentOptimizer(0.001).minimize(tf.reduce_sum(y * y))
            with tf.Session(optimization_level=2) as sess:
                sess.run(w.initializer)
                found = plans(monkeypatch)
                for _ in range(2):
                    sess.run(step, {x: np.sin(np.arange(256 * 300)).reshape(256, 300) * 0.1})
                results.append(sess.run(w))
    assert [bool(p) for p in found[0].plan.phases] == [True, True]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)


# -- variables -------------------------------------------------------------------------------------------------------


def test_what_was_read_never_changes() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        v = tf.Variable(np.arange(12, dtype=np.float32))
        sess.run(v.initializer)
        before = v.read_value()
        with tf.control_dependencies([before]):
            add = tf.assign_add(v, tf.sin(tf.cos(v * 2.0 + 1.0)) * 0.0 + 1.0)
        first = sess.run(v)
        old, new = sess.run([before, add])
        assert np.array_equal(old, np.arange(12)) and np.array_equal(new, np.arange(12) + 1)
        new[:] = 99  # it is the caller's
        old[:] = 98
        assert np.array_equal(sess.run(v), np.arange(12) + 1)
        sess.run(add)
        assert np.array_equal(first, np.arange(12))
        assert np.array_equal(sess.run(v), np.arange(12) + 2)


def test_an_old_value_may_be_used_after_the_update() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        v = tf.Variable(np.ones(40, np.float32))
        sess.run(v.initializer)
        old = v.read_value()
        with tf.control_dependencies([old]):
            new = tf.assign(v, tf.exp(old * 0.0) * 5.0)
        with tf.control_dependencies([new]):
            both = tf.identity(old) * 10.0 + tf.square(v.read_value())
        assert np.array_equal(sess.run(both), np.full(40, 35.0, np.float32))
        assert np.array_equal(sess.run(both), np.full(40, 75.0, np.float32))


def test_ops_without_native_code_find_the_variable() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        v = tf.Variable(np.ones((5, 5), np.float32))
        sess.run(v.initializer)
        before = tf.exp(v * 0.0) + tf.square(v)
        rows = tf.placeholder(tf.float32, [2, 5])
        after = tf.scatter_update(v, [0, 3], rows)
        found = sess.run([before, after], {rows: np.full((2, 5), 3.0)})
        assert np.array_equal(found[0], np.full((5, 5), 2.0)) and found[1].sum() == 45
        assert sess.run(v).sum() == 45


def test_scalar_variables_and_counters() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        power = tf.Variable(1.0)
        step = tf.Variable(0, dtype=tf.int64)
        sess.run(tf.global_variables_initializer())
        group = tf.group(*[tf.assign(power, power * 0.5 + tf.sin(power) * 0.0), tf.assign_add(step, 1)])
        for _ in range(3):
            sess.run(group)
        power_now, step_now = sess.run([power, step])
        assert (power_now, step_now) == (0.125, 3) and type(power_now) is np.float32 and type(step_now) is np.int64


def test_uninitialized_variables_are_named() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        x, y, _, step = network(tf.train.GradientDescentOptimizer(0.1))
        with pytest.raises(tf.errors.FailedPreconditionError, match="not initialized"):
            sess.run(step, {x: np.zeros((32, 6)), y: np.zeros((32, 3))})
        sess.run(tf.global_variables_initializer())
        sess.run(step, {x: np.zeros((32, 6)), y: np.zeros((32, 3))})


def test_concurrent_updates_are_never_lost_and_never_seen_half_done() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        v, w = (tf.Variable(np.zeros(5000, np.float32)) for _ in range(2))
        one = tf.placeholder(tf.float32, [])
        grown = tf.exp(tf.zeros([5000]) * one) * one
        step = tf.group(tf.assign_add(v, grown), tf.assign_add(w, grown * 2.0))
        sess.run(tf.global_variables_initializer())
        sess.run(step, {one: 1.0})
        torn: list[Any] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                found = sess.run(v)
                if not (found == found[0]).all():
                    torn.append(found)

        def write() -> None:
            for _ in range(200):
                sess.run(step, {one: 1.0})

        reader, writers = threading.Thread(target=read), [threading.Thread(target=write) for _ in range(4)]
        for t in (reader, *writers):
            t.start()
        for t in writers:
            t.join()
        done.set()
        reader.join()
        assert not torn
        assert np.array_equal(sess.run(v), np.full(5000, 801.0)) and np.array_equal(sess.run(w), np.full(5000, 1602.0))


# -- memory ----------------------------------------------------------------------------------------------------------


def elementwise(shape: tuple[int, ...]) -> tuple[Any, Any]:
    x = tf.placeholder(tf.float32, shape)
    return x, tf.tanh(x) * tf.sigmoid(x) + tf.square(x) - tf.exp(-x)


def numbers(x: Any) -> Any:
    return np.tanh(x) / (1 + np.exp(-x)) + x * x - np.exp(-x)


def test_results_stay_when_the_next_run_comes() -> None:
    for shape in ((50,), (300, 400)):
        with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
            x, y = elementwise(shape)
            values = [np.full(shape, i, np.float32) for i in range(6)]
            kept = [sess.run(y, {x: v}) for v in values]
            for v, k in zip(values, kept, strict=True):
                np.testing.assert_allclose(k, numbers(v), rtol=1e-5)
            view = sess.run(y, {x: values[1]})[10:20]
            for v in values:
                sess.run(y, {x: v})
            np.testing.assert_allclose(view, numbers(values[1][10:20]), rtol=1e-5)


def test_inputs_of_any_layout(monkeypatch: Any) -> None:
    for reads in (True, False):
        monkeypatch.setattr(driver, "reads_objects", lambda reads=reads: reads)
        with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
            x, y = elementwise((40, 30))
            scale = tf.placeholder(tf.float32, [])
            y = y * scale
            base = np.random.default_rng(5).normal(size=(60, 80)).astype(np.float32)
            odd = np.frombuffer(b"\0" * 2 + base[:40, :30].tobytes(), np.uint8)[2:].view(np.float32).reshape(40, 30)
            for v in (base[:40, :30], base[:60:2, :40].T, base[39::-1, 29::-1], odd, base[:40, :30].astype(">f4")):
                for s in (2.0, np.float32(2), np.array(2.0)):
                    np.testing.assert_allclose(sess.run(y, {x: v, scale: s}), 2 * numbers(v), rtol=1e-4, atol=1e-6)


def test_variables_where_addresses_have_to_be_asked_for(monkeypatch: Any) -> None:
    wanted, _, _ = trained(monkeypatch, "wait", OPTIMIZERS[2])
    monkeypatch.setattr(driver, "reads_objects", lambda: False)
    found, _, made = trained(monkeypatch, "wait", OPTIMIZERS[2])
    assert found == wanted and len(made) == 1


def test_aliases_of_feeds_and_fetches_are_copies() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        x, y = elementwise((6, 8))
        flat, again, fed = tf.reshape(y, [48]), tf.reshape(y, [8, 6]), tf.reshape(x, [48])
        value = np.ones((6, 8), np.float32)
        out = sess.run([y, flat, again, fed, y], {x: value})
        for i, a in enumerate(out):
            a[...] = i + 100
        assert np.array_equal(value, np.ones((6, 8)))
        for i, a in enumerate(out):
            assert (a == i + 100).all()


# -- threads ---------------------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(6)
    value = rng.normal(size=(4, 20, 20, 8)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 8, 24)).astype(np.float32)
    results = []
    for threads in (1, 2, 4):
        config = tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        with tf.Graph().as_default(), tf.Session(optimization_level=2, config=config) as sess:
            x, w = tf.placeholder(tf.float32, value.shape), tf.placeholder(tf.float32, kernel.shape)
            y = tf.nn.max_pool(tf.nn.relu(tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")), [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
            z = tf.matmul(tf.reshape(y, [40, 240]), tf.reshape(y, [240, 40]))
            fetches = [y, z, tf.reduce_mean(tf.exp(-z * z)), *tf.gradients(tf.reduce_sum(y * y), [x, w])]
            for _ in range(3):
                results.append(sess.run(fetches, {x: value, w: kernel}))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_long_segments_are_cut_into_calls(monkeypatch: Any) -> None:
    wanted = trained(monkeypatch, "wait", OPTIMIZERS[2])
    monkeypatch.setattr(frames, "SLICE", 1e-7)
    monkeypatch.setattr(frames, "TEAM", 0.0)
    monkeypatch.setattr(frames, "SHARED", 0.0)
    found = trained(monkeypatch, "wait", OPTIMIZERS[2])
    assert len(found[2][0]._phases[1].cuts) > 3
    assert found[0] == wanted[0]
    for w, f in zip(wanted[1], found[1], strict=True):
        assert np.array_equal(w, f)


def test_one_session_in_four_threads() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        x, y = elementwise((200, 100))
        z = tf.matmul(y, y, transpose_b=True)
        wrong: list[int] = []

        def work(seed: int) -> None:
            value = np.random.default_rng(seed).normal(size=(200, 100)).astype(np.float32)
            first = sess.run(z, {x: value})
            wrong.extend(seed for _ in range(60) if not np.array_equal(sess.run(z, {x: value}), first))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong


# -- when ------------------------------------------------------------------------------------------------------------


def test_the_first_result_does_not_wait(monkeypatch: Any) -> None:
    monkeypatch.setenv("GRAPHFLOW_FAST", "1")
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        found = plans(monkeypatch)
        x, y = elementwise((31, 17))
        value = np.ones((31, 17), np.float32)
        results = [sess.run(y, {x: value}) for _ in range(3)]
        background.wait()
        assert found and not background.failures
        results += [sess.run(y, {x: value}) for _ in range(3)]
        for r in results:
            np.testing.assert_allclose(r, numbers(value), rtol=1e-5)


def test_it_can_be_switched_off(monkeypatch: Any) -> None:
    monkeypatch.setenv("GRAPHFLOW_FAST", "0")
    found = plans(monkeypatch)
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        x, y = elementwise((31, 17))
        sess.run(y, {x: np.ones((31, 17))})
    assert not found


def test_the_default_level_stays_with_numpy(monkeypatch: Any) -> None:
    found = plans(monkeypatch)
    with tf.Graph().as_default(), tf.Session() as sess:
        x, y = elementwise((31, 17))
        sess.run(y, {x: np.ones((31, 17))})
    assert not found


def test_the_code_can_be_read(monkeypatch: Any) -> None:
    found = plans(monkeypatch)
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        x, y = elementwise((31, 17))
        z = tf.matmul(y, y, transpose_b=True, name="the_product")
        sess.run(z, {x: np.ones((31, 17))})
    assert "MatMul: the_product" in found[0].listing and "define void @" in found[0].source


END = """
import os, sys
import numpy as np
import graphflow as tf
x = tf.placeholder(tf.float32, [64, 64])
y = tf.nn.softmax(tf.matmul(tf.tanh(x) * tf.sigmoid(x), x))
sess = tf.Session(optimization_level=2)
for _ in range(5):
    first = sess.run(y, {x: np.ones((64, 64))})
if sys.argv[1] == "fork":
    child = os.fork()
    same = np.allclose(sess.run(y, {x: np.ones((64, 64))}), first)
    z = sess.run(tf.exp(y) * y + tf.sin(y), {x: np.ones((64, 64))})
    if not child:
        os._exit(7 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("end")
"""


@pytest.mark.parametrize("how", ["exit", "fork"])
def test_exit_and_fork_do_not_hang(how: str) -> None:
    if how == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    environment = {**os.environ, "GRAPHFLOW_FAST": "1"}
    command = [sys.executable, "-c", END, how]
    done = subprocess.run(command, check=False, env=environment, timeout=240, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


def test_source_and_native_code_may_come_at_the_same_time(monkeypatch: Any) -> None:
    monkeypatch.setenv("GRAPHFLOW_FAST", "1")
    written, installed = threading.Event(), threading.Event()

    class Slow(execution.StraightLine):
        def __init__(self, bound: Any) -> None:
            super().__init__(bound)
            written.set()
            installed.wait(240)

    install = execution.NumpyExecutable._install_native

    def late(self: Any, found: Any) -> None:
        written.wait(240)
        install(self, found)
        installed.set()

    monkeypatch.setattr(execution, "StraightLine", Slow)
    monkeypatch.setattr(execution.NumpyExecutable, "_install_native", late)
    monkeypatch.setattr(execution, "RUNS_BEFORE_SOURCE", 3)
    x = tf.placeholder(tf.float32, [2048])
    y = x
    for i in range(300):
        y = tf.cumsum(tf.exp(-tf.abs(y)) * float(i + 1))
    with tf.Session(optimization_level=2) as session:
        feeds = {x: np.ones(2048, np.float32)}
        found = [session.run(y, feeds) for _ in range(6)]
        assert written.is_set() and installed.is_set()
    assert all(np.allclose(found[0], other, rtol=1e-4) for other in found)
