"""A view as the data of the page: columns of numbers over one table of texts.

Policy: exact (every text comes back as it was), compact (a text that occurs a thousand times is written once, a column
that holds nothing but its default is left out), and inert wherever it stands in a page: no `<`, `>` or `&` is written.

State: none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from graphflow.render.view import View

VERSION = 1


def to_json(view: View) -> str:
    """The data as text that may stand inside a script element."""
    text = json.dumps(columns(view), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def columns(view: View) -> dict[str, Any]:
    """The view as plain lists and numbers."""
    texts = _Texts()
    index = {node.id: i for i, node in enumerate(view.nodes)}
    nodes: dict[str, Sequence[Any]] = {
        name: texts.column([getattr(node, name) for node in view.nodes])
        for name in ("name", "type", "kind", "scope", "source", "device", "value", "change")
    }
    nodes["lines"] = [texts.column(node.lines) for node in view.nodes]
    nodes["facts"] = [texts.column([text for pair in node.facts.items() for text in pair]) for node in view.nodes]
    nodes["members"] = [node.members for node in view.nodes]
    nodes["of"] = [index.get(node.of, -1) for node in view.nodes]
    nodes["seconds"] = [_number(node.seconds) for node in view.nodes]
    nodes["bytes"] = [node.nbytes for node in view.nodes]
    nodes["bad"] = [int(node.bad) for node in view.nodes]
    edges = [edge for edge in view.edges if edge.tail in index and edge.head in index]
    links: dict[str, Sequence[Any]] = {
        name: texts.column([getattr(edge, name) for edge in edges]) for name in ("label", "kind", "value")
    }
    links["bytes"] = [edge.nbytes for edge in edges]
    links |= {"tail": [index[edge.tail] for edge in edges], "head": [index[edge.head] for edge in edges]}
    boxes = {name: texts.column([getattr(box, name) for box in view.boxes]) for name in ("scope", "label", "kind")}
    return {
        "version": VERSION,
        "title": texts.number(view.title),
        "caption": texts.column(view.caption),
        "usual": texts.number(view.usual_dtype),
        "nodes": {"count": len(view.nodes)} | _needed(nodes),
        "edges": {"count": len(edges)} | _needed(links),
        "boxes": boxes,
        "strings": texts.found,
    }


class _Texts:
    """The table of texts; number 0 is the empty one."""

    def __init__(self) -> None:
        self.found = [""]
        self._numbers = {"": 0}

    def number(self, text: str) -> int:
        known = self._numbers.get(text)
        if known is None:
            known = self._numbers[text] = len(self.found)
            self.found.append(text)
        return known

    def column(self, texts: Iterable[str]) -> list[int]:
        return [self.number(text) for text in texts]


_DEFAULTS: dict[str, Any] = {"members": 1, "of": -1, "seconds": None, "bytes": None, "bad": 0, "lines": [], "facts": []}


def _needed(table: dict[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns that hold more than their default."""
    needed = ("tail", "head")
    return {
        name: column
        for name, column in table.items()
        if name in needed or any(value != _DEFAULTS.get(name, 0) for value in column)
    }


def _number(seconds: float | None) -> float | None:
    """Finite, or nothing: JSON knows no other."""
    return None if seconds is None or not math.isfinite(seconds) else float(f"{seconds:.6g}")
