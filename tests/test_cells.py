"""Variables are read without a lock, and never half updated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.cells import NumpyCell, peek_all
from graphflow_numpy.regions import enter, leave

import graphflow as tf
from graphflow.backend import Run


def cell(value: Any = None, name: str = "v") -> NumpyCell:
    """A cell of four float32, with a value or without."""
    made = NumpyCell(name, tf.float32, (4,))
    if value is not None:
        made.assign(np.full(4, value, np.float32))
    return made


class Reader:
    """A thread that reads a cell once."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.seen: Any = None

        def work() -> None:
            self.seen = read()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def waits(self) -> bool:
        """Whether it has not been answered yet; a reader that must wait does so however long we look."""
        self._thread.join(0.05)
        return self._thread.is_alive()

    def answer(self) -> Any:
        """What it read."""
        self._thread.join()
        return self.seen


def half_way(then: Callable[[], None]) -> Callable[[Any, Any, Any], Any]:
    """In place of a ufunc: an addition that does something else half-way through."""

    def add(array: Any, delta: Any, out: Any) -> Any:
        out[:2] = array[:2] + delta[:2]
        then()
        out[2:] = array[2:] + delta[2:]
        return out

    return add


def test_a_reader_waits_for_an_update_in_place() -> None:
    v = cell(1)
    readers: list[Reader] = []

    def look() -> None:
        readers.append(Reader(v.peek))
        assert readers[0].waits()

    v.combine(half_way(look), np.ones(4, np.float32))
    np.testing.assert_array_equal(readers[0].answer(), [2, 2, 2, 2])
    assert not v.busy


def test_many_cells_are_not_read_while_one_of_them_changes() -> None:
    v, other = cell(1), cell(5, "other")
    seen: list[Any] = []
    v.combine(half_way(lambda: seen.append(peek_all([other, v]))), np.ones(4, np.float32))
    assert seen == [None]
    found = peek_all([other, v])
    assert found is not None
    np.testing.assert_array_equal(found, [[5] * 4, [2] * 4])
    assert peek_all([other, cell()]) is None


@pytest.mark.parametrize("read", [NumpyCell.peek, NumpyCell.snapshot, lambda v: peek_all([v])[0]])
def test_what_was_read_never_changes(read: Callable[[NumpyCell], Any]) -> None:
    v = cell(1)
    held = read(v)
    for change in (
        lambda: v.combine(np.add, np.ones(4, np.float32)),
        lambda: v.assign(np.zeros(4, np.float32)),
        lambda: v.edit(lambda array: array.fill(7)),
    ):
        change()
        assert not v.busy
        np.testing.assert_array_equal(held, [1, 1, 1, 1])
    np.testing.assert_array_equal(read(v), [7, 7, 7, 7])


def test_a_reader_waits_for_the_end_of_the_outermost_region() -> None:
    v = cell(1)
    run = Run(0, 0)
    begin, end = enter([v]), leave([v])
    begin(run)
    begin(run)
    v.assign(np.zeros(4, np.float32))
    end(run)
    reader = Reader(v.peek)
    assert reader.waits()
    v.combine(np.add, np.ones(4, np.float32))
    end(run)
    np.testing.assert_array_equal(reader.answer(), [1, 1, 1, 1])
    assert not v.busy and not run.held


def test_a_failed_update_leaves_the_value_and_the_readers() -> None:
    v = cell(1)
    with pytest.raises(tf.errors.InvalidArgumentError):
        v.combine(np.add, np.ones(3, np.float32))
    assert not v.busy
    np.testing.assert_array_equal(v.peek(), [1, 1, 1, 1])
    with pytest.raises(tf.errors.FailedPreconditionError):
        cell().peek()


def test_a_number_is_updated_as_a_number() -> None:
    v = NumpyCell("n", tf.float32, ())
    v.assign(np.float32(0.1))
    v.combine(np.add, np.float32(0.2), lambda a, b: a + b)
    assert type(v.peek()) is np.float32 and v.peek() == np.float32(0.1) + np.float32(0.2)


@pytest.mark.parametrize("workers", [1, 2])
def test_variables_in_a_row_are_read_in_one_call(workers: int) -> None:
    variables = [tf.Variable([float(i)] * 4, name=f"v{i}") for i in range(20)]
    total = tf.add_n([v * v for v in variables])
    config = tf.ConfigProto(inter_op_parallelism_threads=workers)
    with tf.Session(config=config) as session:
        with pytest.raises(tf.errors.FailedPreconditionError, match=r"'v0', 'v1'.*'v19'") as caught:
            session.run(total)
        assert caught.value.op_name == "v0/read"
        session.run(variables[0].initializer)
        with pytest.raises(tf.errors.FailedPreconditionError) as caught:
            session.run(total)
        assert caught.value.op_name == "v1/read"
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(total), [sum(i * i for i in range(20))] * 4)
        listing = str(session.explain(total)).split("code\n")[1]
        assert listing.count("ReadVariable") == 1
