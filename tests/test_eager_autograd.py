"""Gradients as in PyTorch: in place, through views, by hooks and functions of one's own; tapes; modes of recording."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import hooks
from graphflow.errors import Error, FailedPreconditionError, InvalidArgumentError, NumericsError, UnimplementedError
from tests.eager_programs import report
from tests.gradient_answers import ANSWERS, PROGRAMS
from tests.test_eager import agree

WANTED: dict[str, Any] = json.loads(ANSWERS.read_text())


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_report_as_in_pytorch(name: str) -> None:
    if WANTED[name] == "refused":
        with pytest.raises(Error):
            report(torch, PROGRAMS[name])
    else:
        assert agree(json.loads(json.dumps(report(torch, PROGRAMS[name]))), WANTED[name])


# -- where gradients lie ---------------------------------------------------------------------------------------------


def test_the_gradient_stays_the_tensor_that_it_is() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    held, view = w.grad, w.grad[0]
    (w * w).sum().backward()
    assert w.grad is held
    assert held.tolist() == [4.0, 8.0]
    assert view.item() == 4.0


def test_a_gradient_that_is_seen_to_change_is_refused_where_its_value_is_needed() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    scale = torch.tensor(2.0, requires_grad=True)
    (w * w).sum().backward()
    y = (w.grad * scale).sum()
    (w * w).sum().backward()
    with pytest.raises(FailedPreconditionError, match="changed in place"):
        y.backward()


def test_a_view_made_once_serves_every_step() -> None:
    w = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    turned = w.t()
    for _ in range(3):
        (turned * turned).sum().backward()
    assert w.grad.tolist() == [[6.0, 12.0], [18.0, 24.0]]
    h = (w * w).t()
    h.sum().backward()
    with pytest.raises(FailedPreconditionError, match="computed already"):
        h.sum().backward()


def test_unused_views_of_a_tensor_are_forgotten() -> None:
    x = torch.zeros(8)
    for _ in range(1000):
        x[0]
    assert len(x.views) < 100


def test_a_changed_view_forms_no_cycle() -> None:
    w = torch.ones(3, requires_grad=True)
    gc.disable()
    try:
        y = torch.zeros(3)
        for i in range(3):
            y[i] = w[i] * 2
        y[1:].mul_(w[0])
        y.sum().backward()
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_what_a_function_saved_is_let_go_with_its_gradient() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x * 1)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            saved.append(weakref.ref(x))
            return grad * 2

    saved: list[Any] = []
    x = torch.ones(2, requires_grad=True)
    y = Double.apply(x)
    y.sum().backward()
    assert saved[0]() is None
    assert x.grad.tolist() == [2.0, 2.0]


def test_functions_are_for_what_is_computed_at_once() -> None:
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

    with gf.Graph().as_default():
        p = gf.placeholder(gf.float32, [2])
        with pytest.raises(UnimplementedError, match="computed at once"):
            Same.apply(p)
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(FailedPreconditionError, match="no derivative"):
        Same.apply(x).sum().backward()


def test_a_function_answers_a_tape() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 3 * ctx.saved_tensors[0] ** 2

    x = torch.tensor([1.0, 2.0])
    with gf.GradientTape() as outer:
        outer.watch(x)
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = Cube.apply(x)
        slope = inner.gradient(y, x)
    assert slope.tolist() == [3.0, 12.0]
    assert outer.gradient(slope, x).tolist() == [6.0, 12.0]


def test_wrong_gradients_of_a_function_are_named() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, n: int) -> Any:
            return x * n

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    x = torch.ones(2, requires_grad=True)
    with pytest.raises(InvalidArgumentError, match=r"backward of Wrong returned 1 gradients"):
        Wrong.apply(x, 2).sum().backward()


def test_anomalies_are_named_with_the_first_value_that_is_no_number() -> None:
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    with torch.autograd.detect_anomaly(), pytest.raises(NumericsError, match=r"not a number(.|\n)*Sqrt") as caught:
        (x.sqrt() * 2).sum().backward()
    assert "test_eager_autograd.py" in str(caught.value)
    assert not torch.autograd.is_anomaly_enabled()


def test_nodes_tell_how_a_tensor_was_computed() -> None:
    x = torch.ones(2, requires_grad=True)
    y = (x * 2).sum()
    assert x.grad_fn is None
    assert y.grad_fn == y.grad_fn
    (product, number), *_ = y.grad_fn.next_functions
    assert (product.name(), number) == ("MulBackward0", 0)
    leaf, constant = product.next_functions
    assert leaf[0].name() == "AccumulateGrad"
    assert leaf[0].variable is x
    assert constant == (None, 0)


def test_gradcheck_finds_a_wrong_derivative() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 3

    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: (a.sin() * a, a.sum()), (x,))
    assert torch.autograd.gradgradcheck(lambda a: (a**3).sum(), (x,))
    with pytest.raises(NumericsError, match="small steps"):
        torch.autograd.gradcheck(Wrong.apply, (x,))
    assert not torch.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)


# -- modes of recording ----------------------------------------------------------------------------------------------


def test_a_decorated_generator_records_nothing_and_its_driver_does() -> None:
    @torch.no_grad()
    def steps() -> Iterator[bool]:
        given = yield torch.is_grad_enabled()
        yield given
        try:
            yield torch.is_grad_enabled()
        except ValueError:
            yield torch.is_grad_enabled()

    running = steps()
    assert not next(running)
    assert torch.is_grad_enabled()
    assert running.send("given") == "given"
    assert not next(running)
    assert not running.throw(ValueError())
    assert torch.is_grad_enabled()
    running.close()


def test_a_decorated_coroutine_leaves_other_tasks_their_mode() -> None:
    @torch.no_grad()
    async def quiet() -> list[bool]:
        before = torch.is_grad_enabled()
        await asyncio.sleep(0)
        return [before, torch.is_grad_enabled()]

    async def other() -> list[bool]:
        found = []
        for _ in range(3):
            found.append(torch.is_grad_enabled())
            await asyncio.sleep(0)
        return found

    async def both() -> Any:
        return await asyncio.gather(quiet(), other())

    assert asyncio.run(both()) == [[False, False], [True, True, True]]


@pytest.mark.parametrize(
    "decorator", [torch.no_grad, torch.no_grad(), torch.inference_mode(), torch.inference_mode, None]
)
def test_decorated_functions_record_nothing(decorator: Any) -> None:
    if decorator is None:
        decorator = torch.set_grad_enabled(False)
    found = decorator(torch.is_grad_enabled)
    assert torch.is_grad_enabled()
    assert not found()
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert torch.enable_grad()(torch.is_grad_enabled)()


# -- tapes -----------------------------------------------------------------------------------------------------------


def test_a_tape_gives_whole_jacobians() -> None:
    x, other = torch.tensor([1.0, 2.0, 3.0]), torch.ones(2)
    with gf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x**2
    assert np.array_equal(tape.jacobian(y, x).numpy(), np.diag([2.0, 4.0, 6.0]))
    assert tape.jacobian(y, other) is None
    assert tape.jacobian(y, [other], unconnected_gradients="zero")[0].shape == (3, 2)
    with gf.eager():
        v = gf.Variable([1.0, 2.0], name="jacobian")
        with gf.GradientTape() as tape:
            y = v * v
        assert tape.jacobian(y, v).tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_a_tape_gives_the_jacobian_of_each_row() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = torch.stack([x[:, 0] * x[:, 1], x[:, 1]], 1)
    assert tape.batch_jacobian(y, x).tolist() == [[[1, 0], [0, 1]], [[3, 2], [0, 1]], [[5, 4], [0, 1]]]


def test_persistent_tapes_nest_and_no_grad_does_not_stop_them() -> None:
    x = torch.tensor([1.0, 2.0])
    with torch.no_grad(), gf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with gf.GradientTape(persistent=True) as inner:
            inner.watch(x)
            y = x**3
        first, again = inner.gradient(y, x), inner.gradient(y, x)
    assert first.tolist() == again.tolist() == [3.0, 12.0]
    assert outer.gradient(first, x).tolist() == [6.0, 12.0]
    assert outer.gradient(y, x).tolist() == [3.0, 12.0]


def test_a_tape_marks_nothing_for_later_tapes() -> None:
    x, z = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    with gf.GradientTape() as outer:
        with gf.GradientTape() as inner:
            inner.watch(x)
            outer.watch(x)
            y = x * x
        again = x * 3  # the outer tape still watches it
    assert inner.gradient(y, x).tolist() == [2.0, 4.0]
    assert outer.gradient(again, x).tolist() == [3.0, 3.0]
    with gf.GradientTape() as tape:
        tape.watch(z)
        plain = x * x
        y = plain * z
    assert plain.origin is None
    assert tape.gradient(y, [x, z])[0] is None
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.function(lambda a: a * a)(x)
    assert tape.gradient(y, x).tolist() == [2.0, 4.0]  # though nothing watches it by now


def test_a_tape_watches_what_it_is_told_to() -> None:
    with gf.eager():
        v = gf.Variable([1.0, 2.0], name="trained")
        fixed = gf.Variable([3.0, 4.0], trainable=False, name="fixed")
        with gf.GradientTape(persistent=True) as tape:
            y = v * fixed
        assert tape.watched_variables() == (v,)
        assert tape.gradient(y, [v, fixed])[1] is None
        assert tape.gradient(y, v).tolist() == [3.0, 4.0]
        assert tape.jacobian(y, [v, fixed], unconnected_gradients="zero")[1].tolist() == [[0.0, 0.0], [0.0, 0.0]]
        with gf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(fixed)
            y = v * fixed
        assert tape.watched_variables() == (fixed,)
        assert tape.gradient(y, v) is None
        assert tape.gradient(y, fixed).tolist() == [1.0, 2.0]
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    with gf.GradientTape(watch_accessed_variables=False) as tape:
        y = w * w
    assert tape.gradient(y, w) is None


def test_no_grad_cuts_what_a_tape_records() -> None:
    x = torch.tensor(2.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        with torch.no_grad():
            y = x * x
        y = y * x
    assert tape.gradient(y, x).item() == 4.0  # what a traced function answers


def test_a_tape_inside_of_no_grad_records_all_the_same() -> None:
    x, w = torch.tensor(2.0), torch.tensor(3.0, requires_grad=True)
    with torch.no_grad():
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = x * x * w
        assert not torch.is_grad_enabled()
        assert tape.gradient(y, x).item() == 12.0
        assert tape.gradient(y, w).item() == 4.0
    assert torch.is_grad_enabled()


def test_tensors_may_come_from_a_generator() -> None:
    model = torch.nn.Linear(2, 1)
    loss = model(torch.tensor([[3.0, 5.0]])).sum()
    weight, bias = torch.autograd.grad(loss, model.parameters(), retain_graph=True)
    assert weight.tolist() == [[3.0, 5.0]] and bias.tolist() == [1.0]
    loss.backward(inputs=(p for p in [model.bias]))
    assert model.weight.grad is None and model.bias.grad.tolist() == [1.0]
    x = torch.ones(2, requires_grad=True)
    (g,) = torch.autograd.grad((x * n for n in (2, 3)), iter([x]), (torch.ones(2) for _ in range(2)))
    assert g.tolist() == [5.0, 5.0]
    torch.autograd.backward(x.sum() * n for n in (2, 3))
    assert x.grad.tolist() == [5.0, 5.0]


def test_inference_mode_of_false_records() -> None:
    @torch.inference_mode(False)
    def recorded() -> bool:
        return torch.is_grad_enabled()

    assert recorded()
    with torch.no_grad():
        assert recorded()
        with torch.inference_mode(False):
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()


def test_what_is_stopped_requires_no_gradient() -> None:
    x = torch.ones(2, requires_grad=True)
    with gf.eager():
        y = gf.stop_gradient(x)
    assert not y.requires_grad
    (x * y).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


# -- what a derivative returns may be what a user has ----------------------------------------------------------------


@pytest.fixture
def no_hooks_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program without hooks, which goes another way."""
    monkeypatch.setattr(hooks, "used", [False])


def _by_function(x: Any, w: Any) -> Any:
    class Weighted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, w: Any) -> Any:
            ctx.save_for_backward(w)
            return (x * w).sum()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return ctx.saved_tensors[0], None

    return Weighted.apply(x, w)


def _by_hook(x: Any, w: Any) -> Any:
    y = x * 1
    y.register_hook(lambda gradient: w)
    return (y + 0).sum()


def _by_hook_of_a_leaf(x: Any, w: Any) -> Any:
    x.register_hook(lambda gradient: w)
    return (x * 1).sum()


def _by_custom_gradient(x: Any, w: Any) -> Any:
    with gf.eager():
        return gf.custom_gradient(lambda x: (gf.reduce_sum(x * w), lambda dy: w))(x)


@pytest.mark.usefixtures("no_hooks_yet")
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("compute", [_by_function, _by_hook, _by_hook_of_a_leaf, _by_custom_gradient])
def test_what_a_derivative_returns_is_not_added_to(compute: Any, tracked: bool, create_graph: bool) -> None:
    x = torch.zeros(2, requires_grad=True)
    w = torch.tensor([1.0, 2.0], requires_grad=tracked)
    compute(x, w).backward(create_graph=create_graph)
    assert x.grad is not w
    assert x.grad.tolist() == [1.0, 2.0]
    compute(x, w).backward()
    assert x.grad.tolist() == [2.0, 4.0]
    with torch.no_grad():
        x.grad.zero_()
    assert w.tolist() == [1.0, 2.0]


@gf.RegisterGradient("HandsItsInputOn")
def _its_input(op: Any, gradient: Any) -> Any:
    return op.inputs[0]


@pytest.mark.usefixtures("no_hooks_yet")
def test_an_input_that_a_derivative_returns_is_not_added_to() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2):
        with gf.eager(), gf.get_default_graph().gradient_override_map({"Exp": "HandsItsInputOn"}):
            y = gf.exp(w)
        y.sum().backward()
    assert w.tolist() == [1.0, 2.0]
    assert w.grad.tolist() == [2.0, 4.0]


def test_a_gradient_that_a_hook_kept_is_not_added_to() -> None:
    x = torch.ones(2, requires_grad=True)
    seen: list[Any] = []
    x.register_hook(seen.append)
    (x * 3).sum().backward()
    (x * 4).sum().backward()
    assert [g.tolist() for g in seen] == [[3.0, 3.0], [4.0, 4.0]]
    assert x.grad.tolist() == [7.0, 7.0]


@pytest.mark.usefixtures("no_hooks_yet")
def test_leaves_of_one_gradient_do_not_share_it() -> None:
    x, z, seed = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True), torch.ones(2)
    (x + z).backward(seed)
    (x * 2).sum().backward()
    assert (x.grad.tolist(), z.grad.tolist(), seed.tolist()) == ([3.0, 3.0], [1.0, 1.0], [1.0, 1.0])


def test_with_create_graph_the_gradient_of_the_gradient_passes_the_copy() -> None:
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    (second,) = torch.autograd.grad(x.grad.sum(), [x])
    assert second.tolist() == [12.0, 18.0]


def test_outputs_without_gradients_hold_nothing() -> None:
    class WithNumbers(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1, x.long()

        @staticmethod
        def backward(ctx: Any, gradient: Any, of_numbers: Any) -> Any:
            return gradient

    x = torch.ones(2, requires_grad=True)
    for numbers_of in (lambda h: WithNumbers.apply(h)[1], lambda h: h.long(), lambda h: h.argmax(), lambda h: h > 0):
        h = x * 2
        held = weakref.ref(h)
        numbers = numbers_of(h)
        del h
        gc.collect()
        assert held() is None
        assert numbers.is_leaf


def test_an_output_marked_as_non_differentiable_is_a_leaf() -> None:
    class Tripled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x * 3
            ctx.mark_non_differentiable(y)
            return y

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * 100

    x = torch.ones(2, requires_grad=True)
    y = Tripled.apply(x).requires_grad_()
    (y * 2).sum().backward()
    assert y.grad.tolist() == [2.0, 2.0]
    assert x.grad is None


def test_a_view_from_forward_is_refused_when_what_it_shows_changed() -> None:
    class First(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x[0:1]

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return torch.cat([10 * gradient, torch.zeros(1)])

    x = torch.ones(2, requires_grad=True)
    First.apply(x * 1).sum().backward()
    assert x.grad.tolist() == [10.0, 0.0]
    h = x * 1
    y = First.apply(h)
    h.mul_(3.0)
    with pytest.raises(FailedPreconditionError, match="a derivative of its own"):
        y.sum().backward()
