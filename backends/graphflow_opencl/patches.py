"""Windows of images laid out as depth, and the way back.

Policy: taking patches moves bits and writes zero beside the image; its gradient gathers.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from graphflow.dtypes import as_dtype
from graphflow.numerics.windows import AxisWindow, window_axes
from graphflow_opencl.products import computable
from graphflow_opencl.registers import load, register_type, store
from graphflow_opencl.table import Launch, Site, rule
from graphflow_opencl.windows import Field, gathering, over_cells, places, reads, tap_number, width_for, writes

WORDS = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}  # elements are moved as these


def _axes(dims: Sequence[Any], attrs: dict[str, Any]) -> tuple[AxisWindow, ...]:
    return window_axes(dims[1:3], attrs["ksizes"], attrs["strides"], attrs["rates"], attrs["padding"])


@rule("ExtractImagePatches")
def _patches(site: Site) -> Sequence[Launch] | None:
    (spec,) = site.inputs
    parts = max(1, spec.dtype.size // 8)  # complex128 is two words
    if site.outputs[0] is None or spec.dtype.kind in ("string", "resource"):
        return None
    assert spec.dims is not None
    batch, *sizes, channels = (int(d or 0) for d in spec.dims)
    word, axes = as_dtype(WORDS[spec.dtype.size // parts]), _axes(spec.dims, site.attrs)
    images = Field(batch, tuple(sizes), channels * parts)
    width = width_for(images.inner, [word], site.traits)
    kind = register_type(word, width)
    digits = [("n", batch), *((f"o{d}", a.out) for d, a in enumerate(axes))]
    digits += [*((f"j{d}", a.kernel) for d, a in enumerate(axes)), ("c", images.inner)]
    inside = " && ".join(f"i{d} >= 0 && i{d} < {a.size}" for d, a in enumerate(axes))
    body = "".join(f"int i{d} = o{d} * {a.stride} + j{d} * {a.dilation} - {a.before}; " for d, a in enumerate(axes))
    value = f"({inside}) ? {load(word, width, 'x', images.at(places('i', axes)))} : ({kind})(0)"
    body += f"{kind} v = {value}; {store(word, width, 'y', f'e * {width}', 'v')}"
    pointers = [reads("x", site.ins.inputs[0], word), writes("y", site.ins.outputs[0], word)]
    return over_cells(digits, width, pointers, body, site.traits, "patches of images", images.size)


@rule("ExtractImagePatchesGrad")
def _patches_gradient(site: Site) -> Sequence[Launch] | None:
    spec = site.outputs[0]
    if spec is None or not computable(spec.dtype, site.traits):
        return None
    assert spec.dims is not None
    batch, *sizes, channels = (int(d or 0) for d in spec.dims)
    dtype, axes = spec.dtype, _axes(spec.dims, site.attrs)
    depth = prod(a.kernel for a in axes) * channels
    images = Field(batch, tuple(sizes), channels)
    patches = Field(batch, tuple(a.out for a in axes), depth)
    width = width_for(channels, [dtype], site.traits)
    kind = register_type(dtype, width)
    at = f"{patches.at(places('o', axes))} + {tap_number(axes)} * {channels}"
    body = f"{kind} s = 0; {gathering(axes, 's += ' + load(dtype, width, 'dy', at) + ';')} "
    body += store(dtype, width, "dx", images.at(places("i", axes)), "s")
    pointers = [reads("dy", site.ins.inputs[1], dtype), writes("dx", site.ins.outputs[0], dtype)]
    return over_cells(images.digits("i"), width, pointers, body, site.traits, "gradient of patches", patches.size)
