"""Where the windows of convolutions and pooling lie on images, by TensorFlow's rules, and in which order axes stand.

Policy: sizes in, plain values out; nothing here knows what a window computes.

State: a bounded cache of geometry.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from numpy.typing import NDArray

Array = NDArray[Any]
Padding = str | Sequence[Sequence[int]]
Index = tuple[slice, ...]


class AxisWindow(NamedTuple):
    """A window along one spatial axis: output ``o``, tap ``j`` reads ``o*stride + j*dilation - before``."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    out: int

    def tap(self, j: int) -> tuple[slice, slice]:
        """The outputs for which tap ``j`` falls inside the input, and the inputs that it reads there."""
        offset = j * self.dilation - self.before
        first = max(0, -(offset // self.stride))
        last = min(self.out, (self.size - 1 - offset) // self.stride + 1)
        count = max(0, last - first)
        if not count:
            return slice(0, 0), slice(0, 0)
        start = first * self.stride + offset
        return slice(first, last), slice(start, start + (count - 1) * self.stride + 1, self.stride)


@functools.lru_cache(1024)
def taps_of(axis: AxisWindow) -> tuple[tuple[slice, slice], ...]:
    """What `tap` says of every tap."""
    return tuple([axis.tap(j) for j in range(axis.kernel)])


def window_axes(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: Padding
) -> tuple[AxisWindow, ...]:
    """The window of every spatial axis, with TensorFlow's rules for ``SAME`` and ``VALID``."""
    if isinstance(padding, str) and padding not in ("SAME", "VALID"):
        raise ValueError(f"padding must be 'SAME', 'VALID' or pairs of integers, got {padding!r}")
    axes = []
    for axis, (size, taps, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        extent = (taps - 1) * dilation + 1
        if padding == "SAME":
            out = -(-size // stride)
            before = max((out - 1) * stride + extent - size, 0) // 2
        else:
            before, after = (0, 0) if isinstance(padding, str) else padding[axis]
            padded = size + before + after
            if padded < extent:
                raise ValueError(
                    f"computed output size would be negative: spatial axis {axis} has {padded} elements with "
                    f"its padding, the window spans {extent}"
                )
            out = (padded - extent) // stride + 1
        axes.append(AxisWindow(size, taps, stride, dilation, before, out))
    return tuple(axes)


def window_taps(axes: Sequence[AxisWindow], leading: int = 1) -> Iterator[tuple[tuple[int, ...], Index, Index]]:
    """Each window position in order, the index of the outputs it reaches and that of the inputs it reads.

    ``leading`` axes come before the spatial ones. Positions that only ever see padding are left out.
    """
    per_axis = [taps_of(axis) for axis in axes]
    whole = (slice(None),) * leading
    for position in product(*(range(axis.kernel) for axis in axes)):
        pairs = [per_axis[axis][j] for axis, j in enumerate(position)]
        if all(target.stop for target, _ in pairs):
            yield position, whole + tuple(pair[0] for pair in pairs), whole + tuple(pair[1] for pair in pairs)


def is_channels_first(data_format: str) -> bool:
    """Whether the format names the channels right after the batch, as NCHW does."""
    return data_format[1] == "C"


def channels_last_sizes(sizes: Sequence[int] | Array, data_format: str) -> tuple[int, ...]:
    """The shape with the channels last."""
    batch, *rest = (int(size) for size in sizes)
    return (batch, *rest[1:], rest[0]) if is_channels_first(data_format) else (batch, *rest)


def own_sizes(sizes: Sequence[int], data_format: str) -> tuple[int, ...]:
    """The shape in the format's own order, from one with the channels last."""
    return (sizes[0], sizes[-1], *sizes[1:-1]) if is_channels_first(data_format) else tuple(sizes)
