"""Writing LLVM IR: typed values and the instructions of one block, over vectors of `lanes` elements or over scalars.

Policy: the same emitters write vector and scalar code, for they see element types alone.  Equal instructions are
written once (none of them reads memory).  Floating-point operations carry no fast-math flags, so NaN and infinities
behave and arithmetic gives NumPy's bits; `fma` may be fused or not, as the machine likes.

State: the text and the known values of one `Emitter`.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

FLOATS = frozenset({"float", "double"})
BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "float": 32, "double": 64}
INTEGER_OF = {"float": "i32", "double": "i64"}


class V(NamedTuple):
    """A value: its text as an operand, its element type, and what else is known of it."""

    text: str
    elem: str
    unsigned: bool = False
    known: float | int | bool | None = None  # the number, if it is a constant


def literal(value: float | int | bool, elem: str) -> str:
    """A scalar constant; those of floats are written as the bits of the double that has their value."""
    if elem in FLOATS:
        if elem == "float":
            value = struct.unpack("<f", _single(float(value)))[0]
        return "0x" + struct.pack(">d", value).hex().upper()
    if elem == "i1":
        return "true" if value else "false"
    return str(int(value))


def _single(value: float) -> bytes:
    """The nearest float32's bytes; what is too large is infinite."""
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


class Emitter:
    """The instructions of a block."""

    def __init__(self, lanes: int, numbers: Iterator[int]) -> None:
        self.lanes = lanes  # 0: scalars
        self.lines: list[str] = []
        self.intrinsics: dict[str, None] = {}
        self.function: Function | None = None  # where blocks can be opened
        self._numbers = numbers
        self._known: dict[tuple[str, str], str] = {}

    # -- types and constants -----------------------------------------------------------------------------------------

    def type(self, elem: str) -> str:
        """The type of a value with such elements."""
        return f"<{self.lanes} x {elem}>" if self.lanes else elem

    def constant(self, value: float | int | bool, elem: str) -> V:
        """The same number in each lane."""
        text = literal(value, elem)
        return V(f"splat ({elem} {text})" if self.lanes else text, elem, known=value)

    def like(self, value: float | int | bool, x: V) -> V:
        """A constant of another value's type."""
        return self.constant(value, x.elem)._replace(unsigned=x.unsigned)

    # -- raw instructions --------------------------------------------------------------------------------------------

    def name(self) -> str:
        """A fresh register."""
        return f"%v{next(self._numbers)}"

    def line(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def fresh(self, text: str, elem: str, unsigned: bool = False) -> V:
        """An instruction with a result that is never shared: a load."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return V(name, elem, unsigned)

    def shared(self, text: str, elem: str, unsigned: bool = False) -> V:
        """An instruction that depends on its operands alone."""
        key = text, elem
        if key not in self._known:
            self._known[key] = self.fresh(text, elem).text
        return V(self._known[key], elem, unsigned)

    def intrinsic(self, name: str, *args: V) -> V:
        """A call of `llvm.<name>` on values of one type."""
        elem = args[0].elem
        of = self.type(elem)
        suffix = f"{'v' + str(self.lanes) if self.lanes else ''}{'f' if elem in FLOATS else 'i'}{BITS[elem]}"
        self.intrinsics[f"declare {of} @llvm.{name}.{suffix}({', '.join([of] * len(args))})"] = None
        return self.shared(f"call {of} @llvm.{name}.{suffix}({', '.join(f'{of} {a.text}' for a in args)})", elem)

    def _binary(self, floating: str, integer: str, a: V, b: V) -> V:
        opcode = floating if a.elem in FLOATS else integer
        return self.shared(f"{opcode} {self.type(a.elem)} {a.text}, {b.text}", a.elem, a.unsigned)

    # -- arithmetic --------------------------------------------------------------------------------------------------

    def add(self, a: V, b: V) -> V:
        """a + b; integers wrap."""
        return self._binary("fadd", "add", a, b)

    def sub(self, a: V, b: V) -> V:
        """a - b; integers wrap."""
        return self._binary("fsub", "sub", a, b)

    def mul(self, a: V, b: V) -> V:
        """a * b; integers wrap."""
        return self._binary("fmul", "mul", a, b)

    def div(self, a: V, b: V) -> V:
        """a / b, of floats."""
        return self._binary("fdiv", "sdiv", a, b)

    def neg(self, a: V) -> V:
        """-a."""
        if a.elem in FLOATS:
            return self.shared(f"fneg {self.type(a.elem)} {a.text}", a.elem)
        return self.sub(self.like(0, a), a)

    def fma(self, a: V, b: V, c: V) -> V:
        """a * b + c, rounded once where the machine can."""
        return self.intrinsic("fmuladd", a, b, c)

    def horner(self, coefficients: tuple[float, ...], x: V) -> V:
        """A polynomial, highest power first."""
        total = self.like(coefficients[0], x)
        for c in coefficients[1:]:
            total = self.fma(total, x, self.like(c, x))
        return total

    # -- comparisons, choices, bits ----------------------------------------------------------------------------------

    def compare(self, predicate: str, a: V, b: V) -> V:
        """One of eq, ne, lt, le, gt, ge; every comparison with NaN but `ne` is false; or uno, ord for floats."""
        if a.elem in FLOATS:
            full = {"ne": "une", "uno": "uno", "ord": "ord"}.get(predicate) or "o" + predicate
            return self.shared(f"fcmp {full} {self.type(a.elem)} {a.text}, {b.text}", "i1")
        signed = "" if predicate in ("eq", "ne") else "u" if a.unsigned or a.elem == "i1" else "s"
        return self.shared(f"icmp {signed}{predicate} {self.type(a.elem)} {a.text}, {b.text}", "i1")

    def select(self, condition: V, a: V, b: V) -> V:
        """`a` where the condition holds, `b` elsewhere."""
        of = self.type(a.elem)
        cond = self.type("i1")
        text = f"select {cond} {condition.text}, {of} {a.text}, {of} {b.text}"
        return self.shared(text, a.elem, a.unsigned)

    def bitwise(self, opcode: str, a: V, b: V) -> V:
        """One of and, or, xor, shl, lshr, ashr, of integers."""
        return self.shared(f"{opcode} {self.type(a.elem)} {a.text}, {b.text}", a.elem, a.unsigned)

    def convert(self, opcode: str, a: V, elem: str, unsigned: bool = False) -> V:
        """One of LLVM's conversions: bitcast, sitofp, fptosi, fpext, fptrunc, zext, sext, trunc."""
        return self.shared(f"{opcode} {self.type(a.elem)} {a.text} to {self.type(elem)}", elem, unsigned)

    def bits(self, a: V) -> V:
        """The bits of a float as an integer."""
        return self.convert("bitcast", a, INTEGER_OF[a.elem])

    def floating(self, a: V) -> V:
        """The float with these bits."""
        return self.convert("bitcast", a, {"i32": "float", "i64": "double"}[a.elem])

    def saturated(self, a: V, elem: str, unsigned: bool = False) -> V:
        """A float as an integer: towards zero, stopping at the limits; NaN becomes 0."""
        sign = "u" if unsigned else "s"
        source, target = self.type(a.elem), self.type(elem)
        count = f"v{self.lanes}" if self.lanes else ""
        name = f"llvm.fpto{sign}i.sat.{count}i{BITS[elem]}.{count}f{BITS[a.elem]}"
        self.intrinsics[f"declare {target} @{name}({source})"] = None
        return self.shared(f"call {target} @{name}({source} {a.text})", elem, unsigned)

    def is_nan(self, a: V) -> V:
        """Whether it is no number."""
        return self.compare("uno", a, a)

    def rarely(self, condition: V, make: Callable[[], tuple[V, ...]], otherwise: tuple[V, ...]) -> tuple[V, ...]:
        """What `make` writes, where the condition holds in any lane; else the other values, without computing it."""
        f = self.function
        if f is None:
            return make()
        if self.lanes:
            of = self.type("i1")
            name = f"llvm.vector.reduce.or.v{self.lanes}i1"
            self.intrinsics[f"declare i1 @{name}({of})"] = None
            condition = self.fresh(f"call i1 @{name}({of} {condition.text})", "i1")
        before, known = f.block, dict(self._known)
        with f.only_if(condition.text):
            values = make()
            inside = f.block
        self._known = known  # what was written in the branch is not known after it
        return tuple(
            self.fresh(f"phi {self.type(a.elem)} [ {a.text}, %{inside} ], [ {b.text}, %{before} ]", a.elem, a.unsigned)
            for a, b in zip(values, otherwise, strict=True)
        )

    def clamp_above(self, a: V, limit: float) -> V:
        """The smaller of `a` and a constant; NaN stays."""
        top = self.like(limit, a)
        return self.select(self.compare("gt", a, top), top, a)

    def clamp_below(self, a: V, limit: float) -> V:
        """The larger of `a` and a constant; NaN stays."""
        low = self.like(limit, a)
        return self.select(self.compare("lt", a, low), low, a)


class Function:
    """The text of one function as it grows, block after block, and its nested loops."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.numbers = numbers
        self.lines: list[str] = []
        self.intrinsics: dict[str, None] = {}
        self.block = "entry"

    def emitter(self, lanes: int) -> Emitter:
        """Instructions for the current block; those of an earlier emitter are not looked at."""
        e = Emitter(lanes, self.numbers)
        e.lines, e.intrinsics, e.function = self.lines, self.intrinsics, self
        return e

    def name(self) -> str:
        """A fresh register."""
        return f"%v{next(self.numbers)}"

    def set(self, text: str) -> str:
        """An instruction with a result: its register."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def open(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def labels(self, *names: str) -> list[str]:
        """Labels that nothing else in the function has."""
        number = next(self.numbers)
        return [f"{name}{number}" for name in names]

    @contextlib.contextmanager
    def loop(self, name: str, begin: str, end: str, step: int = 1) -> Iterator[str]:
        """The block inside is run for begin, begin + step, ... < end; gives the register of the counter."""
        test, body, done = self.labels(f"{name}.test", name, f"{name}.done")
        before = self.block
        self.line(f"br label %{test}")
        self.open(test)
        counter, following = self.name(), self.name()
        self.lines.append("")
        phi = len(self.lines) - 1
        more = self.set(f"icmp slt i64 {counter}, {end}")
        self.line(f"br i1 {more}, label %{body}, label %{done}")
        self.open(body)
        yield counter
        self.line(f"{following} = add i64 {counter}, {step}")
        self.lines[phi] = f"  {counter} = phi i64 [ {begin}, %{before} ], [ {following}, %{self.block} ]"
        self.line(f"br label %{test}")
        self.open(done)

    @contextlib.contextmanager
    def only_if(self, condition: str) -> Iterator[None]:
        """The block inside is run where the condition holds."""
        body, done = self.labels("then", "join")
        self.line(f"br i1 {condition}, label %{body}, label %{done}")
        self.open(body)
        yield
        self.line(f"br label %{done}")
        self.open(done)

    def pointer(self, number: int) -> str:
        """Number `number` of the pointers in `data`."""
        at = self.set(f"getelementptr ptr, ptr %data, i64 {number}")
        return self.set(f"load ptr, ptr {at}")

    def text(self, symbol: str, attributes: str) -> str:
        """The whole definition of a kernel."""
        body = "\n".join(self.lines)
        return (
            f"define void @{symbol}(ptr %data, i64 %begin, i64 %end) {attributes} {{\nentry:\n{body}\n  ret void\n}}\n"
        )
