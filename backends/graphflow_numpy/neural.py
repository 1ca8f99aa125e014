"""Kernels of neural networks: activations, biases, and rows for windows over images.

Policy: every result depends on its own elements (or rows) alone, so cutting an array into tiles changes no bit.
float16 is summed in float32.  Selections by a mask are exact for infinities and NaN.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.numerics.windows import window_axes, window_taps
from graphflow.spec import describe
from graphflow_numpy import convolution, depthwise, philox, pooling
from graphflow_numpy.sums import fitted_total, total, total_into
from graphflow_numpy.table import Fitted, fit, into, kernel, mark, rows

_BITS = {1: np.dtype("i1"), 2: np.dtype("i2"), 4: np.dtype("i4"), 8: np.dtype("i8")}
_ZEROS = {dtype: np.zeros(1024, dtype) for dtype in "fd"}
_LONG = 8192  # elements from which on a few more calls of NumPy pay
_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_SCALE_ALPHA = _SELU_SCALE * 1.6732632423543772848170429916717


def _selected(x: Any, mask: Any) -> Any:
    """`x` where the mask holds, 0 elsewhere; bit patterns times 0 or 1 are faster than np.where."""
    return np.multiply(x.view(_BITS[x.itemsize]), mask).view(x.dtype)


def _chosen(mask: Any, x: Any, other: Any) -> Any:
    """`x` where the mask holds, `other` elsewhere."""
    bits = _BITS[x.itemsize]
    return np.bitwise_or(np.multiply(x.view(bits), mask), np.multiply(other.view(bits), ~mask)).view(x.dtype)


def _wide(x: Any) -> Any:
    """The array in the precision that sums are made in."""
    return x.astype(np.float32) if x.itemsize == 2 else x


# -- activations -----------------------------------------------------------------------------------------------------


def _relu(x: Any) -> Any:
    if x.size < _LONG or x.dtype.char not in _ZEROS or not x.flags.c_contiguous:
        return np.maximum(x, x.dtype.type(0))
    out = np.empty(x.shape, x.dtype)
    _relu_into(x, out)
    return out


def _relu6(x: Any) -> Any:
    return np.minimum(np.maximum(x, x.dtype.type(0)), x.dtype.type(6))


rows({"Relu": _relu, "Relu6": _relu6})
rows({"ReluGrad": lambda dy, x: _selected(dy, x > 0)})
rows({"Relu6Grad": lambda dy, x: _selected(dy, (x > 0) & (x < 6))})


@into("Relu", inplace=(0,))
def _relu_into(x: Any, out: Any) -> None:
    zeros = _ZEROS.get(x.dtype.char)
    if x.size < _LONG or zeros is None or not x.flags.c_contiguous:
        np.maximum(x, x.dtype.type(0), out=out)
        return
    # NumPy compares two arrays five times as fast as an array and a number.
    values, found = x.reshape(-1), out.reshape(-1)
    whole = x.size - x.size % zeros.size
    np.maximum(values[:whole].reshape(-1, zeros.size), zeros, out=found[:whole].reshape(-1, zeros.size))
    np.maximum(values[whole:], zeros[: x.size - whole], out=found[whole:])


@into("Relu6", inplace=(0,))
def _relu6_into(x: Any, out: Any) -> None:
    np.maximum(x, x.dtype.type(0), out=out)
    np.minimum(out, x.dtype.type(6), out=out)


@into("ReluGrad", inplace=(0, 1))
def _relu_grad_into(dy: Any, x: Any, out: Any) -> None:
    bits = _BITS[out.itemsize]
    np.multiply(dy.view(bits), x > 0, out.view(bits))


@into("Relu6Grad", inplace=(0, 1))
def _relu6_grad_into(dy: Any, x: Any, out: Any) -> None:
    bits, inside = _BITS[out.itemsize], np.greater(x, 0)
    np.logical_and(inside, x < 6, inside)
    np.multiply(dy.view(bits), inside, out.view(bits))


@kernel("LeakyRelu")
def _leaky_relu(x: Any, *, alpha: float) -> Any:
    out = np.minimum(x, x.dtype.type(0)) * x.dtype.type(alpha)
    return out + np.maximum(x, x.dtype.type(0))


@into("LeakyRelu", inplace=(0,))
def _leaky_relu_into(x: Any, out: Any, *, alpha: float) -> None:
    above = np.maximum(x, x.dtype.type(0))
    np.minimum(x, x.dtype.type(0), out=out)
    np.multiply(out, out.dtype.type(alpha), out)
    np.add(out, above, out)


@kernel("LeakyReluGrad")
def _leaky_relu_grad(dy: Any, x: Any, *, alpha: float) -> Any:
    return _chosen(x > 0, dy, dy * dy.dtype.type(alpha))


@into("LeakyReluGrad", inplace=(1,))
def _leaky_relu_grad_into(dy: Any, x: Any, out: Any, *, alpha: float) -> None:
    above, bits = x > 0, out.view(_BITS[out.itemsize])
    np.multiply(dy, dy.dtype.type(alpha), out)
    np.multiply(bits, ~above, bits)
    np.bitwise_or(bits, np.multiply(dy.view(bits.dtype), above), bits)


def _expm1_below_zero(x: Any) -> Any:
    out = np.minimum(x, x.dtype.type(0))
    return np.expm1(out, out) if out.ndim else np.expm1(out)


@kernel("Elu")
def _elu(x: Any) -> Any:
    return np.maximum(x, x.dtype.type(0)) + _expm1_below_zero(x)


@into("Elu", inplace=(0,))
def _elu_into(x: Any, out: Any) -> None:
    below = _expm1_below_zero(x)
    np.maximum(x, x.dtype.type(0), out=out)
    np.add(out, below, out)


@kernel("EluGrad")
def _elu_grad(dy: Any, y: Any) -> Any:
    return dy * (np.minimum(y, y.dtype.type(0)) + y.dtype.type(1))


@into("EluGrad", inplace=(1,))
def _elu_grad_into(dy: Any, y: Any, out: Any) -> None:
    np.minimum(y, y.dtype.type(0), out=out)
    np.add(out, y.dtype.type(1), out)
    np.multiply(dy, out, out)


@kernel("Selu")
def _selu(x: Any) -> Any:
    of = x.dtype.type
    return of(_SELU_SCALE) * np.maximum(x, of(0)) + of(_SELU_SCALE_ALPHA) * _expm1_below_zero(x)


@into("Selu", inplace=(0,))
def _selu_into(x: Any, out: Any) -> None:
    of, below = x.dtype.type, _expm1_below_zero(x)
    np.maximum(x, of(0), out=out)
    np.multiply(of(_SELU_SCALE), out, out)
    np.multiply(of(_SELU_SCALE_ALPHA), below, below)
    np.add(out, below, out)


@kernel("SeluGrad")
def _selu_grad(dy: Any, y: Any) -> Any:
    of = y.dtype.type
    return dy * np.where(y < 0, y + of(_SELU_SCALE_ALPHA), of(_SELU_SCALE))


@into("SeluGrad", inplace=(1,))
def _selu_grad_into(dy: Any, y: Any, out: Any) -> None:
    of, above = y.dtype.type, np.less(y, 0)
    np.logical_not(above, above)
    np.add(y, of(_SELU_SCALE_ALPHA), out)
    np.copyto(out, of(_SELU_SCALE), where=above)
    np.multiply(dy, out, out)


@kernel("Softplus")
def _softplus(x: Any) -> Any:
    out = -np.abs(x)
    if type(out) is np.ndarray:
        np.log1p(np.exp(out, out), out)
        return np.add(out, np.maximum(x, x.dtype.type(0)), out)
    return np.log1p(np.exp(out)) + np.maximum(x, x.dtype.type(0))


@into("Softplus", inplace=(0,))
def _softplus_into(x: Any, out: Any) -> None:
    above = np.maximum(x, x.dtype.type(0))
    np.absolute(x, out)
    np.negative(out, out)
    np.exp(out, out)
    np.log1p(out, out)
    np.add(out, above, out)


@kernel("SoftplusGrad")
def _softplus_grad(dy: Any, x: Any) -> Any:
    out = -x
    if type(out) is np.ndarray:
        np.add(np.exp(out, out), out.dtype.type(1), out)
        return np.divide(dy, out, out)
    return dy / (np.exp(out) + out.dtype.type(1))


@into("SoftplusGrad", inplace=(1,))
def _softplus_grad_into(dy: Any, x: Any, out: Any) -> None:
    np.negative(x, out)
    np.exp(out, out)
    np.add(out, out.dtype.type(1), out)
    np.divide(dy, out, out)


rows({"Softsign": lambda x: x / (np.abs(x) + x.dtype.type(1))})
rows({"SoftsignGrad": lambda dy, x: dy / np.square(np.abs(x) + x.dtype.type(1))})


@into("Softsign")
def _softsign_into(x: Any, out: Any) -> None:
    np.absolute(x, out)
    np.add(out, out.dtype.type(1), out)
    np.divide(x, out, out)


@into("SoftsignGrad", inplace=(1,))
def _softsign_grad_into(dy: Any, x: Any, out: Any) -> None:
    np.absolute(x, out)
    np.add(out, out.dtype.type(1), out)
    np.square(out, out)
    np.divide(dy, out, out)


# -- losses ---------------------------------------------------------------------------------------------------------


@kernel("L2Loss")
def _l2_loss(x: Any) -> Any:
    flat = _wide(np.ravel(x))
    return x.dtype.type(np.dot(flat, flat) / 2)


# -- biases ----------------------------------------------------------------------------------------------------------


def _spread_bias(x: Any, bias: Any, channels: str) -> Any:
    """The biases in a shape that broadcasts against the value."""
    at = -1 if channels == "last" else 1
    if x.ndim < 2 or x.shape[at] != bias.shape[0]:
        raise ShapeError(
            "the bias does not fit the channels of the value",
            expected=f"as many biases as the value {describe(x.shape)} has channels ({channels})",
            got=describe(bias.shape),
        )
    return bias if channels == "last" else bias.reshape(-1, *(1,) * (x.ndim - 2))


@kernel("BiasAdd")
def _bias_add(x: Any, bias: Any, *, channels: str) -> Any:
    return np.add(x, _spread_bias(x, bias, channels))


@into("BiasAdd", inplace=(0,))
def _bias_add_into(x: Any, bias: Any, out: Any, *, channels: str) -> None:
    spread = _spread_bias(x, bias, channels)
    times = 512 // bias.size if channels == "last" and x.size >= _LONG and x.flags.c_contiguous and bias.size else 0
    whole = x.size // (times * bias.size) if times > 1 else 0
    if not whole:
        np.add(x, spread, out)
        return
    # Several positions at once, so that NumPy's inner loop is worth its while.
    width, values, found = times * bias.size, x.reshape(-1), out.reshape(-1)
    np.add(
        values[: whole * width].reshape(whole, width),
        np.tile(bias, times),
        found[: whole * width].reshape(whole, width),
    )
    rest = values[whole * width :].reshape(-1, bias.size)
    np.add(rest, bias, found[whole * width :].reshape(rest.shape))


@kernel("BiasAddGrad")
def _bias_add_grad(dy: Any, *, channels: str) -> Any:
    return total(_wide(dy), _bias_axes(dy.ndim, channels), False).astype(dy.dtype, copy=False)


def _bias_axes(rank: int, channels: str) -> tuple[int, ...]:
    return tuple(range(rank - 1)) if channels == "last" else (0, *range(2, rank))


@into("BiasAddGrad")
def _bias_add_grad_into(dy: Any, out: Any, *, channels: str) -> None:
    if dy.itemsize == 2:
        out[...] = _bias_add_grad(dy, channels=channels)
    else:
        total_into(dy, _bias_axes(dy.ndim, channels), False, out)


@fit("BiasAddGrad")
def _fit_bias_add_grad(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    dtype, dims, _ = inputs[0]
    if dims is None or None in dims:
        return None
    found = fitted_total(dims, _bias_axes(len(dims), attrs["channels"]), dtype.np)
    return None if found is None else Fitted(*found)


# -- convolutions, pooling, normalisation over channels --------------------------------------------------------------


rows(
    {
        "Conv2D": convolution.conv,
        "Conv2DBackpropInput": convolution.conv_backprop_input,
        "Conv2DBackpropFilter": convolution.conv_backprop_filter,
        "Conv3D": convolution.conv,
        "Conv3DBackpropInputV2": convolution.conv_backprop_input,
        "Conv3DBackpropFilterV2": convolution.conv_backprop_filter,
        "DepthwiseConv2dNative": depthwise.depthwise_conv2d_native,
        "DepthwiseConv2dNativeBackpropInput": depthwise.depthwise_conv2d_native_backprop_input,
        "DepthwiseConv2dNativeBackpropFilter": depthwise.depthwise_conv2d_native_backprop_filter,
        "MaxPool": pooling.max_pool,
        "MaxPoolGrad": pooling.max_pool_grad,
        "MaxPoolGradGrad": pooling.max_pool_grad_grad,
        "AvgPool": pooling.avg_pool,
        "AvgPoolGrad": pooling.avg_pool_grad,
        "LRN": pooling.lrn,
        "LRNGrad": pooling.lrn_grad,
    }
)

mark("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", blas="pieces")
mark("Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2", blas="pieces")
into("Conv2D", "Conv3D")(convolution.conv_into)
into("Conv2DBackpropInput", "Conv3DBackpropInputV2")(convolution.conv_backprop_input_into)
into("MaxPool")(pooling.max_pool_into)
into("MaxPoolGrad")(pooling.max_pool_grad_into)
into("Conv2DBackpropFilter", "Conv3DBackpropFilterV2")(convolution.conv_backprop_filter_into)


@kernel("MaxPoolWithArgmax")
def _max_pool_with_argmax(
    x: Any, *, ksize: Any, strides: Any, padding: Any, data_format: str, index_dtype: Any, include_batch: bool
) -> tuple[Any, Any]:
    axes = window_axes(x.shape[1:-1], ksize, strides, (1,) * len(ksize), padding)
    y = pooling.max_pool(x, ksize=ksize, strides=strides, padding=padding, data_format=data_format)
    where = np.zeros(y.shape, index_dtype.np)
    numbers = np.arange(x.size, dtype=index_dtype.np).reshape(x.shape)
    if not include_batch and len(x):
        numbers = np.broadcast_to(numbers[:1], x.shape)
    pending = np.ones(y.shape, np.bool_)
    for _, outputs, inputs in window_taps(axes):
        part = x[inputs]
        found = ((part == y[outputs]) | (part != part)) & pending[outputs]
        np.copyto(where[outputs], numbers[inputs], where=found)
        pending[outputs] ^= found
    return y, where


# -- sampling classes ------------------------------------------------------------------------------------------------


@kernel("CandidateSample")
def _candidate_sample(
    key: Any, *, num_sampled: int, range_max: int, unique: bool, distribution: str
) -> tuple[Any, Any]:
    pair = int(key[0]), int(key[1])
    if not unique:
        return _classes(pair, 0, num_sampled, range_max, distribution), np.int64(num_sampled)
    found = np.zeros(0, np.int64)
    draws = 0
    for attempt in range(1 << 20):
        fresh = _classes(pair, attempt, max(64, 2 * num_sampled), range_max, distribution)
        both = np.concatenate([found, fresh])
        first = np.sort(np.unique(both, return_index=True)[1])
        if len(first) >= num_sampled:
            last = first[num_sampled - 1]
            return both[first[:num_sampled]], np.int64(draws + last - len(found) + 1)
        found = both[first]
        draws += len(fresh)
    raise InvalidArgumentError("too many draws to find that many distinct classes", expected="a smaller num_sampled")


def _classes(key: tuple[int, int], attempt: int, count: int, range_max: int, distribution: str) -> Any:
    unit = philox.uniform(key, (attempt,), (count,), np.float64)
    if distribution == "log_uniform":
        unit = np.expm1(unit * np.log1p(float(range_max)))
    else:
        unit = unit * range_max
    return np.minimum(unit.astype(np.int64), range_max - 1)
