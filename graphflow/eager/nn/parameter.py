"""`Parameter`: a tensor that a module learns.

Policy: a parameter is an eager tensor like others, with memory of its own, and a mark; ops need not tell it apart.

State: none.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphflow.dtypes import as_dtype, float32
from graphflow.eager.engine import EAGER
from graphflow.eager.storage import plain_array
from graphflow.eager.tensor import REQUIRED, UNTRACKED, EagerTensor
from graphflow.errors import DTypeError, InvalidArgumentError, shown
from graphflow.ops import core


class _Parameters(type):
    """Makes `isinstance(x, Parameter)` tell whether a module learns the tensor."""

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, EagerTensor) and x.is_parameter


class Parameter(metaclass=_Parameters):
    """A tensor that a module learns: `Parameter(values)` is an eager tensor, with memory of its own."""

    def __new__(cls, data: Any, requires_grad: bool = True) -> EagerTensor:  # type: ignore[misc]
        """Copy the values."""
        with EAGER.as_default():
            given: Any = core.convert_to_tensor(data)
        if requires_grad and not (given.dtype.is_floating or given.dtype.is_complex):
            raise DTypeError(
                "a parameter that requires gradients holds floating-point numbers",
                got=given.dtype.name,
                hint="Parameter(x, requires_grad=False)",
            )
        made = EagerTensor(np.array(plain_array(given)), given.dtype, REQUIRED if requires_grad else UNTRACKED)
        made.is_parameter = True
        return made


def empty_parameter(dims: tuple[int, ...], dtype: Any = None, device: Any = None) -> EagerTensor:
    """A parameter whose values are still to be drawn."""
    if device is not None and str(getattr(device, "type", device)).lower().strip("/").partition(":")[0] != "cpu":
        raise InvalidArgumentError("parameters live on the CPU", expected='device="cpu"', got=shown(device))
    wanted = float32 if dtype is None else as_dtype(dtype)
    sizes = [operator.index(n) for n in dims]
    if min(sizes, default=0) < 0:
        raise InvalidArgumentError("a size is negative", expected="sizes >= 0", got=str(sizes))
    return Parameter(np.zeros(sizes, wanted.np))
