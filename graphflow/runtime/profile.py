"""`Profile`: where the time of a run goes, by op, by type and by the user's own line.

Policy: times are those of the steps alone, what is inside another step (the body of a loop) taken from it once.  The
time of a step that stands for several ops is shared evenly among them where single ops are asked for: nobody knows
better.  What a run takes beyond its steps is shown, not hidden: calling kernels, feeds, results, and the looking on;
how much of it is the looking on, the runs tell that nobody watched.

State: none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphflow.errors import InvalidArgumentError, shown
from graphflow.opdef import OPS, is_view
from graphflow.program import Instruction, Program
from graphflow.runtime.tracing import Happening, RunRecord
from graphflow.spec import is_concrete, nbytes, numel

BY = ("op", "type", "line")
SORTS = ("seconds", "calls", "bytes", "flops", "name")
SHOWN = 20  # rows of a table that is printed
WIDEST = 60  # columns of a name
NUMBERS = 5  # columns of a table that come before the names
PREFIXES = ("", "k", "M", "G", "T")


@dataclass(frozen=True)
class Row:
    """One line of a table; times, bytes and operations are those of one run, on average."""

    name: str  # of the op, or of all ops of a step, joined by ", "; of the type; or the user's line
    type: str
    source: str
    seconds: float
    share: float  # of the time of all steps
    calls: float
    bytes: int  # read and written
    flops: float  # 0 where nobody knows


@dataclass(frozen=True)
class Profile:
    """What `session.profile` returns: print it, or read its fields."""

    runs: int
    wall: float  # seconds of a run, on average
    shortest: float  # seconds of the shortest run
    busy: float  # seconds of a run in which at least one step was being done, on average
    rows: tuple[Row, ...]  # by step, the longest first
    parts: tuple[Row, ...]  # by op, type and line, where a step's time is shared evenly among its ops
    unwatched: float | None = None  # seconds of a run that nobody watched, on average; all other times are of watched

    @property
    def total(self) -> float:
        """Seconds of all steps of a run: more than `busy` where some are done side by side."""
        return sum(row.seconds for row in self.rows)

    @property
    def overhead(self) -> float:
        """Seconds of a watched run in which no step is being done."""
        return self.wall - self.busy

    @property
    def seconds(self) -> dict[str, float]:
        """Op name -> its seconds in a run."""
        out: dict[str, float] = {}
        for part in self.parts:
            out[part.name] = out.get(part.name, 0.0) + part.seconds
        return out

    def by(self, what: str = "op", sort: str = "seconds") -> list[Row]:
        """The rows "by op" (as they were done together), by "type" or by "line", sorted."""
        if what not in BY:
            raise InvalidArgumentError("a profile has no such table", expected=", ".join(BY), got=shown(what))
        if sort not in SORTS:
            raise InvalidArgumentError("a profile is not sorted by that", expected=", ".join(SORTS), got=shown(sort))
        rows = list(self.rows) if what == "op" else _summed(self.parts, {"type": "type", "line": "source"}[what])
        if sort == "name":
            return sorted(rows, key=lambda row: row.name)
        return sorted(rows, key=lambda row: (-getattr(row, sort), row.name))

    def table(self, what: str = "op", sort: str = "seconds", limit: int | None = SHOWN) -> str:
        """One table as text; `limit=None` for all of its rows."""
        rows = self.by(what, sort)
        listed = rows if limit is None else rows[:limit]
        cells = [_cells(row, what) for row in listed]
        heads = [
            "time",
            "share",
            "calls",
            "bytes",
            "FLOP/s",
            what,
            *{"op": ["type", "line"], "line": ["types"]}.get(what, []),
        ]
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        lines = [f"by {what}", *[_aligned(row, widths) for row in [heads, *cells]]]
        rest = rows[len(listed) :]
        if rest:
            time, share = sum(row.seconds for row in rest), sum(row.share for row in rest)
            lines.append(
                f"  and {len(rest)} more, {_time(time)} together, {share:.1%}: profile.table({what!r}, limit=None)"
            )
        return "\n".join(lines)

    def to_json(self) -> str:
        """All fields, and the tables, as JSON."""
        names = ("runs", "unwatched", "wall", "shortest", "busy", "total", "overhead")
        head = {name: getattr(self, name) for name in names}
        tables = {f"by_{what}": [asdict(row) for row in self.by(what)] for what in BY}
        return json.dumps({**head, "seconds": self.seconds, **tables}, allow_nan=False)

    def __str__(self) -> str:
        runs = f"{self.runs} run" + "s" * (self.runs != 1)
        part = self.busy / self.wall if self.wall else 0.0
        plain = "" if self.unwatched is None else f"unwatched {_time(self.unwatched)} each; "
        lines = [f"profile of {runs}: {plain}watched {_time(self.wall)} each, the shortest {_time(self.shortest)}"]
        lines.append(
            f"  watched: {_time(self.busy)} ({part:.0%}) in ops, {_time(self.overhead)} between and around them"
        )
        if self.total > 1.02 * self.busy:
            lines.append(f"  {_time(self.total)} of ops side by side: {self.total / self.busy:.2f} at once on average")
        if any(", " in row.name for row in self.rows):
            lines.append("  ops that were done as one share their time evenly in the tables by type and by line")
        return "\n\n".join(["\n".join(lines), *[self.table(what) for what in BY]])

    def __repr__(self) -> str:
        return f"<Profile of {self.runs} runs of {_time(self.wall)}; print it>"


def checked_runs(runs: Any) -> int:
    """How many runs to measure, if it is a number of runs."""
    if not isinstance(runs, int) or isinstance(runs, bool) or runs < 1:
        raise InvalidArgumentError("a profile takes a number of runs", expected="1 or more", got=shown(runs))
    return runs


class _Sums:
    """What belongs to one row, over all runs."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self.instructions = instructions
        self.seconds = 0.0
        self.calls = 0
        self.bytes = 0.0
        self.flops = 0.0

    def add(self, seconds: float, size: float, flops: float) -> None:
        """One more call."""
        self.seconds += seconds
        self.calls += 1
        self.bytes += size
        self.flops += flops


class _Tables:
    """The rows while steps are added to them."""

    def __init__(self) -> None:
        self.whole: dict[tuple[str, ...], _Sums] = {}
        self.parts: dict[tuple[str, str], _Sums] = {}
        self._known: dict[int, tuple[Any, ...]] = {}  # of the results of a step: its rows, bytes and operations

    def add(self, h: Happening, seconds: float) -> None:
        """Add a step to its row, and an even share of it to those of its ops."""
        known = self._known.get(id(h.made))
        if known is None:
            known = self._known[id(h.made)] = self._looked_up(h)
        whole, parts, size, work, _ = known
        whole.add(seconds, size, sum(work))
        share = 1 / len(parts)
        for part, flops in zip(parts, work, strict=True):
            part.add(seconds * share, size * share, flops)

    def _looked_up(self, h: Happening) -> tuple[Any, ...]:
        names = tuple(dict.fromkeys(ins.op.name for ins in h.instructions))
        whole = self.whole.setdefault(names, _Sums(h.instructions))
        parts = [self.parts.setdefault((ins.op.name, ins.type), _Sums((ins,))) for ins in h.instructions]
        work = [_flops(h.program, ins) for ins in h.instructions]
        return whole, parts, _moved(h), work, h.made  # the last is kept, so that its id stays its own


def profile_of(records: Sequence[RunRecord], unwatched: Sequence[float] = ()) -> Profile:
    """What these runs of one set of fetches have in common, beside the seconds of others that nobody watched."""
    runs = len(records)
    tables, busy = _Tables(), 0.0
    for record in records:
        busy += _covered(record.happenings)
        for h, seconds in zip(record.happenings, _own_seconds(record.happenings), strict=True):
            tables.add(h, seconds)
    total = sum(sums.seconds for sums in tables.whole.values()) or 1.0
    rows = [_row(", ".join(names), sums, runs, total) for names, sums in tables.whole.items()]
    parts = [_row(name, sums, runs, total) for (name, _), sums in tables.parts.items()]
    walls = [record.ended - record.started for record in records]
    rows.sort(key=lambda row: -row.seconds)
    plain = sum(unwatched) / len(unwatched) if unwatched else None
    return Profile(runs, sum(walls) / runs, min(walls), busy / runs, tuple(rows), tuple(parts), plain)


def _row(name: str, sums: _Sums, runs: int, total: float) -> Row:
    kinds = "+".join(ins.type for ins in sums.instructions)
    places = "; ".join(dict.fromkeys(str(ins.op.source) for ins in sums.instructions))
    size, flops, calls = round(sums.bytes / runs), sums.flops / runs, sums.calls / runs
    return Row(name, kinds, places, sums.seconds / runs, sums.seconds / total, calls, size, flops)


def _summed(parts: Sequence[Row], field: str) -> list[Row]:
    """The rows of equal type, or of equal line, as one."""
    found: dict[str, list[Row]] = {}
    for part in parts:
        found.setdefault(getattr(part, field), []).append(part)
    out = []
    for name, rows in found.items():
        kinds = ", ".join(dict.fromkeys(row.type for row in rows))
        places = "; ".join(dict.fromkeys(row.source for row in rows))
        sums = [sum(getattr(row, f) for row in rows) for f in ("seconds", "share", "calls", "bytes", "flops")]
        out.append(Row(name, kinds, places, *sums))
    return out


def _own_seconds(happenings: Sequence[Happening]) -> list[float]:
    """The time of each step without that of the steps inside it; they stand in the order of their beginnings."""
    own = [h.ended - h.started for h in happenings]
    open_steps: dict[int | str, list[int]] = {}
    for i, h in enumerate(happenings):
        stack = open_steps.setdefault(h.lane, [])
        while stack and happenings[stack[-1]].ended <= h.started:
            stack.pop()
        if stack:
            own[stack[-1]] -= h.ended - h.started
        stack.append(i)
    return [max(0.0, seconds) for seconds in own]


def _covered(happenings: Sequence[Happening]) -> float:
    """How long at least one step was being done."""
    covered, until = 0.0, float("-inf")
    for h in happenings:
        covered += max(0.0, h.ended - max(h.started, until))
        until = max(until, h.ended)
    return covered


def _moved(h: Happening) -> int:
    """Bytes that a step reads and writes: what it makes and reads itself stays in registers or in the cache."""
    if all(is_view(ins.type) for ins in h.instructions):
        return 0
    made = {v for ins in h.instructions for v in ins.outputs}
    read = {v for ins in h.instructions for v in ins.inputs} - made
    known = [h.program.values[v] for v in read]
    return sum(nbytes(x) or 0 for x in known if x.dtype.kind != "resource") + sum(size for _, _, size in h.made)


def _flops(program: Program, ins: Instruction) -> float:
    """How many floating-point operations an instruction takes, as far as its record tells."""
    definition = OPS.get(ins.type)
    specs = [program.values[v] for v in (*ins.inputs, *ins.outputs) if v >= 0]
    outputs = specs[len(ins.inputs) :]
    if definition is None or not outputs or not all(is_concrete(known.dims) for known in specs):
        return 0.0
    if definition.flops is not None:
        return float(definition.flops(specs[: len(ins.inputs)], outputs, ins.attrs))
    if definition.pointwise or definition.reduces:
        return float(max(numel(known.dims) for known in specs if is_concrete(known.dims))) if definition.weight else 0.0
    return 0.0


def _cells(row: Row, what: str) -> list[str]:
    speed = _scaled(row.flops / row.seconds) if row.flops and row.seconds else ""
    calls = f"{row.calls:.0f}" if row.calls == round(row.calls) else f"{row.calls:.1f}"
    size = _scaled(row.bytes) + "B" if row.bytes else ""
    more = {"op": [_cut(row.type), _cut(row.source)], "type": [], "line": [_cut(row.type)]}[what]
    return [_time(row.seconds), f"{row.share:.1%}", calls, size, speed, _cut(row.name), *more]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Numbers to the right, names to the left."""
    texts = [
        cell.rjust(width) if place < NUMBERS else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return ("  " + "  ".join(texts)).rstrip()


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def _time(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} us"


def _scaled(number: float) -> str:
    """The number with a prefix: 12.3 M."""
    place = 0
    while number >= 1000 and place < len(PREFIXES) - 1:
        number /= 1000
        place += 1
    return f"{number:.{1 if place else 0}f} {PREFIXES[place]}"
