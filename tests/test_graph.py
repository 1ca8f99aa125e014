"""The graph: names, scopes, collections, control edges, default graphs."""

from __future__ import annotations

import copy
import gc
import threading
import weakref

import numpy as np
import pytest

import graphflow as tf
from graphflow.defaults import stacks
from graphflow.graph import FuncGraph
from graphflow.names import MAX_LENGTH, NameTable


def names_of(graph: tf.Graph) -> list[str]:
    return [op.name for op in graph.get_operations()]


# -- names -----------------------------------------------------------------------------------------------------------


def test_names_are_made_unique_as_in_tf1() -> None:
    for _ in range(3):
        tf.no_op(name="a")
    tf.no_op(name="a_1")
    tf.no_op()
    tf.no_op()
    assert names_of(tf.get_default_graph()) == ["a", "a_1", "a_2", "a_1_1", "NoOp", "NoOp_1"]


def test_scopes_prefix_and_are_made_unique() -> None:
    with tf.name_scope("layer") as first:
        tf.no_op(name="a")
        with tf.name_scope("inner"):
            tf.no_op(name="a")
    with tf.name_scope("layer") as second:
        tf.no_op(name="a")
    with tf.name_scope(first):
        tf.no_op(name="a")
    with tf.name_scope("layer"), tf.name_scope(None):
        tf.no_op(name="a")
    assert (first, second) == ("layer/", "layer_1/")
    assert names_of(tf.get_default_graph()) == ["layer/a", "layer/inner/a", "layer_1/a", "layer/a_1", "a"]


def test_a_scope_ends_when_its_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), tf.name_scope("lost"), tf.device("/cpu:0"):
        raise ZeroDivisionError
    op = tf.no_op(name="a")
    assert (op.name, op.device) == ("a", "")


def test_every_letter_of_the_allow_list_and_the_longest_name() -> None:
    name = "A.z-0_9/b" + "x" * (MAX_LENGTH - 9)
    assert tf.no_op(name=name).name == name
    with tf.name_scope("s"):
        assert tf.no_op(name="_hidden").name == "s/_hidden"


def test_a_name_that_ends_in_a_slash_is_taken_as_it_is() -> None:
    with tf.name_scope("scope") as scope:
        assert tf.no_op(name=scope).name == "scope"
    assert tf.no_op(name="scope").name == "scope_1"


def test_unique_name_can_look_without_taking() -> None:
    graph = tf.get_default_graph()
    with tf.name_scope("s"):
        assert graph.unique_name("a", mark_as_used=False) == "s/a"
        assert graph.unique_name("a") == "s/a"
        assert graph.unique_name("a", mark_as_used=False) == "s/a_1"
        assert tf.no_op(name="a").name == "s/a_1"


def test_many_equal_names_cost_linear_time() -> None:
    table = NameTable()
    made = [table.unique("x") for _ in range(50_000)]
    assert made[-1] == "x_49999" and len(set(made)) == 50_000


def test_lookups_find_what_was_built() -> None:
    graph = tf.get_default_graph()
    x = tf.placeholder(tf.float32, [2], name="x")
    parts = tf.unstack(x, name="parts")
    assert graph.get_operation_by_name("x") is x.op
    assert graph.get_tensor_by_name("parts:1") is parts[1]
    assert graph.as_graph_element("parts:1") is parts[1]
    assert graph.as_graph_element("x") is x.op
    v = tf.Variable(1.0, name="v")
    assert graph.as_graph_element(v).name == "v/read:0"
    assert graph.get_tensor_by_name("v:0") is v.handle


# -- structure -------------------------------------------------------------------------------------------------------


def test_an_op_tells_what_it_is() -> None:
    a = tf.constant([[1.0, 2.0]], name="a")
    b = tf.matmul(a, a, transpose_b=True, name="b")
    op = b.op
    assert (op.name, op.type, op.graph, op.inputs) == ("b", "MatMul", tf.get_default_graph(), (a, a))
    assert op.get_attr("transpose_b") is True and op.node_def is op
    assert op.values() == op.outputs == (b,)
    assert (b.name, b.index, b.value_index, b.device) == ("b:0", 0, 0, "")
    assert repr(b) == "<tf.Tensor 'b:0' shape=(1, 1) dtype=float32>"
    assert repr(op) == "<tf.Operation 'b' type=MatMul>"
    assert a.consumers() == [op] and b.consumers() == []


def test_tensors_and_ops_are_copied_as_themselves() -> None:
    a = tf.constant(1.0)
    assert copy.copy(a) is a and copy.deepcopy([a])[0] is a
    assert copy.deepcopy(a.op) is a.op


def test_tensors_are_keys_by_identity() -> None:
    a, b = tf.constant(1.0), tf.constant(1.0)
    assert len({a, b, a}) == 2
    assert (a == b) is False and (a == a) is True and a in [b, a]


def test_an_empty_graph_is_true() -> None:
    assert tf.Graph() and len(tf.Graph()) == 0


def test_a_graph_grows_in_order_of_creation() -> None:
    graph = tf.get_default_graph()
    assert (graph.version, len(graph)) == (0, 0)
    ops = [tf.no_op() for _ in range(5)]
    assert graph.get_operations() == ops and [op.id for op in ops] == list(range(5))
    assert graph.operations_after(2) == ops[3:]
    graph.get_operations().clear()
    assert graph.version == 5


def test_set_shape_adds_knowledge_and_keeps_it() -> None:
    x = tf.placeholder(tf.float32)
    x.set_shape([None, 3])
    x.set_shape([2, None])
    x.set_shape(None)
    assert x.shape.as_list() == [2, 3]
    assert tf.negative(x).shape.as_list() == [2, 3]


# -- control edges ---------------------------------------------------------------------------------------------------


def test_control_dependencies_nest_and_clear() -> None:
    a, b, c = tf.no_op(), tf.constant(1.0), tf.Variable(1.0)
    with tf.control_dependencies([a, b]):
        first = tf.no_op()
        with tf.control_dependencies([c, a]):
            second = tf.no_op()
            with tf.control_dependencies(None):
                third = tf.no_op()
    assert first.control_inputs == (a, b.op)
    assert second.control_inputs[:2] == (a, b.op) and len(second.control_inputs) == 3
    assert third.control_inputs == ()


def test_names_are_control_inputs_too() -> None:
    a = tf.no_op(name="a")
    b = tf.constant(1.0, name="b")
    with tf.control_dependencies(["a", "b:0"]):
        assert tf.no_op().control_inputs == (a, b.op)


def test_literals_wait_for_nothing() -> None:
    with tf.control_dependencies([tf.no_op()]):
        y = tf.add(tf.constant(1.0), 2.0)
    literal = y.op.inputs[1].op
    assert literal.type == "Const" and not literal.control_inputs
    assert y.op.control_inputs


def test_edges_added_later_count_as_changes_and_once() -> None:
    graph = tf.get_default_graph()
    a, b = tf.no_op(), tf.no_op()
    a._add_control_input(b)
    assert graph.mutations == 1
    a._add_control_input(b)
    assert graph.mutations == 1 and a.control_inputs == (b,)


def test_every_cycle_of_random_edges_is_refused(rng: np.random.Generator) -> None:
    """Edges in random directions: what is accepted must be acyclic, what is refused must close a circle."""
    for _ in range(30):
        graph = tf.Graph()
        with graph.as_default():
            ops = [tf.no_op() for _ in range(8)]
        reach = np.eye(8, dtype=bool)  # reach[i, j]: i waits for j
        refused = 0
        for _ in range(40):
            after, before = (int(i) for i in rng.integers(0, 8, 2))
            if reach[before, after]:
                refused += 1
                with pytest.raises(tf.errors.GraphError, match="cycle"):
                    graph.add_control_edge(ops[before], ops[after])
            else:
                graph.add_control_edge(ops[before], ops[after])
                reach |= np.outer(reach[:, after], reach[before])
        assert refused
        with tf.Session(graph=graph) as session:
            session.run(ops)


# -- other scopes ----------------------------------------------------------------------------------------------------


def test_devices_nest() -> None:
    with tf.device("/cpu:0"):
        a = tf.no_op()
        with tf.device(lambda op: "/cpu:1"), tf.colocate_with(a):
            b = tf.no_op()
        with tf.device(None):
            c = tf.no_op()
    assert (a.device, b.device, c.device) == ("/cpu:0", "/cpu:0", "")


def test_override_maps_nest_and_the_inner_one_wins() -> None:
    graph = tf.get_default_graph()
    x = tf.constant(1.0)
    with graph.gradient_override_map({"Identity": "Outer", "Neg": "OuterNeg"}):
        with graph.gradient_override_map({"Identity": "Inner"}):
            inner = tf.identity(x)
            negative = tf.negative(x)
        outer = tf.identity(x)
    types = [t.op.gradient_type for t in (inner, negative, outer, tf.identity(x))]
    assert types == ["Inner", "OuterNeg", "Outer", "Identity"]


def test_collections() -> None:
    graph = tf.get_default_graph()
    a, b = tf.constant(1.0, name="scope/a"), tf.constant(2.0, name="b")
    graph.add_to_collection("losses", a)
    graph.add_to_collections(["losses", "extra", "extra"], b)
    graph.add_to_collections("extra", 3)
    assert graph.get_collection("losses") == [a, b]
    assert graph.get_collection("losses", "scope/") == [a]
    assert graph.get_collection("extra") == [b, 3] and graph.get_collection("extra", ".*") == [b]
    assert graph.get_collection("nothing") == []
    assert sorted(graph.get_all_collection_keys()) == ["extra", "losses"]
    graph.get_collection("losses").clear()
    assert len(graph.get_collection("losses")) == 2
    graph.get_collection_ref("losses").clear()
    assert graph.get_all_collection_keys() == ["extra"]
    graph.clear_collection("extra")
    assert graph.get_collection("extra") == []


def test_a_finalized_graph_still_runs() -> None:
    x = tf.placeholder(tf.float32, [])
    y = x + 1.0
    tf.get_default_graph().finalize()
    with tf.Session() as session:
        assert [session.run(y, {x: float(i)}) for i in range(3)] == [1.0, 2.0, 3.0]
        assert session.run([y, x, y], {x: 1.0}) == [2.0, 1.0, 2.0]


# -- default graphs --------------------------------------------------------------------------------------------------


def test_default_graphs_nest() -> None:
    root = tf.get_default_graph()
    a, b = tf.Graph(), tf.Graph()
    with a.as_default() as entered:
        assert entered is a is tf.get_default_graph()
        with b.as_default(), a.as_default():
            assert tf.no_op().graph is a
        assert tf.get_default_graph() is a
    assert tf.get_default_graph() is root


def test_reset_gives_an_empty_graph_and_leaves_the_old_one_alone() -> None:
    old = tf.get_default_graph()
    tf.no_op()
    tf.reset_default_graph()
    assert len(tf.get_default_graph()) == 0 and len(old) == 1


def test_each_thread_has_its_own_default_graph() -> None:
    """A thread starts with the root graph, not with that of the block in which it was started."""
    root, graph, seen = tf.get_default_graph(), tf.Graph(), []
    with graph.as_default():
        thread = threading.Thread(target=lambda: seen.append(tf.get_default_graph()))
        thread.start()
        thread.join()
    assert seen == [root] and stacks.graphs == []


def test_threads_that_build_into_one_graph_get_all_their_ops_and_distinct_names() -> None:
    graph = tf.Graph()
    start = threading.Barrier(4)

    def build() -> None:
        start.wait()
        with graph.as_default():
            for _ in range(500):
                tf.no_op(name="a")

    threads = [threading.Thread(target=build) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    ops = graph.get_operations()
    assert len({op.name for op in ops}) == 2000 and [op.id for op in ops] == list(range(2000))


def test_an_abandoned_graph_is_freed() -> None:
    graph = tf.Graph()
    with graph.as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [2], name="x")
        v = tf.Variable([1.0, 2.0])
        loss = tf.reduce_sum(x * v)
        session.run(tf.global_variables_initializer())
        session.run([loss, *tf.gradients(loss, [v])], {x: [1.0, 1.0]})
        call = session.make_callable(loss, [x])
        call(np.ones(2))
    alive = weakref.ref(graph)
    del graph, session, x, v, loss, call
    gc.collect()
    assert alive() is None


def test_functions_capture_each_outer_tensor_once() -> None:
    x = tf.placeholder(tf.float32, [3])
    inner = FuncGraph("f", tf.get_default_graph())
    with inner.as_default():
        y = (x + 1.0) * x
    assert list(inner.captured) == [x] and len(inner.args) == 1
    assert y.graph is inner and inner.encloses(x.graph) and not x.graph.encloses(inner)
    assert inner.args[0].shape.as_list() == [3]


def test_scopes_belong_to_the_thread_that_entered_them() -> None:
    graph = tf.get_default_graph()
    wait = threading.Barrier(4)

    def build(number: int) -> None:
        with graph.as_default():
            for _ in range(50):
                wait.wait()
                with tf.name_scope(f"s{number}"), tf.control_dependencies(None):
                    assert tf.constant(1.0).name.startswith(f"s{number}")

    threads = [threading.Thread(target=build, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert graph.scope.name == ""
    assert len(graph) == 200
