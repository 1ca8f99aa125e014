"""The executor: a program as a flat list of kernel calls over numbered slots, run in the caller's thread.

Policy: kernels are bound to their attributes once, when the program is compiled.  A slot is cleared after its last
reader, so memory is freed as early as possible and a variable's update finds its array unshared.  Fetched values
belong to the caller: whatever may share memory with a feed, a constant, a variable or another fetch is copied.
Floating-point warnings are silenced inside a run by a private context, so the caller's NumPy settings stay.

State: an executable owns its code, its constants and a few contexts for reuse; nothing changes from run to run.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphflow_numpy.kernels  # noqa: F401 - fills the table
from graphflow.backend import Context, Executable, Run, user_kernels
from graphflow.errors import (
    Error,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnimplementedError,
)
from graphflow.program import Instruction, Program
from graphflow.spec import describe
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.table import TABLE, Constant, Row

Step = tuple[Callable[..., Any], int, int, int, tuple[int, ...], Any, tuple[int, ...], Instruction]


class NumpyBackend:
    """Executes programs with NumPy."""

    name = "numpy"

    def has_kernel(self, type: str) -> bool:
        """Whether an op type can be executed."""
        return type in TABLE or type in user_kernels("numpy")

    def new_cell(self, name: str, dtype: Any, dims: Any) -> NumpyCell:
        """Memory for a variable, without a value."""
        return NumpyCell(name, dtype, dims)

    def evaluate(self, ins: Instruction, inputs: Sequence[Any]) -> Sequence[Any]:
        """Compute one instruction on NumPy values."""
        row = _row(ins)
        if row.bound or row.needs_run:
            raise UnimplementedError(f"{ins.type} cannot be computed ahead of a run")
        with np.errstate(all="ignore"):
            result = row.function(*inputs, **ins.attrs)
        return result if isinstance(result, tuple) else (result,)

    def compile(self, program: Program, context: Context) -> Executable:
        """Make a program executable."""
        return NumpyExecutable(program, context)


def _row(ins: Instruction) -> Row:
    row = TABLE.get(ins.type)
    if row is None:
        function = user_kernels("numpy").get(ins.type)
        if function is None:
            raise UnimplementedError(
                f"the NumPy backend has no kernel for {ins.type}", op=ins.op, hint=f'@tf.RegisterKernel("{ins.type}")'
            )
        row = Row(function, view=True)
    return row


class NumpyExecutable:
    """One compiled program."""

    def __init__(self, program: Program, context: Context) -> None:
        self.program = program
        self._run_slot = len(program.values)
        self._template: list[Any] = [None] * (len(program.values) + 1)
        for v, value in program.constants.items():
            self._template[v] = value
        self._feeds = program.feeds
        self._context = context
        self._fixed: set[int] = set()
        self._code = self._assemble()
        self._fetches = self._fetch_plan()
        self._contexts: list[contextvars.Context] = []

    def _assemble(self) -> list[Step]:
        program = self.program
        last_use: dict[int, int] = {}
        for position, ins in enumerate(program.instructions):
            for v in ins.inputs:
                last_use[v] = position
        keep = {*program.fetches, *program.constants, -1}
        regions = _region_ends(program.instructions)
        code: list[Step] = []
        for position, ins in enumerate(program.instructions):
            function, needs_run = self._bind(ins)
            if function is None:
                keep.update(ins.outputs)
                continue
            inputs = (self._run_slot, *ins.inputs) if needs_run else ins.inputs
            frees = [v for v in dict.fromkeys(ins.inputs) if last_use[v] == position and v not in keep]
            if len(ins.outputs) == 1:
                out: Any = ins.outputs[0]
                if out not in last_use and out not in keep:
                    frees.append(out)
            else:
                out = ins.outputs
                frees += [v for v in out if v not in last_use and v not in keep]
            a = inputs[0] if inputs else 0
            b = inputs[1] if len(inputs) > 1 else 0
            kind = len(inputs) if len(inputs) < 3 else 3
            kind = kind if isinstance(out, int) else kind + 4
            if position in regions.starts:
                code.append((_enter(self._cells(ins)), 1, self._run_slot, 0, (), -1, (), ins))
            code.append((function, kind, a, b, inputs, out, tuple(frees), ins))
            if position in regions.ends:
                code.append((_leave, 1, self._run_slot, 0, (), -1, (), ins))
        self._template.append(None)  # slot -1: outputs that nobody reads
        return code

    def _cells(self, ins: Instruction) -> list[NumpyCell]:
        assert ins.op.region is not None
        cells: list[Any] = [self._context.cell(handle.op) for handle in ins.op.region.variables]
        return sorted(cells, key=lambda cell: str(cell.name))

    def _bind(self, ins: Instruction) -> tuple[Callable[..., Any] | None, bool]:
        """The kernel with its attributes in place; None where the value is known now."""
        row = _row(ins)
        if row.bound:
            function = row.function(self._context, ins)
            if isinstance(function, Constant):
                self._template[ins.outputs[0]] = function.value
                self._fixed.add(ins.outputs[0])
                return None, False
            return function, row.needs_run
        if row.scalar is not None and all(self.program.values[v].dims == () for v in ins.inputs):
            return row.scalar, False
        if ins.attrs:
            return functools.partial(row.function, **ins.attrs), row.needs_run
        return row.function, row.needs_run

    def _fetch_plan(self) -> list[tuple[int, bool]]:
        """Slot of each fetch, and whether the caller needs a copy."""
        owned = set()
        for ins in self.program.instructions:
            if not _row(ins).view:
                owned.update(ins.outputs)
        plan = []
        for v in self.program.fetches:
            plan.append((v, v not in owned))
            owned.discard(v)
        return plan

    def __call__(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """Run once."""
        slots = self._template.copy()
        for slot, value in zip(self._feeds, feeds, strict=True):
            slots[slot] = value
        slots[self._run_slot] = run
        try:
            context = self._contexts.pop()
        except IndexError:
            context = contextvars.copy_context()
            context.run(np.seterr, all="ignore")
        context.run(self._execute, slots, run)
        self._contexts.append(context)
        out = []
        for slot, shared in self._fetches:
            value = slots[slot]
            if type(value) is np.ndarray:
                value = value[()] if not value.ndim else value.copy() if shared else value
            out.append(value)
        return out

    def _execute(self, slots: list[Any], run: Run) -> None:
        step = None
        try:
            for step in self._code:
                function, kind, a, b, inputs, out, frees, _ = step
                if kind == 2:
                    slots[out] = function(slots[a], slots[b])
                elif kind == 1:
                    slots[out] = function(slots[a])
                elif kind < 4:
                    slots[out] = function(*[slots[i] for i in inputs])
                else:
                    for slot, value in zip(out, function(*[slots[i] for i in inputs]), strict=False):
                        slots[slot] = value
                for slot in frees:
                    slots[slot] = None
        except Exception as error:
            assert step is not None
            raise self._explained(error, step[-1], slots) from (None if isinstance(error, Error) else error)
        finally:
            while run.held:
                run.held.pop().release()

    def _explained(self, error: Exception, ins: Instruction, slots: list[Any]) -> Error:
        """The error as one of ours, with the op, its inputs and the user's line."""
        got = ", ".join(_describe_value(slots[v]) for v in ins.inputs if v != self._run_slot) or None
        if isinstance(error, FailedPreconditionError) and error.op_name is None:
            self._name_all_uninitialized(error)
        if isinstance(error, Error):
            if error.op_name is None and error.got is None:
                error.got = got
            return error.attach(ins.op)
        if isinstance(error, MemoryError):
            return ResourceExhaustedError(f"out of memory in {ins.type}", op=ins.op, got=got)
        kind = InvalidArgumentError if isinstance(error, (ValueError, TypeError, ArithmeticError, LookupError)) else InternalError
        return kind(f"{ins.type}: {error}", op=ins.op, got=got)

    def _name_all_uninitialized(self, error: Error) -> None:
        cells = [self._context.cell(op) for op in self.program.handles.values()]
        names = sorted({cell.name for cell in cells if not cell.initialized})
        if len(names) > 1 and "not initialized" in error.summary:
            error.summary = "variables " + ", ".join(repr(n) for n in names) + " are not initialized"


def _describe_value(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype}{describe(value.shape)}"
    return type(value).__name__


class _Regions:
    def __init__(self) -> None:
        self.starts: set[int] = set()
        self.ends: set[int] = set()


def _region_ends(instructions: Sequence[Instruction]) -> _Regions:
    """Where each atomic region begins and ends."""
    found = _Regions()
    last: dict[int, int] = {}
    for position, ins in enumerate(instructions):
        region = ins.op.region
        if region is not None:
            if region.id not in last:
                found.starts.add(position)
            last[region.id] = position
    found.ends.update(last.values())
    return found


def _enter(cells: Sequence[NumpyCell]) -> Callable[[Run], None]:
    def enter(run: Run) -> None:
        for cell in cells:
            cell.lock.acquire()
            run.held.append(cell.lock)

    return enter


def _leave(run: Run) -> None:
    while run.held:
        run.held.pop().release()
