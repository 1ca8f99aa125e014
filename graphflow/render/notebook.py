"""What a notebook shows of a graph by itself.

Policy: never raises: where nothing can be drawn, a sentence in words says why.  The picture is the folded one.

State: none.
"""

from __future__ import annotations

from html import escape
from typing import Any

from graphflow.render import picture

SECONDS = 20.0  # nobody waits longer for the value of a cell


def svg(target: Any) -> str | None:
    """The picture, or None where it cannot be drawn."""
    try:
        return picture.content_of(picture.as_view(target), "svg", timeout=SECONDS).decode()
    except Exception:  # a notebook must show its cell whatever happens
        return None


def html(target: Any) -> str | None:
    """Why there is no picture, as HTML; None where there is one."""
    try:
        picture.content_of(picture.as_view(target), "svg", timeout=SECONDS)
    except Exception as error:
        return f"<pre>{escape(f'{target!r}: {error}')[:2000]}</pre>"
    return None
