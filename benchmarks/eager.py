"""What eager mode costs: a training step beside the same step written by hand in NumPy, and one op beside one ufunc.

    python -m benchmarks.eager [--quick]

The step: an MLP 784-256-256-10 with ReLU, softmax cross-entropy and plain SGD, batches of 128, float32.  NumPy's is
written as one writes it, with temporaries.  Each has a process of its own, since whoever sets the number of BLAS
threads sets it for the whole process; their losses and parameters must agree before anything is measured; rounds take
turns.  What counts is the ratio of the medians, and of the minima where the machine is noisy.  The traced step must be
below the eager one.  NumPy's time depends on the threads of its BLAS: say `OMP_NUM_THREADS` with a figure.

Policy: bars are printed beside the figures; missing one is told, not hidden.

State: none.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SIZES = (784, 256, 256, 10)
BATCH, RATE = 128, 0.01
STEP_BAR = 1.3  # of NumPy's time
OP_BAR = 3.0  # microseconds over NumPy's call
Step = Callable[[], float]


def data() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Images, labels, and the first parameters: weights as [out, in], biases."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, SIZES[0])).astype(np.float32)
    first = []
    for inputs, outputs in itertools.pairwise(SIZES):
        bound = inputs**-0.5
        first.append(rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32))
        first.append(rng.uniform(-bound, bound, outputs).astype(np.float32))
    return images, rng.integers(0, SIZES[-1], BATCH), first


def numpy_step() -> tuple[Step, list[np.ndarray]]:
    """The step by hand."""
    x, y, parameters = data()
    rows, rate = np.arange(BATCH), np.float32(RATE)

    def step() -> float:
        w1, b1, w2, b2, w3, b3 = parameters
        z1 = x @ w1.T + b1
        h1 = np.maximum(z1, 0)
        z2 = h1 @ w2.T + b2
        h2 = np.maximum(z2, 0)
        z3 = h2 @ w3.T + b3
        shifted = z3 - z3.max(1, keepdims=True)
        e = np.exp(shifted)
        total = e.sum(1, keepdims=True)
        loss = (np.log(total[:, 0]) - shifted[rows, y]).mean()
        d3 = e / total
        d3[rows, y] -= 1
        d3 = d3 / np.float32(BATCH)
        d2 = (d3 @ w3) * (z2 > 0)
        d1 = (d2 @ w2) * (z1 > 0)
        gradients = d1.T @ x, d1.sum(0), d2.T @ h1, d2.sum(0), d3.T @ h2, d3.sum(0)
        for p, g in zip(parameters, gradients, strict=True):
            p -= rate * g
        return float(loss)

    return step, parameters


def _model(torch: Any, nn: Any) -> tuple[Any, Any, Any]:
    """Images, labels and the model."""
    images, labels, first = data()
    model = nn.Sequential(
        nn.Linear(SIZES[0], SIZES[1]),
        nn.ReLU(),
        nn.Linear(SIZES[1], SIZES[2]),
        nn.ReLU(),
        nn.Linear(SIZES[2], SIZES[3]),
    )
    model.load_state_dict(dict(zip(model.state_dict(), first, strict=True)))
    return torch.tensor(images), torch.tensor(labels), model


def eager_step() -> tuple[Step, list[np.ndarray]]:
    """The step in eager mode."""
    from graphflow import eager as torch
    from graphflow.eager import nn, optim
    from graphflow.eager.nn import functional as F

    x, y, model = _model(torch, nn)
    optimizer = optim.SGD(model.parameters(), lr=RATE)

    def step() -> float:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step, [p.detach().numpy() for p in model.parameters()]


def traced_step() -> tuple[Step, list[np.ndarray]]:
    """The same step, traced to a graph once; the optimizer is the graph's, since it works inside."""
    import graphflow as gf
    from graphflow import eager as torch
    from graphflow.eager import nn
    from graphflow.eager.nn import functional as F

    x, y, model = _model(torch, nn)
    optimizer = gf.train.GradientDescentOptimizer(RATE)

    @gf.function(trains=True)  # type: ignore[untyped-decorator]
    def traced(images: Any, labels: Any) -> Any:
        loss = F.cross_entropy(model(images), labels)
        return loss, optimizer.minimize(loss)

    return lambda: float(traced(x, y)[0].item()), [p.detach().numpy() for p in model.parameters()]


STEPS = {"numpy": numpy_step, "eager": eager_step, "traced": traced_step}
# What runs, and whether on one core alone: there a busy machine disturbs least, and no thread waits for another.
WAYS = {
    "NumPy": ("numpy", False), "eager": ("eager", False), "traced": ("traced", False),
    "NumPy, one core": ("numpy", True), "eager, one core": ("eager", True), "traced, one core": ("traced", True),
}  # fmt: skip


def serve(way: str) -> None:
    """Answer lines of numbers of steps with losses, seconds per step and sums of the parameters."""
    step, parameters = STEPS[way]()
    for line in sys.stdin:
        losses, count = [], int(line)
        start = time.perf_counter()
        for _ in range(count):
            losses.append(step())
        seconds = (time.perf_counter() - start) / count
        sums = [float(np.abs(p, dtype=np.float64).sum()) for p in parameters]
        print(json.dumps({"losses": losses, "seconds": seconds, "sums": sums}), flush=True)


class Worker:
    """A process that does steps."""

    def __init__(self, step: str, alone: bool) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.eager", "--serve", step, *(["--one-core"] if alone else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **({"OPENBLAS_NUM_THREADS": "1"} if alone else {})},
        )  # fmt: skip

    def do(self, count: int) -> dict[str, Any]:
        """So many steps."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("a process that does steps has ended")
        return dict(json.loads(answer))

    def end(self) -> None:
        """No more steps."""
        self.process.communicate()


def measure_steps(rounds: int, count: int) -> dict[str, list[float]]:
    """Milliseconds per step, by round, after both have been found to compute the same."""
    workers = {way: Worker(*how) for way, how in WAYS.items()}
    try:
        first = {way: worker.do(20) for way, worker in workers.items()}
        for what in ("losses", "sums"):
            for way in WAYS:
                np.testing.assert_allclose(first[way][what], first["NumPy"][what], rtol=1e-5)
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, worker in workers.items():
                times[way].append(worker.do(count)["seconds"] * 1e3)
        return times
    finally:
        for worker in workers.values():
            worker.end()


def measure_ops(rounds: int, count: int) -> dict[str, list[float]]:
    """Microseconds per product of two vectors of 10, by round."""
    from graphflow import eager as torch
    from graphflow.eager.mode import eager
    from graphflow.ops import math

    a = np.linspace(1, 2, 10, dtype=np.float32)
    x, w = torch.tensor(a), torch.tensor(a, requires_grad=True)
    assert (x * x).numpy().tobytes() == (a * a).tobytes()

    calls: dict[str, Callable[[], Any]] = {
        "NumPy, a * a": lambda: a * a,
        "eager, tf.multiply(x, x)": lambda: math.multiply(x, x),
        "eager, x * x": lambda: x * x,
        "eager, w * x, recorded": lambda: w * x,
    }
    times: dict[str, list[float]] = {what: [] for what in calls}
    with eager():
        for _ in range(rounds):
            for what, call in calls.items():
                times[what].append(_seconds(call, count) * 1e6)
    return times


def _seconds(call: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def tell(times: dict[str, list[float]], unit: str) -> dict[str, float]:
    """Print medians and minima; returns the minima."""
    for what, found in times.items():
        print(f"  {what:28} median {statistics.median(found):9.3f} {unit}   minimum {min(found):9.3f} {unit}")
    return {what: min(found) for what, found in times.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="few rounds: the figures are rough")
    options.add_argument("--serve", choices=STEPS, help=argparse.SUPPRESS)
    options.add_argument("--one-core", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one_core and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if given.serve:
        serve(given.serve)
        return
    rounds, count = (5, 20) if given.quick else (25, 40)
    print(f"one training step, MLP {'-'.join(map(str, SIZES))}, batch {BATCH}, {rounds} rounds of {count} steps:")
    times = measure_steps(rounds, count)
    least = tell(times, "ms")
    medians = {way: statistics.median(found) for way, found in times.items()}
    for where in ("", ", one core"):
        for what, found in (("medians", medians), ("minima", least)):
            for way, base, bar in (("eager", "NumPy", STEP_BAR), ("traced", "eager", 1.0)):
                ratio = found[way + where] / found[base + where]
                verdict = "" if ratio <= bar else ": MISSED"
                print(f"  {way} / {base}{where}, by {what}: {ratio:.2f}, the bar is {bar}{verdict}")
    print("one op on 10 elements:")
    fastest = tell(measure_ops(rounds, 20 * count), "us")
    base = fastest.pop("NumPy, a * a")
    for what, found in fastest.items():
        over = found - base
        bar = f", the bar is {OP_BAR}{'' if over <= OP_BAR else ': MISSED'}" if "recorded" not in what else ""
        print(f"  {what}: {over:.2f} us over NumPy{bar}")


if __name__ == "__main__":
    main()
