"""Looking on at runs on OpenCL: times from the device's queues, values on the host, replacements."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf

pytest.importorskip("pyopencl")
from graphflow_opencl.devices import open_device
from graphflow_opencl.frames import Frame

from tests.test_step_stats import FULL, network, stats_of
from tests.test_trace import boxes, traced


class Looker:
    """A watch of the simplest kind: notes what it is told, and replaces what it was told to replace."""

    def __init__(self, wants_values: bool = True, instead: Mapping[str, Any] | None = None) -> None:
        self.wants_values = wants_values
        self.instead = dict(instead or {})
        self.before_of: list[str] = []
        self.read: dict[str, list[Any]] = {}
        self.made: dict[str, Any] = {}
        self.failed_of: list[str] = []

    def observe(self, program: Any) -> Any:
        return self

    def before(self, instructions: Sequence[Any], inputs: Mapping[int, Any]) -> None:
        for ins in instructions:
            self.before_of.append(ins.op.name)
            self.read[ins.op.name] = [np.array(inputs[v]) for v in ins.inputs if isinstance(inputs.get(v), np.ndarray)]

    def after(
        self, instructions: Sequence[Any], made: Mapping[int, Any], started: float, ended: float
    ) -> Mapping[int, Any]:
        assert started <= ended
        for ins in instructions:
            for v in ins.outputs:
                if v in made:
                    self.made[ins.op.name] = np.array(made[v])
        return {ins.outputs[0]: self.instead[n] for ins in instructions if (n := ins.op.name) in self.instead}

    def failed(self, instructions: Sequence[Any], error: Exception) -> None:
        self.failed_of += [ins.op.name for ins in instructions]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_op_is_in_the_step_stats_and_kernels_are_in_a_queue(level: int) -> None:
    fetches, feeds = network()
    metadata = tf.RunMetadata()
    with tf.Session(device="opencl", optimization_level=level) as session:
        session.run(tf.global_variables_initializer())
        session.run(fetches, feeds, options=FULL, run_metadata=metadata)
    devices = {d.device.rpartition("/")[2]: d for d in metadata.step_stats.dev_stats}
    found = Counter(name for d in devices.values() for node in d.node_stats for name in node.op_names)
    made = {ins.op.name for ins in metadata.program.instructions if ins.type not in ("VariableHandle", "NoOp")}
    assert made <= found.keys() and all(found[name] == 1 for name in made)
    (queues,) = [d for name, d in devices.items() if "CPU" not in name]
    assert any("Adam/update_w/AssignSub" in node.op_names for node in queues.node_stats)
    assert all("opencl:" in name for name in queues.thread_names.values())
    assert all(node.all_end_rel_nanos >= 0 for d in devices.values() for node in d.node_stats)


def test_kernels_of_a_queue_are_within_their_run(tmp_path: Path) -> None:
    fetches, feeds = network()
    with tf.Session(device="opencl") as session:
        session.run(tf.global_variables_initializer())
        plain = session.run(fetches[0], feeds)
        with session.trace(tmp_path / "run.json"):
            watched = session.run(fetches[0], feeds)
            for _ in range(2):
                session.run(fetches, feeds)
    assert plain == watched
    events = traced(tmp_path / "run.json")
    for run in boxes(events, "run"):
        own = [e for e in boxes(events, "op") if e["args"]["run"] == run["args"]["run"]]
        assert any(e["pid"] != run["pid"] for e in own)
        assert all(run["ts"] <= e["ts"] + 0.002 for e in own)
        assert all(e["ts"] + e["dur"] <= run["ts"] + run["dur"] + 0.002 for e in own)
    names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {"graphflow", f"graphflow on {boxes(events, 'op')[-1]['args']['device']}"}


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("GRAPHFLOW_OCL_LANES", "2", "queue 1"),
        ("GRAPHFLOW_OCL_LANES", "1", "queue 0"),
        ("GRAPHFLOW_OCL_INLINE", "1", "calling thread 0"),
    ],
)
def test_queues_are_lanes(
    variable: str, value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    if open_device().inline is None:
        words = words.replace("calling thread", "queue")
    x = tf.placeholder(tf.float32, [64, 64])
    branches = [tf.reduce_sum(tf.sort(tf.tanh(x * float(i)), axis=1), 0, name=f"b{i}") for i in range(4)]
    y = tf.add_n(branches, name="sum")
    array = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)
    with tf.Session(device="opencl") as session:
        plain = session.run(y, {x: array})
        with session.trace(tmp_path / "run.json"):
            watched = session.run(y, {x: array})
    assert np.array_equal(plain, watched)
    events = traced(tmp_path / "run.json")
    lanes = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert any(words in lane for lane in lanes)
    arrows = [e for e in events if e["ph"] == "f"]
    assert bool(arrows) == (value == "2")


def test_a_loop_of_the_host_encloses_what_its_body_does(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [3])
    _, y = tf.while_loop(lambda i, v: i < 4, lambda i, v: (i + 1, tf.tanh(v, name="body")), [0, x], name="loop")
    with tf.Session(device="opencl") as session, session.trace(tmp_path / "run.json"):
        found = session.run(y, {x: [1.0, 2.0, 3.0]})
    assert np.allclose(found, np.tanh(np.tanh(np.tanh(np.tanh([1.0, 2.0, 3.0])))), rtol=1e-5)
    steps = boxes(traced(tmp_path / "run.json"), "op")
    (loop,) = [e for e in steps if e["args"]["type"] == "While"]
    inside = [e for e in steps if "Tanh" in e["args"]["type"]]
    assert len(inside) == 4 and loop["args"]["device"] == "/device:CPU:0" != inside[0]["args"]["device"]
    assert all(loop["ts"] <= e["ts"] + 0.002 for e in inside)
    assert all(e["ts"] + e["dur"] <= loop["ts"] + loop["dur"] + 0.002 for e in inside)


def test_a_task_of_the_host_is_a_step_of_its_thread() -> None:
    x = tf.placeholder(tf.float32, [3])
    y = tf.add(tf.py_func(lambda v: v * 2, [x], tf.float32), 1.0, name="y")
    y.set_shape([3])
    with tf.Session(device="opencl") as session:
        stats, _ = stats_of(session, tf.exp(y, name="e"), {x: [1.0, 2.0, 3.0]})
    host = next(d for d in stats.dev_stats if d.device.endswith("CPU:0"))
    assert any("PyFunc" in node.op_names for node in host.node_stats) and list(host.thread_names) == [0]


def test_frames_that_nobody_watches_are_plain(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [4])
    y = tf.exp(x)
    with tf.Session(device="opencl") as session:
        session.run(y, {x: np.zeros(4)})
        with session.trace(tmp_path / "run.json"):
            session.run(y, {x: np.zeros(4)})
        plan = session._executable(y, {x: np.zeros(4)})
        assert plan._framer is Frame and [type(f) for frames in plan._frames.values() for f in frames] == [Frame]


@pytest.mark.parametrize("level", [0, 2])
def test_values_are_on_the_host(level: int) -> None:
    x = tf.placeholder(tf.float32, [2, 3], name="x")
    w = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="w")
    product = tf.matmul(x, w, name="product")
    flat = tf.reshape(product, [4], name="flat")
    y = tf.reduce_sum(tf.tanh(flat, name="t"), name="y")
    array = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    looker = Looker()
    with tf.Session(device="opencl") as session:
        session.run(tf.global_variables_initializer())
        found = session.watched_run(looker, y, {x: array}, level)
    expected = array @ np.arange(6, dtype=np.float32).reshape(3, 2)
    assert np.allclose(looker.made["product"], expected, atol=1e-6)
    assert np.allclose(looker.made["y"], found) and np.isclose(found, np.tanh(expected).sum(), atol=1e-5)
    assert looker.before_of.index("product") < looker.before_of.index("y")
    if level == 0:
        assert np.allclose(looker.made["flat"], expected.reshape(-1), atol=1e-6)
        assert np.allclose(looker.made["t"], np.tanh(expected).reshape(-1), atol=1e-6)
        assert np.allclose(looker.read["t"][0], expected.reshape(-1), atol=1e-6)
        assert np.array_equal(looker.made["w/read"], np.arange(6).reshape(3, 2))


def test_values_of_updates_are_those_of_their_time() -> None:
    v = tf.Variable(1.0, name="v")
    first = tf.assign_add(v, 2.0, name="first")
    with tf.control_dependencies([first]):
        second = tf.assign_add(v, 4.0, name="second")
    looker = Looker()
    with tf.Session(device="opencl") as session:
        session.run(tf.global_variables_initializer())
        assert session.watched_run(looker, second, level=0) == 7.0
    assert looker.made["first"] == 3.0 and looker.made["second"] == 7.0


def test_a_replaced_value_is_what_the_rest_of_the_run_reads() -> None:
    x = tf.placeholder(tf.float32, [3])
    y = tf.multiply(tf.exp(x, name="e"), 2.0, name="y")
    looker = Looker(instead={"e": np.array([1.0, 2.0, 3.0], np.float32)})
    with tf.Session(device="opencl") as session:
        assert session.watched_run(looker, y, {x: np.zeros(3)}, 0).tolist() == [2.0, 4.0, 6.0]
        assert session.run(y, {x: np.zeros(3)}).tolist() == [2.0, 2.0, 2.0]


def test_what_lies_in_a_variable_is_not_replaced() -> None:
    v = tf.Variable(np.ones(3, np.float32), name="v")
    y = tf.multiply(v, 2.0, name="y")
    with tf.Session(device="opencl") as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.UnimplementedError, match="cannot be replaced"):
            session.watched_run(Looker(instead={"v/read": np.zeros(3, np.float32)}), y, None, 0)
        assert session.run(v).tolist() == [1.0, 1.0, 1.0]


def test_the_op_that_fails_is_told() -> None:
    x, i = tf.placeholder(tf.float32, [4]), tf.placeholder(tf.int32, [2])
    y = tf.add(tf.gather(tf.exp(x, name="e"), i, name="g"), 1.0, name="y")
    for wants_values in (True, False):
        looker = Looker(wants_values)
        with tf.Session(device="opencl") as session:
            feeds = {x: np.zeros(4), i: [1, 9]}
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                session.watched_run(looker, y, feeds, 0)
            assert caught.value.op_name == "g" and looker.failed_of == ["g"] and "y" not in looker.before_of
            assert session.run(y, {x: np.zeros(4), i: [1, 2]}).tolist() == [2.0, 2.0]


def test_a_time_limit_ends_a_run_between_its_nodes() -> None:
    forever = tf.while_loop(lambda i: i >= 0, lambda i: tf.constant(1), [0])
    with tf.Session(device="opencl") as session:
        with pytest.raises(tf.errors.DeadlineExceededError):
            session.run(forever, options=tf.RunOptions(timeout_in_ms=20))
        assert session.run(tf.constant(1)) == 1


def test_a_timeline_has_the_queue_as_a_process() -> None:
    fetches, feeds = network()
    with tf.Session(device="opencl") as session:
        session.run(tf.global_variables_initializer())
        stats, _ = stats_of(session, fetches, feeds)
    document = json.loads(tf.timeline.Timeline(stats).generate_chrome_trace_format())
    names = [e["args"]["name"] for e in document["traceEvents"] if e["name"] == "process_name"]
    assert len(names) == 2 and any("CPU:0 Compute" in name for name in names)


def test_a_variable_is_read_before_it_is_written_whatever_else_the_read_waits_for() -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    nothing = tf.placeholder(tf.float32, [0])
    late = tf.sqrt(tf.fill(tf.shape(nothing), 1.0))  # the host asks for the shape when all kernels are under way
    with tf.control_dependencies([late.op]):
        old = v.read_value()
    new = v.assign_add(old)
    with tf.Session(device="opencl") as session:
        session.run(v.initializer)
        seen = session.observe([new, late], {nothing: np.zeros(0, np.float32)})
    assert seen.values[old.name].tolist() == [1.0, 2.0] and seen.results[0].tolist() == [2.0, 4.0]


def test_what_a_branch_not_taken_would_make_is_no_value() -> None:
    x = tf.placeholder(tf.float32, [3])
    w = tf.Variable([1.0, 2.0, 3.0])
    up, side = tf.placeholder(tf.bool, []), tf.placeholder(tf.bool, [])

    def inner() -> Any:
        return tf.cond(side, lambda: tf.exp(x * w), lambda: tf.sin(x - w))

    chosen = tf.cond(up, inner, lambda: tf.tanh(x + w))
    slope = tf.gradients(chosen, [w])[0]
    branch = chosen.op
    with tf.Session(device="opencl") as sess, tf.Session() as plain:
        for one in (sess, plain):
            one.run(tf.global_variables_initializer())
        for taken, level in itertools.product(((True, True), (True, False), (False, True)), (0, None)):
            feed = {x: [0.1, 0.2, 0.3], up: taken[0], side: taken[1]}
            found, wanted = (s.observe([slope, *branch.outputs], feed, level=level) for s in (sess, plain))
            names = [{n for n in o.summaries if "/If:" in n} for o in (found, wanted)]
            assert names[0] == names[1]
            assert [v is None for v in found.results] == [v is None for v in wanted.results]
            assert np.allclose(found.results[0], wanted.results[0], rtol=1e-4)
            assert any(v is None for v in found.results[1:])


def test_opencl_blames_the_first_op_and_steps_in_the_order_of_the_program() -> None:
    w = tf.Variable([1e30, 2.0])
    loss = tf.reduce_sum(tf.reshape(w * w, [2, 1]) * 1e-10)
    train = tf.train.AdamOptimizer(0.1).minimize(loss)
    walks: list[list[str]] = []
    for device in ("cpu", "opencl"):
        with tf.Session(device=device) as session:
            session.run(tf.global_variables_initializer())
            with pytest.raises(tf.errors.NumericsError, match=r"'mul' \(Mul\) is the first to make Inf"):
                session.check_numerics([loss, train])
            with session.debug() as dbg:
                walks.append([])
                found = dbg.run([loss, train])
                while isinstance(found, tf.debug.Stop):
                    walks[-1].append(found.op.name)
                    found = dbg.step()
    moves = {op.name for op in tf.get_default_graph().get_operations() if op.type in ("Shape", "NoOp")}
    cpu, opencl = ([name for name in walk if name not in moves] for walk in walks)
    assert cpu == opencl and len(cpu) > 20
