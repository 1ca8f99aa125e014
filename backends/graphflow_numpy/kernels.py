"""All kernel families; importing this module fills the table."""

from graphflow_numpy import (
    arrays,
    control,
    debugging,
    elementwise,
    state,
)

__all__ = ["arrays", "control", "debugging", "elementwise", "state"]
