"""The view of a graph as it was built.

Policy: forward ops, their gradients and the updates in the boxes of their scopes; tensors are edges.  Variables,
constants, and the forward values that gradients use are stubs beside each use.  Scopes that would make the picture
unreadable are closed, each one node (see `folding`).  Pure, linear in the ops, nothing recurses.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.graph import FuncGraph
from graphflow.render import folding, labels
from graphflow.render.folding import SCOPE, Leaf, Place, Tree
from graphflow.render.labels import local
from graphflow.render.phases import effect
from graphflow.render.units import (
    Unit,
    Units,
    asks_size,
    functions,
    is_argument,
    is_constant,
    is_fed,
    is_handle,
    is_read,
)
from graphflow.render.view import (
    CONSTANT,
    CONTROL,
    DATA,
    FED,
    FORWARD,
    READ,
    REFERENCE,
    VARIABLE,
    WRITE,
    Box,
    Edge,
    Node,
    View,
)
from graphflow.tensor import Operation, Tensor


def view(
    units: Units,
    *,
    expand: Sequence[str] | str = (),
    depth: int | None = None,
    budget: float = folding.BUDGET,
    values: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
    title: str = "",
) -> View:
    """The units as a view; `values` by names of tensors and `seconds` by names of ops are of a run."""
    drawing = _Drawing(units, values or {}, seconds or {})
    tree = Tree([drawing.leaf(unit) for unit in units.listed], units.bodies)
    drawing.place(tree, tree.choose(budget, depth, expand))
    return drawing.view(title)


class _Drawing:
    """Collects the nodes and edges of one view."""

    def __init__(self, units: Units, values: Mapping[str, Any], seconds: Mapping[str, float]) -> None:
        self.units, self.values, self.seconds = units, values, seconds
        self.nodes: list[Node] = []
        self.boxes: list[Box] = []
        self.shown: list[str] = [""] * len(units.listed)  # the id of the node that shows a unit
        self.single: dict[str, str] = {}  # ids of nodes that show one op, with their scopes
        self.stubs: dict[tuple[str, Tensor], str] = {}
        self.edges: dict[tuple[str, str, str, str], list[Tensor]] = {}
        self.sources: dict[tuple[int, int], str] = {}
        self.writers: dict[str, list[Tensor]] = {}

    def leaf(self, unit: Unit) -> Leaf:
        """The unit as folding sees it: units of the same ops of the same shapes are alike."""
        likeness = tuple((op.type, *[t.dims for t in op.outputs]) for op in unit.ops)
        return Leaf(unit.scope, unit.kind, len(unit.ops), likeness, self._cost(unit))

    def _cost(self, unit: Unit) -> float:
        """The room that a unit takes, with the stubs beside it."""
        if len(unit.ops) > 1:
            return 1.0
        beside = sum(x.op not in self.units.of and not is_handle(x) and not asks_size(x.op) for x in unit.op.inputs)
        return 1.0 + 0.4 * beside

    # -- nodes -----------------------------------------------------------------------------------------------------

    def place(self, tree: Tree, opened: set[Place]) -> None:
        """Nodes for what is visible, boxes for the scopes that are open."""
        for item in tree.shown(opened):
            if isinstance(item, int):
                self._unit(item)
            elif item in opened:
                if item.sort == SCOPE and item.path:
                    self.boxes.append(Box(item.path, local(item.path), item.kind, item.members))
            elif item.leaves == 1:
                self._unit(tree.leaves_in(item)[0], folding.outside(item))
            else:
                self._closed(item, tree)

    def _unit(self, number: int, scope: str | None = None) -> None:
        unit = self.units.listed[number]
        self.shown[number] = unit.id
        op = unit.op
        if len(unit.ops) > 1:
            lines: tuple[str, ...] = (local(unit.name) or "update", f"{len(unit.ops)} ops as one")
        else:
            self.single[unit.id] = unit.scope if scope is None else scope
            lines = self._lines(op)
        node = Node(
            unit.id, lines, FED if is_fed(op) else VARIABLE if is_handle_op(op) else unit.kind,
            unit.scope if scope is None else scope, unit.name, op.type,
            self._source(op), op.device, self._facts(unit), len(unit.ops),
        )  # fmt: skip
        self.nodes.append(self._measured(node, unit.ops))

    def _source(self, op: Operation) -> str:
        """The user's line; worked out once for each, as many ops may come from one line."""
        place = op.user_source
        key = (id(place.code), place.offset)
        if key not in self.sources:
            self.sources[key] = op.source
        return self.sources[key]

    def _lines(self, op: Operation) -> tuple[str, ...]:
        name = local(op.name)
        if is_fed(op):
            return name, labels.shape(op.outputs[0], self.units.usual) or "scalar"
        return (name,) if name.rstrip("_0123456789").lower() == op.type.lower() else (name, op.type)

    def _facts(self, unit: Unit) -> dict[str, str]:
        op = unit.op
        facts = {f"output {t.index}": labels.full_shape(t) for t in op.outputs if not is_handle(t)}
        written = [x for member in unit.ops if effect(member) == "write" for x in member.inputs[:1]]
        if written:
            facts["writes"] = ", ".join(dict.fromkeys(x.op.name for x in written))
        for x in op.inputs:
            if asks_size(x.op) and x.op not in self.units.of:
                facts["size of"] = x.op.inputs[0].op.name
        inside = dict(functions(op))
        for key, attribute in op.attrs.items():
            if key not in inside and len(unit.ops) == 1 and key not in ("value", "dtype", "dims"):
                facts[key] = labels.plain(str(attribute), 80)
        for key, function in inside.items():
            facts[key] = f"{len(function)} ops"
        return facts

    def _closed(self, place: Place, tree: Tree) -> None:
        numbers = tree.leaves_in(place)
        node_id = folding.place_id(place, numbers)
        for number in numbers:
            self.shown[number] = node_id
        members = [self.units.listed[number] for number in numbers]
        ops = [op for unit in members for op in unit.ops]
        names = [unit.name for unit in members]
        heading = folding.heading(place, names, {unit.op.type for unit in members})
        lines = (*heading, f"{labels.count(len(ops))} ops", *_weights(ops))
        scope, name = folding.outside(place), folding.place_name(place, names)
        types: dict[str, int] = {}
        for op in ops:
            types[op.type] = types.get(op.type, 0) + 1
        most = sorted(types.items(), key=lambda item: -item[1])[:8]
        facts = {"ops": f"{len(ops):,}", "mostly": ", ".join(f"{n} {t}" for t, n in most)}
        node = Node(node_id, lines, place.kind, scope, name, "", members[0].op.source, "", facts, len(ops))
        self.nodes.append(self._measured(node, ops))

    def _measured(self, node: Node, ops: Sequence[Operation]) -> Node:
        """The node with what a run found about its ops."""
        nbytes = sum(labels.nbytes(t) or 0 for op in ops for t in op.outputs)
        times = [self.seconds[op.name] for op in ops if op.name in self.seconds]
        found = [self.values[t.name] for op in ops for t in op.outputs if t.name in self.values]
        return node._replace(
            nbytes=nbytes or None,
            seconds=sum(times) if times else None,
            value=labels.value(found[0]) if len(ops) == 1 and found else "",
            bad=any(labels.is_bad(x) for x in found),
        )

    # -- edges -----------------------------------------------------------------------------------------------------

    def view(self, title: str) -> View:
        """Everything."""
        for number, unit in enumerate(self.units.listed):
            for op in unit.ops:
                self._edges_into(op, unit, self.shown[number])
            if self.shown[number] == unit.id:
                self._writes(unit)
        self._results()
        edges = tuple(self._edge(*key[:3], tensors) for key, tensors in self.edges.items())
        return View(title, tuple(self.nodes), edges, tuple(self.boxes), (), self.units.usual)

    def _edges_into(self, op: Operation, unit: Unit, node: str) -> None:
        alone = node in self.single
        for x in op.inputs:
            maker = self.units.of.get(x.op)
            if is_handle(x) and maker is None or asks_size(x.op) and maker is None:
                continue
            across = maker is not None and self._crosses(self.units.listed[maker], unit, op)
            if maker is None or across:
                if alone:
                    self._stub(x, node, "" if maker is None else self.shown[maker])
            elif self.shown[maker] != node:
                self.edges.setdefault((self.shown[maker], node, DATA, x.name if alone else ""), []).append(x)
        if not op.control_inputs:
            return
        shown = [before for before in _predecessors(op) if before in self.units.of]
        implied = {before for p in shown for before in _predecessors(p)}.union(x.op for x in op.inputs)
        for before in op.control_inputs:
            maker = self.units.of.get(before)
            if maker is not None and before not in implied and self.shown[maker] != node:
                self.edges.setdefault((self.shown[maker], node, CONTROL, ""), [])

    def _crosses(self, maker: Unit, unit: Unit, op: Operation) -> bool:
        """From the forward graph to what is drawn upwards beside it."""
        return maker.kind == FORWARD != unit.kind and op not in self.units.starts

    def _stub(self, x: Tensor, node: str, of: str) -> None:
        if (node, x) in self.stubs:
            return
        op = x.op
        stub = self.stubs[node, x] = f"stub{len(self.stubs)}"
        kind = REFERENCE
        lines: tuple[str, ...] = (local(op.name),)
        if is_read(op):
            kind, lines = VARIABLE, (local(op.inputs[0].op.name), labels.shape(x, self.units.usual))
        elif is_constant(op):
            kind, lines = CONSTANT, (labels.constant(op),)
        elif is_argument(op):
            outer = op.graph.stands_for.get(x) if isinstance(op.graph, FuncGraph) else None
            lines = (local(outer.op.name) if outer is not None else f"value {op.attrs.get('index', 0)}",)
        scope = self.single[node]
        facts = {"output": labels.full_shape(x)}
        made = Node(stub, tuple(filter(None, lines)), kind, scope, op.name, op.type, op.source, op.device, facts, 1, of)
        self.nodes.append(self._measured(made, [op]))
        self.edges[stub, node, READ if kind == VARIABLE else DATA, "stub"] = [x]

    def _writes(self, unit: Unit) -> None:
        """A stub for the variable that the unit writes; of several, the first: the others are its optimizer's."""
        if all(effect(op) != "write" for op in unit.ops):
            return
        region = unit.op.region
        handle = region.variables[0] if region is not None and region.variables else unit.op.inputs[0]
        stub = f"written{len(self.writers)}"
        self.writers[stub] = [handle]
        name = handle.op.name
        lines = (local(name),)
        self.nodes.append(Node(stub, lines, VARIABLE, unit.scope, name, handle.op.type, handle.op.source))
        self.edges[unit.id, stub, WRITE, ""] = []

    def _results(self) -> None:
        """Edges from what the body of a loop or a branch computes to the op that it belongs to."""
        for number, unit in enumerate(self.units.listed):
            for _, function in functions(unit.op) if len(unit.ops) == 1 else ():
                for x in function.results:
                    maker = self.units.of.get(x.op)
                    if maker is not None and self.shown[maker] != self.shown[number]:
                        self.edges.setdefault((self.shown[maker], self.shown[number], DATA, x.name), []).append(x)

    def _edge(self, tail: str, head: str, kind: str, tensors: list[Tensor]) -> Edge:
        if not tensors:
            return Edge(tail, head, "", kind)
        distinct = list(dict.fromkeys(tensors))
        nbytes = sum(labels.nbytes(t) or 0 for t in distinct) or None
        shapes = dict.fromkeys(labels.shape(t, self.units.usual) for t in distinct)
        label = next(iter(shapes)) if len(shapes) == 1 else ""
        if len(distinct) > 1:
            label = f"{len(distinct)} {labels.TIMES} {label}" if label else f"{len(distinct)} tensors"
        if tail in self.writers or tail.startswith("stub"):
            label = ""
        value = labels.value(self.values[distinct[0].name]) if distinct[0].name in self.values else ""
        return Edge(tail, head, label, kind, nbytes, value if len(distinct) == 1 else "", len(distinct))


def is_handle_op(op: Operation) -> bool:
    """Whether the op makes a variable's handle."""
    return len(op.outputs) == 1 and is_handle(op.outputs[0])


def _predecessors(op: Operation) -> list[Operation]:
    return [*[x.op for x in op.inputs], *op.control_inputs]


def _weights(ops: Sequence[Operation]) -> tuple[str, ...]:
    """How many numbers the variables hold that these ops read and do not write."""
    written = {x for op in ops if effect(op) == "write" for x in op.inputs[:1]}
    read = {x.op.inputs[0]: x for op in ops for x in op.inputs if is_read(x.op)}
    total = sum(labels.elements(x.dims) for handle, x in read.items() if handle not in written)
    return (f"{labels.count(total)} weights",) if total else ()
