"""The memory of variables.

Policy: what was read never changes.  A read hands out the array itself, without a copy; an update works in place only
if nobody else holds that array, which the reference count tells exactly (views count through their base), and makes
a new array otherwise.  Every update is one atomic step under the cell's lock.

A read never sees half of an update, and takes no lock for that (`peek`).  Who updates in place sets `busy` before it
looks at the reference count; who reads takes its reference before it looks at `busy`.  Python's own lock puts these
four in some order: either the count shows the reader, and the update makes a new array, or the reader sees `busy`, and
waits for the lock.  `busy` may stay set for longer than needed, which costs the readers time and nothing else; it also
stays set while an atomic region holds the lock.

State: each cell owns its array; the module owns two reference counts measured on import.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.dtypes import DType
from graphflow.errors import FailedPreconditionError, ShapeError
from graphflow.spec import Dims, compatible, describe


class NumpyCell:
    """One variable of one session."""

    __slots__ = ("array", "busy", "dims", "dtype", "lock", "name")

    def __init__(self, name: str, dtype: DType, dims: Dims) -> None:
        self.name = name
        self.dtype = dtype
        self.dims = dims
        self.array: Any = None
        self.busy = False  # it may be changing in place, or more than once: only with the lock it can be read
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

    def peek(self) -> Any:
        """The same without the lock, where nothing is changing."""
        array = self.array
        if self.busy or array is None:
            return self.snapshot()
        return array

    def _uninitialized(self) -> FailedPreconditionError:
        return FailedPreconditionError(
            f"variable {self.name!r} is not initialized",
            hint="run tf.global_variables_initializer() first, or restore a checkpoint",
        )

    def _alone(self) -> bool:
        """Whether the array may be changed in place; readers then have to wait for the lock, until `busy` is unset."""
        self.busy = True
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
                was_busy = self.busy
                if self._alone():
                    np.copyto(self.array, value)
                    self.busy = was_busy
                    return self.array
                self.busy = was_busy
            self.array = value.copy() if value.ndim or value.dtype == object else value[()]
            return self.array

    def combine(self, ufunc: Callable[..., Any], delta: Any, scalar: Callable[..., Any] | None = None) -> Any:
        """Replace the value by `ufunc(value, delta)`; `scalar` is the same on NumPy scalars, and quicker."""
        with self.lock:
            array = self.array
            if scalar is not None and type(array) is type(delta) is self.dtype.type:
                self.array = array = scalar(array, delta)
                return array
            if array is None:
                raise self._uninitialized()
            if delta.shape != array.shape:
                raise ShapeError(
                    f"variable {self.name!r} cannot be changed by a value of another shape",
                    expected=describe(array.shape),
                    got=describe(delta.shape),
                )
            was_busy = self.busy
            self.busy = True
            if type(array) is np.ndarray and sys.getrefcount(array) <= _ALONE:
                ufunc(array, delta, array)
            else:
                self.array = array = ufunc(array, delta)
            self.busy = was_busy
            return array

    def edit(self, change: Callable[[Any], None]) -> Any:
        """Let `change` write into the value, which nobody else sees before it is done."""
        with self.lock:
            self.snapshot()
            was_busy = self.busy
            if not self._alone():
                self.array = np.array(self.array)
            change(self.array)
            self.busy = was_busy
            return self.array


def peek_all(cells: Sequence[NumpyCell]) -> list[Any] | None:
    """The values of many cells; None where one of them has to be looked at with its lock."""
    found = [array for cell in cells if (array := cell.array) is not None and not cell.busy]
    return found if len(found) == len(cells) else None


def _reference_count_alone() -> int:
    """What `_alone` sees when only the cell holds the array; measured, as it differs between Python versions."""
    seen: list[int] = []

    class Probe(NumpyCell):
        __slots__ = ()

        def _alone(self) -> bool:
            self.busy = True
            array = self.array
            seen.append(sys.getrefcount(array))
            return True

    probe = Probe("probe", None, None)  # type: ignore[arg-type]
    probe.array = np.zeros(2)
    probe._alone()
    return seen[0]


_ALONE = _reference_count_alone()
