"""Constants, placeholders, shapes and dtypes as arguments.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.feeds import VALUES
from tests.bad_inputs.world import DTYPE, OUT_OF_RANGE, SHAPE, SYMBOLIC, Bad, Kind, World

# what is a value where nobody says of which dtype
FINE_ALONE = {"text", "list_of_text", "bytes", "unicode_array", "byte_strings", "complex_array"}


def _row(name: str, do: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(name, do, kind, words)


def _dtype(name: str, value: Any) -> Bad:
    return Bad(
        f"dtype-{name}", lambda w: tf.placeholder(value), DTYPE, ("cannot convert", "to a dtype", "float32"),
    )  # fmt: skip


def _shape(name: str, value: Any, kind: Kind, *words: str) -> Bad:
    return Bad(f"shape-{name}", lambda w: tf.placeholder(tf.float32, value), kind, words)


def _itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


ROWS = [
    _row(f"value-{name}", lambda w, make=make: tf.constant(make()), DTYPE)
    for name, make in VALUES.items()
    if name not in FINE_ALONE
]
ROWS += [
    _row(f"convert-{name}", lambda w, make=make: tf.convert_to_tensor(make(), tf.float32), DTYPE)
    for name, make in VALUES.items()
]
ROWS += [
    _row("text-as-float", lambda w: tf.constant("a", tf.float32), DTYPE, "float32"),
    _row("fraction-as-int", lambda w: tf.constant([1, 0.5], tf.int32), DTYPE, "0.5", "int32"),
    _row("nan-as-int", lambda w: tf.constant(float("nan"), tf.int32), DTYPE, "nan"),
    _row("large-as-int", lambda w: tf.constant(2**33, tf.int32), DTYPE, "8589934592"),
    _row("negative-as-uint", lambda w: tf.constant(-1, tf.uint8), DTYPE, "-1"),
    _row("large-as-float", lambda w: tf.constant(1e39, tf.float32), DTYPE, "1e+39"),
    _row("complex-as-float", lambda w: tf.constant(1j, tf.float32), DTYPE, "complex"),
    _row("tensor", lambda w: tf.constant(w.s), DTYPE, "not of a tensor", "tf.identity"),
    _row("variable", lambda w: tf.constant(w.w), DTYPE, "not of a tensor"),
    _row("fill-too-small", lambda w: tf.constant([1, 2, 3], shape=[2]), SHAPE, "[2]", "[3]"),
    _row("fill-of-nothing", lambda w: tf.constant([], shape=[2]), SHAPE, "[2]", "[0]"),
    _row("fill-unknown", lambda w: tf.constant(1, shape=[None]), SHAPE, "complete shape"),
    _row("fill-negative", lambda w: tf.constant(1, shape=[-1]), SHAPE, "negative"),
    _row("verify_shape", lambda w: tf.constant([1, 2], shape=[2, 2], verify_shape=True), SHAPE, "[2, 2]", "[2]"),
    _row("verify_shape-scalar", lambda w: tf.constant(1, shape=[3], verify_shape=True), SHAPE, "[3]", "[]"),
    _row("list-in-itself", lambda w: tf.add(w.s, _itself()), DTYPE),
    _row("list-of-tensor-and-text", lambda w: tf.convert_to_tensor([w.s, "a"]), DTYPE),
    _row("list-of-shapes", lambda w: tf.convert_to_tensor([w.s, w.pair]), SHAPE, "[]", "[2, 3]"),
    _row("list-of-dtypes", lambda w: tf.convert_to_tensor([w.s, w.n]), DTYPE, "float32", "int32"),
    _row("convert-other-dtype", lambda w: tf.convert_to_tensor(w.s, tf.int32), DTYPE, "s:0 is float32", "tf.cast"),
    _dtype("text", "float31"),
    _dtype("empty", ""),
    _dtype("None", None),
    _dtype("number", 32),
    _dtype("list", [tf.float32]),
    _dtype("date", "datetime64[s]"),
    _dtype("record", [("a", "f4")]),
    _dtype("void", np.dtype("V8")),
    _dtype("longdouble", np.dtype("complex256") if hasattr(np, "complex256") else "V16"),
    _dtype("module", np),
    _dtype("tensor", object()),
    _shape("text", "ab", DTYPE, "'ab'"),
    _shape("number-text", ["2"], DTYPE, "'2'"),
    _shape("float", [2.5], DTYPE, "2.5"),
    _shape("negative", [-1, 2], SHAPE, "-1"),
    _shape("negative-number", -3, SHAPE, "-3"),
    _shape("True", [True], DTYPE, "True"),
    _shape("nested", [[2, 3]], DTYPE, "[2, 3]"),
    _shape("matrix", np.zeros((2, 2), int), SHAPE, "rank 2"),
    _shape("dict", {"a": 1}, DTYPE, "'a'"),
    _shape("object", object(), DTYPE, "object"),
    _shape("nan", [float("nan")], DTYPE, "nan"),
    _shape("complex", [1j], DTYPE, "1j"),
    _row("shape-tensor", lambda w: tf.placeholder(tf.float32, w.n), DTYPE, "n:0"),
    _row("default-shape", lambda w: tf.placeholder_with_default([1.0, 2.0], [3]), SHAPE, "[3]", "[2]"),
    _row("dimension-unknown", lambda w: int(w.x.shape[0]), SYMBOLIC, "unknown"),
    _row("dimension-range", lambda w: range(w.x.shape[0]), SYMBOLIC, "tf.shape(x)[i]"),
    _row("dimension-missing", lambda w: w.x.shape[5], OUT_OF_RANGE, "2 dimensions", "[5]"),
    _row("shape-list-of-unknown", lambda w: w.any.shape.as_list(), SHAPE, "unknown rank"),
    _row("shape-len-of-unknown", lambda w: len(w.any.shape), SHAPE, "unknown rank"),
    _row("shape-iter-of-unknown", lambda w: list(w.any.shape), SHAPE, "unknown rank"),
    _row("shape-not-defined", lambda w: w.x.shape.assert_is_fully_defined(), SHAPE, "[?, 3]"),
    _row("shape-rank", lambda w: w.x.shape.with_rank(3), SHAPE, "[?, 3]"),
    _row("shape-rank-at-least", lambda w: w.x.shape.with_rank_at_least(3), SHAPE, "rank 3"),
    _row("shape-merge", lambda w: w.x.shape.merge_with([2, 4]), SHAPE, "[?, 3]", "[2, 4]"),
    _row("shape-same-rank", lambda w: w.x.shape.assert_same_rank([1]), SHAPE, "[1]"),
    _row("as_dtype", lambda w: tf.as_dtype("quint8"), DTYPE, "'quint8'"),
]  # fmt: skip
