"""An explanation as text: a summary of what happened to the graph, then each part of it.

Policy: what a reader wants first comes first; a list is cut after `limit` lines and says how much is missing.

State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graphflow import spec
from graphflow.compile.arena import ALIGNMENT
from graphflow.program import Instruction, PassRecord, Program, Schedule, Task
from graphflow.runtime.provenance import Origin, Placement, by_scope

LIMIT = 100  # lines of a list that is printed, unless all are asked for
MOST_SCOPES = 6
MOST_NAMES = 8
MOST_REASONS = 12
WIDEST = 72  # columns before the comment of a line, where it is not longer itself


def text_of(
    program: Program, origin: Origin, placements: Sequence[Placement], code: str, native: str, limit: int | None
) -> str:
    """All of it."""
    parts = [
        _summary(program, origin, placements),
        _section("passes", _passes(program), limit),
        _section("placement", _placement(placements), limit),
        _section(_order_title(program), _order(program), limit),
        _memory(program),
        _section("code", code.splitlines(), None if limit is None else 2 * limit),
    ]
    if native:
        parts.append(f"native kernels: {len(native.splitlines())} lines of generated code, in `explanation.native`")
    return "\n\n".join(part for part in parts if part)


def _section(title: str, lines: Sequence[str], limit: int | None) -> str:
    if not lines:
        return ""
    shown = lines if limit is None else lines[:limit]
    rest = len(lines) - len(shown)
    more = [f"  ... and {rest:,} more lines: print(explanation.text(limit=None))"] if rest else []
    return "\n".join([title, *[f"  {line}" for line in shown], *more])


# -- the summary ------------------------------------------------------------------------------------------------------


def _summary(program: Program, origin: Origin, placements: Sequence[Placement]) -> str:
    rows = [("program", f"{_count(len(program.instructions), 'instruction')} at optimization level {program.level}")]
    if origin.ops:
        rows.append(("graph", _pruned(origin.ops, origin.pruned)))
    rows.append(("fed", _fed(program, origin.feeds)))
    rows.append(("fetched", _short(origin.fetches)))
    rows.append(("rewriting", _rewriting(program)))
    rows.append(("placement", "; ".join(_places(placements))))
    if program.memory is not None:
        peaks = f"{program.memory.peak_after:,} bytes at the peak, {program.memory.peak_before:,} without reuse"
        rows.append(("memory", peaks))
    width = max(len(name) for name, _ in rows)
    return "\n".join(["summary", *[f"  {name.ljust(width)}  {text}" for name, text in rows if text]])


def _pruned(ops: int, pruned: Sequence[str]) -> str:
    if not pruned:
        return f"{_count(ops, 'op')}, all of them needed"
    scopes = by_scope(pruned)
    named = [f"{count:,} {'in ' + scope if scope else 'outside scopes'}" for scope, count in scopes[:MOST_SCOPES]]
    rest = sum(count for _, count in scopes[MOST_SCOPES:])
    named += [f"{rest:,} in {_count(len(scopes) - MOST_SCOPES, 'other scope')}"] if rest else []
    return f"{_count(ops, 'op')}, {len(pruned):,} of them not needed: {', '.join(named)}"


def _fed(program: Program, names: Sequence[str]) -> str:
    if not names:
        return "nothing"
    listed = [
        f"v{v} = {name.removesuffix(':0')} {_spec(program, v)}"
        for v, name in zip(program.feeds, names, strict=True)
    ]  # fmt: skip
    return _short(listed)


def _short(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more


def _rewriting(program: Program) -> str:
    counts = {
        word: sum(len(getattr(record, word)) for record in program.record)
        for word in ("removed", "folded", "merged", "rewritten")
    }
    texts = [f"{count:,} {word}" for word, count in counts.items() if count]
    together = [names for record in program.record for names in record.fused]
    if together:
        ops = sum(map(len, together))
        texts.append(f"{ops:,} in {_count(len(together), 'group')} that may be done in one go")
    return ", ".join(texts) or "nothing changed"


def _places(placements: Sequence[Placement]) -> list[str]:
    counts = Counter((p.device, p.why) for p in placements)
    out = []
    for (device, why), count in counts.most_common(MOST_REASONS):
        out.append(f"{count:,} {'on ' + device if device else 'nowhere'}{' (' + why + ')' if why else ''}")
    return out


def _placement(placements: Sequence[Placement]) -> list[str]:
    """Each instruction of which there is more to say than that it is where all the others are."""
    usual = Counter(p.device for p in placements if p.device).most_common(1)
    told = [p for p in placements if p.device and (p.why or p.device != usual[0][0])]
    return [f"{p.op} on {p.device}{': ' + p.why if p.why else ''}" for p in told]


# -- passes, order, memory --------------------------------------------------------------------------------------------


def _passes(program: Program) -> list[str]:
    lines, idle = [], []
    for record in program.record:
        found = _record(record)
        if found:
            lines += [str(record), *[f"  {line}" for line in found]]
        else:
            idle.append(record)
    if idle:
        seconds = sum(record.seconds for record in idle)
        lines.append(f"nothing to do for {', '.join(record.name for record in idle)} ({seconds * 1e3:.2f} ms)")
    return lines


def _record(record: PassRecord) -> list[str]:
    lines = [f"{name} removed" for name in record.removed]
    lines += [f"{name} folded into a constant" for name in record.folded]
    lines += [f"{name} is {other}" for name, other in record.merged]
    lines += [f"{name}: {what}" for name, what in record.rewritten]
    return lines + [f"may be done in one go: {_short(names)}" for names in record.fused]


def _order_title(program: Program) -> str:
    title = f"order: {_count(len(program.instructions), 'instruction')}"
    schedule = program.schedule
    if schedule is None:
        return title
    if schedule.workers <= 1:
        return f"{title}, one after the other; estimated {_micros(schedule.sequential)}"
    title += f", {_count(len(schedule.tasks), 'task')} for {schedule.workers} workers; estimated "
    return f"{title}{_micros(schedule.sequential)} in order, {_micros(schedule.parallel)} side by side"


def _order(program: Program) -> list[str]:
    """The instructions in their order, by task where there are tasks; what stands for a variable does nothing."""
    schedule, handles = program.schedule, program.handles
    groups = {i: n for n, group in enumerate(program.groups, 1) for i in range(group.begin, group.end)}
    starts = {task.begin: number for number, task in enumerate(schedule.tasks)} if schedule else {}
    lines = [f"v{v} is the variable {op.name}" for v, op in handles.items()] + _constants(program)
    for position, ins in enumerate(program.instructions):
        if position in starts and schedule is not None and schedule.workers > 1:
            lines.append(_task(schedule, starts[position]))
        if not handles.keys().isdisjoint(ins.outputs):
            continue
        group = f"  group {groups[position]}" if position in groups else ""
        where = f"{ins.op.device}, " if ins.op.device else ""
        left = f"{_instruction(program, ins)}{group}".ljust(WIDEST)
        lines.append(f"{left}  # {ins.op.name}, {where}{ins.op.source}")
    return lines


def _constants(program: Program) -> list[str]:
    """What is known before the run, and read in it."""
    read = {v for ins in program.instructions for v in ins.inputs}
    out = []
    for v, value in program.constants.items():
        if v in read:
            known = program.values[v]
            number = f" {value!s}" if known.dims == () and known.dtype.kind != "string" else ""
            out.append(f"v{v} is the constant{number}, {_spec(program, v)}")
    return out


def _task(schedule: Schedule, number: int) -> str:
    task: Task = schedule.tasks[number]
    wait = f", after {', '.join(map(str, task.before))}" if task.before else ""
    return f"task {number}: {_micros(task.seconds)}, priority {_micros(task.priority)}{wait}"


def _instruction(program: Program, ins: Instruction) -> str:
    outputs = ", ".join(f"v{v}" if v >= 0 else "_" for v in ins.outputs)
    shapes = ", ".join(_spec(program, v) for v in ins.outputs if v >= 0)
    inputs = ", ".join(f"v{v}" for v in ins.inputs)
    call = f"{ins.type}({inputs})"
    return f"{outputs} = {call}  {shapes}" if ins.outputs else call


def _spec(program: Program, v: int) -> str:
    known = program.values[v]
    return known.dtype.name + spec.describe(known.dims)


def _memory(program: Program) -> str:
    memory = program.memory
    if memory is None:
        return ""
    planned = f"memory: {_count(len(memory.offsets), 'value')} in an arena of {memory.size:,} bytes"
    if memory.peak_after != memory.size:
        planned += f", {memory.peak_after:,} at the peak with results outside it"
    return f"{planned}; {memory.peak_before:,} bytes without reuse; each value in it rounded up to {ALIGNMENT}"


def _micros(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + "s" * (number != 1)
