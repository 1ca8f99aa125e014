"""Numbers that kernels read and must not trust: indices, lengths, places where a slice begins.

Policy: a number out of range is reported through the launch's status word, by its position, and stands for 0, so that
nothing outside of an array is ever touched; nobody sees what was computed with it.

State: none; its functions stand in `library`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphflow.dtypes import DType
from graphflow.errors import InvalidArgumentError
from graphflow_opencl import library
from graphflow_opencl.axes import Extra
from graphflow_opencl.registers import storage_type
from graphflow_opencl.table import Site, Status

library.function(
    "gf_checked",
    """long gf_checked(long value, long bound, volatile __global int *status, long position) {
    if (value >= 0 && value < bound) return value;
    atomic_min(status, (int)min(position, (long)2147483646));
    return 0;
}""",
)
STATUS = "volatile __global int *status"


def numbers(dtype: DType, name: str, value: int) -> Extra:
    """An input of integers as a parameter of that name."""
    return Extra(f"__global const {storage_type(dtype)} *{name}", value)


def report(explain: Callable[[int], Exception]) -> Extra:
    """The status word as the parameter `status`."""
    return Extra(STATUS, Status(explain))


def checked(value: str, bound: int, position: str) -> str:
    """C text of an index in [0, bound)."""
    return f"gf_checked((long)({value}), {bound}L, status, {position})"


def wrapped(value: str, bound: int, position: str) -> str:
    """The same where negative numbers count from the end."""
    return checked(f"({value}) < 0 ? (long)({value}) + {bound}L : (long)({value})", bound, position)


def outside(site: Site, which: int, bound: int) -> Callable[[int], Exception]:
    """The error for an index of an input that leaves [0, bound), at a position in C order."""
    dims = site.dims_in(which)

    def explain(position: int) -> Exception:
        where = f"indices{[int(i) for i in np.unravel_index(position, dims)]}" if dims else "the index"
        return InvalidArgumentError(f"{where} is out of range", op=site.ins.op, expected=f"0 <= index < {bound}")

    return explain
