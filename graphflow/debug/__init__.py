"""Debugging: `DebugMode` doubts the compiler; `session.debug()` steps through a run, on the terminal as well."""

import typing as _typing
from importlib import import_module as _import_module

from graphflow.errors import NumericsError as NumericsError
from graphflow.errors import RewriteError as RewriteError
from graphflow.runtime.watching.breakpoints import Breakpoint as Breakpoint
from graphflow.runtime.watching.debugger import Debugger as Debugger
from graphflow.runtime.watching.stepping import Stop as Stop

if _typing.TYPE_CHECKING:
    from graphflow.debug.mode import DebugMode as DebugMode


def __getattr__(name: str) -> _typing.Any:
    if name != "DebugMode":  # it needs the conformance kit, which takes longer to import than all else here
        raise AttributeError(f"module 'graphflow.debug' has no attribute {name!r}")
    return _import_module("graphflow.debug.mode").DebugMode


def __dir__() -> list[str]:
    return sorted({*globals(), "DebugMode"})
