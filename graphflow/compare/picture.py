"""The picture of a comparison: bars for time, calls and memory, and beside them the two graphs.

Policy: every bar has its own figure beside it, so that what cannot be seen can be read.  Bars of one chart share one
linear scale; one that would flatten all others is cut off, with a gap in it, and that is told.  Colours are those of
`graphflow.render`: the eager way is orange, the traced ways are blue.

State: none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from graphflow.compare import graphs
from graphflow.compare.figures import DASH, Figures, Row, amount, count, seconds
from graphflow.render.svg import visible

EAGER, LAZY, TRACING, COMPILING, RUNNING = "#d98324", "#2b5f9e", "#9db8d9", "#5f8dc4", "#2b5f9e"
INK, GREY, PALE = "#22272e", "#6b7280", "#e3e6ea"
WARNING = "#a61b1b"
EDGE, LABEL, BARS, FIGURE = 28.0, 150.0, 300.0, 92.0
CHART = LABEL + BARS + FIGURE
BAR, HEAD, GAP, LINE = 20.0, 34.0, 18.0, 17.0
MARGIN = 1.25  # how long a bar that is cut off is, over the longest that is not
GRAPH_WIDTH, GRAPH_HEIGHT, LEAST = 700.0, 1200.0, 0.7  # and how small a graph may become to stand beside the other
NOTE, LETTER = 12.0, 0.6  # the size of letters, and the width of one over it


class Chart(NamedTuple):
    """One group of bars: for each way the parts of its bar, and the figure beside it."""

    title: str
    parts: Callable[[Row], Sequence[tuple[float, str]] | None]
    figure: Callable[[Row], str]
    longer: float = 20.0  # a bar that is so many times as long as the next shorter one is cut off


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
        "until the first result: tracing (pale), compiling, first run (dark)", _start,
        lambda row: seconds(row.before), longer=3.0,
    ),
    Chart("calls of kernels in a run", _one(lambda row: row.calls), lambda row: count(row.calls)),
    Chart(
        "memory at the peak of a run", _one(lambda row: row.peak_bytes),
        lambda row: DASH if row.peak_bytes is None else amount(row.peak_bytes),
    ),
)  # fmt: skip
BESIDE = 2  # charts in one line


def bars(report: Figures) -> tuple[ET.Element, float, float]:
    """The charts as one SVG element, and its size."""
    tall = HEAD + len(report.rows) * BAR + GAP
    lines = -(-len(CHARTS) // BESIDE)
    scales = [_full(chart, report.rows) for chart in CHARTS]
    told = any(broken for _, broken in scales)
    width, height = EDGE + BESIDE * (CHART + EDGE), lines * tall + (BAR if told else 0)
    root = _svg(width, height)
    for i, chart in enumerate(CHARTS):
        left, top = EDGE + (i % BESIDE) * (CHART + EDGE), (i // BESIDE) * tall
        _chart(root, chart, report.rows, scales[i][0], left, top)
    if told:
        _text(
            root,
            EDGE,
            height - 6,
            "A bar with a gap is cut off: it would be longer by far; its figure tells.",
            NOTE,
            GREY,
        )
    return root, width, height


def _full(chart: Chart, rows: Sequence[Row]) -> tuple[float, bool]:
    """What a bar of full length stands for, and whether some bars are longer.

    What is several times as long as all others would flatten these, so it is cut off, as long as two bars are left.
    """
    found = sorted((sum(v for v, _ in parts) for parts in map(chart.parts, rows) if parts), reverse=True)
    end = 0
    while end + 2 < len(found) and found[end] > chart.longer * found[end + 1]:
        end += 1
    whole = found[end] if found else 0.0
    return (whole * (MARGIN if end else 1.0)) or 1.0, end > 0


def _chart(root: ET.Element, chart: Chart, rows: Sequence[Row], full: float, left: float, top: float) -> None:
    """Draw one chart."""
    _text(root, left, top + 12, chart.title, 13, INK, weight="bold")
    zero, y = left + LABEL, top + HEAD - 12
    _add(root, "line", x1=zero, y1=y - 2, x2=zero, y2=y + len(rows) * BAR, stroke=PALE)
    for row in rows:
        parts = chart.parts(row)
        _text(root, zero - 8, y + 13, row.way, 11, INK, anchor="end")
        end = _bar(root, parts or (), full, zero, y)
        _text(root, end + 6, y + 13, chart.figure(row), 11, INK if parts else GREY)
        y += BAR


def _bar(root: ET.Element, parts: Sequence[tuple[float, str]], full: float, zero: float, y: float) -> float:
    """Draw one bar, cut off at its full length; where it ends."""
    x = zero
    for value, colour in parts:
        length = min(BARS * value / full, zero + BARS - x)
        _add(root, "rect", x=x, y=y + 2, width=max(length, 0.5), height=BAR - 5, fill=colour)
        x += length
    if sum(v for v, _ in parts) > full:  # a slanting gap says that the bar goes on
        at = zero + BARS - 26
        _add(root, "polygon", points=f"{at},{y + BAR} {at + 5},{y + BAR} {at + 12},{y} {at + 7},{y}", fill="#ffffff")
    return x


def to_svg(report: Figures) -> tuple[str, float, float]:
    """Everything as SVG text, and its width and height."""
    charts, bars_width, bars_height = bars(report)
    panels = _panels(report)
    width = max([bars_width, *[x + w + EDGE for _, x, _, w, _ in panels]])
    words = _words(report, int((width - 2 * EDGE) / (NOTE * LETTER)))
    below = 52.0 + len(words) * LINE + GAP
    height = below + bars_height + GAP + max(y + h for _, _, y, _, h in panels) + EDGE
    root = _svg(width, height)
    _add(root, "rect", x=0, y=0, width=width, height=height, fill="#ffffff")
    _text(root, EDGE, 40, textwrap.shorten(report.headline(), 90, placeholder=" ..."), 20, INK, weight="bold")
    for i, (line, fill) in enumerate(words):
        _text(root, EDGE, 52 + (i + 1) * LINE, line, NOTE, fill)
    _place(root, charts, 0, below, bars_width, bars_height)
    for panel, x, y, w, h in panels:
        _place(root, panel, x, below + bars_height + GAP + y, w, h)
    return ET.tostring(root, encoding="unicode"), width, height


def _words(report: Figures, letters: int) -> list[tuple[str, str]]:
    """What the figures say, in lines, each with its colour."""
    found = [(f"lazy wins: {text}", INK) for text in report.wins()]
    found += [(f"lazy loses: {text}", INK) for text in report.losses()]
    found += [(text, WARNING) for text in report.warnings()]
    return [(line, fill) for text, fill in found for line in textwrap.wrap(text, letters, subsequent_indent="  ")]


def _panels(report: Figures) -> list[tuple[ET.Element, float, float, float, float]]:
    """Both graphs with their places: beside each other where they fit, else one below the other."""
    eager, best = report.eager, report.best
    found = [
        (f"executed eagerly: {_told(eager)}", graphs.drawing(report.executed[eager.way])),
        (f"executed by {best.way}: {_told(best)}", graphs.drawing(report.executed[best.way])),
    ]
    wide = any(not isinstance(drawn, str) and drawn[1] * LEAST > GRAPH_WIDTH for _, drawn in found)
    room = GRAPH_WIDTH * (BESIDE if wide else 1)
    x = y = 0.0
    out = []
    for title, drawn in found:
        panel, w, h = _panel(title, drawn, room)
        out.append((panel, EDGE + x, y, w, h))
        x, y = (0.0, y + h + GAP) if wide else (max(w, CHART) + EDGE, y)
    return out


def _told(row: Row) -> str:
    return f"{count(row.ops)} ops in {count(row.calls)} calls" if row.ops != row.calls else f"{count(row.calls)} calls"


def _panel(title: str, found: Any, room: float) -> tuple[ET.Element, float, float]:
    """One graph with its title, made to fit."""
    if isinstance(found, str):
        root = _svg(CHART, 60)
        _text(root, 0, 14, title, 13, INK, weight="bold")
        _text(root, 0, 36, f"not drawn: {found}", NOTE, GREY)
        return root, CHART, 60.0
    drawn, width, height = found
    scale = min(1.0, room / width, GRAPH_HEIGHT / height)
    wide = max(width * scale, 8.0 * len(title))
    root = _svg(wide, height * scale + HEAD)
    _text(root, 0, 14, title, 13, INK, weight="bold")
    _place(root, drawn, 0, HEAD, width * scale, height * scale)
    return root, wide, height * scale + HEAD


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
