"""Changes in place as in PyTorch, whose answers are written out: through one element, by assignment, on a device."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.backend import load_backend
from graphflow.collector import CollectorPaused
from graphflow.eager.storage import convert
from graphflow.errors import DTypeError, Error, FailedPreconditionError, OutOfRangeError, ShapeError


def leaf(*values: float) -> Any:
    """A leaf that requires gradients."""
    return torch.tensor(list(values), requires_grad=True)


# -- through views ---------------------------------------------------------------------------------------------------

ONE_ELEMENT: dict[str, Callable[[Any], Any]] = {
    "x[0]": lambda x: x[0], "x[-1]": lambda x: x[-1], "x[None][0, 0]": lambda x: x[None][0, 0],
    "x[:1][0]": lambda x: x[:1][0], "squeeze": lambda x: x.squeeze(), "reshape": lambda x: x.reshape(()),
    "view": lambda x: x.view(()), "unbind": lambda x: x.unbind(0)[0], "flatten": lambda x: x.flatten()[0],
    "iter": lambda x: next(iter(x)), "data": lambda x: x.data[0], "detach": lambda x: x.detach()[0],
    "narrow": lambda x: x.narrow(0, 0, 1).squeeze(), "view_as": lambda x: x.view_as(x)[0],
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_ELEMENT)
def test_one_element_is_a_view(name: str) -> None:
    x = torch.ones(1)
    ONE_ELEMENT[name](x).fill_(7)
    assert x.tolist() == [7.0]


OF_A_SCALAR: dict[str, Callable[[Any], Any]] = {
    "view": lambda s: s.view(1), "reshape": lambda s: s.reshape(1), "s[None]": lambda s: s[None],
    "s[...]": lambda s: s[...], "unsqueeze": lambda s: s.unsqueeze(0), "squeeze": lambda s: s.squeeze(),
    "flatten": lambda s: s.flatten(), "view_as": lambda s: s.view_as(s), "detach": lambda s: s.detach(),
    "data": lambda s: s.data, "permute": lambda s: s.permute(()),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_A_SCALAR)
def test_a_computed_scalar_is_shown_by_its_views(name: str) -> None:
    s = torch.tensor([1.0, 2.0]).sum()
    OF_A_SCALAR[name](s).fill_(7)
    assert s.item() == 7.0


def test_gradients_pass_a_change_of_one_element() -> None:
    x = leaf(1.0, 2.0, 3.0)
    y = x * 2
    y[0].mul_(10)
    y.sum().backward()
    assert y.tolist() == [20.0, 4.0, 6.0]
    assert x.grad.tolist() == [20.0, 2.0, 2.0]


def test_gradients_pass_a_change_through_a_view_of_a_scalar() -> None:
    x = leaf(1.0, 2.0)
    s = (x * x).sum()
    s.view(1).mul_(3)
    s.backward()
    assert s.item() == 15.0
    assert x.grad.tolist() == [6.0, 12.0]


# -- by assignment ---------------------------------------------------------------------------------------------------


def test_slices_are_multiplied_where_they_are() -> None:
    x = leaf(1.0, 2.0, 3.0)
    y = x * 2
    y[-1:] *= 2.0
    y.sum().backward()
    assert y.tolist() == [2.0, 4.0, 12.0]
    assert x.grad.tolist() == [2.0, 2.0, 4.0]


def test_elements_are_added_to_where_they_are() -> None:
    x, z = leaf(1.0, 2.0, 3.0), torch.tensor(3.0, requires_grad=True)
    y = x * 2
    y[0] += z
    (y * y).sum().backward()
    assert y.tolist() == [5.0, 4.0, 6.0]
    assert x.grad.tolist() == [20.0, 16.0, 24.0]
    assert z.grad.item() == 10.0


def test_columns_masks_and_chosen_elements_change_where_they_are() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    y = x * 2
    y[:, [0, 2]] *= 3.0
    y[y > 10] *= 2.0
    y[0][1] *= 5.0
    (y * y).sum().backward()
    assert y.tolist() == [[6.0, 20.0, 36.0], [48.0, 10.0, 72.0]]
    assert x.grad.tolist() == [[72.0, 400.0, 864.0], [1152.0, 40.0, 1728.0]]


@pytest.mark.parametrize("clear", [lambda y: y.zero_(), lambda y: y.copy_(torch.ones(2)), lambda y: y.fill_(3)])
def test_what_is_overwritten_still_requires_gradients(clear: Callable[[Any], Any]) -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    clear(y)
    assert y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_true_and_false_are_indices() -> None:
    x = torch.ones(2, 2)
    sizes = [tuple(found.shape) for found in (x[True], x[torch.tensor(False)], x[0, True], x[True, 0])]
    assert sizes == [(1, 2, 2), (0, 2, 2), (1, 2), (1, 2)]
    assert torch.tensor(3.0)[True].tolist() == [3.0]
    w = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = w * 2
    y[0, True] = w[1]
    y[torch.tensor(False)] = 7.0
    (y * y).sum().backward()
    assert y.tolist() == [[3.0, 4.0], [6.0, 8.0]]
    assert w.grad.tolist() == [[0.0, 0.0], [30.0, 40.0]]


# -- what is counted -------------------------------------------------------------------------------------------------


def assigned(w: Any) -> None:
    with torch.no_grad():
        w[0] = 5.0


def given_data(w: Any) -> None:
    w.data = torch.tensor([5.0, 6.0])


def given_dtype(w: Any) -> None:
    convert(w, torch.float16)
    convert(w, torch.float32)  # rounded meanwhile


@pytest.mark.parametrize("change", [assigned, given_data, given_dtype])
def test_gradients_that_need_what_was_there_are_refused(change: Callable[[Any], None]) -> None:
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    change(w)
    with pytest.raises(FailedPreconditionError, match="changed in place after it was used"):
        y.backward()


def test_what_was_cut_off_and_changed_again_is_refused_too() -> None:
    w = leaf(1.0, 2.0)
    h = w * 2
    y = h * 3
    h.detach_()
    h.add_(w)
    with pytest.raises(FailedPreconditionError, match="cut off by detach_"):
        (y.sum() + h.sum()).backward()


def test_detaching_again_and_again_keeps_no_list() -> None:
    w, h = leaf(1.0, 2.0), torch.zeros(2)
    for _ in range(20):
        h.add_(w * 0.5)
        h.detach_()
    assert h.tolist() == [10.0, 20.0]
    assert len(h.memory) == 1


# -- in linear time --------------------------------------------------------------------------------------------------


def calls(function: Callable[[], Any]) -> int:
    """How many functions are called, of Python and of C."""
    found = [0]

    def count(*event: Any) -> None:
        found[0] += 1

    with CollectorPaused():
        sys.setprofile(count)
        try:
            function()
        finally:
            sys.setprofile(None)
    return found[0]


def chain(w: Any, n: int) -> Any:
    y = w * 1
    for _ in range(n):
        y = y + w
    return y


def changed_again(w: Any, n: int) -> Any:
    y = w * 1
    for _ in range(n):
        y += w
    return y


def used_between_changes(w: Any, n: int) -> Any:
    y, used = w * 1, []
    for _ in range(n):
        used.append(y * 2)
        y.add_(w)
    return torch.stack(used)


@pytest.mark.parametrize("program", [chain, changed_again, used_between_changes])
def test_derivatives_take_linear_time(program: Callable[[Any, int], Any]) -> None:
    def backward(n: int) -> int:
        y = program(leaf(1.0, 2.0), n).sum()
        return calls(y.backward)

    backward(10)  # what is worked out once
    assert backward(4000) < 2.2 * backward(2000)


def test_backward_lets_go_of_what_it_needed() -> None:
    w = leaf(1.0, 2.0)
    h = w * 2
    y = h.exp()
    record = y.origin
    y.sum().backward()
    assert record.freed
    assert all(value is None for value in record.values)
    assert all(x is not h and x.value is None for x in record.inputs)


# -- Python numbers beside tensors -----------------------------------------------------------------------------------


def test_a_scalar_decides_on_the_dtype_only_by_its_kind() -> None:
    double, single, whole = torch.tensor(2.0, dtype=torch.float64), torch.ones(2), torch.tensor([1, 2])
    assert (double * single).dtype is (single * double).dtype is torch.float32
    assert (whole * double).dtype is torch.float64
    assert (torch.tensor(2) * whole.to(torch.int8)).dtype is torch.int8
    assert (double * torch.tensor(2.0)).dtype is torch.float64


@pytest.mark.parametrize(
    ("dtype", "number"), [(gf.float16, 70000.0), (gf.float32, 1e39), (gf.int8, 200), (gf.int8, -200), (gf.uint8, -1)]
)
def test_numbers_that_do_not_fit_are_refused(dtype: Any, number: float) -> None:
    with pytest.raises(DTypeError, match="does not fit"):
        torch.ones(2, dtype=dtype) * number


# -- on a device -----------------------------------------------------------------------------------------------------


@pytest.fixture
def there() -> Any:
    """A tensor on a device that there is."""
    try:
        load_backend("opencl").device  # noqa: B018 - opened at first use
    except Error as error:
        pytest.skip(f"no OpenCL here: {error.summary}")
    return torch.arange(6.0).reshape(2, 3).to("opencl")


def test_what_is_changed_stays_on_its_device(there: Any) -> None:
    there[0] = 5.0
    there[1, 1] += 1
    there[:, 2] *= 2
    assert there.device == "opencl"
    assert there.tolist() == [[5.0, 5.0, 10.0], [3.0, 5.0, 10.0]]
    there.copy_(torch.ones(3))
    there.mul_(4.0)
    assert there.device == "opencl"
    assert there.tolist() == [[4.0] * 3] * 2
    there.fill_(2.0).zero_()
    assert there.device == "opencl"
    assert there.tolist() == [[0.0] * 3] * 2


def test_gradients_pass_changes_on_a_device(there: Any) -> None:
    w, z = there.requires_grad_(), leaf(1.0, 1.0, 1.0)
    y = w * 2
    y[0] = z
    y[1, :2] *= 3.0
    y[torch.tensor([False, True])] += 1.0
    (y * y).sum().backward()
    assert y.device == w.grad.device == "opencl"
    assert z.grad.device == "cpu"
    assert w.grad.tolist() == [[0.0, 0.0, 0.0], [228.0, 300.0, 44.0]]
    assert z.grad.tolist() == [2.0, 2.0, 2.0]


def test_new_tensors_lie_where_those_do_that_they_are_like(there: Any) -> None:
    likes = (torch.zeros_like, torch.ones_like, torch.empty_like, torch.rand_like, torch.randn_like)
    made = [like(there) for like in likes] + [torch.full_like(there, 2.0), there.new_zeros(2), there.new_full((2,), 1)]
    assert [x.device for x in made] == ["opencl"] * len(made)
    assert torch.zeros_like(there, device="cpu").device == "cpu"
    assert torch.zeros_like(there, dtype=torch.int64).device == "cpu"  # where whole numbers lie


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.detach(),
        lambda x: x.data,
        lambda x: x[0],
        lambda x: x[:, 1][0],
        lambda x: x.t(),
        lambda x: x.view(6),
    ],
)
def test_views_on_a_device_are_not_changed_in_vain(there: Any, view: Callable[[Any], Any]) -> None:
    with pytest.raises(FailedPreconditionError, match="a view on opencl shares no memory"):
        view(there).add_(1.0)


def test_copies_on_a_device_are_changed(there: Any) -> None:
    for copied in (there.clone(), there.t().clone(), there * 1, there.contiguous() * 1):
        assert copied.add_(1.0).sum().item() == 21.0
    assert there.sum().item() == 15.0


def test_what_is_cut_off_on_a_device_learns(there: Any) -> None:
    w = (there * 1).detach().requires_grad_()  # what it was cut off from is gone
    (w * w).sum().backward()
    with torch.no_grad():
        w -= 0.5 * w.grad
    assert w.is_leaf
    assert w.tolist() == [[0.0] * 3] * 2


def test_scalars_are_exported_and_tensors_of_devices_are_not(there: Any) -> None:
    s = torch.ones(2).sum()
    assert np.from_dlpack(s).item() == torch.from_dlpack(s).item() == 2.0
    with pytest.raises(FailedPreconditionError, match="only the memory of the CPU is exported"):
        np.from_dlpack(there)


# -- values that do not fit ------------------------------------------------------------------------------------------

TOO_LARGE = [
    ("uint8", 300), ("uint8", -1), ("uint8", float("inf")), ("uint8", 10**400),
    ("int32", 2**31), ("int64", 2**70), ("int64", float("-inf")), ("float32", 10**400),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "value"), TOO_LARGE)
def test_numbers_out_of_range_are_refused(dtype: str, value: float) -> None:
    x = torch.ones(2, dtype=getattr(torch, dtype))
    for change in (lambda: x.__setitem__(0, value), lambda: x.fill_(value)):
        with pytest.raises(OutOfRangeError, match="a number is out of range"):
            change()
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("value", ["a", [[1.0], [2.0, 3.0]], 1j])
def test_what_is_no_number_is_not_assigned(value: Any, recorded: bool) -> None:
    x = leaf(1.0, 2.0) * 1 if recorded else torch.tensor([1.0, 2.0])
    with pytest.raises(ShapeError, match="does not fit what is assigned to"):
        x[0] = value
    assert x.tolist() == [1.0, 2.0]


def test_a_recorded_assignment_refuses_numbers_out_of_range() -> None:
    x = leaf(1.0, 2.0) * 1
    with pytest.raises(OutOfRangeError, match="a number is out of range"):
        x[0] = 10**400
    assert x.tolist() == [1.0, 2.0]
