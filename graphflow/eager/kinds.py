"""`torch.Tensor`: the name under which programs ask whether something is a tensor, and make one of float32.

Policy: in both modes, and while a function is traced, a tensor is one.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import dtypes
from graphflow.eager import creation
from graphflow.eager.tensor import EagerTensor
from graphflow.tensor import Tensor as AnyTensor


class _Kind(type):
    """Makes `isinstance(x, torch.Tensor)` true of every tensor."""

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, AnyTensor)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, AnyTensor)


class Tensor(EagerTensor, metaclass=_Kind):
    """Any tensor.  `Tensor(values)` is an eager one of float32; `Tensor(2, 3)` has these sizes, and zeros."""

    __slots__ = ()

    def __new__(cls, *data: Any) -> Any:
        """An eager tensor."""
        if len(data) == 1 and not isinstance(data[0], int):
            return creation.tensor(data[0], dtype=dtypes.float32)
        return creation.zeros(*data) if data else creation.zeros(0)
