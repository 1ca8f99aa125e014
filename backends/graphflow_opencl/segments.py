"""Rules of sums by index: gradients of gathers, scatters into new tensors, segments, counts.

Policy: all are walks (`walking`) over the indices in their order.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.dtypes import DType, finfo
from graphflow.errors import InvalidArgumentError
from graphflow.spec import numel
from graphflow_opencl.axes import Extra
from graphflow_opencl.checking import checked, numbers, outside, report, wrapped
from graphflow_opencl.indexing import coordinates
from graphflow_opencl.movement import Launches
from graphflow_opencl.registers import held, literal, load, storage_type
from graphflow_opencl.sorted_walks import walk_launches
from graphflow_opencl.table import Site, rule
from graphflow_opencl.walking import Ends, Walk, combination, sums_of


def _launch(site: Site, walk: Walk, updates: Any, extras: Sequence[Extra], title: str) -> Launches:
    """The launch of a walk; where there is nothing to walk it only fills.

    Indices of rows without elements are for the host to look at: no kernel does.
    """
    if not walk.outer * walk.rows * walk.width:
        return None if walk.taken else []
    return walk_launches(walk, Ends(site.ins.outputs[0], updates, extras, title), site.traits)


@rule("GatherGrad")
def _gather_grad(site: Site) -> Launches:
    out, dtype = site.dims_out(), site.inputs[0].dtype
    if not held(dtype):
        return None
    axis = site.attrs["axis"] % len(out)
    count = numel(site.dims_in(1))
    extras = (numbers(site.inputs[1].dtype, "indices", site.ins.inputs[1]), report(outside(site, 1, out[axis])))
    walk = Walk(
        numel(out[:axis]), out[axis], numel(out[axis + 1 :]), count, dtype, checked("indices[k]", out[axis], "k"),
        "a + b", start=literal(dtype, 0),
    )  # fmt: skip
    return _launch(site, walk, site.ins.inputs[0], extras, "gradient of gather")


def _nd(site: Site, which: int, updates: int, combine: str, start: str, title: str, more: Sequence[Extra]) -> Launches:
    """Updates of slices that vectors of coordinates choose."""
    out, shape, dtype = site.dims_out(), site.dims_in(which), site.inputs[updates].dtype
    depth = shape[-1]
    if not held(dtype) or depth > len(out) or site.dims_in(updates) != (*shape[:-1], *out[depth:]):
        return None
    if 0 in out[:depth] and numel(shape[:-1]):
        return None  # no coordinates are right: the host says so
    text, extras = coordinates(site, which, out)
    walk = Walk(
        1, numel(out[:depth]), numel(out[depth:]), numel(shape[:-1]), dtype, text.replace("@", "k"), combine,
        start=start,
    )  # fmt: skip
    return _launch(site, walk, site.ins.inputs[updates], [*extras, *more], title)


@rule("ScatterNd")
def _scatter_nd(site: Site) -> Launches:
    dtype = site.inputs[1].dtype
    return _nd(site, 0, 1, "a + b", literal(dtype, 0), "scatter", ()) if held(dtype) else None


@rule("TensorScatterUpdate")
def _tensor_scatter_update(site: Site) -> Launches:
    dtype = site.inputs[0].dtype
    if not held(dtype):
        return None
    tensor = Extra(f"__global const {storage_type(dtype)} *restrict tensor", site.ins.inputs[0])
    return _nd(site, 1, 2, "b", load(dtype, 1, "tensor", "here"), "update slices", (tensor,))


@rule("PutAlongAxis")
def _put_along(site: Site) -> Launches:
    out, shape, dtype = site.dims_out(), site.dims_in(1), site.inputs[0].dtype
    axis = site.attrs["axis"] % len(out)
    if not held(dtype) or site.dims_in() != shape:
        return None
    if any(a != b for k, (a, b) in enumerate(zip(out, shape, strict=True)) if k != axis):
        return None
    extras = (numbers(site.inputs[1].dtype, "indices", site.ins.inputs[1]), report(outside(site, 1, out[axis])))
    width, count = numel(out[axis + 1 :]), shape[axis]
    at = f"((outer * {count} + k) * {width} + c)"
    walk = Walk(
        numel(out[:axis]), out[axis], width, count, dtype, wrapped(f"indices[{at}]", out[axis], at), "b", each=True,
        start=literal(dtype, 0),
    )  # fmt: skip
    return _launch(site, walk, site.ins.inputs[0], extras, "put along an axis")


# -- segments --------------------------------------------------------------------------------------------------------


def _end(dtype: DType, largest: bool, finite: bool) -> Any:
    """The largest or smallest number of a dtype, which may be infinite."""
    if dtype.is_floating and not finite:
        return np.inf if largest else -np.inf
    info: Any = finfo(dtype) if dtype.is_floating else np.iinfo(dtype.np)
    return info.max if largest else info.min


KINDS = {"Sum": ("add", 0), "Prod": ("mul", 1), "Max": ("max", None), "Min": ("min", None)}


def _segments(site: Site, kind: str, ids: int, place: str, explain: Any, in_order: bool, first: int) -> Launches:
    """The rows of each segment combined."""
    dtype, out = site.inputs[0].dtype, site.dims_out()
    combine, neutral = KINDS[kind]
    sums = sums_of(dtype)
    acting = sums or dtype
    start, empty = literal(acting, neutral or 0), None
    if neutral is None:
        start = literal(acting, _end(dtype, combine == "min", False))
        empty = literal(acting, 0 if in_order else _end(dtype, combine == "min", True))
    walk = Walk(
        1, out[0], numel(out[1:]), ids, dtype, place, combination(combine, acting), start=start,
        empty=None if empty == start else empty, sums=sums,
    )  # fmt: skip
    extras = (numbers(site.inputs[1].dtype, "ids", site.ins.inputs[1]), report(explain))
    return _launch(site, walk, site.ins.inputs[first], extras, f"segments: {combine}")


@rule("UnsortedSegmentSum", "UnsortedSegmentProd", "UnsortedSegmentMax", "UnsortedSegmentMin")
def _unsorted(site: Site) -> Launches:
    out, shape = site.dims_out(), site.dims_in(1)
    if not held(site.inputs[0].dtype) or site.dims_in()[: len(shape)] != shape or not out[0] and numel(shape):
        return None

    def explain(position: int) -> Exception:
        return InvalidArgumentError(
            f"segment id {position} of the list is out of range", op=site.ins.op, expected=f"ids < {out[0]}"
        )

    place = f"(ids[k] < 0 ? -1 : {checked('ids[k]', out[0], 'k')})"
    return _segments(site, site.ins.type[len("UnsortedSegment") :], numel(shape), place, explain, False, 0)


@rule("SegmentSum", "SegmentProd", "SegmentMax", "SegmentMin")
def _sorted(site: Site) -> Launches:
    out, count = site.dims_out(), numel(site.dims_in(1))
    if not held(site.inputs[0].dtype) or site.dims_in()[0] != count or not out[0] and count:
        return None

    def explain(position: int) -> Exception:
        return InvalidArgumentError(
            "segment ids must not decrease, nor leave the segments", op=site.ins.op, expected=f"0 <= ids < {out[0]}",
            got=f"id {position} of the list", hint="tf.unsorted_segment_sum and its kin take ids in any order",
        )  # fmt: skip

    # An id that is smaller than the one before is reported as if it were out of range.
    place = checked("(k && ids[k] < ids[k - 1]) ? -1L : (long)ids[k]", out[0], "k")
    return _segments(site, site.ins.type[len("Segment") :], count, place, explain, True, 0)


@rule("Bincount")
def _bincount(site: Site) -> Launches:
    made = site.outputs[0]
    assert made is not None
    rows, count, dtype = site.dims_out()[0], numel(site.dims_in()), made.dtype
    weighted = len(site.inputs) > 1
    if not rows or not held(dtype) or weighted and not site.traits.doubles:
        return [] if not rows else None

    def explain(position: int) -> Exception:
        return InvalidArgumentError(
            "bincount counts values that are not negative", op=site.ins.op, got=f"value {position} of the list"
        )

    place = f"(values[k] >= {rows} ? -1 : {checked('values[k]', rows, 'k')})"
    sums = dtypes.float64 if weighted else dtype if dtype.is_integer else dtypes.int64
    walk = Walk(1, rows, 1, count, dtype, place, "a + b", start=literal(sums, 0), sums=None if sums is dtype else sums)
    extras = (numbers(site.inputs[0].dtype, "values", site.ins.inputs[0]), report(explain))
    return _launch(site, walk, site.ins.inputs[1] if weighted else None, extras, "count")
