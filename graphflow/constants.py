"""Constants, and the conversion of whatever a user writes into a tensor.

Policy: literals follow TensorFlow 1 (Python float -> float32, int -> int32); next to a tensor a literal takes that
tensor's dtype if it fits without loss.  A constant keeps its own read-only array; rank 0 is a NumPy scalar.
Constants made in passing wait for no control dependency, so they can still be folded.

State: the table of conversion functions that users registered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import casting, dtypes, source
from graphflow.dtypes import DType
from graphflow.errors import DTypeError
from graphflow.graph import Graph, get_default_graph
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

MAX_HINT = 64
_FLOAT32_MAX = float(dtypes.float32.max)
_conversions: list[tuple[int, type[Any], Callable[..., Any]]] = []


def value_hint(value: Any) -> Any:
    """The hint of a small integer constant, for inference."""
    if value.dtype.kind not in "iu" or value.ndim > 1:
        return None
    if value.ndim == 0:
        return int(value)
    return tuple(value.tolist()) if value.size <= MAX_HINT else None


def constant_tensor(value: Any, dtype: DType, graph: Graph, name: str | None) -> Tensor:
    """A Const op for a NumPy value that belongs to nobody else."""
    known = TensorSpec(dtype, value.shape, value_hint(value))
    attrs = {"value": value, "dtype": dtype}
    return graph.add_operation("Const", (), attrs, (known,), name, source.user_frame()).outputs[0]


def freeze(array: np.ndarray[Any, Any]) -> Any:
    """A read-only copy; a NumPy scalar for rank 0 (a 0-d object array for text)."""
    if array.ndim == 0 and array.dtype != object:
        return array[()]
    own = array.copy()
    own.flags.writeable = False
    return own


def convert_to_tensor(
    value: Any,
    dtype: DType | None = None,
    name: str | None = None,
    preferred: DType | None = None,
    graph: Graph | None = None,
) -> Tensor:
    """The value as a tensor of `graph`; see `tf.convert_to_tensor`."""
    graph = graph or get_default_graph()
    wanted = dtype or preferred
    if type(value) is float and wanted is dtypes.float32 and -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        return _in_passing(np.float32(value), wanted, graph, name)
    if not isinstance(value, Tensor):
        convert = getattr(value, "_as_tensor", None)
        if convert is None:
            for _, kind, function in _conversions:
                if isinstance(value, kind):
                    value = function(value, dtype=dtype, name=name, as_ref=False)
                    break
        else:
            value = convert()
    if isinstance(value, Tensor):
        if dtype is not None and value.dtype is not dtype:
            raise DTypeError(
                "a tensor of another dtype",
                expected=dtype.name,
                got=f"{value.name} is {value.dtype.name}",
                hint=f"tf.cast(x, tf.{dtype.name})",
            )
        return graph.capture(value)
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        return _packed(value, wanted, name)
    array = _literal(value, dtype, preferred)
    found = dtypes.string if array.dtype == object else dtypes.from_numpy(array.dtype)
    assert found is not None
    return _in_passing(freeze(array), found, graph, name)


def _literal(value: Any, dtype: DType | None, preferred: DType | None) -> np.ndarray[Any, Any]:
    """The array; a preferred dtype that does not hold the value says so as well as a demanded one."""
    value = _plain(value)
    return casting.as_array(value, dtype or preferred)


def _plain(value: Any) -> Any:
    """Dimensions and shapes as the integers that they are."""
    if hasattr(value, "as_list") and hasattr(value, "ndims"):
        sizes = value.as_list()
        if None in sizes:
            raise DTypeError("a shape with unknown dimensions is not a value", got=str(value), hint="tf.shape(x)")
        return np.asarray(sizes, np.int32)
    if hasattr(value, "as_datatype_enum"):
        raise DTypeError("a dtype is not a value", got=repr(value))
    if type(value).__name__ == "Dimension":
        return int(value)
    if isinstance(value, (list, tuple)) and any(type(v).__name__ == "Dimension" for v in value):
        return [int(v) if type(v).__name__ == "Dimension" else v for v in value]
    return value


def _holds_tensor(value: Any) -> bool:
    stack, seen = [value], {id(value)}  # a list may hold itself
    while stack:
        for item in stack.pop():
            if isinstance(item, Tensor) or hasattr(item, "_as_tensor"):
                return True
            if isinstance(item, (list, tuple)) and id(item) not in seen:
                seen.add(id(item))
                stack.append(item)
    return False


def _tensor_dtype(values: Any) -> DType | None:
    """The dtype of a tensor in a (nested) list, which the literals beside it take."""
    stack = [values]
    while stack:
        for item in stack.pop():
            if isinstance(item, Tensor) or hasattr(item, "_as_tensor"):
                found: DType = item.dtype
                return found
            if isinstance(item, (list, tuple)):
                stack.append(item)
    return None


_pack: list[Callable[..., Tensor]] = []


def bind_pack(stack: Callable[..., Tensor]) -> None:
    """Tell which op makes a tensor of a list of tensors; called once by the vocabulary."""
    _pack[:] = [stack]


def _packed(values: Any, dtype: DType | None, name: str | None) -> Tensor:
    """Stack a (nested) list that holds tensors; nesting is as deep as the user typed it."""
    if dtype is None:
        dtype = _tensor_dtype(values)
    parts = [_packed(v, dtype, None) if isinstance(v, (list, tuple)) and _holds_tensor(v) else v for v in values]
    parts = [convert_to_tensor(v, preferred=dtype) for v in parts]
    return _pack[0](parts, name=name)


def _in_passing(value: Any, dtype: DType, graph: Graph, name: str | None) -> Tensor:
    before = graph.scope
    if not before.controls and before.region is None:
        return constant_tensor(value, dtype, graph, name)
    with graph.scoped(controls=(), region=None):
        return constant_tensor(value, dtype, graph, name)


def register_tensor_conversion_function(
    base_type: Any, conversion_func: Callable[..., Any], priority: int = 100
) -> None:
    """Convert objects of a type by `conversion_func(value, dtype=None, name=None, as_ref=False)`."""
    kinds = base_type if isinstance(base_type, tuple) else (base_type,)
    for kind in kinds:
        _conversions.append((priority, kind, conversion_func))
    _conversions.sort(key=lambda entry: entry[0])
