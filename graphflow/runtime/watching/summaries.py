"""A value in few words: small ones are shown whole, of large ones what one looks for.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.numerics.extent import summary_of
from graphflow.spec import describe

SMALL = 8  # elements that are shown one by one


def summary(value: Any) -> str:
    """dtype, shape, and the numbers or their range; the values that are not finite, and the first of them."""
    if value is None:
        return "not known"
    if isinstance(value, bytes):
        return f"string {value[:60]!r}"
    if not isinstance(value, (np.ndarray, np.generic)):
        return type(value).__name__
    array = np.asarray(value)
    head = f"{array.dtype.name if array.dtype != object else 'string'}{describe(array.shape)}"
    if array.size <= SMALL:
        return f"{head} = {_numbers(array)}"
    if array.dtype == object:
        return head
    return f"{head} {_range(array)}"


def _numbers(array: Any) -> str:
    return np.array2string(array, precision=6, max_line_width=10**6, separator=", ").replace("\n", "")[:200]


def _range(array: Any) -> str:
    """The least, the greatest and the mean of what is finite, and what is not."""
    if array.dtype.kind == "b":
        return f"{np.count_nonzero(array)} of {array.size} are True"
    bad = not_finite(array)
    count = int(np.count_nonzero(bad))
    words = ""
    if count:
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        words = f"{count} of {array.size} are not finite, the first at {list(first)}: {array[first]}"
    found = summary_of(array)
    if found.least is not None:
        words += f"{'; the others from' if words else 'from'} {found.least:.6g} to {found.greatest:.6g}"
        words += f", mean {found.mean:.6g}"
    return words


def not_finite(value: Any) -> Any:
    """Where a value holds a NaN or an infinity."""
    array = np.asarray(value)
    if array.dtype.kind in "biuOSU":
        return np.zeros(array.shape, bool)
    return ~np.isfinite(array)
