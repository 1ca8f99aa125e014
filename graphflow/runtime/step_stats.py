"""`StepStats`: what one run did and when, in TensorFlow 1's structure, as plain values.

Policy: names and units are those of TF1's protocol buffers, so that code that reads them needs no change: `dev_stats`,
each with a `device` and `node_stats`; times in whole microseconds (`..._micros`) and whole nanoseconds (`..._nanos`).
A step of the backend that stands for several ops is one `NodeExecStats`; its `node_name` has all their names, joined
by ", ", which no name contains.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

BETWEEN_NAMES = ", "


@dataclass
class Dim:
    """The size of one axis."""

    size: int


@dataclass
class TensorShapeProto:
    """The axes of a tensor."""

    dim: list[Dim] = field(default_factory=list)
    unknown_rank: bool = False


@dataclass
class AllocationDescription:
    """The memory of one result."""

    requested_bytes: int = 0
    allocated_bytes: int = 0
    allocator_name: str = ""
    ptr: int = 0  # a number of its own for each result of a run


@dataclass
class TensorDescription:
    """What one result was."""

    dtype: str
    shape: TensorShapeProto
    allocation_description: AllocationDescription


@dataclass
class NodeOutput:
    """One result of a step."""

    slot: int
    tensor_description: TensorDescription


@dataclass
class AllocatorMemoryUsed:
    """The memory that a step's results took."""

    allocator_name: str
    total_bytes: int = 0
    peak_bytes: int = 0
    live_bytes: int = 0


@dataclass
class NodeExecStats:
    """One step of a run."""

    node_name: str
    timeline_label: str = ""  # "name = Type(input, input)"
    thread_id: int = 0
    scheduled_micros: int = 0
    scheduled_nanos: int = 0
    all_start_micros: int = 0
    op_start_rel_micros: int = 0
    op_end_rel_micros: int = 0
    all_end_rel_micros: int = 0
    all_start_nanos: int = 0
    op_start_rel_nanos: int = 0
    op_end_rel_nanos: int = 0
    all_end_rel_nanos: int = 0
    memory: list[AllocatorMemoryUsed] = field(default_factory=list)
    output: list[NodeOutput] = field(default_factory=list)

    @property
    def op_names(self) -> list[str]:
        """The names of the ops that the step stands for."""
        return self.node_name.split(BETWEEN_NAMES)


@dataclass
class DeviceStepStats:
    """The steps of one device."""

    device: str
    node_stats: list[NodeExecStats] = field(default_factory=list)
    thread_names: dict[int, str] = field(default_factory=dict)


def timed(node: NodeExecStats, start_nanos: int, end_nanos: int) -> NodeExecStats:
    """The same node with its times filled in; microseconds are cut off, so that nested steps stay nested."""
    start, end = start_nanos // 1000, end_nanos // 1000
    node.scheduled_nanos = node.all_start_nanos = start_nanos
    node.scheduled_micros = node.all_start_micros = start
    node.op_end_rel_nanos = node.all_end_rel_nanos = end_nanos - start_nanos
    node.op_end_rel_micros = node.all_end_rel_micros = end - start
    return node


def output_of(slot: int, dtype: str, dims: Sequence[int | None] | None, nbytes: int, allocator: str) -> NodeOutput:
    """The description of one result; an axis of unknown size is -1."""
    shape = TensorShapeProto([Dim(-1 if d is None else d) for d in dims or ()], dims is None)
    return NodeOutput(slot, TensorDescription(dtype, shape, AllocationDescription(nbytes, nbytes, allocator)))
