"""The scheduling pass: costs, clusters, list scheduling, and programs whose order changes and whose results do not."""

from __future__ import annotations

import faulthandler
import random
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from graphflow_numpy.binding import Bound

import graphflow as tf
from graphflow.backend import Run
from graphflow.compile import calibration, clusters, cost, pipeline, schedule
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
    for branch in range(100):
        h = x
        for _ in range(50):
            h = (h + x) * float(branch)
        ends.append(h)
    _, program = compiled(ends, {x: 1.0})
    started = time.process_time()
    done = schedule.schedule(program, 2, 2)
    assert time.process_time() - started < 5e-5 * len(program.instructions)
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
    faulthandler.dump_traceback_later(240, exit=True)
    try:
        for _ in range(5):
            sessions[0].run([last, others])
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert set(seen) == {threading.current_thread().name}


@pytest.mark.usefixtures("worthwhile")
def test_what_was_created_first_of_what_fails_is_named_on_any_number_of_workers():
    x = tf.placeholder(tf.float32, [8, 8])
    checks = [tf.check_numerics(tf.tanh(x + float(i)), f"number {i}") for i in range(12)]
    for workers in (2, 4):
        session = session_of(workers)
        bad = {x: np.full((8, 8), np.nan, np.float32)}
        assert is_parallel(session, checks, bad)
        for _ in range(20):
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                session.run(checks, bad)
            assert caught.value.op_name == checks[0].op.name
        assert len(session.run(checks, {x: np.ones((8, 8))})) == 12


@pytest.mark.usefixtures("worthwhile")
def test_closing_a_session_ends_its_run():
    """The first of 300 functions waits until the session is closed; only those of its own task are called after it."""
    begun, closed = threading.Event(), threading.Event()
    calls = []

    def slow(a: np.ndarray) -> np.ndarray:
        calls.append(1)
        begun.set()
        closed.wait()
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
    program = session.program(ends, {x: np.ones((8, 8))})
    most = max(
        sum(ins.type == "PyFunc" for ins in program.instructions[t.begin : t.end]) for t in program.schedule.tasks
    )
    closer = threading.Thread(target=lambda: (begun.wait(), session.close(), closed.set()))
    closer.start()
    with pytest.raises(tf.errors.CancelledError):
        session.run(ends, {x: np.ones((8, 8))})
    closer.join()
    assert len(calls) <= most < 300


def test_a_branch_without_arguments_has_no_tasks_of_its_own() -> None:
    def branch() -> tf.Tensor:
        draws = [tf.random_normal([700, 700], seed=i) for i in range(4)]
        return tf.add_n([tf.reduce_sum(tf.matmul(d, d)) for d in draws])

    yes = tf.placeholder(tf.bool, [])
    y = tf.cond(yes, branch, lambda: tf.constant(0.0))
    found = []
    for level in (0, 1):
        config = tf.ConfigProto(inter_op_parallelism_threads=4)
        with tf.Session(optimization_level=level, config=config) as session:
            found.append(session.run(y, {yes: True}))
    assert found[0] == found[1]
