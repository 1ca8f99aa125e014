"""A segment: a stretch of a Program as one call, made of native kernels that run one after the other.

Policy: a call hands its arguments to the driver as they are; memory for what stays inside comes from a frame (see
`frames`), and frames are pooled, so that threads can run one segment at a time each.  A variable is treated as
`cells` says: what was read never changes, and an update is one atomic step under the locks of all variables that the
segment writes, in the order of their names.  A segment with much work runs in two phases: the first one works on
snapshots without any lock, the second one, which writes, is short.

Large kernels are shared with idle threads (see `team`) where that was of use lately.

State: each segment owns its frames, and the times with and without help.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.errors import Error, ShapeError
from graphflow.program import Instruction
from graphflow.spec import TensorSpec, describe
from graphflow_numpy.binding import MemberFailed
from graphflow_numpy.cells import peek_all
from graphflow_numpy.native import driver, team
from graphflow_numpy.native.frames import Frame, Frames
from graphflow_numpy.native.plans import Help, Plan

Share = Callable[[int, Callable[[int, int], None], int], None]


class Segment:
    """A stretch of a Program: `segment(*inputs) -> outputs`."""

    several = True

    def __init__(self, plan: Plan, share: Share | None = None, workers: int = 1) -> None:
        self.plan = plan
        self.begin, self.end = plan.begin, plan.end
        self.inputs, self.outputs = plan.inputs, plan.outputs
        self.instruction = plan.instructions[0]
        self._workers = 1 if share is None else workers
        self._new = Frames(plan, self._workers)
        self._specs, self._phases = self._new.specs, self._new.phases
        self._first_cell, self._first_new = self._new.first_cell, self._new.first_new
        self._writes = []
        for n, k in enumerate(self._new.written):
            v = plan.variables[k]
            self._writes.append(
                (k, v.cell, v.spec, v.in_place and bool(v.spec.dims), -1 if v.spec.dims else self._first_new + n)
            )
        self._guarded = [k for k, v in enumerate(plan.variables) if v.written or v.regional]
        cells = {*plan.cells, *[plan.variables[k].cell for k in self._guarded]}
        self._locked = sorted(cells, key=lambda cell: str(cell.name))
        self._objects = driver.reads_objects()
        self._cells = [v.cell for v in plan.variables]
        self._order = _only_outputs(plan)
        self._frames: list[Frame] = []
        self._help = Help(), Help()

    # -- running -------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Run once."""
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = self._new.new()
        outputs = [make() for make in frame.makers]
        if not self._cells:
            self._run(0, frame, (*inputs, *outputs))
            found = self._results(frame, inputs, outputs, (), ())
        elif not self._locked:
            old = peek_all(self._cells) or self._waited()
            self._run(0, frame, (*inputs, *outputs, *old))
            found = self._results(frame, inputs, outputs, old, ())
        else:
            found = self._update(frame, inputs, outputs)
        self._frames.append(frame)
        return found

    def _waited(self) -> list[Any]:
        """The values of the variables, never half of an update; nothing for one without a value."""
        old = []
        for cell in self._cells:
            with cell.lock:
                old.append(cell.array)
        return old

    def _update(self, frame: Frame, inputs: tuple[Any, ...], outputs: list[Any]) -> tuple[Any, ...]:
        """A run that writes variables, or reads them in an atomic region."""
        variables, cells = self.plan.variables, self._cells
        held: list[Any] = []
        busy: list[tuple[Any, bool]] = []  # cells that readers must not look into, and whether that was so before
        new: Any
        old = self._snapshots(frame, inputs, outputs)
        try:
            for cell in self._locked:
                held.append(cell.lock)  # noted first: an interrupt between the two must not leave it locked for good
                cell.lock.acquire()
            new = []
            for _, cell, spec, in_place, scalar in self._writes:
                busy.append((cell, cell.busy))
                if in_place and cell._alone():  # before anything else refers to the array
                    new.append(None)
                else:
                    new.append(_fresh(spec) if scalar < 0 else frame.scalars[scalar])
            for k in self._guarded:
                old[k] = cells[k].array
            for n, (k, _, _, _, _) in enumerate(self._writes):
                if new[n] is None:
                    new[n] = old[k]
                elif not variables[k].read:
                    old[k] = new[n]
            new = self._run(1, frame, (*inputs, *outputs, *old, *new))[self._first_new :]
            for (k, cell, _, _, scalar), array in zip(self._writes, new, strict=True):
                if array is not old[k] or cell.array is not array:
                    cell.array = array if scalar < 0 else array[()]
        finally:
            for cell, before in busy:
                cell.busy = before
            _release(held)
        return self._results(frame, inputs, outputs, old, new)

    def _snapshots(self, frame: Frame, inputs: tuple[Any, ...], outputs: list[Any]) -> list[Any]:
        """Run the first phase, if there is one; the values of the variables that need no lock."""
        old: list[Any] = [None] * len(self.plan.variables)
        both = bool(self.plan.phases[0])
        for k, cell in enumerate(self._cells):
            if both or k not in self._guarded:
                old[k] = cell.array
                if cell.busy:
                    with cell.lock:
                        old[k] = cell.array
        if both:
            self._run(0, frame, (*inputs, *outputs, *old))
            for k in self._guarded:
                old[k] = None  # or the update would find it shared
        return old

    def _run(self, number: int, frame: Frame, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """One phase; returns the arguments that it worked on."""
        phase = self._phases[number]
        if not phase.cuts:
            return args
        address = frame.addresses[number]
        if not self._objects:
            args = self._resolve(frame, phase.arguments, args)
        while bad := phase.start(address, args):
            args = self._mended(args, bad - 1)
        if phase.together:
            self._run_together(number, frame.states[number], address)
        elif len(phase.cuts) > 1:
            for begin, end in phase.cuts:
                driver.get_driver().resume(address, begin, end)
        return args

    def _run_together(self, number: int, state: Any, address: int) -> None:
        """The entries, with what help there is."""
        cuts, help, together = self._phases[number].cuts, self._help[number], team.team()
        state[:] = 0
        state[0] = -1
        started = time.perf_counter()
        if help.resting or not together.begin(self._workers - 1):
            for begin, end in cuts:
                driver.get_driver().resume(address, begin, end)
            help.went_alone(time.perf_counter() - started)
            return
        lead = team.calls().lead
        try:
            for begin, end in cuts:
                lead(address, begin, end)
        finally:
            lead(address, 0, 0)
            together.end()
        help.came(time.perf_counter() - started)

    def _mended(self, args: tuple[Any, ...], number: int) -> tuple[Any, ...]:
        """The arguments with one that was not laid out as needed replaced by a copy that is."""
        spec = self._specs[number]
        if args[number] is None:
            variable = self.plan.variables[number - self._first_cell]
            try:
                variable.cell.snapshot()
            except Error as error:
                raise MemberFailed(variable.instruction, (variable.cell,), error) from None
        if number >= self._first_new:  # the old value's memory cannot be written as it is
            return (*args[:number], _fresh(spec), *args[number + 1 :])
        found = np.array(args[number], spec.dtype.np, order="C")
        if found.shape != spec.dims or number in range(len(self.inputs), self._first_cell):
            raise MemberFailed(self._reader(number), (found,), _other_shape(spec, found))
        return (*args[:number], found, *args[number + 1 :])

    def _reader(self, number: int) -> Instruction:
        """The first instruction that reads an argument."""
        if number >= self._first_cell:
            return self.plan.variables[number - self._first_cell].instruction
        value = self.inputs[number] if number < len(self.inputs) else -1
        return next((ins for ins in self.plan.instructions if value in ins.inputs), self.instruction)

    def _resolve(self, frame: Frame, count: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Ask each argument for its address, where the driver cannot; returns what must stay alive."""
        for number in range(count):
            found = args[number]
            if type(found) is not np.ndarray or not _fits(self._specs[number], found):
                args = self._mended(args, number)
            frame.resolved[number] = args[number].ctypes.data
        return args

    def _results(
        self, frame: Frame, inputs: Sequence[Any], outputs: Sequence[Any], old: Sequence[Any], new: Sequence[Any]
    ) -> tuple[Any, ...]:
        if self._order is not None:
            return tuple([outputs[n][()] if scalar else outputs[n] for n, scalar in self._order])
        found = []
        places = {"inside": outputs, "outside": inputs, "old": old, "new": new}
        for kind, number, dims, copied in self.plan.results:
            if kind == "handle":
                found.append(self.plan.handles[number])
                continue
            value = places[kind][number]
            if not value.ndim:
                value = value[()]
            elif copied:
                value = value.copy()
            found.append(value if dims is None else value.reshape(dims))
        return tuple(found)

    # -- pictures ------------------------------------------------------------------------------------------------

    @property
    def listing(self) -> str:
        """The kernels in their order, with the ops that each computes and the user's line of the first."""
        lines = [f"native, for instructions {self.begin} to {self.end - 1}:"]
        for number, entries in enumerate(self.plan.phases):
            if entries and self._writes:
                lines.append("  holding the locks of the variables it writes:" if number else "  without locks:")
            for e in entries:
                names = ", ".join(f"{i.type}: {i.op.name}" for i in e.instructions)
                lines.append(f"    {e.kernel.symbol}  # {names}, {e.instructions[0].op.source}")
        return "\n".join(lines)

    @property
    def source(self) -> str:
        """The LLVM code of each kernel."""
        kernels = {e.kernel.symbol: e.kernel.source for entries in self.plan.phases for e in entries}
        return "\n\n".join(kernels.values())


def _release(held: list[Any]) -> None:
    """Give back locks, in the reverse order."""
    while held:
        with contextlib.suppress(RuntimeError):  # it was interrupted before it got this one
            while held:
                held.pop().release()


def _only_outputs(plan: Plan) -> tuple[tuple[int, bool], ...] | None:
    """The results, if all of them are memory that was made for them: which, and whether it is of rank 0."""
    if any(r.kind != "inside" or r.copied or r.dims is not None for r in plan.results):
        return None
    return tuple([(r.number, not plan.buffers[r.number].dims) for r in plan.results])


def _other_shape(spec: TensorSpec, found: Any) -> ShapeError:
    return ShapeError(
        "a value has another shape than the graph says", expected=describe(spec.dims), got=describe(found.shape)
    )


def _fresh(spec: TensorSpec) -> Any:
    dims: Any = spec.dims
    return np.empty(dims, spec.dtype.np)


def _fits(spec: TensorSpec, array: Any) -> bool:
    """Whether a kernel may write into the array."""
    flags = array.flags
    plain = flags.c_contiguous and flags.aligned and flags.writeable
    return bool(plain and array.shape == spec.dims and array.dtype == spec.dtype.np)
