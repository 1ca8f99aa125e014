"""What a segment is made of: the result of `layout`, which `segment` runs; and whether help with it is of use.

Policy: a plan names values by where they live: in the segment's own memory, among the arguments of a call, or at a
fixed address.

State: the times of a phase with and without help.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from graphflow.program import Instruction
from graphflow.spec import TensorSpec
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.native.engine import Kernel

ALIGNMENT = 64  # bytes
STREAMED = 1 << 23  # bytes of an output from which on it is aligned, and written past the caches if nothing reads it
TRIALS = 2  # first runs, which go alone
REST = 12  # runs that go alone after help was of no use, at most
WEIGHT = 0.25  # of the last run in the average of those with help
MOST = 4  # times alone: no run counts for more in it
GOOD = 8  # runs with help in a row that were quick


class Place(NamedTuple):
    """Where a value lives."""

    kind: str  # "arena", "argument" or "fixed"
    number: int  # offset, number of the argument, or address


class Entry(NamedTuple):
    """One kernel call."""

    kernel: Kernel
    places: tuple[Place, ...]  # of inputs and outputs
    seconds: float  # estimated
    instructions: tuple[Instruction, ...]


class Variable(NamedTuple):
    """A variable that a segment reads or writes."""

    cell: NumpyCell
    spec: TensorSpec
    written: bool
    read: bool  # whether the old value matters
    in_place: bool  # whether nothing reads the old value after it was written
    regional: bool  # whether an atomic region touches it
    instruction: Instruction  # the first one that touches it


class Result(NamedTuple):
    """Where the caller finds an output among the arguments, or in the frame if it is of rank 0."""

    kind: str  # "outside" (an input), "inside" (an output), "old" (a variable), "new" (one of those written), "handle"
    number: int
    dims: tuple[int, ...] | None  # the shape to be given to it, where it may have another one
    copied: bool


class Plan(NamedTuple):
    """What a segment is made of; arguments are numbered: inputs, outputs, old values and new values of variables."""

    begin: int
    end: int  # it stands for instructions[begin:end]
    instructions: tuple[Instruction, ...]
    inputs: tuple[int, ...]  # values
    outputs: tuple[int, ...]
    input_specs: tuple[TensorSpec, ...]
    buffers: tuple[TensorSpec, ...]  # of the outputs that have memory of their own
    variables: tuple[Variable, ...]
    results: tuple[Result, ...]
    phases: tuple[tuple[Entry, ...], tuple[Entry, ...]]  # without and with the locks
    arena: int  # bytes
    cells: tuple[NumpyCell, ...]  # to be locked beside those that are written
    handles: tuple[NumpyCell, ...]  # that others ask for
    keep: tuple[Any, ...]  # what fixed places point to


class Help:
    """Whether to ask for help with a phase: not while cores are scarce.

    Where they are, who is helped waits for a helper that waits for its core; the times of both ways tell.  Where help
    does not pay on average there is a rest, a longer one each time, and a shorter one again after a while of good runs.
    The first quick run counts as the end of the trouble.
    """

    def __init__(self) -> None:
        self.alone = float("inf")  # seconds, lately
        self.helped = 0.0  # seconds, on average
        self.resting = TRIALS
        self._next = 1
        self._good = 0

    def went_alone(self, seconds: float) -> None:
        """A run without help."""
        self.alone = min(seconds, self.alone) if self.resting > 1 else min(seconds, 1.1 * self.alone)
        self.resting = max(0, self.resting - 1)

    def came(self, seconds: float) -> None:
        """A run with help."""
        quick = seconds < self.alone
        if not self.helped or quick and self.helped > self.alone:
            self.helped = seconds
        self.helped += WEIGHT * (min(seconds, MOST * self.alone) - self.helped)
        self._good = self._good + 1 if quick else 0
        if self._good == GOOD:
            self._good, self._next = 0, max(1, self._next // 2)
        if self.helped > self.alone:
            self.resting, self._next = self._next, min(2 * self._next, REST)
