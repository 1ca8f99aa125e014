"""The view of a graph as it was built, and its Graphviz text: what is drawn, where, and with which marks."""

from __future__ import annotations

import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import render
from graphflow.render import dot, engines, labels, styles
from graphflow.render.phases import FORWARD, GRADIENT, SETUP, UPDATE, phases
from graphflow.render.view import (
    CONSTANT,
    CONTROL,
    DATA,
    FED,
    MERGED,
    READ,
    REFERENCE,
    STUBS,
    VARIABLE,
    WRITE,
    Box,
    Edge,
    Node,
    View,
)
from tests.graphs_to_draw import loop, model, worked_example


def drawn(**options: Any) -> View:
    return render.as_view(tf.get_default_graph(), **options)


def node(view: View, name: str) -> Node:
    """The op, or the closed scope, of that whole name; not a stub for it."""
    return next(n for n in view.nodes if n.name == name and n.kind not in STUBS)


def edges_between(view: View, tail: str, head: str) -> list[Edge]:
    return [e for e in view.edges if (e.tail, e.head) == (node(view, tail).id, node(view, head).id)]


def parsed(text: str, kind: str = "dot_json") -> dict[str, Any]:
    """The picture as a layout program understands it."""
    program = engines.ENGINES["graphviz-pure"].find()
    assert program, "the tests need the extra render"
    return json.loads(engines.run_program(program, text.encode(), kind, 60))  # type: ignore[no-any-return]


def words(label: str) -> list[str]:
    """The lines of a label."""
    return [html.unescape(re.sub(r"<[^>]*>", "", line)) for line in re.split(r"<BR/>|\\n", label)]


# -- what is drawn -------------------------------------------------------------------------------------------------


def test_the_text_is_a_pure_function_of_the_graph() -> None:
    model()
    graph = tf.get_default_graph()
    before = [(op.name, op.inputs, op.control_inputs) for op in graph.get_operations()]
    assert render.to_dot(graph) == render.to_dot(graph)
    assert [(op.name, op.inputs, op.control_inputs) for op in graph.get_operations()] == before


def test_phases() -> None:
    train = model()
    graph = tf.get_default_graph()
    found = phases(graph)
    assert found[graph.get_operation_by_name("outer/inner/product")] == FORWARD
    assert {found[op] for op in graph.get_operations() if op.name.startswith("gradients/")} == {GRADIENT}
    assert {found[op] for op in graph.get_operations() if op.name.endswith("Assign")} == {SETUP}
    assert found[graph.get_operation_by_name("init")] == SETUP
    assert found[train] == UPDATE


def test_every_op_is_drawn_but_what_sets_up() -> None:
    model()
    graph = tf.get_default_graph()
    found = phases(graph)
    beside = ("Const", "VariableHandle", "ReadVariable", "Shape")
    wanted = {op.name for op in graph.get_operations() if found[op] != SETUP and op.type not in beside}
    assert {n.name for n in drawn().nodes if n.kind not in STUBS} == wanted


def test_setup_is_drawn_if_asked_for() -> None:
    model()
    assert not [n for n in drawn().nodes if n.name == "init"]
    assert node(drawn(setup=True), "init").kind == SETUP


def test_nodes_say_what_they_are() -> None:
    model()
    view = drawn()
    x, product = node(view, "x"), node(view, "outer/inner/product")
    assert x.kind == FED and x.lines == ("x", "[?, 2]")
    assert product.kind == FORWARD and product.lines == ("product", "MatMul") and product.type == "MatMul"
    assert "graphs_to_draw.py" in product.source and product.facts["output 0"] == "float32 [?, 3]"
    assert product.facts["transpose_a"] == "False"
    assert node(view, "gradients/OnesLike").kind == GRADIENT


def test_scopes_are_boxes_inside_boxes() -> None:
    model()
    view = drawn()
    assert {"outer", "outer/inner", "loss", "gradients"} <= {box.scope for box in view.boxes}
    assert node(view, "outer/inner/product").scope == "outer/inner"
    picture = parsed(render.to_dot(tf.get_default_graph()))
    clusters = {t["_gvid"]: t for t in picture["objects"] if t["name"].startswith("cluster")}
    outer = next(cluster for cluster in clusters.values() if words(cluster["label"]) == ["outer"])
    (inner,) = [clusters[number] for number in outer["subgraphs"]]
    ids = {t["_gvid"]: t["name"] for t in picture["objects"]}
    assert words(inner["label"]) == ["inner"]
    assert node(view, "outer/inner/product").id in [ids[number] for number in inner["nodes"]]


def test_a_gradient_stands_in_the_scope_of_what_it_is_of() -> None:
    x = tf.placeholder(tf.float32, [3], name="x")
    with tf.name_scope("first"):
        y = tf.sin(x)
    with tf.name_scope("second"):
        z = tf.sigmoid(y)
    tf.gradients(z, [x])
    scopes = {n.type: n.scope for n in drawn().nodes if n.kind == GRADIENT}
    assert scopes["SigmoidGrad"] == "gradients/second" and scopes["Cos"] == "gradients/first"


def test_a_gradient_does_not_stand_in_the_scope_of_a_variable() -> None:
    graph, _ = worked_example()
    assert {n.scope for n in render.as_view(graph).nodes if n.kind == GRADIENT} == {"gradients"}


def test_the_op_that_is_named_like_a_scope_stands_in_it() -> None:
    x = tf.placeholder(tf.float32, [4, 3], name="x")
    mean, variance = tf.nn.moments(x, [0])
    tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3)
    assert node(drawn(), "batchnorm").scope == "batchnorm"


def test_an_update_is_one_node_if_it_is_one_unit() -> None:
    w = tf.Variable([1.0, 2.0], name="w")
    tf.train.AdamOptimizer().minimize(tf.reduce_sum(tf.square(w)))
    view = drawn()
    update = node(view, "Adam/update_w")
    assert update.lines[0] == "update_w" and re.fullmatch(r"\d+ ops as one", update.lines[1])
    assert update.members > 5 and update.facts["writes"].split(", ")[-1] == "w"
    (written,) = [e for e in view.edges if e.kind == WRITE and e.tail == update.id]
    assert next(n for n in view.nodes if n.id == written.head).name == "w"


def test_the_gradient_is_tied_to_what_it_is_of() -> None:
    model()
    assert edges_between(drawn(), "loss/Mean", "gradients/OnesLike")


def test_a_variable_is_a_stub_beside_each_use() -> None:
    w = tf.Variable([1.0, 2.0], name="w")
    for _ in range(3):
        tf.identity(w)
    view = drawn()
    stubs = [n for n in view.nodes if n.kind == VARIABLE]
    assert [n.lines for n in stubs] == [("w", "[2]")] * 3
    reads = [e for e in view.edges if e.kind == READ]
    assert sorted(e.tail for e in reads) == sorted(n.id for n in stubs)
    assert len({e.head for e in reads}) == 3


def test_a_small_constant_is_written_out_and_a_large_one_is_not() -> None:
    tf.add(tf.placeholder(tf.float32, [3], name="x"), tf.constant([1.0, 2.5, -3.0]))
    tf.add(tf.placeholder(tf.float32, [9], name="y"), tf.constant(np.ones(9, np.float32)))
    shown = {n.lines for n in drawn().nodes if n.kind == CONSTANT}
    assert shown == {("[1, 2.5, -3]",), ("float32 [9]",)}


def test_forward_values_that_a_gradient_uses_are_stubs_that_know_their_op() -> None:
    model()
    view = drawn()
    stub = next(n for n in view.nodes if n.kind == REFERENCE)
    assert stub.of in {n.id for n in view.nodes} and next(n for n in view.nodes if n.id == stub.of).name == stub.name


def test_shapes_and_unusual_dtypes_are_on_the_edges() -> None:
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    y = tf.identity(tf.identity(x))
    tf.identity(tf.cast(y, tf.int32))
    view = drawn()
    assert {e.label for e in view.edges} == {"[?, 2]", "int32 [?, 2]"} and view.usual_dtype == "float32"


def test_control_edges_are_dotted_and_those_implied_are_left_out() -> None:
    a = tf.placeholder(tf.float32, [], name="a")
    b = tf.identity(a, name="b")
    with tf.control_dependencies([a.op, b.op]):
        tf.identity(b, name="c")
    with tf.control_dependencies([b.op]):
        tf.no_op(name="d")
    view = drawn()
    assert [e.kind for e in edges_between(view, "b", "c")] == [DATA] and not edges_between(view, "a", "c")
    assert [e.kind for e in edges_between(view, "b", "d")] == [CONTROL]
    (dotted,) = [e for e in parsed(dot.to_dot(view))["edges"] if e.get("style") == "dotted"]
    assert dotted["arrowhead"] == "empty"


def test_the_gradient_runs_upwards() -> None:
    model()
    view = drawn()
    laid_out = parsed(dot.to_dot(view), "json")["objects"]
    heights = {t["name"]: float(t["pos"].split(",")[1]) for t in laid_out if "pos" in t}
    kinds = {n.id: n.kind for n in view.nodes}
    compared = 0
    for edge in view.edges:
        if kinds[edge.tail] == kinds[edge.head] and edge.kind == DATA:
            assert (heights[edge.tail] > heights[edge.head]) == (kinds[edge.tail] == FORWARD)
            compared += 1
    assert compared > 5


def test_the_width_of_an_edge_grows_with_the_tensor() -> None:
    small, large = (tf.placeholder(tf.float32, [n], name=f"x{n}") for n in (2, 1000))
    tf.identity(small)
    tf.identity(large)
    widths = {words(e["label"])[0].strip(): float(e["penwidth"]) for e in parsed(dot.to_dot(drawn()))["edges"]}
    assert widths["[2]"] < widths["[1000]"] <= 3.5


def test_bodies_of_loops_are_closed_until_asked_for() -> None:
    loop()
    closed = node(drawn(), "loop/While")
    assert closed.type == "" and closed.members > 3
    view = drawn(expand=["loop/While/body", "loop/While/cond"])
    scopes = {n.scope for n in view.nodes}
    assert {"loop/While", "loop/While/body/step", "loop/While/cond"} <= scopes
    tanh = next(n for n in view.nodes if n.type == "Tanh")
    loop_op = next(n for n in view.nodes if n.type == "While")
    assert [e for e in view.edges if (e.tail, e.head) == (tanh.id, loop_op.id)], "the result goes back to the loop"
    assert "x" in [n.lines[0] for n in view.nodes if n.scope.startswith("loop/While/body") and n.kind == REFERENCE]


def test_an_empty_graph_has_a_view() -> None:
    assert render.as_view(tf.Graph()).caption == ("no ops",)
    assert parsed(render.to_dot(tf.Graph()))["directed"]


def test_a_graph_of_constants_shows_them() -> None:
    tf.constant(1.0, name="one")
    assert [n.name for n in drawn().nodes] == ["one"]


# -- after a run ---------------------------------------------------------------------------------------------------


def test_values_and_times_of_a_run() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.identity(x, name="y")
    tf.log(y, name="z")
    nan = np.array([np.nan, 1.0])
    view = drawn(values={x: np.array([-1.0, 2.0]), "z:0": nan}, seconds={y.op: 0.25, "z": 0.75})
    assert node(view, "x").value == "[-1, 2]" and not node(view, "x").bad
    assert node(view, "z").bad and node(view, "z").seconds == 0.75 and node(view, "y").seconds == 0.25
    assert edges_between(view, "x", "y")[0].value == "[-1, 2]"
    assert any("critical path 1 s of 1 s" in line for line in view.caption)
    by_name = {t["name"]: t for t in parsed(dot.to_dot(view, "time"))["objects"]}
    assert by_name[node(view, "z").id]["color"] == styles.RED
    assert by_name[node(view, "y").id]["fillcolor"] == styles.heat(0.25 / 0.75)


def test_a_traced_run_gives_the_times() -> None:
    x = tf.placeholder(tf.float32, [50], name="x")
    y = tf.cumsum(tf.sin(x, name="s"), name="y")
    run = tf.RunMetadata()
    with tf.Session() as session:
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        session.run(y, {x: np.ones(50)}, options=options, run_metadata=run)
    view = drawn(run=run)
    assert all((node(view, name).seconds or 0) > 0 for name in ("s", "y"))
    assert drawn(run=run, seconds={"s": 7.0}) != view, "what is given counts more"
    with pytest.raises(tf.errors.FailedPreconditionError, match="was not traced"):
        drawn(run=tf.RunMetadata())


def test_a_large_value_is_its_extremes() -> None:
    assert labels.value(np.arange(100.0)) == "0 … 99"
    assert labels.value(np.array([1.0, np.inf, 3, 4, 5])) == "1 … 5, 1 not finite"
    assert labels.is_bad(np.array([np.inf])) and not labels.is_bad(np.array([1]))


def test_closed_scopes_sum_up_the_times_of_what_is_inside() -> None:
    with tf.name_scope("part"):
        y = tf.identity(tf.placeholder(tf.float32, [2], name="x"), name="y")
        tf.identity(y, name="z")
    view = drawn(depth=0, seconds={"part/y": 1.0, "part/z": 2.0})
    assert node(view, "part").seconds == 3.0


# -- colours -------------------------------------------------------------------------------------------------------


def test_phases_differ_in_colour_and_the_legend_names_what_occurs() -> None:
    model()
    text = render.to_dot(tf.get_default_graph())
    fills = {t["fillcolor"] for t in parsed(text)["objects"] if t["name"].startswith("op")}
    assert {styles.KINDS[kind].fill for kind in (FORWARD, GRADIENT, UPDATE)} <= fills
    legend = "".join(words(parsed(text)["label"]))
    assert all(word in legend for word in ("forward", "gradient", "update", "variable"))
    tf.reset_default_graph()
    tf.identity(tf.placeholder(tf.float32, [2]))
    legend = "".join(words(parsed(render.to_dot(tf.get_default_graph()))["label"]))
    assert "gradient" not in legend and "dotted" not in legend


def test_what_a_pass_changed_is_coloured() -> None:
    view = View("", (Node("a", ("a",), change=MERGED),), ())
    (drawn_node,) = [t for t in parsed(dot.to_dot(view))["objects"] if t["name"] == "a"]
    assert drawn_node["fillcolor"] == styles.CHANGES[MERGED].fill
    assert "merged" in "".join(words(parsed(dot.to_dot(view))["label"]))


def test_devices_have_borders_and_colours() -> None:
    with tf.device("/cpu:0"):
        x = tf.placeholder(tf.float32, [2], name="x")
    with tf.device("/opencl:0"):
        y = tf.identity(x, name="y")
    view = drawn()
    found = {t["name"]: t for t in parsed(dot.to_dot(view))["objects"]}
    assert "dashed" in found[node(view, "y").id]["style"]
    assert "dashed border: /opencl:0" in "".join(words(parsed(dot.to_dot(view))["label"]))
    coloured = {t["name"]: t for t in parsed(dot.to_dot(view, "device"))["objects"]}
    fills = {coloured[node(view, name).id]["fillcolor"] for name in ("x", y.op.name)}
    assert len(fills) == 2


def test_bytes_as_heat() -> None:
    tf.identity(tf.placeholder(tf.float32, [1000], name="x"), name="large")
    tf.identity(tf.placeholder(tf.float32, [2], name="y"), name="small")
    view = drawn()
    found = {t["name"]: t for t in parsed(dot.to_dot(view, "bytes"))["objects"]}
    assert found[node(view, "large").id]["fillcolor"] == styles.heat(1.0)
    assert found[node(view, "small").id]["fillcolor"] == styles.heat(8 / 4000)


def test_another_colour_is_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="coloured by"):
        dot.to_dot(View("", (), ()), "taste")


# -- words ---------------------------------------------------------------------------------------------------------


def test_long_text_is_cut() -> None:
    assert labels.plain("a" * 30) == "a" * 30
    assert len(labels.plain("a" * 3000)) == labels.MAX_TEXT and "…" in labels.plain("a" * 300)


@pytest.mark.parametrize(
    ("n", "shown"), [(999, "999"), (9999, "9,999"), (25_600_000, "25.6 M"), (12_345, "12.3 k"), (3e9, "3 G")]
)
def test_counts(n: float, shown: str) -> None:
    assert labels.count(n) == shown


def test_a_box_in_a_box_that_is_not_drawn_stands_in_the_one_around() -> None:
    view = View("", (Node("n", ("n",), scope="a/b/c"),), (), (Box("a", "a"), Box("a/b/c", "c")))
    clusters = {words(t["label"])[0]: t for t in parsed(dot.to_dot(view))["objects"] if t["name"].startswith("cluster")}
    assert clusters["a"]["subgraphs"] == [clusters["c"]["_gvid"]]


# -- the analysed graph --------------------------------------------------------------------------------------------


def test_to_networkx_has_ops_edges_and_measures() -> None:
    model()
    graph = tf.get_default_graph()
    found = graph.to_networkx()
    assert set(found) == {op.name for op in graph.get_operations()}
    product = found.nodes["outer/inner/product"]
    assert product["type"] == "MatMul" and product["phase"] == FORWARD and product["shapes"] == ("[?, 3]",)
    assert found.edges["x", "outer/inner/product"] == {"control": False, "shape": "[?, 2]", "dtype": "float32"}
    path = found.graph["critical_path"]
    assert found.graph["depth"] == len(path) and all(found.has_edge(a, b) for a, b in itertools.pairwise(path))


def test_depth_width_and_parallelism() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    tf.add_n([tf.sin(x), tf.cos(x), tf.exp(x)])
    measures = tf.get_default_graph().to_networkx().graph
    assert (measures["depth"], measures["width"], measures["parallelism"]) == (3, 3, 5 / 3)
    assert "depth 3  ·  width 3  ·  parallelism 1.7" in drawn().caption


def test_what_a_pass_did_looks_like_nothing_else() -> None:
    looks = [*styles.KINDS.values(), *styles.CHANGES.values()]
    phases_and_changes = [styles.KINDS[kind] for kind in (FORWARD, GRADIENT, UPDATE, SETUP, VARIABLE)]
    phases_and_changes += styles.CHANGES.values()
    assert len({paint.line for paint in phases_and_changes}) == len({paint.fill for paint in phases_and_changes})
    assert len({paint.line for paint in phases_and_changes}) == len(phases_and_changes)
    assert len({paint.word for paint in looks}) == len(looks)


def test_an_observed_run_gives_values_and_times() -> None:
    x = tf.placeholder(tf.float32, [50], name="x")
    root = tf.sqrt(x, name="root")
    total = tf.reduce_sum(root, name="total")
    with tf.Session() as session:
        seen = session.observe(total, {x: np.arange(-1.0, 49.0)}, small=8)
    view = drawn(run=seen)
    assert node(view, "root").value == "0 … 6.928, 1 not finite" and node(view, "root").bad, "of a large one its range"
    assert node(view, "total").value == "nan" and node(view, "total").bad and not node(view, "x").bad
    assert (node(view, "root").seconds or 0) > 0
    assert node(drawn(run=seen, values={total: np.float32(7.0)}), "total").value == "7", "what is given counts more"


def test_an_error_of_numerics_is_drawn_line_by_line(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [3], name="x")
    with tf.name_scope("a_scope_whose_name_is_rather_long"), tf.name_scope("and_another_one_that_is_long_as_well"):
        y = tf.log(tf.subtract(x, 5.0, name="less"), name="the_logarithm_of_it")
    with tf.Session() as session, pytest.raises(tf.errors.NumericsError) as caught:
        session.check_numerics(y, {x: [1.0, 2.0, 9.0]})
    drawn = json.loads(Path(caught.value.render(tmp_path / "e.json")).read_text(encoding="utf-8"))
    (red,) = [node for node in drawn["nodes"] if node.get("bad")]
    text = "\n".join(red["lines"])
    assert "\\n" not in text and all("\n" not in line for line in red["lines"])
    result = next(i for i, line in enumerate(red["lines"]) if line.startswith("got a_scope"))
    first = next(i for i, line in enumerate(red["lines"]) if line.startswith("a_scope"))
    assert first > result and "…" not in drawn["title"], "the result, then the input on lines of its own"
    said = " ".join([drawn["title"], *drawn["caption"]])
    assert said.startswith(caught.value.summary), "what did not fit into the title stands below it"
