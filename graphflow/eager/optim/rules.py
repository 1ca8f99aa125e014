"""The optimisers: PyTorch's names, arguments, defaults and formulas.

Policy: each update is written with NumPy's in-place forms, in the order of operations that PyTorch documents.

State: none beyond that of the base class; its keys are PyTorch's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from graphflow.eager.optim.optimizer import Array, Optimizer, require
from graphflow.errors import InvalidArgumentError


def _check_common(lr: float, weight_decay: float) -> None:
    require(lr >= 0.0, "lr is not negative", lr)
    require(weight_decay >= 0.0, "weight_decay is not negative", weight_decay)


class SGD(Optimizer):
    """p -= lr * g; with momentum, g is a running sum; with `nesterov`, that sum one step ahead."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        _check_common(lr, weight_decay)
        require(momentum >= 0.0, "momentum is not negative", momentum)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise InvalidArgumentError(
                "nesterov takes a momentum and no dampening", got=f"momentum={momentum}, dampening={dampening}"
            )
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                "nesterov": nesterov, "maximize": maximize,
            },
        )  # fmt: skip

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


class Adam(Optimizer):
    """Steps of lr * mean / sqrt(mean of squares), with means that start unbiased."""

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        _check_common(lr, weight_decay)
        require(len(betas) == 2 and all(0.0 <= b < 1.0 for b in betas), "betas are two numbers in [0, 1)", betas)
        require(eps >= 0.0, "eps is not negative", eps)
        super().__init__(
            params,
            {
                "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )  # fmt: skip

    def _update(self, p: Array, g: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        if self._decoupled:
            p *= 1.0 - group["lr"] * group["weight_decay"]
            g = np.negative(g, out=self.spare(p, 0)) if group["maximize"] else g
        else:
            g = self.directed(p, g, group)
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(p), exp_avg_sq=np.zeros_like(p))
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = np.zeros_like(p)
        (kept, kept_squares), scratch = group["betas"], self.spare(p, 1)
        state["step"] += 1
        mean, squares = state["exp_avg"], state["exp_avg_sq"]
        _moved(mean, g, 1.0 - kept, scratch)
        _squares(squares, g, kept_squares, scratch)
        if group["amsgrad"]:
            squares = np.maximum(state["max_exp_avg_sq"], squares, out=state["max_exp_avg_sq"])
        np.sqrt(squares, out=scratch)
        scratch /= math.sqrt(1.0 - kept_squares ** state["step"])
        scratch += group["eps"]
        np.divide(mean, scratch, out=scratch)
        scratch *= group["lr"] / (1.0 - kept ** state["step"])
        p -= scratch


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters themselves."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class RMSprop(Optimizer):
    """Gradients divided by the root of their running mean square (about their mean if `centered`), with momentum."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        _check_common(lr, weight_decay)
        require(alpha >= 0.0, "alpha is not negative", alpha)
        require(eps >= 0.0, "eps is not negative", eps)
        require(momentum >= 0.0, "momentum is not negative", momentum)
        super().__init__(
            params,
            {
                "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
                "centered": centered, "maximize": maximize,
            },
        )  # fmt: skip

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


class Adagrad(Optimizer):
    """p -= lr * g / sqrt(sum of g**2), with a learning rate that may decay."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        _check_common(lr, weight_decay)
        require(lr_decay >= 0.0, "lr_decay is not negative", lr_decay)
        require(eps >= 0.0, "eps is not negative", eps)
        require(initial_accumulator_value >= 0.0, "initial_accumulator_value", initial_accumulator_value)
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "eps": eps, "maximize": maximize,
            },
        )  # fmt: skip

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
