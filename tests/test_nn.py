"""What the table of ops cannot say about networks' ops: numbers at the edges, names, random masks, sampled classes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from graphflow import dtypes, errors
from graphflow.gradients import gradients
from graphflow.graph import get_default_graph
from graphflow.ops import array, conv, core, embedding, nn, normalize, pool, random, softmax
from graphflow.session import Session


def run(fetches: Any, feeds: Any = None) -> Any:
    return Session().run(fetches, feeds)


def floats(*values: Any) -> Any:
    return core.constant(np.array(values, np.float32))


# -- derivatives where it is easy to be wrong ------------------------------------------------------------------------


def test_sigmoid_cross_entropy_has_the_right_slope_at_zero() -> None:
    x = floats(0.0, 0.0, 0.0)
    loss = nn.sigmoid_cross_entropy_with_logits(labels=floats(0.0, 0.25, 1.0), logits=x)
    np.testing.assert_allclose(run(gradients(loss, x)[0]), [0.5, 0.25, -0.5], rtol=1e-6)


def test_saturated_logits_keep_the_digits_of_their_gradient() -> None:
    x = floats(-30.0, 30.0)
    loss = nn.sigmoid_cross_entropy_with_logits(labels=floats(0.0, 1.0), logits=x)
    value, slope = run([loss, gradients(loss, x)[0]])
    np.testing.assert_allclose(value, [np.exp(-30.0)] * 2, rtol=1e-6)
    np.testing.assert_allclose(slope, [np.exp(-30.0), -np.exp(-30.0)], rtol=1e-6)


def test_labels_that_do_not_sum_to_one_get_the_true_derivative() -> None:
    x = floats([1.0, 2.0, 3.0])
    loss = softmax.softmax_cross_entropy_with_logits(labels=floats([0.0, 4.0, 0.0]), logits=x)
    share = np.exp([1.0, 2.0, 3.0]) / np.exp([1.0, 2.0, 3.0]).sum()
    np.testing.assert_allclose(run(gradients(loss, x)[0]), [4 * share - [0, 4, 0]], rtol=1e-6)


def test_only_v2_sends_a_gradient_into_the_labels() -> None:
    x, z = floats([1.0, 2.0]), floats([0.5, 0.5])
    first = softmax.softmax_cross_entropy_with_logits(labels=z, logits=x)
    second = softmax.softmax_cross_entropy_with_logits_v2(labels=z, logits=x)
    assert gradients(first, z) == [None]
    np.testing.assert_allclose(run(gradients(second, z)[0]), [np.log1p(np.exp([1.0, -1.0]))], rtol=1e-6)


def test_a_masked_class_adds_nothing_and_gets_no_gradient() -> None:
    x = floats([0.0, -np.inf, 0.0])
    loss = softmax.softmax_cross_entropy_with_logits(labels=floats([1.0, 0.0, 0.0]), logits=x)
    value, slope = run([loss, gradients(loss, x)[0]])
    np.testing.assert_allclose(value, [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(slope, [[-0.5, 0.0, 0.5]], rtol=1e-6)
    assert np.isnan(run(softmax.softmax_cross_entropy_with_logits(labels=floats([0.0, 1.0]), logits=floats(
        [np.nan, 0.0]))))  # fmt: skip


@pytest.mark.parametrize("classes", [1, 2, 7, 8, 9, 31, 32, 33, 200])
def test_a_row_of_softmax_does_not_depend_on_the_other_rows(classes: int) -> None:
    x = np.random.default_rng(0).standard_normal((7, classes))
    expected = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(run(softmax.softmax(x)), expected, rtol=1e-13)
    for count in (1, 2, 3):
        rows = run(softmax.softmax(x[3 : 3 + count]))
        np.testing.assert_array_equal(rows, run(softmax.softmax(x))[3 : 3 + count])


def test_the_mean_inside_a_variance_counts_in_a_second_derivative() -> None:
    x = core.constant([1.0, 2.0, 4.0])
    _, variance = normalize.moments(x, [0])
    slope = gradients(variance, x)[0]
    second = gradients(slope[0], x)[0]
    np.testing.assert_allclose(run(second), [2 / 3 - 2 / 9, -2 / 9, -2 / 9], rtol=1e-5)


# -- names and shapes ------------------------------------------------------------------------------------------------


def test_a_name_names_what_comes_out() -> None:
    x = core.placeholder(dtypes.float32, [None, 4, 4, 2])
    flat = array.reshape(x, [-1, 32])
    built = {
        "probabilities": softmax.softmax(flat, name="probabilities"),
        "columns": softmax.softmax(flat, axis=0, name="columns"),
        "conv": conv.conv2d(x, np.zeros((3, 3, 2, 2), np.float32), 1, "SAME", name="conv"),
        "up": conv.conv2d_transpose(
            x, np.zeros((3, 3, 2, 2), np.float32), array.stack([array.shape(x)[0], 8, 8, 2]), 2, name="up"
        ),
        "pooled": pool.max_pool(x, 2, 2, "SAME", name="pooled"),
        "dense": nn.xw_plus_b(flat, np.zeros((32, 3), np.float32), np.zeros(3, np.float32), name="dense"),
        "dropped": nn.dropout(x, 0.5, name="dropped"),
        "loss": nn.sigmoid_cross_entropy_with_logits(labels=flat, logits=flat, name="loss"),
        "classes": softmax.sparse_softmax_cross_entropy_with_logits(labels=[0], logits=flat[:1], name="classes"),
        "unit": normalize.l2_normalize(flat, 1, name="unit"),
    }
    for name, tensor in built.items():
        assert tensor.name == f"{name}:0"
        assert get_default_graph().get_tensor_by_name(f"{name}:0") is tensor


def test_partial_shapes_go_through() -> None:
    x = core.placeholder(dtypes.float32, [None, None, 8, 3])
    w = np.zeros((3, 3, 3, 5), np.float32)
    assert conv.conv2d(x, w, 2, "SAME").dims == (None, None, 4, 5)
    assert conv.conv2d(x, w, 1, "VALID").dims == (None, None, 6, 5)
    assert conv.conv2d(core.placeholder(dtypes.float32), w, 1, "SAME").dims == (None, None, None, 5)
    assert pool.avg_pool(x, 2, 2, "VALID").dims == (None, None, 4, 3)
    up = conv.conv2d_transpose(x, w[..., :3], array.stack([array.shape(x)[0], 9, 16, 3]), 2)
    assert up.dims == (None, 9, 16, 3)
    assert conv.conv1d(core.placeholder(dtypes.float32, [None, 7, 3]), w[0], 2, "SAME").dims == (None, 4, 5)
    slope = gradients(conv.conv2d(x, w, 2, "SAME"), x)[0]
    assert slope.dims == (None, None, 8, 3)
    assert softmax.softmax(core.placeholder(dtypes.float32), axis=1).dims is None


def test_convolution_of_what_is_known_in_the_run_only() -> None:
    x, w = core.placeholder(dtypes.float32), core.placeholder(dtypes.float32)
    y = conv.conv2d(x, w, 1, "VALID")
    feeds = {x: np.ones((1, 3, 3, 2), np.float32), w: np.ones((2, 2, 2, 1), np.float32)}
    value, dx, dw = run([y, *gradients(y, [x, w])], feeds)
    np.testing.assert_array_equal(value, np.full((1, 2, 2, 1), 8))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    np.testing.assert_array_equal(dw, np.full((2, 2, 2, 1), 4))


def test_the_window_is_refused_when_the_feed_is_too_small() -> None:
    x = core.placeholder(dtypes.float32, [None, None, None, 1])
    y = conv.conv2d(x, np.ones((3, 3, 1, 1), np.float32), 1, "VALID")
    with pytest.raises(errors.ShapeError, match=r"larger than its input[^$]*height of \[1, 2, 5, 1\][^$]*Conv2D"):
        run(y, {x: np.ones((1, 2, 5, 1), np.float32)})


def test_bfloat16_is_summed_in_single() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = core.constant(np.ones((1, 32, 32, 1), ml_dtypes.bfloat16))
    w = core.constant(np.ones((32, 32, 1, 1), ml_dtypes.bfloat16))
    flat = array.reshape(x, [1, 1024])
    found = run([conv.conv2d(x, w, 1, "VALID"), pool.avg_pool(x, 32, 1, "VALID"), pool.max_pool(x, 2, 2, "SAME"),
                 nn.l2_loss(x), softmax.softmax(flat), nn.bias_add_grad(array.reshape(x, [1024, 1]))])  # fmt: skip
    assert [float(np.ravel(v)[0]) for v in found] == [1024.0, 1.0, 1.0, 512.0, 2.0**-10, 1024.0]
    assert all(v.dtype == ml_dtypes.bfloat16 for v in found)


# -- dropout ---------------------------------------------------------------------------------------------------------


def test_dropout_keeps_its_share_and_its_mean() -> None:
    x = array.ones([200, 100])
    y = run(nn.dropout(x, keep_prob=0.8, seed=1))
    assert set(np.unique(y)) == {0.0, np.float32(1.25)}
    assert abs(y.mean() - 1.0) < 0.02
    assert abs(run(nn.dropout(x, rate=0.9, seed=1)).mean() - 1.0) < 0.1


def test_dropout_is_new_in_each_run_and_the_same_in_the_next_session() -> None:
    y = nn.dropout(array.ones([100]), 0.5, seed=3)
    with Session() as first, Session() as second:
        runs = [first.run(y) for _ in range(3)]
        again = [second.run(y) for _ in range(3)]
    np.testing.assert_array_equal(runs, again)
    assert not np.array_equal(runs[0], runs[1])


def test_the_gradient_of_dropout_goes_through_the_same_mask() -> None:
    x = array.ones([1000])
    y = nn.dropout(x, core.placeholder_with_default(np.float32(0.25), []), seed=3)
    value, slope = run([y, gradients(y, x)[0]])
    np.testing.assert_array_equal(value, slope)
    assert set(np.unique(value)) == {0.0, 4.0}


def test_dropout_by_a_fed_probability_and_by_rows() -> None:
    keep = core.placeholder(dtypes.float32, [])
    x = core.placeholder(dtypes.float64, [None, 6])
    y = nn.dropout(x, keep, noise_shape=[None, 1], seed=5)
    rows = run(y, {keep: 0.5, x: np.ones((64, 6))})
    assert set(np.unique(rows)) == {0.0, 2.0}
    assert (rows == rows[:, :1]).all()
    np.testing.assert_array_equal(run(y, {keep: 1.0, x: np.ones((3, 6))}), np.ones((3, 6)))


# -- embeddings and sampled classes ----------------------------------------------------------------------------------


def test_ids_that_do_not_exist_are_an_error() -> None:
    ids = core.placeholder(dtypes.int32)
    rows = embedding.embedding_lookup(floats([1.0], [2.0]), ids)
    for bad in (2, -1):
        with pytest.raises(errors.InvalidArgumentError, match=str(bad)):
            run(rows, {ids: [0, bad]})


def key(seed: int) -> Any:
    return random.random_uniform([2], maxval=embedding.INT64_MAX, dtype=dtypes.int64, seed=seed)


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
def test_distinct_samples_are_distinct_and_complete(distribution: str) -> None:
    sampled, draws = run(embedding.candidate_sample(key(1), 50, 50, True, distribution))
    assert sorted(sampled) == list(range(50))
    assert draws > 50
    few, draws = run(embedding.candidate_sample(key(2), 3, 10**6, True, distribution))
    assert len(set(few)) == 3
    assert 0 <= few.min() <= few.max() < 10**6
    assert draws >= 3


def test_the_number_of_draws_is_that_up_to_the_last_new_class() -> None:
    classes = [run(embedding.candidate_sample(np.array([7, 7]), n, 20, True, "log_uniform")) for n in range(1, 21)]
    counts = [int(draws) for _, draws in classes]
    assert counts[0] == 1
    assert all(a < b for a, b in itertools.pairwise(counts))
    longest = classes[-1][0]
    for n, (found, _) in enumerate(classes, 1):
        np.testing.assert_array_equal(found, longest[:n])


def test_sampled_classes_follow_the_stated_distribution() -> None:
    sampled, _ = run(embedding.candidate_sample(key(3), 200_000, 5, False, "log_uniform"))
    expected = np.log((np.arange(5) + 2.0) / (np.arange(5) + 1.0)) / np.log(6.0)
    np.testing.assert_allclose(np.bincount(sampled, minlength=5) / 200_000, expected, atol=0.005)


def test_expected_counts_of_distinct_samples_are_right_on_average() -> None:
    found = embedding.log_uniform_candidate_sampler(np.arange(8)[:, None], 1, 3, True, 8, seed=4)
    hits, promised = np.zeros(8), np.zeros(8)
    with Session() as session:
        for _ in range(2000):
            sampled, true_expected, own = session.run(found)
            hits[sampled] += 1
            promised += true_expected[:, 0]
            np.testing.assert_allclose(own, true_expected[sampled, 0], rtol=1e-6)
    np.testing.assert_allclose(hits / 2000, promised / 2000, atol=0.05)


def test_samples_depend_on_seed_and_run_alone() -> None:
    def sampled(seed: int) -> Any:
        return embedding.uniform_candidate_sampler([[1]], 1, 5, True, 1000, seed=seed).sampled_candidates

    first, again, other = sampled(1), sampled(1), sampled(2)
    with Session() as session:
        runs = [session.run([first, other]) for _ in range(2)]
    assert not np.array_equal(runs[0][0], runs[1][0])
    assert not np.array_equal(runs[0][0], runs[0][1])
    np.testing.assert_array_equal(run(again), runs[0][0])


def test_a_word_model_learns_by_noise_contrast() -> None:
    rng = np.random.default_rng(0)
    table, biases = rng.standard_normal((20, 8)).astype(np.float32), np.zeros(20, np.float32)
    weights = core.constant(table)
    labels = np.arange(10)[:, None]
    inputs = core.constant(table[:10] * 2.0)
    wrong = core.constant(-table[:10] * 2.0)
    losses = [embedding.nce_loss(weights, biases, labels, x, 5, 20) for x in (inputs, wrong)]
    right, bad = run(losses)
    assert right.shape == (10,)
    assert right.mean() < bad.mean()
    slope = run(gradients(losses[0], inputs)[0])
    assert slope.shape == (10, 8)
    assert np.isfinite(slope).all()
