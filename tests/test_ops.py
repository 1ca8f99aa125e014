"""The values of every op, over the table in tests/cases."""

from __future__ import annotations

import pytest

from graphflow import testing
from graphflow.testing import OpCase
from tests.cases import CASES

every_case = pytest.mark.parametrize("case", CASES, ids=str)
in_every_dtype = pytest.mark.parametrize(
    ("case", "dtype"),
    [pytest.param(c, d, id=f"{c}-{d}") for c in CASES for d in dict.fromkeys(("float64", *c.dtypes))],
)


@in_every_dtype
def test_forward(case: OpCase, dtype: str) -> None:
    testing.check_forward(case, dtype=dtype)


@every_case
def test_layouts(case: OpCase) -> None:
    testing.check_layouts(case)


@every_case
def test_aliasing(case: OpCase) -> None:
    testing.check_aliasing(case)


@pytest.mark.parametrize("case", [c for c in CASES if c.zero], ids=str)
def test_zero_size(case: OpCase) -> None:
    testing.check_zero_size(case)
