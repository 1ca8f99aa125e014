"""Fusion groups: what stands together, in which order, and that no value changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.program import Group, Program

LEVELS = [0, 1, 2]


def program_of(fetches: Any, feeds: dict[Any, Any], level: int = 1) -> Program:
    with tf.Session(optimization_level=level) as session:
        session.run(tf.global_variables_initializer())
        return session.program(fetches, feeds)


def members(program: Program) -> list[list[str]]:
    return [[ins.type for ins in program.instructions[g.begin : g.end]] for g in program.groups]


def check(program: Program) -> None:
    """Order and groups are consistent."""
    made = {*program.feeds, *program.constants}
    done: set[int] = set()
    keys = {ins.key for ins in program.instructions}
    for ins in program.instructions:
        assert made.issuperset(ins.inputs), ins
        assert done.issuperset(keys.intersection(ins.after)), ins
        made.update(ins.outputs)
        done.add(ins.key)
    end = 0
    for group in program.groups:
        assert group.begin >= end and group.end >= group.begin + 2
        end = group.end
        check_outputs(program, group)


def check_outputs(program: Program, group: Group) -> None:
    inside = program.instructions[group.begin : group.end]
    outside = [*program.instructions[: group.begin], *program.instructions[group.end :]]
    read = {v for ins in outside for v in ins.inputs} | set(program.fetches)
    needed = {v for ins in inside for v in ins.outputs if v in read}
    assert needed <= set(group.outputs)


def test_a_chain_of_pointwise_ops_is_one_group() -> None:
    x = tf.placeholder(tf.float32, [8, 3])
    y = tf.tanh(x * 2.0 + tf.ones([3])) - tf.exp(x)
    program = program_of(y, {x: np.ones((8, 3))})
    check(program)
    (group,) = program.groups
    assert group.dims == (8, 3) and group.outputs == program.fetches and group.end - group.begin == 5
    assert members(program) == [["Mul", "Add", "Tanh", "Exp", "Sub"]]


def test_a_path_that_leaves_and_comes_back_splits_the_group() -> None:
    x = tf.placeholder(tf.float32, [4, 4])
    a = tf.exp(x) * 2.0
    b = tf.matmul(a, a)
    c = tf.tanh(a + b) - a
    program = program_of(c, {x: np.ones((4, 4))})
    check(program)
    assert members(program) == [["Exp", "Mul"], ["Add", "Tanh", "Sub"]]


def test_independent_branches_are_not_chained_together() -> None:
    xs = [tf.placeholder(tf.float32, [4]) for _ in range(3)]
    y = tf.stack([tf.tanh(x) * 2.0 for x in xs])
    program = program_of(y, {x: np.ones(4) for x in xs})
    check(program)
    assert members(program) == [["Tanh", "Mul"]] * 3


def test_readers_of_one_large_value_share_a_pass_over_it() -> None:
    x = tf.placeholder(tf.float32, [100])
    program = program_of([tf.exp(x), tf.sin(x)], {x: np.ones(100)})
    check(program)
    assert members(program) == [["Exp", "Sin"]]


def test_a_reduction_ends_a_group_from_level_2_on() -> None:
    x = tf.placeholder(tf.float32, [6, 5])
    y = tf.exp(x)
    fetches = [tf.reduce_sum(y * y), y / tf.reduce_sum(y, 1, keepdims=True)]
    feeds = {x: np.ones((6, 5))}
    assert all("Sum" not in group for group in members(program_of(fetches, feeds)))
    program = program_of(fetches, feeds, level=2)
    check(program)
    first = next(group for group in members(program) if "Exp" in group)
    assert first[-2:] == ["Sum", "Sum"] and "RealDiv" not in first


@pytest.mark.parametrize("mask", [[4], [4, 1], [1, 4]])
def test_a_vector_of_bools_that_chooses_rows_is_no_broadcast(mask: list[int]) -> None:
    m, x = tf.placeholder(tf.bool, mask), tf.placeholder(tf.float32, [4, 4])
    y = tf.where(m, tf.exp(x), x * 2.0) if len(mask) == 1 else tf.where(tf.broadcast_to(m, [4, 4]), tf.exp(x), x)
    data = {m: np.array([True, False, True, False]).reshape(mask), x: np.arange(16.0).reshape(4, 4)}
    found = [tf.Session(optimization_level=level).run(y, data) for level in LEVELS]
    assert np.array_equal(found[0], found[1]) and np.allclose(found[0], found[2], rtol=1e-5)
    program = program_of(y, data)
    check(program)
    if len(mask) == 1:
        assert all("Select" not in group for group in members(program))


def test_atomic_regions_stay_together_and_hazards_in_order() -> None:
    v = tf.Variable(np.ones((4, 4), np.float32))
    x = tf.placeholder(tf.float32, [4, 4])
    before = tf.tanh(v) * 2.0
    loss = tf.reduce_sum(tf.square(tf.matmul(x, v)))
    step = tf.train.AdamOptimizer(0.1).minimize(loss)
    with tf.control_dependencies([step]):
        after = tf.tanh(v.read_value()) * 2.0
    program = program_of([before, step, after], {x: np.ones((4, 4))})
    check(program)
    regions = [ins.op.region.id if ins.op.region else None for ins in program.instructions]
    for region in {r for r in regions if r is not None}:
        places = [i for i, r in enumerate(regions) if r == region]
        assert places == list(range(places[0], places[-1] + 1))


def test_unknown_shapes_zero_sizes_and_strings_stay_alone() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    picked = tf.boolean_mask(x, x[:, 0] > 0)
    y = tf.exp(picked) * 2.0
    empty = tf.exp(tf.zeros([0, 3]) + x[:0]) * 2.0
    program = program_of([y, empty], {x: np.ones((2, 3))})
    check(program)
    assert all("Exp" not in group for group in members(program))


def test_what_may_fail_keeps_its_order() -> None:
    x, i = tf.placeholder(tf.float32, [4, 4]), tf.placeholder(tf.int64, [2])
    late = tf.gather(tf.exp(tf.matmul(x, x)) * 2.0, i, name="first")
    early = tf.gather(x, i, name="second")
    y = tf.exp(early) * tf.tanh(late)
    for level in LEVELS:
        with tf.Session(optimization_level=level) as session, pytest.raises(tf.errors.InvalidArgumentError) as caught:
            session.run([y, tf.exp(x) * 2.0], {x: np.ones((4, 4)), i: [0, 9]})
        assert caught.value.op_name == "first"


def test_a_group_of_a_whole_region_keeps_its_locks() -> None:
    v = tf.Variable(np.ones((600, 600), np.float32))
    step = tf.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(tf.square(v)))
    found = []
    for level in LEVELS:
        with tf.Session(optimization_level=level) as session:
            session.run(tf.global_variables_initializer())
            for _ in range(3):
                session.run(step)
            found.append(session.run(v))
    assert np.array_equal(found[0], found[1]) and np.allclose(found[0], found[2], rtol=1e-5)


def test_many_atomic_regions_take_linear_time() -> None:
    def seconds(count: int) -> float:
        with tf.Graph().as_default():
            variables = [tf.Variable(np.ones(4, np.float32)) for _ in range(count)]
            loss = tf.add_n([tf.reduce_sum(tf.square(v)) for v in variables])
            step = tf.train.AdamOptimizer(0.1).minimize(loss)
            with tf.Session() as session:
                return min(r.seconds for r in session.program(step).record if r.name == "fuse")

    small, large = min(seconds(100) for _ in range(3)), seconds(1600)
    assert large < 60 * max(small, 2e-3)  # 16 times the work; 8 times that where each region looks through all
