"""The state machine of a run, on a museum of awkward graphs and on random ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from graphflow.program import Task
from graphflow.runtime import states


def tasks_of(before: Sequence[Sequence[int]], priority: Sequence[float] | None = None) -> list[Task]:
    """Tasks that wait for those; the priority is the number of tasks on the longest way to the end if none is given."""
    longest = [1.0] * len(before)
    for number in reversed(range(len(before))):
        for earlier in before[number]:
            longest[earlier] = max(longest[earlier], longest[number] + 1)
    urgency = longest if priority is None else priority
    return [Task(n, n + 1, 1e-4, urgency[n], tuple(b)) for n, b in enumerate(before)]


def chain(n: int) -> list[list[int]]:
    return [[i - 1] if i else [] for i in range(n)]


def fan(n: int) -> list[list[int]]:
    """One task, n that wait for it, one that waits for all of them."""
    return [[], *[[0] for _ in range(n)], list(range(1, n + 1))]


def bipartite(n: int) -> list[list[int]]:
    """Everything in the second row waits for everything in the first."""
    return [[] for _ in range(n)] + [list(range(n)) for _ in range(n)]


def diamonds(n: int) -> list[list[int]]:
    out: list[list[int]] = [[]]
    for _ in range(n):
        top = len(out) - 1
        out += [[top], [top], [top + 1, top + 2]]
    return out


def random_graph(rng: random.Random, n: int) -> list[list[int]]:
    return [rng.sample(range(i), min(i, rng.choice((0, 1, 1, 2, 3)))) for i in range(n)]


MUSEUM = {
    "nothing": [],
    "one": [[]],
    "independent": [[] for _ in range(7)],
    "chain": chain(9),
    "two chains": [[], [], [0], [1], [2], [3]],
    "fan": fan(6),
    "in": [[], [], [], [0, 1, 2]],
    "out": [[], [0], [0], [0]],
    "bipartite": bipartite(4),
    "diamonds": diamonds(3),
    "long and short": [[], [0], [1], [2], [3], [], [4, 5]],
    "an edge twice": [[], [0, 0], [1, 0, 1]],
    "a shortcut": [[], [0], [1], [0, 2]],
    "crossed": [[], [], [0, 1], [0, 1], [2], [3], [4, 5], [2, 6]],
}


def check_run(before: Sequence[Sequence[int]], rng: random.Random, seed: object) -> list[int]:
    """Run with as many tasks at once as chance wants; every invariant at every step."""
    state = states.start_state(states.task_graph(tasks_of(before)))
    order = []
    while not states.is_over(state):
        states.check_invariants(state)
        if state.ready and (not state.running or rng.random() < 0.5):
            task = states.take(state, rng.choice)
            assert all(b in order for b in before[task]), f"seed={seed}: {task} was too early"
        else:
            task = rng.choice(sorted(state.running))
            states.finish(state, task)
            order.append(task)
    states.check_invariants(state)
    assert sorted(order) == list(range(len(before))), f"seed={seed}"
    assert state.released == set(order), f"seed={seed}"
    return order


@pytest.mark.parametrize("name", MUSEUM)
def test_every_piece_of_the_museum_runs_to_its_end_in_many_orders(name):
    orders = {tuple(check_run(MUSEUM[name], random.Random(seed), seed)) for seed in range(30)}
    if name in ("independent", "bipartite", "crossed"):
        assert len(orders) > 1, "chance had a choice and made none"


def test_random_graphs_run_to_their_end():
    for seed in range(200):
        rng = random.Random(seed)
        check_run(random_graph(rng, rng.randrange(1, 40)), rng, seed)


def test_all_orders_of_small_graphs_can_be_reached_and_no_other():
    for seed in range(40):
        rng = random.Random(seed)
        before = random_graph(rng, rng.randrange(1, 7))
        legal = {
            order
            for order in itertools.permutations(range(len(before)))
            if all(order.index(b) < order.index(n) for n in order for b in before[n])
        }
        graph = states.task_graph(tasks_of(before))
        reached, stack = set(), [()]
        while stack:
            prefix = stack.pop()
            state = states.start_state(graph)
            for task in prefix:
                states.finish(state, states.take(state, lambda ready, task=task: task))
            if states.is_over(state):
                reached.add(prefix)
            stack += [(*prefix, task) for task in state.ready]
        assert reached == legal, f"seed={seed}"


def test_the_longest_way_goes_first_and_program_order_decides_between_equals():
    state = states.start_state(states.task_graph(tasks_of([[], [], [], [1]])))
    assert [states.take(state) for _ in range(3)] == [1, 0, 2]
    state = states.start_state(states.task_graph(tasks_of([[], [], []], [1.0, 5.0, 3.0])))
    assert state.ready == [0, 2, 1]
    assert [states.take(state) for _ in range(3)] == [1, 2, 0]


def test_what_becomes_ready_takes_its_place_by_urgency():
    state = states.start_state(states.task_graph(tasks_of([[], [], [0], [0]], [9.0, 4.0, 5.0, 3.0])))
    states.finish(state, states.take(state))
    assert state.ready == [3, 1, 2]


def test_a_task_is_released_with_its_last_reader():
    state = states.start_state(states.task_graph(tasks_of([[], [0], [0]])))
    states.finish(state, states.take(state))
    assert (state.finished, state.released) == ({0}, set())
    states.finish(state, states.take(state, lambda ready: 1))
    assert (state.finished, state.released) == ({0}, {1})
    states.finish(state, states.take(state))
    assert (state.finished, state.released) == (set(), {0, 1, 2})


def test_nothing_that_waits_for_a_failed_task_becomes_ready():
    state = states.start_state(states.task_graph(tasks_of([[], [0], [], [2]])))
    states.fail(state, states.take(state, lambda ready: 0))
    states.check_invariants(state)
    states.finish(state, states.take(state))
    assert state.ready == [3]
    states.finish(state, states.take(state))
    states.check_invariants(state)
    assert set(state.waiting) == {1}
    assert not states.is_over(state)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.ready.append(1),
        lambda s: s.ready.clear(),
        lambda s: s.waiting.update({1: 2}),
        lambda s: s.running.add(0),
        lambda s: s.unread.__setitem__(0, 5),
        lambda s: (s.ready.remove(0), s.released.add(0)),
        lambda s: s.ready.reverse(),
    ],
)
def test_the_invariants_notice(spoil):
    state = states.start_state(states.task_graph(tasks_of([[], [0], []])))
    states.check_invariants(state)
    spoil(state)
    with pytest.raises(AssertionError, match="State"):
        states.check_invariants(state)


def test_a_long_chain_needs_no_stack_and_linear_time():
    state = states.start_state(states.task_graph(tasks_of(chain(100_000))))
    while not states.is_over(state):
        states.finish(state, states.take(state))
    assert len(state.released) == 100_000
