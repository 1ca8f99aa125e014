"""Which names ops and scopes may have, and how they are made unique.

Policy: an allow-list of characters (names end up in files, pictures and pages) and a length limit.  Unique names are
made as TensorFlow 1 makes them: `Add`, `Add_1`, `Add_2`.

State: none; a `NameTable` belongs to its graph.
"""

from __future__ import annotations

import re
from typing import Any

from graphflow import source
from graphflow.errors import GraphError, shown

_OP_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\\-/]*\Z")
_SCOPE_NAME = re.compile(r"[A-Za-z0-9_.\\\-/]*\Z")
MAX_LENGTH = 256


def check_name(name: Any, *, in_scope: bool, place: Any = None) -> str:
    """The name, if it is a legal one; `place` is where it was given."""
    pattern = _SCOPE_NAME if in_scope else _OP_NAME
    if isinstance(name, str) and 0 < len(name) <= MAX_LENGTH and pattern.match(name):
        return name
    raise GraphError(
        "not a legal name for an op or a scope",
        expected=f"1 to {MAX_LENGTH} characters out of A-Z a-z 0-9 _ . - /, not starting with _ or - at the top level",
        got=shown(name),
        source=str(place or source.user_frame()),
    )


class NameTable:
    """The names in use in one graph, and how often each was asked for."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """`name`, or `name_1`, `name_2`, ... if that is taken; marks it as used."""
        counts = self._counts
        taken = counts.get(name)
        if taken is None:
            counts[name] = 1
            return name
        candidate = f"{name}_{taken}"
        while candidate in counts:
            taken += 1
            candidate = f"{name}_{taken}"
        counts[name] = taken + 1
        counts[candidate] = 1
        return candidate

    def claim(self, name: str) -> None:
        """Mark a name as used that is wanted exactly as it is."""
        self._counts.setdefault(name, 1)

    def peek(self, name: str) -> str:
        """The name that `unique` would give, without marking it."""
        before = self._counts
        self._counts = before.copy()
        found = self.unique(name)
        self._counts = before
        return found
