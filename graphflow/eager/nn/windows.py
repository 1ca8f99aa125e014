"""Convolutions of `torch.nn.functional`: channels first.

Policy: PyTorch's argument names over the library's ops, which take their filters as [height, width, in, out].

State: none.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.errors import InvalidArgumentError, ShapeError, shown
from graphflow.ops import arrange, array, conv, core, nn

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


def margins_of(padding: Any, dilation: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(before, after) for each axis."""
    if padding == "valid":
        return [(0, 0)] * len(sizes)
    if padding == "same":  # an odd rest goes behind
        total = [d * (k - 1) for d, k in zip(dilation, sizes, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    if isinstance(padding, str):
        raise InvalidArgumentError("unknown padding", expected='"same", "valid" or integers', got=repr(padding))
    each = padding if hasattr(padding, "__iter__") else [padding] * len(sizes)
    return [(n, n) for n in each]


def _paddings(padding: Any, dilation: tuple[int, int], sizes: Sequence[int]) -> Any:
    """What convolutions call their padding."""
    if padding == "valid":
        return "VALID"
    given = padding if isinstance(padding, str) else pair(padding, "padding", 0)
    return margins_of(given, dilation, sizes)


def batched(input: Any, rank: int) -> tuple[Any, bool]:
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
    x, whole = batched(input, 4)
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
    return y if whole else array.squeeze(y, [0])


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
    x, whole = batched(input, 4)
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
    return y if whole else array.squeeze(y, [0])


@placed
def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """1-d convolution of sequences [batch, channels, length] with filters [out, in / groups, length]."""
    x, whole = batched(input, 3)

    y = conv2d(
        array.expand_dims(x, 2), array.expand_dims(weight, 2), bias,
        beside(stride, 1), beside(padding, 0), beside(dilation, 1), groups,
    )  # fmt: skip
    y = array.squeeze(y, [2])
    return y if whole else array.squeeze(y, [0])


def beside(given: Any, other: int) -> Any:
    """What an argument for one axis is for two, of which the first one is of size 1; words stay as they are."""
    if isinstance(given, str) or given is None:
        return given
    return (other, *given) if hasattr(given, "__iter__") else (other, given)


@placed
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """What a 1-d convolution with these arguments does to gradients; filters are [in, out / groups, length]."""
    x, whole = batched(input, 3)
    y = conv_transpose2d(
        array.expand_dims(x, 2), array.expand_dims(weight, 2), bias, beside(stride, 1), beside(padding, 0),
        beside(output_padding, 0), groups, beside(dilation, 1),
    )  # fmt: skip
    y = array.squeeze(y, [2])
    return y if whole else array.squeeze(y, [0])
