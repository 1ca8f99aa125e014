"""One script on three devices: NumPy, OpenCL on the CPU, OpenCL on a GPU, as far as they are here.

A small network is trained for some steps on each; the losses must agree.  Then a table: seconds for the first step
(compiling included) and for a later one, and how many kernels a step is.  Below it stand the steps on the last device,
each with the ops that it does, and the source of its smallest kernel, or of all with `--source`.  Rows of devices that
are missing say why.
"""

import argparse
import itertools
import platform
import re
import statistics
import time

import numpy as np

import graphflow as tf
from graphflow import devices

SIZES = (64, 128, 10)
WIDTH = 150  # of what is told of a step


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


def found_devices() -> list[tuple[str, str, str]]:
    """A row for each: what to call it, the name that a session takes, and either its hardware or why it is missing."""
    rows = [("NumPy", "cpu", platform.processor() or platform.machine())]
    reports = {report["backend"]: report for report in devices.examine(doctor=False)}
    report = reports.get("opencl", {"devices": [], "checks": []})
    failed = next((check["advice"] for check in report["checks"] if check["state"] == "failed"), None)
    for title, kind in (("OpenCL CPU", "cpu"), ("OpenCL GPU", "gpu")):
        record = next((d for d in report["devices"] if d["type"] == kind), None)
        rows.append(
            (title, record["name"] if record else "", record["device"] if record else failed or "there is none")
        )
    return rows


def smallest(sources: str) -> str:
    """The shortest of the kernels, which are apart by empty lines; each begins with the ops that it computes."""
    kernels = [text for text in re.split(r"\n\n+(?=// )", sources.strip()) if "__kernel" in text]
    return min(kernels, key=len)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="fewer steps, a smaller batch")
    options.add_argument("--source", action="store_true", help="print all kernels")
    arguments = options.parse_args()
    steps, batch = (8, 32) if arguments.quick else (200, 256)

    reference: list[float] = []
    listing = sources = ""
    print(f"{'device':<12}{'first step':>13}{'later step':>13}{'last loss':>12}  a step is")
    for title, name, hardware in found_devices():
        if not name:
            print(f"{title:<12}  not here: {hardware}")
            continue
        losses, first, later, code, native = train(name, steps, batch)
        counts = re.search(r"\d+ kernel launches, \d+ tasks? of the host", code)
        what = counts.group(0) if counts else "one generated Python function"
        print(f"{title:<12}{first * 1e3:>10.1f} ms{later * 1e3:>10.3f} ms{losses[-1]:>12.6f}  {what}, on {hardware}")
        reference = reference or losses
        np.testing.assert_allclose(losses, reference, rtol=1e-3)
        assert losses[-1] < 0.9 * losses[0], "nothing was learned"
        if counts:
            listing, sources = code, native
    print(f"\nAll devices agree on {steps} losses, from {reference[0]:.4f} to {reference[-1]:.4f}.")
    if not listing:
        print(
            'For OpenCL on this CPU: pip install "pyopencl[pocl]"; what is wrong: python -m graphflow devices --doctor'
        )
        return
    print("A first step compiles its kernels, unless they are stored from an earlier run of this script.")
    print("\nThe steps, each with its ops and their lines in this file:\n")
    print("\n".join(line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in listing.splitlines()))
    shown = sources if arguments.source else smallest(sources)
    print(f"\n{'The kernels' if arguments.source else 'The smallest kernel (--source shows all)'}:\n\n{shown}")


if __name__ == "__main__":
    main()
