"""Where everything in a segment lives, and when it runs: from items to a `Plan`.

Policy: what is read outside gets memory of its own, the rest shares one arena: a value's place is free again after its
last reader.  A segment with much work and updates runs in two phases: first what the heavy kernels need, then all that
is pointwise and the updates, which is short and holds the locks.  It keeps to one phase where a variable's value is
wanted in both, so that all its readers see the same.

State: a `Layout` is used once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.backend import Context
from graphflow.program import Instruction
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.native import engine
from graphflow_numpy.native.calls import Call, Scope
from graphflow_numpy.native.items import UPDATES, Item, request, seconds_of
from graphflow_numpy.native.plans import ALIGNMENT, STREAMED, Entry, Place, Plan, Result, Variable
from graphflow_numpy.native.updates import copy_call

LONG = 150e-6  # seconds of work from which on a segment does not hold its locks all the time

# "inside" (the value that has the memory), "outside" (a value), "old" or "new" (a variable), or "handle"
Where = tuple[str, int]


class Piece(NamedTuple):
    """What becomes one kernel call."""

    item: Item
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    members: tuple[Instruction, ...]  # of a loop nest
    call: Call | None
    seconds: float


class Layout:
    """One segment while it is laid out."""

    def __init__(self, scope: Scope, context: Context, begin: int, end: int, found: Sequence[Item]) -> None:
        self.scope, self.context = scope, context
        self.begin, self.end = begin, end
        self.where: dict[int, Where] = {}
        self.operations: list[Any] = []  # of the variables
        self.first: list[Instruction] = []  # that touches each
        self.handles: list[Any] = []  # cells that others ask for
        self.written: list[int] = []
        self.regional: set[int] = set()  # variables that an atomic region touches
        self.cells = self._region_cells(found)
        self.pieces: list[Piece] = []
        self.keep: list[Any] = []
        for item in found:
            self._add(item)
        self._outside()

    # -- from items to pieces ------------------------------------------------------------------------------------

    def _add(self, item: Item) -> None:
        ins = item.instructions[0]
        if item.kind == "alias":
            self.where[ins.outputs[0]] = self._where(ins.inputs[0])
        elif item.kind == "read":
            v = self._variable(ins)
            self.where[ins.outputs[0]] = ("new" if v in self.written else "old", v)
        elif item.kind == "update":
            self._add_update(item, ins)
        elif item.kind == "point":
            self._add_point(item, item.members)
        elif item.kind == "calls":
            for call in item.calls:
                self._own(call.outputs)
                self.pieces.append(Piece(item, call.inputs, call.outputs, (), call, call.seconds))

    def _add_point(self, item: Item, members: tuple[Instruction, ...]) -> None:
        self._own([m.outputs[0] for m in members])
        shown = item._replace(members=members)
        self.pieces.append(Piece(item, tuple(shown.inputs), (), members, None, seconds_of(self.scope, shown)))

    def _add_update(self, item: Item, ins: Instruction) -> None:
        v = self._variable(ins)
        delta = ins.inputs[1]
        known = self.scope.values[delta]
        new = ins.outputs[0] if ins.outputs[0] >= 0 else self.scope.temporary(known.dtype, self.scope.dims(delta))
        self.written.append(v)
        if UPDATES[ins.type] == "copy":
            call = copy_call(self.scope, delta, new)
            self.pieces.append(Piece(item, (delta,), (new,), (), call, call.seconds))
        else:
            old = self.scope.temporary(known.dtype, self.scope.dims(delta))
            self.where[old] = ("old", v)
            member = ins._replace(type=UPDATES[ins.type], inputs=(old, delta), outputs=(new,), attrs={})
            self._add_point(item, (member,))
        self.where[new] = ("new", v)

    def _own(self, values: Sequence[int]) -> None:
        for v in values:
            self.where[v] = ("inside", v)

    def _variable(self, ins: Instruction) -> int:
        op = self.scope.program.handles[ins.inputs[0]]
        if op not in self.operations:
            self.operations.append(op)
            self.first.append(ins)
        number = self.operations.index(op)
        if ins.op.region is not None:
            self.regional.add(number)
        return number

    def _region_cells(self, found: Sequence[Item]) -> tuple[NumpyCell, ...]:
        """What the atomic regions lock by their own word."""
        regions = [ins.op.region for item in found for ins in item.instructions]
        operations = dict.fromkeys(handle.op for region in regions if region is not None for handle in region.variables)
        cells: list[Any] = [self.context.cell(op) for op in operations]
        return tuple(cells)

    def _where(self, value: int) -> Where:
        return self.where.get(value, ("outside", value))

    # -- what others read ----------------------------------------------------------------------------------------

    def _outside(self) -> None:
        program = self.scope.program
        inside = program.instructions[self.begin : self.end]
        outside = (*program.instructions[: self.begin], *program.instructions[self.end :])
        read = {v for ins in outside for v in ins.inputs} | set(program.fetches)
        for ins in inside:
            if ins.type == "VariableHandle" and ins.outputs[0] in read:
                self.where[ins.outputs[0]] = ("handle", len(self.handles))
                self.handles.append(self.context.cell(program.handles[ins.outputs[0]]))
        made = [v for ins in inside for v in ins.outputs if v >= 0]
        self.outputs = tuple([v for v in made if v in read and v in self.where])
        self.buffers: list[int] = []
        for v in self.outputs:
            kind, root = self.where[v]
            if kind == "inside" and root not in self.buffers:
                self.buffers.append(root)
        self.inputs: list[int] = []
        used = [v for p in self.pieces for v in p.inputs] + list(self.outputs)
        for v in used:
            kind, root = self._where(v)
            if kind == "outside" and root not in program.constants and root not in self.inputs:
                self.inputs.append(root)

    # -- phases --------------------------------------------------------------------------------------------------

    def phases(self) -> tuple[list[Piece], list[Piece]]:
        """The pieces that run without the locks, and those that run with them."""
        if not self.written and not self.regional:
            return self.pieces, []
        if sum(p.seconds for p in self.pieces) < LONG:
            return [], self.pieces
        early = self._early()
        first = [p for k, p in enumerate(self.pieces) if k in early]
        second = [p for k, p in enumerate(self.pieces) if k not in early]
        olds = [{w for v in p.inputs if (w := self._where(v))[0] == "old" and v in self._reads()} for p in self.pieces]
        both = {w for k in early for w in olds[k]} & {w for k, ws in enumerate(olds) if k not in early for w in ws}
        shown = {self._where(v) for v in self.outputs}
        if any(("old", v) in both | shown for v in (*self.written, *self.regional)):
            return [], self.pieces
        return first, second

    def _reads(self) -> frozenset[int]:
        """Values that are reads of variables, not the operand of an update."""
        if not hasattr(self, "_read_values"):
            count = len(self.scope.program.values)
            self._read_values = frozenset(v for v, w in self.where.items() if w[0] == "old" and v < count)
        return self._read_values

    def _early(self) -> set[int]:
        """The pieces that heavy ones need and that wait for no update."""
        maker = {self._where(v): k for k, p in enumerate(self.pieces) for v in self._made(p)}
        late: set[int] = set()
        for k, p in enumerate(self.pieces):
            waits = {maker.get(self._where(v), -1) for v in p.inputs}
            updates = any(self._where(v)[0] == "new" for v in (*p.inputs, *self._made(p)))
            updates = updates or any(ins.op.region is not None for ins in p.item.instructions)
            if updates or waits & late:
                late.add(k)
        early = {k for k, p in enumerate(self.pieces) if p.call is not None and k not in late}
        for k in range(len(self.pieces) - 1, -1, -1):
            if k in early:
                early.update(m for v in self.pieces[k].inputs if (m := maker.get(self._where(v), -1)) >= 0)
        return early

    def _made(self, piece: Piece) -> list[int]:
        return list(piece.outputs) or [m.outputs[0] for m in piece.members]

    # -- joining loop nests --------------------------------------------------------------------------------------

    def joined(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Neighbours over one index space as one loop nest, where there is code for both together."""
        out: list[Piece] = []
        for piece in pieces:
            last = out[-1] if out else None
            both = self._both(last, piece) if last is not None and last.members and piece.members else None
            if both is None:
                out.append(piece)
            else:
                out[-1] = both
        return out

    def _space(self, piece: Piece) -> tuple[int, ...]:
        m = piece.members[0]
        return self.scope.dims(m.inputs[0] if m.type in REDUCTIONS else m.outputs[0])

    def _both(self, a: Piece, b: Piece) -> Piece | None:
        if self._space(a) != self._space(b):
            return None
        made = {m.outputs[0] for m in a.members}
        ends = {m.outputs[0] for m in a.members if m.type in REDUCTIONS}
        places = {self._where(v) for v in made}
        for v in b.inputs:
            if v in ends or v not in made and self._where(v) in places:
                return None
        members = sorted((*a.members, *b.members), key=lambda m: m.type in REDUCTIONS)
        item = Item("point", (*a.item.instructions, *b.item.instructions), tuple(members))
        if request(self.scope, members, item.inputs, item.outputs) is None:
            return None
        return Piece(item, tuple(item.inputs), (), item.members, None, a.seconds + b.seconds)

    # -- the plan ------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Everything decided, and compiled."""
        joined = [self.joined(pieces) for pieces in self.phases()]
        read = {v for pieces in joined for p in pieces for v in p.inputs}
        first, second = (self._stored(pieces, read) for pieces in joined)
        pieces = [*first, *second]
        read_inside = {self._where(v) for v in read}
        self.streamed = [v for v in self.buffers if self._bytes(v) >= STREAMED and self._where(v) not in read_inside]
        kernels = engine.compile_many([self._wanted(p) for p in pieces])
        offsets, arena = self._arena(pieces)
        entries = []
        for piece, kernel in zip(pieces, kernels, strict=True):
            places = tuple([self._place(v, offsets) for v in (*piece.inputs, *piece.outputs)])
            entries.append(Entry(kernel, places, piece.seconds, piece.item.instructions))
        program, scope = self.scope.program, self.scope
        return Plan(
            self.begin, self.end, program.instructions[self.begin : self.end], tuple(self.inputs), self.outputs,
            tuple([scope.values[v] for v in self.inputs]), tuple([scope.values[v] for v in self.buffers]),
            self._variables(first, second), self._results(),
            (tuple(entries[: len(first)]), tuple(entries[len(first) :])), arena,
            self.cells, tuple(self.handles), tuple(self.keep),
        )  # fmt: skip

    def _stored(self, pieces: Sequence[Piece], read: set[int]) -> list[Piece]:
        """The loop nests with those of their values that have to be in memory as outputs."""
        wanted = {*self.outputs, *self.buffers, *read}
        roots = {w[1] for v in wanted if (w := self._where(v))[0] == "inside"}
        out = []
        for p in pieces:
            if p.members:
                made = [m.outputs[0] for m in p.members]
                keep = tuple([v for v in made if self.where[v][0] == "new" or v in roots])
                if not keep:
                    continue
                p = p._replace(outputs=keep)
            out.append(p)
        return out

    def _wanted(self, piece: Piece) -> tuple[Hashable, Any]:
        if piece.call is not None:
            return piece.call.key, piece.call.build
        found = request(self.scope, piece.members, piece.inputs, piece.outputs, self.streamed)
        assert found is not None
        return found

    def _arena(self, pieces: Sequence[Piece]) -> tuple[dict[int, int], int]:
        """Offsets of the values inside: first fit, freed after the last reader."""
        last = {}
        for k, p in enumerate(pieces):
            for v in (*p.inputs, *p.outputs):
                last[self._where(v)] = k
        offsets: dict[int, int] = {}
        live: list[tuple[int, int, int]] = []  # offset, end, last piece
        size = 0
        for k, p in enumerate(pieces):
            live = [x for x in live if x[2] >= k]
            for v in p.outputs:
                where = self._where(v)
                if where[0] != "inside" or where[1] in self.buffers:
                    continue
                need = self._bytes(v)
                need += -need % ALIGNMENT
                at = 0
                for begin, end, _ in sorted(live):
                    if begin - at >= need:
                        break
                    at = max(at, end)
                live.append((at, at + need, last[where]))
                offsets[v] = at
                size = max(size, at + need)
        return offsets, size

    def _bytes(self, value: int) -> int:
        return self.scope.size(value) * self.scope.values[value].dtype.size

    def _place(self, value: int, offsets: dict[int, int]) -> Place:
        kind, root = self._where(value)
        first = len(self.inputs)
        if kind == "inside":
            if root in self.buffers:
                return Place("argument", first + self.buffers.index(root))
            return Place("arena", offsets[root])
        if kind == "outside":
            if root in self.inputs:
                return Place("argument", self.inputs.index(root))
            return self._fixed(root)
        first += len(self.buffers)
        if kind == "old":
            return Place("argument", first + root)
        return Place("argument", first + len(self.operations) + sorted(self.written).index(root))

    def _fixed(self, value: int) -> Place:
        array = np.array(self.scope.constant(value), self.scope.values[value].dtype.np, order="C")
        self.keep.append(array)
        return Place("fixed", array.ctypes.data)

    def _variables(self, first: Sequence[Piece], second: Sequence[Piece]) -> tuple[Variable, ...]:
        out = []
        read_by: dict[Where, list[int]] = {}
        written_by: dict[Where, list[int]] = {}
        for n, p in enumerate((*first, *second)):
            for found, values in ((read_by, p.inputs), (written_by, p.outputs)):
                for v in values:
                    found.setdefault(self._where(v), []).append(n)
        one = {w[1]: v for v, w in reversed(self.where.items()) if w[0] in ("old", "new")}  # the first of each
        shown = {self._where(v) for v in self.outputs}
        for k, (op, ins) in enumerate(zip(self.operations, self.first, strict=True)):
            reads, writes = read_by.get(("old", k), []), written_by.get(("new", k), [])
            in_place = ("old", k) not in shown and not (reads and writes and reads[-1] > writes[0])
            known = self.scope.values[one[k]]
            cell: Any = self.context.cell(op)
            read = bool(reads) or ("old", k) in shown
            out.append(Variable(cell, known, bool(writes), read, in_place, k in self.regional, ins))
        return tuple(out)

    def _results(self) -> tuple[Result, ...]:
        """How the outputs are handed over; what is fetched is never shared with a variable, a feed or another fetch."""
        out = []
        given: set[Where] = set()
        for v in self.outputs:
            kind, root = where = self._where(v)
            if kind == "handle":
                out.append(Result(kind, root, None, False))
                continue
            fetched = v in self.scope.program.fetches
            copied = kind == "outside" or fetched and (kind != "inside" or where in given)
            if fetched:
                given.add(where)
            dims = self.scope.dims(v)
            number = {"inside": self.buffers.index, "outside": self.inputs.index, "new": sorted(self.written).index}
            own = self.scope.dims(root) if kind in ("inside", "outside") else None
            out.append(Result(kind, number.get(kind, int)(root), None if own == dims else dims, copied))
        return tuple(out)


REDUCTIONS = frozenset({"Sum", "Mean", "Max", "Min"})
