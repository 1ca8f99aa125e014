"""A plan bound to memory and kernels, ready to run: one frame for each run that goes on at once.

Policy: kernels get their arguments once; what may lie elsewhere in the next run (large feeds, large fetches, the
variables that a function is given) is bound anew only if it does.  Launches are queued without waiting; the host waits
only before it touches memory itself, and at the end.  A run that ends by an error waits for what is under way, so
that nothing writes into memory that is handed out again.

State: each frame owns its arena, its kernels, and what their arguments are bound to.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from graphflow.backend import Run
from graphflow.errors import CancelledError, Error
from graphflow_opencl import clblast, staging
from graphflow_opencl.cells import DeviceCell, uninitialized
from graphflow_opencl.devices import ALIGNMENT, Device, address, wrap_memory
from graphflow_opencl.driver_errors import KernelFailed
from graphflow_opencl.layout import Layout
from graphflow_opencl.memory import DeviceArray, Piece, Store
from graphflow_opencl.plan import KERNELS, Node, Plan
from graphflow_opencl.refusals import Refusals
from graphflow_opencl.table import Launch, PerRun, Scratch, Status

WRAPPED = 1 << 16  # bytes of a feed from which on kernels read it where it lies
FIRST_STRIDE = 4  # steps between two waits as long as nobody knows how long a run takes
PATIENCE = 0.05  # seconds of work that may be queued, once it is known how long a run takes
MOST_WRAPPED = 4  # buffers over arrays of the caller's that are kept for a value
SYNC = "GRAPHFLOW_SYNC"  # 1: wait after each kernel, so that a failure is that kernel's
Step = Callable[[Run], None]


class Frame:
    """Memory and kernels for one run at a time."""

    def __init__(
        self,
        device: Device,
        store: Store,
        plan: Plan,
        layout: Layout,
        tasks: Sequence[Any],
        lanes: Sequence[int],
        is_closed: Callable[[], bool],
        inline: bool = False,
    ) -> None:
        self.device, self.store, self.plan = device, store, plan
        self._inline: Any = device.inline if inline else None  # in place of the device, for the kernels
        self.queue = self._queue_of(0)
        self.shared = device.traits.shares_memory
        self.values: dict[int, Any] = dict(plan.fixed)  # what the host alone has: objects, arrays, cells
        self.buffers: dict[int, Any] = {}
        self.hosts: dict[int, Any] = {}
        self._slots: dict[int, list[tuple[Any, int]]] = {}  # home -> kernels and places of their arguments
        self._owners: dict[int, Any] = {}
        self._nothing = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, ALIGNMENT)  # for values without elements
        self._keep: list[Any] = []
        self._sources: dict[int, Any] = {}
        self._scratch: dict[int, Piece] = {}  # memory between launches
        self._small: dict[int, Piece] = {}
        self._wrapped: dict[int, dict[tuple[int, int], Any]] = {}  # buffers over arrays of the caller's
        self._given: set[int] = set()  # results whose array the caller has got
        self.absent: set[int] = set()  # homes without a value in this run: of a branch that was not taken
        self._layout = layout
        self.loose = layout.loose
        self._arena = Piece(device, layout.size) if layout.size else None
        for home, offset in layout.offsets.items():
            self._place(home, self._arena, offset)
        self._is_closed = is_closed
        self._waits_each = os.environ.get(SYNC, "") == "1"
        self._stride = FIRST_STRIDE  # steps between two waits; 0: none are needed, for a run is short
        self._per_run: list[tuple[PerRun, Any, Any]] = []
        self._refusals = Refusals(device, self.queue, plan)
        self._before, self._lanes = plan.before, lanes
        self._queues = [self.queue, *map(self._queue_of, range(1, max(self._lanes, default=0) + 1))]
        self._events: list[Any] = [None] * len(plan.nodes)  # of the last launch of each node in this run
        self._steps = self._bound(tasks)
        self._cells: Any = None  # the variables that are bound
        self._feeders = [self._feeder(v) for v in plan.program.feeds]

    # -- binding ---------------------------------------------------------------------------------------------------

    def _queue_of(self, lane: int) -> Any:
        return self._inline.queue if self._inline else self.device.queue(lane)

    def _place(self, home: int, piece: Piece | None, offset: int) -> None:
        dims, dtype, size = self.plan.shape(home), self.plan.array_type(home), self.plan.size(home)
        if piece is None or not size:
            self.buffers[home], self.hosts[home] = self._nothing, np.empty(dims, dtype)
            return
        self.buffers[home] = piece.buffer.get_sub_region(offset, size)
        self.hosts[home] = piece.view(dims, dtype, offset)

    def _bound(self, tasks: Sequence[Any]) -> list[Step]:
        launches = [launch for node in self.plan.nodes for launch in node.launches]
        origins = [f"{i.op.name} ({i.op.source})" for n in self.plan.nodes if n.launches for i in n.instructions]
        kernels = iter(clblast.bound(self._inline or self.device, launches, origins))
        steps: list[Step] = []
        waiting, unchecked = True, False  # launches under way, of others too; some may have refused what they read
        for number, node in enumerate(self.plan.nodes):
            writes_variable = not self.plan.variables.isdisjoint(node.writes)
            if waiting and (node.kind != KERNELS or unchecked and writes_variable):
                steps.append(self._wait_and_check if unchecked else self._wait)
                waiting = unchecked = False
            before = self._refusals.count
            for launch in node.launches:
                steps.append(self._launch(launch, next(kernels), number))
                waiting = True
            unchecked = unchecked or self._refusals.count > before
            if node.kind != KERNELS and tasks[number] is not None:
                steps.append(functools.partial(tasks[number], self))
                waiting = True  # a branch has queued its launches
                if self.has_lanes or self._inline:  # what it has queued, other queues do not wait for
                    steps.append(lambda run: self.device.finish())
            steps += [functools.partial(self._mark, ins.inputs[0]) for ins in node.instructions if ins.type == "Assign"]
        return steps

    def _launch(self, launch: Launch, kernel: Any, number: int) -> Step:
        node, arguments = self.plan.nodes[number], []
        for place, given in enumerate(launch.arguments):
            arguments.append(self._argument(given, kernel, place, node))
        for place, argument in enumerate(arguments):
            if argument is not None:
                kernel.set_arg(place, argument)
                self._keep.append(argument)  # a kernel does not keep its arguments alive
        if self.has_lanes:
            return self._in_lane(launch, kernel, number)
        enqueue = clblast.enqueuer(self.queue, kernel, launch)
        ins, finish = node.instructions[0], self.queue.finish if self._waits_each else None

        def step(run: Run) -> None:
            try:
                enqueue()
                if finish is not None:
                    finish()
            except cl.Error as error:
                raise KernelFailed(ins, error) from error

        return step

    def _in_lane(self, launch: Launch, kernel: Any, number: int) -> Step:
        """A launch that waits for what other lanes do before it."""
        lane, events = self._lanes[number], self._events
        queue = self._queues[lane]
        others = [b for b in self._before[number] if self._lanes[b] != lane]
        enqueue = clblast.enqueuer(queue, kernel, launch)

        def step(run: Run) -> None:
            waits = [events[b] for b in others if events[b] is not None]
            try:
                events[number] = enqueue(waits or None)
                if self._waits_each:
                    queue.finish()
            except cl.Error as error:
                raise KernelFailed(self.plan.nodes[number].instructions[0], error) from error
            if waits:  # what another lane waits for must be on its way
                for other in self._queues:
                    other.flush()

        return step

    @property
    def has_lanes(self) -> bool:
        """Whether there are several queues."""
        return len(self._queues) > 1

    def finish(self) -> None:
        """Wait for all that is under way."""
        for queue in self._queues:
            queue.finish()

    def _argument(self, given: Any, kernel: Any, place: int, node: Node) -> Any:
        if isinstance(given, (int, np.integer)) and not isinstance(given, np.generic):
            return self._value_argument(given, kernel, place)
        if isinstance(given, Scratch):
            if given.number not in self._scratch:
                self._scratch[given.number] = Piece(self.device, max(1, given.nbytes))
            return self._scratch[given.number].buffer
        if isinstance(given, PerRun):
            piece = Piece(self.device, given.nbytes)
            self._per_run.append((given, piece, piece.view((given.nbytes,), np.uint8)))
            return piece.buffer
        if isinstance(given, Status):
            return self._refusals.word(given, node.instructions[0])
        return self._constant(given) if isinstance(given, np.ndarray) else given

    def _value_argument(self, v: int, kernel: Any, place: int) -> Any:
        home = self.plan.home(v)
        if home in self.plan.fixed:
            return self._fixed_buffer(home)
        buffer = self.buffers.get(home)
        if home not in self.plan.variables and not self.plan.size(home):
            return self._nothing
        if buffer is None or home in self._layout.loose:
            self._slots.setdefault(home, []).append((kernel, place))
        return buffer

    def _fixed_buffer(self, v: int) -> Any:
        found = self.buffers.get(v)
        if found is None:
            found = self.buffers[v] = self._constant(np.asarray(self.plan.fixed[v], self.plan.values[v].dtype.np))
        return found

    def _constant(self, array: np.ndarray[Any, Any]) -> Any:
        array = np.ascontiguousarray(array)
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        if not array.nbytes:
            return cl.Buffer(self.device.context, cl.mem_flags.READ_ONLY, 1)
        return cl.Buffer(self.device.context, flags, hostbuf=array)

    def bind(self, home: int, buffer: Any, host: Any, owner: Any) -> None:
        """From now on a value lies there."""
        self._owners[home] = owner
        self.hosts[home] = host
        if self.buffers.get(home) is not buffer:
            self.buffers[home] = buffer
            for kernel, place in self._slots.get(home, ()):
                kernel.set_arg(place, buffer)

    # -- a run -----------------------------------------------------------------------------------------------------

    def run(self, feeds: Sequence[Any], cells: Sequence[tuple[int, Any]], run: Run) -> None:
        """Do everything; the results are in place afterwards, or on their way if nothing waits for them."""
        self._take(feeds, cells)
        for per_run, piece, view in self._per_run:
            words = np.ascontiguousarray(per_run.fill(run)).view(np.uint8).reshape(-1)
            self._write(view, piece.buffer, words)
        self._refusals.reset()
        if self.has_lanes:
            self._events[:] = [None] * len(self._events)
            self.device.finish()  # what other programs have queued, the other lanes do not wait for
        try:
            if self._stride:
                self._run_in_strides(run)
            else:
                for step in self._steps:
                    step(run)
            if self._refusals.count:
                self._wait_and_check(run)
        except BaseException:
            self.device.finish()
            raise

    def _take(self, feeds: Sequence[Any], cells: Sequence[tuple[int, Any]]) -> None:
        """Bind what this run is given, and the memory of its results."""
        self.absent.clear()
        if cells is not self._cells:  # an executable has the same ones in every run
            for home, cell in cells:
                self._give_cell(home, cell)
            self._cells = cells
        for feed, value in zip(self._feeders, feeds, strict=True):
            feed(value)
        if self.plan.must_hold:
            self._check_variables()
        for home in self.loose:
            self._give_memory(home)

    def _run_in_strides(self, run: Run) -> None:
        """Do the steps with a wait now and then: what is queued cannot be called back when Ctrl-C comes."""
        for number, step in enumerate(self._steps, 1):
            step(run)
            if not number % self._stride:
                self.finish()
                if self.device.closing or self._is_closed():
                    raise CancelledError("the run was cancelled", hint="its session was closed while it ran")

    def took(self, seconds: float) -> None:
        """Learn from a run how many steps may be queued at once."""
        self._stride = max(1, int(len(self._steps) * PATIENCE / seconds)) if seconds > PATIENCE else 0

    def _give_cell(self, home: int, cell: Any) -> None:
        self.values[home] = cell
        if type(cell) is DeviceCell:
            self.bind(home, cell.piece.buffer, cell.host, cell.piece)

    def _feeder(self, v: int) -> Callable[[Any], None]:
        """What takes the value of a feed."""
        plan = self.plan
        if v in plan.variables or v in plan.on_host:
            return functools.partial(self._give_cell, v)
        known = self._wrapped.setdefault(v, {}) if self.shared and plan.size(v) >= WRAPPED else None
        if known is None:
            return functools.partial(self._feed, v)
        hosts, owners, bound, find = self.hosts, self._owners, self.buffers, known.get

        def feed(array: Any) -> None:
            buffer = find((address(array), array.nbytes)) if type(array) is np.ndarray else None
            if buffer is None or buffer is not bound.get(v):
                self._feed(v, array)
            else:  # where it lay before
                hosts[v] = owners[v] = array

        return feed

    def _feed(self, v: int, value: Any) -> None:
        kind = type(value)
        if kind is not np.ndarray:
            if value is None:
                self.absent.add(v)
                return
            if kind is DeviceArray:
                if value.device is self.device:
                    self.bind(v, value.buffer, value.host, value.owner)
                    return
                value = value.numpy()
            value = np.asarray(value)
        size = value.nbytes
        if size >= WRAPPED and self.shared:  # kernels read it where it lies
            self.bind(v, self._over(v, value), value, value)
        elif size:
            self._small_feed(v, value)
        else:
            self.bind(v, self._nothing, value, None)

    def _over(self, home: int, array: Any) -> Any:
        """A buffer over an array's memory; there may be one from an earlier run over that very stretch."""
        place = address(array), array.nbytes
        known = self._wrapped.setdefault(home, {})
        found = known.get(place)
        if found is None:
            while len(known) >= MOST_WRAPPED:
                known.pop(next(iter(known)))
            found = known[place] = wrap_memory(self.device.context, array)
        return found

    def forget(self) -> None:
        """Hold no array of the caller's any longer."""
        for v in self._wrapped:
            self.hosts[v] = self._owners[v] = None
        self._given.clear()

    def is_passing(self, home: int) -> bool:
        """Whether the memory is good for this run alone: a feed in the caller's array or in a place for small ones."""
        owner = self._owners.get(home)
        return owner is not None and (owner is self._small.get(home) or type(owner) is np.ndarray)

    def copied(self, v: int) -> DeviceArray:
        """A value in memory of its own."""
        home, dims, dtype = self.plan.home(v), self.plan.shape(v), self.plan.array_type(v)
        piece = self.store.take(self.plan.size(v))
        if self.plan.size(v):
            cl.enqueue_copy(self.queue, piece.buffer, self.buffers[home], byte_count=self.plan.size(v))
        return DeviceArray(self.device, piece.buffer, piece.view(dims, dtype), dims, dtype, piece)

    def hand_over(self, home: int) -> bool:
        """Whether the caller may have the array of a result itself: the first who asks may."""
        if not self.shared or home in self._given:
            return False
        self._given.add(home)
        return True

    def _small_feed(self, v: int, array: Any) -> None:
        """Copy a feed into memory of the frame's, made when the first one comes."""
        if v not in self._small:
            self._small[v] = Piece(self.device, self.plan.size(v))
        piece = self._small[v]
        if self._owners.get(v) is not piece:
            self.bind(v, piece.buffer, piece.view(self.plan.shape(v), self.plan.array_type(v)), piece)
        self._write(self.hosts[v], piece.buffer, array)

    def _write(self, host: Any, buffer: Any, array: Any) -> None:
        if host is not None:
            host[...] = array
        else:
            staging.write(self.device, buffer, np.asarray(array))

    def _give_memory(self, home: int) -> None:
        take = self.loose[home]
        if take is None:
            piece = self.store.take(self.plan.size(home))
            self.bind(home, piece.buffer, piece.view(self.plan.shape(home), self.plan.array_type(home)), piece)
        else:
            array = take()
            self.bind(home, self._over(home, array), array, array)

    def _check_variables(self) -> None:
        missing = [(self.values[h], ins) for h, ins in self.plan.must_hold if not self.values[h].initialized]
        if missing:
            names = sorted({cell.name for cell, _ in missing})
            error: Error = uninitialized(names[0])
            if len(names) > 1:
                error.summary = "variables " + ", ".join(repr(n) for n in names) + " are not initialized"
            raise error.attach(missing[0][1].op)

    def _mark(self, handle: int, run: Run) -> None:
        cell = self.values.get(handle)
        if type(cell) is DeviceCell:
            cell.initialized = True

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _wait(self, run: Run) -> None:
        self.finish()

    def _wait_and_check(self, run: Run) -> None:
        self.finish()
        self._refusals.check(self.on_host)

    # -- values ----------------------------------------------------------------------------------------------------

    def on_host(self, v: int) -> Any:
        """A value for the host, which has waited: an array that it must not keep, a cell or an object."""
        home = self.plan.home(v)
        if home in self.absent:
            return None
        if home in self.values and (home == v or home not in self.plan.variables):
            return self.values[home]
        host = self.hosts.get(home)
        if host is None:
            host = np.empty(self.plan.shape(home), self.plan.array_type(home))
            if host.nbytes:
                staging.read(self.device, self.buffers[home], host)
        array = host if v == home else self._seen_as(host, v)
        return array if array.shape else array[()]

    def _seen_as(self, host: Any, v: int) -> Any:
        """The bytes of its home as the value has them, which may be of another shape."""
        dims, dtype = self.plan.shape(v), self.plan.array_type(v)
        if host is None or host.shape == dims and host.dtype == dtype:
            return host
        return host.reshape(-1).view(dtype).reshape(dims)

    def on_device(self, v: int) -> Any:
        """A value for an executable of this backend: as it lies on the device, a cell or an object."""
        home = self.plan.home(v)
        handle = home == v and (home in self.plan.variables or home in self.plan.on_host)
        if handle or home in self.absent or home not in self.buffers:
            return self.on_host(v)
        host = self._seen_as(self.hosts.get(home), v)
        dims, dtype = self.plan.shape(v), self.plan.array_type(v)
        return DeviceArray(self.device, self.buffers[home], host, dims, dtype, self._owner(home))

    def _owner(self, home: int) -> Any:
        return self._owners.get(home, self._arena)

    def put(self, v: int, value: Any) -> None:
        """Store what a task made."""
        home = self.plan.home(v)
        if value is None:  # of the branch that was not taken: only such a branch reads it
            self.absent.add(home)
            return
        if home in self.plan.on_host:
            self.values[home] = value.numpy() if type(value) is DeviceArray else value
        elif type(value) is DeviceArray:
            if value.nbytes:
                if self._inline:  # what makes it may be under way in another queue
                    self.device.finish()
                cl.enqueue_copy(self.queue, self.buffers[home], value.buffer, byte_count=value.nbytes)
                self._sources[home] = value  # not to be used again before it is copied
        elif home in self.buffers:
            self._write(self.hosts.get(home), self.buffers[home], np.asarray(value))
