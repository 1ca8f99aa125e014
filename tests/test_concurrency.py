"""One session, several threads: no update is lost, no read is torn, and closing ends everybody's work with a word."""

from __future__ import annotations

import collections
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from graphflow_numpy.cells import NumpyCell

import graphflow as tf

SIZE = 100_000


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    """Let Python switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*work: Callable[[], Any]) -> list[Any]:
    """Run the functions in threads that start at the same moment; their results, or the first error."""
    barrier = threading.Barrier(len(work))
    results: list[Any] = [None] * len(work)
    errors: list[BaseException] = []

    def run(i: int) -> None:
        barrier.wait()
        try:
            results[i] = work[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(work))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(240)
        assert not t.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return results


def times(n: int, function: Callable[[], Any]) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(n):
            function()

    return repeat


def started() -> tf.Session:
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


# -- updates ---------------------------------------------------------------------------------------------------------


def test_no_update_is_lost() -> None:
    """20,000 additions to 100,000 elements, by four threads: unlocked, three quarters of them would be lost."""
    x = tf.placeholder(tf.float32, [SIZE])
    v = tf.Variable(tf.zeros([SIZE]))
    add = v.assign_add(x).op
    session = started()
    ones = np.ones(SIZE, np.float32)
    together(*[times(5000, lambda: session.run(add, {x: ones}))] * 4)
    assert np.all(session.run(v) == 20_000)


def test_no_update_is_lost_while_others_read_and_fetch() -> None:
    v = tf.Variable(tf.zeros([SIZE]))
    add = v.assign_add(tf.ones([SIZE]))
    session = started()

    def both() -> None:
        before, after = session.run([v, add])
        assert after[0] > before[0] and np.all(before == before[0]) and np.all(after == after[0])

    write, read = times(400, lambda: session.run(add.op)), times(400, lambda: session.run(v))
    together(write, times(400, both), read, times(400, both))
    assert np.all(session.run(v) == 1200)


def test_every_kind_of_update_is_atomic() -> None:
    """Additions and subtractions of all kinds cancel, whatever their order."""
    x = tf.placeholder(tf.float32, [4, 1000])
    v, s = tf.Variable(tf.zeros([4, 1000])), tf.Variable(0)
    updates = [
        v.assign_add(x).op, v.assign_sub(x).op, s.assign_add(1).op, s.assign_sub(1).op,
        tf.scatter_add(v, [0, 1, 2, 3], x).op, tf.scatter_sub(v, [3, 2, 1, 0], x[::-1]).op,
    ]  # fmt: skip
    session = started()
    data = {x: np.full((4, 1000), 3.0)}
    together(*[times(500, lambda op=op: session.run(op, data)) for op in updates])
    assert not session.run(v).any() and session.run(s) == 0


def test_an_assignment_does_not_fall_into_an_addition() -> None:
    """With 0 assigned and 1 added, each sum is one more than the one before, or 1: no other order of the two exists.

    It goes on until a 0 has fallen between two additions: before that it shows nothing.
    """
    v = tf.Variable(0)
    zero, add = v.assign(0).op, v.assign_add(1)
    session = started()
    seen: list[int] = []
    finished = threading.Event()

    def adding() -> None:
        while len(seen) < 3000 or not met():
            seen.append(int(session.run(add)))
        finished.set()

    def met() -> bool:
        return any(b <= a for a, b in itertools.pairwise(seen[-3000:]))

    def zeroing() -> None:
        while not finished.is_set():
            session.run(zero)

    together(adding, zeroing)
    assert all(b in (a + 1, 1) for a, b in itertools.pairwise(seen)), "a value that no order explains"


def test_the_counter_gives_every_number_once() -> None:
    n = tf.Variable(0)
    count = tf.count_up_to(n, 2000)
    session = started()

    def until_the_end() -> list[int]:
        found = []
        while True:
            try:
                found.append(int(session.run(count)))
            except tf.errors.OutOfRangeError:
                return found

    numbers = [i for part in together(*[until_the_end] * 4) for i in part]
    assert sorted(numbers) == list(range(2000))


# -- reads -----------------------------------------------------------------------------------------------------------


def test_no_read_is_torn() -> None:
    """Writers replace all elements at once, in place and not; whoever reads sees one value everywhere."""
    x = tf.placeholder(tf.float32, [SIZE])
    v = tf.Variable(tf.zeros([SIZE]))
    write, add = v.assign(x).op, v.assign_add(x).op
    low, high = tf.reduce_min(v), tf.reduce_max(v)
    session = started()
    patterns = [np.full(SIZE, c, np.float32) for c in (1.0, 2.0)]

    def read() -> None:
        smallest, largest, whole = session.run([low, high, v])  # one read, and another
        assert smallest == largest and np.all(whole == whole[0])

    together(
        times(400, lambda: session.run(write, {x: patterns[0]})),
        times(400, lambda: session.run(add, {x: patterns[1]})),
        times(400, read),
        times(400, read),
    )


def test_a_snapshot_never_changes_afterwards() -> None:
    cell = NumpyCell("v", tf.float32, (1000,))
    cell.assign(np.zeros(1000, np.float32))
    one = np.ones(1000, np.float32)

    def read() -> None:
        held = [cell.snapshot() for _ in range(3)]
        before = [h.tobytes() for h in held]
        cell.combine(np.add, one)
        assert [h.tobytes() for h in held] == before

    def edit(array: Any) -> None:
        array += 1

    together(*[times(2000, f) for f in (read, read, lambda: cell.edit(edit), lambda: cell.assign(one))])


def test_two_variables_of_a_region_change_together() -> None:
    """A reader that takes the same region sees both halves or none."""
    graph = tf.get_default_graph()
    a, b = tf.Variable(0), tf.Variable(0)
    with graph.atomic([a.handle, b.handle]):
        first = a.assign_add(1)
        with tf.control_dependencies([first]):
            write = b.assign_add(1).op
    with graph.atomic([b.handle, a.handle]):
        both = tf.identity(a.read_value()), tf.identity(b.read_value())
    session = started()

    def read() -> None:
        x, y = session.run(both)
        assert x == y

    together(times(1000, lambda: session.run(write)), times(1000, lambda: session.run(write)), times(2000, read))
    assert session.run([a, b]) == [2000, 2000]


# -- the session -----------------------------------------------------------------------------------------------------


def test_a_plan_is_compiled_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tf.placeholder(tf.float32, [None])
    y = x
    for _ in range(200):
        y = tf.tanh(y + 1.0)
    compiled = []
    original = tf.Session.compile
    monkeypatch.setattr(tf.Session, "compile", lambda *a: (compiled.append(1), original(*a))[1])
    session = tf.Session()
    found = together(*[lambda: session.run(y, {x: [1.0, 2.0]})] * 8)
    assert len(compiled) == 1 and len({f.tobytes() for f in found}) == 1


def test_feeds_and_fetches_do_not_mix() -> None:
    x, n = tf.placeholder(tf.float32, [None, None]), tf.placeholder(tf.int32, [])
    y = tf.matmul(x, x) + tf.cast(n, tf.float32)
    z = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t + 1.0), [tf.constant(0), x])[1]
    session = tf.Session()

    def work(size: int) -> Callable[[], None]:
        data = {x: np.full((size, size), size), n: size}

        def run() -> None:
            product, looped, fed = session.run([y, z, x], data)
            assert np.all(product == size**3 + size) and np.all(looped == 2 * size) and fed.shape == (size, size)

        return times(60, run)

    together(*[work(size) for size in range(2, 8)])


def test_threads_with_more_shapes_than_plans() -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.reduce_sum(x * 2.0)
    session = tf.Session()

    def work(offset: int) -> Callable[[], None]:
        def run() -> None:
            for size in range(offset, 200, 4):
                assert session.run(y, {x: np.ones(size)}) == 2.0 * size

        return run

    together(*[work(offset) for offset in range(4)])


def test_the_graph_may_grow_while_others_run() -> None:
    graph = tf.get_default_graph()
    x = tf.placeholder(tf.float32, [])
    y = x + 1.0
    session = tf.Session()
    fresh: collections.deque[Any] = collections.deque([y])

    def build() -> None:
        with graph.as_default():
            for _ in range(300):
                fresh.append(fresh[-1] + 1.0)

    def run() -> None:
        for _ in range(300):
            t = fresh[-1]
            assert session.run(t, {x: 0.0}) >= 1.0
            assert session.run(y, {x: 1.0}) == 2.0

    together(build, run, run)
    assert session.run(fresh[-1], {x: 0.0}) == 301.0


def test_default_sessions_belong_to_their_thread() -> None:
    graph = tf.get_default_graph()
    x = tf.constant(1.0)

    def own(i: int) -> Callable[[], None]:
        def run() -> None:
            assert tf.get_default_session() is None
            for _ in range(50):
                with tf.Session(graph=graph) as session:
                    assert tf.get_default_session() is session and x.eval() == 1.0
                assert tf.get_default_session() is None

        return run

    with tf.Session() as mine:
        together(*[own(i) for i in range(4)])
        assert tf.get_default_session() is mine


def test_runs_inside_runs_in_many_threads() -> None:
    x = tf.placeholder(tf.float32, [])
    v = tf.Variable(0.0)
    add = v.assign_add(1.0)
    session = tf.Session()
    inner = x * 2.0

    def call(value: Any) -> Any:
        session.run(add.op)
        return session.run(inner, {x: value + 1.0})

    y = tf.py_func(call, [x], tf.float32) + x
    session.run(tf.global_variables_initializer())

    def work(i: int) -> Callable[[], None]:
        def run() -> None:
            assert session.run(y, {x: float(i)}) == 2.0 * (i + 1) + i

        return times(100, run)

    together(*[work(i) for i in range(4)])
    assert session.run(v) == 400.0


def test_a_failing_thread_disturbs_nobody() -> None:
    x = tf.placeholder(tf.float32, [3])
    v = tf.Variable(tf.zeros([3]))
    y = tf.check_numerics(x, "y")
    with tf.get_default_graph().atomic([v.handle]), tf.control_dependencies([y]):
        step = v.assign_add(x).op
    session = started()
    failed = []

    def fail() -> None:
        try:
            session.run(step, {x: [np.nan] * 3})
        except tf.errors.InvalidArgumentError:
            failed.append(1)

    together(times(500, fail), times(500, lambda: session.run(step, {x: [1.0] * 3})), times(500, fail))
    assert len(failed) == 1000 and session.run(v).tolist() == [500.0] * 3


def test_closing_during_use() -> None:
    """Every run that is under way ends with its value; the next says that the session is closed."""
    x = tf.placeholder(tf.float32, [1000])
    v = tf.Variable(tf.zeros([1000]))
    y = tf.reduce_sum(v.assign_add(x))
    graph = tf.get_default_graph()
    init = tf.global_variables_initializer()
    for _ in range(10):
        session = tf.Session(graph=graph)
        session.run(init)
        under_way = threading.Barrier(4)

        def use(session: Any = session, under_way: Any = under_way) -> str:
            session.run(y, {x: np.ones(1000)})
            under_way.wait()
            while True:
                try:
                    session.run(y, {x: np.ones(1000)})
                except tf.errors.FailedPreconditionError as error:
                    return error.summary

        def close(session: Any = session, under_way: Any = under_way) -> None:
            under_way.wait()
            session.close()

        words = together(use, use, use, close)[:3]
        assert all("closed Session" in w or "not initialized" in w for w in words), words
        with pytest.raises(tf.errors.FailedPreconditionError, match="closed Session"):
            session.run(y, {x: np.ones(1000)})


def test_callers_settings_are_their_own() -> None:
    """The floating-point settings of a thread are neither used nor changed by runs, whoever compiled the plan."""
    x = tf.placeholder(tf.float32, [2])
    y = 1.0 / x
    session = tf.Session()

    def work(setting: str) -> Callable[[], None]:
        def run() -> None:
            with np.errstate(all=setting):
                before = np.geterr()
                for _ in range(200):
                    assert np.isinf(session.run(y, {x: [0.0, 1.0]})[0])
                    assert np.geterr() == before

        return run

    together(*[work(s) for s in ("raise", "ignore", "call", "raise")])
