"""Helpers of native segments: who leads, how a run is closed, when help is asked for; no result depends on them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.native import background, engine, frames, layout, plans, segment, segments, team
from graphflow_numpy.native.turning import Matrices, turn_call

import graphflow as tf

pytestmark = pytest.mark.skipif(not engine.available(), reason="llvmlite is not installed")
LONG = 240  # seconds that no machine needs


@pytest.fixture(autouse=True)
def at_once(monkeypatch: Any) -> None:
    monkeypatch.setenv("GRAPHFLOW_FAST", "wait")


class Wanted(plans.Help):
    """Help that is asked for in every run."""

    def __init__(self) -> None:
        super().__init__()
        self.resting = 0

    def came(self, seconds: float) -> None:
        """However long it took."""


@pytest.fixture
def always(monkeypatch: Any) -> None:
    """Every kernel of several units is shared, in every run."""
    monkeypatch.setattr(segment, "Help", Wanted)
    for name in ("TEAM", "SHARED"):
        monkeypatch.setattr(frames, name, 0.0)


def two_threads() -> Any:
    return tf.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=2)


# -- the board -------------------------------------------------------------------------------------------------------


def led_elsewhere(own: team.Team) -> tuple[threading.Thread, threading.Event]:
    """A thread that leads until the event is set."""
    begun, go_on = threading.Event(), threading.Event()

    def lead() -> None:
        assert own.begin(0)
        begun.set()
        go_on.wait(LONG)
        own.end()

    thread = threading.Thread(target=lead)
    thread.start()
    assert begun.wait(LONG)
    return thread, go_on


def test_one_run_at_a_time_has_help() -> None:
    own = team.Team()
    thread, go_on = led_elsewhere(own)
    assert not own.begin(0)
    go_on.set()
    thread.join(LONG)
    assert own.begin(0)
    own.end()


def test_what_an_interrupted_run_left_does_not_shut_its_thread_out() -> None:
    own = team.Team()
    assert own.begin(0)
    assert own.begin(0)
    own.end()
    thread, go_on = led_elsewhere(own)
    go_on.set()
    thread.join(LONG)


def test_a_run_is_over_only_when_all_helpers_have_left_it() -> None:
    own = team.Team()
    assert own.begin(0)
    own._inside.value = 1
    thread = threading.Thread(target=own.end)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    own._inside.value = 0
    thread.join(LONG)
    assert not thread.is_alive()


def test_a_copy_of_the_process_has_nobody_inside() -> None:
    own = team.Team()
    assert own.begin(0)
    own._inside.value = 1
    own._forked()
    assert own.begin(0) and own._inside.value == 0
    own.end()


# -- results ---------------------------------------------------------------------------------------------------------


def network() -> tuple[Any, Any]:
    x = tf.placeholder(tf.float32, [96, 80])
    w = tf.Variable(np.sin(np.arange(80 * 64)).reshape(80, 64).astype(np.float32) * 0.1)
    y = tf.nn.softmax(tf.tanh(tf.matmul(x, w)))
    z = tf.matmul(y, y, transpose_b=True)
    return x, [z, tf.reduce_mean(tf.exp(-z)), *tf.gradients(tf.reduce_sum(z * z), [x, w])]


def bits(found: list[Any]) -> list[bytes]:
    return [np.asarray(f).tobytes() for f in found]


def test_helpers_change_no_bit(monkeypatch: Any, always: None) -> None:
    value = np.cos(np.arange(96 * 80)).reshape(96, 80).astype(np.float32)
    results = []
    for config in (tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1), two_threads()):
        with tf.Graph().as_default(), tf.Session(optimization_level=2, config=config) as sess:
            x, fetches = network()
            sess.run(tf.global_variables_initializer())
            results += [bits(sess.run(fetches, {x: value})) for _ in range(50)]
    assert all(r == results[0] for r in results)


def test_sessions_in_several_threads_share_one_board(always: None) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        try:
            with tf.Graph().as_default(), tf.Session(optimization_level=2, config=two_threads()) as sess:
                x, fetches = network()
                sess.run(tf.global_variables_initializer())
                value = np.cos(np.arange(96 * 80) * number).reshape(96, 80).astype(np.float32)
                first = bits(sess.run(fetches, {x: value}))
                wrong.extend(number for _ in range(100) if bits(sess.run(fetches, {x: value})) != first)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


FORK = """
import os
import numpy as np
import graphflow as tf
from graphflow_numpy.native import frames, plans
frames.TEAM = frames.SHARED = 0.0
plans.TRIALS = 0
x = tf.placeholder(tf.float32, [96, 96])
y = tf.nn.softmax(tf.matmul(tf.tanh(x) * tf.sigmoid(x), x))
config = tf.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=2)
sess = tf.Session(optimization_level=2, config=config)
value = np.ones((96, 96))
first = sess.run(y, {x: value})
for _ in range(20):
    assert np.array_equal(sess.run(y, {x: value}), first)
    child = os.fork()
    if not child:
        os._exit(7 if all(np.array_equal(sess.run(y, {x: value}), first) for _ in range(5)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("end")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_while_helpers_linger() -> None:
    environment = {**os.environ, "GRAPHFLOW_FAST": "wait"}
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, check=False, env=environment, timeout=LONG, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


# -- whether to ask --------------------------------------------------------------------------------------------------


def settled(alone: float = 1.0) -> plans.Help:
    help = plans.Help()
    for _ in range(plans.TRIALS):
        assert help.resting
        help.went_alone(alone)
    assert not help.resting
    return help


def test_help_that_pays_is_asked_for_again_and_one_slow_run_changes_little() -> None:
    help = settled()
    for seconds in (0.6, 0.6, 1.8, 0.6, 0.6, 0.6, 0.6, 1.8, 0.6):
        help.came(seconds)
        assert not help.resting
    help.came(50.0)
    assert help.resting == 1
    help.went_alone(1.0)
    help.came(0.6)
    assert not help.resting


def test_help_that_does_not_pay_is_asked_for_less_and_less() -> None:
    help, runs = settled(), []
    for _ in range(8):
        help.came(1.9)
        runs.append(help.resting)
        while help.resting:
            help.went_alone(1.0)
    assert runs == sorted(runs) and runs[0] == 1 and runs[-1] == plans.REST
    help.came(0.6)  # the first run with help that is quick again
    assert not help.resting


def test_rests_stay_long_where_only_some_runs_with_help_are_quick() -> None:
    help, alone = settled(), 0
    for number in range(60):
        help.came(5.0 if number % 3 == 2 else 0.6)
        while help.resting:
            help.went_alone(1.0)
            alone += 1
    assert alone > 150
    for _ in range(8 * plans.GOOD):
        help.came(0.6)
    help.came(50.0)
    assert help.resting == 1


# -- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (37, 53), (3, 200), (200, 3), (64, 48)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_of_a_transposition(shape: tuple[int, int], dtype: str) -> None:
    call = turn_call(0, 1, Matrices(dtype, 1, *shape))
    kernel = engine.get_kernel(call.key, call.build)
    source = np.arange(shape[0] * shape[1], dtype=dtype).reshape(shape)
    target = np.full(shape[::-1], -1, dtype)
    data = np.array([source.ctypes.data, target.ctypes.data])
    for unit in reversed(range(kernel.units)):
        kernel.call(data.ctypes.data, unit, unit + 1)
    assert np.array_equal(target, source.T)


@pytest.mark.parametrize("shape", [(5000,), (70, 64), (70, 63)])
def test_what_is_written_past_the_caches_is_the_same(monkeypatch: Any, shape: tuple[int, ...]) -> None:
    value = np.sin(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)
    found: list[Any] = []
    plan = segments.plan
    monkeypatch.setattr(segments, "plan", lambda *a: found.extend(made := plan(*a)) or made)
    results = []
    for limit in (1 << 40, 1 << 10):
        for module in (frames, layout):
            monkeypatch.setattr(module, "STREAMED", limit)
        with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
            x = tf.placeholder(tf.float32, shape)
            row = tf.constant(np.arange(shape[-1], dtype=np.float32))  # so that the axes are not merged
            y = tf.tanh(x) * tf.sigmoid(x) + tf.exp(-x) * row
            fetches = [y, tf.reduce_sum(y), y > 0.5]
            kept = [sess.run(fetches, {x: value}) for _ in range(4)]
            results += [bits(k) for k in kept]
    assert all(r == results[0] for r in results)
    assert "nontemporal" not in found[0].source
    assert ("nontemporal" in found[1].source) == (shape[-1] != 63)


# -- errors, and what is not wanted any more -------------------------------------------------------------------------


def test_all_uninitialized_variables_are_named_at_once() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        x = tf.placeholder(tf.float32, [32, 6])
        v, w = (tf.Variable(np.zeros((6, 3), np.float32), name=n) for n in "vw")
        y = tf.tanh(tf.matmul(x, v)) + tf.sigmoid(tf.matmul(x, w))
        with pytest.raises(tf.errors.FailedPreconditionError, match="variables 'v', 'w' are not") as caught:
            sess.run(y, {x: np.zeros((32, 6))})
    assert caught.value.got is not None and "variable" in caught.value.got


def test_a_value_of_another_shape_is_named() -> None:
    with tf.Graph().as_default(), tf.Session(optimization_level=2) as sess:
        x = tf.placeholder(tf.float32, [32, 6])
        part = tf.py_func(lambda a: a[:3], [x], tf.float32)
        part.set_shape([32, 6])
        y = tf.tanh(part, name="first") + tf.sigmoid(part) * 2.0 + tf.exp(part)
        with pytest.raises(tf.errors.InvalidArgumentError, match="shape") as caught:
            sess.run(y, {x: np.zeros((32, 6))})
    error = caught.value
    assert (error.expected, error.got, error.op_name) == ("[32, 6]", "[3, 6]", "first")


def test_nothing_is_compiled_for_a_closed_session(monkeypatch: Any) -> None:
    made: list[Any] = []
    monkeypatch.setattr(segments, "plan", lambda *a: made.append(a) or [])
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [32, 6])
        sess = tf.Session(optimization_level=2)
        executable = sess._executable(tf.tanh(x) * tf.sigmoid(x), {x: np.zeros((32, 6))})
        assert len(made) == 1
        job = background._Job(executable.program, sess, weakref.ref(executable), lambda *a: None, None, 1)
        background._do(job)
        assert len(made) == 2
        sess.close()
        background._do(job)
        assert len(made) == 2
