"""Kernels for those who compute one op at once.

Policy: the same kernels, fitted in the same way, as in a program at level 0; a product gets one thread of BLAS, as
there, so that the bits are the same.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow.program import Instruction
from graphflow.spec import TensorSpec
from graphflow_numpy import blas
from graphflow_numpy.binding import row_of
from graphflow_numpy.products import may_thread
from graphflow_numpy.table import fitted


def kernel(ins: Instruction, values: Sequence[TensorSpec]) -> tuple[Callable[..., Any], bool] | None:
    """What computes an instruction, and whether its results may share memory with its inputs; None if a run must."""
    row = row_of(ins)
    if row.bound or row.needs_run or row.user:
        return None
    function = fitted(row, ins, values).function
    if row.blas and may_thread(values, ins):
        function = _with_one_thread(function)
    return function, row.view


def _with_one_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arrays: Any) -> Any:
        lease = blas.Lease(1)
        try:
            return function(*arrays)
        finally:
            lease.release()

    return call
