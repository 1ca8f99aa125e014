"""Feeds: from what a user puts into a feed_dict to the array that a program gets.

Policy: see `casting` for which conversions are allowed.  One converter is made for each fed tensor when its plan is
prepared; in the steady state it looks at the array's dtype, layout and shape, and copies nothing.  A converter never
writes to what it was given.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import casting, dtypes, spec
from graphflow.constants import _plain
from graphflow.errors import Error, FeedError, ResourceExhaustedError, ShapeError, shown
from graphflow.graph import Graph
from graphflow.tensor import Tensor

Converter = Callable[[Any], Any]


def feed_tensor(graph: Graph, key: Any) -> Tensor:
    """The tensor that a key of a feed_dict means."""
    handle = getattr(key, "handle", None)
    try:
        tensor = graph.as_graph_element(handle if handle is not None else key, True, False)
    except Error as error:
        raise FeedError(
            f"cannot feed {_name(key)}: {error.summary}",
            expected="a tensor of the session's graph, or its name such as 'x:0'",
            got=f"{type(key).__name__}",
            hint=error.hint,
        ).about(error) from None
    if tensor.op.type == "Const" and tensor.graph is not graph:
        raise FeedError(f"cannot feed {tensor.name!r} of a function's graph", op=tensor.op)
    return tensor  # type: ignore[no-any-return]


def _name(key: Any) -> str:
    name = getattr(key, "name", None)
    return shown(name if isinstance(name, str) else key)


def converter(tensor: Tensor, new_cell: Callable[..., Any], array_type: Any = None) -> Converter:
    """The function that makes the value of `tensor` out of what was fed; `array_type` need not be converted."""
    if tensor.dtype is dtypes.resource:
        return _variable_converter(tensor, new_cell)
    dtype, dims = tensor.dtype, tensor.dims
    wanted = dtype.np if dtype is not dtypes.string else None  # text must be looked at, element by element
    scalar = dims == () and dtype is not dtypes.string
    python: Any = float if dtype is dtypes.float32 or dtype is dtypes.float64 else None
    make, limit = dtype.type, float(dtype.max) if python else 0.0

    def convert(value: Any) -> Any:
        if scalar and type(value) is make:
            return value
        if scalar and type(value) is python and -limit <= value <= limit:
            return make(value)
        if type(value) is np.ndarray and value.dtype is wanted:
            flags = value.flags
            array = value if flags.c_contiguous and flags.aligned else _converted(tensor, value)
        elif type(value) is array_type and value.dtype == wanted and spec.compatible(dims, value.shape):
            return value
        else:
            array = _converted(tensor, value)
        shape = array.shape
        if dims is not None and shape != dims:
            if len(shape) != len(dims):
                raise _wrong_shape(tensor, shape)
            for have, want in zip(shape, dims, strict=True):
                if want is not None and have != want:
                    raise _wrong_shape(tensor, shape)
        return array if shape or dtype is dtypes.string else array[()]

    return convert


def _converted(tensor: Tensor, value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        raise FeedError(
            f"the value fed for {tensor.name!r} is a tensor",
            op=tensor.op,
            expected=f"{tensor.dtype.name}{spec.describe(tensor.dims)}: a number, a list or a NumPy array",
            got=repr(value),
            hint="run it first and feed the result",
        )
    try:
        return casting.as_array(_plain(value), tensor.dtype)
    except MemoryError:
        raise ResourceExhaustedError(
            f"out of memory while converting what was fed for {tensor.name!r}",
            op=tensor.op,
            expected=f"{tensor.dtype.name}{spec.describe(tensor.dims)}",
            got=f"{type(value).__name__} of shape {spec.describe(getattr(value, 'shape', None))}",
        ) from None
    except Exception as error:
        summary = error.summary if isinstance(error, Error) else str(error)
        raise FeedError(
            f"cannot feed {tensor.name!r}: {summary}",
            op=tensor.op,
            expected=f"{tensor.dtype.name}{spec.describe(tensor.dims)}",
            got=getattr(error, "got", None) or type(value).__name__,
            hint=getattr(error, "hint", None),
        ) from None


def _wrong_shape(tensor: Tensor, shape: tuple[int, ...]) -> ShapeError:
    dims = tensor.dims
    hint = None
    if dims is not None:
        if len(shape) == len(dims) == 2 and spec.compatible(dims, shape[::-1]):
            hint = "the transposed array would fit"
        elif len(shape) == len(dims) - 1 and spec.compatible(dims[1:], shape):
            hint = "a leading batch axis is missing: value[None]"
        elif len(shape) == len(dims) - 1 and spec.compatible(dims[:-1], shape):
            hint = "a last axis is missing: value[..., None]"
        elif len(shape) == len(dims) + 1 and 1 in shape:
            hint = "an axis of size 1 is too many: numpy.squeeze"
    return ShapeError(
        f"Cannot feed value of shape {shape} for tensor {tensor.name!r}, which has shape {tensor.shape}",
        op=tensor.op,
        expected=f"{tensor.dtype.name}{spec.describe(dims)}",
        got=spec.describe(shape),
        hint=hint,
    )


def _variable_converter(handle: Tensor, new_cell: Callable[..., Any]) -> Converter:
    """A fed variable has the value for this run only: its handle is a cell of its own."""
    dtype, dims = handle.op.attrs["dtype"], handle.op.attrs["dims"]

    def convert(value: Any) -> Any:
        try:
            array = casting.as_array(_plain(value), dtype)
        except Error as error:
            raise FeedError(
                f"cannot feed variable {handle.op.name!r}: {error.summary}",
                op=handle.op,
                expected=f"{dtype.name}{spec.describe(dims)}",
                got=error.got,
                hint=error.hint,
            ) from None
        if not spec.compatible(dims, array.shape):
            raise ShapeError(
                f"cannot feed variable {handle.op.name!r}",
                op=handle.op,
                expected=spec.describe(dims),
                got=spec.describe(array.shape),
            )
        cell = new_cell(handle.op.name, dtype, dims)
        cell.assign(array)
        return cell

    return convert
