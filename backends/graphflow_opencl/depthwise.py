"""Convolutions in which every channel has filters of its own, and both of their gradients.

Policy: there is no sum over channels, so each item sums over the taps of one window, for as many channels at a time as
lie side by side.  The gradient of the filter is summed image by image, in parts of a fixed number that are then added
in their order.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from graphflow.dtypes import DType
from graphflow.numerics.windows import AxisWindow, channels_last_sizes, is_channels_first, window_axes
from graphflow_opencl.products import computable, working_dtype
from graphflow_opencl.registers import load, register_type, store
from graphflow_opencl.table import Launch, Scratch, Site, rule
from graphflow_opencl.windows import gathering, loops, over_cells, reads, tap_number, width_for, writes

PARTS = 16  # into which the images are cut for the gradient of the filter


class Depthwise(NamedTuple):
    """One convolution of each channel by itself."""

    axes: tuple[AxisWindow, ...]
    inputs: tuple[int, ...]  # batch, spatial, channels
    outputs: tuple[int, ...]
    multiplier: int
    first: bool  # whether the channels come first in memory

    def at(self, sizes: tuple[int, ...], prefix: str, channel: str) -> str:
        """The address of a cell (n, prefix0, ..., channel) of images of that size."""
        _, *spatial, channels = sizes
        order = [channels, *spatial] if self.first else [*spatial, channels]
        names = [f"{prefix}{d}" for d in range(len(spatial))]
        names = [channel, *names] if self.first else [*names, channel]
        terms = [f"({name}) * {prod(order[i + 1 :])}" for i, name in enumerate(names)]
        return f"((INDEX) n * {prod(order)} + {' + '.join(terms)})"

    def digits(self, sizes: tuple[int, ...], prefix: str) -> list[tuple[str, int]]:
        """The digits of those images, in the order of memory."""
        batch, *spatial, channels = sizes
        places = [(f"{prefix}{d}", n) for d, n in enumerate(spatial)]
        return [("n", batch), ("c", channels), *places] if self.first else [("n", batch), *places, ("c", channels)]

    def width(self, dtype: DType, site: Site) -> int:
        """How many channels are a vector."""
        if self.first or self.multiplier != 1:
            return 1
        return width_for(self.inputs[-1], [dtype], site.traits)

    @property
    def reach(self) -> int:
        """The number of elements of the larger images."""
        return max(prod(self.inputs), prod(self.outputs))


def _geometry(site: Site, images: Any, window: Any, results: Any) -> Depthwise:
    data_format, attrs = site.attrs["data_format"], site.attrs
    inputs = channels_last_sizes(images.dims, data_format)
    outputs = channels_last_sizes(results.dims, data_format)
    taps = window.dims[:-2]
    axes = window_axes(inputs[1:-1], taps, attrs["strides"], attrs["dilations"], attrs["padding"])
    return Depthwise(axes, inputs, outputs, int(window.dims[-1]), is_channels_first(data_format))


def _ready(site: Site) -> bool:
    return site.outputs[0] is not None and computable(site.outputs[0].dtype, site.traits)


@rule("DepthwiseConv2dNative")
def _forward(site: Site) -> Sequence[Launch] | None:
    if not _ready(site):
        return None
    x, w = site.inputs
    g, dtype = _geometry(site, x, w, site.outputs[0]), x.dtype
    width = g.width(dtype, site)
    kind = register_type(dtype, width)
    pixel = load(dtype, width, "x", g.at(g.inputs, "i", f"c / {g.multiplier}"))
    tap = load(dtype, width, "w", f"{tap_number(g.axes)} * {g.outputs[-1]} + c")
    body = f"{kind} s = 0; {loops(g.axes, f's += {pixel} * {tap};')}"
    body += store(dtype, width, "y", g.at(g.outputs, "o", "c"), "s")
    pointers = [reads("x", site.ins.inputs[0], dtype), reads("w", site.ins.inputs[1], dtype)]
    pointers.append(writes("y", site.ins.outputs[0], dtype))
    return over_cells(g.digits(g.outputs, "o"), width, pointers, body, site.traits, "depthwise convolution", g.reach)


@rule("DepthwiseConv2dNativeBackpropInput")
def _input_gradient(site: Site) -> Sequence[Launch] | None:
    if not _ready(site):
        return None
    _, w, dy = site.inputs
    g, dtype = _geometry(site, site.outputs[0], w, dy), dy.dtype
    width = g.width(dtype, site)
    kind = register_type(dtype, width)
    grad = load(dtype, width, "dy", g.at(g.outputs, "o", f"c * {g.multiplier} + m"))
    tap = load(dtype, width, "w", f"{tap_number(g.axes)} * {g.outputs[-1]} + c * {g.multiplier} + m")
    term = f"for (int m = 0; m < {g.multiplier}; m++) s += {grad} * {tap};"
    body = f"{kind} s = 0; {gathering(g.axes, term)} {store(dtype, width, 'dx', g.at(g.inputs, 'i', 'c'), 's')}"
    pointers = [reads("w", site.ins.inputs[1], dtype), reads("dy", site.ins.inputs[2], dtype)]
    pointers.append(writes("dx", site.ins.outputs[0], dtype))
    title = "gradient of a depthwise convolution's input"
    return over_cells(g.digits(g.inputs, "i"), width, pointers, body, site.traits, title, g.reach)


@rule("DepthwiseConv2dNativeBackpropFilter")
def _filter_gradient(site: Site) -> Sequence[Launch] | None:
    if not _ready(site):
        return None
    x, _, dy = site.inputs
    spec = site.outputs[0]
    assert spec is not None and spec.dims is not None
    g, dtype = _geometry(site, x, spec, dy), x.dtype
    wide, width = working_dtype(dtype), g.width(dtype, site)
    kind, taps, channels = (
        register_type(dtype, width),
        [(f"j{d}", a.kernel) for d, a in enumerate(g.axes)],
        g.outputs[-1],
    )
    size, batch = prod(int(d) for d in spec.dims if d is not None), g.inputs[0]
    parts = max(1, min(PARTS, batch))
    each = -(-batch // parts)
    pixel = load(dtype, width, "x", g.at(g.inputs, "i", f"c / {g.multiplier}"))
    grad = load(dtype, width, "dy", g.at(g.outputs, "o", "c"))
    body = f"{kind} s = 0; for (int n = part * {each}; n < min({batch}, (part + 1) * {each}); n++) {{ {kind} t = 0; "
    body += _through_outputs(g.axes, f"t += {pixel} * {grad};") + " s += t; }"
    body += store(wide, width, "p", f"(INDEX) part * {size} + {tap_number(g.axes)} * {channels} + c", "s")
    partial = Scratch(0, parts * size * wide.size)
    pointers = [
        reads("x", site.ins.inputs[0], dtype),
        reads("dy", site.ins.inputs[2], dtype),
        writes("p", partial, wide),
    ]
    digits = [("part", parts), *taps, ("c", channels)]
    title = "gradient of a depthwise filter"
    found = over_cells(digits, width, pointers, body, site.traits, title, max(g.reach, parts * size))
    kind = register_type(wide, 1)
    body = f"{kind} s = 0; for (int part = 0; part < {parts}; part++) s += p[(INDEX) part * {size} + i]; "
    pointers = [reads("p", partial, wide), writes("dw", site.ins.outputs[0], dtype)]
    body += store(dtype, 1, "dw", "i", "s")
    return [*found, *over_cells([("i", size)], 1, pointers, body, site.traits, f"adds {parts} parts", parts * size)]


def _through_outputs(axes: Sequence[AxisWindow], body: str) -> str:
    """For tap (j0, ...): `body` for each output (o0, ...) for which it is inside the image, at (i0, ...)."""
    head, tail = "", ""
    for d, a in enumerate(axes):
        head += f"int q{d} = j{d} * {a.dilation} - {a.before}; "
        head += f"for (int o{d} = 0; o{d} < {a.out}; o{d}++) {{ int i{d} = o{d} * {a.stride} + q{d}; "
        head += f"if (i{d} < 0 || i{d} >= {a.size}) continue; "
        tail += "}"
    return head + body + tail
