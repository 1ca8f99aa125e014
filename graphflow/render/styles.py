"""The colours and line styles of pictures, for every writer.

Policy: few colours, each with one meaning: blue computes forward, orange is a gradient, green updates, violet is a
variable.  What a pass did has colours of its own, for what it left alone stands beside it in those.  The same tables
serve Graphviz, Mermaid and matplotlib, so that a graph looks alike in all of them.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphflow.render.view import (
    ADDED,
    CONSTANT,
    FED,
    FOLDED,
    FORWARD,
    FUSED,
    GRADIENT,
    MERGED,
    REFERENCE,
    REMOVED,
    REWRITTEN,
    SETUP,
    UPDATE,
    VARIABLE,
    Node,
)

INK, GREY, PALE, RED, VIOLET = "#22272e", "#6b7280", "#c9ced6", "#c62828", "#6a3d9a"
FONT = "Helvetica"  # alone: the layout programs know its metrics


class Paint(NamedTuple):
    """How a node of some kind looks."""

    fill: str
    line: str
    word: str  # in the legend


KINDS = {
    FORWARD: Paint("#d6e6f8", "#2b5f9e", "forward"),
    GRADIENT: Paint("#fde0bf", "#b35c00", "gradient"),
    UPDATE: Paint("#d3eecf", "#2e7d32", "update"),
    SETUP: Paint("#ececec", "#757575", "sets up"),
    FED: Paint("#ffffff", "#2b5f9e", "fed"),
    VARIABLE: Paint("#e9dff5", VIOLET, "variable"),
    REFERENCE: Paint("#ffffff", "#2b5f9e", "value from elsewhere"),
    CONSTANT: Paint("#ffffff", GREY, "constant"),
}
BOXES = {FORWARD: "#f4f8fd", GRADIENT: "#fef8f0", UPDATE: "#f3faf1", SETUP: "#fafafa"}
CHANGES = {
    REMOVED: Paint("#fafafa", "#b8b8b8", "removed"),
    FOLDED: Paint("#fff3c4", "#a67c00", "computed once, before"),
    MERGED: Paint("#d9f2f4", "#00838f", "merged with its equal"),
    FUSED: Paint("#f8d7ea", "#ad1467", "fused"),
    ADDED: Paint("#e8f2b6", "#6b7f00", "added"),
    REWRITTEN: Paint("#eadbd2", "#6d4330", "rewritten"),
}
BORDERS = ("solid", "dashed", "dotted", "bold")  # of devices, in the order in which they occur
DEVICES = ("#d6e6f8", "#fde0bf", "#d3eecf", "#e9dff5", "#fff3c4", "#d9f2f4")
COLD, HOT = (255, 249, 230), (240, 108, 86)


def paint(node: Node) -> Paint:
    """The look of a node by what it is for, or by what the compiler did to it."""
    return CHANGES.get(node.change) or KINDS[node.kind]


def heat(part: float) -> str:
    """A colour from pale yellow, for 0, to red, for 1."""
    part = min(max(part, 0.0), 1.0)
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(COLD, HOT, strict=True))


def devices(nodes: Sequence[Node]) -> dict[str, int]:
    """The devices that occur, numbered."""
    return {device: i for i, device in enumerate(dict.fromkeys(node.device for node in nodes if node.type))}
