"""Which stretches of a Program become native segments.

Policy: a segment is a run of consecutive instructions that all have native kernels; what only renames memory costs
nothing in it.  It must save more than its call costs.  No segment holds a part of an atomic region; a second write of
a variable begins another one.

State: none.
"""

from __future__ import annotations

from typing import NamedTuple

from graphflow.backend import Context
from graphflow.program import Program
from graphflow_numpy.native import families
from graphflow_numpy.native.calls import Scope
from graphflow_numpy.native.items import Item, items, saved_by
from graphflow_numpy.native.layout import Layout
from graphflow_numpy.native.segment import Segment, Share

WORTH = 3e-6  # seconds of NumPy's time that make up for a call
FAMILIES = families.__all__


def plan(program: Program, context: Context, share: Share | None = None, workers: int = 1) -> list[Segment]:
    """The segments of a program, compiled, in their order; `segment.begin` and `.end` say what each one replaces."""
    scope = Scope(program)
    out = []
    for run in _runs(scope, _units(scope)):
        found = [item for unit in run for item in unit.items]
        if sum(saved_by(scope, i) for i in found) >= WORTH:
            out.append(Segment(Layout(scope, context, run[0].begin, run[-1].end, found).plan(), share, workers))
    return out


class _Unit(NamedTuple):
    """Items that no segment may separate: one, or those from the first to the last one of an atomic region."""

    begin: int
    end: int
    items: tuple[Item, ...]  # none where something in it is not native


def _units(scope: Scope) -> list[_Unit]:
    last: dict[int, int] = {}
    for position, ins in enumerate(scope.program.instructions):
        if ins.op.region is not None:
            last[ins.op.region.id] = position
    out: list[_Unit] = []
    inside = 0  # up to here a region reaches
    for begin, end, item in items(scope):
        region = scope.program.instructions[begin].op.region
        reach = max(end, 0 if region is None else last[region.id] + 1)
        if begin < inside:
            unit = out[-1]
            whole = (*unit.items, item) if unit.items and item is not None else ()
            out[-1] = _Unit(unit.begin, end, whole)
        else:
            out.append(_Unit(begin, end, () if item is None else (item,)))
        inside = max(inside, reach)
    return out


def _runs(scope: Scope, units: list[_Unit]) -> list[list[_Unit]]:
    """Runs of consecutive native units without two writes of one variable."""
    runs: list[list[_Unit]] = [[]]
    written: set[object] = set()
    for unit in units:
        cells = [scope.program.handles[i.instructions[0].inputs[0]] for i in unit.items if i.kind == "update"]
        twice = len(set(cells)) < len(cells)
        if not unit.items or twice or not written.isdisjoint(cells):
            runs.append([])
            written.clear()
        if unit.items and not twice:
            runs[-1].append(unit)
            written.update(cells)
    return [run for run in runs if run]
