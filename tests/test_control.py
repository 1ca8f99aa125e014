"""Conditionals and loops: values, laziness, nesting, captures, gradients, variables, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as tf


def run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        return sess.run(fetches, feed)


# -- cond ------------------------------------------------------------------------------------------------------------


def test_cond_takes_the_branch_that_the_predicate_names() -> None:
    p = tf.placeholder(tf.bool, [])
    x = tf.constant(3.0)
    y = tf.cond(p, lambda: x * 2.0, lambda: x - 1.0)
    assert run(y, {p: True}) == 6.0
    assert run(y, {p: False}) == 2.0


def test_only_the_taken_branch_runs() -> None:
    ran: list[str] = []

    def noting(word: str) -> Any:
        return tf.py_func(lambda: (ran.append(word), np.float32(1))[1], [], tf.float32)

    p = tf.placeholder(tf.bool, [])
    y = tf.cond(p, lambda: noting("yes"), lambda: noting("no"))
    run(y, {p: True})
    assert ran == ["yes"]
    run(y, {p: False})
    assert ran == ["yes", "no"]


def test_an_error_in_the_branch_not_taken_does_not_happen() -> None:
    p = tf.placeholder(tf.bool, [])
    zero = tf.constant(0)
    y = tf.cond(p, lambda: tf.constant(7) // zero, lambda: tf.constant(1))
    assert run(y, {p: False}) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="zero"):
        run(y, {p: True})


def test_structures_and_ops_as_results() -> None:
    p = tf.placeholder(tf.bool, [])
    v = tf.Variable(1.0)
    a, (b, c) = tf.cond(p, lambda: (1.0, (2.0, 3)), lambda: (4.0, (5.0, 6)))
    assert run([a, b, c], {p: False}) == [4.0, 5.0, 6]
    done = tf.cond(p, lambda: tf.group(v.assign(5.0)), tf.no_op)
    with tf.Session() as sess:
        sess.run(v.initializer)
        sess.run(done, {p: False})
        assert sess.run(v) == 1.0
        sess.run(done, {p: True})
        assert sess.run(v) == 5.0


def test_cond_gradient_and_second_gradient() -> None:
    p = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float64, [])
    y = tf.cond(p, lambda: tf.sin(x) * x, lambda: x**3)
    (g,) = tf.gradients(y, x)
    (h,) = tf.gradients(g, x)
    (third,) = tf.gradients(h, x)
    at = 0.7
    np.testing.assert_allclose(
        run([y, g, h, third], {p: True, x: at}),
        [
            np.sin(at) * at,
            np.cos(at) * at + np.sin(at),
            2 * np.cos(at) - at * np.sin(at),
            -3 * np.sin(at) - at * np.cos(at),
        ],
        rtol=1e-12,
    )
    np.testing.assert_allclose(run([y, g, h, third], {p: False, x: at}), [at**3, 3 * at**2, 6 * at, 6.0], rtol=1e-12)


def test_nested_cond_with_captures_of_both_levels() -> None:
    p, q = tf.placeholder(tf.bool, []), tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float64, [])

    def outer() -> Any:
        doubled = x * 2.0
        return tf.cond(q, lambda: doubled * x, lambda: doubled + x * x * x)

    y = tf.cond(p, outer, lambda: x)
    (g,) = tf.gradients(y, x)
    assert run([y, g], {p: True, q: True, x: 3.0}) == [18.0, 12.0]
    assert run([y, g], {p: True, q: False, x: 3.0}) == [33.0, 29.0]
    assert run([y, g], {p: False, q: True, x: 3.0}) == [3.0, 1.0]


def test_a_random_draw_in_a_branch_has_its_own_gradient() -> None:
    """The gradient uses the numbers that were drawn, not new ones."""
    p = tf.placeholder(tf.bool, [])
    x = tf.placeholder(tf.float64, [5])
    noise: dict[str, Any] = {}

    def branch() -> Any:
        return x * tf.random_uniform([5], dtype=tf.float64, seed=3)

    y = tf.cond(p, branch, lambda: x)
    (g,) = tf.gradients(y, x)
    noise["y"], noise["g"] = run([y, g], {p: True, x: np.ones(5)})
    np.testing.assert_array_equal(noise["y"], noise["g"])
    assert len(set(noise["y"])) == 5


def test_case_takes_the_first_that_holds() -> None:
    x = tf.placeholder(tf.int32, [])
    y = tf.case(
        [(tf.less(x, 0), lambda: tf.constant(-1)), (tf.less(x, 10), lambda: tf.constant(1))],
        default=lambda: tf.constant(100),
    )
    assert [run(y, {x: v}) for v in (-5, 5, 50)] == [-1, 1, 100]
    z = tf.case([(tf.less(x, 0), lambda: tf.constant(1)), (tf.less(x, 10), lambda: tf.constant(2))], exclusive=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="exclusive"):
        run(z, {x: -1})
    with pytest.raises(tf.errors.InvalidArgumentError, match="no predicate"):
        run(z, {x: 99})


# -- while_loop ------------------------------------------------------------------------------------------------------


def test_a_loop_whose_length_is_known_only_at_run_time() -> None:
    n = tf.placeholder(tf.int32, [])
    i, total = tf.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s + i), [0, 0])
    for count in (0, 1, 10):
        assert run([i, total], {n: count}) == [count, sum(range(count))]


def test_loop_gradient_over_a_number_of_iterations_known_at_run_time() -> None:
    n = tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float64, [])
    w = tf.placeholder(tf.float64, [])
    _, y = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a * w), [0, x])
    gx, gw = tf.gradients(y, [x, w])
    for count in (0, 1, 5):
        want = [2.0 * 1.5**count, 1.5**count, count * 2.0 * 1.5 ** max(count - 1, 0)]
        np.testing.assert_allclose(run([y, gx, gw], {n: count, x: 2.0, w: 1.5}), want, rtol=1e-12)


def test_second_gradient_of_a_loop() -> None:
    n = tf.placeholder(tf.int32, [])
    w = tf.placeholder(tf.float64, [])
    _, y = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a * tf.tanh(w)), [0, tf.constant(1.0, tf.float64)])
    (g,) = tf.gradients(y, w)
    (h,) = tf.gradients(g, w)
    at, step = 0.6, 1e-5
    with tf.Session() as sess:
        found = sess.run(h, {n: 4, w: at})
        numeric = (sess.run(g, {n: 4, w: at + step}) - sess.run(g, {n: 4, w: at - step})) / (2 * step)
    np.testing.assert_allclose(found, numeric, rtol=1e-8)


def test_a_recurrent_net_over_gathered_rows() -> None:
    """The gradient of the inputs is kept as rows, that of the weights is summed."""
    rng = np.random.default_rng(1)
    xs, start, weight = rng.normal(size=(6, 2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(3, 3)) * 0.5
    x = tf.placeholder(tf.float64, [None, 2, 3])
    w = tf.Variable(weight)
    h0 = tf.constant(start)
    length = tf.shape(x)[0]
    _, h = tf.while_loop(
        lambda i, h: i < length, lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w) + tf.gather(x, i))), [0, h0]
    )
    loss = tf.reduce_sum(tf.square(h))
    gx, gw = tf.gradients(loss, [x, w])
    unrolled: Any = h0
    for t in range(6):
        unrolled = tf.tanh(tf.matmul(unrolled, w) + x[t])
    other = tf.reduce_sum(tf.square(unrolled))
    ux, uw = tf.gradients(other, [x, w])
    found = run([loss, tf.convert_to_tensor(gx), gw, other, ux, uw], {x: xs})
    for a, b in zip(found[:3], found[3:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_random_numbers_differ_between_iterations_and_the_gradient_sees_the_same_ones() -> None:
    x = tf.placeholder(tf.float64, [])
    draws = tf.map_fn(lambda i: x * tf.random_uniform([], dtype=tf.float64, seed=7), tf.range(5), dtype=tf.float64)
    (g,) = tf.gradients(draws, x)
    values, total = run([draws, g], {x: 1.0})
    assert len(set(values.tolist())) == 5
    np.testing.assert_allclose(total, values.sum(), rtol=1e-15)


def test_nested_loops_and_a_cond_inside() -> None:
    n = tf.placeholder(tf.int32, [])
    x = tf.placeholder(tf.float64, [])

    def inner(i: Any, a: Any) -> Any:
        _, out = tf.while_loop(
            lambda j, b: j < i, lambda j, b: (j + 1, tf.cond(tf.equal(j % 2, 0), lambda: b * x, lambda: b + x)), [0, a]
        )
        return i + 1, out

    _, y = tf.while_loop(lambda i, a: i < n, inner, [0, tf.constant(1.0, tf.float64)])
    (g,) = tf.gradients(y, x)

    def python(v: float, count: int = 4) -> float:
        a = 1.0
        for i in range(count):
            for j in range(i):
                a = a * v if j % 2 == 0 else a + v
        return a

    with tf.Session() as sess:
        value, slope = sess.run([y, g], {n: 4, x: 1.3})
    np.testing.assert_allclose(value, python(1.3), rtol=1e-14)
    np.testing.assert_allclose(slope, (python(1.3 + 1e-6) - python(1.3 - 1e-6)) / 2e-6, rtol=1e-8)


def test_shape_invariants_let_a_loop_variable_grow() -> None:
    start = tf.zeros([1])
    _, y = tf.while_loop(
        lambda i, a: i < 3,
        lambda i, a: (i + 1, tf.concat([a, [tf.cast(i, tf.float32)]], 0)),
        [tf.constant(0), start],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )
    assert y.get_shape().as_list() == [None]
    assert run(y).tolist() == [0.0, 0.0, 1.0, 2.0]


def test_maximum_iterations_and_a_single_loop_variable() -> None:
    assert run(tf.while_loop(lambda i: i < 100, lambda i: i + 1, [0], maximum_iterations=7)) == 7
    assert run(tf.while_loop(lambda i: i < 5, lambda i: [i + 2], [0])) == 6


def test_variables_read_and_written_in_a_loop() -> None:
    v = tf.Variable(1.0)

    def body(i: Any) -> Any:
        with tf.control_dependencies([v.assign(v * 2.0)]):
            return tf.identity(i) + 1

    loop = tf.while_loop(lambda i: i < 4, body, [0])
    with tf.Session() as sess:
        sess.run(v.initializer)
        assert sess.run(loop) == 4
        assert sess.run(v) == 16.0


def test_a_weight_used_in_a_loop_is_trained() -> None:
    w = tf.Variable(0.5)
    _, y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * w), [0, tf.constant(1.0)])
    step = tf.train.GradientDescentOptimizer(0.003).minimize(tf.square(y - 8.0))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(200):
            sess.run(step)
        np.testing.assert_allclose(sess.run(w), 2.0, rtol=1e-4)


# -- map_fn, scan, folds -----------------------------------------------------------------------------------------------


def test_map_fn_scan_and_folds() -> None:
    xs = np.arange(1.0, 6.0)
    x = tf.placeholder(tf.float64, [None])
    squares = tf.map_fn(lambda v: v * v, x)
    running = tf.scan(lambda a, v: a + v, x)
    seeded = tf.scan(lambda a, v: a * v, x, initializer=tf.constant(2.0, tf.float64))
    back = tf.scan(lambda a, v: a + v, x, reverse=True)
    left = tf.foldl(lambda a, v: a - v, x)
    right = tf.foldr(lambda a, v: a - v, x)
    found = run([squares, running, seeded, back, left, right], {x: xs})
    np.testing.assert_array_equal(found[0], xs**2)
    np.testing.assert_array_equal(found[1], np.cumsum(xs))
    np.testing.assert_array_equal(found[2], 2 * np.cumprod(xs))
    np.testing.assert_array_equal(found[3], np.cumsum(xs[::-1])[::-1])
    assert found[4] == 1 - 2 - 3 - 4 - 5
    assert found[5] == 5 - 4 - 3 - 2 - 1


def test_map_fn_over_structures_with_another_dtype() -> None:
    a, b = tf.constant([1, 2, 3]), tf.constant([1.0, 2.0, 3.0])
    total, less = tf.map_fn(
        lambda pair: (tf.cast(pair[0], tf.float32) + pair[1], tf.less(pair[1], 2.0)),
        (a, b),
        dtype=(tf.float32, tf.bool),
    )
    assert total.get_shape().as_list() == [3]
    values, flags = run([total, less])
    assert values.tolist() == [2.0, 4.0, 6.0]
    assert flags.tolist() == [True, False, False]


def test_scan_gradient_equals_the_unrolled_one() -> None:
    x = tf.placeholder(tf.float64, [4, 2])
    w = tf.placeholder(tf.float64, [])
    out = tf.scan(lambda a, v: tf.tanh(a * w + v), x, initializer=tf.zeros([2], tf.float64))
    weights = np.arange(1.0, 9.0).reshape(4, 2)
    grads = tf.gradients(tf.reduce_sum(out * weights), [x, w])
    a: Any = tf.zeros([2], tf.float64)
    rows = []
    for t in range(4):
        a = tf.tanh(a * w + x[t])
        rows.append(a)
    unrolled = tf.gradients(tf.reduce_sum(tf.stack(rows) * weights), [x, w])
    feed = {x: np.random.default_rng(0).normal(size=(4, 2)), w: 0.7}
    found = run([tf.convert_to_tensor(grads[0]), grads[1], unrolled[0], unrolled[1]], feed)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-12)
    np.testing.assert_allclose(found[1], found[3], rtol=1e-12)


def test_map_fn_of_no_rows() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.map_fn(lambda row: row * 2.0, x)
    assert run(y, {x: np.zeros((0, 3))}).shape == (0, 3)


def test_hessian_and_forward_mode() -> None:
    x = tf.placeholder(tf.float64, [3])
    y = tf.reduce_sum(x**3) + x[0] * x[1]
    (h,) = tf.hessians(y, x)
    at = np.array([1.0, 2.0, 3.0])
    want = np.diag(6 * at)
    want[0, 1] = want[1, 0] = 1.0
    np.testing.assert_allclose(run(h, {x: at}), want, rtol=1e-14)
    (d,) = tf.jvp(tf.sin(x), x, tf.constant([1.0, 0.0, 2.0], tf.float64))
    np.testing.assert_allclose(run(d, {x: at}), np.cos(at) * [1, 0, 2], rtol=1e-14)


def test_custom_gradient_replaces_what_is_inside() -> None:
    @tf.custom_gradient
    def clipped(x: Any) -> Any:
        return tf.exp(x), lambda dy: tf.clip_by_value(dy, -1.0, 1.0)

    x = tf.placeholder(tf.float64, [])
    (g,) = tf.gradients(clipped(x) * 5.0, x)
    assert run(g, {x: 0.0}) == 1.0


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: tf.cond(tf.constant(1.0), lambda: 1.0, lambda: 2.0), "bool"),
        (lambda: tf.cond(tf.constant([True]), lambda: 1.0, lambda: 2.0), "scalar"),
        (lambda: tf.cond(tf.constant(True), lambda: 1.0, lambda: 2), "same dtypes"),
        (lambda: tf.cond(tf.constant(True), lambda: (1.0, 2.0), lambda: 2.0), "structure"),
        (lambda: tf.cond(tf.constant(True), lambda: None, lambda: 2.0), "None"),
        (lambda: tf.cond(tf.constant(True), 1.0, 2.0), "functions"),
        (lambda: tf.cond(True, lambda: 1.0, lambda: 2.0), "Python"),
        (lambda: tf.while_loop(lambda i: 1, lambda i: i, [0]), "bool"),
        (lambda: tf.while_loop(lambda i: i < 3, lambda i: tf.cast(i, tf.float32), [0]), "dtype"),
        (lambda: tf.while_loop(lambda i, x: i < 3, lambda i, x: i, [0, 1]), "structure"),
        (
            lambda: tf.while_loop(lambda i, x: i < 3, lambda i, x: (i, tf.concat([x, x], 0)), [0, tf.zeros([2])]),
            "shape_invariants",
        ),
        (lambda: tf.while_loop(lambda: True, lambda: (), []), "at least one"),
        (lambda: tf.map_fn(lambda v: v, tf.constant(1.0)), "rows"),
        (lambda: tf.map_fn(lambda v: v, tf.zeros([2]), dtype=tf.int32), "dtype"),
        (lambda: tf.case([]), "non-empty"),
    ],
)
def test_misuse_has_a_typed_error(build: Any, match: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=match):
        build()


def test_an_error_inside_a_loop_names_the_inner_op_and_the_line() -> None:
    x = tf.placeholder(tf.float32, [None])
    loop = tf.while_loop(lambda i: i < 3, lambda i: i + tf.cast(tf.check_numerics(x, "x is bad")[0], tf.int32), [0])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x is bad(.|\n)*test_control\.py"):
        run(loop, {x: [np.nan]})


# -- found by review ---------------------------------------------------------------------------------------------------


def test_a_gradient_through_a_variable_that_the_branch_writes_is_refused() -> None:
    v, x = tf.Variable(2.0), tf.constant(3.0)

    def writing() -> Any:
        new = v * 0.9 + x * 0.1
        with tf.control_dependencies([v.assign(new)]):
            return x * tf.identity(new)

    y = tf.cond(tf.placeholder(tf.bool, []), writing, lambda: x * v)
    with pytest.raises(tf.errors.NotFoundError, match="written inside it"):
        tf.gradients(y, v)


def test_an_explicit_read_outside_stays_what_it_was() -> None:
    w = tf.Variable(0.0)
    start = w.value()

    def body(i: Any, _: Any) -> Any:
        difference = w - start
        with tf.control_dependencies([w.assign_add(1.0)]):
            return i + 1, tf.identity(difference)

    _, last = tf.while_loop(lambda i, d: i < 3, body, [0, 0.0])
    assert run(last) == 2.0


def test_a_gradient_override_holds_inside_a_branch() -> None:
    @tf.RegisterGradient("TenTimesInABranch")
    def _(op: Any, grad: Any) -> Any:
        return grad * 10.0

    x = tf.constant(3.0)
    with tf.get_default_graph().gradient_override_map({"Square": "TenTimesInABranch"}):
        y = tf.cond(tf.constant(True), lambda: tf.square(x), lambda: x)
    assert run(tf.gradients(y, x)[0]) == 10.0


def test_what_a_branch_builds_and_does_not_use_is_not_needed() -> None:
    p, unused = tf.placeholder(tf.bool, []), tf.placeholder(tf.float32, [])
    x = tf.constant(3.0)
    y = tf.cond(p, lambda: (unused * 2.0, x)[1], lambda: x + 1.0)
    assert run(y, {p: True}) == 3.0


def test_the_history_of_a_branch_not_taken_in_every_turn() -> None:
    x = tf.placeholder(tf.float64, [3])

    def body(i: Any, a: Any) -> Any:
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: a * tf.gather(x, tf.cast(a[0], tf.int32) % 3), lambda: a)

    _, y = tf.while_loop(lambda i, a: i < 3, body, [tf.constant(0), x])
    (g,) = tf.gradients(tf.reduce_sum(y), x)
    at = np.array([1.2, 0.7, 2.1])
    with tf.Session() as sess:
        found = sess.run(tf.convert_to_tensor(g), {x: at})
        numeric = []
        for k in range(3):
            step = np.eye(3)[k] * 1e-6
            numeric.append((sess.run(y, {x: at + step}).sum() - sess.run(y, {x: at - step}).sum()) / 2e-6)
    np.testing.assert_allclose(found, numeric, rtol=1e-7)


def test_a_late_control_edge_inside_a_branch_is_seen_by_the_next_run() -> None:
    v = tf.Variable(2.0)
    kept: dict[str, Any] = {}

    def branch() -> Any:
        kept["write"] = v.assign(3.0)
        kept["read"] = v.read_value()
        return kept["read"] + kept["write"] * 0.0

    y = tf.cond(tf.constant(True), branch, lambda: tf.constant(0.0))
    before = tf.get_default_graph().mutations
    late = tf.identity(tf.constant(1.0))
    late.op.add_control_input(tf.no_op())
    assert tf.get_default_graph().mutations > before
    inner = kept["read"].op.graph
    with inner.as_default():
        first = tf.no_op()
    kept["read"].op.add_control_input(first)
    assert tf.get_default_graph().mutations > before + 1
    assert run(y) == 3.0


def test_elems_of_different_lengths_are_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="different numbers of rows"):
        tf.map_fn(lambda pair: pair[0] + pair[1], (tf.zeros([3]), tf.zeros([4])), dtype=tf.float32)
