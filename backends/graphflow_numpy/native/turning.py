"""Native transposition of the last two axes of a batch of matrices.

Policy: squares of as many rows as a vector has elements are turned in registers, by interleaving pairs of vectors;
what is left over at the edges goes element by element.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphflow_numpy.native.calls import CALL, ELEMENT, Call
from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder, vector_bytes
from graphflow_numpy.native.nests import BYTES, LLVM, Body, Index, vector

GRAIN = 1 << 14  # elements that are worth a call


class Matrices(NamedTuple):
    """A batch of matrices, one after the other."""

    dtype: str
    batch: int
    rows: int
    columns: int


def turn_call(source: int, target: int, m: Matrices) -> Call:
    """The kernel that writes each matrix transposed."""
    size = m.batch * m.rows * m.columns
    return Call(("turn", m), _build(m), (source,), (target,), CALL + 2 * size * ELEMENT)


def _build(m: Matrices) -> Build:
    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        source, target = body.pointer(0), body.pointer(1)
        of = LLVM[m.dtype]
        size = m.rows * m.columns
        bands = -(-m.rows // _lanes(of))

        def one(i: Index) -> None:
            offset = body.mul(i, size)
            turn(body, of, body.at(source, of, offset), body.at(target, of, offset), m.rows, m.columns)

        if m.batch > 1:
            body.loop("%begin", "%end", 1, one)
        else:
            turn(body, of, source, target, m.rows, m.columns, bands=("%begin", "%end"))
        symbol = module.symbol("turn")
        body.finish(symbol)
        return Entry(symbol, m.batch if m.batch > 1 else bands, 1 if m.batch > 1 else -(-GRAIN // (size // bands + 1)))

    return build


def _lanes(of: str) -> int:
    return vector_bytes() // BYTES[of]


def turn(
    body: Body, of: str, source: str, target: str, rows: int, columns: int, steps: tuple[int, int] | None = None,
    bands: tuple[Index, Index] | None = None,
) -> None:  # fmt: skip
    """Write one matrix transposed; `steps` are from one row to the next, before and after.

    `bands` are those to be turned: as many rows each as a vector has elements, and the rest is the last one.
    """
    before, after = steps or (columns, rows)
    lanes = _lanes(of)
    whole_rows, whole_columns = rows // lanes * lanes, columns // lanes * lanes

    def band(i: Index) -> None:
        here, there = body.at(source, of, body.mul(i, before)), body.at(target, of, i)

        def square(j: Index) -> None:
            _square(body, of, lanes, (body.at(here, of, j), before), (body.at(there, of, body.mul(j, after)), after))

        body.loop(0, whole_columns, lanes, square)
        _single(body, of, (here, before), (there, after), range(lanes), (whole_columns, columns))

    def rest() -> None:
        here, there = body.at(source, of, whole_rows * before), body.at(target, of, whole_rows)
        _single(body, of, (here, before), (there, after), range(rows - whole_rows), (0, columns))

    if bands is None:
        body.loop(0, whole_rows, lanes, band)
        rest()
        return
    begin, end = (body.mul(b, lanes) for b in bands)
    body.loop(begin, body.minimum(end, whole_rows), lanes, band)
    if whole_rows < rows:
        body.when(body.let(f"icmp sgt i64 {end}, {whole_rows}"), rest)


def _single(
    body: Body, of: str, source: tuple[str, int], target: tuple[str, int], rows: Sequence[int], columns: tuple[int, int]
) -> None:
    """Some rows of a range of columns, element by element."""
    (here, step), (there, turned) = source, target

    def column(j: Index) -> None:
        a, b = body.at(here, of, j), body.at(there, of, body.mul(j, turned))
        for r in rows:
            body.store(body.load(a, of, r * step), b, of, r)

    if rows:
        body.loop(columns[0], columns[1], 1, column)


def _square(body: Body, of: str, lanes: int, source: tuple[str, int], target: tuple[str, int]) -> None:
    """A square of vectors, turned in registers."""
    kind = vector(of, lanes)
    rows = [body.load(source[0], of, r * source[1], lanes) for r in range(lanes)]
    half = lanes // 2
    while half:
        # Exchange the upper right and the lower left quarter of each square of 2 * half.
        out = list(rows)
        for first in range(lanes):
            if first & half:
                continue
            second = first + half
            low = [k if not k & half else lanes + k - half for k in range(lanes)]
            high = [k + half if not k & half else lanes + k for k in range(lanes)]
            for place, mask in ((first, low), (second, high)):
                picks = ", ".join(f"i32 {k}" for k in mask)
                out[place] = body.let(
                    f"shufflevector {kind} {rows[first]}, {kind} {rows[second]}, <{lanes} x i32> <{picks}>"
                )
        rows = out
        half //= 2
    for r, value in enumerate(rows):
        body.store(value, target[0], of, r * target[1], lanes)
