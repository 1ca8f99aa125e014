"""The demo's second picture: the loss while training, and the regions of the plane that the network tells apart.

Policy: drawn with matplotlib, imported when a picture is wanted, on a canvas of its own: no window, no global state.
Colours that colour-blind readers can tell apart (Okabe and Ito), and a marker of its own for each species.

State: none.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.demo import iris
from graphflow.demo.iris import Flowers

COLOURS = ("#0072b2", "#e69f00", "#009e73")
MARKERS = ("o", "s", "^")
GRID = 300


def training(losses: list[float], steps: int, train: Flowers, test: Flowers, predict: Callable[[Any], Any]) -> bytes:
    """The loss of every step (`steps` to an epoch) and the decision regions, side by side, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_loss(left, losses, steps)
    _draw_regions(right, train, test, predict)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _draw_loss(axes: Any, losses: list[float], steps: int) -> None:
    per_epoch = np.reshape(losses, (-1, steps)).mean(axis=1)
    each, epochs = np.arange(1, len(losses) + 1) / steps, np.arange(1, len(per_epoch) + 1)
    axes.semilogy(each, losses, color="#bbbbbb", linewidth=0.8, label="each mini-batch")
    axes.semilogy(epochs, per_epoch, color="#d55e00", linewidth=1.8, label="mean of an epoch")
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean squared error")
    axes.set_title("Loss")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _draw_regions(axes: Any, train: Flowers, test: Flowers, predict: Callable[[Any], Any]) -> None:
    low, high = train.petals.min(axis=0) - 0.6, train.petals.max(axis=0) + 0.6
    across, up = (np.linspace(max(a, 0), b, GRID) for a, b in zip(low, high, strict=True))
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    regions = predict(plane).reshape(GRID, GRID)
    levels = np.arange(len(iris.SPECIES) + 1) - 0.5
    axes.contourf(across, up, regions, levels=levels, colors=COLOURS, alpha=0.22)
    axes.contour(across, up, regions, levels=levels[1:-1], colors="#555555", linewidths=0.8)
    for i, name in enumerate(iris.SPECIES):
        for flowers, face in ((train, COLOURS[i]), (test, "white")):
            chosen = flowers.petals[flowers.species == i]
            style = {"s": 24, "marker": MARKERS[i], "facecolor": face, "edgecolor": COLOURS[i], "zorder": 3}
            axes.scatter(*chosen.T, label=name if flowers is train else None, **style)
    axes.scatter([], [], s=24, facecolor="white", edgecolor="#555555", label="held out")
    axes.set_xlabel(f"{iris.FEATURES[0]} (cm)")
    axes.set_ylabel(f"{iris.FEATURES[1]} (cm)")
    axes.set_title("Iris: what the network answers over the plane")
    axes.legend(loc="upper left", fontsize=8)
