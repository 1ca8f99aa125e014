"""Derivatives of what has none, and gradients that do not fit.

State: none; the gradients registered here belong to op types of this module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.world import DTYPE, EXISTS, GRAPH, INVALID, NO_GRADIENT, SHAPE, Bad, Kind, World

PARTS = ("Fill", "OnesLike", "ZerosLike", "Shape", "Identity", "Neg", "PreventGradient")


@tf.RegisterGradient("BadInputsTwoForOne")
def _two_for_one(op: Any, dy: Any) -> Any:
    return [dy, dy]


@tf.RegisterGradient("BadInputsWrongShape")
def _wrong_shape(op: Any, dy: Any) -> Any:
    return tf.zeros([5, 5])


@tf.RegisterGradient("BadInputsText")
def _text(op: Any, dy: Any) -> Any:
    return "not a gradient"


def _grad(name: str, build: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(name, build, kind, words, leaves=PARTS)


def _override(gradient: str) -> Callable[[World], Any]:
    def build(world: World) -> Any:
        with world.graph.gradient_override_map({"Identity": gradient}):
            y = tf.identity(world.twice, name="overridden")
        return tf.gradients(y, world.s)

    return build


def _prevented(world: World) -> Any:
    from graphflow.ops.core import prevent_gradient

    return tf.gradients(prevent_gradient(world.twice, message="use the other loss", name="wall"), world.s)


ROWS = [
    _grad("ys-integer-tensor", lambda w: tf.gradients(w.next_n, w.n), DTYPE, "ys", "int32", "'next_n'"),
    _grad("ys-integer-literal", lambda w: tf.gradients(3, w.s), DTYPE, "ys", "int32"),
    _grad("ys-bool", lambda w: tf.gradients(w.flag, w.s), DTYPE, "bool", "'flag'"),
    _grad("ys-text", lambda w: tf.gradients("loss", w.s), DTYPE, "string"),
    _grad("ys-None", lambda w: tf.gradients(None, w.s), DTYPE, "ys must be tensors"),
    _grad("ys-list-with-None", lambda w: tf.gradients([w.twice, None], w.s), DTYPE, "ys must be tensors"),
    _grad("ys-operation", lambda w: tf.gradients(w.twice.op, w.s), DTYPE, "an Operation has no value"),
    _grad("ys-dict", lambda w: tf.gradients({"loss": w.twice}, w.s), DTYPE, "dict"),
    _grad("xs-None", lambda w: tf.gradients(w.twice, None), DTYPE, "xs must be tensors", "None"),
    _grad("xs-number", lambda w: tf.gradients(w.twice, 1.0), DTYPE, "xs must be tensors", "1.0"),
    _grad("xs-array", lambda w: tf.gradients(w.twice, np.zeros(2)), DTYPE, "xs must be tensors"),
    _grad("xs-name", lambda w: tf.gradients(w.twice, "s:0"), DTYPE, "xs must be tensors", "'s:0'"),
    _grad("xs-operation", lambda w: tf.gradients(w.twice, w.s.op), DTYPE, "xs must be tensors"),
    _grad("xs-list-with-None", lambda w: tf.gradients(w.twice, [w.s, None]), DTYPE, "None"),
    _grad("xs-foreign", lambda w: tf.gradients(w.twice, w.stranger), GRAPH, "different graphs", "stranger:0"),
    _grad("ys-foreign", lambda w: tf.gradients([w.twice, w.stranger], w.s), GRAPH, "different graphs"),
    _grad("stop-number", lambda w: tf.gradients(w.twice, w.s, stop_gradients=[3]), DTYPE, "3"),
    _grad("grad_ys-shape", lambda w: tf.gradients(w.y, w.w, grad_ys=np.ones((4, 3), np.float32)), SHAPE,
          "shape of its tensor", "[?, 2]", "[4, 3]", "'y'"),
    _grad("grad_ys-rank", lambda w: tf.gradients(w.twice, w.s, grad_ys=[[1.0]]), SHAPE, "[]", "[1]", "'twice'"),
    _grad("grad_ys-too-few", lambda w: tf.gradients([w.twice, w.y], w.s, grad_ys=[1.0]), INVALID, "one entry for each",
          "expected: 2", "got:      1"),
    _grad("grad_ys-too-many", lambda w: tf.gradients(w.twice, w.s, grad_ys=[1.0, 2.0]), INVALID, "got:      2"),
    _grad("grad_ys-dtype", lambda w: tf.gradients(w.twice, w.s, grad_ys=[w.n]), DTYPE, "float32", "int32", "'twice'"),
    _grad("grad_ys-text", lambda w: tf.gradients(w.twice, w.s, grad_ys=["a"]), DTYPE, "float32"),
    _grad("grad_ys-complex", lambda w: tf.gradients(w.twice, w.s, grad_ys=[1j]), DTYPE, "complex"),
    _grad("unconnected", lambda w: tf.gradients(w.twice, w.s, unconnected_gradients="zeros"), INVALID, "'zeros'"),
    _grad("override-unregistered", _override("BadInputsNobody"), NO_GRADIENT, "no gradient is registered",
          "'BadInputsNobody'", "'overridden'", "tf.RegisterGradient"),
    _grad("override-count", _override("BadInputsTwoForOne"), INVALID, "returned 2 gradients", "1, one for each",
          "'overridden'"),
    _grad("override-shape", _override("BadInputsWrongShape"), SHAPE, "wrong shape", "[5, 5]", "'overridden'"),
    _grad("override-text", _override("BadInputsText"), DTYPE, "'overridden'"),
    _grad("prevented", _prevented, NO_GRADIENT, "use the other loss", "'wall'"),
    _grad("register-twice", lambda w: tf.RegisterGradient("BadInputsText")(_text), EXISTS, "'BadInputsText'",
          "gradients.py:", "gradient_override_map"),
    _grad("register-ours", lambda w: tf.RegisterGradient("Mul")(_text), EXISTS, "'Mul'", "gradient_override_map"),
    _grad("register-ours-partial", lambda w: tf.RegisterGradient("Mul")(functools.partial(_text)), EXISTS, "'Mul'"),
    _grad("register-number", lambda w: tf.RegisterGradient(3), INVALID, "name of an op type", "3"),
    _grad("register-empty", lambda w: tf.RegisterGradient(""), INVALID, "name of an op type"),
    _grad("register-function", lambda w: tf.RegisterGradient(_text), INVALID, "name of an op type"),
    _grad("register-no-function", lambda w: tf.RegisterGradient("BadInputsNew")(3), INVALID, "a function", "3"),
    _grad("hessian-integer", lambda w: tf.hessians(w.next_n, w.n), DTYPE, "int32", "'next_n'"),
]  # fmt: skip
