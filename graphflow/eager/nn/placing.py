"""Where the ops of a module go: they are computed at once, or added to the graph of a symbolic input.

Policy: a default graph that somebody entered decides.  Where there is none the first argument does: symbolic, its
graph; anything else, at once.

State: none of its own; the stack of default graphs is the thread's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from graphflow.defaults import stacks
from graphflow.eager.engine import EAGER
from graphflow.tensor import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def home_of(argument: Any) -> Any:
    """The graph that an argument asks for."""
    return argument.graph if isinstance(argument, Tensor) else EAGER


def placed(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which does its ops where its first argument is at home."""

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **named: P.kwargs) -> T:
        graphs = stacks.graphs
        if graphs:
            return function(*arguments, **named)
        graphs.append(home_of(arguments[0] if arguments else next(iter(named.values()), None)))
        try:
            return function(*arguments, **named)
        finally:
            graphs.pop()

    return wrapper


def computes() -> bool:
    """Whether ops are computed at once here."""
    graphs = stacks.graphs
    return not graphs or bool(graphs[-1].computes)
