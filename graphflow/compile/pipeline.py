"""The passes in their order, and the one function that runs them.

Policy: O0 only lowers; O1, the default, changes no bit of any result; O2 may round differently, within a stated bound.
Each pass is a row of the table: a pure function from Program to Program, named, with the level from which it runs;
it can be switched off by name, and what it did is kept in `program.record`.  Any subset gives the same bits at O1,
in any order in which no row stands before one that it `follows`.

State: none.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphflow import spec
from graphflow.compile import (
    dead,
    fold,
    forward,
    fuse,
    lower,
    memory,
    merge,
    narrow,
    plan_check,
    products,
    reassociate,
    schedule,
    simplify,
    splat,
    stack,
    transposes,
)
from graphflow.errors import InvalidArgumentError, shown
from graphflow.graph import FuncGraph
from graphflow.program import Group, Instruction, Program, Storage
from graphflow.tensor import Operation, Tensor


class Resources(NamedTuple):
    """What a program may use, and what its backend says about memory."""

    workers: int = 1  # tasks at once
    threads: int = 1  # of one op
    storage: Callable[[Program, Instruction], Storage] = lambda program, ins: memory.OWN
    is_whole: Callable[[Program, Group], bool] = lambda program, group: True
    debug_memory: bool = False  # check the memory plan, and have freed memory poisoned
    own_passes: frozenset[str] = frozenset()  # what the backend does by itself


class Facts(NamedTuple):
    """What passes may ask, beyond the Program."""

    evaluate: fold.Evaluate  # computes one instruction, for folding
    doubted: frozenset[int]  # fed values of which the graph thought it knew something
    targets: frozenset[int]  # keys of the ops that were fetched
    level: int
    inner: bool  # whether the program is that of a function: a branch, a body
    resources: Resources


ALONE = Resources()
SMALLEST_TAKEN = 1 << 15  # bytes: for less, NumPy's look at whether its operands overlap costs more than it saves


class Pass(NamedTuple):
    """One row of the table."""

    name: str
    run: Callable[[Program, Facts], Program]
    level: int = 1  # from which optimisation level
    follows: tuple[str, ...] = ()  # passes that must have run before it, if they run at all


def _scheduled(program: Program, facts: Facts) -> Program:
    """A function's program runs inside a task of another one, so it has no tasks of its own."""
    alone = facts.inner or facts.resources.debug_memory
    workers = 1 if alone else facts.resources.workers
    return schedule.schedule(program, workers, facts.resources.threads)


def _planned(program: Program, resources: Resources) -> Program:
    storage = functools.partial(resources.storage, program)
    is_whole = functools.partial(resources.is_whole, program)
    program = memory.plan_memory(program, storage, is_whole, 0, 0 if resources.debug_memory else SMALLEST_TAKEN)
    if resources.debug_memory and program.memory is not None:
        plan_check.check_plan(program, storage, is_whole)
        freed = memory.freed_after(program, storage, is_whole)
        program = replace(program, memory=program.memory._replace(freed=freed))
    return program


_BEFORE_FUSION = (
    "specialise",
    "forward_broadcasts",
    "simplify",
    "forward_writes",
    "fold_transposes",
    "merge_products",
    "stack_products",
    "narrow_products",
    "reassociate",
    "merge_common",
    "remove_dead",
)

TABLE = (
    Pass("specialise", lambda p, f: fold.specialise(p, f.evaluate, f.doubted)),
    Pass("forward_broadcasts", lambda p, f: splat.forward_broadcasts(p, f.evaluate, f.inner), follows=("specialise",)),
    Pass("simplify", lambda p, f: simplify.simplify(p, f.inner), follows=("specialise",)),
    Pass("forward_writes", lambda p, f: forward.forward_writes(p, f.inner), follows=("specialise",)),
    Pass("fold_transposes", lambda p, f: transposes.fold_transposes(p, f.inner), follows=("specialise",)),
    Pass("merge_common", lambda p, f: merge.merge_common(p)),
    Pass("merge_products", lambda p, f: products.merge_products(p, f.inner), level=2, follows=("specialise",)),
    Pass("stack_products", lambda p, f: stack.stack_products(p, f.inner), level=2, follows=("specialise",)),
    Pass("narrow_products", lambda p, f: narrow.narrow_products(p, f.inner), level=2, follows=("specialise",)),
    Pass("reassociate", lambda p, f: reassociate.reassociate(p, f.inner), level=2, follows=("specialise",)),
    Pass("remove_dead", lambda p, f: dead.remove_dead(p, f.targets), follows=("specialise", "merge_common")),
    Pass(
        "fuse",
        lambda p, f: fuse.fuse(p, f.level),
        follows=_BEFORE_FUSION,
    ),
    Pass("schedule", _scheduled, follows=("fuse", *_BEFORE_FUSION)),
    Pass("memory", lambda p, f: _planned(p, f.resources), follows=("schedule", "fuse", *_BEFORE_FUSION)),
)
PASSES = tuple(row.name for row in TABLE)


class Options:
    """How to compile: the optimisation level, passes to leave out by name, and another legal order of them."""

    __slots__ = ("level", "table")

    def __init__(self, level: int = 1, disabled: Collection[str] = (), order: Sequence[str] | None = None) -> None:
        if isinstance(disabled, str):
            raise InvalidArgumentError("disabled_passes takes a list of names", got=shown(disabled))
        unknown = [name for name in (*disabled, *(order or ())) if name not in PASSES]
        if unknown:
            raise InvalidArgumentError(f"no pass named {shown(unknown)}", expected=", ".join(PASSES))
        if level not in (0, 1, 2):
            raise InvalidArgumentError("the optimization level is 0, 1 or 2", got=shown(level))
        self.level = level
        rows = {row.name: row for row in TABLE}
        chosen = [rows[name] for name in (PASSES if order is None else order) if name not in disabled]
        for place, row in enumerate(chosen):
            early = [later.name for later in chosen[place:] if later.name in row.follows]
            if early:
                raise InvalidArgumentError(f"the pass {row.name!r} follows {', '.join(early)}")
        self.table = tuple(row for row in chosen if 0 < row.level <= level)


def compile_graph(
    fetches: Sequence[Tensor],
    targets: Sequence[Operation],
    feeds: Sequence[Tensor],
    feed_dims: Sequence[spec.Dims],
    evaluate: fold.Evaluate,
    options: Options,
    resources: Resources = ALONE,
) -> Program:
    """The optimised Program for these fetches and feeds."""
    started = time.perf_counter()
    program = lower.lower(fetches, targets, feeds)
    values = list(program.values)
    for v, dims in zip(program.feeds, feed_dims, strict=True):
        values[v] = values[v]._replace(dims=dims)
    program = _stamped(replace(program, values=tuple(values), level=options.level), started)
    doubted = frozenset(v for v, t in zip(program.feeds, feeds, strict=True) if t.hint is not None)
    if doubted and all(row.name != "specialise" for row in options.table):
        program = _unconcluded(program, doubted)
    inner = any(isinstance(t.graph, FuncGraph) for t in (*feeds, *fetches))  # a branch may take no arguments
    facts = Facts(evaluate, doubted, frozenset(op.id for op in targets), options.level, inner, resources)
    for row in options.table:
        if row.name in resources.own_passes:
            continue
        started = time.perf_counter()
        program = _stamped(row.run(program, facts), started)
    return program


def _unconcluded(program: Program, doubted: Collection[int]) -> Program:
    """The program without what inference concluded from values that are fed now: no one will infer it again."""
    values, reached = list(program.values), set(doubted)
    for ins in program.instructions:
        if not reached.isdisjoint(ins.inputs):
            for v in ins.outputs:
                if v >= 0:
                    values[v] = values[v]._replace(dims=None, hint=None)
                    reached.add(v)
    return replace(program, values=tuple(values))


def _stamped(program: Program, started: float) -> Program:
    last = program.record[-1]._replace(seconds=time.perf_counter() - started)
    return replace(program, record=(*program.record[:-1], last))
