"""A perceptron learns AND and OR and cannot learn XOR; two multilayer perceptrons can.

The perceptron's rule: w := 0, and for each example the answer is step(x . w), the error is y - answer (-1, 0 or 1),
and w += error * x.  If an epoch passes without an error it has converged, and it does so whenever a straight line
separates the classes.  No line separates those of XOR.
"""

import argparse

import numpy as np

import graphflow as tf

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
    """Train a perceptron of these hidden layers on XOR; its answers at the corners and over a grid of points."""
    with tf.Graph().as_default(), tf.Session() as session:
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
        across, up = np.meshgrid(np.linspace(-0.5, 1.5, 37), np.linspace(1.5, -0.5, 19))
        plane = np.stack([across, up], axis=-1).reshape(-1, 2)
        answer = tf.sigmoid(logits)
        at_corners, over_plane = (session.run(answer, feed_dict={x: points}) for points in (CORNERS, plane))
        return at_corners.ravel(), over_plane.reshape(across.shape)


def drawn(answers):
    """The region of answers above one half, as lines of text; 0 and 1 mark the corners with their labels."""
    rows = [["#" if a > 0.5 else "." for a in row] for row in answers]
    for (across, up), label in zip(CORNERS, TRUTH["XOR"], strict=True):
        rows[round((1.5 - up) * 9)][round((across + 0.5) * 18)] = str(label)
    return ["".join(row) for row in rows]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="train for 300 steps instead of 1000")
    steps = 300 if options.parse_args().quick else 1000

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
    pictures = []
    for widths, activation in (([4], tf.tanh), ([8, 8], tf.nn.relu)):
        at_corners, over_plane = mlp(widths, activation, steps, seed=1)
        assert np.array_equal(at_corners > 0.5, np.array(TRUTH["XOR"]) == 1), at_corners
        pictures.append(drawn(over_plane))
    print(f"{'one hidden layer of 4, tanh':<40} two hidden layers of 8, ReLU")
    for left, right in zip(*pictures, strict=True):
        print(f"{left:<40} {right}")
    assert pictures[0] != pictures[1]


if __name__ == "__main__":
    main()
