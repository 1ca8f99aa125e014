"""Large arrays for the caller, used again once the caller has let go of them.

Policy: fresh memory of some size costs more page faults than the work that fills it.  An array is handed out again only
if nobody else holds it, which the reference count tells exactly (views count through their base), as for variables:
see `cells`.  Two arrays are kept for each place at most, for as long as the plan lives.

State: each `Recycled` knows the arrays that it handed out last.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

LARGE = 1 << 18  # bytes from which on it pays


class Recycled:
    """The arrays of one shape and dtype for one place."""

    def __init__(self, dims: Any, dtype: Any) -> None:
        self._dims = dims
        self._dtype = dtype
        self._given: list[Any] = []

    def take(self) -> Any:
        """An array that nobody else holds."""
        for _ in range(len(self._given)):
            try:
                array = self._given.pop(0)  # atomic: of two threads, one gets it
            except IndexError:
                break
            alone = sys.getrefcount(array) <= ALONE
            self._given.append(array)
            if alone:
                return array
        array = np.empty(self._dims, self._dtype)
        self._given = [array, *self._given[:1]]
        return array


def _count_alone() -> int:
    """The reference count of an array in a local variable, as `Recycled.take` sees it."""
    array = [np.empty(0)].pop(0)
    return sys.getrefcount(array)


ALONE = _count_alone()
