"""`Observation`: the values and the times of one run, for pictures.

Policy: a value that is small is copied; of a larger one stays what describes it: shape, range, mean, and how much is
not finite.  Of a loop's body the last turn is kept.

State: a looker has what it saw of the run that goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from graphflow.backend import Observer
from graphflow.program import Instruction, Program


class Summary(NamedTuple):
    """What describes an array; the numbers are those of its finite elements, None where there are none."""

    dtype: str
    shape: tuple[int, ...]
    least: float | None = None
    greatest: float | None = None
    mean: float | None = None
    nans: int = 0
    infinities: int = 0


@dataclass(frozen=True)
class Observation:
    """What `session.observe` returns."""

    values: Mapping[str, Any] = field(default_factory=dict)  # tensor name -> a copy of the array, if it is small
    summaries: Mapping[str, Summary] = field(default_factory=dict)  # tensor name -> what describes it
    seconds: Mapping[str, float] = field(default_factory=dict)  # op name -> seconds
    results: Any = None  # what `run` would have returned

    def __repr__(self) -> str:
        return f"<Observation of {len(self.summaries)} tensors, {len(self.values)} of them with their values>"


class Looker:
    """Looks on at one run and keeps what pictures show."""

    wants_values = True

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begin(0)

    def begin(self, small: int) -> None:
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

    def __init__(self, looker: Looker) -> None:
        self._looker = looker

    def before(self, instructions: Sequence[Instruction], inputs: Mapping[int, Any]) -> None:
        pass

    def after(
        self, instructions: Sequence[Instruction], made: Mapping[int, Any], started: float, ended: float
    ) -> Mapping[int, Any] | None:
        looker = self._looker
        with looker.lock:
            for ins in instructions:
                seconds = looker.seconds.get(ins.op.name, 0.0)
                looker.seconds[ins.op.name] = seconds + (ended - started) / len(instructions)
                for slot, v in enumerate(ins.outputs):
                    if v in made and slot < len(ins.op.outputs):
                        looker.keep(ins.op.outputs[slot].name, made[v])
        return None

    def failed(self, instructions: Sequence[Instruction], error: Exception) -> None:
        pass


def summary_of(array: np.ndarray[Any, Any]) -> Summary:
    """What describes an array."""
    plain = Summary(array.dtype.name, array.shape)
    if array.dtype.kind not in "biuf" or not array.size:
        return plain
    if array.dtype.kind != "f":
        return plain._replace(least=float(array.min()), greatest=float(array.max()), mean=float(array.mean()))
    finite = array[np.isfinite(array)]
    nans = int(np.isnan(array).sum())
    plain = plain._replace(nans=nans, infinities=array.size - finite.size - nans)
    if not finite.size:
        return plain
    with np.errstate(all="ignore"):
        mean = float(finite.mean(dtype=np.float64))
    return plain._replace(least=float(finite.min()), greatest=float(finite.max()), mean=mean)
