"""Products, diagonals and traces of matrices, in PyTorch's spelling.

Policy: a product takes tensors of the ranks and of the dtype that its name promises; the work is done by the library's
own ops.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow.eager.mode import placed
from graphflow.eager.promotion import countable, pair, promotes
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, shown
from graphflow.ops import arithmetic, array, blocks, contraction, linalg


def _same_dtype(a: Any, b: Any) -> None:
    if a.dtype is not b.dtype:
        raise DTypeError(
            "matrices of different dtypes are not multiplied",
            expected=a.dtype.name,
            got=b.dtype.name,
            hint=f"y.to({a.dtype.name})",
        )


@placed
def matmul(input: Any, other: Any) -> Any:
    """The matrix product; vectors count as a row on the left and as a column on the right; batches broadcast."""
    a, b = (input, other) if promotes(input) and promotes(other) else pair(input, other)
    ranks = len(a.dims), len(b.dims)
    if 0 in ranks:
        raise ShapeError("a scalar is no matrix", got=f"shapes {list(a.dims)} and {list(b.dims)}", hint="x * y")
    _same_dtype(a, b)
    if ranks[0] > 1 and ranks[1] > 1:
        return linalg.matmul(a, b)
    row = array.expand_dims(a, 0) if ranks[0] == 1 else a
    column = array.expand_dims(b, 1) if ranks[1] == 1 else b
    found = linalg.matmul(row, column)
    return array.squeeze(found, [axis for axis, rank in ((-2, ranks[0]), (-1, ranks[1])) if rank == 1])


def _check_ranks(a: Any, b: Any, ranks: tuple[int, int], name: str) -> None:
    if (len(a.dims), len(b.dims)) != ranks:
        raise ShapeError(
            f"{name} multiplies tensors of ranks {ranks[0]} and {ranks[1]}",
            got=f"shapes {list(a.dims)} and {list(b.dims)}",
            hint="torch.matmul takes vectors, matrices and batches",
        )


def _product(ranks: tuple[int, int], name: str) -> Callable[..., Any]:
    def function(input: Any, mat2: Any) -> Any:
        _check_ranks(input, mat2, ranks, name)
        return matmul(input, mat2)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The product of tensors of ranks {ranks[0]} and {ranks[1]}."
    return placed(function)


@placed
def outer(input: Any, vec2: Any) -> Any:
    """Each element of one vector times each of the other."""
    _check_ranks(input, vec2, (1, 1), "outer")
    return arithmetic.multiply(*pair(array.expand_dims(input, 1), array.expand_dims(vec2, 0)))


@placed
def einsum(equation: str, *operands: Any) -> Any:
    """Products and sums that are written as letters, such as "ij,jk->ik"."""
    several: Sequence[Any] = operands
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        several = operands[0]
    if not isinstance(equation, str):
        raise InvalidArgumentError(
            "einsum begins with its equation", got=shown(equation), hint='torch.einsum("ij,jk->ik", a, b)'
        )
    return contraction.einsum(equation.replace(" ", ""), *several)


@placed
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """The sum of products along the last dimensions of one and the first of the other, or along those named."""
    return contraction.tensordot(a, b, dims)


@placed
def diagonal_of(input: Any, diagonal: int = 0) -> Any:
    """A matrix with the vector on its diagonal, or the diagonal of a matrix."""
    if diagonal:
        raise InvalidArgumentError("diag knows the main diagonal only", got=str(diagonal))
    return blocks.diag(input) if len(input.dims) == 1 else blocks.matrix_diag_part(input)


@placed
def trace(input: Any) -> Any:
    """The sum of the diagonal of a matrix."""
    return linalg.trace(countable(input))


METHODS: dict[str, Callable[..., Any]] = {
    "matmul": matmul, "mm": _product((2, 2), "mm"), "bmm": _product((3, 3), "bmm"), "mv": _product((2, 1), "mv"),
    "dot": _product((1, 1), "dot"), "outer": outer, "diag": diagonal_of, "trace": trace,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {**METHODS, "einsum": einsum, "tensordot": tensordot}
