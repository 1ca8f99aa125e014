"""A convolutional network reads handwritten digits; image batches are NHWC: [batch, height, width, channels].

The digits are those that scikit-learn ships: 1797 of them, 8 x 8 pixels, from the test set of the UCI repository's
"Optical Recognition of Handwritten Digits".  Two convolutions with max pooling, a dense layer with dropout, softmax.
"""

import argparse
import sys
import time

import numpy as np

import graphflow as tf

try:
    from sklearn.datasets import load_digits
except ModuleNotFoundError:
    sys.exit("This example reads the digits that scikit-learn ships: pip install scikit-learn")


def data():
    """Images in [0, 1] as NHWC, their digits, and a last fifth that is held out."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = (digits.images[order] / 16.0).astype(np.float32)[..., np.newaxis]
    held_out = len(images) // 5
    return images[held_out:], digits.target[order][held_out:], images[:held_out], digits.target[order][:held_out]


def weight(shape, name):
    fan_in = int(np.prod(shape[:-1]))
    return tf.Variable(tf.truncated_normal(shape, stddev=(2.0 / fan_in) ** 0.5), name=name)


def convolution(x, channels, name):
    """3 x 3 convolution, ReLU, and max pooling that halves height and width."""
    with tf.name_scope(name):
        kernel = weight([3, 3, int(x.shape[-1]), channels], "kernel")
        bias = tf.Variable(tf.zeros([channels]), name="bias")
        y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME"), bias))
        return tf.nn.max_pool(y, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def build():
    """The network, its loss and its training."""
    images = tf.placeholder(tf.float32, [None, 8, 8, 1], name="images")
    digits = tf.placeholder(tf.int64, [None], name="digits")
    keep_prob = tf.placeholder_with_default(1.0, shape=[], name="keep_prob")
    y = convolution(images, 16, "conv_1")
    y = convolution(y, 32, "conv_2")
    with tf.name_scope("dense"):
        flat = tf.reshape(y, [-1, 2 * 2 * 32])
        hidden = tf.nn.relu(tf.matmul(flat, weight([128, 64], "w")) + tf.Variable(tf.zeros([64]), name="b"))
        hidden = tf.nn.dropout(hidden, keep_prob)
    with tf.name_scope("output"):
        logits = tf.matmul(hidden, weight([64, 10], "w")) + tf.Variable(tf.zeros([10]), name="b")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=digits, logits=logits))
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), digits), tf.float32))
    train = tf.train.AdamOptimizer(2e-3).minimize(loss)
    return images, digits, keep_prob, logits, loss, accuracy, train


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="train for 4 epochs instead of 20")
    quick = options.parse_args().quick
    epochs, wanted = (4, 0.9) if quick else (20, 0.97)

    x, y, test_x, test_y = data()
    tf.set_random_seed(0)
    images, digits, keep_prob, logits, loss, accuracy, train = build()
    assert logits.shape.as_list() == [None, 10]
    print(f"{len(x)} digits to train on, {len(test_x)} held out, {x.shape[1:]} each")
    rng = np.random.default_rng(0)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for epoch in range(1, epochs + 1):
            start, order, losses = time.perf_counter(), rng.permutation(len(x)), []
            for first in range(0, len(x), 50):
                rows = order[first : first + 50]
                _, now = session.run([train, loss], feed_dict={images: x[rows], digits: y[rows], keep_prob: 0.8})
                losses.append(now)
            right = session.run(accuracy, feed_dict={images: test_x, digits: test_y})
            seconds = time.perf_counter() - start
            print(f"epoch {epoch:2d}: loss {np.mean(losses):.4f}, {right:.1%} of the held-out right, {seconds:.1f} s")
    assert right >= wanted, f"{right:.1%}, and {wanted:.0%} are expected after {epochs} epochs"


if __name__ == "__main__":
    main()
