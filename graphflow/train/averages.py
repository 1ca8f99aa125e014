"""`ExponentialMovingAverage`: shadow variables that follow others slowly.

Policy: average -= (1 - decay) * (average - value), atomically per average, as TensorFlow 1 has it.  The average of a
variable starts at its initial value, that of a tensor at zero; `zero_debias` divides by what such a start is worth.

State: an ExponentialMovingAverage owns the table of its averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow import spec
from graphflow.constants import convert_to_tensor
from graphflow.errors import DTypeError, InvalidArgumentError
from graphflow.graph import get_default_graph
from graphflow.keys import GraphKeys
from graphflow.ops import arithmetic, array, casts, core, math, state
from graphflow.tensor import Operation, Tensor
from graphflow.variables import Variable


class ExponentialMovingAverage:
    """Moving averages of variables and tensors; with `num_updates` the decay starts small: min(decay, (1+n)/(10+n))."""

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        """The name that the averages bear."""
        return self._name

    def apply(self, var_list: Sequence[Any] | None = None) -> Operation:
        """An op that updates the averages of the variables or tensors; all trainable variables by default."""
        graph = state.outermost(get_default_graph())
        if var_list is None:
            var_list = graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)
        items = list(var_list) if isinstance(var_list, (list, tuple)) else [var_list]
        zero_start = {item for item in items if self._make(item)}
        with core.name_scope(self._name) as scope:
            decay = self._effective_decay()
            updates = [self._update(item, decay, item in zero_start) for item in items]
            return core.group(*updates, name=scope)

    def _make(self, item: Any) -> bool:
        """Make the average of one item; whether it starts at zero and wants to be corrected for that."""
        is_variable = hasattr(item, "handle")
        if not is_variable and not isinstance(item, Tensor):
            raise DTypeError("averages are kept of variables and tensors", got=repr(item)[:80])
        if not item.dtype.is_floating:
            raise DTypeError("averages are kept of floating-point numbers", op=item.op, got=item.dtype.name)
        if item in self._averages:
            return False
        graph = state.outermost(item.graph)
        with graph.as_default(), graph.name_scope(None), graph.scoped(controls=(), region=None):
            known = spec.is_concrete(item.dims)
            if is_variable:
                initial = item.initialized_value()
            else:
                initial = array.zeros(item.shape, item.dtype) if known else array.zeros_like(item)
            self._averages[item] = Variable(
                initial,
                trainable=False,
                collections=[GraphKeys.GLOBAL_VARIABLES],
                validate_shape=known,
                name=f"{item.op.name}/{self._name}",
                shape=item.dims,
            )
        if is_variable:
            graph.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, item)
        return self._zero_debias and not is_variable

    def _effective_decay(self) -> Tensor:
        decay = convert_to_tensor(self._decay, name="decay")
        if self._num_updates is None:
            return decay
        n = casts.cast(self._num_updates, decay.dtype)
        found: Tensor = arithmetic.minimum(decay, (1.0 + n) / (10.0 + n))
        return found

    def _update(self, item: Any, decay: Any, debias: bool) -> Any:
        average = self._averages[item]
        value = item.value() if hasattr(item, "handle") else item
        rate = 1.0 - casts.cast(decay, average.dtype)
        if debias:
            return self._debiased(average, value, rate)
        with get_default_graph().atomic([average.handle]):
            return average.assign_sub((average.read_value() - value) * rate)

    def _debiased(self, average: Variable, value: Any, rate: Any) -> Any:
        """The unbiased average: a biased one from zero, divided by 1 - (1 - rate) ** updates."""
        graph, name = average.graph, average.op.name
        with graph.as_default(), graph.name_scope(None), graph.scoped(controls=(), region=None):
            own: Any = {"trainable": False, "collections": [GraphKeys.GLOBAL_VARIABLES]}
            biased = Variable(average.initial_value, name=f"{name}/biased", **own)
            count = Variable(np.zeros((), average.dtype.np), name=f"{name}/local_step", **own)
        with get_default_graph().atomic([average.handle, biased.handle, count.handle]):
            new = biased.assign_sub((biased.read_value() - value) * rate)
            steps = count.assign_add(np.ones((), average.dtype.np)[()])
            return average.assign(new / (1.0 - math.pow(1.0 - rate, steps)))

    def average(self, var: Any) -> Variable | None:
        """The variable that holds the average; None where none is kept."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name of the average, kept or not."""
        if var in self._averages:
            return self._averages[var].op.name
        return f"{var.op.name}/{self._name}"

    def variables_to_restore(self, moving_avg_variables: Sequence[Any] | None = None) -> dict[str, Any]:
        """For a Saver that gives variables the values of their averages: names of averages -> variables."""
        graph = state.outermost(get_default_graph())
        if moving_avg_variables is None:
            moving_avg_variables = [
                *graph.get_collection(GraphKeys.TRAINABLE_VARIABLES),
                *graph.get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES),
            ]
        averaged = list(dict.fromkeys(moving_avg_variables))
        if not all(hasattr(v, "handle") for v in averaged):
            raise InvalidArgumentError("variables_to_restore takes variables", got=repr(averaged)[:80])
        names = {self.average_name(v): v for v in averaged}
        known = {v.op.name for v in averaged}
        for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES):
            if v.op.name not in known and v.op.name not in names:
                names[v.op.name] = v
        return names
