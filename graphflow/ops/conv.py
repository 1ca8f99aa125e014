"""Convolutions: 1-d to 3-d, transposed, dilated, depthwise, separable.

Policy: five ops do the work (conv2d, conv3d, depthwise, and the gradients of each with respect to input and filter);
the gradients are ops that are each other's gradients, so any order of derivative exists.  Everything else is made of
these.  As in TensorFlow 1 a convolution is a cross-correlation, filters are [*window, channels in, channels out],
and SAME puts the odd row of padding at the end.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import spec
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array, core, flops
from graphflow.ops.conv_shapes import (
    convolved,
    depthwise_convolved,
    depthwise_filter_gradient,
    depthwise_input_gradient,
    filter_gradient,
    input_gradient,
)
from graphflow.ops.window import check_images, data_format_of, padding_of, per_axis


def _window(rank: int, strides: Any, padding: Any, data_format: Any, dilations: Any) -> dict[str, Any]:
    """The attributes of a convolution, checked."""
    layout = data_format_of(data_format, rank)
    return {
        "strides": per_axis(strides, rank, layout, "strides"),
        "padding": padding_of(padding, rank, layout),
        "data_format": layout,
        "dilations": per_axis(1 if dilations is None else dilations, rank, layout, "dilations"),
    }


def _either(first: Any, second: Any, names: str) -> Any:
    """One argument that has two names."""
    if (first is None) == (second is None):
        one, two = names.split()
        problem = f"{one} is missing" if first is None else f"{one} and {two} are the same parameter"
        raise InvalidArgumentError(problem, expected=f"{one} or {two}")
    return second if first is None else first


# -- two spatial axes ------------------------------------------------------------------------------------------------


@op("Conv2D", infer=convolved, flops=flops.convolution(-1, 1))
def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = True,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Any = None,
) -> Any:
    """2-d convolution of images [batch, height, width, channels] with a filter [height, width, in, out]."""
    weights = _either(filter, filters, "filter filters")
    return call((input, weights), name, **_window(2, strides, padding, data_format, dilations))


@op("Conv2DBackpropInput", infer=input_gradient, same_dtype=(1, 2), flops=flops.convolution(2, 1))
def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    use_cudnn_on_gpu: Any = True,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The gradient of `conv2d` with respect to its input, whose shape is `input_sizes`."""
    return call((input_sizes, filter, out_backprop), name, **_window(2, strides, padding, data_format, dilations))


@op("Conv2DBackpropFilter", infer=filter_gradient, same_dtype=(0, 2), flops=flops.convolution(2, -1))
def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    use_cudnn_on_gpu: Any = True,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The gradient of `conv2d` with respect to its filter, whose shape is `filter_sizes`."""
    return call((input, filter_sizes, out_backprop), name, **_window(2, strides, padding, data_format, dilations))


conv2d.vjp(
    lambda op, dy: conv2d_backprop_input(array.shape(op.inputs[0]), op.inputs[1], dy, **op.attrs),
    lambda op, dy: conv2d_backprop_filter(op.inputs[0], array.shape(op.inputs[1]), dy, **op.attrs),
)
conv2d_backprop_input.vjp(
    None,
    lambda op, dx: conv2d_backprop_filter(dx, array.shape(op.inputs[1]), op.inputs[2], **op.attrs),
    lambda op, dx: conv2d(dx, op.inputs[1], **op.attrs),
)
conv2d_backprop_filter.vjp(
    lambda op, dw: conv2d_backprop_input(array.shape(op.inputs[0]), dw, op.inputs[2], **op.attrs),
    None,
    lambda op, dw: conv2d(op.inputs[0], dw, **op.attrs),
)


def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: Any = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Any:
    """The transpose (gradient) of `conv2d`, sometimes called deconvolution; the filter is [height, width, out, in]."""
    with core.name_scope(name, "conv2d_transpose") as scope:
        value = _either(value, input, "value input")
        weights = _either(filter, filters, "filter filters")
        _check_output_shape(output_shape)
        return conv2d_backprop_input(
            output_shape, weights, value, strides, padding, True, data_format, dilations, name=scope
        )


def _check_output_shape(output_shape: Any) -> None:
    if output_shape is None or isinstance(output_shape, (list, tuple)) and any(d is None for d in output_shape):
        raise ShapeError(
            "output_shape must be complete",
            expected="batch, sizes and channels",
            got=str(output_shape),
            hint="an unknown batch size is tf.shape(x)[0]",
        )


def atrous_conv2d(value: Any, filters: Any, rate: Any, padding: Any, name: str | None = None) -> Any:
    """2-d convolution with holes: the elements of the filter lie `rate` pixels apart."""
    return conv2d(value, filters, 1, padding, dilations=rate, name=name)


def atrous_conv2d_transpose(
    value: Any, filters: Any, output_shape: Any, rate: Any, padding: Any, name: str | None = None
) -> Any:
    """The transpose (gradient) of `atrous_conv2d`; the filter is [height, width, out, in]."""
    with core.name_scope(name, "atrous_conv2d_transpose") as scope:
        _check_output_shape(output_shape)
        return conv2d_backprop_input(output_shape, filters, value, 1, padding, dilations=rate, name=scope)


# -- each channel by itself ------------------------------------------------------------------------------------------


@op("DepthwiseConv2dNative", infer=depthwise_convolved, flops=flops.convolution(-1, 1, 2))
def depthwise_conv2d_native(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Any = None,
) -> Any:
    """2-d convolution of each channel with filters of its own [height, width, channels, multiplier]."""
    weights = _either(filter, filters, "filter filters")
    return call((input, weights), name, **_window(2, strides, padding, data_format, dilations))


@op(
    "DepthwiseConv2dNativeBackpropInput",
    infer=depthwise_input_gradient,
    same_dtype=(1, 2),
    flops=flops.convolution(2, 1, 2),
)
def depthwise_conv2d_native_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The gradient of `depthwise_conv2d_native` with respect to its input, whose shape is `input_sizes`."""
    return call((input_sizes, filter, out_backprop), name, **_window(2, strides, padding, data_format, dilations))


@op(
    "DepthwiseConv2dNativeBackpropFilter",
    infer=depthwise_filter_gradient,
    same_dtype=(0, 2),
    flops=flops.convolution(2, -1, 2),
)
def depthwise_conv2d_native_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The gradient of `depthwise_conv2d_native` with respect to its filter, whose shape is `filter_sizes`."""
    return call((input, filter_sizes, out_backprop), name, **_window(2, strides, padding, data_format, dilations))


depthwise_conv2d_native.vjp(
    lambda op, dy: depthwise_conv2d_native_backprop_input(array.shape(op.inputs[0]), op.inputs[1], dy, **op.attrs),
    lambda op, dy: depthwise_conv2d_native_backprop_filter(op.inputs[0], array.shape(op.inputs[1]), dy, **op.attrs),
)
depthwise_conv2d_native_backprop_input.vjp(
    None,
    lambda op, dx: depthwise_conv2d_native_backprop_filter(dx, array.shape(op.inputs[1]), op.inputs[2], **op.attrs),
    lambda op, dx: depthwise_conv2d_native(dx, op.inputs[1], **op.attrs),
)
depthwise_conv2d_native_backprop_filter.vjp(
    lambda op, dw: depthwise_conv2d_native_backprop_input(array.shape(op.inputs[0]), dw, op.inputs[2], **op.attrs),
    None,
    lambda op, dw: depthwise_conv2d_native(op.inputs[0], dw, **op.attrs),
)


def depthwise_conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    rate: Any = None,
    name: str | None = None,
    data_format: Any = None,
    dilations: Any = None,
    filters: Any = None,
) -> Any:
    """2-d convolution of each channel with filters of its own, whose elements lie `rate` pixels apart."""
    rate = dilations if rate is None else rate
    return depthwise_conv2d_native(input, filter, strides, padding, data_format, rate, name, filters)


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: Any = None,
    dilations: Any = None,
) -> Any:
    """`depthwise_conv2d`, and then a 1x1 convolution that mixes the channels: [1, 1, channels * multiplier, out]."""
    rate = dilations if rate is None else rate
    with core.name_scope(name, "separable_conv2d") as scope:
        mixed = depthwise_conv2d_native(input, depthwise_filter, strides, padding, data_format, rate, "depthwise")
        return conv2d(mixed, pointwise_filter, 1, "VALID", data_format=data_format, name=scope)


# -- three spatial axes, and one -------------------------------------------------------------------------------------


@op("Conv3D", infer=convolved, flops=flops.convolution(-1, 1))
def conv3d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: Any = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
    filters: Any = None,
) -> Any:
    """3-d convolution of volumes [batch, depth, height, width, channels] with [depth, height, width, in, out]."""
    weights = _either(filter, filters, "filter filters")
    return call((input, weights), name, **_window(3, strides, padding, data_format, dilations))


@op("Conv3DBackpropInputV2", infer=input_gradient, same_dtype=(1, 2), flops=flops.convolution(2, 1))
def conv3d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The gradient of `conv3d` with respect to its input, whose shape is `input_sizes`."""
    return call((input_sizes, filter, out_backprop), name, **_window(3, strides, padding, data_format, dilations))


@op("Conv3DBackpropFilterV2", infer=filter_gradient, same_dtype=(0, 2), flops=flops.convolution(2, -1))
def conv3d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The gradient of `conv3d` with respect to its filter, whose shape is `filter_sizes`."""
    return call((input, filter_sizes, out_backprop), name, **_window(3, strides, padding, data_format, dilations))


conv3d.vjp(
    lambda op, dy: conv3d_backprop_input(array.shape(op.inputs[0]), op.inputs[1], dy, **op.attrs),
    lambda op, dy: conv3d_backprop_filter(op.inputs[0], array.shape(op.inputs[1]), dy, **op.attrs),
)
conv3d_backprop_input.vjp(
    None,
    lambda op, dx: conv3d_backprop_filter(dx, array.shape(op.inputs[1]), op.inputs[2], **op.attrs),
    lambda op, dx: conv3d(dx, op.inputs[1], **op.attrs),
)
conv3d_backprop_filter.vjp(
    lambda op, dw: conv3d_backprop_input(array.shape(op.inputs[0]), dw, op.inputs[2], **op.attrs),
    None,
    lambda op, dw: conv3d(op.inputs[0], dw, **op.attrs),
)


def conv3d_transpose(
    value: Any,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: Any = "NDHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Any:
    """The transpose (gradient) of `conv3d`; the filter is [depth, height, width, out, in]."""
    with core.name_scope(name, "conv3d_transpose") as scope:
        value = _either(value, input, "value input")
        weights = _either(filter, filters, "filter filters")
        _check_output_shape(output_shape)
        return conv3d_backprop_input(output_shape, weights, value, strides, padding, data_format, dilations, name=scope)


def conv1d(
    value: Any = None,
    filters: Any = None,
    stride: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = None,
    data_format: Any = None,
    name: str | None = None,
    input: Any = None,
    dilations: Any = None,
) -> Any:
    """1-d convolution of sequences [batch, width, channels] with a filter [width, in, out]: a conv2d of height 1."""
    with core.name_scope(name, "conv1d") as scope:
        layout = data_format_of(data_format, 1)
        one = _window(1, stride, padding, layout, dilations)
        if not isinstance(one["padding"], str):
            one["padding"] = ((0, 0), *one["padding"])
        images_format, height = ("NCHW", 2) if layout == "NCW" else ("NHWC", 1)
        value = core.convert_to_tensor(_either(value, input, "value input"))
        check_images(value, "input of conv1d", layout)
        found = conv2d(
            array.expand_dims(value, height),
            array.expand_dims(filters, 0),
            (1, *one["strides"]),
            one["padding"],
            data_format=images_format,
            dilations=(1, *one["dilations"]),
        )
        return array.squeeze(found, [height], name=scope)


def convolution(
    input: Any,
    filter: Any = None,
    padding: Any = None,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Any:
    """Convolution over one, two or three axes, by the rank of the filter."""
    with core.name_scope(name, "convolution") as scope:
        weights = core.convert_to_tensor(_either(filter, filters, "filter filters"))
        input = core.convert_to_tensor(input)
        dims = input.dims if weights.dims is None else weights.dims
        if dims is None or not 3 <= len(dims) <= 5:
            raise ShapeError(
                "a convolution has one, two or three spatial axes",
                expected="input and filter of rank 3, 4 or 5",
                got=f"input {spec.describe(input.dims)}, filter {spec.describe(weights.dims)}",
            )
        function = (conv1d, conv2d, conv3d)[len(dims) - 3]
        rate = dilations if dilation_rate is None else dilation_rate
        step = {"stride" if function is conv1d else "strides": 1 if strides is None else strides}
        return function(
            input, filters=weights, padding=padding, data_format=data_format, dilations=rate, name=scope, **step
        )
