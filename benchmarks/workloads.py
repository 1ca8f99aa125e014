"""The workloads: what one timed run is, and how closely peers must agree on it before they are timed.

Policy: one row per workload.  A training workload is compared by its loss and by what its weights changed by after
`steps` steps, everything else by its outputs; the tolerance is the norm of the difference to a float64 reference,
relative to the norm of the reference.

State: none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks import data


class Workload(NamedTuple):
    """One row: `family` names its inputs, `options` go to the peer."""

    name: str
    title: str
    family: str
    tolerance: float
    steps: int = 1  # runs before outputs are compared: more than one where a run changes weights
    trains: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012 - read only
    only: tuple[str, ...] = ()  # peers for which the row makes sense; none named: all
    hogged: bool = False  # another process takes one core meanwhile


GRAPHFLOW = ("graphflow O1", "graphflow O2", "graphflow fast")
PARALLEL = (*GRAPHFLOW, "tf1", "numpy")
ONE = {"workers": 1, "blas": 1}
TWO = {"workers": 2, "blas": 1}

TABLE = (
    Workload("noop", "feed a scalar, add one, fetch it", "noop", 1e-6),
    Workload("noop_callable", "the same, through make_callable", "noop", 1e-6,
             options={"callable": True}, only=(*GRAPHFLOW, "tf1")),
    Workload("chain", "1,000 chained scalar additions", "chain", 1e-4),
    Workload("small", "200 matmuls of 16 x 16, and add_n", "small", 1e-5),
    *(
        Workload(f"elementwise_{size}_{kind}", f"elementwise, {size} elements, {words}", f"elementwise_{size}", tol,
                 options={"gradient": kind == "grad"})
        for size, tol in (("4m", 1e-4), ("64k", 1e-4), ("1k", 1e-4))
        for kind, words in (("fwd", "forward"), ("grad", "and its gradient"))
    ),
    Workload("mlp_sgd", "784-256-256-10, batch 128, SGD step", "mlp", 5e-3, 3, True, {"optimizer": "sgd"}),
    Workload("mlp_adam", "784-256-256-10, batch 128, Adam step", "mlp", 1e-2, 3, True, {"optimizer": "adam"}),
    Workload("lecture", "2-20-20-1, batch 32, SGD step", "lecture", 5e-3, 3, True),
    Workload("cnn_train", "two convolutions, batch 64, SGD step", "cnn", 5e-3, 2, True, {"train": True}),
    Workload("cnn_infer", "the same, inference", "cnn", 1e-4, options={"train": False}),
    Workload("wide", "16 branches of 6 (matmul 256, tanh)", "wide", 1e-4),
    Workload("wide_1", "wide, one worker, BLAS on one thread", "wide", 1e-4, options=ONE, only=PARALLEL),
    Workload("wide_2", "wide, two workers, BLAS on one thread", "wide", 1e-4, options=TWO, only=PARALLEL),
    Workload("wide_2_hogged", "wide_2, one core taken by another process", "wide", 1e-4, options=TWO, only=PARALLEL,
             hogged=True),
    Workload("wide_hogged", "wide, one core taken by another process", "wide", 1e-4, only=PARALLEL, hogged=True),
    Workload("line_1", "48 (matmul 256, tanh) in a row, one worker", "line", 1e-4, options=ONE, only=PARALLEL),
    Workload("line_2", "48 (matmul 256, tanh) in a row, two workers", "line", 1e-4, options=TWO, only=PARALLEL),
    Workload("lstm", "LSTM, 28 steps, hidden 128, SGD step", "lstm", 5e-3, 3, True),
    Workload("ebm", "free energy on a 24 x 48 grid, SGD step", "ebm", 5e-3, 3, True),
)  # fmt: skip
WORKLOADS = {row.name: row for row in TABLE}
APART = ("compile", "import")  # measured in fresh processes: see ladder.py and starts.py


def chosen(words: list[str]) -> list[str]:
    """Names of the workloads asked for: a word is a name, or the beginning of several."""
    names = [*WORKLOADS, *APART]
    if not words:
        return names
    found = [n for n in names if any(n == w or n.startswith(f"{w}_") for w in words)]
    unknown = [w for w in words if not any(n == w or n.startswith(f"{w}_") for n in names)]
    if unknown:
        raise ValueError(f"no workload {', '.join(unknown)}; there are {', '.join(names)}")
    return found


def initial(workload: Workload) -> list[Any]:
    """The weights before the first step, in the order of comparison."""
    if not workload.trains:
        return []
    arrays = data.arrays(workload.family)
    return [arrays[name] for name in data.WEIGHTS[workload.family]]
