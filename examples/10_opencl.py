"""One script on three devices: NumPy, OpenCL on the CPU, OpenCL on a GPU, as far as they are here.

A small network is trained for some steps on each; the losses must agree.  Then the table: seconds for the first run
(compiling included) and for a later one, launches of kernels and tasks of the host in one step, and, with `--source`,
the kernels.  Without a GPU, or without pyopencl, the missing rows say why.
"""

import argparse
import itertools
import re
import statistics
import time

import numpy as np

import graphflow as tf

SIZES = (64, 128, 10)


def network(batch: int) -> tuple[dict, tf.Tensor, tf.Operation]:
    """A perceptron with one hidden layer, and random data to be learned by heart."""
    rng = np.random.default_rng(1)
    x = tf.placeholder(tf.float32, [batch, SIZES[0]], name="x")
    labels = tf.placeholder(tf.int32, [batch], name="labels")
    hidden = x
    for rows, columns in itertools.pairwise(SIZES):
        w = tf.Variable(rng.standard_normal((rows, columns)).astype(np.float32) * 0.1)
        b = tf.Variable(np.zeros(columns, np.float32))
        hidden = tf.matmul(hidden, w) + b
        if columns != SIZES[-1]:
            hidden = tf.tanh(hidden)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=hidden))
    feeds = {x: rng.standard_normal((batch, SIZES[0])).astype(np.float32), labels: rng.integers(0, SIZES[-1], batch)}
    return feeds, loss, tf.train.AdamOptimizer(0.01).minimize(loss)


def train(device: str, steps: int, batch: int) -> tuple[list[float], float, float, str, str]:
    """The losses, the seconds of the first step and of a later one, and how the step is done."""
    with tf.Graph().as_default():
        feeds, loss, step = network(batch)
        with tf.Session(device=device) as session:
            session.run(tf.global_variables_initializer())
            losses, seconds = [], []
            for _ in range(steps):
                started = time.perf_counter()
                losses.append(float(session.run([loss, step], feeds)[0]))
                seconds.append(time.perf_counter() - started)
            explanation = session.explain([loss, step], feeds)
    return losses, seconds[0], statistics.median(seconds[1:]), explanation.code, explanation.native


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="fewer steps, a smaller batch")
    options.add_argument("--source", action="store_true", help="print the kernels, too")
    arguments = options.parse_args()
    steps, batch = (8, 32) if arguments.quick else (200, 256)

    reference: list[float] = []
    sources = ""
    print(f"{'device':<12}{'first step':>12}{'later step':>12}{'last loss':>12}  what a step is")
    for name, device in (("NumPy", "cpu"), ("OpenCL", "opencl"), ("OpenCL GPU", "gpu")):
        try:
            losses, first, later, code, native = train(device, steps, batch)
        except (tf.errors.NotFoundError, tf.errors.UnavailableError) as error:
            print(f"{name:<12}not here: {error.summary}")
            continue
        counts = re.search(r"\d+ kernel launches, \d+ tasks? of the host", code)
        what = counts.group(0) if counts else "generated Python over NumPy"
        print(f"{name:<12}{first * 1e3:>9.1f} ms{later * 1e3:>9.3f} ms{losses[-1]:>12.6f}  {what}")
        reference = reference or losses
        np.testing.assert_allclose(losses, reference, rtol=1e-3)
        assert losses[-1] < 0.9 * losses[0], "nothing was learned"
        sources = native or sources
    if arguments.source and sources:
        print(f"\nThe kernels of the last device:\n\n{sources}")
    print(f"\nall devices agree on {steps} losses, from {reference[0]:.4f} to {reference[-1]:.4f}")


if __name__ == "__main__":
    main()
