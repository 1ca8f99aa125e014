"""What new tensors are where nothing else says so: `set_default_dtype`, `set_default_device`.

Policy: the default is one floating-point dtype; complex numbers are of twice its width.

State: the default dtype and the default device of the process.
"""

from __future__ import annotations

from typing import Any

from graphflow import dtypes
from graphflow.dtypes import DType, as_dtype
from graphflow.errors import DTypeError


class _Preferences:
    """The defaults."""

    __slots__ = ("device", "floats")

    def __init__(self) -> None:
        self.floats: DType = dtypes.float32
        self.device: Any = None


preferred = _Preferences()


def get_default_dtype() -> DType:
    """The dtype of fractions."""
    return preferred.floats


def set_default_dtype(d: Any) -> None:
    """From now on Python's fractions, and tensors that are made without a dtype, have this one."""
    found = as_dtype(d)
    if not found.is_floating:
        raise DTypeError("the default dtype is a floating-point one", expected="float32, say", got=found.name)
    preferred.floats = found


def complex_default() -> DType:
    """The dtype of Python's complex numbers."""
    return dtypes.complex128 if preferred.floats is dtypes.float64 else dtypes.complex64


def default_of(rank: int) -> DType:
    """The dtype of Python's bools, whole numbers, fractions and complex numbers, in this order."""
    return (dtypes.bool_, dtypes.int64, preferred.floats, complex_default())[rank]
