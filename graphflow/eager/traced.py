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
from graphflow.errors import SymbolicUseError
from graphflow.graph import FuncGraph, Graph

T = TypeVar("T")
PLAIN = frozenset({int, str, bool, bytes, float, complex, type(None)})
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

    __slots__ = ("cells", "modules", "names", "seen", "values")

    def __init__(self) -> None:
        self.values: dict[int, tuple[Any, Any]] = {}  # tensors the Python code looked at, with their versions
        self.modules: dict[int, tuple[Any, Any]] = {}  # weak references to modules, and the state they were in
        self.names: list[tuple[dict[str, Any], str, Any]] = []  # globals that the function names
        self.cells: list[tuple[Any, Any]] = []  # names of its closure
        self.seen = parts_changed[0]

    def use(self, module: Any) -> None:
        """The function takes something of a module."""
        if id(module) not in self.modules:
            self.modules[id(module)] = weakref.ref(module), _state(module)

    def watch(self, names: Sequence[tuple[dict[str, Any], str, Any]], cells: Sequence[tuple[Any, Any]]) -> None:
        """The function takes what these names mean; those that it binds anew itself are its own business."""
        self.names += [(where, name, x) for where, name, x in names if _same(where.get(name), x)]
        self.cells += [(cell, x) for cell, x in cells if _same(contents(cell), x)]

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        for x, stamp in self.values.values():
            if _stamp(x) != stamp:
                return False
        for where, name, value in self.names:
            if where.get(name) is not value and not _same(where.get(name), value):
                return False
        for cell, value in self.cells:
            if not _same(contents(cell), value):
                return False
        if self.seen != parts_changed[0]:
            before = parts_changed[0]
            for known, state in self.modules.values():
                module = known()
                if module is not None and _state(module) != state:
                    return False
            self.seen = before
        return True


parts_changed = [0]


def _state(module: Any) -> tuple[int, Any]:
    """What of a module Python code goes by: how often its parts were changed, and whether it is in training."""
    return module._version(), module.__dict__.get("training")


def contents(cell: Any) -> Any:
    """What a name of a closure means now; None where it means nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _same(found: Any, value: Any) -> bool:
    """Whether a name means what it meant before: the same object, or an equal number or text."""
    if found is value:
        return True
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


def trace_here() -> Any:
    """The graph of the function that is being traced in this thread, or None."""
    graphs = stacks.graphs
    if not graphs:
        return None
    graph = graphs[-1]
    while isinstance(graph, FuncGraph):
        graph = graph.outer
    return graph if isinstance(graph, Tracing) else None
