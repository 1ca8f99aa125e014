"""Every row of the table of ops in eager mode: values and gradients, bit for bit those of a graph at O0 and O1."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from graphflow import eager as torch
from graphflow.dtypes import from_numpy
from graphflow.gradients import gradients
from graphflow.graph import Graph
from graphflow.ops import core
from graphflow.session import Session
from graphflow.testing import OpCase
from graphflow.testing.forward import flat_tensors
from graphflow.testing.numeric import same_bits
from tests.cases import CASES

GROUPS = sorted({case.op for case in CASES})


def seeds(case: OpCase, like: list[Any]) -> list[Any]:
    """What the outputs' derivatives are multiplied with."""
    generator = case.generator("eager")
    return [np.asarray(generator.uniform(-1, 1, np.shape(y)), np.asarray(y).dtype) for y in like]


def in_a_graph(case: OpCase, dtype: str, level: int) -> tuple[list[Any], list[Any]]:
    """Values and gradients of a session."""
    arrays = case.arrays(dtype)
    with Graph().as_default() as graph, Session(graph=graph, optimization_level=level) as session:
        inputs = [core.placeholder(from_numpy(a.dtype), a.shape) for a in arrays]
        outputs = flat_tensors(case, case.build(*inputs))
        feeds = dict(zip(inputs, arrays, strict=True))
        values = session.run(outputs, feeds)
        ys = [y for y in outputs if y.dtype.kind in ("float", "complex")]
        xs = [inputs[i] for i in case.wanted]
        if not ys or not xs or case.nondeterministic:
            return values, []
        at = [v for v, y in zip(values, outputs, strict=True) if y.dtype.kind in ("float", "complex")]
        found = gradients(ys, xs, grad_ys=[core.constant(s) for s in seeds(case, at)])
        present = [core.convert_to_tensor(g) for g in found if g is not None]
        given = iter(session.run(present, feeds))
        return values, [None if g is None else next(given) for g in found]


def at_once(case: OpCase, dtype: str) -> tuple[list[Any], list[Any]]:
    """Values and gradients of a tape."""
    with torch():
        inputs = [torch.as_tensor(a) if a.dtype != object else core.constant(a) for a in case.arrays(dtype)]
        xs = [inputs[i] for i in case.wanted]
        with torch.GradientTape() as tape:
            tape.watch([x for x in inputs if x.dtype.is_floating or x.dtype.is_complex])
            outputs = flat_tensors(case, case.build(*inputs))
        values = [np.asarray(y._array()) for y in outputs]
        ys = [y for y in outputs if y.dtype.kind in ("float", "complex")]
        if not ys or not xs or case.nondeterministic:
            return values, []
        at = [np.asarray(y._array()) for y in ys]
        found = tape.gradient(ys, xs, output_gradients=[torch.as_tensor(s) for s in seeds(case, at)])
        return values, [None if g is None else np.asarray(g._array()) for g in found]


def check(case: OpCase, dtype: str) -> None:
    """Eager mode gives the bits of a graph."""
    values, grads = at_once(case, dtype)
    for level in (0, 1):
        want_values, want_grads = in_a_graph(case, dtype, level)
        where = f"{case} [{dtype}, O{level}]"
        assert len(values) == len(want_values), where
        for a, b in zip(values, want_values, strict=True):
            assert np.shape(a) == np.shape(b), where
            assert case.nondeterministic or same_bits(a, np.asarray(b)), (where, a, b)
        for a, b in zip(grads, want_grads, strict=True):
            assert (a is None) == (b is None), (where, "gradient", a, b)
            assert a is None or same_bits(a, np.asarray(b)), (where, "gradient", a, b)


@pytest.mark.parametrize("group", GROUPS)
def test_equals_the_graph(group: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # some rows have no path to an input on purpose
        for case in [c for c in CASES if c.op == group]:
            for dtype in dict.fromkeys(("float64", *[d for d in case.dtypes if d == "float32"])):
                check(case, dtype)
