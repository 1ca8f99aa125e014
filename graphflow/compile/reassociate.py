"""Arithmetic that is the same on paper (O2): constants put together, signs that cancel.

    c1 * (c2 * x)            becomes   (c1 c2) * x         also through x + x, -x and x / c2
    -((-a) * b)              becomes   a * b               and likewise for other signs: x + (-y) is x - y

Policy: each rule states how far its result may be from the one that it replaces, in units in the last place.  Constants
put together: 3 (and, below the normal numbers, the smallest one), as two roundings become three others at most.  Signs:
0, but for the sign of a zero and of a NaN.  Both factors enlarge or both reduce, so that nothing overflows or vanishes
in between that would not do so in the end: an infinity is not lost.  What is looked through has no other reader, or
costs nothing to keep.

State: none.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphflow.compile.rewrite import Result, Rule, Rules, Work, rewritten
from graphflow.program import Instruction, PassRecord, Program

Reads = Mapping[int, int]
FLOATS = (4, 8)  # bytes of the dtypes that it is done for


def reassociate(program: Program, inner: bool = False) -> Program:
    """One sweep with all the rules; `inner` if the program is that of a function."""
    values = program.values
    if all(values[ins.outputs[0]].dims == () for ins in program.instructions if ins.type in FACTORS):
        return program.with_record(PassRecord("reassociate"))
    reads = Counter([v for ins in program.instructions for v in ins.inputs])
    reads.update(program.fetches)
    return rewritten("reassociate", program, _rules(reads), inner=inner, scalars=False)


def _known(work: Work, v: int) -> Any:
    """The number that a value is, if it is a constant of rank 0 and one of the floats."""
    constant = work.constants.get(v)
    if constant is None or np.ndim(constant) or constant.dtype.kind != "f" or constant.dtype.itemsize not in FLOATS:
        return None
    return constant if np.isfinite(constant) and constant != 0 else None


def _sole(reads: Reads, work: Work, v: int, *types: str) -> Instruction | None:
    """The instruction that makes a value which is read once."""
    return work.made_by(v, *types) if reads.get(v, 0) == 1 and work.values[v].dims != () else None


# -- constants -------------------------------------------------------------------------------------------------------


def _factor(work: Work, ins: Instruction) -> tuple[Any, int] | None:
    """What an instruction is as a constant times a value."""
    form = FACTORS.get(ins.type)
    return None if form is None else form(work, ins)


def _of_mul(work: Work, ins: Instruction) -> tuple[Any, int] | None:
    for place in (0, 1):
        constant = _known(work, ins.inputs[place])
        if constant is not None:
            return constant, ins.inputs[1 - place]
    return None


def _of_div(work: Work, ins: Instruction) -> tuple[Any, int] | None:
    constant = _known(work, ins.inputs[1])
    if constant is None:
        return None
    with np.errstate(all="ignore"):
        return constant.dtype.type(1) / constant, ins.inputs[0]


def _of_neg(work: Work, ins: Instruction) -> tuple[Any, int] | None:
    dtype = work.values[ins.inputs[0]].dtype
    return (dtype.np.type(-1), ins.inputs[0]) if dtype.kind == "float" and dtype.size in FLOATS else None


def _of_twice(work: Work, ins: Instruction) -> tuple[Any, int] | None:
    x, y = ins.inputs
    dtype = work.values[x].dtype
    return (dtype.np.type(2), x) if x == y and dtype.kind == "float" and dtype.size in FLOATS else None


FACTORS: dict[str, Callable[[Work, Instruction], tuple[Any, int] | None]] = {
    "Mul": _of_mul,
    "RealDiv": _of_div,
    "Neg": _of_neg,
    "Add": _of_twice,
}


def _one_factor(reads: Reads, work: Work, ins: Instruction) -> Result:
    """A constant times a constant times x; the inner one may stay, if others read it."""
    outer = _factor(work, ins)
    if outer is None:
        return None
    factor, v = outer
    before = work.made_by(v, *FACTORS)
    if before is None or work.values[v].dims == () or work.values[v].dims != work.values[ins.outputs[0]].dims:
        return None
    inner = _factor(work, before)
    if inner is None:
        return None
    if min(abs(factor), abs(inner[0])) < 1 < max(abs(factor), abs(inner[0])):
        return None
    with np.errstate(all="ignore"):
        product = factor * inner[0]
    if not np.isfinite(product) or abs(product) < np.finfo(product.dtype).tiny:
        return None
    if product == 1 and work.plain(inner[1]) and work.values[inner[1]].dims == work.values[v].dims:
        return inner[1]
    return ins._replace(type="Mul", inputs=(work.constant(product), inner[1]), attrs={})


# -- signs -----------------------------------------------------------------------------------------------------------


def _unsigned(work: Work, v: int) -> int | None:
    """What a value is the negative of."""
    before = work.made_by(v, "Neg")
    return None if before is None or work.values[v].dims == () else before.inputs[0]


def _two_signs(reads: Reads, work: Work, ins: Instruction) -> Result:
    """A product or quotient of two negatives."""
    a, b = (_unsigned(work, v) for v in ins.inputs)
    return None if a is None or b is None else ins._replace(inputs=(a, b))


def _negative_of_negative(reads: Reads, work: Work, ins: Instruction) -> Result:
    """The negative of a product, quotient or sum with a negative in it, or of a difference."""
    inside = _sole(reads, work, ins.inputs[0], "Mul", "RealDiv", "Sub")
    if inside is None:
        return None
    x, y = inside.inputs
    if inside.type == "Sub":
        return ins._replace(type="Sub", inputs=(y, x))
    a, b = _unsigned(work, x), _unsigned(work, y)
    if a is None and b is None:
        return None
    return ins._replace(type=inside.type, inputs=(a, y) if a is not None else (x, b))  # type: ignore[arg-type]


def _added_negative(reads: Reads, work: Work, ins: Instruction) -> Result:
    x, y = ins.inputs
    b = _unsigned(work, y)
    if b is not None:
        return ins._replace(type="Sub", inputs=(x, b))
    a = _unsigned(work, x)
    return None if a is None else ins._replace(type="Sub", inputs=(y, a))


def _subtracted_negative(reads: Reads, work: Work, ins: Instruction) -> Result:
    b = _unsigned(work, ins.inputs[1])
    return None if b is None else ins._replace(type="Add", inputs=(ins.inputs[0], b))


def _rules(reads: Reads) -> Rules:
    """The rules by op type, with the number of readers of each value."""

    def rule(became: str, function: Callable[[Reads, Work, Instruction], Result]) -> Rule:
        return Rule(became, functools.partial(function, reads))

    factor = rule("one factor", _one_factor)
    signs = rule("without signs", _two_signs)
    return {
        "Mul": (factor, signs),
        "RealDiv": (factor, signs),
        "Neg": (factor, rule("without a sign", _negative_of_negative)),
        "Add": (rule("Sub", _added_negative),),
        "Sub": (rule("Add", _subtracted_negative),),
    }
