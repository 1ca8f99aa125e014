"""Random functions of `torch.nn.functional`: whole channels dropped, samples of classes that gradients pass.

Policy: PyTorch's names, argument names and defaults; random numbers are the library's, so `manual_seed` decides them,
and in a graph each run draws its own.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import spec
from graphflow.eager.mode import placed
from graphflow.eager.placement import next_to
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError, ShapeError, shown
from graphflow.ops import array, core, index, math, nn, random, reduce
from graphflow.ops.softmax import softmax


def probability(p: Any) -> float:
    """A probability, as a number."""
    if not isinstance(p, (int, float, np.floating)) or not 0.0 <= p <= 1.0:
        raise InvalidArgumentError("p is a probability", expected="0 <= p <= 1", got=shown(p))
    return float(p)


def dropped(x: Any, p: float, noise_shape: Any = None) -> Any:
    """Dropout; on another device by what is drawn on the CPU, so that the same elements are dropped."""
    if not isinstance(x, EagerTensor) or x.device == "cpu":
        return nn.dropout(x, rate=p, noise_shape=noise_shape)
    ones = EagerTensor(np.ones(x.dims, x.dtype.np), x.dtype)
    return x * next_to(nn.dropout(ones, rate=p, noise_shape=noise_shape), x)


def _dropped_channels(name: str, ranks: tuple[int, int]) -> Callable[..., Any]:
    """The dropout of all of a channel: the last axes share what is drawn."""

    @placed
    def function(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        p = probability(p)
        x: Any = core.convert_to_tensor(input)
        if len(x.dims) not in ranks:
            raise ShapeError(name, expected=" or ".join(f"rank {r}" for r in ranks), got=spec.describe(x.dims))
        if not training or p == 0:
            return x
        if p == 1:
            return x * 0.0
        kept = len(x.dims) - (ranks[1] - 2)
        sizes = [array.shape(x)[i] if d is None else d for i, d in enumerate(x.dims[:kept])]
        return dropped(x, p, [*sizes, *[1] * (len(x.dims) - kept)])

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "While training each channel becomes 0 with probability p; the others are divided by 1 - p."
    return function


dropout1d = _dropped_channels("dropout1d", (2, 3))
dropout2d = _dropped_channels("dropout2d", (3, 4))
dropout3d = _dropped_channels("dropout3d", (4, 5))


@placed
def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """A soft sample of classes; `hard` gives the class itself, with the gradient of the soft one."""
    if tau <= 0:
        raise InvalidArgumentError("tau is positive", got=shown(tau))
    x: Any = core.convert_to_tensor(logits)
    least = float(np.finfo(x.dtype.np).tiny)
    drawn = math.maximum(random.random_uniform(array.shape(x), dtype=x.dtype), least)
    y = softmax((x - math.log(-math.log(drawn))) / float(tau), dim)
    if not hard:
        return y
    axis = spec.normal_axis(dim, len(x.dims))
    chosen = index.one_hot(reduce.argmax(y, axis), x.dims[axis], axis=axis, dtype=x.dtype)
    return core.stop_gradient(chosen - y) + y
