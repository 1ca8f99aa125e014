"""Clusters: a graph of many small units becomes one of fewer tasks, each worth handing to another thread.

Policy: a `Dag` is numbered so that what comes before has a lower number, and every merger keeps it free of cycles,
because only these are made:

    absorb    a unit goes into the cluster that holds everything it waits for
    prepend   a small unit goes into the cluster that holds everything that waits for it
    gather    small units of one level (the longest way from the start, in units) go together: none waits for another

A unit that has followers elsewhere is merged only while what it makes them wait for is small, and no cluster grows
beyond what a Ctrl-C may have to wait for.  All are linear, but for sorting.

State: none.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

WORTH = 1.2e-4  # seconds: a task of that length is worth a hand-over
SMALL = 4e-5  # seconds that others may be made to wait
LONGEST = 2e-3  # seconds beyond which nothing is merged: a Ctrl-C waits for the tasks that run


class Dag(NamedTuple):
    """Units of work, numbered in an order in which they may run."""

    python: list[float]  # seconds under Python's lock
    free: list[float]  # seconds without it
    before: list[set[int]]
    members: list[list[int]]  # numbers of what was merged, in an order in which they may run

    def seconds(self, number: int) -> float:
        """On one core."""
        return self.python[number] + self.free[number]

    def followers(self) -> list[list[int]]:
        """What waits for each unit."""
        out: list[list[int]] = [[] for _ in self.before]
        for number, earlier in enumerate(self.before):
            for other in earlier:
                out[other].append(number)
        return out


def coarsened(dag: Dag) -> Dag:
    """The graph of tasks."""
    for merge in (absorb, prepend, gather, absorb, prepend):
        dag = contract(dag, merge(dag))
    return dag


def blocks(dag: Dag, most: int) -> Dag:
    """At most about `most` units, by joining neighbours in the order: for graphs too large for anything better."""
    least = sum(dag.python) + sum(dag.free)
    least /= most
    label = list(range(len(dag.before)))
    start, cost = 0, 0.0
    for number in label.copy():
        if cost >= least:
            start, cost = number, 0.0
        label[number] = start
        cost += dag.seconds(number)
    return contract(dag, label)


def absorb(dag: Dag) -> list[int]:
    """Forward: each unit, and the cluster it goes to."""
    label = list(range(len(dag.before)))
    cost = [dag.seconds(n) for n in label]
    extra = [0.0] * len(label)  # what was merged although others wait
    followers = [0] * len(label)
    for earlier in dag.before:
        for other in earlier:
            followers[other] += 1
    for number, earlier in enumerate(dag.before):
        homes = {label[other] for other in earlier}
        if len(homes) != 1:
            continue
        home = homes.pop()
        mine = cost[number]
        if cost[home] + mine > LONGEST:
            continue
        alone = all(followers[other] == 1 for other in earlier)
        if alone or extra[home] + mine <= SMALL:
            label[number] = home
            cost[home] += mine
            if not alone:
                extra[home] += mine
    return label


def prepend(dag: Dag) -> list[int]:
    """Backward: each unit, and the cluster it goes to."""
    label = list(range(len(dag.before)))
    extra = [0.0] * len(label)
    followers = dag.followers()
    for number in reversed(range(len(label))):
        homes = {label[other] for other in followers[number]}
        if len(homes) == 1:
            home = homes.pop()
            mine = dag.seconds(number)
            if extra[home] + mine <= SMALL:
                label[number] = home
                extra[home] += mine
    return label


def gather(dag: Dag) -> list[int]:
    """Each unit, and the cluster of its level and of its time that it goes to."""
    label = list(range(len(dag.before)))
    level = [0] * len(label)
    start = [0.0] * len(label)
    open_bins: dict[tuple[int, int], tuple[int, float]] = {}  # place -> (its cluster, seconds in it)
    for number, earlier in enumerate(dag.before):
        for other in earlier:
            level[number] = max(level[number], level[other] + 1)
            start[number] = max(start[number], start[other] + dag.seconds(other))
        mine = dag.seconds(number)
        if mine >= WORTH:
            continue
        place = level[number], int(start[number] / (4 * WORTH))
        home, cost = open_bins.get(place, (number, 0.0))
        label[number] = home
        cost += mine
        if cost < WORTH:
            open_bins[place] = home, cost
        else:
            open_bins.pop(place, None)
    return label


def contract(dag: Dag, label: Sequence[int]) -> Dag:
    """The graph of the clusters, numbered anew; `label` names the cluster of each unit by one of its units."""
    members: dict[int, list[int]] = {}
    for number, home in enumerate(label):
        members.setdefault(home, []).append(number)
    if len(members) == len(label):
        return dag
    before: dict[int, set[int]] = {home: set() for home in members}
    for number, home in enumerate(label):
        before[home].update([label[other] for other in dag.before[number]])
    for home, earlier in before.items():
        earlier.discard(home)
    order = _topological(before, members)
    place = {home: number for number, home in enumerate(order)}
    return Dag(
        [sum([dag.python[n] for n in members[home]]) for home in order],
        [sum([dag.free[n] for n in members[home]]) for home in order],
        [{place[other] for other in before[home]} for home in order],
        [[unit for n in members[home] for unit in dag.members[n]] for home in order],
    )


def _topological(before: dict[int, set[int]], members: dict[int, list[int]]) -> list[int]:
    """The clusters in an order in which they may run, otherwise by their first units."""
    followers: dict[int, list[int]] = {home: [] for home in before}
    waiting: dict[int, int] = {}
    ready: list[tuple[int, int]] = []
    for home, earlier in before.items():
        waiting[home] = len(earlier)
        for other in earlier:
            followers[other].append(home)
        if not earlier:
            ready.append((members[home][0], home))
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, home = heapq.heappop(ready)
        order.append(home)
        for other in followers[home]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (members[other][0], other))
    assert len(order) == len(before), "a cluster waits for itself"
    return order
