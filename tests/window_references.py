"""Slow references for kernels that move windows over images, and the checks that all of these kernels pass.

Policy: every reference is written from the definition, element by element, and shares no code with the kernels.
Shapes are tiny, and all data come from fixed seeds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = dict[str, Any]
Cells = list[tuple[tuple[int, ...], tuple[int, ...]]]


def data(*shape: int, name: str = "") -> Array:
    """Normal numbers that depend on nothing but the arguments."""
    return np.random.default_rng(zlib.crc32(repr((shape, name)).encode())).standard_normal(shape)


def reference_axis(size: int, kernel: int, stride: int, dilation: int, padding: Any, axis: int) -> tuple[int, int]:
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
    per_axis = [reference_axis(sizes[d], kernel[d], strides[d], dilations[d], padding, d) for d in range(rank)]

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


def assert_close(actual: Array, expected: Array, tolerance: float = 1e-12) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def assert_adjoint(*products: Any) -> None:
    first, *others = (float(value) for value in products)
    for other in others:
        assert abs(first - other) <= 1e-12 * max(1.0, abs(first))


def numeric_gradient(function: Callable[[Array], Array], x: Array, dy: Array, step: float = 1e-6) -> Array:
    gradient = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        low, high = x.copy(), x.copy()
        low[at] -= step
        high[at] += step
        gradient[at] = np.vdot(function(high) - function(low), dy) / (2 * step)
    return gradient


# --- what holds for every kernel ---

# Shapes of the array arguments, and the kernel as a function of them.
Kernel = tuple[list[tuple[int, ...]], Callable[..., Array]]


def assert_dtype_layout_and_arguments_are_kept(tested: Kernel, dtype: str) -> None:
    shapes, kernel = tested
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
