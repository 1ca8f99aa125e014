"""One row of the table per behaviour of an op: plain records, and the arrays that a row asks for.

Policy: a row holds what only its author knows (how to build the op, an independent reference, the domain of the
inputs); how to check it is the business of its neighbours.  Random inputs are drawn from the row's own name, so a
failing row fails alone and again.

State: none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphflow.dtypes import as_dtype


@dataclass(frozen=True)
class Arg:
    """A random array: uniform in [low, high), of the given shape and dtype (integers and booleans are drawn alike)."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str = "float64"

    def draw(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """The array."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "b":
            return np.asarray(generator.random(self.shape) < 0.5)
        if dtype.kind in "iu":
            low = int(self.low) if dtype.kind == "i" else max(int(self.low), 0)
            return np.asarray(generator.integers(low, max(int(self.high), low + 1), self.shape), dtype)
        drawn = np.asarray(generator.uniform(self.low, self.high, self.shape))
        if dtype.kind == "c":
            drawn = drawn + 1j * generator.uniform(self.low, self.high, self.shape)
        return np.asarray(drawn, dtype)


@dataclass(frozen=True)
class OpCase:
    """What one op does in one situation.

    op             the op's type, or the public name of a composition ("tf.nn.moments")
    id             names the situation; `op` and `id` together are unique
    build          tensors -> a tensor, or a list of tensors
    inputs         arrays, taken as they are, or `Arg`s
    reference      arrays -> an array, or a list: plain NumPy, written apart from the kernel
    wrt            indices of the inputs to differentiate; None means all floating and complex ones, () none
    analytic       whether a complex step may check the gradient: no abs, max, sort, comparison on the way
    second         whether the second derivative has a meaning
    tol            the bar of the forward value in float64, relative to the largest element
    dtypes         the dtypes in which the inputs written in float64 are tried (float64 always is); inputs of other
                   dtypes stay as they are, complex128 follows in width
    zero           for each zero-size run, the shapes of all inputs
    zero_error     what a zero-size run raises, where it cannot give a value
    nondeterministic  the value may differ from run to run: shape and dtype alone are checked
    unknown        how little may be known of the inputs' shapes while building: "rank" (the default: nothing),
                   "dims" (the rank must be known), "none" (the whole shape must be)
    """

    op: str
    id: str
    build: Callable[..., Any]
    inputs: tuple[Any, ...] = ()
    reference: Callable[..., Any] | None = None
    wrt: tuple[int, ...] | None = None
    analytic: bool = True
    second: bool = True
    tol: float = 1e-12
    dtypes: tuple[str, ...] = ("float32", "float64")
    zero: tuple[tuple[tuple[int, ...], ...], ...] = ()
    zero_error: type[Exception] | None = None
    nondeterministic: bool = False
    unknown: str = "rank"

    def __str__(self) -> str:
        return f"{self.op}-{self.id}"

    def generator(self, purpose: str = "") -> np.random.Generator:
        """Random numbers that depend on the row's name and on what they are for, on nothing else."""
        return np.random.default_rng(zlib.crc32(f"{self}/{purpose}".encode()))

    def arrays(self, dtype: str = "float64") -> list[np.ndarray[Any, Any]]:
        """The inputs, those written in float64 in another dtype."""
        generator = self.generator()
        return [_as(_draw(x, None, generator, dtype), dtype) for x in self.inputs]

    def zero_arrays(self, shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray[Any, Any]]:
        """The inputs in other shapes."""
        if len(shapes) != len(self.inputs):
            raise ValueError(f"{self}: a zero-size run needs {len(self.inputs)} shapes, one for each input: {shapes}")
        generator = self.generator("zero")
        return [_draw(x, shape, generator, "float64") for x, shape in zip(self.inputs, shapes, strict=True)]

    @property
    def wanted(self) -> tuple[int, ...]:
        """The inputs to differentiate."""
        if self.wrt is not None:
            return self.wrt
        return tuple(i for i, x in enumerate(self.inputs) if _dtype_of(x) in ("float64", "complex128"))


def _dtype_of(item: Any) -> str:
    return item.dtype if isinstance(item, Arg) else np.asarray(item).dtype.name


def _draw(item: Any, shape: tuple[int, ...] | None, generator: np.random.Generator, dtype: str) -> np.ndarray[Any, Any]:
    if isinstance(item, Arg):
        # Integers and complex numbers are drawn as such; the floating dtypes round one and the same draw.
        other = item.dtype == "float64" and np.dtype(_numpy(dtype)).kind in "biuc"
        wanted = replace(item, shape=item.shape if shape is None else shape, dtype=dtype if other else item.dtype)
        return wanted.draw(generator)
    array = np.asarray(item)
    return array if shape is None or array.shape == shape else np.resize(array, shape)


def _as(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """float64 becomes `dtype`, complex128 the complex dtype of its width, and the rest stays."""
    if array.dtype == np.float64:
        return array.astype(_numpy(dtype))
    if array.dtype == np.complex128 and dtype in ("float16", "bfloat16", "float32", "complex64"):
        return array.astype(np.complex64)
    return array


def _numpy(dtype: str) -> Any:
    return as_dtype(dtype).np


@dataclass(frozen=True)
class ErrorCase:
    """A mistake that users make with an op, and the error that they must get.

    `build` builds, or builds and runs; `match` is a regular expression that the text of the error must contain.
    """

    op: str
    id: str
    build: Callable[[], Any]
    error: type[Exception]
    match: str = ""

    def __str__(self) -> str:
        return f"{self.op}-{self.id}"
