"""Images in another resolution: `F.interpolate`, `F.pixel_shuffle`, `F.unfold`, `F.fold`.

Policy: PyTorch's argument names, modes and rules of where a pixel lies.  An interpolation takes one axis after the
other: each place of the result is a weighted sum of some places of the input (a row of `_MODES`).

State: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.eager.nn.margins import pad
from graphflow.eager.nn.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from graphflow.eager.nn.windows import LAYOUT, batched, pair
from graphflow.eager.placement import next_to
from graphflow.eager.storage import apart
from graphflow.errors import InvalidArgumentError, ShapeError, UnimplementedError, shown
from graphflow.ops import arrange, array, conv, core, index

Taps = list[tuple[Any, Any]]  # places of the input, and what each counts; None: all


class _Mode(NamedTuple):
    """A way to interpolate: for which numbers of axes, and from what."""

    ranks: tuple[int, ...]
    taps: Callable[[Any, int], Taps]  # of where the places of the result lie, and the size of the input
    centred: bool  # whether a pixel is an area, whose middle lies somewhere


def _nearest(at: Any, size: int) -> Taps:
    return [(np.clip(np.floor(at), 0, size - 1).astype(np.int64), None)]


def _linear(at: Any, size: int) -> Taps:
    at = np.clip(at, 0, None)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    share = at - low
    return [(low, 1.0 - share), (np.minimum(low + 1, size - 1), share)]


def _cubic(at: Any, size: int) -> Taps:
    low = np.floor(at).astype(np.int64)
    t, a = at - low, -0.75

    def near(d: Any) -> Any:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    shares = [far(t + 1), near(t), near(1 - t), far(2 - t)]
    return [(np.clip(low + n - 1, 0, size - 1), share) for n, share in enumerate(shares)]


_MODES = {
    "nearest": _Mode((1, 2, 3), _nearest, False),
    "nearest-exact": _Mode((1, 2, 3), lambda at, size: _nearest(at + 0.5, size), True),
    "linear": _Mode((1,), _linear, True),
    "bilinear": _Mode((2,), _linear, True),
    "trilinear": _Mode((3,), _linear, True),
    "bicubic": _Mode((2,), _cubic, True),
}


def _targets(x: Any, size: Any, scale_factor: Any) -> tuple[list[int], list[float | None]]:
    """The sizes of the result, and the scales if those are given."""
    rank = len(x.dims) - 2
    if (size is None) == (scale_factor is None):
        raise InvalidArgumentError("interpolate takes a size or a scale_factor", got=f"{size}, {scale_factor}")
    given = size if scale_factor is None else scale_factor
    each = list(given) if hasattr(given, "__iter__") else [given] * rank
    if len(each) != rank or any(n <= 0 for n in each):
        raise InvalidArgumentError(f"{rank} positive numbers are wanted, or one for all", got=shown(given))
    if not spec.is_concrete(x.dims[2:]):
        raise ShapeError("interpolate needs to know the size of the images", got=spec.describe(x.dims))
    if scale_factor is None:
        return [int(n) for n in each], [None] * rank
    return [math.floor(n * f) for n, f in zip(x.dims[2:], each, strict=True)], [1.0 / f for f in each]


@placed
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Images [batch, channels, ...] in another size."""
    if antialias:
        raise UnimplementedError("interpolate does not smooth", hint='mode="area" takes means')
    x: Any = core.convert_to_tensor(input)
    rank = len(x.dims) - 2
    if mode == "area" and rank in (1, 2):
        return (adaptive_avg_pool1d, adaptive_avg_pool2d)[rank - 1](x, _targets(x, size, scale_factor)[0])
    if mode not in _MODES or rank not in _MODES[mode].ranks:
        fitting = [repr(name) for name, kind in _MODES.items() if rank in kind.ranks]
        raise InvalidArgumentError(
            f"no such mode for {spec.describe(x.dims)}", expected=", ".join([*fitting, "'area'"]), got=shown(mode)
        )
    given = x
    sizes, scales = _targets(x, size, scale_factor)
    for axis, (wanted, scale) in enumerate(zip(sizes, scales, strict=True), 2):
        x = _along(x, axis, wanted, None if recompute_scale_factor else scale, mode, bool(align_corners))
    return apart(x, given)


def _along(x: Any, axis: int, wanted: int, scale: float | None, mode: str, corners: bool) -> Any:
    """One axis in another size."""
    kind, size = _MODES[mode], x.dims[axis]
    places = np.arange(wanted)
    if corners and kind.taps is not _nearest:
        at = places * ((size - 1) / (wanted - 1) if wanted > 1 else 0.0)
    else:
        step = size / wanted if scale is None else scale
        at = (places + 0.5) * step - 0.5 if kind.centred else places * step
    if wanted == size and np.array_equal(at, places):
        return x
    shape = [-1] + [1] * (len(x.dims) - axis - 1)
    found = None
    for where, share in kind.taps(at, size):
        part = index.gather(x, where, axis=axis)
        if share is not None:
            part = part * next_to(core.convert_to_tensor(share.astype(x.dtype.np).reshape(shape)), x)
        found = part if found is None else found + part
    return found


# -- channels and places ---------------------------------------------------------------------------------------------


def _known(x: Any, what: str) -> list[int]:
    """The last three sizes, which must be known."""
    if len(x.dims) < 3 or not spec.is_concrete(x.dims[-3:]):
        raise ShapeError(f"{what} takes images [..., channels, height, width]", got=spec.describe(x.dims))
    return list(x.dims[-3:])


def _moved(x: Any, sizes: Sequence[int], order: Sequence[int], last: Sequence[int]) -> Any:
    """The last three axes split into `sizes`, these in another order, and joined to `last`."""
    front = [-1] if len(x.dims) != 3 else []
    y = array.reshape(x, [*front, *sizes])
    y = arrange.transpose(y, [*range(len(front)), *[n + len(front) for n in order]])
    before = list(x.dims[:-3])
    return array.reshape(y, [*[-1 if d is None else d for d in before], *last])


@placed
def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """[..., c * r * r, h, w] becomes [..., c, h * r, w * r]."""
    x: Any = core.convert_to_tensor(input)
    r, (c, h, w) = upscale_factor, _known(x, "pixel_shuffle")
    if r < 1 or c % (r * r):
        raise InvalidArgumentError(
            "upscale_factor**2 divides the channels", expected=f"a multiple of {r * r}", got=str(c)
        )
    c //= r * r
    return apart(_moved(x, [c, r, r, h, w], [0, 3, 1, 4, 2], [c, h * r, w * r]), x)


@placed
def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """[..., c, h * r, w * r] becomes [..., c * r * r, h, w]."""
    x: Any = core.convert_to_tensor(input)
    r, (c, h, w) = downscale_factor, _known(x, "pixel_unshuffle")
    if r < 1 or h % r or w % r:
        raise InvalidArgumentError("downscale_factor divides height and width", got=f"{h} x {w} by {r}")
    return apart(_moved(x, [c, h // r, r, w // r, r], [0, 2, 4, 1, 3], [c * r * r, h // r, w // r]), x)


def _blocks(sizes: Sequence[int], kernel: Any, gaps: Any, margin: Any, steps: Any) -> list[int]:
    """How many windows there are along each axis."""
    found = [
        (n + 2 * m - d * (k - 1) - 1) // s + 1 for n, k, d, m, s in zip(sizes, kernel, gaps, margin, steps, strict=True)
    ]
    if min(found) < 1:
        raise ShapeError("the windows are larger than the images", got=f"{list(kernel)} over {list(sizes)}")
    return found


@placed
def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The windows of images as columns: [batch, channels * height * width of a window, windows]."""
    x, whole = batched(input, 4)
    kernel, gaps, steps = pair(kernel_size, "kernel_size"), pair(dilation, "dilation"), pair(stride, "stride")
    margin = pair(padding, "padding", 0)
    channels, height, width = _known(x, "unfold")
    rows, columns = _blocks((height, width), kernel, gaps, margin, steps)
    x = pad(x, [margin[1], margin[1], margin[0], margin[0]]) if any(margin) else x
    pieces = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * gaps[0], j * gaps[1]
            below, right = top + (rows - 1) * steps[0] + 1, left + (columns - 1) * steps[1] + 1
            pieces.append(x[:, :, top : below : steps[0], left : right : steps[1]])
    y = array.reshape(array.stack(pieces, 2), [-1, channels * len(pieces), rows * columns])
    return y if whole else array.squeeze(y, [0])


@placed
def fold(input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Images of columns, each a window, that are added where they overlap: what `unfold` does to gradients."""
    x, whole = batched(input, 3)
    sizes, kernel, gaps = pair(output_size, "output_size"), pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    steps, margin = pair(stride, "stride"), pair(padding, "padding", 0)
    rows, columns = _blocks(sizes, kernel, gaps, margin, steps)
    area = kernel[0] * kernel[1]
    if x.dims[1] is None or x.dims[1] % area or x.dims[2] not in (rows * columns, None):
        raise ShapeError(
            "fold takes a column for each window", expected=f"[batch, multiple of {area}, {rows * columns}]",
            got=spec.describe(x.dims),
        )  # fmt: skip
    channels = x.dims[1] // area
    images = array.reshape(x, [-1, area, rows, columns])
    count = images.dims[0] if images.dims[0] is not None else array.shape(images)[0]
    one_each = np.eye(area, dtype=x.dtype.np).reshape(*kernel, 1, area)
    y = conv.conv2d_backprop_input(
        [count, 1, *sizes], one_each, images, steps, [(m, m) for m in margin], data_format=LAYOUT, dilations=gaps
    )
    y = array.reshape(y, [-1, channels, *sizes])
    return y if whole else array.squeeze(y, [0])
