"""TensorFlow 1 sessions (`tensorflow.compat.v1`): `Session.run`, and a prepared callable run in the caller's thread.

State: TensorFlow 2's behaviour is switched off for the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow
from tensorflow.core.protobuf import config_pb2

from benchmarks import graphs
from benchmarks.peers import Prepared, sessions
from benchmarks.workloads import Workload

tf = tensorflow.compat.v1
tf.disable_v2_behavior()

# For the wide workload one BLAS thread an op and two ops at a time is TF1's best; elsewhere both cores for an op.
WIDE = {"workers": 2, "blas": 1}


def versions() -> dict[str, str]:
    """What to print beside the figures."""
    return {"tensorflow": tensorflow.__version__}


def _session(workers: int = 2, blas: int = 2) -> Any:
    return tf.Session(config=tf.ConfigProto(inter_op_parallelism_threads=workers, intra_op_parallelism_threads=blas))


def _inline_step(session: Any, model: graphs.Model) -> Callable[[], Any]:
    options = config_pb2.CallableOptions()
    options.fetch.extend(t.name for t in model.outputs)
    options.feed.extend(t.name for t in model.feeds)
    if model.update is not None:
        options.target.append(model.update.name)
    options.run_options.inter_op_thread_pool = -1
    call, values = session._make_callable_from_options(options), list(model.feeds.values())
    return lambda: call(*values)


def prepare(workload: Workload, arrays: dict[str, np.ndarray], variant: str) -> Prepared:
    """The workload in a session of its own."""
    model, init = sessions.built(tf, workload, arrays)
    threads = {key: workload.options[key] for key in ("workers", "blas") if key in workload.options}
    session = _session(**(threads or (WIDE if workload.family == "wide" and variant == "session" else {})))
    if variant == "inline":
        step = _inline_step(session, model)
    elif workload.options.get("callable"):
        step = sessions.callable_step(session, model)
    else:
        step = sessions.run_step(session, model)
    return sessions.prepared(session, model, init, step)


def ladder(count: int, variant: str) -> dict[str, float]:
    """Phases of a large graph."""
    return sessions.ladder(tf, count, _session)
