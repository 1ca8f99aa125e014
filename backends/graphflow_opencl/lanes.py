"""Which queue each node's launches go to, so that small kernels overlap.

Policy: a lane is an in-order queue; where a dependency crosses lanes a launch waits for an event.  A kernel that fills
the device gains nothing from a second lane, so there is one only if kernels with fewer work-groups than the device has
units could overlap for a good part of their time.  Nodes are placed by critical path: the node with the longest way to
the end first, on the lane that is free earliest, or on that of what it waits for.  Results do not depend on it.
`GRAPHFLOW_OCL_LANES` sets the number, for tests.

State: none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod

from graphflow.spec import nbytes
from graphflow_opencl.plan import KERNELS, Node, Plan
from graphflow_opencl.table import Traits

MOST = 4
BYTES_A_SECOND = 8e9  # of one unit
LAUNCH_SECONDS = 5e-6
WORTH = 1.3  # how much more work than the longest chain there must be


def lanes_of(plan: Plan, traits: Traits) -> list[int]:
    """The lane of each node; all 0 if one is enough."""
    costs = [_seconds(plan, node) for node in plan.nodes]
    count = _count(plan, costs, traits)
    if count == 1 or any(node.kind != KERNELS for node in plan.nodes) and "GRAPHFLOW_OCL_LANES" not in os.environ:
        return [0] * len(plan.nodes)
    return _placed(plan.before, costs, count)


def _seconds(plan: Plan, node: Node) -> float:
    touched = {v for v in (*node.reads, *node.writes) if v >= 0 and v not in plan.on_host and v not in plan.fixed}
    size = sum(nbytes(plan.values[v]) or 0 for v in touched)
    return LAUNCH_SECONDS + size / BYTES_A_SECOND


def _count(plan: Plan, costs: Sequence[float], traits: Traits) -> int:
    forced = os.environ.get("GRAPHFLOW_OCL_LANES", "")
    if forced.isdigit():
        return max(1, int(forced))
    narrow = [_narrow(node, traits) * cost for node, cost in zip(plan.nodes, costs, strict=True)]
    chain = [0.0] * len(narrow)
    for number, cost in enumerate(narrow):
        chain[number] = cost + max([chain[b] for b in plan.before[number]], default=0.0)
    longest, total = max(chain, default=0.0), sum(narrow)
    return 1 if total <= WORTH * longest else min(MOST, traits.units, max(2, round(total / longest)))


def _narrow(node: Node, traits: Traits) -> bool:
    """Whether the device has room for something else beside the node's kernels."""
    groups = [prod(x.items) // prod(x.group) for x in node.launches]
    return bool(groups) and max(groups) < traits.units


def _placed(before: Sequence[set[int]], costs: Sequence[float], count: int) -> list[int]:
    """List scheduling in the order of the nodes, which satisfies the dependencies."""
    done = [0.0] * len(costs)
    free = [0.0] * count
    lanes: list[int] = []
    for number, cost in enumerate(costs):
        ready = max([done[b] for b in before[number]], default=0.0)
        latest = max(before[number], key=lambda b: done[b], default=None)
        same = None if latest is None else lanes[latest]
        start = [max(ready, free[lane]) for lane in range(count)]
        best = min(range(count), key=lambda lane: (start[lane], lane != same, lane))
        lanes.append(best)
        done[number] = free[best] = start[best] + cost
    return lanes
