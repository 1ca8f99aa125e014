"""Nested structures of lists, tuples, named tuples and dicts: flatten, and pack again.

Policy: dicts go by sorted key, as TensorFlow's `nest` has it.  Depth is what a person typed, so recursion is fine.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graphflow.errors import InvalidArgumentError


def is_nested(item: Any) -> bool:
    """Whether it is a structure and not a leaf."""
    return isinstance(item, (list, tuple, Mapping))


def flatten(item: Any) -> list[Any]:
    """The leaves, from left to right."""
    if isinstance(item, Mapping):
        return [leaf for key in sorted(item) for leaf in flatten(item[key])]
    if isinstance(item, (list, tuple)):
        return [leaf for part in item for leaf in flatten(part)]
    return [item]


def pack(like: Any, leaves: Sequence[Any]) -> Any:
    """The leaves in the structure of `like`."""
    supply = iter(leaves)
    packed = _pack(like, supply)
    if next(supply, supply) is not supply:
        raise InvalidArgumentError("more values than the structure has places")
    return packed


def _pack(like: Any, supply: Iterator[Any]) -> Any:
    if isinstance(like, Mapping):
        filled = {key: _pack(like[key], supply) for key in sorted(like)}
        return {key: filled[key] for key in like}
    if isinstance(like, (list, tuple)):
        parts = [_pack(part, supply) for part in like]
        kind: Any = type(like)
        return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    return next(supply)


def same_structure(a: Any, b: Any) -> bool:
    """Whether two structures have their leaves at the same places."""
    if is_nested(a) != is_nested(b):
        return False
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and sorted(a) == sorted(b) and all(same_structure(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return (
            isinstance(b, (list, tuple))
            and len(a) == len(b)
            and all(same_structure(x, y) for x, y in zip(a, b, strict=True))
        )
    return True


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """`function` of the corresponding leaves, in the same structure."""
    columns = [flatten(s) for s in structures]
    return pack(structures[0], [function(*row) for row in zip(*columns, strict=True)])
