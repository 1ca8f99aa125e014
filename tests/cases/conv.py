"""Rows for convolutions and pooling; the references go window by window and tap by tap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import errors
from graphflow.ops import array, conv, core, pool
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase
from tests.window_references import (
    channels_back,
    channels_last,
    reference_conv,
    reference_pool,
    reference_windows,
)

Attributes = dict[str, Any]
HALF = ("float16", "float32", "float64")


def at(strides: Any = 1, padding: Any = "SAME", data_format: str = "NHWC", dilations: Any = 1) -> Attributes:
    rank = len(data_format) - 2

    def each(n: Any) -> Any:
        return (n,) * rank if isinstance(n, int) else n

    return {"strides": each(strides), "padding": padding, "data_format": data_format, "dilations": each(dilations)}


def forward(attributes: Attributes, depthwise: bool = False) -> Callable[..., Any]:
    return lambda x, w: reference_conv(x, w, attributes, depthwise)


def backward(shape: Any, window: Any, attributes: Attributes, put: Callable[[Any, Any, Any, Any, Any], None]) -> None:
    """Call `put` for every image, output position and tap."""
    sizes = channels_last(np.empty(shape), attributes["data_format"]).shape[1:-1]
    places = attributes["strides"], attributes["dilations"], attributes["padding"]
    for place, cells in reference_windows(sizes, window, *places)[1]:
        for tap, spot in cells:
            for n in range(shape[0]):
                put((n, *place), tap, (n, *spot), n, sizes)


def to_input(shape: Any, w: Any, dy: Any, attributes: Attributes, depthwise: bool = False) -> Any:
    layout = attributes["data_format"]
    dx, last = np.zeros(shape, dy.dtype), channels_last(dy, layout)
    target = channels_last(dx, layout)

    def put(out: Any, tap: Any, spot: Any, n: int, sizes: Any) -> None:
        if depthwise:
            target[spot] += (w[tap] * last[out].reshape(w.shape[-2:])).sum(-1)
        else:
            target[spot] += w[tap] @ last[out]

    backward(tuple(shape), w.shape[:-2], attributes, put)
    return dx


def to_filter(x: Any, shape: Any, dy: Any, attributes: Attributes, depthwise: bool = False) -> Any:
    layout = attributes["data_format"]
    dw, images, last = np.zeros(shape, dy.dtype), channels_last(x, layout), channels_last(dy, layout)

    def put(out: Any, tap: Any, spot: Any, n: int, sizes: Any) -> None:
        if depthwise:
            dw[tap] += images[spot][:, None] * last[out].reshape(dw.shape[-2:])
        else:
            dw[tap] += images[spot][:, None] * last[out]

    backward(x.shape, tuple(shape)[:-2], attributes, put)
    return dw


# -- the ops ---------------------------------------------------------------------------------------------------------

# id, attributes, input, filter
PLANES: list[tuple[str, Attributes, tuple[int, ...], tuple[int, ...]]] = [
    ("SAME", at(), (2, 4, 5, 2), (3, 3, 2, 3)),
    ("VALID, stride 2", at(2, "VALID"), (2, 5, 6, 2), (2, 3, 2, 3)),
    ("NCHW, uneven strides", at((1, 2), data_format="NCHW"), (1, 2, 4, 5), (2, 3, 2, 2)),
    ("dilated", at(1, "VALID", dilations=(2, 1)), (1, 5, 4, 1), (3, 2, 1, 2)),
    ("explicit padding, all at once", at((2, 1), ((2, 1), (0, 3)), "NCHW", (1, 2)), (2, 1, 4, 3), (2, 3, 1, 2)),
    ("1x1", at(), (2, 3, 3, 2), (1, 1, 2, 4)),
    ("window beyond the image", at(1, "SAME"), (1, 2, 1, 1), (3, 5, 1, 1)),
]
VOLUMES: list[tuple[str, Attributes, tuple[int, ...], tuple[int, ...]]] = [
    ("SAME", at((1, 2, 1), data_format="NDHWC"), (1, 2, 3, 3, 2), (2, 2, 3, 2, 2)),
    ("VALID, NCDHW", at((1, 1, 2), "VALID", "NCDHW", (1, 2, 1)), (1, 2, 2, 3, 3), (2, 2, 2, 2, 1)),
]


def _explicit(attributes: Attributes) -> Attributes:
    """The attributes as a user of TensorFlow 1 writes them, in the order of the data format."""
    first = attributes["data_format"][1] == "C"

    def whole(inside: Any, outside: Any) -> list[Any]:
        return [outside, outside, *inside] if first else [outside, *inside, outside]

    padding = attributes["padding"]
    return {
        "strides": whole(attributes["strides"], 1),
        "padding": padding if isinstance(padding, str) else whole(padding, (0, 0)),
        "data_format": attributes["data_format"],
        "dilations": whole(attributes["dilations"], 1),
    }


Functions = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]


def _triple(types: tuple[str, str, str], functions: Functions, rows: Any, depthwise: bool = False) -> list[OpCase]:
    """A convolution and its two gradients, for each row."""
    found: list[OpCase] = []
    make, make_input, make_filter = functions
    for number, (id, attributes, x, w) in enumerate(rows):
        a = _explicit(attributes)
        y = reference_conv(np.zeros(x), np.zeros(w), attributes, depthwise).shape
        here: dict[str, Any] = {"id": id, "dtypes": HALF if number == 0 else ("float32",)}
        zero: dict[str, Any] = {}
        if number == 0:
            no_input, no_images = (*x[:-1], 0), (0, *x[1:])
            none_in = (*w[:-2], 0, w[-1])
            zero = {
                types[0]: ((no_images, w), (no_input, none_in)),
                types[1]: ((no_images, w, (0, *y[1:])),),
                types[2]: ((no_images, w, (0, *y[1:])),),
            }
        found += [
            OpCase(types[0], build=lambda x, w, a=a: make(x, w, **a), inputs=(Arg(x), Arg(w)),
                   reference=forward(attributes, depthwise), zero=zero.get(types[0], ()), **here),
            OpCase(types[1], build=lambda x, w, dy, a=a: make_input(array.shape(x), w, dy, **a),
                   inputs=(Arg(x), Arg(w), Arg(y)), wrt=(1, 2), zero=zero.get(types[1], ()),
                   reference=lambda x, w, dy, t=attributes: to_input(x.shape, w, dy, t, depthwise), **here),
            OpCase(types[2], build=lambda x, w, dy, a=a: make_filter(x, array.shape(w), dy, **a),
                   inputs=(Arg(x), Arg(w), Arg(y)), wrt=(0, 2), zero=zero.get(types[2], ()),
                   reference=lambda x, w, dy, t=attributes: to_filter(x, w.shape, dy, t, depthwise), **here),
        ]  # fmt: skip
    return found


def _depthwise_rows() -> list[Any]:
    return [(id, a, x, (*w[:2], w[2], 1 + i % 2)) for i, (id, a, x, w) in enumerate(PLANES)]


# -- compositions ----------------------------------------------------------------------------------------------------


def _composed() -> list[OpCase]:
    x, w, v = Arg((2, 4, 5, 2)), Arg((3, 2, 2, 3)), Arg((2, 3, 3, 2))
    line, taps = Arg((2, 7, 2)), Arg((3, 2, 3))
    up = Arg((3, 3, 4, 2))  # filter of a transposed convolution: channels out, channels in
    solid = Arg((2, 2, 2, 3, 1))
    strided, wide = at(2), at(1, "VALID", dilations=2)
    return [
        OpCase("tf.nn.conv2d", "one stride for both axes, filters=",
               lambda x, w: conv.conv2d(x, filters=w, strides=2, padding="SAME"), (x, w), forward(strided)),
        OpCase("tf.nn.conv2d", "two strides", lambda x, w: conv.conv2d(x, w, [2, 1], "SAME"), (x, w),
               forward(at((2, 1)))),
        OpCase("tf.nn.conv2d_transpose", "stride 2",
               lambda v, w: conv.conv2d_transpose(v, w, [2, 6, 5, 4], [1, 2, 2, 1]), (v, up),
               lambda v, w: to_input((2, 6, 5, 4), w, v, strided), zero=(((2, 3, 3, 0), (3, 3, 4, 0)),)),
        OpCase("tf.nn.conv2d_transpose", "batch size of the run",
               lambda v, w: conv.conv2d_transpose(v, w, array.stack([array.shape(v)[0], 5, 6, 4]), 2), (v, up),
               lambda v, w: to_input((len(v), 5, 6, 4), w, v, strided), zero=(((0, 3, 3, 2), (3, 3, 4, 2)),)),
        OpCase("tf.nn.atrous_conv2d", "rate 2", lambda x, w: conv.atrous_conv2d(x, w, 2, "VALID"),
               (Arg((1, 6, 5, 2)), w), forward(wide)),
        OpCase("tf.nn.atrous_conv2d_transpose", "rate 2",
               lambda v, w: conv.atrous_conv2d_transpose(v, w, [2, 7, 7, 4], 2, "VALID"), (v, up),
               lambda v, w: to_input((2, 7, 7, 4), w, v, wide)),
        OpCase("tf.nn.depthwise_conv2d", "rate", lambda x, w: conv.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME", [2, 1]),
               (x, Arg((2, 3, 2, 2))), forward(at(1, dilations=(2, 1)), True)),
        OpCase("tf.nn.separable_conv2d", "VALID",
               lambda x, d, p: conv.separable_conv2d(x, d, p, [1, 1, 1, 1], "VALID"),
               (x, Arg((2, 3, 2, 2)), Arg((1, 1, 4, 3))),
               lambda x, d, p: reference_conv(x, d, at(1, "VALID"), True) @ p[0, 0]),
        OpCase("tf.nn.conv1d", "SAME, stride 2", lambda x, w: conv.conv1d(x, w, 2, "SAME"), (line, taps),
               forward(at((2,), data_format="NWC")), zero=(((0, 7, 2), (3, 2, 3)),)),
        OpCase("tf.nn.conv1d", "NCW, dilated",
               lambda x, w: conv.conv1d(x, w, 1, "VALID", data_format="NCW", dilations=2),
               (Arg((2, 2, 7)), taps), forward(at((1,), "VALID", "NCW", (2,)))),
        OpCase("tf.nn.conv3d_transpose", "stride 2",
               lambda v, w: conv.conv3d_transpose(v, w, [2, 3, 4, 5, 2], [1, 2, 2, 2, 1]),
               (solid, Arg((2, 2, 2, 2, 1))),
               lambda v, w: to_input((2, 3, 4, 5, 2), w, v, at(2, data_format="NDHWC"))),
        OpCase("tf.nn.convolution", "one axis", lambda x, w: conv.convolution(x, w, "SAME", dilation_rate=[2]),
               (line, taps), forward(at((1,), data_format="NWC", dilations=(2,))), unknown="dims"),
        OpCase("tf.nn.convolution", "two axes", lambda x, w: conv.convolution(x, w, "VALID", [1, 2]), (x, w),
               forward(at((1, 2), "VALID")), unknown="dims"),
        OpCase("tf.nn.convolution", "three axes", lambda x, w: conv.convolution(x, w, "SAME"),
               (solid, Arg((2, 1, 2, 1, 2))), forward(at(data_format="NDHWC")), unknown="dims"),
    ]  # fmt: skip


# -- pooling ---------------------------------------------------------------------------------------------------------


def window(ksize: Any, strides: Any, padding: Any = "VALID", data_format: str = "NHWC") -> Attributes:
    return {"ksize": ksize, "strides": strides, "padding": padding, "data_format": data_format}


# id, attributes, input
POOLS: list[tuple[str, Attributes, tuple[int, ...]]] = [
    ("2x2", window((2, 2), (2, 2)), (2, 4, 5, 2)),
    ("overlapping, SAME", window((3, 2), (2, 1), "SAME"), (1, 4, 5, 2)),
    ("NCHW", window((2, 3), (1, 2), "SAME", "NCHW"), (2, 2, 3, 4)),
    ("explicit padding", window((2, 2), (2, 2), ((1, 0), (0, 1))), (1, 3, 4, 2)),
    ("one axis", window((3,), (2,), "SAME", "NWC"), (2, 5, 2)),
    ("three axes", window((2, 1, 2), (1, 1, 2), "SAME", "NDHWC"), (1, 3, 2, 3, 2)),
]


def _first_of_each_window(x: Any, attributes: Attributes) -> list[tuple[Any, Any]]:
    """For every output its index and that of the first largest element of its window, channels last."""
    images = channels_last(x, attributes["data_format"])
    ones = (1,) * len(attributes["ksize"])
    places = attributes["strides"], ones, attributes["padding"]
    found = []
    for place, cells in reference_windows(images.shape[1:-1], attributes["ksize"], *places)[1]:
        for n, c in np.ndindex(len(images), images.shape[-1]):
            spots = [(n, *spot, c) for _, spot in cells]
            found.append(((n, *place, c), max(reversed(spots), key=lambda s: images[s])))
    return found


def _max_back(x: Any, dy: Any, attributes: Attributes) -> Any:
    dx = np.zeros(x.shape, dy.dtype)
    target, grads = channels_last(dx, attributes["data_format"]), channels_last(dy, attributes["data_format"])
    for out, spot in _first_of_each_window(x, attributes):
        target[spot] += grads[out]
    return dx


def _max_back_back(x: Any, dx: Any, attributes: Attributes) -> Any:
    layout = attributes["data_format"]
    y = np.zeros(channels_last(reference_pool(x, max, attributes), layout).shape, dx.dtype)
    for out, spot in _first_of_each_window(x, attributes):
        y[out] = channels_last(dx, layout)[spot]
    return channels_back(y, layout)


def _mean_back(x: Any, dy: Any, attributes: Attributes) -> Any:
    dx = np.zeros(x.shape, dy.dtype)
    layout, ones = attributes["data_format"], (1,) * len(attributes["ksize"])
    target, grads = channels_last(dx, layout), channels_last(dy, layout)
    places = attributes["strides"], ones, attributes["padding"]
    for place, cells in reference_windows(target.shape[1:-1], attributes["ksize"], *places)[1]:
        for _, spot in cells:
            for n in range(len(dx)):
                target[(n, *spot)] += grads[(n, *place)] / len(cells)
    return dx


def _numbered(x: Any) -> list[Any]:
    a = window((2, 2), (1, 2), "SAME")
    where = np.zeros(reference_pool(x, max, a).shape, np.int64)
    for out, (_, row, column, channel) in _first_of_each_window(x, a):
        where[out] = (row * x.shape[2] + column) * x.shape[3] + channel
    return [reference_pool(x, max, a), where]


def _distinct(shape: tuple[int, ...]) -> Any:
    """Numbers far enough apart that no narrower dtype makes two of them equal."""
    return np.random.default_rng(len(shape)).permutation(int(np.prod(shape))).reshape(shape) / 16.0 - 2.0


def _pooling_rows() -> list[OpCase]:
    found: list[OpCase] = []
    for number, (id, a, x) in enumerate(POOLS):
        y = reference_pool(np.zeros(x), max, a).shape
        here: dict[str, Any] = {"id": id, "dtypes": HALF if number == 0 else ("float32",)}
        one: dict[str, Any] = {"zero": (((0, *x[1:]),), ((*x[:-1], 0),))} if number == 0 else {}
        two: dict[str, Any] = {"zero": (((0, *x[1:]), (0, *y[1:])),)} if number == 0 else {}
        other: dict[str, Any] = {"zero": (((0, *x[1:]), (0, *x[1:])),)} if number == 0 else {}
        found += [
            OpCase("MaxPool", build=lambda v, a=a: pool.max_pool(v, **a), inputs=(_distinct(x),), analytic=False,
                   reference=lambda v, a=a: reference_pool(v, max, a), **one, **here),
            OpCase("MaxPoolGrad", build=lambda v, d, a=a: pool.max_pool_grad(v, pool.max_pool(v, **a), d, **a),
                   inputs=(_distinct(x), Arg(y)), wrt=(1,), analytic=False,
                   reference=lambda v, d, a=a: _max_back(v, d, a), **two, **here),
            OpCase("MaxPoolGradGrad", build=lambda v, d, a=a: pool.max_pool_grad_grad(v, pool.max_pool(v, **a), d, **a),
                   inputs=(_distinct(x), Arg(x)), wrt=(1,), reference=lambda v, d, a=a: _max_back_back(v, d, a),
                   analytic=False, **other, **here),
            OpCase("AvgPool", build=lambda v, a=a: pool.avg_pool(v, **a), inputs=(Arg(x),),
                   reference=lambda v, a=a: reference_pool(v, lambda cells: sum(cells) / len(cells), a), **one, **here),
            OpCase("AvgPoolGrad", build=lambda v, d, a=a: pool.avg_pool_grad(array.shape(v), d, **a),
                   inputs=(Arg(x), Arg(y)), wrt=(1,), reference=lambda v, d, a=a: _mean_back(v, d, a), **two, **here),
        ]  # fmt: skip
    image = (Arg((2, 3, 5, 2)),)
    line, solid = (Arg((2, 5, 2)),), (Arg((1, 3, 2, 3, 2)),)

    def mean(cells: Any) -> Any:
        return sum(cells) / len(cells)

    return [
        *found,
        OpCase("MaxPool", "whole numbers", lambda x: pool.max_pool(x, 2, 2, "SAME"),
               (np.arange(-12, 12).reshape(1, 4, 6, 1),),
               lambda x: reference_pool(x, max, window((2, 2), (2, 2), "SAME")), wrt=()),
        OpCase("MaxPoolWithArgmax", "SAME",
               lambda x: list(pool.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 1, 2, 1], "SAME")),
               image, _numbered, analytic=False, zero=(((0, 3, 5, 2),),)),
        OpCase("MaxPoolWithArgmax", "counted through the batch",
               lambda x: list(pool.max_pool_with_argmax(x, 2, [1, 2], "SAME", include_batch_in_index=True,
                                                        output_dtype=np.int32)), image,
               lambda x: [_numbered(x)[0], (_numbered(x)[1] + np.array([0, 30])[:, None, None, None]).astype(np.int32)],
               analytic=False),
        OpCase("tf.nn.max_pool3d", "SAME", lambda x: pool.max_pool3d(x, [1, 2, 2, 2, 1], [1, 1, 1, 2, 1], "SAME"),
               solid, lambda x: reference_pool(x, max, window((2, 2, 2), (1, 1, 2), "SAME", "NDHWC")), analytic=False),
        OpCase("tf.nn.avg_pool3d", "SAME", lambda x: pool.avg_pool3d(x, 2, 2, "SAME"), solid,
               lambda x: reference_pool(x, mean, window((2,) * 3, (2,) * 3, "SAME", "NDHWC"))),
        OpCase("tf.nn.max_pool1d", "VALID", lambda x: pool.max_pool1d(x, 2, 1, "VALID"), line,
               lambda x: reference_pool(x, max, window((2,), (1,), "VALID", "NWC")), analytic=False),
        OpCase("tf.nn.avg_pool1d", "VALID", lambda x: pool.avg_pool1d(x, 2, 1, "VALID"), line,
               lambda x: reference_pool(x, mean, window((2,), (1,), "VALID", "NWC"))),
        OpCase("tf.nn.pool", "MAX over one axis", lambda x: pool.pool(x, [2], "MAX", "SAME"), line,
               lambda x: reference_pool(x, max, window((2,), (1,), "SAME", "NWC")), analytic=False),
        OpCase("tf.nn.pool", "AVG over two", lambda x: pool.pool(x, [2, 3], "AVG", "VALID", strides=[1, 2]), image,
               lambda x: reference_pool(x, mean, window((2, 3), (1, 2)))),
    ]  # fmt: skip


CASES: list[OpCase] = [
    *_triple(
        ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"),
        (conv.conv2d, conv.conv2d_backprop_input, conv.conv2d_backprop_filter), PLANES,
    ),
    *_triple(
        ("Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"),
        (conv.conv3d, conv.conv3d_backprop_input, conv.conv3d_backprop_filter), VOLUMES,
    ),
    *_triple(
        (
            "DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter",
        ),
        (
            conv.depthwise_conv2d_native, conv.depthwise_conv2d_native_backprop_input,
            conv.depthwise_conv2d_native_backprop_filter,
        ),
        _depthwise_rows(), True,
    ),
    *_composed(),
    *_pooling_rows(),
]  # fmt: skip

# -- mistakes --------------------------------------------------------------------------------------------------------


def _floats(*shape: int, dtype: Any = np.float32) -> Any:
    return core.constant(np.zeros(shape, dtype))


def _conv2d(
    strides: Any = 1, padding: Any = "SAME", image: Any = (1, 4, 4, 3), filter: Any = (3, 3, 3, 8), **more: Any
) -> Any:
    return conv.conv2d(_floats(*image), _floats(*filter), strides, padding, **more)


def _unknown() -> Any:
    return core.placeholder(np.float32)


def _fed() -> Any:
    x, w = _unknown(), _unknown()
    feeds = {x: np.zeros((1, 4, 4, 2), np.float32), w: np.zeros((3, 3, 3, 8), np.float32)}
    return Session().run(conv.conv2d(x, w, 1, "SAME"), feeds)


Invalid, Shape = errors.InvalidArgumentError, errors.ShapeError
ERRORS: list[ErrorCase] = [
    ErrorCase("Conv2D", "three strides", lambda: _conv2d([1, 2, 2]), Invalid, "one integer >= 1 for each axis of NHWC"),
    ErrorCase("Conv2D", "no strides", lambda: _conv2d(None), Invalid, "strides must be"),
    ErrorCase("Conv2D", "stride 0", lambda: _conv2d(0), Invalid, "strides must be"),
    ErrorCase("Conv2D", "a stride of a half", lambda: _conv2d([1, 0.5, 0.5, 1]), errors.DTypeError, "integers"),
    ErrorCase("Conv2D", "stride over the batch", lambda: _conv2d([2, 1, 1, 1]), Invalid, "batch or the channels"),
    ErrorCase("Conv2D", "strides in the order of NCHW", lambda: _conv2d([1, 1, 2, 2]), Invalid, "data_format='NCHW'"),
    ErrorCase("Conv2D", "padding in small letters", lambda: _conv2d(padding="same"), Invalid, "did you mean 'SAME'"),
    ErrorCase("Conv2D", "padding misspelt", lambda: _conv2d(padding="SAMEE"), Invalid, "unknown padding"),
    ErrorCase("Conv2D", "padding of the channels", lambda: _conv2d(padding=[[0, 0], [1, 1], [1, 1], [1, 1]]), Invalid,
              "cannot be padded"),
    ErrorCase("Conv2D", "padding of one axis", lambda: _conv2d(padding=[[1, 1]]), Invalid, "pair"),
    ErrorCase("Conv2D", "format", lambda: _conv2d(data_format="CHWN"), Invalid, "'NHWC' or 'NCHW'"),
    ErrorCase("Conv2D", "channels", lambda: _conv2d(image=(1, 4, 4, 1)), Shape,
              r"3 channels[^$]*\[3, 3, 3, 8\][^$]*1 channels[^$]*\[1, 4, 4, 1\]"),
    ErrorCase("Conv2D", "one image", lambda: _conv2d(image=(4, 4, 3)), Shape, "rank 4: .batch, height"),
    ErrorCase("Conv2D", "rank of the filter", lambda: _conv2d(filter=(3, 3, 8)), Shape, "channels in, channels out"),
    ErrorCase("Conv2D", "window larger than the image", lambda: _conv2d(padding="VALID", filter=(3, 5, 3, 8)), Shape,
              r"5 along the width of \[1, 4, 4, 3\]"),
    ErrorCase("Conv2D", "dtypes", lambda: conv.conv2d(
        _floats(1, 4, 4, 3), _floats(3, 3, 3, 8, dtype=np.float64), 1, "SAME"), errors.DTypeError, "float64"),
    ErrorCase("Conv2D", "images of bytes", lambda: conv.conv2d(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(
        (3, 3, 3, 8), np.uint8), 1, "SAME"), errors.DTypeError, "float"),
    ErrorCase("Conv2D", "no filter", lambda: conv.conv2d(_floats(1, 4, 4, 3), strides=1, padding="SAME"), Invalid,
              "filter is missing"),
    ErrorCase("Conv2D", "two filters", lambda: _conv2d(filters=_floats(3, 3, 3, 8)), Invalid, "same parameter"),
    ErrorCase("Conv2D", "channels known in the run only", _fed, Invalid, "channels"),
    ErrorCase("Conv3D", "images", lambda: conv.conv3d(_floats(1, 4, 4, 3), _floats(3, 3, 3, 8), 1, "SAME"), Shape,
              "depth, height, width"),
    ErrorCase("DepthwiseConv2dNative", "channels",
              lambda: conv.depthwise_conv2d(_floats(1, 4, 4, 3), _floats(3, 3, 2, 1), 1, "SAME"), Shape, "2 channels"),
    ErrorCase("DepthwiseConv2dNativeBackpropInput", "gradient",
              lambda: conv.depthwise_conv2d_native_backprop_input(
                  [1, 4, 4, 3], _floats(3, 3, 3, 2), _floats(1, 4, 4, 3), 1, "SAME"),
              Shape, r"6 channels, as in the filter \[3, 3, 3, 2\]"),
    ErrorCase("DepthwiseConv2dNativeBackpropFilter", "gradient",
              lambda: conv.depthwise_conv2d_native_backprop_filter(
                  _floats(1, 4, 4, 3), [3, 3, 3, 2], _floats(1, 4, 4, 3), 1, "SAME"), Shape, r"\[1, 4, 4, 6\]"),
    ErrorCase("Conv2DBackpropInput", "output_shape",
              lambda: conv.conv2d_transpose(_floats(1, 4, 4, 8), _floats(3, 3, 3, 8), [1, 9, 8, 3], 2), Shape,
              r"\[1, 5, 4, 8\][^$]*\[1, 9, 8, 3\][^$]*\[1, 4, 4, 8\]"),
    ErrorCase("Conv2DBackpropInput", "filter of a plain convolution",
              lambda: conv.conv2d_transpose(_floats(1, 4, 4, 8), _floats(3, 3, 8, 3), [1, 8, 8, 3], 2), Shape,
              r"3 channels, as in the filter \[3, 3, 8, 3\]"),
    ErrorCase("Conv2DBackpropInput", "short output_shape",
              lambda: conv.conv2d_transpose(_floats(1, 4, 4, 8), _floats(3, 3, 3, 8), [8, 8, 3], 2), Shape, "4 sizes"),
    ErrorCase("tf.nn.conv2d_transpose", "None in output_shape",
              lambda: conv.conv2d_transpose(_floats(1, 4, 4, 8), _floats(3, 3, 3, 8), [None, 8, 8, 3], 2), Shape,
              r"tf.shape\(x\)\[0\]"),
    ErrorCase("Conv2DBackpropInput", "-1 in output_shape",
              lambda: conv.conv2d_transpose(_floats(1, 4, 4, 8), _floats(3, 3, 3, 8), [-1, 8, 8, 3], 2), Shape,
              "complete"),
    ErrorCase("Conv2DBackpropFilter", "gradient",
              lambda: conv.conv2d_backprop_filter(_floats(1, 4, 4, 3), [3, 3, 3, 8], _floats(1, 4, 5, 8), 1, "SAME"),
              Shape, r"\[1, 4, 4, 8\]"),
    ErrorCase("tf.nn.convolution", "unknown rank", lambda: conv.convolution(_unknown(), _unknown(), "SAME"), Shape,
              "rank 3, 4 or 5"),
    ErrorCase("tf.nn.conv1d", "images", lambda: conv.conv1d(_floats(1, 4, 4, 3), _floats(3, 3, 8), 1, "SAME"), Shape,
              "width, channels"),
    ErrorCase("MaxPool", "rank", lambda: pool.max_pool(_floats(4, 4, 3), 2, 2, "SAME"), Shape, "rank 4"),
    ErrorCase("MaxPool", "pooling over channels", lambda: pool.max_pool(_floats(1, 4, 4, 3), [1, 1, 1, 3], 1, "SAME"),
              Invalid, "ksize over the batch or the channels"),
    ErrorCase("MaxPool", "window larger than the image", lambda: pool.max_pool(_floats(1, 2, 4, 3), 3, 1, "VALID"),
              Shape, "along the height"),
    ErrorCase("MaxPool", "no input", lambda: pool.max_pool(ksize=2, strides=2, padding="SAME"), Invalid, "one input"),
    ErrorCase("AvgPool", "integers", lambda: pool.avg_pool(np.zeros((1, 4, 4, 3), np.int32), 2, 2, "SAME"),
              errors.DTypeError, "float"),
    ErrorCase("MaxPoolGrad", "gradient",
              lambda: pool.max_pool_grad(_floats(1, 4, 4, 3), _floats(1, 2, 2, 3), _floats(1, 4, 4, 3), 2, 2, "SAME"),
              Shape, r"\[1, 2, 2, 3\]"),
    ErrorCase("MaxPoolGradGrad", "gradient",
              lambda: pool.max_pool_grad_grad(
                  _floats(1, 4, 4, 3), _floats(1, 2, 2, 3), _floats(1, 2, 2, 3), 2, 2, "SAME"),
              Shape, r"\[1, 4, 4, 3\]"),
    ErrorCase("AvgPoolGrad", "gradient",
              lambda: pool.avg_pool_grad([1, 4, 4, 3], _floats(1, 4, 4, 3), 2, 2, "SAME"), Shape, r"\[1, 2, 2, 3\]"),
    ErrorCase("MaxPoolWithArgmax", "float positions",
              lambda: pool.max_pool_with_argmax(_floats(1, 4, 4, 3), 2, 2, "SAME", Targmax=np.float32),
              errors.DTypeError, "int32 or int64"),
    ErrorCase("tf.nn.pool", "type", lambda: pool.pool(_floats(1, 4, 4, 3), [2, 2], "MIN", "SAME"), Invalid, "'AVG'"),
    ErrorCase("tf.nn.pool", "dilation", lambda: pool.pool(_floats(1, 4, 4, 3), [2, 2], "MAX", "SAME", [2, 2]),
              errors.UnimplementedError, "dilation"),
    ErrorCase("tf.nn.max_pool3d", "format", lambda: pool.max_pool3d(_floats(1, 4, 4, 4, 3), 2, 2, "SAME", "NHWC"),
              Invalid, "NDHWC"),
]  # fmt: skip
