"""`torch.autograd`: derivatives asked for by name.

Policy: PyTorch's rules: no path is an error unless `allow_unused` is given, and what was asked once is freed unless it
is to be kept.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.eager import tape
from graphflow.eager.creation import zeros_like
from graphflow.eager.tensor import REQUIRED, EagerTensor
from graphflow.errors import FailedPreconditionError, GradientLookupError, InvalidArgumentError, ShapeError, shown
from graphflow.gradients import listed


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The derivatives of the sum of `outputs` by each of `inputs`; `create_graph` lets them be differentiated again."""
    ys, xs = listed(outputs), listed(inputs)
    given = [None] * len(ys) if grad_outputs is None else listed(grad_outputs)
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
            raise InvalidArgumentError(
                "autograd.grad takes eager tensors", got=shown(x), hint="tf.gradients, in a graph"
            )
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


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
    """`backward` of several tensors."""
    several = listed(tensors)
    given = [None] * len(several) if grad_tensors is None else listed(grad_tensors)
    for i, (y, g) in enumerate(zip(several, given, strict=True)):
        tape.backward(y, g, retain_graph or i < len(several) - 1, create_graph)
