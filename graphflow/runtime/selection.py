"""What a session was asked for: its backend, its optimisation level, the options of a run.

State: none.
"""

from __future__ import annotations

import os
from typing import Any

from graphflow.backend import Backend, load_backend
from graphflow.errors import InvalidArgumentError, NotFoundError
from graphflow.runtime.config import ConfigProto, RunMetadata, RunOptions


def check_options(options: Any, metadata: Any) -> None:
    """Refuse what is no `RunOptions`, no `RunMetadata`."""
    if options is not None and not isinstance(options, RunOptions):
        raise InvalidArgumentError("options takes a tf.RunOptions", got=repr(options)[:80])
    if metadata is not None and not isinstance(metadata, RunMetadata):
        raise InvalidArgumentError("run_metadata takes a tf.RunMetadata", got=repr(metadata)[:80])


def backend_of(device: str | None) -> Backend:
    """The backend that an argument such as "opencl", "opencl:0:1", "gpu" or "cpu" means; None: GRAPHFLOW_DEVICE's."""
    wanted = (os.environ.get("GRAPHFLOW_DEVICE") or "numpy") if device is None else str(device)
    kind = wanted.lower().removeprefix("/").removeprefix("device:").partition(":")[0]
    name = {"cpu": "numpy", "gpu": "opencl"}.get(kind, kind)
    try:
        backend = load_backend(name).at(wanted.lower())
    except NotFoundError as error:
        if device is None:
            error.summary = f"GRAPHFLOW_DEVICE is {wanted!r}: {error.summary}"
        raise
    if kind == "gpu" and "gpu" not in backend.kinds:
        raise NotFoundError(
            "there is no GPU that OpenCL reaches",
            expected=", ".join(sorted(backend.kinds)),
            got=wanted,
            hint='device="opencl" takes any OpenCL device; `python -m graphflow devices --doctor` looks for the cause',
        )
    return backend


def level_of(config: ConfigProto, given: int | None, default: int) -> int:
    """The optimisation level: an argument, a field of the configuration, or the backend's default."""
    if given is not None:
        return given
    options: Any = config.graph_options.optimizer_options  # type: ignore[attr-defined]
    if options.opt_level == -1:
        return 0
    return 2 if options.global_jit_level > 0 else default
