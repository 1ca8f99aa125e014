"""The interactive page: one inert file whose data is exact, and, where a browser is installed, what it draws."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import graphflow as tf
from graphflow.graph import Graph
from graphflow.render import page, page_data
from graphflow.render.labels import scope_of
from graphflow.render.phases import FORWARD, phases
from graphflow.render.view import CONSTANT, CONTROL, DATA, FED, READ, REFERENCE, SETUP, VARIABLE, Box, Edge, Node, View
from tests import chromium

STUBS = {"Const": CONSTANT, "VariableHandle": VARIABLE, "ReadVariable": VARIABLE, "Placeholder": FED}

HOSTILE = [
    "</script><script>alert(1)</script>", "</SCRIPT >", "</style>", "<!--", "-->", "<![CDATA[", "]]>", "&lt;b&gt;",
    "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "&#60;script&#62;", "javascript:alert(1)", "&amp;",
    "'", '"', "`${1}`", "${alert(1)}", "{{7*7}}", "{}", "[]", "{title}", "%s", "%00", "'; drop table ops; --",
    "\\", "\\u003c", "\n", "\r\n", "\t", "\0", "\x1b[31m", "\x7f", "\u2028", "\u2029", "\ufeff", "\u202egnp.exe",
    "__proto__", "constructor", "toString", "hasOwnProperty", "null", "true", "NaN", "0", "1e999", "-", "+", "on",
    "#", "#open=a", "a/b", "//", "/", "a//b", "../../etc/passwd", "", " ", "x" * 5000,
    "é", "日本語", "\U0001d518", "\U0001f469\u200d\U0001f467", "e\u0301", "\ufdfa",
    "\ud800", "onclick=alert(1)",
]  # fmt: skip


def hostile_names() -> list[str]:
    """Two hundred: each alone, inside a scope, as a scope, and after an innocent one."""
    names = [
        shape.format(i, name) for name in HOSTILE for i, shape in enumerate(("{1}", "scope/{1}", "{1}/op", "a{0}{1}"))
    ]
    return list(dict.fromkeys(names))


def whole(graph: Graph, title: str = "graph") -> View:
    """Every op of a graph as a node."""
    phase = phases(graph)
    nodes, edges = [], []
    for op in graph.get_operations():
        kind = STUBS.get(op.type, phase[op])
        facts = {"shape": str(op.outputs[0].shape)} if op.outputs else {}
        lines = (op.name.rpartition("/")[2], op.type)
        nodes.append(Node(f"n{op.id}", lines, kind, scope_of(op.name), op.name, op.type, op.source, op.device, facts))
        for x in op.inputs:
            kind = READ if x.op.type == "VariableHandle" else DATA
            edges.append(Edge(f"n{x.op.id}", f"n{op.id}", str(x.shape), kind, 4))
        edges += [Edge(f"n{before.id}", f"n{op.id}", "", CONTROL) for before in op.control_inputs]
    return View(title, tuple(nodes), tuple(edges))


def trained(layers: int = 2, per_block: int = 10) -> Graph:
    """A convolutional net of so many layers with its Adam step."""
    with tf.Graph().as_default() as graph:
        x = h = tf.placeholder(tf.float32, [None, 8, 8, 4], name="x")
        for i in range(layers):
            with tf.name_scope(f"block{i // per_block}/layer{i % per_block}/"):
                w = tf.Variable(tf.random_normal([3, 3, 4, 4]), name="w")
                b = tf.Variable(tf.zeros([4]), name="b")
                h = tf.nn.relu(tf.nn.conv2d(h, w, [1, 1, 1, 1], "SAME") + b) + h
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(h - x))
        tf.train.AdamOptimizer(0.01).minimize(loss)
        tf.global_variables_initializer()
    return graph


def chain(length: int) -> View:
    """Ops one behind the other, in no scope."""
    nodes = tuple([Node(f"n{i}", (f"op_{i}", "Neg"), name=f"op_{i}", type="Neg") for i in range(length)])
    return View("chain", nodes, tuple([Edge(f"n{i}", f"n{i + 1}", "4") for i in range(length - 1)]))


class Parsed(HTMLParser):
    """What a browser would find: elements with attributes, scripts, styles, texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.contents:
            self.contents[tag].append("")
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.contents[self._inside][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag]


def data_of(text: str) -> dict[str, Any]:
    return json.loads(Parsed(text).contents["script"][0])  # type: ignore[no-any-return]


def column(data: dict[str, Any], table: str, name: str) -> list[str]:
    """A column of texts; one that is left out is empty texts."""
    return [data["strings"][i] for i in data[table].get(name, [0] * data[table]["count"])]


# -- the file --------------------------------------------------------------------------------------------------------


def assert_inert(text: str) -> None:
    """Two scripts, our own and data; no address outside, no handler in an attribute."""
    found = Parsed(text)
    assert [a.get("type") for a in found.attributes("script")] == ["application/json", None]
    for tag, attributes in found.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form", "a", "video", "audio"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "href", "srcset", "action", "style", "xlink:href"), (tag, name)
            assert "://" not in (value or ""), (tag, name, value)


def test_the_page_is_one_inert_file() -> None:
    text = page.to_html(whole(trained()))
    assert_inert(text)
    _, script = Parsed(text).contents["script"]
    style = Parsed(text).contents["style"][0]
    addresses = re.findall(r"[a-z]+://[^\s\"']*", script + style)
    assert addresses == ["http://www.w3.org/2000/svg"]  # the name of a namespace, which nobody loads
    code = script.replace('"url(#arrow)"', "") + style
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in code, forbidden
    for loading in ("fetch(", "XMLHttpRequest", "import(", "url(", "@import"):
        assert loading not in code, loading


def test_the_policy_allows_this_script_and_this_style_alone() -> None:
    found = Parsed(page.to_html(chain(3)))
    policy = next(a["content"] for a in found.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in (policy or "").split("; "))

    def sha(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == sha(found.contents["script"][1])
    assert rules["style-src"] == sha(found.contents["style"][0])
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}


def test_the_data_is_exact() -> None:
    view = whole(trained())
    data = data_of(page.to_html(view))
    for name in ("name", "type", "kind", "scope", "source", "device", "value", "change"):
        assert column(data, "nodes", name) == [getattr(node, name) for node in view.nodes], name
    for name in ("label", "kind", "value"):
        assert column(data, "edges", name) == [getattr(edge, name) for edge in view.edges], name
    ids = [node.id for node in view.nodes]
    assert [(ids[t], ids[h]) for t, h in zip(data["edges"]["tail"], data["edges"]["head"], strict=True)] == [
        (edge.tail, edge.head) for edge in view.edges
    ]
    facts = [[data["strings"][i] for i in row] for row in data["nodes"]["facts"]]
    assert facts == [[text for pair in node.facts.items() for text in pair] for node in view.nodes]


def test_numbers_and_boxes_of_a_view() -> None:
    nodes = (
        Node("a", ("one",), seconds=0.25, nbytes=7, bad=True, members=3),
        Node("b", ("two",), of="a", seconds=float("nan")),
    )
    view = View(
        "t", nodes, (Edge("a", "b"), Edge("a", "gone")), (Box("s", "S", "update", 4),), ("deep", "wide"), "float32"
    )
    data = page_data.columns(view)
    assert data["nodes"]["seconds"] == [0.25, None]
    assert data["nodes"]["bytes"] == [7, None]
    assert (data["nodes"]["bad"], data["nodes"]["members"], data["nodes"]["of"]) == ([1, 0], [3, 1], [-1, 0])
    assert data["edges"]["count"] == 1  # an edge to nowhere cannot be drawn
    assert [data["strings"][i] for i in data["boxes"]["label"]] == ["S"]
    assert [data["strings"][i] for i in data["caption"]] == ["deep", "wide"]


def test_hostile_names_are_text_and_come_back() -> None:
    names = hostile_names()
    assert len(names) >= 200
    nodes = tuple(
        [Node(f"n{i}", (n, n), FORWARD, n.rpartition("/")[0], n, n, n, n, {n: n}, value=n) for i, n in enumerate(names)]
    )
    edges = tuple([Edge(f"n{i}", f"n{i + 1}", n, value=n) for i, n in enumerate(names[:-1])])
    view = View(names[0], nodes, edges, (Box(names[0], names[1]),), tuple(names), names[2])
    text = page.to_html(view)
    assert_inert(text)
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "<!--" not in text
    data = data_of(text)
    for name in ("name", "type", "scope", "source", "device", "value"):
        assert column(data, "nodes", name) == [getattr(node, name) for node in nodes]
    assert column(data, "edges", "label") == names[:-1]
    assert [data["strings"][i] for i in data["caption"]] == names


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles(title: str) -> None:
    text = page.to_html(chain(2)._replace(title=title))
    assert_inert(text)
    data = data_of(text)
    assert data["strings"][data["title"]] == title


def test_the_same_view_gives_the_same_page() -> None:
    assert page.to_html(whole(trained())) == page.to_html(whole(trained()))


def test_a_deep_net_makes_a_small_page_in_no_time() -> None:
    view = whole(trained(50))
    assert len(view.nodes) >= 3000
    started = time.process_time()
    text = page.to_html(view)
    assert time.process_time() - started < 3
    assert len(text.encode()) < 3_000_000


def test_the_scripts_are_strict_and_complete() -> None:
    script = Parsed(page.to_html(chain(2))).contents["script"][1]
    assert script.startswith('(function () {\n"use strict";')
    folder = Path(page.__file__).with_name("page")
    assert sorted(path.stem for path in folder.glob("*.js")) == sorted(page.SCRIPTS)
    assert all(path.read_text(encoding="utf-8") in script for path in folder.glob("*.js"))


# -- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[chromium.Browser]]:
    """The browser that all tests share; tests that need one are skipped where none starts."""
    running: list[chromium.Browser] = []
    yield running
    for found in running:
        found.close()


@pytest.fixture
def browser(started: list[chromium.Browser], tmp_path_factory: pytest.TempPathFactory) -> chromium.Browser:
    """A browser that runs: after one test has killed it, the next begins with another."""
    if not started or not started[-1].is_alive():
        try:
            started.append(chromium.Browser(tmp_path_factory.mktemp("browser")))
        except chromium.Gone as reason:
            pytest.skip(str(reason))
    return started[-1]


def saved(view: View, folder: Path, **actions: str | list[str]) -> str:
    """The address of the page of a view, with actions."""
    path = folder / "page.html"
    path.write_text(page.to_html(view), encoding="utf-8")
    return path.as_uri() + "#" + urllib.parse.urlencode(actions, doseq=True)


class Shown:
    """The page after its scripts have run."""

    def __init__(self, browser: chromium.Browser, view: View, folder: Path, **actions: str | list[str]) -> None:
        with browser.page(saved(view, folder, **actions)) as shown:
            self.dom = Parsed(shown.value("document.documentElement.outerHTML"))
        (self.body,) = self.dom.attributes("body")
        assert "data-error" not in self.body, self.body
        assert self.body.get("data-ready") == "1", self.body

    def __getitem__(self, name: str) -> str:
        return self.body[f"data-{name}"] or ""

    def drawn(self) -> dict[str, dict[str, str | None]]:
        """The items and open scopes by their label for screen readers."""
        return {a["aria-label"] or "": a for a in self.dom.attributes("g") if a.get("role") == "button"}


def test_small_graphs_are_drawn_whole(browser: chromium.Browser, tmp_path: Path) -> None:
    shown = Shown(browser, chain(5), tmp_path)
    assert (shown["nodes"], shown["edges"], shown["overlaps"]) == ("5", "4", "0")
    assert all(a["tabindex"] == "0" for a in shown.drawn().values())


def test_a_deep_net_opens_folded(browser: chromium.Browser, tmp_path: Path) -> None:
    shown = Shown(browser, whole(trained(50)), tmp_path)
    assert 5 <= int(shown["nodes"]) <= 60
    assert shown["overlaps"] == "0"
    assert any(label.startswith("scope gradients,") for label in shown.drawn())


def test_everything_opens_and_nothing_overlaps(browser: chromium.Browser, tmp_path: Path) -> None:
    view = whole(trained(6, per_block=2))
    shown = Shown(browser, view, tmp_path, all="1", setup="1")
    stubs = sum(node.kind in (CONSTANT, VARIABLE) for node in view.nodes)
    assert len(view.nodes) - stubs <= int(shown["nodes"]) <= len(view.nodes)
    assert int(shown["ops"]) == len(view.nodes)
    assert shown["overlaps"] == "0"


def test_what_is_drawn_does_not_overlap(browser: chromium.Browser, tmp_path: Path) -> None:
    """Seen from outside: ops and folded scopes as rectangles on the screen."""
    frames = "[...document.querySelectorAll('.op > .frame, .folded > .frame')].map(f => f.getBoundingClientRect())"
    with browser.page(saved(whole(trained(6, per_block=2)), tmp_path, all="1")) as shown:
        found = shown.value(f"{frames}.map(r => [r.left, r.top, r.right, r.bottom])")
        assert len(found) == int(shown.state("nodes")) > 100
    for i, (left, top, right, bottom) in enumerate(found):
        for other in found[i + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_the_address_opens_selects_searches_and_colours(browser: chromium.Browser, tmp_path: Path) -> None:
    view = whole(trained(50))
    shown = Shown(
        browser,
        view,
        tmp_path,
        open=["block3", "block3/layer1"],
        select="block3/layer1/Conv2D",
        search="conv2d",
        color="time",
    )
    assert shown["selected"] == "block3/layer1/Conv2D"
    assert shown["color"] == "time"
    named = [node for node in view.nodes if "conv2d" in f"{node.name}\n{node.type}".lower()]
    assert int(shown["hits"]) == len(named)
    chosen = [a for a in shown.drawn().values() if "selected" in (a["class"] or "").split()]
    assert [a["aria-label"] for a in chosen] == ["Conv2D, Conv2D, Conv2D"]


def test_selecting_what_is_folded_or_hidden_reveals_it(browser: chromium.Browser, tmp_path: Path) -> None:
    view = whole(trained(50))
    setup = next(node for node in view.nodes if node.kind == SETUP and node.type == "Assign")
    assert Shown(browser, view, tmp_path, select=setup.name)["selected"] == setup.name


def test_a_long_chain_opens_grouped(browser: chromium.Browser, tmp_path: Path) -> None:
    shown = Shown(browser, chain(100_000), tmp_path, select="op_54321")
    assert shown["selected"] == "op_54321"
    assert "op_54321, Neg, Neg" in shown.drawn()
    assert int(shown["nodes"]) < 1000 and shown["overlaps"] == "0" and shown["ops"] == "100000"


def test_hostile_names_in_a_browser(browser: chromium.Browser, tmp_path: Path) -> None:
    names = hostile_names()
    nodes = tuple(
        [Node(f"n{i}", (n,), FORWARD, n.rpartition("/")[0], n, n, n, n, {n: n}, value=n) for i, n in enumerate(names)]
    )
    edges = tuple([Edge(f"n{i}", f"n{i + 1}", n) for i, n in enumerate(names[:-1])])
    name = "scope/<img src=x onerror=alert(1)>"
    shown = Shown(browser, View(names[0], nodes, edges, (), tuple(names)), tmp_path, all="1", select=name, search="<")
    assert shown["selected"] == name
    assert not shown.dom.attributes("img") and not shown.dom.attributes("iframe")
    assert len(shown.dom.attributes("script")) == 2


def test_stubs_stand_beside_their_users(browser: chromium.Browser, tmp_path: Path) -> None:
    nodes = (
        Node("w", ("w",), VARIABLE, "", "w"), Node("w2", ("w",), VARIABLE, "", "w"),
        Node("c", ("2",), CONSTANT, "", "c"), Node("r", ("a",), REFERENCE, "", "a", of="a"),
        Node("a", ("a", "Mul"), FORWARD, "", "a", "Mul"), Node("b", ("b", "Mul"), FORWARD, "", "b", "Mul"),
        Node("g", ("g", "Mul"), "gradient", "", "g", "Mul"), Node("h", ("h", "Mul"), "gradient", "", "h", "Mul"),
    )  # fmt: skip
    pairs = ["wa", "ab", "bg", "gh", "ca"]
    edges = (*[Edge(tail, head) for tail, head in pairs], Edge("w2", "b"), Edge("r", "h"))
    shown = Shown(browser, View("stubs", nodes, edges), tmp_path, select="a")
    assert shown["nodes"] == "4"  # a, b, g, h
    assert shown["stubs"] == "4"  # w and c beside a, w beside b, the forward value a beside h
    assert shown["edges"] == "3"  # a to b to g to h
    lines = [a for a in shown.dom.attributes("path") if a.get("class") == "reference"]
    assert len(lines) == 1  # while `a` is selected, a line goes to where its value is used


def test_colours_by_time(browser: chromium.Browser, tmp_path: Path) -> None:
    nodes = (
        Node("a", ("idle",), seconds=0.0), Node("b", ("some",), seconds=0.25), Node("c", ("most",), seconds=1.0),
        Node("d", ("unknown",)),
    )  # fmt: skip
    shown = Shown(browser, View("times", nodes, ()), tmp_path, color="time")
    classes = {(label or "").split(",")[0]: (a["class"] or "").split()[-1] for label, a in shown.drawn().items()}
    assert classes == {"idle": "h-0", "some": "h-4", "most": "h-7", "unknown": "h-none"}


def test_mouse_and_keys(browser: chromium.Browser, tmp_path: Path) -> None:
    gradients, closed = '[aria-label^="scope gradients,"]', '[aria-expanded="false"]'
    with browser.page(saved(whole(trained(50)), tmp_path)) as shown:
        before = int(shown.state("nodes"))
        x, y = shown.middle(gradients)
        shown.click(x - 8, y)
        assert shown.state("selected") == "gradients"
        shown.press("+")
        shown.until(f"document.body.dataset.nodes > {before}")
        shown.press("-")
        shown.until(f"document.body.dataset.nodes == {before}")
        shown.press("Escape")
        assert shown.state("selected") == ""
        x, y = shown.middle(f"{closed} .name")
        shown.click(x, y, times=2)
        shown.until(f"document.body.dataset.nodes > {before}")
        shown.press("/")
        assert shown.value("document.activeElement.id") == "search"
        for key in "conv2d":
            shown.press(key)
        shown.until("document.body.dataset.hits > 50")
        shown.press("Enter")
        shown.until("document.body.dataset.selected.endsWith('/Conv2D')")
        shown.press("Escape")
        shown.until("document.body.dataset.hits === '0'")
        transform = "document.getElementById('world').getAttribute('transform')"
        places = [shown.value(transform)]
        shown.mouse("mouseWheel", 500, 500, deltaX=0, deltaY=-300)
        shown.until(f"{transform} !== {json.dumps(places[-1])}")
        places.append(shown.value(transform))
        shown.mouse("mousePressed", 30, 500, button="left", clickCount=1)
        shown.mouse("mouseMoved", 90, 520, button="left", buttons=1)
        shown.mouse("mouseReleased", 90, 520, button="left", clickCount=1)
        shown.until(f"{transform} !== {json.dumps(places[-1])}")
        places.append(shown.value(transform))
        shown.press("f")
        shown.until(f"{transform} !== {json.dumps(places[-1])}")
        assert shown.value("document.body.dataset.error") is None


def test_the_panel_leads_from_op_to_op(browser: chromium.Browser, tmp_path: Path) -> None:
    with browser.page(saved(whole(trained()), tmp_path, select="block0/layer1/Conv2D")) as shown:
        shown.until("document.body.dataset.selected === 'block0/layer1/Conv2D'")
        text = shown.value("document.getElementById('panel').textContent")
        assert "test_page.py" in text and "inputs (2)" in text
        links = shown.value("[...document.querySelectorAll('#panel li .link')].map(l => l.textContent)")
        assert "block0/layer0/add_1" in links
        shown.value("[...document.querySelectorAll('#panel .link')].find(l => l.textContent.endsWith('add_1')).click()")
        assert shown.state("selected") == "block0/layer0/add_1"
        shown.press("ArrowDown")
        assert shown.state("selected") == "block0/layer1/Conv2D"
        shown.value("document.getElementById('open-all').click()")
        everything = int(shown.state("nodes"))
        shown.value("document.getElementById('fold-all').click()")
        assert int(shown.state("nodes")) < everything


def test_awkward_graphs(browser: chromium.Browser, tmp_path: Path) -> None:
    """No ops; loops; a thousand scopes in each other; an op that everything uses."""
    assert Shown(browser, View("nothing", (), ()), tmp_path)["nodes"] == "0"

    ring = [Node(f"n{i}", (f"op{i}",), name=f"op{i}") for i in range(6)]
    round_and_round = [Edge(f"n{i}", f"n{(i + 1) % 6}") for i in range(6)] + [Edge("n2", "n2"), Edge("n4", "n1")]
    shown = Shown(browser, View("ring", tuple(ring), tuple(round_and_round)), tmp_path)
    assert (shown["nodes"], shown["edges"], shown["overlaps"]) == ("6", "7", "0")

    scopes = ["/".join(["s"] * depth) for depth in range(1, 1001)]
    deep = tuple([Node(f"n{i}", ("op",), FORWARD, s, f"{s}/op", "Neg") for i, s in enumerate(scopes)])
    down = tuple([Edge(f"n{i}", f"n{i + 1}") for i in range(999)])
    shown = Shown(browser, View("deep", deep, down), tmp_path, select=deep[-1].name)
    assert (shown["selected"], shown["nodes"], shown["boxes"]) == (deep[-1].name, "1000", "1000")

    star = tuple([Node(f"n{i}", (f"op{i}",), name=f"op{i}") for i in range(400)])
    shown = Shown(browser, View("star", star, tuple([Edge("n0", f"n{i}") for i in range(1, 400)])), tmp_path)
    assert (shown["nodes"], shown["edges"], shown["overlaps"]) == ("400", "399", "0")


def test_a_scope_too_large_for_a_screen_is_shown_in_groups(browser: chromium.Browser, tmp_path: Path) -> None:
    nodes = tuple([Node(f"n{i}", (f"op{i}",), FORWARD, "wide", f"wide/op{i}") for i in range(401)])
    shown = Shown(browser, View("wide", nodes, ()), tmp_path, open="wide")
    assert int(shown["nodes"]) <= 60
    assert "scope op0 … op99, 100 ops, folded" in shown.drawn()
