"""List scheduling: in which order, and how many at a time, tasks run on so many workers, and how long that takes.

Policy: whenever a worker is free it takes a ready task.  Where the longest way that is left is as long as what is left
for each worker, it takes the task at its head (the critical path); else there is time, and it takes one that frees
memory, or else the one that became ready last, so that what was begun is brought to its end before more is begun.

State: none.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from graphflow.compile.clusters import Dag

CRITICAL = 0.8  # of what is left for each worker


class Plan(NamedTuple):
    """What `simulate` found."""

    order: list[int]  # by start
    start: list[float]  # of each task
    seconds: float  # until the last one ends
    width: int  # the most workers that were busy at a time


def simulate(dag: Dag, workers: int, wake: float, growth: Sequence[float]) -> Plan:
    """Run the graph on paper; `growth` is by how many bytes each task makes memory fuller."""
    return _Simulation(dag, workers, wake, growth).run()


class _Simulation:
    def __init__(self, dag: Dag, workers: int, wake: float, growth: Sequence[float]) -> None:
        count = len(dag.before)
        self.seconds = [dag.seconds(n) for n in range(count)]
        self.followers = dag.followers()
        self.waiting = [len(earlier) for earlier in dag.before]
        self.workers, self.wake, self.growth = workers, wake, growth
        self.left = sum(self.seconds)
        self.taken = [False] * count
        self.urgent: list[tuple[float, int]] = []  # by the longest way to the end
        self.handy: list[tuple[bool, int, int]] = []  # what frees memory first, then what became ready last
        self.way = self.seconds.copy()
        for number in reversed(range(count)):
            if self.followers[number]:
                self.way[number] += max([self.way[other] for other in self.followers[number]])

    def run(self) -> Plan:
        count = len(self.seconds)
        start = [0.0] * count
        order: list[int] = []
        running: list[tuple[float, int]] = []
        time, width = 0.0, 0
        self._enable([n for n in range(count) if not self.waiting[n]], 0)
        awake = 1  # the worker that has just finished something, or the caller at the start
        while len(order) < count or running:
            while len(running) < self.workers:
                task = self._next()
                if task is None:
                    break
                start[task] = time if awake else time + self.wake
                awake = 0
                order.append(task)
                heapq.heappush(running, (start[task] + self.seconds[task], task))
            width = max(width, len(running))
            time, done = heapq.heappop(running)
            awake = 1
            free = []
            for other in self.followers[done]:
                self.waiting[other] -= 1
                if not self.waiting[other]:
                    free.append(other)
            self._enable(free, len(order))
        return Plan(order, start, time, width)

    def _enable(self, tasks: Sequence[int], now: int) -> None:
        for task in tasks:
            heapq.heappush(self.urgent, (-self.way[task], task))
            heapq.heappush(self.handy, (self.growth[task] > 0, -now, task))

    def _next(self) -> int | None:
        while self.urgent and self.taken[self.urgent[0][1]]:
            heapq.heappop(self.urgent)
        if not self.urgent:
            return None
        task = self.urgent[0][1]
        if self.way[task] < CRITICAL * self.left / self.workers:
            while self.taken[self.handy[0][2]]:
                heapq.heappop(self.handy)
            task = self.handy[0][2]
        self.taken[task] = True
        self.left -= self.seconds[task]
        return task
