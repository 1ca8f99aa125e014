"""What a trace writes: variables, running statistics, and parameters in whole training steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import nn
from graphflow.eager.function import function
from graphflow.eager.recording import no_grad
from tests.test_function import RNG, array, tensor


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    with torch():
        yield


def test_variables_of_eager_mode_are_read_and_written_where_they_are() -> None:
    v = gf.Variable([1.0, 2.0])
    read, add = function(lambda x: x * v), function(v.assign_add)
    x = torch.tensor([1.0, 1.0])
    assert read(x).tolist() == [1.0, 2.0]
    v.assign([5.0, 6.0])
    assert read(x).tolist() == [5.0, 6.0]
    assert add(x).tolist() == [6.0, 7.0] and v.value().tolist() == [6.0, 7.0]


def test_running_statistics_are_written_back() -> None:
    mine, wanted = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    f, x = function(mine), tensor(6, 3)
    for _ in range(3):
        y, z = f(x), wanted(x)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-6)
        for loss in (y, z):
            (loss * loss * x).sum().backward()  # computes nothing of the forward graph again: no second update
    np.testing.assert_allclose(mine.weight.grad.numpy(), wanted.weight.grad.numpy(), rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        np.testing.assert_allclose(getattr(mine, name).numpy(), getattr(wanted, name).numpy(), rtol=1e-5)
    mine.eval()
    before = mine.running_mean.numpy().copy()
    f(x)
    np.testing.assert_array_equal(mine.running_mean.numpy(), before)


def network() -> Any:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def test_a_whole_training_step_is_traced() -> None:
    """Parameters are updated inside, as the same steps of a graph have it; slots serve traces of all sizes."""
    sizes = [4, 4, 2, 4, 2]
    batches = [(array(n, 3), RNG.integers(0, 2, n)) for n in sizes]
    model, optimizer = network(), gf.train.AdamOptimizer(0.05)

    @function(trains=True)
    def step(x: Any, y: Any) -> Any:
        loss = gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=model(x)))
        return loss, optimizer.minimize(loss)

    found = [step(torch.tensor(x), torch.tensor(y))[0].item() for x, y in batches]
    assert len(step.traces) == 2

    with gf.Graph().as_default(), gf.Session() as session:
        x, y = gf.placeholder(gf.float32, [None, 3]), gf.placeholder(gf.int64, [None])
        other = network()
        loss = gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=other(x)))
        update = gf.train.AdamOptimizer(0.05).minimize(loss)
        session.run(gf.global_variables_initializer())
        wanted = [session.run([loss, update], {x: a, y: b})[0] for a, b in batches]
        weights = session.run(gf.trainable_variables())
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for mine, theirs in zip(model.parameters(), weights, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), theirs, rtol=1e-4, atol=1e-6)


def test_a_training_trace_sees_changes_from_outside() -> None:
    model, optimizer = network(), gf.train.GradientDescentOptimizer(0.0)

    @function(trains=True)
    def step(x: Any) -> Any:
        loss = gf.reduce_sum(model(x))
        return loss, optimizer.minimize(loss)

    x = tensor(2, 3)
    view = model[2].bias.detach()
    before = step(x)[0].item()
    with no_grad():
        model[2].bias += 1.0
    assert step(x)[0].item() == pytest.approx(before + 4.0, rel=1e-5)
    np.testing.assert_array_equal(view.numpy(), model[2].bias.detach().numpy())  # the memory is still the same


def test_what_a_training_trace_only_reads_may_change_between_traces() -> None:
    scale, model, optimizer = tensor(1), network(), gf.train.GradientDescentOptimizer(0.0)

    @function(trains=True)
    def step(x: Any) -> Any:
        loss = gf.reduce_sum(model(x) * scale)
        return loss, optimizer.minimize(loss)

    for n in (2, 3, 2):
        scale.add_(1.0)
        x = tensor(n, 3)
        np.testing.assert_allclose(step(x)[0].item(), (model(x) * scale).sum().item(), rtol=1e-5)
    assert len(step.traces) == 2


def test_parameters_without_axes_are_trained_too() -> None:
    s, optimizer = nn.Parameter(torch.tensor(2.0)), gf.train.GradientDescentOptimizer(0.25)

    @function(trains=True)
    def step() -> Any:
        loss = s * s
        return loss, optimizer.minimize(loss)

    assert [step()[0].item() for _ in range(3)] == [4.0, 1.0, 0.25] and s.item() == 0.25
