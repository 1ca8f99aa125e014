"""The picture of a comparison: bars for time, calls and memory, and beside them the two graphs.

Policy: every bar stands on its own figure, so that what cannot be seen can be read; bars of one chart share one linear
scale.  Colours are those of `graphflow.render`: the eager way is orange, the traced ways are blue.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from graphflow.compare import graphs
from graphflow.compare.figures import DASH, Figures, Row, amount, seconds
from graphflow.render.svg import visible

EAGER, LAZY, TRACING, COMPILING, RUNNING = "#d98324", "#2b5f9e", "#9db8d9", "#5f8dc4", "#2b5f9e"
INK, GREY, PALE = "#22272e", "#6b7280", "#e3e6ea"
EDGE, LABEL, BARS, FIGURE = 28.0, 150.0, 300.0, 92.0
BAR, HEAD, GAP = 20.0, 34.0, 18.0
GRAPH_WIDTH, GRAPH_HEIGHT = 430.0, 860.0
NOTE = 11.0


class Chart(NamedTuple):
    """One group of bars: for each way the parts of its bar, and the figure beside it."""

    title: str
    parts: Callable[[Row], Sequence[tuple[float, str]] | None]
    figure: Callable[[Row], str]


def _one(value: Callable[[Row], float | None]) -> Callable[[Row], Sequence[tuple[float, str]] | None]:
    def parts(row: Row) -> Sequence[tuple[float, str]] | None:
        found = value(row)
        return None if found is None else [(float(found), EAGER if row.way == "eager" else LAZY)]

    return parts


def _start(row: Row) -> Sequence[tuple[float, str]]:
    if row.way == "eager":
        return [(row.first, EAGER)]
    return [(row.build, TRACING), (row.compiling, COMPILING), (row.first, RUNNING)]


CHARTS = (
    Chart("a steady run", _one(lambda row: row.steady), lambda row: f"{seconds(row.steady)} ± {row.spread / 2:.0%}"),
    Chart(
        "until the first result: tracing (pale), compiling, the first run (dark)", _start,
        lambda row: seconds(row.build + row.compiling + row.first),
    ),
    Chart("calls of kernels in a run", _one(lambda row: row.calls), lambda row: f"{row.calls:,}"),
    Chart(
        "bytes at the peak", _one(lambda row: row.peak_bytes),
        lambda row: DASH if row.peak_bytes is None else amount(row.peak_bytes),
    ),
)  # fmt: skip


def bars(report: Figures) -> tuple[ET.Element, float, float]:
    """The charts as one SVG element, and its size."""
    width = EDGE + LABEL + BARS + FIGURE + EDGE
    height = EDGE + len(CHARTS) * (HEAD + len(report.rows) * BAR + GAP)
    root = _svg(width, height)
    top = EDGE
    for chart in CHARTS:
        top = _chart(root, chart, report.rows, top)
    return root, width, height


def _chart(root: ET.Element, chart: Chart, rows: Sequence[Row], top: float) -> float:
    """Draw one chart; the place below it."""
    _text(root, EDGE, top + 12, chart.title, 13, INK, weight="bold")
    found = [chart.parts(row) for row in rows]
    largest = max((sum(v for v, _ in parts) for parts in found if parts), default=0.0) or 1.0
    y = top + HEAD - 12
    left = EDGE + LABEL
    _add(root, "line", x1=left, y1=y - 2, x2=left, y2=y + len(rows) * BAR, stroke=PALE)
    for row, parts in zip(rows, found, strict=True):
        _text(root, left - 8, y + 13, row.way, 11, INK, anchor="end")
        x = left
        for value, colour in parts or ():
            length = BARS * value / largest
            _add(root, "rect", x=x, y=y + 2, width=max(length, 0.5), height=BAR - 5, fill=colour)
            x += length
        _text(root, x + 6, y + 13, chart.figure(row), 11, INK if parts else GREY)
        y += BAR
    return y + GAP


def to_svg(report: Figures) -> tuple[str, float, float]:
    """Everything as SVG text, and its width and height."""
    left, bars_width, bars_height = bars(report)
    right = [
        _panel(f"executed eagerly: {report.eager.calls:,} calls", report.executed[report.eager.way]),
        _panel(f"{report.best.way}: {report.best.calls:,} calls", report.executed[report.best.way]),
    ]
    top = 64.0
    width = bars_width + sum(w for _, w, _ in right) + EDGE * 3
    tallest = max([bars_height, *[h for _, _, h in right]])
    foot = report.wins()[:1] + report.losses()[:4] + [n for n in report.notes() if n.startswith("THE MACHINE")]
    height = top + tallest + GAP + len(foot) * 16 + EDGE
    root = _svg(width, height)
    _add(root, "rect", x=0, y=0, width=width, height=height, fill="#ffffff")
    _text(root, EDGE, 40, report.headline(), 20, INK, weight="bold")
    _place(root, left, 0, top, bars_width, bars_height)
    x = bars_width + EDGE
    for panel, w, h in right:
        _place(root, panel, x, top, w, h)
        x += w + EDGE
    y = top + tallest + GAP
    for line in foot:
        y += 16
        _text(root, EDGE, y, line, NOTE, GREY)
    return ET.tostring(root, encoding="unicode"), width, height


def _panel(title: str, calls: Sequence[Any]) -> tuple[ET.Element, float, float]:
    """One graph with its title, made to fit."""
    found = graphs.drawing(calls)
    if isinstance(found, str):
        root = _svg(GRAPH_WIDTH, 60)
        _text(root, 0, 14, title, 13, INK, weight="bold")
        _text(root, 0, 36, f"not drawn: {found}", NOTE, GREY)
        return root, GRAPH_WIDTH, 60.0
    drawn, width, height = found
    scale = min(1.0, GRAPH_WIDTH / width, GRAPH_HEIGHT / height)
    room = max(width * scale, 8.0 * len(title))
    root = _svg(room, height * scale + HEAD)
    _text(root, 0, 14, title, 13, INK, weight="bold")
    _place(root, drawn, 0, HEAD, width * scale, height * scale)
    return root, room, height * scale + HEAD


# -- elements --------------------------------------------------------------------------------------------------------


def _svg(width: float, height: float) -> ET.Element:
    ET.register_namespace("", graphs.SVG)
    root = ET.Element(f"{{{graphs.SVG}}}svg", {"viewBox": f"0 0 {width:g} {height:g}", "font-family": graphs.FONT})
    root.set("width", f"{width:g}")
    root.set("height", f"{height:g}")
    return root


def _place(root: ET.Element, part: ET.Element, x: float, y: float, width: float, height: float) -> None:
    """Put one SVG into another."""
    for key, value in (("x", x), ("y", y), ("width", width), ("height", height)):
        part.set(key, f"{value:g}")
    root.append(part)


def _add(root: ET.Element, kind: str, **attributes: Any) -> ET.Element:
    known = {k: f"{v:.2f}" if isinstance(v, float) else str(v) for k, v in attributes.items()}
    return ET.SubElement(root, f"{{{graphs.SVG}}}{kind}", known)


def _text(
    root: ET.Element, x: float, y: float, words: str, size: float, fill: str, anchor: str = "start", weight: str = ""
) -> None:
    made = _add(root, "text", x=x, y=y, fill=fill)
    made.set("font-size", f"{size:g}")
    made.set("text-anchor", anchor)
    if weight:
        made.set("font-weight", weight)
    made.text = visible(words)
