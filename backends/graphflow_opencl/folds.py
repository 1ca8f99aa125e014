"""What reductions do to elements: the neutral one, how two become one, and what becomes of the last.

Policy: one row an op type; combining is an op of `expressions`, so that integers wrap around and NaN spreads as in
NumPy.  Half precision is summed in float32 and rounded once; the mean of integers is summed in 64 bits and rounded
towards zero.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from graphflow.dtypes import DType, float32, int64, uint64
from graphflow_opencl.expressions import constant, expression, literal, register_type


class Reduction(NamedTuple):
    """One op type that reduces."""

    combine: str  # the op type that makes one of two
    neutral: Callable[[DType], Any]
    mean: bool = False


def _lowest(dtype: DType) -> Any:
    return -float("inf") if dtype.is_floating else dtype.min


def _highest(dtype: DType) -> Any:
    return float("inf") if dtype.is_floating else dtype.max


REDUCTIONS: dict[str, Reduction] = {
    "Sum": Reduction("Add", lambda dtype: 0),
    "Mean": Reduction("Add", lambda dtype: 0, mean=True),
    "Prod": Reduction("Mul", lambda dtype: 1),
    "Max": Reduction("Maximum", _lowest),
    "Min": Reduction("Minimum", _highest),
    "All": Reduction("LogicalAnd", lambda dtype: 1),
    "Any": Reduction("LogicalOr", lambda dtype: 0),
}


class Fold(NamedTuple):
    """One reduction of a value of a pass."""

    type: str
    value: int  # its number
    kept: tuple[int, ...]  # the result's dims beside the index space: 1 where it reduces
    argument: Any  # where the result goes
    dtype: DType  # the result's
    wide: DType  # of what is accumulated
    divisor: int = 1  # of the result

    @property
    def neutral_value(self) -> Any:
        """The number to begin with."""
        return REDUCTIONS[self.type].neutral(self.wide)

    @property
    def neutral(self) -> str:
        """The same as a C constant."""
        return literal(self.wide, self.neutral_value)

    def combined(self, a: str, b: str, width: int) -> str:
        """C text: one register of two."""
        text = expression(REDUCTIONS[self.type].combine, {}, (a, b), (self.wide, self.wide), self.wide, width)
        assert text is not None
        return text

    def widened(self, text: str, source: DType, width: int) -> str:
        """C text: a register of a value as one that is accumulated."""
        wanted = register_type(self.wide, width)
        return text if register_type(source, width) == wanted else f"convert_{wanted}({text})"

    def finished(self, text: str, width: int) -> str:
        """C text: what was accumulated as a register of the result."""
        if self.divisor != 1:
            text = f"({text} / {constant(self.wide, width, self.divisor)})"
        held, wanted = register_type(self.wide, width), register_type(self.dtype, width)
        return text if held == wanted else f"convert_{wanted}({text})"

    def unfinished(self, argument: Any) -> Fold:
        """The same, leaving what is accumulated as it is."""
        return self._replace(argument=argument, dtype=self.wide, divisor=1)

    def of_parts(self, value: int, kept: tuple[int, ...]) -> Fold:
        """What makes the result of the parts that unfinished ones left."""
        return self._replace(value=value, kept=kept)


def fold_of(
    type: str, value: int, source: DType, dims: Sequence[int], axis: Sequence[int] | None, argument: Any, dtype: DType
) -> Fold | None:
    """The reduction of a value over axes; None if there is none: the mean of no integers, which is refused."""
    rank = len(dims)
    gone = set(range(rank)) if axis is None else {a % rank for a in axis}
    count = prod(dims[i] for i in gone)
    mean = REDUCTIONS[type].mean
    if mean and source.is_integer and not count:
        return None
    kept = tuple(1 if i in gone else d for i, d in enumerate(dims))
    return Fold(type, value, kept, argument, dtype, _wide(source, mean), count if mean else 1)


def _wide(dtype: DType, mean: bool) -> DType:
    if dtype.is_floating and dtype.size == 2:
        return float32
    if mean and dtype.is_integer:
        return uint64 if dtype.is_unsigned else int64
    return dtype
