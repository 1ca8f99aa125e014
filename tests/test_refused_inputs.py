"""What cannot become an input of an op: the error names the op that was about to be built, and can be drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import graphflow as tf


@pytest.mark.parametrize(
    ("build", "op", "type"),
    [
        (lambda x: tf.add(x, "a"), "scope/Add", "Add"),
        (lambda x: tf.add(x, "a", name="sum"), "scope/sum", "Add"),
        (lambda x: tf.reshape(x, [3, "a"]), "scope/Reshape", "Reshape"),
        (lambda x: tf.matmul(object(), x), "scope/MatMul", "MatMul"),
    ],
)
def test_the_op_and_what_it_was_given_are_named_and_drawn(
    build: Callable[[Any], Any], op: str, type: str, tmp_path: Path
) -> None:
    x = tf.placeholder(tf.float32, [3], name="x")
    with tf.name_scope("scope"), pytest.raises(tf.errors.InvalidArgumentError) as caught:
        build(x)
    error = caught.value
    assert (error.op_name, error.op_type, error.unbuilt) == (op, type, ("x:0",))
    assert error.summary.startswith(f"{type}: ") and error.summary.count(f"{type}:") == 1
    assert "built at: " in str(error) and "test_refused_inputs.py:" in error.source
    assert op.rpartition("/")[2] in Path(error.render(tmp_path / "error.dot")).read_text(encoding="utf-8")


def test_it_is_drawn_in_the_graph_of_its_tensors(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [3], name="x")
    with pytest.raises(tf.errors.DTypeError) as caught:
        tf.add(x, "a")
    assert caught.value.graph is graph and "float32" in str(caught.value)
    caught.value.render(tmp_path / "error.dot")
