"""The scheduling pass: costs, clusters, list scheduling, and programs whose order changes and whose results do not."""

from __future__ import annotations

import faulthandler
import itertools
import json
import os
import random
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from graphflow_numpy.binding import Bound

import graphflow as tf
from graphflow.backend import Run
from graphflow.compile import calibration, clusters, cost, ordering, pipeline, schedule
from graphflow.compile.clusters import Dag
from graphflow.compile.cost import DEFAULT, Machine
from graphflow.program import Program

LATER = tuple(name for name in ("schedule", "memory") if name in pipeline.PASSES)  # passes that these tests run
SLOW = Machine(flops=1e7, bandwidth=1e6, element=1e-6, function=1e-5)  # on which everything is worth a thread


# -- programs --------------------------------------------------------------------------------------------------------


def wide(branches: int = 16, length: int = 6, size: int = 256) -> tuple[object, dict]:
    x = tf.placeholder(tf.float32, [size, size])
    ends = []
    for branch in range(branches):
        h = x + float(branch)
        for _ in range(length):
            h = tf.tanh(tf.matmul(h, x))
        ends.append(h)
    return tf.add_n(ends), {x: np.ones((size, size), np.float32)}


def random_graph(rng: random.Random, count: int) -> tuple[list, dict]:
    """Products, elementwise ops, variables with assigns, atomic regions, reductions, control edges."""
    x = tf.placeholder(tf.float32, [8, 8])
    tensors = [x]
    variables = [tf.Variable(np.full((8, 8), 0.1 * i, np.float32)) for i in range(2)]
    while len(tensors) <= count:
        kind = rng.randrange(8)
        a, b = rng.choice(tensors), rng.choice(tensors)
        if kind < 2:
            tensors.append(tf.matmul(a, b) * 0.1)
        elif kind == 2:
            tensors.append(tf.tanh(a + b))
        elif kind == 3:
            tensors.append(a - tf.reduce_mean(b, axis=0, keepdims=True))
        elif kind == 4:
            tensors.append(rng.choice(variables).assign_add(a * 0.01))
        elif kind == 5:
            tensors.append(rng.choice(variables).read_value() + a)
        elif kind == 6:
            with tf.control_dependencies([b]):
                tensors.append(tf.exp(-a * a))
        else:
            with tf.get_default_graph().atomic(variables):
                first = variables[0].assign(variables[0] * 0.5 + a * 0.1)
                tensors.append(variables[1].assign_sub(first * 0.1))
    fetched = rng.sample(tensors, min(4, len(tensors))) + tensors[-1:]
    return fetched, {x: np.random.default_rng(rng.randrange(1000)).standard_normal((8, 8)).astype(np.float32)}


def compiled(fetches: object, feed: dict, level: int = 1) -> tuple[tf.Session, Program]:
    session = tf.Session(optimization_level=level, disabled_passes=LATER)
    session.run(tf.global_variables_initializer())
    return session, session.program(fetches, feed)


def results(session: tf.Session, program: Program, feed: dict) -> list[bytes]:
    """What the program gives from the initial values, and what it leaves in the variables."""
    session.run(tf.global_variables_initializer())
    executable = session._backend.compile(program, session)
    found = executable(list(feed.values()), Run(0, 0))
    return [np.asarray(v).tobytes() for v in (*found, *session.run(tf.global_variables()))]


def check(program: Program, done: Program, seed: object = None) -> None:
    """Whatever may be asked of a schedule."""
    at = {ins.key: i for i, ins in enumerate(done.instructions)}
    assert sorted(at) == sorted(ins.key for ins in program.instructions), f"seed={seed}"
    assert len(at) == len(done.instructions), f"seed={seed}"
    tasks = done.schedule.tasks if done.schedule else ()
    task_of = {p: n for n, t in enumerate(tasks) for p in range(t.begin, t.end)}
    if tasks:
        assert [t.begin for t in tasks] == [0, *[t.end for t in tasks[:-1]]] and tasks[-1].end == len(at), (
            f"seed={seed}"
        )
    before: list[set[int]] = []
    for t in tasks:
        assert all(b < len(before) for b in t.before), f"seed={seed}: a task waits for a later one"
        before.append(set(t.before).union(*[before[b] for b in t.before]))
    maker = {v: i for i, ins in enumerate(done.instructions) for v in ins.outputs if v >= 0}
    for i, ins in enumerate(done.instructions):
        for needed in [*[maker[v] for v in ins.inputs if v in maker], *[at[k] for k in ins.after if k in at]]:
            assert needed < i, f"seed={seed}"
            if tasks and task_of[needed] != task_of[i]:
                assert task_of[needed] in before[task_of[i]], f"seed={seed}: {ins.op.name} waits for nothing"
    old = {frozenset(x.key for x in program.instructions[g.begin : g.end]): g[2:] for g in program.groups}
    new = {frozenset(x.key for x in done.instructions[g.begin : g.end]): g[2:] for g in done.groups}
    assert old == new, f"seed={seed}: groups are what they were"
    assert sorted(done.groups) == list(done.groups), f"seed={seed}"
    for units in ([range(g.begin, g.end) for g in done.groups], regions(done)):
        for unit in units:
            assert len({task_of.get(p) for p in unit}) <= 1, f"seed={seed}: a unit is split"
    for begin, end in schedule.units_of(program).ranges:
        first = at[program.instructions[begin].key]
        stands = [done.instructions[first + i].key for i in range(end - begin)]
        assert stands == [ins.key for ins in program.instructions[begin:end]], f"seed={seed}: a unit is torn"


def regions(program: Program) -> list[range]:
    spans: dict[int, list[int]] = {}
    for p, ins in enumerate(program.instructions):
        if ins.op.region is not None:
            spans.setdefault(ins.op.region.id, []).append(p)
    return [range(s[0], s[-1] + 1) for s in spans.values()]


# -- what it decides -------------------------------------------------------------------------------------------------


def test_independent_branches_get_two_workers():
    _, program = compiled(*wide())
    done = schedule.schedule(program, 2, 2, DEFAULT)
    check(program, done)
    assert done.schedule is not None and done.schedule.workers == 2
    assert done.schedule.parallel < done.schedule.sequential / schedule.GAIN
    assert all(t.seconds >= clusters.SMALL for t in done.schedule.tasks), "no crumbs"
    assert 16 <= len(done.schedule.tasks) <= 100


def test_branches_are_brought_to_an_end_before_others_are_begun():
    """What lives at the same time is two branches, not sixteen."""
    _, program = compiled(*wide())
    done = schedule.schedule(program, 2, 1, DEFAULT)
    assert schedule.peak(done) <= schedule.peak(program) * 1.3


@pytest.mark.parametrize("threads", [1, 2])
def test_a_chain_stays_with_the_caller(threads):
    x = tf.placeholder(tf.float32, [512, 512])
    h = x
    for _ in range(50):
        h = tf.tanh(tf.matmul(h, x))
    _, program = compiled(h, {x: np.ones((512, 512))})
    done = schedule.schedule(program, 2, threads, DEFAULT)
    assert done.schedule is not None and done.schedule.workers == 1
    assert done.instructions == program.instructions
    assert (done.schedule.sequential < 0.7 * schedule.schedule(program, 2, 1, DEFAULT).schedule.sequential) == (
        threads > 1
    )


def test_one_large_product_stays_with_the_caller_and_uses_all_cores():
    x = tf.placeholder(tf.float32, [1024, 1024])
    _, program = compiled(tf.matmul(x, x), {x: np.ones((1024, 1024))})
    done = schedule.schedule(program, 2, 2, DEFAULT)
    assert done.schedule is not None and done.schedule.workers == 1


def test_small_programs_are_left_alone_and_the_machine_is_not_measured(monkeypatch):
    def measured() -> Machine:
        raise AssertionError("measured for a small program")

    monkeypatch.setattr(calibration, "machine", measured)
    x = tf.placeholder(tf.float32, [16, 16])
    y = tf.add_n([tf.matmul(x, tf.fill([16, 16], float(i))) for i in range(200)])
    _, program = compiled(y, {x: np.ones((16, 16))})
    done = schedule.schedule(program, 2, 2)
    assert done.schedule is None and done.instructions == program.instructions


def test_what_runs_under_pythons_lock_is_left_alone_at_once():
    x = tf.placeholder(tf.float32, [])
    ends = []
    for _ in range(100):
        h = x
        for _ in range(100):
            h = h + x * 1.5
        ends.append(h)
    _, program = compiled(ends, {x: 1.0})
    started = time.perf_counter()
    done = schedule.schedule(program, 2, 2)
    assert time.perf_counter() - started < 1e-5 * len(program.instructions) + 0.2
    assert done.schedule is None


def test_one_worker_is_one_worker():
    _, program = compiled(*wide(4, 3))
    for workers in (1, 0, -1):
        assert schedule.schedule(program, workers, 1, DEFAULT).schedule.workers == 1


def test_no_more_workers_than_can_work():
    _, program = compiled(*wide(3, 4))
    assert schedule.schedule(program, 8, 1, DEFAULT).schedule.workers == 3


def test_the_order_is_changed_where_that_lowers_the_peak():
    x, y = tf.placeholder(tf.float32, [256, 1024]), tf.placeholder(tf.float32, [1024, 1024])
    large = [tf.matmul(x + float(i), y) for i in range(12)]
    ends = [tf.reduce_sum(a) for a in large]
    _, program = compiled(tf.add_n(ends), {x: np.ones((256, 1024)), y: np.ones((1024, 1024))}, level=0)
    done = schedule.schedule(program, 1, 1, DEFAULT)
    check(program, done)
    assert schedule.peak(done) < 0.6 * schedule.peak(program)


# -- random programs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2])
def test_schedules_of_random_programs_are_legal_and_change_no_bit(level, monkeypatch):
    monkeypatch.setattr(cost, "SMALL_ARRAY", 0)
    several = 0
    for seed in range(25):
        tf.reset_default_graph()
        rng = random.Random(seed)
        fetches, feed = random_graph(rng, rng.randrange(3, 40))
        session, program = compiled(fetches, feed, level)
        wanted = results(session, program, feed)
        for workers in (1, 2, 4):
            done = schedule.schedule(program, workers, 1, SLOW)
            check(program, done, seed)
            several += done.schedule is not None and done.schedule.workers > 1
            assert results(session, done, feed) == wanted, f"seed={seed} workers={workers}"
        finest = Program(**{**program.__dict__, "schedule": schedule.finest(program)})
        check(program, finest, seed)
        assert results(session, finest, feed) == wanted, f"seed={seed}"
    assert several > 20, "the programs were not worth two workers"


def orders(dag: Dag, most: int, rng: random.Random) -> Iterator[list[int]]:
    """All topological orders, or some of them if they are many."""
    found = 0
    stack: list[list[int]] = [[]]
    while stack and found < most:
        order = stack.pop()
        ready = [n for n in range(len(dag.before)) if n not in order and dag.before[n] <= set(order)]
        if not ready:
            found += 1
            yield order
        rng.shuffle(ready)
        stack += [[*order, n] for n in ready]


def test_every_order_of_small_programs_gives_the_same_bits():
    tried = 0
    for seed in range(40):
        tf.reset_default_graph()
        rng = random.Random(seed)
        fetches, feed = random_graph(rng, 3)
        session, program = compiled(fetches, feed, level=seed % 2)
        units = schedule.units_of(program)
        wanted = results(session, program, feed)
        for order in orders(units.dag, 24, rng):
            moved, _ = schedule.moved(program, units, [order])
            assert results(session, moved, feed) == wanted, f"seed={seed} order={order}"
            tried += 1
    assert tried > 200


def test_an_atomic_region_is_one_unit_with_all_that_stands_inside():
    v = tf.Variable(1.0)
    with tf.get_default_graph().atomic([v]):
        first = v.assign(v * 2.0)
    between = tf.exp(first)
    with tf.get_default_graph().atomic([v]):
        second = v.assign_add(between)
    _, program = compiled([second, between], {}, level=0)
    for unit in regions(program):
        ranges = schedule.units_of(program).ranges
        assert sum(begin <= unit[0] and unit[-1] < end for begin, end in ranges) == 1


def test_a_region_that_others_stand_in_is_kept_whole():
    """Instructions of a region need not follow each other: what stands between goes with them, groups included."""
    _, program = compiled(*wide(2, 3, 16), level=0)
    region = tf.get_default_graph().atomic([])
    with region:
        inside = tf.constant(1.0) + 1.0
    ops = [ins.op for ins in program.instructions]
    instructions = list(program.instructions)
    for position in (3, 6):
        instructions[position] = instructions[position]._replace(op=inside.op)
    spoiled = Program(**{**program.__dict__, "instructions": tuple(instructions)})
    ranges = schedule.units_of(spoiled).ranges
    assert (3, 7) in ranges
    assert [p for begin, end in ranges for p in range(begin, end)] == list(range(len(ops)))


def test_the_executor_sees_the_ranges_of_the_tasks():
    _, program = compiled(*wide(4, 3))
    done = schedule.schedule(program, 2, 1, DEFAULT)
    session = tf.Session()
    bound = Bound(done, session)
    assert len(bound.steps) >= len(done.schedule.tasks)


# -- sessions whose programs are all worth several workers -----------------------------------------------------------


@pytest.fixture
def worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SMALL_ARRAY", 0)
    monkeypatch.setattr(schedule, "SHORTEST", -1.0)
    monkeypatch.setattr(cost, "DEFAULT", SLOW._replace(wake=0.0))
    monkeypatch.setattr(calibration, "_machine", SLOW._replace(wake=0.0))


def session_of(workers: int) -> tf.Session:
    session = tf.Session(config=tf.ConfigProto(inter_op_parallelism_threads=workers, intra_op_parallelism_threads=1))
    session.run(tf.global_variables_initializer())
    return session


def is_parallel(session: tf.Session, fetches: object, feed: dict) -> bool:
    program = session.program(fetches, feed)
    return program.schedule is not None and program.schedule.workers > 1


@pytest.mark.usefixtures("worthwhile")
def test_training_gives_the_same_bits_on_any_number_of_workers():
    x = tf.placeholder(tf.float32, [16, 32])
    heads = []
    for _ in range(4):
        w = tf.get_variable(
            f"w{len(heads)}", initializer=np.random.default_rng(len(heads)).standard_normal((32, 8)) * 0.1
        )
        heads.append(tf.reduce_mean(tf.square(tf.tanh(tf.matmul(x, tf.cast(w, tf.float32))))))
    loss = tf.add_n(heads)
    step = tf.train.AdamOptimizer(0.1).minimize(loss)
    data = np.random.default_rng(0).standard_normal((16, 32)).astype(np.float32)
    seen = []
    for workers in (1, 2, 4):
        session = session_of(workers)
        assert is_parallel(session, [step, loss], {x: data}) == (workers > 1)
        losses = [session.run([loss, step], {x: data})[0].tobytes() for _ in range(20)]
        seen.append((losses, [v.tobytes() for v in session.run(tf.global_variables())]))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.usefixtures("worthwhile")
def test_a_run_inside_a_py_func_inside_an_atomic_region_does_not_wait_for_itself():
    v = tf.get_variable("v", initializer=np.ones((8, 8), np.float32))
    inner = [tf.exp(v * float(i)) for i in range(4)]
    sessions: list[tf.Session] = []
    seen: list[str] = []

    def look(_: np.ndarray) -> np.ndarray:
        seen.append(threading.current_thread().name)
        return sessions[-1].run(inner)[1]

    with tf.get_default_graph().atomic([v.handle]):
        first = v.assign(v * 2.0)
        looked = tf.py_func(look, [first], tf.float32)
        last = v.assign_add(looked)
    others = [tf.tanh(tf.matmul(tf.ones([8, 8]) * float(i), tf.ones([8, 8]))) for i in range(6)]
    sessions.append(session_of(4))
    faulthandler.dump_traceback_later(30, exit=True)
    try:
        for _ in range(5):
            sessions[0].run([last, others])
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert set(seen) == {threading.current_thread().name}


@pytest.mark.usefixtures("worthwhile")
def test_what_has_failed_first_in_program_order_is_named_on_any_number_of_workers():
    x = tf.placeholder(tf.float32, [8, 8])
    checks = [tf.check_numerics(tf.tanh(x + float(i)), f"number {i}") for i in range(12)]
    for workers in (2, 4):
        session = session_of(workers)
        bad = {x: np.full((8, 8), np.nan, np.float32)}
        program = session.program(checks, bad)
        first = next(ins.op.name for ins in program.instructions if ins.type == "CheckNumerics")
        assert is_parallel(session, checks, bad)
        for _ in range(20):
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                session.run(checks, bad)
            assert caught.value.op_name == first
        assert len(session.run(checks, {x: np.ones((8, 8))})) == 12


@pytest.mark.usefixtures("worthwhile")
def test_closing_a_session_ends_its_run():
    begun = threading.Event()

    def slow(a: np.ndarray) -> np.ndarray:
        begun.set()
        time.sleep(0.01)
        return a

    x = tf.placeholder(tf.float32, [8, 8])
    h = x
    for _ in range(300):
        h = tf.tanh(tf.py_func(slow, [h], tf.float32))
        h.set_shape([8, 8])
    other = x
    for _ in range(300):
        other = tf.tanh(tf.matmul(other, x))
    ends = [h, other]
    session = session_of(2)
    assert is_parallel(session, ends, {x: np.ones((8, 8))})
    closer = threading.Thread(target=lambda: (begun.wait(), session.close()))
    closer.start()
    started = time.monotonic()
    with pytest.raises((tf.errors.CancelledError, tf.errors.FailedPreconditionError)):
        session.run(ends, {x: np.ones((8, 8))})
    assert time.monotonic() - started < 2.5
    closer.join()


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


# -- costs -----------------------------------------------------------------------------------------------------------


def cost_of(y: tf.Tensor, feed: dict, type: str, machine: Machine = DEFAULT) -> cost.Cost:
    _, program = compiled(y, feed, level=0)
    found = cost.costs(program, machine)
    return next(c for c, ins in zip(found, program.instructions, strict=True) if ins.type == type)


def placeholder(*dims: int | None) -> tuple[tf.Tensor, dict]:
    x = tf.placeholder(tf.float32, dims)
    return x, {x: np.ones([d or 1 for d in dims], np.float32)}


@pytest.mark.parametrize(
    ("build", "dims", "type", "flops"),
    [
        (lambda x: tf.matmul(x, x), (256, 256), "MatMul", 2 * 256**3),
        (lambda x: tf.matmul(x, x, transpose_a=True), (64, 512), "MatMul", 2 * 512 * 512 * 64),
        (lambda x: tf.matmul(x, x, transpose_b=True), (64, 512), "MatMul", 2 * 64 * 64 * 512),
        (lambda x: tf.matmul(x, x), (8, 128, 128), "MatMul", 2 * 8 * 128**3),
        (lambda x: tf.einsum("ij,kj->ik", x, x), (128, 256), "Einsum", 2 * 128 * 128 * 256),
        (
            lambda x: tf.nn.conv2d(x, tf.ones([5, 5, 8, 16]), [1, 1, 1, 1], "SAME"),
            (4, 28, 28, 8), "Conv2D", 2 * 4 * 28 * 28 * 16 * 5 * 5 * 8,
        ),
        (
            lambda x: tf.gradients(tf.nn.conv2d(x, tf.ones([5, 5, 8, 16]), [1, 1, 1, 1], "SAME"), x),
            (4, 28, 28, 8), "Conv2DBackpropInput", 2 * 4 * 28 * 28 * 16 * 5 * 5 * 8,
        ),
    ],
)  # fmt: skip
def test_products_cost_their_operations(build, dims, type, flops):
    x, feed = placeholder(*dims)
    y = build(x)
    found = cost_of(y, feed, type, DEFAULT._replace(bandwidth=1e30))
    assert found.splits
    assert found.free == pytest.approx(flops / DEFAULT.flops, rel=1e-6)


def test_elements_functions_bytes_and_views():
    x, feed = placeholder(1000, 1000)
    free = {
        t: cost_of(y, feed, t).free for t, y in (("Add", x + x), ("Tanh", tf.tanh(x)), ("Reshape", tf.reshape(x, [-1])))
    }
    assert free["Reshape"] == 0
    assert free["Tanh"] > 2 * free["Add"] > 0
    assert free["Add"] == pytest.approx(1e6 * DEFAULT.element + 12e6 / DEFAULT.bandwidth)
    double = tf.placeholder(tf.float64, [1000, 1000])
    assert cost_of(double + double, {double: np.ones((1000, 1000))}, "Add").free == pytest.approx(2 * free["Add"])


def test_small_arrays_keep_pythons_lock():
    x, feed = placeholder(20, 20)
    assert cost_of(tf.tanh(x), feed, "Tanh").free == 0


def test_unknown_shapes_cost_a_call():
    x = tf.placeholder(tf.float32, [None, None])
    session = tf.Session()
    for n in range(1, 20):
        session.run(tf.matmul(x, x), {x: np.ones((n, n))})
    y = tf.matmul(x, x)
    for n in range(1, 20):
        session.run(y, {x: np.ones((n, n))})
    program = session.program(y, {x: np.ones((50, 50))})
    assert any(k.dims is None or None in k.dims for k in program.values)
    assert all(c.free < 1e-6 for c in cost.costs(program))


def test_every_op_has_a_cost():
    from graphflow.opdef import OPS

    for type, definition in OPS.items():
        assert definition.weight >= 0 and definition.functions >= 0, type
    assert OPS["MatMul"].flops is not None
    assert OPS["Exp"].functions > 0
    assert OPS["Reshape"].weight == 0


# -- calibration -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "_machine", None)
    return calibration.cache_file()


def test_the_machine_is_measured_once_and_kept(cache, monkeypatch):
    calls = []
    measure = calibration.measure
    monkeypatch.setattr(calibration, "measure", lambda: calls.append(1) or measure())
    first = calibration.machine()
    assert calibration.machine() is first
    assert cache.exists() and [p.name for p in cache.parent.iterdir()] == [cache.name]
    monkeypatch.setattr(calibration, "_machine", None)
    assert calibration.machine() == first
    assert calls == [1]


GOOD = json.dumps(DEFAULT._asdict())


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "3", "{}", GOOD[:-9], GOOD.replace(":", ": -", 1), GOOD.replace("1e-10", "NaN"),
        GOOD.replace("1e-10", "Infinity"), GOOD.replace("1e-10", '"fast"'), GOOD.replace("1e-10", "null"),
        GOOD.replace("1e-10", "1e9"), "[" * 100_000, "\x00\xff",
    ],
)  # fmt: skip
def test_a_broken_file_is_measured_again(cache, text):
    cache.parent.mkdir(parents=True)
    assert calibration.read(cache) is None
    cache.write_text(GOOD)
    assert calibration.read(cache) == DEFAULT
    cache.write_text(text)
    assert calibration.read(cache) is None
    found = calibration.machine()
    assert calibration.read(cache) == found


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(calibration, "_machine", None)
    assert calibration.machine() is not None
    assert blocked.read_text() == "not a folder"
    if os.name == "posix" and os.geteuid() != 0:
        folder = tmp_path / "closed"
        folder.mkdir()
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        calibration.write(folder / "x.json", DEFAULT)
        assert list(folder.iterdir()) == []


def test_measuring_takes_little_time():
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        calibration.measure()
        best = min(best, time.perf_counter() - started)
    assert best < 0.05
