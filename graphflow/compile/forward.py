"""Values that were just written to a variable: who reads the result of the update takes the value itself instead.

Policy: exact.  An op whose record says `result_is` hands on one of its inputs; where shapes and dtypes agree and the
input lies in C order, as a variable does, its readers need not wait for the write, and may share a fusion group with
what computed the value.  The update stays where it is, and what was fetched stays fetched from it.

State: none.
"""

from __future__ import annotations

from graphflow.compile.rewrite import Work
from graphflow.opdef import OPS
from graphflow.program import PassRecord, Program
from graphflow.spec import is_concrete


def forward_writes(program: Program, inner: bool = False) -> Program:
    """Forward over the instructions once."""
    if not any(OPS[ins.type].result_is >= 0 for ins in program.instructions):
        return program.with_record(PassRecord("forward_writes"))
    work = Work(program, None, inner)
    work.maker = program.producers()
    alias: dict[int, int] = {}
    kept, notes = [], []
    for ins in program.instructions:
        if not alias.keys().isdisjoint(ins.inputs):
            ins = ins._replace(inputs=tuple([alias.get(v, v) for v in ins.inputs]))
        kept.append(ins)
        place = OPS[ins.type].result_is
        if place < 0 or not ins.outputs or ins.outputs[0] < 0:
            continue
        value, result = ins.inputs[place], ins.outputs[0]
        known = program.values[value]
        same = known.dims == program.values[result].dims and known.dtype is program.values[result].dtype
        if same and is_concrete(known.dims) and value not in program.feeds and work.plain(value):
            alias[result] = value
            notes.append((ins.op.name, "its readers take the value that it writes"))
    return program.with_record(PassRecord("forward_writes", rewritten=tuple(notes)), instructions=tuple(kept))
