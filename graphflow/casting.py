"""The one rule by which values from outside enter a graph: fed arrays and constants alike.

Policy: a value may be rounded between floating-point widths and from integers to floats, and changed in nothing
else.  NaN or a fraction to an integer, 2**33 to int32, a finite number to infinity, text to a number, None, complex
to real, masked, object and ragged arrays are typed errors.  Zero copy where dtype and layout already fit.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.dtypes import DType
from graphflow.errors import DTypeError, Error, shown


def literal_dtype(array: np.ndarray[Any, Any], from_python: bool) -> DType:
    """The dtype of a value that came without one: Python floats are float32, Python ints int32."""
    found = dtypes.from_numpy(array.dtype)
    if found is None:
        raise DTypeError("no dtype of graphflow holds this value", got=f"NumPy dtype {array.dtype}")
    if from_python:
        if found is dtypes.float64:
            return dtypes.float32
        if found is dtypes.complex128:
            return dtypes.complex64
        if found is dtypes.int64:
            fits = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
            return dtypes.int32 if fits else dtypes.int64
    return found


def as_array(value: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
    """A native, aligned, C-ordered array of `dtype` (or of the literal's own dtype), or a typed error."""
    if type(value) is np.ndarray:
        array, from_python = value, False
    else:
        array, from_python = _read(value, dtype)
    target = literal_dtype(array, from_python) if dtype is None else dtype
    if target is dtypes.string:
        return _as_text(array, value)
    if array.dtype is not target.np:
        array = _cast(array, target)
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        array = np.array(array, order="C", copy=True, ndmin=0)
    return array


def _read(value: Any, dtype: DType | None) -> tuple[np.ndarray[Any, Any], bool]:
    """The value as a plain array, and whether it was made of Python literals."""
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError("a masked array would lose its mask", hint="call .filled(...) first")
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value).view(np.ndarray), False
    if value is None:
        raise DTypeError("None is not a value")
    if not isinstance(value, (int, float, complex, bool, str, bytes, list, tuple)) and not hasattr(value, "__array__"):
        raise DTypeError("cannot make an array of this object", got=f"{type(value).__name__}: {shown(value)}")
    try:
        array = np.asarray(value, object if dtype is dtypes.string else None)
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error).split(". The detected")[0]
        raise DTypeError("cannot make an array of this value", got=shown(value), hint=reason) from None
    if array.size == 0 and isinstance(value, (list, tuple)) and array.dtype == np.float64 and dtype is not None:
        array = array.astype(dtype.np)
    if array.dtype.kind in "SU" and isinstance(value, (list, tuple)):
        array = np.asarray(value, object)  # NumPy makes text of the numbers in a mixed list
    if array.dtype.kind == "O" and array.size and all(type(v) in (int, bool) for v in array.ravel().tolist()):
        raise DTypeError("no integer dtype holds a number that large", expected="-2**63 to 2**64 - 1", got=shown(value))
    return array.view(np.ndarray), not hasattr(value, "dtype") and not _has_numpy(value)


def _has_numpy(value: Any) -> bool:
    """Whether a nested list holds NumPy values; the first leaf decides."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (np.ndarray, np.generic))


def _as_text(array: np.ndarray[Any, Any], value: Any) -> np.ndarray[Any, Any]:
    if array.dtype.kind in "SU":
        array = array.astype(object)
    elif array.dtype.kind != "O":
        raise DTypeError("a string tensor holds text or bytes", expected="string", got=f"{array.dtype}: {shown(value)}")
    flat = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
    for v in flat:
        if not isinstance(v, bytes):
            raise DTypeError("a string tensor holds text or bytes", expected="string", got=shown(v))
    out = np.empty(array.shape, object)
    out.ravel()[:] = flat
    return out


def _cast(array: np.ndarray[Any, Any], target: DType) -> np.ndarray[Any, Any]:
    source = dtypes.from_numpy(array.dtype)
    if source is None or source is dtypes.string:
        what = "an object or ragged array" if array.dtype.kind == "O" else f"NumPy dtype {array.dtype}"
        raise DTypeError(f"cannot convert {what} to {target.name}", expected=target.name, got=shown(array.tolist()))
    if source is target:
        return array.astype(target.np)  # byte order only
    with np.errstate(all="ignore"):
        if source.is_complex and not target.is_complex:
            raise DTypeError("a complex value cannot become real", expected=target.name, got=source.name)
        out = array.astype(target.np)
        if target.is_floating or target.is_complex:
            if np.isfinite(array).all() and not np.isfinite(out).all():
                raise _lost(array, target, ~np.isfinite(out))
            if not np.isfinite(array).all() and (np.isinf(out) & ~np.isinf(array)).any():
                raise _lost(array, target, np.isinf(out) & ~np.isinf(array))
        else:
            changed = _changed(array, out, source)
            if changed.any():
                raise _lost(array, target, changed)
    return out


def _changed(array: np.ndarray[Any, Any], out: np.ndarray[Any, Any], source: DType) -> Any:
    """Where a conversion to integers or booleans changed the value."""
    changed = out.astype(array.dtype) != array
    if source.is_integer:
        changed |= (out < 0) != (array < 0)
    elif source.is_floating and out.dtype.kind in "iu":
        # float(2**63 - 1) rounds up to 2**63, so the round trip alone would accept what wrapped around.
        # In float64, since -2**31 as a float16 is -inf.
        info, wide = np.iinfo(out.dtype), array.astype(np.float64)
        changed |= ~((wide >= float(info.min)) & (wide < float(info.max) + (1.0 if info.max < 2**52 else 0.0)))
    return changed


def _lost(array: np.ndarray[Any, Any], target: DType, where: Any) -> Error:
    first = np.asarray(array)[np.asarray(where)].ravel()[0]
    return DTypeError(
        f"a value does not fit {target.name}",
        expected=f"values that {target.name} holds exactly"
        if not target.is_floating
        else f"the range of {target.name}",
        got=f"{first} in an array of {array.dtype}",
        hint="convert it yourself where that is meant, for example with numpy.astype",
    )
