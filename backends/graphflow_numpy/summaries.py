"""Kernels of summaries: protocol buffers as TensorBoard reads them, made with tensorboardX.

State: none.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, UnavailableError
from graphflow_numpy.table import kernel

RED = np.array([255, 0, 0, 255], np.uint8)  # what is no number, in a picture


def _made_with() -> Any:
    """tensorboardX's functions, at first use."""
    try:
        from tensorboardX import summary
    except ImportError as error:
        raise UnavailableError(
            "summaries are written with tensorboardX, which is not installed", hint="pip install tensorboardX"
        ) from error
    return summary


@kernel("ScalarSummary")
def _scalar(values: Any, *, tag: str) -> bytes:
    numbers = np.asarray(values, np.float64)
    if numbers.size != 1:
        raise InvalidArgumentError("a scalar summary takes one number", expected="shape []", got=str(numbers.shape))
    summary = _made_with().Summary
    made = summary(value=[summary.Value(tag=tag, simple_value=float(numbers.reshape(())))])
    return bytes(made.SerializeToString())


@kernel("HistogramSummary")
def _histogram(values: Any, *, tag: str) -> bytes:
    numbers = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        found = "NaN" if np.isnan(numbers).any() else "infinity"
        raise InvalidArgumentError(f"{found} in the summary histogram {tag!r}")
    made_with = _made_with()
    limits = _limits()
    counts, _ = np.histogram(numbers, limits)
    filled = counts > 0
    told = filled | np.r_[filled[1:], False]  # of empty buckets in a row the last one alone: it tells where they end
    told[0] |= not told.any()
    made = made_with.HistogramProto(
        min=numbers.min() if numbers.size else 0.0,
        max=numbers.max() if numbers.size else 0.0,
        num=numbers.size,
        sum=numbers.sum(),
        sum_squares=np.square(numbers).sum(),
        bucket_limit=limits[1:][told].tolist(),
        bucket=counts[told].tolist(),
    )
    return bytes(made_with.Summary(value=[made_with.Summary.Value(tag=tag, histo=made)]).SerializeToString())


@functools.cache
def _limits() -> np.ndarray[Any, Any]:
    """TensorFlow's limits of buckets: a tenth more each, on both sides of zero."""
    positive = np.multiply.accumulate(np.r_[1e-12, np.full(774, 1.1)])
    largest = np.finfo(np.float64).max
    return np.concatenate([[-largest], -positive[::-1], [0.0], positive, [largest]])


@kernel("ImageSummary")
def _image(tensor: Any, *, tag: str, max_outputs: int) -> bytes:
    pictures = np.asarray(tensor)
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3, 4) or 0 in pictures.shape[1:]:
        raise InvalidArgumentError(
            "pictures have the shape [batch, height, width, channels]",
            expected="1, 3 or 4 channels",
            got=str(list(pictures.shape)),
        )
    made_with, parts = _made_with(), []
    for number, picture in enumerate(pictures[:max_outputs]):
        own = f"{tag}/image" if max_outputs == 1 else f"{tag}/image/{number}"
        bytes_of_it = picture if picture.dtype == np.uint8 else _scaled(picture.astype(np.float64))
        parts.append(made_with.image(own, bytes_of_it, dataformats="HWC").SerializeToString())
    return b"".join(parts)


def _scaled(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers as bytes: the largest becomes 255; if there are negative ones, 0 becomes 127; what is no number, red."""
    bad = ~np.isfinite(picture).all(axis=-1)
    good = picture[~bad]
    low, high = (good.min(), good.max()) if good.size else (0.0, 0.0)
    if low < 0:
        largest = max(-low, high)
        scale, offset = (127.0 / largest if largest else 0.0), 128.0
    else:
        scale, offset = (255.0 / high if high else 0.0), 0.0
    out = np.zeros(picture.shape, np.uint8)
    out[~bad] = np.clip(good * scale + offset, 0, 255).astype(np.uint8)
    out[bad] = RED[: picture.shape[-1]]
    return out


@kernel("TextSummary")
def _text(tensor: Any, *, tag: str) -> bytes:
    made_with = _made_with()
    table = np.asarray(tensor, object)
    size = [made_with.TensorShapeProto.Dim(size=n) for n in table.shape]
    shape = made_with.TensorShapeProto(dim=size)
    plugin = made_with.SummaryMetadata.PluginData(plugin_name="text")
    made = made_with.TensorProto(dtype="DT_STRING", string_val=list(table.ravel()), tensor_shape=shape)
    value = made_with.Summary.Value(tag=tag, metadata=made_with.SummaryMetadata(plugin_data=plugin), tensor=made)
    return bytes(made_with.Summary(value=[value]).SerializeToString())


@kernel("MergeSummary")
def _merge(*inputs: bytes) -> bytes:
    merged = _made_with().Summary()
    for text in inputs:
        try:
            merged.MergeFromString(text)
        except Exception as error:  # of protobuf's own kind
            raise InvalidArgumentError("merge takes summaries; this is none", got=repr(text)[:80]) from error
    tags = [value.tag for value in merged.value]
    twice = next((tag for tag in tags if tags.count(tag) > 1), None)
    if twice is not None:
        raise InvalidArgumentError(f"two summaries have the tag {twice!r}", hint="give each summary its own name")
    return bytes(merged.SerializeToString())
