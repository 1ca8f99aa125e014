"""From a fusion group to launches: pointwise steps in one pass over their index space, with reductions at their end.

Policy: a group's pointwise results, and one kind of its reductions, come from one pass, which stores only what is read
outside.  Reductions over other axes take a pass of their own, which reads what was stored and computes the rest again.
If a variable is updated in place they come first, since they need what it was.  Single numbers that are known stand in
the text.  A group with an op that has no expression for its dtypes has no launches.

State: none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from graphflow.dtypes import DType
from graphflow.program import Instruction
from graphflow.spec import Dims, TensorSpec, broadcast_all, is_concrete
from graphflow_opencl.across import across, keeps_innermost
from graphflow_opencl.along import along
from graphflow_opencl.bodies import Read, Unprintable, Work
from graphflow_opencl.expressions import EXPRESSIONS
from graphflow_opencl.folds import REDUCTIONS, Fold, fold_of
from graphflow_opencl.merging import merged
from graphflow_opencl.registers import held
from graphflow_opencl.table import Launch, Traits

__all__ = ["group_launches", "is_pointwise", "launches_of", "merged"]

NAMED = 4  # ops of a group that its title names


def is_pointwise(type: str) -> bool:
    """Whether an op type can be a step of a group."""
    return type in EXPRESSIONS


def _beside_channels(ins: Instruction, dims: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    value, bias = dims
    return [value, bias if ins.attrs["channels"] == "last" else (*bias, *(1,) * (len(value) - 2))]


def _by_rows(ins: Instruction, dims: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    condition, *others = dims
    rank = max(map(len, others))
    return [(*condition, *(1,) * (rank - 1)) if len(condition) == 1 < rank else condition, *others]


# Op types whose inputs do not broadcast as they are: their dims as operands that do.
OPERANDS: dict[str, Callable[[Instruction, Sequence[tuple[int, ...]]], list[tuple[int, ...]]]] = {
    "BiasAdd": _beside_channels, "Select": _by_rows, "ZeroUnless": _by_rows,
}  # fmt: skip


def operand_dims(ins: Instruction, values: Sequence[TensorSpec]) -> list[tuple[int, ...]] | None:
    """The dims of what a pointwise op reads, so that they broadcast; None where one is not known."""
    dims = [d for v in ins.inputs if is_concrete(d := values[v].dims)]
    if len(dims) < len(ins.inputs):
        return None
    return OPERANDS[ins.type](ins, dims) if ins.type in OPERANDS else dims


def group_launches(
    instructions: Sequence[Instruction],
    outputs: Collection[int],
    values: Sequence[TensorSpec],
    constants: Mapping[int, Any],
    traits: Traits,
    updates: Mapping[int, int] | None = None,
) -> list[Launch] | None:
    """The launches of one group, or of one pointwise instruction; None if it has to run elsewhere.

    `updates` names the variables, by their handles, that take values of the group; the others that `outputs` names
    have memory of their own.
    """
    updates = updates or {}
    steps = tuple(ins for ins in instructions if ins.type not in REDUCTIONS)
    made = {ins.outputs[0] for ins in instructions}
    if -1 in made:  # kept for what it refuses alone
        return None
    reads: dict[int, Read] = {}
    for ins in instructions:
        placed = operand_dims(ins, values)
        if placed is None:
            return None
        for v, own in zip(ins.inputs, placed, strict=True):
            if v not in made and v not in reads:
                reads[v] = _read(v, values[v].dtype, own, constants.get(v))
    numbers = {*reads, *made}
    if not all(_fits(values[v].dtype, traits) for v in numbers):
        return None
    space = _space(steps, instructions, values, reads)
    if not is_concrete(space):
        return None
    reductions = [ins for ins in instructions if ins.type in REDUCTIONS and ins.outputs[0] in outputs]
    folds = [f for ins in reductions if (f := _fold(ins, values, space)) is not None]
    stores = [(v, v) for ins in steps if (v := ins.outputs[0]) in outputs]
    stores += [(v, handle) for v, handle in updates.items()]
    dtypes = {v: values[v].dtype for v in numbers}
    if len(folds) < len(reductions):
        return None
    work = Work(space, reads, steps, dtypes, tuple(stores), tuple(folds), _title(instructions))
    return launches_of(work, traits, bool(updates))


def _fold(ins: Instruction, values: Sequence[TensorSpec], space: tuple[int, ...]) -> Fold | None:
    v, (result,) = ins.inputs[0], ins.outputs
    return fold_of(ins.type, v, values[v].dtype, space, ins.attrs["axis"], result, values[result].dtype)


def _read(v: int, dtype: DType, dims: tuple[int, ...], known: Any) -> Read:
    if known is not None and prod(dims) == 1:
        return Read(None, dtype, dims, np.asarray(known).reshape(-1)[0])
    return Read(v, dtype, dims)


def _fits(dtype: DType, traits: Traits) -> bool:
    return held(dtype) and (traits.doubles or dtype.name != "float64")


def _space(
    steps: Sequence[Instruction],
    instructions: Sequence[Instruction],
    values: Sequence[TensorSpec],
    reads: Mapping[int, Read],
) -> Dims:
    """The group's dims."""
    if not steps:
        return values[instructions[0].inputs[0]].dims
    return broadcast_all([*(r.dims for r in reads.values()), *(values[ins.outputs[0]].dims for ins in steps)])


def _title(instructions: Sequence[Instruction]) -> str:
    names = [ins.type for ins in instructions]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return " ".join(names[:NAMED]) + more


def launches_of(work: Work, traits: Traits, updates: bool = False) -> list[Launch] | None:
    """The launches of a piece of work; `updates` says that stores may change what is read."""
    if not prod(work.dims):
        return [launch for f in work.folds for launch in _of_nothing(work, f, traits)]
    scratch = itertools.count()
    try:
        first, others = _passes(work, updates)
        made = [(p, along(p, traits, scratch, True)) for p in first]
        rest = []
        for p in others:
            make = across if keeps_innermost(p) else along
            rest += make(p, traits, scratch, not first)
    except Unprintable:
        return None
    main = [launch for _, launches in made for launch in launches]
    return [*rest, *main] if updates else [*main, *rest]


def _of_nothing(work: Work, f: Fold, traits: Traits) -> list[Launch]:
    """What writes the results of a reduction of no elements."""
    if not prod(f.kept):
        return []
    value = f.neutral_value if f.divisor else float("nan")
    filled = Work(f.kept, {-1: Read(None, f.dtype, (), value)}, (), {-1: f.dtype}, ((-1, f.argument),), (), work.title)
    return along(filled, traits, itertools.count())


def _passes(work: Work, updates: bool) -> tuple[list[Work], list[Work]]:
    """The main pass, if there is one, and those of reductions that do not fit it."""
    classes: dict[tuple[bool, ...], list[Fold]] = {}
    for f in work.folds:
        kept = tuple(k != 1 or d == 1 for k, d in zip(f.kept, work.dims, strict=True))
        classes.setdefault(kept, []).append(f)
    passes = {kept: work._replace(stores=(), folds=tuple(folds)).needed() for kept, folds in classes.items()}
    main = work._replace(folds=()).needed() if work.stores else None
    others = []
    for kept, alone in passes.items():
        if main is not None and not main.folds and not keeps_innermost(alone):
            main = work._replace(folds=tuple(classes[kept])).needed()
        else:
            others.append(kept)
    if not updates:
        work = _with_stored(work)
    return [main] if main else [], [work._replace(stores=(), folds=tuple(classes[kept])).needed() for kept in others]


def _with_stored(work: Work) -> Work:
    """The same work, reading what another pass has stored."""
    stored = {v: Read(argument, work.dtypes[v], work.dims) for v, argument in work.stores}
    return work._replace(reads={**work.reads, **stored})
