"""`x.grad_fn` and its `next_functions`: how a tensor was computed, to look at.

Policy: PyTorch's words for the library's own records.  A node knows its record only; it keeps no value alive that the
record would not.

State: the classes of nodes, by their names.
"""

from __future__ import annotations

import functools
from typing import Any

from graphflow.eager import history
from graphflow.eager.tensor import REQUIRED, EagerTensor, Record


class Node:
    """The derivative of one op that was recorded."""

    __slots__ = ("_made_by", "variable")

    def __init__(self, made_by: Any, variable: EagerTensor | None = None) -> None:
        self._made_by = made_by
        if variable is not None:
            self.variable = variable  # of a leaf: where its gradients are added up

    def name(self) -> str:
        """What it is the derivative of."""
        return type(self).__name__

    @property
    def source(self) -> str:
        """The line that computed it."""
        return str(self._made_by.source)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """For each input where its gradient goes: the node that made it, and which of its outputs it is."""
        if not isinstance(self._made_by, Record):
            return ()
        history.lead(self._made_by)
        return tuple([(grad_fn(x) or accumulation(x), x.index) for x in self._made_by.inputs])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and other._made_by is self._made_by

    def __hash__(self) -> int:
        return id(self._made_by)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


@functools.lru_cache(maxsize=1 << 12)
def _class_of(name: str) -> type[Node]:
    return type(name, (Node,), {"__slots__": (), "__module__": __name__, "__doc__": Node.__doc__})


def grad_fn(x: EagerTensor) -> Node | None:
    """The node of the op that made a tensor which requires gradients; None of a leaf."""
    if x.track != REQUIRED or x.origin is None:
        return None
    history.up_to_date(x)
    record: Any = x.origin
    return _class_of(record.attrs["call"].label if "call" in record.attrs else f"{record.type}Backward0")(record)


def accumulation(x: EagerTensor) -> Node | None:
    """The node that adds up the gradients of a leaf; None of what requires none."""
    return _class_of("AccumulateGrad")(x, x) if x.track == REQUIRED else None
