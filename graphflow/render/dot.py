"""A graph as Graphviz text.

Policy: ops are boxes in the clusters of their name scopes, tensors are edges with their shapes.  The gradient is
drawn upwards, mirrored beside the forward graph.  Whatever is used in many places (variables, constants, and the
forward values that gradients use) is drawn as a small stub beside each use: long edges make a picture slow to lay
out and hard to read.  Text from the graph enters quoted and escaped only, never as a node id or as markup.

State: none.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from graphflow import spec
from graphflow.graph import Graph
from graphflow.render.phases import FORWARD, GRADIENT, SETUP, UPDATE, effect, phases, scope_of
from graphflow.tensor import Operation, Tensor

FILL = {FORWARD: "#cfe2f7", GRADIENT: "#fbd9b5", UPDATE: "#cdebc9"}
LINE = {FORWARD: "#2b5f9e", GRADIENT: "#b35c00", UPDATE: "#2e7d32"}
GREY, PURPLE, LILAC = "#6b6b6b", "#6a3d9a", "#e6dcf2"
FONT = "Helvetica,Arial,sans-serif"
MAX_TEXT = 40
MAX_INCHES = 80  # a larger layout is scaled down, so that no picture is larger than 7680 x 7680 pixels


def to_dot(graph: Graph) -> str:
    """The whole graph as Graphviz text; what only sets variables up is left out."""
    return _Drawing(graph).source()


def plain(text: str) -> str:
    """The text on one line, control characters visible, and not too long."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT // 2]}…{shown[1 - MAX_TEXT // 2 :]}"


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
        self.clusters: dict[str, list[tuple[str, str, dict[str, str]]]] = {"": []}
        self.edges: list[tuple[str, str, dict[str, str]]] = []
        self.stubs = 0
        dtypes = Counter(t.dtype.name for op in self.ops for t in op.outputs if t.dtype.kind != "resource")
        self.usual = dtypes.most_common(1)[0][0] if dtypes else "float32"

    def source(self) -> str:
        """Everything, as text."""
        for op in self.ops:
            if not self._is_stub(op):
                self._op(op)
        for op in self.ops:
            if op in self.ids:
                self._edges_into(op)
        picture = self.digraph("graph", graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
        self._write_clusters(picture)
        for tail, head, attributes in self.edges:
            picture.edge(tail, head, **attributes)
        self._legend(picture)
        return str(picture.source)

    # -- ops -----------------------------------------------------------------------------------------------------

    def _is_stub(self, op: Operation) -> bool:
        return op.type in ("Const", "VariableHandle") or op.type == "ReadVariable"

    def _op(self, op: Operation) -> None:
        phase = self.phase[op]
        name = op.name.rpartition("/")[2]
        lines = [name] if name.rstrip("_0123456789").lower() == op.type.lower() else [name, op.type]
        if effect(op) == "write":
            lines.append(f"writes {self._variable(op.inputs[0])}")
        style = {"fillcolor": FILL[phase], "color": LINE[phase], "tooltip": self._label(op.name, op.source)}
        if op.type.startswith("Placeholder"):
            style |= {"style": "filled,bold", "fillcolor": "white"}
        self.ids[op] = f"op{op.id}"
        self._node(scope_of(op), self.ids[op], label=self._label(*lines), **style)

    def _node(self, scope: str, node: str, **attributes: str) -> None:
        self.clusters.setdefault(scope, []).append((node, "", attributes))

    def _label(self, *lines: str) -> str:
        return "\\n".join(self.escape(plain(line)) for line in lines)

    def _variable(self, handle: Tensor) -> str:
        return handle.op.name.removesuffix("/handle").rpartition("/")[2]

    # -- edges ---------------------------------------------------------------------------------------------------

    def _edges_into(self, op: Operation) -> None:
        for x in op.inputs:
            if x.dtype.kind == "resource" and x.op.type == "VariableHandle":
                continue  # the op says itself which variable it writes
            if x.op not in self.ids or self.phase[x.op] == FORWARD != self.phase[op]:
                self._stub(x, op)
            else:
                self._edge(x.op, op, label=f"  {self._shape(x)} ")
        for before in op.control_inputs:
            if before in self.ids:
                self._edge(before, op, style="dashed", arrowhead="empty")

    def _edge(self, tail: Operation, head: Operation, **attributes: str) -> None:
        phase = self.phase[tail]
        attributes |= {"color": LINE[phase], "fontcolor": LINE[phase]}
        if phase == FORWARD:
            self.edges.append((self.ids[tail], self.ids[head], attributes))
        else:  # upwards: the later op stands on the higher rank
            self.edges.append((self.ids[head], self.ids[tail], attributes | {"dir": "back"}))

    def _stub(self, x: Tensor, op: Operation) -> None:
        self.stubs += 1
        node = f"stub{self.stubs}"
        style = {"margin": "0.06,0.02", "fontsize": "9", "height": "0.2", "tooltip": self._label(x.name)}
        if x.op.type == "ReadVariable":
            text = [self._variable(x.op.inputs[0]), self._shape(x)]
            style |= {"style": "filled,rounded", "fillcolor": LILAC, "color": PURPLE}
        elif x.op.type == "Const":
            text = [self._constant(x)]
            style |= {"shape": "plaintext", "style": "", "fontcolor": GREY}
        else:
            text = [x.op.name.rpartition("/")[2]]
            line = LINE[self.phase.get(x.op, FORWARD)]
            style |= {"style": "filled,rounded,dashed", "fillcolor": "white", "color": line}
        self._node(scope_of(op), node, label=self._label(*text), **style)
        edge = {"color": GREY, "arrowsize": "0.5", "len": "0.3"}
        if self.phase[op] == FORWARD:
            self.edges.append((node, self.ids[op], edge))
        else:
            self.edges.append((self.ids[op], node, edge | {"dir": "back"}))

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
                scope = scope.rpartition("/")[0]
                scopes.setdefault(scope)
        ordered = sorted(scopes, key=lambda s: -s.count("/") if s else 1)
        boxes = {scope: self.digraph(f"cluster {i}") if scope else picture for i, scope in enumerate(ordered)}
        for scope in ordered:
            box = boxes[scope]
            if scope:
                label = self._label(scope.rpartition("/")[2])
                box.attr(label=label, fontsize="11", **_BOX)
            for node, _, attributes in self.clusters.get(scope, ()):
                box.node(node, **attributes)
            if scope:
                boxes[scope.rpartition("/")[0]].subgraph(box)

    def _legend(self, picture: Any) -> None:
        rows = [(phase, {"fillcolor": FILL[phase], "color": LINE[phase]}) for phase in (FORWARD, GRADIENT, UPDATE)]
        rows.append(("variable", {"style": "filled,rounded", "fillcolor": LILAC, "color": PURPLE}))
        rows.append(("fed", {"style": "filled,bold", "fillcolor": "white", "color": LINE[FORWARD]}))
        with picture.subgraph(name="cluster legend") as box:
            box.attr(label=f"on edges: shapes\\n({self.usual})", fontsize="10", **_BOX)
            for i, (text, style) in enumerate(rows):
                box.node(f"legend{i}", label=text, fontsize="10", height="0.22", **style)
                if i:
                    box.edge(f"legend{i - 1}", f"legend{i}", style="invis")


_GRAPH = {
    "rankdir": "TB", "ranksep": "0.3", "nodesep": "0.18", "fontname": FONT, "size": f"{MAX_INCHES},{MAX_INCHES}",
    "dpi": "96", "bgcolor": "white",
}  # fmt: skip
_NODE = {
    "shape": "box", "style": "filled", "fontname": FONT, "fontsize": "11", "height": "0.3", "margin": "0.1,0.04",
}  # fmt: skip
_BOX = {"style": "rounded", "color": "#b8b8b8", "fontcolor": GREY}
_EDGE = {"fontname": FONT, "fontsize": "9", "arrowsize": "0.7", "color": GREY}
