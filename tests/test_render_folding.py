"""Pictures of large graphs: what is closed, what is opened on request, and which part of a graph is drawn."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import graphflow as tf
from graphflow import render
from graphflow.render.folding import BUDGET
from graphflow.render.view import CONTROL, FORWARD, GRADIENT, STUBS, UPDATE, View
from tests.graphs_to_draw import chain, loop, model, residual_network


def closed(view: View) -> dict[str, int]:
    """The closed places by name, with their numbers of ops."""
    return {n.name: n.members for n in view.nodes if n.members > 1 and not n.type}


def names(view: View) -> set[str]:
    return {n.name for n in view.nodes if n.kind not in STUBS}


@pytest.fixture(scope="module")
def network() -> Any:
    return residual_network()


# -- what is closed by itself --------------------------------------------------------------------------------------


def test_a_large_network_is_readable_at_once(network: tf.Graph) -> None:
    view = render.as_view(network)
    assert len(network) > 3000 and 20 < len(view.nodes) <= 1.2 * BUDGET
    assert {"stage_1/block_1", "stage_4/block_3", "gradients/stage_2/block_1", "Adam"} <= set(closed(view))
    block = next(n for n in view.nodes if n.name == "stage_1/block_2")
    assert block.lines == ("block_2", "40 ops", "70.4 k weights") and block.kind == FORWARD
    assert {n.kind for n in view.nodes if n.name.startswith("gradients/stage")} == {GRADIENT}
    assert next(n for n in view.nodes if n.name == "Adam").kind == UPDATE


def test_the_folded_network_is_one_path_with_its_gradient_beside_it(network: tf.Graph) -> None:
    view = render.as_view(network)
    by_id = {n.id: n for n in view.nodes}
    steps = {(by_id[e.tail].name, by_id[e.head].name): e.label for e in view.edges}
    assert steps["stage_2/block_4", "stage_3/block_1"] == "[?, 28, 28, 512]"
    assert steps["gradients/stage_3/block_1", "gradients/stage_2/block_4"] == "[?, 28, 28, 512]"
    for above, below in (("stage_1", "stage_2"), ("stage_2", "stage_3"), ("stage_3", "stage_4")):
        across = [ends for ends in steps if above in ends[0] and below in ends[1] and "gradients" not in ends[0]]
        assert len(across) == 1, "one edge from one stage to the next"


def test_every_op_is_in_one_node(network: tf.Graph) -> None:
    view = render.as_view(network)
    everything = render.as_view(network, expand="all")
    drawn = [sum(n.members for n in v.nodes if n.kind not in STUBS) for v in (view, everything)]
    assert drawn[0] == drawn[1] > 3000
    assert not closed(everything) and render.as_view(network, expand=["stem", "all"]) == everything


def test_equal_scopes_in_a_row_are_a_stack() -> None:
    y: Any = tf.placeholder(tf.float32, [8], name="x")
    for i in range(50):
        with tf.name_scope(f"block_{i}"):
            y = tf.tanh(tf.sin(y) + tf.cos(y))
    view = render.as_view(tf.get_default_graph(), budget=20)
    (stack,) = [n for n in view.nodes if n.members > 1]
    assert stack.lines == ("block_0 … block_49", "50 alike", "200 ops")
    view = render.as_view(tf.get_default_graph(), expand=["block_7"])
    assert {"block_7/Sin", "block_7/Cos"} <= names(view) and "block_8" in names(view)


def test_many_equal_layers_are_a_pile_as_their_gradients_are() -> None:
    h: Any = tf.placeholder(tf.float32, [None, 8], name="x")
    for i in range(40):
        with tf.variable_scope(f"layer{i}"):
            h = tf.nn.relu(tf.matmul(h, tf.get_variable("w", [8, 8])) + tf.get_variable("b", [8]))
    tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(tf.square(h), name="loss"))
    graph = tf.get_default_graph()
    piles = {n.kind: n.lines[:2] for n in render.as_view(graph).nodes if "alike" in "".join(n.lines)}
    assert piles[FORWARD] == ("layer0 … layer39", "40 alike") and "layer1" in piles[GRADIENT][0]
    assert "layer7" in {n.lines[0] for n in render.as_view(graph, expand="layer3").nodes}, "who asks sees into it"
    assert len(render.as_view(graph, budget=1000).nodes) > 200


def test_scopes_that_differ_are_no_stack() -> None:
    y: Any = tf.placeholder(tf.float32, [8], name="x")
    for i in range(12):
        with tf.name_scope(f"block_{i}"):
            y = tf.tanh(tf.sin(y)) if i % 2 else tf.cos(tf.exp(y))
    assert len(render.as_view(tf.get_default_graph(), budget=14).nodes) == 13


def test_what_stands_on_one_level_is_opened_together() -> None:
    y: Any = tf.placeholder(tf.float32, [8], name="x")
    for i, length in enumerate((4, 30, 5)):
        with tf.name_scope(f"part_{i}"):
            for _ in range(length):
                y = tf.tanh(y)
    assert len(render.as_view(tf.get_default_graph(), budget=45).nodes) == 40
    assert set(closed(render.as_view(tf.get_default_graph(), budget=25))) >= {"part_1"}
    assert len(closed(render.as_view(tf.get_default_graph(), budget=20))) in (2, 3)


def test_a_flat_chain_is_cut_into_runs() -> None:
    view = render.as_view(chain(10_000))
    assert len(view.nodes) <= BUDGET and sum(n.members for n in view.nodes) == 10_001
    assert len(view.edges) == len(view.nodes) - 1
    assert any("Tanh" in n.lines[0] and "ops" in n.lines[1] for n in view.nodes)


def test_depth_and_recursion_do_not_matter() -> None:
    graph, limit = chain(4_000), sys.getrecursionlimit()
    with graph.as_default():
        tf.gradients(graph.get_tensor_by_name("Tanh_3999:0"), [graph.get_tensor_by_name("x:0")])
    sys.setrecursionlimit(200)
    try:
        view, everything = render.as_view(graph), render.as_view(graph, expand="all")
    finally:
        sys.setrecursionlimit(limit)
    assert len(view.nodes) <= 1.5 * BUDGET and len(everything.nodes) > 8_000


# -- what is opened on request -------------------------------------------------------------------------------------


def test_depth_opens_levels(network: tf.Graph) -> None:
    zero = set(closed(render.as_view(network, depth=0)))
    assert zero == {"stem", "stage_1", "stage_2", "stage_3", "stage_4", "head", "loss", "gradients", "Adam"}
    one = render.as_view(network, depth=1)
    assert {"stage_1", "stage_4", "gradients", "Adam"} <= {box.scope for box in one.boxes}
    assert {"stage_3/block_6", "gradients/stage_1"} <= set(closed(one))
    assert not [box for box in one.boxes if "/" in box.scope]


def test_expand_opens_a_scope_and_those_around_it(network: tf.Graph) -> None:
    view = render.as_view(network, depth=0, expand=["stage_2/block_3/conv1"])
    assert {box.scope for box in view.boxes} == {"stage_2", "stage_2/block_3", "stage_2/block_3/conv1"}
    assert "stage_2/block_3/conv1/Conv2D" in names(view) and "stage_2/block_3/conv2" in closed(view)
    same = render.as_view(network, depth=0, expand="stage_2/block_3/conv1/")
    assert same == view


def test_a_larger_budget_opens_more(network: tf.Graph) -> None:
    counts = [len(render.as_view(network, budget=budget).nodes) for budget in (10, 60, 400)]
    assert counts[0] < counts[1] < counts[2]


# -- parts of a graph ----------------------------------------------------------------------------------------------


def test_around_a_tensor() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    a = tf.sin(x, name="a")
    b = tf.cos(a, name="b")
    tf.exp(b, name="c")
    tf.tanh(x, name="far")
    graph = tf.get_default_graph()
    assert names(render.as_view(graph, around=b, hops=1)) == {"a", "b", "c"}
    assert names(render.as_view(graph, around="b:0", hops=0)) == {"b"}
    view = render.as_view(graph, around=b.op, hops=2)
    assert names(view) == {"x", "a", "b", "c"}
    outside = [n for n in render.as_view(graph, around="b", hops=0).nodes if n.kind in STUBS]
    assert [n.name for n in outside] == ["a"] and outside[0].of == ""


def test_more_hops_than_there_are_edges_take_no_longer() -> None:
    graph = chain(5)
    near = render.as_view(graph, around=graph.get_operations()[0], hops=10**12)
    assert len(near.nodes) == len(render.as_view(graph).nodes)


def test_between_two_tensors() -> None:
    x = tf.placeholder(tf.float32, [], name="x")
    a, side = tf.sin(x, name="a"), tf.cos(x, name="side")
    b = tf.add(tf.exp(a, name="e"), side, name="b")
    tf.tanh(b, name="after")
    graph = tf.get_default_graph()
    assert names(render.as_view(graph, between=(a, b))) == {"a", "e", "b"}
    with pytest.raises(tf.errors.InvalidArgumentError, match="no path leads"):
        render.as_view(graph, between=("after", "a"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="two tensors"):
        render.as_view(graph, between=a)  # type: ignore[arg-type]


def test_for_tensors_only_what_they_need_is_drawn() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    a, b = tf.sin(x, name="a"), tf.cos(x, name="b")
    assert names(render.as_view(a)) == {"x", "a"}
    assert names(render.as_view([a, {"b": b.op}])) == {"x", "a", "b"}
    w = tf.Variable([1.0], name="w")
    assert names(render.as_view(tf.add(w, 1.0, name="sum"))) == {"sum"}


def test_a_program_is_drawn_by_its_ops() -> None:
    x = tf.placeholder(tf.float32, [2], name="x")
    tf.sin(x, name="unused")
    y = tf.cos(x, name="y")
    with tf.Session() as session:
        program = session.program(y, {x: [1.0, 2.0]})
    assert "y" in names(render.as_view(program)) and "unused" not in names(render.as_view(program))


# -- mistakes ------------------------------------------------------------------------------------------------------


def test_mistakes_are_typed_errors() -> None:
    model()
    graph = tf.get_default_graph()
    with pytest.raises(tf.errors.NotFoundError, match="did you mean 'outer/inner'"):
        render.as_view(graph, expand=["outer/iner"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="depth is"):
        render.as_view(graph, depth=-1)
    for scopes in (3, [3], None):
        with pytest.raises(tf.errors.InvalidArgumentError, match="expand takes"):
            render.as_view(graph, expand=scopes)  # type: ignore[arg-type]
    for budget in (0, "many", float("nan")):
        with pytest.raises(tf.errors.InvalidArgumentError, match="budget is"):
            render.as_view(graph, budget=budget)  # type: ignore[arg-type]
    with pytest.raises(tf.errors.InvalidArgumentError, match="hops is"):
        render.as_view(graph, around="x", hops=-1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no such view"):
        render.as_view(graph, "graphs")
    with pytest.raises(tf.errors.InvalidArgumentError, match="of a program"):
        render.as_view(graph, "rewrites")
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be drawn"):
        render.as_view("graph")
    with pytest.raises(tf.errors.InvalidArgumentError, match="a mapping"):
        render.as_view(graph, values=[1.0])  # type: ignore[arg-type]
    with pytest.raises(tf.errors.InvalidArgumentError, match="an array of numbers or text"):
        render.as_view(graph, values={"x:0": object()})
    for seconds in ({"loss": "x"}, {"loss": -1.0}, {"loss": float("nan")}, {"loss": True}):
        with pytest.raises(tf.errors.InvalidArgumentError, match="0 or more"):
            render.as_view(graph, seconds=seconds)  # type: ignore[arg-type]
    with pytest.raises(tf.errors.InvalidArgumentError, match="from tensors, ops or names"):
        render.as_view(graph, seconds={3: 1.0})
    for key in ("loss/Mean", "loss/Mean:0", graph.get_operation_by_name("loss/Mean")):
        timed = {n.name: n.seconds for n in render.as_view(graph, expand="all", seconds={key: 0.5}).nodes}
        assert timed["loss/Mean"] == 0.5
    with pytest.raises(tf.errors.InvalidArgumentError, match="title is"):
        render.as_view(graph, title=3)  # type: ignore[arg-type]
    with pytest.raises(tf.errors.InvalidArgumentError, match="around=tensor"):
        render.as_view(graph, hops=3)
    with tf.Graph().as_default():
        stranger = tf.placeholder(tf.float32, [], name="stranger")
    for options in ({"around": stranger}, {"between": (stranger, "x")}):
        with pytest.raises(tf.errors.InvalidArgumentError, match="not an element of this graph"):
            render.as_view(graph, **options)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not an element of this graph"):
        render.as_view([stranger, graph.get_tensor_by_name("x:0")])


def test_control_edges_join_closed_scopes() -> None:
    with tf.name_scope("first"):
        a = tf.identity(tf.placeholder(tf.float32, [], name="x"), name="a")
    with tf.control_dependencies([a.op]), tf.name_scope("second"):
        tf.identity(tf.identity(tf.constant(1.0)), name="b")
    view = render.as_view(tf.get_default_graph(), depth=0)
    assert [e.kind for e in view.edges] == [CONTROL]


def test_loops_stay_closed_at_any_depth() -> None:
    loop()
    assert "loop/While" in closed(render.as_view(tf.get_default_graph(), depth=9))
