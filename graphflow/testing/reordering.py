"""Other orders of a Program's instructions: what proves that results do not depend on the schedule.

Policy: the order is free as far as data and `after` edges allow.  An atomic region, with all that stands inside it, is
one unit and is never taken apart.  Groups, schedule and memory are positions in the old order and are dropped.  This
module shares no code with the scheduler, so that each can prove the other wrong.

State: none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphflow.program import Program

Edges = list[set[int]]


def units_and_edges(program: Program) -> tuple[list[list[int]], Edges]:
    """Stretches of instructions that stay together, and for each unit those that must stand before it."""
    unit_of = _units(program)
    units: list[list[int]] = []
    for position, number in enumerate(unit_of):
        if number == len(units):
            units.append([])
        units[number].append(position)
    makers: dict[int, int] = {}
    keys: dict[int, int] = {}
    before: Edges = [set() for _ in units]
    for position, ins in enumerate(program.instructions):
        mine = unit_of[position]
        before[mine] |= {makers[v] for v in ins.inputs if v in makers}
        before[mine] |= {keys[key] for key in ins.after if key in keys}
        before[mine].discard(mine)
        keys[ins.key] = mine
        makers.update((v, mine) for v in ins.outputs if v >= 0)
    return units, before


def _units(program: Program) -> list[int]:
    """The unit of each instruction: a new one, unless an atomic region that has begun is not over yet."""
    last = {ins.op.region.id: i for i, ins in enumerate(program.instructions) if ins.op.region is not None}
    found: list[int] = []
    number, end = -1, -1
    for position, ins in enumerate(program.instructions):
        number += position > end
        if ins.op.region is not None:
            end = max(end, last[ins.op.region.id])
        found.append(number)
    return found


def reordered(program: Program, order: Sequence[int]) -> Program:
    """The program with its units in that order."""
    units, _ = units_and_edges(program)
    instructions = tuple(program.instructions[i] for number in order for i in units[number])
    return replace(program, instructions=instructions, groups=(), schedule=None, memory=None)


def topological_orders(before: Edges, most: int) -> Iterator[tuple[int, ...]]:
    """All orders of the units, at most so many."""
    count = len(before)
    order: list[int] = []
    candidates: list[list[int]] = [[n for n in range(count) if not before[n]]]
    while candidates and most > 0:
        if len(order) == count:
            yield tuple(order)
            most -= 1
        if candidates[-1]:
            order.append(candidates[-1].pop(0))
            done = set(order)
            candidates.append([n for n in range(count) if n not in done and before[n] <= done])
        else:
            candidates.pop()
            if order:
                order.pop()


def random_order(before: Edges, rng: random.Random, changes: int | None = None) -> tuple[int, ...]:
    """One order: each next unit at random, or by random priorities of which some are lowered on the way.

    The second kind, with few `changes`, finds bugs that need a certain few steps to come very early or very late.
    """
    count = len(before)
    priority = [rng.random() for _ in range(count)]
    lowered = set() if changes is None else {rng.randrange(count + 1) for _ in range(changes)}
    done: set[int] = set()
    order: list[int] = []
    while len(order) < count:
        ready = [n for n in range(count) if n not in done and before[n] <= done]
        chosen = rng.choice(ready) if changes is None else max(ready, key=priority.__getitem__)
        if len(order) in lowered and changes is not None:
            lowered.discard(len(order))
            priority[chosen] = -rng.random()
            continue
        order.append(chosen)
        done.add(chosen)
    return tuple(order)
