"""A multilayer perceptron as a TensorFlow 1 lecture writes it; only the import is another.

The data are Fisher's irises, with all three species and two lengths.  What the program claims is checked at the end:
the first losses are those of the same training written by hand in NumPy, and most held-out flowers are told right.
`--pictures FOLDER` draws the graph, the training with what was learned, and the network with its weights.
"""

import argparse

import numpy as np

import graphflow as tf
from graphflow.demo import iris

options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
options.add_argument("--quick", action="store_true", help="train for 60 epochs instead of 300")
options.add_argument("--pictures", metavar="FOLDER", help="write three pictures into this folder")
arguments = options.parse_args()

# -- data ----------------------------------------------------------------------------------------------------------
train, test = iris.split(iris.load(), np.random.default_rng(0))
mean, deviation = train.petals.mean(axis=0), train.petals.std(axis=0)
inputs, held_out = (train.petals - mean) / deviation, (test.petals - mean) / deviation
labels = np.eye(3, dtype=np.float32)[train.species]

# -- the lecture's program -----------------------------------------------------------------------------------------
n_in, n_h, n_out = 2, 10, 3
learning_rate, batch_size, n_epochs = 0.02, 20, 60 if arguments.quick else 300

tf.set_random_seed(0)
X = tf.placeholder(tf.float32, [None, n_in])
Y = tf.placeholder(tf.float32, [None, n_out])
w1 = tf.Variable(tf.random_normal([n_in, n_h]))
b1 = tf.Variable(tf.random_normal([n_h]))
w2 = tf.Variable(tf.random_normal([n_h, n_out]))
b2 = tf.Variable(tf.random_normal([n_out]))

layer_1 = tf.sigmoid(tf.add(tf.matmul(X, w1), b1))
layer_2 = tf.sigmoid(tf.add(tf.matmul(layer_1, w2), b2))

loss_op = tf.reduce_mean(tf.square(tf.subtract(layer_2, Y)))
optimizer = tf.train.AdamOptimizer(learning_rate=learning_rate)
train_op = optimizer.minimize(loss_op)
init = tf.global_variables_initializer()

losses = []
with tf.Session() as sess:
    sess.run(init)
    start = sess.run([w1, b1, w2, b2])
    for epoch in range(n_epochs):
        for i in range(0, len(inputs), batch_size):
            batch_x, batch_y = inputs[i : i + batch_size], labels[i : i + batch_size]
            _, loss = sess.run([train_op, loss_op], feed_dict={X: batch_x, Y: batch_y})
            losses.append(loss)
        if (epoch + 1) % (n_epochs // 6) == 0:
            print(f"epoch {epoch + 1:3d}: loss {np.mean(losses[-5:]):.4f}")
    answers = sess.run(layer_2, feed_dict={X: held_out}).argmax(axis=1)

    if arguments.pictures:
        from functools import partial
        from pathlib import Path

        from graphflow import plot

        def predict(petals):
            return sess.run(layer_2, feed_dict={X: (petals - mean) / deviation}).argmax(axis=1)

        folder = Path(arguments.pictures)
        folder.mkdir(parents=True, exist_ok=True)
        sess.graph.render(folder / "02_graph.png")
        plot.sheet(
            folder / "02_training.png",
            partial(plot.curves, losses, steps_per_epoch=len(inputs) // batch_size, label="mean squared error"),
            partial(plot.regions, predict, train.petals, train.species, names=iris.SPECIES, axis_names=iris.FEATURES),
        )
        tf.draw_mlp(
            sess, [(w1, b1), (w2, b2)], folder / "02_network.png", inputs=iris.FEATURES, outputs=iris.SPECIES,
            title="What it learned: weights, and biases inside the neurons",
        )  # fmt: skip


# -- the same by hand ----------------------------------------------------------------------------------------------
def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def by_hand(parameters, steps):
    """The losses of the first steps; forward, backward and Adam written out, in float64."""
    p = [np.array(a, np.float64) for a in parameters]
    m, v = [np.zeros_like(a) for a in p], [np.zeros_like(a) for a in p]
    found = []
    for t in range(1, steps + 1):
        i = (t - 1) * batch_size % len(inputs)
        x, y = inputs[i : i + batch_size].astype(np.float64), labels[i : i + batch_size]
        h = sigmoid(x @ p[0] + p[1])
        out = sigmoid(h @ p[2] + p[3])
        found.append(np.mean((out - y) ** 2))
        d_out = 2.0 * (out - y) / out.size * out * (1.0 - out)
        d_h = d_out @ p[2].T * h * (1.0 - h)
        slopes = [x.T @ d_h, d_h.sum(axis=0), h.T @ d_out, d_out.sum(axis=0)]
        rate = learning_rate * np.sqrt(1.0 - 0.999**t) / (1.0 - 0.9**t)
        for k, g in enumerate(slopes):
            m[k] += (1.0 - 0.9) * (g - m[k])
            v[k] += (1.0 - 0.999) * (g * g - v[k])
            p[k] -= rate * m[k] / (np.sqrt(v[k]) + 1e-8)
    return found


steps = 100
difference = np.max(np.abs(np.array(by_hand(start, steps)) - losses[:steps]))
right = np.mean(answers == test.species)
print(f"the first {steps} losses differ from NumPy's by {difference:.1e} at most")
print(f"{right:.0%} of {len(test.species)} held-out flowers are told right")
assert difference < 1e-4
assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])
assert right >= 0.9
