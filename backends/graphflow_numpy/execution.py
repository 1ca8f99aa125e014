"""The executor: a program as straight-line Python over kernels, or as tasks side by side (`parallel`).

Policy: kernels are bound to their attributes once, when the program is compiled (`binding`).  A small program becomes
one generated function (`straightline`), a large one a list of steps over numbered slots, because compiling Python
source costs more than it saves there; both come from the same steps.  A value is dropped after its last reader, so
memory is freed as early as possible and a variable's update finds its array unshared.  Fetched values belong to the
caller.  Floating-point warnings are silenced inside a run by a private context, so the caller's NumPy settings stay.

State: an executable owns its code, its constants, and frames for reuse: a context and buffers for each run at once.
Its code is replaced, as a whole, once native code or generated source is ready; a run ends with what it began with.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import graphflow_numpy.kernels
from graphflow.backend import Context, Executable, Run, user_kernels
from graphflow.errors import (
    Error,
    FailedPreconditionError,
    ResourceExhaustedError,
    UnimplementedError,
)
from graphflow.program import Group, Instruction, Program, Storage
from graphflow.spec import TensorSpec, describe, nbytes
from graphflow_numpy import at_once, blas, products
from graphflow_numpy.binding import Bound, MemberFailed, Replacement, row_of
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.failures import described, explained, outside
from graphflow_numpy.native import background
from graphflow_numpy.parallel import Parallel
from graphflow_numpy.regions import let_go
from graphflow_numpy.sharing import THREADS, WHOLE, share_range, whole_products
from graphflow_numpy.steploop import StepLoop
from graphflow_numpy.straightline import StraightLine
from graphflow_numpy.table import TABLE, fitted
from graphflow_numpy.tiles import tiled

if TYPE_CHECKING:
    from graphflow_numpy.native.segment import Segment

STRAIGHT_LINE_LIMIT = 512  # steps; a line of generated source costs about 10 us to compile and saves 0.1 us a run
HOT_LIMIT = 4096  # steps of a program that becomes source once it has proved to be run often
RUNS_BEFORE_SOURCE = 100
ALIGNMENT = 64  # bytes: a cache line
Body = Callable[..., list[Any]]
_Executor = StraightLine | StepLoop | Parallel
_Frame = tuple[contextvars.Context, Body, Body]


class NumpyBackend:
    """Executes programs with NumPy."""

    name = "numpy"
    families = graphflow_numpy.kernels.__all__
    default_level = 1
    own_passes: frozenset[str] = frozenset()
    array_type = None
    kinds = frozenset({"cpu"})

    def at(self, device: str) -> NumpyBackend:
        """The backend itself: there is one CPU."""
        return self

    def has_kernel(self, type: str) -> bool:
        """Whether an op type can be executed."""
        return type in TABLE or type in user_kernels("numpy")

    def new_cell(self, name: str, dtype: Any, dims: Any) -> NumpyCell:
        """Memory for a variable, without a value."""
        return NumpyCell(name, dtype, dims)

    def storage(self, program: Program, ins: Instruction) -> Storage:
        """Where the kernel of an instruction puts its results."""
        row = row_of(ins)
        if row.user:
            return Storage(views=True, keeps=True)
        if row.view or row.bound:
            return Storage(views=row.view)
        kernel = fitted(row, ins, program.values)
        return Storage(buffer=True, inplace=kernel.inplace) if kernel.into is not None else Storage()

    def is_whole(self, program: Program, group: Group) -> bool:
        """Whether a fusion group is evaluated in tiles."""
        return tiled(program, group) is not None

    def evaluate(self, ins: Instruction, inputs: Sequence[Any]) -> Sequence[Any]:
        """Compute one instruction on NumPy values."""
        row = row_of(ins)
        if row.bound or row.needs_run:
            raise UnimplementedError(f"{ins.type} cannot be computed ahead of a run")
        lease = blas.Lease(1) if row.blas else None  # as in a run, or it would round otherwise
        try:
            with np.errstate(all="ignore"):
                result = row.function(*inputs, **ins.attrs)
        finally:
            if lease is not None:
                lease.release()
        return result if isinstance(result, tuple) else (result,)

    def kernel(
        self, ins: Instruction, values: Sequence[TensorSpec], next_run: Callable[[], Run]
    ) -> tuple[Callable[..., Any], bool] | None:
        """What computes one instruction outside a program, and whether its results may share memory with inputs."""
        return at_once.kernel(ins, values, next_run)

    def kernel_context(self) -> contextvars.Context:
        """What such kernels run in."""
        return at_once.context()

    def explained(self, error: Exception, ins: Instruction, inputs: Sequence[Any]) -> Error:
        """What such a kernel raised, as an error of ours."""
        return explained(error, ins, inputs)

    def compile(self, program: Program, context: Context) -> Executable:
        """Make a program executable."""
        return NumpyExecutable(program, context)


class NumpyExecutable:
    """One compiled program."""

    def __init__(self, program: Program, context: Context) -> None:
        self.program = program
        self._context = context
        self._tiled = _tiled_groups(program)
        bound = Bound(program, context, self._tiled)
        self.needs_run = bound.needs_run
        self._calls_user = bound.calls_user
        self._blas_threads = products.blas_threads(bound, context.threads)
        self._segments: list[Segment] = []
        self._runs_left = RUNS_BEFORE_SOURCE
        self._bodies: list[_Executor] = []
        self._swap = threading.Lock()
        self._install(self._executor(bound), bound)
        if program.level >= 2 and not (program.memory is not None and program.memory.freed):
            background.prepare(program, context, self, NumpyExecutable._install_native, share_range, context.threads)

    def _install_native(self, segments: Sequence[Segment]) -> None:
        """Go on with native code where there is some: called once it is ready, often from another thread."""
        replacements = [Replacement(s.begin, s.end, s, s.inputs, s.outputs, locks=True) for s in segments]
        inside = {i for s in segments for i in range(s.begin, s.end)}
        replacements += [r for r in self._tiled if inside.isdisjoint(range(r.begin, r.end))]
        bound = Bound(background.without_arena(self.program, segments), self._context, replacements)
        body = _in_order(bound)  # threads share the kernels inside a segment, not tasks
        with self._swap:
            self._segments = list(segments)
            self._install(body, bound)

    def _executor(self, bound: Bound) -> _Executor:
        """How the steps are run."""
        schedule = self.program.schedule
        if schedule is not None and schedule.workers > 1:
            return Parallel(bound, schedule, schedule.workers, self._context.threads, self._context.is_closed)
        return _in_order(bound)

    def _install(self, body: _Executor, bound: Bound) -> None:
        self.source = body.source
        self._bodies.append(body)
        self._made = body, bound  # of one another, whichever thread looks
        self._frames: list[_Frame] = []

    def __call__(self, feeds: Sequence[Any], run: Run | None) -> list[Any]:
        """Run once; the results belong to the caller."""
        frames = self._frames
        try:
            frame = frames.pop()
        except IndexError:
            frame = self._new_frame()
        context, _, outer = frame
        if self._calls_user:  # whose functions are to see the contextvars of their caller
            context = self._new_context()
        lease = blas.Lease(self._blas_threads) if self._blas_threads else None
        try:
            out = context.run(outer, run, *feeds)
        except Error as error:
            self._explained(error)
            raise
        except Exception as error:
            raise self._explained(error) from error
        finally:
            if lease is not None:
                lease.release()
            if run is not None and run.held:
                let_go(run.held)
        frames.append(frame)
        return out

    def stay(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """Run once; the host's memory is the device's."""
        return self(feeds, run)

    def compute(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """Run once inside another program: the results may share memory with the feeds."""
        held = len(run.held)  # by the program that we are inside of
        frames = self._frames
        try:
            frame = frames.pop()
        except IndexError:
            frame = self._new_frame()
        lease = blas.Lease(1) if self._blas_threads and not whole_products() else None
        try:
            out = frame[1](run, *feeds)
        except Error as error:
            self._explained(error)
            raise
        except Exception as error:
            raise self._explained(error) from error
        finally:
            if lease is not None:
                lease.release()
            let_go(run.held, held)
        frames.append(frame)
        return out

    def listing(self) -> str:
        """The program as it runs: generated source, or the steps of the loop, each with the user's line."""
        parts = [self._bodies[-1].listing(), *[segment.listing for segment in self._segments]]
        if self.program.level >= 2 and not self._segments:
            parts.append(background.state())
        return "\n\n".join(parts)

    def native_code(self) -> str:
        """The LLVM code of the kernels of all segments."""
        return "\n\n".join(segment.source for segment in self._segments)

    def _new_frame(self) -> _Frame:
        """A context, and the program over buffers of its own: as many as there are runs at once."""
        body, bound = self._made
        try:
            functions = body.frame(_buffers(bound))
        except (MemoryError, ValueError) as error:  # NumPy has a ValueError for what no machine could hold
            raise _too_large(bound.program) from error
        if type(body) is StepLoop and len(bound.steps) <= HOT_LIMIT:
            functions = self._counted(functions, bound)
        return self._new_context(), *functions

    def _new_context(self) -> contextvars.Context:
        """Where kernels run: without NumPy's warnings, and with the threads that the session grants one op."""
        context = contextvars.copy_context()
        context.run(np.seterr, all="ignore")
        whole = self._blas_threads > 1
        context.run(WHOLE.set, whole)
        context.run(THREADS.set, 1 if whole else self._context.threads)  # BLAS keeps its threads spinning for a while
        return context

    def _counted(self, functions: tuple[Body, Body], bound: Bound) -> tuple[Body, Body]:
        """The functions of a loop, counting their runs: after some, generated source takes over."""

        def counting(function: Body) -> Body:
            def call(*arguments: Any) -> list[Any]:
                self._runs_left -= 1
                if self._runs_left == 0:
                    body = StraightLine(bound)
                    if self._swap.acquire(blocking=False):  # else native code comes at this moment
                        if self._made[1] is bound:
                            self._install(body, bound)
                        self._swap.release()
                return function(*arguments)

            return call

        return counting(functions[0]), counting(functions[1])

    def _where(self, error: BaseException) -> tuple[Instruction | None, Sequence[Any]]:
        found = [body.where(error) for body in self._bodies]
        return next((f for f in found if f[0] is not None), (None, []))

    def _explained(self, error: Exception) -> Error:
        """The error as one of ours, with the op, its inputs and the user's line."""
        ins, values = self._where(error)
        if isinstance(error, MemberFailed):
            ins, values, error = error.instruction, error.inputs, error.cause
        if ins is None:
            return outside(error)
        got = ", ".join(described(v) for v in values) or None
        if isinstance(error, FailedPreconditionError) and error.op_name is None:
            self._name_all_uninitialized(error)
        if isinstance(error, Error):
            if error.op_name is None and error.got is None:
                error.got = got
            return error.attach(ins.op)
        return explained(error, ins, values)

    def _name_all_uninitialized(self, error: Error) -> None:
        cells = [self._context.cell(op) for op in self.program.handles.values()]
        names = sorted({cell.name for cell in cells if not cell.initialized})
        if len(names) > 1 and "not initialized" in error.summary:
            error.summary = "variables " + ", ".join(repr(n) for n in names) + " are not initialized"


def _in_order(bound: Bound) -> _Executor:
    """The steps one after the other: as source, or as a loop where source would take too long to compile."""
    return StraightLine(bound) if len(bound.steps) <= STRAIGHT_LINE_LIMIT else StepLoop(bound)


def _tiled_groups(program: Program) -> list[Replacement]:
    """The groups that are evaluated in tiles."""
    found = [tiled(program, group) for group in program.groups]
    return [r for r in found if r is not None]


def _buffers(bound: Bound) -> dict[int, Any]:
    """A new arena, and the values that live in it."""
    memory = bound.program.memory
    if memory is None or not memory.offsets:
        return {}
    arena = np.empty(memory.size + ALIGNMENT, np.uint8)
    arena = arena[-arena.ctypes.data % ALIGNMENT :]
    out = {bound.arena_slot: arena} if bound.arena_slot in bound.planned else {}
    for v, offset in memory.offsets.items():
        known = bound.program.values[v]
        out[v] = np.ndarray(known.dims, known.dtype.np, arena, offset)  # type: ignore[arg-type]
    return out


def _too_large(program: Program) -> ResourceExhaustedError:
    """The error for an arena that there is no memory for, with the op of its largest value."""
    memory = program.memory
    assert memory is not None
    sizes = {v: nbytes(program.values[v]) or 0 for v in memory.offsets}
    largest = max(sizes, key=lambda v: sizes[v])
    ins = program.producers()[largest]
    return ResourceExhaustedError(
        f"out of memory: the results need {memory.size:,} bytes, the largest of them {sizes[largest]:,}",
        op=ins.op,
        got=f"{program.values[largest].dtype.name}{describe(program.values[largest].dims)}",
    )
