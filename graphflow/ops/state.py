"""Ops on variables: the handle, reading, assigning, scattering.

Policy: a variable in the graph is a handle, made by one op; its value lives in the session.  Reads and writes name
their effect in the `effect` column, from which the compiler derives the order in which they run.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import dtypes, spec
from graphflow.errors import DTypeError, ShapeError
from graphflow.opdef import call, op
from graphflow.spec import TensorSpec


@op("VariableHandle", infer=lambda **_: TensorSpec(dtypes.resource, ()), differentiable=False)
def variable_handle(dtype: Any, dims: Any, name: str | None = None) -> Any:
    """The handle of a variable."""
    return call((), name, dtype=dtype, dims=dims)


def _read(handle: Any, *, dtype: dtypes.DType, dims: spec.Dims) -> TensorSpec:
    return TensorSpec(dtype, dims)


@op("ReadVariable", infer=_read, effect="read", same_dtype=None)
def read_variable(handle: Any, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """The variable's value at this point of the program."""
    return call((handle,), name, dtype=dtype, dims=dims)


read_variable.vjp(lambda op, dy: dy)


@op("IsVariableInitialized", infer=lambda handle: TensorSpec(dtypes.bool_, ()), effect="read", differentiable=False)
def variable_is_initialized(handle: Any, name: str | None = None) -> Any:
    """Whether the variable has a value."""
    return call((handle,), name)


def _assign(handle: Any, value: Any, *, dtype: dtypes.DType, dims: spec.Dims, **attrs: Any) -> TensorSpec:
    _check_value(value, dtype)
    if attrs.get("validate_shape", True) and not spec.compatible(dims, value.dims):
        raise ShapeError(
            "the value does not fit the variable", expected=spec.describe(dims), got=spec.describe(value.dims)
        )
    return TensorSpec(dtype, value.dims if dims is None else dims)


def _check_value(value: Any, dtype: dtypes.DType) -> None:
    if value.dtype is not dtype:
        raise DTypeError("the value does not fit the variable", expected=dtype.name, got=value.dtype.name)


def _combine(handle: Any, value: Any, *, dtype: dtypes.DType, dims: spec.Dims) -> TensorSpec:
    _check_value(value, dtype)
    spec.merge(dims, spec.broadcast(dims, value.dims))
    return TensorSpec(dtype, dims)


@op("Assign", infer=_assign, effect="write", same_dtype=None, differentiable=False)
def assign_variable(
    handle: Any, value: Any, dtype: Any, dims: Any, validate_shape: bool = True, name: str | None = None
) -> Any:
    """Replace the variable's value; the output is the new value."""
    return call((handle, value), name, dtype=dtype, dims=dims, validate_shape=validate_shape)


@op("AssignAdd", infer=_combine, effect="write", same_dtype=None, differentiable=False)
def assign_add_variable(handle: Any, value: Any, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """Add to the variable's value, atomically; the output is the new value."""
    return call((handle, value), name, dtype=dtype, dims=dims)


@op("AssignSub", infer=_combine, effect="write", same_dtype=None, differentiable=False)
def assign_sub_variable(handle: Any, value: Any, dtype: Any, dims: Any, name: str | None = None) -> Any:
    """Subtract from the variable's value, atomically; the output is the new value."""
    return call((handle, value), name, dtype=dtype, dims=dims)


def _scatter(handle: Any, indices: Any, updates: Any, *, dtype: dtypes.DType, dims: spec.Dims, kind: str) -> TensorSpec:
    _check_value(updates, dtype)
    if not indices.dtype.is_integer:
        raise DTypeError("indices are integers", expected="int32 or int64", got=indices.dtype.name)
    if dims is not None and indices.dims is not None:
        if not dims:
            raise ShapeError("a scalar variable has no rows to scatter into")
        wanted = indices.dims + dims[1:]
        if updates.dims is not None and updates.dims != () and not spec.compatible(wanted, updates.dims):
            raise ShapeError(
                "updates do not fit the indices", expected=spec.describe(wanted), got=spec.describe(updates.dims)
            )
    return TensorSpec(dtype, dims)


@op("Scatter", infer=_scatter, effect="write", same_dtype=None, differentiable=False)
def scatter_variable(
    handle: Any, indices: Any, updates: Any, dtype: Any, dims: Any, kind: str, name: str | None = None
) -> Any:
    """Change rows of the variable: kind is update, add, sub, mul, div, min or max; later duplicates act after earlier."""
    return call((handle, indices, updates), name, dtype=dtype, dims=dims, kind=kind)


def _scatter_nd(handle: Any, indices: Any, updates: Any, *, dtype: dtypes.DType, dims: spec.Dims, kind: str) -> TensorSpec:
    _check_value(updates, dtype)
    if not indices.dtype.is_integer:
        raise DTypeError("indices are integers", expected="int32 or int64", got=indices.dtype.name)
    return TensorSpec(dtype, dims)


@op("ScatterNdVariable", infer=_scatter_nd, effect="write", same_dtype=None, differentiable=False)
def scatter_nd_variable(
    handle: Any, indices: Any, updates: Any, dtype: Any, dims: Any, kind: str, name: str | None = None
) -> Any:
    """Change the elements or slices of the variable that the last axis of `indices` names."""
    return call((handle, indices, updates), name, dtype=dtype, dims=dims, kind=kind)
