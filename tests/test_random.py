"""What random ops draw: reproducible streams, independent ops, distributions, gradients of scale and offset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.gradients import gradients
from graphflow.ops import compare, control, core, random

DRAWS: dict[str, Callable[..., Any]] = {
    "uniform": lambda **k: random.random_uniform([50], **k),
    "integers": lambda **k: random.random_uniform([50], 0, 1000, tf.int32, **k),
    "normal": lambda **k: random.random_normal([50], **k),
    "truncated": lambda **k: random.truncated_normal([50], **k),
    "gamma": lambda **k: random.random_gamma([50], 2.0, **k),
    "poisson": lambda **k: random.random_poisson(30.0, [50], **k),
    "multinomial": lambda **k: random.multinomial(np.zeros((1, 100), np.float32), 50, **k),
    "shuffle": lambda **k: random.random_shuffle(np.arange(50), **k),
    "bernoulli": lambda **k: random.bernoulli([50], 0.5, **k),
    "orthogonal": lambda **k: random.random_orthogonal(5, 4, **k),
    # So many places that no two crops are the same; sessions without a seed draw fixed numbers in tests (conftest).
    "crop": lambda **k: random.random_crop(np.arange(1 << 20), [50], **k),
}


def runs(build: Callable[[], Any], count: int = 2, graph_seed: int | None = None) -> list[Any]:
    """What `count` runs of a fresh session on a fresh graph give."""
    with tf.Graph().as_default():
        if graph_seed is not None:
            random.set_random_seed(graph_seed)
        fetches = build()
        with tf.Session() as session:
            return [session.run(fetches) for _ in range(count)]


def same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
class TestStreams:
    def test_a_session_draws_anew_in_each_run(self, draw: Callable[..., Any]) -> None:
        first, second = runs(lambda: draw(seed=1))
        assert not same(first, second)

    def test_sessions_with_equal_seeds_draw_the_same(self, draw: Callable[..., Any]) -> None:
        for graph_seed, op_seed in ((None, 1), (2, 1), (2, None)):
            one, two = (runs(lambda s=op_seed: draw(seed=s), graph_seed=graph_seed) for _ in range(2))
            assert same(one[0], two[0]) and same(one[1], two[1]), (graph_seed, op_seed)

    def test_both_seeds_count(self, draw: Callable[..., Any]) -> None:
        found = [runs(lambda s=s: draw(seed=s), 1, g)[0] for g, s in ((1, 1), (1, 2), (2, 1), (1, None), (2, None))]
        assert not any(same(a, b) for i, a in enumerate(found) for b in found[:i])

    def test_without_a_seed_sessions_differ(self, draw: Callable[..., Any]) -> None:
        with tf.Graph().as_default():
            tensor = draw()
            with tf.Session() as one, tf.Session() as two:
                assert not same(one.run(tensor), two.run(tensor))

    def test_ops_without_a_seed_differ(self, draw: Callable[..., Any]) -> None:
        for graph_seed in (None, 1):
            first, second = runs(lambda: [draw(), draw()], 1, graph_seed)[0]
            assert not same(first, second)

    def test_one_draw_in_one_run(self, draw: Callable[..., Any]) -> None:
        def build() -> Any:
            x = draw()
            return [x, core.identity(x), x]

        a, b, c = runs(build, 1)[0]
        assert same(a, b) and same(a, c)

    def test_optimisation_changes_nothing(self, draw: Callable[..., Any]) -> None:
        with tf.Graph().as_default():
            tensor = draw(seed=1)
            found = []
            for level in (0, 1):
                with tf.Session(optimization_level=level) as session:
                    found.append(session.run(tensor))
        assert same(*found)

    def test_each_iteration_draws_anew(self, draw: Callable[..., Any]) -> None:
        def build() -> Any:
            first = draw(seed=1)
            last = control.while_loop(
                lambda i, a, b: compare.less(i, 3),
                lambda i, a, b: (i + 1, b, draw(seed=1)),
                [0, core.identity(first), core.identity(first)],
            )
            return [first, *last[1:]]

        one, two = runs(build, 1)[0], runs(build, 1)[0]
        assert not any(same(a, b) for i, a in enumerate(one) for b in one[:i])
        assert all(same(a, b) for a, b in zip(one, two, strict=True))


class TestSeeds:
    def test_get_seed(self) -> None:
        assert random.get_seed(None) == (None, None)
        assert random.get_seed(5) == (random.DEFAULT_GRAPH_SEED, 5)
        random.set_random_seed(7)
        assert random.get_seed(5) == (7, 5)
        assert random.get_seed(None)[0] == 7
        random.set_random_seed(None)
        assert random.get_seed(None) == (None, None)

    def test_other_ops_do_not_move_the_stream(self) -> None:
        def plain() -> Any:
            return random.random_uniform([3])

        def with_others() -> Any:
            core.constant(1.0)
            random.random_uniform([3], seed=8)
            return random.random_uniform([3])

        assert same(runs(plain, 1, 1)[0], runs(with_others, 1, 1)[0])

    def test_branches_and_their_surroundings_differ(self) -> None:
        def build() -> Any:
            outside = random.random_uniform([5])
            inside = control.cond(
                core.placeholder_with_default(True, []), lambda: random.random_uniform([5]), lambda: outside
            )
            return [outside, inside]

        outside, inside = runs(build, 1, 1)[0]
        assert not same(outside, inside)

    def test_the_seed_is_that_of_the_outermost_graph(self) -> None:
        def body(i: Any) -> Any:
            random.set_random_seed(4)
            return i + 1

        control.while_loop(lambda i: compare.less(i, 3), body, [0])
        assert tf.get_default_graph().seed == 4

    @pytest.mark.parametrize("seed", [0, -1, 2**31, 2**63, 2**100, np.int64(5)])
    def test_any_integer_is_a_seed(self, seed: Any) -> None:
        found = runs(lambda: random.random_uniform([3], seed=seed), 1, 1)[0]
        assert same(found, runs(lambda: random.random_uniform([3], seed=seed), 1, 1)[0])

    @pytest.mark.parametrize("seed", [1.5, "a", [1]])
    def test_nothing_else_is(self, seed: Any) -> None:
        with pytest.raises(tf.errors.DTypeError, match="graph seed is an integer"):
            random.set_random_seed(seed)
        with pytest.raises(tf.errors.DTypeError, match="op seed is an integer"):
            random.random_uniform([1], seed=seed)

    def test_callables_count_as_runs(self) -> None:
        tensor = random.random_uniform([3], seed=1)
        with tf.Session() as one, tf.Session() as two:
            draw = one.make_callable(tensor)
            found = [draw(), one.run(tensor), draw()]
            assert all(same(a, two.run(tensor)) for a in found)


N = 40_000


def sample(build: Callable[[], Any]) -> np.ndarray[Any, Any]:
    return np.asarray(runs(build, 1, 1)[0])


class TestDistributions:
    """Five standard errors, with a fixed seed: these cannot flicker."""

    @pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.float64])
    def test_uniform(self, dtype: Any) -> None:
        x = sample(lambda: random.random_uniform([N], dtype=dtype))
        assert x.dtype == dtype.np and x.min() >= 0 and x.max() < 1
        wide = x.astype(np.float64)
        assert wide.mean() == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / N))
        assert np.histogram(wide, 10, (0, 1))[0] == pytest.approx(N / 10, abs=5 * np.sqrt(N * 0.09))

    def test_uniform_in_a_range(self) -> None:
        x = sample(lambda: random.random_uniform([N], -3.0, 5.0))
        assert -3 <= x.min() < -2.99 and 4.99 < x.max() <= 5

    def test_integers(self) -> None:
        x = sample(lambda: random.random_uniform([N], -2, 8, tf.int64))
        assert x.dtype == np.int64
        assert np.bincount(x + 2, minlength=10) == pytest.approx(N / 10, abs=5 * np.sqrt(N * 0.09))
        assert x.min() == -2 and x.max() == 7

    def test_integers_of_the_whole_range(self) -> None:
        info = np.iinfo(np.int32)
        x = sample(lambda: random.random_uniform([N], info.min, info.max, tf.int32)).astype(np.float64)
        assert abs(x.mean()) < 5 * 2**32 / np.sqrt(12 * N)

    @pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.float64])
    def test_normal(self, dtype: Any) -> None:
        x = sample(lambda: random.random_normal([N], 1.0, 2.0, dtype))
        assert x.dtype == dtype.np
        z = (x.astype(np.float64) - 1) / 2
        assert z.mean() == pytest.approx(0, abs=5 / np.sqrt(N))
        assert (z**2).mean() == pytest.approx(1, abs=5 * np.sqrt(2 / N))
        assert (z**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / N))

    def test_parameters_broadcast(self) -> None:
        x = sample(lambda: random.random_normal([N, 2], [0.0, 10.0], [1.0, 0.1]))
        assert x.mean(axis=0) == pytest.approx([0, 10], abs=5 / np.sqrt(N))
        assert x.std(axis=0) == pytest.approx([1, 0.1], rel=0.05)

    def test_truncated_normal(self) -> None:
        x = sample(lambda: random.truncated_normal([N], 1.0, 2.0))
        assert -3 <= x.min() < -2.9 and 4.9 < x.max() <= 5
        assert x.std() == pytest.approx(2 * 0.8796, rel=0.02)

    def test_gamma(self) -> None:
        x = sample(lambda: random.random_gamma([N], [0.5, 4.0], [[2.0], [1.0]]))
        assert x.shape == (N, 2, 2) and x.min() > 0
        assert x.mean(axis=0) == pytest.approx(np.array([[0.25, 2.0], [0.5, 4.0]]), rel=0.04)
        assert x.var(axis=0) == pytest.approx(np.array([[0.125, 1.0], [0.5, 4.0]]), rel=0.1)

    @pytest.mark.parametrize("dtype", [tf.float32, tf.int32, tf.int64])
    def test_poisson(self, dtype: Any) -> None:
        x = sample(lambda: random.random_poisson([0.0, 2.5, 70.0], [N], dtype))
        assert x.dtype == dtype.np and x.shape == (N, 3)
        assert x.mean(axis=0) == pytest.approx([0, 2.5, 70], abs=5 * np.sqrt(70 / N))
        assert x.var(axis=0) == pytest.approx([0, 2.5, 70], rel=0.05)

    def test_multinomial(self) -> None:
        odds = np.array([[0.1, 0.2, 0.7], [1.0, 0.0, 0.0]])
        with np.errstate(divide="ignore"):
            logits = np.log(odds).astype(np.float32)
        x = sample(lambda: random.multinomial(logits, N))
        assert x.dtype == np.int64 and x.shape == (2, N)
        assert np.bincount(x[0]) / N == pytest.approx(odds[0], abs=0.015)
        assert not x[1].any()
        assert sample(lambda: random.categorical(logits, 3, tf.int32)).dtype == np.int32

    def test_bernoulli(self) -> None:
        x = sample(lambda: random.bernoulli([N, 3], [0.0, 0.3, 1.0]))
        assert x.dtype == np.bool_
        assert x.mean(axis=0) == pytest.approx([0, 0.3, 1], abs=5 * np.sqrt(0.21 / N))

    def test_shuffle(self) -> None:
        orders = runs(lambda: random.random_shuffle(np.arange(4)), 2400, 1)
        counts = np.unique([int("".join(map(str, o))) for o in orders], return_counts=True)[1]
        assert len(counts) == 24 and counts == pytest.approx(100, abs=50)

    def test_shuffle_moves_whole_rows(self) -> None:
        table = np.arange(60).reshape(20, 3)
        x = sample(lambda: random.random_shuffle(table))
        assert not same(x, table) and same(x[np.argsort(x[:, 0])], table)

    def test_crop(self) -> None:
        table = np.arange(20).reshape(4, 5)
        starts = {int(x[0, 0]) for x in runs(lambda: random.random_crop(table, [3, 3]), 100, 1)}
        assert starts == {0, 1, 2, 5, 6, 7}
        assert same(sample(lambda: random.random_crop(table, [4, 5])), table)

    def test_orthogonal(self) -> None:
        q = np.stack(runs(lambda: random.random_orthogonal(2, 2, tf.float64), 2000, 1))
        assert np.allclose(q @ q.transpose(0, 2, 1), np.eye(2))
        assert q.mean(axis=0) == pytest.approx(np.zeros((2, 2)), abs=5 * np.sqrt(0.5 / 2000))
        assert np.linalg.det(q).mean() == pytest.approx(0, abs=5 / np.sqrt(2000))

    def test_ops_are_not_correlated(self) -> None:
        a, b = runs(lambda: [random.random_normal([N]), random.random_normal([N])], 1, 1)[0]
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(N)


class TestGraphs:
    def test_names(self) -> None:
        assert random.random_uniform([1]).name == "random_uniform:0"
        assert random.random_normal([1], 2.0).name == "random_normal:0"
        assert random.truncated_normal([1], name="init").name == "init:0"
        assert random.multinomial([[0.0]], 1).name == "multinomial:0"

    def test_shapes(self) -> None:
        x = core.placeholder(tf.float32, [None, 3])
        from graphflow.ops import array

        assert random.random_normal(array.shape(x)).shape.as_list() == [None, 3]
        assert random.random_normal([array.shape(x)[0], 2]).shape.as_list() == [None, 2]
        assert random.random_uniform(tf.TensorShape([2, 3])).shape.as_list() == [2, 3]
        assert random.random_uniform([]).shape.as_list() == []
        assert random.random_uniform(core.placeholder(tf.int32, [2])).shape.as_list() == [None, None]
        assert random.random_uniform(core.placeholder(tf.int32, None)).shape.ndims is None
        assert random.random_gamma([4], [1.0, 2.0]).shape.as_list() == [4, 2]

    def test_gradients_of_scale_and_offset(self) -> None:
        mean, stddev = core.constant([1.0, 2.0]), core.constant([0.5, 3.0])
        x = random.random_normal([6, 2], mean, stddev)
        found, by_mean, by_stddev = runs_of([x, *gradients(x, [mean, stddev])])
        assert by_mean.tolist() == [6.0, 6.0]
        assert np.allclose(by_stddev, ((found - [1.0, 2.0]) / [0.5, 3.0]).sum(axis=0), rtol=1e-4)
        low, high = core.constant(1.0), core.constant(3.0)
        y = random.random_uniform([5], low, high)
        found, by_low, by_high = runs_of([y, *gradients(y, [low, high])])
        unit = (found - 1.0) / 2.0
        assert np.allclose([by_low, by_high], [(1 - unit).sum(), unit.sum()], rtol=1e-5)

    def test_gradient_of_a_rate(self) -> None:
        beta = core.constant(2.0)
        x = random.random_gamma([5], 3.0, beta)
        found, slope = runs_of([x, *gradients(x, [beta])])
        assert slope == pytest.approx(-found.sum() / 2.0, rel=1e-5)

    def test_gradient_of_a_crop(self) -> None:
        image = core.constant(np.zeros((4, 4), np.float32))
        cropped = random.random_crop(image, [2, 3])
        assert runs_of(gradients(cropped, [image]))[0].sum() == 6.0

    def test_random_ops_are_neither_merged_nor_folded(self) -> None:
        a, b = random.random_uniform([3], seed=1), random.random_uniform([3], seed=1)
        with tf.Session() as session:
            program = session.program([a, b])
        assert sum(ins.type == "RandomUniform" for ins in program.instructions) == 2
        assert same(*runs_of([a, b]))


def runs_of(fetches: Any) -> Any:
    with tf.Session() as session:
        return session.run(fetches)
