"""Columns of a matrix product that nobody reads are not computed (O2).

    _, dh = split(dz @ transpose(w))      becomes      dh = dz @ transpose(w[28:])

So it is in the backward pass of a recurrent cell: the gradient of [x, h] is wanted for h alone.

Policy: an element stays the sum of the same products; BLAS may add them in another order for another number of columns,
so with k terms the error is at most k units in the last place of the sum of their absolute values, as it was before.
The operand is cut by a view.

State: none.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping

from graphflow.compile.rewrite import Result, Rule, Work, rewritten
from graphflow.program import Instruction, PassRecord, Program

CUT = -1  # what a sweep remembers: the parts of operands


def narrow_products(program: Program, inner: bool = False) -> Program:
    """One sweep; `inner` if the program is that of a function."""
    if not any(ins.type == "Split" for ins in program.instructions):
        return program.with_record(PassRecord("narrow_products"))
    reads = Counter([v for ins in program.instructions for v in ins.inputs])
    reads.update(program.fetches)
    rule = Rule("a narrower product", functools.partial(_narrowed, reads))
    return rewritten("narrow_products", program, {"Split": (rule,)}, inner=inner)


def _narrowed(reads: Mapping[int, int], work: Work, ins: Instruction) -> Result:
    """The product that gives the only piece that is read."""
    read = [place for place, v in enumerate(ins.outputs) if v >= 0 and reads[v]]
    before = work.made_by(ins.inputs[0], "MatMul")
    dims = work.dims(ins.inputs[0])
    if len(read) != 1 or len(ins.outputs) < 2 or before is None or reads[ins.inputs[0]] != 1 or dims is None:
        return None
    pieces = [work.dims(v) for v in ins.outputs if v >= 0]
    if len(dims) != 2 or len(pieces) != len(ins.outputs) or None in pieces:
        return None
    axis = ins.attrs["axis"] % 2
    sizes = [piece[axis] for piece in pieces]  # type: ignore[index]
    begin = sum(sizes[: read[0]])
    operands = list(before.inputs)
    turned = before.attrs["transpose_b"] if axis else before.attrs["transpose_a"]
    operands[axis] = _cut(work, ins, operands[axis], axis ^ int(turned), begin, begin + sizes[read[0]])
    out = (ins.outputs[read[0]],)
    return Instruction(ins.key, "MatMul", tuple(operands), out, before.attrs, (), ins.op)


def _cut(work: Work, ins: Instruction, v: int, axis: int, begin: int, end: int) -> int:
    """Rows or columns of a matrix."""
    place = (v, axis, begin, end)
    known: dict[tuple[int, ...], int] = work.memory.setdefault(CUT, {})
    if place not in known:
        key = ((None, None, None),) * axis + ((begin, end, None),)
        known[place] = work.emit(ins, "StridedSlice", (v,), key=key)
    return known[place]
