"""What users get when they use an op wrongly, over the table in tests/cases."""

from __future__ import annotations

import pytest

from graphflow import testing
from graphflow.testing import ErrorCase
from tests.cases import ERRORS


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_error(case: ErrorCase) -> None:
    testing.check_error(case)
