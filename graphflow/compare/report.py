"""The report of a comparison: what `compare` returns, printed, as data, as a picture and as a page.

Policy: whatever it is written as, the figures and the words are those of `figures`.

State: none.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from graphflow import durable
from graphflow.compare import page, picture
from graphflow.compare.figures import Figures
from graphflow.errors import FailedPreconditionError
from graphflow.render.picture import kind_of
from graphflow.render.raster import to_png

FORMATS = ("png", "svg", "html", "json")


@dataclass(frozen=True, repr=False)
class Report(Figures):
    """What `compare` found: print it, or use `rows`, `to_json()`, `render("x.png")`, `render("x.html")`."""

    def to_json(self) -> str:
        """Everything but the calls, as JSON."""
        data = {
            "name": self.name,
            "conditions": self.conditions,
            "missing": list(self.missing),
            "rows": [_plain(asdict(row)) for row in self.rows],
            "agrees": self.agrees,
            "noisy": self.noisy,
            "wins": self.wins(),
            "losses": self.losses(),
            "warnings": self.warnings(),
        }
        return json.dumps(data, allow_nan=False, indent=1)

    def check(self) -> None:
        """Raise if some way computes something else than the eager one: which, what, and by how much."""
        found = self.disagreements()
        if found:
            raise FailedPreconditionError(
                f"{self.name}: not all ways compute the same", expected=self.conditions["bounds"], got="; ".join(found)
            )

    def render(self, path: Any) -> str:
        """Write a .png, .svg, .html or .json file: bars, and both graphs side by side; returns the path."""
        name = durable.text_path(path)
        kind = kind_of(name, formats=FORMATS)
        if kind == "json":
            content = self.to_json().encode()
        elif kind == "html":
            content = page.to_html(self).encode()
        else:
            text, width, height = picture.to_svg(self)
            content = text.encode() if kind == "svg" else to_png(text, width, height)
        durable.write_file(name, [content])
        return name


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """The fields, with an infinite difference as text, which JSON can hold."""
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}
