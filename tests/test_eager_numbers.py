"""Numbers and derivatives as PyTorch has them: ties, zeros, ends of ranges, whole numbers, bools, NaN, and nothing.

The answers are those of PyTorch 2.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import eager as torch
from graphflow.eager import nn, optim, utils
from graphflow.eager.nn import functional
from graphflow.errors import DTypeError, Error, InvalidArgumentError, OutOfRangeError, ShapeError

# expression -> dtype and elements; b, i, u, f and c are the tensors of `names`
VALUES: dict[str, Any] = {
    "torch.where(b,1,0)": ("int64", [1, 0]),
    "torch.where(b,1.5,0)": ("float32", [1.5, 0.0]),
    "torch.where(b,True,False)": ("bool", [True, False]),
    "torch.where(b,i,2)": ("int64", [[-7, 2], [0, 2]]),
    "torch.where(b,torch.ones(2,2),torch.zeros(2,2))": ("float32", [[1.0, 0.0], [1.0, 0.0]]),
    "torch.ones(2,2).masked_fill(b,5)": ("float32", [[5.0, 1.0], [5.0, 1.0]]),
    "torch.tensor([0.5,8.0]).log2()": ("float32", [-1.0, 3.0]),
    "torch.log10(torch.tensor([10,1000]))": ("float32", [1.0, 3.0]),
    "F.threshold(torch.tensor([nan,1.0,-1.0]),0.0,5.0)": ("float32", [nan, 1.0, 5.0]),
    "torch.isclose(f,2.5)": ("bool", [False, False, False, True]),
    "F.one_hot(i[1],4)": ("int64", [[1, 0, 0, 0], [0, 0, 1, 0]]),
    "i.masked_fill(i>0,1.5)": ("int64", [[-7, 1], [0, 1]]),
    "torch.div(i,2,rounding_mode='trunc')": ("int64", [[-3, 1], [0, 1]]),
    "torch.div(i,2,rounding_mode='floor')": ("int64", [[-4, 1], [0, 1]]),
    "torch.div(f,2,rounding_mode='trunc')": ("float32", [-1.0, -0.0, 0.0, 1.0]),
    "torch.div(f,-2,rounding_mode='floor')": ("float32", [1.0, 0.0, -1.0, -2.0]),
    "i//2": ("int64", [[-4, 1], [0, 1]]),
    "i%3": ("int64", [[2, 0], [0, 2]]),
    "torch.fmod(i,3)": ("int64", [[-1, 0], [0, 2]]),
    "torch.remainder(f,-2)": ("float32", [-0.5, -0.5, -0.5, -1.5]),
    "i/2": ("float32", [[-3.5, 1.5], [0.0, 1.0]]),
    "u+10": ("uint8", [4, 13]),
    "u*2": ("uint8", [244, 6]),
    "i.sum(dtype=torch.int32)": ("int32", -2),
    "b.sum()": ("int64", 1),
    "b.prod()": ("int64", 0),
    "u.cumsum(0)": ("int64", [250, 253]),
    "i.trace()": ("int64", -5),
    "b+b": ("bool", [True, False]),
    "b*True": ("bool", [True, False]),
    "b&False": ("bool", [False, False]),
    "b|True": ("bool", [True, True]),
    "b^True": ("bool", [False, True]),
    "~b": ("bool", [False, True]),
    "~i": ("int64", [[6, -4], [-1, -3]]),
    "~u": ("uint8", [5, 252]),
    "i<<2": ("int64", [[-28, 12], [0, 8]]),
    "i>>1": ("int64", [[-4, 1], [0, 1]]),
    "i>>300": ("int64", [[-1, 0], [0, 0]]),
    "i<<64": ("int64", [[0, 0], [0, 0]]),
    "i<<-1": ("int64", [[0, 0], [0, 0]]),
    "i>>-1": ("int64", [[-1, 0], [0, 0]]),
    "u<<1": ("uint8", [244, 6]),
    "u<<8": ("uint8", [0, 0]),
    "1<<i": ("int64", [[0, 8], [1, 4]]),
    "i&1": ("int64", [[1, 1], [0, 0]]),
    "i&u": ("int64", [[248, 3], [0, 2]]),
    "True&i": ("int64", [[1, 1], [0, 0]]),
    "b&i[0]": ("int64", [1, 0]),
    "b|2": ("int64", [3, 2]),
    "b<<1": ("int64", [2, 0]),
    "i^i": ("int64", [[0, 0], [0, 0]]),
    "u|4": ("uint8", [254, 7]),
    "u>>1": ("uint8", [125, 1]),
    "u>>u": ("uint8", [0, 0]),
    "b<True": ("bool", [False, True]),
    "b>=b": ("bool", [True, True]),
    "b.max()": ("bool", True),
    "b.amin(0)": ("bool", False),
    "torch.maximum(b,~b)": ("bool", [True, True]),
    "b.sort().values": ("bool", [False, True]),
    "i>1.5": ("bool", [[False, True], [False, True]]),
    "u<2.5": ("bool", [False, False]),
    "torch.logical_and(i,i)": ("bool", [[True, True], [False, True]]),
    "torch.logical_not(f)": ("bool", [False, False, False, False]),
    "i.floor()": ("int64", [[-7, 3], [0, 2]]),
    "i.trunc()": ("int64", [[-7, 3], [0, 2]]),
    "f.trunc()": ("float32", [-2.0, -0.0, 1.0, 2.0]),
    "f.round()": ("float32", [-2.0, -0.0, 2.0, 2.0]),
    "torch.tensor([2.25,-0.75]).round(decimals=1)": ("float32", [2.2, -0.80000001]),
    "torch.isnan(c)": ("bool", [False, True]),
    "torch.isfinite(i)": ("bool", [[True, True], [True, True]]),
    "torch.angle(f)": ("float32", [3.1415927, 3.1415927, 0.0, 0.0]),
    "torch.angle(i)": ("float32", [[3.1415927, 0.0], [0.0, 0.0]]),
    "c.real": ("float32", [1.0, 0.0]),
    "c.imag": ("float32", [2.0, nan]),
    "torch.real(f)": ("float32", [-2.5, -0.5, 1.5, 2.5]),
    "torch.atan2(i,i)": ("float32", [[-2.3561945, 0.78539819], [0.0, 0.78539819]]),
    "torch.nan_to_num(i)": ("int64", [[-7, 3], [0, 2]]),
    "i.logsumexp(1)": ("float32", [3.0000453, 2.1269281]),
    "torch.tensor(2.).cumsum(0)": ("float32", 2.0),
    "torch.tensor(2.).sort().values": ("float32", 2.0),
    "torch.tensor([1.,nan,3.]).median()": ("float32", nan),
    "torch.tensor([[1.,nan,3.],[3.,1.,2.]]).median(1)": [("float32", [nan, 2.0]), ("int64", [1, 2])],
    "f.norm(p=0)": ("float32", 4.0),
    "f.norm(p=-inf)": ("float32", 0.5),
    "torch.tensor([1.,3.]).var(correction=2)": ("float32", inf),
    "torch.tensor([2.]).std()": ("float32", nan),
    "torch.max(f,other=-f)": ("float32", [2.5, 0.5, 1.5, 2.5]),
    "F.softplus(f,beta=2.,threshold=1.)": ("float32", [0.0033576742, 0.15663084, 1.5, 2.5]),
    "F.mse_loss(f,f.double()+1)": ("float64", 1.0),
    "F.sigmoid(i)": ("float32", [[0.00091105117, 0.95257413], [0.5, 0.88079703]]),
    "F.binary_cross_entropy(torch.tensor([0.,1.,0.25]),torch.tensor([0.,0.,1.]),reduction='none')":
        ("float32", [0.0, 100.0, 1.3862944]),
    "F.cross_entropy(torch.tensor([[1.,nan],[0.,0.]]),torch.tensor([-100,1]))": ("float32", 0.69314718),
    "F.cross_entropy(torch.tensor([[1.,-inf],[0.,0.]]),torch.tensor([-100,1]),label_smoothing=0.5)":
        ("float32", 0.69314718),
    "torch.softmax(torch.tensor([-inf,0.]),0)": ("float32", [0.0, 1.0]),
    "torch.tensor([-inf,-inf]).logsumexp(0)": ("float32", -inf),
    "torch.ones(3000,dtype=torch.float16).sum()": ("float16", 3000.0),
}  # fmt: skip
# expression in x, the elements of x, and the gradient of the expression's sum
GRADIENTS: list[tuple[str, Any, Any]] = [
    ("x.norm()", [0.0, 0.0], [0.0, 0.0]),
    ("x.norm(p=3)", [0.0, 0.0], [0.0, 0.0]),
    ("x.norm(p=0.5)", [0.0, 4.0], [0.0, 1.0]),
    ("x.norm(dim=0)", [[0.0, 3.0], [0.0, 4.0]], [[0.0, 0.60000002], [0.0, 0.80000001]]),
    ("x.std()", [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]),
    ("x.std(0)", [[1.0, 5.0], [1.0, 7.0]], [[0.0, -0.70710677], [0.0, 0.70710677]]),
    ("x**0", [0.0, 2.0], [0.0, 0.0]),
    ("x**torch.zeros(2)", [0.0, 2.0], [0.0, 0.0]),
    ("x**x", [0.0, 2.0], [0.0, 6.7725887]),
    ("0**x", [0.0, 2.0], [0.0, 0.0]),
    ("x**torch.tensor([2.,0.5])", [0.0, 4.0], [0.0, 0.25]),
    ("torch.tensor([0.,-2.,3.])**x", [2.0, 2.0, 2.0], [0.0, nan, 9.8875103]),
    ("torch.ones(2,2)*3**x", [0.0, 2.0], [2.1972246, 19.775021]),
    ("x.abs()", [0.0, -2.0], [0.0, -1.0]),
    ("x.sqrt()", [0.0, 4.0], [inf, 0.25]),
    ("x.prod()", [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
    ("x.prod()", [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]),
    ("x.cumprod(0)", [2.0, 0.0, 3.0], [1.0, 8.0, 0.0]),
    ("torch.where(x>0,x.sqrt(),x)", [0.0, 4.0], [nan, 0.25]),
    ("x.clamp(-1,1)", [-2.0, -1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0, 0.0]),
    ("x.clamp(min=torch.tensor([1.,3.]))", [1.0, 2.0], [1.0, 0.0]),
    ("x.max(0).values", [3.0, 1.0, 3.0], [1.0, 0.0, 0.0]),
    ("x.max()", [3.0, 1.0, 3.0], [0.5, 0.0, 0.5]),
    ("x.amax(0)", [3.0, 1.0, 3.0], [0.5, 0.0, 0.5]),
    ("x.amin()", [3.0, 1.0, 1.0], [0.0, 0.5, 0.5]),
    ("x.median()", [2.0, 1.0, 2.0, 5.0], [0.5, 0.0, 0.5, 0.0]),
    ("torch.maximum(x,torch.tensor([1.,2.,3.]))", [1.0, 3.0, 2.0], [0.5, 1.0, 0.0]),
    ("torch.minimum(x,torch.tensor([1.,2.,3.]))", [1.0, 3.0, 2.0], [0.5, 0.0, 1.0]),
    ("torch.maximum(x,x)", [1.0, 2.0], [1.0, 1.0]),
    ("torch.max(x,torch.tensor(2.))", [2.0, 3.0], [0.5, 1.0]),
    ("torch.atan2(x,torch.tensor([0.,1.]))", [0.0, 1.0], [0.0, 0.5]),
    ("torch.atan2(torch.tensor([0.,1.]),x)", [0.0, 1.0], [-0.0, -0.5]),
    ("torch.div(x,2,rounding_mode='trunc')+x", [1.0, 5.0], [1.0, 1.0]),
    ("F.hardtanh(x)", [-2.0, -1.0, 0.0, 1.0, 2.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
    ("F.relu6(x)", [-1.0, 0.0, 3.0, 6.0, 7.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
    ("F.relu(x)", [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    ("F.elu(x,2.0)", [-1.0, 0.0, 1.0], [0.7357589, 2.0, 1.0]),
    ("F.selu(x)", [-1.0, 0.0, 1.0], [0.64676863, 1.7580993, 1.050701]),
    ("F.leaky_relu(x,0.1)", [-1.0, 0.0, 1.0], [0.1, 0.1, 1.0]),
    ("prelu(x)", [-1.0, 0.0, 1.0], [0.25, 0.25, 1.0]),
    ("F.softplus(x,2.0,1.0)", [0.0, 0.5, 3.0], [0.5, 0.7310586, 1.0]),
    ("F.binary_cross_entropy(x,torch.tensor([0.,0.,1.,1.,0.5]),reduction='sum')",
     [0.0, 1.0, 1.0, 0.0, 0.25], [0.0, 999999995904.0, 0.0, -999999995904.0, -1.3333334]),
    ("F.cross_entropy(x,torch.tensor([-100,-100]))", [[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]),
    ("F.cross_entropy(x,torch.tensor([-100,1]))", [[1.0, 2.0], [3.0, 3.0]], [[0.0, 0.0], [0.5, -0.5]]),
    ("F.nll_loss(x,torch.tensor([-100,-100]),weight=torch.tensor([1.,2.]))",
     [[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]),
    ("x.logsumexp(0)", [-inf, 0.0, 0.0], [0.0, 0.5, 0.5]),
    ("torch.softmax(x,0)[1]", [-inf, 0.0, 0.0], [-0.0, 0.25, -0.25]),
    ("F.smooth_l1_loss(x,torch.zeros(3),reduction='sum')", [0.0, 1.0, -2.0], [0.0, 1.0, -1.0]),
    ("F.l1_loss(x,torch.zeros(2),reduction='sum')", [0.0, -2.0], [0.0, -1.0]),
    ("F.normalize(x,dim=0)", [0.0, 0.0], [999999995904.0, 999999995904.0]),
    ("F.normalize(x,p=1,dim=0)", [0.5, -0.5, 0.25], [0.64, 0.96, 0.64]),
    ("F.normalize(x,p=3,dim=0)", [0.0, -1.0, 1.0], [0.7937005, 0.7937005, 0.7937005]),
    ("F.normalize(x,p=inf,dim=0)", [0.5, -0.5, 0.25], [1.5, 2.5, 2.0]),
    ("F.normalize(x,p=-1,dim=0)", [0.5, -0.5, 0.25], [7.0, 9.0, 4.0]),
    ("F.normalize(x,p=0,dim=0)", [0.0, -1.0, 1.0], [0.5, 0.5, 0.5]),
    ("F.celu(x)", [0.0, -1.0, 1.0], [1.0, 0.36787945, 1.0]),
    ("F.celu(x,2.0)", [0.0, -1.0, 1.0], [1.0, 0.60653067, 1.0]),
    ("F.threshold(x,0.0,5.0)", [nan, 1.0, 0.0, -1.0], [1.0, 1.0, 0.0, 0.0]),
    ("F.prelu(x,torch.tensor([0.25]))", [0.0, -1.0, 1.0], [0.25, 0.25, 1.0]),
    ("x.log2()", [0.5, 8.0], [2.8853901, 0.18033688]),
    ("torch.log10(x)", [0.5, 8.0], [0.86858896, 0.05428681]),
    ("F.nll_loss(x,torch.tensor([2,0]))", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[0.0, 0.0, -0.5], [-0.5, 0.0, 0.0]]),
    ("F.nll_loss(x,torch.tensor([1]))", [1.0, 2.0, 3.0], [0.0, -1.0, 0.0]),
]  # fmt: skip


def names() -> dict[str, Any]:
    """What expressions are made of."""
    return {
        "torch": torch, "np": np, "prelu": nn.PReLU(), "F": functional, "inf": inf, "nan": nan,
        "b": torch.tensor([True, False]),
        "i": torch.tensor([[-7, 3], [0, 2]]), "u": torch.tensor([250, 3], dtype=torch.uint8),
        "f": torch.tensor([-2.5, -0.5, 1.5, 2.5]), "c": torch.tensor([1 + 2j, complex(0, nan)]),
    }  # fmt: skip


def close(found: Any, wanted: Any) -> bool:
    """Equal up to a few of float32's last places; what is not finite, exactly."""
    if np.shape(found) != np.shape(wanted):
        return False
    return bool(np.allclose(np.asarray(found, float), np.asarray(wanted, float), 2e-6, 2e-7, equal_nan=True))


@pytest.mark.parametrize("expression", VALUES)
def test_values(expression: str) -> None:
    found, wanted = eval(expression, names()), VALUES[expression]
    several = list(zip(found, wanted, strict=True)) if isinstance(wanted, list) else [(found, wanted)]
    for x, (dtype, elements) in several:
        assert x.dtype.name == dtype
        assert close(x.tolist(), elements), x


@pytest.mark.parametrize("expression", VALUES)
def test_values_in_a_traced_function_are_the_same(expression: str) -> None:
    """The dtypes as well: what meets is promoted in a trace as it is at once."""
    inputs, wanted = names(), VALUES[expression]
    given = {name: x for name, x in inputs.items() if len(name) == 1 and name != "F"}
    function = gf.function(lambda tensors: eval(expression, {**inputs, **tensors}))
    found = function(given)
    several = list(zip(found, wanted, strict=True)) if isinstance(wanted, list) else [(found, wanted)]
    for x, (dtype, elements) in several:
        assert x.dtype.name == dtype
        assert close(x.tolist(), elements), x


@pytest.mark.parametrize(("expression", "values", "wanted"), GRADIENTS)
def test_gradients(expression: str, values: Any, wanted: Any) -> None:
    x = torch.tensor(values, requires_grad=True)
    eval(expression, {**names(), "x": x}).sum().backward()
    assert close(x.grad.tolist(), wanted), x.grad


@pytest.mark.parametrize(("expression", "values", "wanted"), GRADIENTS)
def test_gradients_in_a_traced_function_are_the_same(expression: str, values: Any, wanted: Any) -> None:
    known = names()
    found = gf.function(lambda x: eval(expression, {**known, "x": x}).sum())
    x = torch.tensor(values, requires_grad=True)
    found(x).backward()
    assert close(x.grad.tolist(), wanted), x.grad


REFUSED: dict[str, tuple[str, type[Error]]] = {
    "division by zero": ("i // 0", InvalidArgumentError),
    "truncated division by zero": ("torch.div(i, 0, rounding_mode='trunc')", InvalidArgumentError),
    "the remainder of 0": ("i % 0", InvalidArgumentError),
    "a negative power of integers": ("i ** -1", InvalidArgumentError),
    "the mean of integers": ("i.mean()", DTypeError),
    "the largest of nothing": ("torch.zeros(0).max()", ShapeError),
    "the largest of nothing along a dimension": ("torch.zeros(0, 3).amax(0)", ShapeError),
    "the middle of nothing": ("torch.zeros(0).median()", ShapeError),
    "bits of fractions": ("f & f", DTypeError),
    "bits of an integer and a fraction": ("i & 1.5", DTypeError),
    "shifted bools": ("b << b", DTypeError),
    "shifted fractions": ("f << 1", DTypeError),
    "the imaginary part of real numbers": ("f.imag", DTypeError),
    "a difference of bools": ("b - b", DTypeError),
    "a number that uint8 cannot hold": ("u + 300", DTypeError),
    "elements that uint8 cannot hold": ("u.masked_fill(u > 5, 300)", DTypeError),
    "elements that are no numbers": ("f.masked_fill(f > 0, 'a')", DTypeError),
    "a class beyond the last": ("F.nll_loss(f.reshape(2, 2), torch.tensor([0, 2]))", InvalidArgumentError),
    "a class below the first": ("F.nll_loss(f.reshape(2, 2), torch.tensor([0, -1]))", InvalidArgumentError),
    "a class beyond the last, smoothed": (
        "F.cross_entropy(f.reshape(2, 2), torch.tensor([2, 0]), label_smoothing=0.1)",
        InvalidArgumentError,
    ),
    "a margin of a class beyond the last": (
        "F.multi_margin_loss(f.reshape(2, 2), torch.tensor([0, 2]))",
        InvalidArgumentError,
    ),
    "margins of fewer classes than rows": ("F.multi_margin_loss(f.reshape(2, 2), torch.tensor([0]))", ShapeError),
    "fewer classes than rows": ("F.nll_loss(f.reshape(2, 2), torch.tensor([0]))", ShapeError),
    "classes with an axis too many": ("F.nll_loss(f.reshape(2, 2), torch.tensor([[0, 1]]))", ShapeError),
    "fewer classes than rows, smoothed": (
        "F.cross_entropy(f.reshape(2, 2), torch.tensor([0]), label_smoothing=0.1)",
        ShapeError,
    ),
    "a weight for some of the classes": (
        "F.nll_loss(f.reshape(2, 2), torch.tensor([0, 1]), weight=torch.tensor([1.0]))",
        ShapeError,
    ),
    "each element of a matrix times each of another": ("torch.outer(i, i)", ShapeError),
    "one_hot of a class beyond the last": ("F.one_hot(i[1] + 1, 3)", OutOfRangeError),
    "one_hot of a class below the first": ("F.one_hot(i)", OutOfRangeError),
    "a part beyond the end": ("i.narrow(0, 1, 9)", OutOfRangeError),
    "a count that is no number": ("f.topk('a')", DTypeError),
    "a correction that is no number": ("f.var(correction='a')", DTypeError),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    expression, error = REFUSED[what]
    with pytest.raises(error):
        eval(expression, names())


@pytest.mark.parametrize(
    ("function", "second"),
    [
        (lambda x: (x**2.0).norm(), 2.0),
        (lambda x: torch.where(x > 1, x**3, x**2).sum(), 12.0),
        (lambda x: torch.atan2(x, torch.tensor([1.0])).sum(), -0.16),
        (lambda x: torch.maximum(x, torch.tensor([2.0]) * x**2 / 4).sum(), 0.5),
    ],
)
def test_second_derivatives(function: Callable[[Any], Any], second: float) -> None:
    x = torch.tensor([2.0], requires_grad=True)
    (slope,) = torch.autograd.grad(function(x), x, create_graph=True)
    (found,) = torch.autograd.grad(slope.sum(), x)
    assert close(found.tolist(), [second]), found


@pytest.mark.parametrize(
    "function",
    [lambda x, b: x * b, lambda x, b: x / (1 / b), lambda x, b: x @ b, lambda x, b: torch.where(x > 0, x * b, b)],
)
def test_an_array_may_be_written_anew_before_the_gradients(function: Callable[[Any, Any], Any]) -> None:
    for used in (function, gf.function(function)):
        x, buffer = torch.ones(2, requires_grad=True), np.array([3.0, 4.0], np.float32)
        found = used(x, buffer).sum()
        buffer[:] = 0.0
        found.backward()
        assert x.grad.tolist() == [3.0, 4.0]


def test_an_array_in_a_trace_is_what_it_was() -> None:
    buffer = np.array([3.0, 4.0], np.float32)
    function = gf.function(lambda x: x * buffer)
    x = torch.ones(2)
    assert function(x).tolist() == [3.0, 4.0]
    buffer[:] = 0.0
    assert function(x).tolist() == [3.0, 4.0]


# -- how functions may be called -------------------------------------------------------------------------------------

SAME: list[tuple[str, str]] = [
    ("f.sum(axis=0)", "f.sum(0)"),
    ("i.sum(axis=1, keepdims=True)", "i.sum(1, True)"),
    ("i.max(axis=0).indices", "i.max(0).indices"),
    ("torch.cat([i, i], axis=1)", "torch.cat([i, i], 1)"),
    ("f.softmax(axis=0)", "f.softmax(0)"),
    ("np.sum(i)", "i.sum()"),
    ("np.sum(i, axis=1)", "i.sum(1)"),
    ("np.prod(i)", "i.prod()"),
    ("np.mean(f)", "f.mean()"),
    ("np.max(f)", "f.max()"),
    ("np.any(b)", "b.any()"),
    ("np.cumsum(i, axis=0)", "i.cumsum(0)"),
    ("np.argmax(f)", "f.argmax()"),
    ("np.std(f)", "f.std(correction=0)"),
    ("np.var(i.float(), axis=0, ddof=1)", "i.float().var(0)"),
    ("i.permute(dims=(1, 0))", "i.permute(1, 0)"),
    ("torch.flip(i, dims=(0,))", "i.flip(0)"),
    ("torch.flip(input=i, dims=(0,))", "i.flip(0)"),
    ("i.reshape(shape=(4,))", "i.reshape(4)"),
    ("i.repeat(repeats=(2, 1))", "i.repeat(2, 1)"),
    ("torch.zeros(size=(2, 3))", "torch.zeros(2, 3)"),
    ("np.array([2, 3]) * i", "i * np.array([2, 3])"),
    ("np.array([2, 3]) > i", "i < np.array([2, 3])"),
]


@pytest.mark.parametrize(("expression", "same"), SAME)
def test_other_words_for_the_same(expression: str, same: str) -> None:
    found, wanted = eval(expression, names()), eval(same, names())
    assert found.dtype is wanted.dtype
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("x &= 3", [1, 2]), ("x |= 8", [13, 14]), ("x ^= 1", [4, 7]), ("x <<= 1", [10, 12]), ("x >>= 1", [2, 3]),
        ("x.bitwise_not_()", [-6, -7]), ("x.logical_and_(torch.tensor([1, 0]))", [1, 0]),
    ],
)  # fmt: skip
def test_bits_in_place(change: str, wanted: list[int]) -> None:
    x = torch.tensor([5, 6])
    exec(change, {**names(), "x": x})
    assert x.tolist() == wanted


MISUSED = [
    "torch.cat([1, 2])", "torch.zeros(-1)", "torch.arange('a')", "i.chunk(0)", "torch.ones(3).tril()",
    "F.one_hot(torch.tensor([], dtype=torch.int64))", "nn.Dropout('a')", "nn.Dropout(2)", "nn.Linear('a', 2)",
    "F.layer_norm(f, 3)", "optim.SGD([nn.Parameter(f)], lr='a')", "optim.SGD(None, lr=0.1)",
    "optim.Adam([nn.Parameter(f)], betas=0.9)", "nn.Linear(1, 2).load_state_dict(3)", "torch.from_dlpack(3)",
    "torch.equal(f, 3)", "torch.dot(f, 2)", "torch.isclose(2, f)", "nn.init.normal_(3)", "torch.mean(3)",
    "torch.matmul(2, f)", "f.unsqueeze('a')", "f.sum(axes=0)", "f.sum(0, 1, 2, 3)", "torch.matrix_power(i, 'a')",
    "torch.zeros(size=(-1,))", "torch.linspace(0, 1, 'a')", "torch.tril_indices('a', 2)",
    "torch.broadcast_shapes(2, 'a')", "nn.Conv2d('a', 1, 1)", "nn.ModuleList(3)", "utils.data.DataLoader(3)",
    "utils.data.DataLoader([1], batch_size='a')", "nn.utils.clip_grad_norm_(3, 1.0)",
    "optim.lr_scheduler.StepLR(optim.SGD([nn.Parameter(f)], lr=0.1), 'a')",
]  # fmt: skip


@pytest.mark.parametrize("expression", MISUSED)
def test_what_makes_no_sense_is_an_error_of_the_library(expression: str) -> None:
    with pytest.raises(Error):
        eval(expression, {**names(), "nn": nn, "optim": optim, "utils": utils})


def test_such_an_error_says_what_came_and_what_is_wanted() -> None:
    with pytest.raises(DTypeError) as caught:
        torch.unsqueeze(torch.ones(2), "a")
    error = caught.value
    assert error.expected == "unsqueeze(input, dim)"
    assert error.got == "a tensor float32[2], 'a'"
    assert isinstance(error.__cause__, TypeError)


@pytest.mark.parametrize("name", ["zeros", "ones", "rand", "zeros_like"])
def test_such_an_error_calls_a_function_by_its_own_name(name: str) -> None:
    first = torch.ones(3) if name == "zeros_like" else 3
    with pytest.raises(DTypeError) as caught:
        getattr(torch, name)(first, dtyp=torch.float64)
    assert f"{name}: {name}() got an unexpected keyword argument 'dtyp'" in str(caught.value)
