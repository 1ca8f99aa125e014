"""`session.explain`: what became of a graph, as text that can be read and as data."""

from __future__ import annotations

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
