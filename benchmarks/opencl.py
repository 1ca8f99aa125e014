"""The OpenCL backend against NumPy and tinygrad on one machine: `python -m benchmarks.opencl [--quick] [--json FILE]`.

Each row compares some ways of computing one thing, rounds interleaved, results checked equal before anything is timed:
plain NumPy as one would write it, graphflow on NumPy (at its default level), graphflow on OpenCL, and, where
`--peers-python` has it, tinygrad on its CPU and its OpenCL device, in processes of their own.  The floor of
chains is a stream on the same device, written by hand; that of products is NumPy's column, which is OpenBLAS.  Ratios
are printed as how many times faster than NumPy, and for the stream as the share of its rate that was reached.

Policy: medians over blocks of runs in interleaved rounds; absolute times are for orientation.

State: none.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl
from graphflow_opencl import stages
from graphflow_opencl.devices import open_device

import graphflow as tf
from benchmarks import data, graphs
from benchmarks.opencl_peers import DEVICES, Tinygrad, started
from benchmarks.peers import LeftOut
from benchmarks.processes import Gone

Way = Callable[[], Any]
ROUNDS = 5
STREAMED = 1 << 16  # elements from which on a chain is held against the stream; fewer take a launch's time


class Row(NamedTuple):
    """One comparison: the first way is the measure of the others."""

    name: str
    ways: dict[str, Way]
    tolerance: float = 1e-4
    bytes: int = 0  # moved at least, to be compared with the rate of the stream
    stream: int = 0  # elements of the arrays of that
    task: str = ""  # what peers call it
    arrays: Sequence[Any] = ()  # for peers


def timed(ways: dict[str, Way], peers: Sequence[Tinygrad], seconds: float) -> dict[str, float]:
    """The median seconds of each way: blocks of runs, the blocks of all ways in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways} | {p.peer: [] for p in peers}
    for _ in range(ROUNDS):
        for peer in peers:
            found[peer.peer] += peer.block(seconds / ROUNDS)
        for name, way in ways.items():
            way()  # the first of a block finds the others' data in the caches
            until = time.perf_counter() + seconds / ROUNDS
            while time.perf_counter() < until or not found[name]:
                started = time.perf_counter()
                way()
                found[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in found.items()}


def same(row: Row, peers: Sequence[Tinygrad]) -> list[Tinygrad]:
    """Raise if the ways do not compute the same; the peers that take part."""
    results = {name: _flat(way()) for name, way in row.ways.items()}
    first = next(iter(results.values()))
    taking_part = []
    for peer in peers if row.task else ():
        try:
            results[peer.peer] = _flat(peer.prepare(row.task, row.arrays))
            taking_part.append(peer)
        except (LeftOut, Gone) as reason:
            print(f"{row.name}: {peer.peer} is left out: {reason}")
    for name, result in results.items():
        for got, wanted in zip(result, first, strict=True):
            error = np.linalg.norm(np.asarray(got, np.float64) - wanted) / max(np.linalg.norm(wanted), 1e-30)
            if not error <= row.tolerance:
                raise SystemExit(f"{row.name}: {name} is off by {error:.2g}")
    return taking_part


def _flat(x: Any) -> list[Any]:
    return [leaf for item in x for leaf in _flat(item)] if isinstance(x, (list, tuple)) else [np.asarray(x, np.float64)]


def sessions(build: Callable[[], tuple[Any, dict[Any, Any]]], level: int | None = None) -> dict[str, Way]:
    """The same graph in a session on NumPy and in one on OpenCL."""
    ways = {}
    for name, device in (("graphflow", "cpu"), ("opencl", "opencl")):
        with tf.Graph().as_default():
            fetches, feeds = build()
            session = tf.Session(device=device, optimization_level=level)
            session.run(tf.global_variables_initializer())
        ways[name] = lambda s=session, f=fetches, v=feeds: s.run(f, v)
    return ways


# -- rows ------------------------------------------------------------------------------------------------------


def chain(size: int, gradient: bool) -> Row:
    """The fused elementwise chain, with or without its gradient."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(size).astype(np.float32) for _ in range(4)]
    half, one = np.float32(0.5), np.float32(1)

    def forward(a: Any, b: Any, c: Any, d: Any) -> Any:
        return np.mean(np.tanh(a * b + c) * (one / (one + np.exp(-d))) - half * a * a + np.exp(-c * c))

    def both(a: Any, b: Any, c: Any, d: Any) -> Any:
        t, s, e = np.tanh(a * b + c), one / (one + np.exp(-d)), np.exp(-c * c)
        n = np.float32(1 / size)
        du = (one - t * t) * s * n
        slopes = [du * b - a * n, du * a, du - (c + c) * e * n, t * s * (one - s) * n]
        return [np.mean(t * s - half * a * a + e), *slopes]

    def build() -> tuple[Any, dict[Any, Any]]:
        xs = [tf.placeholder(tf.float32, [size]) for _ in range(4)]
        a, b, c, d = xs
        loss = tf.reduce_mean(tf.tanh(a * b + c) * tf.sigmoid(d) - 0.5 * a * a + tf.exp(-c * c))
        return [loss, *(tf.gradients(loss, xs) if gradient else ())], dict(zip(xs, arrays, strict=True))

    plain = both if gradient else forward
    moved = 4 * size * (8 if gradient else 4)
    name = f"chain {size:,}{' and its gradient' if gradient else ''}"
    task = f"elementwise_4m_{'grad' if gradient else 'fwd'}"  # of any size
    ways = {"numpy": lambda: plain(*arrays), **sessions(build)}
    return Row(name, ways, 1e-3, moved, size if size >= STREAMED else 0, task, arrays)


def cross_entropy() -> Row:
    """Softmax cross-entropy of 4096 rows of 1000, and its gradient."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((4096, 1000)).astype(np.float32)
    labels = np.zeros((4096, 1000), np.float32)
    labels[np.arange(4096), rng.integers(0, 1000, 4096)] = 1

    def plain() -> Any:
        shifted = logits - logits.max(1, keepdims=True)
        exponents = np.exp(shifted)
        total = exponents.sum(1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - (labels * shifted).sum(1))
        return [loss, (exponents / total - labels) * np.float32(1 / 4096)]

    def build() -> tuple[Any, dict[Any, Any]]:
        x, t = tf.placeholder(tf.float32, logits.shape), tf.placeholder(tf.float32, labels.shape)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=t, logits=x))
        return [loss, tf.gradients(loss, x)[0]], {x: logits, t: labels}

    ways = {"numpy": plain, **sessions(build)}
    name = "softmax cross-entropy 4096 x 1000, with gradient"
    return Row(name, ways, 1e-4, task="cross_entropy", arrays=(logits, labels))


def rows(kind: str) -> Row:
    """A reduction of each row of 4096 x 1000."""
    x = np.random.default_rng(0).standard_normal((4096, 1000)).astype(np.float32)
    plain = {"sum": x.sum, "max": x.max}[kind]

    def build() -> tuple[Any, dict[Any, Any]]:
        p = tf.placeholder(tf.float32, x.shape)
        return {"sum": tf.reduce_sum, "max": tf.reduce_max}[kind](p, 1), {p: x}

    ways = {"numpy": lambda: plain(1), **sessions(build)}
    return Row(f"{kind} of each row, 4096 x 1000", ways, task=kind, arrays=(x,))


def matmul(size: int) -> Row:
    """A product of two square matrices."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size)).astype(np.float32) for _ in range(2))

    def build() -> tuple[Any, dict[Any, Any]]:
        x, y = tf.placeholder(tf.float32, a.shape), tf.placeholder(tf.float32, b.shape)
        return tf.matmul(x, y), {x: a, y: b}

    ways = {"numpy": lambda: a @ b, **sessions(build)}
    return Row(f"matmul {size}", ways, task="matmul", arrays=(a, b))


def training(family: str, options: dict[str, Any], name: str, task: str = "") -> Row:
    """A training step of the benchmark's networks: graphflow on NumPy against OpenCL."""
    arrays = data.arrays(family)

    def build() -> tuple[Any, dict[Any, Any]]:
        model = graphs.BUILDERS[family](tf, arrays, options)
        updates = [] if model.update is None else [model.update]
        return [*model.outputs, *updates], model.feeds

    return Row(name, {n: _loss(way) for n, way in sessions(build).items()}, 1e-2, task=task)


def _loss(way: Way) -> Way:
    return lambda: way()[0]


def lanes() -> Row:
    """Four branches of sorts of one long line, each a kernel of one work-group: one lane against several."""
    lines = np.random.default_rng(0).standard_normal((4, 20_000)).astype(np.float32)

    def way(count: str) -> Way:
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, lines.shape)
            ends = []
            for branch in range(len(lines)):
                y = x[branch]
                for _ in range(3):
                    y = tf.sin(tf.sort(y) * 3.0)
                ends.append(y)
            session = tf.Session(device="opencl")
            os.environ["GRAPHFLOW_OCL_LANES"] = count
            session.run(ends, {x: lines})  # lanes are laid when the first run comes
            del os.environ["GRAPHFLOW_OCL_LANES"]
        return lambda: session.run(ends, {x: lines})

    return Row("four branches of sorts: one lane, then two", {"numpy": way("1"), "opencl": way("2")})


# -- compiling ---------------------------------------------------------------------------------------------------

COMPILES = """
import sys, time
from benchmarks import data, graphs
import graphflow as tf
model = graphs.BUILDERS["cnn"](tf, data.arrays("cnn"), {"train": True})
session = tf.Session(device="opencl")
session.run(tf.global_variables_initializer())
started = time.perf_counter()
session.explain([*model.outputs, model.update], model.feeds)
session.run([*model.outputs, model.update], model.feeds)
print(time.perf_counter() - started)
"""


def compiling() -> dict[str, float]:
    """Seconds until the first step of the CNN is done, in new processes: nothing stored, and everything stored."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"GRAPHFLOW_CACHE": f"{folder}/ours", "POCL_CACHE_DIR": f"{folder}/pocl"}
        for place in places.values():
            Path(place).mkdir()
        found = []
        for _ in range(2):
            command = [sys.executable, "-c", COMPILES]
            done = subprocess.run(command, env={**os.environ, **places}, check=True, capture_output=True, text=True)
            found.append(float(done.stdout))
    return {"cold": found[0], "stored": found[1]}


# -- the command -------------------------------------------------------------------------------------------------


def stream(size: int) -> Way:
    """The doctor's stream, written by hand, over about so many elements: two are read and one is written for each."""
    device = open_device()
    queue, flags = device.queue(0), cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    memory = [cl.Buffer(device.context, flags, hostbuf=np.full(size, 0.5, np.float32)) for _ in range(3)]
    program = cl.Program(device.context, stages.SOURCE).build(options=["-cl-std=CL1.2"], cache_dir=False)
    kernel = cl.Kernel(program, "stream")
    vectors = size // 8
    each = max(1, min(512, vectors // 64)) if device.kind == "cpu" else 8  # vectors of an item
    items = vectors // each
    steps = (each, 1) if device.kind == "cpu" else (1, items)
    kernel.set_args(*memory, *(np.int32(n) for n in (*steps, each)))

    def run() -> None:
        cl.enqueue_nd_range_kernel(queue, kernel, (items,), None)
        queue.finish()
        assert memory  # a kernel does not keep what it is bound to

    return run


TABLE: dict[str, Callable[[], Row]] = {
    "chain 4m": lambda: chain(4_000_000, False),
    "chain 4m gradient": lambda: chain(4_000_000, True),
    "chain 64k": lambda: chain(65_536, False),
    "chain 1k": lambda: chain(1024, False),
    "cross-entropy": cross_entropy,
    "sum rows": lambda: rows("sum"),
    "max rows": lambda: rows("max"),
    "matmul 1024": lambda: matmul(1024),
    "matmul 256": lambda: matmul(256),
    "mlp sgd": lambda: training("mlp", {"optimizer": "sgd"}, "training step, perceptron, SGD", "mlp_sgd"),
    "mlp adam": lambda: training("mlp", {"optimizer": "adam"}, "training step, perceptron, Adam", "mlp_adam"),
    "cnn": lambda: training("cnn", {"train": True}, "training step, CNN", "cnn_train"),
    "cnn inference": lambda: training("cnn", {"train": False}, "inference, CNN", "cnn_infer"),
    "wide": lambda: training("wide", {}, "16 branches of 6 (matmul 256, tanh)", "wide"),
    "lanes": lanes,
    "lstm": lambda: training("lstm", {}, "training step, LSTM"),
}


COLUMNS = ("numpy", "graphflow", "opencl")
STREAM_BYTES = 12  # for each element of the doctor's stream: two are read, one is written


def measured(row: Row, peers: Sequence[Tinygrad], seconds: float) -> dict[str, float]:
    """The times of a row, which is printed."""
    peers = same(row, peers)
    more = {"stream": stream(row.stream)} if row.stream else {}
    times = timed({**row.ways, **more}, peers, seconds)
    measure = times["numpy" if "numpy" in times else "graphflow"]
    names = (*COLUMNS, *DEVICES)
    cells = "".join(f"{times[n] * 1e3:>12.3f}ms" if n in times else f"{'':>14}" for n in names)
    print(f"{row.name:<52}{cells}{measure / times['opencl']:>7.2f}x{_share(row, times)}", flush=True)
    return times


def _share(row: Row, times: dict[str, float]) -> str:
    """How much of the stream's rate was reached."""
    if not row.stream:
        return ""
    rate = STREAM_BYTES * row.stream / times["stream"]
    return f"{row.bytes / times['opencl'] / rate:8.0%} of {rate / 1e9:.0f} GB/s"


def main() -> None:
    """Run the rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the time")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--only", default="", help="rows whose key has this in it: " + ", ".join(TABLE))
    parser.add_argument(
        "--peers-python", default=sys.executable, metavar="PYTHON", help="the interpreter with tinygrad"
    )
    options = parser.parse_args()
    with tf.Session(device="opencl") as session:
        name = session.explain(tf.constant(1.0) + tf.placeholder_with_default(1.0, [])).code.partition(" (")[0]
    peers = started(options.peers_python, print)
    print(f"{name}\n{'':<52}" + "".join(f"{n:>14}" for n in (*COLUMNS, *DEVICES)) + "  faster  stream")
    figures: dict[str, Any] = {"device": name}
    try:
        for key, make in TABLE.items():
            if options.only in key:
                row = make()
                figures[row.name] = measured(row, peers, 0.1 if options.quick else 1.0)
    finally:
        for peer in peers:
            peer.end()
    if "compil" in options.only or not options.only:
        figures["compiling"] = found = compiling()
        print(f"first step of the CNN: {found['cold']:.2f} s, with stored programs {found['stored']:.2f} s")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
