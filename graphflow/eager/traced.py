"""Whether a function is being traced here, and what its graph is told of what the function relies on.

Policy: a trace is only as good as what it was made of.  Values that the Python code looked at and modules whose parts
it used are noted with the version they had; whoever uses the trace asks first whether they are still the same.
Tensors that the function itself makes of numbers belong to one call, and are noted as such.

State: each traced graph what its functions looked at; per process how often modules were given other parts, or began
or ended training.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, TypeVar

from graphflow.defaults import stacks
from graphflow.eager.reading import (
    ABSENT,
    PLAIN,
    Around,
    Cells,
    Names,
    Snapshot,
    around,
    attributes_of,
    containers_of,
    contents,
    is_module,
    of_class,
    of_containers,
)
from graphflow.errors import SymbolicUseError
from graphflow.graph import FuncGraph, Graph

T = TypeVar("T")
CALLERS: Any = 1  # stands for True: a trace records, and whether its caller does is another question
CUT = "NoGradient"  # the name under which ops that were built where nothing is recorded have their derivative: none


class Tracing(Graph):
    """A graph that a Python function is traced into."""

    def __init__(self) -> None:
        super().__init__()
        self.current: dict[int, tuple[Any, Any]] = {}  # eager tensors that were changed in place -> what they are now
        self.fresh: dict[int, Any] = {}  # eager tensors that the function makes of numbers, anew at each call
        self.parts: dict[Any, tuple[Any, Any]] = {}  # views -> of which tensor, by which key
        self.constants: dict[int, Any] = {}  # what stands for some of these in the graph
        self.reliance = Reliance()
        self.caller_records = True  # where the trace is made

    def look(self, x: Any) -> None:
        """The Python code takes the value of an eager tensor, which may be another one at the next call."""
        if id(x) in self.current:
            raise SymbolicUseError(
                "the value of a tensor is asked for that the traced function has changed in place: it has none yet",
                hint="return it: what a traced function returns has a value",
            )
        if id(x) not in self.fresh:
            self.reliance.values[id(x)] = x, _stamp(x)


class Reliance:
    """What one trace relies on beyond its arguments and the tensors that it is fed with."""

    __slots__ = (
        "_bound",
        "_early",
        "_first",
        "cells",
        "contents",
        "learned",
        "modules",
        "names",
        "objects",
        "recording",
        "said",
        "seen",
        "values",
    )

    def __init__(self) -> None:
        self.values: dict[int, tuple[Any, Any]] = {}  # tensors the Python code looked at, with their versions
        self.modules: dict[int, tuple[Any, Any]] = {}  # weak references to modules, and the state they are in
        self.names: Names = []  # globals that the function names
        self.cells: Cells = []  # names of its closure
        self.objects: list[tuple[Any, dict[str, Any]]] = []  # weak references to others, and plain attributes of theirs
        self.contents: list[tuple[Any, dict[str, Snapshot]]] = []  # weak references to modules, and their containers
        self.said: set[str] = set()  # words of its code, which may be attributes of modules
        self.learned: list[tuple[Any, int]] = []  # parameters, and whether they are learned
        self.recording: bool | None = None  # what the function was told of whether its caller records
        self.seen = parts_changed[0]
        self._bound: list[str] = []  # what the function has bound anew
        self._first: dict[int, Any] = {}  # modules as they were when the function first used them
        self._early: dict[type, Around] = {}  # what containers around their code held then

    def use(self, module: Any) -> None:
        """The function takes something of a module."""
        if id(module) not in self._first:
            self._first[id(module)] = module, _state(module), containers_of(module)
            if type(module) not in self._early:
                self._early[type(module)] = of_containers(around(of_class(type(module), ())[1]), True)

    def watch(self, found: Around) -> None:
        """The function takes what these names mean; those that it binds anew itself are its own business."""
        for where, name, x in found.names:
            if _same(where.get(name), x):
                self.names.append((where, name, x))
            elif type(x) in PLAIN:
                self._bound.append(f"the global {name}")
        for cell, x in found.cells:
            if _same(contents(cell), x):
                self.cells.append((cell, x))
            elif type(x) in PLAIN:
                self._bound.append(f"a name of its closure, {x!r} before")
        self.said.update(found.said)
        for x in [x for _, _, x in found.names] + [x for _, x in found.cells]:
            if is_module(x):
                self.use(x)
        for x, before in found.objects:
            now = attributes_of(x, found.said)
            bound = [n for n, v in now.items() if not _same(v, before.get(n, v))]
            self._bound += [f"{type(x).__name__}.{n}" for n in bound if type(now[n]) in PLAIN]
            # A tensor that the function itself puts there is its own business.
            kept = {n: v for n, v in now.items() if type(v) in PLAIN or n in before and n not in bound}
            if kept:
                self.objects.append((weakref.ref(x), kept))

    def close(self) -> list[str]:
        """The trace is made: modules are what they are now.  Returns what the function has bound anew in them."""
        kinds = self._kinds()
        for early in [*self._early.values()]:
            self.watch(early)
        self.watch(of_containers(around([f for _, functions in kinds.values() for f in functions]), False))
        kinds = self._kinds()  # more was said, and more modules may be known
        bound = self._bound
        for number, (module, first, containers) in self._first.items():
            words = kinds[type(module)][0] | self.said
            self.modules[number] = weakref.ref(module), (words, _state(module, words))
            held = {n: v for n, v in containers.items() if n in words and v.is_of(module.__dict__.get(n))}
            if held:
                self.contents.append((self.modules[number][0], held))
            plain = _state(module)[2]
            bound += [f"{type(module).__name__}.{n}" for n, v in plain.items() if first[2].get(n, v) != v]
        self._first, self._early, self.seen = {}, {}, parts_changed[0]
        return bound

    def _kinds(self) -> dict[type, tuple[frozenset[str], Sequence[Any]]]:
        """The words and functions of the classes of the modules that were used."""
        return {kind: of_class(kind, self.said) for kind in {type(module) for module, *_ in self._first.values()}}

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        for x, stamp in self.values.values():
            if _stamp(x) != stamp:
                return False
        return self._names_hold() and (self.seen == parts_changed[0] or self._modules_hold())

    def holds_but_for_modes(self) -> bool:
        """Whether all of it is as it was, whatever is in training now."""
        same = all(_stamp(x) == stamp for x, stamp in self.values.values())
        return same and self._names_hold() and self._modules_hold(modes=False)

    def _names_hold(self) -> bool:
        for where, name, value in self.names:
            if where.get(name) is not value and not _same(where.get(name), value):
                return False
        for cell, value in self.cells:
            found = contents(cell)
            if found is not value and not _same(found, value):
                return False
        for known, attributes in self.objects:
            x = known()
            if x is None:
                return False
            own, kind = x.__dict__, type(x)
            for name, value in attributes.items():
                found = own[name] if name in own else getattr(kind, name, ABSENT)
                if found is not value and not _same(found, value):
                    return False
        return not self.contents or self._contents_hold()

    def _contents_hold(self) -> bool:
        for known, held in self.contents:
            own = getattr(known(), "__dict__", None)
            if own is None:
                continue
            for name, before in held.items():
                found = own.get(name)
                if found is not before.itself and not before.is_of(found):
                    return False
        return True

    def _modules_hold(self, modes: bool = True) -> bool:
        before, first = parts_changed[0], 0 if modes else 1
        for known, (words, state) in self.modules.values():
            module = known()
            if module is not None and _state(module, words)[first:] != state[first:]:
                return False
        if modes:
            self.seen = before
        return True


parts_changed = [0]


def _state(module: Any, words: Any = None) -> tuple[Any, int, dict[str, Any]]:
    """What of a module code goes by: if it is in training, how often its parts were changed, plain attributes.

    Of these there are many; `words` names those that the code takes.
    """
    own = module.__dict__
    plain = {n: (type(v), repr(v)) for n, v in own.items() if type(v) in PLAIN and (words is None or n in words)}
    mode = plain.pop("training", own.get("training"))
    return mode, module._parts_version(), plain


def _same(found: Any, value: Any) -> bool:
    """Whether a name means what it meant before: the same object, an equal number or text, or what holds the same."""
    if found is value:
        return True
    if type(value) is Snapshot:
        return value.is_of(found)
    return type(found) is type(value) and type(value) in PLAIN and repr(found) == repr(value)


def _stamp(x: Any) -> tuple[int, int]:
    return id(x.value), x.touched()[0]


class ModuleCall(threading.local):
    """The call of a module on the tensors of a plain graph that is under way in a thread."""

    def __init__(self) -> None:
        self.numbers: dict[int, Any] | None = None  # eager tensors that it makes of numbers: constants of the graph


module_call = ModuleCall()


def made_here(x: T) -> T:
    """The eager tensor, which belongs to one call if a function is being traced, or a module called in a graph."""
    graph = trace_here()
    if graph is not None:
        graph.fresh[id(x)] = x
    elif module_call.numbers is not None:
        module_call.numbers[id(x)] = x
    return x


def draws_here() -> bool:
    """Whether random numbers are drawn in each run of the graph that is being built."""
    return trace_here() is not None or bool(
        module_call.numbers is not None and stacks.graphs and not stacks.graphs[-1].computes
    )


def shown_part(x: Any, key: Any, part: Any) -> Any:
    """The part of a tensor that it shows: what changes one in place changes the other."""
    graph = trace_here()
    if graph is not None:
        graph.parts[part] = x, key
    return part


def looked_at(x: Any) -> None:
    """Note that Python code takes the value of an eager tensor."""
    graph = trace_here()
    if graph is not None:
        graph.look(x)


def no_gradients_here(x: Any) -> None:
    """Refuse to ask an eager tensor for its gradient where a function is traced, or to give it one."""
    if trace_here() is not None:
        raise SymbolicUseError(
            "a traced function is about .grad of a tensor, which is there only outside of it",
            got=f"{x.dtype.name}{list(x.dims)}",
            hint="call zero_grad(), backward() and step() outside, on the loss that the traced function returns; "
            "function(trains=True) with an optimizer of graphflow.train does a whole step inside",
        )


def used_here(module: Any) -> None:
    """Note that a function takes something of a module."""
    graph = trace_here()
    if graph is not None:
        graph.reliance.use(module)


def caller_records() -> bool:
    """Whether the caller of the function that is being traced records, which the function goes by from now on."""
    graph = trace_here()
    if graph is None:
        return True
    graph.reliance.recording = graph.caller_records
    return bool(graph.caller_records)


def trace_here() -> Any:
    """The graph of the function that is being traced in this thread, or None."""
    graphs = stacks.graphs
    if not graphs:
        return None
    graph = graphs[-1]
    while isinstance(graph, FuncGraph):
        graph = graph.outer
    return graph if isinstance(graph, Tracing) else None
