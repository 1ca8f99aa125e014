"""Logistic regression twice: by hand in NumPy, where each line computes at once, and as a graph.

By hand, somebody has to derive the gradient and write it down: from the Bernoulli likelihood follows dL/dz = a - y,
and from that dL/dw_j = (a - y) x_j.  The graph derives it.  Both are trained by stochastic gradient descent on the same
batches, from the same start, in float64, and end with the same parameters.  A graph also computes a factor that
several derivatives share once: that is counted.  `--pictures FOLDER` draws the line that separates the species.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

import graphflow as tf
from graphflow import plot
from graphflow.demo import iris

RATE, BATCH = 0.1, 10


def data():
    """Two species that overlap: versicolor (0) and virginica (1)."""
    flowers = iris.load()
    chosen = flowers.species > 0
    x = flowers.petals[chosen].astype(np.float64)
    return (x - x.mean(axis=0)) / x.std(axis=0), (flowers.species[chosen] - 1).astype(np.float64)


def batches(count, epochs):
    """The same batches for both."""
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(count)
        yield from (order[i : i + BATCH] for i in range(0, count, BATCH))


def train_by_hand(x, y, epochs):
    """Greedy: every line is computed when it is reached."""
    theta, bias = np.zeros(x.shape[1]), 0.0
    for rows in batches(len(x), epochs):
        a = 1.0 / (1.0 + np.exp(-(np.dot(x[rows], theta) + bias)))
        dz = (a - y[rows]) / len(rows)
        theta -= RATE * np.dot(x[rows].T, dz)
        bias -= RATE * dz.sum()
    return theta, bias


def build(features):
    """Lazy: nothing is computed here."""
    x = tf.placeholder(tf.float64, [None, features], name="x")
    y = tf.placeholder(tf.float64, [None], name="y")
    w = tf.Variable(tf.zeros([features, 1], dtype=tf.float64), name="w")
    b = tf.Variable(tf.zeros([], dtype=tf.float64), name="b")
    z = tf.reshape(tf.matmul(x, w), [-1]) + b
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=z))
    return x, y, w, b, z, loss


def draw(folder, likelihood, inputs, labels):
    """The two regions, and how sure the model is over the plane."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    limits = np.stack([inputs.min(axis=0) - 0.5, inputs.max(axis=0) + 0.5], axis=1)
    plot.sheet(
        Path(folder) / "03_regions.png",
        partial(plot.regions, likelihood, inputs, labels, names=iris.SPECIES[1:], title="Logistic regression"),
        partial(plot.surface, likelihood, limits, points=inputs, title="How likely virginica is"),
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="train for 20 epochs instead of 200")
    options.add_argument("--pictures", metavar="FOLDER", help="write a picture into this folder")
    arguments = options.parse_args()
    epochs = 20 if arguments.quick else 200

    inputs, labels = data()
    theta, bias = train_by_hand(inputs, labels, epochs)

    x, y, w, b, z, loss = build(inputs.shape[1])
    update = tf.train.GradientDescentOptimizer(RATE).minimize(loss)
    dz, dw, db = tf.gradients(loss, [z, w, b])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        everything = {x: inputs, y: labels}
        slope, a = session.run([dz, tf.sigmoid(z)], feed_dict=everything)
        print(f"dL/dz = a - y to {np.max(np.abs(slope * len(labels) - (a - labels))):.1e}")
        assert np.allclose(slope * len(labels), a - labels, rtol=0, atol=1e-15)

        shared = len(session.program([dw, db], everything).instructions)
        apart = [len(session.program(one, everything).instructions) for one in (dw, db)]
        print(f"instructions for dw alone {apart[0]}, for db alone {apart[1]}, for both together {shared}")
        assert shared < sum(apart)

        for rows in batches(len(inputs), epochs):
            session.run(update, feed_dict={x: inputs[rows], y: labels[rows]})
        found_w, found_b, final, a = session.run([w, b, loss, tf.sigmoid(z)], feed_dict=everything)
        if arguments.pictures:
            draw(arguments.pictures, lambda points: session.run(tf.sigmoid(z), feed_dict={x: points}), inputs, labels)
    print(f"by hand   w = {theta}, b = {bias:.12f}")
    print(f"by graph  w = {found_w.ravel()}, b = {found_b:.12f}")
    right = np.mean((a > 0.5) == (labels == 1))
    print(f"loss {final:.4f}, and {right:.0%} of the flowers on the right side")
    assert np.allclose(found_w.ravel(), theta, rtol=1e-10) and np.isclose(found_b, bias, rtol=1e-10)
    assert right >= 0.9


if __name__ == "__main__":
    main()
