"""At least 300 bad inputs: each ends in the typed error of design section 6, with nothing changed.

Each row of `tests/bad_inputs` is tried in a small world of its own: a graph, and a session whose variables have values.
The error must be ours and the Python built-in that a caller would expect; its text must name what it is about and the
user's own line, which is in these files: where the op was built that it concerns, or else where the call was made.
Afterwards the session computes the same, the variables hold the same bytes, and the graph has the same ops: only
constants, into which literals beside the refused op had been converted, may have come along, and what a row lists that
builds valid ops first.
"""

from __future__ import annotations

import collections
import re
import threading
import warnings
from pathlib import Path

import pytest

import graphflow as tf
from graphflow.defaults import stacks
from tests.bad_inputs import MODULES, ROWS
from tests.bad_inputs.world import Bad, World

LINE = re.compile(r"(built|called) at: .*bad_inputs[/\\]\w+\.py:[1-9]\d*")


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_bad_input(row: Bad, tmp_path: Path) -> None:
    world = World(tmp_path)
    values, ops = world.values(), world.graph.get_operations()
    scope, threads = world.graph.scope, set(threading.enumerate())
    with world.graph.as_default(), warnings.catch_warnings():
        warnings.simplefilter("error")
        depth = len(stacks.graphs), len(stacks.sessions)
        with pytest.raises(Exception) as caught:
            row.do(world)
        assert (len(stacks.graphs), len(stacks.sessions)) == depth
    check_error(row, caught.value)
    new = world.graph.get_operations()
    assert new[: len(ops)] == ops
    added = {op.type for op in new[len(ops) :]}
    assert added <= {"Const", *row.leaves}, f"ops were added before the refusal: {added}"
    assert world.graph.scope == scope and not world.graph.finalized
    assert world.values() == values, "a variable was changed"
    assert set(threading.enumerate()) <= threads, "a thread was started"
    world.check()


def check_error(row: Bad, error: BaseException) -> None:
    assert isinstance(error, tf.errors.OpError), f"a raw {type(error).__name__}: {error}"
    for kind in row.kind:
        assert isinstance(error, kind), f"{type(error).__name__}, and not {kind.__name__}:\n{error}"
    text = str(error)
    for word in row.words:
        assert word in text, f"{word!r} is not in:\n{text}"
    assert "\n" not in error.summary and 0 < len(error.summary) <= 400, f"the first line is one short sentence:\n{text}"
    assert len(text) < 2000, f"{len(text)} characters"
    assert error.message == text
    line = LINE.search(text)
    assert line, f"the user's own line is not in:\n{text}"
    assert (line.group(1) == "built") == (error.op_name is not None)


def test_the_table_is_large_enough() -> None:
    by_subject = collections.Counter(name.partition("-")[0] for name in ROWS)
    assert len(ROWS) >= 300
    assert len(by_subject) == len(MODULES) and min(by_subject.values()) >= 25, by_subject


def test_every_class_of_error_is_a_builtin_too() -> None:
    builtins = (ValueError, TypeError, LookupError, RuntimeError, OSError, MemoryError, NotImplementedError)
    found = [c for c in vars(tf.errors).values() if isinstance(c, type) and issubclass(c, tf.errors.OpError)]
    assert len(found) >= 25
    assert [c.__name__ for c in found if c is not tf.errors.OpError and not issubclass(c, builtins)] == []
