"""Where the values of a plan lie: offsets in one arena, or memory of their own.

Policy: a value is in the arena from the node that writes it to the last one that reads it; what is fetched to the end.
Large results that the caller gets, and all that a branch or body returns, get new memory in each run instead, so that
they need not be copied.  Where nodes are in several lanes, memory is used again only by a node that begins after all
that used it are done.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.compile.arena import Block, place, place_in_tasks
from graphflow.spec import nbytes
from graphflow_opencl.plan import Plan

LARGE = 1 << 18  # bytes of a fetch that is not worth copying


class Layout(NamedTuple):
    """The arena, and what is not in it."""

    size: int
    offsets: Mapping[int, int]
    loose: Mapping[int, Callable[[], Any] | None]  # home -> how to get memory in each run; None: from the store
    peak_before: int  # bytes if nothing were used again


def lay_out(plan: Plan, lanes: Sequence[int], loose: Mapping[int, Callable[[], Any] | None], alignment: int) -> Layout:
    """Offsets for all values that nodes write, in multiples of the device's alignment."""
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    users: dict[int, int] = {}  # sets of nodes, as bits
    several = any(lanes)
    for number, node in enumerate(plan.nodes):
        for v in (*node.writes, *node.reads):
            if v in node.writes:
                born.setdefault(v, number)
            dies[v] = number
            if several:  # sets of nodes take room: as many bits as there are nodes, for each value
                users[v] = users.get(v, 0) | 1 << number
    for v in plan.program.fetches:
        dies[plan.home(v)] = len(plan.nodes)
    inside = [v for v in born if _in_arena(plan, v, loose)]
    sizes = [max(1, -(-(nbytes(plan.values[v]) or 0) // alignment)) * alignment for v in inside]
    blocks = [Block(size, born[v], dies[v], born[v], users.get(v, 0)) for v, size in zip(inside, sizes, strict=True)]
    offsets, size = place_in_tasks(blocks, _done_before(lanes, plan.before)) if several else place(blocks)
    total = sum(block.size for block in blocks)
    return Layout(size, dict(zip(inside, offsets, strict=True)), loose, total)


def _done_before(lanes: Sequence[int], before: Sequence[set[int]]) -> list[int]:
    """For each node the set of those that are over when it begins: what it waits for, and what its lane did earlier."""
    out: list[int] = []
    last: dict[int, int] = {}
    for number, lane in enumerate(lanes):
        found = 0
        for b in (*before[number], *([last[lane]] if lane in last else ())):
            found |= out[b] | 1 << b
        out.append(found)
        last[lane] = number
    return out


def _in_arena(plan: Plan, v: int, loose: Collection[int]) -> bool:
    return v >= 0 and v not in plan.variables and v not in plan.on_host and v not in loose and v not in plan.fixed
