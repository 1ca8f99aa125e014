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
from graphflow import cli, demo, inspection
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


def test_the_commands_are_there() -> None:
    known = {"demo", "show", "render", "explain", "trace", "debug", "ops", "devices", "version", "bench"}
    assert known <= cli.COMMANDS.keys()


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, name, "--help")
    assert (code, err) == (0, "") and cli.COMMANDS[name].summary.split()[0] in out


def test_the_usage_of_a_command_begins_with_its_call(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "compare", "--help")
    assert code == 0 and out.startswith("usage: python -m graphflow compare [-h]")


EVERY = f"there are {', '.join(cli.COMMANDS)}"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dmo", "did you mean 'demo'?"),
        ("shwo", "did you mean 'show'?"),
        ("opps", "did you mean 'ops'?"),
        ("xyz", EVERY),
    ],
)
def test_an_unknown_command(word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, word)
    assert (code, out) == (2, "") and f"{word!r}; {said}\n" in err


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


# -- looking inside ------------------------------------------------------------------------------------------------

SCRIPT = """\
import sys
import graphflow as tf
x = tf.placeholder(tf.float32, [None, 2], name="x")
with tf.name_scope("model"):
    w = tf.Variable([[1.0], [-1.0]], name="w")
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w)), name="loss")
train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    session.run(train, {x: [[1, 2], [3, 5]]})
    session.run(train, {x: [[2, 1], [4, 3]]})
print("arguments:", sys.argv[1:])
"""
LOOKING = {"show": "ops", "render": "net.png", "explain": "summary", "trace": "run.json"}  # what each prints
OUT = {"render": ("-o", "net.png"), "trace": ("-o", "run.json")}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small script in it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path / "train.py"


@pytest.mark.parametrize("name", LOOKING)
def test_a_script_runs_as_it_would_by_itself(name: str, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.argv, list(sys.path)
    code, out, err = called(capsys, name, *OUT.get(name, ()), "train.py", "--json", "-o", "3")
    assert code == 0 and "Traceback" not in err and LOOKING[name] in out
    assert out.startswith("arguments: ['--json', '-o', '3']\n")  # those of the script, whatever the command has
    assert (sys.argv, sys.path) == before and not inspection.heralds


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('enough')", 1, "enough\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
@pytest.mark.parametrize("name", LOOKING)
def test_a_script_that_fails_is_shown_and_its_code_is_the_answer(
    name: str, last: str, code: int, said: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.write_text(f"{SCRIPT}{last}\nprint('not here')\n", encoding="utf-8")
    found, out, err = called(capsys, name, *OUT.get(name, ()), "train.py")
    assert found == code and said in err and LOOKING[name] in out and "not here" not in out
    assert name not in OUT or (script.parent / OUT[name][1]).stat().st_size > 1000


def test_show_counts_what_is_there(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "show", "train.py")
    assert (code, err) == (0, "")
    assert re.search(r"^  x +float32 \[\?, 2\]$", out, re.MULTILINE) and "  model/w  float32 [2, 1]\n" in out
    assert re.search(r"^ +2  MatMul$", out, re.MULTILINE) and "1 variable, 2 numbers" in out


def test_json_for_machines(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "show", "--json", "net.json", "train.py")
    assert (code, out) == (0, "arguments: []\n")  # a file of its own: the script's words are not in it
    found = json.loads(script.with_name("net.json").read_text(encoding="utf-8"))
    assert found["ops"] == sum(found["types"].values()) and found["types"]["MatMul"] == 2
    assert found["variables"] == [{"name": "model/w", "dtype": "float32", "shape": "[2, 1]", "numbers": 2}]
    assert found["placeholders"] == [{"name": "x", "dtype": "float32", "shape": "[?, 2]"}]
    graphflow.reset_default_graph()
    code, out, _ = called(capsys, "show", "--json", "-", "train.py")
    assert code == 0 and json.loads(out.removeprefix("arguments: []\n")) == found


@pytest.mark.parametrize("file", ["net.meta", "net.json"])
def test_a_saved_graph_is_shown_and_drawn(file: str, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with graphflow.Graph().as_default() as graph:
        loss = graphflow.square(graphflow.Variable([1.0, 2.0], name="v"), name="loss")
        if file == "net.meta":
            graphflow.train.export_meta_graph(file)
        else:
            graphflow.train.write_graph(graph, ".", file)
    code, out, err = called(capsys, "show", file)
    assert (code, err) == (0, "") and out.startswith(f"{len(graph)} ops\n") and loss.op.type in out
    graphflow.reset_default_graph()
    assert called(capsys, "render", "-o", "net.svg", file)[:2] == (0, "net.svg\n")
    assert ">loss<" in script.with_name("net.svg").read_text(encoding="utf-8")


def test_render_takes_the_options_of_pictures(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(file: str, *options: str) -> str:
        graphflow.reset_default_graph()
        code, _, err = called(capsys, "render", "-o", file, *options, "train.py")
        assert code == 0 and err.startswith("drawing ")
        return script.with_name(file).read_text(encoding="utf-8")

    def nodes(*options: str) -> set[str]:
        return {node["name"] for node in json.loads(drawn("net.json", *options))["nodes"]}

    assert {"x", "model/MatMul", "model/loss"} <= nodes()
    assert "x" not in nodes("--around", "model/loss", "--hops", "1") and "x" in nodes("--around", "model/loss")
    assert "model/MatMul" not in nodes("--depth", "0") and "model" in nodes("--depth", "0")
    assert "model/MatMul" in nodes("--depth", "0", "--expand", "model")
    assert drawn("net.dot", "--color", "bytes") != drawn("net.dot")
    assert len({drawn("net.dot", "--view", view) for view in ("graph", "gradients", "rewrites")}) == 3
    assert "<svg" in drawn("run.svg", "--view", "schedule") and "<svg" in drawn("run.svg", "--view", "memory")


def test_explain_takes_the_largest_run_or_all(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "explain", "train.py")
    assert code == 0 and "train.py:6" in out and out.count("summary\n") == 1 and "fed        v0 = x" in out
    graphflow.reset_default_graph()
    code, out, _ = called(capsys, "explain", "--all", "--json", "why.json", "train.py")
    assert (code, out) == (0, "arguments: []\n")
    assert len(json.loads(script.with_name("why.json").read_text(encoding="utf-8"))) == 2  # set up, and train


def test_trace_writes_a_file_for_each_session(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.write_text(SCRIPT + "with tf.Session() as other:\n    other.run(tf.constant(1.0) + x, {x: [[1, 2]]})\n")
    code, out, _ = called(capsys, "trace", "-o", "run.json", "train.py")
    assert code == 0 and out.endswith("run.json\nrun_2.json\n")
    first, second = (json.loads(script.with_name(name).read_text(encoding="utf-8")) for name in out.split()[-2:])
    named = [{event["name"] for event in found["traceEvents"]} for found in (first, second)]
    assert "model/MatMul" in str(named[0]) and "model/MatMul" not in str(named[1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "none.py"), "there is no file 'none.py'"),
        (("debug", "none.py"), "there is no script 'none.py'"),
        (("trace", "."), "there is no file '.'"),
        (("show", "broken.json"), "the serialized graph"),
        (("render", "-o", "net.xyz", "train.py"), "the file's ending says what to write"),
        (("render", "-o", "none/net.dot", "train.py"), "none/net.dot"),
        (("render", "--engine", "none", "train.py"), "'none'"),
        (("render", "--around", "none", "train.py"), "'none'"),
        (("show", "--json", "none/net.json", "train.py"), "none/net.json"),
        (("explain", "idle.py"), "nothing was run"),
        (("trace", "idle.py"), "the script made no session"),
        (("render", "--view", "memory", "idle.py"), "a program that ran nothing"),
    ],
)
def test_what_cannot_be_looked_into_is_told_in_short(
    words: tuple[str, ...], said: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.with_name("broken.json").write_text("{")
    script.with_name("idle.py").write_text("import graphflow as tf\nx = tf.zeros([2])\n")
    code, _, err = called(capsys, *words)
    assert code == 1 and f"python -m graphflow {words[0]}: " in err and said in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said", "remedy"),
    [
        (("render", "-o", "a.bmp"), "the file's ending says what to write", ".png"),
        (("render", "-o", "a.html", "--view", "memory"), "the file's ending says what to write", ".svg, .png"),
        (("render", "-o", "nodir/a.png"), "cannot write 'nodir/a.png'", "make the folder"),
        (("render", "--engine", "none"), "names no engine", "graphviz-pure"),
        (("show", "--json", "nodir/x.json"), "cannot write 'nodir/x.json'", "make the folder"),
        (("explain", "--json", "nodir/x.json"), "cannot write 'nodir/x.json'", "make the folder"),
        (("explain", "--json", "."), "'.' is not a regular file", "a directory"),
        (("trace", "-o", "nodir/t.json"), "cannot write 'nodir/t.json'", "make the folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_script_runs(
    words: tuple[str, ...], said: str, remedy: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, *words, "train.py")
    assert (code, out) == (1, "") and said in err and remedy in err and "Traceback" not in err


def test_a_folder_into_which_nothing_may_be_written(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("graphflow.looking.os.access", lambda path, mode: False)
    code, out, err = called(capsys, "trace", "train.py")
    assert (code, out) == (1, "") and "nothing may be written to its folder" in err


@pytest.mark.parametrize("words", [("explain",), ("render", "-o", "net.svg", "--view", "memory")])
def test_a_run_that_failed_is_not_nothing(
    words: tuple[str, ...], script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.write_text(SCRIPT.replace("session.run(tf.global_variables_initializer())", "session.run(x)"))
    code, _, err = called(capsys, *words, "train.py")
    assert code == 1 and "the script's run failed" in err and "InvalidArgumentError" in err.rpartition("run failed")[2]
    script.write_text("1 / 0\n")
    code, _, err = called(capsys, *words, "train.py")
    assert code == 1 and "the script failed before it ran anything" in err


@pytest.mark.parametrize(("text", "last"), [(f"{SCRIPT}1 / 0\n", "1 / 0"), ("x = = 1\n", "SyntaxError")])
def test_a_traceback_begins_at_the_scripts_own_line(
    text: str, last: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.write_text(text)
    _, _, err = called(capsys, "show", "train.py")
    first = next(line for line in err.splitlines() if line.startswith("  File "))
    assert "train.py" in first and last in err and "runpy" not in err and "looking.py" not in err


def test_an_error_of_the_command_line_names_no_line_of_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "graphflow", "show", "none.py"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and "there is no file 'none.py'" in done.stderr and "called at" not in done.stderr


@pytest.mark.parametrize("words", [("--view", "side"), ("--color", "mood"), ("--depth", "x"), ("--hops", "1.5")])
def test_a_wrong_choice_is_a_wrong_call(
    words: tuple[str, ...], script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, "render", *words, "train.py")
    assert (code, out) == (2, "") and "usage:" in err and words[0] in err


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
    monkeypatch.setattr("graphflow.render.engines.ENGINES", {})
    code, out, err = called(capsys, "demo", "--out", str(tmp_path))
    assert (code, out) == (1, "") and 'pip install "graphviz-pure' in err and "Traceback" not in err


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
