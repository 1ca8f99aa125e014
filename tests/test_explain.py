"""`session.explain`: what became of a graph, as text that can be read and as data."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

import graphflow as tf


def network() -> tuple[Any, dict[Any, Any]]:
    x, labels = tf.placeholder(tf.float32, [64, 300], name="x"), tf.placeholder(tf.int64, [64])
    w = tf.Variable(np.full((300, 200), 0.01, np.float32), name="w")
    h = tf.nn.relu(tf.matmul(x, w) * 1.0 + 2.0 * tf.ones([200]), name="hidden")
    logits = tf.matmul(h, tf.Variable(np.full((200, 10), 0.01, np.float32)))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    step = tf.train.AdamOptimizer(0.01).minimize(loss)
    return [loss, step], {x: np.ones((64, 300)), labels: np.zeros(64, np.int64)}


@pytest.mark.parametrize("level", [0, 1, 2])
def test_it_tells_of_passes_order_memory_and_code(level: int) -> None:
    fetches, feeds = network()
    with tf.Session(optimization_level=level) as session:
        session.run(tf.global_variables_initializer())
        explanation = session.explain(fetches, feeds)
        session.run(fetches, feeds)
    text = str(explanation)
    assert max(map(len, text.splitlines())) < 400
    assert "hidden" in text and "test_explain.py:" in text
    assert re.search(r"order: \d+ instructions", text) and "\ncode\n" in text
    names = [record.name for record in explanation.passes]
    assert names[0] == "lower" and ("fuse" in names) == (level > 0)
    assert repr(explanation) == f"<Explanation of {len(explanation.program.instructions)} instructions; print it>"
    if level:
        assert explanation.peak_after < explanation.peak_before and "memory: " in text
    else:
        assert explanation.peak_after is None


def test_native_kernels_are_listed_and_their_code_is_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    monkeypatch.setenv("GRAPHFLOW_FAST", "wait")
    fetches, feeds = network()
    with tf.Session(optimization_level=2) as session:
        session.run(tf.global_variables_initializer())
        explanation = session.explain(fetches, feeds)
    text = str(explanation)
    assert "native, for instructions" in text and "define void" not in text and "define void" in explanation.native
    assert len(text.splitlines()) < 400


@pytest.mark.parametrize(("fast", "word"), [("0", "switched off"), ("1", "native code: ")])
def test_it_says_why_there_is_no_native_code(fast: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_FAST", fast)
    x = tf.placeholder(tf.float32, [])
    with tf.Session(optimization_level=2) as session:
        assert word in str(session.explain(x + 1.0, {x: 1.0}))


# -- where a program came from, and where it is done -------------------------------------------------------------------


def test_what_is_not_needed_is_told_by_scope() -> None:
    fetches, feeds = network()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        loss, step = session.explain(fetches[0], feeds), session.explain(fetches, feeds)
    assert any(name.startswith("Adam/") for name in loss.pruned) and any(n.startswith("gradients") for n in loss.pruned)
    assert not any(name.startswith(("Adam/update", "gradients")) for name in step.pruned)
    needed = {ins.op.name for ins in loss.program.instructions}
    assert needed.isdisjoint(loss.pruned) and loss.origin.ops == len(tf.get_default_graph().get_operations())
    line = next(line for line in str(loss).splitlines() if line.strip().startswith("graph "))
    assert f"{len(loss.pruned)} of them not needed" in line and re.search(r"\d+ in Adam", line)


def test_what_makes_a_fed_tensor_is_not_needed() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    middle = tf.exp(x, name="middle")
    y = tf.add(middle, 1.0, name="y")
    with tf.Session() as session:
        explanation = session.explain(y, {middle: [1.0, 2.0]})
        whole = session.explain([y, middle], {x: [1.0, 2.0]})
    assert explanation.pruned == ("x",) and explanation.origin.feeds == ("middle:0",)
    assert "v0 = middle float32[2]" in str(explanation) and "fetched" in str(explanation)
    assert whole.pruned == () and "3 ops, all of them needed" not in str(whole) and "all of them needed" in str(whole)


def test_variables_and_constants_of_the_order_are_named() -> None:
    x = tf.placeholder(tf.float32, [2])
    w = tf.Variable([1.0, 2.0], name="w")
    with tf.Session(optimization_level=0) as session:
        session.run(tf.global_variables_initializer())
        text = str(session.explain(tf.add(x * w, tf.constant(0.25), name="y"), {x: [1.0, 2.0]}))
    assert re.search(r"v\d+ is the variable w\n", text) and re.search(r"v\d+ is the constant 0.25, float32\[\]", text)
    assert "nothing to do for lower" in text and "VariableHandle" not in text


def test_placement_says_what_was_asked_for_and_what_came() -> None:
    x = tf.placeholder(tf.float32, [2])
    with tf.device("/cpu:0"):
        asked = tf.exp(x, name="asked")
    with tf.device("/gpu:0"):
        missing = tf.tanh(asked, name="missing")
    y = tf.add(missing, 1.0, name="y")
    config = tf.ConfigProto(allow_soft_placement=True)
    with tf.Session(device="cpu", config=config) as session:
        explanation = session.explain(y, {x: [1.0, 2.0]})
    places = {place.op: place for place in explanation.placements}
    assert {place.device for place in places.values()} == {"/device:CPU:0"}
    assert places["asked"].why == "it was asked for: /cpu:0" and places["y"].why == ""
    assert places["missing"].asked == "/gpu:0" and "there is no /gpu:0" in places["missing"].why
    assert "missing on /device:CPU:0: there is no /gpu:0, and soft placement is allowed" in str(explanation)


def test_placement_on_opencl_says_why_something_is_done_on_the_host() -> None:
    pytest.importorskip("pyopencl")
    x = tf.placeholder(tf.float32, [4])
    hosted = tf.py_func(lambda v: v, [tf.exp(x, name="e")], tf.float32, name="hosted")
    with tf.device("/cpu:0"):
        asked = tf.tanh(x, name="asked")
    flat = tf.reshape(x, [2, 2], name="flat")
    with tf.Session(device="opencl", optimization_level=0) as session:
        explanation = session.explain([hosted, asked, tf.exp(flat, name="last")], {x: np.zeros(4)})
    places = {place.op: place for place in explanation.placements}
    assert places["last"].device in ("/device:OPENCL:0", "/device:GPU:0") and not places["last"].why
    assert places["asked"] == ("asked", "/device:CPU:0", "/cpu:0", "it was placed on the CPU")
    assert places["hosted"].device == "/device:CPU:0" and places["hosted"].why
    assert places["flat"].device == "" and places["flat"].why == "it needs no kernel"
    assert f"hosted on /device:CPU:0: {places['hosted'].why}" in str(explanation)


def test_tasks_have_their_priorities() -> None:
    x = tf.placeholder(tf.float64, [400, 400])
    y = tf.matmul(tf.matrix_inverse(x), tf.matrix_inverse(x + 1.0), name="both")
    config = tf.ConfigProto(inter_op_parallelism_threads=2, intra_op_parallelism_threads=1)
    with tf.Session(config=config, device="cpu") as session:
        explanation = session.explain(y, {x: np.eye(400)})
    text = str(explanation)
    assert "for 2 workers" in text and re.search(r"task 0: [\d,]+ us, priority [\d,]+ us", text)
    assert re.search(r"task \d+: .* us, after \d", text)


def test_three_thousand_ops_stay_readable_and_nothing_is_lost() -> None:
    x = tf.placeholder(tf.float32, [4], name="x")
    y = x
    for i in range(3000):
        y = tf.tanh(y, name=f"layer{i}/t")
    with tf.Session(device="cpu") as session:
        explanation = session.explain(y, {x: np.zeros(4)})
    text = str(explanation)
    assert len(text.splitlines()) < 450 and max(map(len, text.splitlines())) < 400
    assert text.index("summary") < text.index("order: 3,000 instructions") < text.index("\ncode\n")
    assert "... and 2,900 more lines: print(explanation.text(limit=None))" in text
    assert "layer2998/t" not in text
    whole = explanation.text(limit=None)
    assert all(f"# layer{i}/t, " in whole for i in range(3000)) and "more lines" not in whole
    short = explanation.text(limit=5)
    assert "layer4/t" in short and "layer12/t" not in short and len(short) < len(text)


def test_all_of_it_is_in_the_json() -> None:
    fetches, feeds = network()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        explanation = session.explain(fetches, feeds)
    data = json.loads(explanation.to_json())
    assert data["level"] == 1 and data["code"] == explanation.code
    assert [p["name"] for p in data["passes"]] == [p.name for p in explanation.passes]
    assert len(data["instructions"]) == len(explanation.program.instructions)
    hidden = next(ins for ins in data["instructions"] if ins["op"] == "hidden")
    assert hidden["type"] == "Relu" and hidden["shapes"] == [[64, 200]] and hidden["dtypes"] == ["float32"]
    assert "test_explain.py:" in hidden["source"] and hidden["device"] == "/device:CPU:0"
    assert data["graph"]["pruned"] == list(explanation.pruned) and data["memory"]["peak_before"] > 0
    assert data["schedule"]["workers"] >= 1
    with tf.Session(optimization_level=0) as session:
        bare = json.loads(session.explain(tf.constant(1.0) + 1.0).to_json())
    assert bare["memory"] is None and bare["schedule"] is None


def test_the_steps_that_lock_variables_say_so() -> None:
    w = tf.Variable([1.0, 2.0], name="w")
    train = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(tf.square(w)))
    with tf.Session(device="numpy", optimization_level=1) as sess:
        code = sess.explain(train).code
    (locks,) = [line for line in code.splitlines() if "# locks w," in line]
    assert "ReadVariable" not in locks and code.index("# locks w,") < code.index("# unlocks them")


def test_reuse_never_looks_worse_than_none_for_small_values() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.reduce_sum(tf.matmul([[1.0, 2.0]], tf.expand_dims(tf.exp(x), 1)) * 2.0)
    with tf.Session() as session:
        explanation = session.explain(y, {x: [1.0, 2.0]})
    memory = explanation.program.memory
    assert memory is not None and memory.offsets, "otherwise nothing was planned"
    assert explanation.peak_after <= explanation.peak_before and explanation.peak_before >= 64 * len(memory.offsets)
    assert "each value in it rounded up to 64" in str(explanation)
