"""Print, py_func, check_numerics and the assert_* family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as tf


def run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as sess:
        return sess.run(fetches, feed)


def test_print_writes_to_standard_error_and_passes_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    x = tf.constant([1.0, 2.0, 3.0, 4.0])
    y = tf.Print(x, [x, tf.constant("text\x1b[31m")], message="x: ")
    assert run(y).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert capsys.readouterr().err == "x: [1.0 2.0 3.0...][text\\x1b[31m]\n"


def test_print_stops_after_first_n(capsys: pytest.CaptureFixture[str]) -> None:
    y = tf.Print(tf.constant(1.0), [tf.constant(7)], first_n=2)
    with tf.Session() as sess:
        for _ in range(5):
            sess.run(y)
    assert capsys.readouterr().err == "[7]\n[7]\n"


def test_two_equal_prints_both_print(capsys: pytest.CaptureFixture[str]) -> None:
    x = tf.constant(1.0)
    run([tf.Print(x, [x]), tf.Print(x, [x])])
    assert capsys.readouterr().err == "[1.0]\n[1.0]\n"


def test_py_func_sees_arrays_of_its_own() -> None:
    def spoil(a: Any) -> Any:
        a += 1.0
        return a

    x = tf.placeholder(tf.float32, [3])
    y = tf.py_func(spoil, [x], tf.float32)
    fed = np.zeros(3, np.float32)
    assert run([y, x + 0.0], {x: fed})[1].tolist() == [0.0, 0.0, 0.0]
    assert fed.tolist() == [0.0, 0.0, 0.0]


def test_py_func_with_several_results_and_none() -> None:
    a, b = tf.py_func(lambda: (np.float32(1.0), b"x"), [], [tf.float32, tf.string])
    assert run([a, b]) == [1.0, b"x"]
    seen: list[int] = []
    done = tf.py_func(lambda v: seen.append(int(v)), [tf.constant(3)], [])
    run(done)
    assert seen == [3]


def test_py_func_errors_keep_their_cause() -> None:
    def broken() -> Any:
        raise ValueError("no such thing")

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"ValueError in py_func broken: no such thing") as caught:
        run(tf.py_func(broken, [], tf.float32))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_session_can_be_used_inside_py_func() -> None:
    inner = tf.constant(20.0) + 1.0
    with tf.Session() as sess:
        outer = tf.py_func(lambda: sess.run(inner) * np.float32(2), [], tf.float32) + 0.0
        assert sess.run(outer) == 42.0


def test_check_numerics_names_the_tensor_and_the_place() -> None:
    x = tf.placeholder(tf.float32, [2, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"bad : Tensor had NaN and Inf values(.|\n)*\[0, 1\]"):
        run(tf.check_numerics(x, "bad"), {x: [[1.0, np.inf], [np.nan, 0.0]]})


def test_check_numerics_watches_its_gradient() -> None:
    x = tf.placeholder(tf.float32, [])
    (g,) = tf.gradients(tf.sqrt(tf.check_numerics(x, "root")), x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="gradient of root"):
        run(g, {x: 0.0})


def test_add_check_numerics_ops_finds_the_first_bad_op() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    with tf.name_scope("suspect"):
        y = tf.log(x)
    z = tf.identity(y * 2.0)
    check = tf.add_check_numerics_ops()
    assert run([z, check], {x: 1.0})[0] == 0.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="suspect/Log"):
        run([z, check], {x: -1.0})


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (lambda: tf.assert_equal([1, 2], [1, 2]), lambda: tf.assert_equal([1, 2], [1, 3])),
        (lambda: tf.assert_less(1, 2), lambda: tf.assert_less(2, 2)),
        (lambda: tf.assert_less_equal(2, 2), lambda: tf.assert_less_equal(3, 2)),
        (lambda: tf.assert_greater(3, 2), lambda: tf.assert_greater(2, 2)),
        (lambda: tf.assert_greater_equal(2, 2), lambda: tf.assert_greater_equal(1, 2)),
        (lambda: tf.assert_positive([1.0, 2.0]), lambda: tf.assert_positive([0.0, 2.0])),
        (lambda: tf.assert_negative(-1), lambda: tf.assert_negative(0)),
        (lambda: tf.assert_non_negative(0), lambda: tf.assert_non_negative(-1)),
        (lambda: tf.assert_non_positive(0), lambda: tf.assert_non_positive(1)),
    ],
)
def test_assertions_on_values(good: Any, bad: Any) -> None:
    run(good())
    with pytest.raises(tf.errors.InvalidArgumentError, match="assertion failed"):
        run(bad())


def test_assertions_on_what_is_known_while_building() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    tf.assert_rank(x, 2)
    tf.assert_rank_at_least(x, 1)
    tf.assert_type(x, tf.float32)
    tf.assert_integer(tf.constant(1))
    for bad in (
        lambda: tf.assert_rank(x, 3),
        lambda: tf.assert_rank_at_least(x, 3),
        lambda: tf.assert_type(x, tf.int32),
        lambda: tf.assert_integer(x),
        lambda: tf.assert_scalar(x),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="expected"):
            bad()


def test_assertions_on_a_rank_known_only_in_the_run() -> None:
    x = tf.placeholder(tf.float32)
    check = tf.assert_rank(x, 1)
    run(check, {x: [1.0]})
    with pytest.raises(tf.errors.InvalidArgumentError, match="rank must be 1"):
        run(check, {x: 1.0})
