"""What a program becomes on a device: nodes in an order, and where every value lives.

Policy: a value lives in the memory of its home: itself, the value that it is a view of, or the variable's handle that
it was read from.  Nodes stand in an order that satisfies all dependencies; `depends` says which they are.

State: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graphflow.program import Instruction, Program
from graphflow.spec import TensorSpec, is_concrete, numel
from graphflow_opencl.table import Launch

KERNELS, HOST, CONTROL, STATE = "kernels", "host", "control", "state"


class Node(NamedTuple):
    """Something to be done as one."""

    kind: str
    instructions: tuple[Instruction, ...]
    reads: tuple[int, ...]  # homes; negative ones stand for memory between launches
    writes: tuple[int, ...]
    launches: tuple[Launch, ...] = ()
    reason: str = ""  # why it is done on the host


@dataclass
class Plan:
    """A program in nodes."""

    program: Program
    values: Sequence[TensorSpec]  # of a variable's handle, what the variable holds
    nodes: Sequence[Node]
    before: Sequence[set[int]]  # for each node those that must be done before it
    homes: Mapping[int, int]  # value -> where it lives, if not by itself
    fixed: Mapping[int, Any]  # values that are known now
    variables: frozenset[int]  # handles of variables on the device
    on_host: frozenset[int]  # homes that live on the host alone
    must_hold: Sequence[tuple[int, Instruction]] = ()  # handles that are read before they are written, and where

    def home(self, v: int) -> int:
        """Where a value lives."""
        return self.homes.get(v, v)

    def shape(self, v: int) -> tuple[int, ...]:
        """The dims of a value that lives on the device."""
        dims = self.values[v].dims
        assert is_concrete(dims)
        return dims

    def size(self, v: int) -> int:
        """The bytes of a value that lives on the device."""
        return numel(self.shape(v)) * int(self.values[v].dtype.size)

    def array_type(self, v: int) -> np.dtype[Any]:
        """The NumPy dtype of a value."""
        return self.values[v].dtype.np


def depends(nodes: Sequence[Node]) -> list[set[int]]:
    """For each node the earlier ones that must be done before it: who writes what it reads, and the other way round."""
    writer: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    by_key: dict[int, set[int]] = {}  # a few nodes may come from one instruction
    out: list[set[int]] = []
    for number, node in enumerate(nodes):
        before: set[int] = set()
        for v in node.reads:
            if v in writer:
                before.add(writer[v])
            readers.setdefault(v, []).append(number)
        for v in node.writes:
            if v in writer:
                before.add(writer[v])
            before.update(readers.pop(v, ()))
            writer[v] = number
        for ins in node.instructions:
            for key in ins.after:
                before.update(by_key.get(key, ()))
        for ins in node.instructions:
            by_key.setdefault(ins.key, set()).add(number)
        before.discard(number)
        out.append(before)
    return out


def without_milestones(nodes: Sequence[Node]) -> tuple[list[Node], list[set[int]]]:
    """The nodes that do something, and what must be done before each; what does nothing was there to be waited for."""
    kept: list[Node] = []
    before: list[set[int]] = []
    stands_for: list[set[int]] = []  # of each node the kept ones that are done when it is
    for node, found in zip(nodes, depends(nodes), strict=True):
        waits = set().union(*[stands_for[b] for b in found])
        if node.kind == KERNELS and not node.launches:
            stands_for.append(waits)
        else:
            stands_for.append({len(kept)})
            kept.append(node)
            before.append(waits)
    return kept, before


def homes_of(plan_homes: Mapping[int, int], values: Iterable[int]) -> tuple[int, ...]:
    """The homes of some values, each once, in their order."""
    return tuple(dict.fromkeys(plan_homes.get(v, v) for v in values if v >= 0))
