"""Optimizers against NumPy written apart from them, by rows and dense, in one thread and in several.

Policy: gradients are fed, so that an update is tested and not a model; everything is float64 unless the point is
another.  Owns no state.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.graph import get_default_graph
from graphflow.keys import GraphKeys
from graphflow.ops import arithmetic, control, index, reduce, state
from graphflow.variables import Variable, global_variables_initializer

train = tf.train
STEPS = 10
LR = 0.1


# -- the formulas, in NumPy: a function (x, gradient, slots by name, step from 1) that changes x and the slots -------


def sgd(x: Any, g: Any, s: Any, t: int) -> None:
    x -= LR * g


def momentum(x: Any, g: Any, s: Any, t: int) -> None:
    s["momentum"] = 0.9 * s["momentum"] + g
    x -= LR * s["momentum"]


def nesterov(x: Any, g: Any, s: Any, t: int) -> None:
    s["momentum"] = 0.9 * s["momentum"] + g
    x -= LR * (g + 0.9 * s["momentum"])


def adagrad(x: Any, g: Any, s: Any, t: int) -> None:
    s["accumulator"] = s["accumulator"] + g**2
    x -= LR * g / np.sqrt(s["accumulator"])


def adadelta(x: Any, g: Any, s: Any, t: int) -> None:
    s["accum"] = 0.95 * s["accum"] + 0.05 * g**2
    step = np.sqrt(s["accum_update"] + 1e-8) / np.sqrt(s["accum"] + 1e-8) * g
    s["accum_update"] = 0.95 * s["accum_update"] + 0.05 * step**2
    x -= LR * step


def rmsprop(x: Any, g: Any, s: Any, t: int, mu: float = 0.0) -> None:
    s["rms"] = 0.9 * s["rms"] + 0.1 * g**2
    variance = s["rms"]
    if "mg" in s:
        s["mg"] = 0.9 * s["mg"] + 0.1 * g
        variance = variance - s["mg"] ** 2
    s["momentum"] = mu * s["momentum"] + LR * g / np.sqrt(variance + 1e-10)
    x -= s["momentum"]


def rmsprop_momentum(x: Any, g: Any, s: Any, t: int) -> None:
    rmsprop(x, g, s, t, 0.5)


def adam(x: Any, g: Any, s: Any, t: int) -> None:
    s["m"] = 0.9 * s["m"] + 0.1 * g
    s["v"] = 0.999 * s["v"] + 0.001 * g**2
    x -= LR * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * s["m"] / (np.sqrt(s["v"]) + 1e-8)


def ftrl(x: Any, g: Any, s: Any, t: int, power: float = 0.5, shrinkage: float = 0.0) -> None:
    old, new = s["accum"], s["accum"] + g**2
    linear = s["linear"] + g + 2 * shrinkage * x - (new**power - old**power) / LR * x
    solved = -(linear - np.sign(linear) * 0.05) / (new**power / LR + 2 * 0.02)
    s["accum"], s["linear"] = new, linear
    x[...] = np.where(np.abs(linear) > 0.05, solved, 0.0)


def ftrl_other_power(x: Any, g: Any, s: Any, t: int) -> None:
    ftrl(x, g, s, t, 0.7, 0.03)


def _shrink(x: Any, rate: Any, l1: float, l2: float) -> Any:
    return np.sign(x) * np.maximum(np.abs(x) - rate * l1, 0) / (1 + rate * l2)


def proximal_sgd(x: Any, g: Any, s: Any, t: int) -> None:
    x[...] = _shrink(x - LR * g, LR, 0.05, 0.02)


def proximal_adagrad(x: Any, g: Any, s: Any, t: int) -> None:
    s["accumulator"] = s["accumulator"] + g**2
    rate = LR / np.sqrt(s["accumulator"])
    x[...] = _shrink(x - rate * g, rate, 0.05, 0.02)


REGULAR = {"l1_regularization_strength": 0.05, "l2_regularization_strength": 0.02}
Case = tuple[Callable[[], Any], Callable[..., None], dict[str, float]]
CASES: dict[str, Case] = {
    "sgd": (lambda: train.GradientDescentOptimizer(LR), sgd, {}),
    "momentum": (lambda: train.MomentumOptimizer(LR, 0.9), momentum, {"momentum": 0.0}),
    "nesterov": (lambda: train.MomentumOptimizer(LR, 0.9, use_nesterov=True), nesterov, {"momentum": 0.0}),
    "adagrad": (lambda: train.AdagradOptimizer(LR), adagrad, {"accumulator": 0.1}),
    "adadelta": (lambda: train.AdadeltaOptimizer(LR), adadelta, {"accum": 0.0, "accum_update": 0.0}),
    "rmsprop": (lambda: train.RMSPropOptimizer(LR), rmsprop, {"rms": 1.0, "momentum": 0.0}),
    "rmsprop_momentum": (
        lambda: train.RMSPropOptimizer(LR, momentum=0.5), rmsprop_momentum, {"rms": 1.0, "momentum": 0.0},
    ),
    "rmsprop_centered": (
        lambda: train.RMSPropOptimizer(LR, momentum=0.5, centered=True), rmsprop_momentum,
        {"rms": 1.0, "mg": 0.0, "momentum": 0.0},
    ),
    "adam": (lambda: train.AdamOptimizer(LR), adam, {"m": 0.0, "v": 0.0}),
    "ftrl": (lambda: train.FtrlOptimizer(LR, **REGULAR), ftrl, {"accum": 0.1, "linear": 0.0}),
    "ftrl_other_power": (
        lambda: train.FtrlOptimizer(LR, -0.7, l2_shrinkage_regularization_strength=0.03, **REGULAR),
        ftrl_other_power, {"accum": 0.1, "linear": 0.0},
    ),
    "proximal_sgd": (lambda: train.ProximalGradientDescentOptimizer(LR, **REGULAR), proximal_sgd, {}),
    "proximal_adagrad": (
        lambda: train.ProximalAdagradOptimizer(LR, **REGULAR), proximal_adagrad, {"accumulator": 0.1},
    ),
}  # fmt: skip
every = pytest.mark.parametrize("name", CASES)


class Bench:
    """One variable under one optimizer, its gradient fed; and the same in NumPy."""

    def __init__(self, name: str, start: np.ndarray[Any, Any], sparse: bool = False) -> None:
        make, self.formula, slots = CASES[name]
        self.optimizer = make()
        self.var = Variable(start, name="w")
        kind = tf.float64 if start.dtype == np.float64 else tf.float32
        self.values = tf.placeholder(kind, [None, *start.shape[1:]] if sparse else start.shape)
        self.indices = tf.placeholder(tf.int32, [None])
        grad: Any = tf.IndexedSlices(self.values, self.indices, list(start.shape)) if sparse else self.values
        self.step = self.optimizer.apply_gradients([(grad, self.var)])
        self.session = tf.Session()
        self.session.run(global_variables_initializer())
        self.x = start.copy()
        self.slots = {key: np.full(start.shape, value) for key, value in slots.items()}
        self.time = 0

    def run(self, grad: Any, indices: Any = None) -> None:
        feeds = {self.values: grad}
        if indices is not None:
            feeds[self.indices] = indices
        self.session.run(self.step, feeds)

    def reference(self, grad: Any) -> None:
        self.time += 1
        self.formula(self.x, grad, self.slots, self.time)

    def rows_reference(self, grad: Any, rows: Any) -> None:
        self.time += 1
        part, slots = self.x[rows], {key: value[rows] for key, value in self.slots.items()}
        self.formula(part, grad, slots, self.time)
        self.x[rows] = part
        for key, value in slots.items():
            self.slots[key][rows] = value

    def check(self, tol: float = 1e-12) -> None:
        np.testing.assert_allclose(self.session.run(self.var), self.x, rtol=tol, atol=tol)
        for key, value in self.slots.items():
            found = self.session.run(self.optimizer.get_slot(self.var, key))
            np.testing.assert_allclose(found, value, rtol=tol, atol=tol, err_msg=key)


@every
@pytest.mark.parametrize("shape", [(3, 4), ()], ids=["matrix", "scalar"])
def test_ten_steps_as_in_numpy(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    bench = Bench(name, np.asarray(rng.normal(size=shape)))
    for _ in range(STEPS):
        grad = np.asarray(rng.normal(size=shape))
        bench.run(grad)
        bench.reference(grad)
        bench.check()


@every
def test_float32_stays_float32(name: str, rng: np.random.Generator) -> None:
    bench = Bench(name, rng.normal(size=(5,)).astype(np.float32))
    bench.x = bench.x.astype(np.float64)
    for _ in range(3):
        grad = rng.normal(size=(5,)).astype(np.float32)
        bench.run(grad)
        bench.reference(grad.astype(np.float64))
    assert bench.session.run(bench.var).dtype == np.float32
    bench.check(2e-5)


def test_a_small_epsilon_does_not_vanish_in_float16() -> None:
    w = Variable(np.ones(2, np.float16), name="w")
    step = train.AdamOptimizer(0.1).apply_gradients([(tf.constant(np.array([0.0, 1.0], np.float16)), w)])
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), [1.0, 0.9], rtol=1e-3)


@every
def test_rows_that_come_twice_count_twice(name: str, rng: np.random.Generator) -> None:
    bench = Bench(name, rng.normal(size=(6, 2)), sparse=True)
    for _ in range(STEPS):
        indices = rng.permutation(np.concatenate([np.arange(6), [3, 0, 3]]))
        values = rng.normal(size=(9, 2))
        dense = np.zeros((6, 2))
        np.add.at(dense, indices, values)
        bench.run(values, indices)
        bench.reference(dense)  # all rows are touched, so this is the dense update
        bench.check(1e-11)


@every
def test_rows_that_do_not_come_stay(name: str, rng: np.random.Generator) -> None:
    bench = Bench(name, rng.normal(size=(6, 2)), sparse=True)
    for _ in range(STEPS):
        rows = rng.permutation(6)[:2]
        values = rng.normal(size=(2, 2))
        bench.run(values, rows)
        if name == "adam":  # as in TensorFlow 1, where all of m and v decay
            dense = np.zeros((6, 2))
            dense[rows] = values
            bench.reference(dense)
        else:
            bench.rows_reference(values, rows)
        bench.check(1e-11)


@every
def test_an_empty_set_of_rows_changes_no_row(name: str, rng: np.random.Generator) -> None:
    bench = Bench(name, rng.normal(size=(4, 2)), sparse=True)
    bench.run(np.zeros((0, 2)), np.zeros(0, np.int32))
    bench.check()


DESCENTS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: train.GradientDescentOptimizer(0.1),
    "momentum": lambda: train.MomentumOptimizer(0.05, 0.8),
    "nesterov": lambda: train.MomentumOptimizer(0.05, 0.8, use_nesterov=True),
    "adagrad": lambda: train.AdagradOptimizer(1.0),
    "adadelta": lambda: train.AdadeltaOptimizer(50.0),
    "rmsprop": lambda: train.RMSPropOptimizer(0.01),
    "rmsprop centered": lambda: train.RMSPropOptimizer(0.01, momentum=0.5, centered=True),
    "adam": lambda: train.AdamOptimizer(0.1),
    "ftrl": lambda: train.FtrlOptimizer(1.0),
    "proximal sgd": lambda: train.ProximalGradientDescentOptimizer(0.1),
    "proximal adagrad": lambda: train.ProximalAdagradOptimizer(1.0),
}


@pytest.mark.parametrize("name", DESCENTS)
def test_a_quadratic_is_minimized(name: str) -> None:
    w = Variable(np.array([3.0, 2.0]), name="w")
    loss = reduce.reduce_sum(arithmetic.square(w - np.array([1.0, -2.0])))
    step = DESCENTS[name]().minimize(loss)
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        assert sess.run(loss) == 20.0
        for _ in range(600):
            sess.run(step)
        assert sess.run(loss) < 1e-3


@pytest.mark.parametrize("name", [n for n in CASES if n != "adam"])
def test_time_grows_with_the_rows_and_not_with_the_table(name: str) -> None:
    def seconds(size: int) -> float:
        tf.reset_default_graph()
        table = Variable(np.zeros((size, 4), np.float32), name="table")
        ids = tf.placeholder(tf.int32, [None])
        loss = reduce.reduce_sum(arithmetic.square(index.gather(table, ids) - 1.0))
        step = CASES[name][0]().minimize(loss)
        best = 1.0
        with tf.Session() as sess:
            sess.run(global_variables_initializer())
            feed = {ids: np.arange(64) * (size // 64)}
            for _ in range(12):
                start = time.process_time()
                sess.run(step, feed)
                best = min(best, time.process_time() - start)
        return best

    small = seconds(10_000)
    assert seconds(1_000_000) < 6 * small + 0.5e-3


# -- concurrency -----------------------------------------------------------------------------------------------------


def in_threads(count: int, function: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=function) for _ in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)


def test_concurrent_steps_lose_no_update() -> None:
    w = Variable(np.zeros(20_000), name="w")
    step = train.GradientDescentOptimizer(1.0).minimize(reduce.reduce_sum(w * -1.0))
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        in_threads(4, lambda: [sess.run(step) for _ in range(250)])
        assert (sess.run(w) == 1000.0).all()


@pytest.mark.parametrize("name", ["momentum", "adagrad", "rmsprop_centered", "adam"])
def test_concurrent_updates_are_atomic_per_variable(name: str) -> None:
    make, _, slots = CASES[name]
    grad = np.linspace(-1.0, 1.0, 20_000)

    def build() -> Any:
        tf.reset_default_graph()
        optimizer, w = make(), Variable(np.zeros(20_000), name="w")
        step = optimizer.apply_gradients([(tf.constant(grad), w)])
        return step, [optimizer.get_slot(w, key) for key in slots], optimizer

    def values(threads: int, runs: int) -> list[Any]:
        step, variables, optimizer = build()
        with tf.Session() as sess:
            sess.run(global_variables_initializer())
            in_threads(threads, lambda: [sess.run(step) for _ in range(runs)])
            return list(sess.run(variables + [v for v in optimizer.variables() if "power" in v.name]))

    for alone, together in zip(values(1, 200), values(4, 50), strict=True):
        np.testing.assert_array_equal(alone, together)


# -- the protocol ----------------------------------------------------------------------------------------------------


def loss_of(w: Any) -> Any:
    return reduce.reduce_sum(arithmetic.square(w))


def test_what_is_fetched_beside_the_step_is_from_before() -> None:
    w = Variable(np.array([2.0]), name="w")
    loss = loss_of(w)
    step = train.GradientDescentOptimizer(0.25).minimize(loss)
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        for expected in (4.0, 1.0, 0.25):
            assert sess.run([step, loss])[1] == expected


def test_slots_are_variables_that_are_saved_and_not_trained() -> None:
    w = Variable(np.ones((2, 3), np.float32), name="layer/w")
    optimizer = train.AdamOptimizer()
    optimizer.minimize(loss_of(w))
    graph = get_default_graph()
    names = [v.op.name for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES)]
    assert names == ["layer/w", "beta1_power", "beta2_power", "layer/w/Adam", "layer/w/Adam_1"]
    assert graph.get_collection(GraphKeys.TRAINABLE_VARIABLES) == [w]
    assert [v.op.name for v in optimizer.variables()] == sorted(names[1:])
    assert optimizer.get_slot_names() == ["m", "v"]
    assert optimizer.get_slot(w, "m").shape.as_list() == [2, 3]
    assert optimizer.get_slot(w, "nothing") is None
    assert optimizer.get_name() == "Adam"


def test_the_step_bears_the_name_and_is_collected() -> None:
    w = Variable(np.ones(2), name="w")
    step = train.GradientDescentOptimizer(0.1).minimize(loss_of(w))
    named = train.GradientDescentOptimizer(0.1).minimize(loss_of(w), name="second")
    assert (step.name, named.name) == ("GradientDescent", "second")
    assert get_default_graph().get_collection(GraphKeys.TRAIN_OP) == [step, named]


@pytest.mark.parametrize("make", [lambda: train.GradientDescentOptimizer(0.1), train.AdamOptimizer])
def test_the_global_step_counts_updates(make: Callable[[], Any]) -> None:
    count = train.get_or_create_global_step()
    w = Variable(np.ones(2), name="w")
    step = make().minimize(loss_of(w), global_step=count)
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        for _ in range(3):
            assert sess.run(step) is None
        assert train.global_step(sess, count) == 3
        before = set()
        stack = [step]
        while stack:
            op = stack.pop()
            before.add(op.type)
            stack += op.control_inputs
        assert "AssignSub" in before


@pytest.mark.parametrize("kind", ["number", "tensor", "function", "placeholder", "schedule", "float32 tensor"])
def test_kinds_of_learning_rates(kind: str) -> None:
    w = Variable(np.array([4.0]), name="w")
    rate: Any = {
        "number": 0.25,
        "tensor": tf.constant(0.25, tf.float64),
        "float32 tensor": tf.constant(0.25),
        "function": lambda: 0.25,
        "placeholder": tf.placeholder(tf.float32, []),
        "schedule": train.exponential_decay(0.25, tf.constant(0), 10, 0.5),
    }[kind]
    step = train.GradientDescentOptimizer(rate).minimize(loss_of(w))
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(step, {rate: 0.25} if kind == "placeholder" else None)
        assert sess.run(w)[0] == 2.0


def test_gradients_without_a_path_are_none_and_skipped() -> None:
    v, w = Variable(np.ones(2), name="v"), Variable(np.ones(2), name="w")
    optimizer = train.MomentumOptimizer(0.1, 0.9)
    pairs = optimizer.compute_gradients(loss_of(w))
    assert pairs[0] == (None, v) and pairs[1][1] is w
    step = optimizer.apply_gradients(pairs)
    assert optimizer.get_slot(v, "momentum") is None
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(step)
        np.testing.assert_array_equal(sess.run(v), [1, 1])
        np.testing.assert_allclose(sess.run(w), [0.8, 0.8])


def test_var_list_and_grad_loss() -> None:
    v, w = Variable(np.ones(2), name="v"), Variable(np.ones(2), name="w")
    loss = arithmetic.square(v) * w
    step = train.GradientDescentOptimizer(0.5).minimize(loss, var_list=[v], grad_loss=[1.0, 0.0])
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run([v, w]), [[0.0, 1.0], [1.0, 1.0]])


def test_a_constraint_holds_after_the_step() -> None:
    w = Variable(np.array([0.5, 2.0]), name="w", constraint=lambda x: arithmetic.maximum(x, 1.0))
    step = train.MomentumOptimizer(0.5, 0.0).minimize(loss_of(w))
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), [1.0, 1.0])


def test_one_optimizer_for_two_losses_shares_its_slots() -> None:
    w = Variable(np.ones(2), name="w")
    optimizer = train.AdamOptimizer(0.1)
    first, second = optimizer.minimize(loss_of(w)), optimizer.minimize(loss_of(w))
    assert len(optimizer.variables()) == 4
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(first)
        sess.run(second)
        assert sess.run(optimizer.variables()[0]) == 0.9**3


def test_a_step_inside_cond() -> None:
    w = Variable(np.array([2.0]), name="w")
    go = tf.placeholder(tf.bool, [])
    optimizer = train.MomentumOptimizer(0.25, 0.5)
    pairs = optimizer.compute_gradients(loss_of(w))
    done = control.cond(go, lambda: optimizer.apply_gradients(pairs), tf.no_op)
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(done, {go: False})
        assert sess.run(w) == 2.0
        sess.run(done, {go: True})
        assert sess.run(w) == 1.0


def test_accumulated_gradients_equal_one_step_along_their_sum() -> None:
    x = tf.placeholder(tf.float64, [None, 2])
    w = Variable(np.array([1.0, -1.0]), name="w")
    loss = reduce.reduce_mean(arithmetic.square(reduce.reduce_sum(x * w, 1) - 1.0))
    optimizer = train.GradientDescentOptimizer(0.1)
    ((grad, _),) = optimizer.compute_gradients(loss)
    total = Variable(np.zeros(2), name="total", trainable=False)
    accumulate, zero = total.assign_add(grad), total.initializer
    step = optimizer.apply_gradients([(total.value(), w)])
    batches = np.random.default_rng(0).normal(size=(2, 5, 2))
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        start = sess.run(w)
        grads = [sess.run(grad, {x: b}) for b in batches]
        sess.run(zero)
        for b in batches:
            sess.run(accumulate, {x: b})
        sess.run(step)
        np.testing.assert_allclose(sess.run(w), start - 0.1 * (grads[0] + grads[1]), rtol=1e-14)


class Signs(train.Optimizer):
    """A user's own optimizer in TensorFlow 1's protocol: steps by the sign of a running mean."""

    def __init__(self, rate: float, name: str = "Signs") -> None:
        super().__init__(False, name)
        self._rate = rate

    def _create_slots(self, var_list: Any) -> None:
        for v in var_list:
            self._zeros_slot(v, "mean", self._name)

    def _prepare(self) -> None:
        self._rate_t = tf.convert_to_tensor(self._rate, tf.float64)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        mean = self.get_slot(var, "mean")
        new = mean.assign(0.5 * mean + 0.5 * grad)
        return tf.group(state.assign_sub(var, self._rate_t * arithmetic.sign(new)), new)


class OnlyResource(train.Optimizer):
    """A user's optimizer written for resource variables alone."""

    def __init__(self) -> None:
        super().__init__(False, "OnlyResource")

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        return handle.assign_sub(grad * 0.25)

    def _resource_apply_sparse(self, grad: Any, handle: Any, indices: Any) -> Any:
        return state.scatter_sub(handle, indices, grad * 0.25)


def test_optimizers_of_users() -> None:
    w = Variable(np.array([1.0, -1.0]), name="w")
    step = Signs(0.25).minimize(loss_of(w))
    rows = Variable(np.ones((3, 1)), name="rows")
    sparse = OnlyResource().minimize(loss_of(index.gather(rows, [1, 1])))
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run([step, sparse])
        np.testing.assert_allclose(sess.run(w), [0.75, -0.75])
        np.testing.assert_allclose(sess.run(rows).ravel(), [1.0, 0.0, 1.0])


def test_a_gradient_by_rows_becomes_dense_for_an_optimizer_without_rows() -> None:
    rows = Variable(np.ones((3, 1)), name="rows")
    step = Signs(0.25).minimize(loss_of(index.gather(rows, [1, 1])))
    with tf.Session() as sess:
        sess.run(global_variables_initializer())
        sess.run(step)
        np.testing.assert_allclose(sess.run(rows).ravel(), [1.0, 0.75, 1.0])


# -- mistakes --------------------------------------------------------------------------------------------------------


def _weights(dtype: Any = np.float64) -> Any:
    return Variable(np.ones(2, dtype), name="w")


def _other_loss() -> Any:
    _weights()
    return train.GradientDescentOptimizer(0.1).minimize(tf.constant(1.0))


def _adam(loss: Any, variables: list[Any]) -> Any:
    return train.AdamOptimizer().minimize(loss, var_list=variables)


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no path": (_other_loss, ValueError, r"No gradients provided for any variable.*w:0.*Const"),
    "no variables": (lambda: train.AdamOptimizer().minimize(tf.constant(1.0)), ValueError, "No variables to optimize"),
    "no pairs": (lambda: train.AdamOptimizer().apply_gradients([]), ValueError, "No variables provided"),
    "all None": (lambda: train.AdamOptimizer().apply_gradients([(None, _weights())]), ValueError, "No gradients"),
    "swapped pair": (
        lambda: train.AdamOptimizer().apply_gradients([(_weights(), tf.constant(1.0))]), TypeError, "changes variables",
    ),
    "not a pair": (lambda: train.AdamOptimizer().apply_gradients([_weights()]), TypeError, "pairs"),
    "shape": (
        lambda: train.AdamOptimizer().apply_gradients([(tf.constant(np.ones(3)), _weights())]),
        ValueError, "does not fit",
    ),
    "a gradient that would broadcast": (
        lambda: train.GradientDescentOptimizer(1.0).apply_gradients([(tf.constant(np.ones(())), _weights())]),
        ValueError, "does not fit",
    ),
    "dtype": (
        lambda: train.AdamOptimizer().apply_gradients([(tf.constant(np.ones(2, np.float32)), _weights())]),
        TypeError, "does not fit",
    ),
    "integer loss": (lambda: _adam(tf.constant(1), [_weights()]), ValueError, "Invalid type"),
    "integer variable": (lambda: _adam(tf.constant(1.0), [_weights(np.int32)]), ValueError, "No gradients provided"),
    "not a variable": (lambda: _adam(tf.constant(1.0), ["w"]), TypeError, "variables"),
    "gate": (
        lambda: train.AdamOptimizer().compute_gradients(loss_of(_weights()), gate_gradients=7), ValueError, "GATE_NONE",
    ),
    "rate of rank 1": (
        lambda: train.GradientDescentOptimizer([0.1, 0.2]).minimize(loss_of(_weights())), ValueError, "scalar",
    ),
    "rate as text": (lambda: train.GradientDescentOptimizer("fast").minimize(loss_of(_weights())), TypeError, "number"),
    "no name": (lambda: train.AdamOptimizer(name=""), ValueError, "name"),
    "adagrad start": (lambda: train.AdagradOptimizer(0.1, 0.0), ValueError, "positive"),
    "ftrl power": (lambda: train.FtrlOptimizer(0.1, 0.5), ValueError, "learning_rate_power"),
    "ftrl l1": (lambda: train.FtrlOptimizer(0.1, l1_regularization_strength=-1.0), ValueError, "l1"),
    "base class": (
        lambda: train.Optimizer(False, "x").minimize(loss_of(_weights())), NotImplementedError, "_apply_dense",
    ),
    "global step": (
        lambda: train.AdamOptimizer().minimize(loss_of(_weights()), global_step=tf.constant(1)), TypeError, "variable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.filterwarnings("ignore:all gradients")
def test_mistakes_are_typed_errors(name: str) -> None:
    build, error, text = MISTAKES[name]
    with pytest.raises(error, match=text) as caught:
        build()
    assert isinstance(caught.value, tf.errors.OpError)
