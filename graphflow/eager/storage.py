"""The memory of eager tensors, for those who write into it: optimisers, initialisations, loaded states, statistics.

Policy: who writes says so first, and the change is counted, so that a derivative that needs what was there refuses.
Nothing of this is recorded; the copy of a result that would show its input is.

State: none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphflow.dtypes import DType
from graphflow.eager.devices import clone
from graphflow.eager.engine import here
from graphflow.eager.tensor import DEVICES, EagerTensor
from graphflow.eager.traced import trace_here
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


def apart(found: Any, given: Any) -> Any:
    """What was computed, as a copy with memory of its own if it is what it was computed from, or a view of it."""
    if isinstance(found, EagerTensor):
        same = isinstance(given, EagerTensor) and found.memory is not None and found.memory is given.memory
        shown = same or hasattr(found, "apart")
    else:
        shown = trace_here() is not None  # where a copy costs nothing
    return clone(found) if shown or found is given else found


def accumulate(total: EagerTensor, more: EagerTensor) -> None:
    """Add to a tensor where it lies; whoever holds it sees the sum."""
    a, b = total.value, more.value
    if type(a) is np.ndarray and type(b) in (np.ndarray, a.dtype.type) and a.flags.writeable:
        here.context.run(np.add, a, b, a)  # without NumPy's warnings
    else:
        total.value = (EagerTensor(a, total.dtype) + EagerTensor(b, more.dtype)).value
    total.touched()[0] += 1


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
    """Replace the values of a tensor: in place on the CPU; on another device it gets new memory there."""
    array = plain_array(values)
    check_writable(x, array, what)
    if type(x.value) in DEVICES:
        relocate(x, x.device, array.astype(x.dtype.np, copy=True))
    else:
        np.copyto(changing(x), array, casting="same_kind")


def relocate(x: EagerTensor, device: str, values: np.ndarray[Any, Any] | None = None) -> None:
    """Give a tensor memory on a device; it stays the object that it is.  Scalars remain on the CPU, which all read."""
    array = plain_array(x) if values is None else values
    x.value = x.graph.put(EagerTensor(array, x.dtype), device if x.dims else "cpu").value
    x.memory = [x.touched()[0] + 1]


def convert(x: EagerTensor, dtype: DType) -> None:
    """Give a tensor another dtype; it stays the object that it is, and its memory becomes another."""
    if x.dtype is not dtype:
        device, x.value, x.dtype = x.device, plain_array(x).astype(dtype.np), dtype
        relocate(x, device)


def forget_gradients(parameters: Iterable[EagerTensor], set_to_none: bool = True) -> None:
    """Gradients become None, or zeros where they lie."""
    for p in parameters:
        g = p.grad
        if g is None or set_to_none:
            p.grad = None
        elif g.origin is not None:  # what was computed is left alone
            p.grad = EagerTensor(np.zeros(g.dims, g.dtype.np), g.dtype)
        else:
            overwrite(g, np.zeros(g.dims, g.dtype.np))
