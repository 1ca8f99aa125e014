"""Traces in the trace event format: `timeline.Timeline`, and `session.trace`."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import timeline
from graphflow.runtime.config import StepStats
from tests.test_step_stats import FULL, network, stats_of

PATIENCE = 60.0  # seconds for which a test waits for another thread: only a broken pool makes it wait so long


def checked(document: Any) -> list[dict[str, Any]]:
    """The events of a trace, after they were held against the documented fields of the trace event format."""
    events: list[dict[str, Any]] = document["traceEvents"]
    begun: dict[int, dict[str, Any]] = {}
    last, ended = 0.0, set()
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    open_boxes: dict[tuple[int, int], list[float]] = {}
    for event in events:
        assert event["ph"] in set("XMCsf") and isinstance(event["name"], str)
        assert type(event["pid"]) is int and type(event["tid"]) is int
        assert event["ts"] >= last, "events stand in the order of their times"
        last = event["ts"]
        if event["ph"] == "X":
            assert event["dur"] >= 0 and isinstance(event["args"], dict)
            assert (event["pid"], event["tid"]) in named
            stack = open_boxes.setdefault((event["pid"], event["tid"]), [])
            while stack and stack[-1] <= event["ts"]:
                stack.pop()
            assert not stack or event["ts"] + event["dur"] <= stack[-1] + 0.002, "boxes of a lane are nested"
            stack.append(event["ts"] + event["dur"])
        elif event["ph"] == "C":
            assert event["args"] and all(type(n) is int and n >= 0 for n in event["args"].values())
        elif event["ph"] == "s":
            assert event["id"] not in begun
            begun[event["id"]] = event
        elif event["ph"] == "f":
            tail = begun[event["id"]]
            assert event["bp"] == "e" and event["id"] not in ended and tail["ts"] <= event["ts"]
            assert (tail["cat"], tail["name"]) == (event["cat"], event["name"])
            ended.add(event["id"])
    assert begun.keys() == ended
    return events


def boxes(events: list[dict[str, Any]], category: str) -> list[dict[str, Any]]:
    return [e for e in events if e["ph"] == "X" and e["cat"] == category]


def traced(path: Path) -> list[dict[str, Any]]:
    return checked(json.loads(path.read_text()))


# -- the timeline -----------------------------------------------------------------------------------------------------


def test_the_timeline_is_a_trace() -> None:
    fetches, feeds = network()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        stats, _ = stats_of(session, fetches, feeds)
    plain = checked(json.loads(timeline.Timeline(stats).generate_chrome_trace_format(show_dataflow=False)))
    assert {e["ph"] for e in plain} == {"M", "X"}
    steps = boxes(plain, "Op")
    assert {e["args"]["name"] for e in steps} == {node.node_name for node in stats.dev_stats[0].node_stats}
    product = next(e for e in steps if e["args"]["name"] == "MatMul")
    assert product["name"] == product["args"]["op"] == "MatMul" and product["args"]["input0"] == "x"
    full = checked(json.loads(tf.timeline.Timeline(stats, None).generate_chrome_trace_format(show_memory=True)))
    assert {e["ph"] for e in full} == {"M", "X", "s", "f", "C"}
    live = [e["args"]["live results"] for e in full if e["ph"] == "C"]
    assert max(live) >= 300 * 200 * 4 and live[-1] == 0


def test_a_timeline_of_something_else_is_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="made of step stats"):
        timeline.Timeline(None)
    empty = json.loads(timeline.Timeline(StepStats()).generate_chrome_trace_format())
    assert empty == {"traceEvents": []}


# -- traces of many runs ----------------------------------------------------------------------------------------------


def test_a_trace_has_runs_steps_and_memory(tmp_path: Path) -> None:
    fetches, feeds = network()
    path = tmp_path / "run.json"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(fetches[0], feeds)
        with session.trace(path):
            for _ in range(3):
                loss, _ = session.run(fetches, feeds)
            call = session.make_callable(fetches[0], list(feeds))
            call(*feeds.values())
        program = session.program(fetches, feeds)
    assert loss < before
    events = traced(path)
    runs, steps = boxes(events, "run"), boxes(events, "op")
    numbers = [run["args"]["run"] for run in runs]
    assert len(runs) == 4 and numbers == sorted(set(numbers))
    for run in runs:
        own = [e for e in steps if e["args"]["run"] == run["args"]["run"]]
        assert len(own) == run["args"]["steps"] > 0
        assert all(run["ts"] <= e["ts"] and e["ts"] + e["dur"] <= run["ts"] + run["dur"] + 0.002 for e in own)
    hidden = next(e for e in steps if e["args"]["op"] == "hidden")
    assert hidden["args"]["type"] == "Relu" and hidden["args"]["shapes"] == "float32[64, 200]"
    assert "test_step_stats.py:" in hidden["args"]["source"] and hidden["args"]["device"] == "/device:CPU:0"
    first = [e for e in steps if e["args"]["run"] == numbers[0]]
    assert {n for e in first for n in e["args"]["op"].split(", ")} <= {ins.op.name for ins in program.instructions}
    live = [e["args"]["live results"] for e in events if e["ph"] == "C"]
    assert max(live) >= 300 * 200 * 4 and live[-1] == 0


def test_independent_branches_overlap_and_arrows_join_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphflow_numpy.table import TABLE

    meeting = threading.Barrier(2, timeout=PATIENCE)
    row = TABLE["MatrixInverse"]

    def inverse(x: Any) -> Any:
        meeting.wait()  # for the other branch: none of them ends before both have begun
        return row.function(x)

    monkeypatch.setitem(TABLE, "MatrixInverse", row._replace(function=inverse))
    x = tf.placeholder(tf.float64, [400, 400])
    left, right = tf.matrix_inverse(x, name="left"), tf.matrix_inverse(x + 1.0, name="right")
    both = tf.matmul(left, right, name="both")
    config = tf.ConfigProto(inter_op_parallelism_threads=2, intra_op_parallelism_threads=1)
    with tf.Session(config=config) as session:
        feeds = {x: np.eye(400) * 3}
        assert session.program(both, feeds).schedule.workers == 2
        with session.trace(tmp_path / "run.json"):
            session.run(both, feeds)
        stats, _ = stats_of(session, both, feeds)
    events = traced(tmp_path / "run.json")
    steps = {e["args"]["op"]: e for e in boxes(events, "op")}
    a, b = steps["left"], steps["right"]
    assert a["tid"] != b["tid"] and a["ts"] < b["ts"] + b["dur"] and b["ts"] < a["ts"] + a["dur"]
    lanes = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {lanes[a["tid"]], lanes[b["tid"]]} >= {threading.current_thread().name} and any(
        "worker" in name for name in lanes.values()
    )
    heads = [e for e in events if e["ph"] == "f" and e["tid"] == steps["both"]["tid"]]
    assert any(e["ts"] == steps["both"]["ts"] for e in heads), "one of its inputs came from the other thread"
    threads = {node.node_name: node.thread_id for node in stats.dev_stats[0].node_stats}
    assert threads["left"] != threads["right"] and len(stats.dev_stats[0].thread_names) == 2


def test_runs_side_by_side_keep_their_own_steps(tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)
    x = tf.placeholder(tf.float32, [], name="x")

    def wait(value: Any) -> Any:
        meeting.wait()
        return value

    y = tf.add(tf.py_func(wait, [x], tf.float32), 1.0, name="y")
    found: list[Any] = []
    with tf.Session() as session, session.trace(tmp_path / "run.json"):
        other = threading.Thread(target=lambda: found.append(session.run(y, {x: 5.0})), name="second")
        other.start()
        assert session.run(y, {x: 1.0}) == 2.0
        other.join()
    assert found == [6.0]
    events = traced(tmp_path / "run.json")
    runs = boxes(events, "run")
    assert len(runs) == 2 and runs[0]["tid"] != runs[1]["tid"]
    for run in runs:
        own = [e for e in boxes(events, "op") if e["args"]["run"] == run["args"]["run"]]
        assert [e["args"]["op"] for e in own] == ["PyFunc", "y"] and {e["tid"] for e in own} == {run["tid"]}
    assert {threading.current_thread().name, "second"} <= {
        e["args"]["name"] for e in events if e["name"] == "thread_name"
    }


def test_the_steps_of_a_loop_stand_inside_it(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [3])
    _, y = tf.while_loop(lambda i, v: i < 4, lambda i, v: (i + 1, tf.tanh(v, name="body")), [0, x], name="loop")
    with tf.Session() as session, session.trace(tmp_path / "run.json"):
        session.run(y, {x: [1.0, 2.0, 3.0]})
    steps = boxes(traced(tmp_path / "run.json"), "op")
    (loop,) = [e for e in steps if e["args"]["type"] == "While"]
    inside = [e for e in steps if e["args"]["type"] == "Tanh"]
    assert len(inside) == 4
    assert all(loop["ts"] <= e["ts"] and e["ts"] + e["dur"] <= loop["ts"] + loop["dur"] + 0.002 for e in inside)


def test_a_trace_is_written_when_the_block_ends_by_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("what was there")
    x = tf.placeholder(tf.float32, [2])
    check = tf.Assert(tf.reduce_all(x > 0.0), [x])
    with tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError), session.trace(path):
            session.run(x + 1.0, {x: [1.0, 2.0]})
            assert path.read_text() == "what was there"
            session.run(check, {x: [1.0, -2.0]})
        assert session.run(x + 1.0, {x: [1.0, 2.0]}).tolist() == [2.0, 3.0]
    runs = boxes(traced(path), "run")
    assert ["error" in run["args"] for run in runs] == [False, True]
    assert runs[1]["args"]["error"] == "InvalidArgumentError"
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_trace_ends_with_its_limit_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x = tf.placeholder(tf.float32, [])
    y = tf.exp(tf.tanh(x))
    with tf.Session(optimization_level=0) as session, session.trace(tmp_path / "run.json", limit=3):
        for _ in range(4):
            session.run(y, {x: 1.0})
    document = json.loads((tmp_path / "run.json").read_text())
    events = checked(document)
    assert len(boxes(events, "op")) == 3 and len(boxes(events, "run")) == 4
    assert document["otherData"]["dropped_steps"] == 5 and "5 steps are missing" in caplog.text


def test_runs_with_options_are_in_the_trace_too(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [])
    metadata = tf.RunMetadata()
    with tf.Session() as session, session.trace(tmp_path / "run.json"):
        session.run(tf.exp(x), {x: 1.0}, options=FULL, run_metadata=metadata)
    assert len(boxes(traced(tmp_path / "run.json"), "run")) == 1 and metadata.step_stats.dev_stats


def test_hostile_names_are_text(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    name = "a\\" + "." * 3 + "/-_" + "b" * 200
    with tf.Session() as session, session.trace(tmp_path / "run.json"):
        session.run(tf.add(x, 1.0, name=name), {x: 1.0})
    (step,) = boxes(traced(tmp_path / "run.json"), "op")
    assert step["args"]["op"] == name


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("missing/run.json", tf.errors.NotFoundError, "cannot write a trace to"),
        (".", tf.errors.InvalidArgumentError, "not a regular file"),
        ("", tf.errors.InvalidArgumentError, "must not be empty"),
        (5, tf.errors.InvalidArgumentError, "not a path"),
    ],
)
def test_a_path_that_cannot_be_written_is_known_before_the_runs(
    path: Any, error: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    with tf.Session() as session, pytest.raises(error, match=words), session.trace(path):
        ran.append(True)
    assert not ran


def test_one_trace_at_a_time_and_a_sensible_limit(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.Session() as session:
        with session.trace(tmp_path / "a.json"):
            refused = pytest.raises(tf.errors.FailedPreconditionError, match="looks on at this session")
            with refused, session.trace(tmp_path / "b.json"):
                pass
            session.run(tf.exp(x), {x: 1.0})
        assert len(boxes(traced(tmp_path / "a.json"), "run")) == 1, "it goes on after the second was refused"
        assert os.listdir(tmp_path) == ["a.json"]
        for limit in (-1, 2.5, True, "all"):
            with pytest.raises(tf.errors.InvalidArgumentError, match="number of steps"), session.trace("c", limit):
                pass


# -- a plan that nobody watches ---------------------------------------------------------------------------------------


def test_nothing_of_a_trace_is_in_the_plans_of_other_runs(tmp_path: Path) -> None:
    fetches, feeds = network()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(fetches, feeds)
        plan = session._executable(fetches, feeds)
        kernels = [step.function for step in plan._made[1].steps]
        with session.trace(tmp_path / "run.json"):
            session.run(fetches, feeds)
            assert session._executable(fetches, feeds) is not plan
        session.run(fetches, feeds, options=FULL)
        assert session._executable(fetches, feeds) is plan
        assert [step.function for step in plan._made[1].steps] == kernels
    assert plan._made[1]._watch is None and not plan._made[1]._seen
    assert not any("observing" in getattr(f, "__module__", "") for f in kernels)
    assert plan.__class__.__name__ == "NumpyExecutable"


def test_what_was_compiled_for_a_trace_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tf.placeholder(tf.float32, [])
    y = tf.exp(x)
    with tf.Session() as session:
        compiled = []
        original = type(session).compile
        monkeypatch.setattr(type(session), "compile", lambda self, *given: compiled.append(1) or original(self, *given))
        for _ in range(5):
            session.run(y, {x: 1.0}, options=FULL)
    assert len(compiled) == 1


@pytest.mark.parametrize(
    "enter",
    [
        lambda session, path: session.trace(path),
        lambda session, path: session.debug(),
        lambda session, path: session.checking_numerics(),
    ],
)
def test_a_closed_session_is_refused_at_the_door(enter: Any, tmp_path: Path) -> None:
    session = tf.Session()
    session.close()
    with pytest.raises(tf.errors.FailedPreconditionError, match="closed Session"), enter(session, tmp_path / "t.json"):
        pytest.fail("it was let in")
    assert not (tmp_path / "t.json").exists()
