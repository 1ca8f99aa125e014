"""Variable scopes, `get_variable`, and optimizers: what they cannot find, share or train.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphflow as tf
from tests.bad_inputs.world import DTYPE, EXISTS, INVALID, SHAPE, Bad, Kind, World

MADE = (
    "VariableHandle", "Assign", "ReadVariable", "Identity", "Fill", "RandomUniform", "Mul", "Add", "Sub", "NoOp", "Sum",
    "OnesLike", "Spread", "MatMul", "Shape",
)  # fmt: skip


def _row(name: str, do: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(name, do, kind, words, leaves=MADE)


def _scope(name: str, arguments: Callable[[World], tuple[Any, ...]], kind: Kind, *words: str, **more: Any) -> Bad:
    def do(world: World) -> None:
        with tf.variable_scope(*arguments(world), **more):
            tf.no_op()

    return _row(f"scope-{name}", do, kind, *words)


def _twice(world: World) -> Any:
    with tf.variable_scope("layer"):
        tf.get_variable("kernel", [2, 3])
    with tf.variable_scope("layer"):
        return tf.get_variable("kernel", [2, 3])


def _reused(**arguments: Any) -> Callable[[World], Any]:
    def do(world: World) -> Any:
        with tf.variable_scope("layer"):
            tf.get_variable("kernel", [2, 3])
        with tf.variable_scope("layer", reuse=True):
            return tf.get_variable(**{"name": "kernel", "shape": [2, 3], **arguments})

    return do


def _wrong_scope(world: World) -> Any:
    with tf.variable_scope("layer", reuse=True):
        return tf.get_variable("kernal", [2, 3])


def _minimize(loss: Callable[[World], Any], **arguments: Any) -> Callable[[World], Any]:
    return lambda world: tf.train.GradientDescentOptimizer(0.1).minimize(loss(world), **arguments)


ROWS = [
    _row("get-twice", _twice, EXISTS, "layer/kernel", "reuse"),
    _row("get-missing", _wrong_scope, INVALID, "layer/kernal", "reuse"),
    _row("get-other-shape", _reused(shape=[3, 2]), SHAPE, "layer/kernel", "[2, 3]", "[3, 2]"),
    _row("get-other-dtype", _reused(dtype=tf.float64), DTYPE, "layer/kernel", "float32", "float64"),
    _row("get-without-shape", lambda w: tf.get_variable("a"), INVALID, "a"),
    _row("get-unknown-shape", lambda w: tf.get_variable("a", [None, 2]), SHAPE, "[?, 2]"),
    _row("get-negative-shape", lambda w: tf.get_variable("a", [-1]), SHAPE, "negative", "-1"),
    _row("get-text-shape", lambda w: tf.get_variable("a", "23"), DTYPE, "'23'"),
    _row("get-number", lambda w: tf.get_variable(5, [2]), INVALID, "5"),
    _row("get-None", lambda w: tf.get_variable(None, [2]), INVALID, "None"),
    _row("get-empty", lambda w: tf.get_variable("", [2]), INVALID, "''"),
    _row("get-illegal", lambda w: tf.get_variable("a b", [2]), INVALID, "'a b'"),
    _row("get-dtype", lambda w: tf.get_variable("a", [2], "float31"), DTYPE, "'float31'"),
    _row("get-initializer", lambda w: tf.get_variable("a", [2], initializer=[1.0, 2.0, 3.0]), INVALID,
         "do not specify shape", "[2]"),
    _scope("number", lambda w: (5,), INVALID, "5"),
    _scope("nothing", lambda w: (None,), INVALID, "name"),
    _scope("illegal", lambda w: ("a b",), INVALID, "'a b'"),
    _scope("reuse", lambda w: ("a",), INVALID, "reuse is True, False", "'yes'", reuse="yes"),
    _row("minimize-number", _minimize(lambda w: 3), DTYPE, "int32"),
    _row("minimize-integers", _minimize(lambda w: w.next_n), DTYPE, "int32"),
    _row("minimize-nothing-to-train", _minimize(lambda w: w.twice), INVALID, "No gradients provided", "w:0, count:0",
         "'twice:0'"),
    _row("minimize-no-variables", _minimize(lambda w: w.twice, var_list=[]), INVALID, "No variables to optimize"),
    _row("minimize-placeholder", _minimize(lambda w: tf.reduce_sum(w.y), var_list=["w"]), DTYPE, "tf.Variable", "'w'"),
    _row("apply-nothing", lambda w: tf.train.AdamOptimizer().apply_gradients([]), INVALID, "No variables provided"),
    _row("apply-pairs", lambda w: tf.train.AdamOptimizer().apply_gradients([w.w]), DTYPE, "pair"),
    _row("apply-shape", lambda w: tf.train.AdamOptimizer().apply_gradients([(tf.ones([2, 3]), w.w)]), SHAPE, "[3, 2]",
         "[2, 3]"),
    _row("apply-dtype", lambda w: tf.train.AdamOptimizer().apply_gradients([(tf.ones([3, 2], tf.float64), w.w)]),
         DTYPE, "float64"),
    _row("learning-rate", lambda w: tf.train.GradientDescentOptimizer("fast").minimize(tf.reduce_sum(w.y)), DTYPE,
         "learning_rate is a number", "string"),
]  # fmt: skip
