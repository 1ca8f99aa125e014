"""Kernels of the ops on variables, and of the ops that only pass a value on.

Policy: a scatter acts on its rows one after the other, so the last of several updates of a row stays and sums are
taken in the order of the indices.  Indices are checked before anything is written.

State: none; the values are in the cells.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphflow.backend import Context
from graphflow.errors import InvalidArgumentError, OutOfRangeError, ShapeError
from graphflow.program import Instruction
from graphflow.spec import describe
from graphflow_numpy.cells import NumpyCell, peek_all
from graphflow_numpy.table import Constant, Fitted, fit, kernel, rows

_UFUNCS: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "min": np.minimum,
    "max": np.maximum,
}


def _same(x: Any) -> Any:
    return x


rows({"Identity": _same, "StopGradient": _same}, view=True)


@kernel("PlaceholderWithDefault", view=True)
def _placeholder_with_default(x: Any, *, dims: Any) -> Any:
    return x


@kernel("PreventGradient", view=True)
def _prevent_gradient(x: Any, *, message: str) -> Any:
    return x


@kernel("Const", bound=True, view=True)
def _const(context: Context, ins: Instruction) -> Constant:
    return Constant(ins.attrs["value"])


@kernel("NoOp", bound=True)
def _no_op(context: Context, ins: Instruction) -> Constant:
    return Constant(None)


@kernel("VariableHandle", bound=True, view=True)
def _handle(context: Context, ins: Instruction) -> Constant:
    return Constant(context.cell(ins.op))


rows({"ReadVariable": lambda cell, **attrs: cell.peek()}, view=True, together=peek_all)


@fit("ReadVariable")
def _fitted_read(*specs: Any) -> Fitted:
    return Fitted(NumpyCell.peek)


@kernel("InitializedValue", view=True)
def _initialized_value(cell: NumpyCell, initial: Any) -> Any:
    return cell.snapshot() if cell.initialized else initial


@kernel("IsVariableInitialized")
def _initialized(cell: NumpyCell) -> Any:
    return np.bool_(cell.initialized)


@kernel("UninitializedNames")
def _uninitialized_names(*flags: Any, names: tuple[str, ...]) -> Any:
    return np.array([name.encode() for name, flag in zip(names, flags, strict=True) if not flag], object)


@kernel("Assign", view=True)
def _assign(cell: NumpyCell, value: Any, *, dtype: Any, dims: Any) -> Any:
    return cell.assign(value)


def _update(name: str, ufunc: Any, scalar: Any) -> None:
    """The row of an update by a ufunc, and its fit, without the attributes that inference alone needs."""

    def combine(cell: NumpyCell, value: Any) -> Any:
        return cell.combine(ufunc, value, scalar)

    rows({name: lambda cell, value, **attrs: combine(cell, value)}, view=True)
    fit(name)(lambda *specs: Fitted(combine))


_update("AssignAdd", np.add, operator.add)
_update("AssignSub", np.subtract, operator.sub)


@kernel("CountUpTo", view=True)
def _count_up_to(cell: NumpyCell, *, limit: int, dtype: Any, dims: Any) -> Any:
    with cell.lock:
        before = cell.snapshot()
        if before >= limit:
            raise OutOfRangeError(f"Reached limit of {limit}")
        cell.assign(dtype.type(before + 1))
    return before


def checked_rows(indices: Any, size: int) -> Any:
    """The indices, each of which must be in [0, size)."""
    if np.size(indices):
        low, high = np.min(indices), np.max(indices)
        if low < 0 or high >= size:
            bad = low if low < 0 else high
            raise InvalidArgumentError(f"index {bad} is out of range", expected=f"0 <= index < {size}", got=str(bad))
    return indices


@kernel("Scatter", view=True)
def _scatter(cell: NumpyCell, indices: Any, updates: Any, *, dtype: Any, dims: Any, kind: str) -> Any:
    def change(array: Any) -> None:
        _scatter_rows(array, checked_rows(indices, array.shape[0]), updates, kind)

    return cell.edit(change)


@kernel("ScatterNdVariable", view=True)
def _scatter_nd(cell: NumpyCell, indices: Any, updates: Any, *, dtype: Any, dims: Any, kind: str) -> Any:
    depth = indices.shape[-1]

    def change(array: Any) -> None:
        lead, row = array.shape[:depth], array.shape[depth:]
        if len(lead) < depth:
            raise ShapeError("an index is longer than the variable has axes", expected=str(array.ndim), got=str(depth))
        numbers = np.zeros(indices.shape[:-1], np.int64)
        for axis, size in enumerate(lead):
            numbers *= size
            numbers += checked_rows(indices[..., axis], size)
        total = 1
        for size in lead:
            total *= size
        _scatter_rows(array.reshape(total, *row), numbers, updates, kind)

    return cell.edit(change)


def _scatter_rows(array: Any, indices: Any, updates: Any, kind: str) -> None:
    """Change rows of a contiguous array."""
    wanted = np.shape(indices) + array.shape[1:]
    if np.shape(updates) not in ((), wanted):
        raise ShapeError("updates do not fit the indices", expected=describe(wanted), got=describe(np.shape(updates)))
    if kind == "update":
        array[indices] = updates
        return
    if kind == "div" and array.dtype.kind in "iu":
        _divide_integers(array, indices, updates)
        return
    _combine_rows(_UFUNCS[kind], array, indices, updates)


def _combine_rows(ufunc: Any, array: Any, indices: Any, updates: Any) -> None:
    """`array[i] = ufunc(array[i], update)` for one index after the other."""
    flat = np.ravel(indices)
    size = array[:1].size if array.shape[0] else 0
    updates = np.broadcast_to(updates, np.shape(indices) + array.shape[1:]).reshape(flat.size, *array.shape[1:])
    ordered = np.sort(flat)
    if not (ordered[1:] == ordered[:-1]).any():
        array[flat] = ufunc(array[flat], updates)
    elif size <= 1:
        ufunc.at(array, flat, updates)
    else:  # `at` is fast on vectors alone
        places = flat[:, None].astype(np.intp) * size + np.arange(size)
        ufunc.at(array.reshape(-1), places.ravel(), updates.ravel())


def _divide_integers(array: Any, indices: Any, updates: Any) -> None:
    """Integer division towards zero, as in C."""
    if not np.all(updates):
        raise InvalidArgumentError("Integer division by zero")
    quotient, sign = np.abs(array), np.sign(array)
    _combine_rows(np.floor_divide, quotient, indices, np.abs(updates))
    _combine_rows(np.multiply, sign, indices, np.sign(updates))
    changed = np.unique(indices)
    array[changed] = quotient[changed] * sign[changed]
