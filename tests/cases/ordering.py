"""Sorting, equality and groups."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphflow import dtypes, errors
from graphflow.ops import core, ordering
from graphflow.testing import Arg, ErrorCase, OpCase
from tests.cases.array import _fed, _x

_INVALID = errors.InvalidArgumentError
_TIES = np.array([[3, 1, 3, 2, 3, 1], [0, 0, 0, 0, 0, 0]], np.int32)
_TEXT = np.array([b"b", b"a", b"b", b"c"], object)


class _Sparse(NamedTuple):
    indices: Any
    values: Any
    dense_shape: Any


def _order(row: Any, descending: bool) -> Any:
    """Places sorted by value, equal ones by place."""
    return sorted(range(len(row)), key=lambda i: (-row[i] if descending else row[i], i))


def _sort(x: Any, axis: int, descending: bool = False) -> Any:
    places = np.apply_along_axis(lambda row: np.array(_order(row.tolist(), descending), np.int64), axis, x)
    return [np.take_along_axis(x, places, axis), places]


def _top(x: Any, k: int) -> Any:
    places = np.array([_order(row, True)[:k] for row in x.reshape(-1, x.shape[-1]).tolist()]).reshape(*x.shape[:-1], k)
    return [np.take_along_axis(x, places.astype(int), -1), places]


def _in_top(predictions: Any, targets: Any, k: int) -> Any:
    return np.array([0 <= t < len(p) and bool(np.isfinite(p).all()) and sum(v > p[t] for v in p) < k
                     for p, t in zip(predictions, targets.tolist(), strict=True)], bool)  # fmt: skip


def _unique(x: Any) -> Any:
    found: list[Any] = []
    for v in x.tolist():
        if v not in found:
            found.append(v)
    places = np.array([found.index(v) for v in x.tolist()])
    return [np.array(found, x.dtype), places, np.array([x.tolist().count(v) for v in found])]


def _distance(a: Any, b: Any) -> int:
    if not len(a) or not len(b):
        return max(len(a), len(b))
    rest = _distance(a[1:], b[1:])
    return rest if a[0] == b[0] else 1 + min(_distance(a[1:], b), _distance(a, b[1:]), rest)


def _stitched(pairs: Any) -> Any:
    size = max((int(i.max()) + 1 for i, _ in pairs if i.size), default=0)
    out = np.zeros((size, *pairs[0][1].shape[pairs[0][0].ndim :]))
    for i, d in pairs:
        for place in np.ndindex(i.shape):
            out[i[place]] = d[place]
    return out


def _edit(ai: Any, av: Any, bi: Any, bv: Any, normalize: bool = True) -> Any:
    return ordering.edit_distance(_Sparse(ai, av, [3, 5]), _Sparse(bi, bv, [3, 4]), normalize)


_A = (np.array([[0, 0], [0, 1], [0, 2], [1, 0], [2, 0]]), np.array([1, 2, 3, 7, 8], np.int32))
_B = (np.array([[0, 0], [0, 1], [2, 0], [2, 1]]), np.array([1, 3, 9, 8], np.int32))

CASES: list[OpCase] = [
    *[OpCase("Sort", f"{direction.lower()} along {axis}",
             lambda x, a=axis, d=direction: list(ordering._sort(x, a, d == "DESCENDING")),
             (Arg((3, 4, 2)),), lambda x, a=axis, d=direction: _sort(x, a, d == "DESCENDING"), analytic=False,
             dtypes=("float32", "int32"), zero=(((0, 4, 2),),) if axis == 0 else ())
      for axis in (0, 1, -1) for direction in ("ASCENDING", "DESCENDING")],
    OpCase("Sort", "ties", lambda x: [ordering.argsort(x), ordering.argsort(x, direction="DESCENDING")], (_TIES,),
           lambda x: [_sort(x, -1)[1], _sort(x, -1, True)[1]]),
    OpCase("Sort", "only values", lambda x: ordering.sort(x, direction="DESCENDING"), (Arg((5,)),),
           lambda x: np.sort(x)[::-1],
           analytic=False),
    OpCase("Sort", "NaN is largest", ordering.sort, (np.array([2.0, np.nan, -np.inf, np.inf]),), np.sort, wrt=()),
    OpCase("TopK", "rows", lambda x: list(ordering.top_k(x, 2)), (Arg((2, 3, 5)),), lambda x: _top(x, 2),
           analytic=False,
           dtypes=("float32", "int32"), zero=(((0, 3, 5),),)),
    OpCase("TopK", "one", lambda x: list(ordering.top_k(x)), (Arg((5,)),), lambda x: _top(x, 1), analytic=False),
    OpCase("TopK", "all", lambda x: list(ordering.top_k(x, 5)), (Arg((5,)),), lambda x: _top(x, 5), analytic=False),
    OpCase("TopK", "none", lambda x: list(ordering.top_k(x, 0)), (Arg((2, 5)),), lambda x: [x[:, :0], np.zeros((2, 0))],
           wrt=()),
    OpCase("TopK", "ties", lambda x: list(ordering.top_k(x, 4)), (_TIES,), lambda x: _top(x, 4)),
    OpCase("TopK", "long rows", lambda x: list(ordering.top_k(x, 7)), (Arg((3, 200)),), lambda x: _top(x, 7),
           analytic=False),
    OpCase("TopK", "long rows with ties", lambda x: list(ordering.top_k(x, 9)), (Arg((4, 150), 0, 6, "int32"),),
           lambda x: _top(x, 9)),
    OpCase("TopK", "long rows with NaN", lambda x: ordering.top_k(x, 2).indices,
           (np.where(np.arange(99) == 50, np.nan, 1.0),),
           lambda x: np.array([50, 0]), wrt=()),
    OpCase("TopK", "k from a run", lambda x, k: list(ordering.top_k(x, k)), (Arg((2, 5)), np.int32(3)),
           lambda x, k: _top(x, 3),
           analytic=False),
    OpCase("TakeAlongAxis", "rows", lambda x, i: ordering._take_along(x, i, -1),
           (Arg((2, 3)), np.array([[2, 0], [1, 2]])),
           lambda x, i: np.stack([x[0, [2, 0]], x[1, [1, 2]]]) if len(x) else np.zeros((0, 2)),
           zero=(((0, 3), (0, 2)),)),
    OpCase("TakeAlongAxis", "an element several times", lambda x, i: ordering._take_along(x, i, 1),
           (Arg((2, 3, 2)), np.array([[[2, 0], [2, 0], [1, 0], [-1, 1]], [[1, 1], [1, 1], [1, 0], [0, 0]]])),
           lambda x, i: np.take_along_axis(x, i, 1), unknown="dims"),
    OpCase("PutAlongAxis", "rows", lambda dy, i: ordering._put_along(dy, i, [2, 3], 1),
           (Arg((2, 2)), np.array([[2, 0], [1, 2]])),
           lambda dy, i: np.array([[dy[0, 1], 0, dy[0, 0]], [0, dy[1, 0], dy[1, 1]]])),
    OpCase("PutAlongAxis", "no element", lambda dy, i: ordering._put_along(dy, i, [2, 3], 1),
           (Arg((2, 0)), np.zeros((2, 0), np.int32)), lambda dy, i: np.zeros((2, 3))),
    OpCase("InTopK", "rows", lambda p, t: ordering.in_top_k(p, t, 2), (Arg((6, 4)), np.array([0, 1, 2, 3, 4, -1])),
           lambda p, t: _in_top(p, t, 2), wrt=(), zero=(((0, 4), (0,)),)),
    OpCase("InTopK", "ties and NaN", lambda p, t: ordering.in_top_k(p, t, 1),
           (np.array([[1.0, 1.0], [np.nan, 1.0], [np.inf, 1.0]]), np.array([1, 1, 0])), lambda p, t: _in_top(p, t, 1),
           wrt=()),
    OpCase("SearchSorted", "left", ordering.searchsorted, (np.array([1.0, 2.0, 2.0, 5.0]), np.array([2.0, 0.0, 9.0])),
           lambda s, v: np.array([1, 0, 4]), wrt=()),
    OpCase("SearchSorted", "right, in rows", lambda s, v: ordering.searchsorted(s, v, "right", dtypes.int64),
           (np.array([[1, 2, 2], [4, 5, 6]]), np.array([[2, 3], [3, 6]])), lambda s, v: np.array([[3, 3], [0, 3]])),
    OpCase("SearchSorted", "no rows", ordering.searchsorted, (np.zeros((0, 3)), np.zeros((0, 2))),
           lambda s, v: np.zeros((0, 2)),
           wrt=()),
    OpCase("Unique", "numbers", lambda x: list(ordering.unique(x)), (np.array([3, 1, 3, 2, 1]),),
           lambda x: _unique(x)[:2],
           zero=(((0,),),)),
    OpCase("Unique", "with counts", lambda x: list(ordering.unique_with_counts(x, dtypes.int64)),
           (np.array([3, 1, 3, 2, 1]),),
           _unique),
    OpCase("Unique", "NaN", lambda x: ordering.unique(x).idx, (np.array([np.nan, 1.0, np.nan]),),
           lambda x: np.array([0, 1, 2]),
           wrt=()),
    OpCase("Unique", "text", lambda x: list(ordering.unique(x)), (_TEXT,), lambda x: _unique(x)[:2]),
    OpCase("ListDiff", "numbers", lambda x, y: list(ordering.setdiff1d(x, y)),
           (np.array([5, 1, 3, 1, 4]), np.array([1, 9])),
           lambda x, y: [x[~np.isin(x, y)], np.flatnonzero(~np.isin(x, y))], zero=(((0,), (2,)), ((5,), (0,)))),
    OpCase("UnravelIndex", "vector", lambda i: ordering.unravel_index(i, [3, 4]), (np.array([0, 7, 11], np.int32),),
           lambda i: np.stack([i // 4, i % 4]), zero=(((0,),),)),
    OpCase("UnravelIndex", "scalar, shape from a run", ordering.unravel_index, (np.int64(7), np.array([3, 4])),
           lambda i, s: np.array([1, 3])),
    OpCase("DynamicPartition", "rows", lambda x, p: ordering.dynamic_partition(x, p, 3),
           (Arg((4, 2)), np.array([2, 0, 2, 2])),
           lambda x, p: [x[p == i] for i in range(3)], zero=(((0, 2), (0,)),)),
    OpCase("DynamicPartition", "elements of a matrix", lambda x, p: ordering.dynamic_partition(x, p, 2),
           (Arg((2, 2)), np.array([[1, 0], [0, 1]])), lambda x, p: [x[p == 0], x[p == 1]]),
    OpCase("DynamicPartition", "one group", lambda x, p: ordering.dynamic_partition(x, p, 1),
           (Arg((2,)), np.array([0, 0])),
           lambda x, p: [x]),
    OpCase("DynamicStitch", "rows", lambda i, j, x, y: ordering.dynamic_stitch([i, j], [x, y]),
           (np.array([3, 0]), np.array([[1], [2]]), Arg((2, 2)), Arg((2, 1, 2))),
           lambda i, j, x, y: _stitched([(i, x), (j, y)]),
           zero=(((2,), (0, 1), (2, 2), (0, 1, 2)),)),
    OpCase("DynamicStitch", "repeated indices", lambda i, j, x, y: ordering.dynamic_stitch([i, j], [x, y]),
           (np.array([1, 0, 1]), np.int32(0), Arg((3, 2)), Arg((2,))), lambda i, j, x, y: _stitched([(i, x), (j, y)])),
    OpCase("DynamicStitchGrad", "repeated indices", lambda dy, i, j: ordering._unstitch(dy, [i, j]),
           (Arg((2, 2)), np.array([1, 0, 1]), np.int32(0)),
           lambda dy, i, j: [np.stack([0 * dy[1], 0 * dy[0], dy[1]]), dy[0]]),
    OpCase("DynamicStitchGrad", "nothing", lambda dy, i: ordering._unstitch(dy, [i]),
           (Arg((0, 2)), np.zeros(0, np.int32)),
           lambda dy, i: [dy]),
    OpCase("EditDistance", "normalized", _edit, (*_A, *_B), lambda *_: np.array([0.5, np.inf, 0.5])),
    OpCase("EditDistance", "counted", lambda a, b, c, d: _edit(a, b, c, d, False), (*_A, *_B),
           lambda *_: np.array([1.0, 1.0, 1.0])),
    OpCase("EditDistance", "texts",
           lambda a, b, c, d: ordering.edit_distance(_Sparse(a, b, [1, 9]), _Sparse(c, d, [1, 9]), False),
           (np.array([[0, i] for i in range(6)]), np.array(list("kitten"), "S1").astype(object),
            np.array([[0, i] for i in range(7)]), np.array(list("sitting"), "S1").astype(object)),
           lambda a, b, c, d: np.array([_distance("kitten", "sitting")])),
    OpCase("EditDistance", "nothing", lambda a, b: ordering.edit_distance(_Sparse(a, b, [2, 3]), _Sparse(a, b, [2, 3])),
           (np.zeros((0, 2), np.int64), np.zeros(0, np.int32)), lambda a, b: np.zeros(2)),
]  # fmt: skip


def _sparse(**changes: Any) -> Any:
    return _Sparse([[0, 0]], [1], [1, 1])._replace(**changes)


ERRORS: list[ErrorCase] = [
    ErrorCase("Sort", "axis", lambda: ordering.sort(_x(3), axis=1), errors.ShapeError, "axis 1"),
    ErrorCase("Sort", "direction", lambda: ordering.sort(_x(3), direction="UP"), _INVALID, "ASCENDING or DESCENDING"),
    ErrorCase("Sort", "text", lambda: ordering.sort(core.constant(["a"])), errors.DTypeError, "real"),
    ErrorCase("TopK", "k", lambda: ordering.top_k(_x(2, 3), 4), _INVALID, "too few entries"),
    ErrorCase("TopK", "k in a run", lambda: _fed(ordering.top_k, np.zeros((2, 3)), np.int32(-1)), _INVALID,
              "too few entries"),
    ErrorCase("TopK", "scalar", lambda: ordering.top_k(_x(), 1), errors.ShapeError, "batch of vectors"),
    ErrorCase("TakeAlongAxis", "fractions", lambda: ordering._take_along(_x(2), _x(2), 0), errors.DTypeError,
              "integers"),
    ErrorCase("PutAlongAxis", "fractions", lambda: ordering._put_along(_x(2), _x(2), [2], 0), errors.DTypeError,
              "integers"),
    ErrorCase("InTopK", "targets", lambda: ordering.in_top_k(_x(2, 3), [1], 1), errors.ShapeError, r"\[1\]"),
    ErrorCase("InTopK", "in a run",
              lambda: _fed(lambda p, t: ordering.in_top_k(p, t, 1), np.zeros((2, 3)), np.array([1])), _INVALID,
              "right class|agree"),
    ErrorCase("SearchSorted", "rows", lambda: ordering.searchsorted(_x(2, 3), _x(3, 1)), errors.ShapeError,
              "row by row"),
    ErrorCase("SearchSorted", "in a run", lambda: _fed(ordering.searchsorted, np.zeros((2, 3)), np.zeros((3, 1))),
              _INVALID,
              "row by row"),
    ErrorCase("SearchSorted", "side", lambda: ordering.searchsorted(_x(3), _x(3), "middle"), _INVALID,
              "'left' or 'right'"),
    ErrorCase("Unique", "matrix", lambda: ordering.unique(_x(2, 2)), errors.ShapeError, "rank 1"),
    ErrorCase("ListDiff", "matrix", lambda: ordering.setdiff1d(_x(2, 2), [1.0]), errors.ShapeError, "rank 1"),
    ErrorCase("UnravelIndex", "in a run", lambda: _fed(lambda i: ordering.unravel_index(i, [2, 2]), np.array([4])),
              _INVALID,
              "out of range"),
    ErrorCase("UnravelIndex", "fractions", lambda: ordering.unravel_index(_x(2), [2]), errors.DTypeError, "integers"),
    ErrorCase("DynamicPartition", "in a run",
              lambda: _fed(lambda x, p: ordering.dynamic_partition(x, p, 2), np.zeros(2), np.array([0, 2])),
              _INVALID, "out of range"),
    ErrorCase("DynamicPartition", "shape", lambda: ordering.dynamic_partition(_x(3), [0, 1], 2), errors.ShapeError,
              r"\[2\]"),
    ErrorCase("DynamicPartition", "none", lambda: ordering.dynamic_partition(_x(3), [0, 1, 0], 0), _INVALID,
              "one partition or more"),
    ErrorCase("DynamicStitch", "number", lambda: ordering.dynamic_stitch([[0]], [_x(1), _x(1)]), _INVALID, "as many"),
    ErrorCase("DynamicStitch", "shape", lambda: ordering.dynamic_stitch([[0, 1]], [_x(3)]), errors.ShapeError,
              "needs an index"),
    ErrorCase("DynamicStitch", "negative",
              lambda: _fed(lambda i, x: ordering.dynamic_stitch([i], [x]), np.array([-1]), np.zeros(1)),
              _INVALID, "out of range"),
    ErrorCase("DynamicStitchGrad", "None", lambda: ordering._unstitch(_x(2), [None]), errors.DTypeError, "None"),
    ErrorCase("EditDistance", "dense", lambda: ordering.edit_distance(_x(2, 3), _x(2, 3)), errors.DTypeError,
              "SparseTensor"),
    ErrorCase("EditDistance", "dtypes", lambda: ordering.edit_distance(_sparse(values=[1.0]), _sparse()),
              errors.DTypeError, "int32"),
]  # fmt: skip
