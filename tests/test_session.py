"""What a run means: design section 5, item by item, through `Session`."""

from __future__ import annotations

import collections
import gc
import itertools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.plans import MAX_ENTRIES, MAX_SHAPES

Pair = collections.namedtuple("Pair", ["a", "b"])


@pytest.fixture
def sess() -> Any:
    """A session on the default graph, which is the default session."""
    with tf.Session() as session:
        yield session


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one with each compilation."""
    seen: list[Any] = []
    compile_ = tf.Session.compile

    def counting(self: Any, *args: Any) -> Any:
        seen.append(args)
        return compile_(self, *args)

    monkeypatch.setattr(tf.Session, "compile", counting)
    return seen


def start(*, of: tf.Session | None = None) -> None:
    (of or tf.get_default_session()).run(tf.global_variables_initializer())


# -- 1: values belong to the session ---------------------------------------------------------------------------------


def test_values_belong_to_the_session(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    add = v.assign_add(1.0)
    start()
    other = tf.Session()
    start(of=other)
    sess.run(add)
    assert (sess.run(v), other.run(v)) == (2.0, 1.0)
    other.close()
    assert sess.run(v) == 2.0


def test_a_new_session_has_no_values(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    start()
    with tf.Session() as other, pytest.raises(tf.errors.FailedPreconditionError, match="not initialized"):
        other.run(v)
    assert sess.run(v) == 1.0


# -- 2: reads and writes happen in the order in which they were created ------------------------------------------------

WRITES: dict[str, Callable[[Any], Any]] = {
    "=3": lambda v: v.assign(3.0),
    "+10": lambda v: v.assign_add(10.0),
    "-1": lambda v: v.assign_sub(1.0),
    "*2": lambda v: v.assign(v * 2.0),
}
PLAIN: dict[str, Callable[[float], float]] = {
    "=3": lambda x: 3.0,
    "+10": lambda x: x + 10.0,
    "-1": lambda x: x - 1.0,
    "*2": lambda x: x * 2.0,
}


@pytest.mark.parametrize("plan", list(itertools.product(["read", *WRITES], repeat=3)), ids=" ".join)
def test_reads_and_writes_in_order_of_creation(sess: tf.Session, plan: tuple[str, ...]) -> None:
    """All programs of three steps; whatever is fetched, in whatever order, gets what the program says."""
    v = tf.Variable(1.0)
    start()
    value, built, expected = 1.0, [], []
    for step in plan:
        if step == "read":
            built.append(v + 0.0)
        else:
            built.append(WRITES[step](v))
            value = PLAIN[step](value)
        expected.append(value)
    built.append(v * 1.0)
    expected.append(value)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        v.load(1.0, sess)
        assert sess.run([built[i] for i in order]) == [expected[i] for i in order]
        assert sess.run(v) == value


def test_only_what_is_needed_counts(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    v.assign(100.0)
    after = v + 1.0
    start()
    assert sess.run(after) == 2.0


def test_a_fetched_variable_has_its_value_from_before_the_writes(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    write = v.assign_add(1.0)
    start()
    assert sess.run([write, v, v.value()]) == [2.0, 1.0, 2.0]


def test_control_dependencies_say_more(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    early = v.read_value()
    write = v.assign(5.0)
    with tf.control_dependencies([write]):
        late = v.read_value()
    with tf.control_dependencies([early]):
        gate = tf.identity(early)
    start()
    assert sess.run([late, early, gate]) == [5.0, 1.0, 1.0]


def test_an_edge_added_later_turns_the_order_round(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    early = v.read_value()
    write = v.assign(5.0)
    start()
    call = sess.make_callable([early, write])
    for run in (call, lambda: sess.run([early, write])):
        v.load(1.0, sess)
        assert run() == [1.0, 5.0]
    early.op._add_control_input(write.op)
    for run in (call, lambda: sess.run([early, write])):
        v.load(1.0, sess)
        assert run() == [5.0, 5.0]


def test_a_long_chain_of_writes(sess: tf.Session) -> None:
    v = tf.Variable(0)
    reads, expected, value = [], [], 0
    for i in range(60):
        if i % 3 == 2:
            v.assign(v * 2)
            value *= 2
        else:
            v.assign_add(i)
            value += i
        reads.append(v.read_value())
        expected.append(value)
    writes = [op for op in sess.graph.get_operations() if op.type.startswith("Assign") and op is not v.initializer]
    start()
    assert sess.run([*reads[::-1], *writes])[:60] == expected[::-1]


def test_variables_are_independent(sess: tf.Session) -> None:
    a, b = tf.Variable(1.0), tf.Variable(2.0)
    swap = [a.assign(b), b.assign(a)]
    start()
    sess.run(swap)
    assert sess.run([a, b]) == [2.0, 2.0]


def test_a_group_runs_everything_once(sess: tf.Session) -> None:
    v = tf.Variable(0)
    add = v.assign_add(1)
    with tf.control_dependencies([add]):
        again = v.assign_add(10)
    both = tf.group(add, again, add)
    start()
    assert sess.run([both, add, add, add.op])[0] is None
    assert sess.run(v) == 11


def test_a_counter_among_the_trainable_variables(sess: tf.Session) -> None:
    """`global_step = tf.Variable(0)`, trainable by default, as many programs have it."""
    global_step, w = tf.Variable(0), tf.Variable(1.0)
    train = tf.train.GradientDescentOptimizer(0.5).minimize(w * w, global_step=global_step)
    start()
    sess.run(train)
    assert sess.run([global_step, w]) == [1, 0.0]


def test_the_same_run_gives_the_same_bits(sess: tf.Session, rng: np.random.Generator) -> None:
    x = tf.placeholder(tf.float32, [None, 8])
    w = tf.Variable(rng.normal(size=(8, 8)).astype(np.float32))
    y = tf.reduce_sum(tf.tanh(tf.matmul(x, w)), 0)
    start()
    data = rng.normal(size=(100, 8))
    first = sess.run(y, {x: data})
    for level in (0, 1):
        with tf.Session(optimization_level=level) as other:
            start(of=other)
            assert other.run(y, {x: data}).tobytes() == first.tobytes()


# -- 4: a fed tensor is a cut point; anything may be fetched -----------------------------------------------------------


def test_any_tensor_may_be_fed(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    c = tf.constant([1.0, 2.0], name="c")
    v = tf.Variable([10.0, 20.0], name="v")
    middle = tf.add(x, c, name="middle")
    a, b = tf.unstack(middle * v, name="parts")
    total = tf.add(a, b, name="total")
    start()
    feeds = {x: [1.0, 1.0]}
    assert sess.run(total, feeds) == 80.0
    assert sess.run(total, {middle: [1.0, 0.0]}) == 10.0
    assert sess.run(total, {**feeds, c: [0.0, 0.0]}) == 30.0
    assert sess.run(total, {**feeds, v: [1.0, 1.0]}) == 5.0
    assert sess.run(total, {**feeds, "v/read:0": [1.0, 1.0]}) == 5.0
    assert sess.run(total, {**feeds, a: 0.5}) == 60.5
    assert sess.run(total, {a: 1.0, b: 2.0}) == 3.0
    assert sess.run(total, {"total:0": 7.0}) == 7.0
    assert sess.run(total, feeds) == 80.0


def test_a_fed_tensor_cuts_even_what_could_be_folded_or_merged(sess: tf.Session) -> None:
    one = tf.constant(1.0)
    two = one + one
    again = one + one
    three = two + one
    assert sess.run([two, again, three]) == [2.0, 2.0, 3.0]
    assert sess.run([two, again, three], {two: 5.0}) == [5.0, 2.0, 6.0]
    assert sess.run([two, again, three], {one: 5.0}) == [10.0, 10.0, 15.0]
    assert sess.run([two, again, three], {again: 5.0}) == [2.0, 5.0, 3.0]


def test_what_is_cut_off_is_not_run(sess: tf.Session) -> None:
    v = tf.Variable(0)
    counted = v.assign_add(1)
    y = counted + 1
    start()
    assert sess.run(y, {counted: 10}) == 11 and sess.run(v) == 0
    assert sess.run(y) == 2 and sess.run(v) == 1


def test_a_fed_variable_has_that_value_for_one_run(sess: tf.Session) -> None:
    v = tf.Variable([1.0, 2.0])
    double = v * 2.0
    write = v.assign_add([1.0, 1.0])
    after = v + 0.0
    start()
    found = sess.run([double, write, after, v], {v: [10.0, 20.0]})
    assert [f.tolist() for f in found] == [[20.0, 40.0], [11.0, 21.0], [11.0, 21.0], [10.0, 20.0]]
    assert sess.run(v).tolist() == [1.0, 2.0]
    fresh = tf.Variable(1.0)
    assert sess.run(fresh + 1.0, {fresh: 3.0}) == 4.0


def test_feeding_what_is_fetched(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [2])
    y = x * 2.0
    mine = np.array([1, 2], np.float32)
    found, doubled = sess.run([x, y], {x: mine})
    assert found is not mine and not np.shares_memory(found, mine) and found.tolist() == [1, 2]
    assert doubled.tolist() == [2, 4]
    assert sess.run(y, {y: mine}).tolist() == [1, 2]


def test_feeds_by_name_and_by_mapping(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    y = tf.add(x, 1.0, name="y")
    assert sess.run("y:0", {"x:0": 1.0}) == 2.0
    assert sess.run(y, collections.OrderedDict([(x, 2.0)])) == 3.0
    assert sess.run(y, collections.ChainMap({x: 3.0})) == 4.0
    assert sess.run("y", {x: 1.0}) is None


def test_placeholders_that_nobody_needs_may_be_missing_or_fed(sess: tf.Session) -> None:
    x, unused = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [2])
    y = x + 1.0
    unused * 2.0
    assert sess.run(y, {x: 1.0}) == sess.run(y, {x: 1.0, unused: [1.0, 2.0]}) == 2.0


def test_a_placeholder_with_a_default(sess: tf.Session) -> None:
    x = tf.placeholder_with_default([1.0, 2.0], [None])
    y = x + 1.0
    assert sess.run(y).tolist() == [2.0, 3.0]
    assert sess.run(y, {x: [5.0]}).tolist() == [6.0]


STRUCTURES: dict[str, tuple[Callable[..., Any], Any]] = {
    "tensor": (lambda a, b, op, v: a, 1.0),
    "list": (lambda a, b, op, v: [a, b], [1.0, 2.0]),
    "tuple": (lambda a, b, op, v: (a, b), (1.0, 2.0)),
    "empty": (lambda a, b, op, v: [], []),
    "empty_tuple": (lambda a, b, op, v: (), ()),
    "empty_dict": (lambda a, b, op, v: {}, {}),
    "one": (lambda a, b, op, v: [a], [1.0]),
    "op": (lambda a, b, op, v: op, None),
    "variable": (lambda a, b, op, v: v, 7.0),
    "name": (lambda a, b, op, v: ["a:0", "b"], [1.0, None]),
    "same_twice": (lambda a, b, op, v: [a, a, [a]], [1.0, 1.0, [1.0]]),
    "named_tuple": (lambda a, b, op, v: Pair(a, b), Pair(1.0, 2.0)),
    "named_in_tuple": (lambda a, b, op, v: (Pair(a, b), a), (Pair(1.0, 2.0), 1.0)),
    "tuple_in_tuple": (lambda a, b, op, v: ((a, b), a), ((1.0, 2.0), 1.0)),
    "named_in_list": (lambda a, b, op, v: [Pair(a, b)], [Pair(1.0, 2.0)]),
    "tuple_in_list": (lambda a, b, op, v: [(a, b)], [(1.0, 2.0)]),
    "dict": (lambda a, b, op, v: {"z": a, "y": b}, {"z": 1.0, "y": 2.0}),
    "ordered": (lambda a, b, op, v: collections.OrderedDict(z=a, y=op), collections.OrderedDict(z=1.0, y=None)),
    "keys": (lambda a, b, op, v: {a: b, 3: a}, None),
    "deep": (lambda a, b, op, v: [(a, {"k": [op, Pair(v, (b,))]}), []], [(1.0, {"k": [None, Pair(7.0, (2.0,))]}), []]),
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_any_nesting_may_be_fetched(sess: tf.Session, structure: str) -> None:
    a, b, v = tf.constant(1.0, name="a"), tf.constant(2.0, name="b"), tf.Variable(7.0)
    make, expected = STRUCTURES[structure]
    fetches = make(a, b, tf.no_op(), v)
    start()
    for _ in range(3):
        found = sess.run(fetches)
        assert type(found) is type(expected) or structure in ("tensor", "variable", "keys")
        assert found == ({a: 2.0, 3: 1.0} if structure == "keys" else expected)
    assert sess.make_callable(fetches)() == found


def test_structures_that_compare_equal_keep_their_kind(sess: tf.Session) -> None:
    """A named tuple equals a plain one with the same elements, but a fetch of it is not the same request."""
    a, b = tf.constant(1.0), tf.constant(2.0)
    for kind in ((a, b), Pair(a, b), [a, b], (a, b), Pair(a, b)):
        assert type(sess.run(kind)) is type(kind)
    for inner in ((a, b), Pair(a, b), [a, b]):
        assert type(sess.run([inner])[0]) is type(inner) and type(sess.run((inner, a))[0]) is type(inner)


def test_a_default_dict_becomes_a_dict(sess: tf.Session) -> None:
    fetches = collections.defaultdict(list, a=tf.constant(1.0))
    assert sess.run(fetches) == {"a": 1.0}


def test_fetched_values_are_numpy(sess: tf.Session) -> None:
    found = sess.run([tf.constant(1.0), tf.constant([1, 2]), tf.constant("a"), tf.constant(["a"]), tf.constant(True)])
    assert [type(f) for f in found] == [np.float32, np.ndarray, bytes, np.ndarray, np.bool_]
    assert found[1].dtype == np.int32 and found[3].dtype == object


def test_nothing_that_is_fetched_shares_memory(sess: tf.Session, rng: np.random.Generator) -> None:
    """Not with a feed, a constant, a variable, another fetch, or the next run's."""
    x = tf.placeholder(tf.float32, [4, 3])
    c, v = tf.constant(rng.normal(size=(4, 3)).astype(np.float32)), tf.Variable(tf.ones([4, 3]))
    y = x + c
    views = [tf.reshape(t, [3, 4]) for t in (x, c, y)]
    views += [tf.identity(y), tf.transpose(y), y[1:], v.assign_add(y), v.value()]
    fetches = [x, c, v, y, y, *views]
    start()
    mine = rng.normal(size=(4, 3)).astype(np.float32)
    kept = mine.copy()
    first = sess.run(fetches, {x: mine})
    second = sess.run(fetches, {x: mine})
    alive = [mine, *first, *second]
    for i, j in itertools.combinations(range(len(alive)), 2):
        assert not np.shares_memory(alive[i], alive[j]), (i, j)
    values = [f.copy() for f in second]
    for f in (*first, mine):
        f[...] = np.nan
    v.load(values[2], sess)
    for old, new in zip(values, sess.run(fetches, {x: kept}), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(f.flags.writeable for f in first)


# -- 5: feeds --------------------------------------------------------------------------------------------------------


def test_feeds_of_other_dtypes(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [None])
    y = x * 1.0
    plain = [1.5, 2.5]
    for given in (np.array(plain), plain, tuple(plain), np.array(plain, np.float16), np.array(plain, ">f8")):
        found = sess.run(y, {x: given})
        assert found.dtype == np.float32 and found.tolist() == [1.5, 2.5]
    for given in ([1, 2], np.array([1, 2], np.uint8), [True, 2], np.array([1, 2], np.int64), range_array()):
        assert sess.run(y, {x: given}).tolist() == [1.0, 2.0]
    assert sess.run(y, {x: np.array([1e-300, 0.1])}).tolist() == [0.0, np.float32(0.1)]
    n = tf.placeholder(tf.int32, [None])
    assert sess.run(n + 0, {n: np.array([1.0, -2.0])}).tolist() == [1, -2]


def range_array() -> Any:
    return np.arange(1, 3, dtype=np.int16)


def test_special_values_pass_bit_by_bit(sess: tf.Session) -> None:
    bits = np.array([0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 0x00000001], np.uint32)
    x = tf.placeholder(tf.float32, [None])
    found = sess.run(tf.identity(x), {x: bits.view(np.float32)})
    assert found.view(np.uint32).tolist() == bits.tolist()
    s = tf.placeholder(tf.float32, [])
    t = tf.identity(s)
    for value in (float("inf"), float("-inf"), np.float32("inf"), np.float64("-inf"), np.array(np.inf)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert sess.run(t, {s: value}) == value
    assert np.isnan(sess.run(t, {s: float("nan")})) and np.signbit(sess.run(t, {s: -0.0}))


def test_what_fits_is_not_copied(sess: tf.Session) -> None:
    """The kernel sees the fed memory itself."""
    seen: list[Any] = []

    @tf.RegisterKernel("SessionTestPeek")
    def _(x: Any) -> Any:
        seen.append(x)
        return np.zeros(1, np.float32)

    @tf.op("SessionTestPeek", infer=lambda x: graphflow_spec((1,)), stateful=True, differentiable=False)
    def peek(x: Any, name: str | None = None) -> Any:
        return tf.call((x,), name)

    x = tf.placeholder(tf.float32, [None, 3])
    y = peek(x)
    mine = np.ones((2, 3), np.float32)
    frozen = np.ones((2, 3), np.float32)
    frozen.flags.writeable = False
    for given in (mine, frozen):
        sess.run(y, {x: given})
        assert np.shares_memory(seen[-1], given)
    for given in (np.ones((2, 3)), np.ones((3, 2), np.float32).T, [[1.0, 1.0, 1.0]]):
        sess.run(y, {x: given})
        assert not (isinstance(given, np.ndarray) and np.shares_memory(seen[-1], given)) and seen[-1].flags.c_contiguous


def graphflow_spec(dims: tuple[int, ...]) -> Any:
    from graphflow.spec import TensorSpec

    return TensorSpec(tf.float32, dims)


def test_feeds_are_never_written(sess: tf.Session, rng: np.random.Generator) -> None:
    x = tf.placeholder(tf.float32, [4])
    v = tf.Variable(tf.zeros([4]))
    ops = [x + 1.0, -x, tf.add_n([x, x, x]), tf.reshape(x, [2, 2]), tf.nn.relu(x), tf.square(x)]
    ops += [v.assign(x), v.assign_add(x), v.assign_add(v + x), v.assign_sub(x)]
    start()
    mine = rng.normal(size=4).astype(np.float32)
    kept = mine.copy()
    for _ in range(3):
        sess.run(ops, {x: mine})
        assert mine.tobytes() == kept.tobytes()
    mine[:] = 0
    assert sess.run(v).any(), "the variable shares the fed memory"


def test_text_feeds_are_looked_at(sess: tf.Session) -> None:
    x = tf.placeholder(tf.string, [None])
    y = tf.identity(x)
    for given in (["a", "ü"], np.array(["a", "ü"]), np.array(["a", "ü"], object), np.array([b"a", "ü"], object)):
        assert sess.run(y, {x: given}).tolist() == [b"a", "ü".encode()]
    s = tf.placeholder(tf.string, [])
    assert sess.run(tf.identity(s), {s: "a"}) == b"a"
    with pytest.raises(tf.errors.FeedError, match="text or bytes"):
        sess.run(y, {x: np.array([1, 2], object)})


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (1, 1, 1), ()])
def test_shapes_of_all_kinds(sess: tf.Session, shape: tuple[int, ...]) -> None:
    x = tf.placeholder(tf.float32)
    found = sess.run(x + 1.0, {x: np.zeros(shape)})
    assert found.shape == shape and found.dtype == np.float32 and np.all(found == 1.0)


# -- plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_is_compiled_once(sess: tf.Session, compilations: list[Any]) -> None:
    x = tf.placeholder(tf.float32, [None])
    y, z = x + 1.0, x * 2.0
    for _ in range(5):
        sess.run(y, {x: [1.0]})
    assert len(compilations) == 1
    sess.run([y, z], {x: [1.0]})
    sess.run([y, z], {x: [2.0]})
    sess.run((y, z), {x: [2.0]})
    assert len(compilations) == 3
    sess.run(y, {x: [1.0, 2.0]})
    sess.run(y, {x: [1.0]})
    assert len(compilations) == 4
    sess.run(y, {x: [1.0], z: [1.0]})
    assert len(compilations) == 5


def test_extending_the_graph_keeps_all_plans(sess: tf.Session, compilations: list[Any]) -> None:
    x = tf.placeholder(tf.float32, [])
    y = x + 1.0
    call = sess.make_callable(y, [x])
    for i in range(20):
        assert sess.run(y, {x: float(i)}) == call(float(i)) == i + 1
        x * float(i)
        tf.gradients(y, x)
    assert len(compilations) == 1


def test_nested_structures_have_plans_too(sess: tf.Session, compilations: list[Any]) -> None:
    a, b = tf.constant(1.0), tf.constant(2.0)
    for _ in range(3):
        sess.run({"x": [a, (b,)]})
        sess.run([[a], Pair(a, b)])
        sess.run(Pair(a, b))
    assert len(compilations) == 3


def test_many_shapes_get_one_plan_for_any_shape(sess: tf.Session, compilations: list[Any]) -> None:
    x = tf.placeholder(tf.float32, [None, None])
    y = tf.reduce_sum(tf.reshape(x * 2.0, [-1]) + 1.0) + tf.cast(tf.shape(x)[0], tf.float32)
    call = sess.make_callable(y, [x])
    for n in range(1, 40):
        expected = 2.0 * n * n + n * n + n
        assert sess.run(y, {x: np.ones((n, n))}) == expected == call(np.ones((n, n), np.float32))
    assert len(compilations) == MAX_SHAPES + 1
    for n in range(1, 40):
        sess.run(y, {x: np.ones((n, 2))})
    assert len(compilations) == MAX_SHAPES + 1
    program = compilations[-1]
    assert program[3] == [(None, None)]
    with pytest.raises(tf.errors.ShapeError, match="Cannot feed"):
        sess.run(y, {x: np.ones(3)})


def test_the_number_of_plans_is_bounded(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [])
    ys = [x + float(i) for i in range(MAX_ENTRIES + 50)]
    for i, y in enumerate(ys):
        assert sess.run(y, {x: 1.0}) == 1.0 + i
    assert len(sess._entries) <= MAX_ENTRIES + 1
    assert sess.run(ys[0], {x: 2.0}) == 2.0


def test_runs_do_not_accumulate(sess: tf.Session) -> None:
    """100,000 runs of several kinds, errors among them, leave nothing behind."""
    x = tf.placeholder(tf.float32, [4])
    v = tf.Variable(tf.zeros([4]))
    step = v.assign_add(x)
    y = tf.check_numerics(x * 2.0, "y")
    start()
    good, bad = np.ones(4, np.float32), np.full(4, np.nan, np.float32)
    call = sess.make_callable(y, [x])

    def many(n: int) -> None:
        for i in range(n):
            sess.run(step, {x: good})
            sess.run([y, v], {x: good})
            call(good)
            if i % 100 == 0:
                with pytest.raises(tf.errors.InvalidArgumentError):
                    sess.run(y, {x: bad})

    many(300)
    drifts = []
    for _ in range(3):  # what leaks leaks in each third; a memo that fills up somewhere does so once
        gc.collect()
        before = sys.getallocatedblocks()
        many(11_000)
        gc.collect()
        drifts.append(sys.getallocatedblocks() - before)
    assert min(drifts) < 60, drifts


# -- 7: errors -------------------------------------------------------------------------------------------------------


def test_a_failed_run_says_where_and_leaves_the_session_usable(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    v = tf.Variable(0.0)
    ratio = tf.check_numerics(1.0 / x, "ratio", name="safe")
    step = v.assign_add(tf.reduce_sum(ratio))
    start()
    for _ in range(3):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            sess.run([ratio, step], {x: [1.0, 0.0]})
        error = caught.value
        assert (error.op_name, error.op_type) == ("safe", "CheckNumerics")
        assert error.source is not None and "test_session.py:" in error.source and "test_a_failed_run" in error.source
        assert sess.run(v) == 0.0
    assert sess.run(ratio, {x: [1.0, 2.0]}).tolist() == [1.0, 0.5]


def test_the_first_failing_op_is_named(sess: tf.Session) -> None:
    """Of several that would fail, the one that was built first: always the same."""
    x = tf.placeholder(tf.float32, [], name="x")
    checks = [tf.check_numerics(x * float(i + 1), f"number {i}", name=f"check_{i}") for i in range(5)]
    for fetches in (checks, checks[::-1], [checks[3], checks[1], checks[4]]):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            sess.run(fetches, {x: float("nan")})
        assert caught.value.op_name == min(t.op.name for t in fetches)


def test_the_callers_numpy_settings_stay(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [3])
    y = [1.0 / x, x * 1e38 * 10.0, tf.sqrt(x), tf.log(x), tf.exp(x * 1000.0)]
    n = tf.placeholder(tf.int32, [])
    big = n * n
    data = {x: [-1.0, 0.0, 5.0], n: 100_000}
    for setting in ("raise", "warn", "print", "ignore"):
        with np.errstate(all=setting), warnings.catch_warnings():
            warnings.simplefilter("error")
            before = np.geterr()
            sess.run([*y, big], data)
            assert np.geterr() == before
            with pytest.raises(tf.errors.InvalidArgumentError):
                sess.run(tf.check_numerics(y[0], "y"), data)
            assert np.geterr() == before


# -- life cycle ------------------------------------------------------------------------------------------------------


def test_default_sessions_nest() -> None:
    assert tf.get_default_session() is None
    a, b = tf.Graph(), tf.Graph()
    with tf.Session(graph=a) as outer:
        assert tf.get_default_session() is outer and tf.get_default_graph() is a
        with tf.Session(graph=b).as_default() as inner:
            assert tf.get_default_session() is inner and tf.get_default_graph() is b
            x = tf.constant(2.0)
            assert x.eval() == 2.0
        assert inner.run(x) == 2.0, "as_default() closed the session"
        assert tf.get_default_session() is outer and tf.get_default_graph() is a
    assert tf.get_default_session() is None


def test_a_session_is_left_when_its_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), tf.Session():
        raise ZeroDivisionError
    assert tf.get_default_session() is None


def test_an_interactive_session_is_the_default_until_closed() -> None:
    session = tf.InteractiveSession()
    try:
        x = tf.constant(1.0)
        v = tf.Variable(2.0)
        v.initializer.run()
        assert (x + v).eval() == 3.0
        with session.as_default():
            assert x.eval() == 1.0
    finally:
        session.close()
    assert tf.get_default_session() is None
    with pytest.raises(tf.errors.FailedPreconditionError, match="no session"):
        x.eval()
    graph = tf.Graph()
    session = tf.InteractiveSession(graph=graph)
    assert tf.get_default_graph() is graph
    session.close()
    session.close()
    assert tf.get_default_graph() is not graph


def test_closing_frees_the_values() -> None:
    tf.Variable(np.zeros(1000))
    session = tf.Session()
    start(of=session)
    session.close()
    assert session._cells == {} and session._entries == {}


def test_eval_and_run_in_a_given_session(sess: tf.Session) -> None:
    v = tf.Variable(1.0)
    x = tf.placeholder(tf.float32, [])
    other = tf.Session()
    v.initializer.run(session=other)
    v.load(5.0, other)
    start()
    assert (v.eval(), v.eval(other), (v + x).eval({x: 1.0}, other)) == (1.0, 5.0, 6.0)
    other.close()


# -- make_callable ---------------------------------------------------------------------------------------------------


def test_a_callable_does_what_run_does(sess: tf.Session) -> None:
    x, n = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.int32, [])
    v = tf.Variable(0)
    fetches = {"y": x * 2.0, "n": (n + 1, v.assign_add(n))}
    start()
    call = sess.make_callable(fetches, [x, n])
    found = call([1.0, 2.0], 3)
    assert found["y"].tolist() == [2.0, 4.0] and found["n"] == (4, 3)
    assert call(np.zeros((0,)), 1)["n"] == (2, 4)
    assert sess.make_callable(v)() == 4
    assert sess.make_callable(v.assign_add(1).op)() is None and sess.run(v) == 5


def test_the_program_of_a_run_can_be_read(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [None], name="x")
    y = tf.add(x, 1.0, name="plus_one")
    program = sess.program([y], {x: [1.0, 2.0]})
    assert "plus_one" in str(program) and "float32[2]" in str(program) and "test_session.py" in str(program)
    assert "1 instructions" in str(program)


# -- nested runs -----------------------------------------------------------------------------------------------------


def test_a_run_inside_a_run(sess: tf.Session) -> None:
    """py_func calls the session that is running it: the same fetch with another value, a variable, a write."""
    x = tf.placeholder(tf.float32, [])
    v = tf.Variable(10.0)
    bump = v.assign_add(1.0)
    depth: list[int] = []

    def inner(value: Any) -> Any:
        depth.append(len(depth))
        if len(depth) < 4:
            return sess.run(y, {x: value + 1.0})
        return np.float32(sess.run(bump) + sess.run(v) + value)

    y = tf.py_func(inner, [x * 2.0], tf.float32) + 0.5
    start()
    assert sess.run(y, {x: 1.0}) == (11.0 + 11.0 + 30.0) + 4 * 0.5
    assert sess.run(v) == 11.0


def test_an_error_in_an_inner_run_names_the_inner_op(sess: tf.Session) -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    bad = tf.check_numerics(x, "inner", name="inner_check")
    y = tf.py_func(lambda v: sess.run(bad, {x: np.nan}), [x], tf.float32, name="outer")
    with pytest.raises(tf.errors.InvalidArgumentError, match="inner : Tensor had NaN") as caught:
        sess.run(y, {x: 1.0})
    assert caught.value.op_name == "inner_check"
    assert sess.run(bad, {x: 1.0}) == 1.0
