"""Shapes and rearrangements.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.opdef import call, op
from graphflow.ops.inference import hinted_dims
from graphflow.spec import TensorSpec


def _shape(x: Any, *, out_type: dtypes.DType) -> TensorSpec:
    if x.dims is None:
        return TensorSpec(out_type, (None,))
    return TensorSpec(out_type, (len(x.dims),), x.dims)


def _known_shape(x: Any, *, out_type: dtypes.DType) -> Any:
    return np.array(x.dims, out_type.np) if spec.is_concrete(x.dims) else None


@op("Shape", infer=_shape, known_value=_known_shape, differentiable=False)
def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Any:
    """The shape of a tensor, as a vector of integers."""
    return call((input,), name, out_type=as_dtype(out_type))


def _reshape(x: Any, target: Any) -> TensorSpec:
    return TensorSpec(x.dtype, spec.reshaped(x.dims, hinted_dims(target)), x.hint if x.dims == () else None)


@op("Reshape", infer=_reshape, same_dtype=None, noop=True)
def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    """The same elements in another shape; one size may be -1."""
    return call((tensor, shape), name)


reshape.vjp(lambda op, dy: reshape(dy, shape(op.inputs[0])), None)


def _filled(shape: Any, value: Any) -> TensorSpec:
    return TensorSpec(value.dtype, hinted_dims(shape))


@op("Fill", infer=_filled, same_dtype=None, differentiable=False)
def fill(dims: Any, value: Any, name: str | None = None) -> Any:
    """A tensor of that shape with the scalar `value` everywhere."""
    return call((dims, value), name)


def _broadcast(x: Any, target: Any) -> TensorSpec:
    return TensorSpec(x.dtype, hinted_dims(target))


@op("BroadcastTo", infer=_broadcast, same_dtype=None, noop=True)
def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Any:
    """The tensor repeated to that shape by NumPy's broadcasting."""
    return call((input, shape), name)


def _like(x: Any, *, dtype: dtypes.DType) -> TensorSpec:
    return TensorSpec(dtype, x.dims)


@op("ZerosLike", infer=_like, differentiable=False)
def _zeros_like(x: Any, dtype: Any, name: str | None = None) -> Any:
    return call((x,), name, dtype=dtype)


@op("OnesLike", infer=_like, differentiable=False)
def _ones_like(x: Any, dtype: Any, name: str | None = None) -> Any:
    return call((x,), name, dtype=dtype)


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Any:
    """Zeros in the shape of a tensor."""
    return _zeros_like(tensor, tensor.dtype if dtype is None else as_dtype(dtype), name=name)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Any:
    """Ones in the shape of a tensor."""
    return _ones_like(tensor, tensor.dtype if dtype is None else as_dtype(dtype), name=name)
