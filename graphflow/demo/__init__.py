"""`python -m graphflow demo`: the lecture's multilayer perceptron, built, trained, measured and drawn.

Policy: a reader's first contact, so it needs no network and no screen, ends within seconds, and every number it
prints is measured in this very run.

State: none.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import graphflow as tf
from graphflow import durable, render
from graphflow.demo import iris, pictures
from graphflow.demo.iris import Flowers

PACKAGES = {"graphviz": "graphviz", "matplotlib": "matplotlib", "tqdm": "tqdm"}  # what to import: what to install
GRAPH_FILE, TRAINING_FILE = "graphflow_demo_graph.png", "graphflow_demo_training.png"
HIDDEN, BATCH, RATE = 8, 20, 0.02
SHOWN = 5  # rows of the table after the first


class Model(NamedTuple):
    """The tensors and ops of the perceptron that a program needs to hold on to."""

    graph: Any
    x: Any
    y: Any
    output: Any
    loss: Any
    train: Any
    init: Any


class Row(NamedTuple):
    """How good the network is after so many epochs."""

    epoch: int
    loss: float
    trained_on: float
    held_out: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--quick", action="store_true", help="train for 40 epochs instead of 300")
    parser.add_argument("--out", metavar="DIR", default=".", help="folder for the two pictures (default: this one)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the split and of the weights (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    """Do everything, and say where the pictures are."""
    render.layout_program()  # before any work: it would be a pity to find it missing at the end
    folder = durable.text_path(arguments.out)
    _make_folder(folder)
    rng = np.random.default_rng(abs(arguments.seed))
    flowers = iris.load()
    train, test = iris.split(flowers, rng)
    print(f"graphflow {tf.__version__}: a multilayer perceptron learns Fisher's Iris data of 1936")
    print(f"{len(flowers.species)} flowers of {len(iris.SPECIES)} species, by {' and '.join(iris.FEATURES)}: ", end="")
    print(f"{len(train.species)} to train on, {len(test.species)} to test on\n", flush=True)

    model = build(arguments.seed)
    epochs = 40 if arguments.quick else 300
    with tf.Session(graph=model.graph) as session:
        predict = predictor(session, model, train)
        rows, losses, seconds = fit(session, model, train, test, epochs, rng, predict)
        print(f"\n{table(rows)}\n\n{by_species(test, predict)}\n\n{len(losses)} steps in {seconds:.2f} s\n")
        training_file = os.path.abspath(os.path.join(folder, TRAINING_FILE))
        pictures.training(training_file, losses, len(losses) // epochs, train, test, predict)
    graph_file = os.path.abspath(os.path.join(folder, GRAPH_FILE))
    render.write(model.graph, graph_file)
    print(f"the graph, {len(model.graph)} ops: {graph_file}\nloss and regions:   {training_file}")
    return 0


def build(seed: int) -> Model:
    """The lecture's program: two sigmoid layers, the mean squared error, Adam."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(seed)
        x = tf.placeholder(tf.float32, [None, len(iris.FEATURES)], name="x")
        y = tf.placeholder(tf.float32, [None, len(iris.SPECIES)], name="y")
        with tf.name_scope("hidden"):
            w1 = tf.Variable(tf.random_normal([len(iris.FEATURES), HIDDEN]), name="w1")
            b1 = tf.Variable(tf.zeros([HIDDEN]), name="b1")
            layer_1 = tf.sigmoid(tf.add(tf.matmul(x, w1), b1))
        with tf.name_scope("output"):
            w2 = tf.Variable(tf.random_normal([HIDDEN, len(iris.SPECIES)]), name="w2")
            b2 = tf.Variable(tf.zeros([len(iris.SPECIES)]), name="b2")
            layer_2 = tf.sigmoid(tf.add(tf.matmul(layer_1, w2), b2))
        with tf.name_scope("loss"):
            loss = tf.reduce_mean(tf.square(tf.subtract(layer_2, y)))
        train = tf.train.AdamOptimizer(learning_rate=RATE).minimize(loss)
        return Model(graph, x, y, layer_2, loss, train, tf.global_variables_initializer())


def predictor(session: Any, model: Model, train: Flowers) -> Callable[[Any], Any]:
    """A function from petals in cm to species; the network sees lengths standardised by the training data."""

    def predict(petals: Any) -> Any:
        return session.run(model.output, feed_dict={model.x: standardised(petals, train)}).argmax(axis=1)

    return predict


def standardised(petals: Any, train: Flowers) -> Any:
    """Lengths with mean 0 and standard deviation 1 over the training data."""
    return (petals - train.petals.mean(axis=0)) / train.petals.std(axis=0)


def fit(
    session: Any, model: Model, train: Flowers, test: Flowers, epochs: int, rng: np.random.Generator, predict: Any
) -> tuple[list[Row], list[float], float]:
    """Train with a progress bar; the rows of the table, the loss of every step, and the seconds that steps took."""
    from tqdm import tqdm

    x, y = standardised(train.petals, train), np.eye(len(iris.SPECIES), dtype=np.float32)[train.species]
    session.run(model.init)
    rows: list[Row] = []
    losses: list[float] = []
    seconds = 0.0

    def note(epoch: int) -> None:
        loss = float(session.run(model.loss, feed_dict={model.x: x, model.y: y}))
        rows.append(Row(epoch, loss, accuracy(train, predict), accuracy(test, predict)))

    note(0)
    for epoch in tqdm(range(1, epochs + 1), desc="training", unit="epoch"):
        order = rng.permutation(len(x))
        start = time.perf_counter()
        for first in range(0, len(x), BATCH):
            batch = order[first : first + BATCH]
            _, loss = session.run([model.train, model.loss], feed_dict={model.x: x[batch], model.y: y[batch]})
            losses.append(float(loss))
        seconds += time.perf_counter() - start
        if epoch % (epochs // SHOWN) == 0:
            note(epoch)
    return rows, losses, seconds


def accuracy(flowers: Flowers, predict: Callable[[Any], Any]) -> float:
    """The part of the flowers whose species is told right."""
    return float(np.mean(predict(flowers.petals) == flowers.species))


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = ["  epoch    loss   right (trained on)   right (held out)"]
    lines += [f"{r.epoch:7d}  {r.loss:6.4f}  {r.trained_on:18.0%}  {r.held_out:17.0%}" for r in rows]
    return "\n".join(lines)


def by_species(test: Flowers, predict: Callable[[Any], Any]) -> str:
    """What became of the held-out flowers of each species."""
    found = predict(test.petals)
    lines = ["  held out     told as " + "".join(f"{name:>12}" for name in iris.SPECIES)]
    for i, name in enumerate(iris.SPECIES):
        counts = np.bincount(found[test.species == i], minlength=len(iris.SPECIES))
        lines.append(f"  {name:<20} " + "".join(f"{n:12d}" for n in counts))
    return "\n".join(lines)


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise durable.os_error(error, folder, "make the folder") from None
