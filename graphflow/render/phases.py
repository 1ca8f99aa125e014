"""What each op of a graph is there for: the forward computation, its gradient, an update, or setting up.

Policy: told from the structure (effects, atomic regions, the variables' initialisers) and, for gradients, from the
scope that `tf.gradients` opens.  Every walk goes by creation order or by a work list; nothing recurses.

State: none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from graphflow.graph import Graph
from graphflow.keys import GraphKeys
from graphflow.opdef import OPS
from graphflow.render.labels import scope_of
from graphflow.render.view import FORWARD, GRADIENT, SETUP, UPDATE
from graphflow.tensor import Operation

_GRADIENT_SCOPE = re.compile(r"(^|/)gradients(_\d+)?/")


def phases(graph: Graph) -> dict[Operation, str]:
    """The phase of every op."""
    ops = graph.get_operations()
    setup = _only_for(ops, _initializers(graph))
    found = {op: SETUP if op in setup else FORWARD for op in ops}
    scopes_of_updates = set()
    for op in ops:
        if found[op] == SETUP:
            continue
        if gradient_scope(op):
            found[op] = GRADIENT
        elif op.region is not None or effect(op) == "write":
            found[op] = UPDATE
            scopes_of_updates.add(scope_of(op.name))
    scopes_of_updates.discard("")
    for op in ops:
        waits_for_updates = op.type == "NoOp" and UPDATE in [found[x] for x in op.control_inputs]
        if found[op] == FORWARD and (waits_for_updates or scope_of(op.name) in scopes_of_updates):
            found[op] = UPDATE
    return found


def effect(op: Operation) -> str:
    """What the op does to the variable whose handle is its first input: "read", "write" or nothing."""
    definition = OPS.get(op.type)
    return definition.effect if definition is not None else ""


def gradient_scope(op: Operation) -> str:
    """The scope that `tf.gradients` opened for this op, or ""."""
    found = _GRADIENT_SCOPE.search(op.name)
    return op.name[: found.end()] if found is not None else ""


def _initializers(graph: Graph) -> list[Operation]:
    keys = (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES)
    variables = [v for key in keys for v in graph.get_collection(key)]
    return [v.initializer for v in variables if isinstance(getattr(v, "initializer", None), Operation)]


def _only_for(ops: list[Operation], wanted: Iterable[Operation]) -> set[Operation]:
    """`wanted`, the groups made of them alone, and whatever nothing but these uses."""
    chosen = set(wanted)
    users: dict[Operation, list[Operation]] = {}
    for op in ops:
        if op.type == "NoOp" and op.control_inputs and chosen.issuperset(op.control_inputs):
            chosen.add(op)
        for before in (*[x.op for x in op.inputs], *op.control_inputs):
            users.setdefault(before, []).append(op)
    for op in reversed(ops):
        if op in users and chosen.issuperset(users[op]):
            chosen.add(op)
    return chosen
