"""`python -m graphflow` as a user meets it: what it lists, what it says when something is wrong, the demo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

import graphflow
from graphflow import cli, demo
from graphflow.demo import iris
from graphflow.opdef import OPS

ROOT = Path(__file__).parents[1]


def called(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def process(program: str, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program, *words]
    return subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=240)


MAIN = "import sys; from graphflow.cli import main; sys.exit(main())"


# -- commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",)])
def test_without_a_command_the_commands_are_listed(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, *words)
    assert (code, err) == (0, "")
    for name, command in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", out, re.MULTILINE)
    assert all(len(line) <= 120 for line in out.splitlines())


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, name, "--help")
    assert (code, err) == (0, "") and cli.COMMANDS[name].summary.split()[0] in out


@pytest.mark.parametrize(
    ("word", "said"), [("dmo", "did you mean 'demo'?"), ("opps", "did you mean 'ops'?"), ("xyz", "there are demo, ops")]
)
def test_an_unknown_command(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, word)
    assert (code, out) == (2, "") and f"{word!r}" in err and said in err


@pytest.mark.parametrize("words", [("demo", "--sed", "1"), ("demo", "--seed", "x"), ("ops", "a", "b"), ("--nonsense",)])
def test_a_wrong_option(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, *words)
    assert (code, out) == (2, "") and "usage:" in err


def test_the_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "--version") == (0, f"graphflow {graphflow.__version__}\n", "")
    code, out, _ = called(capsys, "version")
    assert code == 0 and graphflow.__version__ in out and "numpy" in out


def test_as_a_module() -> None:
    command = [sys.executable, "-W", "error", "-m", "graphflow"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: python -m graphflow")


def test_listing_imports_no_optional_package() -> None:
    heavy = ["graphviz", "matplotlib", "networkx", "tqdm"]
    program = f"import sys; from graphflow.cli import main; main(['ops']); print(set({heavy}) & set(sys.modules))"
    assert process(program).stdout.splitlines()[-1] == "set()"


# -- ops -----------------------------------------------------------------------------------------------------------


def test_ops_lists_every_op_type(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "ops")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == sorted(OPS)
    found = {line.split()[0]: "  gradient  " in line for line in out.splitlines()}
    assert found["MatMul"] and not found["Placeholder"]


def test_ops_of_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "ops", "matmul")
    assert code == 0 and "MatMul" in out and "Placeholder" not in out and f"of {len(OPS)} op types" in err


def test_ops_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "ops", "--json")
    rows = {row["type"]: row for row in json.loads(out)}
    assert code == 0 and rows.keys() == OPS.keys()
    assert rows["AssignAdd"]["effect"] == "write" and rows["MatMul"]["gradient"]


def test_a_reader_that_stops_early() -> None:
    command = [sys.executable, "-c", MAIN, "ops", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        assert listing.stdout is not None and listing.stderr is not None
        listing.stdout.close()
        assert (listing.stderr.read(), listing.wait()) == ("", 0)


# -- what is missing or fails --------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", [["tqdm"], ["matplotlib"], ["matplotlib", "tqdm"], ["graphviz"]])
def test_a_missing_package_is_one_sentence(absent: list[str], tmp_path: Path) -> None:
    hide = "import sys; " + "".join(f"sys.modules[{name!r}] = None; " for name in absent)
    done = process(hide + MAIN, "demo", "--out", str(tmp_path))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.endswith(f"not installed: pip install {' '.join(absent)}\n") and done.stderr.count("\n") == 1


def test_no_program_to_lay_out_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)
    code, out, err = called(capsys, "demo", "--out", str(tmp_path))
    assert (code, out) == (1, "") and "pip install graphviz-pure" in err and "Traceback" not in err


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = called(capsys, "demo", "--quick", "--out", str(tmp_path / "file" / "deeper"))
    assert (code, out) == (1, "") and "deeper" in err and "Traceback" not in err


def test_an_interruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "version", cli.COMMANDS["version"]._replace(run=interrupted))
    assert called(capsys, "version") == (130, "", "python -m graphflow version: interrupted\n")


# -- the demo ------------------------------------------------------------------------------------------------------


def test_the_flowers_are_those_of_scikit_learn() -> None:
    theirs, ours = load_iris(), iris.load()
    assert list(theirs.target_names) == list(iris.SPECIES) and (theirs.target == ours.species).all()
    assert (theirs.data[:, 2:].astype("float32") == ours.petals).all()


def test_the_demo(tmp_path: Path) -> None:
    done = process(MAIN, "demo", "--quick", "--out", "here", "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in (demo.GRAPH_FILE, demo.TRAINING_FILE):
        assert str(tmp_path / "here" / name) in done.stdout
        picture = (tmp_path / "here" / name).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n") and len(picture) > 10_000
    rows = [line.split() for line in done.stdout.splitlines() if line.endswith("%")]
    assert [row[0] for row in rows] == ["0", "8", "16", "24", "32", "40"]
    assert float(rows[-1][1]) < 0.5 * float(rows[0][1])
    assert "training" in done.stderr and "40/40" in done.stderr  # the progress bar
    assert "Traceback" not in done.stderr


def test_the_demo_opens_no_window(tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "tkagg", "DISPLAY": ""}
    command = [sys.executable, "-c", MAIN, "demo", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
