"""Whether ops are computed at once here.

Policy: a default graph that somebody entered decides.  Where there is none the first argument does: a symbolic tensor
asks for its graph, anything else is computed at once.

State: none of its own; the stack of default graphs is the thread's, the root graph is `graph`'s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from graphflow import graph as graphs_of_the_process
from graphflow.defaults import stacks
from graphflow.eager.engine import EAGER
from graphflow.eager.traced import Tracing
from graphflow.errors import FailedPreconditionError, ShapeError, SymbolicUseError
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


_WORDS = {"axis": "dim", "keepdims": "keepdim"}  # NumPy's words, which PyTorch takes as well
_OTHER_WORDS = frozenset({*_WORDS, "out"})


def _respelled(function: Callable[..., Any], arguments: Any, named: dict[str, Any]) -> Any:
    """The function, called in its own words; what it gives goes to `out`."""
    out = named.pop("out", None)
    found = function(*arguments, **{_WORDS.get(name, name): value for name, value in named.items()})
    if out is None:
        return found
    if isinstance(out, (tuple, list)):
        parts = [into(x, y) for x, y in zip(out, found, strict=True)]
        return type(found)(*parts) if hasattr(found, "_fields") else tuple(parts)
    return into(out, found)


def into(out: Any, found: Any) -> Any:
    """What was computed, in a tensor that is there already."""
    if not hasattr(out, "copy_") or getattr(found, "requires_grad", False) or getattr(out, "requires_grad", False):
        raise FailedPreconditionError(
            "out= takes an eager tensor, and nothing that gradients go through", got=repr(out)[:80],
            hint="y = f(x); or with torch.no_grad():",
        )  # fmt: skip
    if hasattr(found, "value") and not out.shape.numel() and found.shape.numel():
        out.value = np.zeros(found.dims, out.dtype.np)  # an empty tensor becomes as large as it has to be
    if out.dims != found.dims or not np.can_cast(found.dtype.np, out.dtype.np, "same_kind"):
        raise ShapeError(
            "the result does not fit into out=", expected=f"{found.dtype.name}{list(found.dims)}",
            got=f"{out.dtype.name}{list(out.dims)}", hint="out=torch.empty(0) takes any shape",
        )  # fmt: skip
    return out.copy_(found)


def placed(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which does its ops where its first argument is at home."""

    @functools.wraps(function)
    def wrapper(*arguments: P.args, **named: P.kwargs) -> T:
        if named and not _OTHER_WORDS.isdisjoint(named):
            return cast(T, _respelled(wrapper, arguments, named))
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
