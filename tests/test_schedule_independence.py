"""The order in which independent instructions run, and on how many threads, changes no bit of results or variables.

GRAPHFLOW_RANDOM_GRAPHS=2000 takes all the graphs and schedules that the project promises: all orders of 200 graphs of
at most 8 units, 2,000 random orders of graphs of about 50.  GRAPHFLOW_SEED is the first seed.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import graphflow_numpy.execution
import graphflow_numpy.parallel
import numpy as np
import pytest

import graphflow as tf
from graphflow.backend import Run
from graphflow.compile import clusters, pipeline, schedule
from graphflow.compile.pipeline import PASSES
from graphflow.errors import Error
from graphflow.program import Program
from graphflow.runtime import drivers
from graphflow.testing import Recipe, Way, build, disagreement, random_recipe, shrink
from graphflow.testing.differential import REFERENCE, Outcome, difference, outcomes, session_of
from graphflow.testing.recipes import Built
from graphflow.testing.reordering import random_order, reordered, topological_orders, units_and_edges


@pytest.fixture(autouse=True)
def _small_values_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """These graphs are small, and a plan without values proves nothing."""
    monkeypatch.setattr(pipeline, "SMALLEST_TAKEN", 0)


SHARE = int(os.environ.get("GRAPHFLOW_RANDOM_GRAPHS", "500")) / 2000
FIRST_SEED = int(os.environ.get("GRAPHFLOW_SEED", "0")) + 200_000
POSITIONS = tuple(
    name for name in ("fuse", "schedule", "memory") if name in PASSES
)  # passes whose results are positions
MOST_ORDERS = 5000 if SHARE >= 1 else 200  # of one graph: a graph of 8 independent ops has 40,320
PARTS = 4


class Bench:
    """A graph, and its results when one Program of it is executed."""

    def __init__(self, recipe: Recipe, level: int) -> None:
        self.built: Built = build(recipe, tf)
        self.session = session_of(self.built.graph, Way(level=level, disabled=POSITIONS))
        with self.built.graph.as_default():
            self.session.run(self.built.init)
            feed = {self.built.element(ref): data for ref, data in recipe.feed(0).items()}
            self.program = self.session.program(self.built.fetches, feed)
            entry = self.session._prepare(self.built.fetches, feed)
            self.feeds = [convert(v) for convert, v in zip(entry.converters, feed.values(), strict=True)]

    def results(self, program: Program) -> Outcome:
        """One run from the initial state."""
        session = self.session
        with self.built.graph.as_default():
            session.run(self.built.init)
            try:
                values = session._backend.compile(program, session)(self.feeds, Run(7, 7))
            except Error as error:
                return Outcome(error=(type(error).__name__, error.op_name))
            cells = [session.cell(v.op) for v in self.built.variables]
            return Outcome(tuple(values), tuple(cell.snapshot() for cell in cells))


def benches(part: int, count: int, sizes: range, **recipe: Any) -> Iterator[tuple[int, Bench]]:
    """Graphs whose Program has so many units, and does not fail."""
    seed = FIRST_SEED + part
    while count > 0:
        bench = Bench(random_recipe(seed, tf, large=False, **recipe), level=seed % 3 % 2)
        if len(units_and_edges(bench.program)[0]) in sizes and bench.results(bench.program).error is None:
            yield seed, bench
            count -= 1
        seed += PARTS


def check(seed: int, bench: Bench, orders: Sequence[tuple[int, ...]]) -> int:
    wanted = bench.results(bench.program)
    for order in orders:
        problem = difference([wanted], [bench.results(reordered(bench.program, order))])
        assert problem is None, f"seed {seed}, order {order}: {problem}\n{bench.program}"
    return len(orders)


@pytest.mark.parametrize("part", range(PARTS))
def test_all_orders_of_small_graphs(part: int) -> None:
    total = 0
    for seed, bench in benches(part, int(200 * SHARE / PARTS) or 1, range(3, 9), fewest=4, most=9):
        orders = list(topological_orders(units_and_edges(bench.program)[1], MOST_ORDERS))
        total += check(seed, bench, orders)
    assert total > 20


@pytest.mark.parametrize("part", range(PARTS))
def test_random_orders_of_larger_graphs(part: int) -> None:
    """Half of them quite at random, half with a few ops very early or very late."""
    for seed, bench in benches(part, int(80 * SHARE / PARTS) or 1, range(35, 76), fewest=28, most=45):
        before, rng = units_and_edges(bench.program)[1], random.Random(seed)
        check(seed, bench, [random_order(before, rng, changes) for changes in [None, 3] * 13])


# -- through the scheduler -------------------------------------------------------------------------------------------


def in_tasks(workers: int) -> Any:
    """A rewriting: every unit becomes a task of its own."""

    def rewrite(program: Program) -> Program:
        if not program.instructions:
            return program
        return replace(program, schedule=schedule.finest(program)._replace(workers=workers))

    return rewrite


def check_driven(seed: int, workers: int, runs: int = 3) -> None:
    recipe = random_recipe(seed, tf, large=False)
    built = build(recipe, tf)
    wanted = outcomes(recipe, built, REFERENCE, runs)
    way = Way(level=1, disabled=POSITIONS[1:], workers=workers, rewrite=in_tasks(workers))
    found = outcomes(recipe, built, way, runs)
    problem = difference(wanted, found)
    assert problem is None, f"seed {seed}, {workers} workers: {problem}\n{recipe}"


@pytest.mark.parametrize("part", range(PARTS))
def test_the_state_machine_with_a_seeded_choice(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks run in this thread, in the order that random choices give; errors are those of program order, too."""
    rng = random.Random(FIRST_SEED + part)

    def run_tasks(graph: Any, run_task: Any, count: int, mine: Any = (), cancelled: Any = None) -> None:
        drivers.run_chosen(graph, run_task, rng.choice, cancelled)

    monkeypatch.setattr(graphflow_numpy.parallel.drivers, "run_tasks", run_tasks)
    for seed in range(FIRST_SEED + 50_000 + part, FIRST_SEED + 50_000 + int(800 * SHARE), PARTS):
        check_driven(seed, 2)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_threads_change_no_bit(workers: int) -> None:
    """Every op a task of its own, threads switched as often as possible."""
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for seed in range(FIRST_SEED + 70_000, FIRST_SEED + 70_000 + int(240 * SHARE)):
            check_driven(seed, workers)
    finally:
        sys.setswitchinterval(old)


# -- the compiler's own schedules and memory ---------------------------------------------------------------------------


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Even small graphs seem worth tasks, arenas are full of NaNs at first, threads switch at every turn."""
    for module, names in ((schedule, ("SHORTEST", "LEAST_MEMORY")), (clusters, ("WORTH", "SMALL"))):
        for name in names:
            monkeypatch.setattr(module, name, 0)
    monkeypatch.setattr(schedule, "GAIN", 1e-9)
    plain = graphflow_numpy.execution._buffers

    def poisoned(*program: Any) -> dict[int, Any]:
        buffers: dict[int, Any] = plain(*program)
        for array in buffers.values():
            array.view(np.uint8)[...] = 0xFF if array.ndim else 0
        return buffers

    monkeypatch.setattr(graphflow_numpy.execution, "_buffers", poisoned)
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(old)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_schedules_and_memory_plans_change_no_bit(workers: int, eager: None) -> None:
    seen = Counter[str]()

    def count(program: Program) -> Program:
        seen["tasks"] += program.schedule is not None and program.schedule.workers > 1
        seen["planned"] += program.memory is not None and len(program.memory.offsets) > 0
        return program

    ways = [Way(workers=workers, rewrite=count)]
    for seed in range(FIRST_SEED + 90_000, FIRST_SEED + 90_000 + int(400 * SHARE)):
        recipe = random_recipe(seed, tf, large=False)
        if disagreement(recipe, tf, ways) is not None:
            small = shrink(recipe, tf, lambda r: disagreement(r, tf, ways) is not None, trials=300)
            pytest.fail(f"seed {seed}: {disagreement(small, tf, ways)}\n{small}")
    assert seen["planned"] > 10 and (seen["tasks"] > 10) == (workers > 1), seen


# -- the instruments -------------------------------------------------------------------------------------------------


def test_orders_are_all_of_them_and_legal() -> None:
    assert len(list(topological_orders([set() for _ in range(5)], 1000))) == 120
    assert list(topological_orders([set(), {0}, {1}], 10)) == [(0, 1, 2)]
    diamond: list[set[int]] = [set(), {0}, {0}, {1, 2}]
    assert set(topological_orders(diamond, 10)) == {(0, 1, 2, 3), (0, 2, 1, 3)}
    assert len(list(topological_orders([set() for _ in range(8)], 100))) == 100
    rng = random.Random(0)
    wide: list[set[int]] = [set() for _ in range(6)]
    for changes in (None, 3):
        assert len({random_order(wide, rng, changes) for _ in range(200)}) > 100
        assert {random_order(diamond, rng, changes) for _ in range(50)} == {(0, 1, 2, 3), (0, 2, 1, 3)}


def test_a_missing_edge_is_noticed() -> None:
    """A write that does not wait for the read before it: some order shows it."""
    with tf.Graph().as_default() as graph:
        v = tf.Variable(1.0)
        first = v.read_value() * 2.0
        second = v.assign_add(1.0)
        session = tf.Session(graph=graph, optimization_level=0)
        session.run(v.initializer)
        program = session.program([first, second])
    loose = replace(program, instructions=tuple(ins._replace(after=()) for ins in program.instructions))
    found = set()
    for order in topological_orders(units_and_edges(loose)[1], 1000):
        session.run(v.initializer)
        values = session._backend.compile(reordered(loose, order), session)([], Run(0, 0))
        found.add(tuple(float(x) for x in values))
    assert found == {(2.0, 2.0), (4.0, 2.0)}
    assert len(list(topological_orders(units_and_edges(program)[1], 1000))) < len(
        list(topological_orders(units_and_edges(loose)[1], 1000))
    )


def test_an_atomic_region_is_one_unit() -> None:
    with tf.Graph().as_default() as graph:
        v, w = tf.Variable([1.0, 2.0]), tf.Variable([3.0])
        step = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(v * v) + tf.reduce_sum(w * w))
        program = tf.Session(graph=graph).program(step)
    units, before = units_and_edges(program)
    assert [i for unit in units for i in unit] == list(range(len(program.instructions)))
    for unit in units:
        regions = {program.instructions[i].op.region for i in unit} - {None}
        assert len(unit) == 1 or regions
    regions = [ins.op.region.id for ins in program.instructions if ins.op.region is not None]
    assert regions, "an optimizer's update is a region"
    order = random_order(before, random.Random(1))
    moved = [ins.op.region.id for ins in reordered(program, order).instructions if ins.op.region is not None]
    assert sorted(moved) == sorted(regions)
    assert [r for r, _ in itertools.groupby(moved)] == list(dict.fromkeys(moved)), "a region was taken apart"
