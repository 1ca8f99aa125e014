"""`torch.autograd`: derivatives asked for by name.

Policy: PyTorch's rules: no path is an error unless `allow_unused` is given, and what was asked once is freed unless it
is to be kept.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.eager import custom as function
from graphflow.eager import derivatives as functional
from graphflow.eager import tape
from graphflow.eager.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from graphflow.eager.creation import zeros_like
from graphflow.eager.custom import Function, once_differentiable
from graphflow.eager.derivatives import gradcheck, gradgradcheck
from graphflow.eager.nodes import Node
from graphflow.eager.recording import enable_grad, inference_mode, no_grad, set_grad_enabled
from graphflow.eager.tensor import REQUIRED, EagerTensor
from graphflow.errors import (
    FailedPreconditionError,
    GradientLookupError,
    InvalidArgumentError,
    ShapeError,
    UnimplementedError,
    shown,
)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The derivatives of the sum of `outputs` by each of `inputs`; `create_graph` lets them be differentiated again."""
    if is_grads_batched:
        raise UnimplementedError("gradients come one at a time here", hint="torch.autograd.functional.jacobian")
    if allow_unused is False and materialize_grads:
        raise InvalidArgumentError(
            "materialize_grads gives zeros for what allow_unused=False refuses", hint="leave allow_unused out"
        )
    ys, xs = tape.each_of(outputs), tape.each_of(inputs)
    given = [None] * len(ys) if grad_outputs is None else tape.each_of(grad_outputs)
    _check(ys, xs, given)
    tape.check_not_freed(ys)
    found, passed = tape.differentiate(ys, xs, given if grad_outputs is not None else None, create_graph)
    for number, g in enumerate(found):
        if g is None and not (allow_unused or materialize_grads):
            raise GradientLookupError(
                f"there is no path from the outputs to input {number}",
                got=shown(xs[number]),
                hint="allow_unused=True gives None for it",
            )
    if not (create_graph if retain_graph is None else retain_graph):
        tape.free(passed)
    if materialize_grads:
        found = [zeros_like(x) if g is None else g for g, x in zip(found, xs, strict=True)]
    return tuple(found)


def _check(ys: list[Any], xs: list[Any], given: list[Any]) -> None:
    for x in (*ys, *xs):
        if not isinstance(x, EagerTensor):
            raise InvalidArgumentError("autograd.grad takes eager tensors", got=shown(x), hint=tape.hint_for(x))
        if x.track != REQUIRED:
            raise FailedPreconditionError(
                "one of the tensors does not require gradients",
                got=shown(x),
                hint="x.requires_grad_(), before it is used",
            )
    for y, g in zip(ys, given, strict=False):
        if g is None and y.shape.numel() != 1:
            raise ShapeError(
                "grad() without grad_outputs takes scalars", got=f"shape {list(y.dims)}", hint="loss.sum()"
            )


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """`backward` of several tensors at once."""
    several = tape.each_of(tensors)
    given = [None] * len(several) if grad_tensors is None else tape.each_of(grad_tensors)
    if len(given) != len(several):
        raise InvalidArgumentError(
            "grad_tensors needs one entry for each tensor", expected=str(len(several)), got=str(len(given))
        )
    tape.backward_of(several, given, retain_graph, create_graph, inputs)


__all__ = [
    "Function", "Node", "backward", "detect_anomaly", "enable_grad", "function", "functional", "grad", "gradcheck",
    "gradgradcheck", "inference_mode", "is_anomaly_enabled", "no_grad", "once_differentiable", "set_detect_anomaly",
    "set_grad_enabled",
]  # fmt: skip
