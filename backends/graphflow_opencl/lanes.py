"""Which queue each node's launches go to, so that small kernels overlap.

Policy: a lane is an in-order queue; where a dependency crosses lanes a launch waits for an event.  A kernel that fills
the device gains nothing from a second lane, so there is one only if kernels with fewer work-groups than the device has
units could overlap for a good part of their time.  Nodes are placed by critical path: the node with the longest way to
the end first, on the lane that is free earliest, or on that of what it waits for.  Results do not depend on it.
`GRAPHFLOW_OCL_LANES` sets the number, for tests.

What the calling thread has done before other threads would have woken up is short: where the device has a queue for
that (see `callers`) such a plan goes there.  Its kernels are the same, so its results are.  `GRAPHFLOW_OCL_INLINE=1`
sends all plans there, for tests.

State: none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from graphflow.program import Instruction
from graphflow.spec import is_concrete, nbytes, numel
from graphflow_opencl.folds import REDUCTIONS
from graphflow_opencl.fused import is_pointwise
from graphflow_opencl.plan import KERNELS, Node, Plan
from graphflow_opencl.table import Traits

MOST = 4
BYTES_A_SECOND = 8e9  # of one unit
LAUNCH_SECONDS = 5e-6
# One thread alone, of which a short plan makes use.
WAKE_SECONDS = 6e-5  # until other threads have begun, and this one knows that they have ended
INLINE_LAUNCH_SECONDS = 1e-6
CACHED_BYTES_A_SECOND = 2.5e10
STEP_SECONDS = 4e-11  # an element of a pass: functions take more, additions less
MOVED_SECONDS = 1e-9  # an element of what else makes one
PRODUCT_SECONDS = 2.5e-10  # a multiplication of a product, which has the root of its three sizes' product of them
WORTH = 1.3  # how much more work than the longest chain there must be


def lanes_of(plan: Plan, traits: Traits) -> list[int]:
    """The lane of each node; all 0 if one is enough."""
    costs = [_seconds(plan, node) for node in plan.nodes]
    count = _count(plan, costs, traits)
    if count == 1 or any(node.kind != KERNELS for node in plan.nodes) and "GRAPHFLOW_OCL_LANES" not in os.environ:
        return [0] * len(plan.nodes)
    return _placed(plan.before, costs, count)


def is_short(plan: Plan, traits: Traits) -> bool:
    """Whether one thread has done the kernels of a plan before others would have woken up to help."""
    forced = os.environ.get("GRAPHFLOW_OCL_INLINE", "")
    if forced or "GRAPHFLOW_OCL_LANES" in os.environ:
        return forced == "1"
    seconds = 0.0
    done: set[int] = set()  # instructions: several nodes may come from one
    for node in plan.nodes:
        if node.kind == KERNELS:
            new = [ins for ins in node.instructions if ins.key not in done]
            seconds += len(node.launches) * INLINE_LAUNCH_SECONDS + max(
                sum(_inline_seconds(plan, ins) for ins in new),
                _bytes(plan, node) / CACHED_BYTES_A_SECOND,
            )
            done.update(ins.key for ins in new)
    return seconds <= WAKE_SECONDS + seconds / traits.units


def _inline_seconds(plan: Plan, ins: Instruction) -> float:
    """What an instruction costs one thread, by the elements of what it reads and makes."""
    read, made = (
        [numel(dims) for v in values if v >= 0 and is_concrete(dims := plan.values[v].dims)]
        for values in (ins.inputs, ins.outputs)
    )
    if is_pointwise(ins.type) or ins.type in REDUCTIONS:
        return max([*read, *made], default=0) * STEP_SECONDS
    three = sorted([*read, *made])[-3:]
    return max(math.sqrt(math.prod(three)) * PRODUCT_SECONDS, sum(made) * MOVED_SECONDS)


def _seconds(plan: Plan, node: Node) -> float:
    return LAUNCH_SECONDS + _bytes(plan, node) / BYTES_A_SECOND


def _bytes(plan: Plan, node: Node) -> int:
    """How much of the device's memory a node reads and writes."""
    touched = {v for v in (*node.reads, *node.writes) if v >= 0 and v not in plan.on_host and v not in plan.fixed}
    return sum(nbytes(plan.values[v]) or 0 for v in touched)


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
    groups = [math.prod(x.items) // math.prod(x.group) for x in node.launches]
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
