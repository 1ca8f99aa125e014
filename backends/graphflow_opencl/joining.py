"""Rules of joining and splitting: several tensors are the columns of one.

Policy: one launch for all pieces, or a launch for each `MOST` of them.  The one tensor is seen as rows of which each
piece has a stretch; an item of a CPU copies whole rows, or a part of one, stretch by stretch.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphflow.spec import numel
from graphflow_opencl.axes import (
    SHARE_BYTES,
    SHORT,
    WORD_BYTES,
    cpu_launch,
    gpu_launch,
    index_type,
    shares,
    word,
)
from graphflow_opencl.movement import Launches
from graphflow_opencl.table import Launch, Site, rule

MOST = 24  # tensors of a launch


class Stretch(NamedTuple):
    """One piece: the number of its value, and which columns it has."""

    value: int
    begin: int
    length: int


class Columns(NamedTuple):
    """Pieces beside each other."""

    whole: int  # the value that has all of them
    rows: int
    width: int
    joins: bool  # the pieces are read, the whole is written


def _launches(site: Site, columns: Columns, pieces: Sequence[Stretch], title: str) -> Launches:
    found = word(site.inputs[0].dtype)
    if found is None:
        return None
    name, pairs = found
    columns = columns._replace(width=columns.width * pairs)
    pieces = [Stretch(p.value, p.begin * pairs, p.length * pairs) for p in pieces if p.length and p.value >= 0]
    if not columns.rows or not pieces:
        return []
    make = _gpu if site.traits.schedule == "gpu" else _cpu
    return [make(site, columns, pieces[k : k + MOST], name, title) for k in range(0, len(pieces), MOST)]


def _parameters(columns: Columns, pieces: Sequence[Stretch], name: str) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The list of parameters, the arguments and the values that are written."""
    part, whole = ("const ", "") if columns.joins else ("", "const ")
    texts = [f"__global {whole}{name} *whole", *[f"__global {part}{name} *p{k}" for k in range(len(pieces))]]
    values = tuple([p.value for p in pieces])
    return ", ".join(texts), (columns.whole, *values), (columns.whole,) if columns.joins else values


def _gpu(site: Site, columns: Columns, pieces: Sequence[Stretch], name: str, title: str) -> Launch:
    declared, arguments, writes = _parameters(columns, pieces, name)
    first, last = pieces[0].begin, pieces[-1].begin + pieces[-1].length
    total = columns.rows * (last - first)
    index = index_type(columns.rows * columns.width)
    lines = []
    for k, piece in enumerate(pieces):
        there, here = f"p{k}[row * {piece.length} + column - {piece.begin}]", f"whole[row * {columns.width} + column]"
        copy = f"{here} = {there};" if columns.joins else f"{there} = {here};"
        lines.append(f"if (column >= {piece.begin} && column < {piece.begin + piece.length}) {copy}")
    body = "\n    else ".join(lines)
    source = f"""__kernel void KERNEL({declared}) {{
    const {index} id = get_global_id(0);
    if (id >= {total}) return;
    const {index} row = id / {last - first}, column = {first} + id % {last - first};
    {body}
}}"""
    return gpu_launch(source, total, arguments, writes, title, site.traits)


def _cpu(site: Site, columns: Columns, pieces: Sequence[Stretch], name: str, title: str) -> Launch:
    declared, arguments, writes = _parameters(columns, pieces, name)
    first, last = pieces[0].begin, pieces[-1].begin + pieces[-1].length
    nbytes = columns.rows * (last - first) * WORD_BYTES[name]
    index = index_type(columns.rows * columns.width)
    wanted = shares(nbytes, columns.rows * -(-(last - first) * WORD_BYTES[name] // SHARE_BYTES), site.traits)
    each = -(-columns.rows // wanted)
    parts = -(-wanted // columns.rows)
    length = -(-(last - first) // parts)
    lines = [_copy(k, p, columns.width, name, index, columns.joins, parts > 1) for k, p in enumerate(pieces)]
    body = "\n        ".join(lines)
    source = f"""__kernel void KERNEL({declared}) {{
    const {index} low = {first} + get_global_id(1) * {length}, high = min(low + {length}, ({index}){last});
    const {index} first = ({index})get_global_id(0) * {each};
    for ({index} row = first; row < min(first + {each}, ({index}){columns.rows}); row++) {{
        {body}
    }}
}}"""
    items = -(-columns.rows // each), -(-(last - first) // length)
    return cpu_launch(source, items, arguments, writes, title)


def _copy(k: int, piece: Stretch, width: int, name: str, index: str, joins: bool, parted: bool) -> str:
    """Statements for one piece of one row."""
    here, there = f"whole + row * {width}", f"p{k} + row * {piece.length} - {piece.begin}"
    to, source = (here, there) if joins else (there, here)
    low, high = str(piece.begin), str(piece.begin + piece.length)
    if parted:
        low, high = f"max(({index}){low}, low)", f"min(({index}){high}, high)"
    elif piece.length <= SHORT:
        return f"for (int j = {low}; j < {high}; j++) ({to})[j] = ({source})[j];"
    return f"{{ const {index} a = {low}; gf_copy_{name}({to} + a, {source} + a, {high} - a); }}"


def _stretches(values: Sequence[int], counts: Sequence[int]) -> list[Stretch]:
    out, begin = [], 0
    for value, count in zip(values, counts, strict=True):
        out.append(Stretch(value, begin, count))
        begin += count
    return out


@rule("Concat")
def _concat(site: Site) -> Launches:
    out = site.dims_out()
    axis = site.attrs["axis"] % len(out)
    inner = numel(out[axis + 1 :])
    counts = [site.dims_in(k)[axis] * inner for k in range(len(site.inputs))]
    columns = Columns(site.ins.outputs[0], numel(out[:axis]), out[axis] * inner, True)
    return _launches(site, columns, _stretches(site.ins.inputs, counts), "concatenate")


@rule("Pack")
def _pack(site: Site) -> Launches:
    out = site.dims_out()
    axis = site.attrs["axis"] % len(out)
    inner = numel(out[axis + 1 :])
    columns = Columns(site.ins.outputs[0], numel(out[:axis]), out[axis] * inner, True)
    return _launches(site, columns, _stretches(site.ins.inputs, [inner] * len(site.inputs)), "stack")


def _cut(site: Site, axis: int, sizes: Sequence[int], title: str) -> Launches:
    dims = site.dims_in()
    if sum(sizes) != dims[axis] or len(sizes) != len(site.ins.outputs):
        return None
    inner = numel(dims[axis + 1 :])
    columns = Columns(site.ins.inputs[0], numel(dims[:axis]), dims[axis] * inner, False)
    return _launches(site, columns, _stretches(site.ins.outputs, [n * inner for n in sizes]), title)


@rule("Unpack")
def _unpack(site: Site) -> Launches:
    return _cut(site, site.attrs["axis"] % len(site.dims_in()), [1] * site.attrs["num"], "unstack")


@rule("Split")
def _split(site: Site) -> Launches:
    dims, num, sizes = site.dims_in(), site.attrs["num"], site.attrs["sizes"]
    axis = site.attrs["axis"] % len(dims)
    found = list(sizes) if sizes is not None else None
    if found is None and len(site.inputs) > 1:
        if site.constants[1] is None:
            return None
        found = [int(n) for n in site.constants[1].tolist()]
    if found is None:
        found = [dims[axis] // num] * num
    if -1 in found:
        found[found.index(-1)] = dims[axis] - sum(found) - 1
    return _cut(site, axis, found, "split") if min(found) >= 0 else None


@rule("ConcatGrad")
def _concat_grad(site: Site) -> Launches:
    axis = site.attrs["axis"] % len(site.dims_in())
    sizes = []
    for number, (known, made) in enumerate(zip(site.constants[1:], site.outputs, strict=True)):
        if made is None and known is None:
            return None
        sizes.append(int(known[axis]) if made is None else site.dims_out(number)[axis])
    return _cut(site, axis, sizes, "gradient of concatenate")
