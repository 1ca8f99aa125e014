"""Reductions at the end of a loop nest: accumulators in vectors, partial results in scratch memory, a fixed order.

Policy: a result never depends on the number of threads: each unit of the outer index writes a partial result of its
own, and those are combined in their order.  float32 is summed in float64 and rounded once; float64 carries the errors
of its additions along (two-sum), so both are at least as accurate as pairwise summation.  Sums down the columns of a
matrix are made row by row, as NumPy makes them, and in float64 for float32.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphflow_numpy.native import scalars
from graphflow_numpy.native.emission import BITS, FLOATS, Emitter, Function, V


class Kind(NamedTuple):
    """How a reduction works: its op on accumulators, where it begins, what becomes of the total."""

    initial: float
    combine: Callable[[Emitter, V, V], V]
    sums: bool  # in float64, with the count of elements as divisor if `mean`
    mean: bool
    across: str  # LLVM's reduction of one vector


KINDS = {
    "Sum": Kind(-0.0, Emitter.add, True, False, "fadd"),
    "Mean": Kind(-0.0, Emitter.add, True, True, "fadd"),
    "Max": Kind(float("-inf"), scalars.maximum, False, False, "fmaximum"),
    "Min": Kind(float("inf"), scalars.minimum, False, False, "fminimum"),
}


def accumulated_in(kind: Kind, elem: str) -> str:
    """The element type of the accumulators."""
    return "double" if kind.sums else elem


class Accumulator:
    """One running vector (or scalar, with 0 lanes) on the stack, and the error of its additions where it is kept."""

    def __init__(self, f: Function, kind: Kind, elem: str, lanes: int) -> None:
        self._f, self._kind, self._lanes = f, kind, lanes
        self.elem = accumulated_in(kind, elem)
        self._type = f.emitter(lanes).type(self.elem)
        self._total = f.set(f"alloca {self._type}")
        self._error = f.set(f"alloca {self._type}") if kind.sums and elem == "double" else None

    def start(self) -> None:
        """Begin anew."""
        e = self._f.emitter(self._lanes)
        self._f.line(f"store {self._type} {e.constant(self._kind.initial, self.elem).text}, ptr {self._total}")
        if self._error is not None:
            self._f.line(f"store {self._type} {e.constant(0.0, self.elem).text}, ptr {self._error}")

    def take(self, e: Emitter, x: V, mask: V | None) -> None:
        """Add one vector; lanes outside the mask do not count."""
        x = scalars.cast(e, x, self.elem)
        if mask is not None:
            x = e.select(mask, x, e.like(self._kind.initial, x))
        total = e.fresh(f"load {self._type}, ptr {self._total}", self.elem)
        new = self._kind.combine(e, total, x)
        if self._error is not None:
            part = e.sub(new, total)
            slip = e.add(e.sub(total, e.sub(new, part)), e.sub(x, part))
            error = e.add(e.fresh(f"load {self._type}, ptr {self._error}", self.elem), slip)
            e.line(f"store {self._type} {error.text}, ptr {self._error}")
        e.line(f"store {self._type} {new.text}, ptr {self._total}")

    def value(self) -> V:
        """The scalar that all lanes combine to."""
        e = self._f.emitter(self._lanes)
        total = self._across(e, e.fresh(f"load {self._type}, ptr {self._total}", self.elem))
        if self._error is None:
            return total
        slips = e.fresh(f"load {self._type}, ptr {self._error}", self.elem)
        size = scalars.TABLE["IsFinite"](e, slips)  # an infinite sum leaves NaN as its error
        assert size is not None
        return self._f.emitter(0).add(total, self._across(e, e.select(size, slips, e.like(0.0, slips))))

    def _across(self, e: Emitter, x: V) -> V:
        if not self._lanes:
            return x
        name = f"llvm.vector.reduce.{self._kind.across}.v{self._lanes}f{BITS[x.elem]}"
        start, kinds = ("", "") if not self._kind.sums else (f"{x.elem} -0.0, ", f"{x.elem}, ")
        e.intrinsics[f"declare {x.elem} @{name}({kinds}{self._type})"] = None
        flags = "reassoc " if self._kind.sums else ""
        return e.fresh(f"call {flags}{x.elem} @{name}({start}{self._type} {x.text})", x.elem)


def finished(e: Emitter, kind: Kind, total: V, count: int, elem: str) -> V:
    """The result from the total."""
    if kind.mean:
        total = e.div(total, e.like(float(count), total))
    return scalars.cast(e, total, elem) if elem in FLOATS else total


def combine_partials(f: Function, kind: Kind, elem: str, source: str, units: int, count: int, target: str) -> None:
    """One number from `units` partial ones, in their order."""
    total = Accumulator(f, kind, elem, 0)
    total.start()
    with f.loop("partial", "0", str(units)) as u:
        e = f.emitter(0)
        at = f.set(f"getelementptr {total.elem}, ptr {source}, i64 {u}")
        total.take(e, e.fresh(f"load {total.elem}, ptr {at}", total.elem), None)
    found = total.value()
    result = finished(f.emitter(0), kind, found, count, elem)
    f.line(f"store {elem} {result.text}, ptr {target}")


def combine_columns(
    f: Function, kind: Kind, elem: str, lanes: int, source: str, shape: tuple[int, int], count: int, target: str
) -> None:
    """A row of results from `shape[0]` rows of partial ones, each padded to whole vectors."""
    units, width = shape
    inner = accumulated_in(kind, elem)
    padded = -(-width // lanes) * lanes
    with f.loop("column", "0", str(padded), lanes) as j:
        e = f.emitter(lanes)
        at = f.set(f"getelementptr {inner}, ptr {source}, i64 {j}")
        total = e.fresh(f"load {e.type(inner)}, ptr {at}, align 8", inner)
        for u in range(1, units):
            at = f.set(f"getelementptr {inner}, ptr {source}, i64 {u * padded}")
            at = f.set(f"getelementptr {inner}, ptr {at}, i64 {j}")
            total = kind.combine(e, total, e.fresh(f"load {e.type(inner)}, ptr {at}, align 8", inner))
        result = finished(e, kind, total, count, elem)
        store_columns(f, e, result, target, j, width)


def store_columns(f: Function, e: Emitter, x: V, target: str, j: str, width: int) -> None:
    """Store a vector at column `j` of a row, without what is beyond its end."""
    at = f.set(f"getelementptr {x.elem}, ptr {target}, i64 {j}")
    size = BITS[x.elem] // 8
    if width % e.lanes == 0:
        f.line(f"store {e.type(x.elem)} {x.text}, ptr {at}, align {size}")
        return
    steps = ", ".join(f"i64 {k}" for k in range(e.lanes))
    first = e.fresh(f"insertelement <{e.lanes} x i64> poison, i64 {j}, i64 0", "i64")
    lanes = f"<{e.lanes} x i64>"
    all_j = e.fresh(f"shufflevector {lanes} {first.text}, {lanes} poison, <{e.lanes} x i32> zeroinitializer", "i64")
    index = e.fresh(f"add {lanes} {all_j.text}, <{steps}>", "i64")
    mask = e.compare("lt", index, e.like(width, index))
    masked_store(e, x, at, mask)


def masked_store(e: Emitter, x: V, at: str, mask: V) -> None:
    """Store the lanes of the mask."""
    size, of = BITS[x.elem] // 8, e.type(x.elem)
    name = f"llvm.masked.store.v{e.lanes}{'f' if x.elem in FLOATS else 'i'}{BITS[x.elem]}.p0"
    e.intrinsics[f"declare void @{name}({of}, ptr, i32, {e.type('i1')})"] = None
    e.line(f"call void @{name}({of} {x.text}, ptr {at}, i32 {size}, {e.type('i1')} {mask.text})")


def masked_load(e: Emitter, elem: str, at: str, mask: V) -> V:
    """Load the lanes of the mask; the others are 0."""
    size, of = BITS[elem] // 8, e.type(elem)
    name = f"llvm.masked.load.v{e.lanes}{'f' if elem in FLOATS else 'i'}{BITS[elem]}.p0"
    e.intrinsics[f"declare {of} @{name}(ptr, i32, {e.type('i1')}, {of})"] = None
    zero = f"{of} zeroinitializer"
    return e.fresh(f"call {of} @{name}(ptr {at}, i32 {size}, {e.type('i1')} {mask.text}, {zero})", elem)
