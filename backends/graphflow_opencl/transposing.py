"""Movements whose reading and writing orders disagree, block by block.

Policy: a block is so large that each line of cache that is touched is used up before it leaves the first cache; on a
GPU it is turned in local memory, so that both reading and writing go over neighbours.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.spec import numel
from graphflow_opencl import library
from graphflow_opencl.axes import (
    SHORT,
    WORD_BYTES,
    Axis,
    Move,
    cpu_launch,
    guard_text,
    names_of,
    parameters,
    place_text,
    shares,
    strides,
    unravelled,
)
from graphflow_opencl.table import Launch, Traits

TILE = 32  # elements a side of a block in local memory
TILE_ROWS = 8  # of them, items of a group, if it may have so many
LINE_BYTES = 64


def _turn() -> str:
    """A function that transposes 8 x 8 words in registers: pairs, then fours, then halves change places."""
    lines = [f"uint8 a{k} = vload8(0, from + {k} * from_step);" for k in range(8)]
    low = "(uint8)(a{0}.s0, a{1}.s0, a{0}.s1, a{1}.s1, a{0}.s4, a{1}.s4, a{0}.s5, a{1}.s5)"
    high = "(uint8)(a{0}.s2, a{1}.s2, a{0}.s3, a{1}.s3, a{0}.s6, a{1}.s6, a{0}.s7, a{1}.s7)"
    for k in range(0, 8, 2):
        lines.append(f"uint8 b{k} = {low.format(k, k + 1)}, b{k + 1} = {high.format(k, k + 1)};")
    for k in (0, 1, 4, 5):
        x, y, to = f"b{k}", f"b{k + 2}", k // 4 * 4 + k % 4 * 2
        lines.append(f"uint8 c{to} = (uint8)({x}.s01, {y}.s01, {x}.s45, {y}.s45);")
        lines.append(f"uint8 c{to + 1} = (uint8)({x}.s23, {y}.s23, {x}.s67, {y}.s67);")
    for k in range(8):
        half = "lo" if k < 4 else "hi"
        lines.append(f"vstore8((uint8)(c{k % 4}.{half}, c{k % 4 + 4}.{half}), 0, to + {k} * to_step);")
    body = "\n    ".join(lines)
    head = "void gf_turn_uint(__global uint *to, long to_step, __global const uint *from, long from_step)"
    return f"{head} {{\n    {body}\n}}"


library.function("gf_turn_uint", _turn())


def pair_of(work: Move) -> int | None:
    """The axis along which the source is contiguous, if that is not the last one and blocks pay."""
    if not _single(work.axes[-1]) or work.axes[-1].pieces[0].stride in (-1, 0, 1) or work.axes[-1].size < SHORT:
        return None
    for k, axis in enumerate(work.axes[:-1]):
        if _single(axis) and axis.pieces[0].stride == 1 and axis.size >= SHORT:
            return k
    return None


def _single(axis: Axis) -> bool:
    return len(axis.pieces) == 1 and axis.pieces[0].offset is not None and not axis.name and not axis.guard


def _outside(work: Move, pair: int) -> tuple[list[int], list[str], str, str, str]:
    """The other axes: sizes, names, and texts of where they begin in source and target, and whether at all."""
    steps = strides([a.size for a in work.axes])
    names = names_of(work.axes)
    rest = [k for k in range(len(work.axes) - 1) if k != pair]
    places = [f"({place_text(work.axes[k], names[k])})" for k in rest]
    last, across = work.axes[-1].pieces[0], work.axes[pair].pieces[0]
    begin = work.offset + (last.offset or 0) + (across.offset or 0)
    targets = [f"{steps[k]} * {names[k]}" for k in rest]
    guards = [text for k in rest if (text := guard_text(work.axes[k], names[k]))]
    return (
        [work.axes[k].size for k in rest],
        [names[k] for k in rest],
        " + ".join([str(begin), *places]),
        " + ".join(["0", *targets]),
        " && ".join(guards),
    )


def cpu_blocks(work: Move, pair: int, arguments: Sequence[Any], title: str, traits: Traits) -> Launch:
    """An item makes blocks of some rows of the result."""
    sizes, names, begin, to, guard = _outside(work, pair)
    across, run, index = work.axes[pair].size, work.axes[-1].size, work.address
    side = max(8, min(32, LINE_BYTES // WORD_BYTES[work.word]))
    bands = -(-across // side)
    rows = numel(sizes) * bands
    wanted = shares(numel([a.size for a in work.axes]) * WORD_BYTES[work.word], rows * -(-run // side), traits)
    parts = -(-wanted // rows)
    length = -(-run // (parts * side)) * side
    each = -(-rows // wanted)
    stride, step = work.axes[-1].pieces[0].stride, strides([a.size for a in work.axes])[pair]
    value = f"source[from + j + {stride} * i]"
    turned = ""
    if work.word == "uint" and not guard:
        turned = f"""if (i1 - i0 == {side} && j1 - j0 == {side}) {{
                for (int i = 0; i < {side}; i += 8)
                    for (int j = 0; j < {side}; j += 8)
                        gf_turn_uint(target + to + (j0 + j) * {step} + i0 + i, {step},
                                     source + from + j0 + j + (i0 + i) * {stride}, {stride});
                continue;
            }}"""
    source = f"""__kernel void KERNEL({parameters(work)}) {{
    {work.word} block[{side * side}];
    const {index} low = get_global_id(1) * {length}, high = min(low + {length}, ({index}){run});
    const {index} first = ({index})get_global_id(0) * {each};
    for ({index} row = first; row < min(first + {each}, ({index}){rows}); row++) {{
        {index} rest = row / {bands};
        const {index} j0 = (row % {bands}) * {side}, j1 = min(j0 + {side}, ({index}){across});
        {unravelled(sizes, names, "rest", index)}
        const {index} from = {begin}, to = {to};
        for ({index} i0 = low; i0 < high; i0 += {side}) {{
            const {index} i1 = min(i0 + {side}, high);
            {turned}
            for ({index} i = i0; i < i1; i++)
                for ({index} j = j0; j < j1; j++) block[(i - i0) * {side} + j - j0] = {_or_fill(guard, value, work)};
            for ({index} j = j0; j < j1; j++)
                for ({index} i = i0; i < i1; i++)
                    target[to + j * {step} + i] = block[(i - i0) * {side} + j - j0];
        }}
    }}
}}"""
    return cpu_launch(source, (-(-rows // each), -(-run // length)), arguments, (arguments[1],), title)


def _or_fill(guard: str, value: str, work: Move) -> str:
    return f"({guard}) ? {value} : {work.fill}" if guard else value


def gpu_blocks(work: Move, pair: int, arguments: Sequence[Any], title: str, traits: Traits) -> Launch:
    """A group turns one square in local memory; all groups are in dimension 0, for CUDA has 65,535 in the others."""
    side = min(TILE, traits.group)
    height = min(TILE_ROWS, traits.group // side)
    sizes, names, begin, to, guard = _outside(work, pair)
    across, run, index = work.axes[pair].size, work.axes[-1].size, work.address
    bands, columns = -(-across // side), -(-run // side)
    value = f"source[from + j + {work.axes[-1].pieces[0].stride} * i]"
    source = f"""__kernel void KERNEL({parameters(work)}) {{
    __local {work.word} tile[{side}][{side + 1}];
    const int x = get_local_id(0), y = get_local_id(1);
    {index} rest = get_group_id(0);
    const {index} i0 = (rest % {columns}) * {side};
    rest /= {columns};
    const {index} j0 = (rest % {bands}) * {side};
    rest /= {bands};
    {unravelled(sizes, names, "rest", index)}
    const {index} from = {begin}, to = {to};
    for (int k = y; k < {side}; k += {height}) {{
        const {index} i = i0 + k, j = j0 + x;
        if (i < {run} && j < {across}) tile[k][x] = {_or_fill(guard, value, work)};
    }}
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = y; k < {side}; k += {height}) {{
        const {index} i = i0 + x, j = j0 + k;
        if (i < {run} && j < {across}) target[to + j * {strides([a.size for a in work.axes])[pair]} + i] = tile[x][k];
    }}
}}"""
    items = (columns * bands * numel(sizes) * side, height)
    return Launch(source, items, (side, height), tuple(arguments), (arguments[1],), title)
