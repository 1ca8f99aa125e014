"""Signatures: what tells the calls of a traced function apart.

Policy: tensors and arrays count by dtype and shape, plain Python values by value and type, every other object by
itself.  Objects are held weakly where Python can, so that a signature keeps no model alive.  Whether a module is in
training belongs to the signature, because its Python code asks for that while it is traced.

State: none.
"""

from __future__ import annotations

import copy
import inspect
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from graphflow import spec
from graphflow.constants import convert_to_tensor
from graphflow.eager.engine import EAGER
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import DTypeError, ShapeError
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

PLAIN = frozenset({int, str, bool, bytes, type(None)})
ARRAYS = (np.ndarray, np.generic)
_LIBRARIES = sys.stdlib_module_names | {"numpy"}  # whose values, such as ranges and paths, are equal only if alike


class Parts:
    """The arguments of a call, taken apart: a key, the tensors among them, and the way back."""

    __slots__ = ("key", "kinds", "objects", "symbolic", "tensors")

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.tensors: list[EagerTensor] = []
        self.objects: list[Any] = []  # those that are held weakly
        self.symbolic = False  # whether a tensor of a graph is among them
        self.kinds: list[tuple[str, Any]] = []  # by parameter, what it contributed: for the notice of many traces
        for name, value in names.items():
            self.kinds.append((name, self._key_of(value)))
        self.key = tuple([kind for _, kind in self.kinds])

    def _key_of(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, Tensor):
            if isinstance(value, EagerTensor):
                self.tensors.append(value)
                return value.dtype, value.dims
            self.symbolic = True
            return value
        if kind in PLAIN:
            return kind, value
        if kind is float or kind is complex:
            return kind, repr(value)  # tells 0.0 from -0.0, and one NaN is like another
        if isinstance(value, ARRAYS):
            self.tensors.append(as_eager(value))
            return self.tensors[-1].dtype, self.tensors[-1].dims
        if isinstance(value, Mapping):
            return kind, tuple([(type(k), k, self._key_of(value[k])) for k in value])
        if isinstance(value, (list, tuple, deque)):
            return kind, tuple([self._key_of(v) for v in value])
        if isinstance(value, (set, frozenset)):
            return kind, frozenset([(type(v), _itself(v)) for v in value])
        if kind is bytearray:
            return kind, bytes(value)
        itself = _itself(value)
        if type(itself) is _Same and itself.weak:
            self.objects.append(value)
        return kind, itself, getattr(value, "training", None)


def as_eager(value: Any) -> EagerTensor:
    """An array of the caller as a tensor."""
    return cast("EagerTensor", convert_to_tensor(value, graph=EAGER))


def _itself(value: Any) -> Any:
    """A key that is equal for the same object, or for equal ones of immutable kinds of Python and NumPy."""
    kind = type(value)
    if isinstance(value, tuple):
        return kind, tuple([(type(v), _itself(v)) for v in value])
    if isinstance(value, frozenset):
        return kind, frozenset([(type(v), _itself(v)) for v in value])
    if kind is float or kind is complex:
        return repr(value)
    known = kind.__module__.partition(".")[0] in _LIBRARIES and kind.__weakrefoffset__ == 0
    return value if known and _has_hash(value) else _Same(value)


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


class _Same:
    """Equal to itself for the same object; holds one that cannot be referred to weakly."""

    __slots__ = ("number", "value", "weak")

    def __init__(self, value: Any) -> None:
        self.number = id(value)  # the hash, which must stay when the object is gone
        try:
            self.value: Any = weakref.ref(value)
            self.weak = True
        except TypeError:
            self.value, self.weak = lambda: value, False

    def __eq__(self, other: object) -> bool:
        mine = self.value()
        return type(other) is _Same and mine is not None and mine is other.value()

    def __hash__(self) -> int:
        return self.number


def symbols_in(value: Any, symbols: Any) -> Any:
    """The structure with its tensors and arrays replaced, in their order, by the next symbols."""
    if isinstance(value, (Tensor, *ARRAYS)):
        return next(symbols)
    if isinstance(value, Mapping):
        parts = {k: symbols_in(v, symbols) for k, v in value.items()}
        if type(value) is dict:
            return parts
        if not isinstance(value, dict):
            mapping: Any = type(value)
            return mapping(parts)
        made: Any = copy.copy(value)  # with what else it knows, such as its default
        for k, part in parts.items():
            made[k] = part
        return made
    if isinstance(value, deque):
        return deque([symbols_in(v, symbols) for v in value], value.maxlen)
    if isinstance(value, (list, tuple)):
        found = [symbols_in(v, symbols) for v in value]
        kind: Any = type(value)
        return kind(*found) if hasattr(kind, "_fields") else kind(found)
    return value


def modules_around(function: Callable[..., Any]) -> list[Any]:
    """Weak references to what can be in training or not: the function itself, its object, what its code names."""
    found = [function, getattr(function, "__self__", None)]
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    if code is not None:
        found += [cell.cell_contents for cell in getattr(plain, "__closure__", None) or () if _filled(cell)]
        found += [plain.__globals__[name] for name in code.co_names if name in plain.__globals__]
    modules = [x for x in found if isinstance(getattr(x, "training", None), bool) and not isinstance(x, type)]
    return [weakref.ref(x) for x in modules]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # the name has no value yet
        return False


def check_declared(declared: Sequence[TensorSpec], tensors: Sequence[EagerTensor]) -> None:
    """Raise unless the tensors are what the input signature declares."""
    if len(declared) != len(tensors):
        raise ShapeError(
            "the input signature has another number of tensors", expected=str(len(declared)), got=str(len(tensors))
        )
    for number, (known, x) in enumerate(zip(declared, tensors, strict=True)):
        if known.dtype is not x.dtype:
            raise DTypeError(
                f"tensor {number} is not what the input signature declares",
                expected=known.dtype.name,
                got=x.dtype.name,
            )
        if not spec.compatible(known.dims, x.dims):
            raise ShapeError(
                f"tensor {number} is not what the input signature declares",
                expected=spec.describe(known.dims),
                got=spec.describe(x.dims),
            )
