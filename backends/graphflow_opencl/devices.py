"""The device that programs run on: which one is chosen, and what it can do.

Policy: GPUs before CPUs before the rest, each platform in the driver's order; `GRAPHFLOW_DEVICE=opencl:PLATFORM:INDEX`
or an argument of that form decides otherwise, and nobody is ever asked.  One context for a device and process, for
drivers leak them.  A CPU device whose kernels provably see the host's memory at its own addresses needs no copies.
`GRAPHFLOW_OCL_SCHEDULE=cpu|gpu` forces how kernels are written, for tests.  Drivers do not survive a fork.  A device
may have another one beside it that does launches in the calling thread: see `callers`.

State: the devices that were opened.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from graphflow.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from graphflow_opencl import callers, pocl
from graphflow_opencl.table import Traits

EXIT_SECONDS = 2.0  # how long the end of the program waits for a run of another thread
ALIGNMENT = 128  # bytes: what sub-buffers ask for on CPUs; some GPUs ask for more, see `alignment_of`
_PLAIN = cl.mem_flags.READ_WRITE
_first_byte = ctypes.c_char.from_buffer
_opened: dict[tuple[str, str], Device] = {}  # by name, and by how kernels were forced to be written
_opening = threading.Lock()


class Device:
    """One OpenCL device with its context and its queues."""

    def __init__(self, name: str, device: cl.Device) -> None:
        self.name = name  # "opencl:0:0"
        self.cl = device
        pocl.give_cpu_name(device)
        pocl.compile_once(device)
        beside = callers.inline_beside(device)
        if beside is not None:
            pocl.give_cpu_name(beside)
        together = [device] if beside is None else [device, beside]
        self.context = cl.Context(together)
        self.alignment = alignment_of(together)
        self.most_bytes = int(device.max_mem_alloc_size)  # of one buffer; some drivers give more
        self.pid = os.getpid()
        self.lock = threading.RLock()  # kernels hold their arguments: one run at a time
        self.closing = False  # the program ends
        self.lost = ""  # what the driver said when it gave up
        self.kind = "gpu" if device.type & cl.device_type.GPU else "cpu"
        self._queues: list[cl.CommandQueue] = []
        self.traits = self._traits(_shares_memory(self.context, device))
        self.inline: callers.Inline | None = None
        if beside is not None and self.traits.shares_memory and _shares_memory(self.context, beside):
            self.inline = callers.Inline(self.context, beside, self.traits)

    def _traits(self, shares_memory: bool) -> Traits:
        device, extensions = self.cl, self.cl.extensions.split()
        schedule = os.environ.get("GRAPHFLOW_OCL_SCHEDULE", "") or ("gpu" if self.kind == "gpu" else "cpu")
        if schedule not in ("cpu", "gpu"):
            raise InvalidArgumentError(
                "GRAPHFLOW_OCL_SCHEDULE has an unknown value", expected="cpu or gpu", got=schedule
            )
        most = min(64 if schedule == "cpu" else 256, int(device.max_work_group_size))
        return Traits(
            schedule,
            int(device.max_compute_units),
            8 if device.native_vector_width_float <= 8 else 16,
            1 << most.bit_length() - 1,  # groups are halved until one item is left
            int(device.local_mem_size),
            "cl_khr_fp64" in extensions,
            "cl_khr_fp16" in extensions,
            shares_memory,
        )

    def queue(self, lane: int) -> cl.CommandQueue:
        """The in-order queue of a lane."""
        self.check_process()
        while len(self._queues) <= lane:
            self._queues.append(cl.CommandQueue(self.context, self.cl))
        return self._queues[lane]

    def finish(self) -> None:
        """Wait for all queues; a device that is lost has nothing to wait for."""
        for queue in self._queues:
            with contextlib.suppress(cl.Error):
                queue.finish()

    def check_process(self) -> None:
        """Raise in a child that was forked, for the driver's threads stayed behind; or if the device is lost."""
        if self.lost:
            raise UnavailableError(
                f"{self.name} was lost: {self.lost}",
                hint="start a new process and restore the last checkpoint; the values of variables are gone",
            )
        if os.getpid() != self.pid:
            raise FailedPreconditionError(
                "OpenCL was used before this process was forked, and its driver's threads are not here",
                hint='start children with multiprocessing.get_context("spawn"), or fork before the first run',
            )

    def __repr__(self) -> str:
        return f"<Device {self.name}: {self.cl.name.strip()}, {self.cl.platform.name.strip()}>"


def candidates() -> list[tuple[str, cl.Device]]:
    """All devices with their names, the best first."""
    try:
        with callers.offered():
            platforms = cl.get_platforms()
            for platform in platforms[:]:
                with contextlib.suppress(cl.Error):
                    platform.get_devices()
    except cl.Error as error:
        raise NotFoundError(
            "no OpenCL platform was found",
            got=str(error),
            hint='pip install "pyopencl[pocl]" for the CPU; `python -m graphflow devices --doctor` looks for the cause',
        ) from None
    found = []
    for p, platform in enumerate(platforms):
        try:
            devices = callers.without_inline(platform.get_devices())
        except cl.Error:
            devices = []
        found += [(f"opencl:{p}:{d}", device) for d, device in enumerate(devices)]
    return sorted(found, key=lambda item: _rank(item[1]))  # stable: the driver's order within a kind


def _rank(device: cl.Device) -> int:
    if device.type & cl.device_type.GPU:
        return 0
    return 1 if device.type & cl.device_type.CPU else 2


def open_device(wanted: str | None = None) -> Device:
    """The device of that name, or the one that the environment asks for, or the best one."""
    name = wanted or os.environ.get("GRAPHFLOW_DEVICE", "")
    if not name.startswith("opencl:"):
        name = ""
    key = name, os.environ.get("GRAPHFLOW_OCL_SCHEDULE", "")
    found = _opened.get(key)
    if found is None:
        with _opening:
            found = _opened.get(key) or _open(name)
            _opened[key] = found
    found.check_process()
    return found


@atexit.register
def finish_all() -> None:
    """Let nothing be under way when the interpreter goes: drivers crash on events that outlive it."""
    for device in set(_opened.values()):
        if device.pid == os.getpid():
            device.closing = True
            device.lock.acquire(timeout=EXIT_SECONDS)  # and never given back: no thread is to queue anything now
            device.finish()


def _open(name: str) -> Device:
    devices = candidates()
    if not devices:
        raise NotFoundError("the OpenCL platforms have no device", hint="python -m graphflow devices --doctor")
    chosen = next((d for d in devices if not name or d[0] == name), None)
    if chosen is None:
        listed = ", ".join(f"{n} ({d.name.strip()})" for n, d in devices)
        raise NotFoundError(f"no OpenCL device {name!r}", expected=listed, got=name)
    forced = os.environ.get("GRAPHFLOW_OCL_SCHEDULE", "")
    known = next((d for (_, f), d in _opened.items() if d.name == chosen[0] and f == forced), None)
    return known or Device(*chosen)


def wrap_memory(context: cl.Context, array: np.ndarray[Any, Any]) -> cl.Buffer:
    """A buffer over the memory of an array that does not keep the array: good for as long as others do."""
    memory = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
    return cl.Buffer(context, _PLAIN | cl.mem_flags.USE_HOST_PTR, hostbuf=memory)


def address(array: Any) -> int:
    """Where the memory of an array begins."""
    try:
        return ctypes.addressof(_first_byte(array))  # a fifth of what the next line costs
    except (TypeError, ValueError):  # read-only, or of a dtype that only NumPy knows
        return int(array.ctypes.data)


def wrap(context: cl.Context, array: np.ndarray[Any, Any]) -> cl.Buffer:
    """A buffer over the memory of an array, which must outlive it."""
    return cl.Buffer(context, _PLAIN | cl.mem_flags.USE_HOST_PTR, hostbuf=array)


def alignment_of(devices: Sequence[cl.Device]) -> int:
    """At multiples of how many bytes a part of a buffer may begin, to be a buffer by itself on all of these."""
    return max(ALIGNMENT, *(int(device.mem_base_addr_align) // 8 for device in devices))


def aligned(nbytes: int) -> np.ndarray[Any, Any]:
    """Bytes of the host, aligned for every device."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]


_PROOF = "__kernel void proof(__global int *a) { a[get_global_id(0)] += 1 + (int) get_global_id(0); }"


def _shares_memory(context: cl.Context, device: cl.Device) -> bool:
    """Whether a kernel's writes into wrapped memory are seen by the host, and the host's by the kernel, unmapped."""
    if not device.type & cl.device_type.CPU or not device.host_unified_memory:
        return False
    memory = aligned(64).view(np.int32)
    memory[:] = 5
    queue = cl.CommandQueue(context, device)
    kernel = cl.Kernel(cl.Program(context, _PROOF).build(devices=[device], cache_dir=False), "proof")
    buffer = wrap(context, memory)  # a kernel does not keep its arguments alive
    kernel.set_args(buffer)
    for start in (5, 7):
        memory[:] = start
        cl.enqueue_nd_range_kernel(queue, kernel, (16,), (16,))
        queue.finish()
        if not np.array_equal(memory, start + 1 + np.arange(16)):
            return False
    return True
