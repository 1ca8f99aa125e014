"""Rules of movements whose shape alone decides where everything goes: permutations, repetition, padding.

Policy: an operand that is only known in a run, and that would have to decide a shape, leaves the op to the host; so
does one that the host's kernel refuses, which then says why.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphflow_opencl.axes import Axis, Extra, Piece, bits, plain, strides, turned, window, word
from graphflow_opencl.checking import checked, numbers, outside, report
from graphflow_opencl.moving import move
from graphflow_opencl.table import Launch, Site, rule

Launches = Sequence[Launch] | None


def plain_move(site: Site, axes: Sequence[Axis], title: str, offset: int = 0, extras: Sequence[Extra] = ()) -> Launches:
    """The first input, moved to the first output."""
    source, target, dtype = site.ins.inputs[0], site.ins.outputs[0], site.inputs[0].dtype
    return move(site, axes, source, target, dtype, title, offset=offset, extras=extras)


def rearranged(site: Site, split: Sequence[int], order: Sequence[int], title: str) -> Launches:
    """The first input, seen with the dims `split`, its axes in another order."""
    step = strides(split)
    return plain_move(site, [plain(split[k], step[k]) for k in order], title)


# -- permutations ----------------------------------------------------------------------------------------------------


@rule("Transpose", "ConjugateTranspose")
def _transpose(site: Site) -> Launches:
    dims, perm = site.dims_in(), site.attrs["perm"]
    if site.ins.type == "ConjugateTranspose" and site.inputs[0].dtype.is_complex:
        return None
    if perm is None and len(site.inputs) > 1:
        if site.constants[1] is None:
            return None
        perm = site.constants[1].tolist()
    order = list(range(len(dims)))[::-1] if perm is None else [p % len(dims) for p in perm]
    return rearranged(site, dims, order, "transpose")


@rule("Reverse")
def _reverse(site: Site) -> Launches:
    dims, axis = site.dims_in(), site.attrs["axis"]
    step = strides(dims)
    chosen = {a % len(dims) for a in ((axis,) if isinstance(axis, int) else axis)} if dims else set()
    return plain_move(
        site, [turned(d, s) if k in chosen else plain(d, s) for k, (d, s) in enumerate(zip(dims, step, strict=True))],
        "reverse",
    )  # fmt: skip


@rule("Roll")
def _roll(site: Site) -> Launches:
    dims, shift, axis = site.dims_in(), site.attrs["shift"], site.attrs["axis"]
    if shift is None:
        if site.constants[1] is None:
            return None
        shift = tuple(np.atleast_1d(site.constants[1]).tolist())
    axis = (axis,) if isinstance(axis, int) else axis
    if len(shift) != len(axis):
        return None
    by = [0] * len(dims)
    for s, a in zip(shift, axis, strict=True):
        by[a] += s
    return plain_move(
        site, [_rolled(d, s, n % d if d else 0) for d, s, n in zip(dims, strides(dims), by, strict=True)], "roll"
    )


def _rolled(size: int, stride: int, by: int) -> Axis:
    if not by:
        return plain(size, stride)
    return Axis(size, (Piece(by, (size - by) * stride, stride), Piece(size, -by * stride, stride)))


@rule("ReverseSequence")
def _reverse_sequence(site: Site) -> Launches:
    dims = site.dims_in()
    along, batch = site.attrs["seq_axis"] % len(dims), site.attrs["batch_axis"] % len(dims)
    if site.dims_in(1) != (dims[batch],):
        return None
    steps, step = dims[along], strides(dims)
    axes = [plain(d, s) for d, s in zip(dims, step, strict=True)]
    axes[batch] = axes[batch]._replace(name="batch")
    length = f"({checked('lengths[batch]', steps + 1, 'batch')})"
    axes[along] = Axis(steps, (), "", f"(@ < {length} ? {length} - 1 - @ : @)", step[along])
    extras = (numbers(site.inputs[1].dtype, "lengths", site.ins.inputs[1]), report(outside(site, 1, steps + 1)))
    return move(
        site, axes, site.ins.inputs[0], site.ins.outputs[0], site.inputs[0].dtype, "reverse sequences", extras=extras,
        deep=along < batch,
    )  # fmt: skip


# -- repetition ------------------------------------------------------------------------------------------------------


@rule("BroadcastTo")
def _broadcast_to(site: Site) -> Launches:
    dims, out = site.dims_in(), site.dims_out()
    dims = (1,) * (len(out) - len(dims)) + dims
    step = strides(dims)
    return plain_move(
        site, [plain(n, s if d == n else 0) for n, d, s in zip(out, dims, step, strict=True)], "broadcast"
    )


@rule("Tile")
def _tile(site: Site) -> Launches:
    dims, out = site.dims_in(), site.dims_out()
    axes: list[Axis] = []
    for d, n, s in zip(dims, out, strides(dims), strict=True):
        axes += [plain(n // d if d else 0, 0), plain(d, s)]
    return plain_move(site, axes, "tile")


# -- padding ---------------------------------------------------------------------------------------------------------


def paddings_of(site: Site, which: int = 1) -> list[tuple[int, int]] | None:
    """Pairs of how much comes before and after along each axis; None if a run decides, or if they cannot be right."""
    if site.attrs["paddings"] is not None:
        return [(int(a), int(b)) for a, b in site.attrs["paddings"]]
    table = site.constants[which] if len(site.constants) > which else None
    if table is None or table.ndim != 2 or table.shape[-1] != 2 or (table.size and table.min() < 0):
        return None
    return [(int(a), int(b)) for a, b in table.tolist()]


@rule("Pad")
def _pad(site: Site) -> Launches:
    pairs, dims, dtype, constant = paddings_of(site), site.dims_in(), site.inputs[0].dtype, site.attrs["constant"]
    found = word(dtype)
    if pairs is None or len(pairs) != len(dims) or found is None:
        return None
    extras: tuple[Extra, ...] = ()
    fill = "0"
    if constant is None:
        if site.inputs[2].dtype is not dtype or dtype.size > 8:
            return None
        fill, extras = "filling[0]", (Extra(f"__global const {found[0]} *filling", site.ins.inputs[2]),)
    elif constant != 0 or (dtype.is_floating and np.signbit(constant)):
        if dtype.size > 8:
            return None
        fill = bits(dtype, constant)
    axes = [window(d + a + b, a, d, s) for d, s, (a, b) in zip(dims, strides(dims), pairs, strict=True)]
    return move(site, axes, site.ins.inputs[0], site.ins.outputs[0], dtype, "pad", fill=fill, extras=extras)


@rule("MirrorPad")
def _mirror_pad(site: Site) -> Launches:
    pairs, dims = paddings_of(site), site.dims_in()
    edge = int(site.attrs["mode"] == "REFLECT")
    if pairs is None or any(max(p) > max(d - edge, 0) for d, p in zip(dims, pairs, strict=True)):
        return None
    axes = [_mirrored(d, s, *p, edge) for d, s, p in zip(dims, strides(dims), pairs, strict=True)]
    return plain_move(site, axes, "mirror pad")


def _mirrored(size: int, stride: int, before: int, after: int, edge: int) -> Axis:
    if not before and not after:
        return plain(size, stride)
    whole = size + before + after
    pieces = (
        Piece(before, (edge - 1 + before) * stride, -stride),
        Piece(before + size, -before * stride, stride),
        Piece(whole, (2 * size - 1 - edge + before) * stride, -stride),
    )
    starts = (0, before, before + size)
    return Axis(whole, tuple([p for p, start in zip(pieces, starts, strict=True) if p.stop > start]))
