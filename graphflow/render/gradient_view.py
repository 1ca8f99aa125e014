"""The view of a graph beside its gradient: the forward ops on one side, the derivative of each mirrored beside it.

Policy: drawn from what `tf.gradients` noted when it ran: which tensor is the derivative with respect to which.  Every
edge carries the formula of its tensor, in symbols; a formula names its inputs and never nests.  Sums over axes that
broadcasting brings about are left out of formulas.  After a run, every edge also carries the number.

State: none; `graph.store["derivatives"]` is written by `graphflow.gradients`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphflow.errors import FailedPreconditionError, InvalidArgumentError
from graphflow.graph import Graph
from graphflow.render import labels
from graphflow.render.selection import needed
from graphflow.render.symbols import Symbols, derivative, formula, slope
from graphflow.render.units import is_constant, is_fed, is_handle, is_read
from graphflow.render.view import CONSTANT, DATA, FED, FORWARD, GRADIENT, READ, VARIABLE, Edge, Node, View
from graphflow.tensor import Operation, Tensor

MAX_OPS = 150  # of the forward graph; formulas on more edges are not read by anyone
MAX_SHOWN = 3  # outputs of one op


def view(graph: Graph, only: set[Operation] | None, values: Mapping[str, Any], title: str = "") -> View:
    """The last gradient that was built for what is drawn; `values` by names of tensors."""
    return _Mirror(*_derivatives(graph, only), only, values).view(title)


def numbers_of(graph: Graph) -> dict[str, Tensor]:
    """What to fetch so that every edge of the view has its number: `values=session.run(numbers_of(graph), feed)`."""
    target, slopes = _derivatives(graph, None)
    mirror = _Mirror(target, slopes, None, {})
    wanted = [x for op in mirror.ops for x in (*op.inputs, *op.outputs) if not is_handle(x)]
    wanted += [found for x in wanted if (found := mirror.slope_of(x)) is not None]
    return {x.name: x for x in wanted}


def _derivatives(graph: Graph, only: set[Operation] | None) -> tuple[Tensor, Mapping[Tensor, Any]]:
    """The tensor that was differentiated last, and the derivatives with respect to others, in lists."""
    for targets, slopes in reversed(graph.store.get("derivatives", ())):
        if only is None or targets[0].op in only:
            return targets[0], slopes
    raise FailedPreconditionError(
        "there is no gradient to draw", hint="tf.gradients(y, xs), or optimizer.minimize(loss), builds one"
    )


class _Mirror:
    """Collects nodes and edges of both sides."""

    def __init__(
        self, target: Tensor, slopes: Mapping[Tensor, Any], only: set[Operation] | None, values: Mapping[str, Any]
    ) -> None:
        self.target, self.slopes, self.values = target, slopes, values
        chosen = needed([target.op])
        chosen = chosen if only is None else chosen & only
        ops = sorted(chosen, key=lambda op: op.id)
        self.ops = [op for op in ops if not (is_read(op) or is_constant(op) or any(map(is_handle, op.outputs)))]
        if len(self.ops) > MAX_OPS:
            raise InvalidArgumentError(
                "formulas are drawn for small graphs",
                expected=f"at most {MAX_OPS} ops",
                got=f"{len(self.ops)}",
                hint="between=(a, b) or around=tensor draws a part",
            )
        self.read = {x for op in self.ops for x in op.inputs}
        self.symbols = Symbols([*(op.name for op in self.ops), *(_owner(x).name for x in self.read)])
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.ids: dict[Operation, str] = {}
        self.ends: dict[Tensor, str] = {}  # where a derivative ends: at a variable or a fed tensor
        self.mirrors: set[str] = set()
        self.uses: dict[Tensor, int] = {}
        for op in self.ops:
            for x in op.inputs:
                if self.has_slope(op):
                    self.uses[x] = self.uses.get(x, 0) + 1

    def view(self, title: str) -> View:
        """Everything."""
        self.symbols.of(self.target, unnamed="J")
        for op in self.ops:
            self._symbols(op)
        for op in self.ops:
            self._forward(op)
        top = self.symbols.of(self.target)
        self.edges.append(self._final(top))
        for op in reversed(self.ops):
            if self.has_slope(op) and op.inputs:
                self._backward(op, top)
        return View(title, tuple(self.nodes), tuple(self.edges))

    # -- what is known of a tensor -----------------------------------------------------------------------------------

    def slope_of(self, x: Tensor) -> Tensor | None:
        """The derivative with respect to the tensor, or to the variable that it is read from."""
        for key in (x, *(x.op.inputs if is_read(x.op) else ())):
            found = self.slopes.get(key)
            if found and len(found) == 1 and isinstance(found[0], Tensor):
                return found[0]
        return None

    def has_slope(self, op: Operation) -> bool:
        """Whether something flows back through the op."""
        return any(self.slope_of(x) is not None for x in op.outputs)

    def _value(self, x: Tensor | None) -> str:
        if x is None:
            return ""
        names = [x.name, *(y.name for y in x.op.inputs if is_read(x.op))]
        found = next((self.values[name] for name in names if name in self.values), None)
        return "" if found is None else labels.value(found)

    # -- the forward side --------------------------------------------------------------------------------------------

    def _symbols(self, op: Operation) -> None:
        for x in op.inputs:
            self._shown(x)
        for x in self._outputs(op):
            self.symbols.of(x)

    def _outputs(self, op: Operation) -> list[Tensor]:
        """The outputs that the picture tells of: those that are read, or have a derivative."""
        used = [x for x in op.outputs if x in self.read or x is self.target or self.slope_of(x) is not None]
        return used or list(op.outputs[:1])

    def _known_as(self, op: Operation) -> str:
        """The symbols of its outputs."""
        found = [self.symbols.of(x) for x in self._outputs(op)]
        return ", ".join([*found[:MAX_SHOWN], *(["..."] if len(found) > MAX_SHOWN else [])]) or op.name

    def _forward(self, op: Operation) -> None:
        node = self.ids[op] = f"op{op.id}"
        kind = FED if is_fed(op) else FORWARD
        first = self._known_as(op)
        value = self._value(op.outputs[0]) if kind == FED else ""
        facts = {f"output {x.index}": labels.full_shape(x) for x in op.outputs}
        lines = (first,) if kind == FED else (first, op.type)
        self.nodes.append(Node(node, lines, kind, "", op.name, op.type, op.source, op.device, facts, value=value))
        for x in op.inputs:
            if x.op not in self.ids:
                self._leaf(x, node)
                continue
            fed = is_fed(x.op)
            label = "" if fed else f"{self.symbols.of(x)} = {self._formula(x.op)}"
            self.edges.append(Edge(self.ids[x.op], node, label, DATA, None, "" if fed else self._value(x)))

    def _formula(self, op: Operation) -> str:
        return formula(op, [self._shown(x) for x in op.inputs])

    def _shown(self, x: Tensor) -> str:
        """The symbol of a tensor; small constants stand for themselves."""
        small = is_constant(x.op) and x.op.attrs["value"].size == 1
        return labels.constant(x.op) if small else self.symbols.of(x, _owner(x))

    def _leaf(self, x: Tensor, node: str) -> None:
        """A variable or a constant, above each op that uses it."""
        kind = CONSTANT if is_constant(x.op) else VARIABLE
        owner = _owner(x)
        stub = f"leaf{len(self.nodes)}"
        self.ends.setdefault(x, stub)
        self.nodes.append(
            Node(stub, (self._shown(x),), kind, "", owner.name, owner.type, owner.source, value=self._value(x))
        )
        self.edges.append(Edge(stub, node, "", READ if kind == VARIABLE else DATA))

    def _final(self, top: str) -> Edge:
        """From the last op over to its derivative."""
        op = self.target.op
        self.nodes.append(Node("result", (top,), FORWARD, "", op.name, "", op.source, value=self._value(self.target)))
        label = f"{top} = {self._formula(op)}"
        return Edge(self.ids[op], "result", label, DATA, None, self._value(self.target))

    # -- the side of the derivatives ---------------------------------------------------------------------------------

    def _backward(self, op: Operation, top: str) -> None:
        """The node that mirrors an op, and the edges from it to the mirrors of what made its inputs."""
        node = self._mirror(op)
        if op is self.target.op:
            self.edges.append(Edge("result", node, f"{derivative(top, top)} = 1"))
        for i, x in enumerate(op.inputs):
            found = self.slope_of(x)
            if found is None:
                continue
            symbol = self.symbols.of(x)
            term = self._term(op, i, top)
            alone = self.uses.get(x, 0) == 1
            whole = derivative(top, symbol)
            label = whole if term == whole else f"{whole} = {term}" if alone else f"to {whole}: {term}"
            passes = x.op in self.ids and x.op.inputs and self.has_slope(x.op)
            head = self._mirror(x.op) if passes else self._end(x, top, "" if alone else self._value(found))
            self.edges.append(Edge(node, head, label, DATA, None, self._value(found) if alone else ""))

    def _term(self, op: Operation, number: int, top: str) -> str:
        """What the op adds to the derivative for that input: a term for each output that has a derivative itself."""
        inputs = [self._shown(y) for y in op.inputs]
        through = [y for y in op.outputs if y is self.target or self.slope_of(y) is not None]
        terms = [slope(op, number, top, self.symbols.of(y), inputs) for y in through[:MAX_SHOWN]]
        return " + ".join([*terms, *(["..."] if len(through) > MAX_SHOWN else [])])

    def _mirror(self, op: Operation) -> str:
        node = f"back{op.id}"
        if node not in self.mirrors:
            self.mirrors.add(node)
            lines = (f"back through {self._known_as(op)}", op.type)
            self.nodes.append(Node(node, lines, GRADIENT, "", op.name, "", op.source, beside=self.ids[op]))
        return node

    def _end(self, x: Tensor, top: str, value: str) -> str:
        """Where the derivative with respect to a variable or a fed tensor arrives."""
        key = x.op.inputs[0] if is_read(x.op) else x
        node = f"end{key.op.id}of{key.index}"
        if node not in self.mirrors:
            self.mirrors.add(node)
            beside = self.ids.get(x.op) or self.ends.get(x, "")
            found = self.slope_of(x)
            name = found.op.name if found is not None else ""
            line = derivative(top, self.symbols.of(x))
            self.nodes.append(Node(node, (line,), GRADIENT, "", name, "", key.op.source, value=value, beside=beside))
        return node


def _owner(x: Tensor) -> Operation:
    """The op whose name a tensor has for people: a variable, for what reads it."""
    return x.op.inputs[0].op if is_read(x.op) else x.op
