"""Pictures of programs: rewrites, schedule, memory.  Measured in the drawings themselves, as a reader would."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.compile import cost, schedule
from graphflow.program import Instruction, Memory, PassRecord, Program, Schedule, Task
from graphflow.render import axis, closing, gantt, memory_picture, rewrites
from graphflow.render.svg import Svg, visible
from graphflow.render.view import (
    ADDED,
    FOLDED,
    FUSED,
    KEPT,
    MERGED,
    READ,
    REMOVED,
    REWRITTEN,
    STUBS,
    VARIABLE,
    Box,
    Edge,
    Node,
    View,
)
from graphflow.spec import TensorSpec
from tests.test_page import hostile_names

XML = "{http://www.w3.org/2000/svg}"


def trained(level: int = 1) -> Program:
    """A small net with its training step: something for every pass to do."""
    with tf.Graph().as_default():
        h = x = tf.placeholder(tf.float32, [32, 64], name="x")
        for i in range(2):
            with tf.name_scope(f"layer{i}"):
                w = tf.Variable(tf.zeros([64, 64]), name="w")
                b = tf.Variable(tf.zeros([64]), name="b")
                h = tf.nn.relu(tf.matmul(h, w) + b) * tf.constant(1.0)
        loss = tf.reduce_mean(tf.square(h) + tf.square(h))
        train = tf.train.AdamOptimizer(0.01).minimize(loss)
        session = tf.Session(optimization_level=level)
        session.run(tf.global_variables_initializer())
        return session.explain([train, loss], {x: np.ones((32, 64), np.float32)}).program


def branches(count: int = 4, depth: int = 3) -> Program:
    """Independent branches, planned for four workers of a known machine."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [512, 512], name="x")
        ends = []
        for i in range(count):
            with tf.name_scope(f"branch{i}"):
                h = x * (i + 1.0)  # or they would all be the same
                for _ in range(depth):
                    h = tf.tanh(tf.matmul(h, h))
                ends.append(h)
        total = tf.add_n(ends, name="total")
        session = tf.Session()
        program = session.explain(total, {x: np.ones((512, 512), np.float32)}).program
    return schedule.schedule(replace(program, schedule=None, memory=None), 4, 1, cost.Machine())


class Rect:
    """A rectangle of a drawing."""

    def __init__(self, element: ET.Element) -> None:
        self.x, self.y, self.width, self.height = (float(element.get(k, "0")) for k in ("x", "y", "width", "height"))
        self.title = element.findtext(f"{XML}title") or ""
        self.name = self.title.split("\n")[0]

    def meets(self, other: Rect, slack: float = 0.02) -> bool:
        """Whether they lie over each other by more than what rounding does."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return across > slack and down > slack


def rects(svg: str, kind: str) -> list[Rect]:
    return [Rect(element) for element in ET.fromstring(svg).iter(f"{XML}rect") if element.get("class") == kind]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{XML}text")]


def assert_apart(found: Iterable[Rect]) -> None:
    ordered = sorted(found, key=lambda r: r.x)
    for i, a in enumerate(ordered):
        for b in itertools.takewhile(lambda b, a=a: b.x < a.x + a.width, ordered[i + 1 :]):
            assert not a.meets(b), (a.title, b.title)


def assert_inside(svg: str) -> None:
    """Everything is within the drawing, and nothing in it is active."""
    root = ET.fromstring(svg)
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for element in root.iter():
        assert element.tag.removeprefix(XML) in {"svg", "title", "rect", "line", "polyline", "text"}
        assert not any(name.startswith("on") or name.endswith("href") for name in element.attrib)
        if element.tag == f"{XML}rect":
            r = Rect(element)
            assert r.x >= 0 and r.y >= 0 and r.x + r.width <= width + 0.01 and r.y + r.height <= height + 0.01


# -- the schedule ----------------------------------------------------------------------------------------------------


@pytest.fixture
def op() -> Any:
    """Some op, for instructions that are made by hand."""
    return tf.no_op("some")


def by_hand(op: Any, before: list[tuple[int, ...]], priorities: list[float], seconds: list[float]) -> Program:
    """A task for each instruction; the ops are named after their numbers."""
    ops = [tf.no_op(f"op{n}") for n in range(len(before))]
    instructions = tuple([Instruction(n, "NoOp", (), (), {}, earlier, ops[n]) for n, earlier in enumerate(before)])
    tasks = [Task(n, n + 1, s, p, b) for n, (s, p, b) in enumerate(zip(seconds, priorities, before, strict=True))]
    plan = Schedule(tuple(tasks), 2, sum(seconds), max(priorities))
    return Program(instructions, (), {}, (), (), schedule=plan)


def test_tasks_stand_where_the_schedule_puts_them(op: Any) -> None:
    # 0 ----> 1 ----> 3     times 2, 1, 2;  2 beside them takes 1, and 3 waits for it too
    program = by_hand(op, [(), (0,), (), (1, 2)], [5.0, 3.0, 4.0, 2.0], [2.0, 1.0, 1.0, 2.0])
    chart = gantt.planned(program)
    placed = {span.name: (lane, span.start, span.end, span.critical) for lane, row in chart.rows for span in row}
    assert placed == {
        "op0": ("worker 1", 0.0, 2.0, True), "op1": ("worker 1", 2.0, 3.0, True),
        "op2": ("worker 2", 1.0, 2.0, False), "op3": ("worker 1", 3.0, 5.0, True),
    }  # fmt: skip
    assert chart.seconds == 5.0
    svg = gantt.to_svg(program)
    across = {r.name: (r.x, r.x + r.width) for r in rects(svg, "op")}
    scale = (across["op3"][1] - across["op0"][0]) / 5
    for name, (_, start, end, _) in placed.items():
        left, right = (x - across["op0"][0] for x in across[name])
        assert (left, right) == pytest.approx((start * scale, end * scale), abs=0.01)
    assert len(rects(svg, "critical")) == 3
    assert "critical path: 3 tasks, 5 s" in texts(svg)
    assert "100 % busy" in texts(svg) and "20 % busy" in texts(svg)


def test_independent_branches_run_side_by_side() -> None:
    program = branches()
    plan = program.schedule
    assert plan is not None and plan.workers > 1
    svg = gantt.to_svg(program)
    assert_inside(svg)
    bars = rects(svg, "op")
    assert sorted(r.name for r in bars) == sorted(ins.op.name for ins in program.instructions)
    assert_apart(bars)
    assert len({r.y for r in bars}) == plan.workers == len(rects(svg, "idle"))
    where = {r.name: r for r in bars}
    makers = {v: ins.op.name for ins in program.instructions for v in ins.outputs}
    for ins in program.instructions:  # nothing begins before what it reads is there
        for earlier in [where[makers[v]] for v in ins.inputs if v in makers]:
            assert earlier.x + earlier.width <= where[ins.op.name].x + 0.01
    first = [where[f"branch{i}/MatMul"] for i in range(4)]
    assert max(r.x for r in first) < min(r.x + r.width for r in first)  # all four at one time


def test_the_critical_path_is_a_chain_to_the_end() -> None:
    chart = gantt.planned(branches())
    way = sorted([span for _, row in chart.rows for span in row if span.critical], key=lambda span: span.start)
    assert way[-1].end == pytest.approx(chart.seconds)
    assert all(a.end <= b.start * (1 + 1e-9) for a, b in itertools.pairwise(way))
    assert sum(span.type == "MatMul" for span in way) == 3  # those of one branch


@pytest.mark.parametrize("level", [0, 1])
def test_without_tasks_there_is_one_row(level: int) -> None:
    program = replace(trained(level), schedule=None)
    svg = gantt.to_svg(program)
    assert_inside(svg)
    bars = rects(svg, "op")
    assert [r.name for r in sorted(bars, key=lambda r: r.x)] == [ins.op.name for ins in program.instructions]
    assert_apart(bars)
    assert len(rects(svg, "idle")) == 1
    makers = {v: ins for ins in program.instructions for v in ins.outputs}
    way = [span.name for _, row in gantt.planned(program).rows for span in row if span.critical]
    on_way = [ins for ins in program.instructions if ins.op.name in way]
    for a, b in itertools.pairwise(on_way):
        assert a.key in b.after or any(makers.get(v) is a for v in b.inputs)


def test_a_measured_run(op: Any) -> None:
    program = by_hand(op, [(), (0,), (), (1, 2)], [5.0, 3.0, 4.0, 2.0], [2.0, 1.0, 1.0, 2.0])
    trace = [
        ("op0", 7, 10.0, 10.1), ("op1", 8, 10.1, 10.15), ("op2", 7, 10.1, 10.4), ("op3", 7, 10.4, 10.5),
        ("transfer", 7, 10.35, 10.45),
    ]  # fmt: skip
    chart = gantt.measured(program, trace)
    assert [(lane, [span.name for span in row]) for lane, row in chart.rows] == [
        ("7", ["op0", "op2", "op3"]), ("", ["transfer"]), ("8", ["op1"]),
    ]  # fmt: skip
    assert chart.seconds == pytest.approx(0.5)
    assert [span.name for _, row in chart.rows for span in row if span.critical] == ["op0", "op2", "op3"]
    svg = gantt.to_svg(program, trace)
    assert_inside(svg)
    assert_apart(rects(svg, "op"))
    assert "measured: 5 steps in 2 lanes, 500 ms" in texts(svg)


def test_a_step_of_several_ops_is_on_the_critical_path(op: Any) -> None:
    program = by_hand(op, [(), (0,), (1,), ()], [4.0, 3.0, 2.0, 1.0], [1.0] * 4)
    trace = [("op0", 1, 0.0, 0.2), ("op1, op2", 2, 0.2, 0.5), ("op3", 1, 0.2, 0.3)]
    way = [span.name for _, row in gantt.measured(program, trace).rows for span in row if span.critical]
    assert way == ["op0", "op1, op2"]


@pytest.mark.parametrize("trace", [None, []])
def test_a_program_without_instructions(trace: Any) -> None:
    svg = gantt.to_svg(Program((), (), {}, (), ()), trace)
    assert_inside(svg)
    assert not rects(svg, "op")


def test_hostile_names_are_text(op: Any) -> None:
    names = hostile_names()
    trace = [(name, name, float(i), float(i + 1)) for i, name in enumerate(names)]
    svg = gantt.to_svg(by_hand(op, [()], [1.0], [1.0]), trace)
    assert_inside(svg)
    assert [r.title.rpartition("\n")[0] for r in rects(svg, "op")] == [visible(name) for name in names]


# -- memory ----------------------------------------------------------------------------------------------------------


def test_live_buffers_never_overlap() -> None:
    program = trained()
    assert program.memory is not None and len(program.memory.offsets) > 20
    svg = memory_picture.to_svg(program)
    assert_inside(svg)
    drawn = rects(svg, "buffer")
    assert_apart(drawn)
    names = {ins.op.name for ins in program.instructions for v in ins.outputs if v in program.memory.offsets}
    assert names <= {r.name for r in drawn}


def test_places_are_those_of_the_plan() -> None:
    program = trained()
    assert program.memory is not None
    found = {b.value: b for b in memory_picture.buffers(program) if b.planned}
    assert {v: b.offset for v, b in found.items()} == dict(program.memory.offsets)
    assert len({b.offset for b in found.values()}) < len(found)  # reuse is there to be seen
    readers: dict[int, int] = {v: n for n, ins in enumerate(program.instructions) for v in ins.inputs}
    whole = {n for group in program.groups for n in range(group.begin, group.end)}
    for v, buffer in found.items():
        assert buffer.begin < buffer.end
        if readers.get(v) not in whole:
            taken = [b for b in found.values() if b.begin == readers.get(v) and b.offset == buffer.offset]
            assert taken or buffer.end > readers[v]


def test_the_fullest_moment_is_the_peak_of_the_plan() -> None:
    program = trained()
    assert program.memory is not None
    outside = [b for b in memory_picture.buffers(program) if not b.planned]
    most = max(memory_picture.live_bytes(outside, len(program.instructions)), default=0)
    assert program.memory.size + most == program.memory.peak_after
    svg = memory_picture.to_svg(program)
    words = texts(svg)
    assert axis.bytes_text(program.memory.peak_after) in words and axis.bytes_text(program.memory.peak_before) in words
    with_reuse, without = (r.width for r in rects(svg, "amount"))
    assert with_reuse / without == pytest.approx(program.memory.peak_after / program.memory.peak_before, rel=0.01)
    alive = memory_picture.live_bytes(memory_picture.buffers(program), len(program.instructions))
    fullest = program.instructions[alive.index(max(alive))].op.name
    assert f"fullest: {axis.bytes_text(max(alive))} during {fullest}" in words


def test_a_result_in_place_begins_where_its_input_ends(op: Any) -> None:
    known = TensorSpec(tf.float32, (64,))
    kinds = ["Neg", "Exp", "Neg"]
    ops = [tf.no_op(f"op{n}") for n in range(3)]
    chain = tuple([Instruction(n, kinds[n], (n,), (n + 1,), {}, (), ops[n]) for n in range(3)])
    plan = Memory(256, {1: 0, 2: 0}, 768, 512)
    program = Program(chain, (known,) * 4, {}, (0,), (3,), memory=plan)
    first, second, fetched = memory_picture.buffers(program)
    assert (first.begin, first.end, second.begin, second.end) == (0, 1, 1, 3)
    assert (fetched.begin, fetched.end, fetched.planned) == (2, 3, False)
    drawn = {r.name: r for r in rects(memory_picture.to_svg(program), "buffer")}
    assert drawn["op0"].x + drawn["op0"].width == pytest.approx(drawn["op1"].x)
    assert drawn["op2"].y + drawn["op2"].height == pytest.approx(drawn["op1"].y)  # stacked above the arena


def test_memory_without_a_plan_is_stacked() -> None:
    program = replace(trained(0), memory=None)
    svg = memory_picture.to_svg(program)
    assert_inside(svg)
    assert_apart(rects(svg, "buffer"))
    assert rects(svg, "buffer") and "without reuse" in texts(svg) and "with reuse" not in texts(svg)


def test_a_program_without_arrays() -> None:
    assert_inside(memory_picture.to_svg(Program((), (), {}, (), ())))


# -- rewrites --------------------------------------------------------------------------------------------------------


def story(program: Program) -> dict[str, Node]:
    return {node.name: node for node in rewrites.view(program).nodes if node.id.startswith("op")}


def test_what_each_pass_did_is_told() -> None:
    program = trained()
    nodes = story(program)
    left = {ins.op.name for ins in program.instructions}
    counted = dict.fromkeys(("removed", "folded", "merged", "rewritten", "fused"), 0)
    for record in program.record:
        for names, change in ((record.removed, REMOVED), (record.folded, FOLDED)):
            assert all(nodes[name].change == change and record.name in nodes[name].facts for name in names)
        for name, other in record.merged:
            assert nodes[name].change == MERGED and other in nodes[name].facts[record.name]
        for name, words in record.rewritten:
            assert nodes[name].facts[record.name] == words
        for key in counted:
            counted[key] += len(getattr(record, key))
    assert all(counted.values()), counted  # or this test shows nothing
    beside = {ins.op.name for ins in program.instructions if ins.type in ("VariableHandle", "ReadVariable")}
    assert left - beside <= set(nodes)
    for name, node in nodes.items():
        gone = node.change in (REMOVED, FOLDED, MERGED)
        assert gone == (name not in left) or node.type == "Placeholder", name


@pytest.mark.parametrize("few", [1, 1000])
def test_what_is_fused_stands_in_one_box(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "FEW", few)
    program = trained()
    view = rewrites.view(program, expand="all")
    boxes = {box.scope: box.members for box in view.boxes if " " in box.scope}
    groups = [{ins.op.name for ins in program.instructions[g.begin : g.end]} for g in program.groups]
    inside = [{node.name for node in view.nodes if node.scope == scope and node.type} for scope in boxes]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, inside))
    assert all(members == len(names) for members, names in zip(boxes.values(), inside, strict=True))
    assert all(node.change in (FUSED, REWRITTEN) for node in view.nodes if node.scope in boxes and node.type)
    scopes = {box.scope for box in view.boxes} - set(boxes)
    assert bool(scopes) == (few == 1)
    assert all(any(node.name.startswith(f"{scope}/") for node in view.nodes) for scope in scopes)
    for scope, names in zip(boxes, inside, strict=True):
        around = scope.rpartition("/")[0]
        assert all(name.startswith(f"{around}/" if around else "") for name in names)


def test_an_equal_op_points_to_the_one_that_is_left() -> None:
    program = trained()
    view = rewrites.view(program)
    ids = {node.name: node.id for node in view.nodes if node.id.startswith("op")}
    same = {(edge.tail, edge.head) for edge in view.edges if edge.label == "the same"}
    merged = {(ids[a], ids[b]) for record in program.record for a, b in record.merged}
    assert same == merged != set()


@pytest.mark.parametrize("few", [1, 1000])
def test_edges_have_both_ends_and_ids_are_no_names(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "FEW", few)
    view = rewrites.view(trained(), expand="all")
    ids = [node.id for node in view.nodes]
    assert len(set(ids)) == len(ids)
    assert {edge.tail for edge in view.edges} | {edge.head for edge in view.edges} <= set(ids)
    assert all(re.fullmatch(r"(op|new|stub)\d+", node_id) for node_id in ids)
    assert {node.scope for node in view.nodes} - {""} <= {box.scope for box in view.boxes}


def test_what_a_pass_added_is_shown() -> None:
    a = tf.placeholder(tf.float32, [4], name="a")
    b = tf.negative(a, name="b")
    known = TensorSpec(tf.float32, (4,))
    square = Instruction(b.op.id, "Square", (1,), (2,), {}, (), b.op)
    extra = Instruction(b.op.id + 100, "Abs", (0,), (1,), {}, (), b.op)
    record = PassRecord("planted", rewritten=(("b", "the square of its absolute value"),))
    view = rewrites.view(Program((extra, square), (known,) * 3, {}, (0,), (2,), (record,)))
    (own,) = [node for node in view.nodes if node.id == f"op{b.op.id}"]
    (new,) = [node for node in view.nodes if node.change == ADDED]
    assert (own.change, own.lines, dict(own.facts)) == (
        REWRITTEN, ("b", "Neg, now Square"), {"planted": "the square of its absolute value"},
    )  # fmt: skip
    assert new.lines == ("Abs", "for b")
    assert (new.id, own.id) in {(edge.tail, edge.head) for edge in view.edges}


@pytest.mark.parametrize("budget", [10, 30])
def test_a_large_program_is_folded(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "FEW", 1)
    program = trained()
    whole, folded = rewrites.view(program, expand="all"), rewrites.view(program, budget=budget)
    assert len(folded.nodes) < len(whole.nodes)
    closed = [node for node in folded.nodes if not node.type and node.kind not in STUBS]
    drawn = [node for node in folded.nodes if node.type]
    assert closed and sum(node.members for node in (*closed, *drawn)) == sum(bool(node.type) for node in whole.nodes)
    ids = {node.id for node in folded.nodes}
    assert len(ids) == len(folded.nodes) and {end for e in folded.edges for end in (e.tail, e.head)} <= ids
    assert all(edge.tail != edge.head for edge in folded.edges)
    assert {node.scope for node in folded.nodes} - {""} <= {box.scope for box in folded.boxes}


def test_a_closed_scope_tells_what_was_done_in_it() -> None:
    nodes = [Node("a", ("a",), scope="s", name="s/a", type="Add", change=FUSED),
             Node("b", ("b",), scope="s", name="s/b", type="Mul"),
             Node("c", ("c",), name="c", type="Neg"), Node("w", ("w",), VARIABLE, "s", "w")]  # fmt: skip
    edges = [Edge("a", "c", "[2]"), Edge("b", "c", "[2]"), Edge("a", "b", "[2]"), Edge("w", "a", kind=READ)]
    view = closing.closed(View("", tuple(nodes), tuple(edges), (Box("s", "s"),)), (), 0, 60)
    (scope,) = [node for node in view.nodes if node.members == 2]
    assert scope.lines == ("s", "2 ops", "1 fused") and scope.change == KEPT and not view.boxes
    assert [node.id for node in view.nodes] == [scope.id, "c"]
    assert view.edges == (Edge(scope.id, "c", "2 \N{MULTIPLICATION SIGN} [2]", tensors=2),)


def test_nothing_happens_at_level_0() -> None:
    view = rewrites.view(trained(0))
    assert {node.change for node in view.nodes} == {KEPT}
    assert not view.caption and not any(" " in box.scope for box in view.boxes)


# -- SVG and scales --------------------------------------------------------------------------------------------------


def test_every_text_is_escaped() -> None:
    names = hostile_names()
    svg = Svg(100, 100, names[0])
    for name in names:
        svg.text(1, 2, name, fill=name)
        svg.rect(0, 0, 1, 1, name, stroke=name)
    root = ET.fromstring(str(svg))
    assert [t.text or "" for t in root.iter(f"{XML}text")] == [visible(name) for name in names]
    assert [t.get("fill") for t in root.iter(f"{XML}text")] == [visible(name) for name in names]


@pytest.mark.parametrize(
    ("most", "count", "base", "expected"),
    [
        (10.0, 5, 1, [0, 2, 4, 6, 8, 10]),
        (0.07, 7, 1, [0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]),
        (3 * 1024, 3, 1024, [0, 1024, 2048, 3072]),
        (0.0, 5, 1, [0]),
    ],
)
def test_ticks_are_round(most: float, count: int, base: float, expected: list[float]) -> None:
    assert axis.ticks(most, count, base) == pytest.approx(expected)


def test_amounts_in_words() -> None:
    assert [axis.seconds_text(s) for s in (2.5, 0.0123, 4e-6, 7e-10)] == ["2.5 s", "12.3 ms", "4 µs", "0.7 ns"]
    assert [axis.bytes_text(b) for b in (12, 2048, 5 << 20)] == ["12 bytes", "2 KiB", "5 MiB"]
