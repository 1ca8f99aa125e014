"""What kernels raise, as errors of ours.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.errors import Error, InternalError, InvalidArgumentError, ResourceExhaustedError
from graphflow.program import Instruction
from graphflow.spec import describe
from graphflow_numpy.cells import NumpyCell


def explained(error: Exception, ins: Instruction, values: Sequence[Any]) -> Error:
    """What a kernel raised for these inputs."""
    got = ", ".join(described(v) for v in values) or None
    if isinstance(error, Error):
        return error.attach(ins.op)
    if isinstance(error, MemoryError):
        return ResourceExhaustedError(f"out of memory in {ins.type}", op=ins.op, got=got)
    known = (ValueError, TypeError, ArithmeticError, LookupError)
    kind = InvalidArgumentError if isinstance(error, known) else InternalError
    return kind(f"{ins.type}: {error}", op=ins.op, got=got)


def outside(error: Exception) -> Error:
    """An error that no instruction raised: while the results were handed over."""
    if isinstance(error, Error):
        return error
    if isinstance(error, MemoryError):
        return ResourceExhaustedError("out of memory while copying what was fetched")
    return InternalError(f"a program failed outside its steps: {type(error).__name__}: {error}")


def described(value: Any) -> str:
    """A value in an error: dtype and shape."""
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype}{describe(value.shape)}"
    if isinstance(value, NumpyCell):
        return f"variable {value.name!r}"
    return type(value).__name__
