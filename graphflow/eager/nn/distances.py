"""Lengths, angles and distances of vectors, and the losses that are made of them.

Policy: PyTorch's names, argument names and defaults, over the library's ops.

State: none.
"""

from __future__ import annotations

import math as scalar
from typing import Any

from graphflow.eager.mode import placed
from graphflow.eager.nn.losses import class_numbers, picked, reduced
from graphflow.eager.reductions import norm
from graphflow.errors import InvalidArgumentError, shown
from graphflow.ops import activations, array, casts, compare, core, index, math, reduce


@placed
def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """Vectors along an axis, divided by their length."""
    x = core.convert_to_tensor(input)
    return x / math.maximum(norm(x, p, dim, True), float(eps))


@placed
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along an axis."""
    x, y = core.convert_to_tensor(x1), core.convert_to_tensor(x2)
    lengths = [math.maximum(norm(v, 2, dim, True), float(eps)) for v in (x, y)]
    return reduce.reduce_sum((x / lengths[0]) * (y / lengths[1]), dim)


@placed
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The length of x1 - x2 + eps along the last axis."""
    return norm(core.convert_to_tensor(x1) - x2 + float(eps), p, -1, keepdim)


# -- losses ----------------------------------------------------------------------------------------------------------


def _where(condition: Any, x: Any) -> Any:
    """x where the condition holds, else 0."""
    return index.zero_unless(condition, x)


@placed
def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """1 - cosine of pairs that belong together (target 1), max(0, cosine - margin) of those that do not (-1)."""
    x, t = core.convert_to_tensor(input1), core.convert_to_tensor(target)
    cosine = cosine_similarity(x, input2, len(x.dims or ()) - 1)
    alike = _where(compare.equal(t, core.constant(1, t.dtype)), 1.0 - cosine)
    apart = _where(compare.equal(t, core.constant(-1, t.dtype)), activations.relu(cosine - float(margin)))
    return reduced(alike + apart, reduction)


@placed
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """max(0, distance to what is alike - distance to what is not + margin)."""
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = math.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(activations.relu(near - far + float(margin)), reduction)


@placed
def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """max(0, -target * (input1 - input2) + margin): with target 1 the first one is to be larger."""
    x = core.convert_to_tensor(input1)
    return reduced(activations.relu(-_as(target, x) * (x - input2) + float(margin)), reduction)


@placed
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """The input where the target is 1, max(0, margin - input) where it is -1."""
    x, t = core.convert_to_tensor(input), core.convert_to_tensor(target)
    alike = _where(compare.equal(t, core.constant(1, t.dtype)), x)
    apart = _where(compare.equal(t, core.constant(-1, t.dtype)), activations.relu(float(margin) - x))
    return reduced(alike + apart, reduction)


@placed
def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """log(1 + exp(-target * input))."""
    x = core.convert_to_tensor(input)
    return reduced(activations.softplus(-_as(target, x) * x), reduction)


@placed
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """Minus the logarithm of a normal density with these means and variances."""
    x = core.convert_to_tensor(input)
    v = core.convert_to_tensor(float(var) if isinstance(var, (int, float)) else var)
    v = v + core.stop_gradient(activations.relu(float(eps) - v))  # the gradient passes where the variance is held
    if v.dims is not None and x.dims is not None and len(v.dims) == len(x.dims) - 1:
        v = array.expand_dims(v, -1)
    losses = 0.5 * (math.log(v) + math.squared_difference(x, _as(target, x)) / v)
    return reduced(losses + 0.5 * scalar.log(2.0 * scalar.pi) if full else losses, reduction)


@placed
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """Minus the logarithm of a Poisson probability; the input is the rate or its logarithm."""
    x = core.convert_to_tensor(input)
    t = _as(target, x)
    losses = math.exp(x) - t * x if log_input else x - t * math.log(x + float(eps))
    if full:
        above = math.maximum(t, 1.0)
        stirling = above * math.log(above) - above + 0.5 * math.log(2.0 * scalar.pi * above)
        losses = losses + _where(compare.greater(t, 1.0), stirling)
    return reduced(losses, reduction)


@placed
def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Any:
    """The mean over the other classes of max(0, margin - right class + other class)**p."""
    if p not in (1, 2):
        raise InvalidArgumentError("p is 1 or 2", got=shown(p))
    x: Any = core.convert_to_tensor(input)
    t = class_numbers(target, x)
    wrong = 1.0 - index.one_hot(t, x.dims[-1], dtype=x.dtype)
    losses = activations.relu(float(margin) - array.expand_dims(picked(x, t), -1) + x) * wrong
    losses = math.square(losses) if p == 2 else losses
    losses = losses if weight is None else losses * array.expand_dims(index.gather(weight, t), -1)
    return reduced(reduce.reduce_mean(losses, -1), reduction)


def _as(target: Any, x: Any) -> Any:
    """The target in the dtype of the input."""
    t = core.convert_to_tensor(target)
    return t if t.dtype is x.dtype else casts.cast(t, x.dtype)
