"""What a program was made of, and where each of its instructions is done.

Policy: read from the graph, the fetches and what the backend says; nothing is computed anew.

State: none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from graphflow.compile.lower import needed_ops
from graphflow.compile.place import kind_of
from graphflow.graph import Graph
from graphflow.program import Program
from graphflow.tensor import Operation, Tensor

HOST = "/device:CPU:0"


class Origin(NamedTuple):
    """What a program was made of."""

    ops: int = 0  # of the graph
    pruned: tuple[str, ...] = ()  # names of those that these fetches do not need
    feeds: tuple[str, ...] = ()  # names of the fed tensors
    fetches: tuple[str, ...] = ()


NO_ORIGIN = Origin()


class Placement(NamedTuple):
    """Where an instruction is done."""

    op: str
    device: str  # "" for what is done nowhere
    asked: str = ""  # what `tf.device` said
    why: str = ""


def origin_of(
    graph: Graph, tensors: Sequence[Tensor], operations: Sequence[Operation], feeds: Sequence[Tensor]
) -> Origin:
    """What a program for these fetches and feeds was made of."""
    fed = dict.fromkeys(feeds)
    wanted = [t.op for t in tensors if t not in fed] + list(operations)
    needed = {*needed_ops(wanted, fed), *[t.op for t in feeds]}
    ops = graph.get_operations()
    names = [t.name for t in tensors] + [op.name for op in operations]
    pruned = tuple(op.name for op in ops if op not in needed)
    return Origin(len(ops), pruned, tuple(t.name for t in feeds), tuple(names))


def placements_of(
    program: Program, found: Mapping[int, tuple[str, str]], kinds: Collection[str]
) -> tuple[Placement, ...]:
    """Where each instruction is done: what the backend says, and what becomes of what the user asked for."""
    out = []
    for ins in program.instructions:
        device, why = found.get(ins.key, (HOST, ""))
        asked = ins.op.device
        if asked and not why:
            missing = kind_of(asked) not in kinds
            why = f"there is no {asked}, and soft placement is allowed" if missing else f"it was asked for: {asked}"
        out.append(Placement(ins.op.name, device, asked, why))
    return tuple(out)


def by_scope(names: Iterable[str]) -> list[tuple[str, int]]:
    """How many of these names are in each outermost scope; "" is that of names without one."""
    counts = Counter(name.partition("/")[0] if "/" in name else "" for name in names)
    return sorted(counts.items(), key=lambda item: (item[0] == "", -item[1], item[0]))
