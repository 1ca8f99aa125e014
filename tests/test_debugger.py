"""`session.debug()`: breakpoints, steps, values read and changed while a run is stopped; `check_numerics`."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.runtime.watching.stepping import Stop


def here(offset: int = 0) -> int:
    """The line of the caller."""
    import inspect

    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno + offset


class Net:
    """x -> layer1 (h, a) -> loss, with a variable, a loop and a branch."""

    def __init__(self) -> None:
        self.x = tf.placeholder(tf.float32, [None], name="x")
        self.w = tf.Variable([1.0, 2.0], name="w")
        with tf.name_scope("layer1"):
            self.h = tf.multiply(self.x, self.w, name="h")
            self.a = tf.tanh(self.h, name="a")
        self.line = here(-1)
        self.loss = tf.reduce_sum(self.a, name="loss")
        self.feed = {self.x: [1.0, 2.0]}


def looped(start: Any, turns: int = 3) -> Any:
    def body(i: Any, s: Any) -> Any:
        return i + 1, tf.multiply(s, 2.0, name="doubled")

    return tf.while_loop(lambda i, s: i < turns, body, [0, start], name="loop")[1]


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def sess(net: Net) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        yield session


def stops(dbg: Any, found: Any, limit: int = 100) -> list[str]:
    """The ops at which the run stops from here on."""
    names = []
    while isinstance(found, Stop):
        names.append(found.op.name)
        found = dbg.continue_()
        assert len(names) < limit
    return names


# -- breakpoints -----------------------------------------------------------------------------------------------------


def test_a_stop_has_the_op_what_it_read_and_what_it_made(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        dbg.break_at(net.h)
        stop = dbg.run(net.loss, net.feed)
        assert stop.op is net.h.op and stop is dbg.stop
        assert {k: v.tolist() for k, v in stop.inputs.items()} == {"x:0": [1.0, 2.0], "w/read:0": [1.0, 2.0]}
        assert stop.values["layer1/h:0"].tolist() == [1.0, 4.0]
        assert "breakpoint 1: layer1/h" in str(stop)
        assert dbg.continue_() == sess.run(net.loss, net.feed)
        assert dbg.stop is None and [s.op.name for s in dbg.history] == ["layer1/h"]


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("layer1/a:0", ["layer1/a"]),
        ("loss", ["loss"]),
        ("layer1/*", ["layer1/h", "layer1/a"]),
        ("layer1/", ["layer1/h", "layer1/a"]),
        ("*a", ["layer1/a"]),
        ("w", ["w/read"]),
    ],
)
def test_names_and_scopes(net: Net, sess: Any, what: str, names: list[str]) -> None:
    with sess.debug() as dbg:
        dbg.break_at(net.w if what == "w" else what)
        assert stops(dbg, dbg.run(net.loss, net.feed)) == names


def test_a_line_of_the_file(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        dbg.break_at(f"test_debugger.py:{net.line}")
        assert stops(dbg, dbg.run(net.loss, net.feed)) == ["layer1/a"]
        dbg.clear()
        dbg.break_at(f"tests/test_debugger.py:{net.line - 1}")
        assert stops(dbg, dbg.run(net.loss, net.feed)) == ["layer1/h"]


def test_a_condition_on_values(net: Net, sess: Any) -> None:
    def is_large(value: Any) -> bool:
        return bool(np.max(value) > 3.0)

    with sess.debug() as dbg:
        dbg.break_at(condition=is_large)
        assert stops(dbg, dbg.run(net.loss, net.feed)) == ["layer1/h"]
        dbg.clear()
        dbg.break_at(net.a, condition=is_large)
        assert stops(dbg, dbg.run(net.loss, net.feed)) == []
        dbg.break_at("layer1/*", condition=lambda v: v.nothing)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"condition of breakpoint 2 failed for 'layer1/h:0'"):
            dbg.run(net.loss, net.feed)
    assert sess.run(net.loss, net.feed)


@pytest.mark.parametrize(
    ("what", "error", "match"),
    [
        ("layer1/hh", tf.errors.NotFoundError, "did you mean 'layer1/h'"),
        ("layer7/*", tf.errors.NotFoundError, "layer1/"),
        ("test_debugger.py:1", tf.errors.NotFoundError, "nearest lines"),
        ("x:0", tf.errors.InvalidArgumentError, "not computed"),
        (None, tf.errors.InvalidArgumentError, "place or a condition"),
        (7, tf.errors.InvalidArgumentError, "not an element"),
    ],
)
def test_what_cannot_be_a_breakpoint(net: Net, sess: Any, what: Any, error: Any, match: str) -> None:
    with sess.debug() as dbg, pytest.raises(error, match=match):
        dbg.break_at(what)


# -- steps -----------------------------------------------------------------------------------------------------------


def test_without_breakpoints_it_stops_at_once_and_steps_in_order(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        found = [dbg.run(net.loss, net.feed)]
        while isinstance(found[-1], Stop):
            found.append(dbg.step())
    assert [s.op.name for s in found[:-1]] == ["w/read", "layer1/h", "layer1/a", "loss"]
    assert found[-1] == sess.run(net.loss, net.feed)


def test_step_goes_into_a_loop_over_passes_it_and_out_leaves_it(net: Net, sess: Any) -> None:
    result = looped(net.loss)
    with sess.debug() as dbg:
        dbg.break_at("loss")
        dbg.run(result, net.feed)
        assert dbg.step().op.name == "loop/cond/Less"
        assert "turn 0 of 'loop/While' (cond)" in str(dbg.stop)
        assert [dbg.step().op.name.rpartition("/")[2] for _ in range(3)] == ["add", "doubled", "Less"]
        assert dbg.stop.turns[0].number == 1
        assert dbg.out().op.name == "loop/While"
        dbg.finish()
        dbg.run(result, net.feed)
        assert dbg.over().op.name == "loop/While"
        assert dbg.over() == sess.run(result, net.feed)


def test_a_breakpoint_in_a_loop_stops_in_each_turn(net: Net, sess: Any) -> None:
    result = looped(tf.constant(1.0))
    with sess.debug() as dbg:
        dbg.break_at("loop/body/doubled")
        turns = []
        found = dbg.run(result)
        while isinstance(found, Stop):
            turns.append((found.turns[-1].number, float(dbg.value("loop/body/doubled"))))
            found = dbg.continue_()
    assert turns == [(0, 2.0), (1, 4.0), (2, 8.0)] and found == 8.0


def test_finish_passes_all_breakpoints(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        dbg.break_at("layer1/*")
        dbg.run([net.loss], net.feed)
        assert dbg.finish() == sess.run([net.loss], net.feed)


# -- values ----------------------------------------------------------------------------------------------------------


def test_any_computed_value_and_any_variable_can_be_read(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        dbg.break_at(net.a)
        dbg.run(net.loss, net.feed)
        assert dbg.value(net.x).tolist() == dbg.value("x:0").tolist() == [1.0, 2.0]
        assert dbg.value("layer1/h").tolist() == [1.0, 4.0]
        assert dbg.value(net.w).tolist() == dbg.value("w").tolist() == dbg.variables()["w"].tolist() == [1.0, 2.0]
        with pytest.raises(tf.errors.FailedPreconditionError, match="'loss:0' has not been computed"):
            dbg.value(net.loss)
        with pytest.raises(tf.errors.NotFoundError):
            dbg.value("nothing")
        dbg.value(net.h)[:] = 9.0  # a copy
        assert dbg.finish() == sess.run(net.loss, net.feed)


@pytest.mark.parametrize("what", ["x", "layer1/h", "layer1/a", "loss"])
def test_a_value_that_is_set_is_what_all_later_ops_read(net: Net, sess: Any, what: str) -> None:
    """Whether it was fed, made just now, made before, or will be made."""
    tensor = tf.get_default_graph().get_tensor_by_name(what + ":0")
    new = np.zeros(() if what == "loss" else 2, np.float32)
    fetches = [net.loss, net.a * 1.0, net.h * 1.0, tensor]
    with sess.debug() as dbg:
        dbg.break_at("w/read") if what == "x" else dbg.break_at("layer1/a")
        dbg.run(fetches, net.feed)
        dbg.set(what + ":0", new)
        loss, a, h, itself = dbg.finish()
    assert itself.tolist() == new.tolist()
    assert loss == (np.tanh([1.0, 4.0]).sum().astype(np.float32) if what == "layer1/h" else 0.0)
    assert np.any(a) == (what in ("layer1/h", "loss"))
    assert np.any(h) == (what in ("layer1/a", "loss"))
    assert np.all(sess.run(net.a, net.feed))  # it was for that run alone


def test_a_value_set_in_a_loop_is_for_this_turn(net: Net, sess: Any) -> None:
    result = looped(tf.constant(1.0))
    with sess.debug() as dbg:
        dbg.break_at("loop/body/doubled")
        dbg.run(result)
        dbg.set("loop/body/doubled:0", 10.0)
        assert dbg.continue_().values["loop/body/doubled:0"] == 20.0
        assert dbg.finish() == 40.0


def test_a_variable_that_is_set_stays_so(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        dbg.break_at("loss")
        dbg.run(net.loss, net.feed)
        dbg.set(net.w, [5.0, 6.0])
        with pytest.raises(tf.errors.InvalidArgumentError, match="variable 'w' cannot take"):
            dbg.set("w", "text")
        with pytest.raises(tf.errors.ShapeError, match="'w'"):
            dbg.set("w", [1.0, 2.0, 3.0])
        dbg.finish()
    assert sess.run(net.w).tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    ("value", "error"),
    [([1.0, 2.0, 3.0], tf.errors.ShapeError), ("text", tf.errors.FeedError), (None, tf.errors.FeedError)],
)
def test_a_value_that_does_not_fit_is_refused(net: Net, sess: Any, value: Any, error: Any) -> None:
    with sess.debug() as dbg:
        dbg.break_at(net.h)
        dbg.run(net.loss, net.feed)
        with pytest.raises(error, match="layer1/h"):
            dbg.set(net.h, value)
        assert dbg.finish() == sess.run(net.loss, net.feed)


def test_where_tells_the_line_and_the_neighbours(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        assert dbg.where() == "no run is stopped"
        dbg.break_at(net.a)
        dbg.run(net.loss, net.feed)
        text = dbg.where()
    for part in (f"test_debugger.py:{net.line}", 'self.a = tf.tanh(self.h, name="a")', "layer1/h:0: float32[2]",
                 "made   layer1/a:0", "goes to    loss (Sum)", "comes from layer1/h (Mul)"):  # fmt: skip
        assert part in text


def test_a_picture_of_where_we_are(net: Net, sess: Any, tmp_path: Path) -> None:
    with sess.debug() as dbg:
        with pytest.raises(tf.errors.FailedPreconditionError):
            dbg.picture(tmp_path / "no.dot")
        dbg.break_at(net.a)
        dbg.run(net.loss, net.feed)
        view = json.loads(Path(dbg.picture(tmp_path / "here.json", hops=1)).read_text(encoding="utf-8"))
    assert [n["name"] for n in view["nodes"] if "we are here" in n["lines"]] == ["layer1/a"]
    assert {"layer1/h", "loss"} <= {n.get("name") for n in view["nodes"]}


# -- ends ------------------------------------------------------------------------------------------------------------


def test_leaving_the_block_while_stopped_ends_the_run_and_lets_all_locks_go(net: Net, sess: Any) -> None:
    train = tf.train.AdamOptimizer(0.1).minimize(net.loss)
    sess.run(tf.global_variables_initializer())
    handle = net.w.handle
    with sess.debug() as dbg:
        dbg.break_at(condition=lambda v: True)
        found = dbg.run(train, net.feed)
        while not (isinstance(found, Stop) and found.op.region is not None and handle in found.op.inputs):
            found = dbg.continue_()
        assert dbg.value(net.w).shape == (2,)  # within the update, whose lock the run holds
    assert not [t for t in threading.enumerate() if t.name == "graphflow debugger"]
    assert dbg.stop is None
    assert sess.run(net.w).shape == (2,)
    sess.run(train, net.feed)


def test_an_error_in_the_block_leaves_the_run_as_well(net: Net, sess: Any) -> None:
    with pytest.raises(ZeroDivisionError), sess.debug() as dbg:
        dbg.run(net.loss, net.feed)
        _ = 1 / 0
    assert sess.run(net.loss, net.feed)


def test_an_op_that_fails_raises_and_can_be_looked_at(net: Net, sess: Any) -> None:
    size = tf.placeholder(tf.int32, [1])
    bad = tf.reshape(net.a, size, name="bad")
    with sess.debug() as dbg:
        dbg.break_at(net.a)
        dbg.run(bad, {**net.feed, size: [3]})
        with pytest.raises(tf.errors.InvalidArgumentError, match="bad"):
            dbg.continue_()
        assert dbg.stop.op is bad.op and dbg.stop.error is not None
        assert dbg.stop.inputs["layer1/a:0"].shape == (2,)
        assert "failed in 'bad'" in dbg.where()
        assert dbg.value(net.h).tolist() == [1.0, 4.0]
        with pytest.raises(tf.errors.FailedPreconditionError, match="no run is stopped"):
            dbg.step()
        dbg.clear()
        assert isinstance(dbg.run(net.loss, net.feed), Stop)


def test_an_interruption_ends_the_run(net: Net, sess: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with sess.debug() as dbg:
        dbg.break_at(net.a)
        dbg.run(looped(net.loss, 10**9), net.feed)

        def interrupted() -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(dbg, "_news", type("News", (), {"get": staticmethod(interrupted), "put": print}))
        with pytest.raises(KeyboardInterrupt):
            dbg.continue_()
        monkeypatch.undo()
        assert dbg.stop is None
    assert sess.run(net.loss, net.feed)


def test_one_run_at_a_time(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        dbg.run(net.loss, net.feed)
        with pytest.raises(tf.errors.FailedPreconditionError, match="a run is stopped after 'w/read'"):
            dbg.run(net.loss, net.feed)
        dbg.cancel()
        dbg.cancel()
        assert isinstance(dbg.run(net.loss, net.feed), Stop)
        with pytest.raises(tf.errors.NotFoundError, match="no breakpoint 5"):
            dbg.clear(5)


def test_other_runs_go_on_while_one_is_stopped_and_assignments_happen_once(net: Net, sess: Any) -> None:
    up = net.w.assign_add([1.0, 1.0])
    with sess.debug() as dbg:
        dbg.break_at(up)
        assert dbg.run(up).values[up.name].tolist() == [2.0, 3.0]
        assert sess.run(net.w).tolist() == [2.0, 3.0]
        dbg.finish()
    assert sess.run(net.w).tolist() == [2.0, 3.0]


def test_a_variable_is_a_place_in_a_loop_as_well_and_a_callback_is_a_step(net: Net, sess: Any, tmp_path: Path) -> None:
    def body(i: Any) -> Any:
        with tf.control_dependencies([net.w.assign_add([1.0, 1.0])]):
            return tf.add(i, 1)

    result = tf.while_loop(lambda i: i < 2, body, [0], name="loop")
    with sess.debug() as dbg:
        dbg.break_at(net.w)
        found = stops(dbg, dbg.run(result))
        assert len([name for name in found if "AssignAdd" in name]) == 2
        dbg.clear()
        with net.a.on_value(lambda v: None):
            dbg.break_at(net.a)
            dbg.run(net.loss, net.feed)
            assert dbg.step().op.name == "layer1/a/on_value"
            assert "layer1/a" in Path(dbg.picture(tmp_path / "here.json")).read_text(encoding="utf-8")
            assert "read   layer1/a:0" in dbg.where()


def test_what_a_debugger_kept_goes_with_it(net: Net, sess: Any) -> None:
    with sess.debug() as dbg:
        dbg.run(net.loss, net.feed)
        assert sess._watched
    assert not sess._watched


# -- check_numerics --------------------------------------------------------------------------------------------------


def chain(x: Any, length: int, name: str) -> Any:
    for i in range(length):
        x = tf.add(x, 0.0, name=f"{name}{i}")
    return x


def test_a_nan_among_five_hundred_ops_is_found_in_one_call() -> None:
    x = tf.placeholder(tf.float32, [None], name="x")
    start = chain(x, 250, "before")
    planted, line = tf.log(start, name="planted"), here()
    result = tf.reduce_sum(chain(planted, 250, "after"))
    with tf.Session() as session:
        assert session.check_numerics(result, {x: [1.0, 1.0]}) == 0.0
        with pytest.raises(tf.errors.NumericsError) as met:
            session.check_numerics(result, {x: [1.0, -1.0]})
    error = met.value
    assert error.op_name == "planted" and error.source.endswith(
        f"test_debugger.py:{line}, in test_a_nan_among_five_hundred_ops_is_found_in_one_call"
    )
    assert "first to make NaN (1 of 2, the first at [1])" in str(error)
    assert "before249:0 is float32[2] = [ 1., -1.]" in str(error)


def test_what_is_large_is_summed_up() -> None:
    x = tf.placeholder(tf.float32, [None])
    with tf.Session() as session, pytest.raises(tf.errors.NumericsError) as met:
        session.check_numerics(tf.sqrt(x), {x: np.arange(-2.0, 98.0)})
    assert "2 of 100 are not finite, the first at [0]: nan; the others from 0 to 9.84886" in str(met.value)
    assert "from -2 to 97, mean 47.5" in str(met.value)


def test_loops_gradients_and_updates_are_checked() -> None:
    w = tf.Variable([1.0, 2.0], name="w")
    loss = tf.reduce_sum(tf.sqrt(w - 1.0))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    too_far = tf.train.GradientDescentOptimizer(3e38).minimize(tf.reduce_sum(w * 100.0))
    turns = tf.while_loop(lambda i, a: i < 5, lambda i, a: [i + 1, tf.log(a)], [0, 3.0], name="loop")[1]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.check_numerics(loss) == 1.0
        with pytest.raises(tf.errors.NumericsError, match="is the first to make Inf") as met:
            session.check_numerics(train)
        assert str(met.value.op_name).startswith("gradients/")
        with pytest.raises(tf.errors.NumericsError, match=r"'loop/body/Log' .* in turn 3 of 'loop/While'"):
            session.check_numerics(turns)
        with pytest.raises(tf.errors.NumericsError, match="GradientDescent"):
            session.check_numerics(too_far)
        with session.checking_numerics():
            assert session.run(loss) == 1.0
            with pytest.raises(tf.errors.NumericsError):
                session.run(turns)
        assert np.isnan(session.run(turns))


def test_what_was_bad_before_is_told_as_such() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    w = tf.Variable([np.nan, 1.0], name="w")
    mask = tf.constant([0.0, -np.inf])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.NumericsError, match=r"'x:0' holds Inf \(1 of 2, the first at \[1\]\) already"):
            session.check_numerics(x + 1.0, {x: [0.0, np.inf]})
        with pytest.raises(tf.errors.NumericsError, match=r"variable 'w' holds NaN .* already"):
            session.check_numerics(w + 1.0)
        with pytest.raises(tf.errors.NumericsError, match="'not_a_number:0' holds NaN already"):
            session.check_numerics(tf.constant(np.nan, name="not_a_number") + x, {x: [0.0, 1.0]})
        # masks are infinite on purpose, and what comes of them may be: but not a NaN
        assert session.check_numerics(tf.nn.softmax(x + mask), {x: [1.0, 2.0]}).tolist() == [1.0, 0.0]
        with pytest.raises(tf.errors.NumericsError, match="is the first to make NaN"):
            session.check_numerics((x + mask) * 0.0, {x: [1.0, 2.0]})
        assert session.check_numerics(tf.log(x), {x: [1.0, 0.0]}, allow_infinity=True).tolist() == [0.0, -np.inf]


def test_one_looks_on_at_a_time(net: Net, sess: Any) -> None:
    with sess.checking_numerics(), pytest.raises(tf.errors.FailedPreconditionError), sess.checking_numerics():
        pass


# -- OpenCL ----------------------------------------------------------------------------------------------------------


def test_opencl_stops_and_checks_as_well(net: Net) -> None:
    pytest.importorskip("pyopencl")
    result = looped(net.loss)
    with tf.Session(device="opencl") as session:
        session.run(tf.global_variables_initializer())
        plain = session.run(result, net.feed)
        with session.debug() as dbg:
            dbg.break_at("layer1/h")
            assert dbg.run([result, net.loss], net.feed).values["layer1/h:0"].tolist() == [1.0, 4.0]
            dbg.set(net.h, [0.0, 0.0])
            assert dbg.step().values["layer1/a:0"].tolist() == [0.0, 0.0]
            dbg.set(net.h, [1.0, 4.0])  # too late for tanh, which has been computed
            dbg.break_at("loop/body/doubled")
            assert dbg.continue_().turns[-1].number == 0
            assert dbg.finish() == [0.0, 0.0]
        assert session.run(result, net.feed) == plain
        with pytest.raises(tf.errors.NumericsError, match="first to make NaN"):
            session.check_numerics(tf.log(net.x), {net.x: [1.0, -1.0]})
