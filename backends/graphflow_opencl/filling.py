"""Rules of tensors that are made from a few numbers.

Policy: a filling copies bits; ranges are computed as NumPy computes them, with each operation rounded to the dtype.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.dtypes import DType
from graphflow.spec import numel
from graphflow_opencl.axes import bits, cpu_launch, each_launch, gpu_launch, index_type, plain, shares, word
from graphflow_opencl.expressions import load, storage_type, store
from graphflow_opencl.movement import Launches
from graphflow_opencl.moving import move
from graphflow_opencl.registers import held
from graphflow_opencl.table import Launch, Site, on_the_host, rule

on_the_host("it makes a few numbers that the host itself needs", "Shape", "Size", "Rank", "BroadcastArgs")


@rule("Fill")
def _fill(site: Site) -> Launches:
    count = numel(site.dims_out())
    return move(site, [plain(count, 0)], site.ins.inputs[1], site.ins.outputs[0], site.inputs[1].dtype, "fill")


def filled(site: Site, target: Any, dtype: DType, count: int, value: Any, title: str) -> Launch | None:
    """The launch that gives every element one value; None for dtypes that do not move as single words."""
    found = word(dtype)
    if found is None or (found[1] > 1 and value):
        return None
    name, count = found[0], count * found[1]
    text = "0" if found[1] > 1 else bits(dtype, value)
    index = index_type(count)
    if site.traits.schedule == "gpu":
        source = f"""__kernel void KERNEL(__global {name} *target) {{
    const {index} id = get_global_id(0);
    if (id < {count}) target[id] = {text};
}}"""
        return gpu_launch(source, count, (target,), (target,), title, site.traits)
    each = -(-count // shares(count * int(dtype.size), count, site.traits))
    source = f"""__kernel void KERNEL(__global {name} *target) {{
    const {index} low = ({index})get_global_id(0) * {each};
    gf_set_{name}(target + low, {text}, min(({index}){each}, {count} - low));
}}"""
    return cpu_launch(source, (-(-count // each),), (target,), (target,), title)


@rule("ZerosLike", "OnesLike")
def _constant_like(site: Site) -> Launches:
    count, made = numel(site.dims_out()), site.outputs[0]
    assert made is not None
    if not count:
        return []
    one = site.ins.type == "OnesLike"
    launch = filled(site, site.ins.outputs[0], made.dtype, count, int(one), "ones" if one else "zeros")
    return None if launch is None else [launch]


def _counted(site: Site, inputs: int, body: str, title: str) -> Launches:
    """A launch of one statement per element `id`; its inputs are a, b ..."""
    made = site.outputs[0]
    assert made is not None
    count = numel(site.dims_out())
    if not count:
        return []
    names = "abc"[:inputs]
    given = [f"__global const {storage_type(s.dtype)} *{n}" for n, s in zip(names, site.inputs, strict=False)]
    declared = [*given, f"__global {storage_type(made.dtype)} *y"]
    arguments = (*site.ins.inputs[:inputs], site.ins.outputs[0])
    index = index_type(count)
    cost = int(made.dtype.size)
    return [each_launch(site.traits, count, cost, declared, arguments, site.ins.outputs, body, title, index=index)]


@rule("Range")
def _range(site: Site) -> Launches:
    """An empty range may have a step of 0, which is an error, so the host looks at that; others cannot."""
    dtype = site.inputs[0].dtype
    if not numel(site.dims_out()) or not held(dtype) or dtype.size < 4 and dtype.is_floating:
        return None
    kind = storage_type(dtype)
    value = f"({kind})(({kind})(({kind})id * {load(dtype, 1, 'c', '0')}) + {load(dtype, 1, 'a', '0')})"
    return _counted(site, 3, store(dtype, 1, "y", "id", value), "range")


@rule("LinSpace")
def _linspace(site: Site) -> Launches:
    dtype, num = site.inputs[0].dtype, numel(site.dims_out())
    if not site.traits.doubles or not num or not dtype.is_floating or not held(dtype):
        return None
    parts = num - 1
    lines = [
        f"const double start = {load(dtype, 1, 'a', '0')}, stop = {load(dtype, 1, 'b', '0')};",
        f"const double delta = stop - start, step = delta / {float(max(parts, 1))};",
        f"double found = (step == 0 ? id / {float(max(parts, 1))} * delta : id * step) + start;",
        f"if (id > 0 && id == {parts}) found = stop;",
        store(dtype, 1, "y", "id", "found"),
    ]
    return _counted(site, 2, " ".join(lines), "linspace")
