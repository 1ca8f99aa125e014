"""Rows for activations, softmax, the losses, biases and dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow import errors
from graphflow.ops import activations, core, nn, softmax
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase

HALF = ("float16", "float32", "float64")
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 700.0, -700.0])
TINY = np.array([1e-12, -1e-12, 3e-9, -3e-9])
HUGE = np.array([[1000.0, -1000.0, 0.0], [-1e5, -1e5, -1e5 - 1.0]])


def logistic(x: Any) -> Any:
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1.0) / (1.0 + np.exp(-np.abs(x)))


def elu(x: Any) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x: Any) -> Any:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))


def selu_slope(y: Any) -> Any:
    return np.where(y < 0, y + 1.0507009873554805 * 1.6732632423543772, 1.0507009873554805)


# -- activations: type, function, reference, gradient op, its reference as a function of (dy, argument) --------------

ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "Relu": (activations.relu, lambda x: np.where(x < 0, 0, x)),
    "Relu6": (activations.relu6, lambda x: np.where(x < 0, 0, np.where(x > 6, 6, x))),
    "LeakyRelu": (activations.leaky_relu, lambda x: np.where(x > 0, x, 0.2 * x)),
    "Elu": (activations.elu, elu),
    "Selu": (activations.selu, selu),
    "Softplus": (activations.softplus, lambda x: np.logaddexp(0, x)),
    "Softsign": (activations.softsign, lambda x: x / (1 + np.abs(x))),
}
SLOPES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "ReluGrad": (activations.relu_grad, lambda dy, x: np.where(x > 0, dy, 0)),
    "Relu6Grad": (activations.relu6_grad, lambda dy, x: np.where((x > 0) & (x < 6), dy, 0)),
    "LeakyReluGrad": (activations.leaky_relu_grad, lambda dy, x: dy * np.where(x > 0, 1.0, 0.2)),
    "EluGrad": (activations.elu_grad, lambda dy, y: dy * np.where(y < 0, y + 1, 1.0)),
    "SeluGrad": (activations.selu_grad, lambda dy, y: dy * selu_slope(y)),
    "SoftplusGrad": (activations.softplus_grad, lambda dy, x: dy * logistic(x)),
    "SoftsignGrad": (activations.softsign_grad, lambda dy, x: dy / (1 + np.abs(x)) ** 2),
}
_ENDLESS = {"Softsign"}  # infinity over infinity


def _activation_rows() -> list[OpCase]:
    found = []
    for type, (function, reference) in ACTIVATIONS.items():
        one: dict[str, Any] = {"op": type, "build": function, "reference": reference, "analytic": False}
        special = SPECIAL[np.isfinite(SPECIAL)] if type in _ENDLESS else SPECIAL
        found += [
            OpCase(id="matrix", inputs=(Arg((3, 4), -3.0, 9.0),), dtypes=HALF, zero=(((0, 4),),), **one),
            OpCase(id="scalar", inputs=(Arg(()),), **one),
            OpCase(id="special values", inputs=(special,), wrt=(), **one),
            OpCase(id="tiny values", inputs=(TINY,), wrt=(), **one),
        ]
    for type, (function, reference) in SLOPES.items():
        one = {"op": type, "build": function, "reference": reference, "analytic": type == "SoftplusGrad"}
        found += [
            OpCase(
                id="matrix", inputs=(Arg((3, 4)), Arg((3, 4), -0.9, 7.0)), dtypes=HALF, zero=(((0, 4), (0, 4)),), **one
            ),
            OpCase(id="scalar", inputs=(Arg(()), Arg(())), **one),
        ]
    return found


def _selecting() -> list[OpCase]:
    """Gradients that select must not make NaN of an infinity that they leave out."""
    endless = np.array([np.inf, -np.inf, np.nan, 2.0])
    return [
        OpCase("ReluGrad", "infinite gradients", activations.relu_grad, (endless, np.array([1.0, -1.0, 0.0, 3.0])),
               lambda dy, x: np.array([np.inf, 0.0, 0.0, 2.0]), wrt=()),
        OpCase("Relu6Grad", "at both kinks", activations.relu6_grad, (endless, np.array([0.0, 6.0, 7.0, 3.0])),
               lambda dy, x: np.array([0.0, 0.0, 0.0, 2.0]), wrt=()),
        OpCase("Relu", "integers", activations.relu, (np.array([[-3, 0, 5]], np.int32),),
               lambda x: np.maximum(x, 0), wrt=()),
        OpCase("LeakyRelu", "another slope", lambda x: activations.leaky_relu(x, 0.01), (Arg((5,)),),
               lambda x: np.where(x > 0, x, 0.01 * x), analytic=False),
        OpCase("tf.nn.leaky_relu", "slope as a tensor", activations.leaky_relu, (Arg((5,)), Arg((), 0.1, 0.9)),
               lambda x, a: np.where(x > 0, x, a * x), analytic=False),
    ]  # fmt: skip


def _gelu(x: Any) -> Any:
    from math import erf, sqrt

    return 0.5 * x * (1 + np.vectorize(erf, otypes=[float])(x / sqrt(2)))


def _composed_activations() -> list[OpCase]:
    x = (Arg((3, 4)),)
    empty = (((0, 4),),)
    return [
        OpCase("tf.nn.crelu", "last axis", activations.crelu, x,
               lambda v: np.concatenate([np.maximum(v, 0), np.maximum(-v, 0)], -1), analytic=False, zero=empty),
        OpCase("tf.nn.crelu", "first axis", lambda v: activations.crelu(v, axis=0), x,
               lambda v: np.concatenate([np.maximum(v, 0), np.maximum(-v, 0)], 0), analytic=False),
        OpCase("tf.nn.swish", "matrix", activations.swish, x, lambda v: v * logistic(v), analytic=False, zero=empty),
        OpCase("tf.nn.gelu", "exact", activations.gelu, x, _gelu, analytic=False, zero=empty),
        OpCase("tf.nn.gelu", "tanh", lambda v: activations.gelu(v, approximate=True), x,
               lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3))), zero=empty),
        OpCase("tf.nn.log_sigmoid", "matrix", activations.log_sigmoid, x,
               lambda v: -np.logaddexp(0, -v), analytic=False, zero=empty),
        OpCase("tf.nn.log_sigmoid", "huge", activations.log_sigmoid, (HUGE,),
               lambda v: -np.logaddexp(0, -v), wrt=()),
    ]  # fmt: skip


# -- softmax ---------------------------------------------------------------------------------------------------------


def soft(x: Any, axis: int = -1) -> Any:
    out = np.empty_like(x)
    rows, results = np.moveaxis(x, axis, -1), np.moveaxis(out, axis, -1)
    for at in np.ndindex(*rows.shape[:-1]):
        e = np.exp(rows[at] - rows[at].max()) if rows[at].size else rows[at]
        results[at] = e / e.sum()
    return out


def log_soft(x: Any, axis: int = -1) -> Any:
    out = np.empty_like(x)
    rows, results = np.moveaxis(x, axis, -1), np.moveaxis(out, axis, -1)
    for at in np.ndindex(*rows.shape[:-1]):
        top = rows[at].max() if rows[at].size else 0.0
        results[at] = rows[at] - top - np.log(np.exp(rows[at] - top).sum())
    return out


def entropy(labels: Any, logits: Any, axis: int = -1) -> Any:
    return -(labels * log_soft(logits, axis)).sum(axis)


def _with_derivative(logits: Any, labels: Any) -> list[Any]:
    """Both outputs of the op."""
    return list(softmax._softmax_cross_entropy(logits, labels))


def _both(x: Any, z: Any) -> list[Any]:
    return [entropy(z, x), soft(x) * z.sum(-1, keepdims=True) - z]


def _masked(x: Any, z: Any) -> list[Any]:
    return [np.array([-np.log(np.exp(1.0) / (np.exp(1.0) + np.exp(2.0)))]), soft(x) - z]


def _sparse_both(x: Any, labels: Any) -> list[Any]:
    picked = np.zeros(x.shape)
    for at in np.ndindex(*labels.shape):
        picked[(*at, labels[at])] = 1.0
    return [entropy(picked, x), soft(x) - picked]


def _sparse_with_derivative(logits: Any, labels: Any) -> list[Any]:
    return list(softmax._sparse_softmax_cross_entropy(logits, labels))


CLASSES = np.array([2, 0, 3, 1])
FLAT = np.arange(12.0).reshape(3, 4)


def _softmax_rows() -> list[OpCase]:
    rows = []
    table = {"Softmax": (softmax.softmax, soft), "LogSoftmax": (softmax.log_softmax, log_soft)}
    for type, (function, reference) in table.items():
        one: dict[str, Any] = {"op": type, "analytic": False}
        rows += [
            OpCase(id="matrix", build=function, inputs=(Arg((3, 5)),), reference=reference, dtypes=HALF,
                   zero=(((0, 5),), ((3, 0),)), **one),
            OpCase(id="vector", build=function, inputs=(Arg((6,)),), reference=reference, **one),
            OpCase(id="rank 4", build=function, inputs=(Arg((2, 3, 1, 4)),), reference=reference, **one),
            OpCase(id="huge logits", build=function, inputs=(HUGE,), reference=reference, wrt=(), **one),
            OpCase(id="one class", build=function, inputs=(Arg((3, 1)),), reference=reference, **one),
            OpCase(id="first axis", build=lambda x, f=function: f(x, axis=0), inputs=(Arg((3, 4)),),
                   reference=lambda x, r=reference: r(x, 0), zero=(((3, 0),),), **one),
            OpCase(id="dim=1 of 3", build=lambda x, f=function: f(x, dim=1), inputs=(Arg((2, 3, 4)),),
                   reference=lambda x, r=reference: r(x, 1), **one),
            OpCase(id="axis -2 of 3", build=lambda x, f=function: f(x, axis=-2), inputs=(Arg((2, 3, 4)),),
                   reference=lambda x, r=reference: r(x, 1), **one),
        ]  # fmt: skip
    return rows


def _entropy_rows() -> list[OpCase]:
    op, sparse = "SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"
    v2, v1 = softmax.softmax_cross_entropy_with_logits_v2, softmax.softmax_cross_entropy_with_logits
    return [
        OpCase(op, "any labels", _with_derivative, (Arg((3, 5)), Arg((3, 5))), _both, analytic=False, dtypes=HALF,
               zero=(((0, 5), (0, 5)), ((3, 0), (3, 0)))),
        OpCase(op, "vector", _with_derivative, (Arg((4,)), Arg((4,), 0.0, 1.0)), _both, analytic=False),
        OpCase(op, "huge logits", _with_derivative, (HUGE, np.array([[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])), _both,
               wrt=()),
        OpCase(op, "an impossible class", _with_derivative,
               (np.array([[1.0, -np.inf, 2.0]]), np.array([[1.0, 0.0, 0.0]])), _masked, wrt=()),
        OpCase("tf.nn.softmax_cross_entropy_with_logits_v2", "both gradients", lambda z, x: v2(labels=z, logits=x),
               (Arg((2, 3, 4), 0.0, 1.0), Arg((2, 3, 4))), entropy, analytic=False, zero=(((0, 2, 4), (0, 2, 4)),)),
        OpCase("tf.nn.softmax_cross_entropy_with_logits_v2", "axis 0", lambda z, x: v2(labels=z, logits=x, axis=0),
               (Arg((3, 2, 4), 0.0, 1.0), Arg((3, 2, 4))), lambda z, x: entropy(z, x, 0), analytic=False),
        OpCase("tf.nn.softmax_cross_entropy_with_logits", "logits alone", lambda z, x: v1(labels=z, logits=x),
               (Arg((3, 5), 0.0, 1.0), Arg((3, 5))), entropy, wrt=(1,), analytic=False),
        OpCase("tf.nn.softmax_cross_entropy_with_logits", "whole numbers, dim 1 of 3",
               lambda z, x: v1(labels=z, logits=x, dim=1),
               (np.eye(4, dtype=np.int64)[CLASSES].reshape(2, 4, 2), Arg((2, 4, 2))),
               lambda z, x: entropy(z, x, 1), analytic=False),
        OpCase(sparse, "batch", _sparse_with_derivative, (Arg((4, 5)), CLASSES), _sparse_both, analytic=False,
               dtypes=HALF, zero=(((0, 5), (0,)), ((0, 0), (0,)))),
        OpCase(sparse, "int32, two batch axes", _sparse_with_derivative,
               (Arg((2, 2, 4)), CLASSES.astype(np.int32).reshape(2, 2)), _sparse_both, analytic=False),
        OpCase(sparse, "one example", _sparse_with_derivative, (Arg((4,)), np.array(2)), _sparse_both, analytic=False),
        OpCase(sparse, "huge logits", _sparse_with_derivative, (HUGE, np.array([1, 0])), _sparse_both, wrt=()),
        OpCase("tf.nn.sparse_softmax_cross_entropy_with_logits", "loss",
               lambda x, z: softmax.sparse_softmax_cross_entropy_with_logits(labels=z, logits=x),
               (Arg((4, 5)), CLASSES), lambda x, z: _sparse_both(x, z)[0], analytic=False),
    ]  # fmt: skip


# -- losses ----------------------------------------------------------------------------------------------------------


def logistic_loss(z: Any, x: Any, weight: Any = 1.0) -> Any:
    return weight * z * np.logaddexp(0, -x) + (1 - z) * np.logaddexp(0, x)


def poisson(z: Any, x: Any) -> Any:
    return np.exp(x) - x * z


def stirling(z: Any, x: Any) -> Any:
    out = poisson(z, x)
    for at in np.ndindex(*z.shape):
        if z[at] > 1:
            out[at] += z[at] * np.log(z[at]) - z[at] + 0.5 * np.log(2 * np.pi * z[at])
    return out


def _loss_rows() -> list[OpCase]:
    pair = (Arg((3, 4), 0.0, 1.0), Arg((3, 4), -4.0, 4.0))
    empty = (((0, 4), (0, 4)),)
    sigmoid, weighted = nn.sigmoid_cross_entropy_with_logits, nn.weighted_cross_entropy_with_logits
    saturated = (np.array([0.0, 1.0, 0.0, 1.0, 0.5]), np.array([-1000.0, 1000.0, 1000.0, -1000.0, 0.0]))
    name = "tf.nn.sigmoid_cross_entropy_with_logits"
    return [
        OpCase(name, "matrix", lambda z, x: sigmoid(labels=z, logits=x), pair, logistic_loss, analytic=False,
               zero=empty),
        OpCase(name, "targets", lambda z, x: sigmoid(logits=x, targets=z), pair, logistic_loss, analytic=False),
        OpCase(name, "saturated", lambda z, x: sigmoid(labels=z, logits=x), saturated,
               lambda z, x: np.array([0.0, 0.0, 1000.0, 1000.0, np.log(2)]), wrt=()),
        OpCase(name, "all digits of a small loss", lambda z, x: sigmoid(labels=z, logits=x),
               (np.array([0.0, 1.0]), np.array([-40.0, 40.0])), lambda z, x: np.exp([-40.0, -40.0]), wrt=()),
        OpCase("tf.nn.weighted_cross_entropy_with_logits", "weight", lambda z, x: weighted(z, x, 3.0), pair,
               lambda z, x: logistic_loss(z, x, 3.0), analytic=False, zero=empty),
        OpCase("tf.nn.weighted_cross_entropy_with_logits", "weight for each class",
               lambda z, x, w: weighted(labels=z, logits=x, pos_weight=w), (*pair, Arg((4,), 0.5, 2.0)),
               logistic_loss, analytic=False),
        OpCase("tf.nn.log_poisson_loss", "short", nn.log_poisson_loss, (Arg((3, 4), 0.0, 5.0), Arg((3, 4))), poisson,
               zero=empty),
        OpCase("tf.nn.log_poisson_loss", "full", lambda z, x: nn.log_poisson_loss(z, x, True),
               (np.array([0.0, 0.5, 1.5, 7.0]), Arg((4,))), stirling, analytic=False),
        OpCase("L2Loss", "matrix", nn.l2_loss, (Arg((3, 4)),), lambda x: (x**2).sum() / 2, dtypes=HALF,
               zero=(((0, 4),),)),
        OpCase("L2Loss", "scalar", nn.l2_loss, (Arg(()),), lambda x: x**2 / 2),
    ]  # fmt: skip


# -- biases, dropout -------------------------------------------------------------------------------------------------


def _dropped(x: Any) -> Any:
    """0 where an element is 0 or x / 0.25: the draw itself is not known."""
    y = nn.dropout(x, keep_prob=0.25, seed=1)
    wrong = y * (y - 4.0 * x)
    return [wrong * wrong]


def _bias_rows() -> list[OpCase]:
    image = (Arg((2, 3, 4, 5)), Arg((5,)))
    first = (Arg((2, 5, 3, 4)), Arg((5,)))
    return [
        OpCase("BiasAdd", "matrix", nn.bias_add, (Arg((3, 4)), Arg((4,))), lambda x, b: x + b, dtypes=HALF,
               zero=(((0, 4), (4,)), ((3, 0), (0,)))),
        OpCase("BiasAdd", "NHWC", nn.bias_add, image, lambda x, b: x + b),
        OpCase("BiasAdd", "NCHW", lambda x, b: nn.bias_add(x, b, "NCHW"), first, lambda x, b: x + b[:, None, None]),
        OpCase("BiasAdd", "NCHW, no pixels", lambda x, b: nn.bias_add(x, b, data_format="NCHW"),
               (Arg((3, 4)), Arg((4,))), lambda x, b: x + b),
        OpCase("BiasAdd", "whole numbers", nn.bias_add, (np.arange(6).reshape(2, 3), np.array([1, 2, 3])),
               lambda x, b: x + b, wrt=()),
        OpCase("BiasAddGrad", "NHWC", nn.bias_add_grad, (Arg((2, 3, 4)),), lambda d: d.sum((0, 1)), dtypes=HALF,
               zero=(((0, 3, 4),), ((2, 3, 0),))),
        OpCase("BiasAddGrad", "NCHW", lambda d: nn.bias_add_grad(d, "NCHW"), (Arg((2, 3, 4)),),
               lambda d: d.sum((0, 2))),
        OpCase("tf.nn.xw_plus_b", "matrix", nn.xw_plus_b, (Arg((3, 4)), Arg((4, 2)), Arg((2,))),
               lambda x, w, b: x @ w + b, zero=(((0, 4), (4, 2), (2,)),)),
        OpCase("tf.nn.relu_layer", "matrix", nn.relu_layer, (Arg((3, 4)), Arg((4, 2)), Arg((2,))),
               lambda x, w, b: np.maximum(x @ w + b, 0), analytic=False),
        OpCase("tf.nn.zero_fraction", "a third", nn.zero_fraction, (np.array([0.0, 1.0, np.nan, 0.0, 2.0, 3.0]),),
               lambda x: np.float32(1 / 3), wrt=()),
        OpCase("tf.nn.dropout", "kept is scaled, the rest is zero", _dropped, (Arg((6, 50), 1.0, 2.0),),
               lambda x: [np.zeros_like(x)], wrt=(), dtypes=HALF, zero=(((0, 3),),)),
        OpCase("tf.nn.dropout", "keep everything", lambda x: nn.dropout(x, 1.0), (Arg((3, 4)),), lambda x: x),
        OpCase("tf.nn.dropout", "shape and dtype", lambda x: nn.dropout(x, rate=0.5, noise_shape=[None, 1]),
               (Arg((3, 4)),), lambda x: x, wrt=(), nondeterministic=True, unknown="dims"),
    ]  # fmt: skip


CASES: list[OpCase] = [
    *_activation_rows(),
    *_selecting(),
    *_composed_activations(),
    *_softmax_rows(),
    *_entropy_rows(),
    *_loss_rows(),
    *_bias_rows(),
]

# -- mistakes --------------------------------------------------------------------------------------------------------


def _floats(*shape: int) -> Any:
    return core.constant(np.zeros(shape, np.float32))


def _run(value: Any) -> Any:
    return Session().run(value)


Invalid = errors.InvalidArgumentError
ERRORS: list[ErrorCase] = [
    ErrorCase("Elu", "integers", lambda: activations.elu(core.constant([1, 2])), errors.DTypeError, "float"),
    ErrorCase("Relu", "complex numbers", lambda: activations.relu(core.constant([1j])), errors.DTypeError, "real"),
    ErrorCase("Softplus", "text", lambda: activations.softplus(core.constant(["a"])), errors.DTypeError, "float"),
    ErrorCase("ReluGrad", "shapes", lambda: activations.relu_grad(_floats(2), _floats(3)), Invalid, r"\[2\] and \[3\]"),
    ErrorCase("tf.nn.leaky_relu", "slope", lambda: activations.leaky_relu(_floats(2), "a"), errors.DTypeError, "alpha"),
    ErrorCase("Softmax", "scalar", lambda: softmax.softmax(core.constant(1.0)), Invalid, "axis"),
    ErrorCase("Softmax", "no such axis", lambda: softmax.softmax(_floats(2, 3), axis=2), Invalid, "out of range"),
    ErrorCase("Softmax", "integers", lambda: softmax.softmax(core.constant([1, 2])), errors.DTypeError, "float"),
    ErrorCase("tf.nn.softmax", "axis and dim", lambda: softmax.softmax(_floats(2, 3), axis=1, dim=0), Invalid, "dim"),
    ErrorCase(
        "tf.nn.softmax_cross_entropy_with_logits", "by position",
        lambda: softmax.softmax_cross_entropy_with_logits(_floats(2, 3), _floats(2, 3)), Invalid, "by name",
    ),
    ErrorCase(
        "tf.nn.softmax_cross_entropy_with_logits_v2", "no labels",
        lambda: softmax.softmax_cross_entropy_with_logits_v2(logits=_floats(2, 3)), Invalid, "needs labels",
    ),
    ErrorCase(
        "SoftmaxCrossEntropyWithLogits", "class numbers for labels",
        lambda: softmax.softmax_cross_entropy_with_logits(labels=_floats(2), logits=_floats(2, 3)), Invalid, "sparse_",
    ),
    ErrorCase(
        "SoftmaxCrossEntropyWithLogits", "labels do not broadcast",
        lambda: softmax.softmax_cross_entropy_with_logits_v2(labels=_floats(2, 1), logits=_floats(2, 3)), Invalid,
        r"\[2, 3\][^$]*\[2, 1\]",
    ),
    ErrorCase(
        "SoftmaxCrossEntropyWithLogits", "logits of whole numbers",
        lambda: softmax.softmax_cross_entropy_with_logits(labels=_floats(2), logits=core.constant([1, 2])),
        errors.DTypeError, "float",
    ),
    ErrorCase(
        "SparseSoftmaxCrossEntropyWithLogits", "one-hot labels",
        lambda: softmax.sparse_softmax_cross_entropy_with_logits(labels=_floats(2, 3), logits=_floats(2, 3)),
        errors.DTypeError, "class numbers",
    ),
    ErrorCase(
        "SparseSoftmaxCrossEntropyWithLogits", "a column of labels",
        lambda: softmax.sparse_softmax_cross_entropy_with_logits(labels=[[1], [2]], logits=_floats(2, 3)),
        Invalid, "squeeze",
    ),
    ErrorCase(
        "SparseSoftmaxCrossEntropyWithLogits", "label out of range",
        lambda: _run(softmax.sparse_softmax_cross_entropy_with_logits(labels=[0, 3], logits=_floats(2, 3))),
        Invalid, "label 3 is no class",
    ),
    ErrorCase(
        "SparseSoftmaxCrossEntropyWithLogits", "negative label",
        lambda: _run(softmax.sparse_softmax_cross_entropy_with_logits(labels=[0, -1], logits=_floats(2, 3))),
        Invalid, "label -1 is no class",
    ),
    ErrorCase(
        "tf.nn.sigmoid_cross_entropy_with_logits", "shapes",
        lambda: nn.sigmoid_cross_entropy_with_logits(labels=_floats(3), logits=_floats(3, 1)), Invalid, "same shape",
    ),
    ErrorCase(
        "tf.nn.sigmoid_cross_entropy_with_logits", "by position",
        lambda: nn.sigmoid_cross_entropy_with_logits(_floats(3), _floats(3)), Invalid, "by name",
    ),
    ErrorCase(
        "tf.nn.weighted_cross_entropy_with_logits", "no weight",
        lambda: nn.weighted_cross_entropy_with_logits(_floats(3), _floats(3)), Invalid, "pos_weight",
    ),
    ErrorCase("L2Loss", "integers", lambda: nn.l2_loss(core.constant([1])), errors.DTypeError, "float"),
    ErrorCase("BiasAdd", "channels", lambda: nn.bias_add(_floats(2, 3), _floats(4)), Invalid, r"3 biases.*\[2, 3\]"),
    ErrorCase("BiasAdd", "no batch", lambda: nn.bias_add(_floats(3), _floats(3)), Invalid, "batch"),
    ErrorCase("BiasAdd", "matrix of biases", lambda: nn.bias_add(_floats(2, 3), _floats(1, 3)), Invalid, "vector"),
    ErrorCase("BiasAdd", "format", lambda: nn.bias_add(_floats(2, 3), _floats(3), "CHW"), Invalid, "data_format"),
    ErrorCase("BiasAddGrad", "vector", lambda: nn.bias_add_grad(_floats(3)), Invalid, "batch"),
    ErrorCase("tf.nn.dropout", "no probability", lambda: nn.dropout(_floats(3)), Invalid, "keep_prob or rate"),
    ErrorCase("tf.nn.dropout", "keep nothing", lambda: nn.dropout(_floats(3), 0.0), Invalid, "probability"),
    ErrorCase("tf.nn.dropout", "a percentage", lambda: nn.dropout(_floats(3), 50), Invalid, "keep_prob <= 1"),
    ErrorCase("tf.nn.dropout", "rate 1", lambda: nn.dropout(_floats(3), rate=1.0), Invalid, "rate < 1"),
    ErrorCase("tf.nn.dropout", "integers", lambda: nn.dropout(core.constant([1]), 0.5), errors.DTypeError, "floating"),
]  # fmt: skip
