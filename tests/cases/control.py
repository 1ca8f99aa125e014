"""Rows for conditionals, loops, assertions and the ops that look at values."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphflow as tf
from graphflow.ops import control
from graphflow.testing import Arg, ErrorCase, OpCase

YES, NO = np.array(True), np.array(False)


def _branch(p: Any, x: Any) -> Any:
    return tf.cond(p, lambda: tf.sin(x) * x, lambda: x * x * x)


def _powers(x: Any) -> Any:
    """x ** 4 by a loop."""
    return tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * x), [tf.constant(0), x])[1]


def _running(x: Any) -> Any:
    return tf.scan(lambda a, row: a * 0.5 + tf.sin(row), x)


def _scanned(x: Any) -> Any:
    rows = [x[0]]
    for row in x[1:]:
        rows.append(rows[-1] * 0.5 + np.sin(row))
    return np.array(rows)


def _row(x: Any) -> Any:
    return control.history_row(x, tf.constant(1))


def _half_slope(x: Any) -> Any:
    """x squared, whose gradient is stated to be x: the wrong one, so that only a statement can give it."""

    @tf.custom_gradient
    def square(v: Any) -> Any:
        return v * v, lambda dy: dy * v * 2.0

    return square(x)


def _passing(check: Any) -> Any:
    def build(x: Any) -> Any:
        with tf.control_dependencies([check(x)]):
            return tf.identity(x)

    return build


def _same(x: Any) -> Any:
    return x


CASES = [
    OpCase(
        op="If", id="then", build=lambda x: _branch(tf.constant(True), x), inputs=(Arg((3,)),),
        reference=lambda x: np.sin(x) * x, analytic=False, zero=(((0,),),),
    ),
    OpCase(
        op="If", id="else", build=lambda x: _branch(tf.constant(False), x), inputs=(Arg((2, 2)),),
        reference=lambda x: x * x * x, analytic=False, zero=(((0, 2),),),
    ),
    OpCase(
        op="If", id="fed predicate", build=_branch, inputs=(YES, Arg((4,))), wrt=(1,),
        reference=lambda p, x: np.sin(x) * x, analytic=False,
    ),
    OpCase(
        op="While", id="powers", build=_powers, inputs=(Arg((3,)),), reference=lambda x: x**4, analytic=False,
        tol=1e-11, zero=(((0,),),),
    ),
    OpCase(
        op="While", id="scan", build=_running, inputs=(Arg((4, 2)),), reference=_scanned, analytic=False,
    ),
    OpCase(
        op="HistoryRow", id="row", build=_row, inputs=(Arg((3, 2)),), reference=lambda x: x[1], zero=(((3, 0),),),
    ),
    OpCase(
        op="CustomGradient", id="square", build=_half_slope, inputs=(Arg((3,)),), reference=lambda x: x * x,
        zero=(((0,),),),
    ),
    OpCase(
        op="CheckNumerics", id="finite", build=lambda x: tf.check_numerics(x, "x"), inputs=(Arg((3,)),),
        reference=_same, analytic=False, zero=(((0,),),),
    ),
    OpCase(
        op="Print", id="nothing to show", build=lambda x: tf.Print(x, [], first_n=0), inputs=(Arg((3,)),),
        reference=_same, analytic=False, zero=(((0,),),),
    ),
    OpCase(
        op="PyFunc", id="numpy", build=lambda x: tf.py_func(np.sort, [x], x.dtype), inputs=(Arg((3,)),), wrt=(),
        reference=np.sort, zero=(((0,),),),
    ),
    OpCase(
        op="Assert", id="holds", build=_passing(lambda x: tf.Assert(tf.reduce_all(x < 10.0), [x])), inputs=(Arg((3,)),),
        reference=_same, analytic=False, zero=(((0,),),),
    ),
    OpCase(
        op="AssertTrue", id="holds", build=_passing(lambda x: control.assert_true(x < 10.0, "no")), inputs=(Arg((3,)),),
        reference=_same, analytic=False, zero=(((0,),),),
    ),
    OpCase(
        op="AtMostOne", id="holds", build=_passing(lambda x: control.at_most_one(x > 10.0)), inputs=(Arg((3,)),),
        reference=_same, analytic=False, zero=(((0,),),),
    ),
]  # fmt: skip


def _run(fetch: Any) -> Any:
    with tf.Session() as sess:
        return sess.run(fetch)


INVALID = tf.errors.InvalidArgumentError
ERRORS = [
    ErrorCase("If", "float predicate", lambda: tf.cond(tf.constant(1.0), lambda: 1.0, lambda: 2.0), INVALID, "bool"),
    ErrorCase("If", "vector", lambda: tf.cond(tf.constant([True]), lambda: 1.0, lambda: 2.0), INVALID, "scalar"),
    ErrorCase("While", "no bool", lambda: tf.while_loop(lambda i: i, lambda i: i, [0]), INVALID, "bool"),
    ErrorCase(
        "HistoryRow", "past the end", lambda: _run(control.history_row(tf.zeros([2]), tf.constant(5))), INVALID, "range"
    ),
    ErrorCase("Assert", "fails", lambda: _run(tf.Assert(tf.constant(False), ["no"])), INVALID, "assertion failed: no"),
    ErrorCase("Assert", "not a bool", lambda: tf.Assert(tf.constant(1), []), INVALID, "bool"),
    ErrorCase("AssertTrue", "fails", lambda: _run(control.assert_true(tf.constant(False), "why")), INVALID, "why"),
    ErrorCase(
        "AtMostOne", "two", lambda: _run(control.at_most_one(tf.constant([True, True]))), INVALID, "more than one"
    ),
    ErrorCase(
        "CheckNumerics", "NaN", lambda: _run(tf.check_numerics(tf.constant(np.nan), "here")), INVALID, "here.*NaN"
    ),
    ErrorCase("CheckNumerics", "ints", lambda: tf.check_numerics(tf.constant(1), "here"), INVALID, "inexact"),
    ErrorCase("Print", "no list", lambda: tf.Print(tf.constant(1.0), tf.constant(1.0)), INVALID, "list"),
    ErrorCase("PyFunc", "dtype", lambda: _run(tf.py_func(lambda: np.int64(1), [], tf.float32)), INVALID, "dtype"),
    ErrorCase(
        "PyFunc", "count", lambda: _run(tf.py_func(lambda: 1.0, [], [tf.float32] * 2)), INVALID, "returned 1 value"
    ),
    ErrorCase("PyFunc", "no function", lambda: tf.py_func(3, [], tf.float32), INVALID, "function"),
    ErrorCase(
        "PyFunc", "raises", lambda: _run(tf.py_func(lambda: 1 // 0, [], tf.int64)), tf.errors.UnknownError, "ZeroDiv"
    ),
    ErrorCase(
        "CustomGradient", "no pair", lambda: tf.custom_gradient(lambda x: x)(tf.constant(1.0)), INVALID, "gradient"
    ),
    ErrorCase(
        "CustomGradient",
        "too many",
        lambda: tf.gradients(tf.custom_gradient(lambda x: (x, lambda dy: (dy, dy)))(a := tf.constant(1.0)), a),
        INVALID,
        "returned 2",
    ),
    ErrorCase(
        "CustomGradient",
        "not callable",
        lambda: tf.custom_gradient(lambda x: (x, 1))(tf.constant(1.0)),
        INVALID,
        "y, grad",
    ),
]
