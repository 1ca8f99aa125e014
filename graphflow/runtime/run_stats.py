"""From the record of a run to the structure in which TensorFlow 1 reports it.

Policy: every step of the run is there, by device; times are those of the wall clock, counted from one reading of it.

State: none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from graphflow.program import Program
from graphflow.runtime.config import StepStats
from graphflow.runtime.step_stats import (
    BETWEEN_NAMES,
    AllocatorMemoryUsed,
    DeviceStepStats,
    NodeExecStats,
    output_of,
    timed,
)
from graphflow.runtime.tracing import Happening, RunRecord

TASK = "/job:localhost/replica:0/task:0"
HOST_DEVICE = f"{TASK}/device:CPU:0"


def step_stats(record: RunRecord, threads: Mapping[int, str], device: str, feeds: Mapping[int, str]) -> StepStats:
    """The steps of a run: those of threads on the host, those of queues on `device`; `feeds` names what was fed."""
    epoch = time.time_ns() - time.perf_counter_ns()
    devices: dict[str, DeviceStepStats] = {}
    lanes: dict[int | str, int] = {record.thread: 0}
    makers: dict[int, _Makers] = {}
    for h in record.happenings:
        where = f"{TASK}{device}" if isinstance(h.lane, str) else HOST_DEVICE
        found = devices.setdefault(where, DeviceStepStats(where))
        lane = lanes.setdefault(h.lane, len(lanes))
        found.thread_names[lane] = h.lane if isinstance(h.lane, str) else threads.get(h.lane, f"thread {lane}")
        maker = makers.get(id(h.program))
        if maker is None:
            fed = feeds if h.program.values is record.program.values else {}
            maker = makers[id(h.program)] = _Makers(h.program, fed)
        found.node_stats.append(_node(h, lane, epoch, maker.inputs_of(h)))
    return StepStats(list(devices.values()))


def _node(h: Happening, lane: int, epoch: int, inputs: list[str]) -> NodeExecStats:
    names = BETWEEN_NAMES.join(dict.fromkeys(ins.op.name for ins in h.instructions))
    types = "+".join(ins.type for ins in h.instructions)
    node = NodeExecStats(names, f"{names} = {types}({', '.join(inputs)})", lane)
    timed(node, epoch + round(h.started * 1e9), epoch + round(h.ended * 1e9))
    allocator = h.lane if isinstance(h.lane, str) else "cpu"
    total = 0
    for slot, (v, dims, size) in enumerate(h.made):
        out = output_of(slot, h.program.values[v].dtype.name, dims, size, allocator)
        out.tensor_description.allocation_description.ptr = v + 1
        node.output.append(out)
        total += size
    node.memory.append(AllocatorMemoryUsed(allocator, total, total, total))
    return node


class _Makers:
    """What makes the values of a program, and which instruction has which key."""

    def __init__(self, program: Program, feeds: Mapping[int, str]) -> None:
        self._by_value = program.producers()
        self._by_key = {ins.key: ins.op.name for ins in program.instructions}
        self._feeds = feeds

    def inputs_of(self, h: Happening) -> list[str]:
        """What a step read from others, named as in a GraphDef: `op`, `op:1`, and `^op` for what it waited for."""
        own = {v for ins in h.instructions for v in ins.outputs}
        names = [self._name(v) for ins in h.instructions for v in ins.inputs if v not in own]
        keys = {ins.key for ins in h.instructions}
        waits = [key for ins in h.instructions for key in ins.after if key in self._by_key and key not in keys]
        return [*dict.fromkeys(n for n in names if n), *dict.fromkeys(f"^{self._by_key[key]}" for key in waits)]

    def _name(self, v: int) -> str:
        ins = self._by_value.get(v)
        if ins is None:
            return self._feeds.get(v, "")
        slot = ins.outputs.index(v)
        return f"{ins.op.name}:{slot}" if slot else ins.op.name
