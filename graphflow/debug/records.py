"""What one run computed, and where two runs of one graph differ.

Policy: a value is known by its number in the lowered program, which no pass changes, and by the turns of the loops that
it was made in.  What only one of the programs has (it was folded, merged, fused or made by a pass) is not compared.

State: `Values` keeps the values of its last run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.errors import Error
from graphflow.runtime.watching.following import Follower, Visit
from graphflow.runtime.watching.summaries import summary
from graphflow.tensor import Operation

Equal = Callable[[Any, Any, float], bool]  # the values, and how large the numbers are that they were made of
Place = tuple[tuple[tuple[str, str, int], ...], int]  # turns of loops, and the number of the value


class Values(Follower):
    """Keeps a copy of every value of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[Place, Any] = {}
        self.makers: dict[Place, Operation] = {}
        self.scales: dict[Place, float] = {}

    def begin(self) -> None:
        """Forget the last run."""
        self.stack.clear()
        self.values.clear()
        self.makers.clear()
        self.scales.clear()

    def done(self, visit: Visit, made: Mapping[int, Any]) -> None:
        """Keep what was made."""
        turns = tuple([(turn.op.name, turn.function, turn.number) for turn in visit.turns])
        for ins in visit.instructions:
            for v in ins.outputs:
                if v in made and isinstance(made[v], (np.ndarray, np.generic, bytes)):
                    self.values[turns, v] = np.array(made[v]) if isinstance(made[v], np.ndarray) else made[v]
                    self.makers[turns, v] = ins.op
                    self.scales[turns, v] = max([size_of(visit.inputs[x]) for x in ins.inputs if x in visit.inputs],
                                                default=0.0)  # fmt: skip


class Outcome(NamedTuple):
    """What one run came to."""

    fetched: Sequence[Any]
    variables: Mapping[str, Any]
    error: Error | None


class Difference(NamedTuple):
    """The first thing that two runs do not agree about."""

    what: str
    op: Operation | None
    expected: str
    got: str


def first_difference(
    wanted: Outcome, got: Outcome, reference: Values, other: Values, fetches: Sequence[str], equal: Equal
) -> Difference | None:
    """In the order in which the ops were done: values, then errors, then what was fetched and assigned."""
    for place, value in reference.values.items():
        if place in other.values and not equal(value, other.values[place], reference.scales[place]):
            op = reference.makers[place]
            inside = "".join([f", in turn {number} of {name!r} ({function})" for name, function, number in place[0]])
            return Difference(f"{op.name!r} ({op.type}) computes something else{inside}", op,
                              *_both(value, other.values[place]))  # fmt: skip
    if _named(wanted.error) != _named(got.error):
        return Difference(
            "one of the programs fails, or fails elsewhere", None, _named(wanted.error), _named(got.error)
        )
    pairs = list(zip(fetches, wanted.fetched, got.fetched, strict=True)) if wanted.error is None else []
    for name, a, b in pairs:
        if not equal(a, b, size_of(a)):
            return Difference(f"what is fetched as {name!r} differs", None, *_both(a, b))
    for name, a in wanted.variables.items():
        if not equal(a, got.variables.get(name), size_of(a)):
            return Difference(f"the variable {name!r} has another value afterwards", None,
                              *_both(a, got.variables.get(name)))  # fmt: skip
    return None


def size_of(value: Any) -> float:
    """The largest finite number in a value, without its sign."""
    if getattr(getattr(value, "dtype", None), "kind", "O") not in "fciuV":
        return 0.0
    with np.errstate(all="ignore"):
        sizes = np.abs(np.asarray(value).astype(np.complex128 if value.dtype.kind == "c" else np.float64))
    finite = sizes[np.isfinite(sizes)]
    return float(finite.max()) if finite.size else 0.0


def nearly(a: Any, b: Any, scale: float, tolerance: float, rounding: float) -> bool:
    """Whether two values are the same up to rounding: by the norm of what they differ by.

    A comparison that hangs on a rounding puts single elements elsewhere (where a ReLU begins), which the norm hardly
    sees; and a difference of large numbers is no more exact than these, so `scale`, their size, counts as well.
    """
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    left, right = np.asarray(a).astype(wide), np.asarray(b).astype(wide)
    finite = np.isfinite(left)
    apart = np.count_nonzero(finite != np.isfinite(right))
    both = finite & np.isfinite(right)
    with np.errstate(all="ignore"):
        allowed = tolerance * np.linalg.norm(left[both]) + rounding * scale * np.sqrt(left.size)
        return bool(apart <= tolerance * left.size and np.linalg.norm(left[both] - right[both]) <= allowed)


def _named(error: Error | None) -> str:
    return "no error" if error is None else f"{type(error).__name__} in {error.op_name!r}"


def _both(a: Any, b: Any) -> tuple[str, str]:
    """Both values in words, and where they begin to differ."""
    first = ""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape and a.dtype == b.dtype:
        apart = np.argwhere((a != b) & ~((a != a) & (b != b)))  # a NaN is no number, not even itself
        if len(apart):
            index = tuple(int(i) for i in apart[0])
            first = f"; {len(apart)} of {a.size} differ, the first at {list(index)}: {a[index]} and {b[index]}"
    return summary(a), summary(b) + first
