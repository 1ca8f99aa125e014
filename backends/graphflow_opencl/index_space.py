"""Index spaces: which element of an operand stands at which place, as arithmetic on integers and as C text.

Policy: every operand is C-contiguous and broadcasts to the space, so its strides are those of its own dims, and 0 where
it is repeated.  Dims that no operand tells apart become one, so most spaces have one or two.  The innermost stride is
always 1 or 0.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

LARGEST_INT = 2**31 - 2**20  # some room above, for the index that ends a loop


class Space(NamedTuple):
    """Dims, outermost first, and each operand's strides in elements."""

    dims: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def strides_in(own: Sequence[int], dims: Sequence[int]) -> tuple[int, ...]:
    """The strides of a contiguous array of dims `own`, seen in a space that it broadcasts to."""
    out = [0] * len(dims)
    step = 1
    lead = len(dims) - len(own)
    for i in range(len(own) - 1, -1, -1):
        if own[i] != 1:
            out[lead + i] = step
            step *= own[i]
    return tuple(out)


def collapsed(dims: Sequence[int], operands: Sequence[Sequence[int]]) -> Space:
    """The space of as few dims as the operands, given by their own dims, allow."""
    return merged_dims(dims, [strides_in(own, dims) for own in operands])


def merged_dims(dims: Sequence[int], strides: Sequence[Sequence[int]]) -> Space:
    """The same places in the same order, with as few dims as these strides allow."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for i, size in enumerate(dims):
        if size == 1:
            continue
        if sizes and all(s[-1] == own[i] * size for s, own in zip(steps, strides, strict=True)):
            sizes[-1] *= size
            for s, own in zip(steps, strides, strict=True):
                s[-1] = own[i]
        else:
            sizes.append(size)
            for s, own in zip(steps, strides, strict=True):
                s.append(own[i])
    return Space(tuple(sizes), tuple(tuple(s) for s in steps))


def permuted(space: Space, order: Sequence[int]) -> Space:
    """The dims in another order."""
    return Space(tuple(space.dims[i] for i in order), tuple(tuple(s[i] for i in order) for s in space.strides))


def offset(index: str, dims: Sequence[int], strides: Sequence[int]) -> str:
    """C text: where in an operand the place of that number stands, counted with the last dim fastest."""
    (sizes, (steps,)) = merged_dims(dims, [strides])
    parts = []
    for i, step in enumerate(steps):
        if not step:
            continue
        inner = prod(sizes[i + 1 :])
        text = index if inner == 1 else f"({index} / {inner})"
        if i:
            text = f"({text} % {sizes[i]})"
        parts.append(text if step == 1 else f"{text} * {step}")
    return " + ".join(parts) or "0"


def index_type(*sizes: int) -> str:
    """The C type that counts so many elements."""
    return "int" if all(n < LARGEST_INT for n in sizes) else "long"
