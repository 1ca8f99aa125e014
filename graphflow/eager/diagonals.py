"""Diagonals and triangles of matrices in PyTorch's spelling.

Policy: compositions of the library's own ops; indices of triangles depend on sizes alone and are worked out at once.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.eager import pointwise
from graphflow.eager.calling import checked
from graphflow.eager.creation import leaf
from graphflow.eager.mode import placed
from graphflow.eager.rearranging import movedim, ravel, size_of
from graphflow.eager.reductions import axis_of
from graphflow.eager.storage import apart
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.ops import arrange, blocks, index

Function = Callable[..., Any]


@placed
def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two dimensions, as the last dimension."""
    first, second = axis_of(input, dim1), axis_of(input, dim2)
    if first == second or len(input.dims) < 2:
        raise InvalidArgumentError("a diagonal is one of two dimensions", got=f"{dim1} and {dim2}")
    x = movedim(input, (first, second), (-2, -1))
    cut = (Ellipsis, slice(None), slice(offset, None)) if offset >= 0 else (Ellipsis, slice(-offset, None), slice(None))
    return blocks.matrix_diag_part(x[cut] if offset else x)


@placed
def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices with the last dimension on their diagonals, zeros elsewhere."""
    made = blocks.matrix_diag(input)
    if offset:
        beside = [[0, offset], [offset, 0]] if offset > 0 else [[-offset, 0], [0, -offset]]
        made = arrange.pad(made, [[0, 0]] * (len(input.dims) - 1) + beside)
    return made if (dim1, dim2) == (-2, -1) else movedim(made, (-2, -1), (dim1, dim2))


@placed
def diag(input: Any, diagonal: int = 0) -> Any:
    """A matrix with the vector on a diagonal, or a copy of a diagonal of a matrix."""
    if len(input.dims) not in (1, 2):
        raise ShapeError("diag takes a vector or a matrix", got=f"shape {list(input.dims)}", hint="x.diagonal()")
    return diag_embed(input, diagonal) if len(input.dims) == 1 else apart(_diagonal(input, diagonal), input)


_diagonal = diagonal


@placed
def diagflat(input: Any, offset: int = 0) -> Any:
    """A matrix with all elements on a diagonal."""
    return diag_embed(ravel(input), offset)


def _triangle(places: Function, name: str) -> Function:
    def function(row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None) -> Any:
        found = dtypes.as_dtype(dtype)
        return leaf(np.stack(places(row, offset, col)).astype(found.np), found)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The rows and the columns of what {name[:4]} keeps of a matrix."
    return checked(function)


@placed
def with_diagonal(input: Any, fill_value: Any, wrap: bool = False) -> Any:
    """One value on the diagonal."""
    rows, columns = size_of(input, 0), size_of(input, -1)
    held = np.eye(rows, columns, dtype=bool)
    if wrap and rows > columns:
        held.reshape(-1)[:: columns + 1] = True
    return index.where(held, pointwise.as_scalar(fill_value, input), input)


METHODS: dict[str, Function] = {"diagonal": diagonal, "diag_embed": diag_embed, "diag": diag, "diagflat": diagflat}
FUNCTIONS: dict[str, Function] = {
    **METHODS, "triu_indices": _triangle(np.triu_indices, "triu_indices"),
    "tril_indices": _triangle(np.tril_indices, "tril_indices"),
}  # fmt: skip
IN_PLACE: dict[str, Function] = {"fill_diagonal": with_diagonal}
