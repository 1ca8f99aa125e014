"""Broadcasts that never happen: a pointwise op reads the number, or the row, instead of a tensor made of its copies.

    Mul(Fill([64, 10], c), x)                  becomes   Mul(c, x)
    Mul(Spread(dy, [64, 10], mean), x)         becomes   Mul(dy / 640, x)
    Exp(x) * Neg(Spread(dy, ...))              becomes   Exp(x) * Neg(dy / 640)

Policy: exact to the bit.  It is done for ops that broadcast by NumPy's rules and compute no transcendental function:
NumPy has several loops for these, and another one for a single exponent than for a tensor of them.  The other operands
must lie in C order, so that the result does; half precision is left alone where the mean was taken in float32.  An
integer division keeps its operands, as it refuses zeros among them.

State: none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from graphflow import spec
from graphflow.compile.rewrite import Evaluate, Result, Rule, Rules, Work, rewritten, volume
from graphflow.opdef import OPS
from graphflow.program import Instruction, PassRecord, Program

LARGEST_CONSTANT = 1 << 22  # elements of a constant that are compared
MADE_CONSTANT = 1024  # elements of a constant that is made
WORTH = 2  # elements of a tensor, at least, that need not be made
_WORDS = {1: "u1", 2: "u2", 4: "u4", 8: "u8"}


def forward_broadcasts(program: Program, evaluate: Evaluate, inner: bool = False) -> Program:
    """One sweep; `inner` if the program is that of a function."""
    made = any(ins.type in SOURCES for ins in program.instructions)
    if not made and all(np.size(c) < WORTH for c in program.constants.values()):
        return program.with_record(PassRecord("forward_broadcasts"))
    return rewritten("forward_broadcasts", program, _rules(len(OPS)), evaluate, inner, scalars=False)


# -- what a tensor is made of ----------------------------------------------------------------------------------------


def _source(work: Work, v: int, like: Instruction) -> int | None:
    """A smaller value that broadcasts to exactly this one."""
    found: int | None = work.memory.get(v, -1)
    if found != -1:
        return found
    if v in work.constants:
        found = _one_number(work, v)
    else:
        ins = work.made_by(v, *SOURCES)
        found = None if ins is None else SOURCES[ins.type](work, ins, like)
    work.memory[v] = found
    return found


def _may_be_made(work: Work, v: int) -> bool:
    """Whether `_source` might find something; quick, as the answer is mostly no."""
    ins = work.maker.get(v)
    if ins is None:
        return v in work.constants and work.values[v].dims != ()
    return ins.type in SOURCES or v in work.memory


def _one_number(work: Work, v: int) -> int | None:
    """The only element that a constant repeats."""
    array = work.constants[v]
    word = _WORDS.get(array.dtype.itemsize)
    if word is None or array.dtype.kind not in "fiub" or array.size > LARGEST_CONSTANT or not array.flags.c_contiguous:
        return None
    bits = array.reshape(-1).view(word)
    if bits[0] != bits[-1] or not (bits == bits[0]).all():
        return None
    return work.constant(array.reshape(-1)[0])


def _of_fill(work: Work, ins: Instruction, like: Instruction) -> int | None:
    return ins.inputs[1]


def _of_broadcast(work: Work, ins: Instruction, like: Instruction) -> int | None:
    return ins.inputs[0] if work.plain(ins.inputs[0]) else None


def _of_zeros(work: Work, ins: Instruction, like: Instruction) -> int | None:
    return work.constant(ins.attrs["dtype"].np.type(0))


def _of_ones(work: Work, ins: Instruction, like: Instruction) -> int | None:
    return work.constant(ins.attrs["dtype"].np.type(1))


def _of_spread(work: Work, ins: Instruction, like: Instruction) -> int | None:
    """What was summed to each element, as a divided and reshaped small tensor."""
    x, dtype = ins.inputs[0], work.values[ins.inputs[0]].dtype
    dims, own, axes, mean = work.dims(ins.outputs[0]), work.dims(x), ins.attrs["axis"], ins.attrs["mean"]
    if dims is None or own is None or not work.plain(x) or mean and (dtype.kind != "float" or dtype.size < 4):
        return None
    kept = spec.reduced(dims, axes, True)
    if mean:
        count = volume(dims) // max(volume(kept), 1)  # type: ignore[arg-type]
        x = work.emit(like, "RealDiv", (x, work.constant(dtype.np.type(count))))
    if own and own != kept:
        x = work.emit(like, "Reshape", (x, work.shape(kept)))  # type: ignore[arg-type]
    return x


SOURCES: dict[str, Callable[[Work, Instruction, Instruction], int | None]] = {
    "Fill": _of_fill,
    "BroadcastTo": _of_broadcast,
    "ZerosLike": _of_zeros,
    "OnesLike": _of_ones,
    "Spread": _of_spread,
}


# -- who reads it ----------------------------------------------------------------------------------------------------


def _forwarded(work: Work, ins: Instruction) -> Result:
    """The instruction on smaller operands, if its result stays what it was."""
    if not any(_may_be_made(work, v) for v in ins.inputs):
        return None
    dims = work.dims(ins.outputs[0])
    if dims is None or volume(dims) < WORTH:
        return None
    if OPS[ins.type].can_fail and work.values[ins.inputs[0]].dtype.is_integer:
        return None
    inputs = list(ins.inputs)
    full = 0
    for place, v in enumerate(inputs):
        if work.values[v].dims == dims:
            small = _source(work, v, ins)
            if small is None:
                full += 1
            else:
                inputs[place] = small
    if inputs == list(ins.inputs) or not all(work.plain(v) for v in inputs):
        return None
    if full:
        return ins._replace(inputs=tuple(inputs))
    return _computed_small(work, ins, tuple(inputs), dims)


def _computed_small(work: Work, ins: Instruction, inputs: tuple[int, ...], dims: tuple[int, ...]) -> int | None:
    """All operands are broadcast: compute on the small ones as well, for readers that can do with that.

    Who needs all of it reads the instruction as it was: a view that repeats elements is summed in another order.  If
    all of it is known and small, it is a constant.
    """
    out = ins.outputs[0]
    if out in work.memory or 2 * _joint_volume(work, inputs) > volume(dims):
        return None
    small = work.memory[out] = work.emit(ins, ins.type, inputs, **ins.attrs)
    value = work.constants.get(small)
    if value is None or volume(dims) > MADE_CONSTANT:
        return None
    return work.constant(np.array(np.broadcast_to(value, dims), order="C"))


def _joint_volume(work: Work, inputs: tuple[int, ...]) -> int:
    """How many elements come of these operands."""
    return volume(spec.broadcast_all([work.dims(v) for v in inputs]))  # type: ignore[arg-type]


_rule = Rule("the same on what was broadcast", _forwarded)


@functools.lru_cache(2)
def _rules(known: int) -> Rules:
    """The rule for all ops that broadcast by NumPy's rules, and compute nothing transcendental."""
    return {
        name: (_rule,)
        for name, definition in OPS.items()
        if definition.broadcasts and not definition.functions and getattr(definition.infer, "pointwise", False)
    } | dict.fromkeys(("Neg", "Abs", "Square", "Sqrt"), (_rule,))
