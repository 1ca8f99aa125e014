"""Variables: uninitialised, of the wrong shape or dtype, written wrongly.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.world import DTYPE, FAILED, GRAPH, INVALID, OUT_OF_RANGE, SHAPE, UNIMPLEMENTED, Bad, Kind, World

MADE = ("VariableHandle", "Assign", "ReadVariable", "Identity", "NoOp", "Fill")
READ = ("ReadVariable", "AddN", "Add", "Neg", "MatMul")


def _fresh(name: str, fetch: Callable[[World], Any], *words: str) -> Bad:
    """In a session that has initialised nothing."""

    def do(world: World) -> Any:
        with tf.Session(graph=world.graph) as session:
            return session.run(fetch(world), {world.s: 1.0, world.n: 1, world.x: np.zeros((1, 3)), world.flag: True})

    return Bad(
        f"uninitialized-{name}", do, FAILED, ("not initialized", *words), leaves=(*READ, "Cast", "If", "Identity")
    )


def _two(world: World) -> Any:
    return [world.y, world.count]


def _in_a_long_program(world: World) -> Any:
    y = world.s
    for _ in range(600):
        y = -y
    return tf.add(y, tf.cast(world.count, tf.float32))


def _new(name: str, make: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(f"new-{name}", make, kind, words, leaves=MADE)


def _write(name: str, build: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(f"write-{name}", build, kind, words)


def _run(name: str, build: Callable[[World], Any], value: Any, kind: Kind, *words: str) -> Bad:
    """What only the run can tell: the shape of a value from Python is not known before."""

    def do(world: World) -> Any:
        given = tf.py_func(lambda: value, [], tf.as_dtype(np.asarray(value).dtype), name="given")
        return world.session.run([build(world)(given), world.w, world.count])

    return Bad(
        f"run-{name}", do, kind, words, leaves=("PyFunc", "Assign", "AssignAdd", "AssignSub", "Scatter", "CountUpTo")
    )


f32 = np.float32


def _inside_loop(world: World) -> Any:
    def body(i: Any) -> Any:
        return i + tf.Variable(i * 2)

    return tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])


ROWS = [
    _fresh("one", lambda w: w.w, "'w'"),
    _fresh("operation", lambda w: w.y.op, "'w'"),
    _fresh("through-an-op", lambda w: w.y, "'w'"),
    _fresh("all-at-once", _two, "variables 'count', 'w' are not initialized", "tf.global_variables_initializer()"),
    _fresh("assign_add", lambda w: w.step, "'count'"),
    _fresh("in-a-long-program", _in_a_long_program, "'count'"),
    _fresh("in-a-branch", lambda w: tf.cond(w.flag, lambda: w.w + 1.0, lambda: w.w + 2.0), "'w'"),
    _new("nothing", lambda w: tf.Variable(), INVALID, "initial_value must be specified"),
    _new("None", lambda w: tf.Variable(None), INVALID, "initial_value must be specified"),
    _new("unknown-shape", lambda w: tf.Variable(w.x), SHAPE, "must have a shape specified", "[?, 3]",
         "validate_shape=False"),
    _new("unknown-rank", lambda w: tf.Variable(w.any), SHAPE, "<unknown>"),
    _new("text-for-float", lambda w: tf.Variable("a", dtype=tf.float32), DTYPE, "initial value", "'a'"),
    _new("fraction-for-int", lambda w: tf.Variable(0.5, dtype=tf.int32), DTYPE, "0.5", "int32"),
    _new("ragged", lambda w: tf.Variable([[1.0], [2.0, 3.0]]), DTYPE, "initial value"),
    _new("object", lambda w: tf.Variable(object()), DTYPE, "object"),
    _new("tensor-of-other-dtype", lambda w: tf.Variable(w.n, dtype=tf.float32), DTYPE, "n:0 is int32"),
    _new("dtype", lambda w: tf.Variable(1.0, dtype="float31"), DTYPE, "'float31'", "float32"),
    _new("expected_shape", lambda w: tf.Variable([1.0, 2.0], expected_shape=[3]), SHAPE, "[3]", "[2]"),
    _new("collections-text", lambda w: tf.Variable(1.0, collections="variables"), DTYPE, "list of names"),
    _new("collections-number", lambda w: tf.Variable(1.0, collections=3), DTYPE, "list of names"),
    _new("constraint", lambda w: tf.Variable(1.0, constraint="positive"), DTYPE, "constraint"),
    _new("function-of-a-function", lambda w: tf.Variable(lambda: lambda: 1.0), DTYPE, "returns a function"),
    _new("foreign", lambda w: tf.Variable(w.stranger), GRAPH, "stranger:0", "another graph"),
    _new("from-a-loop", _inside_loop, GRAPH, "inside a branch or loop", "tf.Variable(lambda: ...)"),
    _new("definition", lambda w: tf.Variable(variable_def="w"), UNIMPLEMENTED, "VariableDef"),
    _write("shape", lambda w: w.w.assign(np.zeros((2, 2), f32)), SHAPE, "does not fit the variable", "[3, 2]",
           "[2, 2]"),
    _write("scalar", lambda w: w.w.assign(1.0), SHAPE, "[3, 2]", "[]"),
    _write("text", lambda w: w.w.assign("a"), DTYPE, "float32"),
    _write("None", lambda w: w.w.assign(None), DTYPE, "None"),
    _write("fraction", lambda w: w.count.assign(0.5), DTYPE, "0.5", "int32"),
    _write("tensor-dtype", lambda w: w.w.assign(w.typed["float64"]), DTYPE, "of_float64:0 is float64", "float32"),
    _write("add-shape", lambda w: w.w.assign_add(np.ones((3, 3), f32)), SHAPE, "[3, 2]", "[3, 3]"),
    _write("add-would-grow", lambda w: w.w.assign_add(np.ones((4, 3, 2), f32)), SHAPE, "[3, 2]", "[4, 3, 2]"),
    _write("add-scalar-would-grow", lambda w: w.count.assign_add([1, 2]), SHAPE, "[]", "[2]"),
    _write("add-would-broadcast", lambda w: w.w.assign_add(1.0), SHAPE, "[3, 2]", "[]", "v.assign(v + x)"),
    _write("sub-would-broadcast", lambda w: w.w.assign_sub([1.0, 1.0]), SHAPE, "[3, 2]", "[2]"),
    _write("sub-dtype", lambda w: w.count.assign_sub(1.5), DTYPE, "1.5"),
    _write("of-a-tensor", lambda w: tf.assign(w.y, w.y), DTYPE, "assign changes a variable", "'y'"),
    _write("of-a-placeholder", lambda w: tf.assign_add(w.s, 1.0), DTYPE, "assign_add changes a variable", "'s'"),
    _write("of-a-number", lambda w: tf.assign(3.0, 1.0), DTYPE, "a tf.Variable", "3.0"),
    _write("of-a-name", lambda w: tf.assign("w", 1.0), DTYPE, "a tf.Variable", "'w'"),
    _write("of-None", lambda w: tf.assign(None, 1.0), DTYPE, "None"),
    _write("scatter-float-indices", lambda w: tf.scatter_add(w.w, [0.5], [[1.0, 1.0]]), DTYPE, "0.5"),
    _write("scatter-updates", lambda w: tf.scatter_update(w.w, [0, 1], np.zeros((3, 2), f32)), SHAPE, "[2, 2]",
           "[3, 2]"),
    _write("scatter-scalar-variable", lambda w: tf.scatter_add(w.count, [0], [1]), SHAPE, "no rows"),
    _write("count-float", lambda w: tf.count_up_to(w.w, 3), DTYPE, "integer variable"),
    _write("count-limit", lambda w: tf.count_up_to(w.count, 1.5), DTYPE, "the limit is an integer", "1.5"),
    Bad("load-shape", lambda w: w.w.load(np.zeros((2, 2)), w.session), SHAPE, ("'w'", "[3, 2]", "[2, 2]")),
    Bad("load-text", lambda w: w.w.load("a", w.session), DTYPE, ("'w'", "float32")),
    Bad("load-overflow", lambda w: w.w.load(np.full((3, 2), 1e300), w.session), DTYPE, ("'w'", "1e+300")),
    _run("assign-shape", lambda w: w.w.assign, np.zeros((2, 2), f32), SHAPE, "'w'", "[3, 2]", "[2, 2]"),
    _run("add-shape", lambda w: w.w.assign_add, np.zeros((3, 3), f32), INVALID, "[3, 2]", "[3, 3]"),
    _run("add-would-grow", lambda w: w.w.assign_add, np.ones((4, 3, 2), f32), SHAPE, "'w'", "[3, 2]", "[4, 3, 2]"),
    _run("add-scalar-would-grow", lambda w: w.count.assign_add, np.ones(2, np.int32), SHAPE, "'count'", "[]", "[2]"),
    _run("scatter-out-of-range", lambda w: lambda rows: tf.scatter_add(w.w, rows, [[1.0, 1.0], [1.0, 1.0]], name="put"),
         np.array([0, 3], np.int32), INVALID, "'put'", "3"),
    _run("scatter-negative", lambda w: lambda rows: tf.scatter_update(w.w, rows, [[1.0, 1.0]], name="put"),
         np.array([-1], np.int32), INVALID, "'put'", "-1"),
    _run("count_up_to", lambda w: lambda given: tf.count_up_to(w.count, 7, name="limit"), 0, OUT_OF_RANGE,
         "Reached limit of 7", "'limit'"),
]  # fmt: skip
