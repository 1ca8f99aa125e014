"""From graph to Program: lowering, folding, merging, dead code, placement, and that no pass changes a result."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.backend import load_backend
from graphflow.compile import dead, fold, lower, merge, pipeline, place
from graphflow.graph import FuncGraph
from graphflow.program import Program
from graphflow.spec import TensorSpec


def lowered(fetches: Any, targets: Any = (), feeds: Any = ()) -> Program:
    return lower.lower(list(fetches), list(targets), list(feeds))


def compiled(fetches: Any, feeds: Any = (), dims: Any = None, targets: Any = (), **options: Any) -> Program:
    evaluate = load_backend("numpy").evaluate
    shapes = [t.dims for t in feeds] if dims is None else dims
    how = pipeline.Options(**options)
    return pipeline.compile_graph(list(fetches), list(targets), list(feeds), shapes, evaluate, how)


def types(program: Program) -> list[str]:
    return [ins.type for ins in program.instructions]


def names(program: Program) -> list[str]:
    return [ins.op.name for ins in program.instructions]


def run(program: Program, *feeds: Any) -> list[Any]:
    session = tf.Session()
    from graphflow.backend import Run

    return session._backend.compile(program, session)(list(feeds), Run(0, 0))


@tf.RegisterKernel("CompileTestScale")
def _scale(x: Any, *, factor: float) -> Any:
    return x * x.dtype.type(factor)


@tf.op("CompileTestScale", infer=lambda x, *, factor: TensorSpec(x.dtype, x.dims), differentiable=False)
def scaled(x: Any, factor: float, name: str | None = None) -> Any:
    return tf.call((x,), name, factor=factor)


# -- lower -----------------------------------------------------------------------------------------------------------


def test_only_what_is_needed_is_lowered() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    tf.square(x, name="unused")
    y = tf.negative(x, name="y")
    tf.add(y, y, name="after")
    assert names(lowered([y], feeds=[x])) == ["y"]


def test_instructions_stand_in_order_of_creation() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    a = tf.negative(x, name="a")
    b = tf.square(x, name="b")
    c = tf.add(b, a, name="c")
    program = lowered([c, b], targets=[a.op], feeds=[x])
    assert names(program) == ["a", "b", "c"]
    values = program.producers()
    assert [values[v].op.name for v in program.fetches] == ["c", "b"]
    assert [program.values[v].dtype for v in program.feeds] == [tf.float32]


def test_late_edges_change_the_order_as_little_as_possible() -> None:
    ops = [tf.no_op(name=f"op_{i}") for i in range(6)]
    ops[1]._add_control_input(ops[4])
    assert names(lowered([], targets=ops)) == ["op_0", "op_2", "op_3", "op_4", "op_1", "op_5"]


def test_a_feed_cuts_everything_behind_it() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    with tf.control_dependencies([tf.no_op(name="waited_for")]):
        y = tf.negative(x, name="y")
    z = tf.square(y, name="z")
    assert names(lowered([z], feeds=[y])) == ["z"]
    assert names(lowered([y], feeds=[y])) == []
    assert names(lowered([z], feeds=[x])) == ["waited_for", "y", "z"]


def test_one_fed_output_of_several() -> None:
    x = tf.placeholder(tf.float32, [2, 3])
    a, b = tf.unstack(x)
    program = lowered([a + b], feeds=[x, a])
    (unstack,) = [ins for ins in program.instructions if -1 in ins.outputs]
    assert unstack.outputs[0] == -1 and unstack.outputs[1] >= 0


def test_hazards_tie_reads_and_writes_of_one_variable() -> None:
    v, w = tf.Variable(1.0), tf.Variable(1.0)
    first, second = v.read_value(), v.read_value()
    write = v.assign_add(1.0)
    third = v.read_value()
    last = v.assign_sub(1.0)
    other = w.read_value()
    program = lowered([first, second, write, third, last, other])
    after = {ins.key: set(ins.after) for ins in program.instructions}
    ids = [t.op.id for t in (first, second, write, third, last)]
    assert after[ids[0]] == after[ids[1]] == after[other.op.id] == set()
    assert after[ids[2]] == {ids[0], ids[1]}, "write after read"
    assert after[ids[3]] == {ids[2]}, "read after write"
    assert after[ids[4]] == {ids[2], ids[3]}, "write after write, and after the reads since"


def test_hazards_reach_into_branches_and_loops() -> None:
    v = tf.Variable(1.0)
    before = v.read_value()

    def branch() -> Any:
        with tf.control_dependencies([v.assign(5.0)]):
            return tf.identity(v.read_value())

    chosen = tf.cond(tf.constant(True), branch, lambda: v + 0.0)
    after = v.read_value()
    program = lowered([before, chosen, after])
    edges = {ins.key: set(ins.after) for ins in program.instructions}
    assert before.op.id in edges[chosen.op.id] and chosen.op.id in edges[after.op.id]


def test_what_a_function_touches() -> None:
    v, w = tf.Variable(1.0), tf.Variable(2.0)
    inner = FuncGraph("f", tf.get_default_graph())
    with inner.as_default():
        v_handle, w_handle = inner.capture(v.handle), inner.capture(w.handle)
        from graphflow.ops import state

        total = state.read_variable(v_handle, dtype=v.dtype, dims=v.dims)
        with tf.control_dependencies([state.assign_variable(w_handle, total, dtype=w.dtype, dims=w.dims)]):
            inner.results = [tf.identity(total)]
    assert lower.subgraph_effects(inner) == {0: "read", 1: "write"}


def test_constants_and_handles_are_known() -> None:
    c, v = tf.constant([1.0, 2.0]), tf.Variable([1.0, 2.0])
    program = lowered([v + c])
    assert [value.tolist() for value in program.constants.values()] == [[1.0, 2.0]]
    assert list(program.handles.values()) == [v.op]


def test_missing_placeholders_name_the_way_to_them() -> None:
    x, n = tf.placeholder(tf.float32, [None], name="x"), tf.placeholder(tf.int32, [], name="n")
    y = x
    for i in range(20):
        y = tf.negative(y, name=f"step_{i}")
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        lowered([y, n])
    text = str(caught.value)
    assert "placeholders 'x' float32(?,)" in text and "'n' int32()" in text
    assert "step_19 <- step_18" in text and "step_0 <- x" in text and "step_10" not in text


def test_the_shortest_way_is_told() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    long = x
    for _ in range(5):
        long = -long
    y = tf.add(long, tf.square(x, name="short"), name="y")
    with pytest.raises(tf.errors.InvalidArgumentError, match="y <- short <- x"):
        lowered([y])


# -- fold ------------------------------------------------------------------------------------------------------------


def test_constants_are_folded_to_the_same_bits() -> None:
    a, b = tf.constant(np.float32(0.1)), tf.constant(np.float32(3.0))
    y = tf.exp(a * b) / (a - b)
    program = compiled([y])
    assert types(program) == []
    slow = run(compiled([y], level=0))[0]
    assert run(program)[0].tobytes() == slow.tobytes()


def test_shapes_of_feeds_fold_what_depends_on_them() -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    flat = tf.reshape(x, [tf.shape(x)[0] * 3])
    mean = tf.reduce_sum(flat) / tf.cast(tf.size(x), tf.float32)
    program = compiled([mean], [x], [(4, 3)])
    assert not {"Shape", "Size", "StridedSlice", "Cast"} & set(types(program))
    assert run(program, np.ones((4, 3), np.float32)) == [1.0]
    general = compiled([mean], [x], [(None, 3)])
    assert "Shape" in types(general) or "Size" in types(general)
    assert run(general, np.ones((7, 3), np.float32)) == [1.0]


def test_identities_are_dropped_and_their_waiters_wait_for_the_source() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.negative(x)
    z = tf.identity(tf.reshape(tf.stop_gradient(y), [2]))
    with tf.control_dependencies([z]):
        last = tf.square(x, name="last")
    program = compiled([z, last], [x])
    assert types(program) == ["Neg", "Square"]
    assert [ins.after for ins in program.instructions] == [(), (y.op.id,)]


def test_what_changes_shape_or_dtype_is_no_identity() -> None:
    x = tf.placeholder(tf.float32, [2, 3])
    fetches = [tf.reshape(x, [3, 2]), tf.reshape(x, [2, 3]), tf.cast(x, tf.float64), tf.squeeze(x), tf.squeeze(x[:1])]
    program = compiled(fetches, [x])
    found = run(program, np.arange(6, dtype=np.float32).reshape(2, 3))
    assert [(f.shape, f.dtype.name) for f in found] == [
        ((3, 2), "float32"), ((2, 3), "float32"), ((2, 3), "float64"), ((2, 3), "float32"), ((3,), "float32"),
    ]  # fmt: skip
    assert types(program).count("Reshape") == 1


def test_an_identity_with_a_control_edge_stays() -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.control_dependencies([tf.no_op()]):
        y = tf.identity(x)
    assert types(compiled([y], [x])) == ["NoOp", "Identity"]


def test_no_effect_and_no_state_is_folded() -> None:
    v = tf.Variable(1.0)
    read = v.read_value()
    write = v.assign(2.0)
    printed = tf.Print(tf.constant(1.0), [tf.constant(2.0)])
    drawn = tf.random_normal([2])
    program = compiled([read, write, printed, drawn], targets=[tf.Assert(tf.constant(True), [])])
    assert {"ReadVariable", "Assign", "Print", "Assert"} <= set(types(program)) and len(program.instructions) >= 6


def test_what_fails_while_folding_fails_in_the_run_with_its_name() -> None:
    y = tf.floordiv(tf.constant(1), tf.constant(0), name="by_zero")
    program = compiled([y])
    assert names(program) == ["by_zero"]
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        run(program)
    assert caught.value.op_name == "by_zero"


def test_folding_is_bounded() -> None:
    big = tf.fill([2000, 2000], tf.constant(1.0))
    program = compiled([tf.reduce_sum(big)])
    assert "Fill" in types(program)
    assert all(getattr(c, "nbytes", 0) <= fold.MAX_BYTES for c in program.constants.values())


def test_a_folded_constant_cannot_be_written() -> None:
    y = tf.constant([1.0, 2.0]) + tf.constant([1.0, 1.0])
    session = tf.Session()
    found = session.run(y)
    found[:] = 0
    assert session.run(y).tolist() == [2.0, 3.0]


def test_set_shape_that_does_not_hold_is_an_error_with_the_line() -> None:
    x = tf.placeholder(tf.float32)
    y = tf.negative(x, name="y")
    y.set_shape([3])
    with pytest.raises(tf.errors.ShapeError, match="set_shape") as caught:
        compiled([y], [x], [(2,)])
    assert caught.value.op_name == "y" and "test_compile.py" in str(caught.value)


def test_shape_errors_that_only_the_feeds_show() -> None:
    x, y = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    z = tf.matmul(x, y, name="z")
    with pytest.raises(tf.errors.ShapeError, match=re.escape("[2, 3] @ [4, 5]")) as caught:
        compiled([z], [x, y], [(2, 3), (4, 5)])
    assert caught.value.op_name == "z"
    assert compiled([z], [x, y], [(2, 3), (3, 5)]).values[-1].dims == (2, 5)


# -- merge -----------------------------------------------------------------------------------------------------------


def test_equal_computations_are_done_once() -> None:
    x = tf.placeholder(tf.float32, [3])
    ys = [tf.exp(x * 2.0) for _ in range(4)]
    program = compiled(ys, [x])
    assert types(program) == ["Mul", "Exp"] and len(set(program.fetches)) == 1
    (record,) = [r for r in program.record if r.name == "merge_common"]
    assert len(record.merged) == 6
    found = run(program, np.ones(3, np.float32))
    assert len({id(f) for f in found}) == 4, "each fetch is an array of its own"


def test_what_must_not_be_merged() -> None:
    x = tf.placeholder(tf.float32, [])
    v = tf.Variable(0.0)
    with tf.device("/cpu:1"):
        elsewhere = tf.exp(x)
    with tf.control_dependencies([tf.no_op()]):
        later = tf.exp(x)
    pairs: dict[str, Callable[[], Any]] = {
        "random": lambda: tf.random_normal([2], seed=1),
        "print": lambda: tf.Print(x, [x]),
        "python": lambda: tf.py_func(np.sin, [x], tf.float32),
        "add": lambda: v.assign_add(x),
    }
    for name, build in pairs.items():
        a, b = build(), build()
        program = compiled([a, b], [x])
        assert len(set(program.fetches)) == 2, name
    assert types(compiled([tf.exp(x), elsewhere, later], [x])).count("Exp") == 3


def test_reads_with_a_write_between_them_are_not_merged() -> None:
    v = tf.Variable(1.0)
    first = v.read_value()
    write = v.assign_add(1.0)
    second = v.read_value()
    session = tf.Session()
    session.run(v.initializer)
    assert session.run([first, write, second]) == [1.0, 2.0, 2.0]


def test_constants_are_merged_by_their_bits_alone() -> None:
    x = tf.placeholder(tf.float32, [])
    ys = [tf.multiply(x, tf.constant(c)) for c in (0.0, -0.0, 0.0, 2.0)]
    program = compiled(ys, [x])
    assert types(program) == ["Mul"] * 3
    assert [bool(np.signbit(f)) for f in run(program, np.float32(1.0))] == [False, True, False, False]
    a = tf.constant([1], tf.int32), tf.constant([1], tf.int64), tf.constant([[1]], tf.int32)
    assert [f.dtype.name + str(f.shape) for f in run(compiled(a))] == ["int32(1,)", "int64(1,)", "int32(1, 1)"]


def test_attributes_that_compare_equal_but_differ_are_told_apart() -> None:
    x = tf.placeholder(tf.float32, [2, 3])
    a, b = tf.reduce_sum(x, 0, keepdims=True), tf.reduce_sum(x, 0, keepdims=False)
    c, d = tf.reduce_sum(x, 0), tf.reduce_sum(x, 1)
    e, f = scaled(x, factor=0.0), scaled(x, factor=-0.0)
    program = compiled([a, b, c, d, e, f], [x])
    data = np.ones((2, 3), np.float32)
    found = run(program, data)
    assert [v.shape for v in found[:4]] == [(1, 3), (3,), (3,), (2,)]
    assert [bool(np.signbit(v).any()) for v in found[4:]] == [False, True]
    for fast, slow in zip(found, run(compiled([a, b, c, d, e, f], [x], level=0), data), strict=True):
        assert fast.tobytes() == slow.tobytes()


def test_waiters_of_a_merged_op_wait_for_the_one_that_stays() -> None:
    x = tf.placeholder(tf.float32, [])
    a, b = tf.exp(x), tf.exp(x)
    with tf.control_dependencies([b]):
        c = tf.square(x)
    program = compiled([c, a], [x])
    (square,) = [ins for ins in program.instructions if ins.type == "Square"]
    assert square.after == (a.op.id,)


# -- dead ------------------------------------------------------------------------------------------------------------


def test_what_nobody_reads_any_more_is_removed() -> None:
    x = tf.placeholder(tf.float32, [None, 2])
    y = tf.reshape(x * 1.0, [tf.shape(tf.square(x))[0], 2])
    program = compiled([y], [x], [(3, 2)])
    assert "Square" not in types(program)
    assert "Square" in types(compiled([y], [x], [(3, 2)], disabled={"remove_dead"}))


def test_fetched_ops_and_effects_stay() -> None:
    x = tf.placeholder(tf.float32, [])
    v = tf.Variable(0.0)
    asked_for = tf.exp(x, name="asked_for").op
    write = v.assign_add(x, name="write").op
    check = tf.Assert(x > 0.0, [x], name="check")
    program = compiled([], [x], targets=[asked_for, write, check])
    assert {"asked_for", "write", "check"} <= set(names(program))


def test_a_write_stays_when_its_reader_is_folded() -> None:
    """The shape of the result is known, but the result was asked for."""
    x = tf.placeholder(tf.float32, [2])
    v = tf.Variable(tf.zeros([2]))
    size = tf.shape(v.assign_add(x))
    session = tf.Session()
    session.run(v.initializer)
    assert session.run(size, {x: [1.0, 2.0]}).tolist() == [2]
    assert session.run(v).tolist() == [1.0, 2.0]
    assert "AssignAdd" in types(compiled([size], [x], [(2,)]))


def test_unread_outputs_of_a_live_op_are_marked() -> None:
    x = tf.placeholder(tf.float32, [3, 2])
    a, _, c = tf.unstack(x)
    program = compiled([a, c], [x])
    (unstack,) = program.instructions
    assert [v >= 0 for v in unstack.outputs] == [True, False, True]
    assert [f.tolist() for f in run(program, np.arange(6, dtype=np.float32).reshape(3, 2))] == [[0, 1], [4, 5]]


def test_constants_that_nobody_reads_are_dropped() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.reshape(x, [2]) + (tf.constant(1.0) + tf.constant(2.0))
    assert [float(c) for c in compiled([y], [x]).constants.values()] == [3.0]


# -- place -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [
    "/cpu:0", "/device:CPU:0", "/CPU:0", "/cpu", "/device:CPU:*", "/job:worker/task:0/cpu:0", "/job:ps",
    "/job:localhost/replica:0/task:0/device:CPU:0", "",
])  # fmt: skip
def test_spellings_of_the_cpu(device: str) -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.device(device):
        y = tf.negative(x)
    place.check_devices(compiled([y], [x]), frozenset({"cpu"}), soft=False)


@pytest.mark.parametrize("device", ["/gpu:0", "/device:GPU:*", "/job:worker/device:TPU:0"])
def test_other_devices_only_softly(device: str) -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.device(device):
        y = tf.negative(x)
    program = compiled([y], [x])
    place.check_devices(program, frozenset({"cpu"}), soft=True)
    place.check_devices(program, frozenset({"cpu", "gpu", "tpu"}), soft=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="there is no such device"):
        place.check_devices(program, frozenset({"cpu"}), soft=False)


def test_a_second_device_of_a_kind_is_not_there() -> None:
    x = tf.placeholder(tf.float32, [])
    with tf.device("/gpu:1"):
        program = compiled([tf.negative(x)], [x])
    place.check_devices(program, frozenset({"cpu", "gpu"}), soft=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="there is no such device"):
        place.check_devices(program, frozenset({"cpu", "gpu"}), soft=False)


def test_devices_inside_branches_are_checked() -> None:
    x, p = tf.placeholder(tf.float32, []), tf.placeholder(tf.bool, [])

    def branch() -> Any:
        with tf.device("/gpu:0"):
            return tf.negative(x)

    y = tf.cond(p, branch, lambda: x)
    with tf.Session() as session, pytest.raises(tf.errors.InvalidArgumentError, match="/gpu:0"):
        session.run(y, {x: 1.0, p: False})


# -- pipeline --------------------------------------------------------------------------------------------------------


def test_each_pass_can_be_switched_off() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.identity(tf.exp(x) * 1.0) + tf.identity(tf.exp(x) * 1.0)
    data = np.array([0.1, 0.2], np.float32)
    expected = run(compiled([y], [x], level=0), data)[0]
    counts = {}
    for off in [(), *[(name,) for name in pipeline.PASSES], pipeline.PASSES]:
        program = compiled([y], [x], disabled=off)
        assert [r.name for r in program.record] == [
            "lower",
            *[p.name for p in pipeline.TABLE if p.level <= 1 and p.name not in off],
        ]
        assert run(program, data)[0].tobytes() == expected.tobytes()
        counts[off] = len(program.instructions)
    assert counts[()] < counts[pipeline.PASSES] and counts[()] < counts[("merge_common",)]


def test_level_0_only_lowers() -> None:
    x = tf.placeholder(tf.float32, [])
    program = compiled([tf.identity(x) + tf.constant(1.0) * 2.0], [x], level=0)
    assert [r.name for r in program.record] == ["lower"] and types(program) == ["Identity", "Mul", "Add"]


def test_a_program_tells_what_each_pass_did() -> None:
    x = tf.placeholder(tf.float32, [])
    program = compiled([tf.identity(x) + (tf.constant(1.0) + 2.0)], [x])
    text = str(program)
    assert re.search(r"specialise: 1 removed, 1 folded \(\d+\.\d\d ms\)", text) and "test_compile.py" in text
    assert all(r.seconds >= 0 for r in program.record)
    with pytest.raises(FrozenInstanceError):
        program.feeds = ()  # type: ignore[misc]


def test_compiling_changes_neither_graph_nor_program() -> None:
    x = tf.placeholder(tf.float32, [None])
    y = tf.reduce_sum(tf.identity(x) * 2.0 + tf.identity(x) * 2.0)

    def structure() -> list[Any]:
        ops = x.graph.get_operations()
        return [(op.name, op.type, op.inputs, op.control_inputs, [t.dims for t in op.outputs]) for op in ops]

    before = structure()
    program = lowered([y], feeds=[x])
    text = str(program)
    fold.specialise(program, load_backend("numpy").evaluate)
    merge.merge_common(program)
    dead.remove_dead(program)
    assert str(program) == text
    assert structure() == before


def check_order(program: Program) -> None:
    """Every value is made before it is read, and every edge points backwards."""
    done, known = set(), set(program.feeds) | set(program.constants)
    for ins in program.instructions:
        assert set(ins.inputs) <= known and not (set(ins.after) & {i.key for i in program.instructions}) - done
        done.add(ins.key)
        known |= set(ins.outputs)
    assert set(program.fetches) <= known


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_mean_the_same_at_every_level(seed: int) -> None:
    """Constants, shared parts, identities, variables with writes, control edges, feeds in the middle."""
    rng = np.random.default_rng(seed)
    graph = tf.Graph()
    with graph.as_default():
        x = tf.placeholder(tf.float32, [None, 3])
        pool: list[Any] = [x, tf.constant(rng.normal(size=(1, 3)).astype(np.float32)), tf.constant(0.5)]
        variables = [tf.Variable(rng.normal(size=3).astype(np.float32)) for _ in range(2)]
        writes: list[Any] = []
        unary: list[Any] = [tf.negative, tf.tanh, tf.identity, tf.square, tf.stop_gradient, lambda t: t * 1.0]
        unary.append(lambda t: tf.reshape(t, tf.shape(t)))
        binary: list[Any] = [tf.add, tf.multiply, tf.subtract]

        def pick() -> Any:
            return pool[rng.integers(len(pool))]

        for _ in range(30):
            kind = rng.integers(0, 10)
            controls = [pick()] if rng.random() < 0.2 else []
            with tf.control_dependencies(controls):
                if kind < 4:
                    pool.append(unary[rng.integers(len(unary))](pick()))
                elif kind < 8:
                    pool.append(binary[rng.integers(len(binary))](pick(), pick()))
                elif kind == 8:
                    pool.append(variables[rng.integers(2)].read_value())
                else:
                    v = variables[rng.integers(2)]
                    write = v.assign_add(tf.reduce_sum(tf.reshape(pick(), [-1, 1])) * tf.ones([3]) * 0.01)
                    writes.append(write)
                    pool.append(write)
        fetches = [pool[i] for i in rng.integers(0, len(pool), 4)] + writes[-1:]
        init = tf.global_variables_initializer()
    data = {x: rng.normal(size=(4, 3))}
    cut = pool[rng.integers(3, len(pool))]
    with tf.Session(graph=graph) as session:
        session.run(init)
        shape = session.run(cut, data).shape
    results: list[list[bytes]] = []
    for level in (0, 1):
        with tf.Session(graph=graph, optimization_level=level) as session:
            session.run(init)
            check_order(session.program(fetches, data))
            out = session.run(fetches, data)
            out += session.run(fetches, {**data, cut: np.full(shape, 0.25)})
            out += session.run(variables)
            results.append([np.asarray(v).tobytes() for v in out])
    assert results[0] == results[1]


def test_a_program_can_be_made_by_hand() -> None:
    """What a backend gets is a plain value: nothing in it needs a session."""
    x = tf.placeholder(tf.float32, [2])
    program = lowered([x + 1.0], feeds=[x])
    assert program.values[program.fetches[0]] == TensorSpec(tf.float32, (2,), None)
    assert program.with_record(program.record[0], fetches=()).fetches == ()
    assert run(program, np.zeros(2, np.float32))[0].tolist() == [1.0, 1.0]


# -- found by review ---------------------------------------------------------------------------------------------------


def test_a_fed_constant_overrules_what_was_concluded_from_it() -> None:
    count = tf.constant(3)
    rows = tf.fill([count], 2.0)
    for level in (0, 1):
        with tf.Session(optimization_level=level) as session:
            assert session.run([tf.shape(rows), rows], {count: 5})[0].tolist() == [5]
            with pytest.raises(tf.errors.InvalidArgumentError):
                session.run(tf.reshape(rows, [3]), {count: 5})


@pytest.mark.parametrize("level", [0, 1])
def test_an_error_is_not_optimised_away(level: int) -> None:
    x, i, z = tf.placeholder(tf.float32, [3]), tf.placeholder(tf.int32, [2]), tf.placeholder(tf.int32, [])
    with tf.Session(optimization_level=level) as session:
        for fetch, feed in (
            (tf.shape(tf.gather(x, i)), {x: [1, 2, 3], i: [0, 9]}),
            (tf.zeros_like(tf.gather(x, i)), {x: [1, 2, 3], i: [0, 9]}),
            (tf.shape(tf.constant([1, 2]) // z), {z: 0}),
        ):
            with pytest.raises(tf.errors.InvalidArgumentError):
                session.run(fetch, feed)


def test_each_pass_can_be_switched_off_by_name() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.square(x) + tf.square(x)
    for name in ("specialise", "merge_common", "remove_dead"):
        with tf.Session(disabled_passes=[name]) as session:
            assert session.run(y, {x: [1.0, 2.0]}).tolist() == [2.0, 8.0]
            assert name not in [record.name for record in session.program(y, {x: [1.0, 2.0]}).record]
    with pytest.raises(tf.errors.InvalidArgumentError, match="merge_common"):
        tf.Session(disabled_passes=["inline"])
