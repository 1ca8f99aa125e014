"""Groups for the tests of native code: built from op types and arrays, run natively and by the NumPy kernels."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import graphflow_numpy.kernels  # noqa: F401  # fills the kernel table
import numpy as np
from graphflow_numpy.native import engine, loops
from graphflow_numpy.table import TABLE

from graphflow import dtypes
from graphflow.opdef import OPS
from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec

Step = tuple[str, Sequence[int], Mapping[str, Any]]  # type, numbers of values, attributes; inputs come first


def program_of(arrays: Sequence[Any], steps: Sequence[Step], constants: Sequence[int] = ()) -> Program:
    """A program of these steps over these inputs."""
    values = [TensorSpec(dtypes.as_dtype(a.dtype), np.shape(a)) for a in arrays]
    instructions = []
    for key, (kind, inputs, attrs) in enumerate(steps):
        known = OPS[kind].infer(*[values[v] for v in inputs], **attrs)
        instructions.append(Instruction(key, kind, tuple(inputs), (len(values),), dict(attrs), (), None))  # type: ignore[arg-type]
        values.append(known)
    return Program(tuple(instructions), tuple(values), {v: arrays[v] for v in constants}, (), ())


def aligned(shape: tuple[int, ...], dtype: Any, offset: int = 0) -> Any:
    """Memory filled with a pattern, `offset` bytes from a multiple of 64."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.full(size + 128, 0xA5, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    return raw[start : start + size].view(dtype).reshape(shape)


def call(kernel: engine.Kernel, arrays: Sequence[Any], outs: Sequence[Any], pieces: Sequence[int] = ()) -> None:
    """Run a kernel; `pieces` are borders between ranges of units, run in reverse order."""
    scratch = [aligned((n,), np.uint8) for n in kernel.scratch]
    memory = [*arrays, *outs, *scratch]
    data = (ctypes.c_void_p * len(memory))(*[m.ctypes.data for m in memory])
    borders = [0, *pieces, kernel.units]
    function = kernel.call
    for begin, end in reversed(list(itertools.pairwise(borders))):
        function(ctypes.addressof(data), begin, end)
    if kernel.finish:
        engine.SIGNATURE(kernel.finish)(ctypes.addressof(data), 0, 1)


def run(
    arrays: Sequence[Any],
    steps: Sequence[Step],
    outputs: Sequence[int],
    *,
    constants: Sequence[int] = (),
    pieces: Sequence[int] = (),
) -> list[Any] | None:
    """The outputs as native code computes them, or None if there is no kernel."""
    arrays = [np.ascontiguousarray(a).reshape(np.shape(a)) for a in arrays]
    program = program_of(arrays, steps, constants)
    kernel = loops.group_kernel(program, program.instructions, range(len(arrays)), outputs)
    if kernel is None:
        return None
    outs = [aligned(program.values[v].dims, program.values[v].dtype.np, 4) for v in outputs]  # type: ignore[arg-type]
    call(kernel, arrays, outs, [p for p in pieces if p < kernel.units])
    return outs


def by_numpy(arrays: Sequence[Any], steps: Sequence[Step], outputs: Sequence[int]) -> list[Any]:
    """The outputs as the NumPy kernels compute them, one step after the other."""
    found = list(arrays)
    with np.errstate(all="ignore"):
        for kind, inputs, attrs in steps:
            found.append(TABLE[kind].function(*[found[v] for v in inputs], **attrs))
    return [np.asarray(found[v]) for v in outputs]


def densely(dtype: Any, count: int) -> Any:
    """Where functions bend: uniform over several ranges around 0 and 1."""
    rng = np.random.default_rng(8)
    ranges = (0.1, 1, 4, 20, 110, 800)
    parts = [rng.uniform(-r, r, count) for r in ranges]
    return np.concatenate([*parts, 1 + rng.uniform(-0.5, 1, count), -1 + rng.uniform(0, 1e-3, count)]).astype(dtype)


def ulps(got: Any, wanted: Any) -> Any:
    """The error in units in the last place of the exact result; 0 for equal infinities and for NaN twice."""
    kind = got.dtype
    exact = np.asarray(wanted, np.longdouble)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.minimum(np.abs(exact), np.finfo(kind).max).astype(kind)).astype(np.longdouble)
        error = np.abs(got.astype(np.longdouble) - exact) / unit
        limit = exact.astype(kind)
        same = (got == limit) & np.isinf(limit) | np.isnan(got) & np.isnan(exact)
    return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error)).astype(np.float64)
