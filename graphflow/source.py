"""Where in the user's own code something was built.

Policy: building must stay fast, so only the code object and the instruction offset of the first frame outside the
library are recorded; file and line are worked out when somebody asks.  No frame is kept, so no local is kept alive.

State: a memo of which file names belong to the library.
"""

from __future__ import annotations

import os
import sys
from types import CodeType
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_BACKENDS = os.sep + "graphflow_"
_is_library: dict[str, bool] = {}
_new = tuple.__new__  # a named tuple's own constructor is three times as slow


class Source(NamedTuple):
    """A place in the user's code."""

    code: CodeType
    offset: int

    @property
    def filename(self) -> str:
        """The file as Python knows it."""
        return self.code.co_filename

    @property
    def line(self) -> int:
        """The line number, or 0 where the code has none."""
        found = 0
        for start, end, line in self.code.co_lines():
            if start <= self.offset < end:
                return line or found
            found = line or found
        return found

    def __str__(self) -> str:
        name = self.filename
        if os.path.isabs(name):
            relative = os.path.relpath(name)
            name = relative if not relative.startswith("..") else name
        where = self.code.co_name
        inside = "" if where == "<module>" else f", in {where}"
        return f"{name}:{self.line}{inside}"


def _in_library(filename: str) -> bool:
    known = filename.startswith((_PACKAGE, "<frozen", "<graphflow")) or (
        _BACKENDS in filename and f"{os.sep}backends{os.sep}" in filename
    )
    known = known or filename.endswith((f"{os.sep}contextlib.py", f"{os.sep}functools.py"))
    _is_library[filename] = known
    return known


def user_frame() -> Source:
    """The innermost frame outside the library."""
    frame = sys._getframe(2)
    while True:
        code = frame.f_code
        filename = code.co_filename
        known = _is_library.get(filename)
        if known is None:
            known = _in_library(filename)
        if not known:
            return _new(Source, (code, frame.f_lasti))
        back = frame.f_back
        if back is None:
            return _new(Source, (code, frame.f_lasti))
        frame = back
