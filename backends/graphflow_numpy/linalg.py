"""Kernels of matrix products, contractions and decompositions.

Policy: two matrices go to BLAS by `dot`, with transposed views for the flags: no copy, and half of what `matmul` costs
for small ones; large ones go panel by panel.  The bits of a product depend on the shapes and values alone, never on
whether both operands happen to share memory: NumPy would then call another routine, which rounds differently.  Half
precision is computed in float32.

State: the plans of contractions seen so far, by equation; bounded.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from graphflow_numpy.blas import multiply, panels
from graphflow_numpy.elementwise import is_half
from graphflow_numpy.sharing import share, whole_products
from graphflow_numpy.table import Fitted, fit, into, kernel, mark

MANY = 1 << 23  # multiplications from which on the matrices of a batch are shared out

# -- products --------------------------------------------------------------------------------------------------------


def product(a: Any, b: Any) -> Any:
    """The matrix product, of batches too."""
    if _symmetric(a, b):
        b = b.copy()
    if a.ndim == 2 and b.ndim == 2 and a.size != 1 and b.size != 1:
        return a.dot(b) if whole_products() else multiply(a, b, None, share)
    return np.matmul(a, b)  # where `dot` takes a matrix of one element for a number, and then 0 * NaN for 0


def product_into(a: Any, b: Any, out: Any) -> None:
    """The same into given memory."""
    if _symmetric(a, b):
        b = b.copy()
    if a.ndim == 2 and b.ndim == 2 and a.size != 1 and b.size != 1:
        if whole_products():
            a.dot(b, out)
        else:
            multiply(a, b, out, share)
    elif a.ndim == b.ndim == 3 and a.shape[0] == b.shape[0] and a.size * b.shape[2] >= MANY:
        share(len(a), lambda i: np.matmul(a[i], b[i], out[i]))
    else:
        np.matmul(a, b, out)


def _symmetric(a: Any, b: Any) -> bool:
    """Whether one operand may be the other one transposed, in the very same memory."""
    if a.strides[-1] != b.strides[-2] or a.strides[-2] != b.strides[-1]:
        return False
    return a is b or (a.base is not None or b.base is not None) and bool(np.may_share_memory(a, b))


@kernel("MatMul")
def _matmul(a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    if is_half(a):
        return product(_turned(a.astype(np.float32), transpose_a), _turned(b.astype(np.float32), transpose_b)).astype(
            a.dtype
        )
    return product(_turned(a, transpose_a) if transpose_a else a, _turned(b, transpose_b) if transpose_b else b)


@into("MatMul")
def _matmul_into(a: Any, b: Any, out: Any, *, transpose_a: bool, transpose_b: bool) -> None:
    if is_half(a):
        out[...] = _matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    else:
        product_into(_turned(a, transpose_a), _turned(b, transpose_b), out)


_DOT: dict[tuple[bool, bool], tuple[Any, Any]] = {
    (False, False): (np.ndarray.dot, np.ndarray.dot),
    (True, False): (lambda a, b: a.T.dot(b), lambda a, b, out: a.T.dot(b, out)),
    (False, True): (lambda a, b: a.dot(b.T), lambda a, b, out: a.dot(b.T, out)),
    (True, True): (lambda a, b: a.T.dot(b.T), lambda a, b, out: a.T.dot(b.T, out)),
}


@fit("MatMul")
def _fit_matmul(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    """Straight to BLAS, but for a product that may be symmetric: only one that is square can be."""
    (dtype, first, _), (_, second, _) = inputs
    if dtype.np.char not in "fd" or not all(d is not None and len(d) == 2 and None not in d for d in (first, second)):
        return None
    turns = attrs["transpose_a"], attrs["transpose_b"]
    m, k = reversed(first) if turns[0] else first
    n = second[0] if turns[1] else second[1]
    if panels(m, k, n) > 1 or m * k == 1 or k * n == 1:
        return None
    function, write = _DOT[turns]
    if m != n:
        return Fitted(function, write)

    def apart(a: Any, b: Any) -> Any:
        shared = a is b or (a.base is not None or b.base is not None) and np.may_share_memory(a, b)
        return b.copy() if shared else b

    if turns[0] is turns[1]:  # strides tell without a look at the memory, unless both are vectors
        if n == 1 or k == 1:
            return None
        return Fitted(
            lambda a, b: function(a, b if a.strides[1] != b.strides[0] else apart(a, b)),
            lambda a, b, out: write(a, b if a.strides[1] != b.strides[0] else apart(a, b), out),
        )
    return Fitted(lambda a, b: function(a, apart(a, b)), lambda a, b, out: write(a, apart(a, b), out))


def _turned(x: Any, turn: bool) -> Any:
    return (x.T if x.ndim == 2 else np.swapaxes(x, -1, -2)) if turn else x


@kernel("Cross")
def _cross(a: Any, b: Any) -> Any:
    out = np.empty(a.shape, np.result_type(a, b))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        out[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return out


# -- contractions ----------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """How two operands without repeated letters become one (batched) matrix product."""

    sums: tuple[tuple[int, ...], tuple[int, ...]]  # axes of each that meet nothing
    orders: tuple[tuple[int, ...], tuple[int, ...]]  # axes of each: batch, rows, inner and batch, inner, columns
    counts: tuple[int, int, int, int]  # how many axes are batch, rows, inner, columns
    back: tuple[int, ...]  # the axes of the result


@functools.lru_cache(256)
def _plan(left: str, right: str, result: str) -> _Plan:
    kept_left = [c for c in left if c in right or c in result]
    kept_right = [c for c in right if c in left or c in result]
    batch = [c for c in kept_left if c in right and c in result]
    inner = [c for c in kept_left if c in right and c not in result]
    rows = [c for c in kept_left if c not in right]
    columns = [c for c in kept_right if c not in left]
    made = batch + rows + columns
    sums_left = tuple(i for i, c in enumerate(left) if c not in kept_left)
    sums_right = tuple(i for i, c in enumerate(right) if c not in kept_right)
    order_left = tuple(kept_left.index(c) for c in batch + rows + inner)
    order_right = tuple(kept_right.index(c) for c in batch + inner + columns)
    counts = len(batch), len(rows), len(inner), len(columns)
    return _Plan((sums_left, sums_right), (order_left, order_right), counts, tuple(made.index(c) for c in result))


def _contract(a: Any, left: str, b: Any, right: str, result: str) -> Any:
    plan = _plan(left, right, result)
    if plan.sums[0]:
        a = np.add.reduce(a, plan.sums[0], a.dtype)
    if plan.sums[1]:
        b = np.add.reduce(b, plan.sums[1], b.dtype)
    a, b = np.transpose(a, plan.orders[0]), np.transpose(b, plan.orders[1])
    batch, rows, inner, columns = plan.counts
    sizes = (*a.shape[: batch + rows], *b.shape[batch + inner :])
    if not inner:
        a = np.reshape(a, a.shape + (1,) * columns)
        found = a * np.reshape(b, (*b.shape[:batch], *(1,) * rows, *b.shape[batch:]))
    else:
        lead = a.shape[:batch]
        middle = _size(a.shape[batch + rows :])
        a = np.reshape(a, (*lead, _size(a.shape[batch : batch + rows]), middle))
        b = np.reshape(b, (*lead, middle, _size(b.shape[batch + inner :])))
        found = np.reshape(product(a, b), sizes)
    return np.transpose(found, plan.back)


def _size(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


@functools.lru_cache(256)
def _order(equation: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """In which order to contract more than two operands, pair by pair."""
    path, _ = np.einsum_path(equation, *[np.broadcast_to(0.0, s) for s in shapes], optimize="greedy")
    return tuple(tuple(sorted(p)) for p in path[1:])


def _distinct(x: Any, letters: str) -> tuple[Any, str]:
    """The operand with the diagonal in place of letters that it names twice."""
    found = "".join(dict.fromkeys(letters))
    return (x, letters) if found == letters else (np.einsum(f"{letters}->{found}", x), found)


@kernel("Einsum", view=True)
def _einsum(*operands: Any, equation: str) -> Any:
    if is_half(operands[0]):
        wide = _einsum(*[x.astype(np.float32) for x in operands], equation=equation)
        return wide.astype(operands[0].dtype)
    left, result = equation.split("->")
    terms = [_distinct(x, letters) for x, letters in zip(operands, left.split(","), strict=True)]
    if len(terms) == 1:
        return np.einsum(f"{terms[0][1]}->{result}", terms[0][0])
    steps: Any = ((0, 1),)
    if len(terms) > 2:
        steps = _order(",".join(t[1] for t in terms) + "->" + result, tuple(np.shape(t[0]) for t in terms))
    for step in steps:
        while len(step) > 1:  # the planner may ask for more than two at once
            (b, right), (a, first) = terms.pop(step[-1]), terms.pop(step[-2])
            wanted = set(result).union(*(t[1] for t in terms))
            joined = "".join(c for c in dict.fromkeys(first + right) if c in wanted)
            terms.append((_contract(a, first, b, right, joined if terms else result), joined))
            step = (*step[:-2], len(terms) - 1)
    return terms[0][0]


# -- inverses and decompositions -------------------------------------------------------------------------------------

BLOCK = 64


@kernel("MatrixInverse")
def _inverse(x: Any) -> Any:
    return np.linalg.inv(x)


@kernel("MatrixDeterminant")
def _determinant(x: Any) -> Any:
    return np.linalg.det(x)


@kernel("MatrixSolve")
def _solve(matrix: Any, rhs: Any, *, transpose: bool) -> Any:
    return np.linalg.solve(_turned(matrix, transpose), rhs)


@kernel("MatrixTriangularSolve")
def _triangular_solve(matrix: Any, rhs: Any, *, lower: bool, transpose: bool) -> Any:
    """Substitution by blocks, forwards or backwards."""
    if transpose:
        matrix, lower = np.swapaxes(matrix, -1, -2), not lower
    size = matrix.shape[-1]
    x = np.array(rhs, np.result_type(matrix, rhs), order="C")
    starts = range(0, size, BLOCK)
    for start in starts if lower else reversed(starts):
        stop = min(start + BLOCK, size)
        block = matrix[..., start:stop, start:stop]
        part = x[..., start:stop, :]
        if lower and start:
            part -= np.matmul(matrix[..., start:stop, :start], x[..., :start, :])
        elif not lower and stop < size:
            part -= np.matmul(matrix[..., start:stop, stop:], x[..., stop:, :])
        part[...] = np.linalg.solve(np.tril(block) if lower else np.triu(block), part)
    return x


@kernel("Cholesky")
def _cholesky(x: Any) -> Any:
    return np.linalg.cholesky(x)


@kernel("SelfAdjointEig")
def _eigen(x: Any) -> Any:
    values, vectors = np.linalg.eigh(x)
    return values.astype(x.dtype), vectors


@kernel("Svd")
def _svd(x: Any, *, full: bool, vectors: bool) -> Any:
    if not vectors:
        return np.linalg.svd(x, full, False)
    u, s, v = np.linalg.svd(x, full)
    return s, u, np.conj(np.swapaxes(v, -1, -2))


mark("MatMul", blas="matrices")
mark("Einsum", "MatrixInverse", "MatrixSolve", "MatrixTriangularSolve", "Cholesky", blas="product")
mark("MatrixDeterminant", "SelfAdjointEig", "Svd", blas="product")
