"""Where PyTorch's derivatives are not TensorFlow's: at ties, at zeros, at the ends of a range.

Policy: the ops are the library's own.  What is built under one of the tables here is differentiated by the rules that
the table names (as in a `gradient_override_map`), and these are made of the library's ops as well.

State: none; registers the rules by name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from graphflow.graph import get_default_graph
from graphflow.indexed_slices import IndexedSlices
from graphflow.opdef import RegisterGradient
from graphflow.ops import activations, arithmetic, array, compare, index, math

Rule = Callable[[Any, Any], Any]
LEAST_DIVISOR = 1e-12  # of what the logarithm of a probability is differentiated with


def _rules(name: str, *rules: Rule | None) -> None:
    """Register one rule for each input; gradients are summed to the shapes of inputs that were broadcast."""

    def gradient(op: Any, dy: Any) -> list[Any]:
        dy = dy.to_tensor() if isinstance(dy, IndexedSlices) else dy
        return [
            None if rule is None else arithmetic.sum_to_like(rule(op, dy), x, op.inputs)
            for rule, x in zip(rules, op.inputs, strict=True)
        ]

    RegisterGradient(name)(gradient)


def _unless(lost: Callable[[Any, Any], Any], first: bool) -> Rule:
    """dy, half of it at ties, and 0 where the input lost."""

    def rule(op: Any, dy: Any) -> Any:
        x, y = op.inputs if first else op.inputs[::-1]
        shared = index.where(compare.equal(x, y), arithmetic.multiply(dy, 0.5), dy)
        return index.where(lost(x, y), 0.0, shared)

    return rule


_rules("MaximumSharesTies", _unless(compare.less, True), _unless(compare.less, False))
_rules("MinimumSharesTies", _unless(compare.greater, True), _unless(compare.greater, False))


def _power_base(op: Any, dy: Any) -> Any:
    x, y = op.inputs
    steep = arithmetic.multiply(y, math.pow(x, arithmetic.subtract(y, 1)))
    still = compare.equal(array.broadcast_to(y, array.shape(dy)), 0)  # a vector of bools would choose rows
    return index.where(still, 0.0, arithmetic.multiply(dy, steep))


def _power_exponent(op: Any, dy: Any) -> Any:
    x, y = op.inputs
    still = compare.logical_and(compare.equal(x, 0), compare.greater_equal(y, 0))
    return arithmetic.multiply(dy, index.where(still, 0.0, arithmetic.multiply(op.outputs[0], math.log(x))))


_rules("PowFlatAtZeros", _power_base, _power_exponent)


def _flat_power(op: Any, dy: Any) -> Any:
    x, y = op.inputs
    zero = compare.equal(x, 0)
    steep = arithmetic.multiply(y, math.pow(index.where(zero, 1.0, x), arithmetic.subtract(y, 1)))
    return index.where(zero, 0.0, arithmetic.multiply(dy, steep))


_rules("RootFlatAtZero", lambda op, dy: arithmetic.div_no_nan(dy, arithmetic.add(op.outputs[0], op.outputs[0])))
_rules("PowOfLengthsFlatAtZero", _flat_power, None)


def _turn(op: Any, dy: Any) -> Any:
    y, x = op.inputs
    return arithmetic.div_no_nan(dy, arithmetic.add(arithmetic.square(x), arithmetic.square(y)))


_rules(
    "AngleFlatAtOrigin",
    lambda op, dy: arithmetic.multiply(op.inputs[1], _turn(op, dy)),
    lambda op, dy: arithmetic.negative(arithmetic.multiply(op.inputs[0], _turn(op, dy))),
)


def _selu(op: Any, dy: Any) -> Any:
    y = op.outputs[0]
    steep = arithmetic.add(y, activations.SELU_SCALE_ALPHA)
    return arithmetic.multiply(dy, index.where(compare.greater(y, 0), activations.SELU_SCALE, steep))


_rules("SeluFromTheLeft", _selu)
_rules("LogBounded", lambda op, dy: arithmetic.realdiv(dy, arithmetic.maximum(op.inputs[0], LEAST_DIVISOR)))
_rules("MaximumPasses", lambda op, dy: dy, None)

Table = tuple[tuple[str, str], ...]  # op types, and the rule that stands for each one's own
TIES: Table = (("Maximum", "MaximumSharesTies"), ("Minimum", "MinimumSharesTies"))
POWERS: Table = (("Pow", "PowFlatAtZeros"),)
LENGTHS: Table = (("Sqrt", "RootFlatAtZero"), ("Pow", "PowOfLengthsFlatAtZero"))
ANGLES: Table = (("Atan2", "AngleFlatAtOrigin"),)
SELU: Table = (("Selu", "SeluFromTheLeft"),)
PROBABILITIES: Table = (("Log", "LogBounded"), ("Maximum", "MaximumPasses"))


def differentiated(by: Table) -> AbstractContextManager[None]:
    """Ops that are built inside are differentiated by these rules."""
    graph = get_default_graph()
    found: AbstractContextManager[None] = graph.scoped(gradient_map=by + graph.scope.gradient_map)
    return found


def by_rules(op: Callable[..., Any], by: Table) -> Callable[..., Any]:
    """The op, differentiated by these rules."""

    def function(*inputs: Any) -> Any:
        with differentiated(by):
            return op(*inputs)

    function.__doc__ = op.__doc__
    return function
