"""`gf.plot`: what stands in the pictures, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import plot

pytest.importorskip("matplotlib")

POINTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0, 1, 1, 0])


def axes() -> Any:
    from matplotlib.figure import Figure

    return Figure().subplots()


def test_regions_are_the_models_answers() -> None:
    ax = axes()
    seen: list[Any] = []

    def predict(points: Any) -> Any:
        seen.append(points)
        return (points[:, 0] > 0.5) != (points[:, 1] > 0.5)

    plot.regions(predict, POINTS, XOR, ax=ax, names=("same", "different"), held_out=(POINTS[:1] + 0.1, [0]))
    (plane,) = seen
    assert plane.shape == (plot.GRID**2, 2)
    assert (plane.min(axis=0) < 0).all() and (plane.max(axis=0) > 1).all()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["same", "different", "held out"]
    assert sum(len(c.get_offsets()) for c in ax.collections if hasattr(c, "get_sizes") and len(c.get_sizes())) == 5


@pytest.mark.parametrize(
    "answers",
    [
        lambda p: (p[:, 0] > 0.5).astype(int),
        lambda p: p[:, 0] > 0.5,
        lambda p: np.stack([1 - p[:, 0], p[:, 0]], 1),
        lambda p: np.where(p[:, 0] > 0.5, 0.9, 0.1),
        lambda p: np.where(p[:, :1] > 0.5, 0.9, 0.1),
    ],
    ids=["numbers", "flags", "scores", "one score", "one score, a column"],
)
def test_answers_of_many_kinds(answers: Any) -> None:
    grid = plot._plane(np.array([[0.0, 1.0], [0.0, 1.0]]))[2]
    assert (plot._classes(answers(grid), len(grid)) == (grid[:, 0] > 0.5)).all()


def test_a_surface_is_drawn_where_it_is_a_number() -> None:
    ax = axes()
    with np.errstate(all="ignore"):
        plot.surface(lambda p: np.log(p[:, 0]) + p[:, 1] ** 2, ((-1, 1), (0, 2)), ax=ax, points=[[0.5, 1.0]])
    mesh = ax.collections[0]
    assert mesh.get_array().mask.any() and not mesh.get_array().mask.all()
    assert ax.get_xlim() == (-1, 1) and ax.get_ylim() == (0, 2)


def test_curves_by_step_and_by_epoch() -> None:
    ax = axes()
    losses = np.geomspace(1.0, 0.001, 40)
    plot.curves({"train": losses}, ax=ax, steps_per_epoch=8)
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "epoch"
    each, means = ax.get_lines()
    assert len(each.get_xdata()) == 40 and list(means.get_xdata()) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(means.get_ydata(), losses.reshape(5, 8).mean(axis=1))
    other = axes()
    plot.curves([3.0, 2.0, 2.5], ax=other)
    assert other.get_yscale() == "linear" and list(other.get_lines()[0].get_ydata()) == [3.0, 2.0, 2.5]


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    for kind in plot.FORMATS:
        first, second = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
        for path in (first, second):
            plot.sheet(
                path,
                partial(plot.curves, [2.0, 1.0]),
                partial(plot.regions, lambda p: p[:, 0] > 0.5, POINTS, XOR),
                partial(plot.surface, lambda p: p.sum(1), ((0, 1), (0, 1))),
            )
        assert first.read_bytes() == second.read_bytes()
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    name = '</svg><script>alert("x")</script>&'
    plot.curves({name: [1.0, 2.0], "b": [2.0, 1.0]}, tmp_path / "a.svg", title=name)
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert not [e for e in root.iter() if e.tag.rpartition("}")[2] == "script"]


def test_mistakes(tmp_path: Path) -> None:
    def always(points: Any) -> Any:
        return np.zeros(len(points), int)

    with pytest.raises(tf.errors.InvalidArgumentError, match="ending says"):
        plot.curves([1.0], tmp_path / "a.bmp")
    with pytest.raises(tf.errors.InvalidArgumentError, match="a path to write to"):
        plot.curves([1.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="no curve"):
        plot.curves({}, tmp_path / "a.png")
    with pytest.raises(tf.errors.ShapeError, match="a sequence of numbers"):
        plot.curves([[1.0]], tmp_path / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="a sequence of numbers"):
        plot.curves(["a"], tmp_path / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 or more"):
        plot.curves([1.0], tmp_path / "a.png", steps_per_epoch=0)
    with pytest.raises(tf.errors.ShapeError, match="points"):
        plot.regions(always, np.zeros((3, 3)), [0, 0, 0], tmp_path / "a.png")
    with pytest.raises(tf.errors.ShapeError, match="one class for each point"):
        plot.regions(always, POINTS, [0, 1], tmp_path / "a.png")
    with pytest.raises(tf.errors.ShapeError, match="one class for each point"):
        plot.regions(lambda p: 1, POINTS, XOR, tmp_path / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="numbers from 0"):
        plot.regions(always, POINTS, XOR - 1, tmp_path / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="x_low"):
        plot.surface(always, ((1, 0), (0, 1)), tmp_path / "a.png")
    with pytest.raises(tf.errors.ShapeError, match="one number for each point"):
        plot.surface(lambda p: p, ((0, 1), (0, 1)), tmp_path / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="one drawing or more"):
        plot.sheet(tmp_path / "a.png")
    with pytest.raises(tf.errors.InvalidArgumentError, match="made of drawings"):
        plot.sheet(tmp_path / "a.png", 3)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(tf.errors.UnavailableError, match="pip install matplotlib"):
        plot.curves([1.0, 2.0], tmp_path / "a.png")
