"""The kit itself: a right op passes everything, and each planted fault is caught by the check that is there for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.table import TABLE, Row

from graphflow import dtypes, errors, testing
from graphflow.backend import RegisterKernel
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import array, core, math
from graphflow.ops.inference import elementwise, like_first
from graphflow.spec import TensorSpec
from graphflow.testing import Arg, ErrorCase, Mismatch, OpCase, numeric

_names = (f"Planted{i}" for i in itertools.count())


def square_like(
    kernel: Callable[..., Any] = lambda x: x * x,
    gradient: Callable[..., Any] | None = lambda op, dy: dy * op.inputs[0] * _two(dy),
    infer: Callable[..., Any] = like_first,
    **row: Any,
) -> OpCase:
    """A row for a new op that squares its input, with one part exchanged."""
    name = next(_names)

    @op(name, infer=infer, differentiable=gradient is not None)
    def function(x: Any) -> Any:
        return call((x,))

    if row:
        TABLE[name] = Row(kernel, **row)
    else:
        RegisterKernel(name)(kernel)
    if gradient is not None:
        RegisterGradient(name)(gradient)
    return OpCase(name, "planted", function, (Arg((2, 3)),), lambda x: x * x, zero=(((0, 3),),))


@pytest.fixture(autouse=True)
def no_rows_left_behind() -> Iterator[None]:
    yield
    for name in [n for n in TABLE if n.startswith("Planted")]:
        del TABLE[name]


def _two(like: Any) -> Any:
    return array.ones_like(like) + array.ones_like(like)


def fails(check: Callable[..., None], case: OpCase, text: str, **options: Any) -> None:
    with pytest.raises(Mismatch, match=text):
        check(case, **options)


def test_a_right_op_passes() -> None:
    report = testing.run_conformance([square_like()])
    assert report.ok, str(report)
    assert {r.check for r in report.results} == set(testing.CHECKS)


def test_wrong_value() -> None:
    fails(testing.check_forward, square_like(lambda x: x * x * (1 + 1e-11)), "off by")


def test_wrong_in_one_element_only() -> None:
    def kernel(x: Any) -> Any:
        out = x * x
        out[..., -1:, -1:] += 1e-10
        return out

    fails(testing.check_forward, square_like(kernel), "off by")


def test_wrong_nan() -> None:
    case = replace(square_like(lambda x: np.nan_to_num(x) ** 2), inputs=(np.array([[1.0, np.nan]]),))
    fails(testing.check_forward, case, "off by inf")


def test_bits_know_signs_of_zero_and_no_signs_of_nan() -> None:
    assert not numeric.same_bits(np.array([0.0]), np.array([-0.0]))
    assert numeric.same_bits(np.array([np.nan]), -np.array([np.nan]))


def test_wrong_dtype() -> None:
    def kernel(x: Any) -> Any:
        return np.multiply(x, x, dtype=np.float64)

    fails(testing.check_forward, square_like(kernel), "dtype float64", dtype="float32")
    testing.check_forward(square_like(kernel), dtype="float64")


def test_wrong_inferred_shape() -> None:
    case = square_like(infer=lambda x: TensorSpec(x.dtype, None if x.dims is None else (*x.dims, 1)))
    fails(testing.check_forward, case, "shape")


def test_inference_that_needs_known_shapes() -> None:
    case = square_like(infer=lambda x: TensorSpec(x.dtype, tuple(d + 0 for d in x.dims)))
    with pytest.raises(errors.InvalidArgumentError):
        testing.check_forward(case)
    testing.check_forward(replace(case, unknown="none"))


def test_kernel_that_depends_on_the_layout() -> None:
    def kernel(x: Any) -> Any:
        return (x * x).ravel(order="K").reshape(x.shape)

    fails(testing.check_forward, square_like(kernel), "kernels get inputs in Fortran order")


def test_kernel_with_a_memory() -> None:
    count = itertools.count()
    fails(testing.check_forward, square_like(lambda x: x * x + 1e-15 * next(count)), "bit for bit")


def test_kernel_that_writes_into_its_input() -> None:
    def kernel(x: Any) -> Any:
        x *= x
        return x

    fails(testing.check_aliasing, square_like(kernel, view=False), "wrote into an array that was fed")


def test_kernel_that_returns_its_input_and_says_it_does_not() -> None:
    case = replace(square_like(lambda x: x, view=False), reference=lambda x: x)
    fails(testing.check_aliasing, case, "share memory")
    testing.check_aliasing(replace(square_like(lambda x: x, view=True), reference=lambda x: x))


def test_kernel_that_keeps_its_output() -> None:
    kept = np.zeros((2, 3))
    case = square_like(lambda x: np.multiply(x, x, kept), view=False)
    fails(testing.check_aliasing, case, "later run wrote|share memory")


def test_zero_size() -> None:
    def kernel(x: Any) -> Any:
        return x * x / (x.max() / x.max())

    case = square_like(kernel)
    fails(testing.check_zero_size, case, "zero size")
    fails(testing.check_zero_size, replace(square_like(), zero_error=errors.InvalidArgumentError), "expected Invalid")
    testing.check_zero_size(replace(case, zero_error=errors.InvalidArgumentError))


@pytest.mark.parametrize(
    ("gradient", "text"),
    [
        (lambda op, dy: dy * op.inputs[0], "the gradient is wrong"),
        (lambda op, dy: None, "the gradient is wrong"),
        (lambda op, dy: dy * op.inputs[0] * core.constant(2.0 + 1e-11, dtypes.float64), "complex step says"),
    ],
    ids=["half", "missing", "almost right"],
)
def test_wrong_gradient(gradient: Any, text: str) -> None:
    fails(testing.check_gradient, replace(square_like(gradient=gradient), dtypes=()), text)


def test_gradient_of_a_wrong_shape() -> None:
    case = square_like(gradient=lambda op, dy: dy * op.inputs[0] * core.constant(np.full((2, 1, 1), 2.0)))
    with pytest.raises(errors.ShapeError):
        testing.check_gradient(replace(case, dtypes=()))


def test_gradient_that_needs_known_shapes() -> None:
    def gradient(op: Any, dy: Any) -> Any:
        return None if op.inputs[0].dims is None else dy * op.inputs[0] * _two(dy)

    fails(testing.check_gradient, square_like(gradient=gradient), "unknown rank")


def test_gradient_in_the_wrong_width() -> None:
    narrow = next(_names)

    @op(narrow, infer=like_first, differentiable=False)
    def through_float64(x: Any) -> Any:
        return call((x,))

    RegisterKernel(narrow)(lambda x: np.asarray(x, np.float64))
    case = square_like(gradient=lambda op, dy: dy * through_float64(op.inputs[0]) * _two(dy))
    fails(testing.check_gradient, case, "in the gradient in float32, the kernel of Planted")


def test_kernel_that_is_not_analytic() -> None:
    fails(testing.check_gradient, square_like(lambda x: np.abs(x) ** 2), "is every kernel analytic")
    testing.check_gradient(replace(square_like(lambda x: np.abs(x) ** 2), analytic=False))


def test_second_gradient_that_is_cut_off() -> None:
    case = square_like(gradient=lambda op, dy: dy * core.stop_gradient(op.inputs[0]) * _two(dy))
    testing.check_gradient(case)
    fails(testing.check_second_gradient, case, "the second gradient is wrong")
    testing.check_second_gradient(replace(case, second=False))


def test_gradient_op_that_forgets_its_incoming_gradient() -> None:
    name = next(_names)

    @op(name, infer=elementwise(), same_dtype=())
    def square_grad(dy: Any, x: Any) -> Any:
        return call((dy, x))

    RegisterKernel(name)(lambda dy, x: 2.0 * dy * x)
    RegisterGradient(name)(lambda op, ddx: [None, ddx * op.inputs[0] * _two(ddx)])
    case = square_like(gradient=lambda op, dy: square_grad(dy, op.inputs[0]))
    testing.check_gradient(case)
    testing.check_second_gradient(case)
    fails(testing.check_forward_mode, case, "forward mode says")


def test_gradient_that_does_not_vanish_where_nothing_is() -> None:
    case = square_like(
        lambda x: x[:, :0] * 1.0,
        gradient=lambda op, dy: array.ones_like(op.inputs[0]),
        infer=lambda x: TensorSpec(x.dtype, None if x.dims is None else (x.dims[0], 0)),
    )
    case = replace(case, reference=lambda x: x[:, :0], zero=(((2, 3),),))
    fails(testing.check_zero_size_gradient, case, "is not zero")


def test_row_that_builds_another_op() -> None:
    fails(testing.check_forward, replace(square_like(), build=lambda x: math.multiply(x, x)), "builds no Planted")


def test_row_without_reference() -> None:
    fails(testing.check_forward, replace(square_like(), reference=None), "no reference")


def _raise(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: 1, "expected ShapeError, got 1"),
        (lambda: _raise(errors.DTypeError("no")), "raised DTypeError, expected ShapeError"),
        (lambda: _raise(errors.ShapeError("no")), "does not say 'inner'"),
        (lambda: _raise(errors.ShapeError("inner", source="x.py:1")), "does not name the user's line"),
    ],
    ids=["nothing", "another", "text", "line"],
)
def test_wrong_error(build: Any, text: str) -> None:
    case = ErrorCase("MatMul", "shapes", build, errors.ShapeError, "inner")
    with pytest.raises(Mismatch, match=text):
        testing.check_error(case)
    testing.check_error(replace(case, build=lambda: _raise(errors.ShapeError("the inner dimensions"))))


def test_a_report_names_every_failure_and_goes_on() -> None:
    wrong = square_like(lambda x: x * x * x)
    broken = square_like(lambda x: 1 // 0)
    report = testing.run_conformance([wrong, broken], checks=["forward", "layouts"])
    assert not report.ok
    assert [(r.case, r.check) for r in report.failures] == [
        (str(wrong), "forward"), (str(broken), "forward"), (str(broken), "layouts"),
    ]  # fmt: skip
    assert "4 checks on 'numpy', 3 failed" in str(report)
    assert not testing.run_conformance([]).ok


def test_a_backend_that_is_not_there_fails_every_check() -> None:
    report = testing.run_conformance([square_like()], backend="abacus", checks=["forward"])
    assert "abacus" in str(report)
    assert not report.ok


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (np.sin, 1.0),
        (lambda t: 1e3 * np.exp(t), 1e3),
        (lambda t: np.log(0.01 + t), 100.0),  # the first steps leave the domain
        (lambda t: np.abs(t - 1e-3), -1.0),  # and here they cross a kink
        (lambda t: 1.0, 0.0),
    ],
    ids=["sine", "exponential", "logarithm", "kink", "constant"],
)
def test_differences_are_as_good_as_they_say(function: Any, exact: float) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        found, estimate = numeric.richardson(lambda t: float(function(t)), 1e-10 * max(exact, 1.0))
    assert abs(found - exact) <= 1e-9 * max(abs(exact), 1.0)
    assert estimate <= 1e-9 * max(abs(exact), 1.0)


def test_arguments_are_drawn_from_the_name_of_the_row() -> None:
    first = OpCase("Mul", "a", math.multiply, (Arg((3,)), Arg((3,), 1, 5, "int32")))
    assert all(numeric.same_bits(a, b) for a, b in zip(first.arrays(), first.arrays(), strict=True))
    assert not numeric.same_bits(first.arrays()[0], replace(first, id="b").arrays()[0])
    assert [a.dtype for a in first.arrays("float32")] == [np.float32, np.int32]
    assert [a.dtype for a in first.arrays("int32")] == [np.int32, np.int32]
    assert first.wanted == (0,)
