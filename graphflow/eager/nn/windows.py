"""Convolutions and pooling of `torch.nn.functional`: channels first.

Policy: PyTorch's argument names over the library's ops, which take their filters as [height, width, in, out].

State: none.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.errors import InvalidArgumentError, ShapeError, UnimplementedError, shown
from graphflow.ops import arrange, array, conv, core, nn, pool, reduce

LAYOUT = "NCHW"


def pair(given: Any, what: str, least: int = 1) -> tuple[int, int]:
    """One number for both axes, or two."""
    numbers = list(given) if hasattr(given, "__iter__") and not isinstance(given, str) else [given, given]
    try:
        sizes = [operator.index(n) for n in numbers]
    except TypeError:
        sizes = []
    if len(sizes) != 2 or min(sizes) < least:
        raise InvalidArgumentError(f"{what} is an integer >= {least}, or two of them", got=shown(given))
    return sizes[0], sizes[1]


def _paddings(padding: Any, dilation: tuple[int, int], sizes: Sequence[int]) -> Any:
    """(before, after) for both axes."""
    if padding == "valid":
        return "VALID"
    if padding == "same":  # an odd rest goes behind
        total = [d * (k - 1) for d, k in zip(dilation, sizes, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    if isinstance(padding, str):
        raise InvalidArgumentError("unknown padding", expected='"same", "valid" or integers', got=repr(padding))
    up, left = pair(padding, "padding", 0)
    return [(up, up), (left, left)]


def _batched(input: Any, rank: int) -> tuple[Any, bool]:
    """The images as a batch, and whether they came as one."""
    x = core.convert_to_tensor(input)
    if x.dims is not None and len(x.dims) == rank - 1:
        return array.expand_dims(x, 0), False
    return x, True


@placed
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """2-d convolution of images [batch, channels, height, width] with filters [out, in / groups, height, width]."""
    x, batched = _batched(input, 4)
    steps, gaps = pair(stride, "stride"), pair(dilation, "dilation")
    if padding == "same" and steps != (1, 1):
        raise InvalidArgumentError('padding="same" goes with stride 1', got=f"stride {steps}")
    margins = _paddings(padding, gaps, weight.dims[2:])
    filters = arrange.transpose(weight, [2, 3, 1, 0])
    if groups == 1:
        y = conv.conv2d(x, filters, steps, margins, data_format=LAYOUT, dilations=gaps)
    else:
        parts = zip(array.split(x, groups, 1), array.split(filters, groups, 3), strict=True)
        y = array.concat([conv.conv2d(a, f, steps, margins, data_format=LAYOUT, dilations=gaps) for a, f in parts], 1)
    y = y if bias is None else nn.bias_add(y, bias, LAYOUT)
    return y if batched else array.squeeze(y, [0])


@placed
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """What a convolution with these arguments does to gradients; filters are [in, out / groups, height, width]."""
    x, batched = _batched(input, 4)
    steps, gaps, margin = pair(stride, "stride"), pair(dilation, "dilation"), pair(padding, "padding", 0)
    more = pair(output_padding, "output_padding", 0)
    if any(m >= max(s, d) for m, s, d in zip(more, steps, gaps, strict=True)):
        raise InvalidArgumentError("output_padding is less than stride or dilation", got=str(more))
    sizes = [
        0 if n is None else (n - 1) * steps[i] - 2 * margin[i] + gaps[i] * (k - 1) + more[i] + 1
        for i, (n, k) in enumerate(zip(x.dims[2:], weight.dims[2:], strict=True))
    ]
    if min(sizes) < 1:
        raise ShapeError(
            "conv_transpose2d of these images makes none", got=spec.describe(x.dims), expected="known sizes"
        )
    batch = array.shape(x)[0] if x.dims[0] is None else x.dims[0]
    filters = arrange.transpose(weight, [2, 3, 1, 0])

    def back(part: Any, own: Any) -> Any:
        shape = [batch, weight.dims[1], *sizes]
        around = [(m, m) for m in margin]
        return conv.conv2d_backprop_input(shape, own, part, steps, around, data_format=LAYOUT, dilations=gaps)

    if groups == 1:
        y = back(x, filters)
    else:
        parts = zip(array.split(x, groups, 1), array.split(filters, groups, 3), strict=True)
        y = array.concat([back(a, f) for a, f in parts], 1)
    y = y if bias is None else nn.bias_add(y, bias, LAYOUT)
    return y if batched else array.squeeze(y, [0])


@placed
def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """A margin around the last axes: (before, after) of the last one first."""
    x: Any = core.convert_to_tensor(input)
    numbers = [operator.index(n) for n in pad]
    if len(numbers) % 2 or len(numbers) > 2 * len(x.dims):
        raise InvalidArgumentError("pad is made of pairs, at most one for each axis", got=shown(pad))
    kinds = {"constant": "CONSTANT", "reflect": "REFLECT"}
    if mode not in kinds:
        raise InvalidArgumentError("unknown mode", expected=" or ".join(map(repr, kinds)), got=shown(mode))
    pairs = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)][::-1]
    return arrange.pad(x, [(0, 0)] * (len(x.dims) - len(pairs)) + pairs, kinds[mode], constant_values=value)


@placed
def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """1-d convolution of sequences [batch, channels, length] with filters [out, in / groups, length]."""
    x, batched = _batched(input, 3)

    def beside(given: Any, other: int) -> Any:
        if isinstance(given, str):
            return given
        return (other, *given) if hasattr(given, "__iter__") else (other, given)

    y = conv2d(
        array.expand_dims(x, 2), array.expand_dims(weight, 2), bias,
        beside(stride, 1), beside(padding, 0), beside(dilation, 1), groups,
    )  # fmt: skip
    y = array.squeeze(y, [2])
    return y if batched else array.squeeze(y, [0])


def _no(given: bool, what: str) -> None:
    if given:
        raise UnimplementedError(f"pooling has no {what}", hint="choose sizes that divide the images")


@placed
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window; the margin never wins."""
    _no(ceil_mode, "ceil_mode")
    _no(return_indices, "return_indices")
    _no(pair(dilation, "dilation") != (1, 1), "dilation")
    x, batched = _batched(input, 4)
    size = pair(kernel_size, "kernel_size")
    steps = size if stride is None else pair(stride, "stride")
    y = pool.max_pool(x, size, steps, _pool_margin(padding, size), LAYOUT)
    return y if batched else array.squeeze(y, [0])


def _pool_margin(padding: Any, size: tuple[int, int]) -> Any:
    margin = pair(padding, "padding", 0)
    if any(2 * p > k for p, k in zip(margin, size, strict=True)):
        raise InvalidArgumentError("padding is at most half of kernel_size", got=f"padding {margin} for {size}")
    return "VALID" if margin == (0, 0) else [(p, p) for p in margin]


@placed
def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window; the margin counts as zeros, or with count_include_pad=False not at all."""
    _no(ceil_mode, "ceil_mode")
    _no(divisor_override is not None, "divisor_override")
    x, batched = _batched(input, 4)
    size = pair(kernel_size, "kernel_size")
    steps = size if stride is None else pair(stride, "stride")
    margin = _pool_margin(padding, size)
    if margin != "VALID" and count_include_pad:
        x, margin = arrange.pad(x, [(0, 0), (0, 0), *margin]), "VALID"
    y = pool.avg_pool(x, size, steps, margin, LAYOUT)
    return y if batched else array.squeeze(y, [0])


@placed
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Means over windows such that the result has that size, which must divide the images' size."""
    x, batched = _batched(input, 4)
    wanted = [n if o is None else o for n, o in zip(x.dims[2:], _two(output_size), strict=True)]
    if wanted == [1, 1]:
        y = reduce.reduce_mean(x, [2, 3], keepdims=True)
    else:
        if not spec.is_concrete(x.dims[2:]) or any(n % o for n, o in zip(x.dims[2:], wanted, strict=True)):
            raise ShapeError(
                "adaptive pooling takes sizes that divide those of the images",
                expected=f"multiples of {wanted}",
                got=spec.describe(x.dims),
            )
        size = [n // o for n, o in zip(x.dims[2:], wanted, strict=True)]
        y = pool.avg_pool(x, size, size, "VALID", LAYOUT)
    return y if batched else array.squeeze(y, [0])


def _two(output_size: Any) -> list[Any]:
    return list(output_size) if hasattr(output_size, "__iter__") else [output_size, output_size]
