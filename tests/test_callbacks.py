"""`tensor.on_value`: functions that see a tensor's value whenever it is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as tf

LEVELS = (0, 1, 2)


@pytest.mark.parametrize("level", LEVELS)
def test_it_sees_each_run_and_changes_nothing(level: int) -> None:
    x = tf.placeholder(tf.float32, [None], name="x")
    y = tf.exp(x, name="y")
    z = y * 2.0 + 1.0
    with tf.Session(optimization_level=level) as sess:
        before = sess.run(z, {x: [0.0, 1.0]})
        seen: list[Any] = []
        y.on_value(seen.append)
        after = sess.run(z, {x: [0.0, 1.0]})
        assert after.tobytes() == before.tobytes()
        assert [v.tolist() for v in seen] == [np.exp(np.float32([0, 1])).tolist()]
        seen[0][:] = 7.0  # it is the callback's own
        assert sess.run(z, {x: [0.0, 1.0]}).tobytes() == before.tobytes()
        assert len(seen) == 2


def test_it_makes_nothing_be_computed() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    seen: list[Any] = []
    (x * 2.0).on_value(seen.append)
    with tf.Session() as sess:
        assert sess.run(tf.constant(3.0)) == 3.0
        assert sess.run(x + 1.0, {x: 1.0}) == 2.0
    assert seen == []


def test_feeds_and_constants_are_values_too() -> None:
    x = tf.placeholder(tf.float32, [])
    y = x * 2.0
    c = tf.constant(4.0)
    seen: list[tuple[str, float]] = []
    for tensor, name in ((x, "x"), (y, "y"), (c, "c")):
        tensor.on_value(lambda v, name=name: seen.append((name, float(v))))
    with tf.Session() as sess:
        sess.run(y + c, {x: 1.0})
        assert seen == [("x", 1.0), ("c", 4.0), ("y", 2.0)]
        seen.clear()
        sess.run(y + 1.0, {y: 9.0})
        assert seen == [("y", 9.0)]


@pytest.mark.parametrize("level", LEVELS)
def test_loops_branches_gradients_and_variables(level: int) -> None:
    seen: dict[str, list[float]] = {"turn": [], "argument": [], "branch": [], "slope": [], "read": []}

    def note(name: str) -> Any:
        return lambda v: seen[name].append(float(v))

    def body(i: Any, a: Any) -> Any:
        doubled = a * 2.0
        doubled.on_value(note("turn"))
        a.on_value(note("argument"))
        return i + 1, doubled

    def taken() -> Any:
        out = w.value() + 1.0
        out.on_value(note("branch"))
        return out

    w = tf.Variable(3.0)
    w.on_value(note("read"))
    start = tf.placeholder(tf.float32, [])
    looped = tf.while_loop(lambda i, a: i < 3, body, [0, start])[1]
    chosen = tf.cond(start > 0.0, taken, lambda: tf.constant(0.0))
    slope = tf.gradients(looped, start)[0]
    slope.on_value(note("slope"))
    with tf.Session(optimization_level=level) as sess:
        sess.run(tf.global_variables_initializer())
        assert sess.run([looped, slope, chosen, w + 0.0], {start: 1.0}) == [8.0, 8.0, 4.0, 3.0]
    assert seen == {
        "turn": [2.0, 4.0, 8.0], "argument": [1.0, 2.0, 4.0], "branch": [4.0], "slope": [8.0], "read": [3.0],
    }  # fmt: skip


def test_a_removed_callback_is_called_no_more() -> None:
    x = tf.placeholder(tf.float32, [])
    y = x + 1.0
    first: list[float] = []
    second: list[float] = []
    handle = y.on_value(first.append)
    with tf.Session() as sess:
        call = sess.make_callable(y, [x])
        with y.on_value(second.append):
            call(1.0)
        handle.remove()
        handle.remove()
        assert call(2.0) == 3.0
    assert (first, second) == ([2.0], [2.0])


def test_as_a_decorator_the_function_keeps_its_name() -> None:
    y = tf.placeholder_with_default(2.0, [])
    seen: list[float] = []

    @y.on_value
    def look(value: Any) -> None:
        seen.append(float(value))

    with tf.Session() as sess:
        sess.run(y)
    look(5.0)
    assert seen == [2.0, 5.0]


def test_an_error_in_it_ends_the_run_and_names_the_line() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    y = tf.identity(x, name="y")

    @y.on_value
    def refuse(value: Any) -> None:
        raise ValueError("not today")

    with tf.Session() as sess:
        with pytest.raises(tf.errors.InvalidArgumentError, match="ValueError in the callback of y:0: not today") as met:
            sess.run(y, {x: 1.0})
        assert met.value.op_name == "y/on_value" and "test_callbacks.py" in met.value.source
        assert isinstance(met.value.__cause__, ValueError)
        refuse.remove()
        assert sess.run(y, {x: 1.0}) == 1.0


def test_a_finalized_graph_takes_callbacks_and_an_export_has_none() -> None:
    y = tf.constant(1.0) + 1.0
    graph = tf.get_default_graph()
    count = len(graph.get_operations())
    graph.finalize()
    seen: list[float] = []
    y.on_value(seen.append)
    with tf.Session() as sess:
        sess.run(y)
    assert seen == [2.0]
    assert len(graph.get_operations()) == len(graph.as_graph_def().node) == count


def test_what_cannot_be_called_or_looked_at_is_refused() -> None:
    v = tf.Variable(1.0)
    with pytest.raises(tf.errors.DTypeError, match="takes a function"):
        v.on_value(3)  # type: ignore[arg-type]
    with pytest.raises(tf.errors.DTypeError, match="handle"):
        v.handle.on_value(print)


def test_opencl_calls_it_as_well() -> None:
    pytest.importorskip("pyopencl")
    x = tf.placeholder(tf.float32, [3])
    y = tf.exp(x)
    seen: list[Any] = []
    y.on_value(seen.append)
    with tf.Session(device="opencl") as sess:
        out = sess.run(y * 2.0, {x: [0.0, 1.0, 2.0]})
    assert isinstance(seen[0], np.ndarray) and np.allclose(out, seen[0] * 2.0)


@pytest.mark.parametrize("device", ["cpu", "opencl"])
def test_a_body_that_is_built_already_takes_callbacks(device: str) -> None:
    if device == "opencl":
        pytest.importorskip("pyopencl")
    made: list[Any] = []

    def body(i: Any, s: Any) -> Any:
        made.append(s * 2.0)
        return [i + 1, made[-1]]

    result = tf.while_loop(lambda i, s: i < 3, body, [0, 1.0])[1]
    seen: list[float] = []
    with tf.Session(device=device) as sess:
        sess.run(result)
        with made[0].on_value(lambda value: seen.append(float(value))):
            assert sess.run(result) == 8.0
        assert sess.run(result) == 8.0
    assert seen == [2.0, 4.0, 8.0]
