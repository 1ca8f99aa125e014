"""Threads that help, and the drivers of a run: order, errors, cancellation, sharing, and the pool."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from graphflow.errors import CancelledError
from graphflow.program import Task
from graphflow.runtime import drivers, states, workers


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """A hang ends the test with the stacks of all threads."""
    faulthandler.dump_traceback_later(240, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def graph_of(before: list[list[int]]) -> states.TaskGraph:
    return states.task_graph([Task(n, n + 1, 1e-4, float(-n), tuple(b)) for n, b in enumerate(before)])


def random_before(rng: random.Random, n: int) -> list[list[int]]:
    return [rng.sample(range(i), min(i, rng.choice((0, 1, 1, 2)))) for i in range(n)]


def gone(seen: weakref.ref) -> bool:
    """Whether it is freed, once helpers that have just left have come to rest."""
    deadline = time.monotonic() + 60
    while seen() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    return seen() is None


def wide(branches: int, length: int) -> list[list[int]]:
    rows = [[b - branches] if b >= branches else [] for b in range(branches * length)]
    return [*rows, list(range(branches * (length - 1), branches * length))]


# -- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
def test_each_task_runs_once_and_after_all_that_it_waits_for(count):
    for seed in range(60):
        rng = random.Random(seed)
        before = random_before(rng, rng.randrange(1, 40))
        done: list[int] = []

        def run(n: int, before=before, done=done, seed=seed) -> None:
            assert all(b in done for b in before[n]), f"seed={seed}: {n} was too early"
            if n % 5 == 0:
                time.sleep(1e-5)
            done.append(n)

        drivers.run_tasks(graph_of(before), run, count)
        assert sorted(done) == list(range(len(before))), f"seed={seed}"


def test_two_threads_work_at_the_same_time():
    meet = threading.Barrier(2)
    drivers.run_tasks(graph_of([[], []]), lambda n: meet.wait(60), 2)


def test_as_many_threads_as_asked_for_and_no_more():
    """The first three tasks wait for one another, so three threads come; a pool of four never makes it four."""
    active, most, lock, meet = [0], [0], threading.Lock(), threading.Barrier(3)

    def run(n: int) -> None:
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        if n < 3:
            meet.wait(60)
        time.sleep(0.002)
        with lock:
            active[0] -= 1

    drivers.run_tasks(graph_of(wide(8, 2)), lambda n: time.sleep(0.002), 5)
    drivers.run_tasks(graph_of(wide(8, 3)), run, 3)
    assert most[0] == 3


def test_one_worker_is_the_caller():
    seen = set()
    drivers.run_tasks(graph_of(wide(4, 4)), lambda n: seen.add(threading.current_thread()), 1)
    assert seen == {threading.current_thread()}


def test_a_chain_needs_no_second_thread():
    seen = set()
    drivers.run_tasks(graph_of([[i - 1] if i else [] for i in range(50)]), lambda n: seen.add(threading.get_ident()), 4)
    assert seen == {threading.get_ident()}


def test_what_belongs_to_the_caller_runs_in_its_thread():
    for seed in range(20):
        rng = random.Random(seed)
        before = random_before(rng, 30)
        mine = frozenset(rng.sample(range(30), 8))
        where: dict[int, int] = {}

        def run(n: int, where=where) -> None:
            time.sleep(1e-4)
            where[n] = threading.get_ident()

        drivers.run_tasks(graph_of(before), run, 3, mine)
        assert {where[n] for n in mine} == {threading.get_ident()}, f"seed={seed}"
        assert len(where) == 30, f"seed={seed}"


def test_the_chosen_order_is_followed():
    graph, order = graph_of([[], [], [0], [1], []]), []
    drivers.run_chosen(graph, order.append, max)
    assert order == [4, 1, 3, 0, 2]


def test_a_worker_silences_floating_point_warnings():
    meet, zero = threading.Barrier(2), np.zeros(3)

    def divide(n: int) -> None:
        meet.wait(60)
        if threading.current_thread() is not threading.main_thread():
            assert np.isnan(zero / zero).all()

    drivers.run_tasks(graph_of([[], []]), divide, 2)


# -- errors ----------------------------------------------------------------------------------------------------------


def drive(driver: str, graph: states.TaskGraph, run: drivers.RunTask, rng: random.Random) -> None:
    if driver == "in order":
        drivers.run_in_order(len(graph.counts), run)
    elif driver == "chosen":
        drivers.run_chosen(graph, run, rng.choice)
    else:
        drivers.run_tasks(graph, run, int(driver))


@pytest.mark.parametrize("driver", ["in order", "chosen", "1", "2", "4"])
def test_the_first_failure_in_program_order_is_raised_whatever_the_schedule(driver):
    for seed in range(60):
        rng = random.Random(seed)
        before = random_before(rng, 25)
        bad = set(rng.sample(range(25), 4))
        begun: list[int] = []

        def run(n: int, bad=bad, rng=rng, begun=begun) -> None:
            begun.append(n)
            if rng.random() < 0.3:
                time.sleep(1e-4)
            if n in bad:
                raise ValueError(n)

        with pytest.raises(ValueError, match=rf"^{min(bad)}$"):
            drive(driver, graph_of(before), run, rng)
        assert set(range(min(bad))) <= set(begun), f"seed={seed}: what stood before it has run"


def test_an_error_holds_nothing_of_the_run():
    class Thing:
        pass

    thing = Thing()
    seen = weakref.ref(thing)

    def run(n: int, thing=thing) -> None:
        raise ValueError(n)

    with pytest.raises(ValueError, match="0"):
        drivers.run_tasks(graph_of(wide(3, 3)), run, 2)
    gc.disable()
    try:
        del run, thing
        assert gone(seen)
    finally:
        gc.enable()


def test_cancelled_runs_begin_nothing_more():
    """But for the task that another thread had taken at that moment."""
    stop, begun, late = threading.Event(), [], []

    def run(n: int) -> None:
        if stop.is_set():
            late.append(n)
        begun.append(n)
        if n == 3:
            stop.set()

    for driver, others in (
        (lambda g: drivers.run_tasks(g, run, 2, cancelled=stop.is_set), 1),
        (lambda g: drivers.run_tasks(g, run, 1, cancelled=stop.is_set), 0),
        (lambda g: drivers.run_chosen(g, run, min, cancelled=stop.is_set), 0),
        (lambda g: drivers.run_in_order(len(g.counts), run, cancelled=stop.is_set), 0),
    ):
        stop.clear()
        begun.clear()
        late.clear()
        with pytest.raises(CancelledError):
            driver(graph_of(wide(5, 8)))
        assert 3 in begun
        assert len(late) <= others, (begun, late)


def test_a_run_whose_last_task_is_done_is_not_cancelled():
    stop = threading.Event()
    drivers.run_tasks(graph_of([[]]), lambda n: stop.set(), 2, cancelled=stop.is_set)
    drivers.run_chosen(graph_of([[]]), lambda n: stop.set(), min)


# -- runs inside runs, and stuck threads -----------------------------------------------------------------------------


def test_runs_inside_runs_never_starve():
    graph = graph_of(wide(3, 2))

    def nested(depth: int):
        def run(n: int) -> None:
            if depth:
                drivers.run_tasks(graph, nested(depth - 1), 2)

        return run

    drivers.run_tasks(graph, nested(3), 2)


def test_many_callers_share_the_pool():
    done = []

    def call() -> None:
        for _ in range(20):
            drivers.run_tasks(graph_of(wide(4, 3)), lambda n: time.sleep(1e-5), 4)
        done.append(1)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(done) == 8


def test_a_stuck_helper_holds_up_its_own_run_only():
    """Fifty runs come to their ends while it is stuck; had one of them to wait for it, that would be for ever."""
    stuck, free = threading.Event(), threading.Event()

    def block(n: int) -> None:
        if threading.current_thread() is not caller:
            stuck.set()
            free.wait()
        else:
            stuck.wait()

    caller = threading.Thread(target=lambda: drivers.run_tasks(graph_of([[], []]), block, 2))
    caller.start()
    stuck.wait()
    for _ in range(50):
        drivers.run_tasks(graph_of(wide(4, 3)), lambda n: None, 2)
    assert caller.is_alive()
    free.set()
    caller.join()


def test_tickets_of_runs_that_are_over_do_not_keep_the_next_one_from_getting_help():
    drivers.run_tasks(graph_of([[], []]), lambda n: time.sleep(0.01), 2)  # there is a thread
    for _ in range(300):
        for _ in range(5):  # over before a thread has woken up
            drivers.run_tasks(graph_of([[], []]), lambda n: None, 2)
        meet = threading.Barrier(2)
        drivers.run_tasks(graph_of([[], []]), lambda n, meet=meet: meet.wait(60), 2)


def test_alone_asks_for_no_help():
    seen = set()

    def run(n: int) -> None:
        time.sleep(1e-4)
        seen.add(threading.get_ident())

    with workers.alone():
        drivers.run_tasks(graph_of(wide(4, 4)), run, 4)
        workers.share(20, run, 4)
    assert seen == {threading.get_ident()}


def test_an_idle_thread_keeps_no_run_alive():
    class Thing:
        def __call__(self, n: int) -> None:
            time.sleep(1e-4)

    thing = Thing()
    seen = weakref.ref(thing)
    drivers.run_tasks(graph_of(wide(4, 4)), thing, 2)
    workers.share(8, thing, 2)
    del thing
    assert gone(seen)


# -- sharing one op --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_share_calls_each_number_once(count, threads):
    seen: list[int] = []
    workers.share(count, seen.append, threads)
    assert sorted(seen) == list(range(count))


def test_share_uses_two_threads():
    meet = threading.Barrier(2)
    workers.share(2, lambda i: meet.wait(60), 2)


def test_share_raises_what_a_loop_would_have_met():
    for seed in range(50):
        rng = random.Random(seed)
        bad = set(rng.sample(range(30), 3))

        def work(i: int, bad=bad, rng=rng) -> None:
            if rng.random() < 0.2:
                time.sleep(1e-4)
            if i in bad:
                raise ValueError(i)

        with pytest.raises(ValueError, match=rf"^{min(bad)}$"):
            workers.share(30, work, 3)


def test_all_have_left_when_share_returns():
    for _ in range(100):
        inside = [0]
        lock = threading.Lock()

        def work(i: int, inside=inside, lock=lock) -> None:
            with lock:
                inside[0] += 1
            time.sleep(1e-5)
            with lock:
                inside[0] -= 1
            if i == 5:
                raise ValueError(i)

        with pytest.raises(ValueError, match="5"):
            workers.share(16, work, 4)
        assert inside == [0]


def test_share_inside_tasks():
    seen = []
    drivers.run_tasks(graph_of(wide(3, 2)), lambda n: workers.share(5, lambda i: seen.append((n, i)), 2), 2)
    assert sorted(seen) == [(n, i) for n in range(7) for i in range(5)]


# -- the pool --------------------------------------------------------------------------------------------------------


def test_the_pool_grows_to_what_was_asked_for_and_starts_anew_after_a_stop():
    def names() -> set[str]:
        return {t.name for t in threading.enumerate() if t.name.startswith("graphflow-worker")}

    workers.stop(60)
    assert names() == set()
    drivers.run_tasks(graph_of([[], []]), lambda n: None, 1)
    drivers.run_tasks(graph_of([[]]), lambda n: None, 4)
    assert names() == set()
    drivers.run_tasks(graph_of([[], [], []]), lambda n: time.sleep(0.001), 3)
    assert len(names()) == 2
    for _ in range(10):
        drivers.run_tasks(graph_of(wide(4, 4)), lambda n: None, 3)
    assert len(names()) == 2
    workers.stop(60)
    assert names() == set()


def test_usable_cores_are_those_of_the_process():
    assert 1 <= workers.usable_cores() <= (os.cpu_count() or 1)
