"""Rules of updates of rows of variables.

Policy: all indices, and divisors, are looked at before anything is written; a bad one leaves the variable as it was.
Rows are updated in the order of the indices.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.errors import InvalidArgumentError
from graphflow.spec import numel
from graphflow_opencl.axes import Extra, strides
from graphflow_opencl.checking import STATUS, numbers
from graphflow_opencl.movement import Launches
from graphflow_opencl.registers import held, storage_type
from graphflow_opencl.sorted_walks import walk_launches
from graphflow_opencl.table import Launch, Scratch, Site, Status, rule
from graphflow_opencl.walking import FLAG, UNTOUCHED, Ends, Walk, combination


@rule("Scatter")
def _scatter(site: Site) -> Launches:
    dims = site.dims_in()
    return _update(site, dims, dims[:1], numel(site.dims_in(1)), site.dims_in(1), dims[1:]) if dims else None


@rule("ScatterNdVariable")
def _scatter_nd(site: Site) -> Launches:
    dims, shape = site.dims_in(), site.dims_in(1)
    if not shape or shape[-1] > len(dims):
        return None
    depth = shape[-1]
    return _update(site, dims, dims[:depth], numel(shape[:-1]), shape[:-1], dims[depth:])


def _update(
    site: Site, dims: Sequence[int], bounds: Sequence[int], count: int, places: Sequence[int], row: Sequence[int]
) -> Launches:
    """`count` rows are updated, each chosen by one number below each of the bounds."""
    dtype, kind = site.inputs[0].dtype, site.attrs["kind"]
    given = site.dims_in(2)
    if not held(dtype) or dtype.is_bool or site.inputs[2].dtype is not dtype or given not in ((), (*places, *row)):
        return None
    if not count * numel(dims):
        return None if count else []  # the host looks at the indices of rows without elements
    depth, scalar = len(bounds), given == ()
    indices = numbers(site.inputs[1].dtype, "indices", site.ins.inputs[1])
    terms = [f"{s} * indices[k * {depth} + {i}]" for i, s in enumerate(strides(bounds))]
    updates = None if not held(dtype) else site.ins.inputs[2]
    walk = Walk(
        1, numel(bounds), numel(row), count, dtype, " + ".join(terms) or "0", combination(kind, dtype),
        update="0" if scalar else "at",
    )  # fmt: skip
    divisors = numel(given) if kind == "div" and dtype.is_integer else 0
    check = _check(site, count * depth, bounds, divisors, indices)
    act = walk_launches(
        walk, Ends(site.ins.inputs[0], updates, (indices,), f"scatter: {kind}", guarded=True), site.traits
    )
    return [check, *act]


def _check(site: Site, count: int, bounds: Sequence[int], divisors: int, indices: Extra) -> Launch:
    """One group looks at all numbers; it writes the flag that the update waits for."""

    def explain(position: int) -> Exception:
        if position >= count:
            return InvalidArgumentError("Integer division by zero", op=site.ins.op, got=f"update {position - count}")
        size = bounds[position % len(bounds)]
        shape = site.dims_in(1)
        where = [int(i) for i in np.unravel_index(position, shape)] if shape else ""
        return InvalidArgumentError(f"indices{where} is out of range", op=site.ins.op, expected=f"0 <= index < {size}")

    items = site.traits.group if site.traits.schedule == "gpu" else 1
    chain = [f"i % {len(bounds)} == {k} ? {n}L : " for k, n in enumerate(bounds[:-1])]
    bound = "".join([*chain, f"{bounds[-1] if bounds else 1}L"])
    zero = f"for (int i = get_local_id(0); i < {divisors}; i += {items}) if (!updates[i]) bad = min(bad, {count} + i);"
    together = """barrier(CLK_LOCAL_MEM_FENCE);
    atomic_min(&worst, bad);
    barrier(CLK_LOCAL_MEM_FENCE);
    bad = worst;"""
    declared = [indices.declaration, "__global int *flag", STATUS]
    arguments: list[Any] = [indices.argument, Scratch(FLAG, 4), Status(explain)]
    if divisors:
        declared.append(f"__global const {storage_type(site.inputs[2].dtype)} *updates")
        arguments.append(site.ins.inputs[2])
    shared = items > 1
    source = f"""__kernel void KERNEL({", ".join(declared)}) {{
    {"__local int worst; if (!get_local_id(0)) worst = " + str(UNTOUCHED) + ";" if shared else ""}
    int bad = {UNTOUCHED};
    for (int i = get_local_id(0); i < {count}; i += {items}) {{
        const long index = indices[i];
        if (index < 0 || index >= ({bound})) bad = min(bad, i);
    }}
    {zero if divisors else ""}
    {together if shared else ""}
    if (get_local_id(0)) return;
    flag[0] = bad;
    if (bad != {UNTOUCHED}) atomic_min(status, bad);
}}"""
    return Launch(source, (items,), (items,), tuple(arguments), (), "check indices")
