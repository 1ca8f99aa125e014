"""Normalisation of each example by itself: over groups of channels, over each channel, by the mean square.

Policy: PyTorch's names, argument names and defaults, over the library's ops.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.ops import array, core, math, reduce
from graphflow.ops import normalize as normalization


@placed
def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Normalise each group of channels of each example; channels are axis 1."""
    x: Any = core.convert_to_tensor(input)
    if len(x.dims) < 2 or x.dims[1] is None or x.dims[1] % num_groups:
        raise ShapeError(
            "group_norm divides the channels", expected=f"a multiple of {num_groups} along axis 1",
            got=spec.describe(x.dims),
        )  # fmt: skip
    shape = [-1 if d is None else d for d in x.dims] if x.dims.count(None) < 2 else array.shape(x)
    rows = array.reshape(x, [-1, num_groups, x.dims[1] // num_groups, *_sizes(x)])
    mean, variance = normalization.moments(rows, list(range(2, len(rows.dims))), keepdims=True)
    y = array.reshape((rows - mean) * math.rsqrt(variance + float(eps)), shape)
    per_channel = [-1] + [1] * (len(x.dims) - 2)
    y = y if weight is None else y * array.reshape(weight, per_channel)
    return y if bias is None else y + array.reshape(bias, per_channel)


def _sizes(x: Any) -> list[Any]:
    """The sizes after the channels."""
    return [array.shape(x)[i] if d is None else d for i, d in enumerate(x.dims)][2:]


@placed
def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel of each example."""
    x: Any = core.convert_to_tensor(input)
    if not use_input_stats or running_mean is not None or running_var is not None:
        raise InvalidArgumentError("instance_norm keeps no statistics", hint="use_input_stats=True, and no others")
    return group_norm(x, x.dims[1], weight, bias, eps)


@placed
def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """Divide by the root of the mean square over the last axes, whose sizes are `normalized_shape`."""
    x: Any = core.convert_to_tensor(input)
    sizes = tuple(normalized_shape)
    if not spec.compatible(x.dims[len(x.dims) - len(sizes) :], sizes):
        raise ShapeError("rms_norm", expected=f"a shape that ends in {list(sizes)}", got=spec.describe(x.dims))
    least = 2.0 ** -(52 if x.dtype.np.itemsize == 8 else 23) if eps is None else float(eps)
    mean = reduce.reduce_mean(math.square(x), list(range(-len(sizes), 0)), keepdims=True)
    y = x * math.rsqrt(mean + least)
    return y if weight is None else y * weight
