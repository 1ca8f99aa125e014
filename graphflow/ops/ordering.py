"""Order, equality and groups: ops whose result depends on how values compare, not on what they are.

Policy: what is equal keeps its order (the lower index comes first), so every result is determined.  NaN is larger
than every number and equal to nothing.  Sorted values have gradients, which go back to where the values came from;
positions have none.

State: none.
"""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

from graphflow import dtypes, spec
from graphflow.dtypes import as_dtype
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import RegisterGradient, call, op
from graphflow.ops import array
from graphflow.ops.arguments import (
    check_index,
    check_scalar,
    check_vector,
    known_integer,
    shape_vector,
)
from graphflow.ops.arrange import transpose
from graphflow.ops.casts import cast
from graphflow.ops.inference import check_kind, hinted_dims
from graphflow.ops.segment import unsorted_segment_sum
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

# -- sorting ---------------------------------------------------------------------------------------------------------


class TopK(NamedTuple):
    """The largest entries, and where they stood."""

    values: Tensor
    indices: Tensor


def _sorted(x: Any, *, axis: int, descending: bool) -> tuple[TensorSpec, TensorSpec]:
    check_kind(x, "real")
    if x.dims is not None:
        spec.normal_axis(axis, len(x.dims))
    return TensorSpec(x.dtype, x.dims), TensorSpec(dtypes.int32, x.dims)


@op("Sort", infer=_sorted, result=TopK, weight=40)
def _sort(x: Any, axis: int, descending: bool, name: str | None = None) -> Any:
    return call((x,), name, axis=axis, descending=descending)


@RegisterGradient("Sort")
def _sort_grad(op: Any, dy: Any, _: Any) -> list[Any]:
    return [_put_along(dy, op.outputs[1], array.shape(op.inputs[0]), op.attrs["axis"])]


def _descending(direction: Any) -> bool:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise InvalidArgumentError(f"unknown direction {direction!r}", expected="ASCENDING or DESCENDING")
    return bool(direction == "DESCENDING")


def sort(values: Any, axis: Any = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """The tensor in order along an axis."""
    return _sort(values, known_integer(axis), _descending(direction), name=name).values  # type: ignore[no-any-return]


def argsort(
    values: Any, axis: Any = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Tensor:
    """The indices that put the tensor in order along an axis; always stable."""
    return _sort(values, known_integer(axis), _descending(direction), name=name).indices  # type: ignore[no-any-return]


def _largest(x: Any, k: Any) -> tuple[TensorSpec, TensorSpec]:
    check_kind(x, "real")
    check_index(k, "numbers of entries")
    check_scalar(k, "k")
    if x.dims is None:
        return TensorSpec(x.dtype, None), TensorSpec(dtypes.int32, None)
    if not x.dims:
        raise ShapeError("top_k takes a vector, or a batch of vectors", got="[]")
    if k.hint is not None and (k.hint < 0 or x.dims[-1] is not None and k.hint > x.dims[-1]):
        raise InvalidArgumentError("a row has too few entries", expected=f"0 <= k <= {x.dims[-1]}", got=f"k {k.hint}")
    dims = (*x.dims[:-1], k.hint)
    return TensorSpec(x.dtype, dims), TensorSpec(dtypes.int32, dims)


@op("TopK", infer=_largest, same_dtype=None, result=TopK, weight=40)
def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> Any:
    """The k largest entries of each row, largest first, and their indices; of equal ones the first."""
    return call((input, k), name)


@RegisterGradient("TopK")
def _top_k_grad(op: Any, dy: Any, _: Any) -> list[Any]:
    return [_put_along(dy, op.outputs[1], array.shape(op.inputs[0]), -1), None]


def _along(x: Any, indices: Any, *, axis: int) -> TensorSpec:
    check_index(indices, "indices")
    return TensorSpec(x.dtype, indices.dims)


@op("TakeAlongAxis", infer=_along, same_dtype=None, weight=6)
def _take_along(x: Any, indices: Any, axis: int) -> Any:
    return call((x, indices), None, axis=axis)


def _put(dy: Any, indices: Any, shape: Any, *, axis: int) -> TensorSpec:
    check_index(indices, "indices")
    return TensorSpec(dy.dtype, hinted_dims(shape))


@op("PutAlongAxis", infer=_put, same_dtype=None)
def _put_along(dy: Any, indices: Any, shape: Any, axis: int) -> Any:
    return call((dy, indices, shape), None, axis=axis)


def _take_along_grad(op: Any, dy: Any) -> Any:
    """Added up where it was taken from: an element may have been taken several times."""
    x, indices = op.inputs
    if indices.dims is None:  # only of what a sort has put in order, where each element is taken once
        return _put_along(dy, indices, array.shape(x), op.attrs["axis"])
    rank, axis = len(indices.dims), op.attrs["axis"] % len(indices.dims)
    order = [*(a for a in range(rank) if a != axis), axis]  # rows one after the other, each along the axis
    sizes = array.unstack(array.shape(x, out_type=dtypes.int64), rank)
    length, across = sizes[axis], [sizes[a] for a in order[:-1]]
    rows = functools.reduce(operator.mul, across, array.ones_like(length))
    starts = array.reshape(array.range_(rows) * length, array.stack([*across, array.ones_like(length)]))
    places = transpose(cast(indices, dtypes.int64) % length, order) + starts
    summed = unsorted_segment_sum(array.reshape(transpose(dy, order), [-1]), array.reshape(places, [-1]), rows * length)
    back = array.reshape(summed, array.stack([*across, length]))
    return transpose(back, sorted(range(rank), key=order.__getitem__))


_take_along.vjp(_take_along_grad, None)
_put_along.vjp(lambda op, dy: _take_along(dy, op.inputs[1], op.attrs["axis"]), None, None)


def _in_top(predictions: Any, targets: Any, k: Any) -> TensorSpec:
    check_kind(predictions, "float")
    check_index(targets, "targets")
    check_index(k, "numbers of entries")
    check_scalar(k, "k")
    spec.merge(predictions.dims, (None, None))
    check_vector(targets, "the numbers of the right classes")
    rows = None if predictions.dims is None else predictions.dims[:1]
    return TensorSpec(dtypes.bool_, spec.merge(spec.merge(rows, targets.dims), (None,)))


@op("InTopK", infer=_in_top, same_dtype=None, differentiable=False)
def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Any:
    """Whether the right class of each row is among its k largest predictions; ties count as among them."""
    return call((predictions, targets, k), name)


def _searched(rows: Any, values: Any, *, side: str, out_type: dtypes.DType) -> TensorSpec:
    check_kind(rows, "real")
    if rows.dims is None:
        return TensorSpec(out_type, values.dims)
    if not rows.dims or not spec.compatible(rows.dims[:-1], (values.dims or rows.dims)[:-1]):
        wanted = f"{spec.describe(rows.dims)}, the last size aside"
        raise ShapeError("values are searched row by row in as many sorted rows", expected=wanted,
                         got=spec.describe(values.dims))  # fmt: skip
    return TensorSpec(out_type, values.dims)


@op("SearchSorted", infer=_searched, differentiable=False)
def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = dtypes.int32, name: str | None = None
) -> Any:
    """Where each value would stand in the sorted row: before equal ones ("left") or after them ("right")."""
    if side not in ("left", "right"):
        raise InvalidArgumentError(f"unknown side {side!r}", expected="'left' or 'right'")
    return call((sorted_sequence, values), name, side=side, out_type=as_dtype(out_type))


# -- equal values ----------------------------------------------------------------------------------------------------


class Unique(NamedTuple):
    """The different values, and for each entry the place of its value among them."""

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """The different values, for each entry the place of its value among them, and how often each occurs."""

    y: Tensor
    idx: Tensor
    count: Tensor  # type: ignore[assignment]


class ListDiff(NamedTuple):
    """What is in one list and not in the other, and where it stood."""

    out: Tensor
    idx: Tensor


def _distinct(x: Any, *, out_idx: dtypes.DType, counts: bool) -> tuple[TensorSpec, ...]:
    check_vector(x, "what unique takes")
    same = TensorSpec(out_idx, (None,) if x.dims is None else x.dims)
    found = (TensorSpec(x.dtype, (None,)), same)
    return (*found, TensorSpec(out_idx, (None,))) if counts else found


@op("Unique", infer=_distinct, result=lambda *found: (Unique if len(found) == 2 else UniqueWithCounts)(*found),
    differentiable=False, weight=40,
)  # fmt: skip
def _unique(x: Any, out_idx: Any, counts: bool, name: str | None = None) -> Any:
    return call((x,), name, out_idx=as_dtype(out_idx), counts=counts)


def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> Unique:
    """The different values of a vector in the order in which they first occur, and the place of each entry's value."""
    return _unique(x, out_idx, False, name=name)  # type: ignore[no-any-return]


def unique_with_counts(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> UniqueWithCounts:
    """As `unique`, and how often each value occurs."""
    return _unique(x, out_idx, True, name=name)  # type: ignore[no-any-return]


def _missing(x: Any, y: Any, *, index_dtype: dtypes.DType) -> tuple[TensorSpec, TensorSpec]:
    for v in (x, y):
        check_vector(v, "a list")
    return TensorSpec(x.dtype, (None,)), TensorSpec(index_dtype, (None,))


@op("ListDiff", infer=_missing, result=ListDiff, differentiable=False)
def setdiff1d(x: Any, y: Any, index_dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """The entries of `x` that do not occur in `y`, in their order, and their indices."""
    return call((x, y), name, index_dtype=as_dtype(index_dtype))


def _unraveled(indices: Any, dims: Any) -> TensorSpec:
    check_index(indices, "indices")
    rank = hinted_dims(dims)
    if indices.dims is None:
        return TensorSpec(indices.dtype, None)
    return TensorSpec(indices.dtype, (None if rank is None else len(rank), *indices.dims))


@op("UnravelIndex", infer=_unraveled, differentiable=False)
def unravel_index(indices: Any, dims: Any, name: str | None = None) -> Any:
    """The coordinates, along a new first axis, of elements given by their number in a tensor of that shape."""
    return call((indices, shape_vector(dims)), name)


# -- groups ----------------------------------------------------------------------------------------------------------


def _partitioned(data: Any, partitions: Any, *, num_partitions: int) -> tuple[TensorSpec, ...]:
    check_index(partitions, "the numbers of partitions")
    if data.dims is None or partitions.dims is None:
        return (TensorSpec(data.dtype, None),) * num_partitions
    width = len(partitions.dims)
    if not spec.compatible(data.dims[:width], partitions.dims):
        raise ShapeError("each row of the data needs the number of a partition", expected=f"the first sizes of "
                         f"{spec.describe(data.dims)}", got=spec.describe(partitions.dims))  # fmt: skip
    return (TensorSpec(data.dtype, (None, *data.dims[width:])),) * num_partitions


@op("DynamicPartition", can_fail="always", infer=_partitioned, same_dtype=None, result=lambda *parts: list(parts))
def dynamic_partition(data: Any, partitions: Any, num_partitions: Any, name: str | None = None) -> Any:
    """The rows of `data` sorted into `num_partitions` tensors, by the number of a partition for each row."""
    count = known_integer(num_partitions, "num_partitions")
    if count < 1:
        raise InvalidArgumentError("there is one partition or more", got=str(count))
    return call((data, partitions), name, num_partitions=count)


@RegisterGradient("DynamicPartition")
def _partition_grad(op: Any, *dys: Any) -> list[Any]:
    data, partitions = op.inputs
    numbers = array.reshape(array.range_(array.size(partitions)), array.shape(partitions))
    places = dynamic_partition(numbers, partitions, op.attrs["num_partitions"])
    return [array.reshape(dynamic_stitch(places, list(dys)), array.shape(data)), None]


def _stitched(*inputs: Any) -> TensorSpec:
    half = len(inputs) // 2
    tail: spec.Dims = None
    for indices, data in zip(inputs[:half], inputs[half:], strict=True):
        check_index(indices, "indices")
        if data.dtype is not inputs[half].dtype:
            raise DTypeError("the pieces have one dtype", expected=inputs[half].dtype.name, got=data.dtype.name)
        if indices.dims is not None and data.dims is not None:
            width = len(indices.dims)
            if not spec.compatible(indices.dims, data.dims[:width]):
                raise ShapeError("each row of the data needs an index", expected=spec.describe(indices.dims),
                                 got=spec.describe(data.dims))  # fmt: skip
            tail = spec.merge(tail, data.dims[width:])
    return TensorSpec(inputs[half].dtype, None if tail is None else (None, *tail))


@op("DynamicStitch", can_fail="always", infer=_stitched, same_dtype=None)
def dynamic_stitch(indices: Any, data: Any, name: str | None = None) -> Any:
    """One tensor made of the rows of several: row `indices[m][i]` is `data[m][i]`; where indices repeat, the last."""
    if len(indices) != len(data) or not len(data):
        got = f"{len(indices)} and {len(data)}"
        raise InvalidArgumentError("dynamic_stitch takes as many indices as data, one or more", got=got)
    return call((*indices, *data), name)


@RegisterGradient("DynamicStitch")
def _stitch_grad(op: Any, dy: Any) -> list[Any]:
    indices = op.inputs[: len(op.inputs) // 2]
    return [*[None for _ in indices], *_unstitch(dy, indices)]


def _unstitched(dy: Any, *indices: Any) -> tuple[TensorSpec, ...]:
    known = dy.dims is not None
    return tuple(
        TensorSpec(dy.dtype, (*i.dims, *dy.dims[1:]) if known and i.dims is not None else None) for i in indices
    )


@op("DynamicStitchGrad", infer=_unstitched, same_dtype=None, result=lambda *parts: list(parts))
def _unstitch(dy: Any, indices: Any) -> Any:
    return call((dy, *indices), None)


@RegisterGradient("DynamicStitchGrad")
def _unstitch_grad(op: Any, *dys: Any) -> list[Any]:
    indices = op.inputs[1:]
    return [dynamic_stitch(list(indices), list(dys)), *[None for _ in indices]]


# -- distance of texts -----------------------------------------------------------------------------------------------


def _edited(*inputs: Any, normalize: bool) -> TensorSpec:
    for indices, values, shape in (inputs[:3], inputs[3:]):
        check_index(indices, "indices")
        check_vector(values, "the values of a sparse tensor")
        check_vector(shape, "a shape")
    if inputs[1].dtype is not inputs[4].dtype:
        raise DTypeError("both sequences have one dtype", expected=inputs[1].dtype.name, got=inputs[4].dtype.name)
    known = [hinted_dims(s) for s in (inputs[2], inputs[5])]
    if None in known or len(known[0] or ()) != len(known[1] or ()):
        return TensorSpec(dtypes.float32, None)
    pairs = list(zip(*[k or () for k in known], strict=True))[:-1]
    return TensorSpec(dtypes.float32, tuple(None if None in p else max(p) for p in pairs))


@op("EditDistance", infer=_edited, same_dtype=None, differentiable=False)
def edit_distance(hypothesis: Any, truth: Any, normalize: bool = True, name: str | None = "edit_distance") -> Any:
    """The Levenshtein distances of the sequences in two sparse tensors, divided by the length of the truth."""
    parts = []
    for sequences, what in ((hypothesis, "hypothesis"), (truth, "truth")):
        if not all(hasattr(sequences, part) for part in ("indices", "values", "dense_shape")):
            raise DTypeError(f"{what} is a sparse tensor", expected="tf.SparseTensor", got=type(sequences).__name__)
        parts += [sequences.indices, sequences.values, sequences.dense_shape]
    return call(parts, name, normalize=bool(normalize))
