"""A graph as Graphviz text.

Policy: ops are boxes in the clusters of their name scopes, tensors are edges with their shapes.  The gradient is
drawn upwards, mirrored beside the forward graph.  Whatever is used in many places (variables, constants, and the
forward values that gradients use) is drawn as a small stub beside each use: long edges make a picture slow to lay
out and hard to read.  The ops of an atomic region, an optimizer's update of one variable, are one box.  Text from the
graph enters quoted and escaped only, never as a node id or as markup.

State: none.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from graphflow import spec
from graphflow.graph import Graph
from graphflow.opdef import OPS
from graphflow.render.phases import FORWARD, GRADIENT, SETUP, UPDATE, effect, gradient_scope, phases, scope_of
from graphflow.tensor import Operation, Tensor

FILL = {FORWARD: "#cfe2f7", GRADIENT: "#fbd9b5", UPDATE: "#cdebc9"}
LINE = {FORWARD: "#2b5f9e", GRADIENT: "#b35c00", UPDATE: "#2e7d32"}
GREY, PALE, PURPLE, LILAC = "#6b6b6b", "#b8b8b8", "#6a3d9a", "#e6dcf2"
FONT = "Helvetica,Arial,sans-serif"
MAX_TEXT = 40
MAX_INCHES = 80  # a larger layout is scaled down, so that no picture is larger than 7680 x 7680 pixels

_GRAPH = {
    "rankdir": "TB", "ranksep": "0.28", "nodesep": "0.18", "fontname": FONT, "size": f"{MAX_INCHES},{MAX_INCHES}",
    "dpi": "96", "bgcolor": "white",
}  # fmt: skip
_NODE = {
    "shape": "box", "style": "filled", "fontname": FONT, "fontsize": "11", "height": "0.3", "margin": "0.1,0.04",
}  # fmt: skip
_EDGE = {"fontname": FONT, "fontsize": "9", "arrowsize": "0.7", "color": GREY}
_BOX = {"style": "rounded", "color": PALE, "fontcolor": GREY, "labeljust": "l"}
_STUB = {"fontsize": "9", "height": "0.2", "margin": "0.06,0.02"}
_VARIABLE = {"style": "filled,rounded", "fillcolor": LILAC, "color": PURPLE}
_REFERENCE = {"style": "filled,rounded,dashed", "fillcolor": "white", "color": LINE[FORWARD]}
_WORD = {"shape": "plaintext", "style": "", "fontcolor": GREY}
_FED = {"style": "filled,bold", "fillcolor": "white", "color": LINE[FORWARD]}


def to_dot(graph: Graph) -> str:
    """The whole graph as Graphviz text; what only sets variables up is left out."""
    return _Drawing(graph).source()


def plain(text: str) -> str:
    """The text on one line, control characters visible, and not too long."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT // 2]}…{shown[1 - MAX_TEXT // 2 :]}"


def _local(name: str) -> str:
    return name.rpartition("/")[2]


def _short(value: Any) -> str:
    """A small constant as people write it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


class _Drawing:
    """The nodes and edges of one picture, collected by cluster and then written."""

    def __init__(self, graph: Graph) -> None:
        import graphviz

        self.digraph, self.escape = graphviz.Digraph, graphviz.escape
        self.phase = phases(graph)
        self.ops = [op for op in graph.get_operations() if self.phase[op] != SETUP]
        self.ids: dict[Operation, str] = {}
        self.clusters: dict[str, list[tuple[str, dict[str, str]]]] = {"": []}
        self.upward: dict[str, bool] = {}  # which clusters are drawn upwards: their labels stand at the bottom
        self.edges: dict[tuple[str, str, str], dict[str, str]] = {}
        self.stubs = 0
        self.starts = self._starts()
        dtypes = Counter(t.dtype.name for op in self.ops for t in op.outputs if t.dtype.kind != "resource")
        self.usual = dtypes.most_common(1)[0][0] if dtypes else "float32"

    def source(self) -> str:
        """Everything, as text."""
        self._nodes()
        for op in self.ops:
            if op in self.ids:
                self._edges_into(op)
        picture = self.digraph("graph", graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
        self._write_clusters(picture)
        for (tail, head, _), attributes in self.edges.items():
            picture.edge(tail, head, **attributes)
        self._write_legend(picture)
        return str(picture.source)

    def _starts(self) -> set[Operation]:
        """The first op of each gradient: its edge from the forward graph is drawn, which ties the two together."""
        first: dict[str, Operation] = {}
        for op in self.ops:
            if self.phase[op] == GRADIENT and op.inputs and not self._is_stub(op):
                first.setdefault(gradient_scope(op), op)
        return set(first.values())

    # -- ops -----------------------------------------------------------------------------------------------------

    def _is_stub(self, op: Operation) -> bool:
        """Constants, variables, and what a gradient only asks the shape of."""
        if op.type in ("Const", "VariableHandle", "ReadVariable"):
            return True
        definition = OPS.get(op.type)
        asks = definition is not None and definition.known_value is not None and len(op.inputs) == 1
        return asks and op.outputs[0].dtype.is_integer and self.phase[op] == GRADIENT

    def _nodes(self) -> None:
        regions: dict[int, list[Operation]] = {}
        for op in self.ops:
            if op.region is not None and self.phase[op] == UPDATE:
                regions.setdefault(op.region.id, []).append(op)
            elif not self._is_stub(op):
                self._op(op)
        for members in regions.values():
            if len(members) == 1:
                self._op(members[0])
            else:
                self._region(members)

    def _op(self, op: Operation) -> None:
        name = _local(op.name)
        lines = [name] if name.rstrip("_0123456789").lower() == op.type.lower() else [name, op.type]
        if effect(op) == "write":
            lines.append(f"writes {_local(op.inputs[0].op.name)}")
        phase = self.phase[op]
        style = _FED if op.type.startswith("Placeholder") else {"fillcolor": FILL[phase], "color": LINE[phase]}
        self.ids[op] = f"op{op.id}"
        self._place(scope_of(op.name), phase)
        self._node(scope_of(op.name), f"op{op.id}", lines, style | {"tooltip": self._label(op.name, op.source)})

    def _region(self, members: list[Operation]) -> None:
        first, region = members[0], members[0].region
        variables = [_local(handle.op.name) for handle in region.variables] if region is not None else []
        scope = scope_of(next((op for op in reversed(members) if effect(op) == "write"), first).name)
        lines = [_local(scope) or "update", f"{len(members)} ops as one", f"writes {', '.join(variables)}"]
        for op in members:
            self.ids[op] = f"op{first.id}"
        self._place(scope_of(scope), UPDATE)
        style = {"fillcolor": FILL[UPDATE], "color": LINE[UPDATE], "penwidth": "2"}
        self._node(scope_of(scope), f"op{first.id}", lines, style | {"tooltip": self._label(scope, first.source)})

    def _place(self, scope: str, phase: str) -> None:
        while scope:
            self.upward[scope] = phase != FORWARD and self.upward.get(scope, True)
            scope = scope_of(scope)

    def _node(self, scope: str, node: str, lines: list[str], attributes: dict[str, str]) -> None:
        self.clusters.setdefault(scope, []).append((node, {"label": self._label(*lines)} | attributes))

    def _label(self, *lines: str) -> str:
        return "\\n".join(self.escape(plain(line)) for line in lines)

    # -- edges ---------------------------------------------------------------------------------------------------

    def _edges_into(self, op: Operation) -> None:
        folded = self.ids[op] != f"op{op.id}" or op.region is not None
        for x in op.inputs:
            if x.op.type == "VariableHandle" or folded and self._is_stub(x.op):
                continue  # the box says itself which variables it writes
            across = self.phase[x.op] == FORWARD != self.phase[op] and op not in self.starts
            if x.op not in self.ids or across:
                self._stub(x, op)
            else:
                self._edge(x.op, op, f"  {self._shape(x)} ", {})
        implied = {before for p in self._predecessors(op) for before in self._predecessors(p)}
        for before in op.control_inputs:
            if before in self.ids and before not in implied:
                self._edge(before, op, "", {"style": "dashed", "arrowhead": "empty"})

    def _predecessors(self, op: Operation) -> list[Operation]:
        return [*[x.op for x in op.inputs], *op.control_inputs]

    def _edge(self, tail: Operation, head: Operation, label: str, style: dict[str, str]) -> None:
        first, last = self.ids[tail], self.ids[head]
        if first == last:
            return
        phase = self.phase[tail]
        attributes = {"color": LINE[phase], "fontcolor": LINE[phase]} | ({"label": label} if label else {}) | style
        if phase == FORWARD:
            self._draw(first, last, attributes)
        else:  # upwards: the later op stands on the higher rank
            self._draw(last, first, attributes | {"dir": "back"})

    def _draw(self, upper: str, lower: str, attributes: dict[str, str]) -> None:
        """One edge, or one more where a tensor is used twice; boxes of many ops get each kind of edge once."""
        key = attributes.get("label", attributes.get("style", ""))
        self.edges.setdefault((upper, lower, key), attributes)

    def _stub(self, x: Tensor, op: Operation) -> None:
        self.stubs += 1
        node, made_by = f"stub{self.stubs}", x.op
        style = _STUB | {"tooltip": self._label(x.name)}
        if made_by.type == "ReadVariable":
            text, style = [_local(made_by.inputs[0].op.name), self._shape(x)], style | _VARIABLE
        elif made_by.type == "Const":
            text, style = [self._constant(x)], style | _WORD
        elif self._is_stub(made_by):
            of = made_by.inputs[0].op
            name = _local(of.inputs[0].op.name if of.type == "ReadVariable" else of.name)
            text, style = [f"{made_by.type.lower()} of {name}"], style | _WORD
        else:
            text, style = [_local(made_by.name)], style | _REFERENCE
        self._node(scope_of(op.name), node, text, style)
        edge = {"color": GREY, "arrowsize": "0.5"}
        if self.phase[op] == FORWARD:
            self._draw(node, self.ids[op], edge)
        else:
            self._draw(self.ids[op], node, edge | {"dir": "back"})

    def _shape(self, x: Tensor) -> str:
        dims = "scalar" if x.dims == () else spec.describe(x.dims)
        return dims if x.dtype.name == self.usual else f"{x.dtype.name} {dims}"

    def _constant(self, x: Tensor) -> str:
        value: Any = x.op.attrs.get("value")
        return _short(value.tolist()) if value is not None and value.size <= 4 else self._shape(x)

    # -- writing -------------------------------------------------------------------------------------------------

    def _write_clusters(self, picture: Any) -> None:
        """Scopes inside scopes, deepest first, each written into the one around it."""
        scopes = dict.fromkeys(self.clusters)  # in order of creation: what comes first stands further left
        for scope in list(scopes):
            while scope:
                scope = scope_of(scope)
                scopes.setdefault(scope)
        ordered = sorted(scopes, key=lambda s: -s.count("/") if s else 1)
        boxes = {scope: self.digraph(f"cluster {i}") if scope else picture for i, scope in enumerate(ordered)}
        for scope in ordered:
            box = boxes[scope]
            if scope:
                where = "b" if self.upward.get(scope) else "t"
                box.attr(label=self._label(_local(scope)), fontsize="11", labelloc=where, **_BOX)
            for node, attributes in self.clusters.get(scope, ()):
                box.node(node, **attributes)
            if scope:
                boxes[scope_of(scope)].subgraph(box)

    def _write_legend(self, picture: Any) -> None:
        rows = [(phase, {"fillcolor": FILL[phase], "color": LINE[phase]}) for phase in (FORWARD, GRADIENT, UPDATE)]
        rows += [("variable", _VARIABLE), ("fed", _FED), ("forward value", _REFERENCE)]
        with picture.subgraph(name="cluster legend") as box:
            box.attr(label=f"edges: shapes\\n({self.usual})", fontsize="10", **_BOX)
            for i, (text, style) in enumerate(rows):
                box.node(f"legend{i}", label=text, fontsize="10", height="0.22", width="1.1", **style)
                if i:
                    box.edge(f"legend{i - 1}", f"legend{i}", style="invis")
