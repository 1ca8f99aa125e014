"""A session that debugs its memory: plans are checked, what is freed is filled with rubbish, and results stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphflow_numpy import results

import graphflow as tf
from graphflow.compile import memory


def network(rng: np.random.Generator) -> tuple[Any, Any, dict[Any, Any]]:
    x, labels = tf.placeholder(tf.float32, [64, 50]), tf.placeholder(tf.int64, [64])
    h = x
    for m, n in ((50, 40), (40, 30), (30, 5)):
        w = tf.Variable(rng.standard_normal((m, n)).astype(np.float32))
        h = tf.tanh(tf.matmul(h, w) + tf.Variable(np.zeros(n, np.float32)))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=h))
    step = tf.train.AdamOptimizer(0.01).minimize(loss)
    return loss, step, {x: rng.standard_normal((64, 50)), labels: rng.integers(0, 5, 64)}


def trained(loss: Any, step: Any, feeds: Any, **options: Any) -> list[Any]:
    with tf.Session(**options) as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, step], feeds)[0] for _ in range(5)]
        return [*losses, *session.run(tf.trainable_variables())]


def test_rubbish_in_freed_memory_changes_nothing(rng: np.random.Generator) -> None:
    loss, step, feeds = network(rng)
    plain = trained(loss, step, feeds)
    debugged = trained(loss, step, feeds, debug_memory=True)
    unplanned = trained(loss, step, feeds, disabled_passes=["memory"])
    for others in (debugged, unplanned):
        assert all(np.array_equal(a, b) for a, b in zip(plain, others, strict=True))
    with tf.Session(debug_memory=True) as session:
        session.run(tf.global_variables_initializer())
        text = str(session.explain([loss, step], feeds))
        planned = session.program([loss, step], feeds).memory
    assert planned is not None and planned.freed and planned.peak_after < planned.peak_before / 2
    assert "memory: " in text and f"{planned.peak_after:,}" in text


def test_a_plan_that_frees_too_early_shows(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    loss, step, feeds = network(rng)
    plain = trained(loss, step, feeds)

    def at_once(program: Any, *rest: Any) -> dict[int, Any]:
        places = program.memory.offsets
        sizes = {v: int(np.prod(program.values[v].dims)) * program.values[v].dtype.size for v in places}
        return {
            i: [(places[v], sizes[v]) for v in ins.outputs if v in places] for i, ins in enumerate(program.instructions)
        }

    monkeypatch.setattr(memory, "freed_after", at_once)
    monkeypatch.setattr(results, "POISON", 0x7F)
    debugged = trained(loss, step, feeds, debug_memory=True)
    assert not np.array_equal(plain[-1], debugged[-1])
