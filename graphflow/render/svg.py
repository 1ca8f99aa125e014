"""SVG text, element by element.

Policy: plain shapes with their own colours, so that browsers, editors and converters show the same; every text and
every attribute is escaped here, and what XML cannot hold is written visibly.  No scripts, no style sheets, no links.

State: none beyond a drawing in the making.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from graphflow.render.styles import INK

FONT = "Helvetica, Arial, sans-serif"
WIDTH_OF_A_LETTER = 0.56  # of the font's size, on average

FOOT = 26  # the height of the line with a title


class Svg:
    """A drawing: shapes lie over those that were drawn before."""

    def __init__(self, width: float, height: float, title: str, background: str = "#ffffff") -> None:
        self.width, self.height, self.title = width, height, title
        self.background = background
        self._lines: list[str] = []
        self.rect(0, 0, width, height, fill=background)

    def rect(self, x: float, y: float, width: float, height: float, title: str = "", **attributes: object) -> None:
        """A rectangle; its title is shown by browsers when the pointer rests on it."""
        self._add("rect", title, {"x": x, "y": y, "width": width, "height": height, **attributes})

    def circle(self, x: float, y: float, radius: float, title: str = "", **attributes: object) -> None:
        """A disc."""
        self._add("circle", title, {"cx": x, "cy": y, "r": radius, **attributes})

    def line(self, x1: float, y1: float, x2: float, y2: float, title: str = "", **attributes: object) -> None:
        """A straight line."""
        self._add("line", title, {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **attributes})

    def polyline(self, points: Iterable[tuple[float, float]], title: str = "", **attributes: object) -> None:
        """Straight lines from point to point, not filled unless asked for."""
        path = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._add("polyline", title, {"points": path, "fill": "none", **attributes})

    def text(self, x: float, y: float, words: str, size: float = 11, fill: str = INK, **attributes: object) -> None:
        """One line of text, its foot at y."""
        known = {"x": x, "y": y, "font-size": size, "fill": fill, **attributes}
        self._lines.append(f"<text{_attributes(known)}>{escape(visible(words))}</text>")

    def entitle(self, words: str | None) -> None:
        """Write words below all that is drawn, and call the drawing so; none are no title."""
        if words:
            self.title = words
            self.rect(0, self.height, self.width, FOOT, fill=self.background)
            self.text(FOOT, self.height + 0.6 * FOOT, fitting(words, self.width - 2 * FOOT, 12), 12, font_weight="bold")
            self.height += FOOT

    def __str__(self) -> str:
        size = {
            "width": self.width,
            "height": self.height,
            "viewBox": f"0 0 {_number(self.width)} {_number(self.height)}",
        }
        head = f'<svg xmlns="http://www.w3.org/2000/svg"{_attributes(size | {"font-family": FONT, "role": "img"})}>'
        return "\n".join([head, f"<title>{escape(visible(self.title))}</title>", *self._lines, "</svg>", ""])

    def _add(self, name: str, title: str, attributes: dict[str, object]) -> None:
        inside = f"<title>{escape(visible(title))}</title>" if title else ""
        self._lines.append(f"<{name}{_attributes(attributes)}" + (f">{inside}</{name}>" if inside else "/>"))


def fitting(words: str, room: float, size: float) -> str:
    """As much of a text as fits, with a mark where it was cut; "" if that is nothing worth reading."""
    letters = int(room / (size * WIDTH_OF_A_LETTER))
    if len(words) <= letters:
        return words
    return f"{words[: letters - 1]}…" if letters >= 7 else ""


def visible(text: str) -> str:
    """The text with what XML does not allow, or nobody would see, as its escape sequence."""
    return "".join([c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text])


def _attributes(found: dict[str, object]) -> str:
    return "".join(
        [f" {name.rstrip('_').replace('_', '-')}={quoteattr(_value(value))}" for name, value in found.items()]
    )


def _value(value: object) -> str:
    return _number(value) if isinstance(value, (int, float)) else visible(str(value))


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
