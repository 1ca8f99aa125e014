"""Building a graph from a `GraphDef`: `import_graph_def`.

Policy: nothing that the file says is believed.  Every op type and attribute name must be registered, every op goes
through its own inference again, functions fit the ops that use them, and what reads or writes a variable agrees with
that variable.  Either the whole graph is imported or the graph is left as it was.  No op is executed.

State: none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from graphflow import spec
from graphflow.compile.lower import HANDLE
from graphflow.constants import convert_to_tensor
from graphflow.durable import nearest
from graphflow.errors import AlreadyExistsError, DataLossError, DTypeError, Error, GraphError
from graphflow.graph import FuncGraph, Graph, get_default_graph
from graphflow.names import check_name
from graphflow.opdef import OPS, OpDef, build
from graphflow.ops.control import TracedGraph
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Region, Tensor
from graphflow.train import graph_values
from graphflow.train.graph_checks import (
    RootHandles,
    attribute_names,
    check_after,
    check_before,
    check_dims,
    check_variable,
    connect,
)
from graphflow.train.graph_json import ARGUMENT, OUTSIDE, GraphDef
from graphflow.train.graph_order import build_order

MAX_OPS = 4_000_000
MAX_FUNCTIONS = 100_000
STACKING = frozenset({"While"})  # further outputs hold one row for each iteration
_KEYS = {"name", "type", "inputs", "control", "attrs", "device", "gradient", "region", "shapes"}


def import_graph_def(
    graph_def: Any,
    input_map: Mapping[str, Any] | None = None,
    return_elements: Sequence[str] | None = None,
    name: str | None = None,
    op_dict: Any = None,
    producer_op_list: Any = None,
) -> list[Any] | None:
    """Add the ops of a GraphDef to the default graph, under the name scope "import" unless `name` says otherwise.

    `input_map` puts tensors of the graph in the place of tensors of the GraphDef; `return_elements` names the ops and
    tensors ("x", "x:0") that are returned.
    """
    graph = get_default_graph()
    with graph.name_scope("import" if name is None else name) as scope:
        found = import_into(graph, graph_def, scope, input_map)
    return None if return_elements is None else [found.element(e) for e in return_elements]


class Imported:
    """What an import has made: ops and tensors by the names that they have in the file."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self.operations = operations

    def element(self, name: Any) -> Any:
        """The op or tensor of that name."""
        if not isinstance(name, str):
            raise DTypeError("elements of a GraphDef are named by strings", got=repr(name)[:80])
        op_name, colon, index = name.rpartition(":")
        op = self.operations.get(op_name if colon else name)
        if op is None:
            raise GraphError(f"the GraphDef has no {name!r}", hint=nearest(name, list(self.operations)[:10000]))
        if not colon:
            return op
        if not index.isdigit() or int(index) >= len(op.outputs):
            expected = f"an output below {len(op.outputs)}"
            raise GraphError(f"the GraphDef has no tensor {name!r}", op=op, expected=expected)
        return op.outputs[int(index)]


def import_into(
    graph: Graph,
    graph_def: Any,
    scope: str = "",
    input_map: Mapping[str, Any] | None = None,
    clear_devices: bool = False,
    further: Callable[[Graph, Imported], Any] | None = None,
) -> Any:
    """Build a GraphDef's ops with the names `scope` + name; all of them, or an error and none.

    The result is that of `further`, which may still fail, or the `Imported`.
    """
    if not isinstance(graph_def, GraphDef):
        raise DTypeError("a graph is imported from a tf.GraphDef", got=repr(graph_def)[:80])
    if isinstance(graph, FuncGraph):
        raise GraphError("a GraphDef cannot be imported into a branch or a loop body", got=repr(graph)[:80])
    parts = _parsed(graph_def.content)
    with _all_or_nothing(graph):
        found = _Import(parts, graph, scope, dict(input_map or {}), clear_devices).run()
        result = found if further is None else further(graph, found)
    if graph.seed is None and len(graph) == len(found.operations):
        graph.seed = graph_def.content.get("seed")
    return result


@contextlib.contextmanager
def _all_or_nothing(graph: Graph) -> Iterator[None]:
    """Take back the ops that were added if the block fails."""
    with graph._lock:
        count, counts = len(graph), dict(graph._names._counts)
        try:
            yield
        except BaseException:
            for op in graph._operations[count:]:
                del graph._by_name[op.name]
            del graph._operations[count:]
            graph._names._counts = counts
            raise


# -- reading the records ---------------------------------------------------------------------------------------------


class _Node(NamedTuple):
    """One op as the file has it; inputs and controls are positions in the file."""

    name: str
    type: str
    inputs: tuple[tuple[int, int], ...]
    control: tuple[int, ...]
    record: dict[str, Any]


class _Part(NamedTuple):
    """One graph of the file: the main graph, or a branch or loop body."""

    name: str
    outer: int
    nodes: list[_Node]
    order: Sequence[int]
    regions: list[list[str]]
    record: dict[str, Any]


def _malformed(what: str, got: Any) -> DataLossError:
    return DataLossError(f"malformed graph: {what}", got=graph_values.shown(got))


def _texts(value: Any, what: str) -> list[str]:
    if type(value) is not list or not all(type(v) is str for v in value):
        raise _malformed(f"{what} must be a list of names", value)
    return value


def _parsed(content: Any) -> list[_Part]:
    if type(content) is not dict or not content.keys() <= {"ops", "regions", "functions", "seed"}:
        got = list(content) if type(content) is dict else content
        raise _malformed("expected ops, regions, functions and seed", got)
    seed, functions = content.get("seed"), content.get("functions", [])
    if seed is not None and type(seed) is not int:
        raise _malformed("the seed must be an integer", seed)
    if type(functions) is not list or not all(type(f) is dict for f in functions) or len(functions) > MAX_FUNCTIONS:
        raise _malformed(f"functions must be a list of at most {MAX_FUNCTIONS} records", functions)
    total = 0
    parts = []
    for position, record in enumerate([content, *functions]):
        part = _part(position, record)
        total += len(part.nodes)
        if total > MAX_OPS:
            raise _malformed(f"more than {MAX_OPS} ops", total)
        parts.append(part)
    return parts


def _part(position: int, record: dict[str, Any]) -> _Part:
    name, outer = record.get("name", ""), record.get("outer", 0)
    if position:
        if type(name) is not str or type(outer) is not int or not 0 <= outer < position:
            raise _malformed("a function has a name and stands after the graph around it", [name, outer])
        check_name(name, in_scope=True)
        if not record.keys() <= {"name", "outer", "args", "captured", "results", "ops", "regions", "saved"}:
            raise _malformed("a function has an unknown field", list(record))
    ops = record.get("ops")
    if type(ops) is not list or len(ops) > MAX_OPS:
        raise _malformed(f"ops must be a list of at most {MAX_OPS} records", type(ops).__name__)
    regions = record.get("regions", [])
    if type(regions) is not list:
        raise _malformed("regions must be a list", regions)
    nodes = _nodes(ops)
    names = [node.name for node in nodes]
    order = build_order(names, [[i for i, _ in node.inputs] for node in nodes], [node.control for node in nodes])
    return _Part(name, outer, nodes, order, [_texts(r, "a region") for r in regions], record)


def _nodes(ops: list[Any]) -> list[_Node]:
    place: dict[str, int] = {}
    for i, record in enumerate(ops):
        if type(record) is not dict or type(record.get("name")) is not str or type(record.get("type")) is not str:
            raise _malformed("an op has a name and a type", record)
        unknown = sorted(record.keys() - _KEYS)
        if unknown:
            raise _malformed(f"op {graph_values.shown(record['name'])} has an unknown field", unknown)
        if place.setdefault(record["name"], i) != i:
            raise AlreadyExistsError(f"the graph has two ops named {graph_values.shown(record['name'])}")
    nodes = []
    for record in ops:
        inputs = tuple([_input(place, name, record) for name in _texts(record.get("inputs", []), "inputs")])
        controls = _texts(record.get("control", []), "control inputs")
        for name in controls:
            if name not in place:
                raise _unknown(place, name, record)
        nodes.append(_Node(record["name"], record["type"], inputs, tuple([place[n] for n in controls]), record))
    return nodes


def _input(place: Mapping[str, int], name: str, record: dict[str, Any]) -> tuple[int, int]:
    op_name, _, index = name.rpartition(":")
    found = place.get(op_name)
    if found is None or not index.isascii() or not index.isdigit() or len(index) > 6:
        raise _unknown(place, name, record)
    return found, int(index)


def _names_function(attrs: Mapping[str, Any], key: str) -> bool:
    """Whether an attribute is a function, or the places of a function's arguments among the inputs."""
    function = attrs.get(key.removesuffix("_inputs"))
    return type(function) is dict and function.keys() == {"function"}


def _unknown(place: Mapping[str, int], name: str, record: dict[str, Any]) -> GraphError:
    return GraphError(
        f"op {graph_values.shown(record['name'])} has an input that the graph does not have",
        got=graph_values.shown(name),
        hint=nearest(name[:256], list(place)[:10000]),
    )


def _tensors(made: Imported, names: Any, what: str) -> list[Tensor]:
    tensors = [made.element(name) for name in _texts(names, what)]
    if not all(isinstance(t, Tensor) for t in tensors):
        raise _malformed(f"{what} must be tensors", names)
    return tensors


# -- building --------------------------------------------------------------------------------------------------------


class _Import:
    """One import: the graphs of the file and the ops made so far."""

    def __init__(
        self, parts: list[_Part], graph: Graph, scope: str, input_map: dict[str, Any], clear_devices: bool
    ) -> None:
        self._parts = parts
        self._clear_devices = clear_devices
        self._scope = scope
        self._mapped = self._mapping(parts[0], graph, input_map)
        self._graphs: list[Graph] = [graph]
        for part in parts[1:]:
            self._graphs.append(TracedGraph(part.name, self._graphs[part.outer]))
        self._made: list[list[Any]] = [[None] * len(part.nodes) for part in parts]
        self._captured: dict[Graph, list[int]] = {}
        self._saved: dict[Graph, list[tuple[int, Tensor]]] = {}
        self._current = 0

    def _mapping(self, main: _Part, graph: Graph, input_map: dict[str, Any]) -> dict[tuple[int, int], Tensor]:
        place = {node.name: i for i, node in enumerate(main.nodes)}
        found = {}
        for key, value in input_map.items():
            if not isinstance(key, str):
                raise DTypeError("the keys of input_map are names of tensors", got=repr(key)[:80])
            name, colon, index = key.rpartition(":")
            position = place.get(name if colon else key)
            if position is None or colon and not index.isdigit():
                hint = nearest(key, list(place)[:10000])
                raise GraphError(f"input_map names {key!r}, which the GraphDef does not have", hint=hint)
            with graph.name_scope("inputs"):
                found[position, int(index) if colon else 0] = convert_to_tensor(value, graph=graph)
        return found

    def run(self) -> Imported:
        """Inner functions first, then the graphs around them; then what needs the whole."""
        for number in reversed(range(len(self._parts))):
            self._current = number
            with self._building(number):
                for position in self._parts[number].order:
                    self._made[number][position] = self._op(number, position)
                self._late_edges(number)
            if number:
                self._finish_function(number)
        main = {node.name: op for node, op in zip(self._parts[0].nodes, self._made[0], strict=True)}
        roots = RootHandles()
        for number in range(len(self._parts)):
            self._set_regions(number, main)
            for op in self._made[number]:
                check_variable(op, roots)
        return Imported(main)

    @contextlib.contextmanager
    def _building(self, number: int) -> Iterator[None]:
        graph = self._graphs[number]
        with graph.as_default(), graph.scoped(name="", controls=(), region=None, gradient_map=()):
            yield

    def _op(self, number: int, position: int) -> Operation:
        node, made, graph = self._parts[number].nodes[position], self._made[number], self._graphs[number]
        try:
            inputs = tuple([self._tensor(number, made, i, o) for i, o in node.inputs])
            controls = tuple([made[c] for c in node.control if made[c] is not None])
            changes: dict[str, Any] = {"controls": controls} if controls else {}
            device, gradient = node.record.get("device", ""), node.record.get("gradient", node.type)
            if type(device) is not str or len(device) > 256 or type(gradient) is not str:
                raise _malformed("device and gradient are texts", [device, gradient])
            if device and not self._clear_devices:
                changes["device"] = device
            if gradient != node.type:
                changes["gradient_map"] = ((node.type, gradient),)
            if not changes:
                return self._built(node, graph, inputs)
            with graph.scoped(**changes):
                return self._built(node, graph, inputs)
        except Error as error:
            if error.op_name is None:
                error.op_name, error.op_type = node.name[:256], node.type[:256]
            raise

    def _tensor(self, number: int, made: list[Any], position: int, output: int) -> Tensor:
        if not number and (position, output) in self._mapped:
            return self._mapped[position, output]
        op: Operation = made[position]
        if output >= len(op.outputs):
            raise GraphError(f"{op.name!r} has no output {output}", expected=f"one of {len(op.outputs)}")
        return op.outputs[output]

    def _built(self, node: _Node, graph: Graph, inputs: tuple[Tensor, ...]) -> Operation:
        definition = OPS.get(node.type)
        if definition is None:
            hint = nearest(node.type[:256], OPS) or "import the module that defines it first"
            raise GraphError(f"op type {graph_values.shown(node.type)} is not defined", hint=hint)
        if node.type in OUTSIDE or node.type == ARGUMENT and not isinstance(graph, FuncGraph):
            raise GraphError(f"a file may not bring an op of type {node.type}")
        attrs = self._attrs(node, definition)
        check_before(definition, inputs, attrs)
        wanted = self._scope + node.name
        if not node.name or node.name.endswith("/"):
            check_name("", in_scope=False)
        before = len(graph)
        build(definition, inputs, wanted + "/", attrs)
        op = graph.operations_after(before - 1)[0]
        if op.name != wanted:
            raise AlreadyExistsError(f"an op named {wanted!r} exists already", hint="import under a name: name=...")
        self._add_saved(op)
        self._set_shapes(op, node.record.get("shapes", {}))
        check_after(op)
        return op

    def _attrs(self, node: _Node, definition: OpDef) -> dict[str, Any]:
        record = node.record.get("attrs", {})
        if type(record) is not dict:
            raise _malformed("attrs must be an object", record)
        allowed = attribute_names(definition)
        attrs = {}
        for key, value in record.items():
            function = definition.control_flow and _names_function(record, key)
            if allowed is not None and key not in allowed and not function:
                known = ", ".join(sorted(allowed)) or "no attribute"
                raise GraphError(f"{node.type} has no attribute {graph_values.shown(key)}", expected=known)
            try:
                attrs[key] = graph_values.decode(value, self._function)
            except Error as error:
                error.summary = f"attribute {graph_values.shown(key)}: {error.summary}"
                raise
        return attrs

    def _function(self, number: int) -> FuncGraph:
        if not 0 < number < len(self._parts) or self._parts[number].outer != self._current or number <= self._current:
            raise GraphError("an op may use only functions that belong to its own graph", got=f"function {number}")
        found = self._graphs[number]
        assert isinstance(found, FuncGraph)
        return found

    def _add_saved(self, op: Operation) -> None:
        """The outputs beyond those that inference knows: tensors inside the op's functions that gradients read."""
        further: list[tuple[int, TracedGraph, Tensor]] = []
        for key, function in op.attrs.items():
            if isinstance(function, TracedGraph):
                connect(op, key, function, self._captured[function])
                further += [(n, function, t) for n, t in self._saved[function]]
        for number, function, tensor in sorted(further, key=lambda entry: entry[0]):
            if number != len(op.outputs):
                raise GraphError("the further outputs of an op must follow its own", got=str(number))
            dims = tensor.dims
            if op.type in STACKING:
                dims = None if dims is None else (None, *dims)
            op.add_output(TensorSpec(tensor.dtype, dims))
            function.saved[tensor] = number

    def _finish_function(self, number: int) -> None:
        """Arguments, results and what is handed out beyond them, once the ops of a function exist."""
        graph, part = self._graphs[number], self._parts[number]
        assert isinstance(graph, FuncGraph)
        made = Imported({node.name: op for node, op in zip(part.nodes, self._made[number], strict=True)})
        graph.args = _tensors(made, part.record.get("args", []), "arguments")
        graph.results = _tensors(made, part.record.get("results", []), "results")
        arguments = [op.outputs[0] for op in self._made[number] if op.type == ARGUMENT]
        if len(set(graph.args)) != len(graph.args) or set(graph.args) != set(arguments):
            raise GraphError(f"the arguments of function {number} must be its ops of type {ARGUMENT}, each once")
        captured = part.record.get("captured", [])
        if type(captured) is not list or not all(type(i) is int and 0 <= i < len(graph.args) for i in captured):
            raise _malformed("captured must be numbers of arguments", captured)
        self._captured[graph] = sorted(set(captured))
        rows = part.record.get("saved", [])
        if type(rows) is not list or not all(type(r) is list and len(r) == 2 and type(r[1]) is int for r in rows):
            raise _malformed("saved must be pairs of a tensor and the number of an output", rows)
        tensors = _tensors(made, [r[0] for r in rows], "saved tensors")
        self._saved[graph] = [(r[1], t) for r, t in zip(rows, tensors, strict=True)]

    def _late_edges(self, number: int) -> None:
        """Control edges from ops that stand later in the file."""
        made = self._made[number]
        for node, op in zip(self._parts[number].nodes, made, strict=True):
            if len(op.control_inputs) != len(set(node.control)):
                op.control_inputs = tuple(dict.fromkeys(made[c] for c in node.control))

    def _set_shapes(self, op: Operation, shapes: Any) -> None:
        if type(shapes) is not dict:
            raise _malformed("shapes must be an object", shapes)
        for key, sizes in shapes.items():
            if not key.isascii() or not key.isdigit() or len(key) > 6 or int(key) >= len(op.outputs):
                raise _malformed(f"op {op.name!r} has no such output", key)
            dims = tuple(sizes) if type(sizes) is list else sizes
            check_dims(dims)
            tensor = op.outputs[int(key)]
            tensor.dims = spec.merge(tensor.dims, dims)

    def _set_regions(self, number: int, main: Mapping[str, Operation]) -> None:
        """Atomic regions; one that is interrupted by another becomes two, for a region runs without interruption."""
        graph, part = self._graphs[number], self._parts[number]
        handles = Imported(main)
        regions = [tuple([handles.element(name) for name in names]) for names in part.regions]
        for region in regions:
            if not all(isinstance(t, Tensor) and t.op.type == HANDLE for t in region):
                raise GraphError("an atomic region names something that is not a variable")
        last, current = None, Region(0, ())
        for node, op in zip(part.nodes, self._made[number], strict=True):
            which = node.record.get("region")
            if which is None:
                continue
            if type(which) is not int or not 0 <= which < len(regions):
                raise _malformed(f"op {op.name!r} is in an unknown region", which)
            if which != last:
                last, current = which, Region(next(graph._regions), regions[which])
            op.region = current
