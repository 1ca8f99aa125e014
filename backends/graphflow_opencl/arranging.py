"""The order of the nodes: launches that do not depend on one another become one, and the host is kept waiting little.

Policy: nodes as late as each other, counted from the end of the run, are independent, so their launches may be merged
into one whose work-groups are shared out among them; an optimiser's updates of all variables are one launch.  Memory
between launches that would be made twice from the same values is made once.  Of the nodes that are ready, launches go
before what the host does, since they only have to be queued.  What the host does for one reason is one task.

State: none.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graphflow_opencl.plan import HOST, KERNELS, Node, depends
from graphflow_opencl.table import Launch, Scratch

Written = Callable[[Launch], "set[Scratch]"]
Merge = Callable[[Sequence[Launch]], Sequence[Launch]]


def arranged(
    nodes: Sequence[Node],
    home: Callable[[int], int],
    mergeable: Callable[[Launch], bool],
    merge: Merge,
    written: Written,
) -> list[Node]:
    """The nodes, some merged, in an order that satisfies all dependencies; `written` tells what scratch is written."""
    numbers = itertools.count()
    pieces = [piece for node in nodes for piece in _split(node, numbers)]
    pieces = [_placed(piece, home, written) for piece in _made_once(pieces, home, written)]
    joined = _merged(pieces, mergeable, merge)
    return _host_together(_ordered(joined), home)


def in_program_order(nodes: Sequence[Node]) -> list[Node]:
    """The nodes as they are, for whoever follows them one after the other."""
    numbers = itertools.count()
    out = []
    for node in nodes:
        launches = [launch for piece in _split(node, numbers) for launch in piece.launches]
        out.append(node._replace(launches=tuple(launches)))
    return out


def _split(node: Node, numbers: Iterator[int]) -> list[Node]:
    """A node for each launch.  Memory that launches share gets a number of its own in the whole plan."""
    scratch: dict[int, int] = {}
    out = []
    for launch in node.launches:
        arguments = tuple([_numbered(a, scratch, numbers) for a in launch.arguments])
        out.append(node._replace(launches=(launch._replace(arguments=arguments),)))
    return out or [node]


def _placed(node: Node, home: Callable[[int], int], written: Written) -> Node:
    """A node of one launch, with what that reads and writes."""
    if not node.launches:
        return node
    (launch,) = node.launches
    values = [home(a) for a in launch.arguments if type(a) is int]
    shared = [shared_home(a) for a in launch.arguments if isinstance(a, Scratch)]
    changed = [shared_home(a) for a in launch.arguments if isinstance(a, Scratch) and a in written(launch)]
    writes = dict.fromkeys((*map(home, launch.writes), *changed))
    return node._replace(reads=tuple(dict.fromkeys((*values, *shared))), writes=tuple(writes))


def _made_once(nodes: Sequence[Node], home: Callable[[int], int], written: Written) -> list[Node]:
    """Without launches that only make scratch that an earlier one makes already, from the same values."""
    makers: dict[int, int] = {}  # how many launches write a piece of memory
    for launch in (launch for node in nodes for launch in node.launches):
        for piece in written(launch):
            makers[piece.number] = makers.get(piece.number, 0) + 1
    writes: dict[int, int] = {}  # how often a home was written so far
    made: dict[Any, list[Scratch]] = {}
    instead: dict[int, Scratch] = {}
    out = []
    for node in nodes:
        for launch in node.launches:
            pieces = [a for a in launch.arguments if isinstance(a, Scratch)]
            values = [a for a in launch.arguments if type(a) is int]
            alone = {p for p in written(launch) if makers[p.number] == 1} >= set(pieces)
            if pieces and alone and not launch.writes and len(pieces) + len(values) == len(launch.arguments):
                key = launch.source, launch.items, *((home(v), writes.get(home(v), 0)) for v in values)
                first = made.setdefault(key, pieces)
                instead.update((p.number, q) for p, q in zip(pieces, first, strict=True) if p != q)
        if not any(p.number in instead for launch in node.launches for p in written(launch)):
            out.append(node._replace(launches=tuple([_instead(launch, instead) for launch in node.launches])))
        for v in node.writes:
            writes[v] = writes.get(v, 0) + 1
    return out


def _instead(launch: Launch, instead: Mapping[int, Scratch]) -> Launch:
    """A launch that reads other memory."""
    arguments = [instead.get(a.number, a) if isinstance(a, Scratch) else a for a in launch.arguments]
    return launch._replace(arguments=tuple(arguments))


def _numbered(argument: Any, scratch: dict[int, int], numbers: Iterator[int]) -> Any:
    if not isinstance(argument, Scratch):
        return argument
    if argument.number not in scratch:
        scratch[argument.number] = next(numbers)
    return argument._replace(number=scratch[argument.number])


def shared_home(scratch: Scratch) -> int:
    """What stands for memory between launches among the values that a node reads and writes: no value's number."""
    return -2 - scratch.number


def _merged(nodes: Sequence[Node], mergeable: Callable[[Launch], bool], merge: Merge) -> list[list[Any]]:
    """Each node with the nodes that it waits for, by number; merged ones stand once."""
    before = depends(nodes)
    late = _latest(nodes, before)
    sets: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        if node.kind == KERNELS and len(node.launches) == 1 and mergeable(node.launches[0]):
            sets.setdefault(late[number], []).append(number)
    stands_for = list(range(len(nodes)))
    out: list[list[Any]] = [[node, set(before[number])] for number, node in enumerate(nodes)]
    for members in sets.values():
        if len(members) < 2:
            continue
        launches = merge([nodes[m].launches[0] for m in members])
        if len(launches) >= len(members):
            continue
        whole = [nodes[m] for m in members]
        reads = tuple(dict.fromkeys(v for n in whole for v in n.reads))
        writes = tuple(dict.fromkeys(v for n in whole for v in n.writes))
        out[members[0]] = [
            Node(KERNELS, _instructions(whole), reads, writes, tuple(launches)),
            set().union(*[before[m] for m in members]),
        ]
        for m in members[1:]:
            stands_for[m] = members[0]
            out[m] = []
    for entry in out:
        if entry:
            entry[1] = {stands_for[b] for b in entry[1]}
    return out


def _instructions(nodes: Sequence[Node]) -> tuple[Any, ...]:
    return tuple({ins.key: ins for node in nodes for ins in node.instructions}.values())


def _latest(nodes: Sequence[Node], before: Sequence[set[int]]) -> list[int]:
    """How far each node is from the end: minus the length of the longest chain of work that waits for it."""
    late = [0] * len(before)
    for number in range(len(before) - 1, -1, -1):
        works = bool(nodes[number].launches) or nodes[number].kind != KERNELS
        for b in before[number]:
            late[b] = min(late[b], late[number] - works)
    return late


def _ordered(entries: Sequence[list[Any]]) -> list[Node]:
    """Kahn's algorithm; launches first, then by place."""
    waiting = {number: len(entry[1]) for number, entry in enumerate(entries) if entry}
    followers: dict[int, list[int]] = {}
    for number, entry in enumerate(entries):
        for b in entry[1] if entry else ():
            followers.setdefault(b, []).append(number)
    ready = [(entries[n][0].kind != KERNELS, n) for n, count in waiting.items() if not count]
    heapq.heapify(ready)
    out = []
    while ready:
        _, number = heapq.heappop(ready)
        out.append(entries[number][0])
        for f in followers.get(number, ()):
            waiting[f] -= 1
            if not waiting[f]:
                heapq.heappush(ready, (entries[f][0].kind != KERNELS, f))
    return out


def _host_together(nodes: Sequence[Node], home: Callable[[int], int]) -> list[Node]:
    """The nodes, with neighbours that run on the host for one reason as one.

    What reads a view of a result stays apart: it finds the view where the result lies, once the task is over.
    """

    def reads_a_view(node: Node, of: Node) -> bool:
        made = {v for ins in of.instructions for v in ins.outputs}
        return any(v not in made and home(v) in of.writes for ins in node.instructions for v in ins.inputs)

    out: list[Node] = []
    for node in nodes:
        last = out[-1] if out else None
        alike = last is not None and last.kind == node.kind == HOST and last.reason == node.reason
        if last is not None and alike and not reads_a_view(node, last):
            reads = tuple(dict.fromkeys((*last.reads, *[v for v in node.reads if v not in last.writes])))
            writes = tuple(dict.fromkeys((*last.writes, *node.writes)))
            out[-1] = Node(HOST, last.instructions + node.instructions, reads, writes, (), node.reason)
        else:
            out.append(node)
    return out
