"""`RunOptions` and `RunMetadata`: the steps of one run with their times, and time limits of runs."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.runtime.config import StepStats

FULL = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)


def network() -> tuple[Any, dict[Any, Any]]:
    x, labels = tf.placeholder(tf.float32, [None, 300], name="x"), tf.placeholder(tf.int64, [None], name="labels")
    w = tf.Variable(np.full((300, 200), 0.01, np.float32), name="w")
    h = tf.nn.relu(tf.matmul(x, w) * 1.5 + 2.0, name="hidden")
    logits = tf.matmul(h, tf.Variable(np.full((200, 10), 0.01, np.float32)))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss")
    step = tf.train.AdamOptimizer(0.01).minimize(loss)
    return [loss, step], {x: np.ones((64, 300)), labels: np.zeros(64, np.int64)}


def chain(length: int = 12) -> tuple[Any, dict[Any, Any]]:
    """Elementwise ops on an array that is large enough to be worth evaluating in tiles."""
    x = tf.placeholder(tf.float32, [1 << 18], name="x")
    y = x
    for _ in range(length):
        y = tf.tanh(y) * 1.25 + 0.5
    return tf.reduce_sum(y), {x: np.linspace(0, 1, 1 << 18)}


def stats_of(session: Any, fetches: Any, feeds: Any) -> tuple[Any, Any]:
    metadata = tf.RunMetadata()
    session.run(fetches, feeds, options=FULL, run_metadata=metadata)
    return metadata.step_stats, metadata.program


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_op_of_the_program_is_in_the_step_stats_once(level: int) -> None:
    fetches, feeds = network()
    with tf.Session(optimization_level=level) as session:
        session.run(tf.global_variables_initializer())
        stats, program = stats_of(session, fetches, feeds)
    (device,) = stats.dev_stats
    assert device.device == "/job:localhost/replica:0/task:0/device:CPU:0"
    found = Counter(name for node in device.node_stats for name in node.op_names)
    made = Counter(ins.op.name for ins in program.instructions if ins.type not in ("VariableHandle", "NoOp"))
    assert made and made.keys() <= found.keys() and set(found.values()) == {1}
    assert found.keys() <= {ins.op.name for ins in program.instructions}
    for node in device.node_stats:
        assert node.op_start_rel_micros == 0 <= node.op_end_rel_micros == node.all_end_rel_micros
        assert node.all_start_micros > 1e15 and node.all_start_nanos // 1000 == node.all_start_micros
        assert node.thread_id in device.thread_names


def test_what_a_step_read_and_made_is_in_its_stats() -> None:
    x = tf.placeholder(tf.float32, [3, 2], name="x")
    y = tf.matmul(x, tf.constant(np.ones((2, 5), np.float32)), name="y")
    values, numbers = tf.nn.top_k(y, 2, name="best")
    with tf.Session(optimization_level=0) as session:
        stats, _ = stats_of(session, [values, tf.add(numbers, 1, name="more")], {x: np.zeros((3, 2))})
    nodes = {node.node_name: node for node in stats.dev_stats[0].node_stats}
    assert nodes["y"].timeline_label == "y = MatMul(x)" and "(best:1)" in nodes["more"].timeline_label
    (made,) = nodes["y"].output
    assert [d.size for d in made.tensor_description.shape.dim] == [3, 5] and made.tensor_description.dtype == "float32"
    assert made.tensor_description.allocation_description.requested_bytes == 60
    assert nodes["y"].memory[0].total_bytes == 60 and len(nodes[values.op.name].output) == 2


def test_shapes_that_only_the_run_knows_are_in_the_stats() -> None:
    x = tf.placeholder(tf.float32, [4])
    chosen = tf.boolean_mask(x, x > 0)
    with tf.Session(optimization_level=0) as session:
        stats, _ = stats_of(session, tf.exp(chosen, name="e"), {x: [1.0, -1.0, 2.0, 3.0]})
    node = next(node for node in stats.dev_stats[0].node_stats if node.node_name == "e")
    assert [d.size for d in node.output[0].tensor_description.shape.dim] == [3]


def test_ops_that_are_done_as_one_are_one_step_with_all_their_names() -> None:
    fetches, feeds = chain()
    with tf.Session() as session:
        stats, program = stats_of(session, fetches, feeds)
    assert program.groups
    names = {ins.op.name for ins in program.instructions}
    nodes = stats.dev_stats[0].node_stats
    assert len(nodes) < len(names) and sum(len(node.op_names) for node in nodes) == len(names)
    several = max(nodes, key=lambda node: len(node.op_names))
    assert several.timeline_label.startswith(several.node_name + " = ") and "Tanh+Mul+Add" in several.timeline_label
    assert len(several.output) == 1, "what stays inside has no memory"


def test_metadata_without_a_trace_has_the_program_alone() -> None:
    x = tf.placeholder(tf.float32, [])
    metadata = tf.RunMetadata()
    assert isinstance(metadata.step_stats, StepStats) and metadata.step_stats.dev_stats == []
    with tf.Session() as session:
        session.run(x + 1.0, {x: 1.0}, run_metadata=metadata)
        assert metadata.program.instructions and metadata.step_stats.dev_stats == []
        session.run(x + 1.0, {x: 1.0}, options=tf.RunOptions(), run_metadata=metadata)
        assert metadata.step_stats.dev_stats == []
        other = tf.RunMetadata()
        session.run(x + 1.0, {x: 1.0}, options=FULL, run_metadata=other)
        metadata.CopyFrom(other)
        assert metadata.step_stats.dev_stats


def test_a_traced_run_gives_what_run_gives_and_counts_as_one() -> None:
    counter = tf.Variable(0.0)
    noise = tf.random_uniform([4], seed=3)
    up = tf.assign_add(counter, 1.0)
    results = []
    for options in (None, FULL):
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            results.append([session.run({"n": up, "x": noise}, options=options) for _ in range(3)])
    for plain, watched in zip(*results, strict=True):
        assert plain["n"] == watched["n"] and np.array_equal(plain["x"], watched["x"])


def test_a_run_that_fails_leaves_the_steps_that_were_done() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.exp(x, name="y")
    with tf.control_dependencies([y]):
        bad = tf.Assert(tf.reduce_all(x > 0.0), [x], name="check")
    metadata = tf.RunMetadata()
    with tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run([y, bad], {x: [1.0, -1.0]}, options=FULL, run_metadata=metadata)
        names = {name for node in metadata.step_stats.dev_stats[0].node_stats for name in node.op_names}
        assert "y" in names and not any(name.startswith("check") for name in names)
        assert session.run(y, {x: [0.0, 0.0]}, options=FULL).tolist() == [1.0, 1.0]


# -- time limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_takes_too_long_is_stopped_before_its_next_step(workers: int) -> None:
    x = tf.placeholder(tf.float32, [300, 300])

    def slow(value: Any) -> Any:
        threading.Event().wait(0.05)
        return value

    after = tf.Variable(0.0)
    with tf.control_dependencies([tf.py_func(slow, [x], tf.float32)]):
        late = tf.assign(after, 1.0, name="late")
    y = tf.matrix_inverse(x + 1.0)
    config = tf.ConfigProto(inter_op_parallelism_threads=workers, intra_op_parallelism_threads=1)
    with tf.Session(config=config) as session:
        session.run(tf.global_variables_initializer())
        feeds = {x: np.eye(300)}
        options = tf.RunOptions(timeout_in_ms=20)
        with pytest.raises(tf.errors.DeadlineExceededError, match="within 20 ms") as caught:
            session.run([late, y], feeds, options=options)
        assert isinstance(caught.value, TimeoutError)
        assert session.run(after) == 0.0
        assert session.run(late, feeds, options=tf.RunOptions(timeout_in_ms=600_000)) == 1.0
        session.run([late, y], feeds)


def test_the_last_step_counts_as_well() -> None:
    x = tf.placeholder(tf.float32, [])

    def slow(value: Any) -> Any:
        threading.Event().wait(0.01)
        return value

    y = tf.py_func(slow, [x], tf.float32)
    with tf.Session() as session, pytest.raises(tf.errors.DeadlineExceededError):
        session.run(y, {x: 1.0}, options=tf.RunOptions(timeout_in_ms=1))


def test_a_loop_without_end_is_stopped() -> None:
    forever = tf.while_loop(lambda i: i >= 0, lambda i: tf.constant(1), [0])
    with tf.Session() as session:
        with pytest.raises(tf.errors.DeadlineExceededError):
            session.run(forever, options=tf.RunOptions(timeout_in_ms=20))
        assert session.run(tf.constant(1)) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tf.RunOptions(timeout_in_ms=-1), "0 or more"),
        (lambda: tf.RunOptions(trace_level=-3), "0 or more"),
        (lambda: tf.RunOptions(timeout_in_ms="soon"), "an integer"),
        (lambda: tf.RunOptions(trace_level=None), "an integer"),
        (lambda: tf.RunMetadata(step_stats=[]), "takes a StepStats"),
    ],
)
def test_options_of_wrong_kinds_are_refused(make: Any, words: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        make()


def test_a_callable_may_take_options() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.square(x)
    metadata = tf.RunMetadata()
    for session in (tf.Session(), tf.debug.DebugMode()):
        with session:
            call = session.make_callable(y, [x], accept_options=True)
            assert call([1.0, 2.0]).tolist() == [1.0, 4.0]
            assert call([1.0, 2.0], run_metadata=metadata).tolist() == [1.0, 4.0] and metadata.program.fetches
            with pytest.raises(tf.errors.InvalidArgumentError, match="as many values"):
                call(run_metadata=metadata)
    with tf.Session() as session:
        call = session.make_callable(y, [x], accept_options=True)
        assert call([1.0, 2.0], options=FULL, run_metadata=metadata).tolist() == [1.0, 4.0]
        assert metadata.step_stats.dev_stats[0].node_stats
        with pytest.raises(TypeError):
            session.make_callable(y, [x])([1.0, 2.0], options=FULL)
