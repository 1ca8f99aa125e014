"""SVG of our own as PNG.

Policy: done by resvg, a wheel without dependencies; the letters come from the fonts that matplotlib brings, if it is
there, so that a picture is the same on every machine, and from the system's otherwise.

State: none.
"""

from __future__ import annotations

import importlib.util
import os

from graphflow.errors import ResourceExhaustedError, UnavailableError, UnknownError

MAX_PIXELS = 60_000_000
SYSTEM_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "C:\\Windows\\Fonts")


def to_png(svg: str, width: float, height: float, scale: float = 2.0) -> bytes:
    """The picture in pixels, `scale` of them for each unit of the SVG; fewer where it would become too large."""
    try:
        import resvg_py
    except ImportError as error:
        raise UnavailableError(
            "this picture is made into a PNG by resvg, which is not installed",
            hint="pip install resvg_py, or write an .svg file",
        ) from error
    if width * height > MAX_PIXELS:
        raise ResourceExhaustedError(
            f"the picture would have {width:.0f} x {height:.0f} pixels", hint="write an .svg file, or draw less"
        )
    scale = min(scale, (MAX_PIXELS / (width * height)) ** 0.5)
    fonts = _fonts()
    try:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=svg,
                width=round(width * scale),
                font_dirs=fonts,
                skip_system_fonts=bool(fonts),
                font_family="DejaVu Sans",
                sans_serif_family="DejaVu Sans",
                background="white",
            )
        )
    except ValueError as error:
        raise UnknownError(f"resvg cannot draw the picture: {error}") from error


def _fonts() -> list[str]:
    """The folder of matplotlib's fonts, or none where the system has some."""
    found = importlib.util.find_spec("matplotlib")
    for place in (found.submodule_search_locations if found is not None else None) or ():
        fonts = os.path.join(place, "mpl-data", "fonts", "ttf")
        if os.path.isdir(fonts):
            return [fonts]
    if not any(map(os.path.isdir, SYSTEM_FONTS)):
        raise UnavailableError(
            "there is no font on this machine to write with", hint="pip install matplotlib, which brings one"
        )
    return []
