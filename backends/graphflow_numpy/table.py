"""The kernel table: which function computes which op type.

Policy: a row is `(arrays..., **attrs) -> array`, or a tuple of arrays for several outputs; rank 0 may come and go as
a NumPy scalar.  Kernels write nothing but what they return.  Columns beside the function:

    scalar  the same computation on NumPy scalars by Python's operator, a tenth of a ufunc's cost
    view    the result may share memory with an input (or a variable), so a fetch must copy it
    bound   the row is `(context, instruction) -> kernel`: it needs the session or the attributes when compiled
    needs_run   the kernel gets the Run as its first argument
    user    it calls functions of the user's, so it stays in the thread that called `run`
    into    the same computation, bit for bit, into memory that is given: `(arrays..., results..., **attrs)`
    inplace numbers of the inputs whose very buffer `into` may get as the result, if dtype and shape are the result's
    blas    "matrices" where one matrix product of BLAS does the work, "product" where another call of it does,
            "pieces" where the kernel shares out calls of its own
    together   the same for many instructions in a row, of which each has one input that is known when compiled, and one
            output: `[inputs] -> [outputs]`, or None to have the kernel called for one after the other
    fit     `(attrs, inputs, outputs) -> Fitted | None`: the same kernel with its attributes in place, quicker because
            it knows the specs of its inputs and outputs (None where nobody reads an output) when compiled

What `into` gets as results are C-ordered arrays of rank 1 or more with the dtype and the shape of the plain result;
they share no memory with an input unless `inplace` allows it.  Inputs are as for the plain kernel: of any layout, and
NumPy scalars for rank 0.  A ufunc is its own `into`, and in place for all of its inputs.

State: the table, filled while the family modules are imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphflow.program import Instruction
from graphflow.spec import TensorSpec

F = TypeVar("F", bound=Callable[..., Any])


class Fitted(NamedTuple):
    """The kernel of one instruction, its attributes in place."""

    function: Callable[..., Any]
    into: Callable[..., Any] | None = None
    inplace: tuple[int, ...] = ()


Fit = Callable[[Mapping[str, Any], Sequence[TensorSpec], Sequence[TensorSpec | None]], Fitted | None]


class Row(NamedTuple):
    """One op type's kernel."""

    function: Callable[..., Any]
    scalar: Callable[..., Any] | None = None
    view: bool = False
    bound: bool = False
    needs_run: bool = False
    user: bool = False
    into: Callable[..., Any] | None = None
    inplace: tuple[int, ...] = ()
    fit: Fit | None = None
    blas: str = ""
    together: Callable[[Sequence[Any]], Sequence[Any] | None] | None = None


class Constant(NamedTuple):
    """What a bound row may return instead of a kernel: a value known when compiled, or that there is nothing to do."""

    value: Any


TABLE: dict[str, Row] = {}


def rows(functions: Mapping[str, Callable[..., Any]], **columns: Any) -> None:
    """Add many rows with the same columns."""
    for name, function in functions.items():
        if name in TABLE:
            raise KeyError(f"two kernels for {name}")
        own = {"into": function, "inplace": tuple(range(function.nin))} if isinstance(function, np.ufunc) else {}
        TABLE[name] = Row(function, **{**own, **columns})


def kernel(name: str, **columns: Any) -> Callable[[F], F]:
    """Decorator: add one row."""

    def add(function: F) -> F:
        rows({name: function}, **columns)
        return function

    return add


def mark(*names: str, **columns: Any) -> None:
    """More columns of rows that exist."""
    for name in names:
        TABLE[name] = TABLE[name]._replace(**columns)


def into(*names: str, inplace: tuple[int, ...] = ()) -> Callable[[F], F]:
    """Decorator: how the kernels of rows that exist write into given memory."""

    def add(function: F) -> F:
        for name in names:
            TABLE[name] = TABLE[name]._replace(into=function, inplace=inplace)
        return function

    return add


def fit(*names: str) -> Callable[[F], F]:
    """Decorator: how rows that exist are fitted to an instruction."""

    def add(function: F) -> F:
        for name in names:
            TABLE[name] = TABLE[name]._replace(fit=function)
        return function

    return add


def fitted(row: Row, ins: Instruction, values: Sequence[TensorSpec]) -> Fitted:
    """The kernel of an instruction with its attributes in place, for rows that are not bound."""
    if row.fit is not None:
        inputs = [values[v] for v in ins.inputs]
        found = row.fit(ins.attrs, inputs, [values[v] if v >= 0 else None for v in ins.outputs])
        if found is not None:
            return found
    if not ins.attrs:
        return Fitted(row.function, row.into, row.inplace)
    write = None if row.into is None else functools.partial(row.into, **ins.attrs)
    return Fitted(functools.partial(row.function, **ins.attrs), write, row.inplace)
