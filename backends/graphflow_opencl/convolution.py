"""Convolutions of any spatial rank, and their gradients, as sums of products over windows of padded images.

Policy: images are copied once into scratch that is padded and has its channels last, unless they lie like that already;
then every window is inside, and one affine address serves forward and both gradients.  The gradient of the input reads
the output's gradient, spread out by the strides, through the filter in reverse: it gathers, so nothing is added by two
items.  The gradient of the filter sums over all windows in parts of a fixed number.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from graphflow.dtypes import DType
from graphflow.numerics.windows import AxisWindow, channels_last_sizes, is_channels_first, window_axes
from graphflow_opencl.affine import Axes, Epilogue, Operand, Product, axes, launch, pointer
from graphflow_opencl.products import computable, product_launches, working_dtype
from graphflow_opencl.registers import load, storage_type, store
from graphflow_opencl.table import Launch, Scratch, Site, Traits, rule

SHARES = 16  # items for each core
IMAGES = 0  # the number of the scratch for padded images; a product's own come after it


class Images(NamedTuple):
    """A batch of images in memory, and how its spatial axes are laid out for windows."""

    operand: Operand
    sizes: tuple[int, ...]  # batch, spatial, channels
    first: bool  # whether the channels come first in memory

    @property
    def strides(self) -> tuple[int, ...]:
        """Of batch, spatial axes and channels."""
        batch, *spatial, channels = self.sizes
        order = (batch, channels, *spatial) if self.first else self.sizes
        strides = [prod(order[i + 1 :]) for i in range(len(order))]
        return (strides[0], *strides[2:], strides[1]) if self.first else tuple(strides)


class Lay(NamedTuple):
    """How a spatial axis is laid out: `length` places, of which `offset + i * step` holds element i, others zero."""

    length: int
    offset: int
    step: int


def images_of(argument: Any, dims: Sequence[int | None] | None, dtype: DType, data_format: str) -> Images:
    """The images that a value holds."""
    assert dims is not None
    sizes = channels_last_sizes([int(d or 0) for d in dims], data_format)
    return Images(Operand(argument, dtype), sizes, is_channels_first(data_format))


def laid_out(images: Images, lays: Sequence[Lay], dtype: DType, traits: Traits) -> tuple[Images, list[Launch]]:
    """The images with their axes laid out like that, channels last, and the launch that makes it if one is needed."""
    batch, *spatial, channels = images.sizes
    if all(x == Lay(n, 0, 1) for x, n in zip(lays, spatial, strict=True)) and (not images.first or channels == 1):
        return images._replace(first=False), []
    sizes = (batch, *(x.length for x in lays), channels)
    scratch = Operand(Scratch(IMAGES, prod(sizes) * dtype.np.itemsize), dtype)
    return Images(scratch, sizes, False), [_lay_out(images, lays, scratch, traits)] if prod(sizes) else []


def _lay_out(images: Images, lays: Sequence[Lay], to: Operand, traits: Traits) -> Launch:
    """Copy images into their layout, some lines of pixels (on a CPU) or an element (on a GPU) by each item."""
    batch, *spatial, channels = images.sizes
    *outer, last = lays
    line, lines = last.length * channels, batch * prod(x.length for x in outer)
    strides, x = images.strides, images.operand
    index = "int" if max(prod(images.sizes), lines * line) < 2**30 else "long"
    places, inside, rest = [], ["1"], "n"
    for d in reversed(range(len(outer))):
        at = outer[d]
        places.append(f"int q{d} = {rest} % {at.length} - {at.offset}; {rest} /= {at.length};")
        places.append(f"int i{d} = q{d} / {at.step};")
        inside.append(f"q{d} >= 0 && i{d} * {at.step} == q{d} && i{d} < {spatial[d]}")
    base = f"n * ({index}) {strides[0]}" + "".join(f" + i{d} * {strides[1 + d]}" for d in range(len(outer)))
    gpu = traits.schedule == "gpu"
    each = 1 if gpu else max(1, lines // (traits.units * SHARES))  # lines
    elements = f"int e = unit % {line};" if gpu else f"for (int e = 0; e < {line}; e++)"
    text = f"""  int begin = unit{f" / {line}" if gpu else ""} * {each};
  for (int number = begin; number < min(begin + {each}, {lines}); number++) {{
    int n = number;
    {" ".join(places)}
    int ok = {" && ".join(inside)};
    {index} from = {base};
    __global {storage_type(to.dtype)} *to = y + ({index}) number * {line};
    {elements} {{ {_laid_element(images, spatial[-1], last, to.dtype)} }}
  }}"""
    listed = [pointer("x", x.argument, x.dtype), pointer("y", to.argument, to.dtype, True)]
    units = line * lines if gpu else -(-lines // each)
    return launch(text, units, traits.group if gpu else 1, listed, (), "pads images")


def _laid_element(images: Images, size: int, lay: Lay, dtype: DType) -> str:
    """The statements that store element e of a line, which begins at `from` if it is `ok`, and is zero if not."""
    x, strides, channels = images.operand, images.strides, images.sizes[-1]
    if lay.step == 1 and not images.first:
        first, count = lay.offset * channels, size * channels
        value = f"ok && e >= {first} && e < {first + count} ? {load(x.dtype, 1, 'x', f'from + (e - {first})')} : 0"
        return store(dtype, 1, "to", "e", value)
    head = f"int q = e / {channels} - {lay.offset}, i = q / {lay.step}, channel = e % {channels};"
    at_x = f"from + i * {strides[-2]} + channel * {strides[-1]}"
    held = f"ok && q >= 0 && i * {lay.step} == q && i < {size}"
    return head + store(dtype, 1, "to", "e", f"{held} ? {load(x.dtype, 1, 'x', at_x)} : 0")


# -- the three sums --------------------------------------------------------------------------------------------------


class Conv(NamedTuple):
    """One convolution: its images, its filter, its results, and the windows between them."""

    axes: tuple[AxisWindow, ...]
    images: Images
    filter: tuple[int, ...]  # window, channels, filters
    results: Images

    def windows(self) -> list[Lay]:
        """How images are laid out for the windows to be inside."""
        found = []
        for axis in self.axes:
            span = (axis.out - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
            whole = not axis.before and span <= axis.size
            found.append(Lay(axis.size if whole else max(span, 0), axis.before, 1))
        return found

    def mirrored(self) -> list[Lay]:
        """How the gradient of the results is laid out for the filter in reverse."""
        return [Lay(a.size + (a.kernel - 1) * a.dilation, (a.kernel - 1) * a.dilation - a.before, a.stride)
                for a in self.axes]  # fmt: skip


def _conv(site: Site, images: int | None, window: int | None, results: int | None) -> Conv:
    """The geometry from the positions of three tensors among the inputs; None stands for the output."""

    def of(place: int | None) -> tuple[int, Any]:
        return (site.ins.outputs[0], site.outputs[0]) if place is None else (site.ins.inputs[place], site.inputs[place])

    (x, x_spec), (_, w_spec), (y, y_spec) = of(images), of(window), of(results)
    data_format = site.attrs["data_format"]
    taps = tuple(int(d) for d in w_spec.dims)
    source = images_of(x, x_spec.dims, x_spec.dtype, data_format)
    geometry = window_axes(
        source.sizes[1:-1], taps[:-2], site.attrs["strides"], site.attrs["dilations"], site.attrs["padding"]
    )
    return Conv(geometry, source, taps, images_of(y, y_spec.dims, y_spec.dtype, data_format))


def _rows(images: Images) -> Axes:
    """All pixels of all images."""
    *digits, _ = zip(images.sizes, images.strides, strict=True)
    return axes(*digits)


def _windows(conv: Conv, images: Images) -> tuple[Axes, Axes]:
    """Where windows begin, and where the elements of one are, in images that are laid out."""
    strides = images.strides
    begins = [(a.out, a.stride * s) for a, s in zip(conv.axes, strides[1:-1], strict=True)]
    taps = [(a.kernel, a.dilation * s) for a, s in zip(conv.axes, strides[1:-1], strict=True)]
    return axes((images.sizes[0], strides[0]), *begins), axes(*taps, (images.sizes[-1], 1))


def conv_launches(
    site: Site, bias: int | None = None, activation: Any = None, into: int | None = None
) -> list[Launch] | None:
    """The launches of a convolution, with an epilogue as `matmul_launches` has it; None if it runs on the host."""
    if site.outputs[0] is None or not computable(site.outputs[0].dtype, site.traits):
        return None
    conv = _conv(site, 0, 1, None)
    if not prod(conv.results.sizes):
        return []
    dtype = working_dtype(conv.images.operand.dtype)
    images, before = laid_out(conv.images, conv.windows(), dtype, site.traits)
    begins, taps = _windows(conv, images)
    filters = conv.filter[-1]
    result = conv.results.operand if into is None else conv.results.operand._replace(argument=into)
    product = Product(
        begins, taps, axes((prod(conv.filter[:-1]), filters)), axes((filters, 1)),
        _rows(conv.results), axes((filters, conv.results.strides[-1])),
    )  # fmt: skip
    weights = Operand(site.ins.inputs[1], result.dtype)
    operands = (images.operand, weights, result)
    return [*before, *product_launches(product, operands, site.traits, Epilogue(bias, activation), IMAGES + 1)]


@rule("Conv2D", "Conv3D")
def _forward(site: Site) -> Sequence[Launch] | None:
    return conv_launches(site)


@rule("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def _input_gradient(site: Site) -> Sequence[Launch] | None:
    if site.outputs[0] is None or not computable(site.outputs[0].dtype, site.traits):
        return None
    conv = _conv(site, None, 1, 2)
    if not prod(conv.images.sizes):
        return []
    dtype = working_dtype(conv.images.operand.dtype)
    grads, before = laid_out(conv.results, conv.mirrored(), dtype, site.traits)
    channels, filters = conv.filter[-2:]
    strides = grads.strides
    places = [(a.size, s) for a, s in zip(conv.axes, strides[1:-1], strict=True)]
    taps = [(a.kernel, a.dilation * s) for a, s in zip(conv.axes, strides[1:-1], strict=True)]
    steps = [prod(conv.filter[d + 1 :]) for d in range(len(conv.axes))]
    last = sum((a.kernel - 1) * s for a, s in zip(conv.axes, steps, strict=True))
    product = Product(
        axes((grads.sizes[0], strides[0]), *places),
        axes(*taps, (filters, 1)),
        axes(*((a.kernel, -s) for a, s in zip(conv.axes, steps, strict=True)), (filters, 1)),
        axes((channels, filters)),
        _rows(conv.images),
        axes((channels, conv.images.strides[-1])),
    )
    weights = Operand(site.ins.inputs[1], conv.images.operand.dtype, max(last, 0))
    operands = (grads.operand, weights, conv.images.operand)
    return [*before, *product_launches(product, operands, site.traits, free=IMAGES + 1)]


@rule("Conv2DBackpropFilter", "Conv3DBackpropFilterV2")
def _filter_gradient(site: Site) -> Sequence[Launch] | None:
    spec = site.outputs[0]
    if spec is None or not computable(spec.dtype, site.traits):
        return None
    conv = _conv(site, 0, None, 2)
    if not prod(conv.filter):
        return []
    images, before = laid_out(conv.images, conv.windows(), working_dtype(spec.dtype), site.traits)
    begins, taps = _windows(conv, images)
    filters = conv.filter[-1]
    product = Product(
        taps, begins, _rows(conv.results), axes((filters, conv.results.strides[-1])),
        axes((prod(conv.filter[:-1]), filters)), axes((filters, 1)),
    )  # fmt: skip
    operands = (images.operand, conv.results.operand, Operand(site.ins.outputs[0], spec.dtype))
    return [*before, *product_launches(product, operands, site.traits, free=IMAGES + 1)]
