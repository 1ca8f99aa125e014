"""What native code can do with each instruction of a Program.

Policy: an instruction is pointwise (a part of a loop nest that others may join), a list of kernels, an update of a
variable, or only another name for memory; anything else ends a segment.  Shapes are static and not empty.  Sums that
undo a broadcast are reductions like any other, and are rewritten as such.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphflow.program import Group, Instruction, Program
from graphflow.spec import TensorSpec
from graphflow_numpy.native import loops, scalars
from graphflow_numpy.native.calls import CALL, ELEMENT, MAKERS, Call, Scope
from graphflow_numpy.native.engine import Build
from graphflow_numpy.native.reductions import KINDS

ALIASES = frozenset({
    "Identity", "StopGradient", "PreventGradient", "PlaceholderWithDefault", "Reshape", "Squeeze", "ExpandDims",
})  # fmt: skip
UPDATES = {"Assign": "copy", "AssignAdd": "Add", "AssignSub": "Sub"}
SILENT = frozenset({"VariableHandle", "NoOp"})
DTYPES = frozenset({"float32", "float64", "int32", "int64", "bool"})
STEP = 2e-11  # seconds for one pointwise instruction on one element
LONG = 1.5e-10  # and for one that is a polynomial
SCALAR_CALL = 5e-8  # seconds of NumPy for an instruction on scalars
NUMPY_CALL = 5e-7  # and on arrays
NUMPY_ELEMENT = 2e-10
LONG_STEPS = frozenset({
    "Exp", "Expm1", "Log", "Log1p", "Tanh", "Sigmoid", "Softplus", "SoftplusGrad", "Elu", "Selu", "Erf", "Pow",
    "Sin", "Cos", "Tan",
})  # fmt: skip


class Item(NamedTuple):
    """One or more instructions as native code sees them."""

    kind: str  # "point", "calls", "update", "read", "alias" or "silent"
    instructions: tuple[Instruction, ...]
    members: tuple[Instruction, ...] = ()  # what a loop nest computes: the instructions, rewritten
    calls: tuple[Call, ...] = ()

    @property
    def inputs(self) -> list[int]:
        """Values that are read and not made inside."""
        parts: Sequence[Instruction | Call] = self.calls or self.members or self.instructions
        made = set(self.outputs)
        return [v for v in dict.fromkeys(v for p in parts for v in p.inputs) if v not in made]

    @property
    def outputs(self) -> list[int]:
        """Values that are made."""
        parts: Sequence[Instruction | Call] = self.calls or self.members or self.instructions
        return [v for p in parts for v in p.outputs if v >= 0]


def is_static(known: TensorSpec) -> bool:
    """Whether native code can hold such a value."""
    return known.dims is not None and None not in known.dims and 0 not in known.dims and known.dtype.name in DTYPES


def seconds_of(scope: Scope, item: Item) -> float:
    """The estimated time of an item on one core."""
    if item.kind == "calls":
        return sum(c.seconds for c in item.calls)
    if item.kind not in ("point", "update"):
        return 0.0
    made = item.members or item.instructions
    size = max(scope.size(v) for m in made for v in (m.inputs[-1], *m.outputs) if v >= 0)
    steps = sum(LONG if m.type in LONG_STEPS else STEP for m in made)
    return CALL + size * (steps + ELEMENT * (len(item.inputs) + 1))


def saved_by(scope: Scope, item: Item) -> float:
    """The estimated time that NumPy's calls for an item cost."""
    if item.kind in ("alias", "silent", "read"):
        return 0.0
    out = 0.0
    for ins in item.instructions:
        sizes = [scope.size(v) for v in (*ins.inputs, *ins.outputs) if v >= 0 and is_static(scope.values[v])]
        scalar = all(not scope.values[v].dims for v in ins.outputs if v >= 0)
        large = max(sizes, default=1)
        calls = max(1, len(ins.inputs) - 1) if item.kind in ("point", "calls") else 1
        out += calls * (SCALAR_CALL if scalar and large == 1 else NUMPY_CALL + large * NUMPY_ELEMENT)
    return out


def items(scope: Scope) -> Iterator[tuple[int, int, Item | None]]:
    """Begin, end and item for all instructions of the program in their order; None for what is not native."""
    program = scope.program
    groups = {g.begin: g for g in program.groups}
    position = 0
    while position < len(program.instructions):
        group = groups.get(position)
        item = _group_item(scope, group) if group is not None else None
        end = group.end if group is not None and item is not None else position + 1
        yield position, end, item if item is not None else _single(scope, program.instructions[position])
        position = end


def _group_item(scope: Scope, group: Group) -> Item | None:
    instructions = scope.program.instructions[group.begin : group.end]
    return _pointwise(scope, instructions)


def _single(scope: Scope, ins: Instruction) -> Item | None:
    program, values = scope.program, scope.values
    if ins.type in SILENT:
        return Item("silent", (ins,))
    if not all(is_static(values[v]) for v in ins.outputs if v >= 0):
        return None
    if ins.type in ALIASES:
        known = ins.outputs[0] >= 0 and ins.inputs[0] not in program.constants and is_static(values[ins.inputs[0]])
        same = known and values[ins.inputs[0]].dtype is values[ins.outputs[0]].dtype
        return Item("alias", (ins,)) if same and scope.size(ins.inputs[0]) == scope.size(ins.outputs[0]) else None
    if ins.type == "ReadVariable":
        return Item("read", (ins,)) if ins.inputs[0] in program.handles and ins.outputs[0] >= 0 else None
    if ins.type in UPDATES:
        handle, delta = ins.inputs
        return Item("update", (ins,)) if handle in program.handles and is_static(values[delta]) else None
    make = MAKERS.get(ins.type)
    if make is not None and all(is_static(values[v]) for v in ins.inputs if v not in program.constants):
        calls = make(scope, ins)
        if calls is not None:
            return Item("calls", (ins,), calls=tuple(calls))
    return _pointwise(scope, (ins,))


def _pointwise(scope: Scope, instructions: Sequence[Instruction]) -> Item | None:
    """The instructions as one loop nest, if there is code for it."""
    if any(len(i.outputs) != 1 or i.outputs[0] < 0 for i in instructions):
        return None
    members = []
    for ins in instructions:
        rewrite = REWRITES.get(ins.type)
        found = rewrite(scope, ins) if rewrite is not None else ins
        if found is None or not all(is_static(scope.values[v]) for v in (*found.inputs, *found.outputs)):
            return None
        if found.type not in KINDS and not _broadcasts(scope, found):
            return None
        members.append(found)
    item = Item("point", tuple(instructions), tuple(members))
    return item if request(scope, item.members, item.inputs, item.outputs) is not None else None


def _broadcasts(scope: Scope, ins: Instruction) -> bool:
    """Whether all inputs broadcast to the output by NumPy's rules; a vector of bools may choose rows instead."""
    space = scope.dims(ins.outputs[0])
    for v in ins.inputs:
        dims = scope.dims(v)
        if scope.dtype(v) == "bool" and len(dims) == 1 < len(space) or len(dims) > len(space):
            return False
        if any(d not in (1, s) for d, s in zip(reversed(dims), reversed(space), strict=False)):
            return False
    return True


def request(
    scope: Scope,
    members: Sequence[Instruction],
    inputs: Sequence[int],
    outputs: Sequence[int],
    streamed: Collection[int] = (),
) -> tuple[Hashable, Build] | None:
    """Key and builder of a loop nest; for `streamed` see `loops`."""
    if not all(m.type in scalars.TABLE or m.type in KINDS for m in members):
        return None
    return loops.group_request(view(scope), members, inputs, outputs, streamed)


def view(scope: Scope) -> Program:
    """The program with the values that its native form adds."""
    if len(scope.view.values) != len(scope.values):
        scope.view = replace(scope.program, values=tuple(scope.values))
    return scope.view


# -- what is pointwise, or a reduction, under another name -----------------------------------------------------------


def _sum_to(scope: Scope, ins: Instruction) -> Instruction | None:
    x, shape = ins.inputs
    if scope.constant(shape) is None:
        return None
    own, wanted = scope.dims(x), scope.dims(ins.outputs[0])
    lead = len(own) - len(wanted)
    axes = [*range(lead), *[lead + i for i, d in enumerate(wanted) if d != own[lead + i]]]
    if not axes:
        return None
    return ins._replace(type="Sum", inputs=(x,), attrs={"axis": tuple(axes), "keepdims": False})


def _bias_add_grad(scope: Scope, ins: Instruction) -> Instruction | None:
    rank = len(scope.dims(ins.inputs[0]))
    axes = tuple(range(rank - 1)) if ins.attrs["channels"] == "last" else (0, *range(2, rank))
    return ins._replace(type="Sum", attrs={"axis": axes, "keepdims": False})


def _bias_add(scope: Scope, ins: Instruction) -> Instruction | None:
    return ins._replace(type="Add", attrs={}) if ins.attrs["channels"] == "last" else None


REWRITES: dict[str, Callable[[Scope, Instruction], Instruction | None]] = {
    "SumTo": _sum_to,
    "BiasAddGrad": _bias_add_grad,
    "BiasAdd": _bias_add,
}
