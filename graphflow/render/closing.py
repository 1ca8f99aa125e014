"""Closing the scopes of a view that is too large to be read.

Policy: a view with every op goes in; out comes one in which scopes are closed as `folding` chooses, each of them one
node that says what is inside and what the compiler did there; what a run took is not summed up.  Stubs belong to the
node beside which they stand.  Edges between the same two nodes become one.  Pure, linear, nothing recurses.

State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from graphflow.render import folding, labels
from graphflow.render.folding import SCOPE, Leaf, Place, Tree
from graphflow.render.view import DATA, FORWARD, KEPT, PHASES, STUBS, Box, Edge, Node, View


def closed(view: View, expand: Sequence[str] | str, depth: int | None, budget: float) -> View:
    """The view with as many scopes open as fit the budget, or as `depth` and `expand` say."""
    beside = {edge.tail: edge.head for edge in view.edges}
    drawn = [node for node in view.nodes if node.kind not in STUBS or node.id not in beside]
    boxes = {box.scope: box for box in view.boxes}
    tree = Tree([_leaf(node) for node in drawn])
    opened = tree.choose(budget, depth, expand)
    nodes: list[Node] = []
    kept_boxes: list[Box] = []
    shown: dict[str, str] = {}  # id of a node -> that of the node that shows it
    for item in tree.shown(opened):
        if isinstance(item, int):
            nodes.append(drawn[item])
            shown[drawn[item].id] = drawn[item].id
        elif item in opened:
            kept_boxes += [boxes[item.path]] if item.sort == SCOPE and item.path in boxes else []
        else:
            numbers = tree.leaves_in(item)
            members = [drawn[number] for number in numbers]
            made = _one(item, numbers, members, boxes)
            nodes.append(made)
            shown.update(dict.fromkeys([node.id for node in members], made.id))
    for node in view.nodes:
        if node.id not in shown and shown.get(beside[node.id]) == beside[node.id]:
            nodes.append(node)
            shown[node.id] = node.id
    nodes = [node._replace(of=shown.get(node.of, ""), beside=shown.get(node.beside, "")) for node in nodes]
    return view._replace(nodes=tuple(nodes), edges=_joined(view.edges, shown), boxes=tuple(kept_boxes))


def _leaf(node: Node) -> Leaf:
    kind = node.kind if node.kind in PHASES else FORWARD
    return Leaf(node.scope, kind, node.members, (node.type, node.change, node.kind))


def _one(place: Place, numbers: Sequence[int], members: Sequence[Node], boxes: Mapping[str, Box]) -> Node:
    """The node for a closed place."""
    if len(members) == 1:
        return members[0]._replace(scope=folding.outside(place))
    names = [node.name for node in members]
    heading = folding.heading(place, names, {node.type for node in members})
    if place.sort == SCOPE and place.path in boxes:
        heading = (boxes[place.path].label,)
    changes = Counter(node.change for node in members)
    mixed = changes.most_common() if len(changes) > 1 else []  # else the colour tells
    told = [f"{count:,} {change}" for change, count in mixed if change != KEPT]
    ops = sum(node.members for node in members)
    most = Counter(node.type for node in members).most_common(8)
    facts = {"ops": f"{ops:,}", "mostly": ", ".join(f"{count} {kind}" for kind, count in most)}
    return Node(
        folding.place_id(place, numbers), (*heading, f"{labels.count(ops)} ops", *told), place.kind,
        folding.outside(place), folding.place_name(place, names), "", members[0].source, "", facts, ops,
        change=members[0].change if len(changes) == 1 else KEPT, bad=any(node.bad for node in members),
    )  # fmt: skip


def _joined(edges: Sequence[Edge], shown: Mapping[str, str]) -> tuple[Edge, ...]:
    """The edges between what is shown: those of nodes that are shown themselves as they were, the others joined."""
    bundles: dict[tuple[str, str, str], list[Edge]] = {}
    for edge in edges:
        tail, head = shown.get(edge.tail, ""), shown.get(edge.head, "")
        if tail and head and tail != head:
            bundles.setdefault((tail, head, edge.kind), []).append(edge)
    out: list[Edge] = []
    for (tail, head, kind), bundle in bundles.items():
        if (tail, head) == (bundle[0].tail, bundle[0].head):
            out += bundle
            continue
        words = {edge.label for edge in bundle}
        label = words.pop() if len(words) == 1 else ""
        count = sum(edge.tensors for edge in bundle)
        if count > 1 and kind == DATA:
            label = f"{count} {labels.TIMES} {label}" if label else f"{count} tensors"
        out.append(Edge(tail, head, label, kind, tensors=count))
    return tuple(out)
