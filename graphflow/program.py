"""`Program`: what the compiler hands to a backend, as an immutable value.

Policy: instructions over numbered, typed values; every dependency that is not data is an edge in `after`.  Everything
downstream (the backends, pictures, the debugger, `explain`) reads this and nothing else passes between compiler and
backend.  Instructions stand in an order that satisfies all their edges; a scheduler may choose another such order.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from graphflow import spec
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation


class Instruction(NamedTuple):
    """One kernel call."""

    key: int  # stable through all passes: the id of the op it came from
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
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = [f"{len(v)} {k}" for k in ("removed", "folded", "merged") if (v := getattr(self, k))]
        return f"{self.name}: {', '.join(parts) or 'nothing to do'} ({self.seconds * 1e3:.2f} ms)"


@dataclass(frozen=True)
class Program:
    """A compiled graph: instructions, the values they work on, and the record of the passes."""

    instructions: tuple[Instruction, ...]
    values: tuple[TensorSpec, ...]
    constants: Mapping[int, Any]
    feeds: tuple[int, ...]
    fetches: tuple[int, ...]
    record: tuple[PassRecord, ...] = ()
    handles: Mapping[int, Operation] = field(default_factory=dict)  # value number -> the variable's op

    def with_record(self, record: PassRecord, **changes: Any) -> Program:
        """The program after a pass."""
        return replace(self, record=(*self.record, record), **changes)

    def producers(self) -> dict[int, Instruction]:
        """Which instruction makes a value."""
        return {v: ins for ins in self.instructions for v in ins.outputs if v >= 0}

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
