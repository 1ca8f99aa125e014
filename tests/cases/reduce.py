"""Reductions, running sums, segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import dtypes, errors
from graphflow.gradients import gradients
from graphflow.ops import array, core, reduce, scans, segment
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase

FLOATS = ("float16", "bfloat16", "float32")
NUMBERS = (*FLOATS, "int32", "int64", "complex128")
REALS = (*FLOATS, "int32", "uint8")


def _int(*values: Any, dtype: Any = np.int32) -> Any:
    return np.array(values, dtype)


def _reduced(op: str, build: Any, reference: Any, low: float = -2.0, high: float = 2.0, **more: Any) -> list[OpCase]:
    """The usual situations of a reduction; the reference takes axis and keepdims as NumPy's functions do."""
    dtypes_ = more.pop("dtypes", FLOATS)
    zero = more.pop("zero", (((0, 3, 2),), ((2, 3, 0),)))
    situations: dict[str, tuple[Any, Any]] = {
        "all": (None, False), "one axis": (1, False), "last axis kept": (-1, True), "two axes": ((0, -1), False),
        "two axes kept": ((-1, 0), True), "all kept": (None, True), "no axis": ((), False),
    }  # fmt: skip
    rows = [
        OpCase(op, id, lambda x, a=axis, k=keep: build(x, a if a is None or isinstance(a, int) else list(a), k),
               (Arg((2, 3, 2), low, high),), lambda x, a=axis, k=keep: reference(x, axis=a, keepdims=k),
               dtypes=dtypes_ if id in ("all", "one axis") else ("float32",),
               zero=zero if id in ("one axis", "two axes kept") else (),
               **more)
        for id, (axis, keep) in situations.items()
    ]  # fmt: skip
    scalar_row = OpCase(op, "scalar", lambda x: build(x, None, False), (Arg((), low, high),), lambda x: x + 0, **more)
    return [*rows, *([] if op in ("All", "Any") else [scalar_row])]


def _max(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.max(
        x, axis=axis, keepdims=keepdims, initial=-np.inf if x.dtype.kind == "f" else 0 if x.dtype.kind == "u" else -99
    )


def _min(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.min(x, axis=axis, keepdims=keepdims, initial=np.inf if x.dtype.kind == "f" else 255)


def _logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def _quietly(function: Any) -> Callable[..., Any]:
    """NumPy's mean and variance without its warnings about nothing."""

    def reference(x: Any, axis: Any, keepdims: bool) -> Any:
        total = np.sum(np.ones_like(x), axis=axis, keepdims=keepdims)
        return function(x, axis, keepdims, total)

    return reference


def _mean(x: Any, axis: Any, keepdims: bool, count: Any) -> Any:
    return np.sum(x, axis=axis, keepdims=keepdims) / count


def _variance(x: Any, axis: Any, keepdims: bool, count: Any) -> Any:
    whole = np.sum(x, axis=axis, keepdims=True) / np.sum(np.ones_like(x), axis=axis, keepdims=True)
    return np.sum((x - whole) ** 2, axis=axis, keepdims=keepdims) / count


def _slope(function: Any) -> Callable[..., Any]:
    return lambda x: gradients(function(x), x)


_TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
_ZEROS = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 4.0]])
_INF = np.array([[-np.inf, -np.inf], [np.inf, 1.0], [-np.inf, 2.0], [1000.0, 1000.0], [np.nan, 1.0]])
_HOLES = np.array([np.nan, 1.0, np.inf])

REDUCTIONS: list[OpCase] = [
    *_reduced("Sum", reduce.reduce_sum, np.sum, dtypes=NUMBERS),
    *_reduced("Mean", reduce.reduce_mean, _quietly(_mean), dtypes=(*FLOATS, "complex128")),
    *_reduced("Prod", reduce.reduce_prod, np.prod, dtypes=NUMBERS),
    *_reduced("Max", reduce.reduce_max, _max, analytic=False, dtypes=REALS),
    *_reduced("Min", reduce.reduce_min, _min, analytic=False, dtypes=REALS),
    *_reduced("tf.reduce_logsumexp", reduce.reduce_logsumexp, _logsumexp, analytic=False),
    *_reduced("tf.math.reduce_variance", reduce.reduce_variance, _quietly(_variance))[:-1],
    *_reduced("tf.math.reduce_std", reduce.reduce_std,
              lambda x, axis, keepdims: np.sqrt(_quietly(_variance)(x, axis, keepdims)), zero=())[:4],
    OpCase("Sum", "older spelling", lambda x: reduce.reduce_sum(x, reduction_indices=[1], keep_dims=True),
           (Arg((2, 3)),),
           lambda x: x.sum(1, keepdims=True)),
    OpCase("Sum", "axis as a tensor", lambda x: reduce.reduce_sum(x, array.range_(1, 2)), (Arg((2, 3)),),
           lambda x: x.sum(1)),
    OpCase("Sum", "complex", lambda x: reduce.reduce_sum(x, 0), (Arg((2, 3), dtype="complex128"),), lambda x: x.sum(0)),
    OpCase("Sum", "integers wrap around", reduce.reduce_sum, (_int(2**31 - 1, 1),), lambda x: np.int32(-(2**31))),
    OpCase("Sum", "half precision adds in single", reduce.reduce_sum, (np.full(4096, 1.0, np.float16),),
           lambda x: np.float16(4096)),
    OpCase("Prod", "of a shape", lambda x: array.reshape(x, [reduce.reduce_prod(array.shape(x)[:2]), -1]),
           (Arg((2, 3, 2)),),
           lambda x: x.reshape(6, 2)),
    OpCase("Prod", "zeros", lambda x: reduce.reduce_prod(x, 1), (_ZEROS,), lambda x: x.prod(1)),
    OpCase("Prod", "zeros, two axes", lambda x: reduce.reduce_prod(x, [0, 1]),
           (np.array([[2.0, 0.0, 3.0], [1.0, 4.0, 5.0]]),), np.prod),
    OpCase("Prod", "complex", lambda x: reduce.reduce_prod(x, 1), (Arg((2, 3), dtype="complex128"),),
           lambda x: x.prod(1)),
    OpCase("Mean", "integers round towards zero", lambda x: reduce.reduce_mean(x, 1),
           (np.array([[1, 2, 2], [-1, -2, -2]], np.int32),), lambda x: _int(1, -1)),
    OpCase("Mean", "many bytes", reduce.reduce_mean, (np.full(1000, 200, np.uint8),), lambda x: np.uint8(200)),
    OpCase("Max", "shares the gradient", _slope(lambda x: reduce.reduce_max(x, 1)), (_TIES,),
           lambda x: np.array([[0, 0.5, 0.5], [1 / 3] * 3]), wrt=()),
    OpCase("Min", "shares the gradient", _slope(reduce.reduce_min), (_TIES[:, 1:],),
           lambda x: np.array([[0, 0], [0.5, 0.5]]), wrt=()),
    OpCase("Max", "NaN", lambda x: [reduce.reduce_max(x), reduce.reduce_min(x)], (_HOLES,),
           lambda x: [np.nan, np.nan], wrt=()),
    OpCase("ExtremumGrad", "shares", lambda x, d: reduce._extremum_grad(x, reduce.reduce_max(x, 1), d, (1,), False),
           (_TIES, Arg((2,))), lambda x, d: (x == x.max(1, keepdims=True)) / (x == x.max(1, keepdims=True)).sum(1)[:,
           None] * d[:, None],
           wrt=(1,), analytic=False, zero=(((0, 3), (0,)),)),
    OpCase("Spread", "sum", lambda x: reduce.spread(x, [2, 3, 4], (0, 2), False), (Arg((3,)),),
           lambda x: np.tile(x[None, :, None], (2, 1, 4)), dtypes=FLOATS),
    OpCase("Spread", "mean, kept", lambda x: reduce.spread(x, [2, 3], (-1,), True, mean=True), (Arg((2, 1)),),
           lambda x: np.tile(x, (1, 3)) / 3, dtypes=FLOATS),
    OpCase("Spread", "to nothing", lambda x: reduce.spread(x, [0, 3], (0,), False), (Arg((3,)),),
           lambda x: np.zeros((0, 3)),
           zero=(((3,),),)),
    OpCase("tf.reduce_logsumexp", "infinite", lambda x: reduce.reduce_logsumexp(x, 1), (_INF,),
           lambda x: np.array([-np.inf, np.inf, 2.0, 1000 + np.log(2.0), np.nan]), wrt=()),
    OpCase("tf.count_nonzero", "rows", lambda x: reduce.count_nonzero(x, 1), (np.array([[1.0, 0.0], [np.nan, -2.0]]),),
           lambda x: np.array([1, 2]), wrt=()),
    OpCase("tf.count_nonzero", "bools", lambda x: reduce.count_nonzero(x, keepdims=True, dtype=dtypes.int32),
           (np.array([[True, False]]),), lambda x: np.array([[1]], np.int32)),
    *[OpCase(op, id, lambda x, f=f, a=a: f(x, a), (np.array([[3, 1, 3], [0, 2, 2]], np.int32),),
             lambda x, r=r, a=a: r(x, axis=a or 0))
      for op, f, r in [("ArgMax", reduce.argmax, np.argmax), ("ArgMin", reduce.argmin, np.argmin)]
      for id, a in [("first axis if none is given", None), ("rows", 1), ("last", -1)]],
    OpCase("ArgMax", "floats", lambda x: reduce.arg_max(x, 0), (Arg((4, 3)),), lambda x: np.argmax(x, 0), wrt=(),
           dtypes=FLOATS,
           zero=(((4, 0),),)),
    OpCase("ArgMin", "floats", lambda x: reduce.arg_min(x, 0), (Arg((4, 3)),), lambda x: np.argmin(x, 0), wrt=(),
           dtypes=FLOATS,
           zero=(((4, 0),),)),
    OpCase("ArgMax", "of nothing", lambda x: reduce.argmax(x, 1), (np.zeros((2, 3)),),
           lambda x: np.zeros(2, np.int64), wrt=(),
           zero=(((2, 0),),), zero_error=errors.InvalidArgumentError),
    OpCase("ArgMax", "int32, bools", lambda x: reduce.argmax(x, dimension=0, output_type=dtypes.int32),
           (np.array([False, True, True]),),
           lambda x: np.int32(1)),
    OpCase("ArgMax", "NaN is the largest", reduce.argmax, (_HOLES,), lambda x: np.int64(0), wrt=()),
    *[row for op, f, r in [("All", reduce.reduce_all, np.all), ("Any", reduce.reduce_any, np.any)]
      for row in [
          OpCase(op, "everything", f, (np.array([[True, False], [True, True]]),), lambda x, r=r: r(x)),
          OpCase(op, "columns", lambda x, f=f: f(x, 0), (np.array([[True, False], [True, True]]),),
                 lambda x, r=r: r(x, 0),
                 zero=(((0, 2),),)),
          OpCase(op, "kept", lambda x, f=f: f(x, -1, True), (np.array([[True, False], [False, False]]),),
                 lambda x, r=r: r(x, -1, keepdims=True)),
          OpCase(op, "scalar", f, (np.True_,), lambda x: np.True_),
      ]],
]  # fmt: skip


def _running(ufunc: Any, neutral: float) -> Callable[..., Any]:
    def reference(x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
        rows = np.moveaxis(x, axis, 0)[:: -1 if reverse else 1]
        out = np.empty_like(rows)
        total = np.full(rows.shape[1:], neutral, x.dtype)
        for i, row in enumerate(rows):
            before, total = total, ufunc(total, row)
            out[i] = before if exclusive else total
        return np.moveaxis(out[:: -1 if reverse else 1], 0, axis)

    return reference


def _recurrence(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    a, b = (np.moveaxis(v, axis, 0)[:: -1 if reverse else 1] for v in (a, b))
    out = np.zeros(b.shape, b.dtype)
    for i in range(1, len(b)):
        out[i] = a[i - 1] * out[i - 1] + b[i - 1]
    return np.moveaxis(out[:: -1 if reverse else 1], 0, axis)


_WAYS = [(0, False, False), (1, True, False), (-1, False, True), (0, True, True)]

SCANS: list[OpCase] = [
    *[OpCase(op, f"axis {a}{', exclusive' * e}{', reverse' * r}", lambda x, f=f, w=(a, e, r): f(x, *w), (Arg((3, 4)),),
             lambda x, f=reference, w=(a, e, r): f(x, *w), dtypes=NUMBERS if a == 0 and not e else ("float32",),
             zero=(((0, 4),), ((3, 0),)))
      for op, f, reference in [("Cumsum", scans.cumsum, _running(np.add, 0)),
      ("Cumprod", scans.cumprod, _running(np.multiply, 1))]
      for a, e, r in _WAYS],
    *[OpCase("Cumprod", f"zeros{', exclusive' * e}{', reverse' * r}", lambda x, w=(1, e, r): scans.cumprod(x, *w),
             (_ZEROS,),
             lambda x, w=(1, e, r): _running(np.multiply, 1)(x, *w)) for e in (False, True) for r in (False, True)],
    OpCase("Cumprod", "complex", lambda x: scans.cumprod(x, 1), (Arg((2, 3), dtype="complex128"),),
           lambda x: np.cumprod(x, 1)),
    OpCase("Cumsum", "vector", scans.cumsum, (Arg((100,)),), np.cumsum),
    OpCase("LinearRecurrence", "columns", lambda a, b: scans.linear_recurrence(a, b, 0), (Arg((4, 2)), Arg((4, 2))),
           lambda a, b: _recurrence(a, b, 0, False), zero=(((0, 2), (0, 2)),)),
    OpCase("LinearRecurrence", "reverse", lambda a, b: scans.linear_recurrence(a, b, -1, True),
           (Arg((2, 4)), Arg((2, 4))),
           lambda a, b: _recurrence(a, b, -1, True)),
    OpCase("LinearRecurrence", "long", lambda a, b: scans.linear_recurrence(a, b, 0),
           (Arg((150,), -1.0, 1.0), Arg((150,))),
           lambda a, b: _recurrence(a, b, 0, False)),
    OpCase("LinearRecurrence", "complex", lambda a, b: scans.linear_recurrence(a, b, 0),
           (Arg((4,), dtype="complex128"), Arg((4,), dtype="complex128")), lambda a, b: _recurrence(a, b, 0, False)),
]  # fmt: skip


def _by_segment(combine: Any, start: float, empty: Any = None) -> Callable[..., Any]:
    """One row after the other; `empty` is what a segment without rows holds, if it is not `start`."""

    def reference(data: Any, ids: Any, count: Any = None) -> Any:
        rest = data.shape[ids.ndim :]
        size = int(count) if count is not None else int(ids[-1]) + 1 if ids.size else 0
        out = np.full((size, *rest), start, data.dtype)
        seen = set()
        for place in np.ndindex(ids.shape):
            if ids[place] >= 0:
                out[ids[place]] = combine(out[ids[place]], data[place])
                seen.add(int(ids[place]))
        for i in set(range(size)) - seen:
            out[i] = start if empty is None else empty
        return out

    return reference


def _mean_by_segment(root: bool = False) -> Callable[..., Any]:
    def reference(data: Any, ids: Any, count: Any = None) -> Any:
        total = _by_segment(np.add, 0)(data, ids, count)
        rows = np.maximum(_by_segment(np.add, 0)(np.ones_like(data), ids, count), 1)
        return total / (np.sqrt(rows) if root else rows)

    return reference


_SORTED = _int(0, 0, 1, 3, 3)
_ANY = _int(2, 0, 2, -1, 3)
_LOW, _HIGH = np.finfo(np.float64).min, np.finfo(np.float64).max
_DATA = Arg((5, 2))


def _sorted_rows(op: str, f: Any, reference: Any, **more: Any) -> list[OpCase]:
    return [
        OpCase(
            op,
            "rows",
            f,
            (_DATA, _SORTED),
            reference,
            zero=(((5, 0), (5,)), ((0, 2), (0,))),
            dtypes=("float16", "float32"),
            **more,
        ),
        OpCase(op, "vector", f, (Arg((5,)), _SORTED.astype(np.int64)), reference, **more),
        OpCase(op, "known ids", lambda x: f(x, _SORTED), (_DATA,), lambda x: reference(x, _SORTED), **more),
    ]


def _unsorted_rows(op: str, f: Any, reference: Any, **more: Any) -> list[OpCase]:
    dtypes_ = more.pop("dtypes", ("float32",))
    return [
        OpCase(op, "rows", f, (_DATA, _ANY, np.int32(4)), reference, zero=(((5, 0), (5,), ()), ((0, 2), (0,), ())),
               dtypes=dtypes_, **more),
        OpCase(op, "matrix of ids", lambda x: f(x, [[0, 1], [1, 0]], 2), (Arg((2, 2, 3)),),
               lambda x: reference(x, np.array([[0, 1], [1, 0]]), 2), **more),
    ]  # fmt: skip


SEGMENTS: list[OpCase] = [
    *_sorted_rows("SegmentSum", segment.segment_sum, _by_segment(np.add, 0)),
    *_sorted_rows("SegmentProd", segment.segment_prod, _by_segment(np.multiply, 1), analytic=False),
    *_sorted_rows("SegmentMax", segment.segment_max, _by_segment(np.maximum, -np.inf, 0), analytic=False),
    *_sorted_rows("SegmentMin", segment.segment_min, _by_segment(np.minimum, np.inf, 0), analytic=False),
    *_sorted_rows("tf.segment_mean", segment.segment_mean, _mean_by_segment(), analytic=False),
    *_unsorted_rows("UnsortedSegmentSum", segment.unsorted_segment_sum, _by_segment(np.add, 0), dtypes=NUMBERS[:4]),
    *_unsorted_rows("UnsortedSegmentProd", segment.unsorted_segment_prod, _by_segment(np.multiply, 1), analytic=False),
    *_unsorted_rows("UnsortedSegmentMax", segment.unsorted_segment_max, _by_segment(np.maximum, -np.inf, _LOW),
    analytic=False,
                    dtypes=(), wrt=()),
    *_unsorted_rows("UnsortedSegmentMin", segment.unsorted_segment_min, _by_segment(np.minimum, np.inf, _HIGH),
    analytic=False,
                    dtypes=(), wrt=()),
    OpCase("UnsortedSegmentMax", "none empty", lambda x: segment.unsorted_segment_max(x, [1, 0, 1, -1, 0], 2), (_DATA,),
           lambda x: np.array([np.maximum(x[1], x[4]), np.maximum(x[0], x[2])]), analytic=False),
    OpCase("UnsortedSegmentMin", "none empty", lambda x: segment.unsorted_segment_min(x, [1, 0, 1, -1, 0], 2), (_DATA,),
           lambda x: np.array([np.minimum(x[1], x[4]), np.minimum(x[0], x[2])]), analytic=False),
    *_unsorted_rows("tf.unsorted_segment_mean", segment.unsorted_segment_mean, _mean_by_segment(), analytic=False),
    *_unsorted_rows("tf.unsorted_segment_sqrt_n", segment.unsorted_segment_sqrt_n, _mean_by_segment(True),
    analytic=False),
    OpCase("SegmentSum", "integers", segment.segment_sum, (_int(1, 2, 3), _int(0, 0, 2)), lambda x, i: _int(3, 0, 3)),
    OpCase("UnsortedSegmentMax", "integers", segment.unsorted_segment_max, (_int(1, 2, 3), _int(0, 2, 0), np.int64(4)),
           lambda x, i, n: _int(3, -(2**31), 2, -(2**31))),
    OpCase("UnsortedSegmentSum", "many", segment.unsorted_segment_sum,
           (Arg((200, 3)), np.arange(200) * 7 % 13, np.int32(13)), _by_segment(np.add, 0)),
    OpCase("SegmentProd", "zeros", segment.segment_prod, (np.array([2.0, 0.0, 3.0, 0.0, 0.0]), _SORTED),
           _by_segment(np.multiply, 1),
           second=False, analytic=False),
    OpCase("SegmentMax", "ties", lambda x: gradients(segment.segment_max(x, _SORTED), x),
           (np.array([2.0, 2.0, 3.0, 0.0, 1.0]),),
           lambda x: np.array([0.5, 0.5, 1.0, 0.0, 1.0]), wrt=()),
    OpCase("SegmentRows", "rows", segment.segment_rows, (Arg((4, 2)), _ANY),
           lambda x, ids: np.array([x[max(i, 0)] * (i >= 0) for i in ids]).reshape(len(ids), x.shape[1]),
           zero=(((4, 0), (5,)), ((4, 2), (0,)))),
    OpCase("SegmentRows", "one", lambda x: segment.segment_rows(x, 2), (Arg((4, 2)),), lambda x: x[2]),
    OpCase("Bincount", "counts", segment.bincount, (_int(1, 3, 3, 0),),
           lambda x: _int(1, 1, 0, 2)[: 4 * (len(x) > 0)], zero=(((0,),),)),
    OpCase("Bincount", "weights", lambda x, w: segment.bincount(x, w, minlength=6), (_int(1, 3, 3), Arg((3,))),
           lambda x, w: np.array([0, w[0], 0, w[1] + w[2], 0, 0]), wrt=()),
    OpCase("Bincount", "a length", lambda x: segment.bincount(x, minlength=3, maxlength=3, dtype=dtypes.int64),
           (_int(1, 9, 1),),
           lambda x: _int(0, 2, 0, dtype=np.int64)),
]  # fmt: skip

CASES: list[OpCase] = [*REDUCTIONS, *SCANS, *SEGMENTS]


def _unknown(dtype: Any = "float32") -> Any:
    return core.placeholder(dtype)


def _run(build: Callable[[Any], Any], ids: Any) -> Any:
    """Build with ids that are known in the run alone, and run."""

    def row() -> Any:
        x = core.placeholder("int32", [None])
        return Session().run(build(x), {x: ids})

    return row


ERRORS: list[ErrorCase] = [
    ErrorCase("Sum", "axis", lambda: reduce.reduce_sum(array.zeros([2, 3]), 2), errors.ShapeError,
              "axis 2 is out of range"),
    ErrorCase("Sum", "axis twice", lambda: reduce.reduce_sum(array.zeros([2, 3]), [1, -1]), errors.ShapeError, "twice"),
    ErrorCase("Sum", "axis of a run", lambda: reduce.reduce_sum(array.zeros([2]), _unknown("int32")),
              errors.InvalidArgumentError,
              "while the graph is built"),
    ErrorCase("Sum", "fractional axis", lambda: reduce.reduce_sum(array.zeros([2]), 0.5), errors.DTypeError, "integer"),
    ErrorCase("Sum", "both spellings", lambda: reduce.reduce_sum(array.zeros([2]), 0, reduction_indices=0),
              errors.InvalidArgumentError,
              "given twice"),
    ErrorCase("Sum", "bools", lambda: reduce.reduce_sum(core.constant([True])), errors.DTypeError, "tf.cast"),
    ErrorCase("Mean", "text", lambda: reduce.reduce_mean(core.constant(["a"])), errors.DTypeError, "number"),
    ErrorCase("Mean", "no integers", _run(reduce.reduce_mean, []), errors.InvalidArgumentError, "no integers"),
    ErrorCase("Max", "complex", lambda: reduce.reduce_max(core.constant([1j])), errors.DTypeError, "real"),
    ErrorCase("Max", "keepdims as a tensor", lambda: reduce.reduce_max(array.zeros([2]), 0, _unknown("bool")),
              errors.SymbolicUseError, "bool"),
    ErrorCase("All", "numbers", lambda: reduce.reduce_all(array.zeros([2])), errors.DTypeError, "bool"),
    ErrorCase("ArgMax", "output type", lambda: reduce.argmax(array.zeros([2]), output_type="float32"),
              errors.DTypeError, "int32 or int64"),
    ErrorCase("ArgMax", "axis", lambda: reduce.argmax(array.zeros([2]), 1), errors.ShapeError, "out of range"),
    ErrorCase("ArgMax", "nothing", lambda: reduce.argmax(array.zeros([2, 0]), 1), errors.ShapeError, "no elements"),
    ErrorCase("ExtremumGrad", "dtypes",
              lambda: reduce._extremum_grad(array.zeros([2]), 0.0, core.constant(1), (0,), False),
              errors.DTypeError, "float32"),
    ErrorCase("Spread", "another shape", lambda: reduce.spread(array.zeros([2]), [3, 4], (0,), False),
              errors.ShapeError, "reduction"),
    ErrorCase("tf.math.reduce_variance", "integers", lambda: reduce.reduce_variance(core.constant([1])),
              errors.DTypeError, "float"),
    ErrorCase("Cumsum", "axis", lambda: scans.cumsum(array.zeros([2]), 1), errors.ShapeError, "out of range"),
    ErrorCase("Cumsum", "bools", lambda: scans.cumsum(core.constant([True])), errors.DTypeError, "number"),
    ErrorCase("Cumprod", "scalar", lambda: scans.cumprod(core.constant(1.0)), errors.ShapeError, "axis"),
    ErrorCase("LinearRecurrence", "shapes", lambda: scans.linear_recurrence(array.zeros([2]), array.zeros([3]), 0),
              errors.ShapeError,
              "one shape"),
    ErrorCase("SegmentSum", "number of ids", lambda: segment.segment_sum(array.zeros([3]), [0, 1]), errors.ShapeError,
              "one id"),
    ErrorCase("SegmentSum", "fractional ids", lambda: segment.segment_sum(array.zeros([2]), [0.0, 1.0]),
              errors.DTypeError, "integers"),
    ErrorCase("SegmentSum", "ids decrease", _run(lambda ids: segment.segment_sum(array.zeros([3]), ids), [0, 2, 1]),
              errors.InvalidArgumentError, "must not decrease"),
    ErrorCase("SegmentMax", "negative id", _run(lambda ids: segment.segment_max(array.zeros([2]), ids), [-1, 0]),
              errors.InvalidArgumentError, "negative"),
    ErrorCase("SegmentMin", "number of ids in the run",
              _run(lambda ids: segment.segment_min(array.zeros([3]), ids), [0, 1]),
              errors.ShapeError, "3"),
    ErrorCase("UnsortedSegmentSum", "out of range",
              _run(lambda ids: segment.unsorted_segment_sum(array.zeros([2]), ids, 3), [0, 3]),
              errors.InvalidArgumentError, "segment id 3 is out of range"),
    ErrorCase("UnsortedSegmentSum", "shapes",
              lambda: segment.unsorted_segment_sum(array.zeros([2, 3]), [[0], [1]], 2), errors.ShapeError,
              "begins"),
    ErrorCase("UnsortedSegmentSum", "negative number",
              lambda: segment.unsorted_segment_sum(array.zeros([1]), [0], -1), errors.ShapeError,
              "negative"),
    ErrorCase("UnsortedSegmentMax", "number", lambda: segment.unsorted_segment_max(array.zeros([1]), [0], 1.5),
              errors.DTypeError,
              "num_segments"),
    ErrorCase("SegmentRows", "ids", lambda: segment.segment_rows(array.zeros([2]), [0.5]), errors.DTypeError,
              "integers"),
    ErrorCase("Bincount", "negative", _run(segment.bincount, [1, -2]), errors.InvalidArgumentError, "not negative"),
    ErrorCase("Bincount", "weights", lambda: segment.bincount([1, 2], array.zeros([3])), errors.ShapeError,
              "one weight"),
    ErrorCase("Bincount", "floats", lambda: segment.bincount(array.zeros([2])), errors.DTypeError, "integers"),
]  # fmt: skip
