"""Which of several failing ops is reported where ops do not run as they were created: the one created first.

Policy: a run that fails has stopped with some steps done, some failed and some never begun.  What was created before
the op that failed, and was not begun, is run now in the caller's thread, in program order and with all that it waits
for, unless it waits for what has failed.  If that fails as well, it takes the other's place, and less is left to be
run.  So the error is the one that ops meet which run one after the other in the order of their creation, whatever the
schedule, and every assignment created before the reported op has been done, if nothing but that order held it back.
No step is run twice, and an atomic region is entered as a whole or not at all.  A segment of native code is one step
as well: what stands in it beside something that waits for the failed op is not run, so there the order of creation is
not certain.

All of this is found out when a run has failed: one that does not fail pays nothing.

State: what is over and what is lost of one failed run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from graphflow.program import Instruction
from graphflow_numpy.binding import Bound

RunSteps = Callable[[int, int], object]  # steps[begin:end] of the program
InstructionOf = Callable[[BaseException], "Instruction | None"]


class Failure(NamedTuple):
    """An error, and the steps of its task that were done; the next one has failed."""

    error: Exception
    done: range


class Stretch(NamedTuple):
    """Steps that are run together: those of an instruction, of a group that is one call, or of an atomic region."""

    begin: int
    end: int
    created: int  # the id of the oldest op that it is made of
    needs: frozenset[int]  # numbers of earlier stretches


def first_failure(
    bound: Bound,
    done: Sequence[range],
    failures: Sequence[Failure],
    instruction_of: InstructionOf,
    run_steps: RunSteps,
    let_go: Callable[[], object],
    cancelled: Callable[[], bool] = lambda: False,
) -> Exception:
    """Of these errors and those that are still to be met, the one of the op that was created first.

    `let_go` releases the locks of what has failed.
    """
    met: dict[int, Exception] = {}  # id of an op -> its error
    for failure in sorted(failures, key=lambda failure: failure.done.stop):
        ins = instruction_of(failure.error)
        if ins is None:  # not the error of an op
            return failure.error
        met.setdefault(ins.op.id, failure.error)
    best = min(met)
    remains = _Remains(bound, [*done, *[f.done for f in failures]], {f.done.stop for f in failures})
    while not cancelled():
        error = None
        for number in remains.wanted(best):
            error = remains.run(number, run_steps, let_go)
            if error is not None or cancelled():
                break
        if error is None:
            break
        ins = instruction_of(error)
        if ins is not None and ins.op.id < best:
            best = ins.op.id
            met[best] = error
    return met[best]


class _Remains:
    """What a failed run has left."""

    def __init__(self, bound: Bound, done: Iterable[range], failed: set[int]) -> None:
        self.stretches = stretches(bound)
        self.over: set[int] = set()
        self.lost: set[int] = set()
        steps = {i for part in done for i in part}
        for number, stretch in enumerate(self.stretches):
            own = range(stretch.begin, stretch.end)
            if steps.issuperset(own):
                self.over.add(number)
            elif not (steps | failed).isdisjoint(own):
                self.lost.add(number)

    def wanted(self, best: int) -> list[int]:
        """What was created before that op, can be run, and what it waits for: in program order."""
        able = set(self.over)
        for number, stretch in enumerate(self.stretches):
            if number not in self.lost and able.issuperset(stretch.needs):
                able.add(number)
        able -= self.over
        found: set[int] = set()
        for number in reversed(range(len(self.stretches))):
            stretch = self.stretches[number]
            if number in able and (number in found or stretch.created < best):
                found.add(number)
                found.update(stretch.needs - self.over)
        return sorted(found)

    def run(self, number: int, run_steps: RunSteps, let_go: Callable[[], object]) -> Exception | None:
        """Run a stretch; the error, if it fails."""
        stretch = self.stretches[number]
        try:
            run_steps(stretch.begin, stretch.end)
        except BaseException as error:
            let_go()
            if not isinstance(error, Exception):
                raise
            self.lost.add(number)
            return error
        self.over.add(number)
        return None


def stretches(bound: Bound) -> list[Stretch]:
    """The program cut into what is run together, in program order."""
    steps = bound.steps
    cuts = [*_cuts(bound), len(steps)]
    program = bound.program
    producers = program.producers()
    maker: dict[int, int] = {}  # value -> the stretch that mentions it first, which is the one that makes it
    by_key: dict[int, int] = {}
    out: list[Stretch] = []
    for number, (begin, end) in enumerate(itertools.pairwise(cuts)):
        mentioned = {v for step in steps[begin:end] for v in (*step.inputs, *step.outputs) if v in producers}
        mentioned -= bound.fixed.keys()
        made = {v for v in mentioned if maker.setdefault(v, number) == number}
        members = {ins.key: ins for ins in [*[s.instruction for s in steps[begin:end]], *[producers[v] for v in made]]}
        needs = {maker[v] for v in mentioned}
        for key, ins in members.items():
            by_key.setdefault(key, number)
            needs.update([by_key[k] for k in ins.after if k in by_key])
        created = min([ins.op.id for ins in members.values()])
        out.append(Stretch(begin, end, created, frozenset(needs - {number})))
    return out


def _cuts(bound: Bound) -> list[int]:
    """The steps with which a stretch begins."""
    spans: dict[int, tuple[int, int]] = {}
    for i, step in enumerate(bound.steps):
        region = step.instruction.op.region
        if region is not None:
            spans[region.id] = spans.get(region.id, (i, i))[0], i
    inside = {i for first, last in spans.values() for i in range(first + 1, last + 1)}
    return [i for i in sorted(set(bound.first_step)) if i < len(bound.steps) and i not in inside]
