"""Graphs: foreign elements, finalized graphs, cycles, scopes of all kinds, default graphs.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphflow as tf
from graphflow.defaults import stacks
from tests.bad_inputs.world import DTYPE, FAILED, FINALIZED, GRAPH, INVALID, MISSING_NAME, SHAPE, Bad, Kind, World


def _finalized(name: str, build: Callable[[World], Any], *words: str) -> Bad:
    def do(world: World) -> Any:
        world.graph.finalize()
        try:
            return build(world)
        finally:
            world.graph._unsafe_unfinalize()

    return Bad(f"finalized-{name}", do, FINALIZED, ("the graph is finalized", *words))


def _foreign(name: str, build: Callable[[World], Any], *words: str) -> Bad:
    words = ("belongs to another graph", *words)
    return Bad(f"foreign-{name}", build, GRAPH, words, leaves=("Identity",))


def _cycle(name: str, edges: Callable[[World], Any], *words: str) -> Bad:
    return Bad(f"cycle-{name}", edges, GRAPH, ("would close a cycle", *words), leaves=("NoOp", "Identity"))


def _itself(world: World) -> None:
    world.twice.op._add_control_input(world.twice.op)


def _through_data(world: World) -> None:
    a = tf.identity(world.s, name="a")
    b = tf.identity(a, name="b")
    a.op._add_control_input(b.op)


def _through_control(world: World) -> None:
    a = tf.no_op(name="a")
    with tf.control_dependencies([a]):
        b = tf.no_op(name="b")
    a._add_control_input(b)


def _long(world: World) -> None:
    first = last = tf.identity(world.s, name="first")
    for _ in range(2000):
        last = tf.identity(last)
    first.op._add_control_input(last.op)


def _late_then_forward(world: World) -> None:
    """1 waits for 3 (a late edge), and 3 for 2; then 2 for 1 would close a circle whose last edge looks harmless."""
    one, two, three = (tf.no_op(name=f"op_{i}") for i in (1, 2, 3))
    three._add_control_input(two)
    one._add_control_input(three)
    try:
        two._add_control_input(one)
    finally:
        one.control_inputs = ()


def _late_pair(world: World) -> None:
    one, _, three = (tf.no_op(name=f"op_{i}") for i in (1, 2, 3))
    one._add_control_input(three)
    try:
        three._add_control_input(one)
    finally:
        one.control_inputs = ()


def _forged(world: World) -> None:
    """An edge that nobody has checked, as a file might bring it."""
    a = tf.identity(world.s, name="a")
    b = tf.identity(a, name="b")
    a.op.control_inputs = (b.op,)
    world.session.run(b, {world.s: 1.0})


def _wrong_exit(world: World) -> None:
    first, second = tf.Graph().as_default(), tf.Graph().as_default()
    first.__enter__()
    second.__enter__()
    try:
        first.__exit__(None, None, None)
    finally:
        second.__exit__(None, None, None)
        stacks.graphs.pop()  # the context that was left too early is spent


def _reset_inside(world: World) -> None:
    with tf.Graph().as_default():
        tf.reset_default_graph()


def _scope(name: str, scope: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    def do(world: World) -> None:
        with scope(world):
            tf.no_op()

    return Bad(f"scope-{name}", do, kind, words)


def _foreign_control(world: World) -> None:
    with tf.control_dependencies([world.stranger]):
        tf.no_op()


ROWS = [
    _foreign("binary", lambda w: tf.add(w.x, w.stranger), "stranger:0"),
    _foreign("binary-first", lambda w: w.stranger + w.s),
    _foreign("unary-list", lambda w: tf.add_n([w.x, w.stranger])),
    _foreign("stack", lambda w: tf.stack([w.x, w.stranger])),
    _foreign("assign", lambda w: w.w.assign(w.stranger), "stranger:0"),
    _foreign("matmul", lambda w: tf.matmul(w.stranger, w.w)),
    Bad("foreign-variable", lambda w: w.s + w.strange_variable, GRAPH,
        ("strange_variable", "belongs to another graph")),
    Bad("foreign-control", _foreign_control, GRAPH, ("stranger", "not an element of this graph")),
    Bad("foreign-control-edge", lambda w: w.twice.op._add_control_input(w.stranger.op), GRAPH,
        ("joins two ops of one graph",)),
    Bad("control-edge-of-a-tensor", lambda w: w.twice.op._add_control_input(w.s), GRAPH,
        ("joins two ops", "'twice'", "s:0")),
    Bad("control-edge-of-None", lambda w: w.twice.op._add_control_input(None), GRAPH, ("joins two ops", "None")),
    _finalized("op", lambda w: tf.add(w.s, w.s), "Add", "build once and feed different values"),
    _finalized("constant", lambda w: tf.constant(1.0), "Const"),
    _finalized("placeholder", lambda w: tf.placeholder(tf.float32), "Placeholder"),
    _finalized("variable", lambda w: tf.Variable(1.0)),
    _finalized("literal", lambda w: w.s + 1.0, "Const"),
    _finalized("gradients", lambda w: tf.gradients(w.twice, w.s)),
    _finalized("no_op", lambda w: tf.no_op(), "NoOp"),
    _finalized("assign", lambda w: w.count.assign(3)),
    _finalized("control-edge", lambda w: w.y.op._add_control_input(w.s.op), "control edge", "'y'"),
    _finalized("collection", lambda w: w.graph.add_to_collection("losses", w.y), "collections"),
    _cycle("itself", _itself, "'twice'"),
    _cycle("through-data", _through_data, "'b' already waits for 'a'"),
    _cycle("through-control", _through_control, "'b' already waits for 'a'"),
    _cycle("2000-ops", _long, "'first'"),
    _cycle("late-pair", _late_pair, "'op_1'", "'op_3'"),
    _cycle("late-then-forward", _late_then_forward, "'op_1'", "'op_2'"),
    Bad("cycle-forged", _forged, GRAPH, ("wait for each other", "a <- b <- a"), leaves=("Identity",)),
    Bad("graphs-left-in-wrong-order", _wrong_exit, FAILED, ("order in which they were entered",)),
    Bad("reset-inside-as_default", _reset_inside, FAILED, ("as_default()", "leave the block first")),
    _scope("device-number", lambda w: tf.device(3), GRAPH, "a device is a string", "3"),
    _scope("device-list", lambda w: tf.device(["/cpu:0"]), GRAPH, "a device is a string"),
    _scope("device-function", lambda w: tf.device(lambda op: 3), GRAPH, "a device is a string"),
    _scope("controls-number", lambda w: tf.control_dependencies(5), GRAPH, "int"),
    _scope("controls-None-inside", lambda w: tf.control_dependencies([None]), GRAPH, "NoneType"),
    _scope("controls-nested", lambda w: tf.control_dependencies([[w.twice]]), GRAPH, "list"),
    _scope("controls-name", lambda w: tf.control_dependencies(["nothing"]), MISSING_NAME, "nothing"),
    _scope("controls-function", lambda w: tf.control_dependencies([lambda: 1]), GRAPH, "function"),
    _scope("override-text", lambda w: w.graph.gradient_override_map("Add"), INVALID, "dict of strings"),
    _scope("override-None", lambda w: w.graph.gradient_override_map(None), INVALID, "dict of strings"),
    _scope("override-function", lambda w: w.graph.gradient_override_map({"Add": print}), INVALID, "dict of strings"),
    _scope("override-key", lambda w: w.graph.gradient_override_map({1: "Add"}), INVALID, "dict of strings"),
    _scope("colocate-None", lambda w: tf.colocate_with(None), GRAPH, "colocate_with"),
    _scope("colocate-text", lambda w: tf.colocate_with("y"), GRAPH, "colocate_with", "'y'"),
    Bad("attr-unknown", lambda w: w.y.op.get_attr("nothing"), INVALID, ("no attribute 'nothing'", "'y'")),
    Bad("set_shape-conflict", lambda w: w.y.set_shape([None, 5]), SHAPE,
        ("shapes do not agree", "[?, 2]", "[?, 5]", "'y'")),
    Bad("set_shape-rank", lambda w: w.y.set_shape([2]), SHAPE, ("shapes do not agree", "[2]")),
    Bad("set_shape-text", lambda w: w.any.set_shape("ab"), DTYPE, ("'ab'",)),
    Bad("set_shape-negative", lambda w: w.any.set_shape([-1]), SHAPE, ("negative",)),
    Bad("group-parameter", lambda w: tf.group(w.step, nam="x"), INVALID, ("no parameter", "nam")),
    Bad("group-number", lambda w: tf.group(3), GRAPH, ("int",)),
]  # fmt: skip
