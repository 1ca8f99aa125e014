"""Diagonals of matrices, and pictures cut into blocks and windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import errors
from graphflow.ops import blocks
from graphflow.testing import Arg, ErrorCase, OpCase
from tests.cases.array import MANY, _fed, _x

_INVALID = errors.InvalidArgumentError


def _diag(x: Any) -> Any:
    out = np.zeros((*x.shape, *x.shape), x.dtype)
    for place in np.ndindex(x.shape):
        out[place + place] = x[place]
    return out


def _diagonal(x: Any) -> Any:
    out = np.zeros((*x.shape[:-2], min(x.shape[-2:])), x.dtype)
    for i in range(out.shape[-1]):
        out[..., i] = x[..., i, i]
    return out


def _set_diagonal(x: Any, diagonal: Any) -> Any:
    out = x.copy()
    for i in range(diagonal.shape[-1]):
        out[..., i, i] = diagonal[..., i]
    return out


def _banded(x: Any, lower: int, upper: int) -> Any:
    out = x.copy()
    for i in range(x.shape[-2]):
        for j in range(x.shape[-1]):
            if lower >= 0 and i - j > lower or upper >= 0 and j - i > upper:
                out[..., i, j] = 0
    return out


def _depth_to_space(x: Any, s: int) -> Any:
    n, h, w, c = x.shape
    depth = c // (s * s)
    out = np.zeros((n, h * s, w * s, depth), x.dtype)
    for i in range(s):
        for j in range(s):
            out[:, i::s, j::s] = x[..., (i * s + j) * depth : (i * s + j + 1) * depth]
    return out


def _space_to_depth(x: Any, s: int) -> Any:
    return np.concatenate([x[:, i::s, j::s] for i in range(s) for j in range(s)], -1)


def _channels_first(function: Any, x: Any, s: int) -> Any:
    return np.moveaxis(function(np.moveaxis(x, 1, -1), s), -1, 1)


def _space_to_batch(x: Any, block: Any, paddings: Any) -> Any:
    x = np.pad(x, [(0, 0), *paddings, *[(0, 0)] * (x.ndim - 1 - len(block))])
    return np.concatenate([x[(slice(None), *(slice(i, None, s) for i, s in zip(start, block, strict=True)))]
                           for start in np.ndindex(*block)])  # fmt: skip


def _batch_to_space(x: Any, block: Any, crops: Any) -> Any:
    count = len(x) // int(np.prod(block))
    inner = x.shape[1 : 1 + len(block)]
    out = np.zeros((count, *(d * s for d, s in zip(inner, block, strict=True)), *x.shape[1 + len(block) :]), x.dtype)
    for k, start in enumerate(np.ndindex(*block)):
        place = (slice(None), *(slice(i, None, s) for i, s in zip(start, block, strict=True)))
        out[place] = x[k * count : (k + 1) * count]
    return out[(slice(None), *(slice(a, d - b) for d, (a, b) in zip(out.shape[1:], crops, strict=False)))]


def _patches(x: Any, window: Any, stride: Any, rate: Any, same: bool) -> Any:
    n, *sizes, c = x.shape
    reach = [(k - 1) * r + 1 for k, r in zip(window, rate, strict=True)]
    if same:
        out = [-(-d // s) for d, s in zip(sizes, stride, strict=True)]
        total = [max((o - 1) * s + k - d, 0) for o, s, k, d in zip(out, stride, reach, sizes, strict=True)]
        x = np.pad(x, [(0, 0), *[(t // 2, t - t // 2) for t in total], (0, 0)])
    else:
        out = [(d - k) // s + 1 for d, s, k in zip(sizes, stride, reach, strict=True)]
    result = np.zeros((n, *out, window[0] * window[1] * c))
    for i, j in np.ndindex(*out):
        top, left = i * stride[0], j * stride[1]
        cut = x[:, top : top + reach[0] : rate[0], left : left + reach[1] : rate[1]]
        result[:, i, j] = cut.reshape(n, window[0] * window[1] * c)
    return result


_WINDOW: dict[str, Any] = {"ksizes": [1, 2, 3, 1], "strides": [1, 2, 1, 1], "rates": [1, 1, 2, 1]}

CASES: list[OpCase] = [
    OpCase("Diag", "vector", blocks.diag, (Arg((3,)),), _diag, dtypes=MANY, zero=(((0,),),)),
    OpCase("Diag", "matrix", blocks.diag, (Arg((2, 3)),), _diag),
    OpCase("DiagPart", "matrix", blocks.diag_part, (Arg((3, 3)),), np.diagonal, dtypes=MANY,
           zero=(((0, 0),),)),
    OpCase("DiagPart", "rank 4", blocks.diag_part, (Arg((2, 3, 2, 3)),),
           lambda x: np.array([[x[i, j, i, j] for j in range(3)] for i in range(2)])),
    OpCase("MatrixDiag", "batch", blocks.matrix_diag, (Arg((2, 3)),), lambda x: np.stack([np.diag(v) for v in x]),
           dtypes=MANY),
    OpCase("MatrixDiag", "vector", blocks.matrix_diag, (Arg((3,)),), np.diag, zero=(((0,),),)),
    OpCase("MatrixDiagPart", "batch", blocks.matrix_diag_part, (Arg((2, 3, 4)),), _diagonal, dtypes=MANY,
           zero=(((0, 3, 4),), ((2, 0, 4),))),
    OpCase("MatrixDiagPart", "tall", blocks.matrix_diag_part, (Arg((4, 2)),), _diagonal),
    OpCase("MatrixSetDiag", "batch", blocks.matrix_set_diag, (Arg((2, 3, 4)), Arg((2, 3))), _set_diagonal, dtypes=MANY,
           zero=(((0, 3, 4), (0, 3)),)),
    *[OpCase("MatrixBandPart", f"{lower}, {upper}",
             lambda x, lower=lower, upper=upper: blocks.matrix_band_part(x, lower, upper), (Arg((2, 4, 5)),),
             lambda x, lower=lower, upper=upper: _banded(x, lower, upper), dtypes=MANY, zero=(((0, 4, 5),),))
      for lower, upper in ((1, 2), (0, -1), (-1, 0), (-1, -1), (9, 0))],
    OpCase("tf.eye", "square", lambda: blocks.eye(3), (), lambda: np.eye(3)),
    OpCase("tf.eye", "batch", lambda n: blocks.eye(n, 2, batch_shape=[2]), (np.int32(3),),
           lambda n: np.stack([np.eye(3, 2)] * 2)),
    OpCase("DepthToSpace", "NHWC", lambda x: blocks.depth_to_space(x, 2), (Arg((2, 1, 3, 8)),),
           lambda x: _depth_to_space(x, 2),
           dtypes=MANY, zero=(((0, 1, 3, 8),),)),
    OpCase("DepthToSpace", "NCHW", lambda x: blocks.depth_to_space(x, 2, data_format="NCHW"), (Arg((2, 8, 1, 3)),),
           lambda x: _channels_first(_depth_to_space, x, 2)),
    OpCase("SpaceToDepth", "NHWC", lambda x: blocks.space_to_depth(x, 2), (Arg((2, 4, 6, 2)),),
           lambda x: _space_to_depth(x, 2),
           dtypes=MANY, zero=(((2, 0, 6, 2),),)),
    OpCase("SpaceToDepth", "NCHW", lambda x: blocks.space_to_depth(x, 3, data_format="NCHW"), (Arg((1, 2, 3, 6)),),
           lambda x: _channels_first(_space_to_depth, x, 3)),
    OpCase("SpaceToBatchND", "two axes", lambda x: blocks.space_to_batch_nd(x, [2, 3], [[1, 0], [0, 2]]),
           (Arg((2, 3, 4, 2)),),
           lambda x: _space_to_batch(x, [2, 3], [(1, 0), (0, 2)]), dtypes=MANY, zero=(((0, 3, 4, 2),),)),
    OpCase("SpaceToBatchND", "one axis", lambda x: blocks.space_to_batch_nd(x, [2], [[0, 0]]), (Arg((2, 4)),),
           lambda x: _space_to_batch(x, [2], [(0, 0)])),
    OpCase("SpaceToBatchND", "picture", lambda x: blocks.space_to_batch(x, [[0, 0], [1, 1]], 2), (Arg((1, 2, 2, 1)),),
           lambda x: _space_to_batch(x, [2, 2], [(0, 0), (1, 1)])),
    OpCase("BatchToSpaceND", "two axes", lambda x: blocks.batch_to_space_nd(x, [2, 3], [[1, 0], [0, 2]]),
           (Arg((12, 2, 3, 2)),),
           lambda x: _batch_to_space(x, [2, 3], [(1, 0), (0, 2)]), dtypes=MANY, zero=(((0, 2, 3, 2),),)),
    OpCase("BatchToSpaceND", "picture", lambda x: blocks.batch_to_space(x, [[0, 0], [1, 1]], 2), (Arg((4, 1, 2, 1)),),
           lambda x: _batch_to_space(x, [2, 2], [(0, 0), (1, 1)])),
    OpCase("ExtractImagePatches", "VALID", lambda x: blocks.extract_image_patches(x, **_WINDOW, padding="VALID"),
           (Arg((2, 4, 6, 2)),), lambda x: _patches(x, (2, 3), (2, 1), (1, 2), False), zero=(((0, 4, 6, 2),),)),
    OpCase("ExtractImagePatches", "SAME", lambda x: blocks.extract_image_patches(x, **_WINDOW, padding="SAME"),
           (Arg((2, 3, 4, 1)),), lambda x: _patches(x, (2, 3), (2, 1), (1, 2), True)),
    OpCase("ExtractImagePatchesGrad", "disjoint windows",
           lambda dy: blocks._patches_grad([1, 2, 4, 1], dy, (2, 2), (2, 2), (1, 1), "VALID"), (Arg((1, 1, 2, 4)),),
           lambda dy: _depth_to_space(dy, 2)),
    OpCase("ExtractImagePatchesGrad", "no picture",
           lambda dy: blocks._patches_grad([0, 2, 4, 1], dy, (2, 2), (2, 2), (1, 1), "VALID"), (Arg((0, 1, 2, 4)),),
           lambda dy: np.zeros((0, 2, 4, 1))),
]  # fmt: skip

ERRORS: list[ErrorCase] = [
    ErrorCase("Diag", "scalar", lambda: blocks.diag(1.0), errors.ShapeError, "rank 1 or more"),
    ErrorCase("DiagPart", "shape", lambda: blocks.diag_part(_x(2, 3)), errors.ShapeError, "one shape twice"),
    ErrorCase("DiagPart", "in a run", lambda: _fed(blocks.diag_part, np.zeros((2, 3))), errors.ShapeError,
              "one shape twice"),
    ErrorCase("MatrixDiag", "scalar", lambda: blocks.matrix_diag(1.0), errors.ShapeError, "rank 1 or more"),
    ErrorCase("MatrixDiagPart", "vector", lambda: blocks.matrix_diag_part(_x(2)), errors.ShapeError, "rank 2 or more"),
    ErrorCase("MatrixSetDiag", "length", lambda: blocks.matrix_set_diag(_x(2, 3), _x(3)), errors.ShapeError, r"\[2\]"),
    ErrorCase("MatrixSetDiag", "in a run", lambda: _fed(blocks.matrix_set_diag, np.zeros((2, 3)), np.zeros(3)),
              errors.ShapeError,
              r"\[2\]"),
    ErrorCase("MatrixBandPart", "vector", lambda: blocks.matrix_band_part(_x(2), 0, 0), errors.ShapeError,
              "rank 2 or more"),
    ErrorCase("MatrixBandPart", "fraction", lambda: blocks.matrix_band_part(_x(2, 2), 0.5, 0), errors.DTypeError,
              "integers"),
    ErrorCase("DepthToSpace", "depth", lambda: blocks.depth_to_space(_x(1, 2, 2, 3), 2), errors.ShapeError,
              "whole blocks"),
    ErrorCase("DepthToSpace", "rank", lambda: blocks.depth_to_space(_x(2, 2, 4), 2), errors.ShapeError, "rank 4"),
    ErrorCase("DepthToSpace", "block", lambda: blocks.depth_to_space(_x(1, 2, 2, 4), 1), _INVALID, "block_size >= 2"),
    ErrorCase("DepthToSpace", "format", lambda: blocks.depth_to_space(_x(1, 2, 2, 4), 2, data_format="HWC"), _INVALID,
              "NHWC or NCHW"),
    ErrorCase("SpaceToDepth", "height", lambda: blocks.space_to_depth(_x(1, 3, 2, 1), 2), errors.ShapeError, "height"),
    ErrorCase("SpaceToDepth", "in a run", lambda: _fed(lambda x: blocks.space_to_depth(x, 2), np.zeros((1, 3, 2, 1))),
              errors.ShapeError, "whole blocks"),
    ErrorCase("SpaceToBatchND", "size", lambda: blocks.space_to_batch_nd(_x(1, 3), [2], [[0, 0]]), errors.ShapeError,
              "whole blocks"),
    ErrorCase("SpaceToBatchND", "pairs", lambda: blocks.space_to_batch_nd(_x(1, 4), [2], [0, 0]), errors.ShapeError,
              "pairs"),
    ErrorCase("BatchToSpaceND", "crops", lambda: blocks.batch_to_space_nd(_x(2, 1), [2], [[2, 1]]), errors.ShapeError,
              "more is cropped"),
    ErrorCase("BatchToSpaceND", "batch", lambda: blocks.batch_to_space_nd(_x(3, 1), [2], [[0, 0]]), errors.ShapeError,
              "batch"),
    ErrorCase("ExtractImagePatches", "window",
              lambda: blocks.extract_image_patches(_x(1, 4, 4, 1), [2, 2], [1, 1, 1, 1],
              [1, 1, 1, 1], "SAME"), _INVALID, r"ksizes are \[1, height, width, 1\]"),
    ErrorCase("ExtractImagePatches", "padding",
              lambda: blocks.extract_image_patches(_x(1, 4, 4, 1), **_WINDOW, padding="same"),
              _INVALID, "SAME or VALID"),
    ErrorCase("ExtractImagePatches", "too large",
              lambda: blocks.extract_image_patches(_x(1, 1, 4, 1), **_WINDOW, padding="VALID"),
              errors.ShapeError, "larger than its input"),
    ErrorCase("ExtractImagePatchesGrad", "shape",
              lambda: blocks._patches_grad([1.5], _x(1, 1, 2, 4), (2, 2), (2, 2), (1, 1), "VALID"),
              errors.DTypeError, "vector of integers"),
]  # fmt: skip
