"""float16 moved as bits, and converted in registers.

Policy: PoCL 3.0 takes what `vload_half8` and its kin read or write for aligned, and may fault where it is not; words of
16 bits have no such trouble.

State: none.
"""

from __future__ import annotations

from graphflow.dtypes import DType, float16, uint16
from graphflow_opencl.registers import load, store, vector
from graphflow_opencl.tails import load_tail, store_tail


def moved_as(dtype: DType) -> DType:
    """The dtype that elements are moved as."""
    return uint16 if dtype == float16 else dtype


def load_block(dtype: DType, width: int, tail: int, pointer: str, index: str) -> str:
    """A register of elements, of which only the first `tail` are there, unless it is 0."""
    moved = moved_as(dtype)
    found = load_tail(moved, width, tail, pointer, index) if tail else load(moved, width, pointer, index)
    return f"gf_halves_{vector('float', width)}({found})" if dtype == float16 else found


def store_block(dtype: DType, width: int, tail: int, pointer: str, index: str, value: str) -> str:
    """Statements that store a register, or its first `tail` elements."""
    if dtype == float16:
        value = f"gf_half_bits_{vector('float', width)}({value})"
    if tail:
        return store_tail(moved_as(dtype), tail, pointer, index, value)
    return store(moved_as(dtype), width, pointer, index, value)
