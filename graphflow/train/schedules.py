"""Learning rates that change with the global step.

Policy: TensorFlow 1's names, parameters and formulas.  Each schedule is a scalar tensor of the learning rate's dtype,
composed of ops under one name scope, so it is computed anew in every run.

State: none.
"""

from __future__ import annotations

import math as constants_of_nature
from collections.abc import Sequence
from typing import Any

from graphflow.constants import convert_to_tensor
from graphflow.dtypes import DType
from graphflow.errors import DTypeError, InvalidArgumentError
from graphflow.ops import arithmetic, array, casts, compare, core, index, math, random, reduce, trigonometry
from graphflow.tensor import Tensor


def _rate(learning_rate: Any) -> Tensor:
    rate = convert_to_tensor(learning_rate, name="learning_rate")
    if not rate.dtype.is_floating:
        raise DTypeError("a learning rate is a floating-point number", op=rate.op, got=rate.dtype.name)
    return rate


def _number(value: Any, dtype: DType) -> Tensor:
    """A parameter in the dtype of the learning rate: literals as they are, tensors cast."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return convert_to_tensor(float(value), dtype)
    found: Tensor = casts.cast(value, dtype)
    return found


def _step(global_step: Any, dtype: DType, what: str) -> Tensor:
    if global_step is None:
        hint = "tf.train.get_or_create_global_step()"
        raise InvalidArgumentError(f"global_step is required for {what}.", hint=hint)
    return _number(global_step, dtype)


def _progress(global_step: Any, decay_steps: Any, dtype: DType, staircase: bool, what: str) -> Tensor:
    """How many decay periods have passed; whole ones with `staircase`."""
    p: Tensor = _step(global_step, dtype, what) / _number(decay_steps, dtype)
    found: Tensor = arithmetic.floor(p) if staircase else p
    return found


def _limited(global_step: Any, decay_steps: Any, dtype: DType, what: str) -> Tensor:
    """The part of `decay_steps` that has passed, at most 1."""
    steps = _number(decay_steps, dtype)
    found: Tensor = arithmetic.minimum(_step(global_step, dtype, what), steps) / steps
    return found


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """learning_rate * decay_rate ** (global_step / decay_steps)."""
    with core.name_scope(name, "ExponentialDecay") as scope:
        rate = _rate(learning_rate)
        p = _progress(global_step, decay_steps, rate.dtype, staircase, "exponential_decay")
        return arithmetic.multiply(rate, math.pow(_number(decay_rate, rate.dtype), p), name=scope)


def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """learning_rate * exp(-decay_rate * global_step / decay_steps)."""
    with core.name_scope(name, "NaturalExpDecay") as scope:
        rate = _rate(learning_rate)
        p = _progress(global_step, decay_steps, rate.dtype, staircase, "natural_exp_decay")
        return arithmetic.multiply(rate, math.exp(-_number(decay_rate, rate.dtype) * p), name=scope)


def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """learning_rate / (1 + decay_rate * global_step / decay_steps)."""
    with core.name_scope(name, "InverseTimeDecay") as scope:
        rate = _rate(learning_rate)
        p = _progress(global_step, decay_steps, rate.dtype, staircase, "inverse_time_decay")
        return arithmetic.realdiv(rate, 1.0 + _number(decay_rate, rate.dtype) * p, name=scope)


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Any:
    """(learning_rate - end) * (1 - step / decay_steps) ** power + end; with `cycle`, in ever longer periods."""
    with core.name_scope(name, "PolynomialDecay") as scope:
        rate = _rate(learning_rate)
        end, exponent = _number(end_learning_rate, rate.dtype), _number(power, rate.dtype)
        if cycle:
            step, steps = _step(global_step, rate.dtype, "polynomial_decay"), _number(decay_steps, rate.dtype)
            # at step 0 the first period is under way, not the zeroth
            p = step / (steps * arithmetic.maximum(arithmetic.ceil(step / steps), 1.0))
        else:
            p = _limited(global_step, decay_steps, rate.dtype, "polynomial_decay")
        return arithmetic.add((rate - end) * math.pow(1.0 - p, exponent), end, name=scope)


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None) -> Any:
    """values[0] while x <= boundaries[0], values[1] while x <= boundaries[1], ..., then values[-1]."""
    if x is None:
        raise InvalidArgumentError("global_step is required for piecewise_constant.")
    if not isinstance(boundaries, (list, tuple)) or not isinstance(values, (list, tuple)):
        raise DTypeError("boundaries and values are lists", got=f"{boundaries!r}, {values!r}"[:100])
    if len(boundaries) != len(values) - 1:
        raise InvalidArgumentError(
            "The length of boundaries should be 1 less than the length of values",
            got=f"{len(boundaries)} boundaries, {len(values)} values",
        )
    with core.name_scope(name, "PiecewiseConstant") as scope:
        choices = array.stack(list(values))
        if not boundaries:
            return core.identity(choices[0], name=scope)
        x = convert_to_tensor(x)
        passed = compare.greater(x, array.stack([_boundary(b, x.dtype) for b in boundaries]))
        which = reduce.reduce_sum(casts.to_int32(passed))
        return core.identity(choices[which], name=scope)


piecewise_constant_decay = piecewise_constant


def _boundary(value: Any, dtype: DType) -> Tensor:
    found = convert_to_tensor(value, preferred=None if isinstance(value, Tensor) else dtype)
    if found.dtype is not dtype and dtype.is_integer and found.dtype.is_integer:
        found = casts.cast(found, dtype)
    if found.dtype is not dtype:
        raise DTypeError("boundaries have the dtype of x", expected=dtype.name, got=found.dtype.name)
    return found


def _wave(angle: Any) -> Any:
    """A cosine between 0 and 1, 1 at the start, 0 after pi."""
    return 0.5 * (1.0 + trigonometry.cos(constants_of_nature.pi * angle))


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, alpha: Any = 0.0, name: str | None = None
) -> Any:
    """Half a cosine from learning_rate to alpha * learning_rate."""
    with core.name_scope(name, "CosineDecay") as scope:
        rate = _rate(learning_rate)
        cosine = _wave(_limited(global_step, decay_steps, rate.dtype, "cosine_decay"))
        floor = _number(alpha, rate.dtype)
        return arithmetic.multiply(rate, (1.0 - floor) * cosine + floor, name=scope)


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: Any = 2.0,
    m_mul: Any = 1.0,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Any:
    """Half cosines one after the other, each `t_mul` times as long and `m_mul` times as high as the one before."""
    with core.name_scope(name, "SGDRDecay") as scope:
        rate = _rate(learning_rate)
        dtype = rate.dtype
        completed = _progress(global_step, first_decay_steps, dtype, False, "cosine_decay_restarts")
        if isinstance(t_mul, (int, float)):
            restart, inside = _equal_periods(completed) if t_mul == 1 else _periods(completed, _number(t_mul, dtype))
        else:
            growth = _number(t_mul, dtype)
            pairs = zip(_equal_periods(completed), _periods(completed, growth), strict=True)
            restart, inside = [index.where(compare.equal(growth, 1.0), a, b) for a, b in pairs]
        height = math.pow(_number(m_mul, dtype), restart)
        floor = _number(alpha, dtype)
        return arithmetic.multiply(rate, (1.0 - floor) * (height * _wave(inside)) + floor, name=scope)


def _equal_periods(completed: Any) -> tuple[Any, Any]:
    """The number of the period, and the part of it that has passed."""
    restart = arithmetic.floor(completed)
    return restart, completed - restart


def _periods(completed: Any, growth: Any) -> tuple[Any, Any]:
    """The same for periods that grow: their lengths are a geometric series."""
    restart = arithmetic.floor(math.log(1.0 - completed * (1.0 - growth)) / math.log(growth))
    length = math.pow(growth, restart)
    before = (1.0 - length) / (1.0 - growth)
    return restart, (completed - before) / length


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Any:
    """learning_rate * ((alpha + linear) * cosine + beta), where linear falls from 1 to 0."""
    with core.name_scope(name, "LinearCosineDecay") as scope:
        rate = _rate(learning_rate)
        done = _limited(global_step, decay_steps, rate.dtype, "linear_cosine_decay")
        cosine = _wave(2.0 * _number(num_periods, rate.dtype) * done)
        decayed = (_number(alpha, rate.dtype) + (1.0 - done)) * cosine + _number(beta, rate.dtype)
        return arithmetic.multiply(rate, decayed, name=scope)


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: Any = 1.0,
    variance_decay: Any = 0.55,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Any:
    """`linear_cosine_decay` with normal noise on its linear part, of variance initial / (1 + step) ** decay."""
    with core.name_scope(name, "NoisyLinearCosineDecay") as scope:
        rate = _rate(learning_rate)
        dtype = rate.dtype
        steps = _number(decay_steps, dtype)
        step = arithmetic.minimum(_step(global_step, dtype, "noisy_linear_cosine_decay"), steps)
        done = step / steps
        variance = _number(initial_variance, dtype) / math.pow(1.0 + step, _number(variance_decay, dtype))
        noisy = (1.0 - done) + math.sqrt(variance) * random.random_normal([], dtype=dtype)
        cosine = _wave(2.0 * _number(num_periods, dtype) * done)
        decayed = (_number(alpha, dtype) + noisy) * cosine + _number(beta, dtype)
        return arithmetic.multiply(rate, decayed, name=scope)
