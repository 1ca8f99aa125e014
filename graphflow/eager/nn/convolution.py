"""Convolutions and pooling as modules: channels first.

Policy: PyTorch's names, argument names, defaults and initial values; what they compute is in `windows`.

State: the parameters of each module.
"""

from __future__ import annotations

from typing import Any

from graphflow.eager.nn import init, windows
from graphflow.eager.nn.module import Module
from graphflow.eager.nn.parameter import empty_parameter
from graphflow.errors import InvalidArgumentError, UnimplementedError


class _Convolution(Module):
    """What convolutions of any number of axes share."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise InvalidArgumentError(
                "groups divide the channels", expected=f"multiples of {groups}", got=f"{in_channels}, {out_channels}"
            )
        if padding_mode != "zeros":
            raise UnimplementedError("convolutions pad with zeros", got=repr(padding_mode), hint="tf.pad before it")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._sizes(kernel_size)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = empty_parameter((out_channels, in_channels // groups, *self.kernel_size), dtype, device)
        self.register_parameter("bias", empty_parameter((out_channels,), dtype, device) if bias else None)
        self.reset_parameters()

    def _sizes(self, kernel_size: Any) -> tuple[int, ...]:
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw the values anew: uniform within 1 / sqrt(inputs of an output)."""
        init.uniform_by_inputs(self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return _told(self, padding=self.padding, dilation=self.dilation)


def _told(layer: Any, **margins: Any) -> str:
    """Sizes as PyTorch prints them: what is usual is left out."""
    rank = len(layer.kernel_size)

    def each(given: Any) -> Any:
        return (given,) * rank if isinstance(given, int) else given

    told = [f"{layer.in_channels}, {layer.out_channels}", f"kernel_size={layer.kernel_size}"]
    told.append(f"stride={each(layer.stride)}")
    for name, given in margins.items():
        if each(given) != ((1,) if name == "dilation" else (0,)) * rank:
            told.append(f"{name}={each(given)}")
    told += [f"groups={layer.groups}"] if layer.groups != 1 else []
    return ", ".join(told + (["bias=False"] if layer.bias is None else []))


class Conv2d(_Convolution):
    """2-d convolution of images [batch, channels, height, width]."""

    def _sizes(self, kernel_size: Any) -> tuple[int, ...]:
        return windows.pair(kernel_size, "kernel_size")

    def forward(self, input: Any) -> Any:
        """The convolved images."""
        return windows.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv1d(_Convolution):
    """1-d convolution of sequences [batch, channels, length]."""

    def _sizes(self, kernel_size: Any) -> tuple[int, ...]:
        return windows.pair(kernel_size, "kernel_size")[:1] if isinstance(kernel_size, int) else (*kernel_size,)

    def forward(self, input: Any) -> Any:
        """The convolved sequences."""
        return windows.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(Module):
    """What `Conv2d` with these arguments does to gradients: images become larger."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = windows.pair(kernel_size, "kernel_size")
        self.stride, self.padding, self.dilation, self.output_padding = stride, padding, dilation, output_padding
        self.weight = empty_parameter((in_channels, out_channels // groups, *self.kernel_size), dtype, device)
        self.register_parameter("bias", empty_parameter((out_channels,), dtype, device) if bias else None)
        init.uniform_by_inputs(self.weight, self.bias)

    def forward(self, input: Any) -> Any:
        """The enlarged images."""
        return windows.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )

    def extra_repr(self) -> str:
        """Sizes."""
        return _told(self, padding=self.padding, output_padding=self.output_padding, dilation=self.dilation)


class MaxPool2d(Module):
    """The largest element of each window."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        """The pooled images."""
        return windows.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Any) -> Any:
        """The pooled images."""
        return windows.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding,
            self.ceil_mode, self.count_include_pad, self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Means over windows such that the result has a given size, which must divide the images' size."""

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        """The pooled images."""
        return windows.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        """The size."""
        return f"output_size={self.output_size}"
