"""Changes in place inside a traced function: what the eager code does, or a refusal with advice."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import nn
from graphflow.eager.function import function
from graphflow.errors import FailedPreconditionError, SymbolicUseError
from tests.test_function_torch import both, same, tensor


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    logger = logging.getLogger("graphflow")
    logger.disabled = True  # of traces that are made often
    with torch():
        yield
    logger.disabled = False


def aliased(x: Any) -> Any:
    h = x * 2.0
    y = h
    y += 1.0
    return h * y


def several(x: Any) -> Any:
    h = x * 1.0
    before = h.exp()
    h.mul_(2.0).add_(x).clamp_(min=-0.5)
    h[0] += 1.0
    h[:, 1] = 7.0
    h[h > 6.0] = 2.0
    return before + h


def steps(x: Any) -> Any:
    out = torch.zeros(3)
    for i in range(3):
        out[i] = x[i] * float(i)
    return out


def filled(x: Any) -> Any:
    h = x.exp()
    h.zero_()
    h.copy_(x)
    h.fill_(0.5)
    return h * x


def masked(x: Any) -> Any:
    mask = torch.ones(3, 4)
    mask[1] = 0.0
    mask[:, 2] *= 0.5
    return x * mask


def rows(x: Any) -> Any:
    h = x * 1.0
    row = h[1]
    row.add_(3.0)
    row[2] = 9.0
    corner = h[:2, :2]
    corner *= 2.0
    h[2].zero_()
    return h + corner[0, 0] + row


def of_clones(x: Any) -> Any:
    h = x * 1.0
    kept = h.clone()
    h += 1.0
    return kept * h


@pytest.mark.parametrize("body", [aliased, several, filled, masked, of_clones, rows])
def test_changes_in_place_of_what_a_function_computes(body: Any) -> None:
    both(body, (3, 4))


def test_parts_that_are_filled_one_by_one() -> None:
    both(steps, (3,))


def test_a_tensor_from_outside_is_changed_at_each_call() -> None:
    def make() -> tuple[Any, Any]:
        count, seen = torch.zeros(()), torch.zeros(3)

        def f(x: Any) -> Any:
            nonlocal count, seen
            count += 1.0
            alias = seen
            alias += x.detach() * count
            return seen * x

        return f, (count, seen)

    (eager, wanted), (plain, mine) = make(), make()
    traced = function(plain)
    for seed in range(3):
        slopes = []
        for f in (eager, traced):
            x = tensor(3, grad=True, seed=seed)
            y = f(x)
            y.sum().backward()
            slopes.append((y, x.grad))
        same(slopes[1], slopes[0])
        same(mine, wanted)
    assert len(traced.traces) == 1


def test_the_derivative_sees_what_a_buffer_was() -> None:
    scale = torch.ones(())

    @function
    def f(x: Any) -> Any:
        y = x * scale
        scale.add_(1.0)
        return y

    for factor in (1.0, 2.0, 3.0):
        x = torch.tensor(5.0, requires_grad=True)
        y = f(x)
        y.backward()
        assert y.item() == 5.0 * factor and x.grad.item() == factor and scale.item() == factor + 1.0


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("total", torch.zeros(()))
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Any) -> Any:
        self.n += 1
        self.total = self.total + x.detach().sum()
        self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return self.norm(self.norm(x)) - self.mean


def test_buffers_are_written_at_each_call() -> None:
    plain = Counting()
    mine = copy.deepcopy(plain)
    traced = function(mine)
    for seed in range(3):
        x = tensor(5, 3, seed=seed)
        np.testing.assert_allclose(traced(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    for (name, a), (_, b) in zip(mine.named_buffers(), plain.named_buffers(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, err_msg=name)
    assert mine.n.item() == 3


def test_changes_that_cannot_be_had_are_refused() -> None:
    w, p = tensor(3), tensor(3, grad=True)

    def argument(x: Any) -> Any:
        x += 1.0
        return x

    def part_of_argument(x: Any) -> Any:
        x.reshape(3, 1).zero_()
        return x

    def learned(x: Any) -> Any:
        with torch.no_grad():
            p.mul_(2.0)
        return p * x

    def seen_by_a_view(x: Any) -> Any:
        h = x * 2.0
        view = h.reshape(3, 1)
        h += 1.0
        return view

    def seen_by_an_expanded_one(x: Any) -> Any:
        h = x * 2.0
        wide = h.expand(2, 3)
        h += 1.0
        return wide

    def with_gradients(x: Any) -> Any:
        w.add_(x)
        return w * 1.0

    def in_a_branch(x: Any) -> Any:
        return gf.cond(x.sum() > 0.0, w.zero_, lambda: w * 1.0)

    for body, word, remedy in [
        (argument, "argument", "x = x + y"),
        (part_of_argument, "from outside", "clone"),
        (learned, "requires gradients", "trains=True"),
        (seen_by_a_view, "view", "make the view again"),
        (seen_by_an_expanded_one, "view", "make the view again"),
        (with_gradients, "requires gradients", "detach"),
        (in_a_branch, "branch", "return the new value"),
    ]:
        with pytest.raises((SymbolicUseError, FailedPreconditionError)) as told:
            function(body)(tensor(3, grad=True))
        assert word in str(told.value) and remedy in str(told.value) and "test_function_in_place.py" in str(told.value)
