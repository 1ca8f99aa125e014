"""The benchmarks themselves: what is planned, that wrong results are not timed, the ratios, the report, a short run."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bars, command, data, floors, graphs, ladder, references, report, runner, starts, workloads
from benchmarks.peers import OURS, PEERS, LeftOut, skipped, with_graphflow, with_numpy
from graphflow import cli
from graphflow.errors import FailedPreconditionError, InvalidArgumentError

SMALL = ("noop", "chain", "small", "elementwise_1k_fwd", "elementwise_1k_grad", "lecture", "ebm", "mlp_sgd", "mlp_adam")
ELSEWHERE = "/no/such/python"


def planned(*words: str) -> runner.Plan:
    parser = cli._Parser()
    cli._bench_arguments(parser)
    return command.planned(parser.parse_args([*words, "--log", ""]))


def found(**medians: dict[str, float]) -> dict[str, Any]:
    """Results as a run has them, with these medians in microseconds."""
    rows = {
        workload: {
            "peers": {
                peer.replace("_", " ") if peer.startswith("graphflow") else peer: {
                    "median": us * 1e-6, "min": us * 1e-6, "first": 0.01, "samples": [us * 1e-6], "error": 0.0,
                }
                for peer, us in peers.items()
            },
            "left_out": {},
        }
        for workload, peers in medians.items()
    }  # fmt: skip
    names = dict.fromkeys(p for row in rows.values() for p in row["peers"])
    return {"workloads": rows, "versions": {name: {} for name in names}}


# -- planning ------------------------------------------------------------------------------------------------------


def test_everything_is_planned_unless_told_otherwise() -> None:
    plan = planned()
    assert plan.peers == tuple(PEERS) and set(plan.workloads) == {*workloads.WORKLOADS, *workloads.APART}
    assert plan.rounds == command.ROUNDS and plan.python == sys.executable
    quick = planned("--quick", "--rounds", "3", "--peers", "jax, numpy", "--workloads", "elementwise_4m,mlp")
    assert quick.peers == (*OURS, "jax", "numpy") and quick.rounds == 3 and quick.block < plan.block
    assert quick.workloads == ("elementwise_4m_fwd", "elementwise_4m_grad", "mlp_sgd", "mlp_adam")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--peers", "numpy,jaxx"), "no peer named jaxx"),
        (("--workloads", "noop,nop"), "no workload nop"),
        (("--rounds", "0"), "positive"),
    ],
)
def test_what_cannot_be_planned_is_said(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        planned(*words)


def test_a_chart_without_matplotlib_is_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FailedPreconditionError, match="pip install matplotlib"):
        planned("--png", "x.png")


def test_without_a_checkout_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "BENCHMARKS", tmp_path / "benchmarks")
    assert cli.main(["bench"]) == 1
    assert "in the checkout, not in the installed package" in capsys.readouterr().err


def test_tables_agree_with_each_other() -> None:
    families = {row.family for row in workloads.TABLE}
    assert families == set(graphs.BUILDERS) == set(data.FAMILIES)
    assert {row.family for row in workloads.TABLE if row.trains} == set(data.WEIGHTS)
    assert {row.name for row in workloads.TABLE if row.trains} == set(data.RATES)
    assert {name for name, *_ in bars.AGAINST_PEERS} <= set(workloads.WORKLOADS)
    assert set(floors.WORK) <= set(workloads.WORKLOADS)
    for row in workloads.TABLE:
        assert set(row.only) <= set(PEERS) and (row.steps > 1) == row.trains
    folder = Path(command.__file__).parent / "peers"
    assert {row.module for row in PEERS.values()} == {file.stem for file in folder.glob("with_*.py")}
    assert skipped("pytensor", "cnn_train", "cnn") and skipped("jax", "cnn_train", "cnn") is None


# -- results are compared before they are timed --------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("module", [with_graphflow, with_numpy])
def test_a_peer_computes_what_the_reference_does(name: str, module: Any) -> None:
    row = workloads.WORKLOADS[name]
    wanted = references.results(row)
    prepared = module.prepare(row, data.arrays(row.family), "1")
    prepared.step()
    prepared.reset()
    for _ in range(row.steps):
        out = prepared.step()
    got = [np.asarray(value) for value in (*out, *(prepared.weights() if row.trains else ()))]
    assert runner.error_of(row, got, wanted) <= row.tolerance


@pytest.mark.parametrize("name", ["lecture", "ebm"])
def test_a_step_that_trains_nothing_is_wrong(name: str) -> None:
    row = workloads.WORKLOADS[name]
    wanted = references.results(row)
    still = [np.asarray(wanted[0]), *workloads.initial(row)]
    assert runner.error_of(row, still, wanted) == pytest.approx(1)
    assert runner.error_of(row, still[:-1], wanted) == math.inf


def test_nan_or_another_shape_is_wrong() -> None:
    row = workloads.WORKLOADS["small"]
    (wanted,) = references.results(row)
    assert runner.error_of(row, [wanted.astype(np.float32)], [wanted]) < row.tolerance
    assert runner.error_of(row, [np.full_like(wanted, np.nan)], [wanted]) == math.inf
    assert runner.error_of(row, [wanted[:8]], [wanted]) == math.inf


class Scripted:
    """Stands for the processes: answers as told, and keeps what was asked."""

    def __init__(self, wrong: str = "", late: str = "") -> None:
        self.plan = planned("--workloads", "noop", "--rounds", "3")
        self.wrong, self.late = wrong, late
        self.asked: list[tuple[str, str]] = []

    def ask(self, name: str, do: str, seconds: float = 0, **arguments: Any) -> dict[str, Any]:
        self.asked.append((name, do))
        if do == "show":
            timed = (name, "time") in self.asked
            np.savez(arguments["file"], np.float32(9.0 if name == self.wrong or name == self.late and timed else 2.25))
        return {"ok": True, "first": 0.1, "pace": 0.01, "seconds": 0.05}

    def seconds(self) -> float:
        return 0.0


def test_a_wrong_result_is_left_out_and_never_timed() -> None:
    peers = Scripted(wrong="jax")
    out = runner.measure(peers, ["numpy", "jax"], workloads.WORKLOADS["noop"])  # type: ignore[arg-type]
    assert "its result is wrong" in out["left_out"]["jax"] and list(out["peers"]) == ["numpy"]
    assert ("jax", "time") not in peers.asked and peers.asked.count(("numpy", "time")) == 3
    assert out["peers"]["numpy"]["median"] == pytest.approx(0.05 / 20)  # twenty runs of 10 ms fill a block


def test_a_result_that_turns_wrong_is_left_out_too() -> None:
    out = runner.measure(Scripted(late="jax"), ["numpy", "jax"], workloads.WORKLOADS["noop"])  # type: ignore[arg-type]
    assert out["left_out"]["jax"].startswith("after the timing") and list(out["peers"]) == ["numpy"]


def test_rounds_are_interleaved() -> None:
    peers = Scripted()
    runner.measure(peers, ["numpy", "jax"], workloads.WORKLOADS["noop"])  # type: ignore[arg-type]
    order = [name for name, do in peers.asked if do == "time"]
    assert all(set(order[i : i + 2]) == {"numpy", "jax"} for i in range(0, 6, 2))


def test_a_peer_without_a_package_is_absent() -> None:
    plan = planned("--peers", "tinygrad", "--peers-python", sys.executable)._replace(peers=("tinygrad",))
    peers = runner.Peers(plan)
    assert peers.start(lambda line: None) == [] and "tinygrad is not installed" in peers.absent["tinygrad"]


# -- ratios and verdicts -------------------------------------------------------------------------------------------


def test_the_best_peer_is_the_fastest_library_and_numpy_only_where_there_is_no_other() -> None:
    results = found(noop={"numpy": 0.1, "jax": 40.0, "torch": 8.0, "graphflow_O1": 2.0}, chain={"numpy": 50.0})
    assert bars.best_peer(results, "noop") == ("torch", pytest.approx(8e-6))
    assert bars.best_peer(results, "chain") == ("numpy", pytest.approx(50e-6))
    assert bars.best_peer(results, "ebm") is None


def test_the_default_is_the_better_of_o1_and_o2() -> None:
    results = found(
        noop={"torch": 10.0, "graphflow_O1": 15.0, "graphflow_O2": 17.0, "graphflow_fast": 10.5},
        noop_callable={"tf1": 300.0, "graphflow_O1": 6.5, "graphflow_O2": 6.6},
        wide_1={"graphflow_O2": 36.0}, wide_2={"graphflow_O2": 18.0}, wide_2_hogged={"graphflow_O2": 54.0},
    )  # fmt: skip
    verdict = {(v.bar, v.path): v for v in bars.verdicts(results)}
    noop = verdict["noop", "default"]
    assert (noop.measured, noop.value, noop.limit, noop.met) == ("graphflow O1", pytest.approx(1.5), 1.6, True)
    assert not verdict["noop", "fast"].met
    assert verdict["noop_callable", "default"].value == pytest.approx(0.65)  # against the best peer of noop
    assert verdict["wide: 1 worker / 2 workers", "default"].met
    assert not verdict["wide: one core taken / alone", "default"].met
    assert ("mlp_sgd", "default") not in verdict


def test_costs_of_a_large_graph_and_of_an_import_are_judged() -> None:
    row = {"ops": 10_000, "total": 39.0, "bytes": 9_000.0, **dict.fromkeys(ladder.PHASES, 1.0)}
    results = {
        "compile": {"peers": {"graphflow O1": row, "graphflow O2": row | {"total": 50.0}}, "left_out": {}},
        "import": {"numpy": {"median": 0.1, "bytes": 5e7}, "graphflow": {"median": 0.13, "bytes": 1.5e6}},
    }
    met = {v.bar: v.met for v in bars.verdicts(results)}
    assert met == {
        "compile, us an op": True, "compile, KB an op": False, "import, ms above NumPy": True, "own files, MB": True,
    }  # fmt: skip


def test_the_ladder_has_the_slope_that_its_difference_quotient_has() -> None:
    (up, _), (down, _), (_, slope) = (ladder.expected(40, x) for x in (0.5 + 1e-6, 0.5 - 1e-6, 0.5))
    assert slope == pytest.approx((up - down) / 2e-6, rel=1e-6)
    phases = with_graphflow.ladder(40, "1")
    assert (phases["value"], phases["slope"]) == pytest.approx(ladder.expected(40), rel=1e-5)


def test_floors_are_products_at_the_best_rate_and_bytes_at_the_best_bandwidth() -> None:
    rates = {"sgemm": {"256": 100.0, "512": 200.0}, "copy": 40.0, "add": 50.0}
    assert floors.seconds_at_least("wide", rates) == pytest.approx(96 * 2 * 256**3 / 200e9)
    assert floors.seconds_at_least("elementwise_4m_fwd", rates) == pytest.approx(4 * 4_000_000 * 4 / 50e9)
    assert floors.seconds_at_least("noop", rates) is None
    other = {"sgemm": {"256": 300.0, "512": 20.0}, "copy": 41.0, "add": 5.0}
    assert floors.better(rates, other) == {"sgemm": {"256": 300.0, "512": 200.0}, "copy": 41.0, "add": 50.0}


def test_the_size_of_a_folder_leaves_bytecode_out(tmp_path: Path) -> None:
    for name, count in (("a.py", 10), ("a.cpython-311.pyc", 20), ("a.cpython-99.pyc", 40)):
        (tmp_path / name).write_bytes(bytes(count))
    assert starts.size([str(tmp_path)]) == 10


# -- the report ----------------------------------------------------------------------------------------------------


def test_durations_have_three_digits_and_a_unit() -> None:
    texts = [report.duration(s) for s in (3.1e-6, 0.0123, 2.5, None)]
    assert texts == ["3.1 us", "12.3 ms", "2.5 s", "-"]


def test_the_table_names_the_best_peer_the_ratio_and_the_verdict() -> None:
    results = found(noop={"numpy": 0.1, "torch": 8.0, "graphflow_O1": 16.0, "graphflow_O2": 18.0})
    results |= {"absent": {"jax": "jax is not installed in x"}, "floors": {}}
    results["workloads"]["noop"]["left_out"]["ort"] = "runs backwards"
    text = report.text(results)
    (line,) = [
        line for line in text.splitlines() if line.startswith("noop  ") and "default" not in line and "O1" not in line
    ][:1]
    assert line.split()[:4] == ["noop", "torch", "8", "us"] and line.split()[-3:] == ["2.00", "-", "-"]
    assert "MISSED" in text and "0 of 1 bars met" in text
    assert "noop: ort: runs backwards" in text and "jax is not installed" in text


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = found(noop={"numpy": 0.1, "torch": 8.0, "graphflow_O1": 16.0}, ebm={"jax": 50.0, "graphflow_fast": 9.0})
    file = tmp_path / "chart.png"
    report.chart(results, str(file))
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and file.stat().st_size > 5_000


# -- the whole -----------------------------------------------------------------------------------------------------


def test_a_short_run_measures_compares_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    words = ["--quick", "--rounds", "2", "--peers", "numpy", "--workloads", "chain", "--json", str(file)]
    assert cli.main(["bench", *words]) == 0
    out = capsys.readouterr().out
    results = json.loads(file.read_text(encoding="utf-8"))
    assert {"numpy", "graphflow O1", "graphflow O2"} <= set(results["workloads"]["chain"]["peers"])
    for row in results["workloads"]["chain"]["peers"].values():
        assert len(row["samples"]) == 2 and 0 < row["min"] <= row["median"] < 10 and row["error"] < 1e-5
    assert max(results["floors"]["sgemm"].values()) > 0.1 and "threads: 2" in out
    assert {v["bar"] for v in results["verdicts"]} == {"chain"}


def test_left_out_is_an_answer_of_its_own() -> None:
    from benchmarks import child

    one = child.Child("numpy")
    one.module = type("Module", (), {"prepare": staticmethod(_refuse)})
    assert child._answer(one, {"do": "prepare", "workload": "noop", "warm": 0}) == {"ok": False, "left_out": "why"}
    assert "AttributeError" in child._answer(one, {"do": "nothing"})["failed"]


def _refuse(*_: Any) -> Any:
    raise LeftOut("why")
