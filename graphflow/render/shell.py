"""The frame of a page: one file that needs no network and runs no code but its own.

Policy: a content security policy allows exactly this script and this style sheet, by their hashes; everything else, the
network included, is refused.  Whoever writes the body has escaped what comes from outside.

State: none.
"""

from __future__ import annotations

import base64
import hashlib
import html

from graphflow.render.labels import plain

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
{body}</body>
</html>
"""


def page(title: str, style: str, body: str, script: str = "") -> str:
    """A page; a script runs after the body."""
    rules = {
        "default-src": "'none'",
        **({"script-src": _hash(script)} if script else {}),
        "style-src": _hash(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return _PAGE.format(
        policy="; ".join(f"{key} {value}" for key, value in rules.items()),
        title=html.escape(plain(title, SHOWN_TITLE)),
        style=style,
        body=body + (f"<script>{script}</script>\n" if script else ""),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
