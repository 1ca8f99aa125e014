"""Pictures of graphs and programs: `graphflow.render(target, "net.png")`.

Policy: a picture is a `View`, plain values that a pure function makes of a graph or a program; writers turn it into
text, and engines lay that out.  The package is itself the function: `graphflow.render(...)` is `render.render(...)`.

State: none.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from graphflow.render import dot, engines
from graphflow.render import notebook as notebook
from graphflow.render.analysis import to_networkx as to_networkx
from graphflow.render.gradient_view import numbers_of as numbers_of
from graphflow.render.picture import as_view as as_view
from graphflow.render.picture import render as render
from graphflow.render.view import View as View

write = render


def to_dot(target: Any, color: str = "phase", **options: Any) -> str:
    """What is drawn of a graph, tensors or a program, as Graphviz text; options as in `as_view`."""
    return dot.to_dot(target if isinstance(target, View) else as_view(target, **options), color)


def layout_program() -> str:
    """The name of the engine that draws PNG files here."""
    return engines.choose("png").name


class _Callable(ModuleType):
    """A module that is called like its main function."""

    __call__ = staticmethod(render)


sys.modules[__name__].__class__ = _Callable
