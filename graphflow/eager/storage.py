"""The memory of eager tensors, for those who write into it: optimisers, initialisations, loaded states, statistics.

Policy: who writes says so first, and the change is counted, so that a derivative that needs what was there refuses.
Nothing here is recorded.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.dtypes import DType
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, FailedPreconditionError, ShapeError


def changing(x: EagerTensor) -> np.ndarray[Any, Any]:
    """The memory of a tensor that is about to be written."""
    value = x.value
    if isinstance(value, np.generic):  # what a sum over everything is
        value = x.value = np.array(value)
    if type(value) is not np.ndarray:
        raise FailedPreconditionError(
            "only the memory of the CPU is written in place", got=f"a tensor on {x.device}", hint='x.to("cpu")'
        )
    if not value.flags.writeable:
        raise FailedPreconditionError(
            "this memory is read-only", got=f"a tensor of shape {list(x.dims)}", hint="torch.tensor(array) copies it"
        )
    x.touched()[0] += 1
    return value


def plain_array(x: Any) -> np.ndarray[Any, Any]:
    """The values of an eager tensor, of anything that has `numpy()`, or of what NumPy takes for an array."""
    if isinstance(x, EagerTensor):
        x = x.value
    if hasattr(x, "numpy"):
        x = x.numpy()
    return np.asarray(x)


def check_writable(x: EagerTensor, array: np.ndarray[Any, Any], what: str) -> None:
    """Raise unless the array may replace the values of the tensor."""
    if array.shape != x.dims:
        raise ShapeError(f"{what} has another shape", expected=str(list(x.dims)), got=str(list(array.shape)))
    if not np.can_cast(array.dtype, x.dtype.np, "same_kind"):
        raise DTypeError(f"{what} has another kind of numbers", expected=x.dtype.name, got=str(array.dtype))


def overwrite(x: EagerTensor, values: Any, what: str = "the value") -> None:
    """Replace the values of a tensor, in place."""
    array = plain_array(values)
    check_writable(x, array, what)
    np.copyto(changing(x), array, casting="same_kind")


def convert(x: EagerTensor, dtype: DType) -> None:
    """Give a tensor another dtype; it stays the object that it is, and its memory becomes another."""
    if x.dtype is not dtype:
        x.value = plain_array(x).astype(dtype.np)
        x.dtype = dtype
        x.memory = [x.touched()[0] + 1]
