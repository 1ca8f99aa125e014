"""The OpenCL backend, and programs that it made executable.

Policy: a run holds the device's lock, places the feeds, queues all launches and waits once, or wherever the host has
something to do in between.  Memory that the device refuses is asked for once more after everything that can be spared
was freed; then it is `ResourceExhaustedError` with the largest values.  The session stays usable.

State: a backend has its device, opened when first needed; an executable its plan and frames for reuse.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl

from graphflow.backend import Context, Executable, Run, load_backend
from graphflow.program import Group, Instruction, Memory, Program, Storage
from graphflow.runtime.recycling import Recycled
from graphflow.spec import nbytes
from graphflow_opencl import families, fused, listing, observing, variables
from graphflow_opencl.cells import DeviceCell, lives_on_device
from graphflow_opencl.devices import Device, open_device
from graphflow_opencl.driver_errors import TOLD, explained, ours, out_of_memory, raise_ours
from graphflow_opencl.facts import STATEFUL, VIEWS
from graphflow_opencl.frames import Frame
from graphflow_opencl.hosting import HostTask
from graphflow_opencl.lanes import is_short, lanes_of
from graphflow_opencl.layout import LARGE, lay_out
from graphflow_opencl.lowering import Lowering
from graphflow_opencl.memory import DeviceArray, Store
from graphflow_opencl.plan import KERNELS, STATE, Plan
from graphflow_opencl.table import HOST, RULES

# Where the results of a run go: to the caller's arrays, to arrays of the device for the caller, to another program.
OUTSIDE, STAYING, INSIDE = "outside", "staying", "inside"


class OpenCLBackend:
    """Executes programs on one OpenCL device."""

    name = "opencl"
    families = families.__all__
    default_level = 2  # kernels round as they must, so nothing is gained by keeping NumPy's order of operations
    own_passes = frozenset({"schedule", "memory"})  # lanes and arenas are made here
    array_type = DeviceArray

    def __init__(self, wanted: str | None = None) -> None:
        self._wanted = wanted
        self._stores: dict[Device, Store] = {}

    def at(self, device: str) -> OpenCLBackend:
        """The backend for a device such as `opencl:0:1`."""
        return self if not device.startswith("opencl:") else _backend_at(device)

    @property
    def _opened(self) -> tuple[Device, Store]:
        """The device and its store of memory, made at first use."""
        device = open_device(self._wanted)
        if device not in self._stores:
            self._stores[device] = Store(device)
        return device, self._stores[device]

    @property
    def device(self) -> Device:
        """The device, opened at first use."""
        return self._opened[0]

    @property
    def kinds(self) -> frozenset[str]:
        """What `tf.device` may ask for."""
        return frozenset({"cpu", "opencl"} | ({"gpu"} if self.device.kind == "gpu" else set()))

    def has_kernel(self, type: str) -> bool:
        """Whether an op type can be executed."""
        known = type in RULES or type in HOST or type in VIEWS or type in STATEFUL or fused.is_pointwise(type)
        return known or load_backend("numpy").has_kernel(type)

    def new_cell(self, name: str, dtype: Any, dims: Any) -> Any:
        """Memory for a variable, without a value."""
        if lives_on_device(dtype, dims) and (dtype.name != "float64" or self.device.traits.doubles):
            device, store = self._opened
            with explained(device):
                return DeviceCell(device, store, name, dtype, dims)
        return load_backend("numpy").new_cell(name, dtype, dims)

    def evaluate(self, ins: Instruction, inputs: Sequence[Any]) -> Sequence[Any]:
        """Compute one instruction on NumPy values, with NumPy."""
        return load_backend("numpy").evaluate(ins, inputs)

    def storage(self, program: Program, ins: Instruction) -> Storage:
        """Memory is planned here, not by the pass."""
        return Storage()

    def is_whole(self, program: Program, group: Group) -> bool:
        """Whether a group is one kernel, or a few."""
        return True

    def compile(self, program: Program, context: Context) -> Executable:
        """Make a program executable."""
        return OpenCLExecutable(program, context, *self._opened)


@functools.cache
def _backend_at(device: str) -> OpenCLBackend:
    return OpenCLBackend(device)


class OpenCLExecutable:
    """One compiled program."""

    needs_run = True

    def __init__(self, program: Program, context: Context, device: Device, store: Store) -> None:
        self._context = context
        self._device = device
        self._store = store
        self._plan = Lowering(program, device, context.soft_placement, _one_by_one(program, context)).plan()
        self._tasks = _tasks(self._plan, context)
        self._frames: dict[bool, list[Frame]] = {True: [], False: []}
        self._inline = device.inline is not None and is_short(self._plan, device.traits)
        self._lanes = [0] * len(self._plan.nodes) if self._inline else lanes_of(self._plan, device.traits)
        self._arena = lay_out(self._plan, self._lanes, {}, device.alignment)
        self.program = replace(program, memory=_memory(self._arena))
        self._framer = observing.framer(context.watch, self.program)

    def __call__(self, feeds: Sequence[Any], run: Run | None) -> list[Any]:
        """The fetched values as arrays of the caller's."""
        return self._run(feeds, run or Run(0), OUTSIDE)

    def stay(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """The fetched values as arrays on the device, of the caller's; what is not there as arrays of the host."""
        return self._run(feeds, run, STAYING)

    def compute(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """The fetched values as they lie on the device."""
        return self._run(feeds, run, INSIDE)

    def listing(self) -> str:
        """The steps, each with the ops and the user's lines."""
        short = "\nall in the thread that runs the session, for it is short" if self._inline else ""
        return listing.steps(self._plan, self._device) + short

    def native_code(self) -> str:
        """The source of the kernels, each with the ops that it computes."""
        return listing.sources(self._plan)

    def placements(self) -> dict[int, tuple[str, str]]:
        """Where each instruction is done, and why on the host."""
        return listing.placements(self._plan, "GPU" if self._device.kind == "gpu" else "OPENCL")

    def _run(self, feeds: Sequence[Any], run: Run, kind: str) -> list[Any]:
        self._device.check_process()
        cells = self._cells  # made before the device's lock is taken: a session makes them under a lock of its own
        outside = kind == OUTSIDE
        with self._device.lock:
            try:
                frames = self._frames[outside]
                frame = frames.pop() if frames else self._frame_after_all(outside)
                if kind == INSIDE:
                    self._device.finish()  # the host is about to write where launches of an earlier turn may still read
                started = time.perf_counter()
                frame.run(feeds, cells, run)
                if kind != INSIDE or frame.has_lanes:
                    frame.finish()
                frame.took(time.perf_counter() - started)
                give = self._given if outside else self._kept
                found = [give(frame, v) for v in self.program.fetches]
                if kind == STAYING:
                    frame.finish()
                if outside:
                    frame.forget()
                frames.append(frame)
            except TOLD as error:
                raise_ours(self._device, self._plan, error)
            return found

    @functools.cached_property
    def _cells(self) -> list[tuple[int, Any]]:
        """The variables' handles and their memory, which stays the same for as long as the plan lives."""
        return [(handle, self._context.cell(op)) for handle, op in self.program.handles.items()]

    def _frame_after_all(self, outside: bool) -> Frame:
        """A new frame; if there is no memory for it, once more after all that can be spared is freed."""
        try:
            return self._new_frame(outside)
        except (cl.Error, MemoryError, ValueError) as error:
            if not out_of_memory(error):
                raise
            self._device.finish()
            self._frames = {True: [], False: []}
            self._store.clear()
        gc.collect()
        try:
            return self._new_frame(outside)
        except (MemoryError, ValueError) as error:
            raise ours(self._device, self._plan, error) from error

    def _new_frame(self, outside: bool) -> Frame:
        plan = self._plan
        written = {v for node in plan.nodes for v in node.writes}
        loose: dict[int, Callable[[], Any] | None] = {}
        for v in plan.program.fetches:
            home = plan.home(v)
            known = plan.values[home]
            if home not in written or home in plan.variables or home in plan.on_host or not nbytes(known):
                continue
            large = (nbytes(known) or 0) >= LARGE
            if not outside:
                loose[home] = None
            elif large and self._device.traits.shares_memory and known.dims == plan.values[v].dims:
                loose[home] = Recycled(known.dims, known.dtype.np).take
        layout = lay_out(plan, self._lanes, loose, self._device.alignment)
        closed = self._context.is_closed
        return self._framer(self._device, self._store, plan, layout, self._tasks, self._lanes, closed, self._inline)

    def _given(self, frame: Frame, v: int) -> Any:
        """A fetched value for the caller."""
        plan = self._plan
        home = plan.home(v)
        value = frame.on_host(v)
        if type(value) is not np.ndarray:
            return value
        if home in frame.loose and home == v and frame.hand_over(home):
            return value
        return value.copy() if value.ndim else value[()]

    def _kept(self, frame: Frame, v: int) -> Any:
        """A fetched value for another program of this backend."""
        plan = self._plan
        home = plan.home(v)
        if home in frame.absent:
            return None
        if home in plan.variables and v != home:
            return frame.copied(v)
        return frame.copied(v) if frame.is_passing(home) else frame.on_device(v)


def _one_by_one(program: Program, context: Context) -> bool:
    """Whether someone follows the program as it was written, op by op."""
    return context.watch is not None and context.watch.wants_values and program.level == 0


def _tasks(plan: Plan, context: Context) -> list[Any]:
    """For each node what the host does; None for kernels."""
    readers: dict[int, set[int]] = {}
    for ins in plan.program.instructions:
        for v in ins.inputs:
            readers.setdefault(v, set()).add(ins.key)
    fetched = set(plan.program.fetches)
    everything = context.watch is not None and context.watch.wants_values
    out: list[Any] = []
    for node in plan.nodes:
        if node.kind in (KERNELS, STATE):
            out.append(variables.step_of(node.instructions[0]) if node.kind == STATE else None)
            continue
        own = {ins.key for ins in node.instructions}
        made = [v for ins in node.instructions for v in ins.outputs if v >= 0]
        wanted = [v for v in made if everything or v in fetched or not readers.get(v, own) <= own]
        out.append(HostTask(plan, node, wanted, context))
    return out


def _memory(layout: Any) -> Memory:
    return Memory(layout.size, layout.offsets, layout.peak_before, layout.size)


backend = OpenCLBackend()
