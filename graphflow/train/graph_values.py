"""Attribute values of ops as strict JSON, and back.

Policy: what JSON has is written as it is (null, booleans, text, integers below 10**18, finite floats), a JSON array is
a tuple, and everything else is an object with one key that names its type: `{"dtype": "float32"}`,
`{"array": {"dtype": ..., "shape": ..., "data": base64}}`.  Reading believes nothing: sizes are compared before memory
is taken, depth and rank are bounded, and no value can name code, a path or an object of the running program.

State: none.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import constants, dtypes
from graphflow.dtypes import DType
from graphflow.errors import DataLossError, UnimplementedError
from graphflow.graph import FuncGraph

MAX_DEPTH = 12
MAX_RANK = 32
MAX_PLAIN = 10**18
MAX_DIGITS = 1000
NumberOf = Callable[[FuncGraph], int]
FunctionAt = Callable[[int], FuncGraph]


def encode(value: Any, number_of: NumberOf, depth: int = 0) -> Any:
    """The JSON form of a value; UnimplementedError where a file cannot hold it."""
    if depth > MAX_DEPTH:
        raise UnimplementedError("the value is nested too deeply for a file", expected=f"at most {MAX_DEPTH} levels")
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is tuple or kind is list:
        parts = [encode(v, number_of, depth + 1) for v in value]
        return parts if kind is tuple else {"list": parts}
    writer = _WRITERS.get(kind)
    if writer is not None:
        return writer(value)
    if isinstance(value, FuncGraph):
        return {"function": number_of(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        return {"array": encode_array(np.asarray(value))}
    raise UnimplementedError(
        "a file cannot hold this value",
        expected="numbers, text, dtypes, arrays, tuples of these, branches and loop bodies",
        got=f"{kind.__module__}.{kind.__qualname__}",
    )


def _integer(value: int) -> Any:
    if -MAX_PLAIN < value < MAX_PLAIN:
        return value
    if abs(value) >= 10**MAX_DIGITS:
        raise UnimplementedError("the integer is too long for a file", expected=f"at most {MAX_DIGITS} digits")
    return {"int": str(value)}


def _float(value: float) -> Any:
    return value if math.isfinite(value) else {"float": repr(value)}


def _text(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UnimplementedError("a file cannot hold a lone surrogate", got=ascii(value)[:80]) from None
    return value


_WRITERS: dict[type[Any], Callable[[Any], Any]] = {
    str: _text,
    int: _integer,
    float: _float,
    DType: lambda value: {"dtype": value.name},
    complex: lambda value: {"complex": [_float(value.real), _float(value.imag)]},
    bytes: lambda value: {"bytes": base64.b64encode(value).decode()},
    type(Ellipsis): lambda value: {"ellipsis": True},
}


def encode_array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """An array as its dtype, shape and bytes (little-endian, base64); text as a list of base64."""
    dtype = dtypes.from_numpy(array.dtype)
    if dtype is None:
        raise UnimplementedError("a file cannot hold this array", got=f"NumPy dtype {array.dtype}")
    shape = list(array.shape)
    if dtype is dtypes.string:
        items = [v.encode() if isinstance(v, str) else v for v in array.reshape(-1).tolist()]
        if not all(type(v) is bytes for v in items):
            raise UnimplementedError("a file cannot hold an array of objects")
        return {"dtype": "string", "shape": shape, "strings": [base64.b64encode(v).decode() for v in items]}
    data = np.asarray(array, dtype=dtype.np.newbyteorder("<"), order="C").tobytes()
    return {"dtype": dtype.name, "shape": shape, "data": base64.b64encode(data).decode()}


def decode(value: Any, function_at: FunctionAt, depth: int = 0) -> Any:
    """The value of a JSON form; DataLossError for everything that `encode` would not have written."""
    if depth > MAX_DEPTH:
        raise DataLossError("a value is nested too deeply", expected=f"at most {MAX_DEPTH} levels")
    kind = type(value)
    if kind is list:
        return tuple([decode(v, function_at, depth + 1) for v in value])
    if kind is not dict:
        return value
    if len(value) != 1:
        raise DataLossError("a typed value has one key, the name of its type", got=shown(list(value)))
    ((tag, inner),) = value.items()
    if tag == "list" and type(inner) is list:
        return [decode(v, function_at, depth + 1) for v in inner]
    if tag == "function" and type(inner) is int:
        return function_at(inner)
    if tag == "complex" and type(inner) is list and len(inner) == 2:
        parts = [decode(v, function_at, depth + 1) for v in inner]
        if all(type(p) is float for p in parts):
            return complex(*parts)
    reader = _READERS.get(tag)
    if reader is None:
        raise DataLossError("a value of an unknown type", expected=", ".join(_TAGS), got=shown(tag))
    return reader(inner)


def shown(value: Any) -> str:
    """A short text for a message; a hostile file decides how long the value is."""
    text = repr(value[:200] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 120 else text[:117] + "..."


def _bad(tag: str, inner: Any) -> DataLossError:
    return DataLossError(f"a malformed value of type {tag!r}", got=shown(inner))


def _read_int(inner: Any) -> int:
    if type(inner) is not str or not inner.isascii() or not inner.lstrip("-").isdigit() or len(inner) > MAX_DIGITS + 1:
        raise _bad("int", inner)
    try:
        return int(inner)
    except ValueError:
        raise _bad("int", inner) from None


def _read_float(inner: Any) -> float:
    if inner not in ("nan", "inf", "-inf"):
        raise _bad("float", inner)
    return float(inner)


def _read_dtype(inner: Any) -> DType:
    found = _BY_NAME.get(inner) if type(inner) is str else None
    if found is None:
        raise DataLossError("an unknown dtype", expected=", ".join(sorted(_BY_NAME)), got=shown(inner))
    return found


def _read_bytes(inner: Any) -> bytes:
    if type(inner) is not str:
        raise _bad("bytes", inner)
    try:
        return base64.b64decode(inner, validate=True)
    except (binascii.Error, ValueError):
        raise _bad("bytes", inner) from None


def _read_ellipsis(inner: Any) -> Any:
    if inner is not True:
        raise _bad("ellipsis", inner)
    return Ellipsis


def decode_array(inner: Any) -> Any:
    """A read-only array, or a NumPy scalar for rank 0, as constants are kept."""
    text = type(inner) is dict and inner.keys() == {"dtype", "shape", "strings"}
    if not text and (type(inner) is not dict or inner.keys() != {"dtype", "shape", "data"}):
        raise _bad("array", inner)
    dtype, shape = _read_dtype(inner["dtype"]), inner["shape"]
    if dtype is dtypes.resource or text != (dtype is dtypes.string):
        raise _bad("array", inner["dtype"])
    if type(shape) is not list or len(shape) > MAX_RANK or not all(type(d) is int and d >= 0 for d in shape):
        raise DataLossError("a malformed shape", expected=f"at most {MAX_RANK} sizes >= 0", got=shown(shape))
    count = _count(shape)
    if text:
        return constants.freeze(_strings(inner["strings"], shape, count))
    data = _read_bytes(inner["data"])
    if count < 0 or count * dtype.size != len(data):
        raise DataLossError(
            "an array's shape does not fit its data", expected=f"{len(data)} bytes", got=f"{dtype.name}{shown(shape)}"
        )
    array = np.frombuffer(data, dtype.np.newbyteorder("<")).astype(dtype.np).reshape(shape)
    if dtype is dtypes.bool_ and array.size and array.view(np.uint8).max() > 1:
        raise DataLossError("a bool array holds a byte that is neither 0 nor 1")
    return constants.freeze(array)


def _count(shape: list[int]) -> int:
    """The number of elements, or -1 where NumPy could not even describe such an array."""
    product = 1
    for d in shape:
        product *= d or 1
        if product >= 1 << 59:
            return -1
    return 0 if 0 in shape else product


def _strings(items: Any, shape: list[int], count: int) -> np.ndarray[Any, Any]:
    if type(items) is not list or len(items) != count:
        raise DataLossError("an array's shape does not fit its strings", got=shown(shape))
    array = np.empty(shape, object)
    flat = array.reshape(-1)
    for i, item in enumerate(items):
        flat[i] = _read_bytes(item)
    return array


_TYPES = [
    dtypes.bool_, dtypes.uint8, dtypes.uint16, dtypes.uint32, dtypes.uint64, dtypes.int8, dtypes.int16, dtypes.int32,
    dtypes.int64, dtypes.float16, dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128, dtypes.string,
    dtypes.resource, *([dtypes.bfloat16] if dtypes.bfloat16 is not None else []),
]  # fmt: skip
_BY_NAME = {dtype.name: dtype for dtype in _TYPES}
_READERS: dict[str, Callable[[Any], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "dtype": _read_dtype,
    "bytes": _read_bytes,
    "array": decode_array,
    "ellipsis": _read_ellipsis,
}
_TAGS = sorted([*_READERS, "list", "function", "complex"])
