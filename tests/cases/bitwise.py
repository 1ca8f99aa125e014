"""The bits of integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import errors
from graphflow.ops import bitwise
from graphflow.ops.core import constant
from graphflow.testing import ErrorCase, OpCase

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def _bits(*values: int, dtype: str) -> Any:
    """Integers of a dtype that have these bits."""
    width = 8 * np.dtype(dtype).itemsize
    return np.array([v % 2**width for v in values], f"uint{width}").view(dtype)


def _each(function: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    """A function of Python's endless integers, one pair at a time, cut to the width."""

    def reference(x: Any, y: Any) -> Any:
        x, y = np.broadcast_arrays(x, y)
        found = [function(int(a), int(b)) for a, b in zip(x.flat, y.flat, strict=True)]
        return _bits(*found, dtype=x.dtype.name).reshape(x.shape)

    return reference


def _left(x: int, places: int) -> int:
    return x << places if 0 <= places <= 64 else 0


def _right(x: int, places: int) -> int:
    return x >> (places if 0 <= places <= 64 else 64)


def _turned(x: Any) -> Any:
    return _each(lambda a, b: ~a)(x, x)


_OPERATIONS: dict[str, tuple[Any, Callable[[int, int], int]]] = {
    "BitwiseAnd": (bitwise.bitwise_and, lambda x, y: x & y),
    "BitwiseOr": (bitwise.bitwise_or, lambda x, y: x | y),
    "BitwiseXor": (bitwise.bitwise_xor, lambda x, y: x ^ y),
}
_SHIFTS: dict[str, tuple[Any, Callable[[int, int], int]]] = {
    "LeftShift": (bitwise.left_shift, _left),
    "RightShift": (bitwise.right_shift, _right),
}
_NUMBERS = (0, 1, 2, 5, 0x55, 0x7F, 0x80, 0xAA, -1, -2, -7, -128, 3, 64, 100, 33, 12)
_PLACES = (0, 1, 2, 3, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, -1, -2, -64, -100)


def _cases() -> list[OpCase]:
    found = []
    for op, (build, one) in {**_OPERATIONS, **_SHIFTS}.items():
        others = _PLACES if op in _SHIFTS else _NUMBERS
        for dtype in INTEGERS:
            column = _bits(*_NUMBERS, dtype=dtype).reshape(-1, 1)
            found.append(OpCase(op, f"all pairs of {dtype}", build, (column, _bits(*others, dtype=dtype)), _each(one),
                                zero=(((0, 1), (3,)),)))  # fmt: skip
        found += [
            OpCase(op, "scalars", build, (np.int32(-77), np.int32(3)), _each(one)),
            OpCase(op, "a literal", lambda x, build=build: build(x, 5), (_bits(1, -9, 300, dtype="int64"),),
                   lambda x, one=one: _each(one)(x, np.int64(5)), zero=(((0,),),)),
        ]  # fmt: skip
    return found


CASES: list[OpCase] = [
    *_cases(),
    *(
        OpCase("Invert", dtype, bitwise.invert, (_bits(*_NUMBERS, dtype=dtype),), _turned,
               zero=(((0,),), ((2, 0),)))
        for dtype in INTEGERS
    ),
    OpCase("Invert", "scalar", bitwise.invert, (np.uint8(5),), lambda x: np.uint8(250)),
]  # fmt: skip

ERRORS: list[ErrorCase] = [
    ErrorCase("BitwiseAnd", "fractions", lambda: bitwise.bitwise_and([1.0], [2.0]), errors.DTypeError, "integer"),
    ErrorCase("BitwiseOr", "truths", lambda: bitwise.bitwise_or([True], [False]), errors.DTypeError, "integer"),
    ErrorCase("BitwiseXor", "shapes", lambda: bitwise.bitwise_xor([1, 2], [1, 2, 3]), errors.ShapeError, "broadcast"),
    ErrorCase("Invert", "fractions", lambda: bitwise.invert(0.5), errors.DTypeError, "integer"),
    ErrorCase("LeftShift", "two dtypes", lambda: bitwise.left_shift(constant([1]), constant([1], "int64")),
              errors.DTypeError, "int64"),
    ErrorCase("RightShift", "a fraction", lambda: bitwise.right_shift(constant([1]), 0.5), errors.DTypeError, "int32"),
]  # fmt: skip
