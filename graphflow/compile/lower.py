"""Lowering: the part of a graph that the fetches need, cut at the feeds, as a Program.

Policy: a fed tensor is a cut point before anything else happens.  Instructions stand in the order in which their ops
were created (or in the topological order closest to it, where control edges were added afterwards).  Reads and
writes of one variable are tied together in that order by hazard edges: read after write, write after read, write
after write.  Nothing recurses; the cost is linear in the part of the graph that is needed.

State: none.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphflow.errors import GraphError, InvalidArgumentError
from graphflow.graph import FuncGraph
from graphflow.opdef import OPS, definition_of
from graphflow.program import Instruction, PassRecord, Program
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Tensor

HANDLE = "VariableHandle"
PLACEHOLDERS = ("Placeholder", "Arg")
CALLBACKS = "callbacks"  # graph.store: tensor -> ops, of no graph, that are to be run when it is computed


def needed_ops(targets: Iterable[Operation], fed: Mapping[Tensor, Any]) -> list[Operation]:
    """The ops that must run for the targets, in an order that satisfies all edges."""
    seen: set[Operation] = set()
    stack = list(targets)
    seen.update(stack)
    late = False
    while stack:
        op = stack.pop()
        for x in op.inputs:
            before = x.op
            if before not in seen and x not in fed:
                seen.add(before)
                stack.append(before)
        if op.control_inputs:
            for before in op.control_inputs:
                late = late or before.id > op.id
                if before not in seen:
                    seen.add(before)
                    stack.append(before)
    ordered = sorted(seen, key=_by_id)
    return _topological(ordered, fed) if late else ordered


_by_id = operator.attrgetter("id")


def _topological(ops: Sequence[Operation], fed: Mapping[Tensor, Any]) -> list[Operation]:
    """Kahn's algorithm, oldest op first."""
    waiting: dict[Operation, int] = {}
    followers: dict[Operation, list[Operation]] = {op: [] for op in ops}
    for op in ops:
        before = {x.op for x in op.inputs if x not in fed} | set(op.control_inputs)
        waiting[op] = len(before)
        for b in before:
            followers[b].append(op)
    ready = [op.id for op in ops if not waiting[op]]
    by_id = {op.id: op for op in ops}
    heapq.heapify(ready)
    out = []
    while ready:
        op = by_id[heapq.heappop(ready)]
        out.append(op)
        for f in followers[op]:
            waiting[f] -= 1
            if not waiting[f]:
                heapq.heappush(ready, f.id)
    if len(out) < len(ops):
        raise _cycle(set(ops) - set(out), fed)
    return out


def _cycle(stuck: set[Operation], fed: Mapping[Tensor, Any]) -> GraphError:
    """The error for ops that wait for each other, with one of the cycles among them."""
    op = min(stuck, key=_by_id)
    place: dict[Operation, int] = {}
    path: list[Operation] = []
    while op not in place:
        place[op] = len(path)
        path.append(op)
        before = [x.op for x in op.inputs if x not in fed] + list(op.control_inputs)
        op = next(b for b in before if b in stuck)
    loop = [*path[place[op] :], op]
    return GraphError("ops wait for each other in a circle", op=op, got=" <- ".join(o.name for o in loop[:9]))


def subgraph_effects(graph: FuncGraph) -> dict[int, str]:
    """Which of a function's arguments are variables that its results read or write: argument number -> effect."""
    found: dict[int, str] = {}
    number = {arg: i for i, arg in enumerate(graph.args)}
    for op in needed_ops([r.op for r in graph.results], {}):
        for handle, effect in effects_of(op):
            if handle in number and found.get(number[handle]) != "write":
                found[number[handle]] = effect
    return found


def effects_of(op: Operation) -> list[tuple[Tensor, str]]:
    """The variables' handles that an op touches, and how."""
    definition = OPS.get(op.type)
    if definition is None:
        return []
    if definition.effect:
        return [(op.inputs[0], definition.effect)]
    if not definition.control_flow:
        return []
    out: dict[Tensor, str] = {}
    for attr in op.attrs.values():
        if isinstance(attr, FuncGraph):
            places = op.attrs[attr.name + "_inputs"]  # argument number -> input number
            for i, effect in subgraph_effects(attr).items():
                handle = op.inputs[places[i]]
                if out.get(handle) != "write":
                    out[handle] = effect
    return list(out.items())


class _Hazards:
    """Edges between the reads and writes of each variable, in program order."""

    def __init__(self) -> None:
        self._last_write: dict[Tensor, int] = {}
        self._reads: dict[Tensor, list[int]] = {}

    def edges(self, key: int, touched: list[tuple[Tensor, str]]) -> list[int]:
        found: list[int] = []
        for handle, effect in touched:
            last = self._last_write.get(handle)
            if last is not None:
                found.append(last)
            if effect == "write":
                found += self._reads.pop(handle, [])
                self._last_write[handle] = key
            else:
                self._reads.setdefault(handle, []).append(key)
        return found


# A named tuple's own constructor takes three times as long, and a large graph has very many instructions.
_instruction = functools.partial(tuple.__new__, Instruction)


class _Numbers:
    """The number and the spec of each value, and the numbers of what each op makes."""

    def __init__(self, ops: Sequence[Operation], fed: Sequence[Tensor]) -> None:
        self.of: dict[Tensor, int] = {t: v for v, t in enumerate(fed)}
        self.values = [TensorSpec(t.dtype, t.dims, None) for t in fed]
        self.made: list[tuple[int, ...]] = []
        cut, known = set(fed), dict[Any, TensorSpec]()  # equal specs are one object
        of, values = self.of, self.values
        for op in ops:
            made = []
            for t in op.outputs:
                if t in cut:
                    made.append(-1)
                    continue
                of[t] = number = len(values)
                made.append(number)
                found = known.get((t.dtype, t.dims)) if t.hint is None else TensorSpec(t.dtype, t.dims, t.hint)
                if found is None:
                    found = known[t.dtype, t.dims] = TensorSpec(t.dtype, t.dims, None)
                values.append(found)
            self.made.append(tuple(made))


def lower(fetches: Sequence[Tensor], targets: Sequence[Operation], fed: Sequence[Tensor]) -> Program:
    """The Program that computes the fetches and runs the targets, before any rewriting."""
    cut = dict.fromkeys(fed)
    wanted = [t.op for t in fetches if t not in cut] + list(targets)
    ops = needed_ops(wanted, cut)
    numbers = _Numbers(ops, fed)
    of = numbers.of
    instructions: list[Instruction] = []
    constants: dict[int, Any] = {}
    handles: dict[int, Operation] = {}
    hazards = _Hazards()
    missing: list[Operation] = []
    for op, made in zip(ops, numbers.made, strict=True):
        kind, inputs = op.type, op.inputs
        after: tuple[int, ...] = ()
        if not inputs:  # one of those without inputs that are no instructions, or are remembered
            if kind == "Const" and not op.control_inputs:
                if made[0] >= 0:
                    constants[made[0]] = op.attrs["value"]
                continue
            if kind in PLACEHOLDERS:
                if made[0] >= 0:
                    missing.append(op)
                continue
            if kind == HANDLE and made[0] >= 0:
                handles[made[0]] = op
        if op.control_inputs:
            after = tuple([c.id for c in op.control_inputs])
        definition = OPS.get(kind) or definition_of(op)
        if definition.effect or definition.control_flow:
            after = (*after, *hazards.edges(op.id, effects_of(op)))
        if len(inputs) == 2:
            read: tuple[int, ...] = (of[inputs[0]], of[inputs[1]])
        else:
            read = tuple([of[x] for x in inputs])
        instructions.append(_instruction((op.id, kind, read, made, op.attrs, after, op)))
    if missing:
        raise _not_fed(missing, wanted, cut)
    instructions = _with_callbacks(instructions, ops[0].graph if ops else fed[0].graph if fed else None, of)
    return Program(
        instructions=tuple(instructions),
        values=tuple(numbers.values),
        constants=constants,
        feeds=tuple(of[t] for t in fed),
        fetches=tuple(of[t] for t in fetches),
        record=(PassRecord("lower"),),
        handles=handles,
    )


def _with_callbacks(instructions: list[Instruction], graph: Any, numbers: Mapping[Tensor, int]) -> list[Instruction]:
    """The instructions, and after what makes a tensor those that call its callbacks; none is made for their sake."""
    wanted = graph.store.get(CALLBACKS) if graph is not None else None
    if not wanted:
        return instructions
    following: dict[int, list[Instruction]] = {}
    made = {v: ins.key for ins in instructions for v in ins.outputs}
    keys = itertools.count(graph.version)
    for tensor, ops in wanted.items():
        v = numbers.get(tensor)
        if v is not None:
            calls = [Instruction(next(keys), op.type, (v,), (), op.attrs, (), op) for op in ops]
            following.setdefault(made.get(v, -1), []).extend(calls)
    out = following.pop(-1, [])  # those of feeds and constants
    for ins in instructions:
        out.append(ins)
        out += following.get(ins.key, ())
    return out


def _not_fed(missing: list[Operation], targets: Sequence[Operation], fed: Mapping[Tensor, Any]) -> InvalidArgumentError:
    """One error for all placeholders that were not fed, with the way from the fetch to the first."""
    names = [f"{op.name!r} {op.outputs[0].dtype.name}{op.outputs[0].shape}, built at {op.source}" for op in missing]
    path = " <- ".join(op.name for op in _path(targets, missing[0], fed))
    plural = "s" if len(missing) > 1 else ""
    return InvalidArgumentError(
        f"You must feed a value for placeholder{plural} " + "; ".join(names),
        op=missing[0],
        expected="feed_dict={" + ", ".join(f"{op.name}: ..." for op in missing) + "}",
        got=f"a fetch that needs it: {path}",
    )


def _path(targets: Sequence[Operation], goal: Operation, fed: Mapping[Tensor, Any]) -> list[Operation]:
    """A shortest chain of ops from a target to `goal`."""
    came: dict[Operation, Operation | None] = dict.fromkeys(targets)
    queue = list(came)
    for op in queue:
        if op is goal:
            break
        for before in [x.op for x in op.inputs if x not in fed] + list(op.control_inputs):
            if before not in came:
                came[before] = op
                queue.append(before)
    path: list[Operation] = []
    step: Operation | None = goal
    while step is not None:
        path.append(step)
        step = came.get(step)
    path.reverse()
    return path if len(path) <= 8 else [*path[:4], *path[-4:]]
