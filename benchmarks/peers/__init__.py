"""The peers: which module drives each, in which interpreter, and what is left out for a stated reason.

Policy: a peer is a row.  Its module has `prepare(workload, arrays, variant)`, which returns a `Prepared` or raises
`LeftOut`, and `versions()`; one that can build, differentiate and run a large graph also has `ladder(count, variant)`.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Prepared(NamedTuple):
    """A workload ready to be run: `step` ends when its results can be read."""

    step: Callable[[], Sequence[Any]]
    reset: Callable[[], Any] = lambda: None
    weights: Callable[[], Sequence[Any]] = lambda: ()


class LeftOut(Exception):
    """This peer does not do this workload, and why."""


class Peer(NamedTuple):
    """One row; `needs` is what must be importable, `own` says that it runs in graphflow's interpreter."""

    module: str
    needs: str
    variant: str = ""
    own: bool = False
    environment: dict[str, str] = {}  # noqa: RUF012 - read only
    floor: bool = False  # a bound to read beside the peers, not a library that one could use instead
    settles: float = 0.0  # seconds that it runs before it has switched to its compiled code


PURE, FAST = {"GRAPHFLOW_FAST": "0"}, {"GRAPHFLOW_FAST": "1"}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}

PEERS: dict[str, Peer] = {
    "graphflow O1": Peer("with_graphflow", "graphflow", "1", own=True, environment=PURE),
    "graphflow O2": Peer("with_graphflow", "graphflow", "2", own=True, environment=PURE),
    "graphflow fast": Peer("with_graphflow", "llvmlite", "2", own=True, environment=FAST, settles=1.0),
    "numpy": Peer("with_numpy", "numpy", own=True, floor=True),
    "torch": Peer("with_torch", "torch", "eager"),
    "tf1": Peer("with_tf1", "tensorflow", "session", environment=QUIET),
    "tf1_inline": Peer("with_tf1", "tensorflow", "inline", environment=QUIET),
    "tffn": Peer("with_tf2", "tensorflow", "function", environment=QUIET),
    "tfxla": Peer("with_tf2", "tensorflow", "xla", environment=QUIET),
    "torchc": Peer("with_torch", "torch", "compile"),
    "jax": Peer("with_jax", "jax"),
    "pytensor": Peer("with_pytensor", "pytensor"),
    "ort": Peer("with_ort", "onnxruntime"),
    "autograd": Peer("with_autograd", "autograd"),
    "tinygrad": Peer("with_tinygrad", "tinygrad"),
}
OURS = tuple(name for name, peer in PEERS.items() if peer.module == "with_graphflow")
QUICK = ("numpy", "torch", "tf1", "jax")

# (peer, workload or its family): why it is not measured.
SKIPPED = {
    ("pytensor", "small"): "takes minutes to compile 200 matmuls",
    ("pytensor", "cnn"): "has no convolution over several channels",
    ("autograd", "cnn"): "has no convolution over several channels",
    ("tinygrad", "lstm"): "takes minutes to compile, seconds a step",
    ("ort", "mlp"): "runs forward only",
    ("ort", "lecture"): "runs forward only",
    ("ort", "lstm"): "runs forward only",
    ("ort", "ebm"): "runs forward only",
}


def skipped(peer: str, workload: str, family: str) -> str | None:
    """Why this pair is not measured."""
    return SKIPPED.get((peer, workload)) or SKIPPED.get((peer, family))
