"""What cannot be fed: as a key, as a value, in its shape.

State: none.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as tf
from tests.bad_inputs.world import EXHAUSTED, FEED, INVALID, SHAPE, Bad, Kind, World


class TorchLike:
    """Has `__array__`, which refuses, as a tensor that requires a gradient does."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class WrongArray:
    """Has `__array__`, which returns something else."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return [1.0, 2.0]


class Unspeakable:
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _itself() -> list[Any]:
    inner: list[Any] = [1.0]
    inner.append(inner)
    return inner


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "list_with_None": lambda: [1.0, None],
    "ragged_list": lambda: [[1.0, 2.0], [3.0]],
    "ragged_deep": lambda: [[[1.0]], [[2.0, 3.0]]],
    "number_beside_list": lambda: [1.0, [2.0]],
    "text": lambda: "abc",
    "list_of_text": lambda: ["1", "2"],
    "bytes": lambda: b"\x00\x01\x02\x03",
    "bytearray": lambda: bytearray(4),
    "object_array": lambda: np.array([1.0, 2.0], object),
    "object_of_arrays": lambda: np.array([np.zeros(2), np.zeros(3)], object),
    "array_of_None": lambda: np.array([None, 1.0]),
    "masked": lambda: np.ma.array([1.0, 2.0], mask=[True, False]),
    "masked_without_mask": lambda: np.ma.array([1.0, 2.0]),
    "masked_constant": lambda: np.ma.masked,
    "datetime": lambda: datetime.datetime(2020, 1, 1),
    "date": lambda: datetime.date(2020, 1, 1),
    "dates": lambda: np.array(["2020-01-01"], "datetime64[D]"),
    "timedelta": lambda: datetime.timedelta(1),
    "timedeltas": lambda: np.array([1, 2], "timedelta64[s]"),
    "decimal": lambda: decimal.Decimal("1.5"),
    "decimals": lambda: [decimal.Decimal("1.5")],
    "fraction": lambda: fractions.Fraction(1, 3),
    "generator": lambda: (i for i in range(3)),
    "iterator": lambda: iter([1.0, 2.0]),
    "map": lambda: map(float, [1, 2]),
    "zip": lambda: zip([1], [2], strict=True),
    "set": lambda: {1.0, 2.0},
    "frozenset": lambda: frozenset([1.0]),
    "dict": lambda: {"a": 1.0},
    "dict_values": {"a": 1.0}.values,
    "record_array": lambda: np.zeros(3, [("a", np.float32), ("b", np.int32)]),
    "record": lambda: np.zeros(3, [("a", np.float32)])[0],
    "void": lambda: np.zeros(2, "V4"),
    "unicode_array": lambda: np.array(["a", "b"]),
    "byte_strings": lambda: np.array([b"a", b"b"]),
    "complex_array": lambda: np.array([1 + 0j]),
    "function": lambda: np.sin,
    "class": lambda: float,
    "module": lambda: np,
    "slice": lambda: slice(3),
    "ellipsis": lambda: ...,
    "object": object,
    "exception": lambda: ValueError("x"),
    "dtype": lambda: np.dtype(np.float32),
    "tf_dtype": lambda: tf.float32,
    "unknown_shape": lambda: tf.TensorShape([None, 2]),
    "torch_like": TorchLike,
    "list_of_torch_like": lambda: [TorchLike(), TorchLike()],
    "wrong_array": WrongArray,
    "unspeakable": Unspeakable,
    "list_in_itself": _itself,
    "memoryview_of_text": lambda: memoryview(b"abc"),
}


def _value(name: str, make: Callable[[], Any]) -> Bad:
    words = ("cannot feed 'of_float32:0'", "expected: float32", "got:")
    return Bad(f"value-{name}", lambda world: world.feed(make()), FEED, words)


def _tensors(name: str, make: Callable[[World], Any]) -> Bad:
    def do(world: World) -> Any:
        return world.session.run(world.twice, {world.s: make(world)})

    return Bad(f"value-{name}", do, FEED, ("s:0", "float32[]"))


def _shape(name: str, key: str, fetch: str, shape: tuple[int, ...], *words: str) -> Bad:
    def do(world: World) -> Any:
        return world.session.run(getattr(world, fetch), {getattr(world, key): np.zeros(shape, np.float32)})

    return Bad(f"shape-{name}", do, SHAPE, ("Cannot feed value of shape", f"{key}:0", *words))


def _key(name: str, key: Callable[[World], Any], *words: str) -> Bad:
    def do(world: World) -> Any:
        return world.session.run(world.y, {world.x: np.zeros((1, 3), np.float32), key(world): 1.0})

    return Bad(f"key-{name}", do, FEED, words)


def _dict(name: str, feeds: Callable[[World], Any]) -> Bad:
    def do(world: World) -> Any:
        world.session.run(world.twice, {world.s: 1.0})  # the plan exists, so the quick path is taken
        return world.session.run(world.twice, feeds(world))

    return Bad(f"feed_dict-{name}", do, FEED, ("feed_dict is a dict",))


def _missing_two(world: World) -> Any:
    return world.session.run([world.y, world.twice, world.next_n], {world.s: 1.0})


def _bomb(world: World) -> Any:
    return world.feed(np.broadcast_to(np.float64(1), (2**46,)))


def _foreign_key(world: World) -> Any:
    return world.session.run(world.y, {world.stranger: np.zeros((1, 3))})


def _twice(world: World) -> Any:
    return world.session.run(world.twice, {world.s: 1.0, "s:0": 2.0})


def _function_tensor(world: World) -> Any:
    inside = []

    def body(i: Any) -> Any:
        inside.append(i)
        return i + 1

    tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])
    return world.session.run(world.twice, {world.s: 1.0, inside[0]: 2})


def _variable(value: Any, kind: Kind, name: str, *words: str) -> Bad:
    return Bad(f"variable-{name}", lambda w: w.session.run(w.w, {w.w: value}), kind, ("variable 'w'", *words))


ROWS = [_value(name, make) for name, make in VALUES.items()]
ROWS += [
    _tensors("tensor", lambda w: w.twice),
    _tensors("the_placeholder_itself", lambda w: w.s),
    _tensors("variable", lambda w: w.count),
    _tensors("list_of_tensors", lambda w: [w.s, w.s]),
    _tensors("operation", lambda w: w.twice.op),
    _tensors("session", lambda w: w.session),
    _shape("scalar_for_matrix", "x", "y", (), "float32[?, 3]", "got:      []"),
    _shape("vector_for_matrix", "x", "y", (3,), "float32[?, 3]", "value[None]"),
    _shape("wrong_columns", "x", "y", (2, 4), "float32[?, 3]", "got:      [2, 4]"),
    _shape("transposed", "x", "y", (3, 5), "the transposed array would fit"),
    _shape("no_columns", "x", "y", (3, 0), "got:      [3, 0]"),
    _shape("rank_3", "x", "y", (1, 2, 3), "got:      [1, 2, 3]", "numpy.squeeze"),
    _shape("vector_for_scalar", "s", "twice", (1,), "float32[]", "got:      [1]", "numpy.squeeze"),
    _shape("empty_for_scalar", "s", "twice", (0,), "float32[]", "got:      [0]"),
    _shape("matrix_for_scalar", "s", "twice", (2, 2), "float32[]"),
    _shape("image_without_channel", "image", "pixels", (2, 4, 6), "value[..., None]"),
    _shape("image_without_batch", "image", "pixels", (4, 6, 1), "value[None]"),
    _shape("image_turned", "image", "pixels", (2, 6, 4, 1), "float32[?, 4, 6, 1]", "got:      [2, 6, 4, 1]"),
    _shape("flat_image", "image", "pixels", (2, 24), "float32[?, 4, 6, 1]"),
    _shape("too_few_rows", "pair", "parts", (1, 3), "float32[2, 3]", "got:      [1, 3]"),
    _key("name_of_nothing", lambda w: "nothing:0", "no op named 'nothing'"),
    _key("misspelled", lambda w: "imag:0", "did you mean 'image'?"),
    _key("op_name", lambda w: "s", "'s'", "s:0"),
    _key("missing_output", lambda w: "y:1", "y:1"),
    _key("negative_output", lambda w: "y:-1", "y:-1"),
    _key("empty_name", lambda w: "", "''"),
    _key("no_output_number", lambda w: "s:", "s:"),
    _key("operation", lambda w: w.twice.op, "twice", "Operation"),
    _key("number", lambda w: 3, "int"),
    _key("None", lambda w: None, "None"),
    _key("tuple", lambda w: (w.s, w.n), "tuple"),
    _key("bytes", lambda w: b"s:0", "bytes"),
    _key("graph", lambda w: w.graph, "Graph"),
    _key("class", lambda w: float, "type"),
    _key("foreign_tensor", lambda w: w.stranger, "stranger:0", "not an element of this graph"),
    _key("foreign_variable", lambda w: w.strange_variable, "strange_variable", "not an element of this graph"),
    Bad("key-foreign-alone", _foreign_key, FEED, ("stranger:0",)),
    Bad("key-twice", _twice, FEED, ("feeds 's:0' twice",)),
    Bad("key-inside-a-loop", _function_tensor, FEED, ("not an element of this graph",), leaves=("While",)),
    _dict("list", lambda w: [w.s]),
    _dict("set", lambda w: {w.s}),
    _dict("tuple", lambda w: (w.s,)),
    _dict("pairs", lambda w: [(w.s, 1.0)]),
    _dict("number", lambda w: 3.0),
    _dict("zero", lambda w: 0),
    _dict("empty_list", lambda w: []),
    _dict("text", lambda w: "s:0"),
    _dict("tensor", lambda w: w.s),
    _dict("generator", lambda w: (k for k in [w.s])),
    Bad("missing-all-at-once", _missing_two, INVALID,
        ("placeholders 'x' float32(?, 3)", "'n' int32()", "x: ...", "n: ...", "y")),
    Bad("missing-one", lambda w: w.session.run(w.y), INVALID,
        ("You must feed a value for placeholder 'x'", "feed_dict={x: ...}", "y <- x")),
    Bad("missing-fetched-itself", lambda w: w.session.run(w.s), INVALID, ("placeholder 's' float32()",)),
    Bad("missing-through-eval", lambda w: w.twice.eval(session=w.session), INVALID, ("placeholder 's'", "twice <- s")),
    Bad("missing-through-run", lambda w: w.y.op.run(session=w.session), INVALID, ("placeholder 'x'",)),
    Bad("bigger-than-memory", _bomb, EXHAUSTED, ("out of memory", "of_float32:0", "[70368744177664]")),
    _variable(None, FEED, "None"),
    _variable("abc", FEED, "text"),
    _variable(np.zeros((2, 3)), SHAPE, "wrong_shape", "expected: [3, 2]", "got:      [2, 3]"),
    _variable(np.full((3, 2), 1e300), FEED, "too_large", "float32"),
    _variable(np.full((3, 2), 1j), FEED, "complex"),
]  # fmt: skip
