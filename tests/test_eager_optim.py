"""Optimisers and schedules against their formulas, written once more in NumPy."""

from __future__ import annotations

import inspect
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import eager as torch
from graphflow.eager import nn, optim

Update = Iterator[Any]


def sgd(
    p: Any, gradients: Any, lr: float, momentum: float = 0.0, dampening: float = 0.0,
    weight_decay: float = 0.0, nesterov: bool = False,
) -> Update:  # fmt: skip
    buffer = None
    for g in gradients:
        g = g + weight_decay * p
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        p = p - lr * g
        yield p


def adam(
    p: Any, gradients: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0.0, decoupled: float = 0.0, amsgrad: bool = False,
) -> Update:  # fmt: skip
    m = v = largest = np.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        p = p * (1 - lr * decoupled)
        g = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
        largest = np.maximum(largest, v)
        squares = (largest if amsgrad else v) / (1 - betas[1] ** t)
        p = p - lr * m / (1 - betas[0] ** t) / (np.sqrt(squares) + eps)
        yield p


def rmsprop(
    p: Any, gradients: Any, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
    weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
) -> Update:  # fmt: skip
    v = mean = buffer = np.zeros_like(p)
    for g in gradients:
        g = g + weight_decay * p
        v, mean = alpha * v + (1 - alpha) * g**2, alpha * mean + (1 - alpha) * g
        buffer = momentum * buffer + g / (np.sqrt(v - mean**2 if centered else v) + eps)
        p = p - lr * buffer
        yield p


def adagrad(
    p: Any, gradients: Any, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0, eps: float = 1e-10,
) -> Update:  # fmt: skip
    total = np.full_like(p, initial_accumulator_value)
    for t, g in enumerate(gradients):
        g = g + weight_decay * p
        total = total + g**2
        p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(total) + eps)
        yield p


RULES: list[tuple[Any, dict[str, Any], Callable[..., Update], dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.1}, sgd, {}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}, sgd, {}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, sgd, {}),
    (optim.Adam, {}, adam, {}),
    (optim.Adam, {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}, adam, {}),
    (optim.AdamW, {}, adam, {"decoupled": 0.01}),
    (optim.AdamW, {"lr": 0.1, "weight_decay": 0.3}, adam, {"decoupled": 0.3, "weight_decay": 0.0}),
    (optim.RMSprop, {}, rmsprop, {}),
    (optim.RMSprop, {"lr": 0.1, "centered": True, "momentum": 0.9, "weight_decay": 0.1}, rmsprop, {}),
    (optim.Adagrad, {}, adagrad, {}),
    (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "initial_accumulator_value": 0.5}, adagrad, {}),
]


@pytest.mark.parametrize(("rule", "options", "reference", "other"), RULES)
@pytest.mark.parametrize("maximize", [False, True])
def test_formulas(rule: Any, options: Any, reference: Any, other: Any, maximize: bool) -> None:
    draw = np.random.default_rng(0)
    parameters = [nn.Parameter(draw.normal(size=shape)) for shape in ((3, 2), (3, 2), (4,), ())]
    gradients = [draw.normal(size=(8, *p.dims)) for p in parameters]
    ways = [
        reference(p.value.copy(), -g if maximize else g, **{**options, **other})
        for p, g in zip(parameters, gradients, strict=True)
    ]
    optimizer = rule(parameters, **options, maximize=maximize)
    for step in range(8):
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = torch.tensor(g[step])
        optimizer.step()
        for p, g, way in zip(parameters, gradients, ways, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), next(way), rtol=1e-10)
            assert (p.grad.numpy() == g[step]).all()  # the gradient is the user's


def test_steps_are_in_place_and_counted() -> None:
    p = nn.Parameter(np.ones(3))
    memory, seen = p.value, p.detach()
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    optim.SGD([p], lr=0.25).step()
    assert p.value is memory and seen.numpy().tolist() == [0.5] * 3
    with pytest.raises(tf.errors.FailedPreconditionError, match="changed in place"):
        loss.backward()


def test_parameters_without_a_gradient_stay() -> None:
    used, unused = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    optimizer = optim.Adam([used, unused], lr=1.0, weight_decay=0.1)
    used.sum().backward()
    optimizer.step()
    assert unused.item() == 1.0 and used.item() != 1.0 and list(optimizer.state) == [used]
    optimizer.zero_grad(set_to_none=False)
    assert used.grad.item() == 0.0 and unused.grad is None
    optimizer.zero_grad()
    assert used.grad is None


def test_groups_have_settings_of_their_own() -> None:
    a, b, c = (nn.Parameter(np.ones(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [c], "weight_decay": 1.0})
    (a + b + c).backward()
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item(), c.item()], [0.9, 0.5, 0.8])


def test_a_closure_is_computed_first() -> None:
    p = nn.Parameter(np.full(1, 3.0))
    optimizer = optim.SGD([p], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.item() == 0.0


def test_going_on_from_a_state_is_as_if_nothing_had_happened() -> None:
    draw = np.random.default_rng(1)
    gradients = draw.normal(size=(6, 4))

    def run(p: Any, optimizer: Any, steps: slice) -> None:
        for g in gradients[steps]:
            p.grad = torch.tensor(g)
            optimizer.step()

    whole = nn.Parameter(np.ones(4))
    run(whole, optim.Adam([whole], lr=0.1, amsgrad=True), slice(0, 6))
    first = nn.Parameter(np.ones(4))
    before = optim.Adam([first], lr=0.1, amsgrad=True)
    run(first, before, slice(0, 3))
    second = nn.Parameter(first.detach())
    after = optim.Adam([second], lr=0.7)
    after.load_state_dict(before.state_dict())
    run(second, after, slice(3, 6))
    assert second.detach().numpy().tobytes() == whole.detach().numpy().tobytes()


def handed_on(state: Any) -> Any:
    return state


def plain(found: Any) -> Any:
    """Arrays and tensors as lists."""
    if isinstance(found, dict):
        return {key: plain(part) for key, part in found.items()}
    return [plain(part) for part in found] if isinstance(found, list) else getattr(found, "tolist", lambda: found)()


def through_a_file(state: Any) -> Any:
    memory = io.BytesIO()
    torch.save({"optimizer": state}, memory)
    memory.seek(0)
    return torch.load(memory)["optimizer"]


@pytest.mark.parametrize("way", [handed_on, through_a_file])
@pytest.mark.parametrize(
    "rule",
    [
        optim.SGD, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax, optim.Adadelta, optim.Adagrad, optim.RMSprop,
        optim.Rprop, optim.LBFGS,
    ],
)  # fmt: skip
def test_every_state_is_complete(rule: Any, way: Any) -> None:
    """Steps before and after a state is handed on are the steps of one optimiser."""
    options = {"momentum": 0.9} if rule is optim.SGD else {"max_iter": 2} if rule is optim.LBFGS else {}

    def run(p: Any, optimizer: Any, steps: int) -> None:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = ((p - torch.arange(4).double()) ** 4).sum()
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)

    whole = nn.Parameter(np.ones(4))
    run(whole, rule([whole], lr=0.01, **options), 6)
    first = nn.Parameter(np.ones(4))
    before = rule([first], lr=0.01, **options)
    run(first, before, 3)
    second = nn.Parameter(first.detach())
    after = rule([second], lr=0.5, **options)
    given = way(before.state_dict())
    after.load_state_dict(given)
    run(second, after, 3)
    assert second.detach().numpy().tobytes() == whole.detach().numpy().tobytes()
    held = [value for state in after.state.values() for value in state.values() if hasattr(value, "dims")]
    assert held == []  # arrays, into which steps write
    again = rule([nn.Parameter(np.ones(4))], lr=0.5, **options)
    again.load_state_dict(given)  # which the steps of another did not change
    assert plain(again.state_dict()) == plain(way(before.state_dict()))


def test_a_line_search_goes_down_where_full_steps_do_not() -> None:
    ends = []
    for search in (None, "strong_wolfe"):
        p = nn.Parameter(np.array([-1.2, 1.0]))
        optimizer = optim.LBFGS([p], max_iter=40, line_search_fn=search)

        def closure(p: Any = p, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = 100.0 * (p[1] - p[0] ** 2) ** 2 + (1.0 - p[0]) ** 2
            loss.backward()
            return loss

        optimizer.step(closure)
        ends.append(closure().item())
    assert ends[1] < 1e-9 < ends[0]  # tolerance_change: a smaller step ends the search


def test_zeros_are_written_where_the_gradient_lies() -> None:
    p = nn.Parameter(np.ones(2))
    (p * 2.0).sum().backward()
    seen = p.grad
    optimizer = optim.SGD([("weight", p)], lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is seen and seen.tolist() == [0.0, 0.0]
    (p * 3.0).sum().backward()
    assert seen.tolist() == [3.0, 3.0]


def test_arguments_are_a_signature() -> None:
    assert str(inspect.signature(optim.AdamW)).startswith(
        "(params, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01, amsgrad=False, *, maximize=False"
    )
    optimizer = optim.Adam([nn.Parameter(np.ones(1))], 0.5, (0.5, 0.6), fused=True, foreach=False)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (0.5, (0.5, 0.6))
    with pytest.raises(tf.errors.InvalidArgumentError, match="lr is not negative"):
        optimizer.add_param_group({"params": [nn.Parameter(np.ones(1))], "lr": -1.0})


def sgd_of_one() -> Any:
    return optim.SGD([nn.Parameter(np.ones(1))], lr=0.1)


@pytest.mark.parametrize(
    ("misuse", "told"),
    [
        (lambda: optim.SGD([], lr=0.1), "needs parameters"),
        (lambda: sgd_of_one().load_state_dict(3), "state_dict\\(\\) gave"),
        (lambda: sgd_of_one().load_state_dict({"state": {}}), "state_dict\\(\\) gave"),
        (
            lambda: sgd_of_one().load_state_dict({"state": {4: {}}, "param_groups": [{"params": [0]}]}),
            "of 1 parameters",
        ),
        (lambda: optim.SGD(nn.Parameter(np.ones(1)), lr=0.1), "iterable"),
        (lambda: optim.SGD([np.ones(1)], lr=0.1), "eager tensors"),
        (lambda: optim.SGD([nn.Parameter(np.ones(1)) * 2], lr=0.1), "leaves"),
        (lambda: optim.SGD([nn.Parameter(np.ones(1))] * 2, lr=0.1), "twice"),
        (lambda: optim.SGD([nn.Parameter(np.ones(1))], lr=-1.0), "lr is not negative"),
        (lambda: optim.SGD([nn.Parameter(np.ones(1))], nesterov=True), "takes a momentum"),
        (lambda: optim.SGD([{"params": nn.Parameter(np.ones(1)), "beta": 1}]), "no such setting.*beta"),
        (lambda: optim.Adam([nn.Parameter(np.ones(1))], betas=(0.9, 1.0)), "betas"),
        (lambda: optim.lr_scheduler.StepLR(nn.Linear(1, 1), 1), "takes an optimiser"),
        (lambda: optim.lr_scheduler.ReduceLROnPlateau(optim.SGD([nn.Parameter(np.ones(1))]), mode="least"), "min"),
    ],
)
def test_misuse_is_named(misuse: Callable[[], Any], told: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){told}"):
        misuse()


# -- schedules -------------------------------------------------------------------------------------------------------


def rates(make: Callable[[Any], Any], epochs: int, measures: Any = None) -> list[float]:
    optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=0.5)
    scheduler = make(optimizer)
    found = []
    for epoch in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        scheduler.step() if measures is None else scheduler.step(measures[epoch])
        assert scheduler.get_last_lr() == [optimizer.param_groups[0]["lr"]]
    return found


schedules = optim.lr_scheduler


def test_schedules_in_closed_form() -> None:
    e = np.arange(20)
    close = np.testing.assert_allclose
    close(rates(lambda o: schedules.StepLR(o, 3, gamma=0.5), 20), 0.5 * 0.5 ** (e // 3))
    steps = (e >= 4) * 1 + (e >= 9) * 2
    close(rates(lambda o: schedules.MultiStepLR(o, [4, 9, 9], gamma=0.5), 20), 0.5 * 0.5**steps)
    close(rates(lambda o: schedules.ExponentialLR(o, 0.9), 20), 0.5 * 0.9**e)
    close(rates(lambda o: schedules.LambdaLR(o, lambda n: 1 / (1 + n)), 20), 0.5 / (1 + e))
    wave = 0.1 + 0.4 * (1 + np.cos(math.pi * e / 6)) / 2
    close(rates(lambda o: schedules.CosineAnnealingLR(o, 6, eta_min=0.1), 20), wave, atol=1e-12)


def test_another_epoch_is_reached_from_the_beginning() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=0.5)
    scheduler = schedules.StepLR(optimizer, 2, gamma=0.5)
    scheduler.step(5)
    assert scheduler.get_last_lr() == [0.125]
    scheduler.step(1)
    assert scheduler.get_last_lr() == [0.5]


def test_a_sequence_goes_on_from_its_state() -> None:
    def made() -> tuple[Any, Any]:
        o = optim.SGD([nn.Parameter(np.ones(1))], lr=0.5)
        parts = [schedules.LinearLR(o, 0.1, total_iters=3), schedules.ExponentialLR(o, 0.9)]
        return o, schedules.SequentialLR(o, parts, milestones=[3])

    (whole, one), (first, two), (second, three) = made(), made(), made()
    for _ in range(6):
        one.step()
    for _ in range(2):
        two.step()
    second.load_state_dict(first.state_dict())
    three.load_state_dict(two.state_dict())
    for _ in range(4):
        three.step()
    assert second.param_groups[0]["lr"] == whole.param_groups[0]["lr"]


def test_a_cycle_ends() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=0.5, momentum=0.9)
    scheduler = schedules.OneCycleLR(optimizer, 1.0, total_steps=3)
    for _ in range(3):
        scheduler.step()
    with pytest.raises(tf.errors.OutOfRangeError, match="the cycle is over"):
        scheduler.step()
    with pytest.raises(tf.errors.InvalidArgumentError, match="no momentum"):
        schedules.OneCycleLR(optim.Adagrad([nn.Parameter(np.ones(1))]), 1.0, total_steps=3)


def test_a_plateau_reduces_the_rate() -> None:
    measures = [5, 4, 4, 4, 4, 3, 3, 3, 3, 3]
    found = rates(
        lambda o: schedules.ReduceLROnPlateau(o, factor=0.1, patience=1, cooldown=1, min_lr=0.004), 10, measures
    )
    np.testing.assert_allclose(found, [0.5] * 4 + [0.05] * 4 + [0.005] * 2)
    up = rates(lambda o: schedules.ReduceLROnPlateau(o, mode="max", patience=0), 4, [1.0, 2.0, 3.0, 3.0])
    assert up == [0.5] * 4


@pytest.mark.parametrize("way", [handed_on, through_a_file])
@pytest.mark.parametrize(
    "make",
    [
        lambda o: schedules.MultiStepLR(o, [2, 4, 4]), lambda o: schedules.CosineAnnealingLR(o, 9),
        lambda o: schedules.OneCycleLR(o, 0.5, total_steps=20), lambda o: schedules.ReduceLROnPlateau(o, patience=0),
        lambda o: schedules.SequentialLR(o, [schedules.ConstantLR(o), schedules.ExponentialLR(o, 0.9)], [2]),
    ],
)  # fmt: skip
def test_rates_go_on_where_they_were(make: Any, way: Any) -> None:
    def rates(optimizer: Any, schedule: Any, count: int) -> list[float]:
        found = []
        for _ in range(count):
            optimizer.step()
            schedule.step(*((1.0,) if isinstance(schedule, schedules.ReduceLROnPlateau) else ()))
            found.append(optimizer.param_groups[0]["lr"])
        return found

    first = optim.SGD([nn.Parameter(np.ones(1))], lr=0.1, momentum=0.9)
    before = make(first)
    rates(first, before, 3)
    second = optim.SGD([nn.Parameter(np.ones(1))], lr=0.1, momentum=0.9)
    after = make(second)
    second.load_state_dict(way(first.state_dict()))
    after.load_state_dict(way(before.state_dict()))
    assert rates(second, after, 4) == rates(first, before, 4)


def test_a_schedule_goes_on_from_its_state() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(1))], lr=0.5)
    first = schedules.StepLR(optimizer, 2)
    for _ in range(3):
        first.step()
    second = schedules.StepLR(optim.SGD([nn.Parameter(np.ones(1))], lr=0.5), 7)
    second.load_state_dict(first.state_dict())
    assert (second.last_epoch, second.step_size, second.get_last_lr()) == (3, 2, first.get_last_lr())


# -- clipping --------------------------------------------------------------------------------------------------------


def test_clipping() -> None:
    a, b = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(1))
    a.grad, b.grad = torch.tensor(np.array([3.0, 0.0])), torch.tensor(np.array([4.0]))
    old = a.grad
    assert nn.utils.clip_grad_norm_([a, b], 1.0).item() == 5.0
    np.testing.assert_allclose([*a.grad.numpy(), *b.grad.numpy()], [0.6, 0.0, 0.8], rtol=1e-6)
    assert old is a.grad
    nn.utils.clip_grad_value_([a, b], 0.7)
    np.testing.assert_allclose([*a.grad.numpy(), *b.grad.numpy()], [0.6, 0.0, 0.7], rtol=1e-6)
