"""Whether ops are computed at once here, and whether what is computed is recorded.

Policy: a default graph that somebody entered decides.  Where there is none the first argument does: a symbolic tensor
asks for its graph, anything else is computed at once.

State: none of its own; the stack of default graphs is the thread's, the root graph is `graph`'s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from graphflow import graph as graphs_of_the_process
from graphflow.defaults import stacks
from graphflow.eager.engine import EAGER, here
from graphflow.errors import FailedPreconditionError
from graphflow.graph import get_default_graph
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


def eager() -> AbstractContextManager[Any]:
    """`with gf.eager():` computes the ops inside at once."""
    return EAGER.as_default()


def enable_eager_execution(config: Any = None, device_policy: Any = None, execution_mode: Any = None) -> None:
    """From now on compute ops at once, in every thread that has entered no graph; there is no way back."""
    root = get_default_graph()
    if not root.computes and (stacks.graphs or len(root)):
        raise FailedPreconditionError(
            "eager execution is enabled at the start of a program, before the first op",
            got=f"a graph of {len(root)} ops" if len(root) else "a call inside `with graph.as_default():`",
            hint="`with gf.eager():` computes at once for a while",
        )
    graphs_of_the_process._root = EAGER


def executing_eagerly() -> bool:
    """Whether an op that is built here is computed at once."""
    return bool(get_default_graph().computes)


class set_grad_enabled:
    """Record what is computed, or do not: from now on, or for the length of a `with` block."""

    def __init__(self, mode: bool) -> None:
        self._before = here.records
        here.records = bool(mode)

    def __enter__(self) -> None:
        """The mode holds since the call."""

    def __exit__(self, *error: object) -> None:
        here.records = self._before


def is_grad_enabled() -> bool:
    """Whether what is computed from tensors that require gradients is recorded."""
    return here.records
