"""The bits of integers: `tf.bitwise`.

Policy: both operands have one integer dtype, and the result has it too; negative numbers are in two's complement.  A
shift by the width or more, or by a negative number, leaves what an endless shift would: 0, and -1 of a negative number
that is moved to the right.  None of these has a gradient.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.opdef import call, op
from graphflow.ops.inference import elementwise


@op("BitwiseAnd", infer=elementwise("integer"), differentiable=False)
def bitwise_and(x: Any, y: Any, name: str | None = None) -> Any:
    """The bits that are set in x and in y, elementwise."""
    return call((x, y), name)


@op("BitwiseOr", infer=elementwise("integer"), differentiable=False)
def bitwise_or(x: Any, y: Any, name: str | None = None) -> Any:
    """The bits that are set in x, in y or in both, elementwise."""
    return call((x, y), name)


@op("BitwiseXor", infer=elementwise("integer"), differentiable=False)
def bitwise_xor(x: Any, y: Any, name: str | None = None) -> Any:
    """The bits that are set in one of x and y, elementwise."""
    return call((x, y), name)


@op("Invert", infer=elementwise("integer"), differentiable=False)
def invert(x: Any, name: str | None = None) -> Any:
    """Every bit turned over, elementwise: -x - 1 of signed integers."""
    return call((x,), name)


@op("LeftShift", infer=elementwise("integer"), differentiable=False)
def left_shift(x: Any, y: Any, name: str | None = None) -> Any:
    """The bits of x moved up by y places, elementwise; 0 where y is negative, or the width or more."""
    return call((x, y), name)


@op("RightShift", infer=elementwise("integer"), differentiable=False)
def right_shift(x: Any, y: Any, name: str | None = None) -> Any:
    """The bits of x moved down by y places, elementwise, with the sign filled in; by all places if y is negative."""
    return call((x, y), name)
