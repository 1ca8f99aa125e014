"""Looking on at runs keeps nothing alive: no graph, no session, no values, no thread; not after an interruption."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf

Look = Callable[[Any, Any, Any, Path], object]
FEED = np.ones((2, 3), np.float32)


def _traced(session: Any, fetch: Any, feeds: Any, path: Path) -> None:
    with session.trace(path / "run.json"):
        session.run(fetch, feeds)


def _checked(session: Any, fetch: Any, feeds: Any, path: Path) -> None:
    with session.checking_numerics():
        session.run(fetch, feeds)


def _stepped(session: Any, fetch: Any, feeds: Any, path: Path) -> None:
    with session.debug() as debugger:
        debugger.run(fetch, feeds)
        debugger.step()
        debugger.finish()


def _left(session: Any, fetch: Any, feeds: Any, path: Path) -> None:
    with session.debug() as debugger:
        debugger.run(fetch, feeds)


def _full(session: Any, fetch: Any, feeds: Any, path: Path) -> None:
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    session.run(fetch, feeds, options=options, run_metadata=tf.RunMetadata())


WAYS: dict[str, Look] = {
    "trace": _traced,
    "profile": lambda session, fetch, feeds, path: session.profile(fetch, feeds, runs=1),
    "observe": lambda session, fetch, feeds, path: session.observe(fetch, feeds),
    "explain": lambda session, fetch, feeds, path: session.explain(fetch, feeds),
    "check": lambda session, fetch, feeds, path: session.check_numerics(fetch, feeds),
    "checking": _checked,
    "debugger": _stepped,
    "left": _left,
    "options": _full,
}


def _net() -> tuple[Any, Any, Any]:
    x = tf.placeholder(tf.float32, [2, 3])
    w = tf.Variable(np.ones((3, 3), np.float32))
    loss = tf.reduce_sum(tf.nn.relu(tf.matmul(x, w)))
    return x, loss, tf.train.AdamOptimizer().minimize(loss)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_outlives_the_session(way: str, tmp_path: Path) -> None:
    def look() -> list[Any]:
        with tf.Graph().as_default() as graph:
            x, _, train = _net()
            session = tf.Session()
            session.run(tf.global_variables_initializer())
            WAYS[way](session, train, {x: FEED}, tmp_path)
            return [weakref.ref(graph), weakref.ref(session)]

    before = set(threading.enumerate())
    references = look()
    gc.collect()
    assert [found() for found in references] == [None, None]
    assert not [t for t in set(threading.enumerate()) - before if t.name == "graphflow debugger"]


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("explain", "debugger", "left")])
def test_an_interruption_leaves_a_session_that_works(way: str, tmp_path: Path) -> None:
    def interrupt(value: Any) -> Any:
        raise KeyboardInterrupt

    def look() -> list[Any]:
        with tf.Graph().as_default() as graph:
            x, loss, _ = _net()
            stopped = tf.py_func(interrupt, [loss], tf.float32)
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                with pytest.raises(KeyboardInterrupt):
                    WAYS[way](session, stopped, {x: FEED}, tmp_path)
                WAYS[way](session, loss, {x: FEED}, tmp_path)
                assert session.run(loss, {x: FEED}) == 18.0
            return [weakref.ref(graph), weakref.ref(session)]

    references = look()
    gc.collect()
    assert [found() for found in references] == [None, None]


def test_an_observed_value_is_not_kept_by_the_session() -> None:
    x, loss, _ = _net()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        seen = session.observe(loss, {x: FEED})
        kept = weakref.ref(seen.values[x.name])
        assert kept() is not None
        del seen
        gc.collect()
        assert kept() is None


def test_debug_mode_keeps_no_values_between_runs() -> None:
    x, loss, _ = _net()
    with tf.debug.DebugMode() as session:
        session.run(tf.global_variables_initializer())
        session.run(loss, {x: FEED})
        assert session._pairs and not any(p.wanted.values or p.got.values for p in session._pairs.values())


@pytest.mark.parametrize("way", ["trace", "checking"])
def test_a_session_may_be_closed_while_someone_looks_on(way: str, tmp_path: Path) -> None:
    x, loss, _ = _net()
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    block = session.trace(tmp_path / "run.json") if way == "trace" else session.checking_numerics()
    with block:
        session.run(loss, {x: FEED})
        session.close()
        with pytest.raises(tf.errors.FailedPreconditionError, match="closed Session"):
            session.run(loss, {x: FEED})
    assert way != "trace" or (tmp_path / "run.json").exists()
