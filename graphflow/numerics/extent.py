"""What describes an array that is too large to be shown: its range, its mean, and how much of it is not finite.

Policy: one answer for pictures, observations and debuggers.  Numbers of two bytes that NumPy knows no kind of are
bfloat16.

State: none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Summary(NamedTuple):
    """What describes an array; the numbers are those of its finite elements, None where there are none."""

    dtype: str
    shape: tuple[int, ...]
    least: float | None = None
    greatest: float | None = None
    mean: float | None = None
    nans: int = 0
    infinities: int = 0

    @property
    def bad(self) -> int:
        """How many elements are not finite."""
        return self.nans + self.infinities


def plain(value: Any) -> Any:
    """The value as an array whose numbers NumPy understands."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "V" and array.dtype.itemsize == 2 else array


def summary_of(value: Any) -> Summary:
    """What describes an array; complex numbers have no range."""
    known, array = Summary(str(np.asarray(value).dtype), np.shape(value)), plain(value)
    if array.dtype.kind not in "biufc" or not array.size:
        return known
    if array.dtype.kind in "biu":
        return known._replace(least=float(array.min()), greatest=float(array.max()), mean=float(array.mean()))
    finite = array[np.isfinite(array)]
    nans = int(np.isnan(array).sum())
    known = known._replace(nans=nans, infinities=array.size - finite.size - nans)
    if not finite.size or array.dtype.kind == "c":
        return known
    with np.errstate(all="ignore"):
        mean = float(finite.mean(dtype=np.float64))
    return known._replace(least=float(finite.min()), greatest=float(finite.max()), mean=mean)
