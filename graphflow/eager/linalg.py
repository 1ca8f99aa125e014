"""`torch.linalg`: matrices, under their short names."""

from graphflow.eager.decompositions import (
    cholesky,
    cond,
    det,
    eigh,
    eigvalsh,
    inv,
    lstsq,
    matrix_norm,
    matrix_rank,
    norm,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
    vector_norm,
)
from graphflow.eager.matrices import matmul
from graphflow.eager.products import linalg_cross as cross
from graphflow.eager.products import linalg_diagonal as diagonal
from graphflow.eager.products import matrix_power, multi_dot, vecdot

__all__ = [
    "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "lstsq", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd",
    "svdvals", "vecdot", "vector_norm",
]  # fmt: skip
