"""What a program in PyTorch's manner does in a traced function: what its eager code does, or a refusal with advice."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import nn
from graphflow.eager.function import function
from graphflow.errors import Error, FailedPreconditionError, SymbolicUseError


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    logger = logging.getLogger("graphflow")
    logger.disabled = True  # of traces that are made often
    with torch():
        yield
    logger.disabled = False


def tensor(*shape: int, grad: bool = False, seed: int = 1) -> Any:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return torch.tensor(values, requires_grad=grad)


def same(a: Any, b: Any) -> None:
    if isinstance(b, (list, tuple)):
        assert isinstance(a, (list, tuple)) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(b, torch.Tensor):
        a, b = np.asarray(a.detach()._array()), np.asarray(b.detach()._array())
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    else:
        assert a == b


def both(body: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
    """Values and gradients of a function of some tensors, eager and traced, twice."""
    traced = function(body)
    for seed in (1, 2):
        found = []
        for f in (body, traced):
            xs = [tensor(*shape, grad=True, seed=seed) for shape in shapes]
            y = f(*xs)
            if y.requires_grad:
                y.sum().backward()
            found.append((y, y.requires_grad, [x.grad for x in xs]))
        (mine, asks, slopes), (wanted, asked, expected) = found[1], found[0]
        same(mine, wanted)
        assert asks == asked
        for a, b in zip(slopes, expected, strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                same(a, b)


# -- where nothing is recorded ---------------------------------------------------------------------------------------


def baseline(x: Any, y: Any) -> Any:
    with torch.no_grad():
        target = (x * x).exp()
    return (x * y - target).sum()


def nothing(x: Any) -> Any:
    with torch.inference_mode():
        return x * 2.0


def recorded_again(x: Any) -> Any:
    with torch.no_grad():
        y = x * 2.0
        with torch.enable_grad():
            z = x * 3.0
    return (y * z).sum()


@torch.no_grad()
def decorated(x: Any) -> Any:
    return (x * x).sum()


def passed_on(x: Any) -> Any:
    with torch.no_grad():
        y = x
    return (y * y).sum()


def branches(x: Any) -> Any:
    def inside() -> Any:
        with torch.no_grad():
            cut = x.exp()
        return x * cut

    return gf.cond(x.sum() > -100.0, inside, lambda: x * 3.0)


@pytest.mark.parametrize("body", [nothing, recorded_again, decorated, passed_on, branches])
def test_no_grad_inside(body: Any) -> None:
    both(body, (3,))


def test_no_grad_inside_of_several() -> None:
    both(baseline, (3,), (3,))


def test_no_grad_inside_under_a_tape() -> None:
    def f(x: Any) -> Any:
        with torch.no_grad():
            cut = x * x
        return (cut * x).sum()

    x = tensor(3)
    for g in (f, function(f)):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = g(x)
        same(tape.gradient(y, x), x * x)


def test_no_grad_around_the_first_call_says_nothing_of_later_ones() -> None:
    f = function(lambda x: (x * x).sum())
    x = tensor(3, grad=True)
    with torch.no_grad():
        assert not f(x).requires_grad
    f(x).backward()
    same(x.grad, 2 * x)


def test_second_derivatives_of_what_is_cut_off_in_part() -> None:
    def f(x: Any) -> Any:
        with torch.no_grad():
            scale = x * 10.0
        return scale * x * x * x

    x = torch.tensor(2.0, requires_grad=True)
    (first,) = torch.autograd.grad(function(f)(x), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert first.item() == 20.0 * 3 * 4 and second.item() == 20.0 * 6 * 2


def test_recording_that_is_left_switched_off_is_refused() -> None:
    @function
    def f(x: Any) -> Any:
        torch.set_grad_enabled(False)
        return x * 2.0

    with pytest.raises(FailedPreconditionError, match="leaves it so"):
        f(tensor(2))
    assert torch.is_grad_enabled()


# -- random numbers --------------------------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda x: torch.rand(64),
    "randn": lambda x: torch.randn(8, 8),
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "randint": lambda x: torch.randint(0, 1000, (64,)),
    "randperm": lambda x: torch.randperm(64),
    "normal": lambda x: torch.normal(x, 1.0),
    "bernoulli": lambda x: torch.bernoulli(torch.full((64,), 0.5)),
    "bernoulli of x": lambda x: torch.bernoulli(x * 0.0 + 0.5),
    "multinomial": lambda x: torch.multinomial(x * 0.0 + 1.0, 32, replacement=True),
    "normal_": lambda x: torch.empty(64).normal_(),
    "uniform_": lambda x: torch.empty(64).uniform_(-1.0, 1.0),
    "dropout": lambda x: nn.functional.dropout(x + 1.0, 0.5),
    "Dropout": lambda x: nn.Dropout(0.5)(x + 1.0),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_are_drawn_at_each_call_and_follow_the_seed(name: str) -> None:
    f, x = function(DRAWS[name]), torch.zeros(64)
    runs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        runs.append([f(x).numpy().copy() for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][0], runs[0][1])  # 64 draws that agree: with a fixed seed they do or do not
    assert not np.array_equal(runs[0][0], runs[2][0])
    assert runs[0][0].shape == DRAWS[name](x).shape and runs[0][0].dtype == DRAWS[name](x).numpy().dtype
    assert len(f.traces) == 1


def test_parameters_that_are_drawn_in_a_trace_are_refused() -> None:
    with pytest.raises(SymbolicUseError, match="make modules and parameters outside"):
        function(lambda x: nn.Linear(3, 2)(x) * 1.0)(tensor(4, 3))
    both(lambda x: nn.PReLU()(x) + nn.BatchNorm1d(3)(x), (4, 3))


def test_a_leaf_made_in_a_trace_is_refused() -> None:
    for make in (torch.randn, torch.zeros):
        with pytest.raises(SymbolicUseError, match="make it outside"):
            function(lambda x, make=make: x * make(2, requires_grad=True))(tensor(2))


# -- steps of training -----------------------------------------------------------------------------------------------


def test_a_step_in_the_manner_of_pytorch_is_refused_with_what_there_is_instead() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x = tensor(4, 3)
    model(x).sum().backward()
    before = model.weight.detach().clone(), model.weight.grad.clone()

    def whole(x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    def backward(x: Any) -> Any:
        model(x).sum().backward()

    def step(x: Any) -> Any:
        optimizer.step()
        return x

    def clip(x: Any) -> Any:
        return nn.utils.clip_grad_norm_(model.parameters(), 1.0)

    for body in (whole, backward, step, clip):
        with pytest.raises(SymbolicUseError) as told:
            function(body)(x)
        assert "trains=True" in str(told.value) and "test_function_torch.py" in str(told.value)
    same([model.weight, model.weight.grad], before)  # nothing was done


# -- what a trace relies on ------------------------------------------------------------------------------------------


def test_parts_of_modules_that_are_replaced_are_seen() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.rest = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 2), nn.Tanh())
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: Any) -> Any:
            return self.rest(self.first(x) * self.scale)

    model, x = Model(), tensor(4, 3)
    f = function(model)

    def check(traces: int) -> None:
        for _ in range(2):
            same(f(x), model(x))
        assert len(f.traces) == 1
        seen.update(f.traces)
        assert len(seen) == traces

    seen: set[Any] = set()
    check(1)
    model.first.weight = nn.Parameter(torch.zeros(3, 3))
    check(2)
    model.first = nn.Linear(3, 3)
    check(3)
    model.rest[0] = nn.Linear(3, 2, bias=False)
    check(4)
    model.rest.append(nn.Linear(2, 5))
    check(5)
    model.load_state_dict({name: v * 0.5 for name, v in model.state_dict().items()})
    check(5)
    Model()
    check(5)
    model.scale = nn.Parameter(torch.zeros(3))
    check(6)


def test_values_that_the_code_looked_at_are_seen() -> None:
    flag, factor = torch.tensor([True]), torch.tensor(2.0)

    @function
    def f(x: Any) -> Any:
        return x * factor.item() if flag else x

    x = tensor(2)
    same(f(x), x * 2.0)
    factor.fill_(3.0)
    same(f(x), x * 3.0)
    flag.logical_not_()
    same(f(x), x)
    same(f(x), x)


def test_what_a_trace_leaves_behind_is_refused_outside() -> None:
    kept = []
    f = function(lambda x: [kept.append(x * 2.0), nn.Parameter(x)][0])
    with pytest.raises(SymbolicUseError, match="make modules and parameters outside"):
        f(tensor(2))
    for use in (lambda x: x + 1.0, lambda x: x.sum(), lambda x: x.add_(1.0), lambda x: x[0]):
        with pytest.raises(Error, match=r"value|outside"):
            use(kept[0])


def test_detached_aliases_of_what_is_around_are_by_reference() -> None:
    w = tensor(3, grad=True)
    f = function(lambda x: x * w.detach() + w.data)
    x = tensor(3)
    same(f(x), x * w + w)
    w.data = tensor(3, seed=4)
    same(f(x), x * w + w)


# -- names and methods -----------------------------------------------------------------------------------------------


def test_a_tensor_of_a_trace_is_a_tensor() -> None:
    told = []

    @function
    def f(x: Any) -> Any:
        told.append((isinstance(x, torch.Tensor), torch.is_tensor(x * 2), isinstance([x], torch.Tensor)))
        return x

    f(tensor(2))
    assert told == [(True, True, False)]
    assert isinstance(tensor(1), torch.Tensor) and not isinstance(np.ones(2), torch.Tensor)
    assert torch.Tensor([1, 2]).dtype is torch.float32 and torch.Tensor(2, 3).shape == (2, 3)


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda x: x[torch.tensor([2, 0, -1])],
    "list": lambda x: x[[1, 0]],
    "numpy": lambda x: x[np.array([1, 0])],
    "symbolic rows": lambda x: x[x.argmax(0) % 3],
    "symbolic pairs": lambda x: x[torch.arange(3), x.argmax(1)],
    "symbolic columns": lambda x: x[:, x.argmax(1)],
    "one": lambda x: x[x[:, 0].argmax()],
    "mask": lambda x: x[x > 0],
    "mask of rows": lambda x: x[x[:, 0] > 0],
    "mask of columns": lambda x: x[:, x[0] > 0],
    "constant mask": lambda x: x[torch.tensor([True, False, True])],
    "gathered": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "sizes": lambda x: (x.size(0), x.dim(), x.numel(), len(x), x.ndim, x.shape[1], x.nelement(), x.element_size()),
    "device": lambda x: str(x.device),
    "transposed": lambda x: (x.T, x.mT, x.t()),
    "bits": lambda x: (~(x > 0), (x > 0) & (x < 1), (x > 0) | (x < -1), (x > 0) ^ (x < 1)),
    "to": lambda x: (x.to(torch.float64), x.to("cpu"), x.to(torch.int32), x.type(torch.int64), x.to(x)),
    "type": lambda x: (x.type(), x.is_floating_point(), x.is_contiguous(), x.is_cuda, x.type_as(x.long())),
    "copies": lambda x: (x.detach(), x.clone(), x.contiguous(), x.cpu(), x.data),
    "new": lambda x: (x.new_zeros(2), x.new_ones(2, 3), x.new_full((2,), 3.0), x.new_tensor([1.0])),
    "casts": lambda x: (x.long(), x.int(), x.bool(), x.half(), x.double()),
    "integers": lambda x: (x.long().sum(), x.int().sum(), (x > 0).sum(), x.long().float().mean(), x.long().sqrt()),
    "mixed": lambda x: (x + x.long(), x.long() / 2, x.double() * x, 2 - x.long(), x + np.float32(2), np.ones(4) + x),
    "joined": lambda x: (torch.cat([x, x.double()]), torch.stack([x.long(), x.int()])),
    "cut": lambda x: (x.split(2), x.chunk(2, 1), x.unbind(0)),
    "extremes": lambda x: (x.max(1), x.min(), x.topk(2), x.sort(0)),
    "close": lambda x: torch.isclose(x, x + 1e-9),
    "eye": lambda x: torch.eye(3) @ x,
    "likes": lambda x: (torch.zeros_like(x), torch.ones_like(x), torch.full_like(x, 2.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_methods_and_properties_answer_as_eager_code_does(name: str) -> None:
    x = tensor(3, 4)
    same(function(ANSWERS[name])(x), ANSWERS[name](x))


def test_a_table_from_outside_is_indexed_by_numbers_that_are_passed_in() -> None:
    table, order = tensor(5, 2, grad=True), torch.tensor([2, 1])
    body = lambda i: table[i] * table[order]  # noqa: E731
    f = function(body)
    for numbers in ([0, 4], [2, 2]):
        i = torch.tensor(numbers)
        same(f(i), body(i))
        order.add_(1)
    f(i).sum().backward()
    slope = table.grad
    table.grad = None
    body(i).sum().backward()
    same(slope, table.grad)
    assert len(f.traces) == 1


def sizes_left_open(x: Any) -> Any:
    rows = x.size(0)
    return x.view(rows, -1).sum(1) + torch.zeros_like(x)[:, 0, 0] + x.reshape(rows * 6).mean()


def test_sizes_that_are_left_open() -> None:
    f = function(sizes_left_open, input_signature=[gf.TensorSpec(gf.float32, (None, 2, 3))])
    for count in (1, 4):
        x = tensor(count, 2, 3)
        same(f(x), sizes_left_open(x))
    assert len(f.traces) == 1


REFUSED = [
    lambda x: x.item(), lambda x: x.tolist(), lambda x: torch.allclose(x, x), lambda x: torch.equal(x, x),
    lambda x: x.requires_grad, lambda x: x.grad, lambda x: x.is_leaf, lambda x: x.grad_fn, lambda x: x.backward(),
    lambda x: x.retain_grad(), lambda x: x.data_ptr(), lambda x: x.requires_grad_(), lambda x: int(x[0]),
    lambda x: x.long() in [1, 2], lambda x: f"{x[0]:.3f}", lambda x: 1.0 + np.exp(x), lambda x: x.cuda(),
    lambda x: setattr(x, "requires_grad", True), lambda x: setattr(x, "data", x),
]  # fmt: skip


@pytest.mark.parametrize("body", REFUSED)
def test_what_has_no_answer_is_refused_with_a_remedy(body: Any) -> None:
    with pytest.raises(Error) as told:
        function(body)(tensor(3))
    assert told.value.hint


# -- names that the code takes from around it ------------------------------------------------------------------------

RATE = 1.0
WEIGHT: Any = None


def test_names_that_are_bound_anew_are_seen() -> None:
    global RATE, WEIGHT
    WEIGHT, bias, model = tensor(3, seed=2), tensor(3, seed=3), nn.Linear(3, 3)

    @function
    def scaled(x: Any) -> Any:
        def times(y: Any) -> Any:
            return y * RATE

        return times(x)

    def body(x: Any) -> Any:
        return scaled(model(x) * WEIGHT) + bias

    f, x = function(body), tensor(3)
    same(f(x), body(x))
    WEIGHT = WEIGHT - 0.5
    same(f(x), body(x))
    RATE = 3.0
    same(f(x), body(x))
    bias = bias * 2.0
    same(f(x), body(x))
    model = nn.Linear(3, 3)
    same(f(x), body(x))
    kept = f.traces
    RATE = RATE / 2.0 * 2.0  # the same value
    same(f(x), body(x))
    assert f.traces == kept and len(kept) == 1


def test_training_of_a_module_that_an_object_holds_is_seen() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

        @function
        def run(self, x: Any) -> Any:
            return self.model(x)

    trainer, x = Trainer(), tensor(4, 3)
    for mode in (True, False, True):
        trainer.model.train(mode)
        wanted = copy.deepcopy(trainer.model)(x)
        np.testing.assert_allclose(trainer.run(x).detach().numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
