"""What a picture shows, whatever draws it: nodes, edges and the boxes around them, as plain values.

Policy: a view is made by one of the modules that read a graph or a program and is never changed; the writers (Graphviz
text, Mermaid, JSON, the page) read it and nothing else.  Ids are made here from numbers, never from names; every other
text is hostile until its writer has escaped it.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphflow.graph import pictures

# Kinds of nodes.  The first four are phases of a graph; a folded scope has the phase of what is inside it.
FORWARD, GRADIENT, UPDATE, SETUP = "forward", "gradient", "update", "setup"
FED, VARIABLE, CONSTANT, REFERENCE = "fed", "variable", "constant", "reference"  # the last stands for a node elsewhere
PHASES = (FORWARD, GRADIENT, UPDATE, SETUP)
KINDS = (*PHASES, FED, VARIABLE, CONSTANT, REFERENCE)
STUBS = (VARIABLE, CONSTANT, REFERENCE)
UPWARD = (GRADIENT, UPDATE)  # drawn upwards, beside the forward graph

# Kinds of edges.
DATA, CONTROL, READ, WRITE = "data", "control", "read", "write"

# What a pass of the compiler did to a node.
KEPT, REMOVED, FOLDED, MERGED, FUSED, ADDED, REWRITTEN = (
    "", "removed", "folded", "merged", "fused", "added", "rewritten",
)  # fmt: skip


class Node(NamedTuple):
    """One op, one stub for something that stands elsewhere, or all that is inside a folded scope."""

    id: str
    lines: tuple[str, ...]  # what is written in it; the first one is the largest
    kind: str = FORWARD
    scope: str = ""  # the box it stands in; "" for none
    name: str = ""  # of the op, or of the folded scope
    type: str = ""  # of the op; "" for what is not one op
    source: str = ""  # the user's own line
    device: str = ""
    facts: Mapping[str, str] = {}  # attributes, shapes and what else a reader may ask for, as text
    members: int = 1  # how many ops it stands for
    of: str = ""  # for a stub: the id of the node that it stands for, "" if that is not in the picture
    value: str = ""  # what it computed, in few words, after a run
    seconds: float | None = None
    nbytes: int | None = None
    change: str = KEPT
    bad: bool = False  # it holds a NaN or an infinity, or it is what failed
    beside: str = ""  # the id of a node that stands at the same height

    @property
    def words(self) -> tuple[str, ...]:
        """Its lines, and what it computed."""
        return (*self.lines, f"= {self.value}") if self.value else self.lines


class Edge(NamedTuple):
    """From the node that makes a tensor to one that uses it, or from what is done first to what waits for it."""

    tail: str
    head: str
    label: str = ""  # shape and dtype, or a symbolic expression
    kind: str = DATA
    nbytes: int | None = None  # of the tensor, for the width
    value: str = ""  # a small tensor's numbers, after a run
    tensors: int = 1  # how many it stands for

    @property
    def words(self) -> tuple[str, ...]:
        """What is written beside it."""
        return tuple(filter(None, (self.label, f"= {self.value}" if self.value else "")))


class Box(NamedTuple):
    """A name scope that is open."""

    scope: str  # the whole name; the box around it is that of the name up to the last slash
    label: str
    kind: str = FORWARD
    members: int = 0  # ops inside, at any depth


class View(NamedTuple):
    """One picture."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    boxes: tuple[Box, ...] = ()
    caption: tuple[str, ...] = ()  # what analysis found: depth, width, critical path
    usual_dtype: str = ""  # left out of the labels of edges

    def _repr_svg_(self) -> Any:
        return pictures().notebook.svg(self)

    def _repr_html_(self) -> Any:
        return pictures().notebook.html(self)
