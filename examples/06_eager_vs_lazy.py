"""Eager against lazy, measured on four programs: who wins where, and why.

The same Python functions are computed op by op, and traced to a graph that is compiled at three levels.  Each program
is made for one question: a training step of an MLP (is a graph worth it in daily work?), a long chain of elementwise
ops (what does fusing bring?), a graph of independent products (what do several workers bring?), and a tiny model that
is run a few times (when is a graph not worth it?).

What is asserted here are facts: all ways agree, and lazy does fewer calls where it fuses.  Times are only printed.
`--pages FOLDER` writes a page and a picture of each program.
"""

import argparse
from pathlib import Path

import numpy as np

import graphflow as gf
from graphflow import compare
from graphflow import eager as torch

rng = np.random.default_rng(1)


def numbers(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def weights(*shape: int) -> torch.Tensor:
    return torch.tensor(numbers(*shape) * 0.05, requires_grad=True)


W1, B1, W2, B2, W3, B3 = (weights(*shape) for shape in ([784, 256], [256], [256, 256], [256], [256, 10], [10]))


def mlp(x, labels):
    """The loss of a batch; with its gradients this is all of a training step but the update."""
    hidden = gf.nn.relu(gf.matmul(x, W1) + B1)
    hidden = gf.nn.relu(gf.matmul(hidden, W2) + B2)
    logits = gf.matmul(hidden, W3) + B3
    return gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def chain(x):
    """Forty ops on every element, one after the other."""
    for _ in range(10):
        x = gf.tanh(x * 1.1 + 0.1) - 0.05
    return x


def wide(x):
    """Eight products that do not wait for each other."""
    return gf.add_n([gf.matmul(gf.sin(x * float(k)), x) for k in range(1, 9)])


def tiny(x):
    """A neuron with four inputs."""
    return gf.sigmoid(gf.reduce_sum(x * 0.5) + 1.0)


def programs(quick: bool) -> list[tuple]:
    size = 1 if quick else 4
    labels = rng.integers(0, 10, 32 * size)
    return [
        (mlp, (numbers(32 * size, 784), labels), True, "a training step: products and what lies between them"),
        (chain, (numbers(64, 1024 * size),), True, "a chain: fused, each element is loaded and stored once"),
        (wide, (numbers(64 * size, 64 * size),), False, "independent products: workers can do them side by side"),
        (tiny, (numbers(4),), False, "a tiny model: only what surrounds the arithmetic counts"),
    ]


def forward(report, way: str) -> list[str]:
    """The ops of the forward computation that one run executed."""
    return [op for call in report.executed[way] if call.phase == "forward" for op in call.types]


def check(report) -> None:
    """What holds on every machine, however busy it is."""
    report.check()  # all ways agree
    eager = report.eager
    plain, fused = report.row("lazy O0"), report.row("lazy O1")
    assert plain.same_bits and fused.same_bits, "levels 0 and 1 change no bit on NumPy"
    assert forward(report, "lazy O0") == forward(report, "eager"), "level 0 does what eager did"
    assert fused.calls <= plain.calls, "a compiler adds no calls"
    if report.name in ("mlp", "chain"):
        assert fused.calls < eager.calls and fused.buffers < eager.buffers, "here there is something to fuse"
    if report.name == "chain":
        assert fused.peak_bytes < eager.peak_bytes, "what stays inside a fused group needs no memory"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument(
        "--quick", action="store_true", help="smaller, fewer rounds, NumPy alone: figures mean nothing"
    )
    options.add_argument("--pages", metavar="FOLDER", help="write a page and a picture of each program there")
    arguments = options.parse_args()
    settings = {"rounds": 2, "steps": 1, "warm": 0.0, "devices": ["numpy"]} if arguments.quick else {}

    reports = []
    for function, args, grad, question in programs(arguments.quick):
        report = compare(function, *args, grad=grad, **settings)
        check(report)
        reports.append((question, report))
        print(f"{question}\n\n{report}\n\n{'-' * 100}\n")
        if arguments.pages:
            folder = Path(arguments.pages)
            folder.mkdir(parents=True, exist_ok=True)
            for ending in ("html", "png"):
                print(f"written: {report.render(folder / f'{report.name}.{ending}')}")

    print(f"{'program':<8}{'best way':<22}{'eager / lazy':>13}{'ahead from run':>16}{'calls':>14}  agrees")
    for _, report in reports:
        best, eager = report.best, report.eager
        even = "never" if best.break_even is None else f"{best.break_even:,}"
        calls = f"{eager.calls} -> {best.calls}"
        print(
            f"{report.name:<8}{best.way:<22}{eager.steady / best.steady:>12.2f}x{even:>16}{calls:>14}  {report.agrees}"
        )
    if arguments.quick:
        print("\n--quick: the counts hold, the times were measured too few times to mean anything.")


if __name__ == "__main__":
    main()
