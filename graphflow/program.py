"""`Program`: what the compiler hands to a backend, as an immutable value.

Policy: instructions over numbered, typed values; every dependency that is not data is an edge in `after`.  Everything
downstream (the backends, pictures, the debugger, `explain`) reads this and nothing else passes between compiler and
backend.  Instructions stand in an order that satisfies all their edges; a scheduler may choose another such order.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from graphflow import spec
from graphflow.graph import pictures
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation


class Instruction(NamedTuple):
    """One kernel call."""

    key: int  # stable through all passes: the id of the op it came from, or of one of those that it replaces
    type: str
    inputs: tuple[int, ...]  # numbers of values
    outputs: tuple[int, ...]  # numbers of values; -1 where nobody reads that output
    attrs: dict[str, Any]
    after: tuple[int, ...]  # keys of instructions that must be done before, beyond those that make the inputs
    op: Operation  # name, device, atomic region and the user's own line


class PassRecord(NamedTuple):
    """What one pass did: for `explain` and for pictures."""

    name: str
    removed: tuple[str, ...] = ()  # names of ops
    folded: tuple[str, ...] = ()
    merged: tuple[tuple[str, str], ...] = ()  # (removed op, the op that stands for it)
    rewritten: tuple[tuple[str, str], ...] = ()  # (op, what became of it in a few words)
    fused: tuple[tuple[str, ...], ...] = ()  # names of the ops of each group
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [
            f"{len(v)} {k}" for k in ("removed", "folded", "merged", "rewritten", "fused") if (v := getattr(self, k))
        ]
        return f"{self.name}: {', '.join(parts) or 'nothing to do'} ({self.seconds * 1e3:.2f} ms)"


class Group(NamedTuple):
    """Consecutive instructions, `instructions[begin:end]`, that may be evaluated in one pass over one index space.

    All but the reductions at its end are elementwise over `dims`; an input has those dims or broadcasts to them.
    Values that no one reads outside need no memory of their own.
    """

    begin: int
    end: int
    dims: tuple[int, ...]
    outputs: tuple[int, ...]  # values that are read outside, or fetched
    reductions: int = 0  # how many of the instructions, at the end, are reductions


class Task(NamedTuple):
    """What a scheduler hands to a worker: `instructions[begin:end]`, in their order."""

    begin: int
    end: int
    seconds: float  # estimated
    priority: float  # estimated seconds from its start to the end of the run; larger is more urgent
    before: tuple[int, ...]  # numbers of the tasks that must be finished


class Schedule(NamedTuple):
    """Tasks and their dependencies, and what they promise."""

    tasks: tuple[Task, ...]
    workers: int  # how many are worth having; 1 means: run the instructions in their order, in the caller's thread
    sequential: float  # estimated seconds with one worker, and BLAS on all cores
    parallel: float  # estimated seconds with the workers, each with BLAS on one core


class Storage(NamedTuple):
    """Where a backend's kernel for one instruction puts its results; by default into memory of its own."""

    buffer: bool = False  # it can write all of them into arrays that it is given
    views: bool = False  # they may share memory with its inputs
    keeps: bool = False  # what it is given may still be held after the run
    inplace: tuple[int, ...] = ()  # positions of inputs whose very bytes the first result may take over


class Memory(NamedTuple):
    """Where results live: offsets into one arena of `size` bytes; a value without one gets memory of its own.

    The peaks count arrays of known size; feeds, constants and variables are not results, and views take no memory.
    """

    size: int
    offsets: Mapping[int, int]  # value -> offset in bytes
    peak_before: int  # bytes if every result had memory of its own until the end: the sum, those of the arena aligned
    peak_after: int  # bytes of the arena, and at the peak of what is outside it; without the scratch of tiled groups
    freed: Mapping[int, Sequence[tuple[int, int]]] = {}  # to be poisoned: position -> (offset, size) that hold nothing


@dataclass(frozen=True)
class Program:
    """A compiled graph: instructions, the values they work on, and the record of the passes.

    Groups, schedule and memory are positions in `instructions`: a pass that changes those runs before.
    """

    instructions: tuple[Instruction, ...]
    values: tuple[TensorSpec, ...]
    constants: Mapping[int, Any]
    feeds: tuple[int, ...]
    fetches: tuple[int, ...]
    record: tuple[PassRecord, ...] = ()
    handles: Mapping[int, Operation] = field(default_factory=dict)  # value number -> the variable's op
    groups: tuple[Group, ...] = ()  # in the order of the instructions, without overlap
    schedule: Schedule | None = None
    memory: Memory | None = None
    level: int = 1  # the optimisation level; from 2 on a backend may round differently

    def with_record(self, record: PassRecord, **changes: Any) -> Program:
        """The program after a pass."""
        return replace(self, record=(*self.record, record), **changes)

    def producers(self) -> dict[int, Instruction]:
        """Which instruction makes a value."""
        return {v: ins for ins in self.instructions for v in ins.outputs if v >= 0}

    def _repr_svg_(self) -> Any:
        return pictures().notebook.svg(self, "rewrites")

    def _repr_html_(self) -> Any:
        return pictures().notebook.html(self, "rewrites")

    def __str__(self) -> str:
        lines = [f"program: {len(self.instructions)} instructions, {len(self.values)} values"]
        lines += [f"  {r}" for r in self.record]
        for ins in self.instructions:
            outs = ", ".join(f"v{v}" if v >= 0 else "_" for v in ins.outputs)
            ins_text = ", ".join(f"v{v}" for v in ins.inputs)
            shapes = " ".join(f"{self.values[v].dtype.name}{spec.describe(self.values[v].dims)}" for v in ins.outputs)
            wait = f"  after {list(ins.after)}" if ins.after else ""
            lines.append(f"  {outs} = {ins.type}({ins_text})  {shapes}{wait}  # {ins.op.name}, {ins.op.source}")
        return "\n".join(lines)
