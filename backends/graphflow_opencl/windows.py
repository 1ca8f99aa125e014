"""Kernels over the cells of images, and loops over the windows that hold a cell.

Policy: an item computes cells one after the other (on a CPU), or one cell (on a GPU); channels that lie side by side
are a vector where their number allows.  Loops over a window visit only elements inside the image, in the order in which
the NumPy backend does, so that sums have its bits.  Gradients gather: for a cell of the input they visit the outputs
whose windows hold it.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from graphflow.dtypes import DType
from graphflow.numerics.windows import AxisWindow
from graphflow_opencl.affine import launch
from graphflow_opencl.registers import REGISTERS, storage_type
from graphflow_opencl.table import Launch, Scratch, Traits

SHARES = 16  # items for each core


class Pointer(NamedTuple):
    """A parameter of a kernel."""

    name: str
    argument: int | Scratch
    stored: str  # the C type of an element
    written: bool = False


def reads(name: str, argument: Any, dtype: DType) -> Pointer:
    """A pointer to elements that are read."""
    return Pointer(name, argument, storage_type(dtype))


def writes(name: str, argument: Any, dtype: DType) -> Pointer:
    """A pointer to elements that are written."""
    return Pointer(name, argument, storage_type(dtype), True)


def width_for(channels: int, dtypes: Sequence[DType], traits: Traits) -> int:
    """How many channels are a vector: all dtypes must be held in registers of one size, of 4 or of 8 bytes."""
    sizes = {REGISTERS[d.name].size for d in dtypes}
    if traits.schedule == "gpu" or len(sizes) != 1 or min(sizes) < 4:
        return 1
    width = traits.width * 4 // sizes.pop()
    while channels % width:
        width //= 2
    return width


def over_cells(
    digits: Sequence[tuple[str, int]],
    width: int,
    pointers: Sequence[Pointer],
    body: str,
    traits: Traits,
    title: str,
    reach: int = 0,
) -> list[Launch]:
    """One launch that runs `body` for each place of the digits, the outermost first; the last counts elements.

    The body finds each digit under its name, the last as its first element of `width`; `reach` is the number of
    elements of the largest array.
    """
    sizes = [n for _, n in digits]
    total = prod(sizes) // width
    if not total:
        return []
    index = "int" if max(prod(sizes), reach) < 2**31 - 2**16 else "long"
    gpu = traits.schedule == "gpu"
    each = 1 if gpu else max(1, total // (traits.units * SHARES))
    lines, inner = [], 1
    for place in reversed(range(len(digits))):
        name, n = digits[place]
        n = n // width if place == len(digits) - 1 else n
        scale = f" * {width}" if place == len(digits) - 1 and width > 1 else ""
        digit = f"(e / {inner}) % {n}" if place else f"e / {inner}"
        lines.append(f"int {name} = ({digit}){scale};")
        inner *= n
    text = f"""  {index} begin = ({index}) unit * {each}, end = min(begin + {each}, ({index}) {total});
  for ({index} e = begin; e < end; e++) {{
    {" ".join(lines)}
    {body.replace("INDEX", index)}
  }}"""
    listed = [(f"__global {'' if p.written else 'const '}{p.stored} *", p.name, p.argument) for p in pointers]
    written = [p.argument for p in pointers if p.written]
    return [launch(text, -(-total // each), traits.group if gpu else 1, listed, written, title)]


# -- addresses and loops ---------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """Images as windows see them: images, spatial axes, and what lies beneath each pixel side by side."""

    images: int
    spatial: tuple[int, ...]
    inner: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.images * prod(self.spatial) * self.inner

    def digits(self, prefix: str) -> list[tuple[str, int]]:
        """The digits of its cells: n, the prefix with the number of each axis, c."""
        return [("n", self.images), *((f"{prefix}{d}", n) for d, n in enumerate(self.spatial)), ("c", self.inner)]

    def at(self, places: Sequence[str]) -> str:
        """The address of the cell at these places, in image n and channel c."""
        strides = [prod(self.spatial[d + 1 :]) * self.inner for d in range(len(self.spatial))]
        whole = prod(self.spatial) * self.inner
        return (
            f"((INDEX) n * {whole}" + "".join(f" + ({p}) * {s}" for p, s in zip(places, strides, strict=True)) + " + c)"
        )


def loops(axes: Sequence[AxisWindow], body: str) -> str:
    """For output (o0, o1, ...): `body` for each tap (j0, ...) inside the image, whose places are (i0, ...)."""
    return _nested([_taps_of_output(d, a) for d, a in enumerate(axes)], body)


def gathering(axes: Sequence[AxisWindow], body: str) -> str:
    """For input (i0, i1, ...): `body` for each tap (j0, ...) that reaches it, from outputs (o0, ...)."""
    return _nested([_taps_of_input(d, a) for d, a in enumerate(axes)], body)


def _nested(heads: Sequence[str], body: str) -> str:
    """Loops in one another; each head ends with the beginning of what it repeats."""
    return "".join(heads) + body + "}" * len(heads)


def _taps_of_output(d: int, a: AxisWindow) -> str:
    base = f"int b{d} = o{d} * {a.stride} - {a.before}; "
    if a.dilation == 1:
        return (
            f"{base}for (int j{d} = max(0, -b{d}); j{d} < min({a.kernel}, {a.size} - b{d}); j{d}++) {{ "
            f"int i{d} = b{d} + j{d}; "
        )
    return (
        f"{base}for (int j{d} = 0; j{d} < {a.kernel}; j{d}++) {{ int i{d} = b{d} + j{d} * {a.dilation}; "
        f"if (i{d} < 0 || i{d} >= {a.size}) continue; "
    )


def _taps_of_input(d: int, a: AxisWindow) -> str:
    place = f"int p{d} = i{d} + {a.before}; "
    if a.dilation == 1:
        return (
            f"{place}for (int j{d} = max(p{d} % {a.stride}, p{d} - {(a.out - 1) * a.stride}); "
            f"j{d} < {a.kernel} && j{d} <= p{d}; j{d} += {a.stride}) {{ int o{d} = (p{d} - j{d}) / {a.stride}; "
        )
    return (
        f"{place}for (int j{d} = 0; j{d} < {a.kernel}; j{d}++) {{ "
        f"int o{d} = (p{d} - j{d} * {a.dilation}) / {a.stride}; "
        f"if (p{d} < j{d} * {a.dilation} || o{d} >= {a.out} || "
        f"o{d} * {a.stride} + j{d} * {a.dilation} != p{d}) continue; "
    )


def places(prefix: str, axes: Sequence[AxisWindow]) -> list[str]:
    """The names of the places along each axis."""
    return [f"{prefix}{d}" for d in range(len(axes))]


def tap_number(axes: Sequence[AxisWindow]) -> str:
    """The number of the tap (j0, ...) within its window."""
    found = "0"
    for d, a in enumerate(axes):
        found = f"({found} * {a.kernel} + j{d})" if d else "j0"
    return found


def cells_in(axes: Sequence[AxisWindow]) -> str:
    """How many elements of the image the window of output (o0, ...) holds, one at least."""
    counts = [
        f"max(0, min({a.kernel}, {a.size} - o{d} * {a.stride} + {a.before}) - max(0, {a.before} - o{d} * {a.stride}))"
        for d, a in enumerate(axes)
    ]
    return f"max(1, {' * '.join(counts)})"
