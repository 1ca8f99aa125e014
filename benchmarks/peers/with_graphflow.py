"""graphflow as a peer: `Session.run` at the optimisation level that the variant names.

State: none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import graphflow as tf
from benchmarks.peers import Prepared, sessions
from benchmarks.workloads import Workload


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"graphflow": tf.__version__, "numpy": np.__version__}


def _session(options: dict[str, Any], variant: str) -> Any:
    config = None
    if "workers" in options:
        config = tf.ConfigProto(
            inter_op_parallelism_threads=options["workers"], intra_op_parallelism_threads=options["blas"]
        )
    return tf.Session(config=config, optimization_level=int(variant))


def prepare(workload: Workload, arrays: dict[str, np.ndarray], variant: str) -> Prepared:
    """The workload in a session of its own."""
    model, init = sessions.built(tf, workload, arrays)
    session = _session(workload.options, variant)
    make = sessions.callable_step if workload.options.get("callable") else sessions.run_step
    return sessions.prepared(session, model, init, make(session, model))


def ladder(count: int, variant: str) -> dict[str, float]:
    """Phases of a large graph."""
    return sessions.ladder(tf, count, lambda: _session({}, variant))
