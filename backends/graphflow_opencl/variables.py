"""What is done to variables by the host between kernels: whether they hold a value, and assignments of odd shapes.

Policy: whether a variable has a value is known to its cell alone; the steps here run when everything before them is
done.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.errors import Error
from graphflow.program import Instruction
from graphflow_opencl.cells import uninitialized

Step = Callable[[Any, Any], None]


def step_of(ins: Instruction) -> Step | None:
    """The step of an instruction; None if there is nothing to do but to wait."""
    action = ACTIONS.get(ins.type)
    if action is None:
        return None

    def step(frame: Any, run: Any) -> None:
        try:
            action(frame, ins)
        except Error as error:
            raise error.attach(ins.op) from None

    return step


def _initial(frame: Any, ins: Instruction) -> None:
    cell = frame.values[ins.inputs[0]]
    frame.put(ins.outputs[0], cell.snapshot() if cell.initialized else frame.on_host(ins.inputs[1]))


def _initialized(frame: Any, ins: Instruction) -> None:
    frame.put(ins.outputs[0], np.bool_(frame.values[ins.inputs[0]].initialized))


def _assign(frame: Any, ins: Instruction) -> None:
    frame.values[ins.inputs[0]].assign(frame.on_host(ins.inputs[1]))


def _is_held(frame: Any, ins: Instruction) -> None:
    cell = frame.values[ins.inputs[0]]
    if not cell.initialized:
        raise uninitialized(cell.name)


ACTIONS: dict[str, Callable[[Any, Instruction], None]] = {
    "InitializedValue": _initial,
    "IsVariableInitialized": _initialized,
    "Assign": _assign,
    "IsHeld": _is_held,
}
