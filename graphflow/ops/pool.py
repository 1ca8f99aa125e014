"""Pooling: the largest element or the mean of each window.

Policy: padding is neither a candidate for the maximum nor counted in a mean.  Where several elements of a window are
the largest, the first gets the gradient; a NaN is the largest.  One set of ops serves any number of spatial axes: the
data format says how many.

State: none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from graphflow import dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, UnimplementedError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import array, core
from graphflow.ops.window import (
    FORMATS,
    channels,
    check_images,
    data_format_of,
    images,
    moved_over,
    padding_of,
    per_axis,
    sizes_as_dims,
)
from graphflow.spec import Dims, TensorSpec

_LAYOUTS = {name: rank for rank, names in FORMATS.items() for name in names}


def _window(ksize: Any, strides: Any, padding: Any, data_format: Any, rank: int = 2) -> dict[str, Any]:
    """The attributes of a pooling, checked; a data format of another rank than expected decides."""
    layout = data_format_of(data_format, _LAYOUTS.get(str(data_format), rank))
    rank = len(layout) - 2
    return {
        "ksize": per_axis(ksize, rank, layout, "ksize"),
        "strides": per_axis(strides, rank, layout, "strides"),
        "padding": padding_of(padding, rank, layout),
        "data_format": layout,
    }


def _value(value: Any, input: Any) -> Any:
    if (value is None) == (input is None):
        raise InvalidArgumentError("pooling takes one input", expected="value, or input=")
    return input if value is None else value


def _pooled_dims(dims: Dims, ksize: Any, strides: Any, padding: Any, data_format: str) -> Dims:
    sizes = moved_over(dims, ksize, data_format, strides, padding)
    return images(None if dims is None else dims[0], sizes, channels(dims, data_format), data_format)


def _pooled(x: Any, *, data_format: str, kind: str = "real", **attrs: Any) -> TensorSpec:
    """(value) -> the value of each window."""
    check_images(x, "input of a pooling", data_format, kind)
    return TensorSpec(x.dtype, _pooled_dims(x.dims, data_format=data_format, **attrs))


def _averaged(x: Any, **attrs: Any) -> TensorSpec:
    return _pooled(x, kind="float", **attrs)


def _check_agree(made: Dims, given: Dims, what: str) -> None:
    if not spec.compatible(made, given):
        raise ShapeError(f"the {what} has the wrong shape", expected=spec.describe(made), got=spec.describe(given))


# -- the largest element ---------------------------------------------------------------------------------------------


@op("MaxPool", infer=_pooled, weight=6)
def max_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: Any = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Any:
    """The largest element of each window of images [batch, height, width, channels]."""
    return call((_value(value, input),), name, **_window(ksize, strides, padding, data_format))


def _max_pool_grad(x: Any, y: Any, dy: Any, *, data_format: str, **attrs: Any) -> TensorSpec:
    check_images(x, "input of a pooling", data_format, "real")
    made = _pooled_dims(x.dims, data_format=data_format, **attrs)
    _check_agree(made, y.dims, "pooled output")
    _check_agree(made, dy.dims, "gradient")
    return TensorSpec(dy.dtype, x.dims)


def _max_pool_grad_grad(x: Any, y: Any, dx: Any, *, data_format: str, **attrs: Any) -> TensorSpec:
    check_images(x, "input of a pooling", data_format, "real")
    _check_agree(x.dims, dx.dims, "gradient")
    return TensorSpec(dx.dtype, spec.merge(_pooled_dims(x.dims, data_format=data_format, **attrs), y.dims))


@op("MaxPoolGrad", infer=_max_pool_grad, weight=6)
def max_pool_grad(
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    name: str | None = None,
) -> Any:
    """The gradient of `max_pool`: each window's `grad` at its largest element."""
    return call((orig_input, orig_output, grad), name, **_window(ksize, strides, padding, data_format))


@op("MaxPoolGradGrad", infer=_max_pool_grad_grad)
def max_pool_grad_grad(
    orig_input: Any,
    orig_output: Any,
    grad: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    name: str | None = None,
) -> Any:
    """The gradient of `max_pool_grad`: what `grad` has at each window's largest element."""
    return call((orig_input, orig_output, grad), name, **_window(ksize, strides, padding, data_format))


max_pool.vjp(lambda op, dy: max_pool_grad(op.inputs[0], op.outputs[0], dy, **op.attrs))
max_pool_grad.vjp(None, None, lambda op, dx: max_pool_grad_grad(op.inputs[0], op.inputs[1], dx, **op.attrs))
max_pool_grad_grad.vjp(None, None, lambda op, dy: max_pool_grad(op.inputs[0], op.inputs[1], dy, **op.attrs))


class MaxPoolWithArgmax(NamedTuple):
    """What `max_pool_with_argmax` returns."""

    output: Any
    argmax: Any


def _pooled_with_argmax(
    x: Any, *, index_dtype: dtypes.DType, include_batch: bool, **attrs: Any
) -> tuple[TensorSpec, TensorSpec]:
    found = _pooled(x, **attrs)
    return found, TensorSpec(index_dtype, found.dims)


@op("MaxPoolWithArgmax", infer=_pooled_with_argmax, result=MaxPoolWithArgmax)
def max_pool_with_argmax(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    Targmax: Any = dtypes.int64,
    name: str | None = None,
    output_dtype: Any = None,
    include_batch_in_index: bool = False,
) -> Any:
    """The largest element of each window, and where it is: (row * width + column) * channels + channel."""
    index_dtype = as_dtype(Targmax if output_dtype is None else output_dtype)
    if index_dtype not in (dtypes.int32, dtypes.int64):
        raise DTypeError("an argmax is an integer", expected="int32 or int64", got=index_dtype.name)
    if data_format != "NHWC":
        raise UnimplementedError("max_pool_with_argmax counts positions in NHWC alone", got=repr(data_format))
    attrs = _window(ksize, strides, padding, data_format)
    return call((input,), name, index_dtype=index_dtype, include_batch=bool(include_batch_in_index), **attrs)


@RegisterGradient("MaxPoolWithArgmax")
def _max_pool_with_argmax_gradient(op: Any, dy: Any, dargmax: Any) -> Any:
    attrs = {key: op.attrs[key] for key in ("ksize", "strides", "padding", "data_format")}
    return [max_pool_grad(op.inputs[0], op.outputs[0], dy, **attrs)]


def max_pool3d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NDHWC",
    name: str | None = None,
) -> Any:
    """The largest element of each window of volumes [batch, depth, height, width, channels]."""
    with core.name_scope(name, "MaxPool3D") as scope:
        return max_pool(input, ksize, strides, padding, data_format_of(data_format, 3), scope)


# -- the mean --------------------------------------------------------------------------------------------------------


@op("AvgPool", infer=_averaged, weight=6)
def avg_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: Any = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Any:
    """The mean of each window of images [batch, height, width, channels]."""
    return call((_value(value, input),), name, **_window(ksize, strides, padding, data_format))


def _avg_pool_grad(sizes: Any, dy: Any, *, data_format: str, **attrs: Any) -> TensorSpec:
    check_images(dy, "gradient", data_format)
    dims = sizes_as_dims(sizes, len(data_format), "input shape")
    _check_agree(_pooled_dims(dims, data_format=data_format, **attrs), dy.dims, "gradient")
    known = images(None if dy.dims is None else dy.dims[0], (None,) * (len(dims) - 2), None, data_format)
    return TensorSpec(dy.dtype, spec.merge(dims, known))


@op("AvgPoolGrad", infer=_avg_pool_grad, same_dtype=None, weight=6)
def avg_pool_grad(
    orig_input_shape: Any,
    grad: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    name: str | None = None,
) -> Any:
    """The gradient of `avg_pool`: each window's `grad`, spread over its elements."""
    return call((orig_input_shape, grad), name, **_window(ksize, strides, padding, data_format))


avg_pool.vjp(lambda op, dy: avg_pool_grad(array.shape(op.inputs[0]), dy, **op.attrs))
avg_pool_grad.vjp(None, lambda op, dx: avg_pool(dx, **op.attrs))


def avg_pool3d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NDHWC",
    name: str | None = None,
) -> Any:
    """The mean of each window of volumes [batch, depth, height, width, channels]."""
    with core.name_scope(name, "AvgPool3D") as scope:
        return avg_pool(input, ksize, strides, padding, data_format_of(data_format, 3), scope)


def max_pool1d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = "NWC", name: str | None = None
) -> Any:
    """The largest element of each window of sequences [batch, width, channels]."""
    with core.name_scope(name, "MaxPool1D") as scope:
        return max_pool(input, ksize, strides, padding, data_format_of(data_format, 1), scope)


def avg_pool1d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = "NWC", name: str | None = None
) -> Any:
    """The mean of each window of sequences [batch, width, channels]."""
    with core.name_scope(name, "AvgPool1D") as scope:
        return avg_pool(input, ksize, strides, padding, data_format_of(data_format, 1), scope)


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    padding: Any,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: Any = None,
    dilations: Any = None,
) -> Any:
    """Pooling over as many axes as `window_shape` has entries; `pooling_type` is "MAX" or "AVG"."""
    with core.name_scope(name, "pool") as scope:
        window = list(window_shape) if hasattr(window_shape, "__iter__") else [window_shape]
        if not 1 <= len(window) <= 3:
            raise InvalidArgumentError("a pooling has one, two or three spatial axes", got=repr(window_shape))
        functions = {"MAX": max_pool, "AVG": avg_pool}
        if pooling_type not in functions:
            raise InvalidArgumentError("unknown pooling_type", expected="'MAX' or 'AVG'", got=repr(pooling_type))
        layout = data_format_of(data_format, len(window))
        rate = dilations if dilation_rate is None else dilation_rate
        if set(per_axis(1 if rate is None else rate, len(window), layout, "dilation_rate")) != {1}:
            raise UnimplementedError(
                "pooling has no dilation",
                expected="dilation_rate 1",
                hint="tf.space_to_batch_nd before it, and tf.batch_to_space_nd after",
            )
        return functions[pooling_type](input, window, 1 if strides is None else strides, padding, layout, scope)
