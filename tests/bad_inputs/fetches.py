"""What cannot be fetched.

State: none.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.world import FETCH, Bad, World

Pair = collections.namedtuple("Pair", ["a", "b"])


def _fetch(name: str, what: Callable[[World], Any], *words: str) -> Bad:
    def do(world: World) -> Any:
        return world.session.run(what(world), {world.s: 1.0})

    return Bad(name, do, FETCH, ("cannot fetch", *words))


def _itself(world: World) -> Any:
    fetches: list[Any] = [world.twice]
    fetches.append(fetches)
    return fetches


def _nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def _array_of(*items: Any) -> Any:
    found = np.empty(len(items), object)
    for i, item in enumerate(items):
        found[i] = item
    return found


def _inner(world: World) -> Any:
    seen = []

    def branch() -> Any:
        seen.append(world.s + 1.0)
        return seen[-1]

    tf.cond(world.flag, branch, lambda: world.s)
    return seen[0]


NAMES: dict[str, tuple[str, str]] = {
    "nothing": ("nothing:0", "no op named 'nothing'"),
    "nothing_op": ("nothing", "no op named 'nothing'"),
    "misspelled": ("twicf:0", "did you mean 'twice'?"),
    "other_output": ("twice:1", "has 1 outputs"),
    "colon": (":", "does not name a tensor"),
    "empty": ("", "no op named ''"),
    "trailing_colon": ("twice:", "twice:"),
    "letter": ("twice:a", "does not name a tensor"),
    "negative": ("twice:-1", "does not name a tensor"),
    "float": ("twice:0.0", "does not name a tensor"),
    "control": ("^twice", "no op named '^twice'"),
    "space": ("twice :0", "twice "),
    "unicode_digit": ("twice:²", "does not name a tensor"),
    "huge_number": ("twice:99999999999999999999", "has 1 outputs"),
    "long": ("a" * 100_000, "no op named"),
}

ITEMS: dict[str, Callable[[World], Any]] = {
    "None": lambda w: None,
    "number": lambda w: 3,
    "float": lambda w: 1.5,
    "True": lambda w: True,
    "bytes": lambda w: b"twice:0",
    "array": lambda w: np.zeros(3),
    "array_of_tensors": lambda w: _array_of(w.twice, w.y),
    "set": lambda w: {w.twice},
    "generator": lambda w: (t for t in [w.twice]),
    "function": lambda w: lambda: w.twice,
    "class": lambda w: tf.Tensor,
    "dtype": lambda w: tf.float32,
    "shape": lambda w: w.y.shape,
    "graph": lambda w: w.graph,
    "session": lambda w: w.session,
    "object": lambda w: object(),
    "ellipsis": lambda w: ...,
    "foreign_tensor": lambda w: w.stranger,
    "foreign_op": lambda w: w.stranger.op,
    "foreign_variable": lambda w: w.strange_variable,
    "dict_values": lambda w: {"a": w.twice}.values(),
}

ROWS = [_fetch(f"name-{name}", lambda w, text=text: text, word) for name, (text, word) in NAMES.items()]
ROWS += [_fetch(f"item-{name}", make) for name, make in ITEMS.items()]
ROWS += [
    _fetch("list-with-None", lambda w: [w.twice, None], "None", "a gradient is None where no path exists"),
    _fetch("tuple-with-None", lambda w: (w.twice, None), "None"),
    _fetch("dict-with-None", lambda w: {"a": w.twice, "b": None}, "None"),
    _fetch("named-tuple-with-None", lambda w: Pair(w.twice, None), "None"),
    _fetch("deep-None", lambda w: [[w.twice, {"a": (None,)}]], "None"),
    _fetch("list-with-number", lambda w: [w.twice, 3], "int"),
    _fetch("list-with-foreign", lambda w: [w.twice, w.stranger], "stranger:0", "not an element of this graph"),
    _fetch("keys-for-values", lambda w: {w.twice: "x", "y": 3}, "int"),
    _fetch("list-in-itself", _itself, "contains itself"),
    _fetch("nested-100000-deep", lambda w: _nested(100_000, w.twice), "nested too deeply"),
    Bad("inside-a-branch", lambda w: w.session.run(_inner(w), {w.s: 1.0, w.flag: True}), FETCH,
        ("not an element of this graph",), leaves=("If",)),
    Bad("make_callable-None", lambda w: w.session.make_callable(None), FETCH, ("cannot fetch None",)),
    Bad("make_callable-foreign", lambda w: w.session.make_callable(w.stranger), FETCH, ("stranger:0",)),
    Bad("program-None", lambda w: w.session.program([None]), FETCH, ("cannot fetch None",)),
    Bad("foreign-eval", lambda w: w.stranger.eval(session=w.session), FETCH, ("stranger:0",)),
    Bad("foreign-run", lambda w: w.stranger.op.run(session=w.session), FETCH, ("stranger",)),
]  # fmt: skip
