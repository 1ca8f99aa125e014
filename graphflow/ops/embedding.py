"""Embeddings, and the losses over large vocabularies that look at a sample of the classes only.

Policy: compositions of `gather`, so a variable gets its gradient as rows.  Sampling is two ops: a random op draws a
key, and `CandidateSample` is a pure function of it, so graph seeds and op seeds mean what they mean everywhere.

State: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, NamedTuple

from graphflow import dtypes, spec
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.opdef import call, op
from graphflow.ops import array, casts, compare, core, index, linalg, math, random, reduce, scans
from graphflow.ops.nn import sigmoid_cross_entropy_with_logits
from graphflow.ops.softmax import softmax_cross_entropy_with_logits_v2
from graphflow.spec import TensorSpec

INT64_MAX = 2**63 - 1


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: Any = None,
) -> Any:
    """The rows `ids` of a table, which may be given in pieces; rows longer than `max_norm` are shortened to it."""
    with core.name_scope(name, "embedding_lookup") as scope:
        ids = core.convert_to_tensor(ids)
        pieces = list(params) if isinstance(params, (list, tuple)) else [params]
        if not pieces:
            raise InvalidArgumentError("embedding_lookup needs a table", expected="a tensor or several", got="[]")
        if len(pieces) == 1:
            table = pieces[0]
        else:
            table, ids = _joined(pieces, ids, partition_strategy)
        if max_norm is None:
            return index.gather(table, ids, name=scope)
        return core.identity(_shortened(index.gather(table, ids), table, max_norm), name=scope)


def _joined(pieces: Sequence[Any], ids: Any, strategy: str) -> tuple[Any, Any]:
    """The table in one piece, and where the rows are in it."""
    tables = [core.convert_to_tensor(piece) for piece in pieces]
    whole = array.concat(tables, 0)
    if strategy == "div":
        return whole, ids
    if strategy != "mod":
        raise InvalidArgumentError("unknown partition_strategy", expected="'mod' or 'div'", got=repr(strategy))
    starts = scans.cumsum(array.stack([array.shape(t)[0] for t in tables]), exclusive=True)
    count = len(tables)
    return whole, casts.cast(index.gather(starts, ids % count), ids.dtype) + ids // count


def _shortened(rows: Any, table: Any, max_norm: Any) -> Any:
    rank = core.convert_to_tensor(table).dims
    if rank is None:
        raise ShapeError("max_norm needs a table of known rank", hint="params.set_shape(...)")
    axes = list(range(1 - len(rank), 0))
    square = math.square(rows)
    length = reduce.reduce_sum(square, axes, keepdims=True) if axes else square
    return rows * (max_norm * math.rsqrt(math.maximum(length, max_norm * max_norm)))


# -- sampling classes ------------------------------------------------------------------------------------------------


class Candidates(NamedTuple):
    """Sampled classes, and how often the true ones and these were to be expected among them."""

    sampled_candidates: Any
    true_expected_count: Any
    sampled_expected_count: Any


def _sampled(key: Any, *, num_sampled: int, **attrs: Any) -> tuple[TensorSpec, TensorSpec]:
    if key.dtype is not dtypes.int64:
        raise DTypeError("a key is made of int64 numbers", got=key.dtype.name)
    if not spec.compatible(key.dims, (2,)):
        raise ShapeError("a key is a pair of numbers", expected="[2]", got=spec.describe(key.dims))
    return TensorSpec(dtypes.int64, (num_sampled,)), TensorSpec(dtypes.int64, ())


@op("CandidateSample", infer=_sampled, differentiable=False)
def candidate_sample(
    key: Any, num_sampled: int, range_max: int, unique: bool, distribution: str, name: str | None = None
) -> Any:
    """Classes drawn from a distribution over [0, range_max), and how many draws that took: a function of the key."""
    if num_sampled < 1 or range_max < 1:
        raise InvalidArgumentError(
            "there must be classes to draw", got=f"num_sampled {num_sampled}, range_max {range_max}"
        )
    if unique and num_sampled > range_max:
        raise InvalidArgumentError(
            "more distinct samples than classes",
            expected=f"num_sampled <= {range_max}",
            got=str(num_sampled),
            hint="unique=False draws with repetition",
        )
    if distribution not in ("uniform", "log_uniform"):
        raise InvalidArgumentError(
            "unknown distribution", expected="'uniform' or 'log_uniform'", got=repr(distribution)
        )
    attrs = {"num_sampled": int(num_sampled), "range_max": int(range_max), "unique": bool(unique)}
    return call((key,), name, distribution=distribution, **attrs)


def _candidates(
    distribution: str, true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: Any
) -> Candidates:
    labels = _class_numbers(true_classes, num_true)
    key = random.random_uniform([2], maxval=INT64_MAX, dtype=dtypes.int64, seed=seed)
    sampled, draws = candidate_sample(key, num_sampled, range_max, unique, distribution)

    def expected(classes: Any) -> Any:
        if distribution == "uniform":
            chance = array.ones_like(classes, dtypes.float32) / float(range_max)
        else:
            chance = math.log1p(1.0 / (casts.cast(classes, dtypes.float32) + 1.0)) / log(range_max + 1.0)
        if not unique:
            return chance * float(num_sampled)
        return -math.expm1(casts.cast(draws, dtypes.float32) * math.log1p(-chance))

    return Candidates(sampled, expected(labels), expected(sampled))


def _class_numbers(labels: Any, num_true: int) -> Any:
    labels = core.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise DTypeError(
            "labels are class numbers",
            expected="int64",
            got=f"{labels.name} is {labels.dtype.name}",
            hint="since TensorFlow 1 the order is (weights, biases, labels, inputs)",
        )
    if not spec.compatible(labels.dims, (None, num_true)):
        raise ShapeError(
            "labels hold num_true classes for each example",
            expected=spec.describe((None, num_true)),
            got=spec.describe(labels.dims),
            hint="tf.reshape(labels, [-1, 1])" if num_true == 1 else None,
        )
    return casts.cast(labels, dtypes.int64)


def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: Any = None,
    name: str | None = None,
) -> Candidates:
    """Sample classes with probability log(1 + 1 / (class + 1)) / log(range_max + 1): frequent ones come first."""
    with core.name_scope(name, "LogUniformCandidateSampler"):
        return _candidates("log_uniform", true_classes, num_true, num_sampled, unique, range_max, seed)


def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: Any = None,
    name: str | None = None,
) -> Candidates:
    """Sample classes, each with the same probability."""
    with core.name_scope(name, "UniformCandidateSampler"):
        return _candidates("uniform", true_classes, num_true, num_sampled, unique, range_max, seed)


# -- losses ----------------------------------------------------------------------------------------------------------


def _sampled_logits(
    tables: tuple[Any, Any],
    labels: Any,
    inputs: Any,
    sizes: tuple[int, int, int],
    values: Any,
    remove_accidental_hits: bool,
    partition_strategy: str,
    seed: Any = None,
) -> tuple[Any, Any]:
    """Logits [batch, num_true + num_sampled] of the true and of the sampled classes, and their labels."""
    num_sampled, num_classes, num_true = sizes
    labels, inputs = _class_numbers(labels, num_true), core.convert_to_tensor(inputs)
    if values is None:
        values = log_uniform_candidate_sampler(labels, num_true, num_sampled, True, num_classes, seed)
    sampled, true_expected, sampled_expected = (core.stop_gradient(v) for v in values)
    sampled = casts.cast(sampled, dtypes.int64)

    def rows(table: Any, ids: Any) -> Any:
        return embedding_lookup(table, ids, partition_strategy)

    weights, biases = tables
    true = reduce.reduce_sum(array.expand_dims(inputs, 1) * rows(weights, labels), 2) + rows(biases, labels)
    other = linalg.matmul(inputs, rows(weights, sampled), transpose_b=True) + rows(biases, sampled)
    if remove_accidental_hits:
        hits = reduce.reduce_any(compare.equal(array.expand_dims(labels, 2), sampled), 1)
        other += casts.cast(hits, other.dtype) * other.dtype.min
    true -= math.log(casts.cast(true_expected, true.dtype))
    other -= math.log(casts.cast(sampled_expected, other.dtype))
    found = array.concat([array.ones_like(true) / float(num_true), array.zeros_like(other)], 1)
    return array.concat([true, other], 1), found


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Any:
    """Noise-contrastive estimation: tell the true classes of each example from sampled ones; one loss an example."""
    with core.name_scope(name, "nce_loss") as scope:
        logits, truth = _sampled_logits(
            (weights, biases), labels, inputs, (num_sampled, num_classes, num_true), sampled_values,
            remove_accidental_hits, partition_strategy,
        )  # fmt: skip
        losses = sigmoid_cross_entropy_with_logits(labels=truth, logits=logits, name="sampled_losses")
        return reduce.reduce_sum(losses, 1, name=scope)


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
    seed: Any = None,
) -> Any:
    """Softmax cross-entropy among the true classes of each example and sampled ones; one loss an example."""
    with core.name_scope(name, "sampled_softmax_loss") as scope:
        logits, truth = _sampled_logits(
            (weights, biases), labels, inputs, (num_sampled, num_classes, num_true), sampled_values,
            remove_accidental_hits, partition_strategy, seed,
        )  # fmt: skip
        truth = core.stop_gradient(truth)
        losses = softmax_cross_entropy_with_logits_v2(labels=truth, logits=logits, name="sampled_losses")
        return core.identity(losses, name=scope)
