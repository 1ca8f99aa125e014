"""`ConfigProto`, `RunOptions`, `RunMetadata`: TensorFlow 1's option objects.

Policy: every field that TF1 code sets is accepted, by keyword or by attribute.  What has a meaning here is honoured;
what has none says so once, through the logger "graphflow".

State: which fields have been mentioned already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, ClassVar

from graphflow.errors import DTypeError, InvalidArgumentError

logger = logging.getLogger("graphflow")
_mentioned: set[str] = set()


class _Options:
    """A record with declared fields; assigning an undeclared one is an error."""

    FIELDS: ClassVar[dict[str, Any]] = {}
    HONOURED: ClassVar[frozenset[str]] = frozenset()
    LEAST: ClassVar[dict[str, int]] = {}  # of integers that may not be lower

    def __init__(self, **values: Any) -> None:
        for name, default in self.FIELDS.items():
            object.__setattr__(self, name, default() if isinstance(default, type) else default)
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FIELDS:
            raise InvalidArgumentError(
                f"{type(self).__name__} has no field {name!r}", expected=", ".join(sorted(self.FIELDS))
            )
        default = self.FIELDS[name]
        nested = isinstance(default, type)
        if nested and not isinstance(value, default):
            raise InvalidArgumentError(f"{name} takes a {default.__name__}", got=repr(value))
        if not nested and default is not None and not _fits(value, default):
            raise DTypeError(f"{name} takes {_KINDS[type(default)]}", got=repr(value)[:80])
        if name in self.LEAST:
            value = _at_least(self.LEAST[name], name, value)
        object.__setattr__(self, name, value)
        if name not in self.HONOURED and not nested and value != default:
            mention(f"{type(self).__name__}.{name}")

    def CopyFrom(self, other: Any) -> None:
        """Take over all fields of another one."""
        if not isinstance(other, type(self)):
            raise DTypeError(f"a {type(self).__name__} takes over the fields of another one", got=repr(other)[:80])
        for name in self.FIELDS:
            object.__setattr__(self, name, getattr(other, name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.FIELDS)})"


_KINDS = {bool: "True or False", int: "an integer", float: "a number", str: "a string"}


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of the field's default."""
    if isinstance(default, bool):
        return isinstance(value, bool) or type(value) is int and value in (0, 1)
    if isinstance(default, (int, float)):
        numbers = (int, float) if isinstance(default, float) else int
        return isinstance(value.item() if getattr(value, "shape", None) == () else value, numbers)
    return isinstance(value, type(default))


def _at_least(least: int, name: str, value: Any) -> int:
    """The integer, as Python's; an error if it is too low."""
    number = int(value)
    if number < least:
        raise InvalidArgumentError(f"{name} takes {least} or more", got=str(number))
    return number


def mention(field: str) -> None:
    """Say once that a field has no effect."""
    if field not in _mentioned:
        _mentioned.add(field)
        logger.warning("%s has no effect in graphflow", field)


class GPUOptions(_Options):
    """Accepted for TF1 code; there is no GPU memory to configure here."""

    FIELDS: ClassVar[dict[str, Any]] = {
        "per_process_gpu_memory_fraction": 0.0,
        "allow_growth": False,
        "visible_device_list": "",
        "allocator_type": "",
        "force_gpu_compatible": False,
    }


class OptimizerOptions(_Options):
    """How graphs are optimised, as in TF1: `opt_level` is -1 (L0) or 0 (L1, the default).

    `global_jit_level` ON_1 or ON_2 is `optimization_level=2`.
    """

    L0, L1 = -1, 0
    OFF, ON_1, ON_2 = -1, 1, 2
    FIELDS: ClassVar[dict[str, Any]] = {
        "opt_level": 0,
        "do_common_subexpression_elimination": False,
        "do_constant_folding": False,
        "do_function_inlining": False,
        "global_jit_level": 0,
    }
    HONOURED = frozenset({"opt_level", "global_jit_level"})


class GraphOptions(_Options):
    """Options of the compiler."""

    FIELDS: ClassVar[dict[str, Any]] = {
        "optimizer_options": OptimizerOptions,
        "rewrite_options": None,
        "infer_shapes": False,
    }
    HONOURED = frozenset({"infer_shapes"})


class ConfigProto(_Options):
    """Options of a session.

    `inter_op_parallelism_threads` is how many tasks of a run may be done at once (1, or -1 as in TF1: all in the
    caller's thread), `intra_op_parallelism_threads` how many threads one op may use; 0 is the number of cores that the
    process may use.  They change no bit of a result.
    """

    FIELDS: ClassVar[dict[str, Any]] = {
        "allow_soft_placement": False,
        "log_device_placement": False,
        "inter_op_parallelism_threads": 0,
        "intra_op_parallelism_threads": 0,
        "device_count": dict,
        "gpu_options": GPUOptions,
        "graph_options": GraphOptions,
        "operation_timeout_in_ms": 0,
        "use_per_session_threads": False,
        "isolate_session_state": False,
    }
    HONOURED = frozenset({
        "allow_soft_placement", "inter_op_parallelism_threads", "intra_op_parallelism_threads", "isolate_session_state",
    })  # fmt: skip
    LEAST: ClassVar[dict[str, int]] = {"inter_op_parallelism_threads": -1, "intra_op_parallelism_threads": 0}


class RunOptions(_Options):
    """Options of one run.

    Any `trace_level` but NO_TRACE fills in `RunMetadata.step_stats`; they are all the same here.  `timeout_in_ms` is
    looked at before each step of the run, compiling not counted: `DeadlineExceededError`.
    """

    NO_TRACE, SOFTWARE_TRACE, HARDWARE_TRACE, FULL_TRACE = 0, 1, 2, 3
    FIELDS: ClassVar[dict[str, Any]] = {
        "trace_level": 0,
        "timeout_in_ms": 0,
        "inter_op_thread_pool": 0,
        "output_partition_graphs": False,
        "report_tensor_allocations_upon_oom": False,
    }
    HONOURED = frozenset({"trace_level", "timeout_in_ms"})
    LEAST: ClassVar[dict[str, int]] = {"trace_level": 0, "timeout_in_ms": 0}


class StepStats:
    """The steps of one run: `dev_stats` has one `DeviceStepStats` for each device; see `runtime.step_stats`."""

    def __init__(self, dev_stats: Iterable[Any] = ()) -> None:
        self.dev_stats = list(dev_stats)

    def __repr__(self) -> str:
        return f"StepStats(dev_stats={self.dev_stats!r})"


class RunMetadata(_Options):
    """What a run reports: `program` is the compiled Program, `step_stats` what was done when, if that was asked for."""

    FIELDS: ClassVar[dict[str, Any]] = {
        "step_stats": StepStats,
        "cost_graph": None,
        "partition_graphs": None,
        "program": None,
    }
    HONOURED = frozenset({"program", "step_stats"})
