"""Kernels of the ops on variables, and of the ops that only pass a value on.

State: none; the values are in the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.backend import Context
from graphflow.errors import InvalidArgumentError
from graphflow.program import Instruction
from graphflow_numpy.cells import NumpyCell
from graphflow_numpy.table import Constant, kernel, rows

_UFUNCS: dict[str, Callable[..., Any]] = {
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


@kernel("NoOp")
def _no_op() -> tuple[()]:
    return ()


@kernel("VariableHandle", bound=True, view=True)
def _handle(context: Context, ins: Instruction) -> Constant:
    return Constant(context.cell(ins.op))


@kernel("ReadVariable", view=True)
def _read(cell: NumpyCell, *, dtype: Any, dims: Any) -> Any:
    return cell.snapshot()


@kernel("IsVariableInitialized")
def _initialized(cell: NumpyCell) -> Any:
    return np.bool_(cell.initialized)


@kernel("Assign", view=True)
def _assign(cell: NumpyCell, value: Any, *, dtype: Any, dims: Any, validate_shape: bool) -> Any:
    return cell.assign(value, validate_shape)


@kernel("AssignAdd", view=True)
def _assign_add(cell: NumpyCell, value: Any, *, dtype: Any, dims: Any) -> Any:
    return cell.combine(np.add, value)


@kernel("AssignSub", view=True)
def _assign_sub(cell: NumpyCell, value: Any, *, dtype: Any, dims: Any) -> Any:
    return cell.combine(np.subtract, value)


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
    checked_rows(indices, np.shape(cell.snapshot())[0])

    def change(array: Any) -> None:
        if kind == "update":
            array[indices] = updates
        else:
            _UFUNCS[kind].at(array, indices, updates)  # type: ignore[attr-defined]

    return cell.edit(change)


@kernel("ScatterNdVariable", view=True)
def _scatter_nd(cell: NumpyCell, indices: Any, updates: Any, *, dtype: Any, dims: Any, kind: str) -> Any:
    shape = np.shape(cell.snapshot())
    places = tuple(checked_rows(indices[..., i], shape[i]) for i in range(indices.shape[-1]))

    def change(array: Any) -> None:
        if kind == "update":
            array[places] = updates
        else:
            _UFUNCS[kind].at(array, places, updates)  # type: ignore[attr-defined]

    return cell.edit(change)
