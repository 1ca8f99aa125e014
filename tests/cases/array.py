"""Shapes, fills, casts, joining and splitting."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes, errors
from graphflow.ops import array, casts, core
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase

MANY = ("float16", "float32", "int32", "uint8", "complex128", "bool")
_TEXT = np.array([[b"a", b"bc"], [b"", b"d"]], object)


def _int(*values: Any) -> Any:
    return np.array(values, np.int32)


def _truncated(x: Any) -> Any:
    """By Python's integers, one number at a time."""
    out = []
    for v in x.ravel().tolist():
        out.append(0 if v != v else max(-(2**31), min(2**31 - 1, v if v in (np.inf, -np.inf) else int(v))))
    return np.array(out, np.int32).reshape(x.shape)


_EXTREME = np.array([np.nan, np.inf, -np.inf, 1e20, -1e20, 2.9, -2.9, 0.0, -0.0, 2147483647.0, -2147483649.0])

CASES: list[OpCase] = [
    OpCase("Shape", "matrix", array.shape, (Arg((2, 3)),), lambda x: np.array(x.shape, np.int32), wrt=(),
           zero=(((0, 3),),)),
    OpCase("Shape", "scalar", array.shape, (Arg(()),), lambda x: np.zeros(0, np.int32), wrt=()),
    OpCase("Shape", "int64", lambda x: array.shape(x, out_type=dtypes.int64), (Arg((4,)),), lambda x: np.array([4]),
           wrt=()),
    OpCase("Shape", "of several", lambda x, y: array.shape_n([x, y]), (Arg((2, 3)), Arg((4,))),
           lambda x, y: [np.array(x.shape), np.array(y.shape)], wrt=()),
    OpCase("Size", "matrix", array.size, (Arg((2, 3)),), lambda x: np.int32(6 if x.size else 0), wrt=(),
           zero=(((0, 3),),)),
    OpCase("Size", "int64", lambda x: array.size(x, out_type=dtypes.int64), (Arg(()),), lambda x: np.int64(1), wrt=()),
    OpCase("Rank", "matrix", array.rank, (Arg((2, 3)),), lambda x: np.int32(2), wrt=(), zero=(((0, 3),),)),
    OpCase("Rank", "scalar", array.rank, (Arg(()),), lambda x: np.int32(0), wrt=()),
    OpCase("Reshape", "open size", lambda x: array.reshape(x, [3, -1]), (Arg((2, 6)),), lambda x: x.reshape(3, -1),
           dtypes=MANY, zero=(((0, 6),),)),
    OpCase("Reshape", "to a scalar", lambda x: array.reshape(x, []), (Arg((1, 1)),), lambda x: x.reshape(())),
    OpCase("Reshape", "of a scalar", lambda x: array.reshape(x, [1, 1]), (Arg(()),), lambda x: x.reshape(1, 1)),
    OpCase("Reshape", "to a tensor's shape", array.reshape, (Arg((2, 6)), _int(4, 3)),
           lambda x, s: x.reshape(4, 3)),
    OpCase("Reshape", "sizes of a list with tensors", lambda x: array.reshape(x, [array.shape(x)[0], 6]),
           (Arg((2, 2, 3)),), lambda x: x.reshape(2, 6)),
    OpCase("Reshape", "text", lambda x: array.reshape(x, [4]), (_TEXT,), lambda x: x.reshape(4)),
    *[OpCase("ExpandDims", f"axis {axis}", lambda x, axis=axis: array.expand_dims(x, axis), (Arg((2, 3)),),
             lambda x, axis=axis: np.expand_dims(x, axis), dtypes=("float32", "int32"), zero=(((0, 3),),))
      for axis in (0, 1, 2, -1, -3)],
    OpCase("ExpandDims", "scalar", lambda x: array.expand_dims(x, 0), (Arg(()),), lambda x: x.reshape(1)),
    OpCase("ExpandDims", "old spelling", lambda x: array.expand_dims(x, dim=1), (Arg((2,)),), lambda x: x[:, None]),
    OpCase("Squeeze", "all", array.squeeze, (Arg((1, 3, 1)),), np.squeeze, zero=(((1, 0, 1),),)),
    OpCase("Squeeze", "one axis", lambda x: array.squeeze(x, [-1]), (Arg((1, 3, 1)),), lambda x: x[..., 0],
           dtypes=("float32", "int32")),
    OpCase("Squeeze", "old spelling", lambda x: array.squeeze(x, squeeze_dims=[0, 2]), (Arg((1, 3, 1)),),
           lambda x: x[0, :, 0]),
    OpCase("Squeeze", "to a scalar", array.squeeze, (Arg((1, 1)),), lambda x: x[0, 0]),
    OpCase("Fill", "vector", lambda v: array.fill([3], v), (Arg(()),), lambda v: np.full(3, v), dtypes=MANY),
    OpCase("Fill", "no elements", lambda v: array.fill([0, 2], v), (Arg(()),), lambda v: np.full((0, 2), v)),
    OpCase("Fill", "scalar", lambda v: array.fill([], v), (Arg(()),), lambda v: v),
    OpCase("Fill", "shape from a run", array.fill, (_int(2, 3), Arg(())),
           lambda s, v: np.full((2, 3), v)),
    OpCase("Fill", "zeros and ones",
           lambda: [array.zeros([2, 2]), array.ones(3, dtypes.int32), array.zeros([2], "bool")], (),
           lambda: [np.zeros((2, 2)), np.ones(3, np.int32), np.zeros(2, bool)]),
    OpCase("Fill", "empty text", lambda: array.zeros([2], dtypes.string), (), lambda: np.array([b"", b""], object)),
    OpCase("ZerosLike", "matrix", array.zeros_like, (Arg((2, 3)),), np.zeros_like, wrt=(), dtypes=MANY,
           zero=(((0, 3),),)),
    OpCase("ZerosLike", "large", array.zeros_like, (Arg((20, 30)),), np.zeros_like, wrt=()),
    OpCase("ZerosLike", "other dtype", lambda x: array.zeros_like(x, dtypes.int64), (Arg(()),), lambda x: np.int64(0),
           wrt=()),
    OpCase("ZerosLike", "text", array.zeros_like, (_TEXT,), lambda x: np.full((2, 2), b"", object)),
    OpCase("OnesLike", "matrix", array.ones_like, (Arg((2, 3)),), np.ones_like, wrt=(), dtypes=MANY, zero=(((0, 3),),)),
    OpCase("OnesLike", "scalar", lambda x: array.ones_like(x, "float32"), (Arg(()),), lambda x: np.float32(1), wrt=()),
    OpCase("BroadcastTo", "rows", lambda x: array.broadcast_to(x, [2, 4, 3]), (Arg((4, 1)),),
           lambda x: np.broadcast_to(x, (2, 4, 3)), dtypes=("float32", "int32", "bool")),
    OpCase("BroadcastTo", "no elements", lambda x: array.broadcast_to(x, [2, 0, 3]), (Arg((0, 1)),),
           lambda x: np.zeros((2, 0, 3))),
    OpCase("BroadcastTo", "scalar", lambda x: array.broadcast_to(x, [2, 2]), (Arg(()),), lambda x: np.full((2, 2), x)),
    OpCase("BroadcastTo", "shape from a run", array.broadcast_to, (Arg((3,)), _int(2, 3)),
           lambda x, s: np.broadcast_to(x, (2, 3))),
    OpCase("Range", "integers", array.range_, (np.int32(3), np.int32(18), np.int32(4)),
           lambda a, b, c: np.array([3, 7, 11, 15], np.int32), zero=(((), (), ()),)),
    OpCase("Range", "downwards", lambda: array.range_(5, 0, -2), (), lambda: np.array([5, 3, 1], np.int32)),
    OpCase("Range", "only a limit", lambda: array.range_(4), (), lambda: np.arange(4, dtype=np.int32)),
    OpCase("Range", "no numbers", lambda: array.range_(3, 3), (), lambda: np.zeros(0, np.int32)),
    OpCase("Range", "fractions", lambda: array.range_(0.0, 1.0, 0.25), (), lambda: np.array([0, 0.25, 0.5, 0.75])),
    OpCase("Range", "widest dtype", lambda n: array.range_(0, n, dtype=dtypes.int64), (np.int32(3),),
           lambda n: np.arange(3)),
    OpCase("Cast", "to integers", lambda x: casts.cast(x, dtypes.int32), (np.array(_EXTREME),), _truncated, wrt=(),
           dtypes=("float64",), zero=(((0,),),)),
    OpCase("Cast", "float32 to int8", lambda x: casts.cast(x, dtypes.int8),
           (np.array([300.0, -300.0, 127.9, -128.9, -0.5, np.nan], np.float32),),
           lambda x: np.array([127, -128, 127, -128, 0, 0], np.int8), wrt=()),
    OpCase("Cast", "to unsigned", lambda x: casts.cast(x, dtypes.uint8),
           (np.array([300.0, -3.0, -0.5, 255.9, np.nan]),),
           lambda x: np.array([255, 0, 0, 255, 0], np.uint8), wrt=(), dtypes=("float32",)),
    OpCase("Cast", "float32 to int64", lambda x: casts.cast(x, dtypes.int64),
           (np.array([1e30, -1e30, 2.5], np.float32),),
           lambda x: np.array([2**63 - 1, -(2**63), 2]), wrt=()),
    OpCase("Cast", "integers wrap around", lambda x: casts.cast(x, dtypes.uint8), (_int(256, -1, 7),),
           lambda x: np.array([0, 255, 7], np.uint8)),
    OpCase("Cast", "to bool", lambda x: casts.cast(x, dtypes.bool_), (np.array([0.0, -0.0, 0.5, np.nan]),),
           lambda x: np.array([False, False, True, True]), wrt=()),
    OpCase("Cast", "of bool", casts.to_float, (np.array([True, False]),), lambda x: np.array([1.0, 0.0])),
    OpCase("Cast", "complex to real", lambda x: casts.cast(x, dtypes.float64), (Arg((2, 3), dtype="complex128"),),
           np.real,
           analytic=False),
    OpCase("Cast", "real to complex", lambda x: casts.cast(x, dtypes.complex128), (Arg((2, 3)),), lambda x: x + 0j,
           dtypes=("float64",), analytic=False, zero=(((0, 3),),)),
    OpCase("Cast", "scalar", casts.to_double, (Arg((), dtype="float32"),), lambda x: x),
    OpCase("Cast", "of the names", lambda x: [casts.to_int32(x), casts.to_int64(x)], (np.array([1.5, -1.5]),),
           lambda x: [_int(1, -1), np.array([1, -1])], wrt=()),
    OpCase("Bitcast", "same size", lambda x: casts.bitcast(x, dtypes.int32), (Arg((2, 3), dtype="float32"),),
           lambda x: x.astype(np.float32).view(np.int32), zero=(((0, 3),),), wrt=()),
    OpCase("Bitcast", "smaller", lambda x: casts.bitcast(x, dtypes.uint8), (_int(1, 256),),
           lambda x: np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.uint8)),
    OpCase("Bitcast", "larger", lambda x: casts.bitcast(x, dtypes.int32),
           (np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.uint8),),
           lambda x: _int(1, 256)),
    OpCase("Bitcast", "scalar", lambda x: casts.bitcast(x, dtypes.uint32), (np.int32(-1),),
           lambda x: np.uint32(2**32 - 1)),
    *[OpCase("Concat", f"axis {axis}", lambda x, y, axis=axis: array.concat([x, y], axis), (Arg((2, 3)), Arg((2, 3))),
             lambda x, y, axis=axis: np.concatenate([x, y], axis), dtypes=MANY,
             zero=(((0, 3), (0, 3)), ((2, 0), (2, 0))))
      for axis in (0, 1, -1, -2)],
    OpCase("Concat", "different sizes", lambda x, y, z: array.concat([x, y, z], 1),
           (Arg((2, 3)), Arg((2, 0)), Arg((2, 1))),
           lambda x, y, z: np.concatenate([x, y, z], 1)),
    OpCase("Concat", "axis first", lambda x, y: array.concat(1, [x, y]), (Arg((2, 3)), Arg((2, 1))),
           lambda x, y: np.concatenate([x, y], 1)),
    OpCase("Concat", "one tensor", lambda x: array.concat([x], 0), (Arg((2, 3)),), lambda x: x),
    OpCase("Concat", "twice the same", lambda x: array.concat([x, x], 0), (Arg((2, 3)),),
           lambda x: np.concatenate([x, x])),
    OpCase("ConcatGrad", "sizes from a run", lambda dy, s, t: array._pieces_like(dy, [s, t], 1),
           (Arg((2, 5)), _int(2, 3), _int(2, 2)), lambda dy, s, t: [dy[:, :3], dy[:, 3:]],
           zero=(((0, 5), (2,), (2,)),)),
    *[OpCase("Pack", f"axis {axis}", lambda x, y, axis=axis: array.stack([x, y], axis), (Arg((2, 3)), Arg((2, 3))),
             lambda x, y, axis=axis: np.stack([x, y], axis), dtypes=MANY, zero=(((0, 3), (0, 3)),))
      for axis in (0, 1, 2, -1, -3)],
    OpCase("Pack", "scalars", lambda x, y: array.stack([x, y, 1.0]), (Arg(()), Arg(())),
           lambda x, y: np.array([x, y, 1.0])),
    OpCase("Pack", "text", lambda x, y: array.stack([x, y]), (np.array(b"x", object), np.array(b"yz", object)),
           lambda x, y: np.array([b"x", b"yz"], object)),
    OpCase("Pack", "a tensor already", array.stack, (Arg((2, 3)),), lambda x: x, unknown="none"),
    OpCase("Pack", "a list that holds tensors", lambda x, y: core.convert_to_tensor([[x, 1.0], [2.0, y]]),
           (Arg(()), Arg(())), lambda x, y: np.array([[x, 1.0], [2.0, y]])),
    OpCase("Pack", "a list that begins with literals", lambda x: core.convert_to_tensor([[np.int64(1), 2.5], [x, 3]]),
           (Arg(()),), lambda x: np.array([[1.0, 2.5], [x, 3.0]])),
    *[OpCase("Unpack", f"axis {axis}", lambda x, axis=axis: array.unstack(x, 2, axis), (Arg((2, 2, 2)),),
             lambda x, axis=axis: list(np.moveaxis(x, axis, 0)), dtypes=MANY)
      for axis in (0, 1, -1)],
    OpCase("Unpack", "vector", array.unstack, (Arg((3,)),), list, unknown="none"),
    OpCase("Unpack", "text", lambda x: array.stack(array.unstack(x, 2)[::-1]), (_TEXT[0],), lambda x: x[::-1]),
    OpCase("Unpack", "one piece", lambda x: array.unstack(x, 1), (Arg((1, 3)),), lambda x: [x[0]], zero=(((1, 0),),)),
    OpCase("Split", "equal pieces", lambda x: array.split(x, 3, 1), (Arg((2, 6)),), lambda x: np.split(x, 3, 1),
           dtypes=MANY, zero=(((0, 6),), ((2, 0),))),
    OpCase("Split", "last axis", lambda x: array.split(x, 2, axis=-1), (Arg((2, 6)),), lambda x: np.split(x, 2, -1)),
    OpCase("Split", "sizes", lambda x: array.split(x, [1, 0, 2], 0), (Arg((3, 2)),), lambda x: [x[:1], x[1:1], x[1:]]),
    OpCase("Split", "one size open", lambda x: array.split(x, [1, -1, 2], 0), (Arg((5, 2)),),
           lambda x: [x[:1], x[1:3], x[3:]]),
    OpCase("Split", "one piece", lambda x: array.split(x, 1), (Arg((3,)),), lambda x: [x]),
    OpCase("Split", "sizes from a run", lambda x, s: array.split(x, s, num=2), (Arg((5,)), _int(2, 3)),
           lambda x, s: [x[:2], x[2:]]),
    OpCase("Split", "axis first", lambda x: array.split(1, 2, x), (Arg((2, 4)),), lambda x: np.split(x, 2, 1)),
    OpCase("Split", "old names", lambda x: array.split(x, split_dim=1, num_split=2), (Arg((2, 4)),),
           lambda x: np.split(x, 2, 1)),
]  # fmt: skip


def _x(*dims: Any, dtype: Any = dtypes.float32) -> Any:
    return core.placeholder(dtype, dims)


def _run(tensor: Any, feeds: Any = None) -> Any:
    with Session() as session:
        return session.run(tensor, feeds)


def _fed(build: Any, *arrays: Any) -> Any:
    """Run with placeholders of unknown shape, so that only the kernel can notice."""
    xs = [core.placeholder(dtypes.from_numpy(np.asarray(a).dtype)) for a in arrays]
    return _run(build(*xs), dict(zip(xs, arrays, strict=True)))


_INVALID = errors.InvalidArgumentError

ERRORS: list[ErrorCase] = [
    ErrorCase("Reshape", "elements", lambda: array.reshape(_x(2, 3), [4]), errors.ShapeError, "6 elements"),
    ErrorCase("Reshape", "in a run", lambda: _fed(lambda x: array.reshape(x, [4]), np.zeros(6)), _INVALID,
              "[Rr]eshape"),
    ErrorCase("Reshape", "two open sizes", lambda: array.reshape(_x(2, 3), [-1, -1]), errors.ShapeError,
              "one dimension open"),
    ErrorCase("Reshape", "None", lambda: array.reshape(_x(None, 3), [None, 3]), errors.ShapeError, "no unknown sizes"),
    ErrorCase("Reshape", "fractions", lambda: array.reshape(_x(2, 3), [1.5, 4.0]), errors.DTypeError,
              "vector of integers"),
    ErrorCase("Reshape", "matrix", lambda: array.reshape(_x(2, 3), [[2], [3]]), errors.ShapeError, r"\[2, 1\]"),
    ErrorCase("ExpandDims", "axis", lambda: array.expand_dims(_x(2, 3), 4), errors.ShapeError,
              "axis 4 is out of range"),
    ErrorCase("ExpandDims", "no axis", lambda: array.expand_dims(_x(2, 3)), _INVALID, "axis is missing"),
    ErrorCase("ExpandDims", "axis of a run", lambda: array.expand_dims(_x(2), core.placeholder(dtypes.int32, [])),
              _INVALID,
              "known while the graph is built"),
    ErrorCase("ExpandDims", "fraction", lambda: array.expand_dims(_x(2), 0.5), errors.DTypeError, "axis is an integer"),
    ErrorCase("Squeeze", "size", lambda: array.squeeze(_x(2, 1), [0]), errors.ShapeError, "cannot squeeze axis 0"),
    ErrorCase("Squeeze", "in a run", lambda: _fed(lambda x: array.squeeze(x, [0]), np.zeros((2, 1))), _INVALID,
              "squeeze"),
    ErrorCase("Shape", "of None", lambda: array.shape(None), errors.DTypeError, "None"),
    ErrorCase("Fill", "negative", lambda: array.zeros([-1, 2]), errors.ShapeError, "cannot be negative"),
    ErrorCase("Fill", "vector value", lambda: array.fill([2], [1.0, 2.0]), errors.ShapeError, "is a scalar"),
    ErrorCase("Fill", "unknown size", lambda: array.zeros([None, 2]), errors.ShapeError, "no unknown sizes"),
    ErrorCase("OnesLike", "text", lambda: array.ones_like(core.constant(["a"])), errors.DTypeError, "no one"),
    ErrorCase("BroadcastTo", "shape", lambda: array.broadcast_to(_x(3), [2, 4]), errors.ShapeError,
              "cannot be broadcast"),
    ErrorCase("Range", "step", lambda: array.range_(1, 5, 0), _INVALID, "step other than 0"),
    ErrorCase("Range", "wrong way", lambda: array.range_(5, 1), _INVALID, "never reaches"),
    ErrorCase("Range", "wrong way in a run", lambda: _fed(lambda n: array.range_(3, n), np.int32(1)), _INVALID,
              "never reaches"),
    ErrorCase("Range", "vector", lambda: array.range_(_x(2, dtype=dtypes.int32)), errors.ShapeError,
              "limit is a scalar"),
    ErrorCase("Cast", "text", lambda: casts.cast(core.constant("1.5"), dtypes.float32), errors.DTypeError,
              "string_to_number"),
    ErrorCase("Cast", "not a dtype", lambda: casts.cast(_x(2), "float99"), errors.DTypeError, "float99"),
    ErrorCase("Bitcast", "sizes", lambda: casts.bitcast(_x(2, 3), dtypes.float64), errors.ShapeError,
              "last dimension of 2"),
    ErrorCase("Concat", "sizes", lambda: array.concat([_x(2, 3), _x(4, 5)], 0), errors.ShapeError, "equal sizes"),
    ErrorCase("Concat", "axis", lambda: array.concat([_x(2, 3), _x(2, 3)], 2), errors.ShapeError, "axis 2"),
    ErrorCase("Concat", "scalars", lambda: array.concat([_x(), _x()], 0), errors.ShapeError, "tf.stack"),
    ErrorCase("Concat", "dtypes", lambda: array.concat([_x(2), _x(2, dtype=dtypes.int32)], 0), errors.DTypeError,
              "tf.cast"),
    ErrorCase("Concat", "nothing", lambda: array.concat([], 0), _INVALID, "at least one"),
    ErrorCase("Concat", "no axis", lambda: array.concat([_x(2)]), _INVALID, "axis is missing"),
    ErrorCase("ConcatGrad", "fractions", lambda: array._pieces_like(_x(2), [_x(1)], 0), errors.DTypeError,
              "vector of integers"),
    ErrorCase("Pack", "shapes", lambda: array.stack([_x(2), _x(3)]), errors.ShapeError, "do not agree"),
    ErrorCase("Pack", "axis", lambda: array.stack([_x(2), _x(2)], 2), errors.ShapeError, "axis 2"),
    ErrorCase("Unpack", "unknown number", lambda: array.unstack(_x(None, 2)), _INVALID, "num="),
    ErrorCase("Unpack", "number", lambda: array.unstack(_x(3, 2), 2), errors.ShapeError, "size 2"),
    ErrorCase("Unpack", "in a run", lambda: _fed(lambda x: array.unstack(x, 2), np.zeros(3)), errors.ShapeError,
              "size 2"),
    ErrorCase("Split", "not a divisor", lambda: array.split(_x(5), 2), errors.ShapeError, "2 equal pieces"),
    ErrorCase("Split", "sizes", lambda: array.split(_x(5), [2, 2]), errors.ShapeError, "add up"),
    ErrorCase("Split", "in a run", lambda: _fed(lambda x: array.split(x, 2), np.zeros(5)), errors.ShapeError,
              "2 equal pieces"),
    ErrorCase("Split", "no pieces", lambda: array.split(_x(5), 0), _INVALID, "one piece or more"),
    ErrorCase("Split", "unknown number", lambda: array.split(_x(5), core.placeholder(dtypes.int32, [None])), _INVALID,
              "num="),
]  # fmt: skip

NO_ZERO_SIZE = {"Fill": "the value is a scalar; the row 'no elements' has a result of size 0"}
