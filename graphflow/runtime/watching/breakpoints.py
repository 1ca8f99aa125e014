"""Breakpoints: at a tensor or an op, in a name scope, on a line of the user's file, or where a value is as one says.

Policy: what can be looked up is looked up when the breakpoint is set, in the functions of branches and loops as well,
so that a mistyped name is an error and not a breakpoint that never stops.

State: a breakpoint remembers which ops it means.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from graphflow.errors import Error, InvalidArgumentError, MissingNameError, shown
from graphflow.graph import FuncGraph, Graph
from graphflow.opdef import OPS
from graphflow.runtime.watching.following import outermost
from graphflow.source import Source
from graphflow.tensor import Operation, Tensor

Condition = Callable[[Any], Any]
_LINE = re.compile(r"(.+\.py):(\d+)\Z")


def all_operations(graph: Graph) -> Iterator[Operation]:
    """The ops of a graph and of the functions of its branches and loops."""
    waiting = [graph]
    for one in waiting:
        for op in one.get_operations():
            yield op
            definition = OPS.get(op.type)
            if definition is not None and definition.control_flow:
                waiting += [a for a in op.attrs.values() if isinstance(a, FuncGraph)]


class Breakpoint:
    """Where to stop."""

    def __init__(self, graph: Graph, what: Any, condition: Condition | None, number: int) -> None:
        if condition is not None and not callable(condition):
            raise InvalidArgumentError("the condition of a breakpoint is a function of the value", got=shown(condition))
        if what is None and condition is None:
            raise InvalidArgumentError(
                "a breakpoint needs a place or a condition",
                expected="a tensor, an op, a name, a scope 'layer1/*', a line 'train.py:12', or condition=function",
            )
        self.number = number
        self.condition = condition
        self.tensor: Tensor | None = None
        self.text = "any op" if what is None else what if isinstance(what, str) else str(getattr(what, "name", what))
        self._fits = self._place(graph, what)
        self._known: dict[Operation, bool] = {}

    def __str__(self) -> str:
        words = f" if {getattr(self.condition, 'words', 'its condition holds')}" if self.condition is not None else ""
        return f"breakpoint {self.number}: {self.text}{words}"

    def stops(self, op: Operation, made: Sequence[tuple[Tensor, Any]]) -> bool:
        """Whether to stop after an op that has made these values."""
        found = self._known.get(op)
        if found is None:
            found = self._known[op] = self._fits(op)
        if not found or self.condition is None:
            return found
        return any(self._holds(t, v) for t, v in made if self.tensor is None or t is self.tensor)

    def _holds(self, tensor: Tensor, value: Any) -> bool:
        assert self.condition is not None
        try:
            return bool(self.condition(value))
        except Exception as error:
            hint = "it is asked for every value here, of whatever shape" if self.tensor is None else None
            raise InvalidArgumentError(
                f"the condition of breakpoint {self.number} failed for {tensor.name!r}", op=tensor.op,
                expected="whether to stop", got=f"{type(error).__name__}: {error}", hint=hint,
            ) from error  # fmt: skip

    def _place(self, graph: Graph, what: Any) -> Callable[[Operation], bool]:
        if what is None:
            return lambda op: True
        if isinstance(what, str):
            line = _LINE.match(what)
            if line is not None:
                return _on_line(graph, what, line[1], int(line[2]))
            if any(c in what for c in "*?["):
                return _matching(graph, what, what)
            if what.endswith("/"):
                return _matching(graph, what, what + "*")
        element = find(graph, what)
        handle = getattr(what, "handle", None)
        if handle is not None:  # a variable: what reads or writes it
            return lambda op: any(outermost(x) is handle for x in op.inputs)
        self.tensor = element if isinstance(element, Tensor) else None
        wanted = element.op if isinstance(element, Tensor) else element
        if not wanted.inputs and OPS[wanted.type].pure:
            raise InvalidArgumentError(
                "what is fed or constant is not computed, so a run does not come by there", op=wanted,
                hint="break at an op that reads it",
            )  # fmt: skip
        return lambda op: op is wanted


def find(graph: Graph, what: Any) -> Any:
    """The op or tensor that is meant, also by a name inside a branch or loop, or by a tensor of one."""
    try:
        return graph.as_graph_element(what)
    except Error:
        inside = _inside(graph, what)
        if inside is None:
            raise
        return inside


def _inside(graph: Graph, what: Any) -> Any:
    name, _, index = what.partition(":") if isinstance(what, str) else (None, "", "")
    op = what.op if isinstance(what, Tensor) else what
    for found in all_operations(graph):
        if found is op:
            return what
        if found.name == name and (not index or index.isdecimal() and int(index) < len(found.outputs)):
            return found.outputs[int(index)] if index else found
    return None


def _matching(graph: Graph, text: str, pattern: str) -> Callable[[Operation], bool]:
    if not any(fnmatch.fnmatchcase(op.name, pattern) for op in all_operations(graph)):
        scopes = sorted({op.name.partition("/")[0] + "/*" for op in all_operations(graph) if "/" in op.name})
        raise MissingNameError(
            f"no op of the graph is in {shown(text)}", hint=f"there are {', '.join(scopes[:12])}" if scopes else None
        )
    return lambda op: fnmatch.fnmatchcase(op.name, pattern)


def _on_line(graph: Graph, text: str, file: str, line: int) -> Callable[[Operation], bool]:
    def fits(op: Operation) -> bool:
        place: Source = op.user_source
        return place.line == line and _is_file(place.filename, file)

    if not any(map(fits, all_operations(graph))):
        lines = sorted({op.user_source.line for op in all_operations(graph) if _is_file(op.user_source.filename, file)})
        there = ", ".join(map(str, sorted(lines, key=lambda known: abs(known - line))[:6]))
        raise MissingNameError(
            f"no op was built at {shown(text)}", hint=f"the nearest lines are {there}" if there else None
        )
    return fits


def _is_file(path: str, wanted: str) -> bool:
    """Whether a path ends in these folders and this name, or is this whole path."""
    found, wanted = os.path.abspath(path), os.path.normpath(wanted)
    parts, wanted_parts = found.split(os.sep), wanted.split(os.sep)
    return found == wanted if os.path.isabs(wanted) else parts[-len(wanted_parts) :] == wanted_parts
