"""`Stepper`: a watch that stops a run where it is told to, right after an op, and lets values be changed.

Policy: a stop is right after an op, when what it read and what it made are both there.  The run waits in its own
thread, inside `attend`, which whoever drives the stepper supplies; all else (a prompt in this thread, or another thread
that is handed the stop) is the driver's.  A value that was set is what every later op reads in its place.

State: the values of the run that goes on, the breakpoints, what to do next, the history of stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.errors import CancelledError, FailedPreconditionError, InvalidArgumentError, ShapeError
from graphflow.graph import FuncGraph, Graph
from graphflow.program import Instruction
from graphflow.runtime.feeds import converter
from graphflow.runtime.watching.breakpoints import Breakpoint, Condition
from graphflow.runtime.watching.following import Follower, Turn, Visit
from graphflow.spec import describe
from graphflow.tensor import Operation, Tensor

STEP, OVER, OUT, CONTINUE, FINISH = "step", "over", "out", "continue", "finish"
KEPT_STOPS = 100  # each keeps what was read and made


class Stop(NamedTuple):
    """Where a run stands: right after `op`."""

    op: Operation
    why: str
    inputs: Mapping[str, Any]  # name of a tensor -> what the op read
    values: Mapping[str, Any]  # name of a tensor -> what the op made; nothing if it failed
    turns: tuple[Turn, ...] = ()  # the loops and branches that it is inside of, the outermost first
    error: Exception | None = None

    def __str__(self) -> str:
        inside = "".join(f", in {turn}" for turn in self.turns)
        return f"{'failed in' if self.error else 'after'} {self.op.name!r} ({self.op.type}){inside} [{self.why}]"


class Left(CancelledError):
    """The run was left by whoever stepped through it."""


class Change(NamedTuple):
    """A value that was set."""

    value: Any
    turns: tuple[Turn, ...] | None  # of the loops that it was set in, where it belongs to a turn
    waits: bool  # the op that makes the tensor has not been done yet


class Stepper(Follower):
    """Stops where it is told to."""

    def __init__(self, attend: Callable[[Stop], None], breakpoints: dict[int, Breakpoint] | None = None) -> None:
        super().__init__()
        self._attend = attend
        self.breakpoints: dict[int, Breakpoint] = {} if breakpoints is None else breakpoints
        self.runs = 0
        self.history: list[Stop] = []
        self.values: dict[Tensor, Any] = {}
        self._changes: dict[Tensor, Change] = {}
        self.mode = CONTINUE
        self.stop: Stop | None = None
        self.leaving = False  # the run is to end at its next op
        self._failed = False

    # -- what the driver does ------------------------------------------------------------------------------------

    def begin(self, mode: str) -> None:
        """A run is about to begin."""
        self.stack.clear()
        self.mode, self.stop, self._failed, self.leaving = mode, None, False, False

    def break_at(self, graph: Graph, what: Any, condition: Condition | None) -> Breakpoint:
        """One more breakpoint."""
        found = Breakpoint(graph, what, condition, max(self.breakpoints, default=0) + 1)
        self.breakpoints[found.number] = found
        return found

    def set(self, tensor: Tensor, value: Any) -> Any:
        """From now on in this run the tensor has this value; it is converted and checked as a feed is."""
        if self.stop is not None and self.stop.error is not None:
            raise FailedPreconditionError("the run has failed: no value can be changed any more", op=tensor.op)
        checked = converter(tensor, _no_cell)(value)
        have = self.values.get(tensor)
        if have is not None and np.shape(have) != np.shape(checked):
            raise ShapeError(
                f"the value set for {tensor.name!r} has another shape than the one it takes the place of", op=tensor.op,
                expected=describe(np.shape(have)), got=describe(np.shape(checked)),
            )  # fmt: skip
        value = np.array(checked) if isinstance(checked, np.ndarray) else checked
        turns = self.stop.turns if self.stop is not None and isinstance(tensor.graph, FuncGraph) else None
        self._changes[tensor] = Change(value, turns, waits=bool(tensor.op.inputs) and have is None)
        self.values[tensor] = value
        return value

    @property
    def changed(self) -> Mapping[Tensor, Any]:
        """What was set in this run."""
        return {tensor: change.value for tensor, change in self._changes.items()}

    # -- what the run does ---------------------------------------------------------------------------------------

    def run_begins(self) -> None:
        """Forget the values of the run before."""
        self.runs += 1
        self.values.clear()
        self._changes.clear()
        if self.mode == FINISH and self.runs > 1:
            self.mode = CONTINUE
        elif self.mode == OUT and self.runs > 1:  # the run that it was said in is over
            self.mode = STEP

    def starting(self, visit: Visit) -> Mapping[int, Any] | None:
        """Take note of what is read, and hand out what was set instead."""
        if self.leaving:
            raise Left("the debugger has left the run")
        self._failed = False
        other: dict[int, Any] = {}
        for ins in visit.instructions:
            for (tensor, value), v in zip(visit.reads(ins), visit.numbers(ins), strict=True):
                change = self._changes.get(tensor)
                if change is not None and change.turns in (None, visit.turns):
                    other[v] = change.value
                elif value is not None and not tensor.op.inputs:
                    self.values[tensor] = value  # fed, constant, or an argument
        return other

    def done(self, visit: Visit, made: Mapping[int, Any]) -> Mapping[int, Any]:
        """Keep what was made, and stop here if that is wanted."""
        other: dict[int, Any] = {}
        for ins in visit.instructions:
            results = [self._made(t, v, visit.turns) for t, v in visit.makes(ins, made)]
            self.values.update(results)
            why = self._reason(visit, ins, results)
            if why:
                self._halt(Stop(ins.op, why, _named(visit.reads(ins)), _named(results), visit.turns))
            for t, v in zip(ins.op.outputs, ins.outputs, strict=False):
                if t in self._changes and v >= 0:
                    other[v] = self._changes[t].value
        return other

    def _made(self, tensor: Tensor, value: Any, turns: tuple[Turn, ...]) -> tuple[Tensor, Any]:
        """What goes on as the value of a tensor: what the op made, or what it was set to before that."""
        change = self._changes.pop(tensor, None)
        if change is None or not change.waits:
            return tensor, np.array(value) if isinstance(value, np.ndarray) else value
        own = turns if isinstance(tensor.graph, FuncGraph) else None
        self._changes[tensor] = Change(change.value, own, waits=False)
        return tensor, change.value

    def broken(self, visit: Visit, error: Exception) -> None:
        """Stop at the op that failed; not at the loops and branches that it is inside of."""
        if self._failed or self.leaving:
            return
        self._failed = True
        ins = visit.instructions[0]
        why = str(error).partition("\n")[0]
        self._halt(Stop(ins.op, why, _named(visit.reads(ins)), {}, visit.turns, error))

    def _reason(self, visit: Visit, ins: Instruction, results: Sequence[tuple[Tensor, Any]]) -> str:
        if self.mode == FINISH:
            return ""
        for point in self.breakpoints.values():
            if point.stops(ins.op, results):
                return str(point)
        if self.mode == CONTINUE:
            return ""
        depth = len(self.stop.turns) if self.stop is not None else 0
        if self.mode == OUT and not depth:  # of the run itself: stop at its end
            last = visit.follower.program.instructions[-1]
            return OUT if not visit.depth and ins.key == last.key else ""
        deepest = {STEP: visit.depth, OVER: depth, OUT: depth - 1}[self.mode]
        return self.mode if visit.depth <= deepest else ""

    def _halt(self, stop: Stop) -> None:
        self.stop = stop
        self.history.append(stop)
        del self.history[:-KEPT_STOPS]
        self._attend(stop)


def _named(pairs: Sequence[tuple[Tensor, Any]]) -> dict[str, Any]:
    return {t.name: v for t, v in pairs}


def _no_cell(name: str, dtype: Any, dims: Any) -> Any:
    raise InvalidArgumentError(f"{name!r} is a variable: set it through the variable itself")
