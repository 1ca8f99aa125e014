"""`DebugMode`: the optimised program beside the one that was written, and the pass to blame for a difference."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.compile import pipeline
from graphflow.program import Instruction, Program


def wrong(monkeypatch: pytest.MonkeyPatch, name: str, spoil: Callable[[Program], Program]) -> None:
    """Let a pass of the compiler do something wrong after its work."""

    def run(right: Any) -> Any:
        return lambda program, facts: spoil(right(program, facts))

    table = tuple(row._replace(run=run(row.run)) if row.name == name else row for row in pipeline.TABLE)
    monkeypatch.setattr(pipeline, "TABLE", table)


def each(change: Callable[[Instruction], Instruction]) -> Callable[[Program], Program]:
    """A pass that changes single instructions."""
    return lambda program: replace(program, instructions=tuple(map(change, program.instructions)))


def sub_for_add(ins: Instruction) -> Instruction:
    return ins._replace(type="Sub") if ins.type == "Add" and ins.op.name == "planted" else ins


def test_what_is_right_runs_as_in_any_session() -> None:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.get_variable("w", [3, 4], initializer=tf.random_normal_initializer(seed=3))
    noise = tf.random_normal([4])
    loss = tf.reduce_mean(tf.square(tf.nn.relu(tf.matmul(x, w)) + noise * 0.0))
    turns = tf.while_loop(lambda i, s: i < 4, lambda i, s: [i + 1, s * 1.5 + loss], [0, 1.0])[1]
    train = tf.train.AdamOptimizer(0.1).minimize(loss)
    fetches = {"loss": loss, "turns": turns, "train": train, "noise": noise}
    feed = {x: np.arange(6.0).reshape(2, 3)}
    with tf.debug.DebugMode() as doubting, tf.Session() as plain:
        for sess in (doubting, plain):
            sess.run(tf.global_variables_initializer())
            call = sess.make_callable([loss], [x])
            for _ in range(3):
                found = sess.run(fetches, feed)
            assert np.std(found["noise"]) > 0.0
            assert call(feed[x])[0] == sess.run(loss, feed)
        a, b = ([s.run([loss, turns, w], feed)] for s in (doubting, plain))
    for left, right in zip(a[0], b[0], strict=True):
        assert left.tobytes() == right.tobytes()


def test_assignments_happen_once() -> None:
    v = tf.Variable(0.0)
    up = v.assign_add(1.0)
    with tf.debug.DebugMode() as sess:
        sess.run(tf.global_variables_initializer())
        assert [sess.run(up) for _ in range(3)] == [1.0, 2.0, 3.0]
        v.load(10.0, sess)
        assert sess.run(up) == 11.0


@pytest.mark.parametrize("guilty", ["simplify", "merge_common", "fuse"])
def test_a_wrong_rewrite_is_found_in_one_call(guilty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(monkeypatch, guilty, each(sub_for_add))
    x = tf.placeholder(tf.float32, [None], name="x")
    for i in range(250):
        x = tf.multiply(x, 1.5 if i % 2 else 0.5, name=f"before{i}")
    planted = tf.add(x, tf.tanh(x), name="planted")
    result = tf.reduce_sum(tf.exp(planted) * 2.0)
    with tf.debug.DebugMode() as sess, pytest.raises(tf.debug.RewriteError) as met:
        sess.run(result, {"x:0": np.float32([1.0, 2.0])})
    error = met.value
    assert error.pass_name == guilty and f"the pass {guilty!r} is wrong" in str(error)
    assert error.op_name == "planted" and "test_debug_mode.py" in error.source
    assert "2 of 2 differ, the first at [0]" in str(error)


def test_the_variables_are_as_they_were_before_a_run_that_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(monkeypatch, "simplify", each(sub_for_add))
    v = tf.Variable(1.0, name="v")
    new = v.assign(tf.add(v, 5.0, name="planted"))
    with tf.debug.DebugMode() as sess:
        sess.run(tf.global_variables_initializer())
        with pytest.raises(tf.debug.RewriteError, match="'planted'"):
            sess.run(new)
        assert sess.run(v) == 1.0


def test_a_write_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(program: Program) -> Program:
        return replace(program, instructions=tuple(ins for ins in program.instructions if ins.type != "Assign"))

    v = tf.Variable(1.0, name="v")
    new = tf.group(v.assign(v * 3.0))
    with tf.debug.DebugMode() as sess:
        sess.run(tf.global_variables_initializer())
        wrong(monkeypatch, "remove_dead", forget)
        sess.options = pipeline.Options(1)
        with pytest.raises(tf.debug.RewriteError, match="the variable 'v' has another value") as met:
            sess.run(new)
        assert met.value.pass_name == "remove_dead"


def test_in_a_loop_the_turn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(monkeypatch, "simplify", each(lambda i: i._replace(type="Sub") if i.op.name.endswith("planted") else i))

    def body(i: Any, s: Any) -> Any:
        return i + 1, tf.add(s, tf.cast(i, tf.float32), name="planted")

    result = tf.while_loop(lambda i, s: i < 3, body, [0, 1.0], name="loop")[1]
    with tf.debug.DebugMode() as sess, pytest.raises(tf.debug.RewriteError, match="in turn 1 of 'loop/While'") as met:
        sess.run(result)
    assert met.value.op_name == "loop/body/planted"


def test_an_error_that_only_one_program_has_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tf.placeholder(tf.float32, [])
    checked = tf.check_numerics(x, "fed", name="checked")
    with tf.debug.DebugMode() as sess:
        with pytest.raises(tf.errors.InvalidArgumentError, match="fed"):
            sess.run(checked, {x: np.nan})  # both have it

        def skip(ins: Instruction) -> Instruction:
            return ins._replace(type="Identity", attrs={}) if ins.type == "CheckNumerics" else ins

        wrong(monkeypatch, "simplify", each(skip))
        sess.options = pipeline.Options(1)
        with pytest.raises(tf.debug.RewriteError, match="'simplify' is wrong") as met:
            sess.run([checked], {x: np.nan})
        assert met.value.pass_name == "simplify"


def test_a_kernel_that_writes_into_a_feed_is_caught() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    fed = np.float32([1.0, 2.0])

    def spoil(base: Any) -> Any:
        fed[0] = 7.0  # as native code might: past the flag that makes a feed read-only
        return base

    y = tf.py_func(spoil, [x], tf.float32)
    with (
        tf.debug.DebugMode() as sess,
        pytest.raises(tf.debug.RewriteError, match="written into what was fed for 'x:0'"),
    ):
        sess.run(y, {x: fed})


def test_a_level_that_may_round_is_compared_with_a_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tf.placeholder(tf.float32, [100])
    result = tf.reduce_sum(tf.exp(x) * 3.0 + tf.sin(x))
    feed = {x: np.linspace(0.0, 1.0, 100)}
    with tf.debug.DebugMode(optimization_level=2) as sess:
        assert sess.run(result, feed) > 0.0
    wrong(monkeypatch, "remove_dead", each(lambda i: i._replace(type="Cos") if i.type == "Sin" else i))
    with tf.debug.DebugMode(optimization_level=2) as sess, pytest.raises(tf.debug.RewriteError) as met:
        sess.run(result, feed)
    assert met.value.pass_name == "remove_dead"
    with tf.debug.DebugMode(optimization_level=2, tolerance=1e9) as sess:
        sess.run(result, feed)


def test_what_is_freed_is_poisoned() -> None:
    x = tf.placeholder(tf.float32, [1000])
    y = tf.tanh(tf.reverse(tf.exp(tf.reverse(tf.sin(x), [0])), [0]))
    with tf.debug.DebugMode() as sess:
        memory = sess.program(y, {x: np.zeros(1000)}).memory
        assert memory is not None and memory.freed
        assert sess.run(y, {x: np.zeros(1000)})[0] == np.tanh(np.float32(1.0))


def test_what_it_does_not_do_it_says() -> None:
    v = tf.Variable(1.0)
    with tf.debug.DebugMode() as sess:
        sess.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.UnimplementedError):
            sess.run(v, device_arrays=True)
        with pytest.raises(tf.errors.FetchError):
            sess.run(None)


def test_opencl_is_compared_as_well() -> None:
    pytest.importorskip("pyopencl")
    x = tf.placeholder(tf.float32, [8])
    w = tf.Variable(np.ones(8, np.float32))
    loss = tf.reduce_sum(tf.exp(x * w))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    with tf.debug.DebugMode(device="opencl") as sess:
        sess.run(tf.global_variables_initializer())
        first = sess.run([loss, train], {x: np.linspace(0.0, 1.0, 8)})[0]
        assert sess.run(loss, {x: np.linspace(0.0, 1.0, 8)}) < first


def test_nobody_else_looks_on(tmp_path: Path) -> None:
    with tf.debug.DebugMode() as sess:
        for block in (lambda: sess.trace(tmp_path / "run.json"), sess.checking_numerics):
            with pytest.raises(tf.errors.UnimplementedError, match="looks on at its runs itself"), block():
                pass
    assert not (tmp_path / "run.json").exists()


def test_a_branch_that_is_not_taken_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyopencl")
    from graphflow_opencl import memory

    numbers = itertools.count(1)

    def rubbish(nbytes: int) -> Any:  # other rubbish in each piece, as memory may have it
        found = right(nbytes)
        found[...] = 66 + next(numbers) % 16  # as float32 from 48 to 1e10
        return found

    right = memory.aligned
    monkeypatch.setattr(memory, "aligned", rubbish)
    x = tf.placeholder(tf.float32, [3])
    w = tf.Variable([1.0, 2.0, 3.0])
    loss = tf.reduce_sum(tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.exp(x * w), lambda: tf.sin(x - w)))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    with tf.debug.DebugMode(device="opencl") as doubting, tf.Session() as plain:
        for sess in (doubting, plain):
            sess.run(tf.global_variables_initializer())
        for sign in (1.0, -1.0, 1.0):
            found, wanted = (s.run([loss, train], {x: np.full(3, 0.1 * sign)})[0] for s in (doubting, plain))
            assert np.isclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("tolerance", ["x", -1, float("nan"), True])
def test_a_tolerance_is_a_number_from_zero_on(tolerance: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="tolerance"):
        tf.debug.DebugMode(tolerance=tolerance)


def test_a_function_that_answers_differently_is_no_fault_of_the_compiler() -> None:
    answers = iter(range(100))
    x = tf.placeholder(tf.float32, [])
    y = tf.py_func(lambda v: np.float32(v + next(answers)), [x], tf.float32, name="counts")
    with (
        tf.debug.DebugMode() as sess,
        pytest.raises(tf.errors.FailedPreconditionError, match=r"'counts'.*something else") as met,
    ):
        sess.run(y + 1.0, {x: 1.0})
    assert "py_func" in (met.value.hint or "") and not isinstance(met.value, tf.debug.RewriteError)
