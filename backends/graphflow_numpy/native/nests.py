"""The text of one function in LLVM IR: names, loops and memory, so that the kernels can be written as plain Python.

Policy: an index is a Python int where it is known, and the name of an i64 otherwise; sums and products of ints are
made here and leave no trace in the IR.  Loops carry their values as phi nodes, since no pass runs that would lift them
out of memory.  Nothing is reassociated: the IR says what is computed.

State: none beyond the function that is being written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from graphflow_numpy.native.engine import ModuleBuilder, attributes

Index = int | str
LLVM = {"float32": "float", "float64": "double", "int32": "i32", "int64": "i64", "bool": "i8"}
BYTES = {"float": 4, "double": 8, "i8": 1, "i32": 4, "i64": 8, "ptr": 8}


def vector(of: str, count: int) -> str:
    """The type of `count` elements; one element is a scalar."""
    return of if count == 1 else f"<{count} x {of}>"


def _suffix(of: str) -> str:
    return {"float": "f32", "double": "f64"}.get(of, of)


def _mask(count: int, real: int) -> str:
    return "<" + ", ".join("i1 true" if k < real else "i1 false" for k in range(count)) + ">"


class Body:
    """A function `void name(ptr data, i64 begin, i64 end)` while it is being written."""

    def __init__(self, module: ModuleBuilder) -> None:
        self.module = module
        self._lines: list[str] = []
        self.numbers = itertools.count(1)
        self._block = "entry"

    def finish(self, symbol: str) -> None:
        """Put the function into the module."""
        head = f"define void @{symbol}(ptr noalias %data, i64 %begin, i64 %end) {attributes()} {{\nentry:"
        self.module.add("\n".join([head, *self._lines, "  ret void", "}"]))

    def let(self, text: str) -> str:
        """A new name for the value of an instruction."""
        name = f"%v{next(self.numbers)}"
        self._lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a value."""
        self._lines.append(f"  {text}")

    # -- integers ------------------------------------------------------------------------------------------------

    def add(self, *terms: Index) -> Index:
        """The sum of indices."""
        known = sum(t for t in terms if isinstance(t, int))
        names = [t for t in terms if isinstance(t, str)]
        if not names:
            return known
        total = names[0]
        for name in names[1:]:
            total = self.let(f"add nsw i64 {total}, {name}")
        return self.let(f"add nsw i64 {total}, {known}") if known else total

    def sub(self, a: Index, b: Index) -> Index:
        """The difference of two indices."""
        if isinstance(b, int):
            return self.add(a, -b)
        return self.let(f"sub nsw i64 {a}, {b}")

    def whole(self, a: Index, of: int) -> Index:
        """The largest multiple of a power of two that is not above an index."""
        return a // of * of if isinstance(a, int) else self.let(f"and i64 {a}, {-of}")

    def mul(self, a: Index, b: Index) -> Index:
        """The product of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if 0 in (a, b):
            return 0
        if 1 in (a, b):
            return b if a == 1 else a
        return self.let(f"mul nsw i64 {a}, {b}")

    def divmod(self, a: Index, b: int) -> tuple[Index, Index]:
        """Quotient and rest of an index that is not negative."""
        if isinstance(a, int):
            return divmod(a, b)
        if b == 1:
            return a, 0
        quotient = self.let(f"udiv i64 {a}, {b}")
        return quotient, self.let(f"sub i64 {a}, {self.mul(quotient, b)}")

    def minimum(self, a: Index, b: Index) -> Index:
        """The smaller of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        smaller = self.let(f"icmp slt i64 {a}, {b}")
        return self.let(f"select i1 {smaller}, i64 {a}, i64 {b}")

    def maximum(self, a: Index, b: Index) -> Index:
        """The larger of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        larger = self.let(f"icmp sgt i64 {a}, {b}")
        return self.let(f"select i1 {larger}, i64 {a}, i64 {b}")

    # -- memory --------------------------------------------------------------------------------------------------

    def pointer(self, number: Index) -> str:
        """The pointer that stands at a place of the kernel's data."""
        place = self.let(f"getelementptr inbounds ptr, ptr %data, i64 {number}")
        return self.let(f"load ptr, ptr {place}, align 8")

    def at(self, pointer: str, of: str, index: Index) -> str:
        """The address of an element."""
        return pointer if index == 0 else self.let(f"getelementptr inbounds {of}, ptr {pointer}, i64 {index}")

    def load(self, pointer: str, of: str, index: Index, count: int = 1) -> str:
        """`count` elements from an index on."""
        place = self.at(pointer, of, index)
        return self.let(f"load {vector(of, count)}, ptr {place}, align {BYTES[of]}")

    def store(self, value: str, pointer: str, of: str, index: Index, count: int = 1) -> None:
        """Write `count` elements from an index on."""
        place = self.at(pointer, of, index)
        self.do(f"store {vector(of, count)} {value}, ptr {place}, align {BYTES[of]}")

    def load_some(self, pointer: str, of: str, index: Index, count: int, real: int) -> str:
        """The first `real` of `count` elements, and zeros."""
        if real == count:
            return self.load(pointer, of, index, count)
        kind, place = vector(of, count), self.at(pointer, of, index)
        name = f"llvm.masked.load.v{count}{_suffix(of)}.p0"
        self.module.declare(f"declare {kind} @{name}(ptr, i32, <{count} x i1>, {kind})")
        mask = f"<{count} x i1> {_mask(count, real)}"
        return self.let(f"call {kind} @{name}(ptr {place}, i32 {BYTES[of]}, {mask}, {kind} zeroinitializer)")

    def store_some(self, value: str, pointer: str, of: str, index: Index, count: int, real: int) -> None:
        """Write the first `real` of `count` elements."""
        if real == count:
            self.store(value, pointer, of, index, count)
            return
        kind, place = vector(of, count), self.at(pointer, of, index)
        name = f"llvm.masked.store.v{count}{_suffix(of)}.p0"
        self.module.declare(f"declare void @{name}({kind}, ptr, i32, <{count} x i1>)")
        mask = f"<{count} x i1> {_mask(count, real)}"
        self.do(f"call void @{name}({kind} {value}, ptr {place}, i32 {BYTES[of]}, {mask})")

    def spread(self, value: str, of: str, count: int) -> str:
        """A vector of one value."""
        if count == 1:
            return value
        first = self.let(f"insertelement {vector(of, count)} poison, {of} {value}, i64 0")
        mask = f"<{count} x i32> zeroinitializer"
        return self.let(f"shufflevector {vector(of, count)} {first}, {vector(of, count)} poison, {mask}")

    def copy(self, target: str, source: str, size: Index) -> None:
        """Copy bytes."""
        self.module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")

    def clear(self, target: str, size: Index) -> None:
        """Set bytes to zero."""
        self.module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        self.do(f"call void @llvm.memset.p0.i64(ptr {target}, i8 0, i64 {size}, i1 false)")

    # -- arithmetic ----------------------------------------------------------------------------------------------

    def call(self, name: str, result: str, *arguments: tuple[str, str]) -> str:
        """Call a function of the module or an intrinsic; arguments are (type, value)."""
        self.module.declare(f"declare {result} @{name}({', '.join(t for t, _ in arguments)})")
        return self.let(f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in arguments)})")

    def fma(self, a: str, b: str, c: str, of: str, count: int) -> str:
        """A product and a sum, rounded once."""
        kind = vector(of, count)
        name = f"llvm.fma.{_suffix(of)}" if count == 1 else f"llvm.fma.v{count}{_suffix(of)}"
        return self.call(name, kind, (kind, a), (kind, b), (kind, c))

    # -- control -------------------------------------------------------------------------------------------------

    def loop(
        self,
        begin: Index,
        end: Index,
        step: int,
        body: Callable[..., Sequence[str] | None],
        carried: Sequence[tuple[str, str]] = (),
    ) -> list[str]:
        """`for i in range(begin, end, step): carried = body(i, *carried)`; `carried` are (type, first value)."""
        if isinstance(begin, int) and isinstance(end, int):
            if begin >= end:
                return [value for _, value in carried]
            if begin + step >= end:
                return list(body(begin, *[value for _, value in carried]) or ())
        number, before = next(self.numbers), self._block
        sure = isinstance(begin, int) and isinstance(end, int)
        if not sure:
            enough = self.let(f"icmp slt i64 {begin}, {end}")
            self.do(f"br i1 {enough}, label %loop{number}, label %done{number}")
        else:
            self.do(f"br label %loop{number}")
        here = len(self._lines)
        self._enter(f"loop{number}")
        names = [f"%c{number}.{k}" for k in range(len(carried))]
        following = list(body(f"%i{number}", *names) or ())
        self.do(f"%n{number} = add nsw i64 %i{number}, {step}")
        again = self.let(f"icmp slt i64 %n{number}, {end}")
        self.do(f"br i1 {again}, label %loop{number}, label %done{number}")
        last = self._block
        phis = [f"  %i{number} = phi i64 [ {begin}, %{before} ], [ %n{number}, %{last} ]"]
        for name, (kind, first), new in zip(names, carried, following, strict=True):
            phis.append(f"  {name} = phi {kind} [ {first}, %{before} ], [ {new}, %{last} ]")
        self._lines[here + 1 : here + 1] = phis
        self._enter(f"done{number}")
        if sure:
            return following
        results = []
        for (kind, first), new in zip(carried, following, strict=True):
            results.append(self.let(f"phi {kind} [ {first}, %{before} ], [ {new}, %{last} ]"))
        return results

    def when(self, condition: str, body: Callable[[], Any]) -> None:
        """Do something only if an i1 holds."""
        number = next(self.numbers)
        self.do(f"br i1 {condition}, label %then{number}, label %else{number}")
        self._enter(f"then{number}")
        body()
        self.do(f"br label %else{number}")
        self._enter(f"else{number}")

    def _enter(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label
