"""Products of vectors and matrices beyond `matmul`, and distances, in PyTorch's spelling.

Policy: each is a composition of the library's own ops.

State: none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.eager import pointwise
from graphflow.eager.decompositions import det, inv, logdet, old_cholesky, old_svd, pinv, qr, slogdet, vector_norm
from graphflow.eager.diagonals import diagonal
from graphflow.eager.matrices import matmul, outer, tensordot
from graphflow.eager.mode import placed
from graphflow.eager.promotion import pair
from graphflow.eager.rearranging import broadcast_shapes, movedim, size_of
from graphflow.eager.reductions import axis_of
from graphflow.eager.storage import apart
from graphflow.errors import ShapeError
from graphflow.ops import arithmetic, array, blocks, index, linalg, reduce

Function = Callable[..., Any]


@placed
def inner(input: Any, other: Any) -> Any:
    """The sums of products along the last dimensions of both."""
    if not input.dims or not other.dims:
        return pointwise.FUNCTIONS["mul"](input, other)
    return tensordot(input, other, [[len(input.dims) - 1], [len(other.dims) - 1]])


@placed
def vdot(input: Any, other: Any) -> Any:
    """The sum of products of two vectors, of which the first is conjugated."""
    if (len(input.dims), len(other.dims)) != (1, 1) or input.dims != other.dims:
        raise ShapeError("vdot takes two vectors of one length", got=f"{list(input.dims)} and {list(other.dims)}")
    return reduce.reduce_sum(arithmetic.conj(input) * other)


@placed
def kron(input: Any, other: Any) -> Any:
    """Every element of one tensor times the whole of the other."""
    rank = max(len(input.dims), len(other.dims))
    a = array.reshape(input, [1] * (rank - len(input.dims)) + list(input.dims))
    b = array.reshape(other, [1] * (rank - len(other.dims)) + list(other.dims))
    wide_a = array.reshape(a, [n for size in a.dims for n in (size, 1)])
    wide_b = array.reshape(b, [n for size in b.dims for n in (1, size)])
    found = pointwise.FUNCTIONS["mul"](wide_a, wide_b)
    return array.reshape(found, [n * m for n, m in zip(a.dims, b.dims, strict=True)])


def _plus_product(product: Function, ranks: tuple[int, int], name: str) -> Function:
    def function(input: Any, left: Any, right: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
        if (len(left.dims), len(right.dims)) != ranks:
            raise ShapeError(f"{name} multiplies tensors of ranks {ranks[0]} and {ranks[1]}",
                             got=f"shapes {list(left.dims)} and {list(right.dims)}")  # fmt: skip
        made = product(left, right)
        made = made if alpha == 1 else made * alpha
        return made if beta == 0 else pointwise.FUNCTIONS["add"](made, input if beta == 1 else input * beta)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "beta * input + alpha * the product of the other two."
    return placed(function)


def _summed_product(a: Any, b: Any) -> Any:
    return reduce.reduce_sum(matmul(a, b), 0)


@placed
def multi_dot(tensors: Any) -> Any:
    """The product of several matrices, in the order that costs least."""
    parts = list(tensors)
    first = parts[0] if parts else None
    while len(parts) > 1:  # the pair whose product is smallest beside what it sums over
        costs = [_cost(a, b) for a, b in itertools.pairwise(parts)]
        at = costs.index(min(costs))
        parts[at : at + 2] = [matmul(parts[at], parts[at + 1])]
    return apart(parts[0], first)


def _cost(a: Any, b: Any) -> float:
    rows = a.dims[0] if len(a.dims) > 1 else 1
    return float(rows * (b.dims[-1] if len(b.dims) > 1 else 1)) / a.dims[-1] if a.dims[-1] else 0.0


def chain_matmul(*matrices: Any) -> Any:
    """The product of several matrices."""
    return multi_dot(matrices)


@placed
def matrix_power(input: Any, n: int) -> Any:
    """The matrix times itself, so many times; a negative number asks for the inverse's power."""
    if n < 0:
        input, n = linalg.matrix_inverse(input), -n
    elif n == 1:
        return apart(input, input)
    found, square = None, input
    while n:
        if n & 1:
            found = square if found is None else linalg.matmul(found, square)
        n >>= 1
        square = linalg.matmul(square, square) if n else square
    return _unit_like(input) if found is None else found


def _unit_like(x: Any) -> Any:
    return array.broadcast_to(blocks.eye(size_of(x, len(x.dims) - 1), dtype=x.dtype), list(x.dims))


@placed
def cross(input: Any, other: Any, dim: Any = None) -> Any:
    """The cross products of vectors of 3 elements along a dimension; by default the first of that size."""
    x, y = pair(input, other)
    shape = broadcast_shapes(x.dims, y.dims)
    if dim is None:
        dim = next((d for d, size in enumerate(shape) if size == 3), None)
        if dim is None:
            raise ShapeError("a cross product is one of 3-vectors", expected="a dimension of size 3",
                             got=f"shape {list(shape)}")  # fmt: skip
    x, y = array.broadcast_to(x, list(shape)), array.broadcast_to(y, list(shape))
    axis = axis_of(x, dim)
    return movedim(linalg.cross(movedim(x, axis, -1), movedim(y, axis, -1)), -1, axis)


@placed
def linalg_cross(input: Any, other: Any, *, dim: int = -1) -> Any:
    """The cross products of vectors of 3 elements along a dimension."""
    return cross(input, other, dim)


@placed
def linalg_diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonals of matrices."""
    return diagonal(A, offset, dim1, dim2)


@placed
def vecdot(x: Any, y: Any, *, dim: int = -1) -> Any:
    """The sums of products along a dimension; the first tensor is conjugated."""
    found = pointwise.FUNCTIONS["mul"](arithmetic.conj(x), y)
    return reduce.reduce_sum(found, axis_of(found, dim))


@placed
def dist(input: Any, other: Any, p: Any = 2) -> Any:
    """The norm of a difference."""
    return vector_norm(pointwise.FUNCTIONS["sub"](input, other), p)


@placed
def cdist(x1: Any, x2: Any, p: Any = 2.0, compute_mode: Any = None) -> Any:
    """The distances between every row of one matrix and every row of the other."""
    if len(x1.dims) < 2 or len(x2.dims) < 2:
        raise ShapeError("cdist takes matrices", got=f"shapes {list(x1.dims)} and {list(x2.dims)}")
    if x1.dims[-1] != x2.dims[-1]:
        raise ShapeError("rows of one length have distances", expected=f"[..., {x1.dims[-1]}]", got=str(list(x2.dims)))
    return vector_norm(array.expand_dims(x1, -2) - array.expand_dims(x2, -3), p, -1)


@placed
def pdist(input: Any, p: Any = 2) -> Any:
    """The distances between all pairs of rows."""
    first, second = np.triu_indices(size_of(input, 0), 1)
    return vector_norm(index.gather(input, first) - index.gather(input, second), p, -1)


METHODS: dict[str, Function] = {
    "inner": inner, "vdot": vdot, "kron": kron, "matrix_power": matrix_power, "cross": cross, "dist": dist,
    "det": det, "slogdet": slogdet, "logdet": logdet, "inverse": inv, "pinverse": pinv, "svd": old_svd,
    "cholesky": old_cholesky, "ger": outer, "qr": qr,
    "addmm": _plus_product(matmul, (2, 2), "addmm"), "addmv": _plus_product(matmul, (2, 1), "addmv"),
    "addr": _plus_product(outer, (1, 1), "addr"), "baddbmm": _plus_product(matmul, (3, 3), "baddbmm"),
    "addbmm": _plus_product(_summed_product, (3, 3), "addbmm"),
}  # fmt: skip
FUNCTIONS: dict[str, Function] = {**METHODS, "chain_matmul": chain_matmul, "cdist": cdist, "pdist": pdist}
