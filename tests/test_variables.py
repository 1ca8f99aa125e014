"""Variables in whole programs: names, the order of reads and writes, initialisation, control flow, errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow import variables
from graphflow.gradients import gradients
from graphflow.keys import GraphKeys
from graphflow.ops import compare, control, core, math, random, state
from graphflow.variables import Variable


def values(*fetches: Any, session: Any = None) -> list[Any]:
    with tf.Session() as session:
        session.run(variables.global_variables_initializer())
        return session.run(list(fetches))  # type: ignore[no-any-return]


def op_names() -> list[str]:
    return [op.name for op in tf.get_default_graph().get_operations()]


class TestHandles:
    def test_names(self) -> None:
        v = Variable([1.0, 2.0], name="W")
        assert (v.name, v.op.name, v.op.type) == ("W:0", "W", "VariableHandle")
        assert op_names() == ["W/initial_value", "W", "W/Assign", "W/read"]
        assert v.initializer.name == "W/Assign"
        assert v.initial_value.name == "W/initial_value:0"
        assert v.value().name == "W/read:0"

    def test_names_are_made_unique_as_for_ops(self) -> None:
        assert [Variable(0, name="W").name for _ in range(3)] == ["W:0", "W_1:0", "W_2:0"]
        assert [Variable(0).name for _ in range(2)] == ["Variable:0", "Variable_1:0"]
        with core.name_scope("layer"):
            assert Variable(0, name="W").name == "layer/W:0"

    def test_what_it_is(self) -> None:
        v = Variable(np.zeros((2, 3), np.float32), name="W")
        assert v.dtype is tf.float32
        assert v.shape.as_list() == v.get_shape().as_list() == [2, 3]
        assert v.graph is tf.get_default_graph()
        assert repr(v) == "<tf.Variable 'W:0' shape=(2, 3) dtype=float32>"
        assert v.op.source.startswith("tests/test_variables.py:")

    def test_identity_and_hash(self) -> None:
        a, b = Variable(1.0), Variable(1.0)
        assert a == a and a != b
        assert len({a, b, a}) == 2

    def test_refusals_of_python(self) -> None:
        v = Variable([1.0])
        for use in (bool, iter, len, float):
            with pytest.raises(tf.errors.SymbolicUseError):
                use(v)  # type: ignore[operator]

    def test_under_eager_execution_a_variable_shows_its_value(self) -> None:
        with tf.eager():
            v, count, weight = Variable([1.0, 2.0], name="W"), Variable(2), Variable(0.5)
            before = v.numpy()
            v.assign_add([1.0, 1.0])
            assert before.tolist() == [1.0, 2.0] and before.flags.writeable
            assert np.asarray(v).tolist() == [2.0, 3.0] and np.array(v, np.float64).dtype == np.float64
            assert repr(v) == "<tf.Variable 'W:0' shape=(2,) dtype=float32, numpy=array([2., 3.], dtype=float32)>"
            assert repr(count) == "<tf.Variable 'Variable:0' shape=() dtype=int32, numpy=2>"
            assert [float(x) for x in v] == [2.0, 3.0] and len(v) == 2 and 3.0 in v and 4.0 not in v
            assert (float(weight), int(count), bool(count), "abc"[count], f"{weight:.2f}") == (
                0.5,
                2,
                True,
                "c",
                "0.50",
            )
            with tf.GradientTape() as tape:
                y = sum(x * x for x in v)
                assert v.numpy().tolist() == [2.0, 3.0]
            assert tape.gradient(y, v).numpy().tolist() == [4.0, 6.0]

    def test_where_a_variable_is_not_computed_it_has_no_value_to_show(self) -> None:
        v = Variable([1.0], name="W")
        count = len(tf.get_default_graph())
        for use in (Variable.numpy, np.asarray, lambda v: f"{v:.1f}"):
            with pytest.raises(tf.errors.SymbolicUseError):
                use(v)
        with tf.eager():
            assert repr(v) == "<tf.Variable 'W:0' shape=(1,) dtype=float32>"
            seen = Variable([1.0])
        traced: list[str] = []
        tf.function(lambda: traced.append(repr(seen)) or seen * 2.0)()
        assert traced == ["<tf.Variable 'Variable:0' shape=(1,) dtype=float32>"]
        assert len(tf.get_default_graph()) == count

    def test_augmented_assignment_rebinds_to_a_tensor(self) -> None:
        v: Any = Variable(1.0)
        w = v
        v += 1
        assert isinstance(v, tf.Tensor)
        assert values(v, w) == [2.0, 1.0]

    def test_dtypes_of_literals(self) -> None:
        assert Variable(1).dtype is tf.int32
        assert Variable(1.5).dtype is tf.float32
        assert Variable(np.float64(1.5)).dtype is tf.float64
        assert Variable(True).dtype is tf.bool
        assert Variable("text").dtype is tf.string
        assert Variable(1, dtype=tf.float64).dtype is tf.float64

    def test_text(self) -> None:
        v = Variable(["a", "b"])
        w = state.assign(v, ["c", "d"])
        assert [x.tolist() for x in values(v, w)] == [[b"a", b"b"], [b"c", b"d"]]


class TestCreation:
    def test_collections(self) -> None:
        plain, fixed = Variable(0.0), Variable(0.0, trainable=False)
        own = Variable(0.0, collections=["mine"])
        local = Variable(0.0, trainable=False, collections=[GraphKeys.LOCAL_VARIABLES])
        assert variables.global_variables() == [plain, fixed]
        assert variables.trainable_variables() == [plain, own]
        assert variables.local_variables() == [local]
        assert tf.get_default_graph().get_collection("mine") == [own]
        assert variables.model_variables() == variables.moving_average_variables() == []

    def test_collections_by_scope(self) -> None:
        with core.name_scope("a"):
            inside = Variable(0.0)
        Variable(0.0)
        assert variables.global_variables("a/") == [inside]

    def test_callable_initial_value(self) -> None:
        v = Variable(lambda: core.constant([1.0, 2.0]), name="W")
        assert v.initial_value.name == "W/Initializer/Const:0"
        assert values(v)[0].tolist() == [1.0, 2.0]

    def test_control_dependencies_and_regions_do_not_reach_in(self) -> None:
        blocked = core.no_op()
        with tf.get_default_graph().control_dependencies([blocked]):
            v = Variable(lambda: core.identity(core.constant(1.0)))
        assert v.initializer.control_inputs == ()
        assert v.initial_value.op.control_inputs == ()

    def test_inside_a_branch(self) -> None:
        made: list[Any] = []

        def branch() -> Any:
            made.append(Variable(5.0, name="inner"))
            return made[0] * 2.0

        found = control.cond(core.constant(True), branch, lambda: core.constant(0.0))
        assert made[0].graph is tf.get_default_graph()
        assert variables.global_variables() == made
        assert values(found) == [10.0]

    def test_initial_value_from_inside_a_loop(self) -> None:
        def body(i: Any) -> Any:
            Variable(i)
            return i + 1

        with pytest.raises(tf.errors.GraphError, match="inside a branch or loop"):
            control.while_loop(lambda i: compare.less(i, 3), body, [0])

    @pytest.mark.parametrize(
        ("build", "match"),
        [
            (Variable, "initial_value must be specified"),
            (lambda: Variable(core.placeholder(tf.float32, [None])), "must have a shape specified"),
            (lambda: Variable([1.0], expected_shape=[2]), "does not have the shape"),
            (lambda: Variable(core.constant(1), dtype=tf.float32), "another dtype"),
            (lambda: Variable(None, dtype=tf.float32), "initial_value must be specified"),
            (lambda: Variable(0.0, collections="mine"), "list of names"),
            (lambda: Variable(0.0, constraint=3), "constraint of a variable is a function"),
            (lambda: Variable(lambda: len), "function that returns a function"),
            (lambda: Variable(variable_def=3), "VariableDef"),
        ],
    )
    def test_mistakes(self, build: Callable[[], Any], match: str) -> None:
        with pytest.raises(tf.errors.OpError, match=match) as error:
            build()
        assert "tests/test_variables.py:" in str(error.value)

    def test_any_shape(self) -> None:
        v = Variable(core.placeholder_with_default([1.0], None), validate_shape=False)
        assert v.shape.ndims is None
        longer = state.assign(v, [1.0, 2.0], validate_shape=False)
        with tf.Session() as session:
            session.run(v.initializer)
            assert session.run(v).tolist() == [1.0]
            assert session.run(longer).tolist() == [1.0, 2.0]
            assert session.run(v).tolist() == [1.0, 2.0]

    def test_set_shape(self) -> None:
        v = Variable([1.0], validate_shape=False)
        v.set_shape([1])
        assert v.shape.as_list() == v.value().shape.as_list() == [1]
        with pytest.raises(tf.errors.ShapeError):
            v.set_shape([2])


class TestInitialisation:
    def test_initial_values_that_use_other_variables(self) -> None:
        a = Variable([1.0, 2.0])
        b = Variable(a * 2.0)
        c = Variable(b + a.initialized_value())
        found = values(c, b, a)
        assert [x.tolist() for x in found] == [[3.0, 6.0], [2.0, 4.0], [1.0, 2.0]]

    def test_order_does_not_depend_on_the_list(self) -> None:
        a = Variable(1.0)
        b = Variable(a + 1.0)
        with tf.Session() as session:
            session.run(variables.variables_initializer([b, a]))
            assert session.run([a, b]) == [1.0, 2.0]

    def test_initialized_value_of_an_uninitialized_variable(self) -> None:
        a = Variable(3.0)
        b = Variable(a.initialized_value() + 1.0)
        with tf.Session() as session:
            session.run(b.initializer)
            assert session.run(b) == 4.0
            a.load(10.0, session)
            session.run(b.initializer)
            assert session.run(b) == 11.0

    def test_gradient_of_an_initialized_value(self) -> None:
        a = Variable(3.0)
        assert values(*gradients(a.initialized_value() * 2.0, [a])) == [2.0]

    def test_missing_dependency_is_named(self) -> None:
        a = Variable(1.0, name="first")
        b = Variable(a + 1.0)
        with tf.Session() as session, pytest.raises(tf.errors.FailedPreconditionError, match="'first'"):
            session.run(b.initializer)

    def test_all_uninitialized_variables_are_named(self) -> None:
        y = Variable(1.0, name="a") + Variable(1.0, name="b")
        with tf.Session() as session, pytest.raises(tf.errors.FailedPreconditionError, match="'a', 'b' are not init"):
            session.run(y)

    def test_same_draw_for_a_variable_and_its_dependent(self) -> None:
        a = Variable(random.random_normal([3]))
        b = Variable(a.initialized_value())
        first, second = values(a, b)
        assert first.tolist() == second.tolist()

    def test_reports(self) -> None:
        a, b = Variable(1.0, name="a"), Variable(2.0, name="b", trainable=False, collections=["local_variables"])
        report = variables.report_uninitialized_variables()
        only = variables.report_uninitialized_variables([a])
        none = variables.report_uninitialized_variables([])
        known = variables.is_variable_initialized(a)
        checked = variables.assert_variables_initialized()
        assert report.dtype is tf.string
        with tf.Session() as session:
            assert session.run(report).tolist() == [b"a", b"b"]
            with pytest.raises(tf.errors.FailedPreconditionError):
                session.run(checked)
            assert not session.run(known)
            session.run(a.initializer)
            assert session.run(known)
            assert session.run(report).tolist() == [b"b"]
            assert session.run([only, none])[0].tolist() == []
            session.run(variables.local_variables_initializer())
            session.run(checked)
            assert session.run(report).size == 0
            assert session.run(b) == 2.0

    def test_without_variables(self) -> None:
        with tf.Session() as session:
            session.run([variables.global_variables_initializer(), variables.local_variables_initializer()])
            session.run(variables.tables_initializer())
            assert session.run(variables.report_uninitialized_variables()).size == 0
        assert variables.assert_variables_initialized() is None

    def test_initializer_returns_to_the_initial_value(self) -> None:
        v = Variable(1.0)
        bump = state.assign_add(v, 1.0)
        with tf.Session() as session:
            for _ in range(2):
                session.run(v.initializer)
                assert session.run(bump) == 2.0

    def test_sessions_have_their_own_values(self) -> None:
        v = Variable(1.0)
        with tf.Session() as one, tf.Session() as two:
            one.run(v.initializer)
            v.load(7.0, two)
            assert (one.run(v), two.run(v)) == (1.0, 7.0)


class TestWrites:
    def test_results(self) -> None:
        v = Variable([1.0, 2.0])
        for build, wanted in (
            (lambda: v.assign([5.0, 6.0]), [5.0, 6.0]),
            (lambda: v.assign_add([1.0, 1.0]), [2.0, 3.0]),
            (lambda: v.assign_sub([1.0, 1.0]), [0.0, 1.0]),
            (lambda: state.assign(v, [5.0, 6.0], use_locking=True), [5.0, 6.0]),
            (lambda: state.assign_add(v, np.ones(2)), [2.0, 3.0]),
            (lambda: state.assign_sub(v, v), [0.0, 0.0]),
        ):
            new = build()
            with tf.Session() as session:
                session.run(v.initializer)
                assert session.run(new).tolist() == wanted
                assert session.run(v).tolist() == wanted

    def test_without_reading_the_result(self) -> None:
        v = Variable(1.0)
        assert isinstance(v.assign(2.0, read_value=False), tf.Operation)
        assert isinstance(v.assign_add(2.0, read_value=False), tf.Operation)

    def test_by_the_name_of_the_handle(self) -> None:
        v = Variable(1.0, name="W")
        new = state.assign(tf.get_default_graph().get_tensor_by_name("W:0"), 3.0)
        with tf.Session() as session:
            assert session.run(new) == 3.0
            assert session.run("W:0") == session.run(v) == 3.0

    def test_of_a_tensor(self) -> None:
        with pytest.raises(tf.errors.DTypeError, match="assign_add changes a variable"):
            state.assign_add(core.constant(1.0), 1.0)

    def test_wrong_values(self) -> None:
        v = Variable([1.0, 2.0], name="W")
        with pytest.raises(tf.errors.ShapeError, match="validate_shape"):
            v.assign([1.0, 2.0, 3.0])
        with pytest.raises(tf.errors.ShapeError):
            state.assign(v, [1.0], validate_shape=False)
        with pytest.raises(tf.errors.DTypeError):
            v.assign(core.constant([1, 2]))
        with pytest.raises(tf.errors.ShapeError):
            v.assign_add([[1.0], [2.0]])
        fed = core.placeholder(tf.float32, None)
        new = v.assign(fed)
        with tf.Session() as session, pytest.raises(tf.errors.ShapeError, match=r"\[2\]"):
            session.run(new, {fed: [1.0]})

    def test_scatters(self) -> None:
        table = np.arange(6, dtype=np.float32).reshape(3, 2)
        for build, change in (
            (state.scatter_update, lambda old, new: new),
            (state.scatter_add, np.add),
            (state.scatter_sub, np.subtract),
            (state.scatter_mul, np.multiply),
            (state.scatter_div, np.divide),
            (state.scatter_min, np.minimum),
            (state.scatter_max, np.maximum),
        ):
            v = Variable(table)
            updates = np.float32([[1, 2], [3, 4], [5, 6]])
            wanted = table.copy()
            for row, update in zip([2, 0, 2], updates, strict=True):
                wanted[row] = change(wanted[row], update)
            found = build(v, [2, 0, 2], updates)
            assert values(found)[0].tolist() == wanted.tolist(), build.__name__

    @pytest.mark.parametrize("shape", [(40, 3), (40,), (40, 2, 2)])
    def test_many_duplicates_act_one_after_another(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        table, indices = rng.normal(size=shape), rng.integers(0, 40, 200)
        updates = rng.normal(size=(200, *shape[1:]))
        wanted = table.copy()
        for row, update in zip(indices, updates, strict=True):
            wanted[row] += update
        v = Variable(table)
        assert np.array_equal(values(state.scatter_add(v, indices, updates))[0], wanted)

    def test_division_of_integers_is_that_of_c(self) -> None:
        v = Variable(np.array([7, -7, 7, 9], np.int32))
        found = state.scatter_div(v, [0, 1, 2, 3, 3], [2, 2, -2, 2, 2])
        assert values(found)[0].tolist() == [3, -3, -3, 2]
        zero = state.scatter_div(v, [0], [0])
        with pytest.raises(tf.errors.InvalidArgumentError, match="division by zero"):
            values(zero)

    def test_scatter_nd(self) -> None:
        v = Variable(np.zeros((2, 3), np.float32))
        elements = state.scatter_nd_add(v, [[0, 1], [1, 2], [0, 1]], [1.0, 2.0, 3.0])
        rows = state.scatter_nd_update(v, [[1]], [[7.0, 8.0, 9.0]])
        taken = state.scatter_nd_sub(v, [[[1, 0]], [[1, 1]]], [[1.0], [2.0]])
        assert values(elements)[0].tolist() == [[0, 4, 0], [0, 0, 2]]
        assert values(rows)[0].tolist() == [[0, 0, 0], [7, 8, 9]]
        assert values(taken)[0].tolist() == [[0, 0, 0], [-1, -2, 0]]

    def test_methods_that_scatter(self) -> None:
        v = Variable([1.0, 2.0, 3.0])
        rows = tf.IndexedSlices(core.constant([10.0]), core.constant([1]))
        assert values(v.scatter_add(rows))[0].tolist() == [1.0, 12.0, 3.0]
        assert values(v.scatter_sub(rows))[0].tolist() == [1.0, -8.0, 3.0]
        assert values(v.scatter_update(rows))[0].tolist() == [1.0, 10.0, 3.0]
        assert values(v.scatter_nd_add([[0]], [1.0]))[0].tolist() == [2.0, 2.0, 3.0]
        assert values(v.scatter_nd_sub([[0]], [1.0]))[0].tolist() == [0.0, 2.0, 3.0]
        assert values(v.scatter_nd_update([[0]], [9.0]))[0].tolist() == [9.0, 2.0, 3.0]
        with pytest.raises(tf.errors.DTypeError, match="IndexedSlices"):
            v.scatter_add(core.constant([1.0]))  # type: ignore[arg-type]

    def test_a_failed_scatter_changes_nothing(self) -> None:
        v = Variable([1.0, 2.0])
        fed = core.placeholder(tf.int32, [2])
        bad = state.scatter_add(v, fed, [5.0, 5.0])
        with tf.Session() as session:
            session.run(v.initializer)
            with pytest.raises(tf.errors.InvalidArgumentError, match="out of range"):
                session.run(bad, {fed: [0, 2]})
            assert session.run(v).tolist() == [1.0, 2.0]

    def test_counting(self) -> None:
        v = Variable(0)
        up = v.count_up_to(2)
        with tf.Session() as session:
            session.run(v.initializer)
            assert [session.run(up), session.run(up)] == [0, 1]
            with pytest.raises(tf.errors.OutOfRangeError, match="Reached limit of 2"):
                session.run(up)
            assert session.run(v) == 2
        with pytest.raises(tf.errors.DTypeError):
            state.count_up_to(v, 2.5)  # type: ignore[arg-type]

    def test_load(self) -> None:
        v = Variable([1.0, 2.0], name="W")
        before = len(op_names())
        with tf.Session() as session:
            v.load([3, 4])
            mine = np.array([5.0, 6.0])
            v.load(mine, session)
            mine[:] = 0
            assert v.eval().tolist() == [5.0, 6.0]
            assert v.eval(session).tolist() == [5.0, 6.0]
            with pytest.raises(tf.errors.ShapeError, match="'W'"):
                v.load([1.0])
            with pytest.raises(tf.errors.DTypeError, match="'W'"):
                v.load(["a", "b"])
        assert len(op_names()) == before
        with pytest.raises(tf.errors.FailedPreconditionError, match="no session"):
            v.load([1.0, 2.0])

    def test_a_fed_variable_has_that_value_for_the_run_only(self) -> None:
        v = Variable([1.0, 2.0])
        y = v * 2.0
        bump = v.assign_add([1.0, 1.0])
        with tf.Session() as session:
            session.run(v.initializer)
            assert session.run([v, y, bump], {v: [10.0, 20.0]})[1].tolist() == [20.0, 40.0]
            assert session.run(v).tolist() == [1.0, 2.0]

    def test_fetched_values_are_the_callers(self) -> None:
        v = Variable([1.0, 2.0])
        bump = v.assign_add([1.0, 1.0])
        with tf.Session() as session:
            session.run(v.initializer)
            first, new = session.run(v), session.run(bump)
            first[:] = new[:] = 100.0
            assert session.run(v).tolist() == [2.0, 3.0]

    def test_concurrent_additions_are_not_lost(self) -> None:
        v = Variable(np.zeros(3))
        bump = v.assign_add(np.ones(3))
        with tf.Session() as session:
            session.run(v.initializer)
            workers = [threading.Thread(target=lambda: [session.run(bump.op) for _ in range(200)]) for _ in range(4)]
            for w in workers:
                w.start()
            for w in workers:
                w.join()
            assert session.run(v).tolist() == [800.0] * 3


class TestOrder:
    """Reads and writes of one variable happen in the order in which they were built."""

    def test_a_read_is_shared_until_the_next_write(self) -> None:
        v = Variable(1.0)
        first = v.value()
        assert v.value() is first and (v * 2.0).op.inputs[0] is first
        v.assign(2.0)
        second = v.value()
        assert second is not first and v.value() is second
        assert second.name == "Variable/read_1:0"

    def test_another_variables_write_changes_nothing(self) -> None:
        v, w = Variable(1.0), Variable(1.0)
        first = v.value()
        w.assign(2.0)
        assert v.value() is first

    def test_each_control_scope_reads_for_itself(self) -> None:
        v = Variable(1.0)
        outside = v.value()
        with tf.get_default_graph().control_dependencies([core.no_op()]):
            inside = v.value()
            assert v.value() is inside is not outside
            assert inside.op.control_inputs
        assert v.value() is outside

    def test_each_region_reads_for_itself(self) -> None:
        v = Variable(1.0)
        with tf.get_default_graph().atomic([v.handle]):
            inside = v.value()
            assert inside.op.region is not None
        assert v.value() is not inside

    def test_read_value_is_a_read_of_its_own(self) -> None:
        v = Variable(1.0)
        assert v.read_value() is not v.read_value()

    def test_before_between_after(self) -> None:
        v = Variable(1.0)
        before = v * 10.0
        add = v.assign_add(1.0)
        between = v * 10.0
        put = v.assign(7.0)
        after = v * 10.0
        assert values(after, put, between, add, before, v) == [70.0, 7.0, 20.0, 2.0, 10.0, 1.0]

    def test_only_what_is_fetched_runs(self) -> None:
        v = Variable(1.0)
        v.assign_add(1.0)
        after = v * 10.0
        assert values(after) == [10.0]

    def test_control_dependencies_bring_the_write_along(self) -> None:
        v = Variable(1.0)
        with tf.get_default_graph().control_dependencies([v.assign_add(1.0)]):
            after = v.read_value()
            again = core.identity(v)
        assert values(after) == [2.0]
        assert values(again) == [2.0]

    def test_a_fetched_variable_is_its_value_before_the_writes(self) -> None:
        v = Variable(1.0)
        write = v.assign(5.0)
        assert values(v, write) == [1.0, 5.0]

    def test_writes_of_ops_that_know_nothing_of_variables_objects(self) -> None:
        v = Variable(1.0)
        first = v.value()
        state.assign_variable(v.handle, 2.0, dtype=tf.float32, dims=())
        assert v.value() is not first

    def test_another_graph(self) -> None:
        v = Variable(1.0)
        with tf.Graph().as_default() as other:
            new = v.assign(2.0)
            assert new.graph is v.graph and v.value().graph is v.graph
            with pytest.raises(tf.errors.GraphError):
                core.constant(1.0) * v
            assert not other.store.get("variables")

    def test_all_orders_of_a_few_ops(self, rng: np.random.Generator) -> None:
        """Random programs of reads and writes do what the same lines of Python do."""
        for trial in range(20):
            with tf.Graph().as_default():
                held = [Variable(float(i), name=f"v{i}") for i in range(2)]
                plain = [0.0, 1.0]
                fetches: list[Any] = []
                wanted: list[float] = []
                for _ in range(12):
                    i, what, by = int(rng.integers(2)), int(rng.integers(4)), float(rng.integers(1, 5))
                    if what == 0:
                        fetches.append(held[i] + held[1 - i] * by)
                        wanted.append(plain[i] + plain[1 - i] * by)
                    elif what == 1:
                        plain[i] = by
                        fetches.append(held[i].assign(by))
                        wanted.append(plain[i])
                    elif what == 2:
                        plain[i] += plain[1 - i]
                        fetches.append(held[i].assign_add(held[1 - i]))
                        wanted.append(plain[i])
                    else:
                        plain[i] -= by
                        fetches.append(held[i].assign_sub(by))
                        wanted.append(plain[i])
                for order in (range(len(fetches)), rng.permutation(len(fetches))):
                    found = values(*[fetches[j] for j in order])
                    assert found == [wanted[j] for j in order], trial


class TestFunctions:
    """Branches and loops."""

    def test_a_read_is_hoisted_once(self) -> None:
        v = Variable(2.0)
        before = len(op_names())
        _, x = control.while_loop(lambda i, x: compare.less(i, 3), lambda i, x: (i + 1, x * v + v), [0, 1.0])
        assert not any("read_1" in name for name in op_names()[before:])
        assert values(x) == [22.0]

    def test_gradient_through_a_hoisted_read(self) -> None:
        v = Variable(2.0)
        _, x = control.while_loop(lambda i, x: compare.less(i, 3), lambda i, x: (i + 1, x * v), [0, 1.0])
        assert values(*gradients(x, [v])) == [12.0]

    def test_a_loop_that_reads_and_writes(self) -> None:
        v = Variable(1.0)

        def body(i: Any, total: Any) -> Any:
            before = v * 100.0
            write = v.assign_add(1.0)
            return i + 1, total + before + v + write

        _, total = control.while_loop(lambda i, x: compare.less(i, 3), body, [0, 0.0])
        after = v * 1.0
        assert values(v, total, after) == [1.0, 600.0 + 2 * (2 + 3 + 4), 4.0]

    def test_a_condition_reads_what_the_body_writes(self) -> None:
        v = Variable(0)

        def body(i: Any) -> Any:
            with tf.get_default_graph().control_dependencies([v.assign_add(2)]):
                return i + 1

        found = control.while_loop(lambda i: compare.less(v, 7), body, [0])
        after = v + 0
        assert values(found, after) == [4, 8]

    def test_a_branch_that_writes(self) -> None:
        v = Variable(1.0)
        choice = core.placeholder(tf.bool, [])
        found = control.cond(choice, lambda: v.assign(50.0), lambda: v * 3.0)
        after = v * 1.0
        for flag, wanted in ((True, [50.0, 50.0, 50.0]), (False, [3.0, 1.0, 1.0])):
            with tf.Session() as session:
                session.run(v.initializer)
                result = session.run([found, after], {choice: flag})
                assert [*result, session.run(v)] == wanted

    def test_a_branch_in_a_loop_that_writes(self) -> None:
        v = Variable(0)

        def body(i: Any, total: Any) -> Any:
            before = v * 1
            kept = control.cond(compare.less(v, 2), lambda: v.assign_add(1), lambda: core.identity(v))
            return i + 1, total + before * 100 + kept * 10 + v

        _, total = control.while_loop(lambda i, t: compare.less(i, 4), body, [0, 0])
        states = [(0, 1), (1, 2), (2, 2), (2, 2)]
        assert values(total) == [sum(a * 100 + b * 10 + b for a, b in states)]

    def test_written_in_names_the_variables_own_handles(self) -> None:
        v, w = Variable(0.0), Variable(0.0)

        def body(i: Any) -> Any:
            found = control.cond(compare.less(w, 1.0), lambda: v.assign(1.0), lambda: w * 1.0)
            branch = found.op.attrs["then_branch"]
            assert state.written_in(branch) == {v.handle}
            assert state.written_in(found.op.attrs["else_branch"]) == set()
            assert state.written_in(branch.outer) == {v.handle}
            return i + 1

        control.while_loop(lambda i: compare.less(i, 3), body, [0])


class TestGradients:
    def test_of_all_reads(self) -> None:
        v = Variable(3.0)
        y = v * v
        with tf.get_default_graph().control_dependencies([core.no_op()]):
            y = y + v
        assert values(*gradients(y, [v])) == [7.0]

    def test_of_the_read_tensor(self) -> None:
        v = Variable(3.0)
        assert values(*gradients(v * v, [v.value()])) == [6.0]

    def test_second_order(self) -> None:
        v = Variable(3.0)
        first = gradients(v * v * v, [v])[0]
        assert values(first, *gradients(first, [v])) == [27.0, 18.0]

    def test_descent(self) -> None:
        x = np.linspace(-1.0, 1.0, 50, dtype=np.float32)
        w, b = Variable(0.0), Variable(0.0)
        error = w * x + b - (3.0 * x + 1.0)
        grads = gradients(math.multiply(error, error), [w, b])
        step = core.group(w.assign_sub(0.01 * grads[0]), b.assign_sub(0.01 * grads[1]))
        with tf.Session() as session:
            session.run(variables.global_variables_initializer())
            for _ in range(200):
                session.run(step)
            assert np.allclose(session.run([w, b]), [3.0, 1.0], atol=1e-4)


def test_reads_cost_a_constant_number_of_ops() -> None:
    """A thousand uses make one read, and looking for writes is linear in the graph."""
    v = Variable(1.0)
    y: Any = core.constant(0.0)
    for _ in range(1000):
        y = math.add(y, v)
    assert sum(op.type == "ReadVariable" for op in tf.get_default_graph().get_operations()) == 1
    assert state.uses(tf.get_default_graph()).scanned >= 1000


def test_finalized() -> None:
    v = Variable(1.0)
    initializer = v.initializer
    tf.get_default_graph().finalize()
    with tf.Session() as session:
        session.run(initializer)
        assert session.run(v) == session.run("Variable:0") == 1.0
        v.load(2.0)
        assert v.eval() == 2.0
    with pytest.raises(tf.errors.FinalizedError):
        v.assign(3.0)
    tf.get_default_graph()._unsafe_unfinalize()


def test_the_handle_by_name_means_the_value() -> None:
    v = tf.Variable([1.0, 2.0], name="W")
    handle = tf.get_default_graph().get_tensor_by_name("W:0")
    doubled = handle * 2.0
    with tf.Session() as sess:
        sess.run(v.initializer)
        np.testing.assert_array_equal(sess.run(doubled), [2.0, 4.0])
        np.testing.assert_array_equal(sess.run(handle), [1.0, 2.0])
        np.testing.assert_array_equal(sess.run("W:0"), [1.0, 2.0])
        np.testing.assert_array_equal(sess.run(tf.identity(handle)), [1.0, 2.0])
