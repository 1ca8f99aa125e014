"""The optimizers: TensorFlow 1's names, parameters, defaults and formulas.

Policy: an update reads each slot once and writes it once, inside the atomic region that the base class opens.
Gradients by rows touch these rows only, save in Adam, where TensorFlow 1 lets all of m and v decay in every step.

State: none beyond the optimizers' own slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow import dtypes
from graphflow.dtypes import DType
from graphflow.errors import InvalidArgumentError
from graphflow.graph import get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.ops import arithmetic, array, casts, core, index, math, state
from graphflow.tensor import Tensor
from graphflow.train.optimizer import Optimizer


def _require(holds: bool, text: str, got: Any) -> None:
    if not holds:
        raise InvalidArgumentError(text, got=repr(got))


def _rows(var: Any, indices: Any) -> Any:
    """Some rows of a variable, as they are now."""
    return index.gather(var.read_value(), indices)


class GradientDescentOptimizer(Optimizer):
    """var -= learning_rate * gradient."""

    _single_write = True

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._given["learning_rate"] = learning_rate

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        return var.assign_sub(grad * self._hyper("learning_rate", var.dtype))

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        return state.scatter_sub(var, grad.indices, grad.values * self._hyper("learning_rate", var.dtype))

    _apply_sparse = _apply_sparse_duplicate_indices


class MomentumOptimizer(Optimizer):
    """accumulator = momentum * accumulator + gradient; var -= learning_rate * accumulator."""

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._given.update(learning_rate=learning_rate, momentum=momentum)
        self._use_nesterov = use_nesterov

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._zeros_slot(v, "momentum", self._name)

    def _step(self, grad: Any, accumulator: Any, dtype: DType) -> Any:
        rate = self._hyper("learning_rate", dtype)
        if self._use_nesterov:
            return grad * rate + accumulator * self._hyper("momentum", dtype) * rate
        return accumulator * rate

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        slot = self._slots["momentum"][var]
        new = slot.assign(slot.read_value() * self._hyper("momentum", var.dtype) + grad)
        return var.assign_sub(self._step(grad, new, var.dtype))

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        slot, values = self._slots["momentum"][var], grad.values
        new = _rows(slot, grad.indices) * self._hyper("momentum", var.dtype) + values
        written = state.scatter_update(slot, grad.indices, new)
        return core.group(written, state.scatter_sub(var, grad.indices, self._step(values, new, var.dtype)))


class AdagradOptimizer(Optimizer):
    """accumulator += gradient**2; var -= learning_rate * gradient / sqrt(accumulator)."""

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        value = initial_accumulator_value
        _require(value > 0.0, f"initial_accumulator_value must be positive: {value}", value)
        super().__init__(use_locking, name)
        self._given["learning_rate"] = learning_rate
        self._initial = value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._constant_slot(v, self._initial, "accumulator", self._name)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        new = self._slots["accumulator"][var].assign_add(arithmetic.square(grad))
        return var.assign_sub(grad * self._hyper("learning_rate", var.dtype) / math.sqrt(new))

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        slot, values = self._slots["accumulator"][var], grad.values
        new = _rows(slot, grad.indices) + arithmetic.square(values)
        written = state.scatter_update(slot, grad.indices, new)
        step = values * self._hyper("learning_rate", var.dtype) / math.sqrt(new)
        return core.group(written, state.scatter_sub(var, grad.indices, step))


class AdadeltaOptimizer(Optimizer):
    """Steps as large as the recent ones, by the ratio of two running means of squares."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(use_locking, name)
        self._given.update(learning_rate=learning_rate, rho=rho, epsilon=epsilon)

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._zeros_slot(v, "accum", self._name)
            self._zeros_slot(v, "accum_update", self._name)

    def _mean(self, old: Any, x: Any, dtype: DType) -> Any:
        return old * self._hyper("rho", dtype) + arithmetic.square(x) * self._one_minus("rho", dtype)

    def _step(self, grad: Any, squares: Any, steps: Any, dtype: DType) -> Any:
        epsilon = self._hyper("epsilon", dtype)
        return math.sqrt(steps + epsilon) / math.sqrt(squares + epsilon) * grad

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        squares, steps = self._slots["accum"][var], self._slots["accum_update"][var]
        new = squares.assign(self._mean(squares.read_value(), grad, var.dtype))
        old_steps = steps.read_value()
        step = self._step(grad, new, old_steps, var.dtype)
        written = steps.assign(self._mean(old_steps, step, var.dtype))
        return core.group(written, var.assign_sub(step * self._hyper("learning_rate", var.dtype)))

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        squares, steps, at = self._slots["accum"][var], self._slots["accum_update"][var], grad.indices
        new = self._mean(_rows(squares, at), grad.values, var.dtype)
        old_steps = _rows(steps, at)
        step = self._step(grad.values, new, old_steps, var.dtype)
        return core.group(
            state.scatter_update(squares, at, new),
            state.scatter_update(steps, at, self._mean(old_steps, step, var.dtype)),
            state.scatter_sub(var, at, step * self._hyper("learning_rate", var.dtype)),
        )


class RMSPropOptimizer(Optimizer):
    """Gradients divided by the root of their running mean square (about their mean if `centered`), with momentum."""

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        self._given.update(learning_rate=learning_rate, decay=decay, momentum=momentum, epsilon=epsilon)
        self._centered = centered
        self._has_momentum = not (isinstance(momentum, (int, float)) and momentum == 0)

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._constant_slot(v, 1.0, "rms", self._name)
            if self._centered:
                self._zeros_slot(v, "mg", self._name)
            self._zeros_slot(v, "momentum", self._name)

    def _scaled(self, grad: Any, squares: Any, mean: Any, dtype: DType) -> Any:
        """learning_rate * gradient / sqrt(variance + epsilon)."""
        variance = squares if mean is None else squares - arithmetic.square(mean)
        scale = math.sqrt(variance + self._hyper("epsilon", dtype))
        return grad * self._hyper("learning_rate", dtype) / scale

    def _follow(self, slot: Any, x: Any, dtype: DType) -> Any:
        """The slot moved towards x."""
        return slot.assign_add((x - slot.read_value()) * self._one_minus("decay", dtype))

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        dtype, momentum = var.dtype, self._slots["momentum"][var]
        squares = self._follow(self._slots["rms"][var], arithmetic.square(grad), dtype)
        mean = self._follow(self._slots["mg"][var], grad, dtype) if self._centered else None
        step = self._scaled(grad, squares, mean, dtype)
        if self._has_momentum:
            step = momentum.read_value() * self._hyper("momentum", dtype) + step
        return var.assign_sub(momentum.assign(step))

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        dtype, at, values, momentum = var.dtype, grad.indices, grad.values, self._slots["momentum"][var]
        written = []

        def follow(slot: Any, x: Any) -> Any:
            old = _rows(slot, at)
            new = old + (x - old) * self._one_minus("decay", dtype)
            written.append(state.scatter_update(slot, at, new))
            return new

        squares = follow(self._slots["rms"][var], arithmetic.square(values))
        mean = follow(self._slots["mg"][var], values) if self._centered else None
        step = self._scaled(values, squares, mean, dtype)
        if self._has_momentum:
            step = _rows(momentum, at) * self._hyper("momentum", dtype) + step
        written.append(state.scatter_update(momentum, at, step))
        return core.group(*written, state.scatter_sub(var, at, step))


class AdamOptimizer(Optimizer):
    """Running means m of the gradient and v of its square: var -= rate * m / (sqrt(v) + epsilon).

    rate = learning_rate * sqrt(1 - beta2**t) / (1 - beta1**t); this epsilon is the paper's "epsilon hat".
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._given.update(learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        first = min(var_list, key=lambda v: str(v.name))
        wide = dtypes.float64 if any(v.dtype is dtypes.float64 for v in var_list) else dtypes.float32
        for name in ("beta1", "beta2"):
            if self._get_non_slot_variable(f"{name}_power", first.graph) is None:
                value = self._call_if_callable(self._given[name])
                initial = wide.type(value) if isinstance(value, (int, float)) else casts.cast(value, wide)
                self._create_non_slot_variable(initial, f"{name}_power", first)
        for v in var_list:
            self._zeros_slot(v, "m", self._name)
            self._zeros_slot(v, "v", self._name)

    def _get_beta_accumulators(self) -> tuple[Any, Any]:
        return self._get_non_slot_variable("beta1_power"), self._get_non_slot_variable("beta2_power")

    def _prepare(self) -> None:
        power1, power2 = self._get_beta_accumulators()
        rate = self._hyper("learning_rate", power1.dtype)
        self._given["rate"] = rate * math.sqrt(1.0 - power2.read_value()) / (1.0 - power1.read_value())

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        dtype, m, v = var.dtype, self._slots["m"][var], self._slots["v"][var]
        rate = self._hyper("rate", dtype)
        new_m = m.assign_add((grad - m.read_value()) * self._one_minus("beta1", dtype))
        new_v = v.assign_add((arithmetic.square(grad) - v.read_value()) * self._one_minus("beta2", dtype))
        return var.assign_sub(new_m * rate / (math.sqrt(new_v) + self._hyper("epsilon", dtype)))

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        dtype, at, m, v = var.dtype, grad.indices, self._slots["m"][var], self._slots["v"][var]
        rate = self._hyper("rate", dtype)
        decayed = [m.assign(m.read_value() * self._hyper("beta1", dtype))]
        decayed.append(v.assign(v.read_value() * self._hyper("beta2", dtype)))
        new_m = state.scatter_add(m, at, grad.values * self._one_minus("beta1", dtype))
        new_v = state.scatter_add(v, at, arithmetic.square(grad.values) * self._one_minus("beta2", dtype))
        step = new_m * rate / (math.sqrt(new_v) + self._hyper("epsilon", dtype))
        return core.group(*decayed, var.assign_sub(step))

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        graph = get_default_graph()
        powers = []
        with graph.control_dependencies(update_ops):
            for power, name in zip(self._get_beta_accumulators(), ("beta1", "beta2"), strict=True):
                factor = self._hyper(name, power.dtype)
                with graph.atomic([power.handle]):
                    powers.append(power.assign(power.read_value() * factor))
        return core.group(*update_ops, *powers, name=name_scope)


class FtrlOptimizer(Optimizer):
    """Follow the regularized leader, with L1, L2 and shrinking L2 regularization."""

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        for text, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength),
        ):
            _require(value >= 0.0, f"{text} {value} needs to be positive or zero", value)
        power = learning_rate_power
        _require(power <= 0.0, f"learning_rate_power {power} needs to be negative or zero", power)
        super().__init__(use_locking, name)
        self._given.update(
            learning_rate=learning_rate, power=-power, l1=l1_regularization_strength,
            l2=2 * l2_regularization_strength, shrinkage=2 * l2_shrinkage_regularization_strength,
        )  # fmt: skip
        self._initial = initial_accumulator_value
        self._power = power
        self._shrinks = l2_shrinkage_regularization_strength != 0
        self._accum_name = accum_name or name
        self._linear_name = linear_name or name

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._constant_slot(v, self._initial, "accum", self._accum_name)
            self._zeros_slot(v, "linear", self._linear_name)

    def _raised(self, x: Any, dtype: DType) -> Any:
        return math.sqrt(x) if self._power == -0.5 else math.pow(x, self._hyper("power", dtype))

    def _new(self, grad: Any, x: Any, accum: Any, linear: Any, dtype: DType) -> tuple[Any, Any, Any]:
        """The new values of the accumulator, of the linear term, and of the variable."""
        rate, l1 = self._hyper("learning_rate", dtype), self._hyper("l1", dtype)
        shrunk = grad + x * self._hyper("shrinkage", dtype) if self._shrinks else grad
        new_accum = accum + arithmetic.square(grad)
        raised = self._raised(new_accum, dtype)
        new_linear = linear + (shrunk - (raised - self._raised(accum, dtype)) / rate * x)
        numerator = l1 * arithmetic.sign(new_linear) - new_linear
        solved = numerator / (raised / rate + self._hyper("l2", dtype))
        zero = array.zeros_like(solved)
        return new_accum, new_linear, index.where(arithmetic.abs(new_linear) > l1, solved, zero)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        targets = (self._slots["accum"][var], self._slots["linear"][var], var)
        new = self._new(grad, var.read_value(), targets[0].read_value(), targets[1].read_value(), var.dtype)
        return core.group(*[target.assign(value) for target, value in zip(targets, new, strict=True)])

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        at, targets = grad.indices, (self._slots["accum"][var], self._slots["linear"][var], var)
        accum, linear, x = [_rows(target, at) for target in targets]
        new = self._new(grad.values, x, accum, linear, var.dtype)
        return core.group(*[state.scatter_update(t, at, value) for t, value in zip(targets, new, strict=True)])


class _Proximal(Optimizer):
    """A gradient step followed by the proximal step of L1 and L2 regularization."""

    def _regularize(self, learning_rate: Any, l1: Any, l2: Any) -> None:
        self._given.update(learning_rate=learning_rate, l1=l1, l2=l2)
        self._has_l1 = not (isinstance(l1, (int, float)) and l1 <= 0)

    def _proximal(self, x: Any, rate: Any, dtype: DType) -> Any:
        shrink = 1.0 + rate * self._hyper("l2", dtype)
        if not self._has_l1:
            return x / shrink
        left = arithmetic.maximum(arithmetic.abs(x) - rate * self._hyper("l1", dtype), 0.0)
        return arithmetic.sign(x) * left / shrink


class ProximalGradientDescentOptimizer(_Proximal):
    """Gradient descent with L1 and L2 regularization by proximal steps."""

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        super().__init__(use_locking, name)
        self._regularize(learning_rate, l1_regularization_strength, l2_regularization_strength)

    def _new(self, grad: Any, x: Any, dtype: DType) -> Any:
        rate = self._hyper("learning_rate", dtype)
        return self._proximal(x - grad * rate, rate, dtype)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        return var.assign(self._new(grad, var.read_value(), var.dtype))

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        new = self._new(grad.values, _rows(var, grad.indices), var.dtype)
        return state.scatter_update(var, grad.indices, new)


class ProximalAdagradOptimizer(_Proximal):
    """Adagrad with L1 and L2 regularization by proximal steps."""

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        value = initial_accumulator_value
        _require(value > 0.0, f"initial_accumulator_value must be positive: {value}", value)
        super().__init__(use_locking, name)
        self._regularize(learning_rate, l1_regularization_strength, l2_regularization_strength)
        self._initial = value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._constant_slot(v, self._initial, "accumulator", self._name)

    def _new(self, grad: Any, x: Any, squares: Any, dtype: DType) -> Any:
        rate: Tensor = self._hyper("learning_rate", dtype) / math.sqrt(squares)
        return self._proximal(x - grad * rate, rate, dtype)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        squares = self._slots["accumulator"][var].assign_add(arithmetic.square(grad))
        return var.assign(self._new(grad, var.read_value(), squares, var.dtype))

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        slot, at = self._slots["accumulator"][var], grad.indices
        squares = _rows(slot, at) + arithmetic.square(grad.values)
        new = self._new(grad.values, _rows(var, at), squares, var.dtype)
        return core.group(state.scatter_update(slot, at, squares), state.scatter_update(var, at, new))
