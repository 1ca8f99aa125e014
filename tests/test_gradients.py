"""The gradients of every op, over the table in tests/cases: against differences and the complex step, in float64."""

from __future__ import annotations

import pytest

from graphflow import testing
from graphflow.testing import OpCase
from tests.cases import CASES

with_gradient = pytest.mark.parametrize("case", [c for c in CASES if c.wanted], ids=str)
with_second = pytest.mark.parametrize("case", [c for c in CASES if c.wanted and c.second], ids=str)


@with_gradient
def test_gradient(case: OpCase) -> None:
    testing.check_gradient(case)


@with_second
def test_second_gradient(case: OpCase) -> None:
    testing.check_second_gradient(case)


@with_second
def test_forward_mode(case: OpCase) -> None:
    testing.check_forward_mode(case)


@pytest.mark.parametrize("case", [c for c in CASES if c.wanted and c.zero], ids=str)
def test_gradient_at_zero_size(case: OpCase) -> None:
    testing.check_zero_size_gradient(case)
