"""Native kernels of softmax and its kin: each row in three short passes that stay in the first-level cache.

Policy: the largest element is subtracted first; sums are made as `reductions` makes them; what is impossible and
unlabelled counts as 0 in a cross-entropy, as it does in NumPy's kernel.  A row that holds a NaN, or -inf alone, gives
NaN.

State: none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import prod

from graphflow.program import Instruction
from graphflow_numpy.native import polynomials, reductions, scalars
from graphflow_numpy.native.calls import CALL, Call, Scope, maker
from graphflow_numpy.native.emission import BITS, Emitter, Function, V
from graphflow_numpy.native.engine import Build, Entry, ModuleBuilder, attributes, vector_bytes
from graphflow_numpy.native.nests import LLVM
from graphflow_numpy.native.reductions import KINDS, Accumulator

ELEMENTS = 2048  # of a unit of work, more or less
SECONDS = 1.5e-9  # for one element on one core

Pass = Callable[[Emitter, str, "V | None"], None]


class _Rows:
    """The code of one row after the other: State: the function that is being written."""

    def __init__(self, of: str, width: int) -> None:
        self.f = Function(itertools.count())
        self.of, self.width = of, width
        self.lanes = 2
        while self.lanes < min(width, vector_bytes() * 8 // BITS[of]):
            self.lanes *= 2
        self.largest = Accumulator(self.f, KINDS["Max"], of, self.lanes)
        self.total = Accumulator(self.f, KINDS["Sum"], of, self.lanes)
        self.other = Accumulator(self.f, KINDS["Sum"], of, self.lanes)

    def along(self, step: Pass) -> None:
        """One pass over the row; the last vector gets a mask where the row does not fill it."""
        whole = self.width // self.lanes * self.lanes
        if whole == self.lanes:
            step(self.f.emitter(self.lanes), "0", None)
        elif whole:
            with self.f.loop("at", "0", str(whole), self.lanes) as i:
                step(self.f.emitter(self.lanes), i, None)
        if whole < self.width:
            bits = ", ".join("i1 true" if k < self.width - whole else "i1 false" for k in range(self.lanes))
            step(self.f.emitter(self.lanes), str(whole), V(f"<{bits}>", "i1"))

    def load(self, e: Emitter, row: str, i: str, mask: V | None) -> V:
        at = self.f.set(f"getelementptr {self.of}, ptr {row}, i64 {i}")
        if mask is not None:
            return reductions.masked_load(e, self.of, at, mask)
        return e.fresh(f"load {e.type(self.of)}, ptr {at}, align {BITS[self.of] // 8}", self.of)

    def store(self, e: Emitter, x: V, row: str, i: str, mask: V | None) -> None:
        at = self.f.set(f"getelementptr {self.of}, ptr {row}, i64 {i}")
        if mask is not None:
            reductions.masked_store(e, x, at, mask)
        else:
            self.f.line(f"store {e.type(self.of)} {x.text}, ptr {at}, align {BITS[self.of] // 8}")

    def spread(self, x: V) -> V:
        """One number in every lane."""
        of = f"<{self.lanes} x {x.elem}>"
        first = self.f.set(f"insertelement {of} poison, {x.elem} {x.text}, i64 0")
        mask = f"<{self.lanes} x i32> zeroinitializer"
        return V(self.f.set(f"shufflevector {of} {first}, {of} poison, {mask}"), x.elem)

    def start_total(self) -> None:
        """Begin the sum of the exponentials at -1: the largest one is 1, and what is left over keeps its digits."""
        self.total.start()
        lanes = ", ".join(f"{self.of} {'-1.0' if k == 0 else '0.0'}" for k in range(self.lanes))
        self.total.take(self.f.emitter(self.lanes), V(f"<{lanes}>", self.of), None)

    def total_of(self) -> tuple[V, V]:
        """The sum of the exponentials, and its logarithm."""
        e = self.f.emitter(0)
        less = self.sum_of(self.total)
        return e.add(less, e.like(1.0, less)), polynomials.log1p(e, less)

    def sum_of(self, total: Accumulator) -> V:
        """A sum in the dtype of the row."""
        return scalars.cast(self.f.emitter(0), total.value(), self.of)

    def maximum_of(self, row: str) -> V:
        """The largest element of a row, in every lane."""
        self.largest.start()
        self.along(lambda e, i, mask: self.largest.take(e, self.load(e, row, i, mask), mask))
        return self.spread(self.largest.value())


def _softmax(r: _Rows, x: str, out: str) -> None:
    top = r.maximum_of(x)
    r.start_total()

    def first(e: Emitter, i: str, mask: V | None) -> None:
        y = polynomials.exp(e, e.sub(r.load(e, x, i, mask), top))
        r.total.take(e, y, mask)
        r.store(e, y, out, i, mask)

    r.along(first)
    total = r.spread(r.total_of()[0])
    r.along(lambda e, i, mask: r.store(e, e.div(r.load(e, out, i, mask), total), out, i, mask))


def _log_softmax(r: _Rows, x: str, out: str) -> None:
    top = r.maximum_of(x)
    r.start_total()

    def first(e: Emitter, i: str, mask: V | None) -> None:
        y = e.sub(r.load(e, x, i, mask), top)
        r.total.take(e, polynomials.exp(e, y), mask)
        r.store(e, y, out, i, mask)

    r.along(first)
    shift = r.spread(r.total_of()[1])
    r.along(lambda e, i, mask: r.store(e, e.sub(r.load(e, out, i, mask), shift), out, i, mask))


def _cross_entropy(r: _Rows, x: str, labels: str, loss: str, gradient: str) -> None:
    top = r.maximum_of(x)
    r.start_total()

    def first(e: Emitter, i: str, mask: V | None) -> None:
        y = e.sub(r.load(e, x, i, mask), top)
        r.total.take(e, polynomials.exp(e, y), mask)
        r.store(e, y, gradient, i, mask)

    r.along(first)
    total, log_total = r.total_of()
    log_total = r.spread(log_total)
    r.total.start()
    r.other.start()

    def second(e: Emitter, i: str, mask: V | None) -> None:
        wanted = r.load(e, labels, i, mask)
        part = e.mul(e.sub(log_total, r.load(e, gradient, i, mask)), wanted)
        zero = e.like(0.0, part)
        r.total.take(e, e.select(e.compare("eq", wanted, zero), zero, part), mask)
        r.other.take(e, wanted, mask)

    r.along(second)
    r.f.line(f"store {r.of} {r.sum_of(r.total).text}, ptr {loss}")
    share = r.spread(r.f.emitter(0).div(r.sum_of(r.other), total))

    def third(e: Emitter, i: str, mask: V | None) -> None:
        y = e.mul(polynomials.exp(e, r.load(e, gradient, i, mask)), share)
        r.store(e, e.sub(y, r.load(e, labels, i, mask)), gradient, i, mask)

    r.along(third)


# what computes a row, and for each of its pointers: whether it moves on by a row, or by one element
_BODIES: dict[str, tuple[Callable[..., None], tuple[bool, ...]]] = {
    "Softmax": (_softmax, (True, True)),
    "LogSoftmax": (_log_softmax, (True, True)),
    "SoftmaxCrossEntropyWithLogits": (_cross_entropy, (True, True, False, True)),
}


def _build(type: str, dtype: str, rows: int, width: int) -> Build:
    body, whole = _BODIES[type]
    per_unit = min(rows, max(1, ELEMENTS // width))

    def build(module: ModuleBuilder) -> Entry:
        r = _Rows(LLVM[dtype], width)
        f = r.f
        pointers = [f.pointer(k) for k in range(len(whole))]
        first = f.set(f"mul i64 %begin, {per_unit}")
        last = f.set(f"mul i64 %end, {per_unit}")
        below = f.set(f"icmp slt i64 {last}, {rows}")
        last = f.set(f"select i1 {below}, i64 {last}, i64 {rows}")
        with f.loop("row", first, last) as row:
            offset = f.set(f"mul i64 {row}, {width}")
            places = [
                f.set(f"getelementptr {r.of}, ptr {p}, i64 {offset if w else row}")
                for p, w in zip(pointers, whole, strict=True)
            ]
            body(r, *places)
        symbol = module.symbol("rows")
        for line in f.intrinsics:
            module.declare(line)
        module.add(f.text(symbol, attributes()))
        return Entry(symbol, -(-rows // per_unit))

    return build


@maker(*_BODIES)
def _rows(scope: Scope, ins: Instruction) -> list[Call] | None:
    x = ins.inputs[0]
    dims, dtype = scope.dims(x), scope.dtype(x)
    if dtype not in ("float32", "float64") or not dims:
        return None
    if any(scope.dims(v) != dims or scope.dtype(v) != dtype for v in ins.inputs):
        return None
    rows, width = prod(dims[:-1]), dims[-1]
    build = _build(ins.type, dtype, rows, width)
    shapes = [dims] if len(ins.outputs) == 1 else [dims[:-1], dims]
    known = scope.values[x].dtype
    outputs = [v if v >= 0 else scope.temporary(known, shape) for v, shape in zip(ins.outputs, shapes, strict=True)]
    seconds = CALL + rows * width * SECONDS
    return [Call((ins.type, dtype, rows, width), build, ins.inputs, tuple(outputs), seconds)]
