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

    length: Index
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
    t = _Tile(body, at, whole)
    totals = t.level(at.left, at.right, merged(nest), t.first(add))
    for (i, j), total in zip(t.places, totals, strict=True):
        body.store_some(total, at.out, at.of, at.out_rows[i] + j * t.lanes, t.lanes, t.real[j])


class _Tile:
    """The loops of one tile; the sums are passed along as values."""

    def __init__(self, body: Body, at: Operands, whole: bool) -> None:
        self.body, self.at, self.whole = body, at, whole
        self.lanes = at.columns.lanes
        self.kind = vector(at.of, self.lanes)
        self.places = [(i, j) for i in range(len(at.left_rows)) for j in range(at.columns.vectors)]
        self.real = [self.lanes] * (at.columns.vectors - 1) + [at.columns.last]

    def first(self, add: bool | str) -> list[str]:
        """What the sums begin with."""
        at, zero = self.at, "zeroinitializer" if self.lanes > 1 else "0.0"
        if not add:
            return [zero] * len(self.places)
        found = [
            self.body.load_some(at.out, at.of, at.out_rows[i] + j * self.lanes, self.lanes, self.real[j])
            for i, j in self.places
        ]
        if add is True:
            return found
        return [self.body.let(f"select i1 {add}, {self.kind} {x}, {self.kind} {zero}") for x in found]

    def level(self, left: str, right: str, nest: Sequence[Inner], totals: Sequence[str]) -> list[str]:
        """The sums after all loops of a nest."""
        if len(nest) == 1:
            return self.innermost(left, right, nest[0], totals)
        k = nest[0]

        def once(n: Index, *carried: str) -> list[str]:
            return self.level(*self.moved(left, right, k, n), nest[1:], carried)

        return self.body.loop(0, k.length, 1, once, [(self.kind, t) for t in totals])

    def moved(self, left: str, right: str, k: Inner, n: Index) -> tuple[str, str]:
        """The operands after `n` steps of a loop."""
        body, of = self.body, self.at.of
        return body.at(left, of, body.mul(n, k.left)), body.at(right, of, body.mul(n, k.right))

    def innermost(self, left: str, right: str, k: Inner, totals: Sequence[str]) -> list[str]:
        """The last loop, several steps of it written out."""
        unroll = k.length if isinstance(k.length, int) and k.length <= SHORT else UNROLL

        def several(n: Index, *carried: str, count: int = unroll) -> list[str]:
            a, b = self.moved(left, right, k, n)
            found: Sequence[str] = carried
            for number in range(count):
                found = self.step(a, b, k, number, found)
            return list(found)

        def single(n: Index, *carried: str) -> list[str]:
            return several(n, *carried, count=1)

        end = k.length // unroll * unroll if isinstance(k.length, int) else self.body.whole(k.length, unroll)
        found = self.body.loop(0, end, unroll, several, [(self.kind, t) for t in totals])
        if isinstance(k.length, int) or not self.whole:
            found = self.body.loop(end, k.length, 1, single, [(self.kind, t) for t in found])
        return found

    def step(self, left: str, right: str, k: Inner, number: int, totals: Sequence[str]) -> list[str]:
        """The sums with the products of one inner index added."""
        body, of, vectors = self.body, self.at.of, self.at.columns.vectors
        columns = [
            body.load_some(right, of, number * k.right + j * self.lanes, self.lanes, self.real[j])
            for j in range(vectors)
        ]
        out = []
        for i, row in enumerate(self.at.left_rows):
            one = body.spread(body.load(left, of, row + number * k.left), of, self.lanes)
            out += [body.fma(one, columns[j], totals[i * vectors + j], of, self.lanes) for j in range(vectors)]
        return out


def merged(nest: Sequence[Inner]) -> list[Inner]:
    """The nest with as few loops as its strides allow."""
    out: list[Inner] = []
    for k in nest:
        if k.length == 1 and len(nest) > 1:
            continue
        last = out[-1] if out else None
        if (
            last is not None
            and isinstance(k.length, int)
            and isinstance(last.length, int)
            and (last.left, last.right) == (k.left * k.length, k.right * k.length)
        ):
            out[-1] = Inner(last.length * k.length, k.left, k.right)
        else:
            out.append(k)
    return out or [Inner(1, 0, 0)]
