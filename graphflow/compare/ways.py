"""The ways of computing one function: eagerly, and traced for every level, number of workers and backend.

Policy: each way computes the same results and the same gradients from the same tensors, through the calls that a user
would make, and returns eager tensors, with their values in the host's memory.

State: each way owns what it compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow.backend import available_backends, load_backend
from graphflow.compare.calls import Call, Listener, calls_of
from graphflow.compare.subject import FORWARD, Subject
from graphflow.eager.function import Function, function
from graphflow.eager.recording import no_grad
from graphflow.errors import BackendUnavailable, Error, InvalidArgumentError, shown
from graphflow.runtime.workers import usable_cores

LEVELS = (0, 1, 2)


class Setting(NamedTuple):
    """How a function is computed; `level` and `workers` are None where they have no meaning."""

    name: str
    device: str
    level: int | None = None
    workers: int | None = None


EAGERLY = Setting("eager", "numpy")


class Eager:
    """The eager way."""

    setting = EAGERLY
    build = compiling = 0.0

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def prepare(self, clock: Callable[[], float]) -> None:
        """There is nothing to prepare."""

    def step(self) -> Any:
        """One run."""
        return self._subject.eager()

    def calls(self) -> list[Call]:
        """What one run computes."""
        with Listener() as listener:
            self._subject.eager(listener)
        self._subject.heard(listener)
        return listener.calls


class Lazy:
    """The traced way, for one setting."""

    def __init__(self, subject: Subject, setting: Setting) -> None:
        self.setting = setting
        self._subject = subject
        self.build = self.compiling = 0.0
        self._function: Function
        self._trace: Any

    def prepare(self, clock: Callable[[], float]) -> None:
        """Trace and compile, each timed."""
        s, tensors = self.setting, self._subject.tensors
        whole: Any = functools.partial(self._subject.traced)  # of which there may be many without a notice
        whole.__name__ = self._subject.name
        self._function = function(whole, optimization_level=s.level, device=s.device, workers=s.workers)
        started = clock()
        self._trace = trace = self._function.get_concrete_function(*tensors)
        traced = clock()
        shapes = [x.dims for x in [*tensors, *trace.captured]]
        self.program = trace.session.compiled(trace.fetches, trace.stage.inputs, shapes).program
        self.build, self.compiling = traced - started, clock() - traced

    def step(self) -> Any:
        """One run."""
        with no_grad():
            return self._function(*self._subject.tensors)

    def calls(self) -> list[Call]:
        """What one run computes."""
        graph = self._trace.graph
        return calls_of(self.program, graph.store.get(FORWARD, len(graph)))


def settings(levels: Sequence[int] = LEVELS, devices: Any = None) -> tuple[list[Setting], list[str]]:
    """The traced ways that there are on this machine, and in words why others are missing."""
    cores = usable_cores()
    found: list[Setting] = []
    missing: list[str] = []
    failed: Error | None = None
    for name in _names(devices):
        try:
            backend = load_backend(name)
        except (BackendUnavailable, Error) as error:
            failed = failed or error
            missing.append(f"{name}: {error}".replace("\n", "; "))
            continue
        if name == EAGERLY.device:
            for level in _checked(levels):
                found.append(Setting(f"lazy O{level}", name, level, 1))
                if cores > 1:
                    found.append(Setting(f"lazy O{level}, {cores} workers", name, level, cores))
        else:
            found.append(Setting(f"lazy on {name}", name, backend.default_level))
    if not found and failed is not None:
        raise failed
    if cores == 1:
        missing.append("several workers: this process may use one core")
    return found, missing


def _names(devices: Any) -> list[str]:
    """Backends by their names."""
    if devices is None:
        return list(available_backends())
    found = [devices] if isinstance(devices, str) else list(devices)
    if not found or not all(isinstance(name, str) and name for name in found):
        raise InvalidArgumentError(
            "devices are names of backends", expected=", ".join(available_backends()), got=shown(devices)
        )
    return list(dict.fromkeys(found))


def _checked(levels: Any) -> list[int]:
    found = list(levels) if isinstance(levels, (list, tuple, range, set)) else [levels]
    if not found or any(isinstance(x, bool) or x not in LEVELS for x in found):
        raise InvalidArgumentError("levels are optimization levels", expected="0, 1, 2", got=shown(levels))
    return list(dict.fromkeys(found))
