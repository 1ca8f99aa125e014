"""`Parameter`: a tensor that a module learns.

Policy: a parameter is an eager tensor like others, with a mark; ops need not tell it apart.  It shares the memory of
the eager tensor that it is made of, and counts changes in place with it; of anything else it is a copy.

State: none.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphflow.dtypes import DType, as_dtype
from graphflow.eager.engine import EAGER
from graphflow.eager.preferences import preferred
from graphflow.eager.storage import plain_array, relocate
from graphflow.eager.tensor import LEARNED, REQUIRED, UNTRACKED, EagerTensor
from graphflow.eager.traced import made_here, trace_here
from graphflow.errors import DTypeError, InvalidArgumentError, SymbolicUseError, shown
from graphflow.ops import core
from graphflow.tensor import Tensor


class _Parameters(type):
    """Makes `isinstance(x, Parameter)` tell whether a module learns the tensor."""

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, EagerTensor) and x.role == LEARNED


class Parameter(metaclass=_Parameters):
    """A tensor that a module learns: `Parameter(x)` is an eager leaf that shares the memory of the tensor x."""

    def __new__(cls, data: Any, requires_grad: bool = True) -> EagerTensor:  # type: ignore[misc]
        """Share the memory of an eager tensor; copy other values."""
        if trace_here() is not None and isinstance(data, Tensor) and not isinstance(data, EagerTensor):
            raise SymbolicUseError(
                "a traced function makes a parameter of what it computes, which would be learned by nobody",
                hint="make modules and parameters outside",
            )
        with EAGER.as_default():
            given: Any = core.convert_to_tensor(data)
        if requires_grad and not (given.dtype.is_floating or given.dtype.is_complex):
            raise DTypeError(
                "a parameter that requires gradients holds floating-point numbers",
                got=given.dtype.name,
                hint="Parameter(x, requires_grad=False)",
            )
        track = REQUIRED if requires_grad else UNTRACKED
        shares = _shares_memory(data)
        values = data.value if shares else np.array(plain_array(given))
        made = made_here(EagerTensor(values, given.dtype, track))
        made.role = LEARNED
        if shares:
            made.memory = data.touched()
        elif given.device != "cpu":
            relocate(made, given.device)
        return made


def _shares_memory(data: Any) -> bool:
    """Whether it is a tensor whose memory a parameter can share: on the CPU, and not read-only."""
    if not isinstance(data, EagerTensor) or data.device != "cpu" or trace_here() is not None:
        return False
    return bool(data.shareable().flags.writeable)


_DEVICES = ("cpu", "opencl", "cuda", "mps")  # words that name devices, whether or not there is one


def place_of(device: Any) -> str:
    """The kind of device that is meant: "opencl" for "/device:OpenCL:0"."""
    text = str(getattr(device, "type", device)).lower().removeprefix("/").removeprefix("device:")
    return text.partition(":")[0]


def is_device(given: Any) -> bool:
    """Whether an argument that may be a device or a dtype is a device."""
    return not isinstance(given, (DType, type)) and place_of(given) in _DEVICES


def empty_parameter(dims: tuple[int, ...], dtype: Any = None, device: Any = None) -> EagerTensor:
    """A parameter whose values are still to be drawn."""
    wanted = preferred.floats if dtype is None else as_dtype(dtype)
    if not all(hasattr(n, "__index__") for n in dims):
        raise DTypeError("a size is an integer", got=shown(dims))
    sizes = [operator.index(n) for n in dims]
    if min(sizes, default=0) < 0:
        raise InvalidArgumentError("a size is negative", expected="sizes >= 0", got=str(sizes))
    made = Parameter(np.zeros(sizes, wanted.np))
    if device is not None:
        relocate(made, place_of(device))
    return made
