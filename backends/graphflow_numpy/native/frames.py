"""What one run of a segment needs: memory of its own, and the tables of 64-bit words that the driver reads.

Policy: a frame is the memory of one run and can be used again by a later one.  All that depends on the plan alone is
made once, by `Frames`; a frame adds what has an address of its own.  What leaves a segment is memory that no frame
keeps: a fresh array, or a large one that was handed out before and that nobody holds any more; one that is written
past the caches is aligned.

State: `Frames` owns the tables that all frames share, and the large arrays that may be handed out again.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphflow.runtime.recycling import LARGE, Recycled
from graphflow.spec import TensorSpec
from graphflow_numpy.native import driver, team
from graphflow_numpy.native.plans import ALIGNMENT, STREAMED, Entry, Plan

QUICK = 4e-6  # seconds of work up to which giving up the GIL is not worth it
SHARED = 6e-6  # seconds of work of a kernel from which on helpers may claim parts of it
TEAM = 30e-6  # seconds of such work from which on helpers are asked for
SLICE = 0.02  # seconds of work after which Python looks for signals
PARTS = 16  # of a kernel for each thread

Maker = Callable[[], Any]


class Frame:
    """Memory and tables of one run."""

    __slots__ = ("addresses", "keep", "makers", "resolved", "scalars", "states")

    def __init__(self, scalars: dict[int, Any], resolved: Any, keep: list[Any]) -> None:
        self.addresses: list[int] = []  # of the header of each phase
        self.states: list[Any] = []  # of each phase: what helpers look at
        self.makers: list[Maker] = []  # of the memory of each output
        self.scalars = scalars  # number of the argument -> its array of rank 0
        self.resolved = resolved
        self.keep = keep


class Phase(NamedTuple):
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


class Frames:
    """What makes the frames of one segment."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self.plan, self.workers = plan, workers
        self.specs = [*plan.input_specs, *plan.buffers, *[v.spec for v in plan.variables]]
        self.written = [k for k, v in enumerate(plan.variables) if v.written]
        self.first_buffer = len(plan.input_specs)
        self.first_cell = self.first_buffer + len(plan.buffers)
        self.first_new = len(self.specs)
        self.specs += [plan.variables[k].spec for k in self.written]
        self._objects = driver.reads_objects()
        self._keep: list[Any] = [plan.keep]
        self.phases = tuple([self._phase(entries, bool(n)) for n, entries in enumerate(plan.phases)])
        self._makers = [_maker(spec) for spec in plan.buffers]

    def _phase(self, entries: Sequence[Entry], locked: bool) -> Phase:
        seconds = sum(e.seconds for e in entries)
        functions = driver.get_driver()
        count = len(self.specs) - (0 if locked else len(self.written))
        start = functions.start_quick if seconds < QUICK else functions.start
        shared = sum(e.seconds for e in entries if self._grain(e))
        return Phase(start, self._spec_table(), count, _cuts(entries), shared >= TEAM)

    def _grain(self, entry: Entry) -> int:
        """Units of a kernel that a thread claims at once; 0 where one thread does them all."""
        units = entry.kernel.units
        if self.workers < 2 or entry.seconds < SHARED or units < 2:
            return 0
        grain = max(1, min(entry.kernel.grain, units // 2), units // (PARTS * self.workers))
        return grain if grain < units else 0

    def _spec_table(self) -> Any:
        table = np.zeros((max(1, len(self.specs)), driver.SPEC_WORDS), np.int64)
        for number, (row, spec) in enumerate(zip(table, self.specs, strict=False)):
            dims = np.array([*spec.dims, 0], np.int64)  # type: ignore[misc]
            self._keep.append(dims)
            scalar = id(spec.dtype.np.type) if not spec.dims else 0
            row[:5] = scalar, id(np.ndarray), id(np.dtype(spec.dtype.np)), len(spec.dims or ()), dims.ctypes.data
            row[5] = driver.WANTED_FLAGS | (driver.WRITABLE if number >= self.first_new else 0)
        return table

    # -- one frame -----------------------------------------------------------------------------------------------

    def new(self) -> Frame:
        """A frame that nothing uses yet."""
        plan = self.plan
        memory, arena = aligned_bytes(plan.arena)
        resolved = np.zeros(max(1, len(self.specs)), np.int64)
        keep: list[Any] = [memory, resolved]
        scalars = {}
        for number, spec in enumerate(self.specs):
            if not spec.dims and (self.first_buffer <= number < self.first_cell or number >= self.first_new):
                scalars[number] = np.zeros((), spec.dtype.np)
        frame = Frame(scalars, resolved, keep)
        for number, maker in enumerate(self._makers, self.first_buffer):
            frame.makers.append(maker or itertools.repeat(scalars[number]).__next__)
        for phase, entries in zip(self.phases, plan.phases, strict=True):
            self._add_tables(frame, phase, entries, arena)
        return frame

    def _add_tables(self, frame: Frame, phase: Phase, entries: Sequence[Entry], arena: int) -> None:
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
        header[:10] = (
            phase.arguments if self._objects else 0, phase.specs.ctypes.data, len(patches), table.ctypes.data,
            at_once, rows.ctypes.data, frame.resolved.ctypes.data, address,
            team.team().board, self.workers - 1,
        )  # fmt: skip
        frame.keep += [rows, table, header, phase.specs]
        frame.addresses.append(header.ctypes.data)
        frame.states.append(words)

    def _add_block(self, frame: Frame, entry: Entry, arena: int, patches: list[tuple[int, int, int]]) -> int:
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


def _maker(spec: TensorSpec) -> Maker | None:
    """What makes the memory of an output; nothing for one of rank 0, for which each frame has a place."""
    dims: Any = spec.dims
    dtype = np.dtype(spec.dtype.np)
    size = dtype.itemsize * prod(dims)
    if not dims:
        return None
    if size < min(LARGE, STREAMED):
        return functools.partial(np.empty, dims, dtype)
    if size < STREAMED:
        return Recycled(dims, dtype).take
    memory = Recycled((size + ALIGNMENT,), np.dtype(np.uint8))

    def aligned() -> Any:
        whole = memory.take()  # which its view keeps
        return np.ndarray(dims, dtype, whole, -whole.ctypes.data % ALIGNMENT)

    return aligned


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
