"""The engine of data movement: each element of a result is an element of a source, or a filling.

A rule describes the axes of the result (`axes`): how far one step along an axis is in the source, and where the axis
has pieces (padding, wrapping, mirroring) or looks its place up in a table of indices.  From that come the kernels.

Policy: on a CPU an item makes whole rows, contiguous runs by vectors, and where the orders of reading and writing
disagree it works in blocks that stay in the first cache; on a GPU neighbouring items write neighbouring elements, and
transposed blocks go through local memory.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.dtypes import DType
from graphflow.spec import is_concrete, numel
from graphflow_opencl import transposing
from graphflow_opencl.axes import (
    BLOCK_ELEMENTS,
    GPU_EACH,
    WORD_BYTES,
    Axis,
    Extra,
    Move,
    collapsed,
    cpu_launch,
    gpu_launch,
    guard_text,
    index_type,
    names_of,
    parameters,
    place_text,
    plain,
    shares,
    unravelled,
    widened,
    word,
)
from graphflow_opencl.table import Launch, Site, Traits


def move(
    site: Site,
    axes: Sequence[Axis],
    source: Any,
    target: Any,
    dtype: DType,
    title: str,
    *,
    offset: int = 0,
    fill: str = "0",
    extras: Sequence[Extra] = (),
    deep: bool = False,
) -> list[Launch] | None:
    """The launches of a movement; `deep` if a place or a guard depends on coordinates of later axes."""
    found = word(dtype)
    if found is None:
        return None
    if 0 in [a.size for a in axes]:
        return []
    name, pairs = found
    if pairs > 1:
        axes = [*[widened(a, pairs) for a in axes], plain(pairs, 1)]
    axes = collapsed(axes) or [plain(1, 1)]
    sizes = [numel(s.dims) * pairs for s in (*site.inputs, *site.outputs) if s is not None and is_concrete(s.dims)]
    index = index_type(numel([a.size for a in axes]), *sizes)
    work = Move(name, tuple(axes), offset * pairs, fill, tuple(extras), index)
    arguments = (source, target, *[e.argument for e in extras])
    pair = None if deep else transposing.pair_of(work)
    if site.traits.schedule == "gpu":
        if pair is not None:
            return [transposing.gpu_blocks(work, pair, arguments, title, site.traits)]
        return [_gpu(work, arguments, title, site.traits)]
    if pair is not None:
        return [transposing.cpu_blocks(work, pair, arguments, title, site.traits)]
    if deep:
        return [_cpu_elements(work, arguments, title, site.traits)]
    return [_cpu(work, arguments, title, site.traits)]


def _element(work: Move) -> str:
    """Statements that make the element `id` of the result."""
    names = names_of(work.axes)
    lines = [f"{work.address} rest = id;", unravelled([a.size for a in work.axes], names, "rest", work.address)]
    guards = [text for a, n in zip(work.axes, names, strict=True) if (text := guard_text(a, n))]
    places = [f"({place_text(a, n)})" for a, n in zip(work.axes, names, strict=True)]
    value = f"source[{' + '.join([str(work.offset), *places])}]"
    lines.append(f"target[id] = {' && '.join(guards)} ? {value} : {work.fill};" if guards else f"target[id] = {value};")
    return "\n        ".join(lines)


def _gpu(work: Move, arguments: Sequence[Any], title: str, traits: Traits) -> Launch:
    total = numel([a.size for a in work.axes])
    each = GPU_EACH if total >= 1 << 20 else 1
    source = f"""__kernel void KERNEL({parameters(work)}) {{
    const {work.address} first = ({work.address})get_group_id(0) * {traits.group * each} + get_local_id(0);
    for (int k = 0; k < {each}; k++) {{
        const {work.address} id = first + k * {traits.group};
        if (id >= {total}) return;
        {_element(work)}
    }}
}}"""
    return gpu_launch(source, -(-total // each), arguments, (arguments[1],), title, traits)


def _cpu_elements(work: Move, arguments: Sequence[Any], title: str, traits: Traits) -> Launch:
    total = numel([a.size for a in work.axes])
    items = shares(total * WORD_BYTES[work.word] * 4, total, traits)
    each = -(-total // items)
    source = f"""__kernel void KERNEL({parameters(work)}) {{
    const {work.address} first = ({work.address})get_global_id(0) * {each};
    for ({work.address} id = first; id < min(first + {each}, ({work.address}){total}); id++) {{
        {_element(work)}
    }}
}}"""
    return cpu_launch(source, (-(-total // each),), arguments, (arguments[1],), title)


def _cpu(work: Move, arguments: Sequence[Any], title: str, traits: Traits) -> Launch:
    """Rows by items: outer coordinates are computed, a few inner axes are loops, the last one is runs."""
    sizes = [a.size for a in work.axes]
    run, nbytes = sizes[-1], numel(sizes) * WORD_BYTES[work.word]
    wanted = shares(nbytes, numel(sizes), traits)
    split = len(sizes) - 1
    while split and numel(sizes[split:]) < BLOCK_ELEMENTS and numel(sizes[: split - 1]) >= wanted:
        split -= 1
    rows = numel(sizes[:split])
    parts = min(-(-wanted // rows), max(1, run // BLOCK_ELEMENTS)) if split == len(sizes) - 1 else 1
    length = -(-run // parts)
    parts = -(-run // length)
    each = -(-rows // min(rows, wanted)) if parts == 1 else 1
    index = work.address
    low, high = ("0", str(run)) if parts == 1 else ("low", "high")
    bounds = f"const {index} low = get_global_id(1) * {length}, high = min(low + {length}, ({index}){run});"
    names = names_of(work.axes)
    source = f"""__kernel void KERNEL({parameters(work)}) {{
    {bounds if parts > 1 else ""}
    const {index} first = ({index})get_global_id(0) * {each};
    for ({index} row = first; row < min(first + {each}, ({index}){rows}); row++) {{
        {index} rest = row;
        __global {work.word} *to = target + row * {numel(sizes[split:])};
        {unravelled(sizes[:split], names, "rest", index)}
        {_nest(work, names, split, low, high)}
    }}
}}"""
    return cpu_launch(source, (-(-rows // each), parts), arguments, (arguments[1],), title)


def _nest(work: Move, names: Sequence[str], split: int, low: str, high: str) -> str:
    """The loops from axis `split` on; `to` is where the result of the present row goes."""
    lines, closing = [f"const {work.address} b = {work.offset};", "const int g = 1;"], ""
    base, guard, guarded = "b", "g", False
    for k, (axis, name) in enumerate(zip(work.axes[:-1], names, strict=False)):
        if k >= split:
            step = f", to += {work.axes[-1].size}" if k == len(work.axes) - 2 else ""
            lines.append(f"for ({work.address} {name} = 0; {name} < {axis.size}; {name}++{step}) {{")
            closing += "}"
        lines.append(f"const {work.address} b{k} = {base} + ({place_text(axis, name)});")
        base = f"b{k}"
        condition = guard_text(axis, name)
        if condition:
            lines.append(f"const int g{k} = {guard} && {condition};")
            guard, guarded = f"g{k}", True
    inner = _runs(work, names[-1], base, low, high)
    if guarded:
        inner = f"if ({guard}) {{ {inner} }} else gf_set_{work.word}(to + {low}, {work.fill}, {high} - {low});"
    return "\n        ".join([*lines, inner, closing])


def _runs(work: Move, name: str, base: str, low: str, high: str) -> str:
    """Statements for one stretch of the last axis."""
    axis, index = work.axes[-1], work.address
    if not axis.pieces or axis.guard:
        value, guard = f"source[{base} + {place_text(axis, name)}]", guard_text(axis, name)
        chosen = f"{guard} ? {value} : {work.fill}" if guard else value
        return f"for ({index} {name} = {low}; {name} < {high}; {name}++) to[{name}] = {chosen};"
    out, start = [], 0
    for piece in axis.pieces:
        a, b = str(start), str(piece.stop)
        if low != "0":
            a, b = f"max(({index}){a}, {low})", f"min(({index}){b}, {high})"
        if piece.offset is None:
            out.append(f"gf_set_{work.word}(to + {a}, {work.fill}, {b} - {a});")
        elif piece.stride == 1:
            out.append(f"gf_copy_{work.word}(to + {a}, source + {base} + {piece.offset} + {a}, {b} - {a});")
        elif piece.stride == 0:
            out.append(f"gf_set_{work.word}(to + {a}, source[{base} + {piece.offset}], {b} - {a});")
        else:
            value = f"source[{base} + {piece.offset} + {piece.stride} * {name}]"
            out.append(f"for ({index} {name} = {a}; {name} < {b}; {name}++) to[{name}] = {value};")
        start = piece.stop
    return "\n        ".join(out)
