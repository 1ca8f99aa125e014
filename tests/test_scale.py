"""Large graphs: nothing recurses, and time grows in proportion.

The figures themselves are measured by `benchmarks/foundation.py`; here only what must hold on any machine is asserted.
What is compared is the number of calls, of Python functions and of those written in C, which is the same each time.
What such a function does inside is not counted: that shows in the processor time of graphs ten times as large, with a
margin that no neighbour uses up, for what grows with the square of the size would take a hundred times as long.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as tf

SMALL, LARGE = 10_000, 100_000


@pytest.fixture
def shallow() -> Iterator[None]:
    """A recursion limit just above where the test itself stands."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 120)
    yield
    sys.setrecursionlimit(limit)


def chain(n: int) -> tuple[Any, Any]:
    x, one, minus = tf.placeholder(tf.float32, []), tf.constant(1.0), tf.constant(-1.0)
    y = x
    for i in range(n):
        y = tf.add(y, one) if i % 2 else tf.multiply(y, minus)
    return x, y


def fan(n: int) -> tuple[Any, Any]:
    x, c = tf.placeholder(tf.float32, []), tf.constant(1.0)
    return x, tf.add_n([tf.multiply(x, c) if i % 2 else tf.add(x, c) for i in range(n)])


def seconds(build: Callable[[int], tuple[Any, Any]], n: int) -> float:
    """Processor time of the work."""
    gc.collect()
    started = time.process_time()
    work(build, n)
    return time.process_time() - started


def calls(build: Callable[[int], tuple[Any, Any]], n: int) -> int:
    """How many functions the work calls."""
    count = 0

    def on_event(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        work(build, n)
    finally:
        sys.setprofile(None)
    return count


def work(build: Callable[[int], tuple[Any, Any]], n: int) -> None:
    """Build, differentiate, run twice, run the gradient; values checked."""
    with tf.Graph().as_default():
        x, y = build(n)
        (dy,) = tf.gradients(y, x)
        with tf.Session() as sess:
            value = sess.run(y, {x: 1.0})
            assert sess.run(y, {x: 1.0}) == value
            slope = sess.run(dy, {x: 1.0})
    if build is chain:
        assert (value, slope) == (1.0, 1.0)  # four steps lead back to where they began
    else:
        assert (value, slope) == (np.float32(1.5 * n), np.float32(n))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("build", [chain, fan])
def test_work_grows_in_proportion_under_a_low_recursion_limit(build: Any) -> None:
    work(build, SMALL // 10)  # what happens once has happened
    assert calls(build, SMALL) <= 10.5 * calls(build, SMALL // 10)
    assert seconds(build, LARGE) <= 40 * seconds(build, SMALL)


@pytest.mark.usefixtures("shallow")
def test_a_long_chain_is_printed_exported_and_freed() -> None:
    with tf.Graph().as_default() as graph:
        x, y = chain(20_000)
        with tf.Session() as sess:
            text = str(sess.program(y, {x: 1.0}))
        definition = graph.as_graph_def()
    assert text.count("\n") > 20_000
    with tf.Graph().as_default():
        (copied,) = tf.import_graph_def(definition, return_elements=[y.name], name="")
        assert copied.op.type == "Add"
    del graph, x, y, copied, definition, sess
    gc.collect()
