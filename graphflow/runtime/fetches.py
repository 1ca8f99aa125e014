"""Fetches: any nested structure of tensors, ops, variables and names, and its way back to results.

Policy: lists, tuples, named tuples and dicts keep their kind; an op gives None; a variable gives its value before the
writes of the run, as everything else that was built before those writes.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphflow import dtypes
from graphflow.errors import Error, FetchError, shown
from graphflow.graph import Graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.tensor import Operation, Tensor

Rebuild = Callable[[list[Any]], Any]


def structure_key(fetches: Any) -> Any:
    """A hashable key that is equal for equal structures of the same elements."""
    if isinstance(fetches, (list, tuple)):
        return (type(fetches), *[structure_key(f) for f in fetches])
    if isinstance(fetches, Mapping):
        return (type(fetches), *[(k, structure_key(v)) for k, v in fetches.items()])
    return fetches


class Fetches:
    """The elements of a fetch structure, and how to rebuild it."""

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self._graph = graph
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self.rebuild = self._plan(fetches)

    def _plan(self, item: Any) -> Rebuild:
        if isinstance(item, (list, tuple)):
            return self._sequence(item)
        if isinstance(item, Mapping):
            parts = [(k, self._plan(v)) for k, v in item.items()]
            kind = type(item)
            return lambda out: _mapping(kind, [(k, part(out)) for k, part in parts])
        if isinstance(item, IndexedSlices):
            values, indices = self._plan(item.values), self._plan(item.indices)
            return lambda out: (values(out), indices(out))
        return self._leaf(item)

    def _sequence(self, item: Any) -> Rebuild:
        parts = [self._plan(v) for v in item]
        kind: Any = type(item)
        if hasattr(kind, "_fields"):
            return lambda out: kind(*[part(out) for part in parts])
        return lambda out: kind([part(out) for part in parts])

    def _leaf(self, item: Any) -> Rebuild:
        try:
            element = self._graph.as_graph_element(item)
        except Error as error:
            name = getattr(item, "name", None)
            text = "None" if item is None else type(item).__name__ + (f" {name}" if isinstance(name, str) else "")
            hint = "a gradient is None where no path exists, and a function that returns nothing returns None"
            raise FetchError(
                f"cannot fetch {text}: {error.summary}",
                expected="tensors, ops, variables, their names, or lists, tuples and dicts of these",
                got=shown(item),
                hint=hint if item is None else error.hint,
            ).about(error) from None
        if isinstance(element, Operation):
            self.operations.append(element)
            return lambda out: None
        if element.dtype is dtypes.resource:
            element = self._graph.store.get("reads", {}).get(element, element)
        index = len(self.tensors)
        self.tensors.append(element)
        return lambda out: out[index]


def _mapping(kind: Any, pairs: list[tuple[Any, Any]]) -> Any:
    try:
        return kind(pairs)
    except TypeError:
        return dict(pairs)
