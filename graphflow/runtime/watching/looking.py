"""What can be asked, and changed, where a run has stopped; for the debugger of scripts and for the one of the terminal.

Policy: variables are read and written as the session's own, for good; other values belong to the run.  What is read is
a copy.

State: none beyond the stepper's.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from graphflow import casting, dtypes, errors
from graphflow.compile.lower import HANDLE
from graphflow.errors import FailedPreconditionError, InvalidArgumentError
from graphflow.graph import Graph
from graphflow.runtime.watching.breakpoints import Breakpoint, Condition, find
from graphflow.runtime.watching.following import outermost
from graphflow.runtime.watching.stepping import Stepper, Stop
from graphflow.runtime.watching.summaries import summary
from graphflow.tensor import Operation, Tensor

NEIGHBOURS = 8  # ops on each side that `where` shows


class Owner(Protocol):
    """What a debugger needs of a session."""

    graph: Graph

    def cell(self, variable: Operation) -> Any:
        """The memory of a variable."""


class Looker:
    """Looks around where a stepper has stopped."""

    def __init__(self, session: Owner, stepper: Stepper) -> None:
        self._owner = session
        self._stepper = stepper
        self.graph = session.graph

    # -- where we are --------------------------------------------------------------------------------------------

    @property
    def stop(self) -> Stop | None:
        """Where the run stands, or where it failed; None if it came to its end."""
        return self._stepper.stop

    @property
    def history(self) -> list[Stop]:
        """All stops, the oldest first."""
        return list(self._stepper.history)

    def where(self) -> str:
        """The op we are at in words: the user's line, what was read and made, the ops before and after it."""
        stop = self._stepper.stop
        if stop is None:
            return "no run is stopped"
        op, place = stop.op, stop.op.user_source
        lines = [f"{'' if stop.error is not None else 'stopped '}{stop}", f"  built at {op.source}"]
        text = linecache.getline(place.filename, place.line).strip()
        lines += [f"    {text}"] if text else []
        lines += [f"  read   {outermost(x).op.name}: a variable" for x in op.inputs if x.dtype is dtypes.resource]
        lines += [f"  read   {name}: {summary(value)}" for name, value in stop.inputs.items()]
        lines += [f"  made   {name}: {summary(value)}" for name, value in stop.values.items()]
        readers = [reader for t in op.outputs for reader in t.consumers()]
        lines += _listed("  comes from", dict.fromkeys([x.op for x in op.inputs]))
        lines += _listed("  goes to   ", dict.fromkeys(readers))
        return "\n".join(lines)

    def picture(self, path: Any, hops: int = 2) -> str:
        """Draw the ops around the one we are at, with the values that are known; returns the path."""
        stop = self._stepper.stop
        if stop is None:
            raise FailedPreconditionError("no run is stopped, so there is nothing around it to draw")
        from graphflow.runtime.watching import pictures  # most runs are not drawn

        known = {t.name: v for t, v in self._stepper.values.items() if t.graph is stop.op.graph}
        return pictures.draw_around(stop.op, path, hops, known, stop.error is not None)

    # -- values --------------------------------------------------------------------------------------------------

    def value(self, what: Any) -> Any:
        """The value of a tensor that the run has computed (in a loop: last), or of a variable; also by name."""
        variable = self._variable(what)
        if variable is not None:
            return self._beside_the_run(lambda: np.array(self._owner.cell(variable).snapshot())[()])
        tensor = self._tensor(what)
        if tensor not in self._stepper.values and tensor.op.type == "Const":
            return np.array(tensor.op.attrs["value"])[()]
        if tensor not in self._stepper.values:
            raise FailedPreconditionError(
                f"{tensor.name!r} has not been computed in this run", op=tensor.op,
                hint="break at it, or go on; a run computes only what its fetches need",
            )  # fmt: skip
        found = self._stepper.values[tensor]
        return np.array(found)[()] if isinstance(found, np.ndarray) else found

    def set(self, what: Any, value: Any) -> None:
        """Go on with another value: a tensor's for what is left of this run, a variable's for good.

        What has been computed from it already is not computed again.
        """
        variable = self._variable(what)
        if variable is not None:
            array = self._for_variable(variable, value)
            self._beside_the_run(lambda: self._owner.cell(variable).assign(array))
            return
        tensor = self._tensor(what)
        if self._stepper.stop is None:
            raise FailedPreconditionError("no run is stopped: a value is set while one is", op=tensor.op)
        self._stepper.set(tensor, value)

    def variables(self) -> dict[str, Any]:
        """The variables of the graph by name, as they are now; None for those without a value."""
        cells = {op.name: self._owner.cell(op) for op in self._owner.graph.get_operations() if _is_variable(op)}

        def read() -> dict[str, Any]:
            return {name: np.array(c.snapshot())[()] if c.initialized else None for name, c in cells.items()}

        found: dict[str, Any] = self._beside_the_run(read)
        return found

    # -- breakpoints ---------------------------------------------------------------------------------------------

    def break_at(self, what: Any = None, condition: Condition | None = None) -> Breakpoint:
        """Stop after a tensor or op, any op of a scope "layer1/*" or of a line "train.py:12"; or where a value fits.

        `condition` is a function of the value; without a place it is asked for every value of the run.
        """
        return self._stepper.break_at(self._owner.graph, what, condition)

    @property
    def breakpoints(self) -> list[Breakpoint]:
        """The breakpoints that are set."""
        return list(self._stepper.breakpoints.values())

    def clear(self, breakpoint: Breakpoint | int | None = None) -> None:
        """Take away one breakpoint, or its number, or all."""
        if breakpoint is None:
            self._stepper.breakpoints.clear()
            return
        number = breakpoint.number if isinstance(breakpoint, Breakpoint) else breakpoint
        if self._stepper.breakpoints.pop(number, None) is None:
            there = ", ".join(map(str, self._stepper.breakpoints)) or "none"
            raise errors.NotFoundError(f"there is no breakpoint {number}", expected=there)

    # -- inside --------------------------------------------------------------------------------------------------

    def _beside_the_run(self, function: Callable[[], Any]) -> Any:
        """Do what may need locks that the stopped run holds."""
        return function()

    def _variable(self, what: Any) -> Operation | None:
        handle = getattr(what, "handle", None)
        if handle is not None:
            return handle.op  # type: ignore[no-any-return]
        if isinstance(what, str) and not what.endswith("/"):
            what = find(self._owner.graph, what)
        op = what.op if isinstance(what, Tensor) else what
        return op if isinstance(op, Operation) and _is_variable(op) else None

    def _tensor(self, what: Any) -> Tensor:
        found = find(self._owner.graph, what)
        if isinstance(found, Tensor):
            return found
        if len(found.outputs) != 1:
            raise InvalidArgumentError(
                f"{found.name!r} makes {len(found.outputs)} values: say which", op=found,
                expected=", ".join(t.name for t in found.outputs) or "an op that makes a value",
            )  # fmt: skip
        return found.outputs[0]  # type: ignore[no-any-return]

    def _for_variable(self, variable: Operation, value: Any) -> Any:
        try:
            array = casting.as_array(value, variable.attrs["dtype"])
        except errors.Error as error:
            error.summary = f"variable {variable.name!r} cannot take the value: {error.summary}"
            raise error.attach(variable) from None
        return array if array.ndim else array[()]


def _is_variable(op: Operation) -> bool:
    return op.type == HANDLE


def _listed(head: str, ops: Sequence[Operation] | dict[Operation, None]) -> list[str]:
    """A line for each of some ops."""
    chosen = list(ops)
    lines = [f"{head} {op.name} ({op.type})  {op.source}" for op in chosen[:NEIGHBOURS]]
    return [*lines, f"{head} and {len(chosen) - NEIGHBOURS} more"] if len(chosen) > NEIGHBOURS else lines
