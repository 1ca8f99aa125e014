"""The table of cases on an OpenCL device: values and gradients against NumPy's, in sessions.

Every row in float32 with gradients and in float64 without.  A row of each op type runs again in both schedules, at all
levels, on one lane and on four; compositions of ops do not, for they have no kernels of their own.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pyopencl")

from graphflow_opencl import building

from graphflow.opdef import OPS
from graphflow.testing import OpCase
from graphflow.testing.numeric import same_bits
from tests.cases import CASES
from tests.opencl_graphs import Rows, complaints, run_on_device, together

MOST = 12  # rows in a graph
LANES = "1", "4"


@pytest.fixture(autouse=True)
def kernels_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """No probe decides what runs where; programs are kept for one context, and each schedule has its own."""
    monkeypatch.setenv("GRAPHFLOW_OCL_PRODUCTS", "device")
    monkeypatch.setattr(building, "_kept", {})


def _text(bad: list[str]) -> str:
    return f"{len(bad)} results differ\n" + "\n".join(bad[:8])


@pytest.mark.parametrize("cases", together(CASES, MOST), ids=lambda cases: f"{cases[0].op}, from {cases[0].id}")
def test_rows(cases: list[OpCase]) -> None:
    rows = Rows(cases, ["float32", "float64"])
    bad = complaints(rows, run_on_device(rows), rows.run(optimization_level=0))
    assert not bad, _text(bad)


def _selection() -> list[list[OpCase]]:
    """One row of each op type, of neighbouring types at a time."""
    first = [kind[0] for kind in together(CASES, len(CASES)) if kind[0].op in OPS]
    return [first[i : i + MOST] for i in range(0, len(first), MOST)]


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("schedule", ["cpu", "gpu"])
@pytest.mark.parametrize("cases", _selection(), ids=lambda cases: f"{cases[0].op} to {cases[-1].op}")
def test_schedules_levels_and_lanes(cases: list[OpCase], schedule: str, level: int, monkeypatch: Any) -> None:
    monkeypatch.setenv("GRAPHFLOW_OCL_SCHEDULE", schedule)
    rows = Rows(cases, ["float32"])
    found = []
    for lanes in LANES:
        monkeypatch.setenv("GRAPHFLOW_OCL_LANES", lanes)
        found.append(run_on_device(rows, level))
    one, four = found
    bad = complaints(rows, one, rows.run(optimization_level=0))
    pairs = zip(rows.wanted, one, four, strict=True)
    bad += [f"{w.row}: {w.tensor.name} depends on the lanes" for w, a, b in pairs if not same_bits(a, b)]
    assert not bad, _text(bad)
