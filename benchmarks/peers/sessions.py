"""What graphflow and TensorFlow 1 share as peers: a graph, a session, and how one run is made.

State: none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import graphs
from benchmarks.peers import Prepared
from benchmarks.workloads import Workload


def built(tf: Any, workload: Workload, arrays: dict[str, np.ndarray]) -> tuple[graphs.Model, Any]:
    """The model in a fresh default graph, and the op that initialises it."""
    tf.reset_default_graph()
    model = graphs.BUILDERS[workload.family](tf, arrays, workload.options)
    return model, tf.global_variables_initializer()


def prepared(session: Any, model: graphs.Model, init: Any, step: Callable[[], Any]) -> Prepared:
    """The workload, its variables at their first values."""
    session.run(init)
    return Prepared(step, lambda: session.run(init), lambda: session.run(list(model.weights)))


def run_step(session: Any, model: graphs.Model) -> Callable[[], Any]:
    """One `Session.run`, as a user writes it."""
    run, feeds = session.run, model.feeds
    if model.update is not None:
        fetches = [*model.outputs, model.update]
        return lambda: run(fetches, feeds)[:-1]
    if len(model.outputs) == 1:
        fetch = model.outputs[0]
        return lambda: (run(fetch, feeds),)
    outputs = model.outputs
    return lambda: run(outputs, feeds)


def callable_step(session: Any, model: graphs.Model) -> Callable[[], Any]:
    """The same through `make_callable`, for a single output."""
    call = session.make_callable(model.outputs[0], list(model.feeds))
    values = list(model.feeds.values())
    return lambda: (call(*values),)


def ladder(tf: Any, count: int, session: Callable[[], Any]) -> dict[str, float]:
    """Seconds of each phase for a ladder of `count` ops and its gradient."""
    tf.reset_default_graph()
    marks = [time.perf_counter()]
    x, y = graphs.ladder(tf, count // 4)
    marks.append(time.perf_counter())
    (dy,) = tf.gradients(y, [x])
    marks.append(time.perf_counter())
    sess = session()
    feed = {x: np.float32(0.5)}
    sess.run([y, dy], feed)
    marks.append(time.perf_counter())
    value, slope = sess.run([y, dy], feed)
    marks.append(time.perf_counter())
    for _ in range(4):
        sess.run([y, dy], feed)
    marks.append(time.perf_counter())
    names = ("build", "gradients", "first run")
    phases = {name: b - a for name, a, b in zip(names, marks, marks[1:])}  # noqa: B905 - longer
    return {**phases, "steady run": (marks[-1] - marks[-2]) / 4, "value": float(value), "slope": float(slope)}
