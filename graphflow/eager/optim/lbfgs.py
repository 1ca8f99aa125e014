"""`LBFGS`: steps along a direction that the last few changes of the gradient suggest, with a line search or without.

Policy: PyTorch's names, arguments and defaults.  All parameters are one vector in double precision; the closure is
computed as often as the method asks for it.  The line search is by bracketing and bisection under the strong Wolfe
conditions.

State: the last changes of parameters and of gradients, under PyTorch's keys, with the first parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphflow.eager.optim.optimizer import Array, Optimizer, require
from graphflow.eager.recording import enable_grad
from graphflow.eager.storage import overwrite, plain_array
from graphflow.eager.tensor import EagerTensor
from graphflow.errors import InvalidArgumentError

_DECREASE, _FLATTER = 1e-4, 0.9  # what the Wolfe conditions ask for
_TRIALS = 25


class LBFGS(Optimizer):
    """The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno; `step` takes a closure."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        require(lr > 0, "lr is positive", lr)
        require(line_search_fn in (None, "strong_wolfe"), 'line_search_fn is None or "strong_wolfe"', line_search_fn)
        super().__init__(
            params,
            {
                "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                "history_size": history_size, "line_search_fn": line_search_fn,
            },
        )  # fmt: skip
        require(len(self.param_groups) == 1, "LBFGS takes one group of parameters", len(self.param_groups))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` steps; the closure computes loss and gradients, and is needed."""
        if closure is None:
            raise InvalidArgumentError("LBFGS computes the loss several times", hint="optimizer.step(closure)")
        return _Search(self, closure).run()

    def _fits(self, value: Array, p: EagerTensor) -> bool:
        return bool(value.shape == (sum(q.numel() for q in self._all()),))

    # -- all parameters as one vector --------------------------------------------------------------------------------

    def values(self) -> Array:
        """All parameters."""
        return np.concatenate([plain_array(p).ravel() for p in self._all()]).astype(np.float64)

    def gradients(self) -> Array:
        """All gradients; zeros where there is none."""
        found = [np.zeros(p.numel()) if p.grad is None else plain_array(p.grad).ravel() for p in self._all()]
        return np.concatenate(found).astype(np.float64)

    def write(self, values: Array) -> None:
        """Make these the parameters."""
        at = 0
        for p in self._all():
            piece = values[at : at + p.numel()]
            overwrite(p, piece.reshape(p.dims).astype(p.dtype.np))
            at += p.numel()


class _Search:
    """One call of `step`."""

    def __init__(self, optimizer: LBFGS, closure: Callable[[], Any]) -> None:
        self.optimizer, self.closure = optimizer, closure
        self.group = optimizer.param_groups[0]
        self.state = optimizer.state[self.group["params"][0]]
        if not self.state:
            self.state.update(func_evals=0, n_iter=0, d=None, t=None, old_dirs=[], old_stps=[], prev_flat_grad=None)
        self.evaluations = 0
        self.last: Any = None  # what the closure returned last

    def at(self, values: Array | None = None) -> tuple[float, Array]:
        """Loss and gradients, where the parameters are or somewhere else."""
        if values is not None:
            self.optimizer.write(values)
        with enable_grad():
            self.last = self.closure()
        self.evaluations += 1
        self.state["func_evals"] += 1
        return float(self.last), self.optimizer.gradients()

    def run(self) -> Any:
        """The steps; returns what the closure returned at first."""
        group, state = self.group, self.state
        loss, g = self.at()
        first = self.last
        for turn in range(1, group["max_iter"] + 1):
            if abs(g).max() <= group["tolerance_grad"]:
                break
            state["n_iter"] += 1
            d = self._direction(g)
            fresh = state["n_iter"] == 1
            t = min(1.0, 1.0 / abs(g).sum()) * group["lr"] if fresh else group["lr"]
            state.update(d=d, prev_flat_grad=g)
            slope = float(g @ d)
            if slope > -group["tolerance_change"]:
                state["t"] = t
                break
            before, x = loss, self.optimizer.values()
            if group["line_search_fn"] is not None:
                t, loss, g = self._searched(x, t, d, loss, g)
                self.optimizer.write(x + t * d)
            else:
                self.optimizer.write(x + t * d)
                if turn != group["max_iter"]:
                    loss, g = self.at()
            state["t"] = t
            small = abs(d * t).max() <= group["tolerance_change"]
            if small or abs(loss - before) < group["tolerance_change"] or self.evaluations >= group["max_eval"]:
                break
        return first

    def _direction(self, g: Array) -> Array:
        """Against the gradient, as far as the last changes tell how it turns."""
        state = self.state
        changes, steps = state["old_dirs"], state["old_stps"]
        if state["n_iter"] > 1:
            y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
            if y @ s > 1e-10:
                if len(changes) == self.group["history_size"]:
                    del changes[0], steps[0]
                changes.append(y)
                steps.append(s)
        q = -g
        shares = []
        for y, s in zip(reversed(changes), reversed(steps), strict=True):
            share = (s @ q) / (y @ s)
            shares.append(share)
            q = q - share * y
        if changes:
            q = q * ((changes[-1] @ steps[-1]) / (changes[-1] @ changes[-1]))
        for y, s, share in zip(changes, steps, reversed(shares), strict=True):
            q = q + s * (share - (y @ q) / (y @ s))
        return q

    def _searched(self, x: Array, t: float, d: Array, loss: float, g: Array) -> tuple[float, float, Array]:
        """A length of step that makes the loss smaller and the slope flatter, with loss and gradients there."""
        slope = float(g @ d)
        low, high, best = 0.0, np.inf, (0.0, loss, g)
        for _ in range(_TRIALS):
            here, there = self.at(x + t * d)
            tilt = float(there @ d)
            if not here <= loss + _DECREASE * t * slope:
                high = t
            else:
                best = min(best, (t, here, there), key=lambda found: found[1])
                if abs(tilt) <= -_FLATTER * slope:
                    return t, here, there
                low, high = (low, t) if tilt > 0 else (t, high)
            t = 2.0 * t if high == np.inf else (low + high) / 2.0
        return best
