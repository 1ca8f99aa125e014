"""Graphs of several rows of cases, run in a session on an OpenCL device and held against NumPy's values.

Rows share a graph and a run, for a driver takes longer to begin with a program than to compile one more kernel.
float32 comes with gradients, the other dtypes without; a row that is not for float32 has its gradients in float64.
NumPy runs as built, at level 0.  The bars are those of `graphflow.testing`: 64 units in the last place of the largest
element for float32, and for float64 the row's own bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from graphflow import spec
from graphflow.constants import convert_to_tensor
from graphflow.dtypes import from_numpy
from graphflow.errors import Error
from graphflow.gradients import gradients
from graphflow.graph import Graph
from graphflow.ops import core
from graphflow.random import set_random_seed
from graphflow.session import Session
from graphflow.testing import OpCase
from graphflow.testing.forward import flat_tensors
from graphflow.testing.numeric import distance, tolerance

GRADIENT = 16  # how many times the bar of a value that of a gradient is: it is the sum of several
SEED = 5


class Wanted(NamedTuple):
    """A tensor to fetch, and how far the device's value may be from NumPy's."""

    row: str
    tensor: Any
    bar: float


class Rows:
    """The graph of some rows, each in some dtypes, and what to feed and fetch."""

    def __init__(self, cases: Sequence[OpCase], dtypes: Sequence[str]) -> None:
        self.cases, self.dtypes = cases, dtypes
        self.graph = Graph()
        self.feeds: dict[Any, Any] = {}
        self.wanted: list[Wanted] = []
        with self.graph.as_default():
            set_random_seed(SEED)
            for case in cases:
                for dtype in self._dtypes_of(case):
                    self._add(case, dtype)

    def _dtypes_of(self, case: OpCase) -> list[str]:
        return [d for d in self.dtypes if d == "float64" or d in case.dtypes] or ["float64"]

    def _add(self, case: OpCase, dtype: str) -> None:
        arrays = case.arrays(dtype)
        inputs = [core.placeholder(from_numpy(a.dtype), a.shape) for a in arrays]
        self.feeds.update(zip(inputs, arrays, strict=True))
        outputs = flat_tensors(case, case.build(*inputs))
        slopes = _slopes(case, inputs, outputs) if dtype == self._dtypes_of(case)[0] else []
        for scale, tensors in ((1, outputs), (GRADIENT, slopes)):
            for tensor in tensors:
                self.wanted.append(Wanted(f"{case} [{dtype}]", tensor, scale * _bar(case, tensor.dtype.name)))

    def run(self, **options: Any) -> list[Any]:
        """What a session gives."""
        with Session(graph=self.graph, **options) as session:
            found: list[Any] = session.run([w.tensor for w in self.wanted], self.feeds)
        return found

    def apart(self) -> Iterator[Rows]:
        """Each row by itself."""
        return (Rows([case], [dtype]) for case in self.cases for dtype in self._dtypes_of(case))


def _bar(case: OpCase, dtype: str) -> float:
    if case.nondeterministic and dtype == "float64":
        return tolerance("float32")  # how likely a sample was is a float32, whatever it is used for
    return tolerance(dtype, max(case.tol, 1e-12))


def _slopes(case: OpCase, inputs: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    """The gradients of a weighted sum: a plain sum has none where outputs add up to a constant."""
    ys = [y for y in outputs if y.dtype.kind == "float"]
    xs = [x for x in (inputs[i] for i in case.wanted) if x.dtype.kind == "float"]
    if not ys or not xs:
        return []
    weights = None
    if all(spec.is_concrete(y.dims) for y in ys):
        weights = [core.constant(np.cos(np.arange(spec.numel(y.dims))).reshape(y.dims).astype(y.dtype.np)) for y in ys]
    try:
        return [convert_to_tensor(g) for g in gradients(ys, xs, weights) if g is not None]
    except (Error, LookupError):
        return []  # there is none: `graphflow.testing` knows which rows must have one


def together(cases: Sequence[OpCase], most: int) -> list[list[OpCase]]:
    """The rows of each op type, at most so many at a time."""
    kinds = [list(found) for _, found in groupby(sorted(cases, key=lambda c: c.op), key=lambda c: c.op)]
    return [kind[i : i + most] for kind in kinds for i in range(0, len(kind), most)]


def complaints(rows: Rows, found: Sequence[Any], plain: Sequence[Any]) -> list[str]:
    """Where the device's values are not NumPy's."""
    out = []
    for wanted, got, want in zip(rows.wanted, map(np.asarray, found), map(np.asarray, plain), strict=True):
        error = distance(got, want) if (got.dtype, got.shape) == (want.dtype, want.shape) else np.inf
        if not error <= wanted.bar:
            what = f"off by {error:.2g}, the bar is {wanted.bar:.2g}\n{got!r}\n{want!r}"
            out.append(f"{wanted.row}: {wanted.tensor.name} is {what}")
    return out


def run_on_device(rows: Rows, level: int | None = None) -> list[Any]:
    """The device's values; an error names the row."""
    try:
        return rows.run(device="opencl", optimization_level=level)
    except Error as error:
        for row in rows.apart():
            try:
                row.run(device="opencl", optimization_level=level)
            except Error as its_own:
                raise AssertionError(f"{row.cases[0]} {row.dtypes}: {its_own}") from its_own
        names = ", ".join(map(str, rows.cases))
        raise AssertionError(f"together, though not one by one, {names}: {error}") from error
