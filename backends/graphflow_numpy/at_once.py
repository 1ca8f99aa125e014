"""Kernels for those who compute one op at once.

Policy: the same kernels, fitted in the same way, as in a program at level 0; a product gets one thread of BLAS, as
there, so that the bits are the same, and the pieces of a long one are shared out between the cores.

State: none.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.backend import Run
from graphflow.program import Instruction
from graphflow.runtime.workers import usable_cores
from graphflow.spec import TensorSpec
from graphflow_numpy import blas
from graphflow_numpy.binding import row_of
from graphflow_numpy.products import may_thread, worth_sharing
from graphflow_numpy.sharing import THREADS
from graphflow_numpy.table import fitted


def kernel(
    ins: Instruction, values: Sequence[TensorSpec], next_run: Callable[[], Run]
) -> tuple[Callable[..., Any], bool] | None:
    """What computes an instruction, and whether its results may share memory with its inputs; None if a program must.

    One that draws random numbers asks for a run each time.
    """
    row = row_of(ins)
    if row.bound or row.user:
        return None
    function = fitted(row, ins, values).function
    if row.needs_run:
        return lambda *arrays: function(next_run(), *arrays), row.view
    if row.blas and may_thread(values, ins):
        function = _with_one_thread(function)
        if worth_sharing(values, ins):
            function = _on_all_cores(function)
    return function, row.view


def context() -> contextvars.Context:
    """Where kernels run, whatever the caller's settings are."""
    made = contextvars.copy_context()
    made.run(np.seterr, all="ignore")
    return made


def _on_all_cores(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arrays: Any) -> Any:
        token = THREADS.set(usable_cores())
        try:
            return function(*arrays)
        finally:
            THREADS.reset(token)

    return call


def _with_one_thread(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arrays: Any) -> Any:
        if blas.has_one_thread():
            return function(*arrays)
        lease = blas.Lease(1)
        try:
            return function(*arrays)
        finally:
            lease.release()

    return call
