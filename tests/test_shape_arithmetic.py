"""What is known of shapes while the graph is built, and what is no longer computed when they are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.constants import convert_to_tensor
from graphflow.gradients import gradients
from graphflow.indexed_slices import IndexedSlices
from graphflow.ops import arrange, array, blocks, casts, core, index, masks, ordering, slicing, state

STATIC: dict[str, tuple[Callable[..., Any], Any]] = {
    "reshape by a size of a run": (lambda x, s: array.reshape(x, [s[0], 12]), [None, 12]),
    "reshape by NumPy integers": (lambda x, s: array.reshape(x, [np.int64(12), s[0]]), [12, None]),
    "product of sizes": (lambda x, s: array.reshape(x, [-1, s[1] * s[2]]), [None, 12]),
    "sizes joined": (lambda x, s: array.reshape(x, array.concat([s[:1], [12]], 0)), [None, 12]),
    "sizes unstacked": (lambda x, s: array.reshape(x, array.stack(array.unstack(s)[::-1])), [4, 3, None]),
    "sizes split": (lambda x, s: array.zeros(array.split(s, [1, 2])[1]), [3, 4]),
    "sizes cast": (lambda x, s: array.zeros(casts.to_int32(casts.to_int64(s))), [None, 3, 4]),
    "sizes reversed": (lambda x, s: array.zeros(arrange.reverse(s, [0])), [4, 3, None]),
    "sizes sliced": (lambda x, s: array.zeros(slicing.slice_(s, [1], [-1])), [3, 4]),
    "sizes gathered": (lambda x, s: array.zeros(index.gather(s, [2, 2, 0])), [4, 4, None]),
    "a size gathered": (lambda x, s: array.zeros([index.gather(s, 1)]), [3]),
    "a size expanded": (lambda x, s: array.zeros(array.expand_dims(s[1], 0)), [3]),
    "a size squeezed": (lambda x, s: array.zeros([array.squeeze(s[1:2])]), [3]),
    "a size reshaped": (lambda x, s: array.zeros(array.reshape(s[1], [1])), [3]),
    "a size repeated": (lambda x, s: array.zeros(array.fill([2], s[1])), [3, 3]),
    "a size broadcast": (lambda x, s: array.zeros(array.broadcast_to(s[1], [2])), [3, 3]),
    "number of elements": (lambda x, s: array.zeros([array.size(x[0])]), [12]),
    "rank": (lambda x, s: array.zeros([array.rank(x)]), [3]),
    "range": (lambda x, s: array.zeros(array.range_(1, s[1])), [1, 2]),
    "length of a range": (lambda x, s: array.range_(s[1] - 1, 12, 2), [5]),
    "length of a range of fractions": (lambda x, s: array.range_(0.0, 1.0, 0.125), [8]),
    "shape broadcast": (lambda x, s: array.zeros(arrange.broadcast_dynamic_shape(s[1:], [5, 1, 1])), [5, 3, 4]),
    "tile": (lambda x, s: arrange.tile(x, [1, s[1], 2]), [None, 9, 8]),
    "pad, some sizes of a run": (lambda x, s: arrange.pad(x, [[0, s[0]], [1, 1], [s[1], 0]]), [None, 5, 7]),
    "pad by a constant": (lambda x, s: arrange.pad(x, core.constant([[0, 0], [1, 1], [2, 0]])), [None, 5, 6]),
    "transpose by a constant": (lambda x, s: arrange.transpose(x, core.constant([2, 0, 1])), [4, None, 3]),
    "transpose by sizes": (lambda x, s: arrange.transpose(x, array.range_(array.rank(x))), [None, 3, 4]),
    "axis by a tensor": (lambda x, s: array.concat([x, x], array.rank(x) - 1), [None, 3, 8]),
    "slice to a size": (lambda x, s: x[:, : s[1] - 1, 0], [None, 2]),
    "slice of unknown length": (lambda x, s: x[1:, ::-1], [None, 3, 4]),
    "slice by function": (lambda x, s: slicing.slice_(x, [0, 1, 0], [-1, 2, s[1]]), [None, 2, 3]),
    "one hot by a size": (lambda x, s: index.one_hot([[1], [2]], s[1], axis=1), [2, 3, 1]),
    "sequence mask": (lambda x, s: masks.sequence_mask([1, 2], s[1]), [2, 3]),
    "unit matrix": (lambda x, s: blocks.eye(s[1], batch_shape=[s[0]]), [None, 3, 3]),
    "largest entries": (lambda x, s: ordering.top_k(x, s[1] - 1).values, [None, 3, 2]),
    "rows of a mask": (lambda x, s: index.boolean_mask(x, [True, False, True], axis=1), [None, None, 4]),
    "a mask in brackets": (lambda x, s: x[0][x[0] > 0], [None]),
    "where": (lambda x, s: index.where(x > 0), [None, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", STATIC)
def test_shape_known_while_building(name: str) -> None:
    build, wanted = STATIC[name]
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 3, 4])
        found = build(x, array.shape(x))
        assert found.get_shape().as_list() == wanted
        with tf.Session() as session:
            value = session.run(found, {x: np.ones((2, 3, 4))})
    assert len(value.shape) == len(wanted) and all(w in (None, n) for w, n in zip(wanted, value.shape, strict=True))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: array.reshape(x, [array.shape(x)[0], -1]),
        lambda x: arrange.transpose(x, array.range_(array.rank(x))[::-1]),
        array.zeros_like,
        lambda x: array.fill(array.shape(x)[1:], 1.0),
    ],
)
def test_arithmetic_with_shapes_is_gone_in_the_plan(build: Callable[..., Any]) -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 3, 4])
        found = build(x)
        with tf.Session() as session:
            program = session.program([found], {x: np.ones((2, 3, 4), np.float32)})
    left = {ins.type for ins in program.instructions}
    assert left <= {"Reshape", "Transpose", "ZerosLike", "Fill"} and len(program.instructions) <= 1


def _table(rows: int) -> tuple[Any, Any]:
    handle = state.variable_handle(tf.float32, (rows, 8), name="table")
    return handle, state.assign_variable(handle, array.ones([rows, 8]), dtype=tf.float32, dims=(rows, 8))


def test_gradient_of_an_embedding_holds_only_the_rows_that_were_used() -> None:
    with tf.Graph().as_default():
        handle, start = _table(1000)
        ids = tf.placeholder(tf.int32, [None, 2])
        table = state.read_variable(handle, dtype=tf.float32, dims=(1000, 8))
        y = index.gather(table, ids)
        (grad,) = gradients(y, table)
        assert isinstance(grad, IndexedSlices)
        dense = convert_to_tensor(grad)
        with tf.Session() as session:
            session.run(start)
            feeds = {ids: [[3, 5], [3, 999]]}
            assert session.run(grad.values, feeds).shape == (4, 8)
            assert session.run(grad.indices, feeds).tolist() == [3, 5, 3, 999]
            whole = session.run(dense, feeds)
            program = session.program([grad.values, grad.indices], feeds)
    assert whole.shape == (1000, 8) and whole[3].tolist() == [2.0] * 8 and whole.sum() == 32
    assert all(8000 not in [np.prod(program.values[v].dims or (0,)) for v in ins.outputs]
               for ins in program.instructions if ins.type not in ("ReadVariable", "VariableHandle"))  # fmt: skip


def test_gradients_of_two_gathers_add_up_without_becoming_dense() -> None:
    with tf.Graph().as_default():
        table = tf.placeholder(tf.float32, [5, 2])
        y = index.gather(table, [0, 1])
        z = index.gather(table, core.constant([1, 4], tf.int64))
        (grad,) = gradients([y, z], table)
        assert isinstance(grad, IndexedSlices)
        with tf.Session() as session:
            assert session.run(convert_to_tensor(grad), {table: np.zeros((5, 2))})[:, 0].tolist() == [1, 2, 0, 0, 1]


def test_a_gradient_over_rows_without_elements() -> None:
    with tf.Graph().as_default():
        table = tf.placeholder(tf.float32, [5, 0])
        (grad,) = gradients(index.gather(table, tf.placeholder_with_default([1, 2, 3], [None])), table)
        with tf.Session() as session:
            assert session.run(convert_to_tensor(grad), {table: np.zeros((5, 0))}).shape == (5, 0)


def test_where_gives_no_nan_to_the_branch_that_was_not_taken() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float64, [3])
        y = index.where(x > 0, x * x, x / array.zeros_like(x))
        (grad,) = gradients(index.where(x > 0, x * x, array.zeros_like(x)), x)
        with tf.Session() as session:
            value, slope = session.run([y, grad], {x: [1.0, -2.0, 3.0]})
    assert value[0] == 1.0 and slope.tolist() == [2.0, 0.0, 6.0]


def test_shapes_with_variables_and_lists_of_tensors() -> None:
    with tf.Graph().as_default():
        a, b = tf.placeholder(tf.float64, []), tf.placeholder(tf.float64, [])
        matrix = convert_to_tensor([[a, 1.0], [2.0, b]])
        assert matrix.shape.as_list() == [2, 2] and matrix.dtype is tf.float64
        with tf.Session() as session:
            assert session.run(matrix * 2.0, {a: 5, b: 7}).tolist() == [[10, 2], [4, 14]]


def test_names_are_those_of_tensorflow() -> None:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [2, 3], name="x")
        found = [array.concat([x, x], 0), array.stack([x, x]), x[0], array.reshape(x, [6]), array.zeros([2]),
                 arrange.transpose(x), array.split(x, 3, 1)[2], array.expand_dims(x, 0), array.range_(3)]  # fmt: skip
        assert [t.name for t in found] == [
            "concat:0", "stack:0", "strided_slice:0", "Reshape:0", "zeros:0", "transpose:0", "split:2", "ExpandDims:0",
            "range:0",
        ]  # fmt: skip
