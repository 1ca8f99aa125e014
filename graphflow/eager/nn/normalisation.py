"""Normalisation as modules: by the batch, by the example, by the layer.

Policy: PyTorch's names and defaults.  While training, the running statistics follow those of the batch; computed at
once they are written where they lie, in a graph they are variables, written whenever the output is computed.

State: parameters and running statistics of each module.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphflow import dtypes, spec
from graphflow.eager.adoption import variable_of
from graphflow.eager.mode import computes
from graphflow.eager.nn import functional, init
from graphflow.eager.nn.module import Module
from graphflow.eager.nn.parameter import empty_parameter, place_of
from graphflow.eager.recording import no_grad
from graphflow.eager.storage import overwrite, relocate
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.graph import get_default_graph
from graphflow.ops import array, casts, core, normalize, reduce, state


def _buffer(values: Any, dtype: Any, device: Any = None) -> EagerTensor:
    made = EagerTensor(np.array(values, dtype.np), dtype)
    if device is not None:
        relocate(made, place_of(device))
    return made


class _BatchNorm(Module):
    """Batch normalisation of any number of axes; channels are axis 1."""

    _ranks: tuple[int, ...] = ()
    _counts = True  # whether num_batches_tracked is kept

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        kind = dtypes.float32 if dtype is None else dtypes.as_dtype(dtype)
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, empty_parameter((num_features,), kind, device) if wanted else None)
        kept = track_running_stats
        self.register_buffer("running_mean", _buffer(np.zeros(num_features), kind, device) if kept else None)
        self.register_buffer("running_var", _buffer(np.ones(num_features), kind, device) if kept else None)
        self.register_buffer("num_batches_tracked", _buffer(0, dtypes.int64) if kept else None)
        if affine:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Any:
        """The normalised input."""
        x = self._checked(input)
        if not self.training or not self.track_running_stats:
            batch = self.training or not self.track_running_stats
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, batch, eps=self.eps
            )
        mean, variance = functional.channel_moments(x)
        x = _after(x, self._follow(x, mean, variance, 1))
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps)

    def _checked(self, input: Any) -> Any:
        """The input, which has as many channels as there are statistics."""
        x: Any = core.convert_to_tensor(input)
        if x.dims is None or len(x.dims) not in self._ranks:
            ranks = " or ".join(map(str, self._ranks))
            raise ShapeError(f"{type(self).__name__}", expected=f"rank {ranks}", got=spec.describe(x.dims))
        if x.dims[1] not in (self.num_features, None):
            raise ShapeError(
                f"{type(self).__name__}", expected=f"{self.num_features} channels along axis 1", got=str(list(x.dims))
            )
        return x

    def _follow(self, x: Any, mean: Any, variance: Any, parts: Any) -> list[Any] | None:
        """Move the running statistics towards those of a batch of `parts`; in a graph, the ops that do."""
        number = math.prod(d for d in (x.dims[0] if parts == 1 else 1, *x.dims[2:]) if d is not None)
        if number == 1 and None not in x.dims:
            raise InvalidArgumentError(
                "one value per channel has no variance", got=spec.describe(x.dims), hint="a larger batch, or eval()"
            )
        with no_grad():
            count = casts.cast(array.size(x) // parts, x.dtype) / float(self.num_features)
            unbiased = core.stop_gradient(variance) * (count / (count - 1.0))
            batches = self.num_batches_tracked + 1
            share = 1.0 / casts.cast(batches, x.dtype) if self.momentum is None else self.momentum
            new = {
                "running_mean": self.running_mean + (core.stop_gradient(mean) - self.running_mean) * share,
                "running_var": self.running_var + (unbiased - self.running_var) * share,
            }
            if self._counts:
                new["num_batches_tracked"] = batches
            if computes():
                for name, values in new.items():
                    overwrite(self._buffers[name], values)
                return None
            graph = state.outermost(get_default_graph())
            return [state.assign(variable_of(graph, self._buffers[name]), values) for name, values in new.items()]

    def extra_repr(self) -> str:
        """Sizes."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


def _after(x: Any, written: list[Any] | None) -> Any:
    """The tensor, which in a graph is there once these ops are done."""
    if written is None:
        return x
    with core.control_dependencies(written):
        return core.identity(x)


class BatchNorm1d(_BatchNorm):
    """Normalises each feature of [batch, features], or each channel of [batch, channels, length]."""

    _ranks = 2, 3


class BatchNorm2d(_BatchNorm):
    """Normalises each channel of images [batch, channels, height, width]."""

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalises each channel of volumes [batch, channels, depth, height, width]."""

    _ranks = (5,)


class _InstanceNorm(_BatchNorm):
    """Normalisation of each channel of each example."""

    _counts = False

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, input: Any) -> Any:
        """The normalised input."""
        x = self._checked(input)
        if self.track_running_stats and not self.training:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if self.track_running_stats:
            means, variances = normalize.moments(x, list(range(2, len(x.dims))))
            parts = array.shape(x)[0] if x.dims[0] is None else x.dims[0]
            x = _after(x, self._follow(x, reduce.reduce_mean(means, 0), reduce.reduce_mean(variances, 0), parts))
        return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each of the sequences [batch, channels, length]."""

    _ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each of the images [batch, channels, height, width]."""

    _ranks = (4,)


def _learn(module: Module, sizes: Any, affine: bool, bias: bool, dtype: Any, device: Any) -> None:
    """Give a module what it multiplies by, ones at first, and what it adds, or None where it has none."""
    for name, wanted in (("weight", affine), ("bias", affine and bias)):
        module.register_parameter(name, empty_parameter(sizes, dtype, device) if wanted else None)
    if affine:
        init.ones_(module.weight)


class GroupNorm(Module):
    """Normalises each group of channels of each example."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise InvalidArgumentError(
                "num_groups divides num_channels", expected=f"a multiple of {num_groups}", got=str(num_channels)
            )
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        _learn(self, (num_channels,), affine, bias, dtype, device)

    def forward(self, input: Any) -> Any:
        """The normalised input."""
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Sizes."""
        told = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
        return f"{told}, bias={self.bias is not None}"


class LayerNorm(Module):
    """Normalises over the last axes, whose sizes are `normalized_shape`."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes = normalized_shape if hasattr(normalized_shape, "__iter__") else (normalized_shape,)
        self.normalized_shape, self.eps, self.elementwise_affine = tuple(sizes), eps, elementwise_affine
        _learn(self, self.normalized_shape, elementwise_affine, bias, dtype, device)

    def forward(self, input: Any) -> Any:
        """The normalised input."""
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Sizes."""
        told = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{told}, bias={self.bias is not None}"


class RMSNorm(Module):
    """Divides by the root of the mean square over the last axes, whose sizes are `normalized_shape`."""

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        sizes = normalized_shape if hasattr(normalized_shape, "__iter__") else (normalized_shape,)
        self.normalized_shape, self.eps, self.elementwise_affine = tuple(sizes), eps, elementwise_affine
        self.register_parameter(
            "weight", empty_parameter(self.normalized_shape, dtype, device) if elementwise_affine else None
        )
        if elementwise_affine:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Any:
        """The scaled input."""
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
