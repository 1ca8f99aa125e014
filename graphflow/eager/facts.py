"""What dtypes are and how they meet: `finfo`, `iinfo`, `promote_types`, `result_type`, and tensors by dtype's name.

Policy: PyTorch's names.  `FloatTensor` and its like are older words for `tensor(..., dtype=...)`.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.dtypes import DType, as_dtype
from graphflow.eager.creation import empty, tensor
from graphflow.eager.devices import to
from graphflow.eager.preferences import preferred
from graphflow.eager.promotion import common_dtype, pair
from graphflow.eager.promotion import result_type as met
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError
from graphflow.tensor import Tensor


class finfo:
    """The limits of a floating-point dtype, by default of the default one."""

    __slots__ = ("bits", "dtype", "eps", "max", "min", "resolution", "smallest_normal", "tiny")

    def __init__(self, type: Any = None) -> None:
        found = preferred.floats if type is None else as_dtype(type).real_dtype
        if not found.is_floating:
            raise DTypeError(
                "finfo is of floating-point dtypes", got=found.name, hint=f"torch.iinfo(torch.{found.name})"
            )
        limits = dtypes.finfo(found)
        self.bits, self.dtype = found.size * 8, found.name
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution = float(limits.resolution)

    def __repr__(self) -> str:
        limits = f"resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}"
        return f"finfo({limits}, smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype."""

    __slots__ = ("bits", "dtype", "max", "min")

    def __init__(self, type: Any) -> None:
        found = as_dtype(type)
        if not found.is_integer:
            raise DTypeError("iinfo is of integer dtypes", got=found.name, hint=f"torch.finfo(torch.{found.name})")
        self.bits, self.dtype = found.size * 8, found.name
        self.max, self.min = int(found.max), int(found.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def promote_types(type1: Any, type2: Any) -> DType:
    """The dtype in which two dtypes meet."""
    return common_dtype(as_dtype(type1), as_dtype(type2))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether values of one dtype go into another without changing their kind for a lesser one."""
    first, second = dtypes.as_dtype(from_), dtypes.as_dtype(to)
    return common_dtype(first, second).kind == second.kind or first.is_integer and second.is_integer


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of what is computed from both, tensors or numbers."""
    if isinstance(tensor1, Tensor) and isinstance(tensor2, Tensor):
        return met(tensor1, tensor2)  # type: ignore[arg-type]
    if not isinstance(tensor1, Tensor) and not isinstance(tensor2, Tensor):
        tensor1 = tensor(tensor1)
    first, second = pair(tensor1, tensor2)
    found: DType = (first if isinstance(first, Tensor) else second).dtype
    return found


class _OfDtype(type):
    """The older classes of tensors: `torch.FloatTensor([1, 2])`, `isinstance(x, torch.FloatTensor)`."""

    dtype: DType

    def __call__(cls, *data: Any) -> Any:
        """A tensor of values, or of sizes."""
        if data and all(isinstance(size, int) for size in data):
            return empty(*data, dtype=cls.dtype)
        values = data[0] if data else []
        if isinstance(values, np.ndarray) and values.dtype != cls.dtype.np:
            values = values.astype(cls.dtype.np)
        return tensor(values, dtype=cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, EagerTensor) and instance.dtype is cls.dtype


def _older(name: str, dtype: DType) -> _OfDtype:
    return _OfDtype(name, (), {"dtype": dtype, "__doc__": f"Tensors of {dtype.name}.", "__module__": __name__})


OLDER = {
    "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
    "LongTensor": dtypes.int64, "IntTensor": dtypes.int32, "ShortTensor": dtypes.int16, "CharTensor": dtypes.int8,
    "ByteTensor": dtypes.uint8, "BoolTensor": dtypes.bool_,
}  # fmt: skip
_NAMES = {
    **{dtype: name for name, dtype in OLDER.items()}, dtypes.complex64: "ComplexFloatTensor",
    dtypes.complex128: "ComplexDoubleTensor",
}  # fmt: skip


def type_of(self: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The tensor in another dtype, or the older name of its own: "torch.FloatTensor"."""
    if dtype is None:
        return f"torch.{_NAMES.get(self.dtype, self.dtype.name)}"
    if isinstance(dtype, str) and dtype.removeprefix("torch.") in OLDER:
        dtype = OLDER[dtype.removeprefix("torch.")]
    return to(self, dtype=dtype.dtype if isinstance(dtype, _OfDtype) else dtype)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "finfo": finfo, "iinfo": iinfo, "promote_types": promote_types, "result_type": result_type, "can_cast": can_cast,
    **{name: _older(name, dtype) for name, dtype in OLDER.items()},
}  # fmt: skip
