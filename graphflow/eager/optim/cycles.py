"""Learning rates that go up and down, and schedules made of schedules.

Policy: PyTorch's names, arguments and formulas.  These rates depend on the number of the epoch alone.

State: each schedule its place in its cycle; the rates and momenta are the optimiser's.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphflow.eager.optim.optimizer import Optimizer, require
from graphflow.eager.optim.schedules import LRScheduler, check_optimizer
from graphflow.errors import InvalidArgumentError, OutOfRangeError


def _for_groups(optimizer: Optimizer, given: Any, what: str) -> list[Any]:
    """One value for each group of parameters."""
    count = len(optimizer.param_groups)
    found = list(given) if isinstance(given, (list, tuple)) else [given] * count
    require(len(found) == count, f"{what} is one number, or {count} of them", given)
    return found


def _check_momentum(optimizer: Optimizer) -> None:
    if not optimizer.defaults.keys() & {"momentum", "betas"}:
        raise InvalidArgumentError(
            f"{type(optimizer).__name__} has no momentum that could follow", hint="cycle_momentum=False"
        )


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine wave from the first rate to `eta_min` in T_0 epochs, and again, each T_mult times as long."""

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        require(isinstance(T_0, int) and T_0 >= 1, "T_0 is a positive integer", T_0)
        require(isinstance(T_mult, int) and T_mult >= 1, "T_mult is an integer, 1 or more", T_mult)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_i, self.T_cur = T_0, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rates of this epoch."""
        share = (1.0 + math.cos(math.pi * self.T_cur / self.T_i)) / 2.0
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """The next epoch, or another one, which may be a fraction: after each batch, epoch + batch / batches."""
        at = self.last_epoch + 1 if epoch is None else epoch
        require(at >= 0, "an epoch is not negative", epoch)
        self.T_cur, self.T_i = at, self.T_0
        if self.T_mult == 1:
            self.T_cur = at % self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        self.last_epoch = math.floor(at)
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * share))


def _line(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


_ANNEALING: dict[str, Callable[[float, float, float], float]] = {"cos": _cosine, "linear": _line}


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down below the first rate in `total_steps` steps, a step for each batch."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        steps = (epochs or 0) * (steps_per_epoch or 0) if total_steps is None else total_steps
        require(steps >= 1, "total_steps is positive, or epochs and steps_per_epoch are", steps)
        require(0.0 <= pct_start <= 1.0, "pct_start is a share", pct_start)
        require(anneal_strategy in _ANNEALING, 'anneal_strategy is "cos" or "linear"', anneal_strategy)
        self.total_steps, self.anneal_strategy, self.cycle_momentum = steps, anneal_strategy, cycle_momentum
        rise = float(pct_start * steps)
        names = ["initial_lr", "max_lr", *(["initial_lr"] if three_phase else []), "min_lr"]
        momenta = ["max_momentum", "base_momentum", "max_momentum", "max_momentum"][: len(names)]
        ends = [rise - 1.0, *([2.0 * rise - 2.0] if three_phase else []), steps - 1.0]
        self.phases = [(end, names[i : i + 2], momenta[i : i + 2]) for i, end in enumerate(ends)]
        if last_epoch == -1:
            for group, most in zip(optimizer.param_groups, _for_groups(optimizer, max_lr, "max_lr"), strict=True):
                group["lr"] = group["initial_lr"] = most / div_factor
                group.update(max_lr=most, min_lr=most / div_factor / final_div_factor)
        if cycle_momentum:
            _check_momentum(optimizer)
            low, high = (_for_groups(optimizer, m, "a momentum") for m in (base_momentum, max_momentum))
            for group, least, most in zip(optimizer.param_groups, low, high, strict=True):
                group.update(base_momentum=least, max_momentum=most)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rates of this step; momenta are set."""
        at = self.last_epoch
        if at > self.total_steps:
            raise OutOfRangeError("the cycle is over", expected=f"{self.total_steps} steps", got=f"step {at}")
        start, number = 0.0, 0
        while at > self.phases[number][0] and number < len(self.phases) - 1:
            start, number = self.phases[number][0], number + 1
        end, rates, momenta = self.phases[number]
        share = (at - start) / (end - start) if end != start else 1.0
        anneal = _ANNEALING[self.anneal_strategy]
        found = []
        for group in self.optimizer.param_groups:
            found.append(anneal(group[rates[0]], group[rates[1]], share))
            if self.cycle_momentum:
                _set_momentum(group, anneal(group[momenta[0]], group[momenta[1]], share))
        return found


class CyclicLR(LRScheduler):
    """Up and down between `base_lr` and `max_lr`, again and again, a step for each batch."""

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.8,
        max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        require(mode in _MODES or scale_fn is not None, f"mode is one of {', '.join(_MODES)}", mode)
        lows = _for_groups(optimizer, base_lr, "base_lr")
        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lows, strict=True):
                group["lr"] = low
        self.max_lrs = _for_groups(optimizer, max_lr, "max_lr")
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size, self.step_ratio = float(step_size_up + down), step_size_up / (step_size_up + down)
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            _check_momentum(optimizer)
            self.base_momentums = _for_groups(optimizer, base_momentum, "base_momentum")
            self.max_momentums = _for_groups(optimizer, max_momentum, "max_momentum")
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def get_lr(self) -> list[float]:
        """The rates of this step; momenta are set."""
        cycle = math.floor(1.0 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1.0) / (self.step_ratio - 1.0)
        if self.scale_fn is None:
            height *= _MODES[self.mode](self.gamma, cycle, self.last_epoch)
        else:
            height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                _set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]


_MODES: dict[str, Callable[[float, int, int], float]] = {
    "triangular": lambda gamma, cycle, step: 1.0,
    "triangular2": lambda gamma, cycle, step: 1.0 / 2.0 ** (cycle - 1),
    "exp_range": lambda gamma, cycle, step: gamma**step,
}


class _Several(LRScheduler):
    """Schedules of one optimiser."""

    def __init__(self, optimizer: Optimizer, schedulers: Iterable[Any]) -> None:
        check_optimizer(optimizer)
        self.optimizer, self.schedulers = optimizer, list(schedulers)
        require(bool(self.schedulers), "there is at least one schedule", self.schedulers)
        for s in self.schedulers:
            require(isinstance(s, LRScheduler), "these are schedules that go by epochs", s)
            require(s.optimizer is optimizer, "the schedules are of one optimiser", s)

    def state_dict(self) -> dict[str, Any]:
        """What it needs to go on, functions apart."""
        own = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "schedulers")}
        return {**own, "_schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""
        own = dict(state_dict)
        for scheduler, state in zip(self.schedulers, own.pop("_schedulers"), strict=True):
            scheduler.load_state_dict(state)
        self.__dict__.update(own)


class SequentialLR(_Several):
    """One schedule after another: the next one begins in each of the epochs `milestones`."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Any], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer, schedulers)
        require(len(self.schedulers) == len(milestones) + 1, "there is one schedule more than milestones", milestones)
        self.milestones, self.last_epoch = list(milestones), last_epoch + 1
        for scheduler in reversed(self.schedulers):
            scheduler.rewind()
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.schedulers[0].step()
        self._last_lr = self._rates()

    def step(self, epoch: int | None = None) -> None:
        """The next epoch."""
        require(epoch is None, "a sequence of schedules goes on by one epoch at a time", epoch)
        self.last_epoch += 1
        number = bisect.bisect_right(self.milestones, self.last_epoch)
        begins = number > 0 and self.milestones[number - 1] == self.last_epoch
        self.schedulers[number].step(*([0] if begins else []))
        self._last_lr = self._rates()


class ChainedScheduler(_Several):
    """Several schedules at once, each from the rate that the one before it leaves."""

    def __init__(self, schedulers: Iterable[Any], optimizer: Optimizer | None = None) -> None:
        found = list(schedulers)
        require(bool(found), "there is at least one schedule", found)
        super().__init__(found[0].optimizer if optimizer is None else optimizer, found)
        self._last_lr = self._rates()

    def step(self, epoch: int | None = None) -> None:
        """The next epoch, of all."""
        require(epoch is None, "chained schedules go on by one epoch at a time", epoch)
        for scheduler in self.schedulers:
            scheduler.step()
        self._last_lr = self._rates()
