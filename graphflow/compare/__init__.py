"""Eager beside lazy, measured: `report = graphflow.compare(function, *arguments)`.

Policy: the package is itself the function, as `graphflow.render` is.

State: none.
"""

from __future__ import annotations

import sys
from types import ModuleType

from graphflow.compare.comparing import compare as compare
from graphflow.compare.figures import Row as Row
from graphflow.compare.report import Report as Report


class _Callable(ModuleType):
    """A module that is called like its main function."""

    __call__ = staticmethod(compare)


sys.modules[__name__].__class__ = _Callable
