"""Print, py_func, check_numerics and the assert_* family."""

from __future__ import annotations

import copy
import gc
import json
from pathlib import Path
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


def test_an_assertion_tells_which_elements_are_wrong() -> None:
    x = tf.placeholder(tf.float32, [None], name="x")
    feed = {x: [1.0, 2.0, 3.0, 4.0, -5.0]}
    for check, said in (
        (tf.assert_positive(x), "not every element is positive; x:0: [1.0 2.0 3.0...]"),
        (tf.assert_less(x, 4.5 - x * 0.0, message="too large", summarize=5), "holds not"),
        (tf.Assert(x > 0.0, ["the weights", x]), "the weights [1.0"),
    ):
        with tf.Session() as sess:
            if said == "holds not":
                sess.run(check, feed)
                with pytest.raises(tf.errors.InvalidArgumentError, match="too large x < y does not hold; x:0:"):
                    sess.run(check, {x: [5.0]})
                continue
            with pytest.raises(tf.errors.InvalidArgumentError) as met:
                sess.run(check, feed)
        assert said in str(met.value) and "1 of 5 elements are False, the first at [4]" in str(met.value)


@pytest.mark.parametrize(
    ("result", "got", "hint"),
    [(None, "None", "is `return` missing"), ("text", "'text'", "astype"), (np.float64(1.0), "float64", "astype")],
)
def test_a_py_func_that_returns_something_else_says_what(result: Any, got: str, hint: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError) as met:
        run(tf.py_func(lambda: result, [], tf.float32))
    assert met.value.got == got and hint in str(met.value.hint)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: tf.Print(x, [x], message=3),
        lambda x: tf.Print(x, [x], first_n=1.5),
        lambda x: tf.Print(x, [x], summarize="all"),
        lambda x: tf.Assert(x > 0.0, [x], summarize=True),
        lambda x: tf.py_func(np.sin, x, tf.float32),
    ],
)
def test_wrong_arguments_are_refused_when_the_op_is_built(build: Any) -> None:
    with pytest.raises(tf.errors.DTypeError):
        build(tf.constant([1.0]))


# -- pictures of failures --------------------------------------------------------------------------------------------


def failed_run() -> tf.errors.OpError:
    x = tf.placeholder(tf.float32, name="x")
    with tf.name_scope("layer1"):
        product = tf.matmul(tf.identity(x, name="left"), tf.ones([3, 2]), name="product")
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError) as met:
        sess.run(tf.reduce_sum(product, name="total"), {x: np.ones((4, 5))})
    return met.value


def test_a_failed_run_is_drawn(tmp_path: Path) -> None:
    error = failed_run()
    assert error.render(tmp_path / "why.svg") == str(tmp_path / "why.svg")
    text = Path(error.render(tmp_path / "why.json")).read_text(encoding="utf-8")
    nodes = json.loads(text)["nodes"]
    bad = [n for n in nodes if n.get("bad")]
    assert [n["name"] for n in bad] == ["layer1/product"]
    assert "[4, 5] @ [3, 2]" in " ".join(bad[0]["lines"])
    assert {"layer1/left", "total", "x"} <= {n.get("name") for n in nodes}
    near = json.loads(Path(error.render(tmp_path / "near.json", hops=0)).read_text(encoding="utf-8"))["nodes"]
    assert not {"total", "x"} & {n.get("name") for n in near}


def test_an_op_that_could_not_be_built_is_drawn(tmp_path: Path) -> None:
    hidden = tf.nn.relu(tf.placeholder(tf.float32, [None, 3], name="x"), name="hidden")
    weights = tf.placeholder(tf.float32, [4, 2], name="weights")
    with pytest.raises(tf.errors.ShapeError) as met, tf.name_scope("layer2"):
        tf.matmul(hidden, weights, name="product")
    assert met.value.unbuilt == ("hidden:0", "weights:0")
    view = json.loads(Path(met.value.render(tmp_path / "why.json")).read_text(encoding="utf-8"))
    (bad,) = [n for n in view["nodes"] if n.get("bad")]
    assert bad["name"] == "layer2/product" and "test_debug.py" in bad["source"]
    names = {n["id"]: n.get("name") for n in view["nodes"]}
    into = {names[e["tail"]]: e["label"] for e in view["edges"] if e["head"] == bad["id"]}
    assert into == {"hidden": "[?, 3]", "weights": "[4, 2]"}
    assert "x" in names.values()


def test_a_failure_in_a_loop_is_drawn_with_the_body_around_it(tmp_path: Path) -> None:
    def body(i: Any, a: Any) -> Any:
        return i + 1, tf.check_numerics(a / 0.0, "loop", name="checked")

    result = tf.while_loop(lambda i, a: i < 2, body, [0, 1.0])[1]
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError) as met:
        sess.run(result)
    view = json.loads(Path(met.value.render(tmp_path / "why.json")).read_text(encoding="utf-8"))
    assert [n["name"] for n in view["nodes"] if n.get("bad")] == ["while/body/checked"]


def test_a_failure_in_a_callback_is_drawn_at_its_tensor(tmp_path: Path) -> None:
    x = tf.identity(1.0, name="x")

    @x.on_value
    def refuse(value: Any) -> None:
        raise ValueError("no")

    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError) as met:
        sess.run(x)
    view = json.loads(Path(met.value.render(tmp_path / "why.json")).read_text(encoding="utf-8"))
    assert [n["name"] for n in view["nodes"] if n.get("bad")] == ["x"]


def test_what_cannot_be_drawn_says_so(tmp_path: Path) -> None:
    with pytest.raises(tf.errors.FailedPreconditionError, match="about no op"):
        tf.errors.InvalidArgumentError("a text").render(tmp_path / "why.dot")
    with tf.Graph().as_default():
        error = failed_run()
    error.__traceback__ = None
    gc.collect()
    with pytest.raises(tf.errors.FailedPreconditionError, match="the graph of 'layer1/product' is gone"):
        error.render(tmp_path / "why.dot")
    with pytest.raises(tf.errors.InvalidArgumentError, match="ending"):
        failed_run().render(tmp_path / "why.nothing")


def test_an_error_still_travels_between_processes() -> None:
    error = copy.copy(failed_run())
    assert error.graph is None and error.op_name == "layer1/product" and "[4, 5]" in str(error)


def test_a_shape_error_among_five_hundred_ops_names_the_line() -> None:
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    for i in range(500):
        x = tf.add(x, 0.0, name=f"s{i}")
    with pytest.raises(tf.errors.ShapeError) as met:
        tf.matmul(x, tf.ones([4, 2]), name="wrong")
    assert met.value.op_name == "wrong" and "test_debug.py" in met.value.source
    assert "[?, 3] @ [4, 2]" in str(met.value)
