"""What users write where an op takes a shape, an axis or a number that must be known while the graph is built.

Policy: a shape is a list (with tensors in it), a TensorShape, an integer, an array or an integer tensor.  An axis is
an integer, or a tensor whose value follows from the graph alone.  Whatever else comes is a typed error that says so.

State: none.
"""

from __future__ import annotations

import operator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from graphflow import constants, dtypes, spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def as_tensor(value: Any) -> Tensor:
    """The value as a tensor: variables and slices of rows included."""
    return value if isinstance(value, Tensor) else constants.convert_to_tensor(value)


def is_symbolic(value: Any) -> bool:
    """Whether it is a tensor, or something that stands for one (a variable)."""
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def is_integer(value: Any) -> bool:
    """Whether it is a plain integer: Python's, NumPy's or a known Dimension."""
    if type(value) is int:
        return True
    if isinstance(value, (bool, np.bool_)) or is_symbolic(value) or isinstance(value, (list, tuple)):
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError):
        return False
    return True


def static_value(value: Any) -> np.ndarray[Any, Any] | None:
    """The value as an array, as far as the graph alone tells it; None where it is known only in a run."""
    if is_symbolic(value):
        tensor = as_tensor(value)
        if tensor.op.type == "Const":
            return np.asarray(tensor.op.attrs["value"])
        hint = tensor.hint
        if hint is None or isinstance(hint, tuple) and None in hint:
            return None
        return np.asarray(hint, tensor.dtype.np)
    if isinstance(value, (list, tuple)) and constants._holds_tensor(value):
        parts = [static_value(v) for v in value]
        return None if any(p is None for p in parts) else np.asarray([np.asarray(p).tolist() for p in parts])
    return np.asarray(constants._plain(value))


def integers_or_none(value: Any, what: str) -> Any:
    """An int, or a (nested) tuple of ints; None where they are known only in a run."""
    if type(value) is int:
        return value
    if value is None:
        raise InvalidArgumentError(f"{what} is missing")
    found = static_value(value)
    if found is None:
        if isinstance(value, Tensor) and not value.dtype.is_integer:
            raise DTypeError(f"{what} is an integer", got=f"{value.name} is {value.dtype.name}")
        return None
    if found.dtype.kind not in "iu" and found.size:
        raise DTypeError(f"{what} is an integer", got=repr(value)[:80])
    return _as_tuple(found.tolist()) if found.size or found.ndim else ()


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else int(value)


def known_integer(value: Any, what: str = "axis") -> int:
    """An integer that must be known while the graph is built."""
    if type(value) is int:
        return value
    found = integers_or_none(value, what)
    if found is None:
        raise _only_in_a_run(value, what)
    if isinstance(found, tuple):
        if len(found) != 1 or isinstance(found[0], tuple):
            raise ShapeError(f"{what} is a single integer", got=repr(value)[:80])
        found = found[0]
    return int(found)


def known_integers(value: Any, what: str = "axis") -> tuple[int, ...]:
    """A vector of integers (or one integer) that must be known while the graph is built."""
    if type(value) is int:
        return (value,)
    found = integers_or_none(value, what)
    if found is None:
        raise _only_in_a_run(value, what)
    if isinstance(found, int):
        return (found,)
    if any(isinstance(v, tuple) for v in found):
        raise ShapeError(f"{what} is a vector of integers", got=repr(value)[:80])
    return tuple(found)


def _only_in_a_run(value: Any, what: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{what} must be known while the graph is built",
        got=f"{getattr(value, 'name', repr(value)[:80])}, which has a value only in a run",
        hint="give a Python integer",
    )


def shape_vector(shape: Any, what: str = "shape") -> Any:
    """A shape as users write it, as something that becomes an integer vector when it is an input of an op."""
    if isinstance(shape, (list, tuple)):
        kinds = set(map(type, shape))
        if kinds <= {int} and all(-(2**31) <= d < 2**31 for d in shape):
            return np.array(shape, np.int32)
        if type(None) in kinds:
            raise ShapeError(
                f"a {what} to compute with has no unknown sizes",
                got=str(list(shape)),
                hint="tf.shape(x)[i] is a size as it is in the run; in tf.reshape, -1 is what follows from the others",
            )
        return shape
    if shape is None:
        raise ShapeError(f"the {what} is missing", got="None")
    if isinstance(shape, Tensor):
        return constants._pack[0]([shape]) if shape.dims == () else shape
    if is_integer(shape):
        return [int(shape)]
    return np.zeros(0, np.int32) if getattr(shape, "size", 1) == 0 and not is_symbolic(shape) else shape


def check_scalar(x: Any, what: str) -> None:
    """Raise unless the tensor may have rank 0."""
    if x.dims is not None and len(x.dims):
        raise ShapeError(f"{what} is a scalar", expected="[]", got=spec.describe(x.dims))


def check_vector(x: Any, what: str) -> None:
    """Raise unless the tensor may have rank 1."""
    if x.dims is not None and len(x.dims) != 1:
        raise ShapeError(f"{what} is a vector", expected="rank 1", got=spec.describe(x.dims))


def check_index(x: Any, what: str) -> None:
    """Raise unless the tensor holds integers."""
    if not x.dtype.is_integer:
        raise DTypeError(
            f"{what} are integers",
            expected="int32 or int64",
            got=f"{getattr(x, 'name', 'the input')} is {x.dtype.name}",
            hint="tf.cast(x, tf.int32)",
        )


def vector_hint(x: Any) -> tuple[Any, ...] | None:
    """What is known of the entries of a short integer vector: at least how many they are."""
    hint: Any = x.hint
    if hint is not None:
        return hint if isinstance(hint, tuple) else None
    if x.dims is None or len(x.dims) != 1 or x.dims[0] is None or x.dims[0] > constants.MAX_HINT:
        return None
    count: int = x.dims[0]
    return (None,) * count


def useful_hint(entries: Any) -> Any:
    """The hint, unless it says nothing or is too long to keep."""
    if not isinstance(entries, tuple):
        return entries
    if len(entries) > constants.MAX_HINT or entries and all(e is None for e in entries):
        return None
    return entries


def reshaped_hint(x: Any, dims: spec.Dims) -> Any:
    """The hint of the same elements in another shape: between scalars and vectors of one element."""
    hint = x.hint
    if hint is None or dims is None or len(dims) > 1:
        return None
    if not dims:
        return hint[0] if isinstance(hint, tuple) and len(hint) == 1 else None if isinstance(hint, tuple) else hint
    return hint if isinstance(hint, tuple) else (hint,)


def zero_of(dtype: dtypes.DType) -> Any:
    """A scalar zero (the empty text for strings)."""
    return b"" if dtype is dtypes.string else dtype.type(0)


def one_of(dtype: dtypes.DType) -> Any:
    """A scalar one."""
    if not (dtype.is_numeric or dtype.is_bool):
        raise DTypeError(f"dtype {dtype.name} has no one")
    return dtype.type(1)
