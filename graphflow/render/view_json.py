"""A view as JSON, for other programs.

Policy: one object, `format` "graphflow view 1", `title`, `caption`, `usual_dtype`, and the lists `nodes`, `edges` and
`boxes`; each of these has the fields of `view.Node`, `view.Edge` and `view.Box` under their names, without those that
have their default.  Text is the graph's own, uncut; ids are made of letters and digits.

State: none.
"""

from __future__ import annotations

import json
from typing import Any

from graphflow.render.view import View

FORMAT = "graphflow view 1"


def to_json(view: View) -> str:
    """The view as one line of JSON for each node, edge and box."""
    head = {"format": FORMAT, "title": view.title, "caption": view.caption, "usual_dtype": view.usual_dtype}
    parts = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    for name, values in (("nodes", view.nodes), ("edges", view.edges), ("boxes", view.boxes)):
        lines = ",\n".join(json.dumps(_fields(value)) for value in values)
        parts.append(f'"{name}": [\n{lines}\n]' if lines else f'"{name}": []')
    return "{" + ",\n".join(parts) + "}\n"


def _fields(value: Any) -> dict[str, Any]:
    defaults = value._field_defaults
    return {k: v for k, v in value._asdict().items() if k not in defaults or v != defaults[k]}
