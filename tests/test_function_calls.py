"""What happens to a traced function between its calls: each call answers as the eager code would at that moment."""

from __future__ import annotations

import collections
import copy
import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import nn
from graphflow.eager.function import function
from graphflow.errors import FailedPreconditionError, SymbolicUseError


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    with torch():
        yield


def tensor(*shape: int, grad: bool = False, seed: int = 1) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return torch.tensor(values, requires_grad=grad)


def same(a: Any, b: Any) -> None:
    assert a.dtype is b.dtype and a.shape == b.shape
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6, atol=1e-7)


# -- gradients -------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Any], Any]] = {
    "recorded": lambda y: y.mul_(10.0),
    "an alias": lambda y: y.detach().zero_(),
    "a view": lambda y: y.detach()[0].fill_(3.0),
    "all of a part": lambda y: y.__setitem__(slice(None), 2.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_that_was_changed_in_place_is_not_read_by_the_derivative(change: str) -> None:
    for f in (torch.exp, function(torch.exp)):
        y = f(tensor(3, grad=True))
        CHANGES[change](y)
        with pytest.raises(FailedPreconditionError, match="changed in place after it was used"):
            y.sum().backward()


def test_changed_results_that_no_derivative_reads_are_fine() -> None:
    def body(x: Any) -> Any:
        return x.exp(), x.tanh() * 2.0, x * 3.0

    slopes = []
    for f in (body, function(body)):
        x = tensor(3, grad=True)
        a, b, c = f(x)
        a.detach().zero_()
        c.mul_(2.0)
        (b + c).sum().backward()
        slopes.append(x.grad)
    same(slopes[1], slopes[0])


def test_gradients_are_asked_of_other_tensors_than_at_the_first_call() -> None:
    body, head = nn.Linear(3, 3), nn.Linear(3, 3)

    def both(x: Any) -> Any:
        return body(x), head(x)

    traced = function(both)
    x = tensor(2, 3)
    for learned in ((False, True), (True, True), (True, False), (False, False), (True, True)):
        body.requires_grad_(learned[0])
        head.requires_grad_(learned[1])
        found = []
        for f in (both, traced):
            body.zero_grad()
            head.zero_grad()
            a, b = f(x)
            if any(learned):
                (a.sum() + (b * b).sum()).backward()
            found.append((a.requires_grad, b.requires_grad, [p.grad for p in (*body.parameters(), *head.parameters())]))
        assert found[0][:2] == found[1][:2] == learned
        for mine, wanted in zip(found[1][2], found[0][2], strict=True):
            assert (mine is None) == (wanted is None)
            if wanted is not None:
                same(mine, wanted)
    assert len(traced.traces) == 1


def test_a_derivative_that_computes_the_call_again_draws_the_same_numbers() -> None:
    torch.manual_seed(3)
    f = function(lambda x: nn.functional.dropout(x, 0.5) * x)
    x = torch.ones(64, requires_grad=True)
    for _ in range(2):
        y = f(x)
        f(x)  # other draws in between
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        same(slope, 2.0 * y)  # at 1 the derivative of mask * x ** 2 is twice the value
        (second,) = torch.autograd.grad(slope.sum(), x)
        same(second, 2.0 * y)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    f(x)
    same(tape.gradient(y, x), 2.0 * y)


# -- training, and what is learned -----------------------------------------------------------------------------------


class Holder:
    """A plain object that holds a module."""

    def __init__(self, module: Any) -> None:
        self.module = module


def reached() -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    """Modules, and functions that come by them in several ways."""
    net = nn.Sequential(nn.Dropout(0.5))
    inside: dict[str, Any] = {"list": [nn.Dropout(0.5)], "object": Holder(nn.Dropout(0.5)), "helper": nn.Dropout(0.5)}

    def helper(x: Any) -> Any:
        return inside["helper"](x)

    return {
        "part": (net[0], lambda x: net(x) * 1.0),
        "list": (inside["list"][0], lambda x: inside["list"][0](x) * 1.0),
        "object": (inside["object"].module, lambda x: inside["object"].module(x) * 1.0),
        "helper": (inside["helper"], lambda x: helper(x) * 1.0),
    }


@pytest.mark.parametrize("name", ["part", "list", "object", "helper"])
def test_training_is_seen_however_a_module_is_reached(name: str) -> None:
    torch.manual_seed(5)
    module, body = reached()[name]
    f, x = function(body), torch.ones(64)
    for training in (True, False, True):
        module.train(training)
        for _ in range(2):
            assert bool((f(x) == 0.0).any()) is training


def test_statistics_of_a_frozen_part_stay() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    plain = copy.deepcopy(net)
    f = function(lambda x: net(x) * 1.0)
    for frozen in (False, True, False):
        for m in (net, plain):
            m.train()
            m[1].train(not frozen)
        for seed in range(2):
            x = tensor(8, 3, seed=seed)
            np.testing.assert_allclose(f(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(net[1].running_mean.numpy(), plain[1].running_mean.numpy(), rtol=1e-5)


def test_statistics_are_read_as_they_are_after_the_call_of_their_module() -> None:
    plain = nn.BatchNorm1d(3)
    mine = copy.deepcopy(plain)

    def read(norm: Any) -> Callable[[Any], Any]:
        def body(x: Any) -> Any:
            before = norm.running_mean * 1.0
            y = norm(x)
            return y, before, norm.running_mean * 1.0, norm.num_batches_tracked + 0

        return body

    f = function(read(mine))
    for seed in range(3):
        x = tensor(8, 3, seed=seed)
        for a, b in zip(f(x), read(plain)(x), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
            assert a.requires_grad is b.requires_grad


def test_captured_tensors_that_take_on_another_shape_or_dtype_are_seen() -> None:
    w, x = torch.ones(3), torch.ones(3)
    f = function(lambda x: x * w)
    for data in (torch.ones(3), torch.ones(2, 3), torch.ones(2, 3) * 2.0, torch.ones(3, dtype=torch.float64)):
        w.data = data
        for _ in range(2):
            same(f(x), x * w)


def test_what_is_learned_is_what_requires_gradients_now() -> None:
    model = nn.Linear(2, 1)
    optimizer = gf.train.GradientDescentOptimizer(0.1)

    @function(trains=True)
    def step(x: Any) -> Any:
        loss = gf.reduce_sum(model(x))
        return loss, optimizer.minimize(loss)

    x = torch.ones(1, 2)
    for learned in ({"weight"}, {"bias"}, {"weight", "bias"}, {"weight"}):
        for name, p in model.named_parameters():
            p.requires_grad_(name in learned)
        for _ in range(2):
            before = {name: p.detach().clone() for name, p in model.named_parameters()}
            step(x)
            for name, p in model.named_parameters():
                expected = before[name] - 0.1 if name in learned else before[name]
                same(p.detach(), expected)


def test_traces_of_another_mode_are_used_again() -> None:
    module, made = nn.Dropout(0.5), []
    held = Holder(module)

    @function
    def f(x: Any) -> Any:
        made.append(torch.is_grad_enabled())
        return held.module(x)

    x = torch.ones(8)
    for _ in range(3):
        for training in (True, False):
            module.train(training)
            with torch.set_grad_enabled(training):
                f(x)
                if not training:
                    same(f(x), x)
    assert made == [True, False]
    module.p = 0.0
    same(f(x), x)
    with torch.no_grad():
        f(x)
    assert made == [True, False, True, False]


# -- what the code goes by -------------------------------------------------------------------------------------------


def test_whether_the_caller_records_is_answered_for_each_call() -> None:
    def body(x: Any) -> Any:
        inner = []
        with torch.no_grad():
            inner.append(torch.is_grad_enabled())
        with torch.enable_grad():
            inner.append(torch.is_grad_enabled())
        assert inner == [False, True]
        return x * (2.0 if torch.is_grad_enabled() else 3.0)

    f, x = function(body), tensor(3)
    for records in (True, False, True, False):
        with torch.set_grad_enabled(records):
            same(f(x), x * (2.0 if records else 3.0))
            same(f(x), body(x))
    quiet = function(lambda x: x * 2.0)
    for records in (True, False):
        with torch.set_grad_enabled(records):
            quiet(x)
    assert len(quiet.traces) == 1


class Scaled(nn.Module):
    """A module whose code goes by plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.seen, self.unread = 2.0, 0, 1.0

    def factor(self) -> float:
        return self.scale * SHIFT

    def forward(self, x: Any) -> Any:
        self.seen += 1
        return x * self.factor()


SHIFT = 1.0


def shifted(x: Any) -> Any:
    return x * SHIFT


def test_plain_attributes_of_modules_are_seen() -> None:
    module, drop = Scaled(), nn.Dropout(0.0)
    f, x = function(lambda x: drop(module(x))), torch.ones(4)
    same(f(x), x * 2.0)
    first = f.traces
    module.unread = 7.0
    same(f(x), x * 2.0)
    assert f.traces == first
    module.scale = 3.0
    same(f(x), x * 3.0)
    drop.p = 1.0
    same(f(x), x * 0.0)
    drop.p = 0.0
    g = function(lambda x: x * module.scale)  # asked for, and not called
    same(g(x), x * 3.0)
    module.scale = 4.0
    same(g(x), x * 4.0)
    same(f(x), x * 4.0)


def test_plain_attributes_of_objects_that_the_code_names_are_seen() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.rate, self.weight = 2.0, torch.ones(3)

        @function
        def loss(self, x: Any) -> Any:
            return x * self.weight * self.rate * options.factor

    class Options:
        factor = 1.0

    options, trainer, x = Options(), Trainer(), tensor(3)
    options.factor = 1.0
    for rate, factor in ((2.0, 1.0), (3.0, 1.0), (3.0, 4.0)):
        trainer.rate, options.factor = rate, factor
        for _ in range(2):
            same(trainer.loss(x), x * rate * factor)
        assert len(trainer.loss.traces) == 1


class Base(nn.Module):
    """A module whose plain attribute is asked for by a property, and in a base class."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.below = 1.0, 1.0

    @property
    def shown(self) -> float:
        return self.hidden

    def forward(self, x: Any) -> Any:
        return x * self.below


class Derived(Base):
    """Adds nothing of its own."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * 1.0


def test_attributes_behind_properties_and_base_classes_are_seen() -> None:
    module, x = Derived(), torch.ones(3)
    f = function(lambda x: module(x) * module.shown)
    for hidden, below in ((1.0, 1.0), (2.0, 1.0), (2.0, 3.0)):
        module.hidden, module.below = hidden, below
        same(f(x), x * hidden * below)


def test_plain_attributes_of_arguments_are_seen() -> None:
    given, x = Holder(2.0), torch.ones(3)
    f = function(lambda x, holder: x * holder.module)
    same(f(x, given), x * 2.0)
    given.module = 3.0
    same(f(x, given), x * 3.0)
    same(f(x, given), x * 3.0)
    same(f(x, Holder(5.0)), x * 5.0)


def test_a_model_that_holds_a_traced_function_is_copied() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    model.quick = function(model[0].forward)
    x = tensor(2, 3)
    model.quick(x)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.zero_()
    same(other.quick(x), other(x))
    same(model.quick(x), model(x))


def test_results_without_gradients_keep_nothing() -> None:
    f = function(lambda x: (x * x, x.argmax(), x.detach() * 2.0))
    found = f(tensor(3, grad=True))
    assert [y.requires_grad for y in found] == [True, False, False]
    assert [y.origin is None for y in found] == [False, True, True]


def test_names_of_functions_that_are_called_are_seen() -> None:
    global SHIFT
    module, factor, x = Scaled(), 2.0, torch.ones(4)

    def helper(y: Any) -> Any:
        return shifted(y) * factor

    f, g = function(lambda x: helper(x) * 1.0), function(module)
    try:
        for SHIFT, factor in ((1.0, 2.0), (5.0, 2.0), (5.0, 3.0), (1.0, 2.0)):
            same(f(x), x * SHIFT * factor)
            same(g(x), x * 2.0 * SHIFT)
    finally:
        SHIFT = 1.0


def test_values_that_a_function_binds_anew_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    count = 0
    module = Scaled()

    @function
    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return module(x)

    with caplog.at_level(logging.WARNING, "graphflow"):
        for size in (2, 3):
            f(tensor(size))
            f(tensor(size))
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1 and "Scaled.seen" in told[0] and "closure" in told[0] and "count += 1" in told[0]
    assert count == module.seen == 2 and len(f.traces) == 2


CFG: Any = None
SCALE: Any = None


class Settings:
    """An object with a default of its class."""

    factor: Any = 2.0

    @function
    def scaled(self, x: Any) -> Any:
        return x * self.factor


def by_settings(x: Any) -> Any:
    return x * CFG.factor


def by_function(x: Any) -> Any:
    return SCALE(x)


def test_attributes_are_seen_whatever_they_come_to_mean() -> None:
    one = Settings()
    f, x = function(lambda x: x * one.factor), torch.ones(2)
    assert f(x).tolist() == one.scaled(x).tolist() == [2.0, 2.0]
    for factor in (3.0, np.float32(4.0), np.float32(5.0), torch.tensor(6.0), torch.tensor(7.0), 8.0):
        one.factor = factor
        assert f(x).tolist() == one.scaled(x).tolist() == [float(factor)] * 2
    del one.factor
    assert f(x).tolist() == one.scaled(x).tolist() == [2.0, 2.0]


def test_names_that_come_to_mean_other_objects_are_seen() -> None:
    global CFG, SCALE
    factor: Any = np.float32(2.0)
    f, g, h, x = function(by_settings), function(by_function), function(lambda x: x * factor), torch.ones(1)
    for value in (2.0, 3.0):
        CFG, SCALE, factor = Settings(), (lambda y, k=value: y * k), np.float32(value)
        CFG.factor = value
        assert f(x).tolist() == g(x).tolist() == h(x).tolist() == [value]
        assert f(x).tolist() == g(x).tolist() == h(x).tolist() == [value]
    assert len(f.traces) == len(g.traces) == len(h.traces) == 1


# -- arguments and results -------------------------------------------------------------------------------------------


def test_containers_that_change_are_other_arguments() -> None:
    f, x = function(lambda x, s: x * len(s)), torch.ones(2)
    for container, more in (({1}, lambda s: s.add(2)), (bytearray(b"a"), lambda b: b.extend(b"b"))):
        for size in (1, 2):
            same(f(x, container), x * size)
            more(container)
    kinds = function(lambda x, d: x * (2.0 if type(next(iter(d))) is bool else 1.0))
    for key, factor in ((1, 1.0), (True, 2.0)):
        same(kinds(x, {key: 0}), x * factor)


@dataclasses.dataclass(frozen=True)
class Scale:
    """Equal for numbers that are equal, though of other types."""

    by: Any
    plus: float = dataclasses.field(default=0.0, compare=False)


def test_equal_objects_are_other_arguments() -> None:
    f, x = function(lambda x, s: x * s.by + s.plus), torch.tensor([3])
    scales = [Scale(2), Scale(2.0), Scale(2, 1.0)]
    found = [f(x, s) for s in scales]
    assert [(y.dtype.name, y.tolist()) for y in found] == [("float32", [6.0]), ("float32", [6.0]), ("float32", [7.0])]
    assert [y.tolist() for y in (f(x, s) for s in scales)] == [[6.0], [6.0], [7.0]] and len(f.traces) == 3
    g = function(lambda x, s: x * next(iter(s))[0])
    assert [g(x, {(k,)}).dtype.name for k in (2, 2.0)] == ["int64", "float32"]


def test_containers_of_many_kinds_keep_what_they_are() -> None:
    x = tensor(2)
    some: Any = collections.defaultdict(lambda: x * 3.0, a=x)
    same(function(lambda d: d["a"] + d["other"])(some), x + x * 3.0)
    same(function(lambda d: d["a"] * 2.0)(collections.OrderedDict(a=x)), x * 2.0)
    same(function(lambda x, d: x * d["a"])(x, collections.Counter(a=3)), x * 3.0)
    last = collections.deque([x, x * 2.0], maxlen=2)
    same(function(lambda d: d[1] * d.maxlen)(last), x * 4.0)


def test_results_that_would_hide_tensors_are_refused() -> None:
    @dataclasses.dataclass
    class Pair:
        a: Any
        b: Any

    hidden: list[Callable[[Any], Any]] = [
        lambda x: Pair(x * 2.0, x), lambda x: (x * i for i in range(3)), lambda x: {x}, lambda x: [iter([x])],
        lambda x: Holder(x * 1.0),
    ]  # fmt: skip
    for body in hidden:
        with pytest.raises(SymbolicUseError, match="cannot fill in"):
            function(body)(tensor(2))
    pair = Pair(1, 2)
    assert function(lambda x: (x * 2.0, pair))(tensor(2))[1] is pair


def test_tensors_are_made_of_lists_of_tensors() -> None:
    bodies: list[Callable[[Any], Any]] = [
        lambda x: torch.tensor([x[0], x[1] * 2.0]),
        lambda x: torch.tensor([[x[0], 1.0], [2.0, x[1]]]),
        lambda x: torch.tensor([x[1], x[0]], dtype=torch.float64),
        lambda x: torch.as_tensor([x[0], x[1]]),
    ]
    for body in bodies:
        x = tensor(2, grad=True)
        made, wanted = function(body)(x), body(x)
        same(made, wanted)
        assert made.requires_grad is wanted.requires_grad


def test_pieces_are_changed_in_place_side_by_side() -> None:
    def pieces(x: Any) -> Any:
        h = x * 1.0
        q, k, v = h.split(2, 1)
        q *= 2.0
        v += q
        _, second, *_ = h.unbind(0)
        second.mul_(3.0)
        a, b = h.chunk(2)
        b[0] = 7.0
        return q @ k.t() + v.sum() + h.sum(), a

    for seed in (1, 2):
        found = []
        for f in (pieces, function(pieces)):
            x = tensor(4, 6, grad=True, seed=seed)
            y, a = f(x)
            (y.sum() + a.exp().sum()).backward()
            found.append((y, a, x.grad))
        for mine, wanted in zip(found[1], found[0], strict=True):
            np.testing.assert_allclose(mine.detach().numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_view_that_is_used_under_no_grad_after_a_change_keeps_its_gradient() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        v = y[0:1]
        y[-1:] *= 2.0
        with torch.no_grad():
            v * 1.0
        return (v * v).sum()

    for does in (f, function(f)):
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        does(x).backward()
        assert x.grad.tolist() == [8.0, 0.0]


def test_a_change_under_no_grad_of_what_has_gradients_is_refused() -> None:
    w, mean = torch.ones(2, requires_grad=True), torch.tensor([1.0, 2.0])

    def f(x: Any) -> Any:
        y = torch.zeros(2)
        y += w
        with torch.no_grad():
            y.mul_(0.5)
        return (y * y).sum()

    with pytest.raises(SymbolicUseError, match="under no_grad, which may have gradients"):
        function(f)(torch.ones(2))

    @function
    def averaged(x: Any) -> Any:
        mean.mul_(0.5)
        z = torch.zeros(2)
        z += 1.0
        with torch.no_grad():
            mean.add_(x)
            z.add_(mean)
        return z

    assert averaged(torch.ones(2)).tolist() == [2.5, 3.0] and mean.tolist() == [1.5, 2.0]
    assert averaged(torch.ones(2)).tolist() == [2.75, 3.0] and mean.tolist() == [1.75, 2.0]


def test_what_is_overwritten_has_a_gradient_of_zeros() -> None:
    def whole(x: Any, w: Any) -> Any:
        return (x * w).zero_().sum()

    def part(x: Any, w: Any) -> Any:
        y = x * w
        y[0:1].zero_()
        return (y * y).sum()

    def made_inside(x: Any, w: Any) -> Any:
        y = torch.zeros(2)
        y += x * w
        y.copy_(x)
        return (y * y).sum()

    for f, value, gradient in ((whole, 0.0, [0.0, 0.0]), (part, 16.0, [0.0, 8.0]), (made_inside, 2.0, [0.0, 0.0])):
        for does in (f, function(f)):
            w = torch.tensor([3.0, 4.0], requires_grad=True)
            y = does(torch.ones(2), w)
            y.backward()
            assert (y.item(), w.grad.tolist()) == (value, gradient)
