"""What became of a graph on its way to a run: passes, order, memory and generated code, as text and as data.

Policy: everything here is read from the Program and the executable, nothing is computed anew.

State: none.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphflow import spec
from graphflow.program import Instruction, PassRecord, Program


@dataclass(frozen=True, repr=False)
class Explanation:
    """`session.explain(...)`: print it, or read its fields."""

    program: Program
    code: str  # what the backend generated, with the user's lines
    native: str = ""  # the code of native kernels, where there are some: too long to be printed with the rest

    @property
    def passes(self) -> tuple[PassRecord, ...]:
        """What each pass did."""
        return self.program.record

    @property
    def peak_before(self) -> int | None:
        """Bytes at the peak if nothing were reused."""
        return None if self.program.memory is None else self.program.memory.peak_before

    @property
    def peak_after(self) -> int | None:
        """Bytes at the peak as planned."""
        return None if self.program.memory is None else self.program.memory.peak_after

    def __str__(self) -> str:
        parts = [_passes(self.program), _order(self.program), _memory(self.program), f"code\n{_indented(self.code)}"]
        if self.native:
            parts.append(
                f"native kernels: {len(self.native.splitlines())} lines of generated code, in `explanation.native`"
            )
        return "\n\n".join(part for part in parts if part)

    def __repr__(self) -> str:
        return f"<Explanation of {_count(len(self.program.instructions), 'instruction')}; print it>"


def _passes(program: Program) -> str:
    lines = ["passes"]
    for record in program.record:
        lines.append(f"  {record}")
        lines += [f"    {name} removed" for name in record.removed]
        lines += [f"    {name} folded into a constant" for name in record.folded]
        lines += [f"    {name} is {other}" for name, other in record.merged]
        lines += [f"    {name}: {what}" for name, what in record.rewritten]
        lines += [f"    together: {', '.join(names)}" for names in record.fused]
    return "\n".join(lines)


def _order(program: Program) -> str:
    """The instructions in their order, by task where there are tasks."""
    lines = [f"order: {_count(len(program.instructions), 'instruction')}"]
    schedule = program.schedule
    groups = {i: n for n, group in enumerate(program.groups, 1) for i in range(group.begin, group.end)}
    starts = {task.begin: (number, task) for number, task in enumerate(schedule.tasks)} if schedule else {}
    if schedule is not None:
        lines[0] += f", {len(schedule.tasks)} tasks for {schedule.workers} workers; estimated "
        lines[0] += f"{schedule.sequential * 1e6:.0f} us in order, {schedule.parallel * 1e6:.0f} us side by side"
    for position, ins in enumerate(program.instructions):
        if position in starts and schedule is not None and schedule.workers > 1:
            number, task = starts[position]
            wait = f", after {', '.join(map(str, task.before))}" if task.before else ""
            lines.append(f"  task {number}: {task.seconds * 1e6:.0f} us, priority {task.priority * 1e6:.0f} us{wait}")
        group = f"  group {groups[position]}" if position in groups else ""
        where = f"{ins.op.device}, " if ins.op.device else ""
        lines.append(f"  {_instruction(program, ins)}{group}  # {ins.op.name}, {where}{ins.op.source}")
    return "\n".join(lines)


def _instruction(program: Program, ins: Instruction) -> str:
    outputs = ", ".join(f"v{v}" if v >= 0 else "_" for v in ins.outputs)
    shapes = " ".join(
        program.values[v].dtype.name + spec.describe(program.values[v].dims) for v in ins.outputs if v >= 0
    )
    inputs = ", ".join(f"v{v}" for v in ins.inputs)
    return f"{outputs or '_'} = {ins.type}({inputs})  {shapes}"


def _memory(program: Program) -> str:
    memory = program.memory
    if memory is None:
        return ""
    planned = f"memory: {len(memory.offsets)} values in an arena of {memory.size:,} bytes"
    peaks = f"{memory.peak_after:,} bytes with results outside it, {memory.peak_before:,} without reuse"
    return f"{planned}; at the peak {peaks}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
