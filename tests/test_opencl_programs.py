"""Programs of reads, writes, views, branches and user code on an OpenCL device against NumPy at level 0.

The numbers are small integers, so every result is exact and must be equal.  Random programs mix all of that under
control dependencies, in one lane and in four.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf

pytest.importorskip("pyopencl")

Built = tuple[list[Any], dict[Any, Any]]
SHAPES: tuple[tuple[int, ...], ...] = ((4,), (2, 2), (1, 4), (), (4, 4))


def outcome(build: Callable[[], Built], device: str, level: int | None, runs: int = 2) -> list[Any]:
    """What runs fetch and leave in the variables, or the class of the error."""
    with tf.Graph().as_default():
        fetches, feeds = build()
        with tf.Session(device=device, optimization_level=level) as session:
            session.run(tf.global_variables_initializer())
            found: list[Any] = []
            for _ in range(runs):
                try:
                    found.append([np.asarray(x).tolist() for x in session.run(fetches, feeds)])
                except tf.errors.OpError as error:
                    found.append(type(error).__name__)
                found.append([np.asarray(x).tolist() for x in session.run(tf.global_variables())])
    return found


def vector(*values: float) -> Any:
    return tf.Variable(np.float32(values))


def a_write_between_a_view_and_its_use() -> Built:
    v, kept = vector(0, 1, 2, 3), tf.Variable(np.zeros((2, 2), np.float32))
    x = tf.reshape(v.read_value(), [2, 2]) * 2.0
    return [v.assign_add(np.ones(4, np.float32)), kept.assign(x)], {}


def a_write_between_an_update_and_its_use() -> Built:
    v, kept, fed = vector(0, 1, 2, 3), vector(0, 0, 0, 0), tf.placeholder(tf.float32, [4])
    x = v.assign_add(fed) * 2.0
    return [v.assign_add(np.ones(4, np.float32)), kept.assign(x)], {fed: [1, 2, 3, 4]}


def a_write_between_a_scatter_and_its_use() -> Built:
    v, kept, fed = vector(0, 1, 2, 3), vector(0, 0, 0, 0), tf.placeholder(tf.float32, [2])
    x = tf.scatter_add(v, [1, 2], fed) * 2.0
    return [v.assign_add(np.ones(4, np.float32)), kept.assign(x)], {fed: [1, 2]}


def a_product_with_an_activation_into_a_variable() -> Built:
    fed = tf.placeholder(tf.float32, [4, 3])
    w, b = tf.Variable(np.ones((3, 4), np.float32)), vector(1, 2, 3, 4)
    kept = tf.Variable(np.zeros((4, 4), np.float32))
    return [kept.assign(tf.nn.relu(tf.matmul(fed, w) + b))], {fed: np.arange(12.0).reshape(4, 3)}


def an_assertion_before_a_read_before_a_write() -> Built:
    v, kept, fed = tf.Variable(1.0), vector(0, 0, 0), tf.placeholder(tf.float32, [])
    with tf.control_dependencies([tf.Assert(fed > 0, ["bad"])]):
        read = v.read_value()
    with tf.control_dependencies([read]):
        update = kept.assign_add([1.0, 1.0, 1.0])
    return [read, update, v.assign_add(1.0)], {fed: -1.0}


def work_of_the_host_after_a_branch() -> Built:
    fed = tf.placeholder(tf.float32, [64, 64])
    chosen = tf.cond(tf.reduce_sum(fed) > 0, lambda: tf.transpose(fed * 2.0) + 1.0, lambda: fed)
    with tf.device("/cpu:0"):
        rows = tf.reduce_sum(chosen, 1)
    return [rows, chosen], {fed: np.ones((64, 64), np.float32)}


def a_step_that_is_counted() -> Built:
    v = tf.Variable(0, dtype=tf.int64)
    return [v.count_up_to(3)], {}


def a_long_branch_and_a_long_loop_in_a_short_program() -> Built:
    """The program is done in the calling thread at once; what it takes up, other threads are still busy with."""
    fed, kept = tf.placeholder(tf.float32, [100_000]), vector(0, 0, 0, 0)

    def turned(x: Any) -> Any:
        return tf.sort(-tf.sort(x * 3.0)) + 1.0

    chosen = tf.cond(fed[0] > -1.0, lambda: turned(turned(fed)), lambda: fed)
    walked = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, turned(a)), [0, fed])[1]
    values = np.random.default_rng(0).integers(0, 99, 100_000).astype(np.float32)
    return [kept.assign_add(chosen[:4] + walked[-4:]), chosen[::5000], walked[::5000]], {fed: values}


CASES = [
    a_write_between_a_view_and_its_use,
    a_write_between_an_update_and_its_use,
    a_write_between_a_scatter_and_its_use,
    a_product_with_an_activation_into_a_variable,
    an_assertion_before_a_read_before_a_write,
    work_of_the_host_after_a_branch,
    a_step_that_is_counted,
    a_long_branch_and_a_long_loop_in_a_short_program,
]


@pytest.mark.parametrize("build", CASES)
@pytest.mark.parametrize("lanes", ["", "1", "4"])  # without a number, short programs may run in the calling thread
def test_programs(build: Callable[[], Built], lanes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lanes:
        monkeypatch.setenv("GRAPHFLOW_OCL_LANES", lanes)
    assert outcome(build, "opencl", None, 5) == outcome(build, "cpu", 0, 5)


def test_user_code_in_a_branch_may_change_what_was_read() -> None:
    def values(device: str) -> Any:
        with tf.Graph().as_default():
            v, p = vector(0, 0, 0, 0), tf.placeholder(tf.bool, [])
            change = v.assign(np.full(4, 9, np.float32))
            with tf.Session(device=device) as session:
                session.run(v.initializer)

                def user(x: Any) -> Any:
                    session.run(change)
                    return np.float32(0)

                read = v.read_value()
                with tf.control_dependencies([read]):
                    chosen = tf.cond(
                        p, lambda: tf.py_func(user, [tf.constant(1.0)], tf.float32), lambda: tf.constant(1.0)
                    )
                chosen.set_shape([])
                return [x.tolist() for x in session.run([read + chosen, read], {p: True})]

    assert values("opencl") == values("cpu")


def test_what_was_fed_and_fetched_for_the_device_stays_as_it_was() -> None:
    for size in (4, 100_000):
        x = tf.placeholder(tf.float32, [size])
        view = tf.reshape(x, [2, size // 2])
        fed = np.ones(size, np.float32)
        with tf.Session(device="opencl") as session:
            kept = session.run([x, view], {x: fed}, device_arrays=True)
            fed[:] = 5
            session.run([x, view], {x: fed + 2}, device_arrays=True)
            assert all((np.asarray(array.numpy()) == 1).all() for array in kept)


def test_a_variable_that_a_loop_gave_its_value() -> None:
    v = tf.Variable(0.0)

    def body(i: Any) -> Any:
        with tf.control_dependencies([v.assign(5.0)]):
            return i + 1

    turns = tf.placeholder(tf.int32, [])
    loop = tf.while_loop(lambda i: i < turns, body, [0])
    with tf.control_dependencies([loop]):
        read = v.read_value()
    with tf.Session(device="opencl") as session:
        with pytest.raises(tf.errors.FailedPreconditionError, match="not initialized"):
            session.run(read, {turns: 0})
        assert session.run(read, {turns: 2}) == 5.0


# -- random programs -----------------------------------------------------------------------------------------------


class Author:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.variables = [tf.Variable(self.rng.integers(-3, 4, self._one(SHAPES)).astype(np.float32)) for _ in range(3)]
        self.fed = tf.placeholder(tf.float32, [4, 4])
        self.tensors = [*[v.read_value() for v in self.variables], self.fed]
        self.made: list[Any] = []

    def _one(self, things: Any) -> Any:
        return things[self.rng.integers(len(things))]

    def _pick(self) -> Any:
        late = len(self.tensors) - 1 - int(self.rng.exponential(4))
        return self.tensors[max(0, late)] if self.rng.random() < 0.8 else self._one(self.tensors)

    def _small(self, x: Any) -> Any:
        return tf.clip_by_value(x, -64.0, 64.0)

    def _fit(self, x: Any, shape: tuple[int, ...]) -> Any:
        have, want = int(np.prod(x.shape.as_list())), int(np.prod(shape))
        if have == want:
            return tf.reshape(x, shape)
        if want == 1:
            return tf.reshape(tf.reduce_sum(x), shape)
        if have == 1:
            return tf.fill(list(shape), tf.reshape(x, []))
        if have == 16:
            return tf.reshape(tf.reduce_max(tf.reshape(x, [4, 4]), axis=int(self.rng.integers(2))), shape)
        return tf.reshape(x, [4, 1]) + tf.reshape(x, [1, 4])

    def _update(self, x: Any) -> Any:
        v = self._one(self.variables)
        return self._one([v.assign, v.assign_add, v.assign_sub])(self._small(self._fit(x, tuple(v.shape.as_list()))))

    def _product(self, x: Any) -> Any:
        y = tf.matmul(self._small(self._fit(x, (4, 4))), self._small(self._fit(self._pick(), (4, 4))))
        return tf.nn.relu(y + self._fit(self._pick(), (4,))) if self.rng.random() < 0.6 else tf.nn.relu(y)

    def _branch(self, x: Any) -> Any:
        v = self._one(self.variables)
        shape = tuple(v.shape.as_list())
        value = self._small(self._fit(self._pick(), shape))
        y = tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.identity(v.assign_add(value)), lambda: v.read_value() * 2.0)
        y.set_shape(shape)
        return y

    def _on_the_host(self, x: Any) -> Any:
        if self.rng.random() < 0.5:
            with tf.device("/cpu:0"):
                return self._small(x) * 3.0 + 1.0
        y = tf.py_func(lambda a: a + np.float32(1), [self._small(x)], tf.float32)
        y.set_shape(x.shape)
        return y

    def step(self) -> None:
        """One more op."""
        x = self._pick()
        ways: list[Callable[[Any], Any]] = [
            lambda x: self._small(x * 2.0 - 1.0),
            tf.identity,
            lambda x: tf.reshape(x, [*x.shape.as_list(), 1][::-1]) if x.shape.as_list() == [4] else tf.identity(x),
            lambda x: self._small(x + self._fit(self._pick(), tuple(x.shape.as_list()))),
            tf.nn.relu,
            tf.reduce_sum,
            self._product,
            lambda x: self._one(self.variables).read_value(),
            self._update, self._update, self._update,
            self._branch,
            self._on_the_host,
        ]  # fmt: skip
        self.made.append(self._one(ways)(x))
        self.tensors.append(self._small(self.made[-1]))

    def program(self) -> Built:
        """What to fetch, and what to feed."""
        for _ in range(int(self.rng.integers(4, 20))):
            if self.made and self.rng.random() < 0.25:
                with tf.control_dependencies([self._one(self.made) for _ in range(2)]):
                    self.step()
            else:
                self.step()
        chosen = self.rng.permutation(len(self.made))[: int(self.rng.integers(2, len(self.made) + 1))]
        return [self.made[i] for i in chosen], {self.fed: self.rng.integers(-2, 3, (4, 4)).astype(np.float32)}


@pytest.mark.parametrize("seed", range(16))
def test_random_programs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 3:  # else short programs may run in the calling thread
        monkeypatch.setenv("GRAPHFLOW_OCL_LANES", "14"[seed % 2])
    ours = outcome(lambda: Author(seed).program(), "opencl", None, 3)
    assert ours == outcome(lambda: Author(seed).program(), "cpu", 0, 3)
