"""Kernels of shapes and rearrangements.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow_numpy.table import kernel, rows


@kernel("Shape")
def _shape(x: Any, *, out_type: Any) -> Any:
    return np.array(np.shape(x), out_type.np)


rows({"Reshape": lambda x, shape: np.reshape(x, shape)}, view=True)
rows({"Fill": lambda shape, value: np.full(shape, value)})
rows({"BroadcastTo": lambda x, shape: np.broadcast_to(x, shape)}, view=True)


@kernel("ZerosLike")
def _zeros_like(x: Any, *, dtype: Any) -> Any:
    return np.zeros(np.shape(x), dtype.np)


@kernel("OnesLike")
def _ones_like(x: Any, *, dtype: Any) -> Any:
    return np.ones(np.shape(x), dtype.np)


@kernel("SumTo")
def _sum_to(x: Any, shape: Any) -> Any:
    shape = tuple(shape.tolist())
    lead = np.ndim(x) - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, d in enumerate(shape) if d == 1 and x.shape[lead + i] != 1)
    return np.add.reduce(x, axes).reshape(shape) if axes else np.array(x)


@kernel("AddN")
def _add_n(*inputs: Any) -> Any:
    if len(inputs) == 1:
        return np.array(inputs[0])
    total = inputs[0] + inputs[1]
    for x in inputs[2:]:
        if type(total) is np.ndarray:
            np.add(total, x, total)
        else:
            total = total + x
    return total
