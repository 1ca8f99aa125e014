"""Shape inference of convolutions and of their two gradients, for any number of spatial axes.

Policy: what a gradient op is told twice (by sizes and by shapes) must agree; so a wrong output_shape of a transposed
convolution fails on the user's line.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import spec
from graphflow.errors import ShapeError
from graphflow.ops.inference import check_kind
from graphflow.ops.window import channels, check_images, images, moved_over, sizes_as_dims
from graphflow.spec import Dims, TensorSpec


def _check_filter(w: Any, rank: int, depthwise: bool) -> None:
    check_kind(w, "float")
    if w.dims is not None and len(w.dims) != rank + 2:
        window = ("depth, ", "")[rank < 3] + "height, width"
        last = "channels, multiplier" if depthwise else "channels in, channels out"
        raise ShapeError(
            "the filter has the wrong rank", expected=f"rank {rank + 2}: [{window}, {last}]", got=spec.describe(w.dims)
        )


def _filter_sizes(w: Dims, rank: int, depthwise: bool) -> tuple[tuple[int | None, ...], int | None, int | None]:
    """The window, the channels that go in and those that come out."""
    if w is None:
        return (None,) * rank, None, None
    *window, inner, outer = w
    if depthwise:
        outer = None if inner is None or outer is None else inner * outer
    return tuple(window), inner, outer


def _check_channels(found: int | None, wanted: int | None, dims: Dims, w: Dims, layout: str, what: str) -> None:
    if found is not None and wanted is not None and found != wanted:
        raise ShapeError(
            f"the filter does not fit the channels of the {what}",
            expected=f"{wanted} channels, as in the filter {spec.describe(w)}",
            got=f"{found} channels in the {what} {spec.describe(dims)} ({layout})",
        )


def convolved(x: Any, w: Any, *, data_format: str, depthwise: bool = False, **attrs: Any) -> TensorSpec:
    """(input, filter) -> output."""
    rank = len(data_format) - 2
    check_images(x, "input of a convolution", data_format)
    _check_filter(w, rank, depthwise)
    window, inner, outer = _filter_sizes(w.dims, rank, depthwise)
    _check_channels(channels(x.dims, data_format), inner, x.dims, w.dims, data_format, "input")
    sizes = moved_over(x.dims, window, data_format, **attrs)
    return TensorSpec(x.dtype, images(None if x.dims is None else x.dims[0], sizes, outer, data_format))


def _check_output(dims: Dims, window: Any, outer: int | None, dy: Any, data_format: str, **attrs: Any) -> None:
    """What a convolution makes of images of shape `dims` must be what has come."""
    made = images(None if dims is None else dims[0], moved_over(dims, window, data_format, **attrs), outer, data_format)
    if not spec.compatible(made, dy.dims):
        raise ShapeError(
            "the shape of the images does not fit their convolution",
            expected=f"{spec.describe(made)}, which is what a convolution makes of {spec.describe(dims)}",
            got=spec.describe(dy.dims),
            hint="the output_shape of a transposed convolution is that of the images which this convolution would turn "
            "into the value: with SAME, value size * stride",
        )


def input_gradient(
    sizes: Any, w: Any, dy: Any, *, data_format: str, depthwise: bool = False, **attrs: Any
) -> TensorSpec:
    """(input sizes, filter, gradient of the output) -> gradient of the input."""
    rank = len(data_format) - 2
    check_images(dy, "value", data_format)
    _check_filter(w, rank, depthwise)
    window, inner, outer = _filter_sizes(w.dims, rank, depthwise)
    dims: Dims = sizes_as_dims(sizes, rank + 2, "output_shape")
    _check_channels(channels(dy.dims, data_format), outer, dy.dims, w.dims, data_format, "value")
    _check_channels(channels(dims, data_format), inner, dims, w.dims, data_format, "output_shape")
    _check_output(dims, window, outer, dy, data_format, **attrs)
    batch = None if dy.dims is None else dy.dims[0]
    return TensorSpec(dy.dtype, spec.merge(dims, images(batch, (None,) * rank, inner, data_format)))


def filter_gradient(
    x: Any, sizes: Any, dy: Any, *, data_format: str, depthwise: bool = False, **attrs: Any
) -> TensorSpec:
    """(input, filter sizes, gradient of the output) -> gradient of the filter."""
    rank = len(data_format) - 2
    check_images(x, "input", data_format)
    check_images(dy, "gradient", data_format)
    dims: Dims = sizes_as_dims(sizes, rank + 2, "filter shape")
    window, inner, outer = _filter_sizes(dims, rank, depthwise)
    _check_channels(channels(x.dims, data_format), inner, x.dims, dims, data_format, "input")
    _check_output(x.dims, window, outer, dy, data_format, **attrs)
    last = None if depthwise else channels(dy.dims, data_format)
    return TensorSpec(dy.dtype, spec.merge(dims, (*(None,) * rank, channels(x.dims, data_format), last)))


def depthwise_convolved(x: Any, w: Any, **attrs: Any) -> TensorSpec:
    """(input, filter) -> output, each channel by itself."""
    return convolved(x, w, depthwise=True, **attrs)


def depthwise_input_gradient(sizes: Any, w: Any, dy: Any, **attrs: Any) -> TensorSpec:
    """(input sizes, filter, gradient of the output) -> gradient of the input, each channel by itself."""
    return input_gradient(sizes, w, dy, depthwise=True, **attrs)


def depthwise_filter_gradient(x: Any, sizes: Any, dy: Any, **attrs: Any) -> TensorSpec:
    """(input, filter sizes, gradient of the output) -> gradient of the filter, each channel by itself."""
    return filter_gradient(x, sizes, dy, depthwise=True, **attrs)
