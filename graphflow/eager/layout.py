"""How the elements of a tensor lie in memory: strides, offsets, and whether they follow each other.

Policy: what PyTorch tells of a tensor that was made in the same way.  Memory that nobody shares counts as contiguous,
however a kernel made it, since `view` would lay it out anew.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.eager import devices, pointwise, rearranging, shaping
from graphflow.eager.mode import placed
from graphflow.eager.promotion import countable
from graphflow.eager.reductions import axis_of
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import trace_here
from graphflow.errors import FailedPreconditionError, ShapeError, SymbolicUseError
from graphflow.ops import arithmetic


def stride(self: EagerTensor, dim: int | None = None) -> Any:
    """How many elements further the next one of each dimension lies."""
    value = _placed(self, "stride()").value
    if type(value) is np.ndarray and self.memory is not None and value.size:
        found = tuple([step // value.itemsize for step in value.strides])
    else:
        found = tuple([int(np.prod([max(n, 1) for n in self.dims[d + 1 :]])) for d in range(len(self.dims))])
    return found if dim is None else found[axis_of(self, dim)]


def is_contiguous(self: EagerTensor, memory_format: Any = None) -> bool:
    """Whether the elements lie one after the other; in a graph all count as such."""
    if not isinstance(self, EagerTensor):
        return True
    return self.memory is None or type(self.value) is not np.ndarray or bool(self.value.flags.c_contiguous)


def storage_offset(self: EagerTensor) -> int:
    """How many elements before its first one its memory begins."""
    base = getattr(_placed(self, "storage_offset()"), "base", None)
    if base is None or type(self.value) is not np.ndarray or type(base.value) is not np.ndarray:
        return 0
    return (_address(self.value) - _address(base.value)) // self.value.itemsize


def _placed(x: Any, what: str) -> Any:
    """The tensor, which has a place in memory."""
    if not isinstance(x, EagerTensor):
        raise SymbolicUseError(f"{what} in a traced function: where the elements will lie is not known", op=x.op,
                               hint="x.contiguous() changes nothing in a graph; leave it out")  # fmt: skip
    return x


def _address(value: np.ndarray[Any, Any]) -> int:
    return int(value.__array_interface__["data"][0])


@placed
def sum_to_size(input: Any, *size: Any) -> Any:
    """Summed over the dimensions along which a tensor of that size would be repeated."""
    wanted = shaping.sizes_of(size)
    extra = len(input.dims) - len(wanted)
    if extra < 0 or any(n not in (1, m) for n, m in zip(wanted, input.dims[extra:], strict=True)):
        raise ShapeError("the tensor cannot be summed to that size", expected=f"{list(input.dims)} or ones in it",
                         got=str(wanted))  # fmt: skip
    if wanted == list(input.dims):  # nothing to sum: a view
        return shaping.reshape(input, wanted)
    return arithmetic.sum_to(countable(input), np.array(wanted, np.int32))


def _turned(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A method that gives the tensor itself another shape of the same memory."""

    def method(self: EagerTensor, *arguments: Any) -> EagerTensor:
        if not isinstance(self, EagerTensor) or self.track or trace_here() is not None:
            raise FailedPreconditionError(
                f"{name}() of a tensor that gradients go through, or in a traced function", got=repr(self)[:80],
                hint=f"x = x.{name[:-1]}(...)",
            )  # fmt: skip
        found = function(EagerTensor(self.value, self.dtype), *arguments)
        self.touched()[0] += 1
        self.value = found.value
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"{function.__doc__} In place."
    return method


def told(text: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with what `help` says of it."""
    function.__doc__ = text
    return function


def _fact(text: str, function: Callable[..., Any]) -> property:
    return property(function, doc=text)


METHODS: dict[str, Callable[..., Any]] = {
    "stride": stride, "is_contiguous": is_contiguous, "storage_offset": storage_offset, "sum_to_size": sum_to_size,
    **{
        f"{name}_": _turned(shaping.METHODS[name], f"{name}_")
        for name in ("squeeze", "unsqueeze", "t", "transpose", "swapaxes")
    },
    "type_as": told("The tensor in the dtype of another.", lambda self, other: devices.to(self, dtype=other.dtype)),
    "view_as": told("The elements in the shape of another.", lambda self, other: shaping.view(self, other.dims)),
    "reshape_as": told("The elements in the shape of another.", lambda self, other: shaping.reshape(self, other.dims)),
    "where": told(
        "Its elements where the condition holds, the other's elsewhere.",
        lambda self, condition, other: pointwise.where(condition, self, other),
    ),
    "eval": told("The values as an array; a session is not needed.", lambda self, *_: self.numpy()),
    "data_ptr": told("Where the first element lies.", lambda self: self.value.__array_interface__["data"][0]),
    "element_size": told("Bytes of an element.", lambda self: self.dtype.size),
    "get_device": told("-1: it lies on no GPU that has a number.", lambda self: -1),
    "is_pinned": told("Never.", lambda self: False), "is_inference": told("Never.", lambda self: False),
    "pin_memory": told("The tensor itself.", lambda self: self), "is_shared": told("Never.", lambda self: False),
}  # fmt: skip
PROPERTIES: dict[str, property] = {
    "H": property(rearranging.adjoint), "mH": property(rearranging.adjoint),
    "itemsize": _fact("Bytes of an element.", lambda self: self.dtype.size),
    "nbytes": _fact("Bytes of all elements.", lambda self: self.dtype.size * shaping.numel(self)),
    "is_cuda": _fact("Never.", lambda self: False), "is_sparse": _fact("Never.", lambda self: False),
    "is_quantized": _fact("Never.", lambda self: False), "is_meta": _fact("Never.", lambda self: False),
}  # fmt: skip
