"""Numbers that judge numbers: how far two results are apart, and derivatives that know nothing of graphs.

Policy: an error is measured against the largest element of what was expected, so that one bar serves sums and
single elements alike.  Derivatives come from two sources that share nothing with the symbolic ones: central
differences with Richardson's extrapolation, which estimate their own error, and the complex step, which has no
difference in it and is exact to rounding wherever the kernels are analytic.

State: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphflow import spec
from graphflow.backend import Backend
from graphflow.dtypes import as_dtype, finfo
from graphflow.program import Instruction, Program

Array: TypeAlias = "np.ndarray[Any, Any]"

# The bar of a forward value, in units of the dtype's epsilon, relative to the largest element.  A row's `tol` is the
# bar in float64; it scales the others.
ULPS = {"float64": 1e-12 / 2.0**-52, "float32": 64.0, "float16": 8.0, "bfloat16": 8.0}
TINY = 1e-30  # the complex step: its square is nothing beside one
FIRST_STEPS = (2.0**-6, 2.0**-9, 2.0**-12, 2.0**-15, 2.0**-18)
LEVELS = 6


class Mismatch(AssertionError):
    """What came is not what had to come; the text says which row, which check, and how far apart."""


def tolerance(dtype: str, tol: float = 1e-12) -> float:
    """The bar for a dtype, for a row whose bar in float64 is `tol`."""
    real = as_dtype(dtype).real_dtype
    if real.name not in ULPS:
        return tol
    return ULPS[real.name] * float(finfo(real).eps) * (tol / 1e-12)


def same_bits(a: Any, b: Any) -> bool:
    """Equal dtype, shape and bits; one NaN is as good as another."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == object:
        return bool(a.tolist() == b.tolist())
    if a.tobytes() == b.tobytes():
        return True
    if a.dtype.kind not in "fcV":
        return False
    nan = np.isnan(a)
    return bool(np.array_equal(nan, np.isnan(b))) and a[~nan].tobytes() == b[~nan].tobytes()


def distance(got: Any, wanted: Any) -> float:
    """The largest error relative to the largest finite element; infinite where NaNs or infinities differ."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return math.inf
    if got.dtype == object or got.dtype.kind in "biu" and wanted.dtype.kind in "biu":
        return 0.0 if np.array_equal(got, wanted) else math.inf
    wide = np.complex128 if "c" in (got.dtype.kind, wanted.dtype.kind) else np.float64
    got, wanted = got.astype(wide), wanted.astype(wide)
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return math.inf
    if not finite.any():
        return 0.0
    size = float(np.max(np.abs(wanted[finite])))
    error = float(np.max(np.abs(got[finite] - wanted[finite])))
    return error / size if size else error


def inner(a: Sequence[Any], b: Sequence[Any]) -> float:
    """The real inner product of two lists of arrays."""
    return math.fsum(float(np.real(np.vdot(x, y))) for x, y in zip(a, b, strict=True))


def length(a: Sequence[Any]) -> float:
    """The Euclidean length of a list of arrays."""
    return math.sqrt(math.fsum(float(np.sum(np.abs(np.asarray(x)) ** 2)) for x in a))


def moved(point: Sequence[Any], direction: Sequence[Any], step: complex) -> list[Any]:
    """point + step * direction; where the direction is None, the point."""
    return [x if v is None else x + step * v for x, v in zip(point, direction, strict=True)]


def richardson(f: Callable[[float], float], good_enough: float) -> tuple[float, float]:
    """f'(0) and an estimate of its error.

    Central differences at halved steps, extrapolated to step zero (Ridders); the first step shrinks until the
    estimate is good enough, for it may be the step that leaves the domain or crosses a kink.
    """
    best = (math.nan, math.inf)
    for first in FIRST_STEPS:
        found = _ridders(f, first)
        if found[1] < best[1]:
            best = found
        if best[1] <= good_enough:
            break
    return best


def _ridders(f: Callable[[float], float], step: float) -> tuple[float, float]:
    best = (math.nan, math.inf)
    above: list[float] = []
    for _ in range(LEVELS):
        row = [(f(step) - f(-step)) / (2 * step)]
        for j, older in enumerate(above):
            row.append(row[j] + (row[j] - older) / (4.0 ** (j + 1) - 1))
            error = max(abs(row[j + 1] - row[j]), abs(row[j + 1] - older))
            if error <= best[1]:
                best = (row[j + 1], error)
        above = row
        step /= 2
    return best


def evaluate_program(
    program: Program,
    feeds: Sequence[Any],
    backend: Backend,
    observe: Callable[[Instruction, Sequence[Any]], None] | None = None,
) -> list[Any]:
    """The fetches of a program, one kernel after the other, on values of any dtype: nothing is inferred or converted.

    `observe` sees each instruction with its results.  Programs that need a session (variables, loops, random
    numbers) cannot be run so: `UnimplementedError`.
    """
    values: dict[int, Any] = {**program.constants, **dict(zip(program.feeds, feeds, strict=True))}
    for ins in program.instructions:
        if ins.type == "Const":
            values[ins.outputs[0]] = ins.attrs["value"]
            continue
        results = backend.evaluate(ins, [values[v] for v in ins.inputs])
        if observe is not None:
            observe(ins, results)
        values.update(zip(ins.outputs, results, strict=True))
    return [values[v] for v in program.fetches]


def spec_checker(program: Program) -> Callable[[Instruction, Sequence[Any]], None]:
    """An observer that holds every kernel to the dtype and shape that inference promised."""

    def check(ins: Instruction, results: Sequence[Any]) -> None:
        for v, result in zip(ins.outputs, results, strict=True):
            if v < 0:
                continue
            dtype, dims, _ = program.values[v]
            got = np.asarray(result)
            if got.dtype != dtype.np:
                raise Mismatch(f"the kernel of {ins.type} returns {got.dtype}, inference promised {dtype.name}")
            if not spec.compatible(dims, got.shape):
                raise Mismatch(
                    f"the kernel of {ins.type} returns shape {got.shape}, inference promised {spec.describe(dims)}"
                )

    return check


def layouts(array: Array) -> Mapping[str, Array]:
    """The same values in memory laid out differently."""
    found = {"read-only": array.copy()}
    found["read-only"].flags.writeable = False
    if array.dtype.kind in "iufc" and array.dtype.itemsize > 1:
        found["byte-swapped"] = array.astype(array.dtype.newbyteorder())
    if array.ndim == 0:
        return found
    backwards = (slice(None, None, -1),) * array.ndim
    sparse = np.zeros([2 * n for n in array.shape], array.dtype)
    every_second = (slice(None, None, 2),) * array.ndim
    sparse[every_second] = array
    found["Fortran order"] = np.asfortranarray(array)
    found["negative strides"] = array[backwards].copy()[backwards]
    found["every second element"] = sparse[every_second]
    return found
