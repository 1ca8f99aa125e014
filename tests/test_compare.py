"""Comparisons: every way computes the same, figures are what they say, and pictures and pages hold them."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import graphflow as gf
from graphflow import compare, nest
from graphflow import eager as torch
from graphflow.compare import command, comparing, graphs, measure, picture
from graphflow.compare.calls import Listener
from graphflow.compare.figures import Row, break_even
from graphflow.compare.report import Report
from graphflow.eager import nn
from graphflow.eager.engine import EAGER
from graphflow.eager.mode import computes
from graphflow.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)

RNG = np.random.default_rng(11)
X = RNG.standard_normal((6, 5)).astype(np.float32)
QUICK: dict[str, Any] = {"rounds": 2, "steps": 1, "warm": 0.0, "devices": ["numpy"]}


def chain(x: Any) -> Any:
    for _ in range(6):
        x = gf.tanh(x) * 1.5 + 0.1
    return x


def mlp(x: Any, w: Any) -> Any:
    return gf.reduce_mean(gf.square(gf.tanh(gf.matmul(x, w)) - 1.0))


def wide(x: Any) -> Any:
    return gf.add_n([gf.sin(x * float(k)) for k in range(1, 6)])


def nested(x: Any) -> Any:
    return {"a": [x * 2.0, None], "b": gf.reduce_max(x)}


PROGRAMS = [
    (chain, (X,)),
    (mlp, (X, RNG.standard_normal((5, 4)).astype(np.float32))),
    (wide, (X,)),
    (nested, (X,)),
    (lambda x: gf.reduce_sum(gf.cond(gf.reduce_sum(x) > 0.0, lambda: x * 2.0, lambda: gf.exp(x))), (X,)),
]


@pytest.fixture(scope="module")
def report() -> Report:
    return compare(chain, X, **QUICK)


@pytest.mark.parametrize(("function", "args"), PROGRAMS)
@pytest.mark.parametrize("grad", [True, False])
def test_every_way_agrees(function: Any, args: Any, grad: bool) -> None:
    found = compare(function, *args, grad=grad, **QUICK)
    assert found.agrees and [row.level for row in found.lazy if row.workers == 1] == [0, 1, 2]
    for row in found.lazy:
        assert row.agrees and (row.same_bits or row.level == 2), row


def test_opencl_is_a_way_where_it_is_here() -> None:
    pytest.importorskip("pyopencl")
    found = compare(mlp, *PROGRAMS[1][1], **{**QUICK, "devices": ["numpy", "opencl"]})
    if any(text.startswith("opencl") for text in found.missing):
        pytest.skip(found.missing[0])
    row = found.row("lazy on opencl")
    assert row.agrees and row.peak_bytes is None and row.calls > 0


def test_a_backend_that_is_not_here_is_told() -> None:
    found = compare(chain, X, **{**QUICK, "devices": ["numpy", "abacus"]})
    assert any("abacus" in text for text in found.missing) and "abacus" in str(found)


def test_the_counts_are_those_of_what_runs(report: Report) -> None:
    eager, lazy = report.eager, report.row("lazy O0")
    assert (eager.ops, eager.calls) == (lazy.ops, lazy.calls)  # at level 0 nothing is fused
    forward = [c for c in report.executed["eager"] if c.phase == "forward"]
    assert [t for c in forward for t in c.types] == ["Tanh", "Mul", "Add"] * 6
    fused = report.row("lazy O1")
    assert fused.calls < eager.calls and fused.buffers < eager.buffers


def test_no_gradients_are_no_gradients() -> None:
    found = compare(chain, X, grad=False, **QUICK)
    assert found.eager.ops == 18 and all(c.phase == "forward" for c in found.executed["eager"])


def test_parameters_are_what_it_is_differentiated_by() -> None:
    w = torch.tensor(RNG.standard_normal((5, 4)).astype(np.float32), requires_grad=True)
    found = compare(lambda x: mlp(x, w), X, **QUICK)
    assert found.conditions["sources"] == 1 and found.agrees
    types = [t for c in found.executed["eager"] for t in c.types]
    assert types.count("MatMul") == 2  # forward, and for the weights: nobody wants the gradient of x


def test_a_way_that_differs_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    right = comparing.Lazy.step

    def wrong(self: Any) -> Any:
        found = right(self)
        if self.setting.level == 1:
            first = nest.flatten(found)[0]
            first.value = first.value * np.float32(1.0000002)
        return found

    monkeypatch.setattr(comparing.Lazy, "step", wrong)
    found = compare(chain, X, **QUICK)
    assert not found.agrees and found.row("lazy O1").agrees is False and found.row("lazy O0").agrees
    assert "NO:" in str(found) and 'class="wrong"' in Path(found.render(tmp_path / "x.html")).read_text()
    assert "RESULTS DISAGREE: lazy O1, the result" in str(found)
    with pytest.raises(FailedPreconditionError, match="not all ways compute the same"):
        found.check()


def test_what_differs_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model, right = nn.Linear(5, 2), comparing.Lazy.step

    def wrong(self: Any) -> Any:
        result, (by_x, *others) = right(self)
        worst = others[0] * 1.5 if others else by_x
        return result, [by_x, worst, *others[1:]]

    monkeypatch.setattr(comparing.Lazy, "step", wrong)
    x = torch.tensor(X, requires_grad=True)
    found = compare(lambda x: model(x).sum(), x, **QUICK)
    assert [r.worst for r in found.lazy] == ["the gradient by 'weight'"] * len(found.lazy)
    assert all(abs(r.difference - 0.5) < 1e-6 for r in found.lazy)
    assert "lazy O0, the gradient by 'weight': 5.0e-01 of its largest value" in str(found)


def test_nan_and_infinity_agree_with_themselves_alone() -> None:
    def t(*values: float) -> Any:
        return torch.tensor(np.array(values, np.float32))

    nan, inf = float("nan"), float("inf")
    assert measure.agreement([t(nan, inf, 1.0)], [t(nan, inf, 1.0)], True, ["y"]).within
    assert measure.agreement([t(nan, 1.0)], [t(nan, 1.00001)], False, ["y"]).within
    for a, b in ((t(nan, 1.0), t(0.0, 1.0)), (t(inf, 1.0), t(-inf, 1.0)), (t(1.0), t(1.01)), (t(1.0), t(1.0, 1.0))):
        assert not measure.agreement([a], [b], False, ["y"]).within
    assert not measure.agreement([t(1.0)], [t(1.0000001)], True, ["y"]).within
    assert not measure.agreement([t(1.0)], [t(1.0), t(1.0)], False, ["y"]).within


def loss_and_right_answers(x: Any) -> Any:
    return (x * x).sum(), (x > 0).sum(), (x > 9.0).any()


def test_counts_beside_a_loss() -> None:
    """Scalars that are no floating-point numbers are compared bit by bit and differentiated by nobody."""
    x = np.array([1.0, -2.0, 3.0], np.float32)
    report = compare(loss_and_right_answers, torch.tensor(x), **QUICK)
    assert report.agrees and report.conditions["sources"] == 1
    assert measure.floors([torch.tensor(7), torch.tensor(2.0)], [torch.tensor([0.5])], [torch.tensor([4.0])]) == [0.005]


def test_a_gradient_that_is_0_but_for_rounding_is_judged_beside_the_others() -> None:
    def leaves(*values: float) -> list[Any]:
        return [torch.tensor(np.array(value, np.float32)) for value in values]

    names = ["y", "dy/da", "dy/db"]
    noise = leaves(1.0, 5.0, 1e-9), leaves(1.0, 5.0, -2e-9)
    least = measure.floors(leaves(1.0), leaves(5.0, 1e-9), leaves(2.0, 0.0))
    assert least == [5e-2, 5e-2] and measure.floors(leaves(8.0), leaves(1e-9), leaves(2.0)) == [4e-2]
    assert measure.agreement(*noise, False, names, least).within
    assert not measure.agreement(*noise, False, names).within
    wrong = measure.agreement(leaves(1.0, 5.0, 1e-3), leaves(1.0, 5.0, 2e-3), False, names, least)
    assert wrong.within is False and wrong.worst == "dy/db"
    zero = compare(gf.nn.softmax, X, **QUICK)  # rows of sum 1, whose derivative is 0
    assert zero.agrees and zero.row("lazy O1").same_bits


def test_random_numbers_are_not_compared_and_that_is_told() -> None:
    found = compare(lambda x: x * gf.random_normal([6, 5]), X, **QUICK)
    assert found.agrees and all(row.agrees is None for row in found.lazy)
    assert "random numbers are drawn" in str(found) and not found.conditions["frozen"]
    inside = compare(lambda x: gf.cond(gf.reduce_sum(x) > 0.0, lambda: x, lambda: x * gf.random_normal([])), X, **QUICK)
    assert inside.conditions["draws"]
    frozen = compare(lambda x: x * (gf.random_normal([6, 5]) if computes() else 2.0), X, **QUICK)
    assert (
        frozen.conditions["frozen"] and "the traced program only while it was traced" in str(frozen) and frozen.agrees
    )


def test_after_how_many_runs_a_way_is_ahead() -> None:
    assert break_even(before=9.0, first=1.0, steady=1.0, eager_first=2.0, eager_steady=3.0) == 5
    assert break_even(before=0.0, first=1.0, steady=1.0, eager_first=3.0, eager_steady=3.0) == 1
    assert break_even(before=0.0, first=1.0, steady=3.0, eager_first=3.0, eager_steady=3.0) is None
    eager, lazy = 2.0, 10.0  # 9 to build, 1 for the first run
    totals = [(eager + 3.0 * (n - 1), lazy + 1.0 * (n - 1)) for n in range(1, 10)]
    assert next(n for n, (e, z) in enumerate(totals, 1) if z <= e) == 5


def row(way: str, steady: float, **changes: Any) -> Row:
    made = Row(way, "numpy", 1, 1, 0.001, 0.002, 0.003, steady, 0.01, 1, 9, 9, 9, 100, 7, True, 0.0, True)
    return dataclasses.replace(made, **({"build": 0.0, "compiling": 0.0} if way == "eager" else {}), **changes)


def made(report: Report, *rows: Row) -> Report:
    return dataclasses.replace(report, rows=rows, executed={r.way: () for r in rows})


def test_losses_are_told_as_plainly_as_wins(report: Report) -> None:
    quick = made(report, row("eager", 4e-3, calls=20), row("lazy O1", 1e-3))
    assert any("4.00 times as fast" in text for text in quick.wins())
    assert any("calls of kernels: 9 against 20" in text for text in quick.wins())
    assert any("time to the first result: 6 ms" in text for text in quick.losses())
    assert any("behind for the first 6 runs: it begins 3 ms later" in text for text in quick.losses())
    late = made(report, row("eager", 4e-3), row("lazy O1", 1e-3), row("lazy on x", 2e-3, first=1.0, break_even=None))
    assert any("the longest beginning: lazy on x, 1 s to its first result, never" in t for t in late.losses())
    at_once = made(report, row("eager", 4e-3, first=1.0), row("lazy O1", 1e-3, break_even=1))
    assert any("time to the first result" in text for text in at_once.wins()) and at_once.losses() == []
    slow = made(report, row("eager", 1e-3), row("lazy O1", 2e-3, calls=30, break_even=None))
    assert slow.wins() == []
    told = "\n".join(slow.losses())
    assert "2.00 times as long" in told and "30 against 9" in told and "never catches up" in told
    assert "slower than eager in each run: lazy O1" in told


def test_a_busy_machine_is_told(report: Report, tmp_path: Path) -> None:
    calm, busy = row("eager", 1e-3), row("lazy O1", 1e-3, spread=0.16)
    assert "BUSY" not in str(made(report, calm, row("lazy O1", 1e-3)))
    assert "THE MACHINE WAS BUSY: 1 of 2 times spread by more than 15%, most of all lazy O1, 16%" in str(
        made(report, calm, busy)
    )
    assert "BUSY" in Path(made(report, calm, busy).render(tmp_path / "x.html")).read_text()


def test_the_collector_is_as_it_was() -> None:
    assert gc.isenabled()
    seen: list[bool] = []
    measure.in_turn([lambda: seen.append(gc.isenabled())], [1.0], 2, 1)
    assert seen == [False, False] and gc.isenabled()


def test_ways_take_turns_and_their_order_turns() -> None:
    order: list[str] = []
    measure.in_turn([lambda: order.append("a"), lambda: order.append("b")], [1.0, 1.0], 3, 1)
    assert "".join(order) == "abbaab"


def test_the_engine_is_left_as_it_was(report: Report) -> None:
    assert "compute" not in vars(EAGER)


def test_ops_give_the_same_whether_somebody_listens_or_not() -> None:
    def kinds() -> list[Any]:
        with EAGER.as_default():
            x = torch.tensor(X)
            found = [gf.split(x, 1), gf.unstack(x[:1]), gf.nn.top_k(x, 2), gf.exp(x), gf.no_op()]
        return [(type(f), [type(part) for part in f] if isinstance(f, (list, tuple)) else None) for f in found]

    with Listener() as listener:
        told = kinds()
    assert told == kinds() and told[0][0] is list and len(told[0][1]) == 1
    assert {"Split", "Unpack", "TopK", "Exp"} <= {t for call in listener.calls for t in call.types}


def test_a_comparison_leaves_no_tape_watching() -> None:
    x, w = torch.tensor(X), torch.ones(5, requires_grad=True)
    tracks = x.track, w.track
    compare(lambda x: x * w, x, **QUICK)
    compare(lambda x: x * 2.0, x, **QUICK)
    with torch.GradientTape() as tape:
        y = x * 2.0
    assert (x.track, w.track) == tracks and tape.gradient(y, x) is None and y.origin is None


def test_the_report_as_data(report: Report) -> None:
    data = json.loads(report.to_json())
    assert [r["way"] for r in data["rows"]] == [r.way for r in report.rows] and data["agrees"] is True
    assert data["rows"][0]["break_even"] is None and data["conditions"]["rounds"] == 2
    assert report.best in report.lazy
    with pytest.raises(InvalidArgumentError, match="no such way"):
        report.row("by hand")


def test_the_table_in_the_terminal(report: Report) -> None:
    text = str(report)
    for word in ("chain", "eager", "lazy O0", "ahead from run", "bit for bit", "lazy wins:", "lazy loses:", "garbage"):
        assert word in text
    assert max(len(line) for line in text.split("\n\n")[1].splitlines()) < 100
    assert "chain" in repr(report)


def test_memory_is_that_of_results_records_and_arena() -> None:
    wide_x = RNG.standard_normal((256, 256)).astype(np.float32)  # 256 kB each
    found = compare(lambda x: gf.tanh(gf.tanh(gf.tanh(gf.tanh(x)))), wide_x, grad=False, **QUICK)
    size, peaks = wide_x.nbytes, {r.way: r.peak_bytes for r in found.rows}
    assert size <= (peaks["lazy O1"] or 0) < 3 * size  # the result, and what is passed on inside of it in tiles
    assert 2 * size <= (peaks["eager"] or 0) < 5 * size
    assert size * 2 <= (peaks["lazy O0"] or 0) < 5 * size  # an arena, and the result apart from it


# -- pictures --------------------------------------------------------------------------------------------------------


def test_the_picture(report: Report, tmp_path: Path) -> None:
    root = ET.parse(report.render(tmp_path / "x.svg")).getroot()
    words = [e.text for e in root.iter(f"{{{graphs.SVG}}}text")]
    assert "a steady run" in words and f"executed eagerly: {report.eager.calls} calls" in words
    assert words.count("lazy O0") == 4 and "Tanh" in words
    assert f"lazy {'wins' if report.wins() else 'loses'}: {[*report.wins(), *report.losses()][0]}" in words
    assert Path(report.render(tmp_path / "x.png")).read_bytes()[:4] == b"\x89PNG"


def test_a_bar_that_would_flatten_the_others_is_cut_off_and_that_is_told(report: Report, tmp_path: Path) -> None:
    rows = row("eager", 1e-3), row("lazy O1", 1e-3), row("lazy on x", 1e-3, first=5.0)
    text = Path(made(report, *rows).render(tmp_path / "x.svg")).read_text()
    assert text.count("<polygon") == 1 and "A bar with a gap is cut off" in text
    lengths = [float(x) for x in re.findall(r'<rect [^>]*width="([0-9.]+)"', text)]
    assert max(lengths[1:]) <= picture.BARS
    even = Path(made(report, *rows[:2]).render(tmp_path / "y.svg")).read_text()
    assert "<polygon" not in even and "cut off" not in even


def test_long_runs_are_folded_in_the_graphs() -> None:
    def long(x: Any) -> Any:
        for _ in range(200):
            x = gf.sin(x)
        return x

    found = compare(long, X, grad=False, levels=[0], **QUICK)
    view = graphs.view_of(found.executed["eager"])
    assert len(view.nodes) == graphs.FEW and sum(node.members for node in view.nodes) == 200
    assert len(view.edges) == graphs.FEW - 1


def test_branches_beside_each_other_are_one_node() -> None:
    def branches(x: Any) -> Any:
        return gf.add_n([gf.sin(gf.tanh(x) * float(k)) for k in range(1, 17)])

    found = compare(branches, X, grad=False, levels=[0], **QUICK)
    view = graphs.view_of(found.executed["eager"])
    assert [node.lines[0] for node in view.nodes] == [
        "Tanh, 16 of them", "Mul, 16 of them", "Sin, 16 of them", "AddN"
    ]  # fmt: skip
    assert [(e.tail, e.head, e.tensors) for e in view.edges] == [("n0", "n1", 16), ("n1", "n2", 16), ("n2", "n3", 16)]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [f"{k}={v}" for k, v in attrs if k in ("href", "src", "xlink:href") or k.startswith("on")]


def test_the_page_loads_and_runs_nothing(report: Report, tmp_path: Path) -> None:
    text = Path(report.render(tmp_path / "x.html")).read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert "script" not in tags.tags and tags.links == [] and tags.tags.count("figure") == 2
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


def test_hostile_names_are_only_words(report: Report, tmp_path: Path) -> None:
    bad = "</title><script>alert(1)</script><img src=x onerror=alert(2)>"
    hostile = dataclasses.replace(report, name=bad, missing=(bad,))
    tags = _Tags()
    tags.feed(Path(hostile.render(tmp_path / "x.html")).read_text(encoding="utf-8"))
    assert "script" not in tags.tags and "img" not in tags.tags
    ET.parse(hostile.render(tmp_path / "x.svg"))
    json.loads(hostile.to_json())


# -- the command line ------------------------------------------------------------------------------------------------


def test_an_unknown_ending_is_told(report: Report, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="ending"):
        report.render(tmp_path / "x.bmp")


SCRIPT = """
import numpy as np
import graphflow as gf

def loss(x):
    return gf.reduce_sum(gf.tanh(x) * 2.0)

def other(x):
    return x * (2.0 if gf.executing_eagerly() else 3.0)

def arguments():
    return np.ones([4, 4], np.float32)

more = [np.ones(3, np.float32)]

if __name__ == "__main__":
    raise SystemExit("not as the main program")
"""


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(
        parser.parse_args([*words, "--devices", "numpy", "--rounds", "2", "--steps", "1", "--warm", "0"])
    )


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "model.py"
    script.write_text(SCRIPT)
    page = tmp_path / "x.html"
    assert call(f"{script}:loss", "--render", str(page)) == 0
    assert "loss, eager against lazy" in capsys.readouterr().out and page.exists()
    figures = tmp_path / "figures"
    assert call(f"{script}:other", "--arguments", "more") == 1 and "RESULTS DISAGREE" in capsys.readouterr().out
    assert call(f"{script}:loss", "--json", str(figures)) == 0 and json.loads(figures.read_text())["agrees"]
    capsys.readouterr()
    assert call(f"{script}:loss", "--no-grad", "--json", "-", "--levels", "1") == 0
    assert json.loads(capsys.readouterr().out)["conditions"]["grad"] is False


def test_the_command_names_the_line_that_failed(tmp_path: Path) -> None:
    script = tmp_path / "model.py"
    script.write_text(
        "import numpy as np\nimport graphflow.eager as torch\n\n"
        "def boom(x):\n    return x / {}['no']\n\n"
        "def deep(x):\n    return (lambda: np.zeros(3).reshape(2, 2))()\n\n"
        "def arguments():\n    return torch.ones(2)\n\n"
        "def bad():\n    return 1 / 0\n"
    )
    for words, text, line in (
        ([f"{script}:boom"], "boom raised KeyError while it was traced to a graph", f"{script}:5, in boom"),
        ([f"{script}:deep"], "deep raised ValueError while it was traced to a graph", f"{script}:8, in <lambda>"),
        (
            [f"{script}:boom", "--arguments", "bad"],
            "bad of the script raised ZeroDivisionError",
            f"{script}:14, in bad",
        ),
    ):
        with pytest.raises(FailedPreconditionError) as caught:
            call(*words)
        assert (caught.value.summary, caught.value.source) == (text, line)


def test_a_module_is_no_function_of_the_script(tmp_path: Path) -> None:
    script = tmp_path / "model.py"
    script.write_text(f"import graphflow.eager as torch\n{SCRIPT}")
    with pytest.raises(InvalidArgumentError, match="'torch' is a module that the script imports") as caught:
        call(f"{script}:torch")
    assert (caught.value.expected, caught.value.got) == ("arguments, loss, other", "'graphflow.eager'")


def test_the_command_tells_what_is_wrong(tmp_path: Path) -> None:
    script = tmp_path / "model.py"
    script.write_text(SCRIPT)
    with pytest.raises(NotFoundError, match="no function 'lost'") as caught:
        call(f"{script}:lost")
    assert caught.value.expected == "arguments, loss, other"
    for words, kind, text in (
        ([f"{script}:loss", "--arguments", "none"], NotFoundError, "has no 'none'"),
        ([f"{script}:loss", "--levels", "one"], InvalidArgumentError, "takes numbers"),
        ([f"{script}:loss", "--render", f"{tmp_path}/x.bmp"], InvalidArgumentError, "ending"),
        ([f"{script}:loss", "--json", f"{tmp_path}/no/x.json"], NotFoundError, "no such folder"),
        ([f"{script}:loss", "--levels", "7"], InvalidArgumentError, "levels are optimization levels"),
    ):
        with pytest.raises(kind, match=text):
            call(*words)
    script.write_text("raise SystemExit(3)")
    with pytest.raises(FailedPreconditionError, match="failed before anything was compared"):
        call(f"{script}:loss")
    with pytest.raises(InvalidArgumentError, match="SCRIPT:FUNCTION"):
        call(str(script))
    with pytest.raises(NotFoundError, match="no file"):
        call(f"{tmp_path}/other.py:loss")
