"""Which scopes of a picture are open, so that it can be read at once.

Policy: the scopes of what may be drawn, its leaves, make a tree.  Three or more scopes of the same content in a row are
one stack, and a long row of things without scopes is cut into runs: both are places in the tree like scopes.  From the
outside in, and the forward computation first, places are opened while what is in them still fits the budget; what
stands on one level is opened together or not at all, unless that would leave the picture almost empty.  Bodies of loops
and branches stay closed unless asked for.  Linear in the leaves; nothing recurses.

State: none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from graphflow.errors import MissingNameError, shown
from graphflow.render.labels import TIMES, local, scope_of
from graphflow.render.view import FORWARD, GRADIENT, SETUP, UPDATE

BUDGET = 60  # about how many nodes a picture has, if nobody asks for more
ALL = "all"  # `expand=ALL` opens everything
SCOPE, STACK, RUN = "scope", "stack", "run"
MIN_STACK = 3
MAX_STACK = 12  # scopes of a longer one stay a pile, unless what is in them can be shown
MAX_ROW = 60  # a longer row of things is cut into runs
RUNS = 24  # into so many
SPARSE = 0.5  # a picture with less than this part of its budget is opened further in parts
FAR = 1000  # deeper than any scope that is worth opening
_ORDER = {FORWARD: 0, GRADIENT: 1, UPDATE: 2, SETUP: 3}


class Leaf(NamedTuple):
    """Something that is drawn as one, or not at all."""

    scope: str
    kind: str  # a phase
    members: int  # ops that it stands for
    likeness: object  # leaves of equal likeness look alike
    cost: float = 1.0  # the room that it takes


class Place:
    """A scope, a stack or a run: what is in it, in the order of creation."""

    __slots__ = ("items", "kinds", "leaves", "level", "likeness", "members", "path", "sort")

    def __init__(self, path: str, sort: str = SCOPE) -> None:
        self.path = path  # the scope that it is, or that it stands in
        self.sort = sort
        self.items: list[Place | int] = []  # a number is that of a leaf
        self.level = 0
        self.leaves = 0
        self.members = 0  # ops
        self.kinds: Counter[str] = Counter()
        self.likeness = 0  # equal numbers: equal content

    @property
    def kind(self) -> str:
        """What most of it is."""
        return max(self.kinds, key=lambda k: (self.kinds[k], -_ORDER[k])) if self.kinds else FORWARD


class Tree:
    """The places of all leaves."""

    def __init__(self, leaves: Sequence[Leaf], bodies: Collection[str] = ()) -> None:
        """`bodies` are scopes that stay closed unless asked for."""
        self.leaves = leaves
        self.root = Place("")
        self.by_path = {"": self.root}
        self.bodies = bodies
        for i, leaf in enumerate(leaves):
            self._scope(leaf.scope).items.append(i)
        order = self._outside_in()[::-1]
        self._count(order)
        for place in order:
            _stack(place)
        self._cut(order)

    def _scope(self, path: str) -> Place:
        """The place of a scope; makes it and those around it."""
        missing = []
        while path not in self.by_path:
            missing.append(path)
            path = scope_of(path)
        place = self.by_path[path]
        for path in reversed(missing):
            inner = self.by_path[path] = Place(path)
            inner.level = place.level + 1
            place.items.append(inner)
            place = inner
        return place

    def _outside_in(self) -> list[Place]:
        """All places."""
        order = [self.root]
        for place in order:
            order.extend(item for item in place.items if isinstance(item, Place))
        return order

    def _count(self, order: list[Place]) -> None:
        known: dict[object, int] = {}
        for place in order:
            signature: list[object] = []
            for item in place.items:
                if isinstance(item, Place):
                    place.leaves += item.leaves
                    place.members += item.members
                    place.kinds.update(item.kinds)
                    signature.append(item.likeness)
                else:
                    leaf = self.leaves[item]
                    place.leaves += 1
                    place.members += leaf.members
                    place.kinds[leaf.kind] += 1
                    signature.append((leaf.likeness,))
            place.likeness = known.setdefault(tuple(signature), len(known))

    def _cut(self, places: list[Place]) -> None:
        """Cut long rows into runs, those again where they are long."""
        work = list(places)
        for place in work:
            if len(place.items) <= MAX_ROW:
                continue
            step = max(8, math.ceil(len(place.items) / RUNS))
            row, place.items = place.items, []
            for first in range(0, len(row), step):
                run = _gathered(place, row[first : first + step], RUN)
                place.items.append(run)
                work.append(run)

    # -- choosing --------------------------------------------------------------------------------------------------

    def cost(self, place: Place) -> float:
        """The room that the place takes when it is open."""
        return sum(1.0 if isinstance(item, Place) else self.leaves[item].cost for item in place.items)

    def choose(self, budget: float, depth: int | None, expand: Collection[str] | str) -> set[Place]:
        """The places that are open: by depth if one is given, else by the budget; and those of `expand`."""
        scopes = [expand] if isinstance(expand, str) else expand
        if ALL in scopes and ALL not in self.by_path:
            return set(self._outside_in())
        chosen = self._asked_for(scopes)
        self._open(chosen, budget, depth, _whole_level)
        if depth is None:  # a level that does not fit as a whole may fit in parts
            self._open(chosen, budget * SPARSE, depth, _alike)
        return chosen

    def _open(
        self, chosen: set[Place], budget: float, depth: int | None, together: Callable[[Place, Place], object]
    ) -> None:
        """Open groups of places while they fit, the outer ones first; `together` tells the groups of one level."""
        visible = sum(self.cost(place) - 1 for place in chosen) + 1
        waiting: dict[tuple[int, int, int], dict[object, list[Place]]] = {}
        ready = list(chosen)
        while ready or waiting:
            for around in ready:
                for place in around.items:
                    if isinstance(place, Place) and place not in chosen and place.path not in self.bodies:
                        groups = waiting.setdefault(_urgency(place), {})
                        groups.setdefault(together(around, place), []).append(place)
            ready = []
            first = min(waiting, default=None)
            for group in waiting.pop(first).values() if first is not None else ():
                more = sum(self.cost(place) - 1 for place in group)
                by_depth = depth is not None and group[0].sort != RUN
                fits = visible + more <= budget and not (depth is None and self._stays_piled(group, budget - visible))
                if group[0].level <= (depth or 0) if by_depth else fits:
                    visible += more
                    chosen.update(group)
                    ready += group

    def _stays_piled(self, group: Sequence[Place], room: float) -> bool:
        """Whether these are long stacks that there is no room to look into: closed scopes of one content tell little.

        So the layers of a deep network and their gradients stand beside each other as piles.
        """
        long = [place for place in group if place.sort == STACK and len(place.items) > MAX_STACK]
        inner = [item for place in long for item in place.items if isinstance(item, Place)]
        return bool(long) and sum(map(self.cost, inner)) > room

    def shown(self, opened: Collection[Place]) -> Iterator[Place | int]:
        """What is visible: each open place, followed by what is in it; closed places; and leaves."""
        work: list[Place | int] = [self.root]
        while work:
            item = work.pop()
            yield item
            if isinstance(item, Place) and item in opened:
                work.extend(reversed(item.items))

    def _asked_for(self, expand: Collection[str]) -> set[Place]:
        """The root, the scopes of `expand`, and all that they stand in."""
        wanted: set[str] = set()
        for name in expand:
            path = name.strip("/")
            if path not in self.by_path:
                raise MissingNameError(
                    f"the picture has no scope {shown(name)}", hint=self._nearest(path), expected="a name scope"
                )
            while path:
                wanted.add(path)
                path = scope_of(path)
        chosen = {self.root}
        work = [self.root] if wanted else []
        for place in work:
            for item in place.items:
                if isinstance(item, Place) and (item.path in wanted if item.sort == SCOPE else _holds(item, wanted)):
                    chosen.add(item)
                    work.append(item)
        return chosen

    def _nearest(self, path: str) -> str | None:
        import difflib  # a mistyped name is rare

        near = difflib.get_close_matches(path[:200], list(self.by_path)[:10000], n=1)
        return f"did you mean {near[0]!r}?" if near and near[0] else None

    def leaves_in(self, place: Place) -> list[int]:
        """The numbers of all leaves inside."""
        found: list[int] = []
        work: list[Place | int] = [place]
        while work:
            item = work.pop()
            if isinstance(item, int):
                found.append(item)
            else:
                work.extend(reversed(item.items))
        return found


def place_id(place: Place, numbers: Sequence[int]) -> str:
    """The id of the node for a closed place, of the numbers of its leaves."""
    return f"scope{numbers[0]}" if place.sort == SCOPE else f"{place.sort}{numbers[0]}of{len(numbers)}"


def place_name(place: Place, names: Sequence[str]) -> str:
    """The name of the node for a closed place, of the names of its leaves."""
    return place.path if place.sort == SCOPE else f"{names[0]} … {names[-1]}"


def outside(place: Place) -> str:
    """The scope that the node for a closed place stands in: a stack or a run has the path of what is around it."""
    return scope_of(place.path) if place.sort == SCOPE else place.path


def heading(place: Place, names: Sequence[str], types: Collection[str]) -> tuple[str, ...]:
    """What a closed place is called, of the names and types of its leaves."""
    if place.sort == SCOPE:
        return (local(place.path),)
    inner = [item for item in place.items if isinstance(item, Place)]
    if place.sort == STACK:
        return f"{local(inner[0].path)} … {local(inner[-1].path)}", f"{len(inner)} alike"
    kinds = set(types)
    if len(kinds) == 1:
        return (f"{len(names):,} {TIMES} {kinds.pop()}",)
    return (f"{local(names[0])} … {local(names[-1])}",)


def _urgency(place: Place) -> tuple[int, int, int]:
    """What is opened earlier: the outer before the inner, the forward computation before its gradient, stacks last.

    All of a gradient stands in one scope more than what it is the gradient of.  Updates tell the least: they wait.
    """
    waits = FAR if place.kind in (UPDATE, SETUP) else -1 if place.kind == GRADIENT else 0
    return place.level + waits, _ORDER[place.kind], place.sort == STACK


def _whole_level(around: Place, place: Place) -> object:
    return place.sort


def _alike(around: Place, place: Place) -> object:
    return (id(around), place.likeness) if place.sort == SCOPE else id(place)


def _holds(place: Place, wanted: set[str]) -> bool:
    """Whether a stack or a run has a wanted scope in it."""
    work = [place]
    for inner in work:
        for item in inner.items:
            if isinstance(item, Place):
                if item.sort == SCOPE and item.path in wanted:
                    return True
                if item.sort != SCOPE:
                    work.append(item)
    return False


def _gathered(around: Place, items: list[Place | int], sort: str) -> Place:
    place = Place(around.path, sort)
    place.items = items
    place.level = around.level
    inner = [item for item in items if isinstance(item, Place)]
    place.leaves = len(items) - len(inner) + sum(p.leaves for p in inner)
    place.members = len(items) - len(inner) + sum(p.members for p in inner)
    for p in inner:
        place.kinds.update(p.kinds)
    if len(inner) < len(items):
        place.kinds[around.kind] += len(items) - len(inner)
    return place


def _stack(place: Place) -> None:
    """Put scopes of the same content, one after the other, into stacks."""
    items: list[Place | int] = []
    row: list[Place | int] = []

    def close() -> None:
        items.extend([_gathered(place, row[:], STACK)] if len(row) >= MIN_STACK else row)
        row.clear()

    for item in place.items:
        if isinstance(item, Place):
            first = row[0] if row else None
            if not (isinstance(first, Place) and first.likeness == item.likeness):
                close()
            row.append(item)
        else:
            close()
            items.append(item)
    close()
    place.items = items
