"""Steps that someone looks on at: traces, profiles and debuggers.

Policy: a program that nobody watches is bound without any of this; one that is watched runs the same kernels in the
same steps, each between two calls of the observer.

State: none.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from graphflow.backend import Observer
from graphflow.program import Instruction
from graphflow_numpy.steps import Step


def observed(
    step: Step, instructions: tuple[Instruction, ...], inputs: tuple[int, ...], run_slot: int, observer: Observer
) -> Step:
    """The step with someone looking on: before it, after it, and if it fails."""
    first = 1 if step.inputs[:1] == (run_slot,) else 0
    last = first + len(inputs)
    given = step.inputs[last:]  # memory for results
    function, single = step.function, not step.several
    returned = [(i, v) for i, v in enumerate(step.outputs) if v >= 0]

    def call(*arguments: Any) -> Any:
        instead = observer.before(instructions, dict(zip(inputs, arguments[first:last], strict=True)))
        if instead:
            read = [instead.get(v, value) for v, value in zip(inputs, arguments[first:last], strict=True)]
            arguments = (*arguments[:first], *read, *arguments[last:])
        started = time.perf_counter()
        try:
            result = function(*arguments)
        except BaseException as error:
            observer.failed(instructions, error)
            raise
        ended = time.perf_counter()
        results = (result,) if single else result
        made = {v: results[i] for i, v in returned} | dict(zip(given, arguments[last:], strict=True))
        other = observer.after(instructions, made, started, ended)
        if not other:
            return result
        for v, memory in zip(given, arguments[last:], strict=True):
            if v in other:
                np.copyto(memory, other[v])
        results = [other.get(v, value) for v, value in zip(step.outputs, results, strict=True)] if returned else results
        return results[0] if single else tuple(results)

    return step._replace(function=call)
