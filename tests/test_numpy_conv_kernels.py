"""The NumPy convolution kernels against slow loops and adjointness."""

from __future__ import annotations

import contextvars
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphflow_numpy import blas, pooling, sharing, windows
from graphflow_numpy import convolution as conv_module
from graphflow_numpy.convolution import conv, conv_backprop_filter, conv_backprop_input
from graphflow_numpy.depthwise import (
    depthwise_conv2d_native,
    depthwise_conv2d_native_backprop_filter,
    depthwise_conv2d_native_backprop_input,
)
from graphflow_numpy.pooling import max_pool, max_pool_grad

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
    reference_conv,
)

WINDOWS: list[tuple[Any, ...]] = [
    *WINDOWS_2D,
    ((9,), (3,), (2,), (1,), "SAME"),
    ((9,), (3,), (1,), (3,), ((1, 2),)),
    ((4, 5, 6), (2, 3, 2), (1, 1, 1), (1, 1, 1), "SAME"),
    ((4, 5, 6), (2, 1, 3), (2, 1, 2), (1, 1, 1), "VALID"),
    ((5, 4, 5), (2, 2, 2), (1, 2, 3), (2, 1, 1), ((1, 0), (0, 1), (2, 2))),
]
PLAIN: Attributes = {"strides": (1, 1), "padding": "SAME", "data_format": "NHWC", "dilations": (1, 1)}

CONV_CASES = [(*row, last) for row in WINDOWS for last in (True, False)]


@pytest.fixture(params=["sliding", "copied", "blocks"])
def lowering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Force each way to lay out patches: tiny shapes would only ever take one of them."""
    monkeypatch.setattr(conv_module, "MIN_ROWS", 10**9 if request.param == "copied" else 1)
    if request.param == "blocks":
        monkeypatch.setattr(windows, "BLOCK_BYTES", 1)


def conv_attributes(strides: Any, dilations: Any, padding: Any, data_format: str) -> Attributes:
    return {"strides": strides, "dilations": dilations, "padding": padding, "data_format": data_format}


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
    monkeypatch.setattr(windows, "BLOCK_BYTES", 1)  # a block for each image
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


def test_large_enough_to_choose_the_layout_and_several_blocks() -> None:
    x, w = data(40, 12, 12, 32), data(3, 3, 32, 8)
    y = conv(x, w, **PLAIN)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(padded[:, i : i + 12, j : j + 12] @ w[i, j] for i, j in np.ndindex(3, 3))
    assert_close(y, np.asarray(expected))
    dy = data(*y.shape, name="dy")
    dw = conv_backprop_filter(x, w.shape, dy, **PLAIN)
    expected_dw = [
        np.tensordot(padded[:, i : i + 12, j : j + 12], dy, ((0, 1, 2), (0, 1, 2))) for i, j in np.ndindex(3, 3)
    ]
    assert_close(dw, np.reshape(expected_dw, w.shape), 1e-10)
    assert_adjoint(np.vdot(y, dy), np.vdot(x, conv_backprop_input(x.shape, w, dy, **PLAIN)))


@pytest.mark.parametrize("shape", [(0, 5, 5, 2), (2, 0, 5, 2), (2, 5, 5, 0), (0, 0, 0, 0)])
def test_convolutions_of_nothing(shape: tuple[int, ...]) -> None:
    x, w, channels = np.zeros(shape, np.float32), np.ones((3, 3, shape[-1], 4), np.float32), shape[-1]
    y = conv(x, w, **PLAIN)
    assert y.shape == (*shape[:-1], 4)
    assert y.dtype == np.float32
    assert not y.any()
    assert conv_backprop_input(shape, w, y, **PLAIN).shape == shape
    dw = conv_backprop_filter(x, w.shape, np.ones_like(y), **PLAIN)
    assert dw.shape == w.shape
    assert not dw.any()
    y = depthwise_conv2d_native(x, w, **PLAIN)
    assert y.shape == (*shape[:-1], 4 * channels)
    assert depthwise_conv2d_native_backprop_input(shape, w, y, **PLAIN).shape == shape
    assert not depthwise_conv2d_native_backprop_filter(x, w.shape, y, **PLAIN).any()


def test_no_filters_and_no_batch_with_gradient() -> None:
    x, w = np.ones((2, 3, 3, 2)), np.zeros((2, 2, 2, 0))
    y = conv(x, w, **PLAIN)
    assert y.shape == (2, 3, 3, 0)
    assert_close(conv_backprop_input(x.shape, w, y, **PLAIN), np.zeros(x.shape))


# --- what holds for every kernel ---

STRIDED: Attributes = PLAIN | {"strides": (2, 2)}

KERNELS: dict[str, Kernel] = {
    "conv2d": ([(2, 6, 6, 3), (3, 3, 3, 4)], lambda x, w: conv(x, w, **PLAIN)),
    "conv2d 1x1": ([(2, 6, 6, 3), (1, 1, 3, 4)], lambda x, w: conv(x, w, **PLAIN)),
    "conv2d NCHW": (
        [(2, 3, 6, 6), (3, 3, 3, 4)],
        lambda x, w: conv(x, w, **PLAIN | {"data_format": "NCHW"}),
    ),
    "conv2d input": (
        [(3, 3, 3, 4), (2, 3, 3, 4)],
        lambda w, dy: conv_backprop_input((2, 6, 6, 3), w, dy, **STRIDED),
    ),
    "conv2d filter": (
        [(2, 6, 6, 3), (2, 3, 3, 4)],
        lambda x, dy: conv_backprop_filter(x, (3, 3, 3, 4), dy, **STRIDED),
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
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_layout_and_arguments_are_kept(name: str, dtype: str) -> None:
    assert_dtype_layout_and_arguments_are_kept(KERNELS[name], dtype)


def test_half_precision_is_accumulated_in_single() -> None:
    ones = np.ones((1, 64, 64, 1), np.float16)
    at = PLAIN | {"padding": "VALID"}
    assert conv(ones, np.ones((64, 64, 1, 1), np.float16), **at).item() == 4096


# --- impossible shapes ---


@pytest.mark.parametrize(
    ("padding", "size", "fits"),
    [("VALID", 5, True), ("VALID", 4, False), (((1, 0), (0, 1)), 4, True), (((0, 1), (1, 0)), 3, False)],
)
def test_window_larger_than_padded_input(padding: Any, size: int, fits: bool) -> None:
    x, w = np.ones((1, size, size, 1)), np.ones((3, 3, 1, 1))
    at: Attributes = PLAIN | {"padding": padding, "dilations": (2, 2)}
    calls: list[Callable[[], Array]] = [
        lambda: conv(x, w, **at),
        lambda: depthwise_conv2d_native(x, w, **at),
        lambda: conv_backprop_input(x.shape, w, np.ones((1, 1, 1, 1)), **at),
    ]
    for call in calls:
        if fits:
            call()
        else:
            with pytest.raises(ValueError, match="computed output size would be negative"):
                call()


MISFITS: list[tuple[str, Callable[[], Array]]] = [
    ("channels", lambda: conv(np.ones((1, 4, 4, 2)), np.ones((3, 3, 3, 1)), **PLAIN)),
    ("rank", lambda: conv(np.ones((1, 4, 2)), np.ones((3, 3, 2, 1)), **PLAIN)),
    ("channels", lambda: depthwise_conv2d_native(np.ones((1, 4, 4, 2)), np.ones((3, 3, 3, 1)), **PLAIN)),
    ("padding", lambda: conv(np.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 1)), **PLAIN | {"padding": "same"})),
    (
        "output gradient",
        lambda: conv_backprop_input((1, 4, 4, 2), np.ones((3, 3, 2, 1)), np.ones((1, 3, 4, 1)), **PLAIN),
    ),
    (
        "output gradient",
        lambda: conv_backprop_filter(np.ones((1, 4, 4, 2)), (3, 3, 2, 1), np.ones((1, 3, 4, 1)), **PLAIN),
    ),
]


@pytest.mark.parametrize(("message", "call"), MISFITS, ids=itertools.count())
def test_arguments_that_do_not_fit(message: str, call: Callable[[], Array]) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- pieces ---


def large_results() -> list[Array]:
    x, w = data(16, 14, 14, 32).astype(np.float32), data(5, 5, 32, 64).astype(np.float32)
    tall = data(1, 90, 60, 8).astype(np.float32)  # one image, cut into rows
    kernel = data(3, 3, 8, 16).astype(np.float32)
    y, tall_y = conv(x, w, **PLAIN), conv(tall, kernel, **PLAIN)
    pool: Attributes = {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID", "data_format": "NHWC"}
    pooled = max_pool(y, **pool)
    return [
        y,
        tall_y,
        pooled,
        conv_backprop_input(x.shape, w, y, **PLAIN),
        conv_backprop_filter(x, w.shape, y, **PLAIN),
        conv_backprop_filter(tall, kernel.shape, tall_y, **PLAIN),
        max_pool_grad(y, pooled, pooled, **pool),
    ]


def test_results_depend_neither_on_threads_nor_on_the_order_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WORTH", 1e-5)
    counts: list[int] = []

    def backwards(count: int, function: Callable[[int], None]) -> None:
        counts.append(count)
        for number in reversed(range(count)):
            function(number)

    def on_threads(threads: int) -> list[Array]:
        sharing.THREADS.set(threads)
        return large_results()

    lease = blas.Lease()
    wanted = large_results()
    for threads in (1, 2, 4):
        found = contextvars.copy_context().run(on_threads, threads)
        assert [a.tobytes() for a in found] == [a.tobytes() for a in wanted]
    for module in (conv_module, pooling):
        monkeypatch.setattr(module, "share", backwards)
    assert [a.tobytes() for a in large_results()] == [a.tobytes() for a in wanted]
    assert min(counts) > 1
    lease.release()


def test_one_large_image_is_cut_into_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = data(2, 40, 9, 3), data(3, 3, 3, 4)
    for at in (PLAIN, PLAIN | {"strides": (2, 1)}, PLAIN | {"padding": "VALID", "dilations": (2, 1)}):
        y = conv(x, w, **at)
        dy = data(*y.shape, name="dy")
        dx, dw = conv_backprop_input(x.shape, w, dy, **at), conv_backprop_filter(x, w.shape, dy, **at)
        with monkeypatch.context() as patch:
            patch.setattr(windows, "BLOCK_BYTES", 3000)
            patch.setattr(conv_module, "MIN_ROWS", 4)
            assert_close(conv(x, w, **at), y)
            assert_close(conv_backprop_input(x.shape, w, dy, **at), dx)
            assert_close(conv_backprop_filter(x, w.shape, dy, **at), dw, 1e-11)


def test_taps_beside_the_image_do_not_meet_the_filter() -> None:
    x, w = data(64, 8, 8, 32).astype(np.float32), data(5, 5, 32, 4).astype(np.float32)
    inner = conv(x, w, **PLAIN)
    w[:, :2] = np.inf
    with np.errstate(all="ignore"):
        y = conv(x, w, **PLAIN)
    assert np.isfinite(y[:, :, 0]).all()  # the two left columns of the filter lie beside the image there
    np.testing.assert_array_equal(y[:, :, 0], inner[:, :, 0])
    assert not np.isfinite(y[:, :, 2:]).any()
