"""Imports every module that fills the table of native kernels."""

from graphflow_numpy.native import blas_calls, copies, matmul, pools, rows, updates, windows

__all__ = ["blas_calls", "copies", "matmul", "pools", "rows", "updates", "windows"]
