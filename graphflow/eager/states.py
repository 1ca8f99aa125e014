"""Modules by hand: `fprop` and `bprop` over states that hold a value x and its derivative dx.

Policy: a thin adapter.  `fprop` computes x of the output and remembers how; `bprop` adds to dx of the inputs, and to
the gradients of the parameters, what the library's own derivatives make of dx of the output.  Sums, not assignments:
a state that feeds several modules, and a module that is used at several times, collect what comes from all of them.

State: each `State` its two tensors and, for the output of a module, the record of how it was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphflow.eager.engine import EAGER
from graphflow.eager.nn import functional
from graphflow.eager.nn.module import Module
from graphflow.eager.nn.parameter import Parameter
from graphflow.eager.recording import enable_grad
from graphflow.eager.storage import forget_gradients
from graphflow.eager.tape import differentiate
from graphflow.eager.tensor import LEARNED, REQUIRED, EagerTensor
from graphflow.errors import FailedPreconditionError, InvalidArgumentError, shown
from graphflow.ops import array, core, math, reduce


class State:
    """A value x, and dx: the derivative of the energy with respect to it."""

    def __init__(self, x: Any = None) -> None:
        self.x: EagerTensor | None = None
        self.dx: EagerTensor | None = None
        self.made: tuple[EagerTensor, tuple[EagerTensor, ...]] | None = None  # the output as recorded, its inputs
        if x is not None:
            self.set(x)

    def set(self, x: Any) -> None:
        """Give it a value; the derivative is forgotten."""
        with EAGER.as_default():
            found: Any = core.convert_to_tensor(x)
        self.x, self.dx, self.made = EagerTensor(found.value, found.dtype), None, None

    def seed(self, dx: Any = 1.0) -> None:
        """Begin going backwards here: what the derivative is."""
        with EAGER.as_default():
            self.dx = core.convert_to_tensor(dx, self.value.dtype) + array.zeros_like(self.value)

    @property
    def value(self) -> EagerTensor:
        """x, which must be there."""
        if self.x is None:
            raise FailedPreconditionError("this state has no value yet", hint="state.set(x), or fprop into it")
        return self.x

    def add(self, dx: Any) -> None:
        """One more contribution to the derivative."""
        if dx is not None:
            with EAGER.as_default():
                self.dx = dx if self.dx is None else math.add(self.dx, dx)

    def __repr__(self) -> str:
        return f"State(x={self.x!r}, dx={self.dx!r})"


class Propagating:
    """A module, or any function of tensors, with `fprop` and `bprop`."""

    def __init__(self, function: Callable[..., Any], parameters: Iterable[EagerTensor] = ()) -> None:
        if not callable(function):
            raise InvalidArgumentError("fprop needs a module or a function", got=shown(function))
        self.function = function
        self.learned = list(function.parameters()) if isinstance(function, Module) else list(parameters)

    def fprop(self, *states: State) -> None:
        """From the values of all states but the last compute that of the last."""
        *inputs, output = states
        leaves = tuple(EagerTensor(s.value.value, s.value.dtype, REQUIRED) for s in inputs)
        with EAGER.as_default(), enable_grad():
            made = self.function(*leaves)
        output.set(made)
        output.made = made, leaves

    def bprop(self, *states: State) -> None:
        """Add to the derivatives of all states but the last, and to the parameters' gradients."""
        *inputs, output = states
        if output.made is None or len(output.made[1]) != len(inputs):
            raise FailedPreconditionError("bprop goes back over what fprop made", hint="fprop with the same states")
        if output.dx is None:
            raise FailedPreconditionError(
                "the output has no derivative yet", hint="output.seed(), or bprop from behind"
            )
        made, leaves = output.made
        learned = [p for p in self.learned if p.track == REQUIRED]
        found, _ = differentiate([made], [*leaves, *learned], [output.dx], False)
        for state, dx in zip(inputs, found, strict=False):
            state.add(dx)
        for p, g in zip(learned, found[len(leaves) :], strict=True):
            if g is not None:
                with EAGER.as_default():
                    p.grad = g if p.grad is None else math.add(p.grad, g)


def _learned(values: Any) -> EagerTensor:
    """A parameter; one that is given may be shared."""
    return values if isinstance(values, EagerTensor) and values.role == LEARNED else Parameter(values)


class LinearModule(Propagating):
    """out = W in."""

    def __init__(self, weight: Any) -> None:
        self.weight: EagerTensor = _learned(weight)
        super().__init__(lambda x: functional.linear(x, self.weight), [self.weight])


class TanhModule(Propagating):
    """out = tanh(in + bias)."""

    def __init__(self, bias: Any) -> None:
        self.bias: EagerTensor = _learned(bias)
        super().__init__(lambda x: math.tanh(math.add(x, self.bias)), [self.bias])


class EuclideanModule(Propagating):
    """out = half the squared distance of two inputs."""

    def __init__(self) -> None:
        super().__init__(lambda x, y: reduce.reduce_sum(math.square(x - y)) * 0.5)


class Net(Propagating):
    """Modules between states, in an order in which they can be computed: any graph without cycles."""

    def __init__(self, steps: Sequence[tuple[Propagating, Sequence[State]]]) -> None:
        self.steps = [(module, tuple(states)) for module, states in steps]
        self.learned = list({id(p): p for module, _ in self.steps for p in module.learned}.values())

    def fprop(self, *states: State) -> None:
        """All modules, first to last."""
        for module, around in self.steps:
            module.fprop(*around)

    def bprop(self, *states: State) -> None:
        """All modules, last to first, from dx of the last output, which is 1 unless it was seeded."""
        output = self.steps[-1][1][-1]
        if output.dx is None:
            output.seed()
        for module, around in reversed(self.steps):
            module.bprop(*around)

    def zero(self) -> None:
        """Forget the derivatives of all states and parameters."""
        forget_gradients(self.learned)
        for _, around in self.steps:
            for state in around:
                state.dx = None


def chain(modules: Sequence[Propagating], first: State, last: State) -> Net:
    """Modules one after another, with states between them."""
    states = [first, *(State() for _ in modules[1:]), last]
    return Net([(m, (states[i], states[i + 1])) for i, m in enumerate(modules)])


__all__ = ["EuclideanModule", "LinearModule", "Net", "Propagating", "State", "TanhModule", "chain"]
