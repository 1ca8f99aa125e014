"""Use the installed wheel as a user would: import it, build a graph, run it, differentiate it."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Return 0 when the installed package works."""
    import numpy as np

    import graphflow as tf
    from graphflow.demo import iris

    problems = []
    if not Path(tf.__file__).resolve().is_relative_to(Path(sys.prefix).resolve()):
        problems.append(f"imported from {tf.__file__}, not from the environment")
    if not (Path(tf.__file__).parent / "py.typed").is_file():
        problems.append("py.typed is missing")
    if len(iris.load().species) != 150:
        problems.append("the demo's data are incomplete")
    x = tf.placeholder(tf.float32, shape=[None, 2], name="x")
    w = tf.Variable([[1.0], [2.0]], name="w")
    y = tf.matmul(x, w)
    (dw,) = tf.gradients(tf.reduce_sum(y * y), [w])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        value, slope = session.run([y, dw], feed_dict={x: [[1.0, 1.0], [2.0, 0.0]]})
    if not np.array_equal(value, [[3.0], [2.0]]):
        problems.append(f"y is {value}")
    if not np.array_equal(slope, [[14.0], [6.0]]):
        problems.append(f"dw is {slope}")
    sys.stdout.write(f"graphflow {tf.__version__}: {'; '.join(problems) or 'works'}\n")
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
