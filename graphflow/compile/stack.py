"""Products of the pieces of one tensor with one matrix become a product of the whole (O2).

    for x in unstack(xs): x @ w      becomes      reshape(xs, [-1, k]) @ w, and its pieces

So it is with the input projections of an unrolled recurrent network.  Nothing is copied: the pieces of the result are
views, and what is stacked has been in one piece before.

Policy: an element stays the sum of the same products; BLAS may add them in another order for another number of rows, so
with k terms the error is at most k units in the last place of the sum of their absolute values, as it was before.  It
is done if most of the pieces take part.

State: none.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

from graphflow.compile.rewrite import Result, Rule, Work, rewritten
from graphflow.program import Instruction, PassRecord, Program

MOST = 0.75  # of the pieces


class Stacked(NamedTuple):
    """One product among those that become one."""

    number: int  # of the piece
    first: int  # the key of the first of them


def stack_products(program: Program, inner: bool = False) -> Program:
    """Find the products, then one sweep; `inner` if the program is that of a function."""
    found = _found(program)
    if not found:
        return program.with_record(PassRecord("stack_products"))
    rule = Rule("a piece of one product", functools.partial(_piece, found))
    return rewritten("stack_products", program, {"MatMul": (rule,)}, inner=inner)


def _found(program: Program) -> dict[int, Stacked]:
    """The products that become one: key -> which it is."""
    pieces: dict[int, tuple[Instruction, int]] = {}
    groups: dict[tuple[int, int, bool], list[tuple[int, int]]] = {}
    for ins in program.instructions:
        if ins.type == "Unpack" and not ins.after and ins.op.region is None:
            dims = program.values[ins.inputs[0]].dims
            if dims is not None and len(dims) == 3 and None not in dims and ins.attrs["axis"] % 3 == 0:
                pieces.update({v: (ins, i) for i, v in enumerate(ins.outputs) if v >= 0})
        elif ins.type == "MatMul" and ins.inputs[0] in pieces and not ins.attrs["transpose_a"]:
            known = program.values[ins.inputs[1]]
            if not ins.after and ins.op.region is None and known.dims is not None and len(known.dims) == 2:
                whole, number = pieces[ins.inputs[0]]
                place = whole.key, ins.inputs[1], ins.attrs["transpose_b"]
                groups.setdefault(place, []).append((ins.key, number))
    sizes = {ins.key: len(ins.outputs) for ins, _ in pieces.values()}
    out: dict[int, Stacked] = {}
    for (whole_key, _, _), group in groups.items():
        if len(group) >= max(2, MOST * sizes[whole_key]):
            out.update({key: Stacked(number, group[0][0]) for key, number in group})
    return out


def _piece(found: Mapping[int, Stacked], work: Work, ins: Instruction) -> Result:
    """The piece of the product of all, which comes in place of the first."""
    stacked = found.get(ins.key)
    before = work.maker.get(ins.inputs[0])
    if stacked is None or before is None:
        return None
    if stacked.first not in work.memory:
        whole, w = before.inputs[0], ins.inputs[1]
        count, rows, inner = work.dims(whole) or (0, 0, 0)
        flat = work.emit(ins, "Reshape", (whole, work.shape((count * rows, inner))))
        product = work.emit(ins, "MatMul", (flat, w), **ins.attrs)
        columns = (work.dims(product) or (0, 0))[1]
        work.memory[stacked.first] = work.emit(ins, "Reshape", (product, work.shape((count, rows, columns))))
    return ins._replace(type="StridedSlice", inputs=(work.memory[stacked.first],), attrs={"key": (stacked.number,)})
