"""Element types: one interned `DType` object per type, so that `is` compares them.

Policy: names and attributes are TensorFlow 1's.  Nothing is promoted silently between tensors; Python literals
become int32, float32, complex64, bool or string.  bfloat16 exists when the package `ml_dtypes` is installed.

State: the table of interned types, filled once on import.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import errors


class DType:
    """An element type such as `tf.float32`; compares equal to its name and to its NumPy type."""

    __slots__ = (
        "is_bool",
        "is_complex",
        "is_floating",
        "is_integer",
        "is_numeric",
        "kind",
        "name",
        "np",
        "size",
        "type",
    )

    def __init__(self, name: str, numpy_dtype: Any, kind: str) -> None:
        self.name = name
        self.np: np.dtype[Any] = np.dtype(numpy_dtype)
        self.type: type[Any] = self.np.type
        self.kind = kind
        self.size: int = self.np.itemsize
        self.is_floating = kind == "float"
        self.is_integer = kind in ("int", "uint")
        self.is_complex = kind == "complex"
        self.is_bool = kind == "bool"
        self.is_numeric = kind in ("float", "int", "uint", "complex")

    @property
    def as_numpy_dtype(self) -> type[Any]:
        """The NumPy scalar type."""
        return self.type

    @property
    def as_datatype_enum(self) -> str:
        """The name that a saved graph uses."""
        return "DT_" + self.name.upper()

    @property
    def base_dtype(self) -> DType:
        """The type itself: graphflow has no reference types."""
        return self

    @property
    def real_dtype(self) -> DType:
        """float32 for complex64, float64 for complex128, otherwise the type itself."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    @property
    def is_unsigned(self) -> bool:
        """Whether it is an unsigned integer type."""
        return self.kind == "uint"

    @property
    def is_numpy_compatible(self) -> bool:
        """Whether NumPy has the type."""
        return self.kind != "resource"

    @property
    def min(self) -> Any:
        """The smallest finite value."""
        return self._limit("min")

    @property
    def max(self) -> Any:
        """The largest finite value."""
        return self._limit("max")

    def _limit(self, which: str) -> Any:
        if self.is_bool:
            return which == "max"
        if self.is_integer:
            return getattr(np.iinfo(self.np), which)
        if self.is_floating:
            info = finfo(self)
            return getattr(info, which)
        raise errors.DTypeError(f"dtype {self.name} has no {which}imum")

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the two are the same type."""
        return self is as_dtype(other)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if other is None or isinstance(other, DType):
            return False
        try:
            return self is as_dtype(other)
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


bool_ = DType("bool", np.bool_, "bool")
uint8 = DType("uint8", np.uint8, "uint")
uint16 = DType("uint16", np.uint16, "uint")
uint32 = DType("uint32", np.uint32, "uint")
uint64 = DType("uint64", np.uint64, "uint")
int8 = DType("int8", np.int8, "int")
int16 = DType("int16", np.int16, "int")
int32 = DType("int32", np.int32, "int")
int64 = DType("int64", np.int64, "int")
float16 = DType("float16", np.float16, "float")
float32 = DType("float32", np.float32, "float")
float64 = DType("float64", np.float64, "float")
complex64 = DType("complex64", np.complex64, "complex")
complex128 = DType("complex128", np.complex128, "complex")
string = DType("string", np.object_, "string")
resource = DType("resource", np.object_, "resource")
half = float16
double = float64

_ALL = [
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64,
    float16, float32, float64, complex64, complex128,
]  # fmt: skip

bfloat16: DType | None
try:
    import ml_dtypes

    bfloat16 = DType("bfloat16", ml_dtypes.bfloat16, "float")
    _ALL.append(bfloat16)
except ImportError:
    bfloat16 = None

_BY_NUMPY: dict[Any, DType] = {d.np: d for d in _ALL}
_TABLE: dict[Any, DType] = {d.name: d for d in [*_ALL, string, resource]}
_TABLE.update({d.type: d for d in _ALL})
_TABLE.update({"half": float16, "double": float64, "float": float32, "int": int32, "str": string, "bytes": string})
_TABLE.update({float: float32, int: int32, bool: bool_, complex: complex64, str: string, bytes: string})
_TABLE.update({np.str_: string, np.bytes_: string, np.object_: string})


def finfo(dtype: DType) -> Any:
    """Limits of a floating type, bfloat16 included."""
    if dtype is bfloat16:
        return ml_dtypes.finfo(dtype.np)
    return np.finfo(dtype.np)


def as_dtype(value: Any) -> DType:
    """The DType for a DType, a name, a NumPy dtype or scalar type, or a Python type."""
    if type(value) is DType:
        return value
    try:
        found = _TABLE.get(value)
        if found is None and isinstance(value, str) and value.startswith("DT_"):
            found = _TABLE.get(value[3:].lower())
        if found is None and value is not None:
            found = from_numpy(np.dtype(value))
        if found is not None:
            return found
    except (TypeError, ValueError):
        pass
    names = ", ".join(sorted(k for k in _TABLE if isinstance(k, str)))
    raise errors.DTypeError(f"cannot convert {value!r} to a dtype", expected=f"one of {names}", got=repr(value))


def from_numpy(dtype: np.dtype[Any]) -> DType | None:
    """The DType for a NumPy dtype, or None where graphflow has none; byte order does not matter."""
    found = _BY_NUMPY.get(dtype)
    if found is not None:
        return found
    if dtype.kind in "SUO":
        return string
    return _BY_NUMPY.get(dtype.newbyteorder("="))
