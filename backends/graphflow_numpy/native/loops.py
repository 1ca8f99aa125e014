"""Kernels of groups: one loop nest that computes every output of a fusion group in one pass over memory.

Policy: the axes are merged as far as the operands allow; the last one is the inner loop, in vectors as wide as the
machine's, its rest a masked vector; the others are rows, and units of rows are what threads share.  A long single axis
is cut into blocks.  All loads of a vector come before its stores, so an output may lie in the very memory of an input
of its dtype and dims.  Numbers that the program knows are constants of the code.

State: none.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from graphflow.program import Instruction, Program
from graphflow_numpy.native import engine, reductions, scalars, spaces
from graphflow_numpy.native.emission import BITS, Emitter, Function, V
from graphflow_numpy.native.groups import Nest, Operand, has_code, kept_size, nest_of, reach, section, values_of
from graphflow_numpy.native.reductions import KINDS, Accumulator

BLOCK = 4096  # elements of a unit, more or less
GRAIN = 16384  # elements that are worth a call
COLUMN_UNITS = 32  # at most, for sums down the columns
COMBINED = frozenset({"all", "down", "scattered", "scattered_down"})  # reductions of which units make partial results
PARTIAL = COMBINED | {"section_down"}  # reductions that need scratch memory


def group_kernel(
    program: Program, instructions: Sequence[Instruction], inputs: Sequence[int], outputs: Sequence[int]
) -> engine.Kernel | None:
    """The kernel of a group, or None where an op, a dtype or a reduction has no native form.

    `data` holds the addresses of the inputs, of the outputs and of scratch buffers, in this order.
    """
    wanted = group_request(program, instructions, inputs, outputs)
    return None if wanted is None else engine.get_kernel(*wanted)


def group_request(
    program: Program,
    instructions: Sequence[Instruction],
    inputs: Sequence[int],
    outputs: Sequence[int],
    streamed: Collection[int] = (),
) -> tuple[Hashable, engine.Build] | None:
    """Key and builder of the group's kernel, for `engine.compile_many`; None as for `group_kernel`.

    Outputs that are `streamed` are promised to be aligned to a vector, and to be read by nobody soon.
    """
    nest = nest_of(program, instructions, inputs, outputs, streamed)
    if nest is None or not has_code(nest):
        return None
    key = ("group", nest, tuple(repr(o.known) for o in nest.inputs))  # 0.0 == -0.0, and NaN is not NaN
    return key, lambda module: _Writer(module, nest).entry()


# -- from a nest to code ---------------------------------------------------------------------------------------------


class _Shape(NamedTuple):
    """How the loops run: `rows` rows of `width` elements, `per_unit` rows a unit; or one row cut into blocks."""

    rows: int
    width: int
    per_unit: int
    units: int
    cut: bool
    section: int = 0  # rows that are reduced together, if some are


def _shape(nest: Nest) -> _Shape:
    *outer, width = nest.dims or (1,)
    rows = prod(outer)
    if not outer:
        return _Shape(1, width, 1, -(-width // BLOCK), True)
    together = section(nest) or 1
    pieces = max(1, BLOCK // (width * together))
    if any(reach(t) in COMBINED - {"all"} for t in nest.tails):
        pieces = max(pieces, -(-rows // (COLUMN_UNITS * together)))
    per_unit = min(pieces * together, rows)
    return _Shape(rows, width, per_unit, -(-rows // per_unit), False, section(nest) or 0)


# Several vectors at a time, so that the next one fills the waits of the one before: a chain of eight tanh over 20,000
# elements takes 97 us with one, 72 with two, 45 with four.  Machines with narrower vectors have half the registers.
ABREAST = {64: 4, 32: 2, 16: 2}
LONG_ROW = 512  # elements from which on that pays


class _Writer:
    """Writes the function of a nest: State: the text, the registers of pointers and accumulators."""

    def __init__(self, module: engine.ModuleBuilder, nest: Nest) -> None:
        self.module, self.nest, self.shape = module, nest, _shape(nest)
        self.f = Function(itertools.count())
        elems = {o.elem for o in nest.inputs} | {o.elem for _, _, o in nest.stores}
        widest = 8 if elems & {"double", "i64"} else 4
        vector = max(2, engine.vector_bytes() // widest)
        abreast = ABREAST[engine.vector_bytes()] if self.shape.width >= LONG_ROW else 1
        self.lanes = vector * abreast if self.shape.width > 1 else 0
        self.how = [reach(t) for t in nest.tails]
        self.places: dict[int, str] = {}  # where the current row lies in the results of scattered reductions

    def entry(self) -> engine.Entry:
        """Write the functions; what the engine must know about them."""
        name, finish = self.module.symbol("group"), ""
        self._main()
        scratch = tuple(self._scratch_bytes(i) for i in range(len(self.nest.tails)) if self.how[i] in PARTIAL)
        if COMBINED & set(self.how):
            finish = self._finish()
        if finish and self.shape.units == 1:
            self.f.line(f"call void @{finish}(ptr %data, i64 0, i64 1)")
            finish = ""
        self._add(name, self.f)
        grain = max(1, GRAIN // (BLOCK if self.shape.cut else self.shape.per_unit * self.shape.width))
        return engine.Entry(name, self.shape.units, grain, scratch, finish)

    def _add(self, name: str, f: Function) -> None:
        for line in f.intrinsics:
            self.module.declare(line)
        self.module.add(f.text(name, engine.attributes()))

    # -- the loops ---------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        f, nest = self.f, self.nest
        self.pointers = [f.pointer(i) for i in range(nest.slots)]
        self.partials: dict[int, str] = {}
        for i, how in enumerate(self.how):
            if how in PARTIAL:
                self.partials[i] = f.pointer(nest.slots + len(self.partials))
        self.sums = {
            i: Accumulator(f, KINDS[t.type], t.elem, self.lanes)
            for i, t in enumerate(nest.tails)
            if "down" not in self.how[i]
        }
        # Numbers that are the same everywhere are loaded once, in front of all loops.
        self.fixed = {
            i: self._splat(o, self.pointers[i])
            for i, o in enumerate(nest.inputs)
            if o.known is None and not any(o.along)
        }
        with f.loop("unit", "%begin", "%end") as u:
            self._start(u, *COMBINED)
            if self.shape.cut:
                self._blocks(u)
            else:
                first = f.set(f"mul i64 {u}, {self.shape.per_unit}")
                last = f.set(f"add i64 {first}, {self.shape.per_unit}")
                self._rows(u, first, self._smaller(last, self.shape.rows))
            for i, how in enumerate(self.how):
                if how == "all":
                    total = self.sums[i].value()
                    at = f.set(f"getelementptr {total.elem}, ptr {self.partials[i]}, i64 {u}")
                    f.line(f"store {total.elem} {total.text}, ptr {at}")
        if any(o.streamed for _, _, o in nest.stores):
            f.line("fence seq_cst")  # such writes are seen late, and others are told that this work is done

    def _rows(self, u: str, first: str, last: str) -> None:
        """A unit's rows, in sections if some reductions want them."""
        f, together = self.f, self.shape.section
        if not together:
            with f.loop("row", first, last) as row:
                self._row(u, row)
            return
        with f.loop("section", first, last, together) as begin:
            self._start(u, "section", "section_down")
            with f.loop("row", begin, f.set(f"add i64 {begin}, {together}")) as row:
                self._row(u, row)
            number = f.set(f"udiv i64 {begin}, {together}")
            for i, how in enumerate(self.how):
                if how == "section":
                    self._store_total(i, together * self.shape.width, number)
                elif how == "section_down":
                    self._store_columns(i, u, number)

    def _store_total(self, i: int, count: int, number: str) -> None:
        """Store what a row or a section came to."""
        f, tail = self.f, self.nest.tails[i]
        found = reductions.finished(f.emitter(0), KINDS[tail.type], self.sums[i].value(), count, tail.elem)
        at = f.set(f"getelementptr {tail.elem}, ptr {self.pointers[tail.slot]}, i64 {number}")
        f.line(f"store {tail.elem} {found.text}, ptr {at}")

    def _store_columns(self, i: int, u: str, number: str) -> None:
        """Store what the columns of a section came to."""
        f, tail, width = self.f, self.nest.tails[i], self.shape.width
        kind = KINDS[tail.type]
        source = self._column(i, reductions.accumulated_in(kind, tail.elem), u, "0")
        offset = f.set(f"mul i64 {number}, {width}")
        target = f.set(f"getelementptr {tail.elem}, ptr {self.pointers[tail.slot]}, i64 {offset}")
        reductions.combine_columns(f, kind, tail.elem, self.lanes, source, (1, width), self.shape.section, target)

    def _smaller(self, value: str, limit: int) -> str:
        below = self.f.set(f"icmp slt i64 {value}, {limit}")
        return self.f.set(f"select i1 {below}, i64 {value}, i64 {limit}")

    def _start(self, u: str, *begun: str) -> None:
        """Set the accumulators of such reductions to their beginning."""
        for i, how in enumerate(self.how):
            if how in begun and (how == "scattered" or "down" in how):
                self._clear_columns(i, u)
            elif how in begun:
                self.sums[i].start()

    def _clear_columns(self, i: int, u: str) -> None:
        kind, tail, f = KINDS[self.nest.tails[i].type], self.nest.tails[i], self.f
        elem = reductions.accumulated_in(kind, tail.elem)
        with f.loop("clear", "0", str(self._padded(i)), self.lanes or 1) as j:
            e = f.emitter(self.lanes)
            at = self._column(i, elem, u, j)
            f.line(f"store {e.type(elem)} {e.constant(kind.initial, elem).text}, ptr {at}, align {BITS[elem] // 8}")

    def _width(self, i: int) -> int:
        """How many columns a unit's partial result has."""
        scattered = self.how[i].startswith("scattered")
        return kept_size(self.nest, self.nest.tails[i]) if scattered else self.shape.width

    def _padded(self, i: int) -> int:
        lanes = self.lanes or 1
        return -(-self._width(i) // lanes) * lanes

    def _column(self, i: int, elem: str, u: str, j: str) -> str:
        row = self.f.set(f"mul i64 {u}, {self._padded(i)}")
        at = self.f.set(f"add i64 {row}, {j}")
        return self.f.set(f"getelementptr {elem}, ptr {self.partials[i]}, i64 {at}")

    def _blocks(self, u: str) -> None:
        """The block of a single long axis."""
        f, width = self.f, self.shape.width
        starts = dict(enumerate(self.pointers))
        if not self.lanes:
            self._vector(starts, {}, u, "0", None)
            return
        whole = width // self.lanes * self.lanes
        low = f.set(f"mul i64 {u}, {BLOCK}")
        high = self._smaller(f.set(f"add i64 {low}, {BLOCK}"), whole)
        with f.loop("at", low, high, self.lanes) as i:
            self._vector(starts, {}, u, i, None)
        if whole < width:
            with f.only_if(f.set(f"icmp eq i64 {u}, {self.shape.units - 1}")):
                self._vector(starts, {}, u, str(whole), width - whole)

    def _row(self, u: str, row: str) -> None:
        f, width, lanes = self.f, self.shape.width, self.lanes
        self._start(u, "row")
        for i, how in enumerate(self.how):
            if how.startswith("scattered"):
                self.places[i] = self._offset(self.nest.tails[i].along, row)
            if how == "scattered":
                self.sums[i].start()
        starts, fixed = self._row_starts(row)
        whole = width // lanes * lanes
        if whole == lanes:
            self._vector(starts, fixed, u, "0", None)
        elif whole:
            with f.loop("at", "0", str(whole), lanes) as at:
                self._vector(starts, fixed, u, at, None)
        if whole < width:
            self._vector(starts, fixed, u, str(whole), width - whole)
        for i, how in enumerate(self.how):
            if how == "row":
                self._store_total(i, width, row)
            elif how == "scattered":
                e = f.emitter(0)
                self._add_to_column(e, i, self.sums[i].value(), u, "0", None)

    def _row_starts(self, row: str) -> tuple[dict[int, str], dict[int, V]]:
        """Where each operand's row begins, and the inputs that are one number all along the row."""
        f = self.f
        places = [(i, o) for i, o in enumerate(self.nest.inputs) if i not in self.fixed and o.known is None]
        places += [(slot, o) for _, slot, o in self.nest.stores]
        offsets: dict[spaces.Pattern, str] = {}
        starts: dict[int, str] = {}
        for slot, o in places:
            if o.along not in offsets:
                offsets[o.along] = self._offset(o.along, row)
            starts[slot] = f.set(f"getelementptr {o.stored}, ptr {self.pointers[slot]}, i64 {offsets[o.along]}")
        fixed = {i: self._splat(o, starts[i]) for i, o in places if i < len(self.nest.inputs) and not o.along[-1]}
        return starts, fixed

    def _offset(self, along: spaces.Pattern, row: str) -> str:
        """In elements, of the row's beginning."""
        f, outer = self.f, self.nest.dims[:-1]
        steps = spaces.strides(self.nest.dims, along)[:-1]
        if all(along[:-1]):
            return f.set(f"mul i64 {row}, {steps[-1]}")
        total, rest = "0", row
        for axis in range(len(outer) - 1, -1, -1):
            index = rest
            if axis:
                index = f.set(f"urem i64 {rest}, {outer[axis]}")
                rest = f.set(f"udiv i64 {rest}, {outer[axis]}")
            if steps[axis]:
                total = f.set(f"add i64 {total}, {f.set(f'mul i64 {index}, {steps[axis]}')}")
        return total

    # -- one vector --------------------------------------------------------------------------------------------------

    def _splat(self, o: Operand, pointer: str) -> V:
        """One number in every lane."""
        f = self.f
        one = f.emitter(0)
        x = self._loaded(one, o, one.fresh(f"load {o.stored}, ptr {pointer}", o.stored))
        if not self.lanes:
            return x
        of = f"<{self.lanes} x {x.elem}>"
        first = f.set(f"insertelement {of} poison, {x.elem} {x.text}, i64 0")
        mask = f"<{self.lanes} x i32> zeroinitializer"
        return V(f.set(f"shufflevector {of} {first}, {of} poison, {mask}"), x.elem, o.unsigned)

    def _loaded(self, e: Emitter, o: Operand, x: V) -> V:
        """The value of what lies in memory."""
        return e.compare("ne", x, e.like(0, x)) if o.elem != o.stored else x._replace(unsigned=o.unsigned)

    def _vector(self, starts: Mapping[int, str], fixed: Mapping[int, V], u: str, i: str, rest: int | None) -> None:
        """Compute one vector of every output, at element `i` of the row; `rest` lanes of it where that is not all."""
        f, nest = self.f, self.nest
        e = f.emitter(self.lanes)
        mask = None
        if rest is not None:
            bits = ", ".join("i1 true" if k < rest else "i1 false" for k in range(self.lanes))
            mask = V(f"<{bits}>", "i1")
        found = values_of(e, nest, [self._input(e, n, starts, fixed, i, mask) for n in range(len(nest.inputs))])
        assert found is not None
        for k, tail in enumerate(nest.tails):
            if "down" in self.how[k]:
                self._add_to_column(e, k, found[tail.value], u, i, mask)
            else:
                self.sums[k].take(e, found[tail.value], mask)
        for value, slot, o in nest.stores:
            x = e.convert("zext", found[value], o.stored) if o.elem != o.stored else found[value]
            at = f.set(f"getelementptr {o.stored}, ptr {starts[slot]}, i64 {i}")
            if mask is None:
                f.line(f"store {e.type(o.stored)} {x.text}, ptr {at}, {self._hints(o)}")
            else:
                reductions.masked_store(e, x, at, mask)

    def _hints(self, o: Operand) -> str:
        """How a whole vector of an output is written."""
        size, whole = BITS[o.stored] // 8, engine.vector_bytes()
        even = self.lanes and self.lanes * size % whole == 0 and (self.shape.cut or self.shape.width % self.lanes == 0)
        if not o.streamed or not even:
            return f"align {size}"
        self.module.declare("!0 = !{i32 1}")
        return f"align {whole}, !nontemporal !0"

    def _input(
        self, e: Emitter, n: int, starts: Mapping[int, str], fixed: Mapping[int, V], i: str, mask: V | None
    ) -> V:
        o = self.nest.inputs[n]
        if o.known is not None:
            return e.constant(o.known, o.elem)._replace(unsigned=o.unsigned)
        if n in self.fixed or n in fixed:
            return self.fixed[n] if n in self.fixed else fixed[n]
        at = self.f.set(f"getelementptr {o.stored}, ptr {starts[n]}, i64 {i}")
        if mask is not None:
            return self._loaded(e, o, reductions.masked_load(e, o.stored, at, mask))
        return self._loaded(e, o, e.fresh(f"load {e.type(o.stored)}, ptr {at}, align {BITS[o.stored] // 8}", o.stored))

    def _add_to_column(self, e: Emitter, k: int, x: V, u: str, j: str, mask: V | None) -> None:
        """Add a vector (or a number) to the unit's partial result; what is beyond a row may be another one's."""
        kind, tail = KINDS[self.nest.tails[k].type], self.nest.tails[k]
        elem = reductions.accumulated_in(kind, tail.elem)
        size = BITS[elem] // 8
        x = scalars.cast(e, x, elem)
        if k in self.places:
            j = self.f.set(f"add i64 {self.places[k]}, {j}")
        at = self._column(k, elem, u, j)
        if mask is not None and k in self.places:
            new = kind.combine(e, reductions.masked_load(e, elem, at, mask), x)
            reductions.masked_store(e, new, at, mask)
            return
        old = e.fresh(f"load {e.type(elem)}, ptr {at}, align {size}", elem)
        e.line(f"store {e.type(elem)} {kind.combine(e, old, x).text}, ptr {at}, align {size}")

    # -- after the loops ---------------------------------------------------------------------------------------------

    def _scratch_bytes(self, k: int) -> int:
        tail = self.nest.tails[k]
        size = BITS[reductions.accumulated_in(KINDS[tail.type], tail.elem)] // 8
        return self.shape.units * size * (1 if self.how[k] == "all" else self._padded(k))

    def _finish(self) -> str:
        """The function that makes results of partial ones."""
        name, f = self.module.symbol("finish"), Function(itertools.count())
        scratch = itertools.count(self.nest.slots)
        size = self.shape.rows * self.shape.width
        for i, tail in enumerate(self.nest.tails):
            if self.how[i] not in PARTIAL:
                continue
            kind, source, target = KINDS[tail.type], f.pointer(next(scratch)), f.pointer(tail.slot)
            if self.how[i] == "all":
                reductions.combine_partials(f, kind, tail.elem, source, self.shape.units, size, target)
            elif self.how[i] in COMBINED:
                shape = self.shape.units, self._width(i)
                count = size // self._width(i)
                reductions.combine_columns(f, kind, tail.elem, self.lanes, source, shape, count, target)
        self._add(name, f)
        return name
