"""The memory of variables.

Policy: what was read never changes.  A read hands out the array itself, without a copy; an update works in place only
if nobody else holds that array, which the reference count tells exactly (views count through their base), and makes
a new array otherwise.  Every update is one atomic step under the cell's lock; reads take the lock for an instant so
that they never see half of one.

State: each cell owns its array; the module owns two reference counts measured on import.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.dtypes import DType
from graphflow.errors import FailedPreconditionError, ShapeError
from graphflow.spec import Dims, compatible, describe


class NumpyCell:
    """One variable of one session."""

    __slots__ = ("array", "dims", "dtype", "lock", "name")

    def __init__(self, name: str, dtype: DType, dims: Dims) -> None:
        self.name = name
        self.dtype = dtype
        self.dims = dims
        self.array: Any = None
        self.lock = threading.RLock()

    @property
    def shape(self) -> Dims:
        """What is known of the shape."""
        return self.dims

    @property
    def initialized(self) -> bool:
        """Whether it holds a value."""
        return self.array is not None

    def snapshot(self) -> Any:
        """The value as an array that will not change."""
        with self.lock:
            array = self.array
        if array is None:
            raise self._uninitialized()
        return array

    def _uninitialized(self) -> FailedPreconditionError:
        return FailedPreconditionError(
            f"variable {self.name!r} is not initialized",
            hint="run tf.global_variables_initializer() first, or restore a checkpoint",
        )

    def _alone(self) -> bool:
        array = self.array
        return sys.getrefcount(array) <= _ALONE

    def assign(self, value: Any, validate_shape: bool = True) -> Any:
        """Replace the value by a copy of `value`."""
        if validate_shape and not compatible(self.dims, np.shape(value)):
            raise ShapeError(
                f"variable {self.name!r} cannot take a value of that shape",
                expected=describe(self.dims),
                got=describe(np.shape(value)),
            )
        with self.lock:
            if isinstance(value, np.generic):
                self.array = value
                return value
            array = self.array
            if type(array) is np.ndarray and array.shape == value.shape:
                del array
                if self._alone():
                    np.copyto(self.array, value)
                    return self.array
            self.array = value.copy() if value.ndim or value.dtype == object else value[()]
            return self.array

    def combine(self, ufunc: Callable[..., Any], delta: Any) -> Any:
        """Replace the value by `ufunc(value, delta)`."""
        with self.lock:
            array = self.array
            if array is None:
                raise self._uninitialized()
            if delta.shape != array.shape:
                raise ShapeError(
                    f"variable {self.name!r} cannot be changed by a value of another shape",
                    expected=describe(array.shape),
                    got=describe(delta.shape),
                )
            if type(array) is np.ndarray and sys.getrefcount(array) <= _ALONE:
                return ufunc(array, delta, array)
            self.array = array = ufunc(array, delta)
            return array

    def edit(self, change: Callable[[Any], None]) -> Any:
        """Let `change` write into the value, which nobody else sees before it is done."""
        with self.lock:
            self.snapshot()
            if not self._alone():
                self.array = np.array(self.array)
            change(self.array)
            return self.array


def _reference_count_alone() -> int:
    """What `_alone` sees when only the cell holds the array; measured, as it differs between Python versions."""
    seen: list[int] = []

    class Probe(NumpyCell):
        __slots__ = ()

        def _alone(self) -> bool:
            array = self.array
            seen.append(sys.getrefcount(array))
            return True

    probe = Probe("probe", None, None)  # type: ignore[arg-type]
    probe.array = np.zeros(2)
    probe._alone()
    return seen[0]


_ALONE = _reference_count_alone()
