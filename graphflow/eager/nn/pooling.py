"""Pooling of `torch.nn.functional`: channels first.

Policy: PyTorch's argument names over the library's ops; sequences are images of one row.  Adaptive pooling takes one
axis after the other.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.eager.nn.windows import LAYOUT, batched, beside, pair
from graphflow.eager.storage import apart
from graphflow.errors import InvalidArgumentError, ShapeError, UnimplementedError
from graphflow.ops import arrange, array, pool, reduce

Pairs = list[tuple[int, int]]


def _window(kernel_size: Any, stride: Any, padding: Any) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Sizes, steps and margins, checked."""
    size = pair(kernel_size, "kernel_size")
    margin = pair(padding, "padding", 0)
    if any(2 * p > k for p, k in zip(margin, size, strict=True)):
        raise InvalidArgumentError("padding is at most half of kernel_size", got=f"padding {margin} for {size}")
    return size, size if stride is None else pair(stride, "stride"), margin


def _rest(
    dims: tuple[int | None, ...], size: Sequence[int], steps: Sequence[int], margin: Sequence[int]
) -> tuple[int, ...]:
    """What must be added behind so that windows that begin within the images are not left out."""
    if not spec.is_concrete(dims):
        raise ShapeError("ceil_mode needs to know the size of the images", got=spec.describe(dims))
    more: list[int] = []
    for n, k, s, p in zip(dims, size, steps, margin, strict=True):
        count = -(-(n + 2 * p - k) // s) + 1
        count -= (count - 1) * s >= n + p
        more.append(max(0, (count - 1) * s + k - n - 2 * p))
    return tuple(more)


def _margins(margin: Sequence[int], rest: Sequence[int]) -> Any:
    """What pooling calls its padding."""
    pairs = [(p, p + r) for p, r in zip(margin, rest, strict=True)]
    return pairs if any(map(any, pairs)) else "VALID"


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
    if return_indices:
        raise UnimplementedError("pooling tells no indices", hint="return_indices=False")
    if pair(dilation, "dilation") != (1, 1):
        raise UnimplementedError("pooling has no dilation", hint="F.unfold has, and its result has a maximum")
    x, whole = batched(input, 4)
    size, steps, margin = _window(kernel_size, stride, padding)
    rest = _rest(x.dims[2:], size, steps, margin) if ceil_mode else (0, 0)
    y = pool.max_pool(x, size, steps, _margins(margin, rest), LAYOUT)
    return y if whole else array.squeeze(y, [0])


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
    x, whole = batched(input, 4)
    size, steps, margin = _window(kernel_size, stride, padding)
    rest = _rest(x.dims[2:], size, steps, margin) if ceil_mode else (0, 0)
    if divisor_override is not None:
        x = arrange.pad(x, [(0, 0), (0, 0), *[(p, p + r) for p, r in zip(margin, rest, strict=True)]])
        y = pool.avg_pool(x, size, steps, "VALID", LAYOUT) * (size[0] * size[1] / divisor_override)
        return y if whole else array.squeeze(y, [0])
    if any(margin) and count_include_pad:
        x, margin = arrange.pad(x, [(0, 0), (0, 0), *[(p, p) for p in margin]]), (0, 0)
    y = pool.avg_pool(x, size, steps, _margins(margin, rest), LAYOUT)
    return y if whole else array.squeeze(y, [0])


def _of_sequences(function: Callable[..., Any], input: Any, window: Sequence[Any], *options: Any) -> Any:
    """A pooling of images, of sequences; `window` is size, steps and margin."""
    x, whole = batched(input, 3)
    size, steps, margin = window
    y = function(array.expand_dims(x, 2), beside(size, 1), beside(steps, 1), beside(margin, 0), *options)
    y = array.squeeze(y, [2])
    return y if whole else array.squeeze(y, [0])


@placed
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of sequences [batch, channels, length]."""
    window = kernel_size, stride, padding
    return _of_sequences(max_pool2d, input, window, beside(dilation, 1), ceil_mode, return_indices)


@placed
def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of sequences [batch, channels, length]."""
    return _of_sequences(avg_pool2d, input, (kernel_size, stride, padding), ceil_mode, count_include_pad)


# -- a result of a given size ----------------------------------------------------------------------------------------


def _adapted(x: Any, axis: int, count: int | None, fold: Callable[..., Any]) -> Any:
    """Fold an axis in windows, as many as are wanted, that cover it as evenly as they can."""
    size = x.dims[axis]
    if count is None or count == size:
        return x
    if count == 1:
        return fold(x, [axis], keepdims=True)
    if size is None:
        raise ShapeError("adaptive pooling needs to know the size of what it pools", got=spec.describe(x.dims))
    before = (slice(None),) * axis
    windows = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    if size % count == 0:  # the windows do not overlap
        sizes = [-1 if d is None else d for d in x.dims]
        return fold(array.reshape(x, [*sizes[:axis], count, size // count, *sizes[axis + 1 :]]), [axis + 1])
    return array.concat([fold(x[(*before, slice(*w))], [axis], keepdims=True) for w in windows], axis)


def _adaptive(rank: int, fold: Callable[..., Any], name: str, text: str) -> Callable[..., Any]:
    @placed
    def function(input: Any, output_size: Any) -> Any:
        x, whole = batched(input, rank + 2)
        wanted = list(output_size) if hasattr(output_size, "__iter__") else [output_size] * rank
        if len(wanted) != rank or any(n is not None and n < 1 for n in wanted):
            raise InvalidArgumentError(f"{name} takes {rank} sizes, or one for all", got=str(output_size))
        given = x
        for axis, count in enumerate(wanted, 2):
            x = _adapted(x, axis, count, fold)
        return apart(x if whole else array.squeeze(x, [0]), given)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


_MEANS = "Means over windows such that the result has a given size."
_LARGEST = "The largest elements of windows such that the result has a given size."
adaptive_avg_pool1d = _adaptive(1, reduce.reduce_mean, "adaptive_avg_pool1d", _MEANS)
adaptive_avg_pool2d = _adaptive(2, reduce.reduce_mean, "adaptive_avg_pool2d", _MEANS)
adaptive_max_pool1d = _adaptive(1, reduce.reduce_max, "adaptive_max_pool1d", _LARGEST)
adaptive_max_pool2d = _adaptive(2, reduce.reduce_max, "adaptive_max_pool2d", _LARGEST)
