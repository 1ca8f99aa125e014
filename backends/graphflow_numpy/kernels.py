"""All kernel families; importing this module fills the table."""

from graphflow_numpy import arrays, elementwise, state

__all__ = ["arrays", "elementwise", "state"]
