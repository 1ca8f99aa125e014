"""Hooks of modules on the way back: `register_full_backward_hook`, `register_full_backward_pre_hook`.

Policy: PyTorch's rules.  What goes in and what comes out passes an op that changes nothing, so that the gradients of
this call alone are seen.  A hook of inputs is called when the gradients of all of them are known, and may replace that
of an only one.

State: each call the gradients that have come by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow.eager.engine import EAGER, here
from graphflow.eager.hooks import register_hook
from graphflow.eager.tensor import REQUIRED, EagerTensor
from graphflow.errors import UnimplementedError
from graphflow.ops import core
from graphflow.tensor import Tensor

Hooks = Sequence[Callable[..., Any]]


class Crossing:
    """One call of a module whose gradients are looked at."""

    def __init__(self, module: Any, early: Hooks, late: Hooks) -> None:
        self.module, self.early, self.late = module, early, late
        self.gradients: tuple[list[Any], list[Any]] = ([], [])  # of inputs, of outputs
        self.waiting = [0, 0]  # for how many gradients of inputs, of outputs
        self.ends_here = False  # whether no input wants a gradient

    def entered(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, whose gradients will be seen."""
        if any(isinstance(x, Tensor) and not isinstance(x, EagerTensor) for x in arguments):
            raise UnimplementedError(
                f"hooks on the way back of {type(self.module).__name__} are called in eager mode alone",
                hint="remove the hook, or call the module outside of the graph or the traced function",
            )
        found = self._passed(arguments, 0)
        self.ends_here = not self.waiting[0]
        return found

    def left(self, made: Any) -> Any:
        """What the module made, whose gradients will be seen."""
        return self._passed(made, 1) if isinstance(made, tuple) else self._passed((made,), 1)[0]

    def _passed(self, given: tuple[Any, ...], side: int) -> tuple[Any, ...]:
        found = list(given)
        self.gradients[side][:] = [None] * len(found)
        for place, x in enumerate(found):
            if isinstance(x, EagerTensor) and x.track == REQUIRED and here.records:
                with EAGER.as_default():
                    found[place] = core.identity(x)
                self.waiting[side] += 1
                register_hook(found[place], self._seen(side, place))
        return tuple(found)

    def _seen(self, side: int, place: int) -> Callable[[Any], Any]:
        def hook(gradient: Any) -> Any:
            self.gradients[side][place] = gradient
            self.waiting[side] -= 1
            return self._input_known(place) if side == 0 else self._output_known(place)

        return hook

    def _output_known(self, place: int) -> Any:
        outputs = self.gradients[1]
        for hook in self.early:
            changed = hook(self.module, tuple(outputs))
            if changed is not None:
                outputs[place] = changed[place] if isinstance(changed, tuple) else changed
        if self.ends_here and not self.waiting[1]:
            self._tell()
        return outputs[place]

    def _input_known(self, place: int) -> Any:
        return None if self.waiting[0] else self._tell()[place]

    def _tell(self) -> tuple[Any, ...]:
        """Call the hooks; the gradients of the inputs after them."""
        inputs, outputs = tuple(self.gradients[0]), tuple(self.gradients[1])
        for hook in self.late:
            changed = hook(self.module, inputs, outputs)
            if changed is None:
                continue
            if len(inputs) != 1:
                raise UnimplementedError(
                    "a hook replaces the gradient of an only input", got=f"{len(inputs)} inputs", hint="x.register_hook"
                )
            inputs = changed if isinstance(changed, tuple) else (changed,)
        return inputs
