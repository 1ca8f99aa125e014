"""The small world in which every bad input is tried, and the record of one.

Policy: a row does one wrong thing.  It must end in the typed error that it names, which is the Python built-in that a
caller would expect as well, and after it nothing may have changed: see `tests/test_bad_inputs.py`.

State: none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import graphflow as tf

DTYPES = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float16", "float32", "float64", "complex64", "complex128", "string",
)  # fmt: skip


Kind: TypeAlias = "tuple[type[Exception], type[BaseException]]"  # our class, and the built-in that it must be, too
DTYPE: Kind = tf.errors.DTypeError, TypeError
SHAPE: Kind = tf.errors.ShapeError, ValueError
INVALID: Kind = tf.errors.InvalidArgumentError, ValueError
GRAPH: Kind = tf.errors.GraphError, ValueError
FEED: Kind = tf.errors.FeedError, TypeError
FETCH: Kind = tf.errors.FetchError, TypeError
SYMBOLIC: Kind = tf.errors.SymbolicUseError, TypeError
FAILED: Kind = tf.errors.FailedPreconditionError, RuntimeError
FINALIZED: Kind = tf.errors.FinalizedError, RuntimeError
EXISTS: Kind = tf.errors.AlreadyExistsError, ValueError
MISSING_NAME: Kind = tf.errors.MissingNameError, KeyError
NO_GRADIENT: Kind = tf.errors.GradientLookupError, LookupError
NOT_FOUND: Kind = tf.errors.NotFoundError, LookupError
DATA_LOSS: Kind = tf.errors.DataLossError, ValueError
OUT_OF_RANGE: Kind = tf.errors.OutOfRangeError, IndexError
EXHAUSTED: Kind = tf.errors.ResourceExhaustedError, MemoryError
UNIMPLEMENTED: Kind = tf.errors.UnimplementedError, NotImplementedError
UNKNOWN: Kind = tf.errors.UnknownError, RuntimeError
OURS: Kind = tf.errors.OpError, Exception
OURS_AND_TYPE: Kind = tf.errors.OpError, TypeError


class World:
    """A graph with placeholders, variables and a few ops, and a session after initialisation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.x = tf.placeholder(tf.float32, [None, 3], name="x")
            self.image = tf.placeholder(tf.float32, [None, 4, 6, 1], name="image")
            self.s = tf.placeholder(tf.float32, [], name="s")
            self.n = tf.placeholder(tf.int32, [], name="n")
            self.flag = tf.placeholder(tf.bool, [], name="flag")
            self.any = tf.placeholder(tf.float32, None, name="any")
            self.w = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2), name="w")
            self.count = tf.Variable(7, name="count")
            self.y = tf.matmul(self.x, self.w, name="y")
            self.twice = tf.add(self.s, self.s, name="twice")
            self.pixels = tf.identity(self.image, name="pixels")
            self.loose = tf.negative(self.any, name="loose")
            self.next_n = tf.add(self.n, 1, name="next_n")
            self.parts = tf.unstack(tf.placeholder(tf.float32, [2, 3], name="pair"), name="parts")
            self.pair = self.parts[0].op.inputs[0]
            self.step = self.count.assign_add(1, name="step")
            self.typed = {d: tf.placeholder(d, None, name=f"of_{d}") for d in DTYPES}
            self.copies = {d: tf.identity(p, name=f"copy_{d}") for d, p in self.typed.items()}
            initializer = tf.global_variables_initializer()
        self.other = tf.Graph()
        with self.other.as_default():
            self.stranger = tf.placeholder(tf.float32, [None, 3], name="stranger")
            self.strange_variable = tf.Variable(1.0, name="strange_variable")
        self.session = tf.Session(graph=self.graph)
        self.session.run(initializer)

    def feed(self, value: Any, dtype: str = "float32") -> Any:
        """Feed a placeholder of that dtype that takes any shape."""
        return self.session.run(self.copies[dtype], {self.typed[dtype]: value})

    def values(self) -> list[bytes]:
        """The variables as bytes."""
        return [np.asarray(v).tobytes() for v in self.session.run([self.w, self.count])]

    def check(self) -> None:
        """Raise unless the session computes what it computed before."""
        x = np.array([[1, 2, 3], [0, 1, 0]], np.float32)
        y, twice, n = self.session.run([self.y, self.twice, self.next_n], {self.x: x, self.s: 1.5, self.n: 4})
        assert y.tolist() == [[16.0, 22.0], [2.0, 3.0]]
        assert twice == 3.0 and n == 5


@dataclass(frozen=True)
class Bad:
    """One wrong thing.

    id       names it
    do       does it, given the world, whose graph is the default graph meanwhile
    kind     the class that must be raised, and the built-in that it must be, too
    words    what the text must contain
    leaves   op types that the row builds before it does the wrong thing
    """

    id: str
    do: Callable[[World], Any]
    kind: Kind
    words: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.id
