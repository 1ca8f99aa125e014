"""Graphs as JSON: `GraphDef`, and how a graph becomes one.

Policy: a file lists ops by type name with their inputs, control inputs, attributes and atomic regions, branches and
loop bodies as numbered functions, and a SHA-256 over the canonical form of all that.  It holds no shapes but those
that somebody gave by `set_shape`: everything else is inferred again when the graph is imported (see `graph_import`).
What acts outside the graph (`py_func`) cannot be written.  Files are replaced atomically and durably.  Everything is
iterative over the ops, and linear in their number.

State: none; a `GraphDef` owns its content.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphflow import durable
from graphflow.errors import DataLossError, DTypeError, Error, InvalidArgumentError, UnimplementedError
from graphflow.graph import FuncGraph, Graph, bind_export
from graphflow.opdef import definition_of
from graphflow.ops.control import TracedGraph
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Region, Tensor
from graphflow.train import graph_values

VERSION = 1
FORMAT = "graphflow.graph"
META_FORMAT = "graphflow.meta_graph"
MAX_BYTES = 1 << 30
MAX_VALUES = 60_000_000
MAX_DEPTH = 24
ARGUMENT = "Arg"
OUTSIDE = frozenset({"PyFunc"})  # op types whose meaning is Python code of the running program


# -- documents: the envelope of everything that is written here ------------------------------------------------------


def digest(content: Any) -> str:
    """The SHA-256 of the canonical JSON form."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def to_bytes(kind: str, content: Any, indent: int | None = None) -> bytes:
    """The document as a file holds it."""
    document = {"format": kind, "version": VERSION, "sha256": digest(content), "content": content}
    separators = (",", ":") if indent is None else None
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    return text.encode("utf-8") + b"\n"


def from_bytes(raw: bytes, kinds: Sequence[str], what: str) -> tuple[str, dict[str, Any]]:
    """Kind and content of a document; DataLossError for anything doubtful."""
    if len(raw) > MAX_BYTES:
        raise DataLossError(f"{what} is too large", expected=f"at most {MAX_BYTES} bytes", got=str(len(raw)))
    if raw.lstrip()[:1] != b"{":
        hint = "TensorFlow's own .pb and .pbtxt are other formats"
        raise DataLossError(f"{what} is not a graph of graphflow", expected="JSON", hint=hint)
    found = durable.parse_json(raw, what, max_depth=MAX_DEPTH, max_nodes=MAX_VALUES)
    if type(found) is not dict or found.keys() != {"format", "version", "sha256", "content"}:
        raise DataLossError(f"{what} is not a graph of graphflow", expected="format, version, sha256 and content")
    if found["format"] not in kinds:
        got = graph_values.shown(found["format"])
        raise DataLossError(f"{what} is of another format", expected=" or ".join(kinds), got=got)
    if type(found["version"]) is not int or found["version"] != VERSION:
        raise UnimplementedError(f"{what} is of version {graph_values.shown(found['version'])}", expected=str(VERSION))
    if type(found["content"]) is not dict or digest(found["content"]) != found["sha256"]:
        raise DataLossError(f"{what} is corrupt: wrong checksum", got=graph_values.shown(found["sha256"]))
    return found["format"], found["content"]


def read_document(path: durable.StrPath, kinds: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Kind and content of a file."""
    fd, size = durable.open_regular(path)
    name = durable.text_path(path)
    try:
        with open(fd, "rb") as file:
            raw = file.read(MAX_BYTES + 1) if size <= MAX_BYTES else b""
    except OSError as exc:
        raise durable.os_error(exc, name, "read") from exc
    if size > MAX_BYTES:
        raise DataLossError(f"{name!r} is too large", expected=f"at most {MAX_BYTES} bytes", got=str(size))
    return from_bytes(raw, kinds, repr(name))


# -- GraphDef --------------------------------------------------------------------------------------------------------


class NodeDef:
    """One op of a GraphDef; writing to its fields changes the GraphDef."""

    __slots__ = ("_record",)

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record

    @property
    def name(self) -> str:
        """The op's name."""
        return str(self._record["name"])

    @property
    def op(self) -> str:
        """The op's type."""
        return str(self._record["type"])

    @property
    def input(self) -> list[str]:
        """The inputs as TensorFlow writes them: `x`, `x:1`, and `^op` for a control input."""
        data = [name.removesuffix(":0") for name in self._record.get("inputs", ())]
        return data + ["^" + name for name in self._record.get("control", ())]

    @property
    def device(self) -> str:
        """The device asked for."""
        return str(self._record.get("device", ""))

    @device.setter
    def device(self, value: str) -> None:
        self._record["device"] = str(value)

    @property
    def attr(self) -> dict[str, Any]:
        """The attributes in their JSON form; see `graph_values`."""
        found: dict[str, Any] = self._record.setdefault("attrs", {})
        return found

    def __repr__(self) -> str:
        return f"<NodeDef {self.name!r} op={self.op} input={self.input}>"


class GraphDef:
    """A graph as data: `tf.import_graph_def` builds it, `SerializeToString` and `ParseFromString` store it."""

    def __init__(self, content: dict[str, Any] | None = None) -> None:
        self.content: dict[str, Any] = {"ops": []} if content is None else content

    @property
    def node(self) -> list[NodeDef]:
        """The ops in the order in which they were built."""
        ops = self.content.get("ops")
        if type(ops) is not list or not all(type(r) is dict and "name" in r and "type" in r for r in ops):
            raise DataLossError("the graph's list of ops is malformed")
        return [NodeDef(r) for r in ops]

    @property
    def versions(self) -> int:
        """The version of the format."""
        return VERSION

    def SerializeToString(self) -> bytes:
        """The graph as bytes."""
        return to_bytes(FORMAT, self.content)

    def ParseFromString(self, serialized: bytes) -> int:
        """Take over the graph that the bytes hold; their number."""
        if not isinstance(serialized, (bytes, bytearray, memoryview)):
            raise DTypeError("a GraphDef is parsed from bytes", got=type(serialized).__name__, hint='open(path, "rb")')
        _, self.content = from_bytes(bytes(serialized), [FORMAT], "the serialized graph")
        return len(serialized)

    @classmethod
    def FromString(cls, serialized: bytes) -> GraphDef:
        """The graph that the bytes hold."""
        found = cls()
        found.ParseFromString(serialized)
        return found

    def CopyFrom(self, other: GraphDef) -> None:
        """Become equal to another GraphDef."""
        self.content = json.loads(json.dumps(other.content))

    def ByteSize(self) -> int:
        """The size of the serialized graph."""
        return len(self.SerializeToString())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GraphDef) and digest(self.content) == digest(other.content)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return to_bytes(FORMAT, self.content, indent=1).decode()

    def __repr__(self) -> str:
        return f"<GraphDef of {len(self.content.get('ops', ()))} ops>"


def to_def(graph: Graph) -> GraphDef:
    """The graph as a GraphDef; UnimplementedError names an op that a file cannot hold."""
    if isinstance(graph, FuncGraph):
        raise DTypeError("only a whole tf.Graph becomes a GraphDef", got=repr(graph)[:80])
    writer = _Writer(graph)
    content = writer.ops(graph)
    if graph.seed is not None:
        content["seed"] = graph.seed
    functions = list(writer.functions())
    if functions:
        content["functions"] = functions
    return GraphDef(content)


class _Writer:
    """One export: the functions found so far, in the order in which ops refer to them."""

    def __init__(self, graph: Graph) -> None:
        self._graphs: list[Graph] = [graph]
        self._number: dict[Graph, int] = {graph: 0}
        self._current: Graph = graph

    def functions(self) -> Iterator[dict[str, Any]]:
        """The functions; writing one may find more, which follow."""
        position = 1
        while position < len(self._graphs):
            graph = self._graphs[position]
            assert isinstance(graph, FuncGraph)
            yield self._function(graph)
            position += 1

    def _function(self, graph: FuncGraph) -> dict[str, Any]:
        captured = set(graph.captured.values())
        found: dict[str, Any] = {
            "name": graph.name,
            "outer": self._number[graph.outer],
            "args": [t.name for t in graph.args],
            "captured": [i for i, t in enumerate(graph.args) if t in captured],
            "results": [t.name for t in graph.results],
            **self.ops(graph),
        }
        if isinstance(graph, TracedGraph) and graph.saved:
            found["saved"] = [[t.name, number] for t, number in graph.saved.items()]
        return found

    def _number_of(self, graph: FuncGraph) -> int:
        """The number of a branch or body: its place in the list of functions, counted from 0."""
        found = self._number.get(graph)
        if found is None:
            if graph.outer is not self._current:
                raise UnimplementedError("a branch or loop body is used outside the graph that it was built in")
            found = self._number[graph] = len(self._graphs)
            self._graphs.append(graph)
        return found

    def ops(self, graph: Graph) -> dict[str, Any]:
        """The records of a graph's ops, and of the atomic regions in which some of them stand."""
        self._current = graph
        regions: dict[Region, int] = {}
        records = []
        for op in graph.get_operations():
            try:
                records.append(self._record(op, regions))
            except Error as error:
                raise error.attach(op) from None
        found: dict[str, Any] = {"ops": records}
        if regions:
            found["regions"] = [[_root_name(t) for t in region.variables] for region in regions]
        return found

    def _record(self, op: Operation, regions: dict[Region, int]) -> dict[str, Any]:
        if op.type in OUTSIDE:
            hint = "py_func is built again by the program that runs it"
            raise UnimplementedError("a file cannot hold Python code", hint=hint)
        record: dict[str, Any] = {"name": op.name, "type": op.type}
        if op.inputs:
            record["inputs"] = [x.name for x in op.inputs]
        if op.control_inputs:
            record["control"] = [before.name for before in op.control_inputs]
        attrs = op.attrs
        if op.type == ARGUMENT:  # its own record of its spec is the tensor
            attrs = {**attrs, "dtype": op.outputs[0].dtype, "dims": op.outputs[0].dims}
        if attrs:
            record["attrs"] = {key: self._attr(key, value) for key, value in attrs.items()}
        if op.device:
            record["device"] = op.device
        if op.gradient_type != op.type:
            record["gradient"] = op.gradient_type
        if op.region is not None:
            record["region"] = regions.setdefault(op.region, len(regions))
        shapes = _given_shapes(op, attrs)
        if shapes:
            record["shapes"] = shapes
        return record

    def _attr(self, key: str, value: Any) -> Any:
        try:
            return graph_values.encode(value, self._number_of)
        except UnimplementedError as error:
            error.summary = f"attribute {key!r}: {error.summary}"
            raise


def _root_name(tensor: Tensor) -> str:
    """The name of the variable's handle that a tensor is, or stands for inside a branch or loop body."""
    while isinstance(tensor.graph, FuncGraph):
        by_argument = {arg: outer for outer, arg in tensor.graph.captured.items()}
        if tensor not in by_argument:
            raise UnimplementedError("an atomic region names something that is not a variable")
        tensor = by_argument[tensor]
    return tensor.name


def _given_shapes(op: Operation, attrs: Mapping[str, Any]) -> dict[str, list[int | None]]:
    """Shapes that are known better than inference knows them: those that somebody gave by `set_shape`."""
    known = definition_of(op).infer(*op.inputs, **attrs)
    if type(known) is TensorSpec:
        known = (known,)
    found = {}
    for tensor, inferred in zip(op.outputs, known, strict=False):
        if tensor.dims is not None and tensor.dims != inferred.dims:
            found[str(tensor.index)] = list(tensor.dims)
    for tensor in op.outputs[len(known) :]:
        if tensor.dims is not None:
            found[str(tensor.index)] = list(tensor.dims)
    return found


def write_graph(graph_or_graph_def: Any, logdir: Any, name: Any, as_text: bool = True) -> str:
    """Write a graph into the directory `logdir`, which is made if need be; returns the path."""
    graph_def = to_def(graph_or_graph_def) if isinstance(graph_or_graph_def, Graph) else graph_or_graph_def
    if not isinstance(graph_def, GraphDef):
        raise DTypeError("write_graph takes a tf.Graph or a tf.GraphDef", got=repr(graph_or_graph_def)[:80])
    if not isinstance(name, str) or not name:
        raise InvalidArgumentError("the graph needs a file name", got=repr(name))
    directory = durable.text_path(logdir)
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as exc:
        raise durable.os_error(exc, directory, "make the directory") from exc
    path = os.path.join(directory, name)
    durable.write_file(path, [to_bytes(FORMAT, graph_def.content, indent=1 if as_text else None)])
    return path


bind_export(to_def)
