"""Kernels of running sums and products, and of segments.

Policy: no loop over rows.  Segments are made contiguous by a stable sort where they are not, so that each is one
`reduceat`; their elements are added in the order in which they came.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow_numpy.elementwise import is_half
from graphflow_numpy.table import kernel

STEPWISE = 64  # up to this length a recurrence goes step by step, which is gentler to huge and tiny factors

# -- along an axis ---------------------------------------------------------------------------------------------------


def _along(axis: int, rank: int, part: slice) -> tuple[slice, ...]:
    """The index of a part of one axis."""
    whole = [slice(None)] * rank
    whole[axis] = part
    return tuple(whole)


def _running(ufunc: Any, neutral: int, x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
    if is_half(x):
        return _running(ufunc, neutral, x.astype(np.float32), axis, exclusive, reverse).astype(x.dtype)
    out = np.empty(x.shape, x.dtype)
    into = out
    if reverse:
        backwards = _along(axis, x.ndim, slice(None, None, -1))
        x, into = x[backwards], out[backwards]
    if exclusive:
        into[_along(axis, x.ndim, slice(0, 1))] = neutral
        x, into = x[_along(axis, x.ndim, slice(0, -1))], into[_along(axis, x.ndim, slice(1, None))]
    if x.shape[axis]:
        ufunc.accumulate(x, axis, x.dtype, into)
    return out


@kernel("Cumsum")
def _cumsum(x: Any, *, axis: int, exclusive: bool, reverse: bool) -> Any:
    return _running(np.add, 0, x, axis, exclusive, reverse)


@kernel("Cumprod")
def _cumprod(x: Any, *, axis: int, exclusive: bool, reverse: bool) -> Any:
    return _running(np.multiply, 1, x, axis, exclusive, reverse)


@kernel("LinearRecurrence")
def _recurrence(a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    out = np.zeros(b.shape, np.result_type(a, b))
    direction = slice(None, None, -1 if reverse else 1)
    a, b = np.moveaxis(a, axis, 0)[direction], np.moveaxis(b, axis, 0)[direction]
    s = np.moveaxis(out, axis, 0)[direction]
    length = len(b)
    if length <= STEPWISE:
        for i in range(length - 1):
            s[i + 1] = a[i] * s[i] + b[i]
        return out
    # Each round doubles how many steps `factor` and `s` stand for.
    factor = a[:-1].copy()
    s[1:] = b[:-1]
    t = s[1:]
    reach = 1
    while reach < length - 1:
        t[reach:] += factor[reach:] * t[:-reach]
        factor[reach:] = factor[reach:] * factor[:-reach]
        reach *= 2
    return out


# -- segments --------------------------------------------------------------------------------------------------------


def _lowest(dtype: Any) -> Any:
    info: Any = np.iinfo(dtype) if dtype.kind in "iu" else _finfo(dtype)
    return info.min


def _highest(dtype: Any) -> Any:
    info: Any = np.iinfo(dtype) if dtype.kind in "iu" else _finfo(dtype)
    return info.max


def _finfo(dtype: Any) -> Any:
    if dtype.kind == "V":
        import ml_dtypes

        return ml_dtypes.finfo(dtype)
    return np.finfo(dtype)


def _starts(ids: Any) -> Any:
    """Where in sorted ids each segment begins."""
    return np.concatenate(([0], np.flatnonzero(ids[1:] != ids[:-1]) + 1))


def _reduced(ufunc: Any, data: Any, ids: Any, out: Any) -> Any:
    """Write the reduction of each segment into its row of `out`."""
    if not len(ids):
        return out
    if np.any(ids[1:] < ids[:-1]):
        order = np.argsort(ids, kind="stable")
        ids, data = ids[order], data[order]
    starts = _starts(ids)
    if is_half(data) and ufunc in (np.add, np.multiply):
        out[ids[starts]] = ufunc.reduceat(data.astype(np.float32), starts, 0).astype(data.dtype)
    else:
        out[ids[starts]] = ufunc.reduceat(data, starts, 0, data.dtype)
    return out


def _check_sorted(data: Any, ids: Any) -> int:
    """The number of segments."""
    if len(ids) != len(data):
        raise ShapeError("each row of the data needs one id", expected=f"{len(data)} ids", got=str(len(ids)))
    if not len(ids):
        return 0
    if ids[0] < 0:
        raise InvalidArgumentError("segment ids cannot be negative", got=str(ids[0]))
    steps = ids[1:] < ids[:-1]
    if steps.any():
        at = int(steps.argmax())
        raise InvalidArgumentError(
            "segment ids must not decrease",
            got=f"{ids[at + 1]} after {ids[at]}",
            hint="tf.unsorted_segment_sum and its kin take ids in any order",
        )
    return int(ids[-1]) + 1


def _sorted(ufunc: Any, neutral: int) -> Any:
    def segments(data: Any, ids: Any) -> Any:
        out = np.full((_check_sorted(data, ids), *data.shape[1:]), neutral, data.dtype)
        return _reduced(ufunc, data, ids, out)

    return segments


def _unsorted(ufunc: Any, neutral: Any) -> Any:
    def segments(data: Any, ids: Any, count: Any) -> Any:
        if count < 0:
            raise InvalidArgumentError("num_segments cannot be negative", got=str(count))
        rest = data.shape[np.ndim(ids) :]
        if data.shape[: np.ndim(ids)] != np.shape(ids):
            raise ShapeError("the shape of the ids must be where the shape of the data begins")
        data, ids = np.reshape(data, (np.size(ids), *rest)), np.reshape(ids, -1)
        start = neutral(data.dtype) if callable(neutral) else neutral
        out = np.full((int(count), *rest), start, data.dtype)
        if len(ids):
            if ids.max() >= count:
                raise InvalidArgumentError(
                    f"segment id {ids.max()} is out of range", expected=f"ids < {count}", got=str(ids.max())
                )
            if ids.min() < 0:
                data, ids = data[ids >= 0], ids[ids >= 0]
        return _reduced(ufunc, data, ids, out)

    return segments


kernel("SegmentSum")(_sorted(np.add, 0))
kernel("SegmentProd")(_sorted(np.multiply, 1))
kernel("SegmentMax")(_sorted(np.maximum, 0))
kernel("SegmentMin")(_sorted(np.minimum, 0))
kernel("UnsortedSegmentSum")(_unsorted(np.add, 0))
kernel("UnsortedSegmentProd")(_unsorted(np.multiply, 1))
kernel("UnsortedSegmentMax")(_unsorted(np.maximum, _lowest))
kernel("UnsortedSegmentMin")(_unsorted(np.minimum, _highest))


@kernel("SegmentRows")
def _rows(rows: Any, ids: Any) -> Any:
    if not np.size(ids) or ids.min() >= 0:
        return rows.take(ids, 0) if np.ndim(ids) else np.array(rows[ids])
    if not len(rows):
        return np.zeros((*np.shape(ids), *rows.shape[1:]), rows.dtype)
    out = rows.take(np.maximum(ids, 0), 0)
    if np.ndim(ids):
        out[ids < 0] = 0
        return out
    return np.zeros_like(out)


@kernel("Bincount")
def _bincount(values: Any, weights: Any = None, *, low: int, high: int | None, dtype: Any) -> Any:
    flat = np.ravel(values)
    if flat.size and flat.min() < 0:
        raise InvalidArgumentError("bincount counts values that are not negative", got=str(flat.min()))
    share = None if weights is None else np.ravel(weights).astype(np.float64)
    if high is not None:
        inside = flat < high
        flat, share = flat[inside], None if share is None else share[inside]
    found = np.bincount(flat.astype(np.int64), share, low)
    return found.astype(dtype.np if weights is None else weights.dtype)
