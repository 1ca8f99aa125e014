"""Native kernels that go through memory once from its beginning to its end: updates of variables, copies, sums of many.

Policy: elements are taken a few vectors at a time, and every vector is loaded before it is stored, so the result may
lie where the first operand does.  The arithmetic is that of NumPy's ufuncs, bit for bit.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable

from graphflow.program import Instruction
from graphflow_numpy.native.calls import CALL, ELEMENT, Call, Scope, maker
from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder, vector_bytes
from graphflow_numpy.native.nests import BYTES, LLVM, Body, Index, vector

UNROLL = 4  # vectors at a time
BLOCK = 1 << 14  # elements of a unit of work
_FLOATING = {"add": "fadd", "sub": "fsub", "mul": "fmul"}


def over(body: Body, begin: Index, end: Index, of: str, step: Callable[[Index, int], None]) -> None:
    """`step(index, count)` for all elements of a range: several vectors, then one, then one element at a time."""
    lanes = vector_bytes() // BYTES[of]
    for count in (UNROLL * lanes, lanes, 1):
        body.loop(begin, body.add(end, 1 - count), count, lambda i, count=count: step(i, count))
        begin = body.add(begin, body.whole(body.sub(end, begin), count))


def combine(op: str, dtype: str, size: int) -> Build:
    """`out = a op b`, element by element; the op is add, sub, or copy, which takes `b` alone."""
    of = LLVM[dtype]
    blocks = -(-size // BLOCK)

    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        pointers = [body.pointer(k) for k in range(2 if op == "copy" else 3)]

        def step(i: Index, count: int) -> None:
            kind = vector(of, count)
            loaded = [body.load(p, of, i, count) for p in pointers[:-1]]
            code = _FLOATING[op] if of in ("float", "double") and op in _FLOATING else op
            value = loaded[0] if op == "copy" else body.let(f"{code} {kind} {loaded[0]}, {loaded[1]}")
            body.store(value, pointers[-1], of, i, count)

        first = body.mul("%begin", BLOCK)
        over(body, first, body.minimum(body.mul("%end", BLOCK), size), of, step)
        symbol = module.symbol(op)
        body.finish(symbol)
        return Entry(symbol, blocks)

    return build


def copy_call(scope: Scope, source: int, target: int) -> Call:
    """A copy of all elements in their order."""
    size, dtype = scope.size(source), scope.dtype(source)
    return Call(
        ("combine", "copy", dtype, size), combine("copy", dtype, size), (source,), (target,), CALL + size * ELEMENT
    )


def update_call(scope: Scope, op: str, old: int, delta: int, new: int) -> Call:
    """`new = old op delta`."""
    size, dtype = scope.size(delta), scope.dtype(delta)
    build = combine(op, dtype, size)
    return Call(("combine", op, dtype, size), build, (old, delta), (new,), CALL + 2 * size * ELEMENT)


@maker("AddN")
def _add_n(scope: Scope, ins: Instruction) -> list[Call] | None:
    terms = ins.inputs
    if len(terms) < 2 or any(scope.dims(v) != scope.dims(terms[0]) for v in terms):
        return None
    size, dtype = scope.size(terms[0]), scope.dtype(terms[0])
    if dtype not in ("float32", "float64"):
        return None
    key = ("add_n", len(terms), dtype, size)
    build = _sum_of_many(len(terms), LLVM[dtype], size)
    return [Call(key, build, terms, ins.outputs, CALL + len(terms) * size * ELEMENT)]


def _sum_of_many(terms: int, of: str, size: int) -> Build:
    def build(module: ModuleBuilder) -> Entry:
        body = Body(module)
        out = body.pointer(terms)

        def step(i: Index, count: int) -> None:
            kind = vector(of, count)

            def add(k: Index, total: str) -> list[str]:
                term = body.load(body.pointer(k), of, i, count)
                return [body.let(f"fadd {kind} {total}, {term}")]

            first = body.load(body.pointer(0), of, i, count)
            (total,) = body.loop(1, terms, 1, add, [(kind, first)])
            body.store(total, out, of, i, count)

        first = body.mul("%begin", BLOCK)
        over(body, first, body.minimum(body.mul("%end", BLOCK), size), of, step)
        symbol = module.symbol("add_n")
        body.finish(symbol)
        return Entry(symbol, -(-size // BLOCK))

    return build
