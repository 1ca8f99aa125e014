"""What `import graphflow` leaves for later, and that no one can tell: names, types and errors stay as they are."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import graphflow as tf
from graphflow.opdef import OPS

ROOT = Path(__file__).parents[1]

# What sessions, savers and backends need and a graph does not: each of them takes milliseconds to import.
DEFERRED = {
    "difflib", "email", "hashlib", "importlib.metadata", "json", "logging", "secrets", "zipfile",
    "graphflow.backend", "graphflow.checkpoint", "graphflow.compile.pipeline", "graphflow.durable",
    "graphflow.session", "graphflow.train",
}  # fmt: skip


def fresh(program: str) -> Any:
    """What a program prints as JSON in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", program]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def checked_imports() -> dict[str, str]:
    """Name -> module of what type checkers alone import in `graphflow/__init__.py`."""
    tree = ast.parse((ROOT / "graphflow" / "__init__.py").read_text())
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "_typing.TYPE_CHECKING"
    ]
    assert len(blocks) == 1
    found = {}
    for node in blocks[0].body:
        assert isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names:
            assert alias.asname == alias.name, "`import X as X` is what makes X public"
            found[alias.name] = node.module
    return found


def test_checkers_see_what_the_tables_say() -> None:
    imports = checked_imports()
    assert {name: module for name, module in imports.items() if module != "graphflow"} == tf._LATER_NAMES
    assert {name for name, module in imports.items() if module == "graphflow"} <= set(tf._LATER_MODULES)


def test_a_graph_is_built_without_what_only_a_session_needs() -> None:
    program = """
import sys
try:
    import ml_dtypes
except ImportError:
    pass
import numpy
before = set(sys.modules)
import graphflow as tf
w = tf.get_variable("w", [3, 2])
loss = tf.reduce_sum(tf.nn.relu(tf.matmul(tf.placeholder(tf.float32, [None, 3]), w)))
tf.gradients(loss, [w])
loaded = sorted(set(sys.modules) - before)
import json
print(json.dumps(loaded))
"""
    loaded = set(fresh(program))
    assert loaded & DEFERRED == set()
    assert "graphflow.gradients" in loaded


def test_what_is_deferred_exists_and_comes_with_the_first_session() -> None:
    program = """
import sys
import graphflow as tf
tf.Session().close()
loaded = sorted(sys.modules)
import json
print(json.dumps(loaded))
"""
    assert {"graphflow.compile.pipeline", "graphflow.session", "importlib.metadata", "secrets"} <= set(fresh(program))


@pytest.mark.parametrize("name", sorted({*tf._LATER_MODULES, *tf._LATER_NAMES}))
def test_each_name_is_there_when_asked_for(name: str) -> None:
    program = f"""
import json, sys
import graphflow as tf
listed = {name!r} in dir(tf) and {name!r} in tf.__all__
found = tf.{name}
home = {tf._LATER_NAMES.get(name, f"graphflow.{name}")!r}
same = found in (sys.modules[home], getattr(sys.modules[home], {name!r}, None)) and tf.{name} is found
print(json.dumps([listed, same, {name!r} in vars(tf)]))
"""
    assert fresh(program) == [True, True, True]


def test_a_star_brings_everything() -> None:
    program = """
import json
from graphflow import *
import graphflow
missing = [name for name in dir(graphflow) if not name.startswith("_") and name not in globals()]
print(json.dumps([missing, Session is graphflow.Session, train.AdamOptimizer.__name__]))
"""
    assert fresh(program) == [[], True, "AdamOptimizer"]


def test_a_mistyped_name_is_still_explained() -> None:
    program = """
import json, sys
import graphflow as tf
said = []
for name in ("Sesion", "keras", "ConfigProt"):
    try:
        getattr(tf, name)
    except AttributeError as error:
        said.append(str(error))
print(json.dumps([said, "graphflow.session" in sys.modules]))
"""
    said, loaded = fresh(program)
    assert "did you mean 'Session'?" in said[0]
    assert "tf.nn, tf.get_variable and tf.train" in said[1]
    assert "did you mean 'ConfigProto'?" in said[2]
    assert not loaded, "an explanation needs names, not modules"


def test_threads_that_ask_at_once_get_one_class() -> None:
    program = """
import json, threading
import graphflow as tf
gate, found = threading.Barrier(8), []
def ask():
    gate.wait()
    found.append((tf.Session, tf.train.AdamOptimizer))
threads = [threading.Thread(target=ask) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps([len(found), len(set(found))]))
"""
    assert fresh(program) == [8, 1]


def test_an_op_shows_its_public_signature() -> None:
    """It is read from the op's own function when asked for; making one for every op would cost milliseconds."""
    assert OPS
    for definition in OPS.values():
        assert inspect.signature(definition.function).return_annotation is inspect.Signature.empty, definition.type
    signature = inspect.signature(tf.multiply)
    assert list(signature.parameters) == ["x", "y", "name"]
    assert signature.return_annotation is inspect.Signature.empty


def test_a_graph_is_exported_before_anything_of_train_is_used() -> None:
    program = (
        "import graphflow as tf; tf.constant(1.0, name='c'); print(tf.get_default_graph().as_graph_def().node[0].name)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "c"
