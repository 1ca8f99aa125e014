"""`session.profile` and `session.observe`: where the time of a run goes, and what its tensors hold."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.program import Instruction, Program
from graphflow.runtime.profile import profile_of
from graphflow.runtime.tracing import Happening, Made, RunRecord
from graphflow.spec import TensorSpec


def small() -> tuple[Any, dict[Any, Any]]:
    x = tf.placeholder(tf.float32, [64, 300], name="x")
    w = tf.Variable(np.full((300, 200), 0.01, np.float32), name="w")
    product = tf.matmul(x, w, name="product")
    return tf.reduce_sum(tf.nn.relu(product, name="hidden"), name="sum"), {x: np.ones((64, 300))}


def profiled(runs: int = 4, **options: Any) -> Any:
    fetches, feeds = small()
    with tf.Session(**options) as session:
        session.run(tf.global_variables_initializer())
        return session.profile(fetches, feeds, runs=runs)


# -- the numbers, from a record whose times are known -----------------------------------------------------------------


def record(*spans: tuple[str, str, int | str, float, float], wall: tuple[float, float] = (0.0, 1.0)) -> RunRecord:
    """A run of ops (name, type, lane, begin, end), each making one float32[10] out of the one before it."""
    graph = tf.Graph()
    with graph.as_default():
        ops = {name: tf.placeholder(tf.float32, [10], name=name).op for name, *_ in spans}
    known = TensorSpec(tf.float32, (10,), None)
    instructions = tuple(
        Instruction(i, kind, (i,), (i + 1,), {}, (), ops[name]) for i, (name, kind, *_) in enumerate(spans)
    )
    program = Program(instructions, (known,) * (len(spans) + 1), {}, (0,), (len(spans),))
    done = [
        Happening(program, (ins,), lane, begin, end, [Made(ins.outputs[0], (10,), 40)])
        for ins, (_, _, lane, begin, end) in zip(instructions, spans, strict=True)
    ]
    return RunRecord(0, program, 1, *wall, done)


def test_times_are_means_over_the_runs_and_shares_of_all_steps() -> None:
    first = record(("a", "Exp", 1, 0.1, 0.4), ("b", "Add", 1, 0.4, 0.5))
    second = record(("a", "Exp", 1, 0.1, 0.2), ("b", "Add", 1, 0.5, 0.8), wall=(0.0, 2.0))
    profile = profile_of([first, second])
    assert profile.runs == 2 and profile.wall == 1.5 and profile.shortest == 1.0
    assert profile.busy == pytest.approx(0.4) == profile.total and profile.overhead == pytest.approx(1.1)
    assert profile.seconds == pytest.approx({"a": 0.2, "b": 0.2})
    assert [(row.name, row.calls, row.bytes, row.flops) for row in profile.by("op", "name")] == [
        ("a", 1, 80, 10.0), ("b", 1, 80, 10.0)
    ]  # fmt: skip
    assert sum(row.share for row in profile.rows) == pytest.approx(1.0)


def test_what_is_inside_another_step_counts_once() -> None:
    profile = profile_of(
        [record(("loop", "While", 1, 0.1, 0.9), ("in", "Exp", 1, 0.2, 0.5), ("out", "Exp", 1, 0.9, 1))]
    )
    assert profile.seconds == pytest.approx({"loop": 0.5, "in": 0.3, "out": 0.1})
    assert profile.total == pytest.approx(0.9) == profile.busy
    assert [row.name for row in profile.by("type")] == ["While", "Exp"]


def test_steps_side_by_side_are_more_than_the_time_they_take() -> None:
    profile = profile_of([record(("a", "Exp", 1, 0.0, 0.5), ("b", "Exp", "queue 0", 0.25, 0.75))])
    assert profile.total == pytest.approx(1.0) and profile.busy == pytest.approx(0.75)
    assert "1.33 at once" in str(profile)


def test_ops_of_one_step_share_its_time_where_single_ops_are_asked_for() -> None:
    one = record(("a", "Exp", 1, 0.0, 0.5), ("b", "Tanh", 1, 0.5, 1.0))
    a, b = one.happenings
    both = a._replace(instructions=(*a.instructions, *b.instructions), made=b.made, ended=1.0)
    profile = profile_of([one._replace(happenings=[both])])
    assert [(row.name, row.type) for row in profile.rows] == [("a, b", "Exp+Tanh")]
    assert profile.seconds == pytest.approx({"a": 0.5, "b": 0.5})
    assert profile.rows[0].bytes == 80, "what one makes and the other reads is not moved"
    assert {row.name: row.share for row in profile.by("type")} == pytest.approx({"Exp": 0.5, "Tanh": 0.5})
    assert "share their time evenly" in str(profile)


# -- of real runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "opencl"])
def test_a_profile_has_every_op_and_the_users_lines(device: str) -> None:
    if device == "opencl":
        pytest.importorskip("pyopencl")
    profile = profiled(device=device)
    assert {"product", "hidden", "sum"} <= profile.seconds.keys()
    assert all(seconds >= 0 for seconds in profile.seconds.values())
    assert sum(profile.seconds.values()) == pytest.approx(profile.total)
    assert 0 < profile.busy <= profile.wall and profile.shortest <= profile.wall
    types = {row.name: row for row in profile.by("type")}
    assert types["MatMul"].flops == 2 * 64 * 300 * 200 and types["MatMul"].calls == 1
    assert all("test_profile.py:" in row.name for row in profile.by("line"))
    assert any("product" in row.name and row.bytes >= 4 * 300 * 200 for row in profile.rows)


def test_it_prints_three_tables_and_says_what_is_left_out() -> None:
    x = tf.placeholder(tf.float32, [4])
    y = x
    for i in range(30):
        y = tf.tanh(y, name=f"t{i}")
    with tf.Session(optimization_level=0) as session:
        profile = session.profile(y, {x: np.zeros(4)}, runs=2)
    text = str(profile)
    assert "by op" in text and "by type" in text and "by line" in text and "and 10 more" in text
    assert "between and around them" in text and max(map(len, text.splitlines())) < 240
    assert len(profile.table("op", limit=None).splitlines()) == 32 and "more" not in profile.table("op", limit=None)
    assert " t0 " in profile.table("op", sort="name", limit=1).splitlines()[2]
    assert repr(profile).startswith("<Profile of 2 runs of ")


def test_sorting_and_json() -> None:
    profile = profiled(2, optimization_level=0)
    seconds = [row.seconds for row in profile.by("op")]
    assert seconds == sorted(seconds, reverse=True)
    assert profile.by("op", "flops")[0].name == "product" == profile.by("op", "bytes")[0].name
    data = json.loads(profile.to_json())
    assert data["runs"] == 2 and {row["name"] for row in data["by_op"]} == {row.name for row in profile.rows}
    assert data["seconds"].keys() == profile.seconds.keys() and data["overhead"] == pytest.approx(profile.overhead)


def test_a_training_step_is_done_as_often_as_it_says() -> None:
    counter = tf.Variable(0.0)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        profile = session.profile(tf.assign_add(counter, 1.0), runs=3)
        assert session.run(counter) == 2 * (3 + 1) and profile.rows[0].calls == 1


def test_the_looking_on_is_not_taken_for_the_runs_time() -> None:
    one = record(("a", "Exp", 1, 0.1, 0.4))
    profile = profile_of([one, one], [0.25, 0.75])
    assert (profile.unwatched, profile.wall) == (0.5, 1.0)
    assert str(profile).startswith("profile of 2 runs: unwatched 500.00 ms each; watched 1.00 s each, the shortest 1.")
    assert "watched: 300.00 ms (30%) in ops, 700.00 ms between and around them" in str(profile)
    assert json.loads(profile.to_json())["unwatched"] == 0.5
    assert "unwatched" not in str(profile_of([one]))


def test_watched_and_unwatched_runs_take_turns(tmp_path: Path) -> None:
    order: list[Any] = []
    x = tf.placeholder(tf.float32, [])
    y = tf.py_func(lambda value: order.append(value) or value, [x], tf.float32)
    with tf.Session() as session:
        profile = session.profile(y, {x: 1.0}, runs=3)
        assert len(order) == 2 * (3 + 1) and profile.runs == 3
        assert profile.unwatched is not None
        with session.trace(tmp_path / "run.json"):  # here no run is unwatched
            assert session.profile(y, {x: 1.0}, runs=1).unwatched is None


def test_a_loop_counts_its_turns() -> None:
    _, y = tf.while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, tf.tanh(v, name="body")), [0, tf.ones([4])])
    with tf.Session() as session:
        profile = session.profile(y, runs=2)
    assert {row.name: row.calls for row in profile.by("type")}["Tanh"] == 5


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda p: p.by("colour"), "op, type, line"),
        (lambda p: p.by("op", "size"), "seconds, calls"),
        (lambda p: p.table("scope"), "no such table"),
    ],
)
def test_an_unknown_table_is_refused(ask: Any, words: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        ask(profile_of([record(("a", "Exp", 1, 0.0, 1.0))]))


@pytest.mark.parametrize("runs", [0, -1, 2.5, "ten", True, None])
def test_a_number_of_runs_is_asked_for(runs: Any) -> None:
    with tf.Session() as session, pytest.raises(tf.errors.InvalidArgumentError, match="number of runs"):
        session.profile(tf.constant(1.0), runs=runs)


def test_what_needs_no_run_has_an_empty_profile() -> None:
    with tf.Session() as session:
        profile = session.profile(tf.constant(1.0), runs=2)
    assert profile.rows == () and profile.seconds == {} and "by op" in str(profile)


# -- observations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "opencl"])
def test_an_observation_has_values_summaries_and_seconds(device: str) -> None:
    if device == "opencl":
        pytest.importorskip("pyopencl")
    x = tf.placeholder(tf.float32, [3], name="x")
    square = tf.square(x, name="square")
    large = tf.tile(square, [1000], name="large")
    y = tf.reduce_sum(large, name="y")
    with tf.Session(device=device) as session:
        seen = session.observe(y, {x: [1.0, 2.0, 3.0]})
        assert seen.results == session.run(y, {x: [1.0, 2.0, 3.0]})
    assert seen.values["square:0"].tolist() == [1.0, 4.0, 9.0] and seen.values["x:0"].tolist() == [1.0, 2.0, 3.0]
    assert "large:0" not in seen.values and seen.values["y:0"] == seen.results
    summary = seen.summaries["large:0"]
    assert summary.shape == (3000,) and (summary.least, summary.greatest) == (1.0, 9.0)
    assert summary.mean == pytest.approx(14 / 3) and summary.nans == summary.infinities == 0
    assert {"square", "large", "y"} <= seen.seconds.keys() and min(seen.seconds.values()) >= 0
    assert "tensors" in repr(seen)


def test_an_observation_sees_what_is_not_finite() -> None:
    x = tf.placeholder(tf.float32, [4], name="x")
    with tf.Session() as session:
        seen = session.observe([tf.log(x, name="log"), tf.cast(x, tf.int32, name="whole")], {x: [0.0, -1.0, 1.0, np.e]})
        empty = session.observe(tf.boolean_mask(x, x > 9.0, name="none"), {x: [0.0, 1.0, 2.0, 3.0]})
    summary = seen.summaries["log:0"]
    assert (summary.nans, summary.infinities, summary.least) == (1, 1, 0.0)
    assert seen.summaries["whole:0"].dtype == "int32" and seen.summaries["whole:0"].mean == pytest.approx(0.5)
    assert any(s.shape == (0,) and s.mean is None for s in empty.summaries.values())


def test_an_observation_is_a_copy_and_knows_nothing_of_the_one_before() -> None:
    v = tf.Variable(1.0, name="v")
    up = tf.assign_add(v, 1.0, name="up")
    x = tf.placeholder(tf.float32, [2], name="x")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first, second = session.observe(up), session.observe(up)
        third = session.observe(tf.exp(x, name="e"), {x: [0.0, 0.0]}, small=4)
    assert first.values["up:0"] == 2.0 and second.values["up:0"] == 3.0
    assert "up:0" not in third.summaries and third.values == {} and "e:0" in third.summaries


def test_at_level_0_every_op_is_seen_and_at_the_sessions_own_what_is_left() -> None:
    x = tf.placeholder(tf.float32, [4], name="x")
    y = tf.add(x * 1.0, tf.constant(2.0) * tf.constant(3.0), name="y")
    with tf.Session() as session:
        whole, left = session.observe(y, {x: np.ones(4)}), session.observe(y, {x: np.ones(4)}, level=None)
    assert {"mul", "mul_1", "y"} <= whole.seconds.keys() and left.seconds.keys() == {"y"}
    assert np.array_equal(whole.results, left.results)


def test_observations_side_by_side_do_not_mix() -> None:
    meeting = threading.Barrier(2, timeout=60.0)
    x = tf.placeholder(tf.float32, [], name="x")

    def wait(value: Any) -> Any:
        meeting.wait()
        return value

    y = tf.add(tf.py_func(wait, [x], tf.float32), 1.0, name="y")
    found: list[Any] = []
    with tf.Session() as session:
        other = threading.Thread(target=lambda: found.append(session.observe(y, {x: 5.0})))
        other.start()
        mine = session.observe(y, {x: 1.0})
        other.join()
    assert mine.values["y:0"] == 2.0 and found[0].values["y:0"] == 6.0
