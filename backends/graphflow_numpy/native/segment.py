"""A segment: a stretch of a Program as one call, made of native kernels that run one after the other.

Policy: a call hands its arguments to the driver as they are; memory for what stays inside comes from a frame, and
frames are pooled, so that threads can run one segment at a time each.  What leaves a segment is memory of its own: a
fresh array, or a large one that was handed out before and that nobody holds any more.  A variable is treated as
`cells` says: what was read never changes, and an update is one atomic step under the locks of all variables that the
segment writes, in the order of their names.  A segment with much work runs in two phases: the first one works on
snapshots without any lock, the second one, which writes, is short.

Large kernels are shared with idle threads where that was of use lately.

State: each segment owns its frames, the large arrays that it may hand out again, and the times with and without help.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.errors import Error
from graphflow.spec import TensorSpec
from graphflow_numpy.native import driver
from graphflow_numpy.native.plans import ALIGNMENT, Entry, Help, Plan
from graphflow_numpy.recycling import LARGE, Recycled

QUICK = 4e-6  # seconds of work up to which giving up the GIL is not worth it
SHARED = 12e-6  # seconds of work of a kernel from which on helpers may claim parts of it
TEAM = 100e-6  # seconds of such work from which on helpers are asked for
SLICE = 0.02  # seconds of work after which Python looks for signals
PARTS = 8  # of a kernel for each thread

Share = Callable[[int, Callable[[int, int], None], int], None]


class _Frame:
    """Memory and tables of one run."""

    __slots__ = ("addresses", "keep", "resolved", "scalars", "states")

    def __init__(self, scalars: dict[int, Any], resolved: Any, keep: list[Any]) -> None:
        self.addresses: list[int] = []  # of the header of each phase
        self.states: list[Any] = []  # of each phase: what helpers look at
        self.scalars = scalars  # number of the argument -> its array of rank 0
        self.resolved = resolved
        self.keep = keep


class _Phase(NamedTuple):
    """What the driver is told about one phase, beside its tables."""

    start: Any
    specs: Any
    arguments: int
    cuts: tuple[tuple[int, int], ...]  # entries of the driver, call by call
    together: bool  # whether helpers are asked for


def aligned_bytes(size: int) -> tuple[Any, int]:
    """Memory and the first address in it that suits vectors."""
    memory = np.empty(max(size, 1) + ALIGNMENT, np.uint8)
    address = memory.ctypes.data
    return memory, address + -address % ALIGNMENT


class Segment:
    """A stretch of a Program: `segment(*inputs) -> outputs`."""

    several = True

    def __init__(self, plan: Plan, share: Share | None = None, workers: int = 1) -> None:
        self.plan = plan
        self.begin, self.end = plan.begin, plan.end
        self.inputs, self.outputs = plan.inputs, plan.outputs
        self.instruction = plan.instructions[0]
        self._share, self._workers = share, workers
        self._specs = [*plan.input_specs, *plan.buffers, *[v.spec for v in plan.variables]]
        self._written = [k for k, v in enumerate(plan.variables) if v.written]
        self._first_new = len(self._specs)
        self._specs += [plan.variables[k].spec for k in self._written]
        self._writes = []
        for n, k in enumerate(self._written):
            v = plan.variables[k]
            self._writes.append(
                (k, v.cell, v.spec, v.in_place and bool(v.spec.dims), -1 if v.spec.dims else self._first_new + n)
            )
        self._guarded = [k for k, v in enumerate(plan.variables) if v.written or v.regional]
        cells = {*plan.cells, *[plan.variables[k].cell for k in self._guarded]}
        self._locked = sorted(cells, key=lambda cell: str(cell.name))
        self._keep: list[Any] = [plan.keep]
        self._objects = driver.reads_objects()
        self._phases = tuple([self._phase(entries, bool(n)) for n, entries in enumerate(plan.phases)])
        first = len(plan.input_specs)
        self._makers = [self._maker(first + k, spec) for k, spec in enumerate(plan.buffers)]
        self._first_cell = first + len(plan.buffers)
        self._cells = [v.cell for v in plan.variables]
        self._frames: list[_Frame] = []
        self._help = Help(), Help()

    # -- construction --------------------------------------------------------------------------------------------

    def _phase(self, entries: Sequence[Entry], locked: bool) -> _Phase:
        seconds = sum(e.seconds for e in entries)
        functions = driver.get_driver()
        count = len(self._specs) - (0 if locked else len(self._written))
        start = functions.start_quick if seconds < QUICK else functions.start
        shared = sum(e.seconds for e in entries if self._grain(e))
        return _Phase(start, self._spec_table(), count, _cuts(entries), shared >= TEAM)

    def _grain(self, entry: Entry) -> int:
        """Units of a kernel that a thread claims at once; 0 where one thread does them all."""
        units = entry.kernel.units
        if self._share is None or self._workers < 2 or entry.seconds < SHARED or units < 2:
            return 0
        grain = max(1, min(entry.kernel.grain, units // 2), units // (PARTS * self._workers))
        return grain if grain < units else 0

    def _spec_table(self) -> Any:
        table = np.zeros((max(1, len(self._specs)), driver.SPEC_WORDS), np.int64)
        for number, (row, spec) in enumerate(zip(table, self._specs, strict=False)):
            dims = np.array([*spec.dims, 0], np.int64)  # type: ignore[misc]
            self._keep.append(dims)
            scalar = id(spec.dtype.np.type) if not spec.dims else 0
            row[:5] = scalar, id(np.ndarray), id(np.dtype(spec.dtype.np)), len(spec.dims or ()), dims.ctypes.data
            row[5] = driver.WANTED_FLAGS | (driver.WRITABLE if number >= self._first_new else 0)
        return table

    def _maker(self, number: int, spec: TensorSpec) -> Callable[[_Frame], Any]:
        """What makes the memory of an output."""
        dims, dtype = spec.dims, np.dtype(spec.dtype.np)
        assert dims is not None
        if not dims:
            return lambda frame: frame.scalars[number]
        size = dtype.itemsize
        for n in dims:
            size *= n  # type: ignore[operator]
        if size < LARGE:
            return lambda frame: np.empty(dims, dtype)
        recycled = Recycled(dims, dtype)
        return lambda frame: recycled.take()

    def _new_frame(self) -> _Frame:
        plan = self.plan
        memory, arena = aligned_bytes(plan.arena)
        resolved = np.zeros(max(1, len(self._specs)), np.int64)
        keep: list[Any] = [memory, resolved]
        scalars = {}
        for number, spec in enumerate(self._specs):
            if not spec.dims and (len(plan.inputs) <= number < self._first_cell or number >= self._first_new):
                scalars[number] = np.zeros((), spec.dtype.np)
        frame = _Frame(scalars, resolved, keep)
        for phase, entries in zip(self._phases, plan.phases, strict=True):
            self._add_tables(frame, phase, entries, arena)
        return frame

    def _add_tables(self, frame: _Frame, phase: _Phase, entries: Sequence[Entry], arena: int) -> None:
        """The driver's tables for one phase."""
        patches: list[tuple[int, int, int]] = []
        lines: list[tuple[int, int, int, int, int]] = []
        for entry in entries:
            start = self._add_block(frame, entry, arena, patches)
            lines.append((entry.kernel.address, start, 0, entry.kernel.units, phase.together and self._grain(entry)))
            if entry.kernel.finish:
                lines.append((entry.kernel.finish, start, 0, 1, 0))
        rows = np.array(lines or [(0, 0, 0, 0, 0)], np.int64)
        state, address = aligned_bytes(8 * (driver.HEAD_WORDS + driver.COUNTER_WORDS * len(rows)))
        offset = address - state.ctypes.data
        words = state[offset : offset + 8 * (driver.HEAD_WORDS + driver.COUNTER_WORDS * len(rows))].view(np.int64)
        table = np.array(patches or [(0, 0, 0)], np.int64)
        header = np.zeros(driver.FRAME_WORDS, np.int64)
        at_once = phase.cuts[0][1] if len(phase.cuts) == 1 and not phase.together else 0
        header[:8] = (
            phase.arguments if self._objects else 0, phase.specs.ctypes.data, len(patches), table.ctypes.data,
            at_once, rows.ctypes.data, frame.resolved.ctypes.data, address,
        )  # fmt: skip
        frame.keep += [rows, table, header, phase.specs]
        frame.addresses.append(header.ctypes.data)
        frame.states.append(words)

    def _add_block(self, frame: _Frame, entry: Entry, arena: int, patches: list[tuple[int, int, int]]) -> int:
        """The pointers of one kernel: to its inputs, outputs and scratch."""
        block = np.zeros(max(1, len(entry.places) + len(entry.kernel.scratch)), np.int64)
        start: int = block.ctypes.data
        frame.keep.append(block)
        for k, place in enumerate(entry.places):
            if place.kind == "argument":
                patches.append((place.number, start + 8 * k, 0))
            else:
                block[k] = place.number + (arena if place.kind == "arena" else 0)
        for k, size in enumerate(entry.kernel.scratch):
            memory, address = aligned_bytes(size)
            frame.keep.append(memory)
            block[len(entry.places) + k] = address
        return start

    # -- running -------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Run once."""
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = self._new_frame()
        outputs = [make(frame) for make in self._makers]
        if not self.plan.variables:
            self._run(0, frame, (*inputs, *outputs))
            found = self._results(frame, inputs, outputs, (), ())
        elif not self._locked:
            old = []
            for cell in self._cells:
                with cell.lock:  # never half of an update
                    old.append(cell.array)
            self._run(0, frame, (*inputs, *outputs, *old))
            found = self._results(frame, inputs, outputs, old, ())
        else:
            found = self._update(frame, inputs, outputs)
        self._frames.append(frame)
        return found

    def _update(self, frame: _Frame, inputs: tuple[Any, ...], outputs: list[Any]) -> tuple[Any, ...]:
        """A run that writes variables, or reads them in an atomic region."""
        variables, cells = self.plan.variables, self._cells
        held: list[Any] = []
        new: Any
        old = self._snapshots(frame, inputs, outputs)
        try:
            for cell in self._locked:
                held.append(cell.lock)  # noted first: an interrupt between the two must not leave it locked for good
                cell.lock.acquire()
            new = []
            for _, cell, spec, in_place, scalar in self._writes:
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
            _release(held)
        return self._results(frame, inputs, outputs, old, new)

    def _snapshots(self, frame: _Frame, inputs: tuple[Any, ...], outputs: list[Any]) -> list[Any]:
        """Run the first phase, if there is one; the values of the variables that need no lock."""
        old: list[Any] = [None] * len(self.plan.variables)
        both = bool(self.plan.phases[0])
        for k, cell in enumerate(self._cells):
            if both or k not in self._guarded:
                with cell.lock:
                    old[k] = cell.array
        if both:
            self._run(0, frame, (*inputs, *outputs, *old))
            for k in self._guarded:
                old[k] = None  # or the update would find it shared
        return old

    def _run(self, number: int, frame: _Frame, args: tuple[Any, ...]) -> tuple[Any, ...]:
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
        """The entries, with what help there is: the first to come leads, the others assist."""
        functions = driver.get_driver()
        state[:] = 0
        state[0] = -1

        def lead() -> None:
            try:
                for begin, end in self._phases[number].cuts:
                    functions.resume(address, begin, end)
            finally:
                functions.lead(address, 0, 0)  # no entries: tells the others that all is over

        def part(first: int, last: int) -> None:
            if first == 0:
                lead()
            elif last > first:
                functions.assist(address, driver.PATIENCE, 0)

        help = self._help[number]
        started = time.perf_counter()
        if help.resting or self._share is None:
            lead()
            help.went_alone(time.perf_counter() - started)
        else:
            self._share(self._workers, part, self._workers)
            help.came(time.perf_counter() - started)

    def _mended(self, args: tuple[Any, ...], number: int) -> tuple[Any, ...]:
        """The arguments with one that was not laid out as needed replaced by a copy that is."""
        spec = self._specs[number]
        if args[number] is None:
            variable = self.plan.variables[number - self._first_cell]
            try:
                variable.cell.snapshot()
            except Error as error:
                raise error.attach(variable.instruction.op) from None
        if number >= self._first_new:  # the old value's memory cannot be written as it is
            return (*args[:number], _fresh(spec), *args[number + 1 :])
        found = np.array(args[number], spec.dtype.np, order="C")
        if found.shape != spec.dims or number in range(len(self.inputs), self._first_cell):
            raise ValueError(f"a value of shape {spec.dims} has shape {found.shape}")
        return (*args[:number], found, *args[number + 1 :])

    def _resolve(self, frame: _Frame, count: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Ask each argument for its address, where the driver cannot; returns what must stay alive."""
        for number in range(count):
            found = args[number]
            if type(found) is not np.ndarray or not _fits(self._specs[number], found):
                args = self._mended(args, number)
            frame.resolved[number] = args[number].ctypes.data
        return args

    def _results(
        self, frame: _Frame, inputs: Sequence[Any], outputs: Sequence[Any], old: Sequence[Any], new: Sequence[Any]
    ) -> tuple[Any, ...]:
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
            if entries and self._written:
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


def _rows(entries: Sequence[Entry]) -> list[tuple[Entry, bool]]:
    """The calls of the driver: kernels, and after some of them what finishes their work (True)."""
    return [(e, finishing) for e in entries for finishing in ((False, True) if e.kernel.finish else (False,))]


def _cuts(entries: Sequence[Entry]) -> tuple[tuple[int, int], ...]:
    """The driver's entries cut into calls, between which a signal is seen."""
    cuts, begin, total = [], 0, 0.0
    rows = _rows(entries)
    for k, (entry, _) in enumerate(rows):
        total += entry.seconds
        if total >= SLICE or k + 1 == len(rows):
            cuts.append((begin, k + 1))
            begin, total = k + 1, 0.0
    return tuple(cuts)


def _fresh(spec: TensorSpec) -> Any:
    dims: Any = spec.dims
    return np.empty(dims, spec.dtype.np)


def _fits(spec: TensorSpec, array: Any) -> bool:
    """Whether a kernel may write into the array."""
    flags = array.flags
    plain = flags.c_contiguous and flags.aligned and flags.writeable
    return bool(plain and array.shape == spec.dims and array.dtype == spec.dtype.np)
