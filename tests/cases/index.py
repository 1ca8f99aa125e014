"""Slices, gather and scatter, choices by condition, unit vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes, errors
from graphflow.indexed_slices import IndexedSlices
from graphflow.ops import array, core, index, masks, slicing
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase
from tests.cases.array import MANY, _fed, _x

_INVALID = errors.InvalidArgumentError
_X = Arg((3, 4, 5))
_KEYS: dict[str, Any] = {
    "an integer": 1,
    "a negative integer": (slice(None), -2),
    "a range": (slice(1, 3), slice(None), slice(0, -1)),
    "steps": (slice(None, None, 2), slice(1, None, 2)),
    "backwards": (slice(None, None, -1), slice(3, 0, -2)),
    "out of bounds": (slice(-10, 10), slice(2, 100), slice(7, 9)),
    "ellipsis": (Ellipsis, 0),
    "ellipsis in the middle": (0, Ellipsis, slice(1, 2)),
    "ellipsis for nothing": (0, Ellipsis, 1, 2),
    "everything": Ellipsis,
    "a new axis": (slice(None), None, 0, None),
    "a new axis last": (Ellipsis, None),
    "nothing": slice(2, 2),
    "one element": (0, 1, 2),
}  # fmt: skip


def _short_mask() -> Any:
    x = core.placeholder(dtypes.float32, [None])
    with Session() as session:
        session.run(index.boolean_mask(x, [True, False]), {x: [1.0, 2.0, 3.0]})


def _rows_added(indices: Any, rows: Any, count: int) -> Any:
    out = np.zeros((count, *rows.shape[1:]), rows.dtype)
    for i, row in zip(indices.tolist(), rows, strict=True):
        out[i] += row
    return out


def _added(indices: Any, updates: Any, shape: Any) -> Any:
    out = np.zeros(shape, updates.dtype)
    for place in np.ndindex(indices.shape[:-1]):
        out[tuple(indices[place].tolist())] += updates[place]
    return out


def _replace(x: Any, indices: Any, updates: Any) -> Any:
    out = x.copy()
    for i, u in zip(indices.tolist(), updates, strict=True):
        out[tuple(i)] = u
    return out


def _hot(indices: Any, depth: int, on: float = 1.0, off: float = 0.0) -> Any:
    out = np.full((*indices.shape, depth), off)
    for place in np.ndindex(indices.shape):
        if 0 <= indices[place] < depth:
            out[place][indices[place]] = on
    return out


_MASK = np.array([[True, False, True, True], [False, False, False, False], [True, True, False, True]])
_ROWS = np.array([2, 0, 2], np.int32)
_PLACES = np.array([[2, 1], [0, 0], [2, 1]], np.int32)

CASES: list[OpCase] = [
    *[OpCase("StridedSlice", name, lambda x, key=key: slicing.getitem(x, key), (_X,), lambda x, key=key: x[key],
             dtypes=("float32", "int32"), zero=(((3, 4, 0),),) if name in ("a range", "steps", "nothing") else ())
      for name, key in _KEYS.items()],
    OpCase("StridedSlice", "tensor as index", slicing.getitem, (_X, np.int32(-1)), lambda x, i: x[-1]),
    OpCase("StridedSlice", "tensors as bounds", lambda x, a, b: x[:, a:b, 1:b:2], (_X, np.int32(1), np.int32(-1)),
           lambda x, a, b: x[:, 1:-1, 1:-1:2]),
    OpCase("StridedSlice", "tensor among integers", lambda x, i: x[0, i, ..., 2], (_X, np.int64(3)),
           lambda x, i: x[0, 3, 2]),
    OpCase("StridedSlice", "NumPy integers", lambda x: x[np.int64(1) : np.int32(3), np.array(2)], (_X,),
           lambda x: x[1:3, 2]),
    OpCase("StridedSlice", "of a scalar", lambda x: x[None, ..., None], (Arg(()),), lambda x: x.reshape(1, 1)),
    OpCase("StridedSlice", "size of a shape", lambda x: array.reshape(x, [array.shape(x)[-1], -1]), (_X,),
           lambda x: x.reshape(5, -1)),
    OpCase("StridedSlice", "by function", lambda x: slicing.strided_slice(x, [1, 0], [3, 4], [1, 2]), (_X,),
           lambda x: x[1:3, ::2]),
    OpCase("StridedSlice", "masks",
           lambda x: slicing.strided_slice(x, [1, 0, 2, 0], [0, 0, 4, 0], [1, 1, 1, 1], begin_mask=0,
           end_mask=1, ellipsis_mask=2, shrink_axis_mask=4, new_axis_mask=8), (_X,), lambda x: x[1:, ..., 2, None]),
    OpCase("StridedSlice", "begin from a run", slicing.strided_slice,
           (_X, np.array([1, 2], np.int32), np.array([3, 4], np.int32)), lambda x, b, e: x[1:3, 2:4], unknown="none"),
    OpCase("StridedSlice", "text", lambda x: x[1:], (np.array([b"a", b"b", b"c"], object),), lambda x: x[1:]),
    OpCase("StridedSliceGrad", "steps", lambda dy: slicing._strided_slice_grad(dy, [5, 2], [], ((4, None, -2), 1)),
           (Arg((3,)),), lambda dy: np.array([[0, dy[2]], [0, 0], [0, dy[1]], [0, 0], [0, dy[0]]])),
    OpCase("StridedSliceGrad", "tensor as index", lambda dy, i: slicing._strided_slice_grad(dy, [3, 2], [i], ("t",)),
           (Arg((2,)), np.int32(1)), lambda dy, i: np.array([[0, 0], dy, [0, 0]])),
    OpCase("StridedSliceGrad", "no element", lambda dy: slicing._strided_slice_grad(dy, [2], [], ((1, 1, None),)),
           (Arg((0,)),), lambda dy: np.zeros(2)),
    OpCase("Slice", "sizes", lambda x: slicing.slice_(x, [1, 0, 2], [2, -1, 1]), (_X,), lambda x: x[1:3, :, 2:3],
           dtypes=MANY,
           zero=(((3, 0, 5),),)),
    OpCase("Slice", "begin and size from a run", slicing.slice_, (Arg((4, 3)), np.array([1, 0]), np.array([-1, 2])),
           lambda x, b, s: x[1:, :2]),
    OpCase("Slice", "list with tensors", lambda x, n: slicing.slice_(x, [0, 1], [n, 2]), (Arg((4, 3)), np.int32(3)),
           lambda x, n: x[:3, 1:3]),
    OpCase("SliceGrad", "matrix", lambda dy: slicing._slice_grad(dy, [1, 0], [3, 3]), (Arg((1, 2)),),
           lambda dy: np.pad(dy, ((1, 2 - len(dy)), (0, 1))), zero=(((0, 2),),)),
    *[OpCase("Gather", f"axis {axis}", lambda x, i, axis=axis: index.gather(x, i, axis=axis), (Arg((3, 4, 5)), _ROWS),
             lambda x, i, axis=axis: np.take(x, i, axis), dtypes=MANY,
             zero=(((3, 4, 0) if axis in (0, 1, -3) else (3, 0, 5), (3,)), ((3, 4, 5), (0,))))
      for axis in (0, 1, 2, -1, -3)],
    OpCase("Gather", "matrix of indices", index.gather, (Arg((3, 2)), np.array([[2, 0], [1, 1]])), lambda x, i: x[i]),
    OpCase("Gather", "one index", index.gather, (Arg((3, 2)), np.int32(1)), lambda x, i: x[1]),
    OpCase("Gather", "element of a vector", index.gather, (Arg((3,)), np.int64(2)), lambda x, i: x[2]),
    OpCase("Gather", "index along another axis", lambda x, i: index.gather(x, i, axis=1), (Arg((3, 2)), np.int32(1)),
           lambda x, i: x[:, 1]),
    OpCase("Gather", "twice from one table", lambda x, i, j: [index.gather(x, i), index.gather(x, j)],
           (Arg((3, 2)), _ROWS, np.array([[1]])), lambda x, i, j: [x[i], x[j]]),
    OpCase("Gather", "text", index.gather, (np.array([b"a", b"b"], object), np.array([1, 0, 1])),
           lambda x, i: np.array([b"b", b"a", b"b"], object)),
    OpCase("GatherGrad", "rows", lambda dy, i: index._gather_back(dy, i, [4, 2], 0), (Arg((3, 2)), _ROWS),
           lambda dy, i: _rows_added(i, dy, 4), zero=(((0, 2), (0,)),)),
    OpCase("GatherGrad", "last axis", lambda dy, i: index._gather_back(dy, i, [2, 4], -1), (Arg((2, 3)), _ROWS),
           lambda dy, i: _rows_added(i, dy.T, 4).T),
    OpCase("GatherGrad", "IndexedSlices", lambda rows, i: core.convert_to_tensor(IndexedSlices(rows, i, [4, 2])),
           (Arg((3, 2)), _ROWS), lambda rows, i: _rows_added(i, rows, 4)),
    OpCase("GatherNd", "elements", index.gather_nd, (Arg((3, 4)), _PLACES), lambda x, i: x[i[:, 0], i[:, 1]],
           dtypes=MANY,
           zero=(((3, 4), (0, 2)),)),
    OpCase("GatherNd", "rows", index.gather_nd, (Arg((3, 4)), np.array([[2], [0], [2]])), lambda x, i: x[[2, 0, 2]],
           zero=(((3, 0), (3, 1)),)),
    OpCase("GatherNd", "no coordinates", index.gather_nd, (Arg((3,)), np.zeros((2, 0), np.int32)),
           lambda x, i: np.stack([x, x])),
    OpCase("GatherNd", "one element", index.gather_nd, (Arg((3, 4)), np.array([1, 2])), lambda x, i: x[1, 2]),
    OpCase("ScatterNd", "elements", lambda i, u: index.scatter_nd(i, u, [3, 4]), (_PLACES, Arg((3,))),
           lambda i, u: _added(i, u, (3, 4)), dtypes=("float32", "int32", "complex128"), zero=(((0, 2), (0,)),)),
    OpCase("ScatterNd", "rows", lambda i, u: index.scatter_nd(i, u, [3, 2]), (np.array([[2], [2], [0]]), Arg((3, 2))),
           lambda i, u: _added(i, u, (3, 2))),
    OpCase("ScatterNd", "shape from a run", index.scatter_nd, (np.array([[2], [2]]), Arg((2,)), np.array([4])),
           lambda i, u, s: _added(i, u, (4,))),
    OpCase("TensorScatterUpdate", "elements", index.tensor_scatter_update, (Arg((3, 4)), _PLACES[:2], Arg((2,))),
           _replace, dtypes=MANY, zero=(((3, 4), (0, 2), (0,)),)),
    OpCase("TensorScatterUpdate", "rows", index.tensor_scatter_update, (Arg((3, 2)), np.array([[1]]), Arg((1, 2))),
           _replace),
    OpCase("tf.tensor_scatter_add", "elements", index.tensor_scatter_add, (Arg((3, 4)), _PLACES, Arg((3,))),
           lambda x, i, u: x + _added(i, u, (3, 4))),
    OpCase("tf.tensor_scatter_sub", "elements", index.tensor_scatter_sub, (Arg((3, 4)), _PLACES, Arg((3,))),
           lambda x, i, u: x - _added(i, u, (3, 4))),
    OpCase("Select", "mask", index.where, (_MASK, Arg((3, 4)), Arg((3, 4))), np.where, dtypes=MANY,
           zero=(((0, 4), (0, 4), (0, 4)),)),
    OpCase("Select", "rows", index.where, (_MASK[0], Arg((4, 2)), Arg((4, 2))),
           lambda c, x, y: np.where(c[:, None], x, y)),
    OpCase("Select", "scalar", index.where, (np.True_, Arg((2, 3)), Arg((2, 3))), lambda c, x, y: x),
    OpCase("Select", "all scalars", index.where, (np.False_, Arg(()), Arg(())), lambda c, x, y: y),
    OpCase("Select", "broadcast", index.where, (_MASK, Arg((4,)), Arg(())), np.where),
    OpCase("Select", "hides NaN", lambda c, x: index.where(c, x, x / array.zeros_like(x)),
           (np.array([True, True]), Arg((2,))),
           lambda c, x: x, wrt=()),
    OpCase("Select", "text", index.where,
           (np.array([True, False]), np.array([b"a", b"b"], object), np.array([b"c", b"d"], object)),
           lambda c, x, y: np.array([b"a", b"d"], object)),
    OpCase("ZeroUnless", "mask", index.zero_unless, (_MASK, Arg((3, 4))), lambda c, x: np.where(c, x, 0 * x),
           dtypes=MANY,
           zero=(((0, 4), (0, 4)),)),
    OpCase("ZeroUnless", "rows, the other way", lambda c, x: index.zero_unless(c, x, holds=False),
           (_MASK[0], Arg((4, 2))),
           lambda c, x: np.where(c[:, None], 0 * x, x)),
    OpCase("ZeroUnless", "broadcast", index.zero_unless, (_MASK, Arg(())), lambda c, x: np.where(c, x, 0.0)),
    OpCase("Where", "mask", index.where, (_MASK,), np.argwhere, zero=(((0, 4),),)),
    OpCase("Where", "numbers", index.where, (Arg((5,), dtype="int32"),), np.argwhere),
    OpCase("Where", "scalar", index.where, (np.True_,), lambda c: np.zeros((1, 0), np.int64)),
    OpCase("tf.boolean_mask", "rows", index.boolean_mask, (Arg((3, 2)), _MASK[:, 0]), lambda x, m: x[m], unknown="dims",
           zero=(((0, 2), (0,)), ((3, 0), (3,)))),
    OpCase("tf.boolean_mask", "elements", index.boolean_mask, (Arg((3, 4)), _MASK), lambda x, m: x[m], unknown="dims",
           zero=(((0, 4), (0, 4)),)),
    OpCase("tf.boolean_mask", "axis", lambda x, m: index.boolean_mask(x, m, axis=1), (Arg((2, 4, 3)), _MASK[0]),
           lambda x, m: x[:, m], unknown="dims"),
    OpCase("tf.boolean_mask", "two axes", lambda x, m: index.boolean_mask(x, m, axis=1), (Arg((2, 3, 4, 2)), _MASK),
           lambda x, m: x[:, m], unknown="dims"),
    OpCase("tf.boolean_mask", "in brackets", lambda x, m: [x[m], x[_MASK], x[_MASK.tolist()]], (Arg((3, 4)), _MASK),
           lambda x, m: [x[m], x[m], x[m]], unknown="dims"),
    OpCase("MaskPlaces", "vector", lambda m, n: index.boolean_mask(array.range_(n), m),
           (_MASK[0], np.array(4, np.int32)),
           lambda m, n: np.flatnonzero(m).astype(np.int32), wrt=(), unknown="dims"),
    OpCase("MaskPlaces", "nothing", lambda m, n: index.boolean_mask(array.range_(n), m),
           (np.zeros(0, bool), np.array(0, np.int32)), lambda m, n: np.zeros(0, np.int32), wrt=(), unknown="dims"),
    OpCase("OneHot", "vector", lambda i: index.one_hot(i, 4), (np.array([1, 3, -1, 4], np.int32),),
           lambda i: _hot(i, 4),
           zero=(((0,),),)),
    OpCase("OneHot", "matrix, axis 0", lambda i: index.one_hot(i, 3, axis=0), (np.array([[0, 2], [1, 1]]),),
           lambda i: np.moveaxis(_hot(i, 3), -1, 0)),
    OpCase("OneHot", "values", lambda i: index.one_hot(i, 3, 5.0, -1.0, axis=1), (np.array([[0, 2], [1, 7]]),),
           lambda i: np.moveaxis(_hot(i, 3, 5.0, -1.0), -1, 1)),
    OpCase("OneHot", "scalar", lambda i: index.one_hot(i, 3, dtype=dtypes.int32), (np.int32(2),),
           lambda i: np.array([0, 0, 1])),
    OpCase("OneHot", "bytes of a picture", lambda i: index.one_hot(i, 10, dtype=dtypes.float64),
           (np.array([9, 0], np.uint8),),
           lambda i: np.eye(10)[[9, 0]]),
    OpCase("OneHot", "depth from a run", index.one_hot, (np.array([1, 0]), np.int32(2)), lambda i, d: _hot(i, 2)),
    OpCase("OneHot", "bools", lambda i: index.one_hot(i, 2, True, False), (np.array([1, 0]),),
           lambda i: _hot(i, 2) > 0),
    OpCase("OneHot", "depth 0", lambda i: index.one_hot(i, 0), (np.array([1, 0]),), lambda i: np.zeros((2, 0))),
    OpCase("tf.sequence_mask", "lengths", masks.sequence_mask, (np.array([[1, 3], [0, 2]], np.int32),),
           lambda n: np.arange(3) < n[..., None]),
    OpCase("tf.sequence_mask", "maxlen", lambda n: masks.sequence_mask(n, 4, dtypes.float32),
           (np.array([1, 9], np.int32),),
           lambda n: (np.arange(4) < n[..., None]).astype(float), zero=(((0,),),)),
    OpCase("tf.saturate_cast", "integers", lambda x: masks.saturate_cast(x, dtypes.uint8), (np.array([-5, 7, 300]),),
           lambda x: np.array([0, 7, 255], np.uint8)),
    OpCase("tf.saturate_cast", "fractions", lambda x: masks.saturate_cast(x, dtypes.int8),
           (np.array([-500.0, 7.9, 300.0]),),
           lambda x: np.array([-128, 7, 127], np.int8), wrt=()),
    OpCase("tf.saturate_cast", "float16", lambda x: masks.saturate_cast(x, dtypes.float16),
           (np.array([1e9, -1e9, 0.5]),),
           lambda x: np.array([65504.0, -65504.0, 0.5], np.float16), wrt=()),
]  # fmt: skip


ERRORS: list[ErrorCase] = [
    ErrorCase("StridedSlice", "index", lambda: _x(3)[3], _INVALID, "index 3 is out of range for axis 0"),
    ErrorCase("StridedSlice", "index in a run", lambda: _fed(lambda x: x[3], np.zeros(3)), _INVALID,
              "index 3 is out of range"),
    ErrorCase("StridedSlice", "tensor in a run", lambda: _fed(lambda x, i: x[i], np.zeros(3), np.int32(-4)), _INVALID,
              "index -4 is out of bounds"),
    ErrorCase("StridedSlice", "too many", lambda: _x(3)[0, 0], errors.ShapeError, "too many parts"),
    ErrorCase("StridedSlice", "step", lambda: _x(3)[::0], _INVALID, "cannot be 0"),
    ErrorCase("StridedSlice", "fraction", lambda: _x(3)[0.5], errors.DTypeError, "index is an integer"),
    ErrorCase("StridedSlice", "list", lambda: _x(3)[[0, 2]], errors.DTypeError, "tf.gather"),
    ErrorCase("StridedSlice", "vector", lambda: _x(3)[_x(2, dtype=dtypes.int32)], errors.DTypeError, "tf.gather"),
    ErrorCase("StridedSlice", "float tensor", lambda: _x(3)[_x()], errors.DTypeError, "indices are integers"),
    ErrorCase("StridedSlice", "text", lambda: _x(3)["a"], errors.DTypeError, "index is an integer"),
    ErrorCase("StridedSlice", "two ellipses", lambda: _x(3)[..., 0, ...], _INVALID, "single ellipsis"),
    ErrorCase("StridedSlice", "mask beside others", lambda: _x(3, 2)[:, np.array([True, False])], errors.DTypeError,
              "tf.boolean_mask"),
    ErrorCase("StridedSlice", "bool", lambda: _x(3)[True], errors.DTypeError, "mask stands alone"),
    ErrorCase("StridedSlice", "lengths", lambda: slicing.strided_slice(_x(3), [0], [1, 2]), errors.ShapeError,
              "equal lengths"),
    ErrorCase("StridedSlice", "var", lambda: slicing.strided_slice(_x(3), [0], [1], var=1), _INVALID, "assigned to"),
    ErrorCase("StridedSliceGrad", "shape", lambda: slicing._strided_slice_grad(_x(3), [1.5], [], ()),
              errors.DTypeError, "integers"),
    ErrorCase("Slice", "end", lambda: slicing.slice_(_x(3), [1], [3]), _INVALID, "ends outside of axis 0"),
    ErrorCase("Slice", "begin", lambda: slicing.slice_(_x(3), [-1], [1]), _INVALID, "begins outside of axis 0"),
    ErrorCase("Slice", "rank", lambda: slicing.slice_(_x(3, 3), [0], [1]), errors.ShapeError, "one begin and one size"),
    ErrorCase("Slice", "in a run", lambda: _fed(lambda x: slicing.slice_(x, [1], [3]), np.zeros(3)), _INVALID,
              "ends outside|leaves axis 0"),
    ErrorCase("Slice", "from a run", lambda: _fed(slicing.slice_, np.zeros(3), np.array([2]), np.array([2])), _INVALID,
              "leaves axis 0"),
    ErrorCase("SliceGrad", "shape", lambda: slicing._slice_grad(_x(3), [0], [1.5]), errors.DTypeError, "integers"),
    ErrorCase("Gather", "index", lambda: index.gather(_x(3, 2), [0, 3]), _INVALID, "index 3 is out of range"),
    ErrorCase("Gather", "negative index", lambda: index.gather(_x(3, 2), -1), _INVALID, "index -1 is out of range"),
    ErrorCase("Gather", "in a run",
              lambda: _fed(index.gather, np.zeros((3, 2)), np.array([[0, 1], [5, 0]])),
              _INVALID, r"indices\[1, 0\] = 5 is out of range"),
    ErrorCase("Gather", "negative in a run",
              lambda: _fed(index.gather, np.zeros((3, 2)), np.int32(-1)),
              _INVALID, "index -1 is out of range"),
    ErrorCase("Gather", "fractions", lambda: index.gather(_x(3), _x(2)), errors.DTypeError, "indices are integers"),
    ErrorCase("Gather", "axis", lambda: index.gather(_x(3), [0], axis=1), errors.ShapeError, "axis 1"),
    ErrorCase("Gather", "batch_dims", lambda: index.gather(_x(3, 2), [0], batch_dims=1), errors.UnimplementedError,
              "gather_nd"),
    ErrorCase("GatherGrad", "in a run",
              lambda: _fed(lambda dy, i: index._gather_back(dy, i, [2], 0), np.zeros(1), np.array([2])),
              _INVALID, r"indices\[0\] = 2 is out of range"),
    ErrorCase("GatherNd", "coordinates", lambda: index.gather_nd(_x(3), [[0, 1]]), errors.ShapeError, "2 coordinates"),
    ErrorCase("GatherNd", "in a run", lambda: _fed(index.gather_nd, np.zeros((3, 2)), np.array([[0, 1], [0, 2]])),
              _INVALID,
              r"indices\[1\] = \[0, 2\] is out of range"),
    ErrorCase("GatherNd", "scalar", lambda: index.gather_nd(_x(3), 0), errors.ShapeError, "rank 1 or more"),
    ErrorCase("ScatterNd", "updates", lambda: index.scatter_nd([[0], [1]], _x(3), [4]), errors.ShapeError,
              "do not fit"),
    ErrorCase("ScatterNd", "in a run",
              lambda: _fed(lambda i, u: index.scatter_nd(i, u, [4]), np.array([[4]]), np.zeros(1)),
              _INVALID, "out of range"),
    ErrorCase("ScatterNd", "updates in a run",
              lambda: _fed(lambda i, u: index.scatter_nd(i, u, [4]), np.array([[1]]), np.zeros(2)),
              errors.ShapeError, "do not fit"),
    ErrorCase("TensorScatterUpdate", "updates", lambda: index.tensor_scatter_update(_x(4), [[0]], _x(3)),
              errors.ShapeError,
              "do not fit"),
    ErrorCase("Select", "condition", lambda: index.where(_x(2), _x(2), _x(2)), errors.DTypeError, "bool tensor"),
    ErrorCase("Select", "shapes", lambda: index.where([True, False], _x(3, 2), _x(3, 2)), errors.ShapeError,
              "broadcast"),
    ErrorCase("Select", "dtypes", lambda: index.where([True], _x(1), _x(1, dtype=dtypes.int32)), errors.DTypeError,
              "tf.cast"),
    ErrorCase("Select", "only x", lambda: index.where([True], _x(1)), _INVALID, "both x and y"),
    ErrorCase("ZeroUnless", "condition", lambda: index.zero_unless(_x(2), _x(2)), errors.DTypeError, "bool tensor"),
    ErrorCase("Where", "text", lambda: index.where(core.constant(["a"])), errors.DTypeError, "bool tensor"),
    ErrorCase("MaskPlaces", "too short", _short_mask, errors.ShapeError, "does not fit"),
    ErrorCase("tf.boolean_mask", "shape", lambda: index.boolean_mask(_x(3, 2), [True, False]), errors.ShapeError,
              "does not fit"),
    ErrorCase("tf.boolean_mask", "dtype", lambda: index.boolean_mask(_x(3), [1, 0, 1]), errors.DTypeError,
              "bool tensor"),
    ErrorCase("tf.boolean_mask", "scalar", lambda: index.boolean_mask(_x(3), True), errors.ShapeError,
              "rank, 1 or more"),
    ErrorCase("OneHot", "fractions", lambda: index.one_hot(_x(3), 4), errors.DTypeError, "are integers"),
    ErrorCase("OneHot", "depth", lambda: index.one_hot([1], -1), _INVALID, "cannot be negative"),
    ErrorCase("OneHot", "axis", lambda: index.one_hot([1], 3, axis=2), errors.ShapeError, "axis 2"),
    ErrorCase("OneHot", "vector depth", lambda: index.one_hot([1], [3]), errors.ShapeError, "depth is a scalar"),
    ErrorCase("tf.sequence_mask", "fractions", lambda: masks.sequence_mask([1.5]), errors.DTypeError,
              "lengths are integers"),
]  # fmt: skip
