"""The NumPy kernels of pooling, image patches and lrn against slow loops, adjointness and differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.pooling import (
    avg_pool,
    avg_pool_grad,
    extract_image_patches,
    extract_image_patches_grad,
    lrn,
    lrn_grad,
    max_pool,
    max_pool_grad,
    max_pool_grad_grad,
)

from tests.window_references import (
    FORMATS,
    WINDOWS_2D,
    Array,
    Attributes,
    Kernel,
    assert_adjoint,
    assert_close,
    assert_dtype_layout_and_arguments_are_kept,
    channels_back,
    data,
    numeric_gradient,
    reference_pool,
    reference_windows,
)

# sizes, ksize, strides, padding
POOLS: list[tuple[Any, ...]] = [
    ((6, 6), (2, 2), (2, 2), "VALID"),
    ((5, 7), (2, 2), (2, 2), "SAME"),
    ((5, 7), (3, 3), (2, 2), "SAME"),
    ((5, 7), (3, 2), (1, 1), "VALID"),
    ((7, 7), (2, 3), (3, 4), "SAME"),
    ((4, 5), (4, 5), (1, 1), "VALID"),
    ((3, 3), (5, 5), (1, 1), "SAME"),
    ((5, 6), (3, 3), (2, 1), ((1, 2), (0, 1))),
    ((7,), (3,), (2,), "SAME"),
    ((4, 5, 4), (2, 2, 3), (2, 1, 2), "SAME"),
]
POOL_CASES = [(*row, last) for row in POOLS for last in (True, False)]


def pool_case(sizes: Any, ksize: Any, strides: Any, padding: Any, last: bool) -> tuple[Array, Attributes]:
    data_format = FORMATS[len(sizes)][0 if last else 1]
    x = np.ascontiguousarray(channels_back(data(2, *sizes, 3), data_format))
    return x, {"ksize": ksize, "strides": strides, "padding": padding, "data_format": data_format}


@pytest.mark.parametrize(("sizes", "ksize", "strides", "padding", "last"), POOL_CASES)
def test_max_pool_and_its_gradients(sizes: Any, ksize: Any, strides: Any, padding: Any, last: bool) -> None:
    x, at = pool_case(sizes, ksize, strides, padding, last)
    y = max_pool(x, **at)
    np.testing.assert_array_equal(y, reference_pool(x, max, at))
    dy, ddx = data(*y.shape, name="dy"), data(*x.shape, name="ddx")
    dx = max_pool_grad(x, y, dy, **at)
    assert_close(dx, numeric_gradient(lambda v: max_pool(v, **at), x, dy), 1e-7)
    ddy = max_pool_grad_grad(x, y, ddx, **at)
    assert ddy.shape == y.shape
    assert np.isin(ddy, ddx).all()
    assert_adjoint(np.vdot(dx, ddx), np.vdot(dy, ddy))


@pytest.mark.parametrize(("sizes", "ksize", "strides", "padding", "last"), POOL_CASES)
def test_avg_pool_and_its_gradient(sizes: Any, ksize: Any, strides: Any, padding: Any, last: bool) -> None:
    x, at = pool_case(sizes, ksize, strides, padding, last)
    y = avg_pool(x, **at)
    assert_close(y, reference_pool(x, lambda cells: sum(cells) / len(cells), at))
    dy = data(*y.shape, name="dy")
    dx = avg_pool_grad(x.shape, dy, **at)
    assert_close(dx, numeric_gradient(lambda v: avg_pool(v, **at), x, dy, 1e-3), 1e-10)


TWO: Attributes = {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID", "data_format": "NHWC"}
OVER: Attributes = {"ksize": (2, 2), "strides": (1, 1), "padding": "VALID", "data_format": "NHWC"}


def image(*rows: Sequence[float], dtype: Any = np.float64) -> Array:
    return np.array(rows, dtype)[None, :, :, None]


def test_ties_go_to_the_first_maximum_in_window_order() -> None:
    x = image([1, 3, 2, 2], [3, 3, 2, 2])
    y = max_pool(x, **TWO)
    dx = max_pool_grad(x, y, image([10, 20]), **TWO)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 10, 20, 0], [0, 0, 0, 0]])
    ddx = image([1, 2, 3, 4], [5, 6, 7, 8])
    np.testing.assert_array_equal(max_pool_grad_grad(x, y, ddx, **TWO)[0, :, :, 0], [[2, 3]])
    same = np.zeros((1, 3, 3, 1))
    dx = max_pool_grad(same, max_pool(same, **OVER), image([1, 2], [3, 4]), **OVER)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 2, 0], [3, 4, 0], [0, 0, 0]])


def test_nan_is_the_maximum_and_gets_the_gradient() -> None:
    x = image([1, 3, 5, np.nan], [np.nan, 2, np.nan, 9])
    y = max_pool(x, **TWO)
    assert np.isnan(y).all()
    dx = max_pool_grad(x, y, image([10, 20]), **TWO)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 0, 20], [10, 0, 0, 0]])


@pytest.mark.parametrize("at", [TWO, OVER], ids=["apart", "overlapping"])
def test_infinite_gradients_stay_where_they_belong(at: Attributes) -> None:
    x = image([1, 2], [3, 4])
    dx = max_pool_grad(x, max_pool(x, **at), image([np.inf]), **at)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0], [0, np.inf]])
    ddx = image([np.inf, np.nan], [np.inf, -0.5])
    np.testing.assert_array_equal(max_pool_grad_grad(x, max_pool(x, **at), ddx, **at), image([-0.5]))


def test_padding_is_never_the_maximum() -> None:
    at = TWO | {"padding": "SAME"}
    x = np.full((1, 3, 3, 1), -np.inf)
    y = max_pool(x, **at)
    dx = max_pool_grad(x, y, np.ones_like(y), **at)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 0, 1], [0, 0, 0], [1, 0, 1]])
    whole = max_pool(image([-5, -7, -9], dtype=np.int32), **at)
    np.testing.assert_array_equal(whole, image([-5, -9], dtype=np.int32))
    assert whole.dtype == np.int32


@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (2, 0, 4, 2), (2, 4, 4, 0)])
def test_pooling_of_nothing(shape: tuple[int, ...]) -> None:
    at = TWO | {"padding": "SAME"}
    x = np.zeros(shape, np.float32)
    y = max_pool(x, **at)
    assert y.shape == avg_pool(x, **at).shape == (shape[0], shape[1] // 2, 2, shape[3])
    assert max_pool_grad(x, y, y, **at).shape == avg_pool_grad(shape, y, **at).shape == shape
    assert max_pool_grad_grad(x, y, x, **at).shape == y.shape


# --- image patches and lrn ---


@pytest.mark.parametrize(("sizes", "ksizes", "strides", "rates", "padding"), WINDOWS_2D)
def test_image_patches_and_gradient(sizes: Any, ksizes: Any, strides: Any, rates: Any, padding: Any) -> None:
    at: Attributes = {"ksizes": ksizes, "strides": strides, "rates": rates, "padding": padding}
    x = data(2, *sizes, 3)
    y = extract_image_patches(x, **at)
    outs, windows = reference_windows(sizes, ksizes, strides, rates, padding)
    expected = np.zeros((2, *outs, *ksizes, 3))
    for out, cells in windows:
        for tap, spot in cells:
            target: tuple[Any, ...] = (slice(None), *out, *tap)
            source: tuple[Any, ...] = (slice(None), *spot)
            expected[target] = x[source]
    np.testing.assert_array_equal(y, expected.reshape(2, *outs, -1))
    dy = data(*y.shape, name="dy")
    dx = extract_image_patches_grad(x.shape, dy, **at)
    assert dx.shape == x.shape
    x2 = data(*x.shape, name="x2")
    assert_adjoint(np.vdot(extract_image_patches(x2, **at), dy), np.vdot(x2, dx))


@pytest.mark.parametrize("depth_radius", [0, 1, 2, 9])
def test_lrn_and_its_gradient(depth_radius: int) -> None:
    at: Attributes = {"depth_radius": depth_radius, "bias": 1.5, "alpha": 0.3, "beta": 0.75}
    x = data(2, 2, 3, 5)
    y = lrn(x, **at)
    expected = np.zeros_like(x)
    for c in range(5):
        near = x[..., max(0, c - depth_radius) : c + depth_radius + 1]
        expected[..., c] = x[..., c] / (1.5 + 0.3 * (near**2).sum(axis=-1)) ** 0.75
    assert_close(y, expected)
    dy = data(*x.shape, name="dy")
    assert_close(lrn_grad(dy, x, y, **at), numeric_gradient(lambda v: lrn(v, **at), x, dy), 1e-8)
    assert lrn(np.zeros((2, 0, 3, 5), np.float32), **at).shape == (2, 0, 3, 5)
    assert lrn(np.zeros((2, 1, 3, 0), np.float32), **at).shape == (2, 1, 3, 0)


# --- what holds for every kernel ---

LRN: Attributes = {"depth_radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.75}
PATCHES: Attributes = {"ksizes": (3, 3), "strides": (2, 2), "rates": (1, 1), "padding": "SAME"}
POOL: Attributes = {"ksize": (3, 3), "strides": (2, 2), "padding": "SAME", "data_format": "NHWC"}

KERNELS: dict[str, Kernel] = {
    "max_pool": ([(2, 6, 6, 3)], lambda x: max_pool(x, **POOL)),
    "max_pool_grad": (
        [(2, 6, 6, 3), (2, 3, 3, 3)],
        lambda x, dy: max_pool_grad(x, max_pool(x, **POOL), dy, **POOL),
    ),
    "max_pool_grad_grad": (
        [(2, 6, 6, 3), (2, 6, 6, 3)],
        lambda x, ddx: max_pool_grad_grad(x, max_pool(x, **POOL), ddx, **POOL),
    ),
    "avg_pool": ([(2, 6, 6, 3)], lambda x: avg_pool(x, **POOL)),
    "avg_pool_grad": ([(2, 3, 3, 3)], lambda dy: avg_pool_grad((2, 6, 6, 3), dy, **POOL)),
    "patches": ([(2, 6, 6, 3)], lambda x: extract_image_patches(x, **PATCHES)),
    "patches grad": ([(2, 3, 3, 27)], lambda dy: extract_image_patches_grad((2, 6, 6, 3), dy, **PATCHES)),
    "lrn": ([(2, 2, 2, 5)], lambda x: lrn(x, **LRN)),
    "lrn_grad": ([(2, 2, 2, 5), (2, 2, 2, 5)], lambda dy, x: lrn_grad(dy, x, lrn(x, **LRN), **LRN)),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_layout_and_arguments_are_kept(name: str, dtype: str) -> None:
    assert_dtype_layout_and_arguments_are_kept(KERNELS[name], dtype)


def test_half_precision_is_accumulated_in_single() -> None:
    ones = np.ones((1, 64, 64, 1), np.float16)
    whole: Attributes = {"ksize": (64, 64), "strides": (1, 1), "padding": "VALID", "data_format": "NHWC"}
    assert avg_pool(ones, **whole).item() == 1


# --- impossible shapes ---


@pytest.mark.parametrize(
    ("padding", "size", "fits"),
    [("VALID", 5, True), ("VALID", 4, False), (((1, 0), (0, 1)), 4, True), (((0, 1), (1, 0)), 3, False)],
)
def test_window_larger_than_padded_input(padding: Any, size: int, fits: bool) -> None:
    x = np.ones((1, size, size, 1))
    at: Attributes = {"ksizes": (3, 3), "strides": (1, 1), "rates": (2, 2), "padding": padding}
    calls: list[Callable[[], Array]] = [
        lambda: max_pool(x, ksize=(5, 5), strides=(1, 1), padding=padding, data_format="NHWC"),
        lambda: extract_image_patches(x, **at),
    ]
    for call in calls:
        if fits:
            call()
        else:
            with pytest.raises(ValueError, match="computed output size would be negative"):
                call()


MISFITS: list[tuple[str, Callable[[], Array]]] = [
    ("dimensions", lambda: max_pool(np.ones((4, 4, 2)), **TWO)),
    ("output gradient", lambda: avg_pool_grad((1, 4, 4, 1), np.ones((1, 4, 4, 1)), **TWO)),
    (
        "pooled output",
        lambda: max_pool_grad(np.ones((1, 4, 4, 1)), np.ones((1, 4, 2, 1)), np.ones((1, 2, 2, 1)), **TWO),
    ),
    ("output gradient", lambda: extract_image_patches_grad((1, 4, 4, 1), np.ones((1, 4, 4, 1)), **PATCHES)),
]


@pytest.mark.parametrize(("message", "call"), MISFITS, ids=itertools.count())
def test_arguments_that_do_not_fit(message: str, call: Callable[[], Array]) -> None:
    with pytest.raises(ValueError, match=message):
        call()
