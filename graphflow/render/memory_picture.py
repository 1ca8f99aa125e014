"""The memory of a run as a picture: each result is a rectangle, as wide as it is needed and as high as it is large.

Policy: from left to right the instructions in their order, from bottom to top the arena's bytes; what has memory of its
own is stacked above the arena.  Places are those of the plan; times follow from who reads what, and a result that takes
over the bytes of its input begins where that one ends.  Nothing is drawn of feeds, constants and variables.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphflow import spec
from graphflow.compile import arena
from graphflow.compile.arena import Block
from graphflow.compile.lifetimes import Lifetimes, lifetimes
from graphflow.compile.memory import size_of
from graphflow.opdef import OPS, is_view
from graphflow.program import Group, Instruction, Program, Storage
from graphflow.render.axis import bytes_text, size_unit, ticks
from graphflow.render.phases import phases
from graphflow.render.styles import GREY, INK, KINDS, PALE, RED
from graphflow.render.svg import Svg, fitting


class Buffer(NamedTuple):
    """One result, from `begin` up to `end` (positions of instructions) at `offset`."""

    value: int
    name: str
    words: str  # type, shape, place and time
    kind: str  # the phase of its op
    begin: int
    end: int
    offset: int
    size: int
    planned: bool  # in the arena; else offsets count from its upper end


def to_svg(program: Program, storage: Callable[[Instruction], Storage] | None = None, title: str | None = None) -> str:
    """The picture; `storage` is the backend's, and is told from the plan where it is not given."""
    svg = _drawn(program, buffers(program, storage))
    svg.entitle(title)
    return str(svg)


# -- what is alive when ----------------------------------------------------------------------------------------------


def buffers(program: Program, storage: Callable[[Instruction], Storage] | None = None) -> list[Buffer]:
    """All results that have memory: those of the arena first, then those outside."""
    if storage is not None:
        return _buffers(program, storage)
    found = _buffers(program, _told_by_plan(program, only_fetched=False))
    memory = program.memory
    outside = live_bytes([buffer for buffer in found if not buffer.planned], len(program.instructions))
    if memory is not None and memory.size + max(outside, default=0) > memory.peak_after:
        return _buffers(program, _told_by_plan(program, only_fetched=True))  # the planner knew of more views
    return found


def _told_by_plan(program: Program, only_fetched: bool) -> Callable[[Instruction], Storage]:
    """Storage without asking the backend: what has no place in the arena is a view where the op does no work.

    The same goes for what is a variable's own memory; with `only_fetched` also for all that is not fetched.
    """
    offsets = program.memory.offsets if program.memory is not None else {}
    fetched = set(program.fetches)

    def storage(ins: Instruction) -> Storage:
        row = OPS.get(ins.type)
        planned = any(v in offsets for v in ins.outputs)
        of_variable = row is not None and row.effect
        own = not is_view(ins.type) and not of_variable and not (only_fetched and fetched.isdisjoint(ins.outputs))
        return Storage(buffer=planned, views=not planned and not own)

    return storage


def _buffers(program: Program, storage: Callable[[Instruction], Storage]) -> list[Buffer]:
    offsets = program.memory.offsets if program.memory is not None else {}
    kinds = [storage(ins) for ins in program.instructions]
    whole = [group for group in program.groups if _is_whole(program, group)]
    hidden = _inside(program, whole)
    lives = lifetimes(program, kinds, whole)
    graphs = dict.fromkeys([ins.op.graph for ins in program.instructions])
    phase = {op: kind for graph in graphs for op, kind in phases(graph).items()}
    arranged: list[Buffer] = []
    apart: list[Buffer] = []
    for ins, kind in zip(program.instructions, kinds, strict=True):
        for v in ins.outputs:
            size = size_of(program.values[v]) if v >= 0 and v not in hidden else 0
            planned = v in offsets
            if size and (planned or not kind.views):
                end = min(lives.death[v] + 1, lives.end_of_run)
                known = program.values[v]
                words = f"{ins.type} {known.dtype.name}{spec.describe(known.dims)}, {bytes_text(size)}"
                place = lives.birth[v], end, offsets.get(v, 0), size, planned
                (arranged if planned else apart).append(Buffer(v, ins.op.name, words, phase[ins.op], *place))
    return [*_without_taken(arranged, lives), *_stacked(apart)]


def _inside(program: Program, groups: Sequence[Group]) -> set[int]:
    """Values that never leave a group."""
    return {
        v for g in groups for ins in program.instructions[g.begin : g.end] for v in ins.outputs if v not in g.outputs
    }


def _is_whole(program: Program, group: Group) -> bool:
    """Whether a group was planned as one step: then what stays inside has no place."""
    return program.memory is not None and _inside(program, [group]).isdisjoint(program.memory.offsets)


def _without_taken(found: Sequence[Buffer], lives: Lifetimes) -> list[Buffer]:
    """A value whose bytes are taken over ends where its successor begins."""
    begins: dict[int, list[int]] = {}
    for buffer in found:
        begins.setdefault(buffer.offset, []).append(buffer.begin)
    out = []
    for buffer in found:
        moment = lives.begins[
            min(lives.death[buffer.value], lives.end_of_run - 1)
        ]  # in which it is read for the last time
        taken = moment > buffer.begin and moment in begins[buffer.offset]
        out.append(buffer._replace(end=moment) if taken else buffer)
    return out


def _stacked(apart: Sequence[Buffer]) -> list[Buffer]:
    """What has memory of its own, with places for the picture."""
    offsets, _ = arena.place([Block(buffer.size, buffer.begin, buffer.end - 1) for buffer in apart])
    return [buffer._replace(offset=offset) for buffer, offset in zip(apart, offsets, strict=True)]


def live_bytes(found: Sequence[Buffer], count: int) -> list[int]:
    """Bytes in use during each instruction."""
    changes = [0] * (count + 1)
    for buffer in found:
        changes[buffer.begin] += buffer.size
        changes[buffer.end] -= buffer.size
    out = []
    now = 0
    for change in changes[:count]:
        now += change
        out.append(now)
    return out


# -- the drawing -----------------------------------------------------------------------------------------------------

LEFT, RIGHT, TOP, BELOW = 96, 40, 92, 92
PLOT, HEIGHT = 1100, 460  # pixels


class _Frame(NamedTuple):
    """From instructions and bytes to pixels."""

    across: float
    up: float
    arena: int
    length: int  # of the program, in instructions

    def x(self, position: float) -> float:
        return LEFT + position * self.across

    def y(self, offset: float) -> float:
        return TOP + HEIGHT - offset * self.up


def _drawn(program: Program, found: Sequence[Buffer]) -> Svg:
    count = max(1, len(program.instructions))
    size = program.memory.size if program.memory is not None else 0
    top = max([b.offset + b.size + (0 if b.planned else size) for b in found], default=0)
    top = max(top, size, 1)
    frame = _Frame(PLOT / count, HEIGHT / top, size, count)
    svg = Svg(LEFT + PLOT + RIGHT, TOP + HEIGHT + BELOW, "memory over time")
    _heading(svg, program, found)
    _axes(svg, frame, top)
    for buffer in found:
        _rectangle(svg, frame, buffer)
    if size and any(not buffer.planned for buffer in found):
        svg.line(LEFT, frame.y(size), LEFT + PLOT, frame.y(size), stroke=INK, stroke_dasharray="6 4")
        svg.text(LEFT + PLOT + 4, frame.y(size) + 4, "arena", 11, GREY)
    _peak(svg, frame, program, found)
    _legend(svg, found)
    return svg


def _heading(svg: Svg, program: Program, found: Sequence[Buffer]) -> None:
    """How much memory it takes, and how much it would take without reuse, as words and as bars."""
    memory = program.memory
    every = sum(buffer.size for buffer in found)
    rows = [("without reuse", memory.peak_before if memory is not None else every, PALE)]
    if memory is not None:
        rows.insert(0, ("with reuse", memory.peak_after, KINDS["forward"].line))
    most = max(1, *[amount for _, amount, _ in rows])
    for number, (words, amount, colour) in enumerate(rows):
        y = 18 + 24 * number
        svg.text(LEFT - 10, y + 12, words, 12, INK, text_anchor="end")
        svg.rect(LEFT, y, max(1.0, 500 * amount / most), 16, fill=colour, class_="amount")
        svg.text(LEFT + 8 + 500 * amount / most, y + 12, bytes_text(amount), 12, INK)


def _axes(svg: Svg, frame: _Frame, top: int) -> None:
    unit, name = size_unit(top / 3)
    marks = ticks(top, 6, unit)
    for mark in marks:
        svg.line(LEFT, frame.y(mark), LEFT + PLOT, frame.y(mark), stroke="#e6e9ed")
        words = f"{mark / unit:g} {name}" if mark == marks[-1] else f"{mark / unit:g}"
        svg.text(LEFT - 8, frame.y(mark) + 4, words, 11, GREY, text_anchor="end")
    for mark in ticks(frame.length, 12, 1 + 1e-12):
        svg.text(frame.x(mark), TOP + HEIGHT + 16, f"{mark:.0f}", 11, GREY, text_anchor="middle")
    svg.text(LEFT + PLOT, TOP + HEIGHT + 32, "instructions in their order", 11, GREY, text_anchor="end")


def _rectangle(svg: Svg, frame: _Frame, buffer: Buffer) -> None:
    base = buffer.offset + (0 if buffer.planned else frame.arena)
    x, width = frame.x(buffer.begin), (buffer.end - buffer.begin) * frame.across
    height = buffer.size * frame.up
    place = f"at {buffer.offset:,} in the arena" if buffer.planned else "memory of its own"
    words = f"{buffer.name}\n{buffer.words}\n{place}, from instruction {buffer.begin} to {buffer.end - 1}"
    paint = KINDS[buffer.kind]
    dashes = {} if buffer.planned else {"stroke_dasharray": "3 2"}
    border = {"stroke": paint.line, "stroke_width": min(1.0, width / 4, height / 4), **dashes}
    svg.rect(x, frame.y(base + buffer.size), width, height, words, fill=paint.fill, class_="buffer", **border)
    name = fitting(buffer.name, width - 8, 10) if len(buffer.name) * 5.6 < width - 8 else ""
    name = name or fitting(buffer.name.rpartition("/")[2], width - 8, 10)
    if name and height >= 13:
        svg.text(x + 4, frame.y(base + buffer.size / 2) + 3.5, name, 10, INK, pointer_events="none")


def _peak(svg: Svg, frame: _Frame, program: Program, found: Sequence[Buffer]) -> None:
    alive = live_bytes(found, len(program.instructions))
    if not any(alive):
        return
    position = alive.index(max(alive))
    x = frame.x(position + 0.5)
    svg.line(x, TOP - 6, x, TOP + HEIGHT, stroke=RED, stroke_width=1.5, stroke_dasharray="4 3", class_="peak")
    words = f"fullest: {bytes_text(max(alive))} during {program.instructions[position].op.name}"
    right = x > LEFT + 0.6 * PLOT
    svg.text(x, TOP - 11, fitting(words, 560, 11), 11, RED, text_anchor="end" if right else "start")


def _legend(svg: Svg, found: Sequence[Buffer]) -> None:
    x, y = float(LEFT), TOP + HEIGHT + 62
    for kind in dict.fromkeys(buffer.kind for buffer in found):
        svg.rect(x, y - 10, 14, 12, fill=KINDS[kind].fill, stroke=KINDS[kind].line)
        svg.text(x + 19, y, KINDS[kind].word, 11)
        x += 19 + 6.2 * len(KINDS[kind].word) + 16
    if any(not buffer.planned for buffer in found):
        svg.rect(x, y - 10, 14, 12, fill="#ffffff", stroke=GREY, stroke_dasharray="3 2")
        svg.text(x + 19, y, "memory of its own: fetched, or not planned", 11)
