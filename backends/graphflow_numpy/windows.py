"""How a batch of images is cut into pieces, scratch memory that threads keep, and the order of axes as kernels see it.

Policy: how a batch is cut depends on shapes alone, so a result is the same on any number of threads.  A piece is worth
handing to another thread; inside it, blocks of images keep the scratch within a core's cache.

State: for each thread, one buffer for each purpose, as large as a block at most.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphflow.numerics.windows import is_channels_first

Array = NDArray[Any]

# Scratch that stays in cache while it is read again; larger blocks only cost page faults.
BLOCK_BYTES = 2 << 20
PIECES = 8  # as many as a batch is cut into where that is worth the while
WORTH = 500e-6  # seconds on one core that make a piece


def working(x: Array) -> Array:
    """The array in the precision that kernels compute in."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x  # bfloat16 is a V


# --- the layout that kernels compute in ---


def channels_last(x: Array, data_format: str) -> Array:
    """The array in working precision, its channels last."""
    x = working(x)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if is_channels_first(data_format) else x


def restore(y: Array, data_format: str, out: Array) -> None:
    """Write a result with its channels last into memory of the format's own order."""
    out[...] = np.moveaxis(y, -1, 1) if is_channels_first(data_format) else y


def restored(y: Array, data_format: str, dtype: np.dtype[Any]) -> Array:
    """A result with its channels last in the format's own order, as contiguous memory of a dtype."""
    y = np.moveaxis(y, -1, 1) if is_channels_first(data_format) else y
    return np.ascontiguousarray(y, dtype=dtype)


def require(actual: tuple[int, ...], expected: tuple[int, ...], what: str) -> None:
    """Raise unless two shapes are the same."""
    if actual != expected:
        raise ValueError(f"{what} must be {expected}, counted channels last, got {actual}")


# --- parts, pieces, scratch ---


class Part(NamedTuple):
    """Some images, or for large ones some rows (along the first spatial axis of the result) of a single one."""

    images: slice
    rows: slice


def _wanted(seconds: float) -> int:
    """How many pieces are worth the while: a power of two."""
    return min(PIECES, 1 << max(0, int(seconds / WORTH).bit_length() - 1))


def parts(batch: int, rows: int, bytes_per_row: int, seconds: float) -> list[Part]:
    """The result of a kernel cut into parts whose scratch fits a block; `seconds` estimates its time on one core."""
    wanted = _wanted(seconds)
    if not batch or not rows:
        return []
    in_block = BLOCK_BYTES // max(1, bytes_per_row)  # rows
    if batch >= wanted and in_block >= rows:
        step = min(in_block // rows, -(-batch // wanted))
        count = min(batch, -(-batch // (step * wanted)) * wanted)
        bounds = [i * batch // count for i in range(count + 1)]
        return [Part(slice(i, j), slice(0, rows)) for i, j in pairwise(bounds)]
    count = min(rows, max(-(-rows // max(1, in_block)), -(-wanted // batch)))
    cuts = [(i * rows // count, (i + 1) * rows // count) for i in range(count)]
    return [Part(slice(image, image + 1), slice(a, b)) for image in range(batch) for a, b in cuts]


def pieces(found: Sequence[Part], seconds: float, most: int = PIECES) -> list[Sequence[Part]]:
    """The parts in as many groups as are worth a thread each."""
    count = max(1, min(len(found), _wanted(seconds), most))
    return [found[i * len(found) // count : (i + 1) * len(found) // count] for i in range(count)]


def image_blocks(batch: int, bytes_per_image: int) -> Iterator[slice]:
    """Slices of the batch whose scratch stays within the block size; all but the last are equally long."""
    step = max(1, BLOCK_BYTES // max(1, bytes_per_image))
    for start in range(0, batch, step):
        yield slice(start, min(start + step, batch))


_kept = threading.local()


class Scratch:
    """Memory for one use at a time, taken from what this thread keeps; its contents are arbitrary."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self.memory: NDArray[np.uint8] | None = None

    def __enter__(self) -> Scratch:
        self.memory = _kept.__dict__.pop(self.purpose, None)  # gone while in use, should a signal's handler come here
        return self

    def __exit__(self, *_: object) -> None:
        if self.memory is not None and self.memory.nbytes <= BLOCK_BYTES:
            _kept.__dict__[self.purpose] = self.memory

    def array(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """An array of this shape; the one before it is gone."""
        size = prod(shape) * dtype.itemsize
        if self.memory is None or self.memory.nbytes < size:
            self.memory = np.empty(size, np.uint8)
        return self.memory[:size].view(dtype).reshape(shape)
