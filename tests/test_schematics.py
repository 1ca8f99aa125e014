"""`gf.draw_mlp`: every weight is an edge of its width, colour and darkness."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.render import raster
from graphflow.render.svg import visible

SVG = "{http://www.w3.org/2000/svg}"


def drawn(path: Path) -> ET.Element:
    return ET.parse(path).getroot()


def edges(root: ET.Element) -> list[ET.Element]:
    return [line for line in root.findall(f"{SVG}line") if line.get("class") == "weight"]


def texts(root: ET.Element) -> list[str]:
    return [t.text or "" for t in root.iter(f"{SVG}text")]


def test_edges_are_the_weights_of_the_session(tmp_path: Path) -> None:
    first = np.array([[1.0, -2.0, 0.5], [0.0, 4.0, -0.25]], np.float32)
    second = np.array([[1.0], [2.0], [-4.0]], np.float32)
    w1, w2, b2 = tf.Variable(first), tf.Variable(second), tf.Variable([0.5])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        name = tf.draw_mlp(
            sess, [w1, (w2, b2)], tmp_path / "net.svg", inputs=["a", "b"], outputs=["yes"], title="A net"
        )
    root = drawn(tmp_path / "net.svg")
    assert name == str(tmp_path / "net.svg")
    weights = {float(line.findtext(f"{SVG}title") or "nan"): line for line in edges(root)}
    assert sorted(weights) == sorted({*first.ravel().tolist(), *second.ravel().tolist()})
    assert len(edges(root)) == first.size + second.size
    assert weights[4.0].get("stroke") == weights[0.5].get("stroke") != weights[-4.0].get("stroke")
    for kind in ("stroke-width", "stroke-opacity"):
        sizes = [float(weights[w].get(kind, "nan")) for w in (0.0, -0.25, 0.5, 1.0, -2.0, 4.0)]
        assert sizes == sorted(sizes) and len(set(sizes)) == 6
        assert weights[4.0].get(kind) == weights[-4.0].get(kind)
    assert {"a", "b", "yes", "A net", "input, 2", "hidden, 3", "output, 1"} <= set(texts(root))
    assert [t.text for t in root.iter(f"{SVG}title") if (t.text or "").startswith("bias")] == ["bias 0.5"]


def test_columns_do_not_overlap_and_edges_end_at_neurons(tmp_path: Path) -> None:
    r = np.random.default_rng(1)
    tf.draw_mlp(None, [r.normal(size=(3, 5)), r.normal(size=(5, 2))], tmp_path / "net.svg")
    root = drawn(tmp_path / "net.svg")
    neurons = [
        (float(c.get("cx", "")), float(c.get("cy", "")))
        for c in root.findall(f"{SVG}circle")
        if c.get("class") == "neuron"
    ]
    assert len(neurons) == 10
    assert all(math.dist(a, b) > 26 for i, a in enumerate(neurons) for b in neurons[:i])
    ends = {(float(e.get(f"x{n}", "")), float(e.get(f"y{n}", ""))) for e in edges(root) for n in (1, 2)}
    assert ends == set(neurons)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert all(0 < x < width and 0 < y < height for x, y in neurons)


def test_of_many_neurons_the_first_and_the_last_are_drawn(tmp_path: Path) -> None:
    weights = np.arange(784 * 10, dtype=float).reshape(784, 10)
    tf.draw_mlp(None, [weights], tmp_path / "net.svg", max_neurons=6)
    root = drawn(tmp_path / "net.svg")
    shown = sorted(float(e.findtext(f"{SVG}title") or "nan") for e in edges(root))
    rows, columns = [0, 1, 2, 782, 783], [0, 1, 2, 8, 9]
    np.testing.assert_allclose(shown, np.sort(weights[np.ix_(rows, columns)].ravel()), rtol=1e-5)
    assert {"input, 784", "output, 10"} <= set(texts(root))


def test_what_is_no_number_stands_out(tmp_path: Path) -> None:
    tf.draw_mlp(None, [([[np.nan, 1.0]], [np.inf, 0.0])], tmp_path / "net.svg")
    (bad,) = [e for e in edges(drawn(tmp_path / "net.svg")) if e.get("stroke") == "#ff0000"]
    assert bad.findtext(f"{SVG}title") == "nan"
    tf.draw_mlp(None, [[[0.0, 0.0]]], tmp_path / "net.svg")
    assert len(edges(drawn(tmp_path / "net.svg"))) == 2


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = '</text><script>alert("1")</script>\x00&amp;'
    tf.draw_mlp(None, [[[1.0]]], tmp_path / "net.svg", inputs=[name], title=name)
    root = drawn(tmp_path / "net.svg")
    assert not list(root.iter(f"{SVG}script"))
    assert texts(root).count(visible(name)) == 2


def test_a_png(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    for name in ("a.png", "b.png"):
        tf.draw_mlp(None, [np.ones((2, 3))], tmp_path / name, title="A net")
    data = (tmp_path / "a.png").read_bytes()
    assert data[:4] == b"\x89PNG" and data == (tmp_path / "b.png").read_bytes()


MISTAKES: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ([], {}, tf.errors.InvalidArgumentError, "a list of weights"),
    ("net", {}, tf.errors.InvalidArgumentError, "a list of weights"),
    ([np.zeros(3)], {}, tf.errors.ShapeError, "layer 1 do not fit"),
    ([np.zeros((2, 3)), np.zeros((4, 1))], {}, tf.errors.ShapeError, r"\[3, neurons after\]"),
    ([(np.zeros((2, 3)), np.zeros(2))], {}, tf.errors.ShapeError, "biases of layer 1"),
    ([[["a"]]], {}, tf.errors.InvalidArgumentError, "no real numbers"),
    ([np.zeros((2, 3))], {"max_neurons": 2}, tf.errors.InvalidArgumentError, "3 or more"),
]


@pytest.mark.parametrize(("layers", "options", "kind", "words"), MISTAKES)
def test_mistakes(layers: Any, options: dict[str, Any], kind: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=words):
        tf.draw_mlp(None, layers, tmp_path / "net.svg", **options)
    assert list(tmp_path.iterdir()) == []


def test_variables_need_a_session_and_files_an_ending(tmp_path: Path) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="in a session"):
        tf.draw_mlp(None, [tf.Variable(np.zeros((2, 2)))], tmp_path / "net.svg")
    with pytest.raises(tf.errors.InvalidArgumentError, match="ending says"):
        tf.draw_mlp(None, [np.zeros((2, 2))], tmp_path / "net.bmp")


def test_without_resvg_and_without_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(tf.errors.UnavailableError, match="pip install resvg_py"):
        tf.draw_mlp(None, [np.zeros((2, 2))], tmp_path / "net.png")
    monkeypatch.undo()
    monkeypatch.setattr(raster.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(raster, "SYSTEM_FONTS", ())
    pytest.importorskip("resvg_py")
    with pytest.raises(tf.errors.UnavailableError, match="no font"):
        tf.draw_mlp(None, [np.zeros((2, 2))], tmp_path / "net.png")
