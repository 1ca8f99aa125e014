"""Every error that graphflow raises.

Policy: TensorFlow 1's classes under TensorFlow 1's names, each of them also the Python built-in that a caller
would expect (`InvalidArgumentError` is a `ValueError`, `NotFoundError` a `LookupError`, ...).  The text leads with
one short sentence; what was expected, what came, the op, the user's own line and a hint follow, one line each and
only where they are known.  No raw NumPy, graphviz or pyopencl exception leaves the library.

State: what draws the surroundings of an error, bound once from above.  Errors hold names and text and a weak reference
to the graph, never arrays, so that a kept traceback keeps no memory alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from graphflow.source import user_frame

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16


def shown(value: Any, limit: int = 80) -> str:
    """The value as a short piece of an error's text, whatever its `__repr__` does."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    text = " ".join(text[: 4 * limit].split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


class Error(Exception):
    """The root of everything that graphflow raises; `except tf.errors.OpError` catches it as well.

    `op` is the Operation (or None), `source` the user's own "file:line, in function" where it was built; where no op is
    concerned, the user's line that led here, "" where none did.
    """

    error_code = UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        op: Any = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(message)
        self.summary = message
        self.expected = expected
        self.got = got
        self.hint = hint
        self.op_name: str | None = getattr(op, "name", None)
        self.op_type: str | None = getattr(op, "type", None)
        place: str | None = source or getattr(op, "source", None)
        self._of_an_op = place is not None
        frame = user_frame()
        called = "" if frame.filename.startswith("<frozen") else str(frame)  # the command line: no user's code called
        self.source: str = place or called
        self.unbuilt: tuple[str, ...] | None = None  # the inputs of an op that could not be built
        self._graph = _reference(getattr(op, "graph", None))

    def attach(self, op: Any) -> Error:
        """Name the op in an error that was raised where the op was not known; the first op named stays."""
        if self.op_name is None and op is not None:
            self.op_name = op.name
            self.op_type = op.type
            self._graph = _reference(op.graph)
            if not self._of_an_op:
                self.source, self._of_an_op = op.source, True
        return self

    def about(self, other: Error) -> Error:
        """Take over the op and the line that another error names."""
        self.op_name, self.op_type, self.source = other.op_name, other.op_type, other.source
        self._graph, self.unbuilt = other._graph, other.unbuilt
        return self

    def not_built(self, name: str, type: str, place: str, graph: Any, inputs: tuple[str, ...]) -> Error:
        """Name the op that was about to be built, and the tensors that it was given."""
        self.op_name, self.op_type, self.source = name, type, place
        self._graph, self.unbuilt = _reference(graph), inputs
        return self

    @property
    def graph(self) -> Any:
        """The graph of the op; None if the error is about no op, or if the graph is gone."""
        return self._graph() if self._graph is not None else None

    def render(self, path: Any, hops: int = 2) -> str:
        """Draw the op that failed, in red, and what is at most `hops` edges away from it; returns the path."""
        return _draw[0](self, path, hops)

    def __reduce__(self) -> Any:
        plain: Any = super().__reduce__()
        return *plain[:2], {**plain[2], "_graph": None}  # a reference to a graph of this process goes nowhere else

    @property
    def message(self) -> str:
        """The whole text, as TensorFlow 1's OpError has it."""
        return str(self)

    def __str__(self) -> str:
        lines = [self.summary]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.got is not None:
            lines.append(f"  got:      {self.got}")
        if self.op_name is not None:
            lines.append(f"  op:       {self.op_name!r} ({self.op_type})")
        if self.source:
            lines.append(f"  {'built' if self.op_name is not None else 'called'} at: {self.source}")
        if self.hint is not None:
            lines.append(f"  hint:     {self.hint}")
        return "\n".join(lines)


OpError = Error


def _reference(graph: Any) -> weakref.ref[Any] | None:
    return weakref.ref(graph) if graph is not None else None


_draw: list[Callable[[Error, Any, int], str]] = []


def bind_picture(draw: Callable[[Error, Any, int], str]) -> None:
    """Tell how the surroundings of an error are drawn; called once by who can."""
    _draw[:] = [draw]


class CancelledError(Error, RuntimeError):
    """The run was cancelled before it finished."""

    error_code = CANCELLED


class UnknownError(Error, RuntimeError):
    """User code inside the graph (`py_func`) raised something that has no class of its own here."""

    error_code = UNKNOWN


class InvalidArgumentError(Error, ValueError):
    """A value, shape, name or attribute that the op cannot take."""

    error_code = INVALID_ARGUMENT


class ShapeError(InvalidArgumentError):
    """Shapes that do not fit together, found while the graph is built or when its feeds are known."""


class DTypeError(InvalidArgumentError, TypeError):
    """A dtype that does not fit, or a conversion that would change a value."""


class FeedError(InvalidArgumentError, TypeError):
    """A key or value of a feed_dict that cannot be fed."""


class FetchError(InvalidArgumentError, TypeError):
    """Something in the fetches that cannot be fetched."""


class NumericsError(InvalidArgumentError):
    """A NaN or an infinity where numbers are looked at: `Session.check_numerics`."""


class GraphError(InvalidArgumentError):
    """Graph structure: a tensor of another graph, a cycle, a malformed name or scope."""


class SymbolicUseError(InvalidArgumentError, TypeError):
    """A symbolic tensor was used where Python needs a value (`if`, `for`, `len`, `float`)."""


class NotFoundError(Error, LookupError):
    """A file, op, tensor, key or variable that does not exist."""

    error_code = NOT_FOUND


class MissingNameError(NotFoundError, KeyError):
    """No op or tensor of that name in the graph."""

    __str__ = Error.__str__


class GradientLookupError(NotFoundError):
    """An op on the path has no registered gradient."""


class AlreadyExistsError(Error, ValueError):
    """The name, variable or registration exists already."""

    error_code = ALREADY_EXISTS


class PermissionDeniedError(Error, PermissionError):
    """The operating system refused access to a path."""

    error_code = PERMISSION_DENIED

    __str__ = Error.__str__


class ResourceExhaustedError(Error, MemoryError):
    """Out of memory, or a stated limit was reached."""

    error_code = RESOURCE_EXHAUSTED


class FailedPreconditionError(Error, RuntimeError):
    """The system is not in the state the operation needs (an uninitialised variable, a closed session)."""

    error_code = FAILED_PRECONDITION


class FinalizedError(FailedPreconditionError):
    """The graph is finalized and cannot be changed."""


class AbortedError(Error, RuntimeError):
    """The operation was aborted."""

    error_code = ABORTED


class OutOfRangeError(Error, IndexError):
    """Past the end of something, such as an epoch."""

    error_code = OUT_OF_RANGE


class UnimplementedError(Error, NotImplementedError):
    """No kernel for this op and dtype on the chosen backend."""

    error_code = UNIMPLEMENTED


class InternalError(Error, RuntimeError):
    """A broken invariant of graphflow itself; please report it."""

    error_code = INTERNAL


class RewriteError(InternalError):
    """An optimised program computes something else than the graph as it was written; `tf.debug.DebugMode` found it."""

    pass_name: str | None = None  # the pass of the compiler that is wrong


class UnavailableError(Error, RuntimeError):
    """A service, device or optional package is not there."""

    error_code = UNAVAILABLE


class BackendUnavailable(UnavailableError, ImportError):
    """A backend is installed but cannot be loaded; the hint holds the command that mends it."""


class DeadlineExceededError(Error, TimeoutError):
    """The time limit given for the run was reached."""

    error_code = DEADLINE_EXCEEDED

    __str__ = Error.__str__


class DataLossError(Error, ValueError):
    """A file is truncated or corrupt."""

    error_code = DATA_LOSS


class UnauthenticatedError(Error, RuntimeError):
    """Kept for TensorFlow 1's name; graphflow itself never raises it."""

    error_code = UNAUTHENTICATED
