"""What the compiler did to a graph: every op that went into a program, and what became of it.

Policy: read from the program and the record of its passes, nothing is computed anew.  Ops that are gone stand where
they were built, between what they used and what used them; an op that is the same as another one points to it; ops that
are evaluated together stand in one box.  In a large program there are boxes for name scopes too, each group inside the
innermost that has it all; as many of these boxes are open as can be read at once (see `folding`).  What passes made of
an op beside itself is added, with the edges of the program.  An op that is gone has the colour of the last thing that
happened to it; facts tell the rest.

State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from graphflow.program import Instruction, PassRecord, Program
from graphflow.render import closing, folding, labels
from graphflow.render.labels import scope_of, usual_dtype
from graphflow.render.phases import phases
from graphflow.render.units import is_constant, is_fed, is_handle, is_read
from graphflow.render.view import (
    ADDED,
    CONSTANT,
    CONTROL,
    FED,
    FOLDED,
    FORWARD,
    FUSED,
    KEPT,
    MERGED,
    PHASES,
    READ,
    REMOVED,
    REWRITTEN,
    VARIABLE,
    Box,
    Edge,
    Node,
    View,
)
from graphflow.tensor import Operation, Tensor

FEW = 200  # ops that can be read without the boxes of their scopes


class Event(NamedTuple):
    """Something that a pass did to an op."""

    step: str  # the pass
    change: str
    words: str
    other: str = ""  # the op that stands for it now


_Columns = tuple[Callable[[PassRecord], Iterator[tuple[str, Event]]], ...]

# How the columns of a record are read: names of ops, and what was done to them.
_COLUMNS: _Columns = (
    lambda r: ((name, Event(r.name, REMOVED, "removed")) for name in r.removed),
    lambda r: ((name, Event(r.name, FOLDED, "computed before the run, a constant now")) for name in r.folded),
    lambda r: ((name, Event(r.name, MERGED, f"the same as {other}", other)) for name, other in r.merged),
    lambda r: ((name, Event(r.name, REWRITTEN, words)) for name, words in r.rewritten),
)


def view(
    program: Program,
    *,
    expand: Sequence[str] | str = (),
    depth: int | None = None,
    budget: float = folding.BUDGET,
    title: str = "",
) -> View:
    """The picture: the ops of the program and those that its passes name."""
    story = _Story(program)
    made = story.view(title or "what the compiler did")
    return closing.closed(made, expand, depth, budget) if story.in_scopes else made


class _Story:
    """What is known of each op, and the view in the making."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.events: dict[str, list[Event]] = {}  # by name of the op
        for record in program.record:
            for read in _COLUMNS:
                for name, event in read(record):
                    self.events.setdefault(name, []).append(event)
        self.left: dict[Operation, list[Instruction]] = {}  # what is still computed for an op
        self.group: dict[int, str] = {}  # key of an instruction -> the box of its fusion group
        for ins in program.instructions:
            self.left.setdefault(ins.op, []).append(ins)
        self.ops = self._ops()
        self.in_scopes = len(self.ops) > FEW
        for number, group in enumerate(program.groups, 1):
            members = program.instructions[group.begin : group.end]
            around = _common_scope([ins.op.name for ins in members]) if self.in_scopes else ""
            box = f"{around}/{FUSED} {number}" if around else f"{FUSED} {number}"
            self.group.update([(ins.key, box) for ins in members])
        self.drawn = {op for op in self.ops if op.name in self.events or not _is_quiet(op)}
        self.by_name = {op.name: op for op in self.ops if op in self.drawn}
        self.usual = usual_dtype(t for op in self.ops for t in op.outputs)
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.node_of: dict[int, str] = {}  # key of an instruction -> the node that shows it

    def _ops(self) -> list[Operation]:
        """In the order of their creation: those that are left, and those that are gone but have a story."""
        found = dict.fromkeys(self.left)
        for graph in dict.fromkeys([op.graph for op in self.left]):
            found.update(dict.fromkeys([op for op in graph.get_operations() if op.name in self.events]))
        return sorted(found, key=lambda op: op.id)

    def view(self, title: str) -> View:
        """All of it."""
        graphs = dict.fromkeys([op.graph for op in self.ops])
        phase = {op: kind for graph in graphs for op, kind in phases(graph).items()}
        drawn = [op for op in self.ops if op in self.drawn]
        for op in drawn:
            self._op(op, phase[op])
        for op in drawn:
            self._edges_into(op)
        self._edges_of_added()
        caption = [str(record) for record in self.program.record if any(record[1:6])]
        return View(title, tuple(self.nodes), tuple(self.edges), self._boxes(), tuple(caption), self.usual)

    # -- ops ---------------------------------------------------------------------------------------------------------

    def _op(self, op: Operation, kind: str) -> None:
        """The op, and what was added on its behalf."""
        found = self.left.get(op, ())
        own = next((ins for ins in found if ins.key == op.id), found[-1] if found else None)
        line = op.type if own is None or own.type == op.type else f"{op.type}, now {own.type}"
        facts = {event.step: event.words for event in self.events.get(op.name, ())}
        node = Node(
            _id(op),
            (labels.local(op.name), line),
            kind,
            self._scope(op, own),
            op.name,
            op.type,
            op.source,
            op.device,
            facts,
        )
        self.nodes.append(node._replace(change=self._change(op, own)))
        for ins in found:
            self.node_of[ins.key] = node.id if ins is own else f"new{ins.key}"
            if ins is not own:
                lines = (ins.type, f"for {labels.local(op.name)}")
                more = Node(f"new{ins.key}", lines, kind, self._scope(op, ins), op.name, ins.type, op.source, op.device)
                self.nodes.append(more._replace(change=ADDED))

    def _scope(self, op: Operation, ins: Instruction | None) -> str:
        """The box of an op: of those that it is fused with, or its name scope."""
        own = self._own_scope(op)
        return own if ins is None else self.group.get(ins.key, own)

    def _own_scope(self, op: Operation) -> str:
        return scope_of(op.name) if self.in_scopes else ""

    def _boxes(self) -> tuple[Box, ...]:
        """The scopes, and in them the groups: no name has a space in it, so the two cannot be confused."""
        found: dict[str, Counter[str]] = {}
        for node in self.nodes:
            scope = node.scope
            while scope:
                found.setdefault(scope, Counter())[node.kind] += bool(node.type)
                scope = scope_of(scope)
        boxes = []
        for scope, kinds in found.items():
            label = labels.local(scope)
            label = f"{kinds.total()} ops in one pass" if label.startswith(f"{FUSED} ") else label
            kind = next((kind for kind, _ in kinds.most_common() if kind in PHASES), FORWARD)
            boxes.append(Box(scope, label, kind, kinds.total()))
        return tuple(boxes)

    def _change(self, op: Operation, own: Instruction | None) -> str:
        """What became of it."""
        events = [event.change for event in self.events.get(op.name, ())]
        if own is None:
            return next((change for change in reversed(events) if change != REWRITTEN), REMOVED)
        if REWRITTEN in events and (own.type, len(own.inputs), own.attrs) != (op.type, len(op.inputs), op.attrs):
            return REWRITTEN
        return FUSED if own.key in self.group else KEPT

    # -- edges -------------------------------------------------------------------------------------------------------

    def _edges_into(self, op: Operation) -> None:
        for x in op.inputs:
            if is_fed(x.op) and x.op not in self.drawn:
                self._fed(x.op)
            if x.op in self.drawn:
                self.edges.append(Edge(_id(x.op), _id(op), labels.shape(x, self.usual)))
            else:
                self._stub(x, op)
        self.edges += [Edge(_id(before), _id(op), "", CONTROL) for before in op.control_inputs if before in self.drawn]
        for event in self.events.get(op.name, ()):
            other = self.by_name.get(event.other)
            if other is not None:
                self.edges.append(Edge(_id(op), _id(other), "the same", CONTROL))

    def _fed(self, op: Operation) -> None:
        """A placeholder is no instruction; it is drawn once."""
        lines = (labels.local(op.name), labels.shape(op.outputs[0], self.usual))
        self.nodes.append(Node(_id(op), lines, FED, self._own_scope(op), op.name, op.type, op.source))
        self.drawn.add(op)

    def _stub(self, x: Tensor, op: Operation) -> None:
        """What is constant or a variable, beside its user."""
        made_by = x.op.inputs[0].op if is_read(x.op) else x.op
        kind = VARIABLE if is_handle(made_by.outputs[0]) else CONSTANT
        lines = (
            (labels.local(made_by.name),) if is_handle(x) else (labels.local(made_by.name), labels.shape(x, self.usual))
        )
        own = self.left.get(op, ())
        scope = self._scope(op, own[-1] if own else None)
        node = Node(f"stub{len(self.nodes)}", lines, kind, scope, made_by.name, source=made_by.source)
        self.nodes.append(node)
        self.edges.append(Edge(node.id, _id(op), kind=READ))

    def _edges_of_added(self) -> None:
        """Between what was added, what it reads and what reads it: as the program has them."""
        maker = {v: self.node_of.get(ins.key, "") for ins in self.program.instructions for v in ins.outputs if v >= 0}
        known = {(edge.tail, edge.head) for edge in self.edges}
        for ins in self.program.instructions:
            head = self.node_of.get(ins.key, "")
            for tail in dict.fromkeys([maker.get(v, "") for v in ins.inputs]):
                added = head.startswith("new") or tail.startswith("new")
                if head and tail and added and (tail, head) not in known:
                    self.edges.append(Edge(tail, head))


def _is_quiet(op: Operation) -> bool:
    """What only hands out a value: drawn beside its users."""
    return bool(op.outputs) and (is_handle(op.outputs[0]) or is_read(op) or is_fed(op) or is_constant(op))


def _common_scope(names: list[str]) -> str:
    """The innermost scope that all of them are in."""
    scope = scope_of(names[0])
    while scope and not all(name.startswith(f"{scope}/") for name in names):
        scope = scope_of(scope)
    return scope


def _id(op: Operation) -> str:
    return f"op{op.id}"
