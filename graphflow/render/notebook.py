"""What a notebook shows by itself of a graph, a view or a program.

Policy: never raises.  A notebook asks for SVG and for HTML: the picture is the SVG, the folded one; HTML is what says
why there is none, as far as that is known before the layout, which is done once.  A layout that fails is told in the
SVG.

State: none.
"""

from __future__ import annotations

from html import escape
from textwrap import wrap
from typing import Any

from graphflow.errors import shown
from graphflow.render import engines, picture
from graphflow.render.svg import Svg
from graphflow.render.view import View

SECONDS = 20.0  # nobody waits longer for the value of a cell
LETTERS, LINES = 110, 8  # of a failure that is told


def svg(target: Any, view: str = "graph") -> str | None:
    """The picture, or why the layout failed; None where `html` says why nothing can be drawn."""
    found = _prepared(target, view)
    if not isinstance(found, View):
        return None
    try:
        return picture.content_of(found, "svg", timeout=SECONDS).decode()
    except Exception as error:  # a notebook must show its cell whatever happens
        return _told(error)


def html(target: Any, view: str = "graph") -> str | None:
    """Why there is no picture, as HTML; None where there is one."""
    found = _prepared(target, view)
    return None if isinstance(found, View) else f"<pre>{escape(f'{shown(target)}: {found}'[:2000])}</pre>"


def _prepared(target: Any, view: str) -> View | Exception:
    """What to draw, or why it cannot be drawn."""
    try:
        engines.choose("svg")
        return picture.as_view(target, view)
    except Exception as error:
        return error


def _told(error: Exception) -> str:
    """A failure in words, as a picture."""
    lines = [piece for line in str(error).splitlines() for piece in wrap(line, LETTERS)][:LINES]
    found = Svg(8.0 * LETTERS, 24.0 + 18 * len(lines), "no picture")
    for number, line in enumerate(lines):
        found.text(10, 24 + 18 * number, line, 12)
    return str(found)
