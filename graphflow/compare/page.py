"""A comparison as one HTML page: the table, the bars and the graphs, in one file without scripts.

Policy: every word that comes from outside is escaped.  There is no script, and the page's frame (`render.shell`)
refuses what is not in it, so nothing is loaded and nothing runs.

State: none.
"""

from __future__ import annotations

from html import escape
from xml.etree import ElementTree as ET

from graphflow.compare import graphs, picture
from graphflow.compare.figures import Figures
from graphflow.render import shell
from graphflow.render.svg import visible

STYLE = """
body { font: 15px/1.5 "DejaVu Sans", Helvetica, Arial, sans-serif; color: #22272e; margin: 2rem auto; max-width: 80rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.25rem 0.7rem; text-align: right; border-bottom: 1px solid #e3e6ea; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.eager td { background: #fdf3e6; } tr.best td { background: #eaf2fb; } tr.wrong td { background: #fbe0e0; }
.both { display: flex; gap: 2rem; align-items: flex-start; flex-wrap: wrap; }
.both figure { margin: 0; flex: 1 1 24rem; overflow: auto; max-height: 60rem;
  border: 1px solid #e3e6ea; padding: 1rem; }
figcaption { font-weight: bold; margin-bottom: 0.5rem; }
.both svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; } .notes { color: #6b7280; font-size: 0.85rem; }
.warning { background: #fff3c4; padding: 0.5rem 1rem; }
"""

_BODY = """<h1>{title}</h1>
{warnings}<div class="scroll">{table}</div>
<h2>What lazy wins</h2>
{wins}
<h2>What lazy loses</h2>
{losses}
<h2>Figures as bars</h2>
<div class="scroll">{bars}</div>
<h2>What was executed</h2>
<div class="both">{graphs}</div>
<h2>How it was measured</h2>
<div class="notes">{notes}</div>
"""


def to_html(report: Figures) -> str:
    """The page."""
    ET.register_namespace("", graphs.SVG)
    body = _BODY.format(
        title=_words(report.headline()),
        warnings="".join(f'<p class="warning">{_words(text)}</p>\n' for text in report.warnings()),
        table=_table(report),
        wins=_list(report.wins()),
        losses=_list(report.losses()),
        bars=_inline(picture.bars(report)[0]),
        graphs=_figure(report, report.eager.way, "eager") + _figure(report, report.best.way, report.best.way),
        notes=_list(report.notes()),
    )
    return shell.page(report.headline(), STYLE, body)


def _words(text: str) -> str:
    return escape(visible(text))


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{_words(line)}</li>" for line in lines or ["nothing"]) + "</ul>"


def _table(report: Figures) -> str:
    head, *lines = report.table()
    out = ["<table><tr>", *[f"<th>{_words(cell)}</th>" for cell in head], "</tr>"]
    for row, line in zip(report.rows, lines, strict=True):
        kind = "wrong" if row.agrees is False else "eager" if row is report.eager else ""
        kind = kind or ("best" if row is report.best else "")
        out += [f'<tr class="{kind}">', *[f"<td>{_words(cell)}</td>" for cell in line], "</tr>"]
    return "".join([*out, "</table>"])


def _figure(report: Figures, way: str, title: str) -> str:
    row = report.row(way)
    found = graphs.drawing(report.executed[way])
    inside = f"<p>not drawn: {_words(found)}</p>" if isinstance(found, str) else _inline(found[0])
    return f"<figure><figcaption>{_words(title)}: {row.calls:,} calls, {row.ops:,} ops</figcaption>{inside}</figure>"


def _inline(element: ET.Element) -> str:
    """The SVG for a page: without links, and without style attributes, which the page's policy refuses."""
    return ET.tostring(element, encoding="unicode")
