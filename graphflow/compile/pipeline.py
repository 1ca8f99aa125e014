"""The passes in their order, and the one function that runs them.

Policy: O0 only lowers; O1, the default, changes no bit of any result.  Each pass is named and can be switched off by
name; what each did is kept in `program.record`.

State: none.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from graphflow import spec
from graphflow.compile import dead, fold, lower, merge
from graphflow.errors import InvalidArgumentError, shown
from graphflow.program import Program
from graphflow.tensor import Operation, Tensor

PASSES = ("specialise", "merge_common", "remove_dead")


class Options:
    """How to compile: the optimisation level, and passes to leave out by name."""

    __slots__ = ("disabled", "level")

    def __init__(self, level: int = 1, disabled: Collection[str] = ()) -> None:
        unknown = [name for name in disabled if name not in PASSES]
        if unknown:
            raise InvalidArgumentError(f"no pass named {shown(unknown)}", expected=", ".join(PASSES))
        if level not in (0, 1, 2):
            raise InvalidArgumentError("the optimization level is 0, 1 or 2", got=shown(level))
        self.level = level
        self.disabled = frozenset(disabled)


def compile_graph(
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Sequence[Tensor],
    feed_dims: Sequence[spec.Dims],
    evaluate: fold.Evaluate,
    options: Options,
) -> Program:
    """The optimised Program for these fetches and feeds."""
    started = time.perf_counter()
    program = lower.lower(fetches, targets, feeds)
    values = list(program.values)
    for v, dims in zip(program.feeds, feed_dims, strict=True):
        values[v] = values[v]._replace(dims=dims)
    program = replace(program, values=tuple(values))
    program = _stamped(program, started)
    if options.level == 0:
        return program
    keys = frozenset(op.id for op in targets)
    for name in _enabled(options.disabled):
        started = time.perf_counter()
        if name == "specialise":
            doubted = frozenset(v for v, t in zip(program.feeds, feeds, strict=True) if t.hint is not None)
            program = fold.specialise(program, evaluate, doubted)
        elif name == "merge_common":
            program = merge.merge_common(program)
        else:
            program = dead.remove_dead(program, keys)
        program = _stamped(program, started)
    return program


def _enabled(disabled: Collection[str]) -> list[str]:
    return [name for name in PASSES if name not in disabled]


def _stamped(program: Program, started: float) -> Program:
    last = program.record[-1]._replace(seconds=time.perf_counter() - started)
    return replace(program, record=(*program.record[:-1], last))
