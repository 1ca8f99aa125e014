"""All kernel families; importing this module fills the table."""

from graphflow_numpy import (
    arrays,
    blocks,
    control,
    debugging,
    elementwise,
    indexing,
    joining,
    linalg,
    neural,
    ordering,
    randoms,
    reductions,
    segments,
    softmax,
    special,
    state,
)

__all__ = [
    "arrays",
    "blocks",
    "control",
    "debugging",
    "elementwise",
    "indexing",
    "joining",
    "linalg",
    "neural",
    "ordering",
    "randoms",
    "reductions",
    "segments",
    "softmax",
    "special",
    "state",
]
