"""Atomic regions in a program: where they begin and end, and the locks that they hold meanwhile.

Policy: the locks of all variables that a region touches are taken together, in the order of their names, and what
reads one of these without the lock is told to wait: see `cells`.

State: none; a run knows the locks that it holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from graphflow.backend import Run
from graphflow.program import Instruction, Program
from graphflow_numpy.cells import NumpyCell


class Regions:
    """The atomic regions of a program."""

    def __init__(self, program: Program, cell: Callable[[Any], Any]) -> None:
        self._starts: set[int] = set()
        last: dict[int, int] = {}
        variables: dict[int, set[Any]] = {}
        for position, ins in enumerate(program.instructions):
            region = ins.op.region
            if region is None:
                continue
            if region.id not in last:
                self._starts.add(position)
            last[region.id] = position
            found = variables.setdefault(region.id, {handle.op for handle in region.variables})
            found.update(program.handles[v] for v in ins.inputs if v in program.handles)
        self._ends = set(last.values())
        self._cells = {number: sorted(map(cell, found), key=_name) for number, found in variables.items()}

    def cells_of(self, ins: Instruction) -> list[NumpyCell]:
        """The cells that the region of an instruction locks: its own, and all that its ops touch, in one order."""
        assert ins.op.region is not None
        return self._cells[ins.op.region.id]

    def begins_in(self, begin: int, end: int) -> bool:
        """Whether a region begins with one of `instructions[begin:end]`."""
        return not self._starts.isdisjoint(range(begin, end))

    def ends_in(self, begin: int, end: int) -> bool:
        """Whether a region ends with one of them."""
        return not self._ends.isdisjoint(range(begin, end))


def _name(cell: NumpyCell) -> str:
    return str(cell.name)


def enter(cells: Sequence[NumpyCell]) -> Callable[[Run], None]:
    """What begins a region."""

    def lock(run: Run) -> None:
        for cell in cells:
            run.held.append(cell.lock)  # noted first: an interrupt between the two must not leave it locked for good
            cell.lock.acquire()
            cell.busy = True

    return lock


def leave(cells: Sequence[NumpyCell]) -> Callable[[Run], None]:
    """What ends a region."""

    def unlock(run: Run) -> None:
        for cell in reversed(cells):
            if run.held.count(cell.lock) == 1:  # else a region around this one goes on
                cell.busy = False
            cell.lock.release()
            run.held.remove(cell.lock)

    return unlock


def let_go(held: list[Any], keep: int = 0) -> None:
    """Release the locks of a run that failed, but for the first `keep`; it may not have got all that it noted."""
    while len(held) > keep:
        with contextlib.suppress(RuntimeError):
            held[-1].release()
        held.pop()
