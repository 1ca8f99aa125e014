"""Summaries: what a run tells TensorBoard, as serialized records that a `FileWriter` stores.

Policy: as in TensorFlow 1 each of these is an op whose value is text (a `Summary` protocol buffer); it is computed when
it is fetched and does nothing else.  The tag is the scope and the name under which the op was built.

State: none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from graphflow import constants, dtypes, spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError, shown
from graphflow.graph import get_default_graph
from graphflow.keys import GraphKeys
from graphflow.opdef import call, op
from graphflow.ops.core import name_scope
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

TEXT = TensorSpec(dtypes.string, ())
_NOT_IN_TAGS = re.compile(r"[^-/\w\.]")


def _scalar(values: Any, *, tag: str) -> TensorSpec:
    _check_numbers(values)
    if spec.is_concrete(values.dims) and spec.numel(values.dims) != 1:
        raise ShapeError(
            "a scalar summary takes one number", expected="shape []", got=spec.describe(values.dims),
            hint="tf.reduce_mean, or tf.summary.histogram",
        )  # fmt: skip
    return TEXT


def _histogram(values: Any, *, tag: str) -> TensorSpec:
    _check_numbers(values)
    return TEXT


def _check_numbers(values: Any) -> None:
    if not (values.dtype.is_numeric or values.dtype is dtypes.bool_) or values.dtype.is_complex:
        raise DTypeError("a summary of numbers", expected="real numbers", got=values.dtype.name)


def _image(tensor: Any, *, tag: str, max_outputs: int) -> TensorSpec:
    if not (tensor.dtype.is_floating or tensor.dtype is dtypes.uint8):
        raise DTypeError("pictures are uint8 or floating point", expected="uint8, float32", got=tensor.dtype.name)
    dims = tensor.dims
    if dims is not None and (len(dims) != 4 or dims[3] not in (None, 1, 3, 4)):
        raise ShapeError(
            "pictures have the shape [batch, height, width, channels]",
            expected="1, 3 or 4 channels",
            got=spec.describe(dims),
        )
    return TEXT


def _text(tensor: Any, *, tag: str) -> TensorSpec:
    if tensor.dtype is not dtypes.string:
        raise DTypeError("a text summary takes text", expected="string", got=tensor.dtype.name)
    return TEXT


def _merge(*inputs: Any) -> TensorSpec:
    for x in inputs:
        if x.dtype is not dtypes.string:
            raise DTypeError("merge takes summaries", expected="string", got=x.dtype.name)
    return TEXT


@op("ScalarSummary", infer=_scalar, same_dtype=None, differentiable=False)
def _scalar_summary(values: Any, tag: str, name: str | None) -> Any:
    return call((values,), name, tag=tag)


@op("HistogramSummary", infer=_histogram, same_dtype=None, differentiable=False, can_fail="always")
def _histogram_summary(values: Any, tag: str, name: str | None) -> Any:
    return call((values,), name, tag=tag)


@op("ImageSummary", infer=_image, same_dtype=None, differentiable=False, can_fail="always")
def _image_summary(tensor: Any, tag: str, max_outputs: int, name: str | None) -> Any:
    return call((tensor,), name, tag=tag, max_outputs=max_outputs)


@op("TextSummary", infer=_text, same_dtype=None, differentiable=False)
def _text_summary(tensor: Any, tag: str, name: str | None) -> Any:
    return call((tensor,), name, tag=tag)


@op("MergeSummary", infer=_merge, same_dtype=None, differentiable=False, can_fail="always")
def _merge_summary(inputs: Sequence[Any], name: str | None) -> Any:
    return call(tuple(inputs), name)


def _collected(
    build: Callable[[str, str], Tensor], name: str, family: str | None, collections: Sequence[str] | None
) -> Tensor:
    """Build the op under its tag and put it where `merge_all` looks."""
    if not isinstance(name, str) or not name.strip("/ "):
        raise InvalidArgumentError("a summary has a name", got=shown(name))
    clean = _NOT_IN_TAGS.sub("_", name).strip("/")
    with name_scope(clean if family is None else f"{_NOT_IN_TAGS.sub('_', family)}/{clean}") as scope:
        tag = scope.rstrip("/")
        found = build(tag if family is None else f"{family}/{tag}", scope)
    graph = get_default_graph()
    for key in [GraphKeys.SUMMARIES] if collections is None else collections:
        graph.add_to_collection(key, found)
    return found


def scalar(name: str, tensor: Any, collections: Sequence[str] | None = None, family: str | None = None) -> Tensor:
    """One number as a point of a curve."""
    return _collected(lambda tag, scope: _scalar_summary(tensor, tag, name=scope), name, family, collections)


def histogram(name: str, values: Any, collections: Sequence[str] | None = None, family: str | None = None) -> Tensor:
    """How the elements of a tensor are distributed; the run fails if one of them is NaN or infinite."""
    return _collected(lambda tag, scope: _histogram_summary(values, tag, name=scope), name, family, collections)


def image(
    name: str,
    tensor: Any,
    max_outputs: int = 3,
    collections: Sequence[str] | None = None,
    family: str | None = None,
) -> Tensor:
    """The first pictures of a batch [batch, height, width, channels]; uint8 as they are, numbers scaled to fit."""
    if not isinstance(max_outputs, int) or max_outputs < 1:
        raise InvalidArgumentError("max_outputs is 1 or more", got=shown(max_outputs))
    return _collected(
        lambda tag, scope: _image_summary(tensor, tag, max_outputs, name=scope), name, family, collections
    )


def text(name: str, tensor: Any, collections: Sequence[str] | None = None) -> Tensor:
    """Text, read as Markdown; a table where the tensor has rows."""
    return _collected(lambda tag, scope: _text_summary(tensor, tag, name=scope), name, None, collections)


def merge(inputs: Any, collections: Sequence[str] | None = None, name: str | None = None) -> Tensor:
    """All these summaries as one."""
    if isinstance(inputs, Tensor) or not isinstance(inputs, (list, tuple)) or not inputs:
        raise InvalidArgumentError("merge takes a list of summaries", got=shown(inputs))
    found: Tensor = _merge_summary([constants.convert_to_tensor(x) for x in inputs], name=name)
    for key in collections or ():
        get_default_graph().add_to_collection(key, found)
    return found


def merge_all(key: str = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None) -> Tensor | None:
    """All summaries of the graph as one; None if there are none."""
    found = get_default_graph().get_collection(key, scope)
    return merge(found, name=name) if found else None
