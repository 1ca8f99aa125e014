"""The ways of computing one function: eagerly, and traced for every level, number of workers and backend.

Policy: each way computes the same results and the same gradients from the same tensors, through the same calls that a
user would make, and returns eager tensors.  Gradients are those of the sum of the results by what asks for them:
arguments and parameters with `requires_grad`, or all floating-point arguments if nothing asks.

State: each way owns what it compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow import nest
from graphflow.backend import available_backends, load_backend
from graphflow.compare.calls import PHASES, Call, Listener, calls_of
from graphflow.eager import signatures
from graphflow.eager.engine import EAGER
from graphflow.eager.tape import GradientTape, no_grad
from graphflow.eager.tensor import REQUIRED, EagerTensor
from graphflow.eager.trace_session import TraceGraph, new_session
from graphflow.eager.tracing import Trace
from graphflow.errors import BackendUnavailable, Error, FailedPreconditionError, InvalidArgumentError, shown
from graphflow.gradients import gradients
from graphflow.graph import get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import OPS
from graphflow.ops import array
from graphflow.runtime.config import ConfigProto
from graphflow.runtime.workers import usable_cores
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

LEVELS = (0, 1, 2)


class Setting(NamedTuple):
    """How a function is computed; `level` and `workers` are None where they have no meaning."""

    name: str
    device: str
    level: int | None = None
    workers: int | None = None


EAGERLY = Setting("eager", "numpy")


class Subject:
    """What is compared: a function, its arguments, and what it is differentiated by."""

    def __init__(self, function: Any, args: Sequence[Any], grad: bool) -> None:
        if not callable(function):
            raise InvalidArgumentError("compare takes a Python function of tensors", got=shown(function))
        self.function = getattr(function, "_python", function)
        self.name = str(getattr(self.function, "__name__", type(self.function).__name__))
        self.args = args
        self.grad = grad
        self.tensors: list[EagerTensor] = signatures.Parts({str(i): x for i, x in enumerate(args)}).tensors
        self.sources: list[EagerTensor] = []
        self.draws = False  # whether it draws random numbers, so that no two runs agree
        self._look()

    def _look(self) -> None:
        """Trace once, to find the parameters; the first trace also pays for what is imported at first use."""
        trace = self.trace({}, grad=False)
        asked = [x for x in [*self.tensors, *trace.captured] if x.track == REQUIRED]
        self.sources = (asked or [x for x in self.tensors if x.dtype.is_floating]) if self.grad else []
        if self.grad and not self.sources:
            raise FailedPreconditionError(
                "there is nothing to differentiate by",
                hint="pass floating-point tensors, use parameters with requires_grad=True, or compare(..., grad=False)",
            )
        kinds = {op.type for op in trace.graph.get_operations()}
        self.draws = any(OPS[kind].stateful and not OPS[kind].effect for kind in kinds)

    def trace(self, options: dict[str, Any], grad: bool) -> Trace:
        """The function, and with `grad` the gradients, as one graph."""
        trace = Trace(self.name, new_session(options))
        specs = [TensorSpec(x.dtype, x.dims) for x in self.tensors]

        def whole(symbols: Sequence[Tensor]) -> Any:
            result = self.function(*signatures.symbols_in(tuple(self.args), iter(symbols)))
            if not grad:
                return result
            trace.graph.store["forward"] = len(trace.graph) - 1
            known = {id(x): s for x, s in zip(self.tensors, symbols, strict=True)}
            graph: Any = get_default_graph()
            xs = [known[id(x)] if id(x) in known else graph.capture(x) for x in self.sources]
            return result, _dense(gradients(_differentiable(result), xs), xs)

        return trace.build(whole, specs)

    def eager(self, listener: Listener | None = None) -> Any:
        """Compute at once."""
        args = signatures.symbols_in(tuple(self.args), iter(self.tensors))
        with EAGER.as_default():
            if not self.grad:
                with no_grad():
                    return self.function(*args)
            with GradientTape() as tape:
                tape.watch(self.sources)
                result = self.function(*args)
            if listener is not None:
                listener.phase = PHASES[1]
            found = tape.gradient(_differentiable(result), self.sources)
            return result, _dense(found, self.sources)


def _differentiable(result: Any) -> list[Any]:
    found = [x for x in nest.flatten(result) if isinstance(x, Tensor) and x.dtype.is_floating]
    if not found:
        raise InvalidArgumentError(
            "the function returns nothing that can be differentiated",
            got=shown(result),
            hint="compare(..., grad=False)",
        )
    return found


def _dense(found: Sequence[Any], xs: Sequence[Any]) -> list[Any]:
    """Gradients as tensors: zeros where there is no path."""
    dense = [g.to_tensor() if isinstance(g, IndexedSlices) else g for g in found]
    return [array.zeros_like(x) if g is None else g for g, x in zip(dense, xs, strict=True)]


class Eager:
    """The eager way."""

    setting = EAGERLY
    build = compiling = 0.0

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def prepare(self, clock: Callable[[], float]) -> None:
        """There is nothing to prepare."""

    def step(self) -> Any:
        """One run."""
        return self._subject.eager()

    def calls(self) -> list[Call]:
        """What one run computes."""
        with Listener() as listener:
            self._subject.eager(listener)
        return listener.calls


class Lazy:
    """The traced way, for one setting."""

    def __init__(self, subject: Subject, setting: Setting) -> None:
        self.setting = setting
        self._subject = subject
        self.build = self.compiling = 0.0
        self._trace: Trace
        self._inputs: list[EagerTensor] = []

    def prepare(self, clock: Callable[[], float]) -> None:
        """Trace and compile, each timed."""
        s = self.setting
        options: dict[str, Any] = {"optimization_level": s.level, "device": s.device}
        if s.workers is not None:
            options["config"] = ConfigProto(inter_op_parallelism_threads=s.workers)
        started = clock()
        self._trace = self._subject.trace(options, self._subject.grad)
        traced = clock()
        self.program = self._executable().program
        self.build, self.compiling = traced - started, clock() - traced

    def _executable(self) -> Any:
        trace = self._trace
        shapes = [x.dims for x in [*self._subject.tensors, *trace.captured]]
        return trace.session.compiled(trace.fetches, trace.stage.inputs, shapes)

    def step(self) -> Any:
        """One run."""
        with no_grad():
            return self._trace.run(self._subject.tensors)

    def calls(self) -> list[Call]:
        """What one run computes."""
        return calls_of(self.program, self._trace.graph.store.get("forward", len(self._trace.graph)))

    @property
    def graph(self) -> TraceGraph:
        """The graph that was compiled."""
        found: TraceGraph = self._trace.graph
        return found


def settings(levels: Sequence[int] = LEVELS, devices: Sequence[str] | None = None) -> tuple[list[Setting], list[str]]:
    """The traced ways that there are on this machine, and in words why others are missing."""
    cores = usable_cores()
    found: list[Setting] = []
    missing: list[str] = []
    for name in available_backends() if devices is None else devices:
        try:
            backend = load_backend(name)
        except (BackendUnavailable, Error) as error:
            missing.append(f"{name}: {error}".replace("\n", "; "))
            continue
        if name == EAGERLY.device:
            for level in levels:
                found.append(Setting(f"lazy O{level}", name, level, 1))
                if cores > 1:
                    found.append(Setting(f"lazy O{level}, {cores} workers", name, level, cores))
        else:
            found.append(Setting(f"lazy on {name}", name, backend.default_level))
    if cores == 1:
        missing.append("several workers: this process may use one core")
    return found, missing
