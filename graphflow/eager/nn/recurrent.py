"""Recurrent layers: RNN, LSTM, GRU.

Policy: PyTorch's names, shapes, order of gates and initial values.  The inputs of all steps are projected at once; the
steps themselves follow one another as ops, so their number must be known.  A kind of cell is a row of `_KINDS`.

State: the parameters of each module.
"""

from __future__ import annotations

import math as scalar
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphflow import spec
from graphflow.eager.nn import functional, init
from graphflow.eager.nn.module import Module
from graphflow.eager.nn.parameter import empty_parameter
from graphflow.eager.placement import next_to
from graphflow.errors import InvalidArgumentError, ShapeError
from graphflow.ops import activations, arrange, array, core, math

States = tuple[Any, ...]


def _simple(activation: Callable[[Any], Any]) -> Callable[[Any, Any, States], States]:
    def step(from_input: Any, from_state: Any, states: States) -> States:
        return (activation(from_input + from_state),)

    return step


def _lstm(from_input: Any, from_state: Any, states: States) -> States:
    """Gates: input, forget, cell, output."""
    i, f, g, o = array.split(from_input + from_state, 4, -1)
    cell = math.sigmoid(f) * states[1] + math.sigmoid(i) * math.tanh(g)
    return math.sigmoid(o) * math.tanh(cell), cell


def _gru(from_input: Any, from_state: Any, states: States) -> States:
    """Gates: reset, update, new."""
    r, z, n = array.split(from_input, 3, -1)
    hr, hz, hn = array.split(from_state, 3, -1)
    new = math.tanh(n + math.sigmoid(r + hr) * hn)
    return (new + math.sigmoid(z + hz) * (states[0] - new),)


class _Kind(NamedTuple):
    """A kind of cell."""

    gates: int
    states: int
    step: Callable[[Any, Any, States], States]


_KINDS = {
    "tanh": _Kind(1, 1, _simple(math.tanh)),
    "relu": _Kind(1, 1, _simple(activations.relu)),
    "lstm": _Kind(4, 2, _lstm),
    "gru": _Kind(3, 1, _gru),
}


class _Recurrent(Module):
    """Layers of cells over the steps of a sequence."""

    def __init__(
        self,
        kind: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise InvalidArgumentError("unknown nonlinearity", expected='"tanh" or "relu"', got=repr(kind))
        if num_layers < 1 or hidden_size < 1:
            raise InvalidArgumentError("num_layers and hidden_size are positive", got=f"{num_layers}, {hidden_size}")
        self._kind = kind
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        wide = _KINDS[kind].gates * hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * self._directions
            for suffix in self._suffixes(layer):
                sizes: dict[str, tuple[int, ...]] = {"weight_ih": (wide, inputs), "weight_hh": (wide, hidden_size)}
                sizes |= {"bias_ih": (wide,), "bias_hh": (wide,)} if bias else {}
                for name, dims in sizes.items():
                    self.register_parameter(f"{name}{suffix}", empty_parameter(dims, dtype, device))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def reset_parameters(self) -> None:
        """Draw the values anew: uniform within 1 / sqrt(hidden_size)."""
        bound = 1.0 / scalar.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """The last layer's outputs at all steps, and the states of all layers after the last step."""
        kind = _KINDS[self._kind]
        x, batched = self._as_steps_first(input)
        states = self._initial(x, hx, batched)
        finals: list[States] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes(layer):
                start = tuple(s[len(finals)] for s in states)
                made, last = self._run(x, start, suffix, suffix.endswith("_reverse"))
                outputs.append(made)
                finals.append(last)
            x = outputs[0] if len(outputs) == 1 else array.concat(outputs, 2)
            if layer < self.num_layers - 1:
                x = functional.dropout(x, self.dropout, self.training)
        ends = tuple(array.stack([f[i] for f in finals]) for i in range(kind.states))
        if not batched:
            x, ends = array.squeeze(x, [1]), tuple(array.squeeze(e, [1]) for e in ends)
        elif self.batch_first:
            x = _swapped(x)
        return x, ends if kind.states > 1 else ends[0]

    def _as_steps_first(self, input: Any) -> tuple[Any, bool]:
        x: Any = core.convert_to_tensor(input)
        rank = 0 if x.dims is None else len(x.dims)
        if rank not in (2, 3) or x.dims[-1] not in (self.input_size, None):
            raise ShapeError(
                type(self).__name__,
                expected=f"[{'batch, steps' if self.batch_first else 'steps, batch'}, {self.input_size}]",
                got=spec.describe(x.dims),
            )
        x = array.expand_dims(x, 1) if rank == 2 else _swapped(x) if self.batch_first else x
        if x.dims[0] is None:
            raise ShapeError(
                "the number of steps must be known", got=spec.describe(x.dims), hint="tf.scan takes any number"
            )
        return x, rank == 3

    def _initial(self, x: Any, hx: Any, batched: bool) -> list[Sequence[Any]]:
        """For each state, its values in all layers and directions."""
        count = self.num_layers * self._directions
        number = _KINDS[self._kind].states
        if hx is None:
            batch = x.dims[1] if x.dims[1] is not None else array.shape(x)[1]
            zeros = array.zeros(array.stack([batch, self.hidden_size]), x.dtype)
            return [[next_to(zeros, x)] * count] * number
        given = tuple(hx) if number > 1 else (hx,)
        if len(given) != number:
            raise InvalidArgumentError(type(self).__name__, expected=f"{number} states", got=str(len(given)))
        tensors = [core.convert_to_tensor(s) for s in given]
        if not batched:
            tensors = [array.expand_dims(s, 1) for s in tensors]
        wanted = (count, x.dims[1], self.hidden_size)
        for s in tensors:
            if not spec.compatible(s.dims, wanted):
                raise ShapeError(
                    f"a state of {type(self).__name__}", expected=spec.describe(wanted), got=spec.describe(s.dims)
                )
        return [array.unstack(s, count) for s in tensors]

    def _run(self, x: Any, states: States, suffix: str, backwards: bool) -> tuple[Any, States]:
        """One layer in one direction."""
        own = self._parameters
        bias_in, bias_state = own.get(f"bias_ih{suffix}"), own.get(f"bias_hh{suffix}")
        steps = array.unstack(functional.linear(x, own[f"weight_ih{suffix}"], bias_in), x.dims[0])
        step = _KINDS[self._kind].step
        made = []
        for from_input in reversed(steps) if backwards else steps:
            from_state = functional.linear(states[0], own[f"weight_hh{suffix}"], bias_state)
            states = step(from_input, from_state, states)
            made.append(states[0])
        return array.stack(made[::-1] if backwards else made), states

    def extra_repr(self) -> str:
        """Sizes."""
        told = f"{self.input_size}, {self.hidden_size}"
        told += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        told += "" if self.bias else ", bias=False"
        told += ", batch_first=True" if self.batch_first else ""
        told += f", dropout={self.dropout}" if self.dropout else ""
        return told + (", bidirectional=True" if self.bidirectional else "")


def _swapped(x: Any) -> Any:
    return arrange.transpose(x, [1, 0, 2])


class RNN(_Recurrent):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu for tanh."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", **options: Any
    ) -> None:
        super().__init__(nonlinearity, input_size, hidden_size, num_layers, **options)


class LSTM(_Recurrent):
    """Long short-term memory; states are (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any) -> None:
        super().__init__("lstm", input_size, hidden_size, num_layers, **options)


class GRU(_Recurrent):
    """Gated recurrent units."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any) -> None:
        super().__init__("gru", input_size, hidden_size, num_layers, **options)


class _Cell(Module):
    """One step of one layer."""

    def __init__(
        self, kind: str, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise InvalidArgumentError("unknown nonlinearity", expected='"tanh" or "relu"', got=repr(kind))
        self._kind, self.input_size, self.hidden_size = kind, input_size, hidden_size
        wide = _KINDS[kind].gates * hidden_size
        self.weight_ih = empty_parameter((wide, input_size), dtype, device)
        self.weight_hh = empty_parameter((wide, hidden_size), dtype, device)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, empty_parameter((wide,), dtype, device) if bias else None)
        bound = 1.0 / scalar.sqrt(hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The states after the step."""
        kind, x = _KINDS[self._kind], core.convert_to_tensor(input)
        from_input = functional.linear(x, self.weight_ih, self.bias_ih)
        if hx is None:
            states: States = (from_input[..., : self.hidden_size] * 0.0,) * kind.states
        else:
            states = tuple(hx) if kind.states > 1 else (core.convert_to_tensor(hx),)
        from_state = functional.linear(states[0], self.weight_hh, self.bias_hh)
        made = kind.step(from_input, from_state, states)
        return made if kind.states > 1 else made[0]

    def extra_repr(self) -> str:
        """Sizes."""
        told = f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")
        return told + (", nonlinearity=relu" if self._kind == "relu" else "")


class RNNCell(_Cell):
    """One step of `RNN`."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh") -> None:
        super().__init__(nonlinearity, input_size, hidden_size, bias)


class LSTMCell(_Cell):
    """One step of `LSTM`; states are (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__("lstm", input_size, hidden_size, bias)


class GRUCell(_Cell):
    """One step of `GRU`."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__("gru", input_size, hidden_size, bias)
