"""Where tensors lie: `device("cpu")`, `x.to(...)`, DLPack, copies.

Policy: the value of a tensor on the CPU is a NumPy array.  A device of another backend is named like it ("opencl");
what has no such place is a typed error, never a silent copy.

State: the devices of `with torch.device(...)` blocks; the default device is `preferences`'.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.dtypes import DType, as_dtype, float32, from_numpy
from graphflow.eager.calling import checked
from graphflow.eager.engine import EagerGraph
from graphflow.eager.mode import placed
from graphflow.eager.placement import check_place, move
from graphflow.eager.preferences import preferred
from graphflow.eager.tensor import DEVICES, EagerTensor
from graphflow.eager.traced import trace_here
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, shown
from graphflow.ops import casts, core
from graphflow.tensor import Tensor


class device(str):
    """The name of a device; `device("cuda")` exists as a word, no tensor can go there."""

    __slots__ = ()

    def __new__(cls, name: Any = "cpu", index: int | None = None) -> device:
        """By name, or by kind and number."""
        if type(name) is cls and index is None:
            return name
        plain = name.lower().removeprefix("/").removeprefix("device:") if isinstance(name, str) else ""
        kind, _, number = plain.partition(":")
        if not kind or number and (index is not None or not number.isdecimal()):
            raise InvalidArgumentError("a device has a name, such as cpu or cpu:0", expected='"cpu" or "cpu:0"',
                                       got=shown(name))  # fmt: skip
        return super().__new__(cls, plain if index is None else f"{plain}:{index}")

    def __enter__(self) -> device:
        """New tensors are made here, inside of the block."""
        on(_PROBE, self)
        _before.append(preferred.device)
        preferred.device = self
        return self

    def __exit__(self, *error: object) -> None:
        preferred.device = _before.pop()

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


_before: list[Any] = []  # the default devices outside of the blocks that we are in
_PROBE = EagerTensor(np.zeros(1, np.float32), float32)
_known: dict[str, device] = {}


def device_of(x: EagerTensor) -> device:
    """Where the tensor lies."""
    name = DEVICES.get(type(x.value), "cpu")
    found = _known.get(name)
    if found is None:
        found = _known[name] = device(name)
    return found


def get_default_device() -> device:
    """Where new tensors are made."""
    return device(preferred.device or "cpu")


def set_default_device(device: Any) -> None:
    """New tensors are made there from now on."""
    found = None if device is None else _of_name(device)
    if found is not None:
        on(_PROBE, found)
    preferred.device = found


def on(x: Any, name: Any) -> Any:
    """The tensor on a device; where a graph is computed is the session's business."""
    if not isinstance(x, EagerTensor):
        check_place(device(name).type)
        return x
    return move(x, device(name).type)


@placed
def to(
    x: Any, *where: Any, dtype: Any = None, device: Any = None, copy: bool = False, non_blocking: bool = False
) -> Any:
    """The tensor in another dtype or on another device: `x.to(torch.float64)`, `x.to("cpu")`, `x.to(y)`."""
    for item in where:
        if isinstance(item, Tensor):
            dtype, device = item.dtype, item.device if isinstance(item, EagerTensor) else None
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
    if not isinstance(found, EagerTensor):
        graph = trace_here()
        return found if graph is None else graph.own(found)
    found.owns(input.value.copy() if input.device == "cpu" else input.value)
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
    _check_on_host(x)
    return x.shareable().__dlpack__(**options)


def dlpack_device(x: Any) -> Any:
    """Where DLPack finds the memory."""
    _check_on_host(x)
    return x.shareable().__dlpack_device__()


def _check_on_host(x: EagerTensor) -> None:
    if x.device != "cpu":
        raise FailedPreconditionError(
            "only the memory of the CPU is exported", got=f"a tensor on {x.device}", hint="x.cpu()"
        )


@checked
def from_dlpack(ext_tensor: Any) -> EagerTensor:
    """A tensor that shares the memory of one of another library."""
    found: Any = np.from_dlpack(ext_tensor)
    dtype = from_numpy(found.dtype)
    if dtype is None:
        raise InvalidArgumentError("no tensor holds an array of this dtype", got=str(found.dtype))
    return EagerTensor(found, dtype)


_of_name = device
EagerGraph.put = staticmethod(on)
