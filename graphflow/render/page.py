"""A view as one interactive page: a single file that needs no network and runs no code but its own.

Policy: the scripts and the style sheet are files of this package (`page/`), put together unchanged.  The graph goes in
as data, in a block that browsers do not execute, and the page makes text nodes of it.  What else the page may do is
said by its frame (`shell`).

State: none.
"""

from __future__ import annotations

from importlib import resources

from graphflow.render import page_data, shell
from graphflow.render.view import View

SCRIPTS = (
    "model", "tree", "scene", "columns", "layers", "arrange", "colours", "draw", "camera", "panel", "search",
    "selection", "start",
)  # fmt: skip


def to_html(view: View) -> str:
    """The page.  Give it a view with every op, and it folds by itself; what is folded already cannot be opened."""
    script = '(function () {\n"use strict";\n' + "\n".join([_file(f"{name}.js") for name in SCRIPTS]) + "}());\n"
    data = f'<script type="application/json" id="data">{page_data.to_json(view)}</script>\n'
    return shell.page(view.title or "graph", _file("page.css"), _file("page.html") + data, script)


def _file(name: str) -> str:
    return resources.files("graphflow.render").joinpath("page", name).read_text(encoding="utf-8")
