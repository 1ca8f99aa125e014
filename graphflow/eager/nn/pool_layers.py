"""Pooling, padding and resampling as modules.

Policy: PyTorch's names, argument names and defaults; what they compute is in `pooling`, `margins` and `resampling`.

State: none but the arguments.
"""

from __future__ import annotations

from typing import Any, ClassVar

from graphflow.eager.nn import margins, pooling, resampling
from graphflow.eager.nn.applied import NEEDED, Applied

_WINDOW = {"kernel_size": NEEDED, "stride": None, "padding": 0}


class _Pool(Applied):
    """A pooling whose windows, unless a stride is given, lie side by side."""

    kernel_size: Any
    stride: Any

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if self.stride is None:
            self.stride = self.kernel_size


class _MaxPool(_Pool):
    arguments: ClassVar = {**_WINDOW, "dilation": 1, "return_indices": False, "ceil_mode": False}
    shown: ClassVar = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


class MaxPool1d(_MaxPool):
    """The largest element of each window of sequences."""

    function = staticmethod(pooling.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest element of each window of images."""

    function = staticmethod(pooling.max_pool2d)


class AvgPool1d(_Pool):
    """The mean of each window of sequences."""

    function = staticmethod(pooling.avg_pool1d)
    arguments: ClassVar = {**_WINDOW, "ceil_mode": False, "count_include_pad": True}
    shown: ClassVar = ("kernel_size", "stride", "padding")

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        for name in self.shown:
            value = getattr(self, name)
            setattr(self, name, (value,) if isinstance(value, int) else value)


class AvgPool2d(_Pool):
    """The mean of each window of images."""

    function = staticmethod(pooling.avg_pool2d)
    arguments: ClassVar = {**_WINDOW, "ceil_mode": False, "count_include_pad": True, "divisor_override": None}
    shown: ClassVar = ("kernel_size", "stride", "padding")


class _Adaptive(Applied):
    arguments: ClassVar = {"output_size": NEEDED}
    shown: ClassVar = ("output_size",)


class AdaptiveAvgPool1d(_Adaptive):
    """Means over windows such that the sequences get a given length."""

    function = staticmethod(pooling.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """Means over windows such that the images get a given size."""

    function = staticmethod(pooling.adaptive_avg_pool2d)


class AdaptiveMaxPool1d(_Adaptive):
    """The largest elements of windows such that the sequences get a given length."""

    function = staticmethod(pooling.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_Adaptive):
    """The largest elements of windows such that the images get a given size."""

    function = staticmethod(pooling.adaptive_max_pool2d)


# -- margins ---------------------------------------------------------------------------------------------------------


class _Pad(Applied):
    """A margin around the last axes."""

    function = staticmethod(margins.pad)
    arguments: ClassVar = {"padding": NEEDED}
    _rank, _mode = 2, "constant"
    padding: Any

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.padding = (self.padding,) * 2 * self._rank if isinstance(self.padding, int) else tuple(self.padding)

    def forward(self, input: Any) -> Any:
        """The input with a margin."""
        return margins.pad(input, self.padding, self._mode, getattr(self, "value", None))

    def extra_repr(self) -> str:
        """The sizes."""
        return str(self.padding)


class ZeroPad1d(_Pad):
    """A margin of zeros around sequences."""

    _rank = 1


class ZeroPad2d(_Pad):
    """A margin of zeros around images."""


class ConstantPad1d(_Pad):
    """A margin of one value around sequences."""

    arguments: ClassVar = {"padding": NEEDED, "value": NEEDED}
    _rank = 1

    def extra_repr(self) -> str:
        """Sizes and value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """A margin of one value around images."""

    _rank = 2


class ReflectionPad1d(_Pad):
    """A margin around sequences that mirrors them, without their ends."""

    _rank, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """A margin around images that mirrors them, without their edges."""

    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """A margin of the ends of sequences."""

    _rank, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """A margin of the edges of images."""

    _mode = "replicate"


# -- resampling ------------------------------------------------------------------------------------------------------


class Upsample(Applied):
    """Images in another size."""

    function = staticmethod(resampling.interpolate)
    arguments: ClassVar = {
        "size": None, "scale_factor": None, "mode": "nearest", "align_corners": None, "recompute_scale_factor": None,
    }  # fmt: skip

    def extra_repr(self) -> str:
        """Size or scale, and mode."""
        scale = self.scale_factor if not isinstance(self.scale_factor, int) else float(self.scale_factor)
        return f"{f'size={self.size}' if scale is None else f'scale_factor={scale}'}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images in another size, each pixel the nearest one."""

    arguments: ClassVar = {"size": None, "scale_factor": None, "mode": "nearest"}


class UpsamplingBilinear2d(Upsample):
    """Images in another size, between the corners of the old ones."""

    arguments: ClassVar = {"size": None, "scale_factor": None, "mode": "bilinear", "align_corners": True}


class PixelShuffle(Applied):
    """Channels become places: [..., c * r * r, h, w] becomes [..., c, h * r, w * r]."""

    function = staticmethod(resampling.pixel_shuffle)
    arguments: ClassVar = {"upscale_factor": NEEDED}
    shown: ClassVar = ("upscale_factor",)


class PixelUnshuffle(Applied):
    """Places become channels: [..., c, h * r, w * r] becomes [..., c * r * r, h, w]."""

    function = staticmethod(resampling.pixel_unshuffle)
    arguments: ClassVar = {"downscale_factor": NEEDED}
    shown: ClassVar = ("downscale_factor",)


class Unfold(Applied):
    """The windows of images as columns."""

    function = staticmethod(resampling.unfold)
    arguments: ClassVar = {"kernel_size": NEEDED, "dilation": 1, "padding": 0, "stride": 1}
    shown: ClassVar = tuple(arguments)


class Fold(Applied):
    """Images of columns, each a window, that are added where they overlap."""

    function = staticmethod(resampling.fold)
    arguments: ClassVar = {"output_size": NEEDED, "kernel_size": NEEDED, "dilation": 1, "padding": 0, "stride": 1}
    shown: ClassVar = tuple(arguments)
