"""Of several ops that fail, the one that was created first is reported, whatever the schedule and whoever is faster."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from graphflow_numpy.binding import Bound
from graphflow_numpy.first_failure import stretches

import graphflow as tf
from graphflow.compile import schedule
from graphflow.program import Program, Schedule, Task
from graphflow.testing import Way
from graphflow.testing.differential import session_of
from graphflow.testing.reordering import random_order, reordered, units_and_edges

POSITIONS = ("fuse", "schedule", "memory")  # passes whose results are positions
GOOD, BAD = [3, 2, 1, 0], [0, 9, 0, 0]


class Ran(NamedTuple):
    """What one run left behind."""

    error: str | None
    calls: dict[int, int]  # of each function of the user's
    written: frozenset[int]  # variables


class Troubled:
    """A random graph in which look-ups and functions fail, variables are written, and all depends on all."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.graph = tf.Graph()
        self.calls: Counter[int] = Counter()
        self.raising: set[int] = set()
        self.variables: list[Any] = []
        with self.graph.as_default():
            self.x = tf.placeholder(tf.float32, [4, 4])
            self.feeds: dict[Any, Any] = {self.x: np.ones((4, 4))}
            self.tensors = [self.x]
            for _ in range(rng.randrange(4, 22)):
                self.tensors.append(self._grown(rng.choice(self.tensors), rng.choice(self.tensors)))
            self.init = tf.global_variables_initializer()
        self.fetches = rng.sample(self.tensors, min(len(self.tensors), 5)) + self.tensors[-2:]

    def _grown(self, a: Any, b: Any) -> Any:
        kind = self.rng.choice(("product", "sum", "look", "look", "call", "write", "region"))
        if kind == "product":
            return tf.matmul(a, b) / 4.0
        if kind == "sum":
            return tf.tanh(a) + b
        if kind == "look":
            return self._look(a)
        if kind == "call":
            return self._called(a)
        if kind == "write":
            return self._variable().assign_add(tf.abs(a) * 0.0 + 1.0)
        variable = self._variable()
        with self.graph.atomic([variable.handle]):
            return self._look(variable.assign_add(tf.abs(a) * 0.0 + 1.0))

    def _look(self, a: Any) -> Any:
        at = tf.placeholder(tf.int32, [4])
        self.feeds[at] = BAD if self.rng.random() < 0.4 else GOOD
        return tf.gather(a, at)

    def _called(self, a: Any) -> Any:
        number = len(self.calls)
        self.calls[number] = 0
        if self.rng.random() < 0.4:
            self.raising.add(number)

        def function(array: Any) -> Any:
            self.calls[number] += 1
            if number in self.raising:
                raise ValueError(number)
            return array

        out = tf.py_func(function, [a], tf.float32)
        out.set_shape([4, 4])
        return out

    def _variable(self) -> Any:
        self.variables.append(tf.Variable(np.zeros((4, 4), np.float32)))
        return self.variables[-1]

    def run(self, way: Way) -> Ran:
        """The first run of a new session."""
        error = None
        with self.graph.as_default(), session_of(self.graph, way) as session:
            session.run(self.init)
            self.calls.update({number: -count for number, count in self.calls.items()})
            try:
                session.run(self.fetches, self.feeds)
            except tf.errors.OpError as caught:
                error = caught.op_name
            written = [i for i, v in enumerate(session.run(self.variables)) if v.all()]
            again = session.run(self.variables[:1])  # no lock is held
            assert len(again) == len(self.variables[:1])
        return Ran(error, dict(self.calls), frozenset(written))


def cut(program: Program, rng: random.Random, workers: int) -> Program:
    """The program in a random order, as tasks of random lengths."""
    if not program.instructions:
        return program
    program = reordered(program, random_order(units_and_edges(program)[1], rng))
    units = schedule.units_of(program)
    task_of, count = [], 0
    for number in range(len(units.ranges)):
        count += bool(number) and rng.random() < 0.5
        task_of.append(count)
    before: list[set[int]] = [set() for _ in range(count + 1)]
    spans = [[len(program.instructions), 0] for _ in before]
    for number, (begin, end) in enumerate(units.ranges):
        task = task_of[number]
        before[task] |= {task_of[other] for other in units.dag.before[number]} - {task}
        spans[task] = [min(spans[task][0], begin), max(spans[task][1], end)]
    tasks = [Task(*s, 1.0, rng.random(), tuple(sorted(b))) for s, b in zip(spans, before, strict=True)]
    return replace(program, schedule=Schedule(tuple(tasks), workers, 1.0, 1.0))


@pytest.mark.parametrize("workers", [2, 3])
def test_the_error_of_ops_that_run_in_the_order_of_their_creation(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without native code, where several ops are one call: of these, none can be run without the others."""
    monkeypatch.setenv("GRAPHFLOW_FAST", "0")
    failed = several = 0
    for seed in range(150):
        rng = random.Random(seed)
        graph = Troubled(rng)
        wanted = graph.run(Way(level=0, workers=1))
        failed += wanted.error is not None
        for level in (1, 1, 2):

            def rewrite(program: Program, rng: random.Random = rng) -> Program:
                return cut(program, rng, workers)

            found = graph.run(Way(level=level, disabled=POSITIONS, workers=workers, rewrite=rewrite))
            assert found.error == wanted.error, f"seed {seed}"
            assert max(found.calls.values(), default=0) <= 1, f"seed {seed}: a function was called twice"
            assert wanted.written <= found.written, f"seed {seed}: an assignment is missing"
            several += found.written != wanted.written
    assert failed > 100 and several > 10, "the graphs show nothing"


def test_what_waits_for_a_failed_task_alone_is_run_all_the_same() -> None:
    """The older op is in a task that waits for that of the younger one, but not for the younger one itself."""
    at, bad = tf.placeholder(tf.int32, [4]), tf.placeholder(tf.int32, [4])
    x = tf.placeholder(tf.float32, [4, 4])
    start = tf.tanh(x)
    older = tf.gather(start, at, name="older")
    younger = tf.gather(start, bad, name="younger")

    def two_tasks(program: Program) -> Program:
        tanh, first, second = program.instructions
        tasks = (Task(0, 2, 1.0, 2.0, ()), Task(2, 3, 1.0, 1.0, (0,)))
        return replace(program, instructions=(tanh, second, first), schedule=Schedule(tasks, 2, 1.0, 1.0))

    way = Way(disabled=POSITIONS, workers=2, rewrite=two_tasks)
    for wrong, name in (((BAD, BAD), "older"), ((GOOD, BAD), "younger"), ((BAD, GOOD), "older")):
        session = session_of(tf.get_default_graph(), way)
        with pytest.raises(tf.errors.InvalidArgumentError, match="out of range") as caught:
            session.run([older, younger], {x: np.ones((4, 4)), at: wrong[0], bad: wrong[1]})
        assert caught.value.op_name == name


def test_an_order_that_takes_less_memory_keeps_what_may_fail_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TINY": 0, "SHORTEST": -1.0, "LEAST_MEMORY": 0, "LEAST_SAVING": 2.0}.items():
        monkeypatch.setattr(schedule, name, value)
    failed = moved = 0
    for seed in range(150):
        graph = Troubled(random.Random(seed))
        wanted = graph.run(Way(level=0, workers=1))
        keys: list[int] = []

        def note(program: Program, keys: list[int] = keys) -> Program:
            keys += [ins.key for ins in program.instructions]
            return program

        found = graph.run(Way(level=1, workers=1, rewrite=note))
        assert found.error == wanted.error, f"seed {seed}"
        failed += wanted.error is not None
        moved += keys != sorted(keys)
    assert failed > 100 and moved > 50, "the graphs show nothing"


def test_stretches_cover_the_program_and_keep_regions_whole() -> None:
    v, w = tf.Variable([1.0, 2.0]), tf.Variable([3.0])
    step = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(v * v) + tf.reduce_sum(w * w))
    session = tf.Session()
    bound = Bound(session.program(step), session)
    found = stretches(bound)
    assert [s.begin for s in found] == [0, *[s.end for s in found[:-1]]] and found[-1].end == len(bound.steps)
    for number, stretch in enumerate(found):
        assert all(n < number for n in stretch.needs)
        regions = {s.instruction.op.region for s in bound.steps[stretch.begin : stretch.end]}
        assert len(regions) == 1 or None not in regions
    ids = [s.instruction.op.region.id for s in bound.steps if s.instruction.op.region is not None]
    whole = [s for s in found if bound.steps[s.begin].instruction.op.region is not None]
    assert ids and len(whole) == len(set(ids))
