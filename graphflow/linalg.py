"""`tf.linalg`: matrices, under their shorter names."""

from graphflow.ops.blocks import eye as eye
from graphflow.ops.blocks import matrix_band_part as band_part
from graphflow.ops.blocks import matrix_diag as diag
from graphflow.ops.blocks import matrix_diag_part as diag_part
from graphflow.ops.blocks import matrix_set_diag as set_diag
from graphflow.ops.contraction import einsum as einsum
from graphflow.ops.contraction import tensordot as tensordot
from graphflow.ops.linalg import adjoint as adjoint
from graphflow.ops.linalg import cholesky as cholesky
from graphflow.ops.linalg import cross as cross
from graphflow.ops.linalg import matmul as matmul
from graphflow.ops.linalg import matrix_determinant as det
from graphflow.ops.linalg import matrix_inverse as inv
from graphflow.ops.linalg import matrix_solve as solve
from graphflow.ops.linalg import matrix_transpose as transpose
from graphflow.ops.linalg import matrix_triangular_solve as triangular_solve
from graphflow.ops.linalg import norm as norm
from graphflow.ops.linalg import self_adjoint_eig as eigh
from graphflow.ops.linalg import self_adjoint_eigvals as eigvalsh
from graphflow.ops.linalg import svd as svd
from graphflow.ops.linalg import trace as trace

__all__ = [
    "adjoint",
    "band_part",
    "cholesky",
    "cross",
    "det",
    "diag",
    "diag_part",
    "eigh",
    "eigvalsh",
    "einsum",
    "eye",
    "inv",
    "matmul",
    "norm",
    "set_diag",
    "solve",
    "svd",
    "tensordot",
    "trace",
    "transpose",
    "triangular_solve",
]
