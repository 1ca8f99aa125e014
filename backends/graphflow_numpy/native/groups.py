"""Nests: what the code of a fusion group depends on, and nothing else, so that equal structure is one kernel.

Policy: pure functions from a Program to hashable values.  Values are numbered anew, axes merged, numbers that the
program knows become part of the nest.  What native code cannot do (a dtype, an op, a reduction to a large scattered
result) has no nest.

State: none.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec, is_concrete
from graphflow_numpy.native import scalars, spaces
from graphflow_numpy.native.emission import Emitter, Function, V
from graphflow_numpy.native.reductions import KINDS

MOST_STEPS = 4000  # of one function: what LLVM needs for more grows faster than its length
MOST_TAILS = 64  # reductions, each with a register in every turn of the loop: 1,200 took LLVM seven seconds

MOST_SCATTERED = 1 << 16  # elements of a result that each unit has a copy of


class Operand(NamedTuple):
    """An input or output of the group: its element types and how it lies in the merged space."""

    elem: str
    stored: str  # the element type in memory
    unsigned: bool
    along: spaces.Pattern
    known: float | int | bool | None = None
    streamed: bool = False  # written past the caches, to memory that is aligned to a vector


class Step(NamedTuple):
    """One instruction over numbered values; those of the inputs come first."""

    type: str
    attrs: tuple[tuple[str, Any], ...]
    inputs: tuple[int, ...]
    output: int


class Tail(NamedTuple):
    """A reduction: of which value, and how its result lies in the merged space."""

    type: str
    value: int
    elem: str
    along: spaces.Pattern
    slot: int  # number of the output's pointer


class Nest(NamedTuple):
    """All that a group's code depends on: equal nests are one kernel."""

    dims: tuple[int, ...]
    inputs: tuple[Operand, ...]
    steps: tuple[Step, ...]
    stores: tuple[tuple[int, int, Operand], ...]  # value, number of the pointer, and where it lies
    tails: tuple[Tail, ...]
    slots: int  # inputs and outputs


def nest_of(
    program: Program,
    instructions: Sequence[Instruction],
    inputs: Sequence[int],
    outputs: Sequence[int],
    streamed: Collection[int] = (),
) -> Nest | None:
    """The nest of a group; None where native code has no such type, axis or attribute."""
    values = program.values
    members = [ins for ins in instructions if ins.type not in KINDS]
    tails = [ins for ins in instructions if ins.type in KINDS and ins.outputs[0] in outputs]
    if not all(values[ins.inputs[0]].dtype.name in ("float32", "float64") for ins in tails):
        return None
    dims = values[members[0].outputs[0] if members else instructions[0].inputs[0]].dims
    if not is_concrete(dims) or 0 in dims or not _plain(program, (*inputs, *outputs), members):
        return None
    made = {ins.outputs[0] for ins in tails}
    stored = [v for v in outputs if v not in made]
    patterns = [spaces.pattern(d, dims) for v in inputs if is_concrete(d := values[v].dims)]
    if len(patterns) < len(inputs):
        return None
    patterns += [(True,) * len(dims)] * len(stored)
    patterns += [spaces.reduced(ins.attrs["axis"], len(dims)) for ins in tails]
    found = spaces.merged(dims, patterns)
    number = {v: i for i, v in enumerate(inputs)}
    steps = []
    for ins in members:
        attrs = tuple(sorted(ins.attrs.items()))
        steps.append(Step(ins.type, attrs, tuple(number[v] for v in ins.inputs), len(number)))
        number[ins.outputs[0]] = len(number)
    slot = {v: len(inputs) + i for i, v in enumerate(outputs)}
    lie = iter(found.patterns)
    operands = tuple(_operand(values[v], next(lie), program.constants.get(v)) for v in inputs)
    stores = [(number[v], slot[v], _operand(values[v], next(lie))._replace(streamed=v in streamed)) for v in stored]
    ends = []
    for ins, along in zip(tails, lie, strict=True):
        of, out = ins.inputs[0], ins.outputs[0]
        if all(along):  # over axes of size 1: the value itself
            stores.append((number[of], slot[out], _operand(values[of], along)))
        else:
            ends.append(Tail(ins.type, number[of], scalars.ELEMENTS[values[of].dtype.name][0], along, slot[out]))
    nest = Nest(found.dims, operands, tuple(steps), tuple(stores), tuple(ends), len(inputs) + len(outputs))
    scattered = [kept_size(nest, t) for t in ends if reach(t).startswith("scattered")]
    return None if section(nest) is None or max(scattered, default=0) > MOST_SCATTERED else nest


def _plain(program: Program, ends: Sequence[int], members: Sequence[Instruction]) -> bool:
    """Whether the dtypes and attributes are ones that code can be written for."""
    values = [*ends, *[ins.outputs[0] for ins in members]]
    try:
        hash(tuple(tuple(sorted(ins.attrs.items())) for ins in members))
    except TypeError:
        return False
    return all(program.values[v].dtype.name in scalars.ELEMENTS for v in values)


def _operand(known: TensorSpec, along: spaces.Pattern, constant: Any = None) -> Operand:
    value = None
    if constant is not None and np.size(constant) == 1:
        value = np.asarray(constant).reshape(-1)[0].item()
    return Operand(*scalars.ELEMENTS[known.dtype.name], along, value)


def reach(tail: Tail) -> str:
    """How far a reduction reaches: over `all`, a `row`, a `section` of rows, or `down` the columns of either.

    That is if the axes that stay are some first ones, with the last one or without; else rows, or their elements, go to
    places that lie `scattered` in the result.
    """
    first, last = _first_kept(tail), tail.along[-1]
    if sum(tail.along) != first + last:
        return "scattered_down" if last else "scattered"
    if not first:
        return "down" if last else "all"
    if last:
        return "section_down"
    return "row" if first == len(tail.along) - 1 else "section"


def _first_kept(tail: Tail) -> int:
    """How many axes stay before the first that is reduced."""
    return tail.along.index(False)


def kept_size(nest: Nest, tail: Tail) -> int:
    """How many elements the result of a reduction has."""
    return prod(n for n, stays in zip(nest.dims, tail.along, strict=True) if stays)


def section(nest: Nest) -> int | None:
    """How many rows are reduced together by the reductions over sections: 0 if there are none, None if they differ."""
    found = {prod(nest.dims[_first_kept(t) : -1]) for t in nest.tails if reach(t) in ("section", "section_down")}
    return found.pop() if len(found) == 1 else None if found else 0


Kind = tuple[str, bool, Any]  # element type, whether unsigned, the number if it is known


@functools.lru_cache(4096)
def _result(step_type: str, attrs: tuple[tuple[str, Any], ...], inputs: tuple[Kind, ...]) -> Kind | None:
    """What an op makes of such inputs; None if it has no row in the table, or one that does not take them."""
    emit = scalars.TABLE.get(step_type)
    if emit is None:
        return None
    e = Function(itertools.count()).emitter(2)
    values = [e.constant(known or 0, elem)._replace(known=known, unsigned=unsigned) for elem, unsigned, known in inputs]
    found = emit(e, *values, **dict(attrs))
    return None if found is None else (found.elem, found.unsigned, None)


def has_code(nest: Nest) -> bool:
    """Whether every op has a row in the table that takes what it gets."""
    if len(nest.steps) > MOST_STEPS or len(nest.tails) > MOST_TAILS:
        return False
    kinds: list[Kind | None] = [(o.elem, o.unsigned, o.known) for o in nest.inputs]
    for step in nest.steps:
        kinds.append(_result(step.type, step.attrs, tuple([kinds[v] for v in step.inputs])))
        if kinds[-1] is None:
            return False
    return True


def values_of(e: Emitter, nest: Nest, inputs: Sequence[V]) -> list[V] | None:
    """The values of all steps, after the inputs."""
    found = list(inputs)
    for step in nest.steps:
        emit = scalars.TABLE.get(step.type)
        value = emit(e, *[found[v] for v in step.inputs], **dict(step.attrs)) if emit is not None else None
        if value is None:
            return None
        found.append(value)
    return found
