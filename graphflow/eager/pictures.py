"""What was recorded, as a graph: so that the renderer of graphs draws it.

Policy: leaves that gradients are asked of become placeholders, other values constants, records the ops that they were;
the user's lines and the values come along.  The graph is for looking at: a new one for each picture.

State: none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.eager.engine import EagerGraph
from graphflow.eager.history import settle
from graphflow.eager.tape import check_not_freed
from graphflow.eager.tensor import LEARNED, UNTRACKED, EagerTensor, Record
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, shown
from graphflow.graph import Graph
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor


def records_below(ys: Sequence[EagerTensor]) -> list[Record]:
    """The records that the tensors came from, each after those of its inputs."""
    settle(ys)
    found: dict[int, Record] = {}
    stack = [y.origin for y in ys if y.origin is not None]
    while stack:
        record = stack.pop()
        if record.id not in found:
            found[record.id] = record
            stack += [x.origin for x in record.inputs if x.origin is not None]
    return [found[number] for number in sorted(found)]


def recorded(target: Any) -> tuple[Graph, dict[str, Any]]:
    """The graph of what eager tensors came from, and the values of its tensors by name."""
    ys = list(target) if isinstance(target, (list, tuple)) else [target]
    for y in ys:
        if not isinstance(y, EagerTensor):
            raise InvalidArgumentError("a picture of what was recorded is one of eager tensors", got=shown(y))
    if all(y.origin is None for y in ys):
        raise FailedPreconditionError(
            "nothing was recorded that led to this tensor",
            got=shown(ys[0]),
            hint="requires_grad=True on what it is computed from, or a GradientTape that watches it",
        )
    check_not_freed(ys)
    graph = Graph()
    made = _Made(graph)
    for record in records_below(ys):
        made.add(record)
    return graph, made.values


class _Made:
    """The graph as far as it was made."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Any] = {}
        self.leaves: dict[int, Tensor] = {}
        self.ops: dict[int, Any] = {}
        self.keep: list[Any] = []  # what the numbers in `leaves` are of

    def add(self, record: Record) -> None:
        """One record, whose inputs are there."""
        inputs = tuple([self._tensor(x, record) for x in record.inputs])
        name = re.sub(r"[^A-Za-z0-9_.]", "_", (record._name or "").rstrip("/").rpartition("/")[2]).lstrip("_")
        op = self.graph.add_operation(
            record.type, inputs, record.attrs, record.known(), name or None, record.user_source
        )
        self.ops[record.id] = op
        for tensor, value in zip(op.outputs, record.values, strict=True):
            self.values[tensor.name] = np.asarray(value)

    def _tensor(self, x: EagerTensor, reader: Record) -> Tensor:
        if x.origin is not None:
            tensor: Tensor = self.ops[x.origin.id].outputs[x.index]
            return tensor
        found = self.leaves.get(id(x))
        if found is None:
            known = [TensorSpec(x.dtype, x.dims)]
            if x.track == UNTRACKED:
                kind, attrs, name = "Const", {"value": x.value, "dtype": x.dtype}, None
            else:
                kind, attrs = "Placeholder", {"dtype": x.dtype, "dims": x.dims}
                name = "parameter" if x.role == LEARNED else "leaf"
            op = self.graph.add_operation(kind, (), attrs, known, name, reader.user_source)
            found = self.leaves[id(x)] = op.outputs[0]
            self.keep.append(x)
            self.values[found.name] = np.asarray(x.value)
        return found


EagerGraph.recorded = staticmethod(recorded)
