"""The two graphs of a comparison: what was executed eagerly, and what was executed of the compiled program.

Policy: a node is one call of a kernel, so fused ops are one node with all their names; edges are the results that one
call reads of another.  Of a long list of calls the middle is one node.  Laid out by the engines of `graphflow.render`.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from graphflow.compare.calls import Call
from graphflow.errors import Error
from graphflow.render.picture import content_of
from graphflow.render.view import FORWARD, GRADIENT, Edge, Node, View

MOST = 48  # nodes of one graph
SHOWN_TYPES = 4  # names in one node
SVG = "http://www.w3.org/2000/svg"
FONT, SMALLER = "DejaVu Sans, Helvetica, Arial, sans-serif", 0.86  # it is wider than what the boxes were made for
KINDS = {"forward": FORWARD, "gradient": GRADIENT}


def view_of(calls: Sequence[Call]) -> View:
    """The calls and what flows between them."""
    nodes: list[Node] = []
    place = _places(len(calls))
    for number, call in enumerate(calls):
        if place[number] == len(nodes):
            nodes.append(_node(len(nodes), call))
    hidden = len(calls) - len(nodes) + 1
    if hidden > 1:
        middle = place[len(calls) // 2]
        nodes[middle] = Node(f"n{middle}", (f"… {hidden:,} calls …",), nodes[middle].kind, members=hidden)
    return View("", tuple(nodes), tuple(_edges(calls, place)))


def _places(count: int) -> list[int]:
    """For each call the number of its node."""
    if count <= MOST:
        return list(range(count))
    head, tail = MOST // 2, MOST // 2 - 1
    return [i if i < head else head if i < count - tail else i - count + MOST for i in range(count)]


def _node(number: int, call: Call) -> Node:
    types = call.types
    lines = types[:SHOWN_TYPES]
    if len(types) > SHOWN_TYPES:
        lines = (*types[: SHOWN_TYPES - 1], f"and {len(types) - SHOWN_TYPES + 1} more")
    if len(types) > 1:
        lines = (" + ".join(lines[:2]), *lines[2:], "fused")
    return Node(f"n{number}", lines, KINDS[call.phase], type=types[-1], source=call.source, members=len(types))


def _edges(calls: Sequence[Call], place: Sequence[int]) -> list[Edge]:
    made = {x.key: (place[i], x) for i, call in enumerate(calls) for x in call.outputs}
    found: dict[tuple[int, int], list[str]] = {}
    for i, call in enumerate(calls):
        for key in call.inputs:
            if key in made and made[key][0] != place[i]:
                found.setdefault((made[key][0], place[i]), []).append(made[key][1].shape)
    out = []
    for (tail, head), shapes in found.items():
        same = len(set(shapes)) == 1
        out.append(Edge(f"n{tail}", f"n{head}", shapes[0] if same else "", tensors=len(shapes)))
    return out


def drawing(calls: Sequence[Call]) -> tuple[ET.Element, float, float] | str:
    """The graph as an SVG element, with its width and height; or why it cannot be drawn here."""
    if not calls:
        return "nothing was executed"
    try:
        root = ET.fromstring(content_of(view_of(calls), "svg"))
    except Error as error:
        return error.summary
    for element in root.iter():
        if element.get("font-family"):  # the layout's own fonts may be missing where it is looked at
            element.set("font-family", FONT)
            element.set("font-size", f"{float(element.get('font-size', '12')) * SMALLER:.2f}")
    box = [float(x) for x in (root.get("viewBox") or "").split()]
    if len(box) != 4:
        return "the layout program gave no size"
    return root, box[2], box[3]
