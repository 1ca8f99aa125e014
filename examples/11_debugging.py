"""Debugging a graph as one debugs Python: look at values, stop, step, change a number, and find what went wrong.

The lecture's complaint about lazy evaluation is that the interpreter cannot be used to debug it: one is left with Print
nodes and callbacks.  Here are those, and what one would rather have: a debugger that stops inside a run, a search for
the first NaN, and a picture of an error.  Everything that is claimed is asserted.  The last part is a prompt:

    python -m graphflow debug examples/02_mlp_tf1.py
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import graphflow as tf


def network(depth: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Operation]:
    """Layers of tanh, and an entropy that is not a number where its probability is 0."""
    rng = np.random.default_rng(0)
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    h = x
    for number in range(depth):
        with tf.name_scope(f"layer{number}"):
            w = tf.Variable(rng.normal(0.0, 0.5, (4, 4)).astype(np.float32), name="w")
            h = tf.tanh(tf.matmul(h, w), name="h")
    with tf.name_scope("entropy"):
        p = tf.nn.relu(tf.reduce_mean(h, axis=1), name="p")
        entropy = -tf.reduce_sum(p * tf.log(p, name="log_p"), name="sum")
    return x, p, entropy, tf.train.GradientDescentOptimizer(0.01).minimize(entropy)


def callbacks(session: tf.Session, p: tf.Tensor, feed: dict) -> None:
    """A function that sees a tensor whenever it is computed; what is fetched stays as it is."""
    seen = []
    handle = p.on_value(seen.append)
    fetched = session.run(p * 2.0, feed)
    handle.remove()
    session.run(p * 2.0, feed)
    print(f"on_value saw p {len(seen)} time(s): {seen[0]}")
    assert len(seen) == 1 and np.array_equal(seen[0] * 2.0, fetched) and np.count_nonzero(fetched) == 1


def first_nan(session: tf.Session, train: tf.Operation, feed: dict) -> None:
    """The op that made a NaN out of numbers, of all that are computed in a training step."""
    try:
        session.check_numerics(train, feed)
    except tf.errors.NumericsError as error:
        print(f"\ncheck_numerics:\n{error}")
        assert error.op_name == "entropy/log_p" and Path(__file__).name in error.source
    else:
        raise AssertionError("the infinity was not found")


def stepping(session: tf.Session, entropy: tf.Tensor, feed: dict) -> None:
    """Stop, look around, change a value, go on."""
    with session.debug() as debugger:
        debugger.break_at("entropy/*", condition=lambda value: np.isinf(value).any())
        stop = debugger.run(entropy, feed)
        print(f"\nthe debugger:\n{debugger.where()}")
        assert stop.op.name == "entropy/log_p"
        assert debugger.step().op.name == "entropy/mul"  # 0 * -inf
        assert np.isnan(debugger.value("entropy/mul:0")).any()
        debugger.set("entropy/mul:0", np.nan_to_num(debugger.value("entropy/mul:0")))  # what 0 log 0 is meant to be
        repaired = debugger.finish()
    print(f"with 0 in the place of NaN the entropy is {repaired}")
    assert repaired > 0.0
    assert np.isnan(session.run(entropy, feed))  # it was for that run alone


def picture(x: tf.Tensor, path: Path) -> None:
    """An op that cannot be built, in red, beside what it was given."""
    try:
        tf.matmul(x, tf.ones([3, 2]), name="misfit")
    except tf.errors.ShapeError as error:
        print(f"\na shape error:\n{error}")
        drawing = Path(error.render(path))
        assert error.op_name == "misfit" and drawing.stat().st_size > 500
    else:
        raise AssertionError("a product of shapes that do not fit was built")


def doubting(entropy: tf.Tensor, feed: dict) -> None:
    """Everything computed twice, as written and as optimised, and compared bit for bit."""
    with tf.debug.DebugMode() as session:
        session.run(tf.global_variables_initializer())
        found = session.run(entropy, feed)
    print(f"\nDebugMode: the optimised program and the plain one agree: {found}")
    assert np.isnan(found)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="a shallow network")
    options.add_argument("--picture", metavar="FILE", help="where to draw the shape error: .png, .svg, .html")
    arguments = options.parse_args()
    x, p, entropy, train = network(2 if arguments.quick else 20)
    row = np.float32([1.0, 2.0, 3.0, 4.0])
    feed = {x: np.stack([row, -row, 0.0 * row])}  # tanh is odd: one of the first two rows has a p above 0
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        callbacks(session, p, feed)
        first_nan(session, train, feed)
        stepping(session, entropy, feed)
    with tempfile.TemporaryDirectory() as folder:
        picture(x, Path(arguments.picture or f"{folder}/why.html"))
    doubting(entropy, feed)


if __name__ == "__main__":
    sys.exit(main())
