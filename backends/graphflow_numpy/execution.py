"""The executor: a program as straight-line Python over kernels, run in the caller's thread.

Policy: kernels are bound to their attributes once, when the program is compiled (`binding`).  A small program becomes
one generated function (`straightline`), a large one a list of steps over numbered slots, because compiling Python
source costs more than it saves there; both come from the same steps.  A value is dropped after its last reader, so
memory is freed as early as possible and a variable's update finds its array unshared.  Fetched values belong to the
caller.  Floating-point warnings are silenced inside a run by a private context, so the caller's NumPy settings stay.

State: an executable owns its code, its constants and a few contexts for reuse; nothing changes from run to run.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphflow_numpy.kernels
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
from graphflow_numpy.binding import Bound, Step, let_go, row_of
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.straightline import StraightLine
from graphflow_numpy.table import TABLE

STRAIGHT_LINE_LIMIT = 512  # steps; a line of generated source costs about 10 us to compile and saves 0.1 us a run


class NumpyBackend:
    """Executes programs with NumPy."""

    name = "numpy"
    families = graphflow_numpy.kernels.__all__

    def has_kernel(self, type: str) -> bool:
        """Whether an op type can be executed."""
        return type in TABLE or type in user_kernels("numpy")

    def new_cell(self, name: str, dtype: Any, dims: Any) -> NumpyCell:
        """Memory for a variable, without a value."""
        return NumpyCell(name, dtype, dims)

    def evaluate(self, ins: Instruction, inputs: Sequence[Any]) -> Sequence[Any]:
        """Compute one instruction on NumPy values."""
        row = row_of(ins)
        if row.bound or row.needs_run:
            raise UnimplementedError(f"{ins.type} cannot be computed ahead of a run")
        with np.errstate(all="ignore"):
            result = row.function(*inputs, **ins.attrs)
        return result if isinstance(result, tuple) else (result,)

    def compile(self, program: Program, context: Context) -> Executable:
        """Make a program executable."""
        return NumpyExecutable(program, context)


class NumpyExecutable:
    """One compiled program."""

    def __init__(self, program: Program, context: Context) -> None:
        self.program = program
        self._context = context
        bound = Bound(program, context)
        self.needs_run = bound.needs_run
        small = len(bound.steps) <= STRAIGHT_LINE_LIMIT
        body: Any = StraightLine(bound) if small else _StepLoop(bound)
        self.source: str | None = body.source if small else None
        self._where = body.where
        self._inner: Callable[..., list[Any]] = body.inner
        self._outer: Callable[..., list[Any]] = body.outer
        self._contexts: list[contextvars.Context] = []

    def __call__(self, feeds: Sequence[Any], run: Run | None) -> list[Any]:
        """Run once; the results belong to the caller."""
        try:
            context = self._contexts.pop()
        except IndexError:
            context = contextvars.copy_context()
            context.run(np.seterr, all="ignore")
        try:
            out = context.run(self._outer, run, *feeds)
        except Error as error:
            self._explained(error)
            raise
        except Exception as error:
            raise self._explained(error) from error
        finally:
            if run is not None and run.held:
                let_go(run.held)
        self._contexts.append(context)
        return out

    def compute(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """Run once inside another program: the results may share memory with the feeds."""
        held = len(run.held)  # by the program that we are inside of
        try:
            return self._inner(run, *feeds)
        except Error as error:
            self._explained(error)
            raise
        except Exception as error:
            raise self._explained(error) from error
        finally:
            let_go(run.held, held)

    def _explained(self, error: Exception) -> Error:
        """The error as one of ours, with the op, its inputs and the user's line."""
        ins, values = self._where(error)
        if ins is None:
            return _outside(error)
        got = ", ".join(_describe_value(v) for v in values) or None
        if isinstance(error, FailedPreconditionError) and error.op_name is None:
            self._name_all_uninitialized(error)
        if isinstance(error, Error):
            if error.op_name is None and error.got is None:
                error.got = got
            return error.attach(ins.op)
        if isinstance(error, MemoryError):
            return ResourceExhaustedError(f"out of memory in {ins.type}", op=ins.op, got=got)
        known = (ValueError, TypeError, ArithmeticError, LookupError)
        kind = InvalidArgumentError if isinstance(error, known) else InternalError
        return kind(f"{ins.type}: {error}", op=ins.op, got=got)

    def _name_all_uninitialized(self, error: Error) -> None:
        cells = [self._context.cell(op) for op in self.program.handles.values()]
        names = sorted({cell.name for cell in cells if not cell.initialized})
        if len(names) > 1 and "not initialized" in error.summary:
            error.summary = "variables " + ", ".join(repr(n) for n in names) + " are not initialized"


class _StepLoop:
    """A large program: a loop over its steps, with the values in a list of slots."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._steps = [_flat(step) for step in bound.steps]
        self._template: list[Any] = [None] * (bound.slots + 1)  # slot -1 takes the outputs that nobody reads
        for slot, value in bound.fixed.items():
            self._template[slot] = value
        self._fetches = bound.fetches

    def _execute(self, run: Run | None, feeds: Sequence[Any]) -> list[Any]:
        slots = self._template.copy()
        for slot, value in zip(self._bound.feeds, feeds, strict=True):
            slots[slot] = value
        slots[self._bound.run_slot] = run
        for function, kind, a, b, inputs, out, drops, _ in self._steps:
            if kind == 2:
                slots[out] = function(slots[a], slots[b])
            elif kind == 1:
                slots[out] = function(slots[a])
            elif kind == 3:
                slots[out] = function(*[slots[i] for i in inputs])
            else:
                for slot, value in zip(out, function(*[slots[i] for i in inputs]), strict=False):
                    slots[slot] = value
            for slot in drops:
                slots[slot] = None
        return slots

    def inner(self, run: Run | None, *feeds: Any) -> list[Any]:
        slots = self._execute(run, feeds)
        return [slots[slot] for slot, _ in self._fetches]

    def outer(self, run: Run | None, *feeds: Any) -> list[Any]:
        slots = self._execute(run, feeds)
        return [finish(slots[slot]) for slot, finish in self._fetches]

    def where(self, error: BaseException) -> tuple[Instruction | None, list[Any]]:
        """The instruction that failed, if it was one, and its inputs; read from the frame of the loop."""
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is _StepLoop._execute.__code__:
                local = trace.tb_frame.f_locals
                return local["_"], [local["slots"][i] for i in local["_"].inputs]
            trace = trace.tb_next
        return None, []


def _flat(step: Step) -> tuple[Any, ...]:
    """The step as the loop wants it: how many inputs, the first two apart, one output or several."""
    inputs = step.inputs
    a = inputs[0] if inputs else 0
    b = inputs[1] if len(inputs) > 1 else 0
    single = len(step.outputs) == 1 and not step.several
    kind = (len(inputs) if 0 < len(inputs) < 3 else 3) if single else 4
    out: Any = step.outputs[0] if single else step.outputs
    return step.function, kind, a, b, inputs, out, step.drops, step.instruction


def _outside(error: Exception) -> Error:
    """An error that no instruction raised: while the results were handed over."""
    if isinstance(error, Error):
        return error
    if isinstance(error, MemoryError):
        return ResourceExhaustedError("out of memory while copying what was fetched")
    return InternalError(f"a program failed outside its steps: {type(error).__name__}: {error}")


def _describe_value(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype}{describe(value.shape)}"
    if isinstance(value, NumpyCell):
        return f"variable {value.name!r}"
    return type(value).__name__
