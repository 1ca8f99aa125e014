"""Rows of the random ops: shapes, dtypes and mistakes.  The numbers themselves are judged in tests/test_random.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import dtypes, errors
from graphflow.ops import core, random
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase

_SHAPE = np.array([2, 3], np.int32)


def _run(tensor: Any) -> Any:
    with Session() as session:
        return session.run(tensor)


def _row(op: str, id: str, build: Any, inputs: tuple[Any, ...] = (), reference: Any = None, **columns: Any) -> OpCase:
    """A row whose value differs from run to run: the reference gives the shape."""
    return OpCase(op, id, build, inputs, reference, wrt=(), nondeterministic=True, **columns)


def _sized(shape: Any, *rest: Any) -> Any:
    return np.zeros(tuple(shape))


def _sized_after(shape: Any, parameter: Any) -> Any:
    return np.zeros(tuple(shape) + parameter.shape)


_EMPTY = (((0,),),)  # an empty shape vector: a scalar draw

CASES: list[OpCase] = [
    _row("RandomUniform", "fed shape", random.random_uniform, (_SHAPE,), _sized, zero=_EMPTY),
    _row("RandomUniform", "no element", lambda: random.random_uniform([0, 3]), (), lambda: np.zeros((0, 3))),
    _row("RandomUniform", "scaled", lambda s: random.random_uniform(s, -1.0, 1.0, dtypes.float64, seed=5), (_SHAPE,),
         _sized),
    _row("RandomUniform", "half", lambda: random.random_uniform([3], dtype=dtypes.float16), (), lambda: np.zeros(3)),
    _row("RandomUniform", "symbolic bounds", lambda low: random.random_uniform([4, 2], low, low + 1.0, low.dtype),
         (Arg((2,)),), lambda low: np.zeros((4, 2))),
    _row("RandomUniformInt", "fed shape", lambda s: random.random_uniform(s, 0, 10, dtypes.int32), (_SHAPE,), _sized,
         zero=_EMPTY),
    _row("RandomUniformInt", "bounds of each element",
         lambda low, high: random.random_uniform([4, 2], low, high, dtypes.int64),
         (np.array([0, 10]), np.array([1, 20])), lambda low, high: np.zeros((4, 2))),
    _row("RandomStandardNormal", "fed shape", random.random_normal, (_SHAPE,), _sized, zero=_EMPTY),
    _row("RandomStandardNormal", "parameters of each column",
         lambda mean, stddev: random.random_normal([4, 2], mean, stddev, mean.dtype), (Arg((2,)), Arg((2,), 0.1)),
         lambda mean, stddev: np.zeros((4, 2)), dtypes=("float16", "float32", "float64")),
    _row("TruncatedNormal", "fed shape", random.truncated_normal, (_SHAPE,), _sized, zero=_EMPTY),
    _row("TruncatedNormal", "scaled", lambda s: random.truncated_normal(s, 1.0, 0.1, dtypes.float64), (_SHAPE,),
         _sized),
    _row("RandomBernoulli", "one probability", lambda s: random.bernoulli(s, 0.3), (_SHAPE,), _sized, zero=_EMPTY),
    _row("RandomBernoulli", "probability of each column", lambda p: random.bernoulli([4, 2], p), (Arg((2,), 0.0, 1.0),),
         lambda p: np.zeros((4, 2))),
    _row("RandomGamma", "shape before alpha", lambda s, alpha: random.random_gamma(s, alpha, dtype=alpha.dtype),
         (_SHAPE, Arg((2,), 0.1, 5.0)), _sized_after, zero=(((0,), (2,)), ((2,), (0,)))),
    _row("RandomGamma", "with a rate", lambda alpha, beta: random.random_gamma([5], alpha, beta, alpha.dtype),
         (Arg((2, 1), 0.1, 5.0), Arg((3,), 0.1, 5.0)), lambda alpha, beta: np.zeros((5, 2, 3))),
    _row("RandomPoissonV2", "shape after the rates", random.random_poisson,
         (Arg((2,), 0.0, 50.0), _SHAPE), lambda rate, s: _sized_after(s, rate), zero=(((2,), (0,)), ((0,), (2,)))),
    _row("RandomPoissonV2", "integers", lambda: random.random_poisson(3.5, [4], dtypes.int64), (), lambda: np.zeros(4)),
    _row("Multinomial", "logits", lambda x: random.multinomial(x, 5), (Arg((3, 4)),), lambda x: np.zeros((len(x), 5)),
         zero=(((0, 4),),)),
    _row("Multinomial", "number fed, int32", lambda x, n: random.categorical(x, n, dtypes.int32),
         (Arg((3, 4)), np.array(2, np.int32)), lambda x, n: np.zeros((3, n))),
    _row("RandomShuffle", "matrix", random.random_shuffle, (Arg((5, 2)),), lambda x: x, zero=(((0, 2),), ((2, 0),))),
    _row("RandomShuffle", "text", random.random_shuffle, (np.array([b"a", b"bc"], object),), lambda x: x),
    _row("RandomShuffle", "scalar", random.random_shuffle, (Arg(()),), lambda x: x),
    _row("RandomOrthogonal", "wide", lambda: random.random_orthogonal(2, 5), (), lambda: np.zeros((2, 5))),
    _row("RandomOrthogonal", "no row", lambda: random.random_orthogonal(0, 5), (), lambda: np.zeros((0, 5))),
    _row("tf.random_crop", "image", lambda x: random.random_crop(x, [2, 3, 3]), (Arg((5, 4, 3)),),
         lambda x: np.zeros((2, 3, 3)), zero=(((2, 3, 3),),)),
    _row("tf.random_crop", "size fed", random.random_crop, (Arg((5, 4)), np.array([5, 0], np.int32)),
         lambda x, size: np.zeros(tuple(size))),
]  # fmt: skip

ERRORS: list[ErrorCase] = [
    ErrorCase("RandomUniform", "negative size", lambda: random.random_uniform([2, -1]), errors.ShapeError, "negative"),
    ErrorCase("RandomUniform", "shape of floats", lambda: random.random_uniform([2.5]), errors.DTypeError, "integers"),
    ErrorCase("RandomUniform", "unknown size", lambda: random.random_uniform([None, 2]), errors.ShapeError, "tf.shape"),
    ErrorCase("RandomUniform", "negative size in the run",
              lambda: _run(random.random_uniform(core.identity(core.placeholder_with_default([-1], [None])))),
              errors.InvalidArgumentError, "negative"),
    ErrorCase("RandomUniformInt", "no maxval", lambda: random.random_uniform([2], dtype=dtypes.int32),
              errors.InvalidArgumentError, "Must specify maxval"),
    ErrorCase("RandomUniformInt", "empty range", lambda: random.random_uniform([2], 3, 3, dtypes.int32),
              errors.InvalidArgumentError, "Need minval < maxval"),
    ErrorCase("RandomUniformInt", "empty range in the run",
              lambda: _run(random.random_uniform([2], core.placeholder_with_default(5, []), 3, dtypes.int32)),
              errors.InvalidArgumentError, "Need minval < maxval"),
    ErrorCase("RandomUniformInt", "bounds too many", lambda: random.random_uniform([2], [0, 0, 0], 3, dtypes.int32),
              errors.ShapeError, r"\[3\]"),
    ErrorCase("RandomStandardNormal", "integers", lambda: random.random_normal([2], dtype=dtypes.int32),
              errors.DTypeError, "floating"),
    ErrorCase("TruncatedNormal", "seed of text", lambda: random.truncated_normal([2], seed="a"), errors.DTypeError,
              "op seed is an integer"),
    ErrorCase("RandomBernoulli", "probability above one", lambda: _run(random.bernoulli([2], 1.5)),
              errors.InvalidArgumentError, r"\[0, 1\]"),
    ErrorCase("RandomBernoulli", "integers", lambda: random.bernoulli([2], 1), errors.DTypeError, "float"),
    ErrorCase("RandomGamma", "alpha of zero", lambda: _run(random.random_gamma([2], 0.0)), errors.InvalidArgumentError,
              "positive"),
    ErrorCase("RandomGamma", "integers", lambda: random.random_gamma([2], 1.0, dtype=dtypes.int32), errors.DTypeError,
              "floating"),
    ErrorCase("RandomPoissonV2", "negative rate", lambda: _run(random.random_poisson(-1.0, [2])),
              errors.InvalidArgumentError, "negative"),
    ErrorCase("RandomPoissonV2", "bool", lambda: random.random_poisson(1.0, [2], dtypes.bool_), errors.DTypeError,
              "bool"),
    ErrorCase("Multinomial", "vector", lambda: random.multinomial([0.1, 0.9], 2), errors.ShapeError, "batch, classes"),
    ErrorCase("Multinomial", "no class", lambda: random.multinomial(np.zeros((2, 0), np.float32), 2), errors.ShapeError,
              "at least one class"),
    ErrorCase("Multinomial", "NaN", lambda: _run(random.multinomial([[np.nan, 0.0]], 2)), errors.InvalidArgumentError,
              "finite"),
    ErrorCase("RandomShuffle", "seed of fractions", lambda: random.random_shuffle([1, 2], seed=1.5), errors.DTypeError,
              "integer"),
    ErrorCase("RandomOrthogonal", "integers", lambda: random.random_orthogonal(2, 2, dtypes.int32), errors.DTypeError,
              "floating"),
    ErrorCase("tf.random_crop", "too large", lambda: random.random_crop(np.zeros((2, 3)), [3, 3]), errors.ShapeError,
              "Need value.shape >= size"),
    ErrorCase("tf.random_crop", "a size too few", lambda: random.random_crop(np.zeros((2, 3)), [2]), errors.ShapeError,
              "size for each axis"),
    ErrorCase("tf.random_crop", "too large in the run",
              lambda: _run(random.random_crop(core.placeholder_with_default(np.zeros((2, 3)), [None, None]), [3, 3])),
              errors.InvalidArgumentError, "ends outside|Need value.shape >= size"),
]  # fmt: skip

NO_ZERO_SIZE = {"RandomOrthogonal": "no tensor goes in; the row `no row` makes an empty one"}
