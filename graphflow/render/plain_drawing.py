"""A plain drawing of a view by networkx and matplotlib, for machines without any layout program.

Policy: rows of boxes by the longest path, crossings reduced by a few sweeps, straight arrows; legible, not beautiful.
Text is never read as mathematics.  The same view gives the same bytes.

State: none.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

from graphflow.errors import ResourceExhaustedError
from graphflow.render import labels, styles
from graphflow.render.view import CONTROL, READ, STUBS, UPWARD, WRITE, Edge, Node, View

MAX_NODES = 2000
MAX_INCHES = 60.0
ROW, GAP, CHARACTER = 0.85, 0.25, 0.085  # inches
SWEEPS = 4


def draw(view: View, kind: str) -> bytes:
    """The view as a PNG, SVG or PDF file."""
    if len(view.nodes) > MAX_NODES:
        raise ResourceExhaustedError(
            "matplotlib draws no graph of so many nodes",
            expected=f"{MAX_NODES:,} or fewer",
            got=f"{len(view.nodes):,}",
            hint='pip install "graphviz-pure>=0.2,<1"',
        )
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places, width, height = _places(view)
    scale = min(1.0, MAX_INCHES / max(width, height))
    settings = {"svg.hashsalt": "graphflow", "font.family": "sans-serif", "axes.formatter.use_mathtext": False}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a font may lack some characters of a name
        figure = Figure(figsize=(width * scale, height * scale), dpi=96)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        for edge in view.edges:
            _draw_edge(axes, edge, places, scale)
        for node in view.nodes:
            _draw_node(axes, node, places[node.id], scale)
        words = "     ".join(filter(None, (view.title, *view.caption)))
        axes.text(0.2, height - 0.2, labels.plain(words, 200), fontsize=9 * scale, color=styles.INK, parse_math=False)
        file = io.BytesIO()
        dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(file, format=kind, metadata=dates.get(kind, {"Software": None}))
    return file.getvalue()


def _places(view: View) -> tuple[dict[str, tuple[float, float, float]], float, float]:
    """The middle and the width of each node, and the size of the whole."""
    rows = _rows(view)
    widths = {node.id: max(map(len, _lines(node)), default=1) * CHARACTER + 0.25 for node in view.nodes}
    lengths = [sum(widths[n] + GAP for n in row) for row in rows]
    width = max([*lengths, 4.0]) + 0.4
    places = {}
    for i, row in enumerate(rows):
        left = (width - lengths[i]) / 2
        for n in row:
            places[n] = (left + widths[n] / 2, 0.5 + i * ROW, widths[n])
            left += widths[n] + GAP
    return places, width, 1.0 + len(rows) * ROW


def _rows(view: View) -> list[list[str]]:
    """The ids row by row, each row in an order that crosses few edges."""
    import networkx

    kinds = {node.id: node.kind for node in view.nodes}
    graph = networkx.DiGraph()
    graph.add_nodes_from(kinds)
    for edge in view.edges:
        upward = kinds[edge.tail] in UPWARD or kinds[edge.tail] in STUBS and kinds[edge.head] in UPWARD
        graph.add_edge(*((edge.head, edge.tail) if upward else (edge.tail, edge.head)))
    pieces = networkx.condensation(graph)  # what goes round in circles stands in one row
    rank = {}
    for i, generation in enumerate(networkx.topological_generations(pieces)):
        rank.update({n: i for piece in generation for n in pieces.nodes[piece]["members"]})
    for n in [n for n in kinds if not graph.pred[n] and graph.succ[n]]:  # not at the top, but above what uses it
        rank[n] = max(0, min(rank[m] for m in graph.succ[n]) - 1)
    rows: list[list[str]] = [[] for _ in range(max(rank.values(), default=0) + 1)]
    for n in kinds:
        rows[rank[n]].append(n)
    for sweep in range(SWEEPS):
        ordered = rows if sweep % 2 == 0 else rows[::-1]
        near = graph.pred if sweep % 2 == 0 else graph.succ
        where: dict[str, float] = {}
        for row in ordered:
            middle = {n: _mean([where[m] for m in near[n] if m in where], i) for i, n in enumerate(row)}
            row.sort(key=lambda n: middle[n])
            where.update({n: i - len(row) / 2 for i, n in enumerate(row)})
    return rows


def _mean(found: list[float], otherwise: float) -> float:
    return sum(found) / len(found) if found else otherwise


def _lines(node: Node) -> list[str]:
    return [labels.plain(line) for line in node.words]


def _draw_node(axes: Any, node: Node, place: tuple[float, float, float], scale: float) -> None:
    paint = styles.paint(node)
    line = styles.RED if node.bad else paint.line
    box = {"boxstyle": "round,pad=0.3", "facecolor": paint.fill, "edgecolor": line, "linewidth": 1.2 * scale}
    axes.text(
        place[0], place[1], "\n".join(_lines(node)), ha="center", va="center", fontsize=8 * scale, bbox=box,
        color=styles.INK, zorder=3, parse_math=False,
    )  # fmt: skip


def _draw_edge(axes: Any, edge: Edge, places: dict[str, tuple[float, float, float]], scale: float) -> None:
    (x0, y0, _), (x1, y1, _) = places[edge.tail], places[edge.head]
    colour = styles.VIOLET if edge.kind in (READ, WRITE) else styles.GREY
    step = 0.2 if y1 > y0 else -0.2 if y1 < y0 else 0.0
    arrow = {
        "arrowstyle": "-|>", "color": colour, "linewidth": 0.9 * scale, "shrinkA": 0, "shrinkB": 0,
        "linestyle": ":" if edge.kind == CONTROL else "-",
    }  # fmt: skip
    axes.annotate("", (x1, y1 - step), (x0, y0 + step), arrowprops=arrow, zorder=1)
    words = "  ".join(edge.words)
    if words:
        axes.text(
            (x0 + x1) / 2 + 0.05, (y0 + y1) / 2, labels.plain(words), fontsize=6.5 * scale, color=colour,
            va="center", zorder=2, parse_math=False,
        )  # fmt: skip
