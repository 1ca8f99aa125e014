"""Pictures of the neighbourhood of one op: where a debugger stands, and where a run or the building of an op failed.

Policy: what draws a graph draws this, too; here the op is marked, and one that could not be built is put beside what it
was given.  An error holds names alone, so its graph must still be there.

State: none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from graphflow.errors import Error, FailedPreconditionError
from graphflow.graph import Graph
from graphflow.render import folding, labels, picture
from graphflow.render.view import DATA, FORWARD, Edge, Node, View
from graphflow.tensor import Operation

TITLE, LINE = 100, 36  # characters: of the title, and of a line of an error in a node


def draw_around(op: Operation, path: Any, hops: int, values: Mapping[str, Any], failed: bool = False) -> str:
    """Draw an op, marked, and what is at most `hops` edges away from it."""
    view = picture.as_view(op.graph, around=op, hops=hops, expand=folding.ALL, setup=True, values=values)
    mark = "failed here" if failed else "we are here"
    nodes = [
        n._replace(lines=(*n.lines, mark), bad=n.bad or failed) if n.name == op.name and not n.of else n
        for n in view.nodes
    ]
    title, place = (
        labels.plain(f"{'failed in' if failed else 'after'} {op.name}", TITLE),
        labels.plain(op.source, TITLE),
    )
    return picture.render(view._replace(nodes=tuple(nodes), title=title, caption=(f"built at {place}",)), path)


def draw_failure(error: Error, path: Any, hops: int = 2) -> str:
    """Draw the op that an error names in red, and what is at most `hops` edges away from it."""
    if error.op_name is None:
        raise FailedPreconditionError("the error is about no op, so there is nothing to draw", got=error.summary)
    graph = error.graph
    if graph is None:
        raise FailedPreconditionError(
            f"the graph of {error.op_name!r} is gone, so its surroundings cannot be drawn",
            hint="draw it while the graph is there: where the error is caught",
        )
    view = _of_unbuilt(graph, error, hops) if error.unbuilt is not None else _of_failed(graph, error, hops)
    title, *further = _lines(error.summary, TITLE) or [""]
    caption = (*further, f"built at {labels.plain(error.source, TITLE)}")
    return picture.render(view._replace(title=title, caption=caption), path)


def _words(error: Error) -> tuple[str, ...]:
    """What is written into the node of what failed."""
    facts = [f"{word} {said}" for word, said in (("expected", error.expected), ("got", error.got)) if said]
    return tuple([line for fact in facts or [error.summary] for part in _parts(fact) for line in _lines(part, LINE)])


def _parts(text: str) -> list[str]:
    """The first lines of a text: of what a run found, the result and the first input."""
    return [line.strip() for line in text.splitlines() if line.strip()][:2]


def _lines(text: str, width: int) -> list[str]:
    """The text, broken between words; what does not fit into three lines is cut in its middle."""
    return textwrap.wrap(labels.plain(text, 3 * width), width)[:3]


def _of_failed(graph: Graph, error: Error, hops: int) -> View:
    assert error.op_name is not None
    name = error.op_name.removesuffix("/on_value")  # a callback is no op of the graph
    view = picture.as_view(graph, around=name, hops=hops, expand=folding.ALL, setup=True)
    nodes = list(view.nodes)
    place = next((i for i, n in enumerate(nodes) if n.name == name and not n.of), None)
    if place is None:  # drawn as one with others: an optimizer's update
        place = len(nodes)
        nodes.append(Node("failed", (labels.local(name), error.op_type or ""), name=name, source=error.source))
    nodes[place] = nodes[place]._replace(lines=(*nodes[place].lines, *_words(error)), bad=True)
    return view._replace(nodes=tuple(nodes))


def _of_unbuilt(graph: Graph, error: Error, hops: int) -> View:
    """What the op was given, and what that came from; and the op, as it would have stood there."""
    given = [graph.get_tensor_by_name(name) for name in error.unbuilt or ()]
    nodes: dict[str, Node] = {}
    edges: dict[Edge, None] = {}
    ids: dict[str, str] = {}
    for number, op in enumerate(dict.fromkeys([t.op for t in given])):
        near = picture.as_view(graph, around=op, hops=hops, expand=folding.ALL, setup=True)
        _merge(near, f"{number}_", nodes, edges, ids)
    name = error.op_name or ""
    lines = (labels.local(name), *([error.op_type] if error.op_type else ()), *_words(error))
    nodes["failed"] = Node("failed", lines, FORWARD, name=name, type=error.op_type or "", source=error.source, bad=True)
    for tensor in given:
        tail = ids.get(tensor.op.name)
        if tail is not None:
            edges[Edge(tail, "failed", labels.shape(tensor, "float32"), DATA)] = None
    return View("", tuple(nodes.values()), tuple(edges))


def _merge(view: View, prefix: str, nodes: dict[str, Node], edges: dict[Edge, None], ids: dict[str, str]) -> None:
    """Add a view to others; a named op that is there already is not added again."""
    new: dict[str, str] = {}
    for node in view.nodes:
        known = ids.get(node.name) if node.name and not node.of else None
        new[node.id] = known or prefix + node.id
        if known is None:
            nodes[new[node.id]] = node._replace(id=new[node.id], scope="", of=new.get(node.of, ""))
            if node.name:
                ids.setdefault(node.name, new[node.id])
    for edge in view.edges:
        edges[edge._replace(tail=new[edge.tail], head=new[edge.head])] = None
