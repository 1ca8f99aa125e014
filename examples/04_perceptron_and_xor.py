"""A perceptron learns AND and OR and cannot learn XOR; two multilayer perceptrons can.

The perceptron's rule: w := 0, and for each example the answer is step(x . w), the error is y - answer (-1, 0 or 1),
and w += error * x.  If an epoch passes without an error it has converged, and it does so whenever a straight line
separates the classes.  No line separates those of XOR.

A network can also be set by hand: nine numbers choose two lines, and that only what lies below both counts.
`--pictures FOLDER` draws the regions of all three.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

import graphflow as tf
from graphflow import plot

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
TRUTH = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}
MAX_EPOCHS = 50


def perceptron(labels):
    """The weights (the last one is the bias's), and the epoch that passed without an error, or None."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [3], name="x")
        y = tf.placeholder(tf.float32, [], name="y")
        w = tf.Variable(tf.zeros([3]), name="w")
        answer = tf.cast(tf.reduce_sum(x * w) > 0, tf.float32)
        error = y - answer
        learn = tf.assign_add(w, error * x)
        session.run(tf.global_variables_initializer())
        for epoch in range(1, MAX_EPOCHS + 1):
            errors = 0
            for corner, label in zip(CORNERS, labels, strict=True):
                found, _ = session.run([error, learn], feed_dict={x: [*corner, 1.0], y: label})
                assert found in (-1.0, 0.0, 1.0)
                errors += found != 0
            if errors == 0:
                return session.run(w), epoch
        return session.run(w), None


def mlp(widths, activation, steps, seed):
    """Train a perceptron of these hidden layers on XOR; a function from points to its answers."""
    session = tf.Session(graph=tf.Graph())
    with session.graph.as_default():
        tf.set_random_seed(seed)
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        y = tf.placeholder(tf.float32, [None, 1], name="y")
        layer, size = x, 2
        for i, width in enumerate(widths):
            with tf.name_scope(f"hidden_{i + 1}"):
                w = tf.Variable(tf.random_normal([size, width]), name="w")
                b = tf.Variable(tf.random_normal([width]), name="b")
                layer, size = activation(tf.matmul(layer, w) + b), width
        w = tf.Variable(tf.random_normal([size, 1]), name="w_out")
        logits = tf.matmul(layer, w) + tf.Variable(tf.zeros([1]), name="b_out")
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))
        train = tf.train.AdamOptimizer(0.05).minimize(loss)
        session.run(tf.global_variables_initializer())
        labels = np.array(TRUTH["XOR"], np.float32)[:, None]
        for _ in range(steps):
            session.run(train, feed_dict={x: CORNERS, y: labels})
        answer = tf.sigmoid(logits)
    return lambda points: session.run(answer, feed_dict={x: points}).ravel()


def set_by_hand():
    """The network whose weights somebody chose: both hidden neurons must answer 1 for the output to exceed 1/2."""
    session = tf.Session(graph=tf.Graph())
    with session.graph.as_default():
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        hidden = tf.sigmoid(tf.add(tf.matmul(x, [[-7.0, 4.0], [-5.0, -5.0]]), [60.0, -5.0]))
        answer = tf.sigmoid(tf.matmul(hidden, [[7.0], [7.0]]) - 9.0)
    return lambda points: session.run(answer, feed_dict={x: points}).ravel()


def drawn(answers):
    """The region of answers above one half, as lines of text; 0 and 1 mark the corners with their labels."""
    across, up = np.meshgrid(np.linspace(-0.5, 1.5, 37), np.linspace(1.5, -0.5, 19))
    over_plane = answers(np.stack([across, up], axis=-1).reshape(-1, 2)).reshape(across.shape)
    rows = [["#" if a > 0.5 else "." for a in row] for row in over_plane]
    for (across, up), label in zip(CORNERS, TRUTH["XOR"], strict=True):
        rows[round((1.5 - up) * 9)][round((across + 0.5) * 18)] = str(label)
    return ["".join(row) for row in rows]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="train for 300 steps instead of 1000")
    options.add_argument("--pictures", metavar="FOLDER", help="write a picture into this folder")
    arguments = options.parse_args()
    steps = 300 if arguments.quick else 1000

    for name, labels in TRUTH.items():
        w, epoch = perceptron(labels)
        print(f"{name:>4}: w = {w[:2]}, bias {w[2]:g}: ", end="")
        print(f"no error in epoch {epoch}" if epoch else f"still wrong after {MAX_EPOCHS} epochs")
        assert (epoch is None) == (name == "XOR")
        if epoch:
            foot = -w[2] * w[:2] / (w[:2] @ w[:2])  # the point of the boundary that is nearest to the origin
            along = np.array([-w[1], w[0]])  # perpendicular to w
            assert all(abs((foot + t * along) @ w[:2] + w[2]) < 1e-6 for t in (-2.0, 0.5, 3.0))

    print("\nXOR by two multilayer perceptrons, # where the answer is above one half:\n")
    models = {
        "one hidden layer of 4, tanh": mlp([4], tf.tanh, steps, seed=1),
        "two hidden layers of 8, ReLU": mlp([8, 8], tf.nn.relu, steps, seed=1),
    }
    for answers in models.values():
        assert np.array_equal(answers(CORNERS) > 0.5, np.array(TRUTH["XOR"]) == 1), answers(CORNERS)
    pictures = [drawn(answers) for answers in models.values()]
    print(f"{'one hidden layer of 4, tanh':<40} two hidden layers of 8, ReLU")
    for left, right in zip(*pictures, strict=True):
        print(f"{left:<40} {right}")
    assert pictures[0] != pictures[1]

    by_hand = set_by_hand()
    points = np.random.default_rng(0).uniform(0, 12, [200, 2]).astype(np.float32)
    below_both = (-7 * points[:, 0] - 5 * points[:, 1] + 60 > 0) & (4 * points[:, 0] - 5 * points[:, 1] - 5 > 0)
    agreed = np.mean((by_hand(points) > 0.5) == below_both)
    print(f"\nset by hand: 1 between two lines, as {agreed:.0%} of 200 points say")
    assert agreed > 0.95

    if arguments.pictures:
        folder = Path(arguments.pictures)
        folder.mkdir(parents=True, exist_ok=True)
        plot.sheet(
            folder / "04_regions.png",
            *[partial(plot.regions, f, CORNERS, TRUTH["XOR"], title=f"XOR: {name}") for name, f in models.items()],
            partial(plot.regions, by_hand, points, below_both, title="Set by hand: between two lines"),
        )


if __name__ == "__main__":
    main()
