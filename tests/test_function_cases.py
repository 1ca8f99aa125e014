"""Every row of the table of ops in a traced function: values and gradients, bit for bit those of a session."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from graphflow import eager as torch
from graphflow.eager.function import function
from graphflow.eager.tape import differentiate
from graphflow.eager.tensor import REQUIRED
from graphflow.ops.core import constant
from graphflow.testing import OpCase
from graphflow.testing.forward import flat_tensors
from graphflow.testing.numeric import same_bits
from tests.cases import CASES
from tests.test_eager_cases import in_a_graph, seeds

PARTS = 12


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("graphflow")
    logger.disabled = True  # the same lambda, traced for each row
    yield
    logger.disabled = False


def traced(case: OpCase) -> tuple[list[Any], list[Any]]:
    """Values, and gradients by way of the record."""
    with torch():
        inputs = [torch.as_tensor(a) if a.dtype != object else constant(a) for a in case.arrays()]
        for x in inputs:
            if x.dtype.is_floating or x.dtype.is_complex:
                x.track = REQUIRED
        outputs = function(lambda *given: flat_tensors(case, case.build(*given)))(*inputs)
        values = [np.asarray(y._array()) for y in outputs]
        ys, xs = [y for y in outputs if y.dtype.kind in ("float", "complex")], [inputs[i] for i in case.wanted]
        if not ys or not xs or case.nondeterministic:
            return values, []
        given = [torch.as_tensor(s) for s in seeds(case, [np.asarray(y._array()) for y in ys])]
        found, _ = differentiate(ys, xs, given, records=False)
        return values, [None if g is None else np.asarray(g._array()) for g in found]


@pytest.mark.parametrize("part", range(PARTS))
def test_equals_the_session(part: int) -> None:
    for case in CASES[part::PARTS]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of gradients that nothing reaches
            wanted, found = in_a_graph(case, "float64", 1), traced(case)
        assert len(wanted[0]) == len(found[0]) and len(wanted[1]) == len(found[1]), case
        for kind, a, b in [("value", a, b) for a, b in zip(wanted[0], found[0], strict=True)] + [
            ("gradient", a, b) for a, b in zip(wanted[1], found[1], strict=True)
        ]:
            assert (a is None) == (b is None), (case, kind)
            if a is not None and not case.nondeterministic:
                assert same_bits(np.asarray(a), np.asarray(b)), (case, kind)
