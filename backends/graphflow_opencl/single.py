"""One instruction by itself on the device: for constant folding, and for the tests of kernels.

Policy: the same rules and the same building as in a plan, with a wait after each launch.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyopencl as cl

from graphflow.spec import TensorSpec, is_concrete
from graphflow_opencl import clblast
from graphflow_opencl.devices import Device
from graphflow_opencl.refusals import NOTHING_BAD
from graphflow_opencl.table import Launch, PerRun, Scratch, Status


def run_launches(
    device: Device,
    launches: Sequence[Launch],
    values: dict[int, np.ndarray[Any, Any]],
    outputs: dict[int, TensorSpec],
    run: Any = None,
) -> dict[int, np.ndarray[Any, Any]]:
    """Execute launches one by one: `values` has the arrays that are read, `outputs` what is to be made."""
    context, queue = device.context, device.queue(0)
    flags = cl.mem_flags.READ_WRITE
    arrays: dict[int, Any] = {v: np.empty(s.dims, s.dtype.np) for v, s in outputs.items() if is_concrete(s.dims)}
    buffers = {v: _filled(context, np.ascontiguousarray(a)) for v, a in values.items()}
    buffers |= {v: cl.Buffer(context, flags, max(1, a.nbytes)) for v, a in arrays.items() if v not in buffers}
    scratch: dict[int, cl.Buffer] = {}
    checks: list[tuple[cl.Buffer, Status]] = []

    def argument(given: Any) -> Any:
        if isinstance(given, Scratch):
            return scratch.setdefault(given.number, cl.Buffer(context, flags, max(1, given.nbytes)))
        if isinstance(given, PerRun):
            return _filled(context, np.ascontiguousarray(given.fill(run)))
        if isinstance(given, Status):
            checks.append((_filled(context, np.array([NOTHING_BAD], np.int32)), given))
            return checks[-1][0]
        if isinstance(given, np.generic):
            return given
        return _filled(context, given) if isinstance(given, np.ndarray) else buffers[given]

    for launch, kernel in zip(launches, clblast.bound(device, launches), strict=True):
        arguments = [argument(given) for given in launch.arguments]
        kernel.set_args(*arguments)
        clblast.enqueuer(queue, kernel, launch)()
        queue.finish()
    for buffer, status in checks:
        found = np.empty(1, np.int32)
        cl.enqueue_copy(queue, found, buffer)
        if found[0] != NOTHING_BAD:
            raise status.explain(int(found[0]))
    for v, array in arrays.items():
        if array.nbytes:
            cl.enqueue_copy(queue, array, buffers[v])
    return arrays


def _filled(context: cl.Context, array: np.ndarray[Any, Any]) -> cl.Buffer:
    if not array.nbytes:
        return cl.Buffer(context, cl.mem_flags.READ_WRITE, 1)
    return cl.Buffer(context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=array)
