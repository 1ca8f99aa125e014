"""Axes in another order, elements repeated, shifted, padded or turned around."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes, errors
from graphflow.ops import arrange, core
from graphflow.testing import Arg, ErrorCase, OpCase
from tests.cases.array import MANY, _fed, _x

_INVALID = errors.InvalidArgumentError
_PAIRS = np.array([[1, 2], [0, 3]], np.int32)


def _turned(x: Any, lengths: Any) -> Any:
    out = x.copy()
    for i, n in enumerate(lengths.tolist()):
        out[i, :n] = x[i, :n][::-1]
    return out


def _turned_by_columns(x: Any, lengths: Any) -> Any:
    return _turned(x.T, lengths).T


CASES: list[OpCase] = [
    OpCase("Transpose", "reversed", arrange.transpose, (Arg((2, 3, 4)),), np.transpose, dtypes=MANY,
           zero=(((0, 3, 4),),)),
    OpCase("Transpose", "perm", lambda x: arrange.transpose(x, [2, 0, 1]), (Arg((2, 3, 4)),),
           lambda x: x.transpose(2, 0, 1)),
    OpCase("Transpose", "negative perm", lambda x: arrange.transpose(x, [-1, 0, 1]), (Arg((2, 3, 4)),),
           lambda x: x.transpose(2, 0, 1)),
    OpCase("Transpose", "perm from a run", arrange.transpose, (Arg((2, 3, 4)), np.array([1, 2, 0], np.int32)),
           lambda x, p: x.transpose(1, 2, 0)),
    OpCase("Transpose", "scalar", arrange.transpose, (Arg(()),), lambda x: x),
    OpCase("Transpose", "conjugate of reals", lambda x: arrange.transpose(x, conjugate=True), (Arg((2, 3)),),
           lambda x: x.T),
    OpCase("ConjugateTranspose", "matrix", lambda x: arrange.transpose(x, conjugate=True),
           (Arg((2, 3), dtype="complex128"),), lambda x: np.conj(x).T, analytic=False, zero=(((0, 3),),)),
    OpCase("ConjugateTranspose", "perm", lambda x: arrange.transpose(x, [1, 2, 0], conjugate=True),
           (Arg((2, 3, 2), dtype="complex128"),), lambda x: np.conj(x).transpose(1, 2, 0), analytic=False),
    OpCase("InvertPermutation", "vector", arrange.invert_permutation, (np.array([2, 0, 3, 1], np.int32),),
           np.argsort, zero=(((0,),),)),
    OpCase("Reverse", "axes", lambda x: arrange.reverse(x, [0, -1]), (Arg((2, 3, 4)),), lambda x: x[::-1, :, ::-1],
           dtypes=MANY, zero=(((0, 3, 4),),)),
    OpCase("Reverse", "bools", lambda x: arrange.reverse(x, [False, True]), (Arg((2, 3)),), lambda x: x[:, ::-1]),
    OpCase("Reverse", "no axis", lambda x: arrange.reverse(x, []), (Arg((2, 3)),), lambda x: x),
    OpCase("ReverseSequence", "rows", lambda x, n: arrange.reverse_sequence(x, n, seq_axis=1, batch_axis=0),
           (Arg((3, 4, 2)), np.array([4, 0, 2])), _turned, dtypes=MANY, zero=(((0, 4, 2), (0,)), ((3, 4, 0), (3,)))),
    OpCase("ReverseSequence", "columns", lambda x, n: arrange.reverse_sequence(x, n, seq_dim=0, batch_dim=1),
           (Arg((4, 3)), np.array([1, 3, 4], np.int32)), _turned_by_columns),
    OpCase("Roll", "one axis", lambda x: arrange.roll(x, 2, 1), (Arg((2, 5)),), lambda x: np.roll(x, 2, 1), dtypes=MANY,
           zero=(((0, 5),),)),
    OpCase("Roll", "axes", lambda x: arrange.roll(x, [-1, 7], [0, -1]), (Arg((2, 5)),),
           lambda x: np.roll(x, (-1, 7), (0, 1))),
    OpCase("Roll", "shift from a run", lambda x, s: arrange.roll(x, s, [0]), (Arg((5,)), np.array([3], np.int32)),
           lambda x, s: np.roll(x, 3)),
    OpCase("Tile", "matrix", lambda x: arrange.tile(x, [2, 3]), (Arg((2, 2)),), lambda x: np.tile(x, (2, 3)),
           dtypes=MANY,
           zero=(((0, 2),),)),
    OpCase("Tile", "no times", lambda x: arrange.tile(x, [2, 0]), (Arg((2, 3)),), lambda x: np.tile(x, (2, 0))),
    OpCase("Tile", "once", lambda x: arrange.tile(x, [1, 1]), (Arg((2, 2)),), lambda x: x),
    OpCase("Tile", "multiples from a run", arrange.tile, (Arg((2,)), np.array([2])), lambda x, m: np.tile(x, 2)),
    OpCase("Tile", "no times, from a run", arrange.tile, (Arg((2, 3)), np.array([0, 2])), np.tile),
    OpCase("Tile", "scalar", lambda x: arrange.tile(x, []), (Arg(()),), lambda x: x),
    OpCase("TileGrad", "matrix", lambda dy: arrange._tile_grad(dy, [2, 1, 3]), (Arg((4, 2, 3)),),
           lambda dy: (dy[:2] + dy[2:]).sum(-1, keepdims=True), zero=(((0, 2, 3),),)),
    OpCase("Pad", "zeros", lambda x: arrange.pad(x, [[1, 2], [0, 3]]), (Arg((2, 2)),),
           lambda x: np.pad(x, [[1, 2], [0, 3]]), dtypes=MANY, zero=(((0, 2),),)),
    OpCase("Pad", "constant", lambda x: arrange.pad(x, [[1, 0]], constant_values=7), (Arg((2,)),),
           lambda x: np.concatenate([[7.0], x]), dtypes=("float32", "int32")),
    OpCase("Pad", "paddings from a run", arrange.pad, (Arg((2, 2)), _PAIRS), np.pad,
           zero=(((0, 2), (2, 2)),)),
    OpCase("Pad", "some paddings from a run", lambda x, n: arrange.pad(x, [[1, n], [0, 1]]), (Arg((2, 2)), np.int32(2)),
           lambda x, n: np.pad(x, [[1, 2], [0, 1]])),
    OpCase("Pad", "constant from a run", lambda x, c: arrange.pad(x, [[1, 0]], constant_values=c), (Arg((2,)), Arg(())),
           lambda x, c: np.concatenate([[c], x]), wrt=(0,)),
    OpCase("Pad", "scalar", lambda x: arrange.pad(x, np.zeros((0, 2), np.int32)), (Arg(()),), lambda x: x),
    *[OpCase("MirrorPad", f"{mode}", lambda x, mode=mode: arrange.pad(x, [[2, 1], [0, 2]], mode), (Arg((3, 3)),),
             lambda x, mode=mode: np.pad(x, [[2, 1], [0, 2]], mode.lower()), dtypes=MANY)
      for mode in ("REFLECT", "SYMMETRIC")],
    OpCase("MirrorPad", "the whole tensor", lambda x: arrange.pad(x, [[3, 3]], "symmetric"), (Arg((3,)),),
           lambda x: np.pad(x, [[3, 3]], "symmetric")),
    OpCase("MirrorPad", "no element", lambda x: arrange.pad(x, [[0, 0], [1, 1]], "SYMMETRIC"), (Arg((2, 2)),),
           lambda x: np.pad(x, [[0, 0], [1, 1]], "symmetric"), zero=(((0, 2),),)),
    OpCase("MirrorPad", "paddings from a run", lambda x, p: arrange.pad(x, p, "REFLECT"), (Arg((3, 4)), _PAIRS),
           lambda x, p: np.pad(x, p, "reflect")),
    OpCase("MirrorPadGrad", "reflect", lambda dy: arrange._mirror_pad_grad((dy, [3]), ((2, 1),), "REFLECT"),
           (Arg((6,)),),
           lambda dy: np.array([dy[2], dy[1] + dy[3] + dy[5], dy[0] + dy[4]])),
    OpCase("MirrorPadGrad", "no element",
           lambda dy: arrange._mirror_pad_grad((dy, [0, 2]), ((0, 0), (1, 1)), "SYMMETRIC"),
           (Arg((0, 4)),), lambda dy: np.zeros((0, 2))),
    OpCase("LinSpace", "numbers", lambda: arrange.linspace(1.0, 2.0, 5), (),
           lambda: np.array([1, 1.25, 1.5, 1.75, 2.0])),
    OpCase("LinSpace", "one number", lambda a, b: arrange.linspace(a, b, 1), (np.float64(3), np.float64(4)),
           lambda a, b: np.array([3.0]), wrt=()),
    OpCase("LinSpace", "integers as literals", lambda: arrange.linspace(0, 10, 3), (),
           lambda: np.array([0.0, 5.0, 10.0])),
    OpCase("tf.meshgrid", "xy", arrange.meshgrid, (Arg((3,)), Arg((2,))),
           np.meshgrid, zero=(((0,), (2,)),)),
    OpCase("tf.meshgrid", "ij", lambda x, y, z: arrange.meshgrid(x, y, z, indexing="ij"),
           (Arg((3,)), Arg((2,)), Arg((2,))),
           lambda x, y, z: np.meshgrid(x, y, z, indexing="ij")),
    OpCase("tf.meshgrid", "three axes", arrange.meshgrid, (Arg((3,)), Arg((2,)), Arg((2,))),
           np.meshgrid),
    OpCase("BroadcastArgs", "shapes", arrange.broadcast_dynamic_shape, (np.array([3, 1, 2]), np.array([4, 1])),
           lambda a, b: np.array([3, 4, 2])),
    OpCase("BroadcastArgs", "scalar", arrange.broadcast_dynamic_shape,
           (np.array([3, 2], np.int32), np.zeros(0, np.int32)),
           lambda a, b: np.array([3, 2], np.int32)),
    OpCase("GuaranteeConst", "matrix", arrange.guarantee_const, (Arg((2, 3)),), lambda x: x, zero=(((0, 3),),)),
    OpCase("tf.identity_n", "two", lambda x, y: arrange.identity_n([x, y]), (Arg((2,)), Arg((3,))),
           lambda x, y: [x, y]),
]  # fmt: skip

ERRORS: list[ErrorCase] = [
    ErrorCase("Transpose", "length", lambda: arrange.transpose(_x(2, 3), [0]), errors.ShapeError,
              "one entry for each axis"),
    ErrorCase("Transpose", "twice", lambda: arrange.transpose(_x(2, 3), [0, 0]), _INVALID, "every axis once"),
    ErrorCase("Transpose", "in a run",
              lambda: _fed(arrange.transpose, np.zeros((2, 3)), np.array([0, 0])),
              _INVALID, "axes|axis"),
    ErrorCase("InvertPermutation", "twice", lambda: _fed(arrange.invert_permutation, np.array([0, 0])), _INVALID,
              "not a permutation"),
    ErrorCase("InvertPermutation", "fractions", lambda: arrange.invert_permutation(_x(2)), errors.DTypeError,
              "integers"),
    ErrorCase("Reverse", "axis", lambda: arrange.reverse(_x(2, 3), [2]), errors.ShapeError, "axis 2"),
    ErrorCase("Reverse", "twice", lambda: arrange.reverse(_x(2, 3), [1, -1]), errors.ShapeError, "given twice"),
    ErrorCase("ReverseSequence", "length",
              lambda: _fed(lambda x, n: arrange.reverse_sequence(x, n, 1, 0), np.zeros((2, 3)),
              np.array([1, 4])), _INVALID, "longer than the tensor"),
    ErrorCase("ReverseSequence", "lengths", lambda: arrange.reverse_sequence(_x(2, 3), [1], 1, 0), errors.ShapeError,
              r"\[1\]"),
    ErrorCase("ReverseSequence", "axes", lambda: arrange.reverse_sequence(_x(2, 3), [1, 1], 0, 0), errors.ShapeError,
              "different axes"),
    ErrorCase("Roll", "shifts", lambda: arrange.roll(_x(2, 3), [1], [0, 1]), errors.ShapeError, "2 shifts"),
    ErrorCase("Tile", "length", lambda: arrange.tile(_x(2, 3), [2]), errors.ShapeError, "one multiple for each axis"),
    ErrorCase("Tile", "negative", lambda: arrange.tile(_x(2), [-1]), errors.ShapeError, "cannot be negative"),
    ErrorCase("Tile", "in a run", lambda: _fed(arrange.tile, np.zeros((2, 3)), np.array([2])),
              errors.ShapeError, "one multiple for each axis"),
    ErrorCase("TileGrad", "nothing",
              lambda: _fed(arrange._tile_grad, np.zeros((0,)), np.array([0])),
              _INVALID, "tiled 0 times"),
    ErrorCase("Pad", "pairs", lambda: arrange.pad(_x(2, 3), [[1, 1]]), errors.ShapeError, "one pair for each axis"),
    ErrorCase("Pad", "not pairs", lambda: arrange.pad(_x(2, 3), [1, 1]), errors.ShapeError, r"pairs \(before, after\)"),
    ErrorCase("Pad", "negative", lambda: arrange.pad(_x(2), [[-1, 0]]), _INVALID, "cannot be negative"),
    ErrorCase("Pad", "mode", lambda: arrange.pad(_x(2), [[1, 0]], "EDGE"), _INVALID, "REFLECT or SYMMETRIC"),
    ErrorCase("Pad", "constant", lambda: arrange.pad(_x(2, dtype=dtypes.int32), [[1, 0]], constant_values=0.5),
              errors.DTypeError, "int32"),
    ErrorCase("Pad", "in a run", lambda: _fed(arrange.pad, np.zeros(2), np.array([[1, 1], [0, 0]])),
              errors.ShapeError, "one pair for each axis"),
    ErrorCase("MirrorPad", "more than there is",
              lambda: _fed(lambda x: arrange.pad(x, [[2, 0]], "REFLECT"), np.zeros(2)),
              _INVALID, "more than there is"),
    ErrorCase("MirrorPadGrad", "shape", lambda: arrange._mirror_pad_grad((_x(3), [1.5]), ((1, 1),), "REFLECT"),
              errors.DTypeError, "vector of integers"),
    ErrorCase("LinSpace", "no number", lambda: arrange.linspace(0.0, 1.0, 0), _INVALID, "one number or more"),
    ErrorCase("LinSpace", "dtypes", lambda: arrange.linspace(core.constant(0.0), core.constant(1.0, dtypes.float64), 3),
              errors.DTypeError, "float64"),
    ErrorCase("tf.meshgrid", "indexing", lambda: arrange.meshgrid([1.0], indexing="yx"), _INVALID, "'xy' or 'ij'"),
    ErrorCase("BroadcastArgs", "shapes", lambda: arrange.broadcast_dynamic_shape([2, 3], [4]), errors.ShapeError,
              "broadcast"),
    ErrorCase("BroadcastArgs", "in a run",
              lambda: _fed(arrange.broadcast_dynamic_shape, np.array([2, 3]), np.array([4])),
              _INVALID, "broadcast"),
    ErrorCase("GuaranteeConst", "None", lambda: arrange.guarantee_const(None), errors.DTypeError, "None"),
    ErrorCase("tf.broadcast_static_shape", "shapes", lambda: arrange.broadcast_static_shape([2], [3]),
              errors.ShapeError,
              "broadcast"),
]  # fmt: skip

NO_ZERO_SIZE = {"LinSpace": "it makes one number or more of scalars"}
