"""The graph as networkx sees it: depth, width, critical path and parallelism.

Policy: an analysed graph is a plain `networkx.DiGraph` of names, made anew at each call; networkx puts the ops in
order, and what follows from that is measured here.  Variables, their reads and constants compute nothing: they add
nothing to depth and width.

State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from graphflow import spec
from graphflow.graph import Graph
from graphflow.render import labels
from graphflow.render.axis import seconds_text
from graphflow.render.phases import phases
from graphflow.render.units import Units, is_constant, is_handle, is_read
from graphflow.render.view import FORWARD, PHASES
from graphflow.tensor import Operation


class Measures(NamedTuple):
    """How deep and how wide a graph is."""

    depth: int  # ops on the longest path
    width: int  # the most ops at one distance from the start
    parallelism: float  # ops by depth: how many workers it could keep busy
    critical_path: tuple[Any, ...]  # by seconds if they are known, else by the number of ops


def to_networkx(graph: Graph, seconds: Mapping[str, float] | None = None) -> Any:
    """The ops by name, with type, phase, device, source and shapes; edges with shape and dtype, or `control=True`.

    The attributes of the whole are those of `Measures`; `seconds` are by names of ops.
    """
    phase = phases(graph)
    ops = graph.get_operations()
    found, measures = _analysed(ops, seconds or {}, [op.name for op in ops])
    for op in ops:
        shapes = tuple(spec.describe(t.dims) for t in op.outputs)
        found.add_node(op.name, type=op.type, phase=phase[op], device=op.device, source=op.source, shapes=shapes)
        for before in op.control_inputs:
            found.add_edge(before.name, op.name, control=True)
        for x in op.inputs:
            found.add_edge(x.op.name, op.name, control=False, shape=spec.describe(x.dims), dtype=x.dtype.name)
    found.graph.update(measures._asdict())
    return found


def caption(units: Units, seconds: Mapping[str, float]) -> tuple[str, ...]:
    """What stands below a picture: what there is, and how deep and wide it is."""
    ops = list(units.chosen)
    if not ops:
        return ("no ops",)
    _, measures = _analysed(ops, seconds, ops)
    kinds = Counter(units.phase[op] for op in ops)
    many = [f"{kinds[kind]:,} {kind}" for kind in PHASES if kinds[kind]]
    first = f"{len(ops):,} ops" + (f": {', '.join(many)}" if len(many) > 1 else "")
    handles = {y.op.inputs[0]: y for op in ops if units.phase[op] == FORWARD for y in op.inputs if is_read(y.op)}
    if handles:
        numbers = sum(labels.elements(x.dims) for x in handles.values())
        plural = "s" if len(handles) > 1 else ""
        first += f"  ·  {len(handles):,} variable{plural}, {labels.count(numbers)} numbers"
    second = f"depth {measures.depth:,}  ·  width {measures.width:,}  ·  parallelism {measures.parallelism:.2g}"
    path = measures.critical_path
    if seconds and path:
        times = [sum(seconds.get(op.name, 0.0) for op in some) for some in (path, ops)]
        second += f"  ·  critical path {seconds_text(times[0])} of {seconds_text(times[1])}"
    third = [f"critical path: {labels.plain(path[0].name)} … {labels.plain(path[-1].name)}"] if path else []
    return first, second, *third


def _analysed(ops: Sequence[Operation], seconds: Mapping[str, float], keys: Sequence[Hashable]) -> tuple[Any, Measures]:
    """The ops as a DiGraph of their keys, and what is measured of it."""
    import networkx

    key = dict(zip(ops, keys, strict=True))
    found = networkx.DiGraph()
    found.add_nodes_from(keys)
    found.add_edges_from(
        [
            (key[before], key[op])
            for op in ops
            for before in (*[x.op for x in op.inputs], *op.control_inputs)
            if before in key
        ]
    )
    idle = {key[op] for op in ops if is_constant(op) or is_read(op) or any(map(is_handle, op.outputs))}
    steps = {key[op]: int(key[op] not in idle) for op in ops}
    depths, path = _longest(networkx, found, steps)
    across = Counter(depths[name] for name in depths if name not in idle)
    depth = int(max(across, default=0))
    if seconds:
        _, path = _longest(networkx, found, {key[op]: seconds.get(op.name, 0.0) for op in ops})
    width = max(across.values(), default=0)
    path = tuple(name for name in path if name not in idle)
    return found, Measures(depth, width, (len(ops) - len(idle)) / depth if depth else 0.0, path)


def _longest(networkx: Any, graph: Any, cost: Mapping[Any, float]) -> tuple[dict[Any, float], tuple[Any, ...]]:
    """How far each node is from the start, itself included, and the longest path."""
    far: dict[Any, float] = {}
    via: dict[Any, Any] = {}
    for name in networkx.topological_sort(graph):
        best = max(graph.pred[name], key=far.__getitem__, default=None)
        via[name] = best
        far[name] = cost[name] + (far[best] if best is not None else 0)
    path = []
    last = max(far, key=far.__getitem__, default=None)
    while last is not None:
        path.append(last)
        last = via[last]
    return far, tuple(reversed(path))
