"""What of a graph is drawn as one thing: an op, or the ops of an atomic region; and what is only a stub beside it.

Policy: what is used in many places (variables, constants, sizes that a gradient asks for) is no unit: long edges make
a picture slow to lay out and hard to read.  A unit of a gradient stands in the scope of the forward ops that it
differentiates, inside the scope of the gradient, so that it can be drawn beside them.  The ops of a loop's body or of
a branch stand in a scope named after their op.  Told from tables and structure, never from an op's name; one walk in
the order of creation, nothing recurses.

State: none.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from graphflow.graph import FuncGraph, Graph
from graphflow.opdef import OPS
from graphflow.render.labels import local, scope_of, usual_dtype
from graphflow.render.phases import effect, gradient_scope, phases
from graphflow.render.view import FORWARD, GRADIENT, SETUP, UPDATE
from graphflow.tensor import Operation, Tensor


class Unit(NamedTuple):
    """One op, or the ops of an atomic region."""

    id: str
    ops: tuple[Operation, ...]
    name: str
    scope: str
    kind: str

    @property
    def op(self) -> Operation:
        """The op that the picture names: the one that writes the variable, in a region."""
        return next((op for op in reversed(self.ops) if effect(op) == "write"), self.ops[0])


class Units(NamedTuple):
    """All that may be drawn of a graph."""

    listed: tuple[Unit, ...]  # in the order of creation
    of: dict[Operation, int]  # which unit an op is in
    phase: dict[Operation, str]
    starts: frozenset[Operation]  # the first op of each gradient: the edge from the forward graph to it is drawn
    bodies: frozenset[str]  # scopes that hold the bodies of loops and branches
    usual: str  # the dtype that most tensors have
    chosen: tuple[Operation, ...]  # all ops that were asked for, without those in the bodies of loops and branches


def is_handle(tensor: Tensor) -> bool:
    """Whether the tensor stands for a variable itself."""
    return tensor.dtype.kind == "resource"


def is_constant(op: Operation) -> bool:
    """Whether the op holds its value."""
    return not op.inputs and "value" in op.attrs


def is_fed(op: Operation) -> bool:
    """Whether the op has no value of its own: it is fed."""
    return op.type.startswith("Placeholder")


def is_argument(op: Operation) -> bool:
    """Whether the op stands for an input of the function that it is in."""
    return isinstance(op.graph, FuncGraph) and len(op.outputs) == 1 and op.outputs[0] in op.graph.args


def is_read(op: Operation) -> bool:
    """Whether the op only reads a variable."""
    return effect(op) == "read" and len(op.inputs) == 1


def asks_size(op: Operation) -> bool:
    """Whether the op looks at its input's shape alone."""
    definition = OPS.get(op.type)
    asks = definition is not None and definition.known_value is not None and len(op.inputs) == 1
    return asks and op.outputs[0].dtype.is_integer


def functions(op: Operation) -> Iterator[tuple[str, FuncGraph]]:
    """The functions that are attributes of the op, with the attributes' names."""
    definition = OPS.get(op.type)
    if definition is not None and definition.control_flow:
        for key, value in op.attrs.items():
            if isinstance(value, FuncGraph):
                yield key, value


def collect(graph: Graph, only: set[Operation] | None = None, setup: bool = False) -> Units:
    """The units of a graph, or of the ops `only` in it; what sets variables up is left out unless asked for."""
    phase = phases(graph)
    chosen = [op for op in graph.get_operations() if (setup or phase[op] != SETUP) and (only is None or op in only)]
    placed, bodies = _with_bodies(chosen, phase)
    stubs = {op for op, _ in placed if _is_stub(op, phase[op])}
    if len(stubs) == len(placed):  # a graph of nothing else shows that
        stubs = set()
    placed = _inside_own_scope(placed, stubs)
    moved = _gradient_places(placed, phase, stubs, bodies)
    units = _grouped([(op, moved.get(op, scope)) for op, scope in placed if op not in stubs], phase)
    of = {op: i for i, unit in enumerate(units) for op in unit.ops}
    usual = usual_dtype(t for unit in units for op in unit.ops for t in op.outputs)
    starts: dict[str, Operation] = {}
    for unit in units:
        if unit.kind == GRADIENT and unit.op.inputs:
            starts.setdefault(gradient_scope(unit.op), unit.op)
    return Units(tuple(units), of, phase, frozenset(starts.values()), frozenset(bodies), usual, tuple(chosen))


def _with_bodies(chosen: list[Operation], phase: dict[Operation, str]) -> tuple[list[tuple[Operation, str]], set[str]]:
    """The ops with their scopes, each op with functions followed by the ops of those; adds to `phase`."""
    placed: list[tuple[Operation, str]] = []
    bodies: set[str] = set()
    work = [(op, scope_of(op.name)) for op in reversed(chosen)]
    while work:
        op, scope = work.pop()
        inside = dict(functions(op))
        place = f"{scope}/{local(op.name)}" if scope else local(op.name)
        placed.append((op, place if inside else scope))
        for key, function in reversed(inside.items()):
            bodies.update((place, f"{place}/{key}"))
            ops = function.get_operations()
            common = _common_scope(ops)
            for inner in reversed(ops):
                phase[inner] = phase[op]
                work.append((inner, f"{place}/{key}/{scope_of(inner.name)[len(common) :]}".strip("/")))
    return placed, bodies


def _common_scope(ops: list[Operation]) -> str:
    """The scope that all of them are in, with the last slash; "" for none."""
    common = scope_of(ops[0].name).split("/") if ops else []
    for op in ops:
        parts = op.name.split("/")[:-1]
        same = next((i for i, (a, b) in enumerate(zip(common, parts, strict=False)) if a != b), None)
        common = common[: min(len(common), len(parts)) if same is None else same]
    return "/".join([*common, ""])


def _inside_own_scope(placed: list[tuple[Operation, str]], stubs: set[Operation]) -> list[tuple[Operation, str]]:
    """An op that has the name of a scope is what that scope computes: it belongs into it."""
    scopes: set[str] = set()
    for op, scope in placed:
        while scope and scope not in scopes and op not in stubs:
            scopes.add(scope)
            scope = scope_of(scope)
    return [(op, op.name if op.name in scopes else scope) for op, scope in placed]


def _is_stub(op: Operation, phase: str) -> bool:
    if is_constant(op) or is_read(op) or is_argument(op):
        return True
    if len(op.outputs) == 1 and is_handle(op.outputs[0]) and not op.inputs:
        return True
    return phase == GRADIENT and asks_size(op)


def _gradient_places(
    placed: list[tuple[Operation, str]], phase: dict[Operation, str], stubs: set[Operation], bodies: set[str]
) -> dict[Operation, str]:
    """For ops of gradients: the scope of the forward op whose gradient they compute.

    The walk of `tf.gradients` goes backwards: that op comes no later than the one before, and what is used of the
    forward graph are its inputs and outputs.  An op that uses nothing of it stands where the op before it does.
    """
    found: dict[Operation, str] = {}
    of: dict[Operation, Operation] = {}
    last: dict[str, Operation] = {}
    where = {op: scope_of(scope) if scope in bodies else scope for op, scope in placed}
    users = _users(placed, phase)
    for op, scope in placed:
        root = gradient_scope(op).rstrip("/")
        if phase[op] != GRADIENT or scope != root or not root or op in stubs:
            continue
        before = last.get(root)
        near = [
            x.op if sole and _is_slope(op, x, before, of) else _latest(x, users, before.id if before else len(op.graph))
            for t in op.inputs
            for x, sole in _sources(t, stubs)
            if phase[x.op] == FORWARD
        ]
        near = [forward for forward in near if forward not in stubs]
        if near:
            last[root] = min(near, key=lambda forward: forward.id)
        if root in last:
            of[op] = last[root]
        if root in last and where.get(last[root]):
            found[op] = f"{root}/{where[last[root]]}"
    return found


def _users(placed: list[tuple[Operation, str]], phase: dict[Operation, str]) -> dict[Tensor, list[Operation]]:
    """The forward ops that compute with a tensor, in the order of creation."""
    users: dict[Tensor, list[Operation]] = {}
    for op, _ in placed:
        if phase[op] == FORWARD and not asks_size(op):
            for x in op.inputs:
                users.setdefault(x, []).append(op)
    return users


def _latest(x: Tensor, users: dict[Tensor, list[Operation]], limit: int) -> Operation:
    """The last op, up to that number, that uses the tensor; else the one that makes it."""
    candidates = users.get(x, ())
    i = bisect.bisect_right(candidates, limit, key=lambda op: op.id)
    return candidates[i - 1] if i else x.op


def _is_slope(op: Operation, x: Tensor, before: Operation | None, of: dict[Operation, Operation]) -> bool:
    """Whether the op goes on from the slope of `x` that the forward op `before` gave: then it is of the maker of x."""
    return (
        before is not None
        and x in before.inputs
        and any(of.get(t.op) is before and t.dims == x.dims for t in op.inputs)
    )


def _sources(x: Tensor, stubs: set[Operation]) -> tuple[tuple[Tensor, bool], ...]:
    """The tensor, and that its value is used; or what it is the size of."""
    return tuple((y, False) for y in x.op.inputs) if x.op in stubs and asks_size(x.op) else ((x, True),)


def _grouped(placed: list[tuple[Operation, str]], phase: dict[Operation, str]) -> list[Unit]:
    """Units, in the order of their first ops."""
    graphs: dict[Graph, int] = {}
    regions: dict[tuple[Graph, int], list[Operation]] = {}
    for op, _ in placed:
        graphs.setdefault(op.graph, len(graphs))
        if op.region is not None and phase[op] == UPDATE:
            regions.setdefault((op.graph, op.region.id), []).append(op)
    units = []
    crowd = Counter(scope for _, scope in placed)
    for op, scope in placed:
        prefix = f"f{graphs[op.graph]}" if graphs[op.graph] else ""
        members = regions.get((op.graph, op.region.id)) if op.region is not None and phase[op] == UPDATE else None
        if members is None or len(members) == 1:
            units.append(Unit(f"{prefix}op{op.id}", (op,), op.name, scope, phase[op]))
        elif members[0] is op:
            written = next((x for x in reversed(members) if effect(x) == "write"), op)
            name = scope_of(written.name)
            if not name or crowd[name] > len(members):
                name = written.name
            units.append(Unit(f"{prefix}op{op.id}", tuple(members), name, scope_of(name), UPDATE))
    return units
