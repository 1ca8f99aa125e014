"""Binding: from instructions to steps, each a Python callable with its attributes in place.

Policy: everything that can be decided once is decided here: the kernel, whether it works on scalars, which values are
constants, after which step a value is dropped, where atomic regions begin and end, and which fetches need a copy
because they may share memory with a feed, a constant, a variable or another fetch.

State: none after construction.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.backend import Context, Run, user_kernels
from graphflow.errors import UnimplementedError
from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.table import TABLE, Constant, Row


class Step(NamedTuple):
    """One call."""

    function: Callable[..., Any]
    inputs: tuple[int, ...]  # slots
    outputs: tuple[int, ...]  # slots; -1 where nobody reads that output
    drops: tuple[int, ...]  # slots that no later step reads
    several: bool  # the function returns a tuple
    instruction: Instruction


def row_of(ins: Instruction) -> Row:
    """The kernel row of an instruction."""
    row = TABLE.get(ins.type)
    if row is None:
        function = user_kernels("numpy").get(ins.type)
        if function is None:
            raise UnimplementedError(
                f"the NumPy backend has no kernel for {ins.type}", op=ins.op, hint=f'@tf.RegisterKernel("{ins.type}")'
            )
        row = Row(_guarded(function), view=True)
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

    def __init__(self, program: Program, context: Context) -> None:
        self.program = program
        self.run_slot = len(program.values)
        self.slots = len(program.values) + 1
        self.feeds = program.feeds
        self.fixed: dict[int, Any] = dict(program.constants)
        self.needs_run = False
        self._context = _Binding(context, program)
        self.steps = self._bind_all()
        self.fetches = self._fetch_plan()

    def _bind_all(self) -> list[Step]:
        program = self.program
        last_use: dict[int, int] = {}
        for position, ins in enumerate(program.instructions):
            for v in ins.inputs:
                last_use[v] = position
        keep = {*program.fetches, *program.constants, -1}
        starts, ends = _region_ends(program.instructions)
        steps: list[Step] = []
        for position, ins in enumerate(program.instructions):
            row = row_of(ins)
            function, needs_run = self._bind(ins, row)
            cells = self._cells(ins) if position in starts or position in ends else []
            if position in starts:
                steps.append(self._lock_step(_enter(cells), ins))
            if function is None:
                keep.update(ins.outputs)
                if position in ends:
                    steps.append(self._lock_step(_leave(cells), ins))
                continue
            drops = [v for v in dict.fromkeys(ins.inputs) if last_use[v] == position and v not in keep]
            drops += [v for v in ins.outputs if v not in last_use and v not in keep]
            inputs = ins.inputs
            if needs_run:
                inputs = (self.run_slot, *inputs)
                self.needs_run = True
            steps.append(Step(function, inputs, ins.outputs, tuple(drops), len(ins.outputs) != 1, ins))
            if position in ends:
                steps.append(self._lock_step(_leave(cells), ins))
        return steps

    def _lock_step(self, function: Callable[[Run], None], ins: Instruction) -> Step:
        self.needs_run = True
        return Step(function, (self.run_slot,), (-1,), (), False, ins)

    def _cells(self, ins: Instruction) -> list[NumpyCell]:
        """The cells that an atomic region locks: its own, and all that its ops touch, always in one order."""
        region = ins.op.region
        assert region is not None
        variables = {handle.op for handle in region.variables}
        for other in self.program.instructions:
            if other.op.region is not None and other.op.region.id == region.id:
                variables.update(self.program.handles[v] for v in other.inputs if v in self.program.handles)
        cells: list[Any] = [self._context.cell(op) for op in variables]
        return sorted(cells, key=lambda cell: str(cell.name))

    def _bind(self, ins: Instruction, row: Row) -> tuple[Callable[..., Any] | None, bool]:
        """The kernel with its attributes in place; None where the value is known now."""
        if row.bound:
            function = row.function(self._context, ins)
            if isinstance(function, Constant):
                self.fixed[ins.outputs[0]] = function.value
                return None, False
            return function, row.needs_run
        if row.scalar is not None and all(_is_plain_scalar(self.program.values[v]) for v in ins.inputs):
            return row.scalar, False
        if ins.attrs:
            return functools.partial(row.function, **ins.attrs), row.needs_run
        return row.function, row.needs_run

    def _fetch_plan(self) -> list[tuple[int, Callable[[Any], Any]]]:
        """Slot of each fetch, and what hands its value to the caller."""
        owned: set[int] = set()
        for ins in self.program.instructions:
            if not row_of(ins).view:
                owned.update(ins.outputs)
        plan: list[tuple[int, Callable[[Any], Any]]] = []
        for v in self.program.fetches:
            plan.append((v, hand_over if v in owned else hand_copy))
            owned.discard(v)
        return plan


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
