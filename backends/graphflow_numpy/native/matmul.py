"""Native matrix products: small ones in registers (see `tiles`), large ones by BLAS.

Policy: a transposed right operand is turned in scratch memory first, as columns have to lie side by side.

State: none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import NamedTuple

from graphflow.program import Instruction
from graphflow_numpy.native import blas_calls, tiles
from graphflow_numpy.native.calls import CALL, Call, Scope, maker
from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder, vector_bytes
from graphflow_numpy.native.nests import BYTES, LLVM, Body, Index
from graphflow_numpy.native.tiles import Columns, Inner, Operands
from graphflow_numpy.native.turning import Matrices, turn, turn_call

SMALL = 32**3  # m * n * k up to which one thread does all of a product
MEDIUM = 64**3  # and up to which own loops are quicker than any BLAS
OWN_BYTES = 64  # of a vector, from which on they always are: OpenBLAS leaves half of AVX-512 unused
OWN_FLOPS = 5e-12  # seconds, with the widest vectors
DEPTH = 1024  # inner indices summed before the next part of them is added
UNIT = 1 << 19  # m * n * k of a unit of work, more or less
ROWS = 14  # at most, of a tile


class Product(NamedTuple):
    """`c = a @ b` for each matrix of a batch: all that its code depends on."""

    dtype: str
    m: int
    n: int
    k: int
    turned: tuple[bool, bool]
    batch: int
    strides: tuple[int, int]  # elements from one matrix of `a` and of `b` to the next


@maker("MatMul", "BatchMatMul")
def _matmul(scope: Scope, ins: Instruction) -> list[Call] | None:
    p = _product(scope, ins)
    if p is None:
        return None
    work = p.m * p.n * p.k
    seconds = CALL + 2 * OWN_FLOPS * work * p.batch
    if work <= SMALL:
        return [Call(("small product", p), _small(p), ins.inputs, ins.outputs, seconds)]
    own = min(p.m, p.n) > 1 and (vector_bytes() >= OWN_BYTES or work <= MEDIUM)
    if not own and blas_calls.gemm(p.dtype) is not None:
        build = blas_calls.product(p.dtype, p.m, p.n, p.k, p.turned, p.batch, p.strides)
        return [Call(("gemm", p), build, ins.inputs, ins.outputs, seconds)]
    if not own:
        return None
    a, b = ins.inputs
    calls = []
    if p.turned[1] and p.n > 1:
        known = scope.values[b]
        turned = scope.temporary(known.dtype, scope.dims(b))
        calls.append(turn_call(b, turned, Matrices(p.dtype, p.batch if p.strides[1] else 1, p.n, p.k)))
        b, p = turned, p._replace(turned=(p.turned[0], False))
    return [*calls, Call(("product", p), _large(p), (a, b), ins.outputs, seconds)]


def _product(scope: Scope, ins: Instruction) -> Product | None:
    a, b = ins.inputs
    (out,) = ins.outputs
    dtype = scope.dtype(a)
    if dtype not in ("float32", "float64") or len(scope.dims(a)) != len(scope.dims(b)) or len(scope.dims(a)) < 2:
        return None
    turned = bool(ins.attrs["transpose_a"]), bool(ins.attrs["transpose_b"])
    *lead, m, n = scope.dims(out)
    strides = []
    for v in (a, b):
        dims = scope.dims(v)
        if list(dims[:-2]) != lead and any(d != 1 for d in dims[:-2]):
            return None
        strides.append(dims[-1] * dims[-2] if list(dims[:-2]) == lead else 0)
    k = scope.dims(a)[-2 if turned[0] else -1]
    return Product(dtype, m, n, k, turned, prod(lead), (strides[0], strides[1]))


def _small(p: Product) -> Build:
    of = LLVM[p.dtype]
    packs = p.turned[1] and p.n > 1 and p.k > 1
    scratch = (p.n * p.k * BYTES[of],) if packs else ()

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        a, b, c = (body.pointer(i) for i in range(3))
        packed = body.pointer(3) if packs else ""

        def one(i: Index) -> None:
            places = [body.at(x, of, body.mul(i, s)) for x, s in ((a, p.strides[0]), (b, p.strides[1]), (c, p.m * p.n))]
            if packs:
                turn(body, of, places[1], packed, p.n, p.k)
                places[1] = packed
            _tiled(body, p, of, places)

        body.loop(0 if packs else "%begin", p.batch if packs else "%end", 1, one)
        symbol = module.symbol("product")
        body.finish(symbol)
        return Entry(symbol, 1 if packs else p.batch, scratch=scratch)

    return build


def _tiled(body: Body, p: Product, of: str, places: list[str]) -> None:
    """All tiles of one product."""
    a, b, c = places
    row_step, inner_step = (1, p.m) if p.turned[0] else (p.k, 1)
    nest = [Inner(p.k, inner_step, p.n)]
    for first, columns in tiles.column_blocks(p.n, of, tiles.VECTORS):
        most = min(ROWS, tiles.registers() // columns.vectors)
        blocks = tiles.even_blocks(p.m, most)
        size = blocks[0][1]
        whole = sum(1 for _, count in blocks if count == size)

        def rows(i: Index, count: int = size, first: int = first, columns: Columns = columns) -> None:
            at = Operands(
                of,
                body.at(a, of, body.mul(i, row_step)),
                body.at(b, of, first),
                body.at(body.at(c, of, body.mul(i, p.n)), of, first),
                tuple([r * row_step for r in range(count)]),
                tuple([r * p.n for r in range(count)]),
                columns,
            )
            tiles.tile(body, at, nest)

        body.loop(0, whole * size, size, rows)
        if whole < len(blocks):
            rows(*blocks[-1])


# -- large products --------------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """How a product is cut: blocks of columns, and chunks of rows made of tiles."""

    columns: tuple[tuple[int, Columns], ...]
    tile: int  # rows
    chunk: int  # rows

    def chunks(self, rows: int) -> int:
        """How many chunks there are."""
        return -(-rows // self.chunk)


def _grid(p: Product, of: str) -> _Grid:
    columns = tuple(tiles.column_blocks(p.n, of, tiles.VECTORS))
    most = min(ROWS, tiles.registers() // columns[0][1].vectors)
    size = tiles.even_blocks(p.m, most)[0][1]
    count = max(1, round(UNIT / (size * columns[0][1].width * p.k)))
    return _Grid(columns, size, min(size * count, -(-p.m // size) * size))


def _large(p: Product) -> Build:
    of = LLVM[p.dtype]
    grid = _grid(p, of)
    chunks = grid.chunks(p.m)
    per_matrix = chunks * len(grid.columns)

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        pointers = [body.pointer(i) for i in range(3)]

        def unit(u: Index) -> None:
            matrix, rest = body.divmod(u, per_matrix)
            block, chunk = body.divmod(rest, chunks)
            steps = (*p.strides, p.m * p.n)
            a, b, c = (body.at(x, of, body.mul(matrix, s)) for x, s in zip(pointers, steps, strict=True))
            kinds: dict[Columns, list[int]] = {}
            for number, (_, columns) in enumerate(grid.columns):
                kinds.setdefault(columns, []).append(number)
            width = grid.columns[0][1].vectors * grid.columns[0][1].lanes
            first = body.mul(block, width)
            b, c = body.at(b, of, first), body.at(c, of, first)
            for columns, numbers in kinds.items():
                code = functools.partial(_chunk, body, p, of, grid, columns, (a, b, c), chunk)
                _chosen(body, block, numbers, len(grid.columns), code)

        body.loop("%begin", "%end", 1, unit)
        symbol = module.symbol("product")
        body.finish(symbol)
        return Entry(symbol, p.batch * per_matrix)

    return build


def _chosen(body: Body, number: Index, numbers: list[int], count: int, code: Callable[[], None]) -> None:
    """The code, for these consecutive values of a number that is below `count`."""
    if len(numbers) == count:
        code()
        return
    if numbers[0]:
        body.when(body.let(f"icmp sge i64 {number}, {numbers[0]}"), code)
    else:
        body.when(body.let(f"icmp slt i64 {number}, {numbers[-1] + 1}"), code)


def _chunk(
    body: Body, p: Product, of: str, grid: _Grid, columns: Columns, places: tuple[str, str, str], chunk: Index
) -> None:
    """One chunk of rows of one block of columns, part after part of the inner indices."""
    a, b, c = places
    row_step, inner_step = (1, p.m) if p.turned[0] else (p.k, 1)
    begin = body.mul(chunk, grid.chunk)
    end = body.minimum(body.add(begin, grid.chunk), p.m)

    def part(first: Index) -> None:
        depth = body.minimum(body.sub(p.k, first), DEPTH)
        add: bool | str = p.k > DEPTH and body.let(f"icmp ne i64 {first}, 0")
        left = body.at(a, of, body.mul(first, inner_step))
        right = body.at(b, of, body.mul(first, p.n))

        def rows(i: Index, count: int = grid.tile) -> None:
            at = Operands(
                of,
                body.at(left, of, body.mul(i, row_step)),
                right,
                body.at(c, of, body.mul(i, p.n)),
                tuple([r * row_step for r in range(count)]),
                tuple([r * p.n for r in range(count)]),
                columns,
            )
            tiles.tile(body, at, [Inner(depth, inner_step, p.n)], add, p.k % tiles.UNROLL == 0)

        rest = p.m % grid.tile
        if rest and p.k <= DEPTH and p.m > grid.tile:  # the last tile begins earlier: some rows are made twice
            body.loop(begin, end, grid.tile, lambda i: rows(body.minimum(i, p.m - grid.tile)))
            return
        body.loop(begin, body.add(end, 1 - grid.tile), grid.tile, rows)
        if rest:
            body.when(body.let(f"icmp eq i64 {end}, {p.m}"), lambda: rows(p.m - rest, rest))

    body.loop(0, p.k, DEPTH, part)
