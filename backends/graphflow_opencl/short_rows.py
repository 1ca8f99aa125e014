"""Rows of a few classes on a CPU: each place of a vector has a row of its own.

Policy: a vector of neighbouring rows is done at once, class by class, so that nothing is added up within a vector and
no place of it is empty, as would be if a vector held one row.  The elements are picked up one by one, which costs less.
A row that is not there, beside the last ones, is a copy of the first of its vector; nothing of it is stored.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.dtypes import float64
from graphflow_opencl.axes import cpu_launch, index_type, shares
from graphflow_opencl.checking import checked
from graphflow_opencl.registers import MASKS, broadcast_scalar, register_type, vector
from graphflow_opencl.row_text import COST, NUMBERS, Block, Passes, RowOp, Rows
from graphflow_opencl.table import Launch, Traits
from graphflow_opencl.text import block

MOST = 24  # classes


def fits(rows: Rows, traits: Traits) -> bool:
    """Whether rows are better done side by side."""
    return traits.schedule == "cpu" and rows.classes <= MOST


def cpu_short_rows(op: RowOp, rows: Rows, traits: Traits) -> Launch:
    """The launch of fat items, each of which does some vectors of rows."""
    width = max(2, traits.width // 2) if rows.wide == float64 else traits.width
    while width > 2 and width // 2 >= rows.height:
        width //= 2
    passes = Passes(op, rows, width, "kept[c]", False, width)
    index = index_type((rows.height + width) * rows.classes)
    whole, tail = divmod(rows.height, width)
    blocks = whole + bool(tail)
    nbytes = COST * rows.height * rows.classes * int(rows.dtype.size)
    each = -(-blocks // shares(nbytes, blocks, traits))
    lines = [f"const {index} low = ({index})get_global_id(0) * {each}, high = min(low + {each}, ({index}){blocks});"]
    row = f"const {index} row = number * {width};"
    if whole:
        head = f"for ({index} number = low; number < min(high, ({index}){whole}); number++)"
        lines += block(head, [row, *_rows(passes, index, 0)])
    if tail:
        lines += block(f"if (high > {whole})", [f"const {index} number = {whole};", row, *_rows(passes, index, tail)])
    declared, arguments, writes = passes.launch_parts()
    source = "\n".join(block(f"__kernel void KERNEL({', '.join(declared)})", lines))
    return cpu_launch(source, (-(-blocks // each),), arguments, writes, op.title)


def _rows(passes: Passes, index: str, tail: int) -> list[str]:
    """What is done with a vector of rows, of which the first `tail` are there, unless it is 0."""
    op, rows, width = passes.op, passes.rows, passes.width
    kind = register_type(rows.wide, width)
    here = Block(width, tail, "at", rows.classes)
    numbered = op.labels == NUMBERS

    def along(statements: Sequence[str]) -> list[str]:
        return block(f"for (int c = 0; c < {rows.classes}; c++)", [f"const {index} at = base + c;", *statements])

    lowest = broadcast_scalar(rows.wide, width, f"({register_type(rows.wide, 1)})(-INFINITY)")
    out = [f"const {index} base = row * {rows.classes};", f"{kind} kept[{rows.classes}], top = {lowest};"]
    out += _labels(rows, width, tail) if numbered else []
    out += along(passes.first(here, "top"))
    names = [name for name, _ in op.sums] + ["chosen"] * numbered
    out += [f"{kind} s_{name} = ({kind})(0);" for name in names]
    found = [f"s_chosen += (label == c) ? d : ({kind})(0);"] if numbered else []
    differences, exponentials, *rest = passes.second(here)
    out += along([differences, exponentials, *found, *rest])
    out += [f"const {kind} {name} = s_{name};" for name in names]
    out += [*passes.after_sums(), *passes.loss(tail)]
    if rows.slope >= 0:
        out += along(passes.third(here))
    return out


def _labels(rows: Rows, width: int, tail: int) -> list[str]:
    """The labelled classes, as numbers of the size of the elements that they are compared beside."""
    mask = MASKS[8 if rows.wide == float64 else 4]
    places = Block(width, tail, "row").lanes()
    parts = [checked(f"labels[{place}]", rows.classes, place) for place in places]
    kind = vector(mask, width)
    return [f"const {kind} label = ({kind})({', '.join(parts)});"]
