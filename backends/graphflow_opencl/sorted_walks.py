"""Walks over many indices on a GPU: the updates are sorted by their rows, so that each row finds its own.

Policy: the sort is stable, so a row receives its updates in the order of the indices, as in a walk; the results have
the same bits.  Where few updates are, every item looks at all of them (`walking`).

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow_opencl.axes import each_launch
from graphflow_opencl.expressions import load, register_type, storage_type, store
from graphflow_opencl.sorting import sorted_numbers
from graphflow_opencl.table import Launch, Scratch, Status, Traits
from graphflow_opencl.walking import FLAG, UNTOUCHED, Ends, Walk, walk_launch

MANY = 2048  # updates that are worth a sort
NOWHERE = "0xffffffffU"  # the row of an update that has none, behind all others
ROWS, SORTED = 10, 11  # numbers of scratch memory; the sort takes four from the second on


def walk_launches(walk: Walk, ends: Ends, traits: Traits) -> list[Launch]:
    """The launches of a walk."""
    if not _worth_sorting(walk, traits):
        return [walk_launch(walk, ends, traits)]
    rows = Scratch(ROWS, walk.taken * 4)
    body = f"const long k = id, row = {walk.place}; rows[id] = row < 0 ? {NOWHERE} : (uint)row;"
    declared = ["__global uint *rows", *[e.declaration for e in ends.extras]]
    arguments = [rows, *[e.argument for e in ends.extras]]
    first = each_launch(traits, walk.taken, 8, declared, arguments, (), body, f"{ends.title}: rows")
    sort, (keys, spots) = sorted_numbers(traits, walk.taken, rows, SORTED)
    return [first, *sort, _reduce(walk, ends, traits, (keys, spots))]


def _worth_sorting(walk: Walk, traits: Traits) -> bool:
    """Many updates; half floats that are rounded at every step are not for registers."""
    rounded = walk.dtype.is_floating and walk.dtype.size < 4 and walk.sums is None
    return traits.schedule == "gpu" and MANY <= walk.taken < 2**31 and not walk.each and not rounded


def _reduce(walk: Walk, ends: Ends, traits: Traits, runs: tuple[Scratch, Scratch]) -> Launch:
    """Each item owns an element of the result, and takes up the run of updates of its row."""
    kind, index = register_type(walk.held, 1), walk.number
    own = register_type(walk.dtype, 1)
    value = f"({kind}){load(walk.dtype, 1, 'updates', walk.update)}" if ends.updates is not None else "1"
    start = walk.start if walk.start is not None else f"({kind}){load(walk.dtype, 1, 'target', 'here')}"
    nothing = f"if (run == {walk.taken} || keys[run] != row) a = {walk.empty};" if walk.empty is not None else ""
    body = f"""{f"if (flag[0] != {UNTOUCHED}) return;" if ends.guarded else ""}
    const {index} here = id, c = id % {walk.width}, outer = id / {walk.rows * walk.width};
    const uint row = id / {walk.width} % {walk.rows};
    int run = 0, high = {walk.taken};
    while (run < high) {{
        const int middle = run + (high - run) / 2;
        if (keys[middle] < row) run = middle + 1; else high = middle;
    }}
    {kind} a = {start};
    {nothing}
    for (; run < {walk.taken} && keys[run] == row; run++) {{
        const {index} k = spots[run], at = (outer * {walk.taken} + k) * {walk.width} + c;
        const {kind} b = {value};
        a = {walk.combine};
    }}
    {store(walk.dtype, 1, "target", "here", f"({own})a")}"""
    declared, arguments = _parameters(walk, ends, runs)
    return each_launch(traits, walk.size, 8, declared, arguments, (ends.target,), body, ends.title, index=index)


def _parameters(walk: Walk, ends: Ends, runs: tuple[Scratch, Scratch]) -> tuple[list[str], list[Any]]:
    """Declarations and arguments of the launch that takes up the runs."""
    declared = [f"__global {storage_type(walk.dtype)} *restrict target", "__global const uint *keys",
                "__global const int *spots"]  # fmt: skip
    arguments: list[Any] = [ends.target, *runs]
    if ends.updates is not None:
        declared.append(f"__global const {storage_type(walk.dtype)} *restrict updates")
        arguments.append(ends.updates)
    if ends.guarded:
        declared.append("__global int *flag")
        arguments.append(Scratch(FLAG, 4))
    read = [e for e in ends.extras if not isinstance(e.argument, Status)]  # the indices are checked by now
    declared += [e.declaration for e in read]
    arguments += [e.argument for e in read]
    return declared, arguments
