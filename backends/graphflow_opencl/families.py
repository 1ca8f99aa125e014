"""All families of kernels: importing this module fills the table of rules.

Policy: a family is a module with rules; a new one is added here and nowhere else.

State: none; the table is `graphflow_opencl.table`.
"""

from __future__ import annotations

from graphflow_opencl import (
    blocks,
    convolution,
    depthwise,
    filling,
    hosted,
    indexing,
    joining,
    movement,
    ordering,
    overlaps,
    patches,
    pooling,
    products,
    randoms,
    reductions,
    responses,
    rows,
    scanning,
    segments,
    slicing,
    sorting,
    updating,
)

__all__ = [
    "blocks",
    "convolution",
    "depthwise",
    "filling",
    "hosted",
    "indexing",
    "joining",
    "movement",
    "ordering",
    "overlaps",
    "patches",
    "pooling",
    "products",
    "randoms",
    "reductions",
    "responses",
    "rows",
    "scanning",
    "segments",
    "slicing",
    "sorting",
    "updating",
]
