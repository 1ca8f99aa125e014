"""The dtype in which tensors of different dtypes meet, as PyTorch has it.

Policy: complex beats floating point, that beats integers, these beat bool; within a kind the wider dtype wins, and
a tensor with axes beats a scalar, which beats a Python number.  TensorFlow's functions promote nothing: this is for
Python's operators and PyTorch's spellings alone.

State: the table of pairs that were worked out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import casting, dtypes
from graphflow.dtypes import DType
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError
from graphflow.ops import casts

_RANKS = {"bool": 0, "int": 1, "uint": 1, "float": 2, "complex": 3}
_OF_LITERALS = {bool: 0, int: 1, float: 2, complex: 3}
_DEFAULTS = (dtypes.bool_, dtypes.int64, dtypes.float32, dtypes.complex64)
_pairs: dict[tuple[DType, DType], DType] = {}


def common_dtype(a: DType, b: DType) -> DType:
    """Where two dtypes of equal standing meet."""
    if a is b:
        return a
    found = _pairs.get((a, b))
    if found is None:
        first, second = _RANKS.get(a.kind), _RANKS.get(b.kind)
        if first is None or second is None:
            raise DTypeError("these dtypes do not mix", got=f"{a.name} and {b.name}")
        if first == second or 3 in (first, second):
            met = dtypes.from_numpy(np.promote_types(a.np, b.np))
            if met is None or met.kind not in (a.kind, b.kind, "int"):
                raise DTypeError("no dtype holds both", got=f"{a.name} and {b.name}", hint=f"x.to({a.name})")
            found = met
        else:
            found = a if first > second else b
        _pairs[a, b] = found
    return found


def result_type(a: EagerTensor, b: EagerTensor) -> DType:
    """The dtype of what is computed from both."""
    if a.dtype is b.dtype:
        return a.dtype
    if bool(a.dims) != bool(b.dims):
        vector, scalar = (a, b) if a.dims else (b, a)
        if _RANKS.get(scalar.dtype.kind, -1) <= _RANKS.get(vector.dtype.kind, -1):
            return vector.dtype
    return common_dtype(a.dtype, b.dtype)


def as_dtype_of(x: EagerTensor, dtype: DType) -> Any:
    """The tensor in a dtype."""
    return x if x.dtype is dtype else casts.cast(x, dtype)


def inexact(x: Any) -> Any:
    """The tensor, integers and bools as float32: for functions whose values are fractions."""
    if isinstance(x, EagerTensor) and not (x.dtype.is_floating or x.dtype.is_complex):
        return casts.cast(x, dtypes.float32)
    return x


def countable(x: Any) -> Any:
    """The tensor, integers and bools as int64: for sums and products."""
    if isinstance(x, EagerTensor) and _RANKS.get(x.dtype.kind, 2) < 2:
        return as_dtype_of(x, dtypes.int64)
    return x


def pair(x: Any, y: Any) -> tuple[Any, Any]:
    """The operands of a binary operator, one of them an eager tensor, in a dtype that both have."""
    if type(x) is EagerTensor and type(y) is EagerTensor:
        if x.dtype is y.dtype:
            return x, y
        found = result_type(x, y)
        return as_dtype_of(x, found), as_dtype_of(y, found)
    if type(x) is EagerTensor:
        return _beside(x, y)
    if type(y) is EagerTensor:
        return _beside(y, x)[::-1]
    return x, y


def _beside(x: EagerTensor, other: Any) -> tuple[Any, Any]:
    """A tensor and what is no eager tensor."""
    rank = _OF_LITERALS.get(type(other))
    if rank is None:
        if isinstance(other, np.generic):
            return _beside(x, other.item())
        if isinstance(other, np.ndarray):
            return pair(x, EagerTensor(other, _known(other)))
        return x, other
    own = _RANKS.get(x.dtype.kind, -1)
    if rank <= own:
        return x, int(other) if rank == 0 and own else other
    return as_dtype_of(x, _DEFAULTS[rank]), other


def _known(array: np.ndarray[Any, Any]) -> DType:
    return casting.literal_dtype(array, from_python=False)
