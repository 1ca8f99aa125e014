"""A view as one interactive page: a single file that needs no network and runs no code but its own.

Policy: the scripts and the style sheet are files of this package (`page/`), put together unchanged.  The graph goes in
as data, in a block that browsers do not execute, and the page makes text nodes of it.  A content security policy
allows exactly this script and this style sheet, by their hashes; everything else, the network included, is refused.

State: none.
"""

from __future__ import annotations

import base64
import hashlib
import html
from importlib import resources

from graphflow.render import page_data
from graphflow.render.labels import plain
from graphflow.render.view import View

SCRIPTS = (
    "model", "tree", "scene", "columns", "layers", "arrange", "colours", "draw", "camera", "panel", "search",
    "selection", "start",
)  # fmt: skip
SHOWN_TITLE = 200  # characters

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def to_html(view: View) -> str:
    """The page.  Give it a view with every op, and it folds by itself; what is folded already cannot be opened."""
    script = '(function () {\n"use strict";\n' + "\n".join([_file(f"{name}.js") for name in SCRIPTS]) + "}());\n"
    style = _file("page.css")
    return _PAGE.format(
        policy=_policy(script, style),
        title=html.escape(plain(view.title, SHOWN_TITLE) or "graph"),
        style=style,
        body=_file("page.html"),
        data=page_data.to_json(view),
        script=script,
    )


def _file(name: str) -> str:
    return resources.files("graphflow.render").joinpath("page", name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    rules = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{key} {value}" for key, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
