"""The demo's second picture: the loss while training, and the regions of the plane that the network tells apart.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from graphflow import plot
from graphflow.demo import iris
from graphflow.demo.iris import Flowers


def training(
    path: str, losses: list[float], steps: int, train: Flowers, test: Flowers, predict: Callable[[Any], Any]
) -> None:
    """The loss of every step (`steps` to an epoch) and the decision regions, side by side."""
    plot.sheet(
        path,
        partial(plot.curves, losses, steps_per_epoch=steps, label="mean squared error"),
        partial(
            plot.regions,
            predict,
            train.petals,
            train.species,
            held_out=(test.petals, test.species),
            names=iris.SPECIES,
            axis_names=(f"{iris.FEATURES[0]} (cm)", f"{iris.FEATURES[1]} (cm)"),
            title="Iris: what the network answers over the plane",
        ),
    )
