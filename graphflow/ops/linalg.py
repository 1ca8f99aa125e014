"""Matrices: products, inverses, decompositions, norms.  A matrix is the last two axes; those before are a batch.

Policy: products broadcast their batches as NumPy does.  What LAPACK computes takes float32, float64 and complex
tensors; a matrix that cannot be inverted or decomposed fails the run.  `cholesky` and `self_adjoint_eig` read the lower
triangle only.  Complex gradients are conjugated as TensorFlow's are.

State: none.
"""

from __future__ import annotations

import math as scalar
from typing import Any

from graphflow import spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import arrange, array, blocks, compare, flops, math, reduce
from graphflow.ops.arguments import as_tensor, known_integers
from graphflow.ops.core import name_scope
from graphflow.ops.index import where
from graphflow.ops.inference import check_kind, elementwise
from graphflow.spec import TensorSpec

# -- products --------------------------------------------------------------------------------------------------------


def _product(a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> TensorSpec:
    check_kind(a, "number")
    return TensorSpec(a.dtype, spec.matmul(a.dims, b.dims, transpose_a, transpose_b))


@op("MatMul", infer=_product, flops=flops.product)
def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Any:
    """The matrix product, of batches of matrices too; an adjoint is transposed and conjugated."""
    if adjoint_a:
        if transpose_a:
            raise InvalidArgumentError("transpose_a and adjoint_a exclude each other")
        a = math.conj(a)
    if adjoint_b:
        if transpose_b:
            raise InvalidArgumentError("transpose_b and adjoint_b exclude each other")
        b = math.conj(b)
    return call((a, b), name, transpose_a=bool(transpose_a or adjoint_a), transpose_b=bool(transpose_b or adjoint_b))


def _own_batch(grad: Any, x: Any, other: Any) -> Any:
    """The gradient summed over the batch axes along which `x` was repeated."""
    if x.dims is not None and other.dims is not None and len(x.dims) >= len(other.dims):
        if len(x.dims) == 2:  # no batch
            return grad
        batch, others = x.dims[:-2], other.dims[:-2]
        stretched = any(
            d != e and e != 1 or d is None and e is None
            for d, e in zip(reversed(batch), reversed(others), strict=False)
        )
        if not stretched:
            return grad
    return math.sum_to_like(grad, x)


def _left_gradient(op: Any, dy: Any) -> Any:
    a, b = op.inputs
    flip_a, flip_b = op.attrs["transpose_a"], op.attrs["transpose_b"]
    y = math.conj(b)
    grad = matmul(y, dy, flip_b, True) if flip_a else matmul(dy, y, False, not flip_b)
    return _own_batch(grad, a, b)


def _right_gradient(op: Any, dy: Any) -> Any:
    a, b = op.inputs
    flip_a, flip_b = op.attrs["transpose_a"], op.attrs["transpose_b"]
    x = math.conj(a)
    grad = matmul(dy, x, True, flip_a) if flip_b else matmul(x, dy, not flip_a, False)
    return _own_batch(grad, b, a)


matmul.vjp(_left_gradient, _right_gradient)


def matrix_transpose(a: Any, name: str | None = "matrix_transpose", conjugate: bool = False) -> Any:
    """The last two axes exchanged."""
    with name_scope(name, "matrix_transpose"):
        a = as_tensor(a)
        if a.dims is None:
            rank = array.rank(a)
            axes = array.range_(rank)
            last = compare.greater_equal(axes, math.subtract(rank, 2))
            turned = math.subtract(math.subtract(math.multiply(rank, 2), 3), axes)
            return arrange.transpose(a, where(last, turned, axes), conjugate=conjugate)
        if len(a.dims) < 2:
            raise ShapeError("not a matrix", op=a.op, expected="rank 2 or more", got=spec.describe(a.dims))
        order = list(range(len(a.dims)))
        order[-2:] = order[-1], order[-2]
        return arrange.transpose(a, order, conjugate=conjugate)


def adjoint(matrix: Any, name: str | None = None) -> Any:
    """The last two axes exchanged, and complex numbers conjugated."""
    return matrix_transpose(matrix, name or "adjoint", conjugate=True)


def _crossed(a: Any, b: Any) -> TensorSpec:
    known = elementwise("number")(a, b)
    if known.dims is not None and (not known.dims or known.dims[-1] not in (3, None)):
        raise ShapeError("a cross product is one of 3-vectors", expected="[..., 3]", got=spec.describe(known.dims))
    spec.merge(a.dims, b.dims)
    return known


@op("Cross", infer=_crossed)
def cross(a: Any, b: Any, name: str | None = None) -> Any:
    """The cross products of the 3-vectors along the last axis."""
    return call((a, b), name)


cross.vjp(
    lambda op, dy: cross(math.conj(op.inputs[1]), dy),
    lambda op, dy: cross(dy, math.conj(op.inputs[0])),
)


def trace(x: Any, name: str | None = None) -> Any:
    """The sum of the diagonal."""
    with name_scope(name, "Trace"):
        return reduce.reduce_sum(blocks.matrix_diag_part(x), -1)


# -- inverses --------------------------------------------------------------------------------------------------------


def _check_lapack(x: Any) -> None:
    check_kind(x, "inexact")
    if x.dtype.size < 4:
        raise DTypeError("no decomposition in half precision", expected="float32, float64 or complex", got=x.dtype.name)


def _square(x: Any, **attrs: Any) -> TensorSpec:
    _check_lapack(x)
    dims = x.dims
    if dims is None:
        return TensorSpec(x.dtype, None)
    if len(dims) < 2 or None not in dims[-2:] and dims[-2] != dims[-1]:
        raise ShapeError("not a square matrix", expected="[..., n, n]", got=spec.describe(dims))
    side = dims[-1] if dims[-2] is None else dims[-2]
    return TensorSpec(x.dtype, (*dims[:-2], side, side))


@op("MatrixInverse", can_fail="always", infer=_square, flops=flops.factorisation(5))
def _inverse(input: Any, name: str | None = None) -> Any:
    return call((input,), name)


def _inverse_gradient(op: Any, dy: Any) -> Any:
    y = op.outputs[0]
    return math.negative(matmul(y, matmul(dy, y, adjoint_b=True), adjoint_a=True))


_inverse.vjp(_inverse_gradient)


def matrix_inverse(input: Any, adjoint: bool = False, name: str | None = None) -> Any:
    """The inverse of square matrices, or of their adjoints."""
    x = matrix_transpose(input, conjugate=True) if adjoint else input
    return _inverse(x, name=name or "MatrixInverse")


def _reduced_square(x: Any) -> TensorSpec:
    dims = _square(x).dims
    return TensorSpec(x.dtype, None if dims is None else dims[:-2])


@op("MatrixDeterminant", infer=_reduced_square, flops=flops.factorisation(2))
def matrix_determinant(input: Any, name: str | None = None) -> Any:
    """The determinant of square matrices."""
    return call((input,), name)


def _determinant_gradient(op: Any, dy: Any) -> Any:
    scale = math.multiply(dy, math.conj(op.outputs[0]))
    scale = array.expand_dims(array.expand_dims(scale, -1), -1)
    return math.multiply(scale, matrix_inverse(op.inputs[0], adjoint=True))


matrix_determinant.vjp(_determinant_gradient)


def _solved(matrix: Any, rhs: Any, **attrs: Any) -> TensorSpec:
    dims = _square(matrix).dims
    if rhs.dims is None or dims is None:
        return TensorSpec(rhs.dtype, rhs.dims)
    if len(rhs.dims) < 2 or not spec.compatible(dims[:-1], rhs.dims[:-1]):
        raise ShapeError(
            "the right-hand side does not fit the matrix",
            expected=f"{spec.describe((*dims[:-1], None))}",
            got=spec.describe(rhs.dims),
        )
    return TensorSpec(rhs.dtype, (*spec.merge(dims[:-1], rhs.dims[:-1]), rhs.dims[-1]))  # type: ignore[misc]


@op("MatrixSolve", can_fail="always", infer=_solved, flops=flops.factorisation(4))
def _solve(matrix: Any, rhs: Any, transpose: bool, name: str | None = None) -> Any:
    return call((matrix, rhs), name, transpose=transpose)


@op("MatrixTriangularSolve", can_fail="always", infer=_solved)
def _triangular_solve(matrix: Any, rhs: Any, lower: bool, transpose: bool, name: str | None = None) -> Any:
    return call((matrix, rhs), name, lower=lower, transpose=transpose)


def matrix_solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Any:
    """x such that matrix x = rhs (or the adjoint of the matrix times x)."""
    return _solve(math.conj(matrix) if adjoint else matrix, rhs, bool(adjoint), name=name or "MatrixSolve")


def matrix_triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Any:
    """x such that matrix x = rhs, where only the lower (or upper) triangle of the matrix is read."""
    matrix = math.conj(matrix) if adjoint else matrix
    return _triangular_solve(matrix, rhs, bool(lower), bool(adjoint), name=name or "MatrixTriangularSolve")


def _matrix_gradient(op: Any, rhs_gradient: Any) -> Any:
    """The gradient in the matrix, from that in the right-hand side."""
    x = math.conj(op.outputs[0])
    if op.attrs["transpose"]:
        return math.negative(matmul(x, rhs_gradient, transpose_b=True))
    return math.negative(matmul(rhs_gradient, x, transpose_b=True))


@RegisterGradient("MatrixSolve")
def _solve_gradient(op: Any, dy: Any) -> list[Any]:
    grad = _solve(math.conj(op.inputs[0]), dy, not op.attrs["transpose"])
    return [_matrix_gradient(op, grad), grad]


@RegisterGradient("MatrixTriangularSolve")
def _triangular_gradient(op: Any, dy: Any) -> list[Any]:
    lower = op.attrs["lower"]
    grad = _triangular_solve(math.conj(op.inputs[0]), dy, lower, not op.attrs["transpose"])
    whole = _matrix_gradient(op, grad)
    return [blocks.matrix_band_part(whole, *((-1, 0) if lower else (0, -1))), grad]


# -- decompositions --------------------------------------------------------------------------------------------------


@op("Cholesky", can_fail="always", infer=_square, flops=flops.factorisation(2))
def cholesky(input: Any, name: str | None = None) -> Any:
    """The lower triangular L with L L* = input, for positive definite matrices."""
    return call((input,), name)


def _cholesky_gradient(op: Any, dy: Any) -> Any:
    # Murray, 2016: the lower triangle of L* dL, its diagonal halved, between the inverses of L* and L.
    factor = op.outputs[0]
    middle = matmul(factor, dy, adjoint_a=True)
    middle = blocks.matrix_band_part(middle, -1, 0)
    middle = blocks.matrix_set_diag(middle, math.multiply(blocks.matrix_diag_part(middle), 0.5))
    left = matrix_triangular_solve(factor, middle, adjoint=True)
    both = matrix_triangular_solve(factor, adjoint(left), adjoint=True)
    return math.multiply(math.add(both, adjoint(both)), 0.5)


cholesky.vjp(_cholesky_gradient)


def _eigen(x: Any) -> tuple[TensorSpec, ...]:
    known = _square(x)
    return TensorSpec(x.dtype, None if known.dims is None else known.dims[:-1]), known


@op("SelfAdjointEig", can_fail="always", infer=_eigen, flops=flops.factorisation(50))
def self_adjoint_eig(tensor: Any, name: str | None = None) -> Any:
    """The eigenvalues, in ascending order, and the eigenvectors, as columns, of self-adjoint matrices."""
    return call((tensor,), name)


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Any:
    """The eigenvalues of self-adjoint matrices, in ascending order."""
    return self_adjoint_eig(tensor, name=name)[0]


def _gaps(values: Any) -> Any:
    """1 / (values[j] - values[i]), and 0 on the diagonal."""
    one = blocks.matrix_diag(array.ones_like(values))
    difference = math.subtract(array.expand_dims(values, -2), array.expand_dims(values, -1))
    return math.subtract(math.reciprocal(math.add(difference, one)), one)


@RegisterGradient("SelfAdjointEig")
def _eigen_gradient(op: Any, de: Any, dv: Any) -> Any:
    e, v = op.outputs
    inner = math.multiply(_gaps(e), matmul(v, dv, adjoint_a=True))
    inner = math.add(inner, blocks.matrix_diag(de))
    grad = matmul(v, matmul(inner, v, adjoint_b=True))
    # Only the lower triangle was read, so it answers for both.
    lower = blocks.matrix_band_part(grad, -1, 0)
    return math.add(lower, adjoint(math.subtract(grad, lower)))


def _singular(x: Any, *, full: bool, vectors: bool) -> tuple[TensorSpec, ...]:
    _check_lapack(x)
    dims = x.dims
    if dims is not None and len(dims) < 2:
        raise ShapeError("not a matrix", expected="rank 2 or more", got=spec.describe(dims))
    if dims is None:
        return (TensorSpec(x.dtype.real_dtype, None), *(TensorSpec(x.dtype, None),) * (2 if vectors else 0))
    *batch, m, n = dims
    k = None if m is None or n is None else min(m, n)
    values = TensorSpec(x.dtype.real_dtype, (*batch, k))
    if not vectors:
        return (values,)
    u, v = (m, n) if full else (k, k)
    return values, TensorSpec(x.dtype, (*batch, m, u)), TensorSpec(x.dtype, (*batch, n, v))


@op("Svd", can_fail="always", infer=_singular, flops=flops.factorisation(100))
def _svd(tensor: Any, full: bool, vectors: bool, name: str | None = None) -> Any:
    return call((tensor,), name, full=full, vectors=vectors)


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """s, u, v such that tensor = u diag(s) v*, s in descending order; or s alone."""
    found = _svd(tensor, bool(full_matrices), bool(compute_uv), name=name)
    return found if compute_uv else found[0]


@RegisterGradient("Svd")
def _svd_gradient(op: Any, ds: Any, du: Any = None, dv: Any = None) -> Any:
    x = op.inputs[0]
    if x.dtype.is_complex or op.attrs["full"]:
        raise InvalidArgumentError("svd has a gradient only for real tensors, without full_matrices")
    s, u, v = op.outputs if du is not None else _svd(x, False, True)
    inner = blocks.matrix_diag(ds)
    if du is None:
        return matmul(u, matmul(inner, v, transpose_b=True))
    # Townsend, 2016: what turns u and v inside of the space that they span, and what turns them out of it.
    row, column = array.expand_dims(s, -2), array.expand_dims(s, -1)
    gaps = _gaps(math.square(s))
    turn_u, turn_v = matmul(u, du, transpose_a=True), matmul(v, dv, transpose_a=True)
    skew_u = math.multiply(gaps, math.subtract(turn_u, matrix_transpose(turn_u)))
    skew_v = math.multiply(gaps, math.subtract(turn_v, matrix_transpose(turn_v)))
    inner = math.add(inner, math.add(math.multiply(skew_u, row), math.multiply(column, skew_v)))
    grad = matmul(u, matmul(inner, v, transpose_b=True))
    out_u = math.realdiv(math.subtract(du, matmul(u, turn_u)), row)
    out_v = math.realdiv(math.subtract(dv, matmul(v, turn_v)), row)
    grad = math.add(grad, matmul(out_u, v, transpose_b=True))
    return math.add(grad, matmul(u, out_v, transpose_b=True))


# -- norms -----------------------------------------------------------------------------------------------------------


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    keep_dims: Any = None,
) -> Any:
    """The norm of all elements, of the vectors along `axis`, or of the matrices along two axes.

    `ord` is "euclidean", 1, 2, any p > 0 or infinity for vectors, and "euclidean", "fro", 1 or infinity for matrices.
    """
    keep = bool(keep_dims if keepdims is None else keepdims)
    axes = None if axis is None else known_integers(axis)
    if axes is not None and (len(axes) not in (1, 2) or len(set(axes)) != len(axes)):
        raise InvalidArgumentError("a norm is taken along one axis or two", got=repr(axis))
    with name_scope(name, "norm"):
        x = as_tensor(tensor)
        check_kind(x, "inexact")
        if ord in ("euclidean", "fro") or axes is None and ord == 2 or axes is not None and len(axes) == 1 and ord == 2:
            if ord == "fro" and (axes is None or len(axes) != 2):
                raise InvalidArgumentError("the Frobenius norm is one of matrices", expected="two axes", got=repr(axis))
            return math.sqrt(reduce.reduce_sum(_squares(x), axes, keep))
        size = math.abs(x)
        if axes is not None and len(axes) == 2:
            return _matrix_norm(size, ord, axes, keep)
        return _vector_norm(size, ord, axes, keep)


def _squares(x: Any) -> Any:
    return math.real(math.multiply(x, math.conj(x))) if x.dtype.is_complex else math.square(x)


def _vector_norm(size: Any, ord: Any, axes: Any, keep: bool) -> Any:
    if isinstance(ord, (str, bool)) or not hasattr(ord, "__float__") or not float(ord) > 0:
        wanted = "'euclidean', a number above 0, or inf"
        raise InvalidArgumentError("no such vector norm", expected=wanted, got=repr(ord))
    p = float(ord)
    if p == 1.0:
        return reduce.reduce_sum(size, axes, keep)
    if p == scalar.inf:
        return reduce.reduce_max(size, axes, keep)
    return math.pow(reduce.reduce_sum(math.pow(size, p), axes, keep), 1.0 / p)


def _matrix_norm(size: Any, ord: Any, axes: tuple[int, ...], keep: bool) -> Any:
    if ord not in (1, scalar.inf):
        raise InvalidArgumentError("no such matrix norm", expected="'euclidean', 'fro', 1 or inf", got=repr(ord))
    rows, columns = axes
    over, along = (rows, columns) if ord == 1 else (columns, rows)
    sums = reduce.reduce_sum(size, over, True)
    largest = reduce.reduce_max(sums, along, True)
    return largest if keep else array.squeeze(largest, axes)
