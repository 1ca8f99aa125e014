"""Kernels of running sums and products, and of segments.

Policy: no loop over rows.  Segments are combined by `ufunc.at` on flat arrays, the one form of it that NumPy has fast
loops for: no sort, and the elements are added in the order in which they come.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.dtypes import as_dtype, finfo
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow_numpy.elementwise import is_half
from graphflow_numpy.table import kernel, rows

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


def _combined(ufunc: Any, start: Any, empty: Any, data: Any, ids: Any, count: int) -> Any:
    """The rows of each segment combined; `empty` where there is no row, `start` being neutral."""
    rest = data.shape[1:]
    width = 1
    for n in rest:
        width *= n
    out = np.full(count * width, start, np.float32 if is_half(data) else data.dtype)
    if len(ids):
        places = ids.astype(np.intp, copy=False)
        if width != 1:
            places = (places[:, None] * width + np.arange(width)).reshape(-1)
        ufunc.at(out, places, data.astype(out.dtype, copy=False).reshape(-1))
    out = out.reshape(count, *rest)
    if empty is not start:
        out[np.bincount(ids, minlength=count)[:count] == 0] = empty
    return out.astype(data.dtype, copy=False)


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


def _check_unsorted(data: Any, ids: Any, count: Any) -> tuple[Any, Any]:
    """One row of data for each id, without those that belong to no segment."""
    if count < 0:
        raise InvalidArgumentError("num_segments cannot be negative", got=str(count))
    rank = np.ndim(ids)
    if data.shape[:rank] != np.shape(ids):
        raise ShapeError("the shape of the ids must be where the shape of the data begins")
    data, ids = np.reshape(data, (np.size(ids), *data.shape[rank:])), np.reshape(ids, -1)
    if not len(ids):
        return data, ids
    highest = ids.max()
    if highest >= count:
        raise InvalidArgumentError(
            f"segment id {highest} is out of range", expected=f"ids < {count}", got=f"{highest} with {count} segments"
        )
    if ids.min() < 0:
        inside = ids >= 0
        data, ids = data[inside], ids[inside]
    return data, ids


def _kernels(name: str, ufunc: Any, start: Callable[[Any], Any], sorted_empty: Any, unsorted_empty: Any) -> None:
    """The two kernels of a ufunc; `start` is its neutral element in a dtype."""

    def in_order(data: Any, ids: Any) -> Any:
        first = start(data.dtype)
        count = _check_sorted(data, ids)
        return _combined(ufunc, first, first if sorted_empty is None else sorted_empty, data, ids, count)

    def in_any_order(data: Any, ids: Any, count: Any) -> Any:
        first = start(data.dtype)
        empty = first if unsorted_empty is None else unsorted_empty(data.dtype)
        data, ids = _check_unsorted(data, ids, count)
        return _combined(ufunc, first, empty, data, ids, int(count))

    rows({f"Segment{name}": in_order, f"UnsortedSegment{name}": in_any_order})


def _end(largest: bool, finite: bool) -> Callable[[Any], Any]:
    """The largest or smallest number of a dtype, which may be infinite."""

    def value(dtype: Any) -> Any:
        info: Any = np.iinfo(dtype) if dtype.kind in "iu" else None
        if info is None and not finite:
            return np.inf if largest else -np.inf
        info = info or finfo(as_dtype(dtype))
        return info.max if largest else info.min

    return value


_kernels("Sum", np.add, lambda dtype: 0, None, None)
_kernels("Prod", np.multiply, lambda dtype: 1, None, None)
_kernels("Max", np.maximum, _end(False, False), 0, _end(False, True))
_kernels("Min", np.minimum, _end(True, False), 0, _end(True, True))


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
