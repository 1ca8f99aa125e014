"""Whether ops are computed at once here.

Policy: a default graph that somebody entered decides.  Where there is none the first argument does: a symbolic tensor
asks for its graph, anything else is computed at once.

An argument of the wrong kind is one of the library's errors, and NumPy's words for arguments are understood.

State: none of its own; the stack of default graphs is the thread's, the root graph is `graph`'s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

from graphflow import graph as graphs_of_the_process
from graphflow.defaults import stacks
from graphflow.eager.calling import IN_TORCH, PYTHONS, explained, other_words, respelled
from graphflow.eager.engine import EAGER
from graphflow.eager.traced import Tracing
from graphflow.errors import Error, FailedPreconditionError, SymbolicUseError
from graphflow.graph import get_default_graph
from graphflow.tensor import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def home_of(argument: Any) -> Any:
    """The graph that an argument asks for; that of a traced function is finished."""
    graph = argument.graph if isinstance(argument, Tensor) else EAGER
    if isinstance(graph, Tracing):
        raise SymbolicUseError(
            "a tensor of a traced function is used outside of it, where it has no value",
            op=argument.op,
            hint="return it: what a traced function returns has a value",
        )
    return graph


def placed(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which does its ops where its first argument is at home."""
    words = other_words(function)

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **named: P.kwargs) -> T:
        if named and not words.isdisjoint(named):
            return cast(T, respelled(wrapper, words, arguments, named))
        graphs = stacks.graphs
        entered = not graphs
        if entered:
            graphs.append(home_of(arguments[0] if arguments else next(iter(named.values()), None)))
        try:
            return function(*arguments, **named)
        except PYTHONS as error:
            if isinstance(error, Error):
                error.hint = IN_TORCH.get(error.hint, error.hint)
                raise
            raise explained(function, error, arguments, named) from error
        finally:
            if entered:
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
