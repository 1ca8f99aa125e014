"""Rewritings of O2: fewer and narrower products, constants put together; what they leave alone, and their bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from tests.test_simplify import Ran, run

EPS = float(np.finfo(np.float32).eps)
rng = np.random.default_rng(13)


def matrices(count: int, *dims: int) -> list[Any]:
    return [rng.standard_normal(dims).astype(np.float32) for _ in range(count)]


def optimised(build: Callable[..., Any], *arrays: Any, **options: Any) -> Ran:
    """The run at O2."""
    return run(build, *arrays, level=2, **options)


def check(build: Callable[..., Any], arrays: list[Any], terms: int, size: Callable[..., Any] | None = None) -> Ran:
    """The run at O2, each element within `terms` units in the last place of the sum of its terms' absolute values."""
    ran = optimised(build, *arrays)
    wanted = run(build, *[a.astype(np.float64) for a in arrays], level=0)
    sizes = run(size or build, *[abs(a).astype(np.float64) for a in arrays], level=0)
    for got, exact, around in zip(ran.values, wanted.values, sizes.values, strict=True):
        assert got.dtype == np.float32 and got.shape == exact.shape
        assert np.all(abs(got - exact) <= terms * EPS * abs(around))
    return ran


def count(ran: Ran, kind: str) -> int:
    return ran.types.count(kind)


# -- sums of products ------------------------------------------------------------------------------------------------


def test_products_with_a_common_operand_become_one() -> None:
    def build(x: Any, *ws: Any) -> Any:
        return tf.add_n([tf.matmul(x, w) for w in ws])

    ran = check(build, [*matrices(1, 16, 16), *matrices(20, 16, 16)], 16 * 20 + 20)
    assert ran.types == ["Tile", "Concat", "MatMul"]


def test_a_common_right_operand_in_a_chain_of_additions() -> None:
    def build(w: Any, *xs: Any) -> Any:
        total = tf.matmul(xs[0], w, transpose_a=True)
        for x in xs[1:]:
            total = total + tf.matmul(x, w, transpose_a=True)
        return total

    ran = check(build, [*matrices(1, 8, 5), *matrices(6, 8, 9)], 8 * 6 + 6)
    assert ran.types == ["Concat", "Concat", "MatMul"]


def test_a_nan_is_not_lost() -> None:
    def build(x: Any, *ws: Any) -> Any:
        return tf.add_n([tf.matmul(x, w) for w in ws])

    x = np.array([[np.inf, 1.0], [2.0, 3.0]], np.float32)
    ws = [np.ones((2, 2), np.float32) * k for k in range(9)]
    ran = optimised(build, x, *ws)
    assert count(ran, "MatMul") == 1
    np.testing.assert_array_equal(np.isnan(ran.values[0]), [[True, True], [False, False]])


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_small_products_are_joined(turned: tuple[bool, bool]) -> None:
    def build(*xs: Any) -> Any:
        pairs = zip(xs[:12], xs[12:], strict=True)
        return tf.add_n([tf.matmul(a, b, transpose_a=turned[0], transpose_b=turned[1]) for a, b in pairs])

    a = matrices(12, 3, 20) if turned[0] else matrices(12, 20, 3)
    b = matrices(12, 20, 3) if turned[1] else matrices(12, 3, 20)
    ran = check(build, [*a, *b], 3 * 12 + 12)
    assert ran.types == ["Concat", "Concat", "MatMul"]
    assert ran.rewritten("merge_products") == ["fewer products"]


def test_other_terms_stay_terms() -> None:
    def build(*xs: Any) -> Any:
        products = [tf.matmul(a, a, transpose_b=True) for a in xs[:9]]
        return tf.add_n([products[0], xs[9], *products[1:], xs[10]])

    ran = check(build, [*matrices(9, 20, 2), *matrices(2, 20, 20)], 2 * 9 + 11)
    assert ran.types == ["Concat", "MatMul", "AddN"]


def test_pieces_of_one_tensor_are_joined_without_a_copy() -> None:
    def build(x: Any, y: Any, z: Any) -> list[Any]:
        xs, ys, zs = tf.unstack(x), tf.unstack(y), tf.split(z, 8, axis=0)
        return [
            tf.add_n([tf.matmul(a, b, transpose_a=True) for a, b in reversed(list(zip(xs, ys, strict=True)))]),
            tf.add_n([tf.matmul(a, b, transpose_a=True) for a, b in zip(xs, zs, strict=True)]),
        ]

    ran = check(build, [*matrices(1, 8, 4, 20), *matrices(1, 8, 4, 30), *matrices(1, 32, 30)], 32 + 8)
    assert ran.types.count("MatMul") == 2 and "Concat" not in ran.types


def unrolled(x: Any) -> list[Any]:
    w = tf.Variable(np.linspace(-0.5, 0.5, 24 * 32).reshape(24, 32).astype(np.float32))
    b = tf.Variable(np.zeros(32, np.float32))
    h = c = tf.zeros([x.shape[1], 8])
    for step in tf.unstack(x):
        z = tf.matmul(tf.concat([step, h], 1), w) + b
        i, j, f, o = tf.split(z, 4, axis=1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(j)
        h = tf.sigmoid(o) * tf.tanh(c)
    loss = tf.reduce_mean(tf.square(h))
    return [loss, *tf.gradients(loss, [w, b])]


def test_the_gradients_of_an_unrolled_cell() -> None:
    array = rng.standard_normal((10, 4, 16)).astype(np.float32)
    plain, ran = run(unrolled, array, level=1), optimised(unrolled, array)
    assert count(plain, "MatMul") == 10 + 10 + 9 and count(ran, "MatMul") == 10 + 1 + 9
    assert count(plain, "Sum") == 10 and count(ran, "Sum") == 1
    assert len(ran.rewritten("merge_products")) == 2 and len(ran.rewritten("narrow_products")) == 9
    for a, b in zip(plain.values, ran.values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_what_others_read_or_wait_for_is_not_merged() -> None:
    def fetched(x: Any, *ws: Any) -> list[Any]:
        products = [tf.matmul(x, w) for w in ws]
        return [tf.add_n(products), *products]

    def late(x: Any, *ws: Any) -> Any:
        with tf.control_dependencies([tf.Variable(1.0).assign(2.0)]):
            products = [tf.matmul(x, w) for w in ws]
        return tf.add_n(products)

    arrays = [*matrices(1, 16, 16), *matrices(5, 16, 16)]
    assert count(optimised(fetched, *arrays), "MatMul") == 5
    assert count(optimised(late, *arrays), "MatMul") == 5


def test_what_does_not_pay_is_not_joined() -> None:
    def build(*xs: Any) -> Any:
        return tf.matmul(xs[0], xs[1]) + tf.matmul(xs[2], xs[3])

    assert optimised(build, *matrices(4, 64, 64)).types == ["MatMul", "MatMul", "Add"]


def test_batches_integers_and_broadcast_sums_are_left_alone() -> None:
    def batches(*xs: Any) -> Any:
        return tf.add_n([tf.matmul(x, xs[0]) for x in xs])

    def bias(x: Any, w: Any, b: Any) -> Any:
        return tf.matmul(x, w) + b

    assert count(optimised(batches, *matrices(4, 2, 3, 3)), "MatMul") == 4
    assert count(optimised(batches, *[m.astype(np.int32) for m in matrices(4, 3, 3)]), "MatMul") == 4
    assert optimised(bias, *matrices(2, 3, 3), *matrices(1, 3)).types == ["MatMul", "Add"]


def test_at_o1_products_stay_as_they_are() -> None:
    ran = run(lambda x, *ws: tf.add_n([tf.matmul(x, w) for w in ws]), *matrices(6, 4, 4))
    assert count(ran, "MatMul") == 5


# -- stacked products ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_products_of_pieces_become_one(turned: bool) -> None:
    def build(x: Any, w: Any) -> list[Any]:
        return [tf.matmul(step, w, transpose_b=turned) for step in tf.unstack(x)[1:]]

    arrays = [*matrices(1, 9, 5, 12), *(matrices(1, 30, 12) if turned else matrices(1, 12, 30))]
    ran = check(build, arrays, 12)
    assert ran.types == ["Reshape", "MatMul", "Reshape", *["StridedSlice"] * 8]
    assert len(ran.rewritten("stack_products")) == 8


def test_few_pieces_stay_apart() -> None:
    def build(x: Any, w: Any) -> list[Any]:
        return [tf.matmul(step, w) for step in tf.unstack(x)[:5]]

    assert optimised(build, *matrices(1, 9, 5, 12), *matrices(1, 12, 30)).types == ["Unpack", *["MatMul"] * 5]


def test_an_unrolled_network_with_two_matrices() -> None:
    def build(x: Any) -> list[Any]:
        wx = tf.Variable(np.linspace(-0.5, 0.5, 16 * 8).reshape(16, 8).astype(np.float32))
        wh = tf.Variable(np.linspace(-0.7, 0.4, 8 * 8).reshape(8, 8).astype(np.float32))
        h = tf.zeros([4, 8])
        for step in tf.unstack(x):
            h = tf.tanh(tf.matmul(step, wx) + tf.matmul(h, wh))
        loss = tf.reduce_mean(tf.square(h))
        return [loss, *tf.gradients(loss, [wx, wh])]

    array = rng.standard_normal((10, 4, 16)).astype(np.float32)
    plain, ran = run(build, array, level=1), optimised(build, array)
    assert count(plain, "MatMul") - count(ran, "MatMul") >= 9 + 9 + 8
    for a, b in zip(plain.values, ran.values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


# -- narrow products -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("turned", [(False, False), (True, True)])
def test_pieces_that_nobody_reads_are_not_computed(axis: int, turned: tuple[bool, bool]) -> None:
    def build(a: Any, b: Any) -> Any:
        product = tf.matmul(a, b, transpose_a=turned[0], transpose_b=turned[1])
        return tf.split(product, [10, 15, 5], axis)[1]

    a, b = matrices(1, 12, 30)[0], matrices(1, 30, 12)[0]
    ran = check(build, [a, b] if turned[0] else [b, a], 12)
    assert ran.types == ["StridedSlice", "MatMul"]


def test_pieces_that_are_read_are_computed() -> None:
    def build(a: Any, b: Any) -> list[Any]:
        return list(tf.split(tf.matmul(a, b), [4, 8, 8], 1)[:2])

    assert optimised(build, *matrices(1, 6, 5), *matrices(1, 5, 20)).types == ["MatMul", "Split"]


# -- constants, scalings, signs --------------------------------------------------------------------------------------

V = rng.standard_normal((6, 7)).astype(np.float32)
PUT_TOGETHER: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "c (d x)": (lambda x: 0.3 * (x * 0.7), ["Mul"]),
    "c (x + x)": (lambda x: (x + x) * 1.3, ["Mul"]),
    "c (x / d)": (lambda x: x / 3.0 * 0.7, ["Mul"]),
    "(c x) / d": (lambda x: (0.7 * x) / 3.0, ["Mul"]),
    "-(c x)": (lambda x: -(x * 0.7), ["Mul"]),
    "c -x": (lambda x: 0.7 * -x, ["Mul"]),
    "c (d (e x))": (lambda x: 0.7 * (0.3 * (x * 0.9)), ["Mul"]),
    "-(x * -1)": (lambda x: -(x * -1.0), []),
    "-((-x) y)": (lambda x: -(-x * tf.exp(x)), ["Exp", "Mul"]),
    "(-x) / (-y)": (lambda x: -x / -tf.exp(x), ["Exp", "RealDiv"]),
    "-(x - y)": (lambda x: -(x - tf.exp(x)), ["Exp", "Sub"]),
    "x + -y": (lambda x: x + -tf.exp(x), ["Exp", "Sub"]),
    "-x + y": (lambda x: -x + tf.exp(x), ["Exp", "Sub"]),
    "x - -y": (lambda x: x - -tf.exp(x), ["Exp", "Add"]),
}


@pytest.mark.parametrize("name", PUT_TOGETHER)
def test_constants_and_signs_are_put_together(name: str) -> None:
    build, types = PUT_TOGETHER[name]
    ran = optimised(build, V, disabled=("fuse",))
    assert ran.types == types
    wanted = run(build, V.astype(np.float64), level=0).values[0]
    exp = 4 if "Exp" in types else 0
    assert np.all(abs(ran.values[0] - wanted) <= (3 + exp) * EPS * (abs(wanted) + (abs(V) + np.exp(V) if exp else 0)))


@pytest.mark.parametrize("c, d", [(1e30, 1e30), (1e-30, 1e-30), (np.inf, 2.0), (0.0, 3.0), (2.0, 0.5)])
def test_constants_stay_apart_where_something_would_be_lost(c: float, d: float) -> None:
    ran = optimised(lambda x: np.float32(c) * (np.float32(d) * x), V)
    assert ran.types == ["Mul", "Mul"]


def test_a_shared_part_may_stay() -> None:
    ran = optimised(lambda x: [0.3 * (y := x * 0.7), y], V)
    assert ran.types == ["Mul", "Mul"]


def test_without_the_passes_nothing_moves() -> None:
    off = ("merge_products", "stack_products", "narrow_products", "reassociate")
    ran = optimised(lambda x: tf.matmul(x, x) + tf.matmul(x, 2 * (x + x)), *matrices(1, 5, 5), disabled=off)
    assert ran.types.count("MatMul") == 2 and not any(ran.rewritten(name) for name in off)


@pytest.mark.parametrize("level", [1, 2])
def test_programs_stay_well_formed(level: int) -> None:
    array = rng.standard_normal((10, 4, 16)).astype(np.float32)
    for build, arrays in (
        (unrolled, [array]),
        (lambda x, *ws: tf.add_n([tf.matmul(x, w) for w in ws]), matrices(12, 5, 5)),
        (lambda x, w: [tf.matmul(step, w) for step in tf.unstack(x)], [array, *matrices(1, 16, 3)]),
        (lambda x: tf.gradients(tf.reduce_mean(-tf.square(tf.reduce_mean(x, 1))), [x]), [array]),
    ):
        program = run(build, *arrays, level=level).program
        keys = [ins.key for ins in program.instructions]
        assert len(set(keys)) == len(keys)
        made = {*program.feeds, *program.constants}
        for ins in program.instructions:
            assert made.issuperset(ins.inputs), ins
            made.update(ins.outputs)
        assert made.issuperset(program.fetches)
