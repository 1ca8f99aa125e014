"""Engines and files: which engine draws, what happens without it, which formats there are, and how drawing fails."""

from __future__ import annotations

import importlib.util
import itertools
import json
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import render
from graphflow.render import dot, engines, pdf, picture
from graphflow.render.view import CONTROL, Edge, Node, View
from tests.graphs_to_draw import chain, model

STARTS = {
    "png": b"\x89PNG", "svg": b"<?xml", "html": b"<!DOCTYPE html>", "dot": b"digraph", "gv": b"digraph",
    "mermaid": b"flowchart", "mmd": b"flowchart", "json": b"{",
}  # fmt: skip


@pytest.fixture(autouse=True)
def usual_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engines.VARIABLE, raising=False)


def without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    """As if these engines were not installed."""
    for name in absent:
        monkeypatch.setitem(engines.ENGINES, name, engines.ENGINES[name]._replace(find=lambda: None))


def size(png: bytes) -> tuple[int, int]:
    return struct.unpack(">II", png[16:24])


# -- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STARTS)
def test_the_ending_says_the_format(kind: str, tmp_path: Path) -> None:
    model()
    path = tf.get_default_graph().render(tmp_path / f"g.{kind}")
    assert path == str(tmp_path / f"g.{kind}") and Path(path).read_bytes().startswith(STARTS[kind])
    again = render.render(tf.get_default_graph(), tmp_path / "g.X", format=kind.upper())
    assert Path(again).read_bytes() == Path(path).read_bytes()


def test_the_package_is_the_function(tmp_path: Path) -> None:
    model()
    path = tf.render(tf.get_default_graph(), tmp_path / "a.dot")
    assert Path(path).read_text(encoding="utf-8") == render.to_dot(tf.get_default_graph())


def test_pdf_is_one_page_with_the_words_of_the_picture() -> None:
    model()
    found = picture.content_of(render.as_view(tf.get_default_graph()), "pdf", engine="graphviz-pure")
    assert found == picture.content_of(render.as_view(tf.get_default_graph()), "pdf", engine="graphviz-pure")
    assert found.startswith(b"%PDF-1.4") and found.endswith(b"%%EOF\n") and found.count(b"/Type /Page ") == 1
    assert b"(product) Tj" in found and b"([?, 3]) Tj" in found.replace(b"(  [?, 3] )", b"([?, 3])")
    start = int(found.rsplit(b"startxref", 1)[1].split()[0])
    table = found[start:].split(b"\n")
    assert table[0] == b"xref" and table[1] == b"0 8"
    for number, line in enumerate(table[3:10], 1):
        assert found[int(line.split()[0]) :].startswith(b"%d 0 obj" % number), "the table says where objects begin"
    length = int(found.split(b"/Length ")[1].split()[0])
    assert found.partition(b"stream\n")[2][length:].startswith(b"\nendstream")


def test_text_in_a_pdf_stays_text() -> None:
    assert pdf._string("a) Tj ET (b\\") == "a\\051 Tj ET \\050b\\134"
    assert pdf._string("\u00e9\u65e5\n") == "\\351\\134u65e5\\012"


def test_what_is_drawn_in_a_pdf() -> None:
    shapes = [
        {"op": "S", "style": "setlinewidth(2)"}, {"op": "C", "color": "#ff0000"}, {"op": "c", "color": "#0000ff"},
        {"op": "P", "points": [[0, 0], [4, 0], [4, 4]]}, {"op": "E", "rect": [5, 5, 2, 1]},
        {"op": "F", "size": 9, "face": "Helvetica"}, {"op": "t", "fontchar": 1},
        {"op": "T", "pt": [10, 3], "align": "c", "width": 4, "text": "bold"},
        {"op": "S", "style": "dotted"}, {"op": "b", "points": [[0, 0], [1, 1], [2, 2], [3, 3]]},
    ]  # fmt: skip
    found = pdf.to_pdf(json.dumps({"bb": "0,0,100,50", "objects": [{"_draw_": shapes}]}).encode()).decode("latin-1")
    state = "0.000 0.000 1.000 RG 1.000 0.000 0.000 rg 2.00 w"
    assert f"{state} [] 0 d 0.00 0.00 m 4.00 0.00 l 4.00 4.00 l b" in found
    assert f"{state} [1 3] 0 d 0.00 0.00 m 1.00 1.00 2.00 2.00 3.00 3.00 c S" in found
    assert "BT /F1 9.0 Tf 0.000 0.000 1.000 rg 8.00 3.00 Td (bold) Tj ET" in found
    assert "/MediaBox [0 0 124.00 74.00]" in found and "7.00 5.00 m 7.00 5.55" in found
    large = pdf.to_pdf(json.dumps({"bb": "0,0,100000,50"}).encode())
    assert b"/MediaBox [0 0 14400.00 " in large


def test_json_is_the_view() -> None:
    model()
    view = render.as_view(tf.get_default_graph(), title="a title")
    found = json.loads(picture.content_of(view, "json"))
    assert found["format"] == "graphflow view 1" and found["title"] == "a title"
    assert [Node(**fields) for fields in found["nodes"]] == [n._replace(lines=list(n.lines)) for n in view.nodes]  # type: ignore[arg-type]
    assert [Edge(**fields) for fields in found["edges"]] == list(view.edges)


def test_pictures_are_deterministic() -> None:
    model()
    view = render.as_view(tf.get_default_graph())
    for kind in ("png", "svg"):
        assert picture.content_of(view, kind) == picture.content_of(view, kind)


@pytest.mark.parametrize("name", ["g.bmp", "g", ".png"])
def test_another_ending_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\.png, \.svg"):
        render.write(tf.Graph(), tmp_path / name)
    with pytest.raises(tf.errors.InvalidArgumentError, match="format="):
        render.write(tf.Graph(), tmp_path / "g.png", format="bmp")
    assert list(tmp_path.iterdir()) == []


def test_charts_are_written_as_svg_alone(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    with tf.Session() as session:
        program = session.program(tf.sin(x), {x: [1.0, 2.0]})
    for view in ("schedule", "memory"):
        path = render.write(program, tmp_path / f"{view}.svg", view)
        assert "<svg" in Path(path).read_text(encoding="utf-8")
        with pytest.raises(tf.errors.UnimplementedError, match="as svg or png alone"):
            render.write(program, tmp_path / "chart.dot", view)
    assert Path(render.write(program, tmp_path / "rewrites.svg", "rewrites")).exists()


# -- engines -------------------------------------------------------------------------------------------------------


def test_the_first_engine_that_is_here_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.choose("png").name == "graphviz-pure" == render.layout_program()
    without(monkeypatch, "graphviz-pure", "dot", "pygraphviz")
    assert engines.choose("png").name == "matplotlib"


def test_an_engine_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    view = render.as_view(tf.get_default_graph())
    usual = picture.content_of(view, "png")
    assert picture.content_of(view, "png", engine="graphviz-pure") == usual
    assert picture.content_of(view, "png", engine="matplotlib") != usual
    monkeypatch.setenv(engines.VARIABLE, "matplotlib")
    assert engines.choose("png").name == "matplotlib"
    assert engines.choose("png", "graphviz-pure").name == "graphviz-pure", "the argument comes before the variable"


def test_mistakes_in_the_name_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="engine= names no engine"):
        engines.choose("png", "paint")
    with pytest.raises(tf.errors.UnimplementedError, match="does not write gif"):
        engines.choose("gif", "graphviz-pure")
    without(monkeypatch, "pygraphviz")
    with pytest.raises(tf.errors.UnavailableError, match=r"pip install pygraphviz"):
        engines.choose("png", "pygraphviz")
    monkeypatch.setenv(engines.VARIABLE, "paint")
    with pytest.raises(tf.errors.InvalidArgumentError, match=engines.VARIABLE):
        engines.choose("png")


def test_without_any_engine_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, *engines.ENGINES)
    with pytest.raises(tf.errors.UnavailableError, match=r'pip install "graphviz-pure>=0\.2,<1"'):
        render.write(tf.Graph(), tmp_path / "g.png")
    assert list(tmp_path.iterdir()) == []
    render.write(tf.Graph(), tmp_path / "g.dot")


def test_programs_are_found_on_the_path_or_beside_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engines.ENGINES["dot"].find() is None
    found = engines.ENGINES["graphviz-pure"].find()
    assert found is not None and Path(found).stem == "graphviz-pure"
    program = tmp_path / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write('drawn as ' + sys.argv[1])\n")
    program.chmod(0o755)
    assert engines.draw(View("", (), ()), "digraph {}", "pdf", "dot") == b"drawn as -Tpdf"


def test_pygraphviz_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class AGraph:
        def __init__(self, string: str) -> None:
            self.text = string

        def draw(self, format: str, prog: str) -> bytes:
            if "fail" in self.text:
                raise ValueError("Program dot not found in path.")
            return f"{prog} {format} {self.text}".encode()

    fake = ModuleType("pygraphviz")
    fake.AGraph = AGraph  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pygraphviz", fake)
    fake.__spec__ = SimpleNamespace(name="pygraphviz")  # type: ignore[assignment]
    assert engines.draw(View("", (), ()), "digraph {}", "pdf", "pygraphviz") == b"dot pdf digraph {}"
    with pytest.raises(tf.errors.UnknownError, match="not found in path"):
        engines.draw(View("", (), ()), "fail", "pdf", "pygraphviz")


def test_a_package_that_is_not_there_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert engines.ENGINES["pygraphviz"].find() is None and engines.ENGINES["matplotlib"].find() is None


# -- the plain drawing ---------------------------------------------------------------------------------------------


def test_matplotlib_draws_every_node_and_no_two_of_them_overlap() -> None:
    pytest.importorskip("matplotlib")
    from graphflow.render import plain_drawing

    model()
    view = render.as_view(tf.get_default_graph())
    places, width, height = plain_drawing._places(view)
    assert places.keys() == {n.id for n in view.nodes}
    rows: dict[float, list[tuple[float, float]]] = {}
    for x, y, w in places.values():
        assert w / 2 <= x <= width - w / 2 and 0 < y < height
        rows.setdefault(y, []).append((x - w / 2, x + w / 2))
    for row in rows.values():
        row.sort()
        assert all(a[1] < b[0] for a, b in itertools.pairwise(row))
    svg = picture.content_of(view, "svg", engine="matplotlib")
    assert svg == picture.content_of(view, "svg", engine="matplotlib") and b"<svg" in svg


def test_matplotlib_draws_circles_and_hostile_text() -> None:
    pytest.importorskip("matplotlib")
    nodes = (Node("a", ("$x_{", "\u65e5\u672c \\frac"), value="1"), Node("b", ("b",), bad=True))
    view = View("$t", nodes, (Edge("a", "b", "$"), Edge("b", "a", "", CONTROL)), caption=("${",))
    assert picture.content_of(view, "png", engine="matplotlib").startswith(b"\x89PNG")


def test_matplotlib_refuses_what_nobody_could_read() -> None:
    pytest.importorskip("matplotlib")
    view = View("", tuple(Node(f"n{i}", ("n",)) for i in range(2001)), ())
    with pytest.raises(tf.errors.ResourceExhaustedError, match="matplotlib draws no graph"):
        picture.content_of(view, "png", engine="matplotlib")


# -- size ----------------------------------------------------------------------------------------------------------


def test_a_huge_layout_is_scaled_down() -> None:
    view = render.as_view(chain(400), expand="all")
    width, height = size(picture.content_of(view, "png"))
    assert width > 10 and height == dot.MAX_INCHES * 96


def test_an_empty_graph_has_a_picture(tmp_path: Path) -> None:
    assert size(Path(render.write(tf.Graph(), tmp_path / "nothing.png")).read_bytes())[0] > 10


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_failing_program_is_a_typed_error() -> None:
    with pytest.raises(tf.errors.UnknownError, match="syntax error"):
        engines.draw(View("", (), ()), "digraph {", "png")


def test_what_a_program_fails_at_is_drawn_in_a_simpler_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    view = render.as_view(tf.get_default_graph(), expand="all")
    tried: list[str] = []

    def fails(place: str, view: View, text: str, kind: str, timeout: float) -> bytes:
        tried.append(text)
        if len(tried) < works_at:
            raise tf.errors.UnknownError("trouble in init_rank")
        return b"drawn"

    monkeypatch.setitem(engines.ENGINES, "dot", engines.ENGINES["dot"]._replace(find=lambda: "dot", draw=fails))
    for works_at in (1, 2, 3):
        tried.clear()
        assert picture.content_of(view, "svg", engine="dot") == b"drawn" and len(tried) == works_at
    assert ["newrank" in text for text in tried] == [False, True, True]
    assert ["cluster" in text for text in tried] == [True, True, False]
    works_at = 4
    tried.clear()
    with pytest.raises(tf.errors.UnknownError, match="init_rank"):
        picture.content_of(view, "svg", engine="dot")


def test_the_program_that_failed_is_quoted_without_its_warnings(tmp_path: Path) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho 'Warning: no value for width' >&2\necho 'Error: trouble' >&2\nexit 1\n")
    failing.chmod(0o755)
    with pytest.raises(tf.errors.UnknownError, match=r"budget=.*\.dot") as caught:
        engines.run_program(str(failing), b"digraph {}", "png", 60)
    assert caught.value.got == "Error: trouble"


def test_a_slow_program_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(command: list[str], timeout: float, **rest: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(tf.errors.DeadlineExceededError, match="longer than 2 s"):
        engines.draw(View("", (), ()), "digraph {}", "png", timeout=2)


def test_a_program_that_does_not_start(tmp_path: Path) -> None:
    broken = tmp_path / "dot"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(tf.errors.UnavailableError, match="does not start"):
        engines.run_program(str(broken), b"digraph {}", "png", 2)


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(tf.errors.NotFoundError):
        render.write(tf.Graph(), tmp_path / "no" / "folder" / "g.dot")
    with pytest.raises(tf.errors.OpError):
        render.write(tf.Graph(), tmp_path / "nul\0.dot")


@pytest.mark.parametrize("options", [{"format": 3}, {"engine": ["dot"]}, {"timeout": "long"}, {"timeout": 0}])
def test_options_that_are_none(options: dict[str, Any], tmp_path: Path) -> None:
    model()
    with pytest.raises(tf.errors.InvalidArgumentError):
        render.write(tf.get_default_graph(), tmp_path / "g.svg", **options)


def test_an_option_that_there_is_not_is_told_with_the_nearest(tmp_path: Path) -> None:
    model()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"(?s)'titel'.*expected: format.*title, expand.*mean 'title'"
    ):
        render.write(tf.get_default_graph(), tmp_path / "g.svg", titel="x")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)'colour'.*color"):
        render.write(tf.get_default_graph(), tmp_path / "g.svg", colour="time")
    with pytest.raises(tf.errors.InvalidArgumentError, match="seconds= or run="):
        render.write(tf.get_default_graph(), tmp_path / "g.svg", color="time")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("view", ["schedule", "memory"])
def test_a_chart_has_a_title_and_no_other_option_of_graphs(view: str, tmp_path: Path) -> None:
    with tf.Session() as session:
        program = session.program(tf.sin(tf.ones([2])))
    plain, entitled = (
        Path(render.write(program, tmp_path / f"{i}.svg", view, title=title)).read_text(encoding="utf-8")
        for i, title in enumerate((None, "Two & <two>"))
    )
    assert entitled.count("Two &amp; &lt;two&gt;") == 2 and "Two" not in plain, "a text, and the title of the file"
    heights = [float(svg.split('height="')[1].split('"')[0]) for svg in (plain, entitled)]
    assert heights[1] > heights[0]
    assert Path(render.write(program, tmp_path / "a.png", view, title="Two")).read_bytes().startswith(STARTS["png"])
    for options in ({"budget": 3}, {"around": "Sin"}):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"the view '{view}' takes no option"):
            render.write(program, tmp_path / "b.svg", view, **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match="title is"):
        render.write(program, tmp_path / "b.svg", view, title=3)


# -- notebooks -----------------------------------------------------------------------------------------------------


def test_a_notebook_shows_the_picture_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    graph: Any = tf.get_default_graph()
    assert graph._repr_svg_().startswith("<?xml") and graph._repr_html_() is None
    without(monkeypatch, *engines.ENGINES)
    assert graph._repr_svg_() is None
    assert "pip install &quot;graphviz-pure" in graph._repr_html_()


@pytest.mark.parametrize("options", [{}, {"expand": []}, {"expand": (), "depth": None}])
def test_a_page_has_every_op_and_folds_by_itself(options: dict[str, Any], tmp_path: Path) -> None:
    with tf.name_scope("deep"):
        for _ in range(200):
            tf.placeholder(tf.float32, [], name="one")
    render.write(tf.get_default_graph(), tmp_path / "net.html", **options)
    assert '"deep/one_199"' in (tmp_path / "net.html").read_text()


def test_a_notebook_shows_views_and_programs_by_themselves() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.square(x, name="y")
    with tf.Session() as session:
        explanation = session.explain(y, {x: [1.0, 2.0]})
    for target in (render.as_view(x.graph, around=y), explanation, explanation.program):
        assert ">y</text>" in target._repr_svg_() and target._repr_html_() is None


def test_a_notebook_lays_a_picture_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model()
    calls: list[str] = []
    draw = engines.draw
    monkeypatch.setattr(engines, "draw", lambda *a, **k: (calls.append("once"), draw(*a, **k))[1])
    graph: Any = tf.get_default_graph()
    assert graph._repr_html_() is None and graph._repr_svg_() is not None and calls == ["once"]


def test_a_notebook_tells_of_a_layout_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> bytes:
        raise tf.errors.DeadlineExceededError("it took <too> long")

    monkeypatch.setattr(engines, "draw", fail)
    graph: Any = tf.get_default_graph()
    model()
    assert "it took &lt;too&gt; long" in graph._repr_svg_()


def test_values_of_a_run_may_be_keyed_by_tensors(tmp_path: Path) -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.multiply(x, 2.0, name="y")
    with tf.Session() as session:
        found = session.run(y, {x: [1.0, 2.0]})
    path = tf.render([y], tmp_path / "y.svg", values={y: np.asarray(found)})
    assert "= [2, 4]" in Path(path).read_text(encoding="utf-8").replace("&#45;", "-")
