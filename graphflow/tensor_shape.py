"""`TensorShape` and `Dimension`: the public, TensorFlow 1 spelling of a partial shape.

Policy: the library itself computes with dims (see `spec`); these classes are what users get from
`tensor.shape` and `tensor.get_shape()`, and what they may pass wherever a shape is wanted.

State: none; both classes are immutable.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from graphflow import spec
from graphflow.errors import DTypeError, OutOfRangeError, ShapeError, SymbolicUseError


class Dimension:
    """One dimension of a shape: an int, or unknown (`.value is None`)."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: int | None = as_dimension(value)

    def __int__(self) -> int:
        if self.value is None:
            raise SymbolicUseError(
                "the dimension is unknown while the graph is built",
                hint="tf.shape(x)[i] is a tensor; in a forward or a traced function: x.size(i)",
            )
        return self.value

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        try:
            value = as_dimension(other)
        except (TypeError, ValueError):
            return NotImplemented
        return self.value == value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Dimension({self.value})"

    def __str__(self) -> str:
        return "?" if self.value is None else str(self.value)

    def _combine(self, other: Any, function: Any, swap: bool = False) -> Any:
        try:
            value = as_dimension(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self.value is None or value is None:
            return Dimension(None)
        return Dimension(function(value, self.value) if swap else function(self.value, value))

    def __add__(self, other: Any) -> Any:
        return self._combine(other, operator.add)

    def __sub__(self, other: Any) -> Any:
        return self._combine(other, operator.sub)

    def __mul__(self, other: Any) -> Any:
        return self._combine(other, operator.mul)

    def __floordiv__(self, other: Any) -> Any:
        return self._combine(other, operator.floordiv)

    def __mod__(self, other: Any) -> Any:
        return self._combine(other, operator.mod)

    def __rsub__(self, other: Any) -> Any:
        return self._combine(other, operator.sub, swap=True)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._combine(other, operator.floordiv, swap=True)

    __radd__ = __add__
    __rmul__ = __mul__
    __truediv__ = __floordiv__
    __div__ = __floordiv__

    def _order(self, other: Any, function: Any) -> bool | None:
        value = as_dimension(other)
        return None if self.value is None or value is None else bool(function(self.value, value))

    def __lt__(self, other: Any) -> bool | None:
        return self._order(other, operator.lt)

    def __le__(self, other: Any) -> bool | None:
        return self._order(other, operator.le)

    def __gt__(self, other: Any) -> bool | None:
        return self._order(other, operator.gt)

    def __ge__(self, other: Any) -> bool | None:
        return self._order(other, operator.ge)


def as_dimension(value: Any) -> int | None:
    """An int >= 0, or None for unknown."""
    if value is None or type(value) is int and value >= 0:
        return value
    if isinstance(value, Dimension):
        return value.value
    if isinstance(value, bool):
        raise DTypeError("a dimension is an integer or None", got=repr(value))
    try:
        number = operator.index(value)
    except TypeError:
        raise DTypeError("a dimension is an integer or None", got=repr(value)) from None
    if number < 0:
        raise ShapeError("a dimension cannot be negative", expected="an integer >= 0, or None", got=str(number))
    return number


class TensorShape:
    """A partial shape; `TensorShape(None)` has unknown rank."""

    __slots__ = ("_dims",)

    def __init__(self, dims: Any) -> None:
        self._dims = as_dims(dims)

    @property
    def dims(self) -> list[Dimension] | None:
        """The dimensions, or None where the rank is unknown."""
        return None if self._dims is None else [Dimension(d) for d in self._dims]

    @property
    def ndims(self) -> int | None:
        """The rank, or None."""
        return None if self._dims is None else len(self._dims)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """The dimensions as a list of ints and Nones."""
        if self._dims is None:
            raise ShapeError("as_list() is not defined on a shape of unknown rank", hint="set_shape() makes it known")
        return list(self._dims)

    def as_tuple(self) -> spec.Dims:
        """The dims that the library computes with."""
        return self._dims

    def is_fully_defined(self) -> bool:
        """Whether every dimension is known."""
        return spec.is_concrete(self._dims)

    def assert_is_fully_defined(self) -> None:
        """Raise unless every dimension is known."""
        if not self.is_fully_defined():
            raise ShapeError("the shape is not fully known", got=spec.describe(self._dims))

    def num_elements(self) -> int | None:
        """The number of elements, or None where it is unknown."""
        return spec.numel([int(d) for d in self.as_list() if d is not None]) if self.is_fully_defined() else None

    def is_compatible_with(self, other: Any) -> bool:
        """Whether some concrete shape fits both."""
        return spec.compatible(self._dims, as_dims(other))

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raise unless some concrete shape fits both."""
        spec.merge(self._dims, as_dims(other))

    def merge_with(self, other: Any) -> TensorShape:
        """The shape that knows what either knows."""
        return TensorShape(spec.merge(self._dims, as_dims(other)))

    def concatenate(self, other: Any) -> TensorShape:
        """This shape followed by the other."""
        tail = as_dims(other)
        return TensorShape(None if self._dims is None or tail is None else self._dims + tail)

    def with_rank(self, rank: int) -> TensorShape:
        """The same shape, which must have that rank."""
        if self._dims is not None and len(self._dims) != rank:
            raise ShapeError(f"expected rank {rank}", got=spec.describe(self._dims))
        return self.merge_with((None,) * rank)

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """The same shape, which must have that rank or more."""
        if self._dims is not None and len(self._dims) < rank:
            raise ShapeError(f"expected rank {rank} or more", got=spec.describe(self._dims))
        return self

    def assert_has_rank(self, rank: int) -> None:
        """Raise unless the rank is `rank` or unknown."""
        self.with_rank(rank)

    def assert_same_rank(self, other: Any) -> None:
        """Raise where both ranks are known and differ."""
        dims = as_dims(other)
        if self._dims is not None and dims is not None and len(self._dims) != len(dims):
            raise ShapeError("ranks differ", expected=spec.describe(self._dims), got=spec.describe(dims))

    def __len__(self) -> int:
        return len(self.as_list())

    def __bool__(self) -> bool:
        return self._dims is not None

    def __iter__(self) -> Iterator[Dimension]:
        return (Dimension(d) for d in self.as_list())

    def __getitem__(self, key: Any) -> Any:
        if self._dims is None:
            return TensorShape(None) if isinstance(key, slice) else Dimension(None)
        try:
            found = self._dims[key]
        except IndexError:
            rank = f"{len(self._dims)} dimensions"
            raise OutOfRangeError("the shape has no such dimension", expected=rank, got=f"[{key!r}]") from None
        return TensorShape(found) if isinstance(key, slice) else Dimension(found)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __eq__(self, other: object) -> bool:
        try:
            return self._dims == as_dims(other)
        except (TypeError, ValueError):
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self._dims)

    def __repr__(self) -> str:
        return f"TensorShape({None if self._dims is None else [Dimension(d) for d in self._dims]})"

    def __str__(self) -> str:
        if self._dims is None:
            return "<unknown>"
        inner = ", ".join("?" if d is None else str(d) for d in self._dims)
        return f"({inner},)" if len(self._dims) == 1 else f"({inner})"


def as_dims(value: Any) -> spec.Dims:
    """The dims for whatever a user may give as a shape."""
    if value is None:
        return None
    if isinstance(value, TensorShape):
        return value.as_tuple()
    if isinstance(value, (tuple, list)):
        return tuple(as_dimension(d) for d in value)
    if isinstance(value, Dimension):
        return (value.value,)
    if hasattr(value, "ndim") and value.ndim > 1:
        raise ShapeError("a shape is a vector of sizes", got=f"an array of rank {value.ndim}")
    if hasattr(value, "tolist"):
        value = value.tolist()
        return tuple(map(as_dimension, value)) if isinstance(value, list) else (as_dimension(value),)
    if isinstance(value, (str, bytes)):
        raise DTypeError("a shape is a sequence of sizes", got=repr(value))
    try:
        return tuple(as_dimension(d) for d in value)
    except TypeError:
        return (as_dimension(value),)
