"""Names that no op or scope may have, and names that stand for nothing.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphflow as tf
from tests.bad_inputs.world import DTYPE, EXISTS, GRAPH, INVALID, MISSING_NAME, Bad, Kind, World

ILLEGAL: dict[str, Any] = {
    "empty": "",
    "underscore_first": "_private",
    "dash_first": "-minus",
    "slash_first": "/root",
    "space": "two words",
    "space_first": " x",
    "newline": "a\nb",
    "newline_last": "a\n",
    "tab": "a\tb",
    "nul": "a\0b",
    "escape": "\x1b[31mred",
    "delete": "a\x7f",
    "unicode": "größe",
    "greek": "\N{GREEK SMALL LETTER ALPHA}",
    "emoji": "\N{SNOWMAN}",
    "wide_digit": "x\N{FULLWIDTH DIGIT ONE}",
    "right_to_left": "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    "surrogate": "a\ud800",
    "colon": "x:0",
    "star": "a*b",
    "question": "a?",
    "comma": "a,b",
    "quote": "a'b",
    "double_quote": 'a"];b[URL="javascript:alert(1)',
    "angle": "<script>",
    "percent": "100%",
    "hash": "a#b",
    "at": "user@host",
    "caret": "^a",
    "parentheses": "f(x)",
    "brackets": "x[0]",
    "braces": "{x}",
    "dollar": "$HOME",
    "tilde": "~",
    "pipe": "a|b",
    "equals": "a=b",
    "257_letters": "a" * 257,
    "10_MB": "a" * 10_000_000,
    "bytes": b"x",
    "number": 5,
    "float": 1.5,
    "list": ["x"],
    "tuple": ("x",),
    "True": True,
    "class": str,
}
AS_SCOPE = {k: v for k, v in ILLEGAL.items() if v}

EXPECTED = "expected: 1 to 256 characters"


def _op(name: str, value: Any) -> Bad:
    return Bad(
        f"op-{name}", lambda w: tf.placeholder(tf.float32, [], name=value), GRAPH,
        ("not a legal name", EXPECTED, "got:"),
    )  # fmt: skip


def _scope(name: str, value: Any) -> Bad:
    def do(world: World) -> None:
        with tf.name_scope(value):
            tf.no_op()

    return Bad(f"scope-{name}", do, GRAPH, ("not a legal name", EXPECTED, "got:"))


def _lookup(name: str, do: Callable[[World], Any], kind: Kind, *words: str) -> Bad:
    return Bad(f"lookup-{name}", do, kind, words)


def _taken(world: World) -> Any:
    return tf.placeholder(tf.float32, name="twice/")


def _inner_scope(world: World) -> Any:
    with tf.name_scope("outer"), tf.name_scope("in ner"):
        return tf.no_op()


def _in_scope(world: World) -> Any:
    with tf.name_scope("outer"):
        return tf.identity(world.s, name="a:b")


ROWS = [_op(name, value) for name, value in ILLEGAL.items()]
ROWS += [_scope(name, value) for name, value in AS_SCOPE.items() if name in (
    "underscore_first", "space", "newline", "nul", "unicode", "colon", "double_quote", "257_letters", "10_MB", "number",
    "list", "bytes", "True",
)]  # fmt: skip
ROWS += [
    Bad("op-illegal-in-scope", _in_scope, GRAPH, ("not a legal name", "'a:b'")),
    Bad("scope-illegal-in-scope", _inner_scope, GRAPH, ("not a legal name", "'in ner'")),
    Bad("op-absolute-name-taken", _taken, EXISTS, ("'twice'", "exists already")),
    Bad("variable", lambda w: tf.Variable(1.0, name="a b"), GRAPH, ("not a legal name", "'a b'")),
    Bad("operator", lambda w: tf.add(w.s, 1.0, name="1+1"), GRAPH, ("not a legal name", "'1+1'")),
    Bad("constant", lambda w: tf.constant(1.0, name="a b"), GRAPH, ("'a b'",)),
    _lookup("op", lambda w: w.graph.get_operation_by_name("nothing"), MISSING_NAME, "no op named 'nothing'"),
    _lookup("op-near", lambda w: w.graph.get_operation_by_name("Twice"), MISSING_NAME, "did you mean 'twice'?"),
    _lookup("op-by-tensor", lambda w: w.graph.get_operation_by_name("y:0"), MISSING_NAME, "its op is 'y'"),
    _lookup("op-number", lambda w: w.graph.get_operation_by_name(3), DTYPE, "got:      3"),
    _lookup("op-None", lambda w: w.graph.get_operation_by_name(None), DTYPE, "None"),
    _lookup("op-tensor", lambda w: w.graph.get_operation_by_name(w.y), DTYPE, "y:0"),
    _lookup("tensor", lambda w: w.graph.get_tensor_by_name("nothing:0"), MISSING_NAME, "'nothing'"),
    _lookup("tensor-without-output", lambda w: w.graph.get_tensor_by_name("y"), GRAPH, "did you mean 'y:0'"),
    _lookup("tensor-letter", lambda w: w.graph.get_tensor_by_name("y:a"), GRAPH, "'y:a'"),
    _lookup("tensor-number", lambda w: w.graph.get_tensor_by_name(3), DTYPE, "got:      3"),
    Bad("lookup-tensor-output", lambda w: w.graph.get_tensor_by_name("y:3"), MISSING_NAME, ("'y:3'", "has 1 outputs")),
    _lookup("element-number", lambda w: w.graph.as_graph_element(3), GRAPH, "int", "a tensor or an op"),
    _lookup("element-None", lambda w: w.graph.as_graph_element(None), GRAPH, "NoneType"),
    _lookup("element-list", lambda w: w.graph.as_graph_element([w.y]), GRAPH, "list"),
    Bad("lookup-element-foreign", lambda w: w.graph.as_graph_element(w.stranger), GRAPH,
        ("stranger:0", "not an element of this graph")),
    _lookup("element-op-wanted", lambda w: w.graph.as_graph_element("y:0", allow_tensor=False), GRAPH, "y:0"),
    _lookup("element-tensor-wanted", lambda w: w.graph.as_graph_element("y", True, False), GRAPH, "'y:0'"),
    _lookup(
        "collection-pattern", lambda w: w.graph.get_collection("variables", "w("), INVALID,
        "regular expression", "'w('",
    ),
    _lookup(
        "collection-pattern-number", lambda w: w.graph.get_collection("variables", 3), INVALID, "3",
    ),
]  # fmt: skip
