"""Following a run from op to op: what was read, what was made, and in which turn of which loop.

Policy: a `Follower` looks on at unoptimised programs, where each instruction is an op of the user's, its inputs are the
op's inputs and its outputs the op's outputs; they run one after the other in one thread.  A backend may do several of
them in one step, and then not know what is between them.  A loop or branch runs programs of its own inside one
instruction, so where a run is, is a stack.  An interruption between two steps may leave a stack behind; the next run of
the same program clears it away.

State: for each thread, the stack of the instructions that are being done.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.dtypes import resource
from graphflow.graph import FuncGraph
from graphflow.program import Instruction, Program
from graphflow.tensor import Operation, Tensor

FED, CONSTANT, MADE = "fed", "constant", "made"  # where a value comes from


class Turn(NamedTuple):
    """One function that a run is inside of: a branch, or a turn of a loop."""

    op: Operation  # the conditional or the loop
    function: str  # "body", "then_branch"
    number: int  # how often the function was begun before, since the op began

    def __str__(self) -> str:
        if isinstance(self.op.attrs.get("body"), FuncGraph):
            return f"turn {self.number} of {self.op.name!r}" + (
                "" if self.function == "body" else f" ({self.function})"
            )
        return f"{self.function} of {self.op.name!r}"


class Visit:
    """One instruction that is being done, or several that the backend does in one step."""

    __slots__ = ("begun", "follower", "inputs", "instructions", "turns")

    def __init__(
        self,
        follower: _Observer,
        instructions: Sequence[Instruction],
        inputs: Mapping[int, Any],
        turns: tuple[Turn, ...],
    ) -> None:
        self.follower = follower
        self.instructions = instructions
        self.inputs = inputs
        self.turns = turns
        self.begun: dict[_Observer, int] = {}  # how often each function was begun inside it

    @property
    def depth(self) -> int:
        """How many loops and branches it is inside of."""
        return len(self.turns)

    def reads(self, ins: Instruction) -> list[tuple[Tensor, Any]]:
        """The values that an op read; variables, which are no values, are left out."""
        known: list[tuple[Tensor, Any]] = []
        for t, v in zip(ins.op.inputs, ins.inputs, strict=True):
            if t.dtype is not resource:
                known.append((t, self.inputs[v] if v in self.inputs else self.follower.program.constants.get(v)))
        return known

    def numbers(self, ins: Instruction) -> list[int]:
        """The numbers of these in the program."""
        return [v for t, v in zip(ins.op.inputs, ins.inputs, strict=True) if t.dtype is not resource]

    def origins(self, ins: Instruction) -> list[str]:
        """Where each of these comes from."""
        fed, constants = (() if self.turns else self.follower.program.feeds), self.follower.program.constants
        return [FED if v in fed else CONSTANT if v in constants else MADE for v in self.numbers(ins)]

    def makes(self, ins: Instruction, made: Mapping[int, Any]) -> list[tuple[Tensor, Any]]:
        """The values that an op made."""
        return [(t, made[v]) for t, v in zip(ins.op.outputs, ins.outputs, strict=False) if v in made]


def outermost(tensor: Tensor) -> Tensor:
    """The tensor of the surroundings that an argument of a loop or branch stands for."""
    while isinstance(tensor.graph, FuncGraph) and tensor in tensor.graph.stands_for:
        tensor = tensor.graph.stands_for[tensor]
    return tensor


class Follower:
    """A watch that is told of each step, with the place where the run is; to be derived from."""

    wants_values = True

    def __init__(self) -> None:
        self._here = _Here()

    def observe(self, program: Program) -> _Observer:
        """The observer of a program, or of a branch or loop body."""
        return _Observer(self, program)

    @property
    def stack(self) -> list[Visit]:
        """What is being done in this thread, the outermost first."""
        return self._here.stack

    def run_begins(self) -> None:
        """A run begins; not one that Python code inside another run has begun."""

    def starting(self, visit: Visit) -> Mapping[int, Any] | None:
        """A step is about to be done; returns what it is to read instead."""

    def done(self, visit: Visit, made: Mapping[int, Any]) -> Mapping[int, Any] | None:
        """A step was done; returns what to go on with instead."""

    def broken(self, visit: Visit, error: Exception) -> None:
        """A step failed."""


class _Here(threading.local):
    def __init__(self) -> None:
        self.stack: list[Visit] = []


class _Observer:
    """Keeps the stack while one program runs."""

    __slots__ = ("_first", "_follower", "program")

    def __init__(self, follower: Follower, program: Program) -> None:
        self._follower = follower
        self._first: int | None = None  # the key of the step with which the program begins
        self.program = program

    def before(self, instructions: Sequence[Instruction], inputs: Mapping[int, Any]) -> Mapping[int, Any] | None:
        stack = self._follower.stack
        self._leave(stack)
        key = instructions[0].key
        if self._first is None:
            self._first = key
        if not stack and key == self._first:
            self._follower.run_begins()
        turns = self._turns(stack[-1], instructions[0], key == self._first) if stack else ()
        visit = Visit(self, instructions, inputs, turns)
        stack.append(visit)
        try:
            other = self._follower.starting(visit)
        except BaseException:
            self._leave(stack)
            raise
        if other:
            visit.inputs = {**inputs, **other}
        return other

    def _turns(self, around: Visit, ins: Instruction, begins: bool) -> tuple[Turn, ...]:
        graph = ins.op.graph
        if not isinstance(graph, FuncGraph):
            return ()  # a run that Python code inside another run has begun
        if begins:
            around.begun[self] = around.begun.get(self, -1) + 1
        return (*around.turns, Turn(around.instructions[0].op, graph.name, around.begun.get(self, 0)))

    def after(
        self, instructions: Sequence[Instruction], made: Mapping[int, Any], started: float, ended: float
    ) -> Mapping[int, Any] | None:
        visit = self._leave(self._follower.stack)
        if visit is None:
            return None
        if len(instructions) > 1:
            visit.inputs = {**visit.inputs, **made}  # what one of them reads, another may have made
        return self._follower.done(visit, made)

    def failed(self, instructions: Sequence[Instruction], error: BaseException) -> None:
        visit = self._leave(self._follower.stack)
        if visit is not None and isinstance(error, Exception):
            self._follower.broken(visit, error)

    def _leave(self, stack: list[Visit]) -> Visit | None:
        """Take this program's instruction from the stack, and all that is inside it."""
        for i in reversed(range(len(stack))):
            if stack[i].follower is self:
                visit = stack[i]
                del stack[i:]
                return visit
        return None
