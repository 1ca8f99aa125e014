"""Kernels of conditionals and loops: they run the executables of their branches and bodies.

Policy: only the taken branch runs.  What a loop stacks is decided when the program is compiled: an output that nobody
reads costs nothing.  Each iteration has a run of its own whose path ends in the iteration's number, so that random
ops draw anew.

State: none beyond the executables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.backend import Context, Executable, Run
from graphflow.errors import CancelledError, InvalidArgumentError
from graphflow.program import Instruction
from graphflow_numpy import state
from graphflow_numpy.table import kernel

Kernel = Callable[..., Any]


def _function(context: Any, ins: Instruction, name: str, tensors: Sequence[Any], varying: int) -> Executable:
    """The executable of a branch or body; `varying` arguments may change their shape from call to call."""
    graph, places = ins.attrs[name], ins.attrs[name + "_inputs"]
    dims = [
        arg.dims if i < varying else context.dims(ins.inputs[p])
        for i, (arg, p) in enumerate(zip(graph.args, places, strict=True))
    ]
    found: Executable = context.compile_function(graph, tensors, dims)
    return found


def _saved(ins: Instruction, name: str) -> list[tuple[int, Any]]:
    """Outputs beyond the results that somebody reads: (number of the output, tensor of the function)."""
    return [(n, t) for t, n in ins.attrs[name].saved.items() if n < len(ins.outputs) and ins.outputs[n] >= 0]


@kernel("If", bound=True, needs_run=True, view=True, user=True)
def _if(context: Context, ins: Instruction) -> Kernel:
    total = len(ins.outputs)
    branches = {}
    for chosen, name in ((True, "then_branch"), (False, "else_branch")):
        graph, saved = ins.attrs[name], _saved(ins, name)
        executable = _function(context, ins, name, [*graph.results, *[t for _, t in saved]], 0)
        branches[chosen] = executable, ins.attrs[name + "_inputs"], len(graph.results), [n for n, _ in saved]

    def run_branch(run: Run, *inputs: Any) -> Any:
        executable, places, count, numbers = branches[bool(inputs[0])]
        found = executable.compute([inputs[p] for p in places], run)
        out: list[Any] = [None] * total
        out[:count] = found[:count]
        for number, value in zip(numbers, found[count:], strict=True):
            out[number] = value
        return out[0] if total == 1 else tuple(out)

    return run_branch


@kernel("While", bound=True, needs_run=True, view=True, user=True)
def _while(context: Context, ins: Instruction) -> Kernel:
    body, count = ins.attrs["body"], ins.attrs["count"]
    rows = [i for i in range(count, len(body.results)) if ins.outputs[i] >= 0]
    saved = _saved(ins, "body")
    wanted = [*body.results[:count], *[body.results[i] for i in rows], *[t for _, t in saved]]
    numbers = [*rows, *[n for n, _ in saved]]
    step = _function(context, ins, "body", wanted, count)
    going = _function(context, ins, "cond", [ins.attrs["cond"].results[0]], count)
    step_rest = ins.attrs["body_inputs"][count:]
    going_rest = ins.attrs["cond_inputs"][count:]
    total, total_results = len(ins.outputs), len(body.results)
    empty = [_no_rows(t) for t in wanted[count:]]
    closed = context.is_closed

    def run_loop(run: Run, *inputs: Any) -> tuple[Any, ...]:
        state = list(inputs[:count])
        step_fixed = [inputs[p] for p in step_rest]
        going_fixed = [inputs[p] for p in going_rest]
        stacks: list[list[Any]] = [[] for _ in numbers]
        turns = 0
        while True:
            if closed():
                raise CancelledError("the run was cancelled", hint="its session was closed while it ran")
            inner = Run(run.index, run.seed, (*run.path, turns))
            if not going.compute([*state, *going_fixed], inner)[0]:
                break
            found = step.compute([*state, *step_fixed], inner)
            state = found[:count]
            for stack, value in zip(stacks, found[count:], strict=True):
                stack.append(value)
            turns += 1
        out: list[Any] = [None] * total
        out[:count] = state
        out[total_results] = np.int32(turns)
        for number, stack, nothing in zip(numbers, stacks, empty, strict=True):
            out[number] = _stacked(stack, number >= total_results) if stack else nothing
        return tuple(out)

    return run_loop


def _no_rows(tensor: Any) -> Any:
    """What is stacked over no iteration at all."""
    if tensor.dtype.name == "resource":
        return None
    return np.zeros((0, *[d or 0 for d in tensor.dims or ()]), tensor.dtype.np)


class Ragged(list[Any]):
    """What a loop kept of its iterations where the shapes differ: only single rows can be taken from it."""


def _stacked(values: list[Any], history: bool) -> Any:
    if any(v is None or isinstance(v, Ragged) for v in values):
        return Ragged(values)
    try:
        return np.stack(values)
    except ValueError:
        if history:
            return Ragged(values)
        shapes = sorted({np.shape(v) for v in values})
        raise InvalidArgumentError(
            "what is kept of each iteration has different shapes, so it cannot be stacked",
            expected="one shape in all iterations",
            got=", ".join(map(str, shapes[:4])),
            hint="map_fn and scan need a function whose results keep their shape",
        ) from None


@kernel("HistoryRow", view=True)
def _history_row(history: Any, number: Any) -> Any:
    return history[int(state.checked_rows(number, len(history)))]


@kernel("AssertTrue")
def _assert_true(pred: Any, *, message: str) -> tuple[()]:
    if not np.all(pred):
        raise InvalidArgumentError(message)
    return ()


@kernel("AtMostOne")
def _at_most_one(preds: Any) -> tuple[()]:
    if np.count_nonzero(preds) > 1:
        raise InvalidArgumentError("more than one predicate of an exclusive case holds", got=str(preds))
    return ()


@kernel("CustomGradient", view=True)
def _custom_gradient(*inputs: Any, results: int, derivative: Any) -> Any:
    return inputs[:results] if results > 1 else inputs[0]
