"""The package as a user meets it, and what every source file keeps to: names, sizes, banned calls."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import graphflow

ROOT = Path(__file__).parents[1]
LIBRARY = sorted(path for folder in ("graphflow", "backends") for path in (ROOT / folder).rglob("*.py"))

# Modules that may call the built-in `exec` or `compile`, on source made of our own tables and integer slots.
MAY_COMPILE: frozenset[str] = frozenset({"backends/graphflow_numpy/straightline.py"})

BANNED_MODULES = {"builtins", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "yaml"}
BANNED_BUILTINS = {"__import__", "compile", "eval", "exec"}
BANNED_FLAGS = {"allow_pickle", "shell"}
BANNED_ATTRIBUTES = {"os.popen", "os.system", "tempfile.mktemp"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def repository_files() -> list[Path]:
    """Every file of ours; from an unpacked sdist, every file."""
    if not (ROOT / ".git").exists():
        return [path for path in ROOT.rglob("*") if path.is_file()]
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


# -- what is installed ---------------------------------------------------------------------------------------


def test_the_backends_are_entry_points() -> None:
    found = {point.name: point.value for point in metadata.entry_points(group="graphflow.backends")}
    wanted = {"numpy": "graphflow_numpy:backend", "opencl": "graphflow_opencl.execution:backend"}
    assert wanted.items() <= found.items(), 'run `pip install -e ".[all,test]"` once'


def test_the_version_is_written_once() -> None:
    assert metadata.version("graphflow-dl") == graphflow.__version__


def test_all_holds_every_extra_of_a_user() -> None:
    extras: dict[str, set[str]] = {}
    for line in metadata.requires("graphflow-dl") or ():
        if found := re.search(r"extra == ['\"](\w+)['\"]", line):
            extras.setdefault(found[1], set()).add(re.split("[<>=;[]", line)[0].strip())
    of_users = {"fast", "onnx", "opencl", "plot", "render", "summary"}
    assert extras.keys() == {"all", "bench", "test"} | of_users
    assert extras["all"] >= set().union(*(extras[name] for name in of_users))


def test_import_leaves_optional_packages_alone() -> None:
    heavy = [
        "graphviz", "graphviz_pure", "llvmlite", "matplotlib", "networkx", "onnx", "PIL", "pyopencl", "resvg_py",
        "sklearn", "tensorboardX", "tqdm",
    ]  # fmt: skip
    program = f"import sys, graphflow; print(*sorted(set(sys.modules).intersection({heavy})))"
    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (run.returncode, run.stdout.split(), run.stderr) == (0, [], "")


def test_the_wheel_holds_the_packages_and_their_type_markers() -> None:
    files = WheelBuilder(str(ROOT)).recurse_included_files()
    shipped = {file.distribution_path.replace("\\", "/") for file in files}
    packages = {"graphflow", "graphflow_numpy", "graphflow_opencl"}
    assert {f"{package}/py.typed" for package in packages} <= shipped
    assert {path.partition("/")[0] for path in shipped} == packages
    assert {relative(path).removeprefix("backends/") for path in LIBRARY} <= shipped


# -- what the files say --------------------------------------------------------------------------------------

WRONG_NAME = re.compile(r"pip3?\s+install\s+(?:-\S+\s+)*[\"']?graphflow(?![-_/\w])")


def test_nobody_is_sent_to_the_other_distribution() -> None:
    said = {path: WRONG_NAME.findall(path.read_text("utf-8", "ignore")) for path in repository_files()}
    assert {relative(path): found for path, found in said.items() if found} == {}


@pytest.mark.parametrize("wrong", ["graphflow", "-U graphflow", '"graphflow[all]"', "-q 'graphflow>=1'"])
def test_the_wrong_name_is_noticed(wrong: str) -> None:
    assert WRONG_NAME.search(f"pip install {wrong}\n")


@pytest.mark.parametrize("right", ["graphflow-dl", '"graphflow-dl[all]"', "-e . && python -m graphflow demo"])
def test_the_right_name_is_left_alone(right: str) -> None:
    assert not WRONG_NAME.search(f"pip install {right}\n")


# -- what the sources keep to --------------------------------------------------------------------------------


def own_names(tree: ast.Module) -> set[str]:
    """The names that a module imports or defines at its top: `compile` among them is not the built-in."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def imported_modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def banned(source: str, may_compile: bool = False) -> list[str]:
    """What a source uses that a file, a name or a feed could turn into code, line by line."""
    tree = ast.parse(source)
    builtins = BANNED_BUILTINS - own_names(tree) - ({"compile", "exec"} if may_compile else set())
    found = []
    for node in ast.walk(tree):
        for name in imported_modules(node):
            if name.partition(".")[0] in BANNED_MODULES or name in BANNED_ATTRIBUTES:
                found.append(f"{node.lineno}: import of {name}")
        if isinstance(node, ast.Name) and node.id in builtins:
            found.append(f"{node.lineno}: {node.id}")
        if isinstance(node, ast.Attribute) and ast.unparse(node) in BANNED_ATTRIBUTES:
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.keyword) and node.arg in BANNED_FLAGS and ast.unparse(node.value) != "False":
            found.append(f"{node.lineno}: {node.arg}={ast.unparse(node.value)}")
    return found


def test_nothing_banned_is_used() -> None:
    found = {relative(path): banned(path.read_text(), relative(path) in MAY_COMPILE) for path in LIBRARY}
    assert {name: uses for name, uses in found.items() if uses} == {}
    assert found.keys() >= MAY_COMPILE


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "def f():\n    import yaml.loader",
        "from tempfile import mktemp",
        "tempfile.mktemp()",
        "x = eval(text)",
        "f = exec",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "subprocess.run(line, shell=1)",
        "os.system(line)",
    ],
)
def test_a_banned_use_is_noticed(source: str) -> None:
    assert banned(source)


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile(x)",
        "from graphflow.compile import compile\ncompile(graph)",
        "np.load(path, allow_pickle=False)",
        "backend.compile(program)",
        "session.eval(x)",
    ],
)
def test_a_harmless_use_is_left_alone(source: str) -> None:
    assert banned(source) == []


def test_only_the_listed_modules_compile() -> None:
    source = "exec(compile(text, '<plan>', 'exec'), space)\neval(text)"
    assert banned(source, may_compile=True) == ["2: eval"]


def test_every_module_says_what_it_is() -> None:
    silent = [relative(path) for path in LIBRARY if not ast.get_docstring(ast.parse(path.read_text()))]
    assert LIBRARY and silent == []


def test_no_module_has_an_empty_name() -> None:
    empty = re.compile(r"^_*(utils?|helpers?|common|misc)$")
    found = [relative(p) for p in LIBRARY if any(empty.match(part) for part in (*p.parts[:-1], p.stem))]
    theirs = "graphflow/eager/utils/", "graphflow/eager/nn/utils.py"  # PyTorch's names
    assert [p for p in found if not p.startswith(theirs)] == []


def test_modules_and_functions_are_short() -> None:
    long = []
    for path in LIBRARY:
        source = path.read_text()
        if (lines := source.count("\n")) > 500:
            long.append(f"{relative(path)}: {lines} lines, 500 at most")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 60:
                    long.append(f"{relative(path)}:{node.lineno} {node.name}: {lines} lines, 60 at most")
    assert not long, "\n".join(long)
