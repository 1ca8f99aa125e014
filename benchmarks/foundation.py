"""What the foundation costs: building, differentiating and running large graphs, one small run, and a million runs.

Every figure is measured here, in one process a section, with the peers' part (plain NumPy) in the same rounds.
Ratios say more than times: the machine may be shared.

    python benchmarks/foundation.py [--quick] [--json FILE] [scale overhead growth]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import graphflow as tf


def build_chain(n: int) -> tuple[Any, Any]:
    """n ops, each of the one before: additions and multiplications in turn."""
    x = tf.placeholder(tf.float32, [], name="x")
    c = tf.constant(1.0)
    y = x
    for i in range(n):
        y = tf.add(y, c) if i % 2 else tf.multiply(y, c)
    return x, y


def build_fan(n: int) -> tuple[Any, Any]:
    """n ops of one tensor, and their sum."""
    x = tf.placeholder(tf.float32, [], name="x")
    c = tf.constant(1.0)
    return x, tf.add_n([tf.multiply(x, c) if i % 2 else tf.add(x, c) for i in range(n)])


def measure_scale(build: Callable[[int], tuple[Any, Any]], n: int) -> dict[str, float]:
    """Microseconds an op for each phase, under a recursion limit of 200."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        tf.reset_default_graph()
        gc.collect()
        marks = [time.perf_counter()]
        x, y = build(n)
        marks.append(time.perf_counter())
        (dy,) = tf.gradients(y, x)
        marks.append(time.perf_counter())
        with tf.Session() as sess:
            first = sess.run(y, {x: 1.0})
            marks.append(time.perf_counter())
            again = sess.run(y, {x: 1.0})
            marks.append(time.perf_counter())
            slope = sess.run(dy, {x: 1.0})
            marks.append(time.perf_counter())
        assert first == again and np.isfinite(slope), (first, again, slope)
    finally:
        sys.setrecursionlimit(limit)
    phases = ("build", "gradients", "first run", "second run", "first run of the gradient")
    return {name: (b - a) / n * 1e6 for name, a, b in zip(phases, marks, marks[1:])}  # noqa: B905 - one fewer


def scale(quick: bool) -> dict[str, Any]:
    """Chain and fan, at n and 10 n; the ratio of the total times."""
    small = 2_000 if quick else 10_000
    rounds = 1 if quick else 3
    out: dict[str, Any] = {}
    for name, build in (("chain", build_chain), ("fan", build_fan)):
        runs: dict[int, list[dict[str, float]]] = {small: [], 10 * small: []}
        for _ in range(rounds):
            for n, times in runs.items():
                times.append(measure_scale(build, n))
        middle = {n: {p: statistics.median(r[p] for r in rs) for p in rs[0]} for n, rs in runs.items()}
        total = {n: sum(m.values()) * n for n, m in middle.items()}
        out[name] = {
            "ops": list(middle),
            "us an op": {str(n): m for n, m in middle.items()},
            "time ratio": total[10 * small] / total[small],
        }
        print(
            f"{name}: time of {10 * small:,} ops / time of {small:,} ops = {out[name]['time ratio']:.1f} (at most 13)"
        )
        for n, m in middle.items():
            print(f"  {n:>7,} ops, us an op: " + ", ".join(f"{p} {v:.2f}" for p, v in m.items()))
    return out


def interleaved(functions: dict[str, Callable[[], Any]], number: int, rounds: int) -> dict[str, float]:
    """Median microseconds a call, the functions taking turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            for _ in range(number):
                function()
            times[name].append((time.perf_counter() - started) / number * 1e6)
    return {name: statistics.median(t) for name, t in times.items()}


def overhead(quick: bool) -> dict[str, Any]:
    """One fed and one fetched scalar, against the NumPy addition that it makes."""
    tf.reset_default_graph()
    x = tf.placeholder(tf.float32, [], name="x")
    y = x + 1.0
    with tf.Session() as sess:
        value, one = np.float32(2.0), np.float32(1.0)
        feed = {x: value}
        call = sess.make_callable(y, [x])
        assert sess.run(y, feed) == call(value) == np.add(value, one) == 3.0
        times = interleaved(
            {
                "NumPy": lambda: np.add(value, one),
                "session.run": lambda: sess.run(y, feed),
                "make_callable": lambda: call(value),
                "session.run, Python float": lambda: sess.run(y, {x: 2.0}),
            },
            2_000 if quick else 20_000,
            5 if quick else 21,
        )
    floor = times["NumPy"]
    over = {name: t - floor for name, t in times.items()}
    print("one scalar fed, one fetched (us, median of interleaved rounds; above NumPy in brackets):")
    for name, t in times.items():
        print(f"  {name:<28}{t:6.2f}  ({t - floor:+.2f})")
    return {"us": times, "us above NumPy": over}


def resident() -> int:
    """Bytes of resident memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def growth(quick: bool) -> dict[str, Any]:
    """A small training step, run very often: what the process grows by after the first tenth."""
    tf.reset_default_graph()
    runs = 20_000 if quick else 1_000_000
    x = tf.placeholder(tf.float32, [4, 2], name="x")
    w = tf.Variable(np.full((2, 1), 0.5, np.float32))
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w)))
    step = tf.train.GradientDescentOptimizer(1e-3).minimize(loss)
    batch = np.ones((4, 2), np.float32)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(runs // 10):
            sess.run([step, loss], {x: batch})
        gc.collect()
        before, blocks = resident(), sys.getallocatedblocks()
        started = time.perf_counter()
        for _ in range(runs):
            sess.run([step, loss], {x: batch})
        seconds = time.perf_counter() - started
        gc.collect()
        grown, drift = resident() - before, sys.getallocatedblocks() - blocks
    print(
        f"{runs:,} training steps: {seconds / runs * 1e6:.1f} us each, "
        f"{grown / 1e6:+.3f} MB, {drift:+d} blocks (under 1 MB)"
    )
    return {"runs": runs, "us a step": seconds / runs * 1e6, "bytes grown": grown, "blocks grown": drift}


SECTIONS = {"scale": scale, "overhead": overhead, "growth": growth}


def main(argv: list[str] | None = None) -> int:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a first look")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    options = parser.parse_args(argv)
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}, OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}")
    found = {name: SECTIONS[name](options.quick) for name in options.sections or SECTIONS}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
