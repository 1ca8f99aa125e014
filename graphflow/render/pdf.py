"""A laid-out picture as PDF: vectors and text, so that it prints well.

Policy: reads the drawing operations that Graphviz's json format lists, and writes one page in the fonts that every
reader has.  What their encoding lacks is written as an escape.  The same picture gives the same bytes; there is no
date, no link and no script in the file.

State: none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_POINTS = 14_400.0  # of a side: the largest page that readers show
FONTS = ("Helvetica", "Helvetica-Bold", "ZapfDingbats")
DINGBATS = {"\N{BLACK SQUARE}": "n"}  # what the Latin fonts lack and this one has
_KEYS = ("_draw_", "_ldraw_", "_hdraw_", "_tdraw_", "_hldraw_", "_tldraw_")
_DASHES = {"dashed": "[4 3] 0 d", "dotted": "[1 3] 0 d", "solid": "[] 0 d"}
_WIDTH = re.compile(r"setlinewidth\(([0-9.]+)\)")
_CURVE = 0.5523  # of a radius: how far the handles of a quarter of a circle reach


def to_pdf(layout: bytes) -> bytes:
    """The output of `-Tjson` as a file."""
    picture: Mapping[str, Any] = json.loads(layout)
    left, bottom, right, top = (float(x) for x in picture["bb"].split(","))
    margin = 12.0
    width, height = right - left + 2 * margin, top - bottom + 2 * margin
    scale = min(1.0, MAX_POINTS / max(width, height))
    pen = _Pen()
    pen.out.append(f"{scale:.6f} 0 0 {scale:.6f} {scale * (margin - left):.2f} {scale * (margin - bottom):.2f} cm")
    for thing in (picture, *picture.get("objects", ()), *picture.get("edges", ())):
        for key in _KEYS:
            pen.draw(thing.get(key, ()))
    return _file("\n".join(pen.out).encode("latin-1"), width * scale, height * scale)


class _Pen:
    """Turns drawing operations into those of PDF; colours, width and font are what was set last."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.stroke, self.fill, self.style, self.width = "0 0 0", "0 0 0", "solid", 1.0
        self.size, self.bold = 10.0, False

    def draw(self, operations: Iterable[Mapping[str, Any]]) -> None:
        """One list of operations; styles do not outlast it."""
        self.style, self.width, self.bold = "solid", 1.0, False
        for operation in operations:
            kind = operation["op"]
            if kind in "cC":
                self._colour(kind, operation.get("color", "#000000"))
            elif kind == "S":
                self._style(operation["style"])
            elif kind == "F":
                self.size = float(operation["size"])
            elif kind == "t":
                self.bold = bool(int(operation["fontchar"]) & 1)
            elif kind == "T":
                self._text(operation)
            elif kind in "eE":
                self._path(_ellipse(*operation["rect"]), kind == "E", curved=True)
            elif kind in "pPLbB":
                self._path(operation["points"], kind in "PB" and kind.isupper(), kind in "bB", kind in "pP")

    def _colour(self, kind: str, colour: str) -> None:
        if colour == "transparent" or len(colour) == 9 and colour.endswith("00"):
            colour = "#ffffff"
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] if colour.startswith("#") else [0.0] * 3
        words = " ".join(f"{part:.3f}" for part in parts)
        if kind == "c":
            self.stroke = words
        else:
            self.fill = words

    def _style(self, style: str) -> None:
        found = _WIDTH.fullmatch(style)
        if found:
            self.width = float(found.group(1))
        elif style in _DASHES:
            self.style = style

    def _path(
        self, points: Sequence[Sequence[float]], filled: bool, curved: bool = False, closed: bool = False
    ) -> None:
        words = [f"{self.stroke} RG {self.fill} rg {self.width:.2f} w {_DASHES[self.style]}"]
        places = [f"{point[0]:.2f} {point[1]:.2f}" for point in points]
        words.append(f"{places[0]} m")
        if curved:
            words += [f"{' '.join(places[i : i + 3])} c" for i in range(1, len(places) - 2, 3)]
        else:
            words += [f"{place} l" for place in places[1:]]
        words.append(("b" if closed else "B") if filled else "s" if closed else "S")
        self.out.append(" ".join(words))

    def _text(self, operation: Mapping[str, Any]) -> None:
        x, y = operation["pt"][:2]
        part = {"l": 0.0, "c": 0.5, "r": 1.0}[operation["align"]]
        x -= part * float(operation["width"])
        text = operation["text"]
        font = 2 if text.strip() in DINGBATS else int(self.bold)
        shown = DINGBATS[text.strip()] if font == 2 else text
        words = f"BT /F{font} {self.size:.1f} Tf {self.stroke} rg {x:.2f} {y:.2f} Td ({_string(shown)}) Tj ET"
        self.out.append(words)


def _ellipse(x: float, y: float, a: float, b: float) -> list[tuple[float, float]]:
    """The points of four curves."""
    h, v = _CURVE * a, _CURVE * b
    return [
        (x + a, y), (x + a, y + v), (x + h, y + b), (x, y + b), (x - h, y + b), (x - a, y + v), (x - a, y),
        (x - a, y - v), (x - h, y - b), (x, y - b), (x + h, y - b), (x + a, y - v), (x + a, y),
    ]  # fmt: skip


def _string(text: str) -> str:
    """Text between the brackets of PDF: printable ASCII as it is, other bytes of the encoding in octal."""
    found = []
    for character in text:
        try:
            codes = character.encode("cp1252")
        except UnicodeEncodeError:
            codes = character.encode("unicode_escape")
        for code in codes:
            plain = 32 <= code < 127 and chr(code) not in "()\\"
            found.append(chr(code) if plain else f"\\{code:03o}")
    return "".join(found)


def _file(content: bytes, width: float, height: float) -> bytes:
    """The objects of a file with one page, and the table of where they begin."""
    fonts = " ".join(f"/F{i} {5 + i} 0 R" for i in range(len(FONTS)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] /Contents 4 0 R "
        f"/Resources << /Font << {fonts} >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    for name in FONTS:
        encoding = "" if name == "ZapfDingbats" else " /Encoding /WinAnsiEncoding"
        objects.append(f"<< /Type /Font /Subtype /Type1 /BaseFont /{name}{encoding} >>".encode())
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    begins = []
    for number, body in enumerate(objects, 1):
        begins.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % begin for begin in begins)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
