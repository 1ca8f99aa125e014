"""The heart of products and convolutions: a tile of sums that stays in registers.

Policy: a tile is a few rows by a few vectors of columns.  For each inner index, one element of each row is spread over
a vector and multiplied with the vectors of columns; the inner indices form a nest of loops with constant strides, so
a window over an image is summed where it lies and nothing is unrolled into a matrix first.  Sums are made in the order
of the inner indices with one rounding a step (fma), however the work is shared.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphflow_numpy.native.engine import vector_bytes
from graphflow_numpy.native.nests import BYTES, Body, Index, vector

VECTORS = 2  # of columns in a tile, at most: with more of them, fewer rows share what is read of the right operand
UNROLL = 2  # inner indices written out
SHORT = 5  # a loop of up to so many steps is written out whole


class Inner(NamedTuple):
    """One loop over inner indices: its length, and how far each operand moves, in elements.

    A length that is known only when it runs belongs to the only loop of a nest.
    """

    count: Index
    left: int
    right: int


class Columns(NamedTuple):
    """Vectors of columns: the elements of a vector, and how many of the last one are real."""

    lanes: int
    vectors: int
    last: int

    @property
    def width(self) -> int:
        """How many columns."""
        return (self.vectors - 1) * self.lanes + self.last


def lanes_for(of: str, columns: int) -> int:
    """The elements of a vector: the machine's, or fewer where the columns do not fill it."""
    lanes = 1
    while lanes < columns and lanes * BYTES[of] < vector_bytes():
        lanes *= 2
    return lanes


def registers() -> int:
    """Vectors that may be sums: those that the machine has, less a few for operands."""
    return 28 if vector_bytes() == 64 else 12


def column_blocks(columns: int, of: str, most: int) -> list[tuple[int, Columns]]:
    """All columns as blocks of up to `most` vectors: where each begins, and its vectors."""
    lanes = lanes_for(of, columns)
    vectors = -(-columns // lanes)
    blocks = -(-vectors // most)
    size = -(-vectors // blocks)
    out = []
    for first in range(0, vectors, size):
        count = min(size, vectors - first)
        rest = columns - (first + count - 1) * lanes
        out.append((first * lanes, Columns(lanes, count, min(lanes, rest))))
    return out


def even_blocks(count: int, most: int) -> list[tuple[int, int]]:
    """`count` rows as blocks of nearly equal size, at most `most`: (first, how many)."""
    blocks = -(-count // most)
    size = -(-count // blocks)
    return [(first, min(size, count - first)) for first in range(0, count, size)]


class Operands(NamedTuple):
    """Where a tile works: pointers, the offsets of its rows in the left operand and in the result."""

    of: str
    left: str
    right: str
    out: str
    left_rows: tuple[int, ...]
    out_rows: tuple[int, ...]
    columns: Columns


def tile(body: Body, at: Operands, nest: Sequence[Inner], add: bool | str = False, whole: bool = False) -> None:
    """`out[i, j] = sum over the nest of left[i, k] * right[k, j]`, or added to what is there.

    `add` may be an i1; `whole` promises that a length that is not known yet is a multiple of UNROLL.
    """
    lanes, columns = at.columns.lanes, at.columns
    kind = vector(at.of, lanes)
    places = [(i, j) for i in range(len(at.left_rows)) for j in range(columns.vectors)]
    reals = [lanes] * (columns.vectors - 1) + [columns.last]
    first = "zeroinitializer" if lanes > 1 else "0.0"
    sums = [first] * len(places)
    if add:
        sums = [body.load_some(at.out, at.of, at.out_rows[i] + j * lanes, lanes, reals[j]) for i, j in places]
    if isinstance(add, str):
        sums = [body.let(f"select i1 {add}, {kind} {found}, {kind} {first}") for found in sums]

    def step(left: str, right: str, k: Inner, number: int, totals: list[str]) -> list[str]:
        vectors = [
            body.load_some(right, at.of, number * k.right + j * lanes, lanes, reals[j]) for j in range(columns.vectors)
        ]
        out = []
        for i, row in enumerate(at.left_rows):
            one = body.spread(body.load(left, at.of, row + number * k.left), at.of, lanes)
            for j in range(columns.vectors):
                out.append(body.fma(one, vectors[j], totals[i * columns.vectors + j], at.of, lanes))
        return out

    def innermost(left: str, right: str, k: Inner, totals: list[str]) -> list[str]:
        unroll = k.count if isinstance(k.count, int) and k.count <= SHORT else UNROLL
        end = k.count // unroll * unroll if isinstance(k.count, int) else body.whole(k.count, unroll)

        def several(n: Index, *carried: str) -> list[str]:
            a = body.at(left, at.of, body.mul(n, k.left))
            b = body.at(right, at.of, body.mul(n, k.right))
            found = list(carried)
            for number in range(unroll):
                found = step(a, b, k, number, found)
            return found

        totals = body.loop(0, end, unroll, several, [(kind, t) for t in totals])
        if isinstance(end, int) and isinstance(k.count, int):
            for number in range(end, k.count):
                totals = step(left, right, k, number, totals)
        elif not whole:

            def single(n: Index, *carried: str) -> list[str]:
                a, b = body.at(left, at.of, body.mul(n, k.left)), body.at(right, at.of, body.mul(n, k.right))
                return step(a, b, k, 0, list(carried))

            totals = body.loop(end, k.count, 1, single, [(kind, t) for t in totals])
        return totals

    def level(left: str, right: str, rest: Sequence[Inner], totals: list[str]) -> list[str]:
        if len(rest) == 1:
            return innermost(left, right, rest[0], totals)
        k = rest[0]

        def once(n: Index, *carried: str) -> list[str]:
            a = body.at(left, at.of, body.mul(n, k.left))
            b = body.at(right, at.of, body.mul(n, k.right))
            return level(a, b, rest[1:], list(carried))

        return body.loop(0, k.count, 1, once, [(kind, t) for t in totals])

    totals = level(at.left, at.right, merged(nest), sums)
    for (i, j), total in zip(places, totals, strict=True):
        body.store_some(total, at.out, at.of, at.out_rows[i] + j * lanes, lanes, reals[j])


def merged(nest: Sequence[Inner]) -> list[Inner]:
    """The nest with as few loops as its strides allow."""
    out: list[Inner] = []
    for k in nest:
        if k.count == 1 and len(nest) > 1:
            continue
        last = out[-1] if out else None
        plain = last is not None and isinstance(k.count, int) and isinstance(last.count, int)
        if plain and (last.left, last.right) == (k.left * k.count, k.right * k.count):
            out[-1] = Inner(last.count * k.count, k.left, k.right)
        else:
            out.append(k)
    return out or [Inner(1, 0, 0)]
