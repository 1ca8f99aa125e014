"""What a comparison refuses, and that it leaves everything as it was."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from itertools import groupby
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import compare
from graphflow import eager as torch
from graphflow.compare import ways
from graphflow.eager import nn, optim
from graphflow.eager.engine import EAGER
from graphflow.eager.mode import computes
from graphflow.errors import (
    BackendUnavailable,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    SymbolicUseError,
)

X = np.random.default_rng(12).standard_normal((6, 5)).astype(np.float32)
QUICK: dict[str, Any] = {"rounds": 2, "steps": 1, "warm": 0.0, "devices": ["numpy"]}


def chain(x: Any) -> Any:
    for _ in range(6):
        x = gf.tanh(x) * 1.5 + 0.1
    return x


def product(x: Any, w: Any) -> Any:
    return gf.matmul(x, w)


def changing(x: Any) -> Any:
    if computes():  # a trace would refuse it
        x += 1.0
    return x * 2.0


def yielding(x: Any) -> Any:
    yield x


def nothing(x: Any) -> None:
    x * 2.0


NUMBERS = torch.tensor(X)
MISTAKES = [
    (3, (X,), {}, InvalidArgumentError, "Python function"),
    (lambda x: x + 1, (np.arange(3),), {}, FailedPreconditionError, "nothing to differentiate by"),
    (lambda x: gf.argmax(x, 0), (X,), {}, InvalidArgumentError, "nothing that can be differentiated"),
    (nothing, (X,), {}, InvalidArgumentError, "the function returns nothing"),
    (nothing, (X,), {"grad": False}, InvalidArgumentError, "the function returns nothing"),
    (lambda x: [None, 3], (X,), {"grad": False}, InvalidArgumentError, "returns no tensor"),
    (lambda x: map(gf.sin, [x]), (X,), {"grad": False}, InvalidArgumentError, "returns an iterator"),
    (lambda x: x / {}["no"], (X,), {}, FailedPreconditionError, "raised KeyError while it was traced"),
    (lambda x: x * (1 / 0 if computes() else 2.0), (X,), {}, FailedPreconditionError, "ZeroDivisionError while it was"),
    (changing, (NUMBERS,), {}, FailedPreconditionError, "changes an argument in place"),
    (lambda x: x.add_(1.0), (NUMBERS,), {}, SymbolicUseError, "in place"),
    (lambda x: x if x.sum() > 0 else -x, (X,), {}, SymbolicUseError, "bool"),
    (yielding, (X,), {}, InvalidArgumentError, "yields or awaits"),
    (lambda x: x, (iter([X]),), {}, InvalidArgumentError, "argument 0 can be read once"),
    (product, (X,), {}, InvalidArgumentError, "arguments do not fit: missing a required argument: 'w'"),
    (chain, (X,), {"rounds": 0}, InvalidArgumentError, "rounds is 1 or more"),
    (chain, (X,), {"rounds": None}, InvalidArgumentError, "rounds is 1 or more"),
    (chain, (X,), {"steps": 0}, InvalidArgumentError, "steps is 1 or more"),
    (chain, (X,), {"warm": -1.0}, InvalidArgumentError, "warm is a number of seconds"),
    (chain, (X,), {"levels": [3]}, InvalidArgumentError, "levels are optimization levels"),
    (chain, (X,), {"levels": []}, InvalidArgumentError, "levels are optimization levels"),
    (chain, (X,), {"devices": []}, InvalidArgumentError, "devices are names of backends"),
    (chain, (X,), {"devices": ["abacus"]}, NotFoundError, "no backend named 'abacus'"),
]


@pytest.mark.parametrize(("function", "args", "options", "kind", "text"), MISTAKES)
def test_mistakes(function: Any, args: Any, options: Any, kind: Any, text: str) -> None:
    before = NUMBERS.numpy().copy()
    with pytest.raises(kind, match=re.escape(text)):
        compare(function, *args, **{**QUICK, **options})
    assert np.array_equal(NUMBERS.numpy(), before) and not NUMBERS.requires_grad and "compute" not in vars(EAGER)


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ways.load_backend

    def load(name: str) -> Any:
        if name == "opencl":
            raise BackendUnavailable("backend 'opencl' cannot be loaded", hint='pip install "pyopencl[pocl]"')
        return right(name)

    monkeypatch.setattr(ways, "load_backend", load)
    found = compare(chain, X, **{**QUICK, "devices": ["numpy", "opencl"]})
    assert 'pip install "pyopencl[pocl]"' in str(found) and [r.device for r in found.lazy].count("numpy") >= 3
    with pytest.raises(BackendUnavailable, match="opencl"):
        compare(chain, X, **{**QUICK, "devices": "opencl"})


def test_a_device_that_fails_is_told_and_the_others_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyopencl")
    right = ways.Lazy.prepare

    def prepare(self: Any, clock: Any) -> None:
        if self.setting.device == "opencl":
            raise BackendUnavailable("no device answers")
        right(self, clock)

    monkeypatch.setattr(ways.Lazy, "prepare", prepare)
    found = compare(chain, X, **{**QUICK, "devices": ["numpy", "opencl"]})
    assert found.missing[-1].startswith("opencl: no device answers") and found.agrees
    with pytest.raises(FailedPreconditionError, match="nothing to compare eager with"):
        compare(chain, X, **{**QUICK, "devices": ["opencl"]})


# -- everything is left as it was ------------------------------------------------------------------------------------

seen: list[int] = []
calls_so_far = 0


def test_nothing_is_left_behind() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = torch.tensor(X)
    model(x).sum().backward()
    optimizer.step()
    told: list[Any] = []
    model[0].weight.register_hook(lambda g: told.append(1))
    pending = (model[0](x) ** 2).sum()  # recorded before, differentiated afterwards
    state = {name: v.numpy().copy() for name, v in model.state_dict().items()}
    gradients = {name: (p.grad, p.grad.numpy().copy()) for name, p in model.named_parameters()}
    slots = {id(p): {**optimizer.state[p]} for p in optimizer.state}
    np.random.seed(5)

    def loss(x: Any) -> Any:
        global calls_so_far
        calls_so_far += 1
        seen.append(calls_so_far)
        model.notes = calls_so_far
        np.random.rand()
        if computes():
            model[0].weight.register_hook(lambda g: g * 2.0)
            model[3].bias.grad = None
            model.eval()
        return (model(x) ** 2).mean()

    found = compare(loss, x, **QUICK)
    assert found.agrees
    assert seen == [] and calls_so_far == 0 and not hasattr(model, "notes")
    assert np.random.rand() == np.random.RandomState(5).rand()
    for name, v in model.state_dict().items():
        assert np.array_equal(v.numpy(), state[name]), name
    for name, p in model.named_parameters():
        assert p.grad is gradients[name][0] and np.array_equal(p.grad.numpy(), gradients[name][1]) and p.requires_grad
    assert {id(p): {**optimizer.state[p]} for p in optimizer.state} == slots
    assert all(module.training for module in model.modules()) and told == []
    pending.backward()
    assert told == [1]


class Slotted:
    __slots__ = ("inner", "made_later", "n")

    def __init__(self) -> None:
        self.n, self.inner = 0, [0]


def test_containers_slots_and_streams_of_numpy_and_python_are_put_back() -> None:
    kept, bounded, raw, slotted = deque([1]), deque([1, 2], maxlen=2), bytearray(b"ab"), Slotted()
    drawn, old, python = np.random.default_rng(3), np.random.RandomState(3), random.Random(3)
    calls = [0]

    def f(x: Any) -> Any:
        calls[0] += 1
        kept.append(2)
        bounded.append(3)
        raw.extend(b"c")
        slotted.n += 1
        slotted.inner.append(1)
        slotted.made_later = 1
        return x * float(drawn.random()) + float(old.rand()) + python.random()

    found = compare(f, X, **QUICK)
    assert found.agrees and all(row.same_bits for row in found.lazy if row.level != 2)  # each way draws the same
    assert (list(kept), list(bounded), bounded.maxlen, bytes(raw)) == ([1], [1, 2], 2, b"ab")
    assert (slotted.n, slotted.inner, hasattr(slotted, "made_later"), calls) == (0, [0], False, [0])
    assert drawn.random() == np.random.default_rng(3).random()
    assert old.rand() == np.random.RandomState(3).rand()
    assert python.random() == random.Random(3).random()


class Attic:
    """What a comparison does not put back: attributes of classes."""

    found: Any = None
    order: tuple[int, ...] = ()


def test_what_is_put_back_counts_as_a_change() -> None:
    weights, p = torch.ones(3), torch.ones(3, requires_grad=True)

    def f(x: Any) -> Any:
        if computes():
            weights.fill_(2.0)
            Attic.found = (weights * p).sum()
        return x * 2.0

    compare(f, X[:, :3], **QUICK)
    assert weights.tolist() == [1.0, 1.0, 1.0] and Attic.found.item() == 6.0
    with pytest.raises(FailedPreconditionError, match="changed in place"):
        Attic.found.backward()  # by p it is 2, and the weights are 1 again


def test_comparisons_in_threads_take_turns() -> None:
    Attic.order = ()
    told: list[Any] = []
    start = threading.Barrier(3)

    def work(number: int) -> None:
        def f(x: Any) -> Any:
            Attic.order = (*Attic.order, number)
            time.sleep(0.01)  # the others could begin here
            return x * 2.0

        start.wait()
        try:
            told.append(compare(f, X, **QUICK).agrees)
        except Exception as error:
            told.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [True, True, True] and "compute" not in vars(EAGER)
    assert len([number for number, _ in groupby(Attic.order)]) == 3


def test_a_compared_function_may_compare() -> None:
    def outer(x: Any) -> Any:
        if computes():
            assert compare(chain, X, **QUICK).agrees
        return x * 2.0

    found = compare(outer, X, grad=False, **QUICK)
    assert found.agrees and "compute" not in vars(EAGER) and "Mul" in found.executed["eager"][-1].types


def test_functions_of_extension_modules_are_left_alone() -> None:
    """Their members look like slots, and cannot be written."""
    native = pytest.importorskip("pyopencl").get_platforms

    def beside(x: Any) -> Any:
        return x * (2.0 if callable(native) else 3.0)

    assert compare(beside, X, grad=False, **QUICK).agrees


def test_random_numbers_go_on_where_they_were() -> None:
    torch.manual_seed(4)
    wanted = torch.rand(3).numpy()
    torch.manual_seed(4)
    stream = torch.Generator().manual_seed(7)

    def noisy(x: Any) -> Any:
        torch.set_default_dtype(torch.float64)
        drawn = torch.rand(6, 5, generator=stream) if computes() else 1.0
        return x * drawn + gf.random_normal([6, 5])

    compare(noisy, X, **QUICK)
    assert np.array_equal(torch.rand(3).numpy(), wanted) and torch.get_default_dtype() is torch.float32
    again = torch.Generator().manual_seed(7)
    assert np.array_equal(torch.rand(3, generator=stream).numpy(), torch.rand(3, generator=again).numpy())


def test_running_statistics_are_compared_from_the_same_beginning() -> None:
    model = nn.BatchNorm1d(5, momentum=0.5)
    found = compare(lambda x: model(x) * 2.0, X, **QUICK)
    assert found.agrees and all(row.same_bits for row in found.lazy if row.level != 2)
    assert np.array_equal(model.running_mean.numpy(), np.zeros(5)) and int(model.num_batches_tracked) == 0


def test_what_a_failing_function_changed_is_put_back() -> None:
    weights, told = torch.ones(3), {"a": 1}

    def fails(x: Any) -> Any:
        told["b"] = 2
        if computes():
            weights.add_(1.0)
            raise RuntimeError("late")
        return x * weights

    with pytest.raises(FailedPreconditionError, match="RuntimeError"):
        compare(fails, X[:, :3], **QUICK)
    assert weights.tolist() == [1.0, 1.0, 1.0] and told == {"a": 1}


def test_a_tensor_that_is_passed_twice_has_one_gradient() -> None:
    x = torch.tensor(X, requires_grad=True)
    found = compare(lambda a, b: a * b * b, x, x, **QUICK)
    assert found.agrees and found.conditions["sources"] == 1
