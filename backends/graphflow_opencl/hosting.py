"""Tasks of the host inside a plan: instructions that the NumPy backend executes.

Policy: a task is a program of its own for the NumPy backend, which brings its kernels, its errors and its control
flow; conditionals and loops get their values as they lie on the device and hand them to executables of this backend.
Where an instruction touches a variable of the device, the task works on a copy and puts back what it changed.  While
code of the user's runs, no lock is held.

State: each task has its executable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.backend import Context, Executable, Run, load_backend, user_kernels
from graphflow.program import Instruction, Program
from graphflow.spec import is_concrete
from graphflow_opencl.cells import DeviceCell
from graphflow_opencl.facts import WRITES
from graphflow_opencl.locks import let_go
from graphflow_opencl.plan import CONTROL, Node, Plan

USER_CODE = frozenset({"PyFunc"})
MOST_SHAPES = 16


def asked_for(ins: Instruction) -> bool:
    """Whether the user placed the op on the CPU by name."""
    device = ins.op.device
    return bool(device) and "cpu" in device.lower()


def calls_user(ins: Instruction) -> bool:
    """Whether an instruction runs functions of the user's, in a branch or a body, too."""
    waiting: list[tuple[str, Any]] = [(ins.type, ins.attrs)]
    while waiting:
        kind, attrs = waiting.pop()
        if kind in USER_CODE or kind in user_kernels("numpy"):
            return True
        for value in attrs.values():
            if hasattr(value, "get_operations"):
                waiting += [(op.type, op.attrs) for op in value.get_operations()]
    return False


class HostTask:
    """Some instructions for the NumPy backend."""

    def __init__(self, plan: Plan, node: Node, wanted: Sequence[int], context: Context) -> None:
        made = {v for ins in node.instructions for v in ins.outputs}
        used = dict.fromkeys(v for ins in node.instructions for v in ins.inputs if v not in made)
        self.inputs = [v for v in used if v not in plan.fixed]
        self.outputs = list(wanted)
        self.calls_user = any(calls_user(ins) for ins in node.instructions)
        self.keeps_on_device = node.kind == CONTROL
        self._written = {ins.inputs[0] for ins in node.instructions if ins.type in WRITES}
        program = Program(
            instructions=node.instructions,
            values=plan.program.values,
            constants={v: plan.fixed[v] for v in used if v in plan.fixed},
            feeds=tuple(self.inputs),
            fetches=tuple(self.outputs),
            level=plan.program.level,
        )
        self.executable = load_backend("numpy").compile(program, _HostContext(context))

    def __call__(self, frame: Any, run: Run) -> None:
        """Fetch the inputs, compute, store the results; whatever was under way on the device is done."""
        look = frame.on_device if self.keeps_on_device else frame.on_host
        values = [look(v) for v in self.inputs]
        if self.calls_user:
            with let_go(frame.device.lock):
                found = self._computed(values, run)
        else:
            found = self._computed(values, run)
        for v, value in zip(self.outputs, found, strict=True):
            frame.put(v, value)

    def _computed(self, values: Sequence[Any], run: Run) -> list[Any]:
        given = list(values)
        proxies = []
        if not self.keeps_on_device:
            for place, value in enumerate(given):
                if type(value) is DeviceCell:
                    given[place] = proxy = _proxy(value)
                    if self.inputs[place] in self._written:
                        proxies.append((value, proxy))
        inner = Run(run.index, run.seed, run.path)
        found = self.executable(given, inner)
        for cell, proxy in proxies:
            cell.assign(proxy.snapshot())
        return found


def _proxy(cell: DeviceCell) -> Any:
    """A cell of the NumPy backend with the variable's value."""
    proxy = load_backend("numpy").new_cell(cell.name, cell.dtype, cell.dims)
    if cell.initialized:
        proxy.assign(np.asarray(cell.snapshot()))
    return proxy


class _HostContext:
    """What the NumPy backend sees of the session: functions become executables for the shapes that they meet."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.workers = context.workers
        self.threads = context.threads
        self.soft_placement = context.soft_placement
        self.watch = None  # the task as a whole is a step of the plan
        self.is_closed: Callable[[], bool] = context.is_closed

    def cell(self, variable: Any) -> Any:
        """The memory of a variable; one of the device has a stand-in, since tasks get their cells as inputs."""
        found = self._context.cell(variable)
        if type(found) is DeviceCell:
            return load_backend("numpy").new_cell(found.name, found.dtype, found.dims)
        return found

    def compile_function(self, graph: Any, results: Sequence[Any], dims: Sequence[Any]) -> Executable:
        """The executable of a branch or body."""
        if all(map(is_concrete, dims)):
            return self._context.compile_function(graph, results, dims)
        return _Specialised(self._context, graph, results)  # type: ignore[return-value]


class _Specialised:
    """A branch or body whose arguments have shapes that only a run knows: compiled for each of them."""

    def __init__(self, context: Context, graph: Any, results: Sequence[Any]) -> None:
        self._compile = context.compile_function
        self._graph = graph
        self._results = results
        self._found: dict[tuple[Any, ...], Executable] = {}
        self._general: Executable | None = None  # for any shape, once there have been many

    def compute(self, feeds: Sequence[Any], run: Run) -> list[Any]:
        """The results for these arguments."""
        shapes = tuple([getattr(x, "shape", None) for x in feeds])
        executable = self._found.get(shapes) or self._general
        if executable is None:
            general = len(self._found) >= MOST_SHAPES
            dims = [a.dims if general or s is None else s for a, s in zip(self._graph.args, shapes, strict=True)]
            executable = self._compile(self._graph, self._results, dims)
            if general:
                self._general = executable
            else:
                self._found[shapes] = executable
        return executable.compute(feeds, run)
