"""Rules of sorting: whole lines, or the largest elements of each.

Policy: what is sorted are keys (`keys`) with places; the sort is stable.  On a CPU an item sorts a line: the few that
are wanted, or a short line, by insertion, a long one digit by digit.  On a GPU a group sorts a block in local memory,
and sorted blocks are merged by rank, two by two.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphflow.dtypes import DType, uint32
from graphflow.spec import numel
from graphflow_opencl.axes import WORD_BYTES, cpu_launch, each_launch, index_type, shares
from graphflow_opencl.keys import key_function, key_type, sortable
from graphflow_opencl.movement import Launches
from graphflow_opencl.table import Launch, Scratch, Site, Traits, rule

FEW = 32  # up to so many elements are found by insertion
BLOCK = 1024  # elements that a group sorts in local memory
KEYS, PLACES, OTHER_KEYS, OTHER_PLACES = 0, 1, 2, 3  # numbers of scratch memory


class Lines(NamedTuple):
    """What is sorted: `outer` times `inner` lines, the elements of a line `inner` apart."""

    outer: int
    size: int
    inner: int
    wanted: int  # elements of each line in the result
    dtype: DType
    descending: bool

    @property
    def number(self) -> int:
        """How many lines there are."""
        return self.outer * self.inner


@rule("Sort")
def _sort(site: Site) -> Launches:
    dims = site.dims_in()
    axis = site.attrs["axis"] % len(dims) if dims else 0
    size = dims[axis] if dims else 1
    inner = numel(dims[axis + 1 :])
    lines = Lines(numel(dims[:axis]), size, inner, size, site.inputs[0].dtype, site.attrs["descending"])
    return _launches(site, lines)


@rule("TopK")
def _top_k(site: Site) -> Launches:
    *outer, size = site.dims_in()
    made = 0 if site.outputs[0] is not None else 1
    wanted = site.dims_out(made)[-1]
    known = site.constants[1]
    if known is not None and int(known) != wanted or wanted > size:
        return None
    return _launches(site, Lines(numel(outer), size, 1, wanted, site.inputs[0].dtype, True))


def _launches(site: Site, lines: Lines) -> Launches:
    if not sortable(lines.dtype):
        return None
    if not lines.number * lines.wanted:
        return []
    if site.traits.schedule == "gpu":
        return _gpu(site, lines)
    return [_cpu(site, lines)]


def _results(site: Site, kind: str) -> tuple[list[str], list[Any], list[int]]:
    """The parameters x, values, places, as far as they are wanted; the arguments; what is written."""
    declared, arguments, writes = [f"__global const {kind} *x"], [site.ins.inputs[0]], []
    for made, value, text in zip(
        site.outputs, site.ins.outputs, (f"__global {kind} *values", "__global int *places"), strict=True
    ):
        if made is not None:
            declared.append(text)
            arguments.append(value)
            writes.append(value)
    return declared, arguments, writes


def _write(site: Site, lines: Lines, to: str, place: str) -> str:
    """Statements that write element `to` of the line's result, which is at `place` of the line."""
    values, places = (made is not None for made in site.outputs)
    at = f"result + {to} * {lines.inner}"
    first = f"values[{at}] = x[base + {place} * {lines.inner}];" if values else ""
    return f"{first} {f'places[{at}] = {place};' if places else ''}"


def _line(lines: Lines, index: str) -> str:
    """Statements that find where a line and its result begin."""
    return (
        f"const {index} base = line / {lines.inner} * {lines.size * lines.inner} + line % {lines.inner}, "
        f"result = line / {lines.inner} * {lines.wanted * lines.inner} + line % {lines.inner};"
    )


def _cpu(site: Site, lines: Lines) -> Launch:
    kind = key_type(lines.dtype)
    declared, arguments, writes = _results(site, kind)
    index = index_type(lines.number * lines.size)
    few = lines.wanted <= FEW
    items = shares(lines.number * lines.size * 16, lines.number, site.traits)
    each = -(-lines.number // items)
    items = -(-lines.number // each)
    if not few:
        room = items * lines.size
        nbytes = WORD_BYTES[kind]
        declared += [f"__global {kind} *keys", "__global int *spots"]
        arguments += [Scratch(KEYS, 2 * room * nbytes), Scratch(PLACES, 2 * room * 4)]
    body = _insertion(site, lines, kind) if few else _digits(site, lines, kind, index)
    source = f"""{key_function(lines.dtype, lines.descending)}__kernel void KERNEL({", ".join(declared)}) {{
    const {index} first = ({index})get_global_id(0) * {each};
    for ({index} line = first; line < min(first + {each}, ({index}){lines.number}); line++) {{
        {_line(lines, index)}
        {body}
    }}
}}"""
    return cpu_launch(source, (items,), arguments, writes, "sort")


def _insertion(site: Site, lines: Lines, kind: str) -> str:
    return f"""{kind} best[{lines.wanted}];
        int spot[{lines.wanted}];
        int found = 0;
        for (int i = 0; i < {lines.size}; i++) {{
            const {kind} key = KERNEL_key(x, base + i * {lines.inner});
            if (found == {lines.wanted} && key >= best[{lines.wanted - 1}]) continue;
            int j = found < {lines.wanted} ? found++ : {lines.wanted - 1};
            for (; j > 0 && best[j - 1] > key; j--) {{ best[j] = best[j - 1]; spot[j] = spot[j - 1]; }}
            best[j] = key;
            spot[j] = i;
        }}
        for (int i = 0; i < {lines.wanted}; i++) {{ {_write(site, lines, "i", "spot[i]")} }}"""


def _digits(site: Site, lines: Lines, kind: str, index: str) -> str:
    size = lines.size
    return f"""__global {kind} *ka = keys + ({index})get_global_id(0) * {2 * size}, *kb = ka + {size};
        __global int *pa = spots + ({index})get_global_id(0) * {2 * size}, *pb = pa + {size};
        for (int i = 0; i < {size}; i++) {{ ka[i] = KERNEL_key(x, base + i * {lines.inner}); pa[i] = i; }}
        for (int shift = 0; shift < {8 * WORD_BYTES[kind]}; shift += 8) {{
            int count[256];
            for (int i = 0; i < 256; i++) count[i] = 0;
            for (int i = 0; i < {size}; i++) count[(ka[i] >> shift) & 255]++;
            if (count[(ka[0] >> shift) & 255] == {size}) continue;
            int sum = 0;
            for (int i = 0; i < 256; i++) {{ const int n = count[i]; count[i] = sum; sum += n; }}
            for (int i = 0; i < {size}; i++) {{
                const int to = count[(ka[i] >> shift) & 255]++;
                kb[to] = ka[i];
                pb[to] = pa[i];
            }}
            __global {kind} *k = ka; ka = kb; kb = k;
            __global int *p = pa; pa = pb; pb = p;
        }}
        for (int i = 0; i < {lines.wanted}; i++) {{ {_write(site, lines, "i", "pa[i]")} }}"""


# -- in groups -------------------------------------------------------------------------------------------------------


def _gpu(site: Site, lines: Lines) -> Sequence[Launch]:
    kind = key_type(lines.dtype)
    index = index_type(lines.number * lines.size)
    declared, arguments, writes = _results(site, kind)
    block = _block(lines.size)
    if lines.size <= block:
        end = f"if (i < {lines.wanted}) {{ {_write(site, lines, 'i', 'spot[i]')} }}"
        return [_blocks(site.traits, lines, index, block, declared, arguments, writes, end)]
    launches, (_, spots) = _by_runs(site.traits, lines, index, arguments[0], KEYS)
    body = f"""const {index} line = id / {lines.wanted}, i = id % {lines.wanted};
    {_line(lines, index)}
    const int place = spots[line * {lines.size} + i];
    {_write(site, lines, "i", "place")}"""
    launches.append(
        each_launch(
            site.traits, lines.number * lines.wanted, 8, [*declared, "__global const int *spots"],
            [*arguments, spots], writes, body, "sort: results", index=index,
        )
    )  # fmt: skip
    return launches


def sorted_numbers(traits: Traits, count: int, numbers: Any, scratch: int) -> tuple[list[Launch], tuple[Any, Any]]:
    """Launches that sort `count` uints, and where the sorted ones and the places that they came from are.

    The four numbers of scratch memory from `scratch` on are used.
    """
    return _by_runs(traits, Lines(1, count, 1, count, uint32, False), index_type(count), numbers, scratch)


def _block(size: int) -> int:
    """How many elements a group sorts."""
    block = 2
    while block < min(size, BLOCK):
        block *= 2
    return block


def _by_runs(
    traits: Traits, lines: Lines, index: str, source: Any, scratch: int
) -> tuple[list[Launch], tuple[Any, Any]]:
    """Launches that sort blocks and merge them: the sorted keys and their places are in scratch memory afterwards."""
    kind, room = key_type(lines.dtype), lines.number * lines.size
    memory = [
        (Scratch(scratch + n + KEYS, room * WORD_BYTES[kind]), Scratch(scratch + n + PLACES, room * 4))
        for n in (0, OTHER_KEYS)
    ]
    declared = [f"__global const {kind} *x", f"__global {kind} *keys", "__global int *spots"]
    at = f"line * {lines.size} + start + i"
    end = f"if (start + i < {lines.size}) {{ keys[{at}] = key[i]; spots[{at}] = spot[i]; }}"
    run = _block(lines.size)
    launches = [_blocks(traits, lines, index, run, declared, [source, *memory[0]], [], end)]
    while run < lines.size:
        launches.append(_merged(traits, lines, kind, index, run, (*memory[0], *memory[1])))
        memory.reverse()
        run *= 2
    return launches, memory[0]


def _blocks(
    traits: Traits, lines: Lines, index: str, block: int, declared: Sequence[str], arguments: Sequence[Any],
    writes: Sequence[int], end: str,
) -> Launch:  # fmt: skip
    """A group sorts one block of a line; `end` says where element `i` of it goes."""
    kind, blocks = key_type(lines.dtype), -(-lines.size // block)
    source = f"""{key_function(lines.dtype, lines.descending)}__kernel void KERNEL({", ".join(declared)}) {{
    __local {kind} key[{block}];
    __local int spot[{block}];
    const {index} line = get_group_id(0) / {blocks};
    const int start = get_group_id(0) % {blocks} * {block}, me = get_local_id(0);
    {_line(lines, index)}
    for (int i = me; i < {block}; i += {traits.group}) {{
        key[i] = start + i < {lines.size} ? KERNEL_key(x, base + (start + i) * {lines.inner}) : ({kind})~({kind})0;
        spot[i] = start + i;
    }}
    for (int size = 2; size <= {block}; size <<= 1)
        for (int step = size >> 1; step > 0; step >>= 1) {{
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int t = me; t < {block // 2}; t += {traits.group}) {{
                const int i = 2 * t - (t & (step - 1)), j = i + step;
                const {kind} a = key[i], b = key[j];
                const int p = spot[i], q = spot[j], above = a > b || (a == b && p > q);
                if (above == ((i & size) == 0)) {{ key[i] = b; key[j] = a; spot[i] = q; spot[j] = p; }}
            }}
        }}
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = me; i < {block}; i += {traits.group}) {end}
}}"""
    items = lines.number * blocks * traits.group
    return Launch(source, (items,), (traits.group,), tuple(arguments), tuple(writes), "sort: blocks")


def _merged(traits: Traits, lines: Lines, kind: str, index: str, run: int, memory: Sequence[Scratch]) -> Launch:
    """Each element finds its place among those of its own run and of the next one."""
    n = lines.size
    body = f"""const {index} line = id / {n};
    const int i = id % {n}, mine = i / {run} * {run}, other = mine ^ {run};
    __global const {kind} *k = keys + line * {n};
    const {kind} key = k[i];
    int low = min(other, {n}), high = min(other + {run}, {n});
    const int begin = low;
    while (low < high) {{
        const int middle = (low + high) / 2;
        const int before = other < mine ? k[middle] <= key : k[middle] < key;
        if (before) low = middle + 1; else high = middle;
    }}
    const {index} to = line * {n} + min(mine, other) + (i - mine) + (low - begin);
    new_keys[to] = key;
    new_spots[to] = spots[id];"""
    declared = [
        f"__global const {kind} *keys", "__global const int *spots", f"__global {kind} *new_keys",
        "__global int *new_spots",
    ]  # fmt: skip
    return each_launch(traits, lines.number * n, 8, declared, memory, (), body, "sort: merge", index=index)
