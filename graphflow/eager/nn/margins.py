"""Margins around the last axes: `F.pad`.

Policy: PyTorch's argument names and modes.  Negative margins cut off; what is repeated is gathered.

State: none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.eager.mode import placed
from graphflow.eager.storage import apart
from graphflow.errors import InvalidArgumentError, ShapeError, shown
from graphflow.ops import arrange, core, index

# The element that stands at place i beside an axis of size n.
_PLACES: dict[str, Callable[[Any, int], Any]] = {
    "replicate": lambda i, n: np.clip(i, 0, n - 1),
    "circular": lambda i, n: i % n,
    "reflect": lambda i, n: (n - 1) - abs((n - 1) - abs(i)),
}
_ROOM: dict[str, Callable[[int], int | None]] = {
    "replicate": lambda n: None,
    "circular": lambda n: n,
    "reflect": lambda n: n - 1,
}


@placed
def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """A margin around the last axes: (before, after) of the last one first."""
    x: Any = core.convert_to_tensor(input)
    given = x
    numbers = [operator.index(n) for n in pad]
    if len(numbers) % 2 or len(numbers) > 2 * len(x.dims):
        raise InvalidArgumentError("pad is made of pairs, at most one for each axis", got=shown(pad))
    if mode != "constant" and mode not in _PLACES:
        raise InvalidArgumentError(
            "unknown mode", expected=", ".join(map(repr, ("constant", *_PLACES))), got=shown(mode)
        )
    pairs = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)][::-1]
    first = len(x.dims) - len(pairs)
    if mode != "constant":
        for axis, (before, after) in enumerate(pairs, first):
            x = _repeated(x, axis, before, after, mode)
        return apart(x, given)
    if any(n < 0 for n in numbers):
        x = _cut(x, first, pairs)
        pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    return arrange.pad(x, [(0, 0)] * first + pairs, constant_values=0.0 if value is None else value)


def _cut(x: Any, first: int, pairs: Sequence[tuple[int, int]]) -> Any:
    """The tensor without what negative margins take away."""
    key = [slice(None)] * first
    key += [slice(max(-a, 0), b if b < 0 else None) for a, b in pairs]
    return x[tuple(key)]


def _repeated(x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    """One axis with a margin of its own elements."""
    n = x.dims[axis]
    if not before and not after:
        return x
    if n is None:
        raise ShapeError(f'mode="{mode}" needs to know the size of the axis', got="an unknown size")
    room = _ROOM[mode](n)
    if room is not None and max(before, after) > room:
        raise InvalidArgumentError(
            f'a margin in mode="{mode}" is not larger than the axis allows', expected=f"{room} or less",
            got=f"{max(before, after)}",
        )  # fmt: skip
    return index.gather(x, _PLACES[mode](np.arange(-before, n + after), n), axis=axis)
