"""Norms, decompositions and systems of matrices in PyTorch's spelling; `linalg` gives them their public names.

Policy: a matrix is the last two dimensions, those before are a batch.  What LAPACK does is the library's op; the rest,
such as a QR decomposition by reflections, is composed of ops, so derivatives follow.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphflow.eager.matrices import matmul
from graphflow.eager.mode import placed
from graphflow.eager.rearranging import movedim, size_of
from graphflow.eager.reductions import axes_of, axis_of
from graphflow.eager.reductions import norm as p_norm
from graphflow.eager.shaping import last_two
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.ops import arithmetic, array, blocks, casts, compare, core, index, linalg, math, reduce

Function = Callable[..., Any]


class QR(NamedTuple):
    """An orthogonal and an upper triangular matrix."""

    Q: Any
    R: Any


class SVD(NamedTuple):
    """Singular vectors, singular values, and the adjoint of the others."""

    U: Any
    S: Any
    Vh: Any


class OldSVD(NamedTuple):
    """As `torch.svd` has it."""

    U: Any
    S: Any
    V: Any


class Eigen(NamedTuple):
    """Values in ascending order, vectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


class LogDet(NamedTuple):
    """The sign of a determinant, and the logarithm of its size."""

    sign: Any
    logabsdet: Any


class LeastSquares(NamedTuple):
    """What solves a system best, and how well."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


# -- norms and distances ---------------------------------------------------------------------------------------------


@placed
def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The norm of all elements, or of the vectors along dimensions."""
    x = x if dtype is None else casts.cast(x, dtype)
    if not (x.dtype.is_floating or x.dtype.is_complex):
        raise DTypeError("a norm is one of floating-point numbers", got=x.dtype.name, hint="x.float()")
    axes = axes_of(x, dim)
    if ord == 0:
        return reduce.count_nonzero(x, axes, keepdim, dtype=x.dtype.real_dtype)
    if ord in (float("inf"), float("-inf")):
        extreme = reduce.reduce_max if ord > 0 else reduce.reduce_min
        return extreme(arithmetic.abs(x), axes, keepdim)
    if ord < 0:
        return math.pow(reduce.reduce_sum(math.pow(arithmetic.abs(x), float(ord)), axes, keepdim), 1.0 / ord)
    if isinstance(axes, list) and len(axes) > 1 and ord != 2:
        return math.pow(reduce.reduce_sum(math.pow(arithmetic.abs(x), float(ord)), axes, keepdim), 1.0 / ord)
    return p_norm(x, ord, dim, keepdim)


@placed
def matrix_norm(A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The norm of matrices: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    x = A if dtype is None else casts.cast(A, dtype)
    rows, columns = (axis_of(x, d) for d in dim)
    if ord == "fro":
        return p_norm(x, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        values = svdvals(movedim(x, (rows, columns), (-2, -1)))
        found = reduce.reduce_sum(values, -1) if ord == "nuc" else values[..., 0 if ord == 2 else -1]
    elif ord in (1, -1, float("inf"), float("-inf")):
        over, along = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = reduce.reduce_sum(arithmetic.abs(x), over, True)
        extreme = reduce.reduce_max if ord > 0 else reduce.reduce_min
        found = array.squeeze(extreme(sums, along, True), [rows, columns])
    else:
        raise InvalidArgumentError("no such matrix norm", expected="'fro', 'nuc', inf, -inf, 1, -1, 2 or -2",
                                   got=repr(ord)[:80])  # fmt: skip
    if not keepdim:
        return found
    return array.reshape(found, [1 if d in (rows, columns) else n for d, n in enumerate(x.dims)])


@placed
def norm(A: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The norm of all elements, of vectors along one dimension, or of matrices along two."""
    axes = (dim,) if isinstance(dim, int) else dim
    if ord is None:
        return vector_norm(A, 2, axes, keepdim, dtype=dtype)
    if axes is None and len(A.dims) == 2 or axes is not None and len(axes) == 2:
        return matrix_norm(A, ord, (0, 1) if axes is None else axes, keepdim, dtype=dtype)
    return vector_norm(A, ord, axes, keepdim, dtype=dtype)


# -- decompositions --------------------------------------------------------------------------------------------------


@placed
def svd(A: Any, full_matrices: bool = True) -> SVD:
    """U, S and Vh with A = U diag(S) Vh, S in descending order."""
    rows, columns = A.dims[-2:]
    s, u, v = linalg.svd(A, bool(full_matrices) and rows != columns)
    return SVD(u, s, arithmetic.conj(last_two(v)))


@placed
def old_svd(input: Any, some: bool = True, compute_uv: bool = True) -> OldSVD:
    """U, S and V with input = U diag(S) V*, S in descending order."""
    s, u, v = linalg.svd(input, not some)
    return OldSVD(u, s, v)


@placed
def svdvals(A: Any) -> Any:
    """The singular values in descending order."""
    return linalg.svd(A, compute_uv=False)


@placed
def eigh(A: Any, UPLO: str = "L") -> Eigen:
    """The eigenvalues and eigenvectors of self-adjoint matrices."""
    return Eigen(*linalg.self_adjoint_eig(_lower(A, UPLO)))


@placed
def eigvalsh(A: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of self-adjoint matrices in ascending order."""
    return linalg.self_adjoint_eigvals(_lower(A, UPLO))


def _lower(x: Any, triangle: str) -> Any:
    if triangle not in ("L", "U"):
        raise InvalidArgumentError("no such triangle", expected="'L' or 'U'", got=repr(triangle)[:80])
    other = linalg.adjoint(x)
    told = x if triangle == "L" else other
    below = blocks.matrix_band_part(told, -1, 0)
    whole = below + linalg.adjoint(below - blocks.matrix_band_part(told, 0, 0))
    even = (x + other) * 0.5  # one triangle is read, and derivatives are those of a symmetric matrix
    return even + core.stop_gradient(whole - even)


@placed
def cholesky(A: Any, *, upper: bool = False) -> Any:
    """The lower triangular L with L L* = A, or its adjoint."""
    found = linalg.cholesky(A)
    return linalg.adjoint(found) if upper else found


@placed
def old_cholesky(input: Any, upper: bool = False) -> Any:
    """The lower triangular L with L L* = input, or its adjoint."""
    return cholesky(input, upper=upper)


@placed
def qr(A: Any, mode: str = "reduced") -> QR:
    """Q with orthonormal columns and R, upper triangular, with A = Q R; found by Householder's reflections."""
    if mode not in ("reduced", "complete", "r"):
        raise InvalidArgumentError("no such mode", expected="'reduced', 'complete' or 'r'", got=repr(mode)[:80])
    if len(A.dims) < 2 or not A.dtype.is_floating:
        raise ShapeError("qr takes matrices of real floating-point numbers", got=f"{A.dtype.name}{list(A.dims)}")
    rows, columns = size_of(A, len(A.dims) - 2), size_of(A, len(A.dims) - 1)
    least = min(rows, columns)
    unit = np.eye(rows, dtype=A.dtype.np)
    q, r = array.broadcast_to(core.convert_to_tensor(unit), [*A.dims[:-2], rows, rows]), A
    for k in range(min(least, rows - 1)):
        q, r = _reflected(q, r, k, unit)
    width = rows if mode == "complete" else least
    upper = blocks.matrix_band_part(r[..., :width, :], 0, -1)
    return QR(q[..., :width] if mode != "r" else array.zeros([0], A.dtype), upper)


def _reflected(q: Any, r: Any, k: int, unit: Any) -> tuple[Any, Any]:
    """One more column of r with zeros below its diagonal."""
    column = r[..., k:, k]
    first = column[..., :1]
    size = math.sqrt(reduce.reduce_sum(math.square(column), -1, True))
    sign = index.where(compare.less(first, 0.0), array.ones_like(first) * -1.0, array.ones_like(first))
    below = reduce.reduce_any(compare.not_equal(column[..., 1:], 0.0), -1, True)
    v = array.concat([first + sign * size, column[..., 1:]], -1)
    length = reduce.reduce_sum(math.square(v), -1, True)
    scale = index.where(below, 2.0 / index.where(below, length, array.ones_like(length)), array.zeros_like(length))
    left, right = array.expand_dims(v, -1), array.expand_dims(v * scale, -2)
    lower = r[..., k:, :]
    r = array.concat([r[..., :k, :], lower - linalg.matmul(left, linalg.matmul(right, lower))], -2)
    part = q[..., k:]
    part = part - linalg.matmul(linalg.matmul(part, left), right)
    return array.concat([q[..., :k], part], -1), r


# -- systems and determinants ----------------------------------------------------------------------------------------


@placed
def det(A: Any) -> Any:
    """The determinant."""
    return linalg.matrix_determinant(A)


@placed
def slogdet(A: Any) -> LogDet:
    """The sign of the determinant and the logarithm of its size, which overflow less."""
    _, u, v = linalg.svd(core.stop_gradient(A))
    sign = linalg.matrix_determinant(u) * linalg.matrix_determinant(v)
    return LogDet(arithmetic.round(sign), reduce.reduce_sum(math.log(svdvals(A)), -1))


@placed
def logdet(input: Any) -> Any:
    """The logarithm of the determinant; NaN where that is negative."""
    sign, size = slogdet(input)
    return size + core.stop_gradient(index.where(compare.less(sign, 0.0), sign * float("nan"), array.zeros_like(sign)))


@placed
def inv(A: Any) -> Any:
    """The inverse of square matrices."""
    return linalg.matrix_inverse(A)


@placed
def solve(A: Any, B: Any, *, left: bool = True) -> Any:
    """X with A X = B, for a vector too; or X with X A = B."""
    if not left:
        return last_two(solve(last_two(A), last_two(B)))
    if len(B.dims) == 1 or len(B.dims) == len(A.dims) - 1 and B.dims == A.dims[:-1]:
        return array.squeeze(linalg.matrix_solve(*_one_batch(A, array.expand_dims(B, -1))), [-1])
    return linalg.matrix_solve(*_one_batch(A, B))


def _one_batch(A: Any, B: Any) -> tuple[Any, Any]:
    if A.dims[:-2] == B.dims[:-2]:
        return A, B
    batch = list(np.broadcast_shapes(A.dims[:-2], B.dims[:-2]))
    return array.broadcast_to(A, [*batch, *A.dims[-2:]]), array.broadcast_to(B, [*batch, *B.dims[-2:]])


@placed
def solve_triangular(A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    """X with A X = B, where A is triangular; or X with X A = B."""
    if unitriangular:
        A = blocks.matrix_set_diag(A, array.ones_like(blocks.matrix_diag_part(A)))
    if not left:
        return last_two(solve_triangular(last_two(A), last_two(B), upper=not upper))
    return linalg.matrix_triangular_solve(*_one_batch(A, B), lower=not upper)


@placed
def pinv(A: Any, rcond: Any = None, *, rtol: Any = None, atol: Any = 0.0) -> Any:
    """The pseudo-inverse; singular values below a part of the largest count as zero."""
    s, u, v = linalg.svd(A)
    held = compare.greater(s, _tolerance(A, s, rcond if rtol is None else rtol, atol))
    inverse = index.where(held, 1.0 / index.where(held, s, array.ones_like(s)), array.zeros_like(s))
    return linalg.matmul(v * array.expand_dims(casts.cast(inverse, v.dtype), -2), linalg.adjoint(u))


def _tolerance(x: Any, s: Any, rtol: Any, atol: Any) -> Any:
    if rtol is None:
        rtol = float(np.finfo(s.dtype.np).eps) * max(x.dims[-2:]) if not atol else 0.0
    return arithmetic.maximum(s[..., :1] * rtol, float(atol))


@placed
def matrix_rank(A: Any, tol: Any = None, *, rtol: Any = None, atol: Any = 0.0, hermitian: bool = False) -> Any:
    """How many singular values count as more than zero."""
    s = svdvals(core.stop_gradient(A))
    return reduce.count_nonzero(compare.greater(s, _tolerance(A, s, rtol, atol if tol is None else tol)), -1)


@placed
def cond(A: Any, p: Any = None) -> Any:
    """The largest singular value over the smallest, or the norm of the matrix times that of its inverse."""
    if p in (None, 2):
        s = svdvals(A)
        return s[..., 0] / s[..., -1]
    return matrix_norm(A, p) * matrix_norm(linalg.matrix_inverse(A), p)


@placed
def lstsq(A: Any, B: Any, rcond: Any = None, *, driver: Any = None) -> LeastSquares:
    """X for which A X comes nearest to B."""
    found = matmul(pinv(A, rcond), B)
    rows, columns = A.dims[-2:]
    known = rows > columns and len(B.dims) == len(A.dims)
    left = reduce.reduce_sum(math.square(matmul(A, found) - B), -2) if known else array.zeros([0], A.dtype)
    return LeastSquares(found, left, matrix_rank(A, rtol=rcond), array.zeros([0], A.dtype))
