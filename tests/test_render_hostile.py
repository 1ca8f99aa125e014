"""Whatever a name holds stays text: two hundred hostile names through every format, parsed and found again."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import pytest

import graphflow as tf
from graphflow import render
from graphflow.render import dot, engines, labels, mermaid, picture
from graphflow.render.view import CONTROL, READ, VARIABLE, Box, Edge, Node, View

PIECES = [
    '"];a[URL="javascript:alert(1)"]', "</script><script>alert(1)</script>", "<b>bold</b>", "<img src=x onerror=a()>",
    "\\N \\G \\L \\l \\r \\T \\E \\H", "ends with a backslash\\", 'a quote " and then \\"', "]]> <!-- --> <![CDATA[",
    "two\nlines\tand \x1b[31mred\x07", "\u202egnp.exe", "subgraph", "end", "strict", "node", "", " ", "&amp;", "&#60;",
    "&quot;onload=alert(1)&quot;", "${alert(1)}", "{{7*7}}", "%s%n", "`rm -rf`", "#35;", "#quot;", '"]', '")', "|x|",
    "-->", "--> evil", "%% comment", "%%{init: {}}%%", "click a href", "a;b", "a\r\nb", "\0", "\ud800", "\ufffe",
    "\u2028\u2029", "é ü ß", "日本語", "\U0001f469\u200d\U0001f467", "e\u0301", "__proto__", "{rank=same}", "a:n:s",
    "<TABLE><TR><TD>x</TD></TR></TABLE>", "<BR/>", "$\\frac{1}{2}$", "x" * 300, "//", "../../etc/passwd",
    "xlink:href=", "style=position:fixed", "classDef x fill:#f00", ":::evil", "0", "-1", "null", "=== thick ===>",
]  # fmt: skip
NAMES = list(
    dict.fromkeys(
        f"{before}{piece}{after}"
        for piece in PIECES
        for before, after in (("", ""), ("a", ""), ("", "b"), ("a/", "/b"))
    )
)


def view_of(*names: str) -> View:
    """The names, each in every place that a text of the graph can come to."""
    nodes, edges, boxes = [], [], []
    for i, name in enumerate(names):
        nodes += [
            Node(
                f"op{i}", (name, name), scope=f"s{i}", name=name, type=name, source=name, device=name,
                facts={name: name}, value=name,
            ),
            Node(f"pile{i}", (name,), name=name, members=7),
            Node(f"stub{i}", (name,), VARIABLE, name=name),
        ]  # fmt: skip
        edges += [
            Edge(f"op{i}", f"pile{i}", name, value=name),
            Edge(f"stub{i}", f"pile{i}", "", READ),
            Edge(f"op{i}", f"pile{i}", name, CONTROL),
        ]
        boxes.append(Box(f"s{i}", name))
    return View(names[0], tuple(nodes), tuple(edges), tuple(boxes), (names[0],), names[0])


def shown(name: str) -> str:
    """What stands in a label for it."""
    return labels.plain(name).strip()


def test_there_are_two_hundred_names() -> None:
    assert len(NAMES) >= 200


def test_dot_is_read_as_it_was_meant() -> None:
    program = engines.ENGINES["graphviz-pure"].find()
    assert program
    text = dot.to_dot(view_of(*NAMES))
    found: dict[str, Any] = json.loads(engines.run_program(program, text.encode(), "dot_json", 60))
    objects = {thing["name"]: thing for thing in found["objects"]}
    wanted = {f"{kind}{i}" for kind in ("op", "pile", "stub", "cluster ") for i in range(len(NAMES))}
    assert objects.keys() == wanted and len(found["edges"]) == 3 * len(NAMES)
    for thing in (*objects.values(), *found["edges"], found):
        assert not {key.lower() for key in thing} & {"url", "href", "image", "target"}
    for i, name in enumerate(NAMES):
        lines = [html.unescape(re.sub("<[^>]*>", "", line)) for line in objects[f"op{i}"]["label"].split("<BR/>")]
        assert lines[0].replace("\\" * 2, "\\").strip() == shown(name), "the name is found again, as it was"
        tooltip = html.unescape(objects[f"stub{i}"].get("tooltip", "")).replace("\\" * 4, "\\")
        assert tooltip.strip() == html.unescape(labels.plain(name, dot.MAX_TOOLTIP).replace("&", "&amp;")).strip()


def test_svg_is_inert_and_has_the_names() -> None:
    svg = picture.content_of(view_of(*NAMES), "svg").decode()
    tree = ElementTree.fromstring(svg[svg.index("<svg") :])
    for element in tree.iter():
        kind = element.tag.rpartition("}")[2]
        assert kind in ("svg", "g", "title", "text", "path", "polygon", "polyline", "ellipse", "a"), kind
        keys = {key.rpartition("}")[2].lower() for key in element.attrib}
        assert not {key for key in keys if key.startswith("on")} and not keys & {"href", "src", "style"}
    titles = {" ".join(v.split()) for e in tree.iter() for k, v in e.attrib.items() if k.endswith("title")}
    for name in NAMES:
        assert " ".join(labels.plain(name, dot.MAX_TOOLTIP).split()) in titles | {""}, name
    texts = {" ".join((e.text or "").split()) for e in tree.iter() if e.tag.endswith("text")}
    assert {" ".join(shown(name).split()) for name in NAMES} <= texts | {""}


def test_png_can_be_drawn() -> None:
    assert picture.content_of(view_of(*NAMES), "png").startswith(b"\x89PNG")


class _Page(HTMLParser):
    """Collects what a browser would run or load."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.bad, self.data, self.inside = 0, [], "", ""  # type: ignore[var-annotated]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.inside = found.get("type", "script") or "" if tag == "script" else ""
        self.scripts += tag == "script"
        self.bad += [key for key in found if key.startswith("on") or key in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "application/json":
            self.data += data


def test_the_page_holds_names_as_data() -> None:
    page = _Page()
    page.feed(picture.content_of(view_of(*NAMES), "html").decode())
    assert page.scripts == 2 and not page.bad
    assert _strings(json.loads(page.data)) >= {name for name in NAMES if name}


def _strings(value: Any) -> set[str]:
    found, work = set(), [value]
    while work:
        item = work.pop()
        if isinstance(item, str):
            found.add(item)
        elif isinstance(item, dict):
            work += [*item, *item.values()]
        elif isinstance(item, list):
            work += item
    return found


def test_json_gives_every_name_back() -> None:
    for name in NAMES:
        found = json.loads(picture.content_of(view_of(name), "json"))
        assert found["title"] == name and found["boxes"][0]["label"] == name
        assert found["nodes"][0].get("name", "") == name and found["nodes"][0]["facts"] == {name: name}
        assert found["edges"][0].get("label", "") == name


# -- Mermaid -------------------------------------------------------------------------------------------------------

TEXT = r"(?:[A-Za-z0-9 _.,:/()\[\]+=?*-]|#\d+;|<br/>)*"
STATEMENTS = [
    rf'title: "{TEXT}"', "---", "flowchart TB", rf'  subgraph b\d+\["{TEXT}"\]', "  end", rf"  %% (?:n\d+ is )?{TEXT}",
    rf'  n\d+(?:\["{TEXT}"\]|\(\["{TEXT}"\]\))', rf'  n\d+ (?:-->|-\.->)(?:\|"{TEXT}"\|)? n\d+',
    r"  classDef [a-z]+ fill:#\w{6},stroke:#\w{6},color:#\w{6}", r"  class n\d+(?:,n\d+)* [a-z]+",
]  # fmt: skip
GRAMMAR = re.compile("|".join(f"(?:{statement})" for statement in STATEMENTS))


def decoded(text: str) -> str:
    return re.sub(r"#(\d+);", lambda found: chr(int(found.group(1))), text)


def test_mermaid_follows_a_strict_grammar_and_gives_names_back() -> None:
    for name in NAMES:
        text = mermaid.to_mermaid(view_of(name))
        for line in text.removesuffix("\n").split("\n"):
            assert GRAMMAR.fullmatch(line), (name, line)
        assert text.count("\n  subgraph ") == text.count("\n  end\n") == 1
        if name:
            comment = re.search(r"^  %% n0 is (.*)$", text, re.M)
            assert comment and decoded(comment.group(1)) == labels.plain(name, mermaid.MAX_NAME)
        label = re.search(r'^  n0\["(.*)"\]$', text, re.M)
        assert label and decoded(label.group(1).split("<br/>")[0]) == labels.plain(name)


def test_mermaid_of_a_graph_has_its_nodes_and_edges() -> None:
    with tf.name_scope("outer"), tf.name_scope("inner"):
        tf.sin(tf.placeholder(tf.float32, [3], name="x"), name="y")
    view = render.as_view(tf.get_default_graph())
    text = mermaid.to_mermaid(view)
    assert (
        text.index('["outer"]')
        < text.index('["inner"]')
        < text.index('["x<br/>#91;3#93;"]'.replace("#91;", "[").replace("#93;", "]"))
    )
    assert text.count("-->") == len(view.edges) == 1 and '|"[3]"|' in text


# -- constants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", PIECES[:14])
def test_a_string_constant_is_shown_as_it_is(text: str) -> None:
    tf.identity(tf.constant(text.encode("utf-8", "replace")))
    svg = picture.content_of(render.as_view(tf.get_default_graph()), "svg").decode()
    tree = ElementTree.fromstring(svg[svg.index("<svg") :])
    drawn = "".join(e.text or "" for e in tree.iter() if e.tag.endswith("text")).lower()
    for piece in re.findall(r"[a-z]+", text.lower())[:2]:
        assert piece in drawn


@pytest.mark.parametrize("name", ["a\\N", "a\\", "strict", "node", "a.b-c", "x" * 250])
def test_every_legal_name_can_be_drawn(name: str) -> None:
    with tf.name_scope(name):
        tf.identity(tf.placeholder(tf.float32, [], name=name), name=name)
    view = render.as_view(tf.get_default_graph(), expand="all")
    assert len(view.nodes) == 2 and picture.content_of(view, "svg").startswith(b"<?xml")
