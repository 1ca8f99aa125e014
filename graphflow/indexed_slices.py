"""`IndexedSlices`: the gradient of a gather, as rows and their numbers instead of a table of zeros.

Policy: it stands for the dense tensor in which `values[i]` is added to row `indices[i]`; duplicates add up.
Optimizers use the rows; everything else gets the dense tensor.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow.errors import FailedPreconditionError
from graphflow.tensor import Tensor

_densify: list[Callable[[IndexedSlices], Tensor]] = []


class IndexedSlices:
    """Rows `values` at `indices` of a tensor of shape `dense_shape` that is zero elsewhere."""

    __slots__ = ("dense_shape", "indices", "values")

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Any = None) -> None:
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape

    @property
    def dtype(self) -> Any:
        """The dtype of the rows."""
        return self.values.dtype

    @property
    def graph(self) -> Any:
        """The graph of the rows."""
        return self.values.graph

    @property
    def op(self) -> Any:
        """The op that makes the rows."""
        return self.values.op

    @property
    def name(self) -> str:
        """The name of the rows."""
        return self.values.name

    @property
    def device(self) -> str:
        """The device asked for."""
        return self.values.device

    def to_tensor(self) -> Tensor:
        """The dense tensor."""
        if self.dense_shape is None:
            raise FailedPreconditionError("the slices do not know the shape of the tensor they stand for", op=self.op)
        return _densify[0](self)

    _as_tensor = to_tensor

    def __repr__(self) -> str:
        return f"<tf.IndexedSlices values={self.values.name!r} indices={self.indices.name!r}>"


def bind_densify(function: Callable[[IndexedSlices], Tensor]) -> None:
    """Tell how rows become a dense tensor; called once by the vocabulary."""
    _densify[:] = [function]
