"""Where tensors lie: `device("cpu")`, `x.to(...)`, DLPack, copies.

Policy: the value of a tensor on the CPU is a NumPy array.  A device of another backend is named like it ("opencl");
what has no such place is a typed error, never a silent copy.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.dtypes import DType, as_dtype, from_numpy
from graphflow.eager.engine import EagerGraph
from graphflow.eager.mode import placed
from graphflow.eager.placement import move
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, shown
from graphflow.ops import casts, core


class device(str):
    """The name of a device; `device("cuda")` exists as a word, no tensor can go there."""

    __slots__ = ()

    def __new__(cls, name: Any = "cpu", index: int | None = None) -> device:
        """By name, or by kind and number."""
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError("a device has a name", expected='"cpu" or "opencl"', got=shown(name))
        plain = name.lower().removeprefix("/").removeprefix("device:")
        return super().__new__(cls, plain if index is None else f"{plain}:{index}")

    @property
    def type(self) -> str:
        """The kind of device."""
        return str(self).partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        """Which one of its kind."""
        number = str(self).partition(":")[2]
        return int(number) if number else None

    def __repr__(self) -> str:
        return f"device(type='{self.type}'{'' if self.index is None else f', index={self.index}'})"


def on(x: EagerTensor, name: Any) -> EagerTensor:
    """The tensor on a device."""
    return move(x, device(name).type)


@placed
def to(
    x: Any, *where: Any, dtype: Any = None, device: Any = None, copy: bool = False, non_blocking: bool = False
) -> Any:
    """The tensor in another dtype or on another device: `x.to(torch.float64)`, `x.to("cpu")`, `x.to(y)`."""
    for item in where:
        if isinstance(item, EagerTensor):
            dtype, device = item.dtype, item.device
        elif isinstance(item, DType):
            dtype = item
        elif isinstance(item, str) and item.partition(":")[0] in ("cpu", "cuda", "opencl", "mps"):
            device = item
        else:
            dtype = as_dtype(item)
    found = x if dtype is None or as_dtype(dtype) is x.dtype else casts.cast(x, dtype)
    if device is not None:
        found = on(found, device)
    return clone(found) if copy and found is x else found


@placed
def clone(input: Any) -> Any:
    """A copy with memory of its own; gradients flow through."""
    found = core.identity(input)
    found.value = input.value.copy() if input.device == "cpu" else input.value
    found.memory = None
    if found.origin is not None:
        found.origin.values = [found.value]
    return found


def cpu(x: Any) -> Any:
    """The tensor in the memory of the CPU."""
    return on(x, "cpu")


def cuda(x: Any, device: Any = None) -> Any:
    """Refused: there is no CUDA here."""
    return on(x, "cuda")


def dlpack(x: Any, **options: Any) -> Any:
    """The memory as a DLPack capsule."""
    if x.requires_grad:
        raise FailedPreconditionError(
            "a tensor that requires gradients is not exported: they would not see what others write",
            hint="x.detach()",
        )
    return x.value.__dlpack__(**options)


def dlpack_device(x: Any) -> Any:
    """Where DLPack finds the memory."""
    return x.value.__dlpack_device__()


def from_dlpack(ext_tensor: Any) -> EagerTensor:
    """A tensor that shares the memory of one of another library."""
    found: Any = np.from_dlpack(ext_tensor)
    dtype = from_numpy(found.dtype)
    if dtype is None:
        raise InvalidArgumentError("no tensor holds an array of this dtype", got=str(found.dtype))
    return EagerTensor(found, dtype)


class cuda_is_absent:
    """`torch.cuda`, for programs that ask whether it is there."""

    @staticmethod
    def is_available() -> bool:
        """Never."""
        return False

    @staticmethod
    def device_count() -> int:
        """None."""
        return 0

    @staticmethod
    def manual_seed(seed: int) -> None:
        """Nothing to seed."""

    manual_seed_all = manual_seed


EagerGraph.put = staticmethod(on)
