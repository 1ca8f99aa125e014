"""Initial values: PyTorch's `nn.init`.

Policy: each function draws with the library's random ops, so `manual_seed` decides the values, writes them into the
tensor that it is given, and returns that tensor.  Nothing is recorded.

State: none; random streams belong to the eager graph.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from graphflow.eager.calling import checked
from graphflow.eager.engine import EAGER
from graphflow.eager.storage import overwrite, plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.traced import trace_here
from graphflow.errors import InvalidArgumentError, ShapeError, SymbolicUseError, shown
from graphflow.ops import random

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip


def __dir__() -> list[str]:
    return list(__all__)


_GAINS = {
    "linear": 1.0, "identity": 1.0, "sigmoid": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0,
    "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75,
}  # fmt: skip

_DRAWS = 100  # how often trunc_normal_ draws again; what then lies outside lies at the ends


def _drawing() -> AbstractContextManager[Any]:
    """Where values are drawn: at once, and not while a function is traced, which would not draw them again."""
    if trace_here() is not None:
        raise SymbolicUseError(
            "a traced function draws the values of a parameter, once and not again",
            hint="make modules and parameters outside",
        )
    return EAGER.as_default()


@checked
def uniform_(tensor: EagerTensor, a: float = 0.0, b: float = 1.0) -> EagerTensor:
    """Uniform between a and b."""
    with _drawing():
        overwrite(tensor, random.random_uniform(list(tensor.dims), float(a), float(b), dtype=tensor.dtype))
    return tensor


@checked
def normal_(tensor: EagerTensor, mean: float = 0.0, std: float = 1.0) -> EagerTensor:
    """Normal with that mean and standard deviation."""
    with _drawing():
        overwrite(tensor, random.random_normal(list(tensor.dims), float(mean), float(std), dtype=tensor.dtype))
    return tensor


@checked
def trunc_normal_(
    tensor: EagerTensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> EagerTensor:
    """Normal with that mean and standard deviation; what lies outside of a ... b is drawn again."""
    if not a < b:
        raise InvalidArgumentError("a is less than b", got=f"{a}, {b}")
    normal_(tensor, mean, std)
    values = np.array(plain_array(tensor))
    for _ in range(_DRAWS):
        outside = (values < a) | (values > b)
        if not outside.any():
            break
        values = np.where(outside, plain_array(normal_(tensor, mean, std)), values)
    overwrite(tensor, np.clip(values, a, b))
    return tensor


@checked
def dirac_(tensor: EagerTensor, groups: int = 1) -> EagerTensor:
    """Filters of a convolution that let every channel pass as it is."""
    rows, _ = _matrix(tensor)
    if len(tensor.dims) not in (3, 4, 5) or rows % groups:
        raise ShapeError(
            "dirac_ fills filters", expected=f"rank 3, 4 or 5, and rows in {groups} groups", got=str(list(tensor.dims))
        )
    values = np.zeros(tensor.dims, tensor.dtype.np)
    middle = tuple(n // 2 for n in tensor.dims[2:])
    for row in range(rows):
        if row % (rows // groups) < tensor.dims[1]:
            values[(row, row % (rows // groups), *middle)] = 1
    overwrite(tensor, values)
    return tensor


@checked
def constant_(tensor: EagerTensor, val: float) -> EagerTensor:
    """One value everywhere."""
    overwrite(tensor, np.full(tensor.dims, val, tensor.dtype.np))
    return tensor


@checked
def zeros_(tensor: EagerTensor) -> EagerTensor:
    """Zeros."""
    return constant_(tensor, 0)


@checked
def ones_(tensor: EagerTensor) -> EagerTensor:
    """Ones."""
    return constant_(tensor, 1)


@checked
def eye_(tensor: EagerTensor) -> EagerTensor:
    """The identity matrix."""
    rows, columns = _matrix(tensor)
    overwrite(tensor, np.eye(rows, columns, dtype=tensor.dtype.np))
    return tensor


@checked
def orthogonal_(tensor: EagerTensor, gain: float = 1.0) -> EagerTensor:
    """Rows, or columns, that are orthonormal; further axes are taken as columns."""
    rows, columns = _matrix(tensor)
    with _drawing():
        drawn = random.random_orthogonal(rows, columns, tensor.dtype)
        overwrite(tensor, gain * drawn.numpy().reshape(tensor.dims))
    return tensor


def _matrix(tensor: EagerTensor) -> tuple[int, int]:
    if len(tensor.dims) < 2:
        raise ShapeError("this needs a matrix", expected="rank 2 or more", got=str(list(tensor.dims)))
    return tensor.dims[0], math.prod(tensor.dims[1:])


def _fans(tensor: EagerTensor) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input has."""
    rows, columns = _matrix(tensor)
    return columns, rows * math.prod(tensor.dims[2:])


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much a function shrinks a signal, to be made up for; `param` is the slope of a leaky ReLU."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else float(param)) ** 2))
    if nonlinearity not in _GAINS:
        raise InvalidArgumentError("unknown function", expected=", ".join((*_GAINS, "leaky_relu")), got=nonlinearity)
    return _GAINS[nonlinearity]


@checked
def xavier_uniform_(tensor: EagerTensor, gain: float = 1.0) -> EagerTensor:
    """Uniform, with a variance of 2 / (inputs + outputs)."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


@checked
def xavier_normal_(tensor: EagerTensor, gain: float = 1.0) -> EagerTensor:
    """Normal, with a variance of 2 / (inputs + outputs)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))))


def _kaiming(tensor: EagerTensor, a: float, mode: str, nonlinearity: str) -> float:
    """The standard deviation that keeps that of the signal."""
    if mode not in ("fan_in", "fan_out"):
        raise InvalidArgumentError('mode is "fan_in" or "fan_out"', got=shown(mode))
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[mode == "fan_out"])


@checked
def kaiming_uniform_(
    tensor: EagerTensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> EagerTensor:
    """Uniform, with the variance that keeps that of the signal through layers with ReLU."""
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


@checked
def kaiming_normal_(
    tensor: EagerTensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> EagerTensor:
    """Normal, with the variance that keeps that of the signal through layers with ReLU."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity))


def uniform_by_inputs(weight: EagerTensor, bias: EagerTensor | None) -> None:
    """What linear layers and convolutions start with: uniform within 1 / sqrt(inputs)."""
    inputs = _fans(weight)[0]
    if inputs:
        kaiming_uniform_(weight, math.sqrt(5.0))
        if bias is not None:
            uniform_(bias, -1.0 / math.sqrt(inputs), 1.0 / math.sqrt(inputs))
