"""Matrix products, contractions, inverses, decompositions, norms."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import errors
from graphflow.ops import array, blocks, contraction, core, linalg, math
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase

FLOATS = ("float16", "bfloat16", "float32")
COMPLEX = "complex128"


def _turned(x: Any, turn: bool) -> Any:
    return np.swapaxes(x, -1, -2) if turn else x


def _product(a: Any, b: Any) -> Any:
    """By the definition: sums of elementwise products."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(axis=-2)


def _products() -> list[OpCase]:
    rows = []
    for flip_a, flip_b in itertools.product((False, True), repeat=2):
        a, b = ((4, 2) if flip_a else (2, 4)), ((3, 4) if flip_b else (4, 3))
        rows.append(OpCase(
            "MatMul", f"matrices{', first transposed' * flip_a}{', second transposed' * flip_b}",
            lambda x, y, f=flip_a, g=flip_b: linalg.matmul(x, y, transpose_a=f, transpose_b=g), (Arg(a), Arg(b)),
            lambda x, y, f=flip_a, g=flip_b: _product(_turned(x, f), _turned(y, g)),
            dtypes=(*FLOATS, "int32") if not flip_a else ("float32",),
            zero=(((0, *a[1:]), b), ((4, 0), (3, 0))) if (flip_a, flip_b) == (False, True) else (),
        ))  # fmt: skip
        rows.append(OpCase(
            "MatMul", f"batches that broadcast{', first transposed' * flip_a}{', second transposed' * flip_b}",
            lambda x, y, f=flip_a, g=flip_b: linalg.matmul(x, y, transpose_a=f, transpose_b=g),
            (Arg((5, 1, *a)), Arg((2, *b))), lambda x, y, f=flip_a, g=flip_b: _product(_turned(x, f), _turned(y, g)),
        ))  # fmt: skip
        rows.append(OpCase(
            "MatMul", f"complex{', first adjoint' * flip_a}{', second adjoint' * flip_b}",
            lambda x, y, f=flip_a, g=flip_b: linalg.matmul(x, y, adjoint_a=f, adjoint_b=g),
            (Arg(a, dtype=COMPLEX), Arg(b, dtype=COMPLEX)),
            lambda x, y, f=flip_a, g=flip_b: _product(
                np.conj(_turned(x, f)) if f else x, np.conj(_turned(y, g)) if g else y),
        ))  # fmt: skip
    return rows


def _definite(x: Any) -> Any:
    """A positive definite matrix made of any matrix, in the graph."""
    return math.add(linalg.matmul(x, x, adjoint_b=True), blocks.eye(3, dtype=x.dtype))


def _definite_array(x: Any) -> Any:
    return _product(x, np.conj(np.swapaxes(x, -1, -2))) + np.eye(3)


def _symmetric(x: Any) -> Any:
    return math.add(x, linalg.matrix_transpose(x))


def _cholesky(a: Any) -> Any:
    """Column by column."""
    out = np.zeros_like(a)
    for place in np.ndindex(a.shape[:-2]):
        m, factor = a[place], out[place]
        for i in range(len(m)):
            for j in range(i + 1):
                rest = m[i, j] - np.sum(factor[i, :j] * np.conj(factor[j, :j]))
                factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    return out


def _determinant(a: Any) -> Any:
    """By permutations."""
    n = a.shape[-1]
    total = np.zeros(a.shape[:-2], a.dtype)
    for order in itertools.permutations(range(n)):
        swaps = sum(i > j for i, j in itertools.combinations(order, 2))
        term = np.ones_like(total)
        for i, j in enumerate(order):
            term = term * a[..., i, j]
        total = total + (-1) ** swaps * term
    return total


def _eigen_parts(x: Any) -> list[Any]:
    """What does not depend on the signs of the vectors: the values, and the matrix put together again."""
    e, v = linalg.self_adjoint_eig(_symmetric(x))
    return [e, math.square(v), linalg.matmul(math.multiply(v, array.expand_dims(math.exp(e), -2)), v, transpose_b=True)]


def _eigen_reference(x: Any) -> list[Any]:
    e, v = np.linalg.eigh(x + np.swapaxes(x, -1, -2))
    return [e, v**2, _product(v * np.exp(e)[..., None, :], np.swapaxes(v, -1, -2))]


def _svd_parts(x: Any) -> list[Any]:
    s, u, v = linalg.svd(x)
    together = linalg.matmul(math.multiply(u, array.expand_dims(s, -2)), v, transpose_b=True)
    return [s, math.square(u), math.square(v), together]


def _svd_reference(x: Any) -> list[Any]:
    u, s, v = np.linalg.svd(x, full_matrices=False)
    return [s, u**2, np.swapaxes(v, -1, -2) ** 2, x]


def _full_svd_reference(x: Any) -> list[Any]:
    u, s, v = np.linalg.svd(x)
    return [np.abs(s), np.abs(u), np.abs(v.T)]


_BASE = np.array([[4.0, 1.0, 0.5], [-1.0, 3.0, 0.25], [0.5, -0.5, 2.0]])
_BATCH = np.stack([_BASE, _BASE.T + 0.5])
_RHS = Arg((2, 3, 2))

MATRICES: list[OpCase] = [
    *_products(),
    OpCase("MatMul", "operator", lambda a, b: a @ b, (Arg((2, 3)), Arg((3, 2)),), _product),
    OpCase("MatMul", "one element and NaN", linalg.matmul, (np.array([[0.0]]), np.array([[1.0, np.nan]])),
           lambda a, b: np.array([[0.0, np.nan]], a.dtype), wrt=()),
    OpCase("MatMul", "matrix and batch", linalg.matmul, (Arg((2, 3)), Arg((4, 3, 2))), _product),
    OpCase("MatMul", "with its own transpose", lambda a: linalg.matmul(a, a, transpose_b=True), (Arg((40, 30)),),
           lambda a: _product(a, a.T)),
    OpCase("MatMul", "nothing in between", linalg.matmul, (Arg((2, 3)), Arg((3, 2))), _product,
           zero=(((2, 0), (0, 2)),)),
    OpCase("Cross", "vectors", linalg.cross, (Arg((2, 3)), Arg((2, 3))),
           lambda a, b: np.stack([a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1], a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
                                  a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]], 1), dtypes=(*FLOATS, "int32"),
                                  zero=(((0, 3), (0, 3)),)),
    OpCase("Cross", "complex", linalg.cross, (Arg((3,), dtype=COMPLEX), Arg((3,), dtype=COMPLEX)), np.cross),
    OpCase("tf.matrix_transpose", "batch", linalg.matrix_transpose, (Arg((2, 3, 4)),), lambda x: np.swapaxes(x, 1, 2)),
    OpCase("tf.linalg.adjoint", "batch", linalg.adjoint, (Arg((2, 3, 4), dtype=COMPLEX),),
           lambda x: np.conj(np.swapaxes(x, 1, 2))),
    OpCase("tf.trace", "batch", linalg.trace, (Arg((2, 3, 4)),), lambda x: x[:, 0, 0] + x[:, 1, 1] + x[:, 2, 2]),
    OpCase("MatrixInverse", "batch", linalg.matrix_inverse, (_BATCH,), np.linalg.inv,
           zero=(((0, 3, 3),), ((2, 0, 0),))),
    OpCase("MatrixInverse", "complex, adjoint", lambda x: linalg.matrix_inverse(x, adjoint=True),
           (_BASE + 1j * _BASE[::-1] / 3,), lambda x: np.linalg.inv(np.conj(x.T))),
    OpCase("MatrixDeterminant", "batch", linalg.matrix_determinant, (_BATCH,), _determinant, zero=(((0, 3, 3),),)),
    OpCase("MatrixDeterminant", "complex", linalg.matrix_determinant, (_BASE + 1j * _BASE[::-1] / 3,), _determinant),
    OpCase("MatrixSolve", "batch", linalg.matrix_solve, (_BATCH, _RHS), lambda a, b: _product(np.linalg.inv(a), b),
           zero=(((0, 3, 3), (0, 3, 2)), ((2, 3, 3), (2, 3, 0)))),
    OpCase("MatrixSolve", "adjoint", lambda a, b: linalg.matrix_solve(a, b, adjoint=True), (_BASE, Arg((3, 1))),
           lambda a, b: _product(np.linalg.inv(a.T), b)),
    OpCase("MatrixSolve", "complex, adjoint", lambda a, b: linalg.matrix_solve(a, b, adjoint=True),
           (_BASE + 1j * _BASE[::-1] / 3, Arg((3, 1), dtype=COMPLEX)),
           lambda a, b: _product(np.linalg.inv(np.conj(a.T)), b)),
    *[OpCase("MatrixTriangularSolve", f"{'lower' if low else 'upper'}{', adjoint' * adj}",
             lambda a, b, k=low, t=adj: linalg.matrix_triangular_solve(a, b, k, t), (_BATCH, _RHS),
             lambda a, b, k=low, t=adj: _product(np.linalg.inv(_turned((np.tril if k else np.triu)(a), t)), b),
             zero=(((0, 3, 3), (0, 3, 2)), ((2, 0, 0), (2, 0, 2))))
      for low in (True, False) for adj in (False, True)],
    *[OpCase("MatrixTriangularSolve", f"large, {'lower' if low else 'upper'}",
             lambda a, b, k=low: linalg.matrix_triangular_solve(a, b, k),
             (np.eye(150) * 3 + np.cos(np.arange(22500.0)).reshape(150, 150) / 50, Arg((150, 2))),
             lambda a, b, k=low: _product(np.linalg.inv((np.tril if k else np.triu)(a)), b),
             second=False) for low in (True, False)],
    OpCase("MatrixTriangularSolve", "complex, adjoint", lambda a, b: linalg.matrix_triangular_solve(a, b, adjoint=True),
           (_BASE + 1j * _BASE[::-1] / 3, Arg((3, 1), dtype=COMPLEX)),
           lambda a, b: _product(np.linalg.inv(np.conj(np.tril(a).T)), b)),
    OpCase("Cholesky", "batch", lambda x: linalg.cholesky(_definite(x)), (Arg((2, 3, 3)),),
           lambda x: _cholesky(_definite_array(x)),
           analytic=False, zero=(((0, 3, 3),),)),
    OpCase("Cholesky", "complex", lambda x: linalg.cholesky(_definite(x)), (Arg((3, 3), dtype=COMPLEX),),
           lambda x: _cholesky(_definite_array(x)), analytic=False),
    OpCase("SelfAdjointEig", "batch", _eigen_parts, (_BATCH,), _eigen_reference, analytic=False, zero=(((0, 3, 3),),)),
    OpCase("SelfAdjointEig", "values", lambda x: linalg.self_adjoint_eigvals(_symmetric(x)), (_BATCH,),
           lambda x: np.linalg.eigvalsh(x + np.swapaxes(x, 1, 2)), analytic=False),
    OpCase("SelfAdjointEig", "values, complex", lambda x: linalg.self_adjoint_eig(math.add(x, linalg.adjoint(x)))[0],
           (_BASE + 1j * _BASE[::-1],), lambda x: np.linalg.eigvalsh(x + np.conj(x.T)).astype(complex), analytic=False),
    OpCase("Svd", "tall", _svd_parts, (Arg((4, 3)),), _svd_reference, analytic=False, zero=(((0, 3),),)),
    OpCase("Svd", "wide, batch", _svd_parts, (Arg((2, 2, 4)),), _svd_reference, analytic=False),
    OpCase("Svd", "values", lambda x: linalg.svd(x, compute_uv=False), (Arg((4, 3)),), lambda x: np.linalg.svd(x)[1],
           analytic=False),
    OpCase("Svd", "full", lambda x: [math.abs(t) for t in linalg.svd(x, full_matrices=True)], (Arg((4, 3)),),
           _full_svd_reference, wrt=(), dtypes=()),
    *[OpCase("tf.norm", id, lambda x, kw=kw: linalg.norm(x, **kw), (Arg((3, 4), 0.2),),
             lambda x, o=o, kw=kw: np.linalg.norm(x if "axis" in kw else x.ravel(), o, kw.get("axis"),
             kw.get("keepdims", False)),
             analytic=False)
      for id, o, kw in [
          ("all", None, {}), ("rows", None, {"axis": 1}), ("rows kept", None, {"axis": (-1,), "keepdims": True}),
          ("two", 2, {"ord": 2, "axis": 0}), ("sum", 1, {"ord": 1}), ("largest", np.inf, {"ord": np.inf, "axis": 1}),
          ("p", 3, {"ord": 3, "axis": 0}), ("fraction", 1.5, {"ord": 1.5}),
          ("Frobenius", "fro", {"ord": "fro", "axis": (0, 1)}),
          ("columns of a matrix", 1, {"ord": 1, "axis": (0, 1)}),
          ("rows of a matrix", np.inf, {"ord": np.inf, "axis": (-2, -1)}),
          ("matrix, kept", 1, {"ord": 1, "axis": (0, 1), "keepdims": True}),
      ]],
    OpCase("tf.norm", "complex", lambda x: linalg.norm(x, axis=0), (Arg((3, 2), dtype=COMPLEX),),
           lambda x: np.linalg.norm(x, axis=0),
           analytic=False),
]  # fmt: skip


def _letters(equation: str) -> Callable[..., Any]:
    """The sum over all values of all letters, one product at a time."""
    left, result = equation.split("->")
    operands = left.split(",")

    def reference(*arrays: Any) -> Any:
        sizes = {
            c: n for letters, x in zip(operands, arrays, strict=True) for c, n in zip(letters, x.shape, strict=True)
        }
        names = sorted(sizes)
        out = np.zeros([sizes[c] for c in result], np.result_type(*arrays))
        for values in itertools.product(*[range(sizes[c]) for c in names]):
            at = dict(zip(names, values, strict=True))
            term = 1.0
            for letters, x in zip(operands, arrays, strict=True):
                term = term * x[tuple(at[c] for c in letters)]
            out[tuple(at[c] for c in result)] += term
        return out

    return reference


_EQUATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "ij,jk->ik": ((2, 3), (3, 4)), "bij,bjk->bik": ((2, 3, 2), (2, 2, 3)), "ij,ij->": ((2, 3), (2, 3)),
    "i,j->ij": ((2,), (3,)),
    "ij,ij->ji": ((2, 3), (2, 3)), "ij->ji": ((2, 3),), "ij->": ((2, 3),), "ij->j": ((2, 3),), "ii->i": ((3, 3),),
    "ii->": ((3, 3),),
    "iij,j->i": ((2, 2, 3), (3,)), "ij,kj->k": ((2, 3), (4, 3)), "ij,kl->kl": ((2, 3), (4, 2)),
    "bhqd,bhkd->bhqk": ((1, 2, 3, 2), (1, 2, 2, 2)),
    "i,i,i->i": ((3,), (3,), (3,)), "ij,jk,kl->il": ((2, 3), (3, 2), (2, 4)),
    "ab,bc,cd,ad->": ((2, 3), (3, 2), (2, 3), (2, 3)),
    ",i->i": ((), (3,)), "iji->j": ((2, 3, 2),), "ij,i->ij": ((2, 3), (2,)),
}  # fmt: skip

CONTRACTIONS: list[OpCase] = [
    *[OpCase("Einsum", equation, lambda *xs, e=equation: contraction.einsum(e, *xs), tuple(Arg(s) for s in shapes),
             _letters(equation),
             dtypes=(*FLOATS, "int32") if equation in ("ij,jk->ik", "ij->j") else ("float32",))
      for equation, shapes in _EQUATIONS.items()],
    OpCase("Einsum", "result not said", lambda a, b: contraction.einsum("ij, jk", a, b), (Arg((2, 3)), Arg((3, 4))),
           _letters("ij,jk->ik"),
           zero=(((0, 3), (3, 4)), ((2, 0), (0, 4)))),
    OpCase("Einsum", "complex", lambda a, b: contraction.einsum("ij,jk->ik", a, b),
           (Arg((2, 3), dtype=COMPLEX), Arg((3, 4), dtype=COMPLEX)),
           _letters("ij,jk->ik")),
    OpCase("Einsum", "ellipsis", lambda a, b: contraction.einsum("...ij,jk->...ik", a, b),
           (Arg((2, 2, 3)), Arg((3, 2))),
           _letters("bij,jk->bik"), unknown="dims"),
    OpCase("Einsum", "ellipsis, result not said", lambda a: contraction.einsum("i...j,j", a, a[0, 0]),
           (Arg((2, 2, 3)),),
           lambda a: np.einsum("ibj,j->bi", a, a[0, 0]), unknown="dims"),
    OpCase("tf.tensordot", "number", lambda a, b: contraction.tensordot(a, b, 2), (Arg((2, 3, 4)), Arg((3, 4, 2))),
           lambda a, b: np.tensordot(a, b, 2), unknown="dims"),
    OpCase("tf.tensordot", "lists", lambda a, b: contraction.tensordot(a, b, [[-1, 0], [0, 1]]),
           (Arg((2, 3, 4)), Arg((4, 2, 2))),
           lambda a, b: np.tensordot(a, b, [[2, 0], [0, 1]]), unknown="dims"),
    OpCase("tf.tensordot", "a pair", lambda a, b: contraction.tensordot(a, b, [1, 0]), (Arg((2, 3)), Arg((3, 2))),
           _product, unknown="dims"),
    OpCase("tf.tensordot", "outer", lambda a, b: contraction.tensordot(a, b, 0), (Arg((2,)), Arg((3,))), np.outer,
           unknown="dims"),
]  # fmt: skip

CASES: list[OpCase] = [*MATRICES, *CONTRACTIONS]


def _zeros(*shape: int) -> Any:
    return array.zeros(list(shape))


def _run(build: Callable[[Any], Any], value: Any) -> Any:
    def row() -> Any:
        x = core.placeholder("float32")
        return Session().run(build(x), {x: value})

    return row


_SINGULAR = np.ones((2, 2))

ERRORS: list[ErrorCase] = [
    ErrorCase("MatMul", "inner sizes", lambda: linalg.matmul(_zeros(2, 3), _zeros(2, 3)), errors.ShapeError,
              r"\[2, 3\] @ \[2, 3\]"),
    ErrorCase("MatMul", "a vector", lambda: linalg.matmul(_zeros(2, 3), _zeros(3)), errors.ShapeError, "expand_dims"),
    ErrorCase("MatMul", "batches", lambda: linalg.matmul(_zeros(2, 3, 3), _zeros(4, 3, 3)), errors.ShapeError,
              "broadcast"),
    ErrorCase("MatMul", "dtypes", lambda: linalg.matmul(_zeros(2, 2), core.constant([[1]])), errors.DTypeError,
              "float32"),
    ErrorCase("MatMul", "bools", lambda: linalg.matmul([[True]], [[True]]), errors.DTypeError, "number"),
    ErrorCase("MatMul", "transpose and adjoint",
              lambda: linalg.matmul(_zeros(2, 2), _zeros(2, 2), transpose_a=True, adjoint_a=True),
              errors.InvalidArgumentError, "exclude"),
    ErrorCase("MatMul", "sizes of the run", _run(lambda x: linalg.matmul(x, _zeros(3, 3)), np.zeros((2, 2))),
              errors.ShapeError, "inner"),
    ErrorCase("Cross", "planes", lambda: linalg.cross(_zeros(2), _zeros(2)), errors.ShapeError, "3-vectors"),
    ErrorCase("Cross", "shapes", lambda: linalg.cross(_zeros(2, 3), _zeros(3)), errors.ShapeError, "agree"),
    ErrorCase("tf.matrix_transpose", "vector", lambda: linalg.matrix_transpose(_zeros(2)), errors.ShapeError,
              "not a matrix"),
    ErrorCase("MatrixInverse", "not square", lambda: linalg.matrix_inverse(_zeros(2, 3)), errors.ShapeError, "square"),
    ErrorCase("MatrixInverse", "half", lambda: linalg.matrix_inverse(array.zeros([2, 2], "float16")),
              errors.DTypeError, "half"),
    ErrorCase("MatrixInverse", "singular", _run(linalg.matrix_inverse, _SINGULAR), errors.InvalidArgumentError,
              "[Ss]ingular"),
    ErrorCase("MatrixDeterminant", "vector", lambda: linalg.matrix_determinant(_zeros(2)), errors.ShapeError, "square"),
    ErrorCase("MatrixSolve", "sides", lambda: linalg.matrix_solve(_zeros(2, 2), _zeros(3, 1)), errors.ShapeError,
              "right-hand"),
    ErrorCase("MatrixSolve", "vector", lambda: linalg.matrix_solve(_zeros(2, 2), _zeros(2)), errors.ShapeError,
              "right-hand"),
    ErrorCase("MatrixSolve", "singular", _run(lambda x: linalg.matrix_solve(x, x), _SINGULAR),
              errors.InvalidArgumentError, "[Ss]ingular"),
    ErrorCase("MatrixTriangularSolve", "integers", lambda: linalg.matrix_triangular_solve([[1]], [[1]]),
              errors.DTypeError, "inexact"),
    ErrorCase("Cholesky", "indefinite", _run(linalg.cholesky, -_SINGULAR), errors.InvalidArgumentError,
              "positive definite"),
    ErrorCase("SelfAdjointEig", "not square", lambda: linalg.self_adjoint_eig(_zeros(2, 3)), errors.ShapeError,
              "square"),
    ErrorCase("Svd", "vector", lambda: linalg.svd(_zeros(2)), errors.ShapeError, "not a matrix"),
    ErrorCase("tf.norm", "name", lambda: linalg.norm(_zeros(2), "nuclear"), errors.InvalidArgumentError, "vector norm"),
    ErrorCase("tf.norm", "Frobenius of a vector", lambda: linalg.norm(_zeros(2), "fro"), errors.InvalidArgumentError,
              "matrices"),
    ErrorCase("tf.norm", "matrix 2", lambda: linalg.norm(_zeros(2, 2), 2, (0, 1)), errors.InvalidArgumentError,
              "matrix norm"),
    ErrorCase("tf.norm", "three axes", lambda: linalg.norm(_zeros(2, 2, 2), axis=(0, 1, 2)),
              errors.InvalidArgumentError, "one axis or two"),
    ErrorCase("tf.norm", "integers", lambda: linalg.norm([1, 2]), errors.DTypeError, "inexact"),
    ErrorCase("Einsum", "operands", lambda: contraction.einsum("ij,jk->ik", _zeros(2, 2)),
              errors.InvalidArgumentError, "2 operands"),
    ErrorCase("Einsum", "rank", lambda: contraction.einsum("ij->i", _zeros(2)), errors.ShapeError, "names 2 axes"),
    ErrorCase("Einsum", "sizes", lambda: contraction.einsum("ij,jk->ik", _zeros(2, 3), _zeros(2, 3)),
              errors.ShapeError, "two sizes"),
    ErrorCase("Einsum", "result", lambda: contraction.einsum("ij->k", _zeros(2, 2)), errors.InvalidArgumentError,
              "no operand has"),
    ErrorCase("Einsum", "twice in the result", lambda: contraction.einsum("i->ii", _zeros(2)),
              errors.InvalidArgumentError, "twice"),
    ErrorCase("Einsum", "digits", lambda: contraction.einsum("1->1", _zeros(2)), errors.InvalidArgumentError,
              "letters"),
    ErrorCase("Einsum", "not text", lambda: contraction.einsum(_zeros(2), "i->i"), errors.InvalidArgumentError, "text"),
    ErrorCase("Einsum", "ellipsis of unknown rank",
              lambda: contraction.einsum("...i->...", core.placeholder("float32")), errors.ShapeError,
              "known rank"),
    ErrorCase("tf.tensordot", "number", lambda: contraction.tensordot(_zeros(2), _zeros(2), 2),
              errors.InvalidArgumentError, "0 to 1"),
    ErrorCase("tf.tensordot", "sizes", lambda: contraction.tensordot(_zeros(2, 3), _zeros(2, 3), 1),
              errors.ShapeError, "two sizes"),
    ErrorCase("tf.tensordot", "axis", lambda: contraction.tensordot(_zeros(2), _zeros(2), [[1], [0]]),
              errors.ShapeError, "out of range"),
    ErrorCase("tf.tensordot", "unknown rank",
              lambda: contraction.tensordot(core.placeholder("float32"), _zeros(2), 1), errors.ShapeError,
              "known rank"),
]  # fmt: skip
