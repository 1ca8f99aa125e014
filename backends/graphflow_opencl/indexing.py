"""Rules of gathers: elements and rows that indices choose.

Policy: an index is read and checked where it is used, once for a run of elements; one that is out of range is an error
that names its place.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphflow.errors import InvalidArgumentError
from graphflow.spec import numel
from graphflow_opencl.axes import Axis, Extra, plain, strides, word
from graphflow_opencl.checking import checked, numbers, outside, report, wrapped
from graphflow_opencl.movement import Launches
from graphflow_opencl.moving import move
from graphflow_opencl.table import Site, on_the_host, rule

on_the_host("the shape of its result depends on the data", "MaskPlaces", "Where")


def _rows(site: Site, axes: Sequence[Axis], extras: Sequence[Extra], title: str, deep: bool = False) -> Launches:
    return move(
        site, axes, site.ins.inputs[0], site.ins.outputs[0], site.inputs[0].dtype, title, extras=extras, deep=deep
    )


@rule("Gather")
def _gather(site: Site) -> Launches:
    dims, axis = site.dims_in(), site.attrs["axis"] % len(site.dims_in())
    bound, inner, count = dims[axis], numel(dims[axis + 1 :]), numel(site.dims_in(1))
    if count and not numel(dims):
        return None  # nothing is moved, so no kernel looks at the indices: the host does
    extras = (numbers(site.inputs[1].dtype, "indices", site.ins.inputs[1]), report(outside(site, 1, bound)))
    axes = [
        plain(numel(dims[:axis]), bound * inner),
        Axis(count, (), "", checked("indices[@]", bound, "@"), inner),
        plain(inner, 1),
    ]
    return _rows(site, axes, extras, "gather")


def coordinates(site: Site, which: int, dims: Sequence[int]) -> tuple[str, list[Extra]]:
    """C text of the number of the slice that coordinate vector @ of an input addresses, and what it reads."""
    shape = site.dims_in(which)
    depth = shape[-1]

    def explain(position: int) -> Exception:
        at = [int(i) for i in np.unravel_index(position, shape[:-1])] if len(shape) > 1 else []
        return InvalidArgumentError(
            f"indices{at} is out of range", op=site.ins.op, expected=f"coordinates in {list(dims)}"
        )

    steps = strides(dims[:depth])
    terms = [f"{s} * {checked(f'indices[@ * {depth} + {i}]', dims[i], '@')}" for i, s in enumerate(steps)]
    return " + ".join(terms) or "0", [
        numbers(site.inputs[which].dtype, "indices", site.ins.inputs[which]), report(explain)
    ]  # fmt: skip


@rule("GatherNd")
def _gather_nd(site: Site) -> Launches:
    dims, shape = site.dims_in(), site.dims_in(1)
    depth = shape[-1]
    if depth > len(dims) or 0 in dims:
        return None
    inner = numel(dims[depth:])
    text, extras = coordinates(site, 1, dims)
    return _rows(site, [Axis(numel(shape[:-1]), (), "", text, inner), plain(inner, 1)], extras, "gather")


@rule("SegmentRows")
def _segment_rows(site: Site) -> Launches:
    dims = site.dims_in()
    count, inner = numel(site.dims_in(1)), numel(dims[1:])
    if count and not inner:
        return None
    extras = [numbers(site.inputs[1].dtype, "ids", site.ins.inputs[1])]
    if not dims[0]:  # only negative ids are left, which have a row of zeros
        axes = [Axis(count, (), "", "0", 0, "0"), plain(inner, 1)]
        return _rows(site, axes, (), "rows of segments")
    extras.append(report(outside(site, 1, dims[0])))
    text = f"(ids[@] < 0 ? 0 : {checked('ids[@]', dims[0], '@')})"
    axes = [Axis(count, (), "", text, inner, "ids[@] >= 0"), plain(inner, 1)]
    return _rows(site, axes, extras, "rows of segments")


@rule("TakeAlongAxis")
def _take_along(site: Site) -> Launches:
    dims, shape = site.dims_in(), site.dims_in(1)
    axis = site.attrs["axis"] % len(dims)
    if any(a != b for k, (a, b) in enumerate(zip(dims, shape, strict=True)) if k != axis):
        return None
    if not dims[axis] and numel(shape):
        return None
    outer, inner, count = numel(dims[:axis]), numel(dims[axis + 1 :]), shape[axis]
    extras = (numbers(site.inputs[1].dtype, "indices", site.ins.inputs[1]), report(outside(site, 1, dims[axis])))
    at = f"((outer * {count} + @) * {inner} + inner)"
    axes = [
        plain(outer, dims[axis] * inner, "outer"),
        Axis(count, (), "", wrapped(f"indices[{at}]", dims[axis], at), inner),
        plain(inner, 1, "inner"),
    ]
    return _rows(site, axes, extras, "take along an axis", True)


@rule("OneHot")
def _one_hot(site: Site) -> Launches:
    out, shape = site.dims_out(), site.dims_in()
    dtype = site.inputs[2].dtype
    found = word(dtype)
    if found is None or found[1] > 1:
        return None
    axis = len(shape) if site.attrs["axis"] == -1 else site.attrs["axis"]
    outer, inner, depth = numel(shape[:axis]), numel(shape[axis:]), out[axis]
    extras = (
        numbers(site.inputs[0].dtype, "indices", site.ins.inputs[0]),
        Extra(f"__global const {found[0]} *off", site.ins.inputs[3]),
    )
    axes = [
        plain(outer, 0, "outer"),
        plain(depth, 0, "depth"),
        Axis(inner, (), "", "0", 0, f"indices[outer * {inner} + @] == depth"),
    ]
    if inner == 1:
        axes = [plain(outer, 0, "outer"), Axis(depth, (), "", "0", 0, "indices[outer] == @")]
    return move(site, axes, site.ins.inputs[2], site.ins.outputs[0], dtype, "one hot", fill="off[0]", extras=extras)


@rule("UnravelIndex")
def _unravel_index(site: Site) -> Launches:
    dims, count, dtype = site.constants[1], numel(site.dims_in()), site.inputs[0].dtype
    stored = word(dtype)
    if stored is None or dims is None or not count or (dims.size and int(dims.min()) < 1):
        return None
    bound = numel([int(d) for d in dims])
    extras = (numbers(dtype, "indices", site.ins.inputs[0]), report(outside(site, 0, bound)))
    steps = strides([int(d) for d in dims])
    axes = [plain(len(steps), 0, "axis"), Axis(count, (), "", "0", 0, "0")]
    found = "0"
    for k in range(len(steps) - 1, -1, -1):
        coordinate = f"{checked('indices[#]', bound, '#')} / {steps[k]} % {int(dims[k])}"
        found = coordinate if k == len(steps) - 1 else f"(axis == {k} ? {coordinate} : {found})"
    # The coordinates are what fills places without a source; `#` is the last axis.
    axes[1] = axes[1]._replace(name="place")
    fill = f"({stored[0]})({found.replace('#', 'place')})"
    return move(site, axes, site.ins.inputs[0], site.ins.outputs[0], dtype, "coordinates", fill=fill, extras=extras)
