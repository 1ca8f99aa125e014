"""What is compared: a function, its arguments, and what it is differentiated by.

Policy: eagerly and traced it computes the same results and the same gradients of the same tensors.  Gradients are those
of the sum of the results by what asks for them: arguments and parameters with `requires_grad`, or all floating-point
arguments if nothing asks.  What cannot be compared is refused before anything is measured, and told in words.

State: each subject what it found, and how everything was before (`keeping`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from graphflow import nest
from graphflow.compare.calls import PHASES, Listener, draws
from graphflow.compare.keeping import Kept, is_library
from graphflow.eager import signatures
from graphflow.eager.engine import EAGER
from graphflow.eager.gradient_tape import GradientTape
from graphflow.eager.reading import around
from graphflow.eager.recording import no_grad
from graphflow.eager.tensor import REQUIRED, EagerTensor
from graphflow.eager.trace_session import new_session
from graphflow.eager.tracing import Trace
from graphflow.errors import Error, FailedPreconditionError, InvalidArgumentError, shown
from graphflow.gradients import gradients
from graphflow.graph import get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.ops import array
from graphflow.source import Source
from graphflow.spec import TensorSpec
from graphflow.tensor import Tensor

FORWARD = "forward"  # in the store of a traced graph: the number of its last op that is no gradient's
EAGERLY, TRACED = "computed eagerly", "traced to a graph"


class Subject:
    """A function of tensors, with arguments."""

    def __init__(self, function: Any, args: Sequence[Any], grad: bool) -> None:
        self.function = getattr(function, "_python", function)
        _check_function(self.function, args)
        self.name = str(getattr(self.function, "__name__", type(self.function).__name__))
        self.grad = grad
        parts = signatures.Parts({str(i): x for i, x in enumerate(args)})
        if parts.symbolic:
            raise InvalidArgumentError(
                "an argument is a tensor of a graph, which has no value", hint="pass arrays, or eager tensors"
            )
        self.tensors: list[EagerTensor] = list({id(x): x for x in parts.tensors}.values())
        self._order = [next(i for i, y in enumerate(self.tensors) if y is x) for x in parts.tensors]
        self._args = tuple(args)
        self._given = signatures.symbols_in(self._args, iter(parts.tensors))
        self.kept = Kept([function, self._args, self._given])
        self._versions = [x.touched()[0] for x in self.tensors]
        self.sources: list[EagerTensor] = []
        self.draws = self.frozen = False  # random numbers: in each run; when traced, and then no more
        try:
            self._look()
        except BaseException:
            self.kept.restore()
            raise

    def _look(self) -> None:
        """Trace once, to find the parameters; the first trace also pays for what is imported at first use."""
        trace = Trace(self.name, new_session({}))
        trace.build(self._traced_result, [TensorSpec(x.dtype, x.dims) for x in self.tensors], around([self.function]))
        self.kept.add(trace.captured)
        asked = [x for x in [*self.tensors, *trace.captured] if x.track == REQUIRED]
        self.sources = (asked or [x for x in self.tensors if x.dtype.is_floating]) if self.grad else []
        if self.grad and not self.sources:
            raise FailedPreconditionError(
                "there is nothing to differentiate by",
                hint="pass floating-point tensors, use parameters with requires_grad=True, or compare(..., grad=False)",
            )
        self.draws = draws(trace.graph)

    # -- the two ways ------------------------------------------------------------------------------------------------

    def traced(self, *symbols: Tensor) -> Any:
        """Results and gradients, as a function to be traced takes and gives them."""
        result = self._traced_result(symbols)
        if not self.grad:
            return result
        graph: Any = get_default_graph()
        graph.store[FORWARD] = len(graph) - 1
        known = {id(x): s for x, s in zip(self.tensors, symbols, strict=True)}
        xs = [known[id(x)] if id(x) in known else graph.capture(x) for x in self.sources]
        found = gradients(_differentiable(result), xs)
        dense = [g.to_tensor() if isinstance(g, IndexedSlices) else g for g in found]
        return result, [array.zeros_like(x) if g is None else g for g, x in zip(dense, xs, strict=True)]

    def _traced_result(self, symbols: Sequence[Tensor]) -> Any:
        args = signatures.symbols_in(self._args, iter([symbols[i] for i in self._order]))
        return _checked(self._called(args, TRACED))

    def eager(self, listener: Listener | None = None) -> Any:
        """Results and gradients, computed at once."""
        with EAGER.as_default():
            if not self.grad:
                with no_grad():
                    return self._called(self._given, EAGERLY)
            with GradientTape() as tape:
                tape.watch(self.sources)
                result = self._called(self._given, EAGERLY)
            if listener is not None:
                listener.phase = PHASES[1]
            found = tape.gradient(_differentiable(result), self.sources)
            return result, [array.zeros_like(x) if g is None else g for g, x in zip(found, self.sources, strict=True)]

    def _called(self, args: Sequence[Any], how: str) -> Any:
        try:
            return self.function(*args)
        except Error:
            raise
        except Exception as error:
            raise FailedPreconditionError(
                f"{self.name} raised {type(error).__name__} while it was {how}", got=shown(error),
                source=users_line(error),
            ) from error  # fmt: skip

    # -- after a run -------------------------------------------------------------------------------------------------

    def heard(self, listener: Listener) -> None:
        """What an eager run has told of itself."""
        self.frozen = listener.draws and not self.draws

    def check_arguments(self) -> None:
        """Raise if the eager run changed an argument: each run would then compute something else."""
        changed = [i for i, x in enumerate(self.tensors) if x.touched()[0] != self._versions[i]]
        if changed:
            raise FailedPreconditionError(
                f"{self.name} changes an argument in place, so no two runs of it compute the same",
                got=", ".join(f"tensor {i} of the arguments" for i in changed),
                hint="return the new value; x = x + y makes a new tensor, x += y changes x",
            )

    def restart(self) -> None:
        """Everything is as it was before the comparison; changes that were made are forgotten."""
        self.kept.restore()
        self._versions = [x.touched()[0] for x in self.tensors]

    def labels(self, results: Any) -> list[str]:
        """What each leaf of results and gradients is called."""
        result, found = results if self.grad else (results, [])
        count = len(nest.flatten(result))
        names = ["the result"] if count == 1 else [f"result {i} of {count}" for i in range(count)]
        paths = self.kept.names()
        place = {id(x): f"argument {i}" for i, x in enumerate(self._given)}
        parts = {id(x): f"tensor {i} of the arguments" for i, x in enumerate(self.tensors)}
        for i, x in enumerate(self.sources[: len(found)]):
            own = repr(paths[id(x)]) if id(x) in paths else f"source {i}"
            names.append(f"the gradient by {place.get(id(x)) or parts.get(id(x)) or own}")
        return names


def users_line(error: BaseException) -> str | None:
    """The innermost line of the user's own code that an error came through; None where there is none."""
    found, step = None, error.__traceback__
    while step is not None:
        frame = step.tb_frame
        if not is_library(frame.f_globals.get("__name__")):
            found = str(Source(frame.f_code, step.tb_lasti))
        step = step.tb_next
    return found


def _check_function(function: Any, args: Sequence[Any]) -> None:
    """Raise unless this is a function that takes the arguments and returns at once."""
    if not callable(function):
        raise InvalidArgumentError("compare takes a Python function of tensors", got=shown(function))
    lazily = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if any(kind(function) for kind in lazily):
        raise InvalidArgumentError(
            "a function that yields or awaits computes nothing when it is called",
            expected="a function that returns tensors", got=shown(function),
        )  # fmt: skip
    for i, x in enumerate(args):
        if hasattr(x, "__next__"):
            raise InvalidArgumentError(
                f"argument {i} can be read once, and every run would read it", got=shown(x), hint="list(...) of it"
            )
    try:
        parameters = inspect.signature(function)
    except (TypeError, ValueError):  # of what is written in C there is none
        return
    try:
        parameters.bind(*args)
    except TypeError as error:
        raise InvalidArgumentError(f"the arguments do not fit: {error}", expected=str(parameters)) from None


def _checked(result: Any) -> Any:
    """What the function returned, if there is something to compare in it."""
    leaves = nest.flatten(result)
    if any(hasattr(x, "__next__") for x in leaves):
        raise InvalidArgumentError("the function returns an iterator, not tensors", got=shown(result), hint="list(...)")
    if not any(isinstance(x, (Tensor, IndexedSlices)) or hasattr(x, "_as_tensor") for x in leaves):
        nothing = all(x is None for x in leaves)
        raise InvalidArgumentError(
            f"the function returns {'nothing' if nothing else 'no tensor'}, so there is nothing to compare",
            got=shown(result), hint="return what it computes",
        )  # fmt: skip
    return result


def _differentiable(result: Any) -> list[Any]:
    """The results that have derivatives."""
    leaves = [result] if isinstance(result, EagerTensor) else nest.flatten(result)
    found = [x for x in leaves if isinstance(x, Tensor) and x.dtype.is_floating]
    if not found:
        raise InvalidArgumentError(
            "the function returns nothing that can be differentiated",
            got=shown(result),
            hint="compare(..., grad=False)",
        )
    return found
