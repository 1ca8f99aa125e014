"""Every public method and property of eager tensors in a traced function: it answers as eager code does, or refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from graphflow import eager as torch
from graphflow.eager.function import function
from graphflow.eager.methods import METHODS, PROPERTIES
from graphflow.errors import Error

NAMES = sorted(name for name in {**METHODS, **PROPERTIES} if not name.startswith("_"))
DRAWN = frozenset({
    "bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "multinomial", "normal_",
    "random_", "uniform_",
})  # fmt: skip
LEAST = 300  # methods that are compared; many more exist


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    logger = logging.getLogger("graphflow")
    logger.disabled = True  # the same code, traced for each method
    with torch():
        yield
    logger.disabled = False


def ways() -> list[tuple[Any, tuple[Any, ...]]]:
    """A tensor and what its methods may take: a method is tried with whatever it takes."""
    rng = np.random.default_rng(3)
    x, y = (torch.tensor((rng.standard_normal((3, 3)) + 0.1).astype(np.float32)) for _ in range(2))
    v, n = torch.tensor(rng.standard_normal(3).astype(np.float32)), torch.tensor([2, 0, 1])
    i, m = torch.tensor([[0, 2, 1], [1, 1, 0], [2, 0, 0]]), torch.tensor([[True, False, True]] * 3)
    cube = torch.tensor(rng.standard_normal((1, 3, 3)).astype(np.float32))
    return [
        (x, ()), (x, (y,)), (x, (0,)), (x, (1, 0)), (x, (m, 1.0)), (x, (0, i)), (x, (0, n)), (x, (0, i, y)),
        (x, (0, n, y)), (x, (0, n, 1.0)), (x, (m,)), (v, (v,)), (x, (v,)), (i, (i,)), (i, ()), (n, ()), (m, ()),
        (v, ()), (m, (m,)), (x, (2, 1)), (x, (3, 3)), (x, ((3, 3),)), (x, (y, 0.5)), (x, (y, y)), (x, (m, y)),
        (x, (0, 0, 2)),
        (v, (2, 1)), (x, (1.0,)), (cube, (cube,)), (cube, (cube, cube)), (x, (v, v)), (x, (2, 0, 1)),
        (x, (torch.float64,)),
    ]  # fmt: skip


def answer(x: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    found = getattr(x, name)
    return found(*arguments) if name in METHODS else found


def asked(name: str) -> Callable[..., Any]:
    """The question as a function; what changes in place changes a copy."""
    return lambda x, *arguments: answer(x.clone() if name.endswith("_") else x, name, arguments)


def leaves(found: Any) -> list[Any]:
    if isinstance(found, (list, tuple)) and not isinstance(found, torch.Size):
        return [leaf for part in found for leaf in leaves(part)]
    return [found]


def agree(mine: Any, wanted: Any) -> bool:
    if not isinstance(wanted, torch.Tensor):
        return bool(type(mine) is type(wanted) and mine == wanted)
    a, b = mine._array(), wanted._array()
    return a.dtype == b.dtype and a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)


def compared(name: str) -> tuple[int, int]:
    """In how many ways a method was compared, and in how many it was refused."""
    agreed = refused = 0
    for number, (x, arguments) in enumerate(ways()):
        try:
            wanted = leaves(asked(name)(x, *arguments))
        except Exception:
            continue  # it takes something else
        again, same = ways()[number]
        try:
            found = leaves(function(asked(name))(again, *same))
        except Error:
            refused += 1
            continue
        assert len(found) == len(wanted), (name, number)
        for a, b in zip(found, wanted, strict=True):
            assert name in DRAWN or agree(a, b), (name, number, a, b)
        agreed += 1
    return agreed, refused


REFUSED = frozenset({  # what only a value, or only the caller's tensor, can answer
    "allclose", "data_ptr", "equal", "eval", "grad_fn", "numpy", "storage_offset", "stride",
})  # fmt: skip


def test_every_method_answers_or_refuses() -> None:
    found = {name: compared(name) for name in NAMES}
    assert sum(agreed > 0 for agreed, _ in found.values()) > LEAST
    never = {name for name, (agreed, refused) in found.items() if refused and not agreed}
    assert {name for name in never if not name.endswith("_")} <= REFUSED  # changes of shapes in place are refused too
