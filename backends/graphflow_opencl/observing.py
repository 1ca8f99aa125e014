"""Frames that someone looks on at: traces, profiles and debuggers.

Policy: a plan that nobody watches has none of this.  Who wants values gets them on the host, so the device is waited
for after each node.  Who wants times alone, and has a place for those of a queue (`QueueObserver`), waits no more than
others do: the queues keep the times of what they did, by the device's clock, and these are handed over when all of it
is done.  The device and Python read different clocks: what was queued was queued between two readings of Python's, so
these tell the distance.  What needs no node (a view, a variable that is read where it lies) is done in no time, after
the node that it waits for, and before the one that writes over what it reads; as late as its place in the program says,
if what it reads is still there then.

State: a frame's own queues, and the events of the run that goes on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl

from graphflow.backend import Observer, QueueObserver, Run, Watch
from graphflow.errors import UnimplementedError
from graphflow.program import Instruction
from graphflow_opencl.devices import Device
from graphflow_opencl.frames import Frame, Step
from graphflow_opencl.plan import KERNELS, Node, Plan
from graphflow_opencl.table import Launch

TIMED = cl.command_queue_properties.PROFILING_ENABLE
NANO = 1e-9


class Queued(NamedTuple):
    """A launch on its way: its node, its event, and Python's clock around its queueing."""

    node: int
    event: Any
    before: float
    after: float


class ObservedFrame(Frame):
    """A frame that tells an observer of each node."""

    def __init__(self, device: Device, store: Any, plan: Plan, *given: Any, watch: Watch, observer: Observer) -> None:
        self._observer = observer
        self._wants_values = watch.wants_values
        timed = not watch.wants_values and isinstance(observer, QueueObserver)
        self._queue_observer: Any = observer if timed else None
        self._launches_left = [len(node.launches) for node in plan.nodes]
        self._on_their_way: list[Queued] = []
        self._without_node = _without_node(plan, given[1])
        self._started = 0.0
        super().__init__(device, store, plan, *given)

    # -- binding ---------------------------------------------------------------------------------------------------

    def _queue_of(self, lane: int) -> Any:
        """A queue of the frame's own, which keeps times."""
        where = self._inline or self.device
        return cl.CommandQueue(where.context, where.cl, properties=TIMED)

    @property
    def has_lanes(self) -> bool:
        """Whether other queues know nothing of this frame's: always."""
        return True

    def _bound(self, tasks: Sequence[Any]) -> list[Step]:
        return super()._bound([self._watched_task(n, task) for n, task in enumerate(tasks)])

    def _launch(self, launch: Launch, kernel: Any, number: int) -> Step:
        step, node = super()._launch(launch, kernel, number), self.plan.nodes[number]
        first = self._launches_left[number] == len(node.launches)
        self._launches_left[number] -= 1
        last = not self._launches_left[number] and node.kind == KERNELS

        def watched(run: Run) -> None:
            if first:
                self._begin(node)
            before = time.perf_counter()
            try:
                step(run)
                if launch.routine is None or self._queue_observer is None:
                    self._on_their_way.append(Queued(number, self._events[number], before, time.perf_counter()))
                if last:
                    self._end(number, run)
            except BaseException as error:
                self._observer.failed(node.instructions, error)
                raise

        return watched

    def _watched_task(self, number: int, task: Any) -> Any:
        if task is None:
            return None
        node = self.plan.nodes[number]

        @functools.wraps(task, updated=())
        def watched(frame: Frame, run: Run) -> None:
            self._begin(node)
            try:
                task(frame, run)
                self._end(number, run, on_host=True)
            except BaseException as error:
                self._observer.failed(node.instructions, error)
                raise

        return watched

    # -- a run -----------------------------------------------------------------------------------------------------

    def run(self, feeds: Sequence[Any], cells: Sequence[tuple[int, Any]], run: Run) -> None:
        """Do everything."""
        self._on_their_way.clear()
        try:
            super().run(feeds, cells, run)
        except BaseException:
            self.finish()
            raise

    def _take(self, feeds: Sequence[Any], cells: Sequence[tuple[int, Any]]) -> None:
        super()._take(feeds, cells)
        self._tell_of(self._without_node.get(-1, ()))

    def finish(self) -> None:
        """Wait for all that is under way, and tell of it."""
        super().finish()
        if self._queue_observer is not None and self._on_their_way:
            self._hand_over_times()

    def _begin(self, node: Node) -> None:
        inputs: dict[int, Any] = {}
        if self._wants_values:
            made = {v for ins in node.instructions for v in ins.outputs}
            read = dict.fromkeys(v for ins in node.instructions for v in ins.inputs if v not in made)
            inputs = {v: self.on_host(v) for v in read if self._is_there(v)}
        self._replace(self._observer.before(node.instructions, inputs))
        self._started = time.perf_counter()

    def _end(self, number: int, run: Run, on_host: bool = False) -> None:
        node = self.plan.nodes[number]
        if on_host or self._queue_observer is None:
            if self._queue_observer is None:
                self._settle(run)
            ended = time.perf_counter()
            self._replace(self._observer.after(node.instructions, self._made(node), self._started, ended))
        self._tell_of(self._without_node.get(number, ()))

    def _settle(self, run: Run) -> None:
        """Wait for the node, and let it fail here if it has to."""
        if self._refusals.count:
            self._wait_and_check(run)
        else:
            self.finish()

    def _tell_of(self, done: Sequence[tuple[Instruction]]) -> None:
        """Tell of what is done without a node."""
        for one in done:
            (ins,) = one
            inputs: Mapping[int, Any] = {}
            if self._wants_values:
                inputs = {v: self.on_host(v) for v in ins.inputs if self._is_there(v)}
            self._replace(self._observer.before(one, inputs))
            now = time.perf_counter()
            made = {v: self.on_host(v) for v in ins.outputs if self._is_there(v)} if self._wants_values else {}
            self._replace(self._observer.after(one, made, now, now))

    # -- values ----------------------------------------------------------------------------------------------------

    def _is_there(self, v: int) -> bool:
        """Whether a value lies anywhere: not what is within one kernel, or in a branch not taken."""
        home = self.plan.home(v) if v >= 0 else v
        if home in self.absent:
            return False
        return home in self.values or home in self.hosts

    def _made(self, node: Node) -> dict[int, Any]:
        made = [v for ins in node.instructions for v in ins.outputs if v >= 0]
        if not self._wants_values:  # what lies on the host has a shape that the program may not know
            return {v: self.values[v] for v in made if v in self.values and v not in self.absent}
        written = set(node.writes)
        return {v: self.on_host(v) for v in made if self.plan.home(v) in written and self._is_there(v)}

    def _replace(self, values: Mapping[int, Any] | None) -> None:
        """Go on with other values than those that were computed."""
        for v, value in (values or {}).items():
            home = self.plan.home(v)
            if home != v or home in self.plan.variables or home in self.plan.fixed:
                raise UnimplementedError(
                    "on OpenCL this value cannot be replaced: it lies in memory that others read as well",
                    got=f"value v{v} of the program",
                    hint='replace what it is computed from, or use tf.Session(device="cpu")',
                )
            self.put(v, np.asarray(value) if home not in self.plan.on_host else value)
        if values:
            self.device.finish()  # what was written there, this frame's queues do not wait for
            super().finish()

    # -- times -----------------------------------------------------------------------------------------------------

    def _hand_over_times(self) -> None:
        queued, self._on_their_way = self._on_their_way, []
        now = time.perf_counter()
        distance = _distance(queued, now)
        spans: dict[int, tuple[float, float]] = {}
        for node, event, before, _ in queued:
            start = min(now, max(before, distance + event.profile.start * NANO))  # the clocks may drift apart
            end = min(now, max(start, distance + event.profile.end * NANO))
            first, last = spans.get(node, (start, end))
            spans[node] = min(first, start), max(last, end)
        kind = "calling thread" if self._inline else "queue"
        for node, (start, end) in spans.items():
            name = f"{self.device.name}, {kind} {self._lanes[node]}"
            self._queue_observer.queued(self.plan.nodes[node].instructions, name, start, end)


def _distance(queued: Sequence[Queued], now: float) -> float:
    """What to add to the device's clock to get Python's: all that is queued was queued there and then, and is over."""
    least = max(q.before - q.event.profile.queued * NANO for q in queued)
    most = min(min(q.after - q.event.profile.queued * NANO, now - q.event.profile.end * NANO) for q in queued)
    return float(least + most) / 2


def _without_node(plan: Plan, tasks: Sequence[Any]) -> dict[int, list[tuple[Instruction]]]:
    """What is done without a node, by the number of the node after which it is told of; -1: at the beginning.

    What has no elements is not computed, so a node may come before something that its instructions wait for.  A value
    that lies in a variable is told of before the variable is written, whatever else it waits for.
    """
    maker: dict[int, int] = {}
    done: dict[int, int] = {}  # key -> the node after which it is done
    for number, node in enumerate(plan.nodes):
        if node.launches or tasks[number] is not None:
            done.update((ins.key, number) for ins in node.instructions)
            maker.update((v, number) for ins in node.instructions for v in ins.outputs)
    out: dict[int, list[tuple[Instruction]]] = {}
    writers = _writers(plan)
    earlier = _earlier(plan)
    last_use = {v: number for number, node in enumerate(plan.nodes) for v in (*node.reads, *node.writes)}
    last_use.update(
        dict.fromkeys((*map(plan.home, plan.program.fetches), *plan.variables, *plan.fixed), len(plan.nodes))
    )
    for position, ins in enumerate(plan.program.instructions):
        if ins.key not in done and ins.outputs and plan.program.handles.keys().isdisjoint(ins.outputs):
            waits = [maker.get(v, -1) for v in ins.inputs] + [done.get(key, -1) for key in ins.after]
            homes = {plan.home(v) for v in ins.outputs if v >= 0}
            over = [node for home in homes for place, node in writers.get(home, ()) if place > position]
            lasts = [last_use.get(plan.home(v), -1) for v in (*ins.inputs, *ins.outputs) if v >= 0]
            place = min([earlier[position], *lasts])  # later than that, its memory may be another value's
            number = min([max([*waits, place]), *[node - 1 for node in over]])
            done[ins.key] = number
            maker.update(dict.fromkeys(ins.outputs, number))
            out.setdefault(number, []).append((ins,))
    return out


def _earlier(plan: Plan) -> list[int]:
    """For each place in the program the last of the first nodes that all stand before it."""
    places = {ins.key: place for place, ins in enumerate(plan.program.instructions)}
    out: list[int] = []
    number = -1
    ends = [max([places.get(ins.key, 0) for ins in node.instructions]) for node in plan.nodes]
    for position in range(len(plan.program.instructions)):
        while number + 1 < len(ends) and ends[number + 1] < position:
            number += 1
        out.append(number)
    return out


def _writers(plan: Plan) -> dict[int, list[tuple[int, int]]]:
    """Handle of a variable -> where in the program it is written, and by which node."""
    places = {ins.key: place for place, ins in enumerate(plan.program.instructions)}
    out: dict[int, list[tuple[int, int]]] = {}
    for number, node in enumerate(plan.nodes):
        for home in plan.variables.intersection(node.writes):
            found = [places[ins.key] for ins in node.instructions if home in ins.inputs and ins.key in places]
            if found:
                out.setdefault(home, []).append((min(found), number))
    return out


def framer(watch: Watch | None, program: Any) -> Callable[..., Frame]:
    """What makes the frames of a program, for whoever looks on."""
    if watch is None:
        return Frame
    return functools.partial(ObservedFrame, watch=watch, observer=watch.observe(program))
