"""Convolutions in which every channel has filters of its own: forward, and both gradients.

Policy: there is no sum over channels for BLAS, so these run one multiply-add over all outputs per tap, on blocks of
images that stay in cache.  A channel with several filters counts as that many equal channels with one filter each.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from graphflow.numerics.windows import AxisWindow, channels_last_sizes, window_axes, window_taps
from graphflow_numpy.convolution import Sliding
from graphflow_numpy.windows import Array, channels_last, image_blocks, require, restored, working

if TYPE_CHECKING:
    from typing_extensions import Unpack


def _repeated_channels(x: Array, multiplier: int) -> Array:
    return np.repeat(x, multiplier, axis=-1) if multiplier > 1 else x


def _axes(sizes: Sequence[int], kernel: Sequence[int], at: Sliding) -> tuple[AxisWindow, ...]:
    return window_axes(sizes, kernel, at["strides"], at["dilations"], at["padding"])


def depthwise_conv2d_native(x: Array, w: Array, **at: Unpack[Sliding]) -> Array:
    """Convolve each channel with its own filters, ``w`` (*kernel, channels, multiplier)."""
    images, (*kernel, channels, multiplier) = channels_last(x, at["data_format"]), w.shape
    require((images.ndim, images.shape[-1]), (w.ndim, channels), "rank and channels of the input")
    axes = _axes(images.shape[1:-1], kernel, at)
    taps = working(w).reshape(*kernel, channels * multiplier)
    shape = (len(images), *(axis.out for axis in axes), taps.shape[-1])
    out = np.zeros(shape, np.result_type(images, taps))
    for block in image_blocks(len(images), out[:1].nbytes * 3):
        part, target = _repeated_channels(images[block], multiplier), out[block]
        scratch = np.empty_like(target)
        for position, outputs, inputs in window_taps(axes):
            target[outputs] += np.multiply(part[inputs], taps[position], out=scratch[outputs])
    return restored(out, at["data_format"], np.result_type(x, w))


def depthwise_conv2d_native_backprop_input(
    input_sizes: Sequence[int] | Array, w: Array, dy: Array, **at: Unpack[Sliding]
) -> Array:
    """Gradient of `depthwise_conv2d_native` with respect to its input of full shape ``input_sizes``."""
    shape, grads = channels_last_sizes(input_sizes, at["data_format"]), channels_last(dy, at["data_format"])
    *kernel, channels, multiplier = w.shape
    require((len(shape), shape[-1]), (w.ndim, channels), "rank and channels of the input")
    axes = _axes(shape[1:-1], kernel, at)
    taps = working(w).reshape(*kernel, channels * multiplier)
    require(grads.shape, (shape[0], *(axis.out for axis in axes), taps.shape[-1]), "shape of the output gradient")
    dx = np.empty(shape, np.result_type(grads, taps))
    for block in image_blocks(shape[0], prod(shape[1:]) * multiplier * grads.itemsize * 3):
        part = grads[block]
        wide = np.zeros((len(part), *shape[1:-1], taps.shape[-1]), dx.dtype)
        scratch = np.empty(part.shape, dx.dtype)
        for position, outputs, inputs in window_taps(axes):
            wide[inputs] += np.multiply(part[outputs], taps[position], out=scratch[outputs])
        dx[block] = wide.reshape(len(part), *shape[1:], multiplier).sum(axis=-1) if multiplier > 1 else wide
    return restored(dx, at["data_format"], np.result_type(w, dy))


def depthwise_conv2d_native_backprop_filter(
    x: Array, filter_sizes: Sequence[int] | Array, dy: Array, **at: Unpack[Sliding]
) -> Array:
    """Gradient of `depthwise_conv2d_native` with respect to its filter of full shape ``filter_sizes``."""
    *kernel, channels, multiplier = (int(size) for size in filter_sizes)
    images, grads = channels_last(x, at["data_format"]), channels_last(dy, at["data_format"])
    require((images.ndim, images.shape[-1]), (len(kernel) + 2, channels), "rank and channels of the input")
    axes = _axes(images.shape[1:-1], kernel, at)
    shape = (len(images), *(axis.out for axis in axes), channels * multiplier)
    require(grads.shape, shape, "shape of the output gradient")
    dw = np.zeros((*kernel, channels * multiplier), np.result_type(images, grads))
    summed = tuple(range(len(kernel) + 1))
    for block in image_blocks(len(images), grads[:1].nbytes * 3):
        part, factor = _repeated_channels(images[block], multiplier), grads[block]
        scratch = np.empty(factor.shape, dw.dtype)
        for position, outputs, inputs in window_taps(axes):
            dw[position] += np.multiply(part[inputs], factor[outputs], out=scratch[outputs]).sum(axis=summed)
    return dw.reshape(*kernel, channels, multiplier).astype(np.result_type(x, dy), copy=False)
