"""The picture of backpropagation: every edge with its formula, and after a run with its number."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import render
from graphflow.render.symbols import Symbols, formula, slope
from graphflow.render.view import CONSTANT, FED, FORWARD, GRADIENT, VARIABLE, View
from tests.graphs_to_draw import worked_example

FORMULAS = {
    "q = w · x": "6",
    "yhat = q + b": "10",
    "z = y - yhat": "-5",
    "J = z²": "25",
    "dJ/dJ = 1": "",
    "dJ/dz = 2z": "-10",
    "dJ/dyhat = -dJ/dz": "10",
    "dJ/db = dJ/dyhat": "10",
    "dJ/dq = dJ/dyhat": "10",
    "dJ/dw = dJ/dq · x": "20",
    "dJ/dx = dJ/dq · w": "30",
}


def numbers() -> tuple[tf.Graph, Any]:
    """The lecture's example, and what a run computed: w=3, b=4, x=2, y=5."""
    graph, init = worked_example()
    with tf.Session(graph=graph) as session:
        session.run(init)
        return graph, session.run(render.numbers_of(graph), {"x:0": 2.0, "y:0": 5.0})


def formulas(view: View) -> dict[str, str]:
    return {e.label: e.value for e in view.edges if e.label}


def test_every_edge_has_its_formula_and_after_a_run_its_number() -> None:
    graph, values = numbers()
    assert formulas(render.as_view(graph, "gradients", values=values)) == FORMULAS
    assert formulas(render.as_view(graph, "gradients")) == dict.fromkeys(FORMULAS, "")


def test_leaves_and_result_have_their_numbers() -> None:
    graph, values = numbers()
    view = render.as_view(graph, "gradients", values=values)
    found = {(n.lines[0], n.kind): n.value for n in view.nodes}
    assert found["x", FED] == "2" and found["y", FED] == "5"
    assert found["w", VARIABLE] == "3" and found["b", VARIABLE] == "4"
    assert [n.value for n in view.nodes if n.id == "result"] == ["25"]


def test_each_derivative_stands_beside_what_it_is_of() -> None:
    view = render.as_view(numbers()[0], "gradients")
    by_id = {n.id: n for n in view.nodes}
    pairs = {(n.lines[0], by_id[n.beside].lines[0]) for n in view.nodes if n.beside}
    assert {("back through q", "q"), ("back through J", "J"), ("dJ/dx", "x"), ("dJ/dw", "w"), ("dJ/db", "b")} <= pairs
    assert {by_id[n.beside].kind for n in view.nodes if n.beside} <= {FORWARD, FED, VARIABLE}
    assert all(n.kind == GRADIENT for n in view.nodes if n.beside)


def test_the_picture_shows_every_number(tmp_path: Path) -> None:
    graph, values = numbers()
    path = graph.render(tmp_path / "worked.svg", "gradients", values=values)
    svg = Path(path).read_text(encoding="utf-8")
    texts = [html.unescape(t).replace("\xa0", " ").strip() for t in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
    for label, value in FORMULAS.items():
        at = texts.index(label)
        assert not value or texts[at + 1] == f"= {value}", (label, texts[at : at + 2])
    assert {"= 2", "= 3", "= 4", "= 5", "= 25"} <= set(texts)


def test_a_tensor_used_twice_has_a_sum() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    s = tf.sin(x, name="s")
    y = tf.add(tf.square(s, name="a"), tf.exp(s, name="b"), name="y")
    tf.gradients(y, [x])
    labels = formulas(render.as_view(tf.get_default_graph(), "gradients"))
    assert {"to dy/ds: dy/da · 2s", "to dy/ds: dy/db · b", "dy/dx = dy/ds · cos x"} <= set(labels)


def test_ops_without_a_name_are_numbered_and_constants_stand_for_themselves() -> None:
    x = tf.placeholder(tf.float32, [3], name="x")
    y = tf.reduce_sum(tf.multiply(tf.sigmoid(x), 2.0), name="y")
    tf.gradients(y, [x])
    view = render.as_view(tf.get_default_graph(), "gradients")
    labels = formulas(view)
    assert "t1 = sigmoid x" in labels and "t2 = t1 · 2" in labels and "dy/dt1 = dy/dt2 · 2" in labels
    assert [n.lines for n in view.nodes if n.kind == CONSTANT] == [("2",)]


def test_the_chain_rule_as_written_is_right() -> None:
    """Each row of the table of slopes, evaluated as a formula, against the derivative that the library computes."""
    x, y = np.float64(0.7), np.float64(1.9)
    rows = {
        "Add": tf.add, "Sub": tf.subtract, "Mul": tf.multiply, "RealDiv": tf.divide,
        "SquaredDifference": tf.squared_difference, "Neg": tf.negative, "Square": tf.square, "Sqrt": tf.sqrt,
        "Exp": tf.exp, "Log": tf.log, "Sin": tf.sin, "Cos": tf.cos, "Tanh": tf.tanh, "Sigmoid": tf.sigmoid,
        "Relu": tf.nn.relu, "Identity": tf.identity,
    }  # fmt: skip
    binary = ("Add", "Sub", "Mul", "RealDiv", "SquaredDifference")
    names = {"sin": np.sin, "cos": np.cos}
    for type, function in rows.items():
        graph = tf.Graph()
        with graph.as_default(), tf.Session() as session:
            inputs = [tf.constant(v, name=n) for v, n in ((x, "u"), (y, "v"))][: 2 if type in binary else 1]
            out = function(*inputs)
            top = tf.multiply(3.0, out, name="top")
            slopes, value = session.run([tf.gradients(top, inputs), out])
        for i, computed in enumerate(slopes):
            text = slope(out.op, i, "J", "out", ["u", "v"]).replace("dJ/dout", "G")
            text = text.replace("·", "*").replace("²", "**2").replace("/ 2out", "/ (2 * out)").replace("2u", "2 * u")
            text = re.sub(r"(sin|cos) (\w+)", r"\1(\2)", text).replace("2(", "2 * (").replace("out(", "out * (")
            text = re.sub(r"\[(.*)\]", r"(\1)", text)
            found = eval(text, {"G": 3.0, "u": x, "v": y, "out": value} | names)  # the test's own text
            assert found == pytest.approx(computed, rel=1e-12), (type, i, text)


def test_what_has_no_row_is_written_as_it_is() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    many = tf.add_n([x, x, x, x], name="many")
    assert formula(many.op, ["a", "b", "c", "d"]) == "AddN(a, b, c, ...)"
    assert slope(many.op, 1, "J", "many", ["a", "b", "c", "d"]) == "dJ/dmany · dmany/db"
    product = tf.matmul(tf.ones([2, 3]), tf.ones([2, 3]), transpose_b=True)
    assert formula(product.op, ["a", "b"]) == "a b^T"
    assert slope(product.op, 0, "J", "p", ["a", "b"]) == "dJ/dp · dp/da"


def test_the_target_is_j_if_it_has_no_name() -> None:
    x = tf.placeholder(tf.float32, [4], name="x")
    tf.gradients(tf.reduce_mean(tf.square(x, name="s")), [x])
    assert set(formulas(render.as_view(tf.get_default_graph(), "gradients"))) == {
        "s = x²", "J = mean s", "dJ/dJ = 1", "dJ/ds = 1 / n", "dJ/dx = dJ/ds · 2x",
    }  # fmt: skip
    y = tf.reduce_max(x)
    tf.gradients(y, [x])
    assert "dJ/dx" in formulas(render.as_view(y, "gradients")), "nothing is said where nothing is known"


def test_symbols_are_short_and_different() -> None:
    symbols = Symbols()
    with tf.name_scope("one"):
        a = tf.placeholder(tf.float32, [], name="same")
    with tf.name_scope("two"):
        b = tf.placeholder(tf.float32, [], name="same")
    c = tf.placeholder(tf.float32, [], name="a_name_that_is_far_too_long_for_a_formula")
    found = [symbols.of(t) for t in (a, b, c, a)]
    assert found[0] == found[3] == "same" and len(set(found)) == 3 and max(map(len, found)) <= 14


def test_a_name_in_several_scopes_is_told_apart_by_its_scope() -> None:
    h: Any = tf.placeholder(tf.float32, [2, 3], name="x")
    for i in range(3):
        with tf.variable_scope(f"layer{i}"):
            h = tf.tanh(tf.matmul(h, tf.get_variable("w", [3, 3])), name="h")
    tf.gradients(tf.reduce_mean(h, name="loss"), tf.trainable_variables())
    view = render.as_view(tf.get_default_graph(), "gradients")
    assert [n.lines[0] for n in view.nodes if n.kind == VARIABLE] == ["layer0/w", "layer1/w", "layer2/w"]
    ends = {n.lines[0] for n in view.nodes if n.kind == GRADIENT}
    assert {f"dloss/d(layer{i}/w)" for i in range(3)} <= ends, "a slash in a name is no quotient"
    assert "t3 = layer1/h layer2/w" in formulas(view)


def test_names_that_nothing_tells_apart_are_numbered() -> None:
    gates = tf.split(tf.placeholder(tf.float32, [4], name="x"), 2, name="gates")
    symbols = Symbols([gates[0].op.name])
    assert [symbols.of(t) for t in gates] == ["gates", "gates_1"]


def test_a_loop_is_called_what_its_formulas_call_it() -> None:
    w = tf.placeholder(tf.float32, [], name="w")
    _, last = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * w), [0, 1.0])
    tf.gradients(tf.square(last, name="loss"), [w])
    view = render.as_view(tf.get_default_graph(), "gradients")
    (loop,) = [n.lines[0] for n in view.nodes if n.type == "While"]
    labels = formulas(view)
    assert any(label.startswith(f"{loop} = While(") for label in labels)
    assert f"dloss/d{loop} = 2{loop}" in labels and f"dloss/dw = dloss/d{loop} · d{loop}/dw" in labels


def test_each_output_that_has_a_derivative_adds_a_term() -> None:
    x = tf.placeholder(tf.float32, [4], name="x")
    a, b = tf.split(x, 2, name="gates")
    tf.gradients(tf.reduce_sum(a * b, name="y"), [x])
    labels = formulas(render.as_view(tf.get_default_graph(), "gradients"))
    assert "dy/dx = dy/dgates · dgates/dx + dy/dgates_1 · dgates_1/dx" in labels


def test_without_a_gradient_the_error_says_how_to_build_one() -> None:
    tf.square(tf.placeholder(tf.float32, []))
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"tf\.gradients"):
        render.as_view(tf.get_default_graph(), "gradients")


def test_a_graph_too_large_for_formulas_is_an_error() -> None:
    x: Any = tf.placeholder(tf.float32, [], name="x")
    y = x
    for _ in range(200):
        y = tf.sin(y)
    tf.gradients(y, [x])
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 150 ops"):
        render.as_view(tf.get_default_graph(), "gradients")
