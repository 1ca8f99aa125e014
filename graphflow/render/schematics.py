"""Schematics of multilayer perceptrons: neurons in columns, and between them their weights.

Policy: an edge is as wide, as dark and of the colour as its weight is large and positive or negative; large weights
are drawn over small ones.  Of a column with very many neurons the first and the last are drawn.  The text is a pure
function of the numbers; names enter as text only.

State: none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow import durable
from graphflow.errors import InvalidArgumentError, ShapeError, shown
from graphflow.render.raster import to_png
from graphflow.render.styles import GREY, INK
from graphflow.render.svg import Svg

Array = np.ndarray[Any, Any]
POSITIVE, NEGATIVE, NO_NUMBER = "#0072b2", "#d55e00", "#ff0000"
RADIUS, COLUMN, ROW, EDGE = 13.0, 150.0, 40.0, 40.0
MAX_WIDTH, FAINTEST = 5.0, 0.06
TITLE, FOOT = 34.0, 64.0


class Layer(NamedTuple):
    """The numbers between two columns."""

    weights: Array  # [neurons before, neurons after]
    biases: Array | None


class _Column(NamedTuple):
    """Which neurons of a column are drawn, and where."""

    shown: list[int]
    x: float
    ys: list[float]
    gap: float | None  # where the dots stand for those between


def draw_mlp(
    session: Any,
    layers: Sequence[Any],
    path: Any,
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    title: str = "",
    max_neurons: int = 16,
) -> str:
    """Draw a multilayer perceptron into a .svg or .png file; returns the path.

    `layers` has for each layer its weights [neurons before, neurons after], or a pair of weights and biases: arrays,
    or variables and tensors of the session.  `inputs` and `outputs` are names to write beside the outer columns.
    """
    name = durable.text_path(path)
    kind = os.path.splitext(name)[1].lower()
    if kind not in (".svg", ".png"):
        raise InvalidArgumentError("the file's ending says what to write", expected=".svg, .png", got=name)
    if isinstance(max_neurons, bool) or not isinstance(max_neurons, int) or max_neurons < 3:
        raise InvalidArgumentError("max_neurons is 3 or more", got=shown(max_neurons))
    found = mlp_svg(_numbers(session, layers), inputs, outputs, title, max_neurons)
    drawn = str(found)
    durable.write_file(name, [drawn.encode() if kind == ".svg" else to_png(drawn, found.width, found.height)])
    return name


def _numbers(session: Any, layers: Sequence[Any]) -> list[Layer]:
    """The layers as arrays that fit together."""
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence) or not layers:
        raise InvalidArgumentError("layers is a list of weights", got=shown(layers))
    pairs = [tuple(entry) if isinstance(entry, (tuple, list)) and len(entry) == 2 else (entry,) for entry in layers]
    symbols = [x for pair in pairs for x in pair if hasattr(x, "op")]
    if symbols and session is None:
        raise InvalidArgumentError("variables have their values in a session", hint="draw_mlp(session, layers, path)")
    values = iter(session.run(symbols) if symbols else [])
    out: list[Layer] = []
    for number, pair in enumerate(pairs):
        found = [np.asarray(next(values) if hasattr(x, "op") else x) for x in pair]
        weights, biases = found[0], found[1] if len(found) > 1 else None
        _check(number, weights, biases, out[-1].weights.shape[1] if out else None)
        out.append(Layer(weights.astype(np.float64), None if biases is None else biases.astype(np.float64).reshape(-1)))
    return out


def _check(number: int, weights: Array, biases: Array | None, before: int | None) -> None:
    expected = f"[{before if before is not None else 'neurons before'}, neurons after]"
    if weights.ndim != 2 or 0 in weights.shape or before is not None and weights.shape[0] != before:
        raise ShapeError(
            f"the weights of layer {number + 1} do not fit", expected=expected, got=str(list(weights.shape))
        )
    if weights.dtype.kind not in "biuf" or biases is not None and biases.dtype.kind not in "biuf":
        raise InvalidArgumentError(f"the weights of layer {number + 1} are no real numbers", got=str(weights.dtype))
    if biases is not None and biases.size != weights.shape[1]:
        raise ShapeError(
            f"the biases of layer {number + 1} do not fit",
            expected=f"[{weights.shape[1]}]",
            got=str(list(biases.shape)),
        )


def mlp_svg(
    layers: Sequence[Layer], inputs: Sequence[str], outputs: Sequence[str], title: str, max_neurons: int
) -> Svg:
    """The schematic."""
    sizes = [layers[0].weights.shape[0], *[layer.weights.shape[1] for layer in layers]]
    tallest = max(min(size, max_neurons) for size in sizes)
    left, right = (EDGE + 7.5 * max([len(str(n)) for n in names] or [0]) for names in (inputs, outputs))
    top = EDGE / 2 + (TITLE if title else 0)
    height = top + ROW * tallest + FOOT
    width = left + right + COLUMN * (len(sizes) - 1) + 2 * RADIUS
    columns = [_column(size, max_neurons, left + RADIUS + COLUMN * i, top, tallest) for i, size in enumerate(sizes)]
    svg = Svg(width, height, title or "multilayer perceptron")
    if title:
        svg.text(width / 2, EDGE / 2 + 12, title, 15, text_anchor="middle")
    largest = max([float(np.abs(layer.weights[np.isfinite(layer.weights)]).max(initial=0)) for layer in layers]) or 1.0
    for layer, before, after in zip(layers, columns, columns[1:], strict=False):
        _edges(svg, layer.weights, before, after, largest)
    for number, column in enumerate(columns):
        biases = layers[number - 1].biases if number else None
        _neurons(svg, column, biases, _names(number, len(columns), inputs, outputs), number == 0)
        caption = _caption(number, len(columns), sizes[number])
        svg.text(column.x, height - FOOT + 14, caption, 11, GREY, text_anchor="middle")
    _legend(svg, largest)
    return svg


def _column(size: int, most: int, x: float, top: float, tallest: int) -> _Column:
    if size <= most:
        shown_ones, gap = list(range(size)), None
    else:
        half = (most - 1) // 2
        shown_ones, gap = [*range(most - 1 - half), *range(size - half, size)], float(most - 1 - half)
    places = len(shown_ones) + (gap is not None)
    start = top + ROW * (tallest - places) / 2 + ROW / 2
    ys = [start + ROW * (i + (gap is not None and i >= gap)) for i in range(len(shown_ones))]
    return _Column(shown_ones, x, ys, None if gap is None else start + ROW * gap)


def _edges(svg: Svg, weights: Array, before: _Column, after: _Column, largest: float) -> None:
    found = [
        (float(weights[i, j]), before.x, y1, after.x, y2)
        for i, y1 in zip(before.shown, before.ys, strict=True)
        for j, y2 in zip(after.shown, after.ys, strict=True)
    ]
    for weight, x1, y1, x2, y2 in sorted(found, key=lambda e: abs(e[0]) if np.isfinite(e[0]) else np.inf):
        svg.line(x1, y1, x2, y2, f"{weight:.6g}", class_="weight", stroke_linecap="round", **_stroke(weight, largest))


def _stroke(weight: float, largest: float) -> dict[str, Any]:
    """How a weight is drawn; one that is no number stands out."""
    if not np.isfinite(weight):
        return {"stroke": NO_NUMBER, "stroke_width": MAX_WIDTH, "stroke_dasharray": "3 6"}
    share = abs(weight) / largest
    return {
        "stroke": POSITIVE if weight >= 0 else NEGATIVE,
        "stroke_width": f"{0.4 + (MAX_WIDTH - 0.4) * share:.3g}",
        "stroke_opacity": f"{FAINTEST + (1 - FAINTEST) * share:.3g}",
    }


def _neurons(svg: Svg, column: _Column, biases: Array | None, names: Sequence[str], first: bool) -> None:
    largest = float(np.abs(biases[np.isfinite(biases)]).max(initial=0)) or 1.0 if biases is not None else 1.0
    for neuron, y in zip(column.shown, column.ys, strict=True):
        svg.circle(column.x, y, RADIUS, class_="neuron", fill="white", stroke=INK, stroke_width=1.3)
        if biases is not None:
            _bias(svg, column.x, y, float(biases[neuron]), largest)
        if neuron < len(names):
            away = -(RADIUS + 8) if first else RADIUS + 8
            svg.text(column.x + away, y + 4, str(names[neuron]), 12, text_anchor="end" if first else "start")
    if column.gap is not None:
        for shift in (-8, 0, 8):
            svg.circle(column.x, column.gap + shift, 1.8, fill=INK)


def _bias(svg: Svg, x: float, y: float, bias: float, largest: float) -> None:
    """A disc inside the neuron, its size and colour those of the bias."""
    share = min(abs(bias) / largest, 1.0) if np.isfinite(bias) else 1.0
    colour = NO_NUMBER if not np.isfinite(bias) else POSITIVE if bias >= 0 else NEGATIVE
    svg.circle(x, y, (RADIUS - 3) * share**0.5, f"bias {bias:.6g}", fill=colour, fill_opacity=0.75)


def _names(number: int, count: int, inputs: Sequence[str], outputs: Sequence[str]) -> Sequence[str]:
    return inputs if number == 0 else outputs if number == count - 1 else ()


def _caption(number: int, count: int, size: int) -> str:
    what = "input" if number == 0 else "output" if number == count - 1 else "hidden"
    return f"{what}, {size}"


def _legend(svg: Svg, largest: float) -> None:
    """The largest weight and a third of it, in both colours."""
    y = svg.height - 20
    samples = [-largest, -largest / 3, largest / 3, largest]
    step = min(92.0, (svg.width - EDGE) / len(samples))
    start = svg.width / 2 - step * len(samples) / 2
    for i, weight in enumerate(samples):
        x = start + step * i
        svg.line(x, y, x + 22, y, **_stroke(weight, largest))
        svg.text(x + 28, y + 4, f"{weight:.2g}", 11)
