"""Initializers: objects that make the initial value of a variable from its shape and dtype.

Policy: TensorFlow 1's names, arguments, defaults and formulas.  Each is called as `(shape, dtype=None,
partition_info=None)`, by `get_variable` or by hand; `get_variable` also takes a class and makes an object of it.

State: none.
"""

from __future__ import annotations

import math as pymath
from typing import Any

import numpy as np

from graphflow import constants, dtypes
from graphflow.dtypes import DType, as_dtype
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.ops import array, core, math, random
from graphflow.tensor_shape import as_dims

TRUNCATION = 0.87962566103423978  # the standard deviation of a standard normal truncated at two sigma


def _floating(dtype: Any) -> DType:
    found = as_dtype(dtype)
    if not found.is_floating:
        raise DTypeError("Expected floating point type", expected="a floating dtype", got=found.name)
    return found


def _sizes(shape: Any) -> list[int]:
    """The complete shape as a list."""
    dims = as_dims(shape)
    if dims is None or None in dims:
        raise ShapeError("an initializer needs a complete shape", got=str(shape))
    return [int(d or 0) for d in dims]


def _fans(sizes: list[int]) -> tuple[float, float]:
    """How many inputs and outputs a weight of that shape joins; the last two axes are inputs and outputs."""
    if not sizes:
        return 1, 1
    if len(sizes) == 1:
        return sizes[0], sizes[0]
    field = pymath.prod(sizes[:-2])
    return sizes[-2] * field, sizes[-1] * field


class Initializer:
    """Makes an initial value from a shape and a dtype."""

    dtype: DType

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """The initial value."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer."""
        return {k: v.name if isinstance(v, DType) else v for k, v in vars(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """An initializer with the arguments of `get_config`."""
        return cls(**config)

    def _dtype(self, dtype: Any) -> DType:
        return self.dtype if dtype is None else as_dtype(dtype)


class Zeros(Initializer):
    """Zeros."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Zeros of that shape."""
        return array.zeros(shape, self._dtype(dtype))


class Ones(Initializer):
    """Ones."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Ones of that shape."""
        return array.ones(shape, self._dtype(dtype))


class Constant(Initializer):
    """A given value: a number everywhere, or an array, whose last element fills what is left of the shape."""

    def __init__(self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False) -> None:
        if not (np.isscalar(value) or isinstance(value, (list, tuple, np.ndarray))):
            raise DTypeError(
                "Invalid type for initial value", expected="a number, a list or an array", got=repr(value)[:80]
            )
        self.value = value
        self.dtype = as_dtype(dtype)
        self.verify_shape = verify_shape

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None, verify_shape: bool | None = None
    ) -> Any:
        """The value in that shape."""
        verify = self.verify_shape if verify_shape is None else verify_shape
        dtype = self._dtype(dtype)
        if np.ndim(self.value) == 0 and not verify:
            return array.fill(shape, constants.convert_to_tensor(self.value, dtype))
        return core.constant(self.value, dtype, _sizes(shape), verify_shape=verify)


class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: Any = 0, maxval: Any = None, seed: Any = None, dtype: Any = dtypes.float32) -> None:
        self.minval = minval
        self.maxval = maxval
        self.seed = seed
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Random numbers of that shape."""
        return random.random_uniform(shape, self.minval, self.maxval, self._dtype(dtype), self.seed)


class RandomNormal(Initializer):
    """Normally distributed."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 1.0, seed: Any = None, dtype: Any = dtypes.float32) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = seed
        self.dtype = _floating(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Random numbers of that shape."""
        return random.random_normal(shape, self.mean, self.stddev, self._dtype(dtype), self.seed)


class TruncatedNormal(RandomNormal):
    """Normally distributed, never further than two standard deviations from the mean."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Random numbers of that shape."""
        return random.truncated_normal(shape, self.mean, self.stddev, self._dtype(dtype), self.seed)


class UniformUnitScaling(Initializer):
    """Uniform, scaled so that a product with a weight of that shape keeps the variance."""

    def __init__(self, factor: float = 1.0, seed: Any = None, dtype: Any = dtypes.float32) -> None:
        self.factor = factor
        self.seed = seed
        self.dtype = _floating(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Random numbers of that shape."""
        inputs = max(float(pymath.prod(_sizes(shape)[:-1])), 1.0)
        limit = pymath.sqrt(3 / inputs) * self.factor
        return random.random_uniform(shape, -limit, limit, self._dtype(dtype), self.seed)


class VarianceScaling(Initializer):
    """Random, with the variance `scale / n`, where n is the number of inputs, of outputs, or their mean."""

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        if scale <= 0.0:
            raise InvalidArgumentError("`scale` must be positive", got=repr(scale))
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise InvalidArgumentError("Invalid `mode` argument", expected="fan_in, fan_out or fan_avg", got=repr(mode))
        distribution = str(distribution).lower()
        if distribution not in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
            raise InvalidArgumentError(
                "Invalid `distribution` argument",
                expected="truncated_normal (or normal), untruncated_normal or uniform",
                got=repr(distribution),
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = seed
        self.dtype = _floating(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Random numbers of that shape."""
        fan_in, fan_out = _fans(_sizes(shape))
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        scale = self.scale / max(1.0, count)
        dtype = self._dtype(dtype)
        if self.distribution == "uniform":
            limit = pymath.sqrt(3.0 * scale)
            return random.random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random.random_normal(shape, 0.0, pymath.sqrt(scale), dtype, self.seed)
        return random.truncated_normal(shape, 0.0, pymath.sqrt(scale) / TRUNCATION, dtype, self.seed)


class _Glorot(VarianceScaling):
    """Variance scaling with two arguments only."""

    DISTRIBUTION = ""

    def __init__(self, seed: Any = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", self.DISTRIBUTION, seed, dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer."""
        return {"seed": self.seed, "dtype": self.dtype.name}


class GlorotUniform(_Glorot):
    """Uniform in plus and minus sqrt(6 / (inputs + outputs)): Xavier Glorot's."""

    DISTRIBUTION = "uniform"


class GlorotNormal(_Glorot):
    """Truncated normal with the variance 2 / (inputs + outputs)."""

    DISTRIBUTION = "truncated_normal"


class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, times `gain`; all axes but the last are rows."""

    def __init__(self, gain: float = 1.0, seed: Any = None, dtype: Any = dtypes.float32) -> None:
        self.gain = gain
        self.seed = seed
        self.dtype = _floating(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """A random matrix in that shape."""
        sizes = _sizes(shape)
        if len(sizes) < 2:
            raise ShapeError("The tensor to initialize must be at least two-dimensional", got=str(sizes))
        matrix = random.random_orthogonal(pymath.prod(sizes[:-1]), sizes[-1], self._dtype(dtype), self.seed)
        return math.multiply(array.reshape(matrix, sizes), self.gain)


class Identity(Initializer):
    """The identity matrix times `gain`; for square and other matrices."""

    def __init__(self, gain: float = 1.0, dtype: Any = dtypes.float32) -> None:
        self.gain = gain
        self.dtype = _floating(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """The identity in that shape."""
        sizes = _sizes(shape)
        if len(sizes) != 2:
            raise ShapeError("Identity matrix initializer can only be used for 2D matrices.", got=str(sizes))
        return core.constant(np.eye(sizes[0], sizes[1]) * self.gain, self._dtype(dtype))


class ContribVarianceScaling(Initializer):
    """`tf.contrib.layers.variance_scaling_initializer`: VarianceScaling with contrib's arguments."""

    def __init__(
        self,
        factor: float = 2.0,
        mode: str = "FAN_IN",
        uniform: bool = False,
        seed: Any = None,
        dtype: Any = dtypes.float32,
    ) -> None:
        if mode not in ("FAN_IN", "FAN_OUT", "FAN_AVG"):
            raise InvalidArgumentError("Unknown mode", expected="FAN_IN, FAN_OUT or FAN_AVG", got=repr(mode))
        self.factor = factor
        self.mode = mode
        self.uniform = uniform
        self.seed = seed
        self.dtype = _floating(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        """Random numbers of that shape."""
        fan_in, fan_out = _fans(_sizes(shape))
        count = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "FAN_AVG": (fan_in + fan_out) / 2}[self.mode]
        scale = self.factor / max(count, 1.0)
        dtype = self._dtype(dtype)
        if self.uniform:
            limit = pymath.sqrt(3.0 * scale)
            return random.random_uniform(shape, -limit, limit, dtype, self.seed)
        return random.truncated_normal(shape, 0.0, pymath.sqrt(1.3 * scale), dtype, self.seed)


def xavier_initializer(uniform: bool = True, seed: Any = None, dtype: Any = dtypes.float32) -> Initializer:
    """Xavier Glorot's initializer, as `tf.contrib.layers` has it."""
    return ContribVarianceScaling(1.0, "FAN_AVG", uniform, seed, dtype)


def he_normal(seed: Any = None) -> Initializer:
    """Truncated normal with the variance 2 / inputs."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: Any = None) -> Initializer:
    """Uniform with the variance 2 / inputs."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


def lecun_normal(seed: Any = None) -> Initializer:
    """Truncated normal with the variance 1 / inputs."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: Any = None) -> Initializer:
    """Uniform with the variance 1 / inputs."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


zeros_initializer = Zeros
ones_initializer = Ones
constant_initializer = Constant
random_uniform_initializer = RandomUniform
random_normal_initializer = RandomNormal
truncated_normal_initializer = TruncatedNormal
uniform_unit_scaling_initializer = UniformUnitScaling
variance_scaling_initializer = VarianceScaling
orthogonal_initializer = Orthogonal
identity_initializer = Identity
glorot_uniform_initializer = GlorotUniform
glorot_normal_initializer = GlorotNormal
xavier_initializer_conv2d = xavier_initializer
contrib_variance_scaling_initializer = ContribVarianceScaling

# as `tf.initializers` has them
zeros = Zeros
ones = Ones
constant = Constant
random_uniform = RandomUniform
random_normal = RandomNormal
truncated_normal = TruncatedNormal
uniform_unit_scaling = UniformUnitScaling
variance_scaling = VarianceScaling
orthogonal = Orthogonal
identity = Identity
glorot_uniform = GlorotUniform
glorot_normal = GlorotNormal
