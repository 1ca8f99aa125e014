"""Arithmetic and movements of elements that change nothing, or that less does as well.

Policy: exact to the bit, the sign of zero and the place of every NaN included (x + 0 would turn -0 into 0, so it
stays; x - 0 does not).  Complex products and quotients are left alone: a neutral element is not neutral for infinities
there.  Nothing that could fail is removed while it still can.  Each rule stands in a table under the op types that it
is for.

State: none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphflow.compile.rewrite import Result, Rule, Rules, Work, rewritten, volume
from graphflow.dtypes import DType
from graphflow.program import Instruction, Program

SMALL = 1024  # elements of a constant that is looked through, or made


def simplify(program: Program, inner: bool = False) -> Program:
    """One sweep with all the rules; `inner` if the program is that of a function."""
    return rewritten("simplify", program, RULES, inner=inner)


# -- neutral elements ------------------------------------------------------------------------------------------------


class Neutral(NamedTuple):
    """What does not change the other operand."""

    places: tuple[int, ...]  # operands that may be it
    of_floats: float | None
    of_integers: int | None


NEUTRAL = {
    "Add": Neutral((0, 1), -0.0, 0),
    "Sub": Neutral((1,), 0.0, 0),
    "Mul": Neutral((0, 1), 1.0, 1),
    "RealDiv": Neutral((1,), 1.0, None),
    "FloorDiv": Neutral((1,), None, 1),
    "TruncateDiv": Neutral((1,), None, 1),
}
INTEGERS = ("int", "uint")


def _is_all(constant: Any, wanted: float) -> bool:
    """Whether a constant has one value everywhere, the sign of zero included."""
    if type(constant) is not np.ndarray and constant != wanted:  # most often, and quicker
        return False
    if np.size(constant) > SMALL or not np.size(constant):
        return False
    if not np.all(constant == constant.dtype.type(wanted)):
        return False
    return wanted != 0 or constant.dtype.kind in "iu" or bool(np.all(np.signbit(constant) == np.signbit(wanted)))


def _without_neutral(work: Work, ins: Instruction) -> Result:
    constants = work.constants
    x, y = ins.inputs
    if x not in constants and y not in constants:
        return None
    neutral, kind = NEUTRAL[ins.type], work.values[x].dtype.kind
    wanted = neutral.of_floats if kind == "float" else neutral.of_integers if kind in INTEGERS else None
    if wanted is None:
        return None
    for place in neutral.places:
        constant, other = constants.get(ins.inputs[place]), ins.inputs[1 - place]
        if constant is not None and _is_all(constant, wanted) and work.plain(other):
            return other
    return None


def _integer_zero(work: Work, ins: Instruction) -> Result:
    known = work.values[ins.outputs[0]]
    dims = work.dims(ins.outputs[0])
    if known.dtype.kind not in INTEGERS or dims is None or volume(dims) > SMALL:
        return None
    if not any(v in work.constants and _is_all(work.constants[v], 0) for v in ins.inputs):
        return None
    return work.constant(np.zeros(dims, known.dtype.np))


def _of_twins(work: Work, ins: Instruction) -> Result:
    x, y = ins.inputs
    return x if x == y and work.plain(x) else None


# -- signs, powers, selections ---------------------------------------------------------------------------------------


def _undone(work: Work, ins: Instruction) -> Result:
    """An op that is its own inverse, twice."""
    before = work.made_by(ins.inputs[0], ins.type)
    return before.inputs[0] if before is not None and work.plain(before.inputs[0]) else None


def _once_is_enough(work: Work, ins: Instruction) -> Result:
    before = work.made_by(ins.inputs[0], ins.type)
    if before is None or work.values[ins.inputs[0]].dtype.is_complex:
        return None
    return ins.inputs[0] if work.plain(ins.inputs[0]) else None


def _of_any_sign(work: Work, ins: Instruction) -> Result:
    before = work.made_by(ins.inputs[0], "Neg")
    if before is None or work.values[ins.inputs[0]].dtype.is_complex:
        return None
    return ins._replace(inputs=before.inputs)


def _squared(work: Work, ins: Instruction) -> Result:
    x, y = ins.inputs
    exponent = work.constants.get(y)
    if exponent is None or np.ndim(exponent) or work.values[y].dtype.is_complex or exponent != 2:
        return None
    return ins._replace(type="Square", inputs=(x,), attrs={})


def _divided_by_a_power_of_two(work: Work, ins: Instruction) -> Result:
    """A multiplication by its reciprocal, which is exact, so that both round the same number."""
    divisor = work.constants.get(ins.inputs[1])
    if divisor is None or np.ndim(divisor) or divisor.dtype.kind != "f" or work.dims(ins.outputs[0]) in (None, ()):
        return None
    digits, exponent = np.frexp(divisor)
    if abs(digits) != 0.5 or abs(1 - exponent) > -np.finfo(divisor.dtype).minexp:
        return None
    reciprocal = divisor.dtype.type(np.ldexp(4 * digits, -exponent))
    return ins._replace(type="Mul", inputs=(ins.inputs[0], work.constant(reciprocal)))


def _chosen_beforehand(work: Work, ins: Instruction) -> Result:
    condition, x, y = ins.inputs
    known = work.constants.get(condition)
    if known is None or np.size(known) > SMALL or not np.size(known):
        return None
    chosen = x if np.all(known) else y if not np.any(known) else None
    return chosen if chosen is not None and work.plain(chosen) else None


def _chosen_or_zero(work: Work, ins: Instruction) -> Result:
    """A choice between a tensor and +0, as gradients make it, is a multiplication of bits by 0 or 1."""
    condition, x, y = ins.inputs
    dims = work.dims(ins.outputs[0])
    for chosen, other, holds in ((x, y, True), (y, x, False)):
        zero = work.constants.get(other)
        if zero is None or work.dims(chosen) != dims or zero.dtype.kind not in "fiu" or not _is_all(zero, 0.0):
            continue
        return ins._replace(type="ZeroUnless", inputs=(condition, chosen), attrs={"holds": holds})
    return None


# -- casts -----------------------------------------------------------------------------------------------------------

_DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
_RANGE = {"float16": 0, "bfloat16": 1, "float32": 1, "float64": 2}


def lossless(source: DType, target: DType) -> bool:
    """Whether every value of one dtype is one of the other."""
    if source is target:
        return True
    if source.is_bool:
        return target.kind in (*INTEGERS, "float")
    if source.kind in INTEGERS and target.kind in INTEGERS:
        return bool(target.min <= source.min and source.max <= target.max)
    if target.kind != "float" or target.name not in _DIGITS or target.name == "float16":
        return False
    if source.kind in INTEGERS:
        return bool(max(source.max, -source.min) <= 1 << _DIGITS[target.name])
    if source.name not in _DIGITS:
        return False
    return _DIGITS[source.name] <= _DIGITS[target.name] and _RANGE[source.name] <= _RANGE[target.name]


def _cast_at_once(work: Work, ins: Instruction) -> Result:
    """A cast of a cast that lost nothing."""
    before = work.made_by(ins.inputs[0], "Cast")
    if before is None:
        return None
    x = before.inputs[0]
    source, middle = work.values[x].dtype, work.values[ins.inputs[0]].dtype
    if not lossless(source, middle):
        return None
    if source is ins.attrs["dtype"]:
        return x if work.plain(x) else None
    return ins._replace(inputs=(x,))


# -- movements -------------------------------------------------------------------------------------------------------


def permutation(ins: Instruction, rank: int) -> tuple[int, ...] | None:
    """The order of axes of a transposition, if it is known."""
    if len(ins.inputs) != 1:
        return None
    perm = ins.attrs["perm"]
    return tuple(reversed(range(rank))) if perm is None else tuple(p + rank if p < 0 else p for p in perm)


def _transposed_at_once(work: Work, ins: Instruction) -> Result:
    dims = work.dims(ins.inputs[0])
    order = None if dims is None else permutation(ins, len(dims))
    if order is None:
        return None
    if order == tuple(range(len(order))):
        return ins.inputs[0]
    before = work.made_by(ins.inputs[0], "Transpose")
    first = None if before is None else permutation(before, len(order))
    if first is None or before is None:
        return None
    return ins._replace(inputs=before.inputs, attrs={"perm": tuple(first[p] for p in order)})


SAME_ORDER = ("Reshape", "ExpandDims", "Squeeze")  # they move no element


def _reshaped_at_once(work: Work, ins: Instruction) -> Result:
    dims = work.dims(ins.outputs[0])
    before = work.made_by(ins.inputs[0], *SAME_ORDER)
    if dims is None or before is None or not work.plain(before.inputs[0]):
        return None
    x = before.inputs[0]
    if work.dims(x) == dims:
        return x
    return ins._replace(type="Reshape", inputs=(x, work.shape(dims)), attrs={})


def _all_of_it(work: Work, ins: Instruction) -> Result:
    """A part that is the whole, or a whole of one part: same shape, and elements in the same order."""
    x, *others = ins.inputs
    if not all(v in work.constants for v in others):  # which might be wrong in a run
        return None
    return x if work.values[x][:2] == work.values[ins.outputs[0]][:2] and work.plain(x) else None


def _all_of_slice(work: Work, ins: Instruction) -> Result:
    key = ins.attrs["key"]
    if len(ins.inputs) != 1 or any(part != "..." and not _is_forward(part) for part in key):
        return None
    return _all_of_it(work, ins)


def _is_forward(part: Any) -> bool:
    return isinstance(part, tuple) and part[2] in (None, 1) and part[0] != "t" and part[1] != "t"


def _of_one(work: Work, ins: Instruction) -> Result:
    return _all_of_it(work, ins) if len(ins.inputs) == 1 else None


def _pack_of_one(work: Work, ins: Instruction) -> Result:
    if len(ins.inputs) != 1 or not work.plain(ins.inputs[0]) or work.dims(ins.inputs[0]) is None:
        return None
    return ins._replace(type="ExpandDims")


def _sum_of_two(work: Work, ins: Instruction) -> Result:
    return ins._replace(type="Add") if len(ins.inputs) == 2 else None


# -- biases and the gradients of broadcasting ------------------------------------------------------------------------


def _plain_addition(work: Work, ins: Instruction) -> Result:
    if ins.attrs["channels"] != "last" or work.dims(ins.outputs[0]) is None:
        return None
    return ins._replace(type="Add", attrs={})


def _bias_gradient(work: Work, ins: Instruction) -> Result:
    known, dims = work.values[ins.inputs[0]], work.dims(ins.inputs[0])
    if dims is None or known.dtype.kind != "float":
        return None
    kept = len(dims) - 1 if ins.attrs["channels"] == "last" else 1
    return _sum(ins, tuple(i for i in range(len(dims)) if i != kept), False)


def _plain_sum(work: Work, ins: Instruction) -> Result:
    """The axes are known: those that come first, or those that stay with size 1."""
    own, wanted = work.dims(ins.inputs[0]), work.dims(ins.outputs[0])
    if own is None or wanted is None or own == wanted or len(wanted) > len(own):
        return None
    lead = len(own) - len(wanted)
    if own[lead:] == wanted:
        return _sum(ins, tuple(range(lead)), False)
    if lead:
        return None
    axes = tuple(i for i, d in enumerate(own) if d != wanted[i])
    return _sum(ins, axes, True) if all(wanted[i] == 1 for i in axes) else None


def _sum(ins: Instruction, axis: tuple[int, ...], keepdims: bool) -> Instruction:
    return ins._replace(type="Sum", inputs=ins.inputs[:1], attrs={"axis": axis, "keepdims": keepdims})


_neutral = Rule("its other operand", _without_neutral)
_twins = Rule("its operand", _of_twins)
_undo = Rule("what it undoes", _undone)
_reshape = Rule("one Reshape, or nothing", _reshaped_at_once)
_whole = Rule("its input", _all_of_it)

RULES: Rules = {
    **dict.fromkeys(NEUTRAL, (_neutral,)),
    "Mul": (_neutral, Rule("zero", _integer_zero)),
    **dict.fromkeys(("Maximum", "Minimum", "LogicalAnd", "LogicalOr"), (_twins,)),
    **dict.fromkeys(("Neg", "LogicalNot", "Conj"), (_undo,)),
    "Abs": (Rule("its input", _once_is_enough), Rule("Abs of any sign", _of_any_sign)),
    **{name: (Rule("its input", _once_is_enough),) for name in ("Floor", "Ceil", "Rint", "Round", "Sign")},
    "RealDiv": (_neutral, Rule("Mul", _divided_by_a_power_of_two)),
    "Pow": (Rule("Square", _squared),),
    "Select": (Rule("one of its inputs", _chosen_beforehand), Rule("ZeroUnless", _chosen_or_zero)),
    "Cast": (Rule("one Cast, or nothing", _cast_at_once),),
    "Transpose": (Rule("one Transpose, or nothing", _transposed_at_once),),
    **dict.fromkeys(SAME_ORDER, (_reshape,)),
    **dict.fromkeys(("Slice", "Tile", "Pad", "MirrorPad"), (_whole,)),
    "StridedSlice": (Rule("its input", _all_of_slice),),
    "Concat": (Rule("its input", _of_one),),
    "Pack": (Rule("ExpandDims", _pack_of_one),),
    "AddN": (Rule("its input", _of_one), Rule("Add", _sum_of_two)),
    "BiasAdd": (Rule("Add", _plain_addition),),
    "BiasAddGrad": (Rule("Sum", _bias_gradient),),
    "SumTo": (Rule("Sum", _plain_sum),),
}
