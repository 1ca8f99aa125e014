"""The two graphs of a comparison: what was executed eagerly, and what was executed of the compiled program.

Policy: a node is one call of a kernel, so fused ops are one node with all their names; edges are the results that one
call reads of another.  Equal calls of one line that stand beside each other are one node, and so is the middle of
what is still too long.  Laid out by the engines of `graphflow.render`.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

from graphflow.compare.calls import Call
from graphflow.errors import Error
from graphflow.render.picture import content_of
from graphflow.render.view import FORWARD, GRADIENT, Edge, Node, View

MOST, FEW = 40, 24  # nodes of one graph: what has more calls than the first is drawn with as many as the second
ALIKE = 3  # calls beside each other that are one node
SHOWN_TYPES = 4  # names in one node
SVG = "http://www.w3.org/2000/svg"
FONT, SMALLER = "DejaVu Sans, Helvetica, Arial, sans-serif", 0.86  # it is wider than what the boxes were made for
KINDS = {"forward": FORWARD, "gradient": GRADIENT}


def view_of(calls: Sequence[Call]) -> View:
    """The calls and what flows between them."""
    groups = _groups(calls)
    shown = _places(len(groups))  # for each group the number of its node
    nodes: list[Node] = []
    for number, group in enumerate(groups):
        if shown[number] == len(nodes):
            nodes.append(_node(len(nodes), calls[group[0]], len(group)))
    if len(groups) > len(nodes):
        middle = shown[len(groups) // 2]
        hidden = sum(len(group) for group, node in zip(groups, shown, strict=True) if node == middle)
        nodes[middle] = nodes[middle]._replace(lines=(f"… {hidden:,} calls …",), members=hidden)
    place = [0] * len(calls)
    for group, node in zip(groups, shown, strict=True):
        for i in group:
            place[i] = node
    return View("", tuple(nodes), tuple(_edges(calls, place)))


def _groups(calls: Sequence[Call]) -> list[list[int]]:
    """The calls that are one node each: the same ops of the same line beside each other, as loops over branches make.

    Beside each other are those behind equally many calls, so no group reads another one that reads it.
    """
    made = {x.key: i for i, call in enumerate(calls) for x in call.outputs}
    depth: list[int] = []
    found: dict[Any, list[int]] = {}
    for i, call in enumerate(calls):
        depth.append(1 + max([depth[made[key]] for key in call.inputs if made.get(key, i) < i], default=0))
        found.setdefault((depth[i], call.types, call.phase, call.source), []).append(i)
    alike = [group for group in found.values() if len(group) >= ALIKE]
    alone = [[i] for group in found.values() if len(group) < ALIKE for i in group]
    return sorted(alike + alone, key=lambda group: (depth[group[0]], group[0]))


def _places(count: int) -> list[int]:
    """For each group the number of its node."""
    if count <= MOST:
        return list(range(count))
    head, tail = FEW // 2, FEW // 2 - 1
    return [i if i < head else head if i < count - tail else i - count + FEW for i in range(count)]


def _node(number: int, call: Call, beside: int) -> Node:
    types = call.types
    lines = types[:SHOWN_TYPES]
    if len(types) > SHOWN_TYPES:
        lines = (*types[: SHOWN_TYPES - 1], f"and {len(types) - SHOWN_TYPES + 1} more")
    if len(types) > 1:
        lines = (" + ".join(lines[:2]), *lines[2:], "fused")
    if beside > 1:
        lines = (f"{lines[0]}, {beside} of them", *lines[1:])
    members = len(types) * beside
    return Node(f"n{number}", lines, KINDS[call.phase], type=types[-1], source=call.source, members=members)


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
