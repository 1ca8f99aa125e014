"""Conversions between dtypes.

Policy: a conversion to integers drops the fraction and stops at the limits of the target dtype, and NaN becomes 0,
on every machine and backend alike (TensorFlow 1 leaves all of this undefined); between integer dtypes the bits wrap
around, as in C.  A complex value loses its imaginary part; text is not converted.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, ShapeError
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import call, op
from graphflow.ops.arguments import as_tensor
from graphflow.spec import TensorSpec


def _casted(x: Any, *, dtype: Any) -> TensorSpec:
    for end in (x.dtype, dtype):
        if not (end.is_numeric or end.is_bool):
            raise DTypeError(f"cannot cast {x.dtype.name} to {dtype.name}", expected="numbers or bools",
                             hint="tf.as_string and tf.string_to_number convert text")  # fmt: skip
    hint = None
    if dtype.is_integer and x.dtype.is_integer and x.hint is not None:
        entries = x.hint if isinstance(x.hint, tuple) else (x.hint,)
        hint = x.hint if all(e is None or dtype.min <= e <= dtype.max for e in entries) else None
    return TensorSpec(dtype, x.dims, hint)


@op("Cast", infer=_casted, noop=True, pointwise=True)
def _cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    return call((x,), name, dtype=dtype)


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """The tensor in another dtype; a tensor that has it already is returned as it is."""
    target = as_dtype(dtype)
    if isinstance(x, IndexedSlices):
        return IndexedSlices(cast(x.values, target, name), x.indices, x.dense_shape)
    x = as_tensor(x)
    return x if x.dtype is target else _cast(x, target, name=name)


def _cast_back(op: Any, dy: Any) -> Any:
    return cast(dy, op.inputs[0].dtype)


_cast.vjp(_cast_back)


def to_float(x: Any, name: str | None = "ToFloat") -> Any:
    """The tensor as float32."""
    return cast(x, dtypes.float32, name=name)


def to_double(x: Any, name: str | None = "ToDouble") -> Any:
    """The tensor as float64."""
    return cast(x, dtypes.float64, name=name)


def to_int32(x: Any, name: str | None = "ToInt32") -> Any:
    """The tensor as int32."""
    return cast(x, dtypes.int32, name=name)


def to_int64(x: Any, name: str | None = "ToInt64") -> Any:
    """The tensor as int64."""
    return cast(x, dtypes.int64, name=name)


def to_bfloat16(x: Any, name: str | None = "ToBFloat16") -> Any:
    """The tensor as bfloat16; needs the package ml_dtypes."""
    return cast(x, "bfloat16", name=name)


def _bitcast(x: Any, *, dtype: dtypes.DType) -> TensorSpec:
    if not (x.dtype.is_numeric and dtype.is_numeric):
        raise DTypeError(f"cannot bitcast {x.dtype.name} to {dtype.name}", expected="numbers")
    if x.dims is None or x.dtype.size == dtype.size:
        return TensorSpec(dtype, x.dims)
    if x.dtype.size > dtype.size:
        return TensorSpec(dtype, (*x.dims, x.dtype.size // dtype.size))
    ratio = dtype.size // x.dtype.size
    if not x.dims or x.dims[-1] not in (None, ratio):
        raise ShapeError(
            f"{ratio} elements of {x.dtype.name} make one of {dtype.name}",
            expected=f"a last dimension of {ratio}",
            got=spec.describe(x.dims),
        )
    return TensorSpec(dtype, x.dims[:-1])


@op("Bitcast", infer=_bitcast, differentiable=False)
def bitcast(input: Any, type: Any, name: str | None = None) -> Any:
    """The same bits read as another dtype; where the sizes differ, the last dimension makes up for it."""
    return call((input,), name, dtype=as_dtype(type))
