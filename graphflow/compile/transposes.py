"""Transpositions that a matrix product does on its own: they become its flags.

Policy: exact to the bit.  A transposition is a view, and so is what the flag makes of an operand: the product sees the
same memory with the same strides.  Only the last two axes may change places.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.compile.rewrite import Result, Rule, Rules, Work, rewritten
from graphflow.compile.simplify import permutation
from graphflow.program import Instruction, Program

FLAGS = {"MatMul": ("transpose_a", "transpose_b")}


def fold_transposes(program: Program, inner: bool = False) -> Program:
    """One sweep; `inner` if the program is that of a function."""
    return rewritten("fold_transposes", program, RULES, inner=inner)


def _absorbed(work: Work, ins: Instruction) -> Result:
    inputs = list(ins.inputs)
    attrs: dict[str, Any] = dict(ins.attrs)
    for place, flag in enumerate(FLAGS[ins.type]):
        before = work.made_by(inputs[place], "Transpose")
        rank = len(work.dims(inputs[place]) or ())
        order = permutation(before, rank) if before is not None and rank >= 2 else None
        if order == (*range(rank - 2), rank - 1, rank - 2) and before is not None:
            inputs[place] = before.inputs[0]
            attrs[flag] = not attrs[flag]
    if inputs == list(ins.inputs):
        return None
    return ins._replace(inputs=tuple(inputs), attrs=attrs)


RULES: Rules = {name: (Rule("a product with other flags", _absorbed),) for name in FLAGS}
