"""Kernels of diagonals, and of pictures cut into blocks.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow_numpy.pooling import extract_image_patches, extract_image_patches_grad
from graphflow_numpy.table import kernel, rows

# -- diagonals -------------------------------------------------------------------------------------------------------


@kernel("Diag")
def _diag(x: Any) -> Any:
    return np.diag(np.ravel(x)).reshape(*x.shape, *x.shape)


@kernel("DiagPart")
def _diag_part(x: Any) -> Any:
    half = x.shape[: x.ndim // 2]
    if not x.ndim or x.shape != (*half, *half):
        raise ShapeError("diag_part takes a tensor whose shape is one shape twice", got=str(list(x.shape)))
    count = int(np.prod(half, dtype=np.intp))
    return np.array(x.reshape(count, count).diagonal().reshape(half))


@kernel("MatrixDiag")
def _matrix_diag(x: Any) -> Any:
    size = x.shape[-1]
    out = np.zeros((*x.shape, size), x.dtype)
    steps = np.arange(size)
    out[..., steps, steps] = x
    return out


rows({"MatrixDiagPart": lambda x: np.diagonal(x, 0, -2, -1)}, view=True)


@kernel("MatrixSetDiag")
def _matrix_set_diag(x: Any, diagonal: Any) -> Any:
    shorter = min(x.shape[-2:])
    if diagonal.shape != (*x.shape[:-2], shorter):
        wanted = str([*x.shape[:-2], shorter])
        raise ShapeError("the diagonal does not fit", expected=wanted, got=str(list(diagonal.shape)))
    out = np.array(x)
    steps = np.arange(shorter)
    out[..., steps, steps] = diagonal
    return out


@kernel("MatrixBandPart")
def _matrix_band_part(x: Any, lower: Any, upper: Any) -> Any:
    offset = np.arange(x.shape[-1]) - np.arange(x.shape[-2])[:, None]
    keep = ((lower < 0) | (offset >= -int(lower))) & ((upper < 0) | (offset <= int(upper)))
    return np.where(keep, x, x.dtype.type(0))


# -- pictures --------------------------------------------------------------------------------------------------------


def _whole(size: int, block: int) -> int:
    if size % block:
        raise ShapeError("the tensor is not made of whole blocks", expected=f"a multiple of {block}", got=str(size))
    return size // block


@kernel("DepthToSpace", view=True)
def _depth_to_space(x: Any, *, block_size: int, data_format: str) -> Any:
    s = block_size
    if data_format == "NCHW":
        n, c, h, w = x.shape
        depth = _whole(c, s * s)
        return x.reshape(n, s, s, depth, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, depth, h * s, w * s)
    n, h, w, c = x.shape
    depth = _whole(c, s * s)
    return x.reshape(n, h, w, s, s, depth).transpose(0, 1, 3, 2, 4, 5).reshape(n, h * s, w * s, depth)


@kernel("SpaceToDepth", view=True)
def _space_to_depth(x: Any, *, block_size: int, data_format: str) -> Any:
    s = block_size
    if data_format == "NCHW":
        n, c, h, w = x.shape
        h, w = _whole(h, s), _whole(w, s)
        return x.reshape(n, c, h, s, w, s).transpose(0, 3, 5, 1, 2, 4).reshape(n, s * s * c, h, w)
    n, h, w, c = x.shape
    h, w = _whole(h, s), _whole(w, s)
    return x.reshape(n, h, s, w, s, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, s * s * c)


@kernel("SpaceToBatchND")
def _space_to_batch(x: Any, *, block_shape: tuple[int, ...], paddings: Any) -> Any:
    axes = len(block_shape)
    rest = x.shape[1 + axes :]
    if any(a or b for a, b in paddings):
        inner = list(zip(x.shape[1 : 1 + axes], paddings, strict=True))
        padded = np.zeros((x.shape[0], *(d + a + b for d, (a, b) in inner), *rest), x.dtype)
        padded[(slice(None), *(slice(a, a + d) for d, (a, _) in inner))] = x
        x = padded
    sizes = [_whole(d, s) for d, s in zip(x.shape[1:], block_shape, strict=False)]
    split = [n for pair in zip(sizes, block_shape, strict=True) for n in pair]
    order = [*range(2, 2 * axes + 1, 2), 0, *range(1, 2 * axes, 2), *range(2 * axes + 1, 2 * axes + 1 + len(rest))]
    batch = x.shape[0] * int(np.prod(block_shape, dtype=np.intp))
    return np.array(x.reshape(x.shape[0], *split, *rest).transpose(order).reshape(batch, *sizes, *rest))


@kernel("BatchToSpaceND")
def _batch_to_space(x: Any, *, block_shape: tuple[int, ...], crops: Any) -> Any:
    axes = len(block_shape)
    batch = _whole(x.shape[0], int(np.prod(block_shape, dtype=np.intp)))
    sizes, rest = x.shape[1 : 1 + axes], x.shape[1 + axes :]
    order = [axes]
    for i in range(axes):
        order += [axes + 1 + i, i]
    order += range(2 * axes + 1, 2 * axes + 1 + len(rest))
    whole = [d * s for d, s in zip(sizes, block_shape, strict=True)]
    if any(a + b > d for d, (a, b) in zip(whole, crops, strict=True)):
        raise InvalidArgumentError("more is cropped than there is", expected=f"at most {whole}", got=str(crops))
    x = x.reshape(*block_shape, batch, *sizes, *rest).transpose(order).reshape(batch, *whole, *rest)
    return np.array(x[(slice(None), *(slice(a, d - b) for d, (a, b) in zip(whole, crops, strict=True)))])


rows({"ExtractImagePatches": extract_image_patches, "ExtractImagePatchesGrad": extract_image_patches_grad})
