"""A graph with its variables, collections and saver as one document: `MetaGraphDef`.

Policy: a collection keeps what a file can name: variables, tensors, ops, numbers and text; the rest is left out, and
listed.  Importing rebuilds the `Variable` objects over the imported ops and checks that these ops are what they are
said to be.  The constraint of a variable is Python code and stays behind.

State: none; a MetaGraphDef owns its content.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphflow import durable
from graphflow.compile.lower import HANDLE
from graphflow.errors import DataLossError, DTypeError, Error, GraphError, UnimplementedError
from graphflow.graph import Graph, get_default_graph
from graphflow.opdef import OPS
from graphflow.tensor import Operation, Tensor
from graphflow.train import graph_values
from graphflow.train.graph_import import Imported, import_into
from graphflow.train.graph_json import META_FORMAT, GraphDef, from_bytes, read_document, to_bytes, to_def
from graphflow.variables import Variable

MAX_ITEMS = 5_000_000


class MetaGraphDef:
    """A graph, its variables and collections, and how its saver was made."""

    def __init__(self, content: dict[str, Any] | None = None) -> None:
        self.content: dict[str, Any] = {"graph": {"ops": []}} if content is None else content

    @property
    def graph_def(self) -> GraphDef:
        """The graph alone."""
        return GraphDef(self.content["graph"])

    @property
    def collection_def(self) -> dict[str, Any]:
        """The collections in their JSON form."""
        found: dict[str, Any] = self.content.get("collections", {})
        return found

    def SerializeToString(self) -> bytes:
        """The document as bytes."""
        return to_bytes(META_FORMAT, self.content)

    def ParseFromString(self, serialized: bytes) -> int:
        """Take over the document that the bytes hold; their number."""
        _, self.content = from_bytes(bytes(serialized), [META_FORMAT], "the serialized graph")
        return len(serialized)

    def __str__(self) -> str:
        return to_bytes(META_FORMAT, self.content, indent=1).decode()

    def __repr__(self) -> str:
        return f"<MetaGraphDef of {len(self.content['graph'].get('ops', ()))} ops>"


# -- writing ---------------------------------------------------------------------------------------------------------


def to_meta(
    graph: Graph, collection_list: Sequence[str] | None = None, saver: Mapping[str, Any] | None = None
) -> MetaGraphDef:
    """The graph as a MetaGraphDef; `collection_list` names the collections to keep, None means all."""
    content: dict[str, Any] = {"graph": to_def(graph).content}
    variables = graph.store.get("variables", {})
    if variables:
        content["variables"] = [_variable_record(v) for v in variables.values()]
    keys = graph.get_all_collection_keys() if collection_list is None else list(collection_list)
    collections, left_out = {}, []
    for key in keys:
        if not isinstance(key, str):
            left_out.append(repr(key))
            continue
        items = graph.get_collection(key)
        records = [r for item in items if (r := _item(graph, item)) is not None]
        if len(records) < len(items):
            left_out.append(key)
        if records:
            collections[key] = records
    if collections:
        content["collections"] = collections
    if left_out:
        content["left_out"] = left_out
    if saver:
        content["saver"] = dict(saver)
    return MetaGraphDef(content)


def _variable_record(v: Any) -> dict[str, Any]:
    return {
        "handle": v.handle.name,
        "initial_value": v.initial_value.name,
        "initializer": v.initializer.name,
        "snapshot": v._snapshot.name,
        "trainable": bool(v.trainable),
        "dims": None if v.dims is None else list(v.dims),
    }


def _item(graph: Graph, item: Any) -> dict[str, Any] | None:
    """An item of a collection, or None where a file cannot hold it."""
    handle = getattr(item, "handle", None)
    if handle is not None and graph.store.get("variables", {}).get(handle) is item:
        return {"variable": handle.name}
    if isinstance(item, Tensor) and item.graph is graph:
        return {"tensor": item.name}
    if isinstance(item, Operation) and item.graph is graph:
        return {"op": item.name}
    if isinstance(item, (bool, int, float, str, bytes, tuple)):
        try:
            return {"value": graph_values.encode(item, _no_function)}
        except UnimplementedError:
            return None
    return None


def _no_function(graph: Any) -> int:
    raise UnimplementedError("a collection cannot hold a branch or a loop body")


def write_meta(path: str, meta: MetaGraphDef, as_text: bool = False) -> None:
    """Replace a file by the document, atomically and durably."""
    durable.write_file(path, [to_bytes(META_FORMAT, meta.content, indent=1 if as_text else None)])


# -- reading ---------------------------------------------------------------------------------------------------------


class ImportedMeta(NamedTuple):
    """What an import has made."""

    elements: Imported
    made: set[Any]  # the variables
    saver: dict[str, Any]


def read_meta(meta_graph_or_file: Any) -> MetaGraphDef:
    """The document in a file; "model.meta" finds "model.meta.json" as well."""
    if isinstance(meta_graph_or_file, MetaGraphDef):
        return meta_graph_or_file
    path = durable.text_path(meta_graph_or_file)
    if not os.path.exists(path) and os.path.exists(path + ".json"):
        path += ".json"
    return MetaGraphDef(read_document(path, [META_FORMAT])[1])


def import_meta(
    meta: MetaGraphDef, clear_devices: bool, import_scope: str | None, input_map: Mapping[str, Any] | None
) -> ImportedMeta:
    """Add the graph, its variables and its collections to the default graph."""
    content = meta.content
    if not content.keys() <= {"graph", "variables", "collections", "left_out", "saver"} or "graph" not in content:
        raise DataLossError("malformed meta graph", got=graph_values.shown(list(content)))
    graph = get_default_graph()
    with graph.name_scope(import_scope) as scope:
        found = import_into(graph, meta.graph_def, scope, input_map, clear_devices, _Further(content))
    return found  # type: ignore[no-any-return]


class _Further:
    """The second half of an import, which succeeds or fails together with the first."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def __call__(self, graph: Graph, elements: Imported) -> ImportedMeta:
        records = self._content.get("variables", [])
        if type(records) is not list or len(records) > MAX_ITEMS:
            raise DataLossError("malformed meta graph: variables must be a list")
        variables: dict[str, Any] = {}
        for record in records:
            v = _restored(record, elements)
            variables[record["handle"]] = v
        collections = self._collections(elements, variables)
        saver = _checked_saver(self._content.get("saver", {}), variables)
        for v in variables.values():
            graph.store.setdefault("variables", {})[v.handle] = v
            graph.store.setdefault("reads", {})[v.handle] = v._snapshot
        for key, items in collections.items():
            for item in items:
                graph.add_to_collection(key, item)
        return ImportedMeta(elements, set(variables.values()), saver)

    def _collections(self, elements: Imported, variables: Mapping[str, Any]) -> dict[str, list[Any]]:
        records = self._content.get("collections", {})
        if type(records) is not dict or not all(type(items) is list for items in records.values()):
            raise DataLossError("malformed meta graph: collections", got=graph_values.shown(records))
        found = {}
        for key, items in records.items():
            try:
                found[key] = [_read_item(item, elements, variables) for item in items]
            except Error as error:
                error.summary = f"collection {graph_values.shown(key)}: {error.summary}"
                raise
        return found


def _checked_saver(saver: Any, variables: Mapping[str, Any]) -> dict[str, Any]:
    """How the saver was made: variables by their names in the checkpoint, and options."""
    if saver == {}:
        return {}
    if type(saver) is not dict or saver.keys() != {"variables", "options"} or type(saver["variables"]) is not dict:
        raise DataLossError("malformed meta graph: saver", got=graph_values.shown(saver))
    unknown = [n for n in saver["variables"].values() if type(n) is not str or n not in variables]
    if unknown:
        raise GraphError("the saver names what is no variable of the graph", got=graph_values.shown(unknown[0]))
    options = saver["options"]
    kinds = {"reshape": bool, "max_to_keep": int, "keep_hours": float}
    if type(options) is not dict or {key: type(value) for key, value in options.items()} != kinds:
        raise DataLossError("malformed meta graph: options of the saver", got=graph_values.shown(options))
    if options["max_to_keep"] < 0:
        raise DataLossError("malformed meta graph: max_to_keep", got=str(options["max_to_keep"]))
    return {"variables": {name: variables[handle] for name, handle in saver["variables"].items()}, **options}


def _read_item(record: Any, elements: Imported, variables: Mapping[str, Any]) -> Any:
    if type(record) is not dict or len(record) != 1:
        raise DataLossError("a malformed item", got=graph_values.shown(record))
    ((kind, inner),) = record.items()
    if kind == "value":
        return graph_values.decode(inner, _refuse_function)
    if type(inner) is not str or kind not in ("variable", "tensor", "op"):
        raise DataLossError("a malformed item", got=graph_values.shown(record))
    if kind == "variable":
        if inner not in variables:
            raise GraphError("an item is no variable of the graph", got=graph_values.shown(inner))
        return variables[inner]
    found = elements.element(inner)
    if isinstance(found, Tensor) != (kind == "tensor"):
        raise GraphError(f"an item is no {kind}", got=graph_values.shown(inner))
    return found


def _refuse_function(number: int) -> Any:
    raise DataLossError("a collection cannot hold a function", got=str(number))


def _restored(record: Any, elements: Imported) -> Variable:
    """The Variable over the ops that a record names."""
    keys = {"handle", "initial_value", "initializer", "snapshot", "trainable", "dims"}
    if type(record) is not dict or record.keys() != keys:
        raise DataLossError("malformed meta graph: a variable", got=graph_values.shown(record))
    handle, value, initializer, snapshot = (
        elements.element(record[key]) for key in ("handle", "initial_value", "initializer", "snapshot")
    )
    if not isinstance(handle, Tensor) or handle.op.type != HANDLE:
        raise GraphError("a variable's handle is something else", got=graph_values.shown(record["handle"]))
    dtype, dims = handle.op.attrs["dtype"], handle.op.attrs["dims"]
    if not isinstance(value, Tensor) or value.dtype is not dtype:
        raise DTypeError(f"the initial value of {handle.op.name!r} does not fit", expected=dtype.name, got=repr(value))
    if not isinstance(initializer, Operation) or not _acts(initializer, handle, "write"):
        raise GraphError(f"the initializer of {handle.op.name!r} does not assign to it", got=repr(initializer))
    if not isinstance(snapshot, Tensor) or not _acts(snapshot.op, handle, "read"):
        raise GraphError(f"the read of {handle.op.name!r} does not read it", got=repr(snapshot))
    given = record["dims"]
    if type(given) is list and snapshot.dims == tuple(given):
        dims = snapshot.dims
    found = Variable.__new__(Variable)  # its constructor would build the ops that exist already
    found.graph, found.handle, found.dtype, found.dims = handle.graph, handle, dtype, dims
    found.trainable, found.constraint = record["trainable"] is True, None
    found._initial_value, found._initializer, found._snapshot = value, initializer, snapshot
    return found


def _acts(op: Operation, handle: Tensor, effect: str) -> bool:
    return OPS[op.type].effect == effect and op.inputs[0] is handle
