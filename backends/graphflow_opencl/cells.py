"""The memory of variables on the device.

Policy: a variable keeps its memory as long as it keeps its shape, so kernels are bound to it once; an update writes in
place.  Whoever runs a program or reads a value from outside holds the device's lock, so nobody sees half an update.
Variables that no kernel works on (strings, complex numbers, shapes that change) live with the NumPy backend instead.

State: each cell owns its memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.dtypes import DType
from graphflow.errors import FailedPreconditionError, ShapeError
from graphflow.spec import Dims, compatible, describe, is_concrete, numel
from graphflow_opencl import staging
from graphflow_opencl.devices import Device
from graphflow_opencl.memory import Piece, Store


def lives_on_device(dtype: DType, dims: Dims) -> bool:
    """Whether the variable is one for kernels."""
    return is_concrete(dims) and dtype.kind in ("float", "int", "uint", "bool")


class DeviceCell:
    """One variable of one session."""

    __slots__ = ("device", "dims", "dtype", "host", "initialized", "lock", "name", "piece")

    def __init__(self, device: Device, store: Store, name: str, dtype: DType, dims: tuple[int, ...]) -> None:
        self.device = device
        self.name = name
        self.dtype = dtype
        self.dims = dims
        self.lock = device.lock
        self.initialized = False
        self.piece: Piece = store.take(numel(dims) * dtype.size)
        self.host = self.piece.view(dims, dtype.np)

    @property
    def shape(self) -> Dims:
        """The shape."""
        return self.dims

    def snapshot(self) -> Any:
        """The value as an array that will not change."""
        self.device.check_process()
        with self.lock:
            if not self.initialized:
                raise uninitialized(self.name)
            if self.host is not None:
                return self.host.copy() if self.dims else self.host[()]
            out = np.empty(self.dims, self.dtype.np)
            if out.nbytes:
                staging.read(self.device, self.piece.buffer, out)
            return out if self.dims else out[()]

    def assign(self, value: Any, validate_shape: bool = True) -> Any:
        """Replace the value by a copy of `value`."""
        self.device.check_process()
        array = np.ascontiguousarray(value, self.dtype.np)
        if not compatible(self.dims, np.shape(value)):
            raise ShapeError(
                f"variable {self.name!r} cannot take a value of that shape",
                expected=describe(self.dims),
                got=describe(np.shape(value)),
            )
        with self.lock:
            if self.host is not None:
                np.copyto(self.host, array.reshape(self.dims))
            elif array.nbytes:
                staging.write(self.device, self.piece.buffer, array)
            self.initialized = True
        return value


def uninitialized(name: str) -> FailedPreconditionError:
    """The error of reading a variable that has no value."""
    return FailedPreconditionError(
        f"variable {name!r} is not initialized",
        hint="run tf.global_variables_initializer() first, or restore a checkpoint",
    )
