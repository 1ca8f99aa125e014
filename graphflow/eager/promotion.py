"""The dtype in which tensors of different dtypes meet, as PyTorch has it.

Policy: complex beats floating point, that beats integers, these beat bool; within a kind the wider dtype wins, and
a tensor with axes beats a scalar, which beats a Python number.  TensorFlow's functions promote nothing: this is for
Python's operators and PyTorch's spellings alone.

State: the table of pairs that were worked out, and which classes of tensors follow the rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import casting, dtypes
from graphflow.dtypes import DType
from graphflow.eager.preferences import default_of, preferred
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import trace_here
from graphflow.errors import DTypeError
from graphflow.ops import casts, core
from graphflow.tensor import Tensor

_RANKS = {"bool": 0, "int": 1, "uint": 1, "float": 2, "complex": 3}
_OF_LITERALS = {bool: 0, int: 1, float: 2, complex: 3}
_pairs: dict[tuple[DType, DType], DType] = {}
_speaking: tuple[type, ...] = (EagerTensor,)


def let_promote(kind: type) -> None:
    """Tensors of this class follow the rules too; called once by those of traced functions."""
    global _speaking
    _speaking = (*_speaking, kind)


def promotes(x: Any) -> bool:
    """Whether it is a tensor that follows these rules."""
    return isinstance(x, _speaking)


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
    """The tensor, integers and bools in the default dtype: for functions whose values are fractions."""
    if promotes(x) and not (x.dtype.is_floating or x.dtype.is_complex):
        return casts.cast(x, preferred.floats)
    return x


def countable(x: Any) -> Any:
    """The tensor, integers and bools as int64: for sums and products."""
    if promotes(x) and _RANKS.get(x.dtype.kind, 2) < 2:
        return as_dtype_of(x, dtypes.int64)
    return x


def truth(x: Any) -> Any:
    """The tensor, or the number, as bools: all but 0 is true."""
    if isinstance(x, Tensor):
        return x if x.dtype.is_bool else casts.cast(x, dtypes.bool_)
    return bool(x) if type(x) in _OF_LITERALS else x


def numbers_together(x: Any, y: Any) -> tuple[Any, Any]:
    """Two Python numbers as tensors of the dtype in which they meet; other pairs as they are."""
    if type(x) not in _OF_LITERALS or type(y) not in _OF_LITERALS:
        return x, y
    dtype = default_of(max(_OF_LITERALS[type(x)], _OF_LITERALS[type(y)]))
    return core.constant(x, dtype), core.constant(y, dtype)


def pair(x: Any, y: Any) -> tuple[Any, Any]:
    """The operands of a binary operator, one of them an eager tensor, in a dtype that both have."""
    if type(x) is EagerTensor and type(y) is EagerTensor or promotes(x) and promotes(y):
        if x.dtype is y.dtype:
            return x, y
        found = result_type(x, y)
        return as_dtype_of(x, found), as_dtype_of(y, found)
    if promotes(x):
        return _beside(x, y)
    if promotes(y):
        return _beside(y, x)[::-1]
    return x, y


def _beside(x: EagerTensor, other: Any) -> tuple[Any, Any]:
    """A tensor and what is no eager tensor."""
    rank = _OF_LITERALS.get(type(other))
    if rank is None:
        if isinstance(other, np.generic):
            return _beside(x, other.item())
        if isinstance(other, np.ndarray):
            return pair(x, EagerTensor(other if _at_once(x) else other.copy(), _known(other)))
        return x, other
    own = _RANKS.get(x.dtype.kind, -1)
    if rank <= own:
        return x, int(other) if rank == 0 and own else other
    return as_dtype_of(x, default_of(rank)), other


def _at_once(x: Any) -> bool:
    """Whether nothing remembers the operands: what a gradient or a trace keeps must not change with the array."""
    return type(x) is EagerTensor and not x.track and trace_here() is None


def _known(array: np.ndarray[Any, Any]) -> DType:
    return casting.literal_dtype(array, from_python=False)
