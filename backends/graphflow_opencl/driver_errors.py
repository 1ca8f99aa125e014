"""Errors of the OpenCL driver as ours.

Policy: memory that the device refuses is `ResourceExhaustedError` with the largest values of the plan, and with the
device's limit for one buffer if that is why; a device that is gone is marked, and every later run says so at once;
anything else names the op whose kernel was to be launched.  "Out of resources" means what the call that says it makes
of it: at a launch, a kernel that needs more registers or local memory than there are; at a wait, one that crashed,
after which drivers let nothing else run; else, no memory.

State: none; the mark is on the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import pyopencl as cl

from graphflow.errors import Error, InternalError, ResourceExhaustedError, UnavailableError
from graphflow.program import Instruction
from graphflow.spec import describe, is_concrete, nbytes
from graphflow_opencl.devices import Device
from graphflow_opencl.memory import BufferTooLarge
from graphflow_opencl.plan import Plan

MEMORY = ("MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_HOST_MEMORY", "INVALID_BUFFER_SIZE")
RESOURCES = "OUT_OF_RESOURCES"
LAUNCHES = ("clEnqueueNDRangeKernel",)
WAITS = ("clFinish", "clFlush", "clWaitForEvents", "clEnqueueReadBuffer")
GONE = ("DEVICE_NOT_AVAILABLE", "INVALID_COMMAND_QUEUE", "INVALID_CONTEXT", "INVALID_DEVICE")
MOST_NAMED = 5


class KernelFailed(Exception):
    """A launch that the driver refused, with the op that it was for."""

    def __init__(self, ins: Instruction, cause: cl.Error) -> None:
        super().__init__(str(cause))
        self.ins = ins
        self.cause = cause


def out_of_memory(error: BaseException) -> bool:
    """Whether the driver had no memory."""
    if isinstance(error, (MemoryError, ValueError)):  # NumPy has a ValueError for what no machine could hold
        return True
    if not isinstance(error, cl.Error):
        return False
    name = status(error)
    return name in MEMORY or (name == RESOURCES and str(error.routine) not in LAUNCHES + WAITS)


def status(error: cl.Error) -> str:
    """The name of the driver's status code."""
    return str(cl.status_code.to_string(error.code, "status %d"))


@contextlib.contextmanager
def explained(device: Device, plan: Plan | None = None) -> Iterator[None]:
    """Turn what the driver says inside into errors of ours."""
    try:
        yield
    except TOLD as error:
        raise_ours(device, plan, error)


TOLD = (KernelFailed, cl.Error, MemoryError)  # what `raise_ours` is for


def raise_ours(device: Device, plan: Plan | None, error: BaseException) -> NoReturn:
    """Raise the error of ours for what the driver said."""
    if isinstance(error, KernelFailed):
        raise ours(device, plan, error.cause).attach(error.ins.op) from error.cause
    raise ours(device, plan, error) from error


def ours(device: Device, plan: Plan | None, error: BaseException) -> Error:
    """The error for what the driver says."""
    name = status(error) if isinstance(error, cl.Error) else type(error).__name__
    words = " ".join(str(error).split())
    text = words if name in words else f"{name}: {words}"
    if isinstance(error, BufferTooLarge):
        asked = f"{error.nbytes:,} bytes in one"
        return ResourceExhaustedError(
            "a buffer is larger than the device allows (CL_DEVICE_MAX_MEM_ALLOC_SIZE): " + text[:300],
            expected=f"buffers of at most {error.most:,} bytes each",
            got=asked if plan is None else f"{asked}; {largest(plan)}",
            hint="smaller batches: the values of a run lie in one buffer, and a device may have more memory than that",
        )
    if out_of_memory(error):
        return ResourceExhaustedError(
            "the device has not enough memory: " + text[:300],
            got=None if plan is None else largest(plan),
            hint="smaller batches, or a device with more memory; `python -m graphflow devices` shows how much there is",
        )
    if name == RESOURCES and str(getattr(error, "routine", "")) in LAUNCHES:
        return InternalError(
            "the device cannot launch this kernel: " + text[:300],
            hint="it needs more registers or local memory than a group may have; GRAPHFLOW_OCL_SCHEDULE=cpu needs less",
        )
    if name == RESOURCES:
        device.lost = f"a kernel crashed: {text[:300]}"
        return UnavailableError(
            f"{device.name} was lost, for a kernel crashed: {text[:300]}",
            hint="in a new process GRAPHFLOW_SYNC=1 names the op whose kernel it is; restore the last checkpoint there",
        )
    if name in GONE:
        device.lost = text[:300]
        return UnavailableError(
            f"{device.name} was lost: {text[:300]}",
            hint="start a new process and restore the last checkpoint; the values of variables are gone",
        )
    return InternalError("the OpenCL driver reports an error: " + text[:2000])


def largest(plan: Plan) -> str:
    """The largest values of a plan, by the names of their ops."""
    sizes = [(nbytes(known) or 0, v) for v, known in enumerate(plan.values) if is_concrete(known.dims)]
    names = {v: ins.op.name for ins in plan.program.instructions for v in ins.outputs}
    return "the largest values: " + ", ".join(
        f"{names.get(v, 'a feed')} {plan.values[v].dtype.name}{describe(plan.values[v].dims)} {size:,} bytes"
        for size, v in sorted(sizes, reverse=True)[:MOST_NAMED]
    )
