"""Convolutions as modules: channels first.

Policy: PyTorch's names, argument names, defaults and initial values; what they compute is in `windows`.

State: the parameters of each module.
"""

from __future__ import annotations

import operator
from typing import Any

from graphflow.eager.calling import checked
from graphflow.eager.nn import init, windows
from graphflow.eager.nn.margins import pad
from graphflow.eager.nn.module import Module
from graphflow.eager.nn.parameter import empty_parameter
from graphflow.errors import DTypeError, InvalidArgumentError, shown

_MODES = ("zeros", "reflect", "replicate", "circular")


def _each(given: Any, rank: int, what: str, least: int) -> tuple[int, ...]:
    """One number for each axis."""
    numbers = list(given) if hasattr(given, "__iter__") else [given] * rank
    try:
        sizes = [operator.index(n) for n in numbers]
    except TypeError:
        sizes = []
    if len(sizes) != rank or min(sizes) < least:
        raise InvalidArgumentError(f"{what} is an integer >= {least}, or {rank} of them", got=shown(given))
    return tuple(sizes)


class _Convolution(Module):
    """What convolutions of `_rank` axes share; weights are [out, in / groups, ...], of transposed ones [in, ...]."""

    _rank = 2
    _transposed = False

    @checked
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
        if not all(hasattr(n, "__index__") for n in (in_channels, out_channels, groups)):
            raise DTypeError(
                "numbers of channels and groups are integers",
                got=", ".join(map(shown, (in_channels, out_channels, groups))),
            )
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise InvalidArgumentError(
                "groups divide the channels", expected=f"multiples of {groups}", got=f"{in_channels}, {out_channels}"
            )
        if padding_mode not in _MODES[: 1 if self._transposed else None]:
            raise InvalidArgumentError(
                "unknown padding_mode", expected=", ".join(map(repr, _MODES)), got=shown(padding_mode)
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _each(kernel_size, self._rank, "kernel_size", 1)
        self.stride, self.dilation = _each(stride, self._rank, "stride", 1), _each(dilation, self._rank, "dilation", 1)
        self.padding = padding if isinstance(padding, str) else _each(padding, self._rank, "padding", 0)
        self.padding_mode = padding_mode
        ends = (in_channels, out_channels // groups) if self._transposed else (out_channels, in_channels // groups)
        self.weight = empty_parameter((*ends, *self.kernel_size), dtype, device)
        self.register_parameter("bias", empty_parameter((out_channels,), dtype, device) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the values anew: uniform within 1 / sqrt(inputs of an output)."""
        init.uniform_by_inputs(self.weight, self.bias)

    def _with_margin(self, input: Any) -> tuple[Any, Any]:
        """The input, and what is still to be padded with zeros."""
        if self.padding_mode == "zeros" or self.padding == "valid":
            return input, self.padding
        pairs = windows.margins_of(self.padding, self.dilation, self.kernel_size)
        return pad(input, [n for both in reversed(pairs) for n in both], self.padding_mode), 0

    def extra_repr(self) -> str:
        """Sizes as PyTorch prints them: what is usual is left out."""
        told = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        for name, usual in (("padding", 0), ("output_padding", 0), ("dilation", 1)):
            given = getattr(self, name, (usual,) * self._rank)
            told += [f"{name}={given}"] if given != (usual,) * self._rank else []
        told += [f"groups={self.groups}"] if self.groups != 1 else []
        told += ["bias=False"] if self.bias is None else []
        return ", ".join(told + ([f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []))


class Conv1d(_Convolution):
    """1-d convolution of sequences [batch, channels, length]."""

    _rank = 1

    def forward(self, input: Any) -> Any:
        """The convolved sequences."""
        x, padding = self._with_margin(input)
        return windows.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Convolution):
    """2-d convolution of images [batch, channels, height, width]."""

    def forward(self, input: Any) -> Any:
        """The convolved images."""
        x, padding = self._with_margin(input)
        return windows.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _Transposed(_Convolution):
    """What a convolution with these arguments does to gradients."""

    _transposed = True

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
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, **options)
        self.output_padding = _each(output_padding, self._rank, "output_padding", 0)

    def _enlarged(self, function: Any, input: Any) -> Any:
        return function(
            input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class ConvTranspose1d(_Transposed):
    """What `Conv1d` with these arguments does to gradients: sequences become longer."""

    _rank = 1

    def forward(self, input: Any) -> Any:
        """The longer sequences."""
        return self._enlarged(windows.conv_transpose1d, input)


class ConvTranspose2d(_Transposed):
    """What `Conv2d` with these arguments does to gradients: images become larger."""

    def forward(self, input: Any) -> Any:
        """The enlarged images."""
        return self._enlarged(windows.conv_transpose2d, input)
