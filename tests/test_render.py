"""Pictures of graphs: what is drawn and where, that text of a graph stays text, and what happens when drawing fails."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import graphviz
import pytest

import graphflow as tf
from graphflow import render
from graphflow.render import dot, layout
from graphflow.render.phases import FORWARD, GRADIENT, SETUP, UPDATE, phases


def model() -> Any:
    """A small trained model, and a scope inside a scope."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    with tf.name_scope("outer"), tf.name_scope("inner"):
        w = tf.Variable(tf.zeros([2, 3]), name="w")
        y = tf.matmul(x, w, name="product")
    with tf.name_scope("loss"):
        loss = tf.reduce_mean(tf.square(y))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    tf.global_variables_initializer()
    return train


def parsed(text: str) -> dict[str, Any]:
    """The picture as the layout program understands it."""
    return json.loads(layout.laid_out(text.encode(), "dot_json", 60))  # type: ignore[no-any-return]


def labels(picture: dict[str, Any]) -> list[str]:
    return [thing["label"] for thing in picture["objects"] if "label" in thing]


def node(picture: dict[str, Any], name: str) -> dict[str, Any]:
    """The op of that local name."""
    ops = [thing for thing in picture["objects"] if thing["name"].startswith("op")]
    return next(thing for thing in ops if thing["label"].split("\\n")[0] == name)


def size(png: bytes) -> tuple[int, int]:
    return struct.unpack(">II", png[16:24])


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
    stubs = ("Const", "VariableHandle", "ReadVariable", "Shape")
    wanted = {f"op{op.id}" for op in graph.get_operations() if found[op] != SETUP and op.type not in stubs}
    picture = parsed(render.to_dot(graph))
    assert {thing["name"] for thing in picture["objects"] if thing["name"].startswith("op")} == wanted


def test_scopes_are_clusters_inside_clusters() -> None:
    model()
    picture = parsed(render.to_dot(tf.get_default_graph()))
    clusters = {t["_gvid"]: t for t in picture["objects"] if t["name"].startswith("cluster")}
    outer = next(cluster for cluster in clusters.values() if cluster["label"] == "outer")
    (inner,) = [clusters[number] for number in outer["subgraphs"]]
    assert inner["label"] == "inner" and node(picture, "product")["_gvid"] in inner["nodes"]


def test_an_update_is_one_box_if_it_is_one_unit() -> None:
    w = tf.Variable([1.0, 2.0], name="w")
    tf.train.AdamOptimizer().minimize(tf.reduce_sum(tf.square(w)))
    box = node(parsed(render.to_dot(tf.get_default_graph())), "update_w")
    assert re.fullmatch(r"update_w\\n\d+ ops as one\\nwrites w, Adam, Adam_1", box["label"])


def test_the_gradient_is_tied_to_what_it_is_of() -> None:
    model()
    picture = parsed(render.to_dot(tf.get_default_graph()))
    ends = [(edge["tail"], edge["head"]) for edge in picture["edges"]]
    assert (node(picture, "Mean")["_gvid"], node(picture, "OnesLike")["_gvid"]) in ends


def test_a_variable_is_a_stub_beside_each_use() -> None:
    w = tf.Variable([1.0, 2.0], name="w")
    for _ in range(3):
        tf.identity(w)
    text = render.to_dot(tf.get_default_graph())
    picture = parsed(text)
    assert labels(picture).count(r"w\n[2]") == 3
    tails = [edge["tail"] for edge in picture["edges"]]
    assert max(tails.count(tail) for tail in tails) == 1


def test_shapes_and_unusual_dtypes_are_on_the_edges() -> None:
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    y = tf.identity(tf.identity(x))
    tf.identity(tf.cast(y, tf.int32))
    picture = parsed(render.to_dot(tf.get_default_graph()))
    shown = {edge["label"].strip() for edge in picture["edges"] if edge.get("label")}
    assert shown == {"[?, 2]", "int32 [?, 2]"}


def test_the_gradient_runs_upwards() -> None:
    model()
    graph = tf.get_default_graph()
    heights = {t["name"]: float(t["pos"].split(",")[1]) for t in parsed(render.to_dot(graph))["objects"] if "pos" in t}
    found = phases(graph)
    for op in graph.get_operations():
        for x in op.inputs:
            ends = [f"op{x.op.id}", f"op{op.id}"]
            if all(end in heights for end in ends) and found[x.op] == found[op]:
                assert (heights[ends[0]] > heights[ends[1]]) == (found[op] == FORWARD)


def test_phases_differ_in_colour_and_the_legend_says_which() -> None:
    model()
    picture = parsed(render.to_dot(tf.get_default_graph()))
    legend = {t["label"]: t["fillcolor"] for t in picture["objects"] if t["name"].startswith("legend")}
    assert legend.keys() == {FORWARD, GRADIENT, UPDATE, "variable", "fed", "forward value"}
    assert len({legend[phase] for phase in (FORWARD, GRADIENT, UPDATE)}) == 3
    assert node(picture, "product")["fillcolor"] == legend[FORWARD]


def test_an_empty_graph_has_a_picture(tmp_path: Path) -> None:
    assert size(Path(render.write(tf.Graph(), tmp_path / "nothing.png")).read_bytes())[0] > 10


# -- text stays text -----------------------------------------------------------------------------------------------

HOSTILE = [
    '"];a[URL="javascript:alert(1)"]',
    "</script><b>",
    "<b>bold</b>",
    "\\N \\G \\L \\l",
    "ends with a backslash\\",
    'a quote " and then \\"',
    "]]> <!-- -->",
    "two\nlines\tand \x1b[31mred\x07",
    "\u202egnp.exe",
    "subgraph",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text: str) -> None:
    tf.identity(tf.constant(text))
    picture = parsed(render.to_dot(tf.get_default_graph()))
    names = {thing["name"] for thing in picture["objects"]}
    assert {name for name in names if not name.startswith(("legend", "cluster legend"))} == {"op1", "stub1"}
    assert not [key for thing in picture["objects"] for key in thing if key.lower() in ("url", "href")]
    (label,) = [thing["label"] for thing in picture["objects"] if thing["name"] == "stub1"]
    assert label.isprintable()
    for piece in re.findall(r"[a-z]+", text.lower()):
        assert piece in label.lower()


@pytest.mark.parametrize("name", ["a\\N", "a\\", "strict", "node", "a.b-c", "x" * 250])
def test_every_legal_name_can_be_drawn(name: str) -> None:
    with tf.name_scope(name):
        tf.identity(tf.placeholder(tf.float32, [], name=name), name=name)
    picture = parsed(render.to_dot(tf.get_default_graph()))
    assert len([thing for thing in picture["objects"] if thing["name"].startswith("op")]) == 2
    assert any(label.split("\\n")[0] == graphviz.escape(dot.plain(name)) for label in labels(picture))


def test_an_svg_has_nothing_active_in_it() -> None:
    for text in HOSTILE:
        tf.identity(tf.constant(text))
    svg = layout.laid_out(render.to_dot(tf.get_default_graph()).encode(), "svg", 60).decode()
    assert "<script" not in svg and "href" not in svg and "onload" not in svg and "<image" not in svg


def test_long_text_is_cut() -> None:
    assert dot.plain("a" * 30) == "a" * 30
    assert len(dot.plain("a" * 300)) == dot.MAX_TEXT and "…" in dot.plain("a" * 300)


# -- large graphs --------------------------------------------------------------------------------------------------


def test_a_deep_graph_does_not_recurse() -> None:
    x: Any = tf.placeholder(tf.float32, [], name="x")
    for _ in range(3000):
        x = tf.identity(x)
    graph, limit = tf.get_default_graph(), sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        text = render.to_dot(graph)
    finally:
        sys.setrecursionlimit(limit)
    assert text.count("->") == 3000 + 5  # and those of the legend


def test_a_huge_layout_is_scaled_down(tmp_path: Path) -> None:
    x: Any = tf.placeholder(tf.float32, [], name="x")
    for _ in range(400):
        x = tf.identity(x)
    width, height = size(Path(render.write(tf.get_default_graph(), tmp_path / "deep.png")).read_bytes())
    assert width > 10 and height == dot.MAX_INCHES * 96


# -- files and failures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "start"), [("g.png", b"\x89PNG"), ("g.SVG", b"<?xml"), ("g.dot", b"digraph")])
def test_formats(name: str, start: bytes, tmp_path: Path) -> None:
    model()
    path = render.write(tf.get_default_graph(), tmp_path / name)
    assert path == str(tmp_path / name) and Path(path).read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["g.pdf", "g", ".png"])
def test_another_ending_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\.png, \.svg"):
        render.write(tf.Graph(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_something_else_than_a_graph() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"tf\.Graph"):
        render.write("graph", "g.png")  # type: ignore[arg-type]


def test_without_dot_the_wheel_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert Path(layout.layout_program()).stem == "graphviz-pure"


def test_without_a_program_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)
    with pytest.raises(tf.errors.UnavailableError, match="pip install graphviz-pure"):
        render.write(tf.Graph(), tmp_path / "g.png")
    assert list(tmp_path.iterdir()) == []
    render.write(tf.Graph(), tmp_path / "g.dot")


def test_a_failing_program_is_a_typed_error() -> None:
    with pytest.raises(tf.errors.UnknownError, match="syntax error"):
        layout.laid_out(b"digraph {", "png", 60)


def test_a_slow_program_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(command: list[str], timeout: float, **rest: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(tf.errors.DeadlineExceededError, match="longer than 2 s"):
        layout.laid_out(b"digraph {}", "png", 2)


def test_a_program_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "dot"
    broken.write_text("not a program")
    broken.chmod(0o755)
    monkeypatch.setattr(layout, "layout_program", lambda: str(broken))
    with pytest.raises(tf.errors.UnavailableError, match="does not start"):
        layout.laid_out(b"digraph {}", "png", 2)
