"""`Observation`: the values and the times of one run, for pictures.

Policy: a value that is small is copied; of a larger one stays what describes it: shape, range, mean, and how much is
not finite.  Of a loop's body the last turn is kept.

State: a witness has what it saw of the run that goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphflow.backend import Observer
from graphflow.numerics.extent import Summary, summary_of
from graphflow.program import Instruction, Program


@dataclass(frozen=True)
class Observation:
    """What `session.observe` returns."""

    values: Mapping[str, Any] = field(default_factory=dict)  # tensor name -> a copy of the array, if it is small
    summaries: Mapping[str, Summary] = field(default_factory=dict)  # tensor name -> what describes it
    seconds: Mapping[str, float] = field(default_factory=dict)  # op name -> seconds
    results: Any = None  # what `run` would have returned

    def __repr__(self) -> str:
        return f"<Observation of {len(self.summaries)} tensors, {len(self.values)} of them with their values>"


class Witness:
    """Looks on at one run and keeps what pictures show."""

    wants_values = True

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begin()

    def begin(self, small: int = 0) -> None:
        """A run begins; values of at most so many bytes are kept."""
        self.small = small
        self.values: dict[str, Any] = {}
        self.summaries: dict[str, Summary] = {}
        self.seconds: dict[str, float] = {}

    def observe(self, program: Program) -> Observer:
        """Where the values of a program are kept."""
        return _Eyes(self)

    def keep(self, name: str, value: Any) -> None:
        """Keep what a tensor holds."""
        if not isinstance(value, (np.ndarray, np.generic)):
            return
        array = np.asarray(value)
        self.summaries[name] = summary_of(array)
        if array.nbytes <= self.small:
            self.values[name] = array.copy()
        else:
            self.values.pop(name, None)  # of an earlier turn of a loop

    def found(self, results: Any) -> Observation:
        """All that was seen."""
        return Observation(self.values, self.summaries, self.seconds, results)


class _Eyes:
    """The observer of one program."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def before(self, instructions: Sequence[Instruction], inputs: Mapping[int, Any]) -> None:
        pass

    def after(
        self, instructions: Sequence[Instruction], made: Mapping[int, Any], started: float, ended: float
    ) -> Mapping[int, Any] | None:
        witness = self._witness
        with witness.lock:
            for ins in instructions:
                seconds = witness.seconds.get(ins.op.name, 0.0)
                witness.seconds[ins.op.name] = seconds + (ended - started) / len(instructions)
                for slot, v in enumerate(ins.outputs):
                    if v in made and slot < len(ins.op.outputs):
                        witness.keep(ins.op.outputs[slot].name, made[v])
        return None

    def failed(self, instructions: Sequence[Instruction], error: BaseException) -> None:
        pass
