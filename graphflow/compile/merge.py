"""Common subexpressions: of two instructions that compute the same value from the same inputs, one stays.

Policy: exact.  Only pure instructions without control or hazard edges, outside atomic regions, and on the same
device; random and stateful ops are never merged.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.opdef import OPS
from graphflow.program import Instruction, PassRecord, Program

MAX_CONSTANT_BYTES = 1024


def merge_common(program: Program) -> Program:
    """Forward over the instructions once, with a table of what has been computed."""
    alias = _equal_constants(program)
    replaced: dict[int, int] = {}
    table: dict[Any, Instruction] = {}
    kept: list[Instruction] = []
    merged: list[tuple[str, str]] = []
    for ins in program.instructions:
        if alias:
            inputs = tuple([alias.get(i, i) for i in ins.inputs])
            if inputs != ins.inputs:
                ins = ins._replace(inputs=inputs)
        if replaced and ins.after:
            ins = ins._replace(after=tuple(dict.fromkeys(replaced.get(k, k) for k in ins.after)))
        key = _key(ins) if OPS[ins.type].pure and not ins.after else None
        if key is None:
            kept.append(ins)
            continue
        same = table.setdefault(key, ins)
        if same is ins:
            kept.append(ins)
            continue
        for mine, theirs in zip(ins.outputs, same.outputs, strict=True):
            alias[mine] = theirs
        replaced[ins.key] = same.key
        merged.append((ins.op.name, same.op.name))
    return program.with_record(
        PassRecord("merge_common", merged=tuple(merged)),
        instructions=tuple(kept),
        fetches=tuple(alias.get(v, v) for v in program.fetches),
    )


def _key(ins: Instruction) -> Any:
    if ins.op.region is not None or -1 in ins.outputs:
        return None
    if not ins.attrs:
        return ins.type, ins.inputs, ins.op.device
    try:
        attrs = tuple(sorted(ins.attrs.items()))
        hash(attrs)
    except TypeError:
        return None
    # repr tells 1 from True and 0.0 from -0.0, which compare equal
    return ins.type, ins.inputs, ins.op.device, attrs, repr(attrs)


def _equal_constants(program: Program) -> dict[int, int]:
    """Constants with the same bits: value -> the first value that holds them."""
    alias: dict[int, int] = {}
    seen: dict[Any, int] = {}
    for v, value in program.constants.items():
        if getattr(value, "nbytes", MAX_CONSTANT_BYTES + 1) <= MAX_CONSTANT_BYTES and value.dtype != object:
            first = seen.setdefault((value.dtype, np.shape(value), value.tobytes()), v)
            if first != v:
                alias[v] = first
    return alias
