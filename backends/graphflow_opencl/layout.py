"""Where the values of a plan lie: offsets in one arena, or memory of their own.

Policy: a value is in the arena from the node that writes it to the last one that reads it; what is fetched to the end.
Large results that the caller gets, and all that a branch or body returns, get new memory in each run instead, so that
they need not be copied.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.compile.arena import Block, place
from graphflow.spec import nbytes
from graphflow_opencl.devices import ALIGNMENT
from graphflow_opencl.plan import Plan

LARGE = 1 << 18  # bytes of a fetch that is not worth copying


class Layout(NamedTuple):
    """The arena, and what is not in it."""

    size: int
    offsets: Mapping[int, int]
    loose: Mapping[int, Callable[[], Any] | None]  # home -> how to get memory in each run; None: from the store
    peak_before: int  # bytes if nothing were used again
    reuse: Mapping[int, frozenset[int]]  # node -> earlier nodes that use memory which it writes for another value


def lay_out(plan: Plan, loose: Mapping[int, Callable[[], Any] | None]) -> Layout:
    """Offsets for all values that nodes write."""
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    end = len(plan.nodes)
    for number, node in enumerate(plan.nodes):
        for v in node.writes:
            born.setdefault(v, number)
            dies[v] = max(dies.get(v, 0), number)
        for v in node.reads:
            dies[v] = max(dies.get(v, 0), number)
    for v in plan.program.fetches:
        dies[plan.home(v)] = end
    inside = [v for v in born if _in_arena(plan, v, loose)]
    blocks = [Block(_rounded(nbytes(plan.values[v]) or 0), born[v], dies[v]) for v in inside]
    offsets, size = place(blocks)
    total = sum(block.size for block in blocks)
    reuse = _reuse(plan, inside, blocks, offsets)
    return Layout(size, dict(zip(inside, offsets, strict=True)), loose, total, reuse)


def _reuse(
    plan: Plan, inside: Sequence[int], blocks: Sequence[Block], offsets: Sequence[int]
) -> dict[int, frozenset[int]]:
    """Who has to be done with memory before it is written for another value."""
    users: dict[int, set[int]] = {v: set() for v in inside}
    for number, node in enumerate(plan.nodes):
        for v in (*node.reads, *node.writes):
            if v in users:
                users[v].add(number)
    order = sorted(range(len(blocks)), key=lambda i: offsets[i])
    out: dict[int, set[int]] = {}
    for place_a, a in enumerate(order):
        for b in order[place_a + 1 :]:
            if offsets[b] >= offsets[a] + blocks[a].size:
                break
            first, second = (a, b) if blocks[a].death < blocks[b].birth else (b, a)
            out.setdefault(blocks[second].birth, set()).update(users[inside[first]])
    return {number: frozenset(found) for number, found in out.items()}


def _in_arena(plan: Plan, v: int, loose: Collection[int]) -> bool:
    return v >= 0 and v not in plan.variables and v not in plan.on_host and v not in loose and v not in plan.fixed


def _rounded(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)
