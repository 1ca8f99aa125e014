"""All kernel families; importing this module fills the table."""

from graphflow_numpy import (
    arrays,
    blocks,
    control,
    debugging,
    elementwise,
    indexing,
    neural,
    ordering,
    randoms,
    state,
)

__all__ = [
    "arrays",
    "blocks",
    "control",
    "debugging",
    "elementwise",
    "indexing",
    "neural",
    "ordering",
    "randoms",
    "state",
]
