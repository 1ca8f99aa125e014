"""The optimisers: PyTorch's names, arguments, defaults and formulas.

Policy: an optimiser is a table of settings with their defaults, and an update.  Each update is written with NumPy's
in-place forms, in the order of operations that PyTorch documents.

State: none beyond that of the base class; its keys are PyTorch's.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from graphflow.eager.optim.optimizer import Array, Optimizer, require
from graphflow.errors import InvalidArgumentError, UnimplementedError

_BETAS = (0.9, 0.999)
_COMMON = {"maximize": False}
_ADAM = {"lr": 1e-3, "betas": _BETAS, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}
_SPEED = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}  # of PyTorch's kernels


def _not_negative(value: Any) -> bool:
    return bool(value >= 0)


def _is_so(holds: Callable[[Any], bool], value: Any) -> bool:
    """Whether the value is as it must be, which one of another kind is not."""
    try:
        return holds(value)
    except (TypeError, ValueError):
        return False


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "betas": (lambda v: len(v) == 2 and all(0.0 <= b < 1.0 for b in v), "betas are two numbers in [0, 1)"),
    "etas": (lambda v: len(v) == 2 and 0.0 < v[0] < 1.0 < v[1], "etas are two numbers, one below 1 and one above it"),
    "rho": (lambda v: 0.0 <= v <= 1.0, "rho is a share"),
}
for _name in (
    "lr", "weight_decay", "momentum", "eps", "alpha", "lr_decay", "initial_accumulator_value", "momentum_decay",
):  # fmt: skip
    _CHECKS[_name] = _not_negative, f"{_name} is not negative"


class Rule(Optimizer):
    """An optimiser whose arguments are a table: `settings` by position or name, `keywords` by name alone."""

    settings: ClassVar[dict[str, Any]] = {}
    keywords: ClassVar[dict[str, Any]] = _COMMON

    def __init__(self, params: Iterable[Any], *given: Any, **named: Any) -> None:
        try:
            bound = inspect.signature(type(self)).bind(params, *given, **named)
        except TypeError as error:
            raise InvalidArgumentError(
                f"{type(self).__name__}: {error}", expected=str(inspect.signature(type(self)))
            ) from None
        bound.apply_defaults()
        chosen = {name: value for name, value in bound.arguments.items() if name not in ("params", *_SPEED)}
        if bound.arguments["differentiable"]:
            raise UnimplementedError("steps are not recorded", got="differentiable=True", hint="write p = p - lr * g")
        super().__init__(params, chosen)

    def __init_subclass__(cls) -> None:
        kinds = inspect.Parameter
        of = [kinds("params", kinds.POSITIONAL_OR_KEYWORD)]
        of += [kinds(name, kinds.POSITIONAL_OR_KEYWORD, default=value) for name, value in cls.settings.items()]
        of += [kinds(name, kinds.KEYWORD_ONLY, default=v) for name, v in {**cls.keywords, **_SPEED}.items()]
        cls.__signature__ = inspect.Signature(of)  # type: ignore[attr-defined]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """More parameters, with settings of their own."""
        for name, value in {**self.defaults, **param_group}.items():
            if name in _CHECKS:
                holds, text = _CHECKS[name]
                require(_is_so(holds, value), text, value)
        super().add_param_group(param_group)


def _moved(mean: Array, towards: Array, share: float, scratch: Array) -> None:
    """mean += (towards - mean) * share."""
    np.subtract(towards, mean, out=scratch)
    scratch *= share
    mean += scratch


def _squares(mean: Array, g: Array, kept: float, scratch: Array) -> None:
    """mean = kept * mean + (1 - kept) * g**2."""
    mean *= kept
    np.multiply(g, g, out=scratch)
    scratch *= 1.0 - kept
    mean += scratch


class SGD(Rule):
    """p -= lr * g; with momentum, g is a running sum; with `nesterov`, that sum one step ahead."""

    settings: ClassVar = {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """More parameters, with settings of their own."""
        chosen = {**self.defaults, **param_group}
        if chosen["nesterov"] and (chosen["momentum"] <= 0 or chosen["dampening"] != 0):
            raise InvalidArgumentError(
                "nesterov takes a momentum and no dampening",
                got=f"momentum={chosen['momentum']}, dampening={chosen['dampening']}",
            )
        super().add_param_group(param_group)

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g = self.directed(p, g, group)
        momentum = group["momentum"]
        scratch = self.spare(p, 1)
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = np.array(g)
            else:
                buffer *= momentum
                buffer += np.multiply(g, 1.0 - group["dampening"], out=scratch)
            g = np.add(g, np.multiply(buffer, momentum, out=scratch), out=scratch) if group["nesterov"] else buffer
        p -= np.multiply(g, group["lr"], out=scratch)


def _means(p: Array, g: Array, state: dict[str, Any], group: dict[str, Any], scratch: Array) -> tuple[Array, Array]:
    """The running means of gradients and of their squares after one step more."""
    if not state:
        state.update(step=0, exp_avg=np.zeros_like(p), exp_avg_sq=np.zeros_like(p))
    state["step"] += 1
    kept, kept_squares = group["betas"]
    _moved(state["exp_avg"], g, 1.0 - kept, scratch)
    _squares(state["exp_avg_sq"], g, kept_squares, scratch)
    return state["exp_avg"], state["exp_avg_sq"]


class Adam(Rule):
    """Steps of lr * mean / sqrt(mean of squares), with means that start unbiased."""

    settings: ClassVar = _ADAM
    keywords: ClassVar = {**_COMMON, "decoupled_weight_decay": False}

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g, scratch = self.directed(p, g, group), self.spare(p, 1)
        mean, squares = _means(p, g, state, group, scratch)
        kept, kept_squares = group["betas"]
        if group["amsgrad"]:
            largest = state.setdefault("max_exp_avg_sq", np.zeros_like(p))
            squares = np.maximum(largest, squares, out=largest)
        np.sqrt(squares, out=scratch)
        scratch /= math.sqrt(1.0 - kept_squares ** state["step"])
        scratch += group["eps"]
        np.divide(mean, scratch, out=scratch)
        scratch *= group["lr"] / (1.0 - kept ** state["step"])
        p -= scratch


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves."""

    settings: ClassVar = {**_ADAM, "weight_decay": 1e-2}
    keywords: ClassVar = {**_COMMON, "decoupled_weight_decay": True}


class NAdam(Rule):
    """Adam with Nesterov's momentum: the step looks one gradient ahead."""

    settings: ClassVar = {
        "lr": 2e-3, "betas": _BETAS, "eps": 1e-8, "weight_decay": 0.0, "momentum_decay": 4e-3,
        "decoupled_weight_decay": False,
    }  # fmt: skip

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g, scratch = self.directed(p, g, group), self.spare(p, 1)
        mean, squares = _means(p, g, state, group, scratch)
        step, (kept, kept_squares), decay = state["step"], group["betas"], group["momentum_decay"]
        now, later = (kept * (1.0 - 0.5 * 0.96 ** (n * decay)) for n in (step, step + 1))
        product = state["mu_product"] = state.get("mu_product", 1.0) * now
        np.divide(squares, 1.0 - kept_squares**step, out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += group["eps"]
        direction = g * (group["lr"] * (1.0 - now) / (1.0 - product))
        direction += mean * (group["lr"] * later / (1.0 - product * later))
        p -= np.divide(direction, scratch, out=scratch)


class RAdam(Rule):
    """Adam that steps by the mean alone until the mean of squares is known well enough."""

    settings: ClassVar = {
        "lr": 1e-3, "betas": _BETAS, "eps": 1e-8, "weight_decay": 0.0, "decoupled_weight_decay": False,
    }  # fmt: skip

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g, scratch = self.directed(p, g, group), self.spare(p, 1)
        mean, squares = _means(p, g, state, group, scratch)
        step, (kept, kept_squares) = state["step"], group["betas"]
        rate, left = group["lr"] / (1.0 - kept**step), 1.0 - kept_squares**step
        most = 2.0 / (1.0 - kept_squares) - 1.0
        length = most - 2.0 * step * kept_squares**step / left
        if length <= 5.0:
            p -= np.multiply(mean, rate, out=scratch)
            return
        np.sqrt(squares, out=scratch)
        scratch += group["eps"]
        np.divide(mean, scratch, out=scratch)
        certain = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
        p -= np.multiply(scratch, rate * math.sqrt(left * certain), out=scratch)


class Adamax(Rule):
    """Adam by the largest gradient of late instead of the mean of squares."""

    settings: ClassVar = {"lr": 2e-3, "betas": _BETAS, "eps": 1e-8, "weight_decay": 0.0}

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g, scratch = self.directed(p, g, group), self.spare(p, 1)
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(p), exp_inf=np.zeros_like(p))
        state["step"] += 1
        (kept, kept_largest), mean, largest = group["betas"], state["exp_avg"], state["exp_inf"]
        _moved(mean, g, 1.0 - kept, scratch)
        largest *= kept_largest
        np.abs(g, out=scratch)
        scratch += group["eps"]
        np.maximum(largest, scratch, out=largest)
        np.divide(mean, largest, out=scratch)
        scratch *= group["lr"] / (1.0 - kept ** state["step"])
        p -= scratch


class RMSprop(Rule):
    """Gradients divided by the root of their running mean square (about their mean if `centered`), with momentum."""

    settings: ClassVar = {
        "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False,
    }  # fmt: skip

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g = self.directed(p, g, group)
        scratch, alpha = self.spare(p, 1), group["alpha"]
        if not state:
            state["square_avg"] = np.zeros_like(p)
        squares = state["square_avg"]
        _squares(squares, g, alpha, scratch)
        if group["centered"]:
            mean = state.setdefault("grad_avg", np.zeros_like(p))
            _moved(mean, g, 1.0 - alpha, scratch)
            np.multiply(mean, mean, out=scratch)
            squares = np.subtract(squares, scratch, out=scratch)
        np.sqrt(squares, out=scratch)
        scratch += group["eps"]
        np.divide(g, scratch, out=scratch)
        step = scratch
        if group["momentum"] > 0:
            step = state.setdefault("momentum_buffer", np.zeros_like(p))
            step *= group["momentum"]
            step += scratch
        p -= np.multiply(step, group["lr"], out=scratch)


class Adagrad(Rule):
    """p -= lr * g / sqrt(sum of g**2), with a learning rate that may decay."""

    settings: ClassVar = {
        "lr": 1e-2, "lr_decay": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10,
    }  # fmt: skip

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g = self.directed(p, g, group)
        if not state:
            state.update(step=0, sum=np.full_like(p, group["initial_accumulator_value"]))
        state["step"] += 1
        scratch, total = self.spare(p, 1), state["sum"]
        total += np.multiply(g, g, out=scratch)
        np.sqrt(total, out=scratch)
        scratch += group["eps"]
        np.divide(g, scratch, out=scratch)
        scratch *= group["lr"] / (1.0 + (state["step"] - 1) * group["lr_decay"])
        p -= scratch


class Adadelta(Rule):
    """Gradients divided by the root of their mean square, times that of the steps taken so far."""

    settings: ClassVar = {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0}

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g, scratch = self.directed(p, g, group), self.spare(p, 1)
        if not state:
            state.update(square_avg=np.zeros_like(p), acc_delta=np.zeros_like(p))
        squares, steps, rho, eps = state["square_avg"], state["acc_delta"], group["rho"], group["eps"]
        _squares(squares, g, rho, scratch)
        step = np.sqrt(steps + eps)
        step /= np.sqrt(squares + eps)
        step *= g
        _squares(steps, step, rho, scratch)
        p -= np.multiply(step, group["lr"], out=scratch)


class Rprop(Rule):
    """Steps by the sign of the gradient; each element's step grows while its sign stays, and shrinks when it turns."""

    settings: ClassVar = {"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)}

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        g = self.directed(p, g, {**group, "weight_decay": 0.0})
        if not state:
            state.update(prev=np.zeros_like(p), step_size=np.full_like(p, group["lr"]))
        size, (shrink, grow) = state["step_size"], group["etas"]
        turn = np.sign(g * state["prev"])
        size *= np.where(turn > 0, grow, np.where(turn < 0, shrink, 1.0)).astype(p.dtype)
        np.clip(size, *group["step_sizes"], out=size)
        g = np.where(turn < 0, g.dtype.type(0), g)
        p -= np.sign(g) * size
        state["prev"] = g
