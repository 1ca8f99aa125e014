"""Pictures as they were looked at and found good: the Graphviz text of a few graphs, word for word.

A picture that was changed on purpose is stored anew with `python -m tests.test_golden_pictures`; look at it first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import graphflow as tf
from graphflow import render
from graphflow.render.styles import CHANGES
from graphflow.render.view import Edge, Node, View
from tests.graphs_to_draw import loop, model, worked_example

GOLDEN = Path(__file__).parent / "golden"
_LINE = re.compile(r"(?<=\\n)[^\s\"\\]*\w+\.py:\d+(, in \w+)?")


def _trained() -> str:
    model()
    return render.to_dot(tf.get_default_graph(), expand="all")


def _folded() -> str:
    model()
    return render.to_dot(tf.get_default_graph(), depth=0)


def _of_a_run() -> str:
    """With the values of a run, one of them a NaN, and the times that it took."""
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.log(x, name="y")
    values, seconds = {x: np.array([1.0, -1.0], np.float32), y: np.array([0.0, np.nan], np.float32)}, {y: 2e-3}
    return render.to_dot(tf.get_default_graph(), values=values, seconds=seconds, color="time")


def _with_gradients() -> str:
    graph, _ = worked_example()
    return render.to_dot(graph, view="gradients")


def _loop() -> str:
    loop()
    return render.to_dot(tf.get_default_graph(), expand="all")


def _rewritten() -> str:
    """What a pass may have done: one node each."""
    nodes = [
        Node(f"op{i}", (change, "Add"), name=change, type="Add", change=change) for i, change in enumerate(CHANGES)
    ]
    edges = [Edge(a.id, b.id, "[2]") for a, b in pairwise(nodes)]
    return render.to_dot(View("what the compiler did", tuple(nodes), tuple(edges)))


PICTURES: dict[str, Callable[[], str]] = {
    "trained": _trained, "folded": _folded, "of_a_run": _of_a_run, "gradients": _with_gradients, "loop": _loop,
    "rewritten": _rewritten,
}  # fmt: skip


def drawn(name: str) -> str:
    """The text of a picture, lines of source files left out: they change with every edit above them."""
    with tf.Graph().as_default():
        return _LINE.sub("LINE", PICTURES[name]())


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_as_it_was(name: str) -> None:
    assert drawn(name) == (GOLDEN / f"{name}.dot").read_text(encoding="utf-8")


if __name__ == "__main__":
    for name in PICTURES:
        (GOLDEN / f"{name}.dot").write_text(drawn(name), encoding="utf-8")
