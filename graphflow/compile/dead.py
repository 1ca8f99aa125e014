"""Dead code: instructions whose outputs nobody reads any more, after other passes have rewired their readers.

Policy: an instruction that the user asked for (a fetched op), that has an effect, that another one waits for, or
whose kernel may refuse its inputs, stays: an error is a result, too.  Pruning at the fetches has happened before:
whatever is here was needed once.

State: none.
"""

from __future__ import annotations

from graphflow.opdef import OPS
from graphflow.program import Instruction, PassRecord, Program


def remove_dead(program: Program, targets: frozenset[int] = frozenset()) -> Program:
    """Backward over the instructions once; `targets` are the keys of fetched ops."""
    live: set[int] = set(program.fetches)
    awaited: set[int] = set(targets)
    kept: list[Instruction] = []
    removed: list[str] = []
    for ins in reversed(program.instructions):
        used = ins.key in awaited or not live.isdisjoint(ins.outputs)
        if not used and not _acts(ins, program):
            removed.append(ins.op.name)
            continue
        live.update(ins.inputs)
        if ins.after:
            awaited.update(ins.after)
        if len(ins.outputs) > 1 and not live.issuperset(ins.outputs):
            ins = ins._replace(outputs=tuple(v if v in live else -1 for v in ins.outputs))
        kept.append(ins)
    kept.reverse()
    constants = {v: c for v, c in program.constants.items() if v in live}
    return program.with_record(
        PassRecord("remove_dead", removed=tuple(removed)), instructions=tuple(kept), constants=constants
    )


def _acts(ins: Instruction, program: Program) -> bool:
    definition = OPS[ins.type]
    if definition.can_fail:
        return definition.may_refuse(any(program.values[v].dtype.is_integer for v in ins.inputs))
    return definition.effect == "write" or definition.stateful or definition.control_flow or not ins.outputs
