"""The user's own line: found for every way of building an op, and worked out only when somebody asks."""

from __future__ import annotations

# Several statements on a line are the point here.
# fmt: off
import functools
import gc
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import source

HERE = Path(__file__).name


def line() -> int:
    return sys._getframe(1).f_lineno


def place(op: Any) -> tuple[str, int]:
    found = getattr(op, "op", op).user_source
    return Path(found.filename).name, found.line


def test_the_line_of_every_way_of_building() -> None:
    x = tf.placeholder(tf.float32, [2, 2]); at = line()  # noqa: E702
    assert place(x) == (HERE, at)
    built = [x + 1.0, 2.0 * x, -x, x[0], x @ x, tf.add(x, x), tf.nn.relu(x), tf.Variable(1.0)]; at = line()  # noqa: E702
    assert [place(t) for t in built] == [(HERE, at)] * len(built)
    g = tf.gradients(tf.reduce_sum(x * x), x)[0]; at = line()  # noqa: E702
    assert place(g) == (HERE, at)
    assert all(place(op) == (HERE, at) for op in x.graph.get_operations()[-2:])


def test_the_text_names_file_line_and_function() -> None:
    op = tf.no_op(); at = line()  # noqa: E702
    assert op.source.endswith(f"{HERE}:{at}, in test_the_text_names_file_line_and_function")


def test_statements_over_several_lines_and_scopes() -> None:
    first = line() + 2
    with tf.name_scope("s"), tf.device("/cpu:0"):
        op = tf.no_op(
            name="a",
        )
    assert place(op) == (HERE, first)


def test_comprehensions_lambdas_and_decorated_functions() -> None:
    ops = [tf.no_op() for _ in range(2)]; at = line()  # noqa: E702
    assert [place(op) for op in ops] == [(HERE, at)] * 2
    make = [lambda name: tf.no_op(name=name)]; at = line()  # noqa: E702
    assert place(make[0]("a")) == (HERE, at)
    inner = line() + 4

    @functools.lru_cache
    def build() -> Any:
        return tf.no_op()

    assert place(build()) == (HERE, inner)


def test_functions_that_the_library_calls_back() -> None:
    at = line() + 1
    y = tf.cond(tf.constant(True), lambda: tf.constant(1.0) + 1.0, lambda: tf.constant(2.0))
    branch = y.op.get_attr("then_branch")
    assert {place(op) for op in branch.get_operations()} == {(HERE, at)}


def test_code_without_a_file() -> None:
    space: dict[str, Any] = {"tf": tf}
    exec(compile("\n\nop = tf.no_op()", "<notebook cell 3>", "exec"), space)
    assert space["op"].source == "<notebook cell 3>:3"


def test_the_line_of_a_thread_without_user_code() -> None:
    made: list[Any] = []

    class Recorder(threading.Thread):
        run = staticmethod(lambda: made.append(tf.no_op()))

    thread = Recorder()
    thread.start()
    thread.join()
    assert place(made[0])[0] == HERE


def test_no_local_is_kept_alive() -> None:
    def build() -> Any:
        big = np.zeros(1000)
        refs.append(weakref.ref(big))
        return tf.no_op()

    refs: list[Any] = []
    op = build()
    gc.collect()
    assert refs[0]() is None and op.source


def test_paths_are_relative_where_that_is_shorter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    op = tf.no_op()
    monkeypatch.chdir(Path(__file__).parent)
    assert op.source.startswith(f"{HERE}:")
    monkeypatch.chdir(tmp_path)
    assert op.source.startswith(str(Path(__file__)))


def test_a_place_is_a_plain_pair() -> None:
    """A million ops hold a million of these: no dict, no frame."""
    found = tf.no_op().user_source
    assert isinstance(found, source.Source) and len(found) == 2
    assert not hasattr(found, "__dict__")


def test_the_line_of_an_unknown_offset() -> None:
    code = line.__code__
    assert source.Source(code, 10**6).line >= code.co_firstlineno
