"""Comparisons, logic, and questions about floating-point numbers: everything whose answer is a boolean.

Policy: broadcasting as NumPy's; NaN equals nothing.  None of these has a gradient.

State: none.
"""

from __future__ import annotations

from typing import Any

from graphflow.opdef import call, op
from graphflow.ops.inference import comparison


@op("Equal", infer=comparison("any"), differentiable=False)
def equal(x: Any, y: Any, name: str | None = None) -> Any:
    """x == y, elementwise; also for text and booleans."""
    return call((x, y), name)


@op("NotEqual", infer=comparison("any"), differentiable=False)
def not_equal(x: Any, y: Any, name: str | None = None) -> Any:
    """x != y, elementwise; also for text and booleans."""
    return call((x, y), name)


@op("Less", infer=comparison("real"), differentiable=False)
def less(x: Any, y: Any, name: str | None = None) -> Any:
    """x < y, elementwise."""
    return call((x, y), name)


@op("LessEqual", infer=comparison("real"), differentiable=False)
def less_equal(x: Any, y: Any, name: str | None = None) -> Any:
    """x <= y, elementwise."""
    return call((x, y), name)


@op("Greater", infer=comparison("real"), differentiable=False)
def greater(x: Any, y: Any, name: str | None = None) -> Any:
    """x > y, elementwise."""
    return call((x, y), name)


@op("GreaterEqual", infer=comparison("real"), differentiable=False)
def greater_equal(x: Any, y: Any, name: str | None = None) -> Any:
    """x >= y, elementwise."""
    return call((x, y), name)


@op("LogicalAnd", infer=comparison("bool"), differentiable=False)
def logical_and(x: Any, y: Any, name: str | None = None) -> Any:
    """x and y, elementwise."""
    return call((x, y), name)


@op("LogicalOr", infer=comparison("bool"), differentiable=False)
def logical_or(x: Any, y: Any, name: str | None = None) -> Any:
    """x or y, elementwise."""
    return call((x, y), name)


@op("LogicalNot", infer=comparison("bool"), differentiable=False)
def logical_not(x: Any, name: str | None = None) -> Any:
    """not x, elementwise."""
    return call((x,), name)


@op("LogicalXor", infer=comparison("bool"), differentiable=False)
def _logical_xor(x: Any, y: Any, name: str | None = None) -> Any:
    return call((x, y), name)


def logical_xor(x: Any, y: Any, name: str | None = "LogicalXor") -> Any:
    """Whether exactly one of x and y is true, elementwise."""
    return _logical_xor(x, y, name=name)


@op("IsNan", infer=comparison("float"), differentiable=False)
def is_nan(x: Any, name: str | None = None) -> Any:
    """Which elements are NaN."""
    return call((x,), name)


@op("IsInf", infer=comparison("float"), differentiable=False)
def is_inf(x: Any, name: str | None = None) -> Any:
    """Which elements are infinite."""
    return call((x,), name)


@op("IsFinite", infer=comparison("float"), differentiable=False)
def is_finite(x: Any, name: str | None = None) -> Any:
    """Which elements are neither NaN nor infinite."""
    return call((x,), name)
