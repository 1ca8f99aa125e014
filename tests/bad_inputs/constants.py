"""Constants, placeholders, shapes and dtypes as arguments.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.feeds import VALUES
from tests.bad_inputs.world import Bad, World

DTypeError, ShapeError, Invalid = tf.errors.DTypeError, tf.errors.ShapeError, tf.errors.InvalidArgumentError

# what is a value where nobody says of which dtype
FINE_ALONE = {"text", "list_of_text", "bytes", "unicode_array", "byte_strings", "complex_array"}


def _row(name: str, do: Callable[[World], Any], error: type[Exception], builtin: type[Exception], *words: str) -> Bad:
    return Bad(name, do, error, builtin, words)


def _dtype(name: str, value: Any) -> Bad:
    return Bad(
        f"dtype-{name}", lambda w: tf.placeholder(value), DTypeError, TypeError, ("cannot convert", "to a dtype", "float32"),
    )  # fmt: skip


def _shape(name: str, value: Any, error: type[Exception], *words: str) -> Bad:
    builtin = TypeError if error is DTypeError else ValueError
    return Bad(f"shape-{name}", lambda w: tf.placeholder(tf.float32, value), error, builtin, words)


def _itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


ROWS = [
    _row(f"value-{name}", lambda w, make=make: tf.constant(make()), DTypeError, TypeError)
    for name, make in VALUES.items()
    if name not in FINE_ALONE
]
ROWS += [
    _row(f"convert-{name}", lambda w, make=make: tf.convert_to_tensor(make(), tf.float32), DTypeError, TypeError)
    for name, make in VALUES.items()
]
ROWS += [
    _row("text-as-float", lambda w: tf.constant("a", tf.float32), DTypeError, TypeError, "float32"),
    _row("fraction-as-int", lambda w: tf.constant([1, 0.5], tf.int32), DTypeError, TypeError, "0.5", "int32"),
    _row("nan-as-int", lambda w: tf.constant(float("nan"), tf.int32), DTypeError, TypeError, "nan"),
    _row("large-as-int", lambda w: tf.constant(2**33, tf.int32), DTypeError, TypeError, "8589934592"),
    _row("negative-as-uint", lambda w: tf.constant(-1, tf.uint8), DTypeError, TypeError, "-1"),
    _row("large-as-float", lambda w: tf.constant(1e39, tf.float32), DTypeError, TypeError, "1e+39"),
    _row("complex-as-float", lambda w: tf.constant(1j, tf.float32), DTypeError, TypeError, "complex"),
    _row("tensor", lambda w: tf.constant(w.s), DTypeError, TypeError, "not of a tensor", "tf.identity"),
    _row("variable", lambda w: tf.constant(w.w), DTypeError, TypeError, "not of a tensor"),
    _row("fill-too-small", lambda w: tf.constant([1, 2, 3], shape=[2]), ShapeError, ValueError, "[2]", "[3]"),
    _row("fill-of-nothing", lambda w: tf.constant([], shape=[2]), ShapeError, ValueError, "[2]", "[0]"),
    _row("fill-unknown", lambda w: tf.constant(1, shape=[None]), ShapeError, ValueError, "complete shape"),
    _row("fill-negative", lambda w: tf.constant(1, shape=[-1]), ShapeError, ValueError, "negative"),
    _row("verify_shape", lambda w: tf.constant([1, 2], shape=[2, 2], verify_shape=True), ShapeError, ValueError, "[2, 2]", "[2]"),
    _row("verify_shape-scalar", lambda w: tf.constant(1, shape=[3], verify_shape=True), ShapeError, ValueError, "[3]", "[]"),
    _row("list-in-itself", lambda w: tf.add(w.s, _itself()), DTypeError, TypeError),
    _row("list-of-tensor-and-text", lambda w: tf.convert_to_tensor([w.s, "a"]), DTypeError, TypeError),
    _row("list-of-shapes", lambda w: tf.convert_to_tensor([w.s, w.pair]), ShapeError, ValueError, "[]", "[2, 3]"),
    _row("list-of-dtypes", lambda w: tf.convert_to_tensor([w.s, w.n]), DTypeError, TypeError, "float32", "int32"),
    _row("convert-other-dtype", lambda w: tf.convert_to_tensor(w.s, tf.int32), DTypeError, TypeError, "s:0 is float32", "tf.cast"),
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
    _shape("text", "ab", DTypeError, "'ab'"),
    _shape("number-text", ["2"], DTypeError, "'2'"),
    _shape("float", [2.5], DTypeError, "2.5"),
    _shape("negative", [-1, 2], ShapeError, "-1"),
    _shape("negative-number", -3, ShapeError, "-3"),
    _shape("True", [True], DTypeError, "True"),
    _shape("nested", [[2, 3]], DTypeError, "[2, 3]"),
    _shape("matrix", np.zeros((2, 2), int), ShapeError, "rank 2"),
    _shape("dict", {"a": 1}, DTypeError, "'a'"),
    _shape("object", object(), DTypeError, "object"),
    _shape("nan", [float("nan")], DTypeError, "nan"),
    _shape("complex", [1j], DTypeError, "1j"),
    _row("shape-tensor", lambda w: tf.placeholder(tf.float32, w.n), DTypeError, TypeError, "n:0"),
    _row("default-shape", lambda w: tf.placeholder_with_default([1.0, 2.0], [3]), ShapeError, ValueError, "[3]", "[2]"),
    _row("dimension-unknown", lambda w: int(w.x.shape[0]), tf.errors.SymbolicUseError, TypeError, "unknown"),
    _row("dimension-range", lambda w: range(w.x.shape[0]), tf.errors.SymbolicUseError, TypeError, "tf.shape(x)[i]"),
    _row("dimension-missing", lambda w: w.x.shape[5], tf.errors.OutOfRangeError, IndexError, "2 dimensions", "[5]"),
    _row("shape-list-of-unknown", lambda w: w.any.shape.as_list(), ShapeError, ValueError, "unknown rank"),
    _row("shape-len-of-unknown", lambda w: len(w.any.shape), ShapeError, ValueError, "unknown rank"),
    _row("shape-iter-of-unknown", lambda w: list(w.any.shape), ShapeError, ValueError, "unknown rank"),
    _row("shape-not-defined", lambda w: w.x.shape.assert_is_fully_defined(), ShapeError, ValueError, "[?, 3]"),
    _row("shape-rank", lambda w: w.x.shape.with_rank(3), ShapeError, ValueError, "[?, 3]"),
    _row("shape-rank-at-least", lambda w: w.x.shape.with_rank_at_least(3), ShapeError, ValueError, "rank 3"),
    _row("shape-merge", lambda w: w.x.shape.merge_with([2, 4]), ShapeError, ValueError, "[?, 3]", "[2, 4]"),
    _row("shape-same-rank", lambda w: w.x.shape.assert_same_rank([1]), ShapeError, ValueError, "[1]"),
    _row("as_dtype", lambda w: tf.as_dtype("quint8"), DTypeError, TypeError, "'quint8'"),
]  # fmt: skip
