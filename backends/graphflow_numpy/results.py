"""What becomes of a kernel's results: copied to where they were planned, made numbers, handed to the caller.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

POISON = 0xA5  # in each byte: -7e-17 as a float32, and as an integer far from any index


def copying(function: Callable[..., Any], count: int, places: Sequence[int], single: bool) -> Callable[..., Any]:
    """A kernel that makes memory of its own, made to copy some of its results to where they were planned."""

    def call(*arguments: Any) -> tuple[Any, ...]:
        found = function(*arguments[:count])
        results: tuple[Any, ...] = (found,) if single else found
        for place, target in zip(places, arguments[count:], strict=True):
            np.copyto(target, results[place])
        return results

    return call


def as_number(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that may return an array of rank 0, made to return a NumPy scalar."""

    def call(*arguments: Any) -> Any:
        found = function(*arguments)
        return found[()] if type(found) is np.ndarray else found

    return call


def poisoning(ranges: Sequence[tuple[int, int]]) -> Callable[[Any], None]:
    """What fills stretches of an arena, (offset, size), with rubbish."""

    def poison(arena: Any) -> None:
        for offset, size in ranges:
            arena[offset : offset + size] = POISON

    return poison


def hand_over(value: Any) -> Any:
    """A value that nobody else holds, for the caller; rank 0 as a NumPy scalar."""
    if type(value) is np.ndarray and not value.ndim:
        return value[()]
    return value


def hand_copy(value: Any) -> Any:
    """A copy for the caller; rank 0 as a NumPy scalar."""
    if type(value) is np.ndarray:
        return value.copy() if value.ndim else value[()]
    return value
