"""Clusters of small units, and list scheduling: tasks on paper."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from graphflow.compile import clusters, ordering
from graphflow.compile.clusters import Dag

# -- clusters --------------------------------------------------------------------------------------------------------


def random_dag(rng: random.Random, count: int) -> Dag:
    before = [set(rng.sample(range(n), min(n, rng.choice((0, 1, 1, 2, 3))))) for n in range(count)]
    seconds = [rng.choice((1e-6, 1e-5, 5e-5, 3e-4)) for _ in range(count)]
    return Dag([1e-6] * count, seconds, before, [[n] for n in range(count)])


def reachable(before: Sequence[set[int]]) -> list[set[int]]:
    out: list[set[int]] = []
    for earlier in before:
        out.append(set(earlier).union(*[out[n] for n in earlier]))
    return out


@pytest.mark.parametrize("merge", [clusters.absorb, clusters.prepend, clusters.gather, None])
def test_merging_keeps_every_dependency_and_makes_no_circle(merge):
    for seed in range(150):
        rng = random.Random(seed)
        dag = random_dag(rng, rng.randrange(1, 60))
        small = clusters.coarsened(dag) if merge is None else clusters.contract(dag, merge(dag))
        place = {unit: n for n, members in enumerate(small.members) for unit in members}
        assert sorted(place) == list(range(len(dag.before))), f"seed={seed}"
        assert all(other < n for n, earlier in enumerate(small.before) for other in earlier), f"seed={seed}"
        far = reachable(small.before)
        for unit, earlier in enumerate(dag.before):
            for other in earlier:
                assert place[other] == place[unit] or place[other] in far[place[unit]], f"seed={seed}"
        for members in small.members:
            for i, unit in enumerate(members):
                assert not dag.before[unit] & set(members[i + 1 :]), f"seed={seed}: members in a wrong order"
        assert sum(small.free) == pytest.approx(sum(dag.free))
        assert sum(small.python) == pytest.approx(sum(dag.python))


def test_chains_merge_up_to_a_length_that_can_be_waited_for():
    dag = Dag([0.0] * 100, [1e-4] * 100, [set()] + [{n} for n in range(99)], [[n] for n in range(100)])
    small = clusters.coarsened(dag)
    assert 1.0 <= len(small.before) * clusters.LONGEST / 1e-2 <= 1.3
    assert max(small.seconds(n) for n in range(len(small.before))) <= clusters.LONGEST * 1.001


def test_crumbs_are_gathered():
    dag = Dag([1e-6] * 200, [1e-6] * 200, [set() for _ in range(200)], [[n] for n in range(200)])
    assert len(clusters.coarsened(dag).before) <= 4


def test_heavy_followers_of_a_light_unit_are_kept_apart():
    dag = Dag([0.0] * 5, [1e-6, *[5e-4] * 4], [set(), *[{0} for _ in range(4)]], [[n] for n in range(5)])
    assert len(clusters.coarsened(dag).before) == 5


def test_very_large_graphs_are_joined_into_blocks():
    count = 50_000
    dag = Dag(
        [0.0] * count, [1e-5] * count, [{n - 7} if n > 6 else set() for n in range(count)], [[n] for n in range(count)]
    )
    small = clusters.blocks(dag, 1000)
    assert 900 <= len(small.before) <= 1001
    assert [unit for members in small.members for unit in members] == list(range(count))


# -- list scheduling -------------------------------------------------------------------------------------------------


def test_simulated_runs_keep_dependencies_and_bounds():
    for seed in range(150):
        rng = random.Random(seed)
        dag = random_dag(rng, rng.randrange(1, 50))
        count = len(dag.before)
        workers = rng.randrange(1, 5)
        plan = ordering.simulate(dag, workers, 0.0, [rng.uniform(-1, 1) for _ in range(count)])
        assert sorted(plan.order) == list(range(count)), f"seed={seed}"
        for n, earlier in enumerate(dag.before):
            for other in earlier:
                assert plan.start[n] >= plan.start[other] + dag.seconds(other) - 1e-12, f"seed={seed}"
        events = sorted(
            itertools.chain.from_iterable(
                [(plan.start[n], 1), (plan.start[n] + dag.seconds(n), -1)] for n in range(count)
            ),
            key=lambda e: (round(e[0], 12), e[1]),
        )
        busy = list(itertools.accumulate(step for _, step in events))
        assert max(busy) <= workers, f"seed={seed}"
        work = sum(dag.free) + sum(dag.python)
        longest = [dag.seconds(n) for n in range(count)]
        for n in range(count):
            longest[n] += max((longest[o] for o in dag.before[n]), default=0.0)
        assert max(work / workers, *longest) - 1e-12 <= plan.seconds <= work / workers + max(longest) + 1e-12, seed


def test_the_critical_path_goes_first():
    """A long chain beside many independent tasks: begun late, it would be alone at the end."""
    before: list[set[int]] = [set() for _ in range(10)] + [set()] + [{10 + n} for n in range(9)]
    dag = Dag([0.0] * 20, [1e-3] * 20, before, [[n] for n in range(20)])
    plan = ordering.simulate(dag, 2, 0.0, [0.0] * 20)
    assert plan.seconds == pytest.approx(10e-3)


def test_between_equals_memory_decides():
    dag = Dag([0.0] * 8, [1e-3] * 8, [set(), set(), set(), set(), {0}, {1}, {2}, {3}], [[n] for n in range(8)])
    plan = ordering.simulate(dag, 1, 0.0, [9.0] * 4 + [-9.0] * 4)
    alive = list(
        itertools.accumulate([9.0] * 4 + [-9.0] * 4 if n < 0 else (9.0 if n < 4 else -9.0) for n in plan.order)
    )
    assert max(alive) == 9.0


def test_a_sleeping_worker_has_to_be_woken():
    dag = Dag([0.0] * 2, [1e-3] * 2, [set(), set()], [[0], [1]])
    assert ordering.simulate(dag, 2, 5e-4, [0.0, 0.0]).seconds == pytest.approx(1.5e-3)
