"""Index spaces: how the axes of a loop nest merge, and where each operand's elements lie.

Policy: axes of size 1 vanish, and neighbours become one where every operand runs through both, or through neither; so
what is contiguous becomes one long axis.  Operands are C-contiguous and broadcast by NumPy's rules.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

Pattern = tuple[bool, ...]  # for each axis: whether the operand runs along it, or is repeated


def pattern(dims: Sequence[int], space: Sequence[int]) -> Pattern:
    """How an operand of these dims lies in the space."""
    lead = len(space) - len(dims)
    return (False,) * lead + tuple(d == s for d, s in zip(dims, space[lead:], strict=True))


def reduced(axis: Sequence[int] | None, rank: int) -> Pattern:
    """How the result of a reduction lies in the space of its input."""
    gone = set(range(rank)) if axis is None else {a % rank for a in axis}
    return tuple(i not in gone for i in range(rank))


class Space(NamedTuple):
    """The merged axes, and each operand's pattern over them."""

    dims: tuple[int, ...]
    patterns: tuple[Pattern, ...]

    @property
    def size(self) -> int:
        """How many elements."""
        return prod(self.dims)


def merged(space: Sequence[int], patterns: Sequence[Pattern]) -> Space:
    """The space with as few axes as the patterns allow."""
    dims: list[int] = []
    kept: list[tuple[bool, ...]] = []  # for each axis: along it, by operand
    for axis, size in enumerate(space):
        if size == 1:
            continue
        column = tuple(p[axis] for p in patterns)
        if kept and kept[-1] == column:
            dims[-1] *= size
        else:
            dims.append(size)
            kept.append(column)
    return Space(tuple(dims), tuple(tuple(column[i] for column in kept) for i in range(len(patterns))))


def strides(dims: Sequence[int], along: Pattern) -> tuple[int, ...]:
    """Elements from one index to the next along each axis; 0 where the operand is repeated."""
    out = []
    step = 1
    for size, runs in zip(reversed(dims), reversed(along), strict=True):
        out.append(step if runs else 0)
        step *= size if runs else 1
    return tuple(reversed(out))
