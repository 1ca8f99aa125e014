"""The base class of the optimisers: groups of parameters, their state, and the step.

Policy: PyTorch's names and formulas.  A step is not recorded; it writes into the parameters' memory and counts the
change.  It allocates nothing that a former step has allocated already.

State: each optimiser the groups, the state of each parameter, and spare memory for one parameter of each shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from graphflow.eager.recording import enable_grad
from graphflow.eager.storage import changing, forget_gradients, overwrite, plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError, ShapeError, UnimplementedError, shown

Array = np.ndarray[Any, Any]
_OF_GROUPS = {"params", "param_names", "name", "initial_lr", "max_lr", "min_lr"}  # what any group may have


def require(holds: bool, text: str, got: Any) -> None:
    """Raise unless an argument is as it must be."""
    if not holds:
        raise InvalidArgumentError(text, got=shown(got))


class Optimizer:
    """Parameters in groups that share their settings; `defaults` are the settings of a group that names none."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, EagerTensor) or not hasattr(params, "__iter__"):
            raise InvalidArgumentError("params is an iterable of tensors, or of groups", hint="[x]", got=shown(params))
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: defaultdict[EagerTensor, dict[str, Any]] = defaultdict(dict)
        self._spare: dict[Any, Array] = {}
        given = [p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in params]  # also of named_parameters()
        require(bool(given), "an optimiser needs parameters", given)
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """More parameters, with settings of their own."""
        group = dict(param_group)
        if "params" not in group:
            raise InvalidArgumentError('a group has "params"', got=", ".join(group))
        tensors = group["params"]
        group["params"] = [tensors] if isinstance(tensors, EagerTensor) else list(tensors)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in group["params"]:
            if not isinstance(p, EagerTensor):
                raise InvalidArgumentError("an optimiser learns eager tensors", got=shown(p))
            if p.origin is not None:
                raise InvalidArgumentError(
                    "an optimiser learns leaves, not what was computed", got=shown(p), hint="x.detach()"
                )
            if id(p) in known:
                raise InvalidArgumentError("a parameter is given twice", got=shown(p))
            known.add(id(p))
        unknown = group.keys() - self.defaults.keys() - _OF_GROUPS
        if unknown:
            raise InvalidArgumentError(
                f"{type(self).__name__} has no such setting",
                expected=", ".join(self.defaults),
                got=", ".join(sorted(unknown)),
            )
        self.param_groups.append({**self.defaults, **group})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or make them zeros where they lie."""
        for group in self.param_groups:
            forget_gradients(group["params"], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient; a closure computes loss and gradients first."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with np.errstate(all="ignore"):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        if type(p.value) is np.ndarray:
                            self._update(changing(p), _matching(p), self.state[p], group)
                        else:
                            self._update_elsewhere(p, group)
        return loss

    def _update_elsewhere(self, p: EagerTensor, group: dict[str, Any]) -> None:
        """Move a parameter that lies on another device; its state stays here."""
        memory = np.array(plain_array(p))
        self._update(memory, _matching(p), self.state[p], group)
        overwrite(p, memory)

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Move one parameter, in place, leaving its gradient as it is."""
        raise UnimplementedError(
            f"{type(self).__name__} says nothing about how parameters move", hint="def step(self, closure=None): ..."
        )

    def spare(self, p: Array, number: int = 0) -> Array:
        """Memory of the shape of p, whose contents hold until the next parameter's turn."""
        key = p.shape, p.dtype, number
        found = self._spare.get(key)
        if found is None:
            found = self._spare[key] = np.empty(p.shape, p.dtype)
        return found

    def directed(self, p: Array, g: Array, group: dict[str, Any]) -> Array:
        """The gradient with the sign of `maximize` and the share of `weight_decay`, unless that shrinks p itself."""
        if group["maximize"]:
            g = np.negative(g, out=self.spare(p, 0))
        decay = group["weight_decay"]
        if group.get("decoupled_weight_decay"):
            p *= 1.0 - group["lr"] * decay
        elif decay:
            g = np.add(g, np.multiply(p, decay, out=self.spare(p, 1)), out=self.spare(p, 0))
        return g

    # -- states --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Settings and copies of the state; parameters are numbers, in the order of the groups."""
        number = {id(p): n for n, p in enumerate(self._all())}
        return {
            "state": {number[id(p)]: {k: _copied(v) for k, v in s.items()} for p, s in self.state.items()},
            "param_groups": [{**g, "params": [number[id(p)] for p in g["params"]]} for g in self.param_groups],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state of an optimiser of the same parameters, from memory or from a file."""
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
            raise InvalidArgumentError(
                "not the state of an optimiser", expected='what state_dict() gave: "state", "param_groups"',
                got=shown(state_dict), hint='torch.save({"optimizer": optimizer.state_dict()}, path)',
            )  # fmt: skip
        sizes = [len(g["params"]) for g in self.param_groups]
        given = [len(g["params"]) for g in state_dict["param_groups"]]
        if sizes != given:
            raise InvalidArgumentError(
                "the state is of other groups of parameters", expected=f"sizes {sizes}", got=f"sizes {given}"
            )
        parameters = dict(enumerate(self._all()))
        found = {n: {k: _copied(v) for k, v in state.items()} for n, state in state_dict["state"].items()}
        for n, state in found.items():
            require(n in parameters, f"the state is of {len(parameters)} parameters, and numbers another one", n)
            for key, value in state.items():
                if isinstance(value, np.ndarray) and not self._fits(value, parameters[n]):
                    raise ShapeError(
                        f"{key!r} of parameter {n}", expected=str(list(parameters[n].dims)), got=str(list(value.shape))
                    )
        self.state = defaultdict(dict, {parameters[n]: state for n, state in found.items()})
        for group, other in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({k: v for k, v in other.items() if k != "params"})

    def _fits(self, value: Array, p: EagerTensor) -> bool:
        """Whether a state may hold this array for a parameter."""
        return bool(value.shape == p.dims)

    def _all(self) -> list[EagerTensor]:
        return [p for g in self.param_groups for p in g["params"]]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for n, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {n}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def _copied(value: Any) -> Any:
    """A copy of what a state holds under a key; tensors, as files give them, become arrays."""
    if isinstance(value, list):
        return [_copied(v) for v in value]
    return np.array(plain_array(value)) if isinstance(value, (np.ndarray, EagerTensor)) else value


def _matching(p: EagerTensor) -> Array:
    """The gradient of a parameter as an array of its shape."""
    grad: Any = p.grad
    g = plain_array(grad)
    if g.shape != p.dims:
        raise ShapeError("a gradient has another shape than its parameter", expected=str(p.shape), got=str(g.shape))
    return g
