"""The last, shorter block of a line: how many elements it has is known, so it is put together of smaller vectors.

Policy: elements that are not there are copies of the first ones, which can do no harm; only those that are there are
stored.  Whether a block is a whole one is told by `whole`, a variable of the kernel.

State: none.
"""

from __future__ import annotations

from graphflow.dtypes import DType
from graphflow_opencl.registers import broadcast_scalar, load, register_type, store

DIGITS = "0123456789abcdef"  # how OpenCL C names the elements of a vector


def _pieces(count: int, most: int) -> list[tuple[int, int]]:
    """So many elements as vectors of at most that width: where each begins, and its width."""
    out = []
    begin = 0
    width = 16
    while begin < count:
        while width > min(most, count - begin):
            width //= 2
        out.append((begin, width))
        begin += width
    return out


def load_tail(dtype: DType, width: int, count: int, pointer: str, index: str) -> str:
    """A register of which the first `count` elements are there."""
    parts = [load(dtype, w, pointer, f"{index} + {begin}") for begin, w in _pieces(count, width)]
    parts += [load(dtype, w, pointer, index) for _, w in _pieces(width - count, count)]
    return f"({register_type(dtype, width)})({', '.join(parts)})"


def store_tail(dtype: DType, count: int, pointer: str, index: str, value: str) -> str:
    """Statements that store the first `count` elements of a register."""
    return " ".join(
        store(dtype, w, pointer, f"{index} + {begin}", f"({value}).s{DIGITS[begin : begin + w]}")
        for begin, w in _pieces(count, 16)
    )


def only_first(dtype: DType, width: int, count: int, value: str, other: str) -> str:
    """A register whose elements from `count` on are another one."""
    parts = [f"({value}).s{DIGITS[begin : begin + w]}" for begin, w in _pieces(count, width)]
    parts += [broadcast_scalar(dtype, w, other) for _, w in _pieces(width - count, width)]
    return f"({register_type(dtype, width)})({', '.join(parts)})"


def load_block(dtype: DType, width: int, tail: int, pointer: str, index: str) -> str:
    """A register of elements, of which only the first `tail` are there, unless it is 0."""
    return load_tail(dtype, width, tail, pointer, index) if tail else load(dtype, width, pointer, index)


def store_block(dtype: DType, width: int, tail: int, pointer: str, index: str, value: str) -> str:
    """Statements that store a register, or its first `tail` elements."""
    return store_tail(dtype, tail, pointer, index, value) if tail else store(dtype, width, pointer, index, value)
