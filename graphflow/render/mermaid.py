"""A view as Mermaid text, for Markdown pages.

Policy: ids are our own numbers; of the graph's text only letters, digits and a few harmless marks stand as they are,
everything else as Mermaid's entity codes (`#35;`), so that no name can end a string or begin a statement.  The whole
name of each op stands in a comment above its node, coded alike.

State: none.
"""

from __future__ import annotations

import re

from graphflow.render import styles
from graphflow.render.labels import nearest, plain, scope_of
from graphflow.render.view import CONTROL, STUBS, Box, Edge, Node, View

_OTHER = re.compile(r"[^A-Za-z0-9 _.,:/()\[\]+=?*-]")
MAX_NAME = 1000


def to_mermaid(view: View) -> str:
    """The view as a flowchart."""
    ids = {node.id: f"n{i}" for i, node in enumerate(view.nodes)}
    lines = ["---", f'title: "{_coded(plain(view.title, 120))}"', "---"] if view.title else []
    lines.append("flowchart TB")
    known = {box.scope: f"b{i}" for i, box in enumerate(view.boxes)}
    lines += _boxed(view, ids, known)
    lines += [_edge(edge, ids) for edge in view.edges]
    lines += [f"  %% {_coded(plain(line, 200))}" for line in view.caption]
    for kind in dict.fromkeys(node.kind for node in view.nodes):
        paint = styles.KINDS[kind]
        members = ",".join(ids[node.id] for node in view.nodes if node.kind == kind)
        lines.append(f"  classDef {kind} fill:{paint.fill},stroke:{paint.line},color:{styles.INK}")
        lines.append(f"  class {members} {kind}")
    return "\n".join(lines) + "\n"


def _boxed(view: View, ids: dict[str, str], known: dict[str, str]) -> list[str]:
    """Nodes inside subgraphs inside subgraphs; a work list of lines and of boxes not yet written."""
    inside: dict[str, list[Node]] = {}
    for node in view.nodes:
        inside.setdefault(nearest(node.scope, known), []).append(node)
    boxes: dict[str, list[Box]] = {}
    for box in view.boxes:
        boxes.setdefault(nearest(scope_of(box.scope), known), []).append(box)
    lines: list[str] = []
    work: list[Box | str] = [*reversed(boxes.get("", []))]
    _write_nodes(lines, inside.get("", []), ids)
    while work:
        item = work.pop()
        if isinstance(item, str):
            lines.append(item)
            continue
        box = item
        lines.append(f'  subgraph {known[box.scope]}["{_coded(plain(box.label))}"]')
        _write_nodes(lines, inside.get(box.scope, []), ids)
        work += ["  end", *reversed(boxes.get(box.scope, []))]
    return lines


def _write_nodes(lines: list[str], nodes: list[Node], ids: dict[str, str]) -> None:
    for node in nodes:
        if node.name:
            lines.append(f"  %% {ids[node.id]} is {_coded(plain(node.name, MAX_NAME))}")
        text = "<br/>".join(_coded(plain(line)) for line in node.words) or " "
        left, right = ('(["', '"])') if node.kind in STUBS else ('["', '"]')
        lines.append(f"  {ids[node.id]}{left}{text}{right}")


def _edge(edge: Edge, ids: dict[str, str]) -> str:
    arrow = "-.->" if edge.kind == CONTROL else "-->"
    words = " ".join(edge.words)
    label = f'|"{_coded(plain(words))}"|' if words else ""
    return f"  {ids[edge.tail]} {arrow}{label} {ids[edge.head]}"


def _coded(text: str) -> str:
    return _OTHER.sub(lambda found: f"#{ord(found.group())};", text)
