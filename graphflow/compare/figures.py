"""The figures of a comparison, side by side, and in words.

Policy: every figure says what it is of; what was not measured is a dash.  What the traced ways lose stands beside what
they win.  A machine that was too busy for the figures to mean much is told.

State: none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from graphflow.compare.calls import Call
from graphflow.errors import InvalidArgumentError

NOISY = 0.15  # spread from which the machine is said to have been busy
CLEAR = 0.10  # differences in time below this share are not called a win or a loss
DASH = "-"
PEAK = (
    "what Python and NumPy asked for in a run apart (tracemalloc), results and records included, and of a traced way "
    "what it keeps, its arena; not the memory of devices and of native libraries"
)
TIMES = ("way", "trace", "compile", "first run", "steady run", "spread", "ahead from run")
WORK = ("way", "ops", "calls", "results", "peak", "agrees")  # the columns behind


@dataclass(frozen=True)
class Row:
    """One way of computing."""

    way: str
    device: str
    level: int | None
    workers: int | None
    build: float  # seconds: tracing the Python function, gradients included; 0 for the eager way
    compiling: float  # seconds
    first: float  # seconds of the first run
    steady: float  # seconds of a later run: median over rounds
    spread: float  # the middle half of the rounds over the median
    runs: int  # in each round
    ops: int  # that were executed in one run
    calls: int  # of kernels: a fused group is one
    buffers: int  # results that need memory
    peak_bytes: int | None  # beyond what was held before; None where it lies on another device
    break_even: int | None  # the number of runs from which on this way is ahead of the eager one; None: never
    same_bits: bool  # results and gradients, as the eager way's
    difference: float  # the largest, over the largest value of the same tensor
    agrees: bool | None  # within the bounds stated; None where random numbers are drawn
    worst: str = ""  # which result or gradient differs most

    @property
    def before(self) -> float:
        """Seconds to the first result."""
        return self.build + self.compiling + self.first


@dataclass(frozen=True)
class Figures:
    """What was measured, and what it says."""

    name: str
    rows: tuple[Row, ...]  # the eager way first
    conditions: dict[str, Any]
    missing: tuple[str, ...]  # ways that are not there, and why
    executed: dict[str, tuple[Call, ...]]  # by way: what one run does

    @property
    def eager(self) -> Row:
        """The eager way."""
        return self.rows[0]

    @property
    def lazy(self) -> tuple[Row, ...]:
        """The traced ways."""
        return self.rows[1:]

    @property
    def best(self) -> Row:
        """The traced way with the shortest steady run."""
        return min(self.lazy, key=lambda row: row.steady)

    @property
    def agrees(self) -> bool:
        """Whether no way differs from the eager one by more than the bounds."""
        return all(row.agrees is not False for row in self.rows)

    @property
    def noisy(self) -> list[str]:
        """The ways whose times varied too much to rely on."""
        return [row.way for row in self.rows if row.spread > NOISY]

    def row(self, way: str) -> Row:
        """The row of a way, by its name."""
        for row in self.rows:
            if row.way == way:
                return row
        raise InvalidArgumentError(
            "there is no such way", expected=", ".join(row.way for row in self.rows), got=repr(way)[:80]
        )

    # -- words -----------------------------------------------------------------------------------------------------

    def wins(self) -> list[str]:
        """What the best traced way wins, in words."""
        return self._differences()[0]

    def losses(self) -> list[str]:
        """What the traced ways lose, in words."""
        return self._differences()[1]

    def disagreements(self) -> list[str]:
        """Which ways compute something else, what, and by how much."""
        told = []
        for row in self.lazy:
            if row.agrees is False:
                apart = f": {row.difference:.1e} of its largest value" if math.isfinite(row.difference) else ""
                told.append(f"RESULTS DISAGREE: {row.way}, {row.worst or 'the result'}{apart}")
        return told

    def _differences(self) -> tuple[list[str], list[str]]:
        """What is won and what is lost."""
        eager, best = self.eager, self.best
        won: list[str] = []
        lost: list[str] = []
        ratio = eager.steady / best.steady
        text = f"a steady run: {seconds(best.steady)} ({best.way}) against {seconds(eager.steady)} eager"
        if ratio > 1 + CLEAR:
            won.append(f"{text}, {ratio:.2f} times as fast")
        elif ratio < 1 - CLEAR:
            lost.append(f"{text}, {1 / ratio:.2f} times as long")
        else:
            lost.append(f"{text}: no difference to speak of")
        for what, mine, other, told in (
            ("calls of kernels", best.calls, eager.calls, count),
            ("results that need memory", best.buffers, eager.buffers, count),
            ("memory at the peak", best.peak_bytes, eager.peak_bytes, amount),
        ):
            if mine is not None and other is not None and mine != other:
                (won if mine < other else lost).append(f"{what}: {told(mine)} against {told(other)}")
        (won if best.before < eager.before else lost).append(
            f"the time to the first result: {seconds(best.before)} (tracing {seconds(best.build)}, compiling "
            f"{seconds(best.compiling)}) against {seconds(eager.before)}"
        )
        lost += self._beginnings()
        slower = [row.way for row in self.lazy if row.steady > eager.steady * (1 + CLEAR)]
        if slower:
            lost.append(f"slower than eager in each run: {', '.join(slower)}")
        return won, lost

    def _beginnings(self) -> list[str]:
        """From which run on the best way is ahead, and which way takes longest to begin."""
        eager, best = self.eager, self.best
        told = []
        if best.break_even is None:
            never = best.steady > eager.steady
            told.append("it never catches up" if never else "it catches up too late to be told from noise")
        elif best.break_even > 1:
            behind, gained = seconds(best.before - eager.before), seconds(eager.steady - best.steady)
            runs = "run" if best.break_even == 2 else f"{best.break_even - 1:,} runs"
            told.append(
                f"it is behind for the first {runs}: it begins {behind} later and makes good {gained} in each run"
            )
        last = max(self.lazy, key=lambda row: row.before)
        if last is not best and last.before > max(3 * best.before, eager.before):
            from_run = "never ahead" if last.break_even is None else f"ahead from run {last.break_even:,} on"
            told.append(f"the longest beginning: {last.way}, {seconds(last.before)} to its first result, {from_run}")
        return told

    def notes(self) -> list[str]:
        """Under which conditions the figures were measured."""
        c = self.conditions
        told = [
            "ahead from run n: n runs take less time than n eager ones, tracing, compiling and the first run included",
            f"{c['rounds']} rounds in turn, medians; the spread is the middle half of the rounds over the median",
            f"warm-up: at least {c['warm_runs']} runs and {c['warm_seconds']:g} s of each way before that",
            "ways are built in the order of the table: what is imported or made into native code serves those after it",
            "garbage collector: off while times were taken, run between rounds",
            "a first run of the eager way binds kernels that earlier eager ops of this process did not use yet",
            "calls: of kernels, a fused group is one; results: those of a run that need memory of their own",
            f"peak: {PEAK}",
            "values are fed from the host's memory and come back to it, on every device",
            f"bounds: O0 and O1 on NumPy the same bits; else {c['bounds']} of a tensor's largest value",
            f"a gradient counts as at least {c['small']:g} of the largest one, and of results over arguments",
            f"{c['machine']}, {c['cores']} cores for this process, NumPy {c['numpy']}, Python {c['python']}",
        ]
        plain = next((row for row in self.lazy if row.level == 0), None)
        if plain is not None and plain.ops != self.eager.ops:
            told.append(
                f"eager executes {self.eager.ops:,} ops and {plain.way} {plain.ops:,}: what eager code knows at once, "
                "as shapes, or decides by values, and what it writes into modules, are ops in a graph"
            )
        if c["draws"]:
            told.append("random numbers are drawn: results were not compared")
        if c.get("frozen"):
            told.append("eager draws random numbers in each run, the traced program only while it was traced")
        return [*told, *[f"not measured: {text}" for text in self.missing]]

    def warnings(self) -> list[str]:
        """What must be known before the figures are believed."""
        told = self.disagreements()
        if self.noisy:
            worst = max(self.rows, key=lambda row: row.spread)
            told.append(
                f"THE MACHINE WAS BUSY: {len(self.noisy)} of {len(self.rows)} times spread by more than {NOISY:.0%}, "
                f"most of all {worst.way}, {worst.spread:.0%}; measure again on a quiet one before you believe them"
            )
        return told

    def table(self) -> list[list[str]]:
        """The figures as text: a list for each line, the head first."""
        return [list(TIMES + WORK[1:])] + [self._line(row) for row in self.rows]

    def _line(self, row: Row) -> list[str]:
        eager = row is self.eager
        return [
            row.way,
            DASH if eager else seconds(row.build),
            DASH if eager else seconds(row.compiling),
            seconds(row.first),
            seconds(row.steady),
            f"{row.spread:.0%}",
            DASH if eager else "never" if row.break_even is None else count(row.break_even),
            count(row.ops),
            count(row.calls),
            count(row.buffers),
            DASH if row.peak_bytes is None else amount(row.peak_bytes),
            DASH if eager else _agreed(row),
        ]

    def __str__(self) -> str:
        lines = self.table()
        text = [self.headline()]
        for columns in (range(len(TIMES)), (0, *range(len(TIMES), len(lines[0])))):
            widths = [max(len(line[i]) for line in lines) for i in columns]
            text.append("")
            for line in lines:
                cells = [line[i].rjust(w) if i else line[i].ljust(w) for i, w in zip(columns, widths, strict=True)]
                text.append("  ".join(cells).rstrip())
        text += ["", *self.warnings()] if self.warnings() else []
        for title, found in (("lazy wins", self.wins()), ("lazy loses", self.losses()), ("measured", self.notes())):
            text += ["", f"{title}:", *[f"  {line}" for line in found or ["nothing"]]]
        return "\n".join(text)

    def headline(self) -> str:
        """What was compared."""
        what = "with gradients" if self.conditions["grad"] else "without gradients"
        return f"{self.name}, eager against lazy, {what}"

    def __repr__(self) -> str:
        return f"<Report of {self.name}: {len(self.rows)} ways; print it>"


def _agreed(row: Row) -> str:
    if row.agrees is None:
        return "random"
    if row.same_bits:
        return "bit for bit"
    return f"{'to' if row.agrees else 'NO:'} {row.difference:.0e}"


def break_even(before: float, first: float, steady: float, eager_first: float, eager_steady: float) -> int | None:
    """The number of runs from which on a way is ahead, if it is clearly faster in a steady run."""
    gained = eager_steady - steady
    if gained <= 0.01 * eager_steady:
        return None
    behind = before + first - eager_first
    return max(1, 1 + math.ceil(behind / gained))


def seconds(value: float) -> str:
    """A time as people read it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 999.5 * size else f"{value / size:.0f} {unit}"
    return f"{value * 1e6:.3g} µs"


def amount(size: int) -> str:
    """A number of bytes as people read it."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.3g} {unit}" if size < 999.5 * one else f"{size / one:.0f} {unit}"
    return f"{size} B"


def count(number: int) -> str:
    """A number of things as people read it."""
    return f"{number:,}"
