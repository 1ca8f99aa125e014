"""Parameters as one vector, and back: `nn.utils.parameters_to_vector` and `nn.utils.vector_to_parameters`.

Policy: PyTorch's names.  The vector is computed from the parameters, so gradients flow through it; the way back writes
into the parameters and is not recorded.

State: none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphflow.eager.mode import placed
from graphflow.eager.storage import overwrite, plain_array
from graphflow.errors import ShapeError
from graphflow.ops import array


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All parameters, one after another, as one vector."""
    return _joined(list(parameters))


@placed
def _joined(tensors: Any) -> Any:
    return array.concat([array.reshape(x, [-1]) for x in tensors], 0)


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Cut a vector into pieces and write them into the parameters."""
    values, targets = plain_array(vec), list(parameters)
    wanted = sum(p.numel() for p in targets)
    if values.shape != (wanted,):
        raise ShapeError(
            "the vector has another length than the parameters", expected=f"[{wanted}]", got=str(list(values.shape))
        )
    at = 0
    for p in targets:
        overwrite(p, values[at : at + p.numel()].reshape(p.dims))
        at += p.numel()
