"""The schedule of a program as a chart: what runs when, and on which worker or queue.

Policy: planned times are the schedule's own: a task's priority says how long before the end it begins.  Inside a task,
and where there are no tasks, instructions stand one behind the other by their estimated costs.  With the times of a run
the chart shows those instead.  A row shows one thing at a time; what was measured to overlap in one lane gets further
rows.  The critical path is the chain of dependencies that leaves the run no time.

State: none.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from graphflow.compile import cost
from graphflow.program import Instruction, Program, Task
from graphflow.render.axis import seconds_text, ticks, time_unit
from graphflow.render.styles import GREY, INK, PALE, RED
from graphflow.render.svg import Svg, fitting

Timed = tuple[str, "str | int", float, float]  # name, lane, start and end in seconds
BETWEEN = ", "  # names of ops that are one step: no name contains it


class Span(NamedTuple):
    """One bar of the chart."""

    name: str
    type: str
    lane: str
    start: float
    end: float
    critical: bool = False
    note: str = ""


class Chart(NamedTuple):
    """All bars, by row, and what is said of them."""

    rows: tuple[tuple[str, tuple[Span, ...]], ...]
    seconds: float
    caption: tuple[str, ...]


def to_svg(program: Program, trace: Sequence[Timed] | None = None, title: str | None = None) -> str:
    """The schedule as planned, or with `trace` (name of the op, lane, start, end) as it was measured."""
    svg = _drawn(planned(program) if trace is None else measured(program, trace))
    svg.entitle(title)
    return str(svg)


# -- as planned ------------------------------------------------------------------------------------------------------


def planned(program: Program) -> Chart:
    """The chart of the schedule, or of the estimated costs where there is none."""
    seconds = [c.seconds for c in cost.costs(program)]
    schedule = program.schedule
    if schedule is None or schedule.workers < 2 or not schedule.tasks:
        return _in_order(program, seconds)
    starts = planned_starts(schedule.tasks)
    ends = [start + task.seconds for start, task in zip(starts, schedule.tasks, strict=True)]
    lanes = _lanes(list(zip(starts, ends, strict=True)))
    critical = _longest_way([task.before for task in schedule.tasks], [task.seconds for task in schedule.tasks])
    rows: dict[int, list[Span]] = {lane: [] for lane in range(max(lanes) + 1)}
    for number, task in enumerate(schedule.tasks):
        note = f"task {number}, priority {seconds_text(task.priority)}"
        inside = [seconds[position] for position in range(task.begin, task.end)]
        scale = task.seconds / sum(inside) if sum(inside) > 0 else 0.0
        row = rows[lanes[number]]
        row += _one_by_one(
            program, range(task.begin, task.end), starts[number], scale, seconds, number in critical, note
        )
    total = max(ends)
    on_path = sum(schedule.tasks[n].seconds for n in critical)
    tasks, alone = f"{len(schedule.tasks)} tasks on {schedule.workers} workers", seconds_text(schedule.sequential)
    caption = (
        f"planned: {tasks}, {seconds_text(total)}; one after the other {alone}",
        f"critical path: {len(critical)} tasks, {seconds_text(on_path)}",
    )
    named = tuple([(f"worker {lane + 1}", tuple(spans)) for lane, spans in rows.items()])
    return Chart(named, total, caption)


def planned_starts(tasks: Sequence[Task]) -> list[float]:
    """When each task begins: its priority is how long before the end that is."""
    total = max(task.priority for task in tasks)
    return [total - task.priority for task in tasks]


def _in_order(program: Program, seconds: Sequence[float]) -> Chart:
    """One row: the instructions in their order."""
    makers = {v: n for n, ins in enumerate(program.instructions) for v in ins.outputs}
    keys = {ins.key: n for n, ins in enumerate(program.instructions)}
    before = [_before(ins, makers, keys) for ins in program.instructions]
    critical = _longest_way(before, seconds)
    spans: list[Span] = []
    for position in range(len(program.instructions)):
        start = spans[-1].end if spans else 0.0
        spans += _one_by_one(program, [position], start, 1.0, seconds, position in critical, "")
    total = spans[-1].end if spans else 0.0
    on_path = sum(seconds[n] for n in critical)
    caption = (
        f"planned: {len(spans)} instructions in their order, estimated {seconds_text(total)}",
        f"critical path: {len(critical)} instructions, {seconds_text(on_path)}",
    )
    return Chart((("in order", tuple(spans)),), total, caption)


def _before(ins: Instruction, makers: dict[int, int], keys: dict[int, int]) -> tuple[int, ...]:
    """Positions of the instructions that must be done before."""
    found = {makers[v] for v in ins.inputs if v in makers}
    found.update([keys[key] for key in ins.after if key in keys])
    return tuple(sorted(found))


def _one_by_one(
    program: Program,
    positions: Iterable[int],
    start: float,
    scale: float,
    seconds: Sequence[float],
    critical: bool,
    note: str,
) -> list[Span]:
    """Instructions one behind the other."""
    out = []
    for position in positions:
        op = program.instructions[position].op
        end = start + seconds[position] * scale
        kind = program.instructions[position].type
        out.append(Span(op.name, kind, "", start, end, critical, "\n".join(filter(None, (note, op.source)))))
        start = end
    return out


def _lanes(intervals: Sequence[tuple[float, float]]) -> list[int]:
    """For each interval the first lane that is free when it begins."""
    lanes = [0] * len(intervals)
    free: list[float] = []
    slack = 1e-9 * max([end for _, end in intervals], default=0.0)
    for number in sorted(range(len(intervals)), key=lambda n: intervals[n]):
        start, end = intervals[number]
        lane = next((i for i, until in enumerate(free) if until <= start + slack), len(free))
        free[lane : lane + 1] = [end]
        lanes[number] = lane
    return lanes


def _longest_way(before: Sequence[Sequence[int]], seconds: Sequence[float]) -> set[int]:
    """The chain of dependencies that takes longest; whatever waits stands behind what it waits for."""
    done = [0.0] * len(seconds)
    through = [-1] * len(seconds)
    for number, earlier in enumerate(before):
        if earlier:
            through[number] = max(earlier, key=done.__getitem__)
        done[number] = seconds[number] + (done[through[number]] if earlier else 0.0)
    at = max(range(len(done)), key=done.__getitem__, default=-1)
    way = set()
    while at >= 0:
        way.add(at)
        at = through[at]
    return way


# -- as measured -----------------------------------------------------------------------------------------------------


def measured(program: Program, trace: Sequence[Timed]) -> Chart:
    """The chart of a run."""
    begin = min([start for _, _, start, _ in trace], default=0.0)
    total = max([end for _, _, _, end in trace], default=0.0) - begin
    known = {ins.op.name: ins for ins in reversed(program.instructions)}
    rows = _rows(trace)
    way = _last_to_first(program, trace, [row for _, row in rows])
    named: list[tuple[str, tuple[Span, ...]]] = []
    for lane, numbers in rows:
        spans = []
        for number in numbers:
            name, _, start, end = trace[number]
            ins = known.get(name.split(BETWEEN, 1)[0])
            kind, note = (ins.type, ins.op.source) if ins is not None else ("", "")
            spans.append(Span(name, kind, lane, start - begin, end - begin, number in way, note))
        named.append((lane, tuple(spans)))
    on_path = sum(trace[n][3] - trace[n][2] for n in way)
    caption = (
        f"measured: {len(trace)} steps in {len({lane for _, lane, _, _ in trace})} lanes, {seconds_text(total)}",
        f"critical path: {len(way)} steps, {seconds_text(on_path)}",
    )
    return Chart(tuple(named), total, caption)


def _rows(trace: Sequence[Timed]) -> list[tuple[str, list[int]]]:
    """The rows of each lane, its name at the first of them, with numbers of steps that do not overlap."""
    lanes: dict[str | int, list[int]] = {}
    for number, (_, lane, _, _) in enumerate(trace):
        lanes.setdefault(lane, []).append(number)
    rows: list[tuple[str, list[int]]] = []
    for lane, numbers in lanes.items():
        numbers.sort(key=lambda n: trace[n][2:])
        row_of = _lanes([trace[n][2:] for n in numbers])
        for row in range(max(row_of) + 1):
            chosen = [n for n, mine in zip(numbers, row_of, strict=True) if mine == row]
            rows.append(("" if row else str(lane), chosen))
    return rows


def _last_to_first(program: Program, trace: Sequence[Timed], rows: Sequence[Sequence[int]]) -> set[int]:
    """From what ended last, each time back to what ended last of all that it waited for, its own row included."""
    makers = {v: n for n, ins in enumerate(program.instructions) for v in ins.outputs}
    keys = {ins.key: n for n, ins in enumerate(program.instructions)}
    steps = {name: number for number, (names, *_) in enumerate(trace) for name in names.split(BETWEEN)}
    step_of = [steps.get(ins.op.name, -1) for ins in program.instructions]
    waits: dict[int, set[int]] = {}
    for number, ins in zip(step_of, program.instructions, strict=True):
        waits.setdefault(number, set()).update([step_of[p] for p in _before(ins, makers, keys)])
    for row in rows:
        for earlier, number in itertools.pairwise([-1, *row]):
            waits.setdefault(number, set()).add(earlier)
    at = max(range(len(trace)), key=lambda n: trace[n][3], default=-1)
    way: set[int] = set()
    while at >= 0 and at not in way:
        way.add(at)
        at = max(sorted(waits[at] - {-1, at}), key=lambda n: trace[n][3], default=-1)
    return way


# -- the drawing -----------------------------------------------------------------------------------------------------

LEFT, RIGHT, TOP = 96, 84, 62
PLOT = 1100  # pixels across
ROW, BAR = 44, 30
COLOURS = ("#a9cbee", "#f6c28b", "#a8dba8", "#d2b8ea", "#f2b5c4", "#9fdcdf", "#e6d98c", "#c9bba6")
OTHERS = "#d5d9df"


def _drawn(chart: Chart) -> Svg:
    scale = PLOT / chart.seconds if chart.seconds > 0 else 0.0
    bottom = TOP + ROW * max(1, len(chart.rows))
    svg = Svg(LEFT + PLOT + RIGHT, bottom + 88, chart.caption[0])
    for line, words in enumerate(chart.caption):
        svg.text(LEFT, 22 + 18 * line, words, 14 if line == 0 else 12, INK if line == 0 else RED)
    _axis(svg, chart, scale, bottom)
    colours = _colours(chart)
    for number, (lane, spans) in enumerate(chart.rows):
        _row(svg, lane, spans, TOP + ROW * number, chart.seconds, scale, colours)
    _legend(svg, chart, colours, bottom + 44)
    return svg


def _axis(svg: Svg, chart: Chart, scale: float, bottom: float) -> None:
    unit, name = time_unit(chart.seconds)
    marks = ticks(chart.seconds / unit, 10)
    for mark in marks:
        x = LEFT + mark * unit * scale
        svg.line(x, TOP - 4, x, bottom + 4, stroke=PALE, stroke_width=1)
        words = f"{mark:g} {name}" if mark == marks[-1] else f"{mark:g}"
        svg.text(x, bottom + 18, words, 11, GREY, text_anchor="middle")


def _colours(chart: Chart) -> dict[str, str]:
    """A colour for each of the types that take most of the time."""
    taken: Counter[str] = Counter()
    for _, spans in chart.rows:
        for span in spans:
            taken[span.type] += 1 + int((span.end - span.start) * 1e12)
    chosen = sorted(taken, key=lambda kind: (-taken[kind], kind))
    return dict(zip(chosen, COLOURS, strict=False))


def _row(
    svg: Svg, lane: str, spans: Sequence[Span], top: float, total: float, scale: float, colours: dict[str, str]
) -> None:
    busy = sum(span.end - span.start for span in spans)
    svg.rect(LEFT, top, PLOT, BAR, fill="#f3f4f6", class_="idle")
    svg.text(LEFT - 10, top + BAR / 2 + 4, fitting(lane, LEFT - 14, 12), 12, INK, text_anchor="end")
    share = f"{100 * busy / total:.0f} % busy" if total > 0 else ""
    svg.text(LEFT + PLOT + 8, top + BAR / 2 + 4, share, 11, GREY)
    for span in spans:
        x, width = LEFT + span.start * scale, (span.end - span.start) * scale
        words = f"{span.name}\n{span.type}, {seconds_text(span.end - span.start)} from {seconds_text(span.start)}"
        words = f"{words}\n{span.note}" if span.note else words
        border = {"stroke": "#ffffff", "stroke_width": min(1.0, width / 4)}
        svg.rect(x, top, width, BAR, words, fill=colours.get(span.type, OTHERS), class_="op", **border)
        if span.critical:
            svg.rect(x, top + BAR + 2, width, 4, fill=RED, class_="critical")
        name = span.name if len(span.name) * 6.2 < width - 6 else fitting(span.name.rpartition("/")[2], width - 6, 11)
        if name:
            svg.text(x + width / 2, top + BAR / 2 + 4, name, 11, text_anchor="middle", pointer_events="none")


def _legend(svg: Svg, chart: Chart, colours: dict[str, str], y: float) -> None:
    used = {span.type for _, spans in chart.rows for span in spans}
    entries = [(colour, kind or "other") for kind, colour in colours.items() if kind in used]
    entries += [(OTHERS, "others")] if used.difference(colours) else []
    entries += [("#f3f4f6", "idle"), (RED, "critical path")]
    x = float(LEFT)
    for colour, words in entries:
        svg.rect(x, y - 10, 14, 12, fill=colour)
        svg.text(x + 19, y, words, 11)
        x += 19 + 6.2 * len(words) + 16
