"""Logic, and the bits of integers, in PyTorch's spelling.

Policy: `logical_and` asks what is true, which every number but 0 is; `&`, `|`, `^` and `~` are logic for bools, and for
integers the same of every bit.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow import dtypes
from graphflow.eager.mode import placed
from graphflow.eager.promotion import numbers_together, pair, truth
from graphflow.errors import DTypeError
from graphflow.ops import bitwise, compare
from graphflow.tensor import Tensor

Function = Callable[..., Any]


def named(function: Function, name: str, op: Function) -> Function:
    """The function under a name, with the words of the op that does its work."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    return placed(function)


def _dtype_of(x: Any, y: Any) -> Any:
    """The dtype of promoted operands."""
    return getattr(x if isinstance(x, Tensor) else y, "dtype", None)


def are_bools(x: Any, y: Any) -> bool:
    """Whether promoted operands are bools."""
    return _dtype_of(x, y) is dtypes.bool_


def is_integer(x: Any) -> bool:
    """Whether it is a tensor of integers."""
    dtype = getattr(x, "dtype", None)
    return isinstance(dtype, dtypes.DType) and dtype.is_integer


def logical(name: str, op: Function) -> Function:
    """`name(x, y)`: the op of what is true, which every number but 0 is."""

    def function(input: Any, other: Any) -> Any:
        return op(truth(input), truth(other))

    return named(function, name, op)


@placed
def logical_not(input: Any) -> Any:
    """Whether each element is 0, or false."""
    return compare.logical_not(truth(input))


def of_bits(name: str, op: Function, of_bools: Function | None = None) -> Function:
    """`name(x, y)`: the op of the bits of promoted integers; of bools another one, where there is one."""

    def function(input: Any, other: Any) -> Any:
        x, y = numbers_together(*pair(input, other))
        dtype = _dtype_of(x, y)
        if of_bools is not None and dtype is dtypes.bool_:
            return of_bools(x, y)
        if not getattr(dtype, "is_integer", False):
            what = "integers" if of_bools is None else "integers and bools"
            raise DTypeError(f"{name} takes {what}", got=getattr(dtype, "name", type(x).__name__), hint="x.long()")
        return op(x, y)

    return named(function, name, op)


@placed
def bitwise_not(input: Any) -> Any:
    """The bits turned over: of bools `not`, of integers -x - 1."""
    return bitwise.invert(input) if is_integer(input) else compare.logical_not(input)


_LOGIC: dict[str, Function] = {"and": compare.logical_and, "or": compare.logical_or, "xor": compare.logical_xor}
_BITS: dict[str, tuple[Function, Function | None]] = {
    "bitwise_and": (bitwise.bitwise_and, compare.logical_and),
    "bitwise_or": (bitwise.bitwise_or, compare.logical_or),
    "bitwise_xor": (bitwise.bitwise_xor, compare.logical_xor),
    "bitwise_left_shift": (bitwise.left_shift, None),
    "bitwise_right_shift": (bitwise.right_shift, None),
}
FUNCTIONS: dict[str, Function] = {
    **{f"logical_{name}": logical(f"logical_{name}", op) for name, op in _LOGIC.items()},
    **{name: of_bits(name, *ops) for name, ops in _BITS.items()},
    "logical_not": logical_not, "bitwise_not": bitwise_not,
}  # fmt: skip
