"""Rules of searching, of ranks, and of tensors put together by place.

Policy: elements are compared by keys (`keys`), so NaN is the largest number, as in NumPy.  What several places claim
goes to the last one, whoever comes first in time.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError
from graphflow.spec import numel
from graphflow_opencl.axes import Axis, Extra, each_launch, index_type, plain, word
from graphflow_opencl.checking import STATUS, checked, numbers, outside, report
from graphflow_opencl.keys import key_function, key_type, sortable
from graphflow_opencl.movement import Launches
from graphflow_opencl.moving import move
from graphflow_opencl.registers import held, load, storage_type
from graphflow_opencl.table import Launch, Scratch, Site, Status, on_the_host, rule

on_the_host("the shape of its result depends on the data", "Unique", "ListDiff", "DynamicPartition")
on_the_host("it walks along sparse rows of any length, one by one", "EditDistance")
OWNER = 0  # the number of scratch memory


@rule("InTopK")
def _in_top_k(site: Site) -> Launches:
    count, classes = site.dims_in()
    dtype = site.inputs[0].dtype
    if not held(dtype) or site.dims_in(1) != (count,):
        return None
    if not count:
        return []
    value = load(dtype, 1, "x", f"(long)id * {classes} + j")
    right = load(dtype, 1, "x", f"(long)id * {classes} + target")
    body = f"""const long target = targets[id];
    int inside = target >= 0 && target < {classes};
    long larger = 0;
    if (inside) {{
        const {"double" if dtype.name == "float64" else "float"} right = {right};
        for (int j = 0; j < {classes}; j++) {{
            inside = inside && isfinite({value});
            larger += {value} > right;
        }}
    }}
    y[id] = inside && larger < (long)k[0];"""
    declared = [
        f"__global const {storage_type(dtype)} *x",
        f"__global const {storage_type(site.inputs[1].dtype)} *targets",
        f"__global const {storage_type(site.inputs[2].dtype)} *k",
        "__global uchar *y",
    ]
    arguments = (*site.ins.inputs[:3], site.ins.outputs[0])
    cost = classes * int(dtype.size)
    return [each_launch(site.traits, count, cost, declared, arguments, site.ins.outputs, body, "in top k")]


@rule("SearchSorted")
def _search_sorted(site: Site) -> Launches:
    *outer, size = site.dims_in()
    dtype, made = site.inputs[0].dtype, site.outputs[0]
    if not sortable(dtype) or site.inputs[1].dtype is not dtype or site.dims_in(1)[:-1] != tuple(outer):
        return None
    count = numel(site.dims_in(1))
    if not count:
        return []
    assert made is not None
    kind, index = key_type(dtype), index_type(numel(outer) * size, count)
    sign = "<=" if site.attrs["side"] == "right" else "<"
    body = f"""const {index} base = id / {site.dims_in(1)[-1]} * {size};
    const {kind} key = KERNEL_key(values, id);
    {index} low = 0, high = {size};
    while (low < high) {{
        const {index} middle = (low + high) / 2;
        if (KERNEL_key(sequences, base + middle) {sign} key) low = middle + 1; else high = middle;
    }}
    y[id] = low;"""
    declared = [
        f"__global const {kind} *sequences", f"__global const {kind} *values",
        f"__global {storage_type(made.dtype)} *y",
    ]  # fmt: skip
    arguments = (*site.ins.inputs, site.ins.outputs[0])
    return [
        each_launch(
            site.traits, count, 64, declared, arguments, site.ins.outputs, body, "search", index=index,
            head=key_function(dtype),
        )
    ]  # fmt: skip


@rule("InvertPermutation")
def _invert_permutation(site: Site) -> Launches:
    size = site.dims_in()[0]
    if not size:
        return []
    kind = storage_type(site.inputs[0].dtype)

    def explain(position: int) -> Exception:
        return InvalidArgumentError(
            "not a permutation", op=site.ins.op, expected=f"each of 0 ... {size - 1} once", got=f"entry {position}"
        )

    status = Status(explain)
    declared = [f"__global const {kind} *x", f"__global {kind} *y", STATUS]
    arguments = (*site.ins.inputs, site.ins.outputs[0], status)
    inside = f"x[id] >= 0 && x[id] < {size}"
    writes = f"if ({inside}) y[x[id]] = id; else atomic_min(status, (int)id);"
    checks = f"if ({inside} && y[x[id]] != id) atomic_min(status, (int)id);"
    return [
        each_launch(site.traits, size, 8, declared, arguments, site.ins.outputs, body, title)
        for body, title in ((writes, "invert a permutation"), (checks, "check a permutation"))
    ]


# -- groups ----------------------------------------------------------------------------------------------------------


@rule("DynamicStitch")
def _dynamic_stitch(site: Site) -> Launches:
    """With known indices alone: otherwise the shape of the result depends on them."""
    half = len(site.inputs) // 2
    out, dtype = site.dims_out(), site.inputs[half].dtype
    found = word(dtype)
    indices = [None if c is None else np.ravel(c) for c in site.constants[:half]]
    if found is None or any(i is None for i in indices):
        return None
    name, pairs = found
    width = numel(out[1:]) * pairs
    flat = np.concatenate([np.asarray(i, np.int64) for i in indices]) if indices else np.zeros(0, np.int64)
    if not width * out[0] or flat.min() < 0 or flat.max() >= out[0]:
        return [] if not width * out[0] else None
    owner = np.full(out[0], -1, np.int64)
    owner[flat] = np.arange(flat.size)
    launches: list[Launch] = []
    if (owner < 0).any():
        declared, value = [f"__global {name} *y"], site.ins.outputs
        launches.append(each_launch(site.traits, out[0] * width, 8, declared, value, value, "y[id] = 0;", "zeros"))
    start = 0
    body = f"const int row = rows[id / {width}]; if (row >= 0) y[(long)row * {width} + id % {width}] = x[id];"
    declared = [f"__global const {name} *x", "__global const int *rows", f"__global {name} *y"]
    for data, i in zip(site.ins.inputs[half:], indices, strict=True):
        assert i is not None
        mine = np.where(owner[i] == np.arange(start, start + i.size), i, -1).astype(np.int32)
        start += i.size
        if not i.size:
            continue
        index = index_type(i.size * width)
        launches.append(
            each_launch(
                site.traits, i.size * width, 8, declared, (data, mine, site.ins.outputs[0]), site.ins.outputs, body,
                "put rows together", index=index,
            )
        )  # fmt: skip
    return launches


@rule("DynamicStitchGrad")
def _dynamic_stitch_grad(site: Site) -> Launches:
    dims, dtype = site.dims_in(), site.inputs[0].dtype
    if not dims[0]:
        return None
    owner = Scratch(OWNER, 4 * dims[0])
    declared = ["__global int *owner"]
    launches = [each_launch(site.traits, dims[0], 4, declared, (owner,), (), "owner[id] = -1;", "no owners")]
    moves: list[Launch] = []
    start, inner = 0, numel(dims[1:])
    for k in range(1, len(site.inputs)):
        count = numel(site.dims_in(k))
        indices: list[Any] = [
            numbers(site.inputs[k].dtype, "indices", site.ins.inputs[k]), report(outside(site, k, dims[0]))
        ]  # fmt: skip
        row = checked("indices[id]", dims[0], "id")
        given = ["volatile __global int *owner", *[e.declaration for e in indices]]
        if count:
            body = f"atomic_max(owner + {row}, {start} + (int)id);"
            arguments = (owner, *[e.argument for e in indices])
            launches.append(each_launch(site.traits, count, 8, given, arguments, (), body, "owners"))
        if site.ins.outputs[k - 1] >= 0:
            text = checked("indices[@]", dims[0], "@")
            axes = [Axis(count, (), "", text, inner, f"owner[{text}] == {start} + @"), plain(inner, 1)]
            extras = (Extra("__global const int *owner", owner), *indices)
            found = move(
                site, axes, site.ins.inputs[0], site.ins.outputs[k - 1], dtype, "take rows apart", extras=extras
            )
            if found is None:
                return None
            moves += found
        start += count
    return [*launches, *moves]
