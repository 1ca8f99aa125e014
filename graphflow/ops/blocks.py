"""Diagonals of matrices, and pictures cut into blocks.

Policy: as in `arrange`: elements move and nothing is computed, so the gradient of an op is its counterpart here.  A
matrix need not be square, and every op on matrices takes batches of them.  Block sizes, paddings and windows are
known while the graph is built.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow import spec
from graphflow.dtypes import float32
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array
from graphflow.ops.arguments import (
    check_index,
    check_scalar,
    integers_or_none,
    is_integer,
    known_integer,
    known_integers,
    shape_vector,
)
from graphflow.ops.core import name_scope
from graphflow.ops.inference import hinted_dims
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

# -- diagonals -------------------------------------------------------------------------------------------------------


def _at_least(dims: spec.Dims, rank: int, what: str) -> None:
    if dims is not None and len(dims) < rank:
        raise ShapeError(f"{what} has too few dimensions", expected=f"rank {rank} or more", got=spec.describe(dims))


def _diagonal_tensor(x: Any) -> TensorSpec:
    _at_least(x.dims, 1, "a diagonal")
    return TensorSpec(x.dtype, None if x.dims is None else (*x.dims, *x.dims))


@op("Diag", infer=_diagonal_tensor)
def diag(diagonal: Any, name: str | None = None) -> Any:
    """The tensor of twice the rank with `diagonal` where both halves of the coordinates are equal, 0 elsewhere."""
    return call((diagonal,), name)


def _half(x: Any) -> TensorSpec:
    if x.dims is None:
        return TensorSpec(x.dtype, None)
    middle = len(x.dims) // 2
    if not x.dims or len(x.dims) % 2 or not spec.compatible(x.dims[:middle], x.dims[middle:]):
        raise ShapeError("diag_part takes a tensor whose shape is one shape twice", got=spec.describe(x.dims))
    return TensorSpec(x.dtype, spec.merge(x.dims[:middle], x.dims[middle:]))


@op("DiagPart", infer=_half)
def diag_part(input: Any, name: str | None = None) -> Any:
    """The diagonal that `diag` would make the tensor of."""
    return call((input,), name)


diag.vjp(lambda op, dy: diag_part(dy))
diag_part.vjp(lambda op, dy: diag(dy))


def _diagonal_matrix(x: Any) -> TensorSpec:
    _at_least(x.dims, 1, "a diagonal")
    return TensorSpec(x.dtype, None if x.dims is None else (*x.dims, x.dims[-1]))


@op("MatrixDiag", infer=_diagonal_matrix)
def matrix_diag(diagonal: Any, name: str | None = None) -> Any:
    """Square matrices with the given diagonals, 0 elsewhere."""
    return call((diagonal,), name)


def _shorter(dims: spec.Dims) -> spec.Dims:
    """The shape of the diagonals of matrices."""
    _at_least(dims, 2, "a matrix")
    if dims is None:
        return None
    rows, columns = dims[-2:]
    return (*dims[:-2], None if rows is None or columns is None else min(rows, columns))


@op("MatrixDiagPart", infer=lambda x: TensorSpec(x.dtype, _shorter(x.dims)))
def matrix_diag_part(input: Any, name: str | None = None) -> Any:
    """The diagonals of matrices."""
    return call((input,), name)


def _with_diagonal(x: Any, diagonal: Any) -> TensorSpec:
    spec.merge(_shorter(x.dims), diagonal.dims)
    return TensorSpec(x.dtype, x.dims)


@op("MatrixSetDiag", infer=_with_diagonal)
def matrix_set_diag(input: Any, diagonal: Any, name: str | None = None) -> Any:
    """The matrices with other diagonals."""
    return call((input, diagonal), name)


matrix_diag.vjp(lambda op, dy: matrix_diag_part(dy))
matrix_diag_part.vjp(lambda op, dy: matrix_set_diag(array.zeros_like(op.inputs[0]), dy))
matrix_set_diag.vjp(
    lambda op, dy: matrix_set_diag(dy, array.zeros_like(op.inputs[1])), lambda op, dy: matrix_diag_part(dy)
)


def _banded(x: Any, lower: Any, upper: Any) -> TensorSpec:
    _at_least(x.dims, 2, "a matrix")
    for n, what in ((lower, "num_lower"), (upper, "num_upper")):
        check_index(n, "numbers of diagonals")
        check_scalar(n, what)
    return TensorSpec(x.dtype, x.dims)


@op("MatrixBandPart", infer=_banded, same_dtype=None)
def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Any:
    """The matrices with zeros outside of so many diagonals below and above the main one; -1 keeps that whole side."""
    return call((input, num_lower, num_upper), name)


matrix_band_part.vjp(lambda op, dy: matrix_band_part(dy, op.inputs[1], op.inputs[2]), None, None)


def eye(
    num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Unit matrices: ones on the main diagonal."""
    with name_scope(name, "eye"):
        columns = num_rows if num_columns is None else num_columns
        shape: Any = [num_rows, columns]
        if batch_shape is not None:
            shape = array.concat([shape_vector(batch_shape), shape], 0)
        found: Tensor = matrix_band_part(array.ones(shape, dtype), 0, 0)
        return found


# -- pictures in blocks ----------------------------------------------------------------------------------------------


def _layout(data_format: Any) -> str:
    if data_format not in ("NHWC", "NCHW", None):
        raise InvalidArgumentError(f"unknown data_format {data_format!r}", expected="NHWC or NCHW")
    return data_format or "NHWC"


def _block_size(block_size: Any) -> int:
    size = known_integer(block_size, "block_size")
    if size < 2:
        raise InvalidArgumentError("a block is larger than one element", expected="block_size >= 2", got=str(size))
    return size


def _picture(x: Any, data_format: str) -> tuple[Any, Any, Any, Any] | None:
    """Batch, height, width and channels."""
    if x.dims is None:
        return None
    if len(x.dims) != 4:
        raise ShapeError("pictures have rank 4", expected=data_format, got=spec.describe(x.dims))
    n, a, b, c = x.dims
    return (n, a, b, c) if data_format == "NHWC" else (n, b, c, a)


def _from_picture(x: Any, sizes: tuple[Any, Any, Any, Any], data_format: str) -> TensorSpec:
    n, h, w, c = sizes
    return TensorSpec(x.dtype, (n, h, w, c) if data_format == "NHWC" else (n, c, h, w))


def _times(size: int | None, factor: int) -> int | None:
    return None if size is None else size * factor


def _part(size: int | None, factor: int, what: str) -> int | None:
    if size is not None and size % factor:
        raise ShapeError(f"the {what} is not made of whole blocks", expected=f"a multiple of {factor}", got=str(size))
    return None if size is None else size // factor


def _flattened(x: Any, *, block_size: int, data_format: str) -> TensorSpec:
    sizes = _picture(x, data_format)
    if sizes is None:
        return TensorSpec(x.dtype, (None,) * 4)
    n, h, w, c = sizes
    s = block_size
    return _from_picture(x, (n, _times(h, s), _times(w, s), _part(c, s * s, "depth")), data_format)


@op("DepthToSpace", infer=_flattened)
def depth_to_space(input: Any, block_size: Any, name: str | None = None, data_format: str = "NHWC") -> Any:
    """The channels of each pixel laid out as a block of pixels."""
    return call((input,), name, block_size=_block_size(block_size), data_format=_layout(data_format))


def _deepened(x: Any, *, block_size: int, data_format: str) -> TensorSpec:
    sizes = _picture(x, data_format)
    if sizes is None:
        return TensorSpec(x.dtype, (None,) * 4)
    n, h, w, c = sizes
    s = block_size
    return _from_picture(x, (n, _part(h, s, "height"), _part(w, s, "width"), _times(c, s * s)), data_format)


@op("SpaceToDepth", infer=_deepened)
def space_to_depth(input: Any, block_size: Any, name: str | None = None, data_format: str = "NHWC") -> Any:
    """Each block of pixels as one pixel with more channels."""
    return call((input,), name, block_size=_block_size(block_size), data_format=_layout(data_format))


depth_to_space.vjp(lambda op, dy: space_to_depth(dy, **op.attrs))
space_to_depth.vjp(lambda op, dy: depth_to_space(dy, **op.attrs))


def _blocks(block_shape: Any, margins: Any, what: str) -> dict[str, Any]:
    """The attributes: the block, and a pair (before, after) for each of its axes."""
    block = known_integers(block_shape, "block_shape")
    pairs = integers_or_none(margins, what)
    if pairs is None:
        known_integer(margins, what)
    good = isinstance(pairs, tuple) and len(pairs) == len(block)
    if not good or any(not isinstance(p, tuple) or len(p) != 2 for p in pairs):
        wanted = f"[{len(block)}, 2]"
        raise ShapeError(f"{what} are pairs, one for each axis of the block", expected=wanted, got=str(pairs))
    if any(b < 1 for b in block) or any(n < 0 for p in pairs for n in p):
        raise InvalidArgumentError(f"blocks are at least 1 and {what} at least 0", got=f"{block} and {pairs}")
    return {"block_shape": block, what: tuple(pairs)}


def _into_batch(x: Any, *, block_shape: tuple[int, ...], paddings: Any) -> TensorSpec:
    if x.dims is None:
        return TensorSpec(x.dtype, None)
    _at_least(x.dims, len(block_shape) + 1, "the tensor")
    inner = x.dims[1 : 1 + len(block_shape)]
    out = [_part(None if d is None else d + a + b, s, "padded size")
           for d, s, (a, b) in zip(inner, block_shape, paddings, strict=True)]  # fmt: skip
    return TensorSpec(x.dtype, (_times(x.dims[0], spec.numel(block_shape)), *out, *x.dims[1 + len(block_shape) :]))


@op("SpaceToBatchND", infer=_into_batch)
def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Any:
    """Each element of a block becomes a picture of its own in the batch."""
    return call((input,), name, **_blocks(block_shape, paddings, "paddings"))


def _out_of_batch(x: Any, *, block_shape: tuple[int, ...], crops: Any) -> TensorSpec:
    if x.dims is None:
        return TensorSpec(x.dtype, None)
    _at_least(x.dims, len(block_shape) + 1, "the tensor")
    out = []
    for d, s, (a, b) in zip(x.dims[1 : 1 + len(block_shape)], block_shape, crops, strict=True):
        if d is not None and d * s < a + b:
            raise ShapeError("more is cropped than there is", expected=f"at most {d * s}", got=f"{a} + {b}")
        out.append(None if d is None else d * s - a - b)
    batch = _part(x.dims[0], spec.numel(block_shape), "batch")
    return TensorSpec(x.dtype, (batch, *out, *x.dims[1 + len(block_shape) :]))


@op("BatchToSpaceND", infer=_out_of_batch)
def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Any:
    """The inverse of `space_to_batch_nd`."""
    return call((input,), name, **_blocks(block_shape, crops, "crops"))


space_to_batch_nd.vjp(lambda op, dy: batch_to_space_nd(dy, op.attrs["block_shape"], op.attrs["paddings"]))
batch_to_space_nd.vjp(lambda op, dy: space_to_batch_nd(dy, op.attrs["block_shape"], op.attrs["crops"]))


def space_to_batch(input: Any, paddings: Any, block_size: Any, name: str | None = None) -> Any:
    """`space_to_batch_nd` for pictures and a square block."""
    return space_to_batch_nd(input, [known_integer(block_size, "block_size")] * 2, paddings, name=name)


def batch_to_space(input: Any, crops: Any, block_size: Any, name: str | None = None) -> Any:
    """`batch_to_space_nd` for pictures and a square block."""
    return batch_to_space_nd(input, [known_integer(block_size, "block_size")] * 2, crops, name=name)


# -- windows of pictures ---------------------------------------------------------------------------------------------


def _patched(x: Any, *, ksizes: Any, strides: Any, rates: Any, padding: str) -> TensorSpec:
    sizes = _picture(x, "NHWC")
    if sizes is None:
        return TensorSpec(x.dtype, (None,) * 4)
    n, h, w, c = sizes
    out = [spec.window_output(d, k, s, r, padding) for d, k, s, r in zip((h, w), ksizes, strides, rates, strict=True)]
    return TensorSpec(x.dtype, (n, *out, _times(c, spec.numel(ksizes))))


def _window(value: Any, what: str) -> tuple[int, int]:
    """Height and width of [1, height, width, 1]."""
    found = known_integers(value, what)
    if is_integer(value) or len(found) != 4 or found[0] != 1 or found[3] != 1 or min(found) < 1:
        raise InvalidArgumentError(f"{what} are [1, height, width, 1]", got=repr(value)[:80])
    return found[1:3]


@op("ExtractImagePatches", infer=_patched)
def _patches(images: Any, ksizes: Any, strides: Any, rates: Any, padding: str, name: str | None = None) -> Any:
    return call((images,), name, ksizes=ksizes, strides=strides, rates=rates, padding=padding)


def extract_image_patches(
    images: Any,
    ksizes: Any = None,
    strides: Any = None,
    rates: Any = None,
    padding: Any = None,
    name: str | None = None,
    sizes: Any = None,
) -> Any:
    """The windows of pictures [batch, height, width, channels], each laid out along the channels."""
    if padding not in ("SAME", "VALID"):
        raise InvalidArgumentError(f"unknown padding {padding!r}", expected="SAME or VALID")
    windows = {"ksizes": sizes if ksizes is None else ksizes, "strides": strides, "rates": rates}
    return _patches(images, **{k: _window(v, k) for k, v in windows.items()}, padding=padding, name=name)


@op("ExtractImagePatchesGrad", infer=lambda shape, dy, **_: TensorSpec(dy.dtype, hinted_dims(shape)), same_dtype=None)
def _patches_grad(shape: Any, dy: Any, ksizes: Any, strides: Any, rates: Any, padding: str) -> Any:
    return call((shape, dy), None, ksizes=ksizes, strides=strides, rates=rates, padding=padding)


_patches.vjp(lambda op, dy: _patches_grad(array.shape(op.inputs[0]), dy, **op.attrs))
_patches_grad.vjp(None, lambda op, dy: _patches(dy, **op.attrs))
