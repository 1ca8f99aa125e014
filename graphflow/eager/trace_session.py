"""What runs a trace: a session for its graph, and variables that stand for tensors.

Policy: a tensor that ops write (changed in place, running statistics, parameters in a trace that trains) is a variable
of the graph, which is made equal to the tensor before a call, and the tensor to it afterwards, in the tensor's own
memory.  Random numbers follow the seed of eager mode.

State: each session of a trace keeps which versions of the tensors its variables know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphflow.backend import Run
from graphflow.eager.adoption import STORE
from graphflow.eager.engine import EAGER
from graphflow.eager.storage import overwrite
from graphflow.eager.tensor import EagerTensor
from graphflow.eager.trace_graph import TraceGraph
from graphflow.graph import Graph
from graphflow.keys import GraphKeys
from graphflow.opdef import OPS
from graphflow.session import BaseSession
from graphflow.tensor import Operation, Tensor

Caller = Callable[[Sequence[Any], Any], list[Any]]


class TraceSession(BaseSession):
    """A session whose programs are called with arrays and the `Run` of the caller."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state = State(self)

    def cell(self, variable: Operation) -> Any:
        """The memory of a variable: its own, or that of the variable of eager mode that it stands for."""
        graph: Any = self.graph
        return graph.cells.get(variable.name) or super().cell(variable)

    def caller(self, fetches: Sequence[Tensor | Operation], feeds: Sequence[Tensor]) -> Caller:
        """A function of the arrays for `feeds` and the run, that computes `fetches`."""
        entry = self._prepare(list(fetches), dict.fromkeys(feeds))
        state = self.state
        converters, plan, fixed = entry.converters, entry.plans.get, entry.shapes

        def call(values: Sequence[Any], run: Any) -> list[Any]:
            arrays = [convert(v) for convert, v in zip(converters, values)]  # noqa: B905 - one for each feed
            shapes = tuple([a.shape for a in arrays]) if fixed is None else fixed
            executable = plan(shapes) or self._plan(entry, shapes)
            if executable.needs_run:
                run = run or new_run()
            if state.pairs:
                with state.held():
                    return executable(arrays, run)
            return executable(arrays, run)

        return call

    def compiled(self, fetches: Sequence[Any], feeds: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> Any:
        """The executable for feeds of these shapes, compiled now if it was not before."""
        return self._plan(self._prepare(list(fetches), dict.fromkeys(feeds)), tuple(shapes))


def new_session(options: dict[str, Any], trains: bool = False) -> TraceSession:
    """A session with a graph of its own."""
    graph = TraceGraph(trains)
    graph.place = options.get("device")
    return TraceSession(graph=graph, **options)


def new_run() -> Run:
    """The next run, counted together with eager ops: one seed serves both."""
    seed = EAGER.seed
    return Run(next(EAGER.session.runs), EAGER.session.entropy if seed is None else seed)


class State:
    """The variables of a trace: those that stand for eager tensors are written back into these after each call."""

    def __init__(self, session: TraceSession) -> None:
        self._session = session
        self._lock = threading.RLock()
        self._versions: dict[int, tuple[Any, int]] = {}  # what a tensor was when its variable was last equal to it
        self.pairs: list[tuple[EagerTensor, Any, bool]] = []  # tensor, cell, whether an op writes it

    def look(self, graph: Graph) -> None:
        """Find the variables of the graph, and give a first value to those that stand for no tensor."""
        standing = graph.store.get(STORE, {}).values()
        own = {variable for _, variable in standing}
        first = {v.initializer for v in own}
        written = {op.inputs[0] for op in _writers(graph) if op not in first}
        self.pairs = [(x, self._session.cell(v.op), v.handle in written) for x, v in standing]
        for key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES):
            for v in graph.get_collection(key):
                if v not in own and not self._session.cell(v.op).initialized:
                    self._session.run(v.initializer)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The variables are equal to their tensors at the beginning, and the tensors to them at the end."""
        with self._lock:
            for x, cell, _ in self.pairs:
                if self._versions.get(id(x)) != (id(x.value), x.touched()[0]):
                    cell.assign(x.value)
            self._versions.clear()  # after an error nobody knows what was written
            yield
            for x, cell, changes in self.pairs:
                if changes:
                    _write(x, cell.snapshot())
                self._versions[id(x)] = id(x.value), x.touched()[0]


def _write(x: EagerTensor, value: Any) -> None:
    if type(x.value) is np.ndarray:
        overwrite(x, value)
    else:  # a scalar of NumPy, which nobody shares
        x.value = value
        x.touched()[0] += 1


def _writers(graph: Graph) -> list[Operation]:
    return [op for op in graph.get_operations() if OPS[op.type].effect == "write" and op.inputs]
