"""Which ops of a graph a picture is of: those that something needs, those around a tensor, those between two.

Policy: whatever is named must be of the graph, or the error says so.  Each walk is a work list over inputs or users.

State: none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphflow.errors import InvalidArgumentError, shown
from graphflow.graph import Graph
from graphflow.tensor import Operation, Tensor


def op_of(graph: Graph, item: Any) -> Operation:
    """The op for an op, a tensor, a variable or a name, which must be of this graph."""
    element = graph.as_graph_element(item)
    op = element.op if isinstance(element, Tensor) else element
    assert isinstance(op, Operation)
    return op


def needed(ops: Iterable[Operation]) -> set[Operation]:
    """The ops, and all that they wait for."""
    return _reached(list(ops), _before)


def around(graph: Graph, centre: Operation, hops: int) -> set[Operation]:
    """The ops that are at most so many edges away, in either direction."""
    if not isinstance(hops, int) or isinstance(hops, bool) or hops < 0:
        raise InvalidArgumentError("hops is how many edges away to look", expected="0 or more", got=shown(hops))
    users = _users(graph)
    found, border = {centre}, [centre]
    for _ in range(hops):
        if not border:
            break  # all that can be reached is found
        border = list(dict.fromkeys(x for op in border for x in (*_before(op), *users.get(op, ())) if x not in found))
        found.update(border)
    return found


def between(graph: Graph, first: Operation, last: Operation) -> set[Operation]:
    """The ops on all paths from one to the other, both included."""
    users = _users(graph)
    found = _reached([first], lambda op: users.get(op, [])) & needed([last])
    if not found:
        raise InvalidArgumentError(
            f"no path leads from {first.name!r} to {last.name!r}",
            hint="name what is computed first, then what uses it" if last in needed([first]) else None,
        )
    return found


def _before(op: Operation) -> list[Operation]:
    return [*[x.op for x in op.inputs], *op.control_inputs]


def _users(graph: Graph) -> dict[Operation, list[Operation]]:
    users: dict[Operation, list[Operation]] = {}
    for op in graph.get_operations():
        for before in _before(op):
            users.setdefault(before, []).append(op)
    return users


def _reached(work: list[Operation], step: Any) -> set[Operation]:
    found = set(work)
    while work:
        for op in step(work.pop()):
            if op not in found:
                found.add(op)
                work.append(op)
    return found
