"""Binding: from instructions to steps, each a Python callable with its attributes in place.

Policy: everything that can be decided once is decided here: the kernel, whether it works on scalars, which values are
constants, after which step a value is dropped, where atomic regions begin and end, and which fetches need a copy
because they may share memory with a feed, a constant, a variable or another fetch.

State: none after construction, but for the large arrays of fetches that may be handed out again (`Recycled`).
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.backend import Context, Run, user_kernels
from graphflow.errors import UnimplementedError
from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec, nbytes
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.recycling import LARGE, Recycled
from graphflow_numpy.table import TABLE, Constant, Fitted, Row, fitted

OPERATORS: dict[Callable[..., Any], str] = {  # on NumPy scalars, and how source is written with them
    operator.add: "({} + {})",
    operator.sub: "({} - {})",
    operator.mul: "({} * {})",
    operator.truediv: "({} / {})",
    operator.neg: "(-{})",
    operator.eq: "({} == {})",
    operator.ne: "({} != {})",
    operator.lt: "({} < {})",
    operator.le: "({} <= {})",
    operator.gt: "({} > {})",
    operator.ge: "({} >= {})",
    operator.and_: "({} & {})",
    operator.or_: "({} | {})",
    operator.xor: "({} ^ {})",
}


class Step(NamedTuple):
    """One call."""

    function: Callable[..., Any]
    inputs: tuple[int, ...]  # slots; what the results are written into comes last
    outputs: tuple[int, ...]  # slots; -1 where nobody reads that output
    drops: tuple[int, ...]  # slots that no later step reads
    several: bool  # the function returns a tuple
    instruction: Instruction


class MemberFailed(Exception):
    """One instruction of several that run as one call has failed."""

    def __init__(self, instruction: Instruction, inputs: Sequence[Any], cause: Exception) -> None:
        super().__init__(str(cause))
        self.instruction = instruction
        self.inputs = inputs
        self.cause = cause


class Replacement(NamedTuple):
    """One callable for `instructions[begin:end]`: `(inputs..., results...) -> tuple of outputs`."""

    begin: int
    end: int
    function: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    results: tuple[int, ...] = ()  # values that get memory first, and are written
    locks: bool = False  # whether it takes the locks of the atomic regions inside it by itself


def row_of(ins: Instruction) -> Row:
    """The kernel row of an instruction."""
    row = TABLE.get(ins.type)
    if row is None:
        function = user_kernels("numpy").get(ins.type)
        if function is None:
            raise UnimplementedError(
                f"the NumPy backend has no kernel for {ins.type}", op=ins.op, hint=f'@tf.RegisterKernel("{ins.type}")'
            )
        row = Row(_guarded(function), view=True, user=True)
    return row


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's kernel sees read-only views: what it gets may be a variable's memory, or the caller's own array."""

    def call(*inputs: Any, **attrs: Any) -> Any:
        return function(*[_read_only(x) if type(x) is np.ndarray else x for x in inputs], **attrs)

    return call


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view = array.view()
    view.flags.writeable = False
    return view


class Bound:
    """A program with its kernels bound."""

    def __init__(self, program: Program, context: Context, replacements: Sequence[Replacement] = ()) -> None:
        self.program = program
        self.run_slot = len(program.values)
        self.arena_slot = len(program.values) + 1
        self.slots = len(program.values) + 2
        self.feeds = program.feeds
        self.fixed: dict[int, Any] = dict(program.constants)
        self.needs_run = False
        self.planned: frozenset[int] = frozenset(program.memory.offsets) if program.memory else frozenset()
        self._context = _Binding(context, program)
        self._replaced = {r.begin: r for r in replacements}
        self._in_arena = set(self.planned)  # values that are in the arena, or may be views of it
        self._owned: set[int] = set()
        self._scalars: set[int] = set()  # results of Python's operators on NumPy scalars
        self._fetched = set(program.fetches)
        self._keep = {*program.fetches, *program.constants, *self.planned, -1}
        self._last_use = self._last_uses()
        self.steps: list[Step] = []
        self.first_step: list[int] = []  # of each instruction, and the end
        self.calls_user = False
        self.products: list[Instruction] = []  # what calls BLAS
        self._bind_all()
        self.fetches = [(v, self._finish(v)) for v in program.fetches]
        copied = self._in_arena
        self.inner_fetches = [(v, hand_copy if v in copied else None) for v in program.fetches]

    def _last_uses(self) -> dict[int, int]:
        last: dict[int, int] = {}
        for position, ins in enumerate(self.program.instructions):
            for v in ins.inputs:
                last[v] = position
        for r in self._replaced.values():
            for v in r.inputs:
                last[v] = max(last.get(v, 0), r.end - 1)
        return last

    def _bind_all(self) -> None:
        instructions = self.program.instructions
        starts, ends = _region_ends(instructions)
        cells = self._cells_of_regions() if starts else {}
        plain = {v for v, known in enumerate(self.program.values) if _is_plain_scalar(known)}
        done = 0
        for position, ins in enumerate(instructions):
            self.first_step.append(len(self.steps))
            row = row_of(ins)
            self.calls_user = self.calls_user or row.user
            if row.blas:
                self.products.append(ins)
            if position < done:
                continue
            replacement = self._replaced.get(position)
            done = position + 1 if replacement is None else replacement.end
            region, scalar = ins.op.region, row.scalar  # all of a group is in one region, or in none
            locks = region is not None and (replacement is None or not replacement.locks)
            locked = cells[region.id] if region is not None and locks else None
            if locked is not None and not starts.isdisjoint(range(position, done)):
                self._add_lock(_enter(locked), ins)
            if replacement is not None:
                self._add_replacement(replacement, ins)
            elif scalar is not None and region is None and plain.issuperset(ins.inputs):
                self._add_scalar(scalar, ins)
            else:
                self._add_kernel(position, ins, row)
            self._add_poison(position, done, ins)
            if locked is not None and not ends.isdisjoint(range(position, done)):
                self._add_lock(_leave(locked), ins)
        self.first_step.append(len(self.steps))

    def _add_lock(self, function: Callable[[Run], None], ins: Instruction) -> None:
        self.needs_run = True
        self.steps.append(Step(function, (self.run_slot,), (-1,), (), False, ins))

    def _add_scalar(self, function: Callable[..., Any], ins: Instruction) -> None:
        """An operator on NumPy scalars, which may as well live until the end of the run."""
        self._owned.update(ins.outputs)
        if function in OPERATORS:
            self._scalars.update(ins.outputs)
        self.steps.append(Step(function, ins.inputs, ins.outputs, (), False, ins))

    def _add_poison(self, begin: int, end: int, ins: Instruction) -> None:
        """In a session that debugs its memory: rubbish over what is free after these instructions."""
        freed = self.program.memory.freed if self.program.memory is not None else None
        if not freed:
            return
        ranges = [r for position in range(begin, end) for r in freed.get(position, ())]
        if ranges:
            self.planned |= {self.arena_slot}
            self.steps.append(Step(_poisoning(ranges), (self.arena_slot,), (), (), True, ins))

    def _add_kernel(self, position: int, ins: Instruction, row: Row) -> None:
        kernel = self._kernel(ins, row)
        if kernel is None:
            self._keep.update(ins.outputs)
            return
        if not row.view:
            self._owned.update(ins.outputs)
            self._keep.update([v for v in ins.outputs if self._is_light(v)])
        elif not self._in_arena.isdisjoint(ins.inputs):
            if len(ins.outputs) == 1 and self._is_rank_0(ins.outputs[0]):
                kernel = Fitted(_as_number(kernel.function))  # no array of rank 0 that looks into the arena goes on
            else:
                self._in_arena.update(ins.outputs)
        last_use = self._last_use
        drops = [v for v in dict.fromkeys(ins.inputs) if last_use[v] == position and v not in self._keep]
        drops += [v for v in ins.outputs if v not in last_use and v not in self._keep]
        inputs = (self.run_slot, *ins.inputs) if row.needs_run else ins.inputs
        self.needs_run = self.needs_run or row.needs_run
        if kernel.into is not None and self._gets_memory(ins):
            self.steps.append(Step(kernel.into, (*inputs, *ins.outputs), (), tuple(drops), True, ins))
        elif not self.planned.isdisjoint(ins.outputs):
            places = [i for i, v in enumerate(ins.outputs) if v in self.planned]
            function = _copying(kernel.function, len(inputs), places, len(ins.outputs) == 1)
            planned = tuple(ins.outputs[i] for i in places)
            others = tuple(v if v not in self.planned else -1 for v in ins.outputs)
            self.steps.append(Step(function, (*inputs, *planned), others, tuple(drops), True, ins))
        else:
            self.steps.append(Step(kernel.function, inputs, ins.outputs, tuple(drops), len(ins.outputs) != 1, ins))

    def _gets_memory(self, ins: Instruction) -> bool:
        """Whether results are written into memory that is there before: the arena, or an array for the caller."""
        if not ins.outputs or -1 in ins.outputs:
            return False
        if self.planned.issuperset(ins.outputs):
            return True
        if not all(v in self._fetched and self._is_large(v) for v in ins.outputs):
            return False
        for v in ins.outputs:
            self._add_memory(v, ins)
        return True

    def _add_memory(self, v: int, ins: Instruction) -> None:
        known = self.program.values[v]
        self.steps.append(Step(Recycled(known.dims, known.dtype.np).take, (), (v,), (), False, ins))

    def _add_replacement(self, r: Replacement, ins: Instruction) -> None:
        drops = [v for v in r.inputs if self._last_use[v] == r.end - 1 and v not in self._keep]
        self._owned.update(r.outputs, r.results)
        for v in r.results:
            if v not in self.planned:
                self._add_memory(v, ins)
        self.steps.append(Step(r.function, (*r.inputs, *r.results), r.outputs, tuple(drops), True, ins))

    def _is_rank_0(self, v: int) -> bool:
        known = self.program.values[v]
        return known.dims == () and known.dtype.kind not in ("string", "resource")

    def _is_light(self, v: int) -> bool:
        """Whether a value may as well live until the end of the run."""
        if v < 0 or v in self._fetched:
            return False
        known = self.program.values[v]
        size = nbytes(known)
        return size is not None and size <= LIGHT

    def _is_large(self, v: int) -> bool:
        size = nbytes(self.program.values[v])
        return size is not None and size >= LARGE

    def _cells_of_regions(self) -> dict[int, list[NumpyCell]]:
        """The cells that each atomic region locks: its own, and all that its ops touch, always in one order."""
        variables: dict[int, set[Any]] = {}
        for ins in self.program.instructions:
            region = ins.op.region
            if region is not None:
                found = variables.setdefault(region.id, {handle.op for handle in region.variables})
                found.update(self.program.handles[v] for v in ins.inputs if v in self.program.handles)
        cells: dict[int, list[Any]] = {}
        for number, found in variables.items():
            cells[number] = sorted([self._context.cell(op) for op in found], key=lambda cell: str(cell.name))
        return cells

    def _kernel(self, ins: Instruction, row: Row) -> Fitted | None:
        """The kernel with its attributes in place; None where the value is known now."""
        if row.bound:
            function = row.function(self._context, ins)
            if isinstance(function, Constant):
                if ins.outputs:
                    self.fixed[ins.outputs[0]] = function.value
                return None
            return Fitted(function)
        values = self.program.values
        if row.scalar is not None and all(_is_plain_scalar(values[v]) for v in ins.inputs):
            if row.scalar in OPERATORS:
                self._scalars.update(ins.outputs)
            return Fitted(row.scalar)
        return fitted(row, ins, values)

    def _finish(self, v: int) -> Callable[[Any], Any] | None:
        """What hands a fetched value to the caller; None if it is a NumPy scalar already."""
        if v in self._scalars:
            return None
        if v not in self._owned:
            return hand_copy
        self._owned.discard(v)  # a second fetch of it is a copy
        return hand_over


def _copying(function: Callable[..., Any], count: int, places: Sequence[int], single: bool) -> Callable[..., Any]:
    """A kernel that makes memory of its own, made to copy some of its results to where they were planned."""

    def call(*arguments: Any) -> tuple[Any, ...]:
        found = function(*arguments[:count])
        results: tuple[Any, ...] = (found,) if single else found
        for place, target in zip(places, arguments[count:], strict=True):
            np.copyto(target, results[place])
        return results

    return call


def _as_number(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that may return an array of rank 0, made to return a NumPy scalar."""

    def call(*arguments: Any) -> Any:
        found = function(*arguments)
        return found[()] if type(found) is np.ndarray else found

    return call


def _poisoning(ranges: Sequence[tuple[int, int]]) -> Callable[[Any], None]:
    def poison(arena: Any) -> None:
        for offset, size in ranges:
            arena[offset : offset + size] = POISON

    return poison


POISON = 0xA5  # in each byte: -7e-17 as a float32, and as an integer far from any index
LIGHT = 4096  # bytes: dropping less than that early is not worth a statement


def _is_plain_scalar(known: TensorSpec) -> bool:
    """Whether an operator on the NumPy scalar gives the ufunc's bits; complex products are rounded differently."""
    return known.dims == () and not known.dtype.is_complex


def hand_over(value: Any) -> Any:
    """A value that nobody else holds, for the caller; rank 0 as a NumPy scalar."""
    if type(value) is np.ndarray and not value.ndim:
        return value[()]
    return value


def hand_copy(value: Any) -> Any:
    """A copy for the caller; rank 0 as a NumPy scalar."""
    if type(value) is np.ndarray:
        return value.copy() if value.ndim else value[()]
    return value


class _Binding:
    """What a bound row sees while a program is compiled: the session, and the shapes of the program's values."""

    def __init__(self, context: Context, program: Program) -> None:
        self.cell = context.cell
        self.compile_function = context.compile_function
        self.is_closed = context.is_closed
        self._values = program.values

    def dims(self, value: int) -> Any:
        """What is known of the shape of a value."""
        return self._values[value].dims


def _region_ends(instructions: Sequence[Instruction]) -> tuple[set[int], set[int]]:
    """Where atomic regions begin and end."""
    starts: set[int] = set()
    last: dict[int, int] = {}
    for position, ins in enumerate(instructions):
        region = ins.op.region
        if region is not None:
            if region.id not in last:
                starts.add(position)
            last[region.id] = position
    return starts, set(last.values())


def _enter(cells: Sequence[NumpyCell]) -> Callable[[Run], None]:
    def enter(run: Run) -> None:
        for cell in cells:
            run.held.append(cell.lock)  # noted first: an interrupt between the two must not leave it locked for good
            cell.lock.acquire()

    return enter


def _leave(cells: Sequence[NumpyCell]) -> Callable[[Run], None]:
    def leave(run: Run) -> None:
        for cell in reversed(cells):
            cell.lock.release()
            run.held.remove(cell.lock)

    return leave


def let_go(held: list[Any], keep: int = 0) -> None:
    """Release the locks of a run that failed, but for the first `keep`; it may not have got all that it noted."""
    while len(held) > keep:
        with contextlib.suppress(RuntimeError):
            held[-1].release()
        held.pop()
