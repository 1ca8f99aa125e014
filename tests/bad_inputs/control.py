"""Conditionals, loops, Python functions in the graph, assertions.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.world import (
    DTYPE,
    EXHAUSTED,
    GRAPH,
    INVALID,
    OURS,
    OUT_OF_RANGE,
    SHAPE,
    UNIMPLEMENTED,
    UNKNOWN,
    Bad,
    Kind,
    World,
)

BUILT = (
    "If", "While", "Less", "Identity", "NoOp", "ReadVariable", "PyFunc", "Neg", "Add", "Assert", "All", "Equal",
    "AssertTrue", "AtMostOne", "CheckNumerics", "Pack", "Stack", "Shape", "StridedSlice", "Log", "Mul", "Greater",
    "Sub", "FloorDiv", "Cast",
)  # fmt: skip


def _build(name: str, do: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(name, do, kind, words, leaves=BUILT)


def _run(name: str, build: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    def do(world: World) -> Any:
        return world.session.run(build(world), {world.s: 1.5, world.n: 3, world.flag: True, world.x: np.zeros((2, 3))})

    return Bad(name, do, kind, words, leaves=BUILT)


def _cond(pred: Callable[[World], Any], true: Any = None, false: Any = None) -> Callable[[World], Any]:
    def do(world: World) -> Any:
        return tf.cond(pred(world), true or (lambda: world.s), false or (lambda: world.twice))

    return do


def _loop(cond: Any, body: Any, start: Any = (0,), **arguments: Any) -> Callable[[World], Any]:
    return lambda world: tf.while_loop(cond, body, list(start), **arguments)


def _raises(error: Exception) -> Callable[..., Any]:
    def user_function(*_: Any) -> Any:
        raise error

    return user_function


def _func(function: Callable[..., Any], out: Any = tf.float32) -> Callable[[World], Any]:
    return lambda world: tf.py_func(function, [world.s], out, name="python")


def _leak(world: World) -> Any:
    inside = []

    def body(i: Any) -> Any:
        inside.append(i + 1)
        return inside[-1]

    tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])
    return inside[0] + 1


def _three(i: Any) -> Any:
    return i < 3


def _same(i: Any) -> Any:
    return i


ROWS = [
    _build("cond-python-bool", _cond(lambda w: True), DTYPE, "Python bool", "Python's own `if`"),
    _build("cond-number", _cond(lambda w: w.s), DTYPE, "predicate must be bool", "float32"),
    _build("cond-vector", _cond(lambda w: tf.constant([True, False])), SHAPE, "scalar", "[2]"),
    _build("cond-None", _cond(lambda w: None), DTYPE, "None"),
    _build("cond-no-functions", lambda w: tf.cond(w.flag), DTYPE, "two functions"),
    _build("cond-tensors", lambda w: tf.cond(w.flag, w.s, w.twice), DTYPE, "two functions", "lambda"),
    _build("cond-one-function", lambda w: tf.cond(w.flag, lambda: w.s), DTYPE, "two functions"),
    _build("cond-returns-None", _cond(lambda w: w.flag, lambda: None), INVALID, "returned None", "`return`"),
    _build("cond-dtypes", _cond(lambda w: w.flag, lambda: tf.constant(1)), DTYPE, "int32", "float32"),
    _build("cond-structures", _cond(lambda w: w.flag, lambda: (tf.constant(1.0), tf.constant(2.0))), INVALID,
           "structure"),
    _build("while-body-None", _loop(_three, lambda i: None), INVALID, "returned None", "`return`"),
    _build("while-not-functions", _loop(True, 3), DTYPE, "two functions"),
    _build("while-no-variables", _loop(lambda: True, lambda: (), start=()), INVALID, "loop"),
    _build("while-cond-dtype", _loop(_same, _same), DTYPE, "one bool", "int32"),
    _build("while-cond-vector", _loop(lambda i: tf.constant([True, False]), _same), SHAPE, "scalar", "[2]"),
    _build("while-cond-two", _loop(lambda i: (i < 3, i < 4), _same), DTYPE, "one bool"),
    _build("while-cond-None", _loop(lambda i: None, _same), INVALID, "returned None"),
    _build("while-body-dtype", _loop(_three, lambda i: tf.cast(i, tf.float32)), DTYPE, "dtype of loop variable 0",
           "int32", "float32"),
    _build("while-body-shape", _loop(_three, lambda i: tf.stack([i, i])), SHAPE, "shape of loop variable 0",
           "[]", "[2]", "shape_invariants"),
    _build("while-body-too-few", _loop(lambda i, j: i < 3, lambda i, j: i, start=(0, 1)), INVALID, "structure",
           "2 tensors"),
    _build("while-body-too-many", _loop(_three, lambda i: [i, i]), INVALID, "structure", "1 tensors"),
    _build("while-invariants-count", _loop(_three, _same, shape_invariants=[tf.TensorShape([]), tf.TensorShape([])]),
           INVALID, "one shape for each loop variable", "expected: 1", "got:      2"),
    _build("while-invariant", _loop(_three, _same, shape_invariants=[tf.TensorShape([2])]), SHAPE,
           "does not fit its loop variable", "[2]"),
    _build("while-None-variable", _loop(_three, _same, start=(None,)), DTYPE, "None"),
    _build("while-foreign", lambda w: tf.while_loop(_three, lambda i: i + tf.cast(w.stranger, tf.int32), [0]),
           GRAPH, "stranger:0"),
    _build("leak-from-a-loop", _leak, GRAPH, "belongs to another graph"),
    _build("case-empty", lambda w: tf.case([]), OURS, "case takes"),
    _build("case-not-pairs", lambda w: tf.case([w.flag]), DTYPE, "(predicate, function) pairs"),
    _run("case-none-holds", lambda w: tf.case([(w.s > 100.0, lambda: w.s)]), INVALID, "no predicate holds"),
    _run("case-two-hold",
         lambda w: tf.case([(w.flag, lambda: w.s), (w.s > 0.0, lambda: w.s)], default=lambda: w.s, exclusive=True),
         INVALID, "more than one predicate"),
    _build("map_fn-number", lambda w: tf.map_fn(3, w.pair), INVALID, "map_fn takes a function"),
    _build("map_fn-scalar", lambda w: tf.map_fn(lambda v: v, w.s), SHAPE, "rows"),
    _build("map_fn-nothing", lambda w: tf.map_fn(lambda v: v, []), INVALID, "at least one tensor"),
    _build("map_fn-dtype", lambda w: tf.map_fn(lambda v: v, w.pair, dtype=tf.int32), INVALID, "int32", "float32"),
    _build("py_func-not-callable", lambda w: tf.py_func(3, [w.s], tf.float32), DTYPE, "takes a function", "3"),
    _build("py_func-dtype", lambda w: tf.py_func(np.sin, [w.s], "float31"), DTYPE, "float31"),
    _build("py_func-input", lambda w: tf.py_func(np.sin, [None], tf.float32), DTYPE, "None"),
    _build("py_func-inputs", lambda w: tf.py_func(np.sin, w.s, tf.float32), DTYPE, "takes a list of tensors", "'s:0'"),
    _run("py_func-ValueError", _func(_raises(ValueError("my text"))), INVALID, "my text", "user_function", "'python'"),
    _run("py_func-TypeError", _func(_raises(TypeError("my text"))), INVALID, "my text", "TypeError"),
    _run("py_func-StopIteration", _func(_raises(StopIteration("my text"))), OUT_OF_RANGE, "'python'"),
    _run("py_func-KeyError", _func(_raises(KeyError("my text"))), UNKNOWN, "KeyError", "my text"),
    _run("py_func-ZeroDivision", _func(lambda v: 1 // 0), UNKNOWN, "ZeroDivisionError"),
    _run("py_func-MemoryError", _func(_raises(MemoryError())), EXHAUSTED, "MemoryError"),
    _run("py_func-NotImplemented", _func(_raises(NotImplementedError("later"))), UNIMPLEMENTED,
         "later"),
    _run("py_func-assert", _func(_raises(AssertionError("hm"))), UNKNOWN, "AssertionError", "hm"),
    _run("py_func-recursion", _func(_raises(RecursionError("deep"))), UNKNOWN, "RecursionError"),
    _run("py_func-wrong-dtype", _func(np.float64), INVALID, "wrong dtype", "float32", "float64", "astype"),
    _run("py_func-None", _func(lambda v: None), INVALID, "'python'"),
    _run("py_func-text", _func(lambda v: "a"), INVALID, "'python'", "float32"),
    _run("py_func-too-many", _func(lambda v: (v, v, v), [tf.float32, tf.float32]), INVALID, "returned 3 values",
         "expected: 2"),
    _run("py_func-too-large", _func(lambda v: 2**33, tf.int32), INVALID, "does not fit int32", "8589934592"),
    _run("py_func-infinite", _func(lambda v: 1e300), INVALID, "does not fit float32", "1e+300"),
    _run("py_func-too-few", _func(lambda v: (v,), [tf.float32, tf.float32]), INVALID, "returned 1 value",
         "expected: 2"),
    _run("py_func-ragged", _func(lambda v: [[v], [v, v]]), INVALID, "'python'"),
    _run("py_func-nested-failure", lambda w: tf.py_func(lambda v: w.session.run(w.y), [w.s], tf.float32), INVALID,
         "placeholder 'x'"),
    _run("Assert", lambda w: tf.Assert(w.s > 100.0, [w.s, "is small"], name="check"), INVALID, "assertion failed",
         "1.5",
         "is small", "'check'"),
    _build("Assert-data", lambda w: tf.Assert(w.flag, w.s), DTYPE, "list of tensors"),
    _build("Assert-condition", lambda w: tf.Assert(w.s, [w.s]), DTYPE, "must be bool", "float32"),
    _build("Print-data", lambda w: tf.Print(w.s, w.s), DTYPE, "list of tensors", "tf.Print(x, [x])"),
    _run("assert_equal", lambda w: tf.assert_equal(w.n, 4), INVALID, "x == y does not hold"),
    _run("check_numerics", lambda w: tf.check_numerics(tf.log(w.s - 1.5), "loss", name="finite"), INVALID,
         "loss : Tensor had Inf", "'finite'"),
    _build("check_numerics-integer", lambda w: tf.check_numerics(w.n, "n"), DTYPE, "int32"),
    _run("branch-failure",
         lambda w: tf.cond(w.flag, lambda: tf.check_numerics(tf.log(w.s - 1.5), "inside", name="finite"),
                                             lambda: w.s), INVALID, "inside : Tensor had Inf", "finite"),
    _run("loop-failure",
         lambda w: tf.while_loop(lambda i: i < 5, lambda i: i + tf.floordiv(1, 3 - i, name="ratio"), [w.n]),
         INVALID, "ratio"),
]  # fmt: skip
