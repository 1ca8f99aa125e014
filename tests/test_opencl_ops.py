"""The table of cases on an OpenCL device: values and gradients against NumPy's, in sessions.

All rows of an op type share a graph and a run, for a driver takes longer to begin with a program than to compile one
more kernel.  float32 comes with gradients, float64 without.  Some rows of each type run again in the other schedule, at
all levels, on one lane and on four.  NumPy runs as built, at level 0.  The bars are those of `graphflow.testing`: 64
units in the last place of the largest element for float32, and for float64 the row's own bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pytest

from graphflow.constants import convert_to_tensor
from graphflow.errors import Error
from graphflow.gradients import gradients
from graphflow.graph import Graph
from graphflow.ops import core
from graphflow.dtypes import from_numpy
from graphflow.random import set_random_seed
from graphflow.session import Session
from graphflow.testing import OpCase
from graphflow.testing.forward import flat_tensors
from graphflow.testing.numeric import distance, same_bits, tolerance
from tests.cases import CASES

pytest.importorskip("pyopencl")

GRADIENT = 16  # how many times the bar of a value that of a gradient is: it is the sum of several
TOGETHER = 12  # rows that share a graph
LANES = "1", "4"


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
            set_random_seed(5)
            for case in cases:
                for dtype in dtypes:
                    self._add(case, dtype)

    def _add(self, case: OpCase, dtype: str) -> None:
        arrays = case.arrays(dtype)
        inputs = [core.placeholder(from_numpy(a.dtype), a.shape) for a in arrays]
        self.feeds.update(zip(inputs, arrays, strict=True))
        outputs = flat_tensors(case, case.build(*inputs))
        for scale, tensors in ((1, outputs), (GRADIENT, _slopes(case, inputs, outputs) if dtype == "float32" else [])):
            for tensor in tensors:
                bar = tolerance(tensor.dtype.name, max(case.tol, 1e-12)) * scale
                self.wanted.append(Wanted(f"{case} [{dtype}]", tensor, bar))

    def run(self, **options: Any) -> list[Any]:
        """What a session gives."""
        with Session(graph=self.graph, **options) as session:
            found: list[Any] = session.run([w.tensor for w in self.wanted], self.feeds)
        return found

    def apart(self) -> Iterator[Rows]:
        """Each row by itself."""
        for case in self.cases:
            for dtype in self.dtypes:
                yield Rows([case], [dtype])


def _slopes(case: OpCase, inputs: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    ys = [y for y in outputs if y.dtype.kind == "float"]
    xs = [x for x in (inputs[i] for i in case.wanted) if x.dtype.kind == "float"]
    try:
        return [convert_to_tensor(g) for g in gradients(ys, xs) if g is not None] if ys and xs else []
    except (Error, LookupError):
        return []


def complaints(rows: Rows, found: Sequence[Any], plain: Sequence[Any]) -> list[str]:
    """Where the device's values are not NumPy's."""
    out = []
    for wanted, got, want in zip(rows.wanted, map(np.asarray, found), map(np.asarray, plain), strict=True):
        error = distance(got, want) if (got.dtype, got.shape) == (want.dtype, want.shape) else np.inf
        if not error <= wanted.bar:
            what = f"off by {error:.2g}, the bar is {wanted.bar:.2g}\n{got!r}\n{want!r}"
            out.append(f"{wanted.row}: {wanted.tensor.name} is {what}")
    return out


def check(rows: Rows, level: int | None = None, monkeypatch: Any = None) -> None:
    """Hold the device's results against NumPy's, and those of several lanes, if asked, against those of one."""
    plain = rows.run(optimization_level=0)
    try:
        found = rows.run(device="opencl", optimization_level=level)
    except Error:
        for row in rows.apart():  # which of them is it?
            try:
                row.run(device="opencl", optimization_level=level)
            except Error as error:
                raise AssertionError(f"{row.wanted[0].row}: {error}") from error
        raise
    bad = complaints(rows, found, plain)
    if monkeypatch is not None:
        monkeypatch.setenv("GRAPHFLOW_OCL_LANES", LANES[1])
        again = rows.run(device="opencl", optimization_level=level)
        pairs = zip(rows.wanted, found, again, strict=True)
        bad += [f"{w.row}: {w.tensor.name} depends on the lanes" for w, a, b in pairs if not same_bits(a, b)]
    assert not bad, f"{len(bad)} results differ\n" + "\n".join(bad[:8])


@pytest.fixture(autouse=True)
def kernels_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """No probe decides what runs where."""
    monkeypatch.setenv("GRAPHFLOW_OCL_PRODUCTS", "device")


def _groups(cases: Sequence[OpCase]) -> list[list[OpCase]]:
    """The rows of each op type, at most so many at a time."""
    kinds = [list(found) for _, found in groupby(sorted(cases, key=lambda c: c.op), key=lambda c: c.op)]
    return [kind[i : i + TOGETHER] for kind in kinds for i in range(0, len(kind), TOGETHER)]


def _names(cases: Sequence[OpCase]) -> str:
    return f"{cases[0].op}, {len(cases)} rows from {cases[0].id}"


@pytest.mark.parametrize("cases", _groups(CASES), ids=_names)
def test_rows(cases: list[OpCase]) -> None:
    check(Rows(cases, ["float32", "float64"]))


def _selection() -> list[list[OpCase]]:
    """One row of each op type, of neighbouring types at a time."""
    first = [kind[0] for kind in _groups(CASES)]
    return [first[i : i + TOGETHER] for i in range(0, len(first), TOGETHER)]


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("cases", _selection(), ids=lambda cases: f"{cases[0].op} to {cases[-1].op}")
def test_schedules_levels_and_lanes(
    cases: list[OpCase], schedule: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHFLOW_OCL_SCHEDULE", schedule)
    monkeypatch.setenv("GRAPHFLOW_OCL_LANES", LANES[0])
    check(Rows(cases, ["float32"]), level, monkeypatch)
