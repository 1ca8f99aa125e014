"""What shares memory with what it was made of and what has memory of its own, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.backend import load_backend
from graphflow.errors import Error, FailedPreconditionError

F = torch.nn.functional
_IMAGES, _SQUARE, _ROW = (1, 1, 4, 4), (3, 3), (3,)
COPIES: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "diag": ((3, 3), torch.diag), "diag of one": ((1, 1), lambda x: x.diag()),
    "nearest": (_IMAGES, lambda x: F.interpolate(x, size=4)),
    "bilinear": (_IMAGES, lambda x: F.interpolate(x, scale_factor=1, mode="bilinear")),
    "area": (_IMAGES, lambda x: F.interpolate(x, size=(4, 4), mode="area")),
    "Upsample": (_IMAGES, torch.nn.Upsample(size=4)),
    "adaptive_avg_pool1d": ((1, 1, 4), lambda x: F.adaptive_avg_pool1d(x, 4)),
    "adaptive_avg_pool2d": (_IMAGES, lambda x: F.adaptive_avg_pool2d(x, 4)),
    "adaptive_max_pool2d": ((1, 4, 4), lambda x: F.adaptive_max_pool2d(x, (None, 4))),
    "max_pool2d": (_IMAGES, lambda x: F.max_pool2d(x, 1)), "avg_pool2d": (_IMAGES, lambda x: F.avg_pool2d(x, 1)),
    "pixel_shuffle": (_IMAGES, lambda x: F.pixel_shuffle(x, 1)),
    "pixel_unshuffle": (_IMAGES, lambda x: F.pixel_unshuffle(x, 1)),
    "pixel_shuffle of one": ((1, 4, 1, 1), lambda x: F.pixel_shuffle(x, 2)),
    "F.unfold": (_IMAGES, lambda x: F.unfold(x, 1)), "F.fold": ((1, 1, 16), lambda x: F.fold(x, (4, 4), 1)),
    "matrix_power": (_SQUARE, lambda x: torch.matrix_power(x, 1)),
    "linalg.matrix_power": (_SQUARE, lambda x: torch.linalg.matrix_power(x, 1)),
    "chain_matmul": (_SQUARE, torch.chain_matmul), "tril": (_SQUARE, lambda x: x.tril(5)),
    "rot90": (_SQUARE, lambda x: torch.rot90(x, 4)), "block_diag": (_SQUARE, torch.block_diag),
    "diff": (_ROW, lambda x: x.diff(n=0)), "logcumsumexp": (_ROW, lambda x: x[None].logcumsumexp(0)),
    "logcumsumexp of a scalar": ((), lambda x: x.logcumsumexp(0)), "cumsum": (_ROW, lambda x: x[None].cumsum(0)),
    "repeat_interleave": (_ROW, lambda x: x.repeat_interleave(1, 0)), "repeat": (_ROW, lambda x: x.repeat(1)),
    "tile": (_ROW, lambda x: torch.tile(x, (1,))), "cat": (_ROW, lambda x: torch.cat([x, torch.zeros(0)])),
    "stack": (_ROW, lambda x: torch.stack([x])), "hstack": (_ROW, lambda x: torch.hstack([x])),
    "pad": (_ROW, lambda x: F.pad(x, [0, 0])), "pad, negative": (_ROW, lambda x: F.pad(x, [-1, 0])),
    "pad, replicate": ((1, 3), lambda x: F.pad(x, [0, 0], mode="replicate")),
    "where": (_ROW, lambda x: torch.where(torch.ones(3) > 0, x, x)), "clamp": (_ROW, lambda x: x.clamp(-9, 9)),
    "roll": (_ROW, lambda x: x.roll(0)), "flip": (_ROW, lambda x: x[None].flip(0)),
    "sort": (_ROW, lambda x: x[:1].sort().values), "sort of a scalar": ((), lambda x: x.sort().values),
    "kthvalue of a scalar": ((), lambda x: x.kthvalue(1).values), "sum": (_ROW, lambda x: x[None].sum(0)),
    "amax": (_ROW, lambda x: x[None].amax(0)), "x[[0, 1, 2]]": (_ROW, lambda x: x[[0, 1, 2]]),
    "x[mask]": (_ROW, lambda x: x[torch.ones(3) > 0]), "x * 1": (_ROW, lambda x: x * 1),
    "x ** 1": (_ROW, lambda x: x**1), "relu": (_ROW, F.relu),
    "clone": (_ROW, lambda x: x.clone()), "tensor": (_ROW, torch.tensor),
}  # fmt: skip
COPIES_OF_INTEGERS = ("round", "floor", "ceil", "trunc", "nan_to_num", "abs", "sort")


@pytest.mark.parametrize("name", COPIES)
def test_what_is_no_view_has_memory_of_its_own(name: str) -> None:
    """A result keeps its values when the input becomes others, and the other way round."""
    shape, function = COPIES[name]
    x = torch.ones(shape)
    y = function(x)
    kept = y.tolist()
    assert not np.shares_memory(x.numpy(), y.numpy())
    x.fill_(7)
    assert y.tolist() == kept
    y.fill_(5)
    assert x.tolist() == torch.full(shape, 7.0).tolist()


@pytest.mark.parametrize("name", COPIES_OF_INTEGERS)
def test_whole_numbers_are_copied_too(name: str) -> None:
    x = torch.tensor([3, 4])
    y = getattr(x, name)()
    y = getattr(y, "values", y)
    x.fill_(7)
    assert y.tolist() == [3, 4]


def test_gradients_pass_a_copy() -> None:
    x = torch.ones(2, 2, requires_grad=True)
    (torch.diag(x) * torch.tensor([3.0, 5.0])).sum().backward()
    (torch.matrix_power(x, 1) * 2).sum().backward()
    assert x.grad.tolist() == [[5.0, 2.0], [2.0, 7.0]]


def test_a_copy_in_a_traced_function_stays_as_it_was() -> None:
    @gf.function
    def changed(x: Any) -> Any:
        x = x * 1
        d = torch.diag(x)
        x.fill_(7)
        return d, x

    d, x = changed(torch.eye(2) * 2)
    assert d.tolist() == [2.0, 2.0]
    assert x.tolist() == [[7.0, 7.0], [7.0, 7.0]]


def test_what_is_summed_to_its_own_size_is_a_view() -> None:
    x = torch.tensor([1.0, 2.0])
    x.sum_to_size(2).mul_(3)
    assert x.tolist() == [3.0, 6.0]
    x.sum_to_size(1).mul_(3)
    assert x.tolist() == [3.0, 6.0]


def test_windows_that_do_not_overlap_are_a_view() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    x.unfold(1, 2, 2).mul_(0)
    assert x.tolist() == [[0.0, 0.0, 2.0], [0.0, 0.0, 5.0]]
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x * 1
    y.unfold(0, 1, 2).mul_(3)
    y.sum().backward()
    assert y.tolist() == [3.0, 2.0, 9.0, 4.0]
    assert x.grad.tolist() == [3.0, 1.0, 3.0, 1.0]


@pytest.mark.parametrize("change", [lambda w: w.mul_(0), lambda w: w.__setitem__((0, 0), 1.0), lambda w: w.zero_()])
def test_windows_that_overlap_are_not_changed_in_vain(change: Callable[[Any], Any]) -> None:
    windows = torch.arange(4.0).unfold(0, 3, 1)
    with pytest.raises(FailedPreconditionError, match="cannot be written"):
        change(windows)
    assert windows.tolist() == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]


def test_a_parameter_shares_the_memory_of_the_tensor_that_it_is_made_of() -> None:
    x = torch.tensor([1.0, 2.0])
    p = torch.nn.Parameter(x)
    x.add_(1)
    assert p.tolist() == [2.0, 3.0]
    with torch.no_grad():
        p.mul_(10)
    assert x.tolist() == [20.0, 30.0]
    loss = (p * p).sum()
    x.zero_()
    with pytest.raises(FailedPreconditionError, match="in place"):
        loss.backward()
    values = np.ones(2)
    q = torch.nn.Parameter(values)
    values[:] = 5
    assert q.tolist() == [1.0, 1.0]
    assert p.is_leaf and p.requires_grad and not x.requires_grad


# -- on a device -----------------------------------------------------------------------------------------------------


@pytest.fixture
def there() -> Any:
    """A tensor on a device that there is."""
    try:
        load_backend("opencl").device  # noqa: B018 - opened at first use
    except Error as error:
        pytest.skip(f"no OpenCL here: {error.summary}")
    return torch.arange(4.0).reshape(2, 2).to("opencl")


@pytest.mark.parametrize(
    ("copied", "wanted"),
    [
        (torch.diag, [1.0, 4.0]),
        (lambda x: torch.matrix_power(x, 1), [[1.0, 2.0], [3.0, 4.0]]),
        (lambda x: x.repeat_interleave(1, 0), [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_copies_on_a_device_may_be_changed(there: Any, copied: Callable[[Any], Any], wanted: Any) -> None:
    y = copied(there)
    assert y.add_(1.0).tolist() == wanted
    assert there.tolist() == [[0.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize("step", [1, 2])
def test_windows_on_a_device_are_not_changed_in_vain(there: Any, step: int) -> None:
    with pytest.raises(FailedPreconditionError, match="a view on opencl shares no memory"):
        there.reshape(4).unfold(0, 2, step).mul_(0)
