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
from xml.etree import ElementTree as ET

import numpy as np

from graphflow import durable
from graphflow.errors import InvalidArgumentError, ShapeError, shown
from graphflow.render.raster import to_png

Array = np.ndarray[Any, Any]
POSITIVE, NEGATIVE, INK, PALE = "#0072b2", "#d55e00", "#333333", "#9a9a9a"
RADIUS, COLUMN, ROW, EDGE = 13.0, 150.0, 40.0, 40.0
MAX_WIDTH, FAINTEST = 5.0, 0.06
TITLE, FOOT = 34.0, 64.0
FONT = "DejaVu Sans, Helvetica, Arial, sans-serif"


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
    text, width, height = mlp_svg(_numbers(session, layers), inputs, outputs, title, max_neurons)
    durable.write_file(name, [text.encode() if kind == ".svg" else to_png(text, width, height)])
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
) -> tuple[str, float, float]:
    """The schematic as SVG text, and its width and height."""
    sizes = [layers[0].weights.shape[0], *[layer.weights.shape[1] for layer in layers]]
    tallest = max(min(size, max_neurons) for size in sizes)
    left, right = (EDGE + 7.5 * max([len(str(n)) for n in names] or [0]) for names in (inputs, outputs))
    top = EDGE / 2 + (TITLE if title else 0)
    height = top + ROW * tallest + FOOT
    width = left + right + COLUMN * (len(sizes) - 1) + 2 * RADIUS
    columns = [_column(size, max_neurons, left + RADIUS + COLUMN * i, top, tallest) for i, size in enumerate(sizes)]
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {height:g}",
                      width=f"{width:g}", height=f"{height:g}")  # fmt: skip
    root.set("font-family", FONT)
    if title:
        _text(root, width / 2, EDGE / 2 + 12, title, 15, "middle")
    largest = max([float(np.abs(layer.weights[np.isfinite(layer.weights)]).max(initial=0)) for layer in layers]) or 1.0
    for layer, before, after in zip(layers, columns, columns[1:], strict=False):
        _edges(root, layer.weights, before, after, largest)
    for number, column in enumerate(columns):
        biases = layers[number - 1].biases if number else None
        _neurons(root, column, biases, _names(number, len(columns), inputs, outputs), number == 0)
        _text(root, column.x, height - FOOT + 14, _caption(number, len(columns), sizes[number]), 11, "middle", PALE)
    _legend(root, largest, width, height)
    return ET.tostring(root, encoding="unicode"), width, height


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


def _edges(root: ET.Element, weights: Array, before: _Column, after: _Column, largest: float) -> None:
    found = [
        (float(weights[i, j]), before.x, y1, after.x, y2)
        for i, y1 in zip(before.shown, before.ys, strict=True)
        for j, y2 in zip(after.shown, after.ys, strict=True)
    ]
    group = ET.SubElement(root, "g", {"stroke-linecap": "round"})
    for weight, x1, y1, x2, y2 in sorted(found, key=lambda e: abs(e[0]) if np.isfinite(e[0]) else np.inf):
        line = ET.SubElement(group, "line", x1=f"{x1:g}", y1=f"{y1:g}", x2=f"{x2:g}", y2=f"{y2:g}")
        for key, value in _stroke(weight, largest).items():
            line.set(key, value)
        ET.SubElement(line, "title").text = f"{weight:.6g}"


def _stroke(weight: float, largest: float) -> dict[str, str]:
    """How a weight is drawn; one that is no number stands out."""
    if not np.isfinite(weight):
        return {"stroke": "#ff0000", "stroke-width": f"{MAX_WIDTH:g}", "stroke-dasharray": "3 6"}
    share = abs(weight) / largest
    return {
        "stroke": POSITIVE if weight >= 0 else NEGATIVE,
        "stroke-width": f"{0.4 + (MAX_WIDTH - 0.4) * share:.3g}",
        "stroke-opacity": f"{FAINTEST + (1 - FAINTEST) * share:.3g}",
    }


def _neurons(root: ET.Element, column: _Column, biases: Array | None, names: Sequence[str], first: bool) -> None:
    largest = float(np.abs(biases[np.isfinite(biases)]).max(initial=0)) or 1.0 if biases is not None else 1.0
    for neuron, y in zip(column.shown, column.ys, strict=True):
        circle = ET.SubElement(root, "circle", cx=f"{column.x:g}", cy=f"{y:g}", r=f"{RADIUS:g}", fill="white")
        circle.set("stroke", INK)
        circle.set("stroke-width", "1.3")
        if biases is not None:
            _bias(root, column.x, y, float(biases[neuron]), largest)
        if neuron < len(names):
            away = -(RADIUS + 8) if first else RADIUS + 8
            _text(root, column.x + away, y + 4, str(names[neuron]), 12, "end" if first else "start")
    if column.gap is not None:
        for shift in (-8, 0, 8):
            ET.SubElement(root, "circle", cx=f"{column.x:g}", cy=f"{column.gap + shift:g}", r="1.8", fill=INK)


def _bias(root: ET.Element, x: float, y: float, bias: float, largest: float) -> None:
    """A disc inside the neuron, its size and colour those of the bias."""
    share = min(abs(bias) / largest, 1.0) if np.isfinite(bias) else 1.0
    colour = "#ff0000" if not np.isfinite(bias) else POSITIVE if bias >= 0 else NEGATIVE
    disc = ET.SubElement(root, "circle", cx=f"{x:g}", cy=f"{y:g}", r=f"{(RADIUS - 3) * share**0.5:.3g}", fill=colour)
    disc.set("fill-opacity", "0.75")
    ET.SubElement(disc, "title").text = f"bias {bias:.6g}"


def _names(number: int, count: int, inputs: Sequence[str], outputs: Sequence[str]) -> Sequence[str]:
    return inputs if number == 0 else outputs if number == count - 1 else ()


def _caption(number: int, count: int, size: int) -> str:
    what = "input" if number == 0 else "output" if number == count - 1 else "hidden"
    return f"{what}, {size}"


def _legend(root: ET.Element, largest: float, width: float, height: float) -> None:
    """The largest weight and a third of it, in both colours."""
    y = height - 20
    samples = [-largest, -largest / 3, largest / 3, largest]
    step = min(92.0, (width - EDGE) / len(samples))
    start = width / 2 - step * len(samples) / 2
    for i, weight in enumerate(samples):
        x = start + step * i
        line = ET.SubElement(root, "line", x1=f"{x:g}", y1=f"{y:g}", x2=f"{x + 22:g}", y2=f"{y:g}")
        for key, value in _stroke(weight, largest).items():
            line.set(key, value)
        _text(root, x + 28, y + 4, f"{weight:.2g}", 11, "start", INK)


def _text(root: ET.Element, x: float, y: float, text: str, size: int, anchor: str, colour: str = INK) -> None:
    node = ET.SubElement(root, "text", {"x": f"{x:g}", "y": f"{y:g}", "font-size": str(size), "text-anchor": anchor})
    node.set("fill", colour)
    node.text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
