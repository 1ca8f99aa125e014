"""Errors of the OpenCL driver as ours.

Policy: memory that the device refuses is `ResourceExhaustedError` with the largest values of the plan; a device that
is gone is marked, and every later run says so at once; anything else names the op whose kernel was to be launched.

State: none; the mark is on the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyopencl as cl

from graphflow.errors import Error, InternalError, ResourceExhaustedError, UnavailableError
from graphflow.program import Instruction
from graphflow.spec import describe, is_concrete, nbytes
from graphflow_opencl.devices import Device
from graphflow_opencl.plan import Plan

MEMORY = ("MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_RESOURCES", "OUT_OF_HOST_MEMORY", "INVALID_BUFFER_SIZE")
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
    return isinstance(error, cl.Error) and status(error) in MEMORY


def status(error: cl.Error) -> str:
    """The name of the driver's status code."""
    return str(cl.status_code.to_string(error.code, "status %d"))


@contextlib.contextmanager
def explained(device: Device, plan: Plan | None = None) -> Iterator[None]:
    """Turn what the driver says inside into errors of ours."""
    try:
        yield
    except KernelFailed as failed:
        raise ours(device, plan, failed.cause).attach(failed.ins.op) from failed.cause
    except (cl.Error, MemoryError) as error:
        raise ours(device, plan, error) from error


def ours(device: Device, plan: Plan | None, error: BaseException) -> Error:
    """The error for what the driver says."""
    name = status(error) if isinstance(error, cl.Error) else type(error).__name__
    words = " ".join(str(error).split())
    text = words if name in words else f"{name}: {words}"
    if out_of_memory(error):
        return ResourceExhaustedError(
            "the device has not enough memory: " + text[:300],
            got=None if plan is None else largest(plan),
            hint="smaller batches, or a device with more memory; `python -m graphflow devices` shows how much there is",
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
