"""Every row of the table of cases on an OpenCL device: values and gradients against NumPy's, in sessions.

A row's outputs and the gradients of their floating ones are fetched in one run.  The bars are those of
`graphflow.testing`: 64 units in the last place of the largest element for float32, and for float64 the row's own bar.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphflow.constants import convert_to_tensor
from graphflow.errors import Error
from graphflow.gradients import gradients
from graphflow.session import Session
from graphflow.testing import OpCase
from graphflow.testing.forward import Built
from graphflow.testing.numeric import distance, tolerance
from tests.cases import CASES

pytest.importorskip("pyopencl")

GRADIENT = 16  # how many times the bar of a value that of a gradient is: it is the sum of several


def fetched(case: OpCase, dtype: str) -> tuple[Built, list[Any], int]:
    """The row's graph, what to fetch, and how many of these are outputs."""
    built = Built(case, case.arrays(dtype))
    with built.graph.as_default():
        floats = [y for y in built.outputs if y.dtype.kind == "float"]
        xs = [x for x in (built.inputs[i] for i in case.wanted) if x.dtype.kind == "float"]
        try:
            dxs = [convert_to_tensor(g) for g in gradients(floats, xs) if g is not None] if floats and xs else []
        except (Error, LookupError):
            dxs = []
    return built, [*built.outputs, *dxs], len(built.outputs)


def check(case: OpCase, dtype: str) -> None:
    """Hold the device's results against NumPy's."""
    built, fetches, outputs = fetched(case, dtype)
    with Session(graph=built.graph) as session:
        wanted = session.run(fetches, built.feeds)
    with Session(graph=built.graph, device="opencl") as session:
        found = session.run(fetches, built.feeds)
    for number, (got, want) in enumerate(zip(found, wanted, strict=True)):
        got, want = np.asarray(got), np.asarray(want)
        assert (got.dtype, got.shape) == (want.dtype, want.shape), (number, got.dtype, got.shape)
        if case.nondeterministic:
            continue
        name = fetches[number].dtype.name
        bar = tolerance(name, max(case.tol, 1e-12)) * (1 if number < outputs else GRADIENT)
        error = distance(got, want)
        assert error <= bar, f"result {number} is off by {error:.2g}, the bar is {bar:.2g}\n{got}\n{want}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32(case: OpCase) -> None:
    check(case, "float32")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float64(case: OpCase) -> None:
    check(case, "float64")
