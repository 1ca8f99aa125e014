"""Pooling: the largest element and the mean of windows, and their gradients.

Policy: padding is neither a candidate nor counted.  The first of several largest elements in a window gets the
gradient; a NaN is the largest.  The gradient of the maximum notes for each window which tap it was, and then gathers;
windows that lie side by side write what is in them.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.dtypes import DType, as_dtype
from graphflow.numerics.windows import AxisWindow, is_channels_first, window_axes
from graphflow_opencl.registers import MASKS, REGISTERS, literal, load, register_type, store, vector
from graphflow_opencl.table import Launch, Scratch, Site, Traits, rule
from graphflow_opencl.windows import (
    Field,
    Pointer,
    cells_in,
    gathering,
    loops,
    over_cells,
    places,
    reads,
    tap_number,
    width_for,
    writes,
)


class Pool(NamedTuple):
    """One pooling: its windows, its images, its results."""

    axes: tuple[AxisWindow, ...]
    images: Field
    results: Field

    @property
    def at_input(self) -> str:
        """The address of input (i0, ...)."""
        return self.images.at(places("i", self.axes))

    @property
    def at_output(self) -> str:
        """The address of output (o0, ...)."""
        return self.results.at(places("o", self.axes))


def pool_of(dims: Any, attrs: dict[str, Any]) -> Pool:
    """The geometry of a pooling of images of that shape."""
    sizes = [int(d) for d in dims]
    first = is_channels_first(attrs["data_format"])
    spatial = sizes[2:] if first else sizes[1:-1]
    images, inner = (sizes[0] * sizes[1], 1) if first else (sizes[0], sizes[-1])
    axes = window_axes(spatial, attrs["ksize"], attrs["strides"], (1,) * len(spatial), attrs["padding"])
    outs = tuple(a.out for a in axes)
    return Pool(axes, Field(images, tuple(spatial), inner), Field(images, outs, inner))


def pooled(dtype: DType, traits: Traits) -> bool:
    """Whether the device can hold a dtype."""
    return dtype.name in REGISTERS and (traits.doubles or dtype.name != "float64")


def lowest(dtype: DType) -> str:
    """What no element is smaller than."""
    return literal(dtype, np.iinfo(dtype.np).min if dtype.kind in ("int", "uint") else -np.inf)


@rule("MaxPool")
def _max_pool(site: Site) -> Sequence[Launch] | None:
    (spec,) = site.inputs
    if site.outputs[0] is None or not pooled(spec.dtype, site.traits):
        return None
    pool, dtype = pool_of(spec.dims, site.attrs), spec.dtype
    width = width_for(pool.images.inner, [dtype], site.traits)
    kind = register_type(dtype, width)
    tap = f"{kind} v = {load(dtype, width, 'x', pool.at_input)}; s = ((v > s) | (v != v)) ? v : s;"
    body = f"{kind} s = {lowest(dtype)}; {loops(pool.axes, tap)} {store(dtype, width, 'y', pool.at_output, 's')}"
    pointers = [reads("x", site.ins.inputs[0], dtype), writes("y", site.ins.outputs[0], dtype)]
    return over_cells(pool.results.digits("o"), width, pointers, body, site.traits, "maxima", pool.images.size)


def _first_maximum(pool: Pool, dtype: DType, width: int, chosen: str) -> str:
    """C that runs `chosen` where `hit` is a mask of the channels whose first maximum is at tap (j0, ...)."""
    kind, mask = register_type(dtype, width), vector(MASKS[REGISTERS[dtype.name].size] if width > 1 else "int", width)
    tap = f"""{kind} v = {load(dtype, width, "x", pool.at_input)};
      {mask} hit = pending & ((v == m) | ((v != v) & (m != m)));
      pending &= ~hit; {chosen}"""
    return f"""{kind} m = {load(dtype, width, "y", pool.at_output)}; {mask} pending = -1;
    {loops(pool.axes, tap)}"""


def _masked(width: int, value: str, other: str) -> str:
    return f"hit ? {value} : {other}" if width > 1 else f"(hit & 1) ? {value} : {other}"


@rule("MaxPoolGrad")
def _max_pool_grad(site: Site) -> Sequence[Launch] | None:
    x, _, dy = site.inputs
    if site.outputs[0] is None or not pooled(x.dtype, site.traits) or dy.dtype is not x.dtype:
        return None
    pool, dtype = pool_of(x.dims, site.attrs), x.dtype
    if not pool.images.size:
        return []
    width = width_for(pool.images.inner, [dtype], site.traits)
    kind = register_type(dtype, width)
    if all(a.kernel == a.stride and a.dilation == 1 and a.out * a.stride - a.before >= a.size for a in pool.axes):
        return _side_by_side(site, pool, dtype, width)
    single = MASKS[REGISTERS[dtype.name].size] if width > 1 else "int"
    mask = vector(single, width)
    place = as_dtype({"int": "int32", "long": "int64"}[single])
    taps = Scratch(0, pool.results.size * place.size)
    noted = f"tap = {_masked(width, f'({mask})({tap_number(pool.axes)})', 'tap')};"
    body = f"{mask} tap = -1; {_first_maximum(pool, dtype, width, noted)} "
    body += store(place, width, "t", pool.at_output, "tap")
    ins = site.ins.inputs
    pointers = [reads("x", ins[0], dtype), reads("y", ins[1], dtype), writes("t", taps, place)]
    size = pool.images.size
    found = over_cells(pool.results.digits("o"), width, pointers, body, site.traits, "places of maxima", size)
    value, tap = load(dtype, width, "dy", pool.at_output), load(place, width, "t", pool.at_output)
    chosen = f"s += ({tap} == ({mask})({tap_number(pool.axes)})) ? {value} : ({kind})(0);"
    body = f"{kind} s = 0; {gathering(pool.axes, chosen)} {store(dtype, width, 'dx', pool.at_input, 's')}"
    pointers = [reads("t", taps, place), reads("dy", ins[2], dtype), writes("dx", site.ins.outputs[0], dtype)]
    return [
        *found,
        *over_cells(pool.images.digits("i"), width, pointers, body, site.traits, "gradient of maxima", size),
    ]


def _side_by_side(site: Site, pool: Pool, dtype: DType, width: int) -> Sequence[Launch]:
    """The gradient of the maximum where each element is in one window."""
    x, y, dy = site.ins.inputs
    kind = register_type(dtype, width)
    chosen = store(dtype, width, "dx", pool.at_input, _masked(width, "g", f"({kind})(0)"))
    body = f"{kind} g = {load(dtype, width, 'dy', pool.at_output)}; {_first_maximum(pool, dtype, width, chosen)}"
    pointers = [reads("x", x, dtype), reads("y", y, dtype), reads("dy", dy, dtype)]
    pointers.append(writes("dx", site.ins.outputs[0], dtype))
    digits = pool.results.digits("o")
    return over_cells(digits, width, pointers, body, site.traits, "gradient of maxima", pool.images.size)


@rule("MaxPoolGradGrad")
def _max_pool_grad_grad(site: Site) -> Sequence[Launch] | None:
    x, _, ddx = site.inputs
    if site.outputs[0] is None or not pooled(x.dtype, site.traits) or ddx.dtype is not x.dtype:
        return None
    pool, dtype, ins = pool_of(x.dims, site.attrs), x.dtype, site.ins.inputs
    width = width_for(pool.images.inner, [dtype], site.traits)
    kind = register_type(dtype, width)
    chosen = f"{kind} g = {load(dtype, width, 'ddx', pool.at_input)}; s = {_masked(width, 'g', 's')};"
    maximum = _first_maximum(pool, dtype, width, chosen)
    body = f"{kind} s = 0; {maximum} {store(dtype, width, 'out', pool.at_output, 's')}"
    pointers = [reads(name, v, dtype) for name, v in zip(("x", "y", "ddx"), ins, strict=True)]
    pointers.append(writes("out", site.ins.outputs[0], dtype))
    title = "what lies at maxima"
    return over_cells(pool.results.digits("o"), width, pointers, body, site.traits, title, pool.images.size)


@rule("MaxPoolWithArgmax")
def _max_pool_with_argmax(site: Site) -> Sequence[Launch] | None:
    (spec,), dtype = site.inputs, site.inputs[0].dtype
    if not pooled(dtype, site.traits):
        return None
    pool, numbers = pool_of(spec.dims, site.attrs), site.attrs["index_dtype"]
    image = pool.images.size // max(1, pool.images.images)
    kind = register_type(dtype, 1)
    tap = f"""INDEX at = {pool.at_input}; {kind} v = {load(dtype, 1, "x", "at")};
      if (where < 0 || v > s || (v != v && s == s)) {{ s = v; where = at; }}"""
    offset = "" if site.attrs["include_batch"] else f" - (INDEX) n * {image}"
    body = f"{kind} s = {lowest(dtype)}; INDEX where = -1; {loops(pool.axes, tap)}"
    pointers: list[Pointer] = [reads("x", site.ins.inputs[0], dtype)]
    if site.outputs[0] is not None:
        body += store(dtype, 1, "y", pool.at_output, "s")
        pointers.append(writes("y", site.ins.outputs[0], dtype))
    if site.outputs[1] is not None:
        kind = register_type(numbers, 1)
        body += store(numbers, 1, "a", pool.at_output, f"({kind})(where < 0 ? 0 : where{offset})")
        pointers.append(writes("a", site.ins.outputs[1], numbers))
    return over_cells(pool.results.digits("o"), 1, pointers, body, site.traits, "maxima and where", pool.images.size)


# -- the mean --------------------------------------------------------------------------------------------------------


@rule("AvgPool")
def _avg_pool(site: Site) -> Sequence[Launch] | None:
    (spec,), dtype = site.inputs, site.inputs[0].dtype
    if site.outputs[0] is None or not pooled(dtype, site.traits):
        return None
    pool = pool_of(spec.dims, site.attrs)
    width = width_for(pool.images.inner, [dtype], site.traits)
    kind, scalar = register_type(dtype, width), register_type(dtype, 1)
    tap = f"s += {load(dtype, width, 'x', pool.at_input)};"
    mean = f"s / ({kind})(({scalar}) {cells_in(pool.axes)})"
    body = f"{kind} s = 0; {loops(pool.axes, tap)} {store(dtype, width, 'y', pool.at_output, mean)}"
    pointers = [reads("x", site.ins.inputs[0], dtype), writes("y", site.ins.outputs[0], dtype)]
    return over_cells(pool.results.digits("o"), width, pointers, body, site.traits, "means", pool.images.size)


@rule("AvgPoolGrad")
def _avg_pool_grad(site: Site) -> Sequence[Launch] | None:
    spec = site.outputs[0]
    if spec is None or not pooled(spec.dtype, site.traits):
        return None
    pool, dtype = pool_of(spec.dims, site.attrs), spec.dtype
    width = width_for(pool.images.inner, [dtype], site.traits)
    kind, scalar = register_type(dtype, width), register_type(dtype, 1)
    tap = f"s += {load(dtype, width, 'dy', pool.at_output)} / ({kind})(({scalar}) {cells_in(pool.axes)});"
    body = f"{kind} s = 0; {gathering(pool.axes, tap)} {store(dtype, width, 'dx', pool.at_input, 's')}"
    pointers = [reads("dy", site.ins.inputs[1], dtype), writes("dx", site.ins.outputs[0], dtype)]
    return over_cells(
        pool.images.digits("i"), width, pointers, body, site.traits, "gradient of means", pool.results.size
    )
