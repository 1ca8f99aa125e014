"""Elementwise arithmetic and functions.

Policy: broadcasting as NumPy's, no promotion between dtypes, IEEE results.  One op, one block.

State: none.
"""

from __future__ import annotations

import operator
from typing import Any

from graphflow.errors import InvalidArgumentError
from graphflow.opdef import call, op
from graphflow.ops import array
from graphflow.ops.inference import elementwise, hinted_dims
from graphflow.spec import TensorSpec


@op("Add", infer=elementwise(hint=operator.add), broadcasts=True)
def add(x: Any, y: Any, name: str | None = None) -> Any:
    """x + y, elementwise."""
    return call((x, y), name)


add.vjp(lambda op, dy: dy, lambda op, dy: dy)


@op("Sub", infer=elementwise(hint=operator.sub), broadcasts=True)
def subtract(x: Any, y: Any, name: str | None = None) -> Any:
    """x - y, elementwise."""
    return call((x, y), name)


subtract.vjp(lambda op, dy: dy, lambda op, dy: -dy)


@op("Mul", infer=elementwise(hint=operator.mul), broadcasts=True)
def multiply(x: Any, y: Any, name: str | None = None) -> Any:
    """x * y, elementwise."""
    return call((x, y), name)


multiply.vjp(lambda op, dy: dy * conj(op.inputs[1]), lambda op, dy: dy * conj(op.inputs[0]))


@op("Neg", infer=elementwise(hint=operator.neg))
def negative(x: Any, name: str | None = None) -> Any:
    """-x, elementwise."""
    return call((x,), name)


negative.vjp(lambda op, dy: -dy)


@op("Conj", infer=elementwise("number"))
def _conj(x: Any, name: str | None = None) -> Any:
    return call((x,), name)


_conj.vjp(lambda op, dy: conj(dy))


def conj(x: Any, name: str | None = None) -> Any:
    """The complex conjugate; a real tensor is returned as it is."""
    return x if x.dtype.kind != "complex" else _conj(x, name=name)


def _sum_to(x: Any, shape: Any) -> TensorSpec:
    return TensorSpec(x.dtype, hinted_dims(shape))


@op("SumTo", infer=_sum_to, same_dtype=None, noop=True)
def sum_to(x: Any, shape: Any, name: str | None = None) -> Any:
    """Sum `x` over the axes along which `shape` was broadcast to its shape."""
    return call((x, shape), name)


sum_to.vjp(lambda op, dy: array.broadcast_to(dy, array.shape(op.inputs[0])), None)


def sum_to_like(grad: Any, x: Any) -> Any:
    """The gradient of a broadcast input: nothing to do where the shapes are known to be equal."""
    if grad.dims is not None and grad.dims == x.dims and None not in grad.dims:
        return grad
    found = sum_to(grad, array.shape(x))
    if x.dims is not None:
        found.dims = x.dims
    return found


@op("AddN", infer=elementwise())
def _add_n(inputs: Any, name: str | None = None) -> Any:
    return call(inputs, name)


_add_n.vjp(lambda op, dy: dy)


def add_n(inputs: Any, name: str | None = None) -> Any:
    """The sum of a list of tensors of one shape."""
    items = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not items:
        raise InvalidArgumentError("add_n needs at least one tensor")
    return _add_n(items, name=name)
