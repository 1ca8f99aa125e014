"""Shapes and dtypes that do not fit together, while building and in the run.

The families of ops have their own error rows in `tests/cases`; these are about the core: what an op is told, that the
user's own line is named, and that what only a run can tell is told as well.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.world import DTYPE, INVALID, OURS, SHAPE, Bad, Kind, World


def _build(name: str, do: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(f"build-{name}", do, kind, words, leaves=("Fill", "Pack", "ReadVariable"))


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def _run(name: str, build: Callable[[World], Any], feeds: dict[str, Any], kind: Kind, *words: str,
         leaves: tuple[str, ...] = ()) -> Bad:  # fmt: skip
    def do(world: World) -> Any:
        return world.session.run(build(world), {getattr(world, k): v for k, v in feeds.items()})

    return Bad(f"run-{name}", do, kind, words, leaves=leaves)


def _any_shape_plan(world: World) -> Any:
    """More shapes than plans: the shape error comes from the kernel, and must be as good."""
    y = tf.matmul(world.any, tf.ones([4, 2]), name="product")
    for rows in range(20):
        world.session.run(y, {world.any: _zeros(rows, 4)})
    return world.session.run(y, {world.any: _zeros(3, 5)})


def _long_program(world: World) -> Any:
    """More than 512 steps: a loop over steps and not generated source."""
    y = world.any
    for _ in range(600):
        y = -y
    y = tf.matmul(tf.py_func(lambda v: v, [y], tf.float32), tf.ones([4, 2]), name="product")
    return world.session.run(y, {world.any: _zeros(3, 5)})


def _with_shape(world: World) -> Any:
    y = tf.negative(world.any)
    y.set_shape([4])
    return y


ROWS = [
    _build("add", lambda w: tf.add(_zeros(2), tf.ones([3]), name="sum"), SHAPE, "Add", "'sum'", "[2] and [3]",
           "equal or 1"),
    _build("add-variable", lambda w: w.w + tf.ones([4, 2]), SHAPE, "[3, 2] and [4, 2]"),
    _build("multiply-literal", lambda w: w.x * [1.0, 2.0], SHAPE, "Mul", "[?, 3] and [2]"),
    _build("subtract-rows", lambda w: w.pair - tf.ones([4, 3]), SHAPE, "[2, 3] and [4, 3]"),
    _build("add-and-name", lambda w: tf.add(w.w, tf.ones([4, 2]), name=5), SHAPE, "[3, 2] and [4, 2]"),
    _build("matmul-inner", lambda w: tf.matmul(w.x, tf.ones([4, 2])), SHAPE, "inner dimensions", "[?, 3] @ [4, 2]"),
    _build("matmul-transposed", lambda w: tf.matmul(w.x, w.w, transpose_b=True), SHAPE, "transpose_b=True"),
    _build("matmul-vector", lambda w: tf.matmul(w.x, tf.ones([3])), SHAPE, "second argument", "[3]", "tf.expand_dims"),
    _build("matmul-scalar", lambda w: tf.matmul(w.s, w.w), SHAPE, "first argument", "rank 2 or more"),
    _build("matmul-operator", lambda w: w.w @ w.w, SHAPE, "[3, 2] @ [3, 2]"),
    _build("matmul-integers", lambda w: tf.matmul(w.x, tf.ones([3, 2], tf.int32)), DTYPE, "x:0 is float32", "int32"),
    _build("reshape-count", lambda w: tf.reshape(w.w, [4, 2]), SHAPE, "6 elements", "[4, 2]"),
    _build("reshape-open", lambda w: tf.reshape(w.w, [4, -1]), SHAPE, "6 elements"),
    _build("reshape-two-open", lambda w: tf.reshape(w.w, [-1, -1]), SHAPE, "at most one -1"),
    _build("reshape-negative", lambda w: tf.reshape(w.w, [-2, 3]), SHAPE, "negative"),
    _build("reshape-None", lambda w: tf.reshape(w.w, [None, 2]), SHAPE, "None", "-1"),
    _build("reshape-undetermined", lambda w: tf.reshape(tf.zeros([0, 3]), [-1, 0]), SHAPE, "undetermined"),
    _build("concat-rank", lambda w: tf.concat([w.x, w.w, w.s], 0), SHAPE, "one rank"),
    _build("concat-sizes", lambda w: tf.concat([w.w, tf.ones([3, 3])], 0), SHAPE, "[3, 2] and [3, 3]"),
    _build("concat-axis", lambda w: tf.concat([w.w, w.w], 2), SHAPE, "axis 2 is out of range"),
    _build("stack-shapes", lambda w: tf.stack([w.w, tf.ones([2, 3])]), SHAPE, "[3, 2]", "[2, 3]"),
    _build("reduce-axis", lambda w: tf.reduce_sum(w.w, 2), SHAPE, "axis 2", "-2 <= axis < 2"),
    _build("reduce-axis-twice", lambda w: tf.reduce_sum(w.w, [0, -2]), SHAPE, "given twice"),
    _build("transpose-perm", lambda w: tf.transpose(w.w, [0, 0]), INVALID, "[0, 0]"),
    _build("transpose-rank", lambda w: tf.transpose(w.w, [0, 1, 2]), SHAPE, "[3, 2]"),
    _build("dtypes", lambda w: tf.add(w.s, w.n), DTYPE, "graphflow promotes nothing", "s:0 is float32",
           "n:0 is int32", "tf.cast"),
    _build("dtypes-float64", lambda w: w.s * tf.constant(1.0, tf.float64), DTYPE, "float64", "tf.cast"),
    _build("dtypes-bool", lambda w: w.flag + w.flag, DTYPE, "bool"),
    _build("literal-fraction", lambda w: w.n + 0.5, DTYPE, "0.5", "int32"),
    _build("literal-nan", lambda w: w.n + float("nan"), DTYPE, "nan", "int32"),
    _build("literal-large", lambda w: w.n + 2**33, DTYPE, "8589934592", "int32"),
    _build("literal-huge", lambda w: w.s * 1e300, DTYPE, "1e+300", "float32"),
    _build("literal-complex", lambda w: w.s * 1j, DTYPE, "complex", "float32"),
    _build("literal-text", lambda w: w.s + "1", DTYPE, "float32", "'1'"),
    _build("literal-None", lambda w: w.s + None, DTYPE, "None"),
    _build("literal-ragged", lambda w: tf.add(w.s, [[1.0], [2.0, 3.0]]), DTYPE, "[[1.0], [2.0, 3.0]]"),
    _build("literal-set", lambda w: w.s + {1.0}, DTYPE, "set"),
    _build("literal-masked", lambda w: w.s + np.ma.array([1.0], mask=[True]), DTYPE, "mask"),
    _build("literal-float64-array", lambda w: tf.add(w.n, np.array([0.5])), DTYPE, "0.5", "int32"),
    _build("literal-object", lambda w: tf.add(w.s, object()), DTYPE, "object"),
    _run("broadcast-known-by-feeds", lambda w: tf.add(w.any, w.x, name="sum"), {"any": _zeros(2, 4), "x": _zeros(2, 3)},
         SHAPE, "Add", "'sum'", "[2, 4] and [2, 3]", leaves=("Add",)),
    _run("matmul-known-by-feeds", lambda w: tf.matmul(w.any, w.w, name="product"), {"any": _zeros(2, 4)}, SHAPE,
         "inner dimensions", "'product'", "[2, 4] @ [3, 2]", leaves=("MatMul", "ReadVariable")),
    _run("reshape-known-by-feeds", lambda w: tf.reshape(w.any, [2, 3], name="form"), {"any": _zeros(5)}, SHAPE,
         "'form'", "5 elements", leaves=("Reshape",)),
    _run("reshape-to-a-fed-shape", lambda w: tf.reshape(w.w, w.typed["int32"], name="form"), {}, INVALID,
         "of_int32", leaves=("Reshape", "ReadVariable")),
    _run("set_shape-does-not-hold", _with_shape, {"any": _zeros(5)}, SHAPE, "shapes do not agree",
         "[4]", "[5]", "set_shape", leaves=("Neg",)),
    Bad("run-any-shape-plan", _any_shape_plan, INVALID, ("MatMul", "'product'", "float32[3, 5]"),
        leaves=("MatMul", "Fill")),
    Bad("run-long-program", _long_program, INVALID, ("'product'", "float32[3, 5]", "float32[4, 2]"),
        leaves=("Neg", "PyFunc", "MatMul", "Fill")),
    _run("gather-out-of-range", lambda w: tf.gather(w.w, w.n, name="row"), {"n": 3}, OURS,
         "'row'", "3", leaves=("GatherV2", "Gather", "ReadVariable")),
    _run("gather-negative", lambda w: tf.gather(w.w, w.n, name="row"), {"n": -1}, OURS, "'row'", "-1",
         leaves=("GatherV2", "Gather", "ReadVariable")),
    _run("divide-integers-by-zero", lambda w: tf.floordiv(w.n, w.n - w.n, name="ratio"), {"n": 3}, INVALID, "'ratio'",
         leaves=("FloorDiv", "Sub")),
    _run("mod-by-zero", lambda w: tf.floormod(w.n, w.n - w.n, name="rest"), {"n": 3}, INVALID, "'rest'",
         leaves=("FloorMod", "Sub")),
]  # fmt: skip
