"""Updates of rows that indices choose, in the order of the indices: the engine of scatters and segments.

Policy: no atomics, for results must not depend on who comes first.  Each item owns rows and columns of the result and
walks all indices in their order, taking up those that are its own: what a row receives, it receives as in a loop.  On
a CPU few items own much, columns before rows; on a GPU neighbouring items own neighbouring columns.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from graphflow import dtypes
from graphflow.dtypes import DType
from graphflow_opencl.axes import Extra, cpu_launch, gpu_launch, index_type, shares
from graphflow_opencl.expressions import load, register_type, storage_type, store
from graphflow_opencl.registers import REGISTERS
from graphflow_opencl.table import Launch, Scratch, Traits

CPU_PARTS = 2  # for each core: every one of them reads all indices
GPU_ITEMS = 1 << 16
COLUMN_BYTES = 64  # what columns an item of a CPU owns at least
WIDTH = 8  # columns of a row that are updated at once
SUMS, SEEN, FLAG = 0, 1, 2  # numbers of scratch memory
UNTOUCHED = 2147483647


class Walk(NamedTuple):
    """What is updated by what.

    The result is `outer` times `rows` rows of `width` elements, the updates are `outer` times `taken` such rows.
    `place` is C text of the row of update `k`, negative if it has none; `each` makes it depend on `outer` and `c`.
    """

    outer: int
    rows: int
    width: int
    taken: int
    dtype: DType
    place: str
    combine: str  # C text of the new element from the old one, a, and the update, b
    update: str = "at"  # C text of which element of the updates
    each: bool = False
    start: str | None = None  # C text of an element before all updates, at `to[here]`; None leaves what is there
    empty: str | None = None  # C text of an element of a row without updates, if that is not `start`
    sums: DType | None = None  # the dtype in which updates are combined, if it is another

    @property
    def size(self) -> int:
        """The number of elements of the result."""
        return self.outer * self.rows * self.width

    @property
    def number(self) -> str:
        """The C type of positions in the result and in the updates."""
        return index_type(self.size, self.outer * self.taken * self.width)

    @property
    def held(self) -> DType:
        """The dtype in which updates are combined."""
        return self.sums or self.dtype


class Ends(NamedTuple):
    """What the launches of a walk read and write."""

    target: int
    updates: Any  # None: each update is a one
    extras: Sequence[Extra]  # what the texts of the walk read
    title: str
    guarded: bool = False  # the launches do nothing unless the flag in scratch memory is untouched


COMBINE = {
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "update": "b",
}


def combination(kind: str, dtype: DType) -> str:
    """C text of a new element by the kind of update."""
    if kind == "div":
        return f"gf_quotient_{REGISTERS[dtype.name].scalar}(a, b)" if dtype.is_integer else "a / b"
    if kind in ("min", "max"):
        sign = ">" if kind == "max" else "<"
        return f"(a {sign} b{' || a != a' if dtype.is_floating else ''}) ? a : b"  # NaN stays
    return COMBINE[kind]


def _parts(walk: Walk, traits: Traits) -> tuple[int, int]:
    """How many parts rows and columns are divided into."""
    if traits.schedule == "gpu":
        return max(1, min(walk.rows, -(-GPU_ITEMS // max(1, walk.outer * walk.width)))), walk.width
    size = int(walk.dtype.size)
    nbytes = walk.outer * walk.width * (walk.rows + walk.taken) * size
    need = -(-shares(nbytes, walk.size, traits) // walk.outer)
    columns = max(1, min(need, walk.width * size // COLUMN_BYTES, traits.units * CPU_PARTS))
    if not walk.each and (columns >= traits.units or walk.width * size < COLUMN_BYTES):
        return 1, columns  # to find out whose row an index is takes as long as an update of few columns
    return min(walk.rows, -(-need // columns), traits.units * CPU_PARTS), columns


def walk_launch(walk: Walk, ends: Ends, traits: Traits) -> Launch:
    """The launch of a walk."""
    row_parts, column_parts = _parts(walk, traits)
    length, columns = -(-walk.rows // row_parts), -(-walk.width // column_parts)
    row_parts, column_parts = -(-walk.rows // length), -(-walk.width // columns)
    items = walk.outer * row_parts * column_parts
    index, held = walk.number, walk.held
    to = "sums" if walk.sums else "target"
    declared = [f"__global {storage_type(walk.dtype)} *restrict target"]
    arguments: list[Any] = [ends.target]
    if ends.updates is not None:
        declared.append(f"__global const {storage_type(walk.dtype)} *restrict updates")
        arguments.append(ends.updates)
    for name, needed, kind, number, nbytes in (
        ("sums", walk.sums is not None, storage_type(held), SUMS, walk.size * held.size),
        ("seen", walk.empty is not None, "uchar", SEEN, items * length),
        ("flag", ends.guarded, "int", FLAG, 4),
    ):
        if needed:
            declared.append(f"__global {kind} *{name}")
            arguments.append(Scratch(number, int(nbytes)))
    declared += [e.declaration for e in ends.extras]
    arguments += [e.argument for e in ends.extras]
    source = f"""__kernel void KERNEL({", ".join(declared)}) {{
    {index} rest = get_global_id(0);
    if (rest >= {items}) return;
    {f"if (flag[0] != {UNTOUCHED}) return;" if ends.guarded else ""}
    {f"__global uchar *present = seen + rest * {length};" if walk.empty is not None else ""}
    const {index} c0 = rest % {column_parts} * {columns}, c1 = min(c0 + {columns}, ({index}){walk.width});
    rest /= {column_parts};
    const {index} r0 = rest % {row_parts} * {length}, r1 = min(r0 + {length}, ({index}){walk.rows});
    const {index} outer = rest / {row_parts}, base = outer * {walk.rows * walk.width};
    {_before(walk, held, to, index)}
    {_walked(walk, held, to, index, ends.updates is not None)}
    {_after(walk, held, index)}
}}"""
    if traits.schedule == "gpu":
        return gpu_launch(source, items, arguments, (ends.target,), ends.title, traits)
    return cpu_launch(source, (items,), arguments, (ends.target,), ends.title)


def _own(walk: Walk, index: str, statement: str) -> str:
    """A statement for each element that the item owns, at `here`."""
    return (
        f"for ({index} r = r0; r < r1; r++) for ({index} c = c0; c < c1; c++) "
        f"{{ const {index} here = base + r * {walk.width} + c; {statement} }}"
    )


def _before(walk: Walk, held: DType, to: str, index: str) -> str:
    lines = []
    if walk.start is not None:
        lines.append(_own(walk, index, store(held, 1, to, "here", walk.start)))
    if walk.empty is not None:
        lines.append(f"for ({index} r = r0; r < r1; r++) present[r - r0] = 0;")
    return "\n    ".join(lines)


def _walked(walk: Walk, held: DType, to: str, index: str, updates: bool) -> str:
    kind = register_type(held, 1)
    value = f"({kind}){load(walk.dtype, 1, 'updates', walk.update)}" if updates else "1"
    statement = f"""{{
            const {index} here = base + row * {walk.width} + c, at = (outer * {walk.taken} + k) * {walk.width} + c;
            const {kind} a = {load(held, 1, to, "here")}, b = {value};
            {store(held, 1, to, "here", walk.combine)}
        }}"""
    look = f"const {index} row = {walk.place}; if (row < r0 || row >= r1) continue;"
    mark = "present[row - r0] = 1;" if walk.empty is not None else ""
    columns = f"for ({index} c = c0; c < c1; c++)"
    before, within = (columns, "") if walk.each else ("", columns)
    if not walk.each and updates and walk.update == "at":
        within = _in_vectors(walk, held, to, index)
    return f"""for ({index} k = 0; k < {walk.taken}; k++) {before} {{
        {look} {mark}
        {within} {statement}
    }}"""


def _in_vectors(walk: Walk, held: DType, to: str, index: str) -> str:
    """The loop over whole vectors of columns of a row, and the head of the one over the rest."""
    width, kind = WIDTH, register_type(held, WIDTH)
    if walk.width < width or "gf_" in walk.combine:
        return f"for ({index} c = c0; c < c1; c++)"
    value = load(walk.dtype, width, "updates", walk.update)
    value = value if held is walk.dtype else f"convert_{kind}({value})"
    return f"""{index} c = c0;
        for (; c + {width} <= c1; c += {width}) {{
            const {index} here = base + row * {walk.width} + c, at = (outer * {walk.taken} + k) * {walk.width} + c;
            const {kind} a = {load(held, width, to, "here")}, b = {value};
            {store(held, width, to, "here", f"({walk.combine})")}
        }}
        for (; c < c1; c++)"""


def _after(walk: Walk, held: DType, index: str) -> str:
    lines = []
    if walk.empty is not None:
        to = "sums" if walk.sums else "target"
        lines.append(_own(walk, index, f"if (!present[r - r0]) {{ {store(held, 1, to, 'here', walk.empty)} }}"))
    if walk.sums is not None:
        value = f"({register_type(walk.dtype, 1)}){load(held, 1, 'sums', 'here')}"
        lines.append(_own(walk, index, store(walk.dtype, 1, "target", "here", value)))
    return "\n    ".join(lines)


def sums_of(dtype: DType) -> DType | None:
    """The dtype in which sums of a dtype are taken, if it is another: as NumPy's kernels do."""
    return dtypes.float32 if dtype.is_floating and dtype.size < 4 else None
