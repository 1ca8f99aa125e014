"""Local response normalisation: division by a power of the sum of squares of neighbouring channels.

Policy: each sum is made anew, for a running sum would lose digits and spread a NaN.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.dtypes import DType
from graphflow_opencl.products import computable, working_dtype
from graphflow_opencl.registers import literal, load, register_type, store
from graphflow_opencl.table import Launch, Scratch, Site, rule
from graphflow_opencl.windows import over_cells, reads, writes


def _sum(channels: int, radius: int, term: str) -> str:
    """C that adds `term` for each channel k beside channel c to s."""
    return f"for (int k = max(0, c - {radius}); k < min({channels}, c + {radius + 1}); k++) {{ {term} }}"


def _norm(attrs: dict[str, Any], dtype: DType, total: str) -> str:
    return f"({literal(dtype, attrs['bias'])} + {literal(dtype, attrs['alpha'])} * {total})"


def _shape(site: Site) -> tuple[int, int, int]:
    """Pixels, channels, and the radius as far as there are channels."""
    dims = list(site.dims_out())
    pixels = 1
    for d in dims[:-1]:
        pixels *= d
    return pixels, dims[-1], min(int(site.attrs["depth_radius"]), max(dims[-1] - 1, 0))


@rule("LRN")
def _lrn(site: Site) -> Sequence[Launch] | None:
    dtype = site.inputs[0].dtype
    if site.outputs[0] is None or not computable(dtype, site.traits):
        return None
    pixels, channels, radius = _shape(site)
    kind = register_type(dtype, 1)
    term = f"{kind} v = {load(dtype, 1, 'x', f'(INDEX) p * {channels} + k')}; s += v * v;"
    value = f"{load(dtype, 1, 'x', 'e')} * pow({_norm(site.attrs, dtype, 's')}, {literal(dtype, -site.attrs['beta'])})"
    body = f"{kind} s = 0; {_sum(channels, radius, term)} {store(dtype, 1, 'y', 'e', value)}"
    pointers = [reads("x", site.ins.inputs[0], dtype), writes("y", site.ins.outputs[0], dtype)]
    return over_cells([("p", pixels), ("c", channels)], 1, pointers, body, site.traits, "response normalisation")


@rule("LRNGrad")
def _lrn_grad(site: Site) -> Sequence[Launch] | None:
    spec = site.outputs[0]
    if spec is None or not computable(spec.dtype, site.traits):
        return None
    pixels, channels, radius = _shape(site)
    dtype, wide, attrs = spec.dtype, working_dtype(spec.dtype), site.attrs
    kind, nbytes = register_type(dtype, 1), pixels * channels * wide.size
    norms, shares = Scratch(0, nbytes), Scratch(1, nbytes)
    dy, x, y = site.ins.inputs
    digits = [("p", pixels), ("c", channels)]
    term = f"{kind} v = {load(dtype, 1, 'x', f'(INDEX) p * {channels} + k')}; s += v * v;"
    body = f"{kind} s = 0; {_sum(channels, radius, term)} {kind} norm = {_norm(attrs, wide, 's')}; norms[e] = norm; "
    body += f"shares[e] = {load(dtype, 1, 'dy', 'e')} * {load(dtype, 1, 'y', 'e')} / norm;"
    pointers = [reads("dy", dy, dtype), reads("x", x, dtype), reads("y", y, dtype)]
    pointers += [writes("norms", norms, wide), writes("shares", shares, wide)]
    found = over_cells(digits, 1, pointers, body, site.traits, "norms of responses")
    body = f"{kind} s = 0; {_sum(channels, radius, f's += shares[(INDEX) p * {channels} + k];')} "
    scale = literal(wide, 2 * attrs["alpha"] * attrs["beta"])
    value = f"{load(dtype, 1, 'dy', 'e')} * pow(norms[e], {literal(wide, -attrs['beta'])})"
    value += f" - {scale} * {load(dtype, 1, 'x', 'e')} * s"
    body += store(dtype, 1, "dx", "e", value)
    pointers = [reads("dy", dy, dtype), reads("x", x, dtype), reads("norms", norms, wide)]
    pointers += [reads("shares", shares, wide), writes("dx", site.ins.outputs[0], dtype)]
    return [*found, *over_cells(digits, 1, pointers, body, site.traits, "gradient of responses")]
