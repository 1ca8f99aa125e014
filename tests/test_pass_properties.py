"""Any subset of the passes, in any order that their table allows, gives the same bits at O1; and Programs stay sound.

GRAPHFLOW_RANDOM_GRAPHS and GRAPHFLOW_SEED as in test_random_graphs.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest

import graphflow as tf
from graphflow.compile import pipeline
from graphflow.compile.pipeline import PASSES, TABLE, Options
from graphflow.program import Program
from graphflow.testing import Recipe, Way, build, disagreement, random_recipe, shrink
from graphflow.testing.differential import outcomes


@pytest.fixture(autouse=True)
def _small_values_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """These graphs are small, and a plan without values proves nothing."""
    monkeypatch.setattr(pipeline, "SMALLEST_TAKEN", 0)


GRAPHS = int(os.environ.get("GRAPHFLOW_RANDOM_GRAPHS", "500"))
FIRST_SEED = int(os.environ.get("GRAPHFLOW_SEED", "0")) + 100_000  # other graphs than those of test_random_graphs
PARTS = 5
FOLLOWS = {row.name: set(row.follows) for row in TABLE}


def random_order(rng: random.Random) -> tuple[str, ...]:
    """Some of the passes, in an order that their table allows."""
    left = [name for name in PASSES if rng.random() < 0.7]
    order: list[str] = []
    while left:
        order.append(rng.choice([name for name in left if not FOLLOWS[name] & set(left) - {name}]))
        left.remove(order[-1])
    return tuple(order)


def legal_orders(chosen: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for order in itertools.permutations(chosen):
        if all(not FOLLOWS[name] & set(order[place + 1 :]) for place, name in enumerate(order)):
            yield order


def sound(program: Program) -> Program:
    """The Program, if all that a backend relies on holds."""
    known, done = set(program.feeds) | set(program.constants), set()
    keys = {ins.key for ins in program.instructions}
    assert len(keys) == len(program.instructions), "two instructions have one key"
    for ins in program.instructions:
        assert set(ins.inputs) <= known, f"{ins.op.name} reads what is not there yet"
        assert set(ins.after) & keys <= done, f"{ins.op.name} does not wait"
        made = [v for v in ins.outputs if v >= 0]
        assert not known & set(made), f"{ins.op.name} makes a value again"
        known |= set(made)
        done.add(ins.key)
    assert set(program.fetches) <= known and known <= set(range(len(program.values)))
    end = 0
    for group in program.groups:
        assert end <= group.begin < group.end <= len(program.instructions)
        end = group.end
        inside = {v for ins in program.instructions[group.begin : group.end] for v in ins.outputs}
        outside = [*program.instructions[: group.begin], *program.instructions[group.end :]]
        read = {v for ins in outside for v in ins.inputs} | set(program.fetches)
        assert inside & read <= set(group.outputs) <= inside, "a group's outputs are what others read of it"
    if program.schedule is not None and program.schedule.tasks:
        check_schedule(program)
    return program


def check_schedule(program: Program) -> None:
    """Tasks cut the instructions into stretches, and wait for whatever they need."""
    assert program.schedule is not None
    tasks = program.schedule.tasks
    assert [t.begin for t in tasks] == [0, *(t.end for t in tasks)][: len(tasks)]
    assert tasks[-1].end == len(program.instructions)
    task_of = {i: n for n, task in enumerate(tasks) for i in range(task.begin, task.end)}
    maker = {v: task_of[i] for i, ins in enumerate(program.instructions) for v in ins.outputs if v >= 0}
    by_key = {ins.key: task_of[i] for i, ins in enumerate(program.instructions)}
    above: list[set[int]] = []
    for number, task in enumerate(tasks):
        assert all(b < number for b in task.before)
        above.append(set(task.before).union(*(above[b] for b in task.before)))
        for ins in program.instructions[task.begin : task.end]:
            needs = {maker[v] for v in ins.inputs if v in maker} | {by_key[k] for k in ins.after if k in by_key}
            assert needs <= above[number] | {number}, f"task {number} does not wait for {needs}"


def guilty(recipe: Recipe, way: Way) -> str:
    """Which passes are to blame: without any one of them all is well."""
    used = way.order if way.order is not None else PASSES
    found = [n for n in used if disagreement(recipe, tf, [Way(order=tuple(p for p in used if p != n))]) is None]
    return f"right without any of: {', '.join(found)}" if found else "no single pass is to blame"


def fail_if_different(recipe: Recipe, ways: list[Way]) -> None:
    if disagreement(recipe, tf, ways) is None:
        return
    way = next(w for w in ways if disagreement(recipe, tf, [w]) is not None)
    small = shrink(recipe, tf, lambda r: disagreement(r, tf, [way]) is not None, trials=400)
    pytest.fail(f"seed {recipe.seed}: {disagreement(small, tf, [way])}\n{guilty(small, way)}\n{small}")


@pytest.mark.parametrize("part", range(PARTS))
def test_any_subset_of_passes_in_any_legal_order_gives_the_same_bits(part: int) -> None:
    for seed in range(FIRST_SEED + part, FIRST_SEED + GRAPHS // 4, PARTS):
        rng = random.Random(seed)
        ways = [Way(order=random_order(rng), rewrite=sound) for _ in range(4)]
        fail_if_different(random_recipe(seed, tf), ways)


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_alone_and_all_but_it(name: str) -> None:
    ways = [Way(order=(name,), rewrite=sound), Way(disabled=(name,), rewrite=sound)]
    for seed in range(FIRST_SEED + 50_000, FIRST_SEED + 50_000 + max(GRAPHS // 20, 5)):
        fail_if_different(random_recipe(seed, tf), ways)


def test_every_subset_in_every_legal_order() -> None:
    """All of them for a few graphs; where the table has grown, as many as a sample."""
    subsets = [chosen for count in range(len(PASSES) + 1) for chosen in itertools.combinations(PASSES, count)]
    if len(PASSES) <= 5:
        orders = [order for chosen in subsets for order in legal_orders(chosen)]
    else:
        rng = random.Random(FIRST_SEED)
        orders = list({random_order(rng) for _ in range(200)})
    assert len(orders) >= 16
    for order in orders:
        Options(order=order)  # is legal
    for seed in range(FIRST_SEED + 90_000, FIRST_SEED + 90_003):
        fail_if_different(random_recipe(seed, tf), [Way(order=order, rewrite=sound) for order in orders])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_programs_are_sound_at_every_level(level: int) -> None:
    """Order, groups and tasks hold what they promise, for one worker and for many."""
    for seed in range(FIRST_SEED + 70_000, FIRST_SEED + 70_000 + max(GRAPHS // 10, 5)):
        recipe = random_recipe(seed, tf)
        for workers in (1, 4):
            outcomes(recipe, build(recipe, tf), Way(level=level, workers=workers, rewrite=sound), 1)


def test_unsound_programs_are_noticed() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.tanh(tf.square(x))
    program = tf.Session(optimization_level=0).program(y, {x: np.zeros(2)})
    first, second = program.instructions
    assert sound(program) is program
    for wrong in ((second, first), (first, second, second), (first, second._replace(after=(second.key,)))):
        with pytest.raises(AssertionError):
            sound(Program(wrong, program.values, program.constants, program.feeds, program.fetches))
