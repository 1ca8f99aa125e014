"""Gradients held within bounds: `nn.utils.clip_grad_norm_` and `nn.utils.clip_grad_value_`.

Policy: PyTorch's names.  Gradients are changed where they lie, as PyTorch does it.

State: none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphflow.dtypes import float32
from graphflow.eager.calling import checked
from graphflow.eager.storage import overwrite, plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import NumericsError


def _with_gradients(parameters: Any) -> list[Any]:
    given: Iterable[EagerTensor] = [parameters] if isinstance(parameters, EagerTensor) else parameters
    return [p for p in given if p.grad is not None]


@checked
def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> EagerTensor:
    """Scale all gradients such that together they are no longer than `max_norm`; returns how long they were."""
    found = _with_gradients(parameters)
    lengths = [float(np.linalg.norm(plain_array(p.grad).ravel(), norm_type)) for p in found]
    total = float(np.linalg.norm(lengths, norm_type)) if lengths else 0.0
    if error_if_nonfinite and not math.isfinite(total):
        raise NumericsError("the gradients are not finite together", got=str(total))
    scale = min(1.0, max_norm / (total + 1e-6))
    for p in found:
        overwrite(p.grad, plain_array(p.grad) * p.dtype.type(scale))
    kind = found[0].dtype if found else float32
    return EagerTensor(np.asarray(total, kind.np), kind)


@checked
def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Hold every element of every gradient between -clip_value and clip_value."""
    for p in _with_gradients(parameters):
        overwrite(p.grad, np.clip(plain_array(p.grad), -clip_value, clip_value))
