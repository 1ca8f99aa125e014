"""Rules of slices and their gradients.

Policy: bounds that are known are constants of the kernel; where only a run knows at which place a slice of known size
begins, the kernel reads it and checks it.  A slice whose size only a run knows is the host's.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphflow.errors import InvalidArgumentError
from graphflow_opencl.axes import Axis, Extra, plain, strides, window
from graphflow_opencl.checking import checked, numbers, report, wrapped
from graphflow_opencl.movement import Launches, plain_move
from graphflow_opencl.table import Site, rule


class Cut(NamedTuple):
    """What a part of a key takes of one axis: `length` elements, every `step`th, from `start` on."""

    start: int
    step: int
    length: int
    bound: int = -1  # the number of the bound that says where the one element is, known in a run alone
    stays: bool = True  # whether the axis is one of the slice's


def _cuts(key: Sequence[Any], dims: Sequence[int], bounds: Sequence[Any]) -> list[Cut | None] | None:
    """A cut for each axis, None for each new one; None in all if a run decides about sizes."""
    given = iter(range(len(bounds)))
    missing = len(dims) - sum(1 for p in key if p is not None and not isinstance(p, str) or p == "t")
    sizes = iter(dims)
    out: list[Cut | None] = []
    for part in key:
        if part is None:
            out.append(None)
        elif part == "...":
            out += [Cut(0, 1, next(sizes)) for _ in range(missing)]
        elif isinstance(part, tuple):
            found = [bounds[next(given)] if p == "t" else p for p in part]
            if any(p == "t" and f is None for p, f in zip(part, found, strict=True)):
                return None
            size = next(sizes)
            places = range(size)[slice(*[None if f is None else int(f) for f in found])]
            out.append(Cut(places.start, places.step, len(places)))
        else:
            number = next(given) if part == "t" else -1
            at = bounds[number] if part == "t" else part
            size = next(sizes)
            if not size or (at is not None and not -size <= int(at) < size):
                return None
            out.append(Cut(0 if at is None else int(at) % size, 1, 1, number if at is None else -1, False))
    return [*out, *[Cut(0, 1, size) for size in sizes]]


def _key(site: Site) -> tuple[Any, ...]:
    key = site.attrs["key"]
    return key if isinstance(key, tuple) else (key,)


def _extras(site: Site, first: int, bounds: Sequence[int]) -> list[Extra]:
    """The parameters for bounds that are read by the kernel."""
    if not bounds:
        return []

    def explain(position: int) -> Exception:
        return InvalidArgumentError("an index is out of range", op=site.ins.op, got=f"bound {position} of the slice")

    inputs = [numbers(site.inputs[first + n].dtype, f"bound{n}", site.ins.inputs[first + n]) for n in bounds]
    return [*inputs, report(explain)]


@rule("StridedSlice")
def _strided_slice(site: Site) -> Launches:
    dims = site.dims_in()
    cuts = _cuts(_key(site), dims, site.constants[1:])
    if cuts is None:
        return None
    steps = iter(zip(dims, strides(dims), strict=True))
    axes: list[Axis] = []
    offset, bounds = 0, []
    for cut in cuts:
        if cut is None:
            continue
        size, stride = next(steps)
        offset += cut.start * stride
        if cut.bound >= 0:
            bounds.append(cut.bound)
            axes.append(Axis(1, (), "", wrapped(f"bound{cut.bound}[0]", size, str(cut.bound)), stride))
        elif cut.stays:
            axes.append(plain(cut.length, cut.step * stride))
    return plain_move(site, axes, "slice", offset, _extras(site, 1, bounds))


@rule("StridedSliceGrad")
def _strided_slice_grad(site: Site) -> Launches:
    dims = site.dims_out()
    if 0 in dims:
        return []
    cuts = _cuts(_key(site), dims, site.constants[2:])
    if cuts is None:
        return None
    old = [c for c in cuts if c is not None]
    steps = iter(strides([c.length for c in old]))
    axes: list[Axis] = []
    offset, bounds = 0, []
    for size, cut in zip(dims, old, strict=True):
        stride = next(steps)
        if cut.bound >= 0:
            bounds.append(cut.bound)
            at = wrapped(f"bound{cut.bound}[0]", size, str(cut.bound))
            axes.append(Axis(size, (), "", "0", 0, f"@ == {at}"))
        elif cut.step > 0:
            axes.append(window(size, cut.start, cut.length, stride, cut.step))
        else:
            lowest = cut.start + (cut.length - 1) * cut.step
            axes.append(window(size, max(lowest, 0), cut.length, -stride, -cut.step))
            offset += max(cut.length - 1, 0) * stride
    return plain_move(site, axes, "gradient of a slice", offset, _extras(site, 2, bounds))


def _starts(site: Site, limits: Sequence[int]) -> tuple[list[str], list[Extra]] | None:
    """Texts of where a slice begins along each axis, each at most its limit; None if it leaves the tensor."""
    known = site.constants[1]
    if known is not None:
        starts = [int(n) for n in known.tolist()]
        inside = len(starts) == len(limits) and all(0 <= a <= n for a, n in zip(starts, limits, strict=True))
        return ([str(a) for a in starts], []) if inside else None

    def explain(axis: int) -> Exception:
        wanted = f"0 <= begin <= {limits[axis]}"
        return InvalidArgumentError(f"a slice leaves axis {axis}", op=site.ins.op, expected=wanted)

    texts = [checked(f"begin[{k}]", n + 1, str(k)) for k, n in enumerate(limits)]
    return texts, [numbers(site.inputs[1].dtype, "begin", site.ins.inputs[1]), report(explain)]


@rule("Slice")
def _slice(site: Site) -> Launches:
    dims, out = site.dims_in(), site.dims_out()
    found = _starts(site, [d - n for d, n in zip(dims, out, strict=True)])
    if found is None:
        return None
    starts, extras = found
    step = strides(dims)
    axes = [plain(n, s) for n, s in zip(out, step, strict=True)]
    if not extras:
        offset = sum(int(a) * s for a, s in zip(starts, step, strict=True))
    else:
        offset, axes = 0, [*[Axis(1, (), "", a, s) for a, s in zip(starts, step, strict=True)], *axes]
    return plain_move(site, axes, "slice", offset, extras)


@rule("SliceGrad")
def _slice_grad(site: Site) -> Launches:
    dims, out = site.dims_in(), site.dims_out()
    found = _starts(site, [n - d for d, n in zip(dims, out, strict=True)])
    if found is None:
        return None
    starts, extras = found
    step = strides(dims)
    if not extras:
        axes = [window(n, int(a), d, s) for n, a, d, s in zip(out, starts, dims, step, strict=True)]
    else:
        axes = [
            Axis(n, (), "", f"(@ - {a})", s, f"@ >= {a} && @ < {a} + {d}")
            for n, a, d, s in zip(out, starts, dims, step, strict=True)
        ]
    return plain_move(site, axes, "gradient of a slice", extras=extras)
