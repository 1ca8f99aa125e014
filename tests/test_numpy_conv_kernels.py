"""The NumPy convolution and pooling kernels against slow loops, adjointness and finite differences.

Policy: every reference below is written from the definition, element by element, and shares no code with the
kernels. Shapes are tiny, and all data come from fixed seeds.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from graphflow_numpy import convolution as conv_module
from graphflow_numpy.convolution import (
    conv,
    conv2d,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    conv3d,
    conv3d_backprop_filter,
    conv3d_backprop_input,
    conv_backprop_filter,
    conv_backprop_input,
    depthwise_conv2d_native,
    depthwise_conv2d_native_backprop_filter,
    depthwise_conv2d_native_backprop_input,
)
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
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = dict[str, Any]
Cells = list[tuple[tuple[int, ...], tuple[int, ...]]]


def data(*shape: int, name: str = "") -> Array:
    """Normal numbers that depend on nothing but the arguments."""
    return np.random.default_rng(zlib.crc32(repr((shape, name)).encode())).standard_normal(shape)


# --- references ---


def reference_axis(
    size: int, kernel: int, stride: int, dilation: int, padding: Any, axis: int
) -> tuple[int, int]:
    """Padding before, and output size, of one axis."""
    extent = dilation * (kernel - 1) + 1
    if padding == "VALID":
        return 0, len(range(0, size - extent + 1, stride))
    if padding == "SAME":
        out = (size + stride - 1) // stride
        return max(0, (out - 1) * stride + extent - size) // 2, out
    before, after = padding[axis]
    return before, len(range(0, size + before + after - extent + 1, stride))


def reference_windows(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Any,
) -> tuple[tuple[int, ...], Iterator[tuple[tuple[int, ...], Cells]]]:
    """Output sizes, and for every output position the (tap, input position) pairs inside the input."""
    rank = len(sizes)
    per_axis = [
        reference_axis(sizes[d], kernel[d], strides[d], dilations[d], padding, d) for d in range(rank)
    ]

    def windows() -> Iterator[tuple[tuple[int, ...], Cells]]:
        for at in np.ndindex(*(out for _, out in per_axis)):
            cells = []
            for tap in np.ndindex(*kernel):
                spot = tuple(at[d] * strides[d] + tap[d] * dilations[d] - per_axis[d][0] for d in range(rank))
                if all(0 <= spot[d] < sizes[d] for d in range(rank)):
                    cells.append((tap, spot))
            yield at, cells

    return tuple(out for _, out in per_axis), windows()


def channels_last(x: Array, data_format: str) -> Array:
    return np.moveaxis(x, 1, -1) if data_format[1] == "C" else x


def channels_back(y: Array, data_format: str) -> Array:
    return np.moveaxis(y, -1, 1) if data_format[1] == "C" else y


def reference_conv(x: Array, w: Array, attributes: Attributes, depthwise: bool = False) -> Array:
    data_format = attributes["data_format"]
    x = channels_last(x, data_format)
    outs, windows = reference_windows(
        x.shape[1:-1], w.shape[:-2], attributes["strides"], attributes["dilations"], attributes["padding"]
    )
    y = np.zeros((len(x), *outs, w.shape[-1] * (w.shape[-2] if depthwise else 1)))
    for at, cells in windows:
        for tap, spot in cells:
            for n in range(len(x)):
                pixel = x[(n, *spot)]
                y[(n, *at)] += (pixel[:, None] * w[tap]).ravel() if depthwise else pixel @ w[tap]
    return channels_back(y, data_format)


def reference_pool(x: Array, reduce: Callable[[list[Any]], Any], attributes: Attributes) -> Array:
    x = channels_last(x, attributes["data_format"])
    ksize = attributes["ksize"]
    outs, windows = reference_windows(
        x.shape[1:-1], ksize, attributes["strides"], (1,) * len(ksize), attributes["padding"]
    )
    y = np.zeros((len(x), *outs, x.shape[-1]), x.dtype)
    for at, cells in windows:
        for n, c in np.ndindex(len(x), x.shape[-1]):
            y[(n, *at, c)] = reduce([x[(n, *spot, c)] for _, spot in cells])
    return channels_back(y, attributes["data_format"])


# --- convolution ---

FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}

# sizes, kernel, strides, dilations, padding
WINDOWS_2D: list[tuple[Any, ...]] = [
    ((5, 6), (3, 3), (1, 1), (1, 1), "SAME"),
    ((5, 6), (3, 3), (1, 1), (1, 1), "VALID"),
    ((5, 6), (1, 1), (1, 1), (1, 1), "SAME"),
    ((5, 6), (1, 1), (2, 2), (1, 1), "VALID"),
    ((6, 7), (2, 3), (2, 2), (1, 1), "SAME"),
    ((7, 8), (3, 2), (2, 3), (1, 1), "VALID"),
    ((7, 9), (3, 2), (1, 1), (2, 3), "VALID"),
    ((7, 9), (3, 3), (1, 1), (2, 1), "SAME"),
    ((9, 10), (3, 4), (2, 3), (3, 2), ((2, 1), (3, 4))),
    ((9, 10), (4, 3), (4, 2), (2, 2), "SAME"),
    ((4, 4), (4, 4), (1, 1), (1, 1), "VALID"),
    ((4, 6), (2, 2), (2, 2), (1, 1), "VALID"),
    ((3, 2), (5, 5), (1, 1), (1, 1), "SAME"),
    ((5, 5), (2, 2), (3, 3), (1, 1), "VALID"),
    ((3, 3), (2, 3), (1, 1), (1, 1), ((4, 0), (0, 5))),
    ((1, 1), (3, 3), (2, 2), (1, 1), "SAME"),
]
WINDOWS: list[tuple[Any, ...]] = [
    *WINDOWS_2D,
    ((9,), (3,), (2,), (1,), "SAME"),
    ((9,), (3,), (1,), (3,), ((1, 2),)),
    ((4, 5, 6), (2, 3, 2), (1, 1, 1), (1, 1, 1), "SAME"),
    ((4, 5, 6), (2, 1, 3), (2, 1, 2), (1, 1, 1), "VALID"),
    ((5, 4, 5), (2, 2, 2), (1, 2, 3), (2, 1, 1), ((1, 0), (0, 1), (2, 2))),
]
CONV_CASES = [(*row, last) for row in WINDOWS for last in (True, False)]


@pytest.fixture(params=["sliding", "copied", "blocks"])
def lowering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Force each way to lay out patches: tiny shapes would only ever take one of them."""
    monkeypatch.setattr(conv_module, "_MIN_ROWS", 10**9 if request.param == "copied" else 1)
    if request.param == "blocks":
        monkeypatch.setattr(conv_module, "_BLOCK_BYTES", 1)


def conv_attributes(strides: Any, dilations: Any, padding: Any, data_format: str) -> Attributes:
    return {"strides": strides, "dilations": dilations, "padding": padding, "data_format": data_format}


def assert_close(actual: Array, expected: Array, tolerance: float = 1e-12) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def assert_adjoint(*products: Any) -> None:
    first, *others = (float(value) for value in products)
    for other in others:
        assert abs(first - other) <= 1e-12 * max(1.0, abs(first))


@pytest.mark.usefixtures("lowering")
@pytest.mark.parametrize(("sizes", "kernel", "strides", "dilations", "padding", "last"), CONV_CASES)
def test_conv_and_its_gradients(
    sizes: Any, kernel: Any, strides: Any, dilations: Any, padding: Any, last: bool
) -> None:
    data_format = FORMATS[len(sizes)][0 if last else 1]
    at = conv_attributes(strides, dilations, padding, data_format)
    x = np.ascontiguousarray(channels_back(data(3, *sizes, 2), data_format))
    w = data(*kernel, 2, 4)
    y = conv(x, w, **at)
    assert_close(y, reference_conv(x, w, at))
    dy = data(*y.shape, name="dy")
    dx, dw = conv_backprop_input(x.shape, w, dy, **at), conv_backprop_filter(x, w.shape, dy, **at)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    assert_adjoint(np.vdot(y, dy), np.vdot(x, dx), np.vdot(w, dw))
    # Adjointness at one point does not see where each gradient goes; a second, independent point does.
    x2, w2 = data(*x.shape, name="x2"), data(*w.shape, name="w2")
    assert_adjoint(np.vdot(conv(x2, w, **at), dy), np.vdot(x2, dx))
    assert_adjoint(np.vdot(conv(x, w2, **at), dy), np.vdot(w2, dw))


@pytest.mark.parametrize(("sizes", "kernel", "strides", "dilations", "padding"), WINDOWS_2D)
@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_depthwise_and_its_gradients(
    sizes: Any,
    kernel: Any,
    strides: Any,
    dilations: Any,
    padding: Any,
    multiplier: int,
    data_format: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conv_module, "_BLOCK_BYTES", 1)  # a block for each image
    at = conv_attributes(strides, dilations, padding, data_format)
    x = np.ascontiguousarray(channels_back(data(2, *sizes, 3), data_format))
    w = data(*kernel, 3, multiplier)
    y = depthwise_conv2d_native(x, w, **at)
    assert_close(y, reference_conv(x, w, at, depthwise=True))
    dy = data(*y.shape, name="dy")
    dx = depthwise_conv2d_native_backprop_input(x.shape, w, dy, **at)
    dw = depthwise_conv2d_native_backprop_filter(x, w.shape, dy, **at)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    x2, w2 = data(*x.shape, name="x2"), data(*w.shape, name="w2")
    assert_adjoint(np.vdot(y, dy), np.vdot(x, dx), np.vdot(w, dw))
    assert_adjoint(np.vdot(depthwise_conv2d_native(x2, w, **at), dy), np.vdot(x2, dx))
    assert_adjoint(np.vdot(depthwise_conv2d_native(x, w2, **at), dy), np.vdot(w2, dw))


PLAIN: Attributes = {"strides": (1, 1), "padding": "SAME", "data_format": "NHWC", "dilations": (1, 1)}


def test_large_enough_to_choose_the_layout_and_several_blocks() -> None:
    x, w = data(40, 12, 12, 32), data(3, 3, 32, 8)
    y = conv2d(x, w, **PLAIN)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(padded[:, i : i + 12, j : j + 12] @ w[i, j] for i, j in np.ndindex(3, 3))
    assert_close(y, np.asarray(expected))
    dy = data(*y.shape, name="dy")
    dw = conv2d_backprop_filter(x, w.shape, dy, **PLAIN)
    expected_dw = [
        np.tensordot(padded[:, i : i + 12, j : j + 12], dy, ((0, 1, 2), (0, 1, 2)))
        for i, j in np.ndindex(3, 3)
    ]
    assert_close(dw, np.reshape(expected_dw, w.shape), 1e-10)
    assert_adjoint(np.vdot(y, dy), np.vdot(x, conv2d_backprop_input(x.shape, w, dy, **PLAIN)))


def test_conv3d_is_the_same_kernel() -> None:
    assert conv3d is conv2d
    assert conv3d_backprop_input is conv2d_backprop_input
    assert conv3d_backprop_filter is conv2d_backprop_filter


@pytest.mark.parametrize("shape", [(0, 5, 5, 2), (2, 0, 5, 2), (2, 5, 5, 0), (0, 0, 0, 0)])
def test_convolutions_of_nothing(shape: tuple[int, ...]) -> None:
    x, w, channels = np.zeros(shape, np.float32), np.ones((3, 3, shape[-1], 4), np.float32), shape[-1]
    y = conv2d(x, w, **PLAIN)
    assert y.shape == (*shape[:-1], 4)
    assert y.dtype == np.float32
    assert not y.any()
    assert conv2d_backprop_input(shape, w, y, **PLAIN).shape == shape
    dw = conv2d_backprop_filter(x, w.shape, np.ones_like(y), **PLAIN)
    assert dw.shape == w.shape
    assert not dw.any()
    y = depthwise_conv2d_native(x, w, **PLAIN)
    assert y.shape == (*shape[:-1], 4 * channels)
    assert depthwise_conv2d_native_backprop_input(shape, w, y, **PLAIN).shape == shape
    assert not depthwise_conv2d_native_backprop_filter(x, w.shape, y, **PLAIN).any()


def test_no_filters_and_no_batch_with_gradient() -> None:
    x, w = np.ones((2, 3, 3, 2)), np.zeros((2, 2, 2, 0))
    y = conv2d(x, w, **PLAIN)
    assert y.shape == (2, 3, 3, 0)
    assert_close(conv2d_backprop_input(x.shape, w, y, **PLAIN), np.zeros(x.shape))


# --- pooling ---

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


def numeric_gradient(function: Callable[[Array], Array], x: Array, dy: Array, step: float = 1e-6) -> Array:
    gradient = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        low, high = x.copy(), x.copy()
        low[at] -= step
        high[at] += step
        gradient[at] = np.vdot(function(high) - function(low), dy) / (2 * step)
    return gradient


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
STRIDED: Attributes = PLAIN | {"strides": (2, 2)}

# name: (shapes of the array arguments, the kernel as a function of them)
KERNELS: dict[str, tuple[list[tuple[int, ...]], Callable[..., Array]]] = {
    "conv2d": ([(2, 6, 6, 3), (3, 3, 3, 4)], lambda x, w: conv2d(x, w, **PLAIN)),
    "conv2d 1x1": ([(2, 6, 6, 3), (1, 1, 3, 4)], lambda x, w: conv2d(x, w, **PLAIN)),
    "conv2d NCHW": (
        [(2, 3, 6, 6), (3, 3, 3, 4)],
        lambda x, w: conv2d(x, w, **PLAIN | {"data_format": "NCHW"}),
    ),
    "conv2d input": (
        [(3, 3, 3, 4), (2, 3, 3, 4)],
        lambda w, dy: conv2d_backprop_input((2, 6, 6, 3), w, dy, **STRIDED),
    ),
    "conv2d filter": (
        [(2, 6, 6, 3), (2, 3, 3, 4)],
        lambda x, dy: conv2d_backprop_filter(x, (3, 3, 3, 4), dy, **STRIDED),
    ),
    "depthwise": ([(2, 6, 6, 3), (3, 3, 3, 2)], lambda x, w: depthwise_conv2d_native(x, w, **PLAIN)),
    "depthwise input": (
        [(3, 3, 3, 2), (2, 3, 3, 6)],
        lambda w, dy: depthwise_conv2d_native_backprop_input((2, 6, 6, 3), w, dy, **STRIDED),
    ),
    "depthwise filter": (
        [(2, 6, 6, 3), (2, 3, 3, 6)],
        lambda x, dy: depthwise_conv2d_native_backprop_filter(x, (3, 3, 3, 2), dy, **STRIDED),
    ),
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
    shapes, kernel = KERNELS[name]
    arguments = [data(*shape, name=str(i)).astype(dtype) for i, shape in enumerate(shapes)]
    exact = kernel(*(argument.astype(np.float64) for argument in arguments))
    before = [argument.copy() for argument in arguments]
    for argument in arguments:
        argument.setflags(write=False)
    result = kernel(*arguments)
    assert result.dtype == dtype
    assert result.flags.c_contiguous
    assert result.flags.writeable
    tolerance = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(result.astype(np.float64), exact, rtol=tolerance, atol=tolerance)
    for argument, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(argument, copy)
        assert not np.shares_memory(result, argument)
    for mirrored in (False, True):
        strided = [spread(argument, mirrored) for argument in arguments]
        np.testing.assert_allclose(kernel(*strided), result, rtol=tolerance, atol=tolerance)


def spread(x: Array, mirrored: bool) -> Array:
    """An equal array that is not contiguous: every second element of a larger one, or one read backwards."""
    if mirrored:
        turn = (slice(None, None, -1),) * x.ndim
        return x.T.copy().T[turn].copy(order="K")[turn]
    wide = np.full([2 * size for size in x.shape], np.nan, x.dtype)
    wide[(slice(None, None, 2),) * x.ndim] = x
    return wide[(slice(None, None, 2),) * x.ndim]


def test_half_precision_is_accumulated_in_single() -> None:
    ones = np.ones((1, 64, 64, 1), np.float16)
    at = PLAIN | {"padding": "VALID"}
    assert conv2d(ones, np.ones((64, 64, 1, 1), np.float16), **at).item() == 4096
    whole: Attributes = {"ksize": (64, 64), "strides": (1, 1), "padding": "VALID", "data_format": "NHWC"}
    assert avg_pool(ones, **whole).item() == 1


# --- impossible shapes ---


@pytest.mark.parametrize(
    ("padding", "size", "fits"),
    [("VALID", 5, True), ("VALID", 4, False), (((1, 0), (0, 1)), 4, True), (((0, 1), (1, 0)), 3, False)],
)
def test_window_larger_than_padded_input(padding: Any, size: int, fits: bool) -> None:
    x, w = np.ones((1, size, size, 1)), np.ones((3, 3, 1, 1))
    conv_at: Attributes = PLAIN | {"padding": padding, "dilations": (2, 2)}
    patch_at: Attributes = {"ksizes": (3, 3), "strides": (1, 1), "rates": (2, 2), "padding": padding}
    calls: list[Callable[[], Array]] = [
        lambda: conv2d(x, w, **conv_at),
        lambda: depthwise_conv2d_native(x, w, **conv_at),
        lambda: conv2d_backprop_input(x.shape, w, np.ones((1, 1, 1, 1)), **conv_at),
        lambda: max_pool(x, ksize=(5, 5), strides=(1, 1), padding=padding, data_format="NHWC"),
        lambda: extract_image_patches(x, **patch_at),
    ]
    for call in calls:
        if fits:
            call()
        else:
            with pytest.raises(ValueError, match="computed output size would be negative"):
                call()


MISFITS: list[tuple[str, Callable[[], Array]]] = [
    ("channels", lambda: conv2d(np.ones((1, 4, 4, 2)), np.ones((3, 3, 3, 1)), **PLAIN)),
    ("rank", lambda: conv2d(np.ones((1, 4, 2)), np.ones((3, 3, 2, 1)), **PLAIN)),
    ("channels", lambda: depthwise_conv2d_native(np.ones((1, 4, 4, 2)), np.ones((3, 3, 3, 1)), **PLAIN)),
    ("padding", lambda: conv2d(np.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 1)), **PLAIN | {"padding": "same"})),
    (
        "output gradient",
        lambda: conv2d_backprop_input((1, 4, 4, 2), np.ones((3, 3, 2, 1)), np.ones((1, 3, 4, 1)), **PLAIN),
    ),
    (
        "output gradient",
        lambda: conv2d_backprop_filter(np.ones((1, 4, 4, 2)), (3, 3, 2, 1), np.ones((1, 3, 4, 1)), **PLAIN),
    ),
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
