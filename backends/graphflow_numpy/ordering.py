"""Kernels of sorting, equality and groups.

Policy: equal values keep their order; NaN is larger than every number and equal to nothing.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow_numpy.indexing import check_range
from graphflow_numpy.table import kernel, rows

FULL_SORT = 64  # rows up to this length are sorted whole


def _order(x: Any, descending: bool) -> Any:
    """Stable order along the last axis."""
    if not descending:
        return np.argsort(x, -1, "stable")
    return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, "stable")[..., ::-1]


@kernel("Sort")
def _sort(x: Any, *, axis: int, descending: bool) -> Any:
    order = np.moveaxis(_order(np.moveaxis(x, axis, -1), descending), -1, axis)
    return np.take_along_axis(x, order, axis), order.astype(np.int32)


@kernel("TopK")
def _top_k(x: Any, k: Any) -> Any:
    size, k = x.shape[-1], int(k)
    if not 0 <= k <= size:
        raise InvalidArgumentError("a row has too few entries", expected=f"0 <= k <= {size}", got=f"k {k}")
    rows_ = x.reshape(-1, size) if x.size else x.reshape(int(np.prod(x.shape[:-1], dtype=np.intp)), size)
    places = _partial(rows_, k) if 0 < 4 * k < size and size > FULL_SORT else None
    if places is None:
        places = _order(rows_, True)[:, :k]
    values = np.take_along_axis(rows_, places, 1)
    shape = (*x.shape[:-1], k)
    return values.reshape(shape), places.astype(np.int32).reshape(shape)


def _partial(x: Any, k: int) -> Any:
    """The places of the k largest of each row without sorting the rest; None where a row holds NaN."""
    largest = np.partition(x, x.shape[1] - k, 1)[:, x.shape[1] - k :]
    if np.isnan(largest).any():
        return None
    least = largest[:, :1]
    above = x > least
    equal = x == least
    chosen = above | equal & (np.cumsum(equal, 1) <= k - above.sum(1, keepdims=True))
    places = np.nonzero(chosen)[1].reshape(-1, k)
    return np.take_along_axis(places, _order(np.take_along_axis(x, places, 1), True), 1)


rows({"TakeAlongAxis": lambda x, indices, *, axis: np.take_along_axis(x, indices, axis)})


@kernel("PutAlongAxis")
def _put_along(dy: Any, indices: Any, shape: Any, *, axis: int) -> Any:
    out = np.zeros(shape.tolist(), dy.dtype)
    np.put_along_axis(out, indices, dy, axis)
    return out


@kernel("InTopK")
def _in_top_k(predictions: Any, targets: Any, k: Any) -> Any:
    count, classes = predictions.shape
    if targets.shape != (count,):
        got = str(list(targets.shape))
        raise ShapeError("each row needs the number of its right class", expected=str(count), got=got)
    inside = (targets >= 0) & (targets < classes)
    if not classes:
        return np.zeros(count, bool)
    right = predictions[np.arange(count), np.where(inside, targets, 0)]
    larger = (predictions > right[:, None]).sum(1)
    return inside & np.isfinite(predictions).all(1) & (larger < k)


@kernel("SearchSorted")
def _searchsorted(sequences: Any, values: Any, *, side: str, out_type: Any) -> Any:
    if sequences.shape[:-1] != values.shape[:-1]:
        got = f"{list(sequences.shape)} and {list(values.shape)}"
        raise ShapeError("values are searched row by row in as many sorted rows", got=got)
    out = np.empty(values.shape, out_type.np)
    for place in np.ndindex(values.shape[:-1]):
        out[place] = np.searchsorted(sequences[place], values[place], side)  # type: ignore[call-overload]
    return out


# -- equal values ----------------------------------------------------------------------------------------------------


def _distinct(x: Any) -> tuple[Any, Any, Any]:
    """The different values in the order of their first occurrence, the place of each entry's, and the counts."""
    options: dict[str, Any] = {"equal_nan": False} if x.dtype.kind in "fc" else {}
    values, first, inverse, counts = np.unique(x, True, True, True, **options)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return values[order], rank[inverse.reshape(-1)], counts[order]


@kernel("Unique")
def _unique(x: Any, *, out_idx: Any, counts: bool) -> Any:
    values, places, number = _distinct(x)
    found = (values, places.astype(out_idx.np))
    return (*found, number.astype(out_idx.np)) if counts else found


@kernel("ListDiff")
def _list_diff(x: Any, y: Any, *, index_dtype: Any) -> Any:
    places = np.flatnonzero(~np.isin(x, y))
    return x[places], places.astype(index_dtype.np)


@kernel("UnravelIndex")
def _unravel_index(indices: Any, dims: Any) -> Any:
    shape = tuple(dims.tolist())
    check_range(indices, int(np.prod(shape, dtype=np.intp)))
    if not np.size(indices):
        return np.zeros((len(shape), *np.shape(indices)), indices.dtype)
    return np.array(np.unravel_index(indices, shape), indices.dtype)


# -- groups ----------------------------------------------------------------------------------------------------------


@kernel("DynamicPartition")
def _dynamic_partition(data: Any, partitions: Any, *, num_partitions: int) -> Any:
    width = np.ndim(partitions)
    if np.shape(data)[:width] != np.shape(partitions):
        got = f"{list(np.shape(partitions))} for {list(np.shape(data))}"
        raise ShapeError("each row of the data needs the number of a partition", got=got)
    check_range(partitions, num_partitions)
    rest = np.shape(data)[width:]
    flat = np.reshape(data, (np.size(partitions), *rest))
    numbers = np.ravel(partitions)
    parts = [flat[numbers == i] for i in range(num_partitions)]
    return parts[0] if num_partitions == 1 else tuple(parts)


@kernel("DynamicStitch")
def _dynamic_stitch(*inputs: Any) -> Any:
    half = len(inputs) // 2
    indices, data = inputs[:half], inputs[half:]
    rest = np.shape(data[0])[np.ndim(indices[0]) :]
    size = max([int(i.max()) + 1 for i in indices if np.size(i)], default=0)
    out = np.zeros((size, *rest), data[0].dtype)
    for i, d in zip(indices, data, strict=True):
        check_range(i, size)
        if np.shape(d) != (*np.shape(i), *rest):
            wanted = str([*np.shape(i), *rest])
            raise ShapeError("the pieces do not fit together", expected=wanted, got=str(list(np.shape(d))))
        out[np.ravel(i)] = np.reshape(d, (np.size(i), *rest))
    return out


@kernel("DynamicStitchGrad")
def _dynamic_stitch_grad(dy: Any, *indices: Any) -> Any:
    owner = np.full(len(dy), -1, np.intp)
    start = 0
    numbers = []
    for i in indices:
        numbers.append(np.arange(start, start + np.size(i)).reshape(np.shape(i)))
        owner[np.ravel(i)] = np.ravel(numbers[-1])
        start += np.size(i)
    parts = []
    for i, n in zip(indices, numbers, strict=True):
        part = np.take(dy, i, 0)
        part[owner[i] != n] = 0
        parts.append(part)
    return parts[0] if len(parts) == 1 else tuple(parts)


# -- distance of texts -----------------------------------------------------------------------------------------------


def _sequences(indices: Any, values: Any) -> dict[tuple[int, ...], Any]:
    """The values of each row of a sparse tensor, in order."""
    out: dict[tuple[int, ...], Any] = {}
    if not len(indices):
        return out
    for line in np.unique(indices[:, :-1], axis=0):
        chosen = (indices[:, :-1] == line).all(1)
        out[tuple(line.tolist())] = values[chosen]
    return out


def _levenshtein(a: Any, b: Any) -> int:
    """Rows of the usual table, each in one go: what comes from the left is a running minimum."""
    steps = np.arange(len(b) + 1)
    row = steps
    for i, item in enumerate(a):
        change = row[:-1] + (b != item)
        best = np.concatenate(([i + 1], np.minimum(row[1:] + 1, change)))
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])


@kernel("EditDistance")
def _edit_distance(*inputs: Any, normalize: bool) -> Any:
    (ai, av, ashape), (bi, bv, bshape) = inputs[:3], inputs[3:]
    if len(ashape) != len(bshape):
        raise ShapeError("both tensors have one rank", got=f"{ashape.tolist()} and {bshape.tolist()}")
    out = np.zeros(np.maximum(ashape, bshape)[:-1].tolist(), np.float32)
    hypothesis, truth = _sequences(ai, av), _sequences(bi, bv)
    nothing = av[:0]
    for place in {**hypothesis, **truth}:
        a, b = hypothesis.get(place, nothing), truth.get(place, nothing)
        distance = float(_levenshtein(a, b))
        out[place] = distance if not normalize else distance / len(b) if len(b) else np.inf
    return out
