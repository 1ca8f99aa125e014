"""What a trace is made of: a graph that takes eager tensors, a session for it, and variables that stand for tensors.

Policy: an eager tensor becomes a placeholder, fed at each call with what it holds then.  Where it must be written by
ops (running statistics, parameters in a trace that trains) it becomes a variable, which is made equal to the tensor
before a call, and the tensor to it afterwards, in the tensor's own memory.

State: each session of a trace keeps which versions of the tensors its variables know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphflow import dtypes
from graphflow.backend import Run
from graphflow.eager.adoption import STORE
from graphflow.eager.engine import EAGER
from graphflow.eager.storage import overwrite
from graphflow.eager.symbols import Symbol
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import FailedPreconditionError
from graphflow.graph import Graph
from graphflow.keys import GraphKeys
from graphflow.opdef import OPS
from graphflow.ops import core
from graphflow.ops.state import variable_handle
from graphflow.session import BaseSession
from graphflow.spec import TensorSpec
from graphflow.tensor import Operation, Tensor

Caller = Callable[[Sequence[Any], Any], list[Any]]


class TraceGraph(Graph):
    """A graph in which eager tensors are arguments; if it trains, parameters are variables of it."""

    def __init__(self, trains: bool = False) -> None:
        super().__init__()
        self._trains = trains
        self.captured: dict[int, tuple[EagerTensor, Tensor]] = {}
        self.cells: dict[str, Any] = {}  # of variables of eager mode, by the names of their handles here
        self._versions: dict[int, int] = {}  # of captured tensors, when they were first used
        self._handles: dict[EagerTensor, Tensor] = {}

    def capture(self, tensor: Tensor) -> Tensor:
        """The tensor, or for an eager one the placeholder that is fed with what it holds."""
        if not isinstance(tensor, EagerTensor) or self._trains and tensor.is_parameter:
            return super().capture(tensor)
        if tensor.dtype is dtypes.resource:
            return self._handle(tensor)
        found = self.captured.get(id(tensor))
        if found is None:
            found = self.captured[id(tensor)] = tensor, self.argument(tensor.dtype, tensor.dims, "captured")
            self._versions[id(tensor)] = tensor.touched()[0]
        return found[1]

    def encloses(self, other: Graph) -> bool:
        """Variables of eager mode are used here, not read once for ever."""
        return other.computes

    def _handle(self, eager: EagerTensor) -> Tensor:
        """The handle in this graph of a variable of eager mode, whose memory it is."""
        found = self._handles.get(eager)
        if found is None:
            cell = eager.value
            with self.as_default(), self.scoped(name="", controls=(), region=None, device=""):
                found = variable_handle(dtype=cell.dtype, dims=cell.dims, name="variable")
            self._handles[eager] = found
            self.cells[found.op.name] = cell
        return found

    def add_operation(self, *arguments: Any) -> Operation:
        """Append an op; its outputs have the methods of eager tensors."""
        op = super().add_operation(*arguments)
        op.outputs = tuple([Symbol(op, x.index, TensorSpec(x.dtype, x.dims, x.hint)) for x in op.outputs])
        return op

    def check_unchanged(self) -> None:
        """Raise if a tensor was changed in place while the function was traced: that would happen once, and no more."""
        for tensor, known in self.captured.values():
            if tensor.touched()[0] != self._versions[id(tensor)]:
                raise FailedPreconditionError(
                    "a tensor is changed in place by a traced function, which its later calls would not do",
                    op=known.op,
                    got=repr(tensor)[:80],
                    hint="return the new value and assign it outside; trains=True lets an optimizer update parameters",
                )

    def begin(self) -> None:
        """Another trace begins in this graph: what was captured before may have been changed since."""
        self._versions = {key: tensor.touched()[0] for key, (tensor, _) in self.captured.items()}

    def argument(self, dtype: Any, dims: Any, name: str) -> Tensor:
        """A new placeholder, outside of whatever scopes are open."""
        with self.as_default(), self.scoped(name="", controls=(), region=None, device=""):
            made: Tensor = core.placeholder(dtype, dims, name=name)
        return made


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
    return TraceSession(graph=TraceGraph(trains), **options)


def new_run() -> Run:
    """The next run, counted together with eager ops: one seed serves both."""
    return Run(next(EAGER.session.runs), EAGER.session.entropy)


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
