"""Symbolic tensors where Python needs a value.

State: none.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.bad_inputs.world import SYMBOLIC, Bad


def _if(t: Any) -> int:
    return 1 if t else 0


def _while(t: Any) -> None:
    while t:
        pass


def _for(t: Any) -> None:
    for _ in t:
        pass


def _unpack(t: Any) -> Any:
    a, b = t
    return a, b


def _chained(t: Any) -> Any:
    return 0 < t < 1


USES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bool": (bool, "Python bool"),
    "if": (_if, "tf.cond"),
    "while": (_while, "Python bool"),
    "not": (operator.not_, "Python bool"),
    "and": (lambda t: t and 1, "Python bool"),
    "or": (lambda t: t or 1, "Python bool"),
    "assert": (lambda t: all([t]), "Python bool"),
    "chained": (_chained, "Python bool"),
    "max": (lambda t: max(t, 1), "Python bool"),
    "sorted": (lambda t: sorted([t, 1]), "Python bool"),
    "iter": (iter, "iterated over"),
    "for": (_for, "tf.unstack"),
    "list": (list, "iterated over"),
    "tuple": (tuple, "iterated over"),
    "sum": (sum, "iterated over"),
    "unpack": (_unpack, "iterated over"),
    "star": (lambda t: print(*t), "iterated over"),
    "enumerate": (lambda t: list(enumerate(t)), "iterated over"),
    "len": (len, "tf.shape(x)[0]"),
    "reversed": (reversed, "len()"),
    "float": (float, "sess.run"),
    "int": (int, "sess.run"),
    "complex": (complex, "Python number"),
    "math": (math.sin, "Python number"),
    "format": (lambda t: f"{float(t):.2f}", "Python number"),
    "index": (operator.index, "Python index"),
    "range": (range, "Python index"),
    "subscript": (lambda t: [1, 2, 3][t], "Python index"),
    "multiply_list": (lambda t: "ab"[t:], "Python index"),
    "hex": (hex, "Python index"),
    "in": (lambda t: 3 in t, "tf.reduce_any"),
    "not_in": (lambda t: 3 not in t, "searched with `in`"),
    "np.array": (np.array, "NumPy array"),
    "np.asarray": (np.asarray, "NumPy array"),
    "np.float32": (lambda t: np.asarray(t, np.float32), "NumPy array"),
    "np.sum": (np.sum, "numpy.add"),
    "np.exp": (np.exp, "tf.exp"),
    "np.maximum": (lambda t: np.maximum(t, 0.0), "numpy.maximum"),
    "np.add.reduce": (np.add.reduce, "numpy.add"),
    "np.add.out": (lambda t: np.add(np.zeros(2), t, out=np.zeros(2)), "numpy.add"),
    "set_item": (lambda t: t.__setitem__(0, 1.0), "tf.where"),
    "format_spec": (lambda t: f"{t:.2f}", "formatted as a number"),
    "np.mean": (np.mean, "NumPy array"),
    "np.dot": (lambda t: np.dot(t, t), "NumPy array"),
    "np.reshape": (lambda t: np.reshape(t, [-1]), "NumPy array"),
    "np.stack": (lambda t: np.stack([t, t]), "NumPy array"),
    "np.concatenate": (lambda t: np.concatenate([t, t]), "NumPy array"),
    "np.testing": (lambda t: np.isclose(t, 1.0), "NumPy array"),
}


def _tensor(name: str, use: Callable[[Any], Any], word: str) -> Bad:
    words = ("symbolic tensor", word, "op:")
    return Bad(name, lambda w: use(w.any), SYMBOLIC, words, leaves=("Less", "Greater"))


def _variable(name: str) -> Bad:
    use, word = USES[name]
    return Bad(f"variable-{name}", lambda w: use(w.w), SYMBOLIC, (word, "'w'"))


ROWS = [_tensor(name, use, word) for name, (use, word) in USES.items()]
ROWS += [_variable(name) for name in ("if", "for", "len", "float", "int", "range", "in", "np.array", "unpack", "and")]
