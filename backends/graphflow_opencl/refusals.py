"""What kernels refuse in a run: an index that is out of range, a division of integers by zero.

Policy: each check has a word of its own on the device, in which the kernel leaves the place of the first element that
it refuses.  The words are looked at when the host waits; the error is that of the earliest instruction, in NumPy's
words where the element that was refused is still there.

State: the words, and which check has which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyopencl as cl

from graphflow.backend import load_backend
from graphflow.errors import Error
from graphflow.program import Instruction
from graphflow.spec import describe
from graphflow_opencl import staging
from graphflow_opencl.devices import Device
from graphflow_opencl.memory import Piece
from graphflow_opencl.plan import Plan
from graphflow_opencl.table import Status

NOTHING_BAD = np.int32(np.iinfo(np.int32).max)
WORD_BYTES = 4


class Refusals:
    """The checks of one frame."""

    def __init__(self, device: Device, queue: Any, plan: Plan) -> None:
        self._device, self._queue, self._plan = device, queue, plan
        self._checks: list[tuple[Status, Instruction]] = []
        room = sum(isinstance(a, Status) for n in plan.nodes for x in n.launches for a in x.arguments)
        self._memory: Any = Piece(device, room * device.alignment) if room else None
        self._shape = (room, device.alignment // WORD_BYTES)
        self._host = None if self._memory is None else self._memory.view(self._shape, np.int32)
        self._nothing_bad = np.full(self._shape, NOTHING_BAD)

    @property
    def count(self) -> int:
        """How many checks have a word."""
        return len(self._checks)

    def word(self, status: Status, ins: Instruction) -> Any:
        """The memory for one more check."""
        self._checks.append((status, ins))
        return self._memory.buffer.get_sub_region((len(self._checks) - 1) * self._device.alignment, WORD_BYTES)

    def reset(self) -> None:
        """Nothing has been refused so far."""
        if self._memory is None:
            return
        if self._host is not None:
            self._host[...] = self._nothing_bad
        else:
            staging.write(self._device, self._memory.buffer, self._nothing_bad)

    def check(self, on_host: Callable[[int], Any]) -> None:
        """Raise an error if something was refused; all launches are done, and `on_host` gives the values."""
        words = self._host
        if words is None:
            words = np.empty(self._shape, np.int32)
            cl.enqueue_copy(self._queue, words, self._memory.buffer)
        places = words[: len(self._checks), 0].tolist()
        bad = [(*check, at) for check, at in zip(self._checks, places, strict=True) if at != NOTHING_BAD]
        if bad:
            status, ins, position = min(bad, key=lambda found: found[1].key)
            raise self._explained(status.explain(position), ins, on_host)

    def _explained(self, error: Exception, ins: Instruction, on_host: Callable[[int], Any]) -> Exception:
        """The error for what a kernel met; NumPy's words for it where the bad element is still there."""
        if not isinstance(error, Error):
            return error
        plan = self._plan
        lasting = plan.fixed.keys() | set(plan.program.feeds)
        there = [plan.home(v) in lasting for v in ins.inputs]
        if any(there) and plan.variables.isdisjoint(ins.inputs):
            # Zeros stand for what is gone; if it was that which was refused, NumPy finds nothing, or another place.
            values = [on_host(v) if kept else self._zeros(v) for v, kept in zip(ins.inputs, there, strict=True)]
            try:
                load_backend("numpy").evaluate(ins, values)
            except Error as found:
                if all(there) or error.got is None and found.summary.startswith(error.summary.partition(" ")[0]):
                    error = found
        specs = [plan.values[v] for v in ins.inputs]
        error.got = error.got or ", ".join(f"{s.dtype.name}{describe(s.dims)}" for s in specs)
        return error.attach(ins.op)

    def _zeros(self, v: int) -> Any:
        return np.broadcast_to(self._plan.array_type(v).type(0), self._plan.shape(v))
