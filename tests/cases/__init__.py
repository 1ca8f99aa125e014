"""The table of all ops: one module per family, each with CASES and ERRORS, and reasons for what is not in it.

NOT_TESTED_HERE: op type -> the test file that tests it instead.
NO_ZERO_SIZE: op type -> why it has no run with zero-size inputs.
NO_GRADIENT_ROW: op type with a gradient -> the test file that tests the gradient instead.
"""

from __future__ import annotations

import importlib
import pkgutil

from graphflow.testing import ErrorCase, OpCase

_modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]

CASES: list[OpCase] = [case for m in _modules for case in m.CASES]
ERRORS: list[ErrorCase] = [case for m in _modules for case in m.ERRORS]
NOT_TESTED_HERE: dict[str, str] = {k: v for m in _modules for k, v in getattr(m, "NOT_TESTED_HERE", {}).items()}
NO_ZERO_SIZE: dict[str, str] = {k: v for m in _modules for k, v in getattr(m, "NO_ZERO_SIZE", {}).items()}
NO_GRADIENT_ROW: dict[str, str] = {k: v for m in _modules for k, v in getattr(m, "NO_GRADIENT_ROW", {}).items()}
