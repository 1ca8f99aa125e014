"""A view as Graphviz text.

Policy: nodes are boxes in the clusters of their scopes; the forward graph runs downwards, gradients and updates run
upwards beside it.  A closed scope is drawn as a pile.  The legend tells only what occurs.  Text from the graph enters
escaped, as the text of labels and tooltips, never as an id, an attribute or markup.

State: none.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from graphflow.errors import InvalidArgumentError, shown
from graphflow.render import styles
from graphflow.render.axis import bytes_text, seconds_text
from graphflow.render.labels import nearest, plain, scope_of
from graphflow.render.view import (
    CONSTANT,
    CONTROL,
    DATA,
    FED,
    FORWARD,
    GRADIENT,
    PHASES,
    READ,
    REFERENCE,
    STUBS,
    UPDATE,
    UPWARD,
    VARIABLE,
    WRITE,
    Box,
    Edge,
    Node,
    View,
)

MAX_TOOLTIP = 1000  # characters of each line
MAX_INCHES = 80  # a larger layout is scaled down, so that no picture is larger than 7680 x 7680 pixels
LARGE = 400  # with more edges than this the shapes are in tooltips, edges straight and crossings not all removed
BUNDLE = 3  # so many edges from one box to a closed update are one
COLOURS = ("phase", "time", "bytes", "device")

_GRAPH = {
    "rankdir": "TB", "ranksep": "0.3", "nodesep": "0.2", "fontname": styles.FONT, "size": f"{MAX_INCHES},{MAX_INCHES}",
    "dpi": "96", "bgcolor": "white", "pad": "0.15", "labelloc": "b", "labeljust": "l",
    "compound": "true",
}  # fmt: skip
_NODE = {
    "shape": "box", "style": "filled,rounded", "fontname": styles.FONT, "fontsize": "11", "height": "0.3",
    "margin": "0.11,0.045", "fontcolor": styles.INK, "penwidth": "1.1",
}  # fmt: skip
_IN_TIME = {"splines": "line", "nslimit": "0.2", "nslimit1": "0.2", "mclimit": "0.05", "ranksep": "0.5"}
_EDGE = {"fontname": styles.FONT, "fontsize": "9", "arrowsize": "0.65", "color": styles.GREY}
_LOOKS = {
    FED: {"penwidth": "2.2"},
    VARIABLE: {"height": "0.2", "width": "0.3", "margin": "0.07,0.02"},
    REFERENCE: {"style": "filled,rounded,dashed", "height": "0.2", "margin": "0.07,0.02"},
    CONSTANT: {"shape": "plaintext", "style": "", "height": "0.2", "margin": "0.04,0.01"},
}


def to_dot(view: View, color: str = "phase", one_ranking: bool = False) -> str:
    """The view as text that `dot` reads; `color` is "phase", "time", "bytes" or "device".

    With `one_ranking` heights are found for all nodes at once: less even inside boxes, but it fails at fewer graphs.
    """
    if color not in COLOURS:
        raise InvalidArgumentError("nodes are coloured by", expected=", ".join(COLOURS), got=shown(color))
    if color == "time" and view.nodes and all(node.seconds is None for node in view.nodes):
        raise InvalidArgumentError(
            "nothing is known of what the nodes took", got='color="time"', hint="seconds= or run= tells it"
        )
    return _Writer(view, color).source(one_ranking)


class _Writer:
    """Writes one view."""

    def __init__(self, view: View, color: str) -> None:
        import graphviz

        self.digraph, self.escape, self.nohtml = graphviz.Digraph, graphviz.escape, graphviz.nohtml
        self.view, self.color = view, color
        self.large = len(view.edges) > LARGE
        self.by_id = {node.id: node for node in view.nodes}
        self.with_stubs = {edge.head for edge in view.edges if self.by_id[edge.tail].kind in STUBS}
        self.devices = styles.devices(view.nodes)
        self.widest = max((edge.nbytes or 0 for edge in view.edges), default=0)
        measure = "seconds" if color == "time" else "nbytes"
        self.measures = {node.id: getattr(node, measure) or 0 for node in view.nodes}
        self.most = max(self.measures.values(), default=0) or 1

    def source(self, one_ranking: bool) -> str:
        """Everything, as text."""
        attributes = _GRAPH | ({"newrank": "true"} if one_ranking else {})
        if self.large:
            attributes |= _IN_TIME
        picture = self.digraph("graph", graph_attr=attributes, node_attr=_NODE, edge_attr=_EDGE)
        picture.attr(label=self._footer())
        self._write_boxes(picture)
        for node in self.view.nodes:
            if node.beside:
                with picture.subgraph(graph_attr={"rank": "same"}) as level:
                    level.edge(node.beside, node.id, style="invis")  # it stands to the right
        for edge, around in self._bundled():
            self._write_edge(picture, edge, around)
        return str(picture.source)

    def _text(self, *lines: str) -> Any:
        """Lines of text for a label: a string that graphviz takes neither for markup nor for escapes or entities."""
        return self.nohtml("\\n".join(self.escape(plain(line, MAX_TOOLTIP).replace("&", "&amp;")) for line in lines))

    def _tooltip(self, *lines: str) -> Any:
        """Lines of text for a tooltip, whose escapes the layout programs replace twice."""
        twice = [plain(line, MAX_TOOLTIP).replace("&", "&amp;").replace("\\", "\\\\") for line in lines]
        return self.nohtml("\\n".join(map(self.escape, twice)))

    # -- nodes and boxes -------------------------------------------------------------------------------------------

    def _write_boxes(self, picture: Any) -> None:
        """Boxes inside boxes, deepest first, each written into the one around it."""
        known = {box.scope: box for box in self.view.boxes}
        inside: dict[str, list[Node]] = {}
        for node in self.view.nodes:
            inside.setdefault(nearest(node.scope, known), []).append(node)
        clusters = {scope: self.digraph(f"cluster {i}") for i, scope in enumerate(known)} | {"": picture}
        for scope in sorted(known, key=lambda s: -s.count("/")):
            cluster, box = clusters[scope], known[scope]
            cluster.attr(**self._box(box))
            for node in inside.get(scope, ()):
                cluster.node(node.id, **self._node(node))
            clusters[nearest(scope_of(scope), known)].subgraph(cluster)
        for node in inside.get("", ()):
            picture.node(node.id, **self._node(node))

    def _box(self, box: Box) -> dict[str, str]:
        kind = box.kind if box.kind in styles.BOXES else FORWARD
        return {
            "label": _heading(box.label, styles.KINDS[kind].line, kind != UPDATE), "labeljust": "l", "fontsize": "10",
            "labelloc": "b" if kind == GRADIENT else "t", "style": "rounded,filled", "color": styles.PALE,
            "fillcolor": styles.BOXES[kind], "tooltip": self._tooltip(box.scope),
        }  # fmt: skip

    def _node(self, node: Node) -> dict[str, str]:
        paint = styles.paint(node)
        found = {"fillcolor": paint.fill, "color": paint.line} | _LOOKS.get(node.kind, {})
        if _closed(node):
            found |= {"shape": "box3d", "style": "filled", "margin": "0.16,0.08"}
        elif node.type and self.devices.get(node.device):
            found["style"] = f"filled,rounded,{styles.BORDERS[self.devices[node.device] % len(styles.BORDERS)]}"
        if node.kind not in STUBS:
            found["fillcolor"] = self._fill(node, paint.fill)
        if node.bad:
            found |= {"color": styles.RED, "fillcolor": "#fbd5d5", "penwidth": "2.4"}
        first, *lines = node.words or ("",)
        if node.seconds is not None:
            lines.append(seconds_text(node.seconds))
        found["label"] = _words(first, lines, small=node.kind in STUBS)
        facts = [f"{key}: {value}" for key, value in node.facts.items()]
        found["tooltip"] = self._tooltip(*filter(None, (node.name, node.type, node.source, *facts)))
        return found

    def _fill(self, node: Node, usual: str) -> str:
        if self.color in ("time", "bytes"):
            return styles.heat(self.measures[node.id] / self.most)
        if self.color == "device" and node.type:
            return styles.DEVICES[self.devices.get(node.device, 0) % len(styles.DEVICES)]
        return usual

    # -- edges -----------------------------------------------------------------------------------------------------

    def _bundled(self) -> list[tuple[Edge, str]]:
        """The edges; one instead of all those from one box to a closed update, with the cluster that it begins at."""
        known = {box.scope: i for i, box in enumerate(self.view.boxes)}
        order = {node.id: i for i, node in enumerate(self.view.nodes)}
        bundles: dict[tuple[str, str], list[Edge]] = {}
        found: list[tuple[Edge, str]] = []
        for edge in self.view.edges:
            tail, head = self.by_id[edge.tail], self.by_id[edge.head]
            outer = tail.scope.partition("/")[0]
            if (
                edge.kind == DATA
                and _closed(head)
                and head.kind == UPDATE
                and head.scope != tail.scope
                and outer in known
            ):
                bundles.setdefault((outer, edge.head), []).append(edge)
            else:
                found.append((edge, ""))
        for (outer, _), edges in bundles.items():
            if len(edges) < BUNDLE:
                found += [(edge, "") for edge in edges]
                continue
            tensors = sum(edge.tensors for edge in edges)
            nbytes = sum(edge.nbytes or 0 for edge in edges)
            topmost = max(edges, key=lambda edge: order[edge.tail])
            bundle = topmost._replace(label=f"{tensors} tensors", value="", nbytes=nbytes, tensors=tensors)
            found.append((bundle, f"cluster {known[outer]}"))
        return found

    def _write_edge(self, picture: Any, edge: Edge, around: str) -> None:
        tail, head = self.by_id[edge.tail], self.by_id[edge.head]
        beside = tail if tail.kind not in STUBS else head
        found = {"color": styles.paint(beside).line}
        if edge.kind in (READ, WRITE):
            found["color"] = styles.VIOLET
        elif tail.kind in STUBS:
            found["color"] = styles.GREY
        if edge.kind == CONTROL:
            found |= {"style": "dotted", "arrowhead": "empty", "color": styles.GREY}
        if tail.kind in STUBS or head.kind in STUBS:
            found["arrowsize"] = "0.5"
        if edge.kind == DATA and tail.kind not in STUBS and edge.nbytes:
            found["penwidth"] = f"{self._width(edge.nbytes):.2f}"
        lines = edge.words
        if lines and self.large:
            found["edgetooltip"] = self._tooltip(*lines)
        elif lines:
            found["label"] = self._text(*[f"  {line} " for line in lines])
            found["fontcolor"] = found["color"]
        if edge.kind == DATA and beside.kind == tail.kind == head.kind:
            found["weight"] = "8"  # kept straight
        if tail.kind not in STUBS and head.id in self.with_stubs and tail.scope != head.scope:
            found["minlen"] = "2"  # else the stubs stand beside the other box, and push this one aside
        if around:
            found["lhead" if beside.kind in UPWARD else "ltail"] = around
        if beside.kind in UPWARD:  # the later one stands on the higher rank
            picture.edge(edge.head, edge.tail, dir="back", **found)
        else:
            picture.edge(edge.tail, edge.head, **found)

    def _width(self, nbytes: int) -> float:
        """By the size of the tensor, and so that the largest one is 3.5 points wide."""
        return 1.0 + 2.5 * math.log2(1 + nbytes) / math.log2(1 + self.widest) if self.widest > 64 else 1.1

    # -- the footer ------------------------------------------------------------------------------------------------

    def _footer(self) -> str:
        """Title, caption and legend below the picture, as a table of Graphviz's own markup."""
        rows = []
        if self.view.title.strip():
            rows.append(f'<FONT POINT-SIZE="12"><B>{_safe(plain(self.view.title, 120))}</B></FONT>')
        rows += [
            f'<FONT POINT-SIZE="10">{_safe(plain(line, 160))}</FONT>' for line in self.view.caption if line.strip()
        ]
        body = "".join(f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows)
        legend = self._legend()
        if legend:
            body += f'<TR><TD ALIGN="LEFT">{"&#160;&#160; ".join(_swatch(*entry) for entry in legend)}</TD></TR>'
        return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="2">{body}</TABLE>>' if body else ""

    def _legend(self) -> list[tuple[str, str]]:
        """Words with their colours, of what occurs."""
        found = []
        if self.color in ("time", "bytes"):
            one = seconds_text if self.color == "time" else bytes_text
            found = [(one(self.most * part), styles.heat(part)) for part in (0.0, 0.5, 1.0)]
        elif self.color == "phase":
            changes = dict.fromkeys(node.change for node in self.view.nodes if node.change)
            kinds = {node.kind for node in self.view.nodes if not node.change}
            paints = [styles.CHANGES[c] for c in styles.CHANGES if c in changes]
            paints += [styles.KINDS[k] for k in styles.KINDS if k in kinds and k in (*PHASES, VARIABLE)]
            found = [(paint.word, paint.line) for paint in paints]
        found += self._devices()
        if any(_closed(node) for node in self.view.nodes):
            found.append(("a pile: a closed scope", ""))
        if REFERENCE in {node.kind for node in self.view.nodes}:
            found.append(("dashed: a value from elsewhere", ""))
        if any(edge.kind == CONTROL for edge in self.view.edges):
            found.append(("dotted: waits for", ""))
        if any(edge.label for edge in self.view.edges) and self.view.usual_dtype:
            found.append((f"on edges: shape ({self.view.usual_dtype}; none: a scalar)", ""))
        return found

    def _devices(self) -> list[tuple[str, str]]:
        if len(self.devices) < 2:
            return []
        if self.color == "device":
            return [(d or "any device", styles.DEVICES[i % len(styles.DEVICES)]) for d, i in self.devices.items()]
        return [(f"{styles.BORDERS[i % len(styles.BORDERS)]} border: {d}", "") for d, i in self.devices.items() if d]


def _closed(node: Node) -> bool:
    """Whether the node stands for a closed scope."""
    return node.members > 1 and not node.type and node.kind not in STUBS


def _safe(text: str) -> str:
    """Text within Graphviz's markup; a backslash would begin one of its escapes."""
    return html.escape(text).replace("\\", "&#92;&#92;")


def _heading(text: str, colour: str, crossed: bool) -> str:
    """The label of a box, with as much room beside it: edges cross the border of a box in its middle."""
    words = plain(text, 28)
    cell = f'<TD><FONT POINT-SIZE="10" COLOR="{colour}"><B>{_safe(words) or "&#160;"}</B></FONT></TD>'
    room = f'<TD WIDTH="{8 * len(words) + 20}"></TD>' if crossed else ""
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{cell}{room}</TR></TABLE>>'


def _words(first: str, rest: Sequence[str], small: bool = False) -> str:
    """A label: the first line larger than the others."""
    sizes = (9, 8) if small else (11, 9)
    lines = [f'<FONT POINT-SIZE="{sizes[0]}">{_safe(plain(first)) or "&#160;"}</FONT>']
    grey = f'<FONT POINT-SIZE="{sizes[1]}" COLOR="#4b5563">'
    lines += [f"{grey}{_safe(plain(line)) or '&#160;'}</FONT>" for line in rest]
    return f"<{'<BR/>'.join(lines)}>"


def _swatch(word: str, colour: str) -> str:
    square = f'<FONT POINT-SIZE="13" COLOR="{colour}">&#9632;</FONT> ' if colour else ""
    return f'{square}<FONT POINT-SIZE="10">{_safe(plain(word, 60))}</FONT>'
