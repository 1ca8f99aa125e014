"""All kernel families; importing this module fills the table."""

from graphflow_numpy import (
    arrays,
    control,
    debugging,
    elementwise,
    neural,
    randoms,
    state,
)

__all__ = ["arrays", "control", "debugging", "elementwise", "neural", "randoms", "state"]
