"""Another order of a program's instructions, in which those of a set stand together.

Policy: fusion groups stay together as well, without what the sets took; if sets and groups need each other, the groups
that the sets took from are given up.  Any order that satisfies data and `after` is as good as the one that came.

State: none.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace

from graphflow.program import Group, Program

Unit = tuple[str, int]
SMALLEST = 2  # instructions of a group


def together(program: Program, chosen: Mapping[int, int]) -> tuple[Program, dict[int, tuple[int, int]]] | None:
    """The program and where each set begins and ends; `chosen` has the numbers of the sets by position.

    None if the sets need each other, or what is between their members.
    """
    order = _ordered(program, chosen)
    if order is None:
        return None
    place = {position: new for new, position in enumerate(order)}
    spans: dict[int, list[int]] = {}
    for position, number in chosen.items():
        spans.setdefault(number, []).append(place[position])
    instructions = tuple([program.instructions[p] for p in order])
    moved = replace(program, instructions=instructions, groups=(), schedule=None, memory=None)
    moved = replace(moved, groups=_groups(program, moved, chosen, place))
    return moved, {number: (min(at), max(at) + 1) for number, at in spans.items()}


def _ordered(program: Program, chosen: Mapping[int, int]) -> list[int] | None:
    """The positions in an order in which sets stand together, and groups if they can; None if sets cannot."""
    singles = {p: ("at", p) for p in range(len(program.instructions))}
    sets = {p: ("set", number) for p, number in chosen.items()}
    groups = {
        p: ("group", g.begin) for g in program.groups for p in range(g.begin, g.end) if p not in chosen
    }  # fmt: skip
    touched = {g.begin for g in program.groups if not chosen.keys().isdisjoint(range(g.begin, g.end))}
    kept = {p: unit for p, unit in groups.items() if unit[1] not in touched}
    for units in (groups, kept, {}):
        order = _sorted(program, {**singles, **units, **sets})
        if order is not None:
            return order
    return None


def _sorted(program: Program, units: Mapping[int, Unit]) -> list[int] | None:
    """The positions unit by unit, each as early as its first one was if it can be; None if units need each other."""
    members: dict[Unit, list[int]] = {}
    for position in range(len(units)):
        members.setdefault(units[position], []).append(position)
    made: dict[int, Unit] = {}
    by_key: dict[int, Unit] = {}
    needs: dict[Unit, set[Unit]] = {unit: set() for unit in members}
    for position, ins in enumerate(program.instructions):
        unit = units[position]
        needs[unit].update(made[v] for v in ins.inputs if v in made)
        needs[unit].update(by_key[key] for key in ins.after if key in by_key)
        made.update((v, unit) for v in ins.outputs if v >= 0)
        by_key[ins.key] = unit
    waiting = {}
    followers: dict[Unit, list[Unit]] = {unit: [] for unit in members}
    for unit, before in needs.items():
        before.discard(unit)
        waiting[unit] = len(before)
        for b in before:
            followers[b].append(unit)
    ready = [(positions[0], unit) for unit, positions in members.items() if not waiting[unit]]
    heapq.heapify(ready)
    out: list[int] = []
    while ready:
        _, unit = heapq.heappop(ready)
        out += members[unit]
        for f in followers[unit]:
            waiting[f] -= 1
            if not waiting[f]:
                heapq.heappush(ready, (members[f][0], f))
    return out if len(out) == len(units) else None


def _groups(program: Program, moved: Program, chosen: Mapping[int, int], place: Mapping[int, int]) -> tuple[Group, ...]:
    """What is left of the groups."""
    readers: dict[int, set[int]] = {}
    for new, ins in enumerate(moved.instructions):
        for v in ins.inputs:
            readers.setdefault(v, set()).add(new)
    groups = []
    for g in program.groups:
        left = [p for p in range(g.begin, g.end) if p not in chosen]
        at = [place[p] for p in left]
        if len(at) < SMALLEST or at != list(range(at[0], at[0] + len(at))):
            continue
        made = [v for new in at for v in moved.instructions[new].outputs]
        outputs = tuple(v for v in made if v in program.fetches or not readers.get(v) or not readers[v] <= set(at))
        last = sum(p >= g.end - g.reductions for p in left)
        groups.append(Group(at[0], at[-1] + 1, g.dims, outputs, last))
    return tuple(sorted(groups, key=lambda g: g.begin))
