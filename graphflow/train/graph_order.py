"""The order in which the ops of a stored graph can be built, and the cycle where there is none.

Policy: ops are built in the order of the file, which is the order in which they were made; one that stands before its
inputs waits for them.  Data and control edges together must have no cycle; an error shows the shortest one found.
Linear time, no recursion; the search for a short cycle has a budget.

State: none.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from graphflow.errors import GraphError

SEARCH_BUDGET = 200_000
SHOWN = 12


def build_order(names: Sequence[str], data: Sequence[Sequence[int]], control: Sequence[Sequence[int]]) -> Sequence[int]:
    """The positions of the ops in an order in which each comes after its data inputs; GraphError for a cycle."""
    forward_data = forward_control = False
    for i, before in enumerate(data):
        for b in before:
            if b >= i:
                forward_data = True
    for i, before in enumerate(control):
        for b in before:
            if b >= i:
                forward_control = True
    if forward_data or forward_control:
        both = [[*d, *c] for d, c in zip(data, control, strict=True)]
        if len(_sorted(both)) < len(names):
            raise _cycle(names, both)
    return _sorted(data) if forward_data else range(len(names))


def _sorted(edges: Sequence[Sequence[int]]) -> list[int]:
    """Kahn's algorithm, first in the file first; shorter than `edges` if there is a cycle."""
    waiting = [len(set(before)) for before in edges]
    followers: list[list[int]] = [[] for _ in edges]
    for i, before in enumerate(edges):
        for b in set(before):
            followers[b].append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    out = []
    while ready:
        i = heapq.heappop(ready)
        out.append(i)
        for f in followers[i]:
            waiting[f] -= 1
            if not waiting[f]:
                heapq.heappush(ready, f)
    return out


def _cycle(names: Sequence[str], edges: Sequence[Sequence[int]]) -> GraphError:
    path = [names[i] for i in shortest_cycle(edges)]
    shown = path if len(path) <= SHOWN else [*path[: SHOWN // 2], "...", *path[-SHOWN // 2 :]]
    text = " <- ".join([*shown, path[0]])
    expected = "ops that do not wait for themselves"
    return GraphError(f"the graph has a cycle of {len(path)} ops", expected=expected, got=text)


def shortest_cycle(edges: Sequence[Sequence[int]]) -> list[int]:
    """The shortest cycle, or the shortest of those found within the budget; each op waits for the next."""
    left = set(range(len(edges))) - set(_sorted(edges))
    best: list[int] = []
    budget = SEARCH_BUDGET
    for start in sorted(left):
        if budget <= 0 and best:
            break
        came: dict[int, int] = {start: start}
        queue = [start]
        for i in queue:
            budget -= len(edges[i])
            if start in edges[i]:
                path = [i]
                while path[-1] != start:
                    path.append(came[path[-1]])
                path.reverse()
                best = path if not best or len(path) < len(best) else best
                break
            for b in edges[i]:
                if b in left and b not in came:
                    came[b] = i
                    queue.append(b)
        if len(best) == 1:
            break
    return best
