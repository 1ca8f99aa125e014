"""How eager tensors are shown: numbers as PyTorch shows them, and what gradients may be asked of.

Policy: long tensors are cut in the middle; text never depends on who looks at it twice.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.eager.tensor import REQUIRED, EagerTensor

THRESHOLD = 1000
_PLAIN = ("float32", "int64", "bool")


def text(x: EagerTensor) -> str:
    """`tensor([1., 2.], requires_grad=True)`."""
    values = np.asarray(x._array())
    told = "" if x.dtype.name in _PLAIN else f", dtype={x.dtype.name}"
    if not values.size and values.ndim > 1:
        told = f", size={list(values.shape)}{told}"
    if x.device != "cpu":
        told = f", device='{x.device}'{told}"
    if x.track == REQUIRED:
        told += ", requires_grad=True" if x.origin is None else f", grad_fn=<{x.origin.type}>"
    elif x.origin is not None:
        told += f", from=<{x.origin.type}>"
    return f"tensor({numbers(values)}{told})"


def numbers(values: np.ndarray[Any, Any]) -> str:
    """The elements, all equally wide."""
    if values.ndim == 0:
        return _format(values)(values[()])
    formatter: Any = {"float_kind": _padded(values)} if values.dtype.kind == "f" else None
    return np.array2string(
        values, separator=", ", precision=4, threshold=THRESHOLD, edgeitems=3, prefix="tensor(", formatter=formatter,
        max_line_width=88,
    )  # fmt: skip


def _padded(values: np.ndarray[Any, Any]) -> Callable[[Any], str]:
    form = _format(values)
    if values.size > THRESHOLD:
        cut = values[tuple(np.r_[0:3, max(n - 3, 3) : n] if n > 6 else np.arange(n) for n in values.shape[:1])]
        width = max((len(form(v)) for v in cut.reshape(-1)[:THRESHOLD]), default=0)
    else:
        width = max((len(form(v)) for v in values.reshape(-1)), default=0)
    return lambda v: form(v).rjust(width)


def _format(values: np.ndarray[Any, Any]) -> Callable[[Any], str]:
    """How one number is written beside these."""
    if values.dtype.kind != "f":
        return str
    size = np.abs(values[np.isfinite(values)].astype(np.float64))
    some = size[size > 0]
    if not (size % 1).any():
        whole = "{:.0f}." if not some.size or some.max() < 1e8 else "{:.4e}"
        return lambda v: whole.format(v) if np.isfinite(v) else str(v)
    small, large = float(some.min()), float(some.max())
    form = "{:.4e}" if large / small > 1000 or large > 1e8 or small < 1e-4 else "{:.4f}"
    return form.format
