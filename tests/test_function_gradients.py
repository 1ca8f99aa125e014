"""Derivatives of traced functions: those of the eager code, computed once, of higher orders, and errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager.function import function
from graphflow.eager.recording import no_grad
from graphflow.errors import FailedPreconditionError, GradientLookupError
from tests.test_function import same, tensor


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    with torch():
        yield


def mlp(x: Any, w: Any, b: Any) -> Any:
    return gf.reduce_mean(gf.square(gf.tanh(gf.matmul(x, w) + b)))


def test_gradients_are_those_of_the_eager_code_bit_for_bit() -> None:
    found = []
    for f in (mlp, function(mlp)):
        rng = np.random.default_rng(5)
        xs = [torch.tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in ([6, 4], [4, 3], 3)]
        for _ in range(2):  # accumulates
            f(*xs).backward()
        found.append([x.grad for x in xs])
    for a, b in zip(*found, strict=True):
        same(a, b)


def test_one_record_and_nothing_is_computed_twice() -> None:
    @function
    def f(x: Any) -> Any:
        return gf.reduce_sum(gf.exp(gf.sin(x)))

    x = tensor(5, grad=True)
    y = f(x)
    assert y.origin.inputs == (x,)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), (x.sin().exp() * x.cos()).detach().numpy(), rtol=1e-6)
    trace = f.traces[0]
    (saving,) = trace.stage._saving.values()
    ((call, _),) = saving._backward.values()
    assert call is not None
    derived, _ = trace.stage.derivative((0,), (0,))
    feeds = [*derived.inputs, *saving._kept]
    types = {i.type for i in trace.session.program(list(derived.outputs), {t: np.zeros(t.dims, "f4") for t in feeds})
             .instructions}  # fmt: skip
    assert "Exp" not in types and "Sin" not in types and "Cos" in types


def test_derivatives_of_second_and_third_order() -> None:
    cube = function(lambda x: x * x * x * x)
    x = torch.tensor(2.0, requires_grad=True)
    with gf.GradientTape() as outermost:
        outermost.watch(x)
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as inner:
                inner.watch(x)
                y = cube(x)
            first = inner.gradient(y, x)
        second = outer.gradient(first, x)
    third = outermost.gradient(second, x)
    assert [v.item() for v in (first, second, third)] == [32.0, 48.0, 48.0]


def test_outputs_that_have_no_derivative_take_no_part() -> None:
    @function
    def f(x: Any, y: Any) -> Any:
        return (x.argmax(0) == y).float(), (x * 2.0).sum(), x.detach()

    x = tensor(3, grad=True)
    right, loss, cut = f(x, torch.tensor(1))
    assert [t.requires_grad for t in (right, loss, cut)] == [False, True, False]
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 2.0, 2.0])


def test_random_numbers_of_a_derivative_are_those_of_the_call() -> None:
    @function
    def f(x: Any) -> Any:
        return x * gf.random_normal([64])

    x = torch.tensor(np.ones(64, np.float32), requires_grad=True)
    y = f(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_control_flow_of_the_graph_has_gradients() -> None:
    @function
    def f(x: Any) -> Any:
        x = gf.cond(gf.reduce_sum(x) > 0.0, lambda: x * 2.0, lambda: x * 3.0)
        return gf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * v), [gf.constant(0), x])[1]

    for sign, factor in ((1.0, 2.0), (-1.0, 3.0)):
        x = torch.tensor([sign * 0.5], requires_grad=True)
        y = f(x)
        y.sum().backward()
        z = 0.5 * factor
        np.testing.assert_allclose(y.detach().numpy(), [z**8], rtol=1e-5)
        np.testing.assert_allclose(x.grad.numpy(), [sign * 8 * z**7 * factor], rtol=1e-5)


def test_what_changed_in_place_is_refused() -> None:
    w = tensor(3)
    f = function(lambda x: (x * w).sum())
    x = tensor(3, grad=True)
    y = f(x)
    w += 1.0
    with pytest.raises(FailedPreconditionError, match="changed in place"):
        y.backward()


def test_a_second_backward_is_refused() -> None:
    x = tensor(3, grad=True)
    y = function(lambda x: (x * x).sum())(x)
    y.backward()
    with pytest.raises(FailedPreconditionError, match="computed already"):
        y.backward()


def test_a_missing_gradient_is_told_when_it_is_asked_for() -> None:
    @gf.RegisterGradient("TestFunctionHasOne")
    def _(op: Any, dy: Any) -> Any:
        return dy

    x = tensor(3, grad=True)

    @function
    def f(x: Any) -> Any:
        with gf.get_default_graph().gradient_override_map({"Exp": "NobodyRegisteredThis"}):
            return gf.reduce_sum(gf.exp(x) + x)

    y = f(x)
    with pytest.raises(GradientLookupError, match="NobodyRegisteredThis"):
        y.backward()


def test_training_goes_on_through_a_traced_loss() -> None:
    rng = np.random.default_rng(2)
    x = torch.tensor(rng.standard_normal((64, 3)).astype(np.float32))
    true = torch.tensor(np.array([1.0, -2.0, 0.5], np.float32))
    w = torch.tensor(np.zeros(3, np.float32), requires_grad=True)
    loss = function(lambda x, y: gf.reduce_mean(gf.square(gf.reduce_sum(x * w, 1) - y)))
    y = gf.reduce_sum(x * true, 1)
    for _ in range(100):
        w.grad = None
        loss(x, y).backward()
        with no_grad():
            w -= 0.2 * w.grad
    np.testing.assert_allclose(w.detach().numpy(), true.numpy(), atol=1e-3)
    assert len(loss.traces) == 1


def test_second_derivatives_through_an_output_that_nobody_holds() -> None:
    """The gradient of the cross-entropy reads its second output; both modes must differentiate that again."""
    labels = torch.tensor([1])

    def loss(z: Any) -> Any:
        return gf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=z)

    logits = np.array([[1.0, 2.0, 0.5]])
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    g = p - np.eye(3)[1]
    for f in (loss, function(loss)):
        z = torch.tensor(logits, requires_grad=True)
        with gf.GradientTape() as outer:
            outer.watch(z)
            with gf.GradientTape() as inner:
                inner.watch(z)
                y = f(z)
            first = inner.gradient(y, z)
            square = (first * first).sum()
        np.testing.assert_allclose(first.detach().numpy(), [g], rtol=1e-12)
        second = outer.gradient(square, z).detach().numpy()
        np.testing.assert_allclose(second, [2 * (np.diag(p) - np.outer(p, p)) @ g], rtol=1e-9)
