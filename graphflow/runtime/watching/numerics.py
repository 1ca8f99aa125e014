"""Where a NaN or an infinity comes from: every result of every op is looked at as soon as it is made.

Policy: the run ends at the first op that makes one out of numbers that have none, whether it is an op of the forward
part, of a gradient, of an optimizer's update or of a loop.  What is fed, and what a variable holds, is looked at when
it is read.  A constant may be infinite (masks are made so), and infinities may come of infinities; a NaN may not.

State: that of `Follower`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.errors import NumericsError
from graphflow.opdef import OPS
from graphflow.program import Instruction
from graphflow.runtime.watching.following import CONSTANT, FED, Follower, Turn, Visit, outermost
from graphflow.runtime.watching.summaries import not_finite, summary
from graphflow.tensor import Tensor

FINITE, INFINITE, NAN = range(3)


class NumericsWatch(Follower):
    """Ends a run at the first NaN or infinity."""

    def __init__(self, allow_infinity: bool = False) -> None:
        super().__init__()
        self._worst = NAN if allow_infinity else INFINITE  # what is not let pass

    def done(self, visit: Visit, made: Mapping[int, Any]) -> None:
        """Look at what was made."""
        with np.errstate(all="ignore"):
            for ins in visit.instructions:
                self._look(visit, ins, visit.makes(ins, made))

    def _look(self, visit: Visit, ins: Instruction, made: Sequence[tuple[Tensor, Any]]) -> None:
        reads = visit.reads(ins)
        for (tensor, value), worst in zip(reads, map(self._limit_of, visit.origins(ins)), strict=True):
            if _badness(value) >= worst:
                raise _came_in(repr(tensor.name), tensor, value, ins, visit.turns)
        before = max([_badness(value) for _, value in reads], default=FINITE)
        definition = OPS[ins.type]
        for tensor, value in made:
            bad = _badness(value)
            if bad < self._worst:
                continue
            if definition.effect == "read":
                raise _came_in(f"variable {outermost(ins.op.inputs[0]).op.name!r}", tensor, value, ins, visit.turns)
            if bad > before and not definition.control_flow:
                first = f"{ins.op.name!r} ({ins.type}) is the first to make {_words(value)}"
                unseen = [t.op.name for t, given in reads if given is None]
                if unseen:  # the backend does several ops in one step, and what is between them is nowhere
                    first += f", in one step with {', '.join(map(repr, unseen))}, whose results are not seen"
                raise _error(first, ins, visit.turns, [(tensor, value), *reads])

    def _limit_of(self, origin: str) -> int:
        """What is not let pass in a value that no op of the run has made."""
        return {FED: self._worst, CONSTANT: NAN}.get(origin, NAN + 1)


def _came_in(what: str, tensor: Tensor, value: Any, ins: Instruction, turns: Sequence[Turn]) -> NumericsError:
    return _error(f"{what} holds {_words(value)} already", ins, turns, [(tensor, value)])


def _badness(value: Any) -> int:
    if value is None or getattr(getattr(value, "dtype", None), "kind", "O") not in "fcV":
        return FINITE
    if np.isfinite(value).all():
        return FINITE
    return NAN if np.isnan(value).any() else INFINITE


def _words(value: Any) -> str:
    bad = not_finite(value)
    count, first = int(np.count_nonzero(bad)), [int(i) for i in np.argwhere(np.atleast_1d(bad))[0]]
    kinds = " and ".join(w for w, there in (("NaN", np.isnan(value).any()), ("Inf", np.isinf(value).any())) if there)
    return kinds if not np.ndim(value) else f"{kinds} ({count} of {np.size(value)}, the first at {first})"


def _error(first: str, ins: Instruction, turns: Sequence[Turn], values: Sequence[tuple[Tensor, Any]]) -> NumericsError:
    where = "".join([f", in {turn}" for turn in turns])
    lines = [f"{t.name} is {summary(v)}" for t, v in dict(values).items()]
    return NumericsError(first + where, op=ins.op, expected="finite numbers", got="\n            ".join(lines))


CHECKS = {allow: NumericsWatch(allow) for allow in (False, True)}  # they keep nothing of a run: plans are used again
