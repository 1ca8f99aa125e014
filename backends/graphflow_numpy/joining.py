"""Fitted kernels that join many small arrays, or repeat one, as stretches of bytes.

Policy: NumPy takes some 100 ns for each piece that it copies, however small.  What is contiguous is copied as bytes
instead, in one call; what is not goes NumPy's way.  Copies only, so no bit changes.

State: none.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from graphflow.spec import TensorSpec, is_concrete, nbytes
from graphflow_numpy.table import TABLE, Fitted, fit

MANY = 12  # pieces from which on joining them as bytes is quicker
SHORT = 4096  # bytes of a piece up to which it is
BYTES = "?bBhHiIlLqQfd"  # dtypes whose memory Python's buffers can describe


@fit("Concat")
def _fit_concat(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    """Many short pieces one after the other."""
    axis, out = attrs["axis"], outputs[0]
    if out is None or len(inputs) < MANY or out.dtype.np.char not in BYTES:
        return None
    if not is_concrete(out.dims) or prod(out.dims[: axis % len(out.dims)]) != 1:
        return None
    if not all((nbytes(piece) or SHORT + 1) <= SHORT for piece in inputs):
        return None
    dtype, dims = out.dtype.np, out.dims

    def write(*arrays: Any) -> None:
        pieces, target = arrays[:-1], arrays[-1]
        try:
            joined = b"".join(pieces)
        except (BufferError, TypeError, ValueError):  # one of them is not contiguous
            np.concatenate(pieces, axis, target)
            return
        target.reshape(-1)[...] = np.frombuffer(joined, dtype)

    def join(*pieces: Any) -> Any:
        target = np.empty(dims, dtype)
        write(*pieces, target)
        return target

    return Fitted(join, write)


@fit("Tile")
def _fit_tile(attrs: Any, inputs: Any, outputs: Any) -> Fitted | None:
    """Repeated along one axis: each stretch of memory from that axis on is copied as if it were one element."""
    x, out = inputs[0], outputs[0]
    if out is None or x.dtype.np.char not in BYTES or not is_concrete(x.dims) or not is_concrete(out.dims):
        return None
    axes = [axis for axis, (d, n) in enumerate(zip(x.dims, out.dims, strict=True)) if d != n]
    if len(axes) != 1 or 0 in out.dims:
        return None
    lead = prod(x.dims[: axes[0]])
    return _repeated(x, out, lead, (out.dims[axes[0]]) // x.dims[axes[0]])


def _repeated(x: TensorSpec, out: TensorSpec, lead: int, times: int) -> Fitted:
    size = (nbytes(x) or 0) // lead
    stretch, plain = np.dtype((np.void, size)), TABLE["Tile"].into
    dims, dtype = out.dims, out.dtype.np
    assert plain is not None and is_concrete(dims)

    def write(x: Any, multiples: Any, target: Any) -> None:
        if x.flags.c_contiguous:
            target.reshape(-1).view(stretch).reshape(lead, times)[...] = x.reshape(-1).view(stretch).reshape(lead, 1)
        else:
            plain(x, multiples, target)

    def repeat(x: Any, multiples: Any) -> Any:
        target = np.empty(dims, dtype)
        write(x, multiples, target)
        return target

    return Fitted(repeat, write)
