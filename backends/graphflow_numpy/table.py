"""The kernel table: which function computes which op type.

Policy: a row is `(arrays..., **attrs) -> array`, or a tuple of arrays for several outputs; rank 0 may come and go as
a NumPy scalar.  Kernels write nothing but what they return.  Columns beside the function:

    scalar  the same computation on NumPy scalars by Python's operator, a tenth of a ufunc's cost
    view    the result may share memory with an input (or a variable), so a fetch must copy it
    bound   the row is `(context, instruction) -> kernel`: it needs the session or the attributes when compiled
    needs_run   the kernel gets the Run as its first argument

State: the table, filled while the family modules are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Row(NamedTuple):
    """One op type's kernel."""

    function: Callable[..., Any]
    scalar: Callable[..., Any] | None = None
    view: bool = False
    bound: bool = False
    needs_run: bool = False


class Constant(NamedTuple):
    """What a bound row may return instead of a kernel: a value known when compiled."""

    value: Any


TABLE: dict[str, Row] = {}


def rows(functions: Mapping[str, Callable[..., Any]], **columns: Any) -> None:
    """Add many rows with the same columns."""
    for name, function in functions.items():
        if name in TABLE:
            raise KeyError(f"two kernels for {name}")
        TABLE[name] = Row(function, **columns)


def kernel(name: str, **columns: Any) -> Callable[[F], F]:
    """Decorator: add one row."""

    def add(function: F) -> F:
        rows({name: function}, **columns)
        return function

    return add
