"""Trouble on purpose: many runs, each with something going wrong in it, and what must hold all the same.

    python tests/chaos.py SEED RUNS WORKERS

A program of its own, because signals go to the main thread and a hang must be seen from outside.  Before each run the
watchdog is wound up: a run that takes more than PATIENCE seconds prints all stacks and ends the process.  Afterwards
no lock is held, no thread is left over, and the next run gives the right bits.
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import graphflow as tf
from graphflow.compile import schedule
from graphflow.program import Program
from graphflow.runtime import workers as pool
from graphflow.testing import Way
from graphflow.testing.differential import session_of

PATIENCE = 100.0
BRANCHES = 6
SIZE = 48
UNHARMED = (tf.errors.CancelledError, tf.errors.FailedPreconditionError)  # what a closed session answers


class Trouble(Exception):
    """What a user's function raises."""


class Machine:
    """One graph, its session, and what is known of both."""

    def __init__(self, seed: int, workers: int) -> None:
        self.rng = random.Random(seed)
        self.workers = workers
        self.raising: frozenset[int] = frozenset()
        self.nested: frozenset[int] = frozenset()
        self.inside = threading.Event()
        self.armed = False
        self.graph = tf.Graph()
        with self.graph.as_default():
            self._build()
        data = np.random.default_rng(seed)
        self.good = {x: data.normal(size=(SIZE, SIZE)).astype(np.float32) for x in self.inputs}
        self.good.update({i: np.array([b, 0], np.int32) for b, i in enumerate(self.indices)})
        self.open()

    def _build(self) -> None:
        """Branches of a product, a user's function, a look-up that may fail and a tanh; a sum; a counter of runs."""
        self.inputs, self.indices, self.names, ends = [], [], [], []
        for branch in range(BRANCHES):
            x = tf.placeholder(tf.float32, [SIZE, SIZE])
            index = tf.placeholder(tf.int32, [2])
            product = tf.matmul(x, x)
            if branch % 2:
                called = tf.py_func(self._function(branch), [product], tf.float32, name=f"python_{branch}")
                called.set_shape([SIZE, SIZE])
            else:
                called = product
            found = tf.gather(called, index, name=f"gather_{branch}")
            ends.append(tf.tanh(tf.reduce_sum(found, 1)))
            self.inputs.append(x)
            self.indices.append(index)
            self.names += [f"python_{branch}"] * (branch % 2) + [f"gather_{branch}"]
        self.total = tf.add_n(ends)
        self.small = tf.reduce_sum(tf.matmul(self.inputs[0], self.inputs[0]), 0)
        self.counter = tf.Variable(np.zeros(512, np.float32))
        self.count = self.counter.assign_add(tf.ones([512]))
        self.init = tf.global_variables_initializer()

    def _function(self, branch: int) -> Callable[[Any], Any]:
        def function(array: Any) -> Any:
            self.inside.set()
            if branch in self.raising:
                raise Trouble(branch)
            if branch in self.nested:
                self.session.run(self.small, {self.inputs[0]: self.good[self.inputs[0]]})
            return array

        return function

    def open(self) -> None:
        """A new session: every op a task of its own, or as users have it, or at O2."""

        def in_tasks(program: Program) -> Program:
            if not program.instructions:
                return program
            return replace(program, schedule=schedule.finest(program)._replace(workers=self.workers), memory=None)

        tasks = Way(workers=self.workers, rewrite=in_tasks)
        way = self.rng.choice((tasks, tasks, Way(workers=self.workers), Way(level=2, workers=self.workers)))
        self.session = session_of(self.graph, way)
        self.session.run(self.init)
        self.begun = self.done = 0
        self.wanted = self.session.run(self.total, self.good).tobytes()  # O2 rounds in its own way, but always alike

    def run(self, feeds: dict[Any, Any]) -> bytes:
        """A run that counts itself."""
        self.begun += 1
        out = self.session.run([self.total, self.count], feeds)[0].tobytes()
        self.done += 1
        return out

    # -- what is tried -----------------------------------------------------------------------------------------------

    def plain(self) -> None:
        """Nothing happens."""
        assert self.run(self.good) == self.wanted

    def failing(self) -> None:
        """Some functions raise and some look-ups have no row: the first of them in program order is reported."""
        self.raising = frozenset(b for b in range(1, BRANCHES, 2) if self.rng.random() < 0.4)
        lost = [b for b in range(BRANCHES) if self.rng.random() < 0.3]
        feeds = {**self.good, **{self.indices[b]: np.array([b, SIZE], np.int32) for b in lost}}
        failing = {f"python_{b}" for b in self.raising} | {f"gather_{b}" for b in lost}
        first = next((name for name in self.names if name in failing), None)
        try:
            found = self.run(feeds)
        except tf.errors.Error as error:
            assert error.op_name == first, f"{error.op_name} is reported, {first} comes first"
            assert first.startswith("gather") or isinstance(error.__cause__, Trouble) or "Trouble" in str(error)
        else:
            assert first is None and found == self.wanted

    def nesting(self) -> None:
        """Functions run the session that they are in."""
        self.nested = frozenset(b for b in range(1, BRANCHES, 2) if self.rng.random() < 0.6)
        assert self.run(self.good) == self.wanted

    def several(self) -> None:
        """Three threads run the session at once."""
        found: list[Any] = []
        threads = [threading.Thread(target=self._collect, args=(found,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [self.wanted] * 3, [f if isinstance(f, BaseException) else "wrong" for f in found]
        self.begun += 3
        self.done += 3

    def _collect(self, found: list[Any]) -> None:
        try:
            found.append(self.session.run([self.total, self.count], self.good)[0].tobytes())
        except BaseException as error:
            found.append(error)

    def closing(self) -> None:
        """Another thread closes the session: the run ends well or says that it was cancelled."""
        self.inside.clear()
        pause = self.rng.choice((0.0, 0.0, 1e-4, 1e-3))
        session = self.session

        def close() -> None:
            self.inside.wait(PATIENCE)
            time.sleep(pause)
            session.close()

        thread = threading.Thread(target=close)
        thread.start()
        try:
            assert self.run(self.good) == self.wanted
        except UNHARMED:
            pass
        finally:
            thread.join()
        try:
            self.session.run(self.small, self.good)
        except tf.errors.FailedPreconditionError:
            self.open()
        else:
            raise AssertionError("a closed session runs")

    def interrupted(self) -> None:
        """Ctrl-C at any moment, while functions raise or not."""
        if self.rng.random() < 0.3:
            self.raising = frozenset({self.rng.randrange(1, BRANCHES, 2)})
        if self.rng.random() < 0.3:
            self.nested = frozenset(range(1, BRANCHES, 2))
        pause = self.rng.random() * 2e-3

        def send() -> None:
            time.sleep(pause)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=send)
        try:
            self.armed = True
            thread.start()
            for _ in range(8):
                self.run(self.good)
            self.armed = False
        except KeyboardInterrupt:
            events["interrupts that came inside"] += 1
        except tf.errors.Error as error:
            assert self.raising, error
        finally:
            self.armed = False
            thread.join()

    def on_signal(self, *_: Any) -> None:
        """What SIGINT does."""
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    # -- what must hold ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """All is as if nothing had happened."""
        self.raising = self.nested = frozenset()
        assert self.run(self.good) == self.wanted, "the next run is wrong"
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(self.session.run(self.counter)))
        thread.start()
        thread.join(PATIENCE / 2)
        assert found, "a lock is still held"
        assert (found[0] == found[0][0]).all(), "half an update"
        assert self.done <= found[0][0] <= self.begun, (self.done, found[0][0], self.begun)


TROUBLES: tuple[tuple[Callable[[Machine], None], float], ...] = (
    (Machine.plain, 1), (Machine.failing, 4), (Machine.nesting, 1.5), (Machine.several, 1), (Machine.closing, 0.7),
    (Machine.interrupted, 2),
)  # fmt: skip
events: Counter[str] = Counter()


def native_threads() -> int:
    """How many threads the process has, those of BLAS included."""
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else threading.active_count()


def check_threads(before: int, workers: int) -> None:
    """Only the pool's threads are left, no more of them than a run may use, and the one that makes native code."""
    mine = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    pooled = [name for name in mine if name.startswith("graphflow-worker")]
    assert set(mine) <= {*pooled, "graphflow-fast"} and mine.count("graphflow-fast") <= 1, mine
    assert len(pooled) <= max(workers - 1, 0), mine
    deadline = time.monotonic() + PATIENCE / 2  # a thread that was joined may be in the list for a moment
    while native_threads() > before + len(mine):
        assert time.monotonic() < deadline, f"{native_threads()} threads, {before} before, {mine} of them known"
        time.sleep(0.01)


def main(seed: int, runs: int, workers: int) -> None:
    np.ones((300, 300)) @ np.ones((300, 300))  # BLAS has its threads from here on
    before = native_threads()
    machine = Machine(seed, workers)
    signal.signal(signal.SIGINT, machine.on_signal)
    chosen = machine.rng.choices([t for t, _ in TROUBLES], [w for _, w in TROUBLES], k=runs)
    for number, trouble in enumerate(chosen):
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            trouble(machine)
            machine.check()
        except BaseException:
            print(f"seed {seed}, {workers} workers, run {number}: {trouble.__name__}", file=sys.stderr, flush=True)
            raise
        events[trouble.__name__] += 1
        if number % 100 == 99:
            check_threads(before + 1, workers)  # and the watchdog's
    faulthandler.cancel_dump_traceback_later()
    check_threads(before, workers)
    machine.session.close()
    pool.stop()
    check_threads(before, 1)
    print(", ".join(f"{count} {name}" for name, count in sorted(events.items())))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
