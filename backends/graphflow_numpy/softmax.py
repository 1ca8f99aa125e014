"""Kernels of softmax and of cross-entropies.

Policy: every row of the result depends on its own row alone, so cutting an array into tiles changes no bit.  A few
classes are laid out class after class, so that each NumPy call runs along all rows at once.  Half precision is computed
in float32.  The plain kernels are the ones that write into given memory, on fresh memory.

State: none.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.spec import describe
from graphflow_numpy.table import into, rows

_FEW_CLASSES = 32
_exp: Any = np.exp
_add: Any = np.add.reduce
_max: Any = np.maximum.reduce
_log: Any = np.log
_sub: Any = np.subtract


def _laid(x: Any) -> tuple[Any, int]:
    """The values as a matrix in the precision that sums are made in, and which of its axes the classes are."""
    classes = x.shape[-1]
    # C order, in which the sums are made
    wide = x.astype(np.float32, order="C") if x.itemsize == 2 else np.ascontiguousarray(x)
    matrix = wide.reshape(prod(x.shape[:-1]), classes)
    return (matrix.T.copy(), 0) if 0 < classes <= _FEW_CLASSES else (matrix, 1)


def _sums(x: Any, axis: int) -> Any:
    """The sum over the classes, which stay as an axis of one."""
    if not axis and x.shape[1] == 1:  # where reduce would add in another order than for more rows
        return np.add.accumulate(x, 0)[-1:]
    return _add(x, axis, None, None, True)


def _shifted(x: Any, axis: int) -> Any:
    """The logits less the largest of each row; a row of -inf alone gives NaN, as it must."""
    return _sub(x, _max(x, axis, None, None, True) if x.shape[axis] else x)


def _as(out: Any, axis: int) -> Any:
    """The result's memory, which is C-ordered, as a matrix laid out as the values are."""
    matrix = out.reshape(prod(out.shape[:-1]), out.shape[-1])
    return matrix if axis else matrix.T


def _softmax(x: Any, out: Any) -> None:
    values, axis = _laid(x)
    e = _shifted(values, axis)
    _exp(e, e)
    np.divide(e, _sums(e, axis), e)
    _as(out, axis)[...] = e


def _log_softmax(x: Any, out: Any) -> None:
    values, axis = _laid(x)
    shifted = _shifted(values, axis)
    _sub(shifted, _log(_sums(_exp(shifted), axis)), shifted)
    _as(out, axis)[...] = shifted


def _softmax_cross_entropy(x: Any, labels: Any, loss: Any, slope: Any) -> None:
    if x.shape != labels.shape:
        raise ShapeError(
            "logits and labels must have the same shape", expected=describe(x.shape), got=describe(labels.shape)
        )
    (values, axis), (wanted, _) = _laid(x), _laid(labels)
    shifted = _shifted(values, axis)
    e = _exp(shifted)
    total = _sums(e, axis)
    _sub(_log(total), shifted, shifted)
    np.multiply(shifted, wanted, shifted)
    found = _sums(shifted, axis)
    if not np.isfinite(found).all():  # a class that is impossible and unlabelled: 0 * inf counts as 0
        np.copyto(shifted, 0, where=wanted == 0)
        found = _sums(shifted, axis)
    loss.reshape(-1)[...] = found.reshape(-1)
    np.multiply(e, np.divide(_sums(wanted, axis), total), e)
    _sub(e, wanted, e)
    _as(slope, axis)[...] = e


def _sparse_softmax_cross_entropy(x: Any, labels: Any, loss: Any, slope: Any) -> None:
    classes, flat = x.shape[-1], np.reshape(labels, -1)
    if x.shape[:-1] != np.shape(labels):
        raise ShapeError(
            "labels must have the shape of the logits without the last axis",
            expected=describe(x.shape[:-1]),
            got=describe(np.shape(labels)),
        )
    if flat.size and not 0 <= flat.min() <= flat.max() < classes:
        bad = flat[(flat < 0) | (flat >= classes)][0]
        raise InvalidArgumentError(
            f"label {bad} is no class",
            expected=f"0 <= label < {classes}, the size of the logits' last axis",
            got=str(bad),
        )
    values, axis = _laid(x)
    shifted = _shifted(values, axis)
    row = np.arange(flat.size)
    place = (row, flat) if axis else (flat, row)
    e = _exp(shifted)
    total = _sums(e, axis)
    loss.reshape(-1)[...] = _log(total).reshape(-1) - shifted[place]
    np.divide(e, total, e)
    e[place] -= 1
    _as(slope, axis)[...] = e


def _fresh(write: Any) -> Any:
    """The plain kernel of one that writes its results into memory."""

    def kernel(x: Any) -> Any:
        out = np.empty(x.shape, x.dtype)
        write(x, out)
        return out

    return kernel


def _fresh_pair(write: Any) -> Any:
    """The plain kernel of a cross-entropy."""

    def kernel(x: Any, labels: Any) -> tuple[Any, Any]:
        loss, slope = np.empty(x.shape[:-1], x.dtype), np.empty(x.shape, x.dtype)
        write(x, labels, loss, slope)
        return loss, slope

    return kernel


_SINGLE: dict[str, Any] = {"Softmax": _softmax, "LogSoftmax": _log_softmax}
_PAIRS: dict[str, Any] = {
    "SoftmaxCrossEntropyWithLogits": _softmax_cross_entropy,
    "SparseSoftmaxCrossEntropyWithLogits": _sparse_softmax_cross_entropy,
}
rows({name: _fresh(write) for name, write in _SINGLE.items()})
rows({name: _fresh_pair(write) for name, write in _PAIRS.items()})
for _name, _write in {**_SINGLE, **_PAIRS}.items():
    into(_name)(_write)
