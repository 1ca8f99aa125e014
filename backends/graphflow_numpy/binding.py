"""Binding: from instructions to steps, each a Python callable with its attributes in place.

Policy: everything that can be decided once is decided here: the kernel, whether it works on scalars, which values are
constants, after which step a value is dropped, where atomic regions begin and end, and which fetches need a copy
because they may share memory with a feed, a constant, a variable or another fetch.

State: none after construction, but for the large arrays of fetches that may be handed out again (`Recycled`).
"""

from __future__ import annotations

import functools
import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.backend import Context, Run, Watch, user_kernels
from graphflow.errors import UnimplementedError
from graphflow.program import Instruction, Program
from graphflow.runtime.recycling import LARGE, Recycled
from graphflow.spec import TensorSpec, nbytes
from graphflow_numpy.observing import observed
from graphflow_numpy.regions import Regions, enter, leave
from graphflow_numpy.results import as_number, copying, hand_copy, hand_over, poisoning
from graphflow_numpy.steps import Step
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


# A named tuple's own constructor takes three times as long, and a large program has very many steps.
_step = functools.partial(tuple.__new__, Step)


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
        self._freed = (program.memory.freed if program.memory is not None else None) or {}
        self._context = _Binding(context, program)
        self._seen: dict[int, tuple[tuple[Instruction, ...], tuple[int, ...]]] = {}  # step -> what it does, and of what
        self._watch = context.watch
        self._replaced = {r.begin: r for r in replacements}
        self._in_arena = set(self.planned)  # values that are in the arena, or may be views of it
        self._owned: set[int] = set()
        self._scalars: set[int] = set()  # results of Python's operators on NumPy scalars
        self._light = _Light()
        self._unfitted: dict[str, Fitted] = {}  # kernels that are the same for all instructions of their type
        self._begins = _task_begins(program)
        self._runs: dict[
            tuple[int, int], list[tuple[Instruction, Callable[..., Any]]]
        ] = {}  # (step, task) -> its calls
        self._numbers: dict[int, int] = {}  # constant of rank 0 -> the slot that has it as an array
        self._fetched = set(program.fetches)
        self._keep = {*program.fetches, *program.constants, *self.planned, -1}
        self._last_use = self._last_uses()
        self.steps: list[Step] = []
        self._does: dict[int, str] = {}  # by the function of a step, where it is not what its instruction says
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
        instructions, first_step = self.program.instructions, self.first_step
        regions = Regions(self.program, self._context.cell)
        plain = {v for v, known in enumerate(self.program.values) if _is_plain_scalar(known)}
        rows: dict[str, Row] = {}
        done = 0
        for position, ins in enumerate(instructions):
            first_step.append(len(self.steps))
            row = rows.get(ins.type)
            if row is None:
                row = rows[ins.type] = row_of(ins)
                self.calls_user = self.calls_user or row.user
            if row.blas:
                self.products.append(ins)
            if position < done:
                continue
            replacement = self._replaced.get(position)
            done = position + 1 if replacement is None else replacement.end
            if ins.op.region is not None:
                self._bind_in_region(position, ins, row, replacement, regions)
            elif replacement is not None:
                self._add_replacement(replacement, ins)
            elif not plain.issuperset(ins.inputs) or not self._add_scalar(ins, row, plain):
                self._add_kernel(position, ins, row)
            if self._freed:
                self._add_poison(position, done, ins)
        first_step.append(len(self.steps))
        for (at, _), members in self._runs.items():
            if len(members) > 1:
                self.steps[at] = self._in_one_call(members)
                self._see(tuple([ins for ins, _ in members]), (), at)
        if self._watch is not None:
            self._let_look_on(self._watch)

    def _bind_in_region(
        self, position: int, ins: Instruction, row: Row, replacement: Replacement | None, regions: Regions
    ) -> None:
        """Bind one instruction or group of an atomic region: all of a group is in one region."""
        end = position + 1 if replacement is None else replacement.end
        locked = regions.cells_of(ins) if replacement is None or not replacement.locks else None
        if locked is not None and regions.begins_in(position, end):
            self._add_lock(enter(locked), ins, f"locks {', '.join(cell.name for cell in locked)}")
        if replacement is not None:
            self._add_replacement(replacement, ins)
        else:
            self._add_kernel(position, ins, row)
        if locked is not None and regions.ends_in(position, end):
            self._add_lock(leave(locked), ins, "unlocks them")

    def _add_lock(self, function: Callable[[Run], None], ins: Instruction, does: str) -> None:
        self.needs_run = True
        self._does[id(function)] = does  # which the step keeps alive
        self.steps.append(Step(function, (self.run_slot,), (-1,), (), False, ins))

    def words(self, function: Callable[..., Any], ins: Instruction) -> str:
        """What a step does, in words: its function, for this instruction."""
        return self._does.get(id(function)) or f"{ins.type}: {ins.op.name}"

    def _add_scalar(self, ins: Instruction, row: Row, plain: set[int]) -> bool:
        """Add what makes one NumPy scalar of others, which may as well live until the end of the run; or say no."""
        function, outputs = row.scalar, ins.outputs
        if function is None:
            if row.view or row.bound or row.needs_run or len(outputs) != 1 or not plain.issuperset(outputs):
                return False
            kernel = self._kernel(ins, row)
            if kernel is None:
                return False
            function = kernel.function
        if not self._fetched.isdisjoint(outputs):
            self._owned.update(outputs)
            if function in OPERATORS:
                self._scalars.update(outputs)
        self._see((ins,), ins.inputs)
        self.steps.append(_step((function, ins.inputs, outputs, (), False, ins)))
        return True

    def _add_poison(self, begin: int, end: int, ins: Instruction) -> None:
        """In a session that debugs its memory: rubbish over what is free after these instructions."""
        ranges = [r for position in range(begin, end) for r in self._freed.get(position, ())]
        if ranges:
            self.planned |= {self.arena_slot}
            self.steps.append(Step(poisoning(ranges), (self.arena_slot,), (), (), True, ins))

    def _add_kernel(self, position: int, ins: Instruction, row: Row) -> None:
        kernel = self._kernel(ins, row)
        inputs, outputs, keep = ins.inputs, ins.outputs, self._keep
        if kernel is None:
            keep.update(outputs)
            return
        if not row.view:
            self._owned.update(self._fetched.intersection(outputs))
            for v in outputs:
                if v >= 0 and self._light[self.program.values[v]] and v not in self._fetched:
                    keep.add(v)
        elif not self._in_arena.isdisjoint(inputs):
            if len(outputs) == 1 and self._is_rank_0(outputs[0]):
                kernel = Fitted(as_number(kernel.function))  # no array of rank 0 that looks into the arena goes on
            else:
                self._in_arena.update(outputs)
        last_use = self._last_use
        drops = [v for v in dict.fromkeys(inputs) if v not in keep and last_use[v] == position]
        drops += [v for v in outputs if v not in keep and v not in last_use]
        if row.needs_run:
            self.needs_run = True
            inputs = (self.run_slot, *inputs)
        if row.together is None or not self._joins_a_run(position, ins, kernel.function):
            self._add_call(kernel, inputs, ins, tuple(drops))

    def _add_call(self, kernel: Fitted, inputs: tuple[int, ...], ins: Instruction, drops: tuple[int, ...]) -> None:
        """The step for one kernel, writing into memory that is there where it can."""
        outputs, planned = ins.outputs, self.planned
        own = planned.isdisjoint(outputs)
        if kernel.into is not None and not (own and self._fetched.isdisjoint(outputs)) and self._gets_memory(ins):
            inputs = self._as_arrays(kernel.into, inputs)
            self._see((ins,), ins.inputs)
            self.steps.append(Step(kernel.into, (*inputs, *outputs), (), drops, True, ins))
        elif not own:
            places = [i for i, v in enumerate(outputs) if v in planned]
            function = copying(kernel.function, len(inputs), places, len(outputs) == 1)
            given = tuple(outputs[i] for i in places)
            others = tuple(v if v not in planned else -1 for v in outputs)
            self._see((ins,), ins.inputs)
            self.steps.append(Step(function, (*inputs, *given), others, drops, True, ins))
        else:
            inputs = self._as_arrays(kernel.function, inputs)
            self._see((ins,), ins.inputs)
            self.steps.append(_step((kernel.function, inputs, outputs, drops, len(outputs) != 1, ins)))

    def _joins_a_run(self, position: int, ins: Instruction, function: Callable[..., Any]) -> bool:
        """Whether an instruction is done by the last step, with others of its type; if it is not, a run begins."""
        if ins.inputs[0] not in self.fixed or ins.outputs[0] not in self._last_use:
            return False
        task = bisect_right(self._begins, position)
        last = self._runs.get((len(self.steps) - 1, task))
        if last is not None and last[0][0].type == ins.type:
            last.append((ins, function))
            return True
        self._runs[len(self.steps), task] = [(ins, function)]
        return False

    def _in_one_call(self, members: Sequence[tuple[Instruction, Callable[..., Any]]]) -> Step:
        """The step for several instructions in a row."""
        instructions = [ins for ins, _ in members]
        values = [self.fixed[ins.inputs[0]] for ins in instructions]
        together = row_of(instructions[0]).together
        assert together is not None

        def call() -> Sequence[Any]:
            return together(values) or one_by_one()

        def one_by_one() -> Sequence[Any]:
            found = []
            for (ins, function), value in zip(members, values, strict=True):
                try:
                    found.append(function(value))
                except Exception as error:
                    raise MemberFailed(ins, [value], error) from error
            return found

        outputs = tuple([ins.outputs[0] for ins in instructions])
        return Step(call, (), outputs, (), True, instructions[0])

    def _as_arrays(self, function: Callable[..., Any], inputs: tuple[int, ...]) -> tuple[int, ...]:
        """The inputs, with constants of rank 0 as arrays for a ufunc: it takes half as long to read those."""
        constants = self.program.constants
        if type(function) is not np.ufunc or constants.keys().isdisjoint(inputs):
            return inputs
        return tuple([self._number(v) if isinstance(constants.get(v), np.generic) else v for v in inputs])

    def _number(self, v: int) -> int:
        slot = self._numbers.get(v)
        if slot is None:
            slot = self._numbers[v] = self.slots
            self.slots += 1
            self.fixed[slot] = np.array(self.program.constants[v])
            self.fixed[slot].flags.writeable = False
        return slot

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
        self._see(self.program.instructions[r.begin : r.end], r.inputs)
        self.steps.append(Step(r.function, (*r.inputs, *r.results), r.outputs, tuple(drops), True, ins))

    def _see(self, instructions: tuple[Instruction, ...], inputs: tuple[int, ...], at: int = -1) -> None:
        """Note what a step does, by default the next one, if someone looks on."""
        if self._watch is not None:
            self._seen[len(self.steps) if at < 0 else at] = instructions, inputs

    def _let_look_on(self, watch: Watch) -> None:
        observer = watch.observe(self.program)
        for at, (instructions, inputs) in self._seen.items():
            self.steps[at] = observed(self.steps[at], instructions, inputs, self.run_slot, observer)

    def _is_rank_0(self, v: int) -> bool:
        known = self.program.values[v]
        return known.dims == () and known.dtype.kind not in ("string", "resource")

    def _is_large(self, v: int) -> bool:
        size = nbytes(self.program.values[v])
        return size is not None and size >= LARGE

    def _kernel(self, ins: Instruction, row: Row) -> Fitted | None:
        """The kernel with its attributes in place; None where the value is known now."""
        if row.bound:
            function = row.function(self._context, ins)
            if isinstance(function, Constant):
                if ins.outputs:
                    self.fixed[ins.outputs[0]] = function.value
                return None
            return Fitted(function)
        if row.fit is None and not ins.attrs and row.scalar is None:
            found = self._unfitted.get(ins.type)
            if found is None:
                found = self._unfitted[ins.type] = fitted(row, ins, ())
            return found
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


LIGHT = 4096  # bytes: dropping less than that early is not worth a statement


def _is_plain_scalar(known: TensorSpec) -> bool:
    """Whether an operator on the NumPy scalar gives the ufunc's bits; complex products are rounded differently."""
    return known.dims == () and not known.dtype.is_complex


class _Light(dict[TensorSpec, bool]):
    """Whether a value may as well live until the end of the run."""

    def __missing__(self, known: TensorSpec) -> bool:
        size = nbytes(known)
        self[known] = light = size is not None and size <= LIGHT
        return light


class _Binding:
    """What a bound row sees while a program is compiled: the session, and the shapes of the program's values."""

    def __init__(self, context: Context, program: Program) -> None:
        self.cell = context.cell
        self.watch = context.watch
        self.compile_function = context.compile_function
        self.is_closed = context.is_closed
        self._values = program.values

    def dims(self, value: int) -> Any:
        """What is known of the shape of a value."""
        return self._values[value].dims


def _task_begins(program: Program) -> list[int]:
    """Where the tasks begin that may run side by side."""
    schedule = program.schedule
    return sorted([task.begin for task in schedule.tasks]) if schedule is not None else []
