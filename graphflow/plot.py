"""`gf.plot`: what a model does over the plane, and how its training went.

Policy: drawn with matplotlib, imported when a picture is wanted, on a canvas of its own: no window, no global state.
Each function draws into a file or, with `ax=`, into axes that are there.  Models come as functions of an array of
points [n, 2], so everything that can be run can be drawn.  Colours that colour-blind readers can tell apart (Okabe and
Ito), and a marker of its own for each class.  One picture is the same file each time.

State: none.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphflow import durable
from graphflow.errors import InvalidArgumentError, ShapeError, UnavailableError, shown

Array = np.ndarray[Any, Any]
OfPoints = Callable[[Array], Any]
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY, PALE = "#555555", "#bbbbbb"
GRID = 200  # points of the plane along each side
MARGIN = 0.12  # of the data's extent, around it
FORMATS = ("png", "svg", "pdf")


def curves(
    losses: Mapping[str, Any] | Sequence[float],
    path: Any = None,
    *,
    ax: Any = None,
    steps_per_epoch: int = 1,
    log: bool | None = None,
    title: str = "Loss",
    label: str = "loss",
) -> None:
    """Curves of training: one sequence of numbers, or several by name.

    With `steps_per_epoch` each step is drawn pale and the mean of each epoch over it.  The scale is logarithmic where
    the numbers are positive and span more than a factor of ten, or as `log` says.
    """
    named = losses if isinstance(losses, Mapping) else {label: losses}
    series = {str(name): _numbers(name, values) for name, values in named.items()}
    if not series:
        raise InvalidArgumentError("there is no curve to draw", expected="numbers, or a dict of them by name")
    if steps_per_epoch < 1:
        raise InvalidArgumentError("steps_per_epoch is 1 or more", got=str(steps_per_epoch))

    def draw(ax: Any) -> None:
        for number, (name, values) in enumerate(series.items()):
            _draw_curve(ax, name, values, COLOURS[number % len(COLOURS)], steps_per_epoch)
        if _is_logarithmic(series.values()) if log is None else log:
            ax.set_yscale("log")
        ax.set_xlabel("epoch" if steps_per_epoch > 1 else "step")
        ax.set_ylabel(label)
        ax.set_title(title)
        ax.grid(alpha=0.3)
        if len(series) > 1 or steps_per_epoch > 1:
            ax.legend(frameon=False)

    _show(draw, path, ax)


def regions(
    predict: OfPoints,
    points: Any,
    labels: Any,
    path: Any = None,
    *,
    ax: Any = None,
    held_out: tuple[Any, Any] | None = None,
    names: Sequence[str] = (),
    axis_names: tuple[str, str] = ("x1", "x2"),
    title: str = "What the model answers over the plane",
) -> None:
    """The regions that a classifier tells apart, with the data.

    `predict` takes points [n, 2] and returns the number of a class for each, scores [n, classes], or for two classes
    one score [n] or [n, 1] of which 0.5 and more means the second.
    """
    data, classes = _labelled(points, labels)
    other = _labelled(*held_out) if held_out is not None else None
    count = int(max(classes.max(), other[1].max() if other and len(other[1]) else 0, len(names) - 1)) + 1
    across, up, plane = _plane(_limits(data if other is None else np.concatenate([data, other[0]])))
    answers = _classes(predict(plane), len(plane)).reshape(GRID, GRID)
    count = max(count, int(answers.max()) + 1)

    def draw(ax: Any) -> None:
        levels = np.arange(count + 1) - 0.5
        colours = [COLOURS[i % len(COLOURS)] for i in range(count)]
        ax.contourf(across, up, answers, levels=levels, colors=colours, alpha=0.22)
        if answers.min() < answers.max():
            ax.contour(across, up, answers, levels=levels[1:-1], colors=GREY, linewidths=0.8)
        for i in range(count):
            name = names[i] if i < len(names) else f"class {i}"
            _scatter(ax, data[classes == i], i, colours[i], name)
            if other is not None:
                _scatter(ax, other[0][other[1] == i], i, "white", None)
        if other is not None:
            ax.scatter([], [], s=24, facecolor="white", edgecolor=GREY, label="held out")
        _finish_plane(ax, axis_names, title)
        ax.legend(loc="best", fontsize=8)

    _show(draw, path, ax)


def surface(
    energy: OfPoints,
    limits: Any,
    path: Any = None,
    *,
    ax: Any = None,
    points: Any = None,
    levels: int = 14,
    axis_names: tuple[str, str] = ("x", "y"),
    title: str = "Energy",
) -> None:
    """An energy over the plane as a heat map with contour lines; dark is low, and data is drawn over it.

    `energy` takes points [n, 2] and returns a number for each; `limits` is ((x_low, x_high), (y_low, y_high)).
    """
    bounds = _numbers_like("limits", limits, (2, 2))
    if not (bounds[:, 0] < bounds[:, 1]).all():
        raise InvalidArgumentError("limits are ((x_low, x_high), (y_low, y_high))", got=shown(limits))
    over = None if points is None else _numbers_like("points", points, (None, 2))
    across, up, plane = _plane(bounds)
    heights = _one_each("energy", energy(plane), len(plane)).reshape(GRID, GRID)
    known = np.ma.masked_invalid(heights)

    def draw(ax: Any) -> None:
        drawn = ax.pcolormesh(across, up, known, shading="gouraud", cmap="viridis", rasterized=True)
        if known.count() and known.min() < known.max():
            ax.contour(across, up, known, levels=levels, colors="white", linewidths=0.6, alpha=0.7)
        ax.figure.colorbar(drawn, ax=ax, shrink=0.9)
        if over is not None:
            ax.scatter(*over.T, s=18, facecolor="white", edgecolor="black", linewidth=0.7, zorder=3)
        _finish_plane(ax, axis_names, title)

    _show(draw, path, ax)


def sheet(path: Any, *drawings: Callable[..., None], width: float = 5.0, height: float = 4.2) -> None:
    """Several drawings side by side in one file; each is a function of `ax`, such as `partial(plot.curves, losses)`."""
    if not drawings:
        raise InvalidArgumentError("a sheet has one drawing or more")
    for drawing in drawings:
        if not callable(drawing):
            wanted = "a function of ax=, such as partial(plot.curves, losses)"
            raise InvalidArgumentError("a sheet is made of drawings", expected=wanted, got=shown(drawing))
    _write(path, drawings, (width * len(drawings), height))


# -- drawing -----------------------------------------------------------------------------------------------------------


def _draw_curve(axes: Any, name: str, values: Array, colour: str, steps: int) -> None:
    if steps == 1:
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, linewidth=1.6, label=name)
        return
    axes.plot(np.arange(1, len(values) + 1) / steps, values, color=PALE, linewidth=0.8, label="each step")
    whole = len(values) // steps
    means = values[: whole * steps].reshape(whole, steps).mean(axis=1)
    axes.plot(np.arange(1, whole + 1), means, color=colour, linewidth=1.8, label=f"{name}, mean of an epoch")


def _is_logarithmic(series: Any) -> bool:
    numbers = np.concatenate([values[np.isfinite(values)] for values in series])
    return bool(numbers.size and numbers.min() > 0 and numbers.max() > 10 * numbers.min())


def _scatter(axes: Any, points: Array, number: int, face: str, name: str | None) -> None:
    edge = COLOURS[number % len(COLOURS)] if face == "white" else "white"
    style = {"s": 26, "marker": MARKERS[number % len(MARKERS)], "linewidth": 0.6 if face != "white" else 1.2}
    axes.scatter(*points.T, label=name, facecolor=face, edgecolor=edge, zorder=3, **style)


def _finish_plane(axes: Any, axis_names: tuple[str, str], title: str) -> None:
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.set_title(title)


def _plane(limits: Array) -> tuple[Array, Array, Array]:
    """The points of a grid along both sides, and all of them as [n, 2]."""
    across, up = (np.linspace(low, high, GRID) for low, high in limits)
    return across, up, np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)


def _limits(points: Array) -> Array:
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.where(high > low, (high - low) * MARGIN, 1.0)
    return np.stack([low - room, high + room], axis=1)


# -- what comes in -----------------------------------------------------------------------------------------------------


def _numbers(name: object, values: Any) -> Array:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name} is a sequence of numbers", got=shown(values)) from error
    if found.ndim != 1 or not found.size:
        raise ShapeError(f"{name} is a sequence of numbers", expected="[n]", got=str(list(found.shape)))
    return found


def _numbers_like(name: str, values: Any, shape: tuple[int | None, ...]) -> Array:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name} are numbers", got=shown(values)) from error
    wanted = found.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, found.shape, strict=True))
    if not wanted or not found.size or not np.isfinite(found).all():
        expected = str(["n" if n is None else n for n in shape]).replace("'", "")
        got = str(list(found.shape)) if not wanted or not found.size else "numbers that are not finite"
        raise ShapeError(f"{name} have another shape, or are no finite numbers", expected=expected, got=got)
    return found


def _labelled(points: Any, labels: Any) -> tuple[Array, Array]:
    data = _numbers_like("points", points, (None, 2))
    return data, _classes(labels, len(data))


def _classes(answers: Any, count: int) -> Array:
    """Classes as numbers, from numbers, one-hot rows or scores."""
    found = np.asarray(answers)
    if found.ndim == 2 and found.shape[1] > 1:
        found = found.argmax(axis=1)
    flat = found.reshape(-1)
    if flat.shape != (count,):
        raise ShapeError("one class for each point", expected=f"[{count}] or [{count}, classes]", got=str(found.shape))
    if flat.dtype.kind == "b":
        return flat.astype(np.int64)
    if flat.dtype.kind == "f" and not (flat == np.floor(flat)).all():
        return (flat >= 0.5).astype(np.int64)
    if flat.dtype.kind not in "iuf" or not np.isfinite(flat).all() or flat.min(initial=0) < 0:
        raise InvalidArgumentError("classes are numbers from 0", got=shown(answers))
    return flat.astype(np.int64)


def _one_each(name: str, values: Any, count: int) -> Array:
    found = np.asarray(values, np.float64).reshape(-1)
    if found.shape != (count,):
        raise ShapeError(f"{name} gives one number for each point", expected=f"[{count}]", got=str(np.shape(values)))
    return found


# -- files -------------------------------------------------------------------------------------------------------------


def _show(draw: Callable[..., None], path: Any, ax: Any) -> None:
    if (path is None) == (ax is None):
        raise InvalidArgumentError("give a path to write to, or ax= to draw into", hint="path='picture.png'")
    if ax is not None:
        draw(ax)
    else:
        _write(path, [draw], (6.0, 4.8))


def _write(path: Any, drawings: Sequence[Callable[..., None]], size: tuple[float, float]) -> None:
    """Draw side by side, and write the file at once."""
    name = durable.text_path(path)
    kind = os.path.splitext(name)[1].lower().removeprefix(".")
    if kind not in FORMATS:
        wanted = ", ".join(f".{f}" for f in FORMATS)
        raise InvalidArgumentError("the file's ending says what to write", expected=wanted, got=name)
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnavailableError("plots are drawn with matplotlib, which is not installed",
                               hint="pip install matplotlib") from error  # fmt: skip
    with matplotlib.rc_context({"svg.hashsalt": "graphflow"}):
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        for drawing, axes in zip(drawings, figure.subplots(1, len(drawings), squeeze=False)[0], strict=True):
            drawing(ax=axes)
        file = io.BytesIO()
        nameless = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
        figure.savefig(file, format=kind, metadata=nameless[kind])
    durable.write_file(name, [file.getvalue()])
