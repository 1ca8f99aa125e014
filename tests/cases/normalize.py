"""Rows for moments, normalisations, embeddings and the losses over sampled classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow import errors
from graphflow.ops import array, core, embedding, normalize
from graphflow.session import Session
from graphflow.testing import Arg, ErrorCase, OpCase

HALF = ("float16", "float32", "float64")
IMAGES = Arg((2, 3, 2, 4))
CHANNELS = Arg((4,))
POSITIVE = Arg((4,), 0.5, 2.0)


# -- moments ---------------------------------------------------------------------------------------------------------


def _moments(axes: Any, keepdims: bool = False) -> Any:
    where = tuple(axes) if isinstance(axes, list) else axes
    return lambda x: [x.mean(where, keepdims=keepdims), x.var(where, keepdims=keepdims)]


def _weighted(x: Any, w: Any) -> list[Any]:
    w = np.broadcast_to(w, x.shape)
    mean = (w * x).sum((0, 1)) / w.sum((0, 1))
    return [mean, (w * (x - mean) ** 2).sum((0, 1)) / w.sum((0, 1))]


def _moment_rows() -> list[OpCase]:
    x = (Arg((3, 4, 2)),)
    return [
        OpCase("tf.nn.moments", "two axes", lambda x: list(normalize.moments(x, [0, 1])), x, _moments([0, 1]),
               dtypes=("float32",)),
        OpCase("tf.nn.moments", "keep_dims, negative axis",
               lambda x: list(normalize.moments(x, [-2], keep_dims=True)), x, _moments([-2], True),
               zero=(((0, 4, 2),),)),
        OpCase("tf.nn.moments", "one axis as a number, far from zero",
               lambda x: list(normalize.moments(x, 0, shift=1.0)), (Arg((50, 2), 1e6, 1e6 + 1.0),), _moments(0),
               wrt=(), tol=1e-9, dtypes=()),
        OpCase("tf.nn.weighted_moments", "weights that broadcast",
               lambda x, w: list(normalize.weighted_moments(x, [0, 1], w)), (*x, Arg((3, 1, 1), 0.5, 2.0)), _weighted),
        OpCase("tf.nn.sufficient_statistics", "shifted, and back to moments",
               lambda x: list(normalize.normalize_moments(*normalize.sufficient_statistics(x, [0, 1], shift=0.5))), x,
               _moments([0, 1])),
    ]  # fmt: skip


# -- normalisations --------------------------------------------------------------------------------------------------


def _normal(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, epsilon: float = 0.1) -> Any:
    return (x - mean) / np.sqrt(variance + epsilon) * scale + offset


def _batch(x: Any, mean: Any, variance: Any, offset: Any, scale: Any) -> Any:
    return normalize.batch_normalization(x, mean, variance, offset, scale, 0.1)


def _old(x: Any, mean: Any, variance: Any, offset: Any, scale: Any) -> Any:
    return normalize.batch_norm_with_global_normalization(x, mean, variance, offset, scale, 0.1, True)


def _fused(x: Any, scale: Any, offset: Any, axes: Any = (0, 1, 2), at: Any = ...) -> list[Any]:
    mean, variance = x.mean(axes), x.var(axes)
    count = x.size / mean.size
    y = _normal(x, mean[at], variance[at], offset[at], scale[at], 0.001)
    return [y, mean, variance * count / (count - 1)]


def _length_one(x: Any, axis: Any) -> Any:
    return x / np.sqrt(np.maximum((x**2).sum(axis, keepdims=True), 1e-12))


def _responses(x: Any) -> Any:
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        near = x[..., max(0, c - 1) : c + 2]
        y[..., c] = x[..., c] / (1.5 + 0.3 * (near**2).sum(-1)) ** 0.75
    return y


def _responses_back(dy: Any, x: Any) -> Any:
    """dy times the matrix of derivatives, pixel by pixel."""
    dx = np.zeros_like(dy)
    for at in np.ndindex(*x.shape[:-1]):
        v = x[at]
        size = len(v)
        n = np.array([1.5 + 0.3 * (v[max(0, c - 1) : c + 2] ** 2).sum() for c in range(size)])
        for c in range(size):
            dx[(*at, c)] += dy[(*at, c)] * n[c] ** -0.75
            for other in range(max(0, c - 1), min(size, c + 2)):
                dx[(*at, other)] -= dy[(*at, c)] * v[c] * 0.75 * n[c] ** -1.75 * 0.6 * v[other]
    return dx


LRN: dict[str, Any] = {"depth_radius": 1, "bias": 1.5, "alpha": 0.3, "beta": 0.75}


def _lrn_grad(dy: Any, x: Any) -> Any:
    return normalize.lrn_grad(dy, x, normalize.lrn(x, **LRN), **LRN)


def _normal_rows() -> list[OpCase]:
    five = (IMAGES, CHANNELS, POSITIVE, CHANNELS, CHANNELS)
    empty = (((0, 3, 2, 4), (4,), (4,), (4,), (4,)),)
    first = Arg((2, 4, 3, 2))
    return [
        OpCase("tf.nn.batch_normalization", "offset and scale", _batch, five, _normal, zero=empty),
        OpCase("tf.nn.batch_normalization", "neither",
               lambda x, m, v: normalize.batch_normalization(x, m, v, None, None, 0.1), five[:3],
               lambda x, m, v: _normal(x, m, v, 0.0, 1.0)),
        OpCase("tf.nn.batch_norm_with_global_normalization", "scaled", _old, five, _normal),
        OpCase("tf.nn.fused_batch_norm", "training", lambda x, s, o: list(normalize.fused_batch_norm(x, s, o)),
               (IMAGES, POSITIVE, CHANNELS), _fused, dtypes=("float32",)),
        OpCase("tf.nn.fused_batch_norm", "training, NCHW",
               lambda x, s, o: list(normalize.fused_batch_norm(x, s, o, data_format="NCHW")),
               (first, POSITIVE, CHANNELS), lambda x, s, o: _fused(x, s, o, (0, 2, 3), (slice(None), None, None))),
        OpCase("tf.nn.fused_batch_norm", "inference",
               lambda x, m, v, o, s: normalize.fused_batch_norm(x, s, o, m, v, 0.1, is_training=False)[0], five,
               _normal, zero=empty),
        OpCase("tf.nn.l2_normalize", "last axis", lambda x: normalize.l2_normalize(x, -1), (Arg((3, 4)),),
               lambda x: _length_one(x, -1), analytic=False, zero=(((0, 4),),)),
        OpCase("tf.nn.l2_normalize", "all, dim=", lambda x: normalize.l2_normalize(x, dim=[0, 1]), (Arg((3, 4)),),
               lambda x: _length_one(x, (0, 1)), analytic=False),
        OpCase("tf.nn.l2_normalize", "of nothing but zeros", lambda x: normalize.l2_normalize(x, 0), (np.zeros(3),),
               lambda x: x, wrt=()),
        OpCase("LRN", "radius 1", lambda x: normalize.local_response_normalization(x, **LRN), (IMAGES,), _responses,
               dtypes=HALF, zero=(((0, 3, 2, 4),), ((2, 3, 2, 0),))),
        OpCase("LRN", "radius beyond the channels", lambda x: normalize.lrn(x, 9, 2.0, 0.5, 1.0), (Arg((2, 3)),),
               lambda x: x / (2 + 0.5 * (x**2).sum(-1, keepdims=True))),
        OpCase("LRNGrad", "radius 1", _lrn_grad, (Arg((1, 2, 1, 4)), Arg((1, 2, 1, 4))), _responses_back,
               zero=(((0, 2, 1, 4), (0, 2, 1, 4)),)),
        OpCase("LRNGrad", "three arguments apart", lambda dy, x, y: normalize.lrn_grad(dy, x, y, **LRN),
               (Arg((2, 4)), Arg((2, 4)), Arg((2, 4))), _apart),
    ]  # fmt: skip


def _apart(dy: Any, x: Any, y: Any) -> Any:
    """The formula of the op, which takes x and y as given."""
    size = x.shape[-1]
    near = (np.abs(np.arange(size)[:, None] - np.arange(size)) <= 1).astype(float)
    n = 1.5 + 0.3 * x**2 @ near
    return dy * n**-0.75 - 2 * 0.3 * 0.75 * x * ((dy * y / n) @ near)


# -- embeddings ------------------------------------------------------------------------------------------------------

IDS = np.array([[4, 0], [1, 4]])


def _pieces(strategy: str) -> Any:
    return lambda a, b: embedding.embedding_lookup([a, b], IDS, partition_strategy=strategy)


def _by_turns(a: Any, b: Any) -> Any:
    return np.array([[(a, b)[i % 2][i // 2] for i in row] for row in IDS])


def _shortened(x: Any) -> Any:
    rows = x[IDS]
    return rows * np.minimum(1.0, 1.5 / np.sqrt((rows**2).sum(-1, keepdims=True)))


def _sampled(*args: Any) -> Any:
    """Which true and sampled classes: the weights and biases of their logits are in the order of the arguments."""
    weights, biases, labels, inputs = args
    sampled = np.array([5, 1, 3])
    true_expected = np.array([[0.5], [0.25]])
    expected = np.array([0.75, 0.5, 0.25])
    true = (inputs * weights[labels[:, 0]]).sum(1, keepdims=True) + biases[labels] - np.log(true_expected)
    other = inputs @ weights[sampled].T + biases[sampled] - np.log(expected)
    return true, other, labels == sampled


VALUES = (np.array([5, 1, 3]), np.array([[0.5], [0.25]]), np.array([0.75, 0.5, 0.25]))


def _noise_contrast(*args: Any) -> Any:
    true, other, _ = _sampled(*args)
    return np.logaddexp(0, -true[:, 0]) + np.logaddexp(0, other).sum(1)


def _sampled_entropy(*args: Any) -> Any:
    true, other, hits = _sampled(*args)
    weight = np.exp(other) * ~hits
    return -np.log(np.exp(true[:, 0]) / (np.exp(true[:, 0]) + weight.sum(1)))


def _draw(key: Any) -> list[Any]:
    """True where the classes are distinct and in range, and where there were at least as many draws."""
    sampled, draws = embedding.candidate_sample(key, 5, 7, True, "log_uniform")
    return [sampled, draws]


def _expected_counts(labels: Any) -> list[Any]:
    found = embedding.uniform_candidate_sampler(labels, 1, 4, False, 8, seed=1)
    return [found.true_expected_count, found.sampled_expected_count]


def _log_uniform_counts(labels: Any) -> Any:
    return embedding.log_uniform_candidate_sampler(labels, 1, 4, False, 8, seed=1).true_expected_count


def _embedding_rows() -> list[OpCase]:
    table = Arg((6, 3))
    loss = (table, Arg((6,)), np.array([[1], [2]]), Arg((2, 3)))
    return [
        OpCase("tf.nn.embedding_lookup", "one table", lambda x: embedding.embedding_lookup(x, IDS), (table,),
               lambda x: x[IDS], zero=(((6, 0),),)),
        OpCase("tf.nn.embedding_lookup", "pieces by turns", _pieces("mod"), (Arg((3, 2)), Arg((2, 2))), _by_turns),
        OpCase("tf.nn.embedding_lookup", "pieces in order", _pieces("div"), (Arg((3, 2)), Arg((2, 2))),
               lambda a, b: np.concatenate([a, b])[IDS]),
        OpCase("tf.nn.embedding_lookup", "max_norm", lambda x: embedding.embedding_lookup(x, IDS, max_norm=1.5),
               (table,), _shortened, analytic=False, unknown="dims"),
        OpCase("tf.nn.nce_loss", "given samples",
               lambda w, b, z, x: embedding.nce_loss(w, b, z, x, 3, 6, sampled_values=_values(x)), loss,
               _noise_contrast, analytic=False),
        OpCase("tf.nn.sampled_softmax_loss", "given samples, a hit among them",
               lambda w, b, z, x: embedding.sampled_softmax_loss(w, b, z, x, 3, 6, sampled_values=_values(x)), loss,
               _sampled_entropy, analytic=False),
        OpCase("tf.nn.nce_loss", "own samples", lambda w, b, z, x: embedding.nce_loss(w, b, z, x, 3, 6), loss,
               lambda w, b, z, x: np.zeros(2), wrt=(), nondeterministic=True),
        OpCase("CandidateSample", "distinct", _draw, (np.array([3, 9]),),
               lambda key: [np.zeros(5, np.int64), np.int64(0)], wrt=(), nondeterministic=True),
        OpCase("tf.nn.uniform_candidate_sampler", "expected counts", _expected_counts, (np.array([[1], [7]]),),
               lambda z: [np.full((2, 1), 0.5, np.float32), np.full(4, 0.5, np.float32)], wrt=(),
               dtypes=("float64",), tol=1e-4),
        OpCase("tf.nn.log_uniform_candidate_sampler", "expected counts", _log_uniform_counts,
               (np.array([[0], [7]]),),
               lambda z: (4 * np.log((z + 2) / (z + 1)) / np.log(9)).astype(np.float32), wrt=(), tol=1e-4),
    ]  # fmt: skip


def _values(x: Any) -> tuple[Any, Any, Any]:
    true, sampled = (core.convert_to_tensor(v, dtype_hint=x.dtype) for v in VALUES[1:])
    return core.constant(VALUES[0]), true, sampled


CASES: list[OpCase] = [*_moment_rows(), *_normal_rows(), *_embedding_rows()]
NO_ZERO_SIZE = {"CandidateSample": "its one input is a key of two numbers"}

# -- mistakes --------------------------------------------------------------------------------------------------------


def _floats(*shape: int) -> Any:
    return array.zeros(shape)


def _loss(labels: Any, inputs: Any, function: Any = embedding.nce_loss) -> Any:
    return function(_floats(6, 3), _floats(6), labels, inputs, 3, 6)


Invalid = errors.InvalidArgumentError
ERRORS: list[ErrorCase] = [
    ErrorCase("LRN", "integers", lambda: normalize.lrn(core.constant([[1, 2]])), errors.DTypeError, "float"),
    ErrorCase("LRN", "vector", lambda: normalize.lrn(_floats(4)), Invalid, "channels"),
    ErrorCase("LRN", "radius", lambda: normalize.lrn(_floats(1, 2, 2, 4), depth_radius=-1), Invalid, "depth_radius"),
    ErrorCase("LRNGrad", "shapes", lambda: normalize.lrn_grad(_floats(2, 4), _floats(2, 3), _floats(2, 4)), Invalid,
              r"\[2, 4\][^$]*\[2, 3\]"),
    ErrorCase("tf.nn.fused_batch_norm", "vectors", lambda: normalize.fused_batch_norm(_floats(3, 4), 1.0, 0.0), Invalid,
              "rank 4"),
    ErrorCase("tf.nn.fused_batch_norm", "no statistics",
              lambda: normalize.fused_batch_norm(_floats(1, 2, 2, 4), _floats(4), _floats(4), is_training=False),
              Invalid, "mean and variance"),
    ErrorCase("tf.nn.moments", "no such axis", lambda: normalize.moments(_floats(2, 3), [2]), Invalid, "out of range"),
    ErrorCase("tf.nn.embedding_lookup", "id out of range",
              lambda: Session().run(embedding.embedding_lookup(_floats(2, 3), core.placeholder(np.int32)),
                                    {"Placeholder:0": [0, 2]}), Invalid, "2"),
    ErrorCase("tf.nn.embedding_lookup", "no table", lambda: embedding.embedding_lookup([], [1]), Invalid, "table"),
    ErrorCase("tf.nn.embedding_lookup", "strategy",
              lambda: embedding.embedding_lookup([_floats(2, 3), _floats(2, 3)], [1], "rows"), Invalid, "'div'"),
    ErrorCase("tf.nn.nce_loss", "inputs before labels", lambda: _loss(_floats(2, 3), core.constant([[1], [2]])),
              errors.DTypeError, "the order is"),
    ErrorCase("tf.nn.nce_loss", "a vector of labels", lambda: _loss(core.constant([1, 2]), _floats(2, 3)), Invalid,
              "reshape"),
    ErrorCase("CandidateSample", "too many", lambda: embedding.uniform_candidate_sampler([[1]], 1, 9, True, 8), Invalid,
              "more distinct samples than classes"),
    ErrorCase("CandidateSample", "none", lambda: embedding.uniform_candidate_sampler([[1]], 1, 0, True, 8), Invalid,
              "classes to draw"),
    ErrorCase("CandidateSample", "key", lambda: embedding.candidate_sample([1, 2, 3], 1, 8, True, "uniform"), Invalid,
              "int64"),
    ErrorCase("CandidateSample", "distribution",
              lambda: embedding.candidate_sample(np.array([1, 2]), 1, 8, True, "zipf"), Invalid, "log_uniform"),
]  # fmt: skip
