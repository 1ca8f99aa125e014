"""The examples run as a reader runs them, and what they claim is asserted: a planted fault makes them fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))

# (example, what stands there, what a fault would make of it)
FAULTS = [
    ("01_worked_backprop.py", "tf.multiply(w, x", "tf.multiply(w, 2.0 * x"),
    ("01_worked_backprop.py", "learning_rate=0.1", "learning_rate=0.2"),
    ("02_mlp_tf1.py", "0.999**t", "0.99**t"),
    ("02_mlp_tf1.py", "argmax(axis=1)", "argmin(axis=1)"),
    ("03_logistic_regression.py", "np.dot(x[rows].T, dz)", "np.dot(x[rows].T, dz * dz)"),
    ("04_perceptron_and_xor.py", "error = y - answer", "error = answer - y"),
    ("04_perceptron_and_xor.py", "range(steps)", "range(2)"),
    ("05_mnist_cnn.py", "rng.permutation(len(x)), []", "rng.permutation(50), []"),
    ("07_pytorch_style.py", "loss.backward()  # 4.", "loss.detach()  # 4."),
    ("08_gradient_accumulation.py", "(g1 + g2) * RATE", "(g1 - g2) * RATE"),
    ("08_gradient_accumulation.py", "[(a + b, v)", "[(a, v)"),
    ("09_modules_by_hand.py", "tf.square(x - y)) / 2", "tf.square(x - y))"),
    ("09_modules_by_hand.py", "chain(modules * steps,", "chain(modules * (steps - 1),"),
    ("11_debugging.py", 'tf.log(p, name="log_p")', 'tf.log(p + 1.0, name="log_p")'),
    ("11_debugging.py", "handle.remove()", "pass"),
    ("11_debugging.py", "tf.ones([3, 2])", "tf.ones([4, 2])"),
]


def run(script: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(script), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_the_five_examples_are_there() -> None:
    assert [path.name[:2] for path in EXAMPLES[:5]] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example: Path, tmp_path: Path) -> None:
    done = run(example, tmp_path, "--quick")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.count("\n") > 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "right", "wrong"), FAULTS)
def test_a_fault_is_noticed(name: str, right: str, wrong: str, tmp_path: Path) -> None:
    source = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert source.count(right) >= 1
    script = tmp_path / name
    script.write_text(source.replace(right, wrong), encoding="utf-8")
    done = run(script, tmp_path, "--quick")
    assert done.returncode == 1 and "AssertionError" in done.stderr, done.stdout + done.stderr


def test_the_worked_example_draws_its_graph(tmp_path: Path) -> None:
    done = run(EXAMPLES[0], tmp_path, "--picture", "graph.svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert "<svg" in (tmp_path / "graph.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("02_mlp_tf1.py", {"02_graph.png", "02_training.png", "02_network.png"}),
        ("03_logistic_regression.py", {"03_regions.png"}),
        ("04_perceptron_and_xor.py", {"04_regions.png"}),
    ],
)
def test_an_example_draws_what_it_has_learned(name: str, pictures: set[str], tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    done = run(ROOT / "examples" / name, tmp_path, "--quick", "--pictures", "drawn")
    assert done.returncode == 0, done.stdout + done.stderr  # matplotlib may say that it looks for fonts
    found = {path.name: path.read_bytes() for path in (tmp_path / "drawn").iterdir()}
    assert found.keys() == pictures and list(tmp_path.iterdir()) == [tmp_path / "drawn"]
    assert all(content.startswith(b"\x89PNG\r\n") and len(content) > 5000 for content in found.values())
