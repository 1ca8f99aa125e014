"""Activation functions of `torch.nn.functional` that are made of others.

Policy: PyTorch's names, argument names and defaults; `inplace` is accepted and changes nothing.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.errors import ShapeError, shown
from graphflow.ops import activations, array, casts, compare, core, index, math


@placed
def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """A sigmoid of three straight lines: relu6(x + 3) / 6."""
    return activations.relu6(core.convert_to_tensor(input) + 3.0) / 6.0


@placed
def hardswish(input: Any, inplace: bool = False) -> Any:
    """x * relu6(x + 3) / 6."""
    x = core.convert_to_tensor(input)
    return x * activations.relu6(x + 3.0) / 6.0


@placed
def mish(input: Any, inplace: bool = False) -> Any:
    """x * tanh(softplus(x))."""
    x = core.convert_to_tensor(input)
    return x * math.tanh(activations.softplus(x))


@placed
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where positive, else alpha * (exp(x / alpha) - 1)."""
    x = core.convert_to_tensor(input)
    if alpha == 1.0:
        return activations.elu(x)
    below = activations.elu(math.minimum(x, 0.0) / float(alpha)) * float(alpha)
    return index.where(compare.greater(x, 0.0), x, below)


@placed
def glu(input: Any, dim: int = -1) -> Any:
    """The first half of an axis times the sigmoid of the second half."""
    x: Any = core.convert_to_tensor(input)
    axis = spec.normal_axis(dim, len(x.dims))
    if x.dims[axis] is None or x.dims[axis] % 2:
        raise ShapeError("glu halves an axis", expected="an even size", got=shown(x.dims[axis]))
    first, second = array.split(x, 2, axis)
    return first * math.sigmoid(second)


@placed
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where above the threshold, else a value; NaN stays."""
    x = core.convert_to_tensor(input)
    return index.where(compare.less_equal(x, float(threshold)), array.zeros_like(x) + float(value), x)


@placed
def tanhshrink(input: Any) -> Any:
    """x - tanh(x)."""
    x = core.convert_to_tensor(input)
    return x - math.tanh(x)


@placed
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x, moved by lambd towards 0."""
    x = core.convert_to_tensor(input)
    return activations.relu(x - float(lambd)) - activations.relu(-x - float(lambd))


@placed
def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """x where |x| is above lambd, else 0."""
    x = core.convert_to_tensor(input)
    return x * core.stop_gradient(casts.cast(compare.greater(math.abs(x), float(lambd)), x.dtype))


@placed
def prelu(input: Any, weight: Any) -> Any:
    """x where positive, else x times a slope: one for all, or one for each channel along axis 1."""
    x: Any = core.convert_to_tensor(input)
    slope = core.convert_to_tensor(weight)
    if slope.dims not in ((), (1,)) and len(x.dims) > 2:
        slope = array.reshape(slope, [-1] + [1] * (len(x.dims) - 2))
    return index.where(compare.greater(x, 0.0), x, x * slope)
