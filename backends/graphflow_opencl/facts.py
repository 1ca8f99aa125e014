"""What is known of a program before it is lowered: who reads what until when, and which variables are written where.

Policy: positions are those of the instructions.  The spec of a variable's handle becomes that of what it holds.

State: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec
from graphflow_opencl.cells import lives_on_device

# Results that are the first input's very bytes, or, of CustomGradient, the first inputs'.
VIEWS = frozenset(
    {
        "Identity", "StopGradient", "PreventGradient", "PlaceholderWithDefault", "Reshape", "ExpandDims", "Squeeze",
        "GuaranteeConst", "CustomGradient", "Bitcast",
    }
)  # fmt: skip
WRITES = frozenset({"Assign", "AssignAdd", "AssignSub", "Scatter", "ScatterNdVariable", "CountUpTo"})
IN_PLACE = {"Assign": "Identity", "AssignAdd": "Add", "AssignSub": "Sub"}  # updates, element by element
BY_STATE = frozenset({"InitializedValue", "IsVariableInitialized"})
FLOW = frozenset({"If", "While"})
NOTHING = frozenset({"NoOp", "Const", "VariableHandle"})
READS = BY_STATE | {"ReadVariable"}
STATEFUL = WRITES | READS | FLOW | NOTHING
NUMERIC = frozenset({"float", "int", "uint", "bool"})


class Facts(NamedTuple):
    """The facts of one program."""

    values: Sequence[TensorSpec]
    variables: frozenset[int]  # handles of variables that live on the device
    last_use: Mapping[int, int]  # value -> the last position at which it, or a view of it, is read
    readers: Mapping[int, set[int]]  # value -> the positions at which it is read
    writes: Mapping[int, list[int]]  # handle -> positions of what may write the variable
    awaited: frozenset[int]  # keys of the instructions that others wait for


def facts_of(program: Program) -> Facts:
    """The facts of a program."""
    values = list(program.values)
    variables = _variables(program)
    for handle, known in variables.items():
        values[handle] = known
    return Facts(
        values,
        frozenset(variables),
        _last_uses(program),
        _readers(program),
        _writes(program),
        frozenset(key for ins in program.instructions for key in ins.after),
    )


def _last_uses(program: Program) -> dict[int, int]:
    """What is fetched is read at the end."""
    end = len(program.instructions)
    last = dict.fromkeys(program.fetches, end)
    for position in range(end - 1, -1, -1):
        ins = program.instructions[position]
        late = position
        if ins.type in VIEWS:
            late = max([position, *[last.get(v, position) for v in ins.outputs]])
        for v in ins.inputs:
            last[v] = max(last.get(v, -1), late)
    return last


def _readers(program: Program) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for position, ins in enumerate(program.instructions):
        for v in ins.inputs:
            found.setdefault(v, set()).add(position)
    return found


def _writes(program: Program) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for position, ins in enumerate(program.instructions):
        if ins.type in WRITES:
            found.setdefault(ins.inputs[0], []).append(position)
        elif ins.type not in READS:
            for v in ins.inputs:
                if program.values[v].dtype.kind == "resource":
                    found.setdefault(v, []).append(position)
    return found


def _variables(program: Program) -> dict[int, TensorSpec]:
    """The handles of variables on the device, with what they hold; the handle may come from outside a function."""
    found = {handle: TensorSpec(op.attrs["dtype"], op.attrs["dims"]) for handle, op in program.handles.items()}
    for ins in program.instructions:
        if ins.type in READS | WRITES and ins.inputs[0] not in found:
            known = _held(ins)
            if known is not None:
                found[ins.inputs[0]] = known
    return {handle: known for handle, known in found.items() if lives_on_device(known.dtype, known.dims)}


def _held(ins: Instruction) -> TensorSpec | None:
    """What the instruction says that its variable holds."""
    attrs = ins.attrs
    return TensorSpec(attrs["dtype"], attrs["dims"]) if "dtype" in attrs and "dims" in attrs else None
